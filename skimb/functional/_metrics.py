"""Metrics of a soft confusion matrix with their partial derivatives.

Two classes: ``T`` and ``F`` are the soft true and false positives, ``P`` and ``N`` the weights of the
positive and negative rows. Each function returns ``(M, dM/dT, dM/dF)``. Several classes: ``matrix`` of
shape (..., C, C) with true classes in rows; each function returns ``(M, dM/dmatrix)`` up to constants
along rows, which the softmax Jacobian removes.
"""

import torch

_TINY = 1e-30


def _floor(x):
    return x.clamp_min(_TINY)


def _negative(T, F, P, N):
    """Soft counts decided negative; not P + N - T - F, which is noise where few are."""
    return (P - T) + (N - F)


def accuracy(T, F, P, N, **_):
    n = P + N
    return (T + N - F) / n, 1 / n, -1 / n


def fbeta(T, F, P, N, *, beta=1.0, smooth=0.0, **_):
    b2 = beta * beta
    den = _floor(b2 * P + T + F + smooth)
    num = (1 + b2) * T + smooth
    return num / den, ((1 + b2) * den - num) / den**2, -num / den**2


def precision(T, F, P, N, *, smooth=0.0, **_):
    q = _floor(T + F + smooth)
    return (T + smooth) / q, (F / q) / q, -((T + smooth) / q) / q


def recall(T, F, P, N, **_):
    return T / P, 1 / P, torch.zeros_like(P)


def specificity(T, F, P, N, **_):
    return (N - F) / N, torch.zeros_like(P), -1 / N


def balanced_accuracy(T, F, P, N, **_):
    return 0.5 * (T / P + 1 - F / N), 0.5 / P, -0.5 / N


def youden(T, F, P, N, **_):
    return T / P - F / N, 1 / P, -1 / N


def gmean(T, F, P, N, **_):
    hit, rest = _floor(T), _floor(N - F)
    g = torch.sqrt(hit * rest / (P * N))
    return g, 0.5 * g / hit, -0.5 * g / rest


def gmean2(T, F, P, N, **_):
    return T * (N - F) / (P * N), (N - F) / (P * N), -T / (P * N)


def jaccard(T, F, P, N, *, smooth=0.0, **_):
    den = P + F + smooth
    return (T + smooth) / den, 1 / den, -(T + smooth) / den**2


def tversky(T, F, P, N, *, alpha_fp=0.5, alpha_fn=0.5, smooth=0.0, **_):
    den = _floor(T + alpha_fp * F + alpha_fn * (P - T) + smooth)
    num = T + smooth
    return num / den, (den - num * (1 - alpha_fn)) / den**2, -alpha_fp * num / den**2


def mcc(T, F, P, N, **_):
    q, rest = _floor(T + F), _floor(_negative(T, F, P, N))
    u = N * T - P * F
    v = P * N * q * rest
    root = v.sqrt()
    c = u * P * N * (rest - q) / (2 * v * root)
    return u / root, N / root - c, -P / root - c


def kappa(T, F, P, N, **_):
    u = N * T - P * F
    den = P * _negative(T, F, P, N) + N * (T + F)
    d_t = 2 * (N * den - u * (N - P)) / den**2
    d_f = 2 * (-P * den - u * (N - P)) / den**2
    return 2 * u / den, d_t, d_f


def fowlkes_mallows(T, F, P, N, **_):
    q = _floor(T + F)
    root = (P * q).sqrt()
    return T / root, (1 - T / (2 * q)) / root, -T / (2 * q * root)


def npv(T, F, P, N, **_):
    rest = _floor(_negative(T, F, P, N))
    return (N - F) / rest, (N - F) / rest**2, (T - P) / rest**2


BINARY = {
    "accuracy": accuracy,
    "f1": fbeta,
    "fbeta": fbeta,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "balanced_accuracy": balanced_accuracy,
    "youden": youden,
    "gmean": gmean,
    "gmean2": gmean2,
    "jaccard": jaccard,
    "tversky": tversky,
    "mcc": mcc,
    "kappa": kappa,
    "fowlkes_mallows": fowlkes_mallows,
    "npv": npv,
}


def of_counts(function, T, F, P, N):
    """A user's function of the counts, and its slopes by autograd.

    Parameters
    ----------
    function : callable
        Called as ``function(tp=..., fp=..., fn=..., tn=...)`` with float64 tensors (...), element by element.
    T, F, P, N : Tensor of shape (...)
        As the metrics of this module take them.

    Returns
    -------
    tuple of Tensor
        Value and derivatives in T and F, each (...); the value is detached.
    """
    with torch.inference_mode(False), torch.enable_grad():
        t, f = (x.detach().clone().requires_grad_() for x in (T, F))
        value = function(tp=t, fp=f, fn=P.clone() - t, tn=N.clone() - f)
        if not value.requires_grad:
            return value, torch.zeros_like(T), torch.zeros_like(F)
        slopes = torch.autograd.grad(value.sum(), (t, f), allow_unused=True, materialize_grads=True)
    return (value.detach(), *slopes)


# metrics whose soft value grows with T and falls with F, but one of them not at all
ONE_SIDED = frozenset({"recall", "specificity"})


def _marginals(matrix):
    return matrix.sum(-1), matrix.sum(-2), torch.diagonal(matrix, dim1=-2, dim2=-1)


def macro_f1(matrix):
    r, c, d = _marginals(matrix)
    total = _floor(r + c)
    used = (r > 0).to(matrix.dtype)
    count = used.sum(-1, keepdim=True).clamp_min(1)
    value = (used * 2 * d / total).sum(-1) / count.squeeze(-1)
    slope = used * 2 * d / total**2
    grad = -(slope.unsqueeze(-2) + slope.unsqueeze(-1)) + torch.diag_embed(used * 2 / total)
    return value, grad / count.unsqueeze(-1)


def macro_recall(matrix):
    r, _, d = _marginals(matrix)
    used = (r > 0).to(matrix.dtype)
    count = used.sum(-1, keepdim=True).clamp_min(1)
    each = used / _floor(r)
    return (each * d).sum(-1) / count.squeeze(-1), torch.diag_embed(each / count)


def macro_gmean(matrix):
    r, _, d = _marginals(matrix)
    used = r > 0
    count = used.sum(-1).clamp_min(1).to(matrix.dtype)
    logs = torch.where(used, _floor(d).log() - _floor(r).log(), torch.zeros_like(d))
    value = torch.exp(logs.sum(-1) / count)
    each = torch.where(used, 1 / _floor(d), torch.zeros_like(d))
    return value, torch.diag_embed(each * (value / count).unsqueeze(-1))


def multiclass_mcc(matrix):
    r, c, d = _marginals(matrix)
    n = r.sum(-1)
    u = n * d.sum(-1) - (r * c).sum(-1)
    v = _floor(n**2 - (c * c).sum(-1))
    w = _floor(n**2 - (r * r).sum(-1))
    root = (v * w).sqrt()
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    grad = (n[..., None, None] * eye - r.unsqueeze(-2)) / root[..., None, None]
    grad = grad + (u / (v * root))[..., None, None] * c.unsqueeze(-2)
    return u / root, grad


def overall_accuracy(matrix):
    n = _floor(matrix.sum((-1, -2)))
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    d = torch.diagonal(matrix, dim1=-2, dim2=-1)
    return d.sum(-1) / n, eye / n[..., None, None]


CONFUSION = {
    "accuracy": overall_accuracy,
    "balanced_accuracy": macro_recall,
    "f1": macro_f1,
    "gmean": macro_gmean,
    "mcc": multiclass_mcc,
}
