"""Shared fixtures: toy data and a guard against leaked process settings."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification


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
