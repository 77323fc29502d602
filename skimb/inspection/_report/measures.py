"""What is computed once and read by sections and by verdicts."""

import warnings
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.stats import t
from sklearn.metrics import log_loss

from skimb._core.html import Estimate
from skimb.inspection._report.baselines import SAID, rivals
from skimb.inspection._report.evidence import Evidence, Scores, share_of_copies
from skimb.inspection._report.resampled import interval, redrawn
from skimb.metrics import calibration_summary
from skimb.model_selection import _counts
from skimb.model_selection._advice import compare
from skimb.model_selection._bulk import BulkScore
from skimb.model_selection._cross_tuned import CrossTuned
from skimb.model_selection._decisions import CostDecisions, CountDecisions

_MOST_CELLS = 2_000_000


@dataclass
class Tuned:
    """A classifier at thresholds that were tuned on other rows.

    Parameters
    ----------
    threshold : float or ndarray
        The rule of all rows.
    rules : ndarray
        The rules of all folds but one.
    scores : ndarray
        Values by fold.
    code : ndarray or None
        Decisions of each row by the rule of the other folds; None with a single fold.
    """

    threshold: object
    rules: np.ndarray
    scores: np.ndarray
    code: np.ndarray | None = field(repr=False)


@dataclass
class Rival:
    """The paired difference of the classifier to another one in average precision.

    Parameters
    ----------
    name : str
        The other.
    difference : Estimate
        Positive where the classifier is better.
    p_worse, p_better : float
        One-sided p-values of "no worse" and of "no better".
    """

    name: str
    difference: Estimate
    p_worse: float
    p_better: float


