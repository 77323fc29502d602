"""Piecewise linear encoding of numbers."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from skimb._core.validation import drop_weightless, plain_labels
from skimb.preprocessing._quantiles import present, quantiles

_HUGE = 1e307  # beyond it the difference of two numbers may overflow


class PiecewiseLinearEncoder(TransformerMixin, BaseEstimator):
    r"""Numbers as how far they fill each of the bins between quantiles or the splits of a tree.

    .. math:: e_{jk}(x)=\min\Big(1,\max\Big(0,\frac{x_j-b_{jk}}{b_{j,k+1}-b_{jk}}\Big)\Big)

    Bins below the value hold 1, bins above it 0, its own bin how far it has come. Any continuous function that is
    linear within bins is a linear function of the encoding, so linear models fit curves, and nets fit steps that
    they would otherwise need long training for.

    Parameters
    ----------
    n_bins : int in [2, inf), default=48
        Most bins per feature. Equal edges count once, so features of few values get fewer.
    edges : {"quantile", "tree"}, default="quantile"
        Edges at equally spaced quantiles, or at the splits of one decision tree per feature fitted to the target.
    missing : {"indicator", "zeros", "error"}, default="indicator"
        NaN becomes zeros in all bins. "indicator" adds a column of 0 and 1 for each feature with NaN in ``fit``,
        and takes NaN in other features as their median. "error" refuses it.
    max_extrapolation : float in [0, inf], default=1.0
        How many widths of the outer bin the first and the last component may go on, linearly, below 0 and above 1
        for values outside of the range of ``fit``.
    min_samples_leaf : int in [1, inf), default=64
        Rows, counted by weight, on each side of a split; for ``edges="tree"``.
    min_impurity_decrease : float in [0, inf), default=1e-4
        What a split must gain (Gini impurity, or variance of the standardised target); for ``edges="tree"``.
    target_type : {"auto", "continuous"}, default="auto"
        What y holds; for ``edges="tree"``. "auto" takes fractions as numbers and whole numbers, texts and booleans
        as classes. "continuous" takes whole numbers as numbers too: counts, amounts, ages.
    sparse_output : bool, default=False
        Whether ``transform`` gives CSR matrices. Components are 0 above the value, about half of them: it pays
        where many values are the smallest of their feature, as counts that are mostly 0.
    dtype : {numpy.float32, numpy.float64} or None, default=None
        Type of the output; None keeps that of the input.

    Attributes
    ----------
    edges_ : list of n_features ndarrays of shape (n_bins_[j] + 1,)
        Edges in increasing order; twice the same where a feature is constant, two zeros where it is all NaN.
    n_bins_ : ndarray of int, shape (n_features,)
        Bins of each feature.
    medians_ : ndarray of shape (n_features,)
        Medians, 0 where a feature is all NaN.
    indicated_features_ : ndarray of int
        Features with an indicator column, in order; the columns stand behind all bins.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If X holds infinite values, or NaN with ``missing="error"``; with ``edges="tree"`` if y is missing, or holds
        no numbers with ``target_type="continuous"``.

    Notes
    -----
    A constant feature gives one column of zeros, a feature of two values one column between 0 and 1. Quantiles are
    values that occur (the paper interpolates between them), so that an integer weight is a repeated row. Targets
    of classes or labels get classification trees, of numbers regression trees. Trees see the ranks of the values,
    so that no precision is lost to their 32-bit floats. The paper goes on without bound outside of the range:
    ``max_extrapolation=numpy.inf``.

    References
    ----------
    Gorishniy, Rubachev, Babenko 2022, arXiv:2203.05556.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.preprocessing import PiecewiseLinearEncoder
    >>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> encoder = PiecewiseLinearEncoder(n_bins=3).fit(X)
    >>> encoder.edges_[0].tolist()
    [0.0, 1.0, 3.0, 7.0]
    >>> encoder.transform([[2.0], [9.0], [-5.0]]).tolist()
    [[1.0, 0.5, 0.0], [1.0, 1.0, 1.5], [-1.0, 0.0, 0.0]]
    """

    _parameter_constraints = {
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "edges": [StrOptions({"quantile", "tree"})],
        "missing": [StrOptions({"indicator", "zeros", "error"})],
        "max_extrapolation": [Interval(Real, 0, None, closed="both")],
        "min_samples_leaf": [Interval(Integral, 1, None, closed="left")],
        "min_impurity_decrease": [Interval(Real, 0, None, closed="left")],
        "target_type": [StrOptions({"auto", "continuous"})],
        "sparse_output": ["boolean"],
        "dtype": [Options(type, {np.float32, np.float64}), None],
    }

    def __init__(
        self,
        n_bins=48,
        *,
        edges="quantile",
        missing="indicator",
        max_extrapolation=1.0,
        min_samples_leaf=64,
        min_impurity_decrease=1e-4,
        target_type="auto",
        sparse_output=False,
        dtype=None,
    ):
        self.n_bins = n_bins
        self.edges = edges
        self.missing = missing
        self.max_extrapolation = max_extrapolation
        self.min_samples_leaf = min_samples_leaf
        self.min_impurity_decrease = min_impurity_decrease
        self.target_type = target_type
        self.sparse_output = sparse_output
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find the edges.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Target; only ``edges="tree"`` reads it.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer repeats a row.

        Returns
        -------
        PiecewiseLinearEncoder
            Itself.
        """
        # what was fitted, whatever is set later
        self._given = self.missing, self.max_extrapolation, self.sparse_output, self.dtype
        if self.edges == "tree":
            X, y = validate_data(self, X, plain_labels(y), multi_output=True, **self._accepted())
            X, y, weight = drop_weightless(X, y, sample_weight)
            tree, target = self._tree_of(y, weight)
        else:
            X = validate_data(self, X, **self._accepted())
            X, _, weight = drop_weightless(X, np.zeros(len(X)), sample_weight)
        self.edges_, self.medians_ = [], np.zeros(X.shape[1])
        levels = np.linspace(0.0, 1.0, self.n_bins + 1)
        for j, (values, mass) in enumerate(present(X, weight)):
            if not len(values):
                self.edges_.append(np.zeros(2))
                continue
            self.medians_[j] = quantiles(values, mass, np.array(0.5))
            if self.edges == "quantile":
                edges = quantiles(values, mass, levels)
            else:
                edges = self._splits(tree, values, target[~np.isnan(X[:, j])], mass)
            edges = np.unique(edges)
            self.edges_.append(edges if len(edges) > 1 else np.repeat(edges, 2))
        self.n_bins_ = np.array([len(edges) - 1 for edges in self.edges_])
        lost = np.isnan(X).any(0) & (self.missing == "indicator")
        self.indicated_features_ = np.flatnonzero(lost)
        return self

    def _accepted(self):
        finite = True if self._given[0] == "error" else "allow-nan"
        return {"dtype": self._given[3] or [np.float64, np.float32], "ensure_all_finite": finite}

    def _tree_of(self, y, weight):
        """Which tree, and its target: numbers are standardised, so that what a split must gain has no unit."""
        y = y.toarray() if sparse.issparse(y) else y
        with np.errstate(invalid="ignore"):  # whether huge numbers are whole does not matter
            kind = type_of_target(y, input_name="y", raise_unknown=True)
        if self.target_type == "continuous":
            y = self._numbers(y)
        elif not kind.startswith("continuous"):
            return DecisionTreeClassifier, y
        y = np.ldexp(y, -np.frexp(np.abs(y).max(0))[1])  # squares neither overflow nor vanish
        mean = np.average(y, axis=0, weights=weight)
        spread = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))
        return DecisionTreeRegressor, (y - mean) / np.where(spread > 0.0, spread, 1.0)

    @staticmethod
    def _numbers(y):
        try:
            return np.asarray(y).astype(np.float64)
        except (TypeError, ValueError):
            some = np.ravel(y).tolist()[0]
            raise ValueError(
                f"target_type='continuous' needs a y of numbers, got {some!r} among its values; "
                "use target_type='auto' for classes."
            ) from None

    def _splits(self, tree, values, target, weight):
        """Splits of one tree, with the ends of the range."""
        levels, rank = np.unique(values, return_inverse=True)
        # by weight; a little less, so that rounding refuses no leaf that is just large enough
        mass = len(values) if weight is None else weight.sum()
        leaf = self.min_samples_leaf * (1.0 - 1e-9) / mass
        if leaf > 0.5:
            return levels[[0, -1]]
        fitted = tree(
            max_leaf_nodes=self.n_bins,
            min_weight_fraction_leaf=leaf,
            min_impurity_decrease=self.min_impurity_decrease,
            random_state=0,
        ).fit(rank[:, None], target, sample_weight=weight)
        nodes = fitted.tree_
        below = nodes.threshold[nodes.children_left >= 0].astype(int)
        inner = 0.5 * levels[below] + 0.5 * levels[below + 1]
        return np.concatenate([levels[[0, -1]], inner])

    def _locate(self, X):
        """Bin and fraction of each value.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Rows.

        Returns
        -------
        index : ndarray of int64, shape (n, n_features)
            Bins, from 0; 0 where a value is missing.
        fraction : ndarray of shape (n, n_features)
            How far a value has come in its bin: in [0, 1] inside of the range of ``fit``, down to
            ``-max_extrapolation`` in the first bin, up to ``1 + max_extrapolation`` in the last; 0 where a value is
            missing. The encoding is 1 below `index`, `fraction` at it and 0 above.
        """
        check_is_fitted(self)
        return self._bins(validate_data(self, X, reset=False, **self._accepted()))

    def _bins(self, X):
        missing, far, _, _ = self._given
        index = np.zeros(X.shape, np.int64, order="F")
        fraction = np.zeros(X.shape, X.dtype, order="F")
        far = min(far, float(np.finfo(X.dtype).max) / 2)
        for j, edges in enumerate(self.edges_):
            if edges[0] == edges[-1]:
                continue
            values = X[:, j].astype(np.float64)
            lost = np.isnan(values)
            values[lost] = self.medians_[j]
            if max(-edges[0], edges[-1]) > _HUGE:
                values, edges = values / 16.0, edges / 16.0
            own = np.searchsorted(edges[1:-1], values, side="right")
            with np.errstate(over="ignore"):
                part = (values - edges[own]) / np.diff(edges)[own]
            np.clip(part, -far, 1.0 + far, out=part)
            if missing == "zeros" or j in self.indicated_features_:
                own[lost], part[lost] = 0, 0.0
            index[:, j], fraction[:, j] = own, part
        return index, fraction

    def transform(self, X):
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features_out)
            Bins of all features, one feature after the other, then the indicators.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **self._accepted())
        index, fraction = self._bins(X)
        lost = np.isnan(X[:, self.indicated_features_])
        starts = np.cumsum(self.n_bins_) - self.n_bins_
        if self._given[2]:
            return self._sparse(index, fraction, lost, starts)
        width = int(self.n_bins_.sum())
        out = np.empty((len(X), width + lost.shape[1]), X.dtype)
        rows = np.arange(len(X))
        for j, (start, bins) in enumerate(zip(starts, self.n_bins_, strict=True)):
            own = index[:, j]
            out[:, start : start + bins] = np.tri(bins, k=-1, dtype=X.dtype)[own]
            out[rows, start + own] = fraction[:, j]
        out[:, width:] = lost
        return out

    def _sparse(self, index, fraction, lost, starts):
        """The encoding as a CSR matrix: ones up to the own bin, there the fraction."""
        own = fraction != 0.0
        filled = np.hstack([index + own, lost])
        starts = np.append(starts, self.n_bins_.sum() + np.arange(lost.shape[1]))
        ends = np.cumsum(filled)
        n, width = len(index), int(self.n_bins_.sum()) + lost.shape[1]
        columns = np.arange(ends[-1]) + np.repeat((starts + filled).ravel() - ends, filled.ravel())
        values = np.ones(len(columns), fraction.dtype)
        values[ends.reshape(filled.shape)[:, : own.shape[1]][own] - 1] = fraction[own]
        bounds = np.append(0, ends[filled.shape[1] - 1 :: filled.shape[1]])
        return sparse.csr_matrix((values, columns, bounds), shape=(n, width))

    def get_feature_names_out(self, input_features=None):
        """The output columns' names: ``x0_bin0`` and, for indicators, ``missingindicator_x0``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features; None takes those of ``fit``, or ``x0``, ``x1`` and so on.

        Returns
        -------
        ndarray of str objects
            Names.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        bins = [
            f"{n}_bin{k}"
            for n, k_max in zip(names, self.n_bins_, strict=True)
            for k in range(k_max)
        ]
        lost = [f"missingindicator_{names[j]}" for j in self.indicated_features_]
        return np.array(bins + lost, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "error"
        tags.target_tags.required = self.edges == "tree"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"] if self.dtype is None else []
        return tags
