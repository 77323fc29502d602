"""Teachers beside the labels: forests and bags of nets into one net, heads, two teachers. Prints markdown tables.

    python tests/bench/schemes/distilled.py --data FOLDER [--seeds 2]

FOLDER holds yeast_mc.parquet. Digits with a long tail and yeast; balanced accuracy of the decision as it is, accuracy
of the rarest third of the classes, log-loss, and time of the student without its teachers against the plain net.
"""

import argparse
import time
import warnings
from pathlib import Path

from rare_sets import digits, yeast  # isort: skip, fixes threads

import numpy as np
from harness import machine, table
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss, recall_score

from skimb.ensemble import PopulationBaggingClassifier
from skimb.losses import LogitAdjusted
from skimb.neural_network import DistilledClassifier, MLPClassifier

KW = {"hidden_layer_sizes": (64,), "max_iter": 60, "tol": 0, "batch_size": 64}


def contestants(X, y, seed):
    kw = {**KW, "random_state": seed}
    plain, tail = MLPClassifier(**kw), MLPClassifier(loss=LogitAdjusted(), **kw)
    forest = RandomForestClassifier(200, min_samples_leaf=2, random_state=seed)
    bags = PopulationBaggingClassifier(MLPClassifier(**{**KW, "random_state": None}), 8, power=1.0, random_state=seed)  # fmt: skip
    taught = {
        name: FrozenEstimator(m.fit(X, y)) for name, m in (("forest", forest), ("eight nets", bags))
    }
    both = [FrozenEstimator(plain.fit(X, y)), FrozenEstimator(tail.fit(X, y))]
    yield "plain net", plain
    yield "logit adjustment", tail
    for name, teacher in taught.items():
        yield f"teacher: {name}", teacher
        yield f"taught by {name}", DistilledClassifier(teacher, **kw)
        yield f"taught by {name}, two heads, logits", DistilledClassifier(teacher, head="dual", divergence="logits", **kw)  # fmt: skip
        yield f"taught by {name}, one head, logits", DistilledClassifier(teacher, divergence="logits", **kw)  # fmt: skip
    yield "taught by eight nets, logit adjustment", DistilledClassifier(taught["eight nets"], loss=LogitAdjusted(), **kw)  # fmt: skip
    yield "taught by plain and adjusted, balanced", DistilledClassifier(both, loss=LogitAdjusted(), **kw)  # fmt: skip
    yield "taught by plain and adjusted, equal", DistilledClassifier(both, loss=LogitAdjusted(), balance_rate=0.0, **kw)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), "\n", flush=True)
    for name, rows in {"digits": digits, "yeast": lambda s: yeast(given.data, s)}.items():
        found = {}
        for seed in range(given.seeds):
            X, y, T, t = rows(seed)
            classes = np.unique(y)
            rare = classes[np.argsort(np.bincount(y)[classes])][: len(classes) // 3]
            for label, model in contestants(X, y, seed):
                start = time.process_time()
                model.fit(X, y)
                seconds = time.process_time() - start
                recall = recall_score(
                    t, model.predict(T), average=None, labels=classes, zero_division=0
                )
                lost = log_loss(t, model.predict_proba(T), labels=classes)
                found.setdefault(label, []).append([
                    recall.mean(), recall[np.isin(classes, rare)].mean(), lost, seconds,
                ])  # fmt: skip
        unit = np.mean(found["plain net"], 0)[3]
        body = []
        for label, values in found.items():
            a, b, c, s = np.mean(values, 0)
            cost = "" if label.startswith("teacher") else f"{s / unit:.1f}"
            body.append([label, f"{a:.3f}", f"{b:.3f}", f"{c:.3f}", cost])
        print(f"### {name}\n")
        print(
            table(["model", "balanced accuracy", "rarest third", "log-loss", "time"], body),
            "\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
