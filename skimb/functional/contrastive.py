r"""The supervised contrastive loss of embeddings, in closed form."""

import torch

from skimb.functional import _closed_form as cf


def contrastive_loss(features, target, weight, *, temperature):
    """Loss (...) and gradient (..., n, D) of embeddings (..., n, D), normalised to length one here."""
    n = features.shape[-2]
    length = features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    u = features / length
    if n == 0:
        return features.new_zeros(features.shape[:-2]), torch.zeros_like(features)
    w = torch.ones_like(features[..., 0]) if weight is None else weight.to(u).expand_as(u[..., 0])
    used = (w > 0).to(u.dtype)
    w = w * used.sum(-1, keepdim=True) / w.sum(-1, keepdim=True).clamp_min(1e-30)
    alone = torch.eye(n, dtype=torch.bool, device=u.device)
    s = (u @ u.transpose(-1, -2) / temperature).masked_fill(alone, 0.0)
    open_ = s.masked_fill(alone, -torch.inf) + w.log().unsqueeze(-2)
    same = ((target.unsqueeze(-1) == target.unsqueeze(-2)) & ~alone).to(u.dtype) * w.unsqueeze(-2)
    mates = same.sum(-1, keepdim=True)
    share = same / torch.where(mates > 0, mates, torch.ones_like(mates))
    anchor = w * (mates.squeeze(-1) > 0)
    anchor = anchor / w.sum(-1, keepdim=True).clamp_min(1e-30)
    top = torch.logsumexp(open_, -1, keepdim=True)
    top = torch.where(top > -torch.inf, top, torch.zeros_like(top))
    rows = top.squeeze(-1) - (share * s).sum(-1)
    pull = (torch.exp(open_ - top) - share) * anchor.unsqueeze(-1)
    d_u = (pull + pull.transpose(-1, -2)) @ u / temperature
    grad = (d_u - u * (u * d_u).sum(-1, keepdim=True)) / length
    return (rows * anchor).sum(-1), grad


def supervised_contrastive(features, target, *, temperature=0.07, sample_weight=None):
    r"""Supervised contrastive loss (arXiv 2004.11362).

    :math:`\frac1n\sum_i\frac{-1}{|P(i)|}\sum_{p\in P(i)}\log\frac{e^{s_{ip}}}{\sum_{a\ne i}e^{s_{ia}}}` with
    :math:`s_{ia}=u_i\cdot u_a/T` and embeddings u of length one.

    Parameters
    ----------
    features : Tensor of shape (..., n, D)
        Embeddings; they are divided by their lengths.
    target : Tensor of shape (..., n)
        Class indices. Rows without a mate in the batch add nothing.
    temperature : float, default=0.07
        Temperature T, positive.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights, of anchors and of their contrasts.

    Returns
    -------
    Tensor of shape (...)
        Loss.
    """
    return cf.apply(
        lambda z: contrastive_loss(z, target, sample_weight, temperature=temperature), features
    )
