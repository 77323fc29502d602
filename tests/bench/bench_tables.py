"""Benchmark of classifiers at their defaults on a folder of tables: ranking, probabilities, seconds.

    python tests/bench/bench_tables.py --data FOLDER [--write docs/benchmarks/tables.md]
        [--sets NAME ...] [--methods NAME ...] [--splits 3] [--limit SECONDS] [--again METHOD ...]

FOLDER holds parquet files with a `target` column of class codes (1 the rare class of two); columns named `meta_*` are
no features. Every fit is one row of a parquet file beside the page, so that a run that was stopped goes on where it
stopped; the page is made of all rows that are there. Rivals that are not installed are named on the page.
"""

import argparse
import json
import shlex
import sys
import time
import warnings
from datetime import date, timedelta
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from harness import machine, table  # noqa: E402
from rich.progress import (  # noqa: E402
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from scipy.stats import loguniform, rankdata, studentized_range  # noqa: E402
from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.metrics import (  # noqa: E402
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
)
from sklearn.model_selection import (  # noqa: E402
    RandomizedSearchCV,
    StratifiedKFold,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402
from sklearn.preprocessing import (  # noqa: E402
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

warnings.simplefilter("ignore")
torch.set_num_threads(1)

ROWS = 12_000  # larger sets are drawn from
LEAST_ROWS, LEAST_RARE = 300, 30  # of two-class sets
LEAST_CLASS = 5  # rows of a class among several; rarer ones are left out
ABOVE = 1.02  # log loss as a share of the constant's from which probabilities are worse than none
TASKS = {"binary": "binary", "multiclass": "multiclass", "ordinal": "multiclass"}
KEY = ["set", "split", "method"]
PAGE, SPLITS = Path("docs/benchmarks/tables.md"), 3


# --- rows ------------------------------------------------------------------------------------------


def task_of(path):
    """Task of a set: "binary", "multiclass", or None where it is no table of classes."""
    schema = pq.read_schema(path)
    if "target" not in schema.names or any(name.startswith("text") for name in schema.names):
        return None
    meta = json.loads((schema.metadata or {}).get(b"skimb_meta", b"{}"))
    if meta:
        return TASKS.get(meta["task"])
    y = pd.read_parquet(path, columns=["target"])["target"]
    if y.dtype.kind not in "iub":
        return None
    return "binary" if y.nunique() == 2 else "multiclass"


def load(path, task):
    """Features as a frame of numbers and categories, and class codes; None for sets that are too small."""
    frame = pd.read_parquet(path)
    y = np.unique(frame["target"], return_inverse=True)[1]
    X = frame.drop(columns=["target", *(c for c in frame if c.startswith("meta_"))])
    counts = np.bincount(y)
    if task == "binary" and (len(y) < LEAST_ROWS or counts.min() < LEAST_RARE):
        return None
    if task == "multiclass":
        kept = np.isin(y, np.flatnonzero(counts >= LEAST_CLASS))
        X, y = X[kept], np.unique(y[kept], return_inverse=True)[1]
    if len(y) > ROWS:
        X, y = drawn(X, y)
    X = X.reset_index(drop=True)
    X.columns = [f"x{i}" for i in range(X.shape[1])]  # some libraries refuse signs in names
    for name in X:
        if not pd.api.types.is_numeric_dtype(X[name]):
            X[name] = X[name].astype("category")
    return X, y


def drawn(X, y):
    """`ROWS` rows by class, of each class no fewer than `LEAST_RARE` if it has them."""
    rng = np.random.default_rng(0)
    counts = np.bincount(y)
    want = np.maximum(np.round(counts * ROWS / len(y)).astype(int), np.minimum(counts, LEAST_RARE))
    want[counts.argmax()] -= want.sum() - ROWS
    chosen = [rng.choice(np.flatnonzero(y == c), n, replace=False) for c, n in enumerate(want)]
    at = np.sort(np.concatenate(chosen))
    return X.iloc[at], y[at]


# --- methods -----------------------------------------------------------------------------------------


def numeric(X):
    return X.select_dtypes("number").columns.tolist()


def categorical(X):
    return X.select_dtypes("category").columns.tolist()


def scaled(number_steps=None):
    """One-hot columns, and numbers imputed by the median and scaled, or by other steps."""
    steps = number_steps or [
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
    ]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=50)
    parts = [("numbers", make_pipeline(*steps), numeric), ("codes", one_hot, categorical)]
    return ColumnTransformer(parts)


def codes(impute):
    """Categories as numbers."""
    how = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -1}
    coded = ColumnTransformer(
        [("codes", OrdinalEncoder(**how), categorical)], remainder="passthrough"
    )
    if not impute:
        return coded
    return make_pipeline(coded, SimpleImputer(strategy="median", keep_empty_features=True))


def as_text(X):
    """Categories as texts, missing ones as a text of their own."""
    X = X.copy()
    for name in categorical(X):
        X[name] = X[name].astype(str).where(X[name].notna(), "missing").astype(object)
    return X


class Common(TransformerMixin, BaseEstimator):
    """Keeps the 254 most frequent categories of a column, for libraries that take no more."""

    def fit(self, X, y=None):
        self.kept_ = {c: X[c].value_counts().index[:254].tolist() for c in categorical(X)}
        return self

    def transform(self, X):
        X = X.copy()
        for name, kept in self.kept_.items():
            X[name] = X[name].cat.set_categories(kept)
        return X


def catboost(X, seed):
    from catboost import CatBoostClassifier

    class OnFrames(CatBoostClassifier):  # lists of columns as a parameter cannot be cloned
        def fit(self, X, y):
            return super().fit(X, y, cat_features=X.select_dtypes(object).columns.tolist())

    kw = {"thread_count": 1, "allow_writing_files": False, "verbose": False, "random_seed": seed}
    steps = [("text", FunctionTransformer(as_text)), ("catboostclassifier", OnFrames(**kw))]
    return Pipeline(steps)


def lightgbm(X, seed):
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=1, verbose=-1, random_state=seed)


