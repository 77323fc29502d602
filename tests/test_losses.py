"""The loss contract over every exported loss, and the values of the literature."""

import importlib
import pkgutil

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.model_selection import ParameterGrid

import skimb.losses
from skimb import functional
from skimb.losses import (
    LDAM,
    LDR,
    AdaptiveLDR,
    AdversarialCompSum,
    AnyLoss,
    Asymmetric,
    AUCMargin,
    BinaryFocal,
    ClassBalanced,
    ClassPrior,
    CompSum,
    CrossEntropy,
    Deferred,
    Dice,
    DistributionBalanced,
    DynamicReweighting,
    Equalization,
    ErrorFocused,
    ExpectedCost,
    Focal,
    GradientHarmonized,
    InfluenceBalanced,
    LabelAwareSmoothing,
    LambdaRank,
    LogitAdjusted,
    Loss,
    Lovasz,
    MannWhitney,
    Mixed,
    MultiFocal,
    NonNegativePU,
    PartialAUC,
    Poly,
    PolyFocal,
    QuadraticWeightedKappa,
    RecallAtBudget,
    ScoreOriented,
    Seesaw,
    SeparatedKappa,
    SoftmaxBound,
    SoftmaxEqualization,
    SupervisedContrastive,
    Target,
    Tversky,
    TwoWay,
    VectorScaling,
    all_losses,
)
from skimb.losses.confusion import METRICS
from skimb.testing import (
    check_gradient,
    check_in_force,
    check_requires,
    check_targets,
    check_unchanged,
    loss_checks,
    make_batch,
)


def f2_of_counts(tp, fp, fn, tn):
    return 5.0 * tp / (5.0 * tp + 4.0 * fn + fp)


# awkward points beside the grids: exponents below one, edges of ranges, other variants
AWKWARD = [
    Focal(gamma=0.3),
    Focal(gamma=1.0),
    CrossEntropy(label_smoothing=0.2),
    CompSum(tau=0.0),
    CompSum(tau=1.7),
    Poly(epsilon=-1.0),
    Asymmetric(gamma_neg=0.5, gamma_pos=0.5, clip=0.0),
    Asymmetric(gamma_neg=1.5, gamma_pos=2.0, clip=0.2),
    LDAM(max_margin=2.0, scale=30.0),
    Dice(alpha=1.0, squared=False),
    Dice("set", squared=False),
    Dice("set", alpha=0.5, smooth=0.1),
    Tversky(alpha=0.3, gamma=1.5, smooth=0.5),
    ScoreOriented("mcc", distribution="uniform"),
    AnyLoss("f1", average="confusion"),
    AnyLoss("mcc", average="confusion"),
    AnyLoss("gmean", 4.0, average="confusion"),
    AnyLoss("accuracy", average="confusion"),
    AnyLoss("balanced_accuracy", average="confusion"),
    AnyLoss("fbeta", beta=2.0, threshold=0.3),
    *[AnyLoss(metric) for metric in METRICS],
    ClassBalanced("auto", gamma=0.5),
    LabelAwareSmoothing(0.5, 0.0),
    Seesaw(1.5, 1.0),
    SoftmaxEqualization(0.05, 0.5),
    InfluenceBalanced(alpha=1.0, eps=0.1, beta="auto"),
    LDR(0.3, 0.0),
    LDR(3.0, 0.5),
    AdaptiveLDR(margin=0.0),
    AdaptiveLDR(10.0, alpha=1.1),
    AdaptiveLDR(0.1, n_iter=30),
    PolyFocal(0.5, -1.0),
    BinaryFocal(0.5, 0.75),
    MultiFocal(clip=0.0, w_pos=0.5),
    DistributionBalanced(gamma=0.0, spread=2.0, mu=0.3),
    Equalization(0.1),
    GradientHarmonized(bins=5, momentum=0.5),
    TwoWay(1.0, 2.0),
    Mixed(ExpectedCost("balanced"), 0.5),
    Mixed(Focal(2.0), 0.5),
    Mixed(QuadraticWeightedKappa(), 0.5),
    SeparatedKappa(form="log"),
    SeparatedKappa(background=1, power=2.0, temperature=2.0),
    Mixed(Lovasz(), 0.3),
    Mixed(SupervisedContrastive(0.5), 0.5),
    MannWhitney(method="binned", n_bins=64),
    PartialAUC(0.4, "logistic"),
    Mixed(AUCMargin(3.0), 0.2),
    Deferred(InfluenceBalanced()),
    Deferred(Focal(), before=MannWhitney()),
    DynamicReweighting(Focal(), "quadratic", 0.2),
    DynamicReweighting(None, "extremes", max_weight=2.0),
    ErrorFocused("exp", 0.5),
    AdversarialCompSum(0.4, rho=0.5),
    Mixed(Dice("set", hard_negatives=1.0), 0.2),
    Mixed(AnyLoss(), 0.3, warmup=2),
    AnyLoss(smooth=1.0, undefined="smooth"),
    *[MannWhitney(s) for s in ("logistic", "hinge", "squared_hinge", "squared")],
    AnyLoss(f2_of_counts),
    LambdaRank("ndcg", 3, temperature=0.5, normalize=False),
    RecallAtBudget(0.3, "rank", rank_temperature=0.5),
    NonNegativePU(0.9, beta=0.2, gamma=0.5, balanced_prior=0.4),
]
CASES = [cls() for cls in all_losses()] + AWKWARD


