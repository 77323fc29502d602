"""Embeddings scattered over the sphere: the term, and the scheme that adds it to a loss."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import normalize

from skimb import functional
from skimb.losses import BalancedMSE, BalancedSoftmax
from skimb.neural_network import MLPClassifier, MLPRegressor
from skimb.training import Scattering

KW = {"max_iter": 8, "tol": 0.0, "random_state": 0}


def embeddings(n=9, d=4, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_mean_distance_with_its_sign_changed():
    f = embeddings()
    z = normalize(f, dim=1)
    loss = functional.scattering(f)
    to_centre = ((z - z.mean(0)) ** 2).sum(1).mean()
    between = 0.5 * torch.cdist(z, z).square().mean()
    torch.testing.assert_close(loss, -to_centre)
    torch.testing.assert_close(loss, -between)
    turn = torch.linalg.qr(embeddings(4, 4, 1))[0]
    torch.testing.assert_close(functional.scattering(f @ turn), loss)


def test_two_opposite_points_are_enough_for_the_mean_and_not_for_uniformity():
    two = torch.tensor([[1.0, 0.0], [-3.0, 0.0]] * 4, dtype=torch.float64)
    ring = torch.tensor([[np.cos(a), np.sin(a)] for a in 2 * np.pi * np.arange(8) / 8])
    one = torch.ones(8, 2, dtype=torch.float64)
    assert functional.scattering(two).item() == pytest.approx(-1.0)
    assert functional.scattering(ring).item() == pytest.approx(-1.0)
    assert functional.scattering(one).item() == pytest.approx(0.0)
    uniform = [functional.scattering(f, kind="uniformity").item() for f in (ring, two, one)]
    assert uniform[0] < uniform[1] < uniform[2]
    assert uniform[2] == pytest.approx(0.0)


@pytest.mark.parametrize("kind", ["mean", "uniformity"])
@pytest.mark.parametrize("weight", [None, torch.tensor([1, 2, 3, 1, 1, 0, 2, 1, 1])])
def test_gradients_are_derivatives(kind, weight):
    f = embeddings().requires_grad_()
    torch.autograd.gradcheck(lambda f: functional.scattering(f, kind=kind, weight=weight), (f,))
    f.grad = None
    functional.scattering(f, kind=kind, weight=weight).backward()
    assert (f.grad * f.detach()).sum(1).abs().max() < 1e-12  # lengths do not matter


def test_weights_of_the_mean_are_repetitions():
    f = embeddings(3)
    often = torch.tensor([1, 2, 3])
    torch.testing.assert_close(
        functional.scattering(f, weight=often), functional.scattering(f.repeat_interleave(often, 0))
    )


@pytest.mark.parametrize("kind", ["mean", "uniformity"])
def test_rows_without_direction_and_single_rows(kind):
    f = torch.zeros(3, 2, dtype=torch.float64).requires_grad_()
    functional.scattering(f, kind=kind).backward()
    assert torch.equal(f.grad, torch.zeros_like(f))
    one = embeddings(1).requires_grad_()
    functional.scattering(one, kind=kind).backward()
    assert one.grad.abs().max() < 1e-15


def hidden(model, X):
    return np.tanh(X @ model.coefs_[0] + model.intercepts_[0])


def spread(model, X, y=None):
    z = normalize(torch.from_numpy(hidden(model, X)), dim=1).numpy()
    if y is None:
        return 1.0 - np.sum(z.mean(0) ** 2)
    return 1.0 - np.sum(np.mean([z[y == k].mean(0) for k in np.unique(y)], 0) ** 2)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5)) + 1.5
    return X, (X[:, 0] + rng.normal(size=400) > 3.0).astype(int)


def test_without_weight_the_net_is_the_plain_one(rows):
    X, y = rows
    plain = MLPClassifier((8,), "tanh", loss=BalancedSoftmax(), **KW).fit(X, y)
    same = MLPClassifier((8,), "tanh", loss=BalancedSoftmax(), scheme=Scattering(0.0), **KW).fit(
        X, y
    )
    np.testing.assert_allclose(same.predict_proba(X), plain.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "uniformity"])
def test_embeddings_are_scattered_beside_the_loss(rows, kind):
    X, y = rows
    kw = {**KW, "max_iter": 40, "learning_rate_init": 0.005}
    plain = MLPClassifier((8,), "tanh", loss=BalancedSoftmax(), **kw).fit(X, y)
    model = MLPClassifier(
        (8,), "tanh", loss=BalancedSoftmax(), scheme=Scattering(1.0, kind), **kw
    ).fit(X, y)
    assert spread(model, X) > spread(plain, X) + 0.02
    assert roc_auc_score(y, model.predict_proba(X)[:, 1]) > 0.6
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    weight = np.random.default_rng(0).integers(0, 3, 400)
    model.set_params(max_iter=2, early_stopping=True).fit(X, y, sample_weight=weight)


def test_classes_may_weigh_alike(rows):
    X, y = rows
    kw = {**KW, "max_iter": 60, "learning_rate_init": 0.005}
    found = {
        balanced: MLPClassifier((8,), "tanh", scheme=Scattering(5.0, class_balanced=balanced), **kw).fit(X, y)
        for balanced in (False, True)
    }  # fmt: skip
    assert spread(found[True], X, y) > spread(found[False], X, y)


def test_regressors_and_several_classes(rows):
    X, y = rows
    loss = BalancedMSE(learn_sigma=False)
    model = MLPRegressor(loss, (8,), "tanh", scheme=Scattering(0.5), **KW).fit(X, X[:, 0])
    assert np.isfinite(model.predict(X)).all()
    three = np.digitize(X[:, 0], [1.0, 2.0])
    MLPClassifier((8,), scheme=Scattering(class_balanced=True), **KW).fit(X, three)
    labels = np.column_stack([y, 1 - y, y])
    MLPClassifier((8,), scheme=Scattering(), **KW).fit(X, labels)
    for make, target in ((MLPClassifier, labels), (MLPRegressor, X[:, 0])):
        with pytest.raises(ValueError, match="needs exclusive classes"):
            make(hidden_layer_sizes=(8,), scheme=Scattering(class_balanced=True), **KW).fit(
                X, target
            )


def test_refusals(rows):
    X, y = rows
    with pytest.raises(ValueError, match="give the net a hidden layer"):
        MLPClassifier((), scheme=Scattering(), **KW).fit(X, y)
    with pytest.raises(ValueError, match="'weight' parameter of Scattering"):
        MLPClassifier((4,), scheme=Scattering(-1.0), **KW).fit(X, y)
    with pytest.raises(ValueError, match="no batches to act on"):
        MLPClassifier((4,), scheme=Scattering(), solver="lbfgs").fit(X, y)
