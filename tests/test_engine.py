"""The engine: steps against autograd, optimisers, orders, schedules, callbacks, interruptions."""

import copy
import gc
import pickle
import subprocess
import sys
from types import FunctionType, ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from skimb.engine.callbacks import Patience
from skimb.engine.chain_nets import NetChain, infer
from skimb.engine.data import Batch, SparseRows, TrainingData
from skimb.engine.module import ModuleBackend
from skimb.engine.optim import SGD, Adam, Muon, orthogonalised
from skimb.engine.runtime import resolve_device, small_batch_settings
from skimb.engine.sampling import Order
from skimb.engine.signals import StopTraining
from skimb.engine.step import Step
from skimb.engine.table import SparseTable
from skimb.losses import (
    AnyLoss,
    ClassPrior,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    MannWhitney,
    Mixed,
    NonNegativePU,
    RecallAtBudget,
    SupervisedContrastive,
    Target,
    all_losses,
)
from skimb.nets import MLP
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
from skimb.training import ClassPowerSampler, DeferredReweighting


def batch(n=32, d=6, classes=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (n,), generator=generator)
    return X, y


def net(widths, activation="relu", members=1, seed=0, **kw):
    module = MLP(widths, activation, members=members, dtype=torch.float64, **kw)
    return module.reset(np.random.RandomState(seed))


def part_of(target, start, size):
    return target.each(lambda part: part[start : start + size])


def chain_step(module, bound, size, lr=1e-3):
    """A step of a dense chain under Adam."""
    backend = NetChain(module, size)
    return Step(backend, bound, Adam([module.flat], lr=lr))


def table_step(module, bound, size, lr):
    """A step of a chain on CSR rows under Adam."""
    table = SparseTable(module.table.detach(), lr_of=lambda: lr, betas=(0.9, 0.999), eps=1e-8)
    backend = NetChain(module, size, table)
    return Step(backend, bound, Adam([module.flat], lr=lr))


