"""The plain-C losses: loading, argument passing, and what they take.

The extension is optional. Everything here answers ``None`` for input that it does not take; the
caller then computes with torch.
"""

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

from skimb.functional import _csr, _lazy_adam, _piecewise, _targets, confusion
from skimb.functional import _shapes as shapes

#: below this many logits the call overhead eats the gain
MIN_SIZE = 512
_TYPES = {torch.float32: "f32", torch.float64: "f64"}
_I, _P, _D, _N = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double, ctypes.c_int
_VERSION = 4  # of the signatures; `interface_version` of the library
# functions that index check first, and answer 0 if an index is out of range
_CHECKED = (
    "csr_product",
    "csr_product_grad",
    "lazy_adam",
    "piecewise_grads",
    "piecewise_rows",
    "softmax_rows",
)
# functions that wait for a build with the vectors of this machine
_PRODUCTS = ("product", "mixed_columns", "mixed_columns_grads")
_COLUMNS = {torch.float32: 16, torch.float64: 8}  # of a block of theirs
_IN_CACHE = 48 << 10  # numbers that are kept near, if twelve rows are fewer
_GAP = 16  # numbers between what would meet in the same lines of a cache
_SIGNATURES = {
    "margin_rows": (_I, _P, _P, _P, _P, _N, *[_D] * 6),
    "margin_members": (_I, _I, _P, _P, _P, _P, _N, _P, *[_D] * 5),
    "csr_product": (*[_I] * 4, *[_P] * 5),
    "csr_product_grad": (*[_I] * 4, *[_P] * 5),
    "lazy_adam": (_I, _I, _I, *[_P] * 11, *[_D] * 6),
    "relu_output": (*[_I] * 5, *[_P] * 4),
    "relu_output_grad": (*[_I] * 5, *[_P] * 6),
    "piecewise_rows": (*[_I] * 10, *[_P] * 9),
    "piecewise_grads": (*[_I] * 10, *[_P] * 9),
    "product": (*[_I] * 13, _N, *[_P] * 6),
    "mixed_columns": (*[_I] * 13, _N, *[_P] * 8),
    "mixed_columns_grads": (*[_I] * 16, *[_P] * 13),
    "softmax_rows": (_I, _I, _P, _P, _P, _P, _D, _N, _D, _D, _P, _P),
    "asymmetric": (_I, _P, _P, _P, _P, _D, _D, _D, _D),
    "confusion_counts": (_I, _P, _P, _P, _D, _D, _P, _P),
    "confusion_grad": (_I, _P, _P, _D, _D, _D, _P),
}


def _load():
    """The functions by name and dtype, or the reason why there are none."""
    here = Path(__file__).parent
    found = [here / f"_cpu{suffix}" for suffix in EXTENSION_SUFFIXES]
    found = [path for path in found if path.exists()]
    if not found:
        return {}, "the C extension was not built (no compiler when skimb was installed?)"
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        return {}, f"the C extension does not load: {error}"
    if not hasattr(library, "interface_version") or library.interface_version() != _VERSION:
        return {}, "the C extension was built for another version of skimb; install skimb again"
    table = {}
    fast = bool(library.products_are_fast())
    for name, types in _SIGNATURES.items():
        if name in _PRODUCTS and not fast:
            continue
        for dtype, suffix in _TYPES.items():
            function = getattr(library, f"{name}_{suffix}")
            function.argtypes = types
            function.restype = _N if name in _CHECKED else None
            table[name, dtype] = function
    return table, None


_FUNCTIONS, missing = _load()
available = bool(_FUNCTIONS)


def _alike(like, *others):
    """Whether tensors can be read as `like` is: same type, on the CPU, no gaps."""
    return all(x.dtype is like.dtype and x.is_cpu and x.is_contiguous() for x in others)


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
    return (kind, column) if _alike(z, column) else (None, None)


def _dense(a):
    """Whether the last axis of the sums of a layer is a run of memory, on the CPU."""
    return a.stride(2) == 1 and a.is_cpu


