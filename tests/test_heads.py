"""Output layers of perceptrons that are cosines: exact gradients, geometry, populations, refusals."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.model_selection import GridSearchCV

from skimb.engine.chain_nets import NetChain, infer
from skimb.losses import AdversarialCompSum, InfluenceBalanced, LogitAdjusted
from skimb.model_selection import batched_fits
from skimb.nets import MLP
from skimb.neural_network import MLPClassifier

HEADS = ["cosine", "etf"]


def module(head, classes=4, activation="tanh"):
    net = MLP([6, 8, 5, classes], activation, dtype=torch.float64, head=head, scale=7.0)
    return net.reset(np.random.RandomState(0))


@pytest.fixture(scope="module")
def rows():
    return make_classification(
        300, 8, n_informative=5, n_classes=3, weights=[0.6, 0.3], random_state=0
    )


def model(head, **kw):
    return MLPClassifier((8,), head=head, **{"max_iter": 5, "tol": 0, "random_state": 0} | kw)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize(("head", "classes"), [("cosine", 1), ("cosine", 4), ("etf", 4)])
def test_gradients_are_those_of_autograd(head, classes, activation):
    net = module(head, classes, activation)
    with torch.no_grad():
        net.split(net.flat)[1][0].add_(0.3)
    X = torch.randn(11, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    d = torch.randn(11, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    z = net(X)
    (wanted,) = torch.autograd.grad(z, net.flat, d)
    chain = NetChain(net, 11)
    with torch.no_grad():
        scores = chain.forward(X)
        torch.testing.assert_close(scores, z.detach(), rtol=1e-12, atol=1e-12)
        chain.backward(d)
    torch.testing.assert_close(net.flat.grad, wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(infer(net, X), z.detach(), rtol=1e-12, atol=1e-12)


def test_cosines_do_not_depend_on_lengths():
    net = module("cosine", activation="identity")
    X = torch.randn(9, 6, dtype=torch.float64)
    with torch.no_grad():
        for bias in net.split(net.flat)[1]:
            bias.zero_()
        before = net(X)
        weights = net.split(net.flat)[0]
        weights[-1].mul_(torch.tensor([0.1, 2.0, 3.0, 40.0]))
        torch.testing.assert_close(net(5.0 * X), before)
    assert before.abs().max() <= 7.0


def test_vertices_are_a_simplex():
    """Features along a vertex score s for it and -s / (C - 1) for the others."""
    net = MLP([4, 4], dtype=torch.float64, head="etf", scale=7.0)
    C = 4
    with torch.no_grad():
        net.split(net.flat)[0][0].copy_(torch.eye(C, dtype=torch.float64))
    vertices = (C / (C - 1)) ** 0.5 * (torch.eye(C, dtype=torch.float64) - 1.0 / C)
    torch.testing.assert_close(vertices @ vertices.T, (C * torch.eye(C) - 1).double() / (C - 1))
    X = torch.randn(6, C, dtype=torch.float64)
    wanted = 7.0 * torch.nn.functional.normalize(X, dim=1) @ vertices
    torch.testing.assert_close(net(X).detach(), wanted)
    torch.testing.assert_close(infer(net, vertices), 7.0 * vertices @ vertices)


@pytest.mark.parametrize("head", HEADS)
def test_they_train_and_what_was_fitted_stays(rows, head):
    X, y = rows
    fitted = model(head, max_iter=60, learning_rate_init=0.01).fit(X, y)
    assert fitted.score(X, y) > 0.8
    p = fitted.predict_proba(X)
    np.testing.assert_allclose(p.sum(1), 1.0)
    assert np.abs(fitted.decision_function(X)).max() <= 16.0 + 1e-4
    if head == "cosine":
        assert (fitted.intercepts_[-1] == 0).all()
    fitted.set_params(head="linear", head_scale=1.0)
    np.testing.assert_array_equal(fitted.predict_proba(X), p)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), p)


@pytest.mark.parametrize("solver", ["adamw", "sgd", "muon", "lbfgs"])
@pytest.mark.parametrize("head", HEADS)
def test_every_solver_trains_them(rows, head, solver):
    X, y = rows
    X = sparse.csr_matrix(X * (np.abs(X) > 0.5)) if solver in {"sgd", "lbfgs"} else X
    kw = {"sgd": {"learning_rate_init": 0.1}}.get(solver, {"learning_rate_init": 0.01})
    fitted = model(head, solver=solver, max_iter=60, **kw).fit(X, y)
    assert fitted.score(X, y) > 0.7


@pytest.mark.parametrize("head", HEADS)
def test_populations_equal_single_fits(rows, head):
    X, y = rows
    grid = {"learning_rate_init": [0.01, 0.003], "alpha": [0.0, 0.1]}
    for cv in (2, 3):
        search = GridSearchCV(
            model(head, loss=LogitAdjusted()), grid, cv=cv, scoring="neg_log_loss", refit=False
        )
        alone = search.fit(X, y).cv_results_["mean_test_score"]
        with batched_fits() as batch:
            together = search.fit(X, y).cv_results_["mean_test_score"]
        np.testing.assert_allclose(together, alone, rtol=1e-9)
        assert max(batch.sizes) > 1
    own = GridSearchCV(model(head), {"learning_rate_init": [0.01]}, cv=3, scoring="neg_log_loss")
    alone = own.fit(X, y).best_score_
    with batched_fits() as batch:
        np.testing.assert_allclose(own.fit(X, y).best_score_, alone, rtol=1e-9)
    assert max(batch.sizes) > 1


def test_an_adversary_sees_cosines(rows):
    X, y = rows
    fitted = model("cosine", loss=AdversarialCompSum(eps=0.05, n_steps=2), max_iter=20).fit(X, y)
    assert fitted.score(X, y) > 0.6
    assert (fitted.intercepts_[-1] == 0).all()


def test_labels_and_two_classes_have_cosines():
    X, y = make_classification(200, 6, random_state=0)
    assert model("cosine", max_iter=40, learning_rate_init=0.01).fit(X, y).score(X, y) > 0.8
    X, y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    assert model("cosine").fit(X, y).predict_proba(X).shape == (200, 3)


def test_what_does_not_go_together_is_refused(rows):
    X, y = rows
    cases = [
        (model("etf"), X, (y > 0).astype(int), "head='etf'"),
        (model("etf"), X, np.eye(3, dtype=int)[y], "head='etf'"),
        (model("cosine").set_params(hidden_layer_sizes=()), X, y, "hidden_layer_sizes"),
        (model("cosine", linear_skip=True), sparse.csr_matrix(X), y, "linear_skip"),
        (model("cosine", loss=InfluenceBalanced()), X, y, "head='cosine'"),
    ]
    for estimator, data, target, name in cases:
        with pytest.raises(ValueError, match=name):
            estimator.fit(data, target)
