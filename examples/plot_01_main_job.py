"""
A rare class in a table: the main job on real data
==================================================

``TabMClassifier`` on the raw table, with categories and missing values as they are, beside logistic regression,
boosted trees, and a small net behind a pipeline: with plain and class-weighted cross-entropy, a tuned threshold,
other losses, and a search over losses and their parameters. Every estimator sees the same splits; the figures
are means over them.

Read the table with these questions: what ranks best (AP)? Does a special loss decide better (F1, balanced
accuracy)? And what did it cost the probabilities (Brier score, mean predicted risk over prevalence, which should
be near 1)?
"""

import importlib.util
import os

# one thread each: small fits lose more to waiting for each other than they win
os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg", force=False)
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, TunedThresholdClassifierCV
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tqdm import tqdm

from skimb.datasets import load_breast_cancer_rare, load_digits_long_tailed
from skimb.linear_model import LinearClassifier
from skimb.losses import AnyLoss, Asymmetric, CrossEntropy, Focal, LogitAdjusted, VectorScaling
from skimb.neural_network import MLPClassifier, TabMClassifier

FAST = os.environ.get("SKIMB_FAST") == "1"
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Data
# ----
# Two imbalanced cuts of sets that ship with scikit-learn. Where a folder of further sets is at hand
# (``SKIMB_DATA``, or ``../shared/data`` beside the checkout), customers who leave a telephone company (a table with
# categories) and SMS spam join.


def extra_folder():
    here = Path(globals().get("__file__", "examples/plot_01_main_job.py")).resolve().parent
    for folder in (os.environ.get("SKIMB_DATA"), here.parent.parent / "shared" / "data"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


def datasets():
    found = {}
    for name, (X, y) in {
        "breast cancer, 357 + 36": load_breast_cancer_rare(),
        "digits, long tail": load_digits_long_tailed(),
    }.items():
        found[name] = (pd.DataFrame(X).add_prefix("x"), y, "table")
    folder = extra_folder()
    if FAST or folder is None or importlib.util.find_spec("pyarrow") is None:
        return found
    table = pd.read_parquet(folder / "churn_telecom.parquet")
    X = table.drop(columns=[c for c in table if c == "target" or c.startswith("meta_")])
    found["churn, 1:6"] = (X, table["target"].to_numpy(), "table")
    text = pd.read_parquet(folder / "sms_spam.parquet")
    found["SMS spam, 1:6"] = (text["text"], text["target"].to_numpy(), "text")
    return found


# %%
# Candidates
# ----------
# One grid per model; ``loss`` itself is searched, and so are the loss's own parameters.


def net(kind):
    if kind == "text":
        return LinearClassifier(alpha=1e-4)
    return MLPClassifier((32,), max_iter=60, learning_rate_init=5e-3, batch_size=64, random_state=0)


def prepare(kind):
    if kind == "text":
        return TfidfVectorizer(sublinear_tf=True, min_df=2)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        sparse_threshold=0.0,
    )


def loss_grid(step):
    grids = [
        {"loss": [CrossEntropy()]},
        {"loss": [Focal()], "loss__gamma": [0.5, 2.0]},
        {"loss": [LogitAdjusted()], "loss__tau": [0.5, 1.0]},
        {"loss": [VectorScaling()], "loss__gamma": [0.15]},
        {"loss": [Asymmetric()], "loss__gamma_neg": [1.0, 4.0]},
        {"loss": [AnyLoss("f1")], "loss__amplification": [5.0, 10.0]},
    ]
    return [{f"{step}__{k}": v for k, v in grid.items()} for grid in grids[: 3 if FAST else None]]


def candidates(kind, binary):
    inner = StratifiedKFold(3, shuffle=True, random_state=1)
    scoring = "average_precision" if binary else "f1_macro"
    model, first = net(kind), prepare(kind)
    step = type(model).__name__.lower()
    found = {}
    if kind == "table":
        # the raw table: no scaling, no encoding, no imputation
        found["TabMClassifier, raw table"] = TabMClassifier(
            max_iter=20 if FAST else 500, random_state=0
        )
        found["HistGradientBoosting"] = HistGradientBoostingClassifier(random_state=0)
    found |= {
        "LogisticRegression": make_pipeline(first, LogisticRegression(max_iter=2000)),
        "cross-entropy": make_pipeline(first, model),
        "cross-entropy, class weights": make_pipeline(
            first, clone(model).set_params(class_weight="balanced")
        ),
        "logit-adjusted": make_pipeline(first, clone(model).set_params(loss=LogitAdjusted())),
        "focal": make_pipeline(first, clone(model).set_params(loss=Focal())),
        "AnyLoss F1": make_pipeline(first, clone(model).set_params(loss=AnyLoss("f1"))),
        "SMOTE + cross-entropy": make_pipeline(first, SMOTE(k_neighbors=1, random_state=0), model),
        "search over losses": GridSearchCV(
            make_pipeline(first, model), loss_grid(step), scoring=scoring, cv=inner
        ),
    }
    if binary:
        found["cross-entropy, tuned threshold"] = TunedThresholdClassifierCV(
            make_pipeline(first, model), scoring="f1", cv=inner
        )
    if kind == "table" and importlib.util.find_spec("lightgbm"):
        from lightgbm import LGBMClassifier

        found["LightGBM"] = LGBMClassifier(n_estimators=200, verbose=-1, n_jobs=1, random_state=0)
    return found


