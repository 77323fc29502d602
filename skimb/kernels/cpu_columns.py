"""The plain-C layers: embeddings, small products, first layers, outputs.

Everything here answers ``None`` for input that it does not take.
"""

import ctypes

import torch

from skimb.functional import _piecewise
from skimb.kernels import library
from skimb.kernels.library import alike

_COLUMNS = {torch.float32: 16, torch.float64: 8}  # of a block of products
_IN_CACHE = 48 << 10  # numbers that are kept near, if sixteen rows are fewer
_AT_ONCE = 16  # columns whose tables are near
_GAP = 16  # numbers between what would meet in the same lines of a cache


def _dense(a):
    """Whether the last axis of the sums of a layer is a run of memory, on the CPU."""
    return a.stride(2) == 1 and a.is_cpu


def relu_output(a, w, b):
    """As :func:`skimb.functional._hidden.relu_output`, or None."""
    members, _, h = a.shape
    if not _dense(a) or w.shape != (members, h) or b.shape != (members,) or not alike(a, w, b):
        return None
    z = a.new_empty(a.shape[:2])
    call = library.FUNCTIONS["relu_output", a.dtype]
    call(*a.shape, *a.stride()[:2], a.data_ptr(), w.data_ptr(), b.data_ptr(), z.data_ptr())
    return z


def relu_output_grad(a, d, w, out):
    """As :func:`skimb.functional._hidden.relu_output_grad`, or None."""
    members, n, h = a.shape
    same = out.shape == a.shape and out.stride() == a.stride() and _dense(a)
    same = same and out.dtype == a.dtype and out.is_cpu
    if not same or w.shape != (members, h) or d.shape != (members, n) or not alike(a, w, d):
        return None
    gw, gb = torch.empty_like(w), torch.empty_like(w)
    pointers = [t.data_ptr() for t in (d, a, w, out, gw, gb)]
    library.FUNCTIONS["relu_output_grad", a.dtype](*a.shape, *a.stride()[:2], *pointers)
    return gw, gb


def _in_runs(*tensors):
    """Whether each net's part of tensors is a run of memory, on the CPU."""
    return all(x.is_cpu and (x.is_contiguous() or x[0].is_contiguous()) for x in tensors)


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
    call = library.FUNCTIONS["piecewise_rows", V.dtype]
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
    call = library.FUNCTIONS["piecewise_grads", d.dtype]
    inside = call(
        nets, columns, m, e, n, *(x.stride(0) for x in tensors),
        *(x.data_ptr() for x in (*tensors, starts, spans, table, d)),
    )  # fmt: skip
    return gV if inside else _piecewise.refuse_bins(bins, columns * m)


def blocks(like, *widths):
    """Whether products of this type are there, and their widths whole blocks."""
    size = _COLUMNS[like.dtype]
    return ("product", like.dtype) in library.FUNCTIONS and not any(
        width % size for width in widths
    )


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
    if not fits or not blocks(a, n) or not _same_type(a, b, out, *given):
        return None
    scratch = None if b.stride(2) == 1 else a.new_empty(k * n)
    library.FUNCTIONS["product", a.dtype](
        nets, m, n, k, *a.stride(), *b.stride(), *out.stride()[:2],
        0 if bias is None else bias.stride(0), relu,
        *_where((a, b, out, bias, mask, scratch)),
    )  # fmt: skip
    return out


def _apart(P):
    """What lies between the columns of products; a single one has no stride of its own."""
    return P.stride(1 if P.shape[1] > 1 else 0)


def _receives(P, R):
    """Whether products of columns and their scales lie as kernels write and read them."""
    nets, columns, _, h = P.shape
    fits = P.stride()[2:] == (h, 1) and (nets == 1 or P.stride(0) == columns * _apart(P))
    return fits and R.shape[::2] == (nets, columns) and _in_runs(R) and _same_type(P, R)


def _adds_to(bias, P):
    """Whether there are no intercepts, or they fit the sums of products."""
    shape = (len(P), 1, P.shape[-1])
    return bias is None or (bias.shape == shape and bias.stride(2) == 1 and _same_type(P, bias))


def _near(columns, h):
    """Numbers of products of columns that are used while they are near."""
    return max(_IN_CACHE, 16 * columns * h) + columns * _GAP


def _kinds(P, R, E, W):
    """Sizes and strides of columns of up to two kinds, and the tensors; None if they do not fit."""
    nets, columns, n, h = P.shape
    fits = _receives(P, R) and len(E) < 3 and _in_runs(*W)
    fits = fits and columns == sum(x.shape[1] for x in E) and all(x.is_contiguous() for x in E)
    fits = fits and all(
        x.shape[::2] == (nets, n) and w.shape == (nets, x.shape[1], x.shape[3], h)
        for x, w in zip(E, W, strict=True)
    )
    if not fits or not blocks(P, h) or not _same_type(P, *E, *W):
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
    if not _adds_to(bias, P):
        return None
    out = P.new_empty(nets, members, n, h)
    (E, F), W = _two(E), _two(W)
    library.FUNCTIONS["mixed_columns", P.dtype](
        *sizes, *_steps([*W, R]), _apart(P), *_steps([bias]), relu,
        *_where((E, W[0], F, W[1], R, P, bias, out)),
    )  # fmt: skip
    return out


