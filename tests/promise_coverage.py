"""Simulations of promises whose truth is known: positives N(d, 1), negatives N(0, 1)."""

import warnings

import numpy as np
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin

from skimb.model_selection import GuaranteedThresholdClassifier, GuaranteeWarning
from skimb.model_selection._certified import How, Scan, certify
from skimb.model_selection._constraints import checked_constraint
from skimb.model_selection._promises import objective_of


class Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probability is the column that it is shown."""

    def __init__(self, classes=(0, 1)):
        self.classes = classes

    def __sklearn_is_fitted__(self):
        return True

    @property
    def classes_(self):
        return np.asarray(self.classes)

    def fit(self, X, y, sample_weight=None):
        return self

    def predict_proba(self, X):
        X = np.asarray(X)
        if X.shape[1] > 1:
            return X
        return np.column_stack([1 - X[:, 0], X[:, 0]])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


class Population:
    """Two normal classes of one score x, with the probability of the positive one as its column."""

    def __init__(self, share, distance=2.0):
        self.share, self.distance = share, distance

    def chance(self, x):
        odds = np.log(self.share / (1 - self.share)) + self.distance * x - self.distance**2 / 2
        return 1 / (1 + np.exp(-odds))

    def place(self, threshold):
        """The x of a probability."""
        if not 0 < threshold < 1:
            return -np.inf if threshold <= 0 else np.inf
        odds = np.log(threshold / (1 - threshold)) - np.log(self.share / (1 - self.share))
        return (odds + self.distance**2 / 2) / self.distance

    def rows(self, rng, n, positives=None, grid=None):
        """Rows; all of them drawn, or with a given number of positive ones."""
        y = (rng.random(n) < self.share).astype(int)
        if positives is not None:
            y = (np.arange(n) < positives).astype(int)
        x = rng.normal(size=n) + self.distance * y
        if grid is not None:
            x = np.round(x / grid) * grid
        return self.chance(x)[:, None], y

    def truth(self, threshold, cost=None):
        """What holds in the population."""
        x = self.place(threshold)
        recall, fpr = norm.sf(x - self.distance), norm.sf(x)
        found, false = self.share * recall, (1 - self.share) * fpr
        missed = self.share - found
        held = {
            "recall": recall,
            "fpr": fpr,
            "specificity": 1 - fpr,
            "review_rate": found + false,
            "precision": found / (found + false) if found + false > 0 else 1.0,
            "npv": 1 - missed / max(1 - found - false, 1e-300),
            "accuracy": 1 - missed - false,
            "f1": 2 * found / (found + false + self.share),
        }
        if cost is not None:
            held["cost"] = cost[1][0] * missed + cost[0][1] * false
        return held


def promise(X, y, constraint, **kw):
    """A classifier that promises on given rows, without warnings."""
    fit = {name: kw.pop(name) for name in ("sample_weight", "groups") if name in kw}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuaranteeWarning)
        model = GuaranteedThresholdClassifier(Given(), constraint=constraint, cv="prefit", **kw)
        return model.fit(X, y, **fit)


def quick(
    X, y, constraint, sample_weight=None, *, order="guided", cost=None, largest=None, promised=True
):
    """What the classifier would promise with confidence 0.95, ten times as fast: without its checks."""
    ((name, value),) = constraint.items()
    cost = None if cost is None else np.asarray(cost)
    wanted = checked_constraint(name, value, cost, promised)
    scan = Scan(X[:, 0], y, sample_weight, None, X[:, 0])
    objective = objective_of(None, wanted, cost, np.arange(2))
    how = How(order, largest, None, objective, False, promised)
    shown = {"recall": checked_constraint("recall", 0.5, None, True)}
    return certify([wanted], [0.05], scan, how, shown, "exact")


def measured(draw, constraint, repetitions, truth, seed=0, **kw):
    """Shares of repetitions with a promise and with a false one, and the mean of what is true.

    Parameters
    ----------
    draw : callable
        Rows and labels, and perhaps weights, from a generator.
    constraint : dict
        What is promised.
    repetitions : int
        Number of draws.
    truth : callable
        What holds under a threshold.
    seed : int
        Of the generator.
    **kw : dict
        As in `quick`.
    """
    rng = np.random.default_rng(seed)
    ((name, value),) = constraint.items()
    sign = -1 if name in ("fpr", "review_rate", "cost") else 1
    promised = false = 0
    held = []
    for _ in range(repetitions):
        X, y, *rest = draw(rng)
        found = quick(X, y, constraint, *rest, **kw)
        true = truth(found.threshold)
        promised += found.promised
        false += found.promised and sign * true[name] < sign * value
        held.append(true["recall"])
    return promised / repetitions, false / repetitions, float(np.mean(held))
