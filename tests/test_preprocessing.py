"""Encodings and scales of numbers: hand-computed values, weights, missing values, scikit-learn's contract."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.linear_model import LinearClassifier
from skimb.preprocessing import PiecewiseLinearEncoder, SquashingScaler
from skimb.preprocessing._prepared import TablePreparation
from skimb.preprocessing._scaling import QuantileNormalizer
from skimb.preprocessing._table import TableReader

nan, inf = np.nan, np.inf


@parametrize_with_checks(
    [
        PiecewiseLinearEncoder(),
        PiecewiseLinearEncoder(5, missing="zeros", max_extrapolation=inf, sparse_output=True),
        PiecewiseLinearEncoder(missing="error", dtype=np.float32),
        PiecewiseLinearEncoder(edges="tree", min_samples_leaf=2),
        SquashingScaler(),
    ]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def column(*values):
    return np.array(values, float)[:, None]


def rare_rows(n=400, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, (np.abs(X[:, 0]) > 1.4).astype(int)


# --- values of the encoding ---------------------------------------------------------------------------


@pytest.mark.parametrize("thin", [False, True])
def test_values_by_hand(thin):
    encoder = PiecewiseLinearEncoder(3, sparse_output=thin).fit(column(7, 3, 0, 1))
    assert encoder.edges_[0].tolist() == [0, 1, 3, 7]
    assert encoder.n_bins_.tolist() == [3]
    out = encoder.transform(column(0, 0.25, 1, 2, 3, 6, 7, 9, 1e9, -0.5, -1e9))
    assert sparse.issparse(out) is thin
    wanted = [
        [0, 0, 0],
        [0.25, 0, 0],
        [1, 0, 0],
        [1, 0.5, 0],
        [1, 1, 0],
        [1, 1, 0.75],
        [1, 1, 1],
        [1, 1, 1.5],  # half a width beyond
        [1, 1, 2],  # max_extrapolation=1
        [-0.5, 0, 0],
        [-1, 0, 0],
    ]
    np.testing.assert_array_equal(out.toarray() if thin else out, wanted)


@pytest.mark.parametrize(
    ("bound", "low", "high"), [(0, 0, 1), (0.25, -0.25, 1.25), (inf, -100, 50.5)]
)
def test_extrapolation(bound, low, high):
    encoder = PiecewiseLinearEncoder(2, max_extrapolation=bound).fit(column(0, 1, 3))
    assert encoder.edges_[0].tolist() == [0, 1, 3]
    np.testing.assert_allclose(encoder.transform(column(-100, 102)), [[low, 0], [1, high]])


def test_quantiles_are_values_and_equal_edges_count_once():
    X = column(*[0] * 90, *range(1, 11))
    encoder = PiecewiseLinearEncoder(10).fit(X)
    assert encoder.edges_[0].tolist() == [0, 10]
    encoder = PiecewiseLinearEncoder(20).fit(X)
    assert encoder.edges_[0].tolist() == [0, 5, 10]
    rows = np.random.default_rng(0).normal(size=(501, 1))
    found = PiecewiseLinearEncoder(16).fit(rows).edges_[0]
    np.testing.assert_array_equal(
        found, np.quantile(rows, np.linspace(0, 1, 17), method="inverted_cdf")
    )
    assert PiecewiseLinearEncoder().fit(column(0, 1, 1, 0)).edges_[0].tolist() == [0, 1]


def test_constant_and_single_rows_give_zero_whatever_comes():
    encoder = PiecewiseLinearEncoder().fit([[5.0, 1.0], [5.0, 2.0]])
    assert [e.tolist() for e in encoder.edges_] == [[5, 5], [1, 2]]
    np.testing.assert_array_equal(
        encoder.transform([[5, 1], [99, 2], [nan, 1.5]]), [[0, 0], [0, 1], [0, 0.5]]
    )
    encoder = PiecewiseLinearEncoder(edges="tree").fit([[5.0]], [1])
    np.testing.assert_array_equal(encoder.transform([[-7.0]]), [[0]])


def test_missing_values_have_an_indicator_where_fit_saw_them():
    X = np.array([[0, 0], [1, 1], [nan, 2], [2, 2]], float)
    encoder = PiecewiseLinearEncoder(2).fit(X)
    assert encoder.indicated_features_.tolist() == [0]
    assert encoder.medians_.tolist() == [1, 1]
    wanted = [[0, 0, 0, 0, 1], [1, 0, 1, 0, 0]]  # the second NaN is the median of its feature
    np.testing.assert_array_equal(encoder.transform([[nan, 0], [1, nan]]), wanted)
    assert encoder.get_feature_names_out().tolist() == [
        "x0_bin0",
        "x0_bin1",
        "x1_bin0",
        "x1_bin1",
        "missingindicator_x0",
    ]
    zeros = clone(encoder).set_params(missing="zeros").fit(X)
    np.testing.assert_array_equal(zeros.transform([[nan, nan]]), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="contains NaN"):
        clone(encoder).set_params(missing="error").fit(X)
    strict = clone(encoder).set_params(missing="error").fit(X[:2])
    with pytest.raises(ValueError, match="contains NaN"):
        strict.transform(X)


def test_a_feature_of_nothing_but_nan():
    X = [[nan, 1.0], [nan, 2.0]]
    # two rows are too few for a split
    for model in (PiecewiseLinearEncoder(), PiecewiseLinearEncoder(edges="tree")):
        encoder = model.fit(X, [0, 1])
        assert encoder.edges_[0].tolist() == [0, 0]
        assert encoder.medians_.tolist() == [0, 1]
        np.testing.assert_array_equal(encoder.transform([[nan, 1], [3, 2]]), [[0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize("model", [PiecewiseLinearEncoder(), SquashingScaler()], ids=repr)
def test_infinite_values_are_refused(model):
    with pytest.raises(ValueError, match="infinity"):
        clone(model).fit([[1.0], [inf]])
    with pytest.raises(ValueError, match="infinity"):
        clone(model).fit([[1.0], [2.0]]).transform([[-inf]])


@pytest.mark.parametrize(
    "values", [(-1.7e308, 0.0, 1.7e308), (1e-310, 2e-310, 4e-310), (1e300, 1e300, 1.5e300)]
)
@pytest.mark.parametrize("model", [PiecewiseLinearEncoder(2), SquashingScaler()], ids=repr)
def test_extreme_numbers_stay_finite_and_in_order(model, values):
    out = clone(model).fit(column(*values)).transform(column(-1.7e308, *values, 1.7e308)).sum(1)
    assert np.isfinite(out).all()
    assert (np.diff(out) >= 0).all()
    assert out[0] < out[-1]


def test_float32_keeps_its_type_and_bins():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)).astype(np.float32)
    X[3, 1] = nan
    out = PiecewiseLinearEncoder().fit_transform(X)
    assert out.dtype == np.float32
    np.testing.assert_allclose(
        out, PiecewiseLinearEncoder().fit_transform(X.astype(float)), atol=1e-6
    )
    assert PiecewiseLinearEncoder(dtype=np.float64).fit_transform(X).dtype == np.float64
    assert (
        PiecewiseLinearEncoder(dtype=np.float32).fit_transform(X.astype(float)).dtype == np.float32
    )
    assert PiecewiseLinearEncoder().fit_transform(np.arange(6).reshape(3, 2)).dtype == np.float64
    assert SquashingScaler().fit_transform(X).dtype == np.float32
    unbounded = PiecewiseLinearEncoder(max_extrapolation=inf).fit(
        column(0, 1e-30).astype(np.float32)
    )
    assert np.isfinite(unbounded.transform(np.array([[1e30], [-1e30]], np.float32))).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    st.lists(st.floats(-2e6, 2e6, width=32), min_size=1, max_size=20),
    st.integers(2, 9),
)
def test_the_encoding_orders_and_rebuilds_numbers(seen, new, n_bins):
    encoder = PiecewiseLinearEncoder(n_bins).fit(column(*seen))
    edges = encoder.edges_[0]
    assert encoder.n_bins_[0] <= n_bins
    new = np.sort(column(*new), axis=0)
    out = encoder.transform(new)
    assert (np.diff(out, axis=0) >= 0).all()  # each component grows with the number
    assert (np.diff(np.clip(out, 0, 1), axis=1) <= 0).all()  # and bins fill from below
    rebuilt = edges[0] + out @ np.diff(edges)
    inside = (new[:, 0] >= edges[0]) & (new[:, 0] <= edges[-1])
    np.testing.assert_allclose(rebuilt[inside], new[inside, 0], rtol=1e-12, atol=1e-8)
    thin = clone(encoder).set_params(sparse_output=True).fit(column(*seen)).transform(new)
    np.testing.assert_array_equal(thin.toarray(), out)
    index, fraction = encoder._locate(new)
    k = np.arange(encoder.n_bins_[0])
    np.testing.assert_array_equal(out, np.where(k == index, fraction, k < index))


def test_sparse_output_is_canonical_and_equal_to_dense():
    X, _ = rare_rows(300)
    X[::5, 1] = nan
    X[::2, 2] = X[:, 2].min()
    dense = PiecewiseLinearEncoder(7).fit_transform(X)
    thin = PiecewiseLinearEncoder(7, sparse_output=True).fit_transform(X)
    assert thin.format == "csr"
    assert thin.has_sorted_indices
    assert (thin.data != 0).all()
    np.testing.assert_array_equal(thin.toarray(), dense)


# --- edges from weights and targets -------------------------------------------------------------------

MODELS = [
    PiecewiseLinearEncoder(6),
    PiecewiseLinearEncoder(6, edges="tree", min_samples_leaf=9),
    SquashingScaler(),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
@pytest.mark.parametrize("continuous", [False, True])
def test_weights_are_repeated_rows(model, continuous):
    X, y = rare_rows(200)
    y = X[:, 0] ** 2 if continuous else y
    X[::9, 1] = nan
    w = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = clone(model).fit(X, y, sample_weight=w)
    repeated = clone(model).fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-12)
    unweighted = clone(model).fit(X, y)
    assert not np.allclose(unweighted.transform(X).sum(), weighted.transform(X).sum())
    same = clone(model).fit(X, y, sample_weight=np.ones(len(y)))
    np.testing.assert_allclose(unweighted.transform(X), same.transform(X), rtol=1e-12)


@pytest.mark.parametrize("factor", [1 / 3, 0.1, 7.3])
def test_a_common_factor_of_weights_moves_no_quantile(factor):
    X = np.random.default_rng(0).normal(size=(480, 2))
    w = np.random.default_rng(1).integers(1, 4, 480).astype(float)
    for model in (PiecewiseLinearEncoder(), SquashingScaler()):
        one, other = (clone(model).fit(X, sample_weight=v) for v in (w, factor * w))
        np.testing.assert_array_equal(one.transform(X), other.transform(X))


@pytest.mark.parametrize("labels", [(0, 1), ("common", "rare"), (False, True), (0.25, 3.5)])
def test_tree_edges_lie_where_the_target_changes(labels):
    x = np.arange(300.0)
    y = np.array(labels)[((x >= 100) & (x < 220)).astype(int)]
    encoder = PiecewiseLinearEncoder(edges="tree").fit(x[:, None], y)
    assert encoder.edges_[0].tolist() == [0, 99.5, 219.5, 299]
    large = PiecewiseLinearEncoder(edges="tree", min_samples_leaf=90).fit(x[:, None], y)
    assert large.edges_[0].tolist() == [0, 99.5, 209.5, 299]  # 90 rows are left on the right
    stump = PiecewiseLinearEncoder(2, edges="tree").fit(x[:, None], y)
    assert len(stump.edges_[0]) == 3


def test_tree_edges_of_large_numbers_are_exact():
    x = 1.7e9 + np.arange(200.0) / 4  # 32-bit floats are 128 apart here
    encoder = PiecewiseLinearEncoder(edges="tree").fit(x[:, None], np.arange(200) >= 100)
    assert encoder.edges_[0].tolist() == [x[0], 0.5 * (x[99] + x[100]), x[-1]]


def test_what_a_split_must_gain_has_no_unit():
    X, _ = rare_rows(400)
    y = X[:, 0] ** 2
    edges = [
        PiecewiseLinearEncoder(edges="tree").fit(X, target).edges_
        for target in (y, 1e-4 * y, np.c_[1e6 * y, 1e6 * y], np.ldexp(y, 1010), np.ldexp(y, -1000))
    ]
    for other in edges[1:]:
        for one, two in zip(edges[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    none = PiecewiseLinearEncoder(edges="tree", min_impurity_decrease=2.0).fit(X, y)
    assert none.n_bins_.tolist() == [1, 1, 1]


def test_whole_numbers_are_classes_or_numbers():
    rng = np.random.default_rng(0)
    x = np.arange(600.0)[:, None]
    counts = rng.permutation(600) + np.where(x[:, 0] < 300, 0, 10_000)
    encoder = PiecewiseLinearEncoder(2, edges="tree", target_type="continuous").fit(x, counts)
    assert encoder.edges_[0][1] == 299.5
    as_fractions = PiecewiseLinearEncoder(2, edges="tree").fit(x, counts + 0.25).edges_[0]
    np.testing.assert_array_equal(encoder.edges_[0], as_fractions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn wonders at so many classes
        classes = PiecewiseLinearEncoder(2, edges="tree").fit(x, counts).edges_[0]
    assert not np.array_equal(classes, as_fractions)
    with pytest.raises(ValueError, match="target_type='continuous' needs a y of numbers, got 'a'"):
        PiecewiseLinearEncoder(edges="tree", target_type="continuous").fit(x[:2], ["a", "b"])


def test_trees_take_labels_that_hold_together():
    x = np.arange(200.0)
    y = np.c_[x >= 66, x >= 132].astype(int)
    found = PiecewiseLinearEncoder(edges="tree").fit(x[:, None], y).edges_[0]
    assert found.tolist() == [0, 65.5, 131.5, 199]
    thin = PiecewiseLinearEncoder(edges="tree").fit(x[:, None], sparse.csr_matrix(y)).edges_[0]
    assert thin.tolist() == found.tolist()


def test_trees_need_a_target():
    with pytest.raises(ValueError, match="requires y to be passed"):
        PiecewiseLinearEncoder(edges="tree").fit([[1.0], [2.0]])
    with pytest.raises(ValueError, match="mixes labels"):
        PiecewiseLinearEncoder(edges="tree").fit([[1.0], [2.0]], [1, "a"])


# --- in scikit-learn ----------------------------------------------------------------------------------


def test_frames_go_in_and_come_out():
    X = pd.DataFrame({"age": [1.0, 2, 4, nan], "income": [0.0, 0, 1, 1]}, index=[7, 8, 9, 5])
    out = PiecewiseLinearEncoder(2).set_output(transform="pandas").fit_transform(X)
    assert out.columns.tolist() == ["age_bin0", "age_bin1", "income_bin0", "missingindicator_age"]
    assert out.index.tolist() == [7, 8, 9, 5]
    assert out.iloc[3].tolist() == [0, 0, 1, 1]
    out = SquashingScaler().set_output(transform="pandas").fit_transform(X)
    assert out.columns.tolist() == ["age", "income"]
    with pytest.raises(ValueError, match="sparse"):
        PiecewiseLinearEncoder(sparse_output=True).set_output(transform="pandas").fit_transform(X)


def test_polars_frames_go_in_and_come_out():
    pl = pytest.importorskip("polars")
    X = pl.DataFrame({"age": [1.0, 2, 4, None], "income": [0, 0, 1, 1]})
    out = PiecewiseLinearEncoder(2).set_output(transform="polars").fit_transform(X)
    assert out.columns == ["age_bin0", "age_bin1", "income_bin0", "missingindicator_age"]
    assert out.row(3) == (0, 0, 1, 1)


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize(
    "head", [LogisticRegression(), LinearClassifier()], ids=lambda m: type(m).__name__
)
def test_linear_models_fit_curves(head, thin):
    X, y = rare_rows(1500)  # rare on both sides: no line tells them apart
    encoder = PiecewiseLinearEncoder(16, sparse_output=thin)
    score = {"scoring": "average_precision", "cv": 3}
    assert cross_val_score(make_pipeline(StandardScaler(), clone(head)), X, y, **score).mean() < 0.5
    assert cross_val_score(make_pipeline(encoder, clone(head)), X, y, **score).mean() > 0.9


def test_search_over_bins_and_edges():
    X, y = rare_rows(600)
    pipe = make_pipeline(PiecewiseLinearEncoder(), LogisticRegression())
    grid = {
        "piecewiselinearencoder__n_bins": [2, 16],
        "piecewiselinearencoder__edges": ["quantile", "tree"],
    }
    found = GridSearchCV(pipe, grid, cv=2, scoring="average_precision", error_score="raise").fit(
        X, y
    )
    assert found.best_score_ > 0.9


def test_weights_are_routed():
    X, y = rare_rows(200)
    w = np.random.default_rng(0).integers(1, 5, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            PiecewiseLinearEncoder(4).set_fit_request(sample_weight=True),
            LinearRegression().set_fit_request(sample_weight=True),
        ).fit(X, y, sample_weight=w)
    alone = PiecewiseLinearEncoder(4).fit(X, sample_weight=w)
    np.testing.assert_array_equal(pipe[0].edges_[0], alone.edges_[0])


@pytest.mark.parametrize(
    "model", [*MODELS, PiecewiseLinearEncoder(5, sparse_output=True)], ids=repr
)
def test_what_was_fitted_stays(model):
    X, y = rare_rows(100)
    X[0, 0] = nan
    fitted = clone(model).fit(X, y)
    new = np.r_[X, [[nan] * 3, [99.0] * 3]]
    dense = lambda out: out.toarray() if sparse.issparse(out) else out  # noqa: E731
    before = dense(fitted.transform(new))
    other = {
        "n_bins": 3,
        "missing": "zeros",
        "max_extrapolation": 0.1,
        "dtype": np.float32,
        "sparse_output": False,
    }
    other["max_absolute_value"] = 1.0
    fitted.set_params(**{k: v for k, v in other.items() if k in fitted.get_params()})
    np.testing.assert_array_equal(dense(fitted.transform(new)), before)
    np.testing.assert_array_equal(dense(pickle.loads(pickle.dumps(fitted)).transform(new)), before)


@pytest.mark.parametrize(
    "params",
    [
        {"n_bins": 1},
        {"edges": "uniform"},
        {"missing": "mean"},
        {"max_extrapolation": -0.1},
        {"max_extrapolation": nan},
        {"min_samples_leaf": 0},
        {"dtype": np.int64},
    ],
    ids=str,
)
def test_wrong_parameters_are_named(params):
    with pytest.raises(
        ValueError, match=f"'{next(iter(params))}' parameter of PiecewiseLinearEncoder"
    ):
        PiecewiseLinearEncoder(**params).fit([[1.0], [2.0]])


# --- scales -------------------------------------------------------------------------------------------


def test_squashing_by_hand():
    X = np.c_[[0.0, 1, 2, 3, 4, 1000], [0, 0, 0, 0, 0, 8], [5] * 6]
    X[5, 2] = nan
    model = SquashingScaler().fit(X)
    assert model.center_.tolist() == [2.5, 0, 5]
    assert model.scale_.tolist() == [3, 4, inf]  # interquartile range, half of the range, constant
    z = (np.array([0, 2.5, 4, 1000]) - 2.5) / 3
    out = model.transform(np.c_[[0, 2.5, 4, 1000], [0, 4, 8, nan], [5, 6, nan, 5]])
    np.testing.assert_allclose(out[:, 0], z / np.sqrt(1 + (z / 3) ** 2))
    np.testing.assert_allclose(out[:, 1], [0, 1 / np.sqrt(1 + 1 / 9), 2 / np.sqrt(1 + 4 / 9), nan])
    np.testing.assert_array_equal(out[:, 2], [0, 0, nan, 0])
    small = SquashingScaler(0.5).fit(X).transform(X)
    assert np.nanmax(np.abs(small)) <= 0.5


def test_quantiles_become_normal():
    rng = np.random.default_rng(0)
    numbers = np.c_[
        rng.exponential(size=3000), rng.integers(0, 3, 3000), np.full(3000, 1e9), [nan] * 3000
    ]
    numbers[::10, 0] = nan
    model = QuantileNormalizer(random_state=0).fit(numbers)
    assert model.transformer_.n_quantiles_ == 100
    out = model.transform(numbers)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(numbers))
    outside = np.r_[numbers, numbers[:300] * 3.0 - 1.0]
    varying = [0, 1]
    shares = model.transformer_.transform(outside[:, varying]).clip(1e-7, 1.0 - 1e-7)
    np.testing.assert_allclose(
        model.transform(outside)[:, varying], stats.norm.ppf(shares), rtol=1e-8
    )
    there = out[~np.isnan(out[:, 0]), 0]
    np.testing.assert_allclose([there.mean(), there.std()], [0, 1], atol=0.02)
    assert np.corrcoef(np.argsort(np.argsort(there)), np.argsort(np.argsort(numbers[numbers[:, 0] >= 0, 0])))[0, 1] > 0.999  # fmt: skip
    levels = [out[numbers[:, 1] == k, 1] for k in range(3)]
    assert all(np.ptp(level) == 0 for level in levels)
    # noise spreads equal values, so that each level stands for the middle of its share
    np.testing.assert_allclose([level[0] for level in levels], [-0.97, 0, 0.97], atol=0.1)
    assert (out[:, 2] == 0).all()
    np.testing.assert_array_equal(out, QuantileNormalizer(0).fit(numbers).transform(numbers))
    assert QuantileNormalizer(0).fit(numbers[:4]).transform(numbers[:4]).shape == (4, 4)


@pytest.mark.parametrize("power", [-1060, -600, -40, 40, 600, 1015])
def test_quantiles_of_any_unit(power):
    rng = np.random.default_rng(0)
    numbers = np.c_[rng.normal(size=400), np.full(400, 0.1)]
    numbers[::9, 0] = nan
    if power == -1060:  # subnormal numbers have few digits
        numbers = np.c_[rng.integers(-2000, 2000, 400), np.ones(400)]
    other = np.ldexp(numbers, power)
    one, two = (QuantileNormalizer(0).fit(x).transform(x) for x in (numbers, other))
    np.testing.assert_array_equal(one, two)
    assert len(np.unique(two[:, 0])) > 350
    assert (two[:, 1] == 0.0).all()
    assert np.isfinite(QuantileNormalizer(0).fit(other).transform(np.full((1, 2), 1e308))).all()


# --- tables for nets ----------------------------------------------------------------------------------


def frame(n=120):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"a": rng.normal(size=n), "b": rng.exponential(size=n), "c": rng.choice(list("xyz"), n)}
    )
    X.loc[::7, "b"] = nan
    return X, (X["a"] > 0.5).astype(int).to_numpy()


@pytest.mark.parametrize("scaling", ["quantile", "squash"])
@pytest.mark.parametrize("edges", ["quantile", "tree"])
def test_a_preparation_scales_indicates_and_locates(scaling, edges):
    X, y = frame()
    reader = TableReader()
    table = reader.fit_read(X)
    train = np.arange(80)
    model = TablePreparation(scaling, edges=edges, n_bins=8, random_state=0)
    model.fit(table[train], reader.missing_, y[train])
    out = model.apply(table)
    assert np.isfinite(out.numbers).all()
    assert out.missing.tolist() == X["b"].isna().astype(float).to_frame().to_numpy().tolist()
    np.testing.assert_array_equal(out.codes[:, 0], X["c"].map({"x": 1, "y": 2, "z": 3}))
    lost = X["b"].isna().to_numpy()
    assert (out.numbers[lost, 1] == 0).all()
    assert (out.index[lost, 1] == 0).all()
    assert (out.fraction[lost, 1] == 0).all()
    edges = model.encoder_.edges_[0]
    rebuilt = edges[out.index[:, 0]] + out.fraction[:, 0] * np.diff(edges)[out.index[:, 0]]
    inside = (out.numbers[:, 0] >= edges[0]) & (out.numbers[:, 0] <= edges[-1])
    np.testing.assert_allclose(rebuilt[inside], out.numbers[inside, 0], atol=1e-12)
    assert inside[train].all()
    assert abs(np.median(out.numbers[train, 0])) < 0.1
    again = pickle.loads(pickle.dumps(model)).apply(table[5:9])
    np.testing.assert_array_equal(again.fraction, out[5:9].fraction)
    # a first NaN in a feature is its median
    X.loc[0, "a"] = nan
    first = model.apply(reader.read(X))[:1]
    middle = model.encoder_._locate(np.array([[0.0, 0.0]]))
    assert first.numbers[0, 0] == 0
    assert (first.index[0, 0], first.fraction[0, 0]) == (middle[0][0, 0], middle[1][0, 0])
    assert first.missing.shape == (1, 1)


def test_a_preparation_without_numbers_or_bins():
    X, _ = frame()
    reader = TableReader()
    out = (
        TablePreparation()
        .fit(reader.fit_read(X[["c"]]), reader.missing_)
        .apply(reader.read(X[["c"]]))
    )
    assert out.numbers.shape == out.index.shape == out.fraction.shape == (120, 0)
    assert out.codes.shape == (120, 1)
    table = reader.fit_read(X)
    plain = TablePreparation("squash", edges=None).fit(table, reader.missing_).apply(table)
    assert plain.index is None
    assert plain[:3].fraction is None
    np.testing.assert_array_equal(
        plain.numbers, np.nan_to_num(SquashingScaler().fit_transform(table.numbers))
    )
