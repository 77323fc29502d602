"""Scores of an order of rows."""

from numbers import Integral, Real

import numpy as np
from sklearn.metrics import roc_curve
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import column_or_1d

from skimb.metrics._budgets import BUDGET, coded_groups, reviewed_share
from skimb.metrics._shared import binary, both_classes, weights_of

RANKING = {
    "y_true": ["array-like"],
    "y_score": ["array-like"],
    "sample_weight": ["array-like", None],
}


def found_at_budget(y_true, y_score, budget, groups, pos_label, sample_weight):
    """Positives among the reviewed rows, the rows reviewed, all positives and all rows, by weight."""
    y, s, w = binary(y_true, y_score, pos_label, sample_weight)
    label = column_or_1d(y_true)
    _, group = coded_groups(groups, len(label))
    group = group[weights_of(sample_weight, label) > 0]
    rows = np.bincount(group, w)
    if isinstance(budget, Real) and not isinstance(budget, Integral):
        size = budget * rows
    else:
        size = np.full(len(rows), float(budget))
        if groups is None and budget > rows[0] * (1 + 1e-12):
            raise ValueError(
                f"budget={budget!r} is more than the {rows[0]:g} rows there are (by weight); lower it or give a "
                "share of the rows, for instance budget=0.05."
            )
    size = np.minimum(size, rows)
    found = (w * y) @ reviewed_share([s], group, size, w)
    return float(found), float(size.sum()), float(w @ y), float(rows.sum())


def needs_positives(positives, name):
    """Refuse a target without positive rows."""
    if positives == 0:
        raise ValueError(f"{name} needs positive rows, y_true holds none; stratify the folds.")


@validate_params(
    {**RANKING, "budget": BUDGET, "groups": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def precision_at_budget(
    y_true, y_score, *, budget, groups=None, pos_label=None, sample_weight=None
):
    r"""Share of positives among the rows that can be reviewed: those with the highest scores.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_score : array-like of shape (n,)
        Scores, higher for the positive class.
    budget : int in [1, n] or float in (0, 1]
        Rows that can be reviewed, or their share.
    groups : array-like of shape (n,), default=None
        Batches (days, sites) that have this budget each; one of fewer rows is reviewed as a whole. None takes
        all rows as one.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights; a whole budget then counts weight.

    Returns
    -------
    float
        Precision in [0, 1]. Rows of equal score share what is left of the budget: the expectation over all
        their orders.

    Raises
    ------
    ValueError
        If the budget exceeds the rows, or the positive class is not told.

    Examples
    --------
    >>> from skimb.metrics import precision_at_budget
    >>> precision_at_budget([1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.7, 0.1], budget=3)
    0.5
    """
    found, size, _, _ = found_at_budget(y_true, y_score, budget, groups, pos_label, sample_weight)
    return found / size


@validate_params(
    {**RANKING, "budget": BUDGET, "groups": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def recall_at_budget(y_true, y_score, *, budget, groups=None, pos_label=None, sample_weight=None):
    r"""Share of all positives that are among the rows that can be reviewed.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_score : array-like of shape (n,)
        Scores, higher for the positive class.
    budget : int in [1, n] or float in (0, 1]
        Rows that can be reviewed, or their share.
    groups : array-like of shape (n,), default=None
        Batches with a budget each, as in :func:`precision_at_budget`.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights; a whole budget then counts weight.

    Returns
    -------
    float
        Recall in [0, 1]; ties as in :func:`precision_at_budget`.

    Raises
    ------
    ValueError
        If the budget exceeds the rows, the positive class is not told, or it has no rows.

    Examples
    --------
    >>> from skimb.metrics import recall_at_budget
    >>> recall_at_budget([1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.7, 0.1], budget=0.6)
    0.75
    """
    found, _, positives, _ = found_at_budget(
        y_true, y_score, budget, groups, pos_label, sample_weight
    )
    needs_positives(positives, "recall_at_budget")
    return found / positives


@validate_params(
    {
        **RANKING,
        "max_fpr": [Interval(Real, 0, 1, closed="right")],
        "min_tpr": [Interval(Real, 0, 1, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def partial_roc_auc_score(
    y_true, y_score, *, max_fpr=1.0, min_tpr=0.0, pos_label=None, sample_weight=None
):
    r"""Area of the ROC curve within false-positive rates up to one bound and true-positive rates above another.

    .. math:: \frac1{\beta(1-\alpha)}\int_0^\beta\max(\mathrm{TPR}(f)-\alpha,0)\,df

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_score : array-like of shape (n,)
        Scores, higher for the positive class.
    max_fpr : float in (0, 1], default=1.0
        Largest false-positive rate :math:`\beta`.
    min_tpr : float in [0, 1), default=0.0
        Least true-positive rate :math:`\alpha`.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        Area over the largest possible one, in [0, 1]. Without bounds the AUC. Not McClish's rescaling, which
        ``roc_auc_score(max_fpr=...)`` applies: random order gives :math:`\beta/2` here for
        :math:`\alpha=0`.

    Raises
    ------
    ValueError
        If y_true holds only one class or the positive class is not told.

    Examples
    --------
    >>> from skimb.metrics import partial_roc_auc_score
    >>> partial_roc_auc_score([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], max_fpr=0.5)
    0.5
    """
    y, s, w = binary(y_true, y_score, pos_label, sample_weight)
    both_classes(y, "partial_roc_auc_score")
    fpr, tpr, _ = roc_curve(y, s, sample_weight=w, drop_intermediate=False)
    i = int(np.searchsorted(fpr, max_fpr))  # the first point at or beyond the bound
    at_bound = np.interp(max_fpr, fpr[i - 1 : i + 1], tpr[i - 1 : i + 1])
    x, t = np.r_[fpr[:i], max_fpr], np.r_[tpr[:i], at_bound]
    low, high, width = t[:-1] - min_tpr, t[1:] - min_tpr, np.diff(x)
    crossing = (low < 0) & (high > 0)
    full = 0.5 * (np.maximum(low, 0) + np.maximum(high, 0)) * width
    part = 0.5 * high * width * np.divide(high, high - low, out=np.zeros_like(high), where=crossing)
    return float(np.where(crossing, part, full).sum() / (max_fpr * (1.0 - min_tpr)))
