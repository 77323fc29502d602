"""Benchmark of texts with few rows of a rare class: words, a frozen embedding, both.

    python tests/bench/bench_text.py --data FOLDER [--write docs/benchmarks/text.md]
        [--sets NAME ...] [--methods NAME ...] [--seeds 8] [--limit SECONDS] [--again METHOD ...]

FOLDER holds parquet files with columns `text` and `target`. The rare class is the smallest one with at least 150 rows.
A cell is a set, a number of its rows for training (10, 25, 50, 100, beside 1,000 others) and a seed; tests are on the other
rows of the class (at most 400) and 1,500 others, weighed so that the class is as rare as in training. Every fit is one
row of a parquet file beside the page, so that a run that was stopped goes on; the page is made of all rows that are there.
"""

import argparse
import sys
import time
import warnings
from datetime import date
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from harness import machine, table  # noqa: E402
from sklearn.decomposition import TruncatedSVD  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegressionCV  # noqa: E402
from sklearn.metrics import (  # noqa: E402
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
)
from sklearn.model_selection import StratifiedKFold  # noqa: E402
from sklearn.pipeline import make_pipeline, make_union  # noqa: E402

from skimb.neural_network import (  # noqa: E402
    MLPClassifier,
    SubclassContrastiveClassifier,
    TabMClassifier,
)
from skimb.pipeline import TextClassifier  # noqa: E402
from skimb.preprocessing import EmbeddingVectorizer  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)

SETS = (
    "sms_spam", "banking77", "hwu64_intents", "tweeteval_emotion", "hate_offensive_davidson", "reuters_r8",
)  # fmt: skip
POSITIVES = (25, 100, 10, 50)  # in this order, so that a run that was stopped has seen all sets
FEWEST, OTHERS, TEST, TEST_RARE = 150, 1000, 1500, 400
# cells of the methods that are not run everywhere: numbers of positives, seeds
NETS = ("sparse net", "sparse net, its start", "sparse net, all kept")
LESS = {**dict.fromkeys(("TabMClassifier", "contrastive head"), ((25, 100), 1)), **dict.fromkeys(NETS, ((25, 100), 3))}  # fmt: skip
KEY = ["set", "positives", "seed", "method"]
METRICS = {"ap": "AP", "ratio": "log-loss ratio", "balanced_accuracy": "balanced accuracy"}
VECTORS = {}  # of the texts of the set at hand


def remembered(texts):
    """Embeddings made before, so that methods are not charged for them."""
    new = [t for t in texts if t not in VECTORS]
    if new:
        model = EmbeddingVectorizer(batch_size=32).fit(["text"])
        VECTORS.update(zip(new, model.transform(new), strict=True))
    return np.array([VECTORS[t] for t in texts])


# --- methods -----------------------------------------------------------------------------------------


def words():
    return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))


def tuned(features, seed):
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    model = LogisticRegressionCV(
        Cs=np.geomspace(0.3, 1e4, 7), cv=folds, scoring="neg_log_loss", max_iter=500
    )
    return make_pipeline(features, model)


def embedding():
    return EmbeddingVectorizer(remembered)


def dense():
    return make_union(make_pipeline(words(), TruncatedSVD(64, random_state=0)), embedding())


METHODS = {
    "LR, words": lambda seed: tuned(words(), seed),
    "LR, embedding": lambda seed: tuned(embedding(), seed),
    "LR, both": lambda seed: tuned(make_union(words(), embedding()), seed),
    "TextClassifier": lambda seed: TextClassifier(embedding=remembered, random_state=seed),
    "TabMClassifier": lambda seed: make_pipeline(dense(), TabMClassifier(random_state=seed)),
    "contrastive head": lambda seed: make_pipeline(
        embedding(),
        SubclassContrastiveClassifier(
            (128,), contrast="supervised", max_iter=30, random_state=seed
        ),
    ),
    "sparse net": lambda seed: make_pipeline(words(), MLPClassifier((32,), random_state=seed)),
    "sparse net, its start": lambda seed: make_pipeline(
        words(), MLPClassifier((32,), hidden_scale=0.0, random_state=seed)
    ),
    "sparse net, all kept": lambda seed: make_pipeline(
        words(), MLPClassifier((32,), hidden_scale=1.0, max_iter=50, random_state=seed)
    ),
}
RIVALS = ("LR, words", "LR, embedding", "LR, both")


# --- rows ------------------------------------------------------------------------------------------


def load(path):
    """Texts, and 1 for the rare class."""
    frame = pd.read_parquet(path, columns=["text", "target"])
    counts = frame["target"].value_counts()
    rare = counts[counts >= FEWEST].index[-1]
    return frame["text"].fillna("").to_numpy(object), (frame["target"] == rare).to_numpy().astype(
        int
    )


