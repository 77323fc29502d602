"""What classifiers share that decide by changed scores of a fitted one, with a strength chosen out of fold."""

from abc import abstractmethod
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import MethodMapping
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _estimator_has, check_consistent_length, check_is_fitted

from skimb._core.compat import check_sample_weight
from skimb._core.inner import as_given, fit_inner, router_of, scorer_params
from skimb._core.stand_ins import Answers
from skimb._core.validation import (
    exclusive_target,
    indexable_rows,
    of_rows,
    routed_params,
    several_classes,
    take_names,
)

_TAUS = np.linspace(0.0, 2.0, 21)


class RescoredClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Base: fits a classifier, or takes a fitted one, and decides by scores of strength ``tau_``.

    `fit` sets ``estimator_``, ``classes_``, ``tau_``, ``cv_results_`` and whatever `_describe` sets.
    """

    _parameter_constraints = {
        "estimator": [
            HasMethods(["fit", "predict_proba"]),
            HasMethods(["fit", "decision_function"]),
        ],
        "tau": [Interval(Real, None, None, closed="neither"), StrOptions({"auto"})],
        "taus": ["array-like", None],
        "scoring": [str, callable],
        "cv": ["cv_object", StrOptions({"prefit"})],
    }

    @abstractmethod
    def _describe(self, labels, weight):
        """Set what is read of the target, before anything is fitted."""

    @abstractmethod
    def _scores(self, model, X):
        """A function of tau that gives scores (n, C) of a fitted classifier, classes as in ``model.classes_``."""

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **params):
        """Fit the classifier unless it is fitted already, and choose the strength.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows. Where the classifier is fitted already and `tau` is "auto", rows that it has not seen.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows: in the fit, in the scores and in what is counted of the classes.
        **params : dict
            Metadata for the classifier's fit, with metadata routing enabled.

        Returns
        -------
        RescoredClassifier
            Itself.
        """
        labels = exclusive_target(self, y)
        X = indexable_rows(X)
        check_consistent_length(X, labels)
        self.classes_, _ = several_classes(self, labels)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        (params,) = routed_params(self, params, "estimator.fit")
        self._describe(labels, sample_weight)
        y = as_given(y, labels)
        fitted = isinstance(self.estimator, FrozenEstimator) or (
            isinstance(self.cv, str) and self.cv == "prefit"
        )
        if fitted:
            check_is_fitted(self.estimator)
            self._check_classes(self.estimator, whole=True)
        if self.tau == "auto":
            self._choose(X, y, labels, sample_weight, params, fitted)
        else:
            self.tau_, self.cv_results_ = float(self.tau), None
        model = self.estimator
        if not fitted:
            model = fit_inner(clone(model), X, y, sample_weight, **params)
            self._check_classes(model, whole=True)
        self.estimator_ = model
        self._finish(model)
        take_names(self, model)
        return self

    def _finish(self, model):
        """Take what predictions need of the classifier that was fitted to all rows."""

    def _check_classes(self, model, *, whole=False):
        """Columns of ``classes_`` that the classes of a fitted classifier have; others are refused."""
        known, found = self.classes_.tolist(), np.asarray(model.classes_).tolist()
        if set(found) - set(known) or (whole and set(found) != set(known)):
            raise ValueError(f"{model!r} knows the classes {sorted(found)}, y holds {known}.")
        at = {c: k for k, c in enumerate(known)}
        return [at[c] for c in found]

    def _choose(self, X, y, labels, weight, params, fitted):
        """Set the strength with the best mean score over folds, the one nearest to 0 among equals."""
        taus = np.array(_TAUS if self.taus is None else self.taus, float)
        if taus.ndim != 1 or not len(taus) or not np.isfinite(taus).all():
            raise ValueError(f"taus={self.taus!r} must hold finite numbers, one at least.")
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        n = len(labels)
        splits = [(None, np.arange(n))]
        if not fitted:
            splits = list(check_cv(self.cv, labels, classifier=True).split(X, labels))
        found = np.empty((len(taus), len(splits)))
        for j, (train, test) in enumerate(splits):
            model = self.estimator
            if train is not None:
                own = None if weight is None else weight[train]
                more = {name: of_rows(value, n, train) for name, value in params.items()}
                rows, target = (_safe_indexing(part, train) for part in (X, y))
                model = fit_inner(clone(self.estimator), rows, target, own, **more)
            kw = scorer_params(scorer, None if weight is None else weight[test])
            found[:, j] = self._values(
                scorer, model, _safe_indexing(X, test), labels[test], taus, kw
            )
        mean = found.mean(1)
        if not np.isfinite(mean).any():
            raise ValueError(f"scoring={self.scoring!r} gives no finite score, so no tau is best.")
        best = np.flatnonzero(mean >= np.nanmax(mean) - 1e-12)
        self.tau_ = float(taus[best[np.abs(taus[best]).argmin()]])
        self.cv_results_ = {"tau": taus, "mean_test_score": mean, "std_test_score": found.std(1)}

    def _values(self, scorer, model, X, labels, taus, kw):
        """Scores of one fold at every strength."""
        columns = self._check_classes(model)
        scores_at = self._scores(model, X)
        proba = None
        if hasattr(model, "predict_proba"):
            proba = np.zeros((len(labels), len(self.classes_)))
            proba[:, columns] = model.predict_proba(X)
        values = []
        for tau in taus:
            scores = np.full((len(labels), len(self.classes_)), -np.inf)
            scores[:, columns] = scores_at(tau)
            answers = Answers(
                self.classes_,
                predictions=self.classes_[scores.argmax(1)],
                probabilities=proba,
                scores=margins_of(scores),
            )
            values.append(scorer(answers, X, labels, **kw))
        return values

    # --- predictions -------------------------------------------------------------------------

    def _final_scores(self, X):
        """Scores (n, C) of new rows, classes as in ``classes_``."""
        check_is_fitted(self)
        columns = self._check_classes(self.estimator_)
        return self._fitted_scores(X)[:, np.argsort(columns)]

    def _fitted_scores(self, X):
        """Scores (n, C) of new rows, classes as in ``estimator_.classes_``."""
        return self._scores(self.estimator_, X)(self.tau_)

    def predict(self, X):
        """Decide by the changed scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        best = self._final_scores(X).argmax(1)
        return self.classes_[best]

    def decision_function(self, X):
        """Changed scores, whose argmax, or sign, is the decision.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores; for two classes that of the second one less that of the first.
        """
        return margins_of(self._final_scores(X))

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Probabilities of the classifier as it was fitted; the decision does not change them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        columns = self._check_classes(self.estimator_)
        return self.estimator_.predict_proba(X)[:, np.argsort(columns)]

    def get_metadata_routing(self):
        """Where metadata go: to the classifier's ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        return router_of(self, self.estimator).add(
            estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit")
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def margins_of(scores):
    """Scores (n, C), for two classes (n,) the second less the first."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


def margins(model, X):
    """Scores (n, C) by a classifier's ``decision_function``; a margin z of two classes is (0, z)."""
    z = np.asarray(model.decision_function(X), float)
    if z.ndim == 1:
        return np.stack([np.zeros_like(z), z], axis=1)
    if z.shape[1] != len(model.classes_):
        raise ValueError(
            f"{model!r} gives {z.shape[1]} scores for {len(model.classes_)} classes, one per class is needed "
            "(for SVC: decision_function_shape='ovr')."
        )
    return z


def log_probabilities(model, X):
    """Logarithms (n, C) of a classifier's probabilities, floored at the smallest normal number."""
    p = np.asarray(model.predict_proba(X), float)
    return np.log(np.maximum(p, np.finfo(float).tiny))
