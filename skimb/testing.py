"""The contract every loss keeps, as checks that third parties can run on their own losses."""

import pickle
from itertools import pairwise

import numpy as np
import torch
from sklearn.base import clone

from skimb._core.priors import ClassPrior
from skimb.losses._base import REQUIREMENTS
from skimb.losses._stack import fields_of

__all__ = ["Batch", "check_loss", "loss_checks", "make_batch"]

_EPOCHS = 10
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Batch:
    """Logits, targets, weights and prior of one task for the checks.

    Parameters
    ----------
    task : {"binary", "binary_pair", "multiclass", "multilabel"}
        Form of the logits: one per row, two per row, one per class, one per label.
    seed : int, default=0
        Seed of the random draws.
    n : int, default=12
        Number of rows.
    """

    def __init__(self, task, seed=0, n=12):
        generator = torch.Generator().manual_seed(seed)
        width = {"binary": (), "binary_pair": (2,), "multiclass": (4,), "multilabel": (3,)}[task]
        self.task = task
        self.logits = 2.0 * torch.randn(n, *width, generator=generator, dtype=torch.float64)
        if task == "multilabel":
            self.target = (torch.rand(n, 3, generator=generator) < 0.4).long()
            self.target[0], self.target[1] = 1, 0
            self.prior = ClassPrior([30, 10, 3], n_samples=60, multilabel=True)
        else:
            n_classes = 4 if task == "multiclass" else 2
            self.target = torch.arange(n) % n_classes
            self.prior = ClassPrior([100, 30, 7, 2][:n_classes])
        self.weight = torch.randint(1, 4, (n,), generator=generator).double()


def make_batch(task, seed=0, n=12):
    """Make the toy batch of a task.

    Parameters
    ----------
    task : {"binary", "binary_pair", "multiclass", "multilabel"}
        Form of the logits.
    seed : int, default=0
        Seed of the random draws.
    n : int, default=12
        Number of rows.

    Returns
    -------
    Batch
        Logits, targets, weights and prior.
    """
    return Batch(task, seed, n)


def _tasks(loss):
    names = {"binary": ("binary", "binary_pair")}
    return [form for task in sorted(loss.tasks) for form in names.get(task, (task,))]


def _bind(loss, batch):
    """The bound loss of a batch, in evaluation mode so that no call changes its state."""
    return loss.bind(batch.prior).eval()


def _grad(bound, logits, target, weight=None):
    z = logits.clone().requires_grad_()
    value = bound(z, target, weight)
    (grad,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), grad


def _close(actual, expected, what, rtol=1e-9, atol=1e-11):
    torch.testing.assert_close(
        actual, expected, rtol=rtol, atol=atol, msg=lambda m: f"{what}: {m}", check_dtype=False
    )


def check_object(loss):
    """The loss is a scikit-learn object: clone, pickle and repr keep it, bind leaves it alone."""

    def params(thing):
        return {name: repr(value) for name, value in thing.get_params().items()}

    before = params(loss)
    for task in sorted(loss.tasks):
        loss.bind(make_batch(task).prior)
    assert params(loss) == before, "bind changed the parameters"
    assert params(clone(loss)) == before, "clone lost parameters"
    assert repr(pickle.loads(pickle.dumps(loss))) == repr(loss), "pickle lost parameters"
    fitted = [name for name in vars(loss) if name.endswith("_")]
    assert not fitted, f"bind left attributes on the loss: {fitted}"


