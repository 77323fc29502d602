"""What adversarial training does to rare classes: clean and robust scores by method.

    python tests/bench/schemes/robust.py --data FOLDER [--seeds 3] [--sets digits,yeast,cardio]

Digits with an exponential profile of counts (120 down to 6), and yeast and cardiotocography from FOLDER. Attacks on
test rows have twice the steps and two restarts.
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
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.inspection import robust_scores  # noqa: E402
from skimb.losses import LogitAdjusted  # noqa: E402
from skimb.neural_network import MLPClassifier, RobustMLPClassifier  # noqa: E402
from skimb.training import ClassPowerSampler  # noqa: E402

torch.set_num_threads(1)
DRAWS = {"sampler": ClassPowerSampler(0.0)}
METHODS = {
    "plain": None,
    "plain, logit adjustment": {"loss": LogitAdjusted()},
    "at": {"method": "at"},
    "at, logit adjustment": {"method": "at", "loss": LogitAdjusted()},
    "reweighted": {"method": "reweighted"},
    "reweighted by draws": {"method": "reweighted", **DRAWS},
    "srat": {"method": "srat"},
    "srat with weights": {"method": "srat", "class_weight": "balanced"},
    "done": {"method": "done"},
    "done, balanced": {"method": "done", "dro_prior": "balanced"},
    "trades, strength 3": {"method": "trades", "strength": 3.0},
    "smooth comp-sum": {"method": "smooth_comp_sum"},
    "smooth comp-sum, strength 0.2": {"method": "smooth_comp_sum", "strength": 0.2},
    "smooth comp-sum, tau 0.4": {"method": "smooth_comp_sum", "tau": 0.4},
}


def digits(seed):
    X, y = load_digits(return_X_y=True)
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed)
    rng = np.random.default_rng(seed)
    counts = np.round(120 * 20 ** (-np.arange(10) / 9)).astype(int)
    kept = [rng.choice(train[y[train] == k], n, replace=False) for k, n in enumerate(counts)]
    train = np.concatenate(kept)
    return X[train] / 16, y[train], X[test] / 16, y[test], 0.1


def of_table(path, eps):
    def load(seed):
        frame = pd.read_parquet(path)
        X = frame.drop(columns="target").to_numpy(np.float64)
        y = frame["target"].to_numpy()
        parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        scaler = StandardScaler().fit(parts[0])
        return scaler.transform(parts[0]), parts[2], scaler.transform(parts[1]), parts[3], eps

    return load


def scored(params, rows, seed):
    X, y, X_test, y_test, eps = rows
    # about as many updates on each set
    kw = {"max_iter": -(-20_000 // len(y)), "batch_size": 64, "learning_rate": "cosine", "tol": 0.0}
    kw |= {"solver": "adamw", "n_iter_no_change": np.inf, "random_state": seed}
    kw |= {"learning_rate_init": 0.003}
    params = {} if params is None else params
    robust = "method" in params
    box = (0.0, 1.0) if eps == 0.1 else None
    model = (
        RobustMLPClassifier((64,), eps=eps, clip=box, **kw, **params)
        if robust
        else MLPClassifier((64,), **kw, **params)
    )
    start = time.process_time()
    model.fit(X, y)
    seconds = time.process_time() - start
    found = robust_scores(
        model, X_test, y_test, eps=eps, clip=box, n_steps=20, n_restarts=2, random_state=0
    )
    order = np.argsort(-np.bincount(y))
    third = max(1, len(order) // 3)
    recalls = found.robust_recalls[order]
    return [
        found.clean_accuracy,
        found.clean_balanced_accuracy,
        found.clean_recalls[order][-third:].mean(),
        found.robust_accuracy,
        found.robust_balanced_accuracy,
        recalls[:third].mean(),
        recalls[-third:].mean(),
        found.tail(0.3),
        seconds,
    ]


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--sets", default="digits,yeast,cardio")
    args = parser.parse_args()
    known = {
        "digits": ("digits, 120 to 6 rows per class, eps 0.1 on [0, 1]", digits),
        "yeast": ("yeast, ten classes, eps 0.2", of_table(args.data / "yeast_mc.parquet", 0.2)),
        "cardio": ("cardio, 10 % rare, eps 0.2", of_table(args.data / "adb_cardio.parquet", 0.2)),
    }
    sets = dict(known[name] for name in args.sets.split(","))
    header = ["method", "clean acc", "clean bal", "clean tail", "robust acc", "robust bal", "head"]
    header += ["tail", "weakest 30 %", "cost"]
    for name, load in sets.items():
        data = [load(seed) for seed in range(args.first, args.first + args.seeds)]
        means, spread = {}, {}
        for method, params in METHODS.items():
            each = np.array(
                [scored(params, rows, seed) for seed, rows in enumerate(data, args.first)]
            )
            means[method], spread[method] = each.mean(0), each.std(0)
        base = means["plain"][-1]
        rows = [
            [method, *(f"{100 * v:.1f}" for v in m[:-1]), f"{m[-1] / base:.1f}"]
            for method, m in means.items()
        ]
        noise = np.mean(list(spread.values()), 0)
        rows.append(["spread over seeds", *(f"{100 * v:.1f}" for v in noise[:-1]), ""])
        print(f"\n{name}, {args.seeds} splits\n\n{table(header, rows)}", flush=True)


if __name__ == "__main__":
    main()
