"""What differs between the versions of scikit-learn that skimb supports, in one place.

The oldest is 1.6.1, of the first series with ``validate_data``, ``get_tags`` and ``__sklearn_tags__``.
"""

from inspect import signature

import numpy as np
import sklearn
from sklearn.utils import class_weight as _class_weight
from sklearn.utils import validation as _validation

from skimb._core.warn import warn_user

__all__ = [
    "VERSION",
    "CallbackSupportMixin",
    "accepts_sample_weight",
    "balance_counts_weights",
    "check_sample_weight",
    "compute_class_weight",
    "multiclass_brier_score",
    "with_callbacks",
]

VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


# --- callbacks ------------------------------------------------------------------------------------

if VERSION >= (1, 9):
    from sklearn.callback import CallbackSupportMixin, with_callbacks
else:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in without callbacks: ``hasattr(estimator, "set_callbacks")`` is false."""

        @property
        def set_callbacks(self):
            """Refuse, and say why."""
            raise AttributeError(
                f"{type(self).__name__}.set_callbacks needs scikit-learn 1.9 or newer, this is "
                f"{sklearn.__version__}; give skorch callbacks with `callbacks=` instead."
            )

    def with_callbacks(fit_method):
        """Leave a method as it is."""
        return fit_method


# --- weights --------------------------------------------------------------------------------------


def check_sample_weight(sample_weight, X, **kw):
    """scikit-learn's ``_check_sample_weight``, which before 1.9 let weights pass that are all 0."""
    weight = _validation._check_sample_weight(sample_weight, X, **kw)
    if VERSION < (1, 9) and not weight.any():
        raise ValueError("All sample weights are 0; give at least one non-zero weight.")
    return weight


def compute_class_weight(class_weight, *, classes, y, sample_weight=None):
    """scikit-learn's class weights, of which "balanced" before 1.7 took no weights of rows."""
    kw = {"classes": classes, "y": y}
    if VERSION >= (1, 7):
        return _class_weight.compute_class_weight(class_weight, sample_weight=sample_weight, **kw)
    found = _class_weight.compute_class_weight(class_weight, **kw)
    if sample_weight is None or not isinstance(class_weight, str):
        return found
    mass = np.array([np.sum(sample_weight[y == label]) for label in classes])
    return mass.sum() / (len(classes) * mass)


# in these scikit-learn's class_weight="balanced" weighs rows by sample_weight, from this version
_BALANCED_BY_WEIGHT = {
    "LogisticRegression": (1, 7),
    "LogisticRegressionCV": (1, 7),
    "LinearSVC": (1, 7),
    "ForestClassifier": (1, 9),
}


def balance_counts_weights(estimator):
    """Whether "balanced" in an estimator evens out the weights of rows, not their number.

    Parameters
    ----------
    estimator : classifier
        One with ``class_weight``. All of skimb go by weight, most others go by number.

    Returns
    -------
    bool
        Whether weights count.
    """
    if type(estimator).__module__.startswith("skimb."):
        return True
    names = [base.__name__ for base in type(estimator).__mro__]
    return any(_BALANCED_BY_WEIGHT.get(name, (np.inf,)) <= VERSION for name in names)


# --- scores ---------------------------------------------------------------------------------------


def accepts_sample_weight(scorer):
    """Whether what a scorer computes takes weights; scikit-learn's scorers say so from 1.7 on."""
    accepts = getattr(scorer, "_accept_sample_weight", None)
    if accepts is not None:
        return accepts()
    if hasattr(scorer, "_scorers"):
        return any(accepts_sample_weight(one) for one in scorer._scorers.values())
    return "sample_weight" in signature(getattr(scorer, "_score_func", scorer)).parameters


def multiclass_brier_score(y_true, y_proba, *, sample_weight, labels):
    """Brier score of three and more classes, which scikit-learn computes from 1.7 on.

    Parameters
    ----------
    y_true : ndarray of shape (n,)
        Labels.
    y_proba : ndarray of shape (n, n_classes)
        Probabilities.
    sample_weight : ndarray of shape (n,)
        Weights of rows.
    labels : ndarray of shape (n_classes,)
        Labels in the order of the columns.

    Returns
    -------
    float
        Between 0 and 2.
    """
    if VERSION >= (1, 7):
        from sklearn.metrics import brier_score_loss

        return brier_score_loss(y_true, y_proba, sample_weight=sample_weight, labels=labels)
    y_proba = _validation.check_array(y_proba, dtype=np.float64, input_name="y_proba")
    _validation.check_consistent_length(y_true, y_proba, sample_weight)
    if y_proba.shape[1] != len(labels):
        raise ValueError(
            f"y_proba has {y_proba.shape[1]} columns for the {len(labels)} classes "
            f"{labels.tolist()}; give all classes in the order of the columns as labels=."
        )
    if (y_proba < 0).any() or (y_proba > 1).any():
        raise ValueError("y_proba must hold probabilities between 0 and 1.")
    if not np.allclose(y_proba.sum(1), 1.0, rtol=1e-7):
        warn_user("The rows of y_proba do not sum to one.")
    truth = y_true[:, None] == np.sort(labels)
    if not truth.any(1).all():
        lost = np.setdiff1d(y_true, labels).tolist()
        raise ValueError(f"y_true holds the classes {lost}, which labels= lacks.")
    return float(np.average(np.square(y_proba - truth).sum(1), weights=sample_weight))
