"""Benchmark of TabM: a step by hand against plain autograd, folds together against one after another, real sets.

    python tests/bench/bench_tabm.py [--write docs/benchmarks/tabm.md] [--rounds 5] [--data FOLDER --sets a,b]

One thread. Steps: forward, loss, backward, gradient clipping and AdamW on rows that wait in memory, in turns. The
plain module writes the same architecture in torch: encodings, products and means as the formulas stand. Sets:
stratified 60/40 splits of at most 6,000 rows of parquet files with a 0/1 column ``target``; defaults everywhere.
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
from harness import interleaved, machine, median, ratio, table, written  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from torch import nn  # noqa: E402

from skimb._core.priors import ClassPrior  # noqa: E402
from skimb.engine import grouping  # noqa: E402
from skimb.engine.data import Batch  # noqa: E402
from skimb.engine.optim import Adam  # noqa: E402
from skimb.engine.step import Step  # noqa: E402
from skimb.engine.tabm import NetTabM  # noqa: E402
from skimb.engine.tabm_layers import First, TableFirst  # noqa: E402
from skimb.engine.tabm_net import TabM, TabMShape  # noqa: E402
from skimb.kernels import reference_only  # noqa: E402
from skimb.losses import CrossEntropy, Focal, Target  # noqa: E402
from skimb.neural_network import MLPClassifier, TabMClassifier  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)

STEPS = (
    "Forward, loss, backward, gradient clipping and AdamW of TabM-mini with piecewise linear embeddings (48 bins, 16 "
    "numbers a column, 2 hidden layers), cross-entropy, against the same architecture in torch with autograd and fused AdamW. "
    "Then the step by hand in torch calls alone, with dropout 0.1, and with a focal loss in the place of cross-entropy."
)
PACKAGE = (
    "Whole fits over three epochs, one ensemble on all rows (`validation_folds=0`), 16 members of width 128, two hidden layers, "
    "piecewise linear embeddings of 48 bins and 16 numbers a column, batches of 256, AdamW, gradient clipping: against the package "
    "`tabm` with a plain loop over batches and fused AdamW. Ours includes reading and scaling the table, theirs the bins."
)
FIRST = (
    "Embeddings and first layer of TabM-mini, forward and gradients: numbers in 48 bins and categories of four levels, 16 numbers a "
    "column. Looked up: tables of bins and levels go through the weights. Embedded: rows do, in C as well. Torch: the latter without C."
)
FOLDS = (
    "Whole fits of `TabMClassifier`, its five ensembles trained as one population against one after another. What is gained "
    "are the calls of small operations; products take the same time."
)
SETS = (
    "Stratified 60/40 splits of at most 6,000 rows, average precision and log loss as a share of the constant prevalence's on "
    "the 40 %. Nothing is tuned. MLPClassifier has standardised numbers, one-hot categories and layers (64, 64)."
)
SHAPES = [
    (10, 32, 8, 64),
    (30, 64, 8, 64),
    (30, 256, 8, 64),
    (30, 256, 16, 128),
    (30, 256, 32, 128),
]


FIRST_SHAPES = [
    (10, 0, 128, 8, 64),
    (15, 4, 128, 8, 64),
    (6, 21, 128, 8, 64),
    (30, 0, 256, 8, 64),
    (30, 0, 256, 16, 128),
    (30, 30, 1024, 8, 64),
]


class PlainTabM(nn.Module):
    """The same ensemble by autograd: TabM-mini on piecewise linear embeddings of numbers."""

    def __init__(self, d, k, h, e=16, bins=48):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.rand(d, e) - 0.5), nn.Parameter(torch.rand(d, e) - 0.5)
        self.V = nn.Parameter(torch.zeros(d, bins, e))
        self.R = nn.Parameter(torch.randn(k, d, 1))
        self.first, self.second = nn.Linear(d * e, h), nn.Linear(h, h)
        self.W, self.c = (
            nn.Parameter((torch.rand(k, h, 1) - 0.5) / 4),
            nn.Parameter(torch.zeros(k, 1, 1)),
        )
        edges = torch.linspace(-3, 3, bins + 1).expand(d, bins + 1).contiguous()
        self.register_buffer("edges", edges)

    def forward(self, x):
        low, high = self.edges[:, :-1], self.edges[:, 1:]
        code = ((x.unsqueeze(-1) - low) / (high - low)).clamp(0, 1)
        E = (
            x.unsqueeze(-1) * self.w
            + self.b
            + torch.matmul(code.transpose(0, 1), self.V).transpose(0, 1)
        )
        a = (E.unsqueeze(0) * self.R.unsqueeze(1)).flatten(2)
        a = torch.relu(self.second(torch.relu(self.first(a))))
        return torch.baddbmm(self.c, a, self.W).squeeze(-1)


def set_even_bins(module):
    """48 bins of one width between -3 and 3 for each column."""
    with torch.no_grad():
        module.starts[:, 1:] = torch.linspace(-3, 3, 49)[:-1]
        module.spans[:, 1:] = 0.125


def steps(d, n, k, h, dropout=0.0, loss=None):
    """Functions that make one step each: plain and by hand, with cross-entropy or another loss."""
    rng = np.random.RandomState(0)
    x = torch.from_numpy(rng.normal(size=(n, d)).astype(np.float32)).clamp(-3, 3)
    y = torch.from_numpy((rng.rand(n) < 0.1).astype(np.float32))
    plain = PlainTabM(d, k, h)
    decayed = [
        p
        for name, p in plain.named_parameters()
        if name in ("V", "R", "W") or name.endswith("weight")
    ]
    rest = [p for p in plain.parameters() if all(p is not q for q in decayed)]
    groups = [{"params": decayed, "weight_decay": 3e-4}, {"params": rest, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=2e-3, fused=True)
    criterion = nn.BCEWithLogitsLoss()

    def by_autograd():
        adamw.zero_grad(set_to_none=False)
        criterion(plain(x), y.expand(k, -1)).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        adamw.step()

    module = TabM(TabMShape(d, (), 1, n_members=k, width=h)).reset(rng)
    place = (x + 3) / 6 * 48
    bins = place.floor().clamp(0, 47).int()
    set_even_bins(module)
    rows = {"bins": bins + 1 + (torch.arange(d) * 49).int(), "fractions": place - bins}
    bound = (loss or CrossEntropy()).bind(ClassPrior.of(y.numpy().astype(int)))
    flat, m, backend = module.flat.detach(), module.n_decayed, NetTabM(module, dropout)
    pairs = [(flat[:, :m], module.flat.grad[:, :m])]
    step = Step(
        backend, bound, Adam([module.flat], lr=2e-3, decay=3e-4, decayed=pairs, max_norm=1.0)
    )
    batch = Batch(rows, Target(2 * y - 1))

    def by_hand():
        with torch.no_grad():
            step(batch)

    return {"autograd": by_autograd, "by hand": by_hand}


def times(function, n):
    def several():
        for _ in range(n):
            function()

    return several


def without_kernels(function):
    def plain():
        with reference_only():
            function()

    return plain


def step_table(rounds):
    lines = []
    for d, n, k, h in SHAPES:
        count = max(3, 60_000 // (n * k))
        functions = steps(d, n, k, h)
        functions["focal"] = steps(d, n, k, h, loss=Focal())["by hand"]
        with reference_only():  # what is looked up in C is embedded in torch
            functions["torch"] = without_kernels(steps(d, n, k, h)["by hand"])
        functions["dropout"] = steps(d, n, k, h, dropout=0.1)["by hand"]
        found = interleaved({name: times(f, count) for name, f in functions.items()}, rounds)
        ms = {name: 1e3 * median(v) / count for name, v in found.items()}
        lines.append(
            [
                d,
                n,
                k,
                h,
                *(
                    f"{ms[name]:.2f}"
                    for name in ("autograd", "by hand", "torch", "dropout", "focal")
                ),
            ]
            + [f"{ratio(found['autograd'], found['by hand']):.1f}"]
        )
    header = [
        "columns",
        "rows",
        "members",
        "width",
        "autograd ms",
        "by hand",
        "without C",
        "with dropout",
        "Focal",
        "ratio",
    ]
    return table(header, lines)


def first_layers(d, f, n, k, h):
    """Forward and gradients of a first layer whose columns are looked up, or embedded."""
    rng = np.random.RandomState(0)
    module = TabM(TabMShape(d, (4,) * f, 1, n_members=k, width=h)).reset(rng)
    set_even_bins(module)
    layer = NetTabM(module).layers[0]
    X = {
        "bins": torch.from_numpy(rng.randint(1, 49, (1, n, d)).astype(np.int32)),
        "fractions": torch.from_numpy(rng.random_sample((1, n, d)).astype(np.float32)),
        "codes": torch.from_numpy(rng.randint(0, 4, (1, n, f)).astype(np.int32)),
    }
    X["bins"] += (torch.arange(d) * 49).int()
    X["codes"] += (torch.arange(f) * 4).int()
    gradient = torch.from_numpy(rng.normal(size=(1, k, n, h)).astype(np.float32))

    def run(kind):
        with torch.no_grad():
            kind.forward(layer, X, True)
            kind.backward(layer, gradient)

    return {"looked up": lambda: run(TableFirst), "embedded": lambda: run(First)}


def first_table(rounds):
    lines = []
    for d, f, n, k, h in FIRST_SHAPES:
        count = max(3, 4_000_000 // ((d + f) * n * h))
        functions = first_layers(d, f, n, k, h)
        functions["torch"] = without_kernels(functions["embedded"])
        found = interleaved({name: times(g, count) for name, g in functions.items()}, rounds)
        ms = [f"{1e3 * median(v) / count:.2f}" for v in found.values()]
        lines.append([d, f, n, k, h, *ms, f"{ratio(found['embedded'], found['looked up']):.1f}"])
    header = ["numbers", "categories", "rows", "members", "width"]
    return table([*header, "looked up ms", "embedded", "torch", "ratio"], lines)


def fold_table(rounds):
    lines = []
    for n, d in ((600, 10), (2000, 10), (2000, 30), (6000, 30)):
        X, y = make_classification(n, d, weights=[0.9], random_state=0)
        model = TabMClassifier(max_iter=3, random_state=0)

        def together(model=model, X=X, y=y):
            model.fit(X, y)

        def one_by_one(model=model, X=X, y=y):
            before, grouping.structure = grouping.structure, lambda net, data: None
            try:
                model.fit(X, y)
            finally:
                grouping.structure = before

        found = interleaved({"together": together, "alone": one_by_one}, rounds)
        lines.append(
            [n, d, *(f"{median(v):.2f}" for v in found.values())]
            + [f"{ratio(found['alone'], found['together']):.1f}"]
        )
    return table(["rows", "columns", "together s", "one after another s", "ratio"], lines)


def package_fit(X, y, batch_size=256, epochs=3, device="cpu"):
    """Train the package ``tabm`` on two classes: 16 members of width 128, piecewise linear embeddings."""
    from rtdl_num_embeddings import PiecewiseLinearEmbeddings, compute_bins
    from tabm import TabM as OfficialTabM

    torch.manual_seed(0)
    x, target = torch.from_numpy(X.astype(np.float32)), torch.from_numpy(y)
    bins = compute_bins(x, 48)
    embeddings = PiecewiseLinearEmbeddings(bins, 16, activation=False, version="B")
    net = OfficialTabM.make(
        n_num_features=X.shape[1], d_out=2, num_embeddings=embeddings, k=16, n_blocks=2,
        d_block=128, dropout=0.0, arch_type="tabm-mini",
    ).to(device)  # fmt: skip
    x, target = x.to(device), target.to(device)
    adamw = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=3e-4, fused=True)
    for _ in range(epochs):
        for at in torch.randperm(len(x), device=device).split(batch_size):
            z = net(x[at])
            loss = nn.functional.cross_entropy(z.flatten(0, 1), target[at].repeat_interleave(16))
            adamw.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            adamw.step()
    return net


def package_table(rounds):
    """Fits of the same architecture by the package ``tabm``; a sentence where it is not installed."""
    lines = []
    for n, d in ((2000, 10), (2000, 30), (10_000, 30)):
        X, y = make_classification(n, d, n_informative=5, weights=[0.9], random_state=0)
        try:
            package_fit(X[:256], y[:256], epochs=1)
        except ImportError as error:
            return f"Skipped: {error}."

        def ours(X=X, y=y):
            kw = {"n_members": 16, "width": 128, "batch_size": 256, "max_iter": 3}
            TabMClassifier(validation_folds=0, random_state=0, **kw).fit(X, y)

        def theirs(X=X, y=y):
            package_fit(X, y)

        found = interleaved({"ours": ours, "theirs": theirs}, rounds)
        lines.append(
            [n, d, *(f"{median(v):.2f}" for v in found.values())]
            + [f"{ratio(found['theirs'], found['ours']):.1f}"]
        )
    return table(["rows", "columns", "TabMClassifier s", "tabm s", "ratio"], lines)


def models():
    """Rivals at their defaults by name, each made for a frame."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def scaled():
        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        levels = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        return make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (levels, make_column_selector(dtype_exclude="number")),
        )

    found = {
        "TabMClassifier": lambda: TabMClassifier(random_state=0),
        "LightGBM": lambda: LGBMClassifier(n_jobs=1, verbose=-1, random_state=0),
        "HistGradientBoosting": lambda: HistGradientBoostingClassifier(random_state=0),
        "MLPClassifier, early stopping": lambda: make_pipeline(
            scaled(), MLPClassifier((64, 64), early_stopping=True, random_state=0)
        ),
    }
    try:
        from catboost import CatBoostClassifier
    except ImportError:
        return found

    class OnFrames:
        def fit(self, X, y):
            levels = X.select_dtypes(exclude="number").columns
            self.filled = {c: X[c].astype(str) for c in levels}
            self.model = CatBoostClassifier(thread_count=1, verbose=0, random_seed=0)
            self.levels = list(levels)
            self.model.fit(X.assign(**self.filled), y, cat_features=self.levels)
            return self

        def predict_proba(self, X):
            return self.model.predict_proba(X.assign(**{c: X[c].astype(str) for c in self.levels}))

    return {**found, "CatBoost": OnFrames}


