"""Columns of data frames and arrays: what they hold, as numbers or as levels."""

from datetime import date, time, timedelta
from functools import cached_property
from numbers import Number
from reprlib import repr as short

import numpy as np
from scipy import sparse

from skimb._core.given import is_polars, refuse_lazy
from skimb._core.optional import require


def as_table(X):
    """Rows as a frame of pandas or polars, or as an array.

    Parameters
    ----------
    X : data frame or array-like
        Rows: a frame of pandas or polars, one with ``to_pandas`` or Arrow's stream of columns, or an array.

    Returns
    -------
    data frame or ndarray of shape (n, n_features)
        X itself where it is one.

    Raises
    ------
    TypeError
        If X is sparse or lazy.
    ValueError
        If X has not two dimensions, no rows or no columns.
    """
    if sparse.issparse(X):
        raise TypeError(
            "Sparse data was passed, but dense data is required; use '.toarray()' to convert to a dense numpy "
            "array."
        )
    X = _plain(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array or data frame, got shape {X.shape}. Reshape your data with X.reshape(-1, 1) if it "
            "is one feature, or X.reshape(1, -1) if it is one row."
        )
    for size, what in zip(X.shape, ("sample", "feature"), strict=True):
        if not size:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required."
            )
    return X


def _plain(X):
    refuse_lazy(X)
    if hasattr(X, "iloc") or is_polars(X):
        return X
    if hasattr(X, "__arrow_c_stream__") and not hasattr(X, "to_pandas"):
        X = require("pyarrow", extra="data").table(X)
    if hasattr(X, "to_pandas"):
        return X.to_pandas()
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(
            "X is no table: its rows have different lengths or hold sequences; give each row one value per feature."
        ) from error
    if array.dtype.kind in "US" and not hasattr(X, "dtype"):
        return np.asarray(X, dtype=object)  # a list, whose numbers have become texts
    return array


def columns_of(X):
    """The columns of a table.

    Parameters
    ----------
    X : data frame or ndarray of shape (n, n_features)
        What :func:`as_table` gives.

    Returns
    -------
    list of Column
        Columns, which share their memory with X.

    Raises
    ------
    ValueError
        If columns have the same name, or a type that is neither a number nor a category.
    """
    if isinstance(X, np.ndarray):
        return [Column(values, f"x{j}") for j, values in enumerate(X.T)]
    names = list(X.columns)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"X has several columns named {twice!r}; give each its own name.")
    columns = X if is_polars(X) else X.iloc
    return [Column(columns[:, j], name) for j, name in enumerate(names)]


class Column:
    """A column of a table.

    Parameters
    ----------
    values : ndarray of shape (n,), or Series of pandas or polars
        What it holds.
    name : object
        Its name.
    """

    def __init__(self, values, name):
        self.name = str(name)
        if hasattr(getattr(values, "dtype", None), "subtype") and hasattr(values, "sparse"):
            values = values.sparse.to_dense()
        self.values = values
        self._kind = _KINDS[_library(values)](values)
        if self._kind == "complex":
            raise ValueError(
                f"{self}: Complex data not supported; split it into two columns of numbers."
            )
        if self._kind == "time":
            raise ValueError(self._of_time(values.dtype))

    def __str__(self):
        return f"Column {self.name!r} of X"

    @cached_property
    def is_category(self):
        """Whether the type says so: categories, texts, booleans, objects that are not all numbers."""
        if self._kind != "object":
            return self._kind in ("boolean", "level")
        found, _ = self.levels
        return not found or not all(_is_number(v) and not isinstance(v, bool) for v in found)

    @cached_property
    def levels(self):
        """The distinct values, and for each row which it is, -1 where it is missing."""
        try:
            found, which = _DISTINCT[_library(self.values)](self.values)
        except (TypeError, NotImplementedError) as error:  # the latter is Arrow's
            odd = next(v for v in self.values if _is_unhashable(v))
            raise TypeError(
                f"{self} holds a {type(odd).__name__}; every argument must be a string or a number."
            ) from error
        lost = np.array([_is_missing(v) for v in found] + [True])
        for value, gone in zip(found, lost, strict=False):
            if isinstance(value, _TIMES) and not gone:
                raise ValueError(self._of_time(type(value).__name__))
        found = [v.item() if isinstance(v, np.generic) else v for v in found]
        new = np.where(lost, -1, np.cumsum(~lost) - 1)
        return [v for v, gone in zip(found, lost, strict=False) if not gone], new[which]

    def sorted_levels(self):
        """The distinct values in increasing order, equal ones of different types once."""
        found, _ = self.levels
        kinds = {_family(v): v for v in found}
        if len(kinds) > 1:
            (one, value), (other, second) = sorted(kinds.items())[:2]
            raise ValueError(
                f"{self} mixes {one}, as {short(value)}, with {other}, as {short(second)}; give all its values "
                "one type."
            )
        try:
            return sorted(dict.fromkeys(found))
        except TypeError as error:
            raise TypeError(
                f"{self} holds {next(iter(kinds))}, which have no order; turn them into texts or numbers."
            ) from error

    def codes(self, known):
        """For each row 0, or the place of its value among known levels, from 1."""
        found, which = self.levels
        family = _family(known[0]) if known else None
        stray = next((v for v in found if known and _family(v) != family), None)
        if stray is not None:
            raise ValueError(
                f"{self} holds {short(stray)} where fit saw {family}, as {short(known[0])}; give it the type "
                "that it had."
            )
        place = {level: k for k, level in enumerate(known, 1)}
        return np.array([place.get(v, 0) for v in found] + [0], np.int64)[which]

    def numbers(self, *, finite=True):
        """The values as float64, NaN where missing; infinite ones are refused unless `finite` is False."""
        if self._kind in ("number", "boolean"):
            out = _FLOATS[_library(self.values)](self.values)
        else:
            found, which = self.levels
            stray = next((v for v in found if not _is_number(v)), None)
            if stray is not None:
                raise ValueError(
                    f"{self} holds {short(stray)}, which is no number; if it is a category, name it in "
                    "categorical_features."
                )
            out = np.array([*map(_as_float, found), np.nan])[which]
        if finite and np.isinf(out).any():
            raise ValueError(
                f"{self} contains infinity or a number too large for float64; replace it by NaN or a finite "
                "number."
            )
        return out

    def _of_time(self, kind):
        return f"{self} holds dates or times ({kind}); turn them into numbers first, such as the days since a date."