def cell(y, positives, seed):
    """Rows for training, rows for tests and weights of the latter."""
    rng = np.random.default_rng(seed)
    rare, other = (rng.permutation(np.flatnonzero(y == k)) for k in (1, 0))
    train = np.r_[rare[:positives], other[:OTHERS]]
    test = np.r_[rare[positives:][:TEST_RARE], other[OTHERS:][:TEST]]
    share = positives / len(train)
    truth = y[test] == 1
    weight = np.where(truth, share / truth.sum(), (1 - share) / (~truth).sum())
    return train, test, weight * len(test)


def fitted(name, X, y, train, test, weight, seed):
    """Metrics and CPU seconds of one method in one cell."""
    start = time.process_time()
    model = METHODS[name](seed).fit(X[train], y[train])
    seconds = time.process_time() - start
    p, truth = np.clip(model.predict_proba(X[test])[:, 1], 1e-12, 1 - 1e-12), y[test]
    share = y[train].mean()
    constant = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    net = model[-1] if hasattr(model, "steps") else None
    return {
        "ap": average_precision_score(truth, p, sample_weight=weight),
        "ratio": log_loss(truth, p, sample_weight=weight) / constant,
        "balanced_accuracy": balanced_accuracy_score(truth, p > share, sample_weight=weight),
        "seconds": seconds,
        "hidden_scale": getattr(net, "hidden_scale_", None),
    }


def wanted(method, positives, seed):
    """Whether the cell is one of the method's."""
    numbers, seeds = LESS.get(method, (POSITIVES, np.inf))
    return positives in numbers and seed < seeds


def run(args, rows, save):
    """All cells that are missing."""
    begun, done = time.monotonic(), {tuple(row[k] for k in KEY) for row in rows}
    loaded = None
    for positives, name, seed in product(POSITIVES, args.sets, range(args.seeds)):
        todo = [m for m in args.methods if (name, positives, seed, m) not in done and wanted(m, positives, seed)]  # fmt: skip
        if not todo:
            continue
        if args.limit and time.monotonic() - begun > args.limit:
            return
        if loaded != name:
            (X, y), loaded = load(args.data / f"{name}.parquet"), name
            VECTORS.clear()
        part = cell(y, positives, seed)
        remembered(X[np.r_[part[0], part[1]]])
        for method in todo:
            found = fitted(method, X, y, *part, seed)
            rows.append(
                {"set": name, "positives": positives, "seed": seed, "method": method, **found}
            )
            save()
        print(name, positives, seed, flush=True)


# --- the page -----------------------------------------------------------------------------------------


def compared(frame, rival, metric, by, method="TextClassifier"):
    """Mean gain of a method over a rival and its standard error over seeds, larger is better."""
    wide = frame.pivot_table(index=["set", "positives", "seed"], columns="method", values=metric)
    gain = (wide[method] - wide[rival]).dropna() * (-1 if metric == "ratio" else 1)
    seeds = gain.groupby([*by, "seed"]).mean().groupby(by)
    return pd.DataFrame({"gain": seeds.mean(), "error": seeds.sem()})


def counted(found, sign):
    """How often the gain has the sign by more than one standard error, and of these by more than two."""
    errors = sign * found["gain"] / found["error"]
    return f"{(errors > 1).sum()} ({(errors > 2).sum()}) of {len(found)}"


def verdicts(frame):
    """For each rival: sets and cells above and below it by more than the standard error."""
    rows = []
    for rival in sorted(set(RIVALS) & set(frame["method"])):
        for metric in ("ap", "ratio"):
            row = [rival, METRICS[metric]]
            for by in (["set"], ["set", "positives"]):
                found = compared(frame, rival, metric, by)
                row += [counted(found, 1), counted(found, -1)]
            found = compared(frame, rival, metric, ["set"])
            worst = found["gain"].idxmin()
            row.append(f"{worst}: {found['gain'][worst]:+.3f} ± {found['error'][worst]:.3f}")
            rows.append(row)
    return table(
        ["rival", "by", "sets above", "sets below", "cells above", "cells below", "worst set"], rows
    )


def whole(frame, args):
    """Whether the run has ended."""
    done = len(frame[["set", "positives", "seed"]].drop_duplicates())
    total = len(args.sets) * len(POSITIVES) * args.seeds
    if done >= total:
        return f"All {total} cells."
    return f"The run has not ended: {done} of {total} cells; comparisons are of the cells that both methods have."


def number(value):
    """Three digits."""
    return f"{value:.3f}"


