r"""Label-distributionally robust losses, bounded losses and the Z-loss."""

import math

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _shapes as shapes
from skimb.functional import _targets
from skimb.functional import softmax as kernel
from skimb.functional._probabilities import against_others, complements

NORMALIZE = ("none", "softplus_mean", "l1_mean")
_MOST_ITERATIONS = 200  # for a temperature whose fixed point is nearly a double one
_SMALLEST_MEAN = 1e-6


def normalise(logits, how):
    """Scores scaled by their own mean, and the pull-back of a gradient in them."""
    if how == "none":
        return logits, lambda grad: grad
    width = logits.shape[-1]
    if how == "softplus_mean":
        u, slope = F.softplus(logits), torch.sigmoid(logits)
        size, d_size = u.mean(-1, keepdim=True), 1.0 / width
    else:
        u, slope = logits, 1.0
        size, d_size = logits.abs().mean(-1, keepdim=True), logits.sign() / width
    d_size = d_size * (size > _SMALLEST_MEAN)  # held at its least value it does not move
    size = size.clamp_min(_SMALLEST_MEAN)
    t = u / size
    return t, lambda g: (g - (g * t).sum(-1, keepdim=True) * d_size) / size * slope


def _wrong(logits, target, margin):
    """Scores with the margin of wrong classes, and the place of the true ones.

    Scores are taken from the largest one, so that temperatures divide differences.
    """
    index = _targets.class_indices(target, logits).unsqueeze(-1)
    scores = logits - logits.amax(-1, keepdim=True)
    return scores.scatter_add(-1, index, torch.full_like(scores[..., :1], -margin)), index


def _tempered(scores, index, x):
    """Loss over the temperature x, its gradient, and p (1 - p) of each class."""
    v, share = against_others(scores / x, index)
    p, q = torch.sigmoid(v).unsqueeze(-1), torch.sigmoid(-v).unsqueeze(-1)
    spread = (q * share * (p + q * complements(share))).scatter_(-1, index, p * q)
    return -F.logsigmoid(v), (q * share).scatter_(-1, index, -q), spread


def ldr_rows(logits, target, *, lam, margin):
    """Values and gradients of LDR-KL for logits with a class axis."""
    scores, index = _wrong(logits, target, margin)
    v, share = against_others(scores / lam, index)
    q = torch.sigmoid(-v).unsqueeze(-1)
    value = lam * (-F.logsigmoid(v) - math.log(logits.shape[-1]))
    return value, share.mul_(q).scatter_(-1, index, -q)


def ldr_grad_hess(logits, target, *, lam, margin):
    """Gradient and diagonal Hessian of LDR-KL."""
    _, grad, spread = _tempered(*_wrong(logits, target, margin), lam)
    return grad, spread / lam


class AdaptiveRows:
    """Adaptive LDR-KL of rows: the temperature that maximises, the value, gradient and Hessian.

    The temperature is the largest fixed point of lambda = lambda_0 (1 - KL(p || uniform) / (alpha log
    C)); a few monotone iterations from lambda_0 are followed by Newton's method, `n_iter` of both at
    least and as many more as it takes to converge.
    """

    def __init__(self, logits, target, *, lam, margin, alpha, n_iter):
        s, index = _wrong(logits, target, margin)
        s = s - s.amax(-1, keepdim=True)
        log_c = math.log(logits.shape[-1])
        self.kappa = lam / (alpha * log_c)
        floor = lam * (1.0 - 1.0 / alpha)
        x = torch.full_like(s[..., :1], lam)
        for step in range(max(n_iter, _MOST_ITERATIONS)):
            before = x
            log_p = torch.log_softmax(s / x, -1)
            p = log_p.exp()
            mean = (p * s).sum(-1, keepdim=True)
            spread = (p * (s - mean) ** 2).sum(-1, keepdim=True)
            fixed = lam - self.kappa * ((p * log_p).sum(-1, keepdim=True) + log_c)
            if step >= 3:
                slope = 1.0 - self.kappa * spread / x**3
                newton = x - (x - fixed) / slope
                good = (slope > 1e-3) & (newton >= floor) & (newton <= lam)
                fixed = torch.where(good, newton, fixed)
            x = fixed.clamp(min=floor, max=lam)
            near = 8.0 * torch.finfo(x.dtype).eps * lam
            if step >= n_iter - 1 and not bool(((x - before).abs() > near).any()):
                break
        log_p = torch.log_softmax(s / x, -1)
        self.x, self.p = x, log_p.exp()
        self.centred = s - (self.p * s).sum(-1, keepdim=True)
        l, self.grad, self.spread = _tempered(s, index, x)
        away = (x - lam).squeeze(-1)
        self.value = x.squeeze(-1) * (l - log_c) - 0.5 / self.kappa * away**2

    def hessian(self):
        """Diagonal of the Hessian, the temperature moving with the scores."""
        spread = (self.p * self.centred**2).sum(-1, keepdim=True)
        slope = 1.0 - self.kappa * spread / self.x**3
        moved = self.kappa * (self.p * self.centred / self.x**2) ** 2 / slope
        return self.spread / self.x + moved


def _either(closed, logits, target):
    def both(z):
        if cf.is_margin(z, target):
            return cf.through_pair(closed, z, target.long())
        return closed(z, target)

    return cf.apply(both, logits)


