"""Labels as given: one kind of label, none missing, one class per row."""

from numbers import Number

import numpy as np
from scipy import sparse

from skimb._core.validation import exclusive_target


def checked_labels(estimator, y):
    """Labels of exclusive classes as an array of one kind: numbers, truth values or text.

    Parameters
    ----------
    estimator : estimator
        Named in messages.
    y : array-like of shape (n,)
        Labels; nullable and categorical columns too.

    Returns
    -------
    ndarray of shape (n,)
        The labels.

    Raises
    ------
    ValueError
        If labels are missing, of several kinds, or several per row.
    """
    if y is None:
        return exclusive_target(estimator, y)
    owner = type(estimator).__name__
    shape = y.shape if hasattr(y, "shape") else np.shape(np.asarray(y, dtype=object))
    if sparse.issparse(y) or (len(shape) == 2 and shape[1] > 1):
        raise ValueError(
            f"{owner} is for exclusive classes, y of shape {tuple(shape)} has several labels per row; "
            "put it into sklearn.multiclass.OneVsRestClassifier, which fits one model per label."
        )
    typed = hasattr(y, "dtype") and isinstance(y.dtype, np.dtype) and y.dtype != object
    return exclusive_target(estimator, y if typed else _one_kind(owner, y))


def _one_kind(owner, y):
    """An array of the type of its entries from a list, an object array or a column of pandas."""
    values = np.asarray(y, dtype=object)
    kinds = {_kind(value) for value in values.ravel()}
    if "missing" in kinds:
        raise ValueError(
            f"{owner}: Input y contains NaN or another missing label; drop those rows first."
        )
    if len(kinds) > 1:
        raise ValueError(
            f"{owner}: y mixes labels of several kinds ({', '.join(sorted(kinds))}); give one kind, "
            "for instance numpy.asarray(y, dtype=str)."
        )
    return values if kinds & {"other", "text"} else np.array(values.tolist())


def _kind(value):
    if isinstance(value, (str, np.str_)):
        return "text"
    if isinstance(value, (bool, np.bool_)):
        return "truth values"
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return "missing"
    return "numbers" if isinstance(value, Number) else "other"
