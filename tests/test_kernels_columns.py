"""The C code of small products and of first layers, against their torch references."""

import numpy as np
import pytest
import torch
from kernel_checks import compare, draw, dtypes, needs_c

from skimb import kernels
from skimb.functional import _columns, _piecewise, _tables
from skimb.kernels import cpu, library


def with_gaps(*size, seed, dtype, gap=3):
    """Drawn numbers of several nets that are not side by side."""
    own = draw(size[0], int(np.prod(size[1:])) + gap, seed=seed, scale=0.5).to(dtype)
    return own[:, : own.shape[1] - gap].view(size)


needs_products = pytest.mark.skipif(
    ("product", torch.float32) not in library.FUNCTIONS, reason="the processor has no wide vectors"
)


@pytest.fixture(params=[32, 64])
def vectors(request, monkeypatch):
    """Products with vectors of so many bytes."""
    functions = library.load(request.param)[0]
    if request.param == 64 and not functions["product", torch.float32].__name__.endswith("_wide"):
        pytest.skip("the processor has no vectors of 64 bytes")
    monkeypatch.setattr(library, "FUNCTIONS", functions)


@needs_products
@dtypes
@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("form", ["plain", "sums over rows", "turned", "rows apart"])
@pytest.mark.parametrize(
    "sizes", [(1, 1, 16, 1), (2, 7, 32, 5), (3, 45, 16, 150), (1, 200, 64, 64), (2, 19, 48, 70)]
)
def test_product(dtype, form, sizes):
    nets, m, n, k = sizes
    a = with_gaps(nets, m, k, seed=1, dtype=dtype)
    b = with_gaps(nets, k, n, seed=2, dtype=dtype)
    if form == "sums over rows":
        a = with_gaps(nets, k, m, seed=1, dtype=dtype).transpose(1, 2)
    elif form == "turned":
        b = with_gaps(nets, n, k, seed=2, dtype=dtype).transpose(1, 2)
    elif form == "rows apart":
        a, b = (
            draw(nets, m, k + 2, seed=1).to(dtype)[..., :k],
            draw(nets, k, n + 3).to(dtype)[..., :n],
        )
    bias, mask = with_gaps(nets, n, seed=3, dtype=dtype), draw(nets, m, n, seed=4).to(dtype)
    mask[:, ::3] = 0.0
    exact = [x.double() for x in (a, b)]
    for kw in ({}, {"bias": bias}, {"bias": bias, "relu": True}, {"mask": mask}):
        out = torch.empty_like(mask)
        wanted = _columns.product(*exact, torch.empty(out.shape, dtype=torch.float64), **kw)
        assert cpu.product(a, b, out, **kw) is out
        compare([out], [wanted], dtype, slack=30.0)
    out = with_gaps(nets, m, n, seed=0, dtype=dtype)
    cpu.product(a, b, out)
    compare([out], [exact[0] @ exact[1]], dtype, slack=30.0)
    assert _columns.product(a, b, out) is out  # torch into a tensor with gaps
    compare([out], [exact[0] @ exact[1]], dtype, slack=30.0)


def columns(kinds, nets, members, n, h, dtype, gap):
    """Embedded columns of each kind, weights, scales, and where products go."""
    E = [draw(nets, d, n, e, seed=e, scale=0.5).to(dtype) for d, e in kinds]
    W = [with_gaps(nets, d, e, h, seed=d, dtype=dtype) for d, e in kinds]
    count = sum(d for d, _ in kinds)
    R = with_gaps(nets, members, count, seed=5, dtype=dtype)
    P = torch.zeros(nets, count, n * h + gap, dtype=dtype)[..., : n * h]
    return P.view(nets, count, n, h), R, E, W


