"""Run as a process by test_ways_out.py: how fits end that a callback, an error or a bad argument ends."""

import faulthandler
import os
import sys
import threading
import time
import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import Callback

from skimb.losses import CrossEntropy, Focal
from skimb.losses._softmax import SoftmaxBound
from skimb.model_selection import LossSearchCV, batched_fits
from skimb.neural_network import MLPClassifier

SECONDS = 60
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
y = (X[:, 0] > 0).astype(int)


class Raise(Callback):
    """Raises something in the second epoch of the net with a given learning rate."""

    def __init__(self, kind, hook="on_epoch_end", rate=None):
        self.kind, self.hook, self.rate = kind, hook, rate

    def _maybe(self, net, hook):
        mine = self.rate is None or net.optimizer_.lr == self.rate
        if hook == self.hook and mine and len(net.history) == 2:
            raise self.kind("as asked")

    def on_epoch_begin(self, net, **kwargs):
        self._maybe(net, "on_epoch_begin")

    def on_epoch_end(self, net, **kwargs):
        self._maybe(net, "on_epoch_end")


class NeedsTwo(Exception):
    """An exception that cannot be unpickled."""

    def __init__(self, message, code=None):
        if code is None and message != "as asked":
            raise TypeError("code is missing")
        super().__init__("other words")


class Kill(Callback):
    """Ends the process that trains."""

    def on_epoch_end(self, net, **kwargs):
        os._exit(3)


class Unhashable(SoftmaxBound):
    def __init__(self):
        super().__init__()
        self.note = {1, 2}


class UnhashableLoss(CrossEntropy):
    def _bind(self, prior):
        return Unhashable()


def model(kind=None, hook="on_epoch_end", rate=None, **kw):
    callbacks = [] if kind is None else [Raise(kind, hook, rate)]
    return MLPClassifier((4,), max_iter=5, callbacks=callbacks, random_state=0, **kw)


def outcome(call):
    try:
        return call()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def in_block(call, **kw):
    with batched_fits(**kw):
        return call()


def two_folds(estimator, **kw):
    return len(cross_val_score(estimator, X, y, cv=2, **kw))


def one_rate_fails(kind):
    """Scores of four learning rates of which one raises."""
    search = GridSearchCV(
        model(kind, rate=0.03), {"learning_rate_init": [0.01, 0.03, 0.1, 0.3]}, cv=2
    )
    return np.isnan(search.fit(X, y).cv_results_["mean_test_score"]).tolist()


def from_two_threads():
    """Blocks that two threads open at the same time."""
    found = [None, None]

    def run(k):
        found[k] = outcome(lambda: in_block(lambda: two_folds(model())))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return found


CASES = {
    "interrupt alone": lambda: model(KeyboardInterrupt).fit(X, y).n_iter_,
    "interrupt": lambda: in_block(lambda: two_folds(model(KeyboardInterrupt))),
    "interrupt at begin": lambda: in_block(
        lambda: two_folds(model(KeyboardInterrupt, "on_epoch_begin"))
    ),
    "interrupt one": lambda: in_block(lambda: one_rate_fails(KeyboardInterrupt)),
    "exit": lambda: in_block(lambda: two_folds(model(SystemExit))),
    "exit alone": lambda: model(SystemExit).fit(X, y),
    "generator exit": lambda: in_block(lambda: two_folds(model(GeneratorExit))),
    "error": lambda: in_block(lambda: two_folds(model(ArithmeticError), error_score="raise")),
    "error of one": lambda: in_block(lambda: one_rate_fails(ArithmeticError)),
    "unhashable": lambda: in_block(
        lambda: two_folds(model(loss=UnhashableLoss()), error_score="raise")
    ),
    "no memory": lambda: in_block(lambda: two_folds(model()), max_memory=0),
    "memory in words": lambda: in_block(lambda: two_folds(model()), max_memory="1GB"),
    "negative memory": lambda: in_block(lambda: two_folds(model()), max_memory=-1),
    "one byte": lambda: in_block(lambda: two_folds(model()), max_memory=1),
    "search interrupt": lambda: (
        LossSearchCV(model(KeyboardInterrupt), losses=[Focal()], cv=2).fit(X, y).n_splits_
    ),
    "search exit": lambda: LossSearchCV(model(SystemExit), losses=[Focal()], cv=2).fit(X, y),
    "two threads": from_two_threads,
}


def on_dask(call, **kw):
    return in_block(call, backend="dask", **kw)


def closed_client():
    """A block whose client is closed while a fit is under way."""
    import distributed

    def close_soon():
        time.sleep(0.6)
        client.close()

    slow = MLPClassifier((4,), max_iter=2_000, tol=0.0, n_iter_no_change=2_000)
    with distributed.Client(distributed.get_client().cluster, set_as_default=False) as client:
        threading.Thread(target=close_soon, name="closer").start()
        return in_block(lambda: two_folds(slow), backend="dask", client=client)


def closed_before():
    """A block on a client that is closed already."""
    import distributed

    client = distributed.Client(distributed.get_client().cluster, set_as_default=False)
    client.close()
    return in_block(lambda: two_folds(model()), backend="dask", client=client)


ON_DASK = {
    "dask": lambda: on_dask(lambda: two_folds(model())),
    "dask interrupt": lambda: on_dask(lambda: two_folds(model(KeyboardInterrupt))),
    "dask interrupt one": lambda: on_dask(lambda: one_rate_fails(KeyboardInterrupt)),
    "dask exit": lambda: on_dask(lambda: two_folds(model(SystemExit))),
    "dask generator exit": lambda: on_dask(lambda: two_folds(model(GeneratorExit))),
    "dask error": lambda: on_dask(lambda: two_folds(model(ArithmeticError), error_score="raise")),
    "dask error of one": lambda: on_dask(lambda: one_rate_fails(ArithmeticError)),
    "dask odd error": lambda: on_dask(lambda: two_folds(model(NeedsTwo), error_score="raise")),
    "dask unhashable": lambda: on_dask(
        lambda: two_folds(model(loss=UnhashableLoss()), error_score="raise")
    ),
    "dask memory in words": lambda: on_dask(lambda: two_folds(model()), max_memory="1GB"),
    "dask one byte": lambda: on_dask(lambda: two_folds(model()), max_memory=1),
    "dask closed client": closed_client,
    "dask closed before": closed_before,
    "dask again": lambda: on_dask(lambda: two_folds(model())),
    "dask killed": lambda: on_dask(
        lambda: two_folds(MLPClassifier((4,), max_iter=5, callbacks=[Kill()]))
    ),
}


def main(names):
    warnings.simplefilter("ignore")
    with cluster(any(name in ON_DASK for name in names)):
        for name in names:
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            result = str(outcome((CASES | ON_DASK)[name])).replace("\n", " ")
            print(f"{name} -> {result} -> {left_over()}", flush=True)
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def cluster(wanted):
    """A cluster of two processes with its client, if wanted."""
    if not wanted:
        yield
        return
    import dask
    import distributed

    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    kw = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**kw) as processes, distributed.Client(processes):
        yield


def left_over():
    """Threads of blocks that have ended and that do not end within a few seconds."""
    for _ in range(100):
        alive = sum(t.name.startswith("skimb") for t in threading.enumerate())
        if not alive:
            break
        time.sleep(0.05)
    return alive


if __name__ == "__main__":
    main(sys.argv[1:] or [*CASES, *ON_DASK])
