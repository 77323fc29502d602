"""The display of reliability for rare classes: predicted against observed frequency."""

import numpy as np

from skimb.inspection._display import (
    BLUE,
    CHANCE,
    VERMILLION,
    CrossValidatedDisplay,
    despined,
    is_rare,
    legend,
    logit_axis,
    new_axes,
    pooled,
    rows_of,
    scores_of,
)
from skimb.metrics import calibration_summary, calibration_table

_MOST_NUMBERS = 10


class RareReliabilityDisplay(CrossValidatedDisplay):
    """Predicted against observed frequency in bins that hold enough positive rows, before and after a correction.

    Bins hold equal expected numbers of positive rows, about five each at least, and intervals are
    Clopper-Pearson's; points grow with the rows, numbers beside them count positive rows. Axes are logarithmic
    where most probabilities are below 0.1. The legend reads observed over expected positives, and the slope of the
    log odds, with intervals: with twenty positive rows they say more than any binned error (see
    :func:`~skimb.metrics.calibration_summary`). Arrows lead from where another model, given as `before`, puts the
    same rows.

    Make one with :meth:`from_estimator`, :meth:`from_predictions` or :meth:`from_cv_results`.

    Parameters
    ----------
    predicted, observed, low, high : ndarray of shape (n_bins,)
        Mean probability, frequency and its interval.
    positives, weight : ndarray of shape (n_bins,)
        Positive rows and all rows (their weight).
    summary : Bunch
        What :func:`~skimb.metrics.calibration_summary` found.
    before : ndarray of shape (n_bins,), default=None
        Mean probabilities of the same rows by the other model.
    before_summary : Bunch, default=None
        The summary of that.
    confidence : float, default=0.95
        Of the intervals.
    logit : bool, default=False
        Whether axes are logit axes.
    pos_label : label, default=None
        The positive class.
    name, before_name : str, default=None
        Names of both models.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    points_ : matplotlib PathCollection
        The bins.
    before_points_ : matplotlib Line2D or None
        The same bins by the other model.
    chance_level_ : matplotlib Line2D
        The diagonal.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import RareReliabilityDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = RareReliabilityDisplay.from_estimator(model, X[1::2], y[1::2], pos_label=0)
    >>> int(display.positives.sum())
    110
    """

    _probabilities = True
    _together = staticmethod(pooled)

    def __init__(
        self,
        *,
        predicted,
        observed,
        low,
        high,
        positives,
        weight,
        summary,
        before=None,
        before_summary=None,
        confidence=0.95,
        logit=False,
        pos_label=None,
        name=None,
        before_name=None,
    ):
        self.predicted, self.observed = predicted, observed
        self.low, self.high = low, high
        self.positives, self.weight = positives, weight
        self.summary = summary
        self.before, self.before_summary = before, before_summary
        self.confidence = confidence
        self.logit = logit
        self.pos_label = pos_label
        self.name, self.before_name = name, before_name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        before=None,
        sample_weight=None,
        pos_label=None,
        name=None,
        **options,
    ):
        """Draw a fitted classifier on rows that it was not fitted to.

        Parameters
        ----------
        estimator : classifier
            A fitted one.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels.
        before : classifier, default=None
            A fitted one whose probabilities of the same rows the arrows come from, such as the model without the
            correction.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        pos_label : label, default=None
            The positive class; None takes the second of two.
        name : str, default=None
            Name in the legend; None takes that of the class.
        **options : dict
            Further arguments of :meth:`from_predictions`.

        Returns
        -------
        RareReliabilityDisplay
            The display, drawn.
        """
        if before is not None:
            earlier, pos_label = scores_of(cls.__name__, before, X, "auto", pos_label, True)
            options = {"before_name": type(before).__name__, **options, "before": earlier}
        return super().from_estimator(
            estimator, X, y, sample_weight=sample_weight, pos_label=pos_label, name=name, **options
        )

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_score,
        *,
        before=None,
        sample_weight=None,
        pos_label=None,
        name=None,
        before_name=None,
        n_bins="auto",
        confidence=0.95,
        ax=None,
        **plot_kwargs,
    ):
        """Draw probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Labels.
        y_score : array-like of shape (n_samples,)
            Probabilities of the positive class.
        before : array-like of shape (n_samples,), default=None
            Probabilities of the same rows by another model.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        pos_label : label, default=None
            The positive class; None takes 1 of 0/1 or -1/1 labels.
        name, before_name : str, default=None
            Names in the legend.
        n_bins : int or "auto", default="auto"
            Most bins; "auto" takes one per five expected positive rows, at most ten.
        confidence : float in (0, 1), default=0.95
            Of the intervals.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        RareReliabilityDisplay
            The display, drawn.
        """
        rows = cls._rows(y_true, y_score, sample_weight, pos_label)
        earlier = None
        if before is not None:
            owner = f"{cls.__name__} (before)"
            earlier = rows_of(owner, y_true, before, sample_weight, pos_label, True)
        display = cls._computed(
            rows, n_bins=n_bins, confidence=confidence, name=name, earlier=earlier,
            before_name=before_name,
        )  # fmt: skip
        return display.plot(ax=ax, **plot_kwargs)

    @classmethod
    def _computed(
        cls, rows, *, n_bins="auto", confidence=0.95, name=None, earlier=None, before_name=None
    ):
        how = {"confidence": confidence, "sample_weight": rows.weight}
        table = calibration_table(rows.y, rows.score, n_bins=n_bins, **how)
        before = summary = None
        if earlier is not None:
            at = np.searchsorted(np.r_[table.lower, table.upper[-1]], rows.score) - 1
            size = len(table.weight)
            mass = np.bincount(at.clip(0, size - 1), rows.weight * earlier.score, size)
            before = mass / table.weight
            summary = calibration_summary(rows.y, earlier.score, n_draws=0, **how)
        taken = ("predicted", "observed", "low", "high", "positives", "weight")
        return cls(
            **{key: table[key] for key in taken},
            summary=calibration_summary(rows.y, rows.score, n_draws=0, **how),
            before=before,
            before_summary=summary,
            confidence=confidence,
            logit=is_rare(rows.score),
            pos_label=rows.pos_label,
            name=name,
            before_name=before_name,
        )

    @classmethod
    def _of_folds(cls, folds, name, options):
        return cls._computed(pooled(folds), name=name, **options)

    def plot(self, ax=None, *, name=None, show_numbers=True, point_kwargs=None, despine=False):
        """Draw the bins, their intervals and the diagonal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name in the legend, in place of the display's.
        show_numbers : bool, default=True
            Whether to write the number of positive rows beside points.
        point_kwargs : dict, default=None
            For the points.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        RareReliabilityDisplay
            Itself.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        name = self.name if name is None else name
        low, high = self._limits()
        inside = np.clip if self.logit else np.asarray
        ends = (low, high) if self.logit else ()
        observed = inside(self.observed, *ends)
        whiskers = inside(self.low, *ends), inside(self.high, *ends)
        line = [low, high] if self.logit else [0, 1]
        (self.chance_level_,) = ax.plot(line, line, label="predicted = observed", **CHANCE)
        ax.vlines(self.predicted, *whiskers, color=BLUE, linewidth=1.4)
        label = f"{'model' if name is None else name}: {_said(self.summary)}"
        area = 25.0 + 150.0 * self.weight / self.weight.max()
        kw = {"s": area, "color": BLUE, "edgecolor": "white", "zorder": 3, "clip_on": False}
        self.points_ = ax.scatter(self.predicted, observed, **{**kw, **(point_kwargs or {})})
        ax.plot([], [], color=BLUE, marker="o", linestyle="-", label=label)
        self.before_points_ = None
        if self.before is not None:
            for start, end, y in zip(self.before, self.predicted, observed, strict=True):
                arrow = {"arrowstyle": "->", "color": VERMILLION, "linewidth": 0.9, "shrinkB": 5}
                ax.annotate("", (end, y), (start, y), arrowprops=arrow, zorder=2)
            earlier = "before" if self.before_name is None else self.before_name
            style = {"color": VERMILLION, "marker": "D", "markersize": 5, "linestyle": "none"}
            text = f"{earlier}: {_said(self.before_summary)}"
            (self.before_points_,) = ax.plot(
                self.before, observed, label=text, clip_on=False, **style
            )
        if show_numbers and len(self.predicted) <= _MOST_NUMBERS:
            for x, y, count in zip(self.predicted, observed, self.positives, strict=True):
                ax.annotate(
                    f"{count:.4g}", (x, y), (9, -9), textcoords="offset points",
                    fontsize="x-small", color="black",
                )  # fmt: skip
        if self.logit:
            logit_axis(ax.xaxis, low, high)
            logit_axis(ax.yaxis, low, high)
        ax.set(
            xlim=(low, high),
            ylim=(low, high),
            xlabel="Mean predicted probability",
            ylabel=self._label("Observed frequency"),
        )
        if despine:
            despined(ax)
        legend(ax, below=True, ncols=1)
        return self

    def _limits(self):
        """Ends of both axes."""
        some = [self.predicted, self.observed, *([] if self.before is None else [self.before])]
        values = np.concatenate(some)
        if not self.logit:
            return -0.02, min(1.02, 1.05 * max(values.max(), self.high.max()))
        inner = values[(values > 0) & (values < 1)]
        return max(inner.min() / 2, 1e-6), 1.0 - max((1.0 - inner.max()) / 2, 1e-6)


def _said(summary):
    """Observed over expected positives and the slope, in words."""
    s = summary
    slope = f"{s.slope:.2f} ({s.slope_low:.2f} to {s.slope_high:.2f})"
    return f"O/E {s.ratio:.2f} ({s.ratio_low:.2f} to {s.ratio_high:.2f}), slope {slope}"