def check_gradient(loss):
    """The closed-form gradient is the derivative of the value, plain and weighted."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        z = batch.logits.requires_grad_()
        for weight in (None, batch.weight):
            fixed = bound.frozen(z.detach(), batch.target, weight)
            torch.autograd.gradcheck(
                lambda z, b=fixed, t=batch.target, w=weight: b(z, t, w), (z,), atol=1e-6
            )
            value, grad = _grad(bound, z.detach(), batch.target, weight)
            same, slope = _grad(fixed, z.detach(), batch.target, weight)
            _close(value, same, f"{task}: the frozen loss has another value")
            _close(grad, slope, f"{task}: the frozen loss has another gradient")


def check_pickled_module(loss):
    """The bound module survives pickling with equal values."""
    batch = make_batch(_tasks(loss)[0])
    bound = _bind(loss, batch)
    value = bound(batch.logits, batch.target)
    again = pickle.loads(pickle.dumps(bound))(batch.logits, batch.target)
    assert torch.equal(value, again), "the pickled module computes another value"


def check_extremes(loss):
    """Values and gradients stay finite for logits of 1e4 in every floating dtype."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        for dtype in _DTYPES:
            for size in (1e4, 60.0, 0.0):
                z = (batch.logits.sign() * size).to(dtype)
                value, grad = _grad(bound, z, batch.target)
                assert torch.isfinite(value).all(), f"{task} {dtype} |z|={size}: value {value}"
                assert torch.isfinite(grad).all(), f"{task} {dtype} |z|={size}: gradient"
                assert grad.dtype == dtype, f"gradient came back in {grad.dtype}, not {dtype}"


def check_reduces_to(loss):
    """Declared identities hold in value and gradient."""
    for params, other, tasks in loss.reduces_to:
        special = clone(loss).set_params(**params)
        for task in sorted(set(tasks) & set(other.tasks) & set(special.tasks)):
            batch = make_batch(task)
            a = _grad(_bind(special, batch), batch.logits, batch.target)
            b = _grad(_bind(other, batch), batch.logits, batch.target)
            _close(a[0], b[0], f"{special!r} is not {other!r} on {task}")
            _close(a[1], b[1], f"gradient of {special!r} is not that of {other!r} on {task}")


def check_permutation(loss):
    """The order of rows does not matter."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        order = torch.randperm(len(batch.target), generator=torch.Generator().manual_seed(1))
        a, ga = _grad(bound, batch.logits, batch.target, batch.weight)
        b, gb = _grad(bound, batch.logits[order], batch.target[order], batch.weight[order])
        _close(b, a, f"{task}: value depends on the order of rows")
        _close(gb, ga[order], f"{task}: gradient depends on the order of rows")


def check_weights(loss):
    """An integer weight equals repeated rows, a zero weight a removed row, a common factor nothing."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        weight = batch.weight.clone()
        weight[-1] = 0.0
        value = bound(batch.logits, batch.target, weight)
        _, grad = _grad(bound, batch.logits, batch.target, weight)
        assert not grad[-1].any(), f"{task}: a row of weight 0 has a gradient"
        without = bound(batch.logits[:-1], batch.target[:-1], weight[:-1])
        _close(without, value, f"{task}: a row of weight 0 is not a removed row")
        if "scale" not in loss.contract_exceptions:
            scaled = bound(batch.logits, batch.target, 7.0 * weight)
            _close(scaled, value, f"{task}: a common factor of the weights matters")
        if "repetition" in loss.contract_exceptions:
            continue
        times = weight.long()
        repeated = bound(
            batch.logits.repeat_interleave(times, 0), batch.target.repeat_interleave(times, 0)
        )
        _close(repeated, value, f"{task}: weights are not repetitions")


def check_degenerate_batches(loss):
    """Empty batches and batches of one class give finite values and gradients."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        same = torch.zeros_like(batch.target)
        for z, t in ((batch.logits, same), (batch.logits[:0], same[:0])):
            value, grad = _grad(bound, z, t)
            assert torch.isfinite(value).all(), f"{task}: value {value} for {len(t)} rows"
            assert torch.isfinite(grad).all(), f"{task}: gradient for {len(t)} rows"


def check_population(loss):
    """A leading axis of logits equals a loop over its members."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        stack = torch.stack([batch.logits, batch.logits * 0.5, -batch.logits])
        target = batch.target.expand(3, *batch.target.shape)
        weight = batch.weight.expand(3, -1)
        code = bound.encode(target, stack)
        for w in (None, weight):
            values, grads = bound.loss_grad(stack, code, w)
            assert values.shape == (3,), f"{task}: population losses have shape {values.shape}"
            for k in range(3):
                own = code.each(lambda part, k=k: part[k])
                value, grad = bound.loss_grad(stack[k], own, None if w is None else w[k])
                _close(values[k], value, f"{task}: member {k} of the population")
                _close(grads[k], grad, f"{task}: gradient of member {k} of the population")


