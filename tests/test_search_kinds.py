"""`LossSearchCV` over several estimators: nets in populations, all others by themselves, one table."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, f1_score, log_loss, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb._core.compat import VERSION
from skimb.boosting import LGBMImbalancedClassifier
from skimb.ensemble import GradientBoostedMLPClassifier
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AnyLoss,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    MannWhitney,
    all_losses,
)
from skimb.model_selection import (
    FixedThresholdClassifier,
    LossSearchCV,
    TunedThresholdClassifierCV,
    batched_fits,
)
from skimb.model_selection._advice import compare
from skimb.model_selection._loss_report import labels
from skimb.neural_network import MLPClassifier, TabMClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LOSSES = [Focal(gamma=1.0), LogitAdjusted()]
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def rare():
    return make_classification(300, 6, weights=[0.8], random_state=0, class_sep=0.7)


@pytest.fixture(scope="module")
def three():
    X, y = make_classification(
        300, 6, n_classes=3, n_informative=4, weights=[0.7, 0.2, 0.1], random_state=1
    )
    return X, np.array(["often", "rare", "seldom"])[y]


def net(**kw):
    kw = {"max_iter": 5, "random_state": 0, "learning_rate_init": 0.01, "tol": 0.0} | kw
    return MLPClassifier((8,), **kw)


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression())


def trees(**kw):
    return LGBMImbalancedClassifier(**{"n_estimators": 8, "random_state": 0} | kw)


def forest(**kw):
    return RandomForestClassifier(**{"n_estimators": 5, "max_depth": 3, "random_state": 0} | kw)


def search_over(pairs, grids=None, **kw):
    kw = {"losses": LOSSES, "scoring": "average_precision", "cv": FOLDS} | kw
    return LossSearchCV(pairs, grids, **kw)


def scores_of(search, name="score"):
    table = search.cv_results_
    return np.array([table[f"split{j}_test_{name}"] for j in range(search.n_splits_)])


def of_kind(search, name):
    return np.flatnonzero(search.cv_results_["estimator"] == name)


# --- one table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", ["average_precision", "neg_log_loss", "f1", None])
def test_each_estimator_scores_as_in_a_search_of_its_own(rare, scoring):
    X, y = rare
    pairs = [("nets", make_pipeline(StandardScaler(), net())), ("linear", linear()), ("trees", trees()), ("forest", forest())]  # fmt: skip
    grids = {
        "nets": {"mlpclassifier__alpha": [0.0, 0.1]},
        "linear": [{"logisticregression__C": [0.1, 1.0]}, {"standardscaler": ["passthrough"]}],
        "forest": {"max_depth": [2, 4]},
    }
    search = search_over(pairs, grids, scoring=scoring, return_train_score=True).fit(X, y)
    table = search.cv_results_
    names = ["nets"] * 2 * 4 + ["linear"] * 3 + ["trees"] * 4 + ["forest"] * 2
    assert table["estimator"].tolist() == names
    assert len(table["params"]) == len(names)
    for name, estimator in pairs:
        at = of_kind(search, name)
        grid = [{k: [v] for k, v in table["params"][i].items()} for i in at]
        stock = GridSearchCV(estimator, grid, scoring=scoring, cv=FOLDS, return_train_score=True)
        stock.fit(X, y)
        for key in ("mean_test_score", "std_test_score", "split2_test_score", "mean_train_score"):
            np.testing.assert_allclose(table[key][at], stock.cv_results_[key], rtol=1e-9)
        assert (table["mean_fit_time"][at] > 0).all()
    best = search.best_index_
    assert best == np.argmax(table["mean_test_score"])
    assert search.best_name_ == names[best]
    assert search.best_params_ == table["params"][best]
    alone = clone(dict(pairs)[search.best_name_]).set_params(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(search.predict_proba(X), alone.predict_proba(X))
    assert search.score(X, y) == pytest.approx(
        search.scorer_(alone, X, y) if scoring else alone.score(X, y)
    )
    assert search.n_features_in_ == 6


def test_neural_members_are_those_of_a_search_over_nets_alone(rare):
    X, y = rare
    grid = {"alpha": [0.0, 0.1]}
    alone = LossSearchCV(net(), grid, losses=LOSSES, scoring="roc_auc", cv=FOLDS).fit(X, y)
    both = search_over([("other", linear()), ("nets", net())], {"nets": grid}, scoring="roc_auc")
    both.fit(X, y)
    at = of_kind(both, "nets")
    np.testing.assert_array_equal(scores_of(both)[:, at], scores_of(alone))
    assert both.cv_results_["role"][at].tolist() == alone.cv_results_["role"].tolist()
    assert [both.cv_results_["params"][i].keys() for i in at] == [
        p.keys() for p in alone.cv_results_["params"]
    ]
    assert "estimator" not in alone.cv_results_
    assert not hasattr(alone, "best_name_")


def test_losses_are_crossed_with_those_that_take_them(rare):
    X, y = rare
    pairs = [("nets", net(max_iter=1)), ("trees", trees()), ("grown", GradientBoostedMLPClassifier(n_estimators=2, random_state=0)), ("hist", HistGradientBoostingClassifier(max_iter=3)), ("forest", forest())]  # fmt: skip
    losses = [Focal(gamma=2.0), AnyLoss(), MannWhitney()]
    search = search_over(pairs, losses=losses, cv=2).fit(X, y)
    table = search.results_frame()
    for name, special in (("nets", {"Focal", "AnyLoss", "MannWhitney"}), ("trees", {"Focal"}), ("grown", {"Focal"})):  # fmt: skip
        rows = table[table["estimator"] == name]
        assert set(rows.loc[rows["role"] == "special", "loss"]) == special
        assert (rows["role"] == "cross-entropy").sum() == 1
        assert (rows["role"] == "weighted cross-entropy").sum() == 1
    for name in ("hist", "forest"):
        rows = table[table["estimator"] == name]
        assert rows["role"].tolist() == ["other"]
        assert rows["loss"].tolist() == [""]
    assert table["mean"].notna().all()
    # "all" leaves out what boosting cannot train; a grid of its own may set the loss
    every = search_over([("trees", trees(n_estimators=1))], losses="all", cv=2).fit(X, y)
    found = {type(p["loss"]).__name__ for p in every.cv_results_["params"]}
    assert np.isfinite(every.cv_results_["mean_test_score"]).all()
    assert "Focal" in found
    assert not found & {"AnyLoss", "MannWhitney"}
    assert found < {c.__name__ for c in all_losses("binary")} | {"Mixed"}
    grids = {"trees": {"loss": [Focal()], "loss__gamma": [1.0, 3.0]}}
    own = search_over([("trees", trees())], grids, losses=None, cv=2).fit(X, y)
    assert own.cv_results_["role"].tolist() == ["cross-entropy", "weighted cross-entropy", "special", "special"]  # fmt: skip


def test_multimetric_and_callables(rare):
    X, y = rare
    pairs = [("nets", net()), ("forest", forest())]
    names = ["roc_auc", "balanced_accuracy"]
    search = search_over(pairs, scoring=names, refit="roc_auc").fit(X, y)
    alone = GridSearchCV(forest(), {}, scoring=names, refit=False, cv=FOLDS).fit(X, y)
    for name in names:
        found = search.cv_results_[f"mean_test_{name}"][of_kind(search, "forest")]
        np.testing.assert_allclose(found, alone.cv_results_[f"mean_test_{name}"])

    def two(estimator, X, y):
        return {"a": estimator.score(X, y), "b": float(estimator.predict(X).mean())}

    search = search_over(pairs, scoring=two, refit="b").fit(X, y)
    assert search.best_index_ == np.argmax(search.cv_results_["mean_test_b"])
    assert search.multimetric_


# --- ensembles and thresholds ----------------------------------------------------------------------


def test_ensembles_across_kinds_average_honest_probabilities(rare):
    X, code = rare
    y = np.array(["no", "yes"])[code]
    pairs = [("nets", net()), ("linear", linear()), ("trees", trees()), ("forest", forest())]
    search = search_over(
        pairs, {"forest": {"max_depth": [1, 5]}}, scoring="neg_log_loss", ensemble=6
    )
    search.fit(X, y)
    assert sum(w for w, _, _ in search.ensemble_) == pytest.approx(1.0)
    assert len({name for _, name, _ in search.ensemble_}) > 1
    members = [
        (w, clone(dict(pairs)[name]).set_params(**params)) for w, name, params in search.ensemble_
    ]
    mean = sum(w * clone(m).fit(X, y).predict_proba(X) for w, m in members)
    np.testing.assert_allclose(search.predict_proba(X), mean, rtol=1e-9)
    assert search.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(search.predict(X), search.classes_[mean.argmax(1)])
    out = sum(w * cross_val_predict(m, X, y, cv=FOLDS, method="predict_proba") for w, m in members)
    scores = [-log_loss(y[test], out[test]) for _, test in FOLDS.split(X, y)]
    assert search.ensemble_score_ == pytest.approx(np.mean(scores))
    assert search.ensemble_score_ >= search.best_score_


def test_thresholds_of_all_kinds_come_from_the_other_folds(rare):
    X, y = rare
    search = search_over([("nets", net()), ("forest", forest())], scoring="f1", threshold=True)
    search.fit(X, y)
    k = of_kind(search, "forest")[0]
    p = cross_val_predict(forest(), X, y, cv=FOLDS, method="predict_proba")[:, 1]
    best = max(f1_score(y, p >= t) for t in np.unique(p))
    assert f1_score(y, p >= search.cv_results_["threshold"][k]) == pytest.approx(best)
    assert isinstance(search.best_estimator_, FixedThresholdClassifier)
    both = search_over(
        [("nets", net()), ("forest", forest())], scoring="f1", threshold=True, ensemble=3
    ).fit(X, y)
    decided = (both.predict_proba(X)[:, 1] >= both.threshold_).astype(int)
    np.testing.assert_array_equal(both.predict(X), decided)


def test_more_classes_and_classes_that_folds_lack(three):
    X, y = three
    pairs = [("nets", net()), ("linear", linear()), ("trees", trees())]
    search = search_over(pairs, scoring="f1_macro", threshold=True, ensemble=3).fit(X, y)
    assert set(search.predict(X)) <= {"often", "rare", "seldom"}
    np.testing.assert_allclose(search.predict_proba(X).sum(1), 1.0)
    few = np.r_[np.flatnonzero(y != "seldom"), np.flatnonzero(y == "seldom")[:1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        search = search_over(pairs, scoring="accuracy", ensemble=3).fit(X[few], y[few])
    assert search.predict_proba(X).shape == (len(X), 3)


def test_labels_of_several_kinds():
    X, Y = make_multilabel_classification(200, 8, n_classes=3, random_state=0)
    pairs = [("nets", net()), ("forest", forest()), ("near", KNeighborsClassifier())]
    search = search_over(pairs, losses=[Focal()], scoring="f1_macro", cv=2, ensemble=4).fit(X, Y)
    alone = cross_val_score(forest(), X, Y, cv=2, scoring="f1_macro")
    at = of_kind(search, "forest")
    assert search.cv_results_["mean_test_score"][at] == pytest.approx(alone.mean())
    assert search.predict(X).shape == search.predict_proba(X).shape == Y.shape


# --- advice and report -----------------------------------------------------------------------------


def test_advice_names_the_best_estimator(rare):
    X, y = rare
    pairs = [("nets", net(max_iter=1)), ("trees", trees(n_estimators=30)), ("forest", forest())]
    search = search_over(pairs, losses=[Focal(gamma=3.0)], cv=StratifiedKFold(5)).fit(X, y)
    scores, names = scores_of(search).T, search.cv_results_["estimator"]
    best = {n: max(of_kind(search, n), key=lambda k: scores[k].mean()) for n in set(names)}
    first, second = sorted(best.values(), key=lambda k: -scores[k].mean())[:2]
    assert search.advice_.startswith(f"{names[first]} is best: ")
    one = compare(scores[first], scores[second], 60 / 240)
    found = search.estimator_comparison_
    assert found.difference == pytest.approx(one.difference)
    assert found.p == pytest.approx(min(1.0, one.p * (names != names[second]).sum()))
    roles = search.cv_results_["role"]
    special = scores[roles == "special"]
    rest = scores[roles != "special"]
    one = compare(special[special.mean(1).argmax()], rest[rest.mean(1).argmax()], 60 / 240)
    assert search.comparison_.difference == pytest.approx(one.difference)
    assert "the best candidate without a special loss" in search.advice_


def test_a_boosted_tree_with_plain_cross_entropy_may_win():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 3))
    y = ((np.floor(2 * X[:, 0]) + np.floor(2 * X[:, 1])) % 2).astype(int)  # a chessboard
    pairs = [("nets", net(max_iter=2)), ("linear", linear()), ("trees", trees(n_estimators=25))]
    kw = {"losses": None, "scoring": "neg_log_loss", "cv": StratifiedKFold(8)}
    search = search_over(pairs, **kw).fit(X, y)
    assert search.best_name_ == "trees"
    assert search.advice_.startswith("trees is best: trees (")
    assert search.advice_.endswith("after correction for 4 candidates: beyond noise.")
    assert search.estimator_comparison_.p < 0.05
    said = labels(search.cv_results_)
    assert said[2:5] == ["linear", "trees (plain cross-entropy)", "trees (loss=CrossEntropy(), class_weight='balanced')"]  # fmt: skip


def test_advice_without_losses(rare):
    X, y = rare
    search = LossSearchCV([("linear", linear()), ("forest", forest())], scoring="roc_auc", cv=3)
    search.fit(X, y)
    assert "is best" in search.advice_
    assert "special" not in search.advice_
    assert search.comparison_ is None
    assert search.results_frame()["role"].tolist() == ["other", "other"]
    one = LossSearchCV([("forest", forest())], scoring="roc_auc", cv=3).fit(X, y)
    assert "forest is best" in one.advice_
    assert one.estimator_comparison_ is None


def test_frame_and_plot(rare):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    X, y = rare
    search = search_over([("nets", net()), ("trees", trees()), ("forest", forest())]).fit(X, y)
    table = search.results_frame()
    assert table["mean"].is_monotonic_decreasing
    rest = table[table["role"] != "special"]
    assert rest["difference"].iloc[0] == pytest.approx(
        0.0
    )  # against the best without a special loss
    names = [t.get_text() for t in search.plot().get_yticklabels()]
    assert len(names) == 2 * 4 + 1
    assert {"forest", "trees: Focal", "nets: CrossEntropy, weighted"} <= set(names)


# --- parameters, copies, neighbours ----------------------------------------------------------------


def test_parameters_of_members_are_read_and_set():
    search = search_over([("nets", net()), ("linear", linear())])
    params = search.get_params()
    assert params["nets__alpha"] == 0.0001
    assert params["linear__logisticregression__C"] == 1.0
    assert params["nets"] is search.estimator[0][1]
    assert "nets" not in search.get_params(deep=False)
    copied = clone(search).set_params(nets__alpha=0.5, linear=forest(max_depth=7))
    assert dict(copied.estimator)["nets"].alpha == 0.5
    assert dict(copied.estimator)["linear"].max_depth == 7
    assert search.get_params()["nets__alpha"] == 0.0001
    assert "linear" in dict(search.estimator)
    with pytest.raises(ValueError, match="Invalid parameter 'foo'"):
        search.set_params(foo=1)
    single = LossSearchCV(make_pipeline(linear(), linear()))
    assert all(isinstance(name, str) for name in single.get_params())
    assert "('nets'" in repr(search)


def test_shown_in_a_notebook(rare):
    search = search_over([("nets", net()), ("wood", forest())])
    shown = search._repr_html_() if hasattr(search, "_repr_html_") else ""
    html = search._repr_mimebundle_()["text/html"]
    assert "wood" in html
    assert "RandomForestClassifier" in html
    assert shown or html
    fitted = search.fit(*rare)._repr_mimebundle_()["text/html"]
    assert "LossSearchCV" in fitted
    assert search.best_name_ in fitted


def test_answers_are_known_before_fit(rare):
    X, y = rare
    search = search_over([("nets", net()), ("forest", forest())])
    assert hasattr(search, "predict")
    assert hasattr(search, "predict_proba")
    assert not hasattr(clone(search).set_params(refit=False), "predict_proba")
    tags = search.__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.sparse
    assert (
        not search_over([("n", net()), ("h", HistGradientBoostingClassifier())])
        .__sklearn_tags__()
        .input_tags.sparse
    )
    fitted = FixedThresholdClassifier(search, 0.2).fit(X, y)
    np.testing.assert_array_equal(fitted.predict(X), fitted.predict_proba(X)[:, 1] >= 0.2)
    assert cross_val_score(search, X, y, cv=2, scoring="roc_auc").min() > 0.5
    outer = GridSearchCV(search, {"nets__alpha": [0.0, 0.1]}, scoring="roc_auc", cv=2).fit(X, y)
    assert set(outer.best_params_) == {"nets__alpha"}


@pytest.mark.parametrize("kw", [{}, {"ensemble": 3}, {"scoring": "f1", "threshold": True, "ensemble": 2}])  # fmt: skip
def test_a_fitted_search_is_copied_and_keeps_what_it_found(rare, kw):
    X, y = rare
    search = search_over([("nets", net()), ("linear", linear()), ("forest", forest())], **kw)
    search.fit(X, y)
    before, proba, frame = search.predict(X), search.predict_proba(X), search.results_frame()
    copied = pickle.loads(pickle.dumps(search))
    search.set_params(nets__max_iter=1, forest=LogisticRegression(), losses=None)
    search.set_params(estimator=net(), ensemble=0)
    for now in (search, copied):
        np.testing.assert_array_equal(now.predict(X), before)
        np.testing.assert_array_equal(now.predict_proba(X), proba)
        pd.testing.assert_frame_equal(now.results_frame(), frame)
        now.plot()


@pytest.mark.parametrize("folds", [1, 2])  # one: all nets of the search are trained as populations
def test_nets_on_raw_tables_take_part(rare, folds):
    X, y = rare
    X = pd.DataFrame(X).add_prefix("x").assign(kind=np.where(X[:, 0] > 0, "a", "b"))
    tabm = TabMClassifier(max_iter=6, validation_folds=folds, width=8, n_members=2, random_state=0)
    pairs = [("tabm", tabm), ("hist", HistGradientBoostingClassifier(max_iter=8))]
    X["kind"] = X["kind"].astype("category")
    search = search_over(pairs, losses=LOSSES[:1], ensemble=2).fit(X, y)
    table = search.results_frame()
    assert (table["estimator"] == "tabm").sum() == 3  # plain, with class weights, focal
    alone = clone(tabm).set_params(loss=LOSSES[0])
    expected = cross_val_score(alone, X, y, cv=FOLDS, scoring=search.scoring).mean()
    assert np.isclose(table.loc[table["estimator"] == "tabm", "mean"], expected, atol=1e-3).any()
    np.testing.assert_allclose(search.predict_proba(X).sum(1), 1.0)


@pytest.mark.parametrize("folds", [1, 2])
def test_nets_on_raw_tables_alone_are_searched_as_in_a_list(rare, folds):
    X, y = rare
    X = pd.DataFrame(X).add_prefix("x").assign(kind=np.where(X[:, 0] > 0, "a", "b"))
    tabm = TabMClassifier(max_iter=3, validation_folds=folds, width=8, n_members=2, random_state=0)
    grid, kw = {"learning_rate_init": [0.003, 0.01]}, {"losses": LOSSES[:1], "ensemble": 2, "cv": 2}
    alone = search_over(tabm, grid, **kw).fit(X, y)
    listed = search_over([("tabm", tabm)], {"tabm": grid}, **kw).fit(X, y)
    assert len(alone.cv_results_["params"]) == 6
    assert repr(alone.cv_results_["params"]) == repr(listed.cv_results_["params"])
    np.testing.assert_array_equal(scores_of(alone), scores_of(listed))
    np.testing.assert_array_equal(alone.predict_proba(X), listed.predict_proba(X))
    assert alone.cv_results_["role"].tolist().count("special") == 2
    assert "class-weighted cross-entropy" in alone.advice_
    assert len(alone.results_frame()) == 6


def test_a_pipeline_that_ends_in_nets_on_raw_tables_is_searched(rare):
    X, y = rare
    tabm = TabMClassifier(max_iter=3, validation_folds=1, width=8, n_members=2, random_state=0)
    pipe = make_pipeline(StandardScaler(), tabm)
    search = search_over(pipe, {"tabmclassifier__width": [8, 4]}, threshold=True, scoring="f1").fit(
        X, y
    )
    expected = cross_val_score(clone(pipe), X, y, cv=FOLDS, scoring="f1")
    plain = search.cv_results_["role"] == "cross-entropy"
    assert np.isfinite(scores_of(search)).all()
    assert search.cv_results_["mean_untuned_score"][plain][0] == pytest.approx(expected.mean())
    assert set(search.best_params_) >= {"tabmclassifier__loss", "tabmclassifier__width"}


# --- rows, weights, metadata -----------------------------------------------------------------------


def test_tables_reach_the_estimators_as_they_are():
    rng = np.random.default_rng(0)
    n = 240
    color = rng.choice(["red", "green", "blue"], n)
    X = pd.DataFrame(
        {"a": rng.normal(size=n), "color": pd.Categorical(color)}, index=range(5, 5 + n)
    )
    X.loc[7:20, "a"] = np.nan
    y = pd.Series(
        np.where(rng.normal(size=n) + 2 * (color == "red") > 1.5, "yes", "no"), index=X.index
    )
    pairs = [("nets", net()), ("trees", trees(min_child_samples=5)), ("hist", HistGradientBoostingClassifier(max_iter=8))]  # fmt: skip
    scorer = make_scorer(average_precision_score, pos_label="yes", response_method="predict_proba")
    search = search_over(pairs, scoring=scorer)
    with (
        pytest.warns(FitFailedWarning, match="could not convert string to float"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(X, y)
    table = search.results_frame()
    assert table.loc[table["estimator"] == "nets", "mean"].isna().all()
    alone = cross_val_score(pairs[2][1], X, y, cv=FOLDS, scoring=scorer).mean()
    assert table.loc[table["estimator"] == "hist", "mean"].item() == pytest.approx(alone)
    assert search.best_score_ > 0.4
    assert search.feature_names_in_.tolist() == ["a", "color"]
    assert "No candidate of nets was trained without an error" in search.advice_


def test_weights_reach_all_members(rare):
    X, y = rare
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    scored = w if VERSION >= (1, 7) else np.ones(len(y))  # scikit-learn 1.6: under routing only
    pairs = [("nets", make_pipeline(StandardScaler(), net())), ("linear", linear()), ("forest", forest())]  # fmt: skip
    search = search_over(pairs, ensemble=3).fit(X, y, sample_weight=w)
    for name, estimator in pairs:
        last = "" if name == "forest" else f"{estimator.steps[-1][0]}__"
        at = of_kind(search, name)
        grid = [{k: [v] for k, v in search.cv_results_["params"][i].items()} for i in at]
        found = []
        for train, test in FOLDS.split(X, y):
            for params in grid:
                model = clone(estimator).set_params(**{k: v[0] for k, v in params.items()})
                model.fit(X[train], y[train], **{f"{last}sample_weight": w[train]})
                s = model.predict_proba(X[test])[:, 1]
                found.append(average_precision_score(y[test], s, sample_weight=scored[test]))
        wanted = np.reshape(found, (3, len(at)))
        np.testing.assert_allclose(scores_of(search)[:, at], wanted, rtol=1e-9)
    mean = 0
    for share, name, params in search.ensemble_:
        model = clone(dict(pairs)[name]).set_params(**params)
        last = "" if name == "forest" else f"{model.steps[-1][0]}__"
        mean += share * model.fit(X, y, **{f"{last}sample_weight": w}).predict_proba(X)
    np.testing.assert_allclose(search.predict_proba(X), mean, rtol=1e-9)
    with pytest.raises(TypeError, match=r"KNeighborsClassifier\(\) takes no sample_weight"):
        search_over([*pairs, ("near", KNeighborsClassifier())]).fit(X, y, sample_weight=w)


def test_parameters_of_one_members_fit(rare):
    X, y = rare
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    pairs = [("nets", net()), ("forest", forest())]
    kw = {"losses": [Focal()], "scoring": "roc_auc", "ensemble": 2}
    plain = search_over(pairs, **kw).fit(X, y)
    weighted = search_over(pairs, **kw).fit(X, y, forest__sample_weight=w)
    changed = (scores_of(weighted) != scores_of(plain)).any(0)
    assert changed.tolist() == [name == "forest" for name in plain.cv_results_["estimator"]]
    models = {"nets": net(), "forest": forest()}
    mean = 0
    for share, name, params in weighted.ensemble_:
        own = {"sample_weight": w} if name == "forest" else {}
        model = models[name].set_params(**params).fit(X, y, **own)
        mean += share * model.predict_proba(X)
    np.testing.assert_allclose(weighted.predict_proba(X), mean, rtol=1e-9)
    with pytest.raises(TypeError, match=r"'nets__cost', got 'cost'"):
        search_over(pairs).fit(X, y, cost=np.ones((len(y), 2)))


@pytest.mark.parametrize("kw", [{}, {"ensemble": 3}, {"ensemble": 2, "threshold": True, "scoring": "f1"}])  # fmt: skip
def test_routing_changes_nothing(rare, kw):
    if VERSION < (1, 7):
        pytest.skip("searches of scikit-learn 1.6 weigh scores under routing only")
    X, y = rare
    w = np.random.default_rng(0).uniform(0.5, 2, len(y))
    scorer = make_scorer(f1_score)
    kw = {"scoring": scorer} | {k: v for k, v in kw.items() if k != "scoring"}
    plain = [("nets", net()), ("linear", linear()), ("forest", forest())]
    wanted = search_over(plain, **kw).fit(X, y, sample_weight=w)
    with config_context(enable_metadata_routing=True):
        routed = [
            ("nets", net().set_fit_request(sample_weight=True)),
            ("linear", make_pipeline(StandardScaler().set_fit_request(sample_weight=False), LogisticRegression().set_fit_request(sample_weight=True))),
            ("forest", forest().set_fit_request(sample_weight=True)),
        ]  # fmt: skip
        kw["scoring"] = make_scorer(f1_score).set_score_request(sample_weight=True)
        for n_jobs in (None, 2):
            found = search_over(routed, n_jobs=n_jobs, **kw).fit(X, y, sample_weight=w)
            np.testing.assert_allclose(scores_of(found), scores_of(wanted))
            np.testing.assert_array_equal(found.predict(X), wanted.predict(X))


# --- failures and refusals -------------------------------------------------------------------------


class Fails(ClassifierMixin, BaseEstimator):
    """Fails where told to."""

    def __init__(self, where="fit"):
        self.where = where

    def fit(self, X, y):
        if self.where == "fit":
            raise RuntimeError("broken on purpose")
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        if self.where == "predict":
            raise RuntimeError("broken on purpose")
        return np.full((len(X), 2), 0.5)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


def test_failures_are_each_members_own(rare):
    X, y = rare
    pairs = [("nets", net()), ("bad", Fails()), ("forest", forest())]
    grids = {"bad": {"where": ["fit", "predict", "nowhere"]}, "forest": {"max_depth": [2, -5]}}
    search = search_over(pairs, grids, ensemble=3)
    with (
        pytest.warns(FitFailedWarning, match="9 of 27 fits of LossSearchCV failed(.|\n)*broken on"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(X, y)
    means = search.cv_results_["mean_test_score"]
    assert np.isnan(means[of_kind(search, "bad")]).tolist() == [True, True, False]
    assert np.isnan(means[of_kind(search, "forest")]).tolist() == [False, True]
    assert np.isfinite(means[of_kind(search, "nets")]).all()
    picked = [(name, params) for _, name, params in search.ensemble_]
    assert ("forest", {"max_depth": -5}) not in picked
    with pytest.raises(ValueError, match="broken on purpose"):
        search_over(pairs, error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="3 of 3 fits"):
        search_over([("bad", Fails())], losses=None).fit(X, y)


class Foreign(ClassifierMixin, BaseEstimator):
    """Has classes in an order of its own, as a classifier of another library may."""

    def __init__(self, share=0.5):
        self.share = share

    def fit(self, X, y):
        self.classes_ = np.unique(y)[::-1]
        return self

    def predict_proba(self, X):
        return np.tile([self.share, 1 - self.share], (len(X), 1))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


class Column(Foreign):
    """Decides in a column, as CatBoost does for several classes."""

    def predict(self, X):
        return super().predict(X)[:, None]


def test_decisions_have_one_dimension(rare):
    X, y = rare
    search = LossSearchCV([("column", Column())], losses=None, scoring="accuracy", cv=2).fit(X, y)
    assert search.predict(X).shape == (len(y),)
    assert search.score(X, y) == np.mean(search.predict(X) == y)


def test_classifiers_of_other_libraries(rare):
    X, code = rare
    y = np.array(["no", "yes"])[code]

    def scorer(estimator, X, y):
        place = list(estimator.classes_).index("yes")
        return -float(np.mean((estimator.predict_proba(X)[:, place] - (y == "yes")) ** 2))

    pairs = [("far", Foreign()), ("linear", linear())]
    search = search_over(pairs, {"far": {"share": [0.2, 0.9]}}, scoring=scorer, losses=None).fit(
        X, y
    )
    wanted = [-np.mean((share - code) ** 2) for share in (0.2, 0.9)]
    means = search.cv_results_["mean_test_score"][of_kind(search, "far")]
    np.testing.assert_allclose(means, wanted, atol=1e-3)
    pairs = [("far", Foreign(0.2)), ("linear", linear())]
    both = search_over(pairs, scoring="accuracy", ensemble=2, losses=None)
    both.fit(X, y)
    p = both.best_estimator_
    mean = sum(w * (np.tile([0.8, 0.2], (len(X), 1)) if name == "far" else linear().fit(X, y).predict_proba(X)) for w, name, _ in both.ensemble_)  # fmt: skip
    np.testing.assert_allclose(p.predict_proba(X), mean)


class Rewrites(ClassifierMixin, BaseEstimator):
    """Its constructor changes a parameter, as CatBoost's does, so that scikit-learn cannot clone it."""

    def __init__(self, columns=(0,), depth=2):
        self.columns = list(columns)
        self.depth = depth

    def fit(self, X, y):
        self.tree_ = DecisionTreeClassifier(max_depth=self.depth, random_state=0)
        self.tree_.fit(X[:, self.columns], y)
        self.classes_ = self.tree_.classes_
        return self

    def predict_proba(self, X):
        return self.tree_.predict_proba(X[:, self.columns])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


