"""Losses of bags: rows of which only the mean response of their bag is known."""

import pickle

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold

from skimb import functional
from skimb._core.bags import bag_means
from skimb.datasets import aggregate_responses
from skimb.engine.sampling import Order
from skimb.losses import InterpolatedBag
from skimb.metrics import bag_mean_squared_error
from skimb.neural_network import MLPRegressor

LINEAR = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.0, "max_iter": 2000, "tol": 1e-9}


def rows(n=240, size=4, seed=0, outputs=None):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    y = X @ [1.0, -2.0, 0.5, 0.0, 3.0] + 0.3 * rng.normal(size=n) + 1.0
    response, bags = aggregate_responses(y, size, random_state=seed)
    return X, y, response, bags


def batch(response="mean", shape=(12,), seed=0):
    rng = np.random.default_rng(seed)
    bags = torch.tensor([0, 0, 1, 2, 2, 2, 1, 3, 4, 4, 4, 4])
    per_bag = torch.from_numpy(rng.random((5, *shape[1:])))
    return (
        torch.from_numpy(2.0 * rng.normal(size=shape)),
        per_bag[bags],
        bags,
        torch.from_numpy(rng.random(12) + 0.1),
    )


@pytest.mark.parametrize("kind", ["mean", "rate"])
@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(12,), (12, 2)])
def test_the_loss_is_the_naive_formula_and_its_gradient(kind, rho, shape):
    f, y, bags, w = batch(kind, shape)
    for weight in (None, w):
        z = f.clone().requires_grad_()
        found = functional.interpolated_bag(z, y, bags, rho=rho, kind=kind, sample_weight=weight)
        (grad,) = torch.autograd.grad(found, z)
        v = torch.ones(12, dtype=torch.float64) if weight is None else weight
        x = f.clone().requires_grad_()
        out = torch.sigmoid(x) if kind == "rate" else x

        def row_loss(a, b):
            if kind == "mean":
                return 0.5 * (a - b) ** 2
            return -(b * a.log() + (1 - b) * (1 - a).log())

        total = 0.0
        for b in range(5):
            at = bags == b
            share = (v[at] / v[at].sum()).reshape(-1, *[1] * (len(shape) - 1))
            mean = (share * out[at]).sum(0)
            near, far = row_loss(mean, y[at][0]), (share * row_loss(out[at], y[at])).sum(0)
            total = total + v[at].sum() / v.sum() * ((1 - rho) * near + rho * far).mean()
        assert found.item() == pytest.approx(total.item(), rel=1e-10)
        torch.testing.assert_close(grad, torch.autograd.grad(total, x)[0], rtol=1e-8, atol=1e-10)


def test_the_loss_of_rows_is_that_of_bags_plus_the_variance_within():
    f, y, bags, _ = batch()
    value = [functional.interpolated_bag(f, y, bags, rho=rho).item() for rho in (0.0, 0.3, 1.0)]
    mean, _ = bag_means(bags.numpy(), None, f.numpy())
    within = np.mean((f.numpy() - mean[bags]) ** 2)
    np.testing.assert_allclose(value, value[0] + 0.5 * np.array([0.0, 0.3, 1.0]) * within)


