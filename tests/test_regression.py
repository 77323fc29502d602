"""Regression with rare target values."""

import lightgbm as lgb
import numpy as np
import pytest
import torch
import xgboost as xgb
from scipy import sparse
from scipy.ndimage import gaussian_filter1d
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.boosting import as_lightgbm, as_xgboost
from skimb.functional import regression as kernel
from skimb.linear_model import BalancedRidge
from skimb.losses import BalancedMSE, ClassPrior, density_weights
from skimb.losses.regression import label_groups
from skimb.metrics import balanced_mean_absolute_error
from skimb.neural_network import MLPRegressor
from skimb.pipeline import DensityWeightedRegressor

FIXED = {"noise_sigma": 1.0, "learn_sigma": False}


TIGHT = {"tol": 1e-11, "max_iter": 300}


@parametrize_with_checks(
    [
        BalancedRidge(BalancedMSE(learn_sigma=False), **TIGHT),
        BalancedRidge(BalancedMSE("gai", n_components=2)),
        BalancedRidge(BalancedMSE("bni", learn_sigma=False), **TIGHT),
        DensityWeightedRegressor(Ridge()),
    ],
)  # fmt: skip
def test_sklearn_checks(estimator, check):
    check(estimator)


def protocol(seed=0, n=1024):
    """The authors' one-dimensional set: targets near 5, a feature that is the target with noise."""
    rng = np.random.default_rng(seed)
    y = rng.normal(5.0, 0.5, n)
    return (y - rng.normal(0.0, 1.0, n))[:, None], y


@pytest.mark.parametrize("method", ["bmc", "gai", "bni"])
def test_official_protocol(method):
    """Published: slope 0.2 with squared errors, 0.91 to 1 with a noise scale of 1, learned 0.97 to 1.04."""
    slopes, sigmas, errors = [], [], []
    grid = np.linspace(0, 10, 101)[:, None]
    for seed in range(3):
        X, y = protocol(seed)
        assert 0.15 < Ridge().fit(X, y).coef_[0] < 0.25
        fixed = BalancedRidge(BalancedMSE(method, n_components=1, **FIXED), alpha=0.0).fit(X, y)
        learned = BalancedRidge(BalancedMSE(method, n_components=1), alpha=0.0).fit(X, y)
        slopes.append(fixed.coef_[0])
        sigmas.append(learned.noise_sigma_)
        errors.append(mean_squared_error(grid[:, 0], fixed.predict(grid)))
    assert 0.85 < np.mean(slopes) < 1.1
    assert 0.9 < np.mean(sigmas) < 1.1
    assert np.mean(errors) < 0.3
    assert mean_squared_error(grid[:, 0], Ridge().fit(X, y).predict(grid)) > 4


def test_flat_density_is_ridge():
    """With a mixture so wide that it is flat, and with the noise scale towards 0 in it."""
    X, y = load_diabetes(return_X_y=True)
    loss = BalancedMSE("gai", noise_sigma=1e-3 * y.std(), learn_sigma=False, n_components=1)
    model = BalancedRidge(loss, alpha=0.5, tol=1e-10).fit(X, y)
    ridge = Ridge(alpha=0.5).fit(X, y)
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=2e-3, atol=0.1)
    assert model.intercept_ == pytest.approx(ridge.intercept_, rel=1e-3)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("method", ["bmc", "gai", "bni"])
def test_stationary_in_the_units_of_the_target(method, fit_intercept):
    """The gradient of the stated objective, by differences, on targets far from 0 and of another scale."""
    X, y = load_diabetes(return_X_y=True)
    y = 40.0 * y - 3000.0 * fit_intercept
    X = 20.0 * X
    sigma = 30.0 * y.std() / 40
    loss = BalancedMSE(method, noise_sigma=sigma, learn_sigma=False, n_components=3)
    model = BalancedRidge(
        loss, alpha=2.0, fit_intercept=fit_intercept, tol=1e-9, max_iter=5000
    ).fit(X, y)
    assert model.noise_sigma_ == pytest.approx(sigma)
    bound = loss.bind(y)

    def value(theta):
        f = torch.from_numpy(X @ theta[:-1] + theta[-1])
        t = torch.from_numpy(y)
        s = torch.tensor(sigma, dtype=torch.float64)
        if bound.mixture is not None:
            mean = kernel.against_mixture(f, t, bound.mixture, s)[0]
        else:
            columns = bound.columns or label_groups(y, np.ones(len(y)), 1000)
            mean = kernel.against_labels(f, t, *columns, s)[0]
        return len(y) * float(mean) + 2.0 * theta[:-1] @ theta[:-1]

    theta = np.append(model.coef_, model.intercept_)
    least = value(theta)
    rng = np.random.default_rng(0)
    for _ in range(20):
        step = rng.normal(size=len(theta)) * np.append(
            np.abs(model.coef_) * 0.05 + 1, 5.0 * fit_intercept
        )
        assert value(theta + step) > least - 1e-6 * abs(least)