@pytest.mark.parametrize("kw", [{}, {"ensemble": 3}, {"ensemble": 3, "threshold": True}, {"threshold": True}])  # fmt: skip
def test_classifiers_that_scikit_learn_cannot_clone(rare, kw):
    X, y = rare
    columns = [0, 1, 2]
    with pytest.raises(RuntimeError, match="Cannot clone"):
        clone(Rewrites(columns))
    pairs = [("odd", Rewrites(columns)), ("linear", linear())]
    search = search_over(pairs, {"odd": {"depth": [1, 3]}}, losses=None, scoring="f1", **kw)
    search = clone(search).fit(X, y)
    same = cross_val_score(DecisionTreeClassifier(max_depth=3, random_state=0), X[:, columns], y, cv=FOLDS, scoring="f1")  # fmt: skip
    column = "mean_untuned_score" if "threshold" in kw else "mean_test_score"
    assert search.cv_results_[column][1] == pytest.approx(same.mean())
    assert dict(search.estimator)["odd"].columns == columns
    assert not hasattr(dict(search.estimator)["odd"], "tree_")
    assert cross_val_score(search, X, y, cv=2).shape == (2,)


def test_thresholds_of_classifiers_that_scikit_learn_cannot_clone(rare):
    X, y = rare
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X[:, :1], y)
    fixed = FixedThresholdClassifier(Rewrites([0]), 0.1).fit(X, y)
    np.testing.assert_array_equal(fixed.predict(X), tree.predict_proba(X[:, :1])[:, 1] >= 0.1)
    odd, usual = (
        TunedThresholdClassifierCV(model, scoring="f1", cv=FOLDS).fit(rows, y).threshold_
        for model, rows in ((Rewrites([0]), X), (clone(tree), X[:, :1]))
    )
    assert odd == usual


