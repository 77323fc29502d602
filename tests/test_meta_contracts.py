"""What the linear, streaming and Bayesian classifiers and the estimators around others all keep."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skimb.ensemble import BalanceCascadeClassifier, SelfPacedEnsembleClassifier
from skimb.linear_model import (
    BalancedRidge,
    NormalizedLogisticClassifier,
    PrestoClassifier,
    PrestoClassifierCV,
)
from skimb.naive_bayes import PooledGaussianNB
from skimb.pipeline import DensityWeightedRegressor, ResampledClassifier
from skimb.posthoc import CostRuleClassifier, LogitAdjuster
from skimb.streaming import AnalyticClassifier, IncrementalMLPClassifier
from skimb.under_sampling import AutoCoresetSampler

PLAIN = [
    PrestoClassifier(),
    PrestoClassifierCV(3, cv=2),
    NormalizedLogisticClassifier(max_iter=50),
    PooledGaussianNB(),
    AnalyticClassifier(n_components=20, random_state=0),
]
NETS = [
    IncrementalMLPClassifier((8,), max_iter=3, tol=1.0, learning_rate_init=0.01, random_state=0)
]
UNDER = RandomUnderSampler(random_state=0)
AROUND = [
    SelfPacedEnsembleClassifier(DecisionTreeClassifier(max_depth=2), 3, random_state=0),
    BalanceCascadeClassifier(DecisionTreeClassifier(max_depth=2), 3, random_state=0),
    ResampledClassifier(UNDER, LogisticRegression()),
    LogitAdjuster(LogisticRegression(), taus=[0.0, 1.0], cv=2),
    CostRuleClassifier(LogisticRegression()),
]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 4))
    return X, (X[:, 0] + 0.7 * rng.normal(size=240) > 1).astype(int)


def name_of(value):
    return type(value).__name__ if isinstance(value, BaseEstimator) else None


# --- labels as given -------------------------------------------------------------------------------

KINDS = {
    "one and two": np.array([1, 2]),
    "minus and plus": np.array([-1, 1]),
    "words": np.array(["no", "yes"]),
    "objects": np.array(["no", "yes"], object),
    "booleans": np.array([False, True]),
    "fractions": np.array([0.0, 1.0]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", PLAIN + NETS + AROUND, ids=name_of)
def test_labels_do_not_matter(model, kind, rows):
    X, code = rows
    labels = KINDS[kind]
    plain, named = clone(model).fit(X, code), clone(model).fit(X, labels[code])
    assert named.classes_.tolist() == labels.tolist()
    assert named.classes_.dtype == labels.dtype
    np.testing.assert_array_equal(named.predict(X), labels[plain.predict(X)])
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(named.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("model", PLAIN + NETS + AROUND, ids=name_of)
def test_series_of_nullable_types_and_categories(model, rows):
    X, code = rows
    wanted = clone(model).fit(X, code).predict(X)
    whole = clone(model).fit(X, pd.Series(code, dtype="Int64"))
    assert whole.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(whole.predict(X), wanted)
    words = np.array(["no", "yes"])
    for y in (pd.Series(words[code], dtype="string"), pd.Series(words[code], dtype="category")):
        np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), words[wanted])
    backwards = pd.Series(pd.Categorical(words[code], ["yes", "no"], ordered=True))
    found = clone(model).fit(X, backwards)
    assert found.classes_.tolist() == ["no", "yes"]
    if hasattr(found, "predict_proba"):
        right = (found.predict_proba(X).argmax(1) == code).mean()
        assert right > 0.6


@pytest.mark.parametrize("model", PLAIN + NETS + AROUND, ids=name_of)
@pytest.mark.parametrize("make", [list, lambda y: np.array(y, object), pd.Series])
def test_texts_among_numbers_are_refused(model, make, rows):
    X, code = rows
    mixed = make([1 if c else "no" for c in code])
    with pytest.raises(
        ValueError, match=r"mixes labels of several kinds, numbers as 1 and text as 'no'"
    ):
        clone(model).fit(X, mixed)
    with pytest.raises(ValueError, match="NaN"):
        clone(model).fit(X, make([None if k == 3 else "ab"[c] for k, c in enumerate(code)]))


@pytest.mark.parametrize("model", PLAIN + NETS + AROUND, ids=name_of)
@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string"])
def test_nullable_labels_are_those_of_the_plain_type(model, dtype, rows):
    X, code = rows
    plain = {"Int64": code + 3, "boolean": code > 0, "string": np.array(["no", "yes"])[code]}[dtype]
    fitted = clone(model).fit(X, pd.Series(plain, dtype=dtype))
    assert fitted.classes_.tolist() == np.unique(plain).tolist()
    assert [type(c) for c in fitted.classes_.tolist()] == [
        type(c) for c in np.unique(plain).tolist()
    ]
    np.testing.assert_array_equal(fitted.predict(X), clone(model).fit(X, plain).predict(X))


class Recorder(ClassifierMixin, BaseEstimator):
    """Answers the first class and knows the labels that it was fitted to."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.tile(np.eye(len(self.classes_))[0], (len(X), 1))

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.mark.filterwarnings("ignore:CostRuleClassifier needs probabilities")
@pytest.mark.parametrize("model", AROUND, ids=name_of)
def test_inner_models_see_the_labels_of_the_user(model, rows):
    X, code = rows
    y = np.array(["no", "yes"])[code]
    around = clone(model).set_params(estimator=Recorder()).fit(X, y)
    inner = getattr(around, "estimators_", None) or [around.estimator_]
    assert all(m.classes_.tolist() == ["no", "yes"] for m in inner)
    weighted = LogisticRegression(class_weight={"no": 1, "yes": 5})
    assert set(clone(model).set_params(estimator=weighted).fit(X, y).predict(X)) == {"no", "yes"}


