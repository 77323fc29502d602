"""Benchmark of searches: `LossSearchCV`, stock GridSearchCV with and without `batched_fits`, skorch, scikit-learn's net.

    python tests/bench/bench_search.py [--write docs/benchmarks/search.md] [--rounds 3] [--profile]

64 configurations (gamma, alpha, learning rate, weight decay) times 5 folds, 30 features, batches of 128, 10 epochs,
average precision, standardised in a pipeline, best one refitted. Wall seconds, functions in turns. Stock skorch and
scikit-learn's net are timed on 4 of the 64 configurations and scaled by 16. Then early stopping, linear text models,
and modules that are no chains. With --profile only where the CPU seconds of a fit go, which takes the place of that
section of the page.
"""

import argparse
import os
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
from harness import Stopwatch, fresh, interleaved, machine, median, ratio, table, written  # noqa: E402
from scipy import sparse  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.neural_network import MLPClassifier as SklearnMLP  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from skorch import NeuralNetBinaryClassifier  # noqa: E402
from torch import nn  # noqa: E402

from skimb import functional  # noqa: E402
from skimb._base.estimator import NeuralBase  # noqa: E402
from skimb._base.together import FitsTogether  # noqa: E402
from skimb.engine.bank import Window  # noqa: E402
from skimb.engine.batching import Coordinator  # noqa: E402
from skimb.engine.step import Step  # noqa: E402
from skimb.engine.trainer import Trainer  # noqa: E402
from skimb.linear_model import LinearClassifier  # noqa: E402
from skimb.losses import CrossEntropy, Focal  # noqa: E402
from skimb.model_selection import LossSearchCV, batched_fits  # noqa: E402
from skimb.neural_network import MLPClassifier, NeuralNetClassifier  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)

GAMMAS, ALPHAS = [0.5, 1.0, 2.0], [0.25, 0.75]
RATES, DECAYS = [0.001, 0.003, 0.01, 0.03], [0.0, 1e-3]


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, alpha=0.25):
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, z, y):
        p = torch.sigmoid(z)
        ce = nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        p_t = p * y + (1 - p) * (1 - y)
        a_t = self.alpha * y + (1 - self.alpha) * (1 - y)
        return (a_t * (1 - p_t) ** self.gamma * ce).mean()


class Net(nn.Module):
    def __init__(self, hidden=(32,), squeeze=True):
        super().__init__()
        self.squeeze = squeeze
        layers, d = [], 30
        for h in hidden:
            layers += [nn.Linear(d, h), nn.ReLU()]
            d = h
        self.layers = nn.Sequential(*layers, nn.Linear(d, 1))

    def forward(self, X):
        z = self.layers(X)
        return z.squeeze(-1) if self.squeeze else z


COMMON = {"max_iter": 10, "batch_size": 128, "tol": 0.0, "n_iter_no_change": 100, "random_state": 0}
SHAPES = [(2000, ()), (2000, (32,)), (2000, (64, 64)), (10000, (32,)), (10000, (64, 64))]


def problem(n):
    X, y = make_classification(
        n, 30, n_informative=12, n_redundant=6, weights=[0.95], class_sep=0.8, random_state=0
    )
    return X.astype(np.float32), y


def piped(name, model):
    """The model behind a scaler, and how its parameters are called there."""
    pipe = make_pipeline(StandardScaler(), model)
    return pipe, (lambda grid: {f"{name}__{k}": v for k, v in grid.items()})


def ours(hidden, **kw):
    given = {"loss": Focal(), "solver": "adamw"} | COMMON | kw
    if hidden:
        return piped("mlpclassifier", MLPClassifier(hidden, **given))
    return piped("linearclassifier", LinearClassifier(**given))


def grids(named):
    """The same 64 candidates as a grid and as losses: 6 focal ones and both cross-entropies, 8 settings each."""
    rest = {"learning_rate_init": RATES, "alpha": DECAYS}
    losses = [Focal(gamma=g, alpha=a) for g in GAMMAS for a in ALPHAS]
    baselines = {"loss": [CrossEntropy()], "class_weight": [None, "balanced"], **rest}
    return [named({"loss": losses, **rest}), named(baselines)], named(rest), losses


