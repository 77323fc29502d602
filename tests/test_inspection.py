"""Neural collapse: closed forms against optimisation, measures of known geometries, the display."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import make_classification

from skimb.inspection import NeuralCollapseDisplay, expected_geometry, neural_collapse
from skimb.neural_network import MLPClassifier


@pytest.fixture(scope="module")
def rare():
    return make_classification(
        400, 8, n_informative=5, n_classes=3, weights=[0.7, 0.2], random_state=0
    )


def cosine(gram, i, j):
    return gram[i, j] / np.sqrt(gram[i, i] * gram[j, j])


# --- closed forms ----------------------------------------------------------------------------


def test_orthogonal_lengths_are_those_of_the_unconstrained_model():
    counts, decay, feature_decay = np.array([20, 10, 5, 2]), 5e-3, 5e-4
    found = expected_geometry(counts, "orthogonal", weight_decay=decay, feature_decay=feature_decay)
    N, K, d = counts.sum(), 4, 5
    Y = np.repeat(np.eye(K), counts, axis=0).T

    def risk(x):
        W, H = x[: K * d].reshape(K, d), x[K * d :].reshape(d, N)
        R = W @ H - Y
        value = (R**2).sum() / (2 * N) + decay / 2 * (W**2).sum() + feature_decay / 2 * (H**2).sum()
        grad = (R @ H.T / N + decay * W, W.T @ R / N + feature_decay * H)
        return value, np.concatenate([g.ravel() for g in grad])

    start = np.random.default_rng(0).normal(size=K * d + d * N)
    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-10}
    x = minimize(risk, start, jac=True, method="L-BFGS-B", options=options).x
    W, H = x[: K * d].reshape(K, d), x[K * d :].reshape(d, N)
    np.testing.assert_allclose((W**2).sum(1), found.weight_lengths**2, atol=2e-3)
    first = np.r_[0, counts.cumsum()[:-1]]
    np.testing.assert_allclose((H[:, first] ** 2).sum(0), found.mean_lengths**2, atol=2e-3)
    assert not found.collapsed.any()


def test_golden_values_and_the_collapse_of_a_class():
    kw = {"weight_decay": 5e-4, "feature_decay": 5e-5}
    found = expected_geometry([100, 50, 25, 10], "orthogonal", **kw)
    np.testing.assert_allclose(found.weight_lengths**2, [3.1530, 2.2268, 1.5719, 0.9908], atol=2e-4)
    np.testing.assert_allclose(found.mean_lengths**2, [0.3153, 0.4454, 0.6288, 0.9908], atol=2e-4)
    N = 1000 + 100 + 2
    edge = N**2 * 1e-3 * 1e-3  # n <= N^2 lw lh collapses
    assert 1 < edge < 100
    found = expected_geometry([1000, 100, 1], "orthogonal", weight_decay=1e-3, feature_decay=1e-3)
    assert found.collapsed.tolist() == [False, False, True]
    # two layers: a class that survives fits at least (M - 1) / M of its target
    M, lw, lh = 2, 0.012, 0.012
    counts = np.array([200.0, 60.0, 20.0, 6.0, 2.0])
    found = expected_geometry(counts, "orthogonal", weight_decay=lw, feature_decay=lh, depth=M)
    assert found.collapsed.any()
    assert not found.collapsed.all()
    t = np.sqrt((found.weight_lengths**2 * lw) ** (M + 1) / (lw**M * counts * lh))
    assert (t[~found.collapsed] >= (M - 1) / M).all()
    b = M * counts.sum() * (counts.sum() * lw**M * lh) ** (1 / M)
    np.testing.assert_array_equal(found.collapsed, b / counts > (M - 1) ** ((M - 1) / M) / M)


def test_simplex_labels_of_two_sizes():
    found = expected_geometry([50, 50, 5, 5])
    ratio = found.weight_lengths[0] / found.weight_lengths[2]
    np.testing.assert_allclose(ratio, 1.41, atol=0.005)
    np.testing.assert_allclose(found.mean_lengths[0] / found.mean_lengths[2], 0.66, atol=0.005)
    for gram, wanted in (
        (found.weight_gram, (-0.46, 0.08, -0.38)),
        (found.mean_gram, (-0.19, -0.65, -0.27)),
    ):
        pairs = [cosine(gram, *pair) for pair in ((0, 1), (2, 3), (0, 2))]
        np.testing.assert_allclose(pairs, wanted, atol=0.005)


@pytest.mark.parametrize("theory", ["simplex", "orthogonal", "seli"])
def test_expectations_follow_the_order_of_classes(theory):
    counts, order = np.array([40, 7, 12]), [2, 0, 1]
    one, other = expected_geometry(counts, theory), expected_geometry(counts[order], theory)
    np.testing.assert_allclose(other.weight_lengths, one.weight_lengths[order])
    np.testing.assert_allclose(other.mean_gram, one.mean_gram[np.ix_(order, order)], atol=1e-12)
    even = expected_geometry([9, 9, 9], "seli")
    np.testing.assert_allclose(cosine(even.weight_gram, 0, 1), -0.5)
    np.testing.assert_allclose(cosine(even.mean_gram, 0, 2), -0.5)


# --- measures --------------------------------------------------------------------------------


def test_collapsed_features_are_collapsed():
    y = np.repeat(["a", "b", "c"], [9, 3, 1])
    H = np.eye(3)[np.unique(y, return_inverse=True)[1]] @ np.linalg.qr(np.random.rand(5, 3))[0].T
    W = np.stack([H[y == c][0] for c in "abc"])
    found = neural_collapse(H, y, W - W.mean(0), theory="simplex")
    zeros = ("nc1", "nc3", "nc2_mean_lengths", "nc2_mean_cosines", "nc2_weight_cosines")
    zeros += ("within_share", "mean_distance", "weight_distance", "weight_slope")
    for name in zeros:
        assert abs(found[name]) < 1e-7, name
    np.testing.assert_allclose(found.rare_cosine, -0.5)
    assert found.nc4 == 1.0
    assert (found.variability < 1e-20).all()
    orthogonal = neural_collapse(H, y, W, theory="orthogonal")
    assert orthogonal.nc2_mean_cosines < 1e-7
    assert abs(orthogonal.nc3) < 1e-7


def test_measures_do_not_depend_on_rotation_and_scale():
    rng = np.random.default_rng(0)
    H, y, W = rng.normal(size=(60, 4)), np.repeat([0, 1, 2], [40, 15, 5]), rng.normal(size=(3, 4))
    Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    one, other = neural_collapse(H, y, W), neural_collapse(3.0 * H @ Q, y, W @ Q)
    for name in ("nc1", "nc2_mean_lengths", "nc2_mean_cosines", "nc3", "nc4", "mean_slope"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(one.variability, other.variability)
    S = sum(np.outer(h, h) for h in H - np.stack([H[y == k].mean(0) for k in range(3)])[y]) / 60
    M = np.stack([H[y == k].mean(0) for k in range(3)])
    B = (M - M.mean(0)).T @ (M - M.mean(0)) / 3
    np.testing.assert_allclose(one.nc1, np.trace(S @ np.linalg.pinv(B, rcond=1e-6)) / 3)
    single = neural_collapse(H[:41], y[:41])  # a class of one row
    assert single.variability[1] == 0.0
    assert single.nc3 is None


def test_a_collapsed_head_shows():
    W = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.05, 1], [0, 0, 1]])
    y = np.repeat(range(4), [50, 40, 2, 3])
    found = neural_collapse(np.random.default_rng(0).normal(size=(95, 3)), y, W)
    assert found.rare_cosine > 0.99


def test_a_net_with_squared_error_has_lengths_by_class_size(rare):
    """One row of weights for two classes counts half for each."""
    X, y = rare
    model = MLPClassifier((12,), solver="lbfgs", random_state=0, max_iter=500).fit(X, y)
    features, coef, intercept = model.last_layer(X)
    np.testing.assert_allclose(features @ coef.T + intercept, model.decision_function(X), rtol=1e-6)
    found = neural_collapse(features, y, coef, intercept)
    assert found.counts.tolist() == np.bincount(y).tolist()
    assert 0 < found.nc1 < 100
    two = model.fit(X, y > 0).last_layer(X)
    assert two[1].shape == (1, 12)
    halves = neural_collapse(two[0], y > 0, *two[1:])
    np.testing.assert_allclose(halves.weight_lengths, np.linalg.norm(two[1]) / 2)


def test_vertices_are_what_the_fixed_head_shows(rare):
    X, y = rare
    model = MLPClassifier((12,), head="etf", random_state=0, max_iter=40, tol=0).fit(X, y)
    features, vertices, _ = model.last_layer(X)
    assert features.shape == (400, 3)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(16.0 * unit @ vertices.T, model.decision_function(X), rtol=1e-6)
    found = neural_collapse(features, y, vertices, theory="simplex")
    assert found.nc2_weight_cosines < 1e-9
    assert found.weight_distance < 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_geometry([5]), "two or more classes"),
        (lambda: expected_geometry([5, 0]), "counts"),
        (lambda: expected_geometry([5, 2], "gof"), "theory='gof'"),
        (lambda: expected_geometry([5, 2], weight_decay=1.0, feature_decay=1.0), "go together"),
        (lambda: expected_geometry([5, 2], "orthogonal", weight_decay=1.0), "go together"),
        (lambda: neural_collapse(np.eye(3), [1, 1, 1]), "compares classes"),
        (lambda: neural_collapse(np.eye(3), [1, 2, 3], np.eye(2)), "do not fit 3 classes"),
        (lambda: neural_collapse(np.eye(3), [1, 2, 3], theory=None), "theory=None"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the display -----------------------------------------------------------------------------


def test_the_display_holds_and_draws_its_data(rare):
    from matplotlib import pyplot

    X, y = rare
    model = MLPClassifier((12,), random_state=0, max_iter=20, tol=0).fit(X, y)
    figure, ax = pyplot.subplots()
    display = NeuralCollapseDisplay.from_estimator(model, X, y, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    found = neural_collapse(*model.last_layer(X)[:1], y, *model.last_layer(X)[1:])
    np.testing.assert_allclose(display.mean_lengths, found.mean_lengths)
    np.testing.assert_allclose(display.weight_lengths, found.weight_lengths)
    assert (len(display.points_), len(display.lines_)) == (2, 2)
    drawn = display.points_[1].get_offsets()
    lengths = found.weight_lengths / np.exp(np.log(found.weight_lengths).mean())
    np.testing.assert_allclose(drawn, np.stack([found.counts, lengths], 1))
    alone = NeuralCollapseDisplay.from_features(np.eye(4)[[0, 0, 1, 2, 3]], [0, 0, 1, 2, 3])
    assert alone.weight_lengths is None
    assert len(alone.points_) == 1
    pyplot.close("all")
    with pytest.raises(TypeError, match="from_features"):
        NeuralCollapseDisplay.from_estimator(object(), X, y)