# --- the hand-written step -------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("widths", [[6, 1], [6, 5, 1], [6, 7, 5, 3]], ids=str)
def test_chain_gradient_is_autograd(widths, activation):
    classes = max(widths[-1], 2)
    X, y = batch(classes=classes)
    bound = Focal(1.5).bind(ClassPrior.of(y.numpy()))
    module = net(widths, activation)
    out = module(X)
    z = out[:, 0] if widths[-1] == 1 else out
    bound(z, y).backward()
    expected = module.flat.grad.clone()
    module.flat.grad = None
    step = chain_step(module, bound, 40)
    with torch.no_grad():
        loss = step.gradients(Batch(X, bound.encode(y, z)))
    torch.testing.assert_close(module.flat.grad, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(loss, bound(z, y).detach())


def test_population_of_two_is_two_nets():
    X, _ = batch()
    singles = [net([6, 5, 2], seed=s) for s in (1, 2)]
    both = MLP([6, 5, 2], members=2, dtype=torch.float64)
    with torch.no_grad():
        both.flat.copy_(torch.cat([m.flat for m in singles]))
    torch.testing.assert_close(both(X), torch.stack([m(X) for m in singles]))


def test_training_equals_autograd_with_torch_adam_for_a_hundred_steps():
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(1600, 6, generator=generator)
    y = (X[:, 0] + 0.3 * torch.randn(1600, generator=generator) > 1).long()
    bound = CrossEntropy().bind(ClassPrior.of(y.numpy()))
    ours = MLP([6, 16, 16, 1]).reset(np.random.RandomState(0))
    theirs = copy.deepcopy(ours)
    step = chain_step(ours, bound, 16)
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    for s in range(0, 1600, 16):
        xb, yb = X[s : s + 16], y[s : s + 16]
        with torch.no_grad():
            step(Batch(xb, bound.encode(yb, torch.empty(16))))
        adam.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(theirs(xb)[:, 0], yb.float()).backward()
        adam.step()
    torch.testing.assert_close(ours.flat, theirs.flat, rtol=0, atol=1e-5)


def test_any_module_trains_like_the_chain(rare):
    X, y = rare
    kw = {"solver": "adam", "alpha": 0.0, "max_iter": 3, "tol": 0.0, "random_state": 0}
    chain = MLPClassifier((5,), **kw).fit(X, y)

    def same(n_features, n_outputs):
        return MLP([n_features, 5, n_outputs], dtype=torch.float64).reset(np.random.RandomState(0))

    other = NeuralNetClassifier(same, **kw).fit(X, y)
    # the first draws of both come from seed 0: same weights, other permutations
    assert np.abs(chain.predict_proba(X) - other.predict_proba(X)).max() < 0.2
    shuffled = {**kw, "shuffle": False}
    a = MLPClassifier((5,), **shuffled).fit(X, y).predict_proba(X)
    b = NeuralNetClassifier(same, **shuffled).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(a, b, atol=1e-10)


def test_optimisers_equal_torch():
    for make, reference in [
        (lambda p: Adam([p], lr=0.01), lambda p: torch.optim.Adam([p], lr=0.01)),
        (
            lambda p: Adam([p], lr=0.01, decay=0.1, decayed=[(p.detach(), p.grad)]),
            lambda p: torch.optim.AdamW([p], lr=0.01, weight_decay=0.1),
        ),
        (
            lambda p: SGD([p], lr=0.01, momentum=0.9, nesterov=True),
            lambda p: torch.optim.SGD([p], lr=0.01, momentum=0.9, nesterov=True),
        ),
        (
            lambda p: Adam([p], lr=0.01, l2=0.3, decayed=[(p.detach(), p.grad)]),
            lambda p: torch.optim.Adam([p], lr=0.01, weight_decay=0.3),
        ),
    ]:
        a = nn.Parameter(torch.linspace(-1, 1, 20, dtype=torch.float64))
        b = nn.Parameter(a.detach().clone())
        a.grad = torch.zeros_like(a)
        ours, theirs = make(a), reference(b)
        for k in range(5):
            gradient = torch.sin(torch.arange(20) + k).double()
            a.grad.copy_(gradient)
            b.grad = gradient.clone()
            with torch.no_grad():
                ours.step()
            theirs.step()
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_muon_moves_hidden_matrices_as_torch_does(dtype):
    module = net([6, 8, 5, 1]).to(dtype)
    flat = module.flat
    flat.grad = torch.zeros_like(flat)
    places, start = ((0, 6, 8), (48, 8, 5)), 6 * 8 + 8 * 5
    reference = [nn.Parameter(w[0].clone()) for w in module.split(flat.detach())[0][:2]]
    rest = nn.Parameter(flat.detach()[0, start:].clone())
    decayed = [(flat.detach()[:, :start], flat.grad[:, :start])]
    ours = Muon([flat], places, lr=0.02, decay=0.1, decayed=decayed)
    muon = torch.optim.Muon(
        reference, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.Adam([rest], lr=0.02)
    for k in range(5):
        flat.grad.copy_(torch.randn(flat.shape, generator=torch.Generator().manual_seed(k)))
        for p, g in zip(reference, module.split(flat.grad)[0], strict=False):
            p.grad = g[0].clone()
        rest.grad = flat.grad[0, start:].clone()
        with torch.no_grad():
            ours.step()
        muon.step()
        adam.step()
    for w, p in zip(module.split(flat.detach())[0], reference, strict=False):
        torch.testing.assert_close(w[0], p.detach(), rtol=0, atol=2e-3)  # which rounds to bfloat16
    torch.testing.assert_close(flat.detach()[0, start:], rest.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(1, 6, 20), (3, 20, 6), (2, 16, 16)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    generator = torch.Generator().manual_seed(0)
    small = min(shape[1:])
    U = torch.linalg.qr(torch.randn(shape[0], shape[1], small, generator=generator))[0]
    V = torch.linalg.qr(torch.randn(shape[0], shape[2], small, generator=generator))[0]
    values = torch.logspace(0, -2, small)
    G = U * values @ V.mT
    found = torch.linalg.svdvals(orthogonalised(G))
    assert found.min() > 0.6
    assert found.max() < 1.3
    assert torch.equal(orthogonalised(1024.0 * G), orthogonalised(G))
    assert torch.equal(orthogonalised(torch.zeros(shape)), torch.zeros(shape))
    Q = torch.linalg.qr(torch.randn(shape[1], shape[1], generator=generator))[0]
    torch.testing.assert_close(orthogonalised(Q @ G), Q @ orthogonalised(G), rtol=0, atol=1e-4)
    u, v = U[:, :, :1], V[:, :, :1]
    step = orthogonalised(u @ v.mT)
    along = u.mT @ step @ v
    assert along.min() > 0.6
    assert along.max() < 1.3
    torch.testing.assert_close(
        step, along * (u @ v.mT), rtol=0, atol=1e-4
    )  # one direction stays one


def test_muon_is_the_same_after_a_pause_and_without_a_rate():
    X, y = make_classification(200, 6, random_state=0)
    kw = {"solver": "muon", "random_state": 0}
    model = MLPClassifier((8,), **kw).partial_fit(X, y, classes=[0, 1])
    again = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), model.partial_fit(X, y).predict_proba(X))
    flat = torch.arange(12.0).view(1, 12).requires_grad_()
    flat.grad = torch.ones(1, 12)
    optimizer = Muon([flat], ((0, 2, 4),), lr=0.0)
    with torch.no_grad():
        optimizer.step()
    assert torch.equal(flat.detach(), torch.arange(12.0).view(1, 12))


def test_muon_takes_the_linear_layers_of_a_module_but_the_last():
    class Net(nn.Module):
        def __init__(self, n_features, n_outputs):
            super().__init__()
            self.norm, self.hidden = nn.LayerNorm(n_features), nn.Linear(n_features, 5)
            self.out = nn.Linear(5, n_outputs)

        def forward(self, X):
            return self.out(torch.tanh(self.hidden(self.norm(X))))

    X, y = make_classification(200, 6, random_state=0)
    kw = {"max_iter": 1, "tol": 0, "random_state": 0, "batch_size": 200, "alpha": 0.0}
    steps = {}
    for solver in ("muon", "adamw"):
        start = NeuralNetClassifier(Net, solver=solver, **{**kw, "learning_rate_init": 1e-12})
        moved = NeuralNetClassifier(Net, solver=solver, **{**kw, "learning_rate_init": 1e-3})
        old, new = (m.fit(X, y).net_.module_.state_dict() for m in (start, moved))
        steps[solver] = {k: new[k] - old[k] for k in new}
    for name, step in steps["muon"].items():
        same = torch.allclose(step, steps["adamw"][name], atol=1e-9)
        assert same == (name != "hidden.weight"), name
    singular = torch.linalg.svdvals(steps["muon"]["hidden.weight"]) / (1e-3 * 0.2 * 6**0.5)
    assert singular[:4].min() > 0.5  # the fifth is small in the gradient
    assert singular.max() < 1.3
    with pytest.raises(ValueError, match=r"solver='muon' orthogonalises .* use solver='adamw'"):
        NeuralNetClassifier(nn.Linear, solver="muon", module__in_features=6, module__out_features=1,
                            **kw).fit(X, y)  # fmt: skip


def test_the_linear_schedule_falls_to_zero():
    X, y = make_classification(60, 6, random_state=0)
    rates = []

    class Watch(Callback):
        def on_epoch_begin(self, net, **kw):
            rates.append(net.optimizer_.lr)

    MLPClassifier((4,), learning_rate="linear", max_iter=4, tol=0, callbacks=[Watch()]).fit(X, y)
    np.testing.assert_allclose(rates, [1e-3, 7.5e-4, 5e-4, 2.5e-4])


# --- sparse input ----------------------------------------------------------------------------


def sparse_batch(n=40, d=30, seed=0):
    X = sparse.random(n, d, 0.15, format="csr", random_state=seed, dtype=np.float64)
    y = torch.from_numpy((np.asarray(X.sum(1)).ravel() > 2).astype(np.int64))
    return X, y


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("widths", [[30, 1], [30, 6, 1], [30, 6, 4, 3]], ids=str)
def test_sparse_forward_equals_dense(widths, skip):
    X, _ = sparse_batch()
    module = net(widths, sparse=True, linear_skip=skip)
    if module.linear_skip:
        with torch.no_grad():
            module.table[:, widths[1] :].normal_(generator=torch.Generator().manual_seed(0))
    dense = MLP(widths, dtype=torch.float64)
    with torch.no_grad():
        weights, biases = dense.split(dense.flat)
        for w, c in zip(weights, module.coefs(), strict=True):
            w[0].copy_(torch.from_numpy(c))
        for b, c in zip(biases, module.intercepts(), strict=True):
            b[0].copy_(torch.from_numpy(c))
    expected = infer(dense, X.toarray())
    if module.linear_skip:
        expected = expected + torch.from_numpy(X.toarray() @ module.skip_coef())
    torch.testing.assert_close(infer(module, X), expected)


@pytest.mark.parametrize("widths", [[30, 1], [30, 6, 1], [30, 6, 4, 3]], ids=str)
def test_sparse_step_is_dense_adam_where_every_feature_is_touched(widths):
    X, y = sparse_batch(n=400)
    classes = max(widths[-1], 2)
    y = y % classes
    bound = Focal().bind(ClassPrior.of(y.numpy(), classes=np.arange(classes)))
    module = net(widths, sparse=True)
    dense = MLP(widths, dtype=torch.float64)
    with torch.no_grad():
        weights, biases = dense.split(dense.flat)
        for w, c in zip(weights, module.coefs(), strict=True):
            w[0].copy_(torch.from_numpy(c))
        for b, c in zip(biases, module.intercepts(), strict=True):
            b[0].copy_(torch.from_numpy(c))
    lean = table_step(module, bound, 400, 0.01)
    full = chain_step(dense, bound, 400, 0.01)
    shape = (400,) if widths[-1] == 1 else (400, widths[-1])
    code = bound.encode(y, torch.empty(shape, dtype=torch.float64))
    rows = SparseRows(X.indptr, X.indices, X.data)
    with torch.no_grad():
        for _ in range(4):
            a, b = lean(Batch(rows, code)), full(Batch(torch.from_numpy(X.toarray()), code))
            torch.testing.assert_close(a, b)
    torch.testing.assert_close(
        torch.from_numpy(module.coefs()[0]),
        torch.from_numpy(dense.coefs()[0]),
        rtol=1e-6,
        atol=1e-9,
    )


def test_catch_up_equals_dense_moments_with_zero_gradients():
    """A row absent for some batches has, when it returns, the moments dense Adam would have."""
    X, y = sparse_batch(n=60)
    bound = CrossEntropy().bind(ClassPrior.of(y.numpy()))
    module = net([30, 4, 1], sparse=True)
    step = table_step(module, bound, 20, 0.0)
    code = bound.encode(y, torch.empty(60, dtype=torch.float64))
    moments = torch.zeros_like(module.table)
    dense = MLP([30, 4, 1], dtype=torch.float64)
    with torch.no_grad():
        weights, biases = dense.split(dense.flat)
        for w, c in zip(weights, module.coefs(), strict=True):
            w[0].copy_(torch.from_numpy(c))
        for b, c in zip(biases, module.intercepts(), strict=True):
            b[0].copy_(torch.from_numpy(c))
        full = chain_step(dense, bound, 20, 0.0)
        for s in (0, 20, 40):
            part = X[s : s + 20]
            step(Batch(SparseRows(part.indptr, part.indices, part.data), part_of(code, s, 20)))
            full.gradients(Batch(torch.from_numpy(part.toarray()), part_of(code, s, 20)))
            moments.mul_(0.9).add_(dense.split(dense.flat.grad)[0][0][0], alpha=0.1)
    touched = step.backend.table.touched == 3
    torch.testing.assert_close(step.backend.table.m[touched], moments[touched])


def test_returning_rows_move_as_under_dense_adam():
    """Rows that were absent for a while are, after settling, where dense Adam has carried them."""
    X, y = sparse_batch(n=300, d=30)
    bound = CrossEntropy().bind(ClassPrior.of(y.numpy()))
    module, dense = net([30, 1], sparse=True), MLP([30, 1], dtype=torch.float64)
    with torch.no_grad():
        module.table.zero_()
        module.flat.zero_()
    lean = table_step(module, bound, 10, 0.01)
    full = chain_step(dense, bound, 10, 0.01)
    code = bound.encode(y, torch.empty(300, dtype=torch.float64))
    with torch.no_grad():
        for s in range(0, 300, 10):
            part = X[s : s + 10]
            lean(Batch(SparseRows(part.indptr, part.indices, part.data), part_of(code, s, 10)))
            full(Batch(torch.from_numpy(part.toarray()), part_of(code, s, 10)))
        still = module.coefs()[0].copy()
        lean.settle()
    expected = dense.coefs()[0]
    error = np.abs(module.coefs()[0] - expected).max()
    assert error < 0.1 * np.abs(expected).max()
    assert error < np.abs(still - expected).max()
    settled = module.coefs()[0].copy()
    lean.settle()
    np.testing.assert_array_equal(module.coefs()[0], settled)


# --- orders ----------------------------------------------------------------------------------


def order(n, size, classes=None, **kw):
    return Order(n, size, torch.Generator().manual_seed(0), classes=classes, **kw)


def test_shuffled_order_is_a_permutation_and_repeats_under_its_seed():
    index, sizes = order(103, 10).next()
    assert sorted(index.tolist()) == list(range(103))
    assert sizes == [10] * 10 + [3]
    assert torch.equal(index, order(103, 10).next()[0])
    assert order(103, 10, shuffle=False).next()[0] is None


@pytest.mark.parametrize("rare", [1, 3, 40])
def test_every_batch_holds_every_class(rare):
    classes = np.r_[np.zeros(1000, int), np.ones(rare, int), np.full(60, 2)]
    o = order(len(classes), 50, classes, every_class=True)
    index, sizes = o.next()
    assert max(sizes) <= o.max_batch
    start = 0
    for size in sizes:
        assert set(classes[index[start : start + size]]) == {0, 1, 2}
        start += size
    assert set(index.tolist()) == set(range(len(classes))), "rows were lost"


def test_class_power_sampler_draws_what_it_says():
    classes = np.r_[np.zeros(9000, int), np.ones(1000, int)]
    for power, expected in [(1.0, 0.1), (0.5, 0.25), (0.0, 0.5)]:
        index, _ = order(10_000, 100, classes, sampler=ClassPowerSampler(power)).next()
        assert classes[index].mean() == pytest.approx(expected, abs=0.02)
    progressive = ClassPowerSampler(1.0, end_power=0.0)
    first = progressive.class_probabilities([90, 10], 0, 11)
    last = progressive.class_probabilities([90, 10], 10, 11)
    np.testing.assert_allclose([first[1], last[1]], [0.1, 0.5])
    with pytest.raises(ValueError, match="power"):
        ClassPowerSampler(2.0).class_probabilities([1, 1], 0, 1)


# --- callbacks -------------------------------------------------------------------------------


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_train_begin(self, net, **kw):
        self.events.append("train")

    def on_epoch_end(self, net, **kw):
        self.events.append("epoch")


class BatchRecorder(Recorder):
    def on_batch_end(self, net, loss=None, training=False, **kw):
        self.events.append(float(loss))


def test_skorch_callbacks_see_the_run(rare):
    X, y = rare
    plain, batches = Recorder(), BatchRecorder()
    MLPClassifier((4,), max_iter=3, batch_size=100, callbacks=[plain, ("named", batches)]).fit(X, y)
    assert plain.events == ["train", "epoch", "epoch", "epoch"]
    losses = [e for e in batches.events if isinstance(e, float)]
    assert len(losses) == 3 * 6


def test_gradient_clipping_acts_on_both_steps(rare):
    from skorch.callbacks import GradientNormClipping

    X, y = rare
    for make in (MLPClassifier, NeuralNetClassifier):
        kw = {"max_iter": 2, "tol": 0.0, "random_state": 0, "solver": "sgd", "momentum": 0.0}
        free = make(**kw, alpha=0.0).fit(X, y)
        clipped = make(**kw, alpha=0.0, callbacks=[GradientNormClipping(1e-9)]).fit(X, y)
        start = make(**kw, alpha=0.0, learning_rate_init=1e-12).fit(X, y)
        p = [m.predict_proba(X) for m in (start, clipped, free)]
        np.testing.assert_allclose(p[1], p[0], atol=1e-8)
        assert np.abs(p[2] - p[0]).max() > 1e-4
    sparse_model = MLPClassifier((4,), callbacks=[GradientNormClipping(1.0)])
    with pytest.raises(ValueError, match="on_grad_computed"):
        sparse_model.fit(sparse.csr_matrix(X), y)


def test_skorch_early_stopping_works_on_recorded_losses(rare):
    X, y = rare
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0, threshold_mode="abs", sink=lambda *a: None)  # fmt: skip
    model = MLPClassifier((4,), max_iter=50, callbacks=[stop]).fit(X, y)
    assert model.n_iter_ <= 3


