r"""The smoothness term of adversarial comp-sum losses."""

import torch

from skimb.functional import _targets


def margin_distance(perturbed, logits, target):
    """How far the margins of rows move: :math:`\\|\\Delta(x')-\\Delta(x)\\|_2` and its gradients.

    Parameters
    ----------
    perturbed, logits : Tensor of shape (..., n, C) or (..., n)
        Scores of perturbed and of clean rows.
    target : Tensor of shape (..., n)
        Class indices, or anything of that shape for one logit per row.

    Returns
    -------
    distance : Tensor of shape (..., n)
        Distance of each row.
    grad : Tensor like logits
        Gradient in `perturbed`; the gradient in `logits` is its negative.
    """
    v = perturbed - logits
    if v.ndim == target.ndim:
        distance = torch.sqrt(v * v + 1e-12)
        return distance, v / distance
    index = _targets.class_indices(target, v).unsqueeze(-1)
    d = v - v.gather(-1, index)
    distance = torch.sqrt(d.square().sum(-1) + 1e-12)
    grad = d / distance.unsqueeze(-1)
    return distance, grad.scatter_add(-1, index, -grad.sum(-1, keepdim=True))