def test_weights_groups_and_sparse_rows():
    X, y = load_diabetes(return_X_y=True)
    w = np.random.default_rng(0).integers(0, 3, len(y))
    a = BalancedRidge(tol=1e-9).fit(X, y, sample_weight=w)
    b = BalancedRidge(tol=1e-9).fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-4)
    few = BalancedRidge(max_labels=60).fit(X, y)
    every = BalancedRidge(max_labels=5000).fit(X, y)
    assert np.abs(few.predict(X) - every.predict(X)).max() < 0.05 * y.std()
    thin = BalancedRidge(max_labels=5000).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(thin.predict(sparse.csr_matrix(X)), every.predict(X), rtol=1e-4)
    values, log_share = label_groups(np.array([1.0, 2, 2, 3, 9]), np.array([1.0, 1, 1, 1, 4]), 2)
    assert values.tolist() == [2.0, 9.0]
    assert log_share.exp().tolist() == pytest.approx([0.5, 0.5])


def test_balanced_error_falls_where_features_are_noisy():
    rng = np.random.default_rng(0)
    y = rng.exponential(size=3000)
    X = y[:, None] + rng.normal(size=(3000, 3))
    train, test = slice(0, 1500), slice(1500, None)
    scores = [
        balanced_mean_absolute_error(y[test], m.fit(X[train], y[train]).predict(X[test]))
        for m in (Ridge(), BalancedRidge())
    ]
    assert scores[1] < 0.8 * scores[0]
    net = MLPRegressor(BalancedMSE("gai"), (16,), max_iter=40, random_state=0).fit(
        X[train], y[train]
    )
    assert balanced_mean_absolute_error(y[test], net.predict(X[test])) < 0.9 * scores[0]


def test_constant_targets_and_search():
    X, y = load_diabetes(return_X_y=True)
    constant = BalancedRidge().fit(X, np.full(len(y), 3.0))
    np.testing.assert_allclose(constant.predict(X), 3.0)
    grid = {"loss": [BalancedMSE()], "loss__method": ["bmc", "bni"], "alpha": [0.1, 1.0]}
    search = GridSearchCV(BalancedRidge(), grid, scoring="neg_mean_absolute_error").fit(X, y)
    assert search.best_params_["loss__method"] in {"bmc", "bni"}


# --- label distribution smoothing ----------------------------------------------------------------


def test_density_weights():
    rng = np.random.default_rng(0)
    y = rng.exponential(size=400)
    mass, edges = np.histogram(y, 20)
    at = np.clip(np.digitize(y, edges) - 1, 0, 19)
    inverse = 1 / gaussian_filter1d(mass.astype(float), 1.5, mode="constant")[at]
    found = density_weights(y, n_bins=20, smoothing=1.5)
    np.testing.assert_allclose(found, inverse / inverse.mean())
    np.testing.assert_allclose(density_weights(y, power=0), 1)
    exact = density_weights(y, n_bins=20, smoothing=0)
    used = np.unique(at)
    np.testing.assert_allclose([exact[at == b].sum() for b in used], len(y) / len(used))
    w = rng.integers(1, 4, 400)
    weighted = density_weights(y, sample_weight=w)
    np.testing.assert_allclose(np.repeat(weighted, w), density_weights(np.repeat(y, w)))


def test_density_weighted_regressor():
    rng = np.random.default_rng(0)
    y = rng.exponential(size=800)
    X = y[:, None] + rng.normal(size=(800, 2))
    plain = Ridge().fit(X, y)
    model = DensityWeightedRegressor(Ridge(), n_bins=20).fit(X, y)
    alone = Ridge().fit(X, y, sample_weight=density_weights(y, n_bins=20))
    np.testing.assert_allclose(model.predict(X), alone.predict(X))
    kw = {"y_true": y, "bins": 8}
    assert balanced_mean_absolute_error(
        y_pred=model.predict(X), **kw
    ) < balanced_mean_absolute_error(y_pred=plain.predict(X), **kw)
    search = GridSearchCV(
        DensityWeightedRegressor(RandomForestRegressor(10, min_samples_leaf=20, random_state=0)),
        {"power": [0, 1]},
        cv=2,
    )
    assert search.fit(X, y).best_params_ == {"power": 0}
    with pytest.raises(TypeError, match="sample_weight"):
        DensityWeightedRegressor(KNeighborsRegressor()).fit(X, y)


