"""Learners of groups that sleep outside them."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.losses import LogitAdjusted
from skimb.neural_network import MLPClassifier
from skimb.streaming import GroupwiseOnlineClassifier
from skimb.streaming._groupwise import log_weights, shares_of


@parametrize_with_checks(
    [GroupwiseOnlineClassifier(GaussianNB()), GroupwiseOnlineClassifier(GaussianNB(), loss="log_loss")],
)  # fmt: skip
def test_sklearn_checks(estimator, check):
    check(estimator)


LINEAR = SGDClassifier(
    loss="log_loss", alpha=1e-3, learning_rate="constant", eta0=0.1, random_state=0
)


@pytest.fixture(scope="module")
def rows():
    """A tenth of the rows follows a rule of its own; the second group cuts across."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 3))
    groups = np.c_[rng.random(1500) < 0.1, X[:, 2] > 0]
    y = np.where(groups[:, 0], X[:, 0] + 0.3 * X[:, 1] < 0, X[:, 0] > 0).astype(int)
    return X, y, groups


def test_weights():
    """Golden values, and logarithms that no sum overflows."""
    R, C = np.array([0.0, 2.0, -0.5, -2.0]), np.array([0.0, 3.0, 1.0, 2.0])
    np.testing.assert_allclose(
        np.exp(log_weights(R, C)), [0.19780621, 0.51504798, 0.02127345, 0.0], atol=1e-8
    )
    shares = shares_of(
        log_weights(np.array([1e4, 1e4 - 50, -3.0]), np.full(3, 2e4)), np.ones((1, 3), bool)
    )
    assert np.isfinite(shares).all()
    assert shares[0].tolist() == sorted(shares[0], reverse=True)
    np.testing.assert_allclose(
        shares_of(np.full(3, -np.inf), np.array([[1, 0, 1]], bool)), [[0.5, 0, 0.5]]
    )


def test_regret_is_bounded_whatever_comes():
    """The bound of AdaNormalHedge, for losses drawn at random and for an expert that is best half of the time."""
    rng = np.random.default_rng(1)
    for kind in ("random", "switch"):
        m, T = 8, 2000
        R, C, awake = np.zeros(m), np.zeros(m), rng.random((T, m)) < 0.4
        awake[:, 0] = True
        losses = rng.random((T, m))
        if kind == "switch":
            losses[:1000, 1], losses[1000:, 2] = 0.0, 0.0
        for loss, mask in zip(losses, awake, strict=True):
            q = shares_of(log_weights(R, C), mask[None])[0]
            r = np.where(mask, q @ loss - loss, 0.0)
            R, C = R + r, C + np.abs(r)
        bound = np.sqrt(
            3 * C * (np.log(m) + np.log(2.5 + 1.5 * np.log1p(T)) + np.log(1 + np.log(m)))
        )
        assert (bound + 1 >= R).all()
        assert R.max() > 1  # there was something to bound


def test_no_group_is_the_learner_itself(rows):
    X, y, _ = rows
    model = GroupwiseOnlineClassifier(GaussianNB(), batch_size=50).fit(X, y)
    alone = GaussianNB()
    forecast = []
    for at in np.array_split(np.arange(1500), 30):
        if len(forecast):
            forecast.append(alone.predict_proba(X[at]))
        else:
            forecast.append(np.full((50, 2), np.nan))
        alone.partial_fit(X[at], y[at], classes=[0, 1])
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X))
    p = np.concatenate(forecast)[50:, 1]
    assert model.group_loss_[0] == pytest.approx(np.mean((p - y[50:]) ** 2))
    assert model.regret_.tolist() == [0.0]
    same = GroupwiseOnlineClassifier(GaussianNB(), batch_size=50).fit(
        X, y, groups=np.ones((1500, 1))
    )
    np.testing.assert_allclose(same.predict_proba(X, np.ones((1500, 1))), alone.predict_proba(X))


@pytest.mark.parametrize("loss", ["brier", "log_loss"])
def test_groups_gain_and_regrets_add_up(loss, rows):
    X, y, groups = rows
    model = GroupwiseOnlineClassifier(GaussianNB(), loss=loss).fit(X, y, groups=groups)
    plain = GroupwiseOnlineClassifier(GaussianNB(), loss=loss).fit(X, y)
    assert model.group_loss_[0] < 0.8 * plain.group_loss_[0]
    counted = model._losses[2]
    np.testing.assert_allclose(
        model.regret_, counted * (model.group_loss_ - model.estimator_loss_), atol=1e-9
    )
    assert model.group_count_.tolist() == [1500, *groups.sum(0)]
    assert (model.regret_[1:] < 2 * np.sqrt(3 * counted[1:])).all()
    assert model.weights_.sum() == pytest.approx(1.0)
    found = model.predict_proba(X, groups)
    np.testing.assert_allclose(found.sum(1), 1.0)
    inside = groups[:, 0]
    assert (model.predict(X, groups)[inside] == y[inside]).mean() > 0.85