def ldr(logits, target, *, lam=1.0, margin=0.1, normalize="none"):
    r"""LDR-KL loss :math:`\lambda[\log\sum_k e^{(z_k-z_y+c_k)/\lambda}-\log C]` (arXiv 2112.14869).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    lam : float, default=1.0
        Temperature, positive.
    margin : float, default=0.1
        Margin c of wrong classes.
    normalize : {"none", "softplus_mean", "l1_mean"}, default="none"
        How scores are divided by their own mean first; large `lam` needs it.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """

    def closed(z, y):
        scores, back = normalise(z, normalize)
        value, grad = ldr_rows(scores, y, lam=lam, margin=margin)
        return value, back(grad)

    return _either(closed, logits, target)


def adaptive_ldr(logits, target, *, lam=1.0, margin=0.1, alpha=2.0, normalize="none", n_iter=10):
    r"""Adaptive LDR-KL: every row maximises over its own temperature (arXiv 2112.14869).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    lam : float, default=1.0
        Largest temperature.
    margin : float, default=0.1
        Margin of wrong classes.
    alpha : float, default=2.0
        Strength of the pull towards `lam`, above 1.
    normalize : {"none", "softplus_mean", "l1_mean"}, default="none"
        How scores are divided by their own mean first.
    n_iter : int, default=10
        Least number of iterations for the temperature, which go on until it has converged.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """

    def closed(z, y):
        scores, back = normalise(z, normalize)
        rows = AdaptiveRows(scores, y, lam=lam, margin=margin, alpha=alpha, n_iter=n_iter)
        return rows.value, back(rows.grad)

    return _either(closed, logits, target)


def generalized_cross_entropy(logits, target, *, q=0.7):
    r"""Generalized cross-entropy :math:`(1-p_y^q)/q` (arXiv 1805.07836).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    q : float in (0, 1], default=0.7
        Towards 0 cross-entropy, 1 the mean absolute error.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return kernel._apply(logits, target, shape=shapes.CompSum(1.0 + q))


def mean_absolute_error(logits, target):
    r"""Probability of error :math:`1-p_y`, the mean absolute error up to a factor (arXiv 1712.09482).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return kernel._apply(logits, target, shape=shapes.CompSum(2.0))


def symmetric_cross_entropy(logits, target, *, balance=0.5, log_zero=4.0):
    r"""Symmetric cross-entropy :math:`(1-b)\ell+bA(1-p_y)` (arXiv 1908.06112).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    balance : float in [0, 1), default=0.5
        Share b of the reverse cross-entropy.
    log_zero : float, default=4.0
        Magnitude A that stands for minus the logarithm of zero.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    shape = shapes.Poly(balance * log_zero / (1.0 - balance))
    return (1.0 - balance) * kernel._apply(logits, target, shape=shape)


def poly_focal(logits, target, *, gamma=2.0, epsilon=1.0):
    r"""Poly-1 focal loss :math:`q^\gamma\ell+\epsilon q^{\gamma+1}`, :math:`q=1-p_y` (arXiv 2204.12511).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    gamma : float, default=2.0
        Focusing exponent, at least 0.
    epsilon : float, default=1.0
        Extra weight of the leading term, at least -1.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    return kernel._apply(logits, target, shape=shapes.PolyFocal(gamma, epsilon))


def z_parts(logits, target, *, a, b):
    """Standardised scores, their spread, and the target's score of the Z-loss."""
    centred = logits - logits.mean(-1, keepdim=True)
    sigma = torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-12)
    z = centred / sigma
    index = _targets.class_indices(target, logits).unsqueeze(-1)
    own = z.gather(-1, index)
    slope = torch.sigmoid(a * (b - own))
    value = F.softplus(a * (b - own)).squeeze(-1) / a
    unit = (-1.0 - own * z).scatter_add(-1, index, torch.full_like(own, float(z.shape[-1])))
    return value, z, sigma, own, slope, unit / (z.shape[-1] * sigma)


def z_rows(logits, target, *, a, b):
    """Values and gradients of the Z-loss."""
    value, _, _, _, slope, d_own = z_parts(logits, target, a=a, b=b)
    return value, -slope * d_own


def z_grad_hess(logits, target, *, a, b):
    """Gradient and diagonal Hessian of the Z-loss."""
    _, z, sigma, own, slope, d_own = z_parts(logits, target, a=a, b=b)
    size = z.shape[-1] * sigma
    d_same = (z.shape[-1] - 1.0 - z * z) / size
    dd_own = -(2.0 * z * d_own + own * d_same) / size
    rest = torch.sigmoid(a * (own - b))
    return -slope * d_own, a * slope * rest * d_own**2 - slope * dd_own


def z_loss(logits, target, *, a=1.0, b=None):
    r"""Z-loss :math:`\frac1a\log(1+e^{a(b-z_y)})` of scores standardised by row (arXiv 1604.08859).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C)
        Scores of at least three classes.
    target : Tensor of shape (..., n)
        Class indices.
    a : float, default=1.0
        Sharpness, positive.
    b : float, default=None
        Score aimed at, below sqrt(C - 1), which is its largest value; ``None`` means 0.7 of that.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    width = logits.shape[-1]
    if width < 3:
        raise ValueError(
            f"z_loss needs at least three classes, logits have shape {tuple(logits.shape)}: two "
            "standardised scores are always -1 and 1."
        )
    b = 0.7 * math.sqrt(width - 1.0) if b is None else b
    return cf.apply(lambda z: z_rows(z, target, a=a, b=b), logits)
