r"""The pair kernel: losses of score differences between positives and negatives.

The smooth logistic surrogate is exact in tiles with O(n) memory. Hinge and squared hinge need one sort
and prefix sums, O(n log n); the squared loss needs two means and variances, O(n).
"""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _targets
from skimb.functional._places import add_entries

SURROGATES = ("logistic", "squared_hinge", "hinge", "squared")
METHODS = ("exact", "binned")
_TILE = 512  # 512 x 512 differences stay in cache


def logistic_pairs(sp, sn, wp, wn, tau):
    """Logistic loss of all pairs in tiles, with its gradients in both sides' scores."""
    loss = sp.new_zeros(sp.shape[:-1])
    gp, gn = torch.zeros_like(sp), torch.zeros_like(sn)
    a, b = sp.unsqueeze(-1) / tau, sn.unsqueeze(-2) / tau
    wa, wb = wp.unsqueeze(-1), wn.unsqueeze(-1)
    for i in range(0, sp.shape[-1], _TILE):
        rows = slice(i, i + _TILE)
        for j in range(0, sn.shape[-1], _TILE):
            columns = slice(j, j + _TILE)
            d = a[..., rows, :] - b[..., columns]
            v = wb[..., columns, :]
            u = wa[..., rows, :]
            loss = loss - (F.logsigmoid(d) @ v * u).sum((-1, -2))
            q = torch.sigmoid(d.neg_())
            gp[..., rows] -= (q @ v * u).squeeze(-1) / tau
            gn[..., columns] += (q.transpose(-1, -2) @ u * v).squeeze(-1) / tau
    return loss, gp, gn


def pair_loss(
    scores,
    positive,
    weight,
    *,
    surrogate,
    tau=1.0,
    margin=1.0,
    fpr_max=1.0,
    method="exact",
    n_bins=1024,
    logistic=logistic_pairs,
):
    """Loss (...) and gradient (..., n) of `scores` (..., n); `positive` is a bool mask (n,).

    `surrogate` is one of `SURROGATES`, or "auc_margin". Below one, `fpr_max` keeps the highest-scored
    negatives that make up this share of their weight. "binned" approximates the logistic surrogate.
    `logistic` computes it exactly.

    A batch of one class has loss 0 and gradient 0. Leading axes of `positive` or `weight` are
    unrolled, since each member then has its own pairs.
    """
    members = max(positive.ndim, 1 if weight is None else weight.ndim)
    if members > 1:
        shape = scores.shape
        flat = scores.reshape(-1, shape[-1])
        mask = positive.expand(shape).reshape(flat.shape)
        w = None if weight is None else weight.expand(shape).reshape(flat.shape)
        kw = {"surrogate": surrogate, "tau": tau, "margin": margin}
        kw |= {"fpr_max": fpr_max, "method": method, "n_bins": n_bins, "logistic": logistic}
        parts = [
            pair_loss(x, mask[i], None if w is None else w[i], **kw) for i, x in enumerate(flat)
        ]
        loss = torch.stack([part[0] for part in parts]).reshape(shape[:-1])
        return loss, torch.stack([part[1] for part in parts]).reshape(shape)
    up, down = positive, ~positive
    if weight is not None:  # a row that weighs nothing is no row
        up, down = up & (weight > 0), down & (weight > 0)
    ip, jn = up.nonzero().squeeze(-1), down.nonzero().squeeze(-1)
    zero = cf.poison(scores, -1)
    if not len(ip) or not len(jn):
        return zero, torch.zeros_like(scores) + zero.unsqueeze(-1)
    if bool(zero.isnan().any()):  # no order and no grid of scores that are not finite
        clean = torch.where(zero.isnan().unsqueeze(-1), torch.zeros_like(scores), scores)
        kw = {"surrogate": surrogate, "tau": tau, "margin": margin, "fpr_max": fpr_max}
        kw |= {"method": method, "n_bins": n_bins, "logistic": logistic}
        loss, grad = pair_loss(clean, positive, weight, **kw)
        return loss + zero, grad + zero.unsqueeze(-1)
    w = torch.ones_like(scores[..., :]) if weight is None else weight.expand_as(scores)
    sp, sn, wp, wn = scores[..., ip], scores[..., jn], w[..., ip], w[..., jn]
    wp, wn = _share(wp), _share(wn)
    if fpr_max < 1.0:
        wn = _hardest(sn, wn, fpr_max)
    if surrogate == "logistic" and method == "binned":
        loss, gp, gn = _binned(sp, sn, wp, wn, tau, n_bins)
    elif surrogate == "logistic":
        loss, gp, gn = logistic(sp, sn, wp, wn, tau)
    elif surrogate == "auc_margin":
        loss, gp, gn = _squared(sp, sn, wp, wn, margin, hinge=True)
    elif surrogate == "squared":
        loss, gp, gn = _squared(sp, sn, wp, wn, margin)
    else:
        loss, gp, gn = _hinge(sp, sn, wp, wn, margin, surrogate == "squared_hinge")
    grad = torch.zeros_like(scores)
    grad.index_copy_(-1, ip, gp.to(grad.dtype))
    grad.index_copy_(-1, jn, gn.to(grad.dtype))
    return loss.to(scores.dtype), grad


