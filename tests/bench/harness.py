"""Interleaved timing, fresh-process measurements, and tables for the benchmark scripts."""

import functools
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path


def fix_threads(n=1):
    """Fix the threads of numpy's and torch's libraries; call before importing them."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(n)


def interleaved(functions, rounds=5, warm=1, clock=time.process_time):
    """Median seconds of each function, run in turns; also the median of per-round ratios.

    Returns a dict name -> list of seconds.
    """
    for _ in range(warm):
        for function in functions.values():
            function()
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            gc.collect()
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return seconds


class Stopwatch:
    """CPU seconds of some functions by label, in whatever threads they run, without those that they call."""

    def __init__(self):
        self.seconds, self.own, self.lock = {}, threading.local(), threading.Lock()

    def watch(self, owner, name, label):
        """Measure a function of a class or module from now on."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def watched(*args, **kwargs):
            open_ones = self.own.__dict__.setdefault("open", [])
            self._pass(open_ones)
            open_ones.append(label)
            try:
                return function(*args, **kwargs)
            finally:
                self._pass(open_ones)
                open_ones.pop()

        setattr(owner, name, watched)

    def _pass(self, open_ones):
        """Book the time since the last call or return for what was running."""
        now = time.thread_time()
        if open_ones:
            with self.lock:
                label = open_ones[-1]
                self.seconds[label] = self.seconds.get(label, 0.0) + now - self.own.since
        self.own.since = now


def median(values):
    return statistics.median(values)


def ratio(slow, fast):
    """Median over rounds of slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def fresh(code, *, rounds=3):
    """Run code in fresh processes; it must print one JSON object last. Returns the objects."""
    found = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return found


def peak_mib():
    """Largest resident size of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine():
    """One line about the machine."""
    from skimb.benchmark._page import machine  # not before threads are fixed

    return f"{machine()}; one thread unless said."


def written(parts, path):
    """The page of some parts, which is written to a path if there is one."""
    text = "\n\n".join(parts) + "\n"
    if path:
        Path(path).write_text(text)
    return text


def table(header, rows):
    """A markdown table."""
    from skimb.benchmark._page import table

    return table(header, rows)
