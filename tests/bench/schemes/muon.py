# ruff: noqa: I001
"""Muon against Adam and gradient descent on tail classes: an associative memory, a table and a text.

    python tests/bench/schemes/muon.py --data FOLDER

The memory: K facts with orthonormal keys, fact k asked for in proportion to k^-1.2, one matrix W with scores U W' E.
Each optimiser takes 30 steps on the exact loss with the best of its rates. Two embeddings: the unit vectors, and a
random rotation of them, which changes nothing but coordinates.
"""

import argparse
import time
import warnings

from long_tailed import SETS, machine, recalls, table  # fixes the threads

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from skimb.engine.optim import SGD, Adam, Muon
from skimb.losses import LogitAdjusted
from skimb.neural_network import MLPClassifier

RATES = {"adam": (0.01, 0.03, 0.1), "muon": (0.1, 0.3, 1.0), "sgd": (10.0, 100.0, 1000.0)}


def memory(solver, rate, rotated, K=96, steps=30):
    """Mean probability of the truth for the most and least frequent half, and the evenness of the spectrum."""
    generator = torch.Generator().manual_seed(0)
    E = U = torch.eye(K)
    if rotated:
        E, U = (torch.linalg.qr(torch.randn(K, K, generator=generator))[0] for _ in range(2))
    p = torch.arange(1, K + 1) ** -1.2
    p = p / p.sum()
    W = torch.zeros(1, K * K)
    W.grad = torch.zeros(1, K * K)
    kw = {"lr": rate / (0.2 * K**0.5) if solver == "muon" else rate}
    optimizer = {
        "adam": lambda: Adam([W], **kw),
        "sgd": lambda: SGD([W], momentum=0.0, nesterov=False, **kw),
        "muon": lambda: Muon([W], ((0, K, K),), **kw),
    }[solver]()
    for _ in range(steps):
        P = torch.softmax(E @ W.view(K, K) @ U.T, 1)
        W.grad.copy_((E.T @ (p[:, None] * (P - torch.eye(K))) @ U).view(1, -1))
        optimizer.step()
    truth = torch.softmax(E @ W.view(K, K) @ U.T, 1).diagonal()
    s = torch.linalg.svdvals(W.view(K, K)) ** 2
    s = s / s.sum()
    evenness = float(-(s * s.clamp_min(1e-30).log()).sum() / np.log(K))
    return float(truth[: K // 2].mean()), float(truth[K // 2 :].mean()), evenness


def memories():
    rows = []
    for rotated in (False, True):
        for solver, rates in RATES.items():
            for rate in rates:
                common, rare, even = memory(solver, rate, rotated)
                name = "rotated" if rotated else "unit vectors"
                rows.append([name, solver, rate, f"{common:.3f}", f"{rare:.3f}", f"{even:.3f}"])
    return table(["embedding", "solver", "rate", "common half", "rare half", "evenness"], rows)


def nets(folder, sets, seeds, epochs):
    rows = []
    rates = {"adamw": (1e-3, 3e-3, 1e-2), "muon": (3e-3, 1e-2, 3e-2)}
    for name in sets:
        load, found = SETS[name], {}
        for seed in range(seeds):
            X, Xt, y, yt = load(folder, seed)
            part, valid = train_test_split(np.arange(len(y)), test_size=0.25, random_state=seed)
            for loss in (None, LogitAdjusted()):
                for solver, tried in rates.items():
                    kw = {"solver": solver, "loss": loss, "max_iter": epochs, "tol": 0.0}
                    kw |= {"random_state": seed, "learning_rate": "cosine"}

                    def fit(rate, rows, kw=kw, X=X, y=y):
                        model = MLPClassifier((64, 64), learning_rate_init=rate, **kw)
                        return model.fit(X[rows], y[rows])

                    def score(rate, fit=fit, X=X, y=y, part=part, valid=valid):
                        predicted = fit(rate, part).predict(X[valid])
                        return recalls(y[valid], y[valid], predicted)[0]

                    best = max(tried, key=score)
                    start = time.process_time()
                    model = fit(best, slice(None))
                    seconds = time.process_time() - start
                    key = ("LogitAdjusted" if loss else "CrossEntropy", solver)
                    own = (*recalls(y, yt, model.predict(Xt)), seconds, best)
                    found.setdefault(key, []).append(own)
        for (loss, solver), values in found.items():
            mean = np.mean(values, 0)
            tried = sorted({v[5] for v in values})
            rows.append(
                [name, loss, solver, *(f"{v:.1f}" for v in mean[:4]), f"{mean[4]:.1f}", tried]
            )
    header = ["set", "loss", "solver", "mean recall", "many", "medium", "few", "s", "rates chosen"]
    return table(header, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(machine(), "\n")
    with torch.no_grad():
        print(memories(), "\n")
    if args.data:
        print(nets(args.data, args.sets, args.seeds, args.epochs))


if __name__ == "__main__":
    main()