@pytest.mark.parametrize("kind", ["mean", "rate"])
def test_bags_of_one_row_make_all_shares_equal(kind):
    f, _, _, w = batch()
    y = torch.rand(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = [functional.interpolated_bag(f, y, torch.arange(12), rho=rho, kind=kind, sample_weight=w).item() for rho in (0.0, 0.5, 1.0)]  # fmt: skip
    np.testing.assert_allclose(value, value[0], rtol=1e-12)


def test_weights_are_repetitions_and_the_order_within_bags_does_not_matter():
    f, y, bags, _ = batch("rate")
    times = torch.tensor([1, 2, 1, 3, 1, 2, 1, 1, 2, 1, 1, 1])
    for kind in ("mean", "rate"):
        weighted = functional.interpolated_bag(f, y, bags, kind=kind, sample_weight=times.double())
        parts = [part.repeat_interleave(times) for part in (f, y, bags)]
        assert functional.interpolated_bag(*parts, kind=kind).item() == pytest.approx(
            weighted.item(), rel=1e-12
        )
        order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
        moved = functional.interpolated_bag(f[order], y[order], bags[order], kind=kind)
        assert moved.item() == pytest.approx(
            functional.interpolated_bag(f, y, bags, kind=kind).item(), rel=1e-12
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [60.0, 1e4])
def test_rates_stay_finite_at_extreme_logits(dtype, size):
    f, y, bags, _ = batch("rate")
    z = (f.sign() * size).to(dtype).requires_grad_()
    value = functional.interpolated_bag(z, y, bags, kind="rate")
    (grad,) = torch.autograd.grad(value, z)
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()


# --- nets ------------------------------------------------------------------------------------


def closed_form(X, response, bags, rho):
    """Weights and intercept of the linear model by its normal equations."""
    A = np.c_[X, np.ones(len(X))]
    means, mass = bag_means(bags, None, A)
    H = (1 - rho) * (means.T * mass) @ means + rho * A.T @ A
    return np.linalg.solve(H, A.T @ response)


@pytest.mark.parametrize("rho", [0.0, 0.2, 1.0])
def test_a_linear_net_is_the_closed_form(rho):
    X, _, response, bags = rows()
    model = MLPRegressor(InterpolatedBag(rho), **LINEAR).fit(X, response, bags=bags)
    found = np.r_[model.coefs_[0].ravel(), model.intercepts_[0]]
    np.testing.assert_allclose(found, closed_form(X, response, bags, rho), atol=1e-4)


def test_all_of_the_share_is_squared_error_of_rows():
    X, _, response, bags = rows()
    kw = {
        "hidden_layer_sizes": (8,),
        "max_iter": 15,
        "tol": 0.0,
        "random_state": 0,
        "shuffle": False,
        "batch_size": 240,
    }
    plain = MLPRegressor(**kw).fit(X, response)
    model = MLPRegressor(InterpolatedBag(1.0), **kw).fit(X, response, bags=bags)
    np.testing.assert_allclose(model.predict(X), plain.predict(X), atol=1e-10)


def test_bags_may_have_any_labels_and_any_order():
    X, _, response, bags = rows()
    names = np.array([f"bag {b}" for b in bags])
    order = np.random.default_rng(1).permutation(len(X))
    model = MLPRegressor(InterpolatedBag(0.1), **LINEAR).fit(X, response, bags=bags)
    other = clone(model).fit(X[order], response[order], bags=names[order])
    np.testing.assert_allclose(other.coefs_[0], model.coefs_[0], atol=1e-5)


def test_more_features_than_bags_need_the_rows_or_a_penalty():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20))
    y = X @ rng.normal(size=20)
    response, bags = aggregate_responses(y, 6, random_state=0)
    assert np.linalg.matrix_rank(bag_means(bags, None, X)[0]) < 20
    model = MLPRegressor(InterpolatedBag(0.0), **{**LINEAR, "alpha": 1.0}).fit(
        X, response, bags=bags
    )
    assert np.isfinite(model.predict(X)).all()


def test_rates_of_a_rare_class_give_probabilities_of_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    p = 1 / (1 + np.exp(3.0 - X @ [2.0, -1.0, 0.0]))
    y = (rng.random(3000) < p).astype(float)
    assert y.mean() < 0.16
    response, bags = aggregate_responses(y, 5, random_state=0)
    model = MLPRegressor(InterpolatedBag(0.0, "rate"), **LINEAR).fit(X, response, bags=bags)
    found = model.predict(X)
    assert model.out_activation_ == "logistic"
    assert found.mean() == pytest.approx(y.mean(), abs=0.01)
    assert np.abs(found - p).mean() < 0.03
    rows_alone = clone(model).set_params(loss__rho=1.0).fit(X, response, bags=bags).predict(X)
    assert np.abs(rows_alone - p).mean() > 0.06


def test_stochastic_solvers_see_whole_bags():
    X, y, response, bags = rows(600, 7)
    model = MLPRegressor(
        InterpolatedBag(0.05),
        (16,),
        max_iter=150,
        batch_size=64,
        tol=0.0,
        learning_rate_init=0.01,
        random_state=0,
    )
    model.fit(X, response, bags=bags)
    assert r2_score(y, model.predict(X)) > 0.9
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    model.set_params(loss="squared_error")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    weighted = (
        clone(model)
        .set_params(loss=InterpolatedBag(0.05))
        .fit(X, response, np.full(600, 3.0), bags)
    )
    np.testing.assert_allclose(weighted.predict(X), again.predict(X), atol=1e-8)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_hold_whole_bags(shuffle):
    bags = np.random.default_rng(0).integers(0, 30, 200)
    bags = np.unique(bags, return_inverse=True)[1]
    order = Order(200, 32, torch.Generator().manual_seed(0), shuffle=shuffle, bags=bags)
    for _ in range(3):
        index, sizes = order.next()
        assert sorted(index.tolist()) == list(range(200))
        held = [set(bags[part].tolist()) for part in np.split(index.numpy(), np.cumsum(sizes)[:-1])]
        assert sum(len(part) for part in held) == bags.max() + 1
        assert max(sizes) <= order.max_batch


