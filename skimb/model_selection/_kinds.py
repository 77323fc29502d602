"""One estimator of a search: its candidates, and how they are trained."""

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from skimb.model_selection._candidates import SPECIAL, loss_name, role
from skimb.model_selection._fold import Candidate, Fold


class Kind:
    """One estimator of a search with its candidates.

    Parameters
    ----------
    estimator : Pipeline or NeuralClassifier
        The estimator.
    settings : list of dict
        Its settings.
    fit_params : dict
        Parameters of its `fit` for all rows.

    Attributes
    ----------
    kept : list of int
        Candidates that still train.
    n_epochs : ndarray of int
        Epochs that each candidate was trained for.
    """

    def __init__(self, estimator, settings, fit_params):
        self.estimator, self.settings, self.fit_params = estimator, settings, fit_params
        self.candidates = [Candidate(estimator, params) for params in settings]
        self.roles = [SPECIAL if c.error else role(c.classifier) for c in self.candidates]
        self.losses = ["" if c.error else loss_name(c.classifier) for c in self.candidates]
        self.kept = list(range(len(settings)))
        self.n_epochs = np.zeros(len(settings), int)

    @property
    def longest(self):
        """Most epochs of a candidate."""
        return max((c.classifier.max_iter for c in self.candidates if not c.error), default=1)

    def stops(self, halving, least):
        """Epochs after which candidates are dropped."""
        if halving is None:
            return []
        rounds = int(np.log(max(len(self.settings), 1)) / np.log(halving) + 1e-9)
        first = least or max(1, self.longest // halving**rounds)
        stops = []
        while first < self.longest and len(stops) < rounds:
            stops.append(first)
            first = max(first + 1, first * halving)
        return stops

    def training(self, rows, keep_proba, max_memory, n_jobs, in_stages):
        """The training of all candidates on all splits: a function of the epoch to stop at, or None.

        Each call gives, per split, outcomes by candidate.
        """
        folds = [
            Fold(
                clone(self.estimator), self.candidates, rows, j, self.fit_params, keep_proba, max_memory
            )
            for j in range(len(rows.splits))
        ]  # fmt: skip
        shared = "sharedmem" if in_stages else None  # nets go on where they stopped
        parallel = Parallel(n_jobs=n_jobs, prefer="threads", require=shared)

        def advance(until):
            found = parallel(delayed(_advance)(fold, until, self.kept) for fold in folds)
            self.n_epochs[self.kept] = self.longest if until is None else until
            return found

        return advance

    def halve(self, means, halving):
        """Keep the best share of the candidates by their mean scores, and the baselines."""
        order = np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable")
        best = {self.kept[i] for i in order[: -(-len(self.kept) // halving)]}
        self.kept = [k for k in self.kept if k in best or self.roles[k] != SPECIAL]


def _advance(fold, until, kept):
    return fold.advance(until, kept)
