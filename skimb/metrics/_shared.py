"""Checks and intervals that several scores share."""

import numpy as np
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    column_or_1d,
)

from skimb._core.compat import check_sample_weight


def weights_of(sample_weight, y):
    """Row weights as floats, ones where none are given."""
    return check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)


def columns_by_class(y, proba, labels):
    """Classes, sorted, and probabilities (n, K) in that order.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.
    proba : array-like of shape (n, K), (n, 1) or (n,)
        Probabilities of the classes in the order of `labels`; a single column is that of the second of two.
    labels : array-like of shape (K,) or None
        Classes in the order of the columns; None sorts those of `y`.

    Returns
    -------
    ndarray of shape (K,)
        Classes.
    ndarray of shape (n, K)
        Probabilities.
    """
    p = check_array(proba, ensure_2d=False, dtype=np.float64, input_name="y_proba")
    check_consistent_length(y, p)
    classes = np.unique(y) if labels is None else column_or_1d(labels)
    p = p.reshape(len(p), -1)
    if p.shape[1] == 1 and len(classes) == 2:
        p = np.column_stack([1.0 - p, p])
    if p.shape[1] != len(classes):
        raise ValueError(
            f"y_proba of shape {np.shape(proba)} does not fit the {len(classes)} classes {classes.tolist()[:10]}; "
            "give all classes, in the order of the columns, as labels=."
        )
    only_known(y, classes)
    order = np.argsort(classes)
    return classes[order], p[:, order]


def probabilities(p, name="y_prob"):
    """Finite numbers in [0, 1]."""
    p = check_array(p, ensure_2d=False, dtype=np.float64, input_name=name)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"{name} must lie in [0, 1], it spans {p.min():g} to {p.max():g}.")
    return p


def only_known(y, classes, name="y_true"):
    """Refuse labels that have no column, and classes that are named twice."""
    if len(np.unique(classes)) < len(classes):
        raise ValueError(f"labels={classes.tolist()} name a class twice.")
    known = set(classes.tolist())
    stray = [label for label in np.unique(y).tolist() if label not in known]
    if stray:
        raise ValueError(
            f"{name} holds the labels {stray[:10]}, which are not among labels={classes.tolist()[:10]}."
        )


def binary(y_true, y_score, pos_label, sample_weight):
    """A 0/1 target, finite scores and weights, without rows of weight 0."""
    y, s = column_or_1d(y_true), column_or_1d(y_score)
    check_consistent_length(y, s)
    s = check_array(s, ensure_2d=False, dtype=np.float64, input_name="y_score")
    classes = np.unique(y)
    if pos_label is None:
        if len(classes) > 2:
            raise ValueError(
                f"y_true holds the {len(classes)} classes {classes.tolist()[:10]}; give the one that counts as "
                "pos_label=."
            )
        if not set(classes.tolist()) <= {0, 1} and not set(classes.tolist()) <= {-1, 1}:
            raise ValueError(f"y_true holds {classes.tolist()}; give the rare class as pos_label=.")
        pos_label = 1
    w = weights_of(sample_weight, y)
    kept = w > 0
    return (y[kept] == pos_label).astype(float), s[kept], w[kept]


def both_classes(y, name):
    """Refuse a target of one class."""
    if not 0 < y.sum() < len(y):
        held = "positive" if y.any() else "negative"
        raise ValueError(
            f"{name} needs rows of both classes, y_true holds only {held} ones; stratify the folds."
        )
