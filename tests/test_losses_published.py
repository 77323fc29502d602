"""Losses against published values, naive formulas, brute force and random input."""

import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from skimb import functional
from skimb.functional import regression
from skimb.losses import (
    LDR,
    AdaptiveLDR,
    AdversarialCompSum,
    AUCMargin,
    BalancedSoftmax,
    ClassBalanced,
    ClassDependentTemperature,
    ClassPrior,
    CrossEntropy,
    Deferred,
    DistributionBalanced,
    DynamicReweighting,
    Equalization,
    EqualizationV2,
    ErrorFocused,
    ExpectedCost,
    Focal,
    GradientHarmonized,
    InfluenceBalanced,
    LabelAwareSmoothing,
    LogitAdjusted,
    Lovasz,
    MannWhitney,
    MeanAbsoluteError,
    Mixed,
    MultiFocal,
    PartialAUC,
    QuadraticWeightedKappa,
    Seesaw,
    SeparatedKappa,
    SoftmaxEqualization,
    SupervisedContrastive,
    Target,
    Tversky,
    TwoWay,
    VectorScaling,
    ZLoss,
    all_losses,
)
from skimb.testing import make_batch

Z3 = torch.tensor([[2, -1, 0.5], [0.1, 0.2, -0.3]], dtype=torch.float64)
Y3 = torch.tensor([0, 2])
COUNTS3 = ClassPrior(counts=[100, 10, 1])

# --- values of the literature and of independent derivations ---------------------------------


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (MeanAbsoluteError(), [0.214403, 0.758486]),
        (LDR(0.5, 0.1), [-0.518365, 0.426384]),
        (LDR(1.0, 0.1), [-0.835003, 0.398964]),
        (LDR(10.0, 0.1), [-1.363461, 0.370092]),
        (Seesaw(0.8, 2.0), [0.013405, 2.174957]),
    ],
    ids=repr,
)
def test_golden_rows_of_three_classes(loss, expected):
    rows = loss.bind(COUNTS3).row_loss(Z3, Y3)
    np.testing.assert_allclose(rows.numpy(), expected, atol=5.1e-7)


def test_golden_quadratic_weighted_kappa():
    p = torch.tensor(
        [
            [0.1, 0.2, 0.6, 0.1],
            [0.1, 0.5, 0.3, 0.1],
            [0.8, 0.05, 0.05, 0.1],
            [0.01, 0.09, 0.1, 0.8],
        ],
        dtype=torch.float64,
    )
    found = functional.quadratic_weighted_kappa(p.log(), torch.tensor([2, 1, 0, 3]))
    assert found.item() == pytest.approx(-1.1611923, abs=1e-6)


Z5 = torch.tensor(
    [[2, 0, -1], [1, 0.5, 0], [-0.5, 1.5, 0.2], [0.3, 0.1, 0.9], [1.2, -0.3, 0.4]],
    dtype=torch.float64,
)
Y5 = torch.tensor([0, 0, 1, 2, 1])


@pytest.mark.parametrize(
    ("loss", "value", "grad"),
    [
        (SeparatedKappa(0), 0.992054, [-0.014185, 0.012655, 0.001530, -0.024881, 0.024116, 0.000765, 0.011617, -0.039635, 0.028018, 0.028439, 0.045385, -0.073824, 0.010256, -0.021280, 0.011024]),
        (ZLoss(1.0, 0.0), 0.482540, [-0.002384, 0.007151, -0.004768, -0.018543, 0.037086, -0.018543, -0.007448, -0.004011, 0.011459, 0.018299, -0.013724, -0.004575, -0.041523, -0.047454, 0.088977]),
    ],
    ids=["sek", "z"],
)  # fmt: skip
def test_golden_batch_of_three_classes(loss, value, grad):
    bound = loss.bind(ClassPrior(counts=[2, 2, 1]))
    found, slope = bound.loss_grad(Z5, Target(Y5))
    assert found.item() == pytest.approx(value, abs=5.1e-7)
    np.testing.assert_allclose(slope.numpy().ravel(), grad, atol=5.1e-7)


