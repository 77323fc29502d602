"""Decision thresholds tuned by cross-validation for any classifier."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import (
    check_array,
    indexable,
)

from skimb._core.compat import check_sample_weight
from skimb._core.validation import checked_target, row_costs, take_names
from skimb.model_selection._bulk import bulk_score
from skimb.model_selection._cross_tuned import CrossTuned
from skimb.model_selection._fixed_threshold import ThresholdDecisions, one_array
from skimb.model_selection._thresholds import (
    CostObjective,
    CountObjective,
    ScorerObjective,
)


class TunedThresholdClassifierCV(ThresholdDecisions):
    r"""Tune decision thresholds of any classifier by cross-validation.

    The classifier predicts every row out of fold; the thresholds that maximise a metric on these
    predictions, over all unique probabilities, decide from then on. Two classes: the second one where its
    probability is at least :math:`t`. More classes: :math:`\arg\max_k p_k/t_k`. Labels: each one where its
    probability is at least :math:`t_k`.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba`.
    scoring : str or callable, default="balanced_accuracy"
        What to maximise. Metrics of counts (F-scores, Jaccard, precision, recall, balanced accuracy,
        accuracy, Matthews, kappa, geometric mean) are scanned at once for two classes, more classes and
        (F-scores, Jaccard, precision, recall) labels. Any other scorer of decisions is called once per unique
        probability, for two classes.
    cost : array-like of shape (n_classes, n_classes), default=None
        Costs of true class by decided class, non-negative or not; the mean cost is minimised in place of
        `scoring`.
    cv : int, splitter or iterable, default=None
        Folds of the predictions; 5 stratified ones by default.
    n_jobs : int, default=None
        Fits at a time; in a block of ``batched_fits`` they are one population.

    Attributes
    ----------
    estimator_ : estimator
        The classifier, fitted to all rows.
    threshold_ : float or ndarray of shape (n_classes,) or (n_labels,)
        The rule: a number for two classes, one per class (summing to 1) or label otherwise.
    thresholds_ : ndarray of shape (n_folds, ...)
        The rules that the predictions of all other folds suggest, by fold: their spread says how well
        the threshold is known.
    scores_ : ndarray of shape (n_folds,)
        The metric (or minus the mean cost) of each fold under the rule of the others: an honest estimate.
    best_score_ : float
        Mean of ``scores_``.
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    Raises
    ------
    ValueError
        If the metric cannot be tuned on this kind of target, or costs do not fit it.

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
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "scoring": [str, callable],
        "cost": ["array-like", None],
        "cv": ["cv_object"],
        "n_jobs": [None, int],
    }

    def __init__(self, estimator, *, scoring="balanced_accuracy", cost=None, cv=None, n_jobs=None):
        self.estimator = estimator
        self.scoring = scoring
        self.cost = cost
        self.cv = cv
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, cost=None):
        """Predict out of fold, tune, and fit the classifier to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of rows in the classifier's fit and in the metric.
        cost : array-like of shape (n_samples, n_classes), default=None
            Costs of deciding for each class in each row, in place of the matrix; for two classes also four
            columns: of a false positive, a false negative, a true positive and a true negative.

        Returns
        -------
        TunedThresholdClassifierCV
            Itself.
        """
        labels, self._multilabel = checked_target(y)
        X, y = indexable(X, y)
        self.classes_ = np.arange(labels.shape[1]) if self._multilabel else np.unique(labels)
        if len(self.classes_) < 2 and not self._multilabel:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, y holds only one class: "
                f"{self.classes_.tolist()}."
            )
        code = labels if self._multilabel else np.searchsorted(self.classes_, labels)
        params = {}
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X, dtype=np.float64)
            params["sample_weight"] = sample_weight
        costs = self._costs(cost, code)
        splitter = check_cv(self.cv, labels, classifier=True)
        folds = [test for _, test in splitter.split(X, labels)]
        proba = cross_val_predict(
            self.estimator, X, labels, cv=splitter, method="predict_proba", n_jobs=self.n_jobs, params=params
        )  # fmt: skip
        proba = one_array(proba)
        tuned = self._tuner(code, folds, sample_weight, costs)
        tuned.add(0, [proba[test] for test in folds])
        self.threshold_, self.thresholds_ = tuned.pooled[0], tuned.rules[0]
        self._rule = self.threshold_
        self.scores_ = tuned.scores[0]
        self.best_score_ = float(self.scores_.mean())
        self.estimator_ = clone(self.estimator).fit(X, labels, **params)
        take_names(self, self.estimator_)
        return self

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
            matrix = check_array(self.cost, dtype=np.float64, input_name="cost")
            if matrix.shape != (width, width):
                raise ValueError(
                    f"cost must have shape ({width}, {width}), one row and one column per class of "
                    f"{self.classes_.tolist()}, got {matrix.shape}."
                )
            return matrix[code]
        costs = row_costs(cost, code, self.classes_)
        if costs is None:
            raise ValueError(
                f"cost must have shape ({n}, {width}), one column per class of "
                f"{self.classes_.tolist()}, got {np.shape(cost)}."
            )
        return costs

    def _tuner(self, code, folds, weight, costs):
        """What tunes on the folds' predictions."""

        def rows(chosen):
            at = np.concatenate([folds[j] for j in chosen])
            return at, None if weight is None else weight[at]

        if costs is not None:

            def cost_score(j, decided):
                at, w = rows([j])
                return -np.average(costs[at, decided], weights=w)

            def cost_objective(js):
                at, w = rows(js)
                return CostObjective(costs[at], w)

            return CrossTuned(cost_score, cost_objective, False)
        scorer = check_scoring(self.estimator, self.scoring)
        bulk = bulk_score(scorer, self.classes_, self._multilabel)
        if bulk is not None and bulk.response == "decisions":

            def count_score(j, decided):
                at, w = rows([j])
                return bulk(code[at], decided[None], w, len(self.classes_))[0]

            def objective(js):
                at, w = rows(js)
                return CountObjective(bulk.function, code[at], w)

            return CrossTuned(count_score, objective, self._multilabel)
        if bulk is not None or self._multilabel or len(self.classes_) > 2:
            raise ValueError(
                f"scoring={self.scoring!r} has no thresholds to tune on classes {self.classes_.tolist()}: "
                "give a metric of decisions that is known by its counts (see the docstring), or costs."
            )

        def called(at, w, decided):
            kw = {} if w is None else {"sample_weight": w}
            member = _Decided(self.classes_, self.classes_[decided])
            return scorer(member, np.zeros((len(at), 1)), self.classes_[code[at]], **kw)

        def scorer_objective(js):
            at, w = rows(js)
            return ScorerObjective(lambda decided: called(at, w, decided))

        return CrossTuned(lambda j, d: called(*rows([j]), d), scorer_objective, False)


class _Decided(ClassifierMixin, BaseEstimator):
    """A classifier that answers what was decided."""

    def __init__(self, classes_, labels):
        self.classes_, self.labels = classes_, labels

    def predict(self, X):
        return self.labels
