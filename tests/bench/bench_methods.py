"""What the methods outside the losses are worth: figures of their pages, on simulations and real sets.

    python tests/bench/bench_methods.py [--data FOLDER] [--write docs/benchmarks/methods.md]

FOLDER holds parquet files with a `target` column; without it only simulations and scikit-learn's own sets are run.
"""

import argparse
import sys
import time
import warnings
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from harness import interleaved, machine, median, ratio  # noqa: E402
from imblearn.ensemble import BalancedBaggingClassifier  # noqa: E402
from imblearn.over_sampling import SMOTE  # noqa: E402
from imblearn.under_sampling import RandomUnderSampler  # noqa: E402
from lightgbm import LGBMClassifier  # noqa: E402
from scipy.special import expit  # noqa: E402
from scipy.stats import rankdata  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.compose import ColumnTransformer, make_column_selector  # noqa: E402
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: E402
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import (  # noqa: E402
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
)
from sklearn.metrics import (  # noqa: E402
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    recall_score,
)
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    StratifiedKFold,
    StratifiedShuffleSplit,
    train_test_split,
)
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402
from sklearn.utils.class_weight import compute_sample_weight  # noqa: E402

from skimb.ensemble import (  # noqa: E402
    BalanceCascadeClassifier,
    GradientBoostedMLPClassifier,
    PopulationBaggingClassifier,
    SelfPacedEnsembleClassifier,
)
from skimb.linear_model import (  # noqa: E402
    BalancedRidge,
    LinearClassifier,
    NormalizedLogisticClassifier,
    PrestoClassifier,
    PrestoClassifierCV,
)
from skimb.linear_model._presto_solver import (  # noqa: E402
    Penalty,
    Problem,
    descend,
    largest_lambda,
)
from skimb.losses import BalancedMSE, LogitAdjusted  # noqa: E402
from skimb.metrics import (  # noqa: E402
    balanced_mean_absolute_error,
    geometric_mean_absolute_error,
    recall_at_budget,
)
from skimb.model_selection import TunedThresholdClassifierCV  # noqa: E402
from skimb.naive_bayes import PooledGaussianNB  # noqa: E402
from skimb.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from skimb.over_sampling import MLROS, MLSMOTE, LatentSMOTE  # noqa: E402
from skimb.pipeline import DensityWeightedRegressor, ResampledClassifier  # noqa: E402
from skimb.posthoc import PriorCorrectedClassifier  # noqa: E402
from skimb.preprocessing import PiecewiseLinearEncoder, SquashingScaler  # noqa: E402
from skimb.streaming import AnalyticClassifier  # noqa: E402
from skimb.training import BalancedMixup, ClassPowerSampler, Mixup, Remix, UniMix  # noqa: E402
from skimb.under_sampling import AutoCoresetSampler  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)
F = "{:.3f}".format
ENCODED = [
    "abalone_7", "adb_annthyroid", "adb_cardio", "adb_wilt", "churn_telecom", "keel_winequality_red_4",
    "mammography", "ozone_level_8h", "stroke_mldatar", "yeast_me2",
]  # fmt: skip


def frame(folder, name):
    table = pd.read_parquet(folder / f"{name}.parquet")
    table = table.drop(columns=[c for c in table if c.startswith("meta_")])
    X = pd.get_dummies(table.drop(columns="target")).astype(float)
    return X.fillna(X.median()).to_numpy(), table["target"].to_numpy()


def rows_of(found):
    """Table rows of means over repetitions: name -> list of tuples."""
    return [[name, *(F(v) for v in np.mean(values, 0))] for name, values in found.items()]


# --- rare stages ---------------------------------------------------------------------------------


def staged(seed, n, p, alpha, share):
    rng = np.random.default_rng(seed)
    while True:
        X = rng.uniform(-1, 1, (n, p))
        psi = 0.5 * rng.choice([-1.0, 1.0], (p, len(alpha)))
        psi[:, 0] = 0.5
        psi *= rng.random(psi.shape) < share
        cumulated = expit(np.array(alpha) + X @ psi.cumsum(1))
        P = np.diff(np.c_[np.zeros(n), cumulated, np.ones(n)], axis=1)
        y = (rng.random((n, 1)) > cumulated).sum(1)
        if (P > 0).all() and len(np.unique(y)) == len(alpha) + 1:
            return X, y, P


