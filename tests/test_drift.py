"""Sequential tests of a stream against its reference."""

import pickle

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.streaming import SequentialDriftDetector


@parametrize_with_checks(
    [SequentialDriftDetector(), SequentialDriftDetector("rank", mode="sprt", n_reference=10)]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


def started(kind="gaussian", **kw):
    """A detector whose reference is (almost) exactly standard normal, or of the rate 0.1."""
    if kind == "bernoulli":
        n = 2_000_000
        rows = (np.arange(n) % 10 == 0).astype(float)
    else:
        rows = ndtri((np.arange(20_000) + 0.5) / 20_000)
    return SequentialDriftDetector(kind, **kw).fit(rows.reshape(-1, 1))


def test_increments():
    """Golden values: a shift of delta adds delta z - delta^2 / 2, of a rate from 0.1 to 0.2 log(2) or log(8 / 9)."""
    detector = started(delta=0.7, alpha=1e-9, mode="sprt", beta=1e-9)
    detector.update([0.3, -1.2])
    np.testing.assert_allclose(
        detector.statistic_[0], [0.7 * -0.9 - 0.49, 0.7 * 0.9 - 0.49], atol=1e-3
    )
    odds = np.log((0.2 / 0.8) / (0.1 / 0.9))
    events = started("bernoulli", delta=odds, alpha=1e-9, mode="sprt", beta=1e-9, side="above")
    events.update(1.0)
    assert events.statistic_[0, 0] == pytest.approx(0.69314718, abs=1e-5)
    events.update(0.0)
    assert events.statistic_[0, 0] == pytest.approx(0.69314718 - 0.11778304, abs=1e-5)


def test_thresholds():
    assert started(side="above").threshold_ == pytest.approx((0.0, np.log(1000.0)))
    assert started().threshold_[1] == pytest.approx(np.log(2000.0))
    low, high = started(side="above", mode="sprt", alpha=0.05, beta=0.1).threshold_
    assert (low, high) == pytest.approx((np.log(0.1 / 0.95), np.log(0.9 / 0.05)))


@pytest.mark.parametrize(("alpha", "beta", "delta"), [(0.05, 0.05, 1.0), (0.01, 0.1, 0.5)])
def test_errors_of_a_run_stay_below_their_bounds(alpha, beta, delta):
    detector = started(alpha=alpha, beta=beta, delta=delta, mode="sprt", side="above")
    rng, runs = np.random.default_rng(0), 1000
    low, high = detector.threshold_
    for shift, bound in ((0.0, alpha / (1 - beta)), (delta, beta / (1 - alpha))):
        path = np.cumsum(delta * rng.normal(shift, size=(runs, 400)) - delta**2 / 2, 1)
        up, down = (np.where(hit.any(1), hit.argmax(1), 400) for hit in (path >= high, path <= low))
        wrong = (up < down).mean() if shift == 0 else (down < up).mean()
        assert 0.1 * bound < wrong <= bound + 2 * np.sqrt(bound / runs)
    # the object does the same as the sums above
    for k in range(30):
        detector.reset()
        x = rng.normal(delta / 2, size=60)
        path = np.cumsum(delta * x - delta**2 / 2)
        ends = np.flatnonzero((path >= high) | (path <= low))
        if not len(ends):
            continue
        assert detector.update(x[: ends[0] + 1]) == (path[ends[0]] >= high), k


def test_rows_before_a_false_alarm():
    """On average at least 1 / alpha, also with both sides and several columns together."""
    rng = np.random.default_rng(1)
    for columns, side in ((1, "above"), (1, "both"), (3, "both")):
        reference = np.tile(ndtri((np.arange(20_000) + 0.5) / 20_000)[:, None], (1, columns))
        detector = SequentialDriftDetector(alpha=0.02, side=side).fit(reference)
        detector.update(rng.normal(size=(15_000, columns)))
        assert 50 < 15_000 / len(detector.alarms_) < 1000


@pytest.mark.parametrize(("kind", "shift"), [("gaussian", 1.0), ("rank", 1.0), ("gaussian", -1.0)])
def test_a_shift_is_found_and_dated(kind, shift):
    rng = np.random.default_rng(2)
    delays, dated = [], []
    for _ in range(40):
        detector = SequentialDriftDetector(kind).fit(rng.normal(size=(2000, 1)))
        x = rng.normal(size=300)
        x[200:] += shift
        assert detector.update(x)
        first = detector.alarms_[0]
        delays.append(first - 200)
        dated.append(detector.change_points_[0])
    assert 8 < np.mean(delays) < 22  # threshold 7.6, a gain of 0.5 a row
    assert abs(np.median(dated) - 200) < 5


def test_row_by_row_is_the_same_and_what_was_set_later_waits():
    rng = np.random.default_rng(3)
    x = np.r_[rng.normal(size=200), rng.normal(1.5, size=60)]
    whole, single = SequentialDriftDetector(), SequentialDriftDetector()
    whole.update(x)
    found = [single.update(v) for v in x]
    assert single.alarms_ == whole.alarms_ == (np.flatnonzero(found) - 100).tolist() != []
    assert (single.n_seen_, single.change_points_) == (160, whole.change_points_)
    np.testing.assert_allclose(single.statistic_, whole.statistic_)
    again = pickle.loads(pickle.dumps(whole))
    again.set_params(delta=5.0, kind="bernoulli", side="above", mode="sprt", alpha=0.5)
    for detector in (whole, again):
        detector.update(rng.normal(size=50) * 0 + 0.3)
    np.testing.assert_allclose(again.statistic_, whole.statistic_)


def test_missing_values_and_reset():
    detector = SequentialDriftDetector().fit(np.random.default_rng(4).normal(size=(500, 2)))
    detector.update([[3.0, 0.0]])
    before = detector.statistic_
    detector.update([[np.nan, np.nan]])
    np.testing.assert_array_equal(detector.statistic_, before)
    detector.update([np.nan, 1.0])
    np.testing.assert_array_equal(detector.statistic_[0], before[0])
    assert before.any()
    assert detector.n_seen_ == 3
    detector.reset()
    assert not detector.statistic_.any()
    assert (detector.n_seen_, detector.alarms_) == (0, [])


def test_ranks_do_not_see_a_monotone_scale():
    rng = np.random.default_rng(5)
    rows, x = rng.normal(size=(300, 1)), rng.normal(0.5, size=100)
    plain = SequentialDriftDetector("rank").fit(rows)
    scaled = SequentialDriftDetector("rank").fit(np.exp(3 * rows))
    plain.update(x)
    scaled.update(np.exp(3 * x))
    np.testing.assert_allclose(scaled.statistic_, plain.statistic_)


def test_errors():
    with pytest.raises(ValueError, match="column 1 of the reference is constant"):
        SequentialDriftDetector().fit(np.c_[np.arange(5.0), np.ones(5)])
    with pytest.raises(ValueError, match="events that are 0 or 1"):
        SequentialDriftDetector("bernoulli").fit([[0.5], [1.0]])
    with pytest.raises(ValueError, match="events that are 0 or 1"):
        SequentialDriftDetector("bernoulli").fit([[0.0], [1.0]]).update(2.0)
    with pytest.raises(ValueError, match="must sum to less than 1"):
        SequentialDriftDetector(alpha=0.6, beta=0.5).fit([[0.0], [1.0]])
    with pytest.raises(ValueError, match="at least two values in each column"):
        SequentialDriftDetector().fit([[0.0, np.nan], [1.0, 1.0]])
