"""Which imbalance recall follows: that of the rows, or that of whatever made the features."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata
from sklearn.utils.validation import check_consistent_length

from skimb._core.validation import checked_target
from skimb._core.warn import warn_user


@dataclass(frozen=True, eq=False)
class ImbalanceReport:
    """Recall by two orders of the classes.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Class labels.
    recall : ndarray of shape (n_bins, n_bins)
        Mean recall of the classes of a cell: rows by the source, columns by the data, few first; nan where empty.
    n_classes : ndarray of shape (n_bins, n_bins)
        Classes of a cell.
    interval : ndarray of shape (n_bins, n_bins, 2)
        95 % interval of the mean by the number of test rows.
    source_effect, data_effect : float
        Recall of the most frequent class less that of the rarest one, by the order of the source and of the data,
        the other order held (least squares on ranks); nan where an order has one value only.
    source_error, data_error : float
        Standard errors of these.
    """

    classes: np.ndarray
    recall: np.ndarray
    n_classes: np.ndarray
    interval: np.ndarray
    source_effect: float
    data_effect: float
    source_error: float
    data_error: float


def imbalance_report(y_true, y_pred, *, class_counts, source_prior, n_bins=3):
    r"""Recall by the classes' frequencies in the training rows and in the source of the features.

    Recall of class k is fitted by :math:`a+b\,r_k+c\,s_k` with its ranks :math:`r` in the source and :math:`s` in
    the data, both from 0 to 1.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels of test rows, and predictions.
    class_counts : array-like of shape (n_classes,) or dict
        Training rows of each class of `y_true`, in the order of the sorted labels or by label.
    source_prior : array-like of shape (n_classes,) or dict
        Frequencies of the classes where the features were learned, from :func:`estimate_source_prior`, or anything
        that orders classes by how well the features know them.
    n_bins : int, default=3
        Parts of equal size into which each order cuts the classes.

    Returns
    -------
    ImbalanceReport
        Cells and effects.

    Notes
    -----
    Logit adjustment moves the effect of the data and not that of the source, which lies in the features.

    References
    ----------
    Chen et al. 2025, arXiv:2501.15955. Effects and intervals are ours.

    Examples
    --------
    >>> from skimb.posthoc import imbalance_report
    >>> report = imbalance_report([0, 1, 2], [0, 1, 1], class_counts=[9, 5, 1], source_prior=[1, 3, 2], n_bins=1)
    >>> report.recall.round(2).tolist(), report.n_classes.tolist()
    ([[0.67]], [[3]])
    """
    y_true, y_pred = _labels("y_true", y_true), _labels("y_pred", y_pred)
    check_consistent_length(y_true, y_pred)
    if not isinstance(n_bins, (int, np.integer)) or n_bins < 1:
        raise ValueError(f"n_bins={n_bins!r} must be a whole number from 1.")
    classes, code, rows = np.unique(y_true, return_inverse=True, return_counts=True)
    recall = np.bincount(code, weights=y_true == y_pred) / rows
    places, ranks = [], []
    for name, value in (("source_prior", source_prior), ("class_counts", class_counts)):
        rank = rankdata(_per_class(classes, name, value))
        places.append(((rank - 0.5) / len(classes) * n_bins).astype(int).clip(0, n_bins - 1))
        ranks.append((rank - 1.0) / max(len(classes) - 1, 1))
    cells = np.full((n_bins, n_bins), np.nan)
    counts, interval = np.zeros((n_bins, n_bins), int), np.full((n_bins, n_bins, 2), np.nan)
    for i, j in np.ndindex(n_bins, n_bins):
        own = (places[0] == i) & (places[1] == j)
        if own.any():
            counts[i, j], cells[i, j] = own.sum(), recall[own].mean()
            error = np.sqrt((recall[own] * (1 - recall[own]) / rows[own]).sum()) / own.sum()
            interval[i, j] = np.clip(cells[i, j] + 1.96 * error * np.array([-1, 1]), 0.0, 1.0)
    effects, errors = _effects(recall, ranks)
    return ImbalanceReport(classes, cells, counts, interval, *effects, *errors)


def _effects(recall, ranks):
    """Slopes in both ranks, and their standard errors."""
    told = [np.ptp(rank) > 0 for rank in ranks]
    effects, errors = [np.nan, np.nan], [np.nan, np.nan]
    for name, ok in zip(("source_prior", "class_counts"), told, strict=True):
        if not ok:
            warn_user(f"{name} is the same for all classes, so recall cannot follow it.")
    design = np.stack(
        [np.ones(len(recall)), *(r for r, ok in zip(ranks, told, strict=True) if ok)], 1
    )
    if np.linalg.matrix_rank(design) < design.shape[1]:
        warn_user(
            "source_prior and class_counts order the classes alike: their effects cannot be told apart."
        )
        return effects, errors
    slopes, *_ = np.linalg.lstsq(design, recall, rcond=None)
    free = len(recall) - design.shape[1]
    spread = np.nan if free < 1 else ((recall - design @ slopes) ** 2).sum() / free
    error = np.sqrt(spread * np.diag(np.linalg.inv(design.T @ design)))
    for place, at in enumerate(np.flatnonzero(told), start=1):
        effects[at], errors[at] = float(slopes[place]), float(error[place])
    return effects, errors


def _per_class(classes, name, value):
    known = classes.tolist()
    if isinstance(value, dict):
        missing = [c for c in known if c not in value]
        if missing:
            raise ValueError(f"{name}={value!r} lacks the classes {missing}.")
        value = [value[c] for c in known]
    found = np.asarray(value, float)
    if found.shape != (len(known),) or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(
            f"{name}={value!r} must hold a non-negative number for each class of y_true, {known}."
        )
    return found


def estimate_source_prior(logits, y):
    r"""Label distribution that a zero-shot classifier was trained on, from its scores of labelled rows.

    .. math:: \min_{s,b}\;\sum_k\frac1{n_k}\sum_{i:y_i=k}-\log\operatorname{softmax}_k(s\,o_i-b),\qquad
        q=\operatorname{softmax}(b)

    Parameters
    ----------
    logits : array-like of shape (n, n_classes)
        Scores :math:`o`, columns in the order of the sorted labels.
    y : array-like of shape (n,)
        Labels; each class has rows.

    Returns
    -------
    ndarray of shape (n_classes,)
        The distribution.

    Notes
    -----
    The factor :math:`s` is found along with it: scores that are too confident would make the rare classes far too
    rare. Classes count alike whatever their rows. The problem is convex.

    References
    ----------
    Generalized logit adjustment, as used by Chen et al. 2025, arXiv:2501.15955. The factor is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.posthoc import estimate_source_prior
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=4000)
    >>> x = rng.normal(size=4000) + 2 * y
    >>> o = np.stack([np.zeros(4000), 2 * x - 2 + np.log(0.1 / 0.9)], 1)
    >>> bool(abs(estimate_source_prior(o, y)[1] - 0.1) < 0.02)
    True
    """
    labels = _labels("y", y)
    classes, code = np.unique(labels, return_inverse=True)
    o = np.asarray(logits, float)
    if o.shape != (len(labels), len(classes)) or not np.isfinite(o).all():
        raise ValueError(
            f"logits must be finite and of shape ({len(labels)}, {len(classes)}), one column per class of y, got "
            f"{o.shape}."
        )
    weight = (1.0 / np.bincount(code))[code] / len(classes)
    rows = np.arange(len(code))

    def objective(v):
        log_p = log_softmax(v[0] * o - v[1:], axis=1)
        d = np.exp(log_p)
        d[rows, code] -= 1.0
        d *= weight[:, None]
        return -weight @ log_p[rows, code], np.r_[(d * o).sum(), -d.sum(0)]

    found = minimize(objective, np.r_[1.0, np.zeros(len(classes))], jac=True, method="L-BFGS-B")
    return softmax(found.x[1:])


def _labels(name, y):
    """Labels of exclusive classes (n,)."""
    labels, multilabel = checked_target(y)
    if multilabel:
        raise ValueError(
            f"{name} of shape {labels.shape} has several labels, exclusive classes are needed."
        )
    return labels
