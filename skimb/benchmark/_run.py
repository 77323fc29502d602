"""Fits what is not among the results yet, and keeps the results in a parquet file."""

import time
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from functools import lru_cache
from multiprocessing import get_context
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, parallel_config

from skimb._core.optional import require
from skimb._core.warn import warn_user
from skimb.benchmark._fits import fit
from skimb.benchmark._methods import METHODS, Method
from skimb.benchmark._sets import LEAST_RARE, LEAST_ROWS, LEAST_STREAM, Source, sources
from skimb.benchmark._store import Store, slug
from skimb.benchmark._suites import SUITES, Suite

KEY = ("suite", "set", "split", "method")


class Job(NamedTuple):
    """A fit that is to be made."""

    suite: Suite
    source: Source
    split: int
    method: Method

    @property
    def key(self):
        """Its row of the results."""
        return self.suite.name, self.source.name, self.split, self.method.name

    @property
    def place(self):
        """Its place in a folder of predictions."""
        way = self.suite.way(self.source)
        return self.source.name, f"{way}{self.split}", self.method.name


class Results:
    """Rows of results by key, in a parquet file if there is a path."""

    def __init__(self, path=None):
        self.path = None if path is None else Path(path)
        self.rows, self.saved = {}, time.perf_counter()
        if self.path is not None and self.path.exists():
            for row in self._read().to_dict("records"):
                self.rows[tuple(row[k] for k in KEY)] = row

    def _read(self):
        pandas = require("pandas", extra="benchmark")
        require("pyarrow", extra="benchmark")
        try:
            frame = pandas.read_parquet(self.path)
        except (ValueError, OSError) as error:  # pyarrow's own errors are both
            raise ValueError(
                f"benchmark: {self.path} is no parquet file of results; delete it, or name another file. What a "
                "folder of predictions holds is scored again."
            ) from error
        if "suite" not in frame and "task" in frame:
            frame = frame.assign(suite=frame["task"])
        if lost := [name for name in (*KEY, "error") if name not in frame]:
            raise ValueError(
                f"benchmark: {self.path} holds no results, it lacks the columns {', '.join(lost)}; name "
                "another file."
            )
        return frame

    def add(self, key, row):
        """Keep a row; the file is written every ten seconds."""
        self.rows[key] = row
        if time.perf_counter() - self.saved > 10:
            self.save()

    def save(self):
        """Write the file."""
        self.saved = time.perf_counter()
        if self.path is None or not self.rows:
            return
        require("pyarrow", extra="benchmark")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        self.frame().to_parquet(part, index=False)
        part.replace(self.path)

    def frame(self):
        """All rows as a frame."""
        columns = None if self.rows else [*KEY, "error"]
        pd = require("pandas", extra="benchmark")
        return pd.DataFrame(list(self.rows.values()), columns=columns)


def run(
    data,
    *,
    suites=("binary",),
    methods=None,
    sets=None,
    splits=3,
    limit=None,
    again=(),
    predictions=None,
    results=None,
    n_jobs=1,
    dask=None,
    memory=False,
    progress=False,
):
    """Fit methods on the sets of a folder and score what they predict for rows they have not seen.

    Parameters
    ----------
    data : path-like
        Folder of parquet files; :mod:`skimb.benchmark` describes them.
    suites : sequence of str, default=("binary",)
        Names of :data:`skimb.benchmark.SUITES`.
    methods : sequence of str or Method, default=None
        Names of the registry, or methods of one's own; None takes the defaults of each suite. Those that are not
        installed are not fitted; what the folder of predictions holds of them is scored.
    sets : sequence of str, default=None
        Names of sets; None takes all of the suites' tasks.
    splits : int, default=3
        Splits of each set. Its number is the seed of the split and of the methods.
    limit : float, default=None
        Seconds after which no further fit begins; 0 scores what the folder of predictions holds.
    again : sequence of str, default=()
        Methods that are fitted again although they have results.
    predictions : path-like, default=None
        Folder that every fit is written to. What it holds is scored and not fitted again.
    results : path-like, default=None
        Parquet file with a row per fit. It is read, added to, and written every ten seconds.
    n_jobs : int, default=1
        Processes of joblib; each fit has one thread.
    dask : str, default=None
        Address of a Dask scheduler whose workers make the fits; they must see the same folder of sets.
    memory : bool, default=False
        Whether each fit is made in a process of its own, whose growth in MiB while fitting and predicting is
        kept as `memory`.
    progress : bool, default=False
        Whether a bar shows how far it has come.

    Returns
    -------
    DataFrame
        One row per suite, set, split and method with the scores of the suite, CPU seconds of fit (`seconds`) and
        predict (`predict_seconds`), and `error`, which is empty unless the fit failed. A failed fit is a result as
        any other; name its method in `again` to try once more. ``frame.attrs["left"]`` is how many fits the limit
        left.

    Raises
    ------
    ValueError
        If a suite, a method or a set is unknown, a method is of none of the suites, two methods would have one file
        of predictions, the folder holds no set for a suite, or the file of results is damaged.
    TypeError
        If names are given as one string.
    ImportError
        If pandas, pyarrow or (for `progress`) rich are missing; the extra is named.

    Warns
    -----
    UserWarning
        If sets are left out, since they have too few rows (two classes need 300 rows and 30 of the rare one,
        streams 4,000 rows), or a file of predictions is damaged, whose fit is made again.

    See Also
    --------
    report : The page of the results.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd
    >>> from skimb.benchmark import run
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 3))
    >>> table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(target=(X[:, 0] > 1).astype(int))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_parquet(f"{folder}/made_up.parquet")
    ...     frame = run(folder, methods=["random forest"], splits=2)
    >>> frame[["set", "split", "method", "error"]].to_numpy().tolist()
    [['made_up', 0, 'random forest', ''], ['made_up', 1, 'random forest', '']]
    >>> bool((frame["ap"] > 0.9).all())
    True
    """
    for name, given in {"suites": suites, "methods": methods, "sets": sets, "again": again}.items():
        if isinstance(given, str):
            raise TypeError(f"benchmark: {name}={given!r} must be a sequence; write [{given!r}].")
    if isinstance(splits, bool) or not isinstance(splits, Integral) or splits < 1:
        raise ValueError(f"benchmark: splits={splits!r} must be a whole number of 1 or more.")
    found = sources(data)
    again = {chosen.name for chosen in _methods_of(again, None)}
    of_suites = [
        (suite, _methods_of(methods, suite)) for suite in map(_suite, dict.fromkeys(suites))
    ]
    _refuse_unused(methods, of_suites)
    kept, store = Results(results), Store(predictions)
    todo = []
    for suite, chosen in of_suites:
        for split in range(splits):
            for source in _sources_of(suite, found, sets, data, suites):
                todo += [Job(suite, source, split, method) for method in chosen]
    for job in todo:
        if job.method.name in again:
            kept.rows.pop(job.key, None)
    try:
        todo = [job for job in _shown(todo, progress) if not _have(job, kept, store, again)]
        able = {job.method for job in todo}
        able = {method for method in able if method.missing() is None}
        todo = [job for job in todo if job.method in able]
        left = _fit_all(todo, kept, store, limit, n_jobs, dask, memory, progress)
    finally:
        kept.save()
    frame = kept.frame()
    frame.attrs["left"] = left
    return frame


