"""Scores of rows that a classifier was not fitted to."""

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedShuffleSplit,
    check_cv,
)
from sklearn.utils.parallel import Parallel, delayed

from skimb._core.inner import unfitted
from skimb.model_selection._responses import fold_scores


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


def held_out(estimator, X, y, splits, n_jobs, **how):
    """Classifiers of all splits, and the scores that they give their test rows.

    Parameters
    ----------
    estimator : classifier
        Unfitted clones of it are fitted.
    X, y : array-like
        Rows and target.
    splits : list of tuple
        Training and test rows.
    n_jobs : int or None
        Fits at a time.
    **how : dict
        As in `fold_scores`.

    Returns
    -------
    list of classifier
        One per split.
    ndarray
        Scores of all test rows.
    ndarray of int
        The test rows.
    """
    jobs = (
        delayed(_fitted)(unfitted(estimator), X, y, train, test, j, **how)
        for j, (train, test) in enumerate(splits)
    )
    models, parts = zip(*Parallel(n_jobs=n_jobs)(jobs), strict=True)
    return list(models), np.concatenate(parts), np.concatenate([test for _, test in splits])


def _fitted(model, X, y, train, test, number, **how):
    scores = fold_scores(model, X, y, train, test, number, **how)
    return model, scores
