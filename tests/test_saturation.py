"""Losses where probabilities round to 0 and 1, in every number format; NaN and infinite logits."""

import numpy as np
import pytest
import torch
from saturation import SORTING, check_formats, check_slope, draw_case, evaluate
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from skimb import functional, kernels
from skimb.functional import _shapes as shapes
from skimb.losses import (
    LDAM,
    LDR,
    AdaptiveLDR,
    AUCMargin,
    BinaryFocal,
    ClassPrior,
    Dice,
    ErrorFocused,
    Focal,
    GradientHarmonized,
    MannWhitney,
    MultiFocal,
    PartialAUC,
    Poly,
    PolyFocal,
    ScoreOriented,
    all_losses,
)
from skimb.neural_network import MLPClassifier
from skimb.testing import make_batch

every_loss = pytest.mark.parametrize("cls", all_losses(), ids=lambda cls: cls.__name__)


@every_loss
def test_every_format_answers_what_float64_does(cls):
    assert check_formats(cls, np.random.default_rng(0), 4) > 4
    check_slope(cls, np.random.default_rng(1), 2)


@pytest.mark.slow
@every_loss
def test_every_format_answers_what_float64_does_on_many_inputs(cls):
    assert check_formats(cls, np.random.default_rng(2), 150) > 150
    check_slope(cls, np.random.default_rng(3), 50)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nan_comes_out_as_nan(cls, dtype):
    """In the value, and in the gradient of the logit at least."""
    rng = np.random.default_rng(4)
    for _ in range(4):
        bound, form, z, target = draw_case(cls, rng)
        z = z.clamp(-50.0, 50.0).to(dtype)
        z[(3,) if z.ndim == 1 else (3, 0)] = torch.nan
        found = evaluate(bound, z, target)
        assert torch.isnan(found["value"]), (bound.name, form)
        assert torch.isnan(found["gradient"][3]).any(), (bound.name, form)
        if "rows" in found:
            assert torch.isnan(found["rows"][3])
        if "hessian" in found:
            assert torch.isnan(found["row gradient"][3]).any()


@every_loss
@pytest.mark.parametrize("size", [torch.inf, -torch.inf])
def test_infinite_logits_give_the_limit_or_nan(cls, size):
    rng = np.random.default_rng(5)
    for _ in range(3):
        bound, _, z, target = draw_case(cls, rng)
        z = z.clamp(-20.0, 20.0)
        place = (3,) if z.ndim == 1 else (3, 0)
        far = z.clone()
        z[place], far[place] = size, np.sign(size) * 1e5
        found, limit = evaluate(bound, z, target), evaluate(bound, far, target)
        if torch.isfinite(found["value"]):
            torch.testing.assert_close(found["value"], limit["value"], rtol=1e-3, atol=1e-6)


# --- Dice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["per_example", "set"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gap", [5.0, 20.0, 40.0, 60.0, 80.0])
def test_dice_of_sure_rows(gap, dtype, variant):
    """Written out for one row of three classes whose sure class is right."""
    q = 2.0 * np.exp(-gap) / (1.0 + 2.0 * np.exp(-gap))
    p, alpha = 1.0 / (1.0 + 2.0 * np.exp(-gap)), 0.3
    w, v = q**alpha * p, (1.0 - q / 2.0) ** alpha * q / 2.0
    # of the loss in w, of w in the odds, of the odds in the second logit
    rise = -2.0 * (1.0 - w * (2.0 * w + 1.0) / (w * w + 2.0)) / (w * w + 2.0)
    first = rise * w * (q - alpha * p)
    other = 2.0 * v / (v * v + 1.0) ** 2 * v * (1.0 - q / 2.0 - alpha * q / 2.0)
    expected = -first / 2.0 + other - other * (q / 2.0) / (1.0 - q / 2.0)
    bound = Dice(variant, alpha=alpha).bind(ClassPrior([10.0] * 3))
    z = torch.tensor([[gap, 0.0, 0.0]], dtype=dtype)
    _, grad = bound.loss_grad(z, bound.encode(torch.tensor([0]), z))
    share = 3.0 if variant == "set" else 1.0
    assert grad[0, 1].item() * share == pytest.approx(expected, rel=1e-4)
    assert grad[0, 0].item() == pytest.approx(-2.0 * grad[0, 1].item(), rel=1e-4)


def test_dice_trains_in_single_precision_as_in_double():
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    scores = []
    for data in (X, X.astype(np.float32)):
        model = MLPClassifier((32,), loss=Dice(), learning_rate_init=0.02, tol=0, random_state=0)
        scores.append(model.set_params(max_iter=60).fit(data, y).score(data, y))
    assert min(scores) > 0.99


