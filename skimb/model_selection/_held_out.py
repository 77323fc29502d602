"""Scores of rows that a classifier was not fitted to."""

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skimb._core.inner import unfitted
from skimb.model_selection._responses import fold_scores


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
