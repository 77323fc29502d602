"""Clusters of rows, and how many rows of each to keep."""

import numpy as np
from scipy import sparse
from sklearn.cluster import MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

from skimb._core.warn import ignored

_CELLS = 2**22  # numbers of sparse rows that are made dense for clustering
_LEAST = 3  # rows of a cluster of its own
_MOST = 256  # clusters of a class where the user names no number


def filled(sizes, budget, power=0.0):
    r"""Water-filling: :math:`\min(n_c,\tau n_c^a)` with the level :math:`\tau` at which they sum to a budget.

    Parameters
    ----------
    sizes : array-like of int, shape (m,)
        Rows there are, each n_c > 0.
    budget : float in [0, sum of `sizes`]
        Rows to give.
    power : float, default=0.0
        Exponent a: 0 gives equal parts, 1 parts in proportion to sizes.

    Returns
    -------
    ndarray of shape (m,)
        Parts.
    """
    sizes = np.asarray(sizes, float)
    part, open_ = np.zeros(len(sizes)), np.ones(len(sizes), bool)
    while open_.any():  # who gives all leaves its share to the others
        share = np.where(open_, sizes**power, 0.0)
        wanted = (budget - part[~open_].sum()) * share / share.sum()
        full = open_ & (wanted >= sizes)
        if not full.any():
            part[open_] = wanted[open_]
            break
        part[full], open_[full] = sizes[full], False
    return part


def whole(parts, budget):
    """Parts as whole numbers with the sum `budget`, by largest remainders."""
    size = np.floor(np.asarray(parts) + 1e-9).astype(int)
    rest = np.argsort(size - parts, kind="stable")[: budget - size.sum()]
    size[rest] += 1
    return size


def clustered(Z, n_clusters, rng, least=_LEAST):
    """Clusters of rows by k-means.

    Parameters
    ----------
    Z : ndarray or CSR matrix of shape (n, d)
        Rows.
    n_clusters : int or "auto"
        Clusters at most; "auto" is 2 sqrt(n), at most 256.
    rng : RandomState
        Source of the start.
    least : int, default=3
        Clusters of fewer rows are given up, and their rows join the nearest of the others.

    Returns
    -------
    ndarray of int, shape (n,)
        Cluster of each row, numbered from 0 without gaps.
    ndarray of shape (n,)
        Distance of each row to the centre of its cluster.
    """
    n = Z.shape[0]
    m = min(int(2 * np.sqrt(n)), _MOST) if n_clusters == "auto" else n_clusters
    m = max(min(m, n), 1)
    if sparse.issparse(Z) and n * Z.shape[1] <= _CELLS:
        Z = Z.toarray()
    seed = rng.randint(np.iinfo(np.int32).max)
    with ignored(ConvergenceWarning):  # fewer different rows than clusters
        means = MiniBatchKMeans(m, n_init=1, random_state=seed).fit(Z)
    sizes = np.bincount(means.labels_, minlength=m)
    large = np.flatnonzero(sizes >= least)
    large = np.array([sizes.argmax()]) if len(large) == 0 else large
    far = means.transform(Z)[:, large]
    _, label = np.unique(far.argmin(1), return_inverse=True)
    return label, far.min(1)


def spread_over_clusters(Z, budget, rng, *, n_clusters="auto", power=0.5, within="random"):
    """Rows that cover the clusters of all rows more evenly than random draws do.

    Parameters
    ----------
    Z : ndarray or CSR matrix of shape (n, d)
        Rows.
    budget : int in [1, n]
        Rows to keep.
    rng : RandomState
        Draws.
    n_clusters : int or "auto", default="auto"
        As for `clustered`.
    power : float in [0, 1], default=0.5
        How the part of a cluster grows with its size, as for `filled`.
    within : {"random", "central", "farthest"}, default="random"
        Which rows of a cluster stay.

    Returns
    -------
    ndarray of int, shape (budget,)
        Numbers of the rows to keep, in order.
    ndarray of int, shape (n,)
        Cluster of each row.
    """
    label, far = clustered(Z, n_clusters, rng)
    sizes = np.bincount(label)
    part = whole(filled(sizes, budget, power), budget)
    rank = {"random": rng.uniform(size=len(label)), "central": far, "farthest": -far}[within]
    order = np.lexsort((rank, label))
    place = np.arange(len(label)) - np.repeat(sizes.cumsum() - sizes, sizes)
    return np.sort(order[place < part[label[order]]]), label
