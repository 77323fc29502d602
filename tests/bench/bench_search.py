"""Benchmark of searches: stock GridSearchCV, the same inside `batched_fits`, and scikit-learn's own net.

    python tests/bench/bench_search.py [--write docs/benchmarks/search.md] [--rounds 3]

64 configurations (gamma, alpha, learning rate, weight decay) times 5 folds, 30 features, batches of 128, 10 epochs,
average precision, no refit. Wall seconds, one thread, functions in turns. Stock skorch and scikit-learn's net are
timed on 4 of the 64 configurations and scaled by 16.
"""

import argparse
import sys
import time
import warnings
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from harness import interleaved, machine, median, ratio, table  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.neural_network import MLPClassifier as SklearnMLP  # noqa: E402
from skorch import NeuralNetBinaryClassifier  # noqa: E402
from torch import nn  # noqa: E402

from skimb import functional  # noqa: E402
from skimb.linear_model import LinearClassifier  # noqa: E402
from skimb.losses import Focal  # noqa: E402
from skimb.model_selection import batched_fits  # noqa: E402
from skimb.neural_network import MLPClassifier  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)

GAMMAS, ALPHAS = [0.0, 0.5, 1.0, 2.0], [0.25, 0.75]
RATES, DECAYS = [0.001, 0.003, 0.01, 0.03], [0.0, 1e-3]


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, alpha=0.25):
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, z, y):
        p = torch.sigmoid(z)
        ce = nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        p_t = p * y + (1 - p) * (1 - y)
        a_t = self.alpha * y + (1 - self.alpha) * (1 - y)
        return (a_t * (1 - p_t) ** self.gamma * ce).mean()


class Net(nn.Module):
    def __init__(self, hidden=(32,)):
        super().__init__()
        layers, d = [], 30
        for h in hidden:
            layers += [nn.Linear(d, h), nn.ReLU()]
            d = h
        self.layers = nn.Sequential(*layers, nn.Linear(d, 1))

    def forward(self, X):
        return self.layers(X).squeeze(-1)


def search(model, grid):
    return GridSearchCV(model, grid, cv=5, scoring="average_precision", refit=False)


def compare(n, hidden, rounds):
    X, y = make_classification(
        n, 30, n_informative=12, n_redundant=6, weights=[0.95], class_sep=0.8, random_state=0
    )
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    kw = {"max_iter": 10, "batch_size": 128, "tol": 0.0, "n_iter_no_change": 100, "random_state": 0}
    if hidden:
        ours = MLPClassifier(hidden, loss=Focal(), solver="adamw", **kw)
    else:
        ours = LinearClassifier(loss=Focal(), solver="adamw", **kw)
    grid = {
        "loss__gamma": GAMMAS,
        "loss__alpha": ALPHAS,
        "learning_rate_init": RATES,
        "alpha": DECAYS,
    }
    stock = NeuralNetBinaryClassifier(
        Net, module__hidden=hidden, criterion=FocalLoss, optimizer=torch.optim.AdamW, max_epochs=10,
        batch_size=128, train_split=None, verbose=0, iterator_train__shuffle=True,
    )  # fmt: skip
    part = {"criterion__gamma": [0.5, 2.0], "lr": [0.001, 0.01]}
    theirs = SklearnMLP(hidden or (1,), **kw)
    results = {}

    def batched():
        with batched_fits() as batch:
            results["batched"] = search(ours, grid).fit(X, y)
        results["sizes"] = batch.sizes

    def plain():
        results["plain"] = search(ours, grid).fit(X, y)

    runs = {
        "batched": batched,
        "plain": plain,
        "skorch": lambda: search(stock, part).fit(X, y.astype(np.float32)),
        "sklearn": lambda: search(theirs, {"learning_rate_init": RATES}).fit(X, y),
    }
    t = interleaved(runs, rounds=rounds, warm=0, clock=time.perf_counter)
    for name in ("skorch", "sklearn"):
        t[name] = [16 * s for s in t[name]]
    a, b = (results[k].cv_results_["mean_test_score"] for k in ("batched", "plain"))
    return [
        f"{n:,}", "-".join(map(str, (30, *hidden, 1))), f"{median(t['batched']):.2f}",
        f"**{ratio(t['plain'], t['batched']):.1f}**", f"{ratio(t['skorch'], t['batched']):.0f}",
        f"{ratio(t['sklearn'], t['batched']):.0f}", f"{np.abs(a - b).max():.4f}",
        "same" if results["batched"].best_params_ == results["plain"].best_params_ else "another",
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    functional.focal(torch.zeros(2), torch.zeros(2).long())  # load everything before the clock runs
    rows = []
    for n, hidden in [
        (2000, ()),
        (2000, (32,)),
        (2000, (64, 64)),
        (10000, (32,)),
        (10000, (64, 64)),
    ]:
        rows.append(compare(n, hidden, args.rounds))
        print(" | ".join(rows[-1]), flush=True)
    header = ["rows", "net", "batched, s", "over our own fits", "over skorch", "over scikit-learn's net", "largest score difference", "best parameters"]  # fmt: skip
    parts = [
        "# Search benchmark",
        f"{date.today()}, {machine()} `make bench-search` repeats it.",
        "Stock `GridSearchCV` of 64 loss configurations (gamma, alpha, learning rate, weight decay) x 5 folds, batch "
        "128, 10 epochs, average precision, no refit: inside `batched_fits`, and how many times longer the same "
        "search takes over our own estimator without the block, over stock skorch and over scikit-learn's "
        "`MLPClassifier` (both timed on 4 configurations and scaled by 16; scikit-learn's has no loss to vary, and "
        "no net without a hidden unit).",
        table(header, rows),
    ]
    if args.write:
        args.write.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
