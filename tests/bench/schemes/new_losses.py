"""Coverage, the spherical family, scattering, and the losses of regressors over bins, focused and re-weighted.

    python tests/bench/schemes/new_losses.py --data FOLDER [--seeds 2] [--only NAME ...]

FOLDER holds yeast_mc, banking77, abalone_7 and wine_quality_le4 as parquet. Nothing is tuned but the threshold of the
binary table and the temperature that stands beside the coverage loss, both on a quarter of the training rows. NAME is
classes, binary or regression.
"""

import argparse
import time
import warnings
from pathlib import Path

from rare_sets import Banking, digits, yeast  # isort: skip, fixes threads

import numpy as np
import pandas as pd
from harness import machine, table
from scipy.special import softmax
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_recall_curve,
    top_k_accuracy_score,
)
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skimb.losses import (
    BalancedSoftmax,
    Coverage,
    CrossEntropy,
    DynamicReweighting,
    ErrorFocusedRegression,
    Focal,
    HistogramGaussian,
    LogitAdjusted,
    SphericalSoftmax,
    TaylorSoftmax,
    ZLoss,
)
from skimb.metrics import coverage_score
from skimb.neural_network import MLPClassifier, MLPRegressor
from skimb.training import Scattering

SIZES = (128,)


def classifier(loss, seed, scheme=None, activation="relu"):
    return MLPClassifier(
        SIZES, activation, loss=loss, scheme=scheme, max_iter=60, random_state=seed
    )


def contestants():
    return {
        "cross-entropy": (CrossEntropy(),),
        "logit-adjusted": (LogitAdjusted(),),
        "Focal(2)": (Focal(2.0),),
        "Coverage(4)": (Coverage(4.0),),
        "Coverage(16)": (Coverage(16.0),),
        "ZLoss": (ZLoss(),),
        "TaylorSoftmax": (TaylorSoftmax(),),
        "SphericalSoftmax": (SphericalSoftmax(),),
        "balanced softmax, tanh": (BalancedSoftmax(), None, "tanh"),
        "the same, Scattering(0.1)": (BalancedSoftmax(), Scattering(0.1), "tanh"),
        "the same, uniformity": (BalancedSoftmax(), Scattering(0.1, "uniformity"), "tanh"),
    }


def drawn(model, X):
    """Probabilities as the loss trains them, not inverted."""
    return softmax(model.decision_function(X).astype(float), axis=1)


def tempered(z, y, classes):
    """Temperature of the best coverage at 4."""
    grid = np.geomspace(0.5, 8.0, 25)
    return max(grid, key=lambda t: coverage_score(y, softmax(z / t, axis=1), n=4, labels=classes))


def classes_of(make, seed):
    X, y, X_test, y_test = make(seed)
    found = {}
    for name, (loss, *more) in contestants().items():
        start = time.process_time()
        model = classifier(loss, seed, *more).fit(X, y)
        seconds = time.process_time() - start
        p, raw, classes = model.predict_proba(X_test), drawn(model, X_test), model.classes_
        found[name] = [
            balanced_accuracy_score(y_test, model.predict(X_test)),
            top_k_accuracy_score(y_test, p, k=5, labels=classes),
            log_loss(y_test, p, labels=classes) if loss.calibrated else np.nan,
            coverage_score(y_test, raw, n=4, labels=classes),
            coverage_score(y_test, raw, n=16, labels=classes),
            seconds,
        ]
        if name == "cross-entropy":
            rng = np.random.default_rng(seed)
            held = rng.random(len(y)) < 0.25
            part = classifier(loss, seed).fit(X[~held], y[~held])
            seen = held & np.isin(y, part.classes_)
            t = tempered(part.decision_function(X[seen]).astype(float), y[seen], part.classes_)
            soft = softmax(model.decision_function(X_test) / t, axis=1)
            covered = [coverage_score(y_test, soft, n=n, labels=classes) for n in (4, 16)]
            found["the same, temperature tuned"] = [np.nan] * 3 + covered + [2 * seconds]
    return found


def abalone(folder, seed):
    frame = pd.read_parquet(folder / "abalone_7.parquet")
    y = frame["target"].to_numpy()
    X = pd.get_dummies(frame.drop(columns="target")).to_numpy(np.float32)
    return split(X, y, seed, y)


def split(X, y, seed, strata=None, n_train=1500):
    a, b, y, y_test = train_test_split(X, y, train_size=n_train, stratify=strata, random_state=seed)
    scaler = StandardScaler().fit(a)
    return scaler.transform(a), y, scaler.transform(b), y_test


