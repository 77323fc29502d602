r"""Weighted element-wise losses of labels: focal, multi-focal, distribution-balanced, equalization.

Signs -1/+1 of shape (..., n, L) tell the true side of each label; with exclusive classes every class
is a label of its own.
"""

import math

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _shapes as shapes
from skimb.functional import _targets
from skimb.functional import sigmoid as asym
from skimb.functional._places import add_entries
from skimb.functional.softmax import by_sign


def weighted_rows(z, sign, weight, *, gamma=0.0, shift=None, spread=None):
    """Weighted focal loss of ``c_t (z + shift)`` and its gradient; `spread` is the pair c_0, c_1."""
    slope = sign if spread is None else sign * by_sign(sign, *spread)
    v = (z if shift is None else z + shift) * slope
    loss, back = shapes.Focal(gamma).margin(v)
    return loss * weight, back * weight * -slope


def weighted_grad_hess(z, sign, weight, *, gamma=0.0, shift=None, spread=None):
    """Gradient and second derivative of :func:`weighted_rows`."""
    _, grad = weighted_rows(z, sign, weight, gamma=gamma, shift=shift, spread=spread)
    c = 1.0 if spread is None else by_sign(sign, *spread)
    v = (z if shift is None else z + shift) * sign * c
    shape = shapes.Focal(gamma)
    l = -F.logsigmoid(v)
    _, slope = shape.value_slope(l)
    curved = torch.sigmoid(v) * torch.sigmoid(-v)
    curved = (curved if slope is None else curved * slope) + shape.curvature_q2(l)
    return grad, curved * weight * c**2


def binary_focal(logits, target, *, gamma=2.0, alpha=0.25):
    r"""Focal loss of each label, :math:`\alpha_t(1-p_t)^\gamma(-\log p_t)` (arXiv 1708.02002).

    Parameters
    ----------
    logits : Tensor of shape (..., n, L)
        One logit per label.
    target : Tensor of the same shape
        0/1 labels.
    gamma : float, default=2.0
        Focusing exponent, at least 0.
    alpha : float in (0, 1), default=0.25
        Weight of positives; negatives weigh ``1 - alpha``.

    Returns
    -------
    Tensor of the same shape
        Losses per label.
    """

    def closed(z):
        sign = _targets.signs(target, z)
        return weighted_rows(z, sign, by_sign(sign, 1.0 - alpha, alpha), gamma=gamma)

    return cf.apply(closed, logits)


#: no head-tail factor is larger, so that products with it are numbers in single precision too
LARGEST_FACTOR = 1e30


def frequency_factor(counts, power):
    """Head-tail factor ``(1 - log(n_k / n_max))^power``, 1 for the most frequent label."""
    factor = (1.0 - (counts / counts.max()).log()) ** power
    return factor.clamp_max(LARGEST_FACTOR)


def multi_focal(
    logits,
    target,
    *,
    counts,
    gamma_neg=3.0,
    gamma_pos=0.0,
    w_neg=1.0,
    w_pos=0.0,
    clip=0.05,
    power=1 / 3,
):
    r"""Multi-focal modifier loss: focal exponents and weights by label frequency (arXiv 2304.10539).

    Parameters
    ----------
    logits : Tensor of shape (..., n, L)
        One logit per label.
    target : Tensor of the same shape
        0/1 labels.
    counts : Tensor of shape (L,)
        Positives of each label.
    gamma_neg, gamma_pos : float, default=3.0, 0.0
        Exponents shared by all labels.
    w_neg, w_pos : float, default=1.0, 0.0
        Strength of the head-tail factor in the exponents.
    clip : float in [0, 1), default=0.05
        Probability margin of negatives.
    power : float, default=1/3
        Exponent of the head-tail factor.

    Returns
    -------
    Tensor of the same shape
        Losses per label.
    """

    def closed(z):
        factor = frequency_factor(counts.to(z), power)
        loss, grad = asym.asymmetric_rows(
            z,
            _targets.signs(target, z),
            gamma_neg=(gamma_neg + w_neg * factor).clamp_max(LARGEST_FACTOR),
            gamma_pos=(gamma_pos + w_pos * factor).clamp_max(LARGEST_FACTOR),
            clip=clip,
        )
        return loss * factor, grad * factor

    return cf.apply(closed, logits)


