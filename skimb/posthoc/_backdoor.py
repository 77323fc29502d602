"""Classifiers on several views pooled, with one logit adjustment."""

from numbers import Real

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimb._core.compat import check_sample_weight
from skimb._core.inner import as_given, fit_inner
from skimb._core.validation import exclusive_target, indexable_rows, several_classes, take_names
from skimb.posthoc._rescored import log_probabilities, margins_of
from skimb.posthoc._shares import given_shares, population_shares


class BackdoorAdjuster(ClassifierMixin, _BaseComposition):
    r"""Pool the logits of classifiers on several views, and adjust them once.

    .. math:: \hat y(x)=\arg\max_k\;\sum_m v_m\log p_{mk}(x)-\tau\log\pi_k

    The authors sum over foundation models, as values of an unseen factor that confounds rows and labels; what the
    sum does is to pool an ensemble whose members read different features.

    Parameters
    ----------
    estimators : list of (str, classifier)
        Members by name, each with `predict_proba`: pipelines that read different columns or make different
        features of the same rows. One in a ``FrozenEstimator`` is taken as it is.
    weights : "uniform", "nll" or array-like of shape (n_members,), default="uniform"
        Weights :math:`v`, which sum to 1. "nll" takes those with the least log-loss of the pooled probabilities out
        of fold.
    tau : float, default=1.0
        Strength of the adjustment; 0 makes none.
    prior : array-like of shape (n_classes,) or dict, default=None
        Label distribution :math:`\pi` that the probabilities refer to; None takes that of `y` in `fit`.
    cv : int, splitter or iterable, default=None
        Folds of "nll"; None is five. Where all members are frozen the rows given to `fit` are scored.

    Attributes
    ----------
    estimators_ : list of classifiers
        Fitted members.
    weights_ : ndarray of shape (n_members,)
        Their weights.
    prior_ : ndarray of shape (n_classes,)
        Label distribution.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X, where the first member tells them.

    Raises
    ------
    ValueError
        If there is no member, a member lacks `predict_proba` or a class, or weights or `prior` do not fit.

    Notes
    -----
    ``predict_proba`` is the pooled probability :math:`\propto\prod_m p_{mk}^{v_m}` in the population, without the
    adjustment. Compare with as many seeds of one view: in our runs most of the gain is that of any ensemble.

    References
    ----------
    Chen et al. 2025, arXiv:2501.15955.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skimb.posthoc import BackdoorAdjuster
    >>> X, y = make_classification(500, weights=[0.9], random_state=0)
    >>> model = BackdoorAdjuster([("line", LogisticRegression()), ("bayes", GaussianNB())]).fit(X, y)
    >>> model.weights_.tolist(), model.predict_proba(X).shape
    ([0.5, 0.5], (500, 2))
    """

    _parameter_constraints = {
        "estimators": [list],
        "weights": [StrOptions({"uniform", "nll"}), "array-like"],
        "tau": [Interval(Real, None, None, closed="neither")],
        "prior": ["array-like", dict, None],
        "cv": ["cv_object"],
    }

    def __init__(self, estimators, *, weights="uniform", tau=1.0, prior=None, cv=None):
        self.estimators = estimators
        self.weights = weights
        self.tau = tau
        self.prior = prior
        self.cv = cv

    def get_params(self, deep=True):
        """Parameters, with those of the members by their names.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list those of the members.

        Returns
        -------
        dict
            Names and values.
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params):
        """Set parameters, also of members, or members themselves.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        BackdoorAdjuster
            Itself.
        """
        self._set_params("estimators", **params)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the members and find their weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or n_samples documents
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows.

        Returns
        -------
        BackdoorAdjuster
            Itself.
        """
        if not self.estimators:
            raise ValueError(
                "BackdoorAdjuster: estimators=[] holds no member; list pairs (name, classifier)."
            )
        self._validate_names([name for name, _ in self.estimators])
        lacking = [name for name, member in self.estimators if not hasattr(member, "predict_proba")]
        if lacking:
            raise ValueError(
                f"The member {lacking[0]!r} has no predict_proba; put it into a CalibratedClassifierCV."
            )
        labels = exclusive_target(self, y)
        X = indexable_rows(X)
        check_consistent_length(X, labels)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        self.classes_, code = several_classes(self, labels)
        given = given_shares(self.classes_, "prior", self.prior)
        population = population_shares(self.classes_, labels, sample_weight)
        self.prior_ = population if given is None else given
        self._offset = self.tau * np.log(self.prior_)
        y = as_given(y, labels)
        self.weights_ = self._member_weights(X, y, code, sample_weight)
        self.estimators_ = [_fitted(m, X, y, sample_weight) for _, m in self.estimators]
        for name, model in zip(dict(self.estimators), self.estimators_, strict=True):
            if set(np.asarray(model.classes_).tolist()) != set(self.classes_.tolist()):
                raise ValueError(
                    f"The member {name!r} knows the classes {np.sort(model.classes_).tolist()}, y holds "
                    f"{self.classes_.tolist()}."
                )
        take_names(self, self.estimators_[0])
        return self

    def _member_weights(self, X, y, code, weight):
        n = len(self.estimators)
        if isinstance(self.weights, str):
            if self.weights == "uniform" or n == 1:
                return np.full(n, 1.0 / n)
            return _least_log_loss(self._out_of_fold(X, y, code, weight), code, weight)
        found = np.asarray(self.weights, float)
        if (
            found.shape != (n,)
            or not np.isfinite(found).all()
            or (found < 0).any()
            or not found.any()
        ):
            raise ValueError(
                f"weights={self.weights!r} must hold a non-negative number for each of {n} members, not all 0."
            )
        return found / found.sum()

    def _out_of_fold(self, X, y, code, weight):
        """Logarithms of probabilities (members, n, C), nan for rows that no fold tests."""
        found = np.full((len(self.estimators), len(code), len(self.classes_)), np.nan)
        for m, (_, member) in enumerate(self.estimators):
            if isinstance(member, FrozenEstimator):
                found[m] = self._logs(member, X)
                continue
            for train, test in check_cv(self.cv, code, classifier=True).split(X, code):
                own = None if weight is None else weight[train]
                model = _fitted(member, _safe_indexing(X, train), _safe_indexing(y, train), own)
                found[m, test] = self._logs(model, _safe_indexing(X, test))
        return found

    def _logs(self, model, X):
        """Logarithms of a member's probabilities (n, C); classes that it lacks have the least."""
        logs = log_probabilities(model, X)
        found = np.full((len(logs), len(self.classes_)), logs.min())
        found[:, np.searchsorted(self.classes_, model.classes_)] = logs
        return found

    def _pooled(self, X):
        check_is_fitted(self)
        logs = [self._logs(model, X) for model in self.estimators_]
        return np.tensordot(self.weights_, logs, 1)

    def decision_function(self, X):
        """Pooled and adjusted scores, whose argmax, or sign, is the decision.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores.
        """
        pooled = self._pooled(X)
        return margins_of(pooled - self._offset)

    def predict(self, X):
        """Decide by the pooled and adjusted scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        pooled = self._pooled(X)
        return self.classes_[(pooled - self._offset).argmax(1)]

    def predict_proba(self, X):
        """Pooled probabilities, without the adjustment.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        return softmax(self._pooled(X), axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [get_tags(member).input_tags for _, member in self.estimators]
        tags.input_tags.sparse = all(own.sparse for own in inner)
        tags.input_tags.allow_nan = all(own.allow_nan for own in inner)
        return tags


def _fitted(member, X, y, weight):
    if isinstance(member, FrozenEstimator):
        check_is_fitted(member)
        return member
    return fit_inner(clone(member), X, y, weight)


def _least_log_loss(logs, code, weight):
    """Weights of the simplex with the least log-loss of pooled probabilities, a convex problem."""
    tested = np.isfinite(logs).all((0, 2))
    logs, code = logs[:, tested], code[tested]
    w = np.ones(len(code)) if weight is None else weight[tested]
    w, rows = w / w.sum(), np.arange(len(code))

    def objective(v):
        pooled = log_softmax(np.tensordot(v, logs, 1), axis=1)
        slope = (np.exp(pooled) * logs).sum(2) - logs[:, rows, code]
        return -w @ pooled[rows, code], slope @ w

    n = len(logs)
    found = minimize(
        objective, np.full(n, 1.0 / n), jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * n,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1.0, "jac": np.ones_like},
    )  # fmt: skip
    v = found.x.clip(0.0)
    return v / v.sum()
