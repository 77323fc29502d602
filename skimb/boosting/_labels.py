"""Labels as given: one kind of label, none missing, one class per row."""

import numpy as np
from scipy import sparse

from skimb._core.validation import exclusive_target, plain_labels


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
    return exclusive_target(estimator, plain_labels(y, f"{owner}: Input y"))
