"""The display of training: losses and validation score by epoch."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skimb.inspection._display import (
    GREEN,
    GREY,
    MODEL,
    REFERENCE,
    despined,
    legend,
    new_axes,
    styled,
)


class TrainingCurveDisplay:
    """Loss and validation score by epoch, and the epoch whose weights predict.

    Reads the history of skimb's and skorch's nets, and ``loss_curve_`` and ``validation_scores_`` of scikit-learn's
    perceptrons. Members of an ensemble or a population are drawn thin, their mean thick.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    epochs : ndarray of shape (n_epochs,)
        Numbers of the epochs, from 1.
    train_loss : ndarray of shape (n_members, n_epochs)
        Mean loss of the training batches; NaN where a member had stopped.
    valid_loss : ndarray of shape (n_members, n_epochs), default=None
        Loss of validation rows.
    score : ndarray of shape (n_members, n_epochs), default=None
        Score of validation rows.
    best_epoch : list of int, default=None
        The epoch of each member whose score was best.
    name : str, default=None
        Name of the model.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_ : list of matplotlib Line2D
        Training loss, validation loss if there is one, score if there is one.
    score_ax_ : matplotlib Axes or None
        The right axis.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skimb.inspection import TrainingCurveDisplay
    >>> from skimb.neural_network import MLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = MLPClassifier((16,), max_iter=5, random_state=0).fit(X / X.max(0), y)
    >>> TrainingCurveDisplay.from_estimator(model).epochs
    array([1, 2, 3, 4, 5])
    """

    def __init__(
        self,
        *,
        epochs,
        train_loss,
        valid_loss=None,
        score=None,
        best_epoch=None,
        name=None,
    ):
        self.epochs = epochs
        self.train_loss = train_loss
        self.valid_loss = valid_loss
        self.score = score
        self.best_epoch = best_epoch
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **plot_kwargs):
        """Draw the training of a fitted estimator, or of several.

        Parameters
        ----------
        estimator : estimator or list of estimators
            Fitted, with ``history_``, ``history`` or ``loss_curve_``; a pipeline's last step; members of a list are
            drawn as those of an ensemble.
        name : str, default=None
            Name of the model; None takes that of the class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        TrainingCurveDisplay
            The display, drawn.
        """
        members = list(estimator) if isinstance(estimator, list | tuple) else [estimator]
        if not members:
            raise ValueError(f"{cls.__name__} got an empty list; give fitted estimators.")
        records = [record for member in members for record in _records(cls.__name__, member)]
        if not records or not any(records):
            raise ValueError(
                f"{type(members[0]).__name__} has trained for no epoch (solver='lbfgs' keeps no curve of epochs); "
                "there is nothing to draw."
            )
        size = max(len(record) for record in records)
        found = {key: _column(records, key, size) for key in _KEYS}
        score = found["valid_score"] if found["valid_score"] is not None else found["valid_acc"]
        best = None
        if score is not None:
            best = [int(np.nanargmax(row)) + 1 for row in score if np.isfinite(row).any()]
        display = cls(
            epochs=np.arange(1, size + 1),
            train_loss=found["train_loss"],
            valid_loss=found["valid_loss"],
            score=score,
            best_epoch=best,
            name=type(_last(members[0])).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **plot_kwargs)

    def plot(self, ax=None, *, name=None, log=False, curve_kwargs=None, despine=False):
        """Draw losses on the left axis and the score on the right one.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the model on the axis, in place of the display's.
        log : bool, default=False
            Whether the axis of losses is logarithmic.
        curve_kwargs : dict, default=None
            For the line of the training loss.
        despine : bool, default=False
            Whether to leave out the upper border, and the right one where it is no axis.

        Returns
        -------
        TrainingCurveDisplay
            Itself.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        name = self.name if name is None else name
        self.score_ax_ = None if self.score is None else ax.twinx()
        curves = [
            (ax, self.train_loss, "training loss", styled(curve_kwargs, **MODEL)),
            (ax, self.valid_loss, "validation loss", dict(REFERENCE)),
            (
                self.score_ax_,
                self.score,
                "validation score",
                {"color": GREEN, "linestyle": (0, (8, 3))},
            ),
        ]
        self.line_ = []
        for axis, values, label, style in curves:
            if values is None:
                continue
            several = len(values) > 1
            for row in values if several else ():
                axis.plot(self.epochs, row, **{**style, "linewidth": 0.7, "alpha": 0.4})
            there = np.isfinite(values).sum(0)
            mean = np.divide(
                np.nansum(values, 0), there, out=np.full(len(there), np.nan), where=there > 0
            )
            label = f"{label}, mean of {len(values)}" if several else label
            marker = {"marker": "o"} if len(self.epochs) == 1 else {}
            self.line_ += axis.plot(self.epochs, mean, label=None, **style, **marker)
            ax.plot([], [], label=label, **style)
        best = self.best_epoch or []
        if len(best) == 1:
            ax.axvline(
                best[0],
                color="black",
                linewidth=1,
                linestyle=":",
                label=f"best score: epoch {best[0]}",
            )
        elif best:
            ax.plot(
                best, np.full(len(best), 0.02), transform=ax.get_xaxis_transform(), color="black",
                marker="|", linestyle="none", label="best score of members",
            )  # fmt: skip
        if log:
            ax.set_yscale("log")
        of = "" if name is None else f" of {name}"
        ax.set(xlabel=f"Epoch{of}", ylabel="Loss (mean per row)")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(color=GREY, alpha=0.2, linewidth=0.6)
        if self.score_ax_ is not None:
            self.score_ax_.set_ylabel("Validation score")
        if despine:
            despined(ax)
            if self.score_ax_ is not None:
                ax.spines["right"].set_visible(True)
        legend(ax, below=True)
        return self


_KEYS = ("train_loss", "valid_loss", "valid_score", "valid_acc")


def _last(estimator):
    """The last step of a pipeline, or what a meta-estimator fitted."""
    while True:
        if hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        elif not _curves(estimator) and hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif not _curves(estimator) and hasattr(estimator, "estimator_"):
            estimator = estimator.estimator_
        else:
            return estimator


def _curves(estimator):
    return any(hasattr(estimator, key) for key in ("history_", "history", "loss_curve_"))


def _records(owner, estimator):
    """Records of epochs, a list for each member."""
    check_is_fitted(estimator)
    last = _last(estimator)
    history = getattr(last, "history_", getattr(last, "history", None))
    if history is None and hasattr(last, "loss_curve_"):
        scores = getattr(last, "validation_scores_", None)
        records = [{"train_loss": loss} for loss in last.loss_curve_]
        for record, score in zip(records, scores or (), strict=False):
            record["valid_score"] = score
        return [records]
    if history is None and hasattr(last, "estimators_"):
        members = [m for m in np.ravel(last.estimators_) if m is not None]
        return [record for member in members for record in _records(owner, member)]
    if history is None or isinstance(history, dict):
        raise TypeError(
            f"{owner} reads history_ (skimb, skorch) or loss_curve_ (scikit-learn), {type(last).__name__} keeps "
            "neither."
        )
    history = list(history)
    return history if history and isinstance(history[0], list) else [history]


def _column(records, key, size):
    """Values of all members (m, size), NaN where there are none; None if nobody has any."""
    values = np.full((len(records), size), np.nan)
    for row, record in zip(values, records, strict=True):
        row[: len(record)] = [
            np.nan if epoch.get(key) is None else float(epoch[key]) for epoch in record
        ]
    return values if np.isfinite(values).any() else None