class Untagged:
    """Answers like a classifier, but is none to scikit-learn."""

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.zeros((len(X), 2))


WRONG = [
    ([], {}, ValueError, r"estimator=\[\] holds nothing"),
    ([net()], {}, TypeError, r"must list pairs \(name, classifier\), got MLPClassifier"),
    ([("a", net(), 1)], {}, TypeError, "must list pairs"),
    ([("a", net()), ("a", forest())], {}, ValueError, "the name 'a' more than once"),
    ([("a__b", net())], {}, ValueError, "cannot be called 'a__b'"),
    ([("", net())], {}, ValueError, "cannot be called ''"),
    ([("cv", net())], {}, ValueError, "cannot be called 'cv', which LossSearchCV itself uses"),
    ([("scorer", net())], {}, ValueError, "cannot be called 'scorer'"),
    ([("a", MLPClassifier)], {}, TypeError, r"'a' is a class; give an object, MLPClassifier\(\)"),
    ([("a", Ridge())], {}, TypeError, r"'a' is no classifier to .*: Ridge\(\)"),
    ([("a", "drop")], {}, TypeError, "'a' is no classifier to .*: 'drop'"),
    ([("a", StandardScaler())], {}, TypeError, "'a' is no classifier"),
    ([("a", Untagged())], {}, TypeError, "'a' is no classifier to scikit-learn"),
    ([("a", SVC())], {}, ValueError, r"SVC\(\) has no predict_proba.*CalibratedClassifierCV"),
    ([("a", net())], {"param_grid": {"b": {"alpha": [1]}}}, ValueError, r"a grid for 'b', which is none of the estimators \['a'\]"),
    ([("a", net())], {"param_grid": {"a__alpha": [1]}}, ValueError, "a grid for 'a__alpha'"),
    ([("a", net())], {"param_grid": [{"alpha": [1]}]}, TypeError, "a dict of grids by name"),
    ([("a", net())], {"param_grid": {"a": 3}}, TypeError, r"param_grid\['a'\] must be a dict"),
    ([("a", forest())], {"param_grid": {"a": {"dpeth": [3]}}}, ValueError, "'a' has no setting that works: Invalid parameter 'dpeth'"),
    ([("a", net())], {"param_grid": {"a": {"loss": [Focal()]}}}, ValueError, "losses=None"),
    ([("a", forest())], {"losses": [Focal()]}, ValueError, r"Focal\(\), which none of the estimators \['a'\] trains"),
    ([("a", trees()), ("b", forest())], {"losses": [Focal(), AnyLoss()]}, ValueError, r"AnyLoss\(\), which none"),
    ([("a", trees())], {"losses": ["Focal"]}, TypeError, "losses or loss classes"),
]  # fmt: skip


