"""Benchmark of what the losses are worth: every one of `all_losses()` on real sets, defaults only.

    python tests/bench/bench_losses.py --data FOLDER [--write docs/benchmarks/losses.md] [--splits 3] [--only NAME ...]

FOLDER holds parquet files with a `target` column. Every loss trains the same net on the same rows; losses that should
not train alone have cross-entropy beside them in their usual share. Binary losses are compared by average precision and
by F1 at a threshold tuned on held-out training rows, multi-class ones by balanced accuracy of `predict`. The
rival is class-weighted cross-entropy. Differences are paired over sets. Losses that are cross-entropy at their defaults are run at
settings where they differ. --only renews the rows of some losses, with the rival trained again beside them, and keeps the others.
"""

import argparse
import csv
import sys
import warnings
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from harness import machine, table, written  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.metrics import (  # noqa: E402
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_curve,
)
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

from skimb.losses import (  # noqa: E402
    AdversarialCompSum,
    CompSum,
    CrossEntropy,
    InfluenceBalanced,
    Mixed,
    all_losses,
)
from skimb.neural_network import MLPClassifier  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)

BINARY = [
    "abalone_7", "adb_annthyroid", "adb_cardio", "adb_wilt", "car_eval_34", "churn_telecom", "keel_winequality_red_4",
    "mammography", "ozone_level_8h", "solar_flare_m0", "stroke_mldatar", "yeast_me2",
]  # fmt: skip
MULTICLASS = ["anneal_mc", "glass_mc", "newthyroid_mc", "soybean_mc", "yeast_mc"]
ROWS = 4000  # larger sets are drawn from, by class
RIVAL = "class-weighted cross-entropy"
# by loss: where the default is cross-entropy, or the paper's scale belongs to its own learning rate
SETTINGS = {
    "AdversarialCompSum": AdversarialCompSum(eps=0.05),
    "CompSum": CompSum(1.5),
    "InfluenceBalanced": InfluenceBalanced(alpha=1.0),
}
SAME = {"binary": ("SoftmaxEqualization",)}  # cross-entropy at every setting: not run


def load(folder, name):
    """Features ready for a net, and targets."""
    frame = pd.read_parquet(folder / f"{name}.parquet")
    y = frame["target"].to_numpy().astype(int)
    X = frame.drop(columns=["target", *[c for c in frame if c.startswith("meta_")]])
    counts = np.bincount(y)
    kept = np.isin(y, np.flatnonzero(counts >= 5))
    X, y = X[kept], np.unique(y[kept], return_inverse=True)[1]
    if len(y) > ROWS:
        X, _, y, _ = train_test_split(X, y, train_size=ROWS, stratify=y, random_state=0)
    return X, y


def prepare(X):
    numbers = X.select_dtypes("number").columns
    rest = [c for c in X if c not in numbers]
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            (
                "codes",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=20),
                rest,
            ),
        ]
    )


def candidates(task):
    """Name -> (loss, class weight): two plain rivals, then every loss at its defaults."""
    found = {"cross-entropy": (CrossEntropy(), None), RIVAL: (CrossEntropy(), "balanced")}
    for cls in all_losses(task):
        if cls in (CrossEntropy, Mixed):  # the latter without a loss is the former
            continue
        if cls.__name__ in SAME.get(task, ()):
            continue
        loss = SETTINGS.get(cls.__name__, cls())
        if cls.mixed_shares:
            loss = Mixed(loss, share=cls.mixed_shares[0])
        found[cls.__name__] = (loss, None)
    return found


def net(loss, class_weight, seed):
    return MLPClassifier(
        (32,), loss=loss, class_weight=class_weight, max_iter=60, learning_rate_init=0.003, tol=0.0,
        n_iter_no_change=1000, batch_size=256, random_state=seed,
    )  # fmt: skip


def tuned_f1(y_tune, s_tune, y_test, s_test):
    """F1 on the test rows at the threshold that is best on the held-out rows."""
    precision, recall, thresholds = precision_recall_curve(y_tune, s_tune)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = thresholds[np.argmax(f1[:-1])]
    return f1_score(y_test, s_test >= best)


