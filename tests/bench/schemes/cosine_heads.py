# ruff: noqa: I001
"""Heads of cosines against the linear one: recall of common and rare classes, and neural collapse.

python tests/bench/schemes/cosine_heads.py --data FOLDER
"""

import argparse
import time
import warnings

from long_tailed import SETS, machine, recalls, table  # fixes the threads

import numpy as np
import torch

from skimb.inspection import neural_collapse
from skimb.losses import LogitAdjusted
from skimb.neural_network import MLPClassifier


def measured(X, Xt, y, yt, head, loss, seed, epochs):
    """Recalls, seconds, and the geometry of the training rows, of one fit."""
    model = MLPClassifier(
        (128, 128), head=head, loss=loss, solver="adamw", learning_rate="cosine", max_iter=epochs,
        tol=0.0, random_state=seed,
    )  # fmt: skip
    start = time.process_time()
    model.fit(X, y)
    seconds = time.process_time() - start
    features, coef, intercept = model.last_layer(X)
    found = neural_collapse(features, y, coef, intercept)
    held = neural_collapse(model.last_layer(Xt)[0], yt)
    geometry = found.nc1, held.within_share, found.weight_slope, found.mean_slope, found.rare_cosine
    return (*recalls(y, yt, model.predict(Xt)), *geometry, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(machine(), "\n")
    rows = []
    for name in args.sets:
        load, found = SETS[name], {}
        for seed in range(args.seeds):
            parts = load(args.data, seed)
            for loss in (None, LogitAdjusted()):
                for head in ("linear", "cosine", "etf"):
                    key = "LogitAdjusted" if loss else "CrossEntropy", head
                    own = measured(*parts, head, loss, seed, args.epochs)
                    found.setdefault(key, []).append(own)
        for key, values in found.items():
            mean = np.mean(values, 0)
            cells = [f"{v:.1f}" for v in mean[:4]] + [f"{v:.2f}" for v in mean[4:9]]
            rows.append([name, *key, *cells, f"{mean[9]:.1f}"])
    header = ["set", "loss", "head", "mean recall", "many", "medium", "few", "NC1", "within, test"]
    header += ["slope w", "slope means", "rare cosine", "s"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
