"""Imbalanced cuts of scikit-learn's bundled data."""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits


def load_breast_cancer_rare(n_rare=36, *, random_state=100):
    """Breast cancer with few malignant rows.

    Parameters
    ----------
    n_rare : int, default=36
        Malignant rows to keep, between 2 and 212; all 357 benign rows stay.
    random_state : int, default=100
        Seed of the choice.

    Returns
    -------
    X : ndarray of shape (357 + n_rare, 30)
        Features.
    y : ndarray of shape (357 + n_rare,)
        1 for malignant.

    Raises
    ------
    ValueError
        If `n_rare` is out of range.

    Notes
    -----
    357 benign and 36 malignant rows are the cut used by the authors of AnyLoss (arXiv:2405.14745); the
    rows chosen here are drawn by numpy and need not be theirs.

    Examples
    --------
    >>> from skimb.datasets import load_breast_cancer_rare
    >>> X, y = load_breast_cancer_rare()
    >>> X.shape, int(y.sum())
    ((393, 30), 36)
    """
    if not 2 <= n_rare <= 212:
        raise ValueError(f"n_rare must lie between 2 and 212, got {n_rare!r}.")
    X, benign = load_breast_cancer(return_X_y=True)
    rare = np.flatnonzero(benign == 0)
    kept = np.random.RandomState(random_state).choice(rare, n_rare, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(benign == 1), kept]))
    return X[rows], (benign[rows] == 0).astype(int)


def load_digits_long_tailed(ratio=30.0, *, random_state=0):
    """Digits whose class sizes fall geometrically from 0 to 9.

    Parameters
    ----------
    ratio : float, default=30.0
        Largest class size over the smallest, in [1, 80].
    random_state : int, default=0
        Seed of the choice of rows.

    Returns
    -------
    X : ndarray of shape (n, 64)
        Pixels in [0, 16].
    y : ndarray of shape (n,)
        Digits.

    Raises
    ------
    ValueError
        If `ratio` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.datasets import load_digits_long_tailed
    >>> X, y = load_digits_long_tailed(ratio=30)
    >>> np.bincount(y)[[0, 9]].tolist()
    [174, 6]
    """
    if not 1 <= ratio <= 80:
        raise ValueError(f"ratio must lie in [1, 80], got {ratio!r}.")
    X, y = load_digits(return_X_y=True)
    rng = np.random.RandomState(random_state)
    rows = []
    for k in range(10):
        own = np.flatnonzero(y == k)
        size = max(2, round(174 * ratio ** (-k / 9)))
        rows.append(rng.choice(own, min(size, len(own)), replace=False))
    rows = np.sort(np.concatenate(rows))
    return X[rows], y[rows]
