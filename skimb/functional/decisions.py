r"""Losses of decisions: expected cost, ordinal agreement, Lovász extensions, separated kappa."""

import torch

from skimb.functional import _closed_form as cf
from skimb.functional import _targets
from skimb.functional._probabilities import Odds, complements
from skimb.functional.confusion import confusion_loss, softmax_chain


def cost_rows(logits, cost):
    """Expected costs of rows and their gradient; `cost` is (..., n, C), or (..., n, 2) for one logit."""
    if logits.ndim < cost.ndim:
        p, q = torch.sigmoid(logits), torch.sigmoid(-logits)
        return cost[..., 0] * q + cost[..., 1] * p, (cost[..., 1] - cost[..., 0]) * p * q
    p = torch.softmax(logits, -1)
    return (p * cost).sum(-1), softmax_chain(p, cost)


def cost_grad_hess(logits, cost):
    """Gradient and diagonal Hessian of :func:`cost_rows`."""
    _, grad = cost_rows(logits, cost)
    if logits.ndim < cost.ndim:
        return grad, grad * (torch.sigmoid(-logits) - torch.sigmoid(logits))
    p = torch.softmax(logits, -1)
    return grad, grad * (complements(p) - p)


def expected_cost(logits, target, *, cost):
    r"""Expected cost :math:`\sum_k p_k c_{yk}` of a random decision drawn from the probabilities.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    cost : Tensor of shape (C, C) or (..., n, C)
        Cost of deciding k where y is true, or of deciding k in each row.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """

    def closed(z):
        table, y = cost.to(z), _targets.codes(target, z)
        return cost_rows(z, table[y] if table.ndim == 2 else table)

    return cf.apply(closed, logits)


def kappa_loss(logits, target, weight, *, eps=1e-6):
    """Log of the quadratically weighted disagreement over its chance value, and its gradient."""
    p = torch.softmax(logits, -1)
    width = p.shape[-1]
    grade = torch.arange(width, dtype=p.dtype, device=p.device)
    far = (grade[:, None] - grade).square() / (width - 1.0) ** 2
    w = torch.ones_like(p[..., 0]) if weight is None else weight.to(p).expand_as(p[..., 0])
    total = w.sum(-1, keepdim=True).clamp_min(1e-30)
    target = _targets.class_indices(target, logits)
    rows, onehot = far[target], torch.nn.functional.one_hot(target, width).to(p.dtype)
    seen = (w.unsqueeze(-1) * onehot).sum(-2)
    column = (seen @ far) / total
    num = (w * (rows * p).sum(-1)).sum(-1)
    den = (w.unsqueeze(-1) * p * column.unsqueeze(-2)).sum((-1, -2))
    ok = den > 1e-12
    safe = torch.where(ok, den, torch.ones_like(den))
    ratio = torch.where(ok, num / safe, torch.zeros_like(num))
    a = rows - ratio[..., None, None] * column.unsqueeze(-2)
    a = a * (w / (safe * (ratio + eps)).unsqueeze(-1)).unsqueeze(-1)
    a = torch.where(ok[..., None, None], a, torch.zeros_like(a))
    bad = cf.poison(logits, -1, -2)
    loss = torch.where(ok, torch.log(ratio + eps), torch.zeros_like(ratio)) + bad
    return loss, softmax_chain(p, a) + bad[..., None, None]


def quadratic_weighted_kappa(logits, target, *, sample_weight=None):
    r"""Logarithm of one minus the soft quadratic weighted kappa (doi 10.1016/j.patrec.2017.05.018).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C)
        Scores of ordered classes.
    target : Tensor of shape (..., n)
        Grades 0 to C - 1.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss in (-inf, log 2]; 0 for a batch of one class.
    """
    return cf.apply(lambda z: kappa_loss(z, target, sample_weight), logits)


def _jaccard_slopes(positive, weight):
    """Growth of the Jaccard loss as rows, worst first, are counted as errors."""
    w_pos = positive * weight
    total = w_pos.sum(-1, keepdim=True)
    union = total + (weight - w_pos).cumsum(-1)
    loss = 1.0 - (total - w_pos.cumsum(-1)) / union.clamp_min(1e-30)
    loss = torch.where(union > 0, loss, torch.zeros_like(loss))
    return torch.diff(loss, dim=-1, prepend=torch.zeros_like(loss[..., :1]))


def _sorted_slopes(errors, positive, weight):
    """Slopes of the Lovász extension in errors, or in anything that grows with them."""
    order = torch.argsort(errors, dim=-1, descending=True, stable=True)
    w = torch.ones_like(errors) if weight is None else weight.to(errors).expand_as(errors)
    slopes = _jaccard_slopes(positive.gather(-1, order), w.gather(-1, order))
    return torch.empty_like(slopes).scatter_(-1, order, slopes)


def lovasz_hinge_loss(z, sign, weight):
    """Lovász hinge (...) and gradient (..., n) of one logit per row."""
    errors = 1.0 - z * sign
    slopes = _sorted_slopes(errors, (sign > 0).to(z.dtype), weight)
    active = (errors > 0).to(z.dtype)
    bad = cf.poison(z, -1)
    loss = (errors * active * slopes).sum(-1) + bad
    return loss, -sign * slopes * active + bad.unsqueeze(-1)


