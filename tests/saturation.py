"""Random losses on logits at saturation, in every number format: what the property tests draw from.

A loss is drawn with random parameters from its own constraints, so that a new loss is tried without a
line here. Logits have gaps from 0 to 1e4; what a format computes is compared with float64 on the same
(rounded) logits, float64 with differences of its own value.
"""

import warnings
from numbers import Integral

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.losses import ClassPrior, Loss, all_losses

GAPS = (0.0, 0.3, 2.0, 8.0, 17.0, 30.0, 45.0, 60.0, 85.0, 100.0, 300.0, 2e3, 1e4)
FORMS = {"binary": ("binary", "binary_pair"), "multiclass": ("multiclass",), "multilabel": ("multilabel",)}  # fmt: skip
#: relative error that a format may show
RTOL = {torch.float16: 3e-2, torch.bfloat16: 3e-2, torch.float32: 1e-2}


def draw_loss(cls, rng, depth=0):
    """A loss with some of its parameters drawn from their constraints, the others at their defaults."""
    params = {}
    for name, allowed in cls._parameter_constraints.items():
        if rng.random() < 0.3:
            continue
        rule = allowed[rng.integers(len(allowed))]
        if isinstance(rule, Interval):
            params[name] = _from_interval(rule, rng)
        elif isinstance(rule, StrOptions):
            params[name] = str(rng.choice(sorted(rule.options)))
        elif rule == "boolean":
            params[name] = bool(rng.integers(2))
        elif rule is None:
            params[name] = None
        elif rule is Loss and depth < 2:
            inner = [c for c in all_losses() if c is not cls]
            params[name] = draw_loss(inner[rng.integers(len(inner))], rng, depth + 1)
    return cls(**params)


def _from_interval(rule, rng):
    whole = rule.type is Integral
    low = -3.0 if rule.left is None else float(rule.left)
    high = rule.right
    edge = rng.random() < 0.15
    if high is None or not np.isfinite(high):
        value = low + (0.0 if edge else 10.0 ** rng.uniform(-1.5, 1.3))
    else:
        value = low if edge else rng.uniform(low, low + 0.95 * (float(high) - low))
    if value == low and rule.closed in ("neither", "right"):
        value = low + (1 if whole else 0.03 * (1.0 if high is None else float(high) - low))
    return round(value) if whole else float(value)


def draw_logits(form, rng):
    """Logits whose rows lie apart by any of `GAPS`, right or wrong, and their targets.

    Half of the batches are large enough for the compiled losses.
    """
    n = int(rng.choice([24, 520]))
    width = {"binary": 1, "binary_pair": 2, "multiclass": 4, "multilabel": 3}[form]
    gaps = rng.choice(GAPS, size=(n, 1))
    z = np.where(rng.random((n, width)) < 0.5, 0.0, gaps) * rng.choice([-1.0, 1.0], (n, width))
    z = z + rng.normal(size=(n, width)) * rng.choice([0.0, 1.0], (n, 1))
    z = z[:, 0] if form == "binary" else z
    if form == "multilabel":
        target = (rng.random((n, width)) < 0.4).astype(np.int64)
        target[0], target[1] = 1, 0
    else:
        target = np.arange(n) % (4 if form == "multiclass" else 2)
    return torch.as_tensor(z), torch.as_tensor(target)


def prior_of(form):
    """The prior that goes with `draw_logits`."""
    if form == "multilabel":
        return ClassPrior([30, 10, 3], n_samples=60, multilabel=True)
    return ClassPrior([100, 30, 7, 2] if form == "multiclass" else [100, 30])


def draw_case(cls, rng):
    """A bound loss, the form of its logits, logits and targets."""
    while True:
        loss = draw_loss(cls, rng)
        forms = [form for task in sorted(loss.tasks) for form in FORMS.get(task, ())]
        if not forms:
            continue
        form = forms[rng.integers(len(forms))]
        try:
            bound = loss.bind(prior_of(form)).eval()
        except ValueError:  # parameters that do not go together
            continue
        return bound, form, *draw_logits(form, rng)


