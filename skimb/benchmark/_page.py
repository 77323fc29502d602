"""The page of a study: summaries, comparisons, tables by set."""

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from skimb.benchmark._diagram import diagram
from skimb.benchmark._methods import METHODS
from skimb.benchmark._metrics import Metric
from skimb.benchmark._sets import LEAST_RARE, LEAST_ROWS, ROWS
from skimb.benchmark._statistics import (
    critical_difference,
    mean_ranks,
    signed_rank_posterior,
    wins_ties_losses,
)
from skimb.benchmark._suites import SUITES

ABOVE = 1.02  # log loss as a share of the constant's from which probabilities are worse than none
REFERENCE = "CatBoost"
_COSTS = {"seconds": "CPU s, fit", "predict_seconds": "CPU s, predict", "memory": "MiB"}


def report(frame, *, title=None, methods=None, command=None, pictures=None):
    """Markdown page of results: summaries, comparisons with the best rival and CatBoost, tables by set.

    Parameters
    ----------
    frame : DataFrame
        What :func:`run` returns, of one suite or several.
    title : str, default=None
        Title of the page; None names the suites.
    methods : sequence of str, default=None
        Methods that were asked for; those without results that are not installed are named as skipped. None
        takes the defaults of the suites.
    command : str, default=None
        Command that repeats it.
    pictures : path-like, default=None
        Folder of the page, into which critical-difference diagrams are drawn (``study_<suite>_<score>.svg``);
        None draws none.

    Returns
    -------
    str
        The page.

    Raises
    ------
    ValueError
        If there are no results.
    ImportError
        If pictures are wanted and matplotlib is missing.

    Notes
    -----
    Scores are averaged over the splits that all methods have seen, then ranked by set; a failed fit ranks last.
    Intervals of mean ranks are bootstrapped over sets (:func:`mean_ranks`), the critical difference
    is Nemenyi's (:func:`critical_difference`), probabilities are those of :func:`signed_rank_posterior`. The
    best rival is the method from outside this package with the best mean rank by the score of that table; it is
    chosen after the fact, which favours it.

    Examples
    --------
    >>> import pandas as pd
    >>> from skimb.benchmark import report
    >>> rows = [
    ...     {"suite": "binary", "set": s, "split": 0, "method": m, "rows": 400, "rare": 40, "error": "",
    ...      "release": "made up 1.0", "seconds": 0.1, "ap": ap, "ratio": 1 - ap}
    ...     for s, m, ap in [("one", "A", 0.8), ("one", "B", 0.7), ("two", "A", 0.6), ("two", "B", 0.5)]
    ... ]
    >>> page = report(pd.DataFrame(rows))
    >>> [line for line in page.splitlines() if line.startswith("| A | 1.00")]
    ['| A | 1.00 (1.00 to 1.00) | 0.700 | 1.00 (1.00 to 1.00) | 0.300 | 0.10 | - | 1 | 0 |']
    """
    if not len(frame):
        raise ValueError("report: there are no results; run some fits first.")
    suites = [SUITES[name] for name in SUITES if name in set(frame["suite"])]
    names = methods or [n for s in suites for n, m in s.methods.items() if m.kind == "default"]
    seen = set(frame["method"])
    unseen = [METHODS[n] for n in dict.fromkeys(names) if n not in seen and n in METHODS]
    skipped = [f"{m.name} ({why})" for m in unseen if (why := m.missing())]
    ahead = [m.name for m in unseen if not m.missing()]
    title = title or f"Benchmark: {', '.join(suite.title.lower() for suite in suites)}"
    parts = [
        f"# {title}",
        f"{date.today()}, {machine()}."
        + (f" `{command}` repeats it." if command else "")
        + f" Versions: {', '.join(sorted(set(frame['release'])))}.",
        f"Sets of a folder, at most {ROWS:,} rows each (drawn by class, of a rare class at least {LEAST_RARE} rows "
        f"where there are some), tables of two classes of at least {LEAST_ROWS} rows and {LEAST_RARE} of the rare "
        "class. Settings never depend on the set, but for searches within the training rows, which all try equally "
        "many settings. One thread per fit; CPU seconds are medians over fits that did not fail. Sets "
        "count where all methods of a table have been run; a fit that failed ranks last.",
    ]
    if skipped:
        parts.append(f"Skipped, since they are not installed: {'; '.join(skipped)}.")
    if ahead:
        parts.append(f"Without results yet: {'; '.join(ahead)}.")
    if left := frame.attrs.get("left"):
        parts.append(f"The run has not ended: {left} fits are ahead.")
    for suite in suites:
        mine = frame[frame["suite"] == suite.name]
        parts += [f"## {suite.title}: {mine['set'].nunique()} sets", suite.words]
        parts += _sections(suite, mine, pictures)
    return "\n\n".join(parts) + "\n"