def relu_output(a, w, b):
    """As :func:`skimb.functional._hidden.relu_output`, or None."""
    members, _, h = a.shape
    if not _dense(a) or w.shape != (members, h) or b.shape != (members,) or not _alike(a, w, b):
        return None
    z = a.new_empty(a.shape[:2])
    call = _FUNCTIONS["relu_output", a.dtype]
    call(*a.shape, *a.stride()[:2], a.data_ptr(), w.data_ptr(), b.data_ptr(), z.data_ptr())
    return z


def relu_output_grad(a, d, w, out):
    """As :func:`skimb.functional._hidden.relu_output_grad`, or None."""
    members, n, h = a.shape
    same = out.shape == a.shape and out.stride() == a.stride() and _dense(a)
    same = same and out.dtype == a.dtype and out.is_cpu
    if not same or w.shape != (members, h) or d.shape != (members, n) or not _alike(a, w, d):
        return None
    gw, gb = torch.empty_like(w), torch.empty_like(w)
    pointers = [t.data_ptr() for t in (d, a, w, out, gw, gb)]
    _FUNCTIONS["relu_output_grad", a.dtype](*a.shape, *a.stride()[:2], *pointers)
    return gw, gb


def _in_runs(*tensors):
    """Whether each net's part of tensors is a run of memory, on the CPU."""
    return all(x.is_cpu and x[0].is_contiguous() for x in tensors)


def _places(bins, fractions, edges, shape, dtype):
    """Whether bins, fractions and edges are those of columns of this shape (nets, columns, m, e)."""
    nets, d, m, _ = shape
    alike = [x.dtype == dtype and x.shape == (nets, d, m) and x.is_contiguous() for x in edges]
    same = bins.dtype == torch.int32 and fractions.dtype == dtype and bins.shape == fractions.shape
    return same and all(alike) and bins.shape[::2] == (nets, d) and _in_runs(bins, fractions)


def piecewise_rows(V, w, b, starts, spans, bins, fractions):
    """As :func:`skimb.functional._piecewise.piecewise_rows`, or None."""
    nets, d, m, e = V.shape
    fits = w.shape == b.shape == (nets, d, e) and w.dtype == b.dtype == V.dtype
    if not fits or not _places(bins, fractions, (starts, spans), V.shape, V.dtype):
        return None
    if not _in_runs(V, w, b):
        return None
    n = bins.shape[1]
    table, out = V.new_empty(m, 2 * e), V.new_empty(nets, d, n, e)
    tensors = (V, w, b, bins, fractions)
    call = _FUNCTIONS["piecewise_rows", V.dtype]
    inside = call(
        nets, d, m, e, n, *(x.stride(0) for x in tensors),
        *(x.data_ptr() for x in (*tensors, starts, spans, table, out)),
    )  # fmt: skip
    return out if inside else _piecewise.refuse_bins(bins, d * m)


def piecewise_grads(d, starts, spans, bins, fractions, gV, gw, gb):
    """As :func:`skimb.functional._piecewise.piecewise_grads`, or None."""
    nets, columns, m, e = gV.shape
    n = bins.shape[1]
    fits = d.shape == (nets, columns, n, e) and gw.shape == gb.shape == (nets, columns, e)
    fits = fits and d.dtype == gV.dtype == gw.dtype == gb.dtype and d.is_contiguous()
    if not fits or not _places(bins, fractions, (starts, spans), gV.shape, d.dtype):
        return None
    if not _in_runs(gV, gw, gb):
        return None
    table, tensors = d.new_empty(m, 2 * e), (gV, gw, gb, bins, fractions)
    call = _FUNCTIONS["piecewise_grads", d.dtype]
    inside = call(
        nets, columns, m, e, n, *(x.stride(0) for x in tensors),
        *(x.data_ptr() for x in (*tensors, starts, spans, table, d)),
    )  # fmt: skip
    return gV if inside else _piecewise.refuse_bins(bins, columns * m)