# --- ratios of soft counts -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("level", [-30.0, -5.0, 5.0, 30.0])
@pytest.mark.parametrize("n", [10, 900])
def test_losses_of_soft_counts_stay_in_their_range(n, level, dtype):
    z = (level + torch.linspace(0.0, 0.9, n, dtype=torch.float64)).to(dtype)
    target = (torch.arange(n) % 10 == 0).long()
    bound_of = ClassPrior([9.0, 1.0])
    for metric in functional.confusion._metrics.BINARY:
        signed = metric in ("mcc", "kappa", "youden")
        for distribution in ("cosine", "uniform"):
            bound = ScoreOriented(metric, distribution=distribution).bind(bound_of)
            value, grad = bound.loss_grad(z, bound.encode(target, z))
            assert -1e-6 <= value.item() <= 1.0 + signed + 1e-6, (metric, distribution)
            assert torch.isfinite(grad).all()


def test_the_raised_cosine_keeps_its_digits_at_the_lower_end():
    transform = functional.confusion.Cosine(0.5, 0.5)
    p = torch.tensor([1e-12, 1e-6, 1e-3, 0.3, 0.5, 0.9, 1.0], dtype=torch.float64)
    a, slope = transform.of_probability(p)
    s = p.numpy() / 0.5
    np.testing.assert_allclose(a[:2], np.pi**2 * s[:2] ** 3 / 12.0, rtol=1e-9)
    np.testing.assert_allclose(a[3:], 0.5 * (s[3:] - np.sin(np.pi * s[3:]) / np.pi), rtol=1e-12)
    np.testing.assert_allclose(
        slope[2:], (1.0 - np.cos(np.pi * s[2:])) / 1.0, rtol=1e-9, atol=1e-30
    )
    low = transform.of_probability(p.float())
    torch.testing.assert_close(low[0].double(), a, rtol=1e-5, atol=0.0)


# --- pairs ---------------------------------------------------------------------------------------

PAIRS = [AUCMargin(), PartialAUC(0.5), *[MannWhitney(s) for s in ("logistic", "hinge", "squared_hinge", "squared")], MannWhitney(method="binned", n_bins=16)]  # fmt: skip


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("loss", PAIRS, ids=repr)
def test_rows_without_weight_are_no_rows_of_pairs(loss, task):
    batch = make_batch(task)
    bound = loss.bind(batch.prior)
    weight = batch.weight.clone()
    gone = batch.target[:, 0] == 1 if task == "multilabel" else batch.target == 1
    weight[gone] = 0.0
    z = batch.logits.clone()
    z[gone] *= 50.0
    found, grad = bound.loss_grad(z, bound.encode(batch.target, z), weight)
    kept = z[~gone]
    expected, slope = bound.loss_grad(kept, bound.encode(batch.target[~gone], kept), weight[~gone])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grad[~gone], slope)
    assert not grad[gone].any()


@pytest.mark.parametrize(
    "loss",
    [GradientHarmonized(), MannWhitney(method="binned")],
    ids=lambda loss: type(loss).__name__,
)
def test_a_training_that_diverges_says_so(loss):
    X = np.random.default_rng(0).normal(size=(60, 3))
    X[5] = 1e300
    with pytest.raises(ValueError, match=r"diverged|finite"):
        MLPClassifier(
            (4,), loss=loss, learning_rate_init=1e300, max_iter=5, random_state=0, solver="sgd"
        ).fit(X, np.arange(60) % 2)


# --- single formulas -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 700])
@pytest.mark.parametrize("loss", [Poly(-1.0), Poly(-0.5), PolyFocal(0.5, -1.0)], ids=repr)
def test_poly_losses_near_minus_one_do_not_cancel(loss, n):
    """l - q is l^2 / 2 for sure rows, and its slope q."""
    gap = 12.0
    q = 1.0 / (1.0 + np.exp(gap))
    l = np.log1p(np.exp(-gap))
    epsilon, power = loss.epsilon, getattr(loss, "gamma", 0.0)
    lead = (1.0 + epsilon) * l - epsilon * (l * l / 2.0 - l**3 / 6.0)
    bound = loss.bind(ClassPrior([5.0, 5.0]))
    for z in (torch.full((n,), gap), torch.tensor([[0.0, gap]]).expand(n, 2).contiguous()):
        target = torch.ones(n, dtype=torch.long)
        rows = bound.row_loss(z, target)
        assert rows[0].item() == pytest.approx(q**power * lead, rel=1e-4)
        grad, _ = bound.grad_hess(z, target)
        slope = q * ((1.0 + epsilon) - epsilon * q) + power * (1.0 - q) * lead
        assert grad.flatten()[-1].item() == pytest.approx(-(q**power) * slope, rel=1e-4)


