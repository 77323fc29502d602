"""The command line of the benchmark."""

import argparse
import shlex
from pathlib import Path

from skimb.benchmark._page import report
from skimb.benchmark._run import run
from skimb.benchmark._sets import sources
from skimb.benchmark._suites import SUITES

# name: what it takes, what where it is left out, what it does
_OPTIONS = {
    "data": ("FOLDER", None, "folder of parquet files"),
    "suite": ("SUITE ...", None, ", ".join(SUITES) + " (binary)"),
    "methods": ("METHOD ...", None, "methods to run; the suite's defaults where left out"),
    "sets": ("SET ...", None, "names of sets; all where left out"),
    "splits": ("N", 3, "splits of each set (3)"),
    "limit": ("SECONDS", None, "no further fit begins after so many; 0 only writes pages"),
    "again": ("METHOD ...", None, "methods that are fitted again"),
    "predictions": ("FOLDER", None, "folder of predictions, read and written"),
    "write": (
        "FOLDER",
        ".",
        "folder of the pages, study_<suite>.md, or one page of all suites, <name>.md; "
        "results stand beside them as parquet",
    ),
    "title": ("TITLE", None, "title of the page"),
    "n-jobs": ("N", 1, "processes (1)"),
    "dask": ("ADDRESS", None, "scheduler of a Dask cluster that makes the fits"),
}


def parser():
    """The options."""
    about = "Methods on a folder of sets, and pages that compare them."
    made = argparse.ArgumentParser(prog="python -m skimb.benchmark", description=about)
    for name, (metavar, default, words) in _OPTIONS.items():
        many = metavar.endswith("...")
        kind = {"N": int, "SECONDS": float}.get(metavar, str)
        how = {"type": kind, "metavar": metavar.rstrip(" .")}
        if many:  # --suite binary text, or --suite binary --suite text
            how |= {"nargs": "+", "action": "extend"}
        made.add_argument(f"--{name}", default=default, help=words, **how)
    made.add_argument(
        "--memory", action="store_true", help="each fit in a process of its own, for its memory"
    )
    made.add_argument(
        "--pictures", action="store_true", help="draw critical-difference diagrams beside the pages"
    )
    made.add_argument(
        "--list", action="store_true", help="list suites, methods and, with --data, sets"
    )
    return made


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, default=None
        Its words; None takes those of the process.
    """
    made = parser()
    args = made.parse_args(arguments)
    try:
        if args.list:
            print(listing(args.data))
            return
        if args.data is None:
            made.error("--data FOLDER is needed, the folder of the parquet files.")
        _study(args)
    except (ValueError, ImportError) as error:
        raise SystemExit(str(error)) from None


def _study(args):
    place, chosen = Path(args.write), args.suite or ["binary"]
    pages = {place / f"study_{name}.md": [name] for name in chosen}
    if place.suffix == ".md":
        pages = {place: chosen}
    for path, suites in pages.items():
        frame = run(
            args.data,
            suites=suites,
            methods=args.methods,
            sets=args.sets,
            splits=args.splits,
            limit=args.limit,
            again=args.again or (),
            predictions=args.predictions,
            results=path.with_suffix(".parquet"),
            n_jobs=args.n_jobs,
            dask=args.dask,
            memory=args.memory,
            progress=True,
        )
        if args.methods is not None:
            frame = frame[frame["method"].isin(args.methods)]
        if not len(frame):
            print(f"no results for {path}", flush=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        how = {"title": args.title, "methods": args.methods, "command": command(args, suites)}
        page = report(frame, pictures=path.parent if args.pictures else None, **how)
        path.write_text(page)
        print(f"wrote {path}", flush=True)


def command(args, suites):
    """What repeats a page, without folders."""
    words = ["python -m skimb.benchmark --data FOLDER --suite", *suites]
    for name in ("methods", "sets"):
        if chosen := getattr(args, name):
            words += [f"--{name}", *map(shlex.quote, chosen)]
    return " ".join([*words, "--splits", str(args.splits)])


def listing(folder=None):
    """Suites, methods with what they lack here, and the sets of a folder."""
    lines = []
    found = sources(folder) if folder is not None else {}
    for suite in SUITES.values():
        lines += [f"{suite.name}: {suite.title}", f"  tasks: {', '.join(suite.tasks)}"]
        names = [s.name for s in found.values() if s.task in suite.tasks]
        if folder is not None:
            lines.append(f"  sets: {', '.join(names) or 'none'}")
        lines += [f"  {_described(method)}" for method in suite.methods.values()]
    return "\n".join(lines)


def _described(method):
    words = [] if method.kind == "default" else [f"if named, {method.kind}"]
    if why := method.missing():
        words.append(f"missing: {why}")
    return method.name + (f" ({'; '.join(words)})" if words else "")
