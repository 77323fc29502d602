"""Which rows are fitted to and which are held out."""

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedShuffleSplit,
    check_cv,
)


def splits_of(cv, X, y, labels, multilabel, groups, units, random_state, split_params):
    """Training and test rows: of one split for a share, of several for anything else.

    Parameters
    ----------
    cv : float, int, splitter or iterable
        Share of the rows to test on, or folds.
    X, y : array-like
        Rows and target.
    labels : ndarray
        The target as an array.
    multilabel : bool
        Whether it has several labels.
    groups : ndarray or None
        Groups of rows.
    units : bool
        Whether groups are the independent units, so that none may be on both sides.
    random_state : int, RandomState or None
        Seed of a single split.
    split_params : dict
        Metadata for a splitter of the user's.

    Returns
    -------
    list of tuple
        Training and test rows of each split.
    """
    if isinstance(cv, float):
        kw = {"n_splits": 1, "test_size": cv, "random_state": random_state}
        if units:
            splitter = GroupShuffleSplit(**kw)
        else:
            splitter = ShuffleSplit(**kw) if multilabel else StratifiedShuffleSplit(**kw)
        split_params = {"groups": groups} if units else {}
    elif units and isinstance(cv, (int, np.integer)):
        splitter = GroupKFold(cv) if multilabel else StratifiedGroupKFold(cv)
        split_params = {"groups": groups}
    else:
        splitter = check_cv(cv, labels, classifier=True)
    rows = np.arange(len(labels))  # masks become numbers
    return [(rows[train], rows[test]) for train, test in splitter.split(X, y, **split_params)]