@pytest.mark.parametrize(("pairs", "kw", "error", "words"), WRONG)
def test_what_is_refused(rare, pairs, kw, error, words):
    if "losses" not in kw:
        kw = {"losses": "all"} | kw
    with pytest.raises(error, match=words):
        LossSearchCV(pairs, scoring="roc_auc", cv=2, **kw).fit(*rare)


def targets(code):
    """The same labels in the types that frames give them, numbers first."""
    text = pd.Series(np.array(["no", "yes"])[code])
    yield from (pd.Series(code), pd.Series(code).astype("boolean"), pd.Series(code).astype("Int64"))
    yield from (text, text.astype("category"), text.astype(object), text.tolist())


def test_targets_of_any_type(rare):
    X, code = rare
    pairs, kw = [("linear", linear()), ("nets", net())], {"scoring": "roc_auc", "ensemble": 2}
    first, *others = [search_over(pairs, cv=2, **kw).fit(X, y) for y in targets(code)]
    for other in others:
        np.testing.assert_array_equal(scores_of(other), scores_of(first))
        np.testing.assert_array_equal(other.predict_proba(X), first.predict_proba(X))
        assert np.unique(other.classes_[code] == other.predict(X), return_counts=True)[1][1] > 200


@pytest.mark.parametrize(
    ("y", "kw", "message"),
    [
        (["a", None] * 150, {}, "missing label in 150 places"),
        (["a", 1] * 150, {}, "mixes labels of several kinds"),
        (np.linspace(0, 1, 300), {}, "Unknown label type: continuous"),
        (np.zeros(300), {}, "LossSearchCV needs at least two classes"),
        (["a", "b"] * 150, {}, "takes 1 as the positive class, and y holds .'a', 'b'.; code y as 0"),
        (["a", "b"] * 150, {"scoring": ["roc_auc", "f1"], "refit": "roc_auc"}, "takes 1 as the positive"),
    ],
)  # fmt: skip
def test_targets_that_are_refused(rare, y, kw, message):
    for estimator in (net(), [("linear", linear())]):
        with pytest.raises(ValueError, match=message):
            search_over(estimator, **kw).fit(rare[0], y)


