"""What decisions cost: the cost rule against a fixed and a tuned threshold, with costs that differ from row to row.

``python tests/bench/schemes/cost_rule.py --data FOLDER [--repetitions N]`` prints a markdown table of savings (share of the cost of the
best constant decision) on the half of the rows that took no part. Costs: churn_tv_costs has its own; in default_credit_card
a missed default costs three quarters of the credit limit and a refusal a twentieth of it; in bank_additional_full a call costs
1 and a subscription that is missed 8.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[3]), str(HERE.parents[1])]

from harness import fix_threads, machine  # noqa: E402

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.metrics import savings_score  # noqa: E402
from skimb.model_selection import TunedThresholdClassifierCV  # noqa: E402
from skimb.posthoc import CostRuleClassifier, PriorCorrectedClassifier  # noqa: E402

ROWS = 6000
SETS = ("churn_tv_costs", "default_credit_card", "bank_additional_full")


def loaded(folder, name):
    """Features, target and costs (fp, fn, tp, tn) of each row."""
    frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
    y = frame.pop("target").to_numpy().astype(int)
    if name == "churn_tv_costs":
        cost = frame[[f"meta_cost_{kind}" for kind in ("fp", "fn", "tp", "tn")]].to_numpy(float)
    elif name == "default_credit_card":
        limit = frame["LIMIT_BAL"].to_numpy(float)
        cost = limit[:, None] * [0.05, 0.75, 0.0, 0.0]
    else:
        cost = np.tile([1.0, 8.0, 1.0, 0.0], (len(y), 1))
    # how long a call lasted is not known when it is decided on
    frame = frame[[c for c in frame if not c.startswith("meta_") and c != "duration"]]
    X = pd.get_dummies(frame, dtype=float)
    return X.fillna(X.median()).to_numpy(float), y, cost


def rules(base, weighted, cost, X, y):
    """Decisions by rule: a function of new rows and their costs, and the seconds of its fit."""
    mean = np.array(
        [[cost[:, 3].mean(), cost[:, 0].mean()], [cost[:, 1].mean(), cost[:, 2].mean()]]
    )

    def fitted(model, **kw):
        start = time.process_time()
        model.fit(X, y, **kw)
        return model, time.process_time() - start

    plain, seconds = fitted(base)
    yield "threshold 0.5", lambda Z, c: plain.predict(Z), seconds
    tuned, seconds = fitted(TunedThresholdClassifierCV(base), cost=cost)
    yield "tuned threshold, 5 folds", lambda Z, c: tuned.predict(Z), seconds
    model, seconds = fitted(CostRuleClassifier(base, cost=mean))
    yield "cost rule, mean costs", lambda Z, c: model.predict(Z), seconds
    yield "cost rule, costs of rows", lambda Z, c: model.predict(Z, cost=c), seconds
    if weighted is not None:
        moved, seconds = fitted(CostRuleClassifier(weighted))
        yield "the same, class weights (warned)", lambda Z, c: moved.predict(Z, cost=c), seconds
        back, seconds = fitted(CostRuleClassifier(PriorCorrectedClassifier(weighted)))
        yield "the same, corrected", lambda Z, c: back.predict(Z, cost=c), seconds


def main(folder, names, repetitions):
    models = {
        "logistic": (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, class_weight="balanced")),
        ),
        "boosted trees": (HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8), None),
    }  # fmt: skip
    print(
        "| table (rows / positives used) | classifier | rule | savings | sd | rows decided positive | seconds of fit |"
    )
    print("|" + "---|" * 7)
    for name in names:
        X, y, cost = loaded(folder, name)
        for kind, (base, weighted) in models.items():
            got = {}
            for seed in range(repetitions):
                some = np.random.default_rng(seed).permutation(len(y))[: 2 * ROWS]
                use, new = train_test_split(
                    some, test_size=0.5, stratify=y[some], random_state=seed
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    for rule, decide, seconds in rules(base, weighted, cost[use], X[use], y[use]):
                        decided = decide(X[new], cost[new])
                        saved = savings_score(y[new], decided, cost[new])
                        got.setdefault(rule, []).append((saved, decided.mean(), seconds))
            for rule, values in got.items():
                saved, decided, seconds = np.transpose(values)
                print(
                    f"| {name} ({len(use)} / {y[use].sum()}) | {kind} | {rule} | {saved.mean():.3f} | {saved.std():.3f} | "
                    f"{decided.mean():.3f} | {seconds.mean():.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    print(machine())
    main(given.data, given.sets.split(","), given.repetitions)
