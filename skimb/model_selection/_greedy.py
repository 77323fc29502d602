"""Greedy selection of an ensemble from predictions that were made out of fold."""

import numpy as np


def select(probas, score, rounds):
    """Pick candidates with replacement so that the mean of their probabilities scores best.

    Parameters
    ----------
    probas : list of ndarray of shape (K, n, C) or (K, n, L)
        Per fold, out-of-fold probabilities of all candidates.
    score : callable
        Gives scores (K,) from (fold, probabilities (K, n, C)).
    rounds : int
        Largest number of picks.

    Returns
    -------
    list of int
        Picks, best first; a candidate may stand there several times.
    float
        The ensemble's mean score over folds.

    References
    ----------
    Caruana et al. 2004, doi:10.1145/1015330.1015432.
    """
    picks, best, kept = [], -np.inf, 0
    sums = [np.zeros_like(p[0]) for p in probas]
    for r in range(rounds):
        trial = np.mean(
            [
                score(j, (s + p) / (r + 1))
                for j, (s, p) in enumerate(zip(sums, probas, strict=True))
            ],
            axis=0,
        )
        k = int(np.argmax(np.where(np.isnan(trial), -np.inf, trial)))
        picks.append(k)
        sums = [s + p[k] for s, p in zip(sums, probas, strict=True)]
        if trial[k] > best:
            best, kept = float(trial[k]), r + 1
    return picks[:kept], best
