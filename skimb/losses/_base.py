"""The `Loss` protocol: a parameter object that is bound to a class prior and then computes."""

import copy
import re
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn

from skimb._core.html import ShownAsHTML, card, escaped, table
from skimb._core.params import NamesReadOnce
from skimb._core.priors import ClassPrior
from skimb.functional import _closed_form as cf
from skimb.functional import _targets
from skimb.functional.confusion import softmax_chain
from skimb.losses._requirements import REQUIREMENTS, check_served, unserved
from skimb.losses._targets import HALF, Target, check_costs, check_target, tidy_call


class Loss(ShownAsHTML, NamesReadOnce, ABC):
    """Base class of all classification losses.

    A loss is a scikit-learn parameter object: ``get_params``, ``set_params`` and ``clone`` work, so
    ``loss__gamma`` can be searched. Parameters are checked by :meth:`bind`, which never changes the
    object.
    """

    #: targets the loss accepts
    tasks = frozenset({"binary", "multiclass", "multilabel"})
    #: "row" if the loss is a mean over rows, "batch" if rows are coupled
    scope = "row"
    #: whether probabilities are recovered in closed form
    calibrated = True
    #: whether a constant added to all scores leaves the loss unchanged, so that it fits no intercept
    shift_invariant = False
    #: whether two classes can share one logit without changing what the loss means
    one_logit = True
    #: whether two classes play different parts, class 1 being the positive one
    one_sided = False
    #: declared identities: (parameters, equal loss, tasks on which they are equal)
    reduces_to: tuple = ()
    #: parts of the contract that the loss does not keep: "scale" if a common factor of all weights
    #: matters, "repetition" if an integer weight is not the same as repeated rows
    contract_exceptions: frozenset = frozenset()

    #: shares of cross-entropy beside the loss that a search tries by `Mixed`, the usual one first; empty
    #: for losses that train well alone
    mixed_shares: tuple = ()

    _parameter_constraints: dict = {}
    _grid: dict = {}

    @classmethod
    def grid(cls):
        """Values worth searching, as a parameter grid.

        Returns
        -------
        dict of str to list
            One list of values per parameter.
        """
        return {name: list(values) for name, values in cls._grid.items()}

    def bind(self, prior):
        """Check the parameters and fix everything that depends on the training target.

        Parameters
        ----------
        prior : ClassPrior
            Counts and label distribution of the training part.

        Returns
        -------
        BoundLoss
            A module called as ``(logits, target, sample_weight=None)``.

        Raises
        ------
        TypeError
            If `prior` is not a ClassPrior.
        ValueError
            If a parameter is out of range or the loss does not accept the kind of target.
        """
        if not isinstance(prior, ClassPrior):
            raise TypeError(
                f"{self!r}.bind needs a ClassPrior, got {type(prior).__name__}; build one with "
                "ClassPrior(counts=...) or ClassPrior.of(y)."
            )
        self._validate_params()
        task = task_of(prior)
        if task not in self.tasks:
            raise ValueError(
                f"{self!r} does not accept {task} targets, only {sorted(self.tasks)}; "
                "choose another loss from skimb.losses.all_losses(task)."
            )
        return self._tied(self._bind(prior), prior)

    def _tied(self, bound, prior):
        """A new bound loss with what it takes from its object and its target."""
        bound.task, bound.n_classes = task_of(prior), prior.n_classes
        bound.calibrated, bound.shift_invariant = self.calibrated, self.shift_invariant
        bound._loss = self
        return bound

    @abstractmethod
    def _bind(self, prior):
        """Make the bound loss; parameters are valid and the task is allowed."""

    def _html(self):
        """What it is, its parameters, and where it can be used."""
        first = (type(self).__doc__ or "").strip().partition("\n")[0]
        first = re.split(r"(?: of)? ?:(?= |math:|$)", first)[0].strip().rstrip(".")
        params = [(name, repr(value)) for name, value in self.get_params(deep=False).items()]
        rows = "couples the rows of a batch" if self.scope == "batch" else "a mean over rows"
        said = "recovered" if self.calibrated else "not recovered"
        return card(
            repr(self),
            f"<p>{escaped(first)}.</p>" if first else "",
            table(("parameter", "value"), params) if params else "",
            f"<p>{', '.join(sorted(self.tasks))} targets; {rows}; probabilities are {said}.</p>",
        )


