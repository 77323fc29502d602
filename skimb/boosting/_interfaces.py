"""The two ways in which a library calls an objective, and what it has to hand over."""

import numpy as np


def both_interfaces(y_true, y_pred, weight):
    """Targets, scores and weights, whether called as a classifier does or as ``train`` does.

    Parameters
    ----------
    y_true, y_pred : array-like
        Targets and scores as the libraries' scikit-learn classes hand them over; ``train`` hands over
        scores and its data, a Dataset or DMatrix, which holds targets and weights.
    weight : array-like or None
        Weights.

    Returns
    -------
    target, scores, weight : ndarray, ndarray, ndarray or None
        The three.
    """
    if hasattr(y_pred, "get_label"):
        y_true, y_pred, data = y_pred.get_label(), y_true, y_pred
        if y_true is None or not len(y_true):
            raise ValueError(f"The {type(data).__name__} holds no labels; give it label=y.")
        held = data.get_weight()
        if weight is None and held is not None and len(held):
            weight = held
    return np.asarray(y_true), np.asarray(y_pred, dtype=np.float64), weight


def checked_target(name, target, rows):
    """One target per row of the scores, as a vector."""
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    if target.shape != (rows,):
        raise ValueError(
            f"{name}: y_true of shape {target.shape} does not fit scores of {rows} rows; give one "
            "target per row."
        )
    return target


def checked_classes(name, target, n_classes):
    """Class numbers as integers, or an error that lists what is none."""
    if target.dtype.kind not in "biuf":
        raise ValueError(
            f"{name}: {_numbers(n_classes)}, got {np.unique(target.astype(str))[:5].tolist()}."
        )
    fits = (target >= 0) & (target < n_classes) & (target == np.floor(target))
    if not fits.all():
        raise ValueError(
            f"{name}: {_numbers(n_classes)}, got {np.unique(target[~fits])[:5].tolist()}."
        )
    return target.astype(np.int64)


def _numbers(n_classes):
    return (
        f"y_true must hold class numbers from 0 to {n_classes - 1}, as "
        "numpy.unique(y, return_inverse=True) gives them, and no missing ones"
    )


def checked_weight(name, weight, rows):
    """Weights as a vector of one finite, non-negative value per row, or None."""
    if weight is None:
        return None
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim == 2 and weight.shape[1] == 1:
        weight = weight[:, 0]
    if weight.shape != (rows,) or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(
            f"{name}: weights must be {rows} finite, non-negative values, got shape {weight.shape} with "
            f"minimum {weight.min(initial=np.inf)}."
        )
    return weight
