"""Oversampling of rare labels, of which a row may have several."""

from abc import abstractmethod
from numbers import Integral, Real

import numpy as np
from imblearn.base import SamplerMixin
from imblearn.utils._tags import InputTags, SamplerTags, Tags
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, _fit_context
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import TargetTags, _safe_indexing, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from skimb._core.given import appended, of_type, refuse_unnumbered, through_pandas
from skimb._core.validation import checked_target

_CELLS = 2**22  # numbers that are dense at a time


def imbalance_ratios(Y):
    """Count of the most frequent label over that of each, NaN for labels without rows."""
    count = Y.sum(0).astype(float)
    return np.divide(count.max(), count, out=np.full(len(count), np.nan), where=count > 0)


class MultilabelOverSampler(SamplerMixin, OneToOneFeatureMixin, BaseEstimator):
    """Base: rare labels are those whose imbalance ratio is above the mean."""

    _sampling_type = "over-sampling"

    def fit(self, X, y):
        """Check the rows; use :meth:`fit_resample`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples, n_labels) or (n_samples,)
            0/1 labels, or classes.

        Returns
        -------
        object
            Itself.
        """
        self._validate_params()
        self._checked(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_resample(self, X, y):
        """Add rows of rare labels.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like or sparse matrix of shape (n_samples, n_labels), or array-like of shape (n_samples,)
            0/1 labels, or exclusive classes.

        Returns
        -------
        X_resampled : like X
            The given rows, then the new ones.
        y_resampled : like y
            Their labels.
        """
        if sparse.issparse(y):
            X_new, Y_new = self.fit_resample(X, y.toarray())
            return X_new, type(y)(Y_new)
        return through_pandas(self, self._grown, X, y)

    def _grown(self, X, y):
        rows, labels, Y = self._checked(X, y)
        self.imbalance_ratio_ = ratio = imbalance_ratios(Y)
        known = ratio[~np.isnan(ratio)]
        self.mean_imbalance_ratio_ = float(known.mean()) if len(known) else np.nan
        return self._fit_resample(X, y, rows, labels, Y, check_random_state(self.random_state))

    def _checked(self, X, y):
        """Rows, classes (None for several labels) and 0/1 labels."""
        if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
            y = np.asarray(y).ravel()
        labels, several = checked_target(y)
        X = self._checked_rows(X)
        check_consistent_length(X, labels)
        if several:
            return X, None, labels.astype(int)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(
                f"The target 'y' needs to have more than 1 class. Got {len(classes)} class instead"
            )
        return X, labels, (labels[:, None] == classes).astype(int)

    @abstractmethod
    def _checked_rows(self, X):
        """Validated rows."""

    @abstractmethod
    def _fit_resample(self, X, y, rows, labels, Y, rng):
        """Given and new rows with their labels; `rows`, `labels` and `Y` are what `_checked` made of X and y."""

    def __sklearn_tags__(self):
        tags = Tags(
            estimator_type="sampler",
            target_tags=TargetTags(required=True, multi_output=True),
            transformer_tags=None,
            regressor_tags=None,
            classifier_tags=None,
            sampler_tags=SamplerTags(),
        )
        tags.input_tags = InputTags()
        tags.input_tags.sparse = True
        return tags


class MLROS(MultilabelOverSampler):
    r"""ML-ROS: copies of rows that have rare labels, until these are no rarer than the average label.

    Rare are labels whose imbalance ratio :math:`\max_{l'}n_{l'}/n_l` is above the mean ratio; after each copy
    the ratio is counted anew. Rows may hold anything, missing values and texts too.

    Parameters
    ----------
    growth : float in (0, inf), default=0.25
        Most copies, as a share of the rows.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_new,)
        Row that each resampled one comes from.
    imbalance_ratio_ : ndarray of shape (n_labels,)
        Of the given labels.
    mean_imbalance_ratio_ : float
        Their mean.
    n_features_in_ : int
        Features of X.

    Notes
    -----
    A row with a rare label mostly has common ones too, so that copies raise both: the ratio falls less than the
    number of copies suggests. Probabilities of a label then refer to its new frequency.

    References
    ----------
    Charte et al. 2015, doi:10.1016/j.neucom.2014.08.091.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.over_sampling import MLROS
    >>> Y = np.array([[1, 0, 0]] * 12 + [[1, 1, 0]] * 6 + [[0, 0, 1]] * 2)
    >>> X_new, Y_new = MLROS(random_state=0).fit_resample(np.arange(20.0)[:, None], Y)
    >>> Y.sum(0).tolist(), Y_new.sum(0).tolist()
    ([18, 6, 2], [18, 6, 5])
    """

    _parameter_constraints = {
        "growth": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(self, growth=0.25, *, random_state=None):
        self.growth = growth
        self.random_state = random_state

    def _checked_rows(self, X):
        rows = X  # copies need no numbers, and frames keep their types
        if not hasattr(X, "iloc"):
            accept = {"accept_sparse": ["csr", "csc"], "dtype": None, "ensure_all_finite": False}
            rows = check_array(X, **accept)
        return validate_data(self, rows, skip_check_array=True)

    def _fit_resample(self, X, y, rows, labels, Y, rng):
        budget = int(self.growth * len(Y))
        count = Y.sum(0)
        bags = {
            label: np.flatnonzero(Y[:, label])
            for label in np.flatnonzero(self.imbalance_ratio_ > self.mean_imbalance_ratio_)
        }
        copies = []
        while bags and len(copies) < budget:
            for label in list(bags):
                if count.max() / count[label] <= self.mean_imbalance_ratio_:
                    del bags[label]
                    continue
                row = rng.choice(bags[label])
                copies.append(row)
                count = count + Y[row]
                if len(copies) == budget:
                    break
        copies = np.array(copies, int)
        self.sample_indices_ = np.concatenate([np.arange(len(Y)), copies])
        return _picked(rows if sparse.issparse(rows) else X, self.sample_indices_), _picked(
            y, self.sample_indices_
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.sampler_tags.sample_indices = True
        return tags


class MLSMOTE(MultilabelOverSampler):
    r"""MLSMOTE: for every row of a rare label a new one between it and a neighbour with that label.

    Rare are labels whose imbalance ratio :math:`\max_{l'}n_{l'}/n_l` is above the mean ratio. Each feature gets
    its own place between the two rows, rounded where it holds whole numbers; the labels come from the row and
    all its neighbours.

    Parameters
    ----------
    k_neighbors : int in [1, inf), default=5
        Neighbours, among the rows of the same rare label; fewer where there are not so many.
    labels : {"ranking", "union", "intersection"}, default="ranking"
        Labels of a new row: those that at least half of the row and its neighbours have, any has, or all have.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    imbalance_ratio_ : ndarray of shape (n_labels,)
        Of the given labels.
    mean_imbalance_ratio_ : float
        Their mean.
    n_features_in_ : int
        Features of X.

    Notes
    -----
    For numeric features: encode others first. A rare label of one row only gives a copy of it. A new row of
    several rare labels is made for each of them. Probabilities refer to the new frequencies, and SMOTE changes
    what rows look like.

    References
    ----------
    Charte et al. 2015, doi:10.1016/j.knosys.2015.07.019.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from skimb.over_sampling import MLSMOTE
    >>> X, Y = make_multilabel_classification(200, n_classes=6, random_state=1)
    >>> sampler = MLSMOTE(random_state=0)
    >>> X_new, Y_new = sampler.fit_resample(X, Y)
    >>> sampler.imbalance_ratio_.round(1).tolist(), len(Y_new)
    ([1.2, 1.0, 19.8, 1.4, 2.2, 3.3], 206)
    """

    _parameter_constraints = {
        "k_neighbors": [Interval(Integral, 1, None, closed="left")],
        "labels": [StrOptions({"ranking", "union", "intersection"})],
        "random_state": ["random_state"],
    }

    def __init__(self, k_neighbors=5, *, labels="ranking", random_state=None):
        self.k_neighbors = k_neighbors
        self.labels = labels
        self.random_state = random_state

    def _checked_rows(self, X):
        refuse_unnumbered(self, X)
        return validate_data(self, X, accept_sparse=["csr", "csc"])

    def _fit_resample(self, X, y, rows, labels, Y, rng):
        made, made_labels = self._made(rows, Y, rng)
        if labels is not None:  # classes: a new row is of one class
            made_labels = (
                np.unique(labels)[made_labels.argmax(1)] if len(made_labels) else labels[:0]
            )
        return appended(
            rows if sparse.issparse(rows) and sparse.issparse(X) else X, made
        ), appended(y, made_labels)

    def _made(self, X, Y, rng):
        """New rows, for every rare label one from each of its rows, and their labels."""
        rows, labels = [X[:0]], [Y[:0]]
        for label in np.flatnonzero(self.imbalance_ratio_ > self.mean_imbalance_ratio_):
            bag = np.flatnonzero(Y[:, label])
            own = _safe_indexing(X, bag)
            k = min(self.k_neighbors, len(bag) - 1)
            if k == 0:
                rows.append(own)
                labels.append(Y[bag])
                continue
            if sparse.issparse(own) and own.shape[0] * own.shape[1] <= _CELLS:
                own = own.toarray()
            near = NearestNeighbors(n_neighbors=k).fit(own).kneighbors(return_distance=False)
            partner = near[np.arange(len(bag)), rng.randint(k, size=len(bag))]
            # dense for a while also where rows are sparse, so few at a time
            for at in gen_batches(len(bag), max(_CELLS // X.shape[1], 1)):
                rows.append(_between(own[at], own[partner[at]], rng))
            votes = Y[bag] + Y[bag[near]].sum(1)
            needed = {"ranking": 0.5 * (k + 1), "union": 1, "intersection": k + 1}[self.labels]
            labels.append((votes >= needed).astype(int))
        if sparse.issparse(X):
            made = sparse.vstack([sparse.csr_matrix(r) for r in rows]).astype(X.dtype)
        else:
            made = np.vstack(rows)
        return made, np.vstack(labels)


def _between(rows, partners, rng):
    """Rows each of whose features lies somewhere between two rows."""
    thin = sparse.issparse(rows)
    a, b = (rows.toarray(), partners.toarray()) if thin else (rows, partners)
    made = of_type(a + rng.uniform(size=a.shape) * (b - a), a.dtype)
    return sparse.csr_matrix(made) if thin else made


def _picked(given, at):
    """Rows of anything; frames are numbered anew."""
    rows = _safe_indexing(given, at)
    return rows.reset_index(drop=True) if hasattr(rows, "iloc") else rows
