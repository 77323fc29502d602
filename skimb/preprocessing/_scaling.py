"""Scales of numbers that nets train well on."""

from numbers import Real

import numpy as np
from scipy.special import ndtri
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.validation import drop_weightless
from skimb.preprocessing._quantiles import present, quantiles


class SquashingScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Numbers minus their median, over their interquartile range, smoothly squashed.

    .. math:: z=\frac{x-\mathrm{median}}{q_{75}-q_{25}},\qquad
        \text{output}=\frac{z}{\sqrt{1+(z/c)^2}}\in(-c,c)

    The middle of a feature is scaled nearly linearly, outliers end close to the bounds and keep their order.

    Parameters
    ----------
    max_absolute_value : float in (0, inf), default=3.0
        The bound c that no output exceeds.

    Attributes
    ----------
    center_ : ndarray of shape (n_features,)
        Medians, 0 where a feature is all NaN.
    scale_ : ndarray of shape (n_features,)
        Interquartile ranges; where they are 0 half of the range, and infinity, which makes the output 0, where a
        feature is constant.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If X holds infinite values.

    Notes
    -----
    NaN stays NaN. Weighted quantiles are taken such that an integer weight is a repeated row. skrub's scaler of
    this name takes infinite values and no weights.

    References
    ----------
    Holzmüller, Grinsztajn, Steinwart 2024, arXiv:2407.04491.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.preprocessing import SquashingScaler
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0]])
    >>> SquashingScaler().fit_transform(X).round(2).ravel().tolist()
    [-0.95, -0.49, 0.0, 0.49, 3.0]
    """

    _parameter_constraints = {"max_absolute_value": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, max_absolute_value=3.0):
        self.max_absolute_value = max_absolute_value

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find medians and ranges.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer repeats a row.

        Returns
        -------
        SquashingScaler
            Itself.
        """
        X = self._checked(X, reset=True)
        X, _, weight = drop_weightless(X, np.zeros(len(X)), sample_weight)
        self.center_, self.scale_ = np.zeros(X.shape[1]), np.full(X.shape[1], np.inf)
        self._bound = float(self.max_absolute_value)
        for j, (values, mass) in enumerate(present(X, weight)):
            if not len(values):
                continue
            low, middle, high = quantiles(values, mass, np.array([0.25, 0.5, 0.75]), average=True)
            # halves, so that no difference of finite numbers overflows
            half = 0.5 * high - 0.5 * low or 0.5 * (0.5 * values.max() - 0.5 * values.min())
            self.center_[j] = middle
            self.scale_[j] = 2.0 * min(half, np.finfo(float).max / 2) or np.inf
        return self

    def _checked(self, X, *, reset):
        kind = [np.float64, np.float32]
        return validate_data(self, X, reset=reset, dtype=kind, ensure_all_finite="allow-nan")

    def transform(self, X):
        """Scale and squash.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Of the type of X, if that is of 32 or 64 bits.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        with np.errstate(over="ignore"):
            z = (X.astype(np.float64) - self.center_) / self.scale_ / self._bound
        np.clip(z, -1e150, 1e150, out=z)
        return (self._bound * (z / np.hypot(1.0, z))).astype(X.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


# shares beyond these become normal as these do, in scikit-learn too
_NORMAL_ENDS = ndtri([1e-7 - np.spacing(1.0), 1.0 - (1e-7 - np.spacing(1.0))])


class QuantileNormalizer:
    """Quantiles turned into those of a normal distribution, whatever the unit of a feature.

    A thirtieth of the rows, at least 10 and at most 1,000, are taken as quantiles. They are fitted to the rows plus
    normal noise of a thousandth of each feature's standard deviation, so that equal values spread evenly. Constant
    features become 0, NaN stays. Levels come from scikit-learn's ``QuantileTransformer``, whose own normal scores
    would take all values within 1e-7 of the ends of the range for the ends.

    Parameters
    ----------
    random_state : int, RandomState or None, default=None
        Draws the noise.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, numbers):
        """Find the quantiles of an (n, d) array of float64."""
        rng = check_random_state(self.random_state)
        sizes = [np.abs(values).max(initial=0.0) for values, _ in present(numbers, None)]
        power = np.frexp(sizes)[1]
        # squares and differences of extreme numbers neither overflow nor vanish
        self.factor_ = np.ldexp(1.0, np.where(np.abs(power) > 500, -power.clip(-1000, 1000), 0))
        numbers = numbers * self.factor_
        spread = np.array([_spread(values) for values, _ in present(numbers, None)])
        self.varying_ = spread > 0.0
        if self.varying_.any():
            rows, n = numbers[:, self.varying_], len(numbers)
            noise = rng.normal(size=rows.shape) * (1e-3 * spread[self.varying_])
            self.transformer_ = QuantileTransformer(
                n_quantiles=min(max(min(n // 30, 1000), 10), n),
                subsample=None,
                random_state=rng,
                copy=False,
            ).fit(rows + noise)
        return self

    def transform(self, numbers):
        """Scale an (n, d) array."""
        out = np.where(np.isnan(numbers), np.nan, 0.5)
        if self.varying_.any():
            with np.errstate(over="ignore"):
                rows = (numbers[:, self.varying_] * self.factor_[self.varying_]).clip(-1e300, 1e300)
            out[:, self.varying_] = self.transformer_.transform(rows)
        return ndtri(out).clip(*_NORMAL_ENDS)


def _spread(values):
    """Standard deviation; 0 of equal values, whatever their mean is rounded to."""
    return values.std() if len(values) and values.min() < values.max() else 0.0