def test_golden_auc_margin():
    z = torch.tensor([-2, -0.5, 0.3, 1.2, 2.5, -1.1], dtype=torch.float64)
    bound = AUCMargin().bind(ClassPrior(counts=[3, 3]))
    found, grad = bound.loss_grad(z, Target(torch.tensor([-1.0, -1, 1, -1, 1, 1])))
    assert found.item() == pytest.approx(3.904444, abs=5.1e-7)
    expected = [-1.044444, -0.044444, -0.177778, 1.088889, 1.288889, -1.111111]
    np.testing.assert_allclose(grad, expected, atol=5.1e-7)


def test_golden_dynamic_weights():
    losses = torch.tensor([0.2, 0.5, 1.0, 2.2], dtype=torch.float64)
    for strategy, expected in {
        "linupper": [0.044075, 0.093307, 0.325673, 0.536945],
        "quadratic": [0.060234, 0.215560, 0.663972, 0.060234],
        "extremes": [0.383479, 0.181143, 0.051898, 0.383479],
    }.items():
        found = functional.dynamic_weights(losses, strategy=strategy, temperature=0.4)
        np.testing.assert_allclose(found, expected, atol=5.1e-7)


def test_golden_balanced_mse():
    f = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    loss = functional.balanced_mse(f, t, sigma=1.0)
    assert loss.item() == pytest.approx(np.mean([1.220231, 1.823784, 0.517901]), abs=5e-7)
    (grad,) = torch.autograd.grad(loss, f)
    np.testing.assert_allclose(3 * grad, [0.623344, 0.132809, -0.512191], atol=5.1e-7)


def test_golden_costs():
    # total cost of decisions under per-row costs [FP, FN, TP, TN]
    cost = np.array([[4, 1, 0, 0], [1, 3, 0, 0], [2, 3, 0, 0], [2, 1, 0, 0]], float)
    y, decided = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0])
    table = np.where(y.numpy()[:, None] == 0, cost[:, [3, 0]], cost[:, [1, 2]])
    z = (decided * 2.0 - 1.0).double() * 60
    rows = functional.expected_cost(z, y, cost=torch.as_tensor(table))
    assert rows.sum().item() == pytest.approx(3.0)


# --- naive formulas --------------------------------------------------------------------------


def _ce(z, y):
    return -torch.log_softmax(z, -1).gather(-1, y[:, None])[:, 0]


def _seesaw(z, y, n):
    p = torch.softmax(z, -1).detach()
    own = p.gather(-1, y[:, None]).clamp_min(1e-2)
    s = torch.minimum((n / n[y][:, None]) ** 0.7, torch.ones(())) * (p / own).clamp_min(1.0) ** 1.5
    s = s.scatter(-1, y[:, None], 1.0)
    return -torch.log(z.exp().gather(-1, y[:, None])[:, 0] / (s * z.exp()).sum(-1))


def _equalized(z, y, n):
    w = 1 - 0.5 * (n / n.sum() < 0.1).double()
    w = w.expand(len(z), -1).scatter(-1, y[:, None], 1.0)
    return -torch.log(z.exp().gather(-1, y[:, None])[:, 0] / (w * z.exp()).sum(-1))


def _z(z, y, n):
    t = (z - z.mean(-1, keepdim=True)) / z.std(-1, correction=0, keepdim=True)
    return F.softplus(2.0 * (0.5 - t.gather(-1, y[:, None])[:, 0])) / 2.0


def _influence(z, y, n):
    p = torch.softmax(z, -1).gather(-1, y[:, None])[:, 0]
    return _ce(z, y) * 5.0 / (2 * (1 - p) + 0.1)


@pytest.mark.parametrize(
    ("loss", "naive"),
    [
        (Seesaw(0.7, 1.5), _seesaw),
        (SoftmaxEqualization(0.1, 0.5), _equalized),
        (ZLoss(2.0, 0.5), _z),
        (InfluenceBalanced(5.0, 0.1), _influence),
        (ExpectedCost("balanced"), lambda z, y, n: ((1 - torch.eye(4)[y]) * torch.softmax(z, -1)).sum(-1) * (n.sum() / (4 * n))[y]),
        (LDR(0.7, 0.4), lambda z, y, n: 0.7 * (torch.logsumexp((z - z.gather(-1, y[:, None]) + 0.4 * (1 - torch.eye(4).double()[y])) / 0.7, -1) - np.log(4))),
        (LDR(1.0, 0.0, "softplus_mean"), lambda z, y, n: _ce(F.softplus(z) / F.softplus(z).mean(-1, keepdim=True), y) - np.log(4)),
        (LDR(1.0, 0.0, "l1_mean"), lambda z, y, n: _ce(z / z.abs().mean(-1, keepdim=True), y) - np.log(4)),
    ],
    ids=lambda v: getattr(v, "__name__", None) or repr(v)[:30],
)  # fmt: skip
def test_rows_and_gradients_of_naive_formulas(loss, naive):
    batch = make_batch("multiclass")
    z = batch.logits.requires_grad_()
    expected = naive(z, batch.target, torch.as_tensor(batch.prior.counts, dtype=torch.float64))
    found = loss.bind(batch.prior).row_loss(z, batch.target)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    (a,) = torch.autograd.grad(found.sum(), z)
    (b,) = torch.autograd.grad(expected.sum(), z)
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


