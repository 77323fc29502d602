"""Checks of input that several parts share."""

from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d


def checked_target(y):
    """A classification target as an array, and whether it has several labels.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_labels)
        Labels.

    Returns
    -------
    ndarray
        The labels.
    bool
        Whether there are several per row.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None.")
    labels = check_array(y, ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels, True
    return column_or_1d(labels, warn=True), False
