"""Schemes: other batches, other gradients, named state, weights to predict with; rows in several blocks."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from skorch.callbacks import Callback
from torch import nn

from skimb.engine import EngineNet
from skimb.engine.data import Blocks, TrainingData
from skimb.engine.module import ModuleBackend
from skimb.engine.optim import Adam
from skimb.engine.sampling import Order
from skimb.engine.step import Step
from skimb.linear_model import LinearClassifier
from skimb.losses import AdversarialCompSum, ClassPrior, CrossEntropy
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier, MLPRegressor, NeuralNetClassifier
from skimb.training import Batch, Mixup, RunningScheme, Scheme

KW = {"max_iter": 6, "tol": 0, "random_state": 0, "batch_size": 100}


class Mean(RunningScheme):
    """The running mean of the weights."""

    def __init__(self, module, rate):
        self.rate = rate
        self.mean = {k: v.clone() for k, v in module.state_dict().items()}
        self.updates = torch.zeros(())

    def after_update(self, batch, step):
        self.updates += 1
        for k, v in step.backend.module.state_dict().items():
            self.mean[k].lerp_(v, self.rate)

    def state(self):
        return {**self.mean, "updates": self.updates}

    def weights(self):
        return list(self.mean.values())


class MeanWeights(Scheme):
    def __init__(self, rate=0.05):
        self.rate = rate

    def start(self, module, data, seed):
        return Mean(module, self.rate)


class Watching(RunningScheme):
    numbered = True

    def __init__(self, data, seen):
        self.data, self.seen = data, seen

    def batch(self, batch, step):
        torch.testing.assert_close(batch.X, self.data.X[batch.rows])
        torch.testing.assert_close(batch.target.code, self.data.target.code[batch.rows])
        self.seen.append((batch.epoch, batch.rows.tolist()))
        return batch


class Watch(Scheme):
    """Notes epochs and row numbers in a list that all copies share."""

    seen: list = []

    def start(self, module, data, seed):
        self.seen.clear()
        return Watching(data, self.seen)


class Noise(RunningScheme):
    """Other batches: the rows with noise."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def batch(self, batch, step):
        noise = torch.randn(batch.X.shape, generator=self.generator, dtype=batch.X.dtype)
        return Batch(
            batch.X + noise.to(batch.X), batch.target, batch.weight, batch.rows, batch.epoch
        )


class Noisy(Scheme):
    def start(self, module, data, seed):
        return Noise(seed)


def mean_callback(rate=0.05):
    """The same running mean as a callback of skorch, which puts it in place when training ends."""

    class Average(Callback):
        def on_train_begin(self, net, **kwargs):
            self.mean = net.copied_weights()

        def on_batch_end(self, net, **kwargs):
            for mean, now in zip(self.mean, net.module_.state_dict().values(), strict=True):
                mean.lerp_(now, rate)

        def on_train_end(self, net, **kwargs):
            net.set_weights(self.mean)

    return Average()


MODELS = [
    lambda **kw: MLPClassifier((8,), **KW, **kw),
    lambda **kw: NeuralNetClassifier(**KW, **kw),
    lambda **kw: LinearClassifier(solver="adam", **KW, **kw),
    lambda **kw: MLPRegressor(hidden_layer_sizes=(8,), **KW, **kw),
]