def test_history_holds_what_skorch_records(rare):
    X, y = rare
    model = MLPClassifier((4,), max_iter=4, early_stopping=True, random_state=0).fit(X, y)
    h = model.history_
    assert len(h) == model.n_iter_ == 4
    assert h[:, "train_loss"] == model.loss_curve_
    assert h[:, "valid_score"] == model.validation_scores_
    assert all(d >= 0 for d in h[:, "dur"])
    assert sum(h[-1, "batches", :, "train_batch_size"]) == 540


def test_scikit_learn_callbacks(rare):
    callback = pytest.importorskip(
        "sklearn.callback", reason="scikit-learn has callbacks from 1.9 on"
    )
    X, y = rare
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = MLPClassifier((4,), max_iter=4, random_state=0)
    model.set_callbacks(monitor).fit(X, y)
    scores = [row["neg_log_loss"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert len(set(scores)) > 1, "the monitor saw the same weights in every epoch"


def test_progress_bar_in_pipeline_and_search(rare):
    pytest.importorskip("rich")
    callback = pytest.importorskip(
        "sklearn.callback", reason="scikit-learn has callbacks from 1.9 on"
    )
    X, y = rare
    model = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=3))
    model.set_callbacks(callback.ProgressBar()).fit(X, y)
    search = GridSearchCV(
        MLPClassifier((4,), max_iter=2, loss=Focal()), {"loss__gamma": [1.0, 2.0]}, cv=2
    )
    search.set_callbacks(callback.ProgressBar()).fit(X, y)
    assert search.best_params_["loss__gamma"] in (1.0, 2.0)


