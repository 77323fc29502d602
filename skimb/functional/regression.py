r"""Balanced mean squared error: the regression twin of balanced softmax.

The net is read as the mean of a density with balanced labels, so that the likelihood of a training
label is divided by an integral over the training labels' own density. Each form returns the loss, its
gradient in the predictions and its derivative in the noise scale sigma.
"""

import torch

from skimb.functional import _closed_form as cf

_TILE = 1 << 22  # entries of a block of the rows-by-labels table


def _columns(predictions, target):
    return (
        predictions.unsqueeze(-1) if predictions.ndim == 1 else predictions,
        target.unsqueeze(-1) if target.ndim == 1 else target,
    )


def against_labels(predictions, target, labels, log_weight, sigma, weight=None):
    """Mean of ``2 sigma^2 (lse_j l_ij - l_ii)`` with ``l_ij = -|f_i - t_j|^2 / (2 sigma^2) + log w_j``.

    Returns the loss, the gradient like `predictions` and the derivative in sigma, the factor
    ``2 sigma^2`` being held constant.
    """
    f, t = _columns(predictions, target)
    columns = labels.unsqueeze(-1) if labels.ndim == 1 else labels
    n = len(f)
    share = torch.full((n,), 1.0 / max(n, 1), dtype=f.dtype, device=f.device)
    if weight is not None:
        share = weight / weight.sum().clamp_min(1e-30)
    grad = torch.empty_like(f)
    loss, slope = f.new_zeros(()), f.new_zeros(())
    rows = max(1, _TILE // max(len(columns), 1))
    for i in range(0, n, rows):
        part = slice(i, i + rows)
        # sums of squared differences; torch.cdist would square a root
        far = sum((f[part, k, None] - columns[None, :, k]).square() for k in range(f.shape[1]))
        near = (f[part] - t[part]).square().sum(1)
        scores = far / (-2.0 * sigma**2) + log_weight
        top = torch.logsumexp(scores, 1)
        p = torch.exp(scores - top.unsqueeze(1))
        s = share[part]
        loss = loss + (s * (2.0 * sigma**2 * top + near)).sum()
        grad[part] = 2.0 * s.unsqueeze(1) * (p @ columns - t[part])
        slope = slope + 2.0 / sigma * (s * ((p * far).sum(1) - near)).sum()
    return loss, grad.view(predictions.shape), slope


def against_mixture(predictions, target, mixture, sigma, weight=None):
    """The analytic form for labels that follow a Gaussian mixture.

    `mixture` is (log weights (k,), means (k, D), eigenvalues (k, D), eigenvectors (k, D, D)).
    """
    log_w, means, values, vectors = mixture
    f, t = _columns(predictions, target)
    n, width = f.shape
    share = torch.full((n,), 1.0 / max(n, 1), dtype=f.dtype, device=f.device)
    if weight is not None:
        share = weight / weight.sum().clamp_min(1e-30)
    d = torch.einsum("nkd,kde->nke", f.unsqueeze(1) - means, vectors)
    wide = values + sigma**2
    scores = log_w - 0.5 * wide.log().sum(1) - 0.5 * (d * d / wide).sum(2)
    top = torch.logsumexp(scores, 1)
    r = torch.exp(scores - top.unsqueeze(1))
    near = (f - t).square().sum(1)
    scale = 2.0 * sigma**2
    loss = (share * (near + scale * (width * torch.log(sigma) + top))).sum()
    pull = torch.einsum("nk,nke,kde->nd", r, d / wide, vectors)
    grad = share.unsqueeze(1) * (2.0 * (f - t) - scale * pull)
    widen = (r * (sigma * (d * d / wide - 1.0) / wide).sum(2)).sum(1)
    slope = scale * (share * (widen - near / sigma**3 + width / sigma)).sum()
    return loss, grad.view(predictions.shape), slope


def rows_against_labels(predictions, target, labels, log_weight, sigma):
    """Gradient and curvature of each row of half the loss of `against_labels`, for one target (n,)."""
    grad, curve = torch.empty_like(predictions), torch.empty_like(predictions)
    rows = max(1, _TILE // max(len(labels), 1))
    for i in range(0, len(predictions), rows):
        f = predictions[i : i + rows, None]
        p = torch.softmax((f - labels).square() / (-2.0 * sigma**2) + log_weight, 1)
        mean = p @ labels
        grad[i : i + rows] = mean - target[i : i + rows]
        curve[i : i + rows] = (p * (labels - mean[:, None]).square()).sum(1) / sigma**2
    return grad, curve


def rows_against_mixture(predictions, target, mixture, sigma):
    """Gradient and curvature of each row of half the loss of `against_mixture`, for one target (n,)."""
    log_w, means, values, _ = mixture
    wide = values[:, 0] + sigma**2
    d = predictions[:, None] - means[:, 0]
    r = torch.softmax(log_w - 0.5 * wide.log() - 0.5 * d * d / wide, 1)
    u = d / wide
    pull = (r * u).sum(1)
    spread = (r * u * u).sum(1) - pull * pull
    grad = predictions - target - sigma**2 * pull
    return grad, 1.0 - sigma**2 * ((r / wide).sum(1) - spread)


class _BalancedMSE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, predictions, target, sigma, weight):
        log_w = predictions.new_zeros(len(target))
        if weight is not None:
            log_w = weight.log()
        loss, grad, slope = against_labels(predictions, target, target, log_w, sigma, weight)
        ctx.save_for_backward(grad, slope)
        return loss

    @staticmethod
    def backward(ctx, upstream):
        cf.once()
        grad, slope = ctx.saved_tensors
        return upstream * grad, None, upstream * slope, None


def balanced_mse(predictions, target, *, sigma, sample_weight=None):
    r"""Balanced mean squared error by batch Monte Carlo (arXiv 2203.16427).

    :math:`2\sigma^2\,\mathrm{mean}_i[\log\sum_je^{-(f_i-t_j)^2/2\sigma^2}+(f_i-t_i)^2/2\sigma^2]`; the
    factor in front is held constant.

    Parameters
    ----------
    predictions : Tensor of shape (n,) or (n, D)
        Predicted values.
    target : Tensor of the same shape
        True values.
    sigma : Tensor of shape ()
        Noise scale, positive, in units of the target; may require a gradient.
    sample_weight : Tensor of shape (n,), default=None
        Row weights.

    Returns
    -------
    Tensor of shape ()
        Loss; 0 for one row.
    """
    cf.untransformed()
    cf.constant("target", target)
    cf.constant("sample_weight", sample_weight)
    sigma = torch.as_tensor(sigma, dtype=predictions.dtype, device=predictions.device)
    return _BalancedMSE.apply(predictions, target, sigma, sample_weight)