@pytest.mark.parametrize("model", PLAIN + NETS + AROUND, ids=name_of)
def test_negative_weights_are_refused(model, rows):
    X, y = rows
    w = np.ones(len(y))
    w[5] = -1.0
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        clone(model).fit(X, y, sample_weight=w)


# --- what was fitted stays -------------------------------------------------------------------------

OTHERS = {
    "lam": 0.5, "l1_ratio": 0.1, "penalize_first": False, "penalty_factors": [0, 0, 0, 0],
    "standardize": False, "class_order": [1, 0], "class_weight": {1: 50.0}, "max_iter": 1, "tol": 0.5,
    "crossing": "error", "decision": "expected", "warm_start": True, "n_lams": 2, "lam_min_ratio": 0.9,
    "lams": [0.3], "cv": 3, "scoring": "accuracy", "n_jobs": 1, "step": 0.01, "variant": "lr",
    "normalize": "class", "average": False, "fit_intercept": False, "priors": [0.05, 0.95],
    "var_smoothing": 10.0, "shrink_to_pooled": 0.0, "gamma": 1e4, "expansion": None, "n_components": 3,
    "balance_power": 1.0, "normalize_weights": False, "solver": "rls", "random_state": 7,
    "estimator": KNeighborsClassifier(1), "n_estimators": 1, "k_bins": 1, "hardness": "entropy",
    "replacement": True, "soft": True, "balancing_schedule": "progressive",
    "sampler": RandomOverSampler(random_state=1), "correct_prior": False, "tau": 3.0, "taus": [1.5],
    "prior": [0.3, 0.7], "cost": [[0, 1], [50, 0]],
}  # fmt: skip
ALSO = [
    AnalyticClassifier(n_components=20, balance_power=0.7, random_state=0),
    PooledGaussianNB(shrink_to_pooled=0.4, priors="uniform"),
    PrestoClassifier(1e-4),
]


def answers(model, X):
    methods = ("predict", "predict_proba", "decision_function", "rare_proba")
    return [getattr(model, name)(X) for name in methods if hasattr(model, name)]


@pytest.mark.parametrize("model", PLAIN + AROUND + ALSO, ids=name_of)
def test_what_was_fitted_stays(model, rows):
    X, y = rows
    far = np.r_[X, 40 * X]
    for name in model.get_params(deep=False):
        fitted = clone(model).fit(X, y)
        before = answers(fitted, far)
        fitted.set_params(**{name: OTHERS[name] if OTHERS[name] != getattr(model, name) else None})
        for now in (fitted, pickle.loads(pickle.dumps(fitted))):
            for a, b in zip(before, answers(now, far), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize(
    "model", [m for m in PLAIN + ALSO if hasattr(m, "partial_fit")], ids=name_of
)
def test_chunks_go_on_with_what_was_fitted(model, rows):
    X, y = rows
    whole = clone(model).fit(X, y)
    for name in model.get_params():
        stream = clone(model).fit(X[:150], y[:150])
        stream.set_params(**{name: OTHERS[name]}).partial_fit(X[150:], y[150:])
        np.testing.assert_allclose(
            stream.predict_proba(X), whole.predict_proba(X), atol=1e-8, err_msg=name
        )


# --- metadata and weights --------------------------------------------------------------------------

REGRESSORS = [DensityWeightedRegressor(Ridge())]


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("model", PLAIN + NETS + AROUND + REGRESSORS, ids=name_of)
def test_fits_with_and_without_routing(model, routing, rows):
    X, y = rows
    w = np.random.default_rng(0).uniform(0.5, 2, len(y))
    plain, weighted = clone(model).fit(X, y), clone(model).fit(X, y, sample_weight=w)
    with sklearn.config_context(enable_metadata_routing=routing):
        np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), plain.predict(X))
        again = clone(model).fit(X, y, sample_weight=w)
        np.testing.assert_array_equal(again.predict(X), weighted.predict(X))
        np.testing.assert_array_equal(
            make_pipeline(FunctionTransformer(), clone(model)).fit(X, y).predict(X),
            plain.predict(X),
        )
        assert np.isfinite(cross_val_score(model, X, y, cv=2)).all()
        assert np.isfinite(GridSearchCV(model, {}, cv=2).fit(X, y).best_score_)


