"""Tests of promises: how likely are so few bad rows if the share of bad ones were as large as promised against?

Counts may be fractions, as those of weighted rows are.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import betainc, logsumexp
from scipy.stats import beta

BETS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)  # shares of the largest bet that cannot ruin
ORDER_BETS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.95)


def binomial_tail(n, bad, level):
    r"""Probability :math:`P(\mathrm{Bin}(n,a)\le m)` of at most so many bad rows.

    Parameters
    ----------
    n, bad : array-like
        Rows and bad rows among them.
    level : float
        Share of bad rows in the population.

    Returns
    -------
    ndarray
        Probabilities; 1 where there are no rows.
    """
    n, bad = np.broadcast_arrays(np.asarray(n, float), np.asarray(bad, float))
    good = n - bad
    inside = good > 1e-9
    tail = betainc(np.where(inside, good, 1.0), np.maximum(bad, 0.0) + 1.0, 1.0 - level)
    return np.where(inside, tail, 1.0)


def hoeffding_bentkus(n, total, level):
    r"""p-value of the hypothesis that a mean of values in [0, 1] is at least `level`.

    The smaller of Hoeffding's :math:`e^{-n\,\mathrm{KL}(\bar x\|a)}` and Bentkus'
    :math:`e\,P(\mathrm{Bin}(n,a)\le\lceil n\bar x\rceil)`.

    Parameters
    ----------
    n, total : array-like
        Values and their sum.
    level : float
        Mean of the hypothesis, between 0 and 1.

    Returns
    -------
    ndarray
        p-values.
    """
    n, total = np.broadcast_arrays(np.asarray(n, float), np.asarray(total, float))
    mean = np.clip(total / np.maximum(n, 1e-300), 0.0, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [
            np.where(x > 0, x * np.log(x / a), 0.0)
            for x, a in ((mean, level), (1 - mean, 1 - level))
        ]
    hoeffding = np.exp(-n * np.maximum(parts[0] + parts[1], 0.0))
    bentkus = np.e * binomial_tail(n, np.ceil(total - 1e-9), level)
    return np.minimum(1.0, np.minimum(hoeffding, bentkus))


def largest_share(n, bad, delta):
    """One-sided Clopper-Pearson bound: the share of bad rows is at most this with probability 1 - delta."""
    return float(beta.ppf(1.0 - delta, bad + 1.0, n - bad)) if n - bad > 0 else 1.0


def bet(gains, largest, shares=BETS):
    r"""p-values :math:`1/e` of bets on gains that have no positive mean under the hypothesis.

    :math:`e` is the mean over several stakes :math:`\lambda` of :math:`\prod_i(1+\lambda g_i)`; by Markov's
    inequality it reaches :math:`1/\delta` with probability at most :math:`\delta`, whatever the distribution.

    Parameters
    ----------
    gains : callable
        Sums a function of the gains: ``gains(f)`` has one number per cut.
    largest : float
        Largest loss that one gain can be.
    shares : sequence of float, default=BETS
        Stakes as shares of ``1 / largest``.

    Returns
    -------
    ndarray
        p-values, one per cut.
    """
    logs = [gains(lambda g, stake=share / largest: np.log1p(stake * g)) for share in shares]
    return np.exp(-np.maximum(logsumexp(logs, axis=0) - np.log(len(shares)), 0.0))


def best_share(gains, largest):
    """The stake, as a share of ``1 / largest``, under which gains of other rows grow fastest."""
    found = minimize_scalar(
        lambda share: -np.mean(np.log1p(share / largest * gains)),
        bounds=(0.0, 0.99),
        method="bounded",
    )
    return float(found.x)
