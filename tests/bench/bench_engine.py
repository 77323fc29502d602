"""Benchmark of the engine against stock skorch, scikit-learn and EmbeddingBag nets.

    python tests/bench/bench_engine.py [--write docs/benchmarks/engine.md] [--only SECTION ...]

All ratios come from one run: functions take turns, medians of per-round ratios, CPU seconds.
"""

import argparse
import sys
import tempfile
import warnings
from datetime import date
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from harness import fresh, interleaved, machine, median, ratio, table, written  # noqa: E402
from scipy import sparse  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import average_precision_score, f1_score  # noqa: E402
from sklearn.neural_network import MLPClassifier as SklearnMLP  # noqa: E402
from skorch import NeuralNetClassifier as Skorch  # noqa: E402
from torch import nn  # noqa: E402

from skimb.linear_model import LinearClassifier  # noqa: E402
from skimb.losses import AnyLoss, CrossEntropy, Focal, LogitAdjusted, all_losses  # noqa: E402
from skimb.neural_network import MLPClassifier, NeuralNetClassifier  # noqa: E402

torch.set_num_threads(1)
warnings.simplefilter("ignore")


def tabular(n, d=30, positive=0.05, seed=0):
    X, y = make_classification(
        n, d, n_informative=12, n_redundant=6, weights=[1 - positive], class_sep=0.8,
        flip_y=0.01, random_state=seed,
    )  # fmt: skip
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32), y.astype(np.int64)


class Net(nn.Module):
    def __init__(self, d=30, widths=(64, 64), n_outputs=2):
        super().__init__()
        layers = []
        for w in widths:
            layers += [nn.Linear(d, w), nn.ReLU()]
            d = w
        self.layers = nn.Sequential(*layers, nn.Linear(d, n_outputs))

    def forward(self, X):
        return self.layers(X)


def stock_skorch(epochs=5, batch=128, **kw):
    return Skorch(
        Net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-3,
        max_epochs=epochs, batch_size=batch, verbose=0, train_split=None,
        iterator_train__shuffle=True, **kw,
    )  # fmt: skip


COMMON = {"batch_size": 128, "max_iter": 5, "tol": 0.0, "random_state": 0}


def any_net(n_features, n_outputs):
    return Net(n_features, n_outputs=n_outputs)


def section_fit():
    X, y = tabular(20_000)

    def ours(loss=None):
        return lambda: MLPClassifier((64, 64), loss=loss, **COMMON).fit(X, y)

    functions = {
        "skorch NeuralNetClassifier": lambda: stock_skorch().fit(X, y),
        "scikit-learn MLPClassifier": lambda: SklearnMLP((64, 64), **COMMON).fit(X, y),
        "skimb MLPClassifier, cross-entropy": ours(),
        "skimb NeuralNetClassifier (the same net as a module)": lambda: NeuralNetClassifier(
            any_net, **COMMON
        ).fit(X, y),
    }
    losses = [cls() for cls in all_losses("binary") if cls().scope == "row"]
    functions.update({repr(loss): ours(loss) for loss in losses if loss != CrossEntropy()})
    t = interleaved(functions, rounds=9)
    base, sk = t["skorch NeuralNetClassifier"], t["scikit-learn MLPClassifier"]
    ce = t["skimb MLPClassifier, cross-entropy"]
    rows = [
        [
            name,
            f"{1e3 * median(v):.0f}",
            f"{ratio(base, v):.1f}x",
            f"{ratio(v, sk):.2f}",
            f"{ratio(v, ce):.2f}",
        ]
        for name, v in t.items()
    ]
    return "fit, 20,000 x 30, hidden (64, 64), batch 128, 5 epochs, float32", table(
        ["model", "CPU ms", "faster than skorch", "time / scikit-learn", "time / cross-entropy"],
        rows,
    )


_FRESH = """
import json, time, numpy as np, torch, sklearn.neural_network, skorch
{imports}
X = np.random.RandomState(0).randn(1000, 30).astype(np.float32)
y = (X[:, 0] > 1).astype(np.int64)
start = time.process_time()
{fit}
first = time.process_time() - start
start = time.process_time()
{fit}
print(json.dumps([first, time.process_time() - start]))
"""
_SKORCH_NET = """
class M(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.f = torch.nn.Sequential(torch.nn.Linear(30, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    def forward(self, X):
        return self.f(X)
"""


