"""Element-wise losses over labels; exclusive classes are taken one against the rest."""

from numbers import Real

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.utils._param_validation import Interval

from skimb.functional import _shapes as shapes
from skimb.functional import multilabel as kernel
from skimb.functional.sigmoid import asymmetric_grad_hess, asymmetric_rows
from skimb.functional.softmax import by_sign
from skimb.losses._base import Loss, as_like
from skimb.losses._labels import LabelBound, as_labels
from skimb.losses.softmax import CrossEntropy, Focal

_BINARY = frozenset({"binary", "multilabel"})


def _label_counts(prior):
    """Rows with each label or class, at least one; the second class alone for two classes."""
    counts = np.maximum(np.asarray(prior.counts, float), 1.0)
    return counts[1:] if not prior.multilabel and prior.n_classes == 2 else counts


def _frequencies(prior):
    return prior.prior[1:] if not prior.multilabel and prior.n_classes == 2 else prior.prior


class BinaryFocalBound(LabelBound):
    """Focal loss of labels with a weight for positives, invertible label by label."""

    def __init__(self, gamma, alpha):
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def _weight(self, sign):
        return by_sign(sign, 1.0 - self.alpha, self.alpha)

    def values(self, z, sign):
        return kernel.weighted_rows(z, sign, self._weight(sign), gamma=self.gamma)

    def second_values(self, z, sign):
        return kernel.weighted_grad_hess(z, sign, self._weight(sign), gamma=self.gamma)

    def log_scores(self, logits):
        pair = self.has_class_axis(logits) and self.n_classes == 2
        z = logits[..., 1] - logits[..., 0] if pair else logits
        shape = shapes.Focal(self.gamma)
        log_p, log_q = F.logsigmoid(z), F.logsigmoid(-z)
        odds = log_p - shape.log_slope(log_p, log_q) - log_q + shape.log_slope(log_q, log_p)
        odds = odds - float(np.log(self.alpha) - np.log1p(-self.alpha))
        return F.logsigmoid(odds) if self.has_class_axis(logits) and not pair else odds


class BinaryFocal(Loss):
    r"""Focal loss of labels: :math:`-\alpha_t(1-p_t)^\gamma\log p_t` with :math:`p=\sigma(z)`.

    **Shapes.** logits (..., n) or (..., n, L) with 0/1 targets of the same shape; (..., n, C) with class
    indices, each class against the rest and summed.

    Parameters
    ----------
    gamma : float in [0, inf), default=2.0
        Focusing exponent.
    alpha : float in (0, 1), default=0.25
        Weight of positives against ``1 - alpha`` of negatives. Below one half, because focusing already
        silences easy negatives.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    This is the form of object detection; :class:`Focal` is the softmax form. Probabilities: odds are corrected for
    alpha and for :math:`\varphi'`; classes one against the rest are then normalised.

    References
    ----------
    Lin et al. 2017, arXiv:1708.02002.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import BinaryFocal, ClassPrior
    >>> bound = BinaryFocal().bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.5, -1.0]), torch.tensor([1, 0])).item(), 4)
    0.0169
    """

    one_sided = True
    _parameter_constraints = {
        "gamma": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
    }
    _grid = {"gamma": [0.5, 1.0, 2.0], "alpha": [0.25, 0.5, 0.75]}
    reduces_to: tuple = (({"gamma": 1.5, "alpha": 0.25}, Focal(1.5, alpha=0.25), _BINARY),)

    def __init__(self, gamma=2.0, alpha=0.25):
        self.gamma = gamma
        self.alpha = alpha

    def _bind(self, prior):
        return BinaryFocalBound(float(self.gamma), float(self.alpha))


class MultiFocalBound(LabelBound):
    """Asymmetric loss whose exponents and weights depend on the frequency of a label."""

    def __init__(self, factor, gamma_neg, gamma_pos, w_neg, w_pos, clip):
        super().__init__()
        self.factor = factor
        self.gammas = tuple(
            np.minimum(gamma + w * factor, kernel.LARGEST_FACTOR)
            for gamma, w in ((gamma_neg, w_neg), (gamma_pos, w_pos))
        )
        self.clip = clip

    def _kw(self, z):
        neg, pos, factor = self.cached(
            z, "terms", lambda: tuple(as_like(a, z) for a in (*self.gammas, self.factor))
        )
        return {"gamma_neg": neg, "gamma_pos": pos, "clip": self.clip}, factor

    def values(self, z, sign):
        kw, factor = self._kw(z)
        loss, grad = asymmetric_rows(z, sign, **kw)
        return loss * factor, grad * factor

    def second_values(self, z, sign):
        kw, factor = self._kw(z)
        grad, hess = asymmetric_grad_hess(z, sign, **kw)
        return grad * factor, hess * factor