def check_two_logits(loss):
    """One logit per row equals two logits with class 0 at zero."""
    if "binary" not in loss.tasks:
        return
    batch = make_batch("binary")
    bound = _bind(loss, batch)
    pair = torch.stack([torch.zeros_like(batch.logits), batch.logits], -1)
    value, grad = _grad(bound, batch.logits, batch.target)
    value2, grad2 = _grad(bound, pair, batch.target)
    _close(value2, value, "two logits differ from one")
    _close(grad2[:, 1], grad, "the gradient of two logits differs from one")


def check_rows(loss):
    """Row losses average to the loss; gradient and Hessian match autograd and differences."""
    if loss.scope != "row":
        batch = make_batch(_tasks(loss)[0])
        bound = _bind(loss, batch)
        for refused in (bound.row_loss, bound.grad_hess):
            try:
                refused(batch.logits, batch.target)
            except TypeError:
                continue
            raise AssertionError(f"{refused.__name__} of a batch-coupled loss must refuse")
        return
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        bound = bound.frozen(batch.logits, batch.target)
        z = batch.logits.clone().requires_grad_()
        rows = bound.row_loss(z, batch.target)
        assert rows.shape == (len(z),), f"{task}: row losses have shape {rows.shape}"
        _close(rows.mean(), bound(z, batch.target), f"{task}: rows do not average to the loss")
        (auto,) = torch.autograd.grad(rows.sum(), z)
        grad, hess = bound.grad_hess(z.detach(), batch.target)
        _close(grad, auto, f"{task}: grad_hess disagrees with autograd")
        step = 1e-5
        for k in range(z.shape[-1] if z.ndim > 1 else 1):
            shift = torch.zeros_like(z)
            shift[..., k] = step
            if z.ndim == 1:
                shift[:] = step
            up, _ = bound.grad_hess(z.detach() + shift, batch.target)
            down, _ = bound.grad_hess(z.detach() - shift, batch.target)
            numeric = (up - down) / (2 * step)
            index = (slice(None),) if z.ndim == 1 else (..., k)
            _close(hess[index], numeric[index], f"{task}: Hessian", rtol=1e-5, atol=1e-7)
        arrays = bound.grad_hess(z.detach().numpy(), batch.target.numpy())
        assert all(isinstance(a, np.ndarray) for a in arrays), "arrays in must give arrays out"


def check_posterior(loss, tolerance=1e-6):
    """A calibrated loss, minimised in expectation, gives back the true class probabilities."""
    if not loss.calibrated or loss.scope != "row":
        return
    weights = {"binary": np.array([0.4, 1.6]), "multiclass": np.array([0.4, 1.0, 0.6, 2.0])}
    for task in ("binary", "multiclass"):
        batch = make_batch(task)
        if task not in loss.tasks:
            continue
        bound = _bind(loss, batch)
        n_classes = batch.prior.n_classes
        rng = np.random.default_rng(3)
        for class_weight in (None, weights[task]):
            truth = torch.as_tensor(rng.dirichlet(np.full(n_classes, 2.0)))
            mass = truth if class_weight is None else truth * torch.as_tensor(class_weight)
            z = _minimise(bound, mass, n_classes, one_logit=task == "binary" and loss.one_logit)
            found = bound.posterior(z, class_weight=class_weight)[0]
            error = float((found - truth).abs().max())
            assert error < tolerance, (
                f"{loss!r} on {task} (class_weight={class_weight}): posterior off by {error:.1e}"
            )


