r"""The softmax kernel :math:`w\,\varphi(\mathrm{CE}(s\,(a \circ z + b - m_y)))`.

``rows`` (one logit per class) and ``margin_rows`` (one logit per row, class 0 at logit 0) give the
row loss and its gradient in closed form; the public functions are thin readings of them.
"""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _shapes as shapes
from skimb.functional import _targets
from skimb.functional._probabilities import against_others, complements

_IDENTITY = shapes.Identity()


def adjust(logits, *, mult=None, bias=None, margin=None, target=None, scale=None):
    """Apply ``s (a z + b - m_y)`` to logits of shape (..., n, C); `margin` needs `target`."""
    z = logits if mult is None else logits * mult
    if bias is not None:
        z = z + bias
    if margin is not None:
        index = target.unsqueeze(-1)
        row = margin.expand(*z.shape[:-1], z.shape[-1]).gather(-1, index)
        z = z.scatter_add(-1, index, -row)
    # scales act on differences, which large scores would round
    return z if scale is None else (z - z.amax(-1, keepdim=True)) * scale


def rows(
    logits,
    target,
    *,
    shape=_IDENTITY,
    mult=None,
    bias=None,
    margin=None,
    scale=None,
    smoothing=0.0,
    factor=1.0,
):
    """Row losses (..., n) and `factor` times their gradient (..., n, C), targets (..., n).

    `smoothing` may be a tensor (..., n).
    """
    plain = target.dtype is torch.int64 and target.shape == logits.shape[:-1]
    if not plain or logits.is_cuda:
        target = _targets.class_indices(target, logits)
    try:
        return _rows(logits, target, shape, mult, bias, margin, scale, smoothing, factor)
    except (RuntimeError, IndexError):  # torch checks on the CPU where it gathers
        _targets.class_indices(target, logits)
        raise


def _rows(logits, target, shape, mult, bias, margin, scale, smoothing, factor):
    z = adjust(logits, mult=mult, bias=bias, margin=margin, target=target, scale=scale)
    index = target.unsqueeze(-1)
    log_p = torch.log_softmax(z, -1)
    l = log_p.gather(-1, index).squeeze(-1).neg_()
    # exp of very negative numbers is slow on the CPU; a large scale produces them in bulk
    grad = log_p.exp() if scale is None else torch.softmax(z, -1)
    if smooths(smoothing):
        share = smoothing / logits.shape[-1]
        loss = l * (1.0 - smoothing) - log_p.sum(-1) * share
        grad = grad - (share.unsqueeze(-1) if torch.is_tensor(share) else share)
        grad.scatter_add_(-1, index, (torch.zeros_like(l) + (smoothing - 1.0)).unsqueeze(-1))
    else:
        grad.scatter_add_(-1, index, torch.full_like(l, -1.0).unsqueeze(-1))
        # where the class is all but certain, what it lacks is the sum of the others
        sure = l < torch.finfo(l.dtype).eps ** 0.5
        if l.is_cuda or bool(sure.any()):
            v, _ = against_others(z, index)
            l = torch.where(sure, F.logsigmoid(v).neg(), l)
            lacks = torch.where(sure, torch.sigmoid(-v), -grad.gather(-1, index).squeeze(-1))
            grad.scatter_(-1, index, -lacks.unsqueeze(-1))
        loss, slope = shape.value_slope(l)
        if slope is not None:
            grad.mul_(slope.unsqueeze(-1))
    if scale is not None or factor != 1.0:
        grad.mul_(factor if scale is None else scale * factor)
    return loss, grad if mult is None else grad * mult


def smooths(smoothing):
    """Whether the target distribution differs from one class."""
    return torch.is_tensor(smoothing) or smoothing != 0.0


def by_sign(sign, negative, positive):
    """Pick one of two values by the sign -1/+1, in the dtype of the signs."""
    if torch.is_tensor(negative) and torch.is_tensor(positive):  # of any sizes
        return torch.where(sign > 0, positive, negative)
    return 0.5 * (negative + positive) + sign * (0.5 * (positive - negative))


