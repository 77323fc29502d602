"""Directions about class means on text, and votes by a singular kernel on tables, against their neighbours.

    python tests/bench/schemes/vmf_and_kernel.py --data FOLDER

FOLDER holds banking77.parquet and hwu64_intents.parquet (text, target), mammography.parquet and adb_annthyroid.parquet
(columns, target). Means over seeds, nothing is tuned; cost is fitting and predicting over that of the first row of each
set. A last table times the logarithm of Bessel functions against scipy and counts what scipy cannot give.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.special import ive  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import average_precision_score, balanced_accuracy_score, log_loss  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import Normalizer, StandardScaler  # noqa: E402

from skimb.naive_bayes import PooledGaussianNB, VonMisesFisherClassifier, log_iv  # noqa: E402
from skimb.neighbors import SingularKernelClassifier  # noqa: E402


def few_texts(folder, name, shots, seed):
    """Directions of texts in 200 dimensions, learned from all texts but the labels; `shots` rows of each class."""
    frame = pd.read_parquet(folder / f"{name}.parquet").sample(frac=1.0, random_state=seed)
    read = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        TruncatedSVD(200, random_state=seed),
        Normalizer(),
    )
    Z, y = read.fit_transform(frame.text), frame.target.to_numpy()
    place = frame.groupby("target").cumcount().to_numpy()
    train, test = place < shots, (place >= 20) & (place < 60)
    return Z[train], y[train], Z[test], y[test]


def scored(model, X, y, X_test, y_test):
    start = time.process_time()
    p = model.fit(X, y).predict_proba(X_test)
    seconds = time.process_time() - start
    guess = model.classes_[p.argmax(1)]
    p = np.maximum(p, 1e-12)
    loss = log_loss(y_test, p / p.sum(1, keepdims=True), labels=model.classes_)
    ap = average_precision_score(y_test, p[:, 1]) if p.shape[1] == 2 else np.nan
    return balanced_accuracy_score(y_test, guess), ap, loss, seconds


def told(found, *start):
    """Lines of a table from scores by label."""
    unit = np.mean([s[-1] for s in next(iter(found.values()))])
    lines = []
    for label, scores in found.items():
        *values, seconds = np.mean(scores, 0)
        shown = ["" if np.isnan(v) else f"{v:.3f}" for v in values]
        lines.append([*start, label, *shown, f"{seconds / unit:.2f}"])
    return lines


def directions(folder, seeds):
    table = []
    for name in ("banking77", "hwu64_intents"):
        for shots in (1, 5, 20):
            found = {}
            for seed in range(seeds):
                rows = few_texts(folder, name, shots, seed)
                models = {
                    "LogisticRegression(C=100)": LogisticRegression(C=100, max_iter=500),
                    "von Mises-Fisher": VonMisesFisherClassifier(),
                    "von Mises-Fisher, no shrinkage": VonMisesFisherClassifier(shrinkage=0.0),
                    "one concentration": VonMisesFisherClassifier(shared_concentration=True),
                    "PooledGaussianNB": PooledGaussianNB(var_smoothing=1e-3),
                    "cosine, nearest row": KNeighborsClassifier(1),
                }
                if shots > 1:
                    models["LDA, shrunk"] = LinearDiscriminantAnalysis(
                        solver="lsqr", shrinkage="auto"
                    )
                for label, model in models.items():
                    found.setdefault(label, []).append(scored(model, *rows))
            table += told(found, name, shots)
    print("\n## Few texts per class, directions in 200 dimensions\n")
    head = ["set", "texts per class", "model", "balanced accuracy", "", "log-loss", "cost"]
    rows = [line[:4] + line[5:] for line in table]
    print(harness.table(head[:4] + head[5:], rows), flush=True)


def kernels(folder, seeds):
    table = []
    for name in ("mammography", "adb_annthyroid"):
        found = {}
        for seed in range(seeds):
            frame = pd.read_parquet(folder / f"{name}.parquet")
            frame = frame.sample(min(6000, len(frame)), random_state=seed)
            y, X = frame.target.to_numpy(), frame.drop(columns="target").to_numpy(float)
            X, X_test, y, y_test = train_test_split(
                X, y, test_size=0.5, stratify=y, random_state=seed
            )
            scaler = StandardScaler().fit(X)
            rows = scaler.transform(X), y, scaler.transform(X_test), y_test
            models = {
                "5 neighbours": KNeighborsClassifier(5),
                "25 neighbours": KNeighborsClassifier(25),
                "1 neighbour": KNeighborsClassifier(1),
                "logistic regression, balanced": LogisticRegression(class_weight="balanced"),
                "kernel, dim": SingularKernelClassifier(),
                "kernel, cv": SingularKernelClassifier("cv"),
                "kernel, dim, even priors": SingularKernelClassifier(priors="uniform"),
                "kernel, cv, even priors": SingularKernelClassifier("cv", priors="uniform"),
                "kernel, 4, even priors": SingularKernelClassifier(4.0, priors="uniform"),
            }
            for label, model in models.items():
                found.setdefault(label, []).append(scored(model, *rows))
                if hasattr(model, "exponent_"):
                    print(name, seed, label, f"exponent {model.exponent_:.1f}", file=sys.stderr)
        table += told(found, name)
    print("\n## Votes of all rows, tables\n")
    head = ["set", "model", "balanced accuracy", "average precision", "log-loss", "cost"]
    print(harness.table(head, table), flush=True)


def bessel():
    v, x = np.meshgrid([0, 1, 15, 191, 511, 1023, 4095, 16383], np.geomspace(1e-2, 2e4, 2000))
    with np.errstate(divide="ignore"):
        theirs = np.log(ive(v, x)) + x
        lost = ~np.isfinite(theirs)
        seconds = harness.interleaved(
            {"ours": lambda: log_iv(v, x), "theirs": lambda: np.log(ive(v, x)) + x}, rounds=3
        )
    ours = log_iv(v, x)
    apart = np.abs(ours - theirs)[~lost] / np.maximum(1.0, np.abs(ours[~lost]))
    cost = harness.ratio(seconds["ours"], seconds["theirs"])
    print("\n## Logarithm of the Bessel function, orders to 16,383\n")
    rows = [[v.size, int(lost.sum()), int((~np.isfinite(ours)).sum()), f"{apart.max():.0e}", f"{cost:.2f}"]]  # fmt: skip
    head = ["values", "lost by scipy", "lost by log_iv", "largest difference of the others", "cost"]
    print(harness.table(head, rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(harness.machine())
    directions(given.data, given.seeds)
    kernels(given.data, given.seeds)
    bessel()
