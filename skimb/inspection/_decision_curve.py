"""The display of decision curves: net benefit by threshold."""

import numpy as np

from skimb._core.optional import require
from skimb.inspection._display import (
    BAND,
    CHANCE,
    GREY,
    MODEL,
    SKY,
    CrossValidatedDisplay,
    legend,
    new_axes,
    pooled,
    styled,
)
from skimb.metrics import net_benefit_curve

_ODDS = (1, 2, 3, 4, 9, 19, 49, 99, 199, 499, 999, 1999, 4999)


class DecisionCurveDisplay(CrossValidatedDisplay):
    r"""Net benefit by the threshold, against treating all rows and none.

    :math:`\mathrm{NB}(t)=(\mathrm{TP}-\frac{t}{1-t}\mathrm{FP})/n`: who decides at a probability of :math:`t` takes
    :math:`(1-t)/t` false alarms for a hit, which the upper axis shows. The area in which the model is worth more
    than both is filled. See :func:`~skimb.metrics.net_benefit_curve`, also for the intervals, which hold at each
    threshold.

    Make one with :meth:`from_estimator`, :meth:`from_predictions` or :meth:`from_cv_results`.

    Parameters
    ----------
    thresholds : ndarray of shape (n_thresholds,)
        Thresholds.
    net_benefit, low, high : ndarray of shape (n_thresholds,)
        Net benefit and its interval.
    treat_all : ndarray of shape (n_thresholds,)
        Net benefit of flagging all rows.
    prevalence : float
        Share of the positive class: the largest net benefit there is.
    standardised : bool, default=False
        Whether values are divided by the prevalence.
    confidence : float, default=0.95
        Of the intervals.
    pos_label : label, default=None
        The positive class.
    name : str, default=None
        Name of the model.
    folds : list of DecisionCurveDisplay, default=None
        Displays of single folds, drawn thin.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_ : matplotlib Line2D
        The curve.
    band_ : matplotlib PolyCollection or None
        Its intervals.
    chance_level_ : list of matplotlib Line2D
        All and none.
    useful_ : matplotlib PolyCollection
        The area in which the model is worth more than both.
    odds_ax_ : matplotlib SecondaryAxis
        The upper axis.

    References
    ----------
    Vickers and Elkin 2006, doi:10.1177/0272989X06295361.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import DecisionCurveDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = DecisionCurveDisplay.from_estimator(model, X[1::2], y[1::2], pos_label=0)
    >>> bool((display.net_benefit[20:] > display.treat_all[20:]).all())
    True
    """

    _probabilities = True
    _together = staticmethod(pooled)

    def __init__(
        self,
        *,
        thresholds,
        net_benefit,
        low,
        high,
        treat_all,
        prevalence,
        standardised=False,
        confidence=0.95,
        pos_label=None,
        name=None,
        folds=None,
    ):
        self.thresholds = thresholds
        self.net_benefit, self.low, self.high = net_benefit, low, high
        self.treat_all = treat_all
        self.prevalence = prevalence
        self.standardised = standardised
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
        thresholds=None,
        prevalence=None,
        standardised=False,
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
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        pos_label : label, default=None
            The positive class; None takes 1 of 0/1 or -1/1 labels.
        name : str, default=None
            Name in the legend.
        thresholds : array-like of float in [0, 1), default=None
            Thresholds; None takes 100 up to five times the prevalence, at most 0.5.
        prevalence : float in (0, 1), default=None
            Share of positives in the population; None takes that of the rows.
        standardised : bool, default=False
            Whether to divide by the prevalence, so that 1 is perfect.
        confidence : float in (0, 1), default=0.95
            Of the intervals.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        DecisionCurveDisplay
            The display, drawn.
        """
        rows = cls._rows(y_true, y_score, sample_weight, pos_label)
        display = cls._computed(
            rows, thresholds=thresholds, prevalence=prevalence, standardised=standardised,
            confidence=confidence, name=name,
        )  # fmt: skip
        return display.plot(ax=ax, **plot_kwargs)

    @classmethod
    def _computed(
        cls,
        rows,
        *,
        thresholds=None,
        prevalence=None,
        standardised=False,
        confidence=0.95,
        name=None,
    ):
        curve = net_benefit_curve(
            rows.y,
            rows.score,
            thresholds=thresholds,
            prevalence=prevalence,
            confidence=confidence,
            sample_weight=rows.weight,
        )
        unit = curve.prevalence if standardised else 1.0
        return cls(
            thresholds=curve.threshold,
            net_benefit=curve.net_benefit / unit,
            low=curve.low / unit,
            high=curve.high / unit,
            treat_all=curve.treat_all / unit,
            prevalence=curve.prevalence,
            standardised=standardised,
            confidence=confidence,
            pos_label=rows.pos_label,
            name=name,
        )

    @classmethod
    def _of_folds(cls, folds, name, options):
        display = cls._computed(pooled(folds), name=name, **options)
        same = {**options, "thresholds": display.thresholds}
        display.folds = [cls._computed(rows, **same) for rows in folds]
        return display

    def plot(
        self,
        ax=None,
        *,
        name=None,
        show_band=True,
        curve_kwargs=None,
        band_kwargs=None,
        chance_level_kw=None,
        despine=False,
    ):
        """Draw the curve, its band, all and none.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name in the legend, in place of the display's.
        show_band : bool, default=True
            Whether to draw intervals.
        curve_kwargs : dict, default=None
            For the curve.
        band_kwargs : dict, default=None
            For the band.
        chance_level_kw : dict, default=None
            For the lines of all and none.
        despine : bool, default=False
            Whether to leave out the right border.

        Returns
        -------
        DecisionCurveDisplay
            Itself.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        name = self.name if name is None else name
        t, value = self.thresholds, self.net_benefit
        style = styled(curve_kwargs, **{**MODEL, "label": "model" if name is None else name})
        (self.line_,) = ax.plot(t, value, **style)
        thin = {**style, "linewidth": 0.7, "alpha": 0.5, "label": None}
        for fold in self.folds or ():
            ax.plot(fold.thresholds, fold.net_benefit, **thin)
        self.band_ = None
        if show_band:
            label = f"{100 * self.confidence:g} % pointwise"
            kw = {**BAND, "color": self.line_.get_color(), "label": label, **(band_kwargs or {})}
            self.band_ = ax.fill_between(t, self.low, self.high, **kw)
        rest = np.maximum(self.treat_all, 0.0)
        self.useful_ = ax.fill_between(
            t, rest, value, where=value > rest, facecolor=SKY, alpha=0.25, linewidth=0,
            hatch="..", edgecolor=GREY, label="worth more than both",
        )  # fmt: skip
        chance = styled(chance_level_kw, **CHANCE)
        plain = {**chance, "linestyle": "-", "linewidth": 0.9}
        self.chance_level_ = [
            *ax.plot(t, self.treat_all, **{"label": "flag all", **chance}),
            ax.axhline(0, **{"label": "flag none", **plain}),
        ]
        top = 1.0 if self.standardised else self.prevalence
        ax.set_ylim(-0.05 * top, 1.05 * max(top, value.max()))
        ax.set_xlim(t.min(), t.max()) if len(t) > 1 else None
        unit = " / prevalence" if self.standardised else " per row"
        ax.set(xlabel="Threshold of the probability", ylabel=self._label(f"Net benefit{unit}"))
        self.odds_ax_ = ax.secondary_xaxis("top")
        self._tick_odds(t.min(), t.max())
        if despine:
            ax.spines["right"].set_visible(False)
        legend(ax, below=True)
        return self

    def _tick_odds(self, low, high):
        """Ticks of the upper axis: false alarms for a hit, as far apart as their texts need."""
        ticker = require("matplotlib.ticker", extra="plot")
        marks, last = [], np.inf
        for odds in _ODDS:
            at = 1.0 / (1.0 + odds)
            if low <= at <= high and last - at >= 0.09 * (high - low):
                marks.append((at, odds))
                last = at
        places, texts = ([m[k] for m in marks] for k in (0, 1))
        self.odds_ax_.set_xticks(places, [f"{odds}" for odds in texts])
        self.odds_ax_.xaxis.set_minor_locator(ticker.NullLocator())
        self.odds_ax_.set_xlabel("False alarms accepted for a hit")
