"""Folds whose training rows hold every class."""

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from skimb._core.warn import ignored


def left_out_folds(strata, n, n_folds, seed):
    """Pairs of rows to train on and to leave out; the only row of a class is never left out.

    Parameters
    ----------
    strata : ndarray of shape (n,) or None
        Classes, kept in proportion; None for plain folds.
    n : int
        Number of rows.
    n_folds : int
        Most folds.
    seed : int
        Seed of the draw.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        At least two pairs, or none where rows do not suffice.
    """
    if strata is None:
        if n < 2:
            return []
        return list(KFold(min(n_folds, n), shuffle=True, random_state=seed).split(np.zeros(n)))
    _, at, counts = np.unique(strata, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        return []
    splitter = StratifiedKFold(min(n_folds, int(counts.max())), shuffle=True, random_state=seed)
    alone, found = counts[at] == 1, []
    with ignored(UserWarning):  # of classes with fewer rows than folds
        for train, held in splitter.split(np.zeros(n), strata):
            if not alone[held].all():
                found.append((np.sort(np.r_[train, held[alone[held]]]), held[~alone[held]]))
    return found if len(found) > 1 else []
