"""One estimator of a search: its candidates, and how they are trained."""

import time
from abc import ABC, abstractmethod
from contextlib import nullcontext
from traceback import format_exception

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from skimb._base.classifier import NeuralClassifier
from skimb._core.inner import last_step, unfitted
from skimb._core.priors import ClassPrior
from skimb._core.warn import muted
from skimb.model_selection._batched import batched_fits_once
from skimb.model_selection._candidates import (
    SPECIAL,
    chosen_losses,
    loss_name,
    losses_for,
    role,
    settings,
)
from skimb.model_selection._fold import Candidate, Fold
from skimb.model_selection._responses import class_scores
from skimb.model_selection._rows import Outcome
from skimb.model_selection._several import checked_grids, checked_pairs
from skimb.neural_network import TabMClassifier


class Kind(ABC):
    """One estimator of a search with its candidates.

    Parameters
    ----------
    name : str or None
        Its name among several estimators.
    estimator : estimator
        The estimator.
    settings : list of dict
        Its settings.
    fit_params : dict
        Parameters of its `fit` for all rows.

    Attributes
    ----------
    candidates : list
        One per setting; an ``error`` that is not None says why it cannot be trained.
    kept : list of int
        Candidates that still train.
    n_epochs, n_ensembles : ndarray of int
        Epochs that each candidate was trained for at most, and ensembles of each that were; 0 where there are none.
    """

    def __init__(self, name, estimator, settings, fit_params):
        self.name, self.estimator = name, estimator
        self.settings, self.fit_params = settings, fit_params
        self.candidates = [self._candidate(params) for params in settings]
        self.roles = [SPECIAL if c.error else role(c.classifier) for c in self.candidates]
        self.losses = ["" if c.error else loss_name(c.classifier) for c in self.candidates]
        self.kept = list(range(len(settings)))
        self.n_epochs, self.n_ensembles = np.zeros((2, len(settings)), int)

    @abstractmethod
    def _candidate(self, params):
        """An object for one setting, with ``classifier`` and ``error``."""

    @abstractmethod
    def training(self, rows, keep_proba, search):
        """The training of all candidates on all splits.

        Parameters
        ----------
        rows : SearchRows
            Rows and splits.
        keep_proba : set of int
            Candidates whose probabilities of the test rows are wanted.
        search : LossSearchCV
            Its `max_memory`, `n_jobs`, `halving` and `verbose` count.

        Returns
        -------
        callable
            A function of the epoch to stop at, or None; gives per split outcomes by candidate.
        """

    def stops(self, halving, least):
        """Epochs after which candidates are dropped.

        Parameters
        ----------
        halving : int
            One in so many goes on.
        least : int or None
            Epochs before the first selection.

        Returns
        -------
        list of int
            Increasing.
        """
        return []

    def stage(self, until):
        """How far candidates are trained until a stop, for people."""
        return "" if until is None else f", {until} epochs"

    def halve(self, means, halving):
        """Keep the best share of the candidates by their mean scores, and no smaller a share of each baseline."""
        order = np.array(self.kept)[np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable")]
        roles = np.array(self.roles)[order]
        groups = [order, *(order[roles == role] for role in set(roles) - {SPECIAL})]
        self.kept = sorted(
            {k for group in groups for k in group[: -(-len(group) // halving)].tolist()}
        )

    def _rounds(self, halving):
        """How often one in `halving` can be kept."""
        return int(np.log(max(len(self.settings), 1)) / np.log(halving) + 1e-9)

    def with_setting(self, k):
        """An unfitted estimator with setting k."""
        return unfitted(self.estimator).set_params(**clone(self.settings[k], safe=False))


class NeuralKind(Kind):
    """A neural estimator or a pipeline that ends in one, trained as populations."""

    def _candidate(self, params):
        return Candidate(self.estimator, params)

    def _longest(self):
        return max((c.classifier.max_iter for c in self.candidates if not c.error), default=1)

    def stops(self, halving, least):
        """As in `Kind`."""
        rounds, longest = self._rounds(halving), self._longest()
        return _times(halving, least or max(1, longest // halving**rounds), rounds, longest)

    def training(self, rows, keep_proba, search):
        """As in `Kind`."""
        how = self.fit_params, keep_proba, search.max_memory
        folds = [
            Fold(clone(self.estimator), self.candidates, rows, j, *how)
            for j in range(len(rows.splits))
        ]
        shared = "sharedmem" if search.halving else None  # nets go on where they stopped
        parallel = joblib.Parallel(n_jobs=search.n_jobs, prefer="threads", require=shared)

        def advance(until):
            found = parallel(joblib.delayed(_advance)(fold, until, self.kept) for fold in folds)
            self.n_epochs[self.kept] = self._longest() if until is None else until
            return found

        return advance


def _times(factor, first, n, longest):
    """At most n epochs below the longest, each so many times the one before."""
    stops = []
    while first < longest and len(stops) < n:
        stops.append(first)
        first = max(first + 1, first * factor)
    return stops


class WholeCandidate:
    """One setting of any classifier, which is fitted by itself.

    Parameters
    ----------
    estimator : classifier
        What is searched over.
    params : dict
        The setting.
    """

    def __init__(self, estimator, params):
        self.error = None
        try:
            self.estimator = unfitted(estimator).set_params(**clone(params, safe=False))
            if not hasattr(self.estimator, "predict_proba"):
                raise ValueError(
                    f"{self.estimator!r} has no predict_proba, which an ensemble and thresholds need; put it "
                    "into a CalibratedClassifierCV."
                )
            self.classifier = last_step(self.estimator)
        except Exception as error:  # belongs to this candidate, reported with its scores
            self.error = error

    def fitted(self, X, y, params, until):
        """The setting fitted to rows; `until` counts where an estimator has epochs."""
        return unfitted(self.estimator).fit(X, y, **params)


class EnsembleCandidate(WholeCandidate):
    """One setting of TabM, or of a pipeline that ends in it."""

    def fitted(self, X, y, params, until):
        """The setting fitted to rows; where `until` is given, one ensemble for so many epochs."""
        if until is None or not isinstance(self.classifier, TabMClassifier):
            return super().fitted(X, y, params, until)
        model = unfitted(self.estimator)
        nets = last_step(model)
        nets.set_params(
            max_iter=min(nets.max_iter, until), validation_folds=min(nets.validation_folds, 1)
        )
        with muted(ConvergenceWarning):  # it is cut short on purpose
            return model.fit(X, y, **params)


class PlainKind(Kind):
    """Any other classifier; every fit is a task of joblib."""

    def _candidate(self, params):
        return WholeCandidate(self.estimator, params)

    def training(self, rows, keep_proba, search):
        """As in `Kind`."""
        verbose = max(0, search.verbose - 1)

        def advance(until):
            kept = self.kept
            with self._block(search):
                found = Parallel(n_jobs=search.n_jobs, verbose=verbose)(
                    delayed(fit_alone)(
                        self.candidates[k], rows, j, self.fit_params, k in keep_proba, until
                    )
                    for j in range(len(rows.splits))
                    for k in kept
                )
            self._count(until)
            n = len(kept)
            return [
                dict(zip(kept, found[n * j : n * j + n], strict=True))
                for j in range(len(rows.splits))
            ]

        return advance

    def _block(self, search):
        """What the tasks run in."""
        return nullcontext()

    def _count(self, until):
        """Note what those that are kept were trained for."""


class EnsembleKind(PlainKind):
    """TabM, or a pipeline that ends in it, whose fits are trained as a whole.

    Candidates are dropped after few epochs of one ensemble; those that are left train all their ensembles.
    """

    def _candidate(self, params):
        return EnsembleCandidate(self.estimator, params)

    def stops(self, halving, least):
        """As in `Kind`: multiples of the patience, since training ends by itself after some of them."""
        nets, rounds = self._nets(), self._rounds(halving)
        longest = max((one.max_iter for one in nets.values()), default=1)
        patience = min((one.n_iter_no_change for one in nets.values()), default=1)
        if patience == np.inf:  # trainings end with their last epoch
            patience = max(1, longest // halving**rounds)
        step = least or patience
        return [*range(step, longest, step)][:rounds]

    def stage(self, until):
        """As in `Kind`."""
        return "" if until is None else f", one ensemble of at most {until} epochs"

    def _block(self, search):
        # the ensembles of several folds are a population already, and larger ones of them are no faster
        last = last_step(self.estimator)
        return batched_fits_once(search.max_memory) if last.validation_folds <= 1 else nullcontext()

    def _nets(self):
        """TabM of each candidate; a setting of a pipeline may put another classifier in its place."""
        found = ((k, c.classifier) for k, c in enumerate(self.candidates) if not c.error)
        return {k: own for k, own in found if isinstance(own, TabMClassifier)}

    def _count(self, until):
        for k, nets in self._nets().items():
            if k in self.kept:
                self.n_epochs[k] = min(nets.max_iter, until or nets.max_iter)
                self.n_ensembles[k] = max(1, nets.validation_folds) if until is None else 1


def fit_alone(candidate, rows, number, fit_params, keep_proba, until):
    """Fit a candidate to the training rows of a split and score it.

    Parameters
    ----------
    candidate : WholeCandidate
        The setting.
    rows : SearchRows
        Rows and splits.
    number : int
        The split's.
    fit_params : dict
        Parameters of `fit` for all rows.
    keep_proba : bool
        Whether probabilities of the test rows are wanted.
    until : int or None
        Epochs to stop at, of an estimator that has some.

    Returns
    -------
    Outcome
        What came of it.
    """
    began = time.perf_counter()
    fit_time = score_time = 0.0
    try:
        if candidate.error is not None:
            raise candidate.error
        train, test = rows.splits[number]
        model = candidate.fitted(*rows.part(train), rows.params(fit_params, train), until)
        fit_time = time.perf_counter() - began
        began = time.perf_counter()
        scores = _scores(model, rows, test)
        score_time = time.perf_counter() - began
        train_scores = _scores(model, rows, train) if rows.train_scores else None
        proba = None
        if keep_proba:
            X, _ = rows.part(test)
            proba = class_scores(model, X, "predict_proba", rows.classes, rows.multilabel)
    except Exception as error:  # belongs to this candidate, reported with its scores
        fit_time = fit_time or time.perf_counter() - began
        return Outcome(None, None, fit_time, score_time, "".join(format_exception(error)), None)
    return Outcome(scores, train_scores, fit_time, score_time, None, proba)


def _scores(model, rows, at):
    found = rows.scorer(model, *rows.part(at), **rows.params(rows.score_params, at))
    return dict(found) if isinstance(found, dict) else {"score": found}


def _advance(fold, until, kept):
    return fold.advance(until, kept)


def _kind_for(classifier):
    if isinstance(classifier, NeuralClassifier):
        return NeuralKind
    return EnsembleKind if isinstance(classifier, TabMClassifier) else PlainKind


def kinds_of(search, fit_params, y, task):
    """The estimators of a search with their candidates.

    Parameters
    ----------
    search : LossSearchCV
        The search.
    fit_params : dict
        Parameters of `fit` by name, as `fit_params_of` gives them.
    y : array-like
        Labels.
    task : {"binary", "multiclass", "multilabel"}
        Kind of target.

    Returns
    -------
    list of Kind
        One per estimator.
    """
    chosen = chosen_losses(search.losses, task)
    if not search._several:
        wanted = settings(search.estimator, chosen, search.param_grid)
        last = last_step(search.estimator)
        kind = (
            EnsembleKind if isinstance(last, TabMClassifier) else NeuralKind
        )  # which says what it takes
        return [kind(None, search.estimator, wanted, fit_params[None])]
    estimators = dict(checked_pairs(search))
    grids = checked_grids(search.param_grid, list(estimators))
    prior = ClassPrior.of(y)
    kinds, used = [], set()
    for name, estimator in estimators.items():
        own = losses_for(estimator, chosen, prior)
        used |= {id(loss) for loss in own or []}
        how = settings(estimator, own, grids[name]), fit_params[name]
        kind = _kind_for(last_step(estimator))(name, estimator, *how)
        errors = [c.error for c in kind.candidates]
        if all(errors):
            raise ValueError(
                f"The estimator {name!r} has no setting that works: {errors[0]}"
            ) from errors[0]
        kinds.append(kind)
    unused = [] if isinstance(search.losses, (str, type(None))) else chosen
    unused = [loss for loss in unused if id(loss) not in used]
    if unused:
        raise ValueError(
            f"losses holds {unused[0]!r}, which none of the estimators {list(estimators)} trains: boosted ones "
            "train losses of single rows, other neural and linear ones of skimb any."
        )
    return kinds
