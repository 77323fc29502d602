"""The display of precision and recall with the line of prevalence and a band."""

import numpy as np
from sklearn.utils import check_random_state

from skimb.inspection._display import (
    BAND,
    CHANCE,
    MODEL,
    CrossValidatedDisplay,
    despined,
    legend,
    new_axes,
    styled,
    warn_if_constant,
)

_GRID = np.linspace(0.0, 1.0, 101)


class PrecisionRecallBandDisplay(CrossValidatedDisplay):
    """Precision by recall, with the precision of a random order and a band of what other samples would show.

    The band holds, at each recall, the quantiles of draws with replacement within each class; it does not know
    that the model itself would be another one.
    Make one with :meth:`from_estimator`, :meth:`from_predictions` or :meth:`from_cv_results`.

    Parameters
    ----------
    precision, recall : ndarray of shape (n_points,)
        The curve, by falling threshold: one point per distinct score.
    average_precision : float
        Its area by steps, as scikit-learn computes it.
    prevalence : float
        Share of the positive class.
    grid_recall, low, high : ndarray of shape (101,), default=None
        The band of precision at equal steps of recall.
    average_precision_low, average_precision_high : float, default=None
        The same quantiles of the area.
    confidence : float, default=0.95
        Of the band.
    pos_label : label, default=None
        The positive class.
    name : str, default=None
        Name of the model.
    folds : list of PrecisionRecallBandDisplay, default=None
        Displays of single folds, drawn thin.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_ : matplotlib Line2D
        The curve.
    band_ : matplotlib PolyCollection or None
        The band.
    chance_level_ : matplotlib Line2D
        The line of prevalence.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import PrecisionRecallBandDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = PrecisionRecallBandDisplay.from_estimator(model, X[1::2], y[1::2], pos_label=0)
    >>> bool(display.average_precision_low < display.average_precision < display.average_precision_high)
    True
    """

    _once = ("n_bootstrap",)

    def __init__(
        self,
        *,
        precision,
        recall,
        average_precision,
        prevalence,
        grid_recall=None,
        low=None,
        high=None,
        average_precision_low=None,
        average_precision_high=None,
        confidence=0.95,
        pos_label=None,
        name=None,
        folds=None,
    ):
        self.precision, self.recall = precision, recall
        self.average_precision = average_precision
        self.prevalence = prevalence
        self.grid_recall, self.low, self.high = grid_recall, low, high
        self.average_precision_low = average_precision_low
        self.average_precision_high = average_precision_high
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
        confidence=0.95,
        n_bootstrap=500,
        random_state=0,
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
            Row weights; draws then hold Kish's number of effective rows of each class.
        pos_label : label, default=None
            The positive class; None takes 1 of 0/1 or -1/1 labels.
        name : str, default=None
            Name in the legend.
        confidence : float in (0, 1), default=0.95
            Of the band.
        n_bootstrap : int in [0, inf), default=500
            Draws behind the band; 0 draws none.
        random_state : int, RandomState or None, default=0
            Of the draws.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        PrecisionRecallBandDisplay
            The display, drawn.
        """
        rows = cls._rows(y_true, y_score, sample_weight, pos_label)
        display = cls._computed(
            rows, confidence=confidence, n_bootstrap=n_bootstrap,
            random_state=random_state, name=name,
        )  # fmt: skip
        return display.plot(ax=ax, **plot_kwargs)

    @classmethod
    def _computed(cls, rows, *, confidence=0.95, n_bootstrap=0, random_state=0, name=None):
        warn_if_constant(cls.__name__, rows)
        _, seen, hits = rows.falling()
        display = cls(
            precision=np.r_[1.0, hits / seen],
            recall=np.r_[0.0, hits / hits[-1]],
            average_precision=float(np.diff(hits, prepend=0.0) @ (hits / seen) / hits[-1]),
            prevalence=float(rows.positives / rows.total),
            confidence=confidence,
            pos_label=rows.pos_label,
            name=name,
        )
        if n_bootstrap:
            display._draw_band(rows, seen, hits, n_bootstrap, check_random_state(random_state))
        return display

    def _draw_band(self, rows, seen, hits, n_bootstrap, rng):
        """Quantiles over draws of positive rows, and of the negative rows between them."""
        positives = np.diff(hits, prepend=0.0)
        at = np.flatnonzero(positives)
        negatives = np.diff(np.r_[(seen - hits)[at], seen[-1] - hits[-1]], prepend=0.0)
        n0, n1 = (max(1, round(n)) for n in rows.effective)
        share1, share0 = positives[at] / hits[-1], negatives / negatives.sum()
        curves, areas = np.empty((n_bootstrap, len(_GRID))), np.empty(n_bootstrap)
        for b in range(n_bootstrap):
            drawn = rng.multinomial(n1, share1) / n1
            recall = drawn.cumsum()
            fp = rng.multinomial(n0, share0)[:-1].cumsum() / n0 * negatives.sum()
            tp = recall * hits[-1]
            precision = np.divide(tp, tp + fp, out=np.ones_like(tp), where=tp > 0)
            curves[b] = precision[np.searchsorted(recall + 1e-12, _GRID)]
            areas[b] = drawn @ precision
        self.grid_recall = _GRID
        tail = 0.5 * (1.0 - self.confidence)
        self.low, self.high = np.quantile(curves, [tail, 1.0 - tail], axis=0)
        low, high = np.quantile(areas, [tail, 1.0 - tail])
        self.average_precision_low, self.average_precision_high = float(low), float(high)

    def plot(
        self,
        ax=None,
        *,
        name=None,
        show_band=True,
        plot_chance_level=True,
        curve_kwargs=None,
        band_kwargs=None,
        chance_level_kw=None,
        despine=False,
    ):
        """Draw the curve in steps, the band and the line of prevalence.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name in the legend, in place of the display's.
        show_band : bool, default=True
            Whether to draw the band.
        plot_chance_level : bool, default=True
            Whether to draw the line of prevalence.
        curve_kwargs : dict, default=None
            For the line.
        band_kwargs : dict, default=None
            For the band.
        chance_level_kw : dict, default=None
            For the line of prevalence.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        PrecisionRecallBandDisplay
            Itself.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        name = self.name if name is None else name
        style = {**styled(curve_kwargs, **MODEL), "drawstyle": "steps-pre"}
        known = self.average_precision_low is not None
        spread = (
            f", {self.average_precision_low:.2f} to {self.average_precision_high:.2f}"
            if known
            else ""
        )
        label = f"AP = {self.average_precision:.2f}{spread}"
        label = label if name is None else f"{name} ({label})"
        style.setdefault("label", label)
        (self.line_,) = ax.plot(self.recall, self.precision, **style)
        thin = {**style, "linewidth": 0.7, "alpha": 0.5, "label": None}
        for fold in self.folds or ():
            ax.plot(fold.recall, fold.precision, **thin)
        self.band_ = self.chance_level_ = None
        if show_band and self.low is not None:
            kw = {**BAND, "color": self.line_.get_color(), "step": "pre", **(band_kwargs or {})}
            kw.setdefault("label", f"{100 * self.confidence:g} % pointwise")
            self.band_ = ax.fill_between(self.grid_recall, self.low, self.high, **kw)
        if plot_chance_level:
            label = f"Chance (prevalence {self.prevalence:.2g})"
            kw = styled(chance_level_kw, label=label, **CHANCE)
            (self.chance_level_,) = ax.plot([0, 1], [self.prevalence] * 2, **kw)
        ax.set(
            xlabel=self._label("Recall"),
            ylabel=self._label("Precision"),
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
        )
        if despine:
            despined(ax)
        legend(ax)
        return self
