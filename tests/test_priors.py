"""Counts, label distributions and class weights."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skimb._core.priors import ClassPrior, class_weights


def test_counts_follow_the_order_of_classes():
    y = ["a", "a", "a", "b"]
    assert ClassPrior.of(y, classes=["b", "a"]).counts.tolist() == [1, 3]
    assert ClassPrior.of(y, [2, 2, 2, 4], classes=["c", "b", "a"]).prior.tolist() == [0, 0.4, 0.6]
    assert ClassPrior.of(y, classes=["b", "a"]).classes.tolist() == ["b", "a"]
    with pytest.raises(ValueError, match=r"holds the labels \[5\], which are not among"):
        ClassPrior.of([0, 0, 1, 5], classes=[0, 1, 7])
    with pytest.raises(ValueError, match="name a class twice"):
        ClassPrior.of([0, 1], classes=[0, 1, 1])


def test_a_single_column_is_one_target():
    y = np.array([0, 0, 1, 2])
    columns = (y[:, None], pd.DataFrame({"y": y}), sparse.csr_matrix(y[:, None]))
    for given in (*columns, pd.Series(y, dtype="Int64"), pd.Series(y, dtype="category")):
        found = ClassPrior.of(given)
        assert not found.multilabel
        assert found.counts.tolist() == [2, 1, 1]
    several = ClassPrior.of(pd.DataFrame({"a": [0, 1, 1], "b": [1, 1, 1]}))
    assert several.multilabel
    assert several.counts.tolist() == [2, 3]
    with pytest.raises(ValueError, match=r"must be 0 and 1, got \[-1, 2\]"):
        ClassPrior.of([[0, 2], [1, -1]])


@pytest.mark.parametrize("y", [[0.0, 1.0, np.nan], np.array(["a", None], object), pd.Series(["a", None]), pd.Series([1, 2, None], dtype="Int64"), pd.Series(["a", pd.NA], dtype="string"), [[0, np.nan], [1, 1]]])  # fmt: skip
def test_missing_labels_are_refused(y):
    with pytest.raises(ValueError, match=r"ClassPrior\.of: y contains NaN"):
        ClassPrior.of(y)
    with pytest.raises(ValueError, match="mixes labels of several kinds"):
        ClassPrior.of([1, "a"])


def test_whole_weights_are_repetitions():
    y = np.repeat([0, 1], [90, 10])
    w = np.where(y == 0, 100, 1)
    weighted, repeated = ClassPrior.of(y, w), ClassPrior.of(np.repeat(y, w))
    np.testing.assert_allclose(weighted.log_prior(), repeated.log_prior())
    np.testing.assert_allclose(weighted.log_odds(), np.log(10 / 9000))
    Y = np.c_[y, 1 - y]
    weighted, repeated = ClassPrior.of(Y, w), ClassPrior.of(np.repeat(Y, w, 0))
    np.testing.assert_allclose(weighted.log_prior(), repeated.log_prior())
    np.testing.assert_allclose(weighted.log_odds(), repeated.log_odds())
    np.testing.assert_allclose(np.exp(weighted.log_prior()), [10 / 9010, 9000 / 9010])


def test_classes_without_rows_count_as_one_row():
    found = np.exp(ClassPrior([90, 10, 0]).log_prior())
    np.testing.assert_allclose(found * 1.01, [0.9, 0.1, 0.01])
    tiny = np.exp(ClassPrior([90, 10, 0], prior=[1.0, 1e-5, 0.0]).log_prior())
    assert tiny[2] == tiny[1]  # no more than what has rows
    labels = ClassPrior([0, 5, 10], n_samples=10, multilabel=True)
    np.testing.assert_allclose(np.exp(labels.log_prior()), [0.1, 0.5, 0.9])


@pytest.mark.parametrize("given", [{1: -1}, {1: np.nan}, {0: np.inf}, {1: "2"}, {1: None}])
def test_class_weights_are_positive_numbers(given):
    with pytest.raises(ValueError, match="must hold positive, finite weights"):
        class_weights(given, [0, 1], np.array([9, 1]), np.array([0.9, 0.1]))
