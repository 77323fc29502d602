"""The skorch net behind every estimator."""

from contextlib import nullcontext
from contextvars import ContextVar
from operator import mul

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring, PrintLog

from skimb.engine.signals import ended_by_callback
from skimb.engine.trainer import Trainer

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end")


# the coordinator of the block of batched fits that this thread works in, if any; a thread that a block
# starts gets a copy of its context
_SHARED = ContextVar("skimb_shared_training", default=None)


def share_training(coordinator):
    """Send the trainings of this context to a coordinator from now on; returns how to take it back."""
    if _SHARED.get() is not None:
        raise RuntimeError("batched_fits is already active; blocks cannot be nested.")
    return _SHARED.set(coordinator)


def end_sharing(token):
    """Take back what `share_training` did."""
    _SHARED.reset(token)


def shared_training():
    """The coordinator of the block of batched fits that this thread works in, or None."""
    return _SHARED.get()


def training_is_shared():
    """Whether this thread works in a block of batched fits."""
    return _SHARED.get() is not None


class EngineNet(NeuralNet):
    """A skorch net that trains on whole tensor batches with a step of its own.

    History, callbacks, ``set_params`` and ``initialize`` are skorch's. The data set is a
    :class:`~skimb.engine.data.TrainingData`; the step and the order of rows are given, not built here. Epochs
    are run by a :class:`~skimb.engine.trainer.Trainer`, which may train other nets at the same time.

    Parameters
    ----------
    module : Module
        An instance.
    step : Step or FullBatch, default=None
        What one batch, or with full-batch training one solver run, does.
    order : Order, default=None
        Rows of each epoch.
    draws : Draws, default=None
        Random state of a module that draws from torch's global generator while it trains.
    epochs_before : int, default=0
        Epochs trained before this run that count as part of it.
    **kwargs : dict
        Parameters of :class:`skorch.NeuralNet`.
    """

    interrupted = False  # whether the user ended training
    least_loss = float("inf")  # of the epochs so far

    def __init__(self, module, *, step=None, order=None, draws=None, epochs_before=0, **kwargs):
        self.step = step
        self.order = order
        self.draws = draws
        self.epochs_before = epochs_before
        kwargs.setdefault("train_split", None)
        kwargs.setdefault("verbose", 0)
        super().__init__(module, **kwargs)

    @property
    def _default_callbacks(self):
        return []

    def initialize(self):
        """Take module, criterion and optimiser as they are, and skorch's rest."""
        self.init_context_ = "module"  # in which skorch allows modules to be set
        self.virtual_params_ = {}
        self.module_, self.criterion_ = self.module, self.criterion
        if self.device != "cpu" and isinstance(self.criterion_, torch.nn.Module):
            self.criterion_.to(self.device)
        self._initialize_callbacks()
        self._initialize_optimizer()
        self.initialize_history()
        self.initialized_ = True
        return self

    def initialize_callbacks(self):
        """Take pairs of names and callbacks as they are; skorch makes what else is given into such."""
        pairs = self.callbacks or []
        ready = all(isinstance(p, tuple) and isinstance(p[1], Callback) for p in pairs)
        if not ready or any(isinstance(cb, PrintLog) for _, cb in pairs):  # which comes last
            return super().initialize_callbacks()
        if len({name for name, _ in pairs}) < len(pairs):
            return super().initialize_callbacks()
        for _, callback in pairs:
            callback.initialize()
        self.callbacks_ = list(pairs)
        return self

    @property
    def epoch(self):
        """The history's record of the epoch; skorch's own look-up copies the history."""
        return list.__getitem__(self.history_, -1)

    def initialize_optimizer(self, triggered_directly=None):
        """Take the step's optimiser."""
        self.optimizer_ = getattr(self.step, "optimizer", None)
        return self

    def check_training_readiness(self):
        """Instances are always ready."""

    def let_go(self):
        """Keep the module on the CPU, and nothing else of the training: no data, moments or gradients."""
        for parameter in self.module_.parameters():
            parameter.grad = None  # a view, which would hold the memory of all gradients
        # callbacks hold training data and, for scikit-learn's, the estimator
        self.callbacks = self.callbacks_ = []
        self.step = self.optimizer_ = self.order = None
        if self.device != "cpu":
            self.module_.to("cpu")
            self.device = "cpu"
            torch.cuda.empty_cache()

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train, alone or in a block of shared fits.

        A full-batch step runs its solver, whose iterations are the epochs. An interruption ends training and
        is remembered in ``interrupted``.
        """
        self.interrupted = False
        shared = _SHARED.get()
        try:
            if shared is not None and epochs is None and shared.takes(self, X):
                shared.train([(self, X)])
                return self
            training = Training([(self, X)])
            training.run(until=epochs)
            training.raise_first()
        except KeyboardInterrupt as signal:
            self.interrupted = not ended_by_callback(signal)
        return self

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Bring the weights to predict with into the module, before callbacks see the end of training."""
        if self.step is None:
            return
        self.step.settle()
        offered = self.offered_weights()
        if offered is not None:
            self.set_weights(offered)
        for _, callback in self.callbacks_:
            restore = getattr(callback, "restore_best", None)
            if restore is not None:
                restore(self)

    def offered_weights(self):
        """Weights that a scheme offers to predict with, or None."""
        scheme = None if self.step is None else self.step.scheme
        return None if scheme is None else scheme.weights()

    @torch.no_grad()
    def set_weights(self, tensors):
        """Copy tensors into the module's state."""
        for own, given in zip(self.module_.state_dict().values(), tensors, strict=True):
            own.copy_(given)

    def copied_weights(self):
        """A copy of the module's state as a list of tensors."""
        return [p.detach().clone() for p in self.module_.state_dict().values()]

    def watches_batches(self):
        """Whether a callback listens to batches or gradients."""
        callbacks = [cb for _, cb in self.callbacks_]
        return any(_listens(cb) or _overrides(cb, "on_grad_computed") for cb in callbacks)

    def watches_weights(self):
        """Whether a callback may look at the weights after an epoch."""
        return any(getattr(cb, "needs_weights", True) for _, cb in self.callbacks_)

    def settles(self):
        """Whether a callback finishes updates that were put off, after each epoch."""
        return any(getattr(cb, "settles", False) for _, cb in self.callbacks_)

    def batch_watcher(self, step):
        """What runs a step between notifications, or None where no callback listens to batches."""
        callbacks = [cb for _, cb in self.callbacks_]
        if any(_overrides(cb, "on_grad_computed") for cb in callbacks):
            self._show_gradients(step)
        if not any(_listens(cb) for cb in callbacks):
            return None

        def watched(batch):
            pair = batch.X, batch.target.code
            self.notify("on_batch_begin", batch=pair, training=True)
            loss = step(batch)
            scores = step.scores.clone()
            self.notify("on_batch_end", batch=pair, training=True, loss=loss, y_pred=scores)
            return loss

        return watched

    def _show_gradients(self, step):
        """Let callbacks see, and clip, gradients before each update."""
        if not step.backend.whole_gradient:
            raise ValueError(
                "A callback with on_grad_computed needs the gradients of all parameters; the step "
                "for sparse X holds only those of the rows in a batch. Drop the callback."
            )
        named = list(self.module_.named_parameters())
        step.notify = lambda: self.notify("on_grad_computed", named_parameters=named, batch=None)

    def record_epoch(self, values, sizes, prefix):
        """Write the losses of an epoch's batches and their mean into the history."""
        of_loss, of_size = f"{prefix}_loss", f"{prefix}_batch_size"
        self.epoch["batches"] += [
            {of_loss: l, of_size: n} for l, n in zip(values, sizes, strict=True)
        ]
        self.epoch[f"{prefix}_batch_count"] = len(sizes)
        mean = sum(map(mul, values, sizes)) / max(sum(sizes), 1)
        self.record_loss(mean, prefix)

    def record_loss(self, loss, prefix="train"):
        """Write the loss of an epoch, and whether it is the least so far."""
        self.epoch[f"{prefix}_loss"] = loss
        self.epoch[f"{prefix}_loss_best"] = loss < self.least_loss
        self.least_loss = min(self.least_loss, loss) if loss == loss else self.least_loss


