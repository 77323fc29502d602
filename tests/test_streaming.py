"""Streaming ridge classification: equal to the ridge of all rows."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.datasets import load_digits_long_tailed
from skimb.streaming import AnalyticClassifier


@pytest.fixture(scope="module")
def tailed():
    X, y = load_digits_long_tailed()
    return X / 16, np.array(list("abcdefghij"))[y]


@parametrize_with_checks([
    AnalyticClassifier(n_components=50),
    AnalyticClassifier(balance_power=1.0, expansion=None, gamma="gcv"),
])  # fmt: skip
def test_sklearn_checks(estimator, check):
    check(estimator)


def features(model, X):
    return model._expansion(X)


def one_hot(model, y):
    return (y[:, None] == model.classes_).astype(float)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["relu", "rbf", None])
def test_any_stream_gives_the_ridge_of_all_rows(kind, power, tailed):
    X, y = tailed
    kw = {
        "expansion": kind,
        "n_components": 60,
        "balance_power": power,
        "gamma": 0.1,
        "random_state": 0,
    }
    once = AnalyticClassifier(**kw).fit(X, y)
    n = pd.Series(y).map(pd.Series(y).value_counts()).to_numpy(float)
    weight = n**-power
    weight *= len(y) / weight.sum()
    ridge = Ridge(alpha=0.1, solver="cholesky").fit(
        features(once, X), one_hot(once, y), sample_weight=weight
    )
    np.testing.assert_allclose(once.coef_, ridge.coef_, atol=1e-9)
    np.testing.assert_allclose(once.intercept_, ridge.intercept_, atol=1e-9)
    rng = np.random.default_rng(0)
    orders = [
        np.argsort(y, kind="stable"),
        np.argsort(y, kind="stable")[::-1],
        rng.permutation(len(y)),
    ]
    for order, parts in zip(orders, (7, 30, len(y)), strict=True):
        stream = AnalyticClassifier(**kw)
        for at in np.array_split(order, parts):
            stream.partial_fit(X[at], y[at])
        assert stream.classes_.tolist() == once.classes_.tolist()
        np.testing.assert_allclose(stream.coef_, once.coef_, atol=1e-9)
        np.testing.assert_allclose(stream.predict_proba(X), once.predict_proba(X), atol=1e-9)


def test_balanced_weights_are_scikit_learns(tailed):
    X, y = tailed
    model = AnalyticClassifier(2.0, expansion=None, balance_power=1.0).fit(X, y)
    ridge = Ridge(alpha=2.0).fit(
        X, one_hot(model, y), sample_weight=compute_sample_weight("balanced", y)
    )
    np.testing.assert_allclose(model.coef_, ridge.coef_, atol=1e-9)
    theirs = AnalyticClassifier(
        2.0, expansion=None, balance_power=1.0, normalize_weights=False
    ).fit(X, y)
    n = pd.Series(y).value_counts().sort_index().to_numpy(float)
    share = (1 / n) * len(n) / (1 / n).sum()
    ridge = Ridge(alpha=2.0).fit(
        X, one_hot(model, y), sample_weight=share[np.searchsorted(model.classes_, y)]
    )
    np.testing.assert_allclose(theirs.coef_, ridge.coef_, atol=1e-9)


def test_balanced_data_make_the_power_irrelevant():
    X, y = make_classification(300, 8, weights=[0.5], flip_y=0, random_state=0)
    models = [
        AnalyticClassifier(expansion=None, balance_power=p).fit(X, y) for p in (0.0, 0.5, 1.0)
    ]
    assert np.bincount(y).tolist() == [150, 150]
    for model in models[1:]:
        np.testing.assert_allclose(model.coef_, models[0].coef_, atol=1e-9)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_merge_is_the_union_and_forgetting_undoes(power, tailed):
    X, y = tailed
    kw = {"n_components": 80, "balance_power": power, "random_state": 3}
    a, b = y < "e", y >= "c"  # overlapping classes
    one, two = AnalyticClassifier(**kw).fit(X[a], y[a]), AnalyticClassifier(**kw).fit(X[b], y[b])
    union = AnalyticClassifier(**kw).fit(np.r_[X[a], X[b]], np.r_[y[a], y[b]])
    before, theirs = one.coef_, two.coef_
    one.merge(two)
    assert one.classes_.tolist() == union.classes_.tolist()
    np.testing.assert_allclose(one.coef_, union.coef_, atol=1e-9)
    np.testing.assert_array_equal(two.coef_, theirs)
    one.forget(X[b], y[b])
    assert one.classes_.tolist() == list("abcd")
    np.testing.assert_allclose(one.coef_, before, atol=1e-8)
    with pytest.raises(ValueError, match="were never learned"):
        one.forget(X[:1], np.array(["z"]))
    with pytest.raises(ValueError, match="was learned"):
        one.forget(np.repeat(X[a], 2, 0), np.repeat(y[a], 2))
    with pytest.raises(ValueError, match="random features of both models differ"):
        one.merge(AnalyticClassifier(**{**kw, "random_state": 4}).fit(X, y))
    with pytest.raises(ValueError, match="keep other sums"):
        one.merge(AnalyticClassifier(**{**kw, "fit_intercept": False}).fit(X, y))


def test_weights_are_replication(tailed):
    X, y = tailed
    w = np.random.default_rng(0).integers(0, 4, len(y))
    w[y == "j"] = 0
    kw = {"n_components": 40, "balance_power": 1.0, "random_state": 0}
    weighted = AnalyticClassifier(**kw).fit(X, y, sample_weight=w)
    repeated = AnalyticClassifier(**kw).fit(np.repeat(X, w, 0), np.repeat(y, w))
    assert weighted.classes_.tolist() == repeated.classes_.tolist() == list("abcdefghi")
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-9)


@pytest.mark.parametrize("kind", ["relu", None])
def test_sparse_rows(kind, tailed):
    X, y = tailed
    for power in (0.0, 1.0):
        kw = {"expansion": kind, "n_components": 40, "random_state": 0, "balance_power": power}
        dense = AnalyticClassifier(**kw).fit(X, y)
        thin = AnalyticClassifier(**kw).fit(sparse.csr_matrix(X), y)
        np.testing.assert_allclose(thin.coef_, dense.coef_, atol=1e-9)
        np.testing.assert_array_equal(thin.predict(sparse.csr_matrix(X)), dense.predict(X))


def test_recursion_agrees_with_the_sums_for_large_gamma(tailed):
    X, y = tailed
    kw = {"n_components": 40, "gamma": 10.0, "fit_intercept": False, "random_state": 0}
    sums = AnalyticClassifier(**kw).fit(X, y)
    stream = AnalyticClassifier(solver="rls", **kw)
    for at in np.array_split(np.argsort(y, kind="stable"), 40):
        stream.partial_fit(X[at], y[at])
    np.testing.assert_allclose(stream.coef_, sums.coef_, atol=1e-8)
    with pytest.raises(ValueError, match="cannot forget"):
        stream.forget(X, y)
    with pytest.raises(ValueError, match=r"needs balance_power=0, fit_intercept=False"):
        AnalyticClassifier(solver="rls", balance_power=1).fit(X, y)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_generalised_cross_validation_from_sums(fit_intercept, tailed):
    """Against the error computed from all rows on a grid."""
    X, y = tailed
    model = AnalyticClassifier(
        "gcv", n_components=60, fit_intercept=fit_intercept, random_state=0
    ).fit(X, y)
    H, Y = features(model, X), one_hot(model, y)
    if fit_intercept:
        H, Y = H - H.mean(0), Y - Y.mean(0)

    def error(gamma):
        hat = H @ np.linalg.solve(H.T @ H + gamma * np.eye(60), H.T)
        rows = len(H)
        return ((Y - hat @ Y) ** 2).sum() / rows / (1 - (np.trace(hat) + fit_intercept) / rows) ** 2

    least = min(error(g) for g in np.geomspace(1e-4, 1e3, 200))
    assert error(model.gamma_) <= least * (1 + 1e-6)


def test_probabilities_free_of_balance():
    X, y = make_classification(
        20000, 5, n_informative=4, n_redundant=0, weights=[0.95], random_state=0
    )
    model = AnalyticClassifier(balance_power=1.0, n_components=100, random_state=0).fit(X, y)
    assert abs(model.predict_proba(X)[:, 1].mean() - y.mean()) < 0.02
    assert model.predict(X).mean() > 2 * y.mean()  # the decision stays balanced
    np.testing.assert_array_equal(model.predict(X), model.decision_function(X) > 0)


def test_classes_may_be_declared(tailed):
    X, y = tailed
    model = AnalyticClassifier(n_components=20, balance_power=1.0, random_state=0)
    model.partial_fit(X[y == "a"], y[y == "a"], classes=list("abc"))
    assert model.classes_.tolist() == list("abc")
    assert set(model.predict(X)) == {"a"}
    assert model.predict_proba(X)[:, 1:].max() == 0
    model.partial_fit(X[y == "d"], y[y == "d"])
    assert model.classes_.tolist() == list("abcd")
    model.forget(X[y == "a"], y[y == "a"])
    assert model.classes_.tolist() == list("abcd")
    assert model.class_count_.tolist() == [0, 0, 0, (y == "d").sum()]


def test_rows_without_weight_need_not_be_known_to_be_forgotten(tailed):
    X, y = tailed
    w = np.ones(len(y) + 1)
    w[-1] = 0.0  # a label that only a row without weight has
    rows, labels = np.r_[X, X[:1]], np.r_[y, ["zz"]]
    left = AnalyticClassifier(n_components=20).fit(X, y).partial_fit(X, y)
    assert left.forget(rows, labels, sample_weight=w).class_count_.sum() == len(y)


def test_search_and_names():
    X, y = load_digits(return_X_y=True, as_frame=True)
    pipe = make_pipeline(
        StandardScaler().set_output(transform="pandas"), AnalyticClassifier(random_state=0)
    )
    grid = {
        "analyticclassifier__balance_power": [0.0, 1.0],
        "analyticclassifier__n_components": [50, 200],
    }
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.best_params_["analyticclassifier__n_components"] == 200
    assert search.best_estimator_[-1].feature_names_in_[0] == X.columns[0]


def test_small_gamma_warns_instead_of_failing():
    X = np.repeat(np.random.default_rng(0).normal(size=(3, 4)), 5, 0)
    X = np.c_[X, X]
    with pytest.warns(RuntimeWarning, match="not positive definite"):
        AnalyticClassifier(1e-300, expansion=None).fit(X, np.arange(15) % 3 > 0)


def test_sums_that_cannot_fit_are_refused():
    X = sparse.csr_matrix(([1.0, 1.0], ([0, 1], [5, 39_999])), shape=(4, 40_000))
    y = [0, 1, 0, 1]
    with pytest.raises(ValueError, match=r"1 x 40001 x 40001 numbers, take 11.9 GiB"):
        AnalyticClassifier(expansion=None).fit(X, y)
    with pytest.raises(ValueError, match=r"The sums of 50001 features"):
        AnalyticClassifier(n_components=50_000).fit(X[:, :3], y)
    model = AnalyticClassifier(n_components=20, random_state=0).fit(X, y)
    assert model.predict(X).shape == (4,)


def test_texts_after_numbers_are_refused():
    X = np.eye(4)
    model = AnalyticClassifier(n_components=20, random_state=0).partial_fit(X, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="mixes labels"):
        model.partial_fit(X, ["a", "b", "a", "b"])
    with pytest.raises(ValueError, match="mixes labels"):
        model.partial_fit(X, [0, 1, 0, 1], classes=["a"])
    assert model.classes_.tolist() == [0, 1]
