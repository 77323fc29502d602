"""The display of cumulative gain, lift and the Kolmogorov-Smirnov statistic."""

import numpy as np

from skimb.inspection._display import (
    BAND,
    CHANCE,
    GREEN,
    MODEL,
    REFERENCE,
    ScoreDisplay,
    despined,
    is_rare,
    legend,
    logit_axis,
    new_axes,
    plain_numbers,
    styled,
    warn_if_constant,
)
from skimb.metrics import gain_curve, kolmogorov_smirnov_curve

_KINDS = ("gain", "lift", "ks")


class GainLiftDisplay(ScoreDisplay):
    """Cumulative gain, lift, or the curves of the Kolmogorov-Smirnov statistic.

    *gain*: share of all positive rows among the rows of the highest scores, with the best order and a random one.
    *lift*: how many times as many as a random order finds. *ks*: shares of both classes whose score is at least the
    threshold, and where they differ most. Intervals of gain and lift hold at each share, the bands of *ks* as a
    whole; see :func:`~skimb.metrics.gain_curve` and :func:`~skimb.metrics.kolmogorov_smirnov_curve`.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    share : ndarray of shape (n_points,)
        Shares of the rows, highest scores first.
    gain, gain_low, gain_high : ndarray of shape (n_points,)
        Gain and its interval.
    lift, lift_low, lift_high : ndarray of shape (n_points,)
        Lift and its interval.
    perfect, chance_low, chance_high : ndarray of shape (n_points,)
        Gain of the best order, and the interval of a random one.
    ks_curve : Bunch
        What :func:`~skimb.metrics.kolmogorov_smirnov_curve` found.
    kind : {"gain", "lift", "ks"}, default="gain"
        What is drawn.
    confidence : float, default=0.95
        Of intervals and bands.
    pos_label : label, default=None
        The positive class.
    name : str, default=None
        Name of the model.

    Attributes
    ----------
    ks, ks_at : float
        The statistic and the threshold that reaches it.
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_ : list of matplotlib Line2D
        The curve; for "ks" those of the positive and of the negative class.
    band_ : list of matplotlib PolyCollection
        Their bands.
    chance_level_ : matplotlib artist or None
        What a random order gives.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import GainLiftDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = GainLiftDisplay.from_estimator(model, X[1::2], y[1::2], pos_label=0, kind="ks")
    >>> display.ks > 0.9
    True
    """

    def __init__(
        self,
        *,
        share,
        gain,
        gain_low,
        gain_high,
        lift,
        lift_low,
        lift_high,
        perfect,
        chance_low,
        chance_high,
        ks_curve,
        kind="gain",
        confidence=0.95,
        pos_label=None,
        name=None,
    ):
        self.share = share
        self.gain, self.gain_low, self.gain_high = gain, gain_low, gain_high
        self.lift, self.lift_low, self.lift_high = lift, lift_low, lift_high
        self.perfect = perfect
        self.chance_low, self.chance_high = chance_low, chance_high
        self.ks_curve = ks_curve
        self.kind = kind
        self.confidence = confidence
        self.pos_label = pos_label
        self.name = name

    @property
    def ks(self):
        """The Kolmogorov-Smirnov statistic."""
        return self.ks_curve.statistic

    @property
    def ks_at(self):
        """The threshold that reaches it."""
        return self.ks_curve.threshold_at_statistic

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_score,
        *,
        sample_weight=None,
        pos_label=None,
        name=None,
        kind="gain",
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
            Row weights.
        pos_label : label, default=None
            The positive class; None takes 1 of 0/1 or -1/1 labels.
        name : str, default=None
            Name in the legend.
        kind : {"gain", "lift", "ks"}, default="gain"
            What to draw.
        confidence : float in (0, 1), default=0.95
            Of intervals and bands.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        GainLiftDisplay
            The display, drawn.
        """
        _check_kind(kind)
        rows = cls._rows(y_true, y_score, sample_weight, pos_label)
        warn_if_constant(cls.__name__, rows)
        how = {"confidence": confidence, "sample_weight": rows.weight}
        curve = gain_curve(rows.y, rows.score, **how)
        ends = [f"{what}{end}" for what in ("gain", "lift") for end in ("", "_low", "_high")]
        taken = ["share", *ends, "perfect", "chance_low", "chance_high"]
        display = cls(
            **{key: curve[key] for key in taken},
            ks_curve=kolmogorov_smirnov_curve(rows.y, rows.score, **how),
            kind=kind,
            confidence=confidence,
            pos_label=rows.pos_label,
            name=name,
        )
        return display.plot(ax=ax, **plot_kwargs)

    def plot(
        self,
        ax=None,
        *,
        kind=None,
        name=None,
        show_band=True,
        curve_kwargs=None,
        band_kwargs=None,
        despine=False,
    ):
        """Draw one of the three.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        kind : {"gain", "lift", "ks"}, default=None
            What to draw, in place of the display's kind.
        name : str, default=None
            Name in the legend, in place of the display's.
        show_band : bool, default=True
            Whether to draw intervals and bands.
        curve_kwargs : dict, default=None
            For the curve of the model (of the positive class).
        band_kwargs : dict, default=None
            For the bands.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        GainLiftDisplay
            Itself.
        """
        kind = self.kind if kind is None else kind
        _check_kind(kind)
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        name = self.name if name is None else name
        self.line_, self.band_, self.chance_level_ = [], [], None
        style = styled(curve_kwargs, **MODEL)
        draw = {"gain": self._draw_gain, "lift": self._draw_lift, "ks": self._draw_ks}[kind]
        draw(ax, "model" if name is None else name, style, show_band, band_kwargs or {})
        if despine:
            despined(ax)
        legend(ax)
        return self

    def _curve(self, ax, x, value, ends, label, style, show_band, band_kwargs, extent="pointwise"):
        """A line and its band."""
        self.line_ += ax.plot(x, value, **{"label": label, **style})
        if show_band:
            kw = {**BAND, "color": self.line_[-1].get_color(), **band_kwargs}
            self.band_.append(ax.fill_between(x, *ends, **kw))
            if len(self.band_) == 1:
                self.band_[0].set_label(f"{100 * self.confidence:g} % {extent}")

    def _draw_gain(self, ax, name, style, show_band, band_kwargs):
        ends = self.gain_low, self.gain_high
        self._curve(ax, 100 * self.share, self.gain, ends, name, style, show_band, band_kwargs)
        best = {"color": GREEN, "linestyle": (0, (8, 3)), "linewidth": 1.2}
        ax.plot(100 * self.share, self.perfect, label="best order", **best)
        (self.chance_level_,) = ax.plot([0, 100], [0, 1], label="random order", **CHANCE)
        if show_band:
            chance = 100 * self.share, self.chance_low, self.chance_high
            ax.fill_between(*chance, color=CHANCE["color"], alpha=0.2, linewidth=0)
        ax.set(
            xlabel="Highest scores, % of all rows",
            ylabel=self._label("Share of positive rows found"),
            xlim=(-1, 101),
            ylim=(-0.01, 1.01),
        )

    def _draw_lift(self, ax, name, style, show_band, band_kwargs):
        some = self.share > 0
        x = 100 * self.share[some]
        ends = self.lift_low[some], self.lift_high[some]
        self._curve(ax, x, self.lift[some], ends, name, style, show_band, band_kwargs)
        self.chance_level_ = ax.axhline(1, label="random order", **CHANCE)
        ax.set(
            xscale="log",
            xlabel="Highest scores, % of all rows",
            ylabel=self._label("Lift: times a random order"),
            xlim=(x[0], 100),
            ylim=(0, 1.15 * np.nanmax(self.lift[some])),
        )
        plain_numbers(ax.xaxis)

    def _draw_ks(self, ax, name, style, show_band, band_kwargs):
        c = self.ks_curve
        of = "" if name == "model" else f" of {name}"
        t, logit = c.threshold, is_rare(c.threshold)
        if logit:  # areas with a corner at infinity are drawn wrong
            inner = t[(t > 0) & (t < 1)]
            t = t.clip(inner.min(initial=0.5), inner.max(initial=0.5))
        for which, text, line in (
            ("tpr", "positive rows", style),
            ("fpr", "negative rows", REFERENCE),
        ):
            ends = c[f"{which}_low"], c[f"{which}_high"]
            self._curve(ax, t, c[which], ends, text, line, show_band, band_kwargs, "band")
        at = int(np.argmax(np.abs(c.tpr - c.fpr)))
        text = f"KS = {self.ks:.2f} at {self.ks_at:.3g}"
        ends = [c.fpr[at], c.tpr[at]]
        ax.plot([self.ks_at] * 2, ends, color="black", linewidth=2, label=text)
        if logit:
            logit_axis(ax.xaxis, t[-1], t[0])
        elif t[0] > t[-1]:
            ax.set_xlim(t[-1], t[0])
        ax.set(
            xlabel=f"Threshold{of}",
            ylabel=self._label("Share of the class at or above it"),
            ylim=(-0.01, 1.01),
        )


def _check_kind(kind):
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} must be one of {', '.join(map(repr, _KINDS))}.")
