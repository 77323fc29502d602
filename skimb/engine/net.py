"""The skorch net behind every estimator."""

from contextlib import nullcontext
from contextvars import ContextVar
from dis import opmap

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring

from skimb.engine.data import Batches
from skimb.engine.lbfgs import FullBatch
from skimb.engine.sparse_steps import SparseChainStep

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end")


class StopTraining(KeyboardInterrupt):
    """Raised by a callback to end training; skorch ends its loop on KeyboardInterrupt."""


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


def training_is_shared():
    """Whether this thread works in a block of batched fits."""
    return _SHARED.get() is not None


class EngineNet(NeuralNet):
    """A skorch net that trains on whole tensor batches with a step of its own.

    History, callbacks, ``set_params`` and ``initialize`` are skorch's. The data set is a
    :class:`~skimb.engine.data.TrainingData`; the step and the order of rows are given, not built here.

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
    **kwargs : dict
        Parameters of :class:`skorch.NeuralNet`.
    """

    interrupted = False  # whether the user ended training

    def __init__(self, module, *, step=None, order=None, draws=None, **kwargs):
        self.step = step
        self.order = order
        self.draws = draws
        kwargs.setdefault("train_split", None)
        kwargs.setdefault("verbose", 0)
        super().__init__(module, **kwargs)

    @property
    def _default_callbacks(self):
        return []

    def initialize_optimizer(self, triggered_directly=None):
        """Take the step's optimiser."""
        self.optimizer_ = getattr(self.step, "optimizer", None)
        return self

    def check_training_readiness(self):
        """Instances are always ready."""

    def get_iterator(self, dataset, training=False):
        """Whole batches in the order of the epoch."""
        return Batches(dataset, self.order)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train; a full-batch step runs its solver, whose iterations are the epochs.

        An interruption ends training and is remembered in ``interrupted``.
        """
        self.interrupted = False
        try:
            if isinstance(self.step, FullBatch):
                return self._full_batch_loop(X, self.max_epochs if epochs is None else epochs)
            shared = _SHARED.get()
            if shared is not None and epochs is None and shared.takes(self, X):
                shared.train(self, X)
                return self
            with self.draws or nullcontext():
                return super().fit_loop(X, y, epochs=epochs)
        except KeyboardInterrupt as signal:
            self.interrupted = not ended_by_callback(signal)
            return self

    def fit_alone(self, dataset, epochs):
        """Train some epochs without waiting for others; tells whether a callback ended training.

        A full-batch step runs to its end.
        """
        self.interrupted = False
        try:
            if isinstance(self.step, FullBatch):
                self._full_batch_loop(dataset, self.max_epochs)
            else:
                with self.draws or nullcontext():
                    super().fit_loop(dataset, epochs=epochs)
        except KeyboardInterrupt as signal:
            if not raised_by_code(signal):
                raise
            self.interrupted = not ended_by_callback(signal)
            return True
        return False

    def watches_batches(self):
        """Whether a callback listens to batches or gradients."""
        callbacks = [cb for _, cb in self.callbacks_]
        return any(_listens(cb) or _overrides(cb, "on_grad_computed") for cb in callbacks)

    def watches_weights(self):
        """Whether a callback may look at the weights after an epoch."""
        return any(getattr(cb, "needs_weights", True) for _, cb in self.callbacks_)

    def _full_batch_loop(self, dataset, max_iter):
        on_epoch = {"dataset_train": dataset, "dataset_valid": None}
        self.notify("on_epoch_begin", **on_epoch)

        def iteration_ends(loss, more):
            self.history.record("train_loss", loss)
            self.notify("on_epoch_end", **on_epoch)
            if more:
                self.notify("on_epoch_begin", **on_epoch)

        self.step.run(dataset, max_iter, iteration_ends)
        return self

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One pass over the batches; per-batch notifications only where a callback listens."""
        if iterator is None:
            return
        self.module_.train(training)
        with torch.set_grad_enabled(self.step.autograd):
            losses, sizes = self._run_batches(iterator, training)
        self.record_epoch(torch.stack(losses).tolist(), sizes, prefix)

    def record_epoch(self, values, sizes, prefix):
        """Write the losses of an epoch's batches and their mean into the history."""
        self.history[-1]["batches"].extend(
            {f"{prefix}_loss": l, f"{prefix}_batch_size": n}
            for l, n in zip(values, sizes, strict=True)
        )
        self.history.record(f"{prefix}_batch_count", len(sizes))
        mean = sum(l * n for l, n in zip(values, sizes, strict=True)) / max(sum(sizes), 1)
        self.history.record(f"{prefix}_loss", mean)

    def _run_batches(self, iterator, training):
        step, losses, sizes = self.step, [], []
        callbacks = [cb for _, cb in self.callbacks_]
        if any(_overrides(cb, "on_grad_computed") for cb in callbacks):
            self._show_gradients(step)
        if any(_listens(cb) for cb in callbacks):
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch[:2], training=training)
                losses.append(step(*batch))
                sizes.append(len(batch[1]))
                self.notify("on_batch_end", batch=batch[:2], training=training, loss=losses[-1])
        else:
            for batch in iterator:
                losses.append(step(*batch))
                sizes.append(len(batch[1]))
        return losses, sizes

    def _show_gradients(self, step):
        """Let callbacks see, and clip, gradients before each update."""
        if isinstance(step, SparseChainStep):
            raise ValueError(
                "A callback with on_grad_computed needs the gradients of all parameters; the step "
                "for sparse X holds only those of the rows in a batch. Drop the callback."
            )
        named = list(self.module_.named_parameters())
        step.notify = lambda: self.notify("on_grad_computed", named_parameters=named, batch=None)


def ended_by_callback(signal):
    """Whether an interruption is a callback's way to end training; skorch's own callbacks raise it too."""
    if isinstance(signal, StopTraining):
        return True
    frame = _origin(signal).tb_frame
    return frame.f_globals.get("__name__", "").startswith("skorch.callbacks")


def raised_by_code(signal):
    """Whether an interruption comes from a ``raise`` statement and not from the user's Ctrl-C.

    Python raises the latter between any two instructions, so that the last one of its traceback is no
    ``raise``.
    """
    place = _origin(signal)
    code = place.tb_frame.f_code.co_code
    return place.tb_lasti >= 0 and code[place.tb_lasti] == opmap["RAISE_VARARGS"]


def _origin(signal):
    """The last entry of an exception's traceback."""
    place = signal.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    return place


def _listens(callback):
    if isinstance(callback, PassthroughScoring):
        return False
    return any(_overrides(callback, hook) for hook in _BATCH_HOOKS)


def _overrides(callback, hook):
    return getattr(type(callback), hook) is not getattr(Callback, hook)
