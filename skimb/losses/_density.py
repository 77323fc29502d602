"""Weights of rows whose target value is rare."""

from numbers import Integral, Real

import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_array, column_or_1d

from skimb._core.compat import check_sample_weight


def smoothed_histogram(y, n_bins, smoothing, weight):
    """Weight in bins of equal width, smoothed by a Gaussian over bins, and the edges of the bins."""
    mass, edges = np.histogram(y, n_bins, weights=weight)
    mass = mass.astype(float)
    if smoothing > 0.0:
        mass = gaussian_filter1d(mass, smoothing, mode="constant")
    return mass, edges


@validate_params(
    {
        "y": ["array-like"],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "smoothing": [Interval(Real, 0, None, closed="left")],
        "power": [Interval(Real, 0, None, closed="left")],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def density_weights(y, *, n_bins=100, smoothing=2.0, power=1.0, sample_weight=None):
    r"""Weights that make target values about equally frequent, by label distribution smoothing (LDS).

    .. math:: w_i\propto\tilde p(y_i)^{-q}

    with the histogram :math:`\tilde p` of the target, smoothed by a Gaussian, and mean weight 1.

    Parameters
    ----------
    y : array-like of shape (n,)
        Training target.
    n_bins : int in [1, inf), default=100
        Bins of equal width.
    smoothing : float in [0, inf), default=2.0
        Standard deviation of the Gaussian, in bins; 0 takes the histogram as it is.
    power : float in [0, inf), default=1.0
        Exponent q: 0 no weights, 0.5 square root of the inverse, 1 inverse density.
    sample_weight : array-like of shape (n,), default=None
        Row weights; they count in the density and in the mean, and the result is to be multiplied by them.

    Returns
    -------
    ndarray of shape (n,)
        Positive weights whose mean over rows (by sample weight) is 1.

    Notes
    -----
    Weights move a regression towards rare values at the price of variance: with 3 rows at the end of the range they
    follow those 3. :class:`BalancedMSE` does the same without weights where the noise has one scale.

    References
    ----------
    Yang et al. 2021, arXiv:2102.09554.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.losses import density_weights
    >>> y = np.r_[np.zeros(90), np.ones(10)]
    >>> density_weights(y, n_bins=2, smoothing=0)[[0, -1]].round(3).tolist()
    [0.556, 5.0]
    """
    y = check_array(column_or_1d(y), ensure_2d=False, dtype=np.float64, input_name="y")
    w = check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
    mass, edges = smoothed_histogram(y, n_bins, smoothing, w)
    at = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, n_bins - 1)
    density = mass[at]
    found = np.where(density > 0, density, 1.0) ** -float(power)
    return found / np.average(found, weights=w)
