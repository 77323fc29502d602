"""Write the table of losses from `all_losses()` and refuse public names without documentation."""

import importlib
from pathlib import Path

HERE = Path(__file__).parent
PUBLIC = (
    "boosting",
    "datasets",
    "engine",
    "functional",
    "kernels",
    "linear_model",
    "losses",
    "nets",
    "neural_network",
    "testing",
)


def write_losses():
    from skimb.losses import all_losses

    rows = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - loss",
        "     - what it is",
        "     - targets",
        "     - rows",
        "     - probabilities",
        "     - searched by default",
    ]
    for cls in all_losses():
        loss = cls()
        first = next(line for line in cls.__doc__.splitlines() if line.strip()).strip()
        grid = ", ".join(f"``{k}`` {list(v)}" for k, v in cls.grid().items())
        rows += [
            f"   * - :class:`~skimb.losses.{cls.__name__}`",
            f"     - {first}",
            f"     - {', '.join(sorted(cls.tasks))}",
            f"     - {'separable' if loss.scope == 'row' else 'coupled in a batch'}",
            f"     - {'recovered in closed form' if loss.calibrated else 'scores only'}",
            f"     - {grid}",
        ]
    (HERE / "generated_losses.rst").write_text("\n".join(rows) + "\n")


def check_documented():
    text = (HERE / "api.rst").read_text()
    missing = [
        f"skimb.{name}.{attribute}"
        for name in PUBLIC
        for attribute in importlib.import_module(f"skimb.{name}").__all__
        if attribute not in text
    ]
    if missing:
        raise RuntimeError(f"public names without a place in docs/api.rst: {missing}")


def setup(app):
    write_losses()
    check_documented()
    return {"parallel_read_safe": True}