def evaluate(bound, z, target):
    """Value, gradient, and where the loss has them row losses, second derivative and posterior."""
    leaf = z.clone().requires_grad_()
    value = bound(leaf, target)
    out = {"value": value.detach(), "gradient": torch.autograd.grad(value, leaf)[0]}
    if "batch" not in bound.requires:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out["rows"] = bound.row_loss(z, target).detach()
        try:
            out["row gradient"], out["hessian"] = bound.grad_hess(z, target)
        except TypeError as error:  # some losses have no diagonal Hessian, and say so
            if "Hessian" not in str(error):
                raise
    out["posterior"] = bound.posterior(z)
    return out


def answers(bound, z, target):
    """What float64 answers to logits, and how far rounding the logits to single precision moves it."""
    exact = evaluate(bound, z.double(), target)
    moved = {kind: torch.zeros_like(part) for kind, part in exact.items()}
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        step = torch.rand(z.shape, generator=generator, dtype=torch.float64).sub_(0.5).sign_()
        step.mul_(4.0 * torch.finfo(torch.float32).eps).add_(1.0)
        for kind, part in evaluate(bound, z.double() * step, target).items():
            moved[kind] = torch.maximum(moved[kind], (part - exact[kind]).abs())
    return exact, moved


def error_of(found, exact, moved, kind, dtype):
    """Largest error of an answer in units of itself, or of a few thousandths of the largest entry.

    What single precision cannot know, since rounding the logits moves the answer by `moved`, is no error,
    nor is what lies beyond the largest or below the smallest normal number of a format.
    """
    found, exact = found.double(), exact.double()
    assert found.shape == exact.shape, kind
    if not exact.numel():
        return 0.0
    size = torch.maximum(exact.abs(), 3e-3 * exact.abs().amax())
    if kind in ("posterior", "value"):
        size = size.clamp_min(1e-3)
    limits = torch.finfo(dtype if kind == "gradient" else torch.float32)
    over = (found.abs() >= 0.99 * limits.max) & (exact.abs() >= 0.99 * limits.max)
    gap = (found - exact).abs() - 8.0 * moved - 4.0 * limits.tiny
    error = torch.where(over, 0.0, gap / size.clamp_min(limits.tiny))
    return error.nan_to_num(nan=torch.inf).amax().item()


#: losses that sort: equal scores have more than one gradient, and rounding picks another one
SORTING = ("Lovasz", "PartialAUC", "RecallAtBudget", "hard_negatives")


def check_formats(cls, rng, cases):
    """Compare half and single precision with float64; returns the number of inputs tried."""
    tried = 0
    for _ in range(cases):
        bound, form, z, target = draw_case(cls, rng)
        for dtype, rtol in RTOL.items():
            low = z.to(dtype)
            if not bool(torch.isfinite(low).all()):  # beyond the range of the format
                continue
            exact, moved = answers(bound, low, target)
            found = evaluate(bound, low, target)
            tried += 1
            for kind in exact:
                if kind.endswith("gradient") and any(word in bound.name for word in SORTING):
                    continue
                error = error_of(found[kind], exact[kind], moved[kind], kind, dtype)
                assert error <= rtol, f"{bound.name} on {form}, {dtype}: {kind} off by {error:.1e}"
    return tried


def check_slope(cls, rng, cases):
    """Compare the gradient in float64 with differences of the value; returns the inputs tried."""
    for _ in range(cases):
        bound, form, z, target = draw_case(cls, rng)
        z = z + torch.as_tensor(rng.normal(size=tuple(z.shape)))  # away from ties and kinks
        bound = bound.frozen(z, target)
        leaf = z.clone().requires_grad_()
        value = bound(leaf, target)
        (grad,) = torch.autograd.grad(value, leaf)
        way, step = torch.as_tensor(rng.normal(size=tuple(z.shape))), 1e-6
        slope = (bound(z + step * way, target) - bound(z - step * way, target)) / (2.0 * step)
        expected = (grad * way).sum()
        room = max(abs(expected), abs(slope)) + 1e-3 * grad.abs().max() + 1e-6 * abs(value) + 1e-10
        assert abs(slope - expected) <= 1e-2 * room, (
            f"{bound.name} on {form}: slope {slope:.3e}, gradient {expected:.3e}"
        )
    return cases
