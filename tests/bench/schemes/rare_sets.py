"""Sets with long tails for the scripts of schemes, and the table that compares models on them."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from harness import table  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.metrics import recall_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler, normalize  # noqa: E402


def digits(seed):
    """Seven tenths of the digits with 120 to 6 rows per class, tested on the others as they are."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    sizes = 120 * 20 ** (-np.arange(10) / 9)
    rows = np.concatenate([np.flatnonzero(y == k)[: round(sizes[k])] for k in range(10)])
    return (X[rows] / 16.0).astype(np.float32), y[rows], (X_test / 16.0).astype(np.float32), y_test


def yeast(folder, seed):
    """Ten classes of 463 to 5 proteins."""
    frame = pd.read_parquet(folder / "yeast_mc.parquet")
    X = frame.drop(columns="target")
    X = pd.get_dummies(X[[c for c in X if not c.startswith("meta_")]]).to_numpy(np.float32)
    y = frame["target"].to_numpy()
    train, test = train_test_split(np.arange(len(y)), test_size=0.4, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), y[train], scaler.transform(X[test]), y[test]


def embedded(train, test):
    """Texts as 200 components of their words, as of a frozen encoder."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    svd = TruncatedSVD(200, random_state=0)
    a = normalize(svd.fit_transform(words.fit_transform(train)))
    b = normalize(svd.transform(words.transform(test)))
    scaler = StandardScaler().fit(a)
    return scaler.transform(a).astype(np.float32), scaler.transform(b).astype(np.float32)


class Banking:
    """The intents of banking77 by their official parts.

    Parameters
    ----------
    folder : Path
        Holds banking77.parquet.
    """

    def __init__(self, folder):
        self.frame = pd.read_parquet(folder / "banking77.parquet")
        self.text, self.y = self.frame["text"], self.frame["target"].to_numpy()
        self.train = self.frame["meta_split"].astype(str).to_numpy() == "train"

    def picked(self, intents, sizes, rng):
        """Some training rows of each intent."""
        parts = []
        for k, size in zip(intents, sizes, strict=True):
            own = np.flatnonzero((self.y == k) & self.train)
            parts.append(rng.choice(own, min(size, len(own)), replace=False))
        return np.concatenate(parts)

    def unions(self, seed):
        """Eight common classes that are unions of five intents each, and 37 rare intents: made for subclasses."""
        rng = np.random.default_rng(seed)
        intents = rng.permutation(77)
        union = np.empty(77, int)
        union[intents] = [i // 5 if i < 40 else i - 32 for i in range(77)]
        train = self.picked(intents, [48 if i < 40 else 10 for i in range(77)], rng)
        return self._parts(train, ~self.train, union[self.y])

    def long_tailed(self, seed):
        """All intents, with 100 to 3 rows."""
        rng = np.random.default_rng(seed)
        sizes = np.round(100 * 30 ** (-np.arange(77) / 76)).astype(int)
        return self._parts(self.picked(rng.permutation(77), sizes, rng), ~self.train, self.y)

    def unseen(self, seed, n_seen=50, n_train=800):
        """Rows of some intents to train on, rows of the others to test on."""
        rng = np.random.default_rng(seed)
        seen = np.isin(self.y, rng.permutation(77)[:n_seen])
        train = rng.permutation(np.flatnonzero(seen & self.train))[:n_train]
        return self._parts(train, ~seen & ~self.train, self.y)

    def _parts(self, train, test, y):
        test = np.flatnonzero(test)
        a, b = embedded(self.text.iloc[train], self.text.iloc[test])
        return a, y[train], b, y[test]


def measured(make, models, seed):
    """Mean recall, those of the thirds of classes by size, and seconds to fit, by model.

    Parameters
    ----------
    make : callable
        Gives X, y, X_test, y_test of a seed.
    models : dict
        Unfitted models by name.
    seed : int
        The seed.
    """
    X, y, X_test, y_test = make(seed)
    classes, counts = np.unique(y, return_counts=True)
    thirds = np.array_split(np.argsort(-counts, kind="stable"), 3)
    found = {}
    for label, model in models.items():
        start = time.process_time()
        model.fit(X, y)
        seconds = time.process_time() - start
        recalls = recall_score(y_test, model.predict(X_test), average=None, labels=classes)
        found[label] = [recalls.mean(), *(recalls[third].mean() for third in thirds), seconds]
    return found


def shown(name, runs, plain):
    """A table of the means over runs, with times relative to the model `plain`."""
    base, rows = np.mean([run[plain][-1] for run in runs]), []
    for label in runs[0]:
        each = [run[label] for run in runs]
        whole, many, medium, few, seconds = np.mean(each, 0)
        spread = np.std([e[0] for e in each])
        recalls = [f"{100 * r:.1f}" for r in (many, medium, few)]
        rows.append((
            label, f"{100 * whole:.1f} ± {100 * spread:.1f}", *recalls, f"{seconds / base:.1f}x"
        ))  # fmt: skip
    head = (name, "mean recall", "common third", "middle", "rarest third", "time to fit")
    return table(head, rows)


def compare(name, make, contestants, seeds, plain):
    """Print the table of some seeds."""
    runs = [measured(make, contestants(seed), seed) for seed in range(seeds)]
    print(shown(name, runs, plain), "\n", flush=True)
