"""Checks of input that several parts share."""

from numbers import Number

import numpy as np
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled, process_routing
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from skimb._core.compat import check_sample_weight
from skimb._core.warn import warn_user


def plain_labels(y, name="y"):
    """Labels as an array or column of one type: numbers, truth values or text.

    Parameters
    ----------
    y : array-like or sparse matrix of shape (n,) or (n, n_labels)
        Labels; lists, object arrays, nullable and categorical columns too.
    name : str, default="y"
        What messages call them.

    Returns
    -------
    array-like
        `y` itself where its type says what it holds.

    Raises
    ------
    ValueError
        If labels are missing or of several kinds, which no order sorts; numpy would turn a list of texts and
        numbers into texts.
    """
    if y is None:
        return None
    if sparse.issparse(y):
        return y.toarray()
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return y
    try:
        values = np.asarray(y, dtype=object)
    except ValueError:  # ragged: scikit-learn says so
        return y
    kinds, missing = {}, 0
    for value in values.ravel().tolist():
        kind = _kind(value)
        if kind == "missing":
            missing += 1
        else:
            kinds.setdefault(kind, value)
    if missing:
        raise ValueError(
            f"{name} contains NaN or another missing label in {missing} places; leave those rows out."
        )
    if len(kinds) > 1:
        shown = " and ".join(f"{kind} as {value!r}" for kind, value in sorted(kinds.items()))
        raise ValueError(
            f"{name} mixes labels of several kinds, {shown}; give all labels one type, for instance "
            "numpy.asarray(y, dtype=str)."
        )
    if kinds.keys() & {"objects", "text"}:
        return values if dtype is not None or "objects" in kinds else np.asarray(y)
    return np.array(values.tolist())


def _kind(label):
    """Kind of label."""
    if isinstance(label, str):
        return "text"
    if label is None or type(label).__name__ in {"NAType", "NaTType"}:
        return "missing"
    if isinstance(label, (bool, np.bool_)):
        return "truth values"
    if isinstance(label, Number):
        return "missing" if label != label else "numbers"  # NaN does not equal itself
    return "objects"


def checked_target(y):
    """A classification target as an array, and whether it has several labels.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_labels)
        Labels.

    Returns
    -------
    ndarray
        The labels.
    bool
        Whether there are several per row.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None.")
    labels = check_array(plain_labels(y), ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels, True
    return one_column(labels), False


def refuse_multi_output(owner, y):
    """Refuse a target (n, 2 and more) that is no 0/1 indicator matrix."""
    if type_of_target(y) != "multilabel-indicator":
        raise ValueError(
            f"{owner}: a y of shape {y.shape} must be a 0/1 indicator matrix (multi-label), got "
            f"{type_of_target(y)!r}; multi-output targets need one classifier per output."
        )


def one_column(y):
    """A target of shape (n,) from one of shape (n,) or (n, 1), with scikit-learn's warning for the latter."""
    column = column_or_1d(y)
    if np.asarray(y).ndim == 1:
        return column
    warn_user(
        "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
        "(n_samples, ), for example using ravel().",
        DataConversionWarning,
    )
    return column


def exclusive_target(estimator, y):
    """A target of one class per row; several labels are refused."""
    labels, multilabel = checked_target(y)
    if multilabel:
        raise ValueError(
            f"{type(estimator).__name__} is for exclusive classes; y of shape {labels.shape} has several "
            "labels."
        )
    return labels


def several_classes(estimator, labels):
    """The sorted classes of a target and the class numbers of its rows; one class is refused."""
    classes, code = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least two classes, y holds only one class: "
            f"{classes.tolist()}."
        )
    return classes, code


def common_positive_class(loss, classes, counts):
    """What to warn of where a loss with a positive class gets the common one as that, or None.

    Parameters
    ----------
    loss : Loss
        The loss; ``one_sided`` tells whether its two classes play different parts.
    classes : list
        Class labels, the second being the positive one.
    counts : ndarray of shape (n_classes,)
        Rows of each class.

    Returns
    -------
    str or None
        The message.
    """
    if len(classes) != 2 or not loss.one_sided or counts[1] <= 4 * counts[0]:
        return None
    return (
        f"{loss!r} takes the second of classes_={classes} as the positive class, which is the common one "
        f"here ({int(counts[1])} rows against {int(counts[0])}). Code the rare class so that it sorts last, "
        "for instance as 1."
    )


