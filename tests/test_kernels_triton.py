"""Triton kernels against the float64 reference: natively on CUDA, else in Triton's interpreter."""

import json
import os
import subprocess
import sys

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
triton = pytest.importorskip("triton")

from skimb.functional import _shapes as shapes  # noqa: E402
from skimb.functional import confusion, pairs, sigmoid, softmax  # noqa: E402
from skimb.kernels import gpu  # noqa: E402
from skimb.kernels.triton import ops  # noqa: E402
from skimb.kernels.triton import softmax as softmax_kernels  # noqa: E402

# the interpreter computes with numpy, which warns where the hardware gives an infinity
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [
    shapes.Identity(),
    shapes.Focal(2.0),
    shapes.Focal(0.5),
    shapes.Poly(1.5),
    shapes.CompSum(0.5),
    shapes.CompSum(1.5),
    shapes.CompSum(1.0),
]
TOLERANCE = {
    torch.float32: {"rtol": 2e-5, "atol": 2e-6},
    torch.float16: {"rtol": 2e-3, "atol": 2e-3},
    torch.bfloat16: {"rtol": 1e-2, "atol": 1e-2},
}


def draw(*size, seed=0, scale=3.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*size, generator=generator)).to(DEVICE, dtype)


def classes(n, width, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, width, n if isinstance(n, tuple) else (n,), generator=generator).to(
        DEVICE
    )


def compare(found, expected, dtype=torch.float32):
    for a, b in zip(found, expected, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a.double(), b.double(), **TOLERANCE[dtype])


@pytest.mark.parametrize("width", [2, 3, 10, 33, 100])
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_softmax_rows(shape, width):
    z, y = draw(37, width), classes(37, width)
    terms = {"bias": draw(width, seed=2), "margin": draw(width, seed=3).abs(), "scale": 1.5}
    found = gpu.rows(z, y, shape=shape, factor=0.25, **terms)
    terms = {k: v.double() if torch.is_tensor(v) else v for k, v in terms.items()}
    expected = softmax.rows(z.double(), y, shape=shape, factor=0.25, **terms)
    compare(found, expected)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_softmax_rows_in_any_precision_with_multipliers(dtype):
    z, y = draw(9, 7, dtype=dtype), classes(9, 7)
    mult = torch.linspace(0.3, 1.0, 7, device=DEVICE)
    found = gpu.rows(z, y, shape=shapes.Focal(2.0), mult=mult)
    assert found[0].dtype == torch.float32
    assert found[1].dtype == dtype
    expected = softmax.rows(z.double(), y, shape=shapes.Focal(2.0), mult=mult.double())
    compare(found, expected, dtype)


def test_softmax_rows_wider_than_the_registers(monkeypatch):
    monkeypatch.setattr(softmax_kernels, "WHOLE_ROW", 8)
    narrow = {"BLOCK_N": 1, "BLOCK_C": 16, "CHUNKS": 4, "num_warps": 4}
    monkeypatch.setattr(softmax_kernels, "config", lambda width: narrow)
    z, y = draw(5, 50), classes(5, 50)
    for shape in (shapes.Focal(2.0), shapes.Poly(1.0)):
        bias = draw(50, seed=4)
        found = gpu.rows(z, y, shape=shape, bias=bias, mult=bias.exp())
        expected = softmax.rows(
            z.double(), y, shape=shape, bias=bias.double(), mult=bias.double().exp()
        )
        compare(found, expected)


def test_softmax_rows_of_a_population():
    z, y = draw(3, 11, 5), classes((3, 11), 5)
    gamma = torch.tensor([0.0, 1.0, 2.5], device=DEVICE)
    bias = draw(3, 1, 5, seed=5)
    found = gpu.rows(z, y, shape=shapes.Focal(gamma[:, None]), bias=bias)
    expected = softmax.rows(
        z.double(), y, shape=shapes.Focal(gamma[:, None].double()), bias=bias.double()
    )
    compare(found, expected)


