"""Whether probabilities of a rare class are right: ratio, intercept, slope, and distance from a smooth curve."""

from numbers import Integral, Real

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skimb._core.proportions import effective_rows
from skimb._core.warn import warn_user
from skimb.metrics._shared import binary, probabilities

_EPS = np.finfo(float).eps
_GRID = 100  # places where the smooth curve is computed
_CELLS = 1000  # groups of like probabilities that it is computed from
_STEPS = 100
_COMMON = {
    "y_true": ["array-like"],
    "y_prob": ["array-like"],
    "sample_weight": ["array-like", None],
}


@validate_params(
    {
        **_COMMON,
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "n_draws": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def calibration_summary(
    y_true,
    y_prob,
    *,
    confidence=0.95,
    n_draws=200,
    pos_label=None,
    sample_weight=None,
    random_state=0,
):
    r"""Are probabilities right? Ratio, intercept and slope with intervals and tests, meant for few positives.

    With the log odds z of the probabilities, the model :math:`\mathrm{logit}\,P(y=1)=a+bz` holds at :math:`a=0`,
    :math:`b=1` if they are right. A slope below 1 says that they are too extreme, an intercept (at slope 1) below 0
    that they are too high: true odds are :math:`e^a` times the predicted ones.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_prob : array-like of shape (n,)
        Probability of the positive class.
    confidence : float in (0, 1), default=0.95
        Of each interval.
    n_draws : int in [0, inf), default=200
        Draws of labels from the probabilities that show how far a right model would seem off; 0 leaves these out.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights; intervals and tests count Kish's effective rows.
    random_state : int, RandomState instance or None, default=0
        Of the draws.

    Returns
    -------
    Bunch
        ``observed``, ``expected``
            Positives, and the sum of probabilities.
        ``ratio``, ``ratio_low``, ``ratio_high``
            Observed over expected, with Garwood's interval of a Poisson count.
        ``intercept``, ``intercept_se``, ``prior_ratio``
            At slope 1, and its exponential.
        ``slope``, ``slope_low``, ``slope_high``, ``joint_intercept``
            Firth's estimates of both, and the interval of the slope by the profile of the likelihood.
        ``p_value``, ``slope_p_value``
            Likelihood-ratio tests of (0, 1) with two degrees of freedom and of the slope alone.
        ``spiegelhalter``
            Spiegelhalter's z of the Brier score.
        ``remedy``
            None if `p_value` is at least :math:`1-\text{confidence}`; else "prior" if the slope passes its test,
            "calibrator" if it does not.
        ``ici``, ``e50``, ``e90``
            Mean, median and 90 % quantile of the distance to a smooth curve, see
            :func:`integrated_calibration_index`.
        ``ici_floor``, ``ici_p_value``
            Mean of it over draws from a right model, and their share that is at least as far off.

    Raises
    ------
    ValueError
        If probabilities leave [0, 1] or the positive class is not told.

    Warns
    -----
    UserWarning
        If the slope has no estimate (one probability, one class) or no bound (probabilities order the rows
        perfectly).

    Notes
    -----
    **Twenty positives.** Of 1 000 rows with 20 positives (log odds of deviation 1.3, 500 simulations) the test of (0, 1)
    rejects right probabilities in 4 % at a nominal 5 %, odds that are predicted twice too high in 89 %, and a true slope
    of 0.5 in 97 %. Smooth curves of a right model are then about as far off as those of a wrong one: read ``ici`` beside
    its floor only.

    Probabilities of 0 and 1 are moved inside by the distance of two floats. Firth's estimate takes away the bias of
    order 1/n of the maximum of the likelihood; the interval is that of the likelihood itself.

    References
    ----------
    Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7. Firth 1993, doi:10.1093/biomet/80.1.27. Spiegelhalter
    1986, doi:10.1002/sim.4780050506.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.metrics import calibration_summary
    >>> p = np.linspace(0.01, 0.3, 400)
    >>> y = (np.random.default_rng(0).random(400) < p / (2 - p)).astype(int)  # odds are half of the predicted ones
    >>> found = calibration_summary(y, p)
    >>> bool(found.p_value < 0.01), found.remedy, round(found.prior_ratio, 2)
    (True, 'prior', 0.54)
    """
    y, p, w = binary(y_true, probabilities(y_prob), pos_label, sample_weight)
    counted = w * effective_rows(w) / w.sum()
    z, delta = logit(np.clip(p, _EPS, 1.0 - _EPS)), 1.0 - confidence
    observed, expected = float(w @ y), float(w @ p)
    events, predicted = float(counted @ y), float(counted @ p)
    line = _Line(z, y, counted)
    found = Bunch(observed=observed, expected=expected, **_ratio(events, predicted, delta))
    found.update(line.at_slope_one())
    found.update(line.of_slope(delta))
    spread = np.sqrt(np.square(w * (1 - 2 * p)) @ (p * (1 - p)))
    found.spiegelhalter = float(w @ ((y - p) * (1 - 2 * p)) / spread) if spread > 0 else np.nan
    found.remedy = None
    if found.p_value < delta:
        found.remedy = "calibrator" if found.slope_p_value < delta else "prior"
    found.update(_smooth(y, p, w, n_draws, random_state))
    return found


def _ratio(observed, expected, delta):
    """Observed over expected, and Garwood's interval."""
    if expected == 0:
        return dict.fromkeys(("ratio", "ratio_low", "ratio_high"), np.nan)
    low = 0.5 * chi2.ppf(0.5 * delta, 2 * observed) if observed > 0 else 0.0
    high = 0.5 * chi2.ppf(1.0 - 0.5 * delta, 2 * observed + 2)
    return {
        "ratio": observed / expected,
        "ratio_low": float(low / expected),
        "ratio_high": float(high / expected),
    }


class _Line:
    """The model logit P(y = 1) = a + b z.

    Parameters
    ----------
    z : ndarray of shape (n,)
        Log odds.
    y : ndarray of shape (n,)
        0 or 1.
    w : ndarray of shape (n,)
        Weights.
    """

    def __init__(self, z, y, w):
        self.z, self.y, self.w = z, y, w

    def log_likelihood(self, a, b):
        """Its logarithm."""
        eta = a + b * self.z
        return float(self.w @ (self.y * eta - np.logaddexp(0.0, eta)))

    def intercept(self, b):
        """The most likely a for a slope, of both classes."""
        eta, total = b * self.z, self.w.sum()
        target = self.w @ self.y
        reach = np.abs(eta).max() + np.log(total / min(target, total - target)) + 1.0
        low, high, a = -reach, reach, 0.0
        for _ in range(_STEPS):  # Newton's method, and halves where it leaves the bracket
            q = expit(a + eta)
            over = self.w @ q - target
            low, high = (low, a) if over > 0 else (a, high)
            slope = self.w @ (q * (1.0 - q))
            step = over / slope if slope > 0 else np.inf
            if abs(step) <= 1e-13 * (1.0 + abs(a)):
                break
            new = a - step
            a = new if low < new < high else 0.5 * (low + high)
        return float(a)

    def profile(self, b):
        """Largest log-likelihood at a slope."""
        return self.log_likelihood(self.intercept(b), b)

    def at_slope_one(self):
        """Intercept, standard error and ratio of odds."""
        share = self.w @ self.y / self.w.sum()
        if share in {0.0, 1.0}:
            a, error = (np.inf if share else -np.inf), np.inf
        else:
            a = self.intercept(1.0)
            q = expit(a + self.z)
            error = float(1.0 / np.sqrt(self.w @ (q * (1.0 - q))))
        return {"intercept": a, "intercept_se": error, "prior_ratio": float(np.exp(a))}

    def of_slope(self, delta):
        """Estimates, interval and tests."""
        names = ["slope", "slope_low", "slope_high", "joint_intercept", "p_value", "slope_p_value"]
        found = dict.fromkeys(names, np.nan)
        one, zero = self.z[self.y == 1], self.z[self.y == 0]
        if not len(one) or not len(zero):
            held = "positive" if len(one) else "negative"
            warn_user(
                f"y_true holds only {held} rows, so that the calibration slope and its tests are undefined; give "
                "rows of both classes."
            )
            return found
        if self.z.min() == self.z.max():
            warn_user(
                f"y_prob is {expit(self.z[0]):g} in every row, so that the calibration slope and its tests are "
                "undefined; read ratio and intercept."
            )
            return found
        sign = 1.0 if one.min() >= zero.max() else -1.0 if zero.min() >= one.max() else 0.0
        if sign:
            warn_user(
                "The probabilities order the rows perfectly"
                f"{'' if sign > 0 else ', the wrong way round'}; a slope has no "
                f"{'upper' if sign > 0 else 'lower'} bound."
            )
            tied = one.min() == zero.max() if sign > 0 else zero.min() == one.max()
            best, b = self._limit(one if sign > 0 else zero, tied), sign * np.inf
        else:
            a, b = self.estimate(firth=False)
            best = self.log_likelihood(a, b)
        found["slope"], found["joint_intercept"] = b, -b
        if not sign:
            found["joint_intercept"], found["slope"] = self.estimate(firth=True)
        drop = 0.5 * chi2.ppf(1.0 - delta, 1)
        found["slope_low"] = b if b == -np.inf else self._end(best - drop, b, -1.0)
        found["slope_high"] = b if b == np.inf else self._end(best - drop, b, 1.0)
        found["p_value"] = float(chi2.sf(2.0 * (best - self.log_likelihood(0.0, 1.0)), 2))
        found["slope_p_value"] = float(chi2.sf(2.0 * (best - self.profile(1.0)), 1))
        return found

    def _limit(self, upper, tied):
        """Log-likelihood as the slope goes to infinity: rows at the meeting point alone are uncertain."""
        if not tied:
            return 0.0
        at = self.z == upper.min()
        mass, hits = self.w[at].sum(), self.w[at] @ self.y[at]
        return float(hits * np.log(hits / mass) + (mass - hits) * np.log(1.0 - hits / mass))

    def _end(self, level, b, side):
        """Where the profile falls to a level, on one side of the estimate."""
        inside = b if np.isfinite(b) else 0.0
        if not np.isfinite(b):  # the profile grows towards the estimate
            step = 1.0
            while self.profile(inside) < level:
                inside, step = inside - side * step, 2.0 * step
        outside, step = inside + side, 1.0
        while self.profile(outside) > level:
            step *= 2.0
            outside += side * step
        return brentq(lambda slope: self.profile(slope) - level, inside, outside, xtol=1e-10)

    def estimate(self, firth):
        """Intercept and slope by Newton's method with halved steps, on the scale of standardised log odds."""
        centre, scale = np.average(self.z, weights=self.w), self.z.std()
        design = np.column_stack([np.ones(len(self.z)), (self.z - centre) / scale])
        beta = np.zeros(2)
        value, step, _ = self._state(design, beta, firth)
        for _ in range(_STEPS):
            size = 1.0
            while True:
                new = beta + size * step
                there = self._state(design, new, firth)
                if there[0] >= value - 1e-12 * abs(value) or size < 1e-10:
                    break
                size *= 0.5
            beta, (value, step, last) = new, there
            if np.abs(step).max() < 1e-11 * (1.0 + np.abs(beta).max()) or not last:
                break
        b = beta[1] / scale
        return float(beta[0] - b * centre), float(b)

    def _state(self, design, beta, firth):
        """Log-likelihood, penalised where Firth's, the next step, and whether it can be trusted."""
        eta = design @ beta
        q = expit(eta)
        v = self.w * q * (1.0 - q)
        information = design.T @ (v[:, None] * design)
        value = float(self.w @ (self.y * eta - np.logaddexp(0.0, eta)))
        score = self.w * (self.y - q)
        sign, log_det = np.linalg.slogdet(information)
        if sign <= 0:
            return -np.inf, np.zeros(2), False
        inverse = np.linalg.inv(information)
        if firth:
            leverage = v * np.einsum("ij,jk,ik->i", design, inverse, design)
            score, value = score + leverage * (0.5 - q), value + 0.5 * log_det
        return value, inverse @ (design.T @ score), True


@validate_params(
    {**_COMMON, "span": [Interval(Real, 0, 1, closed="right")]},
    prefer_skip_nested_validation=True,
)
def integrated_calibration_index(
    y_true, y_prob, *, span=0.75, pos_label=None, sample_weight=None
):  # fmt: skip
    r"""Integrated calibration index: mean distance of probabilities from a smooth curve of what is observed.

    .. math:: \mathrm{ICI}=\frac1n\sum_i|\hat f(p_i)-p_i|

    with a local linear regression :math:`\hat f` of the labels on the probabilities.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_prob : array-like of shape (n,)
        Probability of the positive class.
    span : float in (0, 1], default=0.75
        Share of the rows that each place of the curve rests on, with tricube weights.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        0 is perfect. A right model shows a value above 0, which depends on the rows: ``ici_floor`` of
        :func:`calibration_summary`.

    Raises
    ------
    ValueError
        If probabilities leave [0, 1] or the positive class is not told.

    Notes
    -----
    The curve is computed at 100 places, evenly spread over the rows, straight between them, and kept in [0, 1];
    where there are more than 1 000 different probabilities, neighbours are merged. Austin and Steyerberg's own
    curve is quadratic.

    References
    ----------
    Austin and Steyerberg 2019, doi:10.1002/sim.8281.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.metrics import integrated_calibration_index
    >>> p = np.linspace(0.01, 0.3, 400)
    >>> y = (np.random.default_rng(0).random(400) < p).astype(int)
    >>> integrated_calibration_index(y, p) < integrated_calibration_index(y, 2 * p)
    True
    """
    y, p, w = binary(y_true, probabilities(y_prob), pos_label, sample_weight)
    return float(np.average(_Curve(p, w, span).distances(y), weights=w))


class _Curve:
    """Local linear regression on fixed probabilities, as a matrix that takes labels.

    Parameters
    ----------
    p : ndarray of shape (n,)
        Probabilities.
    w : ndarray of shape (n,)
        Weights.
    span : float in (0, 1]
        Share of the weight around each place.
    """

    def __init__(self, p, w, span):
        values, cell = np.unique(p, return_inverse=True)
        if len(values) > _CELLS:
            mass = np.bincount(cell, w).cumsum()
            merged = np.minimum((mass / mass[-1] * _CELLS).astype(int), _CELLS - 1)
            cell = np.unique(merged[cell], return_inverse=True)[1]
        mass = np.bincount(cell, w)
        x = np.bincount(cell, w * p) / mass
        self.p, self.w, self.cell, self.mass = p, w, cell, mass
        total = mass.cumsum()
        self.places = x
        if len(x) > _GRID:
            wanted = np.searchsorted(total, total[-1] * np.linspace(0, 1, _GRID))
            self.places = x[np.unique(np.r_[0, np.minimum(wanted, len(x) - 1)])]
        distance = np.abs(x - self.places[:, None])
        order = distance.argsort(1)
        near = np.take_along_axis(distance, order, 1)
        reached = (mass[order].cumsum(1) < span * total[-1] * (1 - 1e-12)).sum(1)
        width = near[np.arange(len(near)), np.minimum(reached, near.shape[1] - 1)]
        width = np.maximum(width, near[:, min(1, near.shape[1] - 1)]) * (
            1 + 1e-9
        )  # two cells at least
        ratio = np.divide(
            distance, width[:, None], out=np.zeros_like(distance), where=width[:, None] > 0
        )
        kernel = mass * np.clip(1.0 - ratio**3, 0.0, None) ** 3
        kernel /= kernel.sum(1, keepdims=True)
        mean = kernel @ x
        off = x - mean[:, None]
        spread = (kernel * off**2).sum(1)
        tilt = np.divide(self.places - mean, spread, out=np.zeros_like(mean), where=spread > 1e-24)
        self.matrix = kernel * (1.0 + tilt[:, None] * off)

    def distances(self, y):
        """Distance of each probability from the curve of some labels."""
        observed = np.bincount(self.cell, self.w * y, len(self.mass)) / self.mass
        curve = np.clip(self.matrix @ observed, 0.0, 1.0)
        return np.abs(np.interp(self.p, self.places, curve) - self.p)


def _smooth(y, p, w, n_draws, random_state):
    """Distances from the smooth curve, and what a right model would show."""
    curve = _Curve(p, w, 0.75)
    off = curve.distances(y)
    order = off.argsort()
    total = w[order].cumsum()
    e50, e90 = off[order[np.searchsorted(total, total[-1] * np.array([0.5, 0.9]))]]
    found = {"ici": float(np.average(off, weights=w)), "e50": float(e50), "e90": float(e90)}
    floor, p_value = np.nan, np.nan
    if n_draws:
        rng = check_random_state(random_state)
        drawn = np.array(
            [
                np.average(curve.distances(rng.random_sample(len(p)) < p), weights=w)
                for _ in range(n_draws)
            ]
        )
        floor = float(drawn.mean())
        p_value = float((1 + (drawn >= found["ici"] - 1e-12).sum()) / (1 + n_draws))
    return {**found, "ici_floor": floor, "ici_p_value": p_value}