def _sections(suite, frame, pictures):
    """All methods that have seen most sets, then the others beside them on what they have seen."""
    fits = frame.groupby("method").size()
    few = fits.index[fits < 0.5 * fits.max()].tolist()
    parts = _section(suite, frame[~frame["method"].isin(few)], pictures)
    if few:
        keys = ["set", "split"]
        seen = [set(map(tuple, g[keys].to_numpy())) for n, g in frame.groupby("method") if n in few]
        both = set.intersection(*seen)
        part = frame[[pair in both for pair in map(tuple, frame[keys].to_numpy())]]
        parts.append(f"### With {', '.join(few)}: {part['set'].nunique()} sets")
        parts.append(
            "These methods have been run on fewer sets or splits; all are compared on what they have seen."
        )
        if len(part):
            parts += _section(suite, part, None, whole=False)
    return parts


def _section(suite, frame, pictures, whole=True):
    metrics = [m for m in suite.metrics if m.key in frame and len(_means(frame, m))]
    if not metrics:
        return ["No set has been seen by all methods yet."]
    first, shown = metrics[0], metrics[:2]
    values = {m: _means(frame, m) for m in metrics}
    ranked = {m: mean_ranks(v.to_numpy(), largest=m.largest) for m, v in values.items()}
    columns = values[first].columns
    order = np.argsort(ranked[first][:, 0], kind="stable")
    n, k = values[first].shape
    parts = []
    if k > 1:
        parts.append(
            f"{k} methods on {n} sets, {frame['split'].nunique()} split(s). Mean ranks (1 is best) with "
            "bootstrapped 95 % intervals over sets; two of them differ significantly (Nemenyi, 5 %) from "
            f"{critical_difference(k, n):.2f} on."
        )
    parts.append(_summary(frame, shown, values, ranked, columns, order))
    if not whole:
        return parts
    if pictures is not None and k > 1:
        parts += [_picture(suite, m, values[m], ranked[m], pictures) for m in shown]
    words = "Mean over sets, and the mean rank in brackets; failed fits are left out of the means."
    parts += ["### All scores", words]
    parts.append(_every_score(frame, metrics, values, ranked, columns, order))
    parts += [part for m in shown if k > 1 for part in _against(m, values[m], ranked[m], order)]
    return parts + [part for m in shown for part in _by_set(frame, m, values[m], columns[order])]


def _picture(suite, metric, values, ranked, folder):
    """Draw a critical-difference diagram; the line that shows it."""
    n, k = values.shape
    ours = {name for name in values.columns if name in METHODS and METHODS[name].ours}
    words = f"{suite.title}, {metric.title}: mean ranks over {n} sets"
    name = f"study_{suite.name}_{metric.key}.svg"
    drawn = diagram(values.columns, ranked[:, 0], critical_difference(k, n), ours, words)
    drawn.savefig(Path(folder) / name, metadata={"Date": None})
    return f"![{words}; bars join methods that do not differ significantly]({name})"


def _means(frame, metric):
    """Sets x methods: means over the splits that all methods have seen; failures are infinitely bad.

    Splits on which all methods failed say nothing and are left out.
    """
    failed = frame["error"] != ""
    value = frame[metric.key].where(~failed, -np.inf if metric.largest else np.inf)
    frame = frame.assign(value=value.astype(float))
    whole = frame.pivot(index=["set", "split"], columns="method", values="value").dropna()
    return whole[np.isfinite(whole).any(axis=1)].groupby("set").mean()


def _finite(values):
    return values.where(np.isfinite(values)).mean()


