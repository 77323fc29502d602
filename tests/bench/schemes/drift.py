"""How late a doubled rate of rare events is found, at equal rates of false alarms. Prints a markdown table.

    python tests/bench/schemes/drift.py [--streams 60]

Simulated streams: 1 % events, from row 5,000 on 2 %; and standard normal scores, from row 5,000 on shifted by half a
deviation, or twice as wide. Thresholds of all rivals are set on 60 other streams without a change, so that an alarm
comes in about one of 20,000 rows.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))

import harness

harness.fix_threads()

import numpy as np  # noqa: E402
from scipy.stats import ks_2samp  # noqa: E402

from skimb.streaming import SequentialDriftDetector  # noqa: E402

N, AT, WINDOW, EVERY = 10_000, 5_000, 500, 50
RATE = 1 / 20_000


def streams(kind, rng, n, changed):
    for _ in range(n):
        if kind == "rate":
            p = np.full(N, 0.01)
            p[AT:] = 0.02 if changed else 0.01
            yield (rng.random(N) < p).astype(float)
            continue
        x = rng.normal(size=N)
        if changed:
            x[AT:] = x[AT:] + 0.5 if kind == "shift" else 2.0 * x[AT:]
        yield x


def sums(x, detector):
    """The larger statistic of the test after each row, never set back."""
    steps = detector._increments(x[:, None])[:, 0]
    paths = np.cumsum(steps, 0)
    return (paths - np.minimum.accumulate(np.minimum(paths, 0.0), 0)).max(1)


def windows(x, reference, kind):
    """A distance between the last rows and the reference, every few rows."""
    found = np.zeros(N)
    cuts = np.r_[-np.inf, np.unique(np.quantile(reference, np.linspace(0.1, 0.9, 9))), np.inf]
    share = (np.histogram(reference, cuts)[0] + 0.5) / len(reference)
    for t in range(WINDOW, N, EVERY):
        last = x[t - WINDOW : t]
        if kind == "ks":
            value = ks_2samp(last, reference, method="asymp").statistic
        else:
            q = (np.histogram(last, cuts)[0] + 0.5) / WINDOW
            value = ((q - share) * np.log(q / share)).sum()
        found[t : t + EVERY] = value
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=60)
    n = parser.parse_args().streams
    print(harness.machine(), "\n", flush=True)
    body = []
    for kind in ("rate", "shift", "spread"):
        rng = np.random.default_rng(0)
        reference = next(streams(kind, rng, 1, False))[:5000]
        if kind == "rate":
            reference = (np.arange(5000) % 100 == 0).astype(float)
        if kind == "rate":
            made = {"sequential test": SequentialDriftDetector("bernoulli", delta=0.7)}
        else:
            made = {
                "sequential test": SequentialDriftDetector(delta=0.5),
                "sequential test of ranks": SequentialDriftDetector("rank", delta=0.5),
            }
        for detector in made.values():
            detector.fit(reference[:, None])
        scores = {name: (lambda x, d=detector: sums(x, d)) for name, detector in made.items()}
        scores["Kolmogorov-Smirnov, 500 rows"] = lambda x, r=reference: windows(x, r, "ks")
        scores["population stability, 500 rows"] = lambda x, r=reference: windows(x, r, "psi")
        quiet, loud = list(streams(kind, rng, n, False)), list(streams(kind, rng, n, True))
        for name, score in scores.items():
            start = time.process_time()
            # the largest value of a stream passes the threshold in one of RATE * N streams
            limit = np.quantile([score(x).max() for x in quiet], 1 - RATE * N)
            delays = []
            for x in loud:
                found = np.flatnonzero(score(x)[AT:] > limit)
                delays.append(found[0] if len(found) else N - AT)
            seconds = time.process_time() - start
            missed = np.mean([d == N - AT for d in delays])
            body.append([
                kind, name, f"{np.median(delays):.0f}", f"{np.mean(delays):.0f}", f"{missed:.2f}",
                f"{1e6 * seconds / (2 * n * N):.1f}",
            ])  # fmt: skip
    head = ["change", "detector", "median delay", "mean delay", "not found", "microseconds a row"]
    print(harness.table(head, body))


if __name__ == "__main__":
    main()
