"""What displays share: checks of rows and scores, axes, and one look that needs no colours to be told apart."""

from inspect import signature
from typing import NamedTuple

import numpy as np
from scipy.special import logit
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import (
    _num_samples,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skimb._core.compat import check_sample_weight
from skimb._core.optional import require
from skimb._core.proportions import effective_rows
from skimb._core.warn import warn_user
from skimb.model_selection._responses import class_scores, response_of

# Okabe and Ito's colours; each series has a line style of its own as well
BLUE, VERMILLION, GREY, PURPLE, GREEN = "#0072B2", "#D55E00", "#767676", "#CC79A7", "#009E73"
ORANGE, SKY = "#E69F00", "#56B4E9"  # areas only: too light for lines
MODEL = {"color": BLUE, "linestyle": "-"}
REFERENCE = {"color": VERMILLION, "linestyle": "--"}
CHANCE = {"color": GREY, "linestyle": ":"}
SERIES = (
    MODEL,
    {"color": PURPLE, "linestyle": "-."},
    {"color": GREEN, "linestyle": (0, (8, 3))},
    REFERENCE,
    {"color": GREY, "linestyle": (0, (3, 1, 1, 1, 1, 1))},
)
BAND = {"alpha": 0.2, "linewidth": 0}
_MOST_POINTS = 300
_UNDER_LABELS = 36  # points from the axes to below tick labels and label
_LABEL = 44  # characters that fit beside axes of usual height
_LOGIT_MARKS = (
    0.5, 0.1, 0.9, 0.01, 0.99, 0.001, 0.999, 1e-4, 1 - 1e-4, 1e-5, 1 - 1e-5, 0.05, 0.95, 0.2, 0.8, 0.02, 0.98,
    0.005, 0.002,
)  # fmt: skip


class Rows(NamedTuple):
    """Rows of two classes: 1 for positive ones, else 0; their scores; their weights."""

    y: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    pos_label: object

    @property
    def total(self):
        """Weight of all rows."""
        return self.weight.sum()

    @property
    def positives(self):
        """Weight of positive rows."""
        return self.weight @ self.y

    @property
    def effective(self):
        """Kish's numbers of effective negative and positive rows."""
        return tuple(effective_rows(self.weight[self.y == k]) for k in (0, 1))

    def falling(self):
        """Distinct scores, falling, and the weight of rows and of positive rows down to each."""
        values, group = np.unique(-self.score, return_inverse=True)
        seen = np.bincount(group, self.weight).cumsum()
        return -values, seen, np.bincount(group, self.weight * self.y).cumsum()


def rows_of(owner, y_true, y_score, sample_weight=None, pos_label=None, probabilities=False):
    """Checked rows of two classes.

    Parameters
    ----------
    owner : str
        Name of the display, for errors.
    y_true : array-like of shape (n,)
        Labels.
    y_score : array-like of shape (n,)
        Scores.
    sample_weight : array-like of shape (n,), default=None
        Weights.
    pos_label : label, default=None
        The positive class; all others are negative.
    probabilities : bool, default=False
        Whether scores have to lie in [0, 1].

    Returns
    -------
    Rows
        Rows of positive weight.
    """
    if np.ndim(y_true) > 1 and np.shape(y_true)[1] > 1:
        raise ValueError(
            f"{owner} draws one class against the rest, y_true has shape {np.shape(y_true)}; draw one column at a "
            "time."
        )
    y = column_or_1d(y_true)
    if not len(y):
        raise ValueError(f"{owner} got 0 rows; give some.")
    s = np.asarray(y_score, dtype=object if np.ndim(y_score) > 2 else None)
    if s.ndim == 2 and s.shape[1] == 1:
        s = s[:, 0]
    if s.ndim != 1:
        raise ValueError(
            f"{owner} needs one score per row, that of the positive class; y_score has shape {s.shape}: take one "
            "column, as y_score[:, 1]."
        )
    check_consistent_length(y, s)
    s = s.astype(float)
    bad = np.flatnonzero(~np.isfinite(s))
    if len(bad):
        raise ValueError(
            f"y_score holds {len(bad)} values that are no finite numbers, the first in row {bad[0]}; find out what "
            "the model makes of these rows, or leave them out."
        )
    if probabilities and (s.min() < 0 or s.max() > 1):
        raise ValueError(
            f"{owner} needs probabilities, y_score spans {s.min():g} to {s.max():g}; take predict_proba, or "
            "calibrate the classifier (CalibratedClassifierCV)."
        )
    kind = type_of_target(y, input_name="y_true")
    if kind not in ("binary", "multiclass"):
        raise ValueError(f"{owner} needs class labels, y_true is {kind}.")
    classes = np.unique(y).tolist()
    if pos_label is None:
        if not set(classes) <= {0, 1} and not set(classes) <= {-1, 1}:
            raise ValueError(
                f"{owner} cannot tell which class is the positive one: y_true holds {classes[:10]}; give it as "
                "pos_label=."
            )
        pos_label = 1
    w = check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
    kept = w > 0
    target = (y == pos_label)[kept].astype(float)
    if not 0 < target.sum() < len(target):
        held = "only rows of" if target.any() else "no row of"
        raise ValueError(
            f"{owner} needs rows of both classes, y_true holds {held} the positive class {pos_label!r}; its "
            f"classes are {classes[:10]}."
        )
    return Rows(target, s[kept], w[kept], pos_label)


def warn_if_constant(owner, rows):
    """Warn where scores order nothing."""
    if rows.score.min() == rows.score.max():
        warn_user(
            f"{owner}: all scores are equal ({rows.score[0]:g}), so what is drawn is a random order of the rows; "
            "the model tells no rows apart."
        )


def scores_of(owner, estimator, X, response_method, pos_label, probabilities=False):
    """Scores of one class by a fitted classifier, and the class.

    Parameters
    ----------
    owner : str
        Name of the display, for errors.
    estimator : classifier
        A fitted one.
    X : array-like
        Rows.
    response_method : {"auto", "predict_proba", "decision_function"}
        Where scores come from.
    pos_label : label or None
        The class; None takes the second of two.
    probabilities : bool, default=False
        Whether only probabilities will do.

    Returns
    -------
    ndarray of shape (n,)
        Scores.
    label
        The class.
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, "classes_"):
        raise TypeError(
            f"{owner} needs a classifier, {type(estimator).__name__} has no classes_; with scores of another "
            "origin use from_predictions."
        )
    if probabilities and not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"{owner} needs probabilities and {type(estimator).__name__} has no predict_proba; calibrate it "
            "(CalibratedClassifierCV)."
        )
    if response_method not in ("auto", "predict_proba", "decision_function"):
        raise ValueError(
            f"response_method={response_method!r} must be 'auto', 'predict_proba' or 'decision_function'."
        )
    classes = np.asarray(estimator.classes_)
    if pos_label is None:
        if len(classes) != 2:
            raise ValueError(
                f"{owner} draws one class against the rest, {type(estimator).__name__} knows {len(classes)}: "
                f"{classes.tolist()[:10]}; give the one as pos_label=."
            )
        pos_label = classes.tolist()[1]
    if pos_label not in classes.tolist():
        raise ValueError(
            f"pos_label={pos_label!r} is none of the classes {classes.tolist()[:10]} of {type(estimator).__name__}."
        )
    wanted = "predict_proba" if probabilities else response_method
    response = response_of(estimator, wanted)
    found = class_scores(estimator, X, response, classes, False)
    return found[:, classes.tolist().index(pos_label)], pos_label


def ranked(folds):
    """Rows of all folds with their rank within the fold as score: scores of different fits are never compared."""
    ranks = []
    for rows in folds:
        _, group = np.unique(rows.score, return_inverse=True)
        mass = np.bincount(group, rows.weight)
        ranks.append(((mass.cumsum() - 0.5 * mass) / mass.sum())[group])
    return pooled([rows._replace(score=rank) for rows, rank in zip(folds, ranks, strict=True)])


def pooled(folds):
    """Rows of all folds with their scores."""
    parts = (np.concatenate([rows[k] for rows in folds]) for k in range(3))
    return Rows(*parts, folds[0].pos_label)


def fold_rows(owner, cv_results, X, y, sample_weight, pos_label, response_method, probabilities):
    """Test rows of each fold with the scores of its classifier."""
    missing = [name for name in ("estimator", "indices") if name not in cv_results]
    if missing:
        raise ValueError(
            f"{owner}.from_cv_results finds no {' and no '.join(map(repr, missing))} in cv_results; call "
            "cross_validate(..., return_estimator=True, return_indices=True)."
        )
    parts = [*cv_results["indices"]["train"], *cv_results["indices"]["test"]]
    used, n = np.unique(np.concatenate(parts)), _num_samples(X)
    if n <= used[-1] or len(used) == used[-1] + 1 < n:
        raise ValueError(
            f"{owner}.from_cv_results got X of {n} rows, cv_results were made on {used[-1] + 1}; give the same "
            "rows."
        )
    check_consistent_length(X, y, sample_weight)
    folds = []
    for j, (model, test) in enumerate(
        zip(cv_results["estimator"], cv_results["indices"]["test"], strict=True)
    ):
        some = _safe_indexing(X, test)
        score, label = scores_of(owner, model, some, response_method, pos_label, probabilities)
        w = None if sample_weight is None else _safe_indexing(sample_weight, test)
        folds.append(
            rows_of(f"{owner} (fold {j})", _safe_indexing(y, test), score, w, label, probabilities)
        )
    return folds


def review_grid(total, n_rows):
    """Numbers of reviewed rows, all of them or 300 in geometric steps."""
    if total == n_rows <= _MOST_POINTS:
        return np.arange(1.0, n_rows + 1.0)
    grid = np.geomspace(total / n_rows, total, _MOST_POINTS)
    return np.unique(np.append(grid.round()[:-1], total)) if total == n_rows else grid


def thinned(n):
    """At most 300 of n positions, evenly, with both ends."""
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_POINTS)).round().astype(int))


def percent(share):
    """A share as text."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.2g} %"


def cut(text, most=20):
    """A text of at most so many characters."""
    text = str(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def styled(kwargs, **defaults):
    """Keywords of a line with defaults under their full names; aliases of one name are refused."""
    cbook = require("matplotlib.cbook", extra="plot")
    lines = require("matplotlib.lines", extra="plot")
    return {**defaults, **cbook.normalize_kwargs(kwargs or {}, lines.Line2D)}


def new_axes(ax, **figure):
    """The given axes, or those of a new figure."""
    if ax is None:
        pyplot = require("matplotlib.pyplot", extra="plot")
        ax = pyplot.subplots(layout="constrained", **figure)[1]
    return ax


def panels(ax, n, *, widths=None, sharey=False, **figure):
    """Axes for the whole and for its n panels side by side; given axes are divided, or a list of n taken."""
    if ax is not None and np.ndim(ax) > 0:
        given = list(np.ravel(ax))
        if len(given) != n:
            raise ValueError(f"ax holds {len(given)} axes, this display has {n} panels.")
        return given[0], given
    if n == 1:
        ax = new_axes(ax, **figure)
        return ax, [ax]
    if ax is None:
        pyplot = require("matplotlib.pyplot", extra="plot")
        whole = pyplot.figure(layout="constrained", **figure)
        parts = whole.subplots(1, n, width_ratios=widths, sharey=sharey)
        return parts[0], list(parts)
    widths = np.ones(n) if widths is None else np.asarray(widths, float)
    gap = 0.12
    scale = (1.0 - gap * (n - 1)) / widths.sum()
    left = np.r_[0.0, (widths * scale + gap).cumsum()[:-1]]
    ax.set_axis_off()
    parts = []
    for x, width in zip(left, widths * scale, strict=True):
        share = {"sharey": parts[0]} if sharey and parts else {}
        parts.append(ax.inset_axes([x, 0.0, width, 1.0], **share))
        if share:
            parts[-1].tick_params(labelleft=False)
    return ax, parts


def despined(ax):
    """Without the upper and the right border."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def legend(ax, below=False, ncols=2):
    """A legend if something has a label: where there is room, or below the axes where curves leave none."""
    if not ax.get_legend_handles_labels()[0]:
        return None
    if not below:
        return ax.legend(loc="best", fontsize="small", framealpha=0.85)
    shift = require("matplotlib.transforms", extra="plot").ScaledTranslation
    under = ax.transAxes + shift(0, -_UNDER_LABELS / 72, ax.figure.dpi_scale_trans)
    return ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=under, ncols=ncols, frameon=False,
        fontsize="small", borderaxespad=0.0,
    )  # fmt: skip


def plain_numbers(axis):
    """Ticks of a logarithmic axis as 1, 10, 1,000."""
    ticker = require("matplotlib.ticker", extra="plot")
    axis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:,.10g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def is_rare(score):
    """Whether scores are probabilities most of which lie near 0, so that a logit axis shows them better."""
    return bool(score.min() >= 0 and score.max() <= 1 and np.median(score) < 0.1)


def logit_axis(axis, low, high):
    """A logit axis over probabilities with few ticks, written as shares."""
    ticker = require("matplotlib.ticker", extra="plot")
    axis.axes.set(**{f"{axis.axis_name}scale": "logit"})
    low, high = max(low, 1e-6), min(high, 1.0 - 1e-6)
    if low >= high:
        low, high = 0.5 * low, 0.5 * (1.0 + high)
    gap = np.diff(logit([low, high]))[0] / 7
    marks = []
    for x in _LOGIT_MARKS:
        if low <= x <= high and all(abs(logit(x) - logit(m)) >= gap for m in marks):
            marks.append(x)
    axis.set_major_locator(ticker.FixedLocator(marks))
    axis.set_major_formatter(
        ticker.FuncFormatter(lambda x, _: np.format_float_positional(x, 6, trim="-"))
    )
    axis.set_minor_locator(ticker.NullLocator())
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})


class ScoreDisplay:
    """Base of displays of the scores of one class.

    A display has `_computed`, from `Rows` and options to a display, and `plot`. Scores are probabilities where
    `_probabilities` says so.
    """

    _probabilities = False

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        sample_weight=None,
        pos_label=None,
        response_method="auto",
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
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        pos_label : label, default=None
            The positive class; None takes the second of two.
        response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
            Where scores come from; displays of probabilities take these in any case.
        name : str, default=None
            Name in the legend; None takes that of the class.
        **options : dict
            Further arguments of :meth:`from_predictions`.

        Returns
        -------
        object
            The display, drawn.
        """
        owner = cls.__name__
        score, pos_label = scores_of(
            owner, estimator, X, response_method, pos_label, cls._probabilities
        )
        name = type(estimator).__name__ if name is None else name
        return cls.from_predictions(
            y, score, sample_weight=sample_weight, pos_label=pos_label, name=name, **options
        )

    @classmethod
    def _rows(cls, y_true, y_score, sample_weight, pos_label):
        return rows_of(cls.__name__, y_true, y_score, sample_weight, pos_label, cls._probabilities)

    def _label(self, text):
        """The label of an axis with the class that it is about."""
        if self.pos_label is None:
            return text
        positive = f"(Positive label: {cut(self.pos_label)})"
        return f"{text} {positive}" if len(text) + len(positive) < _LABEL else f"{text}\n{positive}"


class CrossValidatedDisplay(ScoreDisplay):
    """Base of displays that also draw folds.

    The curve is that of all test rows, put together by `_together`; `folds` holds a display of each fold.
    """

    _together = staticmethod(ranked)
    _once: tuple[str, ...] = ()  # options that are not for folds

    @classmethod
    def from_cv_results(
        cls,
        cv_results,
        X,
        y,
        *,
        sample_weight=None,
        pos_label=None,
        response_method="auto",
        name=None,
        **options,
    ):
        """Draw the classifiers of a cross-validation, each on its test rows.

        Displays of an order put all test rows together by their ranks within their fold, displays of
        probabilities by these; thin lines are single folds.

        Parameters
        ----------
        cv_results : dict
            Of ``cross_validate(..., return_estimator=True, return_indices=True)``.
        X : array-like of shape (n_samples, n_features)
            The same rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        pos_label : label, default=None
            The positive class; None takes the second of two.
        response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
            Where scores come from; displays of probabilities take these in any case.
        name : str, default=None
            Name in the legend; None takes that of the class.
        **options : dict
            Further arguments of :meth:`from_predictions`.

        Returns
        -------
        object
            The display, drawn.
        """
        folds = fold_rows(
            cls.__name__, cv_results, X, y, sample_weight, pos_label, response_method,
            cls._probabilities,
        )  # fmt: skip
        known = signature(cls.plot).parameters
        drawn = {key: options.pop(key) for key in list(options) if key in known}
        if name is None:
            name = type(cv_results["estimator"][0]).__name__
        return cls._of_folds(folds, name, options).plot(**drawn)

    @classmethod
    def _of_folds(cls, folds, name, options):
        display = cls._computed(cls._together(folds), name=name, **options)
        single = {key: value for key, value in options.items() if key not in cls._once}
        display.folds = [cls._computed(rows, **single) for rows in folds]
        return display