@pytest.mark.parametrize("loss", CASES, ids=lambda loss: repr(loss).split(" at 0x")[0])
@pytest.mark.parametrize("check", loss_checks(), ids=lambda check: check.__name__)
def test_contract(loss, check):
    check(loss)


@pytest.mark.parametrize("cls", all_losses(), ids=lambda cls: cls.__name__)
def test_every_grid_point_is_valid(cls):
    for params in ParameterGrid(cls.grid()):
        for task in sorted(cls().tasks):
            cls(**params).bind(make_batch(task).prior)


def test_all_losses_lists_every_public_loss():
    found = set()
    for module in pkgutil.iter_modules(skimb.losses.__path__):
        for value in vars(importlib.import_module(f"skimb.losses.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Loss) and value is not Loss:
                found.add(value)
    found = {cls for cls in found if "._" not in f"{cls.__module__}.{cls.__name__}"}
    assert found == set(all_losses())
    assert len(found) >= 40
    for task in ("binary", "multiclass", "multilabel"):
        assert set(all_losses(task)) == {cls for cls in found if task in cls().tasks}


def test_the_contract_can_fail():
    class Wrong(Focal):
        def _bind(self, prior):
            bound = super()._bind(prior)
            entries = bound.entries
            bound.entries = lambda z, code, f=1.0: (
                entries(z, code)[0],
                1.01 * f * entries(z, code)[1],
            )
            return bound

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        check_gradient(Wrong())


class Counting(SoftmaxBound):
    """Changes with every call."""

    def entries(self, logits, target, factor=1.0):
        self.gain += 1.0
        return super().entries(logits, target, factor)


class Coupled(SoftmaxBound):
    """Says that it couples rows, and does not."""

    requires = frozenset({"batch"})


class Restless(SoftmaxBound):
    """Makes a loss in force for every question."""

    def at(self, epoch, n_epochs):
        return self.replaced()


class Lenient(SoftmaxBound):
    """Takes any target."""

    def encode(self, target, logits, cost=None):
        return Target(target.long().clamp(0, self.n_classes - 1))


@pytest.mark.parametrize(
    ("bound", "check", "match"),
    [
        (Counting, check_unchanged, "changed its attributes"),
        (Coupled, check_requires, "scope is 'row'"),
        (Restless, check_in_force, "two objects"),
        (Lenient, check_targets, "must be refused"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_each_check_of_use_can_fail(bound, check, match):
    class Wrong(CrossEntropy):
        tasks = frozenset({"multiclass"})

        def _bind(self, prior):
            return bound()

    with pytest.raises(AssertionError, match=match):
        check(Wrong())


@pytest.mark.parametrize("loss", [ExpectedCost(), Mixed(ExpectedCost())], ids=repr)
def test_costs_of_rows_have_a_finite_column_per_class(loss):
    batch = make_batch("multiclass")
    bound, cost = loss.bind(batch.prior), np.ones((12, 4))
    for wrong in (cost[:, :3], cost[:-1], cost[0], np.where(np.eye(12, 4), np.nan, 1.0)):
        with pytest.raises(ValueError, match=r"cost (of shape|holds)"):
            bound.encode(batch.target, batch.logits, wrong)
    target = bound.encode(batch.target, batch.logits, cost)
    assert bound.loss_grad(batch.logits, target)[0] > 0.0


# --- values of the literature ----------------------------------------------------------------

Z3 = torch.tensor([[2, -1, 0.5], [0.1, 0.2, -0.3]], dtype=torch.float64)
Y3 = torch.tensor([0, 2])
COUNTS3 = ClassPrior(counts=[100, 10, 1])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CrossEntropy(), [0.241311, 1.420828]),
        (Focal(2.0), [0.011093, 0.817403]),
        (CompSum(0.0), [0.272917, 3.140546]),
        (CompSum(0.5), [0.256473, 2.069666]),
        (CompSum(1.5), [0.227322, 1.017118]),
        (Poly(2.0), [0.670117, 2.937800]),
        (LogitAdjusted(1.0), [0.007184, 5.116014]),
        (VectorScaling(0.3, 1.0), [0.009686, 4.883458]),
        (LDAM(), [0.277380, 1.820976]),
    ],
    ids=repr,
)
def test_golden_rows_of_three_classes(loss, expected):
    rows = loss.bind(COUNTS3).row_loss(Z3, Y3)
    np.testing.assert_allclose(rows.numpy(), expected, atol=5.1e-7)


def test_golden_rows_of_labels():
    z = torch.tensor([2, -1, 0.5, -3], dtype=torch.float64)
    t = torch.tensor([1, 0, 0, 1])
    prior = ClassPrior(counts=[2, 2])
    for loss, expected in [
        (Asymmetric(4.0, 0.0, 0.05), [0.126928, 0.000568, 0.091253, 3.048587]),
        (Asymmetric(4.0, 1.0, 0.05), [0.015130, 0.000568, 0.091253, 2.904005]),
        (Focal(2.0, alpha=0.25), [0.000451, 0.016994, 0.283059, 0.691570]),
    ]:
        rows = loss.bind(prior).row_loss(z, t)
        np.testing.assert_allclose(rows.numpy(), expected, atol=5.1e-7)


def test_golden_poly_with_the_published_cross_entropy():
    # arXiv 2204.12511 in its one-hot form: l + eps (1 - p)
    z = torch.tensor([[0.14, 1.456, 2.356, -0.124, -2.47]], dtype=torch.float64)
    ce = torch.nn.functional.cross_entropy(z, torch.tensor([2]))
    p = torch.softmax(z, -1)[0, 2]
    found = functional.poly(z, torch.tensor([2]), epsilon=2.0)[0]
    assert found.item() == pytest.approx((ce + 2 * (1 - p)).item(), abs=1e-12)


Z6 = torch.tensor([-2, -0.5, 0.3, 1.2, 2.5, -1.1], dtype=torch.float64)
Y6 = torch.tensor([0, 0, 1, 0, 1, 1])
GOLDEN6 = [
    (AnyLoss("f1"), 0.412787, [0.002210, 0.040889, -0.127276, 0.010539, -0.002337, -0.031254]),
    (AnyLoss("fbeta", beta=2.0), 0.417246, [0.000871, 0.016108, -0.157968, 0.004152, -0.002901, -0.038791]),
    (AnyLoss("balanced_accuracy"), 0.407589, [0.003717, 0.068755, -0.088954, 0.017722, -0.001634, -0.021844]),
    (AnyLoss("gmean"), 0.407723, [0.003639, 0.067309, -0.090865, 0.017349, -0.001669, -0.022313]),
    (AnyLoss("mcc"), 0.815120, [0.007471, 0.138194, -0.177136, 0.035620, -0.003253, -0.043498]),
    (AnyLoss("kappa"), 0.815178, [0.007434, 0.137510, -0.177908, 0.035444, -0.003267, -0.043688]),
    (AnyLoss("f1", 73.0), 0.334314, [0.0, 0.000250, -0.017182, 0.0, 0.0, 0.0]),
    (ScoreOriented("f1", distribution="uniform"), 0.418543, [0.010152, 0.022723, -0.057665, 0.017201, -0.016537, -0.044199]),
    (ScoreOriented("f1"), 0.408486, [0.0, 0.050591, -0.166950, 0.001605, 0.0, -0.009917]),
    (Dice(), 0.143157, [0.004040, 0.022358, -0.016316, 0.017280, -0.000730, -0.024656]),
    (Dice("set", squared=False), 0.363340, [0.009563, 0.021231, -0.046760, 0.015479, -0.011733, -0.036416]),
    (MannWhitney(), 0.642515, [0.043462, 0.111456, -0.123566, 0.203777, -0.030286, -0.204843]),
    (MannWhitney("squared_hinge"), 1.901111, [0.022222, 0.4, -0.466667, 1.155556, 0.0, -1.111111]),
    (MannWhitney("squared"), 3.904444, [-1.044444, -0.044444, -0.177778, 1.088889, 1.288889, -1.111111]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "value", "grad"), GOLDEN6, ids=lambda v: getattr(v, "__name__", None) or repr(v)[:40]
)
def test_golden_batch_of_six(loss, value, grad):
    bound = loss.bind(ClassPrior(counts=[3, 3]))
    found, slope = bound.loss_grad(Z6, bound.encode(Y6, Z6))
    assert found.item() == pytest.approx(value, abs=5.1e-7)
    np.testing.assert_allclose(slope.numpy(), grad, atol=5.1e-7)


Z5 = torch.tensor(
    [[2, 0, -1], [1, 0.5, 0], [-0.5, 1.5, 0.2], [0.3, 0.1, 0.9], [1.2, -0.3, 0.4]],
    dtype=torch.float64,
)
Y5 = torch.tensor([0, 0, 1, 2, 1])
GOLDEN5 = [
    (AnyLoss("f1", 4.0, average="confusion"), 0.478131, [-0.020898, 0.014561, 0.006336, -0.040264, 0.022358, 0.017906, 0.012789, -0.042656, 0.029867, 0.039033, 0.031490, -0.070523, 0.011992, -0.023087, 0.011095]),
    (AnyLoss("mcc", 4.0, average="confusion"), 0.708396, [-0.041180, 0.031858, 0.009322, -0.076546, 0.054266, 0.022279, 0.021096, -0.055457, 0.034361, 0.047810, 0.042545, -0.090355, 0.030474, -0.032896, 0.002421]),
    (Dice(), 0.252904, [-0.008162, 0.006815, 0.001347, -0.046411, 0.032640, 0.013771, 0.005356, -0.022693, 0.017337, 0.027200, 0.019296, -0.046496, 0.030039, -0.034372, 0.004333]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "value", "grad"), GOLDEN5, ids=lambda v: getattr(v, "__name__", None) or repr(v)[:40]
)
def test_golden_batch_of_three_classes(loss, value, grad):
    bound = loss.bind(ClassPrior(counts=[2, 2, 1]))
    found, slope = bound.loss_grad(Z5, bound.encode(Y5, Z5))
    assert found.item() == pytest.approx(value, abs=5.1e-7)
    np.testing.assert_allclose(slope.numpy().ravel(), grad, atol=5.1e-7)


# --- the naive formulas ----------------------------------------------------------------------


def _naive_ce(z, y):
    return -torch.log_softmax(z, -1).gather(-1, y[:, None])[:, 0]


NAIVE = [
    (Focal(0.5), lambda z, y, p: (1 - torch.exp(-_naive_ce(z, y))) ** 0.5 * _naive_ce(z, y)),
    (CompSum(1.5), lambda z, y, p: (torch.exp(-0.5 * _naive_ce(z, y)) - 1) / -0.5),
    (Poly(1.5), lambda z, y, p: _naive_ce(z, y) + 1.5 * (1 - torch.exp(-_naive_ce(z, y)))),
    (LogitAdjusted(0.5), lambda z, y, p: _naive_ce(z + 0.5 * torch.log(p / p.sum()), y)),
    (
        VectorScaling(0.2, 0.5),
        lambda z, y, p: _naive_ce(z * (p / p.max()) ** 0.2 + 0.5 * torch.log(p / p.sum()), y),
    ),
    (
        LDAM(0.5, 3.0),
        lambda z, y, p: _naive_ce(
            3.0 * (z - torch.eye(4)[y].double() * 0.5 * (p / p.min()) ** -0.25), y
        ),
    ),
    (
        CrossEntropy(0.1),
        lambda z, y, p: torch.nn.functional.cross_entropy(
            z, y, label_smoothing=0.1, reduction="none"
        ),
    ),
]


@pytest.mark.parametrize(
    ("loss", "naive"), NAIVE, ids=lambda v: getattr(v, "__name__", None) or repr(v)[:30]
)
def test_closed_form_is_autograd_of_the_naive_formula(loss, naive):
    batch = make_batch("multiclass")
    z = batch.logits.requires_grad_()
    counts = torch.as_tensor(batch.prior.counts)
    expected = naive(z, batch.target, counts)
    bound = loss.bind(batch.prior)
    found = bound.row_loss(z, batch.target)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    (a,) = torch.autograd.grad(found.sum(), z)
    (b,) = torch.autograd.grad(expected.sum(), z)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        ("f1", sk.f1_score),
        ("mcc", sk.matthews_corrcoef),
        ("kappa", sk.cohen_kappa_score),
        ("balanced_accuracy", sk.balanced_accuracy_score),
        ("jaccard", sk.jaccard_score),
        ("precision", sk.precision_score),
        ("recall", sk.recall_score),
        ("accuracy", sk.accuracy_score),
        ("fowlkes_mallows", None),
    ],
)
def test_sharp_anyloss_is_one_minus_the_metric(metric, score):
    rng = np.random.default_rng(0)
    z = torch.as_tensor(rng.normal(size=300))
    y = torch.as_tensor((rng.random(300) < 0.3).astype(int))
    transform = functional.confusion.Logistic(1e7)
    found, _ = functional.confusion.binary_loss(
        z, 2.0 * y.double() - 1.0, None, transform=transform, metric=metric, options={}
    )
    y, pred = y.numpy(), (z > 0).int().numpy()
    if score is None:
        expected = np.sqrt(sk.precision_score(y, pred) * sk.recall_score(y, pred))
    else:
        expected = score(y, pred)
    assert 1 - found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_metric_gradients_push_positives_up_and_negatives_down(metric):
    bound = AnyLoss(metric).bind(ClassPrior(counts=[3, 3]))
    _, grad = bound.loss_grad(Z6, bound.encode(Y6, Z6))
    assert (grad[Y6 == 1] <= 1e-15).all()
    assert (grad[Y6 == 0] >= -1e-15).all()


