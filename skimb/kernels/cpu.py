"""The plain-C losses and sparse products: argument passing, and what they take.

The extension is optional. Everything here answers ``None`` for input that it does not take; the
caller then computes with torch.
"""

import torch

from skimb.functional import _csr, _lazy_adam, _targets, confusion
from skimb.functional import _shapes as shapes
from skimb.kernels import library
from skimb.kernels.cpu_columns import (
    blocks,
    mixed_columns,
    mixed_columns_grads,
    piecewise_grads,
    piecewise_rows,
    product,
    relu_output,
    relu_output_grad,
    table_columns,
    table_columns_grads,
)
from skimb.kernels.library import alike, available, missing

#: below this many logits the call overhead eats the gain
MIN_SIZE = 512


def _takes(z):
    # a sum that is not finite may come from a NaN, which fast-math code would swallow
    return z.is_contiguous() and z.is_cpu and bool(torch.isfinite(z.sum()))


def _shape_kind(shape):
    """Number and parameter of a shape, or None."""
    if isinstance(shape, shapes.Identity):
        return 0, 0.0
    if isinstance(shape, shapes.Focal) and isinstance(shape.gamma, float):
        return (1, shape.gamma) if shape.gamma else (0, 0.0)
    # below 0 its parts cancel, which torch computes another way
    if isinstance(shape, shapes.Poly) and isinstance(shape.epsilon, float) and shape.epsilon >= 0:
        return 2, shape.epsilon
    return None


def _members_kind(shape, z):
    """Number of a shape whose parameter is one column over members, and the column, or None."""
    kinds = {shapes.Focal: 1, shapes.Poly: 2}
    kind = kinds.get(type(shape))
    column = shape[0] if kind else None
    if not torch.is_tensor(column) or z.ndim != 2 or column.shape != (len(z), 1):
        return None, None
    if kind == 2 and bool((column < 0).any()):
        return None, None
    return (kind, column) if alike(z, column) else (None, None)


def lazy_adam(grad, table, m, v, used, kept, move, lr, *, l2, decay, betas, eps, t):
    """As :func:`skimb.functional._lazy_adam.lazy_adam`, or None."""
    (rows, width), height = grad.shape, len(table)
    by_row, by_column = (*kept, move), (lr, l2, decay)
    fits = (
        all(x.shape == (height, width) for x in (table, m, v))
        and all(x.shape == (rows, 1) for x in by_row)
        and all(x.shape == (width,) for x in by_column)
        and alike(grad, grad, table, m, v, *by_row, *by_column)
    )
    if not fits or used.shape != (rows,) or used.dtype != "int64" or not used.flags.c_contiguous:
        return None
    pointers = [x.data_ptr() for x in (grad, table, m, v, *by_row, *by_column)]
    corrections = [1.0 - beta**t for beta in betas]
    floor = eps**2 + _lazy_adam.FLOOR
    inside = library.FUNCTIONS["lazy_adam", grad.dtype](
        rows, width, height, used.ctypes.data, *pointers, *betas, eps, floor, *corrections
    )
    if not inside:
        _lazy_adam.refuse_rows(used, height)
    return table


def _of_rows(like, indptr, indices, data):
    """Whether CSR rows are runs of 32-bit numbers and of values in the type of a tensor."""
    whole = all(x.dtype == "int32" and x.flags.c_contiguous for x in (indptr, indices))
    same = data.dtype == ("float32" if like.dtype == torch.float32 else "float64")
    return whole and same and data.flags.c_contiguous and like.is_contiguous()


def csr_product(table, indptr, indices, data):
    """As :func:`skimb.functional._csr.csr_product`, or None."""
    if not _of_rows(table, indptr, indices, data):
        return None
    (d, width), n = table.shape, len(indptr) - 1
    out = table.new_empty(n, width)
    pointers = [x.ctypes.data for x in (indptr, indices, data)]
    inside = library.FUNCTIONS["csr_product", table.dtype](
        n, width, d, len(indices), *pointers, table.data_ptr(), out.data_ptr()
    )
    return out if inside else _csr.refuse_columns(indptr, indices, d)


def csr_product_grad(d, indptr, indices, data, height):
    """As :func:`skimb.functional._csr.csr_product_grad`, or None."""
    if not _of_rows(d, indptr, indices, data) or len(d) != len(indptr) - 1:
        return None
    n, width = d.shape
    out = d.new_empty(height, width)
    pointers = [x.ctypes.data for x in (indptr, indices, data)]
    inside = library.FUNCTIONS["csr_product_grad", d.dtype](
        n, width, height, len(indices), *pointers, d.data_ptr(), out.data_ptr()
    )
    return out if inside else _csr.refuse_columns(indptr, indices, height)


def _scalar(value, default):
    if value is None:
        return default
    if torch.is_tensor(value):
        return float(value) if value.ndim == 0 else None
    return float(value)


