"""What boosted classifiers take: frames with categories, labels, validation sets, threads."""

import copy
import pickle

import numpy as np
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")
pd = pytest.importorskip("pandas")
skops = pytest.importorskip("skops.io")

from skimb.boosting import LGBMImbalancedClassifier, XGBImbalancedClassifier  # noqa: E402
from skimb.losses import Asymmetric, Dice, Focal  # noqa: E402

BOTH = pytest.mark.parametrize("cls", [LGBMImbalancedClassifier, XGBImbalancedClassifier])
FAST = {"n_estimators": 8, "n_jobs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def shop():
    """Rows whose label depends on the category alone, in no order of the categories."""
    rng = np.random.default_rng(0)
    c = rng.integers(0, 30, 1500)
    y = (np.isin(c % 7, [1, 4]) & (rng.random(1500) < 0.6)).astype(int)
    return c, rng.normal(size=1500), y


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 5))
    return X, (X[:, 0] + 0.5 * rng.normal(size=400) > 1.0).astype(int)


# --- columns ---------------------------------------------------------------------------------


def frame(codes, x, kind):
    """A frame with categories of a kind, some of them missing."""
    labels = {"int": 10 * codes - 50, "text": np.char.add("c", codes.astype(str))}[kind]
    column = pd.Series(pd.Categorical(labels))
    return pd.DataFrame({"c": column.where(np.arange(len(x)) % 11 > 0), "x": x})


@pytest.mark.parametrize("kind", ["int", "text"])
def test_lightgbm_gets_categories_as_from_its_own_class(kind, shop):
    X, y = frame(*shop[:2], kind), shop[2]
    ours = LGBMImbalancedClassifier(**FAST).fit(X[:1000], y[:1000])
    theirs = lgb.LGBMClassifier(**FAST, verbose=-1).fit(X[:1000], y[:1000])
    p = theirs.predict_proba(X[1000:])
    np.testing.assert_allclose(ours.predict_proba(X[1000:]), p, atol=1e-7)
    np.testing.assert_array_equal(ours.feature_importances_, theirs.feature_importances_)
    raw = ours.booster_.predict(X[1000:], raw_score=True) + ours.init_scores_
    np.testing.assert_allclose(raw, ours.decision_function(X[1000:]))
    assert ours.booster_.feature_name() == ["c", "x"]


@pytest.mark.parametrize("kind", ["int", "text"])
def test_xgboost_gets_categories_as_from_its_own_matrix(kind, shop):
    X, y = frame(*shop[:2], kind), shop[2]
    ours = XGBImbalancedClassifier(**FAST).fit(X[:1000], y[:1000])
    params = {"objective": "binary:logistic", "base_score": 0.5, "nthread": 1}

    def matrix(rows, label=None):
        margin = np.full(len(rows), ours.init_scores_[0])
        return xgb.DMatrix(rows, label, base_margin=margin, enable_categorical=True)

    theirs = xgb.train(params, matrix(X[:1000], y[:1000]), FAST["n_estimators"])
    p = theirs.predict(matrix(X[1000:]))
    np.testing.assert_allclose(ours.predict_proba(X[1000:])[:, 1], p, atol=1e-5)
    assert ours.booster_.feature_names == ["c", "x"]


@BOTH
def test_categories_are_no_numbers(cls, shop):
    c, x, y = shop
    scores = []
    for X in (frame(c, x, "int"), pd.DataFrame({"c": c, "x": x})):
        model = cls(**FAST, params={"max_bin": 8}).fit(X[:1000], y[:1000])
        scores.append(roc_auc_score(y[1000:], model.predict_proba(X[1000:])[:, 1]))
    assert scores[0] > scores[1] + 0.1