def _summary(frame, metrics, values, ranked, columns, order):
    cells = {}
    for m in metrics:
        ranks = ["{:.2f} ({:.2f} to {:.2f})".format(*row) for row in ranked[m]]
        cells[f"{m.title}, mean rank"] = dict(zip(columns, ranks, strict=True))
        cells[f"mean {m.title}"] = _finite(values[m]).map("{:.3f}".format)
    for key, name in _COSTS.items():
        if key in frame and frame[key].notna().any():
            done = frame[frame["error"] == ""]
            cells[name] = done.groupby("method")[key].median().map("{:.2f}".format)
        elif key != "memory":
            cells[name] = {}
    cells["settings"] = {name: METHODS[name].settings if name in METHODS else 1 for name in columns}
    cells["failed fits"] = (frame["error"] != "").groupby(frame["method"]).sum()
    rows = [[name, *(c.get(name, "-") for c in cells.values())] for name in columns[order]]
    return table(["method", *cells], rows)


def _every_score(frame, metrics, values, ranked, columns, order):
    cells = {}
    for m in metrics:
        means = _finite(values[m])
        pairs = zip(columns, ranked[m][:, 0], strict=True)
        cells[m.title] = {name: f"{means[name]:.3f} ({rank:.2f})" for name, rank in pairs}
    if "ratio" in frame:
        ratio = _means(frame, Metric("ratio", "", False))
        cells["sets above the constant by 2 %"] = (ratio > ABOVE).sum()
    if "risk" in frame:
        risk = _means(frame, Metric("risk", "", False))
        cells["sets whose mean risk is off by 10 %"] = ((risk - 1.0).abs() > 0.1).sum()
    rows = [[name, *(c.get(name, "-") for c in cells.values())] for name in columns[order]]
    return table(["method", *cells], rows)


def _against(metric, values, ranked, order):
    """Wins, ties, losses and posterior probabilities against the best rival and CatBoost."""
    names = values.columns
    rivals = [i for i, name in enumerate(names) if not (name in METHODS and METHODS[name].ours)]
    if not rivals:
        return []
    best = names[min(rivals, key=lambda i: ranked[i, 0])]
    others = list(dict.fromkeys([best, *(n for n in names if n == REFERENCE)]))
    rows = []
    for name in names[order]:
        cells = []
        for other in others:
            if name == other:
                cells += ["-", "-"]
                continue
            a, b = values[name].to_numpy(), values[other].to_numpy()
            d = np.subtract(a, b, out=np.zeros(len(a)), where=a != b)  # both may have failed
            d *= 1 if metric.largest else -1
            found = signed_rank_posterior(d, rope=metric.rope)
            cells.append(" / ".join(map(str, wins_ties_losses(d, rope=metric.rope))))
            cells.append(f"{found.better:.2f} / {found.equivalent:.2f} / {found.worse:.2f}")
        rows.append([name, *cells])
    header = [
        f"{what} against {other}"
        for other in others
        for what in ("wins / ties / losses", "better / equivalent / worse")
    ]
    return [
        f"### {metric.title}: against {' and '.join(others)}",
        f"{best} is the rival from outside this package with the best mean rank, chosen after the fact. "
        f"Differences up to {metric.rope:g} are ties. Better, equivalent and worse are posterior probabilities of "
        "the Bayesian signed-rank test with that region of practical equivalence.",
        table(["method", *header], rows),
    ]


def _by_set(frame, metric, values, order):
    size = frame.groupby("set")[["rows", "rare"]].first()
    rows = [
        [
            name,
            size["rows"][name],
            size["rare"][name],
            *(f"{v:.3f}" if np.isfinite(v) else "failed" for v in row[order]),
        ]
        for name, row in values.iterrows()
    ]
    return [f"### {metric.title} by set", table(["set", "rows", "rarest class", *order], rows)]


def table(header, rows):
    """A markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]
    return "\n".join(lines)


def machine():
    """Processor, cores and versions in one line."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            cpu = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.machine()
    parts = [f"{cpu}, {os.cpu_count()} cores", f"Python {platform.python_version()}"]
    for name in ("torch", "scikit-learn", "skorch", "numpy"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)
