"""What decisions at a threshold are worth to who accepts so many false alarms for a hit: net benefit."""

from numbers import Real

import numpy as np
from scipy.special import ndtri
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skimb._core.proportions import effective_rows, proportion_interval
from skimb.metrics._shared import binary, probabilities

_FEW = 5.0  # hits or false alarms below which the normal approximation leaves its level
_POINTS = 100
_COMMON = {
    "y_true": ["array-like"],
    "y_proba": ["array-like"],
    "prevalence": [Interval(Real, 0, 1, closed="neither"), None],
    "sample_weight": ["array-like", None],
}


@validate_params(
    {**_COMMON, "threshold": [Interval(Real, 0, 1, closed="left")]},
    prefer_skip_nested_validation=True,
)
def net_benefit(y_true, y_proba, *, threshold, prevalence=None, pos_label=None, sample_weight=None):
    r"""Net benefit: hits minus false alarms, at the odds of a threshold, per row.

    .. math:: \mathrm{NB}(t)=\frac1n\Bigl(\mathrm{TP}-\frac{t}{1-t}\,\mathrm{FP}\Bigr)

    Rows of a probability of at least t are decided as positive. Who does so at :math:`t=0.05` says that a hit is
    worth 19 false alarms: :math:`t/(1-t)=c_\mathrm{fp}/c_\mathrm{fn}`.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_proba : array-like of shape (n,)
        Probability of the positive class.
    threshold : float in [0, 1)
        The probability from which a row is decided as positive.
    prevalence : float in (0, 1), default=None
        Share of positives in the population; None takes that of the rows.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        At most the prevalence. 0 is to decide no row as positive.

    Raises
    ------
    ValueError
        If probabilities leave [0, 1], the positive class is not told, or with `prevalence` there are not two
        classes.

    References
    ----------
    Vickers and Elkin 2006, doi:10.1177/0272989X06295361.

    Examples
    --------
    >>> from skimb.metrics import net_benefit
    >>> net_benefit([0, 0, 1, 0], [0.05, 0.3, 0.7, 0.1], threshold=0.2)
    0.1875
    """
    curve = net_benefit_curve(
        y_true,
        y_proba,
        thresholds=[threshold],
        prevalence=prevalence,
        pos_label=pos_label,
        sample_weight=sample_weight,
    )
    return float(curve.net_benefit[0])


@validate_params(
    {
        **_COMMON,
        "y_other": ["array-like", None],
        "thresholds": ["array-like", None],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "band": [StrOptions({"auto", "wald", "exact"})],
    },
    prefer_skip_nested_validation=True,
)
def net_benefit_curve(
    y_true,
    y_proba,
    *,
    y_other=None,
    thresholds=None,
    prevalence=None,
    confidence=0.95,
    band="auto",
    pos_label=None,
    sample_weight=None,
):
    r"""Decision curve: net benefit over thresholds, with intervals, beside treating all and treating none.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_proba : array-like of shape (n,)
        Probability of the positive class.
    y_other : array-like of shape (n,), default=None
        Probabilities of another model, for the difference to it on the same rows.
    thresholds : array-like of float in [0, 1), default=None
        Thresholds; None takes 100 up to five times the prevalence, at most 0.5.
    prevalence : float in (0, 1), default=None
        Share of positives in the population; None takes that of the rows.
    confidence : float in (0, 1), default=0.95
        Of each interval by itself.
    band : {"auto", "wald", "exact"}, default="auto"
        Normal approximation, or from the Clopper-Pearson intervals of hits and of false alarms at half the risk
        each; "auto" takes the latter where fewer than 5 hits or false alarms are seen.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights; intervals count Kish's effective rows.

    Returns
    -------
    Bunch
        Arrays with an entry per threshold: ``threshold``, ``net_benefit``, ``low``, ``high``, ``exact`` (which
        interval it is), ``treat_all``, ``standardised`` (over the prevalence; 1 is perfect), ``avoided`` (false
        alarms avoided per 100 rows, against treating all; NaN at a threshold of 0), ``hits`` and ``false_alarms``
        (weights of rows). The number ``prevalence``. With `y_other` also ``difference``, ``difference_low`` and
        ``difference_high``, `y_proba` minus `y_other`.

    Raises
    ------
    ValueError
        If probabilities leave [0, 1], a threshold [0, 1), the positive class is not told, or with `prevalence`
        there are not two classes.

    Notes
    -----
    Each row adds 1, minus the odds of the threshold, or 0; the variance of that gives the approximate interval, and
    that of paired differences the one of two models. With `prevalence` the rates of both classes vary apart.

    References
    ----------
    Vickers and Elkin 2006, doi:10.1177/0272989X06295361.

    Examples
    --------
    >>> from skimb.metrics import net_benefit_curve
    >>> curve = net_benefit_curve([0, 0, 1, 0], [0.05, 0.3, 0.7, 0.1], thresholds=[0.1, 0.2])
    >>> curve.net_benefit.round(4).tolist(), curve.treat_all.round(4).tolist()
    ([0.1944, 0.1875], [0.1667, 0.0625])
    """
    y, p, w = binary(y_true, probabilities(y_proba, "y_proba"), pos_label, sample_weight)
    share = float(w @ y / w.sum())
    if prevalence is not None and not 0 < share < 1:
        raise ValueError(
            f"prevalence={prevalence!r} needs rows of both classes, y_true holds one; leave prevalence out."
        )
    rho = share if prevalence is None else float(prevalence)
    t = _thresholds(thresholds, rho)
    odds = t / (1.0 - t)
    hits, alarms = _above(p, w * y, t), _above(p, w * (1.0 - y), t)
    n = effective_rows(w)
    if prevalence is None:
        rates, rows = (hits / w.sum(), alarms / w.sum()), (n, n)
        scale, spread = (1.0, odds), _spread(*rates, odds, n)
    else:
        rates = hits / (w @ y), alarms / (w @ (1.0 - y))
        rows = effective_rows(w[y == 1]), effective_rows(w[y == 0])
        scale = (rho, (1.0 - rho) * odds)
        spread = np.sqrt(
            sum((c**2) * r * (1.0 - r) / m for c, r, m in zip(scale, rates, rows, strict=True))
        )
    value = scale[0] * rates[0] - scale[1] * rates[1]
    few = np.minimum(rates[0] * rows[0], rates[1] * rows[1]) < _FEW
    exact = few if band == "auto" else np.full(len(t), band == "exact")
    hit, alarm = (
        proportion_interval(rate * m, m, 0.5 + 0.5 * confidence)
        for rate, m in zip(rates, rows, strict=True)
    )
    z = float(ndtri(0.5 + 0.5 * confidence))
    treat_all = rho - (1.0 - rho) * odds
    with np.errstate(invalid="ignore", divide="ignore"):
        found = Bunch(
            threshold=t,
            net_benefit=value,
            low=np.where(exact, scale[0] * hit[0] - scale[1] * alarm[1], value - z * spread),
            high=np.where(exact, scale[0] * hit[1] - scale[1] * alarm[0], value + z * spread),
            exact=exact,
            treat_all=treat_all,
            standardised=value / rho if rho > 0 else np.full(len(t), np.nan),
            avoided=np.where(t > 0, 100.0 * (value - treat_all) / odds, np.nan),
            hits=hits,
            false_alarms=alarms,
            prevalence=rho,
        )
    if y_other is not None:
        _, q, _ = binary(y_true, probabilities(y_other, "y_other"), pos_label, sample_weight)
        found.update(_difference(y, p, q, w, t, odds, None if prevalence is None else rho, z))
    return found