# --- boosting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["bmc", "gai", "bni"])
def test_objectives_are_the_derivatives(method):
    rng = np.random.default_rng(0)
    y = rng.exponential(size=60)
    f = rng.normal(1, 1, 60)
    loss = BalancedMSE(method, noise_sigma=0.8, learn_sigma=False, n_components=2)
    grad, hess = as_lightgbm(loss, y)(y, f)
    bound = loss.bind(y)
    columns = bound.columns or label_groups(y, np.ones(60), 1000)

    def row(i, value):
        t, v = torch.tensor([y[i]]), torch.tensor([value])
        s = torch.tensor(0.8, dtype=torch.float64)
        if bound.mixture is not None:
            return 0.5 * float(kernel.against_mixture(v, t, bound.mixture, s)[0])
        return 0.5 * float(kernel.against_labels(v, t, *columns, s)[0])

    for i in range(0, 60, 7):
        h = 1e-4
        up, mid, down = row(i, f[i] + h), row(i, f[i]), row(i, f[i] - h)
        assert grad[i] == pytest.approx((up - down) / (2 * h), abs=1e-6)
        assert hess[i] == pytest.approx(max((up - 2 * mid + down) / h**2, 0.1), abs=1e-4)
    weighted = as_xgboost(loss, y)(y, f, sample_weight=np.full(60, 3.0))
    np.testing.assert_allclose(weighted, (3 * grad, 3 * hess))


def test_boosted_trees_with_balanced_errors():
    rng = np.random.default_rng(0)
    y = rng.exponential(size=3000)
    X = y[:, None] + 2.0 * rng.normal(size=(3000, 3))
    train, test = slice(0, 2000), slice(2000, None)
    loss = BalancedMSE("bni", noise_sigma=0.8, learn_sigma=False)
    kw = {"n_estimators": 60, "n_jobs": 1, "verbosity": 0, "learning_rate": 0.1}
    plain = lgb.LGBMRegressor(**{**kw, "verbosity": -1, "num_leaves": 7}).fit(X[train], y[train])
    bar = balanced_mean_absolute_error(y[test], plain.predict(X[test]), bins=6)
    for make, as_objective in ((lgb.LGBMRegressor, as_lightgbm), (xgb.XGBRegressor, as_xgboost)):
        more = (
            {"verbosity": -1, "num_leaves": 7}
            if make is lgb.LGBMRegressor
            else {"base_score": 1.0, "max_depth": 3}
        )
        model = make(objective=as_objective(loss, y[train]), **{**kw, **more}).fit(
            X[train], y[train]
        )
        assert balanced_mean_absolute_error(y[test], model.predict(X[test]), bins=6) < 0.95 * bar
    with pytest.raises(ValueError, match="learn_sigma=False"):
        as_lightgbm(BalancedMSE(), y)
    with pytest.raises(ValueError, match="give the training target"):
        as_lightgbm(loss, ClassPrior(counts=[9, 1]))


def test_predictions_beyond_every_number_are_told():
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = MLPRegressor("poisson", max_iter=2, tol=0.0, random_state=0).fit(X, np.abs(X[:, 0]))
    with pytest.warns(RuntimeWarning, match="of 60 predictions are not finite"):
        model.predict(1e7 * X)


@pytest.mark.parametrize("method", ["bmc", "gai", "bni"])
def test_the_balanced_error_of_targets_in_other_units(method):
    rng = np.random.default_rng(0)
    y, z = rng.gamma(2.0, 3.0, 200), torch.tensor(rng.normal(5.0, 2.0, 40))
    bound = BalancedMSE(method, 1.5, False).bind(y)

    def of(bound, move):
        moved = move(z)
        return bound.loss_grad(moved, bound.encode(torch.tensor(move(y[:40])), moved))

    value, grad = of(bound, lambda t: t)
    other = bound.in_units(10.0, 3.0)
    moved_value, moved_grad = of(other, lambda t: 10.0 + 3.0 * t)
    assert other.sigma == pytest.approx(4.5)
    assert float(moved_value) == pytest.approx(9.0 * float(value))  # a squared error
    torch.testing.assert_close(moved_grad, 3.0 * grad)
