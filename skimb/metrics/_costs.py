"""What decisions cost, against the best constant decision."""

import numpy as np
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import check_consistent_length, column_or_1d

from skimb._core.costs import decision_costs
from skimb._core.warn import warn_user
from skimb.metrics._shared import columns_by_class, only_known, weights_of

_COMMON = {
    "y_true": ["array-like"],
    "cost": ["array-like"],
    "labels": ["array-like", None],
    "sample_weight": ["array-like", None],
}


@validate_params({**_COMMON, "y_pred": ["array-like"]}, prefer_skip_nested_validation=True)
def savings_score(y_true, y_pred, cost, *, labels=None, sample_weight=None):
    r"""Share of the cost of the best constant decision that decisions save.

    .. math:: 1-\frac{\sum_iw_ic_i(y_i,d_i)}{\min_k\sum_iw_ic_i(y_i,k)}

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels and decisions.
    cost : array-like of shape (C, C), (n, C, C), (n, C) or, for two classes, (n, 4)
        Costs by true and decided class, for all rows or each; of each decision by row; or of a false positive, a
        false negative, a true positive and a true negative by row. A square of as many rows as classes is the
        first.
    labels : array-like of shape (C,), default=None
        Classes in the order of the costs; None sorts those of either.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        1 is free of cost, 0 as good as deciding for one class always, below that worse. NaN, with a warning, where
        a constant decision costs nothing. Where the best constant decision earns (negative cost) the difference is
        divided by what it earns.

    Raises
    ------
    ValueError
        If costs are not finite or do not fit rows and classes.

    References
    ----------
    Bahnsen et al. 2015, doi:10.1016/j.eswa.2015.04.042.

    Examples
    --------
    >>> from skimb.metrics import savings_score
    >>> round(savings_score([0, 0, 0, 1], [0, 0, 1, 1], cost=[[0, 1], [10, 0]]), 4)
    0.6667

    >>> from sklearn.metrics import make_scorer
    >>> scorer = make_scorer(savings_score, cost=[[0, 1], [10, 0]])
    """
    y, d = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(y, d)
    classes = np.unique(np.r_[y, d]) if labels is None else column_or_1d(labels)
    only_known(y, classes)
    only_known(d, classes, "y_pred")
    shares = (d[:, None] == classes).astype(float)
    return _savings(y, shares, classes, cost, sample_weight, "savings_score")


@validate_params({**_COMMON, "y_proba": ["array-like"]}, prefer_skip_nested_validation=True)
def expected_savings_score(y_true, y_proba, cost, *, labels=None, sample_weight=None):
    r"""Savings of decisions that are drawn from probabilities: :func:`savings_score` of shares of decisions.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    y_proba : array-like of shape (n, C) or, for two classes, (n,) or (n, 1)
        Probabilities of deciding for each class; a single column is that of the second class. Those of
        :func:`review_list` are such.
    cost : array-like of shape (C, C), (n, C, C), (n, C) or, for two classes, (n, 4)
        Costs as in :func:`savings_score`.
    labels : array-like of shape (C,), default=None
        Classes in the order of the columns and of the costs; None sorts those of y_true.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        As :func:`savings_score`. Smooth in the probabilities, but smallest cost is at hard decisions: no score of
        whether probabilities are right.

    Raises
    ------
    ValueError
        If costs are not finite or do not fit rows and classes.

    Examples
    --------
    >>> from skimb.metrics import expected_savings_score
    >>> round(expected_savings_score([0, 0, 0, 1], [0.0, 0.5, 0.5, 1.0], cost=[[0, 1], [10, 0]]), 3)
    0.667
    """
    y = column_or_1d(y_true)
    classes, p = columns_by_class(y, y_proba, labels)
    if labels is not None:
        place = np.searchsorted(classes, column_or_1d(labels))
        classes, p = classes[place], p[:, place]
    return _savings(y, p, classes, cost, sample_weight, "expected_savings_score")


def _savings(y, shares, classes, cost, sample_weight, name):
    w = weights_of(sample_weight, y)
    order = np.argsort(classes)
    code = order[np.searchsorted(classes[order], y)]
    c = decision_costs(cost, code, classes) * w[:, None]
    paid, constant = float((c * shares).sum()), float(c.sum(0).min())
    if constant == 0:
        free = classes.tolist()[c.sum(0).argmin()]
        warn_user(
            f"{name} is undefined: deciding {free!r} for every row costs nothing, so nothing "
            "can be saved; compare mean costs instead."
        )
        return np.nan
    return (constant - paid) / abs(constant)
