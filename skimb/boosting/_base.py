"""What boosted trees of both libraries share: targets, weights, starting scores, decisions."""

from abc import abstractmethod
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from skimb._base.head import Head, HeadParams, as_logits
from skimb._core.validation import drop_weightless
from skimb.boosting._labels import checked_labels
from skimb.boosting._objectives import check_rows
from skimb.boosting._start import best_constant
from skimb.boosting._validation import Metric, given_sets, set_aside
from skimb.losses import Loss


class BoostedClassifier(ClassifierMixin, BaseEstimator):
    """What both libraries share: targets, weights, priors, starting scores, decisions."""

    _undoes_class_weight = True  # predict_proba answers for the population as it is

    _parameter_constraints: dict = {
        "loss": [Loss, None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "class_weight": [StrOptions({"balanced", "effective"}), dict, None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "validation_scoring": [str, callable, None],
        "random_state": ["random_state"],
    }

    _missing_values = False

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit to labelled rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels of one kind: numbers, truth values or text.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        BoostedClassifier
            Itself.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight, eval_set=None, eval_sample_weight=None):
        X = self._read(X, reset=True)
        labels = checked_labels(self, y)
        check_consistent_length(X, labels)
        X, labels, sample_weight = drop_weightless(X, labels, sample_weight)
        head = Head(type(self).__name__)
        code = head.read(labels)
        self._head, self.classes_ = head, head.classes
        rng = check_random_state(self.random_state)
        sets = given_sets(self, eval_set, eval_sample_weight)
        if self.early_stopping and not sets:
            X, held, code, sample_weight = set_aside(self, X, code, sample_weight, rng)
            sets = [held]
        self._bind(code, sample_weight)
        weight, _ = self._head.row_weights(code, sample_weight)
        weight = None if weight is None else weight / weight.mean()
        seed = int(rng.randint(np.iinfo(np.int32).max))
        self._train(X, code, weight, sets, Metric(self) if sets else None, seed)
        return self

    def _read(self, X, reset=False):
        """Checked rows; with `reset` those of `fit`."""
        return validate_data(
            self,
            X,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            ensure_all_finite="allow-nan" if self._missing_values else True,
            reset=reset,
        )

    def _bind(self, code, sample_weight):
        head = self._head.bind(HeadParams.of(self), code, sample_weight)
        check_rows(head.bound)
        self._head, self.n_columns_ = head, head.n_outputs
        self.prior_, self.class_weight_ = head.trained, head.class_weight
        self.loss_function_ = head.loss
        mass = head.natural if head.class_weight is None else head.natural * head.class_weight
        self.init_scores_ = best_constant(head.bound, mass / mass.sum(), self.n_columns_)

    # --- training ----------------------------------------------------------------------------

    @abstractmethod
    def _train(self, X, code, weight, sets, metric, seed):
        """Train the model and set ``n_iter_``.

        Parameters
        ----------
        X : array, CSR matrix or data frame
            Training rows as `_read` gives them.
        code : ndarray of int, shape (n,)
            Class numbers.
        weight : ndarray of shape (n,) or None
            Weights of mean 1.
        sets : list of HeldOut
            Rows to score; empty if there are none.
        metric : Metric or None
            What they are scored by.
        seed : int
            Seed of the library.
        """

    @abstractmethod
    def _raw(self, X):
        """Scores without the starting scores, (n,) or (n, K)."""

    def _starts(self, rows):
        """Starting scores of some rows, (n,) or (n, K)."""
        start = np.tile(self.init_scores_, (rows, 1))
        return start if self.n_columns_ > 1 else start[:, 0]

    # --- predictions -------------------------------------------------------------------------

    def _scores(self, X):
        check_is_fitted(self)
        X = self._read(X)
        return self._raw(X).astype(np.float64) + self._starts(X.shape[0])

    def _posterior(self, raw):
        return self._head.posterior(as_logits(raw))

    def _decide(self, raw):
        return self._head.decision(as_logits(raw))

    def _labels(self, raw):
        return self._head.labels(self._decide(raw))

    def decision_function(self, X):
        """Scores whose argmax is ``predict``.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
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
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
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
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
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
