"""Self-training whose own labels count by their confidence, with a threshold for each class."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import MethodMapping
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skimb._core.inner import fit_inner, router_of
from skimb._core.priors import class_shares
from skimb._core.validation import (
    drop_weightless,
    exclusive_target,
    indexable_rows,
    several_classes,
    take_names,
)


def _decides(self):
    """Whether the estimator has a decision function."""
    of = getattr(self, "estimator_", self.estimator)
    return hasattr(of, "decision_function")


class ConfidenceWeightedSelfTraining(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Train on rows without labels by the classifier's own answers, weighted by their confidence (CW-BASS).

    In each round the classifier is fitted to the labelled rows and to the unlabelled ones that it was sure of, with
    weights :math:`\lambda c^\gamma\delta^r`, c being the confidence and r the round from 0. Which rows those are
    follows from a threshold for each class, which moves with the confidences.

    Parameters
    ----------
    estimator : estimator
        A classifier with ``predict_proba``, whose ``fit`` takes ``sample_weight``.
    threshold : {"class_mean", "quota"} or float in [0, 1], default="class_mean"
        "class_mean" keeps rows whose confidence is above the mean of those answered alike, within `bounds`.
        "quota" keeps in round r of R of each class k the :math:`\lceil r/R\,s\,\pi_kn_u\rceil` rows that are most
        probably of it, with its share :math:`\pi_k` of the labelled rows: rare classes cannot vanish.
        A number is a fixed threshold.
    bounds : pair of float in [0, 1], default=(0.3, 0.95)
        Least and largest threshold of "class_mean".
    quota_share : float in (0, 1], default=1.0
        Share s of the unlabelled rows that "quota" reaches in the last round.
    weighting : {"confidence", "margin"}, default="confidence"
        Confidence c of an answer: its probability, or by how much it is above the next one's.
    reject_unknown : bool, default=False
        Whether confidence is measured by the means of the labelled rows of each class in place of probabilities:
        :math:`s_k=\cos(x,\mu_k)`, so that with "margin" a row counts :math:`(s_k-\max_{j\ne k}s_j)_+` (WAD).
        Rows of confidence 0 are not kept. For unlabelled rows of classes that no label names; X must be numbers,
        as embeddings are.
    gamma : float in [0, inf), default=1.0
        Exponent of the confidence; 0 weighs kept rows alike.
    decay : float in (0, 1], default=1.0
        Factor per round.
    unlabeled_weight : float in (0, inf), default=0.5
        Weight :math:`\lambda` of an unlabelled row of confidence 1; labelled ones have 1.
    max_iter : int in [1, inf), default=10
        Most rounds R.

    Attributes
    ----------
    estimator_ : estimator
        The classifier of the last round.
    classes_ : ndarray of shape (n_classes,)
        Labels without the mark -1.
    transduction_ : ndarray of shape (n_samples,)
        Labels as given or as kept in the end; -1 where neither.
    labeled_iter_ : ndarray of int, shape (n_samples,)
        0 for labelled rows, the round since which a row was kept with its label, or -1. Rows of weight 0 count as
        never kept.
    thresholds_ : list of ndarray of shape (n_classes,)
        Thresholds of each round; of "quota" the least probability kept.
    n_iter_ : int
        Fits of the classifier: the first to labelled rows alone, and one in each round whose kept rows are new.
    termination_condition_ : {"no_change", "max_iter"}
        Whether the kept rows and their labels stayed, or the rounds were over.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X, where the classifier tells them.

    Raises
    ------
    ValueError
        If fewer than two classes are labelled, or the mark -1 is text.
    ValueError
        If `reject_unknown` is set and the rows are no numbers.
    TypeError
        If the classifier takes no weights and needs some.

    Notes
    -----
    Labels -1 are no class; with text labels make y an object array that holds the number -1. Unlike
    scikit-learn's ``SelfTrainingClassifier``, rows are labelled anew in each round and may be dropped again; with
    one round, a fixed threshold, `gamma` 0 and `unlabeled_weight` 1 both are the same. The authors segment images
    with a teacher of averaged weights. Their threshold
    :math:`b/(1+e^{-\beta(\bar c-1/2)})` clipped to [0.3, 0.8] is practically constant at their defaults
    (0.300 to 0.337 for every mean confidence), so thresholds here follow the means of the classes; the loss of
    boundaries has no counterpart. Probabilities are those of the classifier, which has seen the labels of
    kept rows as if they were true. Results are in the guide.

    The weights of WAD are those of `reject_unknown`; its features come from contrastive learning, and it adds in
    each round the rows of least loss, where here `threshold` chooses. Cosines tell most for centred rows.

    References
    ----------
    "CW-BASS" (confidence-weighted boundary-aware learning for semi-supervised segmentation), after its code;
    "Semi-Supervised Learning via Weight-aware Distillation under Class Distribution Mismatch" (WAD), after its
    code.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.semi_supervised import ConfidenceWeightedSelfTraining
    >>> X, y = make_classification(400, weights=[0.8], class_sep=2.0, random_state=0)
    >>> known = np.where(np.arange(400) % 8 == 0, y, -1)
    >>> model = ConfidenceWeightedSelfTraining(LogisticRegression(), threshold="quota").fit(X, known)
    >>> model.classes_.tolist(), bool((model.transduction_ >= 0).mean() > 0.9)
    ([0, 1], True)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "threshold": [StrOptions({"class_mean", "quota"}), Interval(Real, 0, 1, closed="both")],
        "bounds": ["array-like"],
        "quota_share": [Interval(Real, 0, 1, closed="right")],
        "weighting": [StrOptions({"confidence", "margin"})],
        "reject_unknown": ["boolean"],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "decay": [Interval(Real, 0, 1, closed="right")],
        "unlabeled_weight": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        *,
        threshold="class_mean",
        bounds=(0.3, 0.95),
        quota_share=1.0,
        weighting="confidence",
        reject_unknown=False,
        gamma=1.0,
        decay=1.0,
        unlabeled_weight=0.5,
        max_iter=10,
    ):
        self.estimator = estimator
        self.threshold = threshold
        self.bounds = bounds
        self.quota_share = quota_share
        self.weighting = weighting
        self.reject_unknown = reject_unknown
        self.gamma = gamma
        self.decay = decay
        self.unlabeled_weight = unlabeled_weight
        self.max_iter = max_iter

    # --- fit ---------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit to labelled rows and to what the classifier is sure of among the others.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or n_samples documents
            Rows, as the classifier takes them.
        y : array-like of shape (n_samples,)
            Labels; the number -1 marks a row without one.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        ConfidenceWeightedSelfTraining
            Itself.
        """
        low, high = self._checked_bounds()
        X = indexable_rows(X)
        given, unlabeled = _marked(self, y)
        check_consistent_length(X, given)
        labels = exclusive_target(self, given[~unlabeled])
        used = np.arange(len(given))
        if sample_weight is not None:
            X, used, sample_weight = drop_weightless(X, used, sample_weight)
        at = np.flatnonzero(~unlabeled[used])
        others = np.flatnonzero(unlabeled[used])
        place = np.cumsum(~unlabeled) - 1  # of a labelled row among the labelled ones
        labels = labels[place[used[at]]]
        self.classes_, _ = several_classes(self, labels)
        self._train(X, at, labels, sample_weight, others[:0], others[:0], None)
        pool = _safe_indexing(X, others) if len(others) else None
        own = None if sample_weight is None else sample_weight[at]
        shares = class_shares(self.classes_, labels, own)
        near = self._similarity(X, at, labels, own, pool) if self.reject_unknown else None
        kept, code = np.zeros(len(others), bool), np.full(len(others), -1)
        since = np.full(len(others), -1)
        self.thresholds_, self.n_iter_ = [], 1
        self.termination_condition_ = "no_change"
        for r in range(self.max_iter if len(others) else 0):
            p = self._of(pool)
            if self.threshold == "quota":
                now, answer, least = self._by_quota(p, shares, (r + 1) / self.max_iter)
            else:
                now, answer, least = self._by_threshold(p, low, high)
            confidence = self._confidence(p if near is None else near, answer)
            if near is not None:
                now = now & (confidence > 0)
            self.thresholds_.append(least)
            if np.array_equal(now, kept) and np.array_equal(answer[now], code[now]):
                break
            since = np.where(now, np.where(kept & (code == answer), since, r + 1), -1)
            kept, code = now, answer
            weight = self.unlabeled_weight * self.decay**r * confidence**self.gamma
            self._train(X, at, labels, sample_weight, others[kept], code[kept], weight[kept])
            self.n_iter_ += 1
        else:
            self.termination_condition_ = "max_iter" if len(others) else "no_change"
        self._answer(given, unlabeled, used[others], kept, code, since)
        take_names(self, self.estimator_)
        return self

    def _checked_bounds(self):
        bounds = np.asarray(self.bounds, float)
        if bounds.shape != (2,) or not 0.0 <= bounds[0] <= bounds[1] <= 1.0:
            raise ValueError(
                f"{type(self).__name__}: bounds={self.bounds!r} must be a pair (low, high), 0 <= low <= high <= 1."
            )
        return bounds

    def _train(self, X, at, labels, sample_weight, kept, code, weight):
        """Fit the classifier to labelled rows and to kept ones."""
        rows = np.concatenate([at, kept])
        y = np.concatenate([labels, self.classes_[code]])
        base = np.ones(len(rows)) if sample_weight is None else sample_weight[rows]
        if weight is not None:
            base = base * np.concatenate([np.ones(len(at)), weight])
        plain = sample_weight is None and (base == 1.0).all()
        model = clone(self.estimator)
        self.estimator_ = fit_inner(model, _safe_indexing(X, rows), y, None if plain else base)

    def _of(self, X):
        """Probabilities of rows, a column for each class."""
        found = self.estimator_.predict_proba(X)
        p = np.zeros((len(found), len(self.classes_)))
        p[:, np.searchsorted(self.classes_, self.estimator_.classes_)] = found
        return p

    def _similarity(self, X, at, labels, weight, pool):
        """Cosines of the unlabelled rows and the means of the labelled rows of each class."""
        if pool is None:
            return None
        try:
            rows, pool = (
                check_array(part, accept_sparse="csr", dtype=np.float64)
                for part in (_safe_indexing(X, at), pool)
            )
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{type(self).__name__}: reject_unknown=True measures rows by the means of classes and needs a "
                "table of finite numbers; give embeddings of the rows, or set reject_unknown=False."
            ) from error
        share = (labels[:, None] == self.classes_) * (1.0 if weight is None else weight[:, None])
        means = (rows.T @ (share / share.sum(0))).T
        return cosine_similarity(pool, means)

    def _confidence(self, scores, code):
        """Confidence of the answers `code`."""
        own = scores[np.arange(len(scores)), code]
        if self.weighting == "confidence":
            return np.maximum(own, 0.0)
        rest = scores.copy()
        rest[np.arange(len(scores)), code] = -np.inf
        return np.maximum(own - rest.max(1), 0.0)

    def _by_threshold(self, p, low, high):
        """Rows above the threshold of the class that they are answered by."""
        code, c = p.argmax(1), p.max(1)
        k = len(self.classes_)
        if self.threshold == "class_mean":
            counts = np.bincount(code, minlength=k)
            sums = np.bincount(code, weights=c, minlength=k)
            mean = np.divide(sums, counts, out=np.full(k, high), where=counts > 0)
            least = np.clip(mean, low, high)
        else:
            least = np.full(k, float(self.threshold))
        return c > least[code], code, least

    def _by_quota(self, p, shares, progress):
        """The most probable rows of each class, of the rarest first; no row serves two classes."""
        code, free = np.full(len(p), -1), np.ones(len(p), bool)
        least = np.full(len(shares), np.nan)
        for k in np.argsort(shares, kind="stable"):
            size = int(np.ceil(progress * self.quota_share * shares[k] * len(p) - 1e-9))
            rows = np.flatnonzero(free)
            best = rows[np.argsort(-p[rows, k], kind="stable")[:size]]
            code[best], free[best] = k, False
            least[k] = p[best, k].min() if len(best) else np.nan
        return ~free, code, least

    def _answer(self, given, unlabeled, others, kept, code, since):
        """Set what became of the rows."""
        self.transduction_ = given.copy()
        if given.dtype != object and self.classes_.dtype.kind != given.dtype.kind:
            self.transduction_ = given.astype(object)
        self.transduction_[others[kept]] = self.classes_[code[kept]]
        self.labeled_iter_ = np.where(unlabeled, -1, 0)
        self.labeled_iter_[others] = since

    # --- predictions -------------------------------------------------------------------------

    def predict(self, X):
        """Classes, as the classifier decides.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def predict_proba(self, X):
        """Class probabilities of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        return self._of(X)

    @available_if(_decides)
    def decision_function(self, X):
        """Scores of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    def get_metadata_routing(self):
        """Where metadata go: weights of rows to the classifier's ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        return router_of(self, self.estimator).add(
            estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit")
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _marked(estimator, y):
    """The target as an array, and which rows are marked as unlabelled."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None.")
    array = np.asarray(y)
    if array.dtype.kind in "US" and not hasattr(y, "dtype"):  # a list may hold -1 among texts
        mixed = np.asarray(y, dtype=object)
        array = array if all(isinstance(value, str) for value in mixed.flat) else mixed
    array = column_or_1d(array, warn=True)
    if array.dtype.kind in "US":
        if (array == "-1").any():
            raise ValueError(
                f"{type(estimator).__name__}: y is text, in which '-1' would be a class; make it an object array "
                "that holds the number -1 where a label is missing."
            )
        return array, np.zeros(len(array), bool)
    if array.dtype == bool:
        return array, np.zeros(len(array), bool)
    mark = array == -1 if array.dtype != object else np.array([_is_mark(v) for v in array], bool)
    return array, mark


def _is_mark(value):
    return isinstance(value, Real) and value == -1