def presto_path(X, y):
    problem = Problem(X, y, y.max() + 1, np.ones(len(y)), True)
    alpha, psi = problem.start()
    factor = np.ones_like(psi)
    for lam in largest_lambda(problem, 1.0, factor, alpha, psi) * np.geomspace(1, 0.01, 20):
        alpha, psi, _, _ = descend(problem, Penalty(lam, 1.0, factor), alpha, psi, 1e-8, 5000)


def logistic_paths(X, y):
    """L1 logistic regressions of each threshold along 20 strengths, warm-started."""
    Z = StandardScaler().fit_transform(X)
    for k in range(1, y.max() + 1):
        target = y >= k
        top = np.abs(Z.T @ (target - target.mean())).max() / len(y)
        model = LogisticRegression(
            l1_ratio=1.0, solver="saga", warm_start=True, max_iter=5000, tol=1e-5
        )
        for lam in top * np.geomspace(1, 0.01, 20):
            model.set_params(C=1 / (len(y) * lam)).fit(Z, target)


def bench_presto(folder):
    lines = []
    for share, alpha in (
        (1 / 2, (0, 3, 5)),
        (1 / 2, (0, 3.5, 5.5)),
        (1 / 3, (0, 3, 5)),
        (1 / 3, (0, 4, 6)),
    ):
        found = []
        for seed in range(20):
            X, y, P = staged(seed, 2500, 10, alpha, share)
            rare = P[:, -1]
            odds = PrestoClassifier(1e3, penalize_first=False).fit(X, y).rare_proba(X)
            logit = LogisticRegression(C=np.inf).fit(X, y == 3).predict_proba(X)[:, 1]
            ours = PrestoClassifierCV().fit(X, y).rare_proba(X)
            found.append([((p - rare) ** 2).mean() for p in (logit, odds, ours)])
        logit, odds, ours = np.array(found).T
        lines.append([
            f"s = {share:.2g}, intercepts {alpha}", f"{np.median(ours / logit):.2f}", f"{np.median(ours / odds):.2f}",
            f"{np.mean(ours < logit):.2f}", f"{np.mean(ours < odds):.2f}",
        ])  # fmt: skip
    X, y, _ = staged(0, 2500, 10, (0, 3, 5), 0.5)
    seconds = interleaved(
        {"presto": lambda: presto_path(X, y), "logistic": lambda: logistic_paths(X, y)},
        rounds=3,
        clock=time.perf_counter,
    )
    text = [
        "## PRESTO",
        "Sparse simulation of the authors, n = 2,500, p = 10, K = 4, 20 repetitions: error of the rare probability, median ratio and "
        "share of repetitions won.",
        [
            "setting",
            "over logistic",
            "over proportional odds",
            "won against logistic",
            "against odds",
        ],
        lines,
        f"Path of 20 strengths (n = 2,500, p = 10, K = 4): {median(seconds['presto']):.2f} s; scikit-learn's L1 logistic "
        f"regressions of the 3 thresholds, 20 strengths each (saga, warm): {median(seconds['logistic']):.2f} s, "
        f"{ratio(seconds['logistic'], seconds['presto']):.0f} times as long.",
    ]
    if folder is None:
        return text
    lines = []
    for name in ("wine_red_ord", "wine_white_ord", "abalone_ord10", "car_ord"):
        X, y = frame(folder, name)
        y = np.unique(y, return_inverse=True)[1]
        if (y == 0).sum() < (y == y.max()).sum():  # the rarer end is the event
            y = y.max() - y
        for n in (300, 1000):
            found = {"logit, L2 by CV": [], "proportional odds": [], "PRESTO": []}
            for seed in range(10):
                split = StratifiedShuffleSplit(1, train_size=n, random_state=seed)
                train, test = next(split.split(X, y))
                kept = np.unique(y[train])
                if np.bincount(y[train], minlength=y.max() + 1)[-1] < 3 or len(kept) < y.max() + 1:
                    continue
                scaler = StandardScaler().fit(X[train])
                A, B = scaler.transform(X[train]), scaler.transform(X[test])
                event = y[test] == y.max()
                p = {
                    "logit, L2 by CV": LogisticRegressionCV(
                        cv=3, scoring="neg_log_loss", l1_ratios=(0,), use_legacy_attributes=False
                    ).fit(A, y[train] == y.max()).predict_proba(B)[:, 1],
                    "proportional odds": PrestoClassifier(1e3, penalize_first=False).fit(A, y[train]).rare_proba(B),
                    "PRESTO": PrestoClassifierCV().fit(A, y[train]).rare_proba(B),
                }  # fmt: skip
                for model, values in p.items():
                    found[model].append(
                        (log_loss(event, values), average_precision_score(event, values))
                    )
            if found["PRESTO"]:
                rare = (y == y.max()).mean() * n
                for model, values in found.items():
                    a, b = np.mean(values, 0)
                    lines.append([f"{name}, n = {n}, {rare:.0f} rare", model, f"{a:.4f}", F(b)])
    return [
        *text,
        "Real ordered classes, the rarer end as the event, up to 10 splits that hold every class:",
        ["set", "model", "log-loss", "AP"],
        lines,
    ]


