"""Which rows of a class the next member of an ensemble sees."""

import numpy as np


def hardness(proba, code, kind):
    """How far rows (n, K) are from being told right, by the probability of their own class."""
    p = proba[np.arange(len(code)), code]
    if kind == "absolute":
        return 1.0 - p
    if kind == "squared":
        return (1.0 - p) ** 2
    return -np.log(np.maximum(p, np.finfo(float).tiny))  # "entropy": the row's cross-entropy


def bin_quotas(values, k_bins, alpha, size):
    r"""Bins of equal width over the hardness, and rows to draw from each: :math:`\propto 1/(\bar h_b+\alpha)`.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Hardness.
    k_bins : int
        Bins.
    alpha : float
        Self-paced factor: 0 gives bins equal hardness in sum, large values equal numbers.
    size : int
        Rows to draw.

    Returns
    -------
    ndarray of int, shape (n,)
        Bin of each row.
    ndarray of shape (k_bins,)
        Expected number of rows from each bin; empty bins get none.
    """
    low, high = values.min(), values.max()
    if high - low < 1e-12:  # all the same: one bin
        return np.zeros(len(values), int), np.r_[float(size), np.zeros(k_bins - 1)]
    at = np.minimum(((values - low) / (high - low) * k_bins).astype(int), k_bins - 1)
    count = np.bincount(at, minlength=k_bins)
    mean = np.bincount(at, values, k_bins) / np.maximum(count, 1)
    weight = np.where(count > 0, 1.0 / np.maximum(mean + alpha, 1e-12), 0.0)
    return at, size * weight / weight.sum()


def self_paced_draw(values, size, alpha, k_bins, replacement, soft, rng):
    """Positions of `size` rows drawn by hardness.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Hardness.
    size : int
        Rows to draw, at most n without replacement.
    alpha : float
        Self-paced factor.
    k_bins : int
        Bins.
    replacement : bool
        Whether a row may come several times.
    soft : bool
        Whether bins give their share in expectation only.
    rng : RandomState
        Draws.

    Returns
    -------
    ndarray of int, shape (size,)
        Positions.
    """
    at, quota = bin_quotas(values, k_bins, alpha, size)
    count = np.bincount(at, minlength=k_bins)
    if soft:
        p = (quota / np.maximum(count, 1))[at]
        return _weighted(p, size, replacement, rng)
    # whole numbers by largest remainder, so that exactly `size` rows come
    whole = np.floor(quota).astype(int)
    rest = np.argsort(-(quota - whole), kind="stable")[: size - whole.sum()]
    whole[rest] += 1
    if not replacement:
        whole = _within(whole, count, size)
    rows = [
        rng.choice(np.flatnonzero(at == b), n, replace=replacement)
        for b, n in enumerate(whole)
        if n > 0
    ]
    return np.concatenate(rows)


def _weighted(p, size, replacement, rng):
    p = p / p.sum()
    if replacement or np.count_nonzero(p) >= size:
        return rng.choice(len(p), size, replace=replacement, p=p)
    return rng.choice(len(p), size, replace=False)


def _within(wanted, count, size):
    """Quotas cut to what bins hold; what is missing comes from the others, as evenly as they allow."""
    got = np.minimum(wanted, count)
    while got.sum() < size:
        free = np.flatnonzero(got < count)
        share = np.minimum(max((size - got.sum()) // len(free), 1), (count - got)[free])
        for b, n in zip(free, share, strict=True):
            got[b] += min(n, size - got.sum())
    return got
