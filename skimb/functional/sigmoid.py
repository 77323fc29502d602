"""The sigmoid kernel: element-wise losses over one logit per label."""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf


def asymmetric_rows(z, sign, *, gamma_neg, gamma_pos, clip):
    """Asymmetric loss of each entry and its full gradient, exact at the extremes.

    With the signed margin both sides are one form: -(1 - P)^gamma log P, where P is the probability of
    the true side, plus the clip for negatives.
    """
    v = z * sign
    p, q = torch.sigmoid(v), torch.sigmoid(v.neg())
    log_p = F.logsigmoid(v)
    rest = q
    share = q  # q times p / P
    if clip:
        shift = sign.mul(-0.5 * clip).add_(0.5 * clip)  # the clip for negatives, 0 for positives
        rest = (q - shift).clamp_(min=0.0)
        log_p = torch.logaddexp(log_p, shift.log()).clamp_(max=0.0)
        total = (p + shift).clamp_(min=torch.finfo(z.dtype).tiny)
        share = torch.addcmul(q, q, shift.div_(total), value=-1.0)
    if _is_zero(gamma_neg) and _is_zero(gamma_pos):
        power = torch.ones_like(rest) if not clip else (rest > 0).to(z.dtype)
        focus = None
    else:
        half, mid = 0.5 * (gamma_pos - gamma_neg), 0.5 * (gamma_pos + gamma_neg)
        gamma = sign.mul(half).add_(mid)
        power = torch.pow(rest, gamma)
        if clip:
            if _is_zero(gamma_neg):  # 0^0 counts as 0: below the clip there is no loss
                power.mul_(rest > 0)
            focus = gamma.mul_(p).mul_(log_p).mul_(q / rest.clamp(min=torch.finfo(z.dtype).tiny))
        else:
            focus = gamma.mul_(p).mul_(log_p)
    loss = (power * log_p).neg_()
    inner = share.neg() if focus is None else focus.sub_(share)
    return loss, inner.mul_(power).mul_(sign)


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
    return focus * p * (q * (gamma * log_p + gamma + 1.0) - gamma * (gamma * p * log_p - q))


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
            z, cf.signs(target, z), gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip
        )

    return cf.apply(closed, logits)