@BOTH
@pytest.mark.parametrize("kind", ["int", "text"])
def test_categories_are_those_of_fit(cls, kind, shop):
    X, y = frame(*shop[:2], kind), shop[2]
    model = cls(**FAST).fit(X, y)
    some = X[:60].reset_index(drop=True)
    p = model.predict_proba(some)
    np.testing.assert_array_equal(
        model.predict_proba(some.set_index(np.arange(60, 120))), p
    )  # an index says nothing
    listed = list(some["c"].cat.categories)
    other = some.assign(c=some["c"].cat.set_categories(listed[::-1]))
    np.testing.assert_array_equal(model.predict_proba(other), p)
    fewer = some.assign(c=some["c"].cat.remove_unused_categories())
    np.testing.assert_array_equal(model.predict_proba(fewer), p)
    new = {"int": 999, "text": "new"}[kind]
    unseen = some.assign(c=pd.Categorical([new] * 60))
    missing = some.assign(c=pd.Categorical([None] * 60, categories=listed))
    np.testing.assert_array_equal(model.predict_proba(unseen), model.predict_proba(missing))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(some), p)
    saved = skops.dumps(model)
    loaded = skops.loads(saved, trusted=skops.get_untrusted_types(data=saved))
    np.testing.assert_array_equal(loaded.predict_proba(some), p)


@BOTH
@pytest.mark.parametrize(
    "values",
    [
        pd.cut(np.arange(120.0), 3),
        pd.Categorical(pd.to_datetime(["2020-01-01", "2021-05-05", "2022-01-01"] * 40)),
        pd.Categorical([True, False, None] * 40),
        pd.Categorical([1, "a", 2.5] * 40),
        pd.Categorical([0.5, 1.5, None] * 40),
        pd.Categorical(pd.array([1, 2, None] * 40, dtype="Int64")),
        pd.Categorical([None] * 120),
    ],
    ids=["intervals", "dates", "truth", "mixed", "floats", "nullable", "all missing"],
)
def test_any_kind_of_category_can_be_fitted(cls, values):
    X = pd.DataFrame({"c": values, "x": np.arange(120.0) % 7})
    y = np.arange(120) % 3 == 0
    model = cls(n_estimators=3, n_jobs=1).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    scores, back = model.decision_function(X[::-1]), model.decision_function(X)[::-1]
    np.testing.assert_array_equal(scores, back)
    # torch's sigmoid rounds the last rows of an array otherwise on processors with AVX-512
    back = again.predict_proba(X)[::-1]
    np.testing.assert_allclose(model.predict_proba(X[::-1]), back, rtol=1e-14)


