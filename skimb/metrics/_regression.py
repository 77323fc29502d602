"""Scores of regressors whose target has rare values, or is known as means of bags."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_array, check_consistent_length

from skimb._core.bags import bag_means
from skimb.metrics._shared import weights_of

_BINS = {
    "y_true": ["array-like"],
    "y_pred": ["array-like"],
    "bins": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "sample_weight": ["array-like", None],
}


def _errors(y_true, y_pred, sample_weight):
    """Targets and absolute errors of one or several outputs, as columns, and row weights."""
    y, f = (
        check_array(a, ensure_2d=False, dtype=np.float64, input_name=name)
        for a, name in ((y_true, "y_true"), (y_pred, "y_pred"))
    )
    check_consistent_length(y, f)
    y, f = y.reshape(len(y), -1), f.reshape(len(f), -1)
    if y.shape != f.shape:
        raise ValueError(f"y_true of shape {y.shape} and y_pred of shape {f.shape} differ.")
    return y, np.abs(y - f), weights_of(sample_weight, y)


def _edges(y, bins):
    if isinstance(bins, Integral):
        return np.histogram_bin_edges(y, bins)
    edges = np.asarray(bins, float)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"bins={bins!r} must hold at least two rising edges.")
    outside = (y < edges[0]) | (y > edges[-1])
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} targets lie outside the edges {edges[0]:g} to {edges[-1]:g}, the first is "
            f"{y[outside][0]:g}; widen bins."
        )
    return edges


def _by_bin(y, error, w, bins):
    edges = _edges(y, bins)
    at = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, len(edges) - 2)
    size = len(edges) - 1
    weight = np.bincount(at, w, size)
    used = np.flatnonzero(weight > 0)
    return edges, used, weight[used], np.bincount(at, w * error, size)[used] / weight[used]


@validate_params(
    {**_BINS, "y_train": ["array-like", None], "limits": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def binned_absolute_errors(
    y_true, y_pred, *, bins=10, y_train=None, limits=(20, 100), sample_weight=None
):
    """Mean absolute error by bins of the target, and over bins with many, some and few training rows.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Targets and predictions of one output.
    bins : int in [1, inf) or array-like of edges, default=10
        Bins of equal width over the targets of both sets, or their edges.
    y_train : array-like of shape (n_train,), default=None
        Training targets, which tell how many rows a bin had; None counts `y_true`.
    limits : pair of numbers, default=(20, 100)
        A bin is few-shot below the first number of training rows, many-shot above the second.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    Bunch
        By bins that hold rows of y_true: ``lower``, ``upper``, ``weight``, ``train_count`` and ``error``; over
        rows of the bins of a kind ``many``, ``medium``, ``few``, NaN where there is none.

    Raises
    ------
    ValueError
        If targets lie outside the edges, or there are several outputs.

    References
    ----------
    Yang et al. 2021, arXiv:2102.09554.

    Examples
    --------
    >>> from skimb.metrics import binned_absolute_errors
    >>> found = binned_absolute_errors([0, 1, 9], [1, 1, 5], bins=2, limits=(1.5, 1.6))
    >>> found.error.tolist(), found.few, found.many
    ([0.5, 4.0], 4.0, 0.5)
    """
    y, error, w = _errors(y_true, y_pred, sample_weight)
    if y.shape[1] > 1:
        raise ValueError(f"binned_absolute_errors is for one output, y_true has shape {y.shape}.")
    train = y[:, 0] if y_train is None else check_array(y_train, ensure_2d=False, dtype=np.float64)
    edges = _edges(np.r_[y[:, 0], train.ravel()], bins)
    edges, used, weight, mean = _by_bin(y[:, 0], error[:, 0], w, edges)
    count = np.histogram(train, edges)[0][used]
    low, high = limits
    kinds = {"few": count < low, "many": count > high}
    kinds["medium"] = ~kinds["few"] & ~kinds["many"]
    groups = {
        name: float(np.average(mean[kind], weights=weight[kind])) if kind.any() else float("nan")
        for name, kind in kinds.items()
    }
    return Bunch(
        lower=edges[used],
        upper=edges[used + 1],
        weight=weight,
        train_count=count,
        error=mean,
        **groups,
    )


@validate_params(_BINS, prefer_skip_nested_validation=True)
def balanced_mean_absolute_error(y_true, y_pred, *, bins=10, sample_weight=None):
    """Mean over bins of the target of the mean absolute error in each: every range of values counts the same.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,) or (n, n_outputs)
        Targets and predictions.
    bins : int in [1, inf) or array-like of edges, default=10
        Bins of equal width between the least and the largest target, or their edges.
    sample_weight : array-like of shape (n,), default=None
        Row weights, within bins.

    Returns
    -------
    float
        In units of the target; 0 is perfect. Bins without rows do not count; outputs are averaged.

    Raises
    ------
    ValueError
        If targets lie outside the edges or shapes differ.

    References
    ----------
    Ren et al. 2022, arXiv:2203.16427.

    Examples
    --------
    >>> from skimb.metrics import balanced_mean_absolute_error
    >>> balanced_mean_absolute_error([0, 1, 9], [1, 1, 5], bins=2)
    2.25
    """
    y, error, w = _errors(y_true, y_pred, sample_weight)
    return float(
        np.mean([_by_bin(a, e, w, bins)[3].mean() for a, e in zip(y.T, error.T, strict=True)])
    )


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred": ["array-like"],
        "floor": [Interval(Real, 0, None, closed="neither")],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def geometric_mean_absolute_error(y_true, y_pred, *, floor=1e-10, sample_weight=None):
    r"""Geometric mean of absolute errors: :math:`\exp\left(\frac1n\sum_i\log|y_i-f_i|\right)`.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,) or (n, n_outputs)
        Targets and predictions.
    floor : float in (0, inf), default=1e-10
        Stands for smaller errors: a single exact prediction would make the mean 0.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        In units of the target.

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Yang et al. 2021, arXiv:2102.09554.

    Examples
    --------
    >>> from skimb.metrics import geometric_mean_absolute_error
    >>> round(geometric_mean_absolute_error([0, 1, 9], [1, 3, 5]), 6)
    2.0
    """
    _, error, w = _errors(y_true, y_pred, sample_weight)
    return float(np.exp(np.average(np.log(np.maximum(error, floor)).mean(1), weights=w)))


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred": ["array-like"],
        "bags": ["array-like"],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def bag_mean_squared_error(y_true, y_pred, *, bags, sample_weight=None):
    r"""Mean squared error of the means of bags: :math:`\sum_bw_b(\bar y_b-\bar f_b)^2/\sum_bw_b`.

    What can be scored where only the mean response of each bag is known. The error of rows is larger by what varies
    within bags.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,) or (n, n_outputs)
        Responses, of rows or of their bags, and predictions.
    bags : array-like of shape (n,)
        A label of the bag of each row.
    sample_weight : array-like of shape (n,), default=None
        Row weights; a bag weighs their sum.

    Returns
    -------
    float
        In squared units of the target; 0 is perfect, outputs are averaged.

    Raises
    ------
    ValueError
        If shapes differ.

    Examples
    --------
    >>> from skimb.metrics import bag_mean_squared_error
    >>> bag_mean_squared_error([2.0, 2.0, 5.0], [1.0, 3.0, 6.0], bags=["a", "a", "b"])
    0.3333333333333333
    """
    y, _, w = _errors(y_true, y_pred, sample_weight)
    bags = column_or_1d(bags)
    check_consistent_length(bags, y)
    signed = np.asarray(y_true, float).reshape(y.shape) - np.asarray(y_pred, float).reshape(y.shape)
    means, mass = bag_means(bags, w, signed)
    return float(np.average((means**2).mean(1), weights=mass))
