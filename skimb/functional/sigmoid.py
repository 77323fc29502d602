"""The sigmoid kernel: element-wise losses over one logit per label."""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _targets
from skimb.functional.softmax import by_sign

_BLOCK = 1 << 15  # entries worked on at once, so that intermediate results stay in cache


def asymmetric_rows(z, sign, *, gamma_neg, gamma_pos, clip):
    """Asymmetric loss of each entry and its full gradient, in blocks of rows on the CPU."""
    kw = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}
    by_label = any(torch.is_tensor(g) and g.ndim > 1 for g in (gamma_neg, gamma_pos))
    if z.is_cuda or z.numel() <= 2 * _BLOCK or by_label or sign.shape != z.shape:
        return _asymmetric_block(z, sign, **kw)
    width = z.shape[-1] if z.ndim > 1 else 1
    flat, signs = (t.reshape(-1, width) if z.ndim > 1 else t for t in (z, sign))
    loss, grad = torch.empty_like(flat), torch.empty_like(flat)
    rows = max(1, _BLOCK // width)
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        loss[part], grad[part] = _asymmetric_block(flat[part], signs[part], **kw)
    return loss.view(z.shape), grad.view(z.shape)


def _asymmetric_block(z, sign, *, gamma_neg, gamma_pos, clip):
    """The asymmetric loss of each entry and its full gradient, exact at the extremes.

    With the signed margin both sides are one form: -(1 - P)^gamma log P, where P is the probability of
    the true side, plus the clip for negatives.
    """
    v = z * sign
    p, q = torch.sigmoid(v), torch.sigmoid(v.neg())
    log_p = F.logsigmoid(v)
    rest, share = q, q
    by_entry = torch.is_tensor(gamma_neg) or torch.is_tensor(gamma_pos)  # and of any size
    log_rest = F.logsigmoid(v.neg()) if by_entry else None
    if clip:
        positive = sign > 0
        rest = torch.where(positive, q, (q - clip).clamp_(min=0.0))
        total = p + clip
        if by_entry:
            tiny = torch.finfo(z.dtype).tiny
            near = torch.log1p(total.clamp(max=0.75).neg_())
            clipped = torch.where(rest < 0.5, rest.clamp(min=tiny).log_(), near)
            log_rest = torch.where(positive, log_rest, clipped)
        # q p / P on the clipped side; its logarithm ends at 0
        share = torch.where(positive, q, (q * p).div_(total))
        log_p = torch.where(positive, log_p, total.clamp_(max=1.0).log_())
    if by_entry:
        # where the rest rounds to 1, large exponents would find no digits in it
        power = torch.exp(by_sign(sign, gamma_neg, gamma_pos) * log_rest)
    else:
        power = _side_power(rest, sign, gamma_neg, gamma_pos)
    if clip:  # 0^0 counts as 0: below the clip there is no loss
        power = torch.where(rest == 0, torch.zeros_like(power), power)
    inner = share.neg()
    if not (_is_zero(gamma_neg) and _is_zero(gamma_pos)):
        focus = by_sign(sign, gamma_neg, gamma_pos).mul_(p).mul_(log_p)
        if clip:
            focus.mul_(q / rest.clamp(min=torch.finfo(z.dtype).tiny))
        inner.add_(focus)
    loss = (power * log_p).neg_()
    if by_entry:
        inner = torch.where(power == 0, torch.zeros_like(inner), inner)
    return loss, inner.mul_(power).mul_(sign)


def _power(x, gamma):
    """x^gamma, by multiplications for the usual whole exponents."""
    if not isinstance(gamma, float) or gamma not in (0.0, 1.0, 2.0, 3.0, 4.0):
        return torch.pow(x, gamma)
    if gamma == 0.0:
        return torch.ones_like(x)
    square = x if gamma == 1.0 else x * x
    return square if gamma <= 2.0 else square * (x if gamma == 3.0 else square)


def _side_power(rest, sign, gamma_neg, gamma_pos):
    """rest^gamma with the exponent of each side."""
    if gamma_neg == gamma_pos:
        return _power(rest, gamma_neg)
    return torch.where(sign > 0, _power(rest, gamma_pos), _power(rest, gamma_neg))


def _is_zero(gamma):
    return isinstance(gamma, float) and gamma == 0.0


def asymmetric_grad_hess(z, sign, *, gamma_neg, gamma_pos, clip):
    """Gradient and second derivative of each entry."""
    kw = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}
    _, grad = asymmetric_rows(z, sign, **kw)
    log_p, log_q = F.logsigmoid(z), F.logsigmoid(-z)
    p, q = log_p.exp(), log_q.exp()
    pos = _focused_hess(log_p, log_q, gamma_pos)
    if not clip:
        return grad, torch.where(sign > 0, pos, _focused_hess(log_q, log_p, gamma_neg))
    g = gamma_neg
    pm = (p - clip).clamp_(min=0.0)
    safe = torch.where(pm > 0, pm, torch.ones_like(pm))
    rest, log_rest = 1.0 - pm, torch.log1p(-pm)
    power = torch.pow(safe, g)
    first = power / rest - g * power / safe * log_rest
    second = power / rest**2 + 2.0 * g * power / safe / rest
    second = second - g * (g - 1.0) * power / safe**2 * log_rest
    neg = torch.where(pm > 0, second * (p * q) ** 2 + first * p * q * (q - p), torch.zeros_like(pm))
    return grad, torch.where(sign > 0, pos, neg)


def _focused_hess(log_p, log_q, gamma):
    """Second derivative of -(1-p)^gamma log p in the logit."""
    p, q = log_p.exp(), log_q.exp()
    focus = torch.exp(gamma * log_q)
    bend = q * (gamma * log_p + gamma + 1.0) - gamma * (gamma * p * log_p - q)
    return torch.where(focus == 0, torch.zeros_like(focus), focus * p * bend)


def asymmetric(logits, target, *, gamma_neg=4.0, gamma_pos=0.0, clip=0.05):
    r"""Asymmetric loss of each label (arXiv 2009.14119).

    :math:`-t(1-p)^{\gamma_+}\log p-(1-t)\,p_m^{\gamma_-}\log(1-p_m)`, :math:`p_m=\max(p-m,0)`.

    Parameters
    ----------
    logits : Tensor of any shape
        One logit per label.
    target : Tensor of the same shape
        0/1 labels.
    gamma_neg, gamma_pos : float, default=4.0, 0.0
        Focusing exponents of negatives and positives, at least 0.
    clip : float in [0, 1), default=0.05
        Probability margin m; negatives below it have no loss.

    Returns
    -------
    Tensor of the same shape
        Losses per label.
    """

    def closed(z):
        return asymmetric_rows(
            z, _targets.signs(target, z), gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip
        )

    return cf.apply(closed, logits)
