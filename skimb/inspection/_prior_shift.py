"""The display of shares of the classes in a new population."""

import copy

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skimb.inspection._display import (
    BAND,
    BLUE,
    CHANCE,
    MODEL,
    REFERENCE,
    VERMILLION,
    cut,
    despined,
    legend,
    panels,
    plain_numbers,
)


class PriorShiftDisplay:
    """Shares of the classes that new rows show, against those of the source, and how they came about in a stream.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
        Classes.
    source_prior, prior : ndarray of shape (n_classes,)
        Shares in the source and in the new rows.
    interval : ndarray of shape (n_classes, 2)
        Intervals of the new shares.
    confidence : float, default=0.95
        Of the intervals.
    mean_before, mean_after : ndarray of shape (n_classes,), default=None
        Mean probabilities of given rows before and after they are moved.
    history : Bunch, default=None
        Of a stream, by batch: ``n`` rows so far, ``prior``, ``low`` and ``high`` of shape (n_batches, n_classes),
        and ``alarm``, the evidence against unchanged shares.
    watched : int, default=None
        The class whose share is drawn over the stream.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    axes_ : list of matplotlib Axes
        Of the shares and, with a stream, of its history.
    points_ : matplotlib Line2D
        The new shares.
    line_ : matplotlib Line2D or None
        The share over the stream.
    alarm_ax_ : matplotlib Axes or None
        The axis of the evidence.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import PriorShiftDisplay
    >>> from skimb.posthoc import PriorShiftAdapter
    >>> def drawn(n, share, rng=np.random.default_rng(0)):
    ...     y = (rng.random(n) < share).astype(int)
    ...     return rng.normal(size=(n, 2)) + 2.0 * y[:, None], y
    >>> model = PriorShiftAdapter(LogisticRegression(), random_state=0).fit(*drawn(2000, 0.05))
    >>> display = PriorShiftDisplay.from_estimator(model.adapt(drawn(2000, 0.2)[0]))
    >>> bool(display.interval[1, 0] < 0.2 < display.interval[1, 1])
    True
    """

    def __init__(
        self,
        *,
        labels,
        source_prior,
        prior,
        interval,
        confidence=0.95,
        mean_before=None,
        mean_after=None,
        history=None,
        watched=None,
    ):
        self.labels = labels
        self.source_prior, self.prior, self.interval = source_prior, prior, interval
        self.confidence = confidence
        self.mean_before, self.mean_after = mean_before, mean_after
        self.history = history
        self.watched = watched

    @classmethod
    def from_estimator(
        cls, adapter, X=None, *, stream=None, pos_label=None, ax=None, **plot_kwargs
    ):
        """Draw an adapter that has read new rows, or let a copy of it read a stream.

        Parameters
        ----------
        adapter : PriorShiftAdapter
            A fitted one, adapted if there is no stream.
        X : array-like of shape (n_samples, n_features), default=None
            Rows whose mean probabilities are drawn before and after.
        stream : iterable of array-like, default=None
            Batches of unlabelled rows. A copy that starts anew reads them by ``partial_adapt``; the adapter stays
            what it is.
        pos_label : label, default=None
            The class whose share is drawn over the stream; None takes the rarest one of the source.
        ax : matplotlib Axes or list of 2, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        PriorShiftDisplay
            The display, drawn.
        """
        check_is_fitted(adapter)
        if not hasattr(adapter, "source_prior_"):
            raise TypeError(
                f"{cls.__name__} draws a PriorShiftAdapter, got {type(adapter).__name__}; wrap the classifier in "
                "one."
            )
        classes = np.asarray(adapter.classes_)
        if pos_label is not None and pos_label not in classes.tolist():
            raise ValueError(f"pos_label={pos_label!r} is none of the classes {classes.tolist()}.")
        history = None
        if stream is not None:
            adapter = copy.deepcopy(adapter).reset()
            history = _read(adapter, stream)
        if not adapter.n_adapted_:
            raise ValueError(
                f"The {type(adapter).__name__} has read no new rows; call adapt(X) first or give stream=."
            )
        before = None if X is None else adapter.predict_source_proba(X).mean(0)
        after = None if X is None else adapter.predict_proba(X).mean(0)
        watched = int(np.argmin(adapter.source_prior_))
        if pos_label is not None:
            watched = classes.tolist().index(pos_label)
        display = cls(
            labels=classes,
            source_prior=adapter.source_prior_,
            prior=adapter.estimated_prior_,
            interval=adapter.prior_interval_,
            confidence=adapter._confidence,
            mean_before=before,
            mean_after=after,
            history=history,
            watched=watched,
        )
        return display.plot(ax=ax, **plot_kwargs)

    def plot(self, ax=None, *, despine=False):
        """Draw the shares of the classes and, with a stream, one of them by batch with the evidence of a shift.

        Parameters
        ----------
        ax : matplotlib Axes or list of 2, default=None
            Where to draw; None makes a figure.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        PriorShiftDisplay
            Itself.
        """
        self.ax_, self.axes_ = panels(ax, 1 if self.history is None else 2, widths=None)
        self.figure_ = self.ax_.figure
        axis = self.axes_[0]
        at = np.arange(len(self.labels))
        kw = {"color": BLUE, "linewidth": 2, "label": f"{100 * self.confidence:g} % interval"}
        axis.hlines(at, *self.interval.T, **kw)
        (self.points_,) = axis.plot(
            self.prior, at, color=BLUE, marker="o", linestyle="none", label="new rows"
        )
        axis.plot(
            self.source_prior, at, color=VERMILLION, marker="|", markersize=16, markeredgewidth=2,
            linestyle="none", label="source",
        )  # fmt: skip
        if self.mean_before is not None:
            for values, marker, label in (
                (self.mean_before, "^", "mean probability before"),
                (self.mean_after, "v", "mean probability after"),
            ):
                style = {"markerfacecolor": "none", "linestyle": "none", "color": "black"}
                axis.plot(values, at + 0.22, marker=marker, label=label, **style)
        axis.set_yticks(at, [cut(label) for label in self.labels])
        axis.set_ylim(len(at) - 0.4, -0.6)
        if 0 < min(self.source_prior.min(), self.prior.min()) < 0.05:
            axis.set_xscale("log")
            low = min(self.source_prior.min(), self.prior.min(), max(self.interval.min(), 1e-5))
            axis.set_xlim(0.7 * low, 1.3)
            plain_numbers(axis.xaxis)
        else:
            axis.set_xlim(-0.02, 1.02)
        axis.set(xlabel="Share of the class", ylabel="Class")
        if despine:
            despined(axis)
        legend(axis, below=True, ncols=1 if self.history is not None else 2)
        self.line_ = self.alarm_ax_ = None
        if self.history is not None:
            self._draw_stream(self.axes_[1])
        return self

    def _draw_stream(self, axis):
        """The share of one class over the rows of a stream, and the evidence against unchanged shares."""
        h, k = self.history, self.watched
        (self.line_,) = axis.plot(
            h.n, h.prior[:, k], marker=".", label=f"share of class {cut(self.labels[k])}", **MODEL
        )
        axis.fill_between(h.n, h.low[:, k], h.high[:, k], color=BLUE, **BAND)
        axis.axhline(self.source_prior[k], label="source", **CHANCE)
        axis.set(xlabel="New rows so far", ylabel=f"Share of class {cut(self.labels[k])}")
        axis.set_ylim(0, 1.25 * max(h.high[:, k].max(), self.source_prior[k]))
        self.alarm_ax_ = axis.twinx()
        self.alarm_ax_.plot(h.n, h.alarm, **REFERENCE)
        axis.plot([], [], label="evidence of a shift", **REFERENCE)
        bar = 1.0 / (1.0 - self.confidence)
        self.alarm_ax_.axhline(bar, color=VERMILLION, linewidth=0.8, linestyle=(0, (1, 2)))
        axis.plot(
            [],
            [],
            color=VERMILLION,
            linewidth=0.8,
            linestyle=(0, (1, 2)),
            label=f"alarm at {bar:.3g}",
        )
        self.alarm_ax_.set_yscale("log")
        self.alarm_ax_.set_ylim(0.5, max(2.0 * bar, min(2.0 * h.alarm.max(), 1e12)))
        self.alarm_ax_.set_ylabel("Evidence (e-value)")
        legend(axis, below=True, ncols=1)


def _read(adapter, stream):
    """What an adapter finds after each batch."""
    found = []
    for batch in stream:
        adapter.partial_adapt(batch)
        found.append(
            (
                adapter.n_adapted_,
                adapter.estimated_prior_,
                *adapter.prior_interval_.T,
                adapter.alarm_,
            )
        )
    if not found:
        raise ValueError("stream holds no batch; give at least one.")
    n, prior, low, high, alarm = (np.array(part) for part in zip(*found, strict=True))
    return Bunch(n=n, prior=prior, low=low, high=high, alarm=alarm)