def _suite(name):
    if name not in SUITES:
        raise ValueError(f"benchmark: suite {name!r} is unknown; take one of {', '.join(SUITES)}.")
    return SUITES[name]


def _methods_of(methods, suite):
    """Chosen methods; those of the registry only in their suites."""
    if methods is None:
        return [m for m in suite.methods.values() if m.kind == "default"]
    for m in methods:
        if not isinstance(m, Method) and m not in METHODS:
            raise ValueError(
                f"benchmark: method {m!r} is unknown; `python -m skimb.benchmark --list` names all."
            )
    chosen = [m if isinstance(m, Method) else METHODS[m] for m in methods]
    return [m for m in dict.fromkeys(chosen) if suite is None or suite.name in m.suites]


def _refuse_unused(methods, of_suites):
    """Refuse methods that no suite would run, and different ones that would share a file of predictions."""
    chosen = dict.fromkeys(m for _, methods_of in of_suites for m in methods_of)
    for m in _methods_of(methods or (), None):
        if m not in chosen:
            raise ValueError(
                f"benchmark: the method {m.name!r} is one of the suites {', '.join(m.suites)} and of none that "
                f"are run ({', '.join(suite.name for suite, _ in of_suites)})."
            )
    files = {}
    for m in chosen:
        other = files.setdefault(slug(m.name), m)
        if other != m:
            raise ValueError(
                f"benchmark: the methods {other.name!r} and {m.name!r} would have the same file of predictions, "
                f"{slug(m.name)}.npz; rename one of them."
            )


def _sources_of(suite, found, sets, data, suites):
    """Sets of a suite, in the order of their names."""
    if unknown := sorted(set(sets or ()) - set(found)):
        raise ValueError(f"benchmark: {data} has no sets named {', '.join(unknown)}.")
    mine = [s for s in found.values() if s.task in suite.tasks and (sets is None or s.name in sets)]
    if not mine and (sets is None or len(suites) == 1):
        raise ValueError(
            f"benchmark: {data} has no sets for the suite {suite.name!r}; it takes those of the tasks "
            f"{', '.join(suite.tasks)}."
        )
    return mine


def _shown(jobs, progress):
    """The jobs, with a bar while their stored results are looked through."""
    if not progress:
        return jobs
    track = require("rich.progress", extra="benchmark").track
    return track(jobs, "looking for results", transient=True)


def _have(job, kept, store, again):
    """Whether a fit has its row; scores those that the store holds."""
    row = kept.rows.get(job.key)
    if row is not None and (row["error"] or _whole(row, job.suite)):
        return True
    if job.method.name not in again:
        found = store.read(*job.place)
        if found is not None:
            kept.add(job.key, _row(job, found, found["meta"]))
            return True
    return row is not None


def _whole(row, suite):
    """Whether a row has all scores of its suite; those that came later are missing in older rows."""
    return all(row.get(m.key) is not None and not np.isnan(row[m.key]) for m in suite.metrics)


