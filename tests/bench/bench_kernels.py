"""Benchmark of the fused losses: forward and gradient against public formulas in eager torch.

    python tests/bench/bench_kernels.py [--write docs/benchmarks/kernels.md] [--device cuda]

Per family and size: median time of value and gradient by (a) the eager composition under autograd,
(b) torch.compile of it, (c) ours as torch operations, (d) ours fused (C on the CPU, Triton on CUDA), and
(e) a plain copy of the bytes that a fused kernel has to move, as the bound. Functions take turns; peak
memory is that of a fresh process (CPU) or of the allocator (CUDA), in multiples of the logits.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import fix_threads

fix_threads(1)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from harness import machine, table, written  # noqa: E402

from skimb import kernels  # noqa: E402
from skimb.losses import (  # noqa: E402
    AnyLoss,
    Asymmetric,
    ClassPrior,
    Focal,
    LogitAdjusted,
    MannWhitney,
)

warnings.simplefilter("ignore")
torch.set_num_threads(1)

# --- public formulas, as they are commonly written -------------------------------------------


def eager_focal(z, y, prior):
    """Softmax focal loss from log_softmax; the usual two-column form for two classes."""
    if z.ndim == 1:
        z = torch.stack([torch.zeros_like(z), z], 1)
    log_p = F.log_softmax(z, -1).gather(1, y[:, None])[:, 0]
    return (-((1 - log_p.exp()) ** 2) * log_p).mean()


def eager_sigmoid_focal(z, y, prior):
    """The formula of torchvision's sigmoid_focal_loss, without its weight alpha."""
    t = y.to(z.dtype)
    p = torch.sigmoid(z)
    ce = F.binary_cross_entropy_with_logits(z, t, reduction="none")
    p_t = p * t + (1 - p) * (1 - t)
    return (ce * (1 - p_t) ** 2).mean()


def eager_adjusted(z, y, prior):
    """Logit-adjusted cross-entropy."""
    return F.cross_entropy(z + prior, y)


def eager_asymmetric(z, t, prior):
    """The asymmetric loss with the operations of its authors' code, gradients through all of it."""
    p = torch.sigmoid(z)
    pos, neg = p, (1 - p + 0.05).clamp(max=1)
    los = t * torch.log(pos.clamp(min=1e-8)) + (1 - t) * torch.log(neg.clamp(min=1e-8))
    p_t = pos * t + neg * (1 - t)
    weight = torch.pow(1 - p_t, 1 * t + 4 * (1 - t))
    return -(los * weight).sum() / len(z)


def eager_anyloss(z, y, prior):
    """One minus F1 of sigmoid(10 (p - 1/2))."""
    t = y.to(z.dtype)
    a = torch.sigmoid(10 * (torch.sigmoid(z) - 0.5))
    return 1 - 2 * (t * a).sum() / (t.sum() + a.sum())


def eager_pairs(z, y, prior):
    """Squared hinge of all differences."""
    d = z[y == 1][:, None] - z[y == 0][None, :]
    return (1 - d).clamp(min=0).square().mean()


def eager_logistic_pairs(z, y, prior):
    """Logistic loss of all differences."""
    return F.softplus(z[y == 0][None, :] - z[y == 1][:, None]).mean()


