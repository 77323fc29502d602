"""Sets of classes and shares of classes in new rows: what is promised, what is measured, where it fails.

    python tests/bench/schemes/shift.py --data FOLDER

FOLDER holds parquet files with a column ``target``; without it only the simulations run.
"""

import argparse
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import fix_threads, machine, table

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import log_loss  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402

from skimb.posthoc import ClassConditionalConformalClassifier, PriorShiftAdapter  # noqa: E402

warnings.simplefilter("ignore")
SETS = ("mammography", "thyroid_sick")
CENTRES = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.8]])
SHARES = np.array([0.90, 0.07, 0.03])


def three(rng, n, shares):
    y = np.repeat(np.arange(3), np.round(shares * n).astype(int))
    order = rng.permutation(len(y))
    return (CENTRES[y] + rng.normal(size=(len(y), 2)))[order], y[order]


def marginal(model, X, y, new, alpha=0.1):
    """Sets whose promise is about all rows together: the usual split conformal classifier."""
    half = len(y) // 2
    fitted = clone(model).fit(X[:half], y[:half])
    own = np.sort(fitted.predict_proba(X[half:])[np.arange(len(y) - half), y[half:]])
    return fitted.predict_proba(new) >= own[int(alpha * (len(own) + 1)) - 1]


def coverage(repetitions):
    rows = []
    for n in (300, 1000):
        for name, shares in (("same", SHARES), ("40/30/30", np.array([0.4, 0.3, 0.3]))):
            found = {}
            rng = np.random.default_rng(0)
            for _ in range(repetitions):
                X, y = three(rng, n, SHARES)
                new, truth = three(rng, 1000, shares)
                sets = {"all rows together": marginal(LogisticRegression(), X, y, new)}
                for title, cv in (("one part", 0.5), ("folds", 5)):
                    model = ClassConditionalConformalClassifier(LogisticRegression(), cv=cv)
                    sets[title] = model.set_params(random_state=0).fit(X, y).predict_set(new)
                for title, s in sets.items():
                    each = [s[truth == k, k].mean() for k in range(3)]
                    found.setdefault(title, []).append([*each, s.sum(1).mean()])
            for title, values in found.items():
                mean = np.mean(values, 0)
                rows.append([n, name, title, *(f"{v:.3f}" for v in mean[:3]), f"{mean[3]:.2f}"])
    header = [
        "rows",
        "new shares",
        "promise to / from",
        "class 1",
        "class 2",
        "class 3",
        "mean size",
    ]
    return table(header, rows)


def two(rng, n, share, distance=2.0):
    y = (rng.random(n) < share).astype(int)
    return rng.normal(size=(n, 4)) + distance / 2 * y[:, None], y


def twice(X):
    return np.hstack([X, X])


CLASSIFIERS = {
    "logistic regression": LogisticRegression(),
    "naive Bayes, every column twice": make_pipeline(FunctionTransformer(twice), GaussianNB()),
}


def adapters(model):
    kw = {"n_bootstrap": 100, "random_state": 0}
    return {
        "as they are": PriorShiftAdapter(model, calibration=None, **kw),
        "corrected": PriorShiftAdapter(model, **kw),
    }


def shares(repetitions):
    rows = []
    for name, inner in CLASSIFIERS.items():
        for n in (400, 4000):
            found = {}
            rng = np.random.default_rng(0)
            for _ in range(repetitions):
                X, y = two(rng, n, 0.05)
                new = {rho: two(rng, 1000, rho)[0] for rho in (0.01, 0.05, 0.2)}
                for title, model in adapters(inner).items():
                    model.fit(X, y)
                    for rho, rows_of in new.items():
                        naive = model.predict_source_proba(rows_of)[:, 1].mean()
                        model.adapt(rows_of)
                        low, high = model.prior_interval_[1]
                        shift = model.shift_pvalue_ < 0.05
                        doubted = bool(model.doubts_) and any("explain" in d or "differ" in d for d in model.doubts_)  # fmt: skip
                        value = model.estimated_prior_[1]
                        found.setdefault((title, rho), []).append(
                            [naive - rho, value - rho, low <= rho <= high, shift, doubted]
                        )
            for (title, rho), values in found.items():
                v = np.array(values, float)
                error = np.sqrt((v[:, :2] ** 2).mean(0))
                rows.append([name, round(0.05 * n), title, rho, *(f"{e:.4f}" for e in error), *(f"{m:.2f}" for m in v[:, 2:].mean(0))])  # fmt: skip
    header = ["classifier", "rare rows", "probabilities", "new share", "error unmoved", "error", "in the interval", "shift found", "doubted"]  # fmt: skip
    return table(header, rows)