_TIMES = (date, time, timedelta, np.datetime64, np.timedelta64)


# --- values ------------------------------------------------------------------------------------------


def _is_missing(value):
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Number) and bool(value != value)


def _is_number(value):
    return isinstance(value, Number) and not isinstance(value, complex)


def _as_float(value):
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _is_unhashable(value):
    try:
        hash(value)
    except TypeError:
        return True
    return False


def _family(value):
    if isinstance(value, str):
        return "texts"
    return "numbers" if _is_number(value) else f"values of type {type(value).__name__}"


# --- libraries ---------------------------------------------------------------------------------------


def _library(values):
    if isinstance(values, np.ndarray):
        return "numpy"
    return "polars" if is_polars(values) else "pandas"


def _numpy_kind(values):
    kinds = {"b": "boolean", "c": "complex", "m": "time", "M": "time", "O": "object"}
    return kinds.get(values.dtype.kind, "number" if values.dtype.kind in "iuf" else "level")


def _pandas_kind(values):
    types = require("pandas.api.types", extra="data")
    dtype = values.dtype
    if isinstance(dtype, types.CategoricalDtype):
        return "level"
    if isinstance(dtype, types.PeriodDtype) or getattr(dtype, "kind", "O") in "mM":
        return "time"
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_complex_dtype(dtype):
        return "complex"
    if types.is_numeric_dtype(dtype):
        return "number"
    return "object" if types.is_object_dtype(dtype) else "level"


def _polars_kind(values):
    dtype = values.dtype
    if dtype.is_numeric():
        return "number"
    if dtype.is_temporal():
        return "time"
    return {"Boolean": "boolean", "Object": "object"}.get(str(dtype), "level")


def _distinct_objects(values):
    seen = {}
    which = np.fromiter((seen.setdefault(v, len(seen)) for v in values), np.int64, len(values))
    return list(seen), which


def _numpy_distinct(values):
    if values.dtype.kind == "O":
        return _distinct_objects(values)
    found, which = np.unique(values, return_inverse=True)
    return found.tolist(), which


def _pandas_distinct(values):
    which, found = values.factorize()
    return found.tolist(), which


def _polars_distinct(values):
    return _distinct_objects(values.to_list())


_KINDS = {"numpy": _numpy_kind, "pandas": _pandas_kind, "polars": _polars_kind}
_DISTINCT = {"numpy": _numpy_distinct, "pandas": _pandas_distinct, "polars": _polars_distinct}
_FLOATS = {
    "numpy": lambda values: values.astype(np.float64),
    "pandas": lambda values: values.to_numpy(dtype=np.float64, na_value=np.nan),
    "polars": lambda values: values.cast(float).to_numpy(),
}
