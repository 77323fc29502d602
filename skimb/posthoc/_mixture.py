"""Shares of the classes in unlabelled rows, from the ratio of probabilities to the shares where they were learned.

``u`` are such ratios (m, C), ``count`` (m,) says how many rows stand behind each.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning

from skimb._core.warn import warn_user

_STEPS = 10_000
_TOLERANCE = 1e-9  # of the mean log-likelihood below its maximum


def em_step(shares, u, count, prior, strength=0.0):
    """One step of expectation and maximisation from the `shares` (C,)."""
    mixed = u @ shares
    mass = shares * (count @ (u / mixed[:, None]))
    return (mass + strength * prior) / (count.sum() + strength)


def likely_shares(u, count, prior, strength=0.0):
    """The shares (C,) of the largest likelihood, or of the mode under a Dirichlet prior around `prior`."""
    if u.shape[1] == 2:
        rare = _likely_share(u[:, 0], u[:, 1], count, prior, strength)
        return np.array([1.0 - rare, rare])
    shares = prior
    for _ in range(_STEPS):
        first = em_step(shares, u, count, prior, strength)
        second = em_step(first, u, count, prior, strength)
        gain = np.divide(first, shares, out=np.ones_like(first), where=shares > 0)
        if gain.max() - 1.0 <= _TOLERANCE:
            return first
        shares = _extrapolated(shares, first, second, u, count, prior, strength)
    warn_user("The shares of the classes did not converge.", ConvergenceWarning)
    return shares


def _extrapolated(shares, first, second, u, count, prior, strength):
    """SQUAREM: a longer step along the last two, where it raises the likelihood."""
    step = first - shares
    bend = second - first - step
    if np.abs(bend).max() < 1e-15:
        return second
    length = max(1.0, np.sqrt((step**2).sum() / (bend**2).sum()))
    far = shares + 2.0 * length * step + length**2 * bend
    if far.min() <= 0.0:
        return second
    reached = em_step(far / far.sum(), u, count, prior, strength)
    worth = [_posterior(s, u, count, prior, strength) for s in (reached, second)]
    return reached if worth[0] > worth[1] else second


def _posterior(shares, u, count, prior, strength):
    value = count @ np.log(u @ shares)
    return value + strength * (prior @ np.log(shares)) if strength else value


def _likely_share(u0, u1, count, prior, strength):
    """Share of the second of two classes: the root of a falling function."""
    difference = u1 - u0

    def slope(rare):
        value = count @ (difference / (rare * u1 + (1.0 - rare) * u0))
        return value + strength * (prior[1] / rare - prior[0] / (1.0 - rare)) if strength else value

    low, high = (1e-15, 1.0 - 1e-15) if strength else (0.0, 1.0)
    if slope(low) <= 0.0:
        return low
    if slope(high) >= 0.0:
        return high
    return brentq(slope, low, high, xtol=1e-15, rtol=1e-14)


def log_likelihood(shares, u, count):
    """Of shares, against those where the probabilities were learned."""
    return count @ np.log(u @ shares)


def profile_interval(rare, u, count, confidence):
    """Shares of the second of two classes whose likelihood is not much lower than the largest, that of `rare`."""
    top = log_likelihood(np.array([1.0 - rare, rare]), u, count)
    allowed = 0.5 * chi2.ppf(confidence, 1)

    def excess(share):
        return top - log_likelihood(np.array([1.0 - share, share]), u, count) - allowed

    low = 0.0 if excess(0.0) <= 0.0 else brentq(excess, 0.0, rare, xtol=1e-12)
    high = 1.0 if excess(1.0) <= 0.0 else brentq(excess, rare, 1.0, xtol=1e-12)
    return low, high


def likelihood_intervals(u, count, prior, confidence):
    """Shares (C, 2) of each class that the rows allow while the other classes keep their proportions."""
    found, shares = [], likely_shares(u, count, prior)
    for k, share in enumerate(shares):
        others = np.where(np.arange(len(shares)) == k, 0.0, shares if share < 1.0 else prior)
        against = np.column_stack([u @ (others / others.sum()), u[:, k]])
        found.append(profile_interval(share, against, count, confidence))
    return np.array(found)


def moment_shares(means, q, count):
    """Shares from mean probabilities: those of the classes, `means` (C, C) by column, mix to that of the rows."""
    found, *_ = np.linalg.lstsq(means, count @ q / count.sum(), rcond=None)
    found = np.clip(found, 0.0, None)
    return found / found.sum()


class Grid:
    """Rows whose log probabilities agree up to a width, merged.

    Parameters
    ----------
    key : ndarray of int, shape (m, C - 1)
        Cells.
    logs : ndarray of shape (m, C)
        Mean log probabilities in each, normalised.
    count : ndarray of shape (m,) or (m, J)
        What lies in each.
    """

    width = 0.08

    def __init__(self, key, logs, count):
        self.key, self.logs, self.count = key, logs, count

    @classmethod
    def of(cls, logs, count):
        """From rows."""
        key = np.round((logs[:, 1:] - logs[:, :1]) / cls.width).astype(int)
        return cls._merged(key, logs, count)

    @classmethod
    def _merged(cls, key, logs, count):
        key, cell = np.unique(key, axis=0, return_inverse=True)
        cell = cell.ravel()
        weight = count if count.ndim == 1 else count.sum(1)
        total = np.bincount(cell, weight, len(key))
        mean = np.stack([np.bincount(cell, weight * c, len(key)) for c in logs.T], 1)
        mean /= total[:, None]
        mean -= np.log(np.exp(mean).sum(1, keepdims=True))
        columns = count.reshape(len(count), -1).T
        sums = np.stack([np.bincount(cell, c, len(key)) for c in columns], 1)
        return cls(key, mean, sums.reshape(len(key), *count.shape[1:]))

    def with_rows(self, logs, decay):
        """These cells, less by a factor, and further rows."""
        more = Grid.of(logs, np.ones(len(logs)))
        kept = self.count * decay > 1e-6
        parts = [
            (self.key[kept], self.logs[kept], decay * self.count[kept]),
            (more.key, more.logs, more.count),
        ]
        return self._merged(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))

    def places(self):
        """Where each cell lies on the scale of the log odds of each class, as whole numbers (m, C)."""
        logs = np.column_stack([np.zeros(len(self.key)), self.key * self.width])
        p = np.exp(logs - logs.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p = np.clip(p, 1e-12, 1.0 - 1e-12)
        return np.round((np.log(p) - np.log1p(-p)) / self.width).astype(int)


class FitOfMixture:
    """How far rows lie from every mixture of the classes where the probabilities were learned.

    The distance is that of Anderson and Darling between the distributions of each class's log odds, so that the
    ends count as much as the middle; the largest of the classes.

    Parameters
    ----------
    source : Grid
        Cells with the weight (m, C) of each class.
    target : Grid
        Cells of the rows.
    """

    def __init__(self, source, target):
        places = np.concatenate([source.places(), target.places()])
        columns = places.T[1:] if places.shape[1] == 2 else places.T
        self._places = []
        for column in columns:
            known, at = np.unique(column, return_inverse=True)
            self._places.append((at[: len(source.key)], at[len(source.key) :], len(known)))

    def distance(self, shares, by_class, count, *, resampled=False):
        """From `shares` (C,) of the classes, their weights (m, C) and the counts of target or source cells."""
        found = []
        for of_source, of_target, n in self._places:
            at = of_source if resampled else of_target
            target = np.cumsum(np.bincount(at, count, n)) / count.sum()
            mixed = by_class @ (shares / by_class.sum(0))
            model = np.cumsum(np.bincount(of_source, mixed, n))
            both = 0.5 * (target + model)
            inner = (both > 1e-12) & (both < 1.0 - 1e-12)
            weight = np.diff(both, prepend=0.0)[inner] / (both * (1.0 - both))[inner]
            found.append((weight * (target - model)[inner] ** 2).sum())
        return max(found)