@BOTH
@pytest.mark.parametrize("with_category", [False, True])
def test_nullable_columns_are_numbers_with_missing_values(cls, with_category, numbers):
    X, y = numbers
    gone = np.abs(X[:, 0]) > 1.5
    plain = pd.DataFrame(
        {"a": np.where(gone, np.nan, X[:, 0]), "b": X[:, 1] > 0, "n": X[:, 2] // 1}
    )
    nullable = pd.DataFrame(
        {
            "a": pd.array(plain["a"], dtype="Float64"),
            "b": pd.array(plain["b"], dtype="boolean"),
            "n": pd.array(plain["n"], dtype="Int64"),
        }
    )
    if with_category:
        for table in (plain, nullable):
            table["c"] = pd.Categorical(np.arange(400) % 3)
    a, b = (cls(**FAST).fit(table, y).predict_proba(table) for table in (plain, nullable))
    np.testing.assert_array_equal(a, b)


@BOTH
def test_frames_of_numbers_arrays_and_csr_agree(cls, numbers):
    X, y = numbers
    X = np.where(np.abs(X) > 0.4, X, 0.0)
    table = pd.DataFrame(X, columns=["a[1]", "a<1]", "x", 'q:",{}', "z"])
    p = cls(**FAST).fit(X, y).predict_proba(X)
    named = cls(**FAST).fit(table, y)
    np.testing.assert_array_equal(named.predict_proba(table), p)
    assert named.feature_names_in_.tolist() == list(table.columns)
    names = getattr(named.booster_, "feature_names", None) or named.booster_.feature_name()
    assert names == ["a_1_", "a_1__2", "x", "q_____", "z"]


@BOTH
def test_columns_that_mean_something_else_are_refused(cls, shop):
    c, x, y = shop
    X = frame(c, x, "text")
    model = cls(**FAST).fit(X, y)
    for table, message in (
        (X.assign(c=X["c"].astype(object)), "'c'"),
        (X.assign(c=c), "'c' held categories"),
        (X.assign(c=pd.Categorical(c)), "would count as missing"),
        (X.assign(x=pd.Categorical(x > 0)), "were numbers"),
        (X.to_numpy(), "give a data frame"),
        (np.stack([c, x], 1), "give a data frame"),
        (X[:0], "0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(table)
    dates = pd.to_datetime(np.where(c > 3, "2020", "2021"))
    for stray in (np.where(c > 3, "a", "b"), np.where(c > 3, "a", "b").astype(object), dates):
        with pytest.raises(ValueError, match=r"'d' .*astype\('category'\)"):
            cls(**FAST).fit(X.assign(d=stray), y)
    with pytest.raises(ValueError, match="were numbers"):
        cls(**FAST).fit(X[["x"]], y).predict(X[["x"]].assign(x=pd.Categorical(c)))


@BOTH
def test_weights_and_early_stopping_keep_categories(cls, shop):
    X, y = frame(*shop[:2], "text"), shop[2]
    weight = np.ones(len(y))
    weight[::5] = 0.0
    model = cls(Focal(), class_weight="balanced", early_stopping=True, **FAST).fit(X, y, weight)
    assert roc_auc_score(y, model.predict_proba(X)[:, 1]) > 0.7


def test_columns_of_arrays_can_be_declared_categories(shop):
    c, x, y = shop
    X = np.stack([c, x], 1)
    table = pd.DataFrame({"c": c, "x": x})
    p = LGBMImbalancedClassifier(**FAST).fit(frame(c, x, "int").assign(c=pd.Categorical(c)), y)
    p = p.predict_proba(table.assign(c=pd.Categorical(c)))
    for rows, given in ((X, [0]), (X, "0"), (table, ["c"]), (table, "name:c")):
        model = LGBMImbalancedClassifier(**FAST, params={"cat_feature": given}).fit(rows, y)
        np.testing.assert_allclose(model.predict_proba(rows), p, atol=1e-12)
    for stray in (["z"], "name:z", "z", [2], [-1]):
        with pytest.raises(ValueError, match="categorical_feature names"):
            LGBMImbalancedClassifier(**FAST, params={"cat_column": stray}).fit(table, y)
    with pytest.raises(ValueError, match="feature_weights"):
        XGBImbalancedClassifier(**FAST, params={"feature_weights": [1.0]}).fit(X, y)
    types = {"feature_types": ["c", "q"]}
    model = XGBImbalancedClassifier(**FAST, params=types).fit(X, y)
    same = XGBImbalancedClassifier(**FAST).fit(table.assign(c=pd.Categorical(c)), y)
    np.testing.assert_array_equal(
        model.predict_proba(X), same.predict_proba(table.assign(c=pd.Categorical(c)))
    )


@BOTH
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_rows_without_any_difference_give_the_class_frequencies(cls, classes, early_stopping):
    y = np.arange(120) % classes
    for X in (
        np.zeros((120, 3)),
        np.ones((120, 3)),
        np.full((120, 2), np.nan),
        sparse.csr_matrix((120, 3)),
        pd.DataFrame({"c": pd.Categorical(["a"] * 120)}),
        pd.DataFrame({"c": pd.Categorical([None] * 120)}),
    ):
        model = cls(early_stopping=early_stopping, **FAST).fit(X, y, eval_set=[(X, y)])
        np.testing.assert_allclose(model.predict_proba(X), 1 / classes, atol=1e-6)
        assert not model.feature_importances_.any()
        curve = model.evals_result_["valid_0"]["log_loss"]
        np.testing.assert_allclose(curve, np.log(classes), atol=1e-6)


# --- labels ----------------------------------------------------------------------------------

GIVEN = {
    "0 and 1": (lambda y: y, [0, 1]),
    "1 and 2": (lambda y: y + 1, [1, 2]),
    "-1 and 1": (lambda y: 2 * y - 1, [-1, 1]),
    "words": (lambda y: np.where(y, "yes", "no").tolist(), ["no", "yes"]),
    "truth values": (lambda y: y.astype(bool), [False, True]),
    "list of truth values": (lambda y: [bool(v) for v in y], [False, True]),
    "objects": (lambda y: y.astype(object), [0, 1]),
    "ordered": (lambda y: pd.Categorical(np.where(y, "yes", "no"), ["yes", "no"], ordered=True), ["no", "yes"]),
    "nullable numbers": (lambda y: pd.Series(y, dtype="Int64"), [0, 1]),
    "nullable truth values": (lambda y: pd.Series(y.astype(bool), dtype="boolean"), [False, True]),
    "text": (lambda y: pd.Series(np.where(y, "yes", "no"), dtype="string"), ["no", "yes"]),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("given", GIVEN)
def test_labels_come_back_as_given(cls, given, numbers):
    X, y = numbers
    make, classes = GIVEN[given]
    model = cls(**FAST).fit(X, make(y), eval_set=[(X, make(y))])
    assert model.classes_.tolist() == classes
    assert all(type(a) is type(b) for a, b in zip(model.classes_.tolist(), classes, strict=True))
    plain = cls(**FAST).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    np.testing.assert_array_equal(
        model.predict(X), np.array(classes, dtype=object)[plain.predict(X)]
    )


@BOTH
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", 1, "a", 1], "several kinds"),
        (np.array(["a", 1, "a", 1], dtype=object), "several kinds"),
        ([True, 0, 1, 1], "several kinds"),
        (["a", None, "b", "a"], "missing"),
        (np.array([0.0, np.nan, 1.0, 1.0]), "NaN"),
        (pd.Series([0, None, 1, 1], dtype="Int64"), "missing"),
        (pd.Series(["a", None, "b", "a"], dtype="string"), "missing"),
        (pd.Series(pd.Categorical(["a", None, "b", "a"])), "missing"),
        (np.eye(4, dtype=int), "OneVsRestClassifier"),
        ([[0, 1], [1, 0], [1, 1], [0, 0]], "OneVsRestClassifier"),
        (sparse.csr_matrix(np.eye(4)), "OneVsRestClassifier"),
        ([0.5, 1.5, 0.25, 3.5], "continuous"),
        (None, "requires y"),
    ],
)
def test_other_labels_are_refused(cls, labels, message):
    with pytest.raises(ValueError, match=message):
        cls().fit(np.arange(8.0).reshape(4, 2), labels)


@BOTH
def test_one_model_per_label(cls, numbers):
    X, y = numbers
    labels = np.stack([y, (X[:, 1] > 0.5).astype(int)], 1)
    assert OneVsRestClassifier(cls(**FAST)).fit(X, labels).predict(X).shape == labels.shape


# --- validation sets -------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_sets_are_scored_by_honest_probabilities(cls, weighted, numbers):
    X, y = numbers
    w = np.random.default_rng(2).random(200) if weighted else None
    given = {"eval_sample_weight": [None, w]} if weighted else {}
    model = cls(Focal(), class_weight="balanced", **FAST)
    model.fit(X[:200], y[:200], eval_set=[(X[:200], y[:200]), (X[200:], y[200:])], **given)
    curves = [model.evals_result_[f"valid_{k}"]["log_loss"] for k in (0, 1)]
    assert len(curves[0]) == len(curves[1]) == FAST["n_estimators"]
    p = model.predict_proba(X)
    assert curves[0][-1] == pytest.approx(log_loss(y[:200], p[:200]), rel=1e-5)
    assert curves[1][-1] == pytest.approx(log_loss(y[200:], p[200:], sample_weight=w), rel=1e-5)
    alone = clone(model).fit(X[:200], y[:200])
    np.testing.assert_array_equal(alone.predict_proba(X), p)
    assert alone.evals_result_ == {}


@BOTH
def test_validation_sets_stop_training(cls, numbers):
    X, y = numbers
    names = np.where(y, "rare", "common")
    params = {**FAST, "n_estimators": 300, "n_iter_no_change": 5}
    model = cls(early_stopping=True, **params)
    model.fit(X[:200], names[:200], eval_set=(X[200:], names[200:]))
    curve = model.evals_result_["valid_0"]["log_loss"]
    assert model.n_iter_ == np.argmin(curve) + 1 == len(curve) - 5
    assert curve[model.n_iter_ - 1] == pytest.approx(
        log_loss(names[200:], model.predict_proba(X[200:])), rel=1e-5
    )
    assert model.prior_ == pytest.approx(np.bincount(y[:200]) / 200)  # no row was set aside
    scored = cls(early_stopping=True, validation_scoring="roc_auc", **params)
    scored.fit(X[:200], y[:200], eval_set=[(X[200:], y[200:])])
    curve = scored.evals_result_["valid_0"]["roc_auc"]
    assert scored.n_iter_ == np.argmax(curve) + 1


@BOTH
def test_losses_without_probabilities_are_scored_by_themselves(cls, numbers):
    X, y = numbers
    model = cls(Dice(), **FAST).fit(X, y, eval_set=[(X, y)])
    assert list(model.evals_result_["valid_0"]) == ["loss"]


@BOTH
def test_validation_sets_are_checked(cls, numbers, shop):
    X, y = numbers
    for sets, message in (
        ([(X,)], "list of pairs"),
        (X, "list of pairs"),
        ([], "list of pairs"),
        ([(X, y + 5)], r"labels \[5, 6\]"),
        ([(X, np.where(y, "a", "b"))], "labels"),
        ([(X[:, :2], y)], "features"),
        ([(X, y[:3])], "inconsistent"),
    ):
        with pytest.raises(ValueError, match=message):
            cls(**FAST).fit(X, y, eval_set=sets)
    with pytest.raises(ValueError, match="needs an eval_set"):
        cls(**FAST).fit(X, y, eval_sample_weight=[np.ones(400)])
    with pytest.raises(ValueError, match="one entry per set"):
        cls(**FAST).fit(X, y, eval_set=[(X, y)], eval_sample_weight=[None, None])


# --- what stays, threads, importances, warnings ----------------------------------------------


@BOTH
def test_what_was_fitted_stays(cls, numbers):
    X, y = numbers
    model = cls(Focal(), class_weight="balanced", params={"max_bin": 30}, **FAST).fit(X, y)
    methods = ("predict", "predict_proba", "decision_function")
    before = [getattr(model, name)(X) for name in methods]
    for name in model.get_params(deep=False):
        setattr(model, name, object)  # nothing can be computed from it
    for same in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        for name, values in zip(methods, before, strict=True):
            np.testing.assert_array_equal(getattr(same, name)(X), values)


@BOTH
def test_a_loss_may_be_changed_for_the_next_model(cls, numbers):
    X, y = numbers
    loss = Focal(gamma=0.0)
    model = cls(loss, **FAST).fit(X, y)
    before = model.predict_proba(X)
    loss.set_params(gamma=5.0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), before)


def test_threads_are_counted_as_in_scikit_learn(numbers, monkeypatch):
    X, y = numbers
    used = []
    train = lgb.train
    monkeypatch.setattr(lgb, "train", lambda params, *a, **k: used.append(params["num_threads"]) or train(params, *a, **k))  # fmt: skip
    model = LGBMImbalancedClassifier(n_estimators=1)
    model.fit(X, y)
    with parallel_config(n_jobs=2):
        model.fit(X, y)
    model.set_params(n_jobs=1).fit(X, y)
    assert used == [1, 2, 1]
    with pytest.raises(ValueError, match="n_jobs"):
        model.set_params(n_jobs=0).fit(X, y)


@BOTH
def test_importances_select_features(cls, numbers):
    X, y = numbers
    assert (
        RFE(cls(**FAST), n_features_to_select=1).fit(X, y).support_.tolist() == [True] + [False] * 4
    )
    kept = SelectFromModel(cls(importance_type="gain", **FAST)).fit(X, y).get_support()
    assert kept[0]


def test_importances_are_those_of_the_libraries(numbers):
    X, y = numbers
    for kind in ("split", "gain"):
        ours = LGBMImbalancedClassifier(importance_type=kind, **FAST).fit(X, y)
        theirs = lgb.LGBMClassifier(importance_type=kind, verbose=-1, **FAST).fit(X, y)
        np.testing.assert_allclose(
            ours.feature_importances_, theirs.feature_importances_, rtol=1e-4
        )
    names = [f"f{k}" for k in range(5)]
    for kind in ("gain", "weight", "cover", "total_gain", "total_cover"):
        ours = XGBImbalancedClassifier(importance_type=kind, **FAST).fit(X, y)
        theirs = xgb.XGBClassifier(importance_type=kind).fit(X, y)
        theirs._Booster = ours.booster_
        theirs.feature_names = names
        np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_)
        assert ours.feature_importances_.sum() == pytest.approx(1.0)


@BOTH
@pytest.mark.parametrize("loss", [Asymmetric(), Focal(alpha=0.9), Dice()], ids=repr)
def test_a_common_positive_class_is_pointed_out(cls, loss, numbers):
    X, y = numbers
    with pytest.warns(UserWarning, match=r"\['fraud', 'ok'\].*sorts last") as caught:
        cls(loss, **FAST).fit(X, np.where(y, "fraud", "ok"))
    assert caught[0].filename == __file__
    cls(loss, **FAST).fit(X, y)
