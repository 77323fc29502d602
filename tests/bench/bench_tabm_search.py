"""Benchmark of a search over sixteen TabM settings and their baselines in five folds, with and without halving.

    python tests/bench/bench_tabm_search.py [--write docs/benchmarks/tabm_search.md] [--data FOLDER --sets a,b]

One thread. ``LossSearchCV`` over four losses, with class-weighted cross-entropy as a baseline, two rates and two decays,
against ``GridSearchCV`` over the same settings, each of which it fits to the end. Sets: at most 2,000 rows of parquet
files with a 0/1 column ``target``, drawn by class.
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
from bench_tabm import held_out  # noqa: E402
from harness import machine, table, written  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.model_selection import GridSearchCV, StratifiedKFold  # noqa: E402

from skimb.losses import CrossEntropy, Focal, LogitAdjusted  # noqa: E402
from skimb.model_selection import LossSearchCV  # noqa: E402
from skimb.neural_network import TabMClassifier  # noqa: E402

warnings.simplefilter("ignore")

WHAT = (
    "Twenty settings of `TabMClassifier`: cross-entropy, with class weights too, two focal losses and logit adjustment, each "
    "with two learning rates and two weight decays. Five folds, chosen by log loss, no last fit. `GridSearchCV` and `LossSearchCV` "
    "without halving train all of them to the end and find the same scores; with `halving` settings are dropped after six, "
    "twelve and more epochs of one ensemble. CPU seconds of one run in turns. Lost is what the best setting "
    "that halving ends with has more of log loss, as a share of a constant's, than the best of all twenty; spread is the difference "
    "between the best and the worst of them."
)
LOSSES = [CrossEntropy(), Focal(1.0), Focal(2.0), LogitAdjusted()]
GRID = {"learning_rate_init": [3e-3, 6e-3], "alpha": [3e-4, 3e-2]}
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)
HALVINGS = (2, 3, 4)


def searched(X, y, halving):
    search = LossSearchCV(
        TabMClassifier(random_state=0),
        GRID,
        losses=LOSSES,
        halving=halving,
        cv=FOLDS,
        scoring="neg_log_loss",
        refit=False,
    )
    return search.fit(X, y).cv_results_


def one_after_another(X, y):
    """A grid search over the settings that ``LossSearchCV`` makes."""
    settings = [
        {"loss": [loss], "class_weight": [weight]} | GRID
        for loss, weight in [*((loss, None) for loss in LOSSES), (CrossEntropy(), "balanced")]
    ]
    model = TabMClassifier(random_state=0)
    search = GridSearchCV(model, settings, cv=FOLDS, scoring="neg_log_loss", refit=False)
    return search.fit(X, y).cv_results_


def timed(function, *args):
    began = time.process_time()
    found = function(*args)
    return time.process_time() - began, found


def line(name, X, y):
    rare = np.mean(y)
    constant = -(rare * np.log(rare) + (1 - rare) * np.log(1 - rare))
    seconds, whole = timed(one_after_another, X, y)
    scores = whole["mean_test_score"]
    cells = [name, f"{seconds:.0f}"]
    mine, found = timed(searched, X, y, None)
    if not np.allclose(np.sort(found["mean_test_score"]), np.sort(scores), atol=1e-9):
        raise AssertionError("the two searches must find the same scores")
    cells.append(f"{mine:.0f} ({seconds / mine:.1f})")
    for halving in HALVINGS:
        mine, found = timed(searched, X, y, halving)
        ended = found["n_ensembles"] > 1
        lost = (scores.max() - found["mean_test_score"][ended].max()) / constant
        cells += [f"{mine:.0f} ({seconds / mine:.1f})", f"{lost:.4f}"]
    cells.append(f"{np.ptp(scores) / constant:.4f}")
    print(*cells, flush=True)
    return cells


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write")
    parser.add_argument("--data")
    parser.add_argument("--sets", default="")
    args = parser.parse_args()
    X, y = make_classification(
        2000, 10, n_informative=6, weights=[0.95], flip_y=0.02, random_state=0
    )
    lines = [line("simulated, 2,000 rows of 10 numbers", X, y)]
    for name in args.sets.split(",") if args.data else []:
        train, _, y_train, _ = held_out(args.data, name, 3333)
        lines.append(line(f"{name}, {len(y_train):,} rows", train, y_train))
    header = ["set", "GridSearchCV s", "LossSearchCV s (times as fast)"]
    for halving in HALVINGS:
        header += [f"halving={halving} s (times as fast)", "lost"]
    parts = [
        "# A search over TabM",
        f"{date.today()}, {machine()} `make bench-tabm-search` repeats it.",
        WHAT,
        table([*header, "spread"], lines),
    ]
    print(written(parts, args.write))


if __name__ == "__main__":
    main()
