"""A classifier with fixed decision thresholds, and the average of several classifiers."""

from numbers import Real

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from skimb._core.validation import checked_target, take_names
from skimb.model_selection._batched import batched_fits_once
from skimb.model_selection._thresholds import decide


def one_array(proba):
    """Probabilities of labels as one array (n, L); forests answer one array per label."""
    return np.stack([p[:, 1] for p in proba], 1) if isinstance(proba, list) else proba


class ThresholdDecisions(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Base of classifiers that decide by thresholds; `fit` sets ``estimator_``, ``classes_`` and ``_rule``."""

    def predict_proba(self, X):
        """Probabilities of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def predict(self, X):
        """Decide by the thresholds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        """
        proba = one_array(self.predict_proba(X))
        codes = decide(proba, self._rule, self._multilabel)
        return codes if self._multilabel else self.classes_[codes]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_label = inner.classifier_tags.multi_label
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags


class FixedThresholdClassifier(ThresholdDecisions):
    r"""A classifier whose probabilities are turned into decisions by given thresholds.

    Two classes: the second one where its probability is at least :math:`t`. More classes:
    :math:`\arg\max_k p_k/t_k` (for two classes and :math:`(1-t,t)` the same rule). Labels: each one where its
    probability is at least :math:`t_k`.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba`.
    threshold : float or array-like of shape (n_classes,) or (n_labels,), default=None
        Thresholds, positive for more than two classes. A number is for two classes or for all labels.
        None decides for the most probable class, and for labels from one half.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    Notes
    -----
    scikit-learn has a class of this name for two classes; this one also takes more classes and multi-label
    targets.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.model_selection import FixedThresholdClassifier
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> model = FixedThresholdClassifier(LogisticRegression(), threshold=0.1).fit(X, y)
    >>> bool(model.predict(X).mean() > model.estimator_.predict(X).mean())
    True
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "threshold": [Interval(Real, None, None, closed="neither"), "array-like", None],
    }

    def __init__(self, estimator, threshold=None):
        self.estimator = estimator
        self.threshold = threshold

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **params):
        """Fit the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        **params : dict
            Parameters of the classifier's fit.

        Returns
        -------
        FixedThresholdClassifier
            Itself.
        """
        if not is_classifier(self.estimator):
            raise ValueError(f"estimator={self.estimator!r} is no classifier.")
        self.estimator_ = clone(self.estimator).fit(X, y, **params)
        self.classes_ = self.estimator_.classes_
        take_names(self, self.estimator_)
        self._multilabel = checked_target(y)[1]
        self._rule = self._checked_rule()
        return self

    def _checked_rule(self):
        n = len(self.classes_)
        if self.threshold is None:
            return np.full(n, 1.0 / n) if n > 2 and not self._multilabel else 0.5
        rule = np.asarray(self.threshold, float)
        if rule.ndim == 0 and (self._multilabel or n == 2):
            return float(rule)
        positive = self._multilabel or (rule > 0).all()
        if rule.shape != (n,) or not np.isfinite(rule).all() or not positive:
            raise ValueError(
                f"threshold={self.threshold!r} must hold {n} {'' if self._multilabel else 'positive '}numbers, "
                f"one for each of {list(self.classes_)}."
            )
        return rule


class WeightedAverage(ClassifierMixin, BaseEstimator):
    """The weighted mean of several classifiers' probabilities; members are fitted as one search would.

    Parameters
    ----------
    estimators : list of estimator
        Classifiers.
    weights : array-like
        Weights that sum to 1.
    """

    def __init__(self, estimators, weights):
        self.estimators = estimators
        self.weights = weights

    def fit(self, X, y, **params):
        """Fit all members to the same rows."""
        with batched_fits_once():
            jobs = (delayed(_fitted)(clone(e), X, y, params) for e in self.estimators)
            self.estimators_ = Parallel()(jobs)
        self.classes_ = self.estimators_[0].classes_
        self._multilabel = checked_target(y)[1]
        take_names(self, self.estimators_[0])
        return self

    def predict_proba(self, X):
        """Mean probabilities."""
        check_is_fitted(self)
        parts = zip(self.weights, self.estimators_, strict=True)
        return sum(w * e.predict_proba(X) for w, e in parts)

    def predict(self, X):
        """The most probable class, or the labels with probability at least one half."""
        proba = self.predict_proba(X)
        if self._multilabel:
            return decide(proba, 0.5, True)
        return self.classes_[proba.argmax(1)]


def _fitted(estimator, X, y, params):
    return estimator.fit(X, y, **params)
