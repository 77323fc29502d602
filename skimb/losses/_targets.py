"""Targets of losses, and the checks of logits, targets and weights that come from outside."""

import numpy as np
import torch

from skimb.functional._closed_form import untransformed

HALF = (torch.float16, torch.bfloat16)


class Target:
    """Encoded targets of rows, and what some losses read beside them; sliced with the rows.

    Parameters
    ----------
    code : Tensor of shape (..., n) or (..., n, L)
        Class numbers where there is one logit per class, signs -1/+1 where there is one logit per row or
        per label, target values for regression.
    cost : Tensor of shape (..., n, C), default=None
        Cost of deciding for each class in each row; for losses of bags the number of each row's bag, (..., n).
    inputs : Tensor of shape (..., n), default=None
        L1 norm of the output layer's inputs of each row.
    """

    __slots__ = ("code", "cost", "inputs")

    def __init__(self, code, cost=None, inputs=None):
        self.code, self.cost, self.inputs = code, cost, inputs

    def __len__(self):
        return len(self.code)

    def each(self, change):
        """The target whose parts are what `change` makes of these."""
        parts = (self.code, self.cost, self.inputs)
        return Target(*(None if part is None else change(part) for part in parts))

    def with_inputs(self, inputs):
        """The same rows with the norms of the output layer's inputs."""
        return Target(self.code, self.cost, inputs)


def tidy_call(bound, logits, target, weight):
    """Logits, targets and weights of a call from outside: columns (n, 1) become (n,), weights are checked.

    Weights take the dtype that the loss computes in.
    """
    untransformed()
    if not torch.is_tensor(logits) or not logits.is_floating_point():
        kind = logits.dtype if torch.is_tensor(logits) else type(logits).__name__
        raise TypeError(f"{bound.name}: logits must be a floating-point tensor, got {kind}.")
    target = _as_tensor(bound, "target", target, logits.device)
    if bound.task == "binary" and logits.ndim > 1 and logits.shape[-1] == 1:
        logits = logits.squeeze(-1)
    if bound.task != "multilabel" and target.ndim == 2 and target.shape[1] == 1:
        target = target.squeeze(-1)
    if weight is None:
        return logits, target, None
    weight = _as_tensor(bound, "sample_weight", weight, logits.device)
    weight = weight.to(torch.float32 if logits.dtype in HALF else logits.dtype)
    if weight.ndim == 2 and weight.shape[1] == 1 and target.ndim == 1:
        weight = weight.squeeze(-1)
    wanted = target.shape[:-1] if bound.task == "multilabel" else target.shape
    if weight.shape not in (wanted, target.shape):
        raise ValueError(
            f"{bound.name}: sample_weight of shape {tuple(weight.shape)} does not fit the target of shape "
            f"{tuple(target.shape)}; give one weight per row, {tuple(wanted)}."
        )
    if weight.requires_grad:
        raise ValueError(
            f"{bound.name}: sample_weight requires a gradient, and the loss has none in its weights; "
            "detach it."
        )
    if not bool((weight >= 0).all()) or not bool(torch.isfinite(weight).all()):
        raise ValueError(
            f"{bound.name}: sample_weight must be finite and not negative, got values between "
            f"{float(weight.min()):g} and {float(weight.max()):g}."
        )
    return logits, target, weight


def _as_tensor(bound, name, value, device):
    """Real numbers from outside as a dense tensor."""
    if torch.is_tensor(value):
        if value.layout != torch.strided or value.is_complex():
            kind = "complex" if value.is_complex() else "sparse"
            raise TypeError(
                f"{bound.name}: {name} is a {kind} tensor; give a dense one of real numbers."
            )
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{bound.name}: {name} must hold numbers, got an array of dtype {array.dtype}; encode it first."
        )
    return torch.as_tensor(array, device=device)


def check_target(bound, target, logits):
    """Refuse targets whose shape or values do not fit a bound loss and the logits it is given."""
    shape, given = tuple(logits.shape), tuple(target.shape)
    if not given:
        raise ValueError(f"{bound.name}: the target is one number; give one per row.")
    if target.dtype.is_complex:
        raise ValueError(f"{bound.name}: the target is complex; give class numbers or 0/1 labels.")
    if bound.task == "multilabel":
        wanted, count = shape, 2
        if shape[-1:] != (bound.n_classes,):
            raise ValueError(
                f"{bound.name} was bound to {bound.n_classes} labels, got logits of shape {shape}; the "
                f"last axis must have length {bound.n_classes}."
            )
    else:
        margin = bound.task == "binary" and given == shape and not _looks_one_hot(target)
        wanted, count = (shape if margin else shape[:-1]), bound.n_classes
        if not margin and shape[-1:] != (bound.n_classes,):
            form = " or one per row" if bound.task == "binary" else ""
            raise ValueError(
                f"{bound.name} was bound to {bound.n_classes} classes, got logits of shape {shape} with a "
                f"target of shape {given}; give one logit per class{form}."
            )
    if given != wanted:
        cure = (
            "give 0/1 labels of the shape of the logits"
            if bound.task == "multilabel"
            else "give class numbers; for one-hot rows take target.argmax(-1)"
        )
        raise ValueError(
            f"{bound.name}: the target of shape {given} does not fit logits of shape {shape}; {cure}."
        )
    if not target.numel():
        return
    low, high = target.aminmax()
    whole = not target.dtype.is_floating_point or bool((target == target.round()).all())
    if not (whole and low >= 0 and high < count):
        values = sorted(set(target.detach().flatten()[:10_000].tolist()))
        wrong = [v for v in values if v not in range(count)] or [float(low), float(high)]
        what = (
            "0/1 labels" if bound.task == "multilabel" else f"class numbers from 0 to {count - 1}"
        )
        cure = (
            "missing labels take a sample_weight of shape (n, L) that is 0 there"
            if bound.task == "multilabel"
            else "encode them, and leave out rows without a class"
        )
        raise ValueError(
            f"{bound.name}: the target holds {wrong[:5]}, which are not {what}; {cure}."
        )


def _looks_one_hot(target):
    """Whether a target holds one 1 in each row of two columns."""
    two = target.ndim == 2 and target.shape[1] == 2 and len(target) > 0
    return two and bool((target.sum(1) == 1).all()) and bool(((target == 0) | (target == 1)).all())


def check_costs(bound, cost, target):
    """Refuse costs that are not one finite number per row and class."""
    wanted = (*target.shape, bound.n_classes)
    if tuple(cost.shape) != wanted:
        raise ValueError(
            f"{bound.name}: cost of shape {tuple(cost.shape)} does not fit the target of shape "
            f"{tuple(target.shape)}; give one column per class, {wanted}."
        )
    if not bool(torch.isfinite(cost).all()):
        raise ValueError(f"{bound.name}: cost holds numbers that are not finite.")
