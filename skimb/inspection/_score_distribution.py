"""The display of scores by class, with thresholds."""

import numpy as np
from scipy import special

from skimb.inspection._display import (
    BLUE,
    GREY,
    REFERENCE,
    SERIES,
    VERMILLION,
    ScoreDisplay,
    cut,
    despined,
    is_rare,
    legend,
    logit_axis,
    new_axes,
    warn_if_constant,
)

_RUG = 200


class ScoreDistributionDisplay(ScoreDisplay):
    """Scores of negative rows above the line and of positive ones below it, each of area 1, with thresholds.

    Probabilities that lie mostly below 0.1 are binned and drawn on a logit axis. Up to 200 positive rows also stand
    there one by one.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Edges of the bins, as scores.
    density_negative, density_positive : ndarray of shape (n_bins,)
        Densities on the axis that is drawn (of logits there).
    n_negative, n_positive : int
        Rows of each class.
    thresholds : dict of str to float, default=None
        Thresholds that are marked, by name.
    rug : ndarray of shape (n_positive,), default=None
        Scores of the positive rows.
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
    areas_ : list of matplotlib PolyCollection or StepPatch
        Of negative and of positive rows.
    threshold_lines_ : list of matplotlib Line2D
        The thresholds.
    rug_ : matplotlib Line2D or None
        The positive rows.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import ScoreDistributionDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = ScoreDistributionDisplay.from_estimator(model, X[1::2], y[1::2], thresholds=0.5)
    >>> display.n_positive, display.thresholds
    (174, {'threshold': 0.5})
    """

    def __init__(
        self,
        *,
        edges,
        density_negative,
        density_positive,
        n_negative,
        n_positive,
        thresholds=None,
        rug=None,
        logit=False,
        pos_label=None,
        name=None,
    ):
        self.edges = edges
        self.density_negative, self.density_positive = density_negative, density_positive
        self.n_negative, self.n_positive = n_negative, n_positive
        self.thresholds = thresholds
        self.rug = rug
        self.logit = logit
        self.pos_label = pos_label
        self.name = name

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
        n_bins=40,
        logit="auto",
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
        thresholds : float or dict of str to float, default=None
            Thresholds to mark.
        n_bins : int in [2, inf), default=40
            Bins of equal width on the axis that is drawn.
        logit : bool or "auto", default="auto"
            Whether scores are probabilities on a logit axis; "auto" takes it where their median is below 0.1.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        ScoreDistributionDisplay
            The display, drawn.
        """
        rows = cls._rows(y_true, y_score, sample_weight, pos_label)
        warn_if_constant(cls.__name__, rows)
        if logit == "auto":
            logit = is_rare(rows.score)
        elif logit and not 0 <= rows.score.min() <= rows.score.max() <= 1:
            raise ValueError(
                f"logit=True needs probabilities, y_score spans {rows.score.min():g} to {rows.score.max():g}."
            )
        if thresholds is not None and not isinstance(thresholds, dict):
            thresholds = {"threshold": float(thresholds)}
        s = special.logit(rows.score.clip(1e-6, 1.0 - 1e-6)) if logit else rows.score
        low, high = s.min(), s.max()
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, n_bins + 1)
        densities = [
            np.histogram(s[rows.y == k], edges, weights=rows.weight[rows.y == k], density=True)[0]
            for k in (0, 1)
        ]
        n_positive = int(rows.y.sum())
        display = cls(
            edges=special.expit(edges) if logit else edges,
            density_negative=densities[0],
            density_positive=densities[1],
            n_negative=len(rows.y) - n_positive,
            n_positive=n_positive,
            thresholds=thresholds,
            rug=np.sort(rows.score[rows.y == 1]),
            logit=bool(logit),
            pos_label=rows.pos_label,
            name=name,
        )
        return display.plot(ax=ax, **plot_kwargs)

    def plot(self, ax=None, *, show_rug=None, despine=False):
        """Draw both densities, the thresholds and the positive rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        show_rug : bool, default=None
            Whether to draw positive rows one by one; None does up to 200.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        ScoreDistributionDisplay
            Itself.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        said = "positive" if self.pos_label is None else f"positive (label {cut(self.pos_label)})"
        kinds = [
            (self.density_negative, BLUE, "///", f"negative, {self.n_negative:,} rows"),
            (-self.density_positive, VERMILLION, None, f"{said}, {self.n_positive:,} rows"),
        ]
        self.areas_ = []
        for density, color, hatch, label in kinds:
            kw = {"facecolor": (*_rgb(color), 0.35), "edgecolor": color, "hatch": hatch}
            self.areas_.append(
                ax.stairs(density, self.edges, fill=True, linewidth=1.2, label=label, **kw)
            )
        if self.logit:
            logit_axis(ax.xaxis, self.edges[0], self.edges[-1])
        top, bottom = self.density_negative.max(), self.density_positive.max()
        self.rug_ = None
        show = self.n_positive <= _RUG if show_rug is None else show_rug
        if show and self.rug is not None:
            at = np.full(len(self.rug), -1.08 * bottom)
            style = {"color": VERMILLION, "linestyle": "none", "marker": "|", "markersize": 8}
            rug = self.rug.clip(self.edges[0], self.edges[-1])
            (self.rug_,) = ax.plot(rug, at, clip_on=False, **style)
        styles = (REFERENCE, *SERIES[1:3])
        self.threshold_lines_ = [
            ax.axvline(t, label=f"{label} {t:.3g}", **{**style, "color": "black"})
            for (label, t), style in zip((self.thresholds or {}).items(), styles, strict=False)
        ]
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.set_ylim(-1.18 * bottom, 1.08 * top)
        ax.set_yticks([])
        of = "" if self.name is None else f" of {self.name}"
        scale = ", logit scale" if self.logit else ""
        ax.set(xlabel=f"Score{of}{scale}", ylabel="Density (each class: area 1)")
        if despine:
            despined(ax)
        legend(ax)
        return self


def _rgb(color):
    """Red, green and blue in [0, 1] of a hexadecimal colour."""
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
