"""Weights between the start and the end of fine-tuning."""

import pickle

import numpy as np
import pytest
from refusals import check_refusal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from skimb.linear_model import LinearClassifier
from skimb.losses import CrossEntropy
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
from skimb.posthoc import InterpolatedClassifier
from skimb.training import Mixup

KW = {"max_iter": 15, "tol": 0, "random_state": 0, "learning_rate_init": 0.01}


class Normed(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, n_outputs)
        )

    def forward(self, X):
        return self.parts(X)


NETS = {
    "mlp": lambda: MLPClassifier((8,), **KW),
    "linear": lambda: LinearClassifier(solver="adam", **KW),
    "module": lambda: NeuralNetClassifier(**KW),
    "normed": lambda: NeuralNetClassifier(Normed, **KW),
}


@pytest.fixture
def moved(three):
    """Old rows and new ones, the new ones shifted."""
    X, y = three
    return X[::2], y[::2], X[1::2] + 0.7, y[1::2]


@pytest.mark.parametrize("kind", NETS)
def test_the_ends_of_the_path_are_start_and_end(kind, moved):
    X, y, X_new, y_new = moved
    start = NETS[kind]().fit(X, y)
    before = start.predict_proba(X_new)
    model = InterpolatedClassifier(start).fit(X_new, y_new)
    np.testing.assert_array_equal(start.predict_proba(X_new), before)  # the given one stays
    low, high, middle, near = model.path([0.0, 1.0, 0.5, 1e-6])
    np.testing.assert_array_equal(low.predict_proba(X), start.predict_proba(X))
    np.testing.assert_array_equal(high.predict_proba(X), model.end_.predict_proba(X))
    assert not np.allclose(low.predict_proba(X), high.predict_proba(X))
    np.testing.assert_array_equal(middle.predict_proba(X), model.predict_proba(X))
    if kind != "normed":  # whose running statistics are those of the new rows
        np.testing.assert_allclose(near.decision_function(X), start.decision_function(X), atol=1e-3)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))


def test_of_a_linear_model_scores_are_averaged(moved):
    X, y, X_new, y_new = moved
    for solver in ("lbfgs", "adam"):
        start = LinearClassifier(solver=solver, **KW).fit(X, y)
        model = InterpolatedClassifier(start, alpha=0.3).fit(X_new, y_new)
        ends = [m.decision_function(X) for m in (model.start_, model.end_)]
        np.testing.assert_allclose(model.decision_function(X), 0.7 * ends[0] + 0.3 * ends[1])


def test_all_weights_are_averaged_and_hidden_units_have_an_order(moved):
    X, y, X_new, y_new = moved
    start = MLPClassifier((8,), **KW).fit(X, y)
    model = InterpolatedClassifier(start, alpha=0.25).fit(X_new, y_new)
    for of in ("coefs_", "intercepts_"):
        for a, b, c in zip(
            *(getattr(m, of) for m in (start, model.end_, model.estimator_)), strict=True
        ):
            np.testing.assert_allclose(c, 0.75 * a + 0.25 * b)
    # the same end with its hidden units in another order is the same net, and the mean another one
    module = model.end_.net_.module_
    weights, biases = module.split(module.flat.detach())
    order = np.arange(8)[::-1].copy()
    before = model.end_.decision_function(X)
    weights[0].copy_(weights[0][:, :, order].clone())
    biases[0].copy_(biases[0][:, order].clone())
    weights[1].copy_(weights[1][:, order].clone())
    np.testing.assert_allclose(model.end_.decision_function(X), before)
    (other,) = model.path([0.25])
    assert not np.allclose(other.decision_function(X), model.decision_function(X), atol=0.1)


