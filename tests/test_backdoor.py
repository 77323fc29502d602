"""Pooled views, the report of two imbalances, and the prior of a zero-shot classifier."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.posthoc import (
    BackdoorAdjuster,
    LogitAdjuster,
    estimate_source_prior,
    imbalance_report,
)


@parametrize_with_checks(
    [BackdoorAdjuster([("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))])]
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        900, 8, n_classes=3, n_informative=5, weights=[0.8, 0.15, 0.05], class_sep=0.7,
        random_state=0,
    )  # fmt: skip


PAIR = [("line", LogisticRegression()), ("bayes", GaussianNB())]


def test_equal_members_are_one(three):
    X, y = three
    two = BackdoorAdjuster([("a", LogisticRegression()), ("b", LogisticRegression())]).fit(X, y)
    one = LogitAdjuster(LogisticRegression(), tau=1.0).fit(X, y)
    np.testing.assert_array_equal(two.predict(X), one.predict(X))
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X))


def test_scores(three):
    X, y = three
    model = BackdoorAdjuster(PAIR, weights=[1.0, 3.0], tau=0.5).fit(X, y)
    logs = [clone(m).fit(X, y).predict_log_proba(X) for _, m in PAIR]
    pooled = 0.25 * logs[0] + 0.75 * np.maximum(logs[1], np.log(np.finfo(float).tiny))
    np.testing.assert_allclose(
        model.decision_function(X), pooled - 0.5 * np.log(np.bincount(y) / len(y))
    )
    np.testing.assert_allclose(model.predict_proba(X), softmax(pooled, axis=1))
    np.testing.assert_array_equal(model.predict(X), model.decision_function(X).argmax(1))
    before = model.decision_function(X)
    model.set_params(tau=3.0, weights="uniform", prior=[0.2, 0.2, 0.6], line__C=1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).decision_function(X), before)


def test_weights_of_least_log_loss(three):
    X, y = three
    model = BackdoorAdjuster(PAIR, weights="nll", cv=3).fit(X, y)
    logs = np.stack([cross_val_predict(m, X, y, cv=3, method="predict_log_proba") for _, m in PAIR])
    logs = np.maximum(logs, np.log(np.finfo(float).tiny))
    grid = np.linspace(0, 1, 201)
    losses = [log_loss(y, softmax(v * logs[0] + (1 - v) * logs[1], axis=1)) for v in grid]
    assert model.weights_[0] == pytest.approx(grid[int(np.argmin(losses))], abs=0.01)
    assert model.weights_.sum() == pytest.approx(1.0)
    frozen = [(name, FrozenEstimator(m)) for (name, _), m in zip(PAIR, model.estimators_, strict=True)]  # fmt: skip
    again = BackdoorAdjuster(frozen, weights="nll").fit(X[:300], y[:300])
    assert again.estimators_[0].estimator is model.estimators_[0]


def test_searches_and_refusals(three):
    X, y = three
    grid = {"tau": [0.0, 1.0], "line__C": [0.1, 1.0]}
    search = GridSearchCV(BackdoorAdjuster(PAIR), grid, scoring="balanced_accuracy", cv=2)
    assert search.fit(X, y).best_params_["tau"] == 1.0
    with pytest.raises(ValueError, match="holds no member"):
        BackdoorAdjuster([]).fit(X, y)
    with pytest.raises(ValueError, match="'svm' has no predict_proba"):
        BackdoorAdjuster([("svm", LinearSVC())]).fit(X, y)
    with pytest.raises(ValueError, match=r"weights=\[1\] must hold a non-negative number for each"):
        BackdoorAdjuster(PAIR, weights=[1]).fit(X, y)
    other = FrozenEstimator(LogisticRegression().fit(X[y < 2], y[y < 2]))
    with pytest.raises(ValueError, match=r"'two' knows the classes \[0, 1\], y holds \[0, 1, 2\]"):
        BackdoorAdjuster([("two", other)]).fit(X, y)


# --- the report ------------------------------------------------------------------------------------


def simulated(recall, rng, n=400):
    y = np.repeat(np.arange(len(recall)), n)
    right = rng.random(len(y)) < np.repeat(recall, n)
    return y, np.where(right, y, (y + 1) % len(recall))


def test_effects_are_those_that_were_put_in():
    rng = np.random.default_rng(0)
    source, data = np.tile(np.arange(6), 6), np.repeat(np.arange(6), 6)
    recall = 0.3 + 0.4 * source / 5 + 0.1 * data / 5
    y, decided = simulated(recall, rng)
    report = imbalance_report(y, decided, class_counts=data + 1, source_prior=2.0**source)
    # ranks of ties lie within (0, 1): six levels of six classes span 30 of 35 ranks
    assert report.source_effect == pytest.approx(0.4 * 35 / 30, abs=0.03)
    assert report.data_effect == pytest.approx(0.1 * 35 / 30, abs=0.03)
    assert 0 < report.source_error < 0.03
    assert report.n_classes.sum() == 36
    np.testing.assert_array_equal(report.n_classes, 4)
    np.testing.assert_allclose(report.recall[0, 0], recall[(source < 2) & (data < 2)].mean(), atol=0.05)  # fmt: skip
    inside = (report.interval[..., 0] <= report.recall) & (report.recall <= report.interval[..., 1])
    assert inside.all()
    # the order of the classes does not matter
    order = rng.permutation(36)
    again = imbalance_report(
        order[y], order[decided],
        class_counts=dict(zip(order.tolist(), (data + 1).tolist(), strict=True)),
        source_prior=dict(zip(order.tolist(), (2.0**source).tolist(), strict=True)),
    )  # fmt: skip
    np.testing.assert_allclose(again.recall, report.recall)
    assert again.source_effect == pytest.approx(report.source_effect)


def test_perfect_and_untold():
    y = np.repeat(np.arange(6), 5)
    report = imbalance_report(y, y, class_counts=range(6), source_prior=[3, 1, 2, 6, 5, 4])
    assert set(report.recall[report.n_classes > 0]) == {1.0}
    assert report.n_classes.sum() == 6
    with pytest.warns(UserWarning, match="source_prior is the same for all classes") as caught:
        even = imbalance_report(y, y, class_counts=range(6), source_prior=np.ones(6))
    assert caught[0].filename == __file__
    assert np.isnan(even.source_effect)
    assert even.data_effect == pytest.approx(0.0)
    with pytest.warns(UserWarning, match="order the classes alike"):
        alike = imbalance_report(y, y, class_counts=range(6), source_prior=range(6))
    assert np.isnan([alike.source_effect, alike.data_effect]).all()
    with pytest.raises(ValueError, match=r"class_counts=.* must hold a non-negative number"):
        imbalance_report(y, y, class_counts=[1, 2], source_prior=np.ones(6))
    with pytest.raises(ValueError, match="n_bins=0"):
        imbalance_report(y, y, class_counts=range(6), source_prior=range(6), n_bins=0)


@pytest.mark.parametrize("confidence", [1.0, 3.0])
def test_the_prior_of_the_source_is_found(confidence):
    rng = np.random.default_rng(0)
    q = np.array([0.6, 0.2, 0.1, 0.07, 0.03])
    means = 2.0 * rng.normal(size=(5, 4))
    y = rng.integers(5, size=20_000)
    X = means[y] + rng.normal(size=(len(y), 4))
    logits = -0.5 * ((X[:, None] - means) ** 2).sum(2) + np.log(q)
    np.testing.assert_allclose(estimate_source_prior(confidence * logits, y), q, rtol=0.12)
    # rows of a rare class count as much as others
    kept = (y != 0) | (np.arange(len(y)) % 10 == 0)
    np.testing.assert_allclose(estimate_source_prior(logits[kept], y[kept]), q, atol=0.025)
    moved = logits + rng.normal(size=(len(y), 1))
    np.testing.assert_allclose(  # constants of rows do not matter
        estimate_source_prior(moved, y), estimate_source_prior(logits, y), rtol=1e-3
    )
    with pytest.raises(ValueError, match="one column per class of y"):
        estimate_source_prior(logits[:, :3], y)
