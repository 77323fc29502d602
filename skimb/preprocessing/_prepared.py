"""Tables as what a net reads."""

from dataclasses import dataclass

import numpy as np

from skimb.preprocessing._piecewise import PiecewiseLinearEncoder
from skimb.preprocessing._scaling import QuantileNormalizer, SquashingScaler


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows without missing values.

    Parameters
    ----------
    numbers : ndarray of float64, shape (n, d)
        Scaled numbers, 0 where missing: the median.
    missing : ndarray of float64, shape (n, m)
        1 where a value is missing, for the features that had missing values when the reader was fitted.
    codes : ndarray of int64, shape (n, c)
        Those of the table.
    index : ndarray of int64, shape (n, d), or None
        Bin of each number.
    fraction : ndarray of float64, shape (n, d), or None
        How far it has come in its bin; missing values with an indicator have bin 0 and fraction 0, others those of
        the median.
    """

    numbers: np.ndarray
    missing: np.ndarray
    codes: np.ndarray
    index: np.ndarray | None
    fraction: np.ndarray | None

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, rows):
        """Some rows: a slice, a mask or numbers of rows."""
        return Prepared(*(v if v is None else v[rows] for v in vars(self).values()))


class TablePreparation:
    """Scale and bins of one training part.

    Parameters
    ----------
    scaling : {"quantile", "squash"}, default="quantile"
        Quantiles to those of a normal distribution (which ignores weights), or ``SquashingScaler``.
    edges : {"quantile", "tree"} or None, default="quantile"
        Edges of the bins, in scaled numbers; None computes no bins.
    n_bins : int, default=48
        Most bins per feature.
    max_extrapolation : float, default=1.0
        As of ``PiecewiseLinearEncoder``.
    random_state : int, RandomState or None, default=None
        Draws the noise under quantiles.

    Attributes
    ----------
    n_bins_ : ndarray of int, shape (d,)
        Bins of each number feature; not there without bins.
    """

    def __init__(
        self,
        scaling="quantile",
        *,
        edges="quantile",
        n_bins=48,
        max_extrapolation=1.0,
        random_state=None,
    ):
        self.scaling = scaling
        self.edges = edges
        self.n_bins = n_bins
        self.max_extrapolation = max_extrapolation
        self.random_state = random_state

    def fit(self, table, missing, y=None, sample_weight=None):
        """Find scale and edges.

        Parameters
        ----------
        table : Table
            Rows of the training part.
        missing : ndarray of bool, shape (d,)
            Features that get an indicator: ``missing_`` of the reader.
        y : array-like of shape (n,), default=None
            Target of the trees.
        sample_weight : array-like of shape (n,), default=None
            Positive weights.

        Returns
        -------
        TablePreparation
            Itself.
        """
        self.missing_ = missing
        self.scaler_ = self.encoder_ = None
        if not table.numbers.shape[1]:
            self.n_bins_ = np.zeros(0, np.int64)
            return self
        if self.scaling == "quantile":
            self.scaler_ = QuantileNormalizer(self.random_state).fit(table.numbers)
        else:
            self.scaler_ = SquashingScaler().fit(table.numbers, sample_weight=sample_weight)
        if self.edges is not None:
            self.encoder_ = PiecewiseLinearEncoder(
                self.n_bins,
                edges=self.edges,
                missing="zeros",
                max_extrapolation=self.max_extrapolation,
            ).fit(self.scaler_.transform(table.numbers), y, sample_weight=sample_weight)
            self.n_bins_ = self.encoder_.n_bins_
        return self

    def apply(self, table):
        """Scale and locate rows.

        Parameters
        ----------
        table : Table
            Rows.

        Returns
        -------
        Prepared
            The same rows.
        """
        lost = np.isnan(table.numbers)
        missing = lost[:, self.missing_].astype(np.float64)
        if self.scaler_ is None:
            none = np.zeros(lost.shape, np.int64)
            return Prepared(table.numbers, missing, table.codes, none, table.numbers)
        numbers = self.scaler_.transform(table.numbers)
        numbers[lost & ~self.missing_] = 0.0
        index = fraction = None
        if self.encoder_ is not None:
            index, fraction = self.encoder_._locate(numbers)
        numbers[lost] = 0.0
        return Prepared(numbers, missing, table.codes, index, fraction)