def _minimise(bound, mass, n_classes, one_logit):
    """Logits of one row that minimise the expected loss under class masses."""
    z = torch.zeros(() if one_logit else (n_classes,), dtype=torch.float64, requires_grad=True)
    labels = torch.arange(n_classes)
    optimizer = torch.optim.LBFGS(
        [z], max_iter=500, tolerance_grad=1e-14, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        rows = bound.row_loss(z.expand(n_classes, *z.shape), labels)
        value = (rows * mass).sum()
        value.backward()
        return value

    optimizer.step(closure)
    return z.detach()[None]


def check_requires(loss):
    """What the bound loss requires are known words that agree with the loss's scope and its attack."""
    for task in _tasks(loss):
        bound = _bind(loss, make_batch(task))
        requires = bound.requires
        assert isinstance(requires, frozenset), f"{task}: requires is no frozenset: {requires!r}"
        unknown = set(requires) - set(REQUIREMENTS)
        assert not unknown, f"{task}: unknown requirements {sorted(unknown)}"
        coupled = "batch" in requires
        assert coupled == (loss.scope == "batch"), (
            f"{task}: scope is {loss.scope!r}, but the bound loss requires {sorted(requires)}"
        )
        stages = [bound.at(epoch, _EPOCHS) for epoch in range(_EPOCHS)]
        more = frozenset().union(*(stage.requires for stage in stages)) - requires
        assert not more, (
            f"{task}: a loss in force requires {sorted(more)}, the loss itself does not"
        )
        attacked = any(stage.attack is not None for stage in stages)
        assert attacked == ("adversary" in requires), (
            f"{task}: the attack and the requirement of an adversary do not agree"
        )


def check_in_force(loss):
    """The loss in force is one object for as long as it is in force, for the same targets."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        stages = [bound.at(epoch, _EPOCHS) for epoch in range(_EPOCHS)]
        again = [bound.at(epoch, _EPOCHS) for epoch in range(_EPOCHS)]
        assert all(a is b for a, b in zip(stages, again, strict=True)), (
            f"{task}: two calls of at for one epoch give two objects"
        )
        changes = sum(a is not b for a, b in pairwise(stages))
        assert changes == len({id(stage) for stage in stages}) - 1, (
            f"{task}: a loss that was in force before comes back as another object"
        )
        for stage in stages:
            assert not stage.training, f"{task}: {stage.name} in force is not in evaluation mode"
            same = stage.task == bound.task and stage.n_classes == bound.n_classes
            assert same, f"{task}: {stage.name} in force is bound to another target"
            value = stage(batch.logits, batch.target)
            assert torch.isfinite(value).all(), f"{task}: {stage.name} in force gives {value}"


def check_unchanged(loss):
    """No use changes what a bound loss computes with; only training feeds its memory."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        before = fields_of(bound)
        for weight in (None, batch.weight):
            bound.loss_grad(batch.logits, bound.encode(batch.target, batch.logits), weight)
            if "memory" not in bound.requires:
                bound.train()
            _grad(bound, batch.logits, batch.target, weight)
            _grad(bound, batch.logits.float(), batch.target, weight)
            bound.frozen(batch.logits, batch.target, weight)
            bound.eval()
        bound.posterior(batch.logits)
        bound.decision(batch.logits)
        if loss.scope == "row":
            bound.row_loss(batch.logits, batch.target)
            bound.grad_hess(batch.logits, batch.target, convex=True)
        for epoch in range(_EPOCHS):
            bound.at(epoch, _EPOCHS)
        assert fields_of(bound) == before, f"{task}: using the bound loss changed its attributes"


def _refused_targets(task, target, n_classes):
    """Targets that no loss may take, by what is wrong with them."""
    values = {"-1 for 0": -1.0, "-100": -100.0, "one half": 0.5, "not a number": float("nan")}
    values["too large"] = float(n_classes if task != "multilabel" else 2)
    found = {}
    for name, value in values.items():
        wrong = target.double().clone()
        wrong[target == 0] = value
        found[name] = wrong
    if task != "multilabel":
        found["one-hot"] = torch.nn.functional.one_hot(target, n_classes)
        found["numbers from 1"] = target + 1
        found["two columns"] = target[:, None].repeat(1, 2)[:, :, None]
    else:
        found["a label less"] = target[:, 1:]
        found["class numbers"] = target[:, 0]
    found["a row less"] = target[:-1]
    return found


def _refusal(call, *args):
    """The sentence by which a call refuses its arguments, or None where it takes them."""
    try:
        call(*args)
    except ValueError as error:
        return str(error)
    return None


def _refuses(what, call, *args):
    said = _refusal(call, *args)
    assert said is not None, f"{what} must be refused by a ValueError"
    assert said.endswith("."), f"{what}: the refusal is no sentence: {said}"


def check_targets(loss):
    """Targets and weights of a wrong shape or with wrong values are refused, columns are taken as rows."""
    for task in _tasks(loss):
        batch = make_batch(task)
        bound = _bind(loss, batch)
        z, y, w = batch.logits, batch.target, batch.weight
        calls = {"the module": bound, "encode": lambda z, t, b=bound: b.encode(t, z)}
        if loss.scope == "row":
            calls |= {"row_loss": bound.row_loss, "grad_hess": bound.grad_hess}
        for name, wrong in _refused_targets(task, y, batch.prior.n_classes).items():
            for which, call in calls.items():
                _refuses(f"{task}: a target with {name} in {which}", call, z, wrong)
        negative, missing = w.clone(), w.clone()
        negative[0], missing[0] = -1.0, float("nan")
        wrong_weights = {"negative": negative, "missing": missing, "too few": w[:-1]}
        wrong_weights["five columns of"] = w[:, None].repeat(1, 5)
        for name, wrong in wrong_weights.items():
            _refuses(f"{task}: {name} weights", bound, z, y, wrong)
        value, weighted = bound(z, y), bound(z, y, w)
        for name, same in {"floats": y.double(), "small integers": y.byte()}.items():
            _close(bound(z, same), value, f"{task}: a target of {name}", rtol=0.0, atol=0.0)
        _close(bound(z, y, w.long()), weighted, f"{task}: integer weights")
        if task != "multilabel":
            _close(bound(z, y[:, None]), value, f"{task}: a column as target")
            _close(bound(z, y, w[:, None]), weighted, f"{task}: a column of weights")
        else:
            each = w[:, None].expand_as(z)
            said = _refusal(bound, z, y, each)
            assert said is None or "one weight per row" in said, f"{task}: label weights: {said}"
            if said is None:
                _close(bound(z, y, each), weighted, f"{task}: weights of labels equal in each row")
        if task == "binary":
            _close(bound(z[:, None], y), value, f"{task}: a column of logits")
            _close(bound(z[:, None], y[:, None]), value, f"{task}: columns")
            _close(bound(z, y.bool()), value, f"{task}: a target of truth values")


_CHECKS = (
    check_object,
    check_gradient,
    check_pickled_module,
    check_extremes,
    check_reduces_to,
    check_permutation,
    check_weights,
    check_degenerate_batches,
    check_population,
    check_two_logits,
    check_rows,
    check_posterior,
    check_requires,
    check_in_force,
    check_unchanged,
    check_targets,
)


def loss_checks():
    """List the contract checks, each a function of a loss that raises on a breach.

    Returns
    -------
    list of callable
        The checks, for ``pytest.mark.parametrize``.
    """
    return list(_CHECKS)


def check_loss(loss):
    """Run the whole contract on a loss.

    Parameters
    ----------
    loss : Loss
        An instance of a subclass of :class:`skimb.losses.Loss`.

    Raises
    ------
    AssertionError
        At the first breach, naming it.

    Examples
    --------
    >>> from skimb.losses import Poly
    >>> from skimb.testing import check_loss
    >>> check_loss(Poly(epsilon=0.5))
    """
    for check in _CHECKS:
        check(loss)
