"""Targets and arguments that would be read past their ends are refused, whatever computes."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from skimb import functional, kernels
from skimb._core.priors import ClassPrior
from skimb.functional import _lazy_adam, softmax
from skimb.functional import _shapes as shapes
from skimb.kernels import cpu, library
from skimb.losses import CrossEntropy
from skimb.losses._targets import Target

needs_c = pytest.mark.skipif(not cpu.available, reason=str(cpu.missing))
BAD = [-100, -1, 3, 10**6]
SIZES = [4, 2000]  # fewer and more logits than the compiled losses take

EVERY_LOSS = """
import torch
from skimb._core.priors import ClassPrior
from skimb.losses import all_losses
from skimb.losses._targets import Target

torch.manual_seed(0)
for width in (2, 3):
    for cls in all_losses("multiclass" if width == 3 else "binary"):
        bound = cls().bind(ClassPrior([5.0] * width))
        for n in (12, 2000):
            for bad in (-100, -1, 10**6):
                z, y = torch.randn(n, width), torch.arange(n) % width
                y[5] = bad
                kernel = lambda z, y: bound.loss_grad(z, Target(y))  # without the loss's own checks
                for call in (bound, bound.row_loss, bound.grad_hess, kernel):
                    try:
                        call(z, y)
                    except TypeError as error:  # batch-coupled losses have no losses of rows
                        assert "couples the rows" in str(error), error
                    except (ValueError, IndexError) as error:
                        assert str(bad) in str(error), (cls, n, error)
                    else:
                        assert call is kernel, cls
                        print(cls.__name__, width)