def _multi_focal(z, t, n, rows):
    w = (1 - torch.log(n / n.max())) ** (1 / 3)
    p = torch.sigmoid(z)
    pm = (p - 0.05).clamp_min(0.0)
    return -w * (t * torch.log(p) + (1 - t) * pm ** (3 + w) * torch.log(1 - pm))


def _distribution(z, t, n, rows):
    r = (1 / n) / (t / n).sum(-1, keepdim=True)
    weight = 0.1 + torch.sigmoid(10 * (r - 0.3))
    u = z - 0.05 * torch.log(rows / n - 1) / 2.0
    u = torch.where(t > 0, u, 2.0 * u)
    ce = F.binary_cross_entropy_with_logits(u, t, reduction="none")
    return torch.where(t > 0, weight, weight / 2.0) * (1 - torch.exp(-ce)) ** 2 * ce


def _equalization(z, t, n, rows):
    tail = (n / rows < 0.2).double()
    any_label = t.amax(-1, keepdim=True)
    weight = 1 - any_label * tail * (1 - t)
    return weight * F.binary_cross_entropy_with_logits(z, t, reduction="none")


@pytest.mark.parametrize(
    ("loss", "naive"),
    [
        (MultiFocal(), _multi_focal),
        (DistributionBalanced(mu=0.3, spread=2.0), _distribution),
        (Equalization(0.2), _equalization),
    ],
    ids=lambda v: getattr(v, "__name__", None) or repr(v)[:25],
)
def test_labels_and_gradients_of_naive_formulas(loss, naive):
    batch = make_batch("multilabel")
    z, t = batch.logits.requires_grad_(), batch.target.double()
    expected = naive(z, t, torch.as_tensor(batch.prior.counts, dtype=torch.float64), 60)
    found = loss.bind(batch.prior).row_loss(z, batch.target)
    torch.testing.assert_close(found, expected.nan_to_num(0.0).sum(-1), rtol=1e-9, atol=1e-11)
    (a,) = torch.autograd.grad(found.sum(), z)
    (b,) = torch.autograd.grad(expected.sum(), z)
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


def test_two_way_of_the_naive_formula():
    batch = make_batch("multilabel")
    z, t = batch.logits.requires_grad_(), batch.target > 0

    def direction(z, t):
        parts = []
        for k in range(z.shape[1]):
            if t[:, k].any():
                up = 4.0 * torch.logsumexp(-z[t[:, k], k] / 4.0, 0)
                rest = z[~t[:, k], k]
                down = torch.logsumexp(rest, 0) if len(rest) else torch.tensor(-torch.inf)
                parts.append(F.softplus(up + down))
        return torch.stack(parts).mean()

    expected = direction(z, t) + direction(z.T, t.T)
    found = TwoWay().bind(batch.prior)(z, batch.target)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, z)[0] for v in (found, expected)))
    torch.testing.assert_close(functional.two_way(z, batch.target), expected)


def test_gradient_harmonizing_by_hand():
    z = torch.tensor([[-3.0], [-2.9], [-3.1], [2.0], [0.1]], dtype=torch.float64)
    t = torch.tensor([[0], [0], [0], [0], [1]])
    g = (torch.sigmoid(z) - t).abs()
    index = (g * 10).long()
    counts = torch.bincount(index.flatten(), minlength=10)
    weight = 5 / (counts[index].double() * (counts > 0).sum())
    expected = (
        weight * F.binary_cross_entropy_with_logits(z, t.double(), reduction="none")
    ).sum() / 5
    bound = GradientHarmonized(10).bind(ClassPrior([1], n_samples=5, multilabel=True))
    torch.testing.assert_close(bound(z, t), expected)
    torch.testing.assert_close(functional.gradient_harmonized(z, t, bins=10), expected)
    assert weight.mean() == pytest.approx(1.0)


