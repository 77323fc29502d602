"""Meta-estimators that change what a fitted classifier answers."""

import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.ensemble import BalancedBaggingClassifier, BalancedRandomForestClassifier
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as imblearn_pipeline
from imblearn.under_sampling import RandomUnderSampler
from scipy.special import expit
from sklearn import config_context, model_selection
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
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


@pytest.fixture(scope="module")
def scarce():
    return make_classification(6000, 8, weights=[0.95], class_sep=0.5, flip_y=0.02, random_state=0)


def weighted():
    return LogisticRegression(class_weight="balanced")


SEEN_THROUGH = {
    "search": lambda: GridSearchCV(weighted(), {"C": [1.0]}, cv=2),
    "search over a sampler": lambda: GridSearchCV(
        imblearn_pipeline(RandomUnderSampler(random_state=0), LogisticRegression()),
        {"logisticregression__C": [1.0]},
        cv=2,
    ),
    "search over SMOTE": lambda: GridSearchCV(
        imblearn_pipeline(StandardScaler(), SMOTE(), LogisticRegression()),
        {"logisticregression__C": [1.0]},
        cv=2,
    ),
    "pipelines": lambda: make_pipeline(
        StandardScaler(), make_pipeline(StandardScaler(), weighted())
    ),
    "sampler in pipelines": lambda: make_pipeline(
        StandardScaler(), imblearn_pipeline(RandomUnderSampler(), LogisticRegression())
    ),
    "search in a pipeline": lambda: make_pipeline(
        StandardScaler(),
        GridSearchCV(
            imblearn_pipeline(RandomUnderSampler(), LogisticRegression()),
            {"logisticregression__C": [1.0]},
            cv=2,
        ),
    ),
    "bagging": lambda: BaggingClassifier(weighted(), 3, random_state=0),
    "bagging by class numbers": lambda: BaggingClassifier(
        LogisticRegression(class_weight={0: 1, 1: 19}), 3, random_state=0
    ),
    "bagged samplers": lambda: BaggingClassifier(
        imblearn_pipeline(StandardScaler(), RandomUnderSampler(), LogisticRegression()),
        3,
        random_state=0,
    ),
    "voting": lambda: VotingClassifier([("a", weighted()), ("b", weighted())], voting="soft"),
    "stacking": lambda: StackingClassifier([("a", weighted())], weighted(), cv=2),
    "one against the rest": lambda: OneVsRestClassifier(weighted()),
    "calibration": lambda: CalibratedClassifierCV(weighted(), cv=2),
    "fixed threshold": lambda: model_selection.FixedThresholdClassifier(weighted()),
    "tuned threshold": lambda: model_selection.TunedThresholdClassifierCV(weighted(), cv=2),
    "own fixed threshold": lambda: FixedThresholdClassifier(weighted()),
    "own tuned threshold": lambda: TunedThresholdClassifierCV(weighted(), cv=2),
    "given priors": lambda: LinearDiscriminantAnalysis(priors=[0.5, 0.5]),
    "balanced forest": lambda: BalancedRandomForestClassifier(
        20, min_samples_leaf=20, random_state=0
    ),
    "balanced bagging": lambda: BalancedBaggingClassifier(
        LogisticRegression(), n_estimators=3, random_state=0
    ),
    "corrected already": lambda: PriorCorrectedClassifier(weighted()),
}


@pytest.mark.parametrize("name", SEEN_THROUGH)
def test_weights_and_samplers_are_found_inside_other_estimators(scarce, name):
    X, y = scarce
    model = PriorCorrectedClassifier(SEEN_THROUGH[name]()).fit(X, y)
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.015)


@pytest.mark.parametrize(
    "kw", [{"scale_pos_weight": 19}, {"class_weight": "balanced"}, {"is_unbalance": True}]
)
def test_weights_of_boosting_libraries_are_undone(scarce, kw):
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    X, y = scarce
    models = [lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1, **kw)]
    if "scale_pos_weight" in kw:
        models.append(xgboost.XGBClassifier(n_estimators=20, n_jobs=1, **kw))
    mass = np.bincount(y) * ([1.0, 19.0] if "scale_pos_weight" in kw else 1.0 / np.bincount(y))
    for base in models:
        raw = base.fit(X, y).predict_proba(X)[:, 1].mean()
        model = PriorCorrectedClassifier(base).fit(X, y)
        np.testing.assert_allclose(model.trained_prior_, mass / mass.sum())
        corrected = model.predict_proba(X)[:, 1].mean()
        assert raw > 3 * y.mean()
        assert abs(corrected - y.mean()) < 0.25 * (raw - y.mean())


