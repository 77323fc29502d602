"""Losses of the softmax kernel that read class counts, and the influence-balanced loss."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.priors import effective_number
from skimb.functional import _shapes as shapes
from skimb.functional.rebalanced import seesaw_bias
from skimb.losses._base import Loss, as_like
from skimb.losses._softmax import SoftmaxBound, sides
from skimb.losses.softmax import CrossEntropy, Focal, LogitAdjusted, VectorScaling

_ALL = frozenset({"binary", "multiclass", "multilabel"})


def balanced_weights(counts, beta):
    """Inverse effective numbers of classes (C,) or label sides (L, 2), of mean 1 over the rows."""
    n = counts.sum(-1, keepdims=True)
    share = counts / n
    value = (n - 1.0) / n if beta == "auto" else np.full_like(n, beta)
    number = [
        effective_number(c, float(b))
        for c, b in zip(np.atleast_2d(counts), value.ravel(), strict=True)
    ]
    weight = 1.0 / np.reshape(number, counts.shape)
    return weight / (share * weight).sum(-1, keepdims=True)


class BalancedSoftmax(Loss):
    r"""Balanced softmax: :math:`\mathrm{CE}(z+\log\pi)`, logit adjustment of strength 1.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    ``predict`` takes the plain logits, the balanced decision; ``predict_proba`` adds :math:`\log\pi` back.
    Frequencies are those of the risk that is trained, so re-sampling first and this loss after would
    correct twice; the engine's samplers are taken into account.

    References
    ----------
    Ren et al. 2020, arXiv:2007.10740.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import BalancedSoftmax, ClassPrior
    >>> bound = BalancedSoftmax().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.0072
    """

    reduces_to: tuple = (({}, LogitAdjusted(1.0), _ALL),)

    def _bind(self, prior):
        return LogitAdjusted(1.0)._bind(prior)


class ClassBalanced(Loss):
    r"""Class-balanced loss: :math:`w_y(1-p_y)^\gamma\ell`, :math:`w_k\propto(1-\beta)/(1-\beta^{n_k})`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    beta : float in [0, 1) or "auto", default=0.999
        0 gives equal weights, towards 1 inverse frequencies; "auto" is (N - 1) / N for N rows.
    gamma : float in [0, inf), default=0.0
        Focusing exponent; 0 is class-balanced cross-entropy.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Weights are scaled to a mean of 1 over the training rows, so that the scale of the loss does not move
    with beta; the released implementation scales their sum to C. ``class_weight="effective"`` of the estimators
    is ``beta="auto"`` for any loss. Probabilities: the weights are divided out. Weights from the
    start of training can hurt the representation: see :class:`Deferred`.

    References
    ----------
    Cui et al. 2019, arXiv:1901.05555.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassBalanced, ClassPrior
    >>> bound = ClassBalanced(beta=0.9).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.2137
    """

    _parameter_constraints = {
        "beta": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "gamma": [Interval(Real, 0, None, closed="left")],
    }
    _grid = {"beta": [0.9, 0.99, 0.999, 0.9999, "auto"], "gamma": [0.0, 1.0]}
    reduces_to: tuple = (
        ({"beta": 0.0, "gamma": 0.0}, CrossEntropy(), _ALL),
        ({"beta": 0.0, "gamma": 1.5}, Focal(1.5), _ALL),
    )

    def __init__(self, beta=0.999, gamma=0.0):
        self.beta = beta
        self.gamma = gamma

    def _bind(self, prior):
        weights = balanced_weights(sides(prior), self.beta)
        return SoftmaxBound(shapes.Focal(float(self.gamma)), weights=weights)


class ClassDependentTemperature(Loss):
    r"""Class-dependent temperatures: :math:`\mathrm{CE}(a\circ z)`, :math:`a_k=(n_k/n_{\max})^\gamma`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    gamma : float in [0, inf), default=0.15
        Exponent; 0 is cross-entropy. The authors searched 0.1 to 0.4.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Training sees the shrunken logits of rare classes, ``predict`` the plain ones, so rare classes learn
    larger logits. With one logit per row the factors are a mere change of scale, so estimators give
    this loss two logits for two classes. Probabilities: softmax of :math:`a\circ z`.

    References
    ----------
    Ye et al. 2020, arXiv:2001.01385.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassDependentTemperature, ClassPrior
    >>> bound = ClassDependentTemperature(gamma=0.3).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.2114
    """

    one_logit = False
    _parameter_constraints = {"gamma": [Interval(Real, 0, None, closed="left")]}
    _grid = {"gamma": [0.1, 0.2, 0.4]}
    reduces_to: tuple = (
        ({"gamma": 0.0}, CrossEntropy(), _ALL),
        ({"gamma": 0.3}, VectorScaling(0.3, 0.0), _ALL),
    )

    def __init__(self, gamma=0.15):
        self.gamma = gamma

    def _bind(self, prior):
        counts = sides(prior)
        return SoftmaxBound(mult=(counts / counts.max(-1, keepdims=True)) ** self.gamma)


class LabelAwareSmoothing(Loss):
    r"""Label-aware smoothing: cross-entropy against :math:`(1-\epsilon_y)e_y+\epsilon_y/C`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    head : float in [0, 1), default=0.4
        Smoothing of the most frequent class.
    tail : float in [0, 1), default=0.1
        Smoothing of the rarest class.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Between the ends :math:`\epsilon_k` follows the concave form
    :math:`\epsilon_t+(\epsilon_h-\epsilon_t)\sin\frac{\pi(n_k-n_{\min})}{2(n_{\max}-n_{\min})}`. The paper uses
    it to re-train the classifier on a frozen representation; here it is a loss like any other.
    Probabilities: the smoothing of each class is undone in closed form.

    References
    ----------
    Zhong et al. 2021, arXiv:2104.00466.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, LabelAwareSmoothing
    >>> bound = LabelAwareSmoothing().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.8413
    """

    tasks = frozenset({"binary", "multiclass"})
    _parameter_constraints = {
        "head": [Interval(Real, 0, 1, closed="left")],
        "tail": [Interval(Real, 0, 1, closed="left")],
    }
    _grid = {"head": [0.2, 0.4], "tail": [0.0, 0.1]}
    reduces_to: tuple = (
        ({"head": 0.0, "tail": 0.0}, CrossEntropy(), {"binary", "multiclass"}),
        ({"head": 0.1, "tail": 0.1}, CrossEntropy(0.1), {"binary", "multiclass"}),
    )

    def __init__(self, head=0.4, tail=0.1):
        self.head = head
        self.tail = tail

    def _bind(self, prior):
        n = sides(prior)
        place = (n - n.min()) / max(n.max() - n.min(), 1e-12)
        smoothing = self.tail + (self.head - self.tail) * np.sin(0.5 * np.pi * place)
        return SoftmaxBound(smoothing=smoothing)


class SeesawBound(SoftmaxBound):
    """Cross-entropy whose wrong logits move by the log seesaw factors, held constant in the gradient."""

    def __init__(self, counts, p, q):
        super().__init__(invertible=False)
        self.log_counts = np.log(counts)
        self.kw = {"p": p, "q": q}
        self.fixed = None

    def adjustment(self, logits, target):
        code, bias = target.code, self.fixed
        if bias is None:
            low = self.cached(logits, "log_counts", lambda: as_like(self.log_counts, logits))
            bias = seesaw_bias(logits, code, low, **self.kw)
        if self._is_margin(logits, code):
            return {"margins": (bias, bias)}
        return {"bias": bias}

    def frozen(self, logits, target, weight=None):
        """Keep the factors as they are at `logits`."""
        bias = next(iter(self.adjustment(logits, self.encode(target, logits)).values()))
        return self.replaced(fixed=bias[0] if isinstance(bias, tuple) else bias)


class Seesaw(Loss):
    r"""Seesaw loss: :math:`-\log\frac{e^{z_y}}{e^{z_y}+\sum_{k\ne y}S_{yk}e^{z_k}}`.

    :math:`S_{yk}=\min(1,(n_k/n_y)^p)\cdot\max(1,(p_k/\max(p_y,0.01))^q)`: rows of common classes push
    rare logits less, unless the net mistakes them.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    p : float in [0, inf), default=0.8
        Exponent of mitigation.
    q : float in [0, inf), default=2.0
        Exponent of compensation.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The factors are constants of the gradient, as in the authors' implementation. Counts are those of the training
    part; the authors gather them online. Its second, objectness head belongs to detection and
    is left out. Probabilities cannot be recovered: ``calibrated`` is False.

    References
    ----------
    Wang et al. 2021, arXiv:2008.10032.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Seesaw
    >>> bound = Seesaw().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.0134
    """

    tasks = frozenset({"binary", "multiclass"})
    calibrated = False
    _parameter_constraints = {
        "p": [Interval(Real, 0, None, closed="left")],
        "q": [Interval(Real, 0, None, closed="left")],
    }
    _grid = {"p": [0.4, 0.8], "q": [0.0, 1.0, 2.0]}
    reduces_to: tuple = (({"p": 0.0, "q": 0.0}, CrossEntropy(), {"binary", "multiclass"}),)

    def __init__(self, p=0.8, q=2.0):
        self.p = p
        self.q = q

    def _bind(self, prior):
        return SeesawBound(prior.floored_counts, float(self.p), float(self.q))


class SoftmaxEqualization(Loss):
    r"""Softmax equalization: rare wrong classes count :math:`1-\gamma` in the denominator.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    threshold : float in [0, 1], default=0.005
        Classes rarer than this share of the rows are rare; 0 is cross-entropy.
    gamma : float in [0, 1), default=0.9
        Probability with which the paper leaves a rare class out of a row's denominator.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The paper draws a Bernoulli mask for every row and class; here its mean weight stands in the
    denominator, so that the loss is a function of the data alone. Probabilities cannot be recovered.

    References
    ----------
    Tan et al. 2020, arXiv:2003.05176.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, SoftmaxEqualization
    >>> bound = SoftmaxEqualization(threshold=0.05).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.0696
    """

    tasks = frozenset({"binary", "multiclass"})
    calibrated = False
    _parameter_constraints = {
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "gamma": [Interval(Real, 0, 1, closed="left")],
    }
    _grid = {"threshold": [0.005, 0.02], "gamma": [0.5, 0.9]}
    reduces_to: tuple = (
        ({"threshold": 0.0}, CrossEntropy(), {"binary", "multiclass"}),
        ({"gamma": 0.0}, CrossEntropy(), {"binary", "multiclass"}),
    )

    def __init__(self, threshold=0.005, gamma=0.9):
        self.threshold = threshold
        self.gamma = gamma

    def _bind(self, prior):
        bias = np.log1p(-self.gamma * (prior.prior < self.threshold))
        return SoftmaxBound(bias=bias, margin=bias, invertible=False)


class InfluenceBalancedBound(SoftmaxBound):
    """The influence-balanced loss; without ``Target.inputs`` their norms count as 1."""

    requires = frozenset({"inputs"})

    def __init__(self, weights, alpha, eps):
        super().__init__(weights=weights, invertible=False)
        self.alpha, self.eps = alpha, eps

    def row_shape(self, logits, target):
        norm = 1.0 if target.inputs is None else target.inputs
        if self.task == "multilabel" and target.inputs is not None:
            norm = norm.unsqueeze(-1)
        return shapes.InfluenceBalanced(self.alpha, norm, self.eps)


class InfluenceBalanced(Loss):
    r"""Influence-balanced loss: :math:`\lambda_y\,\alpha\,\ell/(2(1-p_y)\|h\|_1+\epsilon)`.

    Rows that move the decision boundary most, :math:`\|p-e_y\|_1\|h\|_1` with the output layer's inputs
    h, are weighted down.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    alpha : float in (0, inf), default=1000.0
        Scale of the loss; the paper's scripts use 1000. Mind the learning rate.
    eps : float in (0, inf), default=0.001
        Floor of the denominator.
    beta : float in [0, 1) or "auto", default=0.0
        Class-balanced part of :math:`\lambda`; 0 gives equal weights.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Estimators pass the norms of h; elsewhere call ``bound.loss_grad`` with
    ``bound.encode(target, logits).with_inputs(norms)``, or leave them out for norms of 1. The gradient goes
    through :math:`1-p_y` as in the released implementation, not through h. The authors switch it on halfway:
    ``Deferred(InfluenceBalanced(), start=0.5)``. Norms are not known for new rows in general, so
    probabilities are not recovered: ``calibrated`` is False.

    References
    ----------
    Park et al. 2021, arXiv:2110.02444.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, InfluenceBalanced
    >>> bound = InfluenceBalanced(alpha=1.0).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.5614
    """

    calibrated = False
    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "eps": [Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
    }
    _grid = {"alpha": [1.0, 10.0, 1000.0], "beta": [0.0, 0.999]}

    def __init__(self, alpha=1000.0, eps=0.001, beta=0.0):
        self.alpha = alpha
        self.eps = eps
        self.beta = beta

    def _bind(self, prior):
        weights = balanced_weights(sides(prior), self.beta)
        return InfluenceBalancedBound(weights, float(self.alpha), float(self.eps))
