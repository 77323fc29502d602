"""Few rows for many: pruned, influential, refined and made ones against random rows of the same number.

    python tests/bench/schemes/selected_rows.py --data FOLDER

FOLDER holds mammography.parquet, adb_cover.parquet (columns, target) and banking77.parquet (text, target, meta_split).
Three tables. Under-sampling of the common class to a budget for a net, with equally many steps; made rows for a
logistic regression; a share of the rows of long-tailed intents. Means over seeds, nothing is tuned; cost is the time of
choosing and fitting over that of fitting all rows.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from imblearn.under_sampling import RandomUnderSampler  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import (  # noqa: E402
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
    recall_score,
)
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.neural_network import MLPClassifier  # noqa: E402
from skimb.pipeline import ResampledClassifier  # noqa: E402
from skimb.training import DynamicPruning  # noqa: E402
from skimb.under_sampling import (  # noqa: E402
    AutoCoresetSampler,
    ClusterRefinedSampler,
    DistilledSampler,
    DynamicPruningSampler,
    InfluenceBalancedSampler,
)


def two_classes(folder, name, seed, rows):
    frame = pd.read_parquet(folder / f"{name}.parquet")
    frame = frame.sample(min(rows, len(frame)), random_state=seed)
    y, X = frame.target.to_numpy(), frame.drop(columns="target").to_numpy(float)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), y, scaler.transform(X_test), y_test


def banking(folder, seed):
    """Intents with 100 down to 5 training texts, as 200 components of word pairs; the test set is even."""
    frame = pd.read_parquet(folder / "banking77.parquet")
    train = frame[frame.meta_split == "train"].sample(frac=1.0, random_state=seed)
    test = frame[frame.meta_split == "test"]
    labels = np.random.default_rng(seed).permutation(sorted(frame.target.unique()))
    counts = np.geomspace(100, 5, len(labels)).round().astype(int)
    kept = pd.concat(
        [train[train.target == k].head(n) for k, n in zip(labels, counts, strict=True)]
    )
    read = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TruncatedSVD(200, random_state=seed),
        StandardScaler(),
    )
    X = read.fit_transform(kept.text)
    return X, kept.target.to_numpy(), read.transform(test.text), test.target.to_numpy(), labels


def timed(fit):
    start = time.process_time()
    model = fit()
    return model, time.process_time() - start


def pruned(folder, seeds):
    """The common class cut to five times the rare one, a net of equally many steps."""
    table = []
    for name, rows in (("mammography", 11_183), ("adb_cover", 18_000)):
        found = {}
        for seed in range(seeds):
            X, y, X_test, y_test = two_classes(folder, name, seed, rows)
            n_rare = int(y.sum())
            budget = {0: 5 * n_rare}
            share = budget[0] / (len(y) - n_rare)
            all_epochs = max(round(30 * 6 * n_rare / len(y)), 2)

            def net(epochs, seed=seed, **kw):
                return MLPClassifier(
                    (64, 64), max_iter=epochs, batch_size=64, tol=0, random_state=seed, **kw
                )

            def through(sampler, net=net):
                return ResampledClassifier(sampler, net(30))

            kw = {"sampling_strategy": budget, "random_state": seed}
            scheme = DynamicPruning(share, period=max(all_epochs // 5, 1), min_rows=5 * n_rare)
            models = {
                "all rows": net(all_epochs),
                "random": through(RandomUnderSampler(**kw)),
                "pruned, columns": through(DynamicPruningSampler(**kw)),
                "pruned, columns, even": through(DynamicPruningSampler(power=0.0, **kw)),
                "pruned, reweighted": through(DynamicPruningSampler(reweight=True, **kw)),
                "pruned, features of a net": through(
                    DynamicPruningSampler(features=net(3), **kw)
                ),
                "scheme, renewed five times": net(all_epochs, scheme=scheme),
                "scheme, once": net(all_epochs, scheme=clone(scheme).set_params(period=999)),
                "scheme, once, random": net(
                    all_epochs, scheme=clone(scheme).set_params(period=999, power=1.0, n_clusters=1)
                ),
            }  # fmt: skip
            for label, model in models.items():
                model, seconds = timed(lambda model=model, X=X, y=y: model.fit(X, y))
                p = model.predict_proba(X_test)[:, 1]
                scores = average_precision_score(y_test, p), log_loss(y_test, p), seconds
                found.setdefault(label, []).append(scores)
        unit = np.mean([s for *_, s in found["all rows"]])
        for label, scores in found.items():
            ap, loss, seconds = np.transpose(scores)
            table.append(
                [name, label, f"{ap.mean():.3f}", f"{ap.std():.3f}", f"{loss.mean():.4f}", f"{seconds.mean() / unit:.1f}"]
            )  # fmt: skip
    print("\n## Pruning of the common class, a net\n")
    head = ["set", "rows", "average precision", "its spread", "log-loss", "cost"]
    print(harness.table(head, table), flush=True)


def made(folder, seeds):
    """Ten rows per class for a logistic regression with balanced classes."""
    table = []
    for name in ("mammography", "adb_annthyroid"):
        found = {}
        for seed in range(seeds):
            X, y, X_test, y_test = two_classes(folder, name, seed, 11_183)
            few = RandomUnderSampler(sampling_strategy={0: 10, 1: 10}, random_state=seed)
            kw = {"n_per_class": 10, "random_state": seed}
            samplers = {
                "all rows": None,
                "random": few,
                "coreset": AutoCoresetSampler(20, random_state=seed),
                "k-means": DistilledSampler(method="kmeans", **kw),
                "distribution": DistilledSampler(method="distribution", **kw),
                "gradient": DistilledSampler(**kw),
            }
            for label, sampler in samplers.items():
                weight = "balanced" if label not in ("random", "coreset") else None
                model = ResampledClassifier(
                    sampler, LogisticRegression(class_weight=weight, max_iter=1000)
                )
                model, seconds = timed(lambda model=model, X=X, y=y: model.fit(X, y))
                p = model.predict_proba(X_test)[:, 1]
                scores = (
                    balanced_accuracy_score(y_test, model.predict(X_test)),
                    average_precision_score(y_test, p), log_loss(y_test, p), seconds,
                )  # fmt: skip
                found.setdefault(label, []).append(scores)
        unit = np.mean([s[-1] for s in found["all rows"]])
        for label, scores in found.items():
            v = np.mean(scores, 0)
            table.append([name, label, *(f"{x:.3f}" for x in v[:3]), f"{v[3] / unit:.0f}"])
    print("\n## Ten rows per class, logistic regression\n")
    head = ["set", "rows", "balanced accuracy", "average precision", "log-loss", "cost"]
    print(harness.table(head, table), flush=True)


def shares(folder, seeds):
    """15 % of the rows of long-tailed intents for a logistic regression."""
    found = {}
    for seed in range(seeds):
        X, y, X_test, y_test, labels = banking(folder, seed)
        rare = labels[-len(labels) // 3 :]
        n = round(0.15 * len(y))
        linear = LogisticRegression(C=0.1, max_iter=300)
        kw = {"fraction": 0.15, "random_state": seed}
        refined = {"n_clusters": 200, **kw}

        def drawn(even, y=y, labels=labels, n=n, seed=seed):
            sampler = DynamicPruningSampler(power=1.0, n_clusters=1, random_state=seed)
            count = {k: int((y == k).sum()) for k in labels.tolist()}
            level = n / len(count)
            if even:
                while sum(min(c, round(level)) for c in count.values()) < n:
                    level += 0.25
            size = {
                k: min(c, round(level)) if even else max(round(0.15 * c), 1)
                for k, c in count.items()
            }
            return sampler.set_params(sampling_strategy=size)

        samplers = {
            "all rows": None,
            "random": drawn(False),
            "random, even classes": drawn(True),
            "influence": InfluenceBalancedSampler(linear, **kw),
            "influence, not normalised": InfluenceBalancedSampler(linear, normalize=False, **kw),
            "clusters, one round": ClusterRefinedSampler(linear, n_rounds=1, **refined),
            "clusters, refined": ClusterRefinedSampler(linear, **refined),
            "clusters, refined, even classes": ClusterRefinedSampler(
                linear, allocation="equal", **refined
            ),
        }
        for label, sampler in samplers.items():
            model = ResampledClassifier(sampler, linear)
            model, seconds = timed(lambda model=model, X=X, y=y: model.fit(X, y))
            guess = model.predict(X_test)
            recall = recall_score(y_test, guess, labels=rare, average="macro", zero_division=0)
            found.setdefault(label, []).append(
                (balanced_accuracy_score(y_test, guess), recall, seconds)
            )
    unit = np.mean([s[-1] for s in found["all rows"]])
    table = []
    for label, scores in found.items():
        v = np.mean(scores, 0)
        table.append([label, f"{v[0]:.3f}", f"{v[1]:.3f}", f"{v[2] / unit:.1f}"])
    print("\n## 15 % of long-tailed intents, logistic regression\n")
    print(harness.table(["rows", "balanced accuracy", "recall of the rarest third", "cost"], table))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(harness.machine())
    for part in (pruned, made, shares):
        part(given.data, given.seeds)
