"""Ranking scores of one or several classifiers on redrawn rows."""

import numpy as np
from sklearn.utils import check_random_state

from skimb._core.html import Estimate
from skimb._core.proportions import effective_rows

N_DRAWS = 500


class Order:
    """Rows by falling score, made once for many draws of weights.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        Positive rows.
    score : ndarray of shape (n,)
        Scores.
    """

    def __init__(self, truth, score):
        self.order = np.argsort(-score, kind="stable")
        s = score[self.order]
        self.ends = np.r_[np.flatnonzero(s[1:] != s[:-1]), len(s) - 1]
        self.truth = truth[self.order]

    def measure(self, weight):
        """Average precision and ROC AUC with these weights."""
        w = weight[self.order]
        both = w.cumsum()[self.ends]
        hits = (w * self.truth).cumsum()[self.ends]
        found = np.diff(hits, prepend=0.0)
        missed = both - hits
        wrong = np.diff(missed, prepend=0.0)
        precision = np.divide(hits, both, out=np.zeros_like(hits), where=both > 0)
        auc = (wrong * (hits - 0.5 * found)).sum() / (hits[-1] * missed[-1])
        return (found * precision).sum() / hits[-1], auc


def redrawn(truth, scores, weight, random_state, n_draws=N_DRAWS):
    """Average precision and ROC AUC of all scores on the same draws of rows, stratified by class.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        Positive rows.
    scores : list of ndarray of shape (n,)
        One per classifier.
    weight : ndarray of shape (n,)
        Weights; so many rows are drawn as count by Kish's number.
    random_state : int, RandomState or None
        Seed.
    n_draws : int, default=500
        Draws.

    Returns
    -------
    ndarray of shape (n_scores, 2)
        On the rows themselves.
    ndarray of shape (n_draws, n_scores, 2)
        On the draws.
    """
    rng = check_random_state(random_state)
    orders = [Order(truth, score) for score in scores]
    parts = []
    for part in (np.flatnonzero(truth), np.flatnonzero(~truth)):
        part = part[weight[part] > 0]
        parts.append((part, weight[part], max(1, round(effective_rows(weight[part])))))
    even = all(np.ptp(w) == 0 for _, w, _ in parts)
    draws = np.empty((n_draws, len(scores), 2))
    for draw in draws:
        drawn = np.zeros(len(truth))
        for part, w, size in parts:
            chosen = (
                rng.randint(len(part), size=size)
                if even
                else rng.choice(len(part), size, p=w / w.sum())
            )
            drawn[part] = np.bincount(chosen, minlength=len(part)) * (w.sum() / size)
        draw[:] = [order.measure(drawn) for order in orders]
    return np.array([order.measure(weight) for order in orders]), draws


def interval(value, draws, confidence):
    """An estimate with the percentiles of its draws."""
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Estimate(float(value), float(low), float(high))