# --- streams -------------------------------------------------------------------------------------


def long_tail(seed):
    """Digits with 105 to 2 rows per class in training."""
    X, y = load_digits(return_X_y=True)
    order = np.random.RandomState(seed).permutation(len(y))
    train, test = order[:1100], order[1100:]
    sizes = np.rint(105 * 50.0 ** (-np.arange(10) / 9)).astype(int)
    rows = np.concatenate([train[y[train] == k][:n] for k, n in enumerate(sizes)])
    return X[rows] / 16, y[rows], X[test] / 16, y[test]


def bench_analytic(folder):
    found, gap = {}, 0.0
    for seed in range(10):
        X, y, X_test, y_test = long_tail(seed)
        models = {
            f"balance_power={p:g}": AnalyticClassifier(0.1, n_components=800, balance_power=p, random_state=0)
            for p in (0.0, 0.5, 1.0)
        } | {
            "balance_power=1, gamma by GCV": AnalyticClassifier("gcv", n_components=800, balance_power=1.0, random_state=0),
            "logistic regression": LogisticRegression(max_iter=2000),
            "logistic regression, class weights": LogisticRegression(max_iter=2000, class_weight="balanced"),
        }  # fmt: skip
        for name, model in models.items():
            decided = model.fit(X, y).predict(X_test)
            found.setdefault(name, []).append((balanced_accuracy_score(y_test, decided),))
        stream = AnalyticClassifier(0.1, n_components=800, balance_power=1.0, random_state=0)
        for rows in np.array_split(np.argsort(y, kind="stable"), 20):
            stream.partial_fit(X[rows], y[rows])
        gap = max(gap, np.abs(stream.coef_ - models["balance_power=1"].coef_).max())
    return [
        "## AnalyticClassifier",
        "Digits with a long tail (105 to 2 rows), 800 random ReLU features, 10 splits.",
        ["model", "balanced accuracy"],
        rows_of(found),
        f"Largest difference of a weight between 20 chunks, classes one after the other, and one fit: {gap:.0e}.",
    ]


# --- ensembles -----------------------------------------------------------------------------------


def checkerboard(seed, rare, common):
    """4 x 4 fields of two classes, Gaussian, covariance 0.1."""
    rng = np.random.default_rng(seed)
    fields = np.array([(i, j) for i in range(4) for j in range(4)])
    odd = fields.sum(1) % 2
    y = np.r_[np.zeros(common, int), np.ones(rare, int)]
    centre = np.array(
        [fields[odd == k][i] for k, i in zip(y, rng.integers(8, size=len(y)), strict=True)]
    )
    return centre + np.sqrt(0.1) * rng.normal(size=(len(y), 2)), y


