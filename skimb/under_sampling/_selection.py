"""What samplers share that keep chosen rows."""

import numpy as np
from imblearn.base import BaseSampler
from imblearn.utils import check_target_type
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from skimb._core.clusters import filled, whole
from skimb._core.compat import check_sample_weight
from skimb._core.given import through_pandas, unnumbered
from skimb._core.validation import exclusive_target

ALLOCATIONS = {"equal": 0.0, "sqrt": 0.5, "proportional": 1.0}


class RowSelector(BaseSampler):
    """Base: rows stay as they came, and weights of rows are taken."""

    _sampling_type = "under-sampling"
    sampling_strategy: object = "all"  # imbalanced-learn's frame asks for one

    def fit_resample(self, X, y, *, sample_weight=None):
        """Choose rows.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows; 0 removes one.

        Returns
        -------
        X_resampled : like X, of shape (n_kept, n_features)
            Rows kept.
        y_resampled : like y, of shape (n_kept,)
            Their labels.
        """
        chosen = super().fit_resample
        return through_pandas(self, chosen, X, y, sample_weight=sample_weight)

    def _check_X_y(self, X, y):
        y, binarize_y = check_target_type(y, indicate_one_vs_all=True)
        labels = exclusive_target(self, y)
        if not hasattr(X, "columns"):  # frames keep their types
            accept = {"accept_sparse": ["csr", "csc"], "dtype": None, "ensure_all_finite": False}
            X = check_array(X, **accept)
        X = validate_data(self, X, skip_check_array=True)
        check_consistent_length(X, labels)
        return X.tocsr() if sparse.issparse(X) else X, labels, binarize_y

    def _keep(self, X, y, at, weight):
        """Rows and labels to give back, by number; their weights, or None where all count alike."""
        self.sample_indices_, self.sample_weight_ = at, weight
        return _safe_indexing(X, at), _safe_indexing(y, at)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.sampler_tags.sample_indices = True
        return tags


def rows_of_classes(X, y, sample_weight):
    """Weights, the classes, and the numbers of the rows of positive weight of each."""
    w = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True, copy=True)
    classes = np.unique(y)
    rows = [np.flatnonzero((y == c) & (w > 0)) for c in classes]
    if any(len(r) == 0 for r in rows):
        raise ValueError("A class has no row of positive weight; drop its rows.")
    return w, classes, rows


def class_sizes(n_samples, allocation, classes, count):
    """Rows to keep of each class.

    Parameters
    ----------
    n_samples : int
        Rows of all classes together.
    allocation : {"equal", "proportional", "sqrt"} or dict
        How they are shared out; a dict holds a number for each label.
    classes : ndarray of shape (n_classes,)
        Labels.
    count : ndarray of int, shape (n_classes,)
        Rows there are.

    Returns
    -------
    ndarray of int, shape (n_classes,)
        At least one for each class, never more than there are.
    """
    if isinstance(allocation, dict):
        missing = [c for c in classes.tolist() if c not in allocation]
        if missing:
            raise ValueError(f"allocation={allocation!r} lacks the classes {missing}.")
        size = np.array([allocation[c] for c in classes.tolist()])
        if (size < 1).any():
            raise ValueError(f"allocation={allocation!r} must leave each class at least one row.")
        return np.minimum(size, count)
    refuse_too_few(n_samples, classes)
    budget = min(n_samples, count.sum())
    size = whole(filled(count, budget, ALLOCATIONS[allocation]), budget)
    size = np.maximum(size, 1)
    while size.sum() > budget:
        size[size.argmax()] -= 1
    return size


def refuse_too_few(n_samples, classes):
    """Refuse fewer rows than classes."""
    if n_samples < len(classes):
        raise ValueError(
            f"n_samples={n_samples} is less than one row for each of the {len(classes)} classes."
        )


def features_of(estimator, X):
    """What a fitted estimator makes of rows: hidden units, the output of a transformer, or the rows as numbers.

    Parameters
    ----------
    estimator : estimator
        Fitted. ``last_layer`` goes before ``transform``; a pipeline shows what its last step gets, or that step's.
    X : array-like, data frame or CSR matrix of shape (n, d)
        Rows.

    Returns
    -------
    ndarray or CSR matrix of shape (n, d')
        Numbers.
    """
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            if hasattr(step, "transform"):  # samplers leave rows as they are
                X = step.transform(X)
        return features_of(estimator.steps[-1][1], X)
    if hasattr(estimator, "last_layer"):
        X = estimator.last_layer(X)[0]
    elif hasattr(estimator, "transform"):
        X = estimator.transform(X)
    return as_numbers(estimator, X)


def as_numbers(owner, X):
    """Rows as numbers, of which none is missing; sparse ones stay sparse."""
    odd = unnumbered(X)
    if odd or any(isinstance(v, str) for v in _objects(X)):
        where = f"the columns {odd[:10]}" if odd else "texts"
        raise ValueError(
            f"{owner!r} reads rows as numbers, and {where} hold none; encode them, or give an estimator that does."
        )
    return check_array(X, accept_sparse="csr", dtype=np.float64, estimator=owner, input_name="X")


def standardised(owner, X):
    """Rows as numbers in units of their standard deviations; sparse ones stay sparse."""
    return StandardScaler(with_mean=False).fit_transform(as_numbers(owner, X))


def _objects(X):
    """Entries of an array whose type says nothing of them."""
    return X.flat if isinstance(X, np.ndarray) and X.dtype.kind == "O" else ()