def test_supervised_contrastive_of_the_naive_formula():
    rng = torch.Generator().manual_seed(0)
    f = torch.randn(9, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 3])  # the last row has no mate
    u = F.normalize(f, dim=-1)
    s = u @ u.T / 0.2
    total = 0.0
    for i in range(9):
        others = [j for j in range(9) if j != i]
        mates = [j for j in others if y[j] == y[i]]
        if mates:
            lse = torch.logsumexp(s[i, others], 0)
            total = total - sum(s[i, j] - lse for j in mates) / len(mates)
    expected = total / 9
    found = functional.supervised_contrastive(f, y, temperature=0.2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, f)[0] for v in (found, expected)))


def test_lovasz_is_the_jaccard_loss_of_decisions():
    """On errors of 0 and 1 the extension equals the set function itself."""
    rng = np.random.default_rng(0)
    y = torch.as_tensor((rng.random(40) < 0.3).astype(int))
    right = torch.as_tensor(rng.random(40) < 0.8)
    sign = y * 2.0 - 1.0
    v = torch.where(right, 1.0, 0.0).double()  # hinge errors 1 - v are 0 or 1
    found = functional.lovasz(v * sign, y)
    pred = torch.where(right, y, 1 - y)
    both = ((pred == 1) & (y == 1)).sum() / ((pred == 1) | (y == 1)).sum()
    assert found.item() == pytest.approx(1.0 - both.item())
    z = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 1, 2, 0, 1])] * 200
    t = torch.tensor([0, 1, 2, 1, 1])  # one error: class 0 1/2, class 1 2/3, class 2 all
    expected = 1 - np.mean([1 / 2, 2 / 3, 1.0])
    assert functional.lovasz(z, t).item() == pytest.approx(expected)


def test_adaptive_temperature_is_the_maximum():
    z, y = make_batch("multiclass").logits, make_batch("multiclass").target
    for lam, alpha in [(0.3, 2.0), (1.0, 1.1), (5.0, 3.0)]:
        bound = AdaptiveLDR(lam, 0.2, alpha, n_iter=40).bind(make_batch("multiclass").prior)
        grid = torch.linspace(lam * (1 - 1 / alpha), lam, 4001, dtype=torch.float64)[1:]
        a = alpha * np.log(4) / lam
        values = torch.stack(
            [
                functional.ldr(z, y, lam=float(x), margin=0.2) - 0.5 * a * (x - lam) ** 2
                for x in grid
            ]
        )
        torch.testing.assert_close(bound.row_loss(z, y), values.amax(0), rtol=1e-5, atol=1e-6)


def test_robust_limits():
    z, y = make_batch("multiclass").logits, make_batch("multiclass").target
    own = z.gather(-1, y[:, None])
    margins = z - own + 0.5 * (1 - torch.eye(4)[y])
    sharp = functional.ldr(z, y, lam=1e-4, margin=0.5)
    torch.testing.assert_close(sharp, margins.amax(-1), atol=1e-3, rtol=0)
    flat = functional.ldr(z, y, lam=1e5, margin=0.5)
    torch.testing.assert_close(flat, margins.mean(-1), atol=1e-3, rtol=0)
    values = [functional.ldr(z, y, lam=lam) for lam in (0.1, 0.5, 1.0, 3.0, 10.0)]
    assert all((a >= b).all() for a, b in itertools.pairwise(values))


@pytest.mark.parametrize(
    "loss",
    [
        LogitAdjusted(),
        BalancedSoftmax(),
        VectorScaling(),
        ClassDependentTemperature(),
        ClassBalanced(),
        Seesaw(q=0.0),
        SoftmaxEqualization(0.2),
        LabelAwareSmoothing(tail=0.0),
    ],
    ids=repr,
)
def test_equal_counts_leave_cross_entropy(loss):
    prior = ClassPrior(counts=[50, 50, 50, 50])
    z, y = make_batch("multiclass").logits, make_batch("multiclass").target
    bound, plain = loss.bind(prior), CrossEntropy().bind(prior)
    for a, b in zip(bound.loss_grad(z, Target(y)), plain.loss_grad(z, Target(y)), strict=True):
        torch.testing.assert_close(a, b)