def compare(n, hidden, rounds):
    """One row of the main table."""
    X, y = problem(n)
    pipe, named = ours(hidden)
    grid, rest, losses = grids(named)
    net = NeuralNetBinaryClassifier(
        Net, module__hidden=hidden, criterion=FocalLoss, optimizer=torch.optim.AdamW, max_epochs=10,
        batch_size=128, train_split=None, verbose=0, iterator_train__shuffle=True,
    )  # fmt: skip
    stock, of_stock = piped("neuralnetbinaryclassifier", net)
    part = of_stock({"criterion__gamma": [0.5, 2.0], "lr": [0.001, 0.01]})
    theirs, of_theirs = piped("mlpclassifier", SklearnMLP(hidden or (1,), **COMMON))
    kw, results = {"cv": 5, "scoring": "average_precision"}, {}

    def search(jobs):
        found = LossSearchCV(pipe, rest, losses=losses, n_jobs=jobs, **kw)
        results["search"] = found.fit(X, y)

    def batched():
        with batched_fits():
            results["batched"] = GridSearchCV(pipe, grid, **kw).fit(X, y)

    def plain(jobs):
        results["plain"] = GridSearchCV(pipe, grid, n_jobs=jobs, **kw).fit(X, y)

    runs = {
        "search": lambda: search(1),
        "search 2": lambda: search(2),
        "batched": batched,
        "plain": lambda: plain(1),
        "plain 2": lambda: plain(2),
        "skorch": lambda: GridSearchCV(stock, part, refit=False, **kw).fit(X, y.astype(np.float32)),
        "skorch 2": lambda: GridSearchCV(stock, part, refit=False, n_jobs=2, **kw).fit(X, y.astype(np.float32)),
        "sklearn 2": lambda: GridSearchCV(
            theirs, of_theirs({"learning_rate_init": RATES}), refit=False, n_jobs=2, **kw
        ).fit(X, y),
    }  # fmt: skip
    GridSearchCV(stock, part, refit=False, n_jobs=2, **kw).fit(
        X, y.astype(np.float32)
    )  # warm workers
    t = interleaved(runs, rounds=rounds, warm=0, clock=time.perf_counter)
    for name in ("skorch", "skorch 2", "sklearn 2"):
        t[name] = [16 * s for s in t[name]]
    a, b = (results[k].cv_results_["mean_test_score"] for k in ("batched", "plain"))
    scores = dict(zip(map(_key, results["search"].cv_results_["params"]), results["search"].cv_results_["mean_test_score"], strict=True))  # fmt: skip
    both = [abs(scores[_key(p)] - v) for p, v in zip(results["plain"].cv_results_["params"], b, strict=True)]  # fmt: skip
    return [
        f"{n:,}", "-".join(map(str, (30, *hidden, 1))), f"{median(t['search']):.2f}",
        f"{median(t['search 2']):.2f}", f"**{ratio(t['skorch'], t['search']):.0f}**",
        f"{ratio(t['skorch 2'], t['search 2']):.0f}", f"{ratio(t['plain'], t['search']):.1f}",
        f"{ratio(t['plain 2'], t['search 2']):.1f}", f"{ratio(t['sklearn 2'], t['search 2']):.0f}",
        f"{median(t['batched']):.2f}", f"**{ratio(t['plain'], t['batched']):.1f}**",
        f"{ratio(t['skorch'], t['batched']):.0f}", f"{max(np.abs(a - b).max(), *both):.4f}",
        "same" if results["batched"].best_params_ == results["plain"].best_params_ else "another",
    ]  # fmt: skip


def _key(params):
    """A candidate, whatever its parameters' order."""
    return tuple(sorted((k, repr(v)) for k, v in params.items() if v is not None))


