"""Thresholds that keep a promise with high probability."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import Bunch, indexable
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import MethodMapping, _routing_enabled, process_routing
from sklearn.utils.validation import (
    _check_method_params,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skimb._core.compat import check_sample_weight
from skimb._core.inner import router_of, unfitted, weight_params
from skimb._core.splits import splits_of
from skimb._core.validation import take_names
from skimb.model_selection._certified import GUARANTEES, Scan
from skimb.model_selection._constraints import by_problem
from skimb.model_selection._decisions import check_positive, ordered
from skimb.model_selection._fixed_threshold import ThresholdDecisions
from skimb.model_selection._held_out import held_out
from skimb.model_selection._promises import PromiseMaker
from skimb.model_selection._responses import class_scores, response_of, target_of

_SHOWN = (
    "certified", "thresholds", "p_values", "attained_confidence", "bound", "needed", "n_calibration", "estimate",
)  # fmt: skip
_TRAINING_FOLDS = 5


class GuaranteedThresholdClassifier(ThresholdDecisions):
    r"""Decide by a threshold that keeps a promise: recall at least r with confidence 0.95, and the like.

    The classifier is fitted to one part of the rows and scores the other one, the calibration rows. Every
    threshold between their scores is tested against the hypothesis that the promise does not hold in the
    population; the thresholds that pass, in an order of tests that needs no correction, are *certified*, and
    `objective` takes the best of them. The promise is false with probability at most
    :math:`\delta=1-` `confidence` over the draw of the calibration rows, for any classifier and any sample size.

    For recall this comes down to one order statistic: of :math:`n_1` positive rows
    :math:`k-1=\max\{m:P(\mathrm{Bin}(n_1,1-r)\le m)\le\delta\}` may be missed.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba` or `decision_function`; with ``cv="prefit"`` a fitted one.
    constraint : dict
        What to promise: "recall", "specificity", "precision", "npv" (of the rows that are not flagged, the share
        of negative ones), "accuracy" and F-scores ("f1", "f2") at least, "fpr" (false-positive rate),
        "review_rate" (share of flagged rows) and "cost" (mean cost) at most a number. A dict in place of a number
        names the class or the labels that it is about: ``{"recall": {"fraud": 0.9}}``. Several constraints
        hold together.
    objective : str or callable, default=None
        Which of the certified thresholds to take: the best by any of these names or by a scorer of
        decisions that is known by its counts ("balanced_accuracy"). None takes the opposite of the first
        constraint: fewest flagged rows under recall and npv; most recall under precision, specificity, fpr and
        review_rate; else the best value of the constraint itself.
    confidence : float or dict, default=0.95
        Probability, at least, with which all constraints hold together; a dict gives each its own. None promises
        nothing: thresholds whose *estimates* keep the constraints compete.
    cv : float, int, splitter, iterable or "prefit", default=0.5
        Share of rows to hold out for the tests, or folds: all rows are then tested on, out of fold, and the
        promise is approximate. With "prefit" all rows are calibration rows.
    refit : bool or "auto", default="auto"
        Whether to fit the classifier to all rows in the end, which makes a promise approximate; "auto" does
        where there are several folds.
    cost : array-like of shape (2, 2), default=None
        Costs of true class by decided class, in the order of the sorted classes, for "cost".
    order : {"auto", "guided", "starts", "betting", "training"}, default="auto"
        Where tests begin for quantities that do not grow with the threshold (precision, npv, accuracy, cost,
        F-scores): where probabilities say that the test is most likely to pass, from several cuts at once,
        everywhere ("betting", for precision and npv), or where scores of the training part, out of fold, say
        so. "auto" is "guided" with calibrated probabilities, else "starts".
    per_group : bool, default=False
        Whether each of `groups` gets a promise and a threshold of its own; else groups are the independent
        units and their rows need not be.
    simultaneous : bool, default=True
        Whether the promises of all labels or groups hold together with `confidence`, or each on its own.
    exact_weights : bool or float, default=False
        Whether weighted rows are tested by bets, which is exact and needs many rows, in place of Kish's
        number of effective rows, which is approximate. A number is a bound that no weight in the population
        exceeds; True takes the largest one seen.
    unmet : {"warn", "raise", "tune"}, default="warn"
        What to do where nothing can be promised: warn and take the safe side (flag all rows where recall or
        npv comes first, none otherwise), raise an error, or warn and take the best threshold whose estimate keeps
        the constraints.
    pos_label : int, float, bool or str, default=None
        The positive one of two classes; None takes the class that `constraint` names, else the second.
    response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
        Where scores come from; "auto" takes probabilities where there are some.
    n_jobs : int, default=None
        Fits at a time.
    random_state : int, RandomState or None, default=None
        Seed of the split of ``cv=0.5`` and the like.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    threshold_ : float or ndarray
        The threshold of the positive class; one per label. With more classes the rule is
        :math:`\arg\max_k p_k/t_k` with one class's threshold moved.
    promised_ : bool
        Whether all promises are given.
    guarantee_ : {"exact", "conditional", "approximate", "none"}
        In which sense, see Notes.
    promises_ : dict
        All that is known of each promise, by class, label or group. The following attributes show its entries;
        where there are several promises they are dicts by label or group.
    certified_ : ndarray
        Thresholds that pass, falling.
    thresholds_ : ndarray
        All that were tested.
    p_values_ : dict of str to ndarray
        p-values of each constraint at ``thresholds_``.
    attained_confidence_ : dict of str to float
        Confidence of each constraint; somewhat more than asked for where rows are counted.
    bound_ : dict of str to float
        What the extreme certified threshold would bear of recall, specificity, fpr and review_rate; where nothing
        is promised, the most that could have been.
    needed_ : dict of str to int
        Fewest independent rows (positive, negative, flagged or all ones) that can give each promise.
    n_calibration_ : dict of str to int
        Calibration rows by kind.
    estimate_ : dict of str to tuple
        Estimates at the threshold with 95 % intervals; optimistic, as the threshold was chosen on these rows.
    group_thresholds_ : dict
        Thresholds by group, with `per_group`.
    unpromised_groups_ : list
        Groups without a promise; the threshold of all rows decides them.

    Raises
    ------
    ValueError
        If constraints, costs, weights or groups make no sense, scores are missing, the calibration rows lack a
        class, or nothing can be promised and ``unmet="raise"``.

    Warns
    -----
    GuaranteeWarning
        If nothing can be promised (with the number of rows that would do), if weights make a promise
        approximate, and if all scores are equal.

    Notes
    -----
    *Exact*: recall, specificity, fpr and review rate on held-out rows, and everything with ``order="training"``.
    *Conditional*: quantities that do not grow with the threshold, whose tests are exact for the mean true risk of
    the calibration rows' decisions; for the population false promises stayed below the nominal rate in all
    simulations. *Approximate*: folds, a refitted classifier, and weights counted as effective rows.

    Promises assume that new rows are drawn like the calibration rows. A shift of the class shares keeps those of
    recall, specificity and fpr, not the others. A promise is one per calibration set: trying parameters until it
    holds voids it.

    Tests of means of costs and of groups are Hoeffding-Bentkus ones (Bates et al. 2021).

    References
    ----------
    Angelopoulos et al. 2021, arXiv:2110.01052 (Learn then Test). Bates et al. 2021, arXiv:2101.02703.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.model_selection import GuaranteedThresholdClassifier
    >>> X, y = make_classification(2000, weights=[0.9], class_sep=2.0, random_state=0)
    >>> model = GuaranteedThresholdClassifier(LogisticRegression(), constraint={"recall": 0.9}, random_state=0)
    >>> model.fit(X, y).guarantee_
    'exact'
    >>> model.needed_
    {'recall': 29}
    """

    _parameter_constraints = {
        **ThresholdDecisions._parameter_constraints,
        "constraint": [dict],
        "objective": [str, callable, None],
        "confidence": [Interval(Real, 0, 1, closed="neither"), dict, None],
        "cv": [
            Interval(Real, 0, 1, closed="neither"),
            StrOptions({"prefit"}),
            "cv_object",
        ],
        "refit": ["boolean", StrOptions({"auto"})],
        "cost": ["array-like", None],
        "order": [StrOptions({"auto", "guided", "starts", "betting", "training"})],
        "per_group": ["boolean"],
        "simultaneous": ["boolean"],
        "exact_weights": ["boolean", Interval(Real, 0, None, closed="neither")],
        "unmet": [StrOptions({"warn", "raise", "tune"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        constraint,
        objective=None,
        confidence=0.95,
        cv=0.5,
        refit="auto",
        cost=None,
        order="auto",
        per_group=False,
        simultaneous=True,
        exact_weights=False,
        unmet="warn",
        pos_label=None,
        response_method="auto",
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.constraint = constraint
        self.objective = objective
        self.confidence = confidence
        self.cv = cv
        self.refit = refit
        self.cost = cost
        self.order = order
        self.per_group = per_group
        self.simultaneous = simultaneous
        self.exact_weights = exact_weights
        self.unmet = unmet
        self.pos_label = pos_label
        self.response_method = response_method
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, groups=None, **params):
        """Fit the classifier to one part of the rows and find the threshold on the other one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_labels)
            Labels; the classifier is fitted to them as they are.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows in the classifier's fit and their importance in the promise: it is then
            about the population that the weighted rows stand for. They are no counts: a row of weight 2 is one row.
        groups : array-like of shape (n_samples,), default=None
            Rows that belong together: units of the promise, or with `per_group` what each promise is about.
        **params : dict
            Parameters of the classifier's fit; with metadata routing what was requested.

        Returns
        -------
        GuaranteedThresholdClassifier
            Itself.
        """
        y, labels, self._multilabel = target_of(self, y)
        X, y = indexable(X, y)
        prefit = isinstance(self.cv, str)
        self.classes_ = self._classes(labels, prefit)
        check_positive("pos_label", self.pos_label, self.classes_, self._multilabel)
        self._order = ordered(self.classes_, self.pos_label)
        plan = by_problem(self.constraint, self._order, self._multilabel, self.pos_label)
        if len(self.classes_) == 2 and not self._multilabel:
            self._order = ordered(self.classes_, next(iter(plan)))
        weight, groups = self._checked_rows(X, sample_weight, groups)
        routed = self._routed(_check_method_params(X, params=params), groups)
        self._response = response_of(self.estimator, self.response_method)
        how = {"response": self._response, "classes": self._order, "multilabel": self._multilabel}
        self._training = None
        if prefit:
            if self.refit is True or params:
                raise ValueError(
                    "With cv='prefit' nothing is fitted: leave out refit and parameters of fit."
                )
            check_is_fitted(self.estimator)
            self.estimator_ = self.estimator
            rows, refit = np.arange(len(labels)), False
            scores = class_scores(self.estimator_, X, self._response, self._order, self._multilabel)
        else:
            units = groups is not None and not self.per_group
            splits = splits_of(
                self.cv, X, y, labels, self._multilabel, groups, units, self.random_state, routed.splitter.split,
            )  # fmt: skip
            refit = len(splits) > 1 if self.refit == "auto" else self.refit
            if len(splits) > 1 and not refit:
                raise ValueError(
                    f"refit=False with {len(splits)} folds leaves no classifier to predict with; take cv=0.5."
                )
            fit_params = {**routed.estimator.fit, **weight_params(self.estimator, weight)}
            how["fit_params"] = fit_params
            models, scores, rows = held_out(self.estimator, X, y, splits, self.n_jobs, **how)
            if len(np.unique(rows)) < len(rows):
                raise ValueError(
                    f"cv={self.cv!r} tests rows more than once, which are not independent rows; take a splitter "
                    "whose test parts do not overlap (StratifiedKFold)."
                )
            if self.order == "training" and self.confidence is not None:
                self._training = self._training_scores(X, y, labels, splits, how)
            self.estimator_ = models[0]
            if refit:
                self.estimator_ = unfitted(self.estimator).fit(X, y, **fit_params)
        take_names(self, self.estimator_)
        self._settle(plan, scores, labels, rows, weight, groups, approximate=refit)
        return self

    def calibrate(self, X, y, sample_weight=None, groups=None):
        """Find the thresholds anew on rows that the fitted classifier has not seen.

        Constraints, confidence and objective are read anew; classes and classifier are those of `fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Importance of rows, as in `fit`.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows, as in `fit`.

        Returns
        -------
        GuaranteedThresholdClassifier
            Itself.
        """
        check_is_fitted(self)
        self._validate_params()
        _, labels, multilabel = target_of(self, y)
        if multilabel != self._multilabel:
            raise ValueError("y has not the form of the target that was fitted to.")
        if not multilabel:
            self._refuse_strangers(labels)
        plan = by_problem(self.constraint, self._order, multilabel, self._order[-1])
        weight, groups = self._checked_rows(X, sample_weight, groups)
        scores = class_scores(self.estimator_, X, self._response, self._order, multilabel)
        rows = np.arange(len(labels))
        self._settle(plan, scores, labels, rows, weight, groups, approximate=False, fresh=True)
        return self

    def predict(self, X, groups=None):
        """Decide by the thresholds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows, with `per_group`; unknown ones are decided by the threshold of all rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        """
        check_is_fitted(self)
        if (groups is None) != (self._by_group is None):
            wanted = "needs groups=" if groups is None else "takes no groups, it"
            raise ValueError(
                f"predict {wanted} was fitted with{'out' if groups is not None else ''} per_group=True."
            )
        scores = class_scores(self.estimator_, X, self._response, self._order, self._multilabel)
        if self._multilabel:
            return (scores >= self._rule).astype(int)
        rule = self._rule
        if groups is not None:
            groups = column_or_1d(groups)
            check_consistent_length(scores, groups)
            rule = np.array([self._by_group.get(g, self._rule) for g in groups.tolist()])
        flagged = self._scores_of(scores, self._flagged) >= rule
        scores[:, self._flagged] = -np.inf
        return self._order[np.where(flagged, self._flagged, scores.argmax(1))]

    # --- rows ------------------------------------------------------------------------------------

    def _classes(self, labels, prefit):
        if self._multilabel:
            return np.arange(labels.shape[1])
        if prefit and hasattr(self.estimator, "classes_"):
            self.classes_ = np.sort(self.estimator.classes_)
            self._refuse_strangers(labels)
            return self.classes_
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, y holds only one class: {classes.tolist()}."
            )
        return classes

    def _refuse_strangers(self, labels):
        strangers = np.setdiff1d(labels, self.classes_).tolist()
        if strangers:
            raise ValueError(
                f"y holds the classes {strangers}, the fitted classifier knows {self.classes_.tolist()}."
            )

    def _checked_rows(self, X, sample_weight, groups):
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        if groups is not None:
            groups = column_or_1d(groups)
            check_consistent_length(X, groups)
        elif self.per_group:
            raise ValueError("per_group=True needs groups=, one for each row.")
        if groups is not None and self.per_group and self._multilabel:
            raise ValueError(
                "per_group=True is for exclusive classes; fit one classifier per label."
            )
        return sample_weight, groups

    def _routed(self, params, groups):
        """Parameters of the classifier's fit and of the splitter."""
        if _routing_enabled():
            wanted = groups is not None and hasattr(self.cv, "split")
            given = {"groups": groups} if wanted else {}
            return process_routing(self, "fit", **params, **given)
        split = {} if groups is None else {"groups": groups}
        return Bunch(estimator=Bunch(fit=params), splitter=Bunch(split=split))

    def _training_scores(self, X, y, labels, splits, how):
        """Out-of-fold scores and labels of the training part."""
        if len(splits) > 1:
            raise ValueError(
                "order='training' needs rows that are not tested on: take one split, cv=0.5."
            )
        train = splits[0][0]
        part = labels[train]
        inner = splits_of(
            _TRAINING_FOLDS, train, part, part, self._multilabel, None, False, None, {}
        )
        inner = [(train[a], train[b]) for a, b in inner]
        _, scores, rows = held_out(self.estimator, X, y, inner, self.n_jobs, **how)
        return scores, labels[rows]

    # --- promises --------------------------------------------------------------------------------

    def _scores_of(self, scores, k):
        """Scores of one two-class problem."""
        if self._multilabel or len(self._order) == 2:
            return scores[:, k]
        logs = scores if self._additive else np.log(scores.clip(1e-300))
        return logs[:, k] - np.delete(logs, k, 1).max(1)

    def _scan(self, scores, labels, k, weight=None, groups=None):
        """Rows of one two-class problem."""
        code = labels[:, k] if self._multilabel else labels == self._order[k]
        chances = None if self._additive else scores[:, k]
        return Scan(self._scores_of(scores, k), code.astype(int), weight, groups, chances)

    def _settle(self, plan, scores, labels, rows, weight, groups, *, approximate, fresh=False):
        """Find the thresholds on calibration rows, and say what holds."""
        keys = (self.classes_ if self._multilabel else self._order).tolist()
        everything = labels
        if weight is not None:
            kept = weight[rows] > 0
            scores, rows = scores[kept], rows[kept]
            weight = weight[rows]
            everything = labels[rows]
        labels = labels[rows]
        groups = None if groups is None else groups[rows]
        self._refuse_rows(scores, labels)
        self._flagged = keys.index(next(iter(plan)))
        units = None if self.per_group else groups
        maker = PromiseMaker(
            self, self._cost(), weight, units, approximate, None if fresh else self.cv
        )
        found, pooled = {}, None
        if self.per_group:
            ((key, values),) = plan.items()
            names = np.unique(groups)
            parts = len(names) if self.simultaneous else 1
            for name in names.tolist():
                at = groups == name
                scan = self._scan(scores[at], labels[at], self._flagged, _of(weight, at))
                found[name] = maker.make(values, scan, parts, None, None, f"group {name!r}: ")
            scan = self._scan(scores, labels, self._flagged, weight)
            pooled = maker.make(values, scan, 1, None, self._training_scan(self._flagged))
        else:
            parts = len(plan) if self.simultaneous else 1
            for key, values in plan.items():
                k = keys.index(key)
                totals = self._scan(np.zeros((len(everything), len(keys))), everything, k).code
                said = f"label {key!r}: " if self._multilabel else ""
                scan = self._scan(scores, labels, k, weight, units)
                found[key] = maker.make(values, scan, parts, totals, self._training_scan(k), said)
        maker.speak(self.per_group)
        self._show(found, pooled)

    def _training_scan(self, k):
        return None if self._training is None else self._scan(*self._training, k)

    def _refuse_rows(self, scores, labels):
        missing = int(np.isnan(scores).any(1).sum())
        if missing:
            raise ValueError(
                f"{self._response} of {self.estimator_!r} gives NaN in {missing} of {len(scores)} calibration "
                "rows, which no threshold can decide; impute what is missing in X."
            )
        if self._multilabel:
            return
        absent = np.setdiff1d(self.classes_, labels).tolist()
        if absent:
            raise ValueError(
                f"The {len(labels)} calibration rows hold no row of the classes {absent}, so that nothing can be "
                "tested; hold out rows of every class."
            )

    def _cost(self):
        """Costs in the order of codes."""
        if self.cost is None:
            return None
        cost = check_array(self.cost, dtype=np.float64, input_name="cost")
        if cost.shape != (2, 2) or self._multilabel or len(self.classes_) != 2:
            raise ValueError(
                f"cost must have shape (2, 2), true class by decided class of two classes; got shape {cost.shape} "
                f"for {len(self.classes_)} {'labels' if self._multilabel else 'classes'}."
            )
        place = np.searchsorted(self.classes_, self._order)
        return cost[np.ix_(place, place)]

    def _show(self, found, pooled):
        """Set what `predict` needs and what the user reads."""
        self.promises_ = found
        every = list(found.values())
        self.promised_ = all(p.promised for p in every)
        self.guarantee_ = max((p.guarantee for p in every), key=GUARANTEES.index)
        only = every[0] if len(every) == 1 and pooled is None else None
        for name in _SHOWN:
            shown = {key: getattr(p, name) for key, p in found.items()}
            setattr(self, f"{name}_", getattr(only, name) if only else shown)
        self._by_group = None
        if pooled is not None:
            self.unpromised_groups_ = [key for key, p in found.items() if not p.promised]
            self._by_group = {
                key: (p if p.promised else pooled).threshold for key, p in found.items()
            }
            self.group_thresholds_ = dict(self._by_group)
        if self._multilabel:
            rule = np.full(len(self.classes_), 0.0 if self._additive else 0.5)
            for key, promise in found.items():
                rule[key] = promise.threshold
            self._rule = rule
            self.threshold_ = rule.copy()
            return
        self._rule = self.threshold_ = (pooled or every[0]).threshold
        if len(self.classes_) > 2:
            moved = self._rule if self._additive else np.exp(self._rule)
            self.threshold_ = np.full(len(self.classes_), 0.0 if self._additive else 1.0)
            self.threshold_[self._flagged] = moved

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        named = isinstance(self.constraint, dict) and any(
            isinstance(value, dict) for value in self.constraint.values()
        )
        tags.classifier_tags.multi_class = tags.classifier_tags.multi_class and named
        return tags

    def get_metadata_routing(self):
        """Where metadata go: to the classifier's ``fit`` and the splitter.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        router = router_of(self, self.estimator)
        fit_to = {name: MethodMapping().add(caller="fit", callee=name) for name in ("fit", "split")}
        router.add(estimator=self.estimator, method_mapping=fit_to["fit"])
        folds = self.cv if hasattr(self.cv, "split") else None
        return router.add(splitter=folds, method_mapping=fit_to["split"])


def _of(weight, at):
    return None if weight is None else weight[at]