@pytest.mark.parametrize("size", [1e4, 60.0, 0.0])
def test_extremes_stay_finite(size):
    z, y = draw(8, 6).sign() * size, classes(8, 6)
    for shape in SHAPES:
        loss, grad = gpu.rows(z, y, shape=shape)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(grad).all()
        sign = torch.where(y > 2, 1.0, -1.0)
        loss, grad = gpu.margin_rows(z[:, 0].contiguous(), sign, shape=shape)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(grad).all()
    loss, grad = gpu.asymmetric_rows(z, z.sign(), gamma_neg=4.0, gamma_pos=1.0, clip=0.05)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_margin_rows(shape):
    z = draw(1500)
    sign = torch.where(draw(1500, seed=7) > 1.0, 1.0, -1.0)
    kw = {"shape": shape, "mult": 1.2, "offset": -0.3, "margins": (0.1, 0.6), "factor": 0.5}
    compare(gpu.margin_rows(z, sign, **kw), softmax.margin_rows(z.double(), sign.double(), **kw))
    gamma = torch.tensor([0.5, 2.0], device=DEVICE)
    z, sign = z.view(2, -1), sign.view(2, -1)
    found = gpu.margin_rows(z, sign, shape=shapes.Focal(gamma[:, None]))
    expected = softmax.margin_rows(
        z.double(), sign.double(), shape=shapes.Focal(gamma[:, None].double())
    )
    compare(found, expected)


@pytest.mark.parametrize(
    "kw", [(4.0, 0.0, 0.05), (2.0, 1.0, 0.0), (0.0, 0.0, 0.2), (0.0, 0.0, 0.0)]
)
def test_asymmetric_labels_in_every_form_of_the_target(kw):
    kw = dict(zip(("gamma_neg", "gamma_pos", "clip"), kw, strict=True))
    z = draw(13, 20)
    y = classes(13, 20)
    onehot = torch.nn.functional.one_hot(y, 20)
    sign = onehot * 2.0 - 1.0
    expected = sigmoid.asymmetric_rows(z.double(), sign.double(), **kw)
    compare(gpu.asymmetric_rows(z, sign, **kw), expected)
    rest = (kw["gamma_neg"], kw["gamma_pos"], kw["clip"], 1.0, False)
    sums = expected[0].sum(-1), expected[1]
    compare(ops.asymmetric(z, onehot.to(torch.uint8), None, *rest), sums)
    compare(ops.asymmetric(z, y, None, *rest), sums)
    pointers = torch.arange(14, device=DEVICE)
    compare(ops.asymmetric(z, pointers, y, *rest), sums)


def test_positives_in_rows_of_any_length():
    z = draw(6, 9)
    dense = torch.zeros(6, 9, dtype=torch.long, device=DEVICE)
    dense[0, 3] = dense[2, 0] = dense[2, 8] = dense[5, 1] = 1
    pointers = torch.cat([dense.new_zeros(1), dense.sum(1).cumsum(0)])
    columns = dense.nonzero()[:, 1]
    for by_label in (False, True):
        a = ops.asymmetric(z, dense, None, 4.0, 1.0, 0.05, 1.0, by_label)
        b = ops.asymmetric(z, pointers, columns, 4.0, 1.0, 0.05, 1.0, by_label)
        compare(b, a)


@pytest.mark.parametrize("metric", ["f1", "mcc", "balanced_accuracy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_confusion_counts(metric, weighted):
    z = draw(2, 3000, scale=2.0)
    sign = torch.where(draw(2, 3000, seed=8) > 2.0, 1.0, -1.0)
    w = draw(2, 3000, seed=9).abs() if weighted else None
    kw = {"transform": confusion.Logistic(10.0, 0.4), "metric": metric, "options": {}}
    found = gpu.binary_loss(z, sign, w, **kw)
    expected = confusion.binary_loss(
        z.double(), sign.double(), None if w is None else w.double(), **kw
    )
    torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-4, atol=1e-9)


def test_pairs():
    s = draw(300)
    positive = draw(300, seed=10) > 2.0
    w = draw(300, seed=11).abs()
    sp, sn, wp, wn = s[positive], s[~positive], w[positive], w[~positive]
    wp, wn = wp / wp.sum(), wn / wn.sum()
    loss, gp, gn = gpu.logistic_pairs(sp, sn, wp, wn, 0.7)
    expected, grad = pairs.pair_loss(
        s.double(), positive, w.double(), surrogate="logistic", tau=0.7
    )
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gp.double(), grad[positive], rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(gn.double(), grad[~positive], rtol=1e-4, atol=1e-8)


def test_the_same_input_gives_the_same_bits():
    z = draw(1, 5000)
    sign = torch.where(draw(1, 5000, seed=8) > 2.0, 1.0, -1.0)
    kw = {"transform": confusion.Logistic(10.0), "metric": "f1", "options": {}}
    a, b = (gpu.binary_loss(z, sign, None, **kw) for _ in range(2))
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])


