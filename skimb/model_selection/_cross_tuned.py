"""Thresholds from the other folds' predictions, and the scores they give."""

import numpy as np

from skimb.model_selection._thresholds import decide, tune


class CrossTuned:
    """Candidates scored at thresholds that were tuned out of fold.

    Parameters
    ----------
    decisions : CountDecisions, CostDecisions or CalledDecisions
        What decisions are worth.
    tests : list of ndarray of int
        Test rows of each fold; a row may be in several.
    multilabel : bool
        Whether the target has several labels.
    additive : bool, default=False
        Whether classes are compared by differences of scores and thresholds, not by ratios.
    """

    def __init__(self, decisions, tests, multilabel, additive=False):
        self.decisions, self.tests = decisions, tests
        self.multilabel, self.additive = multilabel, additive
        together = np.concatenate(tests)
        self.repeated = len(np.unique(together)) < len(together)
        self.scores, self.rules, self.pooled = {}, {}, {}

    def add(self, k, parts):
        """Tune candidate k on its out-of-fold scores of classes or labels, one array per fold.

        A fold is decided by the rule of all rows that are in other folds and not in this one; where there
        are none its score is nan and its rule that of all folds.
        """
        pooled = self.pooled[k] = self.rule(parts)
        rules, scores = [], []
        for j, (test, part) in enumerate(zip(self.tests, parts, strict=True)):
            rule = self.rule(parts, without=j)
            rules.append(pooled if rule is None else rule)
            score = np.nan
            if rule is not None:
                score = self.decisions.score(test, self.decided(part, rule))
            scores.append(score)
        self.rules[k], self.scores[k] = np.array(rules), np.array(scores, float)

    def decided(self, part, rule):
        """Codes or 0/1 labels that a rule decides."""
        return decide(part, rule, self.multilabel, self.additive)

    def rule(self, parts, without=None):
        """The best rule for the predictions of all folds, or of those apart from one; None without rows."""
        rows, kept = [], []
        for i, (test, part) in enumerate(zip(self.tests, parts, strict=True)):
            if i == without:
                continue
            if self.repeated and without is not None:
                other = ~np.isin(test, self.tests[without])
                test, part = test[other], part[other]
            rows.append(test)
            kept.append(part)
        at = np.concatenate(rows) if rows else np.empty(0, int)
        if not len(at):
            return None
        objective = self.decisions.objective(at)
        return tune(objective, np.concatenate(kept), self.multilabel, self.additive)[0]

    def columns(self, n):
        """Pooled thresholds of n candidates and their spread over folds; nan where none were tuned."""
        missing = np.full(np.shape(next(iter(self.pooled.values()), 0.0)), np.nan)
        pooled = [self.pooled.get(k, missing) for k in range(n)]
        spread = [self.rules[k].std(0) if k in self.rules else missing for k in range(n)]
        return {"threshold": pooled, "std_threshold": spread}