def bench_ensembles(folder):
    def models(seed):
        tree = DecisionTreeClassifier(max_depth=10, random_state=seed)
        light = LGBMClassifier(n_estimators=50, n_jobs=1, verbose=-1, random_state=seed)
        kw = {"random_state": seed}
        return {
            "one tree": tree,
            "under-bagging, 10 trees": BalancedBaggingClassifier(tree, 10, **kw),
            "self-paced ensemble, 10 trees": SelfPacedEnsembleClassifier(tree, 10, **kw),
            "balance cascade, 10 trees": BalanceCascadeClassifier(tree, 10, **kw),
            "LightGBM, class weights": light.set_params(class_weight="balanced"),
            "self-paced ensemble, 10 LightGBM": SelfPacedEnsembleClassifier(
                LGBMClassifier(n_estimators=50, n_jobs=1, verbose=-1), 10, **kw
            ),
            "one net": make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=30, learning_rate_init=0.003, **kw)),
            "population bagging, 10 nets": make_pipeline(
                StandardScaler(),
                PopulationBaggingClassifier(MLPClassifier((32,), max_iter=30, learning_rate_init=0.003), 10, **kw),
            ),
            "self-paced ensemble, 10 nets": make_pipeline(
                StandardScaler(),
                SelfPacedEnsembleClassifier(MLPClassifier((32,), max_iter=30, learning_rate_init=0.003), 10, **kw),
            ),
        }  # fmt: skip

    sets = {"checkerboard, 1,000 / 10,000": None}
    if folder is not None:
        sets |= {
            name: frame(folder, name)
            for name in ("mammography", "adb_annthyroid", "wine_quality_le4")
        }
    lines = []
    for name, data in sets.items():
        found = {}
        for seed in range(4):
            if data is None:
                X, y = checkerboard(seed, 1000, 10000)
                X_test, y_test = checkerboard(seed + 100, 1000, 10000)
            else:
                X, X_test, y, y_test = train_test_split(
                    *data, test_size=0.4, stratify=data[1], random_state=seed
                )
            for model_name, model in models(seed).items():
                p = model.fit(X, y).predict_proba(X_test)[:, 1]
                decided = balanced_accuracy_score(y_test, model.predict(X_test))
                found.setdefault(model_name, []).append(
                    (average_precision_score(y_test, p), decided, log_loss(y_test, p))
                )
        lines += [[name, *row] for row in rows_of(found)]
    X, y = checkerboard(0, 300, 4700)
    net = MLPClassifier((32,), max_iter=20, random_state=0)
    seconds = interleaved(
        {
            "together": lambda: PopulationBaggingClassifier(net, 30, random_state=0).fit(X, y),
            "bagging": lambda: BaggingClassifier(net, 30, max_samples=600, random_state=0).fit(X, y),
        },
        rounds=3,
        clock=time.perf_counter,
    )  # fmt: skip
    return [
        "## Ensembles",
        "Average precision, balanced accuracy of `predict`, log-loss of `predict_proba`; means of 4 splits, 60 % for training.",
        ["set", "model", "AP", "balanced accuracy", "log-loss"],
        lines,
        f"30 nets on bags of 600 rows: {median(seconds['together']):.2f} s as one population, scikit-learn's `BaggingClassifier` of "
        f"the same nets and bag size {ratio(seconds['bagging'], seconds['together']):.1f} times as long.",
    ]


def bench_boosted(folder):
    if folder is None:
        return []
    lines = []
    for name in ("mammography", "adb_annthyroid"):
        data, found = frame(folder, name), {}
        for seed in range(3):
            X, X_test, y, y_test = train_test_split(
                *data, train_size=4000, stratify=data[1], random_state=seed
            )
            scaler = StandardScaler().fit(X)
            X, X_test = scaler.transform(X), scaler.transform(X_test)
            for kind, weight in (("boosted net", None), ("boosted net, class weights", "balanced")):
                model = GradientBoostedMLPClassifier(
                    n_estimators=60, class_weight=weight, random_state=seed
                ).fit(X, y)
                for units in (10, 30, 60):
                    short = model.truncate(units)
                    found.setdefault(f"{kind}, {units} units", []).append((
                        average_precision_score(y_test, short.predict_proba(X_test)[:, 1]),
                        balanced_accuracy_score(y_test, short.predict(X_test)),
                    ))  # fmt: skip
            others = {
                "net, 60 units, lbfgs": MLPClassifier((60,), "logistic", solver="lbfgs", random_state=seed),
                "net, 60 units, adam": MLPClassifier((60,), "logistic", random_state=seed),
                "net, 60 units, adam, class weights": MLPClassifier((60,), "logistic", class_weight="balanced", random_state=seed),
                "logistic regression, class weights": LogisticRegression(class_weight="balanced"),
            }  # fmt: skip
            for kind, model in others.items():
                p = model.fit(X, y).predict_proba(X_test)[:, 1]
                found.setdefault(kind, []).append(
                    (
                        average_precision_score(y_test, p),
                        balanced_accuracy_score(y_test, model.predict(X_test)),
                    )
                )
        lines += [[name, *row] for row in rows_of(found)]
    return [
        "## GradientBoostedMLPClassifier",
        "4,000 training rows, one unit per stage, learning rate 0.5, 3 splits; the first units of the same model.",
        ["set", "model", "AP", "balanced accuracy"],
        lines,
    ]


# --- coresets ------------------------------------------------------------------------------------