def section_first_fit():
    import_ours = "from skimb.neural_network import MLPClassifier\nimport warnings; warnings.simplefilter('ignore')"
    ours = fresh(
        _FRESH.format(
            imports=import_ours,
            fit="MLPClassifier((32,), batch_size=128, max_iter=3, tol=0.0).fit(X, y)",
        )
    )
    skorch = fresh(
        _FRESH.format(
            imports=_SKORCH_NET,
            fit="skorch.NeuralNetClassifier(M, criterion=torch.nn.CrossEntropyLoss, "
            "optimizer=torch.optim.Adam, lr=1e-3, max_epochs=3, verbose=0, train_split=None)"
            ".fit(X, y)",
        )
    )
    a, b = [r[0] for r in skorch], [r[0] for r in ours]
    rows = [
        ["skorch", f"{1e3 * median(a):.0f}", f"{1e3 * median([r[1] for r in skorch]):.0f}", "1"],
        [
            "skimb",
            f"{1e3 * median(b):.0f}",
            f"{1e3 * median([r[1] for r in ours]):.0f}",
            f"{ratio(a, b):.1f}x",
        ],
    ]
    return "First fit in a fresh process, n=1,000, hidden (32,), 3 epochs", table(
        ["model", "first fit, CPU ms", "second fit, CPU ms", "first fit faster"], rows
    )


def section_predict():
    X, y = tabular(20_000)
    big, _ = tabular(100_000, seed=1)
    skorch = stock_skorch(epochs=1).fit(X, y)
    sk = SklearnMLP((64, 64), batch_size=128, max_iter=1, random_state=0).fit(X, y)
    ours = {
        "skimb, cross-entropy": MLPClassifier((64, 64), batch_size=128, max_iter=1).fit(X, y),
        "skimb, focal (inverted)": MLPClassifier(
            (64, 64), batch_size=128, max_iter=1, loss=Focal()
        ).fit(X, y),
    }
    functions = {
        "skorch": lambda: skorch.predict_proba(big),
        "scikit-learn": lambda: sk.predict_proba(big),
        **{k: partial(m.predict_proba, big) for k, m in ours.items()},
    }
    t = interleaved(functions)
    rows = [
        [
            name,
            f"{1e3 * median(v):.0f}",
            f"{ratio(t['skorch'], v):.1f}x",
            f"{ratio(v, t['scikit-learn']):.2f}",
        ]
        for name, v in t.items()
    ]
    return "predict_proba, 100,000 rows, hidden (64, 64)", table(
        ["model", "CPU ms", "faster than skorch", "time / scikit-learn"], rows
    )


