"""Columns that belong together, and rows with columns of other rows."""

from numbers import Integral

import numpy as np
import torch
from scipy import sparse


def group_numbers(groups, n_features, owner):
    """Number of the group of each column; columns in no group are groups of their own.

    Parameters
    ----------
    groups : list of array-like of int, or None
        Numbers of columns that belong together.
    n_features : int
        Columns of the rows.
    owner : str
        Name of the estimator, for messages.

    Returns
    -------
    ndarray of int, shape (n_features,)
        Groups from 0.

    Raises
    ------
    ValueError
        If a number is no column, or stands in two groups.
    """
    found = np.full(n_features, -1)
    for k, group in enumerate([] if groups is None else groups):
        for column in np.atleast_1d(np.asarray(group, dtype=object)).ravel():
            whole = isinstance(column, Integral) and not isinstance(column, bool)
            if not whole or not 0 <= column < n_features:
                raise ValueError(
                    f"{owner}: feature_groups names the column {column!r}; give numbers from 0 to "
                    f"{n_features - 1}."
                )
            if found[column] >= 0:
                raise ValueError(
                    f"{owner}: feature_groups names the column {column} twice; give each one once."
                )
            found[column] = k
    alone = found < 0
    found[alone] = len(found) + np.arange(alone.sum())
    return np.unique(found, return_inverse=True)[1].reshape(-1)


class Columns:
    """Draws groups of columns.

    Parameters
    ----------
    numbers : ndarray of int, shape (n_features,)
        Group of each column.
    """

    def __init__(self, numbers):
        self.numbers = torch.from_numpy(numbers)
        self.n_groups = int(numbers.max()) + 1
        #: columns that are groups of their own
        self.alone = torch.from_numpy(np.bincount(numbers)[numbers] == 1)

    def drawn(self, n, rate, generator):
        """Which columns (n, n_features) of each row are drawn: whole groups, each with probability `rate`."""
        return (torch.rand(n, self.n_groups, generator=generator) < rate)[:, self.numbers]


AUGMENTATIONS = ("corruption", "dropout", "noise")


class Views:
    """Makes views of rows: some of their columns changed.

    Parameters
    ----------
    kind : {"corruption", "dropout", "noise"}
        Columns of another row, zeros, or Gaussian noise on all columns.
    rate : float
        Probability of a group of columns; the noise's deviation in units of the columns' own.
    data : TrainingData
        All rows.
    columns : Columns
        Groups of columns.
    generator : torch.Generator
        Source of randomness, on the CPU.
    """

    def __init__(self, kind, rate, data, columns, generator):
        self.kind, self.rate, self.data, self.columns = kind, rate, data, columns
        self.generator = generator
        if kind == "noise":
            X = data.X
            if sparse.issparse(X):
                squares = np.asarray(X.multiply(X).mean(0)).ravel()
                spread = np.sqrt(np.maximum(squares - np.asarray(X.mean(0)).ravel() ** 2, 0.0))
                self.spread = torch.from_numpy(spread.astype(X.dtype))
            else:
                self.spread = X.std(0, correction=0)

    def __call__(self, X):
        """A view of dense rows."""
        if self.kind == "noise":
            drawn = torch.randn(X.shape, generator=self.generator, dtype=X.dtype).to(X.device)
            return X + self.rate * self.spread * drawn
        changed = self.columns.drawn(len(X), self.rate, self.generator).to(X.device)
        if self.kind == "dropout":
            return X.masked_fill(changed, 0.0)
        other = torch.randint(len(self.data), (len(X),), generator=self.generator)
        return torch.where(changed, dense_rows(self.data.X, other), X)


def dense_rows(X, index):
    """Rows of a tensor or of CSR as a dense tensor."""
    if sparse.issparse(X):
        return torch.from_numpy(X[index.numpy()].toarray())
    return X[index.to(X.device)]
