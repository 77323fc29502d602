"""Rare events at the end of a chain of commoner stages."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.compat import check_sample_weight, compute_class_weight
from skimb._core.priors import checked_class_weight
from skimb._core.validation import plain_labels
from skimb._core.warn import warn_user
from skimb.linear_model._presto_solver import (
    Penalty,
    Problem,
    crossings,
    cumulative_probabilities,
    descend,
    largest_lambda,
    null_model,
)

CONSTRAINTS = {
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "penalize_first": ["boolean"],
    "penalty_factors": ["array-like", None],
    "standardize": ["boolean"],
    "class_order": ["array-like", None],
    "class_weight": [StrOptions({"balanced"}), dict, None],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "crossing": [StrOptions({"clip", "warn", "error"})],
    "decision": [StrOptions({"mode", "median", "expected"})],
}


class OrderedLogits(ClassifierMixin, BaseEstimator):
    """What both classifiers share: preparation, the model, predictions."""

    def _order(self, y):
        """Class labels from common to rare."""
        if self.class_order is not None:
            order = np.asarray(plain_labels(self.class_order, "class_order"))
            if len(np.unique(order)) != len(order):
                raise ValueError(f"class_order={self.class_order!r} names a class twice.")
            return order
        if getattr(y, "ndim", 1) == 2 and hasattr(y, "iloc") and y.shape[1] == 1:
            y = y.iloc[:, 0]
        dtype = getattr(y, "dtype", None)
        if getattr(dtype, "ordered", False):  # a pandas categorical
            present = set(np.unique(np.asarray(y)).tolist())
            return np.asarray([c for c in dtype.categories.tolist() if c in present])
        return None

    def _prepared(self, X, y, sample_weight):
        """Validated rows, class codes (-1 for classes without weight) and weights."""
        order, y = self._order(y), plain_labels(y)
        X, labels = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.float64, multi_output=False
        )
        check_classification_targets(labels)
        weight = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.any():
            raise ValueError("All sample weights are 0, no rows are left.")
        used = weight > 0
        seen = np.unique(labels[used])
        order = seen if order is None else order
        if len(order) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, y holds only one class: {seen.tolist()}."
            )
        code = np.full(len(labels), -1)
        for k, label in enumerate(order.tolist()):
            code[labels == label] = k
        if (code[used] < 0).any():
            raise ValueError(
                f"class_order={self.class_order!r} lacks the classes {np.unique(labels[code < 0]).tolist()} "
                "of y."
            )
        absent = np.setdiff1d(np.arange(len(order)), code[used])
        if len(absent):
            raise ValueError(
                f"The classes {order[absent].tolist()} of class_order have no rows in y; without "
                "them their boundaries are not defined."
            )
        if isinstance(self.class_weight, dict):
            weight = weight * checked_class_weight(self.class_weight, order.tolist())[code]
        elif self.class_weight is not None:
            given = compute_class_weight(
                self.class_weight, classes=order, y=labels[used], sample_weight=weight[used]
            )
            weight = weight * given[code]
        self._keep(order)
        return X, code, weight

    def _keep(self, order):
        """The classes, and what predictions depend on: it stays as it was in `fit`."""
        self.class_order_, self.classes_ = order, np.sort(order)
        self._stage = np.argsort(order)  # of each of the sorted classes
        self._crossing, self._decision = self.crossing, self.decision

    def _problem(self, X, code, weight):
        """The likelihood of the rows that have weight."""
        used = np.flatnonzero(weight > 0)
        if len(used) < len(weight):
            X, code, weight = X[used], code[used], weight[used]
        return Problem(X, code, len(self.classes_), weight, self.standardize)

    def _factor(self, p):
        """Penalty factor of every difference, (p, K-1)."""
        factor = np.ones(p)
        if self.penalty_factors is not None:
            factor = np.asarray(self.penalty_factors, float)
            if factor.shape != (p,) or not np.isfinite(factor).all() or (factor < 0).any():
                raise ValueError(
                    f"penalty_factors={self.penalty_factors!r} must hold {p} finite numbers of at least 0, one per "
                    "feature."
                )
        factor = np.repeat(factor[:, None], len(self.classes_) - 1, axis=1)
        if not self.penalize_first:
            factor[:, 0] = 0.0
        return factor

    def _adopt(self, problem, alpha, psi, X):
        """Keep a solution on the scale of the given columns."""
        self.intercept_, self.coef_, self.coef_diff_ = problem.original(alpha, psi)
        self.n_crossings_ = crossings(self._logits(X))

    def _logits(self, X):
        product = X @ self.coef_.T
        return np.asarray(product) + self.intercept_

    def cumulative_logits(self, X):
        r"""Logits :math:`\eta_k=\alpha_k+\beta_k^\top x` of being in one of the first k classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes - 1)
            Logits, before crossing ones are mended.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return self._logits(X)

    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``, which is sorted; :meth:`rare_proba` is the column of the
            last class of ``class_order_``.

        Raises
        ------
        ValueError
            With ``crossing="error"``, if boundaries cross in a row.
        """
        return self._stages(X)[:, self._stage]

    def _stages(self, X):
        """Probabilities of the classes from common to rare."""
        eta = self.cumulative_logits(X)
        crossed = crossings(eta)
        if crossed and self._crossing != "clip":
            text = (
                f"Boundaries cross in {crossed} of {len(eta)} rows, where a class between them has a negative "
                "probability; raise lam or remove outliers, or accept 0 for it with crossing='clip'."
            )
            if self._crossing == "error":
                raise ValueError(text)
            warn_user(text)
        return cumulative_probabilities(eta)

    def rare_proba(self, X):
        """Probability of the rare event, the last class of ``class_order_``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Probabilities.
        """
        return self._stages(X)[:, -1]

    def predict(self, X):
        """The most probable, the median or the class nearest to the expected one, as `decision` says.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        proba = self._stages(X)
        if self._decision == "mode":
            at = proba.argmax(1)
        elif self._decision == "median":
            at = (proba.cumsum(1) < 0.5).sum(1)
        else:
            at = np.rint(proba @ np.arange(proba.shape[1])).astype(int)
        return self.class_order_[np.minimum(at, len(self.class_order_) - 1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.poor_score = True  # the order of labels need not mean anything
        return tags


class PrestoClassifier(OrderedLogits):
    r"""Rare events at the end of ordered stages, by cumulative logits shrunk towards proportional odds.

    .. math:: P(y\le k\mid x)=\sigma(\alpha_k+\beta_k^\top x),\qquad
        \min_{\alpha,\beta}\ -\frac1{\sum w}\sum_i w_i\log p_{y_i}(x_i)
        +\lambda\sum_{k}\sum_j f_j\left[a|\psi_{jk}|+\tfrac{1-a}2\psi_{jk}^2\right]

    with :math:`\psi_1=\beta_1`, :math:`\psi_k=\beta_k-\beta_{k-1}`. The boundaries between commoner
    stages lend the rare one what they know. It gains over logistic regression of the rare class if the stages are
    ordered and informative, most with few rare rows.

    Parameters
    ----------
    lam : float in [0, inf), default=0.01
        Strength :math:`\lambda`; :class:`PrestoClassifierCV` finds it.
    l1_ratio : float in [0, 1], default=1.0
        Share :math:`a` of the L1 part.
    penalize_first : bool, default=True
        Whether the first boundary's vector is penalised. If not, strong penalties give proportional odds.
    penalty_factors : array-like of shape (n_features,), default=None
        Factors :math:`f_j\ge 0`; 0 leaves a feature free.
    standardize : bool, default=True
        Whether the penalty acts on features divided by their standard deviation. Coefficients are those of the
        given features either way.
    class_order : array-like of labels, default=None
        Classes from common to rare. None takes the order of an ordered pandas categorical, else of the sorted
        labels; never that of frequencies.
    class_weight : "balanced", dict or None, default=None
        Positive weights of classes. They take probabilities out of calibration.
    max_iter : int in [1, inf), default=5000
        Most iterations.
    tol : float in [0, inf), default=1e-8
        Relative decrease of the objective at which to stop.
    crossing : {"clip", "warn", "error"}, default="clip"
        What to do where boundaries cross in new rows: the class between them gets probability 0, quietly, with a
        warning, or not at all.
    decision : {"mode", "median", "expected"}, default="mode"
        What ``predict`` returns: the most probable class, the median one, or the one nearest to the mean rank.
    warm_start : bool, default=False
        Whether ``fit`` starts from the present solution.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted, as scikit-learn's scorers expect it.
    class_order_ : ndarray of shape (n_classes,)
        Labels from common to rare, the order of the boundaries.
    intercept_ : ndarray of shape (n_classes - 1,)
        :math:`\alpha`.
    coef_ : ndarray of shape (n_classes - 1, n_features)
        :math:`\beta`.
    coef_diff_ : ndarray of shape (n_classes - 1, n_features)
        :math:`\psi`.
    lam_ : float
        The strength.
    lam_max_ : float
        Least strength that leaves no penalised difference.
    n_iter_ : int
        Iterations.
    n_crossings_ : int
        Training rows in which boundaries cross.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If there is one class only, `class_order` and the labels differ, or a class weight is not positive: a class
        without weight has no boundary.

    Notes
    -----
    The objective is infinite only where a row's own class has no probability. The authors' R code makes it infinite
    where any class of any training row has none, a wall at which first-order methods stick. That code also mixes up
    cumulated and single differences when it undoes the standardisation and when it predicts inside its
    cross-validation; this does not. Solved by accelerated proximal gradient with a step per boundary instead of
    coordinate descent; sparse rows are centred in effect only. The rare class must be the last one: with the first
    vector penalised, reversing the order gives another model. There is no ``decision_function``: scikit-learn
    expects one column per class there; see :meth:`cumulative_logits`.

    References
    ----------
    Faletto and Bien 2023, arXiv:2302.11599.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.linear_model import PrestoClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (1000, 3))
    >>> p = 1 / (1 + np.exp(-(X[:, :1] + np.array([0.0, 3.0]))))
    >>> y = np.array(["seen", "clicked", "bought"])[(rng.random((1000, 1)) > p).sum(1)]
    >>> model = PrestoClassifier(class_order=["seen", "clicked", "bought"]).fit(X, y)
    >>> bool(abs(model.rare_proba(X).mean() - (y == "bought").mean()) < 0.01)
    True
    >>> model.classes_.tolist(), model.class_order_.tolist()
    (['bought', 'clicked', 'seen'], ['seen', 'clicked', 'bought'])
    """

    _parameter_constraints = {
        **CONSTRAINTS,
        "lam": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        lam=0.01,
        *,
        l1_ratio=1.0,
        penalize_first=True,
        penalty_factors=None,
        standardize=True,
        class_order=None,
        class_weight=None,
        max_iter=5000,
        tol=1e-8,
        crossing="clip",
        decision="mode",
        warm_start=False,
    ):
        self.lam = lam
        self.l1_ratio = l1_ratio
        self.penalize_first = penalize_first
        self.penalty_factors = penalty_factors
        self.standardize = standardize
        self.class_order = class_order
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol
        self.crossing = crossing
        self.decision = decision
        self.warm_start = warm_start

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer repeats a row.

        Returns
        -------
        PrestoClassifier
            Itself.
        """
        before = (
            (self.intercept_, self.coef_) if self.warm_start and hasattr(self, "coef_") else None
        )
        X, code, weight = self._prepared(X, y, sample_weight)
        problem = self._problem(X, code, weight)
        factor = self._factor(X.shape[1])
        start = null_model(problem, factor, self.tol, self.max_iter)
        self.lam_max_ = largest_lambda(problem, self.l1_ratio, factor, *start)
        if before is not None and before[1].shape == (len(self.classes_) - 1, X.shape[1]):
            again = problem.standardised(*before)
            if np.isfinite(problem.value(*again)):
                start = again
        penalty = Penalty(self.lam, self.l1_ratio, factor)
        alpha, psi, self.n_iter_, done = descend(problem, penalty, *start, self.tol, self.max_iter)
        if not done:
            warn_user(
                f"Not converged after max_iter={self.max_iter} iterations; raise max_iter or lam.",
                ConvergenceWarning,
            )
        self.lam_ = float(self.lam)
        self._adopt(problem, alpha, psi, X)
        return self
