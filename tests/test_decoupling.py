"""Decoupled training: what the second stage changes, and what it leaves."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from skimb.ensemble import PopulationBaggingClassifier
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AdversarialCompSum,
    CrossEntropy,
    ExpectedCost,
    Focal,
    InfluenceBalanced,
    MannWhitney,
    VectorScaling,
)
from skimb.model_selection import LossSearchCV
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
from skimb.posthoc import WeightAligner
from skimb.training import ClassPowerSampler, Mixup

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
METHODS = ["crt", "lws", "tau"]


@parametrize_with_checks(
    [MLPClassifier((8,), solver="lbfgs", decoupling="crt")],
    expected_failed_checks=lambda estimator: {
        "check_class_weight_classifiers": "the second stage balances classes; class_weight acts on the first"
    },
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def long_tail():
    X, y = load_digits(return_X_y=True)
    counts = np.geomspace(100, 8, 10).astype(int)
    train = np.concatenate([np.flatnonzero(y == k)[:n] for k, n in enumerate(counts)])
    test = np.setdiff1d(np.arange(len(y)), train)
    X = X / 16
    return X[train], y[train], X[test], y[test]


def mlp(**kw):
    return MLPClassifier(
        (16,), **{"max_iter": 40, "learning_rate_init": 0.01, "random_state": 0, **kw}
    )


def net(n_features, n_outputs, bias=True):
    return nn.Sequential(nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, n_outputs, bias=bias))


def module(**kw):
    kw = {"max_iter": 15, "learning_rate_init": 0.01, "random_state": 0, **kw}
    return NeuralNetClassifier(net, **kw)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [mlp, module, lambda **kw: module(**kw).set_params(module=None)])
def test_features_stay(make, method, long_tail):
    X, y, X_test, _ = long_tail
    plain, two = make().fit(X, y), make(decoupling=method).fit(X, y)
    a, b = (list(m.net_.module_.state_dict().values()) for m in (plain, two))
    if len(a) == 1:  # one tensor of a perceptron
        a, b = ([*m.net_.module_.coefs(), *m.net_.module_.intercepts()] for m in (plain, two))
        a, b = ([p[0], p[2], p[1], p[3]] for p in (a, b))
        a, b = ([torch.tensor(t) for t in part] for part in (a, b))
    for one, other in zip(a[:2], b[:2], strict=True):
        assert torch.equal(one, other)
    same = torch.equal(a[2], b[2])
    assert same == (method == "tau")
    if method == "lws":
        s = torch.tensor(two.class_scale_).to(a[2])
        rows = a[2] if a[2].shape[1] == 10 else a[2].T
        own = b[2] if b[2].shape[1] == 10 else b[2].T
        torch.testing.assert_close(rows * s, own)
        torch.testing.assert_close(a[3] * s, b[3])
    assert (two.predict(X_test) != plain.predict(X_test)).any()
    restored = pickle.loads(pickle.dumps(two))
    np.testing.assert_array_equal(restored.predict(X_test), two.predict(X_test))
    np.testing.assert_array_equal(restored.predict_proba(X_test), two.predict_proba(X_test))


@pytest.mark.parametrize("method", ["crt", "lws"])
def test_the_second_stage_balances(method, long_tail):
    X, y, X_test, y_test = long_tail
    plain = mlp(max_iter=15).fit(X, y)
    two = mlp(max_iter=15, decoupling=method).fit(X, y)
    scores = [balanced_accuracy_score(y_test, m.predict(X_test)) for m in (plain, two)]
    assert scores[1] > scores[0] + 0.01
    np.testing.assert_allclose(two.prior_, 0.1)
    assert len(two.head_loss_curve_) >= 5
    assert plain.head_loss_curve_ is None
    # the shift of the second stage is undone
    mean = two.predict_proba(X).mean(0)
    assert mean[0] > 1.5 * mean[5] > 2 * mean[9]


def test_a_retrained_head_is_a_linear_model_of_the_features(long_tail):
    X, y, *_ = long_tail
    two = mlp(solver="lbfgs", decoupling="crt", alpha=1e-3).fit(X, y)
    Z = np.maximum(X @ two.coefs_[0] + two.intercepts_[0], 0)
    head = MLPClassifier(
        (), solver="lbfgs", class_weight="balanced", alpha=1e-3, max_iter=40, random_state=0
    ).fit(Z, y)
    np.testing.assert_allclose(head.coefs_[0], two.coefs_[1], rtol=1e-6)
    np.testing.assert_allclose(head.predict_proba(Z), two.predict_proba(X), rtol=1e-6)


def test_norms_are_those_of_weight_aligning(long_tail):
    X, y, X_test, _ = long_tail
    two = mlp(decoupling="tau").fit(X, y)
    aligned = WeightAligner(mlp(), tau=1.0).fit(X, y)
    np.testing.assert_allclose(two.class_scale_, aligned.scale_, rtol=1e-6)
    np.testing.assert_allclose(
        two.decision_function(X_test), aligned.decision_function(X_test), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(two.predict_proba(X_test), mlp().fit(X, y).predict_proba(X_test))


def test_what_was_fitted_stays(long_tail):
    X, y, X_test, _ = long_tail
    for method in METHODS:
        model = mlp(decoupling=method, max_iter=5).fit(X, y)
        before = model.decision_function(X_test)
        model.set_params(decoupling=None)
        for now in (model, pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(now.decision_function(X_test), before)
        once = model.partial_fit(X, y)  # trains the net and its output layer as they are
        assert once._head.rescaled is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "kw",
    [
        {"early_stopping": True},
        {"class_weight": "balanced"},
        {"sampler": ClassPowerSampler(0.5)},
        {"mix": Mixup()},
        {"loss": Focal()},
        {"loss": VectorScaling()},
        {"solver": "muon"},
        {"solver": "sgd"},
        {"prior": [0.1] * 10},
        {"deferred_reweighting": 0.5, "class_weight": "balanced"},
    ],
    ids=str,
)
def test_pairs(kw, method, long_tail):
    X, y, X_test, _ = long_tail
    w = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    model = mlp(decoupling=method, max_iter=4, **kw).fit(X, y, sample_weight=w)
    found = model.predict_proba(X_test)
    np.testing.assert_allclose(found.sum(1), 1.0)
    again = clone(model).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(again.predict_proba(X_test), found)
    np.testing.assert_allclose(  # a common factor of weights does not matter
        clone(model).fit(X, y, sample_weight=4 * w).predict_proba(X_test),
        found,
        rtol=1e-4,
        atol=1e-6,
    )


def test_costs_reach_the_second_stage(long_tail):
    X, y, X_test, _ = long_tail
    cost = np.ones((len(y), 10))
    cost[np.arange(len(y)), y] = 0.0
    cost[y == 9] *= 50.0
    kw = {"loss": ExpectedCost(), "decoupling": "crt", "max_iter": 20}
    plain = mlp(**kw).fit(X, y)
    dear = mlp(**kw).fit(X, y, cost=cost)
    assert (dear.predict(X_test) == 9).sum() > (plain.predict(X_test) == 9).sum()


def test_two_classes():
    X, y = make_classification(500, weights=[0.9], random_state=0)
    two = mlp(decoupling="crt").fit(X, y)
    assert two.coefs_[1].shape == (16, 1)
    assert two.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.05)
    for method in ("lws", "tau"):
        with pytest.raises(ValueError, match=r"two classes share one score here.*use 'crt'"):
            mlp(decoupling=method).fit(X, y)
        several = mlp(decoupling=method, loss=VectorScaling(), max_iter=5).fit(X, y)
        assert several.class_scale_.shape == (2,)
    pairs = mlp(loss=MannWhitney(), decoupling="crt", max_iter=20).fit(X, y)
    p = 1 / (1 + np.exp(-pairs.decision_function(X)))
    assert p.mean() == pytest.approx(y.mean(), abs=0.01)  # the level that order leaves free


def test_sparse_rows(long_tail):
    X, y, X_test, _ = long_tail
    rows = sparse.csr_matrix(X)
    for method in METHODS:
        two = mlp(decoupling=method, max_iter=5).fit(rows, y)
        assert two.skip_coef_ is None
        np.testing.assert_allclose(
            two.predict_proba(X_test),
            two.predict_proba(sparse.csr_matrix(X_test)),
            rtol=1e-5,
            atol=1e-8,
        )
    with pytest.raises(ValueError, match="use linear_skip=False"):
        mlp(decoupling="crt", linear_skip=True).fit(rows, y)


def test_in_searches_the_second_stage_counts(long_tail):
    X, y, *_ = long_tail
    grid = {"decoupling": [None, *METHODS]}
    how = {"cv": 2, "scoring": "balanced_accuracy"}
    own = LossSearchCV(mlp(max_iter=6), losses=[CrossEntropy()], param_grid=grid, **how).fit(X, y)
    stock = GridSearchCV(mlp(max_iter=6), grid, **how).fit(X, y)
    found = [
        score
        for params, score in zip(
            own.cv_results_["params"], own.cv_results_["mean_test_score"], strict=True
        )
        if params["class_weight"] is None
    ]
    np.testing.assert_allclose(found, stock.cv_results_["mean_test_score"])
    assert len(set(found)) == 4


def test_what_cannot_be_decoupled(long_tail):
    X, y, *_ = long_tail
    with pytest.raises(ValueError, match="hidden layers \\[\\] make none"):
        MLPClassifier((), decoupling="crt").fit(X, y)
    with pytest.raises(ValueError, match="cannot perturb rows; use 'tau'"):
        mlp(decoupling="crt", loss=AdversarialCompSum(eps=0.1)).fit(X, y)
    with pytest.raises(ValueError, match="weighs rows by the output layer's inputs; use 'crt'"):
        mlp(decoupling="lws", loss=InfluenceBalanced()).fit(X, y)
    with pytest.raises(AttributeError, match="no attribute 'partial_fit'"):
        mlp(decoupling="crt").partial_fit(X, y)
    with pytest.raises(ValueError, match="multi-label y has none"):
        mlp(decoupling="crt").fit(*make_multilabel_classification(50, random_state=0))
    with pytest.raises(ValueError, match="'crt'"):
        mlp(decoupling="all").fit(X, y)
    with pytest.raises(ValueError, match="needs an output layer with bias=True"):
        module(module__bias=False, decoupling="crt").fit(X, y)

    def late(n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, n_outputs), nn.Tanh())

    with pytest.raises(ValueError, match="scores are the outputs of its last"):
        module(decoupling="crt", max_iter=1).set_params(module=late).fit(X, y)
    with pytest.raises(ValueError, match="decoupling='crt' of the base estimator must be None"):
        PopulationBaggingClassifier(mlp(decoupling="crt"), 2).fit(X, y)
    assert "decoupling" not in LinearClassifier().get_params()
