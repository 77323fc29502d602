r"""Losses of the softmax kernel whose adjustments or weights come from class counts."""

import math

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _shapes as shapes
from skimb.functional import _targets
from skimb.functional import softmax as kernel


def seesaw_bias(logits, target, log_counts, *, p, q):
    """Log seesaw factors: (..., n, C) with 0 at the true class, or (..., n) for one logit per row.

    A rarer class k is pushed less by rows of a common class y, by (n_k / n_y)^p, and more where the
    net mistakes y for k, by (p_k / p_y)^q. With one logit `target` holds signs.
    """
    low = math.log(1e-2)
    if logits.ndim == target.ndim:
        v = logits * target
        side = log_counts[..., 0] - log_counts[..., 1]
        mitigation = (target * side).clamp_max(0.0) * p
        gap = F.logsigmoid(-v) - F.logsigmoid(v).clamp_min(low)
        return mitigation + gap.clamp_min(0.0) * q
    target = _targets.class_indices(target, logits)
    log_p = torch.log_softmax(logits, -1)
    index = target.unsqueeze(-1)
    own = log_p.gather(-1, index).clamp_min(low)
    side = _targets.of_class(log_counts, target, logits, "counts")
    mitigation = (log_counts - side.unsqueeze(-1)).clamp_max(0.0) * p
    bias = mitigation + (log_p - own).clamp_min(0.0) * q
    return bias.scatter(-1, index, 0.0)


def seesaw(logits, target, *, counts, p=0.8, q=2.0):
    r"""Seesaw loss: cross-entropy of :math:`z_k+\log S_{yk}`, the factors detached (arXiv 2008.10032).

    :math:`S_{yk}=\min(1,(n_k/n_y)^p)\,\max(1,(p_k/\max(p_y,0.01))^q)` for :math:`k\ne y`.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    counts : Tensor of shape (C,)
        Positive class counts n.
    p, q : float, default=0.8, 2.0
        Exponents of mitigation and compensation, at least 0.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    log_counts = counts.log()

    def closed(z):
        low = log_counts.to(z)
        if cf.is_margin(z, target):
            sign = _targets.signs(target, z)
            m = seesaw_bias(z, sign, low, p=p, q=q)
            return kernel.margin_rows(z, sign, margins=(m, m))
        return kernel.rows(z, target, bias=seesaw_bias(z, target, low, p=p, q=q))

    return cf.apply(closed, logits)


def softmax_equalization(logits, target, *, tail, gamma=0.9):
    r"""Softmax equalization loss with the mean of its random mask (arXiv 2003.05176).

    Wrong classes in the tail enter the denominator with weight :math:`1-\gamma`.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    tail : Tensor of shape (C,)
        1 for rare classes, 0 for the others.
    gamma : float in [0, 1), default=0.9
        Probability with which a rare class is left out.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    bias = torch.log1p(-gamma * tail)
    return kernel._apply(logits, target, bias=bias, margin=bias)


def class_balanced(logits, target, *, weights, gamma=0.0):
    r"""Focal loss times a weight per class, :math:`w_y(1-p_y)^\gamma\ell` (arXiv 1901.05555).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    weights : Tensor of shape (C,)
        Weight of each class, such as the inverse effective number of its rows.
    gamma : float, default=0.0
        Focusing exponent; 0 is class-balanced cross-entropy.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """

    def closed(z):
        w = _targets.of_class(weights, target, z, "weights")
        if cf.is_margin(z, target):
            loss, grad = kernel.margin_rows(z, _targets.signs(target, z), shape=shapes.Focal(gamma))
            return loss * w, grad * w
        loss, grad = kernel.rows(z, target, shape=shapes.Focal(gamma))
        return loss * w, grad * w.unsqueeze(-1)

    return cf.apply(closed, logits)


def class_dependent_temperature(logits, target, *, mult):
    r"""Cross-entropy of :math:`a\circ z` (arXiv 2001.01385).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    mult : Tensor of shape (C,)
        Positive factors a, the smaller the rarer the class.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return kernel._apply(logits, target, mult=mult)


def balanced_softmax(logits, target, *, log_prior):
    r"""Cross-entropy of :math:`z+\log\pi` (arXiv 2007.10740).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    log_prior : Tensor of shape (C,)
        Log class frequencies.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return kernel._apply(logits, target, bias=log_prior)


def label_aware_smoothing(logits, target, *, smoothing):
    r"""Cross-entropy with label smoothing by true class (arXiv 2104.00466).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    smoothing : Tensor of shape (C,)
        Share of the target spread evenly over the classes, for each true class.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """

    def closed(z):
        share = _targets.of_class(smoothing, target, z, "smoothing")
        if cf.is_margin(z, target):
            return kernel.margin_rows(z, _targets.signs(target, z), smoothing=share)
        return kernel.rows(z, target, smoothing=share)

    return cf.apply(closed, logits)


def influence_balanced(logits, target, *, feature_norm=1.0, weights=None, alpha=1000.0, eps=1e-3):
    r"""Influence-balanced loss :math:`\lambda_y\alpha\ell/(2(1-p_y)\|h\|_1+\epsilon)` (arXiv 2110.02444).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    feature_norm : float or Tensor of shape (..., n), default=1.0
        L1 norm of the output layer's inputs.
    weights : Tensor of shape (C,), default=None
        Weight of each class.
    alpha, eps : float, default=1000.0, 1e-3
        Scale, and floor of the denominator.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    shape = shapes.InfluenceBalanced(alpha, feature_norm, eps)
    rows = kernel._apply(logits, target, shape=shape)
    if weights is None:
        return rows
    return rows * _targets.of_class(weights, target, logits, "weights").to(rows)