def stopping(rounds):
    """Early stopping with compaction against a fixed number of epochs."""
    X, y = problem(10000)
    rows = []
    for hidden in [(32,), (64, 64)]:
        runs, kept = {}, {}
        for early in (True, False):
            kw = {"max_iter": 60, "early_stopping": early, "validation_scoring": None}
            pipe, named = ours(hidden, **kw, **({"n_iter_no_change": 5} if early else {}))
            _, rest, losses = grids(named)

            def run(pipe=pipe, rest=rest, losses=losses, early=early, kept=kept):
                search = LossSearchCV(
                    pipe, rest, losses=losses, cv=3, scoring="average_precision", refit=False
                )
                kept[early] = search.fit(X, y)

            runs[early] = run
        t = interleaved(runs, rounds=rounds, warm=0, clock=time.perf_counter)
        best = [f"{kept[e].cv_results_['mean_test_score'].max():.4f}" for e in (True, False)]
        rows.append(["-".join(map(str, (30, *hidden, 1))), f"{median(t[True]):.1f}", f"{median(t[False]):.1f}", f"**{ratio(t[False], t[True]):.1f}**", *best])  # fmt: skip
    return rows


def text_rows(n=20000, d=50000, per_row=78):
    """Rows like tf-idf of texts: words by Zipf's law, 5 % positives."""
    rng = np.random.default_rng(0)
    p = 1.0 / np.arange(1, d + 1)
    index = [np.unique(rng.choice(d, per_row, p=p / p.sum())) for _ in range(n)]
    indptr = np.r_[0, np.cumsum([len(i) for i in index])].astype(np.int32)
    data = rng.random(indptr[-1]).astype(np.float32)
    X = sparse.csr_matrix((data, np.concatenate(index).astype(np.int32), indptr), shape=(n, d))
    score = X @ (rng.normal(size=d) * (rng.random(d) < 0.02) * 3.0)
    return X, (score > np.quantile(score, 0.95)).astype(int)


def per_epoch(models, X, y):
    """Seconds of one more epoch of all models together."""

    def seconds(epochs):
        fits = FitsTogether(
            [clone(m).set_params(max_iter=epochs) for m in models], X, y, {}, 1 << 31
        )
        start = time.perf_counter()
        fits.run()
        return time.perf_counter() - start

    return (seconds(4) - seconds(1)) / 3


