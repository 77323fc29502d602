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


def learn_classes(method, rows, split, seed, clock):
    """Fit on the training part; probabilities and decisions for the test part."""
    X, y, (train, test) = rows.X, rows.y, split
    prior = np.bincount(y[train], minlength=y.max() + 1) / len(train)
    if not prior.all():
        raise ValueError("a class has no training rows in this split")
    with clock("fit"):
        model = method.make(X.iloc[train], seed).fit(X.iloc[train], y[train])
    found = {"target": y[test].astype(np.int32), "prior": prior}
    if hasattr(model, "predict_proba"):
        with clock("predict"):
            found["proba"] = np.asarray(model.predict_proba(X.iloc[test]), np.float64)
        decided = model.predict(X.iloc[test])
    else:
        with clock("predict"):
            decided = model.predict(X.iloc[test])
    return found | {"decided": np.asarray(decided).ravel().astype(np.int32)}


def learn_numbers(method, rows, split, seed, clock):
    """Fit on the training part; numbers for the test part; mean, median and 5 and 95 % points as prior."""
    X, y, (train, test) = rows.X, rows.y, split
    with clock("fit"):
        model = method.make(X.iloc[train], seed).fit(X.iloc[train], y[train])
    with clock("predict"):
        predicted = np.asarray(model.predict(X.iloc[test]), np.float64).ravel()
    prior = np.r_[y[train].mean(), np.quantile(y[train], [0.5, 0.05, 0.95])]
    return {"target": y[test], "prior": prior, "predicted": predicted}


def learn_labels(method, rows, split, seed, clock):
    """Fit on the training part; probabilities and decisions of each label for the test part."""
    X, y, (train, test) = rows.X, rows.y, split
    with clock("fit"):
        model = method.make(X.iloc[train], seed).fit(X.iloc[train], y[train])
    with clock("predict"):
        proba = np.asarray(model.predict_proba(X.iloc[test]), np.float64)
    decided = np.asarray(model.predict(X.iloc[test]))
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
    model, proba = method.make(X.iloc[first], seed), []
    with clock("fit"):
        model.partial_fit(X.iloc[first], y[first], classes=classes)
    for block in np.array_split(rest, min(BLOCKS, len(rest))):
        with clock("predict"):
            proba.append(np.asarray(model.predict_proba(X.iloc[block]), np.float64))
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
    split = suite.split(rows, split_number)
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
