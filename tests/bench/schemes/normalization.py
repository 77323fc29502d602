# ruff: noqa: I001
"""Shares of rows, classes or tasks in normalised layers: fits on all rows, and streams of classes.

    python tests/bench/schemes/normalization.py --data FOLDER

A stream brings the classes of a set in chunks, the most frequent first. Each chunk is trained for some epochs, with 20
rows kept of every class before; at the end all classes are tested.
"""

import argparse
import time
import warnings

from long_tailed import SETS, machine, recalls, table  # fixes the threads

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skimb.losses import LogitAdjusted
from skimb.neural_network import MLPClassifier

KINDS = (None, "batch", "class_balanced", "adaptive")


def model(kind, loss, seed, **kw):
    kw = {"solver": "adamw", "tol": 0.0, "random_state": seed} | kw
    return MLPClassifier((128, 128), normalization=kind, loss=loss, **kw)


def digits(folder, seed):
    X, y = load_digits(return_X_y=True)
    return train_test_split((X / 16.0).astype("float32"), y, test_size=0.3, random_state=seed)


def streamed(X, y, estimator, chunks, epochs, kept=20):
    """An estimator after the chunks of classes, with some rows kept of those before."""
    classes, counts = np.unique(y, return_counts=True)
    order = classes[np.argsort(-counts, kind="stable")]
    rng, memory = np.random.default_rng(0), np.zeros(0, int)
    for some in np.array_split(order, chunks):
        new = np.flatnonzero(np.isin(y, some))
        rows = np.concatenate([new, memory])
        for _ in range(epochs):
            estimator.partial_fit(X[rows], y[rows], classes=classes)
        exemplars = [rng.permutation(np.flatnonzero(y == c))[:kept] for c in some]
        memory = np.concatenate([memory, *exemplars])
    return estimator


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(machine(), "\n")
    found = {}
    for seed in range(args.seeds):
        for name in args.sets:
            X, Xt, y, yt = SETS[name](args.data, seed)
            for loss in (None, LogitAdjusted()):
                for kind in KINDS:
                    fitted = model(kind, loss, seed, max_iter=args.epochs, learning_rate="cosine")
                    start = time.process_time()
                    fitted.fit(X, y)
                    seconds = time.process_time() - start
                    key = name, "LogitAdjusted" if loss else "CrossEntropy", str(kind)
                    own = (*recalls(y, yt, fitted.predict(Xt)), seconds)
                    found.setdefault(key, []).append(own)
        for name, load, chunks in (("digits", digits, 5), ("krvsk", SETS["krvsk"], 6)):
            X, Xt, y, yt = load(args.data, seed)
            for kind in KINDS:
                start = time.process_time()
                fitted = streamed(X, y, model(kind, None, seed, batch_size=64), chunks, 10)
                seconds = time.process_time() - start
                key = f"{name}, stream", "CrossEntropy", str(kind)
                own = (*recalls(y, yt, fitted.predict(Xt)), seconds)
                found.setdefault(key, []).append(own)
    rows = []
    for key, values in sorted(
        found.items(), key=lambda item: ("stream" in item[0][0], item[0][:2])
    ):
        mean = np.mean(values, 0)
        spread = np.std(values, 0)[0]
        rows.append([*key, f"{mean[0]:.1f} ± {spread:.1f}", *(f"{v:.1f}" for v in mean[1:])])
    header = ["set", "loss", "normalization", "mean recall", "many", "medium", "few", "s"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
