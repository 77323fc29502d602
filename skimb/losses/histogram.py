"""Regression as classification over bins of the target."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.warn import warn_user
from skimb.functional.histogram import histogram_targets
from skimb.losses._base import Target
from skimb.losses.regression import RegressionBound, RegressionLoss

_LEVELS = 256  # knots of the quantile transform
_BEYOND = 0.01  # share of later targets outside the bins that is worth a warning
_BLOCK = 10_000  # rows whose targets over bins are made at once for the prior


class _Scale:
    """One target on the scale of its bins: bin b lies between b and b + 1."""

    def __init__(self, y, weight, transform, support, n_bins, pad):
        self.transform, self.n_bins = transform, n_bins
        if transform == "quantile":
            self.knots, self.levels = _ranks(y, weight)
        ends = self._forward(np.array([y.min(), y.max()]) if support is None else support)
        if not ends[0] < ends[1]:  # one value
            ends = np.array([ends[0] - 1.0, ends[0] + 1.0])
        inside = n_bins - 2.0 * pad if support is None else n_bins
        self.width = (ends[1] - ends[0]) / inside
        self.start = ends[0] - 0.5 * (n_bins - inside) * self.width

    def _forward(self, y):
        if self.transform == "log":
            return np.log(y)
        return np.interp(y, self.knots, self.levels) if self.transform == "quantile" else y

    def position(self, y):
        """Target values in units of bins, not clipped."""
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = self._forward(np.maximum(y, 0.0) if self.transform == "log" else y)
        return (moved - self.start) / self.width

    def value(self, position):
        """Target values at positions."""
        moved = self.start + self.width * np.asarray(position, float)
        if self.transform == "log":
            return np.exp(moved)
        return np.interp(moved, self.levels, self.knots) if self.transform == "quantile" else moved


def _ranks(y, weight):
    """Target values and their ranks in [0, 1], equal values in the middle of theirs."""
    knots, at = np.unique(y, return_inverse=True)
    mass = np.bincount(at, weight)
    rank = np.cumsum(mass) - 0.5 * mass
    rank = (rank - rank[0]) / max(rank[-1] - rank[0], np.finfo(float).tiny)
    if len(knots) > _LEVELS:
        level = np.linspace(0.0, 1.0, _LEVELS)
        knots, rank = np.interp(level, rank, knots), level
    return knots, rank


class HistogramBound(RegressionBound):
    """Cross-entropy over bins of one training target: scales, prior and prediction.

    Parameters
    ----------
    scales : list of _Scale
        One per target.
    prior : ndarray of shape (n_targets, n_bins)
        Mean targets over bins in training.
    mean_weight : ndarray of shape (n_targets,)
        Mean of the prior's row weights.
    params : dict
        ``kind``, ``sigma``, ``tau``, ``prior_power``, ``prediction`` of the loss.
    """

    link_name = "softmax"

    def __init__(self, scales, prior, mean_weight, params):
        super().__init__()
        self.scales, self.prior, self.mean_weight, self.params = scales, prior, mean_weight, params
        self.width = prior.shape[1]

    def encode(self, target, logits, cost=None):
        """Target values in units of bins, within the bins."""
        self._without_bags(cost)
        y = target.detach().cpu().double().numpy()
        at = np.clip(self._positions(y), 0.0, self.width)
        return Target(torch.from_numpy(at).to(device=target.device, dtype=logits.dtype))

    def _positions(self, y):
        columns = y.reshape(len(y), -1)
        parts = [
            scale.position(column) for scale, column in zip(self.scales, columns.T, strict=True)
        ]
        return np.stack(parts, 1).reshape(y.shape)

    def go_on(self, before, y, *, incremental):
        """Keep the bins that the weights were trained for."""
        if not isinstance(before, HistogramBound):
            return
        if before.prior.shape != self.prior.shape:
            raise ValueError(
                f"{self.name}: training goes on with {before.width} bins, which the weights belong to; keep "
                "n_bins or fit anew."
            )
        self.scales, self.prior, self.mean_weight = before.scales, before.prior, before.mean_weight
        at = self._positions(y)
        beyond = float(np.mean((at < 0.0) | (at > self.width)))
        if beyond > _BEYOND:
            warn_user(
                f"{self.name}: {beyond:.1%} of the targets lie outside the bins of the first fit and count as "
                "their ends; fit anew, or give support=(low, high) before.",
            )

    # --- the loss ----------------------------------------------------------------------------

    def _log_prior(self, like):
        return self.cached(like, "log_prior", lambda: torch.from_numpy(np.log(self.prior)).to(like))

    def _over_bins(self, raw, log_factor):
        """Log probabilities (n, n_targets, n_bins) of raw outputs times the prior to a power."""
        z = raw.reshape(len(raw), *self.prior.shape)
        if log_factor:
            z = z + log_factor * self._log_prior(raw)
        return torch.log_softmax(z, -1)

    def entries(self, raw, target):
        loss, grad, _ = self._rows(raw, target)
        return loss.reshape(target.shape), grad.reshape(raw.shape)

    def _rows(self, raw, target):
        """Loss (n, n_targets), gradient and diagonal Hessian (n, n_targets, n_bins)."""
        p = self.params
        log_p = self._over_bins(raw, p["tau"])
        u = target.reshape(len(raw), -1)
        t = histogram_targets(u, self.width, kind=p["kind"], sigma=p["sigma"])
        probability = log_p.exp()
        loss, grad = -(t * log_p).sum(-1), probability - t
        hess = probability * (1.0 - probability)
        if p["prior_power"]:
            rare = torch.exp(-p["prior_power"] * self._log_prior(raw))
            weight = (t * rare).sum(-1) / torch.from_numpy(self.mean_weight).to(raw)
            loss, grad, hess = (
                loss * weight,
                grad * weight.unsqueeze(-1),
                hess * weight.unsqueeze(-1),
            )
        return loss, grad, hess

    def grad_hess(self, logits, target, convex=True):
        """Gradient and diagonal Hessian of each row loss, (n, n_bins), for one target."""
        _, grad, hess = self._rows(logits, target)
        return grad.reshape(logits.shape), hess.reshape(logits.shape)

    # --- predictions -------------------------------------------------------------------------

    def probabilities(self, raw):
        """Probabilities of the bins, (n, n_targets, n_bins)."""
        p = self.params
        undone = p["tau"] + p["prior_power"] - (p["prediction"] == "balanced")
        return self._over_bins(raw, undone).exp()

    def at_bins(self, offset):
        """Target values at an offset in each bin, (n_targets, n_bins)."""
        return np.stack([scale.value(np.arange(self.width) + offset) for scale in self.scales])

    def quantiles(self, p, q):
        """Target values (n, n_targets) below which a share q of probabilities (n, n_targets, n_bins) lies."""
        end = p.cumsum(-1)
        at = np.minimum((end < q * end[..., -1:]).sum(-1), self.width - 1)
        own = np.take_along_axis(p, at[..., None], -1)[..., 0]
        over = np.take_along_axis(end, at[..., None], -1)[..., 0] - q * end[..., -1]
        part = 1.0 - np.divide(over, own, out=np.zeros_like(own), where=own > 0)
        found = [
            scale.value(column) for scale, column in zip(self.scales, (at + part).T, strict=True)
        ]
        return np.stack(found, 1)

    def above(self, p, threshold):
        """Probability (n, n_targets) of values above a threshold."""
        at = np.array([float(scale.position(np.array(threshold, float))) for scale in self.scales])
        share = np.clip(np.arange(self.width) + 1.0 - at[:, None], 0.0, 1.0)
        return (p * share).sum(-1)

    def inverse_link(self, raw):
        return (self.probabilities(raw) * torch.from_numpy(self.at_bins(0.5)).to(raw)).sum(-1)


class HistogramGaussian(RegressionLoss):
    r"""Regression over bins (HL-Gauss): cross-entropy against a Gaussian around the target value, cut into bins.

    :math:`-\sum_bt_b\log p_b` with :math:`t_b\propto\Phi(\frac{e_{b+1}-y}{\sigma})-\Phi(\frac{e_b-y}{\sigma})` and
    :math:`p=\mathrm{softmax}(z+\tau\log\pi)`; the prediction is the mean of the bins' centres.

    **Shapes.** outputs (n, n_targets times n_bins); target (n,) or (n, n_targets).

    Parameters
    ----------
    n_bins : int in [2, inf), default=51
        Bins of equal width. With few rows take 10 to 20 and ``sigma=1``.
    sigma : float in (0, inf), default=0.75
        Standard deviation of the Gaussian, in widths of a bin.
    support : "auto" or (float, float), default="auto"
        Ends of the bins, in units of the target. "auto" pads the range of the target by three standard deviations,
        without which values near the ends, the rare ones, would be drawn inwards.
    kind : {"gauss", "two-hot", "one-hot"}, default="gauss"
        Targets over bins: the Gaussian, a split between the two nearest centres, or the bin alone.
    transform : {"log", "quantile"}, default=None
        Scale on which bins have equal width: the logarithm of a positive target, its ranks, or the target itself.
        Predictions are means on the scale of the target.
    tau : float in [0, inf), default=0.0
        Strength of the logit adjustment by the prior :math:`\pi` of the bins.
    prior_power : float in [0, inf), default=0.0
        Row weights :math:`\sum_bt_b\pi_b^{-\rho}`, scaled to a mean of 1.
    prediction : {"natural", "balanced"}, default="natural"
        Probabilities of the training population, or those as if every bin were equally frequent.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, bins do not suffice for the padding, or the target does not
        suit the transform.

    Notes
    -----
    The prior is the mean of the training rows' targets over bins, smoothed by one bin and at least a tenth of the
    uniform one (ours). Adjustment and weights are undone for "natural" predictions: :math:`p\,\pi^{\tau+\rho}`; the
    weights up to the width of the Gaussian. The "balanced" one divides by :math:`\pi` once, whatever `tau` is; with
    ``tau=1`` it is the softmax of the outputs, a peer of :class:`BalancedMSE`. The loss ends at the entropy of the
    targets, 1.2 for the defaults. Training that goes on keeps the bins and the prior of the first fit and warns if
    more than 1 % of the targets lie outside.

    The paper trains value functions for play by deep nets; on small tables its claim of robustness to noisy targets
    was not seen. What it offers there is a distribution per row: ``predict_distribution``, ``predict_quantile``,
    ``predict_std`` and ``predict_exceedance`` of :class:`~skimb.neural_network.MLPRegressor`.

    References
    ----------
    Farebrother et al. 2024, arXiv:2403.03950; Imani and White 2018, arXiv:1806.04613.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skimb.losses import HistogramGaussian
    >>> bound = HistogramGaussian(n_bins=5, support=(0.0, 1.0)).bind(np.array([0.1, 0.5, 0.9]))
    >>> z = torch.zeros(1, 5)
    >>> loss, grad = bound.loss_grad(z, bound.encode(torch.tensor([0.5]), z))
    >>> [round(-g, 3) for g in grad[0].tolist()]  # targets over bins less 1/5
    [-0.178, 0.03, 0.295, 0.03, -0.178]
    """

    _parameter_constraints = {
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "support": [StrOptions({"auto"}), tuple, list],
        "kind": [StrOptions({"gauss", "two-hot", "one-hot"})],
        "transform": [StrOptions({"log", "quantile"}), None],
        "tau": [Interval(Real, 0, None, closed="left")],
        "prior_power": [Interval(Real, 0, None, closed="left")],
        "prediction": [StrOptions({"natural", "balanced"})],
    }

    def __init__(
        self,
        n_bins=51,
        sigma=0.75,
        support="auto",
        kind="gauss",
        transform=None,
        tau=0.0,
        prior_power=0.0,
        prediction="natural",
    ):
        self.n_bins = n_bins
        self.sigma = sigma
        self.support = support
        self.kind = kind
        self.transform = transform
        self.tau = tau
        self.prior_power = prior_power
        self.prediction = prediction

    def _bind(self, y, sample_weight):
        columns = y.reshape(len(y), -1)
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        support, pad = self._support(), self._pad()
        if self.transform == "log" and not (columns > 0).all():
            raise ValueError(
                f"{self!r}: transform='log' needs a positive target, got a minimum of {columns.min():.4g}; "
                "use transform='quantile' or None."
            )
        bins = (self.transform, support, int(self.n_bins), pad)
        scales = [_Scale(column, weight, *bins) for column in columns.T]
        names = ("kind", "sigma", "tau", "prior_power", "prediction")
        params = {name: getattr(self, name) for name in names}
        parts = [self._prior_of(s, c, weight) for s, c in zip(scales, columns.T, strict=True)]
        prior, mean = (np.stack(part) for part in zip(*parts, strict=True))
        return HistogramBound(scales, prior, mean, params)

    def _support(self):
        """The ends that the user gave, or None."""
        if isinstance(self.support, str):
            return None
        ends = np.asarray(self.support, float)
        if ends.shape != (2,) or not np.isfinite(ends).all() or not ends[0] < ends[1]:
            raise ValueError(
                f"{self!r}: support must be two finite numbers (low, high) with low < high."
            )
        if self.transform == "quantile":
            raise ValueError(
                f"{self!r}: ranks have no support to choose; leave support='auto' or the transform out."
            )
        if self.transform == "log" and ends[0] <= 0:
            raise ValueError(f"{self!r}: the support of transform='log' must be positive.")
        return ends

    def _pad(self):
        """Bins beyond the range of the target on each side."""
        if self.kind != "gauss":
            return 0.5 * (self.kind == "two-hot")  # whose outer centres are the ends
        pad = 3.0 * self.sigma
        if isinstance(self.support, str) and not self.n_bins > 2.0 * pad:
            raise ValueError(
                f"{self!r}: padding by three standard deviations takes {2.0 * pad:g} of {self.n_bins} bins; "
                "take more bins, a smaller sigma, or give support=(low, high)."
            )
        return pad

    def _prior_of(self, scale, y, weight):
        """Prior of the bins of one target, and the mean of the row weights by it."""
        n_bins = int(self.n_bins)
        at = torch.from_numpy(np.clip(scale.position(y), 0.0, n_bins))
        share = torch.from_numpy(weight / weight.sum())
        mass = sum(
            share[i : i + _BLOCK] @ histogram_targets(at[i : i + _BLOCK], n_bins, kind=self.kind, sigma=self.sigma)
            for i in range(0, len(y), _BLOCK)
        ).numpy()  # fmt: skip
        prior = np.maximum(gaussian_filter1d(mass, 1.0, mode="reflect"), 0.1 / n_bins)
        prior /= prior.sum()
        return prior, float(mass @ prior**-self.prior_power)