print("done")
"""


def test_no_loss_reads_foreign_memory():
    """In a process of its own, since the fault was a crash."""
    done = subprocess.run(
        [sys.executable, "-c", EVERY_LOSS], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    taken = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert ("done",) in taken
    # where the loss's own checks are left out, torch still counts from the end for expected costs; the
    # contrastive loss, and others of two classes, compare with class numbers and index with nothing
    wide = {name for name, *width in taken if width == ["3"]}
    assert wide <= {"ExpectedCost", "SupervisedContrastive"}
    assert not {("CrossEntropy", "2"), ("Focal", "2"), ("LDAM", "2")} & taken


@pytest.mark.parametrize("bad", BAD)
def test_the_sentence_is_the_same_whatever_computes(bad):
    found = set()
    bound = CrossEntropy().bind(ClassPrior([5.0, 3.0, 2.0]))
    for n in SIZES:
        z, y = torch.zeros(n, 3), torch.arange(n) % 3
        y[1] = bad
        for call in (functional.cross_entropy, lambda z, y: bound.loss_grad(z, Target(y))):
            with pytest.raises(ValueError, match="between 0 and 2") as caught:
                call(z, y)
            found.add(str(caught.value))
    assert len(found) == 1
    assert f"got {bad};" in found.pop()


@needs_c
def test_kernels_convert_or_refuse_other_types_of_targets():
    z, y = torch.randn(700, 3), torch.arange(700) % 3
    kw = {"shape": shapes.Focal(2.0)}
    expected = softmax.rows(z, y, **kw)
    for dtype in (torch.int32, torch.int8, torch.uint8):
        for a, b in zip(cpu.rows(z, y.to(dtype), **kw), expected, strict=True):
            torch.testing.assert_close(a, b)
    for function in (cpu.rows, softmax.rows):
        with pytest.raises(ValueError, match=r"must be integers, got torch\.float32"):
            function(z, y.float(), **kw)
    with pytest.raises(ValueError, match=r"shape \(700,\); got targets of shape \(9,\)"):
        kernels.rows(z, y[:9], **kw)


@needs_c
def test_kernels_leave_arrays_of_another_type_or_shape_to_torch():
    z, sign, y = torch.randn(700), torch.ones(700), torch.zeros(700, dtype=torch.int64)
    kw = {"shape": shapes.Focal(2.0)}
    assert cpu.margin_rows(z, sign, **kw) is not None
    assert cpu.margin_rows(z, sign.double(), **kw) is None
    assert cpu.asymmetric_rows(z, sign.double(), gamma_neg=1.0, gamma_pos=1.0, clip=0.0) is None
    wide, one = torch.randn(700, 3), torch.ones(3, dtype=torch.float64)
    assert cpu.rows(wide, y, bias=one.float(), **kw) is not None
    assert cpu.rows(wide, y, bias=one, **kw) is None
    assert cpu.rows(wide, y, margin=torch.ones(()).expand(3), **kw) is None
    # one number seen as a column of members is one number in memory
    members = shapes.Focal(torch.full((1, 1), 2.0).expand(7, 1))
    assert cpu.margin_rows(z.view(7, 100), sign.view(7, 100), shape=members) is None


@needs_c
def test_layers_of_other_shapes_are_left_to_torch():
    a, w, b, d = torch.randn(3, 5, 7), torch.randn(3, 7), torch.randn(3), torch.randn(3, 5)
    out = torch.empty_like(a)
    assert cpu.relu_output(a.clone(), w, b) is not None
    assert cpu.relu_output(a.clone(), w[:2], b) is None
    assert cpu.relu_output(a.clone(), w, b[:2]) is None
    assert cpu.relu_output(a.clone(), w.double(), b) is None
    assert cpu.relu_output_grad(a, d, w, out) is not None
    assert cpu.relu_output_grad(a, d[:2], w, out) is None
    assert cpu.relu_output_grad(a, d.double(), w, out) is None
    assert cpu.relu_output_grad(a, d, w, out[:2]) is None


@pytest.mark.parametrize("bad", [-1, 9, 10**9])
@pytest.mark.parametrize("backend", [pytest.param(cpu, marks=needs_c), _lazy_adam], ids=str)
def test_rows_outside_the_table_are_refused_before_anything_changes(backend, bad):
    table, m, v = (torch.ones(9, 4) for _ in range(3))
    used = np.array([0, bad, 3])
    column, row = torch.ones(3, 1), torch.ones(4)
    with pytest.raises(IndexError, match=rf"between 0 and 8 for a table of 9, got {bad}\."):
        backend.lazy_adam(
            torch.ones(3, 4), table, m, v, used, [column, column], column, row, l2=row, decay=row,
            betas=(0.9, 0.99), eps=1e-8, t=2,
        )  # fmt: skip
    assert all(bool((x == 1.0).all()) for x in (table, m, v))


@needs_c
@pytest.mark.parametrize("bad", [-1, 9, 10**9])
def test_columns_of_csr_rows_outside_the_table_are_refused(bad):
    indptr, indices = np.array([0, 2, 3], np.int32), np.array([0, bad, 3], np.int32)
    values = np.ones(3, np.float32)
    with pytest.raises(IndexError, match=rf"between 0 and 8 for a table of 9, got {bad}\."):
        cpu.csr_product(torch.ones(9, 4), indptr, indices, values)
    with pytest.raises(IndexError, match=rf"between 0 and 8 for a table of 9, got {bad}\."):
        cpu.csr_product_grad(torch.ones(2, 4), indptr, indices, values, 9)


@needs_c
@pytest.mark.parametrize("starts", [[0, 4, 3], [0, 2, 4], [1, 2, 3], [0, -1, 3]])
def test_csr_rows_that_begin_in_no_order_are_refused(starts):
    indptr, indices = np.array(starts, np.int32), np.array([0, 1, 3], np.int32)
    with pytest.raises(IndexError, match="in order and end at 3 values"):
        cpu.csr_product(torch.ones(9, 4), indptr, indices, np.ones(3, np.float32))


@needs_c
def test_tables_and_columns_of_other_shapes_are_not_for_the_kernel():
    used, row = np.array([0, 1, 3]), torch.ones(4)
    kw = {"l2": row, "decay": row, "betas": (0.9, 0.99), "eps": 1e-8, "t": 2}
    table, column, grad = torch.ones(9, 4), torch.ones(3, 1), torch.ones(3, 4)

    def call(grad=grad, m=table, used=used, move=column, lr=row):
        table = torch.ones(9, 4)
        return cpu.lazy_adam(
            grad, table, m.clone(), table.clone(), used, [column] * 2, move, lr, **kw
        )

    assert call() is not None
    assert call(m=torch.ones(5, 4)) is None
    assert call(used=used[:2]) is None
    assert call(used=used.astype(np.int32)) is None
    assert call(used=np.arange(6)[::2]) is None
    assert call(move=torch.ones(2, 1)) is None
    assert call(lr=torch.ones(3)) is None


def test_a_library_of_another_version_is_not_called(monkeypatch):
    if not cpu.available:
        pytest.skip(cpu.missing)
    monkeypatch.setattr(library, "_VERSION", 0)
    table, reason = library.load()
    assert table == {}
    assert "another version" in reason


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda z, y: functional.focal(z[:, 0], y), "must be 0 or 1, got 2"),
        (lambda z, y: functional.focal(z[:, 0], y.float() / 2), r"must be 0 or 1, got 0\.5"),
        (lambda z, y: functional.focal(z[:, 0], y.float() * torch.nan), "must be 0 or 1, got nan"),
        (lambda z, y: functional.mann_whitney(z[:, 0], y), "must be 0 or 1, got 2"),
        (lambda z, y: functional.two_way(z, torch.full((6, 3), -1)), "must be 0 or 1, got -1"),
        (lambda z, y: functional.focal(z[:, 0], y[:4] % 2), "one 0/1 target per entry"),
        (lambda z, y: functional.focal(z, y[:1]), None),
        (lambda z, y: functional.focal(z, y[:4]), "one class index per row"),
        (lambda z, y: functional.class_balanced(z, y, weights=torch.ones(2)), "weights must have"),
        (lambda z, y: functional.seesaw(z, y, counts=torch.ones(4)), "counts must have"),
        (lambda z, y: functional.expected_cost(z, y - 1, cost=torch.eye(3)), "between 0 and 2"),
        (lambda z, y: functional.quadratic_weighted_kappa(z, y - 1), "between 0 and 2"),
        (lambda z, y: functional.z_loss(z, y + 1), "between 0 and 2"),
        (lambda z, y: functional.margin_distance(z, z + 1, y + 1), "between 0 and 2"),
    ],
)
def test_functions_name_targets_that_do_not_fit(call, match):
    z, y = torch.randn(6, 3), torch.arange(6) % 3
    if match is None:  # one target for all rows is broadcast
        assert call(z, y).shape == (6,)
        return
    with pytest.raises(ValueError, match=match):
        call(z, y)