def test_deferred_reweighting_sets_in_late(rare):
    X, y = rare
    kw = {"max_iter": 6, "tol": 0.0, "random_state": 0, "shuffle": False}
    plain = MLPClassifier((4,), **kw).fit(X, y)
    weighted = MLPClassifier((4,), class_weight="balanced", **kw).fit(X, y)
    deferred = MLPClassifier((4,), class_weight="balanced", deferred_reweighting=0.5, **kw).fit(
        X, y
    )
    np.testing.assert_allclose(deferred.loss_curve_[:3], plain.loss_curve_[:3], rtol=1e-9)
    assert deferred.loss_curve_[3] != pytest.approx(plain.loss_curve_[3], rel=1e-3)
    assert deferred.loss_curve_[0] != pytest.approx(weighted.loss_curve_[0], rel=1e-3)
    assert DeferredReweighting(0.8).first_epoch(10) == 8


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rate_schedules(rare, schedule):
    X, y = rare
    rates = []

    class Watch(Callback):
        def on_epoch_begin(self, net, **kw):
            rates.append(net.optimizer_.lr)

    MLPClassifier(
        (4,),
        max_iter=4,
        tol=0.0,
        learning_rate=schedule,
        learning_rate_init=0.1,
        callbacks=[Watch()],
    ).fit(X, y)
    expected = (
        [0.1] * 4 if schedule == "constant" else 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4))
    )
    np.testing.assert_allclose(rates, expected)


