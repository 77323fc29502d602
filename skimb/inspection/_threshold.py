"""The display of metrics by threshold."""

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from skimb._core.costs import elkan
from skimb.inspection._display import (
    BAND,
    GREY,
    REFERENCE,
    SERIES,
    CrossValidatedDisplay,
    despined,
    is_rare,
    legend,
    logit_axis,
    new_axes,
    pooled,
    thinned,
    warn_if_constant,
)
from skimb.metrics import get_scorer
from skimb.model_selection import _counts
from skimb.model_selection._bulk import bulk_score
from skimb.model_selection._constraints import F_SCORE
from skimb.model_selection._thresholds import _cuts


def _of(part, whole):
    """Quotient; a share of no rows is not a number, so that it is not drawn."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


_RATES = {
    "recall": lambda right, decided, there: right[..., 1] / there[..., 1],
    "specificity": lambda right, decided, there: right[..., 0] / there[..., 0],
    "fpr": lambda right, decided, there: 1.0 - right[..., 0] / there[..., 0],
    "precision": lambda right, decided, there: _of(right[..., 1], decided[..., 1]),
    "npv": lambda right, decided, there: _of(right[..., 0], decided[..., 0]),
    "review_rate": lambda right, decided, there: decided[..., 1] / there.sum(-1),
}
_STYLES = tuple(SERIES[k] for k in (0, 1, 2, 4))
_AT_MOST = {"fpr", "review_rate", "cost"}


class ThresholdDisplay(CrossValidatedDisplay):
    r"""Metrics of decisions by the threshold, with what was chosen and what is allowed.

    A row is flagged where its score is at least the threshold. Costs give a curve of their own, on the right axis,
    and for probabilities the threshold :math:`(c_{01}-c_{00})/(c_{01}-c_{00}+c_{10}-c_{11})` that would be best if
    these were honest (Elkan). Thresholds that break a constraint are hatched: by the estimates that are drawn, or,
    for a fitted :class:`~skimb.model_selection.GuaranteedThresholdClassifier`, those that are not certified.

    Make one with :meth:`from_estimator`, :meth:`from_predictions` or :meth:`from_cv_results`.

    Parameters
    ----------
    thresholds : ndarray of shape (n_thresholds,)
        Falling thresholds.
    scores : dict of str to ndarray of shape (n_thresholds,)
        Metrics there; of folds the mean.
    fold_scores : dict of str to ndarray of shape (n_folds, n_thresholds), default=None
        Metrics of each fold.
    chosen : float, default=None
        The threshold in force.
    fold_thresholds : ndarray of shape (n_folds,), default=None
        Thresholds that folds suggest.
    elkan : float, default=None
        The threshold by costs.
    allowed : ndarray of bool of shape (n_thresholds,), default=None
        Which thresholds keep the constraint.
    constraint : str, default=None
        The constraint in words.
    logit : bool, default=False
        Whether the axis is a logit axis.
    pos_label : label, default=None
        The positive class.
    name : str, default=None
        Name of the model.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_ : list of matplotlib Line2D
        One per metric.
    band_ : list of matplotlib PolyCollection
        The range over folds.
    cost_ax_ : matplotlib Axes or None
        The right axis.
    forbidden_ : matplotlib PolyCollection or None
        The hatched zone.

    References
    ----------
    Elkan 2001, The foundations of cost-sensitive learning, IJCAI.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import ThresholdDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = ThresholdDisplay.from_estimator(model, X[1::2], y[1::2], cost=[[0, 1], [4, 0]])
    >>> display.elkan, sorted(display.scores)
    (0.2, ['cost', 'f1', 'precision', 'recall'])
    """

    _together = staticmethod(pooled)

    def __init__(
        self,
        *,
        thresholds,
        scores,
        fold_scores=None,
        chosen=None,
        fold_thresholds=None,
        elkan=None,
        allowed=None,
        constraint=None,
        logit=False,
        pos_label=None,
        name=None,
    ):
        self.thresholds = thresholds
        self.scores = scores
        self.fold_scores = fold_scores
        self.chosen = chosen
        self.fold_thresholds = fold_thresholds
        self.elkan = elkan
        self.allowed = allowed
        self.constraint = constraint
        self.logit = logit
        self.pos_label = pos_label
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        sample_weight=None,
        pos_label=None,
        response_method="auto",
        name=None,
        **options,
    ):
        """Draw a fitted classifier on rows that it was not fitted to.

        One that decides by a threshold (of skimb or scikit-learn, tuned, guaranteed or fixed) shows it, what its
        folds suggested, and what is certified.

        Parameters
        ----------
        estimator : classifier
            A fitted one.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        pos_label : label, default=None
            The positive class; None takes that of the threshold, or the second of two.
        response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
            Where scores come from; "auto" takes what the threshold is for.
        name : str, default=None
            Name in the legend; None takes that of the class.
        **options : dict
            Further arguments of :meth:`from_predictions`.

        Returns
        -------
        ThresholdDisplay
            The display, drawn.
        """
        found = _threshold_of(estimator)
        if found is not None:
            positive, response, shown = found
            if pos_label not in (None, positive):
                raise ValueError(
                    f"pos_label={pos_label!r}: the threshold of {type(estimator).__name__} is for class "
                    f"{positive!r}; leave pos_label out."
                )
            pos_label = positive
            response_method = response if response_method == "auto" else response_method
            options = {**shown, **options}
        return super().from_estimator(
            estimator,
            X,
            y,
            sample_weight=sample_weight,
            pos_label=pos_label,
            response_method=response_method,
            name=name,
            **options,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_score,
        *,
        sample_weight=None,
        pos_label=None,
        name=None,
        metrics=("recall", "precision", "f1"),
        cost=None,
        constraint=None,
        threshold=None,
        fold_thresholds=None,
        certified=None,
        ax=None,
        **plot_kwargs,
    ):
        """Draw scores.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Labels.
        y_score : array-like of shape (n_samples,)
            Scores, higher for the positive class.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        pos_label : label, default=None
            The positive class; None takes 1 of 0/1 or -1/1 labels.
        name : str, default=None
            Name in the legend.
        metrics : sequence of str, default=("recall", "precision", "f1")
            Recall, specificity, fpr, precision, npv, review_rate, F-scores ("f2"), or names of scorers of decisions
            that are known by their counts ("balanced_accuracy").
        cost : array-like of shape (2, 2), default=None
            Costs of the negative and the positive class (rows) by the decision (columns).
        constraint : dict of str to float, default=None
            Metrics, of the above, and what they have to be at least (fpr and review_rate: at most).
        threshold : float, default=None
            A threshold to mark.
        fold_thresholds : array-like of shape (n_folds,), default=None
            Thresholds that folds suggest.
        certified : tuple of (ndarray, ndarray), default=None
            Thresholds that were tested, and those of them that are certified.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        ThresholdDisplay
            The display, drawn.
        """
        rows = cls._rows(y_true, y_score, sample_weight, pos_label)
        display = cls._computed(
            rows, metrics=metrics, cost=cost, constraint=constraint, threshold=threshold,
            fold_thresholds=fold_thresholds, certified=certified, name=name,
        )  # fmt: skip
        return display.plot(ax=ax, **plot_kwargs)

    @classmethod
    def _computed(
        cls,
        rows,
        *,
        metrics=("recall", "precision", "f1"),
        cost=None,
        constraint=None,
        threshold=None,
        fold_thresholds=None,
        certified=None,
        name=None,
        folds=None,
    ):
        warn_if_constant(cls.__name__, rows)
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        rules = dict(constraint or {})
        shown = dict.fromkeys([*metrics, *rules])
        if len(shown.keys() - {"cost"}) > len(_STYLES):
            raise ValueError(
                f"metrics and constraint name {len(shown)} metrics; {len(_STYLES)} and costs can be told apart in "
                "one picture."
            )
        functions = {key: _function(key) for key in [*metrics, *rules] if key != "cost"}
        elkan = None
        if cost is not None:
            cost = _checked_cost(cost)
            shown = {**{key: None for key in shown if key != "cost"}, "cost": None}
            functions["cost"] = _mean_cost(cost)
            elkan = _best_by_cost(cost) if 0 <= rows.score.min() <= rows.score.max() <= 1 else None
        elif "cost" in [*metrics, *rules]:
            raise ValueError("metrics and constraint speak of 'cost': give cost=, a matrix (2, 2).")
        at = _grid(rows)
        values = _values(functions, rows, at)
        fold_scores = None
        if folds is not None:
            parts = [_values(functions, part, at) for part in folds]
            fold_scores = {key: np.stack([part[key] for part in parts]) for key in functions}
            values = {
                key: _of(np.nansum(found, 0), (~np.isnan(found)).sum(0))
                for key, found in fold_scores.items()
            }
        allowed, said = None, None
        if certified is not None:
            tested, passed = (np.asarray(a, float) for a in certified)
            allowed, said = _certified_at(at, tested, passed), "not certified"
        elif rules:
            keep = [
                values[key] <= level if key in _AT_MOST else values[key] >= level
                for key, level in rules.items()
            ]
            allowed = np.logical_and.reduce(keep)
            said = "breaks " + ", ".join(
                f"{key} {'≤' if key in _AT_MOST else '≥'} {level:g}" for key, level in rules.items()
            )
        return cls(
            thresholds=at,
            scores={key: values[key] for key in shown},
            fold_scores=fold_scores and {key: fold_scores[key] for key in shown},
            chosen=threshold,
            fold_thresholds=None if fold_thresholds is None else np.asarray(fold_thresholds, float),
            elkan=elkan,
            allowed=allowed,
            constraint=said,
            logit=is_rare(rows.score),
            pos_label=rows.pos_label,
            name=name,
        )

    @classmethod
    def _of_folds(cls, folds, name, options):
        return cls._computed(pooled(folds), folds=folds, name=name, **options)

    def plot(
        self,
        ax=None,
        *,
        name=None,
        show_band=True,
        curve_kwargs=None,
        band_kwargs=None,
        despine=False,
    ):
        """Draw one line per metric.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the model on the axis, in place of the display's.
        show_band : bool, default=True
            Whether to draw the range over folds.
        curve_kwargs : dict, default=None
            For all lines.
        band_kwargs : dict, default=None
            For the bands.
        despine : bool, default=False
            Whether to leave out the upper border, and the right one where it is no axis.

        Returns
        -------
        ThresholdDisplay
            Itself.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        name = self.name if name is None else name
        t = self.thresholds
        if self.logit:  # areas with a corner at minus infinity are drawn wrong
            inner = t[(t > 0) & (t < 1)]
            t = t.clip(inner.min(initial=0.5), inner.max(initial=0.5))
        self.cost_ax_ = ax.twinx() if "cost" in self.scores and len(self.scores) > 1 else None
        styles = dict(zip((k for k in self.scores if k != "cost"), _STYLES, strict=False))
        styles["cost"] = dict(REFERENCE)
        self.line_, self.band_ = [], []
        for key, values in self.scores.items():
            where = self.cost_ax_ if key == "cost" and self.cost_ax_ is not None else ax
            label = "mean cost" if key == "cost" else key.replace("_", " ")
            style = {**styles[key], **(curve_kwargs or {})}
            (line,) = where.plot(t, values, **style)
            ax.plot([], [], label=label, **style)
            self.line_.append(line)
            if show_band and self.fold_scores is not None:
                found = self.fold_scores[key]
                kw = {**BAND, "color": line.get_color(), **(band_kwargs or {})}
                self.band_.append(
                    where.fill_between(t, np.fmin.reduce(found), np.fmax.reduce(found), **kw)
                )
        if self.band_:
            n = len(next(iter(self.fold_scores.values())))
            ax.fill_between([], [], [], color=GREY, label=f"range of {n} folds", **BAND)
        whole = ax.get_xaxis_transform()
        self.forbidden_ = None
        if self.allowed is not None:
            self.forbidden_ = ax.fill_between(
                t, 0, 1, where=~self.allowed, transform=whole, facecolor="none", edgecolor=GREY,
                hatch="//", linewidth=0, alpha=0.5, label=self.constraint,
            )  # fmt: skip
        if self.fold_thresholds is not None:
            height = np.full(len(self.fold_thresholds), 0.02)
            ax.plot(
                self.fold_thresholds, height, transform=whole, color="black", marker="|",
                linestyle="none", label="thresholds of folds",
            )  # fmt: skip
        marks = [(self.chosen, "threshold", "-"), (self.elkan, "by costs", (0, (1, 1)))]
        for at, label, style in marks:
            if at is not None:
                ax.axvline(
                    at, color="black", linewidth=1, linestyle=style, label=f"{label} {at:.3g}"
                )
        low, high = t[-1], t[0]
        if self.logit:
            logit_axis(ax.xaxis, low, high)
        else:
            ax.set_xlim(low, high)
        of = "" if name is None else f" of {name}"
        scale = ", logit scale" if self.logit else ""
        ax.set_xlabel(f"Threshold{of}{scale}")
        unit = "Mean cost per row" if set(self.scores) == {"cost"} else "Metric"
        ax.set_ylabel(self._label(f"{unit}"))
        if self.cost_ax_ is not None:
            self.cost_ax_.set_ylabel("Mean cost per row")
            self.cost_ax_.set_ylim(bottom=0)
        if despine:
            despined(ax)
            if self.cost_ax_ is not None:
                ax.spines["right"].set_visible(True)
        legend(ax, below=True)
        return self


