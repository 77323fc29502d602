"""Rows that cover the clusters of their class, of which the large ones give less."""

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import normalize
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skimb._core.clusters import spread_over_clusters
from skimb.under_sampling._selection import (
    RowSelector,
    features_of,
    rows_of_classes,
    standardised,
)


class DynamicPruningSampler(RowSelector):
    r"""Prunes classes for diversity: a cluster of many alike rows gives a smaller share of them than a small one.

    Rows of a class are clustered by k-means, and cluster c of :math:`n_c` rows keeps

    .. math:: k_c=\min(n_c,\tau n_c^a),\qquad \sum_ck_c=\text{rows wanted}.

    Parameters
    ----------
    fraction : float in (0, 1] or None, default=0.5
        Share of its rows that a pruned class keeps. None keeps as many as `sampling_strategy` says, which for
        words are those of the smallest class.
    sampling_strategy : {"auto", "majority", "not minority", "not majority", "all"} or dict, default="auto"
        Classes that are pruned, as in imbalanced-learn: "auto" is all but the smallest. A dict gives the rows to
        keep by label, and `fraction` is then not asked.
    n_clusters : int in [1, inf) or "auto", default="auto"
        Clusters of a class; "auto" is :math:`2\sqrt n`, at most 256. Those of fewer than 3 rows join others.
    power : float in [0, 1], default=0.5
        Exponent a: 0 takes equally many rows of each cluster, 1 the same share.
    within : {"random", "central", "farthest"}, default="random"
        Which rows of a cluster stay.
    features : estimator or None, default=None
        What rows are clustered by, as directions: the last hidden layer of a net, fitted here (``last_layer``), the
        output of a transformer, or in a pipeline what the last step gets. None is the standardised columns.
    reweight : bool, default=False
        Whether rows that stay weigh for those of their cluster that go, so that the mean loss is that of all rows.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Rows kept, in order.
    sample_weight_ : ndarray of shape (n_kept,) or None
        Their weights; None where nothing is weighed. With `reweight` each class weighs what all its rows did.
    clusters_ : ndarray of int, shape (n_samples,)
        Cluster of each row, numbered through all pruned classes; -1 for rows of other classes.
    features_ : estimator
        The fitted estimator of `features`.
    sampling_strategy_ : dict
        imbalanced-learn's: rows by label.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If a column holds no numbers and `features` does not change that.

    Notes
    -----
    Two things change. Class frequencies do, which :class:`~skimb.pipeline.ResampledClassifier` undoes in
    ``predict_proba``. So do, for `power` below 1, the rows of a class: rare kinds of rows come more often than they
    are, and no factor per class undoes that; `reweight` does, at the cost of uneven weights. Outliers and wrong
    labels are rare kinds too, hence the default between the extremes.

    The abstract names the aim, diversity and balance by the model's own features, renewed during training; the rule
    is ours. This sampler prunes once, :class:`~skimb.training.DynamicPruning` renews the choice while a net trains.

    References
    ----------
    Kerdreux et al. 2025, arXiv:2504.06962.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.under_sampling import DynamicPruningSampler
    >>> rng = np.random.default_rng(0)
    >>> centres = np.repeat([[0.0, 0.0], [9.0, 9.0]], [900, 50], axis=0)
    >>> X = np.r_[centres + rng.normal(size=(950, 2)), rng.normal(4, 1, (50, 2))]
    >>> y = np.repeat(["common", "rare"], [950, 50])
    >>> sampler = DynamicPruningSampler(0.1, n_clusters=2, power=0.0, random_state=0)
    >>> X_few, y_few = sampler.fit_resample(X, y)
    >>> int((y_few == "common").sum()), int((X_few[y_few == "common", 0] > 7).sum())
    (95, 46)
    """

    _parameter_constraints = {
        "fraction": [Interval(Real, 0, 1, closed="right"), None],
        "sampling_strategy": [
            StrOptions({"auto", "majority", "not minority", "not majority", "all"}),
            Mapping,
        ],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "power": [Interval(Real, 0, 1, closed="both")],
        "within": [StrOptions({"random", "central", "farthest"})],
        "features": [HasMethods(["fit"]), None],
        "reweight": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        fraction=0.5,
        *,
        sampling_strategy="auto",
        n_clusters="auto",
        power=0.5,
        within="random",
        features=None,
        reweight=False,
        random_state=None,
    ):
        self.fraction = fraction
        self.sampling_strategy = sampling_strategy
        self.n_clusters = n_clusters
        self.power = power
        self.within = within
        self.features = features
        self.reweight = reweight
        self.random_state = random_state

    def _fit_resample(self, X, y, sample_weight=None):
        rng = check_random_state(self.random_state)
        w, classes, rows = rows_of_classes(X, y, sample_weight)
        Z = self._directions(X, y, np.flatnonzero(w > 0))
        weight, self.clusters_, kept = w.copy(), np.full(len(y), -1), []
        for label, own in zip(classes.tolist(), rows, strict=True):
            budget = self._budget(label, len(own))
            if budget == len(own):
                kept.append(own)
                continue
            at, cluster = spread_over_clusters(
                Z[own], budget, rng,
                n_clusters=self.n_clusters, power=self.power, within=self.within,
            )  # fmt: skip
            self.clusters_[own] = cluster + self.clusters_.max() + 1
            kept.append(own[at])
            if self.reweight:
                all_, stay = np.bincount(cluster, w[own]), np.bincount(cluster[at], w[own[at]])
                grown = w[own[at]] * all_[cluster[at]] / stay[cluster[at]]
                # a cluster that gave no row leaves its weight to the others
                weight[own[at]] = grown * (w[own].sum() / grown.sum())
        at = np.sort(np.concatenate(kept))
        weighed = self.reweight or sample_weight is not None
        return self._keep(X, y, at, weight[at] if weighed else None)

    def _budget(self, label, n):
        """Rows that a class keeps."""
        if label not in self.sampling_strategy_:
            return n
        if self.fraction is None or isinstance(self.sampling_strategy, Mapping):
            return max(min(self.sampling_strategy_[label], n), 1)
        return max(round(self.fraction * n), 1)

    def _directions(self, X, y, at):
        """What rows are clustered by."""
        if self.features is None:
            return standardised(self, X)
        self.features_ = clone(self.features).fit(_safe_indexing(X, at), y[at])
        return normalize(features_of(self.features_, X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.features is not None:
            tags.input_tags.allow_nan = get_tags(self.features).input_tags.allow_nan
        return tags
