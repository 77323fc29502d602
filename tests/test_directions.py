"""Directions about class means, the Bessel function they need, and votes by a singular kernel."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import ive, logsumexp
from sklearn.datasets import load_digits, load_wine
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.naive_bayes import VonMisesFisherClassifier, log_iv
from skimb.naive_bayes._von_mises_fisher import concentration, log_normaliser
from skimb.neighbors import SingularKernelClassifier


@parametrize_with_checks(
    [
        VonMisesFisherClassifier(),
        VonMisesFisherClassifier(shared_concentration=True, priors="uniform"),
        SingularKernelClassifier(),
        SingularKernelClassifier("cv", priors="uniform"),
        SingularKernelClassifier(4.0, n_neighbors=5),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def texts():
    """Directions of three classes of 200, 40 and 3 rows."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [200, 40, 3])
    X = rng.normal(size=(243, 30)) + 3 * np.eye(30)[y]
    return normalize(X), np.array(["a", "b", "c"])[y]


# --- Bessel functions ----------------------------------------------------------------------------

GOLDEN = [
    (383, 1, -2164.4652935778), (383, 50, -664.5369505657), (1023, 100, -2066.8423705012),
    (16383, 1000, -40774.2184321477),
]  # fmt: skip


@pytest.mark.parametrize(("v", "x", "wanted"), GOLDEN)
def test_golden_logarithms(v, x, wanted):
    assert log_iv(v, x) == pytest.approx(wanted, abs=1e-9)


def test_logarithms_are_those_of_scipy_where_it_has_any():
    v = np.array([0, 0.5, 1, 2.5, 8, 11.9, 12, 15, 20, 24.9, 25, 30, 60])[:, None]
    x = np.array([1e-3, 0.1, 1, 5, 12, 29, 31, 40, 59, 61, 100, 500, 3000, 2e4])
    wanted = np.log(ive(v, x)) + x
    np.testing.assert_allclose(log_iv(v, x), wanted, rtol=1e-13, atol=1e-13)
    assert log_iv(0, 0) == 0
    assert log_iv([1, 300], 0).tolist() == [-np.inf, -np.inf]
    # recurrence I_{v-1} - I_{v+1} = 2 v I_v / x, where no other has a value
    v, x = np.array([400.0, 5000.0]), np.array([700.0, 90.0])
    below, here, above = (log_iv(v + d, x) for d in (-1, 0, 1))
    np.testing.assert_allclose(np.exp(below - here) - np.exp(above - here), 2 * v / x, rtol=1e-11)
    for bad in ((-1, 1), (1, -1), (np.nan, 1)):
        with pytest.raises(ValueError, match="must be non-negative"):
            log_iv(*bad)


# --- concentrations ------------------------------------------------------------------------------


def test_densities_in_two_and_three_dimensions():
    kappa = np.array([1e-3, 0.5, 5.0, 60.0])
    closed = np.log(kappa / (4 * np.pi * np.sinh(kappa)))
    np.testing.assert_allclose(log_normaliser(kappa, 3), closed, rtol=1e-12)
    assert log_normaliser(5.0, 3) == pytest.approx(-5.2283937530148852, rel=1e-14)
    circle = np.linspace(0, 2 * np.pi, 2001)[:-1]
    for k in (0.0, 0.7, 20.0):
        mass = np.exp(log_normaliser(k, 2) + k * np.cos(circle)).mean() * 2 * np.pi
        assert mass == pytest.approx(1.0, rel=1e-10)
    assert log_normaliser(0.0, 3) == pytest.approx(-np.log(4 * np.pi))


@pytest.mark.parametrize(("d", "kappa"), [(2, 0.3), (3, 5.0), (50, 20.0), (384, 200.0), (768, 3000.0), (32768, 900.0)])  # fmt: skip
def test_the_concentration_comes_back_from_the_mean_length(d, kappa):
    R = np.exp(log_iv(d / 2, kappa) - log_iv(d / 2 - 1, kappa))
    np.testing.assert_allclose(concentration([R, 0.0], d), [kappa, 0.0], rtol=1e-8)


def test_a_shared_concentration_is_the_nearest_mean_direction(texts):
    X, y = texts
    model = VonMisesFisherClassifier(shared_concentration=True, priors="uniform").fit(X, y)
    means = normalize(np.stack([X[y == c].sum(0) for c in "abc"]))
    np.testing.assert_array_equal(model.predict(X), model.classes_[(X @ means.T).argmax(1)])
    assert np.ptp(model.concentration_) == 0
    np.testing.assert_allclose(model.mean_direction_, means)


def test_few_rows_lend_the_concentration_of_all(texts):
    X, y = texts
    one = np.r_[0:240, 242:243]  # one row of c
    free = VonMisesFisherClassifier(shrinkage=0.0).fit(X[one], y[one])
    held = VonMisesFisherClassifier().fit(X[one], y[one])
    assert free.concentration_[2] > 1e6
    assert held.concentration_[2] < 3 * held.concentration_[1]
    assert np.isfinite(free.predict_log_proba(X[:5])).any(1).all()
    tight = VonMisesFisherClassifier(shrinkage=1e9).fit(X, y)
    shared = VonMisesFisherClassifier(shared_concentration=True).fit(X, y)
    np.testing.assert_allclose(tight.concentration_, shared.concentration_, rtol=1e-6)