def test_pairs_by_brute_force():
    rng = np.random.default_rng(1)
    s = torch.as_tensor(rng.normal(size=40))
    y = torch.as_tensor((rng.random(40) < 0.3).astype(int))
    w = torch.as_tensor(rng.random(40))
    d = s[y == 1][:, None] - s[y == 0][None, :]
    pair = w[y == 1][:, None] * w[y == 0][None, :]
    pair = pair / pair.sum()
    for surrogate, psi in {
        "logistic": torch.nn.functional.softplus(-d / 0.5),
        "hinge": (1.5 - d).clamp_min(0),
        "squared_hinge": (1.5 - d).clamp_min(0) ** 2,
        "squared": (1.5 - d) ** 2,
    }.items():
        found = functional.mann_whitney(
            s, y, surrogate=surrogate, tau=0.5, margin=1.5, sample_weight=w
        )
        assert found.item() == pytest.approx((psi * pair).sum().item(), rel=1e-10)


def test_tiles_do_not_change_the_logistic_pair_loss(monkeypatch):
    s = torch.linspace(-2, 2, 50, dtype=torch.float64)
    y = (torch.arange(50) % 3 == 0).long()
    whole = functional.mann_whitney(s, y)
    monkeypatch.setattr(functional.pairs, "_TILE", 7)
    torch.testing.assert_close(functional.mann_whitney(s, y), whole)


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        (CrossEntropy(0.1), lambda z, y, b: functional.cross_entropy(z, y, label_smoothing=0.1)),
        (Focal(1.5), lambda z, y, b: functional.focal(z, y, gamma=1.5)),
        (CompSum(0.5), lambda z, y, b: functional.comp_sum(z, y, tau=0.5)),
        (Poly(2.0), lambda z, y, b: functional.poly(z, y, epsilon=2.0)),
        (
            LogitAdjusted(),
            lambda z, y, b: functional.logit_adjusted(
                z, y, log_prior=torch.as_tensor(b.prior.log_prior())
            ),
        ),
        (
            LDAM(scale=2.0),
            lambda z, y, b: functional.ldam(
                z, y, margin=torch.as_tensor(LDAM().bind(b.prior).arrays["margin"]), scale=2.0
            ),
        ),
        (
            VectorScaling(),
            lambda z, y, b: functional.vector_scaling(
                z,
                y,
                mult=torch.as_tensor(VectorScaling().bind(b.prior).arrays["mult"]),
                bias=torch.as_tensor(b.prior.log_prior()),
            ),
        ),
        (Dice(), lambda z, y, b: functional.dice(z, y)),
        (AnyLoss("mcc", 5.0), lambda z, y, b: functional.anyloss(z, y, metric="mcc", amplification=5.0)),
        (ScoreOriented(), lambda z, y, b: functional.score_oriented(z, y)),
    ],
    ids=lambda v: getattr(v, "__name__", None) or repr(v)[:30],
)  # fmt: skip
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_module_equals_functional(loss, function, task):
    batch = make_batch(task)
    bound = loss.bind(batch.prior)
    expected = function(batch.logits, batch.target, batch).mean()
    torch.testing.assert_close(bound(batch.logits, batch.target), expected)


