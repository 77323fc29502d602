"""Classes that arrive without remembered rows: relations of prototypes and rows against scores.

    python tests/bench/schemes/relations.py [--seeds 3]

Digits in five tasks of two, nets of 128 units, 40 epochs per task, no remembered rows; balanced recall after the stream.
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
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.metrics import balanced_accuracy_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.losses import LogitAdjusted  # noqa: E402
from skimb.streaming import AnalyticClassifier, IncrementalMLPClassifier  # noqa: E402

NET = IncrementalMLPClassifier((128,), max_iter=40, distill=0, align="never", exemplars_per_class=0)
RELATIONS = {"distill_target": "relations", "temperature": 0.1}
ADJUSTED = {"loss": LogitAdjusted()}
METHODS = {
    "plain": {},
    "scores": {"distill": "auto"},
    "relations": {"distill": "auto", **RELATIONS},
    "LogitAdjusted": ADJUSTED,
    "LogitAdjusted, scores": {"distill": "auto", **ADJUSTED},
    "LogitAdjusted, relations": {"distill": "auto", **ADJUSTED, **RELATIONS},
    "LogitAdjusted, relations, share 0.9": {"distill": 0.9, **ADJUSTED, **RELATIONS},
    "plain, 5 remembered rows per class": {"exemplars_per_class": 5},
    "AnalyticClassifier": None,
}


def by_cosine(model, X):
    """Decisions by the nearest direction of the output layer's weights, as with prototypes."""
    w = model.coefs_[-1] / np.linalg.norm(model.coefs_[-1], axis=0)
    return model.classes_[(model._hidden_outputs(X) @ w).argmax(1)]


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="not needed")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    found = {name: [] for name in METHODS}
    for seed in range(args.seeds):
        A, B, a, b = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        scaler = StandardScaler().fit(A)
        A, B = (scaler.transform(part).astype(np.float32) for part in (A, B))
        tasks = np.random.default_rng(seed).permutation(10).reshape(5, 2)
        for name, kw in METHODS.items():
            if kw is None:
                model = AnalyticClassifier(n_components=800, random_state=seed)
            else:
                model = clone(NET).set_params(random_state=seed, **kw)
            start = time.process_time()
            for task in tasks:
                model.partial_fit(A[np.isin(a, task)], a[np.isin(a, task)])
            seconds = time.process_time() - start
            cosine = np.nan if kw is None else balanced_accuracy_score(b, by_cosine(model, B))
            found[name].append((balanced_accuracy_score(b, model.predict(B)), cosine, seconds))
    once, rows = np.mean(found["plain"], 0)[2], []
    for name, each in found.items():
        m, s = np.mean(each, 0), np.std(each, 0)
        rows.append([name, f"{m[0]:.3f} ± {s[0]:.3f}", f"{m[1]:.3f} ± {s[1]:.3f}", f"{m[2] / once:.1f}"])  # fmt: skip
    print(table(["training", "predict", "by cosine", "cost"], rows))


if __name__ == "__main__":
    main()
