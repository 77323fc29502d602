"""Threshold classifiers over any classifier."""

import itertools

import numpy as np
import pandas as pd
import pytest
from imblearn.metrics import geometric_mean_score
from scipy import sparse
from sklearn.datasets import load_breast_cancer, make_classification, make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    batched_fits,
)
from skimb.neural_network import MLPClassifier

CV = StratifiedKFold(4)


@pytest.fixture(scope="module")
def rare():
    return make_classification(500, 6, weights=[0.9], class_sep=0.7, random_state=0)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        450, 6, n_classes=3, n_informative=4, weights=[0.7, 0.2, 0.1], random_state=1
    )


@parametrize_with_checks(
    [
        TunedThresholdClassifierCV(LogisticRegression(), cv=2),
        FixedThresholdClassifier(LogisticRegression()),
    ],
    expected_failed_checks=lambda e: (
        {
            "check_classifiers_train": "wants decisions for the most probable class; thresholds are other decisions"
        }
        if isinstance(e, TunedThresholdClassifierCV)
        else {}
    ),
)
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_pools_the_predictions_and_tries_all(rare):
    X, y = rare
    model = TunedThresholdClassifierCV(LogisticRegression(), scoring="f1", cv=CV).fit(X, y)
    p = cross_val_predict(LogisticRegression(), X, y, cv=CV, method="predict_proba")[:, 1]
    best = max(f1_score(y, p >= t) for t in np.unique(p))
    assert f1_score(y, p >= model.threshold_) == pytest.approx(best)
    for j, (_, test) in enumerate(CV.split(X, y)):
        rest = np.setdiff1d(np.arange(len(y)), test)
        reached = f1_score(y[rest], p[rest] >= model.thresholds_[j])
        assert reached == pytest.approx(max(f1_score(y[rest], p[rest] >= t) for t in np.unique(p)))
        assert model.scores_[j] == pytest.approx(f1_score(y[test], p[test] >= model.thresholds_[j]))
    assert model.best_score_ == pytest.approx(model.scores_.mean())
    proba = LogisticRegression().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.predict(X), (proba[:, 1] >= model.threshold_).astype(int))


def test_any_scorer_of_decisions_works_for_two_classes(rare):
    X, y = rare

    def caught(y, decided):
        return 3.0 * ((y == 1) & (decided == 1)).sum() - ((y == 0) & (decided == 1)).sum()

    names = np.array(["no", "yes"])[y]

    def named(y, decided):
        return caught((y == "yes").astype(int), (decided == "yes").astype(int))

    model = TunedThresholdClassifierCV(LogisticRegression(), scoring=make_scorer(named), cv=CV)
    model.fit(X, names)
    p = cross_val_predict(LogisticRegression(), X, y, cv=CV, method="predict_proba")[:, 1]
    best = max(caught(y, (p >= t).astype(int)) for t in [*np.unique(p), 2.0])
    assert caught(y, (p >= model.threshold_).astype(int)) == best
    assert set(model.predict(X)) <= {"no", "yes"}


def test_classes_and_labels(three):
    X, y = three
    plain = LogisticRegression().fit(X, y)
    for scoring in ("f1_macro", make_scorer(geometric_mean_score)):
        model = TunedThresholdClassifierCV(LogisticRegression(), scoring=scoring, cv=CV).fit(X, y)
        assert model.threshold_.sum() == pytest.approx(1.0)
        assert model.thresholds_.shape == (4, 3)
        p = plain.predict_proba(X)
        np.testing.assert_array_equal(model.predict(X), (p / model.threshold_).argmax(1))
    assert geometric_mean_score(y, model.predict(X)) > geometric_mean_score(y, plain.predict(X))
    X, Y = make_multilabel_classification(300, 8, n_classes=3, random_state=0)
    for base in (
        OneVsRestClassifier(LogisticRegression()),
        RandomForestClassifier(10, random_state=0),
    ):
        model = TunedThresholdClassifierCV(base, scoring="f1_macro", cv=3).fit(X, Y)
        assert model.predict(X).shape == Y.shape
        assert model.threshold_.shape == (3,)