# --- pairs -----------------------------------------------------------------------------------


def test_partial_auc_by_brute_force():
    rng = np.random.default_rng(2)
    s = torch.as_tensor(rng.normal(size=50))
    y = torch.as_tensor((np.arange(50) < 10).astype(int))
    hard = torch.sort(s[y == 0], descending=True).values[:12]  # 0.3 of 40
    d = s[y == 1][:, None] - hard[None]
    expected = (1.0 - d).clamp_min(0).square().mean()
    assert functional.partial_auc(s, y, fpr_max=0.3).item() == pytest.approx(expected.item())
    bound = PartialAUC(0.3).bind(ClassPrior(counts=[40, 10]))
    assert bound(s, y).item() == pytest.approx(expected.item())


def test_binned_pairs_stay_within_their_error_bound():
    rng = np.random.default_rng(3)
    s = torch.as_tensor(rng.normal(size=400))
    y = torch.as_tensor((rng.random(400) < 0.2).astype(int))
    exact = functional.mann_whitney(s, y, tau=0.5)
    for n_bins in (64, 256, 1024):
        h = 2.0 * float(s.max() - s.min()) / n_bins  # the grid step is rounded up to a power of two
        binned = functional.mann_whitney(s, y, tau=0.5, method="binned", n_bins=n_bins)
        assert abs(float(binned - exact)) <= h**2 / (16 * 0.5**2)
    grads = []
    for method in ("exact", "binned"):
        z = s.clone().requires_grad_()
        functional.mann_whitney(z, y, tau=0.5, method=method).backward()
        grads.append(z.grad)
    error = (grads[0] - grads[1]).norm() / grads[0].norm()
    assert error < 5e-3


