"""Raw tables as numbers and category codes."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import _check_feature_names, _check_n_features

from skimb._core.validation import take_names
from skimb.preprocessing._columns import as_table, columns_of


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that a reader has read.

    Parameters
    ----------
    numbers : ndarray of float64, shape (n, d)
        Number features, NaN where missing.
    codes : ndarray of int64, shape (n, c)
        Categories: 0 where missing or not seen in ``fit``, else 1 to the number of levels.
    """

    numbers: np.ndarray
    codes: np.ndarray

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, rows):
        """The table of some rows: a slice, a mask or numbers of rows."""
        return Table(self.numbers[rows], self.codes[rows])


class TableReader:
    """Reads data frames and arrays of numbers and categories.

    Parameters
    ----------
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        "from_dtype": columns of categories, texts and booleans, and columns of objects that are not all numbers.
        None: all are numbers. Else a mask, positions or names; the other columns are numbers.

    Attributes
    ----------
    number_features_, category_features_ : ndarray of int
        Positions of the columns of either kind, in the order of the columns of a table.
    number_names_, category_names_ : list of str
        Their names, ``x0``, ``x1`` and so on where X has none.
    levels_ : list of list
        For each category its levels in increasing order: code k stands for ``levels_[c][k - 1]``.
    missing_ : ndarray of bool, shape (d,)
        Which number features had missing values in ``fit``.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X; names only if all are texts.
    """

    def __init__(self, categorical_features="from_dtype"):
        self.categorical_features = categorical_features

    def fit(self, X, owner=None):
        """Learn which columns are categories, and their levels.

        Parameters
        ----------
        X : data frame or array-like of shape (n, n_features)
            Rows; they are neither changed nor kept.
        owner : estimator, default=None
            Gets ``n_features_in_`` and ``feature_names_in_`` too, and is named where later rows do not fit.

        Returns
        -------
        TableReader
            Itself.
        """
        self.fit_read(X, owner)
        return self

    def fit_read(self, X, owner=None):
        """Fit, and read the same rows.

        Parameters
        ----------
        X : data frame or array-like of shape (n, n_features)
            Rows.
        owner : estimator, default=None
            As for :meth:`fit`.

        Returns
        -------
        Table
            Numbers and codes.
        """
        columns = self._columns(X, owner, reset=True)
        chosen = self._chosen(columns)
        self.number_features_, self.category_features_ = (
            np.flatnonzero(~chosen),
            np.flatnonzero(chosen),
        )
        self.number_names_ = [columns[j].name for j in self.number_features_]
        self.category_names_ = [columns[j].name for j in self.category_features_]
        self.levels_ = [columns[j].sorted_levels() for j in self.category_features_]
        table = self._table(columns)
        self.missing_ = np.isnan(table.numbers).any(0)
        return table

    def read(self, X, owner=None):
        """Read rows.

        Parameters
        ----------
        X : data frame or array-like of shape (n, n_features)
            Rows; types of columns may differ from those in ``fit`` where the values are the same.
        owner : estimator, default=None
            That of ``fit``.

        Returns
        -------
        Table
            Numbers and codes.
        """
        return self._table(self._columns(X, owner, reset=False))

    def _columns(self, X, owner, *, reset):
        X = as_table(X)
        columns = columns_of(X)
        # scikit-learn's own checks write to the object that their messages name
        owner = self if owner is None else owner
        _check_feature_names(owner, X, reset=reset)
        _check_n_features(owner, X, reset=reset)
        if reset and owner is not self:
            self.__dict__.pop("feature_names_in_", None)
            take_names(self, owner)
        return columns

    def _table(self, columns):
        n = len(columns[0].values)
        numbers, codes = (
            np.empty((n, len(self.number_features_))),
            np.empty((n, len(self.levels_)), np.int64),
        )
        for k, j in enumerate(self.number_features_):
            numbers[:, k] = columns[j].numbers()
        for k, j in enumerate(self.category_features_):
            codes[:, k] = columns[j].codes(self.levels_[k])
        return Table(numbers, codes)

    def _chosen(self, columns):
        """Which columns are categories."""
        given, n = self.categorical_features, len(columns)
        if isinstance(given, str) and given == "from_dtype":
            return np.array([column.is_category for column in columns])
        chosen = np.zeros(n, bool)
        if given is None or np.size(given) == 0:
            return chosen
        wanted = np.asarray(given)
        kind = wanted.dtype.kind
        if kind == "O" and all(isinstance(name, str) for name in wanted.flat):
            kind = "U"
        if wanted.ndim != 1 or kind not in "biuU":
            raise ValueError(
                f"categorical_features={given!r} must be 'from_dtype', None, a mask, or positions or names."
            )
        if kind == "b":
            if len(wanted) != n:
                raise ValueError(
                    f"categorical_features is a mask of {len(wanted)} entries for {n} features; give one for each."
                )
            return wanted.copy()
        if kind == "U":
            names = getattr(self, "feature_names_in_", None)
            if names is None:
                raise ValueError(
                    f"categorical_features={given!r} are names, but X has none; give a data frame, or positions."
                )
            at = {name: j for j, name in enumerate(names)}
            lost = [name for name in wanted.tolist() if name not in at]
            if lost:
                raise ValueError(
                    f"categorical_features holds {lost[0]!r}, which is no column of X; its columns are "
                    f"{list(names)}."
                )
            wanted = [at[name] for name in wanted.tolist()]
        elif wanted.min() < 0 or wanted.max() >= n:
            raise ValueError(
                f"categorical_features={given!r} holds positions outside of 0 to {n - 1}; X has {n} features."
            )
        chosen[wanted] = True
        return chosen
