"""What boosted trees of both libraries share: targets, weights, starting scores, decisions."""

from abc import abstractmethod
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.priors import ClassPrior, class_weights
from skimb._core.validation import drop_weightless, several_classes
from skimb.boosting._objectives import best_constant, bind_rows
from skimb.losses import CrossEntropy, Loss


class _Scored(ClassifierMixin, BaseEstimator):
    """A fitted classifier that answers with the scores of its validation rows, for scorers."""

    def __init__(self, owner=None):
        self.owner = owner

    def __sklearn_is_fitted__(self):
        return True

    @property
    def classes_(self):
        """Those of the owner."""
        return self.owner.classes_

    def decision_function(self, X):
        return self.owner._decide(X)

    def predict_proba(self, X):
        return self.owner._posterior(X)

    def predict(self, X):
        return self.owner._labels(X)


class BoostedClassifier(ClassifierMixin, BaseEstimator):
    """What both libraries share: targets, weights, priors, starting scores, decisions."""

    _parameter_constraints: dict = {
        "loss": [Loss, None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_depth": [Interval(Integral, 1, None, closed="left"), None],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced", "effective"}), dict, None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "validation_scoring": [str, callable, None],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "params": [dict, None],
    }

    _missing_values = True  # the libraries take them

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit to labelled rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows; missing values (NaN) are the library's own affair.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        BoostedClassifier
            Itself.
        """
        X, y = self._check_rows(X, y)
        check_classification_targets(y)
        X, y, sample_weight = drop_weightless(X, y, sample_weight)
        self.classes_, code = several_classes(self, y)
        rng = check_random_state(self.random_state)
        valid = None
        if self.early_stopping:
            X, valid, code, sample_weight = self._split(X, code, sample_weight, rng)
        self._bind(code, sample_weight)
        weight = None if self.class_weight_ is None else self.class_weight_[code]
        if sample_weight is not None:
            weight = sample_weight if weight is None else weight * sample_weight
        weight = None if weight is None else weight / weight.mean()
        seed = int(rng.randint(np.iinfo(np.int32).max))
        self._train(X, code, weight, valid, seed)
        return self

    def _check_rows(self, *given):
        """Validated rows; with labels those of `fit`."""
        return validate_data(
            self,
            *given,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            ensure_all_finite="allow-nan" if self._missing_values else True,
            reset=len(given) == 2,
        )

    def _split(self, X, code, sample_weight, rng):
        rows = np.arange(len(code))
        try:
            train, valid = train_test_split(
                rows, test_size=self.validation_fraction, random_state=rng, stratify=code
            )
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__} cannot set validation rows aside "
                f"(validation_fraction={self.validation_fraction}, counts per class "
                f"{np.bincount(code).tolist()}): {error}"
            ) from error
        w = None if sample_weight is None else sample_weight[valid]
        held = (X[valid], code[valid], w)
        w = None if sample_weight is None else sample_weight[train]
        return X[train], held, code[train], w

    def _bind(self, code, sample_weight):
        k = len(self.classes_)
        seen = ClassPrior.of(code, sample_weight, classes=np.arange(k))
        loss = CrossEntropy() if self.loss is None else clone(self.loss)
        self.prior_ = seen.prior
        total = float(len(code) if sample_weight is None else sample_weight.sum())
        self._seen = {
            "counts": seen.counts,
            "mass": seen.prior * total,
            "rows": len(code),
            "total": total,
        }
        self.class_weight_ = None
        if self.class_weight is not None:
            known = self.classes_.tolist()
            self.class_weight_ = class_weights(self.class_weight, known, seen.counts, seen.prior)
        self.loss_function_ = loss
        self._loss_bound = bind_rows(loss, seen)
        self.n_columns_ = 1 if k == 2 and loss.one_logit else k
        mass = seen.prior if self.class_weight_ is None else seen.prior * self.class_weight_
        self.init_scores_ = best_constant(self._loss_bound, mass / mass.sum(), self.n_columns_)

    # --- training ----------------------------------------------------------------------------

    @abstractmethod
    def _train(self, X, code, weight, valid, seed):
        """Train the booster and set ``booster_`` and ``n_iter_``."""

    @abstractmethod
    def _raw(self, X):
        """Scores without the starting scores, (n,) or (n, K)."""

    def _validator(self, valid):
        """Score of raw validation scores, the larger the better."""
        _, code, weight = valid
        probe = _Scored(self)
        y = self.classes_[code]

        def log_loss(raw):
            p = self._posterior(raw)[np.arange(len(code)), code]
            rows = -np.log(p.clip(np.finfo(float).tiny))
            return -float(np.average(rows, weights=weight))

        def own_loss(raw):
            z = torch.from_numpy(np.ascontiguousarray(raw))
            rows = self._loss_bound.row_loss(z, torch.from_numpy(code)).numpy()
            return -float(np.average(rows, weights=weight))

        if self.validation_scoring is None:
            return log_loss if self._loss_bound.calibrated else own_loss
        scorer = check_scoring(probe, scoring=self.validation_scoring)
        kw = {} if weight is None else {"sample_weight": weight}
        return lambda raw: scorer(probe, raw, y, **kw)

    # --- predictions -------------------------------------------------------------------------

    def _scores(self, X):
        check_is_fitted(self)
        X = self._check_rows(X)
        return self._raw(X).astype(np.float64) + self._start()

    def _start(self):
        return self.init_scores_ if self.n_columns_ > 1 else self.init_scores_[0]

    def _posterior(self, raw):
        z = torch.from_numpy(np.ascontiguousarray(raw))
        return self._loss_bound.posterior(z, class_weight=self.class_weight_).numpy()

    def _decide(self, raw):
        z = self._loss_bound.decision(torch.from_numpy(np.ascontiguousarray(raw))).numpy()
        return z[:, 1] - z[:, 0] if z.ndim > 1 and len(self.classes_) == 2 else z

    def _labels(self, raw):
        z = self._decide(raw)
        return self.classes_[(z > 0).astype(int) if z.ndim == 1 else z.argmax(1)]

    def decision_function(self, X):
        """Scores whose argmax is ``predict``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Score of the second class for two classes, one score per class otherwise.
        """
        return self._decide(self._scores(X))

    def predict_proba(self, X):
        """Class probabilities in the training population.

        The loss is inverted in closed form and class weights are undone; losses with ``calibrated``
        False give uncorrected scores.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        return self._posterior(self._scores(X))

    def predict(self, X):
        """Classes, by the decision the loss aims at.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        return self._labels(self._scores(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._missing_values
        return tags
