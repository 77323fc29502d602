"""Several bound losses as one over a leading population axis."""

import numpy as np
import torch

from skimb.functional import _shapes as shapes
from skimb.losses._softmax import SoftmaxBound


class StackedSoftmax(SoftmaxBound):
    """Softmax losses of members with one shape and their own parameters."""

    def __init__(self, bounds, parameter):
        first = bounds[0]
        super().__init__(first.shape, smoothing=first.smoothing)
        self.parameter = parameter
        self.arrays = {}
        for name in first.arrays:
            values = [b.arrays[name] for b in bounds]
            if values[0] is None:
                continue
            if isinstance(values[0], tuple):
                self.arrays[name] = tuple(_column(v) for v in zip(*values, strict=True))
            else:
                self.arrays[name] = _column(values)
        if first.weights is not None:
            self.weights = np.stack([b.weights for b in bounds])[:, None]
        self.gains = [b.gain for b in bounds]
        self.constants = [b.constant for b in bounds]

    def row_shape(self, logits, target):
        if self.parameter is None:
            return self.shape
        axes = 2 if self.task == "multilabel" else 1
        p = self.cached(
            logits,
            "parameter",
            lambda: logits.new_tensor(self.parameter).reshape(-1, *(1,) * axes),
        )
        return type(self.shape)(p)


def _column(values):
    """Members' numbers or vectors, with an axis for rows after that of the members."""
    return np.stack([np.asarray(v, float) for v in values])[:, None]


def stack(bounds):
    """One bound loss whose `loss_grad` takes logits (K, n, ...) of all members of one family.

    Parameters
    ----------
    bounds : list of BoundLoss
        One per member, all with the same `family`.

    Returns
    -------
    BoundLoss
        The first one if all are the same, else one with parameters on a leading axis.
    """
    first = bounds[0]
    if len(bounds) == 1 or type(first) is not SoftmaxBound or not _stackable(first):
        return first
    one = _fingerprint(first)
    if all(_fingerprint(b) == one for b in bounds[1:]):
        return first
    parameters = [b.shape[0] if b.shape else None for b in bounds]
    special = isinstance(first.shape, shapes.Identity) or len(set(parameters)) == 1
    stacked = StackedSoftmax(bounds, None if special else parameters)
    stacked.task, stacked.n_classes, stacked._loss = first.task, first.n_classes, first._loss
    return stacked


def family(bound):
    """Key of losses that can share one call; memories are members' own, regression losses have no axis for them."""
    if bound.task == "regression" or "memory" in bound.requires:
        return (id(bound),)
    same = (type(bound), bound.task, bound.n_classes)
    if type(bound) is SoftmaxBound and _stackable(bound):
        return (
            *same,
            type(bound.shape),
            tuple(sorted(bound.arrays)),
            bound.weights is None,
            bound.smoothing,
        )
    return (*same, bound.name, _fingerprint(bound))


def _stackable(bound):
    """Whether a softmax loss is nothing but terms that a stack has one of per member."""
    if not vars(bound).keys() <= _FIELDS:  # someone gave it more
        return False
    plain = bound.gain == 1.0 and bound.constant == 0.0 and isinstance(bound.smoothing, float)
    # the scale of logits and one-sided margins are computed for each member by itself
    return plain and len(bound.shape) <= 1 and not {"scale", "margin"} & set(bound.arrays)


# what a softmax loss consists of
_FIELDS = {
    *vars(SoftmaxBound()),
    "_constants",
    "_loss",
    "calibrated",
    "n_classes",
    "shift_invariant",
    "task",
}

# torch's bookkeeping, and what follows from the other fields
_BOOKKEEPING = {*vars(torch.nn.Module()), "_constants", "_loss"} - {
    "_modules",
    "_buffers",
    "_parameters",
}


def fields_of(bound):
    """Everything a bound loss computes with, as something to compare."""
    return _fingerprint(bound)


def _fingerprint(value):
    """A value and all that it holds, as something to compare.

    A value that cannot be compared is equal to itself alone.
    """
    if isinstance(value, torch.nn.Module):
        own = {k: v for k, v in vars(value).items() if k not in _BOOKKEEPING}
        return (type(value), _fingerprint(own))
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if torch.is_tensor(value):
        return _fingerprint(value.detach().cpu().numpy())
    if isinstance(value, dict):
        return tuple((k, _fingerprint(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return (type(value), tuple(_fingerprint(v) for v in value))
    try:
        hash(value)
    except TypeError:
        return (type(value), id(value))
    return value