def text(n, d=50_000, per_row=80, positive=0.05, seed=0):
    """Zipf-distributed terms with tf-idf-like values; the rare class prefers some rare terms."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < positive).astype(np.int64)
    ranks = np.exp(rng.random((n, per_row)) * np.log(d)).astype(int) - 1
    topic = np.random.default_rng(7).choice(np.arange(200, d), 3000, replace=False)
    own = rng.random((n, per_row)) < np.where(y[:, None] == 1, 0.12, 0.015)
    ranks[own] = topic[np.minimum((rng.random(own.sum()) ** 2 * 3000).astype(int), 2999)]
    idf = 1 + np.log(1 + np.arange(d))
    values = idf[ranks]
    X = sparse.csr_matrix(
        (values.ravel(), ranks.ravel(), np.arange(0, n * per_row + 1, per_row)), shape=(n, d)
    )
    X.sum_duplicates()
    norms = np.sqrt(np.asarray(X.multiply(X).sum(1)).ravel())
    return sparse.diags(1 / norms).dot(X).tocsr(), y


class Bag(nn.Module):
    def __init__(self, d, width, sparse_grad):
        super().__init__()
        self.bag = nn.EmbeddingBag(d, width, mode="sum", sparse=sparse_grad)
        self.bias = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, 1)

    def forward(self, indices, offsets, weights):
        hidden = self.bag(indices, offsets, per_sample_weights=weights) + self.bias
        return self.out(torch.relu(hidden))[:, 0]


def train_bag(X, y, variant, epochs=2, batch=128):
    """An EmbeddingBag net on the same batches: SparseAdam, or dense gradients with fused Adam."""
    torch.manual_seed(0)
    net = Bag(X.shape[1], 64, variant == "SparseAdam")
    if variant == "SparseAdam":
        optimizers = [
            torch.optim.SparseAdam([net.bag.weight], lr=1e-3),
            torch.optim.Adam([net.bias, *net.out.parameters()], lr=1e-3, fused=True),
        ]
    else:
        optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)]
    target = torch.from_numpy(y).float()
    for _ in range(epochs):
        order = torch.randperm(len(y)).numpy()
        Xp, tp = X[order], target[order]
        for s in range(0, len(y), batch):
            e = min(s + batch, len(y))
            a, b = Xp.indptr[s], Xp.indptr[e]
            z = net(
                torch.from_numpy(Xp.indices[a:b]).long(),
                torch.from_numpy(Xp.indptr[s:e] - a).long(),
                torch.from_numpy(Xp.data[a:b]),
            )
            loss = nn.functional.binary_cross_entropy_with_logits(z, tp[s:e])
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
    return net


@torch.no_grad()
def bag_scores(net, X):
    return net(
        torch.from_numpy(X.indices).long(),
        torch.from_numpy(X.indptr[:-1]).long(),
        torch.from_numpy(X.data),
    ).numpy()


def fit_linear(loss, alpha, X, y):
    return LinearClassifier(loss, alpha=alpha).fit(X, y)


def section_text():
    X, y = text(20_000)
    Xt, yt = text(20_000, seed=1)
    c = 10.0
    fitted = {}

    def keep(name, make):
        def run():
            fitted[name] = make()

        return run

    linear = {
        "LogisticRegression (lbfgs, C=10)": lambda: LogisticRegression(C=c).fit(X, y),
        **{
            f"skimb LinearClassifier, {loss!r}": partial(
                fit_linear, loss, 1 / (c * X.shape[0]), X, y
            )
            for loss in (CrossEntropy(), Focal(), LogitAdjusted())
        },
    }
    t = interleaved({k: keep(k, f) for k, f in linear.items()}, rounds=5)
    base = t["LogisticRegression (lbfgs, C=10)"]
    rows = [
        [
            name,
            f"{1e3 * median(v):.0f}",
            f"{ratio(v, base):.2f}",
            f"{average_precision_score(yt, fitted[name].decision_function(Xt)):.3f}",
        ]
        for name, v in t.items()
    ]
    first = table(["linear model", "CPU ms", "time / LogisticRegression", "test AP"], rows)

    X32, Xt32 = X.astype(np.float32), Xt.astype(np.float32)
    kw = {"batch_size": 128, "max_iter": 2, "tol": 0.0, "random_state": 0}
    nets = {
        "EmbeddingBag, dense gradient, fused Adam": lambda: train_bag(X32, y, "dense"),
        "EmbeddingBag, SparseAdam": lambda: train_bag(X32, y, "SparseAdam"),
        "scikit-learn MLPClassifier": lambda: SklearnMLP((64,), **kw).fit(X32, y),
        "skimb MLPClassifier, linear_skip=False": lambda: MLPClassifier(
            (64,), linear_skip=False, **kw
        ).fit(X32, y),
        "skimb MLPClassifier (with linear skip)": lambda: MLPClassifier(
            (64,), hidden_scale=1.0, **kw
        ).fit(X32, y),
    }
    t = interleaved({k: keep(k, f) for k, f in nets.items()}, rounds=5)
    bags = [t["EmbeddingBag, dense gradient, fused Adam"], t["EmbeddingBag, SparseAdam"]]
    best = min(bags, key=median)
    sk = t["scikit-learn MLPClassifier"]
    rows = []
    for name, v in t.items():
        model = fitted[name]
        if isinstance(model, nn.Module):
            scores = bag_scores(model, Xt32)
        else:
            scores = model.predict_proba(Xt32)[:, 1]
        rows.append(
            [
                name,
                f"{1e3 * median(v):.0f}",
                f"{ratio(best, v):.1f}x",
                f"{ratio(sk, v):.1f}x",
                f"{average_precision_score(yt, scores):.3f}",
            ]
        )
    second = table(
        [
            "hidden 64, 2 epochs",
            "CPU ms",
            "faster than best EmbeddingBag",
            "than scikit-learn",
            "test AP",
        ],
        rows,
    )
    folder = tempfile.mkdtemp()
    data, target = f"{folder}/X.npz", f"{folder}/y.npy"
    sparse.save_npz(data, X32)
    np.save(target, y)
    memory = fresh(
        _MEMORY.format(here=str(Path(__file__).parent), data=data, target=target), rounds=3
    )
    csr, weights = memory[0]["csr"], memory[0]["weights"]
    extra = median([m["extra"] for m in memory])
    third = (
        f"Peak memory of the net's fit (fresh process, resident size above the state with the data "
        f"loaded): {extra:.0f} MiB; the CSR itself {csr:.0f} MiB, the weights with their two moments "
        f"{weights:.0f} MiB. Data and fit together: {(csr + extra - weights) / csr:.2f} times the CSR, "
        "plus the weights."
    )
    return "Text, CSR 20,000 x 50,000, 80 terms a row, 5 % positive", "\n\n".join(
        [first, second, third]
    )


_MEMORY = """
import sys; sys.path.insert(0, {here!r})
import json, threading, warnings, numpy as np
warnings.simplefilter("ignore")
import bench_engine as b
from scipy import sparse
from skimb.neural_network import MLPClassifier
X, y = sparse.load_npz({data!r}), np.load({target!r})
kw = dict(batch_size=128, max_iter=2, tol=0.0, random_state=0, linear_skip=False)
MLPClassifier((8,), **kw).fit(X[:400, :100], y[:400])
import gc, os, time
gc.collect()
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
before, peak, stop = resident(), [0.0], threading.Event()
def watch():
    while not stop.is_set():
        peak[0] = max(peak[0], resident()); time.sleep(0.002)
