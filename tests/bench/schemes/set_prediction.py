"""Sets from slots against thresholds on cross-entropy: ``python set_prediction.py --data FOLDER``."""

from multilabel_sets import read, table

# isort: split
import argparse
import time
import warnings

import numpy as np
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from skimb.multilabel import SetPredictionClassifier
from skimb.neural_network import NeuralNetClassifier

SETS = {"ml_bibtex": 3000, "goemotions_ml": 3000}


def scores(Y, predicted):
    """Micro-F1, macro-F1, F1 of rows, and the share of rows that are right as a whole."""
    kinds = [
        f1_score(Y, predicted, average=a, zero_division=0) for a in ("micro", "macro", "samples")
    ]
    return [*kinds, (predicted == Y).all(1).mean()]


def threshold(Y, p):
    """The one threshold of all labels with the largest micro-F1."""
    grid = np.linspace(0.05, 0.6, 23)
    return grid[np.argmax([f1_score(Y, p > t, average="micro", zero_division=0) for t in grid])]


def fitted(model, X, Y, seconds):
    """A fitted model; its seconds are noted."""
    start = time.process_time()
    model.fit(X, Y)
    seconds.append(time.process_time() - start)
    return model


def net(n_features, n_outputs):
    """The net of the rival, as wide as the encoder."""
    from torch import nn

    return nn.Sequential(nn.Linear(n_features, 128), nn.ReLU(), nn.Linear(128, n_outputs))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="folder of parquet files")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, n in SETS.items():
        found, seconds = {}, {}
        for seed in range(args.seeds):
            X, Y, X_test, Y_test = read(args.data, name, rows=n, seed=seed)
            train, held = train_test_split(np.arange(len(Y)), test_size=0.2, random_state=seed)
            kw = {
                "max_iter": args.epochs,
                "tol": 0,
                "random_state": seed,
                "learning_rate_init": 2e-3,
            }
            NeuralNetClassifier(net, max_iter=1).fit(X, Y)  # what is loaded once costs nobody
            plain = fitted(NeuralNetClassifier(net, **kw), X, Y, seconds.setdefault("plain", []))
            inner = NeuralNetClassifier(net, **kw).fit(X[train], Y[train])
            t = threshold(Y[held], inner.predict_proba(X[held]))
            p = plain.predict_proba(X_test)
            top = np.zeros_like(Y_test)
            k = max(1, round(Y.sum(1).mean()))
            np.put_along_axis(top, np.argsort(-p, 1)[:, :k], 1, 1)
            answers = {
                "cross-entropy, 0.5": p > 0.5,
                "cross-entropy, tuned threshold": p > t,
                f"cross-entropy, top {k}": top,
            }
            for weight in (0.0, 1.0):
                label = f"sets, transport {weight:g}"
                model = SetPredictionClassifier((128,), ot_weight=weight, **kw)
                fitted(model, X, Y, seconds.setdefault(label, []))
                answers[label] = model.predict(X_test)
            for label, predicted in answers.items():
                found.setdefault(label, []).append(scores(Y_test, predicted))
        base = np.median(seconds["plain"])
        for label, values in found.items():
            cost = f"{np.median(seconds[label]) / base:.1f}" if label in seconds else "1.0"
            rows.append([name, label, *[f"{v:.3f}" for v in np.mean(values, 0)], cost])
    print(
        table(
            ["set", "answer", "micro-F1", "macro-F1", "F1 of rows", "whole set right", "cost"], rows
        )
    )


if __name__ == "__main__":
    main()
