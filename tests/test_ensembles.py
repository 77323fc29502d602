"""Ensembles over balanced subsets."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from lightgbm import LGBMClassifier
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.ensemble import (
    BalanceCascadeClassifier,
    PopulationBaggingClassifier,
    SelfPacedEnsembleClassifier,
)
from skimb.ensemble._draws import bin_quotas, self_paced_draw
from skimb.losses import AnyLoss, ExpectedCost, Focal
from skimb.neural_network import MLPClassifier

SELF_PACED, CASCADE = SelfPacedEnsembleClassifier, BalanceCascadeClassifier
NETS = MLPClassifier((8,), learning_rate_init=0.02, max_iter=60)


def failing(estimator):
    """Weights and repeated rows lead to other random draws, as in scikit-learn's own bagging."""
    reason = "random draws of rows differ; scikit-learn's BaggingClassifier is excused for the same reason"
    return {
        "check_sample_weight_equivalence_on_dense_data": reason,
        "check_sample_weight_equivalence_on_sparse_data": reason,
    }


@parametrize_with_checks(
    [SELF_PACED(n_estimators=4), CASCADE(n_estimators=4), PopulationBaggingClassifier(MLPClassifier((20,), hidden_scale=1.0, learning_rate_init=0.02, max_iter=60), 3)],
    expected_failed_checks=failing,
)  # fmt: skip
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def four():
    X, y = make_classification(
        900, 8, n_classes=3, n_informative=5, weights=[0.8, 0.15], class_sep=0.8, random_state=0
    )
    return X, np.array(["common", "medium", "rare"])[y]


def test_quotas_by_hand():
    values = np.array([0.0, 0.1, 0.1, 0.3, 0.9, 1.0])
    at, quota = bin_quotas(values, 2, 0.5, 10)
    assert at.tolist() == [0, 0, 0, 0, 1, 1]
    means = np.array([0.125, 0.95])
    expected = 1 / (means + 0.5)
    np.testing.assert_allclose(quota, 10 * expected / expected.sum())
    _, even = bin_quotas(values, 2, 1e16, 10)
    np.testing.assert_allclose(even, [5, 5])
    _, gap = bin_quotas(np.r_[np.zeros(4), np.ones(4)], 5, 1e16, 10)
    np.testing.assert_allclose(gap, [5, 0, 0, 0, 5])
    same, alone = bin_quotas(np.full(7, 0.3), 5, 0.0, 4)
    assert set(same) == {0}
    assert alone.tolist() == [4, 0, 0, 0, 0]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("replacement", [False, True])
def test_draws(replacement, soft):
    rng = np.random.RandomState(0)
    values = np.r_[0.0, rng.uniform(0, 0.15, 499), rng.uniform(0.9, 1.0, 6)]
    drawn = self_paced_draw(values, 60, 1e16, 5, replacement, soft, rng)
    assert len(drawn) == 60
    hard = (drawn >= 500).sum()
    if not replacement:
        assert len(set(drawn.tolist())) == 60
        assert hard <= 6
    elif not soft:
        assert hard == 30  # the same number from both bins
    if not soft and not replacement:
        assert hard == 6
    everything = self_paced_draw(values, len(values), 0.0, 5, False, False, rng)
    assert sorted(everything) == list(range(len(values)))


