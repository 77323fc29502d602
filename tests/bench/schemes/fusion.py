"""Blocks of columns against one net on all of them: ``python fusion.py --data FOLDER``."""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import fix_threads, table

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.metrics import balanced_accuracy_score, log_loss  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.neural_network import FusionClassifier, NeuralNetClassifier  # noqa: E402


def text_and_table(folder, name, seed, rows=4000):
    """Words of a text in 60 dimensions, and what can be counted in it: length, capitals, signs, digits."""
    frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
    frame = frame.sample(min(rows, len(frame)), random_state=seed)
    text, y = frame["text"], frame["target"].to_numpy()
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed)
    words = TfidfVectorizer(min_df=3, sublinear_tf=True).fit(text.iloc[train])
    vectors = words.transform(text)
    block = TruncatedSVD(60, random_state=0).fit(vectors[train]).transform(vectors)
    signs = ["!", "?", "#", "@", ".", ",", "http", '"', "&", "*"]
    counts = [text.str.count(f"[{s}]" if len(s) == 1 else s) for s in signs]
    counts += [
        text.str.len(),
        text.str.count("[A-Z]"),
        text.str.count("[0-9]"),
        text.str.count(" "),
    ]
    numbers = np.log1p(np.stack([c.to_numpy(float) for c in counts], 1))
    X = np.concatenate([numbers, block], 1).astype(np.float32)
    X = StandardScaler().fit(X[train]).transform(X)
    return (
        X[train],
        y[train],
        X[test],
        y[test],
        {"table": slice(0, numbers.shape[1]), "text": "rest"},
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="folder of parquet files")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in ("hate_offensive_davidson", "sms_spam"):
        found, seconds = {}, {}
        for seed in range(args.seeds):
            X, y, X_test, y_test, blocks = text_and_table(args.data, name, seed)
            kw = {
                "max_iter": args.epochs,
                "tol": 0,
                "random_state": seed,
                "learning_rate_init": 3e-3,
            }
            fusion = FusionClassifier(blocks, (32,), **kw)
            models = {
                "one net": NeuralNetClassifier(**kw),
                "blocks": clone(fusion).set_params(block_weight=0.0, reweight="none"),
                "blocks, single losses": clone(fusion).set_params(reweight="none"),
                "entropy": clone(fusion).set_params(reweight="entropy"),
                "variance": fusion,
            }
            NeuralNetClassifier(max_iter=1).fit(X, y)  # what is loaded once costs nobody
            for label, model in models.items():
                start = time.process_time()
                model.fit(X, y)
                seconds.setdefault(label, []).append(time.process_time() - start)
                p = model.predict_proba(X_test)
                answers = {label: p}
                if label == "variance":
                    answers |= {
                        f"{k} alone": v for k, v in model.predict_proba_by_block(X_test).items()
                    }
                for kind, q in answers.items():
                    predicted = model.classes_[q.argmax(1)]
                    pair = balanced_accuracy_score(y_test, predicted), log_loss(y_test, q)
                    found.setdefault(kind, []).append(pair)
        base = np.median(seconds["one net"])
        for label, values in found.items():
            a, b = np.mean(values, 0)
            cost = f"{np.median(seconds[label]) / base:.1f}" if label in seconds else ""
            rows.append([name, label, f"{100 * a:.1f}", f"{b:.3f}", cost])
    print(table(["set", "method", "balanced accuracy", "log loss", "cost"], rows))


if __name__ == "__main__":
    main()
