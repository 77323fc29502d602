r"""Losses of a ranking: pairs weighed by what swapping them costs, smooth average precision, recall at a budget.

All rank the rows of a batch by one score and know positives and negatives. Value and gradient cost
:math:`O(n_+n)` in blocks of bounded memory, recall by a quantile :math:`O(n\log n)`.
"""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _targets
from skimb.functional._places import add_rows

METRICS = ("ap", "ndcg")
_BLOCK = 1 << 20  # pairs at once


def batchwise(closed, scores, positive, weight=None, by=None, **kw):
    """Loss (...) and gradient (..., n) of a closed form of single batches.

    Parameters
    ----------
    closed : callable
        Takes scores (n,), a mask of positives, weights and keywords, with rows of both classes and positive
        weights; gives loss and gradient.
    scores : Tensor of shape (..., n)
        Scores.
    positive : Tensor of bool, shape (n,) or (..., n)
        Which rows are positive.
    weight : Tensor of shape (n,) or (..., n), default=None
        Row weights.
    by : Tensor of shape (..., n), default=None
        Handed to the closed form, row by row.
    **kw
        Handed to the closed form as it is.

    Returns
    -------
    loss : Tensor of shape (...)
        0 for batches of one class, not a number where a score is not finite.
    grad : Tensor of shape (..., n)
        Its gradient.
    """
    shape = scores.shape
    if not scores.numel():
        return scores.new_zeros(shape[:-1]), torch.zeros_like(scores)
    flat = scores.reshape(-1, shape[-1])
    masks, weights, bys = (
        [None] * len(flat) if t is None else t.expand(shape).reshape(flat.shape)
        for t in (positive, weight, by)
    )
    losses, grads = [], []
    for z, mask, w, b in zip(flat, masks, weights, bys, strict=True):
        bad = cf.poison(z, -1)
        loss, grad = bad, torch.zeros_like(z) + bad
        if not bool(bad.isnan()):
            used = torch.ones_like(mask) if w is None else w > 0
            z, mask = z[used], mask[used]
            if bool(mask.any()) and not bool(mask.all()):
                w = torch.ones_like(z) if w is None else w[used]
                own = kw if b is None else {**kw, "by": b[used]}
                loss, grad[used] = closed(z, mask, w, **own)
        losses.append(loss.to(scores.dtype))
        grads.append(grad)
    return torch.stack(losses).reshape(shape[:-1]), torch.stack(grads).reshape(shape)


