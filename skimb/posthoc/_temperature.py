"""Probabilities that are corrected on held-out rows, and how honest they are."""

import numpy as np
from scipy.special import log_softmax, softmax
from scipy.stats import chi2

_FEW = 50.0  # rows of the rarest class under which the temperature is held close to 1
_STEPS = 50
_CLIP = 1e-9  # least probability


class BiasCorrectedTemperature:
    r"""Probabilities :math:`\mathrm{softmax}(a\log q+b)`, by log loss on held-out rows.

    Parameters
    ----------
    scale : float
        :math:`a`, one over the temperature.
    bias : ndarray of shape (C,)
        :math:`b`, 0 for the first class.

    Notes
    -----
    The score equation of :math:`b` makes the mean probabilities of the rows the shares of their classes. A ridge
    of 4 on :math:`a-1` under 50 rows of the rarest class, else of 0.05, keeps separable rows finite.
    """

    def __init__(self, scale, bias):
        self.scale, self.bias = scale, bias

    @classmethod
    def fit(cls, logs, mass, start=None):
        """Fit to logarithms of probabilities (m, C) and the weight (m, C) of each class in each row."""
        n_classes = logs.shape[1]
        theta = np.r_[1.0, np.zeros(n_classes - 1)]
        if start is not None:
            theta = np.r_[start.scale, start.bias[1:]]
        ridge = 4.0 if mass.sum(0).min() < _FEW else 0.05
        weight = mass.sum(1)
        best = _objective(theta, logs, mass, ridge)
        for _ in range(_STEPS):
            step, slope = _newton(theta, logs, mass, weight, ridge)
            if np.abs(slope).max() <= 1e-10 * weight.sum():
                break
            step /= max(1.0, np.abs(step).max())
            while (value := _objective(theta - step, logs, mass, ridge)) > best:
                step = step / 2.0
                if np.abs(step).max() < 1e-14:
                    return cls(theta[0], np.r_[0.0, theta[1:]])
            theta, best = theta - step, value
        return cls(theta[0], np.r_[0.0, theta[1:]])

    def __call__(self, logs):
        return softmax(self.scale * logs + self.bias, 1)


def _objective(theta, logs, mass, ridge):
    scores = theta[0] * logs + np.r_[0.0, theta[1:]]
    return 0.5 * ridge * (theta[0] - 1.0) ** 2 - (mass * log_softmax(scores, 1)).sum()


def _newton(theta, logs, mass, weight, ridge):
    """Newton's step and the gradient."""
    p = softmax(theta[0] * logs + np.r_[0.0, theta[1:]], 1)
    wp = weight[:, None] * p
    centred = logs - (p * logs).sum(1, keepdims=True)
    slope = np.r_[((wp - mass) * logs).sum() + ridge * (theta[0] - 1.0), (wp - mass).sum(0)[1:]]
    curve = np.empty((len(theta), len(theta)))
    curve[0, 0] = (wp * centred**2).sum() + ridge
    curve[0, 1:] = curve[1:, 0] = (wp * centred).sum(0)[1:]
    curve[1:, 1:] = np.diag(wp.sum(0)[1:]) - p[:, 1:].T @ wp[:, 1:]
    curve[np.diag_indices_from(curve)] += 1e-12 * weight.sum()
    return np.linalg.solve(curve, slope), slope


def log_probabilities(proba):
    """Logarithms of probabilities, none below the clip."""
    clipped = np.clip(proba, _CLIP, 1.0 - _CLIP)
    return np.log(clipped / clipped.sum(1, keepdims=True))


def weighted_mean(q, weight):
    return weight @ q / weight.sum()


def features(logs):
    """What a classifier that corrects probabilities is fitted to."""
    return logs[:, 1:] - logs[:, :1] if logs.shape[1] == 2 else logs


def corrected(corrector, logs):
    """Probabilities (m, C) after the correction, none 0."""
    if corrector is None:
        return np.exp(logs)
    if isinstance(corrector, BiasCorrectedTemperature):
        q = corrector(logs)
    else:
        q = corrector.predict_proba(features(logs))
    return np.clip(q, _CLIP, 1.0)


def honesty(q, truth, weight, fitted):
    """P-value and mean error, as a share of the class, of probabilities in groups of equal variance."""
    order = np.argsort(q)
    q, truth, weight = q[order], truth[order], weight[order]
    reached = np.cumsum(weight * q * (1.0 - q))
    groups = int(min(10, reached[-1] / 5.0))
    if groups <= fitted:
        return 1.0, 0.0
    at = np.minimum((reached / reached[-1] * groups).astype(int), groups - 1)
    at = at[np.searchsorted(q, q)]  # ties stay together
    gap = np.bincount(at, weight * (truth - q), groups)
    spread = np.bincount(at, weight**2 * q * (1.0 - q), groups)
    known = spread > 0
    statistic = (gap[known] ** 2 / spread[known]).sum()
    pvalue = chi2.sf(statistic, max(1, known.sum() - fitted))
    return pvalue, np.abs(gap).sum() / (weight @ q)
