"""Losses of regressors: over bins, focused on errors, re-weighted by the batch."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skimb.boosting import as_lightgbm, as_xgboost
from skimb.functional import error_focus_weights
from skimb.functional.histogram import histogram_targets
from skimb.losses import (
    BalancedMSE,
    ClassPrior,
    DynamicReweighting,
    ErrorFocused,
    ErrorFocusedRegression,
    Focal,
    HistogramGaussian,
)
from skimb.neural_network import MLPClassifier, MLPRegressor

FEW = {"n_bins": 12, "sigma": 1.0}
LOSSES = [
    HistogramGaussian(),
    HistogramGaussian(**FEW, tau=1.0, prior_power=0.5, prediction="balanced"),
    HistogramGaussian(20, kind="two-hot", transform="quantile"),
    HistogramGaussian(20, kind="one-hot", support=[-4.0, 4.0]),
    ErrorFocusedRegression(),
    ErrorFocusedRegression("mae", "exp", 2.0),
    ErrorFocusedRegression("mse", "power", 0.5, cap=2.0),
    DynamicReweighting("squared_error"),
    DynamicReweighting("squared_error", "quadratic", max_weight=2.0, cooldown=0.2),
    DynamicReweighting(HistogramGaussian(**FEW), "extremes"),
]
NET = {"hidden_layer_sizes": (12,), "max_iter": 30, "random_state": 0, "learning_rate_init": 0.01}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.3 * rng.normal(size=300)
    return X, (y - y.mean()) / y.std()


def raw_of(bound, n, columns=None, seed=0):
    width = bound.width if columns is None else bound.width * columns
    z = torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return z if columns is not None or width > 1 else z[:, 0]


# --- targets over bins ---------------------------------------------------------------------------


def test_golden_targets():
    y = torch.tensor([0.5, 0.13, 0.98, 0.36], dtype=torch.float64)
    gauss = histogram_targets(5 * y, 5, kind="gauss", sigma=0.75)
    np.testing.assert_allclose(
        gauss[0], [0.02234024, 0.22993972, 0.49544007, 0.22993972, 0.02234024], atol=5.1e-9
    )
    np.testing.assert_allclose(
        gauss[1], [0.60298149, 0.35249176, 0.0434558402, 0.001066, 4.92e-6], atol=5.1e-7
    )
    np.testing.assert_allclose(
        gauss[2], [1.8e-7, 9.957e-5, 0.0101151, 0.19785452, 0.79193063], atol=5.1e-8
    )
    two = histogram_targets(5 * y, 5, kind="two-hot", sigma=1.0)
    np.testing.assert_allclose(two[1], [0.85, 0.15, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(two[3], [0, 0.7, 0.3, 0, 0], atol=1e-12)


@pytest.mark.parametrize("kind", ["gauss", "two-hot", "one-hot"])
def test_targets_sum_to_one_and_stay_within(kind):
    u = torch.linspace(0, 9, 200, dtype=torch.float64)
    t = histogram_targets(u, 9, kind=kind, sigma=0.75)
    torch.testing.assert_close(t.sum(-1), torch.ones(200, dtype=torch.float64))
    assert t.min() >= 0
    if kind == "two-hot":
        centre = torch.arange(9) + 0.5
        torch.testing.assert_close(t @ centre.double(), u.clamp(0.5, 8.5))


@pytest.mark.parametrize(("sigma", "bias"), [(0.25, 0.093), (0.5, 2.3e-3), (0.75, 4.8e-6)])
def test_bias_of_the_expectation_inside(sigma, bias):
    u = torch.linspace(15, 16, 400, dtype=torch.float64)
    t = histogram_targets(u, 31, kind="gauss", sigma=sigma)
    away = (t @ (torch.arange(31) + 0.5).double() - u).abs().max().item()
    assert away == pytest.approx(bias, rel=0.03)


def test_a_narrow_gaussian_is_the_bin():
    u = torch.tensor([0.3, 2.6, 4.4], dtype=torch.float64)
    one = histogram_targets(u, 5, kind="one-hot", sigma=1.0)
    torch.testing.assert_close(histogram_targets(u, 5, kind="gauss", sigma=0.01), one)


def test_the_ends_of_the_range_are_padded():
    y = np.array([2.0, 3.0, 10.0])
    bound = HistogramGaussian(51, 0.75).bind(y)
    edges = bound.at_bins(0.0)[0]
    width = 8.0 / (51 - 4.5)
    np.testing.assert_allclose(edges[0], 2.0 - 2.25 * width)
    np.testing.assert_allclose(np.diff(edges), width)
    u = bound.encode(torch.from_numpy(y), torch.zeros(1, dtype=torch.float64)).code
    t = histogram_targets(u, 51, kind="gauss", sigma=0.75).numpy()
    np.testing.assert_allclose(t @ bound.at_bins(0.5)[0], y, atol=0.0038 * width)


# --- the loss over bins --------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("columns", [None, 2])
def test_gradients_are_derivatives(loss, columns):
    rng = np.random.default_rng(1)
    y = rng.normal(size=(15,) if columns is None else (15, columns))
    bound = loss.bind(y)
    z = raw_of(bound, 15, columns)
    weight = torch.from_numpy(rng.integers(1, 4, 15).astype(float))
    for w in (None, weight):
        fixed = bound.frozen(z, torch.from_numpy(y), w)
        code = fixed.encode(torch.from_numpy(y), z)
        value, grad = fixed.loss_grad(z, code, w)
        assert bound.loss_grad(z, code, w)[0].item() == pytest.approx(value.item())
        torch.testing.assert_close(bound.loss_grad(z, code, w)[1], grad)
        flat, step = z.reshape(-1), 1e-6
        for k in range(0, len(flat), max(1, len(flat) // 25)):
            up, down = flat.clone(), flat.clone()
            up[k] += step
            down[k] -= step
            ends = [fixed.loss_grad(v.reshape(z.shape), code, w)[0] for v in (up, down)]
            slope = (ends[0] - ends[1]) / (2 * step)
            assert slope.item() == pytest.approx(grad.reshape(-1)[k].item(), abs=1e-7)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("columns", [None, 2])
def test_weights_are_repetitions(loss, columns):
    rng = np.random.default_rng(2)
    y = rng.normal(size=(10,) if columns is None else (10, columns))
    often = rng.integers(1, 4, 10)
    again = np.repeat(np.arange(10), often)
    one, many = loss.bind(y, often), loss.bind(y[again])
    z = raw_of(one, 10, columns)
    t = torch.from_numpy(y)
    a, g = one.loss_grad(z, one.encode(t, z), torch.from_numpy(often.astype(float)))
    b, h = many.loss_grad(z[again], many.encode(t[again], z))
    assert a.item() == pytest.approx(b.item(), rel=1e-9)
    gathered = torch.zeros_like(g).index_add_(0, torch.from_numpy(again), h)
    torch.testing.assert_close(g, gathered)


def test_two_bins_are_logistic_regression(rows):
    X, y = rows
    label = (y > 0).astype(float)
    kw = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.01, "max_iter": 2000, "tol": 1e-8}
    model = MLPRegressor(HistogramGaussian(2, kind="two-hot"), **kw).fit(X, label)
    # two columns share the penalty of one
    theirs = LogisticRegression(C=2 * 1 / 0.01, tol=1e-8, max_iter=2000).fit(X, label)
    np.testing.assert_allclose(model.predict(X), theirs.predict_proba(X)[:, 1], atol=0.01)


def test_natural_and_balanced_means():
    bound = HistogramGaussian(5, kind="two-hot", tau=1.0).bind(np.arange(-2.0, 3.0))
    bound.prior = np.array([[0.5, 0.25, 0.15, 0.07, 0.03]])
    p = np.array([[0.4, 0.3, 0.2, 0.07, 0.03]])
    z = torch.from_numpy(np.log(p / bound.prior))  # what tau=1 trains
    assert bound.inverse_link(z).item() == pytest.approx(-0.97)
    for tau in (0.0, 1.0):
        z = torch.from_numpy(np.log(p) - tau * np.log(bound.prior))
        other = bound.replaced(params={**bound.params, "tau": tau, "prediction": "balanced"})
        assert other.inverse_link(z).item() == pytest.approx(0.0375)


@pytest.mark.parametrize(("tau", "power"), [(1.0, 0.0), (0.0, 1.0), (0.5, 0.7)])
def test_adjustment_and_weights_are_undone(tau, power):
    rng = np.random.default_rng(0)
    y = rng.exponential(size=4000)
    loss = HistogramGaussian(kind="one-hot", n_bins=8, tau=tau, prior_power=power)
    model = MLPRegressor(
        loss, (), solver="lbfgs", alpha=0.0, max_iter=3000, tol=1e-9, random_state=0
    ).fit(np.zeros((4000, 1)), y)
    p, centres = model.predict_distribution(np.zeros((1, 1)))
    share = np.histogram(y, 8, (y.min(), y.max()))[0] / 4000
    np.testing.assert_allclose(p[0], share, atol=2e-4)
    assert model.predict(np.zeros((1, 1)))[0] == pytest.approx(share @ centres, abs=1e-3)


@pytest.mark.parametrize("transform", [None, "quantile"])
def test_shift_and_scale(rows, transform):
    X, y = rows
    loss = HistogramGaussian(**FEW, transform=transform)
    a = MLPRegressor(loss, **NET).fit(X, y).predict(X)
    b = MLPRegressor(loss, **NET).fit(X, 5 + 100 * y).predict(X)
    np.testing.assert_allclose(b, 5 + 100 * a, rtol=1e-3, atol=0.5)


def test_transforms_predict_means_on_the_scale_of_the_target():
    y = np.exp(np.linspace(0, 4, 200))
    for transform in ("log", "quantile"):
        bound = HistogramGaussian(101, transform=transform).bind(y)
        u = bound.encode(torch.from_numpy(y), torch.zeros(1, dtype=torch.float64)).code
        assert u.min() >= 0
        assert u.max() <= 101
        t = histogram_targets(u, 101, kind="gauss", sigma=0.75)
        np.testing.assert_allclose(t.numpy() @ bound.at_bins(0.5)[0], y, rtol=0.03)


def test_quantiles_deviations_and_exceedances():
    bound = HistogramGaussian(4, support=(0.0, 4.0)).bind(np.array([1.0, 2.0]))
    p = np.array([[[0.1, 0.2, 0.3, 0.4]]])
    for q, value in [(0.0, 0.0), (0.1, 1.0), (0.2, 1.5), (0.45, 2.5), (1.0, 4.0)]:
        assert bound.quantiles(p, q)[0, 0] == pytest.approx(value)
    for at, share in [(-1.0, 1.0), (0.5, 0.95), (2.0, 0.7), (3.5, 0.2), (9.0, 0.0)]:
        assert bound.above(p, at)[0, 0] == pytest.approx(share)


def test_answers_of_the_estimator(rows):
    X, y = rows
    model = MLPRegressor(HistogramGaussian(25), **NET).fit(X, y)
    assert model.n_outputs_ == 1
    assert model.out_activation_ == "softmax"
    p, centres = model.predict_distribution(X)
    assert p.shape == (300, 25)
    np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(p @ centres, model.predict(X), rtol=1e-4, atol=1e-5)
    std = model.predict_std(X)
    np.testing.assert_allclose(std**2, p @ centres**2 - (p @ centres) ** 2, rtol=1e-4, atol=1e-5)
    low, high = (model.predict_quantile(X, q) for q in (0.05, 0.95))
    assert 0.8 < np.mean((low <= y) & (y <= high)) <= 1.0
    above = model.predict_exceedance(X, 1.0)
    assert above.mean() == pytest.approx((y > 1.0).mean(), abs=0.05)
    again = pickle.loads(pickle.dumps(model)).set_params(loss="squared_error")
    np.testing.assert_array_equal(again.predict_std(X), std)
    two = MLPRegressor(HistogramGaussian(**FEW), **NET).fit(X, np.column_stack([y, -2 * y]))
    assert two.predict(X).shape == two.predict_std(X).shape == (300, 2)
    p, centres = two.predict_distribution(X)
    assert (p.shape, centres.shape) == ((300, 2, 12), (2, 12))
    assert two.score(X, np.column_stack([y, -2 * y])) > 0.6
    for other in (MLPRegressor(), MLPRegressor(**NET).fit(X, y)):
        with pytest.raises(AttributeError, match="has no attribute 'predict_std'"):
            other.predict_std(X)
    with pytest.raises(ValueError, match="q == 2"):
        model.predict_quantile(X, 2.0)


def test_bins_stay_when_training_goes_on(rows):
    X, y = rows
    model = MLPRegressor(HistogramGaussian(**FEW), **NET).partial_fit(X, y)
    bins = model._head.bound.at_bins(0.0)
    with pytest.warns(UserWarning, match="lie outside the bins of the first fit"):
        model.partial_fit(X, y + 30)
    np.testing.assert_array_equal(model._head.bound.at_bins(0.0), bins)
    model.set_params(loss__n_bins=20)
    with pytest.raises(ValueError, match="training goes on with 12 bins"):
        model.partial_fit(X, y)
    assert model.predict(X).shape == (300,)
    warm = MLPRegressor(HistogramGaussian(**FEW), **NET, warm_start=True).fit(X, y)
    warm.set_params(max_iter=1)
    bins = warm._head.bound.at_bins(0.0)
    warm.fit(X[:200], y[:200])
    np.testing.assert_array_equal(warm._head.bound.at_bins(0.0), bins)


@pytest.mark.parametrize(
    ("loss", "y", "match"),
    [
        (HistogramGaussian(4, 0.75), [0.0, 1.0], "takes 4.5 of 4 bins"),
        (HistogramGaussian(support=(1.0, 0.0)), [0.0, 1.0], "low < high"),
        (HistogramGaussian(transform="log"), [0.0, 1.0], "needs a positive target"),
        (HistogramGaussian(transform="quantile", support=(0, 1)), [0.0, 1.0], "ranks have no support"),
        (HistogramGaussian(transform="log", support=(0, 1)), [0.5, 1.0], "must be positive"),
        (HistogramGaussian(kind="three"), [0.0, 1.0], "'kind' parameter"),
        (HistogramGaussian(), ClassPrior(counts=[3, 3]), "give the training target"),
        (ErrorFocusedRegression(beta=-1.0), [0.0, 1.0], "'beta' parameter"),
        (ErrorFocusedRegression(cap=0.5), [0.0, 1.0], "'cap' parameter"),
        (DynamicReweighting(BalancedMSE()), [0.0, 1.0], "wrap a loss of single rows"),
        (DynamicReweighting(ErrorFocusedRegression()), [0.0, 1.0], "wrap a loss of single rows"),
        (DynamicReweighting("squared_error"), ClassPrior(counts=[3, 3]), r"does not accept binary"),
        (DynamicReweighting("poisson"), [-1.0, 1.0], "non-negative y"),
    ],
    ids=lambda v: repr(v)[:40],
)  # fmt: skip
def test_refusals(loss, y, match):
    with pytest.raises(ValueError, match=match):
        loss.bind(y if isinstance(y, ClassPrior) else np.array(y))


def test_one_value_has_bins_too():
    bound = HistogramGaussian().bind(np.full(5, 3.0))
    edges = bound.at_bins(0.0)[0]
    assert edges[0] < 2.0 < 4.0 < bound.at_bins(1.0)[0, -1]
    assert bound.inverse_link(torch.zeros(1, 51, dtype=torch.float64)).item() == pytest.approx(3.0)


# --- boosted trees -------------------------------------------------------------------------------


def test_objectives_over_bins_are_the_derivatives():
    rng = np.random.default_rng(0)
    y, z = rng.exponential(size=20), rng.normal(size=(20, 12))
    loss = HistogramGaussian(**FEW, tau=0.5, prior_power=0.5)
    bound = loss.bind(y)
    grad, hess = as_lightgbm(loss, y)(y, z)
    code = bound.encode(torch.from_numpy(y), torch.from_numpy(z))
    net = bound.loss_grad(torch.from_numpy(z), code)[1].numpy() * 20
    np.testing.assert_allclose(grad, net)
    step = np.zeros_like(z)
    step[:, 3] = 1e-5
    up, down = (as_lightgbm(loss, y)(y, z + s)[0][:, 3] for s in (step, -step))
    np.testing.assert_allclose(hess[:, 3], (up - down) / 2e-5 * 12 / 11, rtol=1e-5)
    weighted = as_xgboost(loss, y)(y, z, sample_weight=np.full(20, 3.0))
    np.testing.assert_allclose(weighted[1], hess * 3 * 2 * 11 / 12)
    with pytest.raises(ValueError, match="num_class=12"):
        as_lightgbm(loss, y)(y, z[:, :5])
    for coupled in (DynamicReweighting("squared_error"), ErrorFocusedRegression()):
        with pytest.raises(ValueError, match="couples the rows of a batch, which boosting"):
            as_lightgbm(coupled, y)


def test_boosted_trees_over_bins(rows):
    lgb = pytest.importorskip("lightgbm")
    xgb = pytest.importorskip("xgboost")
    X, y = rows
    loss = HistogramGaussian(**FEW)
    bound = loss.bind(y)
    params = {"objective": as_lightgbm(loss, y), "num_class": 12, "verbosity": -1, "num_leaves": 7}
    booster = lgb.train({**params, "num_threads": 1}, lgb.Dataset(X, y), 25)
    raw = {"lightgbm": booster.predict(X, raw_score=True)}
    booster = xgb.train(
        {"num_class": 12, "max_depth": 3, "nthread": 1, "disable_default_eval_metric": True},
        xgb.DMatrix(X, y),
        25,
        obj=as_xgboost(loss, y),
    )
    raw["xgboost"] = booster.predict(xgb.DMatrix(X), output_margin=True)
    for scores in raw.values():
        found = bound.inverse_link(torch.from_numpy(np.asarray(scores, float)))[:, 0].numpy()
        assert np.corrcoef(found, y)[0, 1] ** 2 > 0.8


# --- focused errors ------------------------------------------------------------------------------

D = torch.tensor([0.1, -0.4, 1.0, -2.5], dtype=torch.float64)


def focused(*args, y=(0.0, 0.0, 0.0, 0.0), **kw):
    bound = ErrorFocusedRegression(*args, **kw).bind(np.array(y))
    loss, grad = bound.loss_grad(D, bound.encode(torch.zeros(4), D))
    return bound, loss, grad


@pytest.mark.parametrize(
    ("beta", "golden"),
    [
        (0.5, [0.31622777, -0.63245553, 1.0, -1.58113883]),
        (1.0, [0.1, -0.4, 1.0, -2.5]),
        (2.0, [0.01, -0.16, 1.0, -6.25]),
    ],
)
def test_power_weights_are_another_norm(beta, golden):
    _, _, grad = focused("mae", "power", beta)
    mean = (D.abs() ** beta).mean()  # of the weights, whose mean is 1 here
    np.testing.assert_allclose(4 * grad * mean, golden, atol=5.1e-9)


def test_exponential_weights():
    bound, _, _ = focused("mae", "exp", 1.0)
    w = 4 * bound._weights(D, torch.zeros(4), None)
    np.testing.assert_allclose(w, [0.252643, 0.341032, 0.621401, 2.784925], atol=5.1e-7)
    capped, _, _ = focused("mae", "exp", 1.0, cap=1.5)
    expected = error_focus_weights(D.abs().clamp_max(1.5), kind="exp", beta=1.0)
    torch.testing.assert_close(capped._weights(D, torch.zeros(4), None), expected)


def test_without_focus_it_is_the_base():
    _, loss, grad = focused("mse", beta=0.0)
    assert loss.item() == pytest.approx((0.5 * D**2).mean().item())
    torch.testing.assert_close(grad, D / 4)
    bound, *_ = focused("charbonnier", y=(1.0, 3.0, 1.0, 3.0), eps=0.5)
    value, slope = bound.entries(D, torch.zeros(4))  # the deviation of y is 1
    torch.testing.assert_close(value, (D**2 + 0.25).sqrt() - 0.5)
    torch.testing.assert_close(slope, D / (D**2 + 0.25).sqrt())


def test_stages_of_focus():
    bound = ErrorFocusedRegression("mae", start=0.8).bind(np.zeros(4))
    early, late = bound.at(7, 10), bound.at(8, 10)
    assert early is bound.at(0, 10)
    assert late is bound
    z = bound.encode(torch.zeros(4), D)
    torch.testing.assert_close(early.loss_grad(D, z)[1], D.sign() / 4)
    never = ErrorFocusedRegression(start=1.0).bind(np.zeros(4))
    assert all(never.at(epoch, 10) is not never for epoch in range(10))
    one = D[:1]
    torch.testing.assert_close(
        bound.loss_grad(one, bound.encode(torch.zeros(1), one))[1], one.sign()
    )


def test_each_target_has_its_own_weights():
    bound = ErrorFocusedRegression("mae").bind(np.zeros((4, 2)))
    z = torch.stack([D, 100 * D], 1)
    grad = bound.loss_grad(z, bound.encode(torch.zeros(4, 2), z))[1]
    torch.testing.assert_close(grad[:, 0], grad[:, 1])


# --- re-weighted errors --------------------------------------------------------------------------


def test_reweighted_squared_errors():
    bound = DynamicReweighting("squared_error", temperature=0.4).bind(np.zeros(4))
    code = bound.encode(torch.zeros(4), D)
    w = bound.weights(D, code)
    assert w.sum().item() == pytest.approx(1.0)
    torch.testing.assert_close(bound.weights(10 * D, code), w)
    torch.testing.assert_close(bound.loss_grad(D, code)[1], w * D)
    same = torch.full((4,), 2.0, dtype=torch.float64)
    torch.testing.assert_close(bound.weights(same, code), torch.full_like(same, 0.25))
    flat = DynamicReweighting("squared_error", temperature=1e9).bind(np.zeros(4))
    torch.testing.assert_close(flat.loss_grad(D, code)[1], D / 4)
    alone = bound.encode(torch.zeros(1), D[:1])
    torch.testing.assert_close(bound.loss_grad(D[:1], alone)[1], D[:1])


def test_equal_weights_first_and_last():
    bound = DynamicReweighting("squared_error", warmup=0.1, cooldown=0.2).bind(np.zeros(4))
    plain = [bound.at(epoch, 20) is bound.parts[0] for epoch in range(20)]
    assert plain == [True] * 2 + [False] * 14 + [True] * 4
    loss = DynamicReweighting(Focal(), warmup=0.0, cooldown=0.5)
    bound = loss.bind(ClassPrior(counts=[5, 5]))
    assert bound.at(4, 10) is bound
    assert bound.at(5, 10) is bound.parts[0]


def steps_to(loss, rng, limit=600, target=0.1):
    """Steps of plain SGD until the relative squared error of the weights is below the target."""
    w = rng.normal(size=20)
    X = rng.normal(size=(2000, 20))
    redundant = rng.random(2000) < 0.9
    X[np.ix_(redundant, np.arange(5, 20))] *= 0.05
    y = torch.from_numpy(X @ w)
    X = torch.from_numpy(X)
    bound = DynamicReweighting("squared_error", warmup=0.0).bind(y.numpy()) if loss else None
    theta = torch.zeros(20, dtype=torch.float64)
    for step in range(1, limit + 1):
        at = torch.from_numpy(rng.integers(0, 2000, 32))
        z = X[at] @ theta
        d = (z - y[at]) / 32
        if bound is not None:
            d = bound.loss_grad(z, bound.encode(y[at], z))[1]
        theta -= 0.03 * (X[at].T @ d)
        if ((theta.numpy() - w) ** 2).sum() < target * (w**2).sum():
            return step
    return limit


@pytest.mark.slow
def test_redundant_rows_train_in_fewer_steps():
    found = {
        kind: [steps_to(kind, np.random.default_rng(seed)) for seed in range(10)]
        for kind in (True, False)
    }
    assert np.median(found[True]) / np.median(found[False]) < 0.4


# --- estimators ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_every_loss_trains(rows, loss):
    X, y = rows
    if "support" in loss.get_params() and loss.support != "auto":
        y = y.clip(-4, 4)
    model = MLPRegressor(loss, **{**NET, "max_iter": 60}).fit(X, y)
    assert model.score(X, y) > (0.35 if "balanced" in repr(loss) else 0.6)
    weight = np.random.default_rng(0).integers(0, 3, 300)
    model = clone(model).set_params(early_stopping=True, max_iter=5).fit(X, y, sample_weight=weight)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    model.set_params(loss="squared_error")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    go_on = clone(again).set_params(early_stopping=False)
    assert np.isfinite(go_on.partial_fit(X, y).partial_fit(X, y).predict(X)).all()


def test_searches_go_through_parameters(rows):
    X, y = rows
    model = MLPRegressor(HistogramGaussian(**FEW), **{**NET, "max_iter": 3})
    search = GridSearchCV(model, {"loss__n_bins": [10, 14]}, cv=2).fit(X, y)
    assert search.best_estimator_.predict_std(X).shape == (300,)


def test_losses_of_the_other_kind_are_refused(rows):
    X, y = rows
    with pytest.raises(ValueError, match="is a loss of classifiers, MLPRegressor has numeric"):
        MLPRegressor(DynamicReweighting(Focal())).fit(X, y)
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor"):
        MLPRegressor(ErrorFocused()).fit(X, y)
    with pytest.raises(ValueError, match="does not accept binary targets"):
        MLPClassifier(loss=DynamicReweighting("squared_error")).fit(X, y > 0)
