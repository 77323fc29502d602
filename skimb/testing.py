"""The contract every loss keeps, as checks that third parties can run on their own losses."""

import pickle

import numpy as np
import torch
from sklearn.base import clone

from skimb._core.priors import ClassPrior

__all__ = ["Batch", "check_loss", "loss_checks", "make_batch"]

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
        for task in sorted(set(tasks) & set(other.tasks)):
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