def _blocks(like, *widths):
    """Whether products of this type are there, and their widths whole blocks."""
    size = _COLUMNS[like.dtype]
    return ("product", like.dtype) in _FUNCTIONS and not any(width % size for width in widths)


def _same_type(like, *others):
    return all(x.dtype is like.dtype and x.is_cpu for x in others)


def product(a, b, out, bias=None, relu=False, mask=None):
    """As :func:`skimb.functional._columns.product`, or None."""
    nets, m, k = a.shape
    n = b.shape[-1]
    given = [x for x in (bias, mask) if x is not None]
    fits = out.shape == (nets, m, n) and b.shape == (nets, k, n) and out.stride(2) == 1
    fits = fits and (bias is None or (bias.shape == (nets, n) and bias.stride(1) == 1))
    fits = fits and (mask is None or (mask.shape, mask.stride()) == (out.shape, out.stride()))
    if not fits or not _blocks(a, n) or not _same_type(a, b, out, *given):
        return None
    scratch = None if b.stride(2) == 1 else a.new_empty(k * n)
    _FUNCTIONS["product", a.dtype](
        nets, m, n, k, *a.stride(), *b.stride(), *out.stride()[:2],
        0 if bias is None else bias.stride(0), relu,
        *_where((a, b, out, bias, mask, scratch)),
    )  # fmt: skip
    return out


def _apart(P):
    """What lies between the columns of products; a single one has no stride of its own."""
    return P.stride(1 if P.shape[1] > 1 else 0)


def _kinds(P, R, E, W):
    """Sizes and strides of columns of up to two kinds, and the tensors; None if they do not fit."""
    nets, columns, n, h = P.shape
    fits = P.stride()[2:] == (h, 1) and (nets == 1 or P.stride(0) == columns * _apart(P))
    fits = fits and len(E) < 3 and R.shape[::2] == (nets, columns) and _in_runs(R, *W)
    fits = fits and columns == sum(x.shape[1] for x in E) and all(x.is_contiguous() for x in E)
    fits = fits and all(
        x.shape[::2] == (nets, n) and w.shape == (nets, x.shape[1], x.shape[3], h)
        for x, w in zip(E, W, strict=True)
    )
    if not fits or not _blocks(P, h) or not _same_type(P, R, *E, *W):
        return None
    sizes = [size for x in E for size in x.shape[1::2]]
    return [nets, R.shape[1], n, h, *sizes, *[0] * (4 - len(sizes))]


def _two(tensors):
    """Two tensors from a list of one or two, some of which may be missing."""
    return [*tensors, None][:2]


def _steps(tensors):
    """What lies between nets."""
    return [0 if x is None else x.stride(0) for x in tensors]


def _where(tensors):
    return [0 if x is None else x.data_ptr() for x in tensors]


def mixed_columns(P, R, E, W, bias=None, relu=False):
    """As :func:`skimb.functional._columns.mixed_columns`, or None."""
    sizes = _kinds(P, R, E, W)
    if sizes is None:
        return None
    nets, members, n, h = sizes[:4]
    if bias is not None and (
        bias.shape != (nets, 1, h) or bias.stride(2) != 1 or not _same_type(P, bias)
    ):
        return None
    out = P.new_empty(nets, members, n, h)
    (E, F), W = _two(E), _two(W)
    _FUNCTIONS["mixed_columns", P.dtype](
        *sizes, *_steps([*W, R]), _apart(P), *_steps([bias]), relu,
        *_where((E, W[0], F, W[1], R, P, bias, out)),
    )  # fmt: skip
    return out


