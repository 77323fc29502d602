r"""Risks of a target where only some positives are labelled and all other rows are not."""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _targets


def pu_terms(z, labelled, weight, *, class_prior, rare=None):
    """Risk of positives and risk of negatives (...), each with its gradient (..., n).

    `labelled` is 1 for labelled positives and 0 for unlabelled rows (..., n); `rare` is the share of positives
    that the risks are weighed to, `class_prior` if None. A batch without one of the kinds has risk 0.
    """
    w = torch.ones_like(z) if weight is None else weight.expand_as(z)
    p, u = w * labelled, w * (1.0 - labelled)
    mass = [x.sum(-1, keepdim=True) for x in (p, u)]
    both = (mass[0] > 0) & (mass[1] > 0)
    p, u = (
        torch.where(both, x / m, torch.zeros_like(x)) for x, m in zip((p, u), mass, strict=True)
    )
    wanted = class_prior if rare is None else rare
    scale = (1.0 - wanted) / (1.0 - class_prior)
    on, off = F.softplus(-z), F.softplus(z)
    up, down = wanted * p, scale * (u - class_prior * p)
    rise = torch.sigmoid(z)
    return ((up * on).sum(-1), -up * torch.sigmoid(-z)), ((down * off).sum(-1), down * rise)


def pu_loss(z, labelled, weight, *, class_prior, rare=None, beta=0.0, gamma=1.0, branch=None):
    """Value of the non-negative risk (...), what is descended instead of it (...), and that one's gradient.

    `branch` says where the negatives' risk counts as non-negative; None finds out.
    """
    (risk, grad), (rest, fall) = pu_terms(z, labelled, weight, class_prior=class_prior, rare=rare)
    branch = rest >= -beta if branch is None else branch
    inner = branch.unsqueeze(-1)
    descended = torch.where(branch, risk + rest, -gamma * rest)
    slope = torch.where(inner, grad + fall, -gamma * fall)
    return risk + rest.clamp_min(0.0), descended, slope


def non_negative_pu(
    logits, target, *, class_prior, beta=0.0, gamma=1.0, balanced_prior=None, sample_weight=None
):
    r"""Non-negative risk of positive and unlabelled rows (arXiv 1703.00593).

    :math:`\pi\,\mathrm{mean}_P\,l_++\max(0,N)`, :math:`N=\mathrm{mean}_U\,l_--\pi\,\mathrm{mean}_P\,l_-`,
    :math:`l_\pm=\log(1+e^{\mp z})`. Where :math:`N<-\beta`, the gradient is that of :math:`-\gamma N`.

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One score per row.
    target : Tensor of shape (n,) or (..., n)
        1 for labelled positives, 0 for unlabelled rows.
    class_prior : float in (0, 1)
        Share :math:`\pi` of positives among the unlabelled rows.
    beta : float, default=0.0
        Tolerance :math:`\beta`.
    gamma : float, default=1.0
        Factor :math:`\gamma` of the step back.
    balanced_prior : float in (0, 1), default=None
        Share of positives that the risk is weighed to; ``None`` is `class_prior`.
    sample_weight : Tensor broadcast over (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Risk; 0 for a batch of one kind.
    """
    labelled = _targets.binary(target, logits)
    kw = {"class_prior": class_prior, "rare": balanced_prior, "beta": beta, "gamma": gamma}

    def closed(z):
        value, _, grad = pu_loss(z, labelled.to(z.dtype), sample_weight, **kw)
        return value, grad

    return cf.apply(closed, logits)