# name -> (eager form, our loss, task, passes over the logits that a fused kernel needs)
FAMILIES = {
    "focal (margin)": (eager_focal, Focal(2.0), "binary", 3.0),
    "focal (margin) against the sigmoid form": (eager_sigmoid_focal, Focal(2.0), "binary", 3.0),
    "focal": (eager_focal, Focal(2.0), "multiclass", 2.0),
    "logit-adjusted": (eager_adjusted, LogitAdjusted(), "multiclass", 2.0),
    "asymmetric": (eager_asymmetric, Asymmetric(4.0, 1.0, 0.05), "multilabel", 3.0),
    "AnyLoss F1": (eager_anyloss, AnyLoss("f1"), "binary", 5.0),
    "squared-hinge AUC": (eager_pairs, MannWhitney("squared_hinge"), "binary", 2.0),
    "logistic AUC": (eager_logistic_pairs, MannWhitney(), "binary", 2.0),
}
CPU_SIZES = {
    "focal (margin)": [(4096,), (65536,), (1_000_000,)],
    "focal (margin) against the sigmoid form": [(4096,), (65536,), (1_000_000,)],
    "focal": [(65536, 10), (65536, 100), (4096, 1000)],
    "logit-adjusted": [(65536, 10), (65536, 100), (4096, 1000)],
    "asymmetric": [(65536, 2), (65536, 10), (65536, 100)],
    "AnyLoss F1": [(4096,), (65536,), (1_000_000,)],
    "squared-hinge AUC": [(4096,), (20000,), (50000,)],
    "logistic AUC": [(4096,)],
}
CUDA_SIZES = {
    "focal (margin)": [(1 << 20,), (1 << 24,)],
    "focal": [(1 << 14, 100), (1 << 16, 1000), (1 << 13, 32000)],
    "logit-adjusted": [(1 << 14, 100), (1 << 16, 1000), (1 << 13, 32000)],
    "asymmetric": [(1 << 14, 100), (1 << 16, 1000), (1 << 13, 32000)],
    "AnyLoss F1": [(1 << 20,), (1 << 24,)],
    "logistic AUC": [(20000,)],
}


