"""What an order of rows finds from the top: gain, lift and the distance of two distributions."""

from numbers import Real

import numpy as np
from scipy.special import gammaln
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from skimb._core.proportions import effective_rows, proportion_interval
from skimb.metrics._budgets import BUDGET
from skimb.metrics._ranking import RANKING, found_at_budget, needs_positives
from skimb.metrics._shared import binary, both_classes

_POINTS = 200  # of a curve without budgets


@validate_params(
    {**RANKING, "budget": BUDGET, "groups": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def lift_at_budget(
    y_true, y_score, *, budget, groups=None, pos_label=None, sample_weight=None
):  # fmt: skip
    r"""How many times more positives the highest scores hold than as many random rows.

    .. math:: \mathrm{lift}(q)=\frac{\mathrm{gain}(q)}{q}

    with the share :math:`q` of the rows that are reviewed and the gain, which is the recall at this budget
    (:func:`recall_at_budget`).

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_score : array-like of shape (n,)
        Scores, higher for the positive class.
    budget : int in [1, n] or float in (0, 1]
        Rows that can be reviewed, or their share.
    groups : array-like of shape (n,), default=None
        Batches with a budget each, as in :func:`precision_at_budget`.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights; a whole budget then counts weight.

    Returns
    -------
    float
        In [0, 1 / q]; 1 is a random order. Ties as in :func:`precision_at_budget`.

    Raises
    ------
    ValueError
        If the budget exceeds the rows, the positive class is not told, or it has no rows.

    Examples
    --------
    >>> from skimb.metrics import lift_at_budget
    >>> lift_at_budget([1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.7, 0.1], budget=2)
    1.25
    """
    found, size, positives, total = found_at_budget(
        y_true, y_score, budget, groups, pos_label, sample_weight
    )
    needs_positives(positives, "lift_at_budget")
    return found / positives * total / size


@validate_params(
    {
        **RANKING,
        "budgets": ["array-like", None],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def gain_curve(
    y_true, y_score, *, budgets=None, confidence=0.95, pos_label=None, sample_weight=None
):
    r"""Cumulative gain, lift and precision over the rows that are reviewed, with exact intervals.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_score : array-like of shape (n,)
        Scores, higher for the positive class.
    budgets : array-like of int in [1, n] or of float in (0, 1], default=None
        Rows that are reviewed, or their shares. None takes 0 and the places between different scores, of many
        about 200, half of them evenly spread and half in geometric steps from the top.
    confidence : float in (0, 1), default=0.95
        Of each interval by itself; the curve as a whole leaves its band more often.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights; whole budgets then count weight, and intervals count Kish's effective rows.

    Returns
    -------
    Bunch
        Arrays with an entry per budget: ``reviewed``, ``share`` (of all rows), ``found`` (positives), ``gain``
        (their share of all positives), ``lift``, ``precision``; ``gain_low``, ``gain_high``, ``lift_low``,
        ``lift_high``, ``precision_low``, ``precision_high``; ``chance_low``, ``chance_high`` (gain of a random
        order) and ``perfect`` (gain of the best one). Numbers: ``n_rows``, ``n_positives``, ``prevalence``.
        Lift and precision of no rows are NaN.

    Raises
    ------
    ValueError
        If a budget exceeds the rows, the positive class is not told, or it has no rows.

    Notes
    -----
    Between places of different scores the curve is straight: rows of equal score share what is left. Gain has
    the Clopper-Pearson interval of the positives found among all of them, precision that among the reviewed rows;
    a random order finds a hypergeometric number.

    References
    ----------
    Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.

    Examples
    --------
    >>> from skimb.metrics import gain_curve
    >>> curve = gain_curve([1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.7, 0.1], budgets=[1, 2, 3])
    >>> curve.gain.tolist(), curve.lift.round(2).tolist()
    ([0.5, 0.5, 0.75], [2.5, 1.25, 1.25])
    >>> curve.gain_low.round(3).tolist()
    [0.013, 0.013, 0.061]
    """
    y, s, w = binary(y_true, y_score, pos_label, sample_weight)
    needs_positives((w * y).sum(), "gain_curve")
    _, group = np.unique(-s, return_inverse=True)
    rows, squares, positives = (
        np.r_[0.0, np.bincount(group, part).cumsum()] for part in (w, w * w, w * y)
    )
    total, n_positives = rows[-1], positives[-1]
    reviewed = _places(rows) if budgets is None else _sizes(budgets, total)
    found = np.interp(reviewed, rows, positives)
    share, gain = reviewed / total, found / n_positives
    of_positives, of_rows = effective_rows(w[y == 1]), effective_rows(w)
    gain_low, gain_high = proportion_interval(gain * of_positives, of_positives, confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, lift = found / reviewed, gain / share
        seen = np.nan_to_num(reviewed**2 / np.interp(reviewed, rows, squares))
        low, high = proportion_interval(np.nan_to_num(precision) * seen, seen, confidence)
        lift_low, lift_high = gain_low / share, gain_high / share
    chance_low, chance_high = _chance(share, of_rows, n_positives / total, confidence)
    return Bunch(
        reviewed=reviewed,
        share=share,
        found=found,
        gain=gain,
        gain_low=gain_low,
        gain_high=gain_high,
        lift=lift,
        lift_low=lift_low,
        lift_high=lift_high,
        precision=precision,
        precision_low=np.where(seen > 0, low, np.nan),
        precision_high=np.where(seen > 0, high, np.nan),
        chance_low=chance_low,
        chance_high=chance_high,
        perfect=np.minimum(reviewed / n_positives, 1.0),
        n_rows=float(total),
        n_positives=float(n_positives),
        prevalence=float(n_positives / total),
    )


def _places(rows):
    """Some of the places between different scores."""
    last = len(rows) - 1
    if last <= _POINTS:
        return rows
    half = _POINTS // 2
    chosen = np.r_[0, np.linspace(0, last, half), np.geomspace(1, last, half)]
    return rows[np.unique(chosen.round().astype(int))]


def _sizes(budgets, total):
    """Budgets as numbers of rows."""
    given = np.asarray(budgets)
    if given.ndim != 1 or given.dtype.kind not in "iuf" or not len(given):
        raise ValueError(f"budgets={budgets!r} must be a list of numbers or of shares of rows.")
    size = given.astype(float) * (total if given.dtype.kind == "f" else 1.0)
    if not (size > 0).all() or (size > total * (1 + 1e-12)).any():
        raise ValueError(
            f"budgets={budgets!r} must lie between 1 and the {total:g} rows there are (by weight) as whole "
            "numbers, or in (0, 1] as shares."
        )
    return np.minimum(size, total)


def _chance(share, n, prevalence, confidence):
    """Interval of the gain of a random order, rounded outwards where rows are no whole numbers."""
    rows, positives = round(n), max(1, round(n * prevalence))
    tail = 0.5 * (1.0 - confidence)
    drawn = share * rows
    low = _hypergeometric(tail, rows, positives, np.floor(drawn + 1e-9))
    high = _hypergeometric(1.0 - tail, rows, positives, np.ceil(drawn - 1e-9))
    return low / positives, high / positives


def _hypergeometric(level, rows, positives, drawn):
    """Quantiles of the positives among drawn rows, from the probabilities near the mean.

    scipy's own ``ppf`` and ``pmf`` take minutes for 100 000 rows.
    """
    mean, least = drawn * positives / rows, np.maximum(drawn + positives - rows, 0.0)
    spread = np.sqrt(mean * (1.0 - positives / rows))
    width = int(np.ceil(24.0 * spread.max())) + 24
    first = np.maximum(least, np.floor(mean - 0.5 * width))
    at = first[:, None] + np.arange(width + 1)
    drawn = drawn[:, None]
    parts = ((positives, at), (rows - positives, drawn - at))
    possible = np.all([(part >= 0) & (part <= of) for of, part in parts], axis=0)
    logs = sum(_log_binomial(of, np.where(possible, part, 0.0)) for of, part in parts)
    chance = np.where(possible, np.exp(logs - _log_binomial(rows, drawn)), 0.0).cumsum(1)
    return first + (chance < level * (1.0 - 1e-9)).sum(1)


def _log_binomial(n, k):
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def _rates(y, s, w):
    """Scores in falling order, each once, and the shares of both classes that reach them."""
    thresholds, group = np.unique(-s, return_inverse=True)
    positive, negative = (np.bincount(group, part).cumsum() for part in (w * y, w * (1.0 - y)))
    return -thresholds, positive / positive[-1], negative / negative[-1]


@validate_params(RANKING, prefer_skip_nested_validation=True)
def kolmogorov_smirnov_score(y_true, y_score, *, pos_label=None, sample_weight=None):
    r"""Kolmogorov-Smirnov statistic of the scores of two classes: :math:`\max_t|\mathrm{TPR}(t)-\mathrm{FPR}(t)|`.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_score : array-like of shape (n,)
        Scores.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        In [0, 1]; 0 where both classes have the same scores, 1 where a threshold tells them apart. It does not
        see which class scores higher.

    Raises
    ------
    ValueError
        If there are not two classes.

    See Also
    --------
    kolmogorov_smirnov_curve : Both curves, their bands and the threshold.

    Examples
    --------
    >>> from skimb.metrics import kolmogorov_smirnov_score
    >>> round(kolmogorov_smirnov_score([0, 0, 0, 1, 1], [0.1, 0.4, 0.6, 0.5, 0.9]), 4)
    0.6667
    """
    y, s, w = binary(y_true, y_score, pos_label, sample_weight)
    both_classes(y, "kolmogorov_smirnov_score")
    _, tpr, fpr = _rates(y, s, w)
    return float(np.abs(tpr - fpr).max())


@validate_params(
    {**RANKING, "confidence": [Interval(Real, 0, 1, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def kolmogorov_smirnov_curve(
    y_true, y_score, *, confidence=0.95, pos_label=None, sample_weight=None
):
    r"""Shares of both classes that reach each score, where they differ most, and bands around them.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_score : array-like of shape (n,)
        Scores.
    confidence : float in (0, 1), default=0.95
        Of each band as a whole, and of the interval of the statistic.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights; bands then count Kish's effective rows.

    Returns
    -------
    Bunch
        Arrays with an entry per different score, in falling order: ``threshold``, ``tpr``, ``fpr``, ``tpr_low``,
        ``tpr_high``, ``fpr_low``, ``fpr_high``. Numbers: ``statistic``, ``statistic_low``, ``statistic_high`` and
        ``threshold_at_statistic``.

    Raises
    ------
    ValueError
        If there are not two classes.

    Notes
    -----
    The bands are those of Dvoretzky, Kiefer and Wolfowitz with Massart's constant,
    :math:`\pm\sqrt{\ln(2/\delta)/2n_k}`, which hold at all scores together. The statistic moves at most by the
    half-widths of both at :math:`\delta/2`, so its interval holds for any distribution, and is wide.

    References
    ----------
    Massart 1990, doi:10.1214/aop/1176990746.

    Examples
    --------
    >>> from skimb.metrics import kolmogorov_smirnov_curve
    >>> curve = kolmogorov_smirnov_curve([0, 0, 0, 1, 1], [0.1, 0.4, 0.6, 0.5, 0.9])
    >>> round(curve.statistic, 4), curve.threshold_at_statistic
    (0.6667, 0.5)
    """
    y, s, w = binary(y_true, y_score, pos_label, sample_weight)
    both_classes(y, "kolmogorov_smirnov_curve")
    threshold, tpr, fpr = _rates(y, s, w)
    gap = np.abs(tpr - fpr)
    rows = np.array([effective_rows(w[y == k]) for k in (1, 0)])
    delta = 1.0 - confidence
    positive, negative = np.sqrt(np.log(2.0 / delta) / (2.0 * rows))
    room = np.sqrt(np.log(4.0 / delta) / (2.0 * rows)).sum()
    at = int(gap.argmax())
    return Bunch(
        threshold=threshold,
        tpr=tpr,
        fpr=fpr,
        tpr_low=np.maximum(tpr - positive, 0.0),
        tpr_high=np.minimum(tpr + positive, 1.0),
        fpr_low=np.maximum(fpr - negative, 0.0),
        fpr_high=np.minimum(fpr + negative, 1.0),
        statistic=float(gap[at]),
        statistic_low=float(max(gap[at] - room, 0.0)),
        statistic_high=float(min(gap[at] + room, 1.0)),
        threshold_at_statistic=float(threshold[at]),
    )
