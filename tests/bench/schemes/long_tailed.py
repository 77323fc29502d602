"""Two long-tailed sets of many classes for the scripts of this folder: a table and a text."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import fix_threads, machine, table

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler  # noqa: E402

__all__ = ["SETS", "machine", "recalls", "table"]


def thinned(y, rng, most, ratio):
    """Numbers of rows whose classes fall exponentially from `most` by the factor `ratio`."""
    classes = rng.permutation(np.unique(y))
    sizes = most * ratio ** -(np.arange(len(classes)) / (len(classes) - 1))
    kept = [
        rng.permutation(np.flatnonzero(y == c))[: round(n)]
        for c, n in zip(classes, sizes, strict=True)
    ]
    return rng.permutation(np.concatenate(kept))


def krvsk(folder, seed):
    """Chess endings: 6 categories, 18 classes whose counts differ by 168 as they are; 6,000 rows to train on."""
    frame = pd.read_parquet(Path(folder) / "krvsk_mc.parquet")
    y = frame.pop("target").to_numpy()
    X = OneHotEncoder(sparse_output=False).fit_transform(frame.astype(str)).astype("float32")
    return train_test_split(X, y, train_size=6000, stratify=y, random_state=seed)


def banking77(folder, seed):
    """Questions of customers: 200 numbers, 77 intents made long-tailed, from 100 rows by a factor of 30."""
    frame = pd.read_parquet(Path(folder) / "banking77.parquet")
    train, test = (frame[frame.meta_split == part] for part in ("train", "test"))
    rows = thinned(train.target.to_numpy(), np.random.default_rng(seed), 100, 30)
    train = train.iloc[rows]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    reduce = make_pipeline(words, TruncatedSVD(200, random_state=0), Normalizer(), StandardScaler())
    X = reduce.fit_transform(train.text).astype("float32")
    Xt = reduce.transform(test.text).astype("float32")
    return X, Xt, train.target.to_numpy(), test.target.to_numpy()


SETS = {"krvsk": krvsk, "banking77-LT": banking77}


def recalls(y_train, y_test, predicted):
    """Mean recall, in per cent, of all classes and of the many, medium and few thirds by training rows."""
    classes, counts = np.unique(y_train, return_counts=True)
    recall = np.array([np.mean(predicted[y_test == c] == c) for c in classes])
    thirds = np.array_split(recall[np.argsort(-counts, kind="stable")], 3)
    return 100.0 * np.array([recall.mean(), *(part.mean() for part in thirds)])