def row_costs(cost, code, classes):
    """Costs of deciding for each class in each row.

    Parameters
    ----------
    cost : array-like of shape (n, n_classes) or, for two classes, (n, 4)
        Costs; four columns are those of a false positive, a false negative, a true positive and a true
        negative.
    code : ndarray of int, shape (n,)
        Class codes.
    classes : ndarray of shape (n_classes,)
        Class labels.

    Returns
    -------
    ndarray of shape (n, n_classes), or None
        Costs, or None if the shape does not fit.
    """
    cost = check_array(cost, dtype=np.float64, input_name="cost")
    n, width = len(code), len(classes)
    if code.ndim == 1 and width == 2 and cost.shape == (n, 4):
        return np.where(code[:, None] == 0, cost[:, [3, 0]], cost[:, [1, 2]])
    return cost if code.ndim == 1 and cost.shape == (n, width) else None


def take_names(estimator, fitted):
    """Give a meta-estimator the number and the names of the features its inner estimator saw."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(fitted, name):
            setattr(estimator, name, getattr(fitted, name))


def feature_mask(owner, given, n_features, names=None):
    """Boolean mask of features from a mask, numbers or names.

    Parameters
    ----------
    owner : str
        Whose parameter `fixed_features` this is, for messages.
    given : array-like or None
        A mask of all features, their numbers, or their names; None is no feature.
    n_features : int
        Number of features.
    names : array-like of str, default=None
        Their names, where there are any.

    Returns
    -------
    ndarray of bool, shape (n_features,)
        The mask.
    """
    mask = np.zeros(n_features, bool)
    if given is None:
        return mask
    array = np.asarray(given)
    if array.dtype == bool and array.shape == (n_features,):
        return array.copy()
    if array.size == 0:
        return mask
    known = None if names is None else list(names)
    if array.dtype.kind in "OU" and array.ndim == 1:
        if known is None:
            raise ValueError(
                f"{owner}: fixed_features={array.tolist()} are names, but the rows come without names; give "
                "numbers of features or a mask."
            )
        lost = [name for name in array.tolist() if name not in known]
        if lost:
            raise ValueError(f"{owner}: fixed_features={lost} are not among the features {known}.")
        array = np.array([known.index(name) for name in array.tolist()])
    right = array.dtype.kind in "iu" and array.ndim == 1
    if not right or array.min() < -n_features or array.max() >= n_features:
        raise ValueError(
            f"{owner}: fixed_features={given!r} must be names, numbers or a mask of the {n_features} features."
        )
    mask[array] = True
    return mask


def indexable_rows(X):
    """Rows that can be picked from and handed on as they came: frames, arrays of any rank, lists of texts.

    Sparse matrices become CSR. Whether the rows make sense is for the estimator to say that gets them.
    """
    if X is None:
        raise ValueError("X is None; give the rows.")
    (rows,) = indexable(X)
    return rows


def drop_weightless(X, y, sample_weight, *metadata):
    """Rows of positive weight; nothing is copied where all have some.

    Parameters
    ----------
    X : array, CSR matrix, data frame or list of n rows
        Rows.
    y : ndarray of shape (n,)
        Targets.
    sample_weight : array-like of shape (n,) or None
        Non-negative weights; None stays None.
    *metadata : dict
        Further values, of which those with one entry per row follow.

    Returns
    -------
    tuple
        Rows, targets, weights, and each of `metadata`.
    """
    if sample_weight is None:
        return X, y, None, *metadata
    weight = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        raise ValueError("All sample weights are 0, no rows are left.")
    if weight.all():
        return X, y, weight, *metadata
    n, at = len(weight), np.flatnonzero(weight)
    kept = [{name: of_rows(v, n, at) for name, v in given.items()} for given in metadata]
    return _safe_indexing(X, at), y[at], weight[at], *kept


def rows_with_weight(X, y, sample_weight):
    """Rows of positive weight, their targets and weights; ones where none are given."""
    X, y, weight = drop_weightless(X, y, sample_weight)
    return X, y, np.ones(len(y)) if weight is None else weight


def of_rows(value, n, at):
    """The entries of some rows, if a value has one for each of n rows; else the value."""
    if not hasattr(value, "__len__") or isinstance(value, str) or len(value) != n:
        return value
    return np.asarray(value)[at]


def routed_params(estimator, params, *parts):
    """What metadata routing sends to `fit` (or `fit_resample`) of the parts of a meta-estimator.

    Parameters
    ----------
    estimator : estimator
        The meta-estimator, in whose `fit` this is called.
    params : dict
        Metadata beside X, y and sample_weight.
    *parts : str
        Pairs "name.method" of its router.

    Returns
    -------
    list of dict
        Metadata of each part; empty without routing, where any metadata is an error.
    """
    if not _routing_enabled():
        _raise_for_params(params, estimator, "fit")
        return [{} for _ in parts]
    routed = process_routing(estimator, "fit", **params)
    pairs = [part.split(".") for part in parts]
    # without metadata scikit-learn gives an object that answers every name and ends no iteration
    return [dict((routed.get(name) or {}).get(method) or {}) for name, method in pairs]
