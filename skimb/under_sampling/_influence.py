"""Rows that help the class which the rows chosen so far help least."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import _safe_indexing, check_random_state, gen_batches, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot

from skimb._core.given import lengths_of
from skimb._core.inner import fit_inner
from skimb._core.validation import exclusive_target
from skimb.under_sampling._selection import (
    RowSelector,
    features_of,
    rows_of_classes,
)

_CELLS = 2**22  # similarities of rows and judging rows that are held at a time


class InfluenceBalancedSampler(RowSelector):
    r"""Keeps rows whose gradients point where judging rows want to go, each time for the class helped least so far.

    A fitted model gives each row the gradient of its cross-entropy in the weights of the output layer,
    :math:`g_i=(p_i-e_{y_i})\otimes\phi_i`. The influence of a row on class k is the mean similarity of its gradient
    and those of the judging rows of k,

    .. math:: A_{ik}=\operatorname{mean}_{v:y_v=k}\cos(g_i,g_v)=\operatorname{mean}_v
        \frac{\langle p_i-e_{y_i},p_v-e_{y_v}\rangle\langle\phi_i,\phi_v\rangle}{\|g_i\|\|g_v\|},

    brought to mean 0 and deviation 1 over rows. Rows are taken one by one: the one of largest influence on the
    class whose influences taken so far sum to least.

    Parameters
    ----------
    estimator : classifier, default=None
        Gives probabilities p, and features :math:`\phi`: its last hidden layer (``last_layer``), in a pipeline what
        the last step gets, else the columns of X. None is ``LogisticRegression(max_iter=1000)``.
    fraction : float in (0, 1], default=0.15
        Share of all rows to keep.
    normalize : bool, default=True
        Whether influences are brought to mean 0 and deviation 1 for each class.
    similarity : {"cosine", "dot"}, default="cosine"
        Similarity of gradients; "dot" is the first-order change of the loss.
    validation : float in (0, 1) or tuple of arrays (X, y), default=0.2
        Judging rows: a share of each class, at least one row, which is neither fitted to nor kept, or rows of their
        own. The only row of a class plays both parts.
    groups : {"class"}, int or str, default="class"
        What is to be helped evenly: classes, or the values of a column of X by number or name.
    random_state : int, RandomState or None, default=None
        Draws judging rows.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Rows kept, in the order in which they were taken.
    sample_weight_ : ndarray of shape (n_kept,) or None
        Weights given to ``fit_resample``.
    influence_ : ndarray of shape (n_samples, n_groups)
        Influence of each row on each group, NaN for judging rows and rows without weight.
    groups_ : ndarray of shape (n_groups,)
        Classes, or values of the column.
    estimator_ : classifier
        The fitted model.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If fewer rows are wanted than there are classes, or judging rows have a class that the model does not know.

    Notes
    -----
    A class of which no row was taken gets its most influential one in the place of the last row; that is ours.
    Class frequencies change, which :class:`~skimb.pipeline.ResampledClassifier` undoes in ``predict_proba``; what
    else the choice does to the rows of a class nothing undoes. The source normalises and balances tasks of
    language models, here they are classes. ``influence_`` alone shows which rows a class rests on.

    References
    ----------
    Dai et al. 2025, arXiv:2501.12147.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.under_sampling import InfluenceBalancedSampler
    >>> X, y = make_classification(400, weights=[0.9], random_state=0)
    >>> sampler = InfluenceBalancedSampler(random_state=0)
    >>> X_few, y_few = sampler.fit_resample(X, y)
    >>> X_few.shape, sampler.influence_.shape, sorted(set(y_few.tolist()))
    ((60, 20), (400, 2), [0, 1])
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "fraction": [Interval(Real, 0, 1, closed="right")],
        "normalize": ["boolean"],
        "similarity": [StrOptions({"cosine", "dot"})],
        "validation": [Interval(Real, 0, 1, closed="neither"), tuple],
        "groups": [Interval(Integral, 0, None, closed="left"), str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        fraction=0.15,
        *,
        normalize=True,
        similarity="cosine",
        validation=0.2,
        groups="class",
        random_state=None,
    ):
        self.estimator = estimator
        self.fraction = fraction
        self.normalize = normalize
        self.similarity = similarity
        self.validation = validation
        self.groups = groups
        self.random_state = random_state

    def _fit_resample(self, X, y, sample_weight=None):
        w, classes, rows = rows_of_classes(X, y, sample_weight)
        wanted = round(self.fraction * sum(map(len, rows)))
        if wanted < len(classes):
            raise ValueError(
                f"fraction={self.fraction!r} keeps {wanted} rows, which is less than one for each of the "
                f"{len(classes)} classes."
            )
        pool, X_judge, y_judge = self._judges(X, y, rows)
        group = self._groups_of(X_judge, y_judge)
        self.estimator_ = fit_inner(
            clone(self._model()), _safe_indexing(X, pool), y[pool],
            None if sample_weight is None else w[pool],
        )  # fmt: skip
        A = self._influences(_safe_indexing(X, pool), y[pool], X_judge, y_judge, group)
        self.influence_ = np.full((len(y), A.shape[1]), np.nan)
        self.influence_[pool] = A
        if self.normalize:
            A = (A - A.mean(0)) / np.maximum(A.std(0), 1e-12)
        taken = with_every_class(balanced_picks(A, wanted), A, y[pool])
        at = pool[taken]
        return self._keep(X, y, at, None if sample_weight is None else w[at])

    def _model(self):
        return LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator

    def _judges(self, X, y, rows):
        """Numbers of the rows to choose from, and the judging rows with their labels."""
        if isinstance(self.validation, tuple):
            if len(self.validation) != 2:
                raise ValueError(
                    f"validation must be a share or a pair of rows and labels, got {len(self.validation)} parts."
                )
            X_judge, y_judge = self.validation[0], exclusive_target(self, self.validation[1])
            strange = np.setdiff1d(y_judge, y).tolist()
            if strange:
                raise ValueError(f"validation holds the classes {strange}, which y lacks.")
            return np.sort(np.concatenate(rows)), X_judge, y_judge
        rng = check_random_state(self.random_state)
        pool, judges = [], []
        for own in rows:
            own = rng.permutation(own)
            n = max(round(self.validation * len(own)), 1)
            judges.append(own[:n])
            pool.append(own[n:] if len(own) > n else own)
        judges = np.sort(np.concatenate(judges))
        return np.sort(np.concatenate(pool)), _safe_indexing(X, judges), y[judges]

    def _groups_of(self, X, y):
        """Number of the group of each judging row."""
        if isinstance(self.groups, str) and self.groups == "class":
            values = y
        else:
            values = np.asarray(_column(X, self.groups))
        self.groups_, group = np.unique(values, return_inverse=True)
        return group

    def _influences(self, X, y, X_judge, y_judge, group):
        """Mean similarity of the gradient of each row and those of each group."""
        residual, phi = self._gradients(X, y)
        judge, phi_judge = self._gradients(X_judge, y_judge)
        share = np.eye(len(self.groups_))[group]
        share /= share.sum(0)
        found = np.empty((len(y), share.shape[1]))
        for at in gen_batches(len(y), max(_CELLS // len(y_judge), 1)):
            inner = safe_sparse_dot(phi[at], phi_judge.T, dense_output=True)
            found[at] = ((residual[at] @ judge.T) * inner) @ share
        return found

    def _gradients(self, X, y):
        """Both factors of each gradient: probabilities less the label, and features."""
        model = self.estimator_
        residual = np.array(model.predict_proba(X), float)
        residual[np.arange(len(y)), np.searchsorted(model.classes_, y)] -= 1.0
        phi = features_of(model, X)
        if self.similarity == "cosine":
            residual /= np.maximum(np.linalg.norm(residual, axis=1), 1e-12)[:, None]
            residual /= np.maximum(lengths_of(phi), 1e-12)
        return residual, phi

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = get_tags(self._model()).input_tags.allow_nan
        return tags


def _column(X, name):
    """A column by number or name."""
    if isinstance(name, str):
        if not hasattr(X, "columns") or name not in X.columns:
            raise ValueError(f"groups={name!r} is no column of X.")
        return X[name]
    if name >= X.shape[1]:
        raise ValueError(f"groups={name!r} is no column of X, which has {X.shape[1]}.")
    if hasattr(X, "iloc"):
        return X.iloc[:, name]
    column = X[:, [name]]
    return (column.toarray() if hasattr(column, "toarray") else column).ravel()


def balanced_picks(A, wanted):
    """Rows one by one: each time that of largest value in the column whose values taken so far sum to least.

    Parameters
    ----------
    A : ndarray of shape (n, m)
        Values.
    wanted : int
        Rows to take; all where there are fewer.

    Returns
    -------
    ndarray of int
        Rows in the order in which they were taken.
    """
    order = np.argsort(-A, axis=0, kind="stable")
    place, open_, total = np.zeros(A.shape[1], int), np.ones(len(A), bool), np.zeros(A.shape[1])
    taken = []
    for _ in range(min(wanted, len(A))):
        k = total.argmin()
        while not open_[order[place[k], k]]:
            place[k] += 1
        row = order[place[k], k]
        open_[row] = False
        total += A[row]
        taken.append(row)
    return np.array(taken)


def with_every_class(taken, A, y):
    """The same rows, the last ones exchanged for the most influential row of each class that is not there."""
    taken = taken.copy()
    for label in np.setdiff1d(y, y[taken]):
        own = np.flatnonzero(y == label)
        labels, counts = np.unique(y[taken], return_counts=True)
        spare = np.isin(y[taken], labels[counts > 1])
        taken[np.flatnonzero(spare)[-1]] = own[A[own].max(1).argmax()]
    return taken