def test_training_goes_on_from_the_mean(moved):
    X, y, X_new, y_new = moved
    start = MLPClassifier((8,), **KW).fit(X, y)
    model = InterpolatedClassifier(start).fit(X_new, y_new)
    on = model.estimator_
    before = [c.copy() for c in on.coefs_]
    on.set_params(learning_rate_init=1e-12).partial_fit(X_new, y_new)
    for a, b in zip(before, on.coefs_, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_statistics_of_batches_are_taken_anew(moved):
    X, y, X_new, y_new = moved
    start = NETS["normed"]().fit(X, y)
    model = InterpolatedClassifier(start).fit(X_new, y_new)
    first, norm = model.estimator_.net_.module_.parts[:2]
    import torch

    with torch.no_grad():
        hidden = first(torch.from_numpy(X_new))
    np.testing.assert_allclose(norm.running_mean, hidden.mean(0), rtol=1e-6)
    np.testing.assert_allclose(norm.running_var, hidden.var(0), rtol=1e-6)
    assert norm.momentum == 0.1


def test_the_share_is_chosen_on_validation_rows(moved):
    X, y, X_new, y_new = moved
    start = MLPClassifier((8,), **KW).fit(X, y)
    both = np.r_[X, X_new], np.r_[y, y_new]
    model = InterpolatedClassifier(start, alpha="auto", fine_tuning={"max_iter": 60})
    model.fit(X_new, y_new, X_valid=both[0], y_valid=both[1])
    assert model.scores_.shape == (11,)
    assert model.score(*both) == model.scores_.max()
    assert model.alpha_ == model.scores_.argmax() / 10
    counts = model.corrections(*both)
    right = [m.predict(both[0]) == both[1] for m in (start, model.end_, model)]
    assert counts["corrected"] == np.mean(~right[0] & ~right[1] & right[2])
    assert counts["spoilt"] == np.mean(right[0] & right[1] & ~right[2])
    assert counts["between"] == model.score(*both)


def test_fine_tuning_has_its_own_parameters(moved):
    X, y, X_new, y_new = moved
    start = make_pipeline(StandardScaler(), MLPClassifier((8,), **KW)).fit(X, y)
    tuning = {"max_iter": 3, "loss": CrossEntropy(label_smoothing=0.2), "mix": Mixup()}
    model = InterpolatedClassifier(start, fine_tuning=tuning).fit(X_new, y_new)
    end = model.end_[-1]
    assert end.n_iter_ == 3
    assert end.loss_function_.label_smoothing == 0.2
    assert end.warm_start is False
    np.testing.assert_array_equal(model.estimator_[0].mean_, start[0].mean_)
    weighted = InterpolatedClassifier(start, fine_tuning=tuning)
    weighted.fit(X_new, y_new, sample_weight=np.where(y_new == "rare", 9.0, 1.0))
    assert not np.allclose(weighted.predict_proba(X), model.predict_proba(X))


def test_a_frozen_net_survives_clones(moved):
    X, y, X_new, y_new = moved
    start = MLPClassifier((8,), **KW).fit(X, y)
    model = clone(InterpolatedClassifier(FrozenEstimator(start))).fit(X_new, y_new)
    plain = InterpolatedClassifier(start).fit(X_new, y_new)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    search = GridSearchCV(model, {"alpha": [0.0, 0.5, 1.0]}, cv=2).fit(X_new, y_new)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    before = model.predict(X)
    model.set_params(alpha=1.0, fine_tuning={"max_iter": 1})
    np.testing.assert_array_equal(model.predict(X), before)


REFUSED = {
    "tree": (lambda m: InterpolatedClassifier(DecisionTreeClassifier()).fit(m[0], m[1]), "DecisionTree"),
    "not fitted": (lambda m: InterpolatedClassifier(MLPClassifier()).fit(m[0], m[1]), "MLPClassifier"),
    "no validation": (
        lambda m: InterpolatedClassifier(MLPClassifier((4,), **KW).fit(m[0], m[1]), alpha="auto").fit(m[2], m[3]),
        "alpha",
    ),
    "share": (
        lambda m: InterpolatedClassifier(MLPClassifier((4,), **KW).fit(m[0], m[1])).fit(m[2], m[3]).path([1.5]),
        "alphas",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, moved):
    call, name = REFUSED[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        call(moved)
    check_refusal(caught.value, [name])


def test_other_classes_are_refused(moved):
    X, y, X_new, y_new = moved
    start = MLPClassifier((4,), **KW).fit(X, y)
    with pytest.raises(ValueError, match="same classes"):
        InterpolatedClassifier(start).fit(X_new, np.where(y_new == "rare", "new", y_new))