def _function(name):
    """A metric of counts by its name."""
    if name in _RATES:
        return _RATES[name]
    if match := F_SCORE.match(str(name)):
        return _counts.Averaged(_counts.FRatio(float(match[1])), "binary", False)
    scorer = get_scorer(name)
    bulk = bulk_score(scorer, np.array([0, 1]), False)
    if bulk is None or bulk.response != "decisions":
        raise ValueError(
            f"{name!r} is no metric that counts of decisions tell; take some of {', '.join(_RATES)}, f1, "
            "balanced_accuracy, accuracy, matthews_corrcoef."
        )
    return bulk.function


def _checked_cost(cost):
    cost = check_array(cost, dtype=np.float64, input_name="cost")
    if cost.shape != (2, 2):
        raise ValueError(
            f"cost must have shape (2, 2), the negative and the positive class by the decision, got {cost.shape}."
        )
    return cost


def _mean_cost(cost):
    """Mean cost from counts."""

    def function(right, decided, there):
        wrong = there - right
        total = right @ np.diag(cost) + wrong @ np.array([cost[0, 1], cost[1, 0]])
        return total / there.sum(-1)

    return function


def _best_by_cost(cost):
    """Elkan's threshold; None where one decision is always the cheaper one."""
    decided = cost[0, 1] > cost[0, 0] and cost[1, 0] > cost[1, 1]
    return elkan(cost) if decided else None


