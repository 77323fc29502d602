"""What targets may be: the checks that every formula and every kernel shares."""

import torch

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def class_indices(target, logits):
    """Class indices as int64, checked against the rows and the classes of the logits.

    Parameters
    ----------
    target : Tensor of shape (..., n)
        Class indices of any integer type.
    logits : Tensor of shape (..., n, C)
        Scores.

    Returns
    -------
    Tensor of shape (..., n)
        int64 indices from 0 to C - 1.
    """
    index = integers(target, logits)
    width = logits.shape[-1]
    if index.numel():
        low, high = torch.aminmax(index)
        if int(low) < 0 or int(high) >= width:
            refuse_classes(index, width)
    return index


def integers(target, logits):
    """Class indices as int64, one per row of the logits and on their device, of any range."""
    if target.dtype is not torch.int64:
        if target.dtype not in _INTEGERS:
            raise ValueError(
                f"Class indices must be integers, got {target.dtype}; convert them with "
                "target.long()."
            )
        target = target.long()
    rows = logits.shape[:-1]
    if target.shape != rows:
        if not _broadcasts(target.shape, rows):
            raise ValueError(
                f"Logits of shape {tuple(logits.shape)} need one class index per row, shape "
                f"{tuple(rows)}; got targets of shape {tuple(target.shape)}."
            )
        target = target.expand(rows)
    _same_device(target, logits)
    return target


def refuse_classes(index, width):
    """Name the first class index that is out of range."""
    bad = index[(index < 0) | (index >= width)][0].item()
    raise ValueError(
        f"Class indices must lie between 0 and {width - 1} for logits of {width} classes, got "
        f"{bad}; leave rows without a label out of the batch."
    )


def binary(target, like):
    """Check that targets are 0 or 1 and fit scores of one logit per entry; returns them."""
    if not _broadcasts(target.shape, like.shape):
        raise ValueError(
            f"Logits of shape {tuple(like.shape)} need one 0/1 target per entry; got targets of "
            f"shape {tuple(target.shape)}."
        )
    _same_device(target, like)
    if target.dtype != torch.bool:
        good = (target == 0) | (target == 1)
        if not bool(good.all()):
            raise ValueError(
                f"Targets of one logit per entry must be 0 or 1, got {target[~good][0].item()}; "
                "leave entries without a label out of the batch."
            )
    return target


def signs(target, like):
    """Checked 0/1 targets as signs -1/+1 in the dtype of the logits."""
    return binary(target, like).to(like.dtype).mul(2.0).sub_(1.0)


def codes(target, logits):
    """Targets of either form as int64 class indices, checked."""
    if target.ndim == logits.ndim:
        return binary(target, logits).long()
    return class_indices(target, logits)


def of_class(values, target, logits, name):
    """What `values` (C,) hold for the class of each target, like the logits."""
    width = 2 if target.ndim == logits.ndim else logits.shape[-1]
    if values.shape != (width,):
        raise ValueError(
            f"{name} must have one entry per class, shape ({width},), got {tuple(values.shape)}."
        )
    return values.to(logits)[codes(target, logits)]


def one_hot(target, logits):
    """Class indices as a 0/1 matrix like the logits."""
    index = class_indices(target, logits)
    return torch.zeros_like(logits).scatter_(-1, index.unsqueeze(-1), 1.0)


def _broadcasts(shape, whole):
    """Whether a shape broadcasts to another one."""
    if len(shape) > len(whole):
        return False
    return all(a in (b, 1) for a, b in zip(reversed(shape), reversed(whole), strict=False))


def _same_device(target, logits):
    if target.device != logits.device:
        raise ValueError(
            f"Targets are on {target.device} and logits on {logits.device}; bring both to one."
        )
