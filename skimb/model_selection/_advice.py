"""What a search over losses says about its baselines, in numbers and in words."""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05


class Comparison(NamedTuple):
    """One candidate against another over folds."""

    difference: float
    error: float
    p: float


def compare(scores, baseline, test_share):
    r"""Paired comparison of scores over folds.

    Folds share training rows, so the variance of the mean difference is taken as
    :math:`s^2(1/k + n_{test}/n_{train})` (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366).

    Parameters
    ----------
    scores, baseline : ndarray of shape (k,)
        Scores on the same folds.
    test_share : float
        Test rows per training row.

    Returns
    -------
    Comparison
        Mean difference, its standard error, and the one-sided p-value of "no better".
    """
    d = np.asarray(scores) - np.asarray(baseline)
    k = len(d)
    if k < 2:
        return Comparison(float(d.mean()), np.nan, np.nan)
    error = float(np.sqrt(d.var(ddof=1) * (1.0 / k + test_share)))
    mean = float(d.mean())
    if error == 0.0:
        return Comparison(mean, 0.0, 0.0 if mean > 0 else 1.0)
    return Comparison(mean, error, float(stats.t.sf(mean / error, k - 1)))


def advise(metric, special, baseline, n_special, test_share, tuned):
    """One paragraph: does any special loss beat weighted cross-entropy beyond noise?

    Parameters
    ----------
    metric : str
        Name of the metric.
    special, baseline : tuple of (str, ndarray)
        Name and scores over folds of the best special loss and of the best class-weighted cross-entropy.
    n_special : int
        Special candidates among which the best was picked.
    test_share : float
        Test rows per training row.
    tuned : bool
        Whether the baseline's decisions were made at a tuned threshold.

    Returns
    -------
    str
        The advice.
    Comparison
        The numbers behind it, p already multiplied by `n_special`.
    """
    (name, scores), (base_name, base) = special, baseline
    one = compare(scores, base, test_share)
    p = min(1.0, one.p * n_special)
    at = " at a tuned threshold" if tuned else ""
    numbers = (
        f"{name} has a mean {metric} of {np.mean(scores):.4f} over {len(scores)} folds, class-weighted "
        f"cross-entropy{at} ({base_name}) {np.mean(base):.4f}: a difference of {one.difference:+.4f} +- "
        f"{one.error:.4f}, p = {p:.3g} after correction for {n_special} special candidates"
    )
    if np.isnan(p):
        verdict = "One fold says nothing about noise; use more folds"
    elif p < LEVEL:
        verdict = f"{name} beats class-weighted cross-entropy beyond noise"
    elif one.difference > 0:
        verdict = (
            "No special loss beats class-weighted cross-entropy beyond noise; keep the simpler one unless "
            "more folds say otherwise"
        )
    else:
        verdict = "No special loss beats class-weighted cross-entropy; keep it"
    return f"{verdict}. {numbers}.", Comparison(one.difference, one.error, p)
