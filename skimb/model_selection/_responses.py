"""Scores that decisions are made from: probabilities or decision functions, a column per class."""

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_method_params

from skimb._core.inner import as_given
from skimb._core.validation import checked_target

AUTO = ("predict_proba", "decision_function")


def target_of(estimator, y):
    """A target for decisions.

    Parameters
    ----------
    estimator : estimator
        Whose `fit` this is, for errors.
    y : array-like or sparse matrix of shape (n,) or (n, n_labels)
        Labels; a sparse indicator matrix becomes dense.

    Returns
    -------
    array-like
        The target as it was given.
    ndarray
        Its labels.
    bool
        Whether there are several per row.
    """
    y = y.toarray() if sparse.issparse(y) else y
    labels, multilabel = checked_target(y)
    if multilabel and type_of_target(labels) != "multilabel-indicator":
        raise ValueError(
            f"{type(estimator).__name__} takes one class per row or a matrix of labels of 0 and 1, got y of "
            f"type {type_of_target(labels)!r}."
        )
    return as_given(y, labels), labels, multilabel


def response_of(estimator, wanted):
    """The method that gives scores: the one that is wanted, or the first of both that exists."""
    names = AUTO if wanted == "auto" else (wanted,)
    for name in names:
        if hasattr(estimator, name):
            return name
    raise ValueError(f"{estimator!r} has no {' and no '.join(names)}.")


def class_scores(estimator, X, response, classes, multilabel):
    """Scores (n, C) of the classes in their given order, or (n, L) of labels.

    Parameters
    ----------
    estimator : classifier
        Fitted, perhaps without some of the classes.
    X : array-like
        Rows.
    response : {"predict_proba", "decision_function"}
        Where scores come from.
    classes : ndarray of shape (C,)
        Class labels in the order of the columns.
    multilabel : bool
        Whether there are several labels per row.

    Returns
    -------
    ndarray
        Scores; two classes have decision values of opposite signs.
    """
    found = getattr(estimator, response)(X)
    if multilabel:
        return _label_scores(estimator, found)
    own = np.asarray(estimator.classes_)
    if response == "decision_function" and np.ndim(found) == 1:
        found = np.stack([-found, found], 1)
    if np.shape(found)[1] != len(own):
        raise ValueError(
            f"{response} of {estimator!r} has {np.shape(found)[1]} columns for {len(own)} classes; decisions need "
            "one per class (for SVC: decision_function_shape='ovr')."
        )
    place = {c: k for k, c in enumerate(classes.tolist())}
    foreign = [c for c in own.tolist() if c not in place]
    if foreign:
        raise ValueError(
            f"{estimator!r} knows the classes {foreign}, which y does not hold: {np.sort(classes).tolist()}."
        )
    columns = [place[c] for c in own.tolist()]
    scores = np.zeros((len(found), len(classes)))
    scores[:, columns] = found
    return scores


def _label_scores(estimator, found):
    """One column per label; forests answer one array per label, of one column where it never changed."""
    if not isinstance(found, list):
        return np.asarray(found)
    columns = []
    for own, p in zip(estimator.classes_, found, strict=True):
        at = np.flatnonzero(np.asarray(own) == 1)
        columns.append(p[:, at[0]] if len(at) else np.zeros(len(p)))
    return np.stack(columns, 1)


def fold_scores(estimator, X, y, train, test, number, *, fit_params, response, classes, multilabel):
    """Scores of a fold's test rows by a classifier that is fitted to its training rows, as they are.

    Parameters
    ----------
    estimator : classifier
        Unfitted.
    X, y : array-like
        All rows.
    train, test : ndarray of int
        Row numbers.
    number : int
        The fold's, for errors.
    fit_params : dict
        Parameters of `fit` for all rows.
    response, classes, multilabel : object
        As in `class_scores`.

    Returns
    -------
    ndarray
        Scores (n_test, C) or (n_test, L).
    """
    y_train = _safe_indexing(y, train)
    if not multilabel:
        lost = np.setdiff1d(classes, np.unique(np.asarray(y_train))).tolist()
        if lost and (len(classes) - len(lost) < 2 or response == "decision_function"):
            raise ValueError(
                f"The training rows of fold {number} hold no row of the classes {lost}; take fewer folds or a "
                "splitter that leaves rows of every class in each training part (StratifiedKFold)."
            )
    params = _check_method_params(X, params=fit_params, indices=train)
    estimator.fit(_safe_indexing(X, train), y_train, **params)
    return class_scores(estimator, _safe_indexing(X, test), response, classes, multilabel)
