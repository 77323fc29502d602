"""Losses of the softmax kernel: shapes of the row cross-entropy and adjustments by class counts."""

from numbers import Real

from sklearn.utils._param_validation import Interval

from skimb.functional import _shapes as shapes
from skimb.losses._base import Loss
from skimb.losses._softmax import SoftmaxBound, log_prior, sides


class CrossEntropy(Loss):
    r"""Cross-entropy: :math:`\ell=-\log\mathrm{softmax}(z)_y`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        Share of the target spread evenly over the classes.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Probabilities: softmax, or ``(p - e/C) / (1 - e)`` clipped at 0 under smoothing e.

    References
    ----------
    Szegedy et al. 2016, doi:10.1109/CVPR.2016.308 (label smoothing).

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, CrossEntropy
    >>> bound = CrossEntropy().bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([2.0, -1.0]), torch.tensor([1, 0])).item(), 4)
    0.2201
    """

    _parameter_constraints = {"label_smoothing": [Interval(Real, 0, 1, closed="left")]}

    def __init__(self, label_smoothing=0.0):
        self.label_smoothing = label_smoothing

    _grid = {"label_smoothing": [0.0, 0.05, 0.1]}

    def _bind(self, prior):
        return SoftmaxBound(smoothing=float(self.label_smoothing))