class MultiFocal(Loss):
    r"""Multi-focal modifier: asymmetric loss with exponents and weights by label frequency.

    :math:`-\omega_k[t(1-p)^{\gamma^+_k}\log p+(1-t)\,p_m^{\gamma^-_k}\log(1-p_m)]`,
    :math:`\gamma^\pm_k=\gamma^\pm+w^\pm\omega_k`, :math:`\omega_k=(1-\log(n_k/n_{\max}))^{a}`,
    :math:`p_m=\max(p-m,0)`.

    **Shapes.** logits (..., n, L) with 0/1 targets of the same shape; (..., n) as one label; (..., n, C) with
    class indices, each class against the rest and summed.

    Parameters
    ----------
    gamma_neg, gamma_pos : float in [0, inf), default=3.0, 0.0
        Exponents shared by all labels.
    w_neg, w_pos : float in [0, inf), default=1.0, 0.0
        Strength of the frequency factor in the exponents.
    clip : float in [0, 1), default=0.05
        Probability margin m of negatives.
    power : float in [0, inf), default=1/3
        Exponent a of the frequency factor; 0 gives every label the factor 1.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    This is the modifier of the COMIC framework, whose correction of missing labels and three-net training belong
    to an estimator and are not part of this loss. Defaults are those of its released implementation,
    which detaches the focusing factors; the paper does not say so, and the gradient here is the full one.
    Probabilities are not recoverable: ``calibrated`` is False.

    References
    ----------
    Zhang et al. 2023, arXiv:2304.10539.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, MultiFocal
    >>> bound = MultiFocal().bind(ClassPrior(counts=[30, 3], n_samples=60, multilabel=True))
    >>> round(bound(torch.tensor([[2.0, -1.0], [0.0, 1.0]]), torch.tensor([[1, 0], [0, 1]])).item(), 4)
    0.3092
    """

    calibrated = False
    one_sided = True
    _parameter_constraints = {
        "gamma_neg": [Interval(Real, 0, None, closed="left")],
        "gamma_pos": [Interval(Real, 0, None, closed="left")],
        "w_neg": [Interval(Real, 0, None, closed="left")],
        "w_pos": [Interval(Real, 0, None, closed="left")],
        "clip": [Interval(Real, 0, 1, closed="left")],
        "power": [Interval(Real, 0, None, closed="left")],
    }
    _grid = {"gamma_neg": [1.0, 3.0], "w_neg": [0.0, 1.0], "clip": [0.0, 0.05]}
    reduces_to: tuple = (
        (
            {
                "gamma_neg": 0.0,
                "gamma_pos": 0.0,
                "w_neg": 0.0,
                "w_pos": 0.0,
                "clip": 0.0,
                "power": 0.0,
            },
            CrossEntropy(),
            _BINARY,
        ),
    )

    def __init__(self, gamma_neg=3.0, gamma_pos=0.0, w_neg=1.0, w_pos=0.0, clip=0.05, power=1 / 3):
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.w_neg = w_neg
        self.w_pos = w_pos
        self.clip = clip
        self.power = power

    def _bind(self, prior):
        n = _label_counts(prior)
        with np.errstate(over="ignore"):
            factor = (1.0 - np.log(n / n.max())) ** float(self.power)
        factor = np.minimum(factor, kernel.LARGEST_FACTOR)
        gammas = (
            float(self.gamma_neg),
            float(self.gamma_pos),
            float(self.w_neg),
            float(self.w_pos),
        )
        return MultiFocalBound(factor, *gammas, float(self.clip))


class DistributionBalancedBound(LabelBound):
    """Re-balanced, shifted and focused cross-entropy of labels."""

    def __init__(self, counts, n_samples, kappa, spread, gamma, **kw):
        super().__init__()
        self.inverse = 1.0 / counts
        rest = np.maximum(n_samples - counts, 1.0)
        self.shift = -(kappa / spread) * np.log(rest / counts)
        self.spread, self.gamma, self.kw = spread, gamma, kw

    def _args(self, z, sign):
        inverse, shift = self.cached(
            z, "terms", lambda: (as_like(self.inverse, z), as_like(self.shift, z))
        )
        weight = kernel.rebalancing_weight(sign, inverse, spread=self.spread, **self.kw)
        return weight, {"gamma": self.gamma, "shift": shift, "spread": (self.spread, 1.0)}

    def values(self, z, sign):
        weight, kw = self._args(z, sign)
        return kernel.weighted_rows(z, sign, weight, **kw)

    def second_values(self, z, sign):
        weight, kw = self._args(z, sign)
        return kernel.weighted_grad_hess(z, sign, weight, **kw)