@needs_products
@dtypes
@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("kinds", [[(1, 16)], [(7, 16), (3, 32)], [(60, 16)]])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 16), (2, 8, 130, 32), (3, 5, 40, 64)])
def test_mixed_columns(dtype, kinds, sizes):
    nets, members, n, h = sizes
    given = P, R, E, W = columns(kinds, *sizes, dtype, gap=16)
    bias = with_gaps(nets, 1, h, seed=6, dtype=dtype)
    exact = [
        P.double(), *([x.double() for x in v] if isinstance(v, list) else v.double() for v in given[1:])
    ]  # fmt: skip
    for kw in ({}, {"bias": bias}, {"bias": bias, "relu": True}):
        found = cpu.mixed_columns(*given, **kw)
        wanted = _columns.mixed_columns(*exact, **kw)
        compare([found, P], [wanted, exact[0]], dtype, slack=50.0)
    d = draw(nets, members, n, h, seed=7, scale=0.5).to(dtype)

    def places(double):
        own = torch.float64 if double else dtype
        gR, *gW = (with_gaps(*x.shape, seed=0, dtype=own) for x in (R, *W))
        return gR, gW, [torch.empty(x.shape, dtype=own) for x in E]

    (gR, gW, dE), (wanted_R, wanted_W, wanted_E) = places(False), places(True)
    assert cpu.mixed_columns_grads(d, *given, gR, gW, dE) is d
    _columns.mixed_columns_grads(d.double(), *exact, wanted_R, wanted_W, wanted_E)
    compare([gR, *gW, *dE], [wanted_R, *wanted_W, *wanted_E], dtype, slack=300.0)
    few = [torch.empty_like(x) for x in gW]
    cpu.mixed_columns_grads(d, *given, None, few, [None for _ in E])
    assert all(torch.equal(a, b) for a, b in zip(few, gW, strict=True))


def test_mixed_columns_against_autograd():
    given = _, R, E, W = columns([(2, 3), (1, 4)], 2, 3, 5, 6, torch.float64, gap=0)
    leaves = [x.clone().requires_grad_() for x in (R, *E, *W)]
    R_, E_, W_ = leaves[0], leaves[1:3], leaves[3:]
    products = torch.cat([torch.matmul(a, b) for a, b in zip(E_, W_, strict=True)], 1)
    wanted = torch.einsum("gkf,gfnh->gknh", R_, products)
    torch.testing.assert_close(_columns.mixed_columns(*given), wanted)
    d = draw(*wanted.shape, seed=1)
    wanted.backward(d)
    found = [torch.empty_like(x) for x in leaves]
    _columns.mixed_columns_grads(d, *given, found[0], found[3:], found[1:3])
    torch.testing.assert_close(found, [x.grad for x in leaves])


def test_products_leave_other_shapes_to_torch():
    a, b = draw(1, 4, 5), draw(1, 5, 6)
    assert cpu.product(a, b, torch.empty(1, 4, 6, dtype=torch.float64)) is None
    given = columns([(2, 3)], 1, 2, 4, 6, torch.float64, gap=0)
    assert cpu.mixed_columns(*given) is None


def piecewise(nets, d, m, e, n, dtype, shared):
    """Parameters with gaps between nets, edges, rows; rows may be those of all nets."""
    sizes = d * m * e, d * e, d * e
    flat = draw(nets, sum(sizes) + 3, scale=0.2).to(dtype)
    V, w, b = (part.view(nets, d, *rest, e) for part, rest in zip(
        flat[:, :-3].split(sizes, 1), ((m,), (), ()), strict=True
    ))  # fmt: skip
    edges = [draw(nets, d, m, seed=s).to(dtype) for s in (1, 2)]
    generator = torch.Generator().manual_seed(3)
    bins = torch.randint(
        0, m, (1 if shared else nets, n, d), generator=generator, dtype=torch.int32
    )
    bins = bins + (torch.arange(d) * m).int()
    t = draw(*bins.shape, seed=4).to(dtype)
    return (V, w, b), edges, [x.expand(nets, n, d) for x in (bins, t)]