def pair_columns(scores, positive, weight, closed=None, **kw):
    """Average of a closed form over columns (..., n, K), among those with pairs in the batch.

    The form is :func:`pair_loss` unless another one is given; keywords that are tensors have columns too.
    """
    closed = pair_loss if closed is None else closed
    losses, grads, defined = [], [], []
    weighty = None if weight is None else weight > 0
    for k in range(scores.shape[-1]):
        mask = positive[..., k]
        own = {name: x[..., k] if torch.is_tensor(x) else x for name, x in kw.items()}
        loss, grad = closed(scores[..., k], mask, weight, **own)
        up, down = (mask, ~mask) if weighty is None else (mask & weighty, ~mask & weighty)
        losses.append(loss)
        grads.append(grad)
        defined.append((up.any(-1) & down.any(-1)).to(scores.dtype))
    count = torch.stack(defined, -1).sum(-1).clamp_min(1.0)
    loss = torch.stack(losses, -1).sum(-1) / count
    return loss, torch.stack(grads, -1) / count[..., None, None]


def _share(w):
    total = w.sum(-1, keepdim=True)
    return torch.where(total > 0, w / torch.where(total > 0, total, 1.0), torch.zeros_like(w))


def _hardest(sn, wn, share):
    """Weights of the highest-scored negatives that make up `share` of the whole, summing to 1."""
    order = torch.argsort(sn, dim=-1, descending=True, stable=True)
    w = wn.gather(-1, order)
    before = w.cumsum(-1) - w
    kept = torch.minimum((share - before).clamp_min(0.0), w) / share
    return torch.empty_like(kept).scatter_(-1, order, kept)


def _binned(sp, sn, wp, wn, tau, n_bins):
    """Logistic surrogate of scores shared out between the two nearest points of a fixed grid.

    The grid is made of whole multiples of a power of two, so that it does not move with the scores
    and the gradient is exactly that of the binned value; the error is below h^2 / (16 tau^2).
    """
    sp, sn, wp, wn = (t.double() for t in (sp, sn, wp, wn))
    low = torch.minimum(sp.amin(-1, keepdim=True), sn.amin(-1, keepdim=True))
    span = torch.maximum(sp.amax(-1, keepdim=True), sn.amax(-1, keepdim=True)) - low
    h = torch.exp2(torch.ceil(torch.log2(span.clamp_min(1e-9) / n_bins)))
    base = torch.floor(low / h)
    size = n_bins + 3

    def share(x, w):
        place = x / h - base
        at = place.floor().clamp_(0, size - 2)
        part, at = place - at, at.long()
        counts = w.new_zeros((*x.shape[:-1], size))
        add_entries(counts, at, w * (1.0 - part))
        return add_entries(counts, at + 1, w * part), at

    cp, ip = share(sp, wp)
    cn, jn = share(sn, wn)
    step = torch.arange(1 - size, size, dtype=h.dtype, device=h.device)
    cell = F.softplus(step * h / tau)
    grid = torch.arange(size, device=h.device)
    table = cell[..., grid - grid[:, None] + size - 1]
    v_pos = (table @ cn.unsqueeze(-1)).squeeze(-1)
    v_neg = (table.transpose(-1, -2) @ cp.unsqueeze(-1)).squeeze(-1)

    def slope(potential, at):
        return (potential.gather(-1, at + 1) - potential.gather(-1, at)) / h

    return (cp * v_pos).sum(-1), wp * slope(v_pos, ip), wn * slope(v_neg, jn)


def _squared(sp, sn, wp, wn, margin, hinge=False):
    sp, sn, wp, wn = (t.double() for t in (sp, sn, wp, wn))
    mp, mn = (sp * wp).sum(-1, keepdim=True), (sn * wn).sum(-1, keepdim=True)
    gap = margin + mn - mp
    if hinge:
        gap = gap.clamp_min(0.0)
    loss = (wp * (sp - mp) ** 2).sum(-1) + (wn * (sn - mn) ** 2).sum(-1) + gap.squeeze(-1) ** 2
    return loss, 2 * wp * (sp - mp - gap), 2 * wn * (sn - mn + gap)


