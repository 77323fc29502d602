"""What the engine owes to losses: features, memory, schedules, adversaries, costs of rows."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AdversarialCompSum,
    BalancedMSE,
    ClassPrior,
    CompSum,
    CrossEntropy,
    Deferred,
    DynamicReweighting,
    EqualizationV2,
    ExpectedCost,
    Focal,
    GradientHarmonized,
    InfluenceBalanced,
    MannWhitney,
    Mixed,
    QuadraticWeightedKappa,
    Target,
)
from skimb.neural_network import MLPClassifier, MLPRegressor, NeuralNetClassifier


@pytest.fixture(scope="module")
def rare():
    X, y = make_classification(
        600, 10, n_informative=6, weights=[0.9], class_sep=1.2, random_state=0
    )
    return X, y


@pytest.fixture(scope="module")
def three():
    X, y = make_classification(
        500, 8, n_informative=5, n_classes=3, weights=[0.7, 0.2], class_sep=1.3, random_state=1
    )
    return X, y


class WithFeatures(nn.Module):
    def __init__(self, n_features=10, n_outputs=1):
        super().__init__()
        self.hidden = nn.Linear(n_features, 8)
        self.out = nn.Linear(8, n_outputs)

    def forward(self, X):
        h = torch.relu(self.hidden(X))
        return self.out(h), h


class Plain(WithFeatures):
    def forward(self, X):
        return super().forward(X)[0]


# --- features --------------------------------------------------------------------------------


def test_influence_balanced_sees_the_inputs_of_the_output_layer(rare):
    X, y = rare
    loss = InfluenceBalanced(alpha=1.0)
    kw = {"loss": loss, "max_iter": 1, "batch_size": 600, "shuffle": False, "tol": 0.0}
    linear = LinearClassifier(solver="sgd", learning_rate_init=1.0, momentum=0.0, alpha=0.0, **kw)
    linear.fit(X, y)  # one step from zero: the gradient with norms of the rows themselves
    bound = linear._head.bound
    sign = torch.as_tensor(2.0 * y - 1.0)
    norm = torch.as_tensor(np.abs(X).sum(1))
    _, grad = bound.loss_grad(torch.zeros(600, dtype=torch.float64), Target(sign, inputs=norm))
    np.testing.assert_allclose(linear.coef_[0], -(X.T @ grad.numpy()), rtol=1e-8)
    _, plain = bound.loss_grad(torch.zeros(600, dtype=torch.float64), Target(sign))
    assert not np.allclose(linear.coef_[0], -(X.T @ plain.numpy()))


def test_influence_balanced_trains_every_kind_of_net(rare):
    X, y = rare
    loss = Deferred(InfluenceBalanced(alpha=1.0), start=0.5)
    kw = {"loss": loss, "max_iter": 30, "learning_rate_init": 0.01, "random_state": 0}
    assert MLPClassifier((8,), **kw).fit(X, y).score(X, y) > 0.9
    assert MLPClassifier((8,), **kw).fit(sparse.csr_matrix(X), y).score(X, y) > 0.9
    assert NeuralNetClassifier(WithFeatures, **kw).fit(X, y).score(X, y) > 0.9
    with pytest.raises(ValueError, match="pair"):
        NeuralNetClassifier(Plain, **kw).fit(X, y)
    with pytest.raises(ValueError, match="hidden layer"):
        LinearClassifier(loss=InfluenceBalanced(), solver="adam").fit(sparse.csr_matrix(X), y)


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "sparse", "module"])
def test_losses_with_a_memory_observe_training_batches(rare, kind):
    X, y = rare
    kw = {"loss": EqualizationV2(), "max_iter": 3, "batch_size": 100, "random_state": 0}
    if kind == "module":
        model = NeuralNetClassifier(Plain, **kw).fit(X, y)
    else:
        model = MLPClassifier((4,), **kw).fit(sparse.csr_matrix(X) if kind == "sparse" else X, y)
    gathered = model._head.bound.gathered
    assert (gathered > 0).all()
    model.predict_proba(X)
    assert torch.equal(gathered, model._head.bound.gathered)


def test_partial_fit_carries_the_memory_on(rare):
    X, y = rare
    model = MLPClassifier((4,), loss=EqualizationV2(), batch_size=100, random_state=0)
    model.partial_fit(X, y)
    first = model._head.bound.gathered.clone()
    model.partial_fit(X, y)
    assert (model._head.bound.gathered > first).all()


def test_full_batches_refuse_what_they_cannot_serve(rare):
    X, y = rare
    for loss, what in [
        (EqualizationV2(), "remembers"),
        (GradientHarmonized(momentum=0.5), "remembers"),
        (AdversarialCompSum(eps=0.1), "perturbs"),
    ]:
        with pytest.raises(ValueError, match=what):
            LinearClassifier(loss=loss).fit(X, y)


# --- schedules -------------------------------------------------------------------------------


def test_deferred_losses_switch_in_training(rare):
    X, y = rare
    kw = {"max_iter": 10, "batch_size": 600, "shuffle": False, "tol": 0.0, "random_state": 0}
    late = MLPClassifier((4,), loss=Deferred(Focal(), start=0.6), **kw).fit(X, y)
    plain = MLPClassifier((4,), loss=CrossEntropy(), **kw).fit(X, y)
    np.testing.assert_allclose(late.loss_curve_[:6], plain.loss_curve_[:6], rtol=1e-12)
    assert late.loss_curve_[6] < 0.6 * plain.loss_curve_[6]  # the focal value of the same net
    always = MLPClassifier((4,), loss=Deferred(Focal(), start=0.0), **kw).fit(X, y)
    focal = MLPClassifier((4,), loss=Focal(), **kw).fit(X, y)
    np.testing.assert_allclose(always.predict_proba(X), focal.predict_proba(X), rtol=1e-12)


def test_warm_up_and_patience(rare):
    X, y = rare
    loss = Mixed(MannWhitney(), share=0.0, warmup=4)
    kw = {"max_iter": 8, "batch_size": 600, "shuffle": False, "random_state": 0}
    model = MLPClassifier((4,), loss=loss, tol=0.0, **kw).fit(X, y)
    plain = MLPClassifier((4,), loss=CrossEntropy(), tol=0.0, **kw).fit(X, y)
    np.testing.assert_allclose(model.loss_curve_[:4], plain.loss_curve_[:4], rtol=1e-12)
    assert model.loss_curve_[4] != plain.loss_curve_[4]
    # epochs before the switch do not count towards stopping
    model = MLPClassifier((4,), loss=Deferred(Focal(), start=0.9), tol=10.0, n_iter_no_change=2)
    model.set_params(max_iter=20, batch_size=600, random_state=0).fit(X, y)
    assert model.n_iter_ >= 18


def test_dynamic_reweighting_starts_uniformly(rare):
    X, y = rare
    kw = {"max_iter": 10, "batch_size": 600, "shuffle": False, "tol": 0.0, "random_state": 0}
    model = MLPClassifier((4,), loss=DynamicReweighting(warmup=0.3), **kw).fit(X, y)
    plain = MLPClassifier((4,), **kw).fit(X, y)
    np.testing.assert_allclose(model.loss_curve_[:3], plain.loss_curve_[:3], rtol=1e-12)
    assert model.loss_curve_[3] != plain.loss_curve_[3]


# --- adversaries -----------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["inf", "l2"])
@pytest.mark.parametrize("data", ["rare", "three"])
def test_the_attack_reaches_the_supremum_of_a_linear_model(data, norm, request):
    """For a linear model the worst margin shift is known: the dual norm of the weights."""
    from skimb.engine.adversarial import Adversary, Ball, moved_margins
    from skimb.engine.module import ModuleBackend

    X, y = request.getfixturevalue(data)
    columns = 1 if data == "rare" else 3
    module = nn.Linear(X.shape[1], columns).double()
    bound = AdversarialCompSum(eps=0.3, norm=norm, n_steps=40).bind(ClassPrior.of(y))
    x = torch.as_tensor(X[:50])
    z = module(x).detach()
    z = z.squeeze(-1) if columns == 1 else z
    code = bound.encode(torch.as_tensor(y[:50]), z).code
    ball = Ball(bound.attack.eps, norm, bound.attack.n_steps)
    worst = Adversary(seed=0).perturbed(ModuleBackend(module), x, z, code, ball, moved_margins)
    shift = worst - x
    size = shift.abs().amax(1) if norm == "inf" else shift.norm(dim=1)
    assert (size <= 0.3 + 1e-9).all()
    if columns == 1:
        w = module.weight.detach()[0]
        best = 0.3 * (w.abs().sum() if norm == "inf" else w.norm())
        moved = (module(worst).detach().squeeze(-1) - z).abs()
        assert (moved <= best * (1 + 1e-6)).all()
        np.testing.assert_allclose(moved, best.item(), rtol=1e-6 if norm == "inf" else 0.02)


@pytest.mark.parametrize("kind", ["mlp", "module", "linear"])
def test_adversarial_training_makes_margins_steadier(rare, kind):
    X, y = rare
    kw = {"max_iter": 40, "learning_rate_init": 0.01, "random_state": 0, "tol": 0.0}

    def make(eps):
        loss = AdversarialCompSum(tau=1.0, eps=eps, nu=2.0, n_steps=4)
        if kind == "mlp":
            return MLPClassifier((8,), loss=loss, **kw)
        if kind == "linear":
            return LinearClassifier(loss=loss, solver="adam", **kw)
        return NeuralNetClassifier(Plain, loss=loss, **kw)

    rng = np.random.default_rng(0)
    nudge = 0.3 * rng.choice([-1.0, 1.0], size=X.shape)
    moves = []
    for eps in (0.0, 0.3):
        model = make(eps).fit(X, y)
        moves.append(np.abs(model.decision_function(X + nudge) - model.decision_function(X)).mean())
        assert model.score(X, y) > 0.85
    assert moves[1] < 0.8 * moves[0]
    again = make(0.3).fit(X, y)
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))


def test_no_adversary_is_comp_sum(three):
    X, y = three
    kw = {"max_iter": 5, "random_state": 0}
    a = MLPClassifier((4,), loss=AdversarialCompSum(0.5, eps=0.0), **kw).fit(X, y)
    b = MLPClassifier((4,), loss=CompSum(0.5), **kw).fit(X, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-10)
    with pytest.raises(ValueError, match="sparse"):
        MLPClassifier((4,), loss=AdversarialCompSum(eps=0.1)).fit(sparse.csr_matrix(X), y)


# --- costs of rows ---------------------------------------------------------------------------


def test_costs_of_rows_change_decisions(rare):
    X, y = rare
    n = len(y)
    cheap = np.where(X[:, 0] > 0, 1.0, 30.0)  # a missed positive costs 30 on one side of a feature
    cost = np.zeros((n, 2))
    cost[y == 0, 1] = 1.0
    cost[y == 1, 0] = cheap[y == 1]
    model = MLPClassifier((8,), loss=Mixed(ExpectedCost(), 0.1), max_iter=120, learning_rate_init=0.01, random_state=0)  # fmt: skip
    plain = clone(model).fit(X, y)
    own = clone(model).fit(X, y, cost=cost)

    def total(fitted):
        return cost[np.arange(n), fitted.predict(X)].sum()

    assert total(own) < total(plain)
    four = np.column_stack([np.ones(n), cheap, np.zeros(n), np.zeros(n)])  # FP, FN, TP, TN
    same = clone(model).fit(X, y, cost=four)
    np.testing.assert_array_equal(same.predict(X), own.predict(X))
    weight = np.r_[np.ones(n - 50), np.zeros(50)]
    fewer = clone(model).fit(X, y, sample_weight=weight, cost=cost)
    without = clone(model).fit(X[:-50], y[:-50], cost=cost[:-50])
    np.testing.assert_allclose(fewer.decision_function(X), without.decision_function(X), atol=1e-8)


def test_costs_of_rows_with_validation_lbfgs_and_chunks(three):
    X, y = three
    cost = np.random.default_rng(0).random((len(y), 3))
    kw = {"loss": ExpectedCost(), "random_state": 0}
    model = MLPClassifier((4,), early_stopping=True, max_iter=5, **kw).fit(X, y, cost=cost)
    assert len(model.validation_scores_) == model.n_iter_
    assert np.isfinite(LinearClassifier(**kw).fit(X, y, cost=cost).coef_).all()
    model = MLPClassifier((4,), **kw)
    for part in (slice(0, 250), slice(250, 500)):
        model.partial_fit(X[part], y[part], classes=[0, 1, 2], cost=cost[part])
    assert model.t_ == 500


def test_costs_are_routed_as_metadata(rare):
    X, y = rare
    cost = np.random.default_rng(0).random((len(y), 2))
    with config_context(enable_metadata_routing=True):
        inner = LinearClassifier(loss=ExpectedCost(), max_iter=20).set_fit_request(cost=True)
        model = make_pipeline(StandardScaler(), inner)
        done = cross_validate(model, X, y, cv=3, params={"cost": cost}, return_estimator=True)
    plain = cross_validate(
        make_pipeline(StandardScaler(), inner), X, y, cv=3, return_estimator=True
    )
    a, b = (d["estimator"][0][-1].coef_ for d in (done, plain))
    assert not np.allclose(a, b)


def test_wrong_costs_are_named(rare, three):
    X, y = rare
    with pytest.raises(ValueError, match=r"\(600, 2\)"):
        LinearClassifier(loss=ExpectedCost()).fit(X, y, cost=np.ones((600, 3)))
    with pytest.raises(TypeError, match="ExpectedCost"):
        LinearClassifier(loss=Focal()).fit(X, y, cost=np.ones((600, 2)))
    with pytest.raises(ValueError, match="cost"):
        LinearClassifier(loss=ExpectedCost()).fit(X, y, cost=np.full((600, 2), np.nan))


# --- grades and rare target values -----------------------------------------------------------


def test_ordinal_agreement_counts_distances():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 5))
    grade = np.digitize(X @ [1.0, 0.5, 0, 0, 0] + 0.5 * rng.normal(size=800), [-1.5, 0.5, 1.6])
    from sklearn.metrics import cohen_kappa_score

    model = MLPClassifier((8,), loss=Mixed(QuadraticWeightedKappa(), 0.5), max_iter=100, learning_rate_init=0.01, random_state=0)  # fmt: skip
    assert cohen_kappa_score(grade, model.fit(X, grade).predict(X), weights="quadratic") > 0.8


@pytest.mark.parametrize("method", ["bmc", "gai", "bni"])
def test_balanced_squared_error_undoes_the_label_density(method):
    """Labels near 5 with noise in the feature: the squared error learns a slope near 0.2, not 1."""
    rng = np.random.default_rng(0)
    y = rng.normal(5.0, 0.5, 1024)
    X = (y - rng.normal(0.0, 1.0, 1024))[:, None]
    kw = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.0, "max_iter": 1000, "tol": 1e-8}
    kw["max_fun"] = 5000
    loss = BalancedMSE(method, noise_sigma=1.0, learn_sigma=False, n_components=1)
    slopes = [MLPRegressor(l, **kw).fit(X, y).coefs_[0][0, 0] for l in ("squared_error", loss)]
    assert 0.1 < slopes[0] < 0.3
    assert 0.85 < slopes[1] < 1.15


def test_the_noise_scale_is_learned():
    rng = np.random.default_rng(0)
    y = rng.normal(5.0, 0.5, 1024)
    X = (y - rng.normal(0.0, 1.0, 1024))[:, None]
    model = MLPRegressor(
        BalancedMSE(noise_sigma=1.5, sigma_lr=0.01), hidden_layer_sizes=(), solver="adam", tol=0.0,
        learning_rate_init=0.02, batch_size=256, max_iter=400, n_iter_no_change=400, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert 0.8 < model.noise_sigma_ < 1.2
    assert 0.8 < model.coefs_[0][0, 0] < 1.2
    again = model.partial_fit(X, y)
    assert again.noise_sigma_ != 1.8
    with pytest.raises(ValueError, match="stochastic"):
        MLPRegressor(BalancedMSE(), solver="lbfgs").fit(X, y)
    with pytest.raises(ValueError, match="one target"):
        MLPRegressor(BalancedMSE("bni")).fit(X, np.column_stack([y, y]))
    two = MLPRegressor(BalancedMSE("gai", n_components=2), (4,), max_iter=5, random_state=0)
    assert two.fit(X, np.column_stack([y, -y])).predict(X).shape == (1024, 2)