class Focal(Loss):
    r"""Focal loss: :math:`\alpha_y(1-p_y)^\gamma\,\ell`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    gamma : float in [0, inf), default=2.0
        Focusing exponent; 0 is cross-entropy. Gradients are exact for ``gamma < 1`` too.
    alpha : float in (0, 1), default=None
        Weight of class 1 against ``1 - alpha`` of class 0, for two classes and for labels. ``None``
        means no weight; with more classes use the estimator's ``class_weight``.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range or `alpha` meets more than two classes.

    Notes
    -----
    Raw softmax scores of a focal model are under-confident; ``predict_proba`` divides by
    :math:`\varphi'(-\log p)`, which recovers the posterior. Some published implementations take the power of the
    *weighted* cross-entropy; here weights multiply the finished row loss.

    References
    ----------
    Lin et al. 2017, arXiv:1708.02002.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Focal
    >>> bound = Focal(gamma=0.5).bind(ClassPrior(counts=[9, 1]))
    >>> z = torch.tensor([100.0, -100.0], requires_grad=True)
    >>> bound(z, torch.tensor([1, 1])).backward()
    >>> z.grad.tolist()
    [-0.0, -0.5]
    """

    _parameter_constraints = {
        "gamma": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="neither"), None],
    }
    reduces_to = (({"gamma": 0.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),)

    def __init__(self, gamma=2.0, alpha=None):
        self.gamma = gamma
        self.alpha = alpha

    _grid = {"gamma": [0.5, 1.0, 2.0, 5.0]}

    @property
    def one_sided(self):
        """Whether class 1 of two weighs otherwise than class 0."""
        return self.alpha not in (None, 0.5)

    def _bind(self, prior):
        if self.alpha is not None and not prior.multilabel and prior.n_classes > 2:
            raise ValueError(
                f"{self!r}: alpha weighs two classes, y has {prior.n_classes}; "
                "use class_weight of the estimator instead."
            )
        weights = None if self.alpha is None else (1.0 - self.alpha, self.alpha)
        return SoftmaxBound(shapes.Focal(float(self.gamma)), weights=weights)


class LogitAdjusted(Loss):
    r"""Logit-adjusted cross-entropy: :math:`\mathrm{CE}(z+\tau\log\pi)`; balanced softmax at tau 1.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    tau : float in [0, inf), default=1.0
        Strength of the adjustment; 0 is cross-entropy, 1 is consistent for the balanced error.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    ``predict`` takes the plain logits: the balanced decision. ``predict_proba`` adds
    :math:`\tau\log\pi` back: the natural posterior. Labels are adjusted by their own log odds.

    References
    ----------
    Menon et al. 2021, arXiv:2007.07314; Ren et al. 2020, arXiv:2007.10740 (balanced softmax).

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, LogitAdjusted
    >>> bound = LogitAdjusted().bind(ClassPrior(counts=[9, 1]))
    >>> [round(v, 4) for v in bound.posterior(torch.zeros(1)).tolist()[0]]
    [0.9, 0.1]
    """

    _parameter_constraints = {"tau": [Interval(Real, 0, None, closed="left")]}
    reduces_to = (({"tau": 0.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),)

    def __init__(self, tau=1.0):
        self.tau = tau

    _grid = {"tau": [0.5, 1.0, 1.5]}

    def _bind(self, prior):
        return SoftmaxBound(bias=self.tau * log_prior(prior))


class LDAM(Loss):
    r"""Label-distribution-aware margins: :math:`\mathrm{CE}(s(z-\Delta_y e_y))`.

    :math:`\Delta_k=m\,n_k^{-1/4}/\max_j n_j^{-1/4}`: the rarest class gets the margin m.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    max_margin : float in [0, inf), default=0.5
        Margin m of the rarest class, in logits.
    scale : float in (0, inf), default=1.0
        Inverse temperature s. 30 belongs to cosine logits in [-1, 1].

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Margins make the loss inconsistent, so probabilities cannot be recovered: ``calibrated`` is False
    and ``predict_proba`` is the softmax of the logits; wrap the model in ``CalibratedClassifierCV``.

    References
    ----------
    Cao et al. 2019, arXiv:1906.07413.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import LDAM, ClassPrior
    >>> bound = LDAM().bind(ClassPrior(counts=[100, 10, 1]))
    >>> [round(v, 4) for v in bound.arrays["margin"].tolist()]
    [0.1581, 0.2812, 0.5]
    """

    calibrated = False
    _parameter_constraints = {
        "max_margin": [Interval(Real, 0, None, closed="left")],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }
    reduces_to = (
        ({"max_margin": 0.0, "scale": 1.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),
    )

    def __init__(self, max_margin=0.5, scale=1.0):
        self.max_margin = max_margin
        self.scale = scale

    _grid = {"max_margin": [0.25, 0.5, 1.0], "scale": [1.0, 10.0]}

    def _bind(self, prior):
        weight = sides(prior) ** -0.25
        margin = self.max_margin * weight / weight.max(-1, keepdims=True)
        scale = None if self.scale == 1.0 else float(self.scale)
        return SoftmaxBound(margin=margin, scale=scale, invertible=False)


class VectorScaling(Loss):
    r"""Vector-scaling loss: :math:`\mathrm{CE}(a\circ z+\tau\log\pi)`, :math:`a_k=(n_k/n_{\max})^\gamma`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    gamma : float in [0, inf), default=0.15
        Exponent of the multiplicative terms; 0 is logit adjustment.
    tau : float in [0, inf), default=1.0
        Strength of the additive terms; 0 is class-dependent temperatures.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    With one logit per row the multiplicative terms are a mere change of scale, so estimators give this
    loss two logits for two classes. Multiplicative terms act late in training: use enough epochs.

    References
    ----------
    Kini et al. 2021, arXiv:2103.01550; Ye et al. 2020, arXiv:2001.01385 (temperatures).

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, VectorScaling
    >>> bound = VectorScaling(gamma=0.3).bind(ClassPrior(counts=[100, 10, 1]))
    >>> [round(v, 4) for v in bound.arrays["mult"].tolist()]
    [1.0, 0.5012, 0.2512]
    """

    one_logit = False
    _parameter_constraints = {
        "gamma": [Interval(Real, 0, None, closed="left")],
        "tau": [Interval(Real, 0, None, closed="left")],
    }
    reduces_to = (
        ({"gamma": 0.0, "tau": 0.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),
        ({"gamma": 0.0, "tau": 0.7}, LogitAdjusted(0.7), {"binary", "multiclass", "multilabel"}),
    )

    def __init__(self, gamma=0.15, tau=1.0):
        self.gamma = gamma
        self.tau = tau

    _grid = {"gamma": [0.05, 0.15, 0.3], "tau": [0.5, 1.0]}

    def _bind(self, prior):
        counts = sides(prior)
        mult = (counts / counts.max(-1, keepdims=True)) ** self.gamma
        return SoftmaxBound(mult=mult, bias=self.tau * log_prior(prior))


class CompSum(Loss):
    r"""Comp-sum family: :math:`(e^{(1-\tau)\ell}-1)/(1-\tau)`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    tau : float in [0, 2), default=1.0
        0 sum-exponential, 1 cross-entropy, between 1 and 2 generalized cross-entropy with
        ``q = tau - 1``; towards 2 the mean absolute error.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Probabilities: softmax of :math:`(2-\tau)\log p`. tau = 2 (mean absolute error) is left out because
    only its argmax is defined. Where :math:`(1-\tau)\ell` passes 64 the loss goes on linearly instead
    of overflowing; with tau below 1 gradients grow exponentially on badly wrong rows.

    References
    ----------
    Mao, Mohri and Zhong 2023, arXiv:2304.07288.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, CompSum
    >>> bound = CompSum(tau=0.0).bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([1.0]), torch.tensor([0])).item(), 4)  # e^1
    2.7183
    """

    _parameter_constraints = {"tau": [Interval(Real, 0, 2, closed="left")]}
    reduces_to = (({"tau": 1.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),)

    def __init__(self, tau=1.0):
        self.tau = tau

    _grid = {"tau": [0.0, 0.5, 1.5, 1.7]}

    def _bind(self, prior):
        return SoftmaxBound(shapes.CompSum(float(self.tau)))


class Poly(Loss):
    r"""Poly-1 loss: :math:`\ell+\epsilon(1-p_y)`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    epsilon : float in [-1, inf), default=1.0
        Extra weight of the leading polynomial term; below -1 the leading coefficient is negative.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Probabilities: :math:`p/(1+\epsilon p)`, normalised.

    References
    ----------
    Leng et al. 2022, arXiv:2204.12511.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Poly
    >>> bound = Poly(epsilon=2.0).bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.0]), torch.tensor([1])).item(), 4)  # log 2 + 1
    1.6931
    """

    _parameter_constraints = {"epsilon": [Interval(Real, -1, None, closed="left")]}
    reduces_to = (({"epsilon": 0.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),)

    def __init__(self, epsilon=1.0):
        self.epsilon = epsilon

    _grid = {"epsilon": [-0.5, 1.0, 2.0]}

    def _bind(self, prior):
        return SoftmaxBound(shapes.Poly(float(self.epsilon)))


class Coverage(Loss):
    r"""Coverage loss: :math:`-\log(1-(1-p_y)^n)`, the chance that one of n random answers is right.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    n : float in [1, 10000], default=4.0
        Number of answers drawn from the probabilities; 1 is cross-entropy.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The gradient is that of cross-entropy times :math:`np_y(1-p_y)^{n-1}/(1-(1-p_y)^n)`, between 0 and 1: rows
    with :math:`p_y` well above 1/n hardly train, so that confidence stays limited. The loss is convex in the
    logits for every n. The paper trains language models, whose n answers are drawn independently; a
    classifier may list its n likeliest classes instead, which covers more. Score the probabilities that the
    loss trains, the softmax of ``decision_function``, by :func:`skimb.metrics.coverage_score`;
    ``predict_proba`` inverts the loss, :math:`P_k\propto(1-q_k^n)/(nq_k^{n-1})`, and is the true posterior.
    Beyond n = 16 the inversion multiplies errors of the logits by about n.

    References
    ----------
    Chen et al. 2025, arXiv:2502.07154 (its abstract; the formula is the logarithm of a row's coverage).

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Coverage
    >>> bound = Coverage(n=2).bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.0]), torch.tensor([1])).item(), 4)  # -log(1 - 1/4)
    0.2877
    """

    _parameter_constraints = {"n": [Interval(Real, 1, 1e4, closed="both")]}
    reduces_to = (({"n": 1.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),)

    def __init__(self, n=4.0):
        self.n = n

    _grid = {"n": [1.5, 2.0, 4.0, 8.0]}

    def _bind(self, prior):
        return SoftmaxBound(shapes.Coverage(float(self.n)))
