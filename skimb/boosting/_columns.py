"""Rows as the libraries take them: arrays, CSR, and data frames whose categories stay categories."""

import sys
from numbers import Integral

import numpy as np
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_array,
    validate_data,
)

from skimb._core.given import is_polars, refuse_lazy

_REFUSED = str.maketrans(dict.fromkeys('[]<>{}":,', "_"))  # in names, by either library


class Columns:
    """What a booster has to know of its columns: their names and their categories.

    Parameters
    ----------
    names : list of str or None
        Names of the features in the booster, None for rows without names.
    categories : dict of int to list
        Categories seen in fit by the position of their column; plain lists, which any format can keep.
    """

    def __init__(self, names, categories):
        self.names, self.categories = names, categories

    @classmethod
    def of(cls, X):
        """Those of the rows given to `fit`."""
        frame = _frame(X)
        if frame is None:
            return cls(None, {})
        at = _category_columns(frame)
        named = at or all(isinstance(name, str) for name in frame.columns)
        categories = {k: frame.iloc[:, k].cat.categories.tolist() for k in at}
        return cls(_booster_names(frame.columns) if named else None, categories)

    def positions(self, estimator, given):
        """Positions of the columns named in LightGBM's ``categorical_feature``, or "auto".

        Parameters
        ----------
        estimator : estimator
            Named in messages; it knows the names given in fit.
        given : "auto", str, int, or list of int or str
            Numbers or names of columns, also as "0,3" or "name:a,b".

        Returns
        -------
        list of int or "auto"
            Positions.
        """
        if isinstance(given, str):
            if given in ("auto", ""):
                return "auto"
            named = given.startswith("name:")
            given = given.removeprefix("name:").split(",")
            given = given if named else [int(k) if k.strip().isdigit() else k for k in given]
        names = list(getattr(estimator, "feature_names_in_", self.names or []))
        width = estimator.n_features_in_
        found = []
        for column in given if np.iterable(given) else [given]:
            at = names.index(column) if column in names else column
            if not isinstance(at, Integral) or not 0 <= at < width:
                raise ValueError(
                    f"{type(estimator).__name__}: categorical_feature names the column {column!r}, X has "
                    f"columns 0 to {width - 1}{' with the names ' * bool(names)}{names or ''}."
                )
            found.append(int(at))
        return found

    def read(self, estimator, X, *, plain, allow_nan, reset):
        """Checked rows: a float array or CSR matrix, or a data frame where columns are categories.

        Parameters
        ----------
        estimator : estimator
            Whose ``n_features_in_`` and ``feature_names_in_`` are set or compared.
        X : array-like, sparse matrix or data frame
            Rows.
        plain : callable
            Whether the library takes an index of categories as it is; others reach it as their positions.
        allow_nan : bool
            Whether entries may be missing.
        reset : bool
            Whether these are the rows of `fit`.

        Returns
        -------
        ndarray, CSR matrix or data frame
            Rows, unseen categories as missing ones.
        """
        owner = type(estimator).__name__
        frame = _frame(X)
        if frame is not None:
            _refuse_text(owner, frame, self.categories)
        finite = "allow-nan" if allow_nan else True
        kw = {"dtype": (np.float64, np.float32), "ensure_all_finite": finite}
        if frame is not None:
            new = [k for k in _category_columns(frame) if k not in self.categories]
            if new:
                raise ValueError(
                    f"{owner}: the columns {frame.columns[new].tolist()} hold categories, but were "
                    "numbers when it was fitted; give columns of the same dtypes as in fit."
                )
        if not self.categories:
            return validate_data(estimator, X, accept_sparse="csr", reset=reset, **kw)
        if frame is None:
            raise ValueError(
                f"{owner} was fitted to a data frame with categories in the columns "
                f"{[self.names[k] for k in self.categories]}; give a data frame with the same dtypes, "
                f"got {type(X).__name__}."
            )
        _check_feature_names(estimator, frame, reset=reset)
        _check_n_features(estimator, frame, reset=reset)
        return self._assemble(owner, frame, plain, kw)

    def _assemble(self, owner, frame, plain, kw):
        if not len(frame):
            raise ValueError(f"{owner}: X has 0 sample(s), at least one row is needed.")
        numbers = [k for k in range(frame.shape[1]) if k not in self.categories]
        values = check_array(frame.iloc[:, numbers], input_name="X", **kw) if numbers else None
        columns = {}
        for k, name in enumerate(self.names):
            if k in self.categories:
                columns[name] = self._recoded(owner, k, frame.iloc[:, k], plain)
            else:
                columns[name] = values[:, numbers.index(k)]
        return type(frame)(columns, index=frame.index)

    def _recoded(self, owner, k, column, plain):
        """A column on the categories of `fit`; unseen ones are missing."""
        name = self.names[k]
        if not hasattr(column, "cat"):
            raise ValueError(
                f"{owner}: column {name!r} held categories when it was fitted and has dtype "
                f"{column.dtype} now; turn it into categories with .astype('category')."
            )
        here = column.cat.categories
        known = sys.modules["pandas"].Index(self.categories[k])  # loaded, as X is a frame
        if not here.equals(known):
            kinds = {_kind(known), _kind(here)}
            if kinds == {"text", "numbers"}:
                raise ValueError(
                    f"{owner}: column {name!r} was fitted to {_kind(known)} as categories and has "
                    f"{_kind(here)} now ({here[:3].tolist()}); all would count as missing."
                )
            column = column.cat.set_categories(known)
        return column if plain(known) else column.cat.rename_categories(range(len(known)))


def numbered_or_pandas(X):
    """Rows, but a frame of polars with columns that are no numbers as one of pandas."""
    refuse_lazy(X)
    if is_polars(X) and not all(t.is_numeric() or str(t) == "Boolean" for t in X.dtypes):
        return X.to_pandas()
    return X


def _frame(X):
    """A data frame of pandas, or None."""
    pandas = sys.modules.get("pandas")
    return X if pandas is not None and isinstance(X, pandas.DataFrame) else None


def _category_columns(frame):
    return [k for k, dtype in enumerate(frame.dtypes) if dtype.name == "category"]


def _kind(categories):
    """The kind of an index of categories: text, numbers or another."""
    if categories.inferred_type in ("integer", "floating", "mixed-integer-float"):
        return "numbers"
    return "text" if categories.inferred_type == "string" else categories.inferred_type


def _booster_names(columns):
    """One name per feature, without the characters that a library refuses."""
    names, taken = [], set()
    for column in columns:
        stem = name = str(column).translate(_REFUSED)
        n = 1
        while name in taken:
            n += 1
            name = f"{stem}_{n}"
        taken.add(name)
        names.append(name)
    return names


def _refuse_text(owner, frame, categories):
    """Columns of text, dates and the like: the user has to say what they mean."""
    stray = []
    for k, dtype in enumerate(frame.dtypes):
        if k in categories or dtype.name == "category":
            continue
        if dtype.name == "object":
            try:
                frame.iloc[:, k].to_numpy(dtype=np.float64, na_value=np.nan)
            except (TypeError, ValueError):
                stray.append(k)
        elif dtype.kind not in "biuf":
            stray.append(k)
    if stray:
        listed = ", ".join(f"{frame.columns[k]!r} ({frame.dtypes.iloc[k]})" for k in stray)
        raise ValueError(
            f"{owner} takes columns of numbers, truth values and categories; turn {listed} into "
            "categories (.astype('category') of pandas, .cast(Categorical) of polars) or into numbers."
        )
