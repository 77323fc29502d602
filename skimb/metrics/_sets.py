"""What sets of classes are worth."""

from numbers import Real

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_consistent_length, column_or_1d

from skimb._core.optional import require
from skimb._core.proportions import proportion_interval
from skimb.metrics._shared import only_known


@validate_params(
    {
        "y_true": ["array-like"],
        "sets": ["array-like"],
        "labels": ["array-like", None],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def set_table(y_true, sets, *, labels=None, confidence=0.95, as_frame=False):
    """Per class: how many of its rows have it in their set, and how large their sets are.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    sets : array-like of bool, shape (n, n_classes)
        Which classes are in the set of each row.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns; None sorts those of y_true.
    confidence : float in (0, 1), default=0.95
        Of the Clopper-Pearson interval of the coverage.
    as_frame : bool, default=False
        Whether to return a pandas DataFrame.

    Returns
    -------
    Bunch of ndarrays of shape (n_classes,), or DataFrame
        ``label``, ``support``, ``coverage``, ``coverage_low``, ``coverage_high``, and of the sets of its rows
        ``mean_size``, ``single`` (share with one class) and ``empty``. NaN for a class without rows.

    Raises
    ------
    ValueError
        If `sets` hold other values than 0 and 1 or do not fit the rows and classes.

    Examples
    --------
    >>> from skimb.metrics import set_table
    >>> table = set_table([0, 0, 1, 1], [[1, 0], [1, 1], [1, 0], [0, 1]])
    >>> table.coverage.tolist(), table.mean_size.tolist()
    ([1.0, 0.5], [1.5, 1.0])
    """
    y, given = column_or_1d(y_true), np.asarray(sets)
    check_consistent_length(y, given)
    classes = np.unique(y) if labels is None else column_or_1d(labels)
    if given.shape != (len(y), len(classes)) or not np.isin(given, [0, 1]).all():
        raise ValueError(
            f"sets of shape {given.shape} must hold true or false for {len(y)} rows and the classes "
            f"{classes.tolist()[:10]}; give all classes, in the order of the columns, as labels=."
        )
    only_known(y, classes)
    given, truth = given.astype(bool), y[:, None] == classes
    size, support = given.sum(1), truth.sum(0)
    hits = (given & truth).sum(0)
    low, high = proportion_interval(hits, support, confidence)
    with np.errstate(invalid="ignore"):
        table = {
            "label": classes,
            "support": support,
            "coverage": hits / support,
            "coverage_low": np.where(support > 0, low, np.nan),
            "coverage_high": np.where(support > 0, high, np.nan),
            "mean_size": size @ truth / support,
            "single": (size == 1) @ truth / support,
            "empty": (size == 0) @ truth / support,
        }
    if as_frame:
        return require("pandas", extra="data").DataFrame(table).set_index("label")
    return Bunch(**table)