def _grid(rows):
    """Falling thresholds between scores, more densely where positive rows are."""
    order = np.argsort(-rows.score, kind="stable")
    _, thresholds = _cuts(rows.score[order])
    hits = np.searchsorted(-thresholds, -rows.score[rows.y == 1])
    hits = np.unique(hits.clip(0, len(thresholds) - 1))
    return thresholds[np.union1d(thinned(len(thresholds)), hits[thinned(len(hits))])]


def _values(functions, rows, thresholds):
    """Metrics at falling thresholds."""
    order = np.argsort(-rows.score, kind="stable")
    flagged = np.searchsorted(-rows.score[order], -thresholds, side="right")
    w, y = rows.weight[order], rows.y[order]
    right1, wrong1 = (np.r_[0.0, (w * part).cumsum()][flagged] for part in (y, 1.0 - y))
    n1, n0 = w @ y, w @ (1.0 - y)
    right = np.stack([n0 - wrong1, right1], -1)
    decided = np.stack([n0 + n1 - right1 - wrong1, right1 + wrong1], -1)
    there = np.broadcast_to([n0, n1], right.shape)
    return {name: function(right, decided, there) for name, function in functions.items()}


def _certified_at(at, tested, passed):
    """Thresholds whose neighbours among the tested ones are both certified."""
    tested = np.sort(tested)
    holds = np.isin(tested, passed)
    above = np.searchsorted(tested, at).clip(0, len(tested) - 1)
    below = (np.searchsorted(tested, at, side="right") - 1).clip(0, len(tested) - 1)
    return holds[above] & holds[below]