def bench_coreset(folder):
    if folder is None:
        return []
    X, y = frame(folder, "mammography")
    X = StandardScaler().fit_transform(X)
    lines, seconds = [], {}
    for base in ("balanced", None):
        w = compute_sample_weight(base, y)

        def excess(model, w=w):
            p = model.predict_proba(X)[np.arange(len(y)), y]
            return -(w @ np.log(p)) + 0.5 * (model.coef_**2).sum()

        full = LogisticRegression(max_iter=1000).fit(X, y, sample_weight=w)
        least = excess(full)
        for m in (60, 120, 300):
            for backend in ("uniform", "importance", "lp"):
                found, start = [], time.perf_counter()
                for seed in range(5):
                    sampler = AutoCoresetSampler(
                        m, backend=backend, base_weight=base, random_state=seed
                    )
                    model = (
                        ResampledClassifier(sampler, LogisticRegression(max_iter=1000))
                        .fit(X, y)
                        .estimator_
                    )
                    found.append((
                        excess(model) / least - 1, average_precision_score(y, model.predict_proba(X)[:, 1]),
                        balanced_accuracy_score(y, model.predict(X)),
                    ))  # fmt: skip
                seconds[backend] = (time.perf_counter() - start) / 5
                a, b, c = np.median(found, 0)
                lines.append(
                    [str(base), str(m), backend, f"{a:.4f}", F(b), F(c), f"{seconds[backend]:.1f}"]
                )
        lines.append([
            str(base), f"{len(y)}", "all rows", "0", F(average_precision_score(y, full.predict_proba(X)[:, 1])),
            F(balanced_accuracy_score(y, full.predict(X))), "",
        ])  # fmt: skip
    return [
        "## AutoCoresetSampler",
        f"mammography, {len(y)} rows, logistic regression: relative excess of the objective on all rows, medians of 5 seeds.",
        ["base weights", "rows kept", "backend", "excess", "AP", "balanced accuracy", "seconds"],
        lines,
    ]


# --- mixtures, made rows, rare targets -----------------------------------------------------------


def bench_mixers(folder):
    variants = {
        "plain": {}, "class weights": {"class_weight": "balanced"}, "class-balanced batches": {"sampler": ClassPowerSampler()},
        "logit adjustment": {"loss": LogitAdjusted()},
    }  # fmt: skip
    for name, mixer in (
        ("mixup", Mixup()),
        ("Remix", Remix()),
        ("Balanced-MixUp", BalancedMixup()),
        ("UniMix", UniMix()),
    ):
        variants |= {
            name: {"mix": mixer},
            f"{name}, logit adjustment": {"mix": mixer, "loss": LogitAdjusted()},
        }
    found = {}
    for seed in range(8):
        X, y, X_test, y_test = long_tail(seed)
        for name, kw in variants.items():
            net = MLPClassifier(
                (128,), max_iter=150, batch_size=32, learning_rate_init=0.003, tol=0, n_iter_no_change=1000, random_state=seed, **kw
            )  # fmt: skip
            decided = net.fit(X, y).predict(X_test)
            recalls = recall_score(y_test, decided, average=None)
            found.setdefault(name, []).append((recalls.mean(), recalls[-3:].mean()))
    return [
        "## Mixtures of rows",
        "Digits with a long tail, net of 128 units, 150 epochs, 8 seeds.",
        ["training", "balanced accuracy", "recall of the 3 rarest"],
        rows_of(found),
    ]


def bench_samplers(folder):
    if folder is None:
        return []
    lines = []
    for name in ("mammography", "wine_quality_le4"):
        data, found = frame(folder, name), {}
        for seed in range(4):
            X, X_test, y, y_test = train_test_split(
                *data, test_size=0.4, stratify=data[1], random_state=seed
            )
            for sampler_name, sampler in {
                "no sampler": None, "random under-sampling": RandomUnderSampler(random_state=seed),
                "SMOTE": SMOTE(random_state=seed), "LatentSMOTE, 80 % of PCA": LatentSMOTE(
                    make_pipeline(StandardScaler(), PCA(max(int(0.8 * X.shape[1]), 1))), random_state=seed),
            }.items():  # fmt: skip
                for corrected in (False, True) if sampler is not None else (True,):
                    model = ResampledClassifier(
                        sampler,
                        LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1),
                        correct_prior=corrected,
                    )
                    p = model.fit(X, y).predict_proba(X_test)[:, 1]
                    key = f"{sampler_name}{', corrected' if corrected and sampler is not None else ''}"
                    found.setdefault(key, []).append((
                        average_precision_score(y_test, p), balanced_accuracy_score(y_test, model.predict(X_test)), log_loss(y_test, p),
                    ))  # fmt: skip
        lines += [[name, *row] for row in rows_of(found)]
    return [
        "## Samplers and prior correction",
        "LightGBM behind samplers in `ResampledClassifier`, with and without its correction; 4 splits.",
        ["set", "sampler", "AP", "balanced accuracy", "log-loss"],
        lines,
    ]