def held_out(folder, name, most):
    """Training and test rows of a set, at most so many in all."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
    y = frame["target"].to_numpy()
    X = frame.drop(columns=[c for c in frame if c == "target" or c.startswith("meta_")])
    if len(y) > most:
        at = train_test_split(np.arange(len(y)), train_size=most, stratify=y, random_state=0)[0]
        X, y = X.iloc[at], y[at]
    return train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)


def set_table(folder, names):
    from sklearn.metrics import average_precision_score, log_loss

    results, lines = {}, []
    for name in names:
        train, test, y_train, y_test = held_out(folder, name, 6000)
        constant = log_loss(y_test, np.full(len(y_test), y_train.mean()))
        for kind, make in models().items():
            began = time.process_time()
            model = make().fit(train, y_train)
            seconds = time.process_time() - began
            p = model.predict_proba(test)[:, 1]
            scores = average_precision_score(y_test, p), log_loss(y_test, p) / constant, seconds
            results.setdefault(kind, []).append(scores)
            lines.append([name, kind, *(f"{v:.3f}" for v in scores[:2]), f"{seconds:.1f}"])
            print(*lines[-1], flush=True)
    for kind, scores in results.items():
        ap, loss, seconds = np.array(scores).T
        means = [f"{ap.mean():.3f}", f"{loss.mean():.3f}", f"{np.median(seconds):.1f}"]
        lines.append(["mean (seconds: median)", kind, *means])
    return table(["set", "model", "average precision", "log-loss ratio", "CPU s"], lines)


HONEST = (
    "Mean probability of the rare class among held-out rows as a share of its share there, under every calibrated loss for two "
    "classes at its defaults (a batch loss that does not say how probabilities follow is left out). Three folds, else defaults; 2,500 rows a set."
)


def honest_table(folder, names):
    """Mean risk over prevalence on held-out rows by loss and set."""
    from skimb.losses import Mixed, all_losses

    lines, off = [], 0
    sets = {name: held_out(folder, name, 2500) for name in names}
    for kind in all_losses("binary"):
        if kind is Mixed or not kind.calibrated:
            continue
        found = []
        for train, test, y_train, y_test in sets.values():
            model = TabMClassifier(loss=kind(), validation_folds=3, random_state=0)
            try:
                p = model.fit(train, y_train).predict_proba(test)[:, 1]
            except ValueError as error:
                print(kind.__name__, error, flush=True)
                break
            found.append(p.mean() / y_test.mean())
        else:
            off += sum(abs(r - 1.0) > 0.1 for r in found)
            lines.append([kind.__name__, *(f"{r:.2f}" for r in found)])
            print(*lines[-1], flush=True)
    count = len(lines) * len(names)
    return f"{count - off} of {count} lie within 10 %.\n\n" + table(["loss", *names], lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data")
    parser.add_argument("--sets", default="")
    args = parser.parse_args()
    parts = [
        "# TabM",
        f"{date.today()}, {machine()} `make bench-tabm` repeats it. CPU seconds; other work on the machine makes them "
        "longer, ratios are of the same run.",
        "## A step",
        STEPS,
        step_table(args.rounds),
        "## The first layer",
        FIRST,
        first_table(args.rounds),
        "## Against the package tabm",
        PACKAGE,
        package_table(args.rounds),
        "## Five folds, three epochs",
        FOLDS,
        fold_table(args.rounds),
    ]
    if args.data:
        names = args.sets.split(",")
        parts += ["## Real sets, defaults", SETS, set_table(args.data, names)]
        parts += [
            "## Honest under every calibrated loss",
            HONEST,
            honest_table(args.data, names[:5]),
        ]
    print(written(parts, args.write))


if __name__ == "__main__":
    main()