# --- weights that follow the batch -----------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds")  # scipy 1.13
@pytest.mark.parametrize("strategy", ["linupper", "quadratic", "extremes"])
def test_dynamic_weights_solve_the_robust_problem(strategy):
    rng = np.random.default_rng(0)
    l = rng.random(6) * 3
    h = (2 * l - (l.max() + l.min())) / (l.max() - l.min())
    f = {"linupper": np.minimum(h + 1, 1), "quadratic": 1 - h**2, "extremes": np.abs(h)}[strategy]
    r = 0.7

    def value(w):
        return -(w @ f - r * np.sum(w * np.log(np.maximum(w * 6, 1e-300))))

    best = minimize(
        value,
        np.full(6, 1 / 6),
        bounds=[(1e-9, 1)] * 6,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    found = functional.dynamic_weights(torch.as_tensor(l), strategy=strategy, temperature=r)
    np.testing.assert_allclose(found, best.x, atol=1e-5)
    assert found.max() / found.min() <= np.exp(1 / r) + 1e-9


def test_the_largest_weight_can_be_capped():
    l = torch.tensor([0.0, 0.0, 0.0, 5.0], dtype=torch.float64)
    free = functional.dynamic_weights(l, temperature=0.1)
    capped = functional.dynamic_weights(l, temperature=0.1, max_weight=2.0)
    assert free[3] > 0.99
    assert capped[3] < 1.0
    assert capped.sum() == pytest.approx(1.0)


def test_error_focus_weights():
    e = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    w = functional.error_focus_weights(e, beta=1.0)
    np.testing.assert_allclose(w, e / e.sum())
    w = functional.error_focus_weights(e, kind="exp", beta=0.5)
    np.testing.assert_allclose(w, torch.softmax(0.5 * e / e.mean(), 0))
    np.testing.assert_allclose(functional.error_focus_weights(e, beta=0.0), 1 / 3)
    batch = make_batch("binary")
    flat = ErrorFocused(beta=0.0, eps=1e-6).bind(batch.prior)
    expected = MeanAbsoluteError().bind(batch.prior)(batch.logits, batch.target)
    assert flat(batch.logits, batch.target).item() == pytest.approx(expected.item(), abs=1e-5)


# --- losses with a memory or a schedule ------------------------------------------------------


def test_equalization_v2_gathers_gradients():
    batch = make_batch("multilabel")
    bound = EqualizationV2().bind(batch.prior)
    plain = bound.eval()(batch.logits, batch.target)
    torch.testing.assert_close(
        bound(batch.logits, batch.target), plain
    )  # evaluation changes nothing
    bound.train()
    z = batch.logits.clone()
    bound(z, batch.target)
    g = (torch.sigmoid(z) - batch.target).abs()
    expected = torch.stack([(g * (batch.target == 0)).sum(0), (g * (batch.target == 1)).sum(0)])
    torch.testing.assert_close(bound.gathered, expected)
    positive, negative = functional.equalization_v2_weights(expected[1] / (expected[0] + 1e-10))
    weight = torch.where(batch.target > 0, positive, negative)
    ce = F.binary_cross_entropy_with_logits(z, batch.target.double(), reduction="none")
    torch.testing.assert_close(bound.eval()(z, batch.target), (weight * ce).sum(-1).mean())
    again = copy.deepcopy(bound)
    torch.testing.assert_close(again.gathered, bound.gathered)


def test_gradient_harmonizing_with_momentum_remembers():
    batch = make_batch("multilabel")
    bound = GradientHarmonized(bins=4, momentum=0.75).bind(batch.prior)
    assert "memory" in bound.requires
    first = bound(batch.logits, batch.target)
    assert bound.counts.sum() == batch.target.numel()
    second = bound(0.1 * batch.logits, batch.target)
    fresh = GradientHarmonized(bins=4).bind(batch.prior)(0.1 * batch.logits, batch.target)
    assert first != second
    assert abs(second - fresh) > 1e-6


def test_deferred_and_warm_up_switch_with_the_epoch():
    batch = make_batch("binary")
    z, y = batch.logits, batch.target
    bound = Deferred(Focal(2.0), start=0.5).bind(batch.prior)
    late = Focal(2.0).bind(batch.prior)(z, y)
    early = F.binary_cross_entropy_with_logits(z, y.double())
    torch.testing.assert_close(bound(z, y), late)
    for epoch, expected in [(0, early), (4, early), (5, late), (9, late)]:
        torch.testing.assert_close(bound.at(epoch, 10)(z, y), expected)
    mixed = Mixed(MannWhitney(), share=0.25, warmup=3).bind(batch.prior)
    pure = MannWhitney().bind(batch.prior)(z, y)
    both = 0.75 * pure + 0.25 * early
    for epoch, expected in [(2, early), (3, both)]:
        torch.testing.assert_close(mixed.at(epoch, 10)(z, y), expected)
    torch.testing.assert_close(mixed(z, y), both)
    dynamic = DynamicReweighting(warmup=0.2).bind(batch.prior)
    torch.testing.assert_close(dynamic.at(0, 10)(z, y), early)
    nested = Mixed(Deferred(Focal(2.0), start=0.5), share=0.5, warmup=1).bind(batch.prior)
    for epoch, expected in [(0, early), (4, early), (5, 0.5 * late + 0.5 * early)]:
        torch.testing.assert_close(nested.at(epoch, 10)(z, y), expected)
    assert nested.at(6, 10) is nested.at(7, 10)


def test_wrong_compositions_are_refused():
    prior = ClassPrior(counts=[5, 5])
    with pytest.raises(ValueError, match="couples the rows"):
        DynamicReweighting(MannWhitney()).bind(prior)
    with pytest.raises(ValueError, match="perturbs the rows"):
        DynamicReweighting(AdversarialCompSum(eps=0.3)).bind(prior)
    with pytest.raises(ValueError, match="does not accept binary"):
        ZLoss().bind(prior)
    with pytest.raises(ValueError, match="choose b below"):
        ZLoss(b=2.0).bind(ClassPrior(counts=[1, 1, 1]))
    with pytest.raises(ValueError, match="at least three classes"):
        functional.z_loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        ExpectedCost([[0, 1, 1]]).bind(prior)
    with pytest.raises(ValueError, match="background"):
        SeparatedKappa(background=3).bind(ClassPrior(counts=[1, 1, 1]))
    with pytest.raises(ValueError, match="binned"):
        MannWhitney("hinge", method="binned").bind(prior)
    with pytest.raises(ValueError, match="undefined='smooth'"):
        Tversky(smooth=0.0, undefined="smooth").bind(prior)
    bound = LDR(normalize="l1_mean").bind(prior)
    with pytest.raises(TypeError, match="normalize"):
        bound.grad_hess(torch.zeros(2), torch.tensor([0, 1]))
    for loss in (SupervisedContrastive(), QuadraticWeightedKappa(), Seesaw()):
        with pytest.raises(ValueError, match="does not accept multilabel"):
            loss.bind(make_batch("multilabel").prior)


def test_costs_of_rows_travel_with_the_target():
    batch = make_batch("binary")
    bound = ExpectedCost().bind(batch.prior)
    costs = torch.rand(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = bound.encode(batch.target, batch.logits, costs.numpy())
    order = torch.randperm(12)
    loss, _ = bound.loss_grad(batch.logits[order], target.each(lambda part: part[order]))
    p = torch.sigmoid(batch.logits)
    torch.testing.assert_close(loss, ((1 - p) * costs[:, 0] + p * costs[:, 1]).mean())
    mixed = Mixed(ExpectedCost(), share=0.5).bind(batch.prior)
    value, _ = mixed.loss_grad(batch.logits, target)
    entropy = F.binary_cross_entropy_with_logits(batch.logits, batch.target.double())
    torch.testing.assert_close(value, 0.5 * loss + 0.5 * entropy)
    with pytest.raises(TypeError, match="takes no costs of rows"):
        Focal().bind(batch.prior).encode(batch.target, batch.logits, costs.numpy())


# --- balanced mean squared error -------------------------------------------------------------


def _mixture(rng, k, width):
    means = rng.normal(size=(k, width))
    a = rng.normal(size=(k, width, width))
    values, vectors = np.linalg.eigh(a @ a.transpose(0, 2, 1) + 0.1 * np.eye(width))
    weights = rng.dirichlet(np.ones(k))
    parts = (np.log(weights), means, values, vectors)
    return tuple(torch.as_tensor(x) for x in parts)


@pytest.mark.parametrize("width", [1, 2])
def test_balanced_mse_gradients(width):
    rng = np.random.default_rng(0)
    f = torch.as_tensor(rng.normal(size=(7, width)))
    t = torch.as_tensor(rng.normal(size=(7, width)))
    w = torch.as_tensor(rng.random(7) + 0.1)
    mixture = _mixture(rng, 3, width)

    def bmc(f, sigma):
        return regression.against_labels(f, t, t, w.log(), sigma, w)

    def gai(f, sigma):
        return regression.against_mixture(f, t, mixture, sigma, w)

    for of in (bmc, gai):
        sigma = torch.tensor(0.7, dtype=torch.float64)
        _, grad, slope = of(f, sigma)
        step = 1e-6
        for i, j in [(0, 0), (3, width - 1)]:
            up, down = f.clone(), f.clone()
            up[i, j] += step
            down[i, j] -= step
            numeric = (of(up, sigma)[0] - of(down, sigma)[0]) / (2 * step)
            assert grad[i, j].item() == pytest.approx(numeric.item(), rel=1e-6, abs=1e-9)
        # the factor 2 sigma^2 is a constant of the derivative in sigma
        up, down = (of(f, sigma + d)[0] / (2 * (sigma + d) ** 2) for d in (step, -step))
        numeric = 2 * sigma**2 * (up - down) / (2 * step)
        assert slope.item() == pytest.approx(numeric.item(), rel=1e-5)


def test_balanced_mse_limits_and_invariances():
    rng = np.random.default_rng(1)
    f, t = torch.as_tensor(rng.normal(size=9)), torch.as_tensor(rng.normal(size=9))
    small = torch.tensor(1e-2, dtype=torch.float64)
    large = torch.tensor(1e4, dtype=torch.float64)
    none = torch.zeros(9, dtype=torch.float64)
    nearest = t[(f[:, None] - t).abs().argmin(1)]
    _, grad, _ = regression.against_labels(f, t, t, none, small)
    torch.testing.assert_close(grad, 2 * (nearest - t) / 9, atol=1e-2, rtol=0)
    _, grad, _ = regression.against_labels(f, t, t, none, large)
    torch.testing.assert_close(grad, 2 * (t.mean() - t) / 9, atol=1e-6, rtol=0)
    one = torch.tensor(1.0, dtype=torch.float64)
    a = regression.against_labels(f, t, t, none, one)
    b = regression.against_labels(f + 3, t + 3, t + 3, none, one)
    torch.testing.assert_close(a[0], b[0])
    single = regression.against_labels(f[:1], t[:1], t[:1], none[:1], one)
    assert single[0].abs() < 1e-12
    assert single[1].abs().max() < 1e-12
    twice = regression.against_labels(f.repeat(2), t.repeat(2), t.repeat(2), none.repeat(2), one)
    torch.testing.assert_close(twice[1][:9] * 2, a[1])
    torch.testing.assert_close(twice[0], a[0] + 2 * np.log(2))
    # a flat prior gives back the mean squared error
    wide = (torch.zeros(1), torch.zeros(1, 1), torch.full((1, 1), 1e8), torch.ones(1, 1, 1))
    wide = tuple(x.double() for x in wide)
    _, grad, _ = regression.against_mixture(f, t, wide, one)
    torch.testing.assert_close(grad, 2 * (f - t) / 9, atol=1e-6, rtol=0)


# --- random input ----------------------------------------------------------------------------


@st.composite
def problems(draw):
    n_classes = draw(st.integers(3, 6))
    n = draw(st.integers(1, 9))
    counts = draw(st.lists(st.integers(0, 1000), min_size=n_classes, max_size=n_classes))
    if sum(c > 0 for c in counts) < 2:
        counts[0], counts[1] = 5, 3
    scale = draw(st.sampled_from([0.0, 0.1, 1.0, 30.0, 1e3]))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    z = torch.as_tensor(scale * rng.normal(size=(n, n_classes)))
    y = torch.as_tensor(rng.integers(0, n_classes, n))
    w = torch.as_tensor(rng.integers(0, 3, n).astype(float))
    return ClassPrior(counts), z, y, w


@pytest.mark.parametrize("cls", all_losses("multiclass"), ids=lambda cls: cls.__name__)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(problem=problems())
def test_any_shape_weight_and_count_gives_finite_gradients(cls, problem):
    prior, z, y, w = problem
    bound = cls().bind(prior).eval()
    for weight in (None, w):
        value, grad = bound.loss_grad(z, bound.encode(y, z), weight)
        assert torch.isfinite(value)
        assert torch.isfinite(grad).all()
        assert grad.shape == z.shape
        if weight is not None:
            assert not grad[w == 0].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cls", all_losses(), ids=lambda cls: cls.__name__)
def test_half_precision_is_computed_in_single(cls, dtype):
    task = next(t for t in ("multilabel", "multiclass", "binary") if t in cls().tasks)
    batch = make_batch(task)
    z = batch.logits.to(dtype)
    bound = cls().bind(batch.prior).eval()
    low = z.clone().requires_grad_()
    bound(low, batch.target).backward()
    high = z.float().requires_grad_()
    value = bound(high, batch.target)
    value.backward()
    assert bound(z, batch.target).dtype == torch.float32
    torch.testing.assert_close(bound(z, batch.target), value.detach())
    torch.testing.assert_close(low.grad.float(), high.grad, rtol=1e-2, atol=1e-3)


def test_naive_focal_formulas_fail_where_ours_does_not():
    """Public formulas that take (1 - exp(-ce)) ** gamma give NaN gradients on sure rows."""
    z = torch.tensor([40.0, -40.0, 0.0], requires_grad=True)
    y = torch.tensor([1.0, 0.0, 1.0])
    ce = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    ((1 - torch.exp(-ce)) ** 0.5 * ce).sum().backward()
    assert torch.isnan(z.grad).any()
    ours = torch.tensor([40.0, -40.0, 0.0], requires_grad=True)
    functional.focal(ours, y.long(), gamma=0.5).sum().backward()
    assert torch.isfinite(ours.grad).all()
    # and a clamp at 1e-8 silences positives far on the wrong side
    far = torch.tensor([-30.0], requires_grad=True)
    p = torch.sigmoid(far).clamp(1e-8, 1 - 1e-8)
    (-torch.log(p)).sum().backward()
    assert far.grad.item() == 0.0
    far = torch.tensor([[-30.0]], requires_grad=True)
    functional.asymmetric(far, torch.tensor([[1]])).sum().backward()
    assert far.grad.item() == pytest.approx(-1.0)


@pytest.mark.parametrize("loss", [Lovasz(), SeparatedKappa(), QuadraticWeightedKappa()], ids=repr)
def test_batches_of_one_class_are_harmless(loss):
    bound = loss.bind(ClassPrior(counts=[9, 3, 1]))
    value, grad = bound.loss_grad(Z5, Target(torch.zeros(5, dtype=torch.int64)))
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()
