"""Benchmark of training on a CUDA device against the CPU: single fits, populations, mixed precision, fused losses.

    python tests/bench/bench_gpu.py [--write docs/benchmarks/gpu.md] [--device cuda] [--sections fits populations ...]

Wall seconds of whole fits with a fixed number of epochs, each after one fit for warming up, medians over rounds in
turns. The CPU has one thread unless said. Data are drawn, so only times mean something here.
"""

import argparse
import sys
import time
import warnings
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from bench_tabm import package_fit  # noqa: E402
from harness import machine, median, table, written  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402

from skimb.kernels import backends, reference_only  # noqa: E402
from skimb.losses import CrossEntropy, Focal, LogitAdjusted  # noqa: E402
from skimb.model_selection import batched_fits  # noqa: E402
from skimb.neural_network import MLPClassifier, TabMClassifier  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)


def rows(n, d, n_classes=2):
    """Rows in float32 and their classes; of two classes one has a tenth of the rows."""
    if n_classes == 2:
        X, y = make_classification(n, d, n_informative=5, weights=[0.9], random_state=0)
        return X.astype(np.float32), y
    rng = np.random.RandomState(0)
    y = np.r_[np.arange(n_classes), rng.randint(n_classes, size=n - n_classes)]
    X = rng.normal(size=(n, d)) + rng.normal(size=(n_classes, d))[y]
    return X.astype(np.float32), y


def seconds(functions, rounds, warm="cpu"):
    """Median wall seconds of functions in turns, each but the one named after one call for warming up."""
    found = {name: [] for name in functions}
    for at in range(rounds + 1):
        for name, function in functions.items():
            if name == warm and not at:
                continue
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if at:
                found[name].append(time.perf_counter() - start)
    return {name: median(v) for name, v in found.items()}


def fit(model, X, y):
    return lambda: model.fit(X, y)


def line(label, found, device, *names):
    """Cells of a row: seconds of each name, and how many times faster than the CPU the last two are."""
    cells = [f"{found[name]:.2f}" if name in found else "-" for name in names]
    gains = [f"{found['cpu'] / found[name]:.1f}" for name in names[1:] if name in found]
    print(label, cells, gains, flush=True)
    return [*label, *cells, *gains]


def fit_table(device, rounds):
    lines = []
    for n, batch in ((2_000, "auto"), (20_000, "auto"), (20_000, 2048), (100_000, 4096)):
        X, y = rows(n, 30)
        kw = {"batch_size": batch, "max_iter": 2, "random_state": 0}
        models = {
            "MLPClassifier (100,)": lambda kw=kw, **more: MLPClassifier(**kw, **more),
            "MLPClassifier (512, 512)": lambda kw=kw, **more: MLPClassifier(
                (512, 512), **kw, **more
            ),
            "TabMClassifier": lambda kw=kw, **more: TabMClassifier(
                validation_folds=1, **kw, **more
            ),
            "TabMClassifier, five folds": lambda kw=kw, **more: TabMClassifier(**kw, **more),
            "TabMClassifier, 32 members of width 256": lambda kw=kw, **more: TabMClassifier(
                32, 256, validation_folds=1, **kw, **more
            ),
        }
        for name, make in models.items():
            if n > 20_000 and "," in name and "TabM" in name:
                continue  # too long on the CPU
            functions = {
                "cpu": fit(make(), X, y),
                "there": fit(make(device=device), X, y),
                "short": fit(make(device=device, mixed_precision=True), X, y),
            }
            found = seconds(functions, rounds if n < 20_000 else 1)
            lines.append(line([name, f"{n:,}", batch], found, device, "cpu", "there", "short"))
    header = ["model", "rows", "batch", "CPU s", f"{device} s", "mixed precision s"]
    return table([*header, "gain", "gain, mixed precision"], lines)


