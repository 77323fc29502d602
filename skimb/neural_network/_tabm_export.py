"""Members of TabM ensembles as plain nets on encoded columns."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skimb._core.validation import take_names
from skimb.neural_network._tabm_rows import TabMRows
from skimb.preprocessing._table import TableReader


class EncodedColumns(TransformerMixin, BaseEstimator):
    """Raw tables as the columns on which the first layer of a TabM is linear.

    Of a number its scaled value, how far it fills each bin where there are bins, and whether it is missing where
    the rows of ``fit`` lacked some; of a category one column for what is missing or unseen and one for each level.

    Parameters
    ----------
    binned : bool, default=True
        Whether numbers have bins.
    scaling : {"quantile", "squash"}, default="quantile"
        Scale of numbers, as of ``TabMClassifier``.
    n_bins : int, default=48
        Most bins of a column.
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        Which columns are categories.
    random_state : int, RandomState or None, default=None
        Seed of the noise under quantiles.
    """

    def __init__(
        self,
        binned=True,
        scaling="quantile",
        n_bins=48,
        categorical_features="from_dtype",
        random_state=None,
    ):
        self.binned = binned
        self.scaling = scaling
        self.n_bins = n_bins
        self.categorical_features = categorical_features
        self.random_state = random_state

    @classmethod
    def of(cls, owner, reader, rows):
        """Those that an ensemble of a fitted estimator reads."""
        made = rows.preparation
        found = cls(
            rows.binned, made.scaling, made.n_bins, reader.categorical_features, made.random_state
        )
        found.reader_, found.rows_ = reader, rows
        take_names(found, owner)
        return found

    def fit(self, X, y=None, sample_weight=None):
        """Learn columns, scales and bins from the rows of a table."""
        self.reader_ = TableReader(self.categorical_features)
        table = self.reader_.fit_read(X, self)
        embedding = "piecewise_linear" if self.binned else None
        self.rows_ = TabMRows(embedding, self.scaling, self.n_bins, self.random_state)
        self.rows_.fit(table, self.reader_, sample_weight)
        return self

    def transform(self, X):
        """Encoded rows, (n_samples, n_columns) float64."""
        check_is_fitted(self)
        return self.rows_.encoded(self.reader_.read(X, self))

    def get_feature_names_out(self, input_features=None):
        """Names of the encoded columns."""
        check_is_fitted(self)
        reader, rows, names = self.reader_, self.rows_, []
        for j, name in enumerate(reader.number_names_):
            names.append(name)
            names += [f"{name}_bin{k}" for k in range(rows.n_steps(j))]
            names += [f"missingindicator_{name}"] * int(reader.missing_[j])
        for name, levels in zip(reader.category_names_, reader.levels_, strict=True):
            names += [f"missingindicator_{name}", *(f"{name}_{level}" for level in levels)]
        return np.array(names, object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def member_weights(module, member, rows):
    """Weights of one member as a plain net on encoded columns.

    Parameters
    ----------
    module : TabM
        The ensemble.
    member : int
        Number of the member.
    rows : TabMRows
        How its rows are made.

    Returns
    -------
    coefs : list of ndarray of float64, shape (n_in, n_out)
        Weights of the layers.
    intercepts : list of ndarray of float64, shape (n_out,)
        Intercepts of the layers.
    """
    shape, flat = module.shape, module.flat.detach().double()
    unit, own = (member, 0) if shape.units > 1 else (0, member)
    P = {name: view[unit].numpy() for name, view in module.split(flat).items()}

    def of(name, default):
        """What a member has of its own, or all share."""
        value = P.get(name)
        return default if value is None else value[own if len(value) > 1 else 0]

    d = shape.n_numbers
    scales = of("scale_0", np.ones(d + len(shape.levels)))
    first, lines = [], np.zeros(shape.width)
    for j in range(d):
        W = scales[j] * P["first"][j]
        lost = bool(rows.missing[j])
        if rows.binned:
            steps = P["bins"][j, 1 : rows.n_steps(j) + 1]
            first += [P["slope"][j, None] @ W, steps @ W, P["bins"][j, :1][:lost] @ W]
            lines += P["level"][j] @ W
        else:
            first.append(W[: 1 + lost])
    starts = np.cumsum((0, *shape.levels))
    for c, start in enumerate(starts[:-1]):
        first.append(P["codes"][start : starts[c + 1]] @ (scales[d + c] * P["first_codes"][c]))
    coefs, intercepts = [np.concatenate(first)], [lines]
    for i in range(1, shape.n_blocks):
        coefs.append(of(f"scale_{i}", np.ones(shape.width))[:, None] * P[f"weight_{i}"])
        intercepts.append(0.0)
    for i in range(shape.n_blocks):
        gain = of(f"gain_{i}", 1.0)
        coefs[i] = coefs[i] * gain
        intercepts[i] = intercepts[i] * gain + of(f"bias_{i}", 0.0)
    return [*coefs, P["head"][own]], [*intercepts, P["head_bias"][own]]
