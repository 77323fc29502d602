"""Classifiers of rows with several labels."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from skimb.benchmark._methods._columns import codes, scaled
from skimb.benchmark._methods._method import Method


class Columns(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """One column of probabilities per label, of classifiers that answer a list."""

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, Y):
        """Fit the classifier."""
        self.classifier_ = clone(self.classifier).fit(X, Y)
        return self

    def predict_proba(self, X):
        """Probabilities of ones; a label without ones among the training rows gets 0."""
        found = self.classifier_.predict_proba(X)
        held = zip(found, self.classifier_.classes_, strict=True)
        return np.column_stack([p[:, list(c).index(1)] if 1 in c else 0 * p[:, 0] for p, c in held])

    def predict(self, X):
        """Labels."""
        return self.classifier_.predict(X)


def one_by_one(**kw):
    """Logistic regression for each label."""

    def make(X, seed):
        each = LogisticRegression(max_iter=1000, **kw)
        return make_pipeline(scaled(), OneVsRestClassifier(each))

    return make


def forest(X, seed):
    """One forest for all labels, on codes."""
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(n_jobs=1, random_state=seed)
    return make_pipeline(codes(), Columns(trees))


def net(loss=None):
    """Our perceptron with one output per label."""

    def make(X, seed):
        from skimb import losses
        from skimb.neural_network import MLPClassifier

        chosen = None if loss is None else getattr(losses, loss)()
        model = MLPClassifier(loss=chosen, early_stopping=True, random_state=seed)
        return make_pipeline(scaled(), model)

    return make


def theirs(X, seed):
    """The perceptron of scikit-learn."""
    from sklearn.neural_network import MLPClassifier

    return make_pipeline(scaled(), MLPClassifier(random_state=seed))


def of_several(name):
    """A classifier for several labels of this package."""

    def make(X, seed):
        from skimb import multilabel

        return make_pipeline(scaled(), getattr(multilabel, name)(random_state=seed))

    return make


_LABELS = ("multilabel",)
LABELS = (
    Method("logistic regression, one by one", one_by_one(), suites=_LABELS),
    Method("logistic regression, one by one, weighted", one_by_one(class_weight="balanced"), suites=_LABELS),
    Method("random forest of labels", forest, suites=_LABELS),
    Method("scikit-learn's MLPClassifier of labels", theirs, suites=_LABELS),
    Method("MLPClassifier of labels", net(), ("skimb",), _LABELS),
    Method("MLPClassifier of labels, asymmetric", net("Asymmetric"), ("skimb",), _LABELS),
    Method("MLPClassifier of labels, distribution-balanced", net("DistributionBalanced"), ("skimb",), _LABELS),
    Method("COMICClassifier", of_several("COMICClassifier"), ("skimb",), _LABELS),
    Method("SetPredictionClassifier", of_several("SetPredictionClassifier"), ("skimb",), _LABELS),
)  # fmt: skip