def test_gradient_is_flat_where_the_clip_makes_the_loss_flat():
    bound = MultiFocal(gamma_neg=0.0, w_neg=0.0, clip=0.9)
    bound = bound.bind(ClassPrior([30, 10], n_samples=60, multilabel=True))
    z, target = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2)
    _, grad = bound.loss_grad(z, bound.encode(target, z))
    assert not grad.any()
    zero = torch.zeros(2, dtype=torch.float64)
    z = z.requires_grad_()
    functional.asymmetric(z, target, gamma_neg=zero, gamma_pos=zero, clip=0.9).sum().backward()
    assert not z.grad.any()


@pytest.mark.parametrize("power", [80.0, 150.0, 1e4])
def test_head_tail_factors_of_any_power_are_numbers(power):
    prior = ClassPrior([300, 3], n_samples=600, multilabel=True)
    bound = MultiFocal(power=power, w_pos=1.0).bind(prior)
    for dtype in (torch.float32, torch.float64):
        z, target = torch.zeros(4, 2, dtype=dtype), torch.arange(8).view(4, 2) % 2
        found = evaluate(bound, z, target)
        assert all(torch.isfinite(part).all() for part in found.values())
        counts = torch.tensor([300.0, 3.0], dtype=dtype)
        rows = functional.multi_focal(z, target, counts=counts, power=power, w_pos=1.0)
        torch.testing.assert_close(rows.sum(-1), found["rows"])


@pytest.mark.parametrize("kind", ["power", "exp"])
@pytest.mark.parametrize("beta", [0.01, 0.3, 1.0, 1e3, 1e6, 1e300])
def test_errors_in_focus_at_any_strength(beta, kind):
    z = torch.tensor([1.0, 20.0, 40.0, -3.0, 80.0], dtype=torch.float64)
    target = torch.ones(5, dtype=torch.long)
    bound = ErrorFocused(kind, beta).bind(ClassPrior([5.0, 5.0]))
    exact, found = evaluate(bound, z, target), evaluate(bound, z.float(), target)
    torch.testing.assert_close(found["value"].double(), exact["value"], rtol=1e-4, atol=0.0)
    # the largest error takes all the weight in the end
    if beta > 1e5:
        worst = bound(z[3:4], target[3:4])
        assert exact["value"].item() == pytest.approx(worst.item())
    weights = functional.error_focus_weights(torch.sigmoid(-z), kind=kind, beta=beta)
    assert weights.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("normalize", ["softplus_mean", "l1_mean"])
def test_scores_below_their_least_mean_have_its_gradient(normalize):
    z = torch.tensor([[-15.0, -16.5, -15.5]], dtype=torch.float64)
    z = (z if normalize == "softplus_mean" else z * 1e-8).requires_grad_()
    target, size = torch.tensor([1]), 1.0 if normalize == "softplus_mean" else 1e-8
    for function in (functional.ldr, functional.adaptive_ldr):
        assert torch.autograd.gradcheck(
            lambda z, f=function: f(z, target, normalize=normalize),
            (z,),
            eps=1e-4 * size,
            rtol=1e-4,
        )


@pytest.mark.parametrize("alpha", [1.0001, 1.02, 1.5])
@pytest.mark.parametrize("lam", [0.3, 3.0])
def test_the_temperature_is_converged_whatever_the_iterations_asked_for(lam, alpha):
    batch = make_batch("multiclass")
    few, many = (
        evaluate(
            AdaptiveLDR(lam, 0.0, alpha, n_iter=n).bind(batch.prior), batch.logits, batch.target
        )
        for n in (4, 400)
    )
    for kind in few:
        torch.testing.assert_close(few[kind], many[kind], rtol=1e-6, atol=1e-9, msg=kind)


@pytest.mark.parametrize(
    "loss", [LDR(0.02), AdaptiveLDR(0.02), LDAM(0.0, 40.0), Dice(), Focal(0.5)], ids=repr
)
def test_close_scores_far_from_zero_are_told_apart_in_single_precision(loss):
    z = torch.tensor([[10000.3125, 10000.25, -3.0], [9999.5, 10000.0, 9999.75]])
    target, near = torch.tensor([1, 2]), z.double() - 10000.0
    bound = loss.bind(ClassPrior([20.0, 10.0, 5.0]))
    exact, found = evaluate(bound, near, target), evaluate(bound, z, target)
    for kind in exact:
        torch.testing.assert_close(
            found[kind].double(),
            exact[kind],
            rtol=2e-4,
            atol=1e-6,
            msg=lambda m, k=kind: f"{k}: {m}",
        )