def _row(job, arrays, meta):
    """A row of results: what is known of the fit, and the scores of its predictions."""
    row = {"suite": job.suite.name, **meta}
    if meta["error"]:
        return row
    try:
        return row | {k: float(v) for k, v in job.suite.scores(arrays, job.split).items()}
    except KeyError as error:
        why = f"the suite's scores need predictions of another kind, there is no {error}"
    except Exception as error:  # predictions that no score can be made of are a failed fit
        why = f"no score: {type(error).__name__}: {error}".splitlines()[0][:200]
    return row | {"error": why}


@lru_cache(maxsize=2)
def _rows(suite_name, source, written):
    return SUITES[suite_name].load(source)


def _rows_of(job):
    return _rows(job.suite.name, job.source, job.source.path.stat().st_mtime_ns)


def _fits_of(jobs):
    """How many of the jobs will be fits, since their sets have enough rows."""
    of_sets = {}
    for job in jobs:
        of_sets.setdefault((job.suite.name, job.source.name), []).append(job)
    count = 0
    for own in of_sets.values():
        try:
            small = _rows_of(own[0]) is None
        except (ValueError, OSError):  # a fit will say what is wrong with the file
            small = False
        count += 0 if small else len(own)
    return count


def _one(job, memory):
    """Arrays, meta and wall seconds of a fit; no meta where the set is too small."""
    began = time.perf_counter()
    rows = _rows_of(job)
    if rows is None:
        return job, None, None, 0.0
    fitted = _alone if memory else fit
    arrays, meta = fitted(job.suite, job.method, job.source, rows, job.split)
    return job, arrays, meta, time.perf_counter() - began


def _alone(*what):
    """`fit` in a process of its own."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(
        target=_answer, args=(require("cloudpickle", extra="benchmark").dumps(what), theirs)
    )
    child.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        suite, method, source, rows, split = what
        child.join()
        error = f"its process ended with exit code {child.exitcode}"
        known = {"set": source.name, "split": split, "method": method.name, "task": suite.name}
        size = {"rows": len(rows.y), "features": 0, "rare": 0, "release": method.release()}
        nothing = {"seconds": np.nan, "predict_seconds": np.nan, "memory": np.nan}
        return {}, known | size | nothing | {"error": error}
    finally:
        child.join()


def _answer(what, pipe):
    pipe.send(fit(*require("cloudpickle", extra="benchmark").loads(what), memory=True))


def _fit_all(todo, kept, store, limit, n_jobs, dask, memory, progress):
    """Make the fits; how many are left at the limit."""
    began, seconds, small = time.perf_counter(), {}, {}
    with ExitStack() as stack:
        if dask is not None:
            client = require("distributed", extra="dask").Client(dask)
            stack.enter_context(client)
            stack.enter_context(parallel_config(backend="dask", n_jobs=-1))
        bar = stack.enter_context(_Bar(len(todo)) if progress else nullcontext())

        def jobs():
            for job in todo:
                if limit is not None and time.perf_counter() - began >= limit:
                    return
                yield delayed(_one)(job, memory)

        how = {"n_jobs": None if dask else n_jobs, "return_as": "generator_unordered"}
        waiting = {job.key: job for job in todo}
        for job, arrays, meta, wall in Parallel(**how)(jobs()):
            del waiting[job.key]
            if meta is None:
                small.setdefault(job.suite.name, set()).add(job.source.name)
            else:
                store.write(*job.place, arrays, meta)
                kept.add(job.key, _row(job, arrays, meta))
                seconds.setdefault(job.method.name, []).append(wall)
            if bar is not None:
                bar.step(job, _left(seconds, waiting.values()))
    for name, sets in small.items():
        warn_user(
            f"benchmark: the suite {name!r} leaves out {', '.join(sorted(sets))}, which have too few rows: two "
            f"classes need {LEAST_ROWS} rows and {LEAST_RARE} of the rare one, streams {LEAST_STREAM:,} rows."
        )
    left = _fits_of(waiting.values())
    if progress and left:
        print(f"stopped at the limit; {left} fits are left for the next run", flush=True)
    return left


def _left(seconds, waiting):
    """Time left, by the mean seconds of each method so far."""
    overall = np.mean([s for found in seconds.values() for s in found]) if seconds else 0.0
    total = sum(np.mean(seconds.get(job.method.name, [overall])) for job in waiting)
    return str(timedelta(seconds=round(float(total))))


class _Bar:
    """How many fits are made, and the time left."""

    def __init__(self, total):
        rich = require("rich.progress", extra="benchmark")
        shown = [rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn()]
        left = rich.TextColumn("{task.fields[left]} left")
        self.progress = rich.Progress(*shown, rich.TimeElapsedColumn(), left)
        self.task = self.progress.add_task("", total=total, left="?")

    def __enter__(self):
        self.progress.start()
        return self

    def __exit__(self, *_):
        self.progress.stop()

    def step(self, job, left):
        """One fit is made."""
        name = f"{job.source.name}, {job.method.name}"
        self.progress.update(self.task, advance=1, description=name, left=left)