def bench_regression(folder):
    lines = []
    grid = np.linspace(0, 10, 200)[:, None]
    models = {
        "ridge": Ridge(0.0),
        **{f"{m}, noise scale 1": BalancedRidge(BalancedMSE(m, noise_sigma=1.0, learn_sigma=False, n_components=1), alpha=0.0) for m in ("bmc", "gai", "bni")},
        **{f"{m}, learned": BalancedRidge(BalancedMSE(m, n_components=1), alpha=0.0) for m in ("bmc", "gai", "bni")},
    }  # fmt: skip
    for name, model in models.items():
        found = []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            y = rng.normal(5.0, 0.5, 1024)
            model.fit((y - rng.normal(size=1024))[:, None], y)
            miss = ((model.predict(grid) - grid[:, 0]) ** 2).mean()
            found.append((model.coef_[0], miss, getattr(model, "noise_sigma_", np.nan)))
        lines.append([name, *(F(v) for v in np.mean(found, 0))])
    return [
        "## Balanced mean squared error",
        "The one-dimensional set of the authors, 1,024 rows, 5 seeds; test rows evenly over the range.",
        ["model", "slope", "test MSE", "noise scale"],
        lines,
    ]


def bench_targets(folder):
    """Real regressions: errors over ranges of the target."""
    lines = []
    X, y = load_diabetes(return_X_y=True)
    sets = {"diabetes": (X, y)}
    if folder is not None:
        table = pd.read_parquet(folder / "abalone_19.parquet")
        numbers = table.select_dtypes("number").drop(columns="target")
        numbers = numbers[[c for c in numbers if not c.startswith("meta_")]]
        sets["abalone, shell weight"] = (
            numbers.iloc[:, :-1].to_numpy(float),
            numbers.iloc[:, -1].to_numpy(float),
        )
    for name, (X, y) in sets.items():
        found = {}
        for seed in range(5):
            A, B, a, b = train_test_split(
                StandardScaler().fit_transform(X), y, test_size=0.4, random_state=seed
            )
            kw = {"max_iter": 200, "learning_rate_init": 0.01, "random_state": seed}
            scale = a.std()
            models = {
                "ridge": Ridge(), "ridge, density weights": DensityWeightedRegressor(Ridge(), n_bins=20),
                "balanced ridge": BalancedRidge(), "net": MLPRegressor(hidden_layer_sizes=(32,), **kw),
                "net, balanced errors": MLPRegressor(BalancedMSE(), (32,), **kw),
                "net, density weights": DensityWeightedRegressor(MLPRegressor(hidden_layer_sizes=(32,), **kw), n_bins=20),
            }  # fmt: skip
            for model_name, model in models.items():
                p = model.fit(A, a / scale).predict(B) * scale
                found.setdefault(model_name, []).append((
                    np.abs(b - p).mean(), balanced_mean_absolute_error(b, p), geometric_mean_absolute_error(b, p),
                ))  # fmt: skip
        lines += [[name, *row] for row in rows_of(found)]
    return [
        "Real targets, 5 splits, 60 % for training:",
        ["set", "model", "MAE", "balanced MAE", "geometric mean error"],
        lines,
    ]


