"""Populations on CUDA: where every tensor lies, checked without a device, and results where there is one."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

from skimb import kernels
from skimb._base.together import FitsTogether
from skimb.engine.data import Blocks
from skimb.engine.trainer import Trainer
from skimb.linear_model import LinearClassifier
from skimb.losses import AnyLoss, Asymmetric, CrossEntropy, Focal, LogitAdjusted
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier, NeuralNetClassifier, TabMClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LOSSES = [
    CrossEntropy(),
    Focal(gamma=1.0),
    Focal(gamma=2.0),
    LogitAdjusted(),
    AnyLoss(),
    Asymmetric(),
]


def rows():
    return make_classification(300, 5, weights=[0.8], random_state=0)


def stand_in(tensor):
    if isinstance(tensor, Blocks):
        return tensor.to("meta")
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def moved(jobs):
    """Prepared nets whose tensors are stand-ins on another device, without numbers."""
    X, target = stand_in(jobs[0][1].X), jobs[0][1].target.each(stand_in)
    dtype = jobs[0][0].step.optimizer.values[0].dtype
    weight = torch.empty(len(target), dtype=dtype, device="meta")
    for net, data in jobs:
        net.step.backend.module.to("meta")
        optimizer = net.step.optimizer
        optimizer.values = [stand_in(t) for t in optimizer.values]
        rule = optimizer.rule
        rule.state = [[stand_in(t) for t in slot] for slot in rule.state]
        rule.clocks = [stand_in(t) for t in rule.clocks]
        data.X, data.target = X, target
        data.weight = None if data.weight is None else weight
    return jobs


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["linear", "wide", "deep", "module"])
def test_an_epoch_mixes_no_devices(kind, shared):
    """Runs one epoch on stand-ins: an operation on tensors of two devices raises."""
    X, y = rows()
    kw = {"solver": "adamw", "batch_size": 64, "random_state": 0, "alpha": 0.01}
    make = {
        "linear": lambda: LinearClassifier(**kw),
        "wide": lambda: MLPClassifier((7,), **kw),
        "deep": lambda: MLPClassifier((7, 4), activation="tanh", **kw),
        "module": lambda: NeuralNetClassifier(**kw),
    }[kind]
    members = []
    for k, loss in enumerate(LOSSES):
        weight = "balanced" if k % 2 else None
        members.append(
            make().set_params(loss=loss, class_weight=weight, learning_rate_init=0.01 * (k + 1))
        )
    fits = FitsTogether(members, X, y, {}, 1 << 30)
    assert not fits.errors
    jobs = [(fit.net, fit.data) for fit in fits.fits.values()]
    with kernels.reference_only():
        trainer = Trainer(moved(jobs), shared)
        assert trainer.bank.P.device.type == "meta"
        # reading the losses comes after all steps of the epoch (of the first window, with own rows)
        with pytest.raises(NotImplementedError, match="meta tensor"):
            trainer._run_epoch()
        trainer.bank.scatter()


@pytest.mark.parametrize("products", [None, torch.bfloat16])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ensemble": "full", "embedding": "periodic", "dropout": 0.1},
        {"ensemble": "packed", "embedding": None},
    ],
    ids=["mini", "full", "packed"],
)
def test_an_epoch_of_ensembles_mixes_neither_devices_nor_types(params, products, monkeypatch):
    monkeypatch.setattr("skimb.neural_network._tabm_fold.products_type", lambda *_: products)
    X, y = rows()
    X = np.column_stack([X, np.digitize(X[:, 0], [0.0])])
    model = TabMClassifier(2, 8, **params, categorical_features=[5], batch_size=64, random_state=0)
    model.set_params(class_weight="balanced", validation_folds=2)
    new = {"new": True, "incremental": False}
    _, fits = model._prepare(*model._validate(X, y, new=True), **new)
    with kernels.reference_only():
        trainer = Trainer(moved([(fit.net, fit.data) for fit in fits]), shared=False)
        with pytest.raises(NotImplementedError, match="meta tensor"):
            trainer._run_epoch()
        trainer.bank.scatter()


def test_stand_ins_notice_a_mix():
    there = stand_in(torch.empty(2, 2))
    with pytest.raises(RuntimeError, match="device"):
        there + torch.empty(2, 2)
    with pytest.raises(RuntimeError, match="device"):
        torch.addmm(there[0], torch.empty(2, 2), there)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_members_on_cuda_equal_single_fits(hidden):
    X, y = rows()
    kw = {"batch_size": 64, "random_state": 0, "max_iter": 5, "device": "cuda", "tol": 0.0}
    model = MLPClassifier(hidden, **kw) if hidden else LinearClassifier(solver="adam", **kw)
    grid = {"loss": LOSSES, "learning_rate_init": [0.001, 0.01], "class_weight": [None, "balanced"]}
    with batched_fits() as batch:
        together = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss", refit=False).fit(X, y)
    alone = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss", refit=False).fit(X, y)
    found, wanted = (s.cv_results_["mean_test_score"] for s in (together, alone))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    assert sorted(batch.sizes) == [4, 4, 20, 20]
