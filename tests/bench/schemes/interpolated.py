"""Weights between the start and the end of fine-tuning: what the mean keeps of both skills.

    python tests/bench/schemes/interpolated.py --data FOLDER [--seeds 5]

Digits: start on clean, noisy and dimmed images, fine-tuned on few blurred ones with rare classes. Wine: start on
white wines, fine-tuned on 300 red ones; the rare class are qualities from 7 on.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import fix_threads, table

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.metrics import balanced_accuracy_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.losses import CrossEntropy  # noqa: E402
from skimb.neural_network import MLPClassifier  # noqa: E402
from skimb.posthoc import InterpolatedClassifier  # noqa: E402
from skimb.training import Mixup  # noqa: E402

torch.set_num_threads(1)
ALPHAS = [0.0, 0.25, 0.5, 0.75, 1.0]
TUNING = {
    "plain": {},
    "label smoothing 0.2": {"loss": CrossEntropy(label_smoothing=0.2)},
    "mixup": {"mix": Mixup(alpha=0.4)},
}


def digits(seed):
    """Start, new rows, and test rows of each kind."""
    rng = np.random.default_rng(seed)
    X, y = load_digits(return_X_y=True)
    X = X / 16
    kinds = {
        "blurred (new)": lambda A: gaussian_filter(A.reshape(-1, 8, 8), (0, 0.9, 0.9)).reshape(
            -1, 64
        ),
        "clean": lambda A: A,
        "noisy": lambda A: A + rng.normal(0, 0.25, A.shape),
        "dimmed": lambda A: 0.4 * A,
    }
    train, test = train_test_split(np.arange(len(y)), test_size=0.4, stratify=y, random_state=seed)
    old, new = train_test_split(train, test_size=0.5, stratify=y[train], random_state=seed)
    start = np.concatenate([kinds[k](X[old]) for k in ("clean", "noisy", "dimmed")])
    counts = np.round(40 * 10 ** (-np.arange(10) / 9)).astype(int)
    few = np.concatenate(
        [rng.choice(new[y[new] == k], n, replace=False) for k, n in enumerate(counts)]
    )
    tests = {name: (make(X[test]), y[test]) for name, make in kinds.items()}
    return (start, np.tile(y[old], 3)), (kinds["blurred (new)"](X[few]), y[few]), tests


def wine(folder):
    def load(seed):
        frames = [pd.read_parquet(folder / f"wine_{kind}_ord.parquet") for kind in ("white", "red")]
        (white, y_white), (red, y_red) = (
            (f.drop(columns="target").to_numpy(float), (f["target"] >= 4).to_numpy(int))
            for f in frames
        )
        W = train_test_split(white, y_white, test_size=0.3, stratify=y_white, random_state=seed)
        R = train_test_split(red, y_red, train_size=300, stratify=y_red, random_state=seed)
        scaler = StandardScaler().fit(W[0])
        W[:2], R[:2] = ([scaler.transform(A) for A in S[:2]] for S in (W, R))
        return (W[0], W[2]), (R[0], R[2]), {"red (new)": (R[1], R[3]), "white": (W[1], W[3])}

    return load


def run(load, seed):
    """Balanced accuracies (tuning, alpha, kind), shares of corrections, seconds."""
    start_rows, new_rows, tests = load(seed)
    kw = {"learning_rate": "cosine", "tol": 0.0, "n_iter_no_change": np.inf, "random_state": seed}
    kw |= {"batch_size": 64, "class_weight": "balanced"}
    start = MLPClassifier((64,), max_iter=30, **kw).fit(*start_rows)
    scores, changed, seconds = [], [], []
    for tuning in TUNING.values():
        begun = time.process_time()
        model = InterpolatedClassifier(start, fine_tuning={"max_iter": 60, **tuning}).fit(*new_rows)
        seconds.append(time.process_time() - begun)
        each = [
            [balanced_accuracy_score(y, m.predict(X)) for X, y in tests.values()]
            for m in model.path(ALPHAS)
        ]
        scores.append(each)
        found = [model.corrections(X, y) for X, y in tests.values()]
        changed.append([[f["corrected"], f["spoilt"]] for f in found])
    return np.array(scores), np.array(changed), list(tests), seconds


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    for name, load in {"digits": digits, "wine": wine(args.data)}.items():
        runs = [run(load, seed) for seed in range(args.seeds)]
        scores, changed = (np.mean([r[i] for r in runs], 0) for i in (0, 1))
        kinds = runs[0][2]
        rows = [
            [tuning, alpha, *(f"{100 * v:.1f}" for v in scores[i, j])]
            for i, tuning in enumerate(TUNING)
            for j, alpha in enumerate(ALPHAS)
        ]
        print(f"\n{name}: balanced accuracy, {args.seeds} splits\n")
        print(table(["fine-tuning", "alpha", *kinds], rows))
        rows = [
            [tuning, *(f"{100 * a:.1f} / {100 * b:.1f}" for a, b in changed[i])]
            for i, tuning in enumerate(TUNING)
        ]
        print("\nboth ends wrong and the mean right / both right and the mean wrong, %\n")
        print(table(["fine-tuning", *kinds], rows), flush=True)


if __name__ == "__main__":
    main()