class Training:
    """One net alone, or several as a population: what runs their epochs, or a net's own solver.

    Parameters
    ----------
    jobs : list of (EngineNet, TrainingData)
        Nets that were initialised and told that training begins.
    shared : bool, default=True
        Whether all members visit the same rows in the same order.
    """

    def __init__(self, jobs, shared=True):
        self.jobs = jobs
        self.net, self.data = jobs[0]
        self.trainer = None if self.net.step.drives_epochs else Trainer(jobs, shared)
        self.going = [0]  # of a net with a solver

    @property
    def alive(self):
        """Positions of nets that have not finished."""
        return self.going if self.trainer is None else self.trainer.alive

    @property
    def errors(self):
        """What nets raised, by position."""
        return {} if self.trainer is None else self.trainer.errors

    def run(self, stop=lambda: False, until=None):
        """Train all nets to their end, or up to the epoch `until`; a solver runs to its end."""
        if self.trainer is None:
            self.going = []
            self._solve()
            return
        draws = self.net.draws if len(self.jobs) == 1 else None
        with draws or nullcontext():
            self.trainer.run(stop, until)

    def raise_first(self):
        """Raise what a net raised, if any did."""
        for error in self.errors.values():
            raise error

    def keep(self, members):
        """Go on with these nets only."""
        if self.trainer is not None:
            self.trainer.keep(members)
        else:
            self.going = [k for k in self.going if k in members]

    def _solve(self):
        net = self.net
        on_epoch = {"dataset_train": self.data, "dataset_valid": None}
        net.notify("on_epoch_begin", **on_epoch)

        def iteration_ends(loss, more):
            net.record_loss(loss)
            net.notify("on_epoch_end", **on_epoch)
            if more:
                net.notify("on_epoch_begin", **on_epoch)

        net.step.run(self.data, net.max_epochs, iteration_ends)


def _listens(callback):
    if isinstance(callback, PassthroughScoring):
        return False
    return any(_overrides(callback, hook) for hook in _BATCH_HOOKS)


def _overrides(callback, hook):
    return getattr(type(callback), hook) is not getattr(Callback, hook)
