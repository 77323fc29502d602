"""Real sets of several labels for the scripts beside this one."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import fix_threads, table

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.metrics import average_precision_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

__all__ = ["mean_precision", "read", "table"]


def read(folder, name, *, rows=None, seed=0):
    """Rows and labels of training and of test, from a parquet file of the folder; text becomes TF-IDF."""
    frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
    if rows is not None and len(frame) > rows:
        frame = frame.sample(rows, random_state=0)
    labels = [c for c in frame if c.startswith("label_")]
    Y = frame[labels].to_numpy(int)
    train, test = train_test_split(np.arange(len(frame)), test_size=0.3, random_state=seed)
    if "text" in frame:
        vectors = TfidfVectorizer(
            ngram_range=(1, 2), min_df=3, max_features=4000, sublinear_tf=True
        )
        X = vectors.fit(frame["text"].iloc[train]).transform(frame["text"]).astype(np.float32)
    else:
        features = [c for c in frame if not c.startswith(("label_", "meta_"))]
        X = frame[features].to_numpy(np.float32)
        if set(np.unique(X)) > {0.0, 1.0}:
            X = StandardScaler().fit(X[train]).transform(X)
    return X[train], Y[train], X[test], Y[test]


def mean_precision(Y, scores, chosen):
    """Mean average precision over the chosen labels that some test row has, in percent."""
    chosen = chosen & (Y.sum(0) > 0)
    return 100 * np.mean(
        [average_precision_score(Y[:, k], scores[:, k]) for k in np.flatnonzero(chosen)]
    )
