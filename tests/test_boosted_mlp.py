"""A net grown by boosting."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.ensemble import GradientBoostedMLPClassifier
from skimb.ensemble._units import _problem, fit_blocks
from skimb.losses import AnyLoss, BalancedSoftmax, Focal, LogitAdjusted

QUICK = {"n_estimators": 12, "max_iter": 60, "random_state": 0}


@parametrize_with_checks(
    [GradientBoostedMLPClassifier(n_estimators=25, max_iter=50)],
    expected_failed_checks=lambda e: dict.fromkeys(("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"), "shares of rows are drawn by number, so repeated rows are other draws; exact with subsample=1"),
)  # fmt: skip
def test_sklearn_checks(estimator, check):
    check(estimator)


@parametrize_with_checks([GradientBoostedMLPClassifier(n_estimators=2, subsample=1.0, max_iter=10)])
def test_sklearn_checks_on_all_rows(estimator, check):
    if "sample_weight_equivalence" in str(check):
        check(estimator)


@pytest.fixture(scope="module")
def two():
    return make_classification(500, 6, n_informative=4, weights=[0.9], random_state=0)


@pytest.fixture(scope="module")
def several():
    X, y = make_classification(
        500, 8, n_classes=4, n_informative=6, weights=[0.6, 0.2, 0.15], random_state=1
    )
    return X, np.array(list("abcd"))[y]


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu"])
def test_blocks(activation):
    """Value and gradient of the fit, and candidates that do not touch each other."""
    rng = np.random.RandomState(0)
    X, r = rng.normal(size=(80, 5)), rng.normal(size=(80, 3))
    w = rng.uniform(0.5, 1, 80)
    w /= w.sum()
    theta, objective, split = _problem(X, r, w, 2, 3, activation, 0.01, rng)
    value, grad = objective(theta)
    W, b, V, c = split(theta)
    act = {"logistic": expit, "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}[activation]
    by_hand = 0.0
    for k in range(3):
        out = act(X @ W[:, 2 * k : 2 * k + 2] + b[2 * k : 2 * k + 2]) @ V[k] + c[k]
        by_hand += 0.5 * (w[:, None] * (r - out) ** 2).sum()
    by_hand += 0.005 * ((W**2).sum() + (V**2).sum())
    assert value == pytest.approx(by_hand)
    step = 1e-6 * np.eye(len(theta))
    slope = [(objective(theta + e)[0] - objective(theta - e)[0]) / 2e-6 for e in step]
    np.testing.assert_allclose(grad, slope, atol=1e-8)
    blocks, _ = fit_blocks(X, r, w, 2, 3, activation, 0.0, 500, rng)
    start = (w[:, None] * (r - w @ r) ** 2).sum()
    assert max((w[:, None] * (r - block(X)) ** 2).sum() for block in blocks) < start


@pytest.mark.parametrize("loss", [None, Focal(), LogitAdjusted(), BalancedSoftmax()])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_one_net_is_the_same_model(loss, class_weight, two, several):
    for X, y in (two, several):
        model = GradientBoostedMLPClassifier(
            loss, units_per_stage=2, class_weight=class_weight, **QUICK
        ).fit(X, y)
        net = model.to_mlp()
        assert net.coefs_[0].shape == (X.shape[1], 24)
        for method in ("decision_function", "predict_proba"):
            np.testing.assert_allclose(
                getattr(net, method)(X), getattr(model, method)(X), atol=1e-12
            )
        np.testing.assert_array_equal(net.predict(X), model.predict(X))
        again = pickle.loads(pickle.dumps(net))
        np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-12)


def test_the_net_can_be_trained_on(two):
    X, y = two
    model = GradientBoostedMLPClassifier(**QUICK).fit(X, y)
    net = model.to_mlp().set_params(warm_start=True, max_iter=3, random_state=0)
    before = net.predict_proba(X)
    net.fit(X, y)
    after = net.predict_proba(X)
    assert 0 < np.abs(after - before).max() < 0.2


def test_every_prefix_is_a_model(several):
    X, y = several
    model = GradientBoostedMLPClassifier(**QUICK).fit(X, y)
    stages = list(model.staged_decision_function(X))
    assert len(stages) == 12
    np.testing.assert_allclose(stages[-1], model.decision_function(X), atol=1e-12)
    for n in (1, 5):
        short = model.truncate(n)
        np.testing.assert_allclose(short.decision_function(X), stages[n - 1], atol=1e-12)
        np.testing.assert_allclose(
            list(model.staged_predict_proba(X))[n - 1], short.predict_proba(X)
        )
        np.testing.assert_array_equal(list(model.staged_predict(X))[n - 1], short.predict(X))
        again = GradientBoostedMLPClassifier(**{**QUICK, "n_estimators": n}).fit(X, y)
        np.testing.assert_allclose(again.decision_function(X), stages[n - 1], atol=1e-9)
    assert model.n_iter_ == 12
    with pytest.raises(ValueError, match="from 0 to the 12 stages"):
        model.truncate(13)


def test_no_stage_is_the_prior(several):
    X, y = several
    model = GradientBoostedMLPClassifier(n_estimators=0).fit(X, y)
    prior = np.unique(y, return_counts=True)[1] / len(y)
    np.testing.assert_allclose(model.predict_proba(X), np.tile(prior, (len(y), 1)), atol=1e-8)
    with pytest.raises(ValueError, match="no unit"):
        model.to_mlp()


@pytest.mark.parametrize("newton", ["common", "per_class"])
@pytest.mark.parametrize("loss", [None, Focal(2.0)])
def test_training_loss_never_rises(loss, newton, several):
    X, y = several
    model = GradientBoostedMLPClassifier(loss, learning_rate=1.0, newton=newton, **QUICK).fit(X, y)
    assert (np.diff(model.loss_curve_) <= 0).all()
    assert model.loss_curve_[-1] < 0.9 * model.loss_curve_[0]


def test_step_is_newtons(two):
    """One stage, log-loss: the step from the formula with residuals 2y / (1 + exp(2yF)) on the scale of half log odds."""
    X, y = two
    model = GradientBoostedMLPClassifier(
        n_estimators=1, learning_rate=1.0, subsample=1.0, random_state=0
    ).fit(X, y)
    sign, F0 = 2 * y - 1, 0.5 * np.log(y.mean() / (1 - y.mean()))
    out = model.blocks_[0](X)[:, 0]  # the step included, on the scale of log odds
    r = 2 * sign / (1 + np.exp(2 * sign * F0))
    again = (r * out).sum() / (np.abs(r) * (2 - np.abs(r)) * out**2).sum()
    assert again == pytest.approx(0.5, rel=1e-6)  # log odds are 2F


def test_weights_are_replication(two):
    X, y = two
    w = np.random.default_rng(0).integers(0, 4, len(y))
    kw = {"n_estimators": 3, "subsample": 1.0, "random_state": 0, "max_iter": 15}
    a = GradientBoostedMLPClassifier(**kw).fit(X, y, sample_weight=w)
    b = GradientBoostedMLPClassifier(**kw).fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-9)


def test_candidates_help_the_first_stage(several):
    X, y = several
    first = []
    for c in (1, 8):
        kw = {"n_estimators": 1, "n_candidates": c, "units_per_stage": 3, "subsample": 1.0}
        fits = [GradientBoostedMLPClassifier(**kw, random_state=s).fit(X, y) for s in range(6)]
        first.append(np.mean([model.loss_curve_[-1] for model in fits]))
    assert first[1] < first[0]


def test_early_stopping_and_weights(two):
    X, y = two
    model = GradientBoostedMLPClassifier(
        n_estimators=60, early_stopping=True, n_iter_no_change=5, validation_scoring="average_precision",
        validation_fraction=0.3, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert model.n_iter_ == len(model.blocks_) < 60
    weighted = GradientBoostedMLPClassifier(class_weight="balanced", **QUICK).fit(X, y)
    assert weighted.predict(X).mean() > 1.5 * y.mean()
    assert abs(weighted.predict_proba(X)[:, 1].mean() - y.mean()) < 0.03  # weights are undone
    assert average_precision_score(y, weighted.predict_proba(X)[:, 1]) > 0.5


def test_sparse_rows_and_errors(two):
    X, y = two
    X = np.where(np.abs(X) < 0.5, 0, X)
    kw = {"n_estimators": 5, "max_iter": 10, "random_state": 0}  # long fits magnify rounding
    dense = GradientBoostedMLPClassifier(**kw).fit(X, y)
    thin = GradientBoostedMLPClassifier(**kw).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(thin.predict_proba(X), dense.predict_proba(X), atol=1e-6)
    with pytest.raises(ValueError, match="couples the rows"):
        GradientBoostedMLPClassifier(AnyLoss("f1")).fit(X, y)
    search = GridSearchCV(
        GradientBoostedMLPClassifier(Focal(), **QUICK), {"loss__gamma": [0.0, 2.0]}, cv=2
    ).fit(X, y)
    assert search.best_score_ > 0.85
