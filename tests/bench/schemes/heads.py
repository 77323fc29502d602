"""What is changed after training, or in a second stage, against logit adjustment: recall by size of class, and cost.

    python tests/bench/schemes/heads.py --data FOLDER

FOLDER holds banking77.parquet (text, target, meta_split) and krvsk_mc.parquet (columns, target). Prints a table for
each set: recall of the largest, middle and smallest third of the classes, balanced accuracy, and the seconds of the fit
as a multiple of plain training, means over seeds. Every method has the same net; nothing is tuned.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.metrics import recall_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler  # noqa: E402

from skimb.losses import LogitAdjusted  # noqa: E402
from skimb.neural_network import MLPClassifier  # noqa: E402
from skimb.posthoc import LogitAdjuster, WeightAligner  # noqa: E402


def banking(folder, seed):
    """Intents with 100 down to 3 training texts, as 200 components of word pairs; the test set is even."""
    frame = pd.read_parquet(folder / "banking77.parquet")
    train = frame[frame.meta_split == "train"].sample(frac=1.0, random_state=seed)
    test = frame[frame.meta_split == "test"]
    labels = np.random.default_rng(seed).permutation(sorted(frame.target.unique()))
    counts = dict(
        zip(labels, np.geomspace(100, 100 / 30, len(labels)).round().astype(int), strict=True)
    )
    kept = pd.concat([train[train.target == k].head(n) for k, n in counts.items()])
    read = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TruncatedSVD(200, random_state=seed),
        Normalizer(),
        StandardScaler(),
    )
    return (
        read.fit_transform(kept.text),
        kept.target.to_numpy(),
        read.transform(test.text),
        test.target.to_numpy(),
    )


def endgame(folder, seed):
    """Chess end games by depth, 18 classes as they are, indicators of the places."""
    frame = pd.read_parquet(folder / "krvsk_mc.parquet")
    X = OneHotEncoder(sparse_output=False).fit_transform(frame.drop(columns="target").astype(str))
    y = frame.target.astype(str).to_numpy(str)
    X, X_test, y, y_test = train_test_split(X, y, train_size=0.25, stratify=y, random_state=seed)
    return X, y, X_test, y_test


def thirds(y, y_test, found):
    """Recall of the largest, middle and smallest third of the classes, and of all."""
    classes, counts = np.unique(y, return_counts=True)
    recall = recall_score(y_test, found, labels=classes, average=None, zero_division=0)
    order = np.argsort(-counts, kind="stable")
    return [100 * recall[part].mean() for part in np.array_split(order, 3)] + [100 * recall.mean()]


def run(name, make, folder, seeds, epochs):
    rows = {}
    for seed in range(seeds):
        X, y, X_test, y_test = make(folder, seed)
        X, X_test = X.astype(np.float32), X_test.astype(np.float32)

        def net(seed=seed, **kw):
            return MLPClassifier(
                (128,), solver="adamw", alpha=0.01, learning_rate="cosine", max_iter=epochs, tol=0,
                n_iter_no_change=np.inf, random_state=seed, **kw,
            )  # fmt: skip

        start = time.process_time()
        plain = net().fit(X, y)
        unit = time.process_time() - start
        frozen = FrozenEstimator(plain)
        models = {
            "none": frozen,
            "class_weight='balanced'": net(class_weight="balanced"),
            "LogitAdjusted loss": net(loss=LogitAdjusted()),
            "LogitAdjuster, tau=1": LogitAdjuster(frozen, tau=1.0),
            "LogitAdjuster, tau out of 3 folds": LogitAdjuster(net(), cv=3),
            "WeightAligner, head and tail": WeightAligner(frozen, tau=1.0, groups="head_tail"),
            "WeightAligner, tau=1": WeightAligner(frozen, tau=1.0),
            "WeightAligner, tau out of 3 folds": WeightAligner(net(), cv=3),
            "decoupling='crt'": net(decoupling="crt"),
            "decoupling='lws'": net(decoupling="lws"),
            "decoupling='tau'": net(decoupling="tau"),
        }
        for label, model in models.items():
            start = time.process_time()
            if label != "none":
                model = model.fit(X, y)
            spent = time.process_time() - start
            added = unit if getattr(model, "estimator", None) is frozen or label == "none" else 0.0
            values = [*thirds(y, y_test, model.predict(X_test)), (spent + added) / unit]
            rows.setdefault(label, []).append([*values, getattr(model, "tau_", np.nan)])
    print(
        f"\n{name}: {len(y)} training rows, {len(np.unique(y))} classes, {seeds} seeds, plain fit {unit:.1f} s\n"
    )
    head = ["", "large", "middle", "small", "balanced accuracy", "cost", "tau"]
    print(
        harness.table(head, [_row(label, np.mean(v, 0)) for label, v in rows.items()]), flush=True
    )


def _row(label, v):
    tau = "" if np.isnan(v[5]) else f"{v[5]:.2f}"
    return [label, *(f"{x:.1f}" for x in v[:4]), f"{v[4]:.2f}", tau]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(harness.machine())
    run("Banking77, long-tailed", banking, given.data, given.seeds, 60)
    run("King and rook against king", endgame, given.data, given.seeds, 15)