def test_cost_matrix_and_costs_of_rows(rare, three):
    X, y = rare
    matrix = np.array([[0.0, 1.0], [8.0, 0.0]])
    model = TunedThresholdClassifierCV(LogisticRegression(), cost=matrix, cv=CV).fit(X, y)
    p = cross_val_predict(LogisticRegression(), X, y, cv=CV, method="predict_proba")[:, 1]

    def mean_cost(t, matrix=matrix):
        return matrix[y, (p >= t).astype(int)].mean()

    assert mean_cost(model.threshold_) == pytest.approx(
        min(mean_cost(t) for t in [*np.unique(p), 2.0])
    )
    assert model.threshold_ < 0.5
    assert (model.scores_ <= 0).all()
    four = np.tile([1.0, 8.0, 0.0, 0.0], (len(y), 1))
    for cost in (matrix[y], four):
        by_row = TunedThresholdClassifierCV(LogisticRegression(), cv=CV).fit(X, y, cost=cost)
        assert by_row.threshold_ == pytest.approx(model.threshold_)
    X, y = three
    cost = 1.0 - np.eye(3)
    cost[2] *= 20
    model = TunedThresholdClassifierCV(LogisticRegression(), cost=cost, cv=CV).fit(X, y)
    plain = LogisticRegression().fit(X, y).predict(X)
    assert (model.predict(X) == 2).sum() > (plain == 2).sum()


def test_weights_repeat_rows(rare):
    X, y = rare
    w = np.random.default_rng(0).integers(1, 4, len(y))
    folds = [(np.setdiff1d(np.arange(len(y)), t), t) for t in np.array_split(np.arange(len(y)), 3)]
    rows = np.repeat(np.arange(len(y)), w)
    repeated = [tuple(np.flatnonzero(np.isin(rows, part)) for part in pair) for pair in folds]
    base = LogisticRegression(tol=1e-10)
    one = TunedThresholdClassifierCV(base, scoring="f1", cv=folds).fit(X, y, sample_weight=w)
    other = TunedThresholdClassifierCV(base, scoring="f1", cv=repeated).fit(X[rows], y[rows])
    assert one.threshold_ == pytest.approx(other.threshold_, abs=1e-4)
    np.testing.assert_allclose(one.scores_, other.scores_, atol=1e-6)


def test_what_cannot_be_tuned_is_said(rare, three):
    X, y = rare
    tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="roc_auc")
    with pytest.raises(ValueError, match="no thresholds to tune"):
        tuned.fit(X, y)
    with pytest.raises(ValueError, match="no thresholds to tune"):
        tuned.set_params(scoring=make_scorer(lambda y, d: 0.0)).fit(*three)
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        TunedThresholdClassifierCV(LogisticRegression(), cost=np.eye(3)).fit(X, y)
    with pytest.raises(ValueError, match=r"\(500, 2\)"):
        TunedThresholdClassifierCV(LogisticRegression()).fit(X, y, cost=np.ones((3, 2)))
    X, Y = make_multilabel_classification(100, 4, n_classes=3, random_state=0)
    with pytest.raises(ValueError, match="multi-label"):
        TunedThresholdClassifierCV(OneVsRestClassifier(LogisticRegression()), cost=np.eye(3)).fit(
            X, Y
        )
    with pytest.raises(ValueError, match="only one class"):
        TunedThresholdClassifierCV(LogisticRegression()).fit(X, np.zeros(100))


def test_frames_sparse_rows_searches_and_populations(rare):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    model = TunedThresholdClassifierCV(pipe, cv=3).fit(X, y)
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    assert isinstance(X, pd.DataFrame)
    grid = {"estimator__logisticregression__C": [0.1, 1.0], "scoring": ["f1", "balanced_accuracy"]}
    assert (
        GridSearchCV(TunedThresholdClassifierCV(pipe, cv=2), grid, cv=2).fit(X, y).best_score_ > 0.9
    )
    X, y = rare
    rows = sparse.csr_matrix(X)
    one, two = (TunedThresholdClassifierCV(LogisticRegression(), cv=3).fit(A, y) for A in (X, rows))
    assert one.threshold_ == pytest.approx(two.threshold_)
    net = MLPClassifier((6,), max_iter=5, tol=0.0, random_state=0)
    alone = TunedThresholdClassifierCV(net, cv=4).fit(X, y)
    with batched_fits() as batch:
        together = TunedThresholdClassifierCV(net, cv=4).fit(X, y)
    assert together.threshold_ == pytest.approx(alone.threshold_)
    assert max(batch.sizes) == 4


def test_every_threshold_of_a_small_problem(rare):
    """Two classes by two thresholds, as a check of the coordinate search on (1 - t, t)."""
    X, y = rare
    tuned = TunedThresholdClassifierCV(
        LogisticRegression(), scoring="balanced_accuracy", cv=CV
    ).fit(X, y)
    both = FixedThresholdClassifier(
        LogisticRegression(), [1 - tuned.threshold_, tuned.threshold_]
    ).fit(X, y)
    np.testing.assert_array_equal(tuned.predict(X), both.predict(X))
    assert len(list(itertools.chain(tuned.thresholds_))) == 4