def margin_rows(z, sign, *, shape, mult=None, offset=None, margins=None, smoothing=0.0, factor=1.0):
    """As :func:`skimb.functional.softmax.margin_rows`, or None."""
    kind, params = _shape_kind(shape), None
    if kind is None:
        kind, params = _members_kind(shape, z)
    if kind is None or torch.is_tensor(smoothing) or smoothing or sign.shape != z.shape:
        return None
    low, high = (None, None) if margins is None else margins
    scalars = [_scalar(mult, 1.0), _scalar(offset, 0.0), _scalar(low, 0.0), _scalar(high, 0.0)]
    if None in scalars or not alike(z, sign) or not _takes(z):
        return None
    loss, grad = torch.empty_like(z), torch.empty_like(z)
    where = (z.data_ptr(), sign.data_ptr(), loss.data_ptr(), grad.data_ptr())
    if params is None:
        library.FUNCTIONS["margin_rows", z.dtype](z.numel(), *where, *kind, *scalars, float(factor))
    else:
        call = library.FUNCTIONS["margin_members", z.dtype]
        call(*z.shape, *where, kind, params.data_ptr(), *scalars, float(factor))
    return loss, grad


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
    kind = _shape_kind(shape)
    width = logits.shape[-1]
    if kind is None or mult is not None or torch.is_tensor(smoothing) or smoothing:
        return None
    vectors = [v for v in (bias, margin) if v is not None]
    if any(v.shape != (width,) for v in vectors) or not alike(logits, *vectors):
        return None
    scale = _scalar(scale, 1.0)
    if scale is None or target.shape != logits.shape[:-1] or not width or not _takes(logits):
        return None
    if target.dtype is not torch.int64 or not target.is_cpu or not target.is_contiguous():
        target = _targets.integers(target, logits).contiguous()
    loss, grad = logits.new_empty(target.shape), torch.empty_like(logits)
    inside = library.FUNCTIONS["softmax_rows", logits.dtype](
        target.numel(),
        width,
        logits.data_ptr(),
        target.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        0 if margin is None else margin.data_ptr(),
        scale,
        *kind,
        float(factor),
        loss.data_ptr(),
        grad.data_ptr(),
    )
    if not inside:
        _targets.refuse_classes(target, width)
    return loss, grad


def asymmetric_rows(z, sign, *, gamma_neg, gamma_pos, clip):
    """As :func:`skimb.functional.sigmoid.asymmetric_rows`, or None."""
    if not (isinstance(gamma_neg, float) and isinstance(gamma_pos, float)):
        return None
    if sign.shape != z.shape or not alike(z, sign) or not _takes(z):
        return None
    loss, grad = torch.empty_like(z), torch.empty_like(z)
    library.FUNCTIONS["asymmetric", z.dtype](
        z.numel(),
        z.data_ptr(),
        sign.data_ptr(),
        loss.data_ptr(),
        grad.data_ptr(),
        gamma_neg,
        gamma_pos,
        clip,
        1.0,
    )
    return loss, grad


def binary_loss(z, sign, weight, *, transform, metric, options, undefined="skip", what=""):
    """As :func:`skimb.functional.confusion.binary_loss`, or None."""
    arrays = [sign] if weight is None else [sign, weight]
    if not isinstance(transform, confusion.Logistic) or z.ndim != 1:
        return None
    if any(a.shape != z.shape for a in arrays) or not alike(z, *arrays) or not _takes(z):
        return None
    w = 0 if weight is None else weight.data_ptr()
    sharpness = transform.amplification
    shift = sharpness * (0.5 - transform.threshold)
    counts, grad = torch.empty(4, dtype=torch.float64), torch.empty_like(z)
    library.FUNCTIONS["confusion_counts", z.dtype](
        z.numel(),
        z.data_ptr(),
        sign.data_ptr(),
        w,
        sharpness,
        shift,
        counts.data_ptr(),
        grad.data_ptr(),
    )
    loss, d_t, d_f, _ = confusion.slopes(
        *counts, metric=metric, options=options, undefined=undefined, what=what
    )
    library.FUNCTIONS["confusion_grad", z.dtype](
        z.numel(), sign.data_ptr(), w, sharpness, float(d_t), float(d_f), grad.data_ptr()
    )
    return loss.to(z.dtype), grad


__all__ = [
    "MIN_SIZE",
    "asymmetric_rows",
    "available",
    "binary_loss",
    "blocks",
    "csr_product",
    "csr_product_grad",
    "lazy_adam",
    "margin_rows",
    "missing",
    "mixed_columns",
    "mixed_columns_grads",
    "piecewise_grads",
    "piecewise_rows",
    "product",
    "relu_output",
    "relu_output_grad",
    "rows",
    "table_columns",
    "table_columns_grads",
]