# %%
# Evaluation
# ----------


def evaluate(model, X, y, binary, splits, progress):
    rows = []
    for train, test in splits:
        start = time.perf_counter()
        fitted = clone(model).fit(X.iloc[train], y[train])
        seconds = time.perf_counter() - start
        p, predicted = fitted.predict_proba(X.iloc[test]), fitted.predict(X.iloc[test])
        progress.update()
        onehot = (y[test][:, None] == fitted.classes_).astype(float)
        if binary:
            ap = average_precision_score(y[test], p[:, 1])
            f1 = f1_score(y[test], predicted, zero_division=0.0)
            rare = 1
        else:
            ap = average_precision_score(onehot, p, average="macro")
            f1 = f1_score(y[test], predicted, average="macro", zero_division=0.0)
            rare = len(fitted.classes_) - 1
        brier = ((p - onehot) ** 2).sum(1).mean() / 2
        risk = p[:, rare].mean() / max(onehot[:, rare].mean(), 1e-12)
        bacc = balanced_accuracy_score(y[test], predicted)
        rows.append([ap, f1, bacc, brier, risk, seconds])
    return np.mean(rows, axis=0), np.std(rows, axis=0)


HEADER = ("AP", "F1", "bal.acc", "Brier", "risk/prev", "seconds")
results = {}
for name, (X, y, kind) in datasets().items():
    binary = len(np.unique(y)) == 2
    cv = StratifiedKFold(2 if FAST else 3, shuffle=True, random_state=0)
    splits = list(cv.split(X, y))
    print(
        f"\n{name}: {len(y)} rows, rarest class {np.bincount(y).min()} rows, {len(splits)} splits"
    )
    print(f"{'model':34s}" + "".join(f"{h:>11s}" for h in HEADER))
    results[name] = {}
    models = candidates(kind, binary)
    with tqdm(total=len(models) * len(splits), leave=False, unit="fit", disable=None) as progress:
        for label, model in models.items():
            progress.set_description(label)
            mean, spread = evaluate(model, X, y, binary, splits, progress)
            results[name][label] = (mean, spread)
            progress.write(f"{label:34s}" + "".join(f"{v:11.3f}" for v in mean))

# %%
# What the figures say
# --------------------
# Dots are average precision with the spread over splits; the colour is mean predicted risk over
# prevalence. Corrections that shift the scores without an inverse (SMOTE, AnyLoss) show there;
# weights and logit adjustment do not, since ``predict_proba`` undoes them.

fig, axes = plt.subplots(1, len(results), figsize=(5.2 * len(results), 4.2), squeeze=False)
for ax, (name, rows) in zip(axes[0], results.items(), strict=True):
    labels = list(rows)[::-1]
    ap = np.array([rows[label][0][0] for label in labels])
    spread = np.array([rows[label][1][0] for label in labels])
    risk = np.array([rows[label][0][4] for label in labels])
    ax.errorbar(ap, range(len(labels)), xerr=spread, fmt="none", ecolor="0.6", zorder=1)
    ax.scatter(ap, range(len(labels)), c=np.log2(risk), cmap="coolwarm", vmin=-2, vmax=2, s=70)
    for i, value in enumerate(risk):
        ax.annotate(
            f"{value:.2f}", (ap[i], i), (0, 7), textcoords="offset points", ha="center", fontsize=7
        )
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(-0.6, len(labels) - 0.2)
    ax.set_title(name, fontsize=10)
    ax.set_xlabel("AP (numbers: risk / prevalence)")
    ax.grid(axis="x", alpha=0.3)
fig.tight_layout()
if not FAST and "sphinx" not in os.environ.get("SKIMB_GALLERY", ""):
    folder = Path("demo_output")
    folder.mkdir(exist_ok=True)
    fig.savefig(folder / "main_job.png", dpi=120)
    print(f"\nfigure: {folder / 'main_job.png'}")

for name, rows in results.items():
    tuned = [k for k in rows if "tuned threshold" in k] or ["cross-entropy, class weights"]
    best = max(rows, key=lambda k: rows[k][0][1])
    base = rows[tuned[0]][0][1]
    gain = rows[best][0][1] - base
    noise = max(rows[best][1][1], rows[tuned[0]][1][1])
    verdict = (
        "within the spread of the splits" if gain <= noise else "beyond the spread of the splits"
    )
    print(
        f"{name}: best F1 {best} ({rows[best][0][1]:.3f}); against {tuned[0]} {gain:+.3f}, {verdict}"
    )
