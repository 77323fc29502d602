"""Nets grown by boosting against nets of the same size, and grown on the layers of another. Prints a markdown table.

    python tests/bench/schemes/boosted_net.py --data FOLDER [--seeds 2]

FOLDER holds reg_concrete.parquet and reg_abalone.parquet. Errors in standard deviations of the target, time against
the perceptron trained by Adam.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.metrics import root_mean_squared_error  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.ensemble import GradientBoostedMLPRegressor as Grown  # noqa: E402
from skimb.neural_network import MLPRegressor  # noqa: E402

STEPS = 40


def rows(folder, name, seed):
    frame = pd.read_parquet(folder / f"{name}.parquet")
    y = frame.pop("target").to_numpy(float)
    X = frame[[c for c in frame if not c.startswith("meta_")]]
    X = pd.get_dummies(X).to_numpy(float)
    size = min(1500, int(0.7 * len(y)))
    A, B, a, b = train_test_split(X, y, train_size=size, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(A)
    return (
        scaler.transform(A),
        scaler.transform(B),
        (a - a.mean()) / a.std(),
        (b - a.mean()) / a.std(),
    )


def models(seed):
    kw = {"n_estimators": STEPS, "units_per_stage": 2, "random_state": seed}
    net = {"hidden_layer_sizes": (2 * STEPS,), "random_state": seed}
    body = MLPRegressor(hidden_layer_sizes=(2 * STEPS,), activation="logistic", random_state=seed)
    yield "perceptron, Adam", MLPRegressor(**net)
    yield "perceptron, L-BFGS", MLPRegressor(solver="lbfgs", **net)
    yield "grown", Grown(**kw)
    yield "logistic perceptron, Adam", body
    yield "last layer grown on it", Grown(body=body, **kw)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(harness.machine(), "\n", flush=True)
    body = []
    for name in ("reg_concrete", "reg_abalone"):
        found, seconds = {}, {}
        for seed in range(given.seeds):
            A, B, a, b = rows(given.data, name, seed)
            for label, model in models(seed):
                start = time.process_time()
                model.fit(A, a)
                seconds.setdefault(label, []).append(time.process_time() - start)
                found.setdefault(label, []).append(root_mean_squared_error(b, model.predict(B)))
                if isinstance(model, Grown):
                    for n in (10, 20):
                        short = root_mean_squared_error(b, model.truncate(n).predict(B))
                        found.setdefault(f"{label}, first {n} stages", []).append(short)
        plain = np.mean(seconds["perceptron, Adam"])
        for label, errors in found.items():
            cost = f"{np.mean(seconds[label]) / plain:.1f}" if label in seconds else ""
            body.append([name, label, f"{np.mean(errors):.3f}", cost])
    print(harness.table(["set", "model", "RMSE", "time"], body))


if __name__ == "__main__":
    main()
