"""Few made rows of each class that train as all do."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.given import appended, of_type, refuse_unnumbered
from skimb.under_sampling._matching import matched
from skimb.under_sampling._selection import RowSelector, as_numbers, rows_of_classes


class DistilledSampler(RowSelector):
    r"""Makes a few rows of each class on which a model's gradients are those on all rows of the class.

    The made rows :math:`S_k` of class k start at the centres of k-means. Over random feature maps and along the
    training of a linear model on them, gradient descent on the rows lowers

    .. math:: \sum_k\Bigl[\sum_j\bigl(1-\cos(g_{kj},\hat g_{kj})\bigr)+0.1\,\|g_k-\hat g_k\|^2\Bigr]

    with the gradients :math:`g_k` of the cross-entropy of rows of class k and :math:`\hat g_k` of :math:`S_k` in
    the weights, of which the columns j belong to classes. The model takes its steps on the mean over classes.

    Parameters
    ----------
    n_per_class : int in [1, inf), default=10
        Rows to make of each class. A class of no more rows keeps its own.
    method : {"gradient", "kmeans", "distribution"}, default="gradient"
        Matched gradients; the centres alone; or class means of random features brought together.
    n_outer : int in [1, inf), default=20
        Feature maps that are drawn.
    n_inner : int in [1, inf), default=10
        Steps of the linear model for each, with one step on the rows before each.
    learning_rate : float in (0, inf), default=0.02
        Step of Adam on the rows, in standard deviations.
    feature_width : int in [0, inf), default=256
        Random ReLU features; 0 is the columns themselves.
    clip : bool, default=True
        Whether made rows stay between the least and the largest value of each column in their class.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_made,)
        Classes weigh what they did; a centre of k-means weighs what its cluster does, matched rows weigh alike.
    matching_loss_ : list of float
        Mean of what is lowered, for each feature map.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If a column of a frame holds no numbers or X is sparse.

    Notes
    -----
    Follow it with :class:`~skimb.pipeline.ResampledClassifier`, which hands the weights on: classes then have the
    frequencies of all rows. Without the weights every class has the same. Made rows are of no data, hence no
    ``sample_indices_``. Columns that hold whole numbers by type are rounded; indicators of categories in a float
    array come out between their values. Rows are made for models whose score is smooth in the features: trees gain
    nothing.

    The source matches the trajectories of experts, whose training it smooths; this matches gradients on random
    features. What it shares is the start from representative rows and the balanced inner loss.

    References
    ----------
    Shen et al. 2023, arXiv:2310.10541.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.pipeline import ResampledClassifier
    >>> from skimb.under_sampling import DistilledSampler
    >>> X, y = make_classification(1000, 5, weights=[0.9], random_state=0)
    >>> sampler = DistilledSampler(5, n_outer=5, random_state=0)
    >>> X_few, y_few = sampler.fit_resample(X, y)
    >>> X_few.shape, float(sampler.sample_weight_.sum().round(6))
    ((10, 5), 1000.0)
    >>> small = ResampledClassifier(sampler, LogisticRegression()).fit(X, y)
    >>> bool(small.score(X, y) > 0.9)
    True
    """

    _parameter_constraints = {
        "n_per_class": [Interval(Integral, 1, None, closed="left")],
        "method": [StrOptions({"gradient", "kmeans", "distribution"})],
        "n_outer": [Interval(Integral, 1, None, closed="left")],
        "n_inner": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "feature_width": [Interval(Integral, 0, None, closed="left")],
        "clip": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_per_class=10,
        *,
        method="gradient",
        n_outer=20,
        n_inner=10,
        learning_rate=0.02,
        feature_width=256,
        clip=True,
        random_state=None,
    ):
        self.n_per_class = n_per_class
        self.method = method
        self.n_outer = n_outer
        self.n_inner = n_inner
        self.learning_rate = learning_rate
        self.feature_width = feature_width
        self.clip = clip
        self.random_state = random_state

    def fit_resample(self, X, y, *, sample_weight=None):
        """Make rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows; 0 removes one.

        Returns
        -------
        X_resampled : like X, of shape (n_made, n_features)
            Made rows, class by class.
        y_resampled : like y, of shape (n_made,)
            Their labels.
        """
        return super().fit_resample(X, y, sample_weight=sample_weight)

    def _check_X_y(self, X, y):
        refuse_unnumbered(self, X)
        return super()._check_X_y(X, y)

    def _fit_resample(self, X, y, sample_weight=None):
        if sparse.issparse(X):
            raise ValueError(
                f"{type(self).__name__} makes rows without zeros, and X is sparse; reduce it first, for instance "
                "by TruncatedSVD, or give X.toarray()."
            )
        rng = check_random_state(self.random_state)
        w, classes, rows = rows_of_classes(X, y, sample_weight)
        used = np.concatenate(rows)
        scaler = StandardScaler()
        numbers = as_numbers(self, X)
        if sparse.issparse(numbers):  # a frame of sparse columns
            numbers = numbers.toarray()
        scaler.fit(numbers[used])
        Z = scaler.transform(numbers)
        starts, weights, fixed = [], [], []
        for own in rows:
            fixed.append(len(own) <= self.n_per_class)
            if fixed[-1]:
                starts.append(Z[own])
                weights.append(w[own])
                continue
            seed = rng.randint(np.iinfo(np.int32).max)
            means = KMeans(self.n_per_class, n_init=1, random_state=seed)
            means.fit(Z[own], sample_weight=w[own])
            starts.append(means.cluster_centers_)
            weights.append(self._weights(means.labels_, w[own]))
        self.matching_loss_ = []
        if self.method != "kmeans" and not all(fixed):
            starts, self.matching_loss_ = matched(
                [Z[own] for own in rows], [w[own] for own in rows], starts, fixed, rng,
                by_gradient=self.method == "gradient", n_outer=self.n_outer, n_inner=self.n_inner,
                learning_rate=self.learning_rate, feature_width=self.feature_width,
                clip=self.clip,
            )  # fmt: skip
        made = [
            numbers[own] if same else scaler.inverse_transform(S)
            for S, own, same in zip(starts, rows, fixed, strict=True)
        ]
        self.sample_weight_ = np.concatenate(weights)
        labels = np.repeat(classes, [len(S) for S in starts])
        return self._of_kind(X, np.concatenate(made)), labels

    def _weights(self, label, w):
        """Weights of the made rows of a class: those of their clusters, or the same where they have moved."""
        if self.method == "kmeans":
            return np.bincount(label, w, minlength=self.n_per_class)
        return np.full(self.n_per_class, w.sum() / self.n_per_class)

    @staticmethod
    def _of_kind(X, made):
        """Made rows in the types of the given ones."""
        if hasattr(X, "iloc"):
            return appended(X.iloc[:0], made)
        return of_type(made, X.dtype) if X.dtype.kind in "iubf" else made

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.sampler_tags.sample_indices = False
        tags.input_tags.sparse = False
        return tags
