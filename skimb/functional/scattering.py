"""How far directions are scattered over the sphere, as a loss of a batch of embeddings."""

import torch

from skimb.functional import _closed_form as cf

KINDS = ("mean", "uniformity")


def scattering_loss(features, weight, *, kind):
    """Loss and gradient for row weights that sum to 1, or None for equal ones."""
    n = len(features)
    w = features.new_full((n,), 1.0 / max(n, 1)) if weight is None else weight
    size = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    there = size > torch.finfo(features.dtype).tiny ** 0.5  # a row of zeros has no direction
    size = torch.where(there, size, torch.ones_like(size))
    z = torch.where(there, features / size, torch.zeros_like(features))
    w = w.unsqueeze(-1)
    if kind == "mean":
        centre = (w * z).sum(0)
        loss, grad = centre.square().sum() - 1.0, 2.0 * w * centre
    else:
        pairs = (w * w.mT).fill_diagonal_(0.0)
        near = pairs * torch.exp(4.0 * (z @ z.mT - 1.0))
        total, mass = near.sum(), pairs.sum()
        if not bool(mass > 0):
            return features.new_zeros(()), torch.zeros_like(features)
        loss, grad = (total / mass).log(), 8.0 * (near @ z) / total
    grad = (grad - z * (z * grad).sum(-1, keepdim=True)) / size
    return loss, torch.where(there, grad, torch.zeros_like(grad))


def scattering(features, *, kind="mean", weight=None):
    r"""How little directions are scattered over the sphere; less is more scattered.

    Parameters
    ----------
    features : Tensor of shape (n, d)
        Embeddings, which are scaled to length 1.
    kind : {"mean", "uniformity"}, default="mean"
        :math:`\|\bar z\|^2-1`, minus the mean squared distance to the mean, in [-1, 0] (arXiv 2507.06535), or
        :math:`\log\overline{e^{-2\|z_i-z_j\|^2}}` over pairs of rows, in [-8, 0] (arXiv 2005.10242).
    weight : Tensor of shape (n,), default=None
        Row weights.

    Returns
    -------
    Tensor
        Loss of the batch. Two opposite points already reach the least "mean".
    """
    w = None if weight is None else weight.to(features) / weight.sum()
    return cf.apply(lambda z: scattering_loss(z, w, kind=kind), features)
