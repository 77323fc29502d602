"""Responses that are released as means of bags of rows, with noise for privacy if wanted."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params


@validate_params(
    {
        "y": ["array-like"],
        "bag_size": [Interval(Integral, 1, None, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither"), None],
        "clip": [Interval(Real, 0, None, closed="neither"), tuple, list, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def aggregate_responses(y, bag_size, *, epsilon=None, clip=None, random_state=None):
    r"""Put rows into random bags and replace their responses by the mean of the bag.

    With `epsilon` the means are private: responses are clipped to an interval [a, b], and a bag of m rows gets
    noise from a Laplace law of scale :math:`(b-a)/(m\varepsilon)`, which makes each response, not the features,
    :math:`\varepsilon`-differentially private.

    Parameters
    ----------
    y : array-like of shape (n,)
        Responses; 0 and 1 give rates of a class.
    bag_size : int in [1, n]
        Least number of rows in a bag; rows that are left over make some bags larger by a few rows.
    epsilon : float in (0, inf), default=None
        Privacy budget :math:`\varepsilon`, for this one release; ``None`` adds no noise.
    clip : float in (0, inf) or pair of floats, default=None
        Interval of the responses, [-clip, clip] or the pair. It must be known without looking at the responses;
        `epsilon` needs it.
    random_state : int, RandomState or None, default=None
        Seed of bags and noise.

    Returns
    -------
    response : ndarray of shape (n,)
        Released mean of each row's bag.
    bags : ndarray of int, shape (n,)
        Number of the bag of each row, from 0.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `epsilon` is given without `clip`.

    Notes
    -----
    Under noise a larger bag is not only worse: the noise of a mean falls as 1/m, and a loss that fits rows to
    the means, :class:`~skimb.losses.InterpolatedBag`, averages it, while bags hide more and more of the
    differences between rows. In between lies an optimal size of bags. The mechanism is the standard one. A
    private rate may lie outside [0, 1]; clip it before ``InterpolatedBag(response="rate")``.

    References
    ----------
    Javanmard et al. 2024, ICLR, https://openreview.net/forum?id=E60SIDItyT.

    Examples
    --------
    >>> from skimb.datasets import aggregate_responses
    >>> response, bags = aggregate_responses([1.0, 2.0, 3.0, 5.0], 2, random_state=0)
    >>> response.tolist(), bags.tolist()
    ([3.0, 2.5, 2.5, 3.0], [0, 1, 1, 0])
    """
    y = column_or_1d(y, dtype=float)
    n = len(y)
    if not np.isfinite(y).all():
        raise ValueError("aggregate_responses: y holds numbers that are not finite.")
    if bag_size > n:
        raise ValueError(f"bag_size={bag_size} is more than the {n} rows of y.")
    if epsilon is not None and clip is None:
        raise ValueError(
            f"epsilon={epsilon!r} needs clip=, the interval that the responses are known to lie in."
        )
    low = high = None
    if clip is not None:
        low, high = (-clip, clip) if isinstance(clip, Real) else _interval(clip)
        y = np.clip(y, low, high)
    rng = check_random_state(random_state)
    n_bags = n // bag_size
    bags = rng.permutation(np.arange(n) % n_bags)
    counts = np.bincount(bags)
    means = np.bincount(bags, y) / counts
    if epsilon is not None:
        means = means + rng.laplace(scale=(high - low) / (counts * epsilon))
    return means[bags], bags


def _interval(clip):
    pair = np.asarray(clip, float)
    if pair.shape != (2,) or not np.isfinite(pair).all() or pair[0] >= pair[1]:
        raise ValueError(
            f"clip={clip!r} must be a positive number or a pair (low, high), low below high."
        )
    return float(pair[0]), float(pair[1])