w = threading.Thread(target=watch); w.start()
MLPClassifier((64,), **kw).fit(X, y)
stop.set(); w.join()
csr = (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20
print(json.dumps(dict(extra=peak[0] - before, csr=csr, weights=3 * 50_000 * 64 * 4 / 2**20)))
"""


def section_metric():
    """AnyLoss F1 of a linear model: L-BFGS from a shifted logistic start against Adam."""
    seconds = {"lbfgs": [], "adam": []}
    scores = {"lbfgs": [], "adam": [], "logistic": []}
    for seed in range(8):
        X, y = make_classification(
            40_000, 30, n_informative=12, n_redundant=6, weights=[0.98], class_sep=1.4,
            flip_y=0.01, random_state=seed,
        )  # fmt: skip
        X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
        Xt, yt, X, y = X[20_000:], y[20_000:], X[:20_000], y[:20_000]
        models = {
            "lbfgs": LinearClassifier(AnyLoss("f1")),
            "adam": LinearClassifier(
                AnyLoss("f1"), solver="adam", batch_size=1024, max_iter=100, tol=0.0,
                n_iter_no_change=1000, learning_rate_init=0.01, random_state=0,
            ),
        }  # fmt: skip
        t = interleaved({k: partial(m.fit, X, y) for k, m in models.items()}, rounds=1)
        for k, model in models.items():
            seconds[k] += t[k]
            scores[k].append(f1_score(yt, model.predict(Xt)))
        plain = LinearClassifier().fit(X, y)
        scores["logistic"].append(f1_score(yt, plain.predict(Xt)))
    difference = np.subtract(scores["lbfgs"], scores["adam"])
    rows = [
        ["cross-entropy, threshold 1/2", "", "", f"{np.mean(scores['logistic']):.3f}"],
        [
            "AnyLoss F1, Adam, batch 1024, 100 epochs",
            f"{1e3 * median(seconds['adam']):.0f}",
            "1",
            f"{np.mean(scores['adam']):.3f}",
        ],
        [
            "AnyLoss F1, L-BFGS from a shifted logistic start",
            f"{1e3 * median(seconds['lbfgs']):.0f}",
            f"{ratio(seconds['adam'], seconds['lbfgs']):.1f}x",
            f"{np.mean(scores['lbfgs']):.3f}",
        ],
    ]
    note = (
        f"Test F1, L-BFGS minus Adam: {difference.mean():+.4f} +- "
        f"{difference.std(ddof=1) / np.sqrt(len(difference)):.4f} (mean and standard error of 8 sets)."
    )
    return "LinearClassifier(AnyLoss('f1')), dense 20,000 x 30, 1:50, 8 sets", (
        table(["model", "CPU ms", "faster than Adam", "mean test F1"], rows) + "\n\n" + note
    )


def section_import():
    code = (
        "import json, time\nstart = time.process_time()\n{}\n"
        "import sys\nprint(json.dumps([time.process_time() - start, 'torch' in sys.modules]))"
    )
    plain = fresh(code.format("import sklearn"), rounds=5)
    ours = fresh(code.format("import sklearn, skimb"), rounds=5)
    a, b = median([r[0] for r in plain]), median([r[0] for r in ours])
    return "Import", (
        f"`import skimb` costs {1e3 * (b - a):.0f} ms more than `import sklearn` ({1e3 * a:.0f} ms); "
        f"torch imported: {ours[0][1]}."
    )


SECTIONS = {
    "fit": section_fit,
    "first_fit": section_first_fit,
    "predict": section_predict,
    "text": section_text,
    "metric": section_metric,
    "import": section_import,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    args = parser.parse_args()
    parts = ["# Engine benchmark", f"{date.today()}, {machine()} `make bench-engine` repeats it."]
    for name in args.only:
        title, body = SECTIONS[name]()
        parts += [f"## {title}", body]
        print(f"\n## {title}\n\n{body}", flush=True)
    written(parts, args.write)


if __name__ == "__main__":
    main()
