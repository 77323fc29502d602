"""What embeddings trained by contrasts are worth, beside logit adjustment, and mixtures on classes never seen.

    python tests/bench/schemes/contrastive.py --data FOLDER

FOLDER holds yeast_mc.parquet and banking77.parquet. Nothing is tuned: all nets have two hidden layers of 128, the
contrastive ones 60 epochs, plain ones their defaults.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from harness import machine, table  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.metrics import normalized_mutual_info_score, recall_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler, normalize  # noqa: E402

from skimb.linear_model import LinearClassifier  # noqa: E402
from skimb.losses import LogitAdjusted  # noqa: E402
from skimb.metrics import utilization  # noqa: E402
from skimb.neural_network import MLPClassifier, SubclassContrastiveClassifier  # noqa: E402
from skimb.training import MetricMixup  # noqa: E402

SIZES = (128, 128)


def digits(seed):
    """Seven tenths of the digits with 120 to 6 rows per class, tested on the others as they are."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    sizes = 120 * 20 ** (-np.arange(10) / 9)
    rows = np.concatenate([np.flatnonzero(y == k)[: round(sizes[k])] for k in range(10)])
    return X[rows] / 16.0, y[rows], X_test / 16.0, y_test


def split(X, y, seed):
    train, test = train_test_split(np.arange(len(y)), test_size=0.4, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), y[train], scaler.transform(X[test]), y[test]


def yeast(folder, seed):
    frame = pd.read_parquet(folder / "yeast_mc.parquet")
    X = frame.drop(columns="target")
    X = pd.get_dummies(X[[c for c in X if not c.startswith("meta_")]]).to_numpy(float)
    return split(X, frame["target"].to_numpy(), seed)


def embedded(train, test):
    """Texts as directions of 200 components, as of a frozen encoder."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    svd = TruncatedSVD(200, random_state=0)
    a = normalize(svd.fit_transform(words.fit_transform(train)))
    b = normalize(svd.transform(words.transform(test)))
    scaler = StandardScaler().fit(a)
    return scaler.transform(a), scaler.transform(b)


def banking_unions(folder, seed):
    """Eight common classes that are unions of five intents each, and 37 rare intents: made for subclasses."""
    frame, rng = pd.read_parquet(folder / "banking77.parquet"), np.random.default_rng(seed)
    official = frame["meta_split"].astype(str).to_numpy()
    intents = rng.permutation(77)
    union = {k: (i // 5 if i < 40 else i - 32) for i, k in enumerate(intents)}
    y = frame["target"].map(union).to_numpy()
    picked = []
    for i, k in enumerate(intents):
        own = np.flatnonzero((frame["target"].to_numpy() == k) & (official == "train"))
        picked.append(rng.choice(own, min(48 if i < 40 else 10, len(own)), replace=False))
    train, test = np.concatenate(picked), np.flatnonzero(official == "test")
    a, b = embedded(frame["text"].iloc[train], frame["text"].iloc[test])
    return a, y[train], b, y[test]


def contestants(seed):
    kw = {"max_iter": 60, "random_state": seed}
    return {
        "LinearClassifier, logit-adjusted": LinearClassifier(LogitAdjusted(), alpha=1e-3),
        "MLPClassifier, cross-entropy": MLPClassifier(SIZES, random_state=seed),
        "MLPClassifier, logit-adjusted": MLPClassifier(SIZES, loss=LogitAdjusted(), random_state=seed),
        "contrast='supervised'": SubclassContrastiveClassifier(SIZES, contrast="supervised", **kw),
        "contrast='balanced'": SubclassContrastiveClassifier(SIZES, contrast="balanced", **kw),
        "contrast='subclass'": SubclassContrastiveClassifier(SIZES, **kw),
    }  # fmt: skip


def classification(sets, seeds):
    rows = []
    for name, make in sets.items():
        found = {}
        for seed in range(seeds):
            X, y, X_test, y_test = make(seed)
            classes, counts = np.unique(y, return_counts=True)
            rare = np.isin(classes, classes[np.argsort(counts, kind="stable")[: len(classes) // 3]])
            for label, model in contestants(seed).items():
                start = time.process_time()
                model.fit(X, y)
                seconds = time.process_time() - start
                recalls = recall_score(y_test, model.predict(X_test), average=None, labels=classes)
                found.setdefault(label, []).append((recalls.mean(), recalls[rare].mean(), seconds))
        plain = np.mean([s for *_, s in found["MLPClassifier, logit-adjusted"]])
        for label, each in found.items():
            all_, tail, seconds = np.transpose(each)
            rows.append((
                name, label, f"{100 * all_.mean():.1f} ± {100 * all_.std():.1f}",
                f"{100 * tail.mean():.1f}", f"{seconds.mean() / plain:.1f}x",
            ))  # fmt: skip
    return table(("data", "model", "mean recall", "rarest third", "time to fit"), rows)


def retrieval(Z, y):
    """Share of rows whose nearest other row by cosine is of their class, and agreement of clusters with classes."""
    U = normalize(Z)
    near = U @ U.T
    np.fill_diagonal(near, -np.inf)
    clusters = KMeans(len(np.unique(y)), n_init=2, random_state=0).fit_predict(U)
    return (y[near.argmax(1)] == y).mean(), normalized_mutual_info_score(y, clusters)


def unseen_classes(folder, seeds):
    frame, found = pd.read_parquet(folder / "banking77.parquet"), {}
    official = frame["meta_split"].astype(str).to_numpy()
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        seen = np.isin(frame["target"], rng.permutation(77)[:50])
        train = rng.permutation(np.flatnonzero(seen & (official == "train")))[:2000]
        test = np.flatnonzero(~seen & (official == "test"))
        a, b = embedded(frame["text"].iloc[train], frame["text"].iloc[test])
        y, held = (frame["target"].iloc[at].to_numpy() for at in (train, test))
        found.setdefault("the rows themselves", []).append((*retrieval(b, held), np.nan, 0.0))
        mixes = [None, *(MetricMixup(level) for level in ("input", "hidden", "embedding"))]
        for mix in mixes:
            kw = {"contrast": "supervised", "max_iter": 40, "random_state": seed}
            start = time.process_time()
            model = SubclassContrastiveClassifier(SIZES, mix=mix, **kw).fit(a, y)
            seconds = time.process_time() - start
            Z, references = (normalize(model.transform(rows)) for rows in (b, a))
            label = "no mixtures" if mix is None else f"mixtures of level '{mix.level}'"
            found.setdefault(label, []).append((*retrieval(Z, held), utilization(Z, references), seconds))  # fmt: skip
    plain, rows = np.mean([s for *_, s in found["no mixtures"]]), []
    for label, each in found.items():
        first, agreement, used, seconds = np.mean(each, 0)
        spread = np.std([e[0] for e in each])
        rows.append((
            label, f"{100 * first:.1f} ± {100 * spread:.1f}", f"{agreement:.3f}",
            "" if np.isnan(used) else f"{used:.3f}", f"{seconds / plain:.2f}x" if seconds else "",
        ))  # fmt: skip
    head = ("embedding of 27 unseen intents", "recall at 1", "NMI", "utilization", "time to fit")
    return table(head, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), "\n")
    sets = {
        "digits with a long tail": digits,
        "yeast_mc": lambda seed: yeast(args.data, seed),
        "banking77, unions": lambda seed: banking_unions(args.data, seed),
    }
    print(classification(sets, args.seeds), "\n")
    print(unseen_classes(args.data, args.seeds))


if __name__ == "__main__":
    main()
