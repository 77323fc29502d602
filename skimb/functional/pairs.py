r"""The pair kernel: losses of score differences between positives and negatives.

The smooth logistic surrogate is exact in tiles with O(n) memory. Hinge and squared hinge need one sort
and prefix sums, O(n log n); the squared loss needs two means and variances, O(n).
"""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf

SURROGATES = ("logistic", "squared_hinge", "hinge", "squared")
_TILE = 2048


def pair_loss(scores, positive, weight, *, surrogate, tau=1.0, margin=1.0):
    """Loss (...) and gradient (..., n) of `scores` (..., n); `positive` is a bool mask (n,).

    A batch of one class has loss 0 and gradient 0. Leading axes of `positive` or `weight` are
    unrolled, since each member then has its own pairs.
    """
    members = max(positive.ndim, 1 if weight is None else weight.ndim)
    if members > 1:
        shape = scores.shape
        flat = scores.reshape(-1, shape[-1])
        mask = positive.expand(shape).reshape(flat.shape)
        w = None if weight is None else weight.expand(shape).reshape(flat.shape)
        parts = [
            pair_loss(
                s, mask[i], None if w is None else w[i], surrogate=surrogate, tau=tau, margin=margin
            )
            for i, s in enumerate(flat)
        ]
        loss = torch.stack([part[0] for part in parts]).reshape(shape[:-1])
        return loss, torch.stack([part[1] for part in parts]).reshape(shape)
    ip, jn = positive.nonzero().squeeze(-1), (~positive).nonzero().squeeze(-1)
    zero = scores.new_zeros(scores.shape[:-1])
    if not len(ip) or not len(jn):
        return zero, torch.zeros_like(scores)
    w = torch.ones_like(scores[..., :]) if weight is None else weight.expand_as(scores)
    sp, sn, wp, wn = scores[..., ip], scores[..., jn], w[..., ip], w[..., jn]
    wp, wn = _share(wp), _share(wn)
    if surrogate == "logistic":
        loss, gp, gn = _logistic(sp, sn, wp, wn, tau)
    elif surrogate == "squared":
        loss, gp, gn = _squared(sp, sn, wp, wn, margin)
    else:
        loss, gp, gn = _hinge(sp, sn, wp, wn, margin, surrogate == "squared_hinge")
    grad = torch.zeros_like(scores)
    grad.index_copy_(-1, ip, gp.to(grad.dtype))
    grad.index_copy_(-1, jn, gn.to(grad.dtype))
    return loss.to(scores.dtype), grad


def _share(w):
    total = w.sum(-1, keepdim=True)
    return torch.where(total > 0, w / torch.where(total > 0, total, 1.0), torch.zeros_like(w))


def _logistic(sp, sn, wp, wn, tau):
    loss = sp.new_zeros(sp.shape[:-1])
    gp, gn = torch.zeros_like(sp), torch.zeros_like(sn)
    for i in range(0, sp.shape[-1], _TILE):
        a, wa = sp[..., i : i + _TILE, None] / tau, wp[..., i : i + _TILE, None]
        for j in range(0, sn.shape[-1], _TILE):
            d = a - sn[..., None, j : j + _TILE] / tau
            pair = wa * wn[..., None, j : j + _TILE]
            loss = loss - (F.logsigmoid(d) * pair).sum((-1, -2))
            q = torch.sigmoid(-d).mul_(pair)
            gp[..., i : i + _TILE] -= q.sum(-1) / tau
            gn[..., j : j + _TILE] += q.sum(-2) / tau
    return loss, gp, gn


def _squared(sp, sn, wp, wn, margin):
    sp, sn, wp, wn = (t.double() for t in (sp, sn, wp, wn))
    mp, mn = (sp * wp).sum(-1, keepdim=True), (sn * wn).sum(-1, keepdim=True)
    gap = margin + mn - mp
    loss = (wp * (sp - mp) ** 2).sum(-1) + (wn * (sn - mn) ** 2).sum(-1) + gap.squeeze(-1) ** 2
    return loss, 2 * wp * (sp - mp - gap), 2 * wn * (sn - mn + gap)


def _hinge(sp, sn, wp, wn, margin, squared):
    sp, sn, wp, wn = (t.double() for t in (sp, sn, wp, wn))
    centre = sp.mean(-1, keepdim=True)
    n_pos = sp.shape[-1]
    v = torch.cat([sp - centre, sn - centre + margin], -1)
    order = torch.argsort(v, dim=-1, stable=True)
    a = torch.cat([wp, torch.zeros_like(wn)], -1).gather(-1, order)
    b = torch.cat([torch.zeros_like(wp), wn], -1).gather(-1, order)
    v = v.gather(-1, order)
    a0, a1 = a.cumsum(-1), (a * v).cumsum(-1)
    b0 = b.flip(-1).cumsum(-1).flip(-1)
    b1 = (b * v).flip(-1).cumsum(-1).flip(-1)
    if squared:
        a2 = (a * v * v).cumsum(-1)
        loss = (b * (a0 * v * v - 2 * a1 * v + a2)).sum(-1)
        sorted_grad = 2 * b * (a0 * v - a1) - 2 * a * (b1 - b0 * v)
    else:
        loss = (b * (a0 * v - a1)).sum(-1)
        sorted_grad = b * a0 - a * b0
    grad = torch.empty_like(sorted_grad).scatter_(-1, order, sorted_grad)
    return loss, grad[..., :n_pos], grad[..., n_pos:]


def mann_whitney(logits, target, *, surrogate="logistic", tau=1.0, margin=1.0, sample_weight=None):
    r"""Mean surrogate of :math:`1[s_i\le s_j]` over positive-negative pairs (arXiv 2510.00137).

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One score per row.
    target : Tensor of shape (n,) or (..., n)
        0/1 targets.
    surrogate : {"logistic", "squared_hinge", "hinge", "squared"}, default="logistic"
        Function of the difference.
    tau : float, default=1.0
        Temperature of the logistic surrogate.
    margin : float, default=1.0
        Margin of the other surrogates.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights; a pair weighs the product.

    Returns
    -------
    Tensor of shape (...)
        Mean over pairs; 0 for a batch of one class.
    """
    positive = target > 0
    return cf.apply(
        lambda z: pair_loss(
            z, positive, sample_weight, surrogate=surrogate, tau=tau, margin=margin
        ),
        logits,
    )