def test_binary_only_functions_equal_their_modules():
    batch = make_batch("binary")
    for loss, expected in [
        (Asymmetric(), functional.asymmetric(batch.logits, batch.target).mean()),
        (Tversky(), functional.tversky(batch.logits, batch.target)),
        (MannWhitney(tau=2.0), functional.mann_whitney(batch.logits, batch.target, tau=2.0)),
    ]:
        torch.testing.assert_close(loss.bind(batch.prior)(batch.logits, batch.target), expected)


# --- priors and errors -----------------------------------------------------------------------


def test_prior_and_counts_are_two_things():
    prior = ClassPrior.of(["b", "a", "a", "a"], sample_weight=[3.0, 1.0, 1.0, 1.0])
    assert prior.counts.tolist() == [3, 1]
    assert prior.prior.tolist() == [0.5, 0.5]
    assert ClassPrior.of([0, 0, 1], sample_weight=[1, 0, 1]).counts.tolist() == [1, 1]


def test_absent_class_keeps_a_finite_log_prior():
    prior = ClassPrior(counts=[10, 0, 5])
    assert np.isfinite(prior.log_prior()).all()
    for cls in all_losses("multiclass"):
        bound = cls().bind(prior)
        value = bound(torch.zeros(2, 3), torch.tensor([0, 2]))
        assert torch.isfinite(value), cls


