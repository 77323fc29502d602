"""The average of several classifiers."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skimb._base.classifier import NeuralClassifier
from skimb._core.inner import last_step, unfitted
from skimb._core.validation import checked_target, take_names
from skimb.model_selection._batched import batched_fits_once
from skimb.model_selection._responses import class_scores
from skimb.model_selection._thresholds import decide


class WeightedAverage(ClassifierMixin, BaseEstimator):
    """The weighted mean of several classifiers' probabilities; members are fitted as one search would.

    Parameters
    ----------
    estimators : list of estimator
        Classifiers.
    weights : array-like
        Weights that sum to 1.
    names : list of str, default=None
        Where members are of several kinds, the name of each one's: parameters of `fit` that begin with it
        are for this member only. None gives all parameters to all members.
    n_jobs : int, default=None
        Fits at a time of members that are no nets.
    """

    def __init__(self, estimators, weights, names=None, n_jobs=None):
        self.estimators = estimators
        self.weights = weights
        self.names = names
        self.n_jobs = n_jobs

    def fit(self, X, y, **params):
        """Fit all members to the same rows."""
        labels, self._multilabel = checked_target(y)
        members = [unfitted(e) for e in self.estimators]
        jobs = list(zip(members, self._params(params), strict=True))
        neural = [isinstance(last_step(member), NeuralClassifier) for member in members]
        with batched_fits_once():
            nets = [job for job, net in zip(jobs, neural, strict=True) if net]
            nets = Parallel()(delayed(_fitted)(e, X, y, own) for e, own in nets)
        rest = [job for job, net in zip(jobs, neural, strict=True) if not net]
        rest = Parallel(n_jobs=self.n_jobs)(delayed(_fitted)(e, X, y, own) for e, own in rest)
        nets, rest = iter(nets), iter(rest)
        self.estimators_ = [next(nets if net else rest) for net in neural]
        self.weights_ = np.array(self.weights, float)
        self.classes_ = self.estimators_[0].classes_ if self._multilabel else np.unique(labels)
        take_names(self, self.estimators_[0])
        return self

    def __sklearn_clone__(self):
        members = [unfitted(e) for e in self.estimators]
        return type(self)(members, self.weights, self.names, self.n_jobs)

    def _params(self, params):
        """Parameters of each member's fit."""
        if self.names is None:
            return [params] * len(self.estimators)
        if _routing_enabled():
            routed = process_routing(self, "fit", **params)
            return [routed[f"member{i}"].fit for i in range(len(self.estimators))]
        starts = [f"{name}__" for name in self.names]
        return [
            {k.removeprefix(start): v for k, v in params.items() if k.startswith(start)}
            for start in starts
        ]

    def get_metadata_routing(self):
        """Requests of the members."""
        if self.names is None:
            return self.estimators[0].get_metadata_routing()  # all are of one kind
        router = MetadataRouter(owner=self)
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        for i, member in enumerate(self.estimators):
            router.add(**{f"member{i}": member}, method_mapping=to_fit)
        return router

    def predict_proba(self, X):
        """Mean probabilities."""
        check_is_fitted(self)
        how = "predict_proba", self.classes_, self._multilabel
        parts = zip(self.weights_, self.estimators_, strict=True)
        return sum(w * class_scores(e, X, *how) for w, e in parts)

    def predict(self, X):
        """The most probable class, or the labels with probability at least one half."""
        proba = self.predict_proba(X)
        if self._multilabel:
            return decide(proba, 0.5, True)
        return self.classes_[proba.argmax(1)]


def _fitted(estimator, X, y, params):
    return estimator.fit(X, y, **params)