def margin_argument(z, *, mult=None, offset=None):
    """The adjusted margin ``k z + o`` without the target's own margin."""
    u = z if mult is None else z * mult
    return u if offset is None else u + offset


def margin_rows(
    z,
    sign,
    *,
    shape=_IDENTITY,
    mult=None,
    offset=None,
    margins=None,
    smoothing=0.0,
    factor=1.0,
):
    """Row losses and `factor` times their gradient, one logit and one sign -1/+1 per entry.

    `margins` is the pair (margin of class 0, margin of class 1), already scaled.
    """
    v = margin_argument(z, mult=mult, offset=offset) * sign
    if margins is not None:
        v = v - by_sign(sign, *margins)
    loss, slope = shape.margin(v)
    if smooths(smoothing):
        half = 0.5 * smoothing
        loss = loss * (1.0 - half) - F.logsigmoid(-v) * half
        slope = slope - half
    grad = slope.mul_(sign).mul_(-factor)
    return loss, grad if mult is None else grad * mult


def grad_hess(logits, target, *, shape=_IDENTITY, smoothing=0.0, convex=False, **adjustment):
    """Gradient and diagonal Hessian of each row loss, both (..., n, C).

    With `convex` negative curvature of the shape is dropped, which leaves a non-negative Hessian.
    """
    target = _targets.class_indices(target, logits)
    _, grad = rows(logits, target, shape=shape, smoothing=smoothing, **adjustment)
    z = adjust(logits, target=target, **adjustment)
    index = target.unsqueeze(-1)
    v, share = against_others(z, index)
    p, q = torch.sigmoid(v).unsqueeze(-1), torch.sigmoid(-v).unsqueeze(-1)
    # p (1 - p) of each class
    curved = (q * share * (p + q * complements(share))).scatter_(-1, index, p * q)
    if not smooths(smoothing):
        l = F.logsigmoid(v).neg()
        _, slope = shape.value_slope(l)
        unit = share.scatter(-1, index, -1.0)
        if slope is not None:
            curved = curved * slope.unsqueeze(-1)
        bend = shape.curvature_q2(l)
        bend = bend.clamp_min(0.0) if convex else bend
        curved = curved + bend.unsqueeze(-1) * unit.square()
    factor = 1.0
    for name in ("mult", "scale"):
        if adjustment.get(name) is not None:
            factor = factor * adjustment[name] ** 2
    return grad, curved * factor


def margin_grad_hess(z, sign, *, shape=_IDENTITY, smoothing=0.0, convex=False, **adjustment):
    """Gradient and second derivative of each row loss for one logit per entry."""
    _, grad = margin_rows(z, sign, shape=shape, smoothing=smoothing, **adjustment)
    mult, margins = adjustment.get("mult"), adjustment.get("margins")
    v = margin_argument(z, mult=mult, offset=adjustment.get("offset")) * sign
    if margins is not None:
        v = v - by_sign(sign, *margins)
    curved = torch.sigmoid(v) * torch.sigmoid(-v)
    if not smooths(smoothing):
        l = -F.logsigmoid(v)
        _, slope = shape.value_slope(l)
        if slope is not None:
            curved = curved * slope
        bend = shape.curvature_q2(l)
        curved = curved + (bend.clamp_min(0.0) if convex else bend)
    return grad, curved if mult is None else curved * mult**2


def log_errors(logits, code):
    """Logarithm of the probability of error; `code` is a class index, or a sign for one logit."""
    if cf.is_margin(logits, code):
        return F.logsigmoid(-logits * code)
    index = _targets.class_indices(code, logits).unsqueeze(-1)
    return F.logsigmoid(-against_others(logits, index)[0])


def _apply(logits, target, shape=_IDENTITY, smoothing=0.0, alpha=None, **adjustment):
    """Differentiable row losses for either form of the logits."""
    if not cf.is_margin(logits, target):
        return cf.apply(
            lambda z: rows(z, target, shape=shape, smoothing=smoothing, **adjustment), logits
        )
    binary = margin_adjustment(**adjustment)

    def closed(z):
        sign = _targets.signs(target, z)
        loss, grad = margin_rows(z, sign, shape=shape, smoothing=smoothing, **binary)
        if alpha is not None:
            side = by_sign(sign, 1.0 - alpha, alpha)
            loss, grad = loss * side, grad * side
        return loss, grad

    return cf.apply(closed, logits)


