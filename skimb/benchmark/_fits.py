"""One fit of a method on one split of a set, and what it predicts for the test part."""

import sys
import time
import warnings
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from skimb.engine.runtime import small_batch_settings

BLOCKS = 50  # of a stream


class Clock:
    """CPU seconds of `fit` and of `predict`."""

    def __init__(self):
        self.seconds = {"fit": 0.0, "predict": 0.0}

    @contextmanager
    def __call__(self, what):
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds[what] += time.process_time() - began


def answer(model, method, X, width=None):
    """What a model answers for rows, as float64: finite, of shape (n,) or (n, width)."""
    found = np.asarray(getattr(model, method)(X), np.float64)
    found = found if width is not None else found.ravel()
    wanted = (len(X),) if width is None else (len(X), width)
    if found.shape != wanted:
        raise ValueError(f"{method} must give an array of shape {wanted}, gave {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{method} must give finite numbers")
    return found


def learn_classes(method, rows, split, seed, clock):
    """Fit on the training part; probabilities and decisions for the test part."""
    X, y, (train, test) = rows.X, rows.y, split
    prior = np.bincount(y[train], minlength=y.max() + 1) / len(train)
    if not prior.all():
        raise ValueError("a class has no training rows in this split")
    two_of_each(y[test], len(prior))
    with clock("fit"):
        model = method.make(X.iloc[train], seed).fit(X.iloc[train], y[train])
    found = {"target": y[test].astype(np.int32), "prior": prior}
    if hasattr(model, "predict_proba"):
        with clock("predict"):
            found["proba"] = answer(model, "predict_proba", X.iloc[test], len(prior))
        decided = answer(model, "predict", X.iloc[test])
    else:
        with clock("predict"):
            decided = answer(model, "predict", X.iloc[test])
    return found | {"decided": decided.astype(np.int32)}


def two_of_each(y, n_classes):
    """Refuse rows of two classes that cannot be halved with both classes in each half."""
    if n_classes == 2 and np.bincount(y, minlength=2).min() < 2:
        raise ValueError("a class has fewer than two rows among those that are predicted")


def learn_numbers(method, rows, split, seed, clock):
    """Fit on the training part; numbers for the test part; mean, median and 5 and 95 % points as prior."""
    X, y, (train, test) = rows.X, rows.y, split
    with clock("fit"):
        model = method.make(X.iloc[train], seed).fit(X.iloc[train], y[train])
    with clock("predict"):
        predicted = answer(model, "predict", X.iloc[test])
    prior = np.r_[y[train].mean(), np.quantile(y[train], [0.5, 0.05, 0.95])]
    return {"target": y[test], "prior": prior, "predicted": predicted}


def learn_labels(method, rows, split, seed, clock):
    """Fit on the training part; probabilities and decisions of each label for the test part."""
    X, y, (train, test) = rows.X, rows.y, split
    with clock("fit"):
        model = method.make(X.iloc[train], seed).fit(X.iloc[train], y[train])
    with clock("predict"):
        proba = answer(model, "predict_proba", X.iloc[test], y.shape[1])
    decided = answer(model, "predict", X.iloc[test], y.shape[1])
    return {
        "target": y[test].astype(np.int32),
        "prior": y[train].mean(0),
        "proba": proba,
        "decided": decided.astype(np.int32),
    }


def learn_stream(method, rows, split, seed, clock):
    """Learn a first part, then predict one block after the other and learn it."""
    X, y, (first, rest) = rows.X, rows.y, split
    classes = np.arange(y.max() + 1)
    two_of_each(y[rest], len(classes))
    model, proba = method.make(X.iloc[first], seed), []
    with clock("fit"):
        model.partial_fit(X.iloc[first], y[first], classes=classes)
    for block in np.array_split(rest, min(BLOCKS, len(rest))):
        with clock("predict"):
            proba.append(answer(model, "predict_proba", X.iloc[block], len(classes)))
        with clock("fit"):
            model.partial_fit(X.iloc[block], y[block])
    proba = np.concatenate(proba)
    return {
        "target": y[rest].astype(np.int32),
        "prior": np.bincount(y[first], minlength=len(classes)) / len(first),
        "proba": proba,
        "decided": proba.argmax(1).astype(np.int32),
    }


def fit(suite, method, source, rows, split_number, memory=False):
    """Arrays and meta of a fit; the meta of a failed fit says why, and there are no arrays."""
    y = rows.y
    counts = {1: np.bincount, 2: lambda y: y.sum(0)}[y.ndim](y) if y.dtype.kind != "f" else [0]
    meta = {
        "set": source.name,
        "split": split_number,
        "method": method.name,
        "task": suite.name,
        "rows": len(y),
        "features": rows.X.shape[1] if rows.X.ndim == 2 else 0,
        "rare": int(min(counts)),
        "release": method.release(),
        "error": "",
    }
    clock, arrays = Clock(), {}
    before = peak_mib() if memory else 0.0
    with threadpool_limits(1), small_batch_settings(one_thread=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            split = suite.split(rows, split_number)
            arrays = suite.learn(method, rows, split, split_number, clock)
        except Exception as error:  # a failed fit is a row of the results and ranks last
            meta["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    if memory:
        meta["memory"] = peak_mib() - before
    return arrays, meta | {
        "seconds": clock.seconds["fit"],
        "predict_seconds": clock.seconds["predict"],
    }


def peak_mib():
    """Largest resident size of this process so far, in MiB."""
    if sys.platform == "linux":  # ru_maxrss begins at that of the parent
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