@needs_c
@dtypes
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1, 2, 1, 1), (1, 7, 49, 16, 40), (3, 4, 9, 5, 33)])
def test_piecewise_embeddings(dtype, sizes, shared):
    own, edges, at = piecewise(*sizes, dtype, shared)
    found = cpu.piecewise_rows(*own, *edges, *at)
    exact = [x.double() for x in (*own, *edges)]
    places = at[0], at[1].double()
    compare([found], [_piecewise.piecewise_rows(*exact, *places)], dtype, slack=20.0)
    d = draw(*found.shape, seed=5).to(dtype)
    grads, wanted = piecewise(*sizes, dtype, shared)[0], [torch.empty_like(x) for x in exact[:3]]
    assert cpu.piecewise_grads(d, *edges, *at, *grads) is grads[0]
    _piecewise.piecewise_grads(d.double(), *exact[3:], *places, *wanted)
    compare(grads, wanted, dtype, slack=20.0)  # sums over rows, then over bins
    leaves = [x.clone().requires_grad_() for x in exact[:3]]
    plain_piecewise(*leaves, *exact[3:], *places).backward(d.double())
    for got, leaf in zip(wanted, leaves, strict=True):
        torch.testing.assert_close(got, leaf.grad)
    with pytest.raises(IndexError, match="do not fit tables"):
        cpu.piecewise_rows(*own, *edges, at[0] + sizes[2], at[1])
    assert cpu.piecewise_rows(*own, *edges, at[0].long(), at[1]) is None


def plain_piecewise(V, w, b, starts, spans, bins, t):
    """The formula with encodings written out."""
    m = V.shape[2]
    bins = (bins - torch.arange(V.shape[1]) * m).transpose(1, 2).unsqueeze(-1).long()
    t, place = t.transpose(1, 2).unsqueeze(-1), torch.arange(m)
    code = ((place > 0) & (place < bins)).double() + (place == bins) * t
    x = starts.gather(2, bins[..., 0]).unsqueeze(-1) + t * spans.gather(2, bins[..., 0]).unsqueeze(
        -1
    )
    return x * w.unsqueeze(2) + b.unsqueeze(2) + code @ V


def tables(nets, members, n, h, e, d, m, f, height, dtype, shared=False):
    """Numbers in bins and codes of nets, scales, and where products go."""
    bins = codes = None
    rows = (1 if shared else nets, n)
    generator = torch.Generator().manual_seed(3)
    if d:
        (V, w, b), edges, at = piecewise(nets, d, m, e, n, dtype, shared)
        weights = with_gaps(nets, d, e, h, seed=8, dtype=dtype)
        bins = _tables.BinColumns(V, w, b, weights, *edges, *at)
    if f:
        at = torch.randint(0, height, (*rows, f), generator=generator, dtype=torch.int32)
        weights = with_gaps(nets, f, e, h, seed=9, dtype=dtype)
        table = with_gaps(nets, height, e, seed=10, dtype=dtype)
        codes = _tables.CodeColumns(table, weights, at.expand(nets, n, f))
    R = with_gaps(nets, members, d + f, seed=5, dtype=dtype)
    P = torch.zeros(nets, d + f, n * h + 16, dtype=dtype)[..., : n * h]
    return P.view(nets, d + f, n, h), R, bins, codes


def doubled(given):
    """The same in float64, without gaps."""
    if given is None or torch.is_tensor(given):
        return given if given is None or not given.is_floating_point() else given.double()
    return type(given)(*map(doubled, given))


def places_for_grads(R, bins, codes, dtype):
    """Tensors with gaps for the gradients of each kind, filled with numbers that are to go."""
    own = [() if bins is None else bins[:4], () if codes is None else codes[:2]]
    found = [tuple(with_gaps(*x.shape, seed=11, dtype=dtype) for x in kind) for kind in own]
    return [with_gaps(*R.shape, seed=11, dtype=dtype), *(kind or None for kind in found)]


def flat(grads):
    return [
        x for part in grads if part is not None for x in ([part] if torch.is_tensor(part) else part)
    ]


TABLES = [
    (1, 1, 1, 16, 16, 1, 2, 0, 0),
    (2, 8, 130, 32, 16, 7, 9, 3, 20),
    (3, 5, 40, 64, 16, 17, 49, 18, 300),  # more columns than are looked up at once
    (1, 2, 33, 16, 32, 0, 0, 2, 5),
]


