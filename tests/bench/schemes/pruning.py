"""Pruning with class weights against pruning without, at equal sparsity: missed positives, AUC, bytes, seconds.

    python tests/bench/schemes/pruning.py --data FOLDER

FOLDER holds mammography.parquet (columns, target). Both nets are the same but for the class weights; nothing is tuned.
Missed positives at the net's own decision and at 10 % false positives of the training rows; means over seeds, on rows
that no net has seen.
"""

import argparse
import pickle
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.neural_network import MLPClassifier  # noqa: E402
from skimb.posthoc import ClassDependentPruner  # noqa: E402

FIGURES = (
    "kept", "false_negative_rate", "false_positive_rate", "matched_false_negative_rate", "roc_auc",
    "average_precision",
)  # fmt: skip


def run(folder, seeds):
    frame = pd.read_parquet(folder / "mammography.parquet")
    X = StandardScaler().fit_transform(frame.drop(columns="target").to_numpy(np.float32))
    y = frame.target.to_numpy()
    net = MLPClassifier((128, 128), max_iter=12, tol=0, n_iter_no_change=np.inf, random_state=0)
    print(f"\nmammography: {len(y)} rows, {np.mean(y == 1):.3f} positive, {seeds} seeds\n")
    rows, sizes = [], []
    for name, weight in [("blind", None), ("class weights", "balanced")]:
        found = []
        for seed in range(seeds):
            model = ClassDependentPruner(
                net, class_weight=weight, validation_fraction=0.3, random_state=seed
            )
            model.fit(X, y)
            found.append([model.history_[figure] for figure in FIGURES])
        for values in np.mean(found, 0).T:
            rows.append([name, f"{100 * values[0]:.1f} %", *(f"{v:.3f}" for v in values[1:])])
        sizes.append((name, model))
    head = ["", "kept", "missed", "false alarms", "missed at 10 % false alarms", "AUC", "AP"]
    print(harness.table(head, rows), flush=True)
    start = time.process_time()
    plain = clone(net).fit(X, y)
    seconds = time.process_time() - start
    start = time.process_time()
    ClassDependentPruner(net, random_state=0).fit(X, y)
    print(
        f"\nA fit takes {(time.process_time() - start) / seconds:.1f} times as long as a plain one.\n"
    )
    small = sizes[1][1]
    timed = harness.interleaved(
        {"plain": lambda: plain.decision_function(X), "pruned": lambda: small.decision_function(X)}
    )
    weights = plain.net_.module_.flat.numel() * 4
    one = [len(pickle.dumps(m)) for m in (plain, small)]
    rows = [
        ["plain", "6-128-128-1", weights, one[0], f"{1e3 * harness.median(timed['plain']):.1f}"],
        ["pruned", "-".join(map(str, small.net_.widths)), small.net_.nbytes, one[1],
         f"{1e3 * harness.median(timed['pruned']):.1f}"],
    ]  # fmt: skip
    print(
        harness.table(
            ["", "units", "bytes of the net", "bytes of the pickle", "ms for all rows"], rows
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(harness.machine())
    run(given.data, given.seeds)
