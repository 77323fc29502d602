"""Scores of decisions."""

from numbers import Real

import numpy as np
from imblearn.metrics import geometric_mean_score as _geometric_mean
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from skimb._core.optional import require
from skimb._core.proportions import effective_rows, proportion_interval
from skimb.metrics._shared import only_known, weights_of

_LABELS = {
    "y_true": ["array-like"],
    "y_pred": ["array-like"],
    "labels": ["array-like", None],
    "sample_weight": ["array-like", None],
}


@validate_params(
    {**_LABELS, "correction": [Interval(Real, 0, 1, closed="both")]},
    prefer_skip_nested_validation=True,
)
def geometric_mean_score(y_true, y_pred, *, labels=None, sample_weight=None, correction=0.0):
    r"""Geometric mean of the recalls of all classes: :math:`(\prod_k r_k)^{1/K}`.

    imbalanced-learn's score over classes, under the name its scorer has here.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels and decisions.
    labels : array-like, default=None
        Classes that count; None takes all in either.
    sample_weight : array-like of shape (n,), default=None
        Row weights.
    correction : float in [0, 1], default=0.0
        Stands for a recall of 0.

    Returns
    -------
    float
        In [0, 1]; 0 if a class is never found.

    Examples
    --------
    >>> from skimb.metrics import geometric_mean_score
    >>> round(geometric_mean_score([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]), 4)
    0.6124
    """
    if sample_weight is not None:
        sample_weight = weights_of(sample_weight, column_or_1d(y_true))
    return float(
        _geometric_mean(
            y_true,
            y_pred,
            labels=labels,
            average="multiclass",
            sample_weight=sample_weight,
            correction=correction,
        )
    )


