"""The scores as scorers, under names that `scoring=` takes."""

import copy
import sys

from sklearn import metrics
from sklearn.metrics import make_scorer
from sklearn.metrics._scorer import _SCORERS
from sklearn.utils._param_validation import StrOptions

from skimb.metrics._benefit import net_benefit
from skimb.metrics._calibration import integrated_calibration_index
from skimb.metrics._decisions import (
    classification_table,
    geometric_mean_score,
    separated_kappa_score,
)
from skimb.metrics._gain import kolmogorov_smirnov_score, lift_at_budget
from skimb.metrics._probabilities import (
    expected_calibration_error,
    weighted_brier_score,
    weighted_log_loss,
)
from skimb.metrics._ranking import partial_roc_auc_score, precision_at_budget, recall_at_budget
from skimb.metrics._regression import balanced_mean_absolute_error, geometric_mean_absolute_error

_ORDER = ("decision_function", "predict_proba")


def _ranking(score, **kwargs):
    return make_scorer(score, response_method=_ORDER, **kwargs)


def _probabilities(score, **kwargs):
    return make_scorer(score, response_method="predict_proba", greater_is_better=False, **kwargs)


def _benefit(**kwargs):
    return make_scorer(net_benefit, response_method="predict_proba", **kwargs)


def per_class_scorer(estimator, X, y, sample_weight=None):
    """Precision, recall and F1 of every class, as a scorer of several numbers.

    For ``cross_validate(..., scoring=per_class_scorer)`` and searches that name one of them in ``refit``.

    Parameters
    ----------
    estimator : classifier
        A fitted classifier.
    X : array-like of shape (n, n_features)
        Rows.
    y : array-like of shape (n,) or (n, n_labels)
        Labels.
    sample_weight : array-like of shape (n,), default=None
        Row weights.

    Returns
    -------
    dict of str to float
        ``recall_<class>``, ``precision_<class>`` and ``f1_<class>``; NaN where undefined.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.model_selection import cross_validate
    >>> from skimb.metrics import per_class_scorer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> found = cross_validate(RidgeClassifier(), X, y, scoring=per_class_scorer)
    >>> found["test_recall_0"].round(2).tolist()
    [0.86, 0.86, 0.9, 0.88, 0.95]
    """
    labels = getattr(estimator, "classes_", None)
    labels = None if isinstance(labels, list) else labels  # several outputs
    table = classification_table(
        y, estimator.predict(X), labels=labels, sample_weight=sample_weight
    )
    return {
        f"{name}_{label}": float(value)
        for name in ("recall", "precision", "f1")
        for label, value in zip(table.label.tolist(), table[name].tolist(), strict=True)
    }


SCORERS = {
    "geometric_mean": make_scorer(geometric_mean_score),
    "separated_kappa": make_scorer(separated_kappa_score),
    "partial_roc_auc": _ranking(partial_roc_auc_score, max_fpr=0.3),
    "precision_at_1_percent": _ranking(precision_at_budget, budget=0.01),
    "precision_at_5_percent": _ranking(precision_at_budget, budget=0.05),
    "recall_at_1_percent": _ranking(recall_at_budget, budget=0.01),
    "recall_at_5_percent": _ranking(recall_at_budget, budget=0.05),
    "lift_at_1_percent": _ranking(lift_at_budget, budget=0.01),
    "lift_at_5_percent": _ranking(lift_at_budget, budget=0.05),
    "kolmogorov_smirnov": _ranking(kolmogorov_smirnov_score),
    "net_benefit_at_5_percent": _benefit(threshold=0.05),
    "net_benefit_at_20_percent": _benefit(threshold=0.2),
    "neg_balanced_brier_score": _probabilities(weighted_brier_score),
    "neg_balanced_log_loss": _probabilities(weighted_log_loss),
    "neg_expected_calibration_error": _probabilities(expected_calibration_error),
    "neg_integrated_calibration_index": _probabilities(integrated_calibration_index),
    "neg_balanced_mean_absolute_error": make_scorer(
        balanced_mean_absolute_error, greater_is_better=False
    ),
    "neg_geometric_mean_absolute_error": make_scorer(
        geometric_mean_absolute_error, greater_is_better=False
    ),
}


def get_scorer_names():
    """Names of the scorers that :func:`get_scorer` and :func:`register_scorers` add to scikit-learn's.

    Returns
    -------
    list of str
        Names.

    Examples
    --------
    >>> from skimb.metrics import get_scorer_names
    >>> "geometric_mean" in get_scorer_names()
    True
    """
    return sorted(SCORERS)


def get_scorer(scoring):
    """The scorer of a name of ours or of scikit-learn's, for ``scoring=`` anywhere.

    Parameters
    ----------
    scoring : str
        One of :func:`get_scorer_names` or of ``sklearn.metrics.get_scorer_names``.

    Returns
    -------
    callable
        ``scorer(estimator, X, y)``.

    Raises
    ------
    ValueError
        If nobody knows the name.

    Examples
    --------
    >>> from skimb.metrics import get_scorer
    >>> get_scorer("geometric_mean")
    make_scorer(geometric_mean_score, response_method='predict')
    """
    if scoring in SCORERS:
        return copy.deepcopy(SCORERS[scoring])
    if scoring in _SCORERS:
        return metrics.get_scorer(scoring)
    raise ValueError(
        f"scoring={scoring!r} names no scorer; ours are {get_scorer_names()}, the others those of "
        "sklearn.metrics.get_scorer_names()."
    )


def register_scorers():
    """Make our scorer names known to scikit-learn: ``scoring="geometric_mean"`` then works as a string.

    Returns
    -------
    list of str
        The names.

    Notes
    -----
    scikit-learn has no public way to do this: the names go into its table of scorers, and into the lists of
    allowed strings of its searches and validation functions that are loaded already. Its own names keep
    their meaning. Calling it again does nothing. It holds for this process: a search inside a search
    whose inner one runs in another process needs :func:`get_scorer` instead.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.model_selection import cross_val_score
    >>> from skimb.metrics import register_scorers
    >>> names = register_scorers()
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> cross_val_score(RidgeClassifier(), X, y, scoring="geometric_mean").round(2).tolist()
    [0.91, 0.93, 0.95, 0.94, 0.98]
    """
    before = set(metrics.get_scorer_names()) - set(SCORERS)
    for name, scorer in SCORERS.items():
        _SCORERS.setdefault(name, scorer)
    loaded = [m for name, m in sys.modules.items() if name.startswith("sklearn.") and m is not None]
    for thing in {id(t): t for m in loaded for t in vars(m).values() if callable(t)}.values():
        for kind in ("_parameter_constraints", "_skl_parameter_constraints"):
            constraints = getattr(thing, kind, None)
            allowed = constraints.get("scoring", ()) if isinstance(constraints, dict) else ()
            for option in allowed if isinstance(allowed, list) else ():
                if isinstance(option, StrOptions) and before <= option.options:
                    option.options |= set(SCORERS)
    return get_scorer_names()
