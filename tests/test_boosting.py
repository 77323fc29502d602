"""Losses under LightGBM and XGBoost: objectives, starting scores, probabilities, scikit-learn's checks."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")

from skimb.boosting import (  # noqa: E402
    LGBMImbalancedClassifier,
    XGBImbalancedClassifier,
    as_lightgbm,
    as_xgboost,
)
from skimb.boosting._start import best_constant  # noqa: E402
from skimb.losses import (  # noqa: E402
    AdversarialCompSum,
    AnyLoss,
    ClassBalanced,
    ClassPrior,
    CrossEntropy,
    EqualizationV2,
    Focal,
    InfluenceBalanced,
    LogitAdjusted,
    all_losses,
)

BOTH = pytest.mark.parametrize("cls", [LGBMImbalancedClassifier, XGBImbalancedClassifier])
SMALL = {"n_estimators": 15, "n_jobs": 1, "random_state": 0}
FAST = {
    LGBMImbalancedClassifier: {**SMALL, "min_child_samples": 5, "num_leaves": 7},
    XGBImbalancedClassifier: {**SMALL, "max_depth": 3},
}


@pytest.fixture(scope="module")
def rare():
    X, y = make_classification(
        1500, 8, n_informative=5, weights=[0.93], class_sep=1.0, random_state=0
    )
    return X, y


@pytest.fixture(scope="module")
def three():
    X, y = make_classification(
        1200, 8, n_informative=5, n_classes=3, weights=[0.8, 0.15], class_sep=1.2, random_state=0
    )
    return X, y


# --- the built-in objectives -----------------------------------------------------------------


def trees(booster):
    """Split features and thresholds of a LightGBM model."""
    out = []

    def walk(node):
        if "split_feature" in node:
            out.append((node["split_feature"], round(node["threshold"], 6)))
            walk(node["left_child"])
            walk(node["right_child"])

    for tree in booster.dump_model()["tree_info"]:
        walk(tree["tree_structure"])
    return out


@pytest.mark.parametrize("data", ["rare", "three"])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_grows_the_trees_of_lightgbm(data, weighted, request):
    X, y = request.getfixturevalue(data)
    w = np.random.default_rng(0).random(len(y)) + 0.5 if weighted else None
    ours = LGBMImbalancedClassifier(n_estimators=10, n_jobs=1).fit(X, y, w)
    w = None if w is None else w / w.mean()
    theirs = lgb.LGBMClassifier(n_estimators=10, n_jobs=1, verbosity=-1).fit(X, y, w)
    if (
        not weighted
    ):  # with weights, equally good splits of the same rows may differ in the threshold
        assert trees(ours.booster_) == trees(theirs.booster_)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("data", ["rare", "three"])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_grows_the_trees_of_xgboost(data, weighted, request):
    X, y = request.getfixturevalue(data)
    w = np.random.default_rng(0).random(len(y)) + 0.5 if weighted else None
    ours = XGBImbalancedClassifier(n_estimators=10, n_jobs=1, max_depth=3).fit(X, y, w)
    w = np.ones(len(y)) if w is None else w / w.mean()
    binary = len(np.unique(y)) == 2
    params = {
        "learning_rate": 0.3,
        "max_depth": 3,
        "nthread": 1,
        "base_score": 0.5 if binary else 0.0,
    }
    params |= {"objective": "binary:logistic"} if binary else {"objective": "multi:softprob", "num_class": 3}  # fmt: skip
    margin = np.tile(ours.init_scores_, (len(y), 1))
    data = xgb.DMatrix(X, y, weight=w, base_margin=margin[:, 0] if binary else margin)
    theirs = xgb.train(params, data, 10)
    columns = ["Tree", "Node", "Feature", "Yes", "No"]
    a, b = (m.trees_to_dataframe()[columns] for m in (ours.booster_, theirs))
    assert a.equals(b)
    p = theirs.predict(data)
    p = np.stack([1 - p, p], 1) if binary else p
    np.testing.assert_allclose(ours.predict_proba(X), p, atol=1e-5)


def test_objectives_serve_the_libraries_own_estimators(rare):
    X, y = rare
    prior = ClassPrior.of(y)
    model = lgb.LGBMClassifier(objective=as_lightgbm(Focal(), prior), n_estimators=20, n_jobs=1, verbosity=-1)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = model.fit(X, y).predict(X, raw_score=True)
    assert average_precision_score(y, raw) > 0.9
    model = xgb.XGBClassifier(objective=as_xgboost(Focal(), prior), n_estimators=20, n_jobs=1)
    raw = model.fit(X, y).predict(X, output_margin=True)
    assert average_precision_score(y, raw) > 0.9


def test_objectives_apply_weights():
    objective = as_lightgbm(Focal(), ClassPrior(counts=[9, 1]))
    y, raw, w = np.array([0, 1, 1]), np.array([0.3, -1.0, 2.0]), np.array([1.0, 3.0, 0.5])
    grad, hess = objective(y, raw)
    weighted = objective(y, raw, w)
    np.testing.assert_allclose(weighted[0], grad * w)
    np.testing.assert_allclose(weighted[1], hess * w)
    again = pickle.loads(pickle.dumps(objective))
    np.testing.assert_array_equal(again(y, raw)[0], grad)


@pytest.mark.parametrize(
    "loss",
    [cls() for cls in all_losses("multiclass") if cls().scope == "row" and cls not in (EqualizationV2, InfluenceBalanced)],
    ids=repr,
)  # fmt: skip
def test_hessians_are_positive_for_every_row_loss(loss):
    rng = np.random.default_rng(0)
    objective = as_xgboost(loss, ClassPrior(counts=[90, 9, 3, 2]))
    grad, hess = objective(rng.integers(0, 4, 50), 3 * rng.normal(size=(50, 4)))
    assert np.isfinite(grad).all()
    assert (hess > 0).all()


def test_negative_curvature_alone_is_dropped():
    bound = Focal(2.0).bind(ClassPrior(counts=[1, 1]))
    z, y = np.linspace(-6, 6, 50), np.ones(50, dtype=int)
    _, exact = bound.grad_hess(z, y)
    _, safe = bound.grad_hess(z, y, convex=True)
    assert (exact < 0).any()
    assert (safe >= 0).all()
    assert (safe >= exact - 1e-15).all()


@pytest.mark.parametrize(
    "loss",
    [AnyLoss(), InfluenceBalanced(), EqualizationV2(), AdversarialCompSum(eps=0.1)],
    ids=repr,
)
def test_losses_without_rows_are_refused(loss):
    with pytest.raises(ValueError, match="boosting"):
        as_lightgbm(loss, ClassPrior(counts=[9, 1]))


def test_boosting_starts_from_the_best_constant():
    mass = np.array([0.9, 0.1])
    prior = ClassPrior(counts=[90, 10])
    assert best_constant(CrossEntropy().bind(prior), mass, 1) == pytest.approx([np.log(1 / 9)])
    assert best_constant(LogitAdjusted().bind(prior), mass, 1) == pytest.approx([0.0], abs=1e-8)
    bound = Focal(2.0).bind(prior)
    z = best_constant(bound, mass, 1)
    grad, _ = bound.grad_hess(np.tile(z, 2), np.array([0, 1]))
    assert mass @ grad == pytest.approx(0.0, abs=1e-8)
    three = ClassPrior(counts=[70, 20, 10])
    z = best_constant(LogitAdjusted().bind(three), three.prior, 3)
    np.testing.assert_allclose(z, 0.0, atol=1e-7)


# --- the estimators --------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "loss", [CrossEntropy(), Focal(), LogitAdjusted(), ClassBalanced()], ids=repr
)
@pytest.mark.parametrize("data", ["rare", "three"])
def test_probabilities_are_those_of_the_population(cls, loss, data, request):
    """Whatever the loss and the class weights, the mean risk is near the class frequency."""
    X, y = request.getfixturevalue(data)
    prior = np.bincount(y) / len(y)
    for class_weight in (None, "balanced"):
        rounds = {**FAST[cls], "n_estimators": 80}
        model = cls(loss, class_weight=class_weight, learning_rate=0.1, **rounds).fit(X, y)
        p = model.predict_proba(X)
        np.testing.assert_allclose(p.sum(1), 1.0)
        np.testing.assert_allclose(p.mean(0), prior, rtol=0.5)
        assert log_loss(y, p) < log_loss(y, np.tile(prior, (len(y), 1)))


@BOTH
def test_balanced_losses_decide_evenly(cls, rare):
    X, y = rare
    recall = {}
    for loss in (CrossEntropy(), LogitAdjusted()):
        model = cls(loss, **FAST[cls]).fit(X, y)
        recall[type(loss)] = model.predict(X)[y == 1].mean()
        np.testing.assert_array_equal(
            model.predict(X), (model.decision_function(X) > 0).astype(int)
        )
    assert recall[LogitAdjusted] > recall[CrossEntropy]


@BOTH
@pytest.mark.parametrize("scoring", [None, "average_precision", "f1"])
def test_early_stopping_on_any_scorer(cls, scoring, rare):
    X, y = rare
    names = np.array(["common", "rare"])[y]
    if scoring == "f1":
        from sklearn.metrics import f1_score, make_scorer

        scoring = make_scorer(f1_score, pos_label="rare")
    if scoring == "average_precision":
        names = y
    model = cls(
        early_stopping=True,
        validation_fraction=0.3,
        validation_scoring=scoring,
        **{**FAST[cls], "n_estimators": 300},
    ).fit(X, names, np.random.default_rng(0).random(len(y)) + 0.5)
    assert 1 <= model.n_iter_ < 300
    assert set(model.predict(X)) <= set(names)


@BOTH
def test_searches_pickles_and_sparse_rows(cls, rare):
    X, y = rare
    grid = {"loss": [Focal()], "loss__gamma": [0.5, 2.0]}
    search = GridSearchCV(cls(**FAST[cls]), grid, scoring="average_precision", cv=2).fit(X, y)
    assert search.best_params_["loss__gamma"] in (0.5, 2.0)
    model = cls(**FAST[cls]).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    rows = np.where(np.abs(X) > 0.5, X, 0.0)
    dense = clone(model).fit(rows, y).predict_proba(rows)
    assert dense.shape == clone(model).fit(sparse.csr_matrix(rows), y).predict_proba(rows).shape
    missing = np.where(np.abs(X) > 2.5, np.nan, X)
    assert np.isfinite(clone(model).fit(missing, y).predict_proba(missing)).all()
    assert cross_val_score(clone(model), X, y, scoring="average_precision", cv=3).mean() > 0.5


@BOTH
def test_further_parameters_reach_the_library(cls, rare):
    X, y = rare
    name = {"max_bin": 3}
    a = cls(**FAST[cls]).fit(X, y).predict_proba(X)
    b = cls(params=name, **FAST[cls]).fit(X, y).predict_proba(X)
    assert not np.array_equal(a, b)


@BOTH
def test_errors_name_the_cure(cls, rare):
    X, y = rare
    with pytest.raises(ValueError, match="only one class"):
        cls().fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match="couples the rows"):
        cls(AnyLoss()).fit(X, y)
    with pytest.raises(ValueError, match="not in"):
        cls(class_weight={"fraud": 2}).fit(X, y)
    with pytest.raises(ValueError, match="positive"):
        cls(class_weight={1: 0.0}).fit(X, y)
    with pytest.raises(ValueError, match="validation rows"):
        cls(early_stopping=True).fit(X[:3], [0, 0, 1])


# histograms of the libraries see weights and repeated rows differently, as their own estimators do
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "bins and leaf sizes count rows, not weights",
    "check_sample_weight_equivalence_on_sparse_data": "bins and leaf sizes count rows, not weights",
}


@parametrize_with_checks(
    [
        LGBMImbalancedClassifier(**{**FAST[LGBMImbalancedClassifier], "n_estimators": 5}),
        XGBImbalancedClassifier(**{**FAST[XGBImbalancedClassifier], "n_estimators": 5}),
        LGBMImbalancedClassifier(Focal(), n_estimators=5, n_jobs=1, class_weight="balanced"),
    ],
    # five trees of twenty rows a leaf do not split the checks' data at all
    expected_failed_checks=lambda e: {} if e.class_weight else EXPECTED_FAILURES,
)
@pytest.mark.filterwarnings("ignore")
def test_sklearn_checks(estimator, check):
    check(estimator)
