"""`LossSearchCV` against scikit-learn's searches over the same candidates, and what it adds."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as imblearn_pipeline
from scipy import sparse
from scipy.stats import rankdata
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_wine,
    make_classification,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import d2_log_loss_score, f1_score, get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skimb._core.compat import VERSION
from skimb.inspection import SearchDisplay
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AnyLoss,
    CrossEntropy,
    EqualizationV2,
    ExpectedCost,
    Focal,
    GeneralizedCrossEntropy,
    LogitAdjusted,
    MannWhitney,
    all_losses,
)
from skimb.model_selection import FixedThresholdClassifier, LossSearchCV, batched_fits
from skimb.model_selection._advice import compare
from skimb.model_selection._candidates import chosen_losses, loss_name, settings
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
from skimb.testing import make_batch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
UNKNOWN = make_scorer(d2_log_loss_score, response_method="predict_proba")  # not computed in bulk
SOME = [Focal(gamma=1.0), LogitAdjusted(), GeneralizedCrossEntropy(q=0.5)]


@pytest.fixture(scope="module")
def rare():
    X, y = make_classification(400, 6, weights=[0.85], random_state=0, class_sep=0.7)
    return X, y


@pytest.fixture(scope="module")
def three():
    return make_classification(
        420, 6, n_classes=3, n_informative=4, weights=[0.7, 0.2, 0.1], random_state=1
    )


def model(**kw):
    kw = {"max_iter": 6, "random_state": 0, "learning_rate_init": 0.01, "tol": 0.0} | kw
    return MLPClassifier((8,), **kw)


def reference(search, X, y, **kw):
    """A stock search over the same candidates."""
    grid = [{k: [v] for k, v in params.items()} for params in search.cv_results_["params"]]
    given = {"scoring": search.scoring, "cv": search.cv, "refit": False} | kw
    return GridSearchCV(search.estimator, grid, **given).fit(X, y)


def split_scores(search, name="score"):
    n = search.n_splits_
    return np.array([search.cv_results_[f"split{j}_test_{name}"] for j in range(n)])


# --- the same numbers as stock searches ------------------------------------------------------


@pytest.mark.parametrize("scoring", ["average_precision", "f1", "neg_log_loss", UNKNOWN, None])
def test_equals_a_stock_search(rare, scoring):
    X, y = rare
    search = LossSearchCV(model(), {"alpha": [0.0, 0.1]}, losses=SOME, scoring=scoring, cv=3)
    search.fit(X, y)
    stock = reference(search, X, y)
    np.testing.assert_allclose(split_scores(search), split_scores(stock), rtol=1e-9)
    assert len(search.cv_results_["params"]) == 2 * (2 + len(SOME))
    for key in stock.cv_results_:
        assert key in search.cv_results_
    best = clone(search.estimator).set_params(**search.best_params_).fit(X, y)
    np.testing.assert_allclose(search.predict_proba(X), best.predict_proba(X), rtol=1e-12)
    np.testing.assert_array_equal(
        search.best_index_, np.argmax(search.cv_results_["mean_test_score"])
    )
    assert search.score(X, y) == (get_scorer(scoring)(best, X, y) if scoring else best.score(X, y))


def test_multimetric_callables_and_training_scores(rare):
    X, y = rare
    kw = {"losses": SOME, "cv": 2}
    names = {"roc_auc": "roc_auc", "balanced_accuracy": "balanced_accuracy", "d2": UNKNOWN}
    search = LossSearchCV(model(), scoring=names, refit="roc_auc", return_train_score=True, **kw)
    search.fit(X, y)
    stock = reference(search, X, y, return_train_score=True)
    for name in names:
        np.testing.assert_allclose(split_scores(search, name), split_scores(stock, name), rtol=1e-9)
        wanted = stock.cv_results_[f"mean_train_{name}"]
        np.testing.assert_allclose(search.cv_results_[f"mean_train_{name}"], wanted, rtol=1e-9)
    assert search.multimetric_
    assert set(search.scorer_) == set(names)

    def two(estimator, X, y):
        return {"a": estimator.score(X, y), "b": float(estimator.predict(X).mean())}

    search = LossSearchCV(model(), scoring=two, refit="b", **kw).fit(X, y)
    np.testing.assert_allclose(
        split_scores(search, "b"), split_scores(reference(search, X, y), "b")
    )
    assert search.best_index_ == np.argmax(search.cv_results_["mean_test_b"])
    one = LossSearchCV(model(), scoring=lambda e, X, y: float(e.predict(X).mean()), **kw).fit(X, y)
    np.testing.assert_allclose(split_scores(one), split_scores(reference(one, X, y)))


def test_pipelines_are_fitted_once_per_fold_and_setting(rare):
    X, y = rare
    _Counted.fits = 0
    pipe = make_pipeline(_Counted(), StandardScaler(), model())
    grid = {"standardscaler__with_mean": [True, False], "mlpclassifier__alpha": [0.0, 0.1]}
    search = LossSearchCV(pipe, grid, losses=SOME, scoring="roc_auc", cv=3, refit=False).fit(X, y)
    assert _Counted.fits == 3 * 2
    np.testing.assert_allclose(
        split_scores(search), split_scores(reference(search, X, y)), rtol=1e-9
    )


class _Counted(StandardScaler):
    fits = 0

    def fit(self, X, y=None, sample_weight=None):
        type(self).fits += 1
        return super().fit(X, y, sample_weight)


def test_pipelines_with_samplers_and_replaced_steps(rare):
    X, y = rare
    pipe = imblearn_pipeline(StandardScaler(), SMOTE(random_state=0), model())
    grid = {"standardscaler": [StandardScaler(), MinMaxScaler()], "mlpclassifier__alpha": [0.1]}
    kw = {"scoring": "neg_log_loss", "cv": 2, "return_train_score": True}
    search = LossSearchCV(pipe, grid, losses=SOME[:2], **kw).fit(X, y)
    stock = reference(search, X, y, return_train_score=True)
    np.testing.assert_allclose(split_scores(search), split_scores(stock), rtol=1e-9)
    train = stock.cv_results_["mean_train_score"]
    np.testing.assert_allclose(search.cv_results_["mean_train_score"], train, rtol=1e-9)
    grid = {"mlpclassifier": [model(), LinearClassifier(max_iter=5, solver="adam", random_state=0)]}
    search = LossSearchCV(pipe, grid, losses=SOME[:1], scoring="roc_auc", cv=2).fit(X, y)
    np.testing.assert_allclose(
        split_scores(search), split_scores(reference(search, X, y)), rtol=1e-9
    )


def test_sample_weights_reach_fit_and_scores(rare):
    X, y = rare
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    kw = {"losses": SOME, "cv": 2, "refit": False}
    for scoring in ("average_precision", "balanced_accuracy"):
        search = LossSearchCV(model(), scoring=scoring, **kw).fit(X, y, sample_weight=w)
        grid = [{k: [v] for k, v in params.items()} for params in search.cv_results_["params"]]
        stock = GridSearchCV(model(), grid, scoring=scoring, cv=2, refit=False).fit(
            X, y, sample_weight=w
        )
        np.testing.assert_allclose(split_scores(search), split_scores(stock), rtol=1e-9)
    pipe = make_pipeline(StandardScaler(), model())
    search = LossSearchCV(pipe, scoring="roc_auc", **kw).fit(X, y, mlpclassifier__sample_weight=w)
    grid = [{k: [v] for k, v in params.items()} for params in search.cv_results_["params"]]
    stock = GridSearchCV(pipe, grid, scoring="roc_auc", cv=2, refit=False)
    stock.fit(X, y, mlpclassifier__sample_weight=w)
    np.testing.assert_allclose(split_scores(search), split_scores(stock), rtol=1e-9)


def test_labels_multiclass_and_multilabel(three):
    X, y = three
    names = np.array(["often", "rare", "seldom"])[y]
    search = LossSearchCV(model(), losses=[Focal(), LogitAdjusted()], scoring="f1_macro", cv=3).fit(
        X, names
    )
    np.testing.assert_allclose(
        split_scores(search), split_scores(reference(search, X, names)), rtol=1e-9
    )
    assert set(search.predict(X)) <= set(names)
    X, Y = make_multilabel_classification(300, 8, n_classes=3, random_state=0)
    for scoring in ("f1_macro", "average_precision"):
        search = LossSearchCV(model(), losses=[Focal(), AnyLoss()], scoring=scoring, cv=2).fit(X, Y)
        np.testing.assert_allclose(
            split_scores(search), split_scores(reference(search, X, Y)), rtol=1e-9
        )


def test_folds_without_a_class_are_scored_by_scikit_learn(three):
    X, y = three
    keep = np.r_[np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        search = LossSearchCV(model(), losses=SOME[:1], scoring="balanced_accuracy", cv=3).fit(
            X[keep], y[keep]
        )
        stock = reference(search, X[keep], y[keep])
    np.testing.assert_allclose(split_scores(search), split_scores(stock), rtol=1e-9)


def test_all_losses_of_a_task(rare):
    X, y = rare
    classes = [c for c in all_losses("binary") if c.__name__ != "AdversarialCompSum"]
    search = LossSearchCV(
        model(max_iter=2), losses=[c() for c in classes], scoring="average_precision", cv=2
    )
    search.fit(X[:200], y[:200])
    np.testing.assert_allclose(
        split_scores(search), split_scores(reference(search, X[:200], y[:200])), rtol=1e-9
    )
    names = set(search.results_frame()["loss"])
    assert names == {c.__name__ for c in classes}


def test_what_cannot_train_in_a_population_is_searched_too(rare):
    X, y = rare
    cases = [
        LinearClassifier(solver="sgd", random_state=0, max_iter=20),
        NeuralNetClassifier(_net, max_iter=3, random_state=0),
        model(early_stopping=True, validation_fraction=0.3, n_iter_no_change=2),
        model(random_state=np.random.RandomState(0)),
    ]
    for estimator in cases:
        search = LossSearchCV(
            estimator, losses=[Focal(), EqualizationV2()], scoring="roc_auc", cv=2, refit=False
        )
        search.fit(X, y)
        if not isinstance(estimator.random_state, int):
            estimator = clone(estimator)
        np.testing.assert_allclose(
            split_scores(search), split_scores(reference(search, X, y)), rtol=1e-9
        )


def _net(n_features, n_outputs):
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 6), torch.nn.Dropout(0.3), torch.nn.Linear(6, n_outputs)
    )


# --- candidates, advice, report --------------------------------------------------------------


def test_baselines_are_always_there_and_settings_stand_once(rare):
    X, y = rare
    losses = [CrossEntropy(), CrossEntropy(label_smoothing=0.1), Focal, Focal(gamma=1.0)]
    search = LossSearchCV(model(), losses=losses, scoring="roc_auc", cv=2).fit(X, y)
    roles = search.cv_results_["role"].tolist()
    assert roles.count("cross-entropy") == 1
    assert roles.count("weighted cross-entropy") == 1
    assert roles.count("special") == 1 + 4
    grid = {"loss": [Focal()], "loss__gamma": [1.0, 2.0], "class_weight": [None, {0: 1.0, 1: 3.0}]}
    search = LossSearchCV(model(), grid, losses=None, scoring="roc_auc", cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 4 + 3  # plain, balanced, the given weights
    with pytest.raises(ValueError, match="losses=None"):
        LossSearchCV(model(), grid, scoring="roc_auc").fit(X, y)
    with pytest.raises(TypeError, match="Focalo"):
        LossSearchCV(model(), losses=["Focalo"]).fit(X, y)


def test_advice_is_a_corrected_paired_test(rare):
    X, y = rare
    cv = StratifiedKFold(4, shuffle=True, random_state=0)
    search = LossSearchCV(model(), losses=SOME, scoring="average_precision", cv=cv).fit(X, y)
    scores = split_scores(search).T
    roles = search.cv_results_["role"]
    special, weighted = scores[roles == "special"], scores[roles == "weighted cross-entropy"]
    one = compare(special[special.mean(1).argmax()], weighted[0], 100 / 300)
    assert search.comparison_.difference == pytest.approx(one.difference)
    assert search.comparison_.p == pytest.approx(min(1.0, 3 * one.p))
    assert "3 special candidates" in search.advice_
    d = np.array([0.1, 0.3, 0.2, 0.2])
    by_hand = 0.2 / np.sqrt(d.var(ddof=1) * (1 / 4 + 1 / 3))
    found = compare(d, np.zeros(4), 1 / 3)
    assert found.difference / found.error == pytest.approx(by_hand)
    assert 0 < found.p < 0.05


def test_advice_says_so_when_a_loss_is_better():
    """Kendall-style data: cross-entropy trained one epoch at a tiny rate cannot win against a trained one."""
    X, y = make_classification(600, 5, weights=[0.8], random_state=0)
    grid = [{"loss": [Focal()], "learning_rate_init": [0.05]}]
    search = LossSearchCV(model(max_iter=20), grid, losses=None, scoring="roc_auc", cv=5).fit(X, y)
    assert "beats" in search.advice_
    baseline = search.cv_results_["role"] != "special"
    assert baseline.sum() == 2


def test_frame_and_plot(rare):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    X, y = rare
    search = LossSearchCV(model(), losses=SOME, scoring="f1", cv=3, threshold=True).fit(X, y)
    table = search.results_frame()
    assert isinstance(table, pd.DataFrame)
    assert table["mean"].is_monotonic_decreasing
    np.testing.assert_allclose(table["mean"].max(), search.best_score_)
    assert {"loss", "role", "setting", "difference", "error", "threshold"} <= set(table)
    ax = search.plot()
    assert len(ax.get_yticklabels()) == 2 + len(SOME)
    assert "f1" in ax.get_xlabel()


# --- thresholds ------------------------------------------------------------------------------


def test_thresholds_come_from_the_other_folds(rare):
    X, y = rare
    cv = StratifiedKFold(3)
    search = LossSearchCV(model(), losses=SOME, scoring="f1", cv=cv, threshold=True).fit(X, y)
    for k, params in enumerate(search.cv_results_["params"]):
        estimator = clone(search.estimator).set_params(**params)
        p = cross_val_predict(estimator, X, y, cv=cv, method="predict_proba")[:, 1]
        for j, (_, test) in enumerate(cv.split(X, y)):
            rest = np.setdiff1d(np.arange(len(y)), test)
            tried = np.unique(p[rest])
            best = max(f1_score(y[rest], p[rest] >= t) for t in tried)
            if k == search.best_index_:
                assert f1_score(y[rest], p[rest] >= search.thresholds_[j]) == pytest.approx(best)
                found = f1_score(y[test], p[test] >= search.thresholds_[j])
                assert split_scores(search)[j, k] == pytest.approx(found)
        pooled = search.cv_results_["threshold"][k]
        assert f1_score(y, p >= pooled) == pytest.approx(
            max(f1_score(y, p >= t) for t in np.unique(p))
        )
    assert isinstance(search.best_estimator_, FixedThresholdClassifier)
    assert search.threshold_ == search.cv_results_["threshold"][search.best_index_]
    np.testing.assert_array_equal(
        search.predict(X), (search.predict_proba(X)[:, 1] >= search.threshold_).astype(int)
    )
    plain = LossSearchCV(model(), losses=SOME, scoring="f1", cv=cv).fit(X, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_untuned_score"], plain.cv_results_["mean_test_score"]
    )
    assert "tuned threshold" in plain.advice_


def test_thresholds_of_classes_and_labels(three):
    X, y = three
    search = LossSearchCV(model(), losses=SOME[:2], scoring="f1_macro", cv=3, threshold=True).fit(
        X, y
    )
    assert search.threshold_.shape == (3,)
    assert search.thresholds_.shape == (3, 3)
    assert set(search.predict(X)) <= {0, 1, 2}
    X, Y = make_multilabel_classification(300, 8, n_classes=3, random_state=0)
    search = LossSearchCV(model(), losses=[Focal()], scoring="f1_macro", cv=3, threshold=True).fit(
        X, Y
    )
    np.testing.assert_array_equal(
        search.predict(X), (search.predict_proba(X) >= search.threshold_).astype(int)
    )
    assert (
        search.cv_results_["mean_test_score"].mean()
        > search.cv_results_["mean_untuned_score"].mean()
    )


def test_thresholds_need_a_metric_of_decisions(rare):
    X, y = rare
    with pytest.raises(ValueError, match="roc_auc"):
        LossSearchCV(model(), losses=SOME, scoring="roc_auc", threshold=True).fit(X, y)
    names = np.array(["no", "yes"])[y]
    with pytest.raises(ValueError, match="pos_label"):
        LossSearchCV(model(), losses=SOME, scoring="f1", threshold=True).fit(X, names)
    scorer = make_scorer(f1_score, pos_label="yes")
    search = LossSearchCV(model(), losses=SOME, scoring=scorer, threshold=True, cv=2).fit(X, names)
    assert set(search.predict(X)) <= {"no", "yes"}
    assert search.best_score_ > 0


def test_fixed_thresholds_classifier(rare, three):
    X, y = three
    base = LogisticRegression()
    p = base.fit(X, y).predict_proba(X)
    rule = [0.6, 0.3, 0.1]
    found = FixedThresholdClassifier(base, rule).fit(X, y)
    np.testing.assert_array_equal(found.predict(X), (p / rule).argmax(1))
    with pytest.raises(ValueError, match="3 positive numbers"):
        FixedThresholdClassifier(base, 0.5).fit(X, y)
    with pytest.raises(ValueError, match="3 positive numbers"):
        FixedThresholdClassifier(base, [0.5, 0.0, 0.5]).fit(X, y)
    frame = pd.DataFrame(rare[0]).add_prefix("x")
    fitted = FixedThresholdClassifier(base, 0.2).fit(frame, rare[1])
    assert fitted.feature_names_in_.tolist() == frame.columns.tolist()


# --- halving, ensembles, outer folds ---------------------------------------------------------


def test_halving_goes_on_with_the_best(rare):
    X, y = rare
    grid = {"learning_rate_init": [1e-4, 1e-3, 1e-2, 3e-2]}
    kw = {"losses": SOME, "scoring": "average_precision", "cv": 3}
    whole = LossSearchCV(model(max_iter=9), grid, **kw).fit(X, y)
    halved = LossSearchCV(model(max_iter=9), grid, halving=3, **kw).fit(X, y)
    epochs = halved.cv_results_["n_epochs"]
    assert epochs.max() == 9
    assert (epochs == 9).sum() < len(epochs)
    ended = epochs == 9
    # members that went on are as good as if nobody had stopped
    np.testing.assert_allclose(
        split_scores(halved)[:, ended], split_scores(whole)[:, ended], rtol=1e-9
    )
    role = halved.cv_results_["role"]
    for baseline in ("cross-entropy", "weighted cross-entropy"):  # one of four, then one of two
        assert 1 <= ended[role == baseline].sum() < 4
    first = LossSearchCV(model(max_iter=1), grid, **kw).fit(X, y)
    stopped = epochs == 1
    assert stopped.any()
    np.testing.assert_allclose(
        split_scores(halved)[:, stopped], split_scores(first)[:, stopped], rtol=1e-9
    )
    assert ended[halved.best_index_]
    assert whole.best_params_.keys() == halved.best_params_.keys()


def test_what_halving_dropped_stands_behind_the_rest(rare):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    X, y = rare
    # few epochs are best, so that what is dropped after them has better scores than what trains on
    net = MLPClassifier((32,), max_iter=150, learning_rate_init=0.05, tol=0.0, random_state=0)
    grid = {"alpha": [0.0, 1e-5]}
    kw = {"scoring": "neg_log_loss", "cv": 3, "halving": 2, "min_epochs": 3}
    search = LossSearchCV(net, grid, losses=[Focal(), LogitAdjusted()], **kw).fit(X, y)
    found, best = search.cv_results_, search.best_index_
    ended, means = found["finished"], found["mean_test_score"]
    assert 0 < ended.sum() < len(ended)
    assert means[~ended].max() > means[ended].max()
    assert ended[best]
    assert means[best] == means[ended].max()
    ranks = found["rank_test_score"]
    assert ranks[best] == 1
    np.testing.assert_array_equal(ranks[ended], rankdata(-means[ended], "min"))
    np.testing.assert_array_equal(ranks[~ended], ended.sum() + rankdata(-means[~ended], "min"))
    table = search.results_frame()
    assert table["mean"][0] == means[best]
    assert table["finished"].tolist() == sorted(ended, reverse=True)
    base = means[ended & (found["role"] == "weighted cross-entropy")].max()
    np.testing.assert_allclose(table["difference"], table["mean"] - base)
    dropped = ~table.groupby(["role", "loss"])["finished"].any()
    assert ("hollow" in search.plot().get_xlabel()) == dropped.any()
    assert dropped.any()
    display = SearchDisplay.from_search(search, top=99)
    assert len(display.mean) == ended.sum()
    assert display.mean[0] == means[best]
    with pytest.raises(ValueError, match="dropped by halving before its training ended"):
        SearchDisplay.from_search(search, baseline=int(np.flatnonzero(~ended)[0]))
    whole = LossSearchCV(net, grid, losses=[Focal()], scoring="neg_log_loss", cv=3).fit(X, y)
    assert "finished" not in whole.cv_results_
    np.testing.assert_array_equal(
        whole.cv_results_["rank_test_score"], rankdata(-whole.cv_results_["mean_test_score"], "min")
    )


def test_a_display_of_scikit_learns_halving_shows_its_last_round(rare):
    pytest.importorskip("matplotlib").use("Agg")
    grid = {"max_depth": [1, 2, 3, 4]}
    search = HalvingGridSearchCV(DecisionTreeClassifier(), grid, random_state=0).fit(*rare)
    display = SearchDisplay.from_search(search)
    last = search.cv_results_["iter"] == search.n_iterations_ - 1
    assert len(display.mean) == last.sum() < len(last)


def test_halving_of_losses_whose_level_is_fitted_afterwards(rare):
    X, y = rare
    losses = [MannWhitney(), Focal(), Focal(gamma=1.0), EqualizationV2()]
    kw = {"losses": losses, "scoring": "balanced_accuracy", "cv": 2}
    whole = LossSearchCV(model(max_iter=8), **kw).fit(X, y)
    halved = LossSearchCV(model(max_iter=8), halving=2, min_epochs=2, **kw).fit(X, y)
    ended = halved.cv_results_["n_epochs"] == 8
    assert 0 < ended.sum() < len(ended)
    np.testing.assert_allclose(
        split_scores(halved)[:, ended], split_scores(whole)[:, ended], rtol=1e-9
    )


def test_ensembles_average_what_greedy_selection_picks(rare):
    X, y = rare
    grid = {"random_state": [0, 1, 2], "learning_rate_init": [0.003, 0.03]}
    search = LossSearchCV(
        model(), grid, losses=SOME, scoring="average_precision", cv=3, ensemble=5
    ).fit(X, y)
    weights = [w for w, _ in search.ensemble_]
    assert sum(weights) == pytest.approx(1.0)
    assert search.ensemble_score_ >= search.best_score_ - 1e-12
    members = [
        clone(search.estimator).set_params(**params).fit(X, y) for _, params in search.ensemble_
    ]
    mean = sum(w * m.predict_proba(X) for w, m in zip(weights, members, strict=True))
    np.testing.assert_allclose(search.predict_proba(X), mean, rtol=1e-9)
    tuned = LossSearchCV(model(), losses=SOME, scoring="f1", cv=3, ensemble=4, threshold=True).fit(
        X, y
    )
    assert 0 <= tuned.threshold_ < 1
    np.testing.assert_array_equal(
        tuned.predict(X), (tuned.predict_proba(X)[:, 1] >= tuned.threshold_).astype(int)
    )
    with pytest.raises(ValueError, match="d2_log_loss_score"):
        LossSearchCV(model(), losses=SOME, scoring=UNKNOWN, ensemble=3).fit(X, y)


def test_ensembles_of_labels():
    X, Y = make_multilabel_classification(200, 8, n_classes=3, random_state=0)
    search = LossSearchCV(
        model(), {"alpha": [0.0, 1.0]}, losses=[Focal()], scoring="f1_macro", cv=2, ensemble=3
    )
    search.fit(X, Y)
    assert search.predict(X).shape == Y.shape


def test_nested_scores_are_the_search_repeated(rare):
    X, y = rare
    outer = StratifiedKFold(2)
    search = LossSearchCV(model(), losses=SOME, scoring="roc_auc", cv=2, nested=outer).fit(X, y)
    alone = LossSearchCV(model(), losses=SOME, scoring="roc_auc", cv=2)
    np.testing.assert_allclose(
        search.nested_scores_, cross_val_score(alone, X, y, cv=outer, scoring="roc_auc"), rtol=1e-9
    )
    assert len(search.nested_params_) == 2


# --- failures, threads, neighbours -----------------------------------------------------------


def test_failing_candidates_are_reported(rare):
    X, y = rare
    losses = [Focal(gamma=1.0), Focal(gamma=-1.0)]
    search = LossSearchCV(model(), losses=losses, scoring="roc_auc", cv=2)
    with (
        pytest.warns(FitFailedWarning, match="gamma"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"][-1])
    assert (
        search.best_params_["loss"].gamma != -1.0
        if hasattr(search.best_params_["loss"], "gamma")
        else True
    )
    with pytest.raises(ValueError, match="gamma"):
        LossSearchCV(model(), losses=losses, scoring="roc_auc", cv=2, error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="failed"):
        LossSearchCV(LogisticRegression(), losses=[Focal()], scoring="roc_auc").fit(X, y)
    bad = make_pipeline(_Broken(), model())
    with pytest.raises(ValueError, match="broken on purpose"):
        LossSearchCV(bad, losses=[Focal()], scoring="roc_auc", cv=2).fit(X, y)


class _Broken(StandardScaler):
    def fit(self, X, y=None, sample_weight=None):
        raise RuntimeError("broken on purpose")


def test_threads_give_the_same_scores(rare):
    X, y = rare
    kw = {"losses": SOME, "scoring": "average_precision", "cv": 4}
    one = LossSearchCV(model(), **kw).fit(X, y)
    two = LossSearchCV(model(), n_jobs=2, **kw).fit(X, y)
    np.testing.assert_array_equal(split_scores(one), split_scores(two))
    with batched_fits():
        inside = LossSearchCV(model(), ensemble=2, **kw).fit(X, y)
    np.testing.assert_allclose(split_scores(one), split_scores(inside), rtol=1e-9)


def test_works_inside_scikit_learn(rare):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipe = make_pipeline(StandardScaler(), model())
    search = LossSearchCV(pipe, losses=[Focal()], scoring="roc_auc", cv=2)
    assert cross_val_score(search, X, y, cv=2, scoring="roc_auc").min() > 0.9
    fitted = search.fit(X, y)
    assert fitted.feature_names_in_.tolist() == X.columns.tolist()
    assert fitted.n_features_in_ == X.shape[1]
    assert clone(search).get_params()["losses"][0].gamma == 2.0
    X, y = load_wine(return_X_y=True)
    assert LossSearchCV(pipe, losses=[Focal()], cv=2).fit(X, y).score(X, y) > 0.8


def test_memory_splits_populations_and_changes_nothing(rare):
    X, y = rare
    kw = {"losses": SOME, "scoring": "neg_log_loss", "cv": 2}
    one = LossSearchCV(model(), **kw).fit(X, y)
    parts = LossSearchCV(model(), max_memory=20_000, **kw).fit(X, y)
    np.testing.assert_allclose(split_scores(one), split_scores(parts), rtol=1e-9)


def test_warnings_of_members_are_given(rare):
    X, y = rare
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        LossSearchCV(model(), losses=[Focal()], scoring="roc_auc", cv=2).fit(X, y)


def test_callbacks_of_scikit_learn_see_stages(rare):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    X, y = rare
    seen = []

    class Listener:
        def setup(self, *args, **kwargs):
            seen.append(("setup", ""))

        def on_fit_task_begin(self, *args, **kwargs):
            seen.append(("begin", next(a.task_name for a in args if hasattr(a, "task_name"))))

        def on_fit_task_end(self, *args, **kwargs):
            seen.append(("end", next(a.task_name for a in args if hasattr(a, "task_name"))))

        def teardown(self, *args, **kwargs):
            seen.append(("teardown", ""))

    search = LossSearchCV(model(), losses=SOME, scoring="roc_auc", cv=2, halving=2)
    search.set_callbacks(Listener()).fit(X, y)
    begun = sorted(name for kind, name in seen if kind == "begin")
    assert begun.count("stage") >= 2
    assert begun == sorted(name for kind, name in seen if kind == "end")
    verbose = LossSearchCV(model(), losses=SOME, scoring="roc_auc", cv=2, verbose=1)
    verbose.set_callbacks(Listener()).fit(X, y)


# --- copies, odd folds and targets -----------------------------------------------------------


SETTINGS = [
    {},
    {"threshold": True, "scoring": "f1"},
    {"ensemble": 2, "scoring": "roc_auc"},
    {"ensemble": 2, "scoring": "f1", "threshold": True},
    {"halving": 2, "scoring": "average_precision"},
    {"scoring": ["roc_auc", "f1"], "refit": "f1", "threshold": True, "return_train_score": True},
    {"nested": 2, "scoring": "balanced_accuracy"},
    {"refit": False, "scoring": "f1"},
]


@pytest.mark.parametrize("kw", SETTINGS, ids=[str(sorted(kw)) for kw in SETTINGS])
def test_a_fitted_search_is_copied_by_pickle_and_skops(rare, kw):
    skops = pytest.importorskip("skops.io")
    X, y = rare
    base = LinearClassifier(max_iter=5)
    search = LossSearchCV(base, losses=[Focal()], cv=2, **kw).fit(X, y)
    saved = skops.dumps(search)
    types = skops.get_untrusted_types(data=saved)
    assert not [name for name in types if "lambda" in name or "<locals>" in name]
    assert all(name.startswith(("skimb.", "sklearn.")) for name in types)
    for copied in (pickle.loads(pickle.dumps(search)), skops.loads(saved, trusted=types)):
        np.testing.assert_array_equal(
            copied.cv_results_["mean_fit_time"], search.cv_results_["mean_fit_time"]
        )
        assert copied.advice_ == search.advice_
        if search.refit:
            np.testing.assert_array_equal(copied.predict_proba(X), search.predict_proba(X))
            np.testing.assert_array_equal(copied.predict(X), search.predict(X))


def test_what_was_searched_stays(rare):
    X, y = rare
    search = LossSearchCV(model(), losses=SOME, scoring="f1", cv=2, ensemble=3, threshold=True)
    search.fit(X, y)
    before, shown = search.predict(X), search.plot().get_xlabel()
    average = search.best_estimator_.estimator_
    average.set_params(weights=[0.0] * len(average.estimators))
    search.set_params(scoring="roc_auc", threshold=False, estimator=LogisticRegression(), cv=5)
    np.testing.assert_array_equal(search.predict(X), before)
    assert search.plot().get_xlabel() == shown


def test_a_training_part_of_one_class_is_a_failed_fit():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 60 == 0
    kw = {"losses": [Focal()], "cv": StratifiedKFold(2), "scoring": "f1"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.warns(FitFailedWarning, match="only one class"):
            search = LossSearchCV(LinearClassifier(), **kw).fit(X, y.astype(int))
        scores = split_scores(search)
        assert np.isnan(scores).all(axis=1).sum() == 1
        warnings.simplefilter("ignore", FitFailedWarning)
        for more, text in (
            ({"error_score": "raise"}, "only one class"),
            ({"threshold": True}, "No threshold"),
            ({"ensemble": 2}, "finds no candidate"),
        ):
            with pytest.raises(ValueError, match=text):
                LossSearchCV(LinearClassifier(), **kw, **more).fit(X, y.astype(int))


def test_sparse_labels_are_those_of_the_dense_matrix():
    X, Y = make_multilabel_classification(200, 8, n_classes=3, random_state=0)
    kw = {"losses": [Focal()], "scoring": "f1_macro", "cv": 2}
    dense, thin = (LossSearchCV(model(), **kw).fit(X, T) for T in (Y, sparse.csr_matrix(Y)))
    np.testing.assert_array_equal(split_scores(dense), split_scores(thin))
    np.testing.assert_array_equal(dense.predict(X), thin.predict(X))


def test_thresholds_of_a_positive_class_that_sorts_first(rare):
    X, y = rare
    labels = np.where(y, "fraud", "ok")
    scorer = make_scorer(f1_score, pos_label="fraud")
    kw = {"losses": [Focal()], "cv": 3, "threshold": True}
    named = LossSearchCV(model(), scoring=scorer, **kw).fit(X, labels)
    p = cross_val_predict(
        clone(named.estimator).set_params(**named.best_params_),
        X,
        labels,
        cv=3,
        method="predict_proba",
    )[:, 0]
    best = max(f1_score(y, p >= t) for t in np.unique(p))
    assert f1_score(y, p >= named.threshold_) == pytest.approx(best)
    decided = named.predict_proba(X)[:, 0] >= named.threshold_
    np.testing.assert_array_equal(named.predict(X) == "fraud", decided)
    with pytest.warns(UserWarning, match="trivial"):
        LossSearchCV(model(), scoring="recall", **kw).fit(X, y)


def test_plain_weights_reach_the_last_step_of_a_pipeline(rare):
    X, y = rare
    w = np.random.default_rng(0).integers(1, 3, len(y)).astype(float)
    pipe = make_pipeline(StandardScaler(), model())
    kw = {"losses": [Focal()], "scoring": "f1", "cv": 2}
    for more in ({}, {"threshold": True}):
        search = LossSearchCV(pipe, **kw, **more).fit(X, y, sample_weight=w)
        alone = clone(pipe).set_params(**search.best_params_)
        alone.fit(X, y, mlpclassifier__sample_weight=w)
        np.testing.assert_allclose(search.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("more", [{}, {"threshold": True}, {"ensemble": 2, "threshold": True}])
def test_routing_changes_nothing(rare, weighted, more):
    if weighted and VERSION < (1, 7):
        pytest.skip("searches of scikit-learn 1.6 weigh scores under routing only")
    X, y = rare
    given = {"sample_weight": np.random.default_rng(0).uniform(0.5, 2, len(y))} if weighted else {}
    kw = {"losses": [Focal()], "cv": 2, **more}
    plain = LossSearchCV(model(), scoring="f1", **kw).fit(X, y, **given)
    with config_context(enable_metadata_routing=True):
        net = model().set_fit_request(sample_weight=True)
        scorer = make_scorer(f1_score).set_score_request(sample_weight=True)
        routed = LossSearchCV(net, scoring=scorer, **kw).fit(X, y, **given)
        np.testing.assert_allclose(split_scores(routed), split_scores(plain))
        np.testing.assert_array_equal(routed.predict(X), plain.predict(X))


def test_losses_that_should_not_train_alone_are_searched_beside_cross_entropy():
    model = MLPClassifier()
    found = [
        s["loss"]
        for s in settings(model, chosen_losses([ExpectedCost, Focal(3.0)], "binary"), None)[2:]
    ]
    assert [repr(loss) for loss in found] == [
        "Mixed(loss=ExpectedCost())",
        "Mixed(loss=ExpectedCost(), share=0.5)",
        "Mixed(loss=ExpectedCost(cost='balanced'))",
        "Mixed(loss=ExpectedCost(cost='balanced'), share=0.5)",
        "Focal(gamma=3.0)",
    ]
    assert loss_name(MLPClassifier(loss=found[0])) == "Mixed(ExpectedCost)"
    for task in ("binary", "multiclass", "multilabel"):
        every = [s["loss"] for s in settings(model, chosen_losses("all", task), None)]
        assert (
            len({repr(loss) for loss in every[1:]}) == len(every) - 1
        )  # the baselines share a loss
        for loss in every:
            loss.bind(make_batch(task).prior)