# --- early stopping, interruptions, settings -------------------------------------------------


@pytest.mark.parametrize("scoring", [None, "average_precision", "f1"])
def test_early_stopping_restores_the_best_weights(rare, scoring):
    X, y = rare
    model = MLPClassifier(
        (8,), max_iter=60, early_stopping=True, validation_scoring=scoring, n_iter_no_change=3,
        learning_rate_init=0.05, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.n_iter_ < 60
    # the restored weights give the best score again
    again = []

    class Keep(Callback):
        def on_epoch_end(self, net, **kw):
            again.append(net.module_.flat.detach().clone())

    other = MLPClassifier(
        (8,), max_iter=60, early_stopping=True, validation_scoring=scoring, n_iter_no_change=3,
        learning_rate_init=0.05, random_state=0, callbacks=[Keep()],
    ).fit(X, y)  # fmt: skip
    best = int(np.argmax(other.validation_scores_))
    torch.testing.assert_close(other.net_.module_.flat.detach(), again[best].cpu())


def test_patience_is_longer_below_constant_probabilities(rare):
    def epochs(scores, floor, gain=0.0):
        validation = SimpleNamespace(scores=[], best_before=-np.inf, best_score=-np.inf)
        net = SimpleNamespace(epoch={"train_loss": 1.0})
        patience = Patience(0.0, 2, validation=validation, floor=floor, gain=gain, gain_from=-0.6)
        for score in scores:
            validation.scores.append(score)
            validation.best_before = validation.best_score
            validation.best_score = max(validation.best_score, score)
            try:
                patience.on_epoch_end(net)
            except StopTraining:
                break
        return patience.epoch

    falling = [-0.6, *np.linspace(-0.7, -0.8, 11)]
    assert epochs(falling, -np.inf) == epochs(falling, -0.6) == 4  # one, and two more are borne
    assert epochs(falling, -0.5) == 8  # one, and six more are borne
    assert epochs([-0.6, -0.7, -0.7, -0.7, -0.4, *[-0.45] * 9], -0.5) == 8  # above it two again

    # small improvements add up over the epochs that are borne; what is too small in all of them ends training
    slowly = -0.5 + 0.004 * np.arange(20)
    assert epochs(slowly, -np.inf, 0.01) == 20
    assert epochs(slowly, -np.inf, 0.02) == 4
    assert epochs([-0.5, -0.499, -0.48, *[-0.4799] * 9], -np.inf, 0.01) == 6

    X, y = rare
    model = MLPClassifier((4,), max_iter=2, early_stopping=True, tol=0, random_state=0).fit(X, y)
    weight = np.linspace(0.5, 1.5, len(y))
    prior = np.bincount(y) / len(y)
    held = SimpleNamespace(code=y, sample_weight=weight)
    constant = -log_loss(y, np.tile(prior, (len(y), 1)), sample_weight=weight)
    assert model._validation_floor(held) == pytest.approx(constant, abs=0.01)
    model.validation_scoring = "average_precision"
    assert model._validation_floor(held) == -np.inf


def test_early_stopping_with_names_of_features_and_weights(rare):
    pd = pytest.importorskip("pandas")
    X, y = rare
    X = pd.DataFrame(X, columns=[f"f{i}" for i in range(10)])
    w = np.random.default_rng(0).random(600)
    model = MLPClassifier(
        (4,), max_iter=3, early_stopping=True, validation_scoring="average_precision"
    ).fit(X, y, sample_weight=w)
    assert len(model.validation_scores_) == 3
    assert model.feature_names_in_.tolist() == X.columns.tolist()


class Interrupt(Callback):
    def __init__(self, at):
        self.at = at

    def on_epoch_begin(self, net, **kw):
        if len(net.history) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupted_fit_stays_usable_and_says_so(rare, solver, early):
    X, y = rare
    model = MLPClassifier(
        (4,), solver=solver, max_iter=50, early_stopping=early and solver == "adam",
        callbacks=[Interrupt(4)], random_state=0, learning_rate_init=0.05,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="interrupted by user after 3 complete epochs"):
        model.fit(X, y)
    assert model.n_iter_ == 3
    assert np.isfinite(model.predict_proba(X)).all()
    assert model.score(X, y) > 0.5


def test_fits_repeat_under_random_state_and_leave_the_global_one(rare):
    X, y = rare

    def dropout_net(n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 8), nn.Dropout(0.5), nn.Linear(8, n_outputs))

    for make in (
        lambda: MLPClassifier((4,), max_iter=3, random_state=3),
        lambda: MLPClassifier((4,), max_iter=3, random_state=3, sampler=ClassPowerSampler(0.0)),
        lambda: MLPClassifier((4,), max_iter=3, random_state=3, loss=AnyLoss(), batch_size=50),
        lambda: NeuralNetClassifier(dropout_net, max_iter=3, random_state=3),
    ):
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        a = make().fit(X, y).predict_proba(X)
        assert torch.equal(torch.rand(3), expected), "fit moved torch's global random state"
        np.testing.assert_array_equal(a, make().fit(X, y).predict_proba(X))