def xgboost(X, seed):
    from xgboost import XGBClassifier

    return XGBClassifier(n_jobs=1, enable_categorical=True, random_state=seed)


def hist(X, seed):
    from sklearn.ensemble import HistGradientBoostingClassifier

    kw = {"categorical_features": "from_dtype", "random_state": seed}
    return make_pipeline(Common(), HistGradientBoostingClassifier(**kw))


def forest(X, seed):
    from sklearn.ensemble import RandomForestClassifier

    return make_pipeline(codes(impute=False), RandomForestClassifier(n_jobs=1, random_state=seed))


def logistic(X, seed):
    from sklearn.linear_model import LogisticRegression

    return make_pipeline(scaled(), LogisticRegression(max_iter=1000))


def ours(before, **kw):
    def make(X, seed):
        from skimb.neural_network import MLPClassifier

        return make_pipeline(before(), MLPClassifier(random_state=seed, **kw))

    return make


def theirs(before):
    def make(X, seed):
        from sklearn.neural_network import MLPClassifier

        return make_pipeline(before(), MLPClassifier(random_state=seed))

    return make


def encoded():
    from skimb.preprocessing import PiecewiseLinearEncoder

    return scaled([PiecewiseLinearEncoder()])


def encoded_linear(X, seed):
    from skimb.linear_model import LinearClassifier

    return make_pipeline(encoded(), LinearClassifier(random_state=seed))


def tabm(**kw):
    def make(X, seed):
        from skimb.neural_network import TabMClassifier

        return TabMClassifier(random_state=seed, **kw)

    return make


def bare():
    return codes(impute=True)


