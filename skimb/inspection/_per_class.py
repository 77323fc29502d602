"""The display of recall and precision by class, from the most frequent one to the rarest."""

import numpy as np
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from skimb.inspection._display import BLUE, GREY, PURPLE, cut, despined, legend, panels
from skimb.metrics import classification_table

_MOST_CLASSES = 40
_FEW = 5
_NUMBERS = 12


class PerClassRecallDisplay:
    """Recall and precision of each class with exact intervals, from head to tail.

    Classes stand in the order of their training rows. Those with fewer than 5 test rows are hollow: their recall
    is hardly known. More than 40 classes are drawn as ten groups of equally many classes, by frequency; points are
    then means over classes and bars reach from the lowest to the highest class.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
        Classes, most frequent first.
    recall, recall_low, recall_high : ndarray of shape (n_classes,)
        Recall and its Clopper-Pearson interval; NaN without test rows.
    precision, precision_low, precision_high : ndarray of shape (n_classes,)
        The same of precision; NaN where no row is decided for the class.
    support_train, support_test : ndarray of shape (n_classes,)
        Rows of each class (their weight, with weights).
    confidence : float, default=0.95
        Of the intervals.
    name : str, default=None
        Name of the model.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    axes_ : list of matplotlib Axes
        Of recall and of precision.
    points_ : list of matplotlib Line2D
        Points of recall and of precision, the filled ones.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import PerClassRecallDisplay
    >>> X, y = load_wine(return_X_y=True)
    >>> model = LogisticRegression(max_iter=10000).fit(X[::2], y[::2])
    >>> display = PerClassRecallDisplay.from_estimator(model, X[1::2], y[1::2], y_train=y[::2])
    >>> display.labels.tolist(), display.support_train.tolist()
    ([1, 0, 2], [35.0, 30.0, 24.0])
    """

    def __init__(
        self,
        *,
        labels,
        recall,
        recall_low,
        recall_high,
        precision,
        precision_low,
        precision_high,
        support_train,
        support_test,
        confidence=0.95,
        name=None,
    ):
        self.labels = labels
        self.recall, self.recall_low, self.recall_high = recall, recall_low, recall_high
        self.precision = precision
        self.precision_low, self.precision_high = precision_low, precision_high
        self.support_train, self.support_test = support_train, support_test
        self.confidence = confidence
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        y_train=None,
        sample_weight=None,
        confidence=0.95,
        name=None,
        ax=None,
        **plot_kwargs,
    ):
        """Draw the decisions of a fitted classifier.

        Parameters
        ----------
        estimator : classifier
            A fitted one.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels.
        y_train : array-like of shape (n_train,), default=None
            Labels of the training rows, which give the order; None takes `y`.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        confidence : float in (0, 1), default=0.95
            Of the intervals.
        name : str, default=None
            Name of the model; None takes that of the class.
        ax : matplotlib Axes or list of 2, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        PerClassRecallDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        return cls.from_predictions(
            y,
            estimator.predict(X),
            y_train=y_train,
            sample_weight=sample_weight,
            confidence=confidence,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
            **plot_kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        *,
        y_train=None,
        sample_weight=None,
        confidence=0.95,
        name=None,
        ax=None,
        **plot_kwargs,
    ):
        """Draw decisions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Labels.
        y_pred : array-like of shape (n_samples,)
            Decisions.
        y_train : array-like of shape (n_train,), default=None
            Labels of the training rows, which give the order; None takes `y_true`.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        confidence : float in (0, 1), default=0.95
            Of the intervals.
        name : str, default=None
            Name of the model.
        ax : matplotlib Axes or list of 2, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        PerClassRecallDisplay
            The display, drawn.
        """
        if np.ndim(y_pred) > 1 and np.shape(y_pred)[1] > 1:
            raise ValueError(
                f"{cls.__name__} needs one decision per row, y_pred has shape {np.shape(y_pred)}; of probabilities "
                "take the classes (argmax), or use from_estimator."
            )
        y, decided = column_or_1d(y_true), column_or_1d(y_pred)
        check_consistent_length(y, decided)
        train = y if y_train is None else column_or_1d(y_train)
        labels = np.unique(np.concatenate([y, decided, train]))
        if len(labels) < 2:
            raise ValueError(
                f"{cls.__name__} needs at least two classes, y_true and y_pred hold only {labels.tolist()}."
            )
        table = classification_table(
            y, decided, labels=labels, sample_weight=sample_weight, confidence=confidence
        )
        rows = table.support
        if y_train is not None:
            rows = (train[:, None] == labels).sum(0).astype(float)
        order = np.argsort(-rows, kind="stable")
        taken = [
            f"{what}{end}" for what in ("recall", "precision") for end in ("", "_low", "_high")
        ]
        display = cls(
            labels=labels[order],
            support_train=rows[order],
            support_test=table.support[order],
            confidence=confidence,
            name=name,
            **{key: table[key][order] for key in taken},
        )
        return display.plot(ax=ax, **plot_kwargs)

    def _grouped(self):
        """Names, test rows and (values, low, high) of recall and of precision, of classes or of groups of them."""
        whats = "recall", "precision"
        if len(self.labels) <= _MOST_CLASSES:
            named = zip(self.labels.tolist(), self.support_train, strict=True)
            names = [f"{cut(label)} ({n:,.6g})" for label, n in named]
            values = [
                [getattr(self, f"{what}{end}") for end in ("", "_low", "_high")] for what in whats
            ]
            return names, self.support_test, values
        groups = np.array_split(np.arange(len(self.labels)), 10)
        names = [
            f"{len(g)} classes ({self.support_train[g[0]]:,.6g}-{self.support_train[g[-1]]:,.6g})"
            for g in groups
        ]
        values = [np.array([_spread(getattr(self, what)[g]) for g in groups]).T for what in whats]
        return names, np.array([self.support_test[g].sum() for g in groups]), values

    def plot(self, ax=None, *, show_precision=True, despine=False):
        """Draw one line per class.

        Parameters
        ----------
        ax : matplotlib Axes or list of 2, default=None
            Where to draw; None makes a figure whose height follows the number of classes.
        show_precision : bool, default=True
            Whether to draw precision beside recall.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        PerClassRecallDisplay
            Itself.
        """
        names, support, values = self._grouped()
        size = {}
        if ax is None:
            size = {"figsize": (6.4, max(2.0, 1.2 + 0.25 * len(names)))}
        self.ax_, axes = panels(ax, 1 + show_precision, sharey=True, **size)
        self.axes_, self.figure_ = axes, self.ax_.figure
        at, known = np.arange(len(names)), support >= _FEW
        of = "" if self.name is None else f" of {self.name}"
        labels = f"Recall{of}", "Precision"
        kinds = zip(axes, values, ((BLUE, "o"), (PURPLE, "s")), labels, strict=False)
        self.points_ = []
        for axis, (value, low, high), (color, marker), label in kinds:
            axis.hlines(at, low, high, color=color, linewidth=1.5, alpha=0.6)
            for which, face in ((known, color), (~known, "white")):
                style = {"markerfacecolor": face, "markeredgecolor": color, "linestyle": "none"}
                self.points_ += axis.plot(value[which], at[which], marker=marker, **style)
            if len(names) <= _NUMBERS:
                for y, v in zip(at, value, strict=True):
                    if np.isfinite(v):
                        axis.annotate(
                            f"{v:.2f}", (v, y), (0, 4), textcoords="offset points", ha="center",
                            fontsize="x-small", clip_on=False,
                        )  # fmt: skip
            axis.set(xlim=(-0.06, 1.14), xticks=[0, 0.25, 0.5, 0.75, 1], xlabel=label)
            axis.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
            if despine:
                despined(axis)
        del self.points_[1::2]
        grouped = len(self.labels) > _MOST_CLASSES
        bar = "lowest to highest class" if grouped else f"{100 * self.confidence:g} % interval"
        axes[0].plot([], [], color=BLUE, linewidth=1.5, alpha=0.6, label=bar)
        if not known.all():
            style = {"markerfacecolor": "white", "markeredgecolor": BLUE, "linestyle": "none"}
            axes[0].plot([], [], marker="o", label=f"fewer than {_FEW} test rows", **style)
        legend(axes[0], below=True, ncols=1)
        axes[0].set_yticks(at, names)
        axes[0].set_ylim(len(names) - 0.4, -0.7)
        axes[0].set_ylabel("Class (training rows)")
        return self


def _spread(values):
    """Mean, lowest and highest value of the classes that have one."""
    values = values[np.isfinite(values)]
    return (values.mean(), values.min(), values.max()) if len(values) else (np.nan,) * 3
