"""The tables of losses, from `all_losses()` and the losses benchmark."""

import csv
from pathlib import Path

HERE = Path(__file__).parent
FAMILIES = {
    "Softmax kernel: one score per class": (
        "softmax",
        "rebalanced",
        "robust",
        "spherical",
        "adversarial",
    ),
    "Sigmoid kernel: one score per label": ("sigmoid", "multilabel", "multilabel_batch"),
    "Confusion kernel: metrics and costs of decisions": ("confusion", "dice", "decisions"),
    "Pair kernel: order and likeness of rows": ("pairs", "ranking", "contrastive"),
    "Labels that are known in part": ("unlabeled",),
    "Around other losses": ("wrappers", "reweighted"),
}


def first_line(cls):
    """The first line of the docstring."""
    return next(line for line in cls.__doc__.splitlines() if line.strip()).strip()


def searched(cls):
    """What a search over losses tries by default, as a sentence; empty where that is the default alone."""
    grid = ", ".join(f"``{name}`` in {list(values)}" for name, values in cls.grid().items())
    if cls.mixed_shares:
        shares = f"in :class:`~skimb.losses.Mixed` with ``share`` in {list(cls.mixed_shares)}"
        grid = f"{grid}, {shares}" if grid else shares
    return f"Searches over losses try {grid}." if grid else ""


def add_searched(app, what, name, thing, options, lines):
    """Sphinx: the page of a loss says what searches try of it."""
    if what == "class" and name.startswith("skimb.losses.") and hasattr(thing, "grid"):
        sentence = searched(thing)
        if sentence:
            lines += ["", ".. rubric:: In searches", "", sentence, ""]


def measured():
    """What the losses benchmark found, by loss: a line for its first task."""
    path = HERE / "benchmarks" / "losses.csv"
    lines = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            metric = "AP" if row["task"] == "binary" else "balanced accuracy"
            if row["loss"] not in lines and row[f"{metric} verdict"]:
                d, e = float(row[f"{metric} difference"]), float(row[f"{metric} error"])
                lines[row["loss"]] = f"{metric} {d:+.3f} ± {e:.3f}: {row[f'{metric} verdict']}"
            elif row["loss"] == "cross-entropy" and "CrossEntropy" not in lines:
                d, e = float(row[f"{metric} difference"]), float(row[f"{metric} error"])
                lines["CrossEntropy"] = f"{metric} {d:+.3f} ± {e:.3f}: {row[f'{metric} verdict']}"
    return lines


def losses_table():
    """Content of docs/generated_losses.rst: one table per family."""
    from skimb.losses import all_losses

    families = {module: family for family, modules in FAMILIES.items() for module in modules}
    by_family = {}
    for cls in all_losses():
        module = cls.__module__.rsplit(".", 1)[1]
        if module not in families:
            raise ValueError(f"{cls.__module__} has no family; add it to FAMILIES in {__file__}.")
        by_family.setdefault(families[module], []).append(cls)
    lines, found = [], measured()
    tasks = {"binary": "2", "multiclass": "C", "multilabel": "L", "regression": "R"}
    for family in FAMILIES:
        lines += [family, "~" * len(family), "", ".. list-table::", "   :header-rows: 1"]
        lines += ["   :widths: 25 50 25", ""]
        for k, name in enumerate(("loss", "what it is", "measured")):
            lines.append(f"   {'* -' if k == 0 else '  -'} {name}")
        for cls in by_family[family]:
            loss = cls()
            takes = " ".join(tasks[task] for task in tasks if task in loss.tasks)
            marks = ["P"] * loss.calibrated + ["B"] * (loss.scope == "batch")
            lines += [
                f"   * - :class:`~skimb.losses.{cls.__name__}`",
                f"     - {first_line(cls)} ({', '.join([takes, *marks])})",
                f"     - {found.get(cls.__name__, 'not measured')}",
            ]
        lines.append("")
    return "\n".join(lines) + "\n"
