"""What the Triton kernels take on CUDA tensors; ``None`` sends the caller to the reference."""

import torch

from skimb._core.optional import lacking
from skimb.functional import _shapes as shapes
from skimb.functional import confusion

missing = lacking("triton", extra="triton")
_TYPES = (torch.float32, torch.float16, torch.bfloat16)


def _shape_kind(shape, like, lead, axes):
    """Number and parameters (members or 1,) of a shape, or None.

    Members are the axes `lead` of losses that have `axes` axes.
    """
    kinds = ((shapes.Identity, 0), (shapes.Focal, 1), (shapes.Poly, 2), (shapes.CompSum, 3))
    for shape_type, kind in kinds:
        if type(shape) is shape_type:
            value, where = (
                shape[0] if shape else 0.0,
                {"dtype": torch.float32, "device": like.device},
            )
            # filled there: a copy of a number from the host would wait for all work on the device
            value = (
                value.to(**where) if torch.is_tensor(value) else like.new_full((), value, **where)
            )
            if value.numel() != 1 and not _by_member(value, lead, axes):
                return None
            return kind, value.reshape(-1).contiguous()
    return None


def _by_member(value, lead, axes):
    """Whether a parameter has one entry per member, and one for all of its rows."""
    return value.shape == (*lead, *(1,) * (axes - len(lead)))


def _fits(other, z):
    """Whether a tensor has an entry for each of z, where the kernel can read it."""
    return other.shape == z.shape and other.device == z.device


def _number(value, default):
    if value is None:
        return default
    return None if torch.is_tensor(value) and value.ndim else float(value)


def _vector(value, z):
    """A parameter (C,), or (members, 1, C), as the kernels read it."""
    if value is None:
        return None
    flat = value.reshape(-1, value.shape[-1]) if value.ndim > 1 else value
    return flat.to(device=z.device, dtype=torch.float32).contiguous()


def rows(
    logits,
    target,
    *,
    shape,
    mult=None,
    bias=None,
    margin=None,
    scale=None,
    smoothing=0.0,
    factor=1.0,
):
    """As :func:`skimb.functional.softmax.rows`, or None."""
    from skimb.kernels.triton import ops

    lead, width = logits.shape[:-2], logits.shape[-1]
    kind = _shape_kind(shape, logits, lead, target.ndim)
    if kind is None or torch.is_tensor(smoothing) or smoothing or logits.dtype not in _TYPES:
        return None
    vectors = [v for v in (mult, bias, margin) if v is not None]
    if any(v.shape != (width,) and v.shape != (*lead, 1, width) for v in vectors):
        return None
    scale = _number(scale, 1.0)
    if scale is None or target.shape != logits.shape[:-1] or not width:
        return None
    return ops.softmax_rows(
        logits.contiguous(),
        target.contiguous(),
        kind[1],
        *(_vector(v, logits) for v in (mult, bias, margin)),
        scale,
        float(factor),
        kind[0],
    )


def margin_rows(z, sign, *, shape, mult=None, offset=None, margins=None, smoothing=0.0, factor=1.0):
    """As :func:`skimb.functional.softmax.margin_rows`, or None."""
    from skimb.kernels.triton import ops

    kind = _shape_kind(shape, z, z.shape[:1] if z.ndim > 1 else z.shape[:0], z.ndim)
    low, high = (None, None) if margins is None else margins
    numbers = [_number(mult, 1.0), _number(offset, 0.0), _number(low, 0.0), _number(high, 0.0)]
    if kind is None or torch.is_tensor(smoothing) or smoothing or None in numbers:
        return None
    if z.dtype not in _TYPES or not _fits(sign, z):
        return None
    return ops.margin_rows(
        z.contiguous(), sign.contiguous(), kind[1], *numbers, float(factor), kind[0]
    )


def asymmetric_rows(z, sign, *, gamma_neg, gamma_pos, clip):
    """As :func:`skimb.functional.sigmoid.asymmetric_rows`, or None."""
    from skimb.kernels.triton import ops

    if not (isinstance(gamma_neg, float) and isinstance(gamma_pos, float)):
        return None
    if z.dtype not in _TYPES or not _fits(sign, z) or not z.numel():
        return None
    flat = z.contiguous().view(-1, z.shape[-1])
    loss, grad = ops.asymmetric(
        flat,
        sign.contiguous().view(flat.shape),
        None,
        gamma_neg,
        gamma_pos,
        float(clip),
        1.0,
        True,
    )
    return loss.view(z.shape), grad.view(z.shape)


def binary_loss(z, sign, weight, *, transform, metric, options, undefined="skip", what=""):
    """As :func:`skimb.functional.confusion.binary_loss`, or None."""
    from skimb.kernels.triton import ops

    if (
        not isinstance(transform, confusion.Logistic)
        or z.dtype not in _TYPES
        or not _fits(sign, z)
        or not z.numel()
        or (weight is not None and weight.device != z.device)
    ):
        return None
    flat = z.contiguous().view(-1, z.shape[-1])
    signs = sign.contiguous().view(flat.shape)
    w = None if weight is None else weight.expand_as(z).contiguous().view(flat.shape)
    sharpness = float(transform.amplification)
    shift = sharpness * (0.5 - transform.threshold)
    counts = ops.confusion_counts(flat, signs, w, sharpness, shift)
    loss, d_t, d_f, _ = confusion.slopes(
        *counts.unbind(-1), metric=metric, options=options, undefined=undefined, what=what
    )
    slopes = torch.stack([d_t, d_f], -1)
    grad = ops.confusion_grad(flat, signs, w, slopes, sharpness, shift)
    return loss.view(z.shape[:-1]).to(z.dtype), grad.view(z.shape)


def logistic_pairs(sp, sn, wp, wn, tau):
    """As the exact logistic part of :func:`skimb.functional.pairs.pair_loss`, or None."""
    from skimb.kernels.triton import ops

    if sp.ndim != 1 or sn.ndim != 1 or sp.dtype not in _TYPES:
        return None
    if not _fits(wp, sp) or not _fits(wn, sn) or sn.device != sp.device:
        return None
    return ops.pair_logistic(*(t.contiguous() for t in (sp, sn, wp, wn)), float(tau))