class DistributionBalanced(Loss):
    r"""Distribution-balanced loss: re-balanced weights, negative-tolerant logits, focal.

    Weight :math:`\hat r=\alpha+\sigma(\beta(r-\mu))` with :math:`r_{ik}=n_k^{-1}/\sum_jt_{ij}n_j^{-1}`;
    negatives use :math:`\lambda(z+\nu_k)` with weight :math:`\hat r/\lambda`,
    :math:`\nu_k=-\frac\kappa\lambda\log(N/n_k-1)`.

    **Shapes.** logits and 0/1 target (..., n, L); (..., n, C) with class indices, each against the rest.

    Parameters
    ----------
    alpha : float in [0, inf), default=0.1
        Least weight.
    beta : float in [0, inf), default=10.0
        Slope of the smoothed weight.
    mu : float, default=0.2
        Centre of the smoothed weight.
    kappa : float in [0, inf), default=0.05
        Scale of the prior shift.
    spread : float in (0, inf), default=5.0
        Scale :math:`\lambda` of negative logits; 2 and 5 in the paper.
    gamma : float in [0, inf), default=2.0
        Focusing exponent.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The authors' constant factor in front is left out: it acts like the learning rate. Rows without a label
    have an infinite ratio and get the largest weight. Their training also samples rows by class.
    Probabilities are not recoverable: ``calibrated`` is False.

    References
    ----------
    Wu et al. 2020, arXiv:2007.09654.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, DistributionBalanced
    >>> bound = DistributionBalanced().bind(ClassPrior(counts=[30, 3], n_samples=60, multilabel=True))
    >>> round(bound(torch.tensor([[2.0, -1.0], [0.0, 1.0]]), torch.tensor([[1, 0], [0, 1]])).item(), 4)
    0.0207
    """

    tasks = frozenset({"multiclass", "multilabel"})
    calibrated = False
    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "mu": [Interval(Real, None, None, closed="neither")],
        "kappa": [Interval(Real, 0, None, closed="left")],
        "spread": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="left")],
    }
    _grid = {"mu": [0.2, 0.3], "spread": [2.0, 5.0], "gamma": [0.0, 2.0]}
    reduces_to: tuple = (
        (
            {"alpha": 0.5, "beta": 0.0, "kappa": 0.0, "spread": 1.0, "gamma": 0.0},
            CrossEntropy(),
            {"multilabel"},
        ),
    )

    def __init__(self, alpha=0.1, beta=10.0, mu=0.2, kappa=0.05, spread=5.0, gamma=2.0):
        self.alpha = alpha
        self.beta = beta
        self.mu = mu
        self.kappa = kappa
        self.spread = spread
        self.gamma = gamma

    def _bind(self, prior):
        n = _label_counts(prior)
        total = prior.n_samples if prior.multilabel else n.sum()
        kw = {
            name: float(getattr(self, name))
            for name in ("alpha", "beta", "mu", "kappa", "spread", "gamma")
        }
        return DistributionBalancedBound(n, float(total), **kw)


class EqualizationBound(LabelBound):
    """Cross-entropy of labels in which rare labels ignore the rows of other labels."""

    def __init__(self, tail, background):
        super().__init__()
        self.tail, self.background = tail, background

    def _weight(self, z, sign):
        tail = self.cached(z, "tail", lambda: as_like(self.tail, z))
        return kernel.equalization_weight(sign, tail, self.background)

    def values(self, z, sign):
        return kernel.weighted_rows(z, sign, self._weight(z, sign))

    def second_values(self, z, sign):
        return kernel.weighted_grad_hess(z, sign, self._weight(z, sign))


