"""Telling others how training goes, and ending it when they say so."""

import copy

import numpy as np
from skorch.callbacks import Callback

from skimb.engine.signals import StopTraining


class ScoreReporter(Callback):
    """Report a score after each epoch to a function, which may end training.

    For trackers of experiments and for searches that give up hopeless trials. Copies and clones of the callback
    call the same function, so that what it holds (a trial, a run) is not copied with the estimator.

    Parameters
    ----------
    report : callable
        Called as ``report(score, epoch)``, epochs from 0. Training ends when it returns True; what it raises
        leaves ``fit``.
    monitor : {"valid_score", "train_loss"}, default="valid_score"
        The best validation score so far, which is that of the weights that would predict if training ended
        now; or the training loss of the epoch. The former needs validation rows (``early_stopping=True``).

    Raises
    ------
    TypeError
        If `report` cannot be called.
    ValueError
        If `monitor` is another.

    Notes
    -----
    The ensembles of :class:`~skimb.neural_network.TabMClassifier` are trained side by side and report once per
    epoch, the mean over them; one that has stopped counts with its best score. Where they have to be trained
    one after another (losses with a memory, samplers, callbacks that watch batches) epochs are counted on.
    Clones, as those of a cross-validation, each report for themselves.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.training import ScoreReporter
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> seen = []
    >>> def report(score, epoch):
    ...     seen.append(score)
    ...     return epoch == 4  # enough
    >>> model = MLPClassifier(early_stopping=True, callbacks=[ScoreReporter(report)], random_state=0)
    >>> model.fit(X, y).n_iter_, len(seen), bool(seen[-1] == model.best_validation_score_)
    (5, 5, True)
    """

    needs_weights = False

    def __init__(self, report, monitor="valid_score"):
        self.report, self.monitor = report, monitor
        self._fit = _Fit()

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Join the fit that begins."""
        if not callable(self.report):
            raise TypeError(
                f"ScoreReporter: report={self.report!r} must be callable as report(score, epoch)."
            )
        if self.monitor not in ("valid_score", "train_loss"):
            raise ValueError(
                f"ScoreReporter: monitor={self.monitor!r} must be 'valid_score' or 'train_loss'."
            )
        if self._fit.begun:
            self._fit.restart()
        self._fit.epoch = net.epochs_before

    def on_epoch_begin(self, net, **kwargs):
        """End training if another net of the fit was told to."""
        self._fit.begun = True
        if self._fit.ended:
            raise StopTraining
        self._fit.training.add(id(self))

    def on_epoch_end(self, net, **kwargs):
        """Report when the last net of the fit has ended its epoch."""
        fit, last = self._fit, net.history[-1]
        fit.training.discard(id(self))
        if self.monitor == "train_loss" or last["valid_score_best"]:
            fit.scores[id(self)] = last[self.monitor]
        if fit.training:
            return
        answer = self.report(float(np.mean([*fit.scores.values()] or np.nan)), fit.epoch)
        fit.epoch += 1
        if isinstance(answer, (bool, np.bool_)) and answer:
            fit.ended = True
            raise StopTraining

    def __deepcopy__(self, memo):
        other = copy.copy(self)  # a further net of the same fit
        memo[id(self)] = other
        return other

    def __sklearn_clone__(self):
        return type(self)(self.report, self.monitor)


class _Fit:
    """What the reporters of the nets of one fit share."""

    def __init__(self):
        self.restart()

    def restart(self):
        self.begun = self.ended = False
        self.training, self.scores, self.epoch = set(), {}, 0
