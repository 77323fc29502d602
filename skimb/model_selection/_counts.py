"""Metrics of decisions as functions of counts per class, for any number of decisions at once.

Every function takes the weight of rows of class k that were decided right (`right`), decided for (`decided`)
and that are there (`there`), each of shape (..., C), and returns values of shape (...). For multi-label
targets the last axis holds the labels and counts are those of positives.
"""

import numpy as np

_ROUNDING = 1e-13


def _share(part, whole):
    """Elementwise quotient, 0 where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, 0.0)


def _mean(values, weights):
    """Mean over the last axis, 0 where all weights are."""
    return _share((values * weights).sum(-1), weights.sum(-1))


def accuracy(right, decided, there):
    """Share of rows decided right."""
    return right.sum(-1) / there.sum(-1)


def balanced_accuracy(right, decided, there):
    """Mean recall over the classes that are there."""
    present = there > 0
    return _share(right, there).sum(-1) / np.maximum(present.sum(-1), 1)


def geometric_mean(right, decided, there):
    """Geometric mean of recalls over the classes that are there."""
    present = there > 0
    recall = np.where(present, _share(right, there), 1.0)
    return np.prod(recall, axis=-1) ** (1.0 / np.maximum(present.sum(-1), 1))


class Averaged:
    """A ratio of counts per class, averaged over classes.

    Parameters
    ----------
    ratio : callable
        Numerator and denominator from right, decided and there.
    average : {"binary", "macro", "micro", "weighted"}
        How classes are put together; 'binary' takes class 1.
    multilabel : bool
        Whether the last axis holds labels.
    """

    def __init__(self, ratio, average, multilabel):
        self.ratio, self.average, self.multilabel = ratio, average, multilabel

    @property
    def one_sided(self):
        """Whether deciding all rows, or hardly any, alike is best by design."""
        single = self.average == "binary" or self.multilabel
        return single and self.ratio in (precision_ratio, recall_ratio)

    def __call__(self, right, decided, there):
        """The metric."""
        if self.average == "micro":
            counts = (a.sum(-1) for a in np.broadcast_arrays(right, decided, there))
            return _share(*self.ratio(*counts))
        values = _share(*self.ratio(right, decided, there))
        if self.average == "binary":
            return values[..., 1]
        if self.average == "weighted":
            return _mean(values, np.broadcast_to(there, values.shape))
        if self.multilabel:
            return values.mean(-1)
        return _mean(values, (there + decided > 0).astype(float))  # classes seen on either side


class FRatio:
    """Numerator and denominator of the F-beta score."""

    def __init__(self, beta=1.0):
        self.square = beta**2

    def __call__(self, right, decided, there):
        """Both parts from the counts of right positives, decided positives and true positives."""
        return (1.0 + self.square) * right, self.square * there + decided


def jaccard_ratio(right, decided, there):
    """Numerator and denominator of the Jaccard index."""
    return right, there + decided - right


def precision_ratio(right, decided, there):
    """Numerator and denominator of precision."""
    return right, decided


def recall_ratio(right, decided, there):
    """Numerator and denominator of recall."""
    return right, np.broadcast_to(there, right.shape)


def matthews(right, decided, there):
    """Matthews correlation coefficient of any number of classes."""
    total = there.sum(-1)
    agree = right.sum(-1) * total - (decided * there).sum(-1)
    spread = [1.0 - ((a / total[..., None]) ** 2).sum(-1) for a in (decided, there)]
    defined = np.minimum(*spread) > _ROUNDING  # zero where all rows are of one class
    return np.where(defined, _share(agree / total**2, np.sqrt(np.abs(spread[0] * spread[1]))), 0.0)


def kappa(right, decided, there):
    """Cohen's kappa without weights."""
    total = there.sum(-1)
    chance = (decided * there).sum(-1) / total
    return _share(right.sum(-1) - chance, total - chance)


def class_counts(code, decided, weight, n_classes):
    """Counts of decisions (K, n) against classes (n,): three arrays (K, C)."""
    weight = np.ones(len(code)) if weight is None else weight
    there = np.bincount(code, weights=weight, minlength=n_classes)
    members = len(decided)
    offset = n_classes * np.arange(members)[:, None]
    w = np.broadcast_to(weight, decided.shape).ravel()
    size = members * n_classes
    chosen = np.bincount((decided + offset).ravel(), weights=w, minlength=size)
    agree = np.broadcast_to(code, decided.shape) == decided
    right = np.bincount((decided + offset).ravel(), weights=w * agree.ravel(), minlength=size)
    shape = (members, n_classes)
    return right.reshape(shape), chosen.reshape(shape), np.broadcast_to(there, shape)


def label_counts(code, decided, weight):
    """Counts of positive labels: decisions (K, n, L) against labels (n, L), three arrays (K, L)."""
    weight = np.ones(len(code)) if weight is None else weight
    there = weight @ code
    chosen = np.einsum("n,knl->kl", weight, decided)
    right = np.einsum("n,nl,knl->kl", weight, code, decided)
    return right, chosen, np.broadcast_to(there, chosen.shape)
