r"""How far scores move with their rows, and where cross-entropy rises."""

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


def _two_sided(logits):
    """Logarithms of both probabilities of one logit, with a last axis for them."""
    sides = torch.stack([-logits, logits], -1)
    return torch.nn.functional.logsigmoid(sides)


def kl_distance(perturbed, logits, target):
    r"""How far probabilities move: :math:`\mathrm{KL}(p(x)\|p(x'))` and its gradients.

    Parameters
    ----------
    perturbed, logits : Tensor of shape (..., n, C), (..., n) or (..., n, L)
        Scores of perturbed and of clean rows.
    target : Tensor of shape (..., n) or (..., n, L)
        Anything of that shape: it tells one score per class from a single one.

    Returns
    -------
    distance : Tensor of shape (..., n) or (..., n, L)
        Divergence of each row, or of each label.
    grad_perturbed, grad : Tensor like logits
        Gradients in both scores.
    """
    single = logits.ndim == target.ndim
    of = _two_sided if single else lambda z: torch.log_softmax(z, -1)
    log_p, log_q = of(logits), of(perturbed)
    p = log_p.exp()
    gap = log_p - log_q
    distance = (p * gap).sum(-1)
    moved, here = log_q.exp() - p, p * (gap - distance.unsqueeze(-1))
    if single:  # the score of the second side
        return distance, moved[..., 1], here[..., 1]
    return distance, moved, here


def cross_entropy_slope(logits, target):
    """Gradient of each row's cross-entropy in its scores.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C), (..., n) or (..., n, L)
        Scores.
    target : Tensor of shape (..., n) or (..., n, L)
        Class indices, or signs -1/+1 (or 0/1) of single scores.

    Returns
    -------
    Tensor like logits
        Gradient.
    """
    if logits.ndim == target.ndim:
        sign = torch.where(target > 0, 1.0, -1.0).to(logits)
        return -sign * torch.sigmoid(-sign * logits)
    index = _targets.class_indices(target, logits).unsqueeze(-1)
    return torch.softmax(logits, -1).scatter_add(-1, index, torch.full_like(index, -1).to(logits))