def test_chunks_sparse_rows_and_weights(texts):
    X, y = texts
    w = np.random.default_rng(0).integers(0, 3, len(y))
    w[-1] = 1
    whole = VonMisesFisherClassifier().fit(X, y, sample_weight=w)
    parts = VonMisesFisherClassifier()
    for at in (slice(0, 90), slice(90, 210), slice(210, None)):
        parts.partial_fit(sparse.csr_matrix(X[at]), y[at], classes=["a", "b", "c"], sample_weight=w[at])  # fmt: skip
    again = VonMisesFisherClassifier().fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    for model in (parts, again):
        np.testing.assert_allclose(
            model.predict_log_proba(X), whole.predict_log_proba(X), atol=1e-9
        )
    np.testing.assert_allclose(
        VonMisesFisherClassifier(normalize=False).fit(X, y).predict_proba(X),
        VonMisesFisherClassifier().fit(7 * X, y).predict_proba(3 * X),
        atol=1e-9,
    )
    with pytest.raises(ValueError, match="normalize=False wants rows of length 1, and row 0 has 2"):
        VonMisesFisherClassifier(normalize=False).fit(2 * X, y)
    with pytest.raises(ValueError, match="one non-negative number per class"):
        VonMisesFisherClassifier(priors=[0.5, 0.5]).fit(X, y)


def test_strange_rows_have_a_low_density(texts):
    X, y = texts
    model = VonMisesFisherClassifier().fit(X, y)
    assert model.score_samples(X).min() > model.score_samples(-np.eye(30)[:3]).max()
    joint = [
        np.log(model.class_prior_[k])
        + log_normaliser(model.concentration_[k], 30)
        + model.concentration_[k] * X @ model.mean_direction_[k]
        for k in range(3)
    ]
    np.testing.assert_allclose(model.score_samples(X), logsumexp(joint, axis=0))


# --- singular kernels ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    keep = np.r_[0:60, 60:100, 131:150]
    return X[keep], y[keep], np.delete(X, keep, axis=0)


def test_limits_of_the_exponent(wine):
    X, y, new = wine
    nearest = KNeighborsClassifier(1).fit(X, y)
    far = SingularKernelClassifier(400.0).fit(X, y)
    np.testing.assert_array_equal(far.predict(new), nearest.predict(new))
    shares = np.bincount(y) / len(y)
    for priors, wanted in ((None, shares), ("uniform", np.full(3, 1 / 3)), ([0.2, 0.5, 0.3], [0.2, 0.5, 0.3])):  # fmt: skip
        flat = SingularKernelClassifier(1e-9, priors=priors).fit(X, y)
        np.testing.assert_allclose(flat.predict_proba(new), np.tile(wanted, (len(new), 1)), rtol=1e-6)  # fmt: skip
    k = SingularKernelClassifier(1e-9, n_neighbors=5).fit(X, y)
    np.testing.assert_allclose(
        k.predict_proba(new), KNeighborsClassifier(5).fit(X, y).predict_proba(new), atol=1e-6
    )


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("metric", ["euclidean", "sphere"])
def test_it_interpolates_and_has_no_bandwidth(wine, form, metric):
    X, y, new = wine
    model = SingularKernelClassifier(metric=metric).fit(form(X), y)
    own = model.predict_proba(form(X))
    np.testing.assert_allclose(own, np.eye(3)[y], atol=1e-12)
    found = model.predict_proba(form(new))
    np.testing.assert_allclose(found.sum(1), 1.0)
    scaled = SingularKernelClassifier(metric=metric).fit(form(1e-3 * X), y)
    assert scaled.exponent_ == pytest.approx(model.exponent_)
    np.testing.assert_allclose(scaled.predict_proba(form(1e-3 * new)), found, atol=1e-8)
    shifted = np.r_[X, X[:1]]  # a row with two labels
    torn = SingularKernelClassifier(5.0).fit(form(shifted), np.r_[y, 2])
    np.testing.assert_allclose(torn.predict_proba(form(X[:1])), [[0.5, 0, 0.5]], atol=1e-12)


def test_weights_are_repetitions_and_classes_have_their_priors(wine):
    X, y, new = wine
    w = np.random.default_rng(0).integers(0, 3, len(y))
    for exponent in ("dim", "cv"):
        one = SingularKernelClassifier(exponent, priors="uniform").fit(X, y, sample_weight=w)
        many = SingularKernelClassifier(exponent, priors="uniform").fit(
            np.repeat(X, w, axis=0), np.repeat(y, w)
        )
        assert one.exponent_ == pytest.approx(many.exponent_)
        np.testing.assert_allclose(one.predict_proba(new), many.predict_proba(new), atol=1e-9)
    natural = SingularKernelClassifier(3.0).fit(X, y).predict_proba(new)
    moved = natural / (np.bincount(y) / len(y))
    even = SingularKernelClassifier(3.0, priors="uniform").fit(X, y).predict_proba(new)
    np.testing.assert_allclose(even, moved / moved.sum(1, keepdims=True), atol=1e-12)


def test_the_exponent_is_the_dimension_or_the_best_of_a_grid():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(1500, 2)) @ rng.normal(size=(2, 10))
    y = (plane[:, 0] > 0).astype(int)
    assert SingularKernelClassifier().fit(plane, y).exponent_ == pytest.approx(2.0, abs=0.2)
    X, y = load_digits(return_X_y=True)
    X, y = X[::3], y[::3]
    best = SingularKernelClassifier("cv").fit(X, y)
    assert best.exponent_ > 4
    for bad, message in (
        ("dim", "needs at least 3 different rows"),
        ("cv", "needs at least 2 different rows"),
    ):
        with pytest.raises(ValueError, match=message):
            SingularKernelClassifier(bad).fit(np.ones((4, 2)), [0, 1, 0, 1])
