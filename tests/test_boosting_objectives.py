"""Objectives under every interface of the libraries, and what they refuse."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")

from skimb._core.priors import ClassPrior  # noqa: E402
from skimb.boosting import as_lightgbm, as_xgboost  # noqa: E402
from skimb.losses import Asymmetric, BalancedMSE, CrossEntropy, Focal  # noqa: E402

EITHER = pytest.mark.parametrize("adapter", [as_lightgbm, as_xgboost])


def data(classes):
    X, y = make_classification(
        400,
        6,
        n_informative=4,
        n_classes=classes,
        weights=[0.8, 0.1][: classes - 1],
        random_state=0,
    )
    return X, y, np.random.default_rng(0).random(400) + 0.5


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_lightgbm_trains_as_its_classifier_does(classes, weighted):
    X, y, w = data(classes)
    w = w if weighted else None
    objective = as_lightgbm(Focal(), ClassPrior.of(y))
    params = {"objective": objective, "verbosity": -1, "num_threads": 1}
    params |= {"num_class": classes} if classes > 2 else {}
    booster = lgb.train(params, lgb.Dataset(X, y, weight=w), 5)
    model = lgb.LGBMClassifier(objective=objective, n_estimators=5, n_jobs=1, verbose=-1)
    raw = model.fit(X, y, sample_weight=w).predict(X, raw_score=True)
    np.testing.assert_array_equal(booster.predict(X), raw)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_xgboost_trains_as_its_classifier_does(classes, weighted):
    X, y, w = data(classes)
    w = w if weighted else None
    objective = as_xgboost(Focal(), ClassPrior.of(y))
    params = {"base_score": 0.0, "nthread": 1, "disable_default_eval_metric": True}
    params |= {"num_class": classes} if classes > 2 else {}
    booster = xgb.train(params, xgb.DMatrix(X, y, weight=w), 5, obj=objective)
    # its own base score is a probability, whose log odds are 0
    model = xgb.XGBClassifier(
        objective=objective, n_estimators=5, n_jobs=1, base_score=0.5 if classes == 2 else 0.0
    )
    raw = model.fit(X, y, sample_weight=w).predict(X, output_margin=True)
    np.testing.assert_allclose(booster.predict(xgb.DMatrix(X), output_margin=True), raw, atol=1e-6)


def test_balanced_squared_errors_train_under_both_interfaces():
    X, _, w = data(2)
    t = X[:, 0] ** 3
    loss = BalancedMSE(noise_sigma=1.0, learn_sigma=False)
    objective = as_lightgbm(loss, t)
    params = {"objective": objective, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(params, lgb.Dataset(X, t, weight=w), 5)
    model = lgb.LGBMRegressor(objective=objective, n_estimators=5, n_jobs=1, verbose=-1)
    np.testing.assert_array_equal(booster.predict(X), model.fit(X, t, w).predict(X))
    grad, hess = as_xgboost(loss, t)(np.zeros(400), xgb.DMatrix(X, t, weight=w))
    expected = as_xgboost(loss, t)(t.astype(np.float32), np.zeros(400), w.astype(np.float32))
    np.testing.assert_array_equal([grad, hess], expected)
    for y_true, scores in ((t[:5], np.zeros(400)), (np.where(t > 0, t, np.nan), np.zeros(400))):
        with pytest.raises(ValueError, match="y_true"):
            objective(y_true, scores)


@EITHER
@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([-1, 1, 1], r"\[-1\]"),
        ([1, 2, 1], r"\[2\]"),
        ([0, 1, -100], r"\[-100\]"),
        ([0.0, 0.5, 1.0], r"\[0.5\]"),
        ([0.0, np.nan, 1.0], r"\[nan\]"),
        (["no", "yes", "no"], r"'no', 'yes'"),
    ],
)
def test_labels_that_are_no_class_numbers_are_named(adapter, labels, named):
    objective = adapter(Focal(), ClassPrior(counts=[9, 1]))
    with pytest.raises(ValueError, match=rf"from 0 to 1.*{named}"):
        objective(np.array(labels), np.zeros(3))


@EITHER
def test_shapes_and_weights_are_checked(adapter):
    two = adapter(Focal(), ClassPrior(counts=[9, 1]))
    three = adapter(Focal(), ClassPrior(counts=[9, 1, 3]))
    y = np.array([0, 1, 1])
    for objective, target, scores, weight, message in (
        (two, y[:2], np.zeros(3), None, "one target per row"),
        (two, np.eye(3)[:, :2], np.zeros(3), None, "one target per row"),
        (two, y, np.zeros((3, 3)), None, "num_class=2"),
        (three, y, np.zeros(3), None, "num_class=3"),
        (three, y, np.zeros(9), None, "num_class=3"),
        (three, y, np.zeros((3, 4)), None, "num_class=3"),
        (two, y, np.zeros(3), np.array([1.0, -1.0, 1.0]), "non-negative"),
        (two, y, np.zeros(3), np.array([1.0, np.nan, 1.0]), "finite"),
        (two, y, np.zeros(3), np.ones(2), "weights must be 3"),
    ):
        with pytest.raises(ValueError, match=message):
            objective(target, scores, weight)
    column = two(y[:, None], np.zeros((3, 1)), np.ones((3, 1)))
    np.testing.assert_array_equal(np.ravel(column), np.ravel(two(y, np.zeros(3))))
    assert column[0].shape == (3, 1)


@EITHER
def test_several_labels_and_data_without_labels_are_refused(adapter):
    prior = ClassPrior(counts=[3, 2], n_samples=9, multilabel=True)
    with pytest.raises(ValueError, match="one class per row"):
        adapter(CrossEntropy(), prior)
    objective = adapter(CrossEntropy(), ClassPrior(counts=[9, 1]))
    with pytest.raises(ValueError, match="holds no labels"):
        objective(np.zeros(3), xgb.DMatrix(np.zeros((3, 1))))


@EITHER
def test_a_common_positive_class_is_pointed_out(adapter):
    with pytest.warns(UserWarning, match=r"\['fraud', 'ok'\].*sorts last") as caught:
        adapter(Asymmetric(), ClassPrior.of(np.repeat(["fraud", "ok"], [1, 9])))
    assert caught[0].filename == __file__
    adapter(Asymmetric(), ClassPrior(counts=[9, 1]))
