"""The display of candidates: scores over folds, paired differences, ranks over data sets."""

from itertools import combinations

import numpy as np
from scipy import stats
from sklearn.utils.validation import check_is_fitted

from skimb.inspection._display import BLUE, GREY, VERMILLION, cut, despined, new_axes
from skimb.inspection._holm import holm
from skimb.model_selection._advice import compare
from skimb.model_selection._loss_report import best_baseline, finished, fold_scores, labels

_FEWEST_SETS = 5
_KINDS = ("score", "difference", "critical")


class SearchDisplay:
    r"""Candidates of a search, or models on several data sets, and which of them can be told apart.

    *score* draws means and standard deviations over folds. *difference* draws paired differences to a baseline
    with 95 % intervals whose variance allows for shared training rows, :math:`s^2(1/k+n_{test}/n_{train})` (Nadeau
    and Bengio); they do not allow for having picked the best of many. *critical* draws mean ranks over data sets,
    joined where they cannot be told apart: by Nemenyi's critical difference :math:`q_\alpha\sqrt{k(k+1)/(6N)}`, or
    by Wilcoxon tests of all pairs with Holm's correction. Folds of one data set are no blocks and are refused
    there.

    Make one with :meth:`from_search` or :meth:`from_scores`.

    Parameters
    ----------
    names : list of str
        Candidates, best first.
    scores : ndarray of shape (n_candidates, n_folds)
        Scores by fold or data set; higher is better.
    mean, std : ndarray of shape (n_candidates,)
        Mean and standard deviation of them.
    kind : {"score", "difference", "critical"}, default="score"
        What is drawn.
    metric : str, default="score"
        What the scores are.
    baseline : str, default=None
        The candidate that differences refer to.
    difference, error, p : ndarray of shape (n_candidates,), default=None
        Mean difference, its standard error and the one-sided p-value of "no better", not corrected for the number
        of candidates.
    ranks : ndarray of shape (n_candidates,), default=None
        Mean ranks, 1 for the best.
    cd : float, default=None
        Critical difference of ranks.
    groups : list of tuple of int, default=None
        First and last candidate of each group that cannot be told apart.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    points_ : matplotlib Line2D
        Means, differences or ranks.
    group_lines_ : list of matplotlib Line2D
        Groups of kind "critical".

    References
    ----------
    Demsar 2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7. Nadeau and Bengio 2003,
    doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> from skimb.inspection import SearchDisplay
    >>> scores = {"a": [0.9, 0.8, 0.7, 0.9, 0.8], "b": [0.8, 0.7, 0.6, 0.8, 0.7], "c": [0.7, 0.5, 0.5, 0.6, 0.6]}
    >>> display = SearchDisplay.from_scores(scores, kind="critical")
    >>> display.ranks.tolist(), round(display.cd, 3), display.groups
    ([1.0, 2.0, 3.0], 1.482, [(0, 1), (1, 2)])
    """

    def __init__(
        self,
        *,
        names,
        scores,
        mean,
        std,
        kind="score",
        metric="score",
        baseline=None,
        difference=None,
        error=None,
        p=None,
        ranks=None,
        cd=None,
        groups=None,
    ):
        self.names = names
        self.scores = scores
        self.mean, self.std = mean, std
        self.kind = kind
        self.metric = metric
        self.baseline = baseline
        self.difference, self.error, self.p = difference, error, p
        self.ranks, self.cd, self.groups = ranks, cd, groups

    @classmethod
    def from_search(
        cls,
        search,
        *,
        kind="score",
        metric=None,
        baseline=None,
        top=15,
        test_share=None,
        ax=None,
        **plot_kwargs,
    ):
        """Draw a fitted search.

        Parameters
        ----------
        search : estimator
            With ``cv_results_``: :class:`~skimb.model_selection.LossSearchCV` or a search of scikit-learn.
            Candidates that halving dropped are left out: their scores are of a shorter training.
        kind : {"score", "difference"}, default="score"
            What to draw.
        metric : str, default=None
            Name of the metric; None takes the one of ``refit``.
        baseline : int, default=None
            Number of the candidate that differences refer to; None takes the best class-weighted cross-entropy of a
            search over losses, else the best candidate.
        top : int in [1, inf), default=15
            Candidates to draw, the best ones and the baseline.
        test_share : float, default=None
            Test rows per training row; None takes that of plain folds, 1 / (n_folds - 1).
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        SearchDisplay
            The display, drawn.
        """
        if kind == "critical":
            raise ValueError(
                "kind='critical' compares models over several data sets, folds of one data set are no blocks; use "
                "kind='difference', or from_scores with one score per data set."
            )
        check_is_fitted(search)
        if not hasattr(search, "cv_results_"):
            raise TypeError(
                f"{cls.__name__}.from_search needs a fitted search, {type(search).__name__} has no cv_results_; "
                "use from_scores."
            )
        results = search.cv_results_
        if metric is None:
            refit = getattr(search, "refit", None)
            metric = refit if isinstance(refit, str) else "score"
            metric = metric if f"mean_test_{metric}" in results else "score"
        if f"mean_test_{metric}" not in results:
            known = [key[10:] for key in results if key.startswith("mean_test_")]
            raise ValueError(f"metric={metric!r} is none of {known}.")
        ended = finished(results)
        scores = np.where(ended[:, None], fold_scores(results, metric), np.nan)
        names = labels(results)
        if baseline is None and "role" in results:
            baseline = best_baseline(results, metric)
        elif baseline is not None and not 0 <= baseline < len(names):
            raise ValueError(
                f"baseline={baseline!r} is no number of the {len(names)} candidates, 0 to {len(names) - 1}."
            )
        elif baseline is not None and not ended[baseline]:
            raise ValueError(
                f"baseline={baseline!r} was dropped by halving before its training ended; take one of "
                f"{np.flatnonzero(ended).tolist()}."
            )
        display = cls._of(names, scores, kind, metric, baseline, top, test_share)
        return display.plot(ax=ax, **plot_kwargs)

    @classmethod
    def from_scores(
        cls,
        scores,
        *,
        kind="score",
        metric="score",
        baseline=None,
        test_share=None,
        test="nemenyi",
        level=0.05,
        ax=None,
        **plot_kwargs,
    ):
        """Draw scores of models on the same folds, or, for ``kind="critical"``, on the same data sets.

        Parameters
        ----------
        scores : dict of str to array-like of shape (n_folds,)
            Scores by model; higher is better.
        kind : {"score", "difference", "critical"}, default="score"
            What to draw.
        metric : str, default="score"
            What the scores are.
        baseline : str, default=None
            The model that differences refer to; None takes the best.
        test_share : float, default=None
            Test rows per training row; None takes that of plain folds, 1 / (n_folds - 1).
        test : {"nemenyi", "wilcoxon"}, default="nemenyi"
            Which ranks are joined: those within the critical difference, or models of which no pair differs by
            Wilcoxon tests with Holm's correction.
        level : float in (0, 1), default=0.05
            Of the tests.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        SearchDisplay
            The display, drawn.
        """
        names = list(scores)
        lengths = {len(np.ravel(values)) for values in scores.values()}
        if len(names) < 2 or len(lengths) > 1:
            raise ValueError(
                f"{cls.__name__}.from_scores needs at least two models with equally many scores, got "
                f"{len(names)} with {sorted(lengths)} scores."
            )
        table = np.array([np.ravel(scores[name]) for name in names], float)
        if not np.isfinite(table).all():
            bad = [
                name for name, row in zip(names, table, strict=True) if not np.isfinite(row).all()
            ]
            raise ValueError(
                f"scores of {bad} hold values that are no finite numbers; leave them out."
            )
        if baseline is not None and baseline not in names:
            raise ValueError(f"baseline={baseline!r} is none of {names}.")
        at = None if baseline is None else names.index(baseline)
        display = cls._of(names, table, kind, metric, at, len(names), test_share)
        if kind == "critical":
            display._rank(test, level)
        return display.plot(ax=ax, **plot_kwargs)

    @classmethod
    def _of(cls, names, scores, kind, metric, baseline, top, test_share):
        if kind not in _KINDS:
            raise ValueError(f"kind={kind!r} must be one of {', '.join(map(repr, _KINDS))}.")
        mean = scores.mean(1)
        if np.isnan(mean).all():
            raise ValueError("No candidate was scored on all folds.")
        order = np.argsort(-np.nan_to_num(mean, nan=-np.inf), kind="stable")
        order = order[~np.isnan(mean[order])]
        base = order[0] if baseline is None else baseline
        shown = order[:top]
        if kind == "difference" and base not in shown:
            shown = np.append(shown, base)
        found = {}
        if kind == "difference":
            k = scores.shape[1]
            if k < 2:
                raise ValueError("kind='difference' needs at least two folds.")
            share = 1.0 / (k - 1) if test_share is None else test_share
            pairs = [compare(scores[j], scores[base], share) for j in shown]
            parts = zip(*pairs, strict=True)
            found = dict(zip(("difference", "error", "p"), map(np.array, parts), strict=True))
            found["baseline"] = names[base]
        return cls(
            names=[names[j] for j in shown],
            scores=scores[shown],
            mean=mean[shown],
            std=scores[shown].std(1),
            kind=kind,
            metric=metric,
            **found,
        )

    def _rank(self, test, level):
        """Mean ranks and the groups that cannot be told apart."""
        k, n = self.scores.shape
        if n < _FEWEST_SETS:
            raise ValueError(
                f"kind='critical' needs at least {_FEWEST_SETS} data sets, got {n} scores per model; folds of one "
                "data set are no blocks: use kind='difference'."
            )
        if test not in ("nemenyi", "wilcoxon"):
            raise ValueError(f"test={test!r} must be 'nemenyi' or 'wilcoxon'.")
        ranks = stats.rankdata(-self.scores, axis=0).mean(1)
        order = np.argsort(ranks, kind="stable")
        self.names = [self.names[j] for j in order]
        self.scores, self.mean, self.std = self.scores[order], self.mean[order], self.std[order]
        self.ranks = ranks[order]
        if test == "nemenyi":
            q = stats.studentized_range.ppf(1.0 - level, k, np.inf) / np.sqrt(2.0)
            self.cd = float(q * np.sqrt(k * (k + 1) / (6.0 * n)))
            apart = self.ranks[None] - self.ranks[:, None] > self.cd
        else:
            apart = _holm(self.scores, level)
        self.groups = _groups(apart)

    def plot(self, ax=None, *, despine=False):
        """Draw one line per candidate, the best on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure whose height follows the number of candidates.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        SearchDisplay
            Itself.
        """
        n = len(self.names)
        ax = self.ax_ = new_axes(ax, figsize=(6.4, max(2.2, 1.2 + 0.27 * n))) if ax is None else ax
        self.figure_ = ax.figure
        at = np.arange(n)
        self.group_lines_ = []
        if self.kind == "critical":
            values, reach = self.ranks, 0.0
            label = "Mean rank over data sets (1 is best)"
            width = max(self.ranks.max() - self.ranks.min(), 1.0)
            start = self.ranks.max() + 0.08 * width
            for j, (first, last) in enumerate(self.groups):
                x = start + 0.06 * width * j
                kw = {"color": "black", "linewidth": 3, "solid_capstyle": "butt"}
                self.group_lines_ += ax.plot([x, x], [first - 0.25, last + 0.25], **kw)
            ax.set_xticks(np.arange(1, n + 1))
            ax.set_xlim(1.0 - 0.04 * width, start + 0.06 * width * len(self.groups))
            if self.cd is not None:
                label = f"{label};\nbars join what is within {self.cd:.2f}"
            else:
                label = f"{label};\nbars join what no test tells apart"
        elif self.kind == "difference":
            values = self.difference
            reach = stats.t.ppf(0.975, self.scores.shape[1] - 1) * self.error
            label = f"{self.metric}: difference and its 95 % interval to\n{cut(self.baseline, 50)}"
            ax.axvline(0, color=VERMILLION, linestyle="--", linewidth=1)
        else:
            values, reach = self.mean, self.std
            label = f"{self.metric}: mean and standard deviation\nof {self.scores.shape[1]} folds"
        ax.hlines(at, values - reach, values + reach, color=BLUE, linewidth=1.5)
        (self.points_,) = ax.plot(values, at, color=BLUE, marker="o", linestyle="none")
        ax.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
        ax.set_yticks(at, [cut(name, 34) for name in self.names])
        ax.set_ylim(n - 0.5, -0.5)
        ax.set_xlabel(label)
        if despine:
            despined(ax)
        return self


def _holm(scores, level):
    """Which pairs differ by Wilcoxon's signed-rank test with Holm's correction."""
    k = len(scores)
    pairs = list(combinations(range(k), 2))
    p = np.array(
        [
            stats.wilcoxon(scores[i], scores[j]).pvalue if (scores[i] != scores[j]).any() else 1.0
            for i, j in pairs
        ]
    )
    apart = np.zeros((k, k), bool)
    apart[tuple(np.transpose(pairs))] = holm(p) < level
    return apart


def _groups(apart):
    """Longest runs of candidates of which no pair is apart, as (first, last)."""
    k, found, reached = len(apart), [], -1
    for first in range(k):
        last = first
        while last + 1 < k and not apart[first : last + 1, last + 1].any():
            last += 1
        if last > first and last > reached:
            found.append((first, last))
            reached = last
    return found
