"""Few weighted rows that stand for all in the eyes of a model's loss."""

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skimb._core.inner import fit_inner, last_step
from skimb.under_sampling import _vector_sums
from skimb.under_sampling._selection import (
    ALLOCATIONS,
    RowSelector,
    class_sizes,
    refuse_too_few,
    rows_of_classes,
)

_TINY = np.finfo(float).tiny


def log_loss_of(estimator, X, y):
    """Negative log probability of each row's class."""
    proba = estimator.predict_proba(X)
    return -np.log(
        np.maximum(proba[np.arange(len(y)), np.searchsorted(estimator.classes_, y)], _TINY)
    )


def hinge_of(estimator, X, y):
    """Hinge loss of each row, over classes the sum of one against the rest."""
    scores = estimator.decision_function(X)
    scores = scores[:, None] if scores.ndim == 1 else scores
    own = estimator.classes_ if scores.shape[1] > 1 else estimator.classes_[1:]
    sign = np.where(y[:, None] == own, 1.0, -1.0)
    return np.maximum(1.0 - sign * scores, 0.0).sum(1)


LOSSES = {"log_loss": log_loss_of, "hinge": hinge_of}


class AutoCoresetSampler(RowSelector):
    r"""Coreset: few rows with weights whose weighted loss is that of all rows, for every model tried.

    A *query* is a fitted model; its losses of all rows are a column. For the columns collected so far a weighted
    subset is found whose weighted sums equal those of all rows, class by class; a model fitted to the subset is
    the next query. The subset whose model has the least weighted loss on all rows is kept.

    Parameters
    ----------
    n_samples : int in [1, inf), default=200
        Rows to keep, of all classes together.
    estimator : classifier, default=None
        What the coreset is for; its ``fit`` takes ``sample_weight``, of a pipeline the last step's. Missing values
        and texts are its affair. None is ``LogisticRegression(max_iter=1000)``.
    loss : {"log_loss", "hinge"} or callable, default="log_loss"
        Loss of rows of a fitted model, ``loss(estimator, X, y)`` giving (n,).
    backend : {"lp", "importance", "uniform"}, default="lp"
        Exact sums by a vertex of a linear program, draws by the size of losses, or even draws (the best of
        several, as a control).
    allocation : {"equal", "proportional", "sqrt"} or dict, default="equal"
        Rows per class: evenly, by frequency, by its square root, or by label. A class never gives more than it has.
    base_weight : {"balanced"} or None, default="balanced"
        Weights of the rows to stand for: "balanced" makes a coreset of the loss with balanced class weights.
    n_queries : int in [1, inf), default=3
        Models fitted to even draws before the first coreset.
    patience : int in [1, inf), default=5
        Coresets in a row without less loss that are borne.
    max_iter : int in [1, inf), default=20
        Most coresets.
    return_mode : {"weighted", "resample"}, default="weighted"
        Rows whose weights are in ``sample_weight_``, or `n_samples` draws with replacement in proportion to
        those weights, at least one of each class, for pipelines that carry no weights.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Rows kept.
    sample_weight_ : ndarray of shape (n_kept,)
        Their weights; in each class together those of all its rows. Ones for ``return_mode="resample"``.
    objective_ : list of float
        Weighted loss on all rows of the model of each coreset.
    queries_ : ndarray of shape (n_samples, n_queries)
        Losses that the kept coreset was built on.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If there are fewer rows wanted than classes, or `allocation` lacks one.

    Notes
    -----
    Follow it with :class:`~skimb.pipeline.ResampledClassifier`, which hands the weights on; imbalanced-learn's
    pipeline cannot. Standardise features first. If losses are 0 there is nothing to learn from: regularise.
    With "lp" queries stop when a class has as many as rows, less one. The original allots rows by a small
    program of its own and builds exact subsets by Carathéodory's construction; a vertex is as small and found
    faster. The penalty of the model needs no column: weights keep their total.

    References
    ----------
    Maalouf et al. 2023, arXiv:2305.11980.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.pipeline import ResampledClassifier
    >>> from skimb.under_sampling import AutoCoresetSampler
    >>> X, y = make_classification(3000, 6, weights=[0.95], random_state=0)
    >>> sampler = AutoCoresetSampler(60, random_state=0)
    >>> X_few, y_few = sampler.fit_resample(X, y)
    >>> len(y_few) <= 60, float(sampler.sample_weight_.sum().round(6))
    (True, 3000.0)
    >>> small = ResampledClassifier(sampler, LogisticRegression()).fit(X, y)
    >>> full = LogisticRegression(class_weight="balanced").fit(X, y)
    >>> bool((small.predict(X) == full.predict(X)).mean() > 0.95)
    True
    """

    _parameter_constraints = {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "estimator": [HasMethods(["fit"]), None],
        "loss": [StrOptions(set(LOSSES)), callable],
        "backend": [StrOptions({"lp", "importance", "uniform"})],
        "allocation": [StrOptions(set(ALLOCATIONS)), dict],
        "base_weight": [StrOptions({"balanced"}), None],
        "n_queries": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "return_mode": [StrOptions({"weighted", "resample"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_samples=200,
        *,
        estimator=None,
        loss="log_loss",
        backend="lp",
        allocation="equal",
        base_weight="balanced",
        n_queries=3,
        patience=5,
        max_iter=20,
        return_mode="weighted",
        random_state=None,
    ):
        self.n_samples = n_samples
        self.estimator = estimator
        self.loss = loss
        self.backend = backend
        self.allocation = allocation
        self.base_weight = base_weight
        self.n_queries = n_queries
        self.patience = patience
        self.max_iter = max_iter
        self.return_mode = return_mode
        self.random_state = random_state

    def _fit_resample(self, X, y, sample_weight=None):
        rng = check_random_state(self.random_state)
        w, classes, rows = rows_of_classes(X, y, sample_weight)
        if self.base_weight == "balanced":
            total = w.sum()
            for r in rows:
                w[r] *= total / (len(rows) * w[r].sum())
        if isinstance(self.allocation, dict) and self.return_mode == "resample":
            refuse_too_few(self.n_samples, classes)
        count = np.array([len(r) for r in rows])
        sizes = class_sizes(self.n_samples, self.allocation, classes, count)
        u = self._search(X, y, w, rows, sizes, rng)
        if self.return_mode == "resample":
            picked = self._drawn(u, rows, rng)
            return self._keep(X, y, picked, np.ones(len(picked)))
        picked = np.flatnonzero(u > 0)
        return self._keep(X, y, picked, u[picked])

    def _drawn(self, u, rows, rng):
        """Draws with replacement by weight, of each class as many as its weight says and at least one."""
        mass = np.array([u[r].sum() for r in rows])
        wanted = self.n_samples * mass / mass.sum()
        size = np.maximum(np.floor(wanted).astype(int), 1)
        while size.sum() > self.n_samples:
            size[size.argmax()] -= 1
        rest = self.n_samples - size.sum()
        size[np.argsort(size - wanted, kind="stable")[:rest]] += 1
        own = zip(rows, size, mass, strict=True)
        return np.sort(np.concatenate([rng.choice(r, n, p=u[r] / m) for r, n, m in own]))

    def _search(self, X, y, w, rows, sizes, rng):
        """Weights of the best coreset."""
        base = LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator
        loss = LOSSES.get(self.loss, self.loss)
        total = float(w.sum())
        self.objective_ = []

        def query(u):
            at = np.flatnonzero(u > 0)
            model = fit_inner(clone(base), _safe_indexing(X, at), y[at], u[at])
            column = np.asarray(loss(model, X, y), float)
            if column.shape != (len(y),) or not np.isfinite(column).all():
                raise ValueError(
                    f"loss={self.loss!r} must give one finite number per row, got {column!r}."
                )
            return column, float(w @ column) / total + self._penalty(model, total)

        def drawn():
            u = np.zeros(len(y))
            for r, m in zip(rows, sizes, strict=True):
                u[r] = _vector_sums.uniform(w[r], m, rng)
            return u

        if all(m == len(r) for r, m in zip(rows, sizes, strict=True)):
            self.queries_ = np.empty((len(y), 0))
            return w
        columns, best = [], None
        for _ in range(self.n_queries):
            u = drawn()
            column, value = query(u)
            columns.append(column)
            if self.backend == "uniform" and (best is None or value < best[0]):
                best = value, u, 0
        waited = 0
        for _ in range(self.max_iter):
            V = np.column_stack(columns)
            if self.backend == "lp":
                held = min(m for r, m in zip(rows, sizes, strict=True) if m < len(r)) - 1
                if V.shape[1] > max(held, 0) and best is not None:
                    break
                V = V[:, : max(held, 0)]
            u = drawn() if self.backend == "uniform" else self._coreset(V, w, rows, sizes, rng)
            column, value = query(u)
            self.objective_.append(value)
            if best is None or value < best[0] * (1.0 - 1e-12):
                best, waited = (value, u, V.shape[1]), 0
            else:
                waited += 1
                if waited == self.patience:
                    break
            columns.append(column)
        self.queries_ = np.column_stack(columns)[:, : best[2]]
        return best[1]

    def _coreset(self, V, w, rows, sizes, rng):
        u = np.zeros(len(w))
        find = _vector_sums.exact if self.backend == "lp" else _vector_sums.importance
        for r, m in zip(rows, sizes, strict=True):
            u[r] = w[r] if m == len(r) else find(V[r], w[r], m, rng)
        return u

    @staticmethod
    def _penalty(model, total):
        """The ridge that logistic regression adds, per unit of weight, so that objectives compare."""
        model = last_step(model)
        if isinstance(model, LogisticRegression) and not model.l1_ratio and np.isfinite(model.C):
            return 0.5 * float(np.square(model.coef_).sum()) / (model.C * total)
        return 0.0

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        base = LogisticRegression() if self.estimator is None else self.estimator
        tags.input_tags.allow_nan = get_tags(base).input_tags.allow_nan
        return tags