def mixed_columns_grads(d, P, R, E, W, gR, gW, dE):
    """As :func:`skimb.functional._columns.mixed_columns_grads`, or None."""
    sizes = _kinds(P, R, E, W)
    if sizes is None or d.shape != (*R.shape[:2], *P.shape[2:]) or not _alike(P, d):
        return None
    down = [x for x in dE if x is not None]
    grads = [*gW, *([] if gR is None else [gR])]
    fits = (
        _same_type(P, *grads, *down)
        and _in_runs(*grads)
        and _blocks(P, *(x.shape[3] for x in down))
    )
    fits = fits and all(g.shape == w.shape for g, w in zip(gW, W, strict=True))
    fits = fits and (gR is None or gR.shape == R.shape)
    fits = fits and all(x.is_contiguous() for x in down)
    fits = fits and all(y is None or y.shape == x.shape for x, y in zip(E, dE, strict=True))
    if not fits:
        return None
    h, first, e, other, f = sizes[3:]
    near = max(_IN_CACHE, 12 * (first + other) * h) + (first + other) * _GAP
    scratch = P.new_empty(near + (first * e + other * f) * h)
    (E, F), W, gW, dE = _two(E), _two(W), _two(gW), _two(dE)
    _FUNCTIONS["mixed_columns_grads", P.dtype](
        *sizes, *_steps([*W, R]), _apart(P), _GAP, *_steps([*gW, gR]),
        *_where((d, E, W[0], F, W[1], R, P, *gW, gR, *dE, scratch)),
    )  # fmt: skip
    return d


def lazy_adam(grad, table, m, v, used, kept, move, lr, *, l2, decay, betas, eps, t):
    """As :func:`skimb.functional._lazy_adam.lazy_adam`, or None."""
    (rows, width), height = grad.shape, len(table)
    by_row, by_column = (*kept, move), (lr, l2, decay)
    fits = (
        all(x.shape == (height, width) for x in (table, m, v))
        and all(x.shape == (rows, 1) for x in by_row)
        and all(x.shape == (width,) for x in by_column)
        and _alike(grad, grad, table, m, v, *by_row, *by_column)
    )
    if not fits or used.shape != (rows,) or used.dtype != "int64" or not used.flags.c_contiguous:
        return None
    pointers = [x.data_ptr() for x in (grad, table, m, v, *by_row, *by_column)]
    corrections = [1.0 - beta**t for beta in betas]
    floor = eps**2 + _lazy_adam.FLOOR
    inside = _FUNCTIONS["lazy_adam", grad.dtype](
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
    inside = _FUNCTIONS["csr_product", table.dtype](
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
    inside = _FUNCTIONS["csr_product_grad", d.dtype](
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
    if None in scalars or not _alike(z, sign) or not _takes(z):
        return None
    loss, grad = torch.empty_like(z), torch.empty_like(z)
    where = (z.data_ptr(), sign.data_ptr(), loss.data_ptr(), grad.data_ptr())
    if params is None:
        _FUNCTIONS["margin_rows", z.dtype](z.numel(), *where, *kind, *scalars, float(factor))
    else:
        call = _FUNCTIONS["margin_members", z.dtype]
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
    if any(v.shape != (width,) for v in vectors) or not _alike(logits, *vectors):
        return None
    scale = _scalar(scale, 1.0)
    if scale is None or target.shape != logits.shape[:-1] or not width or not _takes(logits):
        return None
    if target.dtype is not torch.int64 or not target.is_cpu or not target.is_contiguous():
        target = _targets.integers(target, logits).contiguous()
    loss, grad = logits.new_empty(target.shape), torch.empty_like(logits)
    inside = _FUNCTIONS["softmax_rows", logits.dtype](
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
    if sign.shape != z.shape or not _alike(z, sign) or not _takes(z):
        return None
    loss, grad = torch.empty_like(z), torch.empty_like(z)
    _FUNCTIONS["asymmetric", z.dtype](
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
    if any(a.shape != z.shape for a in arrays) or not _alike(z, *arrays) or not _takes(z):
        return None
    w = 0 if weight is None else weight.data_ptr()
    sharpness = transform.amplification
    shift = sharpness * (0.5 - transform.threshold)
    counts, grad = torch.empty(4, dtype=torch.float64), torch.empty_like(z)
    _FUNCTIONS["confusion_counts", z.dtype](
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
    _FUNCTIONS["confusion_grad", z.dtype](
        z.numel(), sign.data_ptr(), w, sharpness, float(d_t), float(d_f), grad.data_ptr()
    )
    return loss.to(z.dtype), grad