def margin_adjustment(*, mult=None, bias=None, margin=None, scale=None):
    """Reduce per-class adjustments of shape (..., 2) to the one-logit form (class 0 at logit 0)."""
    k, offset, margins = None, None, None
    s = 1.0 if scale is None else scale
    if mult is not None or scale is not None:
        k = s if mult is None else mult[..., 1] * s
    if bias is not None:
        offset = (bias[..., 1] - bias[..., 0]) * s
    if margin is not None:
        margins = (margin[..., 0] * s, margin[..., 1] * s)
    return {"mult": k, "offset": offset, "margins": margins}


def cross_entropy(logits, target, *, label_smoothing=0.0):
    r"""Cross-entropy :math:`\ell=-\log\mathrm{softmax}(z)_y`, with label smoothing.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    label_smoothing : float in [0, 1), default=0.0
        Share of the target spread evenly over the classes.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return _apply(logits, target, smoothing=label_smoothing)


def focal(logits, target, *, gamma=2.0, alpha=None):
    r"""Focal loss :math:`(1-p_y)^\gamma\,\ell` (arXiv 1708.02002).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    gamma : float or Tensor broadcast over (..., n), default=2.0
        Focusing exponent, at least 0.
    alpha : float in (0, 1), default=None
        Weight of class 1, ``1 - alpha`` of class 0; one-logit form only.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return _apply(logits, target, shape=shapes.Focal(gamma), alpha=alpha)


def logit_adjusted(logits, target, *, log_prior, tau=1.0):
    r"""Cross-entropy of :math:`z+\tau\log\pi` (arXiv 2007.07314); balanced softmax at tau 1.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    log_prior : Tensor of shape (..., C)
        Log class frequencies of the training risk.
    tau : float or Tensor broadcast over (..., C), default=1.0
        Strength of the adjustment.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return _apply(logits, target, bias=tau * log_prior)


def ldam(logits, target, *, margin, scale=1.0):
    r"""Cross-entropy of :math:`s(z-\Delta_y)`, label-distribution-aware margins (arXiv 1906.07413).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    margin : Tensor of shape (C,)
        Margin of each class, in logits.
    scale : float, default=1.0
        Inverse temperature s.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return _apply(logits, target, margin=margin, scale=scale)


def vector_scaling(logits, target, *, mult, bias):
    r"""Cross-entropy of :math:`a\circ z+b` (arXiv 2103.01550).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    mult : Tensor of shape (C,)
        Positive multiplicative terms a.
    bias : Tensor of shape (C,)
        Additive terms b.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return _apply(logits, target, mult=mult, bias=bias)


def comp_sum(logits, target, *, tau=1.0):
    r"""Comp-sum loss :math:`(e^{(1-\tau)\ell}-1)/(1-\tau)` (arXiv 2304.07288).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    tau : float or Tensor broadcast over (..., n), default=1.0
        1 is cross-entropy, 2 the mean absolute error, between them generalized cross-entropy.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses. Where ``(1 - tau) l`` passes 64 the loss goes on linearly.
    """
    return _apply(logits, target, shape=shapes.CompSum(tau))


def poly(logits, target, *, epsilon=1.0):
    r"""Poly-1 loss :math:`\ell+\epsilon(1-p_y)` (arXiv 2204.12511).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    epsilon : float or Tensor broadcast over (..., n), default=1.0
        Extra weight of the leading term, at least -1.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return _apply(logits, target, shape=shapes.Poly(epsilon))


def coverage(logits, target, *, n=4.0):
    r"""Coverage loss :math:`-\log(1-(1-p_y)^n)` (arXiv 2502.07154).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    n : float or Tensor broadcast over (..., n), default=4.0
        Number of draws, at least 1; 1 is cross-entropy.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return _apply(logits, target, shape=shapes.Coverage(n))