def test_settings_are_borrowed_and_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with small_batch_settings(one_thread=True):
            assert torch.get_num_threads() == 1
            assert (torch.tensor([1e-40]) * torch.ones(1)).item() == 0.0
            with small_batch_settings(one_thread=True):
                pass
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        assert (torch.tensor([1e-40]) * torch.ones(1)).item() > 0.0
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_cuda_is_a_clear_error(rare):
    X, y = rare
    with pytest.raises(ValueError, match="no CUDA device"):
        MLPClassifier(device="cuda").fit(X, y)
    with pytest.raises(ValueError, match="no CUDA device"):
        MLPClassifier(device="cuda:1").fit(X, y)
    for unknown in ("tpu", "cuda:", "cuda:-1", "cuda:x"):
        with pytest.raises(ValueError, match="is unknown; use 'cpu', 'cuda'"):
            MLPClassifier(device=unknown).fit(X, y)
    assert resolve_device("auto").type == "cpu"
    assert MLPClassifier((4,), device="auto", max_iter=2).fit(X, y).predict(X).shape == (600,)


def reachable(model):
    """Shapes of all tensors that a fitted model holds, wherever they lie in it."""
    seen, waiting, shapes = set(), [model], []
    while waiting:
        this = waiting.pop()
        if id(this) in seen or isinstance(this, (type, ModuleType)):
            continue
        seen.add(id(this))
        if isinstance(this, FunctionType):  # what it captured, not the names of its module
            waiting += [cell.cell_contents for cell in this.__closure__ or ()]
            continue
        if isinstance(this, torch.Tensor):
            shapes.append(tuple(this.shape))
        waiting += gc.get_referents(this)
    return shapes


