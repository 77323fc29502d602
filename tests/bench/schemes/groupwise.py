"""One online learner, learners of groups alone, and sleeping ones, group by group. Prints a markdown table.

    python tests/bench/schemes/groupwise.py --data FOLDER [--rows 12000]

FOLDER holds adult.parquet. Brier losses of forecasts made before a row is learned.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.linear_model import SGDClassifier  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.streaming import GroupwiseOnlineClassifier  # noqa: E402


def rows(folder, n):
    frame = pd.read_parquet(folder / "adult.parquet").sample(n, random_state=0)
    y = frame["target"].to_numpy()
    thirds = pd.qcut(frame["age"], 3, labels=["young", "middle", "old"])
    names = [frame["sex"], frame["race"], thirds]
    groups = pd.concat([pd.get_dummies(part.astype(str)) for part in names], axis=1)
    X = frame.drop(columns=["target", "meta_split", "native_country", "fnlwgt"])
    X["capital_gain"] = np.log1p(X["capital_gain"])
    X = StandardScaler().fit_transform(pd.get_dummies(X).astype(float))
    return X, y, groups


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=12_000)
    given = parser.parse_args()
    X, y, groups = rows(given.data, given.rows)
    base = SGDClassifier(loss="log_loss", alpha=1e-4, learning_rate="constant", eta0=0.01, random_state=0)  # fmt: skip
    start = time.process_time()
    single = GroupwiseOnlineClassifier(base)
    p = np.full(len(y), np.nan)
    for at in np.array_split(np.arange(len(y)), len(y) // 32):
        if hasattr(single, "classes_"):
            p[at] = single.predict_proba(X[at])[:, 1]
        single.partial_fit(X[at], y[at], classes=[0, 1])
    alone = time.process_time() - start
    start = time.process_time()
    model = GroupwiseOnlineClassifier(base).fit(X, y, groups=groups)
    cost = (time.process_time() - start) / alone
    miss = (p - y) ** 2
    body = []
    for k, name in enumerate(["all", *groups.columns]):
        own = np.ones(len(y), bool) if k == 0 else groups[name].to_numpy(bool)
        losses = np.nanmean(miss[own]), model.estimator_loss_[k], model.group_loss_[k]
        body.append([name, str(own.sum()), *(f"{v:.4f}" for v in losses)])
    print(harness.machine(), f"\n\ntime against a single learner: {cost:.1f}\n")
    print(harness.table(["group", "rows", "single learner", "its own learner", "sleeping"], body))


if __name__ == "__main__":
    main()