def _thresholds(thresholds, prevalence):
    if thresholds is None:
        most = min(0.5, 5.0 * prevalence) if prevalence > 0 else 0.5
        return most * np.arange(1, _POINTS + 1) / _POINTS
    t = np.asarray(thresholds, float)
    if t.ndim != 1 or not len(t) or not ((t >= 0) & (t < 1)).all():
        raise ValueError(f"thresholds={thresholds!r} must be a list of numbers in [0, 1).")
    return t


def _above(p, mass, t):
    """Mass of the rows of a probability of at least each threshold."""
    order = np.argsort(-p)
    total = np.r_[0.0, mass[order].cumsum()]
    return total[np.searchsorted(-p[order], -t, side="right")]


def _changed(p, q, mass, t):
    """Mass that one model flags beyond the other, and mass that only one of them flags."""
    either = _above(np.maximum(p, q), mass, t)
    by_p, by_q = either - _above(q, mass, t), either - _above(p, mass, t)
    return by_p - by_q, by_p + by_q


def _spread(hit, alarm, odds, n):
    """Standard error of a mean of 1, minus the odds, and 0."""
    mean = hit - odds * alarm
    return np.sqrt(np.maximum(hit + odds**2 * alarm - mean**2, 0.0) / n)


def _difference(y, p, q, w, t, odds, prevalence, z):
    """Difference of two models and its interval, from paired rows."""
    value, error = np.zeros(len(t)), np.zeros(len(t))
    parts = [(np.ones(len(y), bool), 1.0, 1.0)]
    if prevalence is not None:
        parts = [(y == 1, prevalence, 0.0), (y == 0, 0.0, 1.0 - prevalence)]
    for rows, of_hit, of_alarm in parts:
        m, n, total = w[rows], effective_rows(w[rows]), w[rows].sum()
        hits, changed_hits = _changed(p[rows], q[rows], m * y[rows], t)
        alarms, changed_alarms = _changed(p[rows], q[rows], m * (1.0 - y[rows]), t)
        mean = (of_hit * hits - of_alarm * odds * alarms) / total
        square = (of_hit**2 * changed_hits + (of_alarm * odds) ** 2 * changed_alarms) / total
        value += mean
        error += np.maximum(square - mean**2, 0.0) / n
    half = z * np.sqrt(error)
    return {
        "difference": value,
        "difference_low": value - half,
        "difference_high": value + half,
    }
