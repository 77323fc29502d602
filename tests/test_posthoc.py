"""Meta-estimators that change what a fitted classifier answers."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as imblearn_pipeline
from imblearn.under_sampling import RandomUnderSampler
from scipy.special import expit
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.posthoc import PriorCorrectedClassifier


@pytest.fixture(scope="module")
def rare():
    return make_classification(4000, 6, weights=[0.95], class_sep=0.8, random_state=0)


@parametrize_with_checks([PriorCorrectedClassifier(LogisticRegression())])
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_weights_are_undone_exactly_where_classes_keep_their_shape():
    """Naive Bayes has the label distribution as a factor: weights by class change nothing else."""
    X, y = make_classification(
        400, 6, n_classes=3, n_informative=4, weights=[0.7, 0.2], random_state=0
    )
    weight = np.array([0.3, 2.0, 5.0])[y]
    plain = GaussianNB().fit(X, y)
    weighted = GaussianNB().fit(X, y, sample_weight=weight)
    trained = np.bincount(y, weight) / weight.sum()
    frozen = FrozenEstimator(weighted)
    corrected = PriorCorrectedClassifier(frozen, trained_prior=trained).fit(X, y)
    np.testing.assert_allclose(corrected.predict_proba(X), plain.predict_proba(X), atol=1e-9)
    assert np.abs(weighted.predict_proba(X) - plain.predict_proba(X)).max() > 0.2
    back = PriorCorrectedClassifier(
        FrozenEstimator(plain), trained_prior=corrected.prior_, prior=trained
    )
    np.testing.assert_allclose(
        back.fit(X, y).predict_proba(X), weighted.predict_proba(X), atol=1e-9
    )


def test_repeated_rows_are_undone_exactly():
    X, y = make_classification(300, 5, weights=[0.9], random_state=0)
    rows = np.repeat(np.arange(len(y)), np.where(y == 1, 4, 1))
    trained = np.bincount(y[rows]) / len(rows)
    model = FrozenEstimator(GaussianNB().fit(X[rows], y[rows]))
    corrected = PriorCorrectedClassifier(model, trained_prior=trained).fit(X, y)
    np.testing.assert_allclose(
        corrected.predict_proba(X), GaussianNB().fit(X, y).predict_proba(X), atol=1e-9
    )


def test_is_king_and_zengs_shift_for_logistic_regression(rare):
    X, y = rare
    model = PriorCorrectedClassifier(LogisticRegression(class_weight="balanced")).fit(X, y)
    tau, seen = y.mean(), 0.5
    shift = -np.log((1 - tau) / tau * seen / (1 - seen))
    inner = model.estimator_
    z = X @ inner.coef_[0] + inner.intercept_[0]
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expit(z + shift), rtol=1e-9)
    np.testing.assert_allclose(model.trained_prior_, [0.5, 0.5])


@pytest.mark.parametrize(
    "sampler",
    [RandomUnderSampler(random_state=0), RandomOverSampler(random_state=0), SMOTE(random_state=0)],
)
def test_what_samplers_did_is_found_out(rare, sampler):
    X, y = rare
    pipe = imblearn_pipeline(StandardScaler(), sampler, LogisticRegression())
    plain = pipe.fit(X, y).predict_proba(X)
    model = PriorCorrectedClassifier(pipe).fit(X, y)
    np.testing.assert_allclose(model.trained_prior_, [0.5, 0.5])
    np.testing.assert_allclose(model.prior_, [1 - y.mean(), y.mean()])
    assert log_loss(y, model.predict_proba(X)) < 0.75 * log_loss(y, plain)
    assert abs(model.predict_proba(X)[:, 1].mean() - y.mean()) < 0.01
    assert isinstance(model.estimator_.steps[-1][1], LogisticRegression)


def test_weights_of_rows_and_classes_count_both(rare):
    X, y = rare
    w = np.where(y == 1, 3.0, 1.0)
    for estimator in (LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())):
        model = PriorCorrectedClassifier(estimator).fit(X, y, sample_weight=w)
        np.testing.assert_allclose(model.trained_prior_, np.bincount(y, w) / w.sum())
        np.testing.assert_allclose(model.prior_, model.trained_prior_)
    model = PriorCorrectedClassifier(LogisticRegression(class_weight={0: 1.0, 1: 7.0})).fit(X, y)
    mass = np.bincount(y) * [1.0, 7.0]
    np.testing.assert_allclose(model.trained_prior_, mass / mass.sum())


def test_another_population(rare):
    X, y = rare
    names = np.array(["no", "yes"])[y]
    model = PriorCorrectedClassifier(LogisticRegression(), prior={"no": 0.5, "yes": 0.5}).fit(
        X, names
    )
    assert (model.predict(X) == "yes").mean() > y.mean()
    for bad in ({"no": 1.0}, [0.5, 0.6], [1.0, 0.0], [0.2, 0.3, 0.5]):
        with pytest.raises(ValueError, match="prior="):
            PriorCorrectedClassifier(LogisticRegression(), prior=bad).fit(X, names)


def test_what_cannot_be_known_is_asked_for(rare):
    X, y = rare
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="trained_prior="):
        PriorCorrectedClassifier(frozen).fit(X, y)
    with pytest.raises(ValueError, match="several labels"):
        PriorCorrectedClassifier(LogisticRegression()).fit(
            *make_multilabel_classification(random_state=0)
        )


def test_frames_and_searches(rare):
    X, y = pd.DataFrame(rare[0]).add_prefix("x"), rare[1]
    grid = {"estimator__C": [0.1, 1.0]}
    base = LogisticRegression(class_weight="balanced")
    search = GridSearchCV(PriorCorrectedClassifier(base), grid, cv=2, scoring="neg_log_loss").fit(
        X, y
    )
    assert search.best_estimator_.feature_names_in_.tolist() == X.columns.tolist()
    alone = GridSearchCV(base, {"C": [0.1, 1.0]}, cv=2, scoring="neg_log_loss").fit(X, y)
    assert search.best_score_ > alone.best_score_
