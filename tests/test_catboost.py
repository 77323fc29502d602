"""Losses as objectives of CatBoost."""

import copy
import pickle

import numpy as np
import pytest
from scipy.special import softmax

from skimb.boosting import as_catboost, as_lightgbm, as_xgboost
from skimb.losses import (
    AUCMargin,
    BalancedMSE,
    ClassPrior,
    CrossEntropy,
    Focal,
    VectorScaling,
    all_losses,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Z = X[:, 0] + 0.4 * RNG.normal(size=300)
TWO, THREE = (Z > 1.0).astype(int), np.digitize(Z, [0.5, 1.3])
PRIOR = ClassPrior.of(TWO)


def test_two_classes():
    objective = as_catboost(CrossEntropy(), PRIOR)
    z, weight = RNG.normal(size=300), RNG.random(300)
    p = 1.0 / (1.0 + np.exp(-z))
    wanted = np.column_stack([TWO - p, -p * (1 - p)]) * weight[:, None]
    np.testing.assert_allclose(
        objective.calc_ders_range(z, TWO.astype(float), weight), wanted, atol=1e-12
    )
    np.testing.assert_allclose(objective.calc_ders_range([z], TWO, weight), wanted, atol=1e-12)
    assert objective.is_max_optimal()


def test_several_classes():
    objective = as_catboost(CrossEntropy(), ClassPrior.of(THREE))
    z = np.array([0.3, -1.0, 0.5])
    p = softmax(z)
    first, second = objective.calc_ders_multi(z, 2.0, 3.0)
    np.testing.assert_allclose(first, 3.0 * (np.array([0, 0, 1]) - p), atol=1e-12)
    np.testing.assert_allclose(second, np.diag(-6.0 * p * (1 - p)), atol=1e-12)
    assert not hasattr(objective, "calc_ders_range")


@pytest.mark.parametrize("y", [TWO, THREE], ids=["binary", "multiclass"])
def test_derivatives_and_posterior_of_every_loss(y):
    """First derivatives are those of the loss; the best constant has the label distribution as probabilities."""
    prior = ClassPrior.of(y)
    for kind in all_losses("binary" if y is TWO else "multiclass"):
        try:
            loss = kind()
            objective = as_catboost(loss, prior)
        except (TypeError, ValueError):
            continue
        if not loss.calibrated:
            continue
        start = objective.init_scores if y is THREE else objective.init_scores[:1]
        np.testing.assert_allclose(
            objective.posterior(start[None] if y is THREE else start)[0], prior.prior, atol=2e-3
        )
        grad, _ = objective.bound.grad_hess(
            np.zeros((1, 3)) if y is THREE else np.zeros(1), np.array([1])
        )
        if y is THREE:
            found = objective.calc_ders_multi(np.zeros(3), 1.0, None)[0]
        else:
            found = objective.calc_ders_range(np.zeros(1), [1.0], None)[:, 0]
        np.testing.assert_allclose(found, -np.ravel(grad), atol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match="choose a loss whose scope is 'row'"):
        as_catboost(AUCMargin(), PRIOR)
    with pytest.raises(ValueError, match="train one booster per label"):
        as_catboost(CrossEntropy(), ClassPrior([3, 5], n_samples=9, multilabel=True))
    with pytest.raises(ValueError, match="is a loss of regressors"):
        as_catboost(BalancedMSE(), PRIOR)
    for make in (as_catboost, as_lightgbm, as_xgboost):
        for loss in ("focal", Focal):
            with pytest.raises(TypeError, match="Objectives are made of a loss, such as Focal"):
                make(loss, PRIOR)
    objective = as_catboost(CrossEntropy(), PRIOR)
    with pytest.raises(ValueError, match=r"class numbers from 0 to 1.*got \[2"):
        objective.calc_ders_range([0.0], [2.0], None)
    with pytest.raises(ValueError, match=r"take scores of shape \(n,\) or \(n, 2\), got \(2, 3\)"):
        objective.posterior(np.zeros((2, 3)))


def test_copies():
    objective = as_catboost(Focal(gamma=1.0), PRIOR)
    for other in (copy.deepcopy(objective), pickle.loads(pickle.dumps(objective))):
        np.testing.assert_array_equal(
            other.calc_ders_range(Z, TWO, None), objective.calc_ders_range(Z, TWO, None)
        )
        np.testing.assert_array_equal(other.init_scores, objective.init_scores)


# --- with the library ----------------------------------------------------------------------------------

SETTINGS = {
    "iterations": 12,
    "learning_rate": 0.3,
    "depth": 3,
    "verbose": False,
    "allow_writing_files": False,
    "thread_count": 1,
    "random_seed": 0,
    "leaf_estimation_method": "Newton",
    "leaf_estimation_iterations": 1,
}
quiet = pytest.mark.filterwarnings(
    "ignore:Failed to import numba", "ignore:Can't optim"
)  # spelt so with numba: "optimze"


def trained(catboost, objective, y, weight=None, **more):
    start = (
        np.tile(objective.init_scores, (len(y), 1))
        if len(objective.init_scores) > 1
        else (np.full(len(y), objective.init_scores[0]))
    )
    metric = "Logloss" if len(objective.init_scores) == 1 else "MultiClass"
    model = catboost.CatBoost(
        {**SETTINGS, "loss_function": objective, "eval_metric": metric, **more}
    )
    return model.fit(catboost.Pool(X[: len(y)], y, weight=weight, baseline=start))


@quiet
def test_cross_entropy_is_that_of_the_library():
    catboost = pytest.importorskip("catboost")
    objective = as_catboost(CrossEntropy(), PRIOR)
    weight = RNG.random(300)
    own = trained(catboost, objective, TWO, weight)
    start = np.full(len(TWO), objective.init_scores[0])
    theirs = catboost.CatBoost({**SETTINGS, "loss_function": "Logloss"})
    theirs.fit(catboost.Pool(X, TWO, weight=weight, baseline=start))
    raws = [m.predict(X, prediction_type="RawFormulaVal") for m in (own, theirs)]
    np.testing.assert_allclose(*raws, atol=1e-6)
    p = objective.posterior(raws[0] + objective.init_scores)
    np.testing.assert_allclose(p[:, 1], 1.0 / (1.0 + np.exp(-raws[0] - start)), atol=1e-9)


@quiet
@pytest.mark.parametrize("loss", [Focal(), VectorScaling()], ids=repr)
def test_probabilities_are_honest(loss):
    catboost = pytest.importorskip("catboost")
    objective = as_catboost(loss, PRIOR)
    raw = trained(catboost, objective, TWO).predict(X, prediction_type="RawFormulaVal")
    p = objective.posterior(raw + objective.init_scores)
    assert abs(p[:, 1].mean() - TWO.mean()) < 0.02
    assert -np.log(p[np.arange(300), TWO]).mean() < 0.6 * -np.sum(PRIOR.prior * np.log(PRIOR.prior))


@quiet
def test_three_classes_with_the_library():
    catboost = pytest.importorskip("catboost")
    y = THREE[:120]
    objective = as_catboost(Focal(), ClassPrior.of(y))
    model = trained(catboost, objective, y, classes_count=3, iterations=4)
    raw = model.predict(X[:120], prediction_type="RawFormulaVal")
    p = objective.posterior(raw + objective.init_scores)
    np.testing.assert_allclose(p.mean(0), ClassPrior.of(y).prior, atol=0.06)
    shares = ClassPrior.of(y).prior
    assert -np.log(p[np.arange(120), y]).mean() < -0.8 * np.sum(shares * np.log(shares))