def test_effective_number_matches_the_published_weights():
    prior = ClassPrior(counts=[100, 10, 1])
    for beta, expected in [(0.9, [0.239329, 0.367442, 2.393229]), (0.9999, [0.027159, 0.270369, 2.702472])]:  # fmt: skip
        w = 1 / prior.effective_number(beta)
        np.testing.assert_allclose(w * 3 / w.sum(), expected, atol=5.1e-7)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (Focal(gamma=-1.0), "gamma"),
        (CompSum(tau=2.0), "tau"),
        (AnyLoss("f7"), "metric"),
        (AnyLoss(amplification=0.0), "amplification"),
        (ScoreOriented(mu=0.1, delta=0.3), "lower delta"),
        (LogitAdjusted(tau="much"), "tau"),
    ],
    ids=repr,
)
def test_bad_parameters_are_named(loss, match):
    with pytest.raises(ValueError, match=match):
        loss.bind(ClassPrior(counts=[5, 5]))


def test_bind_wants_a_prior():
    with pytest.raises(TypeError, match="ClassPrior"):
        Focal().bind([1, 2])
    with pytest.raises(ValueError, match="non-negative"):
        ClassPrior(counts=[-1, 2])
    with pytest.raises(ValueError, match="class_weight"):
        Focal(alpha=0.25).bind(ClassPrior(counts=[1, 2, 3]))
    with pytest.raises(ValueError, match="multi-class form"):
        AnyLoss("kappa", average="confusion").bind(ClassPrior(counts=[1, 2, 3]))


def test_undefined_batches_can_be_an_error():
    bound = AnyLoss(undefined="raise").bind(ClassPrior(counts=[5, 5]))
    with pytest.raises(ValueError, match="both classes"):
        bound(torch.zeros(3), torch.zeros(3))


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(), LogitAdjusted(), Poly(), CompSum(0.5)], ids=repr)  # fmt: skip
def test_adding_a_constant_to_all_logits_changes_nothing(loss):
    batch = make_batch("multiclass")
    bound = loss.bind(batch.prior)
    torch.testing.assert_close(
        bound(batch.logits + 3.0, batch.target), bound(batch.logits, batch.target)
    )


def test_scaling_counts_leaves_prior_losses_alone():
    batch = make_batch("multiclass")
    for loss in (LogitAdjusted(), LDAM(), VectorScaling()):
        a = loss.bind(ClassPrior(batch.prior.counts))(batch.logits, batch.target)
        b = loss.bind(ClassPrior(10 * batch.prior.counts))(batch.logits, batch.target)
        torch.testing.assert_close(a, b)


def test_second_derivatives_are_refused_rather_than_wrong():
    z = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    value = functional.focal(z, torch.tensor([0, 1, 1])).sum()
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(value, z, create_graph=True)
