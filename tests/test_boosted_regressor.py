"""Nets for numeric targets that are grown by boosting, and nets grown on the layers of another."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_friedman1
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_pinball_loss, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.ensemble import GradientBoostedMLPClassifier, GradientBoostedMLPRegressor
from skimb.ensemble._row_losses import best_point
from skimb.losses import BalancedMSE, Focal
from skimb.neural_network import MLPClassifier, MLPRegressor

QUICK = {"n_estimators": 10, "units_per_stage": 2, "max_iter": 40, "random_state": 0}
LOSSES = ["squared_error", "absolute_error", "quantile", "poisson", BalancedMSE(noise_sigma=1.0, learn_sigma=False)]  # fmt: skip


@parametrize_with_checks([GradientBoostedMLPRegressor(n_estimators=4, subsample=1.0, max_iter=10)])
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    X, y = make_friedman1(300, 6, random_state=0)
    return X - 0.5, np.maximum(y, 0)


def test_best_point():
    rng = np.random.default_rng(0)
    v, q, w = rng.normal(size=41), rng.uniform(0.1, 0.9, 41), rng.uniform(0.1, 2, 41)

    def loss(a):
        miss = v - a
        return (w * np.maximum(q * miss, (q - 1) * miss)).sum()

    assert loss(best_point(v, q, w)) == min(map(loss, v))
    assert best_point(np.array([3.0, 1.0, 2.0]), np.full(3, 0.5), np.ones(3)) == 2.0
    assert best_point(np.array([3.0, 1.0]), np.full(2, 0.5), np.array([1.0, 3.0])) == 1.0


@pytest.mark.parametrize("loss", LOSSES)
def test_one_net_is_the_same_model_and_every_prefix_too(loss, rows):
    X, y = rows
    model = GradientBoostedMLPRegressor(loss, quantile=0.8, **QUICK).fit(X, y)
    net = model.to_mlp()
    assert net.coefs_[0].shape == (6, 20)
    np.testing.assert_allclose(net.predict(X), model.predict(X), rtol=1e-12, atol=1e-11)
    stages = list(model.staged_predict(X))
    np.testing.assert_allclose(stages[-1], model.predict(X), rtol=1e-12)
    np.testing.assert_allclose(model.truncate(4).predict(X), stages[3], rtol=1e-12)
    again = pickle.loads(pickle.dumps(model.set_params(loss="poisson", quantile=0.1)))
    np.testing.assert_allclose(again.predict(X), stages[-1], rtol=1e-12)
    assert (np.diff(model.loss_curve_) <= 0).all()
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0] or loss == "poisson"


def test_starts_are_the_best_constants(rows):
    X, y = rows
    w = np.arange(300) % 4 + 0.0
    starts = {
        loss: GradientBoostedMLPRegressor(loss, quantile=0.8, n_estimators=0).fit(X, y, w).predict(X)[0]
        for loss in ("squared_error", "absolute_error", "quantile", "poisson")
    }  # fmt: skip
    mean = np.average(y, weights=w)
    assert starts["squared_error"] == pytest.approx(mean)
    assert starts["poisson"] == pytest.approx(mean)
    for name, q in (("absolute_error", 0.5), ("quantile", 0.8)):
        least = min(mean_pinball_loss(y, np.full(300, v), sample_weight=w, alpha=q) for v in y)
        got = mean_pinball_loss(y, np.full(300, starts[name]), sample_weight=w, alpha=q)
        assert got == pytest.approx(least)


def test_steps(rows):
    """One stage: sums of residuals times block over squares for squared errors; the best step for absolute ones."""
    X, y = rows
    kw = {"n_estimators": 1, "learning_rate": 1.0, "subsample": 1.0, "random_state": 0}
    model = GradientBoostedMLPRegressor(**kw).fit(X, y)
    out, r = model.blocks_[0](X)[:, 0], y - y.mean()
    assert (r * out).sum() / (out**2).sum() == pytest.approx(1.0)
    model = GradientBoostedMLPRegressor("absolute_error", **kw).fit(X, y)
    out, r = model.blocks_[0](X)[:, 0], y - np.median(y)
    best = np.abs(r - out).sum()
    assert all(best <= np.abs(r - s * out).sum() + 1e-9 for s in np.linspace(0.5, 1.5, 41))


def test_quality_and_quantiles(rows):
    X, y = rows
    test, y_test = make_friedman1(500, 6, random_state=1)
    test -= 0.5
    model = GradientBoostedMLPRegressor(
        n_estimators=40, units_per_stage=2, max_iter=60, random_state=0
    )
    assert r2_score(y_test, model.fit(X, y).predict(test)) > 0.85  # a linear model has 0.7
    assert LinearRegression().fit(X, y).score(test, y_test) < 0.8
    upper = clone(model).set_params(loss="quantile", quantile=0.9, n_estimators=20).fit(X, y)
    assert 0.8 < (y_test <= upper.predict(test)).mean() < 0.95


def test_units_of_the_target_do_not_matter(rows):
    X, y = rows
    plain = GradientBoostedMLPRegressor(**QUICK).fit(X, y).predict(X)
    for unit in (2.0**-40, 2.0**20):
        other = GradientBoostedMLPRegressor(**QUICK).fit(X, unit * y).predict(X)
        np.testing.assert_allclose(other / unit, plain, rtol=1e-9)


def test_weights_are_replication(rows):
    X, y = rows
    w = np.random.default_rng(0).integers(0, 3, len(y))
    kw = {"n_estimators": 3, "subsample": 1.0, "random_state": 0, "max_iter": 15}
    for loss in ("squared_error", "quantile"):
        a = GradientBoostedMLPRegressor(loss, **kw).fit(X, y, sample_weight=w)
        b = GradientBoostedMLPRegressor(loss, **kw).fit(np.repeat(X, w, 0), np.repeat(y, w))
        np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-6)


def test_several_targets_sparse_rows_and_early_stopping(rows):
    X, y = rows
    X = np.where(np.abs(X) < 0.1, 0, X)
    both = np.c_[y, 100 * X[:, 0]]
    model = GradientBoostedMLPRegressor(**QUICK).fit(X, both)
    assert model.predict(X).shape == (300, 2)
    np.testing.assert_allclose(model.to_mlp().predict(X), model.predict(X), atol=1e-9)
    short = {**QUICK, "max_iter": 10}
    thin = GradientBoostedMLPRegressor(**short).fit(sparse.csr_array(X), y)
    dense = GradientBoostedMLPRegressor(**short).fit(X, y)
    np.testing.assert_allclose(thin.predict(sparse.csr_array(X)), dense.predict(X), rtol=1e-5)
    noise = np.random.default_rng(0).normal(size=300)
    stopped = GradientBoostedMLPRegressor(
        early_stopping=True, n_iter_no_change=3, **{**QUICK, "n_estimators": 50}
    ).fit(X, noise)
    assert stopped.n_iter_ == len(stopped.blocks_) < 20


# --- the layers of another net ---------------------------------------------------------------------


def test_a_body_of_rows_as_they_are_changes_nothing(rows):
    X, y = rows
    plain = GradientBoostedMLPRegressor(**QUICK).fit(X, y)
    whole = PCA(whiten=False, random_state=0).fit(X)
    whole.mean_, whole.components_ = np.zeros(6), np.eye(6)
    same = GradientBoostedMLPRegressor(body=FrozenEstimator(whole), **QUICK).fit(X, y)
    np.testing.assert_allclose(same.predict(X), plain.predict(X), rtol=1e-9)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_last_layer_grown_on_a_net(frozen, rows):
    X, y = rows
    body = MLPRegressor(hidden_layer_sizes=(16, 8), activation="logistic", solver="lbfgs", max_iter=20, random_state=0)  # fmt: skip
    given = FrozenEstimator(body.fit(X, y)) if frozen else body
    model = GradientBoostedMLPRegressor(body=given, **QUICK).fit(X, y)
    net = model.to_mlp()
    assert [w.shape for w in net.coefs_] == [(6, 16), (16, 8), (8, 20), (20, 1)]
    np.testing.assert_allclose(net.predict(X), model.predict(X), rtol=1e-4)
    np.testing.assert_allclose(net.coefs_[0], model.body_.coefs_[0])
    if frozen:
        before = model.predict(X)
        body.set_params(warm_start=True).fit(X, -y)  # a body of its own
        np.testing.assert_array_equal(model.predict(X), before)
    piped = clone(model).set_params(body=make_pipeline(StandardScaler(), clone(body)))
    scaled = StandardScaler().fit_transform(X)
    wanted = clone(model).set_params(body=clone(body)).fit(scaled, y).predict(scaled)
    np.testing.assert_allclose(piped.fit(X, y).predict(X), wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="to_mlp makes one net of a body"):
        piped.to_mlp()


def test_a_classifier_grown_on_a_net():
    X, y = make_classification(400, 6, n_informative=4, weights=[0.85], random_state=0)
    body = MLPClassifier(
        (8,), activation="tanh", loss=Focal(), max_iter=15, tol=1.0, random_state=0
    )
    model = GradientBoostedMLPClassifier(
        n_estimators=8, activation="tanh", body=body, class_weight="balanced", random_state=0
    ).fit(X, y, sample_weight=np.arange(400) % 3)
    net = model.to_mlp()
    assert [w.shape for w in net.coefs_] == [(6, 8), (8, 8), (8, 1)]
    np.testing.assert_allclose(net.predict_proba(X), model.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(
        model.truncate(3).decision_function(X), list(model.staged_decision_function(X))[2]
    )
    early = clone(model).set_params(early_stopping=True, n_iter_no_change=2).fit(X, y)
    assert early.n_iter_ <= 8


def test_errors(rows):
    X, y = rows
    with pytest.raises(ValueError, match="loss='poisson' needs non-negative y"):
        GradientBoostedMLPRegressor("poisson").fit(X, y - 10)
    with pytest.raises(ValueError, match="would learn its noise scale"):
        GradientBoostedMLPRegressor(BalancedMSE()).fit(X, y)
    with pytest.raises(ValueError, match="is boosted for one target"):
        GradientBoostedMLPRegressor(BalancedMSE(learn_sigma=False)).fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="neither hidden layers nor transform"):
        GradientBoostedMLPRegressor(body=LinearRegression()).fit(X, y)
    with pytest.raises(ValueError, match="no hidden layer to boost on"):
        GradientBoostedMLPRegressor(body=MLPRegressor(hidden_layer_sizes=(), solver="lbfgs")).fit(X, y)  # fmt: skip
    with pytest.raises(ValueError, match="no unit to make a net of"):
        GradientBoostedMLPRegressor(n_estimators=0).fit(X, y).to_mlp()