def test_what_gains_probabilities_is_taken(rare):
    pairs = [("machine", CalibratedClassifierCV(SVC(), cv=2)), ("nets", net())]
    search = search_over(pairs, cv=2, ensemble=2).fit(*rare)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --- stages, threads, memory -----------------------------------------------------------------------


def test_halving_is_for_nets(rare, capsys):
    X, y = rare
    grid = {"learning_rate_init": [1e-4, 1e-3, 1e-2, 3e-2]}
    kw = {"halving": 3, "losses": LOSSES, "scoring": "average_precision", "cv": FOLDS}
    alone = LossSearchCV(net(max_iter=9), grid, **kw).fit(X, y)
    pairs = [("forest", forest()), ("nets", net(max_iter=9)), ("linear", linear())]
    both = LossSearchCV(pairs, {"nets": grid}, verbose=1, **kw).fit(X, y)
    at = of_kind(both, "nets")
    np.testing.assert_array_equal(both.cv_results_["n_epochs"][at], alone.cv_results_["n_epochs"])
    np.testing.assert_array_equal(scores_of(both)[:, at], scores_of(alone))
    rest = np.setdiff1d(np.arange(len(both.cv_results_["params"])), at)
    assert (both.cv_results_["n_epochs"][rest] == 0).all()
    assert np.isfinite(scores_of(both)[:, rest]).all()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("forest: 1 candidates x 3 folds: ")
    assert lines[1].startswith("nets: 16 candidates x 3 folds, 1 epochs: ")
    assert lines[-1].startswith("linear: 1 candidates x 3 folds: ")


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_halving_of_nets_on_raw_tables_ends_as_if_nothing_had_been_dropped(
    rare, in_pipeline, capsys
):
    X, y = rare
    tabm = TabMClassifier(max_iter=9, n_iter_no_change=3, width=8, n_members=2, random_state=0)
    tabm.set_params(validation_folds=3)
    model = make_pipeline(StandardScaler(), tabm) if in_pipeline else tabm
    name = "tabmclassifier__" if in_pipeline else ""
    grid = {f"{name}learning_rate_init": [1e-4, 1e-3, 1e-2, 3e-2]}
    kw = {"losses": LOSSES, "scoring": "average_precision", "cv": FOLDS, "ensemble": 2}
    whole = LossSearchCV(model, grid, **kw).fit(X, y)
    halved = LossSearchCV(model, grid, halving=3, verbose=1, **kw).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("16 candidates x 3 folds, one ensemble of at most 3 epochs: ")
    assert " candidates x 3 folds, one ensemble of at most 6 epochs: " in lines[1]
    assert 6 <= int(lines[1].split()[0]) <= 10  # a third of all, and two of each baseline
    found = halved.cv_results_
    ended = found["n_ensembles"] == 3
    assert 3 <= ended.sum() <= 5
    np.testing.assert_array_equal(scores_of(halved)[:, ended], scores_of(whole)[:, ended])
    assert ended[halved.best_index_]
    assert {"cross-entropy", "weighted cross-entropy"} <= set(found["role"][ended])
    once = ended | (found["n_ensembles"] == 1)
    assert once.all()
    assert set(found["n_epochs"][~ended]) == {3, 6}
    # what was dropped first has the score of that training
    k = np.flatnonzero(found["n_epochs"] == 3)[0]
    short = clone(model).set_params(**found["params"][k])
    short.set_params(**{f"{name}max_iter": 3, f"{name}validation_folds": 1})
    expected = cross_val_score(short, X, y, cv=FOLDS, scoring="average_precision")
    np.testing.assert_array_equal(scores_of(halved)[:, k], expected)
    assert {str(params) for _, params in halved.ensemble_} <= {
        str(params) for params, end in zip(found["params"], ended, strict=True) if end
    }
    frame = halved.results_frame()
    assert frame["n_ensembles"].isin([1, 3]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        tabm.set_params(max_iter=200)
        for folds in (1, 2):  # in threads, one after another
            tabm.set_params(validation_folds=folds)
            LossSearchCV(tabm, **kw | {"ensemble": 0}, halving=2, n_jobs=folds).fit(X, y)


def test_halving_of_nets_without_folds_or_with_least_epochs(rare):
    X, y = rare
    tabm = TabMClassifier(max_iter=8, n_iter_no_change=3, width=8, n_members=2, random_state=0)
    grid = {"learning_rate_init": [1e-4, 1e-2]}
    kw = {"losses": LOSSES, "scoring": "average_precision", "cv": 2, "refit": False}

    def trained(**params):
        found = LossSearchCV(tabm, grid, **kw, **params).fit(X, y).cv_results_
        return set(zip(found["n_epochs"].tolist(), found["n_ensembles"].tolist(), strict=True))

    for folds in (0, 1):  # nothing but epochs can be fewer
        tabm.set_params(validation_folds=folds)
        assert {(3, 1), (8, 1)} <= trained(halving=3, min_epochs=3) <= {(3, 1), (6, 1), (8, 1)}
    tabm.set_params(validation_folds=2)
    assert trained(halving=4, min_epochs=2) == {(2, 1), (8, 2)}
    assert trained(halving=4) == {(3, 1), (8, 2)}
    tabm.set_params(n_iter_no_change=np.inf)  # no patience, so that all epochs are trained
    assert {(1, 1), (8, 2)} <= trained(halving=2) <= {(1, 1), (2, 1), (3, 1), (8, 2)}
    tabm.set_params(max_iter=3, n_iter_no_change=3)  # too few epochs to drop anything
    assert trained(halving=2) == {(3, 2)}


def test_halving_of_a_pipeline_whose_settings_change_its_last_step(rare):
    tabm = TabMClassifier(max_iter=6, n_iter_no_change=2, width=8, n_members=2, random_state=0)
    pipe = Pipeline([("scale", StandardScaler()), ("model", tabm)])
    grid = {"model": [tabm, MLPClassifier((4,), max_iter=6, random_state=0)]}
    search = LossSearchCV(pipe, grid, losses=LOSSES, halving=2, cv=2, refit=False).fit(*rare)
    found = search.cv_results_
    other = np.array([isinstance(p["model"], MLPClassifier) for p in found["params"]])
    assert other.sum() == 4
    assert (found["n_ensembles"][other] == 0).all()  # what is no ensemble is trained whole
    assert set(found["n_ensembles"][~other]) <= {1, 5}
    assert np.isfinite(found["mean_test_score"]).all()


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_halving_keeps_what_fails_out(rare):
    X, y = rare
    tabm = TabMClassifier(max_iter=4, n_iter_no_change=2, width=8, n_members=2, random_state=0)
    grid = {"learning_rate_init": [1e-3, 1e-2, -1.0]}
    with pytest.warns(FitFailedWarning):
        found = LossSearchCV(tabm, grid, losses=LOSSES, halving=3, cv=2).fit(X, y).cv_results_
    bad = np.array([p["learning_rate_init"] < 0 for p in found["params"]])
    assert np.isnan(found["mean_test_score"][bad]).all()
    assert (found["n_ensembles"][bad] <= 1).all()
    assert np.isfinite(found["mean_test_score"][~bad]).all()


def test_jobs_threads_and_memory_change_nothing(rare):
    X, y = rare
    pairs = [("nets", net()), ("linear", linear()), ("forest", forest())]
    one = search_over(pairs, ensemble=3).fit(X, y)
    two = search_over(pairs, ensemble=3, n_jobs=2).fit(X, y)
    parts = search_over(pairs, ensemble=3, max_memory=20_000).fit(X, y)
    with batched_fits():
        inside = search_over(pairs, ensemble=3).fit(X, y)
    for other in (two, parts, inside):
        np.testing.assert_allclose(scores_of(other), scores_of(one), rtol=1e-9)
        np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-9)