def broken(rng, n, kind):
    """New rows with a share of 0.1 whose precondition fails."""
    X, y = two(rng, n, 0.1)
    if kind == "rare rows come nearer (distance 2 to 1)":
        X, y = two(rng, n, 0.1, 1.0)
    elif kind == "all rows move by half a deviation":
        X = X + 0.25
    elif kind == "a new class, a tenth":
        X[rng.random(n) < 0.1] += np.array([4.0, -2.0, 0.0, 0.0])
    elif kind == "the upper half by score was selected":
        score = X.sum(1)
        kept = score > np.median(score)
        X, y = X[kept], y[kept]
    return X, y


KINDS = ("none", "rare rows come nearer (distance 2 to 1)", "all rows move by half a deviation", "a new class, a tenth", "the upper half by score was selected")  # fmt: skip


def failures(repetitions):
    rows = []
    for kind in KINDS:
        rng, found = np.random.default_rng(1), []
        for _ in range(repetitions):
            X, y = two(rng, 4000, 0.05)
            new, truth = broken(rng, 2000, kind)
            model = PriorShiftAdapter(LogisticRegression(), n_bootstrap=100, random_state=0)
            model.fit(X, y).adapt(new)
            fit = model.shift_fit_pvalue_ < 0.01
            methods = any("differ" in d for d in model.doubts_)
            found.append([truth.mean(), model.estimated_prior_[1], fit, methods, fit or methods])
        v = np.mean(found, 0)
        rows.append([kind, *(f"{m:.3f}" for m in v[:2]), *(f"{m:.2f}" for m in v[2:])])
    header = ["what changed within classes", "true share", "estimate", "fit rejected", "methods disagree", "either"]  # fmt: skip
    return table(header, rows)


def real(folder, repetitions):
    rows = []
    for name in SETS:
        frame = pd.read_parquet(folder / f"{name}.parquet").select_dtypes("number")
        frame = frame[[c for c in frame if not c.startswith("meta_")]].fillna(frame.median())
        X, y = frame.drop(columns="target").to_numpy(float), frame["target"].to_numpy()
        for title, inner in (
            ("logistic regression", make_pipeline(StandardScaler(), LogisticRegression())),
            ("boosted trees", HistGradientBoostingClassifier(max_iter=60, random_state=0)),
        ):
            found = {}
            for seed in range(repetitions):
                rng = np.random.default_rng(seed)
                X_a, X_b, y_a, y_b = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)  # fmt: skip
                model = PriorShiftAdapter(inner, n_bootstrap=100, random_state=0).fit(X_a, y_a)
                plain = model.estimator_
                for factor in (0.25, 4.0):
                    rare, common = np.flatnonzero(y_b == 1), np.flatnonzero(y_b == 0)
                    share = factor * y.mean() / (1 - y.mean() + factor * y.mean())
                    keep = (rng.choice(rare, int(len(common) * share / (1 - share)), replace=False), common) if factor < 1 else (rare, rng.choice(common, int(len(rare) * (1 - share) / share), replace=False))  # fmt: skip
                    at = np.concatenate(keep)
                    truth = y_b[at].mean()
                    model.adapt(X_b[at], on_weak="move")
                    p = plain.predict_proba(X_b[at])[:, 1], model.predict_proba(X_b[at])[:, 1]
                    low, high = model.prior_interval_[1]
                    found.setdefault(factor, []).append(
                        [
                            truth, p[0].mean(), model.estimated_prior_[1], low <= truth <= high,
                            *(log_loss(y_b[at], v.clip(1e-9, 1 - 1e-9)) for v in p), len(model.doubts_) > 0,
                        ]
                    )  # fmt: skip
            for factor, values in found.items():
                v = np.mean(values, 0)
                rows.append([name, title, factor, *(f"{m:.4f}" for m in v[:3]), f"{v[3]:.1f}", *(f"{m:.4f}" for m in v[4:6]), f"{v[6]:.1f}"])  # fmt: skip
    header = ["table", "classifier", "odds times", "true share", "mean probability", "estimate", "in the interval", "log loss", "adapted", "doubted"]  # fmt: skip
    return table(header, rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--repetitions", type=int, default=40)
    given = parser.parse_args()
    print(machine(), "\n", flush=True)
    if given.data is not None:
        print(real(given.data, max(1, given.repetitions // 8)), "\n", flush=True)
    print(coverage(3 * given.repetitions), "\n", flush=True)
    print(failures(given.repetitions), "\n", flush=True)
    print(shares(given.repetitions), flush=True)


if __name__ == "__main__":
    main()