@pytest.mark.parametrize(
    "loss",
    [Focal(2.0), BinaryFocal(), Poly(-1.0), PolyFocal(1.5, -1.0), PolyFocal(0.5, 1.0)],
    ids=repr,
)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_posteriors_of_far_scores_are_those_of_float64(loss, task):
    batch = make_batch(task)
    z = (batch.logits * 0.25 - 102.0).float()
    z[0] = 95.0
    bound = loss.bind(batch.prior)
    torch.testing.assert_close(
        bound.posterior(z).double(), bound.posterior(z.double()), rtol=2e-3, atol=1e-12
    )


def test_exponents_of_very_different_sizes_do_not_mix():
    z, target = torch.full((1, 2), 0.5), torch.zeros(1, 2)
    counts = torch.tensor([300.0, 3.0])
    kw = {"gamma_neg": 2.0, "w_neg": 0.0, "w_pos": 1e6, "power": 9.0}
    found = functional.multi_focal(z, target, counts=counts, **kw)
    exact = functional.multi_focal(z.double(), target, counts=counts.double(), **kw)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0.0)
    assert (exact > 0).all()


# --- what a closed form cannot give ----------------------------------------------------------------


def test_second_derivatives_of_balanced_mse_are_refused():
    f = torch.tensor([0.0, 1.0, 3.0], requires_grad=True)
    value = functional.balanced_mse(f, torch.tensor([0.5, 1.0, 2.0]), sigma=1.0)
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(value, f, create_graph=True)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap, torch.func.jacrev])
def test_transforms_of_functions_are_refused_in_a_sentence(transform):
    z, target = torch.randn(4, 3), torch.tensor([0, 1, 2])
    bound = Focal().bind(ClassPrior([5.0] * 3))
    z = z[:3] if transform is not torch.func.vmap else torch.randn(4, 3, 3)
    for call in (bound, lambda z, y: functional.focal(z, y).sum()):
        with pytest.raises(RuntimeError, match=r"do not run inside torch\.func"):
            transform(lambda z, call=call: call(z, target))(z)
    with pytest.raises(RuntimeError, match=r"do not run inside torch\.func"):
        torch.func.grad(lambda f: functional.balanced_mse(f, target.float(), sigma=1.0))(
            z.flatten()[:3]
        )


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sample_weight", lambda z, y, w: functional.anyloss(z, y, sample_weight=w)),
        ("sample_weight", lambda z, y, w: functional.mann_whitney(z[:, 0], y % 2, sample_weight=w)),
        ("weights", lambda z, y, w: functional.class_balanced(z, y, weights=w[:3])),
        ("bias", lambda z, y, w: functional.logit_adjusted(z, y, log_prior=w[:3])),
        ("gamma", lambda z, y, w: functional.focal(z, y, gamma=w)),
        ("sample_weight", lambda z, y, w: functional.balanced_mse(z[:, 0], y * 1.0, sigma=1.0, sample_weight=w)),
    ],
)  # fmt: skip
def test_tensors_that_would_get_no_gradient_are_refused(name, call):
    z, y = torch.randn(6, 3, requires_grad=True), torch.arange(6) % 3
    weight = torch.ones(6, requires_grad=True)
    with pytest.raises(ValueError, match=f"{name} requires a gradient"):
        call(z, y, weight)
    call(z, y, weight.detach()).sum().backward()
    assert z.grad.any()


@pytest.mark.parametrize(
    "shape", [shapes.Focal(2.0), shapes.Poly(-1.0), shapes.CompSum(0.5)], ids=repr
)
def test_rows_of_one_class_or_of_one_possible_class_are_sure(shape):
    for z in (torch.randn(5, 1), torch.tensor([[0.3, -torch.inf, -torch.inf]]).expand(5, 3)):
        loss, grad = kernels.rows(z, torch.zeros(5, dtype=torch.long), shape=shape)
        assert not loss.any()
        assert not grad.any()


def test_sorting_losses_are_among_all():
    names = [cls.__name__ for cls in all_losses()] + list(Dice._parameter_constraints)
    assert set(SORTING) <= set(names)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own
def test_a_compiler_leaves_closed_forms_as_they_are():
    target = torch.tensor([0, 1, 2, 0])
    for loss in (Focal(), Dice()):
        bound = loss.bind(ClassPrior([5.0] * 3))
        z = torch.randn(4, 3, requires_grad=True)

        def value(z, bound=bound):
            return 3.0 * bound(2.0 * z, target).mean()

        compiled = torch.compile(value, backend="eager")
        for first, second in zip(
            torch.autograd.grad(compiled(z), z), torch.autograd.grad(value(z), z), strict=True
        ):
            torch.testing.assert_close(first, second, rtol=0, atol=0)
