"""Losses for imbalanced classification, as searchable parameter objects."""

from skimb.losses._base import BoundLoss, Loss
from skimb.losses.confusion import AnyLoss, Dice, ScoreOriented, Tversky
from skimb.losses.pairs import MannWhitney
from skimb.losses.sigmoid import Asymmetric
from skimb.losses.softmax import (
    LDAM,
    CompSum,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    Poly,
    VectorScaling,
)

__all__ = [
    "LDAM",
    "AnyLoss",
    "Asymmetric",
    "BoundLoss",
    "CompSum",
    "CrossEntropy",
    "Dice",
    "Focal",
    "LogitAdjusted",
    "Loss",
    "MannWhitney",
    "Poly",
    "ScoreOriented",
    "Tversky",
    "VectorScaling",
    "all_losses",
]


def all_losses(task=None):
    """List the loss classes of this namespace; the export is the registration.

    Parameters
    ----------
    task : {"binary", "multiclass", "multilabel"}, default=None
        Keep only losses that accept this task.

    Returns
    -------
    list of type
        Subclasses of :class:`Loss`, in alphabetical order.

    Examples
    --------
    >>> from skimb.losses import all_losses
    >>> [cls.__name__ for cls in all_losses("multilabel")][:3]
    ['AnyLoss', 'Asymmetric', 'CompSum']
    """
    found = [
        value
        for name, value in globals().items()
        if name in __all__
        and isinstance(value, type)
        and issubclass(value, Loss)
        and value is not Loss
    ]
    return sorted(
        (cls for cls in found if task is None or task in cls.tasks), key=lambda cls: cls.__name__
    )
