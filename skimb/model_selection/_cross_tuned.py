"""Thresholds from the other folds' predictions, and the scores they give."""

import numpy as np

from skimb.model_selection._thresholds import decide, tune


class CrossTuned:
    """Candidates scored at thresholds that were tuned out of fold.

    Parameters
    ----------
    score : callable
        The metric from (fold, decided codes).
    objective : callable
        The objective of `tune` for the test rows of some folds together.
    multilabel : bool
        Whether the target has several labels.
    """

    def __init__(self, score, objective, multilabel):
        self.score, self.objective, self.multilabel = score, objective, multilabel
        self.scores, self.rules, self.pooled = {}, {}, {}

    def add(self, k, probas):
        """Tune candidate k on its out-of-fold probabilities, one array per fold."""
        folds = range(len(probas))
        rules = [self.rule([i for i in folds if i != j], probas) for j in folds]
        decided = [decide(p, rule, self.multilabel) for p, rule in zip(probas, rules, strict=True)]
        self.rules[k] = np.array(rules)
        self.scores[k] = np.array([self.score(j, d) for j, d in enumerate(decided)])
        self.pooled[k] = self.rule(folds, probas)

    def rule(self, folds, probas):
        """The best rule for the predictions of some folds."""
        proba = np.concatenate([probas[i] for i in folds])
        return tune(self.objective(folds), proba, self.multilabel)[0]

    def columns(self, n):
        """Pooled thresholds of n candidates and their spread over folds; nan where none were tuned."""
        missing = np.full(np.shape(next(iter(self.pooled.values()), 0.0)), np.nan)
        pooled = [self.pooled.get(k, missing) for k in range(n)]
        spread = [self.rules[k].std(0) if k in self.rules else missing for k in range(n)]
        return {"threshold": pooled, "std_threshold": spread}