class Equalization(Loss):
    r"""Equalization loss: rare labels take no negative gradient from rows of other labels.

    Cross-entropy of labels with weight :math:`1-E(r)\,T_\lambda(f_k)(1-t)`: E is 0 for background rows, T is 1
    for labels rarer than :math:`\lambda`.

    **Shapes.** logits and 0/1 target (..., n, L); (..., n, C) with class indices, each against the rest.

    Parameters
    ----------
    threshold : float in [0, 1], default=0.00177
        Frequency :math:`\lambda` below which a label is rare; the value of the paper is for LVIS.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Background rows are those without any label; with exclusive classes those of the most frequent class,
    which keeps rare classes from growing without bound. Probabilities are not recoverable.

    References
    ----------
    Tan et al. 2020, arXiv:2003.05176.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Equalization
    >>> bound = Equalization(threshold=0.1).bind(ClassPrior(counts=[30, 3], n_samples=60, multilabel=True))
    >>> round(bound(torch.tensor([[2.0, -1.0], [0.0, 1.0]]), torch.tensor([[1, 0], [0, 1]])).item(), 4)
    0.5667
    """

    tasks = frozenset({"multiclass", "multilabel"})
    calibrated = False
    _parameter_constraints = {"threshold": [Interval(Real, 0, 1, closed="both")]}
    _grid = {"threshold": [0.00177, 0.01, 0.05]}
    reduces_to: tuple = (({"threshold": 0.0}, CrossEntropy(), {"multilabel"}),)

    def __init__(self, threshold=0.00177):
        self.threshold = threshold

    def _bind(self, prior):
        tail = (np.asarray(prior.prior) < self.threshold).astype(float)
        background = None if prior.multilabel else int(np.argmax(prior.prior))
        return EqualizationBound(tail, background)


class EqualizationV2Bound(LabelBound):
    """Cross-entropy of labels weighted by the gathered gradients of both sides."""

    requires = frozenset({"memory"})

    def __init__(self, width, gamma, mu, alpha):
        super().__init__()
        self.kw = {"gamma": gamma, "mu": mu, "alpha": alpha}
        self.register_buffer("gathered", torch.zeros(2, width, dtype=torch.float64))

    def _weight(self, z, sign):
        ratio = self.gathered[1] / (self.gathered[0] + 1e-10)
        ratio = torch.where(self.gathered.sum(0) > 0, ratio, torch.full_like(ratio, 100.0))
        positive, negative = kernel.equalization_v2_weights(ratio, **self.kw)
        return by_sign(sign, negative.to(z), positive.to(z))

    def values(self, z, sign):
        return kernel.weighted_rows(z, sign, self._weight(z, sign))

    def second_values(self, z, sign):
        return kernel.weighted_grad_hess(z, sign, self._weight(z, sign))

    def observe(self, logits, target, weight=None):
        """Add a batch's gradients of positives and negatives to those gathered so far."""
        z, sign, _ = as_labels(self, logits, target)
        size = torch.sigmoid(-z * sign) * self._weight(z, sign)
        if weight is not None:
            size = size * (weight if weight.ndim == size.ndim else weight.unsqueeze(-1))
        size = size.reshape(-1, size.shape[-1]).double()
        up = (sign > 0).reshape(-1, size.shape[-1])
        self.gathered[0] += torch.where(up, 0.0, size).sum(0)
        self.gathered[1] += torch.where(up, size, 0.0).sum(0)


class EqualizationV2(Loss):
    r"""Equalization loss v2: sides of a label weigh by the ratio of their gathered gradients.

    With g the gathered gradient of positives over that of negatives, negatives weigh
    :math:`f=1/(1+e^{-\gamma(g-\mu)})`, positives :math:`1+\alpha(1-f)`.

    **Shapes.** logits (..., n, L) with 0/1 targets of the same shape; (..., n) as one label; (..., n, C) with
    class indices, each class against the rest and summed.

    Parameters
    ----------
    gamma : float in (0, inf), default=12.0
        Slope of the map from ratio to weight.
    mu : float, default=0.8
        Centre of the map.
    alpha : float in [0, inf), default=4.0
        Extra weight of positives.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The loss remembers: ``observe`` adds a finished batch, which estimators and the module in training mode
    do on their own. Before the first batch it is cross-entropy of labels. A population shares one
    memory. Probabilities are not recovered: ``calibrated`` is False.

    References
    ----------
    Tan et al. 2021, arXiv:2012.08548.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, EqualizationV2
    >>> bound = EqualizationV2().bind(ClassPrior(counts=[30, 3], n_samples=60, multilabel=True))
    >>> round(bound(torch.tensor([[2.0, -1.0], [0.0, 1.0]]), torch.tensor([[1, 0], [0, 1]])).item(), 4)
    0.7233
    """

    calibrated = False
    _parameter_constraints = {
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "mu": [Interval(Real, None, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }
    _grid = {"alpha": [0.0, 4.0], "mu": [0.5, 0.8]}
    reduces_to: tuple = (({}, CrossEntropy(), _BINARY),)  # before anything is gathered

    def __init__(self, gamma=12.0, mu=0.8, alpha=4.0):
        self.gamma = gamma
        self.mu = mu
        self.alpha = alpha

    def _bind(self, prior):
        width = len(_frequencies(prior))
        return EqualizationV2Bound(width, float(self.gamma), float(self.mu), float(self.alpha))
