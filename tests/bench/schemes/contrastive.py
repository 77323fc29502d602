"""What embeddings trained by contrasts are worth, beside logit adjustment, and mixtures on classes never seen.

    python tests/bench/schemes/contrastive.py --data FOLDER [--seeds 3] [--only NAME ...]

FOLDER holds yeast_mc.parquet and banking77.parquet. Nothing is tuned: all nets have two hidden layers of 128, the
contrastive ones 60 epochs (40 on classes never seen), plain ones their defaults.
"""

import argparse
import time
import warnings
from pathlib import Path

from rare_sets import Banking, compare, digits, yeast  # isort: skip, fixes threads

import numpy as np
from harness import machine, table
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.preprocessing import normalize

from skimb.linear_model import LinearClassifier
from skimb.losses import LogitAdjusted
from skimb.metrics import utilization
from skimb.neural_network import MLPClassifier, SubclassContrastiveClassifier
from skimb.training import MetricMixup

SIZES = (128, 128)
PLAIN = "MLPClassifier, logit-adjusted"


def contestants(seed):
    kw = {"max_iter": 60, "random_state": seed}
    return {
        "LinearClassifier, logit-adjusted": LinearClassifier(LogitAdjusted(), alpha=1e-3),
        "MLPClassifier, cross-entropy": MLPClassifier(SIZES, random_state=seed),
        PLAIN: MLPClassifier(SIZES, loss=LogitAdjusted(), random_state=seed),
        "contrast='supervised'": SubclassContrastiveClassifier(SIZES, contrast="supervised", **kw),
        "contrast='balanced'": SubclassContrastiveClassifier(SIZES, contrast="balanced", **kw),
        "contrast='subclass'": SubclassContrastiveClassifier(SIZES, **kw),
    }


def retrieval(Z, y):
    """Share of rows whose nearest other row by cosine is of their class, and agreement of clusters with classes."""
    U = normalize(Z)
    near = U @ U.T
    np.fill_diagonal(near, -np.inf)
    clusters = KMeans(len(np.unique(y)), n_init=2, random_state=0).fit_predict(U)
    return (y[near.argmax(1)] == y).mean(), normalized_mutual_info_score(y, clusters)


def unseen_classes(banking, seeds):
    found = {}
    for seed in range(seeds):
        a, y, b, held = banking.unseen(seed)
        found.setdefault("the rows themselves", []).append((*retrieval(b, held), np.nan, 0.0))
        for level in (None, "input", "hidden", "embedding"):
            mix = None if level is None else MetricMixup(level)
            kw = {"contrast": "supervised", "max_iter": 40, "random_state": seed}
            start = time.process_time()
            model = SubclassContrastiveClassifier(SIZES, mix=mix, **kw).fit(a, y)
            seconds = time.process_time() - start
            Z, references = (normalize(model.transform(rows)) for rows in (b, a))
            label = "no mixtures" if level is None else f"mixtures, level '{level}'"
            each = (*retrieval(Z, held), utilization(Z, references), seconds)
            found.setdefault(label, []).append(each)
    plain, rows = np.mean([s for *_, s in found["no mixtures"]]), []
    for label, each in found.items():
        first, agreement, used, seconds = np.mean(each, 0)
        spread = np.std([e[0] for e in each])
        rows.append((
            label, f"{100 * first:.1f} ± {100 * spread:.1f}", f"{agreement:.3f}",
            "" if np.isnan(used) else f"{used:.3f}", f"{seconds / plain:.2f}x" if seconds else "",
        ))  # fmt: skip
    head = ("embedding of 27 unseen intents", "recall at 1", "NMI", "utilization", "time to fit")
    print(table(head, rows), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["digits", "yeast", "unions", "unseen"])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), "\n", flush=True)
    sets = {
        "digits": ("digits with a long tail", digits),
        "yeast": ("yeast_mc", lambda seed: yeast(args.data, seed)),
        "unions": ("banking77, unions of intents", lambda seed: Banking(args.data).unions(seed)),
    }
    for name, (title, make) in sets.items():
        if name in args.only:
            compare(title, make, contestants, args.seeds, PLAIN)
    if "unseen" in args.only:
        unseen_classes(Banking(args.data), args.seeds)


if __name__ == "__main__":
    main()
