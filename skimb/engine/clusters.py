"""Subclasses of about one size: classes split by balanced k-means on directions."""

import numpy as np

_LARGEST = 20_000_000  # similarities of the rows of a class to the centres of its subclasses
_ITERATIONS = 10


def subclass_counts(counts, least):
    """Subclasses per class, so that each is about as large as the smallest class, or `least` rows.

    Parameters
    ----------
    counts : array-like of shape (n_classes,)
        Rows per class; classes without rows have no subclass.
    least : int
        Fewest rows that a subclass is made for.

    Returns
    -------
    ndarray of int, shape (n_classes,)
        ``max(1, n_k // max(min(n), least))``.
    """
    counts = np.asarray(counts)
    size = max(counts[counts > 0].min(), least)
    return np.where(counts > 0, np.maximum(counts // size, 1), 0)


def balanced_kmeans(Z, n_clusters, rng, *, balanced=True):
    """Clusters of directions by cosine similarity, whose sizes differ by at most one.

    Rows and centres are matched by falling similarity; a cluster that is full takes no more rows.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Rows of length one.
    n_clusters : int
        Number of clusters, at most n.
    rng : numpy.random.Generator
        Picks the rows that centres start from.
    balanced : bool, default=True
        Whether clusters have a common size; otherwise each row joins its nearest centre.

    Returns
    -------
    ndarray of int, shape (n,)
        Cluster of each row.
    """
    n = len(Z)
    if n_clusters == 1:
        return np.zeros(n, int)
    centres = Z[rng.choice(n, n_clusters, replace=False)]
    label = None
    for _ in range(_ITERATIONS):
        similarity = Z @ centres.T
        new = _filled(similarity) if balanced else _nearest(similarity)
        if label is not None and (new == label).all():
            break
        label = new
        sums = np.zeros_like(centres)
        np.add.at(sums, label, Z)
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return label


def _nearest(similarity):
    """Nearest centre of each row; a cluster left empty takes the row that fits its own one least."""
    label = similarity.argmax(1)
    n_clusters = similarity.shape[1]
    for k in np.flatnonzero(np.bincount(label, minlength=n_clusters) == 0):
        sizes = np.bincount(label, minlength=n_clusters)
        fit = np.where(sizes[label] > 1, similarity[np.arange(len(label)), label], np.inf)
        label[fit.argmin()] = k
    return label


def _filled(similarity):
    """Rows matched with clusters of n // m rows, then what is left with one more each."""
    n, m = similarity.shape
    label = matched(similarity, np.full(m, n // m))
    rest = np.flatnonzero(label < 0)
    if len(rest):
        label[rest] = matched(similarity[rest], np.ones(m, int))
    return label


def matched(similarity, capacity):
    """What taking pairs of rows and clusters by falling similarity gives, as long as there is room.

    Rows ask clusters in the order of their similarity, and a cluster keeps the most similar of those that
    asked: as both sides go by one number, that ends in the same pairs.

    Parameters
    ----------
    similarity : ndarray of shape (n, m)
        Of rows to clusters.
    capacity : ndarray of int, shape (m,)
        Room in each cluster.

    Returns
    -------
    ndarray of int, shape (n,)
        Cluster of each row; -1 where all were full.
    """
    n, m = similarity.shape
    order = np.argsort(-similarity, axis=1, kind="stable")
    label, asked = np.full(n, -1), np.zeros(n, int)
    free = np.arange(n)
    while len(free):
        label[free] = order[free, asked[free]]
        asked[free] += 1
        held = np.flatnonzero(label >= 0)
        own = label[held]
        ranked = np.lexsort((held, -similarity[held, own], own))
        sizes = np.bincount(own, minlength=m)
        place = np.arange(len(held)) - np.repeat(sizes.cumsum() - sizes, sizes)
        out = held[ranked[place >= capacity[own[ranked]]]]
        label[out] = -1
        free = out[asked[out] < m]
    return label


def class_temperatures(Z, classes, subclasses, temperature):
    r"""Temperature of each class by how far its rows lie from their mean (arXiv 2306.15925).

    :math:`D_k=\overline{\|z_i-\bar z_k\|}/\log(n_k+10)`, clipped to its 20th and 80th percentile over the classes,
    times `temperature` over the mean of D. Classes of one subclass keep `temperature`.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Rows of length one.
    classes : ndarray of int, shape (n,)
        Their classes.
    subclasses : ndarray of int, shape (n_classes,)
        Subclasses of each class.
    temperature : float
        Mean temperature.

    Returns
    -------
    ndarray of shape (n_classes,)
        Temperatures.
    """
    found = np.full(len(subclasses), float(temperature))
    present = np.flatnonzero(subclasses)
    spread = []
    for k in present:
        own = Z[classes == k]
        far = np.linalg.norm(own - own.mean(0), axis=1).mean()
        spread.append(far / np.log(len(own) + 10.0))
    spread = np.clip(spread, *np.percentile(spread, [20, 80]))
    mean = spread.mean()
    if mean > 0:
        several = subclasses[present] > 1
        found[present[several]] = temperature * spread[several] / mean
    return found


def split_classes(Z, classes, subclasses, rng, *, balanced=True, names=None):
    """Number of the subclass of each row, numbered through all classes.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Rows of length one.
    classes : ndarray of int, shape (n,)
        Their classes.
    subclasses : ndarray of int, shape (n_classes,)
        Subclasses of each class.
    rng : numpy.random.Generator
        Picks rows.
    balanced : bool, default=True
        Whether the subclasses of a class have a common size.
    names : list, default=None
        Names of the classes for messages.

    Returns
    -------
    ndarray of int, shape (n,)
        Subclasses.
    """
    found = np.empty(len(Z), int)
    first = np.cumsum(subclasses) - subclasses
    for k in np.flatnonzero(subclasses):
        own = np.flatnonzero(classes == k)
        if len(own) * subclasses[k] > _LARGEST:
            name = k if names is None else names[k]
            raise ValueError(
                f"class {name!r} with {len(own)} rows would be split into {subclasses[k]} subclasses, which takes "
                f"too much memory; raise min_subclass_size."
            )
        found[own] = first[k] + balanced_kmeans(Z[own], subclasses[k], rng, balanced=balanced)
    return found
