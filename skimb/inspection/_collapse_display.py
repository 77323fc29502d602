"""The display of neural collapse: lengths by class size against theory."""

import numpy as np

from skimb._core.optional import require
from skimb.inspection._collapse import neural_collapse


class NeuralCollapseDisplay:
    """Lengths of class means and classifiers by class size, against what theory expects.

    Lengths are divided by their geometric mean, as are those of theory, so that slopes are compared. Make one with
    :meth:`from_estimator` or :meth:`from_features`.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,)
        Rows of each class.
    mean_lengths, expected_mean_lengths : ndarray of shape (n_classes,)
        Lengths of class means, and those of theory.
    weight_lengths, expected_weight_lengths : ndarray of shape (n_classes,), default=None
        Lengths of classifiers, and those of theory.
    collapse : Bunch, default=None
        What :func:`neural_collapse` found; its measures stand in the title.
    theory : str, default=None
        Name of the theory in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure.
    points_, lines_ : list of matplotlib artists
        Points that were found and lines of theory: of class means, then of classifiers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skimb.inspection import NeuralCollapseDisplay
    >>> from skimb.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = X[:110], y[:110]
    >>> model = MLPClassifier((16,), solver="lbfgs", random_state=0, max_iter=1000).fit(X, y)
    >>> display = NeuralCollapseDisplay.from_estimator(model, X, y)
    >>> display.counts
    array([50, 50, 10])
    """

    def __init__(
        self,
        *,
        counts,
        mean_lengths,
        expected_mean_lengths,
        weight_lengths=None,
        expected_weight_lengths=None,
        collapse=None,
        theory=None,
    ):
        self.counts = counts
        self.mean_lengths = mean_lengths
        self.expected_mean_lengths = expected_mean_lengths
        self.weight_lengths = weight_lengths
        self.expected_weight_lengths = expected_weight_lengths
        self.collapse = collapse
        self.theory = theory

    @classmethod
    def from_estimator(cls, estimator, X, y, *, theory="seli", ax=None):
        """Draw the last layer of a fitted perceptron.

        Parameters
        ----------
        estimator : MLPClassifier
            A fitted one.
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Their labels.
        theory : {"simplex", "orthogonal", "seli"}, default="seli"
            See :func:`expected_geometry`.
        ax : matplotlib Axes, default=None
            Where to draw; ``None`` makes a figure.

        Returns
        -------
        NeuralCollapseDisplay
            The display.
        """
        if not hasattr(estimator, "last_layer"):
            raise TypeError(
                f"NeuralCollapseDisplay.from_estimator reads the last layer of a perceptron, and "
                f"{type(estimator).__name__} shows none; use from_features."
            )
        features, coef, intercept = estimator.last_layer(X)
        return cls.from_features(features, y, coef, intercept, theory=theory, ax=ax)

    @classmethod
    def from_features(cls, features, y, coef=None, intercept=None, *, theory="seli", ax=None):
        """Draw features of any net, with its classifiers if there are some.

        Parameters
        ----------
        features : array-like of shape (n_samples, n_features)
            Inputs of the output layer.
        y : array-like of shape (n_samples,)
            Labels.
        coef, intercept : array-like, default=None
            Classifiers, as in :func:`neural_collapse`.
        theory : {"simplex", "orthogonal", "seli"}, default="seli"
            See :func:`expected_geometry`.
        ax : matplotlib Axes, default=None
            Where to draw; ``None`` makes a figure.

        Returns
        -------
        NeuralCollapseDisplay
            The display.
        """
        found = neural_collapse(features, y, coef, intercept, theory=theory)
        display = cls(
            counts=found.counts,
            mean_lengths=found.mean_lengths,
            expected_mean_lengths=found.expected.mean_lengths,
            weight_lengths=found.weight_lengths,
            expected_weight_lengths=found.expected.weight_lengths,
            collapse=found,
            theory=theory,
        )
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw on logarithmic axes.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; ``None`` makes a figure.

        Returns
        -------
        NeuralCollapseDisplay
            Itself.
        """
        pyplot = require("matplotlib.pyplot", extra="plot")
        ticker = require("matplotlib.ticker", extra="plot")
        if ax is None:
            ax = pyplot.subplots()[1]
        self.ax_, self.figure_ = ax, ax.figure
        self.points_, self.lines_ = [], []
        kinds = [("class means", self.mean_lengths, self.expected_mean_lengths, "C0", "o")]
        if self.weight_lengths is not None:
            parts = self.weight_lengths, self.expected_weight_lengths
            kinds.append(("classifiers", *parts, "C1", "s"))
        order = np.argsort(self.counts, kind="stable")
        theory = "theory" if self.theory is None else self.theory
        for name, found, expected, color, marker in kinds:
            self.points_.append(
                ax.scatter(self.counts, _relative(found), c=color, marker=marker, s=28, label=name)
            )
            line = ax.plot(
                self.counts[order],
                _relative(expected)[order],
                c=color,
                lw=1.2,
                label=f"{name}, {theory}",
            )
            self.lines_ += line
        ax.set(
            xscale="log", yscale="log", xlabel="rows of the class", ylabel="length / geometric mean"
        )
        ticks = {ax.xaxis: (1.0, 2.0, 5.0), ax.yaxis: (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)}
        for axis, multiples in ticks.items():
            axis.set_major_locator(ticker.LogLocator(subs=multiples))
            axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
            axis.set_minor_locator(ticker.NullLocator())
        ax.legend(frameon=False, fontsize="small")
        if self.collapse is not None:
            c = self.collapse
            title = f"NC1 {c.nc1:.2g}, NC2 {c.nc2_mean_cosines:.2g}"
            ax.set_title(title if c.nc3 is None else f"{title}, NC3 {c.nc3:.2g}", fontsize="medium")
        return self


def _relative(lengths):
    """Lengths by their geometric mean; collapsed classes are left out."""
    lengths = np.where(lengths > 0, lengths, np.nan)
    return lengths / np.exp(np.nanmean(np.log(lengths)))
