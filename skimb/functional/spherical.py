r"""Probabilities without exponentials: :math:`p_k\propto(z_k+s)^2+\epsilon`, and their cross-entropy.

Taylor softmax, :math:`1+z+\frac12z^2`, has s = 1 and epsilon = 1; spherical softmax has s = 0. Their losses
depend on a row's scores by the sum, the sum of squares and the true score alone: the spherical family.
"""

import torch

from skimb.functional import _closed_form as cf
from skimb.functional import _targets
from skimb.functional import softmax as kernel


def log_masses(logits, *, eps, shift):
    """Logarithm of :math:`(z+s)^2+\\epsilon` with its first and second derivative."""
    u = logits + shift
    size = torch.hypot(u, torch.full_like(u, eps**0.5))
    turn = u / size
    return 2.0 * size.log(), 2.0 * turn / size, 2.0 * (1.0 - 2.0 * turn.square()) / size.square()


def spherical_rows(logits, target, *, eps, shift, factor=1.0):
    """Values and `factor` times the gradients for logits with a class axis."""
    masses, slope, _ = log_masses(logits, eps=eps, shift=shift)
    loss, grad = kernel.rows(masses, target, factor=factor)
    return loss, grad.mul_(slope)


def spherical_grad_hess(logits, target, *, eps, shift, convex=False):
    """Gradient and diagonal Hessian; with `convex` the negative curvature of the masses is dropped."""
    masses, slope, bend = log_masses(logits, eps=eps, shift=shift)
    grad, hess = kernel.grad_hess(masses, target)
    bent = grad * bend
    return grad * slope, hess * slope.square() + (bent.clamp_min(0.0) if convex else bent)


def _several(name, logits, target):
    _targets.class_indices(target, logits)
    if logits.shape[-1] < 3:
        raise ValueError(
            f"{name} needs a score for each of at least three classes, logits have shape "
            f"{tuple(logits.shape)}; use cross_entropy for two."
        )


def taylor_softmax(logits, target):
    r"""Cross-entropy of the Taylor softmax, :math:`p_k\propto1+z_k+\frac12z_k^2` (arXiv 1511.05042).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C)
        Scores of at least three classes.
    target : Tensor of shape (..., n)
        Class indices.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    _several("taylor_softmax", logits, target)
    return cf.apply(lambda z: spherical_rows(z, target, eps=1.0, shift=1.0), logits)


def spherical_softmax(logits, target, *, eps=1e-3, shift=0.0):
    r"""Cross-entropy of the spherical softmax, :math:`p_k\propto(z_k+s)^2+\epsilon` (arXiv 1511.05042).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C)
        Scores of at least three classes.
    target : Tensor of shape (..., n)
        Class indices.
    eps : float, default=1e-3
        Least mass of a class, positive.
    shift : float, default=0.0
        Added to the scores.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    _several("spherical_softmax", logits, target)
    return cf.apply(lambda z: spherical_rows(z, target, eps=eps, shift=shift), logits)
