"""Quantiles of weighted values, and the columns they are taken of."""

import numpy as np

_SLACK = 1e-12  # share of the mass by which a rounded sum may miss a boundary


def quantiles(values, weight, levels, *, average=False):
    """Quantiles by the inverted distribution function: an integer weight repeats a value.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Finite values, at least one.
    weight : ndarray of shape (n,) or None
        Positive weights.
    levels : ndarray
        Between 0 and 1.
    average : bool, default=False
        Whether to take the middle of two values where a level falls between them.

    Returns
    -------
    ndarray
        One quantile per level; without `average` each is one of the values.
    """
    if weight is None:
        values, mass = np.sort(values), np.arange(1, len(values) + 1)
    else:
        order = np.argsort(values, kind="stable")
        values, mass = values[order], np.cumsum(weight[order])
    at, slack, last = levels * mass[-1], _SLACK * mass[-1], len(values) - 1
    low = values[np.minimum(np.searchsorted(mass, at - slack), last)]
    if not average:
        return low
    high = values[np.minimum(np.searchsorted(mass, at + slack, side="right"), last)]
    return 0.5 * low + 0.5 * high


def present(X, weight):
    """For each column the values that are there, as float64, and their weights."""
    for column in X.T:
        column = np.asarray(column, np.float64)
        there = ~np.isnan(column)
        if there.all():
            yield column, weight
        else:
            yield column[there], None if weight is None else weight[there]