@pytest.mark.parametrize("routing", [False, True])
def test_weights_in_a_pipeline_by_name(routing, rows):
    X, y = rows
    w = np.where(y == 1, 20.0, 1.0)
    for model in AROUND:
        alone = clone(model).fit(X, y, sample_weight=w)
        with sklearn.config_context(enable_metadata_routing=routing):
            if routing:
                last = clone(model).set_fit_request(sample_weight=True)
                pipe = make_pipeline(FunctionTransformer(), last).fit(X, y, sample_weight=w)
            else:
                pipe = make_pipeline(FunctionTransformer(), clone(model))
                pipe.fit(X, y, **{f"{type(model).__name__.lower()}__sample_weight": w})
        np.testing.assert_array_equal(pipe.predict(X), alone.predict(X))


LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("inner", [LOGISTIC, make_pipeline(LOGISTIC), make_pipeline(StandardScaler(), GridSearchCV(LogisticRegression(), {"C": [1.0]}))], ids=["pipeline", "nested", "search"])  # fmt: skip
@pytest.mark.parametrize("model", AROUND, ids=name_of)
def test_weights_reach_the_last_step_of_an_inner_pipeline(model, inner, routing, rows):
    X, y = rows
    w = np.where(y == 1, 3.0, 1.0)
    around = clone(model).set_params(estimator=inner)
    with sklearn.config_context(enable_metadata_routing=routing):
        fitted = clone(around).fit(X, y, sample_weight=w)
    members = getattr(fitted, "estimators_", None) or [fitted.estimator_]
    # rows by hand: the pipeline of the last member, weights by the name of its last step
    if hasattr(fitted, "estimators_samples_"):
        at = fitted.estimators_samples_[-1]
    elif not hasattr(fitted, "sampler_"):
        at = np.arange(len(y))
    else:
        at = clone(UNDER).fit(X, y)
        at.fit_resample(X, y)
        at = at.sample_indices_
    Z = StandardScaler().fit_transform(X[at])
    alone = LogisticRegression().fit(Z, y[at], sample_weight=w[at])
    Z = (X - X[at].mean(0)) / X[at].std(0)
    np.testing.assert_allclose(members[-1].predict_proba(X), alone.predict_proba(Z), atol=1e-6)


@pytest.mark.parametrize("routing", [False, True])
def test_made_weights_reach_the_last_step_of_an_inner_pipeline(routing, rows):
    X, y = rows
    target = X @ [1.0, 2.0, 0.0, -1.0] ** np.array(3)
    with sklearn.config_context(enable_metadata_routing=routing):
        piped = DensityWeightedRegressor(make_pipeline(StandardScaler(), Ridge(1e-9))).fit(
            X, target
        )
        turned = DensityWeightedRegressor(
            TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge(1e-9)))
        ).fit(X, target)
        coreset = AutoCoresetSampler(40, estimator=LOGISTIC, max_iter=2, random_state=0)
        few = ResampledClassifier(coreset, LOGISTIC).fit(X, y)
    plain = DensityWeightedRegressor(Ridge(1e-9)).fit(X, target)
    np.testing.assert_allclose(piped.predict(X), plain.predict(X), atol=1e-6)
    np.testing.assert_allclose(turned.predict(X), plain.predict(X), atol=1e-6)
    X_few, y_few = clone(coreset).fit_resample(X, y)
    assert len(y_few) < len(y)
    sampler = few.sampler_
    alone = clone(LOGISTIC).fit(
        X_few, y_few, logisticregression__sample_weight=sampler.sample_weight_
    )
    np.testing.assert_allclose(few.estimator_.predict_proba(X), alone.predict_proba(X))


