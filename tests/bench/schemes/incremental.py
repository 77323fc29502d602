"""Classes that arrive in tasks: distillation, aligning and their rivals. Prints markdown tables.

Run as ``python tests/bench/schemes/incremental.py --data FOLDER``: digits of scikit-learn in five tasks of two,
the ten imbalanced classes of ``yeast_mc.parquet`` in five tasks of two, and the intents of ``banking77.parquet`` in seven tasks of eleven (TF-IDF, 200 singular vectors of the training
texts). Without a folder only the digits.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import fix_threads, machine, table

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.metrics import balanced_accuracy_score, log_loss  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.losses import LogitAdjusted  # noqa: E402
from skimb.streaming import AnalyticClassifier, IncrementalMLPClassifier  # noqa: E402


def sets(folder):
    """Name, rows, labels, number of tasks."""
    X, y = load_digits(return_X_y=True)
    yield "digits", X, y, 5
    if folder is None:
        return
    yeast = pd.read_parquet(folder / "yeast_mc.parquet")
    y = yeast.pop("target").to_numpy()
    columns = [c for c in yeast if not c.startswith("meta")]
    yield "yeast", yeast[columns].to_numpy(float), y, 5
    text = pd.read_parquet(folder / "banking77.parquet")
    yield "banking77", text["text"].to_numpy(object), text["target"].to_numpy(), 7


def prepared(X, y, seed):
    train, test = train_test_split(np.arange(len(y)), random_state=seed, stratify=y, test_size=0.3)
    steps = [StandardScaler()]
    if X.dtype == object:
        tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        steps = [tfidf, TruncatedSVD(200, random_state=0), StandardScaler()]
    encoder = make_pipeline(*steps).fit(X[train])
    rows = (encoder.transform(X[part]).astype(np.float32) for part in (train, test))
    return *rows, y[train], y[test]


def models(solvers):
    """Name and unfitted model."""
    for solver in solvers:
        extra = {"learning_rate_init": 0.05, "alpha": 0.2} if solver == "sgd" else {}
        plain = IncrementalMLPClassifier(
            (128,), solver=solver, max_iter=40, distill=0, align="never", **extra
        )
        named = {
            "plain, no rows remembered": {"exemplars_per_class": 0},
            "plain, 20 rows of each class": {},
            "the same, distilled": {"distill": "auto"},
            "the same, distilled and always aligned (WA)": {"distill": "auto", "align": "always"},
            "the same, aligned if longer (default)": {"distill": "auto", "align": "if_larger"},
            "plain, 20 rows, LogitAdjusted": {"loss": LogitAdjusted()},
            "distilled, 20 rows, LogitAdjusted": {"loss": LogitAdjusted(), "distill": "auto"},
        }
        for name, kw in named.items():
            yield f"{solver}: {name}", clone(plain).set_params(**kw)
    yield "AnalyticClassifier, no rows", AnalyticClassifier(n_components=800)


def by_scores(model, X):
    """Decisions by the largest score, as in the paper."""
    if isinstance(model, AnalyticClassifier):
        return model.predict(X)
    return model.classes_[model._logits(X).argmax(1).numpy()]


def streamed(model, X, y, tasks):
    """The model after the stream, its factors of aligning, and seconds of CPU."""
    gammas, start = [], time.process_time()
    for labels in tasks:
        rows = np.isin(y, labels)
        model.partial_fit(X[rows], y[rows])
        gammas.append(getattr(model, "gamma_", 1.0))
    return model, gammas[1:], time.process_time() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", default="digits,yeast,banking77")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), "\n")
    for name, X, y, n_tasks in sets(args.data):
        if name not in args.sets.split(","):
            continue
        found = {}
        for seed in range(args.seeds):
            A, B, a, b = prepared(X, y, seed)
            order = np.random.default_rng(seed).permutation(np.unique(y))
            tasks = np.array_split(order, n_tasks)
            runs = [
                (k, clone(m)) for k, m in models(("adam", "sgd") if name == "digits" else ("adam",))
            ]
            for k, model in runs:
                model.set_params(random_state=seed)
                model, gammas, seconds = streamed(model, A, a, tasks)
                p = model.predict_proba(B)
                found.setdefault(k, []).append((
                    balanced_accuracy_score(b, by_scores(model, B)),
                    balanced_accuracy_score(b, model.classes_[p.argmax(1)]),
                    log_loss(b, p.clip(1e-6), labels=model.classes_),
                    np.mean(gammas),
                    seconds,
                ))  # fmt: skip
            joint = IncrementalMLPClassifier((128,), max_iter=40, random_state=seed)
            joint, _, seconds = streamed(joint, A, a, [order])
            p = joint.predict_proba(B)
            score = balanced_accuracy_score(b, by_scores(joint, B))
            row = (score, balanced_accuracy_score(b, joint.classes_[p.argmax(1)]),
                   log_loss(b, p.clip(1e-6)), 1.0, seconds)  # fmt: skip
            found.setdefault("adam: all rows at once", []).append(row)
        print(f"## {name}: {len(y)} rows, {len(np.unique(y))} classes, {n_tasks} tasks\n")
        base = {
            s: np.mean(found[f"{s}: plain, 20 rows of each class"], 0)[-1]
            for s in ("adam", "sgd")
            if name == "digits" or s == "adam"
        }
        rows = []
        for k, values in found.items():
            mean, sd = np.mean(values, 0), np.std(values, 0)
            cost = mean[4] / base.get(k.split(":")[0], base["adam"])
            rows.append((k, f"{mean[0]:.3f} ± {sd[0]:.3f}", f"{mean[1]:.3f}", f"{mean[2]:.2f}",
                         f"{mean[3]:.2f}", f"{cost:.2f}"))  # fmt: skip
        head = (
            "training",
            "by the largest score",
            "by the most probable class",
            "log-loss",
            "γ",
            "time",
        )
        print(table(head, rows), "\n", flush=True)


if __name__ == "__main__":
    main()