@pytest.mark.parametrize("params", [{}, {"early_stopping": True}, {"loss": LogitAdjusted()}])
def test_a_fitted_model_holds_its_parameters_alone(rare, params):
    X, y = rare
    model = MLPClassifier((8,), max_iter=3, random_state=0, **params).fit(X, y)
    flat = model.net_.module_.flat
    assert set(reachable(model.net_)) <= {tuple(flat.shape), ()}
    bound = model._head.bound
    bound.cached(torch.zeros(1), "a number", lambda: torch.zeros(1))
    bound.to("cpu")
    assert "_constants" not in vars(bound)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mixed", [False, True])
def test_models_fitted_on_the_gpu_live_on_the_cpu(rare, mixed, allocated):
    X, y = rare
    before = allocated()
    model = MLPClassifier((8,), device="cuda", mixed_precision=mixed, max_iter=20, random_state=0)
    model.fit(X.astype(np.float32), y)
    assert model.net_.module_.flat.device.type == "cpu"
    assert allocated() == before
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    cpu = MLPClassifier((8,), max_iter=20, random_state=0).fit(X.astype(np.float32), y)
    tolerance = 0.1 if mixed else 1e-3
    assert np.abs(cpu.predict_proba(X) - model.predict_proba(X)).max() < tolerance


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_lbfgs_on_the_gpu_reaches_the_same_minimum(rare):
    X, y = rare
    kw = {"solver": "lbfgs", "max_iter": 200, "random_state": 0}
    here, there = (
        MLPClassifier((), alpha=0.1, device=device, **kw).fit(X, y) for device in ("cpu", "cuda")
    )
    assert there.loss_ == pytest.approx(here.loss_, rel=1e-6)
    np.testing.assert_allclose(there.predict_proba(X), here.predict_proba(X), atol=1e-4)