class _Hidden(LogisticRegression):
    """Weighs classes where no parameter says so."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, np.where(np.asarray(y) == 1, 19.0, 1.0))


@pytest.mark.parametrize(
    "make",
    [
        _Hidden,
        lambda: VotingClassifier([("a", weighted()), ("b", LogisticRegression())], voting="soft"),
        lambda: AdaBoostClassifier(DecisionTreeClassifier(class_weight="balanced", max_depth=2)),
        lambda: RFE(weighted()),
        lambda: RandomForestClassifier(20, class_weight="balanced_subsample", random_state=0),
        lambda: make_pipeline(StandardScaler(), FrozenEstimator(weighted())),
    ],
)
def test_what_cannot_be_seen_through_is_refused(scarce, make):
    X, y = scarce
    estimator = make()
    if isinstance(estimator, Pipeline):
        estimator.steps[-1][1].estimator.fit(X, y)
    with pytest.raises(ValueError, match="trained_prior="):
        PriorCorrectedClassifier(estimator).fit(X, y)
    model = PriorCorrectedClassifier(estimator, trained_prior=[0.5, 0.5]).fit(X, y)
    np.testing.assert_allclose(model.trained_prior_, 0.5)


def test_one_factor_per_class_must_be_enough():
    X, y = make_classification(
        600, 6, n_classes=3, n_informative=4, weights=[0.8, 0.15], random_state=0
    )
    with pytest.raises(ValueError, match="trained_prior="):
        PriorCorrectedClassifier(OneVsRestClassifier(weighted())).fit(X, y)
    plain = OneVsRestClassifier(LogisticRegression())
    model = PriorCorrectedClassifier(plain).fit(X, y)
    np.testing.assert_allclose(model.trained_prior_, model.prior_)


def test_classes_without_weight_and_negative_weights_are_refused():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 3)), np.arange(90) % 3
    with pytest.raises(ValueError, match=r"\[2\] have a sample_weight of 0"):
        PriorCorrectedClassifier(weighted()).fit(X, y, sample_weight=(y < 2) * 1.0)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        PriorCorrectedClassifier(weighted()).fit(X, y, sample_weight=(y < 2) * 2.0 - 1.0)
    for bad in ([np.nan, 0.5, 0.5], {0: np.nan, 1: 0.5, 2: 0.5}):
        for name in ("prior", "trained_prior"):
            with pytest.raises(ValueError, match=f"{name}="):
                PriorCorrectedClassifier(LogisticRegression(), **{name: bad}).fit(X, y)


def test_weights_reach_the_last_step_of_pipelines_in_searches(scarce):
    X, y = scarce
    w = np.where(y == 1, 3.0, 1.0)
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipe, {"logisticregression__C": [1.0]}, cv=2)
    model = PriorCorrectedClassifier(search).fit(X, y, sample_weight=w)
    alone = clone(pipe).fit(X, y, logisticregression__sample_weight=w)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X))


def test_routing_changes_nothing(scarce):
    X, y = scarce
    w = np.where(y == 1, 3.0, 1.0)
    plain = PriorCorrectedClassifier(weighted())
    one, two = clone(plain).fit(X, y), clone(plain).fit(X, y, sample_weight=w)
    with config_context(enable_metadata_routing=True):
        asks = PriorCorrectedClassifier(weighted().set_fit_request(sample_weight=True))
        np.testing.assert_array_equal(clone(asks).fit(X, y).predict(X), one.predict(X))
        for model in (asks, plain):
            routed = clone(model).fit(X, y, sample_weight=w)
            np.testing.assert_array_equal(routed.predict_proba(X), two.predict_proba(X))
        search = GridSearchCV(asks, {"estimator__C": [1.0]}, cv=2, scoring="neg_log_loss")
        search.set_params(scoring=None)
        asks.set_score_request(sample_weight=False)
        found = search.fit(X, y, sample_weight=w)
        np.testing.assert_array_equal(found.predict_proba(X), two.predict_proba(X))


def test_what_was_fitted_stays_fitted(scarce):
    X, y = scarce
    prior = np.array([0.5, 0.5])
    model = PriorCorrectedClassifier(weighted(), prior=prior).fit(X, y)
    before = model.predict_proba(X)
    prior[:] = [0.9, 0.1]
    model.set_params(trained_prior=[0.1, 0.9], estimator=LogisticRegression(C=1e-3))
    np.testing.assert_array_equal(model.predict_proba(X), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), before)


def test_columns_follow_the_sorted_classes(scarce):
    X, y = scarce

    class Backwards(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            super().fit(X, y, sample_weight)
            self.classes_ = self.classes_[::-1]
            return self

        def predict_proba(self, X):
            return super().predict_proba(X)[:, ::-1]

    one = PriorCorrectedClassifier(weighted()).fit(X, y).predict_proba(X)
    two = PriorCorrectedClassifier(Backwards(class_weight="balanced")).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(one, two)