class Imputed(TransformerMixin, BaseEstimator):
    """Numbers without holes: medians in their place; categories as texts."""

    def fit(self, X, y=None):
        self.medians_ = X[numeric(X)].median().fillna(0.0)
        return self

    def transform(self, X):
        return as_text(X).fillna(self.medians_)


def of_pytabkit(name, **kw):
    def make(X, seed):
        import pytabkit

        kw_all = {"device": "cpu", "n_threads": 1, "random_state": seed, **kw}
        return Named(getattr(pytabkit, name)(**kw_all), categorical(X))

    return make


class Named(BaseEstimator):
    """A classifier of pytabkit that is told the names of categories when it is fitted."""

    def __init__(self, model, names):
        self.model, self.names = model, names

    def fit(self, X, y):
        self.before_ = Imputed().fit(X)
        self.model.fit(self.before_.transform(X), y, cat_col_names=self.names)
        return self

    def predict_proba(self, X):
        return self.model.predict_proba(self.before_.transform(X))

    def predict(self, X):
        return self.model.predict(self.before_.transform(X))


# --- searches: each makes 30 settings x 3 folds -----------------------------------------------------

SETTINGS, FOLDS = 30, 3
BOOSTED = {
    "learning_rate": loguniform(0.01, 0.3),
    "reg_lambda": loguniform(0.01, 10.0),
    "subsample": [0.6, 0.8, 1.0],
}
SPACES = {
    "LightGBM": BOOSTED
    | {"num_leaves": [4, 8, 16, 31], "min_child_samples": [5, 10, 20, 40], "subsample_freq": [1]}
    | {"n_estimators": [50, 100, 200, 400], "colsample_bytree": [0.5, 0.75, 1.0]},
    "XGBoost": BOOSTED
    | {"max_depth": [2, 3, 4, 6], "min_child_weight": [0.1, 1.0, 5.0]}
    | {"n_estimators": [50, 100, 200, 400], "colsample_bytree": [0.5, 0.75, 1.0]},
    "CatBoost": {
        "catboostclassifier__learning_rate": loguniform(0.01, 0.3),
        "catboostclassifier__l2_leaf_reg": loguniform(0.5, 20.0),
        "catboostclassifier__depth": [3, 4, 6, 8],
        "catboostclassifier__iterations": [100, 200, 400, 800],
        "catboostclassifier__random_strength": [0.5, 1.0, 3.0],
    },
}


def tuned(name):
    """The best of 30 random settings by log loss over three folds."""

    def make(X, seed):
        cv = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        kw = {"n_iter": SETTINGS, "cv": cv, "scoring": "neg_log_loss", "random_state": seed}
        return RandomizedSearchCV(METHODS[name][1](X, seed), SPACES[name], **kw)

    return make


def across_kinds(X, seed):
    """Nets, linear models, a forest and boosted trees in one search with an ensemble: 30 settings as well."""
    from skimb.losses import Focal, LogitAdjusted
    from skimb.model_selection import LossSearchCV
    from skimb.neural_network import TabMClassifier

    trees = [("cat", "CatBoost"), ("light", "LightGBM"), ("xgb", "XGBoost")]
    kinds = [
        ("tabm", TabMClassifier(random_state=seed, validation_folds=1)),
        ("linear", encoded_linear(X, seed)),
        ("forest", forest(X, seed)),
        *((short, METHODS[name][1](X, seed)) for short, name in trees if not missing(name)),
    ]
    leaf = "randomforestclassifier__min_samples_leaf"
    grids = {
        "linear": {"linearclassifier__alpha": [1e-4, 1e-2]},  # 8 with the losses, as TabM's 4 and the forest's 2
        "forest": {leaf: [1, 5]},
        "cat": {f"catboostclassifier__{k}": v for k, v in {"depth": [4, 6], "iterations": [200, 500]}.items()},
        "light": {"learning_rate": [0.03, 0.1], "num_leaves": [4, 16], "min_child_samples": [10, 30]},
        "xgb": {"learning_rate": [0.03, 0.1], "max_depth": [3, 6]},
    }  # fmt: skip
    cv = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    kw = {
        "losses": [Focal(1.0), LogitAdjusted()],
        "scoring": "neg_log_loss",
        "cv": cv,
        "ensemble": 12,
    }
    return LossSearchCV(kinds, {k: v for k, v in grids.items() if k in dict(kinds)}, **kw)