def bench_few_rows(folder):
    found = {}
    X, y = load_digits(return_X_y=True)
    X, y = X / 16, (y == 1).astype(int)
    for m in (3, 10, 50):
        for seed in range(15):
            A, B, a, b = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
            kept = np.r_[np.flatnonzero(a == 0), np.flatnonzero(a == 1)[:m]]
            heads = {
                "PooledGaussianNB": PooledGaussianNB(var_smoothing=1e-3),
                "GaussianNB": GaussianNB(var_smoothing=1e-3),
                "shrunk discriminant analysis": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
                "NormalizedLogisticClassifier": NormalizedLogisticClassifier(),
                "logistic regression": LogisticRegression(),
                "logistic regression, class weights": LogisticRegression(class_weight="balanced"),
            }  # fmt: skip
            for name, head in heads.items():
                head.fit(A[kept], a[kept])
                order = (
                    head.decision_function(B)
                    if hasattr(head, "decision_function")
                    else head.predict_proba(B)[:, 1]
                )
                found.setdefault(name, {}).setdefault(m, []).append(
                    average_precision_score(b, order)
                )
    steps = []
    for variant, step in (("nlr", 100.0), ("nlr", 1.0), ("lr", 100.0), ("lr", 1.0)):
        counts = []
        for n in (10, 100, 1000):
            rows = np.c_[np.r_[0.5, np.full(n - 1, -0.5)], -np.ones(n)]
            model = NormalizedLogisticClassifier(
                step, variant=variant, fit_intercept=False, max_iter=10**5
            )
            counts.append(str(model.fit(rows, np.arange(n) == 0).n_iter_[0]))
        steps.append([variant, f"{step:g}", *counts])
    return [
        "## A handful of rare rows",
        "Average precision for the digit 1 with 3, 10 and 50 of them in training, 15 splits.",
        ["head", "3", "10", "50"],
        [[name, *(F(np.mean(v)) for v in values.values())] for name, values in found.items()],
        "Steps until one row is separated from n - 1 copies of another (`nlr` normalised, `lr` plain gradient descent):",
        ["variant", "step", "n = 10", "n = 100", "n = 1,000"],
        steps,
    ]


# --- encodings -----------------------------------------------------------------------------------


def bench_encodings(folder):
    if folder is None:
        return []
    words = make_column_selector(dtype_exclude="number")

    def columns(numbers):
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        return ColumnTransformer([
            ("numbers", numbers, make_column_selector(dtype_include="number")), ("words", one_hot, words),
        ])  # fmt: skip

    def linear(numbers):
        grid = {"linearclassifier__alpha": np.logspace(-4, 0, 5)}
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        model = make_pipeline(columns(numbers), LinearClassifier())
        return GridSearchCV(model, grid, cv=folds, scoring="neg_log_loss")

    filled = SimpleImputer(add_indicator=True)
    models = {
        "StandardScaler": linear(make_pipeline(filled, StandardScaler())),
        "SquashingScaler": linear(make_pipeline(SquashingScaler(), filled)),
        "PiecewiseLinearEncoder(16)": linear(PiecewiseLinearEncoder(16)),
        "PiecewiseLinearEncoder(48)": linear(PiecewiseLinearEncoder()),
        'PiecewiseLinearEncoder(16, edges="tree")': linear(PiecewiseLinearEncoder(16, edges="tree")),
        "random forest": make_pipeline(
            columns(SimpleImputer()), RandomForestClassifier(300, min_samples_leaf=2, random_state=0)
        ),
        "LightGBM": make_pipeline(
            columns("passthrough"),
            LGBMClassifier(n_estimators=300, learning_rate=0.03, num_leaves=15, min_child_samples=10, verbose=-1),
        ),
    }  # fmt: skip
    lines = []
    for size in (200, 1000):
        scores, shares = [], []
        for name in ENCODED:
            table = pd.read_parquet(folder / f"{name}.parquet")
            X = table.drop(columns=[c for c in table if c.startswith("meta_") or c == "target"])
            y = table["target"].to_numpy().astype(int)
            for seed in range(2):
                fit, rest = train_test_split(
                    np.arange(len(y)),
                    train_size=min(size, int(0.6 * len(y))),
                    stratify=y,
                    random_state=seed,
                )
                rest = rest[:20_000]
                constant = log_loss(y[rest], np.full(len(rest), y[fit].mean()))
                found = [
                    clone(model).fit(X.iloc[fit], y[fit]).predict_proba(X.iloc[rest])[:, 1]
                    for model in models.values()
                ]
                scores.append([average_precision_score(y[rest], p) for p in found])
                shares.append([log_loss(y[rest], p) / constant for p in found])
        ranks = rankdata(-np.array(scores), axis=1).mean(0), rankdata(shares, axis=1).mean(0)
        for name, *row in zip(
            models, np.mean(scores, 0), ranks[0], np.mean(shares, 0), ranks[1], strict=True
        ):
            lines.append(
                [f"{size:,}", name, F(row[0]), f"{row[1]:.1f}", F(row[2]), f"{row[3]:.1f}"]
            )
    return [
        "## PiecewiseLinearEncoder",
        f"{len(ENCODED)} sets, 2 splits each; at most so many training rows, at most 20,000 test rows. All but the last two "
        "are encodings of numbers in front of `LinearClassifier`, its `alpha` by cross-validated log-loss; words are "
        "one-hot. Log-loss as a share of that of the constant prevalence, mean ranks among the 7.",
        ["training rows", "model", "AP", "rank", "log-loss", "rank"],
        lines,
    ]


