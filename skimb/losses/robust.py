"""Bounded and distributionally robust losses, Poly-1 focal and the Z-loss."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import _closed_form as cf
from skimb.functional import _shapes as shapes
from skimb.functional import robust as kernel
from skimb.losses._base import Loss, RowBound
from skimb.losses._softmax import SoftmaxBound
from skimb.losses.softmax import CompSum, CrossEntropy, Focal, Poly

_ALL = frozenset({"binary", "multiclass", "multilabel"})


class GeneralizedCrossEntropy(Loss):
    r"""Generalized cross-entropy: :math:`(1-p_y^q)/q`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    q : float in (0, 1), default=0.7
        Towards 0 cross-entropy, towards 1 the mean absolute error.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    It is the comp-sum loss with :math:`\tau=1+q`. It tolerates wrong labels, since badly wrong rows lose their
    gradient; for the same reason a rare class that starts out wrong learns slowly. Probabilities:
    softmax of :math:`(1-q)\log p`.

    References
    ----------
    Zhang and Sabuncu 2018, arXiv:1805.07836.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, GeneralizedCrossEntropy
    >>> bound = GeneralizedCrossEntropy().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.222
    """

    _parameter_constraints = {"q": [Interval(Real, 0, 1, closed="neither")]}
    _grid = {"q": [0.3, 0.5, 0.7]}
    reduces_to = (({"q": 0.4}, CompSum(1.4), _ALL),)

    def __init__(self, q=0.7):
        self.q = q

    def _bind(self, prior):
        return SoftmaxBound(shapes.CompSum(1.0 + self.q))


class MeanAbsoluteError(Loss):
    r"""Mean absolute error of the probabilities: :math:`1-p_y`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    It is the expected zero-one cost of a decision drawn from the probabilities, and the comp-sum loss with
    :math:`\tau=2`. Its minimum puts all probability on the likeliest class, so only the argmax means
    anything: ``calibrated`` is False. It is hard to train from scratch, above all for rare classes.

    References
    ----------
    Ghosh, Kumar and Sastry 2017, arXiv:1712.09482.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, MeanAbsoluteError
    >>> bound = MeanAbsoluteError().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.2144
    """

    calibrated = False

    def _bind(self, prior):
        return SoftmaxBound(shapes.CompSum(2.0), invertible=False)


class SymmetricCrossEntropy(Loss):
    r"""Symmetric cross-entropy: :math:`(1-b)\,\ell+bA(1-p_y)`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    balance : float in [0, 1), default=0.5
        Share b of the reverse cross-entropy.
    log_zero : float in (0, inf), default=4.0
        Magnitude A that stands for minus the logarithm of zero.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    It is a Poly-1 loss with :math:`\epsilon=bA/(1-b)` times :math:`1-b`, which also inverts it into probabilities.

    References
    ----------
    Wang et al. 2019, arXiv:1908.06112.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, SymmetricCrossEntropy
    >>> bound = SymmetricCrossEntropy().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.5495
    """

    _parameter_constraints = {
        "balance": [Interval(Real, 0, 1, closed="left")],
        "log_zero": [Interval(Real, 0, None, closed="neither")],
    }
    _grid = {"balance": [0.3, 0.5, 0.8]}
    reduces_to = (({"balance": 0.0}, CrossEntropy(), _ALL),)

    def __init__(self, balance=0.5, log_zero=4.0):
        self.balance = balance
        self.log_zero = log_zero

    def _bind(self, prior):
        rest = 1.0 - float(self.balance)
        return SoftmaxBound(shapes.Poly(self.balance * self.log_zero / rest), gain=rest)


class PolyFocal(Loss):
    r"""Poly-1 focal loss: :math:`q^\gamma\ell+\epsilon q^{\gamma+1}`, :math:`q=1-p_y`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    gamma : float in [0, inf), default=2.0
        Focusing exponent.
    epsilon : float in [-1, inf), default=1.0
        Extra weight of the leading term.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Probabilities: :math:`p/\varphi'(-\log p)`, normalised, as for every loss of this kernel.

    References
    ----------
    Leng et al. 2022, arXiv:2204.12511.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, PolyFocal
    >>> bound = PolyFocal().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.0209
    """

    _parameter_constraints = {
        "gamma": [Interval(Real, 0, None, closed="left")],
        "epsilon": [Interval(Real, -1, None, closed="left")],
    }
    _grid = {"gamma": [0.5, 1.0, 2.0], "epsilon": [-0.5, 1.0, 2.0]}
    reduces_to = (
        ({"epsilon": 0.0, "gamma": 1.5}, Focal(1.5), _ALL),
        ({"epsilon": 1.5, "gamma": 0.0}, Poly(1.5), _ALL),
    )

    def __init__(self, gamma=2.0, epsilon=1.0):
        self.gamma = gamma
        self.epsilon = epsilon

    def _bind(self, prior):
        return SoftmaxBound(shapes.PolyFocal(float(self.gamma), float(self.epsilon)))


class LDRBound(RowBound):
    """LDR-KL, fixed or adaptive, of scores that may be divided by their own mean."""

    def __init__(self, normalize, adaptive, **kw):
        super().__init__()
        self.normalize, self.adaptive, self.kw = normalize, adaptive, kw

    def _margin_form(self, logits, code):
        return self.form(logits, code) in ("labels", "margin")

    def entries(self, logits, target, factor=1.0):
        code = target.code
        if self._margin_form(logits, code):
            loss, grad = cf.through_pair(self._values, logits, (code > 0).long())
        else:
            loss, grad = self._values(logits, code)
        return loss, grad * factor

    def _values(self, logits, code):
        scores, back = kernel.normalise(logits, self.normalize)
        if not self.adaptive:
            value, grad = kernel.ldr_rows(scores, code, **self.kw)
            return value, back(grad)
        adapted = kernel.AdaptiveRows(scores, code, **self.kw)
        return adapted.value, back(adapted.grad)

    def second(self, logits, target):
        code = target.code
        if self.normalize != "none":
            raise TypeError(
                f"{self.name} couples the scores of a row through their mean and has no diagonal "
                "Hessian here; use normalize='none'."
            )
        if not self._margin_form(logits, code):
            return self._second(logits, code)
        pair = torch.stack([torch.zeros_like(logits), logits], -1)
        grad, hess = self._second(pair, (code > 0).long())
        return grad[..., 1], hess[..., 1]

    def _second(self, logits, code):
        if self.adaptive:
            adapted = kernel.AdaptiveRows(logits, code, **self.kw)
            return adapted.grad, adapted.hessian()
        return kernel.ldr_grad_hess(logits, code, **self.kw)

    def log_scores(self, logits):
        if not self.calibrated:
            return super().log_scores(logits)
        if not self.has_class_axis(logits):
            both = self._log_scores(torch.stack([torch.zeros_like(logits), logits], -1))
            return both[..., 1] - both[..., 0]
        return self._log_scores(logits)

    def _log_scores(self, z):
        if not self.adaptive:
            return ((z - z.amax(-1, keepdim=True)) / self.kw["lam"]).log_softmax(-1)
        adapted = kernel.AdaptiveRows(z, z.argmax(-1), **self.kw)
        return (z / adapted.x).log_softmax(-1)


class _LDR(Loss):
    """Base of the fixed and the adaptive label-distributionally robust loss."""

    @property
    def calibrated(self):
        """Whether probabilities are recovered: without a margin and without normalised scores."""
        return self.margin == 0.0 and self.normalize == "none"


class LDR(_LDR):
    r"""Label-distributionally robust loss: :math:`\lambda[\log\frac1C\sum_ke^{(z_k-z_y+c_k)/\lambda}]`.

    The worst case over label distributions within a Kullback-Leibler penalty :math:`\lambda`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    lam : float in (0, inf), default=1.0
        Temperature: 1 is cross-entropy minus log C, towards 0 the multi-class hinge, large values the
        mean of the margins.
    margin : float in [0, inf), default=0.1
        Margin c of wrong classes.
    normalize : {"none", "softplus_mean", "l1_mean"}, default="none"
        Divide the scores of a row by the mean of their softplus or of their absolute values, as the
        released implementation does; gradients go through it. A large `lam` needs bounded scores.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The value may be negative. Without margin and normalisation probabilities are the softmax of
    :math:`z/\lambda`; otherwise ``calibrated`` is False.

    References
    ----------
    Zhu, Ying and Yang 2023, arXiv:2112.14869.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import LDR, ClassPrior
    >>> bound = LDR().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    -0.835
    """

    _parameter_constraints = {
        "lam": [Interval(Real, 0, None, closed="neither")],
        "margin": [Interval(Real, 0, None, closed="left")],
        "normalize": [StrOptions(set(kernel.NORMALIZE))],
    }
    _grid = {"lam": [0.1, 0.3, 1.0, 3.0], "margin": [0.0, 0.1, 1.0]}

    def __init__(self, lam=1.0, margin=0.1, normalize="none"):
        self.lam = lam
        self.margin = margin
        self.normalize = normalize

    def _bind(self, prior):
        return LDRBound(self.normalize, False, lam=float(self.lam), margin=float(self.margin))


class AdaptiveLDR(_LDR):
    r"""Adaptive LDR-KL: each row takes the temperature that maximises its own loss.

    :math:`\max_\lambda\,\lambda[\log\frac1C\sum_ke^{(z_k-z_y+c_k)/\lambda}]-\frac{a}{2}(\lambda-\lambda_0)^2` with
    :math:`a=\alpha\log C/\lambda_0`: confident rows get a small temperature, flat ones nearly :math:`\lambda_0`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    lam : float in (0, inf), default=1.0
        Largest temperature :math:`\lambda_0`.
    margin : float in [0, inf), default=0.1
        Margin c of wrong classes.
    alpha : float in (1, inf), default=2.0
        Pull towards `lam`; temperatures stay above ``lam * (1 - 1 / alpha)``.
    normalize : {"none", "softplus_mean", "l1_mean"}, default="none"
        Divide the scores of a row by the mean of their softplus or of their absolute values, as the
        released implementation does; gradients go through it. A large `lam` needs bounded scores.
    n_iter : int in [4, inf), default=12
        Least number of iterations for the temperature: the first ones are monotone, the rest Newton's,
        and they go on until the temperature has converged.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The authors keep a table of temperatures by row and update it once per visit; here the fixed point is
    solved in each call, so that no row numbers are needed and the loss works in any pipeline. The
    gradient is that of the maximum, by the envelope theorem. Without margin and normalisation
    probabilities are the softmax at the row's own temperature.

    References
    ----------
    Zhu, Ying and Yang 2023, arXiv:2112.14869.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import AdaptiveLDR, ClassPrior
    >>> bound = AdaptiveLDR().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    -0.7693
    """

    _parameter_constraints = {
        "lam": [Interval(Real, 0, None, closed="neither")],
        "margin": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 1, None, closed="neither")],
        "normalize": [StrOptions(set(kernel.NORMALIZE))],
        "n_iter": [Interval(Integral, 4, None, closed="left")],
    }
    _grid = {"lam": [0.1, 1.0, 10.0], "alpha": [1.5, 2.0, 5.0]}

    def __init__(self, lam=1.0, margin=0.1, alpha=2.0, normalize="none", n_iter=12):
        self.lam = lam
        self.margin = margin
        self.alpha = alpha
        self.normalize = normalize
        self.n_iter = n_iter

    def _bind(self, prior):
        kw = {"lam": float(self.lam), "margin": float(self.margin), "alpha": float(self.alpha)}
        return LDRBound(self.normalize, True, n_iter=int(self.n_iter), **kw)


class ZBound(RowBound):
    """Z-loss with its slope and its offset."""

    def __init__(self, a, b):
        super().__init__()
        self.kw = {"a": a, "b": b}

    def entries(self, logits, target, factor=1.0):
        loss, grad = kernel.z_rows(logits, target.code, **self.kw)
        return loss, grad * factor

    def second(self, logits, target):
        return kernel.z_grad_hess(logits, target.code, **self.kw)


class ZLoss(Loss):
    r"""Z-loss: :math:`\frac1a\log(1+e^{a(b-\zeta_y)})` of scores standardised by row.

    :math:`\zeta_k=(z_k-\mu)/\sigma` with the mean and the standard deviation of the row's scores.

    **Shapes.** logits (..., n, C) with C at least 3; target (..., n).

    Parameters
    ----------
    a : float in (0, 100], default=1.0
        Sharpness.
    b : float, default=None
        Standardised score aimed at. The largest possible one is :math:`\sqrt{C-1}`; ``None`` means 0.7 of it.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, C is below 3 or b is out of reach.

    Notes
    -----
    Two standardised scores are always -1 and 1, so two classes are refused. Shifts and scales of the
    logits leave the loss alone; no probabilities come out: ``calibrated`` is False. Made for huge
    numbers of classes, where a factored output layer never computes all scores; only the dense form
    is here. With few classes expect it to lose to cross-entropy.

    References
    ----------
    de Brebisson and Vincent 2016, arXiv:1604.08859.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, ZLoss
    >>> bound = ZLoss().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.5826
    """

    tasks = frozenset({"multiclass"})
    calibrated = False
    _parameter_constraints = {
        "a": [Interval(Real, 0, 100, closed="right")],
        "b": [Interval(Real, None, None, closed="neither"), None],
    }
    _grid = {"a": [0.1, 1.0, 5.0]}

    def __init__(self, a=1.0, b=None):
        self.a = a
        self.b = b

    def _bind(self, prior):
        top = float(np.sqrt(prior.n_classes - 1.0))
        b = 0.7 * top if self.b is None else float(self.b)
        if b >= top:
            raise ValueError(
                f"{self!r}: standardised scores of {prior.n_classes} classes stay below "
                f"sqrt(C - 1) = {top:.3g}; choose b below that."
            )
        return ZBound(float(self.a), b)
