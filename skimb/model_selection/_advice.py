"""What a search over losses says about its baselines, in numbers and in words."""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
WEIGHTED_RIVAL = "class-weighted cross-entropy"


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


def advise(metric, special, baseline, n_special, test_share, tuned, rival):
    """One paragraph: does any special loss beat its rival beyond noise?

    Parameters
    ----------
    metric : str
        Name of the metric.
    special, baseline : tuple of (str, ndarray)
        Name and scores over folds of the best special loss and of the best rival.
    n_special : int
        Special candidates among which the best was picked.
    test_share : float
        Test rows per training row.
    tuned : bool
        Whether the baseline's decisions were made at a tuned threshold.
    rival : str
        What the baseline is, in words.

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
        f"{name} has a mean {metric} of {np.mean(scores):.4f} over {len(scores)} folds, {rival}"
        f"{at} ({base_name}) {np.mean(base):.4f}: a difference of {one.difference:+.4f} +- "
        f"{one.error:.4f}, p = {p:.3g} after correction for {n_special} special candidates"
    )
    if np.isnan(p):
        verdict = "One fold says nothing about noise; use more folds"
    elif p < LEVEL:
        verdict = f"{name} beats {rival} beyond noise"
    elif one.difference > 0:
        verdict = (
            f"No special loss beats {rival} beyond noise; keep the simpler one unless more folds say "
            "otherwise"
        )
    else:
        verdict = f"No special loss beats {rival}; keep it"
    return f"{verdict}. {numbers}.", Comparison(one.difference, one.error, p)


def advise_estimators(metric, names, labels, scores, finished, test_share):
    """One paragraph: which estimator is best, and is it so beyond noise?

    Parameters
    ----------
    metric : str
        Name of the metric.
    names : ndarray of shape (K,)
        Estimator of each candidate.
    labels : list of str
        Candidates in words.
    scores : ndarray of shape (K, folds)
        Their scores.
    finished : ndarray of bool, shape (K,)
        Candidates that count.
    test_share : float
        Test rows per training row.

    Returns
    -------
    str
        The advice.
    Comparison or None
        The best estimator against the next one, p multiplied by the number of candidates that are not
        of the latter; None where nothing can be compared.
    """
    means = np.where(finished, scores.mean(1), -np.inf)
    best = {
        name: max(np.flatnonzero(names == name), key=lambda k: means[k])
        for name in dict.fromkeys(names)
    }
    order = sorted((k for k in best.values() if finished[k]), key=lambda k: -means[k])
    lost = [name for name, k in best.items() if not finished[k]]
    left_out = f" No candidate of {', '.join(lost)} was trained without an error." if lost else ""
    if not order:
        return f"Nothing to compare.{left_out}", None
    first = order[0]
    text = f"{names[first]} is best: {labels[first]} has a mean {metric} of {means[first]:.4f}"
    if len(order) == 1:
        return f"{text} over {scores.shape[1]} folds.{left_out}", None
    second = order[1]
    one = compare(scores[first], scores[second], test_share)
    n = int((finished & (names != names[second])).sum())
    p = min(1.0, one.p * n)
    if np.isnan(p):
        verdict = "one fold says nothing about noise"
    else:
        verdict = "beyond noise" if p < LEVEL else "within noise"
    others = ", ".join(f"{labels[k]} {means[k]:.4f}" for k in order[1:])
    return (
        f"{text} over {scores.shape[1]} folds, {others}. Its lead over {names[second]} is {one.difference:+.4f} +- "
        f"{one.error:.4f}, p = {p:.3g} after correction for {n} candidates: {verdict}.{left_out}"
    ), Comparison(one.difference, one.error, p)