def population_table(device, rounds):
    lines = []
    losses = [CrossEntropy(), Focal(1.0), Focal(2.0), LogitAdjusted()]
    for name, make, folds in (
        ("MLPClassifier (64,)", lambda **kw: MLPClassifier((64,), **kw), 3),
        ("MLPClassifier (64, 64)", lambda **kw: MLPClassifier((64, 64), **kw), 3),
        ("TabMClassifier", lambda **kw: TabMClassifier(validation_folds=1, **kw), 2),
    ):
        X, y = rows(4_000, 30)
        grid = {"loss": losses, "learning_rate_init": [0.001, 0.003]}
        functions = {}
        for place in ("cpu", device):
            kw = {"max_iter": 3, "batch_size": 256, "random_state": 0, "device": place}
            search = GridSearchCV(make(**kw), grid, cv=folds, scoring="neg_log_loss", refit=False)

            def together(search=search):
                with batched_fits():
                    search.fit(X, y)  # noqa: B023

            where = "cpu" if place == "cpu" else "there"
            if where not in functions:
                functions[where] = together
                functions[f"{where} alone"] = fit(search, X, y)
        names = ("cpu", "cpu alone", "there", "there alone")
        found = seconds(functions, rounds)
        cells = [f"{found[n]:.2f}" if n in found else "-" for n in names]
        lines.append([name, 8 * folds, *cells])
        print(lines[-1], flush=True)
    header = ["model", "fits", "CPU, together s", "CPU, one after another s"]
    return table([*header, f"{device}, together s", f"{device}, one after another s"], lines)


def package_table(device, rounds):
    lines = []
    for n, d, batch in ((10_000, 30, 256), (50_000, 30, 2048)):
        X, y = rows(n, d)
        kw = {"n_members": 16, "width": 128, "batch_size": batch, "max_iter": 3, "device": device}
        functions = {}
        for name, short in (("ours", False), ("ours, mixed precision", True)):
            model = TabMClassifier(validation_folds=0, random_state=0, mixed_precision=short, **kw)
            functions[name] = fit(model, X, y)
        try:
            package_fit(X[:256], y[:256], batch, 1, device)
        except ImportError as error:
            return f"Skipped: {error}."
        functions["tabm"] = lambda X=X, y=y, batch=batch: package_fit(X, y, batch, 3, device)
        found = seconds(functions, rounds)
        cells = [f"{v:.2f}" for v in found.values()]
        lines.append([f"{n:,}", d, batch, *cells, f"{found['tabm'] / found['ours']:.1f}"])
        print(lines[-1], flush=True)
    header = ["rows", "columns", "batch", "TabMClassifier s", "mixed precision s", "tabm s"]
    return table([*header, "ratio"], lines)


def class_table(device, rounds):
    lines = []
    for n_classes, batch in ((100, 4096), (1_000, 4096), (10_000, 4096)):
        X, y = rows(50_000, 64, n_classes)
        kw = {"batch_size": batch, "max_iter": 3, "random_state": 0, "device": device}
        model = MLPClassifier((256,), loss=LogitAdjusted(), **kw)

        def plain(model=model, X=X, y=y):
            with reference_only():
                model.fit(X, y)

        found = seconds({"fused": fit(model, X, y), "plain": plain}, rounds)
        gain = found["plain"] / found["fused"]
        lines.append(
            [f"{n_classes:,}", batch, *(f"{v:.2f}" for v in found.values()), f"{gain:.2f}"]
        )
        print(lines[-1], flush=True)
    return table(["classes", "batch", "fused s", "torch s", "ratio"], lines)


SECTIONS = {
    "fits": (
        "Single fits",
        "Two epochs of each model on drawn rows with 30 columns.",
        fit_table,
    ),
    "populations": (
        "Populations",
        "A grid of four losses and two rates, three epochs of 4,000 rows each, inside `batched_fits()` and outside it.",
        population_table,
    ),
    "package": (
        "Against the package tabm",
        "Three epochs of one ensemble of 16 members of width 128 with piecewise linear embeddings, as in the comparison on "
        "the CPU, both on the device.",
        package_table,
    ),
    "classes": (
        "Fused losses inside a fit",
        "Three epochs of `MLPClassifier` with one hidden layer of 256 and `LogitAdjusted`, 50,000 rows, with the fused loss "
        "and with the same loss as torch operations.",
        class_table,
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    args = parser.parse_args()
    card = torch.cuda.get_device_name() if args.device.startswith("cuda") else "no card"
    parts = [
        "# Training on a GPU",
        f"{date.today()}, {card}; {machine()} Fused losses on CUDA: {backends()['cuda'] or 'there'}. "
        "`python tests/bench/bench_gpu.py` repeats it. Wall seconds of whole fits, the reading of the table included.",
    ]
    for name in args.sections:
        title, text, make = SECTIONS[name]
        parts += [f"## {title}", text, make(args.device, args.rounds)]
        written(parts, args.write)


if __name__ == "__main__":
    main()