@pytest.mark.parametrize("make", MODELS)
def test_a_scheme_offers_the_weights_to_predict_with(rare, make):
    X, y = rare
    plain = make().fit(X, y)
    mean = make(scheme=MeanWeights()).fit(X, y)
    called = make(callbacks=[mean_callback()]).fit(X, y)
    of = "decision_function" if hasattr(plain, "decision_function") else "predict"
    found, wanted = getattr(mean, of)(X), getattr(called, of)(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert not np.allclose(found, getattr(plain, of)(X))
    np.testing.assert_allclose(mean.loss_curve_, plain.loss_curve_)  # training itself is the same


def test_early_stopping_scores_and_keeps_the_offered_weights(rare):
    X, y = rare
    scores = []

    def scorer(estimator, rows, y):
        scores.append(estimator.decision_function(X))
        return float(len(scores) < 2)  # best in the first epoch

    kw = {"early_stopping": True, "validation_scoring": scorer}
    model = MLPClassifier((8,), scheme=MeanWeights(), **KW, **kw).fit(X, y)
    np.testing.assert_array_equal(model.decision_function(X), scores[0])
    seen = scores.copy()
    scores.clear()
    plain = MLPClassifier((8,), **KW, **kw).fit(X, y)
    np.testing.assert_allclose(plain.loss_curve_, model.loss_curve_)
    assert not np.array_equal(seen[0], scores[0])


def test_a_callback_that_averages_weights_acts_under_early_stopping(rare):
    X, y = rare
    kw = {"early_stopping": True, **KW}
    plain = MLPClassifier((8,), **kw).fit(X, y)
    mean = MLPClassifier((8,), callbacks=[mean_callback()], **kw).fit(X, y)
    assert not np.allclose(plain.decision_function(X), mean.decision_function(X))
    alone = MLPClassifier((8,), callbacks=[mean_callback()], **kw)
    with batched_fits():
        together = alone.fit(X, y)
    np.testing.assert_allclose(together.decision_function(X), mean.decision_function(X), rtol=1e-6)


def test_a_scheme_keeps_state_with_the_estimator(rare):
    X, y = rare
    model = MLPClassifier((8,), scheme=MeanWeights(), **KW)
    model.partial_fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.partial_fit(X, y)
        assert one._scheme_state["updates"] == 2 * 6
    np.testing.assert_array_equal(model.decision_function(X), again.decision_function(X))


def test_a_scheme_sees_the_numbers_of_rows_and_the_epoch(rare):
    X, y = rare
    MLPClassifier((8,), scheme=Watch(), **KW).fit(X, y)
    seen = Watch.seen
    assert sorted({epoch for epoch, _ in seen}) == list(range(6))
    for epoch in range(6):
        rows = [row for e, some in seen if e == epoch for row in some]
        assert sorted(rows) == list(range(len(y)))
    MLPClassifier((8,), scheme=Watch(), **{**KW, "shuffle": False}).fit(X, y)
    assert Watch.seen[0][1] == list(range(100))
    model = MLPClassifier((8,), scheme=Watch(), **KW)
    for epoch in range(3):
        model.partial_fit(X, y)
        assert {e for e, _ in Watch.seen} == {epoch}


def test_schemes_act_one_after_the_other(rare):
    X, y = rare
    noisy = MLPClassifier((8,), scheme=Noisy(), **KW).fit(X, y)
    both = MLPClassifier((8,), scheme=Noisy(), mix=Mixup(), **KW).fit(X, y)
    mixed = MLPClassifier((8,), mix=Mixup(), **KW).fit(X, y)
    curves = [m.loss_curve_ for m in (noisy, both, mixed)]
    assert not np.allclose(curves[0], curves[1])
    assert not np.allclose(curves[1], curves[2])
    attacked = AdversarialCompSum(eps=0.1, n_steps=2)
    one = MLPClassifier((8,), loss=attacked, **KW).fit(X, y)
    mean = MLPClassifier((8,), loss=attacked, scheme=MeanWeights(), **KW).fit(X, y)
    np.testing.assert_allclose(one.loss_curve_, mean.loss_curve_)
    assert not np.allclose(one.decision_function(X), mean.decision_function(X))


def test_schemes_are_parameters_and_train_alone(rare):
    X, y = rare
    model = MLPClassifier((8,), scheme=MeanWeights(), **KW)
    assert model.set_params(scheme__rate=0.5).get_params()["scheme__rate"] == 0.5
    alone = model.fit(X, y).decision_function(X)
    with batched_fits() as batch:
        together = model.fit(X, y).decision_function(X)
    assert batch.sizes == []
    np.testing.assert_array_equal(alone, together)
    with pytest.raises(ValueError, match="scheme=MeanWeights"):
        LinearClassifier(scheme=MeanWeights()).fit(X, y)
    with pytest.raises(ValueError, match="'scheme' parameter"):
        MLPClassifier(scheme="mean").fit(X, y)
    thin = MLPClassifier((8,), scheme=MeanWeights(), hidden_scale=1.0, **KW)
    assert thin.fit(sparse.csr_matrix(X), y).n_iter_ == 6


# --- rows in several blocks ------------------------------------------------------------------


class Embedding(nn.Module):
    """Numbers as they are, codes of categories through a table."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 3)
        self.out = nn.Linear(4 + 3, 1)

    def forward(self, rows):
        return self.out(torch.cat([rows["numbers"], self.table(rows["codes"])], 1))


@pytest.mark.parametrize("every_class", [False, True])
def test_a_module_trains_on_numbers_and_codes(every_class):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(7, (300,), generator=generator)
    numbers = torch.randn(300, 4, generator=generator)
    y = (codes % 2 == 0).long()  # the categories tell all
    X = Blocks(numbers=numbers, codes=codes)
    bound = CrossEntropy().bind(ClassPrior.of(y.numpy()))
    torch.manual_seed(0)
    module = Embedding()
    backend = ModuleBackend(module)
    step = Step(backend, bound, Adam(backend.parameters, lr=0.05))
    order = Order(300, 64, generator, classes=y.numpy(), every_class=every_class)
    net = EngineNet(module, criterion=bound, step=step, order=order, max_epochs=20).initialize()
    data = TrainingData(X, bound.encode(y, torch.zeros(300)))
    net.partial_fit(data)
    losses = [epoch["train_loss"] for epoch in net.history]
    assert losses[-1] < 0.05 < losses[0]
    with torch.no_grad():
        scores = module({"numbers": numbers, "codes": codes}).squeeze(1)
    assert ((scores > 0) == (y == 1)).float().mean() > 0.99
    with pytest.raises(ValueError, match="same number of rows"):
        Blocks(numbers=numbers, codes=codes[:10])