# name -> (what must be there: module or module:name, function of (training rows, seed))
METHODS = {
    "TabMClassifier": ("skimb.neural_network:TabMClassifier", tabm()),
    "CatBoost": ("catboost", catboost),
    "LightGBM": ("lightgbm", lightgbm),
    "XGBoost": ("xgboost", xgboost),
    "HistGradientBoosting": ("sklearn", hist),
    "random forest": ("sklearn", forest),
    "logistic regression": ("sklearn", logistic),
    "MLPClassifier": ("skimb", ours(bare)),
    "MLPClassifier, scaled": ("skimb", ours(scaled)),
    "MLPClassifier, scaled, early stopping": ("skimb", ours(scaled, early_stopping=True)),
    "MLPClassifier, encoded": ("skimb.preprocessing:PiecewiseLinearEncoder", ours(encoded)),
    "LinearClassifier, encoded": ("skimb.preprocessing:PiecewiseLinearEncoder", encoded_linear),
    "RealMLP": ("pytabkit", of_pytabkit("RealMLP_TD_Classifier")),
    "TabM of pytabkit": ("pytabkit", of_pytabkit("TabM_D_Classifier")),
    "scikit-learn's MLPClassifier": ("sklearn", theirs(bare)),
    "scikit-learn's MLPClassifier, scaled": ("sklearn", theirs(scaled)),
}

SEARCHES = {
    "LossSearchCV across kinds": ("skimb.neural_network:TabMClassifier", across_kinds),
    "LightGBM, tuned": ("lightgbm", tuned("LightGBM")),
    "XGBoost, tuned": ("xgboost", tuned("XGBoost")),
    "CatBoost, tuned": ("catboost", tuned("CatBoost")),
}
CHANGES = [
    ("n_members", 4),
    ("n_members", 16),
    ("width", 32),
    ("width", 128),
    ("validation_folds", 1),
    ("validation_folds", 3),
    ("d_embedding", 8),
    ("dropout", 0.1),
    ("embedding", "periodic"),
    ("ensemble", "packed"),
]
SIZES = {
    f"TabMClassifier, {name}={value}": (
        "skimb.neural_network:TabMClassifier",
        tabm(**{name: value}),
    )
    for name, value in CHANGES
}
DEFAULTS = list(METHODS)
METHODS |= SEARCHES | SIZES


def missing(method):
    """Why a method cannot run here, or None."""
    module, _, name = METHODS[method][0].partition(":")
    try:
        found = import_module(module)
    except ImportError as error:
        return str(error)
    return f"{module} has no {name}" if name and not hasattr(found, name) else None


def release(method):
    package = METHODS[method][0].partition(".")[0].partition(":")[0]
    for name in (package, {"sklearn": "scikit-learn"}.get(package, f"{package}-cpu")):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return package


# --- one fit -----------------------------------------------------------------------------------------


def fit(method, X, y, split):
    """Scores of one method on one split of a set."""
    rows = np.arange(len(y))
    train, test = train_test_split(rows, test_size=0.4, stratify=y, random_state=split)
    began = time.process_time()
    try:
        model = METHODS[method][1](X.iloc[train], split).fit(X.iloc[train], y[train])
        seconds = time.process_time() - began
        proba = np.asarray(model.predict_proba(X.iloc[test]), float)
        decided = np.asarray(model.predict(X.iloc[test])).ravel()
        labels = np.arange(y.max() + 1)
        proba /= proba.sum(1, keepdims=True)  # sums that are off by rounding of 32 bits
        prior = np.bincount(y[train]) / len(train)
        constant = log_loss(y[test], np.tile(prior, (len(test), 1)), labels=labels)
        found = {
            "log_loss": log_loss(y[test], proba, labels=labels),
            "balanced_accuracy": balanced_accuracy_score(y[test], decided),
            "error": "",
        }
        found["ratio"] = found["log_loss"] / constant
        if len(labels) == 2:
            found["ap"] = average_precision_score(y[test], proba[:, 1])
            found["risk"] = float(proba[:, 1].mean() / y[test].mean())
    except Exception as error:  # one row of the results says so; the next run tries again
        seconds = time.process_time() - began
        found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    return found | {"seconds": seconds, "release": release(method)}


