"""Order statistics that keep a promise about rows, and how many rows that takes."""

import numpy as np
from scipy.stats import binom

_ROUNDING = 1e-9  # alpha (n + 1) is a whole number up to this


def allowed(n, level, delta):
    """Largest number of bad rows among n that rejects a share of `level`; -1 where none does."""
    most = int(binom.ppf(delta, n, level)) if n else -1
    while most >= 0 and binom.cdf(most, n, level) > delta:
        most -= 1
    return most


def least_rows(level, delta):
    """Smallest number of rows that rejects a share of `level` if none is bad."""
    return int(np.ceil(np.log(delta) / np.log1p(-level) - _ROUNDING))


def own_class_rank(n, alpha, confidence=None):
    r"""Rank of the own-class score below which rows may be given up.

    Of `n` exchangeable scores in rising order, a new row of the class lies below the one of this rank with
    probability at most `alpha`: on average over samples, :math:`\lfloor\alpha(n+1)\rfloor`, or, in a share
    `confidence` of samples, :math:`\max\{k:P(\mathrm{Bin}(n,\alpha)\le k-1)\le 1-\text{confidence}\}`.

    Parameters
    ----------
    n : int in [0, inf)
        Scores of rows of the class.
    alpha : float in (0, 1)
        Share of the class that may be lost.
    confidence : float in (0, 1), default=None
        Share of samples for which that holds; None promises it on average.

    Returns
    -------
    int
        Between 0, which gives up nothing, and `n`.

    Examples
    --------
    >>> from skimb._core.ranks import own_class_rank
    >>> own_class_rank(12, 0.1), own_class_rank(100, 0.1), own_class_rank(100, 0.1, 0.95)
    (1, 10, 5)
    """
    if confidence is None:
        return int(np.floor(alpha * (n + 1) + _ROUNDING))
    return allowed(n, alpha, 1.0 - confidence) + 1


def rows_needed(alpha, confidence=None):
    """The least number of rows of a class that lets any be given up."""
    if confidence is None:
        return int(np.ceil(1.0 / alpha - 1.0 - _ROUNDING))
    return least_rows(alpha, 1.0 - confidence)
