"""Callbacks of skorch in fits: each acts, or is refused in one sentence before training."""

import warnings

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    TrainEndCheckpoint,
    Unfreezer,
)
from torch import nn

from skimb.losses import AnyLoss
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier, NeuralNetClassifier, TabMClassifier
from skimb.training import ClassPowerSampler

KW = {"max_iter": 6, "tol": 0, "random_state": 0, "batch_size": 100}
MODELS = [
    lambda **kw: MLPClassifier((4,), **{**KW, **kw}),
    lambda **kw: NeuralNetClassifier(**{**KW, **kw}),
]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("early", [False, True])
def test_callbacks_that_watch_and_change_training_act(rare, make, early, tmp_path, capsys):
    X, y = rare
    callbacks = [
        ProgressBar(),
        PrintLog(),
        LRScheduler("StepLR", step_size=2, gamma=0.1),
        GradientNormClipping(0.1),
        EarlyStopping(monitor="train_loss", patience=20),
        Checkpoint(monitor="train_loss_best", dirname=str(tmp_path / "loss")),
        TrainEndCheckpoint(dirname=str(tmp_path / "end")),
    ]
    if early:
        callbacks.append(Checkpoint(monitor="valid_score_best", dirname=str(tmp_path / "score")))
        callbacks.append(EarlyStopping(monitor="valid_score", patience=20, lower_is_better=False))
    model = make(callbacks=callbacks, early_stopping=early)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert model.n_iter_ == 6
    assert (tmp_path / "loss" / "params.pt").exists()
    assert (tmp_path / "end" / "train_end_params.pt").exists()
    assert (tmp_path / "score").exists() == early
    last = torch.load(tmp_path / "end" / "train_end_params.pt")
    for name, tensor in model.net_.module_.state_dict().items():
        torch.testing.assert_close(tensor, last[name])
    assert "train_loss" in capsys.readouterr().out
    assert model.history_[0]["train_loss_best"]


@pytest.mark.parametrize("make", MODELS)
def test_clipping_initialising_and_scheduling_change_the_weights(rare, make):
    X, y = rare
    plain = make().fit(X, y).decision_function(X)
    for callback in (
        GradientNormClipping(1e-3),
        LRScheduler("StepLR", step_size=1, gamma=0.1),
        Initializer("*", fn=lambda p: torch.nn.init.constant_(p, 0.01)),
    ):
        assert not np.allclose(make(callbacks=[callback]).fit(X, y).decision_function(X), plain)


@pytest.mark.parametrize("make", MODELS)
def test_early_stopping_of_skorch_stops_on_what_is_recorded(rare, make):
    X, y = rare
    stop = EarlyStopping(monitor="valid_score", patience=2, threshold=10.0, threshold_mode="abs", lower_is_better=False, sink=lambda *a: None)  # fmt: skip
    assert make(callbacks=[stop], early_stopping=True, max_iter=20).fit(X, y).n_iter_ < 5
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0, threshold_mode="abs", sink=lambda *a: None)  # fmt: skip
    assert make(callbacks=[stop], max_iter=20).fit(X, y).n_iter_ < 5


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    ("callback", "cure"),
    [
        (EpochScoring("f1", lower_is_better=False), "validation_scoring"),
        (BatchScoring("f1"), "validation_scoring"),
        (PassthroughScoring("train_loss"), "validation_scoring"),
        (Freezer("*"), "requires_grad"),
        (Unfreezer("*"), "requires_grad"),
        (InputShapeSetter(), "n_features"),
        (EarlyStopping(), "monitor='train_loss'"),
        (EarlyStopping(monitor="valid_score"), "early_stopping=True"),
        (Checkpoint(), "monitor='train_loss'"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_callbacks_that_cannot_act_are_refused(rare, make, callback, cure):
    X, y = rare
    with pytest.raises(ValueError, match=cure) as refusal:
        make(callbacks=[callback]).fit(X, y)
    assert type(callback).__name__ in str(refusal.value)
    with batched_fits(), pytest.raises(ValueError, match=cure):
        make(callbacks=[("named", callback)]).fit(X, y)


@pytest.mark.parametrize("make", [*MODELS, lambda **kw: TabMClassifier(2, 4, **kw)])
@pytest.mark.parametrize("given", [3, ("name", 3), ("name", EarlyStopping(), 1)])
def test_what_is_no_callback_is_named(rare, make, given):
    with pytest.raises(TypeError, match="callbacks must list skorch callbacks or pairs"):
        make(callbacks=[given]).fit(*rare)


def test_batches_are_shown_with_their_scores(rare):
    X, y = rare

    class Look(Callback):
        def on_batch_end(self, net, batch, training, loss, y_pred, **kwargs):
            rows, code = batch
            assert training
            assert len(rows) == len(code) == len(y_pred)
            seen.append(float(loss))

    seen = []
    model = MLPClassifier((4,), callbacks=[Look()], **KW).fit(X, y)
    mean = np.array(seen).reshape(6, -1).mean(1)
    np.testing.assert_allclose(mean, model.loss_curve_)


@pytest.mark.filterwarnings("ignore:Got `batch_size`:UserWarning")
def test_modules_with_batch_normalisation_take_any_number_of_rows(rare):
    X, y = rare

    def net(n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 4), nn.BatchNorm1d(4), nn.Linear(4, n_outputs))

    model = NeuralNetClassifier(net, **KW)
    for n in (301, 300, 101, 2):
        at = np.r_[np.flatnonzero(y == 1)[:1], np.flatnonzero(y == 0)[: n - 1]]
        assert np.isfinite(model.fit(X[at], y[at]).predict_proba(X)).all()
    with pytest.raises(ValueError, match="at least 2 rows"):
        model.partial_fit(X[:1], y[:1], classes=[0, 1])


def test_a_sampler_and_batches_of_every_class_fill_no_buffer_too_small():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 5)), (np.arange(80) % 4 == 0).astype(int)
    for sampler in (ClassPowerSampler(), ClassPowerSampler(1.0), ClassPowerSampler(0.5, 0.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            MLPClassifier((5,), loss=AnyLoss(), sampler=sampler, batch_size=32, tol=9, n_iter_no_change=1, random_state=0).fit(X, y)  # fmt: skip
