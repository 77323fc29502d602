"""COMIC against plain training when a share of the labels is missing: ``python comic.py --data FOLDER``."""

from multilabel_sets import mean_precision, read, table

# isort: split
import argparse
import time
import warnings

import numpy as np
from sklearn.base import clone

from skimb.losses import Asymmetric, MultiFocal
from skimb.multilabel import COMICClassifier
from skimb.neural_network import NeuralNetClassifier

BCE = MultiFocal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def methods(epochs, seed, correct):
    """Plain nets, parts of COMIC, and both variants."""
    kw = {"max_iter": epochs, "tol": 0, "random_state": seed, "learning_rate_init": 2e-3}
    comic = COMICClassifier((64,), correct=correct, **kw)
    alone = clone(comic).set_params(balance=None)
    plain = clone(alone).set_params(correction_weight=0.0)
    found = {
        "cross-entropy": NeuralNetClassifier(**kw),
        "cross-entropy, cosine scores": clone(plain).set_params(loss=BCE),
        "asymmetric loss": NeuralNetClassifier(loss=Asymmetric(), **kw),
        "modification": plain,
        "modification, correction": alone,
        "COMIC, distill": comic,
        "COMIC, paper": clone(comic).set_params(balance="paper"),
        "COMIC, average, separate nets and rows": clone(comic).set_params(
            balance="average", shared_encoder=False, sampling="separate"
        ),
    }
    if correct == "missing":
        found["cross-entropy, cosine scores, missing left out"] = clone(plain).set_params(
            loss=BCE, unknown="ignore"
        )
        found["COMIC, distill, missing left out"] = clone(comic).set_params(unknown="ignore")
    return found


def run(folder, name, seeds, epochs, shares, marked):
    """Rows of the table of one set."""
    lines, seconds = {}, {}
    for seed in range(seeds):
        X, Y, X_test, Y_test = read(folder, name, seed=seed)
        counts = Y.sum(0)
        order = np.argsort(np.argsort(counts))
        rare = order < len(counts) // 3
        NeuralNetClassifier(max_iter=1).fit(X, Y)  # what is loaded once costs nobody
        rng = np.random.default_rng(seed)
        draws = rng.random(Y.shape)
        for share in shares:
            hidden = draws < share if marked else (draws < share) & (Y == 1)
            given = np.where(hidden, -1 if marked else 0, Y)
            for label, model in methods(epochs, seed, "missing" if marked else "zeros").items():
                target = given
                if isinstance(model, NeuralNetClassifier):
                    target = np.maximum(given, 0)
                start = time.process_time()
                model.fit(X, target)
                seconds.setdefault(label, []).append(time.process_time() - start)
                scores = model.decision_function(X_test)
                whole = mean_precision(Y_test, scores, counts > 0)
                tail = mean_precision(Y_test, scores, rare & (counts > 0))
                lines.setdefault(label, {}).setdefault(share, []).append((whole, tail))
    base = np.median(seconds["cross-entropy"])
    rows = []
    for label, by_share in lines.items():
        means = [np.mean(by_share[share], axis=0) for share in shares]
        rows.append(
            [
                name,
                label,
                *[f"{a:.1f} / {b:.1f}" for a, b in means],
                f"{np.median(seconds[label]) / base:.1f}",
            ]
        )
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="folder of parquet files")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--sets", default="ml_yeast,ml_corel5k", help="names with commas between")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    shares = (0.0, 0.4, 0.8)
    for marked, title in (
        (False, "present labels given as absent"),
        (True, "any labels marked as missing"),
    ):
        header = ["set", "method", *[f"{title}: {int(100 * s)} %" for s in shares], "cost"]
        rows = []
        for name in args.sets.split(",")[: 1 if marked else None]:
            small = name == "ml_yeast"
            seeds, epochs = (args.seeds, args.epochs) if small else (1, args.epochs // 2)
            rows += run(args.data, name, seeds, epochs, shares, marked)
        print(table(header, rows), flush=True)
        print()


if __name__ == "__main__":
    main()