def problem(family, size, device):
    """Logits, targets, a bound loss and its encoded targets, with 5 % positives or uniform classes."""
    _, loss, task, _ = FAMILIES[family]
    generator = torch.Generator().manual_seed(0)
    z = 2.0 * torch.randn(*size, generator=generator)
    if task == "multiclass":
        y = torch.randint(0, size[1], size[:1], generator=generator)
        prior = ClassPrior(counts=[max(len(y) // size[1], 1)] * size[1])
    else:
        y = (torch.rand(*size, generator=generator) < 0.05).long()
        prior = ClassPrior(counts=[95, 5])
        if task == "multilabel":
            y = y.float()
            prior = ClassPrior([5] * size[1], n_samples=100, multilabel=True)
    z, y = z.to(device), y.to(device)
    bound = loss.bind(prior)
    return z, y, bound, bound.encode(y, z)


def log_prior(z):
    width = z.shape[-1]
    return torch.full((width,), -float(width)).log_softmax(0).to(z.device) if z.ndim > 1 else None


def under_autograd(form, z, y, prior):
    leaf = z.requires_grad_()
    leaf.grad = None
    form(leaf, y, prior).backward()
    return leaf.grad


def clock(function, device, seconds=1.5, most=41):
    """Median seconds of one call, after two for warming up."""

    def synchronise():
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(2):
        function()
    synchronise()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        function()
        synchronise()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(family, size, device, compiled):
    """Microseconds of every variant."""
    form, _, _, passes = FAMILIES[family]
    z, y, bound, code = problem(family, size, device)
    prior = log_prior(z)
    out = {"eager": clock(lambda: under_autograd(form, z.detach(), y, prior), device)}
    if compiled:
        torch._dynamo.reset()
        fast = torch.compile(form, dynamic=False)
        out["compile"] = clock(lambda: under_autograd(fast, z.detach(), y, prior), device)
    z = z.detach()
    with kernels.reference_only():
        out["torch"] = clock(lambda: bound.loss_grad(z, code), device)
    out["fused"] = clock(lambda: bound.loss_grad(z, code), device)
    bytes_moved = int(passes * z.numel() * z.element_size())
    a = torch.empty(max(bytes_moved // 2, 1), dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    out["copy"] = clock(lambda: b.copy_(a), device)
    return {k: 1e6 * v for k, v in out.items()}


MEMORY = """
import json, re, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import bench_kernels as bench
import torch
family, size, way = {family!r}, {size!r}, {way!r}
z, y, bound, code = bench.problem(family, size, "cpu")
prior = bench.log_prior(z)
form = bench.FAMILIES[family][0]
small = tuple(min(s, 64) for s in size)
zs, ys, bs, cs = bench.problem(family, small, "cpu")
bench.under_autograd(form, zs, ys, bench.log_prior(zs)); bs.loss_grad(zs.detach(), cs)
def kib(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
before = kib("VmRSS")
if way == "eager":
    bench.under_autograd(form, z, y, prior)
elif way == "torch":
    with bench.kernels.reference_only():
        bound.loss_grad(z, code)
else:
    bound.loss_grad(z, code)
print(json.dumps((kib("VmHWM") - before) * 1024 / (z.numel() * z.element_size())))
"""


def memory(family, size, device):
    """Peak beyond inputs, in multiples of the logits, of the eager form and of ours."""
    out = {}
    for way in ("eager", "torch", "fused"):
        if device == "cuda":
            z, y, bound, code = problem(family, size, device)
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            if way == "eager":
                under_autograd(FAMILIES[family][0], z, y, log_prior(z))
            elif way == "torch":
                with kernels.reference_only():
                    bound.loss_grad(z, code)
            else:
                bound.loss_grad(z, code)
            peak = torch.cuda.max_memory_allocated() - before
            out[way] = peak / (z.numel() * z.element_size())
            continue
        code = MEMORY.format(here=str(Path(__file__).parent), family=family, size=size, way=way)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        out[way] = json.loads(done.stdout.splitlines()[-1])
    return out


def agreement(family, size, device):
    """Largest difference of our gradient from the eager one, relative to its largest entry."""
    z, y, bound, code = problem(family, size, device)
    expected = under_autograd(FAMILIES[family][0], z, y, log_prior(z))
    _, grad = bound.loss_grad(z.detach(), code)
    return float((grad - expected).abs().max() / expected.abs().max())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--only", nargs="*", choices=FAMILIES)
    args = parser.parse_args()
    sizes = CUDA_SIZES if args.device == "cuda" else CPU_SIZES
    rows, spaces = [], []
    for family, wanted in sizes.items():
        if args.only and family not in args.only:
            continue
        for size in wanted:
            off = agreement(family, size, args.device)
            if off > 2e-3:
                raise RuntimeError(f"{family} {size}: gradients differ by {off:.1e}")
            t = measure(family, size, args.device, not args.no_compile)
            m = memory(family, size, args.device)
            shape = " x ".join(f"{s:,}" for s in size)
            row = [family, shape, f"{t['eager']:,.0f}"]
            row.append(f"{t['eager'] / t['compile']:.1f}" if "compile" in t else "-")
            row += [f"{t['eager'] / t['torch']:.1f}", f"**{t['eager'] / t['fused']:.1f}**"]
            row += [f"{100 * t['copy'] / t['fused']:.0f} %"]
            rows.append(row)
            if (
                min(size[0] * (size[1] if len(size) > 1 else 1), 1 << 62) >= 60_000
                or args.device == "cuda"
            ):
                spaces.append(
                    [family, shape, *(f"{m[w]:.1f}" for w in ("eager", "torch", "fused"))]
                )
            print(" | ".join(row), {k: round(v, 1) for k, v in m.items()}, flush=True)
    header = ["loss", "size", "eager, us", "compile", "torch", "fused", "of the copy bound"]
    place = machine()
    if args.device == "cuda":
        place = f"{torch.cuda.get_device_name()}; {place}"
    parts = [
        "# Kernel benchmark",
        f"{date.today()}, {place} `make bench-kernels` repeats it.",
        f"Device: {args.device}. Fused backends: "
        + ", ".join(f"{k}: {v or 'there'}" for k, v in kernels.backends().items())
        + ".",
        "Value and gradient in one call, medians. The columns compile, torch and fused are speed-ups over "
        "the eager composition under autograd; the last one compares the fused time with a plain copy of "
        "the bytes it has to move.",
        table(header, rows),
        "## Peak memory",
        "Beyond the inputs, in multiples of the logits (float32).",
        table(["loss", "size", "eager", "torch", "fused"], spaces),
    ]
    written(parts, args.write)


if __name__ == "__main__":
    main()
