"""Sets of rows in a folder of parquet files, and their splits."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

from skimb._base.labels import rarest_labels
from skimb._core.optional import require
from skimb.datasets._table_file import TASKS, TableFile

ROWS = 12_000  # larger sets are drawn from
LEAST_ROWS, LEAST_RARE = 300, 30  # of two-class sets
LEAST_STREAM = 4_000
LEAST_CLASS = 5  # rows of a class among several; rarer ones are left out
TEST = 0.4  # share of the test part


class Source(NamedTuple):
    """A file of a set: its name, its path, its task, its columns."""

    name: str
    path: Path
    task: str
    columns: tuple[str, ...]


class Rows(NamedTuple):
    """Features, targets, and what a split has to heed: groups and times, or None."""

    X: object
    y: np.ndarray
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def at(self, index):
        """Some of the rows."""
        groups, times = (None if v is None else v[index] for v in (self.groups, self.times))
        return Rows(self.X.iloc[index].reset_index(drop=True), self.y[index], groups, times)


def sources(folder):
    """All sets of a folder, by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"benchmark: {folder} is no folder; give the folder of the parquet files.")
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise ValueError(
            f"benchmark: {folder} has no parquet files; the docstring of skimb.benchmark says how to write some."
        )
    return {path.stem: _source(path) for path in paths}


def _source(path):
    """A set with the task of its metadata, else with the one that its columns speak of."""
    file = TableFile(path, extra="benchmark")
    task = file.about.get("task") or _guessed(file)
    if task not in TASKS:
        raise ValueError(
            f"benchmark: {path} has the task {task!r} in its skimb_meta; it must be one of {', '.join(TASKS)}."
        )
    if bool(file.labels) != ("multilabel" in task):
        there = "columns 'label_...'" if file.labels else "a column 'target'"
        raise ValueError(
            f"benchmark: {path} has {there} and the task {task!r} in its skimb_meta; multilabel sets have labels, "
            "all others a target."
        )
    return Source(path.stem, path, task, file.columns)


def _guessed(file):
    if file.labels:
        task = "multilabel"
    else:
        y = file.read(target_only=True).target
        classes = "binary" if y.nunique() == 2 else "multiclass"
        task = "regression" if y.dtype.kind == "f" else classes
    return f"text-{task}" if "text" in file.columns else task


def _read(source):
    """Features, target as it stands, groups and times."""
    X, y, meta = TableFile(source.path, extra="benchmark").read()
    if y.isna().to_numpy().any():
        raise ValueError(f"benchmark: {source.path} has missing targets; drop those rows.")
    groups, times = (meta[name].to_numpy() if name in meta else None for name in ("group", "time"))
    if source.task.startswith("text"):
        if "text" not in X:
            raise ValueError(f"benchmark: {source.path} has no column 'text'; its task needs one.")
        X = X["text"].fillna("").astype(object)
    else:
        X.columns = [f"x{i}" for i in range(X.shape[1])]  # some libraries refuse signs in names
        X = X.apply(_feature).dropna(axis=1, how="all")
    return X, y, groups, times


def _feature(column):
    """Numbers with NaN, days for dates, categories with texts for anything else: what all libraries read."""
    pd = require("pandas", extra="benchmark")
    kind = pd.api.types
    if kind.is_datetime64_any_dtype(column):
        return (column - column.min()).dt.total_seconds() / 86_400
    if kind.is_timedelta64_dtype(column):
        return column.dt.total_seconds() / 86_400
    if not kind.is_numeric_dtype(column):
        return column.astype("category").cat.rename_categories(str)
    if kind.is_extension_array_dtype(column.dtype):
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), column.index)
    return column


def classes_of(source):
    """Rows with class codes; None for sets of two classes that are too small."""
    X, y, groups, times = _read(source)
    y = np.unique(y, return_inverse=True)[1]
    counts = np.bincount(y)
    if source.task.endswith("binary"):
        if len(counts) != 2:
            raise ValueError(
                f"benchmark: {source.path} is of two classes by its task, but has {len(counts)} values of 'target'."
            )
        if len(y) < LEAST_ROWS or counts.min() < LEAST_RARE:
            return None
    rows = Rows(X, y, groups, times)
    if not source.task.endswith("binary"):
        kept = np.flatnonzero(np.isin(y, np.flatnonzero(counts >= LEAST_CLASS)))
        rows = rows.at(kept)
        rows = rows._replace(y=np.unique(rows.y, return_inverse=True)[1])
    if len(rows.y) > ROWS:
        rows = rows.at(_drawn(rows.y))
    return rows