def rebalancing_weight(sign, inverse_counts, *, alpha, beta, mu, spread):
    """Smoothed re-balancing weight (..., n, L); rows without a label get its upper end."""
    share = (sign > 0).to(sign.dtype) * inverse_counts
    total = share.sum(-1, keepdim=True)
    ratio = inverse_counts / torch.where(total > 0, total, torch.ones_like(total))
    weight = alpha + torch.sigmoid(beta * (ratio - mu))
    top = alpha + (1.0 if beta > 0 else 0.5)
    weight = torch.where(total > 0, weight, torch.full_like(weight, top))
    return weight * by_sign(sign, 1.0 / spread, 1.0)


def distribution_balanced(
    logits,
    target,
    *,
    counts,
    n_samples,
    alpha=0.1,
    beta=10.0,
    mu=0.2,
    kappa=0.05,
    spread=5.0,
    gamma=2.0,
):
    r"""Distribution-balanced loss: re-balanced weights, tolerant negatives, focal (arXiv 2007.09654).

    Parameters
    ----------
    logits : Tensor of shape (..., n, L)
        One logit per label.
    target : Tensor of the same shape
        0/1 labels.
    counts : Tensor of shape (L,)
        Positives of each label.
    n_samples : int
        Rows the counts were taken from.
    alpha, beta, mu : float, default=0.1, 10.0, 0.2
        Floor, slope and centre of the smoothed weight.
    kappa : float, default=0.05
        Scale of the prior shift of the logits.
    spread : float, default=5.0
        Scale of negative logits, whose weight it divides.
    gamma : float, default=2.0
        Focusing exponent.

    Returns
    -------
    Tensor of the same shape
        Losses per label.
    """

    def closed(z):
        n = counts.to(z)
        sign = _targets.signs(target, z)
        weight = rebalancing_weight(sign, 1.0 / n, alpha=alpha, beta=beta, mu=mu, spread=spread)
        shift = -(kappa / spread) * ((n_samples / n) - 1.0).log()
        return weighted_rows(z, sign, weight, gamma=gamma, shift=shift, spread=(spread, 1.0))

    return cf.apply(closed, logits)


def equalization_weight(sign, tail, background):
    """Weight 0 for negatives of tail labels in rows outside the background, else 1."""
    foreground = (sign > 0).to(sign.dtype)
    if background is not None:
        foreground[..., background] = 0.0
    foreground = foreground.amax(-1, keepdim=True)
    return 1.0 - foreground * tail * (sign < 0)


def equalization(logits, target, *, tail, background=None):
    r"""Equalization loss: rare labels ignore the negatives of other labels' rows (arXiv 2003.05176).

    Parameters
    ----------
    logits : Tensor of shape (..., n, L)
        One logit per label.
    target : Tensor of the same shape
        0/1 labels.
    tail : Tensor of shape (L,)
        1 for rare labels, 0 for the others.
    background : int, default=None
        Label whose rows keep all negatives. Rows without any label always do.

    Returns
    -------
    Tensor of the same shape
        Losses per label.
    """

    def closed(z):
        sign = _targets.signs(target, z)
        return weighted_rows(z, sign, equalization_weight(sign, tail.to(z), background))

    return cf.apply(closed, logits)


def equalization_v2_weights(ratio, *, gamma=12.0, mu=0.8, alpha=4.0):
    r"""Weights of positives and negatives from the ratio of their gathered gradients (arXiv 2012.08548).

    Parameters
    ----------
    ratio : Tensor of shape (L,)
        Gradient of positives over that of negatives, gathered over training.
    gamma, mu : float, default=12.0, 0.8
        Slope and centre of the map.
    alpha : float, default=4.0
        Extra weight of positives.

    Returns
    -------
    positive, negative : Tensor of shape (L,)
        Weights.
    """
    negative = torch.sigmoid(gamma * (ratio - mu))
    return 1.0 + alpha * (1.0 - negative), negative


def density_bins(z, sign, weight, bins):
    """Bin of each gradient norm (..., n, L), and the total weight in each bin (..., bins)."""
    norm = torch.sigmoid(-z * sign)
    # a norm that is NaN has no bin; its loss is NaN whatever it weighs
    index = (norm.nan_to_num(0.0) * bins).long().clamp_(max=bins - 1)
    w = torch.ones_like(norm) if weight is None else weight.to(norm).expand_as(norm)
    counts = w.new_zeros((*z.shape[:-2], bins))
    add_entries(counts, index.flatten(-2), w.flatten(-2))
    return index, counts


