"""Wrong labels beside rare classes: rows of low loss within their class, over all rows, and robust losses.

    python tests/bench/schemes/denoising.py --data FOLDER [--seeds 3]

Digits, of which the last five classes keep a twentieth of their rows, and the ten classes of yeast; a fifth of the training
labels is replaced by another one. Nets of 64 units, 60 epochs; scored on right labels.
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
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.metrics import log_loss, recall_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.losses import GeneralizedCrossEntropy  # noqa: E402
from skimb.neural_network import MLPClassifier  # noqa: E402
from skimb.training import GroupwiseDenoising  # noqa: E402

METHODS = {
    "plain": {},
    "over all rows": {"scheme": GroupwiseDenoising(groups="all")},
    "within classes": {"scheme": GroupwiseDenoising()},
    "within classes, temperature 1": {"scheme": GroupwiseDenoising(temperature=1.0)},
    "GeneralizedCrossEntropy": {"loss": GeneralizedCrossEntropy()},
    "plain, 6 epochs": {"max_iter": 6},
}


def splits(folder, seed):
    """Name, training rows with right labels, test rows, and rare classes."""
    X, y = load_digits(return_X_y=True)
    A, B, a, b = train_test_split(X / 16, y, test_size=0.4, stratify=y, random_state=seed)
    kept = np.concatenate([
        np.flatnonzero(a == c)[: None if c < 5 else max((a == c).sum() // 20, 1)] for c in range(10)
    ])  # fmt: skip
    yield "digits", A[kept], B, a[kept], b, np.arange(5, 10)
    yeast = pd.read_parquet(folder / "yeast_mc.parquet")
    y = np.unique(yeast.pop("target"), return_inverse=True)[1]
    X = yeast[[c for c in yeast if not c.startswith("meta")]].to_numpy(float)
    A, B, a, b = train_test_split(X, y, test_size=0.4, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(A)
    rare = np.flatnonzero(np.bincount(a) < 0.1 * len(a))
    yield "yeast", scaler.transform(A), scaler.transform(B), a, b, rare


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    found = {}
    for seed in range(args.seeds):
        for name, A, B, a, b, rare in splits(args.data, seed):
            rng = np.random.default_rng(seed)
            wrong = rng.random(len(a)) < 0.2
            shift = rng.integers(1, a.max() + 1, len(a))
            given = np.where(wrong, (a + shift) % (a.max() + 1), a)
            for method, kw in METHODS.items():
                kw = {"max_iter": 60, "tol": 0, "batch_size": 64, "random_state": seed} | kw
                start = time.process_time()
                model = MLPClassifier((64,), **kw).fit(A, given)
                seconds = time.process_time() - start
                recall = recall_score(b, model.predict(B), average=None, labels=np.arange(b.max() + 1))  # fmt: skip
                common = np.setdiff1d(np.arange(b.max() + 1), rare)
                loss = log_loss(b, model.predict_proba(B).clip(1e-6), labels=model.classes_)
                found.setdefault((name, method), []).append(
                    (recall[rare].mean(), recall[common].mean(), loss, seconds)
                )
    rows = []
    for (name, method), each in found.items():
        m, s = np.mean(each, 0), np.std(each, 0)
        cost = m[3] / np.mean(found[name, "plain"], 0)[3]
        rows.append([name, method, f"{m[0]:.3f} ± {s[0]:.3f}", f"{m[1]:.3f} ± {s[1]:.3f}", f"{m[2]:.2f}", f"{cost:.1f}"])  # fmt: skip
    header = ["set", "training", "recall of rare classes", "of common ones", "log-loss", "cost"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
