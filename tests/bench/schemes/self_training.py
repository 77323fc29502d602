"""Self-training with few labels: fixed thresholds, thresholds of classes, quotas.

    python tests/bench/schemes/self_training.py --data FOLDER [--seeds 5]

Logistic regression on mammography and annthyroid with an eighth of the labels and on digits with 5 % of them.
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
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import average_precision_score, balanced_accuracy_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.semi_supervised import SelfTrainingClassifier  # noqa: E402

from skimb.semi_supervised import ConfidenceWeightedSelfTraining  # noqa: E402


def base():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def weighted(**kw):
    return ConfidenceWeightedSelfTraining(base(), **kw)


PLAIN = {"threshold": 0.9, "gamma": 0.0, "unlabeled_weight": 1.0}
METHODS = {
    "labelled only": lambda: weighted(threshold=1.0),
    "scikit-learn's, 0.9": lambda: SelfTrainingClassifier(base(), threshold=0.9),
    "0.9, unweighted": lambda: weighted(**PLAIN),
    "0.9": lambda: weighted(threshold=0.9),
    "class means, unweighted": lambda: weighted(gamma=0.0, unlabeled_weight=1.0),
    "class means": weighted,
    "class means, decay 0.9": lambda: weighted(decay=0.9),
    "class means, margin": lambda: weighted(weighting="margin"),
    "quota": lambda: weighted(threshold="quota"),
}


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    sets = {"digits": (*load_digits(return_X_y=True), 0.05)}
    for name in ("mammography", "adb_annthyroid"):
        frame = pd.read_parquet(args.data / f"{name}.parquet")
        X = frame.drop(columns="target").to_numpy(float)
        sets[name] = X, (frame["target"] == frame["target"].max()).to_numpy(int), 0.125
    rows = []
    for name, (X, y, share) in sets.items():
        found = {method: [] for method in [*METHODS, "all labels"]}
        for seed in range(args.seeds):
            X_train, X_test, y_train, y_test = train_test_split(
                X, y, test_size=0.3, stratify=y, random_state=seed
            )
            known, _ = train_test_split(
                np.arange(len(y_train)), train_size=share, stratify=y_train, random_state=seed
            )
            partly = np.full(len(y_train), -1)
            partly[known] = y_train[known]
            for method in found:
                begun = time.process_time()
                if method == "all labels":
                    model = base().fit(X_train, y_train)
                else:
                    model = METHODS[method]().fit(X_train, partly)
                seconds = time.process_time() - begun
                score = balanced_accuracy_score(y_test, model.predict(X_test))
                p = model.predict_proba(X_test)
                ap = np.mean(
                    [
                        average_precision_score(y_test == c, p[:, k])
                        for k, c in enumerate(model.classes_)
                        if k or len(model.classes_) > 2
                    ]
                )
                found[method].append((score, ap, seconds))
        once = np.mean(found["labelled only"], 0)[2]
        for method, each in found.items():
            m, s = np.mean(each, 0), np.std(each, 0)
            rows.append(
                [name, method, f"{m[0]:.3f} ± {s[0]:.3f}", f"{m[1]:.3f}", f"{m[2] / once:.1f}"]
            )
    header = ["set", "self-training", "balanced accuracy", "average precision", "cost"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