def _hinge(sp, sn, wp, wn, margin, squared):
    """Exact hinge losses: sort one side, find the other side's places in it, and take prefix sums."""
    sp, sn, wp, wn = (t.double() for t in (sp, sn, wp, wn))
    if (
        sp.shape[-1] > sn.shape[-1]
    ):  # the differences stay when both sides swap and change their signs
        loss, gn, gp = _hinge(-sn, -sp, wn, wp, margin, squared)
        return loss, -gp, -gn
    centre = sp.mean(-1, keepdim=True)
    s, order = torch.sort(sp - centre, dim=-1)
    w = wp.gather(-1, order)
    v = sn - centre + margin  # a pair counts where s < v
    place = torch.searchsorted(s, v.contiguous())
    below = torch.nn.functional.pad(torch.stack([w, w * s, w * s * s]).cumsum(-1), (1, 0))
    a0, a1, a2 = (part.gather(-1, place) for part in below)
    at = w.new_zeros(2, *s.shape[:-1], s.shape[-1] + 1)
    add_entries(at, place.expand(2, *place.shape), torch.stack([wn, wn * v]))
    above = at.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    b0, b1 = above[0], above[1]
    if squared:
        loss = (wn * (a0 * v * v - 2 * a1 * v + a2)).sum(-1)
        gn, gs = 2 * wn * (a0 * v - a1), 2 * w * (b0 * s - b1)
    else:
        loss = (wn * (a0 * v - a1)).sum(-1)
        gn, gs = wn * a0, -w * b0
    return loss, torch.empty_like(gs).scatter_(-1, order, gs), gn


def mann_whitney(
    logits,
    target,
    *,
    surrogate="logistic",
    tau=1.0,
    margin=1.0,
    method="exact",
    n_bins=1024,
    sample_weight=None,
):
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
    method : {"exact", "binned"}, default="exact"
        "binned" computes the logistic surrogate on a grid in O(n + n_bins^2).
    n_bins : int, default=1024
        Points of that grid.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights; a pair weighs the product.

    Returns
    -------
    Tensor of shape (...)
        Mean over pairs; 0 for a batch of one class.
    """
    kw = {"surrogate": surrogate, "tau": tau, "margin": margin, "method": method, "n_bins": n_bins}
    return _pairs(logits, target, sample_weight, **kw)


def _pairs(logits, target, sample_weight, **kw):
    positive = _targets.binary(target, logits) > 0
    return cf.apply(lambda z: pair_loss(z, positive, sample_weight, **kw), logits)


def auc_margin(logits, target, *, margin=1.0, sample_weight=None):
    r"""AUC margin loss with its inner problem solved: O(n), no dual variables (arXiv 2012.03173).

    :math:`\mathrm{Var}_++\mathrm{Var}_-+[m+\bar s_--\bar s_+]_+^2`.

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One score per row.
    target : Tensor of shape (n,) or (..., n)
        0/1 targets.
    margin : float, default=1.0
        Wanted distance of the means.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss; 0 for a batch of one class.
    """
    return _pairs(logits, target, sample_weight, surrogate="auc_margin", margin=margin)


def partial_auc(
    logits,
    target,
    *,
    fpr_max=0.3,
    surrogate="squared_hinge",
    tau=1.0,
    margin=1.0,
    sample_weight=None,
):
    r"""Pair loss over the hardest negatives: one minus the partial AUC up to `fpr_max` (arXiv 2203.00176).

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One score per row.
    target : Tensor of shape (n,) or (..., n)
        0/1 targets.
    fpr_max : float in (0, 1], default=0.3
        Share of the negatives, by weight, that counts: those with the highest scores.
    surrogate : {"logistic", "squared_hinge", "hinge", "squared"}, default="squared_hinge"
        Function of the score difference.
    tau : float, default=1.0
        Temperature of the logistic surrogate.
    margin : float, default=1.0
        Margin of the other surrogates.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights; a pair weighs the product.

    Returns
    -------
    Tensor of shape (...)
        Mean over the pairs that count; 0 for a batch of one class.
    """
    kw = {"surrogate": surrogate, "tau": tau, "margin": margin, "fpr_max": fpr_max}
    return _pairs(logits, target, sample_weight, **kw)
