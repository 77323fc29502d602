"""The table of losses, from `all_losses()` and the losses benchmark."""

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
    "Pair kernel: order and likeness of rows": ("pairs", "contrastive"),
    "Around other losses": ("wrappers", "reweighted"),
}


def parameters(cls):
    """Parameters with their types and ranges, from the docstring."""
    from numpydoc.docscrape import ClassDoc

    found = ClassDoc(cls)["Parameters"]
    return "; ".join(f"``{p.name}`` {p.type.replace('default=', 'default ')}" for p in found)


def source(cls):
    """The first reference."""
    text = cls.__doc__.split("References\n    ----------\n", 1)[1]
    return text.strip().split("\n")[0].rstrip(".").split(";")[0]


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
    for family in FAMILIES:
        lines += [family, "~" * len(family), "", ".. list-table::", "   :header-rows: 1", ""]
        head = (
            "loss",
            "targets",
            "rows",
            "probabilities",
            "measured",
            "parameters",
            "searched by default",
            "source",
        )
        lines += [f"   {'* -' if k == 0 else '  -'} {name}" for k, name in enumerate(head)]
        for cls in by_family[family]:
            loss = cls()
            first = next(line for line in cls.__doc__.splitlines() if line.strip()).strip()
            grid = ", ".join(f"``{k}`` {list(v)}" for k, v in cls.grid().items())
            if cls.mixed_shares:
                shares = f"in ``Mixed`` with ``share`` {list(cls.mixed_shares)}"
                grid = f"{grid}, {shares}" if grid else shares
            lines += [
                f"   * - :class:`~skimb.losses.{cls.__name__}`. {first}",
                f"     - {', '.join(sorted(loss.tasks))}",
                f"     - {'separable' if loss.scope == 'row' else 'coupled in a batch'}",
                f"     - {'recovered in closed form' if loss.calibrated else 'scores only'}",
                f"     - {found.get(cls.__name__, 'not measured')}",
                f"     - {parameters(cls)}",
                f"     - {grid}",
                f"     - {source(cls)}",
            ]
        lines.append("")
    return "\n".join(lines) + "\n"