class Measures:
    """Figures of a classifier and its rivals on the evaluated rows.

    Parameters
    ----------
    evidence : Evidence
        Rows and answers.
    baselines : sequence of str or dict or None
        Rivals to fit.
    """

    def __init__(self, evidence: Evidence, baselines):
        self.e = evidence
        self.rivals, self.failed = rivals(baselines, evidence)
        self.copies = share_of_copies(evidence)

    @property
    def contenders(self) -> list[Scores]:
        """The classifier and its rivals."""
        return [self.e.answers, *self.rivals]

    # --- ranking -----------------------------------------------------------------------------

    @cached_property
    def _redrawn(self):
        e = self.e
        return redrawn(e.truth, [e.score(one) for one in self.contenders], e.w, e.random_state)

    def ranking(self, k=0):
        """Average precision and ROC AUC of a contender, with intervals."""
        values, draws = self._redrawn
        return [interval(values[k, j], draws[:, k, j], self.e.confidence) for j in (0, 1)]

    @cached_property
    def ks(self):
        """Largest distance between the two distributions of scores."""
        e = self.e
        order = np.argsort(-e.score(), kind="stable")
        s, y, w = e.score()[order], e.truth[order], e.w[order]
        ends = np.r_[s[1:] != s[:-1], True]
        hits, wrong = (w * y).cumsum(), (w * ~y).cumsum()
        return float(np.abs(hits / hits[-1] - wrong / wrong[-1])[ends].max())

    @cached_property
    def paired(self) -> list[Rival]:
        """Differences in average precision to each rival."""
        e = self.e
        values, draws = self._redrawn
        found = []
        for k, one in enumerate(self.rivals, start=1):
            apart = draws[:, 0, 0] - draws[:, k, 0]
            gap = interval(values[0, 0] - values[k, 0], apart, e.confidence)
            worse, better = ((np.sum(side >= 0) + 1) / (len(apart) + 1) for side in (apart, -apart))
            if e.splits is not None:
                own, other = self._by_fold(e.answers), self._by_fold(one)
                share = np.mean([len(test) / len(train) for train, test in e.splits])
                over = compare(own, other, share)
                reach = t.ppf(0.5 + 0.5 * e.confidence, len(own) - 1) * over.error
                gap = Estimate(over.difference, over.difference - reach, over.difference + reach)
                better, worse = over.p, compare(other, own, share).p
            found.append(Rival(one.name, gap, float(worse), float(better)))
        return found

    def _by_fold(self, answers):
        """Average precision of each fold."""
        e = self.e
        score, one = e.score(answers), []
        for test in e.folds:
            values, _ = redrawn(e.truth[test], [score[test]], e.w[test], 0, n_draws=0)
            one.append(values[0, 0])
        return np.array(one)

    @property
    def best_rival(self):
        """The rival of the highest average precision, or None."""
        pairs = [one for one in self.paired if one.name != SAID["twin"]]
        return min(pairs, key=lambda one: one.difference.value, default=None)

    @property
    def twin(self):
        """The same classifier with weighted cross-entropy, or None."""
        return next((one for one in self.paired if one.name == SAID["twin"]), None)

    # --- decisions ---------------------------------------------------------------------------

    def view(self, answers):
        """Codes and scores in which two classes have the class of the report last."""
        e = self.e
        if not e.binary:
            return e.code, answers.scores
        return e.truth.astype(int), answers.scores[:, [1 - e.rare, e.rare]]

    @property
    def tunable(self):
        """Whether thresholds are tuned; those of many classes over many rows take too long."""
        return self.e.binary or len(self.e.code) * len(self.e.classes) ** 2 <= _MOST_CELLS

    def tuned(self, answers, by="f1"):
        """A contender at thresholds that are tuned, for each fold, on all others."""
        e = self.e
        if not self.tunable:
            return Tuned(None, np.empty(0), np.empty(0), None)
        code, scores = self.view(answers)
        if by == "cost":
            decisions = CostDecisions(self.cost[code], e.weight)
        else:
            average = "binary" if e.binary else "macro"
            metric = _counts.Averaged(_counts.FRatio(), average, False)
            bulk = BulkScore("decisions", metric, 1, False)
            decisions = CountDecisions(bulk, code, e.weight, len(e.classes))
        tuning = CrossTuned(decisions, e.folds, False, additive=not answers.probabilities)
        parts = [scores[test] for test in e.folds]
        tuning.add(0, parts)
        decided = None
        if len(e.folds) > 1:
            decided = np.empty(len(code), int)
            for test, part, rule in zip(e.folds, parts, tuning.rules[0], strict=True):
                decided[test] = tuning.decided(part, rule)
        return Tuned(tuning.pooled[0], tuning.rules[0], tuning.scores[0], decided)

    @property
    def cost(self):
        """Costs in the order of `view`."""
        e = self.e
        if e.cost is None or not e.binary:
            return e.cost
        order = [1 - e.rare, e.rare]
        return e.cost[np.ix_(order, order)]

    @cached_property
    def tuned_all(self) -> list[Tuned]:
        """All contenders at tuned thresholds."""
        return [self.tuned(one) for one in self.contenders]

    @cached_property
    def decided(self):
        """Decisions of the classifier in the order of `view`."""
        e = self.e
        if not e.binary:
            return e.answers.code
        return (e.answers.code == e.rare).astype(int)

    def f1(self, decided):
        """F1 of the class, of more than two the mean over classes."""
        code, _ = self.view(self.e.answers)
        counts = _counts.class_counts(code, decided[None], self.e.weight, len(self.e.classes))
        average = "binary" if self.e.binary else "macro"
        return float(_counts.Averaged(_counts.FRatio(), average, False)(*counts)[0])

    def recall(self, decided):
        """Recall of the class of the report."""
        return self.e.rate(self._flagged(decided), self.e.truth)

    def precision(self, decided):
        """Precision of the class of the report."""
        return self.e.rate(self.e.truth, self._flagged(decided))

    @property
    def own(self):
        """Number of the class of the report in the order of `view`."""
        return 1 if self.e.binary else self.e.rare

    def _flagged(self, decided):
        return decided == self.own

    def flagged(self, decided):
        """Share of rows that are decided for the class of the report."""
        return float(self.e.w[self._flagged(decided)].sum() / self.e.w.sum())

    def mean_cost(self, decided):
        """Mean cost of decisions; nan without costs."""
        if self.cost is None:
            return np.nan
        code, _ = self.view(self.e.answers)
        return float(np.average(self.cost[code, decided], weights=self.e.w))

    @cached_property
    def threshold(self):
        """Threshold by which the classifier decides between two classes, None where it is not one."""
        e = self.e
        if not e.binary:
            return None
        own = getattr(e.estimator, "threshold_", getattr(e.estimator, "best_threshold_", None))
        if own is None or np.ndim(own) or e.cross_validated:
            own = 0.5 if e.answers.probabilities else 0.0
        ours, ties = e.score() >= own, e.score() == own
        return float(own) if (ours == (self.decided == 1))[~ties].all() else None

    # --- probabilities -----------------------------------------------------------------------

    def skill(self, answers):
        """Share of the log-loss of the prevalences that a contender saves; nan without probabilities."""
        if not answers.probabilities:
            return np.nan
        e = self.e
        kinds = np.arange(len(e.classes))
        shares = np.bincount(e.code, e.w, len(kinds)) / e.w.sum()
        base = -(shares[shares > 0] @ np.log(shares[shares > 0]))
        loss = log_loss(e.code, answers.scores, sample_weight=e.weight, labels=kinds)
        return float(1.0 - loss / base)

    @cached_property
    def calibration(self):
        """Calibration of the probability of the class, with what was warned of as ``said``."""
        e = self.e
        with warnings.catch_warnings(record=True) as caught, np.errstate(over="ignore"):
            warnings.simplefilter("always", UserWarning)
            found = calibration_summary(
                e.truth.astype(int), e.proba, confidence=e.confidence, sample_weight=e.weight
            )
        found.said = " ".join(str(w.message) for w in caught)
        return found

    @cached_property
    def brier_skill(self):
        """Share of the prevalence's Brier score that is saved."""
        e = self.e
        loss = np.average((e.proba - e.truth) ** 2, weights=e.w)
        return float(1.0 - loss / (e.prevalence * (1.0 - e.prevalence)))
