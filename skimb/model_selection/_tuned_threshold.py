"""Decision thresholds tuned by cross-validation for any classifier."""

from numbers import Integral

import numpy as np
from sklearn.base import _fit_context
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch, indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.metadata_routing import MethodMapping, _routing_enabled, process_routing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

from skimb._core.compat import check_sample_weight
from skimb._core.costs import cost_matrix
from skimb._core.inner import declines_weights, router_of, unfitted, weight_params
from skimb._core.validation import row_costs, take_names
from skimb.model_selection._bulk import bulk_score
from skimb.model_selection._cross_tuned import CrossTuned
from skimb.model_selection._decisions import (
    CalledDecisions,
    CostDecisions,
    CountDecisions,
    check_positive,
    ordered,
    positive_of,
    warn_if_common,
    warn_if_trivial,
    with_positive,
)
from skimb.model_selection._fixed_threshold import ThresholdDecisions
from skimb.model_selection._responses import fold_scores, response_of, target_of


class TunedThresholdClassifierCV(ThresholdDecisions):
    r"""Tune decision thresholds of any classifier by cross-validation.

    The classifier predicts every row out of fold; the thresholds that maximise a metric on these
    predictions, over all unique probabilities, decide from then on. Two classes: the positive one where its
    probability is at least :math:`t`. More classes: :math:`\arg\max_k p_k/t_k`. Labels: each one where its
    probability is at least :math:`t_k`. Scores of ``decision_function`` serve where there are no
    probabilities; more classes then take :math:`\arg\max_k s_k-t_k`.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba` or `decision_function`.
    scoring : str or callable, default="balanced_accuracy"
        What to maximise. Metrics of counts (F-scores, Jaccard, precision, recall, balanced accuracy,
        accuracy, Matthews, kappa, geometric mean) are scanned at once for two classes, more classes and
        (F-scores, Jaccard, precision, recall) labels. Any other scorer of decisions is called, for two classes,
        with the rows and a classifier that answers the decisions.
    cost : array-like of shape (n_classes, n_classes), default=None
        Costs of true class by decided class, non-negative or not; the mean cost is minimised in place of
        `scoring`.
    cv : int, splitter or iterable, default=None
        Folds of the predictions; 5 stratified ones by default. Rows may be in several folds or in none.
    n_jobs : int, default=None
        Fits at a time; in a block of ``batched_fits`` they are one population.
    pos_label : int, float, bool or str, default=None
        The positive one of two classes: its score is compared with the threshold, and metrics of one class (f1,
        precision, recall, jaccard) that name none count it. None takes the scorer's, else the second.
    response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
        Where scores come from; "auto" takes probabilities where there are some.
    thresholds : int, default=100
        Largest number of thresholds that are tried per rule with a scorer that has to be called; None tries
        all. Metrics of counts and costs are scanned over all of them in any case.

    Attributes
    ----------
    estimator_ : estimator
        The classifier, fitted to all rows.
    threshold_ : float or ndarray of shape (n_classes,) or (n_labels,)
        The rule: a number for two classes, one per class (summing to 1) or label otherwise.
    thresholds_ : ndarray of shape (n_folds, ...)
        The rules that the predictions of all other folds suggest, by fold: their spread says how well
        the threshold is known. Rows that are in the fold too do not count.
    scores_ : ndarray of shape (n_folds,)
        The metric (or minus the mean cost) of each fold under the rule of the others: an honest estimate; nan
        where no other rows are left, as with a single split.
    best_score_ : float
        Mean of ``scores_``.
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    Raises
    ------
    ValueError
        If the metric cannot be tuned on this kind of target, costs or `pos_label` do not fit it, or the
        training rows of a fold lack classes.

    Warns
    -----
    UserWarning
        If the metric looks at one kind of error only (recall, precision), if a scorer that is called is best
        where all rows are decided alike, and if the positive class is the common one and nobody named it.

    Notes
    -----
    scikit-learn's class of this name takes two classes, scans a grid of thresholds on each fold and
    averages the curves; this one pools the out-of-fold predictions and tries every unique value. The maximum
    is exact for two classes and for metrics that are means over labels, coordinate-wise otherwise.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.model_selection import TunedThresholdClassifierCV
    >>> X, y = make_classification(500, weights=[0.9], random_state=0)
    >>> model = TunedThresholdClassifierCV(LogisticRegression(), scoring="f1").fit(X, y)
    >>> 0 < model.threshold_ < 1
    True
    """

    _parameter_constraints = {
        **ThresholdDecisions._parameter_constraints,
        "scoring": [str, callable],
        "cost": ["array-like", None],
        "cv": ["cv_object"],
        "n_jobs": [None, int],
        "thresholds": [Interval(Integral, 2, None, closed="left"), None],
    }

    def __init__(
        self,
        estimator,
        *,
        scoring="balanced_accuracy",
        cost=None,
        cv=None,
        n_jobs=None,
        pos_label=None,
        response_method="auto",
        thresholds=100,
    ):
        self.estimator = estimator
        self.scoring = scoring
        self.cost = cost
        self.cv = cv
        self.n_jobs = n_jobs
        self.pos_label = pos_label
        self.response_method = response_method
        self.thresholds = thresholds

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, cost=None, **params):
        """Predict out of fold, tune, and fit the classifier to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_labels)
            Labels; the classifier is fitted to them as they are.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows in the classifier's fit (of a pipeline: in its last step) and in the
            metric, if it takes some.
        cost : array-like of shape (n_samples, n_classes), default=None
            Costs of deciding for each class in each row, in place of the matrix; for two classes also four
            columns: of a false positive, a false negative, a true positive and a true negative.
        **params : dict
            ``groups`` for the splitter and parameters of the classifier's fit; with metadata routing
            what was requested.

        Returns
        -------
        TunedThresholdClassifierCV
            Itself.
        """
        y, labels, multilabel = target_of(self, y)
        X, y = indexable(X, y)
        self._multilabel = multilabel
        self.classes_ = np.arange(labels.shape[1]) if multilabel else np.unique(labels)
        if len(self.classes_) < 2 and not multilabel:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, y holds only one class: "
                f"{self.classes_.tolist()}."
            )
        check_positive("pos_label", self.pos_label, self.classes_, multilabel)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        routed = self._routed(_check_method_params(X, params=params))
        fit_params = {**routed.estimator.fit, **weight_params(self.estimator, sample_weight)}
        scorer = self._scorer()
        positive, told = positive_of(scorer) if self.pos_label is None else (self.pos_label, True)
        self._order = self.classes_ if multilabel else ordered(self.classes_, positive)
        code = labels
        if not multilabel:
            code = np.argsort(self._order)[np.searchsorted(self.classes_, labels)]
        costs = self._costs(cost, code)
        weight = None if costs is None and declines_weights(scorer) else sample_weight
        decisions = self._decisions(scorer, X, y, code, costs, weight, routed.scorer.score)
        if costs is None and not told and positive is not None and len(self.classes_) == 2:
            warn_if_common(f"scoring={self.scoring!r}", self._order, code)
        splitter = check_cv(self.cv, labels, classifier=True)
        splits = list(splitter.split(X, y, **routed.splitter.split))
        response = self._response = response_of(self.estimator, self.response_method)
        how = {"response": response, "classes": self._order, "multilabel": multilabel}
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(fold_scores)(unfitted(self.estimator), X, y, train, test, j, fit_params=fit_params, **how)
            for j, (train, test) in enumerate(splits)
        )  # fmt: skip
        tests = [np.arange(len(labels))[test] for _, test in splits]
        tuned = CrossTuned(decisions, tests, multilabel, self._additive)
        tuned.add(0, parts)
        self.threshold_, self.thresholds_ = tuned.pooled[0], tuned.rules[0]
        self._rule = np.copy(self.threshold_)[()]
        self.scores_ = tuned.scores[0]
        self.best_score_ = float(self.scores_.mean())
        if costs is None:
            decided = tuned.decided(np.concatenate(parts), self._rule)
            metric = getattr(getattr(decisions, "bulk", None), "function", None)
            warn_if_trivial(f"scoring={self.scoring!r}", metric, self._order, decided, self._rule)
        self.estimator_ = unfitted(self.estimator).fit(X, y, **fit_params)
        take_names(self, self.estimator_)
        return self

    def _routed(self, params):
        """Parameters of the classifier's fit, of the splitter and of the scorer."""
        if _routing_enabled():
            return process_routing(self, "fit", **params)
        groups = params.pop("groups", None)
        return Bunch(
            estimator=Bunch(fit=params),
            splitter=Bunch(split={} if groups is None else {"groups": groups}),
            scorer=Bunch(score={}),
        )

    def _scorer(self):
        return with_positive(check_scoring(self.estimator, self.scoring), self.pos_label)

    def _costs(self, cost, code):
        """Costs of each row (n, C), or None."""
        if cost is None and self.cost is None:
            return None
        if self._multilabel:
            raise ValueError(
                "Costs are for exclusive classes; a multi-label y takes a metric (scoring=)."
            )
        n, width = len(code), len(self.classes_)
        if cost is None:
            matrix = cost_matrix(self.cost, self.classes_)
            place = np.searchsorted(self.classes_, self._order)
            return matrix[np.ix_(place, place)][code]
        # four columns name the roles of the positive class, columns per class follow classes_
        four = width == 2 and np.shape(cost) == (n, 4)
        costs = row_costs(cost, code, self._order)
        if costs is None:
            raise ValueError(
                f"cost must have shape ({n}, {width}), one column per class of "
                f"{self.classes_.tolist()}, got {np.shape(cost)}."
            )
        return costs if four else costs[:, np.searchsorted(self.classes_, self._order)]

    def _decisions(self, scorer, X, y, code, costs, weight, score_params):
        """What decisions of the rows are worth."""
        if costs is not None:
            return CostDecisions(costs, weight)
        bulk = bulk_score(scorer, self._order, self._multilabel)
        if bulk is not None and bulk.response == "decisions" and not score_params:
            return CountDecisions(bulk, code, weight, len(self.classes_))
        of_scores = getattr(scorer, "_response_method", "predict") != "predict"
        if of_scores or self._multilabel or len(self.classes_) > 2:
            raise ValueError(
                f"scoring={self.scoring!r} has no thresholds to tune on classes {self.classes_.tolist()}: "
                "give a metric of decisions that is known by its counts (see the docstring), or costs."
            )
        if weight is not None:
            score_params = {**score_params, "sample_weight": weight}
        return CalledDecisions(scorer, self._order, X, y, score_params, self.thresholds)

    def get_metadata_routing(self):
        """Where metadata go: to the classifier's ``fit``, the splitter and the scorer.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        router = router_of(self, self.estimator)
        fit_to = {name: MethodMapping().add(caller="fit", callee=name) for name in ("fit", "split")}
        router.add(estimator=self.estimator, method_mapping=fit_to["fit"])
        router.add(splitter=self.cv, method_mapping=fit_to["split"])
        return router.add(
            scorer=self._scorer(), method_mapping=MethodMapping().add(caller="fit", callee="score")
        )