def test_estimators_without_weights_are_refused(rows):
    X, y = rows
    w = np.ones(len(y))
    for model in AROUND:
        for inner in (
            KNeighborsClassifier(),
            make_pipeline(StandardScaler(), KNeighborsClassifier()),
        ):
            with pytest.raises(TypeError, match=r"KNeighborsClassifier\(\) takes no sample_weight"):
                clone(model).set_params(estimator=inner).fit(X, y, sample_weight=w)
        clone(model).set_params(estimator=KNeighborsClassifier()).fit(X, y)
    with pytest.raises(TypeError, match=r"KNeighborsRegressor\(\) takes no sample_weight"):
        DensityWeightedRegressor(KNeighborsRegressor()).fit(X, X[:, 0])
    lost = make_sampling_pipeline(RandomUnderSampler(), LogisticRegression())
    with pytest.raises(
        ValueError, match="Weights do not get past the sampler 'randomundersampler'"
    ):
        ResampledClassifier(None, lost).fit(X, y, sample_weight=w)
    with pytest.raises(ValueError, match="at least one non-zero"):
        DensityWeightedRegressor(Ridge()).fit(X, X[:, 0], sample_weight=0 * w)


# --- rows that are no tables -----------------------------------------------------------------------

TEXT = make_pipeline(TfidfVectorizer(), LogisticRegression())


@pytest.mark.parametrize("make", [list, np.array, pd.Series, lambda d: pd.Series(d, index=range(5, 5 + len(d)))])  # fmt: skip
@pytest.mark.parametrize("model", [*AROUND, ResampledClassifier(RandomOverSampler(random_state=0), TEXT), ResampledClassifier(None, TEXT)], ids=name_of)  # fmt: skip
def test_documents(model, make):
    y = np.array([1] * 20 + [0] * 200)
    docs = make(["win cash now" if v else "see you tomorrow" for v in y])
    w = np.ones(len(y))
    w[3] = 0.0
    for weight in (None, w):
        fitted = clone(model).set_params(estimator=TEXT).fit(docs, y, sample_weight=weight)
        np.testing.assert_array_equal(fitted.predict(docs), y)
    lengths = np.where(y == 1, 12.0, 16.0)
    words = make_pipeline(TfidfVectorizer(), Ridge(1e-6))
    np.testing.assert_allclose(
        DensityWeightedRegressor(words).fit(docs, lengths).predict(docs), lengths, atol=1e-3
    )


@pytest.mark.parametrize("model", AROUND, ids=name_of)
def test_rows_of_more_axes(model, rows):
    X, y = rows
    cube = X.reshape(-1, 2, 2)
    flat = FunctionTransformer(lambda X: X.reshape(-1, 4), validate=False)
    inner = DecisionTreeClassifier(max_depth=2, random_state=0)
    a = clone(model).set_params(estimator=make_pipeline(flat, inner)).fit(cube, y)
    b = clone(model).set_params(estimator=inner).fit(X, y)
    assert (a.predict(cube) == b.predict(X)).mean() > 0.9
    regressor = DensityWeightedRegressor(make_pipeline(flat, Ridge())).fit(cube, X[:, 1])
    np.testing.assert_allclose(
        regressor.predict(cube), DensityWeightedRegressor(Ridge()).fit(X, X[:, 1]).predict(X)
    )


# --- class weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [PrestoClassifier, PrestoClassifierCV, NormalizedLogisticClassifier]
)
@pytest.mark.parametrize(("weight", "words"), [({1: -1.0}, "positive, finite"), ({1: np.nan}, "positive, finite"), ({0: np.inf}, "positive, finite"), ({1: "2"}, "positive, finite"), ({7: 1.0}, r"\[7\], are not in class_weight")])  # fmt: skip
def test_class_weights_are_checked(make, weight, words, rows):
    X, y = rows
    with pytest.raises(ValueError, match=words):
        make(class_weight=weight).fit(X, y)


def test_class_weights_of_zero(rows):
    X, y = rows
    for make in (PrestoClassifier, PrestoClassifierCV):
        with pytest.raises(ValueError, match="a class of weight 0 is not learned at all"):
            make(class_weight={1: 0}).fit(X, y)
    with pytest.raises(ValueError, match="fewer than two classes"):
        NormalizedLogisticClassifier(class_weight={1: 0}).fit(X, y)
    three = y + (X[:, 1] > 1)
    model = NormalizedLogisticClassifier(max_iter=50, class_weight={2: 0}).fit(X, three)
    assert model.classes_.tolist() == [0, 1, 2]
    assert np.isfinite(model.coef_).all()
    assert set(model.predict(X)) == {0, 1}


def test_balanced_ridge_keeps_what_was_fitted(rows):
    X, _ = rows
    model = BalancedRidge().fit(X[:80], X[:80, 0] + X[:80, 1] ** 2)
    before = model.predict(X)
    model.set_params(alpha=1e3, fit_intercept=False, max_iter=1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), before)
