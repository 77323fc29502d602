"""Losses of rankings, own metrics, positive and unlabelled rows, and bags, against cross-entropy.

    python tests/bench/schemes/ranking_losses.py --data FOLDER [--seeds 3] [--parts rank metric pu bags privacy]

Perceptrons of one layer at the same settings for all losses, on at most 4000 training rows; all test rows. The last
part is a simulation: linear regression from private means, in closed form.
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
from sklearn.metrics import (  # noqa: E402
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
)
from sklearn.model_selection import cross_val_predict, train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.datasets import aggregate_responses  # noqa: E402
from skimb.losses import (  # noqa: E402
    AnyLoss,
    CrossEntropy,
    InterpolatedBag,
    LambdaRank,
    MannWhitney,
    NonNegativePU,
    RecallAtBudget,
    SmoothAveragePrecision,
)
from skimb.metrics import recall_at_budget  # noqa: E402
from skimb.neural_network import MLPClassifier, MLPRegressor  # noqa: E402

SETS = ("mammography", "adb_annthyroid", "ozone_level_8h")
NET = {
    "hidden_layer_sizes": (32,),
    "max_iter": 60,
    "tol": 0.0,
    "batch_size": 512,
    "learning_rate_init": 0.005,
}


def load(folder, name):
    """Features and 0/1 target, 1 the rare class."""
    frame = pd.read_parquet(folder / f"{name}.parquet")
    X = frame.drop(columns="target").select_dtypes("number").to_numpy(float)
    y = frame["target"].to_numpy()
    values, counts = np.unique(y, return_counts=True)
    return np.nan_to_num(X), (y == values[counts.argmin()]).astype(int)


def splits(X, y, seeds):
    """Scaled training rows, at most 4000, and test rows of each seed."""
    for seed in range(seeds):
        train, test = train_test_split(
            np.arange(len(y)), test_size=0.4, stratify=y, random_state=seed
        )
        if len(train) > 4000:
            train, _ = train_test_split(
                train, train_size=4000, stratify=y[train], random_state=seed
            )
        scaler = StandardScaler().fit(X[train])
        yield seed, scaler.transform(X[train]), y[train], scaler.transform(X[test]), y[test]


def timed(model, *args, **kw):
    begun = time.process_time()
    model.fit(*args, **kw)
    return model, time.process_time() - begun


def shown(values):
    return f"{np.mean(values):.3f} ± {np.std(values) / np.sqrt(len(values)):.3f}"


RANKERS = {
    "cross-entropy": (CrossEntropy(), None),
    "cross-entropy, weighted": (CrossEntropy(), "balanced"),
    "MannWhitney": (MannWhitney(), None),
    "LambdaRank, AP": (LambdaRank(), None),
    "LambdaRank, NDCG": (LambdaRank("ndcg"), None),
    "SmoothAveragePrecision(1.0)": (SmoothAveragePrecision(), None),
    "SmoothAveragePrecision(0.1)": (SmoothAveragePrecision(0.1), None),
    "RecallAtBudget(0.05)": (RecallAtBudget(0.05), None),
    "RecallAtBudget(0.05, 'rank')": (RecallAtBudget(0.05, "rank"), None),
}


def rank(args):
    rows = []
    for name in SETS:
        X, y = load(args.data, name)
        found = {method: [] for method in RANKERS}
        for seed, A, a, B, b in splits(X, y, args.seeds):
            for method, (loss, weight) in RANKERS.items():
                model, seconds = timed(
                    MLPClassifier(loss=loss, class_weight=weight, random_state=seed, **NET), A, a
                )
                s = model.decision_function(B)
                found[method].append(
                    (average_precision_score(b, s), recall_at_budget(b, s, budget=0.05), seconds)
                )
        base = np.mean([row[2] for row in found["cross-entropy"]])
        for method, runs in found.items():
            ap, recall, seconds = zip(*runs, strict=True)
            rows.append([name, method, shown(ap), shown(recall), f"{np.mean(seconds) / base:.1f}"])
    print(table(["set", "loss", "AP", "recall at 5 %", "cost"], rows), "\n")


def f2(tp, fp, fn, tn):
    return 5.0 * tp / (5.0 * tp + 4.0 * fn + fp)


def profit(tp, fp, fn, tn):
    return (10.0 * tp - fp) / (tp + fn)


def value(metric, y, flagged):
    tp, fp = np.sum(flagged & (y == 1)), np.sum(flagged & (y == 0))
    return metric(tp=tp, fp=fp, fn=np.sum(y) - tp, tn=np.sum(1 - y) - fp)


def tuned(metric, y, s):
    """The threshold that is best for scores of rows."""
    order = np.unique(np.quantile(s, np.linspace(0.5, 1.0, 400)))
    return max(order, key=lambda t: value(metric, y, s > t))


def metric(args):
    rows = []
    for name in SETS:
        X, y = load(args.data, name)
        found = {}
        for seed, A, a, B, b in splits(X, y, args.seeds):
            plain, base = timed(MLPClassifier(random_state=seed, **NET), A, a)
            s = cross_val_predict(plain, A, a, cv=3, method="decision_function")
            t = plain.decision_function(B)
            for label, own in (("F2", f2), ("profit", profit)):
                model, seconds = timed(
                    MLPClassifier(loss=AnyLoss(own), random_state=seed, **NET), A, a
                )
                inner = cross_val_predict(model, A, a, cv=3, method="decision_function")
                scores = (
                    value(own, b, plain.predict(B) == 1),
                    value(own, b, t > tuned(own, a, s)),
                    value(own, b, model.predict(B) == 1),
                    value(
                        own,
                        b,
                        model.decision_function(B) > tuned(own, a, inner),
                    ),
                    seconds / base,
                )
                found.setdefault(label, []).append(scores)
        for label, runs in found.items():
            *scores, cost = zip(*runs, strict=True)
            rows.append([name, label, *map(shown, scores), f"{np.mean(cost):.1f}"])
    head = [
        "set",
        "metric",
        "cross-entropy at 1/2",
        "threshold tuned",
        "AnyLoss",
        "and tuned",
        "cost",
    ]
    print(table(head, rows), "\n")


def pu(args):
    """A third of the positives is labelled; the test rows know the truth."""
    rows = []
    for name in SETS:
        X, y = load(args.data, name)
        found = {}
        for seed, A, a, B, b in splits(X, y, args.seeds):
            rng = np.random.default_rng(seed)
            known = a * (rng.random(len(a)) < 1 / 3)
            share = a[known == 0].mean()
            for method, loss, truth in (
                ("all labels", CrossEntropy(), a),
                ("unlabelled as negative", CrossEntropy(), known),
                ("NonNegativePU", NonNegativePU(share), known),
                ("NonNegativePU, weighed to 1/2", NonNegativePU(share, balanced_prior=0.5), known),
                ("NonNegativePU, twice the share", NonNegativePU(2 * share), known),
            ):
                model, seconds = timed(MLPClassifier(loss=loss, random_state=seed, **NET), A, truth)
                s, p = model.decision_function(B), model.predict_proba(B)[:, 1]
                top = s >= np.quantile(s, 1 - b.mean())
                found.setdefault(method, []).append(
                    (
                        average_precision_score(b, s),
                        balanced_accuracy_score(b, top),
                        balanced_accuracy_score(b, model.predict(B)),
                        log_loss(b, p.clip(1e-6, 1 - 1e-6)),
                        seconds,
                    )
                )
        base = np.mean([run[-1] for run in found["unlabelled as negative"]])
        for method, runs in found.items():
            *scores, seconds = zip(*runs, strict=True)
            rows.append([name, method, *map(shown, scores), f"{np.mean(seconds) / base:.1f}"])
    head = [
        "set",
        "trained on",
        "AP",
        "balanced accuracy of the top share",
        "of predict",
        "log-loss",
        "cost",
    ]
    print(table(head, rows), "\n")


def bags(args):
    """Rates of the rare class in bags of 5 and 20 rows; AP on single rows."""
    rows = []
    net = {**NET, "batch_size": 500}
    for name in SETS:
        X, y = load(args.data, name)
        found = {}
        for seed, A, a, B, b in splits(X, y, args.seeds):
            plain, base = timed(MLPClassifier(random_state=seed, **NET), A, a)
            s = plain.predict_proba(B)[:, 1]
            found.setdefault("labels of rows", []).append(
                (average_precision_score(b, s), log_loss(b, s.clip(1e-6, 1 - 1e-6)), 1.0)
            )
            for size in (5, 20):
                response, number = aggregate_responses(a, size, random_state=seed)
                for rho in (0.0, 0.1, 1.0):
                    model, seconds = timed(
                        MLPRegressor(InterpolatedBag(rho, "rate"), random_state=seed, **net),
                        A, response, bags=number,
                    )  # fmt: skip
                    p = model.predict(B).clip(1e-6, 1 - 1e-6)
                    found.setdefault(f"bags of {size}, rho {rho}", []).append(
                        (average_precision_score(b, p), log_loss(b, p), seconds / base)
                    )
        for method, runs in found.items():
            ap, loss, cost = zip(*runs, strict=True)
            rows.append([name, method, shown(ap), shown(loss), f"{np.mean(cost):.1f}"])
    print(table(["set", "known", "AP", "log-loss", "cost"], rows), "\n")


def privacy(args):
    """Relative risk of linear regression from private means, at the best share of the loss of rows."""
    n, d, noise, clip = 1000, 40, 0.5, 3.0
    shares = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    rows = []
    for epsilon in (None, 2.0, 0.5):
        row = ["none" if epsilon is None else f"{epsilon:g}"]
        for size in (1, 2, 5, 10, 20):
            risk = np.zeros(len(shares))
            for seed in range(20):
                rng = np.random.default_rng(seed)
                X, w = rng.normal(size=(n, d)), rng.normal(size=d) / np.sqrt(d)
                y = X @ w + noise * rng.normal(size=n)
                response, number = aggregate_responses(
                    y,
                    size,
                    epsilon=epsilon,
                    clip=None if epsilon is None else clip,
                    random_state=seed,
                )
                counts = np.bincount(number)
                means = np.stack([np.bincount(number, x) for x in X.T], 1) / counts[:, None]
                near, rows_of = (means.T * counts) @ means / n, X.T @ X / n
                c = X.T @ response / n
                for k, rho in enumerate(shares):
                    found = np.linalg.lstsq((1 - rho) * near + rho * rows_of, c, rcond=None)[0]
                    risk[k] += np.sum((found - w) ** 2) / np.sum(w**2) / 20
            k = risk.argmin()
            row.append(f"{risk[k]:.3f} ({shares[k]:g}); {risk[0]:.2f}")
        rows.append(row)
    head = ["epsilon", *(f"bags of {size}" for size in (1, 2, 5, 10, 20))]
    print(table(head, rows), "\n")


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parts = {"rank": rank, "metric": metric, "pu": pu, "bags": bags, "privacy": privacy}
    parser.add_argument("--parts", nargs="+", choices=list(parts), default=list(parts))
    args = parser.parse_args()
    for part in args.parts:
        parts[part](args)


if __name__ == "__main__":
    main()