def task_of(prior):
    """Name the task of a prior: binary, multiclass or multilabel."""
    if prior.multilabel:
        return "multilabel"
    return "binary" if prior.n_classes == 2 else "multiclass"


class BoundLoss(nn.Module, ABC):
    """A loss tied to one training target.

    Call it as ``(logits, target, sample_weight=None)`` for the (weighted) mean loss. Logits are
    ``(..., n, C)``; two classes may use one logit ``(..., n)``, multi-label targets use ``(..., n, L)``
    with 0/1 targets of the same shape. What a bound loss computes with stands in its attributes, which
    do not change after it was made; only buffers may, in losses that require "memory".
    """

    task = "multiclass"
    n_classes = 0
    calibrated = True
    shift_invariant = False
    #: what the loss requires of whoever trains it: keys of `REQUIREMENTS`
    requires: frozenset = frozenset()
    #: whether the loss reads costs of rows, ``Target.cost``
    takes_costs = False
    #: whether rows come in bags, whose numbers stand in ``Target.cost``, and batches must hold whole bags
    takes_bags = False
    #: how training rows are perturbed, or None (see `AdversarialCompSum`)
    attack = None
    _loss = None

    @property
    def name(self):
        """The loss and its parameters, for messages."""
        return repr(self._loss) if self._loss is not None else type(self).__name__

    def at(self, epoch, n_epochs):
        """The loss in force in an epoch of training; one without a schedule is always in force itself.

        Parameters
        ----------
        epoch : int
            Epoch, from 0.
        n_epochs : int
            Planned number of epochs.

        Returns
        -------
        BoundLoss
            The same object for all epochs in which the same loss is in force.
        """
        return self

    # --- targets -----------------------------------------------------------------------------

    def encode(self, target, logits, cost=None):
        """Check targets and bring them into the form the closed forms read.

        Parameters
        ----------
        target : Tensor of shape (..., n) or (..., n, L)
            Class indices, or 0/1 labels.
        logits : Tensor
            Scores whose shape tells one logit from several, and whose dtype signs take.
        cost : array-like of shape (n, C), default=None
            Costs of rows, for losses that take them.

        Returns
        -------
        Target
            int64 class indices, or signs -1/+1, and the costs.

        Raises
        ------
        ValueError
            If the shape or a value of the target or of the costs does not fit.
        TypeError
            If costs are given to a loss that takes none.
        """
        check_target(self, target, logits)
        if cost is not None:
            if not self.takes_costs:
                raise TypeError(f"{self.name} takes no costs of rows; use loss=ExpectedCost().")
            cost = torch.as_tensor(np.asarray(cost), dtype=logits.dtype, device=target.device)
            check_costs(self, cost, target)
        if self.task == "multilabel" or cf.is_margin(logits, target):
            like = logits.float() if logits.dtype in HALF else logits
            return Target(cf.signs(target, like), cost)
        return Target(target.long(), cost)

    # --- the closed form ---------------------------------------------------------------------

    @abstractmethod
    def loss_grad(self, logits, target, weight=None, total=None):
        """Mean loss and its gradient in the logits, without autograd and without checks.

        Parameters
        ----------
        logits : Tensor of shape (..., n, C), (..., n) or (..., n, L)
            Scores.
        target : Target
            Targets as :meth:`encode` gives them.
        weight : Tensor of shape (..., n), default=None
            Row weights; (..., n, L) weighs labels one by one.
        total : float, default=None
            Divisor of row-separable losses; ``None`` means the sum of the weights.

        Returns
        -------
        loss : Tensor of shape (...)
            Mean loss.
        grad : Tensor like logits
            Gradient of the mean loss.
        """

    def forward(self, logits, target, sample_weight=None):
        """Mean loss, differentiable once."""
        logits, target, sample_weight = tidy_call(self, logits, target, sample_weight)
        encoded = self.encode(target, logits)
        value = cf.apply(lambda z: self.loss_grad(z, encoded, sample_weight), logits)
        if "memory" in self.requires and self.training:
            z = logits.detach()
            self.observe(z.float() if z.dtype in HALF else z, encoded, sample_weight)
        return value

    def observe(self, logits, target, weight=None):
        """Gather what a loss with a memory keeps of a finished training batch; others ignore it."""
        return None

    def frozen(self, logits, target, weight=None):
        """Fix what the loss holds constant when it differentiates.

        Losses with detached weights have a gradient that is not the derivative of their value. The
        module returned here keeps those weights as they are at `logits`, so that it is.

        Parameters
        ----------
        logits : Tensor
            Scores.
        target : Tensor
            Targets.
        weight : Tensor of shape (..., n), default=None
            Row weights.

        Returns
        -------
        BoundLoss
            This loss where nothing is detached.
        """
        return self

    def replaced(self, **fields):
        """A copy of this loss with some attributes replaced."""
        other = copy.copy(self)
        other.__dict__ |= fields
        other.__dict__.pop("_constants", None)
        return other

    def row_loss(self, logits, target):
        """Loss of each row; refused by batch-coupled losses."""
        raise TypeError(f"{self.name} couples the rows of a batch and has no row losses.")

    def grad_hess(self, logits, target, convex=False):
        """Gradient and diagonal Hessian per row; refused by batch-coupled losses."""
        raise TypeError(f"{self.name} couples the rows of a batch and has no row-wise Hessian.")

    # --- the four forms of logits ------------------------------------------------------------

    def form(self, logits, code):
        """Which form the logits of a batch have, the one place where forms are told apart.

        Returns
        -------
        str
            "labels": (..., n, L), one logit and one sign per label; "margin": (..., n), one logit and one
            sign per row; "pair": (..., n, 2), two logits and one class number per row; "classes":
            (..., n, C).
        """
        if self.task == "multilabel":
            return "labels"
        if logits.ndim == code.ndim:
            return "margin"
        return "pair" if self.n_classes == 2 else "classes"

    # --- predictions -------------------------------------------------------------------------

    def decision(self, logits):
        """Scores whose argmax (or sign) is the decision the loss aims at."""
        return logits

    def log_scores(self, logits):
        """Unnormalised log posterior (n, C), or log odds (n,) and (n, L)."""
        return torch.log_softmax(logits, -1) if self.has_class_axis(logits) else logits

    def has_class_axis(self, logits):
        """Whether logits to predict from hold one score per class, (n, C), or one per row, (n,)."""
        return self.task != "multilabel" and logits.ndim > 1

    def posterior(self, logits, class_weight=None, log_shift=None):
        """Class probabilities under the training population's own frequencies.

        Parameters
        ----------
        logits : Tensor of shape (n, C), (n,) or (n, L)
            Scores.
        class_weight : array of shape (C,) or (L, 2), default=None
            Weights the rows carried in training, which are divided out.
        log_shift : array of shape (C,) or (L, 2), default=None
            Log ratio of the wanted to the trained label distribution.

        Returns
        -------
        Tensor of shape (n, C) or (n, L)
            Probabilities; for a loss that is not calibrated, its raw scores, uncorrected.
        """
        scores = self.log_scores(logits.float() if logits.dtype in HALF else logits)
        offset = 0.0
        if self.calibrated:
            if class_weight is not None:
                offset = -np.log(class_weight)
            if log_shift is not None:
                offset = offset + log_shift
        margin = self.task == "multilabel" or scores.ndim == 1
        if isinstance(offset, np.ndarray):
            if margin:
                offset = offset[..., 1] - offset[..., 0]
            scores = scores + torch.as_tensor(offset, dtype=scores.dtype, device=scores.device)
        if not margin:
            return torch.softmax(scores, -1)
        p = torch.sigmoid(scores)
        return p if self.task == "multilabel" else torch.stack([torch.sigmoid(-scores), p], -1)

    # --- constants ---------------------------------------------------------------------------

    def cached(self, like, name, make):
        """What `make` gives, kept for the dtype and device of `like`."""
        cache = self.__dict__.setdefault("_constants", {})
        key = (name, like.dtype, like.device)
        if key not in cache:
            cache[key] = make()
        return cache[key]

    def cached_by(self, part, make):
        """What `make` gives for a part of this loss, made once."""
        cache = self.__dict__.setdefault("_constants", {})
        key = ("part", id(part))
        if key not in cache:
            cache[key] = make()
        return cache[key]

    def _apply(self, fn, recurse=True):
        """Move or cast the loss, as ``to`` and ``cuda`` do, without what it keeps for the former device or type."""
        self.__dict__.pop("_constants", None)
        return super()._apply(fn, recurse)

    # --- copies and pickles ------------------------------------------------------------------

    def __getstate__(self):
        """The attributes with tensors as arrays, which every way of saving takes."""
        return _each_tensor(self._own(), torch.Tensor, lambda t: _Array(t.detach().cpu().numpy()))

    def __setstate__(self, state):
        super().__setstate__(_each_tensor(state, _Array, lambda a: torch.from_numpy(a.value)))

    def __copy__(self):
        other = type(self).__new__(type(self))
        other.__dict__ = self._own()
        return other

    def __deepcopy__(self, memo):
        memo[id(self)] = other = type(self).__new__(type(self))
        other.__dict__ = copy.deepcopy(self._own(), memo)
        return other

    def _own(self):
        """The attributes, without constants that are computed when needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_constants"}


class _Array:
    """Stands for a tensor in a saved loss."""

    def __init__(self, value):
        self.value = value


def _each_tensor(value, kind, change):
    """Dictionaries and tuples with every entry of a kind changed; parameters stay."""
    if isinstance(value, kind) and not isinstance(value, nn.Parameter):
        return change(value)
    if isinstance(value, dict):
        return type(value)((k, _each_tensor(v, kind, change)) for k, v in value.items())
    if type(value) in (tuple, list):
        return type(value)(_each_tensor(v, kind, change) for v in value)
    return value


class RowBound(BoundLoss):
    """A bound loss that is a weighted mean of row losses."""

    @abstractmethod
    def entries(self, logits, target, factor=1.0):
        """Loss and `factor` times the gradient per row, or per label for multi-label targets."""

    @abstractmethod
    def second(self, logits, target):
        """Gradient and diagonal Hessian per row or label."""

    def loss_grad(self, logits, target, weight=None, total=None):
        """Weighted mean of the row losses and its gradient."""
        labels = self.task == "multilabel"
        if weight is None:
            n = target.code.shape[-2] if labels else target.code.shape[-1]
            total = max(n, 1) if total is None else total
            loss, grad = self.entries(logits, target, 1.0 / total)
            if total == n and not labels:
                return loss.mean(-1), grad
            return (loss.sum((-1, -2)) if labels else loss.sum(-1)) / total, grad
        loss, grad = self.entries(logits, target)
        if labels and weight.ndim < loss.ndim:
            weight = weight.unsqueeze(-1)
        if total is None:
            total = weight.sum(-2 if labels else -1)
            total = total.mean(-1) if labels else total
            total = torch.where(total > 0, total, torch.ones_like(total))
            factor = weight / (total[..., None, None] if labels else total.unsqueeze(-1))
        else:
            factor = weight * (1.0 / total)
        loss = loss * factor
        loss = loss.sum((-1, -2)) if labels else loss.sum(-1)
        return loss, grad.mul_(factor.unsqueeze(-1) if grad.ndim > factor.ndim else factor)

    def row_loss(self, logits, target):
        """Loss of each row.

        Parameters
        ----------
        logits : Tensor of shape (..., n, C), (..., n) or (..., n, L)
            Scores.
        target : Tensor of shape (..., n) or (..., n, L)
            Class indices, or 0/1 labels.

        Returns
        -------
        Tensor of shape (..., n)
            Row losses, summed over labels.
        """
        logits, target, _ = tidy_call(self, logits, target, None)
        encoded = self.encode(target, logits)
        loss = cf.apply(lambda z: self.entries(z, encoded), logits)
        return loss.sum(-1) if self.task == "multilabel" else loss

    def convex_second(self, logits, target):
        """Gradient and a positive stand-in for the diagonal Hessian: its absolute value."""
        grad, hess = self.second(logits, target)
        return grad, hess.abs()

    def grad_hess(self, logits, target, convex=False):
        """Gradient and diagonal Hessian of each row loss, not divided by the number of rows.

        Parameters
        ----------
        logits : Tensor or ndarray of shape (..., n, C), (..., n) or (..., n, L)
            Scores; arrays are computed in float64 and answered as arrays.
        target : Tensor or ndarray of shape (..., n) or (..., n, L)
            Class indices, or 0/1 labels.
        convex : bool, default=False
            Answer a non-negative stand-in for the Hessian, as Newton steps and boosting need it: negative
            curvature of the shape is dropped, or the absolute value is taken.

        Returns
        -------
        grad, hess : like logits
            First and second derivative of each row loss.
        """
        arrays = not torch.is_tensor(logits)
        if arrays:
            logits = torch.as_tensor(np.asarray(logits, dtype=np.float64))
        shape = logits.shape
        logits, target, _ = tidy_call(self, logits, target, None)
        z = logits.float() if logits.dtype in HALF else logits
        with torch.no_grad():
            of = self.convex_second if convex else self.second
            grad, hess = of(z, self.encode(target, z))
        grad, hess = grad.reshape(shape), hess.reshape(shape)
        if arrays:
            return grad.numpy(), hess.numpy()
        return grad, hess


class CoupledBound(BoundLoss):
    """A bound loss of whole batches: a family gives the formula for one logit and for several classes."""

    requires = frozenset({"batch"})

    @abstractmethod
    def margin(self, logits, sign, weight):
        """Loss and gradient for one logit (..., n) and one sign -1/+1 per row."""

    @abstractmethod
    def classes(self, logits, code, weight):
        """Loss and gradient for one logit per class (..., n, C) and class numbers (..., n)."""

    def pair(self, logits, code, weight):
        """Loss and gradient for two logits of two classes: those of their difference."""
        sign = cf.signs(code, logits[..., 0])
        return pair_to_margin(lambda z: self.margin(z, sign, weight), logits)

    def labels(self, logits, sign, weight):
        """Loss and gradient for labels (..., n, L): the mean over labels, each a batch of its own."""
        w = None if weight is None else weight.unsqueeze(-2)
        loss, grad = self.margin(logits.transpose(-1, -2), sign.transpose(-1, -2), w)
        return loss.mean(-1), grad.transpose(-1, -2) / logits.shape[-1]

    def loss_grad(self, logits, target, weight=None, total=None):
        """Loss of the batch and its gradient."""
        form = self.form(logits, target.code)
        if form == "labels" and weight is not None and weight.ndim == logits.ndim:
            raise ValueError(f"{self.name} takes one weight per row, not one per label.")
        return getattr(self, form)(logits, target.code, weight)


def as_like(value, like):
    """An array as a tensor in the dtype and device of `like`; plain floats stay."""
    if isinstance(value, float) and not isinstance(value, np.floating):
        return value
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def one_hot(code, like):
    """Class indices as a 0/1 float matrix like the logits."""
    return _targets.one_hot(code, like)


def positives(code):
    """Signs -1/+1 as 0/1 floats."""
    return code.clamp(min=0.0)


def pair_to_margin(closed, logits):
    """Run a one-logit closed form on two-class logits (..., n, 2) through their difference."""
    loss, grad = closed(logits[..., 1] - logits[..., 0])
    return loss, torch.stack([-grad, grad], -1)


__all__ = [
    "REQUIREMENTS",
    "BoundLoss",
    "CoupledBound",
    "Loss",
    "RowBound",
    "Target",
    "check_served",
    "one_hot",
    "pair_to_margin",
    "positives",
    "softmax_chain",
    "task_of",
    "unserved",
]
