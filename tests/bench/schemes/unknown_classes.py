"""Self-training where unlabelled rows hold classes that no label names.

    python tests/bench/schemes/unknown_classes.py --data FOLDER [--seeds 3]

Intents of banking77 (TF-IDF, 100 singular vectors, centred): 40 % of them are unknown and have no labels, of the others
an eighth of the rows is labelled. Scored on test rows of known intents.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import fix_threads, table

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import balanced_accuracy_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.semi_supervised import ConfidenceWeightedSelfTraining  # noqa: E402


def trained(**kw):
    return ConfidenceWeightedSelfTraining(LogisticRegression(max_iter=60), max_iter=5, **kw)


METHODS = {
    "labelled only": lambda: trained(threshold=1.0),
    "0.5, unweighted": lambda: trained(threshold=0.5, gamma=0.0),
    "class means, confidence": trained,
    "class means, margin": lambda: trained(weighting="margin"),
    "class means, margin of means": lambda: trained(weighting="margin", reject_unknown=True),
    "the same, weight 2": lambda: trained(
        weighting="margin", reject_unknown=True, unlabeled_weight=2.0
    ),
}


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    frame = pd.read_parquet(args.data / "banking77.parquet")
    text, y = frame["text"].to_numpy(object), np.unique(frame["target"], return_inverse=True)[1]
    names = [*METHODS, "class means, without unknown rows"]
    found = {name: [] for name in names}
    for seed in range(args.seeds):
        train, test = train_test_split(
            np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed
        )
        known = np.random.default_rng(seed).permutation(y.max() + 1)[: round(0.6 * (y.max() + 1))]
        encoder = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, min_df=2), TruncatedSVD(100, random_state=0), StandardScaler()
        )  # fmt: skip
        A, B = encoder.fit_transform(text[train]), encoder.transform(text[test])
        a, b = y[train], y[test]
        B, b = B[np.isin(b, known)], b[np.isin(b, known)]
        own = np.flatnonzero(np.isin(a, known))
        labelled, _ = train_test_split(own, train_size=0.125, stratify=a[own], random_state=seed)
        partly = np.full(len(a), -1)
        partly[labelled] = a[labelled]
        for name in names:
            rows = np.isin(a, known) if name == names[-1] else np.ones(len(a), bool)
            start = time.process_time()
            model = METHODS.get(name, trained)().fit(A[rows], partly[rows])
            seconds = time.process_time() - start
            kept = (model.transduction_ >= 0) & (partly[rows] < 0)
            strange = ~np.isin(a[rows], known)
            right = (model.transduction_ == a[rows])[kept & ~strange]
            found[name].append((
                balanced_accuracy_score(b, model.predict(B)), kept.sum(),
                strange[kept].mean() if kept.any() else np.nan,
                right.mean() if len(right) else np.nan, seconds,
            ))  # fmt: skip
    once = np.mean(found["labelled only"], 0)[-1]
    rows = []
    for name, each in found.items():
        m, s = np.mean(each, 0), np.std(each, 0)
        rows.append([name, f"{m[0]:.3f} ± {s[0]:.3f}", f"{m[1]:.0f}", f"{m[2]:.2f}", f"{m[3]:.2f}", f"{m[4] / once:.1f}"])  # fmt: skip
    header = ["self-training", "balanced accuracy", "rows kept", "of them unknown", "known ones right", "cost"]  # fmt: skip
    print(table(header, rows))


if __name__ == "__main__":
    main()
