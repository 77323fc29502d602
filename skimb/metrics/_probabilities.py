"""Scores of probabilities."""

from numbers import Integral, Real

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import column_or_1d

from skimb._core.compat import multiclass_brier_score
from skimb._core.proportions import effective_rows, proportion_interval
from skimb.metrics._shared import (
    binary,
    columns_by_class,
    only_known,
    probabilities,
    weights_of,
)

_EXPECTED = 5  # positives per bin
_WEIGHTED = {
    "y_true": ["array-like"],
    "y_proba": ["array-like"],
    "class_weight": [StrOptions({"balanced"}), dict],
    "labels": ["array-like", None],
    "sample_weight": ["array-like", None],
}


def _row_weights(y_true, class_weight, sample_weight):
    """Row weights after class weights; "balanced" gives each class of y_true the same mass."""
    y = column_or_1d(y_true)
    w = weights_of(sample_weight, y)
    classes, code = np.unique(y, return_inverse=True)
    if class_weight == "balanced":
        mass = np.bincount(code, w)
        factor = np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0)
    else:
        missing = [c for c in classes.tolist() if c not in class_weight]
        if missing:
            raise ValueError(f"class_weight={class_weight!r} lacks the classes {missing}.")
        factor = np.array([class_weight[c] for c in classes.tolist()], float)
        if (factor < 0).any() or not np.isfinite(factor).all():
            raise ValueError(
                f"class_weight={class_weight!r} must hold finite weights of at least 0."
            )
    w = w * factor[code]
    if not w.sum() > 0:
        raise ValueError("All weights of rows are 0.")
    return w


@validate_params(_WEIGHTED, prefer_skip_nested_validation=True)
def weighted_brier_score(
    y_true, y_proba, *, class_weight="balanced", labels=None, sample_weight=None
):
    r"""Brier score with class weights: :math:`\sum_i w_{y_i}\|p_i-e_{y_i}\|^2/\sum_i w_{y_i}`.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    y_proba : array-like of shape (n, n_classes) or, for two classes, (n,) or (n, 1)
        Probabilities; a single column is that of the second class.
    class_weight : "balanced" or dict, default="balanced"
        "balanced" averages within each class first, then over classes; else weights by label.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns, sorted or not; None sorts those of y_true.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        0 is perfect. Two classes: the sum is halved, in [0, 1]; more: in [0, 2], as scikit-learn scales it.

    Raises
    ------
    ValueError
        If class weights lack a class or are negative, or columns and labels do not fit.

    Notes
    -----
    With class weights the score is proper for the reweighted population, not for the one the rows come
    from: honest probabilities of a rare class do not minimise it. Use it to ask how well the rare class is
    told apart in probability, and the plain one to ask whether probabilities are right.

    References
    ----------
    Wallace and Dahabreh 2012, doi:10.1109/ICDM.2012.115.

    Examples
    --------
    >>> from skimb.metrics import weighted_brier_score
    >>> round(weighted_brier_score([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.2]), 3)
    0.325
    """
    w = _row_weights(y_true, class_weight, sample_weight)
    y = column_or_1d(y_true)
    classes, proba = columns_by_class(y, y_proba, labels)
    if len(classes) == 2:
        truth = y == classes[1]
        return float(brier_score_loss(truth, proba[:, 1], sample_weight=w, pos_label=True))
    return float(multiclass_brier_score(y, proba, sample_weight=w, labels=classes))


