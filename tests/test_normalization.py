"""Normalised hidden layers: exact gradients, shares of classes and tasks, running means, refusals."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from torch import nn

from skimb.engine.chain import RowShares
from skimb.engine.chain_nets import NetChain, infer
from skimb.model_selection import batched_fits
from skimb.nets import MLP
from skimb.neural_network import MLPClassifier

KINDS = ["batch", "class_balanced", "adaptive"]


@pytest.fixture(scope="module")
def rare():
    return make_classification(
        300, 8, n_informative=5, n_classes=3, weights=[0.7, 0.2], random_state=0
    )


def net(kind, activation="tanh", head="linear"):
    module = MLP([6, 8, 5, 3], activation, dtype=torch.float64, normalization=kind, head=head)
    return module.reset(np.random.RandomState(0))


def rows(n=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 6, dtype=torch.float64, generator=generator)
    return X, torch.randn(n, 3, dtype=torch.float64, generator=generator)


def by_autograd(module, X, shares, act):
    weights, biases = module.split(module.flat)
    a = X
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        u = a @ w[0]
        mean = shares @ u
        var = shares @ (u - mean) ** 2
        a = act((u - mean) / (var + 1e-5).sqrt() + b[0])
    return a @ weights[-1][0] + biases[-1][0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
def test_gradients_are_those_of_autograd(kind, activation):
    module = net(kind, activation)
    X, d = rows()
    groups = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    chain = NetChain(module, 12, groups=None if kind == "batch" else groups)
    chain.rows = torch.arange(12)
    with torch.no_grad():
        z = chain.forward(X)
    act = {"identity": lambda a: a, "relu": torch.relu, "tanh": torch.tanh, "logistic": torch.sigmoid}[activation]  # fmt: skip
    wanted = by_autograd(module, X, chain.shares.weights, act)
    torch.testing.assert_close(z, wanted.detach(), rtol=1e-11, atol=1e-12)
    (grad,) = torch.autograd.grad(wanted, module.flat, d)
    with torch.no_grad():
        chain.backward(d)
    torch.testing.assert_close(module.flat.grad, grad, rtol=1e-9, atol=1e-11)


def test_equal_shares_are_batch_normalisation():
    module, X = net("batch", "identity"), rows(20)[0]
    reference = nn.BatchNorm1d(8, affine=False, dtype=torch.float64)
    chain = NetChain(module, 20)
    weights, biases = module.split(module.flat.detach())
    for seed in range(3):
        X = rows(20, seed)[0]
        with torch.no_grad():
            chain.forward(X)
            wanted = reference(X @ weights[0][0]) + biases[0][0]
        torch.testing.assert_close(chain.first.out, wanted)
    torch.testing.assert_close(module.running[0, :8], reference.running_mean)
    # torch's running variance divides by n - 1
    moved = (reference.running_var - 0.9**3) * 19 / 20 + 0.9**3
    torch.testing.assert_close(module.running[1, :8], moved)
    assert float(module.rate) == pytest.approx(0.1)


def test_shares_of_classes_and_of_tasks():
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    equal = RowShares(net("class_balanced"), groups)
    equal.take(7, torch.arange(7))
    torch.testing.assert_close(
        equal.weights, torch.tensor([1 / 12] * 4 + [1 / 6] * 2 + [1 / 3], dtype=torch.float64)
    )
    equal.take(4, torch.tensor([0, 1, 4, 0]))  # an absent class has no share
    assert float(equal.weights.sum()) == pytest.approx(1.0)
    assert float(equal.weights[2]) == pytest.approx(0.5)
    tasks = RowShares(net("adaptive"), groups)
    tasks.take(7, torch.arange(7))
    mass = np.array([5, 3, 2]) / 10
    wanted = (mass / [4, 2, 1])[groups.numpy()]
    np.testing.assert_allclose(tasks.weights.numpy(), wanted)
    one = RowShares(net("adaptive"), torch.zeros(5, dtype=torch.int64))
    one.take(5, torch.arange(5))
    np.testing.assert_allclose(one.weights, 0.2)


def test_the_rate_of_running_means_falls_to_its_limit():
    shares, found = RowShares(net("adaptive"), torch.zeros(2, dtype=torch.int64)), []
    for _ in range(300):
        shares.take(2, torch.tensor([0, 1]))
        found.append(shares.rate)
    np.testing.assert_allclose(
        found[:6], [0.3162, 0.2500, 0.2086, 0.1802, 0.1596, 0.1440], atol=5e-5
    )
    assert found[-1] == pytest.approx(1 - 0.9**0.5, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", ["linear", "cosine", "etf"])
def test_predictions_use_running_means_and_what_was_fitted_stays(rare, kind, head):
    X, y = rare
    model = MLPClassifier(
        (10, 6), normalization=kind, head=head, max_iter=30, tol=0, random_state=0,
        learning_rate_init=0.01, batch_size=50,
    ).fit(X, y)  # fmt: skip
    assert model.score(X, y) > 0.85
    p = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X[:1]), p[:1])
    module = model.net_.module_
    torch.testing.assert_close(module(torch.from_numpy(X)), infer(module, X))
    model.set_params(normalization=None)
    np.testing.assert_array_equal(model.predict_proba(X), p)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), p)
    np.testing.assert_array_equal(
        again.partial_fit(X, y).predict_proba(X), model.partial_fit(X, y).predict_proba(X)
    )


def test_tasks_are_calls_that_first_held_a_class(rare):
    X, y = rare
    model = MLPClassifier((6,), normalization="adaptive", random_state=0)
    model.partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    assert model._task_of_class.tolist() == [0, 0, -1]
    model.partial_fit(X, y)
    assert model._task_of_class.tolist() == [0, 0, 1]
    model.fit(X, y)
    assert model._task_of_class.tolist() == [0, 0, 0]


def test_early_stopping_keeps_the_running_means_of_the_best_weights(rare):
    X, y = rare
    model = MLPClassifier(
        (6,), normalization="class_balanced", early_stopping=True, max_iter=40, random_state=0,
        learning_rate_init=0.02, n_iter_no_change=5,
    ).fit(X, y)  # fmt: skip
    assert model.score(X, y) > 0.8


def test_such_nets_are_trained_alone(rare):
    X, y = rare
    base = MLPClassifier((6,), normalization="class_balanced", max_iter=3, tol=0, random_state=0)
    search = GridSearchCV(base, {"alpha": [0.0, 0.1]}, cv=2, scoring="neg_log_loss")
    alone = clone(search).fit(X, y).cv_results_["mean_test_score"]
    with batched_fits() as batch:
        together = clone(search).fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert max(batch.sizes, default=1) == 1


def test_a_batch_without_hidden_layer_or_numbers_is_refused(rare):
    X, y = rare
    with pytest.raises(ValueError, match="normalization='batch' is for hidden layers"):
        MLPClassifier((), normalization="batch").fit(X, y)
    with pytest.raises(ValueError, match=r"let it pass batch\.rows on"):
        RowShares(net("class_balanced"), torch.tensor([0, 1])).take(2)
