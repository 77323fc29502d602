"""Samplers, and the classifier around them."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import NearMiss, RandomUnderSampler
from sampler_checks import sampler_checks
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline as make_plain_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.losses import ExpectedCost
from skimb.neural_network import MLPClassifier
from skimb.pipeline import ResampledClassifier
from skimb.under_sampling import AutoCoresetSampler
from skimb.under_sampling._vector_sums import exact, importance


@pytest.fixture(scope="module")
def rare():
    X, y = make_classification(
        3000, 6, n_informative=4, n_redundant=0, weights=[0.93], class_sep=0.8, random_state=0
    )
    return X, np.array(["common", "rare"])[y]


@sampler_checks([AutoCoresetSampler(40, max_iter=2, random_state=0), AutoCoresetSampler(40, backend="importance", max_iter=2, random_state=0)])  # fmt: skip
def test_sampler_checks(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [ResampledClassifier(RandomUnderSampler(random_state=0), LogisticRegression()), ResampledClassifier(None, GaussianNB())],
    expected_failed_checks=lambda e: {} if e.sampler is None else dict.fromkeys(("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"), "random draws of rows differ between weights and repeated rows"),
)  # fmt: skip
def test_classifier_checks(estimator, check):
    check(estimator)


# --- sums of vectors ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 12, 40])
def test_few_rows_with_the_sums_of_all(size):
    rng = np.random.RandomState(0)
    V, w = rng.exponential(size=(500, 4)) * [1, 1e4, 1e-4, 1], rng.uniform(0.1, 5, 500)
    u = exact(V, w, size, rng)
    assert (u >= 0).all()
    assert np.count_nonzero(u) <= size
    np.testing.assert_allclose(u @ V, w @ V, rtol=1e-10)
    assert u.sum() == pytest.approx(w.sum(), rel=1e-12)


def test_importance_is_unbiased_up_to_its_total():
    rng = np.random.RandomState(0)
    V, w = rng.exponential(size=(300, 1)), rng.uniform(0.1, 2, 300)
    sums = [importance(V, w, 50, rng) @ V[:, 0] for _ in range(400)]
    assert np.mean(sums) == pytest.approx(w @ V[:, 0], rel=0.02)


# --- coresets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("base_weight", ["balanced", None])
@pytest.mark.parametrize("backend", ["lp", "importance", "uniform"])
def test_coreset_has_the_weights_of_all(backend, base_weight, rare):
    X, y = rare
    sampler = AutoCoresetSampler(60, backend=backend, base_weight=base_weight, random_state=0)
    X_few, y_few = sampler.fit_resample(X, y)
    u, at = sampler.sample_weight_, sampler.sample_indices_
    assert len(y_few) <= 60
    assert (u > 0).all()
    np.testing.assert_array_equal(X_few, X[at])
    w = compute_sample_weight(base_weight, y)
    for label in np.unique(y):
        assert u[y_few == label].sum() == pytest.approx(w[y == label].sum())
        if backend == "lp":
            own, kept = y == label, y_few == label
            np.testing.assert_allclose(
                u[kept] @ sampler.queries_[at][kept], w[own] @ sampler.queries_[own], rtol=1e-10
            )
    again = AutoCoresetSampler(60, backend=backend, base_weight=base_weight, random_state=0)
    np.testing.assert_array_equal(again.fit_resample(X, y)[0], X_few)


def objective(model, X, y, w):
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return -(w @ np.log(p)) + 0.5 * (model.coef_**2).sum()


def test_sixty_rows_stand_for_all(rare):
    """Excess of the full objective of logistic regression fitted to the coreset."""
    X, y = rare
    w = compute_sample_weight("balanced", y)
    least = objective(LogisticRegression().fit(X, y, sample_weight=w), X, y, w)
    excess = {}
    for backend in ("lp", "importance", "uniform"):
        for m in (60, 240):
            found = []
            for seed in range(4):
                sampler = AutoCoresetSampler(m, backend=backend, random_state=seed)
                model = ResampledClassifier(sampler, LogisticRegression()).fit(X, y)
                found.append(objective(model.estimator_, X, y, w) / least - 1)
            excess[backend, m] = np.median(found)
    assert excess["lp", 60] < 0.03
    assert excess["lp", 240] < 0.002
    assert excess["lp", 60] < excess["importance", 60]
    assert excess["importance", 240] < excess["uniform", 240]
    assert all(excess[b, 240] < excess[b, 60] for b in ("lp", "importance", "uniform"))


def test_allocation(rare):
    X, y = rare
    n_rare = (y == "rare").sum()

    def sizes(**kw):
        sampler = AutoCoresetSampler(max_iter=2, random_state=0, backend="uniform", **kw)
        return pd.Series(sampler.fit_resample(X, y)[1]).value_counts().to_dict()

    assert sizes(n_samples=100) == {"common": 50, "rare": 50}
    share = sizes(n_samples=100, allocation="proportional")
    assert share["rare"] == int(100 * n_rare / len(y))
    assert share["rare"] < sizes(n_samples=100, allocation="sqrt")["rare"] < 50
    assert sizes(allocation={"common": 30, "rare": 5}) == {"common": 30, "rare": 5}
    assert sizes(n_samples=1000) == {"common": 1000 - n_rare, "rare": n_rare}
    with pytest.raises(ValueError, match=r"lacks the classes \['rare'\]"):
        sizes(allocation={"common": 3})
    with pytest.raises(ValueError, match="less than one row"):
        sizes(n_samples=1)


def test_everything_is_its_own_coreset(rare):
    X, y = rare
    sampler = AutoCoresetSampler(5000, base_weight=None)
    X_all, _ = sampler.fit_resample(X, y)
    assert len(X_all) == len(X)
    assert (sampler.sample_weight_ == 1).all()
    tiny = np.r_[X[y == "common"][:50], X[y == "rare"][:1]]
    labels = np.r_[np.zeros(50), 1]
    sampler = AutoCoresetSampler(10, random_state=0)
    assert (sampler.fit_resample(tiny, labels)[1] == 1).sum() == 1


def test_other_models_losses_frames_and_weights(rare):
    X, y = rare
    frame = pd.DataFrame(X, columns=list("abcdef"))
    sampler = AutoCoresetSampler(60, estimator=LinearSVC(), loss="hinge", random_state=0)
    X_few, y_few = sampler.fit_resample(frame, pd.Series(y))
    assert isinstance(X_few, pd.DataFrame)
    assert y_few.index.tolist() == X_few.index.tolist()

    def squared(model, X, y):
        return (1 - model.predict_proba(X)[np.arange(len(y)), (y == "rare").astype(int)]) ** 2

    AutoCoresetSampler(60, loss=squared, random_state=0).fit_resample(X, y)
    with pytest.raises(ValueError, match="must give one finite number per row"):
        AutoCoresetSampler(60, loss=lambda m, X, y: 1.0).fit_resample(X, y)
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    weighted = AutoCoresetSampler(60, base_weight=None, random_state=0)
    _, y_few = weighted.fit_resample(X, y, sample_weight=w)
    assert (w[weighted.sample_indices_] > 0).all()
    assert weighted.sample_weight_.sum() == pytest.approx(w.sum())


def test_resampling_for_plain_pipelines(rare):
    X, y = rare
    pipe = make_pipeline(
        AutoCoresetSampler(400, return_mode="resample", random_state=0), LogisticRegression()
    )
    assert set(pipe.fit(X, y).predict(X)) == {"common", "rare"}
    assert len(pipe[0].sample_indices_) == 400


@pytest.mark.parametrize("return_mode", ["weighted", "resample"])
@pytest.mark.parametrize("base_weight", ["balanced", None])
@pytest.mark.parametrize("allocation", ["equal", "proportional", {0: 3, 1: 1, 2: 1}])
def test_coresets_keep_every_class(allocation, base_weight, return_mode):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), np.repeat([0, 1, 2], [290, 7, 3])
    for seed in range(4):
        sampler = AutoCoresetSampler(5, allocation=allocation, base_weight=base_weight, return_mode=return_mode, max_iter=1, random_state=seed)  # fmt: skip
        found = sampler.fit_resample(X, y)[1]
        assert set(found) == {0, 1, 2}
        assert return_mode == "weighted" or len(found) == 5
    with pytest.raises(ValueError, match="less than one row"):
        AutoCoresetSampler(2, allocation={0: 1, 1: 1, 2: 1}, return_mode="resample").fit_resample(X, y)  # fmt: skip


def test_draws_follow_the_weights():
    X = np.random.default_rng(0).normal(size=(1000, 2))
    y = (np.arange(1000) % 10 == 0).astype(int)
    kw = {"return_mode": "resample", "max_iter": 1, "random_state": 0}
    plain = AutoCoresetSampler(100, base_weight=None, **kw).fit_resample(X, y)[1]
    balanced = AutoCoresetSampler(100, **kw).fit_resample(X, y)[1]
    assert (plain.sum(), balanced.sum()) == (10, 50)


def test_coresets_keep_what_the_model_can_read():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "k": pd.array(rng.integers(0, 5, 200), dtype="Int64")})  # fmt: skip
    frame["s"] = np.where(frame["a"] > 0, "u", "v")
    y = pd.DataFrame({"target": (frame["a"] > 1).astype(int)})
    gaps = frame.assign(a=frame["a"].mask(frame["a"] < -1))
    tree = make_plain_pipeline(
        make_column_transformer((OneHotEncoder(), ["s"]), remainder="passthrough"),
        DecisionTreeClassifier(max_depth=3),
    )
    sampler = AutoCoresetSampler(
        30, estimator=tree, backend="importance", max_iter=1, random_state=0
    )
    X_few, y_few = sampler.fit_resample(gaps, y)
    assert X_few.dtypes.tolist() == frame.dtypes.tolist()
    pd.testing.assert_frame_equal(X_few, gaps.iloc[sampler.sample_indices_])
    assert y_few["target"].tolist() == y["target"].iloc[sampler.sample_indices_].tolist()
    assert sampler.feature_names_in_.tolist() == ["a", "k", "s"]
    with pytest.raises(ValueError, match="contains NaN"):
        AutoCoresetSampler(30).fit_resample(gaps[["a", "k"]], y["target"])


# --- the classifier around a sampler -----------------------------------------------------------


def test_probabilities_after_random_sampling_are_exact(rare):
    """Naive Bayes has the label distribution as a factor: resampling whole classes changes nothing else."""
    X, y = rare

    repeated = RandomOverSampler(random_state=0)
    model = ResampledClassifier(repeated, GaussianNB()).fit(X, y)
    Xr, yr = RandomOverSampler(random_state=0).fit_resample(X, y)
    inner = GaussianNB().fit(Xr, yr)
    moved = inner.predict_proba(X) * [np.mean(y == "common") / 0.5, np.mean(y == "rare") / 0.5]
    np.testing.assert_allclose(
        model.predict_proba(X), moved / moved.sum(1, keepdims=True), atol=1e-12
    )
    np.testing.assert_array_equal(model.predict(X), inner.predict(X))
    plain = ResampledClassifier(None, GaussianNB()).fit(X, y)
    np.testing.assert_allclose(
        plain.predict_proba(X), GaussianNB().fit(X, y).predict_proba(X), atol=1e-12
    )


@pytest.mark.parametrize("sampler", [RandomUnderSampler(random_state=0), RandomOverSampler(random_state=0), SMOTE(random_state=0), AutoCoresetSampler(100, random_state=0)])  # fmt: skip
@pytest.mark.parametrize("estimator", [LogisticRegression(), LogisticRegression(class_weight={"common": 1, "rare": 3}), MLPClassifier((8,), max_iter=60, learning_rate_init=0.01, class_weight="balanced", random_state=0)])  # fmt: skip
def test_probabilities_refer_to_the_population(sampler, estimator, rare):
    X, y = rare
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ResampledClassifier(sampler, estimator).fit(X, y)
    share = np.mean(y == "rare")
    assert model.prior_[1] == pytest.approx(share)
    assert abs(model.predict_proba(X)[:, 1].mean() - share) < 0.03
    raw = model.estimator_.predict_proba(X)
    if isinstance(estimator, LogisticRegression):
        assert log_loss(y, model.predict_proba(X)) < log_loss(y, raw)
    raw_model = clone(model).set_params(correct_prior=False).fit(X, y)
    np.testing.assert_array_equal(raw_model.predict_proba(X), raw_model.estimator_.predict_proba(X))


def test_weights_follow_the_rows(rare):
    X, y = rare
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    model = ResampledClassifier(RandomUnderSampler(random_state=0), LogisticRegression()).fit(
        X, y, sample_weight=w
    )
    kept = w > 0
    sampler = RandomUnderSampler(random_state=0)
    Xr, yr = sampler.fit_resample(X[kept], y[kept])
    alone = LogisticRegression().fit(Xr, yr, sample_weight=w[kept][sampler.sample_indices_])
    np.testing.assert_allclose(model.estimator_.coef_, alone.coef_)
    with pytest.raises(ValueError, match="makes rows that have no sample_weight"):
        ResampledClassifier(SMOTE(), LogisticRegression()).fit(X, y, sample_weight=w)
    coreset = AutoCoresetSampler(80, random_state=0)
    model = ResampledClassifier(coreset, LogisticRegression()).fit(X, y, sample_weight=w)
    Xr, yr = coreset.fit_resample(X, y, sample_weight=w)
    alone = LogisticRegression().fit(Xr, yr, sample_weight=coreset.sample_weight_)
    np.testing.assert_allclose(model.estimator_.coef_, alone.coef_)


def test_a_class_without_weight_is_gone(rare):
    X, y = rare
    labels = np.where(np.arange(len(y)) % 50 == 0, "broken", y)
    w = np.where(labels == "broken", 0.0, 1.0)
    for sampler in (
        None,
        RandomUnderSampler(random_state=0),
        AutoCoresetSampler(60, random_state=0),
    ):
        model = ResampledClassifier(sampler, LogisticRegression()).fit(X, labels, sample_weight=w)
        assert model.classes_.tolist() == ["common", "rare"]
        assert model.predict_proba(X).shape == (len(y), 2)


def test_routed_metadata_follow_the_rows(rare):
    X, y = rare
    w = np.random.default_rng(0).uniform(0.5, 2, len(y))
    cost = np.random.default_rng(1).uniform(0.5, 2, (len(y), 2))
    with sklearn.config_context(enable_metadata_routing=True):
        net = MLPClassifier((4,), max_iter=3, random_state=0).set_fit_request(cost=True)
        model = ResampledClassifier(RandomUnderSampler(random_state=0), net)
        with pytest.raises(Exception, match=r"unexpected argument|not requested"):
            model.fit(X, y, unknown=w)
        model.set_params(estimator__loss=ExpectedCost())
        model.fit(X, y, cost=cost)
        assert model.estimator_.n_iter_ == 3


def test_names_search_and_errors(rare):
    X, y = rare
    frame = pd.DataFrame(X, columns=list("abcdef"))
    search = GridSearchCV(
        ResampledClassifier(RandomUnderSampler(random_state=0), LogisticRegression()),
        {
            "sampler": [None, RandomUnderSampler(random_state=0), SMOTE(random_state=0)],
            "estimator__C": [0.1, 1.0],
        },
        scoring="neg_log_loss",
    ).fit(frame, y)
    assert search.best_score_ > -0.3
    assert search.best_estimator_.feature_names_in_.tolist() == list("abcdef")
    thin = ResampledClassifier(RandomUnderSampler(random_state=0), LogisticRegression()).fit(
        sparse.csr_matrix(X), y
    )
    assert thin.decision_function(X).shape == y.shape
    assert not hasattr(ResampledClassifier(NearMiss(), LinearSVC()), "predict_proba")