@validate_params(_WEIGHTED, prefer_skip_nested_validation=True)
def weighted_log_loss(y_true, y_proba, *, class_weight="balanced", labels=None, sample_weight=None):
    r"""Log-loss with class weights: :math:`-\sum_i w_{y_i}\log p_{i,y_i}/\sum_i w_{y_i}`.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    y_proba : array-like of shape (n, n_classes) or, for two classes, (n,) or (n, 1)
        Probabilities; a single column is that of the second class.
    class_weight : "balanced" or dict, default="balanced"
        "balanced" averages within each class first, then over classes; else weights by label.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns, sorted or not; None sorts those of y_true.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        0 is perfect; nats.

    Raises
    ------
    ValueError
        If class weights lack a class or are negative, or columns and labels do not fit.

    Notes
    -----
    Proper for the reweighted population, as :func:`weighted_brier_score`.

    Examples
    --------
    >>> from skimb.metrics import weighted_log_loss
    >>> round(weighted_log_loss([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.2]), 3)
    0.857
    """
    w = _row_weights(y_true, class_weight, sample_weight)
    y = column_or_1d(y_true)
    classes, proba = columns_by_class(y, y_proba, labels)
    return float(log_loss(y, proba, sample_weight=w, labels=classes))


def _bins(p, w, n_bins, strategy):
    """Bin of each probability, and the edges."""
    if strategy == "uniform":
        edges = np.linspace(0.0, 1.0, n_bins + 1)
    else:
        values, group = np.unique(p, return_inverse=True)
        total = np.bincount(group, w if strategy == "quantile" else w * p).cumsum()
        wanted = total[-1] * np.arange(1, n_bins) / n_bins
        after = np.minimum(np.searchsorted(total, wanted), len(total) - 1)
        nearer = (after > 0) & (wanted - total[after - 1] < total[after] - wanted)
        edges = np.unique(np.r_[0.0, values[after - nearer], 1.0])  # ties stay together
    return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, len(edges) - 2), edges


_CALIBRATION = {
    "y_true": ["array-like"],
    "sample_weight": ["array-like", None],
    "n_bins": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "strategy": [StrOptions({"uniform", "quantile", "mass"})],
}


