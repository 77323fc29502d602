"""Rows drawn from clusters in rounds; clusters that a model learns from give more."""

from numbers import Integral, Real

import numpy as np
from scipy.special import softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skimb._core.clusters import clustered, filled, whole
from skimb._core.inner import fit_inner
from skimb.under_sampling._coreset import log_loss_of
from skimb.under_sampling._selection import (
    ALLOCATIONS,
    RowSelector,
    class_sizes,
    rows_of_classes,
    standardised,
)


class ClusterRefinedSampler(RowSelector):
    r"""Draws rows from clusters in rounds, more of them where the last rounds helped a model.

    The rows of each class are clustered. The first round draws the same number from each cluster. After it a model
    is fitted to the rows drawn so far, and the rows of a cluster that were *not* drawn say how much their log-loss
    fell. The next round draws from cluster c of a class with the weight

    .. math:: w_c=\frac{e^{s_c/T}}{\sum_{c'}e^{s_{c'}/T}},\qquad
        s_c=\operatorname{mean}_{i\in c,\ i\text{ not drawn}}(\ell_i^\text{before}-\ell_i^\text{after}).

    Parameters
    ----------
    estimator : classifier, default=None
        The model; its ``fit`` takes weights where rows have some. None is ``LogisticRegression(max_iter=1000)``.
    fraction : float in (0, 1], default=0.2
        Share of all rows to keep.
    n_clusters : int in [1, inf), default=64
        Clusters of all classes together, shared out by the square root of the rows of a class, at least one each.
    n_rounds : int in [1, inf), default=3
        Rounds; with one, clusters of a class give evenly.
    score : {"learnability", "loss"} or callable, default="learnability"
        Score s of rows: how much the log-loss fell, the log-loss itself, or ``score(estimator, X, y)`` giving (n,).
    temperature : float in (0, inf), default=1.0
        T; large ones make weights even.
    allocation : {"equal", "proportional", "sqrt"} or dict, default="proportional"
        Rows per class: by frequency, evenly, by its square root, or by label.
    random_state : int, RandomState or None, default=None
        Seed of clusters and draws.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Rows kept, in the order of the rounds.
    sample_weight_ : ndarray of shape (n_kept,) or None
        Weights given to ``fit_resample``.
    clusters_ : ndarray of int, shape (n_samples,)
        Cluster of each row, numbered through all classes; -1 for rows without weight.
    cluster_weights_ : ndarray of shape (n_clusters,)
        Weights in the last round; those of a class sum to 1.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If fewer rows are wanted than there are classes, a column holds no numbers, or `score` gives other than one
        number per row.

    Notes
    -----
    Before the first model a row is given the frequency of its class. A cluster all of whose rows were drawn has the
    mean score of its class. Clusters are made within classes, so that class frequencies follow `allocation` alone
    and :class:`~skimb.pipeline.ResampledClassifier` can undo them; within a class the choice moves the rows, which
    nothing undoes. Rows whose labels mean nothing do not become more probable, so their clusters lose weight.

    The source scores answers of a language model by a reward; learnability is ours. In its released code, later
    rounds draw the size of one cluster in all, and weights by perplexity do not sum to 1; here each round draws its
    share of the rows, and weights always do.

    References
    ----------
    Yu et al. 2024, arXiv:2409.11378.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.under_sampling import ClusterRefinedSampler
    >>> X, y = make_classification(1000, weights=[0.9], random_state=0)
    >>> sampler = ClusterRefinedSampler(fraction=0.1, n_clusters=12, random_state=0)
    >>> X_few, y_few = sampler.fit_resample(X, y)
    >>> X_few.shape, float(sampler.cluster_weights_.sum().round(6))
    ((100, 20), 2.0)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "fraction": [Interval(Real, 0, 1, closed="right")],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "score": [StrOptions({"learnability", "loss"}), callable],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "allocation": [StrOptions(set(ALLOCATIONS)), dict],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        fraction=0.2,
        *,
        n_clusters=64,
        n_rounds=3,
        score="learnability",
        temperature=1.0,
        allocation="proportional",
        random_state=None,
    ):
        self.estimator = estimator
        self.fraction = fraction
        self.n_clusters = n_clusters
        self.n_rounds = n_rounds
        self.score = score
        self.temperature = temperature
        self.allocation = allocation
        self.random_state = random_state

    def _fit_resample(self, X, y, sample_weight=None):
        rng = check_random_state(self.random_state)
        w, classes, rows = rows_of_classes(X, y, sample_weight)
        count = np.array([len(own) for own in rows])
        sizes = class_sizes(round(self.fraction * count.sum()), self.allocation, classes, count)
        self.clusters_ = np.full(len(y), -1)
        cluster_of = []
        wanted = np.maximum(filled(count, min(self.n_clusters, count.sum()), 0.5).astype(int), 1)
        Z = standardised(self, X)
        for own, m in zip(rows, wanted, strict=True):
            self.clusters_[own] = clustered(Z[own], int(m), rng)[0] + self.clusters_.max() + 1
            cluster_of.append(np.unique(self.clusters_[own]))
        n = self.clusters_.max() + 1
        self.cluster_weights_ = np.empty(n)
        for own in cluster_of:
            self.cluster_weights_[own] = 1.0 / len(own)
        weight = None if sample_weight is None else w
        free, order = self.clusters_ >= 0, []
        before = -np.log(count[np.searchsorted(classes, y)] / count.sum())
        for turn in range(self.n_rounds):
            if turn:
                score, before = self._scores(X, y, weight, np.concatenate(order), before)
                self._weigh(score, free, cluster_of)
            for own, size in zip(cluster_of, sizes, strict=True):
                budget = size // self.n_rounds + (turn < size % self.n_rounds)
                order.append(self._drawn(own, budget, free, turn, rng))
                free[order[-1]] = False
        at = np.concatenate(order)
        return self._keep(X, y, at, None if weight is None else weight[at])

    def _model(self):
        return LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator

    def _scores(self, X, y, weight, at, before):
        """Scores of all rows by a model of the rows drawn so far, and its losses of them."""
        own = None if weight is None else weight[at]
        model = fit_inner(clone(self._model()), _safe_indexing(X, at), y[at], own)
        loss = log_loss_of(model, X, y)
        if callable(self.score):
            score = np.asarray(self.score(model, X, y), float)
            if score.shape != y.shape or not np.isfinite(score).all():
                raise ValueError(
                    f"score={self.score!r} must give one finite number per row, got {score!r}."
                )
            return score, loss
        return (before - loss if self.score == "learnability" else loss), loss

    def _weigh(self, score, free, cluster_of):
        """Weights of clusters by the mean scores of their rows that were not drawn."""
        n = len(self.cluster_weights_)
        count = np.bincount(self.clusters_[free], minlength=n)
        sums = np.bincount(self.clusters_[free], score[free], minlength=n)
        mean = np.divide(sums, count, out=np.full(n, np.nan), where=count > 0)
        for own in cluster_of:
            known = mean[own]
            known = np.where(
                np.isnan(known), np.nanmean(known) if (~np.isnan(known)).any() else 0.0, known
            )
            self.cluster_weights_[own] = softmax(known / self.temperature)

    def _drawn(self, own, budget, free, turn, rng):
        """Rows from the clusters of a class: evenly in the first round, then by weight."""
        own = rng.permutation(own)
        rows = [np.flatnonzero(free & (self.clusters_ == c)) for c in own]
        room = np.array([len(r) for r in rows])
        if turn == 0:
            size = whole(filled(room, budget), budget)
        else:
            size = shared_out(self.cluster_weights_[own], room, budget, rng)
        return np.concatenate(
            [rng.choice(r, k, replace=False) for r, k in zip(rows, size, strict=True)]
        )


def shared_out(weight, room, budget, rng):
    """Numbers of draws by weight, where a full cluster leaves the rest of its draws to the others."""
    size = np.zeros(len(room), int)
    while size.sum() < budget:
        open_ = np.where(size < room, np.maximum(weight, 1e-12), 0.0)
        more = rng.multinomial(budget - size.sum(), open_ / open_.sum())
        size = np.minimum(size + more, room)
    return size
