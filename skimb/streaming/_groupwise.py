"""Online forecasts that are good on every group: learners that sleep outside their own."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimb._core.validation import (
    drop_weightless,
    exclusive_target,
    indexable_rows,
    plain_labels,
    take_names,
)


class GroupwiseOnlineClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""One online learner for all rows and one for each group, mixed so that no group regrets it.

    Every learner is awake for the rows of its group only. A row is forecast before it is learned, by the mean of
    the awake learners' probabilities with AdaNormalHedge's weights

    .. math:: w(R,C)=\tfrac12\Bigl[\Phi(R+1,C+1)-\Phi(R-1,C+1)\Bigr],\qquad\Phi(R,C)=e^{\max(R,0)^2/(3C)},

    where a learner's regret :math:`R` sums the losses of the forecasts less its own over the rows of its group, and
    :math:`C` the sizes of these differences. On each group the forecasts fall behind the learner of that group
    by no more than about :math:`\sqrt{3\,C\log m}` in all, for :math:`m` learners.

    Parameters
    ----------
    estimator : classifier with ``partial_fit`` and ``predict_proba``
        The learner; every group gets a clone.
    loss : {"brier", "log_loss"}, default="brier"
        Loss of forecasts: half the squared distance of the probabilities from the class, from 0 to 1; or the
        log-loss, with probabilities mixed with so much of the uniform ones that it stays below `max_loss`.
    max_loss : float in (2, inf), default=10.0
        Largest log-loss of a row, at least twice the logarithm of the number of classes.
    batch_size : int in [1, inf), default=32
        Rows that are forecast before any of them is learned; 1 is the online protocol.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    estimators_ : list
        Learners, of all rows first and then of the groups; None where a group had no row yet.
    n_groups_ : int
        Groups, without that of all rows.
    regret_ : ndarray of shape (1 + n_groups,)
        Loss of the forecasts less that of the learner, summed over the rows that it was awake and had learned for.
    weights_ : ndarray of shape (1 + n_groups,)
        Shares of the learners in the forecast of a row that belongs to every group.
    group_count_ : ndarray of shape (1 + n_groups,)
        Rows of each group.
    group_loss_, estimator_loss_ : ndarray of shape (1 + n_groups,)
        Mean loss of the forecasts and of the group's own learner over the rows that count in `regret_`; not a
        number without such rows.
    n_features_in_, feature_names_in_ : int, ndarray
        As the learners report them.

    Raises
    ------
    ValueError
        If `groups` is no matrix of truth values with a line per row, or differs from that of the first rows in the
        number of groups; if labels are new; if the first rows hold one class and `classes` names no other.

    Notes
    -----
    What is learned depends on the order of the rows. The work of a row grows with the number of its groups.
    `sample_weight` goes to the learners; in regrets a row counts once. Before a learner has seen a row nothing is
    asked of it; the first rows are forecast by the class frequencies so far. A group of a few hundred rows is
    too small for a learner of its own, and its forecasts suffer until the weights have learned it. Deviations
    from the paper: classification; rows may come in batches; the regret is that of the mixed forecast.

    References
    ----------
    Acharya et al. 2024, arXiv:2310.04652; Luo and Schapire 2015, arXiv:1502.05934.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skimb.streaming import GroupwiseOnlineClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 3))
    >>> other = rng.random((2000, 1)) < 0.1  # a tenth of the rows follows a rule of its own
    >>> y = np.where(other[:, 0], X[:, 0] < 0, X[:, 0] > 0).astype(int)
    >>> model = GroupwiseOnlineClassifier(GaussianNB()).fit(X, y, groups=np.hstack([other, ~other]))
    >>> model.group_loss_.round(2), model.estimator_loss_.round(2)
    (array([0.04, 0.08, 0.03]), array([0.13, 0.08, 0.03]))
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["partial_fit", "predict_proba"])],
        "loss": [StrOptions({"brier", "log_loss"})],
        "max_loss": [Interval(Real, 2, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, estimator, *, loss="brier", max_loss=10.0, batch_size=32):
        self.estimator = estimator
        self.loss = loss
        self.max_loss = max_loss
        self.batch_size = batch_size

    # --- learning ----------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, groups=None, sample_weight=None):
        """Forget everything and follow these rows in their order, once.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        groups : array-like of bool, shape (n_samples, n_groups), default=None
            Which groups each row belongs to; they may intersect. None is no group beside all rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        GroupwiseOnlineClassifier
            Itself.
        """
        self._learn(X, y, None, groups, sample_weight, new=True)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X, y, classes=None, groups=None, sample_weight=None):
        """Forecast further rows, then learn them. Parameters are those of the first rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like, default=None
            All classes; needed in the first call if `y` lacks some.
        groups : array-like of bool, shape (n_samples, n_groups), default=None
            Which groups each row belongs to.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        GroupwiseOnlineClassifier
            Itself.
        """
        self._learn(X, y, classes, groups, sample_weight, new=not hasattr(self, "estimators_"))
        return self

    def _learn(self, X, y, classes, groups, sample_weight, new):
        labels = exclusive_target(self, y)
        X = indexable_rows(X)
        check_consistent_length(X, labels)
        awake = self._awake(groups, len(labels), new)
        X, labels, weight, kept = drop_weightless(X, labels, sample_weight, {"awake": awake})
        awake = kept["awake"]
        if new:
            self._begin(labels, classes, awake.shape[1])
        code = self._codes(labels)
        for start in range(0, len(code), self._rule["batch_size"]):
            at = np.arange(start, min(start + self._rule["batch_size"], len(code)))
            rows = _safe_indexing(X, at)
            self._forecast(rows, awake[at], code[at])
            for e, there in enumerate(awake[at].T):
                if not there.any():
                    continue
                if self.estimators_[e] is None:
                    self.estimators_[e] = clone(self._rule["estimator"])
                own = at[there]
                given = {} if weight is None else {"sample_weight": weight[own]}
                self.estimators_[e].partial_fit(
                    _safe_indexing(X, own), labels[own], classes=self.classes_, **given
                )
            self.group_count_ = self.group_count_ + awake[at].sum(0)
            self._counts = self._counts + np.bincount(code[at], minlength=len(self.classes_))
        take_names(self, self.estimators_[0])

    def _begin(self, labels, classes, n):
        known = labels if classes is None else np.concatenate([labels, plain_labels(classes)])
        self.classes_ = np.unique(plain_labels(known))
        if len(self.classes_) < 2:
            raise ValueError(
                f"GroupwiseOnlineClassifier needs at least two classes, the first rows hold only one class: "
                f"{self.classes_.tolist()}. Name all in classes= of partial_fit."
            )
        k, bound = len(self.classes_), self.max_loss
        if self.loss == "log_loss" and bound < 2.0 * np.log(k):
            raise ValueError(
                f"max_loss={bound} leaves no room for {k} classes; raise it above {2 * np.log(k):.2f}."
            )
        self._rule = {
            "estimator": clone(self.estimator),
            "batch_size": self.batch_size,
            "uniform": k * np.exp(-bound) if self.loss == "log_loss" else None,
            "range": bound if self.loss == "log_loss" else 1.0,
        }
        self.n_groups_ = n - 1
        self.estimators_ = [None] * n
        self.group_count_, self._counts = np.zeros(n, int), np.zeros(k)
        self._regret, self._size, self._losses = np.zeros(n), np.zeros(n), np.zeros((3, n))

    def _awake(self, groups, n, new):
        """Truth values (n, 1 + n_groups): the group of all rows first."""
        if groups is None:
            given = np.zeros((n, 0), bool)
        else:
            given = np.asarray(groups)
            if given.ndim != 2 or len(given) != n or not np.isin(given, (0, 1)).all():
                raise ValueError(
                    f"groups must be a matrix of truth values with a line for each of the {n} rows and a column "
                    f"for each group, got {given.dtype} of shape {given.shape}."
                )
        if not new and given.shape[1] != self.n_groups_:
            raise ValueError(
                f"GroupwiseOnlineClassifier was fitted with {self.n_groups_} groups and got {given.shape[1]}; give "
                "groups= with the same columns."
            )
        return np.hstack([np.ones((n, 1), bool), given.astype(bool)])

    def _codes(self, labels):
        code = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        strange = self.classes_[code] != labels
        if strange.any():
            raise ValueError(
                f"GroupwiseOnlineClassifier knows the classes {self.classes_.tolist()} and got "
                f"{np.unique(labels[strange]).tolist()}; name all in the first call by classes=."
            )
        return code

    # --- forecasts ---------------------------------------------------------------------------

    def _said(self, X, awake):
        """Probabilities of the awake learners, (n, m, K), and which of them can speak, (n, m)."""
        said = np.zeros((*awake.shape, len(self.classes_)))
        speaks = awake & np.array([e is not None for e in self.estimators_])
        for e in np.flatnonzero(speaks.any(0)):
            at = np.flatnonzero(speaks[:, e])
            with np.errstate(divide="ignore", invalid="ignore"):  # where a class has not come yet
                said[at, e] = self.estimators_[e].predict_proba(_safe_indexing(X, at))
            if not np.isfinite(said[at, e]).all():
                raise ValueError(
                    f"{self.estimators_[e]!r} gives probabilities that are not finite after "
                    f"{self.group_count_[e]} rows of its group; use another estimator, or a larger batch_size."
                )
        return said, speaks

    def _mixed(self, said, speaks):
        """Forecasts (n, K) by the present weights."""
        silent = ~speaks.any(1)
        if silent.any():
            said = said.copy()
            said[silent, 0] = (self._counts + 1.0) / (self._counts + 1.0).sum()
            speaks = speaks | (silent[:, None] & (np.arange(speaks.shape[1]) == 0))
        shares = shares_of(log_weights(self._regret, self._size), speaks)
        return np.einsum("ne,nek->nk", shares, said)

    def _forecast(self, X, awake, code):
        """Forecast rows one by one and follow the regrets."""
        said, speaks = self._said(X, awake)
        uniform = self._rule["uniform"]
        for row, mask, k in zip(said, speaks, code, strict=True):
            if not mask.any():
                continue
            mixed = self._mixed(row[None], mask[None])[0]
            loss, own = _losses(mixed, k, uniform), _losses(row[mask], k, uniform)
            step = (loss - own) / self._rule["range"]
            self._regret[mask] += step
            self._size[mask] += np.abs(step)
            self._losses[:, mask] += np.stack([np.full_like(own, loss), own, np.ones_like(own)])

    def predict_proba(self, X, groups=None):
        """Class probabilities, mixed by the regrets so far.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        groups : array-like of bool, shape (n_samples, n_groups), default=None
            Which groups each row belongs to; needed if there were groups in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        X = indexable_rows(X)
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        return self._mixed(*self._said(X, self._awake(groups, n, new=False)))

    def predict(self, X, groups=None):
        """The most probable class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        groups : array-like of bool, shape (n_samples, n_groups), default=None
            Which groups each row belongs to; needed if there were groups in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        best = self.predict_proba(X, groups).argmax(1)
        return self.classes_[best]

    @property
    def regret_(self):
        """Loss of the forecasts less that of each learner, in all."""
        check_is_fitted(self, "estimators_")
        return self._regret * self._rule["range"]

    @property
    def weights_(self):
        """Shares of the learners in the forecast of a row of every group."""
        check_is_fitted(self, "estimators_")
        speaks = np.array([[e is not None for e in self.estimators_]])
        return shares_of(log_weights(self._regret, self._size), speaks)[0]

    @property
    def group_loss_(self):
        """Mean loss of the forecasts on each group."""
        return self._mean_losses()[0]

    @property
    def estimator_loss_(self):
        """Mean loss of each group's own learner on it."""
        return self._mean_losses()[1]

    def _mean_losses(self):
        check_is_fitted(self, "estimators_")
        with np.errstate(invalid="ignore"):
            return self._losses[:2] / self._losses[2]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimators_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        tags.classifier_tags.multi_label = False
        return tags


def log_weights(regret, size):
    """Logarithms of AdaNormalHedge's weights of regrets R and their sizes C; minus infinity where R <= -1."""
    top, bottom = (np.maximum(regret + s, 0.0) ** 2 / (3.0 * (size + 1.0)) for s in (1.0, -1.0))
    with np.errstate(divide="ignore"):
        return top + np.log(-np.expm1(bottom - top)) - np.log(2.0)


def shares_of(log_weight, speaks):
    """Shares (n, m) of those who speak; equal ones where all of them have weight zero."""
    found = np.where(speaks, log_weight, -np.inf)
    top = found.max(1, keepdims=True)
    nobody = ~np.isfinite(top)
    found = np.where(nobody, np.where(speaks, 0.0, -np.inf), found - np.where(nobody, 0.0, top))
    shares = np.exp(found)
    return shares / shares.sum(1, keepdims=True)


def _losses(proba, k, uniform):
    """Brier losses of forecasts (..., K) of class k, or log-losses of what is mixed with uniform ones."""
    if uniform is not None:
        return -np.log((1.0 - uniform) * proba[..., k] + uniform / proba.shape[-1])
    return 0.5 * ((proba**2).sum(-1) - 2.0 * proba[..., k] + 1.0)
