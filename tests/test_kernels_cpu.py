"""The plain-C losses against their torch references, and life without them."""

import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from kernel_checks import compare, draw, dtypes, needs_c
from scipy import sparse

from skimb import kernels
from skimb.functional import (
    _csr,
    _hidden,
    _lazy_adam,
    confusion,
    sigmoid,
    softmax,
)
from skimb.functional import _shapes as shapes
from skimb.kernels import cpu
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    LDAM,
    AnyLoss,
    Asymmetric,
    ClassPrior,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    Poly,
    SymmetricCrossEntropy,
)

SHAPES = [shapes.Identity(), shapes.Focal(2.0), shapes.Focal(0.5), shapes.Poly(1.5)]


def test_the_compiled_losses_are_there_where_a_compiler_is():
    """The development install has a compiler; a broken build must not pass unseen."""
    import shutil

    if sys.platform == "linux" and shutil.which("gcc"):
        assert cpu.available, cpu.missing
    assert kernels.backends()["cpu"] == cpu.missing


@needs_c
@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@pytest.mark.parametrize("n", [1, 63, 1000])
def test_margin_rows(shape, dtype, n):
    z, sign = draw(n, dtype=dtype), torch.where(draw(n, seed=1) > 0, 1.0, -1.0).to(dtype)
    kw = {"shape": shape, "mult": 1.5, "offset": 0.3, "margins": (0.1, 0.7), "factor": 0.25}
    expected = softmax.margin_rows(z.double(), sign.double(), **kw)
    compare(cpu.margin_rows(z, sign, **kw), expected, dtype)


@needs_c
@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@pytest.mark.parametrize(("n", "width"), [(1, 2), (130, 3), (64, 10), (65, 48), (7, 49), (9, 1000)])
def test_softmax_rows(shape, dtype, n, width):
    z = draw(n, width, dtype=dtype)
    y = torch.randint(0, width, (n,), generator=torch.Generator().manual_seed(2))
    bias, margin = draw(width, seed=3), draw(width, seed=4).abs()
    kw = {"shape": shape, "scale": 2.0, "factor": 0.25}
    found = cpu.rows(z, y, bias=bias.to(dtype), margin=margin.to(dtype), **kw)
    bias, margin = bias.to(dtype).double(), margin.to(dtype).double()
    compare(found, softmax.rows(z.double(), y, bias=bias, margin=margin, **kw), dtype)


@needs_c
def test_sure_rows_keep_their_digits():
    """The loss of a row with margin 60 is e^-60, not 0, whatever the number format."""
    z = torch.zeros(600, 4)
    z[:, 1] = 60.0
    y = torch.ones(600, dtype=torch.int64)
    loss, grad = cpu.rows(z, y, shape=shapes.Identity())
    np.testing.assert_allclose(loss, 3 * np.exp(-60.0), rtol=1e-5)
    np.testing.assert_allclose(grad[:, 1], -3 * np.exp(-60.0), rtol=1e-5)
    loss, grad = cpu.margin_rows(torch.full((600,), 60.0), torch.ones(600), shape=shapes.Identity())
    np.testing.assert_allclose(loss, np.exp(-60.0), rtol=1e-5)


@needs_c
@dtypes
@pytest.mark.parametrize(
    "kw", [(4.0, 0.0, 0.05), (0.5, 1.5, 0.0), (0.0, 0.0, 0.2), (0.0, 2.0, 0.0)]
)
def test_asymmetric_rows(kw, dtype):
    kw = dict(zip(("gamma_neg", "gamma_pos", "clip"), kw, strict=True))
    z = draw(50, 13, dtype=dtype)
    sign = torch.where(draw(50, 13, seed=5) > 1.0, 1.0, -1.0).to(dtype)
    compare(cpu.asymmetric_rows(z, sign, **kw), sigmoid.asymmetric_rows(z.double(), sign.double(), **kw), dtype)  # fmt: skip


