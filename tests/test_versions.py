"""skimb means the same on every scikit-learn it supports, and names what an old one lacks."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import get_scorer, make_scorer
from sklearn.tree import DecisionTreeClassifier

from skimb._core.compat import (
    VERSION,
    accepts_sample_weight,
    balance_counts_weights,
    check_sample_weight,
    compute_class_weight,
    multiclass_brier_score,
)
from skimb.linear_model import LinearClassifier, PrestoClassifier
from skimb.posthoc import PriorCorrectedClassifier

ROOT = Path(__file__).parent.parent


def pins(name):
    """Versions that a constraints file pins."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_the_oldest_set_is_what_the_project_promises():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins("constraints-oldest.txt")
    assert pinned.pop("torch") == pins("constraints.txt")["torch"]
    required = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    floors = {
        (given := Requirement(line)).name: next(s.version for s in given.specifier if s.operator == ">=")
        for line in required
    }  # fmt: skip
    del floors["torch"]
    assert {name: pinned.get(name) for name in floors} == floors


def test_the_compatibility_module_is_light():
    code = (
        "import skimb._core.compat, sys; print({'torch', 'skorch', 'imblearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr


def test_callbacks_are_there_or_refused_with_the_reason():
    model = LinearClassifier()
    assert hasattr(model, "set_callbacks") is (VERSION >= (1, 9))
    if VERSION < (1, 9):
        with pytest.raises(AttributeError, match=r"needs scikit-learn 1\.9 or newer, this is 1\."):
            model.set_callbacks()


def test_weights_of_zero_are_refused():
    with pytest.raises(ValueError, match="non-zero"):
        check_sample_weight(np.zeros(3), np.ones((3, 1)))
    np.testing.assert_array_equal(check_sample_weight(None, np.ones((3, 1))), np.ones(3))


@pytest.mark.parametrize("given", ["balanced", {"a": 2.0, "b": 1.0, "c": 4.0}, None])
def test_class_weights_take_weights_of_rows_as_repetitions(given):
    y = np.array(list("aaaabbbc"))
    repeats = np.array([1, 2, 0, 3, 1, 1, 5, 2])
    kw = {"classes": np.unique(y)}
    weighted = compute_class_weight(given, y=y, sample_weight=repeats.astype(float), **kw)
    repeated = compute_class_weight(given, y=np.repeat(y, repeats), **kw)
    np.testing.assert_allclose(weighted, repeated)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(tol=1e-10, max_iter=1000),
        LogisticRegression(solver="liblinear", tol=1e-10, random_state=0),
        SGDClassifier("log_loss", random_state=0),
        DecisionTreeClassifier(max_depth=3, random_state=0),
        RandomForestClassifier(5, max_depth=3, random_state=0),
        PrestoClassifier(0.01),
    ],
    ids=lambda m: f"{type(m).__name__}-{getattr(m, 'solver', '')}",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_balanced_is_what_the_estimator_makes_of_it(model):
    """The fit with "balanced" is the one with the weights that we hold it to use, and no other."""
    X, y = make_classification(300, 4, weights=[0.8], flip_y=0.2, random_state=0)
    w = np.where(X[:, 0] > 0, 5.0, 1.0) * np.where(y == 1, 1.0, 3.0)

    def fitted(class_weight):
        model.set_params(class_weight=class_weight)
        return model.fit(X, y, sample_weight=w).predict_proba(X)

    counted = {by: compute_class_weight("balanced", classes=np.array([0, 1]), y=y, sample_weight=weight) for by, weight in ((True, w), (False, None))}  # fmt: skip
    by_hand = {by: fitted(dict(enumerate(found.tolist()))) for by, found in counted.items()}
    own, by = fitted("balanced"), balance_counts_weights(model)
    np.testing.assert_allclose(own, by_hand[by], rtol=1e-3)
    assert np.abs(own - by_hand[not by]).max() > 0.01


def test_balanced_weights_are_corrected_for_as_the_estimator_sets_them():
    X, y = make_classification(400, 4, weights=[0.8], random_state=0)
    w = np.where(y == 1, 1.0, 3.0)
    model = LogisticRegression(class_weight="balanced")
    found = PriorCorrectedClassifier(model).fit(X, y, sample_weight=w).trained_prior_
    by_number = np.bincount(y, w) / np.bincount(y)
    wanted = [0.5, 0.5] if VERSION >= (1, 7) else by_number / by_number.sum()
    np.testing.assert_allclose(found, wanted)


def test_scorers_say_whether_they_take_weights():
    with_weights, without = get_scorer("f1"), make_scorer(lambda y, decided: 0.0)
    assert accepts_sample_weight(with_weights)
    assert not accepts_sample_weight(without)
    assert accepts_sample_weight(lambda model, X, y, sample_weight=None: 0.0)
    assert not accepts_sample_weight(lambda model, X, y: 0.0)


def test_brier_score_of_three_classes_is_its_formula():
    rng = np.random.default_rng(0)
    y, w = rng.integers(3, size=40), rng.exponential(size=40)
    p = rng.dirichlet(np.ones(3), 40)
    kw = {"sample_weight": w, "labels": np.arange(3)}
    wanted = w @ np.square(p - np.eye(3)[y]).sum(1) / w.sum()
    assert multiclass_brier_score(y, p, **kw) == pytest.approx(wanted)
    for wrong in (p - 0.5, p + 1.0, np.full((40, 2), 0.5)):
        with pytest.raises(ValueError, match=r"y_prob|labels"):
            multiclass_brier_score(y, wrong, **kw)
    with pytest.warns(UserWarning, match="sum to one"):
        multiclass_brier_score(y, 0.5 * p, **kw)