def binary_of(make, seed):
    X, y, X_test, y_test = make(seed)
    tanh = {"activation": "tanh"}
    found = {}
    for name, loss, kw in [
        ("cross-entropy", CrossEntropy(), {}),
        ("Coverage(4)", Coverage(4.0), {}),
        ("cross-entropy, tanh", CrossEntropy(), tanh),
        ("the same, Scattering(0.1)", CrossEntropy(), {**tanh, "scheme": Scattering(0.1)}),
        ("the same, class-balanced", CrossEntropy(), {**tanh, "scheme": Scattering(0.1, class_balanced=True)}),
    ]:  # fmt: skip
        a, b, ya, yb = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
        part = classifier(loss, seed, **kw).fit(a, ya)
        precision, recall, cuts = precision_recall_curve(yb, part.predict_proba(b)[:, 1])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        cut = cuts[f1[:-1].argmax()]
        start = time.process_time()
        model = classifier(loss, seed, **kw).fit(X, y)
        seconds = time.process_time() - start
        p = model.predict_proba(X_test)[:, 1]
        ap, decided = average_precision_score(y_test, p), f1_score(y_test, p >= cut)
        found[name] = [ap, decided, log_loss(y_test, p), seconds]
    return found


def regressors():
    return {
        "squared error": "squared_error",
        "absolute error": ErrorFocusedRegression("mae", start=1.0),
        "ErrorFocused, mae": ErrorFocusedRegression("mae"),
        "DynamicReweighting, linupper": DynamicReweighting("squared_error"),
        "DynamicReweighting, quadratic": DynamicReweighting("squared_error", "quadratic"),
        "HL-Gauss, 51 bins": HistogramGaussian(),
        "HL-Gauss, 16 bins": HistogramGaussian(16, 1.0),
        "two-hot, 51 bins": HistogramGaussian(kind="two-hot"),
        "HL-Gauss, balanced": HistogramGaussian(16, 1.0, tau=1.0, prediction="balanced"),
    }


def target_of(folder, name, column, seed, noise):
    frame = pd.read_parquet(folder / f"{name}.parquet").drop(columns="target")
    y = frame[column].to_numpy(float)
    X = pd.get_dummies(frame.drop(columns=column)).to_numpy(np.float32)
    X, y, X_test, y_test = split(X, (y - y.mean()) / y.std(), seed)
    if noise:
        rng = np.random.default_rng(seed)
        rows = np.flatnonzero(rng.random(len(y)) < 0.3)
        y[rows] = y[rng.permutation(rows)]
    return X, y, X_test, y_test


def regression_of(make, seed):
    X, y, X_test, y_test = make(seed)
    top = y_test >= np.quantile(y_test, 0.95)
    found = {}
    for name, loss in regressors().items():
        start = time.process_time()
        model = MLPRegressor(loss, (64, 64), max_iter=60, tol=0.0, random_state=seed).fit(X, y)
        seconds = time.process_time() - start
        error = np.abs(model.predict(X_test) - y_test)
        found[name] = [
            error.mean(),
            np.sqrt((error**2).mean()),
            np.sqrt((error[top] ** 2).mean()),
            np.quantile(error, 0.99),
            seconds,
        ]
    return found


def show(title, head, runs):
    first, rows = next(iter(runs[0])), []
    base = np.mean([run[first][-1] for run in runs])
    for name in runs[0]:
        each = np.array([run[name] for run in runs])
        numbers = ["" if np.isnan(m) else f"{m:.3f}" for m in each[:, :-1].mean(0)]
        rows.append((name, *numbers, f"{each[:, -1].mean() / base:.1f}"))
    print(table((title, *head, "cost"), rows), "\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=["classes", "binary", "regression"])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    folder, seeds = args.data, range(args.seeds)
    if "regression" in args.only:
        head = ("MAE", "RMSE", "RMSE of the top 5 %", "99 % error")
        for name, column in (("abalone_7", "Shell"), ("wine_quality_le4", "alcohol")):
            for noise in (False, True):
                runs = [
                    regression_of(lambda s, n=name, c=column, k=noise: target_of(folder, n, c, s, k), seed)
                    for seed in seeds
                ]  # fmt: skip
                show(f"{column}{', 30 % permuted' * noise}", head, runs)
    if "binary" in args.only:
        runs = [binary_of(lambda s: abalone(folder, s), seed) for seed in seeds]
        show("abalone_7", ("AP", "F1, tuned threshold", "log loss"), runs)
    if "classes" in args.only:
        head = ("balanced accuracy", "top 5", "log loss", "coverage at 4", "at 16")
        banking = Banking(folder)
        for name, make in (
            ("digits", digits),
            ("yeast_mc", lambda s: yeast(folder, s)),
            ("banking77", banking.long_tailed),
        ):
            show(name, head, [classes_of(make, seed) for seed in seeds])
    print(machine())


if __name__ == "__main__":
    main()