class Results:
    """Rows of results in a parquet file."""

    def __init__(self, path, again):
        self.path, self.rows = path, {}
        self.saved = time.perf_counter()
        if path.exists():
            for row in pd.read_parquet(path).to_dict("records"):
                if row["method"] not in again and not row["error"]:
                    self.rows[tuple(row[k] for k in KEY)] = row

    def add(self, row):
        self.rows[tuple(row[k] for k in KEY)] = row
        if time.perf_counter() - self.saved > 10:
            self.save()

    def save(self):
        self.saved = time.perf_counter()
        if self.rows:
            part = self.path.with_suffix(".part")
            self.frame().to_parquet(part, index=False)
            part.replace(self.path)

    def frame(self):
        return pd.DataFrame(list(self.rows.values()))


def left(seconds, todo):
    """Time left, by the mean seconds of each method so far."""
    overall = np.mean([s for found in seconds.values() for s in found]) if seconds else 0.0
    total = sum(np.mean(seconds.get(method, [overall])) for *_, method in todo)
    return str(timedelta(seconds=round(total)))


def run(args, results):
    """Fit what is not among the results yet; stops at the limit."""
    began = time.perf_counter()
    sets = {}
    for path in sorted(args.data.glob("*.parquet")):
        if (args.sets is None or path.stem in args.sets) and (task := task_of(path)):
            sets[path.stem] = path, task
    if unknown := sorted(set(args.sets or []) - set(sets)):
        raise SystemExit(f"{args.data} has no tables of classes named {', '.join(unknown)}.")
    able = [m for m in args.methods if missing(m) is None]
    keys = [(name, split, m) for name in sets for split in range(args.splits) for m in able]
    todo = [key for key in keys if key not in results.rows]
    print(
        f"{len(sets)} sets, {len(able)} methods: {len(todo)} of {len(keys)} fits to do", flush=True
    )
    seconds, X, y, current = {}, None, None, None
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[left]} left")) as bar:
        shown = bar.add_task("", total=len(todo), left="?")
        while todo:
            if args.limit is not None and time.perf_counter() - began > args.limit:
                print(
                    f"stopped at the limit; {len(todo)} fits are left for the next run", flush=True
                )
                return
            name, split, method = todo.pop(0)
            if name != current:
                current, loaded = name, load(*sets[name])
                if loaded is None:  # too small
                    dropped = sum(key[0] == name for key in todo) + 1
                    todo = [key for key in todo if key[0] != name]
                    bar.advance(shown, dropped)
                    continue
                X, y = loaded
                print(f"{name}: {len(y)} rows, {left(seconds, todo)} left", flush=True)
            bar.update(shown, description=f"{name}, {method}", left=left(seconds, todo))
            start = time.perf_counter()
            row = {"set": name, "split": split, "method": method, "task": sets[name][1]}
            size = {"rows": len(y), "features": X.shape[1], "rare": int(np.bincount(y).min())}
            results.add(row | size | fit(method, X, y, split))
            seconds.setdefault(method, []).append(time.perf_counter() - start)
            bar.advance(shown)


# --- the page ----------------------------------------------------------------------------------------


