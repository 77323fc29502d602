"""Proportions of counted and of weighted rows."""

import numpy as np
from scipy.stats import beta


def proportion_interval(hits, n, confidence):
    """Clopper-Pearson interval of a proportion; counts may be fractions."""
    hits, n = np.broadcast_arrays(np.asarray(hits, float), np.asarray(n, float))
    tail = 0.5 * (1.0 - confidence)
    low = np.where(hits > 0, beta.ppf(tail, np.maximum(hits, 1e-12), n - hits + 1.0), 0.0)
    high = np.where(
        n - hits > 0, beta.ppf(1.0 - tail, hits + 1.0, np.maximum(n - hits, 1e-12)), 1.0
    )
    return low, high


def effective_rows(weight):
    """Kish's number of equally weighted rows that vary as much as these."""
    total = weight.sum()
    return total * total / np.square(weight).sum() if total > 0 else 0.0