def mixed_columns_grads(d, P, R, E, W, gR, gW, dE):
    """As :func:`skimb.functional._columns.mixed_columns_grads`, or None."""
    sizes = _kinds(P, R, E, W)
    if sizes is None or d.shape != (*R.shape[:2], *P.shape[2:]) or not alike(P, d):
        return None
    down = [x for x in dE if x is not None]
    grads = [*gW, *([] if gR is None else [gR])]
    fits = (
        _same_type(P, *grads, *down) and _in_runs(*grads) and blocks(P, *(x.shape[3] for x in down))
    )
    fits = fits and all(g.shape == w.shape for g, w in zip(gW, W, strict=True))
    fits = fits and (gR is None or gR.shape == R.shape)
    fits = fits and all(x.is_contiguous() for x in down)
    fits = fits and all(y is None or y.shape == x.shape for x, y in zip(E, dE, strict=True))
    if not fits:
        return None
    h, first, e, other, f = sizes[3:]
    scratch = P.new_empty(_near(first + other, h) + (first * e + other * f) * h)
    (E, F), W, gW, dE = _two(E), _two(W), _two(gW), _two(dE)
    library.FUNCTIONS["mixed_columns_grads", P.dtype](
        *sizes, *_steps([*W, R]), _apart(P), _GAP, *_steps([*gW, gR]),
        *_where((d, E, W[0], F, W[1], R, P, *gW, gR, *dE, scratch)),
    )  # fmt: skip
    return d


def _tables(P, R, bins, codes):
    """Sizes and strides of columns that are looked up, or None if they do not fit."""
    nets, columns, n, h = P.shape
    given = [kind for kind in (bins, codes) if kind is not None]
    if not (n and given and _receives(P, R)):
        return None
    d = f = m = height = 0
    fits, e = True, given[0].weights.shape[2]
    if bins is not None:
        d, m = bins.steps.shape[1:3]
        own = bins[:4]
        fits = bins.steps.shape == (nets, d, m, e) and bins.weights.shape == (nets, d, e, h)
        fits = fits and bins.slope.shape == bins.level.shape == (nets, d, e)
        fits = fits and _places(bins.bins, bins.fractions, bins[4:6], bins.steps.shape, P.dtype)
        fits = fits and bins.bins.shape[1] == n and _in_runs(*own) and _same_type(P, *own)
    if codes is not None:
        f, height = codes.weights.shape[1], codes.table.shape[1]
        own = codes[:2]
        fits = fits and codes.table.shape == (nets, height, e) and codes.codes.shape == (nets, n, f)
        fits = fits and codes.weights.shape == (nets, f, e, h) and codes.codes.dtype == torch.int32
        fits = fits and _in_runs(codes.codes, *own) and _same_type(P, *own)
    if not fits or columns != d + f or not blocks(P, e, h):
        return None
    tall = max(m + 2 if d else 0, min(n, height))
    return [nets, R.shape[1], n, h, e, d, m, f, height, tall]


def _parts(bins, codes):
    """Tensors of both kinds; those of a kind that is not there are missing."""
    *own, places, parts = [None] * 8 if bins is None else bins
    return own, places, parts, *([None] * 3 if codes is None else codes)


def _refuse(bins, codes):
    """Raise for places outside of the tables."""
    if codes is not None:
        at, height = codes.codes, codes.table.shape[1]
        if bins is None or bool(((at < 0) | (at >= height)).any()):
            _piecewise.refuse_bins(at, height)
    _piecewise.refuse_bins(bins.bins, bins.steps[0, ..., 0].numel())


def table_columns(P, R, bins, codes, bias=None, relu=False):
    """As :func:`skimb.functional._tables.table_columns`, or None."""
    sizes = _tables(P, R, bins, codes)
    if sizes is None:
        return None
    nets, members, n, h, e, *_, height, tall = sizes
    if not _adds_to(bias, P):
        return None
    own, places, parts, table, other, at = _parts(bins, codes)
    tensors = [*own, parts, table, other, R, bias, places, at]
    to = _steps([*own, parts, places, table, other, at, R, bias])
    out = P.new_empty(nets, members, n, h)
    scratch, numbers = P.new_empty(tall * (e + 3 * h)), _numbers(2 * n + height)
    inside = library.FUNCTIONS["table_columns", P.dtype](
        *sizes, _longs(to), _apart(P), relu, *_where((*tensors, P, out, scratch, numbers))
    )
    return out if inside else _refuse(bins, codes)


def table_columns_grads(d, P, R, bins, codes, gR, gbins, gcodes):
    """As :func:`skimb.functional._tables.table_columns_grads`, or None."""
    sizes = _tables(P, R, bins, codes)
    if sizes is None or d.shape != (*R.shape[:2], *P.shape[2:]) or not alike(P, d):
        return None
    like = [*([] if bins is None else bins[:4]), *([] if codes is None else codes[:2])]
    grads = [*(gbins or ()), *(gcodes or ())]
    fits = len(like) == len(grads) and all(
        a.shape == b.shape for a, b in zip(like, grads, strict=True)
    )
    grads += [] if gR is None else [gR]
    if not fits or not _same_type(P, *grads) or not _in_runs(*grads):
        return None
    if gR is not None and gR.shape != R.shape:
        return None
    own, places, parts, table, other, at = _parts(bins, codes)
    grads = [*(gbins or [None] * 4), *(gcodes or [None] * 2), gR]
    to = _steps([*own, parts, places, table, other, at, R, *grads])
    (_, columns, n, h), e, (height, tall) = P.shape, sizes[4], sizes[-2:]
    once = min(columns, _AT_ONCE)
    scratch = P.new_empty(_near(once, h) + tall * (2 * h * once + h + 2 * e) + e * h)
    numbers = _numbers(2 * n * once + height)
    inside = library.FUNCTIONS["table_columns_grads", P.dtype](
        *sizes, _longs(to), _apart(P), _GAP,
        *_where((d, *own, parts, table, other, R, places, at, P, *grads, scratch, numbers)),
    )  # fmt: skip
    return d if inside else _refuse(bins, codes)


def _numbers(size):
    return torch.empty(size, dtype=torch.int32)


def _longs(values):
    return (ctypes.c_int64 * len(values))(*values)
