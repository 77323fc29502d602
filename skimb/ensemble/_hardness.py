"""Ensembles whose members see all rare rows, and common ones chosen by what the ensemble knows already."""

from abc import ABC, abstractmethod
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.ensemble._base import _set_random_states
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimb._core.inner import fit_inner
from skimb._core.priors import log_ratio, moved_probabilities
from skimb._core.validation import (
    drop_weightless,
    exclusive_target,
    indexable_rows,
    of_rows,
    routed_params,
    several_classes,
    take_names,
)
from skimb.ensemble._draws import hardness, self_paced_draw


class UnderSamplingEnsemble(ClassifierMixin, MetaEstimatorMixin, BaseEstimator, ABC):
    """Members fitted one after the other to all rows of the rarest class and as many of every other."""

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **params):
        """Fit the members.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or n_samples documents
            Rows, as the base estimator takes them.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, handed to the members, of a pipeline to the last step; 0 removes a row.
        **params : dict
            Metadata for the members' ``fit``, with metadata routing enabled; what has one entry per row follows the
            rows.

        Returns
        -------
        object
            Itself.
        """
        labels = exclusive_target(self, y)
        X = indexable_rows(X)
        check_consistent_length(X, labels)
        (to_member,) = routed_params(self, params, "estimator.fit")
        X, labels, sample_weight, to_member = drop_weightless(X, labels, sample_weight, to_member)
        self.classes_, code = several_classes(self, labels)
        rng = check_random_state(self.random_state)
        base = DecisionTreeClassifier() if self.estimator is None else self.estimator
        rows = [np.flatnonzero(code == k) for k in range(len(self.classes_))]
        count = np.array([len(r) for r in rows])
        self.estimators_, self.estimators_samples_ = [], []
        self._pools = {}
        drawn = np.zeros(len(rows))
        total = np.zeros((len(code), len(rows)))
        for i in range(self.n_estimators):
            size = self._sizes(count, i)
            own = [
                r if n == len(r) else self._draw(i, k, r, n, None if i == 0 else total[r] / i, rng)
                for k, (r, n) in enumerate(zip(rows, size, strict=True))
            ]
            at = np.concatenate(own)
            drawn += size
            member = clone(base)
            _set_random_states(member, rng)
            given = {name: of_rows(v, len(code), at) for name, v in to_member.items()}
            weight = None if sample_weight is None else sample_weight[at]
            fit_inner(member, _safe_indexing(X, at), labels[at], weight, **given)
            self.estimators_.append(member)
            self.estimators_samples_.append(at)
            if i + 1 < self.n_estimators:
                total += self._of(member, X)
        del self._pools
        self.log_offset_ = log_ratio(count / count.sum(), drawn / drawn.sum())
        take_names(self, self.estimators_[0])
        return self

    def get_metadata_routing(self):
        """Where metadata go: to the members' ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        base = DecisionTreeClassifier() if self.estimator is None else self.estimator
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=base, method_mapping=mapping)
        )

    def _sizes(self, count, i):
        """Rows of each class for member i."""
        return np.full(len(count), count.min())

    @abstractmethod
    def _draw(self, i, k, rows, size, proba, rng):
        """`size` of the rows of class k for member i; `proba` is what the ensemble says of them so far."""

    def _of(self, member, X):
        """Probabilities of a member over all classes."""
        found = member.predict_proba(X)
        proba = np.zeros((len(found), len(self.classes_)))
        proba[:, np.searchsorted(self.classes_, member.classes_)] = found
        return proba

    def _balanced(self, X):
        check_is_fitted(self)
        return np.mean([self._of(member, X) for member in self.estimators_], axis=0)

    def decision_function(self, X):
        """Mean probabilities of the members, for whom all classes were about equally frequent.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or, for two classes, (n_samples,)
            Probabilities; for two classes the second's minus the first's.
        """
        proba = self._balanced(X)
        return proba[:, 1] - proba[:, 0] if len(self.classes_) == 2 else proba

    def predict(self, X):
        """The class that is most probable if all are equally frequent: the balanced decision.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        best = self._balanced(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X):
        """Probabilities moved back to the class frequencies of `fit`, as far as a factor per class can.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        return moved_probabilities(self._balanced(X), self.log_offset_)

    def staged_predict_proba(self, X):
        """Probabilities of the first member, the first two, and so on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        total = 0.0
        for i, member in enumerate(self.estimators_):
            total = total + self._of(member, X)
            yield moved_probabilities(total / (i + 1), self.log_offset_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        base = DecisionTreeClassifier() if self.estimator is None else self.estimator
        tags.input_tags = get_tags(base).input_tags
        return tags


class SelfPacedEnsembleClassifier(UnderSamplingEnsemble):
    r"""Self-paced ensemble: each member sees the rare rows and common ones drawn by how hard they are so far.

    Rows of a common class are sorted into bins of hardness :math:`h=1-p_y` under the members before; from bin
    b come rows in proportion to :math:`1/(\bar h_b+\alpha_i)` with
    :math:`\alpha_i=\tan\frac{\pi i}{2(T-1)}`: first equal hardness from every bin, in the end equal numbers.

    Parameters
    ----------
    estimator : classifier, default=None
        Base estimator with `predict_proba`; None is a decision tree. Trees gain most, nets may lose.
    n_estimators : int in [1, inf), default=10
        Members T.
    k_bins : int in [1, inf), default=5
        Bins of hardness.
    hardness : {"absolute", "squared", "entropy"}, default="absolute"
        :math:`1-p`, its square or :math:`-\log p`.
    replacement : bool, default=True
        Whether a row may come to a member several times.
    soft : bool, default=False
        Whether bins give their share in expectation only.
    balancing_schedule : {"uniform", "progressive"}, default="uniform"
        Rows per class: those of the rarest in every member, or from all rows in the first member down to those.
    random_state : int, RandomState or None, default=None
        Seed of draws and members.

    Attributes
    ----------
    estimators_ : list of classifiers
        Members, fitted to the labels as given.
    estimators_samples_ : list of ndarray
        Rows that each saw, among those of positive weight.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    log_offset_ : ndarray of shape (n_classes,)
        Log ratio of class frequencies in `fit` to those the members saw.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X, where the members tell them.

    Raises
    ------
    ValueError
        If there is one class only or y has several labels.

    Notes
    -----
    Averages over the members that exist; the released code divides by one too many and starts from zeros. It draws
    up to `k_bins` rows more than asked, this exactly as many. ``predict_proba`` refers to the class frequencies of
    `fit`, which is approximate: members see harder rows than a random draw, which no factor per class undoes.

    References
    ----------
    Liu et al. 2020, doi:10.1109/ICDE48307.2020.00078, arXiv:1909.03500.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.ensemble import SelfPacedEnsembleClassifier
    >>> X, y = make_classification(2000, weights=[0.95], random_state=0)
    >>> model = SelfPacedEnsembleClassifier(random_state=0).fit(X, y)
    >>> int(sum(y == 1)), [len(rows) for rows in model.estimators_samples_][:2]
    (110, [220, 220])
    """

    _parameter_constraints = {
        **UnderSamplingEnsemble._parameter_constraints,
        "k_bins": [Interval(Integral, 1, None, closed="left")],
        "hardness": [StrOptions({"absolute", "squared", "entropy"})],
        "replacement": ["boolean"],
        "soft": ["boolean"],
        "balancing_schedule": [StrOptions({"uniform", "progressive"})],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=10,
        *,
        k_bins=5,
        hardness="absolute",
        replacement=True,
        soft=False,
        balancing_schedule="uniform",
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.k_bins = k_bins
        self.hardness = hardness
        self.replacement = replacement
        self.soft = soft
        self.balancing_schedule = balancing_schedule
        self.random_state = random_state

    def _sizes(self, count, i):
        least = super()._sizes(count, i)
        if self.balancing_schedule == "uniform":
            return least
        t = i / max(self.n_estimators - 1, 1)
        return np.rint((1.0 - t) * count + t * least).astype(int)

    def _draw(self, i, k, rows, size, proba, rng):
        if proba is None:
            return rng.choice(rows, size, replace=self.replacement)
        last = max(self.n_estimators - 1, 1)
        alpha = np.tan(0.5 * np.pi * i / last)
        values = hardness(proba, np.full(len(rows), k), self.hardness)
        return rows[
            self_paced_draw(values, size, alpha, self.k_bins, self.replacement, self.soft, rng)
        ]


class BalanceCascadeClassifier(UnderSamplingEnsemble):
    r"""Balance cascade: common rows that the ensemble tells right already leave the pool, the surest first.

    Each member sees the rare rows and as many common ones drawn from the pool; after it, the pool of class k
    keeps the share :math:`(n_{\min}/n_k)^{1/(T-1)}` with the lowest probability of their own class, so that the
    last member's pool is as large as the rarest class.

    Parameters
    ----------
    estimator : classifier, default=None
        Base estimator with `predict_proba`; None is a decision tree. The original has AdaBoost here.
    n_estimators : int in [1, inf), default=10
        Members T.
    replacement : bool, default=False
        Whether a row may come to a member several times.
    random_state : int, RandomState or None, default=None
        Seed of draws and members.

    Attributes
    ----------
    estimators_ : list of classifiers
        Members, fitted to the labels as given.
    estimators_samples_ : list of ndarray
        Rows that each saw, among those of positive weight.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    log_offset_ : ndarray of shape (n_classes,)
        Log ratio of class frequencies in `fit` to those the members saw.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X, where the members tell them.

    Raises
    ------
    ValueError
        If there is one class only or y has several labels.

    Notes
    -----
    Noisy common rows are never told right, so they stay to the end, where they are most of the pool: on overlapping
    classes :class:`SelfPacedEnsembleClassifier` is the safer one. The pool shrinks by the mean of all members
    so far; the original moves a threshold of the last one. For more than two classes each common class has its
    own pool.

    References
    ----------
    Liu, Wu and Zhou 2009, doi:10.1109/TSMCB.2008.2007853.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.ensemble import BalanceCascadeClassifier
    >>> X, y = make_classification(2000, weights=[0.95], random_state=0)
    >>> model = BalanceCascadeClassifier(random_state=0).fit(X, y)
    >>> len(model.estimators_)
    10
    """

    _parameter_constraints = {
        **UnderSamplingEnsemble._parameter_constraints,
        "replacement": ["boolean"],
    }

    def __init__(self, estimator=None, n_estimators=10, *, replacement=False, random_state=None):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.replacement = replacement
        self.random_state = random_state

    def _draw(self, i, k, rows, size, proba, rng):
        pool = rows
        if i > 0:
            before = self._pools[k]
            share = (size / len(rows)) ** (i / (self.n_estimators - 1))
            left = max(int(np.ceil(share * len(rows))), size)
            sure = proba[before, k]
            pool = rows[before[np.argsort(sure, kind="stable")[:left]]]
        self._pools[k] = np.searchsorted(rows, np.sort(pool))
        return rng.choice(pool, size, replace=self.replacement)