def _blocks(index, n):
    """Numbers of positives in blocks that make a bounded number of pairs with n rows."""
    return index.split(max(1, _BLOCK // max(n, 1)))


# --- LambdaRank --------------------------------------------------------------------------------


class _Swaps:
    """What a swap of a positive and a negative row costs in a metric of the order of some scores."""

    def __init__(self, by, mask, metric, at):
        n = len(by)
        order = torch.argsort(by, descending=True, stable=True)
        y = mask[order].double()
        t = torch.arange(1, n + 1, dtype=torch.float64, device=by.device)
        within = (t <= (n if at is None else at)).double()
        rank = torch.empty_like(order)
        rank[order] = torch.arange(n, device=by.device)
        self.up, self.down = rank[mask], rank[~mask]
        positives = y.sum()
        if metric == "ndcg":
            discount = within / torch.log2(t + 1.0)
            total = discount[: int(positives)].sum()
            self.parts = (discount[self.up] / total, discount[self.down] / total)
            return
        hits = y.cumsum(0)
        precision, share = within * hits / t, within / t
        passed = (y * share).cumsum(0)  # what the positives so far lose when one above them leaves
        u, v = self.up, self.down
        self.lower = (precision[u] - passed[u], (passed - precision)[v])
        self.raised = (passed[u] - share[u] - precision[u], (precision + share - passed)[v])
        self.total = positives
        self.parts = None

    def of(self, block):
        """Costs (m, number of negatives) of some positives, by their number."""
        if self.parts is not None:
            a, b = self.parts
            return (a[block, None] - b).abs()
        lower, raised = (a[block, None] + b for a, b in (self.lower, self.raised))
        above = self.up[block, None] < self.down
        return torch.where(above, lower, raised).abs() / self.total


def lambda_rank_loss(s, mask, w, *, metric, at, temperature, normalize, by=None):
    """LambdaRank of one batch, ranked by other scores if given: loss and gradient."""
    swaps = _Swaps(s if by is None else by, mask, metric, at)
    w = w / w.mean()
    sp, sn, wp, wn = s[mask] / temperature, s[~mask] / temperature, w[mask], w[~mask]
    loss, total = s.new_zeros((), dtype=torch.float64), s.new_zeros((), dtype=torch.float64)
    gp, gn = torch.zeros_like(sp), torch.zeros_like(sn)
    for block in _blocks(torch.arange(len(sp), device=s.device), len(sn)):
        pair = swaps.of(block).to(s.dtype) * wp[block, None] * wn
        d = sn - sp[block, None]
        loss += (pair * F.softplus(d)).sum()
        total += pair.sum()
        slope = pair * torch.sigmoid(d)
        gp[block] = -slope.sum(1)
        gn += slope.sum(0)
    factor = 1.0 / total.clamp_min(1e-30) if normalize else torch.ones_like(total)
    grad = torch.empty_like(s)
    grad[mask], grad[~mask] = gp, gn
    return loss * factor, grad * (factor / temperature).to(s.dtype)


# --- smooth ranks ------------------------------------------------------------------------------


def _smooth_steps(s, block, temperature):
    """How far each row ranks above some rows, and the slope in its score; 0 for a row and itself."""
    d = (s - s[block, None]) / temperature
    above = torch.sigmoid(d)
    slope = above * torch.sigmoid(-d) / temperature
    own = torch.arange(len(block), device=s.device), block
    above[own], slope[own] = 0.0, 0.0
    return above, slope


def smooth_average_precision_loss(s, mask, w, *, temperature):
    """One minus the smooth average precision of one batch: loss and gradient."""
    positive = w * mask
    total = positive.sum()
    loss, grad = torch.ones_like(total), torch.zeros_like(s)
    for block in _blocks(mask.nonzero().squeeze(-1), len(s)):
        above, slope = _smooth_steps(s, block, temperature)
        own, share = w[block, None], w[block, None] / total
        hits, rank = (own + (above @ v)[:, None] for v in (positive, w))
        loss = loss - (share * hits / rank).sum()
        step = share * (hits * w - rank * positive) / rank**2 * slope
        grad += step.sum(0)
        grad[block] -= step.sum(1)
    return loss, grad


def recall_by_quantile_loss(s, mask, w, *, budget, temperature):
    """One minus the smooth share of positives above the score at the edge of the budget: loss and gradient."""
    order = torch.argsort(s, descending=True, stable=True)
    mass = w[order].double().cumsum(0)
    edge = budget * mass[-1] * mass.new_tensor([1 - 1e-9, 1 + 1e-9])
    last = order[torch.searchsorted(mass, edge).clamp_max(len(s) - 1)]
    share = w * mask
    share = share / share.sum()
    d = (s[last].mean() - s) / temperature
    miss = torch.sigmoid(d)
    slope = share * miss * torch.sigmoid(-d) / temperature
    grad = -slope
    add_rows(grad, last, (0.5 * slope.sum()).expand(2))
    return (share * miss).sum(), grad


def recall_by_rank_loss(s, mask, w, *, budget, temperature, rank_temperature):
    """One minus the smooth share of positives whose smooth rank is within the budget: loss and gradient."""
    w = w / w.mean()
    share = w * mask
    share = share / share.sum()
    limit = budget * len(s) + 0.5
    rank_temperature = 0.1 * len(s) if rank_temperature is None else rank_temperature
    loss, grad = s.new_ones(()), torch.zeros_like(s)
    for block in _blocks(mask.nonzero().squeeze(-1), len(s)):
        above, slope = _smooth_steps(s, block, temperature)
        d = (limit - 1.0 - above @ w) / rank_temperature
        kept = torch.sigmoid(d)
        loss = loss - (share[block] * kept).sum()
        fall = share[block] * kept * torch.sigmoid(-d) / rank_temperature
        step = fall[:, None] * w * slope
        grad += step.sum(0)
        grad[block] -= step.sum(1)
    return loss, grad


def _applied(closed, logits, target, sample_weight, **kw):
    positive = _targets.binary(target, logits) > 0
    return cf.apply(lambda z: batchwise(closed, z, positive, sample_weight, **kw), logits)


def lambda_rank(
    logits,
    target,
    *,
    metric="ap",
    at=None,
    temperature=1.0,
    normalize=True,
    sample_weight=None,
):
    r"""Logistic loss of positive-negative pairs, weighed by what their swap costs (arXiv 2402.01878).

    :math:`\sum_{i\in+,j\in-}\Delta_{ij}\log(1+e^{-(s_i-s_j)/T})` with the change :math:`\Delta_{ij}` of average
    precision or NDCG when the two rows swap their ranks, held constant in the gradient.

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One score per row.
    target : Tensor of shape (n,) or (..., n)
        0/1 targets.
    metric : {"ap", "ndcg"}, default="ap"
        Average precision, or the discounted cumulative gain over its best.
    at : int, default=None
        Ranks that count; ``None`` counts all.
    temperature : float, default=1.0
        Temperature T, in logits.
    normalize : bool, default=True
        Whether to divide by the sum of the weights of pairs.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights; a pair weighs the product.

    Returns
    -------
    Tensor of shape (...)
        Loss; 0 for a batch of one class.
    """
    kw = {"metric": metric, "at": at, "temperature": temperature, "normalize": normalize}
    return _applied(lambda_rank_loss, logits, target, sample_weight, **kw)


def smooth_average_precision(logits, target, *, temperature=1.0, sample_weight=None):
    r"""One minus the average precision of smooth ranks (arXiv 2007.12163).

    :math:`1-\frac1{n_+}\sum_{i\in+}\frac{1+\sum_{j\in+}D_{ij}}{1+\sum_jD_{ij}}`,
    :math:`D_{ij}=\sigma((s_j-s_i)/T)` for :math:`j\ne i`.

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One score per row.
    target : Tensor of shape (n,) or (..., n)
        0/1 targets.
    temperature : float, default=1.0
        Temperature T, in logits; towards 0 the loss is one minus the average precision.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights, in both sums and in the mean.

    Returns
    -------
    Tensor of shape (...)
        Loss in [0, 1]; 0 for a batch of one class.
    """
    closed = smooth_average_precision_loss
    return _applied(closed, logits, target, sample_weight, temperature=temperature)


def recall_at_budget(
    logits,
    target,
    *,
    budget=0.1,
    form="quantile",
    temperature=1.0,
    rank_temperature=None,
    sample_weight=None,
):
    r"""One minus the smooth recall among the highest-scored share of the rows (arXiv 2108.11179 for ranks).

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One score per row.
    target : Tensor of shape (n,) or (..., n)
        0/1 targets.
    budget : float in (0, 1), default=0.1
        Share of the rows, by weight.
    form : {"quantile", "rank"}, default="quantile"
        :math:`\sigma((\lambda-s_i)/T)` with the score :math:`\lambda` at the edge of the budget, or
        :math:`1-\sigma((k+1/2-r_i)/T_r)` with smooth ranks :math:`r_i=1+\sum_{j\ne i}\sigma((s_j-s_i)/T)`.
    temperature : float, default=1.0
        Temperature T, in logits.
    rank_temperature : float, default=None
        Temperature :math:`T_r`, in ranks; ``None`` is a tenth of the rows.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss in [0, 1]; 0 for a batch of one class.
    """
    kw = {"budget": budget, "temperature": temperature}
    if form == "quantile":
        return _applied(recall_by_quantile_loss, logits, target, sample_weight, **kw)
    kw["rank_temperature"] = rank_temperature
    return _applied(recall_by_rank_loss, logits, target, sample_weight, **kw)
