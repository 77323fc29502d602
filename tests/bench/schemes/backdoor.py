"""Which imbalance logit adjustment mends, and what pooled views gain over pooled seeds.

    python tests/bench/schemes/backdoor.py --data FOLDER

FOLDER holds banking77.parquet (text, target, meta_split). The training rows are long-tailed; of the texts of one third of
the intents 70 % of the words are dropped, of another third 35 %, as if the features knew these intents less. Prints the
report of both imbalances for plain and adjusted classifiers, one view or two, means over seeds.
"""

import argparse
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import Normalizer, StandardScaler  # noqa: E402

from skimb.neural_network import MLPClassifier  # noqa: E402
from skimb.posthoc import BackdoorAdjuster, imbalance_report  # noqa: E402


def rows(folder, seed):
    """Training and test texts, training counts, and how many words of each intent are left."""
    frame = pd.read_parquet(folder / "banking77.parquet")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(sorted(frame.target.unique()))
    counts = np.geomspace(100, 100 / 30, len(labels)).round().astype(int)
    left = np.array([0.3, 0.65, 1.0])[rng.permutation(len(labels)) % 3]
    share = dict(zip(labels, left, strict=True))
    words = [
        " ".join(w for w in text.split() if rng.random() < share[target])
        for text, target in zip(frame.text, frame.target, strict=True)
    ]
    frame = frame.assign(text=words)
    train = frame[frame.meta_split == "train"].sample(frac=1.0, random_state=seed)
    test = frame[frame.meta_split == "test"]
    kept = [train[train.target == k].head(n) for k, n in zip(labels, counts, strict=True)]
    return pd.concat(kept), test, dict(zip(labels, counts, strict=True)), share


def view(kind, seed):
    text = TfidfVectorizer(
        ngram_range=(1, 2) if kind == "word" else (2, 4), analyzer=kind, sublinear_tf=True
    )
    net = MLPClassifier(
        (128,), solver="adamw", alpha=0.01, learning_rate="cosine", max_iter=40, tol=0, n_iter_no_change=np.inf,
        random_state=seed,
    )  # fmt: skip
    return make_pipeline(
        text, TruncatedSVD(100, random_state=0), Normalizer(), StandardScaler(), net
    )


def run(folder, seeds):
    found = {}
    for seed in range(seeds):
        train, test, counts, share = rows(folder, seed)
        texts, labels = train.text.tolist(), train.target.to_numpy()
        views = ("word", seed), ("char_wb", seed), ("char_wb", seed + 100)
        word, char, other = (FrozenEstimator(view(*how).fit(texts, labels)) for how in views)
        models = {
            "words": BackdoorAdjuster([("a", word)], tau=0.0),
            "words, adjusted": BackdoorAdjuster([("a", word)]),
            "characters, adjusted": BackdoorAdjuster([("a", char)]),
            "words and characters, adjusted": BackdoorAdjuster([("a", word), ("b", char)]),
            "two seeds of characters, adjusted": BackdoorAdjuster([("a", char), ("b", other)]),
        }
        for name, model in models.items():
            decided = model.fit(train.text.tolist(), train.target.to_numpy()).predict(
                test.text.tolist()
            )
            report = imbalance_report(
                test.target.to_numpy(), decided, class_counts=counts, source_prior=share
            )
            effects = report.source_effect, report.data_effect
            balanced = np.nansum(report.recall * report.n_classes) / report.n_classes.sum()
            sides = [np.nanmean(report.recall, axis=1), np.nanmean(report.recall, axis=0)]
            found.setdefault(name, []).append(100 * np.r_[balanced, sides[0], sides[1], effects])
    head = ["", "balanced accuracy", "source few", "mid", "many", "rows few", "mid", "many", "effect of the source", "of the rows"]  # fmt: skip
    body = [[name, *(f"{v:.1f}" for v in np.mean(values, 0))] for name, values in found.items()]
    print(f"\nBanking77, long-tailed, words dropped by intent, {seeds} seeds\n")
    print(harness.table(head, body))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(harness.machine())
    run(given.data, given.seeds)