def density_weight(index, counts):
    """Inverse gradient density of each entry; the weights average to 1."""
    used = (counts > 0).to(counts.dtype)
    each = counts.sum(-1, keepdim=True) / used.sum(-1, keepdim=True).clamp_min(1.0)
    each = torch.where(counts > 0, each / counts.clamp_min(1e-30), torch.zeros_like(counts))
    return each.gather(-1, index.flatten(-2)).reshape(index.shape)


def gradient_harmonized(logits, target, *, bins=30):
    r"""Gradient-harmonizing loss: entries weigh the inverse density of their gradient (arXiv 1811.05181).

    Parameters
    ----------
    logits : Tensor of shape (..., n, L)
        One logit per label.
    target : Tensor of the same shape
        0/1 labels.
    bins : int, default=30
        Bins of the gradient norm :math:`|\sigma(z)-t|`.

    Returns
    -------
    Tensor of shape (...)
        Sum over labels of the mean over rows.
    """

    def closed(z):
        sign = _targets.signs(target, z)
        index, counts = density_bins(z, sign, None, bins)
        loss, grad = weighted_rows(z, sign, density_weight(index, counts))
        rows = max(z.shape[-2], 1)
        return loss.sum((-1, -2)) / rows, grad / rows

    return cf.apply(closed, logits)


def two_way_loss(z, positive, weight, *, temp_pos, temp_neg, rows=True):
    """Two-way loss (...) and gradient (..., n, L) of a mask of positives."""
    n = z.shape[-2]
    w = z.new_ones(n) if weight is None else weight.to(z)
    loss, grad = _one_way(z, positive, w.log().unsqueeze(-1), -2, None, temp_pos, temp_neg)
    if rows:
        by_row = _one_way(z, positive, None, -1, w, temp_pos, temp_neg)
        loss, grad = loss + by_row[0], grad + by_row[1]
    bad = cf.poison(z, -1, -2)
    return loss + bad, grad + bad[..., None, None]


def _one_way(z, positive, log_w, axis, weight, temp_pos, temp_neg):
    low = torch.full_like(z, -math.inf)
    tilt = 0.0 if log_w is None else log_w
    if not z.shape[axis]:
        return z.new_zeros(z.shape[:-2]), torch.zeros_like(z)
    up = torch.where(positive, -z / temp_pos + tilt, low)
    down = torch.where(positive, low, z / temp_neg + tilt)
    top, bottom = torch.logsumexp(up, axis, True), torch.logsumexp(down, axis, True)
    used = (top > -math.inf) & (bottom > -math.inf)
    total = torch.where(used, temp_pos * top + temp_neg * bottom, torch.zeros_like(top))
    has = (top > -math.inf).to(z.dtype)
    if weight is not None:
        has = has * weight.unsqueeze(-1)
    count = has.sum((-1, -2), keepdim=True)
    share = has / torch.where(count > 0, count, torch.ones_like(count))
    loss = (torch.where(used, F.softplus(total), torch.zeros_like(total)) * share).sum((-1, -2))
    pull = torch.where(used, torch.sigmoid(total) * share, torch.zeros_like(total))
    zero = torch.zeros_like(top)
    p_pos = torch.exp(up - torch.where(used, top, zero))
    p_neg = torch.exp(down - torch.where(used, bottom, zero))
    return loss, torch.where(used, p_neg - p_pos, torch.zeros_like(z)) * pull


def two_way(logits, target, *, temp_pos=4.0, temp_neg=1.0, sample_weight=None):
    r"""Two-way multi-label loss: positives above negatives along rows and along labels (CVPR 2023).

    :math:`\mathrm{softplus}(T_p\,\mathrm{lse}_{+}(-z/T_p)+T_n\,\mathrm{lse}_{-}(z/T_n))`, averaged over
    labels that have a positive, plus the same over rows that have one.

    Parameters
    ----------
    logits : Tensor of shape (..., n, L)
        One logit per label.
    target : Tensor of the same shape
        0/1 labels.
    temp_pos, temp_neg : float, default=4.0, 1.0
        Temperatures, positive.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Mean loss.
    """
    positive = _targets.binary(target, logits) > 0
    return cf.apply(
        lambda z: two_way_loss(z, positive, sample_weight, temp_pos=temp_pos, temp_neg=temp_neg),
        logits,
    )