def sparse_nets(frame):
    """The section on nets of words: beside the linear model that they start from, and beside tuned logistic regression."""
    rows = []
    for method, rival in (
        ("sparse net", "sparse net, its start"),
        ("sparse net, all kept", "sparse net, its start"),
        ("sparse net", "LR, words"),
    ):
        for metric in ("ap", "ratio"):
            found = compared(frame, rival, metric, ["set", "positives"], method)
            worst = found["gain"].idxmin()
            rows.append(
                [method, rival, METRICS[metric], counted(found, 1), counted(found, -1),
                 f"{found['gain'].mean():+.3f}", f"{worst[0]}, {worst[1]}: {found['gain'][worst]:+.3f} ± {found['error'][worst]:.3f}"]
            )  # fmt: skip
    kept = frame.loc[frame["method"] == "sparse net", "hidden_scale"]
    return [
        "## The sparse net, the linear model that it starts from, and logistic regression on the same words",
        table(
            ["net", "rival", "by", "cells above", "cells below", "mean gain", "worst cell"], rows
        ),
        f"The hidden path was dropped in {(kept == 0).sum()} of {len(kept)} fits.",
    ]


def means(frame, methods):
    """A table of each metric, and of seconds."""
    tables = []
    for metric, title in {**METRICS, "seconds": "CPU s"}.items():
        wide = frame.pivot_table(index="positives", columns="method", values=metric)[methods]
        rows = [[k, *map(number, wide.loc[k])] for k in wide.index]
        tables.append(table([f"{title}, positives", *methods], rows))
    return tables


def page(frame, args):
    """The whole page."""
    methods = [m for m in METHODS if m in set(frame["method"])]
    everywhere = [m for m in methods if m not in LESS]
    parts = [
        "# Few rare texts",
        f"{date.today()}, {machine()} `make bench-text DATA=folder` repeats it.",
        f"Texts of a folder; the rare class of a set is its smallest one with at least {FEWEST} rows. Training sees 10, 25, 50 or 100 texts of it and "
        f"{OTHERS:,} others, {frame['seed'].max() + 1} seeds; tests are on its remaining texts (at most {TEST_RARE}) and {TEST:,} others, weighed so that "
        "it is as rare as in training. The log loss is given as a share of that of a constant; balanced accuracy is that of the threshold at "
        "the share of the rare class in training; CPU seconds are those of fit without the embeddings, which take about 0.1 ms per short text. "
        "The embedding is that of wordllama's wheel (256 dimensions). \"LR\" is LogisticRegressionCV, C of seven by log loss in four stratified folds, "
        "on tf-idf of words and pairs of words, on the embedding, on both side by side. TabMClassifier sees 64 directions of the tf-idf "
        "features (TruncatedSVD) and the embedding, at its defaults. The contrastive head is SubclassContrastiveClassifier((128,), contrast=\"supervised\", "
        "max_iter=30) on the embedding. The sparse net is MLPClassifier((32,)) on tf-idf, at its defaults and with hidden_scale=1 for 50 epochs; its start is that with "
        "hidden_scale=0. TabMClassifier and the contrastive head see the first seed of 25 and 100 texts, sparse nets three seeds of these.",
        whole(frame, args),
        "## TextClassifier and tuned logistic regression",
        "Above and below mean: by more than the standard error over seeds, in brackets by more than twice that. Cells are pairs of a set and a number of positives.",
        verdicts(frame),
        "## Means over sets",
        *means(frame[frame["method"].isin(everywhere)], everywhere),
    ]  # fmt: skip
    if slower := [m for m in methods if m not in everywhere]:
        seeds = frame.groupby(["set", "positives", "seed"])["method"].nunique()
        common = frame.set_index(["set", "positives", "seed"]).loc[
            seeds[seeds == len(methods)].index
        ]
        parts += [
            "## Means over the cells of all methods",
            f"{(seeds == len(methods)).sum()} cells, among them of {', '.join(slower)}.",
            *means(common.reset_index(), methods),
        ]
    if set(NETS) <= set(methods):
        parts += sparse_nets(frame)
    for metric in ("ap", "ratio"):
        wide = frame.pivot_table(index=["set", "positives"], columns="method", values=metric)
        rows = [
            [*index, *map(number, row)]
            for index, row in zip(wide.index, wide[everywhere].to_numpy(), strict=True)
        ]
        parts += [f"## {METRICS[metric]} by set", table(["set", "positives", *everywhere], rows)]
    return "\n\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of parquet files")
    parser.add_argument("--write", type=Path, default=Path("docs/benchmarks/text.md"))
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD", help=", ".join(METHODS))  # fmt: skip
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--limit", type=float, help="seconds after which no further cell begins")
    parser.add_argument("--again", nargs="+", choices=METHODS, default=[], metavar="METHOD", help="methods whose results are thrown away first")  # fmt: skip
    args = parser.parse_args()
    path = args.write.with_suffix(".parquet")
    rows = pd.read_parquet(path).to_dict("records") if path.exists() else []
    rows = [row for row in rows if row["method"] not in args.again]
    run(args, rows, lambda: pd.DataFrame(rows).to_parquet(path, index=False))
    if rows:
        args.write.write_text(page(pd.DataFrame(rows), args))
        print(f"wrote {args.write}")


if __name__ == "__main__":
    main()
