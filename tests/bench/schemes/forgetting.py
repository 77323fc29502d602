"""Nets that forget rows: negative preference optimisation and its rivals. Prints markdown tables.

Run as ``python tests/bench/schemes/forgetting.py --data FOLDER``: mislabelled rows are learned and then forgotten,
on digits and on the first 20 intents of ``banking77.parquet`` (TF-IDF, 100 singular vectors). Without a folder
only the digits.
"""

import argparse
import copy
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import fix_threads, machine, table

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from skimb.neural_network import MLPClassifier  # noqa: E402
from skimb.streaming import AnalyticClassifier  # noqa: E402

EPOCHS = 25


def sets(folder):
    """Name, rows and labels."""
    X, y = load_digits(return_X_y=True)
    yield "digits", X / 16, y
    if folder is not None:
        text = pd.read_parquet(folder / "banking77.parquet")
        text = text[text["target"] < 20]
        steps = TfidfVectorizer(sublinear_tf=True, min_df=2), TruncatedSVD(100, random_state=0)
        X = make_pipeline(*steps, StandardScaler()).fit_transform(text["text"])
        yield "banking77, 20 intents", X, text["target"].to_numpy()


def ways(X, y, wrong, gone, fresh):
    """Each way to forget the rows `gone` of a net, as a function from the net to the one afterwards."""
    forget, keep = (X[gone], wrong[gone]), (X[~gone], y[~gone])
    kw = {"max_iter": EPOCHS}
    return {
        "as it was": lambda net: net,
        "fitted anew on the rest": lambda net: clone(net).fit(*keep),
        "gradient ascent": lambda net: net.forget(*forget, method="ascent", **kw),
        "gradient ascent, rows to keep": lambda net: net.forget(
            *forget, method="ascent", retain=keep, **kw
        ),
        "NPO": lambda net: net.forget(*forget, **kw),
        "NPO, rows to keep": lambda net: net.forget(*forget, retain=keep, **kw),
        "NPO, rows to keep, stopped at fresh rows": lambda net: net.forget(
            *forget, retain=keep, reference=fresh, **kw
        ),
        "further training on the rows to keep": lambda net: net.forget(
            *forget, method="retain", retain=keep, **kw
        ),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), "\n")
    for name, X, y in sets(args.data):
        for share in (0.1, 0.5):
            found = {}
            for seed in range(args.seeds):
                rng = np.random.default_rng(seed)
                A, B, a, b = train_test_split(X, y, random_state=seed, stratify=y, test_size=0.4)
                gone = rng.permutation(len(a)) < share * len(a)
                n = len(np.unique(y))
                wrong = np.where(gone, (a + rng.integers(1, n, len(a))) % n, a)
                fresh = B[::4], (b[::4] + rng.integers(1, n, len(b[::4]))) % n
                test = np.arange(len(b)) % 4 > 0
                model = MLPClassifier((128,), max_iter=100, tol=0, random_state=seed).fit(A, wrong)
                exact = AnalyticClassifier(random_state=seed).fit(A, wrong)
                for way, change in ways(A, a, wrong, gone, fresh).items():
                    start = time.process_time()
                    net = change(copy.deepcopy(model))
                    seconds = time.process_time() - start
                    p = net.predict_proba(A[gone])[np.arange(gone.sum()), wrong[gone]]
                    found.setdefault(way, []).append((
                        net.score(B[test], b[test]), net.score(A[gone], wrong[gone]),
                        -np.log(p.clip(1e-12)).mean(), seconds,
                    ))  # fmt: skip
                start = time.process_time()
                exact.forget(A[gone], wrong[gone]).predict(B)
                found.setdefault("AnalyticClassifier.forget", []).append((
                    exact.score(B[test], b[test]), exact.score(A[gone], wrong[gone]), np.nan,
                    time.process_time() - start,
                ))  # fmt: skip
            print(f"## {name}: {share:.0%} of {len(a)} training rows mislabelled, then forgotten\n")
            base = np.mean(found["fitted anew on the rest"], 0)[3]
            rows = [
                (k, f"{m[0]:.3f}", f"{m[1]:.3f}", f"{m[2]:.1f}", f"{m[3] / base:.2f}")
                for k, m in ((k, np.mean(v, 0)) for k, v in found.items())
            ]
            head = (
                "way",
                "accuracy",
                "wrong labels repeated",
                "their log-loss",
                "time of a new fit",
            )
            print(table(head, rows), "\n", flush=True)


if __name__ == "__main__":
    main()