def critical_difference(k, n, level=0.05):
    """Difference of mean ranks of k methods over n sets from which it is significant (Nemenyi).

    The studentized range over sqrt(2), times sqrt(k (k + 1) / (6 n)); Demsar 2006, JMLR 7.
    """
    return studentized_range.ppf(1 - level, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))


def means(frame, metric, largest):
    """Sets x methods, averaged over splits, of the sets that all methods have seen; failures are the worst."""
    failed = frame["error"] != ""
    value = frame[metric].where(~failed, -np.inf if largest else np.inf)
    whole = frame.assign(value=value).pivot_table(
        index="set", columns="method", values="value", aggfunc="mean", dropna=False
    )
    return whole.dropna()


def ranks(values, largest):
    """Mean rank of each method; ties share theirs."""
    signed = -values if largest else values
    return pd.Series(rankdata(signed, axis=1).mean(0), index=values.columns)


def section(title, frame, metrics, each=True):
    """One kind of target: what is ranked, then every set."""
    ratio = means(frame, "ratio", largest=False)
    parts, first = [], None
    columns = {}
    for metric, name, largest in metrics:
        values = means(frame, metric, largest)
        rank = ranks(values, largest)
        first = rank if first is None else first
        finite = values.where(np.isfinite(values))
        columns[f"{name}, mean rank"] = rank.map("{:.2f}".format)
        columns[f"mean {name}"] = finite.mean().map("{:.3f}".format)
    columns["sets above the constant by 2 %"] = (ratio > ABOVE).sum()
    if "risk" in frame and frame["risk"].notna().any():
        risk = means(frame, "risk", False)
        columns["sets whose mean risk is off by 10 %"] = ((risk - 1.0).abs() > 0.1).sum()
    columns["CPU s, median"] = means(frame, "seconds", False).median().map("{:.2f}".format)
    columns["failed fits"] = (frame["error"] != "").groupby(frame["method"]).sum()
    order = first.sort_values(kind="stable").index
    n, k = ratio.shape
    parts.append(f"## {title}: {n} sets")
    if k > 1 and n > 0:
        parts.append(
            f"{k} methods. Mean ranks differ significantly (Nemenyi, 5 %) from {critical_difference(k, n):.2f} on."
        )
    rows = [[m, *(column.get(m, "-") for column in columns.values())] for m in order]
    parts.append(table(["method", *columns], rows))
    for metric, name, largest in metrics[:2] if each else ():
        values = means(frame, metric, largest)[order]
        size = frame.groupby("set")[["rows", "rare"]].first()
        rows = [
            [s, size["rows"][s], size["rare"][s], *(f"{v:.3f}" for v in values.loc[s])]
            for s in values.index
        ]
        parts.append(f"### {name} by set")
        parts.append(table(["set", "rows", "rarest class", *order], rows))
    return parts


DEFAULT_WORDS = (
    "Defaults only, one thread each. Categories and missing values reach boosted trees of CatBoost, LightGBM, XGBoost and "
    'HistGradientBoosting and TabMClassifier as they are; a forest takes categories as codes; "scaled" and logistic regression are '
    'behind median imputation, scaling and one-hot columns, "encoded" behind a PiecewiseLinearEncoder and one-hot columns; plain nets take codes '
    "and medians."
)
SEARCH_WORDS = (
    f"Every method tries {SETTINGS} settings in {FOLDS} stratified folds and is chosen by log loss: boosted trees by random search over "
    "learning rate, size, regularisation, rounds and shares of rows and columns; LossSearchCV over TabM (one validation part), "
    "linear models on encoded numbers, a forest and the boosted trees that are installed, with three losses, as an ensemble of at most 12 picks. "
    "One thread each."
)


def command(args):
    """The call of make that repeats a run."""
    given = [] if args.write == PAGE else ["--write", str(args.write)]
    given += [] if args.splits == SPLITS else ["--splits", str(args.splits)]
    given += ["--sets", *args.sets] if args.sets else []
    given += [] if args.methods == DEFAULTS else ["--methods", *args.methods]
    return (
        f'make bench-tables DATA=folder ARGS="{shlex.join(given)}"'
        if given
        else "make bench-tables DATA=folder"
    )


