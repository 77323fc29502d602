"""What a search found while it ran; nothing of it stays on the fitted search."""

import numpy as np

from skimb.model_selection._bulk import bulk_score
from skimb.model_selection._cross_tuned import CrossTuned
from skimb.model_selection._decisions import (
    CountDecisions,
    ordered,
    positive_of,
    warn_if_common,
    warn_if_trivial,
)
from skimb.model_selection._thresholds import decide


class SearchRun:
    """Outcomes of all folds, and thresholds and bulk scores by the metric that chooses.

    Parameters
    ----------
    scorer : callable or None
        What candidates are chosen by, if it is one score.
    classes : ndarray
        Labels of the target.
    multilabel : bool
        Whether there are several labels per row.
    metric : str
        Name of the metric.

    Attributes
    ----------
    outcomes : list of dict of int to Outcome
        Per fold, by candidate.
    last : list of int
        Candidates that were trained to the end.
    tuned : CrossTuned
        Their thresholds.
    """

    def __init__(self, scorer, classes, multilabel, metric):
        self.classes, self.multilabel, self.metric = classes, multilabel, metric
        positive, self.told = positive_of(scorer)
        self.order = classes if multilabel else ordered(classes, positive)
        two = not multilabel and len(classes) == 2
        self.columns = np.argsort(self.order) if two else slice(None)  # an involution
        self.one_class = two and positive is not None
        self.positive = self.order.tolist()[1] if two else None
        self.bulk = bulk_score(scorer, self.order, multilabel)
        self.of_decisions = self.bulk is not None and self.bulk.response == "decisions"
        self.last, self.mean_rule = [], None

    def take_rows(self, y, tests, weight):
        """The target and the weights of all rows, and the test rows of each fold."""
        y = np.asarray(y)
        code = y if self.multilabel else np.searchsorted(self.classes, y)
        if self.one_class:
            code = self.columns[code]
        self.code = code
        self.weight = None if weight is None else np.asarray(weight, float)
        self.tests = [np.arange(len(y))[test] for test in tests]
        self.outcomes = [{} for _ in tests]
        decisions = CountDecisions(self.bulk, code, self.weight, len(self.classes))
        self.tuned = CrossTuned(decisions, self.tests, self.multilabel)

    def probas(self, k):
        """Probabilities of the test rows by fold, or None where some are missing."""
        found = [one[k].proba for one in self.outcomes]
        return None if any(p is None for p in found) else [p[..., self.columns] for p in found]

    def tune(self, candidates):
        """Score candidates at thresholds from the other folds."""
        for k in sorted(candidates & set(self.last)):
            probas = self.probas(k)
            if probas is not None:
                self.tuned.add(k, probas)

    def bulk_scores(self, j, probas):
        """Scores (K,) of probabilities (K, n, C) of a fold's test rows."""
        if self.bulk.response == "decisions":
            probas = decide(probas, 0.5, True) if self.multilabel else probas.argmax(-1)
        elif self.bulk.response == "scores" and not self.multilabel:
            probas = probas[..., 1]
        test = self.tests[j]
        weight = None if self.weight is None else self.weight[test]
        return self.bulk(self.code[test], probas, weight, len(self.classes))

    def name_in(self, scores):
        """The chosen metric's name among the scores of a fit."""
        return self.metric if self.metric in scores else next(iter(scores))

    def mean_score(self, k):
        """Mean of a candidate's scores as they came out of the folds, nan where one failed."""
        found = [one[k].scores for one in self.outcomes]
        if any(scores is None for scores in found):
            return np.nan
        return float(np.mean([scores[self.name_in(scores)] for scores in found]))

    def warn(self, what, k):
        """Say when candidate k's thresholds are trivial or count the common class as positive."""
        if self.one_class and not self.told:
            warn_if_common(what, self.order, self.code)
        rule = self.tuned.pooled[k]
        decided = self.tuned.decided(np.concatenate(self.probas(k)), rule)
        warn_if_trivial(what, self.bulk.function, self.order, decided, rule)
