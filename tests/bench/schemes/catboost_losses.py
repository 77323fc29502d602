"""CatBoost under losses of skimb against its own Logloss and its own class weights.

``python tests/bench/schemes/catboost_losses.py --data FOLDER [--repetitions N]`` prints a markdown table: average precision, log
loss, mean probability of the rare class over its share, F1 at the threshold of 1/2 and seconds of the fit over those of
Logloss. Settings are equal: 100 trees of depth 6, one thread, one step of Newton for leaves.
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

import catboost  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.metrics import average_precision_score, f1_score, log_loss  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

from skimb.boosting import as_catboost  # noqa: E402
from skimb.losses import ClassPrior, CrossEntropy, Focal, LogitAdjusted  # noqa: E402

ROWS = 6000
SETS = ("bank_additional_full", "default_credit_card", "coil_2000")
SETTINGS = {
    "iterations": 100,
    "depth": 6,
    "learning_rate": 0.1,
    "leaf_estimation_method": "Newton",
    "leaf_estimation_iterations": 1,
    "thread_count": 1,
    "verbose": False,
    "allow_writing_files": False,
    "random_seed": 0,
}
OWN = {
    "CatBoost Logloss": {},
    "CatBoost, weights Balanced": {"auto_class_weights": "Balanced"},
}
OURS = {
    "CrossEntropy": CrossEntropy(),
    "Focal": Focal(),
    "LogitAdjusted": LogitAdjusted(),
}


def loaded(folder, name):
    """Features and target of at most `ROWS` rows."""
    frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
    if len(frame) > ROWS:
        frame = frame.sample(ROWS, random_state=0)
    y = frame.pop("target").to_numpy().astype(int)
    # how long a call lasted is not known when it is decided on
    frame = frame[[c for c in frame if not c.startswith("meta_") and c != "duration"]]
    return pd.get_dummies(frame, dtype=float).to_numpy(float), y


def theirs(params, X, y, X_test):
    """Probabilities of the rare class by the library's own loss."""
    model = catboost.CatBoostClassifier(**SETTINGS, **params).fit(X, y)
    return model.predict_proba(X_test)[:, 1]


def ours(loss, X, y, X_test):
    """Probabilities of the rare class by one of skimb's losses."""
    objective = as_catboost(loss, ClassPrior.of(y))
    start = np.full(len(y), objective.init_scores[0])
    params = {
        **SETTINGS,
        "loss_function": objective,
        "eval_metric": "Logloss",
        "metric_period": 100,
    }
    model = catboost.CatBoost(params).fit(catboost.Pool(X, y, baseline=start))
    raw = model.predict(X_test, prediction_type="RawFormulaVal")
    return objective.posterior(raw + objective.init_scores)[:, 1]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--repetitions", type=int, default=2)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{machine()}, CatBoost {catboost.__version__}\n")
    print(
        "| set | rows | rare | loss | average precision | log loss | mean p / share | F1 | seconds ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in SETS:
        X, y = loaded(args.data, name)
        models = {k: (theirs, v) for k, v in OWN.items()} | {k: (ours, v) for k, v in OURS.items()}
        found = {k: [] for k in models}
        for seed in range(args.repetitions):
            parts = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
            X_train, X_test, y_train, y_test = parts
            for k, (fit, what) in models.items():
                start = time.process_time()
                p = fit(what, X_train, y_train, X_test)
                seconds = time.process_time() - start
                found[k].append(
                    [
                        average_precision_score(y_test, p),
                        log_loss(y_test, p),
                        p.mean() / y_test.mean(),
                        f1_score(y_test, p > 0.5),
                        seconds,
                    ]
                )
        base = np.array(found["CatBoost Logloss"])[:, 4]
        for k, rows in found.items():
            values = np.array(rows)
            ap, loss, ratio, f1, _ = values.mean(0)
            slow = np.median(values[:, 4] / base)
            print(
                f"| {name} | {len(y)} | {y.mean():.3f} | {k} | {ap:.3f} | {loss:.3f} | {ratio:.2f} | {f1:.3f} | "
                f"{slow:.1f} |"
            )


if __name__ == "__main__":
    main()