@needs_c
@dtypes
@pytest.mark.parametrize("metric", ["f1", "mcc", "balanced_accuracy", "gmean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_confusion_counts(metric, weighted, dtype):
    z, sign = draw(9000, dtype=dtype), torch.where(draw(9000, seed=6) > 2.0, 1.0, -1.0).to(dtype)
    w = draw(9000, seed=7).abs().to(dtype) if weighted else None
    kw = {"transform": confusion.Logistic(10.0, 0.4), "metric": metric, "options": {}}
    wide = None if w is None else w.double()
    compare(cpu.binary_loss(z, sign, w, **kw), confusion.binary_loss(z.double(), sign.double(), wide, **kw), dtype)  # fmt: skip


@needs_c
@dtypes
@pytest.mark.parametrize("size", [0.0, 60.0, 1e4, 1e30])
def test_extremes_stay_finite(size, dtype):
    z = draw(700, 5, dtype=dtype).sign() * size
    y = torch.arange(700) % 5
    sign = torch.where(draw(700, 5, seed=8) > 0, 1.0, -1.0).to(dtype)
    column, signs = z[:, 0].contiguous(), sign[:, 0].contiguous()
    logistic = {"transform": confusion.Logistic(73.0), "metric": "f1", "options": {}}
    parts = [cpu.asymmetric_rows(z, sign, gamma_neg=4.0, gamma_pos=1.0, clip=0.05)]
    parts += [cpu.asymmetric_rows(z, sign, gamma_neg=0.5, gamma_pos=0.5, clip=0.0)]
    parts += [cpu.binary_loss(column, signs, None, **logistic)]
    for shape in SHAPES:
        parts += [cpu.rows(z, y, shape=shape), cpu.margin_rows(column, signs, shape=shape)]
    for loss, grad in parts:
        assert torch.isfinite(loss).all()
        assert torch.isfinite(grad).all()


LOSSES = [
    CrossEntropy(),
    Focal(2.0),
    Focal(0.5, alpha=0.25),
    Poly(),
    LogitAdjusted(),
    LDAM(scale=5.0),
    SymmetricCrossEntropy(),
    Asymmetric(),
    AnyLoss("mcc"),
]


@needs_c
@pytest.mark.parametrize("form", ["binary", "pair", "multiclass", "multilabel", "population"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_are_the_same_with_and_without(loss, form):
    """On batches large enough for the kernels, values, gradients and weights agree."""
    n = 900
    rows = torch.arange(n)
    if form == "multilabel":
        if getattr(loss, "alpha", None):
            pytest.skip("alpha is tested on two classes")
        prior = ClassPrior([300, 40, 9], n_samples=n, multilabel=True)
        z, y = draw(n, 3), (draw(n, 3, seed=1) > 1.0).long()
    elif form == "multiclass":
        if getattr(loss, "alpha", None):
            pytest.skip("alpha is for two classes")
        prior, z, y = ClassPrior([500, 300, 99, 1]), draw(n, 4), rows % 4
    else:
        prior = ClassPrior([800, 100])
        z = {"binary": draw(n), "pair": draw(n, 2), "population": draw(2, n)}[form]
        y = ((rows % 9) == 0).long()
        y = y.expand(2, -1) if form == "population" else y
    w = draw(n, seed=3).abs()
    w = w.expand(2, -1) if form == "population" else w
    bound = loss.bind(prior)
    code = bound.encode(y, z)
    for weight in (None, w):
        fused = bound.loss_grad(z, code, weight)
        with kernels.reference_only():
            plain = bound.loss_grad(z, code, weight)
        for a, b in zip(fused, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@needs_c
def test_the_kernels_are_really_used(monkeypatch):
    calls = []
    for name in ("rows", "margin_rows", "asymmetric_rows", "binary_loss"):
        real = getattr(cpu, name)
        monkeypatch.setattr(cpu, name, lambda *a, real=real, name=name, **k: calls.append(name) or real(*a, **k))  # fmt: skip
    z, y = draw(900), (draw(900, seed=1) > 1.0).long()
    prior = ClassPrior([800, 100])
    for loss in (Focal(), Asymmetric(), AnyLoss()):
        loss.bind(prior)(z, y)
    Focal().bind(ClassPrior([5, 5, 5]))(draw(900, 3), y)
    assert calls == ["margin_rows", "asymmetric_rows", "binary_loss", "rows"]
    Focal().bind(prior)(z[:9], y[:9])  # small batches are left to torch
    with kernels.reference_only():
        Focal().bind(prior)(z, y)
    assert len(calls) == 4


@needs_c
def test_what_no_kernel_takes_goes_to_the_reference():
    z, sign = draw(900), torch.ones(900, dtype=torch.float64)
    nan = z.clone()
    nan[5] = float("nan")
    kw = {"shape": shapes.Focal(2.0)}
    assert cpu.margin_rows(nan, sign, **kw) is None  # NaN must come out as NaN
    assert torch.isnan(kernels.margin_rows(nan, sign, **kw)[0]).any()
    assert cpu.margin_rows(z, sign, shape=shapes.PolyFocal(2.0, 1.0)) is None
    assert cpu.margin_rows(z, sign, shape=shapes.Focal(torch.ones(2, 1))) is None
    assert cpu.margin_rows(z, sign, smoothing=0.1, **kw) is None
    assert cpu.margin_rows(z, sign, offset=z, **kw) is None
    assert cpu.margin_rows(z[::2], sign[::2], **kw) is None
    pair = draw(900, 2)
    y = torch.zeros(900, dtype=torch.int64)
    assert cpu.rows(pair, y, mult=torch.ones(2), **kw) is None
    assert cpu.rows(pair, y, bias=pair, **kw) is None
    assert cpu.asymmetric_rows(z, sign, gamma_neg=z, gamma_pos=0.0, clip=0.0) is None


def test_everything_works_without_the_extension():
    code = """
import sys
from contextlib import nullcontext
import importlib
from importlib import machinery
from skimb.kernels import cpu, library
assert cpu.missing is None or "C extension" in cpu.missing
machinery.EXTENSION_SUFFIXES.clear()
importlib.reload(library)
cpu = importlib.reload(cpu)
assert not cpu.available and "not built" in cpu.missing, cpu.missing
import torch
from scipy import sparse

from skimb import kernels
from skimb.losses import Focal
from skimb.losses import ClassPrior
assert "not built" in kernels.backends()["cpu"]
print(Focal().bind(ClassPrior([9, 1]))(torch.zeros(5000), torch.zeros(5000)).item())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.25 * np.log(2.0))


@needs_c
def test_loading_leaves_denormals_alone():
    """A library linked with fast-math would flush them to zero in the whole process."""
    code = (
        "import skimb.kernels.cpu, numpy as np; print(float(np.float32(1e-40) * np.float32(0.5)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert float(done.stdout) > 0.0, done.stderr


def test_every_dispatch_has_its_reference():
    for name, reference in kernels.TABLE.items():
        assert getattr(kernels, name) is not reference
        assert reference.__name__ == name


@needs_c
@dtypes
@pytest.mark.parametrize("make", [shapes.Focal, shapes.Poly])
def test_margin_rows_of_members_with_their_own_parameter(dtype, make):
    values = torch.tensor([0.0, 0.5, 2.0, 3.0], dtype=torch.float64).view(-1, 1)
    z, sign = draw(4, 301), torch.where(draw(4, 301, seed=1) > 0, 1.0, -1.0).double()
    found = cpu.margin_rows(z.to(dtype), sign.to(dtype), shape=make(values.to(dtype)), factor=0.3)
    expected = softmax.margin_rows(z.to(dtype).double(), sign, shape=make(values), factor=0.3)
    compare(found, expected, dtype)
    for k, value in enumerate(values.flatten().tolist()):
        alone = softmax.margin_rows(z[k], sign[k], shape=make(value), factor=0.3)
        compare([f[k] for f in found], alone, dtype)
    assert cpu.margin_rows(z, sign, shape=make(values[:3])) is None
    assert cpu.margin_rows(z, sign[:, :1].expand(4, 301), shape=make(values)) is None


@needs_c
@dtypes
@pytest.mark.parametrize("layout", ["rows first", "members first"])
@pytest.mark.parametrize(("members", "n", "h"), [(1, 1, 1), (3, 50, 7), (5, 33, 32)])
def test_relu_output(dtype, layout, members, n, h):
    def arranged(x):
        if layout == "members first":
            return x.contiguous()
        return x.transpose(0, 1).contiguous().transpose(0, 1)

    a, w, b, d = (
        draw(members, n, h),
        draw(members, h, seed=1),
        draw(members, seed=2),
        draw(members, n, seed=3),
    )
    a, w, b, d = (x.to(dtype) for x in (a, w, b, d))
    a = arranged(a)
    wanted_a = a.double()
    wanted = _hidden.relu_output(wanted_a, w.double(), b.double())
    compare([cpu.relu_output(a, w, b), a], [wanted, wanted_a], dtype)
    out, wanted_out = torch.empty_like(a), torch.empty_like(wanted_a)
    found = cpu.relu_output_grad(a, d, w, out)
    expected = _hidden.relu_output_grad(wanted_a, d.double(), w.double(), wanted_out)
    compare([*found, out], [*expected, wanted_out], dtype)
    x = wanted_a.clone().requires_grad_()
    # the reference against autograd: sums of active units keep their gradient
    z = torch.relu(x).mul(w.double().unsqueeze(1)).sum(-1)
    z.backward(d.double())
    torch.testing.assert_close(wanted_out, x.grad)


@needs_c
@dtypes
@pytest.mark.parametrize(("d", "u", "width"), [(50, 20, 1), (9, 9, 5), (2000, 700, 64)])
def test_lazy_adam(dtype, d, u, width):
    table, m, v = draw(d, width), draw(d, width, seed=1), draw(d, width, seed=2).square()
    grad = draw(u, width, seed=3)
    used = np.random.default_rng(0).permutation(d)[:u].astype(np.int64)
    kept = [torch.linspace(0.1, 1.0, u, dtype=torch.float64).unsqueeze(1) for _ in range(2)]
    move = torch.linspace(0.0, 3.0, u, dtype=torch.float64).unsqueeze(1)
    columns = [draw(width, seed=s).abs() for s in (4, 5, 6)]
    results = []
    for function, kind in ((cpu.lazy_adam, dtype), (_lazy_adam.lazy_adam, torch.float64)):
        own = [x.to(dtype).to(kind).clone() for x in (table, m, v)]
        rates = [(0.01 * c).to(dtype).to(kind) for c in columns]
        function(
            grad.to(dtype).to(kind).clone(), *own, used, [k.to(dtype).to(kind) for k in kept],
            move.to(dtype).to(kind), rates[0], l2=rates[1], decay=rates[2], betas=(0.9, 0.99), eps=1e-8, t=7,
        )  # fmt: skip
        results.append(own)
    compare(*results, dtype)
    rest = np.setdiff1d(np.arange(d), used)
    assert torch.equal(results[1][0][rest], table.to(dtype).double()[rest])
    assert not torch.equal(results[1][0][used], table[used])


@needs_c
@dtypes
@pytest.mark.parametrize(("n", "d", "width"), [(7, 50, 1), (1, 9, 5), (60, 2000, 64), (9, 700, 70)])
def test_csr_products(dtype, n, d, width):
    X = sparse.random(n, d, 0.5 if d < 10 else 0.05, format="csr", random_state=0)
    X = sparse.vstack([X, sparse.csr_matrix((1, d))], format="csr")  # a row without values
    rows = X.indptr, X.indices, X.data.astype(str(dtype)[6:])
    table, grad = draw(d, width, dtype=dtype), draw(n + 1, width, seed=1, dtype=dtype)
    exact = X.indptr, X.indices, rows[2].astype(float)
    for own, reference, tensor, more in (
        (cpu.csr_product, _csr.csr_product, table, ()),
        (cpu.csr_product_grad, _csr.csr_product_grad, grad, (d,)),
    ):
        found, expected = own(tensor, *rows, *more), reference(tensor.double(), *exact, *more)
        compare([found], [expected], dtype, slack=20.0)  # sums whose terms cancel
        assert expected.any()
    long = X.indptr.astype(np.int64), X.indices.astype(np.int64), rows[2]
    assert cpu.csr_product(table, *long) is None
    assert cpu.csr_product_grad(grad, *long, d) is None


@needs_c
def test_sparse_training_is_the_same_without_the_kernels():
    generator = np.random.default_rng(0)
    X = sparse.random(300, 80, 0.1, format="csr", random_state=0)
    y = (generator.random(300) < 0.2).astype(int)
    fits = []
    for context in (nullcontext(), kernels.reference_only()):
        with context:
            fits.append(
                LinearClassifier(solver="adam", max_iter=4, batch_size=20, random_state=0).fit(X, y)
            )
    np.testing.assert_allclose(*(f.coef_ for f in fits), rtol=1e-9)
