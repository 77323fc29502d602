"""Callbacks of the engine: stopping, learning rates, deferred weights, scikit-learn's callbacks."""

import time

import numpy as np
from skorch.callbacks import Callback

from skimb.engine.signals import StopTraining


class Validation(Callback):
    """Score validation rows after each epoch and remember the weights with the best score.

    Parameters
    ----------
    score : callable
        Called without arguments, gives a validation score (higher is better).
    not_before : int, default=0
        Epoch before which no weights count as best.
    """

    needs_weights = settles = True

    def __init__(self, score, not_before=0):
        self.score, self.not_before = score, not_before
        self.scores = []
        self.best_score = self.best_before = -np.inf
        self.best = None

    def on_epoch_end(self, net, **kwargs):
        """Score the weights to predict with, record the score, keep the weights if it is the best."""
        if len(self.scores) == self.not_before:
            self.best_score = -np.inf
        net.step.settle()
        offered = net.offered_weights()
        trained = None if offered is None else net.copied_weights()
        if offered is not None:
            net.set_weights(offered)
        score = float(self.score())
        self.scores.append(score)
        self.best_before = self.best_score
        if score > self.best_score:
            self.best_score = score
            self.best = net.copied_weights()
        net.epoch["valid_score"] = score
        net.epoch["valid_score_best"] = score == self.best_score
        if trained is not None:
            net.set_weights(trained)

    def restore_best(self, net):
        """Put the best weights back, if any were seen."""
        if self.best is not None:
            net.set_weights(self.best)
            self.best = None


class Patience(Callback):
    """Stop when the training loss or a validation score no longer improves.

    Parameters
    ----------
    tol : float
        Least improvement that counts.
    n_iter_no_change : int or float
        Epochs without improvement that are borne.
    validation : Validation, default=None
        What scores each epoch before; ``None`` watches the training loss.
    not_before : int, default=0
        Epoch before which training does not stop.
    floor : float, default=-inf
        Validation score without any training; `GRACE` times as many epochs are borne until one has beaten it.
    gain : float, default=0.0
        What the validation score must gain within so many epochs, if not in one: small improvements add up.
    gain_from : float, default=inf
        Score above which that is asked for.
    adapt : callable, default=None
        Called with the net instead of stopping; returns whether to stop after all.
    verbose : bool, default=False
        Whether to print each epoch.
    """

    needs_weights = False
    GRACE = 3

    def __init__(
        self,
        tol,
        n_iter_no_change,
        *,
        validation=None,
        not_before=0,
        floor=-np.inf,
        gain=0.0,
        gain_from=np.inf,
        adapt=None,
        verbose=False,
    ):
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation = validation
        self.not_before = not_before
        self.floor = floor
        self.gain, self.gain_from = gain, gain_from
        self.mark = -np.inf
        self.adapt = adapt
        self.verbose = verbose
        self.best_loss = np.inf
        self.count = 0
        self.stopped = False
        self.epoch = 0

    def on_epoch_end(self, net, **kwargs):
        """Compare the epoch with the best one so far; stop or go on."""
        self.epoch += 1
        epoch = self.epoch
        loss = net.epoch["train_loss"]
        if self.verbose:
            print(f"Iteration {epoch}, loss = {loss:.8f}")
        if epoch == self.not_before + 1:
            self.best_loss, self.count, self.mark = np.inf, 0, -np.inf
        if self.validation is not None:
            score = self.validation.scores[-1]
            if self.verbose:
                print(f"Validation score: {score:f}")
            # a net whose probabilities were shrunk to a constant has the same score for ever
            least = self.mark + self.gain if self.mark > self.gain_from else -np.inf
            worse = not score > max(self.validation.best_before + self.tol, least)
            self.mark = self.mark if worse else score
        else:
            worse = loss > self.best_loss - self.tol
        self.count = self.count + 1 if worse else 0
        self.best_loss = min(self.best_loss, loss) if loss == loss else self.best_loss
        if self.count > self._borne and epoch > self.not_before:
            if self.adapt is not None and not self.adapt(net):
                self.count = 0
                return
            self._say()
            self.stopped = True
            raise StopTraining

    def _say(self):
        if self.verbose:
            what = "Training loss" if self.validation is None else "Validation score"
            print(
                f"{what} did not improve more than tol={self.tol:f} for "
                f"{self._borne} consecutive epochs. Stopping."
            )

    @property
    def _borne(self):
        below = self.validation is not None and self.validation.best_score < self.floor
        return self.n_iter_no_change * (self.GRACE if below else 1)


