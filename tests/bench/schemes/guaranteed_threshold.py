"""Promised against measured: how often thresholds miss what they promise, and what that costs.

``python tests/bench/schemes/guaranteed_threshold.py [--data FOLDER] [--repetitions N]`` prints markdown tables. Simulations
know the truth; on real tables (parquet files with a column "target") it is measured on the rows that took no part.
"""

import argparse
import sys
import time
import warnings
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[3]), str(HERE.parents[2]), str(HERE.parents[1])]

from harness import fix_threads, machine  # noqa: E402

fix_threads()

import numpy as np  # noqa: E402
from promise_coverage import Population, measured, quick  # noqa: E402
from scipy.stats import binom  # noqa: E402

COST = [[0.0, 1.0], [20.0, 0.0]]


def row(*cells):
    print("| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |")


def head(*cells):
    row(*cells)
    print("|" + "---|" * len(cells))


def recall(repetitions):
    """How often recall is missed, by the number of positive rows."""
    people = Population(0.1)
    print("\nRecall at least 0.9 with confidence 0.95; positives N(2, 1), negatives N(0, 1).\n")
    head(
        "positives",
        "promised",
        "false promises",
        "theory",
        "mean recall",
        "estimate >= 0.9: missed",
    )
    for n1 in (28, 29, 50, 100, 300):

        def draw(rng, n1=n1):
            return people.rows(rng, 10 * n1, n1)

        found = measured(draw, {"recall": 0.9}, repetitions, people.truth)
        naive_missed = missed(draw, people, repetitions)
        most = max((m for m in range(n1) if binom.cdf(m, n1, 0.1) <= 0.05), default=-1)
        theory = float(binom.cdf(most, n1, 0.1))
        row(n1, found[0], found[1], theory, found[2], naive_missed)


def others(repetitions):
    """The other promises."""
    people = Population(0.1)
    print("\nOther promises with confidence 0.95, 1 000 rows, 10 % positive.\n")
    head("promise", "order", "promised", "false promises", "mean recall")
    for constraint in ({"fpr": 0.05}, {"review_rate": 0.15}, {"precision": 0.6}, {"npv": 0.97}, {"accuracy": 0.91},
                       {"f1": 0.45}, {"cost": 0.8}):  # fmt: skip
        orders = ("guided", "starts", "betting") if "precision" in constraint else ("guided",)
        for order in orders:
            found = measured(
                lambda rng: people.rows(rng, 1000), constraint, repetitions,
                lambda t: people.truth(t, COST), order=order, cost=COST,
            )  # fmt: skip
            ((name, value),) = constraint.items()
            row(f"{name} {value}", order, *found)


def hardest(repetitions):
    """Precision that is missed everywhere, but hardly."""
    print("\nPrecision just below the promise at every threshold, 400 rows: the hardest case.\n")
    head("precision", "order", "false promises")
    for p in (0.2, 0.5):
        for order in ("guided", "starts", "betting"):
            found = measured(
                lambda rng, p=p: (rng.random((400, 1)), (rng.random(400) < p).astype(int)),
                {"precision": p}, repetitions, lambda t, p=p: {"precision": p - 1e-9, "recall": 0.0}, order=order,
            )  # fmt: skip
            row(p, order, found[1])


def weights(repetitions):
    """Rows that stand for another population."""
    print("\nLog-normal weights (sd 0.8, cut at 5), recall at least 0.8, 150 positives.\n")
    head("weights", "test", "promised", "false promises")
    for slope, said in ((0.8, "grow with the score"), (-0.8, "fall with the score")):
        for name, largest in (("effective rows", None), ("bets", 5.0)):
            draw, truth = partial(weighted, slope), partial(weighted_truth, slope)
            found = measured(draw, {"recall": 0.8}, repetitions, truth, largest=largest)
            row(said, name, *found[:2])


def missed(draw, people, repetitions):
    """How often a threshold whose estimate keeps recall 0.9 misses it."""
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(repetitions):
        X, y = draw(rng)
        found = quick(X, y, {"recall": 0.9}, promised=False)
        count += people.truth(found.threshold)["recall"] < 0.9
    return count / repetitions


def weights_of(slope, x):
    """Weights of positive rows whose distance from their mean is x."""
    return np.exp(slope * x).clip(max=5)


def weighted(slope, rng):
    """Rows whose weights hang on the score."""
    people = Population(0.3)
    X, y = people.rows(rng, 500, 150)
    x = (np.log(X[:, 0] / (1 - X[:, 0])) - np.log(3 / 7) + 2) / 2
    return X, y, weights_of(slope, x - 2)


_X = np.linspace(-6, 6, 20_001)


def weighted_truth(slope, threshold):
    """Recall in the population that the weighted rows stand for."""
    mass = weights_of(slope, _X) * np.exp(-0.5 * _X**2)
    return {"recall": float(mass[Population(0.3).place(threshold) - 2 <= _X].sum() / mass.sum())}


def tables(folder, names, repetitions):
    """Real tables: half of the rows to measure on, the other half to fit and to calibrate."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from skimb.model_selection import GuaranteedThresholdClassifier

    print(
        "\nReal tables, logistic regression: half of the rows measure, and the rest is drawn anew each time.\n"
    )
    head("table", "rows / positives used", "rule", "promised", "recall >= 0.8 missed", "mean recall", "rows flagged", "seconds per fit")  # fmt: skip
    for name in names:
        frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
        y = frame.pop("target").to_numpy().astype(int)
        frame = frame[[c for c in frame if not c.startswith("meta_")]].select_dtypes("number")
        X = frame.fillna(frame.median()).to_numpy(float)
        rules = {
            "promise, cv=0.5": {"cv": 0.5},
            "promise, cv=5": {"cv": 5},
            "estimate, cv=5": {"cv": 5, "confidence": None},
        }
        got = {rule: [] for rule in rules}
        for seed in range(repetitions):
            X_use, X_new, y_use, y_new = train_test_split(
                X, y, test_size=0.5, stratify=y, random_state=seed
            )
            for rule, kw in rules.items():
                base = make_pipeline(StandardScaler(), LogisticRegression())
                model = GuaranteedThresholdClassifier(
                    base, constraint={"recall": 0.8}, random_state=seed, **kw
                )
                start = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.fit(X_use, y_use)
                spent = time.process_time() - start
                decided = model.predict(X_new)
                recall = decided[y_new == 1].mean()
                got[rule].append((model.promised_, recall < 0.8, recall, decided.mean(), spent))
        for rule, values in got.items():
            row(name, f"{len(y_use)} / {y_use.sum()}", rule, *map(float, np.mean(values, 0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--sets", default="adb_annthyroid,abalone_7,adb_cardio")
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument(
        "--only", nargs="*", default=["recall", "others", "hardest", "weights", "tables"]
    )
    given = parser.parse_args()
    print(machine())
    for name in given.only:
        if name != "tables":
            globals()[name](given.repetitions)
        elif given.data:
            tables(given.data, given.sets.split(","), max(10, given.repetitions // 20))
