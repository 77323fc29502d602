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


def is_polars(X):
    """Whether X is a frame or a series of polars."""
    return type(X).__module__.partition(".")[0] == "polars"


def refuse_lazy(X):
    """Refuse a lazy frame of polars, which holds no rows yet."""
    if is_polars(X) and not hasattr(X, "shape"):
        raise TypeError("X is a lazy frame of polars; collect() it first.")


def through_pandas(sampler, fit_resample, X, y, **params):
    """Resample; rows and labels of polars come back as such, though samplers know frames of pandas only.

    Parameters
    ----------
    sampler : sampler
        Whose ``sample_indices_``, where it has them, tell which rows it kept.
    fit_resample : callable
        Its method.
    X, y : array-like or data frame
        Rows and labels.
    **params : dict
        Further arguments of the method.

    Returns
    -------
    list
        Resampled rows and labels, and whatever else the method gives.
    """
    if not (is_polars(X) or is_polars(y)):
        return fit_resample(X, y, **params)
    plain = [v.to_pandas() if is_polars(v) else v for v in (X, y)]
    made, labels, *more = fit_resample(*plain, **params)
    at = getattr(sampler, "sample_indices_", None)
    at = at if at is not None and len(at) == len(labels) else None
    return _as_polars(X, made, at), _as_polars(y, labels, at), *more


def _as_polars(given, made, at):
    if not is_polars(given):
        return made
    if at is not None:
        return given[at]
    if not hasattr(given, "columns"):
        return type(given)(given.name, made, dtype=given.dtype)
    return type(given)(made).cast(dict(given.schema))


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
