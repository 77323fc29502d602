"""Shared fixtures: toy data, one thread for all, and a guard against leaked process settings."""

import gc
import os

# threads of small operations wait for each other in busy loops, ten times longer on a machine that has other work
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# the profiler of Dask's workers asks the interpreter for the frames of all threads, and once waited for ever
os.environ.setdefault("DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED", "False")

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption(
        "--train-on",
        default="cpu",
        help="where nets train that do not say, as with --train-on cuda",
    )


@pytest.fixture(autouse=True)
def trained_there(request, monkeypatch):
    """With --train-on, nets on dense rows whose device is "cpu", the default, train on that device."""
    from skimb.engine.runtime import resolve_device

    wanted = request.config.getoption("--train-on")
    if wanted == "cpu":
        return

    def there(device, *, sparse=False):
        return resolve_device(wanted if device == "cpu" and not sparse else device, sparse=sparse)

    monkeypatch.setattr("skimb._base.estimator.resolve_device", there)


@pytest.fixture
def allocated():
    """Bytes that live tensors hold on the device, without the work space that torch's products keep."""

    def count():
        gc.collect()
        torch._C._cuda_clearCublasWorkspaces()
        return torch.cuda.memory_allocated()

    return count


@pytest.fixture
def rare():
    """600 rows, 10 features, 10 % of class 1."""
    X, y = make_classification(
        600, 10, n_informative=5, weights=[0.9], flip_y=0.01, class_sep=1.5, random_state=0
    )
    return X, y


@pytest.fixture
def three():
    """Three classes, 6:3:1, with string labels."""
    X, y = make_classification(
        600, 8, n_informative=5, n_classes=3, weights=[0.6, 0.3], class_sep=1.5, random_state=1
    )
    return X, np.array(["common", "medium", "rare"])[y]


@pytest.fixture(autouse=True)
def settings_are_given_back():
    """No test may leave torch with other threads or another random state type."""
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads
