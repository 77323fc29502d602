"""Fixed random features."""

import os

import numpy as np
from scipy import sparse

KINDS = ("relu", "rbf")
_WIDEST = 32_768  # features whose second moments take 8 GiB and a factorisation hours


def require_room(count, width):
    """Refuse second moments that do not fit into memory.

    Parameters
    ----------
    count : int
        Matrices.
    width : int
        Rows and columns of each.

    Raises
    ------
    ValueError
        If a matrix has more than 32,768 rows, or all of them take more than half of the memory.
    """
    needed = 8.0 * count * width * width
    if width <= _WIDEST and needed <= 0.5 * _memory():
        return
    raise ValueError(
        f"The sums of {width} features, {count} x {width} x {width} numbers, take {needed / 2**30:.1f} GiB. Use "
        "expansion='relu' or 'rbf' with fewer n_components, fewer features, or balance_power=0, which keeps one "
        "matrix for all classes."
    )


def _memory():
    """Bytes of physical memory, as far as the system tells."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return np.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Expansion:
    """Random ReLU units, random Fourier features of the Gaussian kernel, or the rows as they are.

    Parameters
    ----------
    kind : {"relu", "rbf"} or None
        Which.
    n_features : int
        Features of the rows.
    n_components : int
        Random features.
    rng : RandomState
        Draws directions (variance 1 / n_features) and offsets.
    """

    def __init__(self, kind, n_features, n_components, rng):
        self.kind = kind
        self.width = n_features if kind is None else n_components
        if kind is None:
            return
        self.directions = rng.normal(size=(n_features, n_components)) / np.sqrt(n_features)
        if kind == "relu":
            self.offsets = rng.normal(size=n_components)
        else:
            self.offsets = rng.uniform(0.0, 2.0 * np.pi, n_components)

    def __call__(self, X):
        if self.kind is None:
            return X
        H = np.asarray(X @ self.directions) + self.offsets
        if self.kind == "relu":
            return np.maximum(H, 0.0, out=H)
        return np.sqrt(2.0 / self.width) * np.cos(H, out=H)

    def same_as(self, other):
        """Whether two draws are equal."""
        if self.kind is None or other.kind is None:
            return self.kind == other.kind and self.width == other.width
        return (
            self.kind == other.kind
            and np.array_equal(self.directions, other.directions)
            and np.array_equal(self.offsets, other.offsets)
        )


def augmented_sums(H, weight, intercept):
    """Weighted sums of features, with that of a constant at the end."""
    sums = np.asarray(H.T @ weight).ravel()
    return np.append(sums, weight.sum()) if intercept else sums


def augmented_moments(H, weight, intercept):
    """Weighted second moments of features, with a constant column at the end."""
    width = H.shape[1]
    moments = np.empty((width + intercept, width + intercept))
    if sparse.issparse(H):
        moments[:width, :width] = (H.T @ H.multiply(weight[:, None])).toarray()
    else:
        moments[:width, :width] = H.T @ (H * weight[:, None])
    if intercept:
        moments[width] = moments[:, width] = augmented_sums(H, weight, intercept)
    return moments
