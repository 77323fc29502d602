"""Shares of the classes read from unlabelled rows."""

import pickle
import textwrap
import warnings
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.linear_model import LinearClassifier
from skimb.posthoc import ClassConditionalConformalClassifier, PriorShiftAdapter
from skimb.posthoc._mixture import (
    Grid,
    em_step,
    likely_shares,
    log_likelihood,
    moment_shares,
    profile_interval,
)
from skimb.posthoc._temperature import BiasCorrectedTemperature

QUIET = "ignore:PriorShiftAdapter:UserWarning"
Q = np.array([0.01, 0.02, 0.02, 0.03, 0.05, 0.05, 0.08, 0.10, 0.20, 0.40, 0.60, 0.90])
PI = np.array([0.95, 0.05])
MOVED = [0.458645, 0.631231, 0.631231, 0.721763, 0.815309, 0.815309, 0.879423, 0.903095, 0.954481, 0.982430, 0.992114, 0.998677]  # fmt: skip


class Column(ClassifierMixin, BaseEstimator):
    """Answers the first column of the rows as the probability of class 1."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])


def trusted(**kw):
    """An adapter of given probabilities, honest on rows with the share 0.05."""
    p = np.r_[np.full(900, 0.01), np.full(100, 0.41)]
    y = np.r_[np.arange(900) < 9, np.arange(100) < 41].astype(int)
    kw = {"calibration": None, "cv": "prefit", "n_bootstrap": 50, "random_state": 0, **kw}
    return PriorShiftAdapter(Column().fit(None, None), **kw).fit(p[:, None], y)


def two(rng, n, share, distance=2.0):
    y = (rng.random(n) < share).astype(int)
    return rng.normal(size=(n, 4)) + distance / 2 * y[:, None], y


def three(rng, n, shares):
    y = rng.choice(3, n, p=shares)
    return np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])[y] + rng.normal(size=(n, 2)), y


@pytest.fixture(scope="module")
def fitted():
    X, y = two(np.random.default_rng(0), 3000, 0.05)
    return PriorShiftAdapter(LogisticRegression(), n_bootstrap=100, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def fitted_three():
    X, y = three(np.random.default_rng(0), 2000, [0.8, 0.15, 0.05])
    return PriorShiftAdapter(LogisticRegression(), n_bootstrap=50, random_state=0).fit(X, y)


@parametrize_with_checks([PriorShiftAdapter(LogisticRegression(), cv=2, n_bootstrap=50)])
@pytest.mark.filterwarnings(QUIET)
def test_sklearn_checks(estimator, check):
    check(estimator)


# --- golden values ---------------------------------------------------------------------------------


def test_twelve_probabilities():
    u, count = np.column_stack([1 - Q, Q]) / PI, np.ones(12)
    shares, steps = PI, []
    for _ in range(3):
        shares = em_step(shares, u, count, PI)
        steps.append(shares[1])
    np.testing.assert_allclose(steps, [0.205, 0.3829970257, 0.5143568232], atol=1e-10)
    rho = likely_shares(u, count, PI)
    assert rho[1] == pytest.approx(0.8153091536, abs=1e-10)
    assert 2 * log_likelihood(rho, u, count) == pytest.approx(12.678228463, abs=1e-8)
    low, high = profile_interval(rho[1], u, count, 0.95)
    assert (low, high) == (pytest.approx(0.304901904, abs=1e-8), 1.0)


def test_twelve_probabilities_through_the_estimator():
    model = trusted()
    np.testing.assert_allclose(model.source_prior_, PI)
    with pytest.warns(UserWarning, match="only about 2 of the 12 new rows are of 0"):
        model.adapt(Q[:, None])
    assert model.prior_[1] == pytest.approx(0.8153091536, abs=1e-9)
    np.testing.assert_allclose(model.prior_interval_, [[0, 0.695098096], [0.304901904, 1]], atol=1e-7)  # fmt: skip
    assert model.shift_pvalue_ == pytest.approx(3.6994e-4, rel=1e-4)
    np.testing.assert_allclose(model.predict_proba(Q[:, None])[:, 1], MOVED, atol=1e-6)
    assert model.prior_ratio_[1] == pytest.approx(0.8153091536 / 0.05)


@pytest.fixture(scope="module")
def quantiles():
    """Probabilities under the share 0.05 of the quantiles of a mixture with the share 0.2."""
    at = (np.arange(2000) + 0.5) / 2000
    low, high = np.full(2000, -9.0), np.full(2000, 9.0)
    for _ in range(60):
        x = 0.5 * (low + high)
        below = 0.2 * norm.cdf(x - 2) + 0.8 * norm.cdf(x) < at
        low, high = np.where(below, x, low), np.where(below, high, x)
    return 0.05 * norm.pdf(x - 2) / (0.05 * norm.pdf(x - 2) + 0.95 * norm.pdf(x))


def test_quantiles_of_a_mixture(quantiles):
    assert quantiles.mean() == pytest.approx(0.0989647525, abs=1e-9)
    model = trusted()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the stub knows two source probabilities only
        model.adapt(quantiles[:, None])
    assert model.estimated_prior_[1] == pytest.approx(0.1999998934, abs=1e-9)
    np.testing.assert_allclose(model.prior_interval_[1], [0.1755409890, 0.2255886345], atol=1e-8)
    assert model.prior_std_[1] == pytest.approx(0.0127764967, abs=1e-8)
    means = np.array([[1 - 0.0336783312, 1 - 0.3601117076], [0.0336783312, 0.3601117076]])
    soft = moment_shares(means, np.column_stack([1 - quantiles, quantiles]), np.ones(2000))
    assert soft[1] == pytest.approx(0.1999992221, abs=1e-8)


# --- estimation ------------------------------------------------------------------------------------


def test_the_mean_of_moved_probabilities_is_the_share():
    rng = np.random.default_rng(1)
    for draw, old, new in ((two, 0.05, 0.15), (three, [0.8, 0.15, 0.05], [0.4, 0.2, 0.4])):
        (X, y), (rows, _) = draw(rng, 3000, old), draw(rng, 1500, new)
        model = PriorShiftAdapter(LogisticRegression(), cv=0.5, n_bootstrap=50, random_state=0)
        model.fit(X, y).adapt(rows)
        np.testing.assert_allclose(model.predict_proba(rows).mean(0), model.prior_, atol=2e-5)


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_several_classes_reach_the_maximum(strength):
    rng = np.random.default_rng(0)
    pi = np.array([0.7, 0.2, 0.1])
    u = rng.dirichlet(5 * pi, 400) / pi
    u = np.maximum(u, 1e-9)
    count = rng.integers(1, 4, 400).astype(float)
    rho = likely_shares(u, count, pi, strength)
    assert rho.sum() == pytest.approx(1.0)

    def value(s):
        return count @ np.log(u @ s) + strength * (pi @ np.log(s))

    best = value(rho)
    for _ in range(200):
        other = np.abs(rho + 0.02 * rng.normal(size=3))
        assert value(other / other.sum()) <= best + 1e-5


def test_two_classes_by_root_and_by_steps():
    rng = np.random.default_rng(0)
    q = rng.beta(0.3, 3, 300)
    u = np.column_stack([1 - q, q]) / PI
    for strength in (0.0, 2.0):
        shares = PI
        for _ in range(3000):
            shares = em_step(shares, u, np.ones(300), PI, strength)
        np.testing.assert_allclose(likely_shares(u, np.ones(300), PI, strength), shares, atol=1e-8)
    low = np.full(50, 0.001)
    nothing = np.column_stack([1 - low, low]) / PI
    assert likely_shares(nothing, np.ones(50), PI)[1] == 0.0
    assert likely_shares(nothing, np.ones(50), PI, 1.0)[1] > 0.0


def test_temperature_makes_mean_probabilities_the_shares():
    rng = np.random.default_rng(0)
    for n_classes in (2, 4):
        logits = rng.normal(size=(3000, n_classes)) + np.linspace(2, 0, n_classes)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        code = np.array([rng.choice(n_classes, p=row) for row in p])
        mass = np.eye(n_classes)[code] * rng.uniform(0.5, 2, 3000)[:, None]
        bias = np.linspace(0, 0.7, n_classes)
        found = BiasCorrectedTemperature.fit(2.0 * np.log(p) + bias, mass)
        q = found(2.0 * np.log(p) + bias)
        np.testing.assert_allclose(mass.sum(1) @ q, mass.sum(0), rtol=1e-6)
        assert found.scale == pytest.approx(0.5, abs=0.06)
        np.testing.assert_allclose(found.bias, -0.5 * bias, atol=0.3)


def test_merged_rows_keep_their_weight():
    logs = np.log(np.random.default_rng(0).dirichlet([5.0, 1.0, 1.0], 500))
    grid = Grid.of(logs, np.ones(500))
    assert len(grid.count) < 500
    assert grid.count.sum() == 500
    np.testing.assert_allclose(np.exp(grid.logs).sum(1), 1.0)
    more = grid.with_rows(logs, 0.5)
    np.testing.assert_allclose(more.count, 1.5 * grid.count)
    np.testing.assert_allclose(more.logs, grid.logs, atol=1e-9)


# --- adapting --------------------------------------------------------------------------------------


def test_shares_and_probabilities_of_a_new_population(fitted):
    rng = np.random.default_rng(2)
    for share in (0.01, 0.2, 0.4):
        X, y = two(rng, 3000, share)
        model = pickle.loads(pickle.dumps(fitted)).adapt(X)
        low, high = model.prior_interval_[1]
        assert low <= y.mean() <= high
        assert model.shift_pvalue_ < 0.01
        assert model.shift_fit_pvalue_ > 0.01
        assert model.alarm_ > 20
        assert model.doubts_ == []
        assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.03)
    X, y = two(rng, 3000, 0.05)
    model.adapt(X)
    assert model.shift_pvalue_ > 0.01
    assert model.alarm_ < 20


def test_several_classes(fitted_three):
    shares = [0.4, 0.2, 0.4]
    X, _ = three(np.random.default_rng(3), 2000, shares)
    model = pickle.loads(pickle.dumps(fitted_three)).adapt(X)
    np.testing.assert_allclose(model.prior_, shares, atol=0.05)
    assert (model.prior_interval_[:, 0] < shares).all()
    assert (model.prior_interval_[:, 1] > shares).all()
    assert model.shift_pvalue_ < 1e-6
    by_parts = pickle.loads(pickle.dumps(fitted_three))
    for part in np.array_split(X, 3):
        by_parts.partial_adapt(part)
    np.testing.assert_allclose(by_parts.estimated_prior_, model.estimated_prior_, atol=5e-3)


def test_streams(fitted):
    X, _ = two(np.random.default_rng(4), 2000, 0.2)
    whole = pickle.loads(pickle.dumps(fitted)).adapt(X)
    stream = pickle.loads(pickle.dumps(fitted))
    for part in np.array_split(X, 5):
        stream.partial_adapt(part)
    assert stream.n_adapted_ == 2000
    # folds read other rows than before
    assert stream.estimated_prior_[1] == pytest.approx(whole.estimated_prior_[1], abs=3e-3)
    np.testing.assert_allclose(stream.prior_interval_, whole.prior_interval_, atol=0.01)
    exact = PriorShiftAdapter(FrozenEstimator(fitted.estimator_), n_bootstrap=50, random_state=0)
    exact.fit(*two(np.random.default_rng(0), 3000, 0.05)).adapt(X)
    at_once = exact.estimated_prior_[1]
    exact.adapt(X[:1000]).partial_adapt(X[1000:])
    assert exact.estimated_prior_[1] == pytest.approx(at_once, abs=1e-3)
    assert exact.estimated_prior_[1] != at_once
    low, _ = two(np.random.default_rng(5), 2000, 0.02)
    forgets = pickle.loads(pickle.dumps(whole)).partial_adapt(low, decay=0.01)
    assert forgets.estimated_prior_[1] < 0.05
    assert 2000 < forgets.n_adapted_ < 2100
    keeps = pickle.loads(pickle.dumps(whole)).partial_adapt(low)
    assert keeps.estimated_prior_[1] > 0.08
    keeps.reset()
    np.testing.assert_array_equal(keeps.prior_, fitted.source_prior_)
    assert keeps.alarm_ == 1.0


def test_few_rows_do_not_move_probabilities(fitted):
    X, _ = two(np.random.default_rng(6), 30, 0.05)
    model = pickle.loads(pickle.dumps(fitted))
    with pytest.warns(UserWarning, match="tell the share of 1 only as .* are not moved"):
        model.adapt(X)
    np.testing.assert_array_equal(model.prior_, model.source_prior_)
    assert model.estimated_prior_[1] != model.prior_[1]
    with pytest.warns(UserWarning, match="tell the share"):
        model.adapt(X, on_weak="move")
    np.testing.assert_array_equal(model.prior_, model.estimated_prior_)
    same, _ = two(np.random.default_rng(0), 3000, 0.05)
    model.adapt(same, only_if_shift=True)
    np.testing.assert_array_equal(model.prior_, model.source_prior_)
    np.testing.assert_array_equal(model.adapt(same).prior_, model.estimated_prior_)


def test_changes_within_classes_are_doubted(fitted):
    X, _ = two(np.random.default_rng(8), 2000, 0.1)
    model = pickle.loads(pickle.dumps(fitted))
    with pytest.warns(UserWarning, match="no shares of the classes explain the new rows"):
        model.adapt(X + 0.25)
    assert model.shift_fit_pvalue_ < 0.01
    assert any("within classes" in text for text in model.doubts_)


def test_correction_of_overconfident_probabilities():
    rng = np.random.default_rng(9)
    X, y = two(rng, 6000, 0.05)
    new, truth = two(rng, 3000, 0.2)
    twice = make_pipeline(FunctionTransformer(lambda X: np.hstack([X, X])), GaussianNB())
    kw = {"n_bootstrap": 50, "random_state": 0}
    with pytest.warns(UserWarning, match="calibration='bcts'"):
        raw = PriorShiftAdapter(twice, calibration=None, **kw).fit(X, y)
    model = PriorShiftAdapter(twice, **kw).fit(X, y)
    assert model.calibrator_.scale < 0.7
    assert model.calibration_pvalue_ > 1e-3 > raw.calibration_pvalue_
    np.testing.assert_allclose(model.source_prior_[1], y.mean(), rtol=1e-5)
    assert model.adapt(new).estimated_prior_[1] == pytest.approx(truth.mean(), abs=0.03)
    logistic = PriorShiftAdapter(twice, calibration=LogisticRegression(C=1e6), **kw).fit(X, y)
    assert logistic.adapt(new).estimated_prior_[1] == pytest.approx(model.estimated_prior_[1], abs=2e-3)  # fmt: skip
    by_means = PriorShiftAdapter(twice, method="bbse", **kw).fit(X, y).adapt(new)
    assert by_means.estimated_prior_[1] == pytest.approx(truth.mean(), abs=0.04)
    assert by_means.estimated_prior_[1] != model.estimated_prior_[1]


def test_class_weights_are_corrected_too():
    rng = np.random.default_rng(10)
    X, y = two(rng, 4000, 0.05)
    new, truth = two(rng, 2000, 0.2)
    kw = {"n_bootstrap": 50, "random_state": 0}
    model = PriorShiftAdapter(LogisticRegression(class_weight="balanced"), **kw).fit(X, y)
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.005)
    assert model.adapt(new).prior_[1] == pytest.approx(truth.mean(), abs=0.03)


def test_classifiers_that_tell_nothing_are_doubted():
    rng = np.random.default_rng(11)
    X, y = rng.normal(size=(800, 2)), (np.arange(800) % 10 == 0).astype(int)
    with pytest.warns(UserWarning, match="hardly tell"):
        PriorShiftAdapter(LogisticRegression(), n_bootstrap=50).fit(X, y)


def test_sets_do_not_move_when_the_adapter_does():
    rng = np.random.default_rng(12)
    X, y = two(rng, 3000, 0.1)
    adapter = PriorShiftAdapter(LogisticRegression(), n_bootstrap=50, random_state=0).fit(X, y)
    rows, labels = two(rng, 2000, 0.1)
    sets = ClassConditionalConformalClassifier(adapter, cv="prefit").fit(rows, labels)
    new, truth = two(rng, 2000, 0.4)
    before, proba = sets.predict_set(new), sets.predict_proba(new)
    adapter.adapt(new)
    np.testing.assert_array_equal(sets.predict_set(new), before)
    assert np.abs(sets.predict_proba(new) - proba).max() > 0.2
    assert before[truth == 1, 1].mean() > 0.85


def test_own_classifiers_documents_and_labels():
    rng = np.random.default_rng(13)
    X, y = two(rng, 1500, 0.1)
    names = np.array(["no", "yes"])[y]
    kw = {"n_bootstrap": 50, "random_state": 0}
    model = PriorShiftAdapter(LinearClassifier(), **kw).fit(X, names)
    assert model.classes_.tolist() == ["no", "yes"]
    assert set(model.adapt(two(rng, 800, 0.4)[0]).predict(X)) == {"no", "yes"}
    docs = np.array(["win cash now", "see you tomorrow", "cash tomorrow"], object)[rng.integers(0, 3, 200)]  # fmt: skip
    spam = np.array(["cash" in d and rng.random() < 0.8 for d in docs]).astype(int)
    text = make_pipeline(TfidfVectorizer(), LogisticRegression())
    found = PriorShiftAdapter(text, cv=2, **kw).fit(list(docs), spam)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.adapt(list(docs[:100])).predict_proba(list(docs)).shape == (200, 2)


@pytest.mark.filterwarnings(QUIET)
def test_weights_are_repeated_rows():
    X, y = two(np.random.default_rng(14), 400, 0.3)
    w = np.random.default_rng(0).integers(1, 4, 400)
    inner = FrozenEstimator(LogisticRegression().fit(X, y))
    kw = {"n_bootstrap": 50, "random_state": 0}
    a = PriorShiftAdapter(inner, **kw).fit(X, y, sample_weight=w)
    b = PriorShiftAdapter(inner, **kw).fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-8)
    np.testing.assert_allclose(a.source_prior_, b.source_prior_)


def test_what_was_fitted_stays_fitted(fitted):
    X, _ = two(np.random.default_rng(15), 800, 0.2)
    one, two_ = pickle.loads(pickle.dumps(fitted)), pickle.loads(pickle.dumps(fitted))
    two_.set_params(method="bbse", calibration=None, confidence=0.5, n_bootstrap=60, prior_strength=50.0, cv=2, random_state=7, n_jobs=2, estimator=GaussianNB())  # fmt: skip
    one.adapt(X), two_.adapt(X)
    for name in ("prior_", "prior_interval_", "shift_pvalue_", "shift_fit_pvalue_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two_, name))
    np.testing.assert_array_equal(one.predict_proba(X), two_.predict_proba(X))


@pytest.mark.filterwarnings(QUIET)
def test_the_page_runs():
    page = Path(__file__).parent.parent / "docs" / "guide" / "population.rst"
    blocks = page.read_text().split(".. code-block:: python\n")[1:]
    lines = [
        line for b in blocks for line in takewhile(lambda v: not v or v[0] == " ", b.split("\n"))
    ]
    names = {}
    exec(textwrap.dedent("\n".join(lines)), names)
    assert names["proba"][:, 1].mean() == pytest.approx(0.2, abs=0.04)
    assert names["adapter"].alarm_ > 20
    covered = names["sets"][np.arange(2000), names["y_new"]]
    assert covered.mean() == pytest.approx(0.9, abs=0.03)


# --- refusals --------------------------------------------------------------------------------------


def test_refusals(fitted):
    X, y = two(np.random.default_rng(16), 300, 0.3)
    for kw, words in (
        ({"calibration": "platt"}, "calibration"),
        ({"method": "mean"}, "method"),
        ({"n_bootstrap": 10}, "n_bootstrap"),
        ({"prior_strength": -1.0}, "prior_strength"),
        ({"cv": "prefit"}, "not fitted"),
    ):
        with pytest.raises(ValueError, match=words):
            PriorShiftAdapter(LogisticRegression(), **kw).fit(X, y)
    inner = LogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match=r"hold none of the classes \[1\]"):
        PriorShiftAdapter(inner, cv="prefit").fit(X[y == 0], y[y == 0])
    for call, words in (
        (lambda m: m.adapt(X, on_weak="ask"), "on_weak='ask'"),
        (lambda m: m.partial_adapt(X, decay=0.0), "decay=0.0"),
        (lambda m: m.adapt(X[:0]), "0 sample"),
    ):
        with pytest.raises(ValueError, match=words):
            call(pickle.loads(pickle.dumps(fitted)))
    with pytest.raises(ValueError, match="not fitted"):
        clone(fitted).adapt(X)


# --- simulations -----------------------------------------------------------------------------------


def repeated(share, repetitions, n=4000, **kw):
    """Error, whether the interval holds the truth, and whether a shift is found, of each repetition."""
    found = []
    for seed in range(repetitions):
        rng = np.random.default_rng(seed)
        X, y = two(rng, n, 0.05)
        model = PriorShiftAdapter(LogisticRegression(), n_bootstrap=100, random_state=0, **kw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y).adapt(two(rng, 1000, share)[0])
        low, high = model.prior_interval_[1]
        found.append([model.estimated_prior_[1] - share, low <= share <= high, model.shift_pvalue_ < 0.05])  # fmt: skip
    error, inside, shift = np.array(found).T
    return np.sqrt(np.mean(error**2)), inside.mean(), shift.mean()


@pytest.mark.slow
def test_error_and_coverage_on_simulated_shifts():
    """Of 1,000 new rows the likelihood's standard error is about 0.0125 at 0.05 and 0.016 at 0.2."""
    error, inside, shift = repeated(0.05, 80)
    assert error < 0.016
    assert inside > 0.86
    assert shift < 0.14
    error, inside, shift = repeated(0.2, 60)
    assert error < 0.025
    assert inside > 0.85
    assert shift > 0.95


@pytest.mark.slow
def test_alarms_are_rare_without_a_shift():
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        model = trusted_normal(rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(8):
                model.partial_adapt(two(rng, 250, 0.05)[0])
        alarms += model.alarm_ >= 20
    assert alarms <= 8


def trusted_normal(rng):
    """An adapter whose probabilities are the true ones."""
    n = 4000
    X, y = two(rng, n, 0.05)

    class True_(Column):
        def predict_proba(self, X):
            z = X.sum(1) - 2.0 + np.log(0.05 / 0.95)
            p = 1 / (1 + np.exp(-z))
            return np.column_stack([1 - p, p])

    inner = True_().fit(X, y)
    return PriorShiftAdapter(inner, calibration=None, cv="prefit", n_bootstrap=50, random_state=0).fit(X, y)  # fmt: skip