@validate_params(
    {**_LABELS, "power": [Interval(Real, 0, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def separated_kappa_score(
    y_true, y_pred, *, background=None, labels=None, power=1.0, sample_weight=None
):
    r"""Separated kappa (SeK): :math:`\kappa_{n0}\,e^{\beta(\mathrm{IoU}-1)}`.

    :math:`\kappa_{n0}` is Cohen's kappa without the background rows decided as background, IoU the share of rows
    that both call foreground among those that either does. Background rows that are right do not count.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels and decisions of at least three classes.
    background : label, default=None
        The background class; None takes the most frequent one of y_true.
    labels : array-like, default=None
        All classes; None takes those in either.
    power : float in [0, inf), default=1.0
        Exponent factor :math:`\beta`.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    float
        About -1 to 1; 1 is perfect. Rows of the background alone, all right, count as 0.

    Raises
    ------
    ValueError
        If there are fewer than three classes: with two the score is never positive.

    References
    ----------
    Yang et al. 2020, arXiv:2010.05687.

    Examples
    --------
    >>> from skimb.metrics import separated_kappa_score
    >>> round(separated_kappa_score([0, 0, 0, 0, 1, 2], [0, 0, 0, 1, 1, 2]), 4)
    0.3583
    """
    classes = (
        np.unique(np.r_[column_or_1d(y_true), column_or_1d(y_pred)])
        if labels is None
        else np.asarray(labels)
    )
    if len(classes) < 3:
        raise ValueError(
            f"separated_kappa_score needs at least three classes, got {classes.tolist()}; for two use the Jaccard "
            "score."
        )
    if sample_weight is not None:
        sample_weight = weights_of(sample_weight, column_or_1d(y_true))
    matrix = confusion_matrix(y_true, y_pred, labels=classes, sample_weight=sample_weight).astype(
        float
    )
    if background is None:
        at = int(matrix.sum(1).argmax())
    elif background in classes.tolist():
        at = classes.tolist().index(background)
    else:
        raise ValueError(f"background={background!r} is not among the classes {classes.tolist()}.")
    outside = matrix.sum() - matrix[at, at]
    if outside == 0:
        return 0.0
    share = matrix / outside
    share[at, at] = 0.0
    observed, expected = np.trace(share), share.sum(0) @ share.sum(1)
    if expected > 1 - 1e-12:  # one cell holds everything: kappa is 0/0
        return 0.0
    foreground = np.delete(np.delete(share, at, 0), at, 1).sum()
    return float((observed - expected) / (1.0 - expected) * np.exp(power * (foreground - 1.0)))


def _columns(y_true, y_pred, y_proba, labels):
    """Class labels and, per class, truth, decisions and probabilities."""
    y = check_array(y_true, ensure_2d=False, dtype=None, input_name="y_true")
    several = y.ndim == 2 and y.shape[1] > 1
    y = y if several else column_or_1d(y)
    decided = None if y_pred is None else np.asarray(y_pred)
    proba = None if y_proba is None else check_array(y_proba, ensure_2d=False, input_name="y_proba")
    check_consistent_length(y, decided, proba)
    if several:
        classes = np.arange(y.shape[1]) if labels is None else np.asarray(labels)
        truth = y.astype(bool)
        decisions = None if decided is None else decided.astype(bool)
    else:
        seen = y if decided is None else np.r_[y, column_or_1d(decided)]
        classes = np.unique(seen) if labels is None else np.asarray(labels)
        truth = y[:, None] == classes
        decisions = None if decided is None else column_or_1d(decided)[:, None] == classes
        if proba is not None:
            only_known(y, classes)
            if proba.size == len(y) and len(classes) == 2:
                proba = np.column_stack([1.0 - proba.ravel(), proba.ravel()])
    for name, table in (("y_pred", decisions), ("y_proba", proba), ("y_true", truth)):
        if table is not None and table.shape != (len(y), len(classes)):
            raise ValueError(
                f"{name} of shape {table.shape} does not fit {len(y)} rows and the classes {classes.tolist()}; "
                "give all classes, in the order of the columns, as labels=."
            )
    return classes, truth, decisions, proba


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred": ["array-like", None],
        "y_proba": ["array-like", None],
        "labels": ["array-like", None],
        "sample_weight": ["array-like", None],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def classification_table(
    y_true,
    y_pred=None,
    y_proba=None,
    *,
    labels=None,
    sample_weight=None,
    confidence=0.95,
    as_frame=False,
):
    """Per class: frequency, precision and recall with intervals, and what its probabilities are worth.

    Parameters
    ----------
    y_true : array-like of shape (n,) or (n, n_labels)
        Labels, or 0/1 of several labels.
    y_pred : array-like of the shape of y_true, default=None
        Decisions.
    y_proba : array-like of shape (n, n_classes) or, for two classes, (n,) or (n, 1), default=None
        Probabilities; a single column is that of the second class.
    labels : array-like, default=None
        Classes in the order of the columns of y_proba; None sorts those seen.
    sample_weight : array-like of shape (n,), default=None
        Row weights.
    confidence : float in (0, 1), default=0.95
        Of the Clopper-Pearson intervals of precision and recall; with weights they count Kish's effective
        rows.
    as_frame : bool, default=False
        Whether to return a pandas DataFrame.

    Returns
    -------
    Bunch of ndarrays of shape (n_classes,), or DataFrame
        ``label``, ``support``, ``share``; with decisions ``predicted``, ``precision``, ``recall``, ``f1``,
        ``specificity`` and the ends of the intervals, ``precision_low`` ...; with probabilities
        ``average_precision``, ``roc_auc``, ``brier`` and ``mean_probability``. What is undefined is NaN.

    Raises
    ------
    ValueError
        If neither decisions nor probabilities are given, or shapes do not fit.

    Examples
    --------
    >>> from skimb.metrics import classification_table
    >>> table = classification_table([0, 0, 0, 1], [0, 0, 1, 1])
    >>> table.recall.round(3).tolist(), table.precision.tolist()
    ([0.667, 1.0], [1.0, 0.5])
    """
    if y_pred is None and y_proba is None:
        raise ValueError("classification_table needs y_pred, y_proba or both.")
    classes, truth, decided, proba = _columns(y_true, y_pred, y_proba, labels)
    w = weights_of(sample_weight, truth)
    support = w @ truth
    table = {"label": classes, "support": support, "share": support / w.sum()}
    if decided is not None:
        hits, predicted = w @ (truth & decided), w @ decided
        with np.errstate(invalid="ignore", divide="ignore"):
            table |= {
                "predicted": predicted,
                "precision": hits / predicted,
                "recall": hits / support,
                "f1": 2 * hits / (support + predicted),
                "specificity": (w @ (~truth & ~decided)) / (w.sum() - support),
            }
        for name, chosen in (("precision", decided), ("recall", truth)):
            n = np.array([effective_rows(w[chosen[:, k]]) for k in range(len(classes))])
            rate = np.nan_to_num(table[name])
            low, high = proportion_interval(rate * n, n, confidence)
            table[f"{name}_low"] = np.where(n > 0, low, np.nan)
            table[f"{name}_high"] = np.where(n > 0, high, np.nan)
    if proba is not None:
        table |= {
            "average_precision": np.full(len(classes), np.nan),
            "roc_auc": np.full(len(classes), np.nan),
        }
        for k in np.flatnonzero((support > 0) & (support < w.sum())):
            for name, score in (
                ("average_precision", average_precision_score),
                ("roc_auc", roc_auc_score),
            ):
                table[name][k] = score(truth[:, k], proba[:, k], sample_weight=w)
        table["brier"] = np.average((proba - truth) ** 2, axis=0, weights=w)
        table["mean_probability"] = np.average(proba, axis=0, weights=w)
    if as_frame:
        return require("pandas", extra="data").DataFrame(table).set_index("label")
    return Bunch(**table)
