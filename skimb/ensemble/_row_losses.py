"""Losses of numeric targets that a net grows on: where it starts, slopes, the best step along a block."""

import numpy as np
import torch
from scipy.special import xlogy

from skimb.boosting._regression import RegressionObjective, bind_target


class SquaredError:
    """Half the squared error."""

    def start(self, y, weight):
        """The best constant of each column."""
        return np.average(y, axis=0, weights=weight)

    def rows(self, scores, y):
        """Losses (n, n_columns)."""
        return 0.5 * (scores - y) ** 2

    def mean(self, scores, y, weight):
        """Weighted mean loss."""
        return float(np.average(self.rows(scores, y).mean(1), weights=weight))

    def slopes(self, scores, y):
        """Gradient and second derivative."""
        return scores - y, np.ones_like(scores)

    def inverse(self, scores):
        """Predictions of scores."""
        return scores


class PoissonDeviance(SquaredError):
    """Half the Poisson deviance with log link."""

    def start(self, y, weight):
        if (y < 0).any():
            raise ValueError(
                f"loss='poisson' needs non-negative y, got a minimum of {y.min()}; use loss='squared_error'."
            )
        return np.log(np.maximum(np.average(y, axis=0, weights=weight), 1e-10))

    def rows(self, scores, y):
        return xlogy(y, y) - y * scores - y + np.exp(scores)

    def slopes(self, scores, y):
        mean = np.exp(scores)
        return mean - y, mean

    def inverse(self, scores):
        return np.exp(scores)


class Pinball(SquaredError):
    """The pinball loss of a quantile, of the median twice that: the absolute error."""

    def __init__(self, quantile, factor=1.0):
        self.quantile, self.factor = quantile, factor

    def start(self, y, weight):
        each = np.full(len(y), self.quantile)
        return np.array([best_point(column, each, weight) for column in y.T])

    def rows(self, scores, y):
        miss = y - scores
        return self.factor * np.maximum(self.quantile * miss, (self.quantile - 1.0) * miss)

    def slopes(self, scores, y):
        return self.factor * ((scores > y) - self.quantile), np.ones_like(scores)

    def step(self, scores, y, weight, out):
        """What the best step along a block gains, and the step of each column, exact."""
        steps = np.zeros(y.shape[1])
        for k, (miss, h) in enumerate(zip((y - scores).T, out.T, strict=True)):
            used = h != 0
            if used.any():
                ratio, h = miss[used] / h[used], h[used]
                side = np.where(h > 0, self.quantile, 1.0 - self.quantile)
                steps[k] = best_point(ratio, side, weight[used] * np.abs(h))
        gain = self.rows(scores, y) - self.rows(scores + steps * out, y)
        return (weight[:, None] * gain).sum(), steps


class Balanced(SquaredError):
    """Balanced squared error with a fixed noise scale."""

    def __init__(self, loss, y):
        if y.shape[1] > 1:
            raise ValueError(f"{loss!r} is boosted for one target; y has {y.shape[1]}.")
        self.bound = bind_target(loss, y[:, 0])
        self.objective = RegressionObjective(self.bound)

    def mean(self, scores, y, weight):
        z, t, w = (
            torch.from_numpy(np.ascontiguousarray(a)) for a in (scores[:, 0], y[:, 0], weight)
        )
        return float(self.bound._evaluate(z, t, w)[0])

    def slopes(self, scores, y):
        grad, hess = self.objective._rows(y[:, 0], scores[:, 0], None)
        return grad[:, None], hess[:, None]


def best_point(values, quantile, weight):
    r"""The least minimiser of :math:`\sum_iw_i\,\rho_{q_i}(v_i-a)` in a, with pinball losses of quantiles q.

    Parameters
    ----------
    values, quantile, weight : ndarray of shape (n,)
        Values v, quantiles q, weights w.

    Returns
    -------
    float
        One of the values.
    """
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weight[order])
    at = np.searchsorted(passed, (weight * quantile).sum() * (1.0 - 1e-12))
    return float(values[order][min(at, len(values) - 1)])