class EpochLimit(Callback):
    """Stop after some epochs of those that were planned, which schedules refer to.

    Parameters
    ----------
    epochs : int
        Epochs of this run.
    """

    needs_weights = False

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Count the epochs of this run."""
        self.left = self.epochs

    def on_epoch_end(self, net, **kwargs):
        """Stop when the last one has ended."""
        self.left -= 1
        if self.left <= 0:
            raise StopTraining


class LearningRate(Callback):
    """Schedules of the learning rate after each epoch.

    Parameters
    ----------
    schedule : {"constant", "invscaling", "adaptive", "cosine", "linear"}
        'invscaling' divides by ``(rows seen + 1) ** power_t``; 'cosine' and 'linear' fall to zero over
        `n_epochs`; 'adaptive' is driven by patience through :meth:`divide`.
    init : float
        Initial rate.
    power_t : float
        Exponent of 'invscaling'.
    n_epochs : int
        Planned epochs.
    seen : int
        Rows seen before this run.
    """

    needs_weights = False

    def __init__(self, schedule, init, *, power_t=0.5, n_epochs=1, seen=0):
        self.schedule = schedule
        self.init = init
        self.power_t = power_t
        self.n_epochs = n_epochs
        self.seen = seen

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Count the epochs of this run."""
        self.epoch = 0

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        """Set the next epoch's rate."""
        self.epoch += 1
        self.seen += len(dataset_train)
        if self.schedule == "invscaling":
            net.optimizer_.lr = self.init / (self.seen + 1) ** self.power_t
        elif self.schedule == "cosine":
            net.optimizer_.lr = (
                0.5 * self.init * (1.0 + np.cos(np.pi * min(self.epoch / self.n_epochs, 1.0)))
            )
        elif self.schedule == "linear":
            net.optimizer_.lr = self.init * max(1.0 - self.epoch / self.n_epochs, 0.0)

    @staticmethod
    def divide(net):
        """Divide the rate by 5; true when it has become useless."""
        lr = net.optimizer_.lr
        if lr <= 1e-6:
            return True
        net.optimizer_.lr = lr / 5.0
        return False


class DeferredReweighting(Callback):
    """Train without class weights first and switch them on late.

    Parameters
    ----------
    start : float in [0, 1], default=0.8
        Share of the planned epochs after which class weights apply.

    Notes
    -----
    Inverse-frequency weights from the start hurt the representation; deferring them is what the
    authors of LDAM found to work. Early stopping does not count epochs before the switch.

    References
    ----------
    Cao et al. 2019, arXiv:1906.07413.

    Examples
    --------
    >>> from skimb.training import DeferredReweighting
    >>> DeferredReweighting(start=0.5).first_epoch(max_epochs=10)
    5
    """

    needs_weights = False

    def __init__(self, start=0.8):
        self.start = start

    def first_epoch(self, max_epochs):
        """Index of the first epoch with class weights."""
        return int(np.ceil(self.start * max_epochs))

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Count epochs of this run from zero."""
        self.epoch_ = 0

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Swap in the late weights when the time has come."""
        if self.epoch_ == self.first_epoch(net.max_epochs):
            dataset_train.weight = dataset_train.late_weight
        self.epoch_ += 1


class LossSchedule(Callback):
    """Give the training step the loss in force at the start of each epoch.

    Parameters
    ----------
    loss : BoundLoss
        The loss with its schedule.
    seen : int
        Epochs trained before this run that count as part of it.
    max_epochs : int
        Planned epochs.
    """

    needs_weights = False

    def __init__(self, loss, seen, max_epochs):
        self.loss, self.seen, self.max_epochs = loss, seen, max_epochs

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Count epochs of this run."""
        self.epoch_ = self.seen

    def on_epoch_begin(self, net, **kwargs):
        """Put the loss of this epoch in force."""
        net.step.loss = self.loss.at(self.epoch_, self.max_epochs)
        self.epoch_ += 1

    def settled(self, n_epochs):
        """First epoch from which the loss in force stays the same; 0 without a schedule."""
        stages = [self.loss.at(epoch, n_epochs) for epoch in range(n_epochs)]
        changes = [k for k in range(1, n_epochs) if stages[k] is not stages[k - 1]]
        return max(changes, default=0)


class EpochTimer(Callback):
    """Record the seconds of each epoch as ``dur``."""

    needs_weights = False

    def on_epoch_begin(self, net, **kwargs):
        """Start the clock."""
        self.start_ = time.perf_counter()

    def on_epoch_end(self, net, **kwargs):
        """Write the seconds since the epoch began into the history."""
        net.epoch["dur"] = time.perf_counter() - self.start_


class EstimatorCallbacks(Callback):
    """Forward epochs to scikit-learn's callbacks (``set_callbacks``).

    Parameters
    ----------
    context : CallbackContext
        The estimator's fit context.
    estimator : object
        The estimator.
    X, y : array-like
        What its fit received.
    metadata : dict or None
        Sample weights.
    attributes : callable
        Gives the attributes that make a copy of the estimator ready to predict.
    """

    def __init__(self, context, estimator, X, y, metadata, attributes):
        self.context, self.estimator = context, estimator
        self.kw = {"X": X, "y": y, "metadata": metadata}
        self.attributes = attributes
        self.task = None

    def on_epoch_begin(self, net, **kwargs):
        """Open a subtask."""
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(
            estimator=self.estimator, **self.kw, reconstruction_attributes=self.attributes()
        )

    def on_epoch_end(self, net, **kwargs):
        """Close the subtask of the epoch; a callback may ask to stop the training."""
        task, self.task = self.task, None
        stop = task.call_on_fit_task_end(
            estimator=self.estimator, **self.kw, reconstruction_attributes=self.attributes()
        )
        if stop:
            raise StopTraining

    def on_train_end(self, net, **kwargs):
        """Close a subtask that an interruption left open."""
        if self.task is not None:
            self.task.call_on_fit_task_end(
                estimator=self.estimator, **self.kw, reconstruction_attributes=self.attributes()
            )
            self.task = None