@validate_params(
    {
        **_CALIBRATION,
        "y_prob": ["array-like"],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def calibration_table(
    y_true,
    y_prob,
    *,
    n_bins=10,
    strategy="mass",
    confidence=0.95,
    pos_label=None,
    sample_weight=None,
):
    """Predicted against observed frequency by bins, with intervals that hold in bins of few positives.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels of two classes.
    y_prob : array-like of shape (n,)
        Probability of the positive class.
    n_bins : int in [1, inf) or "auto", default=10
        Most bins; ties and empty bins leave fewer. "auto" takes one per five expected positives, at most ten.
    strategy : {"mass", "quantile", "uniform"}, default="mass"
        Bins of equal expected positives (sum of probabilities), of equal rows, or of equal width. Under a rare
        class the first puts most bins where it is expected; the others put nearly all rows in one bin or most
        bins near 0.
    confidence : float in (0, 1), default=0.95
        Of the Clopper-Pearson interval of the observed frequency; with weights it counts Kish's effective rows.
    pos_label : label, default=None
        The positive class; None takes 1 of 0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    Bunch of ndarrays, one entry per bin that holds rows
        ``lower``, ``upper`` (edges: lower < p <= upper), ``weight``, ``positives``, ``predicted`` (mean
        probability), ``observed``, ``low``, ``high`` (interval), ``inside`` (whether the prediction lies in it).

    Raises
    ------
    ValueError
        If probabilities leave [0, 1] or the positive class is not told.

    Notes
    -----
    Bins are chosen by predictions alone, never by outcomes. The interval treats a bin's rows as equally
    probable, which errs on the wide side.

    References
    ----------
    Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.

    Examples
    --------
    >>> from skimb.metrics import calibration_table
    >>> table = calibration_table([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.6], n_bins=2)
    >>> table.observed.round(3).tolist(), table.inside.tolist()
    ([0.0, 1.0], [True, True])
    """
    y, p, w = binary(y_true, probabilities(y_prob), pos_label, sample_weight)
    if n_bins == "auto":
        n_bins = int(np.clip(p @ w * effective_rows(w) / w.sum() // _EXPECTED, 1, 10))
    at, edges = _bins(p, w, n_bins, strategy)
    size = len(edges) - 1
    weight, hits = np.bincount(at, w, size), np.bincount(at, w * y, size)
    used = np.flatnonzero(weight > 0)
    weight, hits = weight[used], hits[used]
    predicted, observed = np.bincount(at, w * p, size)[used] / weight, hits / weight
    rows = np.array([effective_rows(w[at == b]) for b in used])
    low, high = proportion_interval(observed * rows, rows, confidence)
    return Bunch(
        lower=edges[used],
        upper=edges[used + 1],
        weight=weight,
        positives=hits,
        predicted=predicted,
        observed=observed,
        low=low,
        high=high,
        inside=(low <= predicted) & (predicted <= high),
    )


@validate_params({**_CALIBRATION, "y_proba": ["array-like"]}, prefer_skip_nested_validation=True)
def expected_calibration_error(
    y_true,
    y_proba,
    *,
    n_bins=10,
    strategy="mass",
    labels=None,
    pos_label=None,
    sample_weight=None,
):
    r"""Expected calibration error: :math:`\sum_b\frac{n_b}{n}\,|\bar p_b-\bar y_b|`, over classes their mean.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    y_proba : array-like of shape (n,), (n, 1) or (n, n_classes)
        Probability of the positive class, or of every class; of two columns that of `pos_label` counts, else
        the second.
    n_bins : int in [1, inf) or "auto", default=10
        Most bins, as in :func:`calibration_table`.
    strategy : {"mass", "quantile", "uniform"}, default="mass"
        Bins as in :func:`calibration_table`.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns; None sorts those of y_true.
    pos_label : label, default=None
        The positive class of two; None takes the second of `labels`, and for a single column without those 1 of
        0/1 or -1/1 labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        0 is perfect. Of n rows a perfectly calibrated model still shows about
        :math:`\sqrt{n_\mathrm{bins}\,\pi/n}` for a class of share :math:`\pi`: compare models on the same rows,
        and read :func:`calibration_table` for what is beyond chance.

    Raises
    ------
    ValueError
        If probabilities leave [0, 1] or columns do not fit the classes.

    Notes
    -----
    The usual error of the most probable class says nothing about a rare class, which is hardly ever that;
    this is the class-wise form.

    References
    ----------
    Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; class-wise: Kull et al. 2019, arXiv:1910.12656.

    Examples
    --------
    >>> from skimb.metrics import expected_calibration_error
    >>> round(expected_calibration_error([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.6], n_bins=2), 3)
    0.25
    """
    p = probabilities(y_proba)
    y = column_or_1d(y_true)
    if p.ndim == 1 or p.shape[1] == 1:
        if labels is not None:
            classes = column_or_1d(labels)
            only_known(y, classes)
            if len(classes) != 2:
                raise ValueError(
                    f"A single column of y_proba does not fit the {len(classes)} classes {classes.tolist()[:10]}."
                )
            pos_label = classes[1] if pos_label is None else pos_label
        columns = [(y, p.ravel(), pos_label)]
    else:
        given = np.unique(y) if labels is None else column_or_1d(labels)
        classes, p = columns_by_class(y, p, labels)
        if len(classes) == 2:
            counts = given[1] if pos_label is None else pos_label
            if counts not in classes.tolist():
                raise ValueError(f"pos_label={pos_label!r} is not among {classes.tolist()}.")
            if counts == classes[0]:
                classes, p = classes[::-1], p[:, ::-1]
        which = [1] if len(classes) == 2 else range(len(classes))
        columns = [((y == classes[k]).astype(int), p[:, k], 1) for k in which]
    errors = []
    for truth, column, positive in columns:
        table = calibration_table(
            truth,
            column,
            n_bins=n_bins,
            strategy=strategy,
            pos_label=positive,
            sample_weight=sample_weight,
        )
        errors.append(np.average(np.abs(table.predicted - table.observed), weights=table.weight))
    return float(np.mean(errors))