@needs_products
@dtypes
@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("sizes", TABLES)
def test_table_columns(dtype, sizes, shared):
    given = P, R, bins, codes = tables(*sizes, dtype, shared)
    nets, members, n, h = sizes[:4]
    bias, exact = with_gaps(nets, 1, h, seed=6, dtype=dtype), [doubled(x) for x in given]
    for kw in ({}, {"bias": bias}, {"bias": bias, "relu": True}):
        found = cpu.table_columns(*given, **kw)
        wanted = _tables.table_columns(*exact, **kw)
        compare([found, P], [wanted, exact[0]], dtype, slack=50.0)
    d = draw(nets, members, n, h, seed=7, scale=0.5).to(dtype)
    grads, wanted = (places_for_grads(R, bins, codes, own) for own in (dtype, torch.float64))
    assert cpu.table_columns_grads(d, *given, *grads) is d
    _tables.table_columns_grads(d.double(), *exact, *wanted)
    compare(flat(grads), flat(wanted), dtype, slack=300.0)
    few = places_for_grads(R, bins, codes, dtype)
    cpu.table_columns_grads(d, *given, None, *few[1:])
    assert all(torch.equal(a, b) for a, b in zip(flat(few[1:]), flat(grads[1:]), strict=True))


def test_table_columns_against_autograd():
    P, R, bins, codes = tables(2, 3, 5, 6, 4, 2, 7, 3, 11, torch.float64)
    leaves = [x.clone().requires_grad_() for x in (*bins[:4], *codes[:2], R)]
    E = plain_piecewise(*leaves[:3], *bins[4:])
    rows = torch.stack([t[at.long()] for t, at in zip(leaves[4], codes.codes, strict=True)])
    products = torch.cat([E @ leaves[3], rows.transpose(1, 2) @ leaves[5]], 1)
    wanted = torch.einsum("gkf,gfnh->gknh", leaves[6], products)
    torch.testing.assert_close(_tables.table_columns(P, R, bins, codes), wanted)
    d = draw(*wanted.shape, seed=1)
    wanted.backward(d)
    gR, *grads = places_for_grads(R, bins, codes, torch.float64)
    _tables.table_columns_grads(d, P, R, bins, codes, gR, *grads)
    torch.testing.assert_close([*flat(grads), gR], [x.grad for x in leaves])


@needs_products
def test_places_outside_of_tables_are_refused():
    P, R, bins, codes = tables(2, 3, 9, 16, 16, 2, 7, 3, 11, torch.float32)
    late = bins._replace(bins=bins.bins + 7)
    wrong = [(late, codes), (late, None), (bins, codes._replace(codes=codes.codes - 1))]
    grads = places_for_grads(R, bins, codes, torch.float32)
    for own, other in wrong:
        columns = 5 if other is not None else 2
        where = (
            P.reshape(-1)[: 2 * columns * 9 * 16].view(2, columns, 9, 16),
            R[..., :columns].contiguous(),
        )
        with pytest.raises(IndexError, match="do not fit tables"):
            cpu.table_columns(*where, own, other)
        down = places_for_grads(where[1], own, other, torch.float32)
        with pytest.raises(IndexError, match="do not fit tables"):
            cpu.table_columns_grads(
                draw(2, 3, 9, 16, dtype=torch.float32), *where, own, other, *down
            )
    long = codes._replace(codes=codes.codes.long())
    assert cpu.table_columns(P, R, bins, long) is None
    assert cpu.table_columns(P, R.double(), bins, codes) is None
    d = draw(2, 3, 9, 16, dtype=torch.float32)
    assert cpu.table_columns_grads(d, P, R, bins, codes, grads[0], None, grads[2]) is None


def test_narrow_embeddings_are_left_to_torch():
    P, R, bins, codes = tables(1, 2, 40, 8, 5, 2, 7, 1, 11, torch.float32)
    assert cpu.table_columns(P, R, bins, codes) is None  # 5 is no whole block
    found = kernels.table_columns(P, R, bins, codes)
    torch.testing.assert_close(found, _tables.table_columns(P.clone(), R, bins, codes))