def test_early_stopping_sets_whole_bags_aside_and_scores_their_means():
    X, _, response, bags = rows(600, 5)
    model = MLPRegressor(
        InterpolatedBag(0.1),
        (16,),
        early_stopping=True,
        max_iter=60,
        learning_rate_init=0.01,
        random_state=0,
    ).fit(X, response, bags=bags)
    assert model.best_validation_score_ > 0.85
    fit_once = clone(model).set_params(early_stopping=False, warm_start=False)
    fit_once.partial_fit(X, response, bags=bags).partial_fit(X, response, bags=bags)
    assert fit_once.t_ == 1200


def test_a_share_is_found_by_folds_of_whole_bags():
    X, y, response, bags = rows(400, 8)
    scorer = make_scorer(bag_mean_squared_error, greater_is_better=False)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            MLPRegressor(InterpolatedBag(), **LINEAR).set_fit_request(bags=True),
            {"loss__rho": [0.0, 0.1, 1.0]},
            scoring=scorer.set_score_request(bags=True),
            cv=GroupKFold(4),
        ).fit(X, response, bags=bags, groups=bags)
    assert search.best_params_["loss__rho"] < 1.0
    assert r2_score(y, search.predict(X)) > 0.9


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"bags": None}, ValueError, "needs the bag of each row"),
        ({"bags": np.zeros(240)}, ValueError, "rows of a bag have one response"),
        ({"bags": np.arange(10)}, ValueError, "inconsistent numbers"),
        ({"loss": "squared_error"}, TypeError, "loss='squared_error' reads no bags"),
        ({"loss": InterpolatedBag(response="rate")}, ValueError, "rates lie between 0 and 1"),
        ({"loss": InterpolatedBag(2.0)}, ValueError, "rho"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(change, error, match):
    X, _, response, bags = rows()
    given = {"bags": bags, "loss": InterpolatedBag(), **change}
    with pytest.raises(error, match=match):
        MLPRegressor(given["loss"], (4,), max_iter=2).fit(X, response, bags=given["bags"])


# --- releases --------------------------------------------------------------------------------


def test_bags_without_noise_are_exact_and_even():
    y = np.arange(103.0)
    response, bags = aggregate_responses(y, 10, random_state=0)
    assert set(np.bincount(bags)) == {10, 11}
    for b in range(10):
        np.testing.assert_allclose(response[bags == b], y[bags == b].mean())
    clipped, _ = aggregate_responses(y, 103, clip=(10.0, 50.0))
    assert clipped[0] == pytest.approx(np.clip(y, 10.0, 50.0).mean())


@pytest.mark.parametrize("size", [1, 5])
def test_noise_has_the_scale_of_what_one_response_moves(size):
    y = np.zeros(50_000)
    response, bags = aggregate_responses(y, size, epsilon=2.0, clip=3.0, random_state=0)
    noise = response[np.unique(bags, return_index=True)[1]]
    assert np.abs(noise).mean() == pytest.approx(
        6.0 / (size * 2.0), rel=0.03
    )  # the mean of |Laplace| is its scale
    one_sided, _ = aggregate_responses(y, size, epsilon=2.0, clip=(0.0, 1.0), random_state=0)
    np.testing.assert_allclose(one_sided, response / 6.0)


@pytest.mark.parametrize(
    ("kw", "match"),
    [
        ({"epsilon": 1.0}, "needs clip="),
        ({"clip": (2.0, 1.0)}, "low below high"),
        ({"bag_size": 0}, "bag_size"),
        ({"bag_size": 9}, "more than the 4 rows"),
        ({"y": [1.0, np.nan, 2.0, 3.0]}, "not finite"),
    ],
)
def test_bad_releases_are_refused(kw, match):
    given = {"y": [1.0, 2.0, 3.0, 4.0], "bag_size": 2, **kw}
    with pytest.raises(ValueError, match=match):
        aggregate_responses(given.pop("y"), given.pop("bag_size"), **given)
