"""Classifiers of streams: they learn from one block of rows after the other."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from skimb._core.optional import require
from skimb.benchmark._methods._classifiers import forest, lightgbm, logistic
from skimb.benchmark._methods._columns import scaled
from skimb.benchmark._methods._method import Method


class Online(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """A learner of blocks behind columns that are scaled by the first block."""

    def __init__(self, model):
        self.model = model

    def partial_fit(self, X, y, classes=None):
        """Learn from a block."""
        if not hasattr(self, "before_"):
            self.before_ = scaled().fit(X)
            self.model_ = clone(self.model)
            self.model_.partial_fit(self.before_.transform(X), y, classes=classes)
        else:
            self.model_.partial_fit(self.before_.transform(X), y)
        return self

    def predict_proba(self, X):
        """Probabilities."""
        return self.model_.predict_proba(self.before_.transform(X))


class Refitted(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """A classifier that is fitted to all rows seen so far, again after every ten blocks."""

    def __init__(self, model, every=10):
        self.model, self.every = model, every

    def partial_fit(self, X, y, classes=None):
        """Keep a block, and fit if it is time."""
        self.seen_ = [*getattr(self, "seen_", []), (X, y)]
        if len(self.seen_) % self.every == 1:
            pd = require("pandas", extra="benchmark")
            rows = pd.concat([X for X, _ in self.seen_])
            self.model_ = clone(self.model).fit(rows, np.concatenate([y for _, y in self.seen_]))
        return self

    def predict_proba(self, X):
        """Probabilities of the last fit."""
        return self.model_.predict_proba(X)


def online(make_one):
    """A learner of blocks."""

    def make(X, seed):
        return Online(make_one(seed))

    return make


def refitted(make_one):
    """A classifier that is fitted again."""

    def make(X, seed):
        return Refitted(make_one(X, seed))

    return make


def net(seed):
    """Our perceptron."""
    from skimb.neural_network import MLPClassifier

    return MLPClassifier(batch_size=32, random_state=seed)


def weighted_net(seed):
    """Our perceptron with weighted classes."""
    from skimb.losses import ClassBalanced
    from skimb.neural_network import MLPClassifier

    return MLPClassifier(loss=ClassBalanced(), batch_size=32, random_state=seed)


def their_net(seed):
    """The perceptron of scikit-learn."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(batch_size=32, random_state=seed)


def analytic(seed):
    """Our ridge classifier on random features."""
    from skimb.streaming import AnalyticClassifier

    return AnalyticClassifier(random_state=seed)


def pooled(seed):
    """Our naive Bayes with pooled variances."""
    from skimb.naive_bayes import PooledGaussianNB

    return PooledGaussianNB()


def descent(seed):
    """Logistic regression by stochastic descent."""
    return SGDClassifier(loss="log_loss", random_state=seed)


def bayes(seed):
    """Naive Bayes of scikit-learn."""
    return GaussianNB()


_STREAMS = ("streams",)
STREAMS = (
    Method("SGDClassifier, online", online(descent), suites=_STREAMS),
    Method("GaussianNB, online", online(bayes), suites=_STREAMS),
    Method("scikit-learn's MLPClassifier, online", online(their_net), suites=_STREAMS),
    Method("logistic regression, refitted", refitted(logistic), suites=_STREAMS),
    Method("random forest, refitted", refitted(forest), suites=_STREAMS),
    Method("LightGBM, refitted", refitted(lightgbm), ("lightgbm",), _STREAMS),
    Method("MLPClassifier, online", online(net), ("skimb",), _STREAMS),
    Method("MLPClassifier, online, class-balanced", online(weighted_net), ("skimb",), _STREAMS),
    Method("AnalyticClassifier, online", online(analytic), ("skimb",), _STREAMS),
    Method("PooledGaussianNB, online", online(pooled), ("skimb",), _STREAMS),
)