def bench_labels(folder):
    found = {}
    for seed in range(5):
        X, Y = make_multilabel_classification(
            3000, 15, n_classes=6, n_labels=2, random_state=seed + 2
        )
        A, B, a, b = train_test_split(X, Y, test_size=0.4, random_state=0)
        rare = int(a.sum(0).argmin())
        kw = {"learning_rate_init": 0.003, "max_iter": 60, "random_state": seed}
        for name, sampler, weight in (
            ("as they are", None, None), ("class weights", None, "balanced"), ("MLROS", MLROS(0.5, random_state=seed), None),
            ("MLSMOTE", MLSMOTE(random_state=seed), None),
        ):  # fmt: skip
            rows, labels = (A, a) if sampler is None else sampler.fit_resample(A, a)
            net = MLPClassifier((32,), class_weight=weight, **kw).fit(rows, labels)
            p = net.predict_proba(B)
            found.setdefault(name, []).append((
                average_precision_score(b[:, rare], p[:, rare]), recall_score(b[:, rare], net.predict(B)[:, rare]),
                f1_score(b, net.predict(B), average="macro", zero_division=0), abs(p[:, rare].mean() - b[:, rare].mean()),
            ))  # fmt: skip
    return [
        "## Rare labels",
        "Simulated rows with several of 6 labels, 5 sets, a net of 32 units; the rarest label, and F1 over all.",
        ["training", "AP of the rarest", "its recall", "macro F1", "error of its mean probability"],
        rows_of(found),
    ]


def bench_decisions(folder):
    if folder is None:
        return []
    lines = []
    for name in ("mammography", "wine_quality_le4", "adb_annthyroid"):
        data, found = frame(folder, name), {}
        for seed in range(4):
            X, X_test, y, y_test = train_test_split(
                *data, test_size=0.4, stratify=data[1], random_state=seed
            )
            base = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            weighted = make_pipeline(
                StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
            )
            models = {
                "logistic regression": base,
                "class weights": weighted,
                "class weights, PriorCorrectedClassifier": PriorCorrectedClassifier(weighted),
                "TunedThresholdClassifierCV, F1": TunedThresholdClassifierCV(base, scoring="f1"),
                "TunedThresholdClassifierCV, balanced accuracy": TunedThresholdClassifierCV(base),
            }
            for model_name, model in models.items():
                p = model.fit(X, y).predict_proba(X_test)[:, 1]
                decided = model.predict(X_test)
                found.setdefault(model_name, []).append((
                    f1_score(y_test, decided), balanced_accuracy_score(y_test, decided), log_loss(y_test, p),
                    recall_at_budget(y_test, p, budget=0.05),
                ))  # fmt: skip
        lines += [[name, *row] for row in rows_of(found)]
    return [
        "## Decisions and probabilities",
        "Logistic regression, 4 splits.",
        ["set", "model", "F1", "balanced accuracy", "log-loss", "recall at 5 %"],
        lines,
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only")
    args = parser.parse_args()
    parts = [
        bench_presto, bench_analytic, bench_ensembles, bench_boosted, bench_coreset, bench_mixers, bench_samplers,
        bench_regression, bench_targets, bench_few_rows, bench_encodings, bench_labels, bench_decisions,
    ]  # fmt: skip
    out = [
        "# Methods",
        "",
        f"{machine()} {date.today()}.",
        "",
        "Written by `make bench-methods DATA=folder`. Real sets are public ones; the package ships none of them.",
    ]
    for part in parts:
        if args.only and args.only not in part.__name__:
            continue
        start = time.perf_counter()
        for piece in part(args.data):
            if isinstance(piece, str):
                out += ["", piece]
            elif piece and isinstance(piece[0], str):
                out += ["", "| " + " | ".join(piece) + " |", "|" + "---|" * len(piece)]
            else:
                out += ["| " + " | ".join(row) + " |" for row in piece]
        print(f"{part.__name__}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    text = "\n".join(out) + "\n"
    if args.write:
        args.write.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
