r"""Row weights that follow the losses or errors of a batch; constants for the gradient."""

import math

import torch

STRATEGIES = ("linupper", "quadratic", "extremes")
FOCUS = ("power", "exp")


def _normal(weight, like):
    """Row weights summing to 1."""
    w = torch.ones_like(like) if weight is None else weight.to(like).expand_as(like)
    return w / w.sum(-1, keepdim=True).clamp_min(1e-30)


def row_mean(values, weight=None):
    """Weighted mean (..., 1) over rows (..., n)."""
    return (_normal(weight, values) * values).sum(-1, keepdim=True)


def dynamic_weights(
    losses, *, strategy="linupper", temperature=0.4, max_weight=None, sample_weight=None
):
    r"""Weights :math:`w=\mathrm{softmax}(f(h)/r)` of rows by their losses (arXiv 2502.06733).

    h is the loss scaled to [-1, 1] by the least and the largest of the batch; f is
    :math:`\min(h+1,1)`, :math:`1-h^2` or :math:`|h|`. The weights maximise
    :math:`\sum_i w_if_i-r\,\mathrm{KL}(w\|\mathrm{uniform})`.

    Parameters
    ----------
    losses : Tensor of shape (..., n)
        Row losses.
    strategy : {"linupper", "quadratic", "extremes"}, default="linupper"
        Function f: spare easy rows, favour middling ones, or favour both ends.
    temperature : float, default=0.4
        Temperature r, positive; large values give uniform weights.
    max_weight : float, default=None
        Largest ratio of a weight to its uniform value.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights; the result is proportional to them.

    Returns
    -------
    Tensor of shape (..., n)
        Weights summing to 1.
    """
    base = _normal(sample_weight, losses)
    if not losses.shape[-1]:
        return base
    used = base > 0
    high = losses.masked_fill(~used, -torch.inf).amax(-1, keepdim=True)
    low = losses.masked_fill(~used, torch.inf).amin(-1, keepdim=True)
    h = (2.0 * losses - (high + low)) / (high - low).clamp_min(1e-6)
    f = {
        "linupper": lambda: (h + 1.0).clamp_max(1.0),
        "quadratic": lambda: 1.0 - h * h,
        "extremes": h.abs,
    }[strategy]()
    tilt = torch.exp((f - f.masked_fill(~used, -torch.inf).amax(-1, keepdim=True)) / temperature)
    ratio = torch.where(used, tilt, torch.zeros_like(tilt))
    ratio = ratio / (base * ratio).sum(-1, keepdim=True).clamp_min(1e-30)
    if max_weight is not None:
        ratio = ratio.clamp_max(max_weight)
        ratio = ratio / (base * ratio).sum(-1, keepdim=True).clamp_min(1e-30)
    return base * ratio


def worst_case_mean(losses, *, temperature, reference=None, log_mean=None):
    r"""Largest mean loss under weights near a reference: :math:`r\log\frac1n\sum_iq_ie^{\ell_i/r}`.

    It is :math:`\max_w\sum_iw_i\ell_i-r\,\mathrm{KL}(w\|q/n)` over distributions w, up to the sum of q; the
    weights that attain it, :math:`w_i=q_ie^{\ell_i/r}/\sum_jq_je^{\ell_j/r}`, are its gradient.

    Parameters
    ----------
    losses : Tensor of shape (n,)
        Row losses.
    temperature : float
        Temperature r, positive; towards infinity the mean, towards 0 the largest loss.
    reference : Tensor of shape (n,), default=None
        Reference weights q, of mean 1 over all rows; ``None`` is ones.
    log_mean : float or Tensor, default=None
        Logarithm of the mean of :math:`qe^{\ell/r}` over all rows to divide by; ``None`` takes that of these rows.

    Returns
    -------
    value : Tensor
        The largest mean loss of these rows.
    weights : Tensor of shape (n,)
        Weights, which sum to 1 without `log_mean`.
    own_log_mean : Tensor
        Logarithm of the mean of these rows.
    """
    tilt = losses / temperature
    if reference is not None:
        tilt = tilt + reference.log()
    own = torch.logsumexp(tilt, -1) - math.log(max(len(losses), 1))
    weights = torch.exp(tilt - (own if log_mean is None else log_mean)) / max(len(losses), 1)
    return temperature * own, weights, own


def error_focus_weights(errors, *, kind="power", beta=1.0, sample_weight=None):
    r"""Weights of rows by their errors: :math:`(e/\bar e)^\beta` or :math:`e^{\beta e/\bar e}`.

    Parameters
    ----------
    errors : Tensor of shape (..., n)
        Non-negative errors.
    kind : {"power", "exp"}, default="power"
        Form of the weight.
    beta : float, default=1.0
        Strength, at least 0; 0 gives uniform weights.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights; the result is proportional to them.

    Returns
    -------
    Tensor of shape (..., n)
        Weights summing to 1.
    """
    return focus_weights(errors.log(), kind=kind, beta=beta, sample_weight=sample_weight)


def focus_weights(log_errors, *, kind, beta, sample_weight=None):
    """The weights of :func:`error_focus_weights` from the logarithms of the errors."""
    base = _normal(sample_weight, log_errors)
    if not log_errors.shape[-1] or beta == 0:
        return base
    beta = min(beta, torch.finfo(log_errors.dtype).max)
    # relative to the largest error that counts, so that no power overflows
    top = log_errors.masked_fill(base == 0, -torch.inf).amax(-1, keepdim=True)
    gap = log_errors - torch.where(top == -torch.inf, torch.zeros_like(top), top)
    gap = gap.clamp_max(0.0)
    if kind == "exp":
        ratio = gap.exp()
        mean = (base * ratio).sum(-1, keepdim=True)
        factor = torch.exp(beta * ((ratio - 1.0) / torch.where(mean > 0, mean, 1.0)))
    else:
        factor = torch.exp(beta * gap)
    total = (base * factor).sum(-1, keepdim=True)
    return torch.where(total == 0, base, base * factor / total)