def test_solvers_reach_similar_losses(rare):
    X, y = rare
    found = {}
    for solver in ("adam", "adamw", "sgd", "muon", "lbfgs"):
        rate = 0.1 if solver == "sgd" else 0.01
        model = MLPClassifier(
            (8, 8), solver=solver, learning_rate_init=rate, max_iter=100, random_state=0
        ).fit(X, y)
        found[solver] = model.score(X, y)
    assert min(found.values()) > 0.93, found


def test_lbfgs_finds_the_logistic_optimum(rare):
    from sklearn.linear_model import LogisticRegression

    from skimb.linear_model import LinearClassifier

    X, y = rare
    ours = LinearClassifier(alpha=1 / 600, tol=1e-8, max_iter=1000).fit(X, y)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-4)
    sparse_fit = LinearClassifier(alpha=1 / 600, tol=1e-8, max_iter=1000).fit(
        sparse.csr_matrix(X), y
    )
    np.testing.assert_allclose(sparse_fit.coef_, theirs.coef_, rtol=1e-4, atol=1e-6)


def test_lbfgs_says_when_it_has_not_converged(rare):
    X, y = rare
    with pytest.warns(ConvergenceWarning, match="without converging"):
        MLPClassifier((8,), solver="lbfgs", max_iter=2).fit(X, y)


def test_first_fit_in_a_fresh_process_does_not_import_dynamo():
    code = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from skimb.neural_network import MLPClassifier
MLPClassifier((4,), max_iter=2).fit(np.random.rand(50, 3), np.arange(50) % 2)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def trained_losses(task):
    """Every loss; the one that means nothing alone has cross-entropy beside it, two have what fits the rows."""
    special = {
        SupervisedContrastive: Mixed(SupervisedContrastive(), 0.5),
        NonNegativePU: NonNegativePU(0.05),  # few positives among the rows that are not of class 1
        RecallAtBudget: RecallAtBudget(0.3),
    }
    return [special.get(cls, cls()) for cls in all_losses(task)]


@pytest.mark.parametrize("loss", trained_losses("binary"), ids=repr)
def test_every_loss_trains(rare, loss):
    X, y = rare
    model = MLPClassifier(
        (8,), loss=loss, max_iter=80, learning_rate_init=0.01, batch_size=200, random_state=0
    ).fit(X, y)
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(y, model.decision_function(X)) > 0.93
    if (
        type(loss).__name__ != "AUCMargin"
    ):  # its scores keep within a margin: the order is what counts
        assert 0.02 < model.predict(X).mean() < 0.5


@pytest.mark.parametrize("loss", trained_losses("multiclass"), ids=repr)
def test_every_loss_trains_on_three_classes(three, loss):
    X, y = three
    model = MLPClassifier(
        (16,), loss=loss, max_iter=150, learning_rate_init=0.01, batch_size=200, random_state=0
    ).fit(X, y)
    assert model.score(X, y) > 0.8
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(1), 1.0)


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), LogitAdjusted(), AnyLoss(), MannWhitney()], ids=repr
)
def test_autograd_step_takes_every_kind_of_loss(rare, loss):
    X, y = rare
    model = NeuralNetClassifier(
        loss=loss, max_iter=30, learning_rate_init=0.01, random_state=0
    ).fit(X, y)
    assert model.score(X, y) > 0.85


def test_autograd_step_keeps_shared_and_frozen_parameters():
    shared = nn.Linear(4, 4)
    module = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 1))
    module[3].bias.requires_grad_(False)
    bound = CrossEntropy().bind(ClassPrior([5, 5]))
    backend = ModuleBackend(module)
    step = Step(backend, bound, Adam(backend.parameters, lr=0.1, decayed=backend.decayed))
    bias = module[3].bias.clone()
    step(Batch(torch.randn(8, 4), Target(torch.ones(8))))
    assert module[0].weight is module[2].weight
    assert torch.equal(module[3].bias, bias)
    assert sum(p.numel() for p in backend.parameters) == 4 * 4 + 4 + 4


def test_training_data_is_a_data_set():
    data = TrainingData(torch.zeros(3, 2), Target(torch.zeros(3)))
    assert len(data) == 3
    assert data[1][0].shape == (2,)