def _drawn(y):
    """`ROWS` rows by class, of each class no fewer than `LEAST_RARE` if it has them."""
    rng = np.random.default_rng(0)
    counts = np.bincount(y)
    want = np.maximum(np.round(counts * ROWS / len(y)).astype(int), np.minimum(counts, LEAST_RARE))
    want[counts.argmax()] -= want.sum() - ROWS
    chosen = [rng.choice(np.flatnonzero(y == c), n, replace=False) for c, n in enumerate(want)]
    return np.sort(np.concatenate(chosen))


def numbers_of(source):
    """Rows with numeric targets."""
    X, y, groups, times = _read(source)
    y = y.to_numpy(float)
    if not np.isfinite(y).all():
        raise ValueError(f"benchmark: {source.path} has infinite targets; drop those rows.")
    return _few(Rows(X, y, groups, times))


def labels_of(source):
    """Rows with a 0/1 column per label that two rows have."""
    X, y, groups, times = _read(source)
    y = y.to_numpy()
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"benchmark: {source.path} has labels other than 0 and 1.")
    rows = _few(Rows(X, y.astype(int), groups, times))
    return rows._replace(y=rows.y[:, rows.y.sum(0) >= LEAST_CLASS])


def stream_of(source):
    """Rows of two classes, the first ones by their times where they have some; None where there are few."""
    if "meta_time" in source.columns:
        X, y, _, times = _read(source)
        order = np.argsort(times, kind="stable")[:ROWS]
        rows = Rows(X, np.unique(y, return_inverse=True)[1], None, times).at(order)
    else:
        rows = classes_of(source)
    if rows is None or len(rows.y) < LEAST_STREAM or np.bincount(rows.y).min() < LEAST_RARE:
        return None
    return rows


def _few(rows):
    """At most `ROWS` rows, drawn."""
    n = len(rows.y)
    if n <= ROWS:
        return rows
    return rows.at(np.sort(np.random.default_rng(0).choice(n, ROWS, replace=False)))


# --- splits ----------------------------------------------------------------------------------------


def unheeded(source):
    """The way of `plain` in names of files."""
    return ""


def heeded(source):
    """The way of `heeding` in names of files."""
    ways = {"time": "meta_time", "group": "meta_group"}
    return next((way for way, column in ways.items() if column in source.columns), "")


def plain(rows, split):
    """60 % to train, stratified by class; groups and times are not heeded."""
    index = np.arange(len(rows.y))
    return train_test_split(index, test_size=TEST, stratify=rows.y, random_state=split)


def heeding(rows, split):
    """The past to train where there are times, else groups kept whole where there are some, else `plain`."""
    index = np.arange(len(rows.y))
    _refuse_missing(rows)
    if rows.times is not None:
        cut = np.sort(rows.times)[round((1 - TEST) * len(index))]
        return np.flatnonzero(rows.times < cut), np.flatnonzero(rows.times >= cut)
    strata = _strata(rows.y)
    if rows.groups is None:
        return train_test_split(index, test_size=TEST, stratify=strata, random_state=split)
    if strata is None:
        folds = GroupShuffleSplit(1, test_size=TEST, random_state=split)
        return next(folds.split(index, groups=rows.groups))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=split)
    tests = [test for _, test in folds.split(index, strata, rows.groups)]
    test = np.sort(np.concatenate(tests[:2]))
    return np.setdiff1d(index, test), test


def _refuse_missing(rows):
    pd = require("pandas", extra="benchmark")
    for name, values in {"meta_group": rows.groups, "meta_time": rows.times}.items():
        if values is not None and pd.isna(values).any():
            raise ValueError(f"{name} is missing in some rows, which no split can place")


def streaming(rows, split):
    """A first part with a tenth of the rows, or more until it has ten of the rare class; then the rest in order.

    Rows without times are shuffled.
    """
    _refuse_missing(rows)
    n = len(rows.y)
    order = np.arange(n) if rows.times is not None else np.random.default_rng(split).permutation(n)
    rare = np.flatnonzero(rows.y[order] == np.bincount(rows.y).argmin())
    first = max(n // 10, rare[min(9, len(rare) - 1)] + 1)
    return order[:first], order[first:]


def streamed(source):
    """The way of `streaming` in names of files."""
    return "stream"


def _strata(y):
    """What to stratify by: classes; of labels the rarest one that a row has; None for numbers."""
    if y.ndim == 2:
        strata = rarest_labels(y)
        sizes = np.bincount(strata)
        strata[sizes[strata] < 2] = sizes.argmax()
        return strata if sizes.max() > 1 else None
    return None if y.dtype.kind == "f" else y
