"""Adversarial training, its schemes and losses, and scores of attacked rows."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from refusals import check_refusal
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skimb.engine.adversarial import AdversarialTraining, Ball, Separation, WorstCase, evaluating
from skimb.engine.data import Batch
from skimb.engine.module import ModuleBackend
from skimb.engine.optim import Adam
from skimb.engine.step import Step
from skimb.functional.adversarial import cross_entropy_slope, kl_distance
from skimb.functional.reweighting import worst_case_mean
from skimb.inspection import make_robust_scorer, robust_scores
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AdversarialCompSum,
    AnyLoss,
    ClassPrior,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    Target,
)
from skimb.neural_network import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    RobustMLPClassifier,
)
from skimb.training import ClassPowerSampler

KW = {"max_iter": 6, "tol": 0, "random_state": 0, "batch_size": 100}
METHODS = ["at", "reweighted", "srat", "done", "trades", "smooth_comp_sum"]


def robust(method="at", **kw):
    return RobustMLPClassifier((8,), method, **{"n_steps": 3, **KW, **kw})


def curve(model, X, y):
    return model.fit(X, y).loss_curve_


# --- the ball ------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["inf", "l2"])
@pytest.mark.parametrize("eps", [0.3, [0.3, 0.0, 0.1, 1.0]])
def test_rows_stay_in_the_ball_in_the_box_and_where_they_are_fixed(norm, eps):
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(60, 4)))
    w = torch.from_numpy(rng.normal(size=4))
    ball = Ball.of("Test", X, eps, norm, 9, [3], (-1.0, [1.0, 1.0, 1.0, 0.5]))
    generator = torch.Generator().manual_seed(0)
    worst = ball.worst(X, lambda x: x @ w, lambda z: torch.ones_like(z), generator)
    radius = np.broadcast_to(eps, 4).copy()
    radius[3] = 0.0
    u = (worst - X).numpy() / np.where(radius > 0, radius, 1.0)
    size = np.abs(u).max(1) if norm == "inf" else np.linalg.norm(u, axis=1)
    assert (size <= 1 + 1e-12).all()
    assert (worst - X)[:, torch.from_numpy(radius == 0)].abs().max() == 0
    inside = (X >= -1.0) & (torch.tensor([1.0, 1.0, 1.0, 0.5]) >= X)
    assert ((worst >= -1.0) & (worst <= 1.0))[inside].all()
    assert ((worst - X).abs() <= torch.from_numpy(radius) + 1e-12).all()


def test_the_worst_rows_of_a_linear_model_are_known():
    rng = np.random.default_rng(0)
    X, w = torch.from_numpy(rng.normal(size=(30, 5))), torch.from_numpy(rng.normal(size=5))
    up = torch.ones(30, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = Ball(0.2, "inf", 7).worst(X, lambda x: x @ w, lambda z: up, generator)
    torch.testing.assert_close(found, X + 0.2 * w.sign())
    eps = np.array([0.1, 0.2, 0.3, 0.0, 0.5])
    ball = Ball.of("Test", X, eps, "l2", 200)
    found = ball.worst(X, lambda x: x @ w, lambda z: up, generator)
    scaled = torch.from_numpy(eps) * w  # steepest direction within the ellipsoid
    torch.testing.assert_close((found - X) @ w, scaled.norm().expand(30), rtol=0.05, atol=0.0)


def test_an_attack_leaves_no_gradient_and_the_mode_of_the_module():
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 1)).double()
    X = torch.randn(10, 3, dtype=torch.float64)
    before = torch.random.get_rng_state()
    with evaluating(module):
        Ball(0.1, "inf", 3).worst(
            X, lambda x: module(x)[:, 0], torch.ones_like, torch.Generator().manual_seed(0)
        )
    assert module.training
    assert all(p.grad is None for p in module.parameters())
    torch.testing.assert_close(torch.random.get_rng_state(), before)


# --- formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 3), (6,)])
def test_divergence_and_its_gradients(shape):
    z, moved = (torch.randn(shape, dtype=torch.float64).requires_grad_() for _ in range(2))
    code = torch.zeros(6, dtype=torch.long)
    if len(shape) == 2:
        p, q = z.softmax(-1), moved.softmax(-1)
        wanted = (p * (p / q).log()).sum(-1)
    else:
        p, q = z.sigmoid(), moved.sigmoid()
        wanted = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    found, there, here = kl_distance(moved.detach(), z.detach(), code)
    torch.testing.assert_close(found, wanted.detach())
    a, b = torch.autograd.grad(wanted.sum(), [moved, z])
    torch.testing.assert_close(there, a)
    torch.testing.assert_close(here, b)
    far = torch.full(shape, 500.0, dtype=torch.float64)
    far[..., :1] *= -1
    assert all(torch.isfinite(part).all() for part in kl_distance(-far, far, code))


def test_slope_of_cross_entropy():
    z = torch.randn(7, 3, dtype=torch.float64).requires_grad_()
    code = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    (wanted,) = torch.autograd.grad(nn.functional.cross_entropy(z, code, reduction="sum"), z)
    torch.testing.assert_close(cross_entropy_slope(z.detach(), code), wanted)
    one = torch.randn(7, dtype=torch.float64).requires_grad_()
    truth = (code > 0).double()
    loss = nn.functional.binary_cross_entropy_with_logits(one, truth, reduction="sum")
    (wanted,) = torch.autograd.grad(loss, one)
    torch.testing.assert_close(cross_entropy_slope(one.detach(), truth), wanted)
    torch.testing.assert_close(cross_entropy_slope(one.detach(), 2 * truth - 1), wanted)


def test_worst_case_mean_is_the_maximum_and_its_weights_the_gradient():
    losses = (4 * torch.rand(50, dtype=torch.float64)).requires_grad_()
    q = torch.rand(50, dtype=torch.float64)
    q = q / q.mean()
    for reference in (None, q):
        value, w, _ = worst_case_mean(losses, temperature=0.5, reference=reference)
        torch.testing.assert_close(w.sum(), torch.ones((), dtype=torch.float64))
        (grad,) = torch.autograd.grad(value, losses)
        torch.testing.assert_close(grad, w.detach())
        share = torch.ones(50, dtype=torch.float64) if reference is None else reference
        attained = (w * losses).sum() - 0.5 * (w * (50 * w / share).log()).sum()
        torch.testing.assert_close(attained.detach(), value.detach())
        other = torch.rand(50, dtype=torch.float64)
        other = other / other.sum()
        less = (other * losses).sum() - 0.5 * (other * (50 * other / share).log()).sum()
        assert less < value
    plain = worst_case_mean(losses.detach(), temperature=0.5)
    shifted = worst_case_mean(losses.detach() + 7, temperature=0.5)
    torch.testing.assert_close(plain[1], shifted[1])
    order = torch.randperm(50)
    torch.testing.assert_close(
        worst_case_mean(losses.detach()[order], temperature=0.5)[1], plain[1][order]
    )
    mean = worst_case_mean(losses.detach(), temperature=1e6)[0]
    torch.testing.assert_close(mean, losses.detach().mean(), rtol=1e-5, atol=0)
    extreme = worst_case_mean(losses.detach() * 1000, temperature=1.0)
    assert all(torch.isfinite(part).all() for part in extreme)
    torch.testing.assert_close(
        worst_case_mean(losses.detach(), temperature=1e-3)[0],
        losses.max().detach(),
        rtol=5e-3,
        atol=0,
    )


def test_the_running_mean_takes_the_bias_of_small_batches_away():
    generator = torch.Generator().manual_seed(0)
    losses = 4 * torch.rand(4000, generator=generator, dtype=torch.float64)
    whole = (worst_case_mean(losses, temperature=0.5)[1] * losses).sum().item()
    scheme = WorstCase(0.5, None, 0.1)
    alone, running = [], []
    for batch in losses.split(8):
        _, w, own = worst_case_mean(batch, temperature=0.5)
        alone.append((w * batch).sum().item())
        running.append((w * torch.exp(own - scheme.follow(own)) * batch).sum().item())
    assert whole == pytest.approx(3.5, abs=0.03)
    assert np.mean(alone) < whole - 0.15  # draws towards the mean
    assert abs(np.mean(running) - whole) < 0.6 * (whole - np.mean(alone))
    steady = WorstCase(0.5, None, 0.1)
    for _ in range(3):
        steady.follow(torch.tensor(1.25))
    assert steady.log_mean.item() == pytest.approx(1.25)


def test_separation_adds_the_contrastive_loss_and_its_gradient():
    torch.manual_seed(0)

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = nn.Linear(3, 5), nn.Linear(5, 3)

        def forward(self, X):
            a = torch.tanh(self.hidden(X))
            return self.out(a), a

    module = Pair().double()
    reference = copy.deepcopy(module)
    X, y = torch.randn(9, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 1])
    backend = ModuleBackend(module)
    bound = CrossEntropy().bind(ClassPrior(counts=[3, 4, 2]))
    step = Step(backend, bound, Adam(backend.parameters))
    value = Separation(0.3, 0.5).gradients(Batch(X, Target(y)), step)
    z, a = reference(X)
    u = a / a.norm(dim=1, keepdim=True)
    s = u @ u.T / 0.5
    loss = 0.0
    for i in range(9):
        mates = [p for p in range(9) if p != i and y[p] == y[i]]
        others = torch.stack([s[i, k] for k in range(9) if k != i])
        loss -= sum(s[i, p] - torch.logsumexp(others, 0) for p in mates) / len(mates) / 9
    total = nn.functional.cross_entropy(z, y) + 0.3 * loss
    total.backward()
    torch.testing.assert_close(value, total.detach())
    for p, q in zip(module.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    few = Batch(X[:3], Target(torch.tensor([0, 1, 2])))
    alone = Separation(0.3, 0.5).gradients(few, step)
    torch.testing.assert_close(alone, step.evaluated(few)[0])  # rows without a mate add nothing


# --- the classifier ------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["rare", "three"])
@pytest.mark.parametrize("method", METHODS)
def test_without_a_radius_training_is_plain(method, data, request):
    X, y = request.getfixturevalue(data)
    more = {
        "reweighted": {"class_weight": "balanced"},
        "srat": {"sampler": ClassPowerSampler(0.0)},
        "smooth_comp_sum": {"loss": AdversarialCompSum(0.4, 2.0)},
    }.get(method, {})
    own = {"tau": 0.4, "rho": 2.0, "separation": 0.0, "dro_temperature": 1e9}
    model = robust(method, eps=0.0, **own).fit(X, y)
    plain = MLPClassifier((8,), **KW, **more).fit(X, y)
    rtol = 1e-5 if method == "done" else 1e-12
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), rtol=rtol)


@pytest.mark.parametrize("method", METHODS)
def test_an_adversary_changes_training(method, three):
    X, y = three
    a, b = (curve(robust(method, eps=eps), X, y) for eps in (0.0, 0.2))
    assert b[-1] > a[-1]


def test_the_smooth_loss_is_the_one_of_the_losses(rare):
    X, y = rare
    model = robust("smooth_comp_sum", eps=0.2, tau=0.4, strength=2.0)
    loss = AdversarialCompSum(0.4, nu=2.0, eps=0.2, n_steps=3)
    np.testing.assert_allclose(
        curve(model, X, y), curve(MLPClassifier((8,), loss=loss, **KW), X, y), rtol=1e-9
    )


def test_the_classifier_is_the_scheme(three):
    X, y = three
    scheme = AdversarialTraining(eps=0.2, n_steps=3, dro_temperature=0.5, dro_prior="balanced")
    model = robust("done", eps=0.2, dro_temperature=0.5, dro_prior="balanced")
    wanted = curve(MLPClassifier((8,), scheme=scheme, **KW), X, y)
    np.testing.assert_allclose(curve(model, X, y), wanted, rtol=1e-12)
    assert not np.allclose(curve(model.set_params(dro_prior="uniform"), X, y), wanted)
    of_module = NeuralNetClassifier(scheme=scheme, **KW).fit(X, y)
    thin = NeuralNetClassifier(scheme=scheme, **KW).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(of_module.predict_proba(X), thin.predict_proba(X), rtol=1e-6)
    assert LinearClassifier(solver="adam", scheme=scheme, **KW).fit(X, y).n_iter_ == 6


def test_adversarial_training_makes_nets_robust(three):
    X, y = three
    X = StandardScaler().fit_transform(X)
    kw = {"max_iter": 60, "tol": 0, "learning_rate_init": 0.01, "random_state": 0}
    scores = {
        method: robust_scores(
            RobustMLPClassifier((16,), method, eps=0.4, strength=4.0, **kw).fit(X, y),
            X, y, eps=0.4, random_state=0,
        )
        for method in METHODS
    }  # fmt: skip
    plain = robust_scores(MLPClassifier((16,), **kw).fit(X, y), X, y, eps=0.4, random_state=0)
    for method in ("at", "trades", "smooth_comp_sum"):
        assert scores[method].robust_accuracy > plain.robust_accuracy + 0.03, method
    assert scores["reweighted"].robust_recalls[2] > scores["at"].robust_recalls[2] + 0.1
    assert scores["srat"].robust_recalls[2] > scores["at"].robust_recalls[2] + 0.1


def test_fixed_features_by_name_number_and_mask(rare):
    X, y = rare
    frame = pd.DataFrame(X, columns=list("abcdefghij"))
    named = robust(eps=0.3, fixed_features=["b", "j"]).fit(frame, y)
    assert np.flatnonzero(named.fixed_features_).tolist() == [1, 9]
    mask = np.isin(np.arange(10), [1, 9])
    for given in ([1, 9], [1, -1], mask):
        model = robust(eps=0.3, fixed_features=given).fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), named.predict_proba(frame))
    free = robust(eps=0.3).fit(X, y)
    assert not np.allclose(free.predict_proba(X), named.predict_proba(frame))
    all_fixed = robust(eps=0.3, fixed_features=range(10)).fit(X, y)
    plain = MLPClassifier((8,), **KW).fit(X, y)
    np.testing.assert_array_equal(all_fixed.predict_proba(X), plain.predict_proba(X))


def test_early_stopping_scores_moved_rows(rare):
    X, y = rare
    kw = {**KW, "early_stopping": True}
    plain = MLPClassifier((8,), **kw).fit(X, y)
    attacked = robust("trades", strength=0.0, eps=0.3, **kw).fit(X, y)  # trains as plain does
    np.testing.assert_allclose(attacked.loss_curve_, plain.loss_curve_)
    assert (np.array(attacked.validation_scores_) < plain.validation_scores_).all()
    whole = robust("trades", strength=0.0, eps=0.0, **kw).fit(X, y)
    np.testing.assert_allclose(whole.validation_scores_, plain.validation_scores_)


@pytest.mark.parametrize("method", METHODS)
def test_training_goes_on_where_it_stopped(method, rare):
    X, y = rare
    model = robust(method, eps=0.2).partial_fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    model.partial_fit(X, y)
    again.partial_fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    if method in ("at", "done"):  # starts and the running mean go on too
        starts = [k for k in model._scheme_state if k.endswith("draws")]
        fresh = robust(method, eps=0.2).partial_fit(X, y)
        assert (fresh._scheme_state[starts[0]] != model._scheme_state[starts[0]]).any()


def test_weights_costs_and_labels_go_along(rare):
    X, y = rare
    w = np.where(y == 1, 3.0, 1.0)
    for method in METHODS:
        plain = robust(method, eps=0.2).fit(X, y).predict_proba(X)
        assert not np.allclose(robust(method, eps=0.2).fit(X, y, w).predict_proba(X), plain)
    labels = np.stack([y, X[:, 0] > 0], 1).astype(int)
    for method in ("at", "done", "trades"):
        assert robust(method, eps=0.2).fit(X, labels).predict_proba(X).shape == (600, 2)
    assert robust(loss=AnyLoss(), eps=0.2).fit(X, y).n_iter_ == 6
    assert robust(loss=LogitAdjusted(), eps=0.2, class_weight="balanced").fit(X, y).n_iter_ == 6


REFUSED = {
    "sparse": (lambda X, y: robust().fit(sparse.csr_matrix(X), y), "RobustMLPClassifier"),
    "regression": (
        lambda X, y: MLPRegressor(scheme=AdversarialTraining(), **KW).fit(X, X[:, 0]),
        "AdversarialTraining",
    ),
    "eps": (lambda X, y: robust(eps=[0.1, 0.2]).fit(X, y), "eps"),
    "negative": (lambda X, y: robust(eps=[-0.1] * 10).fit(X, y), "eps"),
    "name": (lambda X, y: robust(fixed_features=["a"]).fit(X, y), "fixed_features"),
    "unknown name": (
        lambda X, y: robust(fixed_features=["z"]).fit(
            pd.DataFrame(X, columns=list("abcdefghij")), y
        ),
        "fixed_features",
    ),
    "number": (lambda X, y: robust(fixed_features=[10]).fit(X, y), "fixed_features"),
    "fraction": (lambda X, y: robust(fixed_features=[0.5]).fit(X, y), "fixed_features"),
    "clip": (lambda X, y: robust(clip=(1.0, 0.0)).fit(X, y), "clip"),
    "own loss": (lambda X, y: robust("smooth_comp_sum", loss=Focal()).fit(X, y), "loss"),
    "coupled": (lambda X, y: robust("done", loss=AnyLoss()).fit(X, y), "AnyLoss"),
    "no layer": (lambda X, y: RobustMLPClassifier((), "srat", **KW).fit(X, y), "srat"),
    "labels": (lambda X, y: robust("srat").fit(X, np.stack([y, 1 - y], 1)), "sampler"),
    "labels apart": (
        lambda X, y: robust("srat", class_weight="balanced").fit(X, np.stack([y, 1 - y], 1)),
        "srat",
    ),
    "both": (
        lambda X, y: MLPClassifier(
            (8,), scheme=AdversarialTraining(objective="kl", separation=0.1), **KW
        ).fit(X, y),
        "separation",
    ),
    "linear": (
        lambda X, y: LinearClassifier(
            solver="adam", scheme=AdversarialTraining(separation=0.1), **KW
        ).fit(X, y),
        "separation",
    ),
    "no net": (
        lambda X, y: robust_scores(LogisticRegression().fit(X, y), X, y, eps=0.1),
        "LogisticRegression",
    ),
    "sparse rows": (
        lambda X, y: robust_scores(
            MLPClassifier((4,), **KW).fit(sparse.csr_matrix(X), y), sparse.csr_matrix(X), y, eps=0.1
        ),
        "sparse",
    ),
    "labels scored": (
        lambda X, y: robust_scores(
            robust().fit(X, np.stack([y, 1 - y], 1)), X, np.stack([y, 1 - y], 1), eps=0.1
        ),
        "labels",
    ),
    "scoring": (lambda X, y: make_robust_scorer("f1", eps=0.1), "scoring"),
    "no radius": (lambda X, y: make_robust_scorer(), "eps"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, rare):
    call, name = REFUSED[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*rare)
    check_refusal(caught.value, [name])


# --- scores of attacked rows ---------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["inf", "l2"])
def test_scores_of_a_linear_model_are_exact(rare, norm):
    X, y = rare
    model = LinearClassifier().fit(X, y)
    w, b = model.coefs_[0][:, 0], model.intercepts_[0][0]
    eps = 0.3
    found = robust_scores(model, X, y, eps=eps, norm=norm, n_steps=60, random_state=0)
    margin = np.where(y == 1, 1, -1) * (X @ w + b)
    worst = margin - eps * (np.abs(w).sum() if norm == "inf" else np.linalg.norm(w))
    np.testing.assert_allclose(found.clean_margins, margin)
    np.testing.assert_allclose(found.margins, worst, atol=1e-9 if norm == "inf" else 0.05)
    assert (found.margins >= worst - 1e-9).all()
    assert found.clean_accuracy == model.score(X, y)
    if norm == "inf":
        assert found.robust_accuracy == np.mean(worst > 0)
        recalls = [np.mean(worst[y == k] > 0) for k in (0, 1)]
        np.testing.assert_allclose(found.robust_recalls, recalls)
        assert found.robust_balanced_accuracy == pytest.approx(np.mean(recalls))
        assert found.tail(0.3) == pytest.approx(min(recalls))
        np.testing.assert_array_equal(found.weakest(5), np.argsort(worst)[:5])
        weighted = robust_scores(model, X, y, eps=eps, sample_weight=y + 1.0, random_state=0)
        assert weighted.robust_accuracy == pytest.approx(np.average(worst > 0, weights=y + 1))


def test_scores_of_several_classes_lie_near_the_exact_ones(three):
    X, y = three
    model = LinearClassifier().fit(X, y)
    W, b = model.coefs_[0], model.intercepts_[0]
    code, z = np.searchsorted(model.classes_, y), X @ model.coefs_[0] + b
    rows = np.arange(len(y))
    gaps = z[rows, code][:, None] - z
    reach = np.abs(W[:, code].T[:, :, None] - W[None]).sum(1)
    worst = np.where(np.eye(3)[code] > 0, np.inf, gaps - 0.3 * reach).min(1)
    found = robust_scores(model, X, y, eps=0.3, n_restarts=2, random_state=0)
    assert (found.margins >= worst - 1e-9).all()
    assert np.mean(found.margins <= worst + 1e-6) > 0.97
    assert (np.abs(found.rows - X) <= 0.3 + 1e-12).all()


def test_scores_of_a_pipeline_are_in_scaled_units(rare):
    X, y = rare
    model = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=30, random_state=0))
    model.fit(100 * X, y)
    found = robust_scores(model, 100 * X, y, eps=0.2, fixed_features=[0], random_state=0)
    rows = model[:-1].transform(100 * X)
    again = robust_scores(model[-1], rows, y, eps=0.2, fixed_features=[0], random_state=0)
    np.testing.assert_array_equal(found.margins, again.margins)
    assert (found.rows[:, 0] == rows[:, 0]).all()
    assert found.robust_accuracy < found.clean_accuracy == model.score(100 * X, y)
    whole = robust_scores(model, 100 * X, y, eps=0.0, random_state=0)
    np.testing.assert_array_equal(whole.margins, whole.clean_margins)


def test_a_scorer_for_searches(rare):
    X, y = rare
    scorer = make_robust_scorer("robust_accuracy", eps=0.3, n_steps=5)
    model = robust(eps=0.3).fit(X, y)
    direct = robust_scores(model, X, y, eps=0.3, n_steps=5, random_state=0).robust_accuracy
    assert scorer(model, X, y) == direct
    search = GridSearchCV(robust(), {"eps": [0.0, 0.3]}, scoring=scorer, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
