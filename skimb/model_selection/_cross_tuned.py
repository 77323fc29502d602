"""Thresholds from the other folds' predictions, and the scores they give."""

import numpy as np

from skimb.model_selection._thresholds import decide, tune


class CrossTuned:
    """Candidates scored at thresholds that were tuned out of fold.

    Parameters
    ----------
    bulk : BulkScore
        A metric of decisions.
    rows : list of (ndarray, ndarray or None)
        Codes and weights of each fold's test rows.
    n_classes : int
        Number of classes or labels.
    """

    def __init__(self, bulk, rows, n_classes):
        self.bulk, self.rows, self.n_classes = bulk, rows, n_classes
        self.scores, self.rules, self.pooled = {}, {}, {}

    def add(self, k, probas):
        """Tune candidate k on its out-of-fold probabilities, one array per fold."""
        folds = range(len(probas))
        rules = [self.rule([i for i in folds if i != j], probas) for j in folds]
        self.rules[k] = np.array(rules)
        self.scores[k] = np.array([self.score(j, probas[j], rules[j]) for j in folds])
        self.pooled[k] = self.rule(folds, probas)

    def score(self, j, proba, rule):
        """The metric of fold j's decisions under a rule."""
        code, weight = self.rows[j]
        decided = decide(proba, rule, self.bulk.multilabel)
        return self.bulk(code, decided[None], weight, self.n_classes)[0]

    def rule(self, folds, probas):
        """The best rule for the predictions of some folds."""
        code = np.concatenate([self.rows[i][0] for i in folds])
        proba = np.concatenate([probas[i] for i in folds])
        weights = [self.rows[i][1] for i in folds]
        weight = None if weights[0] is None else np.concatenate(weights)
        return tune(self.bulk.function, code, proba, weight, self.bulk.multilabel)[0]

    def columns(self, n):
        """Pooled thresholds of n candidates and their spread over folds; nan where none were tuned."""
        missing = np.full(np.shape(next(iter(self.pooled.values()), 0.0)), np.nan)
        pooled = [self.pooled.get(k, missing) for k in range(n)]
        spread = [self.rules[k].std(0) if k in self.rules else missing for k in range(n)]
        return {"threshold": pooled, "std_threshold": spread}