def run(folder, names, task, splits, only):
    """Scores (candidates, sets, metrics), averaged over splits."""
    models = {k: v for k, v in candidates(task).items() if not only or k in only or k == RIVAL}
    result = np.full((len(models), len(names), 2), np.nan)
    for column, name in enumerate(names):
        X, y = load(folder, name)
        found = np.zeros((len(models), splits, 2))
        for seed in range(splits):
            train, test = train_test_split(
                np.arange(len(y)), test_size=0.4, stratify=y, random_state=seed
            )
            tune = train
            if task == "binary":
                train, tune = train_test_split(
                    train, test_size=0.25, stratify=y[train], random_state=seed
                )
            make = prepare(X)
            A = make.fit_transform(X.iloc[train]).astype(np.float32)
            B, C = (make.transform(X.iloc[rows]).astype(np.float32) for rows in (tune, test))
            for row, (loss, weight) in enumerate(models.values()):
                model = net(loss, weight, seed).fit(A, y[train])
                if task == "binary":
                    s = model.decision_function(C)
                    found[row, seed, 0] = average_precision_score(y[test], s)
                    found[row, seed, 1] = tuned_f1(y[tune], model.decision_function(B), y[test], s)
                else:
                    decided = model.predict(C)
                    found[row, seed, 0] = balanced_accuracy_score(y[test], decided)
                    found[row, seed, 1] = f1_score(y[test], decided, average="macro")
        result[:, column] = found.mean(1)
        print(f"{task} {name}: {len(y)} rows done", flush=True)
    return list(models), result


def verdict(difference):
    """In words: paired over sets, two standard errors."""
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    mean = difference.mean()
    if abs(mean) <= 2 * error:
        return "within noise"
    return "better" if mean > 0 else "worse"


def records(task, names, result, metrics):
    """A row per loss: means over sets, differences from the rival, their errors and verdicts."""
    base, found = result[names.index(RIVAL)], []
    for k, name in enumerate(names):
        record = {"task": task, "loss": name}
        for m, metric in enumerate(metrics):
            d = result[k, :, m] - base[:, m]
            record[metric] = round(float(result[k, :, m].mean()), 4)
            record[f"{metric} difference"] = round(float(d.mean()), 4)
            record[f"{metric} error"] = round(float(d.std(ddof=1) / np.sqrt(len(d))), 4)
            record[f"{metric} verdict"] = "" if name == RIVAL else verdict(d)
        found.append(record)
    return found


def shown(rows, metrics):
    """The table of a task, best first."""
    lines = []
    for row in sorted(rows, key=lambda row: -float(row[metrics[0]])):
        line = [row["loss"] + (f" ({SETTINGS[row['loss']]!r})" if row["loss"] in SETTINGS else "")]
        for metric in metrics:
            d, e = (float(row[f"{metric} {part}"]) for part in ("difference", "error"))
            said = row[f"{metric} verdict"]
            line += [f"{float(row[metric]):.3f}", f"{d:+.3f} +- {e:.3f}, {said}" if said else "-"]
        lines.append(line)
    header = ["loss"]
    for metric in metrics:
        header += [metric, "against class-weighted cross-entropy"]
    return table(header, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=())
    args = parser.parse_args()
    parts = [
        "# What the losses are worth",
        f"{date.today()}, {machine()} `make bench-losses DATA=folder` repeats it.",
        f"Every loss trains the same net (32 hidden units, Adam, 60 epochs, batch 256, no search) on {args.splits} stratified splits of "
        "each set, at its defaults or at the setting in brackets. Numbers are means over sets; differences are paired over sets with "
        "their standard error, and count as noise within two of them. With this many losses a few verdicts are expected to be luck. "
        "A default is not a tuned loss, and one net is not every net. SoftmaxEqualization is cross-entropy for two classes.",
    ]
    kept = []
    if args.only and args.write:
        with open(args.write.with_suffix(".csv"), newline="") as file:
            kept = list(csv.DictReader(file))
    everything = []
    for title, names, task, metrics in [
        (f"Two classes: {len(BINARY)} sets", BINARY, "binary", ("AP", "F1 at a tuned threshold")),
        (f"Several classes: {len(MULTICLASS)} sets", MULTICLASS, "multiclass", ("balanced accuracy", "macro F1")),
    ]:  # fmt: skip
        rows = records(task, *run(args.data, names, task, args.splits, args.only), metrics)
        new = {row["loss"] for row in rows} | set(SAME.get(task, ()))
        rows += [row for row in kept if row["task"] == task and row["loss"] not in new]
        parts += [f"## {title}", ", ".join(names) + ".", shown(rows, metrics)]
        everything += rows
        print(parts[-1], flush=True)
    written(parts, args.write)
    if args.write:
        columns = list(dict.fromkeys(key for row in everything for key in row))
        with open(args.write.with_suffix(".csv"), "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(everything)


if __name__ == "__main__":
    main()
