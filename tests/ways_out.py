"""Run as a process by test_ways_out.py: how fits end that a callback, an error or a bad argument ends."""

import faulthandler
import sys
import threading
import time
import warnings

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


def main(names):
    warnings.simplefilter("ignore")
    for name in names:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        print(f"{name} -> {outcome(CASES[name])} -> {left_over()}", flush=True)
    faulthandler.cancel_dump_traceback_later()


def left_over():
    """Threads of blocks that have ended and that do not end within a few seconds."""
    for _ in range(100):
        alive = sum(t.name.startswith("skimb") for t in threading.enumerate())
        if not alive:
            break
        time.sleep(0.05)
    return alive


if __name__ == "__main__":
    main(sys.argv[1:] or list(CASES))
