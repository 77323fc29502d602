"""Decisions of least expected cost, with costs that may differ from row to row."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metadata_routing import MethodMapping
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimb._core.compat import check_sample_weight
from skimb._core.costs import cost_matrix, cost_tables
from skimb._core.inner import as_given, calibrated, fit_inner, router_of, unfitted
from skimb._core.trained_prior import Rows, UnknownPrior, seen_shares
from skimb._core.validation import (
    exclusive_target,
    indexable_rows,
    routed_params,
    several_classes,
    take_names,
)
from skimb._core.warn import warn_user
from skimb.metrics import review_list
from skimb.posthoc._held_out import class_probabilities

_OFF = (
    1.5  # factor between odds of training and of the rows from which probabilities are called wrong
)
_TIE = 1e-12


class CostRuleClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Decide for the class of least expected cost.

    With probabilities :math:`p_k(x)` and costs :math:`c_{kd}` of deciding for d where k is true,

    .. math:: \arg\min_d\sum_kp_k(x)\,c_{kd}.

    Nothing is tuned: where the probabilities are right no other rule costs less, and costs may change after the
    training and from row to row. For two classes it decides for the positive one where
    :math:`p\,(c_\mathrm{fn}-c_\mathrm{tp})\ge(1-p)\,(c_\mathrm{fp}-c_\mathrm{tn})`.

    Parameters
    ----------
    estimator : classifier
        A classifier with honest `predict_proba`. In a ``FrozenEstimator`` a fitted one stays as it is.
    cost : array-like of shape (n_classes, n_classes), default=None
        Costs of all rows to which `predict` gets none of their own, true class by decided class, in the order of
        ``classes_``. None lets every error cost 1.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    cost_ : ndarray of shape (n_classes, n_classes)
        The costs.

    Raises
    ------
    ValueError
        If costs are not finite or their shape does not fit, or the classifier gives no probabilities.

    Warns
    -----
    UserWarning
        If the classifier's loss does not give probabilities, or class weights or resampling have moved them.

    See Also
    --------
    skimb.model_selection.TunedThresholdClassifierCV : Tunes a threshold to costs, for scores that are no
    probabilities.
    skimb.metrics.savings_score : What decisions save.

    Notes
    -----
    Of equal expected costs the positive class of two is decided, unless both decisions cost the same whatever is
    true; then, and with more classes, the most probable one. A constant added to a row of the matrix changes
    nothing.

    References
    ----------
    Elkan 2001, The foundations of cost-sensitive learning, IJCAI.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.posthoc import CostRuleClassifier
    >>> X, y = make_classification(2000, weights=[0.95], random_state=0)
    >>> model = CostRuleClassifier(LogisticRegression(), cost=[[0, 1], [20, 0]]).fit(X, y)
    >>> int(model.predict(X).sum()) > int(model.estimator_.predict(X).sum())
    True

    Amounts at stake make the costs of each row: checking costs 5, a fraud that is missed its amount.

    >>> import numpy as np
    >>> amount = np.array([4.0, 40.0, 400.0])
    >>> costs = np.column_stack([np.full(3, 5.0), amount, np.full(3, 5.0), np.zeros(3)])  # fp, fn, tp, tn
    >>> doubtful = X[[np.abs(model.predict_proba(X)[:, 1] - 0.05).argmin()] * 3]  # probability 0.05
    >>> model.predict(doubtful, cost=costs).tolist()
    [0, 0, 1]
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "cost": ["array-like", None],
    }

    def __init__(self, estimator, *, cost=None):
        self.estimator = estimator
        self.cost = cost

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **params):
        """Fit the classifier; costs play no part in that.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows.
        **params : dict
            Metadata for the classifier's fit, with metadata routing enabled.

        Returns
        -------
        CostRuleClassifier
            Itself.
        """
        labels = exclusive_target(self, y)
        X = indexable_rows(X)
        check_consistent_length(X, labels)
        several_classes(self, labels)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        (given,) = routed_params(self, params, "estimator.fit")
        model = fit_inner(unfitted(self.estimator), X, as_given(y, labels), sample_weight, **given)
        self.estimator_, self.classes_ = model, np.sort(np.asarray(model.classes_))
        foreign = np.setdiff1d(labels, self.classes_).tolist()
        if foreign:
            raise ValueError(
                f"y holds the labels {foreign[:10]}, which {self.estimator!r} was not fitted to; it knows "
                f"{self.classes_.tolist()}."
            )
        width = len(self.classes_)
        self.cost_ = (
            1.0 - np.eye(width) if self.cost is None else cost_matrix(self.cost, self.classes_)
        )
        self._check_honest(Rows(lambda: X, labels, sample_weight, self.classes_))
        take_names(self, model)
        return self

    def _check_honest(self, rows):
        """Warn of probabilities that are not meant to be those of the population."""
        if not calibrated(self.estimator_):
            warn_user(
                f"{type(self).__name__} needs probabilities, which {self.estimator!r} does not give, by its loss; "
                "calibrate it (CalibratedClassifierCV), or tune a threshold to the costs "
                "(TunedThresholdClassifierCV)."
            )
            return
        try:
            trained = seen_shares(self.estimator_, rows)
        except UnknownPrior:  # nothing speaks against it
            return
        natural = rows.shares()
        moved = np.abs(np.log(trained / natural) - np.log((1.0 - trained) / (1.0 - natural)))
        if moved.max() > np.log(_OFF):
            warn_user(
                f"{type(self).__name__} needs probabilities of the population, but class weights or resampling in "
                f"{self.estimator!r} train it on the shares {trained.round(4).tolist()} of "
                f"{self.classes_.tolist()} instead of {natural.round(4).tolist()}; wrap it in a "
                "PriorCorrectedClassifier."
            )

    def predict_proba(self, X):
        """Probabilities of the classifier.

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
        return class_probabilities(self.estimator_, X, self.classes_)

    def predict(self, X, cost=None):
        """The class of least expected cost.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        cost : array-like of shape (n_classes, n_classes), (n_samples, n_classes, n_classes) or, for two classes,
        (n_samples, 4)
            Costs of these rows, true class by decided class; four columns are those of a false positive, a false
            negative, a true positive and a true negative. None takes ``cost_``. Metadata: within a pipeline call
            ``set_predict_request(cost=True)`` with routing enabled.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        proba = self.predict_proba(X)
        return self.classes_[least_cost(proba, self._tables(cost, len(proba)))]

    def expected_costs(self, X, cost=None):
        """Expected cost of each decision.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        cost : array-like, default=None
            Costs as in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Costs of deciding for each class.
        """
        proba = self.predict_proba(X)
        return expected_costs(proba, self._tables(cost, len(proba)))

    def review(
        self, X, budget, *, cost=None, groups=None, ties="share", tie_break=None, random_state=None
    ):
        """The rows of largest expected gain that fit into a budget; two classes only.

        `predict` decides row by row; here rows compete, and those that save nothing are left out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of one or several batches.
        budget : int in [0, inf), float in [0, 1], or dict of them by group
            Rows that can be decided as positive, or their share, of each group.
        cost : array-like, default=None
            Costs as in :meth:`predict`.
        groups : array-like of shape (n_samples,), default=None
            Batches of the rows, each with its own budget.
        ties : {"share", "none", "all", "random"}, default="share"
            What becomes of equal gains at the end of the budget, as in :func:`~skimb.metrics.review_list`.
        tie_break : array-like of shape (n_samples,), default=None
            What orders rows of equal gain, highest first.
        random_state : int, RandomState instance or None, default=None
            Of the draw for ``ties="random"``.

        Returns
        -------
        ndarray of shape (n_samples,)
            Whether each row is to be reviewed, or for ``ties="share"`` the probability of it.
        """
        proba = self.predict_proba(X)
        if proba.shape[1] != 2:
            raise ValueError(
                f"{type(self).__name__}.review needs two classes, there are {self.classes_.tolist()}; rank the "
                "rows by expected_costs instead."
            )
        return review_list(
            proba[:, 1],
            budget,
            cost=self.cost_ if cost is None else cost,
            groups=groups,
            ties=ties,
            tie_break=tie_break,
            random_state=random_state,
        )

    def _tables(self, cost, n):
        return self.cost_[None] if cost is None else cost_tables(cost, n, len(self.classes_))

    def get_metadata_routing(self):
        """Where metadata go: to the classifier's ``fit``; costs are for `predict` here.

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


def expected_costs(proba, tables):
    """Expected costs (n, C) of decisions from probabilities (n, C) and costs (1 or n, C, C)."""
    if len(tables) == 1:
        return proba @ tables[0]
    return np.einsum("nk,nkd->nd", proba, tables)


def least_cost(proba, tables):
    """Numbers of the classes of least expected cost."""
    if proba.shape[1] == 2:
        by_miss = tables[:, 1, 0] - tables[:, 1, 1]
        by_alarm = tables[:, 0, 1] - tables[:, 0, 0]
        flagged = proba[:, 1] * by_miss >= proba[:, 0] * by_alarm
        same = (by_miss == 0) & (by_alarm == 0)
        return np.where(same, proba[:, 1] >= proba[:, 0], flagged).astype(int)
    costs = expected_costs(proba, tables)
    near = costs <= costs.min(1, keepdims=True) + _TIE * np.abs(costs).max(1, keepdims=True)
    return np.where(near, proba, -1.0).argmax(1)