def _threshold_of(estimator):
    """Positive class, response and what is known of the threshold of a classifier that has one, else None."""
    names = ("threshold_", "best_threshold_")
    held = next((name for name in names if hasattr(estimator, name)), None)
    if held is None and hasattr(estimator, "threshold") and hasattr(estimator, "estimator_"):
        held = "threshold"  # scikit-learn's fixed one
    if held is None:
        return None
    check_is_fitted(estimator)
    chosen = getattr(estimator, held)
    if isinstance(chosen, str):  # "auto"
        return None
    if np.ndim(chosen) > 0 or isinstance(chosen, dict):
        raise ValueError(
            f"ThresholdDisplay draws one threshold, {type(estimator).__name__} decides by several; give it "
            "estimator.estimator_ and pos_label=."
        )
    classes = np.asarray(estimator.classes_).tolist()
    if hasattr(estimator, "_order"):
        positive, response = np.asarray(estimator._order).tolist()[1], estimator._response
    else:
        scorer = getattr(estimator, "_curve_scorer", None)
        positive = getattr(estimator, "pos_label", None)
        positive = scorer._get_pos_label() if scorer is not None else positive
        positive = classes[1] if positive is None else positive
        response = getattr(estimator, "response_method", "auto")
    shown = {"threshold": float(chosen)}
    if isinstance(getattr(estimator, "certified_", None), np.ndarray):
        shown["certified"] = estimator.thresholds_, estimator.certified_
    elif hasattr(estimator, "thresholds_"):
        shown["fold_thresholds"] = estimator.thresholds_
    return positive, response, shown