def test_nested_scores_are_the_search_repeated(rare):
    X, y = rare
    outer = StratifiedKFold(2)
    pairs = [("linear", linear()), ("forest", forest())]
    search = LossSearchCV(pairs, scoring="roc_auc", cv=2, nested=outer).fit(X, y)
    alone = LossSearchCV(pairs, scoring="roc_auc", cv=2)
    wanted = cross_val_score(alone, X, y, cv=outer, scoring="roc_auc")
    np.testing.assert_allclose(search.nested_scores_, wanted)
    assert len(search.nested_names_) == len(search.nested_params_) == 2
    assert set(search.nested_names_) <= {"linear", "forest"}


CHECKED = LossSearchCV(
    [("linear", LinearClassifier()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))],
    losses=[Focal()],
    cv=2,
)


@parametrize_with_checks([CHECKED])
def test_contract_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_seeds_and_shared_objects_stay_untouched(rare):
    X, y = rare
    inner, tree = net(), DecisionTreeClassifier(random_state=0)
    search = search_over([("nets", inner), ("tree", tree)], {"tree": {"max_depth": [1, 2]}})
    search.fit(X, y)
    assert not hasattr(inner, "net_")
    assert not hasattr(tree, "tree_")
    assert tree.max_depth is None
    assert repr(inner.loss) == repr(net().loss)
    assert all(
        isinstance(p.get("loss", CrossEntropy()), object) for p in search.cv_results_["params"]
    )
