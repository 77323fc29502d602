"""Whatever ends a fit ends it at once and says so, alone, in a block of batched fits and in a search.

The fits run in a process of their own, which gives up after a time: no way out may wait for ever.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPECTED = {
    "interrupt alone": "2",  # a callback's KeyboardInterrupt stops a fit and keeps it
    "interrupt": "2",
    "interrupt at begin": "2",
    "interrupt one": "[False, False, False, False]",
    "exit": "SystemExit: as asked",
    "exit alone": "SystemExit: as asked",
    "generator exit": "GeneratorExit: as asked",
    "error": "ArithmeticError: as asked",
    "error of one": "[False, True, False, False]",
    "unhashable": "2",
    "no memory": "ValueError: batched_fits: max_memory=0 must be a whole number of bytes",
    "memory in words": "ValueError: batched_fits: max_memory='1GB' must be a whole number of bytes",
    "negative memory": "ValueError: batched_fits: max_memory=-1 must be a whole number of bytes",
    "one byte": "2",
    "search interrupt": "2",
    "search exit": "SystemExit: as asked",
    "two threads": "[2, 2]",
}
ON_DASK = {
    "dask": "2",
    "dask interrupt": "2",
    "dask interrupt one": "[False, False, False, False]",
    "dask exit": "SystemExit: as asked",
    "dask generator exit": "GeneratorExit: as asked",
    "dask error": "ArithmeticError: as asked",
    "dask error of one": "[False, True, False, False]",
    "dask odd error": "RuntimeError: batched_fits: NeedsTwo('other words') of a fit cannot travel",
    "dask unhashable": "2",
    "dask memory in words": "ValueError: batched_fits: max_memory='1GB' must be a whole number of",
    "dask one byte": "2",
    "dask closed client": "RuntimeError: batched_fits: the Dask client was closed",
    "dask closed before": "ValueError: batched_fits: client=<Client: No scheduler connected> is no",
    "dask again": "2",
    "dask killed": "KilledWorker: Attempted to run task",
}


def run(names):
    """Outcome and threads left over of each name, from one process."""
    here = Path(__file__).parent
    paths = [str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, str(here / "ways_out.py"), *names],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert run.returncode == 0, run.stderr
    lines = [line.split(" -> ") for line in run.stdout.splitlines()]
    return {name: (outcome, threads) for name, outcome, threads in lines}


@pytest.fixture(scope="module")
def outcomes():
    return run(EXPECTED)


@pytest.fixture(scope="module")
def outcomes_on_dask():
    pytest.importorskip("distributed")
    return run(ON_DASK)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_way_out_is_left(outcomes, name):
    outcome, threads = outcomes[name]
    assert outcome.startswith(EXPECTED[name])
    assert threads == "0", "threads of the block are still running"


@pytest.mark.parametrize("name", ON_DASK)
def test_every_way_out_is_left_on_dask(outcomes_on_dask, name):
    outcome, threads = outcomes_on_dask[name]
    assert outcome.startswith(ON_DASK[name])
    assert threads == "0", "threads of the block are still running"