def page(frame, args):
    """The whole page."""
    frame = frame[frame["method"].isin(args.methods)]
    searches = set(frame["method"]) <= set(SEARCHES)
    seen = frame.groupby("method")["set"].nunique()
    partial = seen.index[seen < 0.5 * seen.max()].tolist()
    every, frame = frame, frame[~frame["method"].isin(partial)]
    skipped = [f"{m} ({why})" for m in args.methods if m not in seen and (why := missing(m))]
    used = sorted(set(every["release"]))
    title = "Classifiers at their defaults, on tables"
    if searches:
        title = "Searches of 30 settings, on tables"
    elif set(frame["method"]) <= {"TabMClassifier", *SIZES}:
        title = "TabMClassifier with one parameter changed, on tables"
    parts = [
        f"# {title}",
        f"{date.today()}, {machine()} `{command(args)}` repeats it. Versions: {', '.join(used)}.",
        f"Tables of a folder, at most {ROWS:,} rows each (drawn by class, of a rare class at least {LEAST_RARE} rows where there are "
        f"some), {frame['split'].max() + 1} stratified split(s) of 60 % for training, two-class sets of at least {LEAST_ROWS} rows and {LEAST_RARE} of the rare "
        f"class. {SEARCH_WORDS if searches else DEFAULT_WORDS} AP is average precision; the log loss is given as a share of that of a constant, the classes' shares among the training rows; "
        "mean risk is the mean probability of the rare class as a share of its share among test rows; CPU seconds "
        "are those of `fit`. Sets count where all methods have been run; a fit that failed ranks last.",
        f"Skipped: {'; '.join(skipped)}." if skipped else "No method was skipped.",
    ]  # fmt: skip
    wanted = args.sets or [path.stem for path in args.data.glob("*.parquet") if task_of(path)]
    last = every["set"].max()
    if ahead := sum(name > last for name in wanted):
        parts.append(
            f"The run has not ended: tables are taken by name, it has come to {last}, and {ahead} files are ahead."
        )
    loss = ("ratio", "log-loss ratio", False)
    right = ("balanced_accuracy", "balanced accuracy", True)
    kinds = (
        ("binary", "Two classes", [("ap", "AP", True), loss, right]),
        ("multiclass", "Several classes", [right, loss]),
    )
    for task, name, metrics in kinds:
        part = frame[frame["task"] == task]
        if len(part):
            parts += section(name, part, metrics)
        part = every[every["task"] == task]
        if partial and part["method"].isin(partial).any():
            few = part[part["method"].isin(partial)].groupby("method")["set"].agg(set)
            part = part[part["set"].isin(set.intersection(*few)) & part["split"].eq(0)]
            words = f"{name}, first split, with {' and '.join(partial)}"
            parts += section(words, part, metrics, each=False)
    return "\n\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of parquet files")
    parser.add_argument("--write", type=Path, default=PAGE)
    parser.add_argument("--sets", nargs="+", help="names of sets; all where left out")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DEFAULTS, metavar="METHOD", help=", ".join(METHODS))  # fmt: skip
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--limit", type=float, help="seconds after which no further fit begins")
    parser.add_argument("--again", nargs="+", choices=METHODS, default=[], metavar="METHOD", help="methods whose results are thrown away first")  # fmt: skip
    args = parser.parse_args()
    for method in args.methods:
        if why := missing(method):
            print(f"skipped: {method} ({why})", flush=True)
    results = Results(args.write.with_suffix(".parquet"), args.again)
    try:
        run(args, results)
    finally:
        results.save()
    if results.rows:
        frame = results.frame()
        args.write.write_text(page(frame, args))
        print(f"wrote {args.write}")


if __name__ == "__main__":
    main()