def test_what_no_kernel_takes_goes_to_the_reference():
    z, y = draw(4, 3), classes(4, 3)
    assert gpu.rows(z.double(), y, shape=shapes.Identity()) is None
    assert gpu.rows(z, y, shape=shapes.Identity(), smoothing=0.1) is None
    assert gpu.rows(z, y, shape=shapes.PolyFocal(2.0, 1.0)) is None
    assert gpu.margin_rows(z, z.sign(), shape=shapes.Identity(), offset=z) is None
    assert gpu.asymmetric_rows(z, z.sign(), gamma_neg=z, gamma_pos=0.0, clip=0.0) is None


OPERATORS = {
    "softmax": lambda: (ops.softmax_rows, (draw(4, 5).requires_grad_(), classes(4, 5), torch.ones(1, device=DEVICE), None, draw(5), None, 1.0, 1.0, 1)),
    "margin": lambda: (ops.margin_rows, (draw(6).requires_grad_(), draw(6).sign(), torch.ones(1, device=DEVICE), 1.0, 0.0, 0.0, 0.0, 1.0, 1)),
    "asymmetric": lambda: (ops.asymmetric, (draw(4, 5).requires_grad_(), draw(4, 5) > 0, None, 4.0, 0.0, 0.05, 1.0, False)),
    "counts": lambda: (ops.confusion_counts, (draw(2, 6), draw(2, 6).sign(), None, 10.0, 0.0)),
    "grad": lambda: (ops.confusion_grad, (draw(2, 6), draw(2, 6).sign(), None, draw(2, 2).double(), 10.0, 0.0)),
    "pairs": lambda: (ops.pair_logistic, (draw(3), draw(5), torch.full((3,), 1 / 3, device=DEVICE), torch.full((5,), 0.2, device=DEVICE), 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.filterwarnings("ignore")
def test_operators_pass_opcheck(name):
    op, args = OPERATORS[name]()
    torch.library.opcheck(op, args)


def test_operators_differentiate_once():
    z, y = draw(5, 4).requires_grad_(), classes(5, 4)
    loss, grad = ops.softmax_rows(z, y, torch.ones(1, device=DEVICE), None, None, None, 1.0, 1.0, 1)
    weight = torch.arange(5.0, device=DEVICE)
    (loss * weight).sum().backward()
    torch.testing.assert_close(z.grad, grad * weight[:, None])


COMPILE = """
import json, re, subprocess, sys, tempfile
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from skimb.kernels.triton import confusion, elementwise, pairs, softmax

def compile(fn, kinds, constants, arch, warps):
    names = fn.arg_names
    signature = {n: ("constexpr" if n in constants else kinds[n]) for n in names}
    source = ASTSource(fn=fn, signature=signature, constexprs={(names.index(k),): v for k, v in constants.items()})
    done = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as f:
        f.write(done.asm["cubin"]); f.flush()
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        text = subprocess.run([str(tool), "--dump-resource-usage", f.name], capture_output=True, text=True).stdout
    found = re.search(r"REG:(\\d+) STACK:(\\d+)", text)
    return [int(found[1]), int(found[2])]

P, I, F = "*fp32", "i32", "fp32"
out = {}
for arch in (80, 90):
    for width in (10, 100, 1000, 32000, 100000):
        cfg = softmax.config(width); warps = cfg.pop("num_warps")
        kinds = dict.fromkeys(softmax.softmax_kernel.arg_names, I)
        kinds |= dict.fromkeys(("Z", "LOSS", "GRAD", "PARAM", "MULT", "BIAS", "MARGIN"), P)
        kinds |= {"Y": "*i64", "scale": F, "factor": F}
        constants = {**cfg, "C": width, "SHAPE": 1, "HAS_MULT": False, "HAS_BIAS": True, "HAS_MARGIN": False}
        out[f"softmax {width} sm_{arch}"] = [*compile(softmax.softmax_kernel, kinds, constants, arch, warps), warps]
    kinds = dict.fromkeys(elementwise.margin_kernel.arg_names, F) | dict.fromkeys(("Z", "SIGN", "LOSS", "GRAD", "PARAM"), P)
    kinds |= {"n": I, "rows_per_member": I, "param_step": I}
    out[f"margin sm_{arch}"] = [*compile(elementwise.margin_kernel, kinds, {"SHAPE": 1, "BLOCK": 1024}, arch, 4), 4]
    kinds = dict.fromkeys(elementwise.asymmetric_kernel.arg_names, F) | {"Z": P, "T": "*u8", "LOSS": P, "GRAD": P, "n": I}
    constants = {"L": 80, "BLOCK_N": 8, "BLOCK_L": 128, "CHUNKS": 1, "TARGET": 0, "CLIP": True, "BY_LABEL": False}
    out[f"asymmetric sm_{arch}"] = [*compile(elementwise.asymmetric_kernel, kinds, constants, arch, 4), 4]
    kinds = dict.fromkeys(elementwise.mend_kernel.arg_names, F) | {"Z": P, "ROWS": "*i64", "COLS": "*i64", "DELTA": P, "GRAD": P, "nnz": I}
    out[f"mend sm_{arch}"] = [*compile(elementwise.mend_kernel, kinds, {"L": 80, "BLOCK": 256, "CLIP": True}, arch, 4), 4]
    kinds = dict.fromkeys(confusion.counts_kernel.arg_names, F) | dict.fromkeys(("Z", "SIGN", "WEIGHT", "PARTS"), P) | {"n": I, "blocks": I}
    out[f"counts sm_{arch}"] = [*compile(confusion.counts_kernel, kinds, {"WEIGHTED": True, "BLOCK": 2048}, arch, 4), 4]
    kinds = dict.fromkeys(confusion.counts_grad_kernel.arg_names, F) | dict.fromkeys(("Z", "SIGN", "WEIGHT", "SLOPES", "GRAD"), P) | {"n": I}
    out[f"counts_grad sm_{arch}"] = [*compile(confusion.counts_grad_kernel, kinds, {"WEIGHTED": True, "BLOCK": 2048}, arch, 4), 4]
    kinds = dict.fromkeys(pairs.pair_kernel.arg_names, P) | {"n": I, "m": I, "inv_tau": F, "side": I}
    out[f"pairs sm_{arch}"] = [*compile(pairs.pair_kernel, kinds, {"BLOCK": pairs.BLOCK, "STEP": pairs.STEP}, arch, 4), 4]
print(json.dumps(out))
"""


def test_kernels_compile_for_ampere_and_hopper_within_their_budgets():
    """Without a GPU: registers stay below what full blocks may use, and nothing spills."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 22
    for name, (registers, stack, warps) in found.items():
        assert stack == 0, f"{name} spills: {stack} bytes of stack"
        assert registers <= min(255, 65536 // (32 * warps)), f"{name}: {registers} registers"


@pytest.mark.parametrize("bad", [-100, -1, 7, 10**6])
def test_class_indices_out_of_range_are_refused(bad):
    z, y = draw(9, 7), classes(9, 7)
    y[4] = bad
    with pytest.raises(ValueError, match=f"between 0 and 6 for logits of 7 classes, got {bad};"):
        gpu.rows(z, y, shape=shapes.Identity(), margin=draw(7).abs())
    with pytest.raises(ValueError, match=f"got {bad};"):
        ops.asymmetric(z, y, None, 1.0, 1.0, 0.0, 1.0, False)
    pointers = torch.arange(10, device=DEVICE)
    with pytest.raises(ValueError, match=f"got {bad};"):
        ops.asymmetric(z, pointers, y, 1.0, 1.0, 0.0, 1.0, False)


def test_row_pointers_and_shapes_that_do_not_fit_are_refused():
    z, y = draw(9, 7), classes(9, 7)
    rest = (1.0, 1.0, 0.0, 1.0, False)
    for pointers in (torch.arange(10) * 2, torch.arange(10).flip(0), torch.arange(9)):
        with pytest.raises(ValueError, match=r"Row pointers must rise|must have shape"):
            ops.asymmetric(z, pointers.to(DEVICE), y, *rest)
    one = torch.ones(1, device=DEVICE)
    with pytest.raises(ValueError, match="y must have shape"):
        ops.softmax_rows(z, y[:5], one, None, None, None, 1.0, 1.0, 0)
    with pytest.raises(ValueError, match="bias must have shape"):
        ops.softmax_rows(z, y, one, None, draw(5), None, 1.0, 1.0, 0)
    with pytest.raises(ValueError, match="sign must have shape"):
        ops.margin_rows(z, z[:4].sign(), one, 1.0, 0.0, 0.0, 0.0, 1.0, 0)


def test_parameters_by_row_are_not_read_as_those_of_members():
    z, y = draw(3, 3, 5), classes((3, 3), 5)
    by_row = torch.tensor([0.0, 1.0, 2.0], device=DEVICE)
    assert gpu.rows(z, y, shape=shapes.Focal(by_row)) is None
    assert gpu.rows(z, y, shape=shapes.Identity(), bias=draw(3, 5)) is None
    sign = draw(3, 3, seed=1).sign()
    assert gpu.margin_rows(z[..., 0].contiguous(), sign, shape=shapes.Focal(by_row)) is None
    assert (
        gpu.margin_rows(z[..., 0].contiguous(), sign, shape=shapes.Focal(by_row[:, None]))
        is not None
    )


def test_nan_comes_out_as_nan():
    z, y = draw(8, 6), classes(8, 6)
    z[3, 2] = float("nan")
    sign = torch.where(draw(8, 6, seed=2) > 0, 1.0, -1.0)
    parts = [gpu.rows(z, y, shape=shape) for shape in SHAPES]
    parts += [gpu.margin_rows(z, sign, shape=shape) for shape in SHAPES]
    for clip in (0.0, 0.05):
        for s in (sign, -sign):
            parts += [gpu.asymmetric_rows(z, s, gamma_neg=4.0, gamma_pos=1.0, clip=clip)]
    for loss, grad in parts:
        assert torch.isnan(loss[3]).any()
        assert torch.isnan(grad[3]).any()
        assert torch.isfinite(loss[:3]).all()
    kw = {"transform": confusion.Logistic(10.0), "metric": "f1", "options": {}}
    loss, _ = gpu.binary_loss(z[:, 2].contiguous(), sign[:, 2].contiguous(), None, **kw)
    assert torch.isnan(loss)


@pytest.mark.parametrize("epsilon", [-1.0, -0.5])
def test_poly_losses_near_minus_one_do_not_cancel(epsilon):
    z, y = draw(16, 4).abs() * torch.tensor([5.0, 0.0, 0.0, 0.0], device=DEVICE), classes(16, 1)
    found = gpu.rows(z, y, shape=shapes.Poly(epsilon))
    expected = softmax.rows(z.double(), y, shape=shapes.Poly(epsilon))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-30)


def test_operators_are_differentiable_once():
    z = draw(5, 4).requires_grad_()
    loss, _ = ops.softmax_rows(z, classes(5, 4), torch.ones(1, device=DEVICE), None, None, None, 1.0, 1.0, 1)  # fmt: skip
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(loss.sum(), z, create_graph=True)
