"""Given rows: what they hold, how long they are, and made ones after them."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import norm

from skimb._core.optional import require

_WHOLE = "iub"  # kinds of types without fractions, pandas' own included


def refuse_unnumbered(sampler, X):
    """Refuse columns of a frame between whose values there is nothing.

    Parameters
    ----------
    sampler : sampler
        Whose name the message gives.
    X : data frame or anything else
        Rows; others than frames pass.

    Raises
    ------
    ValueError
        If a column holds categories, texts or times.
    """
    odd = unnumbered(X)
    if odd:
        raise ValueError(
            f"{type(sampler).__name__} makes rows between others, and the columns {odd[:10]} hold no numbers; "
            "encode them first, or copy rows, with RandomOverSampler or MLROS."
        )


def unnumbered(X):
    """Names of the columns of a frame that hold no numbers; none for anything else."""
    if not hasattr(X, "iloc"):
        return []
    return [name for j, name in enumerate(X.columns) if not _has_numbers(X.iloc[:, j])]


def _has_numbers(column):
    kind = getattr(column.dtype, "kind", "O")
    if kind in _WHOLE or kind == "f":
        return True
    if kind in "Mm" or str(column.dtype) == "category":
        return False
    return all(not isinstance(value, str) for value in column)


def lengths_of(rows):
    """Euclidean length of each row of an array or a sparse matrix, of shape (n, 1)."""
    if sparse.issparse(rows):
        return norm(rows, axis=1)[:, None]
    return np.linalg.norm(rows, axis=1, keepdims=True)


def of_type(made, dtype):
    """Made rows in a type; whole numbers are rounded, not cut off."""
    if dtype.kind not in _WHOLE:
        return made.astype(dtype)
    if sparse.issparse(made):
        made = made.copy()
        made.data = np.rint(made.data)
        return made.astype(dtype)
    return np.rint(made).astype(dtype)


def appended(given, made):
    """The given rows or labels, untouched, then made ones of the same types.

    Parameters
    ----------
    given : array, list, series, data frame or sparse matrix of n rows
        As the user gave them.
    made : ndarray or sparse matrix of m rows
        What comes after them.

    Returns
    -------
    like given, n + m rows
        Both; frames are numbered anew.
    """
    if isinstance(given, list):
        return given + made.tolist()
    if sparse.issparse(given):
        return sparse.vstack([given, made], format=given.format)
    if not hasattr(given, "iloc"):
        given = np.asarray(given)
        if made.ndim < given.ndim:
            made = made[:, None]
        return np.concatenate([given, made.astype(given.dtype, copy=False)])
    pandas = require("pandas", extra="data")
    if given.ndim == 1:
        new = type(given)(made, name=given.name).astype(given.dtype)
    else:
        new = _frame(given, made if made.ndim == 2 else made[:, None])
    return pandas.concat([given, new], ignore_index=True)


def _frame(given, made):
    whole = np.array([getattr(t, "kind", "O") in _WHOLE for t in given.dtypes])
    if sparse.issparse(made):
        made = of_type(made, np.dtype(int)).astype(float) if whole.all() else made
        return type(given).sparse.from_spmatrix(made, columns=given.columns).astype(given.dtypes)
    if made.dtype.kind == "f" and whole.any():
        made = np.where(whole, np.rint(made), made)
    return type(given)(made, columns=given.columns).astype(given.dtypes)