def embedding_bag_epoch(X, y, make):
    """Seconds of an epoch of a linear model as an EmbeddingBag."""
    n, d = X.shape
    bag = nn.EmbeddingBag(d, 1, mode="sum", sparse=make is torch.optim.SparseAdam)
    extra = {} if make is torch.optim.SparseAdam else {"fused": True}
    optimizer = make(bag.parameters(), lr=0.01, **extra)
    target = torch.from_numpy(y).float()

    def epoch():
        order = np.random.default_rng(0).permutation(n)
        for s in range(0, n, 128):
            rows = X[order[s : s + 128]]
            z = bag(
                torch.from_numpy(rows.indices.astype(np.int64)),
                torch.from_numpy(rows.indptr[:-1].astype(np.int64)),
                per_sample_weights=torch.from_numpy(rows.data),
            ).squeeze(-1)
            loss = FocalLoss()(z, target[order[s : s + 128]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    epoch()
    start = time.perf_counter()
    epoch()
    return time.perf_counter() - start


def texts(rounds):
    """Linear models on one CSR, by their number."""
    X, y = text_rows()
    base = LinearClassifier(solver="adam", loss=Focal(), **COMMON)
    rivals = {"SparseAdam": torch.optim.SparseAdam, "dense Adam": torch.optim.Adam}
    bags = {
        k: median([embedding_bag_epoch(X, y, make) for _ in range(rounds)])
        for k, make in rivals.items()
    }
    fastest = min(bags, key=bags.get)
    rows = []
    for members in (1, 8, 16, 64):
        models = [
            clone(base).set_params(loss__gamma=g, learning_rate_init=lr)
            for g, lr in zip(
                np.linspace(0, 3, members), np.geomspace(1e-3, 3e-2, members), strict=True
            )
        ]
        each = median([per_epoch(models, X, y) / members for _ in range(rounds)])
        rows.append([members, f"{1e3 * each:.1f}", f"{1e3 * bags[fastest]:.0f} ({fastest})", f"**{bags[fastest] / each:.0f}**"])  # fmt: skip
    return rows


def modules(rounds):
    """Any module through the vectorised forward pass against a bare training loop."""
    X, y = problem(2000)
    rows = []
    for hidden in [(32,), (64, 64)]:
        base = NeuralNetClassifier(
            Net, module__hidden=hidden, module__squeeze=False, loss=Focal(), **COMMON
        )
        for members in (8, 64):
            models = [clone(base).set_params(loss__gamma=g) for g in np.linspace(0.5, 3, members)]
            steps = -(-len(X) // 128)
            each = median([per_epoch(models, X, y) / members / steps for _ in range(rounds)])
            bare = median([bare_step(hidden, X, y) for _ in range(rounds)])
            rows.append(["-".join(map(str, (30, *hidden, 1))), members, f"{1e6 * each:.0f}", f"{1e6 * bare:.0f}", f"**{bare / each:.1f}**"])  # fmt: skip
    return rows


def bare_step(hidden, X, y):
    """Seconds of a step of a plain torch loop."""
    net = Net(hidden)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    rows, target = torch.from_numpy(X), torch.from_numpy(y).float()
    loss_of = FocalLoss()
    start = 0.0
    for k in range(220):
        if k == 20:
            start = time.perf_counter()
        at = torch.randint(len(rows), (128,))
        loss = loss_of(net(rows[at]), target[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / 200


PARTS = {
    "checks of rows and labels": [(NeuralBase, "_validate"), (NeuralBase, "_check_X")],
    "preparing the net": [(NeuralBase, "_prepare")],
    "training steps": [(Step, "__call__"), (Window, "__call__")],
    "epochs, histories, callbacks": [(Trainer, "run")],
    "populations, threads": [(Coordinator, "_train"), (Coordinator, "takes"), (Coordinator, "train")],
    "finishing": [(NeuralBase, "_finish"), (NeuralBase, "_fit")],
    "predictions": [(NeuralBase, "_logits")],
}  # fmt: skip
REST = "scikit-learn and the rest"


def profile(rounds, nets):
    """CPU milliseconds of a fit by what they are spent on, alone and in populations, and the bounds that follow."""
    clock = Stopwatch()
    for label, functions in PARTS.items():
        for owner, name in functions:
            clock.watch(owner, name, label)
    rows, bounds = [], []
    for n, hidden in SHAPES[:nets]:
        X, y = problem(n)
        pipe, named = ours(hidden)
        grid, rest, losses = grids(named)
        rate = next(name for name in grid[0] if name.endswith("learning_rate_init"))
        decay = next(name for name in grid[0] if name.endswith("alpha"))
        few = [{**one, rate: RATES[:1], decay: DECAYS[:1]} for one in grid]  # an eighth of the fits
        net = NeuralNetBinaryClassifier(
            Net, module__hidden=hidden, criterion=FocalLoss, optimizer=torch.optim.AdamW, max_epochs=10,
            batch_size=128, train_split=None, verbose=0, iterator_train__shuffle=True,
        )  # fmt: skip
        stock, of_stock = piped("neuralnetbinaryclassifier", net)
        part = of_stock({"criterion__gamma": [2.0], "lr": [0.01]})
        kw = {"cv": 5, "scoring": "average_precision", "refit": False}
        spent = {}

        def batched(pipe=pipe, grid=grid, kw=kw, X=X, y=y):
            with batched_fits():
                GridSearchCV(pipe, grid, **kw).fit(X, y)

        runs = {
            "skorch": (5, lambda stock=stock, part=part, kw=kw, X=X, y=y: GridSearchCV(stock, part, **kw).fit(X, y.astype(np.float32))),
            "alone": (40, lambda pipe=pipe, few=few, kw=kw, X=X, y=y: GridSearchCV(pipe, few, **kw).fit(X, y)),
            "batched": (320, batched),
            "search": (320, lambda pipe=pipe, rest=rest, losses=losses, kw=kw, X=X, y=y: LossSearchCV(pipe, rest, losses=losses, **kw).fit(X, y)),
        }  # fmt: skip

        def watched(name, fits, run, spent=spent):
            clock.seconds.clear()
            start = time.process_time()
            run()
            total = time.process_time() - start
            found = {k: 1e3 * v / fits for k, v in clock.seconds.items()}
            found[REST] = 1e3 * total / fits - sum(found.values())
            spent.setdefault(name, []).append(found)

        pipe.fit(X[:300], y[:300])  # warm
        for _ in range(rounds):
            for name, (fits, run) in runs.items():
                watched(name, fits, run)
        whole = {name: [sum(found.values()) for found in each] for name, each in spent.items()}
        middle = {
            name: {k: median([found.get(k, 0.0) for found in each]) for k in (*PARTS, REST)}
            for name, each in spent.items()
        }
        shape = "-".join(map(str, (30, *hidden, 1)))
        for label in (*PARTS, REST):
            rows.append([shape, label, *(f"{middle[name][label]:.2f}" for name in ("alone", "batched", "search"))])  # fmt: skip
        rows.append([shape, "**all**", *(f"**{median(whole[name]):.2f}**" for name in ("alone", "batched", "search"))])  # fmt: skip
        least = [
            each["training steps"] + lone[REST]
            for each, lone in zip(spent["batched"], spent["alone"], strict=True)
        ]
        steps = [each["training steps"] for each in spent["search"]]
        bounds.append([
            shape, f"{ratio(whole['alone'], whole['batched']):.1f}", f"{ratio(whole['alone'], least):.1f}",
            f"{ratio(whole['skorch'], whole['search']):.0f}", f"{ratio(whole['skorch'], steps):.0f}",
            f"{ratio(whole['alone'], whole['search']):.1f}",
        ])  # fmt: skip
    return rows, bounds


SECTION = "## Where the time of a fit goes"
BOUND = (
    "The second ratio is the bound of `batched_fits`: what is left if all work of skimb but the training steps took no time, and "
    "scikit-learn worked as fast as without threads. `GridSearchCV` clones, cuts, scales and scores for each fit, which no "
    "training makes faster; where the ratio is less than 8, the 8 over our own fits that were promised for 30-32-1 cannot be "
    "reached. `LossSearchCV` does that work once for all."
)


def profile_section(rounds, nets):
    """The section as text."""
    rows, bounds = profile(rounds, nets)
    first = table(
        ["net", "CPU ms per fit", "alone", "in `batched_fits`", "in `LossSearchCV`"], rows
    )
    second = table(
        ["net", "`batched_fits` over our own fits", "if only steps and scikit-learn were left",
         "`LossSearchCV` over skorch", "if only steps were left", "`LossSearchCV` over our own fits"],
        bounds,
    )  # fmt: skip
    told = (
        f"{date.today()}, {machine()} CPU seconds, so that waiting for other work on the machine does not count, though its pressure "
        f"on caches does; rounds in turns: {rounds} (medians); 2,000 rows, no refit, the fits alone on an eighth of the "
        "configurations, skorch on one. `bench_search.py --profile` repeats it. Load of the machine at the end: "
        f"{os.getloadavg()[0]:.0f}."
    )
    return "\n\n".join([SECTION, told, first, second, BOUND])


def replaced(page, section):
    """The page with this section in place of the old one, else before that on early stopping."""
    start = page.find(SECTION)
    if start < 0:
        start = stop = page.index("## Early stopping")
    else:
        stop = page.index("\n## ", start + 1) + 1
    return page[:start] + section + "\n\n" + page[stop:]


MEMORY = """
import json, sys, warnings
sys.path.insert(0, {folder!r})
warnings.simplefilter("ignore")
import bench_search as b
def mib(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name)) / 1024
X, y = b.problem(10000)
pipe, named = b.ours((32,))
grid, rest, losses = b.grids(named)
kw = dict(cv=5, scoring="average_precision")
before = mib("VmRSS")
if {how!r} == "search":
    b.LossSearchCV(pipe, rest, losses=losses, **kw).fit(X, y)
elif {how!r} == "batched":
    with b.batched_fits():
        b.GridSearchCV(pipe, grid, **kw).fit(X, y)
else:
    b.GridSearchCV(pipe, {{k: v[:1] for k, v in grid[0].items()}}, **kw).fit(X, y)
print(json.dumps([before, mib("VmHWM")]))
"""


def memory():
    """MiB that a search adds to the process, and the same for one configuration alone."""
    found = []
    for how in ("search", "batched", "alone"):
        code = MEMORY.format(folder=str(Path(__file__).parent), how=how)
        before, after = fresh(code, rounds=1)[0]
        found.append(after - before)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--nets", type=int, default=3, help="how many nets --profile takes")
    args = parser.parse_args()
    functional.focal(torch.zeros(2), torch.zeros(2).long())  # load everything before the clock runs
    if args.profile:
        section = profile_section(args.rounds, args.nets)
        print(section)
        if args.write:
            args.write.write_text(replaced(args.write.read_text(), section))
        return
    tables = []

    def show(header, rows):
        tables.append(table(header, rows))
        print(tables[-1], flush=True)

    header = ["rows", "net", "`LossSearchCV`, s", "2 threads, s", "over skorch", "2 over 2 jobs", "over our own fits", "2 over 2 jobs", "2 over scikit-learn's net, 2 jobs", "`batched_fits`, s", "over our own fits", "over skorch", "largest score difference", "best parameters"]  # fmt: skip
    show(header, [compare(n, hidden, args.rounds) for n, hidden in SHAPES])
    show(["net", "early stopping, s", "60 epochs, s", "ratio", "best AP, early", "best AP, fixed"], stopping(args.rounds))  # fmt: skip
    show(["models", "ms per model-epoch", "EmbeddingBag, ms", "ratio"], texts(args.rounds))
    show(["net", "members", "us per model-step", "bare loop, us", "ratio"], modules(args.rounds))
    search, batched, alone = memory()
    sizes = f"`LossSearchCV` {search:.0f} MiB, `batched_fits` {batched:.0f} MiB, one configuration of the same search without either {alone:.0f} MiB."  # fmt: skip
    print(sizes)
    parts = [
        "# Search benchmark",
        f"{date.today()}, {machine()} `make bench-search` repeats it.",
        "64 configurations (six focal losses, plain and class-weighted cross-entropy, learning rate, weight decay) x 5 "
        "folds, batch 128, 10 epochs, average precision, a scaler before the net, the best one refitted. `GridSearchCV` "
        "over stock skorch (its own focal loss) and over scikit-learn's `MLPClassifier` is timed on 4 configurations and "
        "scaled by 16 (warm workers); scikit-learn's has no loss to vary, and no net without a hidden unit. Ratios say "
        "how many times longer the other takes in the same run. The last columns compare scores of the searches with "
        "those of single fits: training amplifies rounding.",
        tables[0],
        "## Early stopping",
        "The same search (10,000 rows, 3 folds) with a validation part and patience 5, members that have stopped leaving "
        "the population, against 60 epochs for all.",
        tables[1],
        "## Linear models on one CSR",
        "20,000 rows of 78 words out of 50,000, batches of 128: focal losses of different gamma and rate, against the "
        "faster of two EmbeddingBag loops.",
        tables[2],
        "## Modules that are no chains",
        "Populations through `torch.func.vmap` against a plain torch loop with autograd and fused Adam.",
        tables[3],
        "## Memory",
        f"What a search of 10,000 rows and 30-32-1 adds to the process at its peak: {sizes}",
    ]
    parts.insert(parts.index("## Early stopping"), profile_section(args.rounds, args.nets))
    written(parts, args.write)


if __name__ == "__main__":
    main()