@pytest.mark.parametrize("make", [SELF_PACED, CASCADE])
def test_members_see_every_rare_row_and_as_many_others(make, four):
    X, y = four
    n = (y == "rare").sum()
    model = make(n_estimators=5, random_state=0).fit(X, y)
    for rows in model.estimators_samples_:
        assert pd.Series(y[rows]).value_counts().to_dict() == {"common": n, "medium": n, "rare": n}
        assert set(np.flatnonzero(y == "rare")) <= set(rows.tolist())
    assert set(model.predict(X)) == {"common", "medium", "rare"}
    again = make(n_estimators=5, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    assert (
        make(n_estimators=5, random_state=1).fit(X, y).predict_proba(X) != model.predict_proba(X)
    ).any()


def test_one_member_is_random_undersampling(four):
    X, y = four
    model = SELF_PACED(LogisticRegression(), 1, random_state=0).fit(X, y)
    rows = model.estimators_samples_[0]
    alone = LogisticRegression().fit(X[rows], y[rows])
    np.testing.assert_allclose(alone.predict_proba(X), model._balanced(X))
    count = np.unique(y, return_counts=True)[1]
    moved = alone.predict_proba(X) * count
    np.testing.assert_allclose(model.predict_proba(X), moved / moved.sum(1, keepdims=True))


def test_self_paced_draws_become_harder(four):
    X, y = four
    model = SELF_PACED(GaussianNB(), 6, random_state=0).fit(X, y)
    p = model._balanced(X)[:, 0]
    hardness = [1 - p[rows[y[rows] == "common"]].mean() for rows in model.estimators_samples_]
    assert hardness[-1] > hardness[0] + 0.02


def test_cascade_ends_with_the_hardest(four):
    X, y = four
    model = CASCADE(GaussianNB(), 6, random_state=0).fit(X, y)
    last = model.estimators_samples_[-1]
    last = last[y[last] == "common"]
    mean = np.mean([m.predict_proba(X) for m in model.estimators_[:-1]], axis=0)[:, 0]
    common = np.flatnonzero(y == "common")
    # those that survived every cut: harder than nearly all others
    assert np.median(mean[last]) < np.quantile(mean[common], 0.2)
    sizes = [len(set(rows[y[rows] == "common"])) for rows in model.estimators_samples_]
    assert sizes == [(y == "rare").sum()] * 6


def test_progressive_schedule(four):
    X, y = four
    model = SELF_PACED(n_estimators=3, balancing_schedule="progressive", random_state=0).fit(X, y)
    n = pd.Series(y).value_counts()
    sizes = [(y[rows] == "common").sum() for rows in model.estimators_samples_]
    assert sizes == [n["common"], round((n["common"] + n["rare"]) / 2), n["rare"]]


def test_staged_probabilities(four):
    X, y = four
    model = SELF_PACED(n_estimators=4, random_state=0).fit(X, y)
    stages = list(model.staged_predict_proba(X))
    assert len(stages) == 4
    np.testing.assert_allclose(stages[-1], model.predict_proba(X))


def test_lightgbm_frames_and_sparse_rows(four):
    X, y = four
    frame = pd.DataFrame(X, columns=[f"f{j}" for j in range(8)])
    frame["f0"] = pd.cut(frame["f0"], 4).cat.codes.astype("category")
    model = SELF_PACED(LGBMClassifier(n_estimators=5, verbose=-1), 3, random_state=0).fit(frame, y)
    assert model.predict_proba(frame).shape == (900, 3)
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    thin = SELF_PACED(n_estimators=3, random_state=0).fit(sparse.coo_matrix(X), y)
    dense = SELF_PACED(n_estimators=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(thin.predict(sparse.csr_matrix(X)), dense.predict(X))


def test_weights_reach_the_members_and_zero_removes(four):
    X, y = four
    w = np.where(y == "medium", 0.0, np.arange(len(y)) % 3)
    model = CASCADE(n_estimators=2, random_state=0).fit(X, y, sample_weight=w)
    assert model.classes_.tolist() == ["common", "rare"]
    heavy = np.where(y == "rare", 100.0, 1.0)
    stump = DecisionTreeClassifier(max_depth=1)
    a = SELF_PACED(stump, 3, random_state=0).fit(X, y, sample_weight=heavy)
    b = SELF_PACED(stump, 3, random_state=0).fit(X, y)
    assert (a.predict(X) == "rare").mean() > (b.predict(X) == "rare").mean()


def test_routed_metadata_reach_the_members(four):
    X, y = four
    cost = np.random.default_rng(0).uniform(0.5, 2, (len(y), 3))
    w = (np.arange(len(y)) % 4 > 0).astype(float)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        SELF_PACED(MLPClassifier((4,)), 2).fit(X, y, cost=cost)
    with sklearn.config_context(enable_metadata_routing=True):
        net = MLPClassifier((4,), loss=ExpectedCost(), max_iter=3).set_fit_request(cost=True)
        model = SELF_PACED(net, 2, random_state=0).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        model.fit(X, y, sample_weight=w, cost=cost)
        scores = cross_validate(model, X, y, params={"sample_weight": w, "cost": cost}, cv=2)
    rows = model.estimators_samples_[1]
    kept = np.flatnonzero(w > 0)
    last = model.estimators_[1]
    alone = MLPClassifier(**last.get_params(deep=False))
    alone.fit(X[kept][rows], y[kept][rows], sample_weight=w[kept][rows], cost=cost[kept][rows])
    np.testing.assert_allclose(alone.coefs_[0], last.coefs_[0])
    assert np.isfinite(scores["test_score"]).all()


def test_probabilities_refer_to_the_population():
    X, y = make_classification(
        8000, 6, n_informative=4, weights=[0.95], class_sep=0.7, random_state=0
    )
    for make in (SELF_PACED, CASCADE):
        model = make(LogisticRegression(), random_state=0).fit(X[:4000], y[:4000])
        balanced = model._balanced(X[4000:])
        assert log_loss(y[4000:], model.predict_proba(X[4000:])) < 0.7 * log_loss(
            y[4000:], balanced
        )


@pytest.mark.parametrize("loss", [None, Focal(), AnyLoss("f1")])
def test_population_equals_nets_one_by_one(loss, four):
    X, y = four
    base = MLPClassifier((8,), loss=loss, max_iter=8, batch_size=32)
    if isinstance(loss, AnyLoss):
        keep = y != "medium"
        X, y = X[keep], y[keep]
        base.set_params(batch_size="auto")
    X = X.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = PopulationBaggingClassifier(base, 4, random_state=0).fit(X, y)
        for net, rows in zip(model.estimators_, model.estimators_samples_, strict=True):
            alone = MLPClassifier(**net.get_params(deep=False)).fit(X[rows], y[rows])
            for ours, theirs in zip(net.coefs_, alone.coefs_, strict=True):
                np.testing.assert_allclose(ours, theirs, atol=1e-9)
    np.testing.assert_allclose(
        model.decision_function(X), np.mean([n.decision_function(X) for n in model.estimators_], 0)
    )


def test_bags(four):
    X, y = four
    n = pd.Series(y).value_counts()
    balanced = PopulationBaggingClassifier(NETS, 2, random_state=0).fit(X, y)
    counts = pd.Series(y[balanced.estimators_samples_[0]]).value_counts()
    assert counts.to_dict() == dict.fromkeys(n.index, n.min())
    plain = PopulationBaggingClassifier(NETS, 2, power=1.0, random_state=0).fit(X, y)
    assert pd.Series(y[plain.estimators_samples_[1]]).value_counts().to_dict() == n.to_dict()
    assert (balanced.predict(X) == "rare").mean() > (plain.predict(X) == "rare").mean()
    share = balanced.predict_proba(X).mean(0)
    np.testing.assert_allclose(share, balanced.prior_, atol=0.03)


def test_bagging_errors(four):
    X, y = four
    with pytest.raises(ValueError, match="use scikit-learn's BaggingClassifier"):
        PopulationBaggingClassifier(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="must be None"):
        PopulationBaggingClassifier(MLPClassifier(prior=[0.5, 0.3, 0.2])).fit(X, y)


def test_in_searches(four):
    X, y = four
    search = GridSearchCV(
        SELF_PACED(DecisionTreeClassifier()),
        {"estimator__max_depth": [2, 6], "k_bins": [2, 5]},
        scoring="balanced_accuracy",
        cv=3,
    )
    assert search.fit(X, y).best_score_ > 0.5
    nets = PopulationBaggingClassifier(MLPClassifier((8,), max_iter=10), 2)
    search = GridSearchCV(nets, {"estimator__loss": [None, Focal()]}, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 2
    assert BaggingClassifier(CASCADE(n_estimators=2), 2).fit(X, y).predict(X).shape == y.shape
