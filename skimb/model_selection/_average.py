"""The average of several classifiers."""

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from skimb._core.validation import checked_target, take_names
from skimb.model_selection._batched import batched_fits_once
from skimb.model_selection._thresholds import decide


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
        self.weights_ = np.array(self.weights, float)
        self.classes_ = self.estimators_[0].classes_
        self._multilabel = checked_target(y)[1]
        take_names(self, self.estimators_[0])
        return self

    def get_metadata_routing(self):
        """Requests of the members, which all are of one kind."""
        return self.estimators[0].get_metadata_routing()

    def predict_proba(self, X):
        """Mean probabilities."""
        check_is_fitted(self)
        parts = zip(self.weights_, self.estimators_, strict=True)
        return sum(w * e.predict_proba(X) for w, e in parts)

    def predict(self, X):
        """The most probable class, or the labels with probability at least one half."""
        proba = self.predict_proba(X)
        if self._multilabel:
            return decide(proba, 0.5, True)
        return self.classes_[proba.argmax(1)]


def _fitted(estimator, X, y, params):
    return estimator.fit(X, y, **params)