def test_learners_sleep_outside_their_group(rows):
    X, y, groups = rows
    model = GroupwiseOnlineClassifier(LINEAR, batch_size=1)
    model.partial_fit(X[:200], y[:200], classes=[0, 1], groups=groups[:200])
    own = groups[:200, 0]
    assert model.estimators_[1].t_ == own.sum() + 1
    before = pickle.dumps(model.estimators_[1]), model.regret_[1]
    outside = np.flatnonzero(~groups[:, 0])[-50:]
    model.partial_fit(X[outside], y[outside], groups=groups[outside])
    assert (pickle.dumps(model.estimators_[1]), model.regret_[1]) == before
    # a group without rows has no learner and no say
    empty = np.c_[groups, np.zeros(1500)]
    with_empty = GroupwiseOnlineClassifier(GaussianNB()).fit(X, y, groups=empty)
    without = GroupwiseOnlineClassifier(GaussianNB()).fit(X, y, groups=groups)
    assert with_empty.estimators_[3] is None
    assert np.isnan(with_empty.group_loss_[3])
    np.testing.assert_allclose(with_empty.predict_proba(X, empty), without.predict_proba(X, groups))
    asked = with_empty.predict_proba(X[:5], np.ones((5, 3)))
    np.testing.assert_allclose(asked.sum(1), 1.0)


def test_chunks_pickles_and_parameters_set_later(rows):
    X, y, groups = rows
    whole = GroupwiseOnlineClassifier(LINEAR, batch_size=25).fit(
        X[:600], y[:600], groups=groups[:600]
    )
    parts = GroupwiseOnlineClassifier(LINEAR, batch_size=25)
    for at in np.array_split(np.arange(600), 6):
        parts.partial_fit(X[at], y[at], classes=[0, 1], groups=groups[at])
        parts = pickle.loads(pickle.dumps(parts))
        parts.set_params(loss="log_loss", batch_size=7, estimator__alpha=9.0)
    np.testing.assert_allclose(parts.predict_proba(X, groups), whole.predict_proba(X, groups))
    np.testing.assert_allclose(parts.regret_, whole.regret_)


def test_sparse_rows_weights_and_nets(rows):
    X, y, groups = (part[:300] for part in rows)
    w = np.arange(300) % 3
    dense = GroupwiseOnlineClassifier(BernoulliNB()).fit(X, y, groups=groups, sample_weight=w)
    thin = GroupwiseOnlineClassifier(BernoulliNB())
    thin.fit(sparse.csr_array(X), y, groups=groups, sample_weight=w)
    wanted = dense.predict_proba(X, groups)
    np.testing.assert_allclose(thin.predict_proba(sparse.csr_array(X), groups), wanted, atol=1e-6)
    kept = w > 0
    again = GroupwiseOnlineClassifier(BernoulliNB())
    again.fit(X[kept], y[kept], groups=groups[kept], sample_weight=w[kept])
    np.testing.assert_allclose(again.predict_proba(X, groups), wanted)
    assert dense.group_count_[0] == kept.sum()
    net = MLPClassifier((4,), loss=LogitAdjusted(), learning_rate_init=0.05, random_state=0)
    model = GroupwiseOnlineClassifier(net, batch_size=20).fit(X, y, groups=groups)
    assert (model.predict(X, groups) == y).mean() > 0.75


def test_groups_are_routed(rows):
    X, y, groups = rows
    wanted = GroupwiseOnlineClassifier(LINEAR).fit(X, y, groups=groups).predict(X, groups)
    with sklearn.config_context(enable_metadata_routing=True):
        model = GroupwiseOnlineClassifier(LINEAR).set_fit_request(groups=True)
        pipe = make_pipeline(FunctionTransformer(), model.set_predict_request(groups=True))
        found = pipe.fit(X, y, groups=groups).predict(X, groups=groups)
    np.testing.assert_array_equal(found, wanted)


def test_errors(rows):
    X, y, groups = rows
    model = GroupwiseOnlineClassifier(GaussianNB())
    with pytest.raises(ValueError, match="groups must be a matrix of truth values"):
        model.fit(X, y, groups=y)
    with pytest.raises(ValueError, match="groups must be a matrix of truth values"):
        model.fit(X, y, groups=groups + 0.5)
    with pytest.raises(ValueError, match=r"only one class.*Name all in classes"):
        model.partial_fit(X[y == 0], y[y == 0])
    with pytest.raises(ValueError, match="leaves no room for 6 classes"):
        GroupwiseOnlineClassifier(GaussianNB(), loss="log_loss", max_loss=2.5).fit(
            X, np.arange(1500) % 6
        )
    model.fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="fitted with 2 groups and got 0"):
        model.predict(X)
    with pytest.raises(ValueError, match=r"knows the classes \[0, 1\] and got \[2\]"):
        model.partial_fit(X[:3], [0, 1, 2], groups=groups[:3])
    with pytest.raises(ValueError, match="not finite after 1 rows of its group; use another"):
        GroupwiseOnlineClassifier(GaussianNB(), batch_size=1).fit(X, y)
    with pytest.raises(ValueError, match="'estimator' parameter of GroupwiseOnlineClassifier"):
        GroupwiseOnlineClassifier(SGDClassifier()).fit(X, y)
