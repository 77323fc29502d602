"""The display of review budgets: what so many reviewed rows find."""

from numbers import Integral, Real

import numpy as np

from skimb.inspection._display import (
    BAND,
    CHANCE,
    MODEL,
    REFERENCE,
    SERIES,
    CrossValidatedDisplay,
    legend,
    new_axes,
    percent,
    plain_numbers,
    review_grid,
    styled,
    warn_if_constant,
)
from skimb.metrics import gain_curve


class ReviewBudgetDisplay(CrossValidatedDisplay):
    r"""Recall and precision by the number of rows that can be reviewed, those of the highest scores first.

    Rows of equal score share what is left of a budget, as in :func:`~skimb.metrics.recall_at_budget`. Intervals
    are Clopper-Pearson's, of the positives found among all positives and among the reviewed rows; they hold at
    each budget, not at all of them together. The band of chance holds what a random order finds, hypergeometric.

    Make one with :meth:`from_estimator`, :meth:`from_predictions` or :meth:`from_cv_results`.

    Parameters
    ----------
    n_reviewed : ndarray of shape (n_points,)
        Numbers of reviewed rows (their weight, with weights).
    recall, recall_low, recall_high : ndarray of shape (n_points,)
        Share of all positive rows among them, and its interval.
    precision, precision_low, precision_high : ndarray of shape (n_points,)
        Share of them that is positive, and its interval.
    chance_low, chance_high : ndarray of shape (n_points,)
        Recall of a random order.
    n_rows, n_positives : float
        All rows and the positive ones.
    budget : float, default=None
        The budget that is marked, in rows.
    confidence : float, default=0.95
        Of intervals and of the band.
    pos_label : label, default=None
        The positive class.
    name : str, default=None
        Name of the model.
    folds : list of ReviewBudgetDisplay, default=None
        Displays of single folds, drawn thin.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_ : list of matplotlib Line2D
        Recall, and precision if drawn.
    band_ : list of matplotlib PolyCollection
        Their intervals.
    chance_level_ : matplotlib PolyCollection
        The band of chance.
    budget_line_ : matplotlib Line2D or None
        The marked budget.
    share_ax_ : matplotlib SecondaryAxis
        The upper axis: shares of the rows.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import ReviewBudgetDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = ReviewBudgetDisplay.from_estimator(model, X[1::2], y[1::2], pos_label=0, budget=50)
    >>> display.precision[display.n_reviewed == 50]
    array([1.])
    """

    _once = ("budget",)

    def __init__(
        self,
        *,
        n_reviewed,
        recall,
        recall_low,
        recall_high,
        precision,
        precision_low,
        precision_high,
        chance_low,
        chance_high,
        n_rows,
        n_positives,
        budget=None,
        confidence=0.95,
        pos_label=None,
        name=None,
        folds=None,
    ):
        self.n_reviewed = n_reviewed
        self.recall, self.recall_low, self.recall_high = recall, recall_low, recall_high
        self.precision = precision
        self.precision_low, self.precision_high = precision_low, precision_high
        self.chance_low, self.chance_high = chance_low, chance_high
        self.n_rows, self.n_positives = n_rows, n_positives
        self.budget = budget
        self.confidence = confidence
        self.pos_label = pos_label
        self.name = name
        self.folds = folds

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_score,
        *,
        sample_weight=None,
        pos_label=None,
        name=None,
        budget=None,
        confidence=0.95,
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
            Row weights; a budget then counts weight.
        pos_label : label, default=None
            The positive class; None takes 1 of 0/1 or -1/1 labels.
        name : str, default=None
            Name in the legend.
        budget : int or float in (0, 1], default=None
            A number of rows, or their share, that is marked and read off.
        confidence : float in (0, 1), default=0.95
            Of the intervals.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        ReviewBudgetDisplay
            The display, drawn.
        """
        rows = cls._rows(y_true, y_score, sample_weight, pos_label)
        display = cls._computed(rows, budget=budget, confidence=confidence, name=name)
        return display.plot(ax=ax, **plot_kwargs)

    @classmethod
    def _computed(cls, rows, *, budget=None, confidence=0.95, name=None):
        warn_if_constant(cls.__name__, rows)
        total, positives = float(rows.total), float(rows.positives)
        budget = _rows_of_budget(budget, total)
        n = review_grid(total, len(rows.y))
        n = n if budget is None else np.union1d(n, [budget])
        curve = gain_curve(
            rows.y, rows.score, budgets=n / total, confidence=confidence, sample_weight=rows.weight
        )
        return cls(
            n_reviewed=n,
            recall=curve.gain,
            recall_low=curve.gain_low,
            recall_high=curve.gain_high,
            precision=curve.precision,
            precision_low=curve.precision_low,
            precision_high=curve.precision_high,
            chance_low=curve.chance_low,
            chance_high=curve.chance_high,
            n_rows=total,
            n_positives=positives,
            budget=budget,
            confidence=confidence,
            pos_label=rows.pos_label,
            name=name,
        )

    def plot(
        self,
        ax=None,
        *,
        name=None,
        show_precision=True,
        show_band=True,
        curve_kwargs=None,
        band_kwargs=None,
        despine=False,
    ):
        """Draw both curves over the number of rows, on a logarithmic axis above 1,000 of them.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name in the legend, in place of the display's.
        show_precision : bool, default=True
            Whether to draw precision too.
        show_band : bool, default=True
            Whether to draw intervals and the band of chance.
        curve_kwargs : dict, default=None
            For the line of recall.
        band_kwargs : dict, default=None
            For the bands of the intervals.
        despine : bool, default=False
            Whether to leave out the right border.

        Returns
        -------
        ReviewBudgetDisplay
            Itself.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        name = self.name if name is None else name
        of = "" if name is None else f" of {name}"
        level = f"{100 * self.confidence:g} % pointwise"
        curves = [("recall", f"Recall{of}", styled(curve_kwargs, **MODEL))]
        if show_precision:
            curves.append(("precision", f"Precision{of}", dict(SERIES[1])))
        self.line_, self.band_ = [], []
        for what, label, style in curves:
            values = getattr(self, what)
            self.line_ += ax.plot(self.n_reviewed, values, label=label, **style)
            for fold in self.folds or ():
                scale = self.n_rows / fold.n_rows
                thin = {**style, "linewidth": 0.7, "alpha": 0.5}
                ax.plot(fold.n_reviewed * scale, getattr(fold, what), **thin)
            if show_band:
                ends = getattr(self, f"{what}_low"), getattr(self, f"{what}_high")
                kw = {**BAND, "color": self.line_[-1].get_color(), **(band_kwargs or {})}
                self.band_.append(ax.fill_between(self.n_reviewed, *ends, **kw))
        self.chance_level_ = None
        if show_band:
            self.band_[0].set_label(level)
            chance = (self.n_reviewed, self.chance_low, self.chance_high)
            self.chance_level_ = ax.fill_between(
                *chance, color=CHANCE["color"], alpha=0.25, linewidth=0, label="Recall by chance"
            )
        self.budget_line_ = None
        if self.budget is not None:
            at = int(np.searchsorted(self.n_reviewed, self.budget))
            low, high = self.recall_low[at], self.recall_high[at]
            text = (
                f"{self.budget:,.6g} reviewed: {percent(self.recall[at])} of cases "
                f"({100 * low:.0f}-{percent(high)})"
            )
            self.budget_line_ = ax.axvline(self.budget, label=text, linewidth=1.2, **REFERENCE)
        if self.n_rows > 1000:
            ax.set_xscale("log")
            plain_numbers(ax.xaxis)
        ax.set(
            xlabel="Reviewed rows, highest scores first",
            ylabel=self._label("Recall, precision" if show_precision else "Recall"),
            xlim=(self.n_reviewed[0], self.n_rows),
            ylim=(-0.01, 1.01),
        )
        n_rows = self.n_rows
        self.share_ax_ = ax.secondary_xaxis(
            "top", functions=(lambda x: 100 * x / n_rows, lambda x: x * n_rows / 100)
        )
        self.share_ax_.set_xlabel("Reviewed rows, % of all")
        if n_rows > 1000:
            plain_numbers(self.share_ax_.xaxis)
        if despine:
            ax.spines["right"].set_visible(False)
        legend(ax, below=True)
        return self


def _rows_of_budget(budget, total):
    """A budget in rows."""
    if budget is None:
        return None
    whole = isinstance(budget, Integral) and budget >= 1
    if isinstance(budget, bool) or not (whole or (isinstance(budget, Real) and 0 < budget <= 1)):
        raise ValueError(
            f"budget={budget!r} must be a whole number of rows of at least 1 or a share of the rows in (0, 1]."
        )
    size = float(budget) if whole else budget * total
    if size > total * (1 + 1e-12):
        raise ValueError(
            f"budget={budget!r} is more than the {total:g} rows there are (by weight); lower it or give a share of "
            "the rows, for instance budget=0.05."
        )
    return size