def lovasz_softmax_loss(logits, onehot, weight):
    """Lovász-softmax (...) and gradient (..., n, C), averaged over the classes in the batch."""
    odds = Odds(logits)
    side = 1.0 - 2.0 * onehot
    wrong = odds.odds * side  # log odds of an error, which keep the order where errors round to 1
    errors, sure = torch.sigmoid(wrong), torch.sigmoid(-wrong)
    w = None if weight is None else weight.unsqueeze(-2)
    slopes = _sorted_slopes(wrong.transpose(-1, -2), onehot.transpose(-1, -2), w)
    slopes = slopes.transpose(-1, -2)
    there = onehot if weight is None else onehot * weight.unsqueeze(-1)
    there = (there.sum(-2) > 0).to(errors.dtype)
    count = there.sum(-1).clamp_min(1.0)
    bad = cf.poison(logits, -1, -2)
    loss = ((errors * slopes).sum(-2) * there).sum(-1) / count + bad
    share = (there / count.unsqueeze(-1)).unsqueeze(-2)
    grad = odds.gradient(slopes * side * errors * sure * share)
    return loss, grad + bad[..., None, None]


def lovasz(logits, target, *, sample_weight=None):
    r"""Lovász hinge for one logit, Lovász-softmax for several: surrogates of the Jaccard loss.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss, at least 0 (arXiv 1705.08790).
    """

    def closed(z):
        if cf.is_margin(z, target):
            return lovasz_hinge_loss(z, _targets.signs(target, z), sample_weight)
        return lovasz_softmax_loss(z, _targets.one_hot(target, z), sample_weight)

    return cf.apply(closed, logits)


def separated_kappa(matrix, *, background, power, form):
    """One minus the separated-kappa loss of confusion matrices (..., C, C), and its gradient."""
    keep = torch.ones_like(matrix)
    keep[..., background, background] = 0.0
    R = matrix * keep
    n = matrix.sum((-1, -2), keepdim=True)
    n_r = R.sum((-1, -2), keepdim=True)
    present = (matrix.sum(-1) > 0).sum(-1)[..., None, None] > 1
    n_r = torch.where(present, n_r.clamp_min(1e-12), torch.ones_like(n_r))
    r, c = R.sum(-1, keepdim=True), R.sum(-2, keepdim=True)
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    po = (R * eye).sum((-1, -2), keepdim=True) / n_r
    pe = (r.transpose(-1, -2) * c).sum((-1, -2), keepdim=True) / n_r**2
    rest = (1.0 - pe).clamp_min(1e-6)
    kappa = (po - pe) / rest
    d_po = (eye - po) / n_r
    d_pe = (c.transpose(-1, -2) + r.transpose(-1, -2)) / n_r**2 - 2.0 * pe / n_r
    d_kappa = (d_po * (1.0 - pe) - d_pe * (1.0 - po)) / rest**2 * keep
    inner = keep.clone()
    inner[..., background, :] = 0.0
    inner[..., :, background] = 0.0
    outside = torch.where(
        present, (n - (matrix * (1 - keep)).sum((-1, -2), keepdim=True)), torch.ones_like(n)
    )
    outside = outside.clamp_min(1e-12)
    foreground = (matrix * inner).sum((-1, -2), keepdim=True)
    u = foreground / outside
    d_u = inner / outside - (keep * foreground) / outside**2
    if form == "one_minus":
        scale = torch.exp(power * (u - 1.0))
        value, grad = kappa * scale, scale * (d_kappa + power * kappa * d_u)
    else:
        floor = (kappa + 1.0).clamp_min(1e-6)
        value = 1.0 + torch.log(0.5 * floor) - power * (1.0 - u)
        grad = d_kappa / floor + power * d_u
    one = torch.ones_like(value)
    return (
        torch.where(present, value, one)[..., 0, 0],
        torch.where(present, grad, torch.zeros_like(grad)),
    )


def sek(
    logits,
    target,
    *,
    background=0,
    power=1.0,
    form="one_minus",
    temperature=1.0,
    sample_weight=None,
):
    r"""Separated-kappa loss :math:`1-\kappa_{n0}e^{\beta(\mathrm{IoU}-1)}` (arXiv 2508.08232).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C)
        Scores of at least three classes.
    target : Tensor of shape (..., n)
        Class indices.
    background : int, default=0
        Class whose true negatives do not count.
    power : float, default=1.0
        Exponent factor of the foreground IoU.
    form : {"one_minus", "log"}, default="one_minus"
        One minus the score, or :math:`-\log\frac{\kappa+1}2+\beta(1-\mathrm{IoU})`.
    temperature : float, default=1.0
        Factor of the logits before the softmax.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss; 0 for a batch of one class.
    """

    def metric(matrix):
        return separated_kappa(matrix, background=background, power=power, form=form)

    return cf.apply(
        lambda z: confusion_loss(z, target, sample_weight, temperature=temperature, metric=metric),
        logits,
    )
