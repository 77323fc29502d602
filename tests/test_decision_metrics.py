"""Scores of decisions under costs and budgets, net benefit, gain, and whether probabilities are right."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, hypergeom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, roc_curve
from sklearn.model_selection import cross_val_score

from skimb import metrics
from skimb.metrics._calibration import _Line

Y = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 1])
P = np.array([0.01, 0.02, 0.05, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
ORDERED = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.6, 0.4, 0.3, 0.1])
FOUND = np.array([1, 1, 0, 1, 0, 1, 0, 0, 0, 0])
BENEFIT_Y = np.array([0, 0, 1, 0, 1, 0, 0, 1, 0, 0])
BENEFIT_P = np.array([0.05, 0.1, 0.7, 0.3, 0.4, 0.2, 0.02, 0.15, 0.6, 0.01])
COST = np.array([[1, 10, 0, 0], [2, 10, -1, 0], [5, 3, 0, 0], [1, 0, 0, 0]], float)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 9, 500).round(2)
    return (rng.random(500) < p).astype(int), p, rng.integers(0, 4, 500)


REPLICATED = {
    "precision": lambda y, p, w=None: metrics.precision_at_budget(y, p, budget=0.1, groups=(p * 100) % 2, sample_weight=w),
    "lift": lambda y, p, w=None: metrics.lift_at_budget(y, p, budget=30, sample_weight=w),
    "gain": lambda y, p, w=None: metrics.gain_curve(y, p, budgets=[0.07], sample_weight=w).gain[0],
    "ks": lambda y, p, w=None: metrics.kolmogorov_smirnov_score(y, p, sample_weight=w),
    "benefit": lambda y, p, w=None: metrics.net_benefit(y, p, threshold=0.1, sample_weight=w),
    "benefit_elsewhere": lambda y, p, w=None: metrics.net_benefit(y, p, threshold=0.1, prevalence=0.3, sample_weight=w),
    "savings": lambda y, p, w=None: metrics.savings_score(y, p > 0.2, [[0, 1], [4, 0]], sample_weight=w),
    "expected": lambda y, p, w=None: metrics.expected_savings_score(y, p, [[0, 1], [4, 0]], sample_weight=w),
    "ici": lambda y, p, w=None: metrics.integrated_calibration_index(y, p, sample_weight=w),
    "ratio": lambda y, p, w=None: metrics.calibration_summary(y, p, n_draws=0, sample_weight=w).ratio,
    "slope": lambda y, p, w=None: metrics.calibration_summary(y, p, n_draws=0, sample_weight=w).intercept,
}  # fmt: skip


@pytest.mark.parametrize("name", REPLICATED)
def test_weights_are_replication_and_order_is_nothing(name, drawn):
    y, p, w = drawn
    score = REPLICATED[name]
    assert score(y, p, w) == pytest.approx(score(np.repeat(y, w), np.repeat(p, w)), rel=1e-9)
    order = np.random.default_rng(1).permutation(len(y))
    assert score(y, p) == pytest.approx(score(y[order], p[order]), rel=1e-9)


# --- net benefit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "benefit", "treat_all", "standardised", "avoided"),
    [
        (0.1, 0.2555555556, 0.2222222222, 0.8518518519, 30),
        (0.2, 0.125, 0.125, 0.4166666667, 0),
        (0.5, 0, -0.4, 0, 40),
    ],
)
def test_net_benefit_golden(threshold, benefit, treat_all, standardised, avoided):
    assert metrics.net_benefit(BENEFIT_Y, BENEFIT_P, threshold=threshold) == pytest.approx(benefit)
    curve = metrics.net_benefit_curve(BENEFIT_Y, BENEFIT_P, thresholds=[threshold])
    assert curve.treat_all[0] == pytest.approx(treat_all)
    assert curve.standardised[0] == pytest.approx(standardised)
    assert curve.avoided[0] == pytest.approx(avoided, abs=1e-9)


def test_net_benefit_intervals(drawn):
    y, p, _ = drawn
    t = np.array([0.05, 0.2, 0.4])
    odds = t / (1 - t)
    wald = metrics.net_benefit_curve(y, p, thresholds=t, band="wald")
    exact = metrics.net_benefit_curve(y, p, thresholds=t, band="exact")
    for i in range(3):
        flagged = p >= t[i]
        x = np.where(flagged, np.where(y == 1, 1.0, -odds[i]), 0.0)
        assert wald.net_benefit[i] == pytest.approx(x.mean())
        half = 1.959963985 * x.std() / np.sqrt(len(y))
        assert [wald.low[i], wald.high[i]] == pytest.approx([x.mean() - half, x.mean() + half])
        hits, alarms = (
            binomtest(int((flagged & (y == k)).sum()), len(y)).proportion_ci(0.975) for k in (1, 0)
        )
        assert exact.low[i] == pytest.approx(hits.low - odds[i] * alarms.high)
        assert exact.high[i] == pytest.approx(hits.high - odds[i] * alarms.low)
    auto = metrics.net_benefit_curve(y, p, thresholds=t)
    few = np.minimum(auto.hits, auto.false_alarms) < 5
    assert auto.exact.tolist() == few.tolist() == [False, False, True]
    assert np.array_equal(auto.low, np.where(few, exact.low, wald.low))
    doubled = metrics.net_benefit_curve(
        y, p, thresholds=t, band="wald", sample_weight=7.0 * np.ones(500)
    )
    assert doubled.low == pytest.approx(wald.low)  # weights are no counts
    same = metrics.net_benefit_curve(y, p, thresholds=t, prevalence=y.mean())
    assert same.net_benefit == pytest.approx(auto.net_benefit)
    tpr, fpr = (p[y == 1] >= 0.2).mean(), (p[y == 0] >= 0.2).mean()
    other = metrics.net_benefit(y, p, threshold=0.2, prevalence=0.4)
    assert other == pytest.approx(0.4 * tpr - 0.6 * 0.25 * fpr)


@pytest.mark.parametrize("prevalence", [None, 0.3])
def test_difference_of_net_benefits_is_paired(drawn, prevalence):
    y, p, w = drawn
    q = np.clip(p + np.random.default_rng(2).normal(0, 0.05, 500), 0, 1)
    t = np.array([0.1, 0.25])
    kw = {"thresholds": t, "prevalence": prevalence}
    found = metrics.net_benefit_curve(y, p, y_other=q, **kw)
    other = metrics.net_benefit_curve(y, q, **kw)
    assert found.difference == pytest.approx(found.net_benefit - other.net_benefit, abs=1e-12)
    for i, odds in enumerate(t / (1 - t)):
        moved = (p >= t[i]).astype(float) - (q >= t[i])
        if prevalence is None:
            error = np.where(y == 1, moved, -odds * moved).std() / np.sqrt(500)
        else:
            parts = [
                rate * moved[y == k].std() / np.sqrt((y == k).sum())
                for k, rate in ((1, 0.3), (0, 0.7 * odds))
            ]
            error = np.hypot(*parts)
        assert found.difference_high[i] - found.difference[i] == pytest.approx(1.959963985 * error)
    nothing = metrics.net_benefit_curve(y, p, y_other=p, sample_weight=w, **kw)
    assert np.abs(nothing.difference).max() < 1e-15
    assert np.abs(nothing.difference_high).max() < 1e-15


def test_default_thresholds_reach_five_times_the_prevalence():
    y = np.repeat([1, 0], [4, 96])
    curve = metrics.net_benefit_curve(y, np.linspace(1, 0, 100))
    assert len(curve.threshold) == 100
    assert curve.threshold[-1] == pytest.approx(0.2)
    none = metrics.net_benefit_curve(np.zeros(9, int), np.linspace(0, 1, 9))
    assert none.threshold[-1] == 0.5
    assert np.isnan(none.standardised).all()
    assert (none.net_benefit < 0).all()
    assert np.isnan(metrics.net_benefit_curve([0, 1], [0.1, 0.2], thresholds=[0.0]).avoided[0])


def test_net_benefit_errors(drawn):
    y, p, _ = drawn
    with pytest.raises(ValueError, match=r"y_proba must lie in \[0, 1\]"):
        metrics.net_benefit(y, 2 * p - 0.5, threshold=0.1)
    with pytest.raises(ValueError, match="'threshold' parameter"):
        metrics.net_benefit(y, p, threshold=1.0)
    with pytest.raises(ValueError, match=r"thresholds=.* must be a list of numbers"):
        metrics.net_benefit_curve(y, p, thresholds=[0.2, 1.0])
    with pytest.raises(ValueError, match=r"prevalence=0.1 needs rows of both classes"):
        metrics.net_benefit(np.zeros(9, int), np.zeros(9), threshold=0.1, prevalence=0.1)
    with pytest.raises(ValueError, match="y_proba contains NaN"):
        metrics.net_benefit([0, 1], [np.nan, 0.5], threshold=0.1)
    with pytest.raises(ValueError, match="give the rare class as pos_label"):
        metrics.net_benefit(["a", "b"], [0.1, 0.5], threshold=0.1)


# --- gain, lift, Kolmogorov-Smirnov ---------------------------------------------------------------


def test_gain_golden():
    curve = metrics.gain_curve(FOUND, ORDERED, budgets=[2, 5, 6])
    assert curve.gain == pytest.approx([0.375, 0.8333333333, 0.9166666667])
    assert curve.lift == pytest.approx([1.875, 1.6666666667, 1.5277777778])
    for budget, gain, lift in zip([2, 5, 6], curve.gain, curve.lift, strict=True):
        assert metrics.recall_at_budget(FOUND, ORDERED, budget=budget) == pytest.approx(gain)
        assert metrics.lift_at_budget(FOUND, ORDERED, budget=budget) == pytest.approx(lift)
    assert metrics.kolmogorov_smirnov_score(FOUND, ORDERED) == pytest.approx(0.5833333333)
    assert curve.perfect == pytest.approx([0.5, 1.0, 1.0])
    shares = metrics.gain_curve(FOUND, ORDERED, budgets=[0.2, 0.5, 0.6])
    assert shares.gain == pytest.approx(curve.gain)


def test_gain_intervals():
    y = np.repeat([1, 0, 1, 0], [12, 38, 8, 942])
    s = -np.arange(1000.0)
    curve = metrics.gain_curve(y, s, budgets=[50, 100, 200])
    recall, precision = binomtest(12, 20).proportion_ci(0.95), binomtest(12, 50).proportion_ci(0.95)
    assert [curve.gain_low[0], curve.gain_high[0]] == pytest.approx([recall.low, recall.high])
    assert [curve.precision_low[0], curve.precision_high[0]] == pytest.approx(
        [precision.low, precision.high]
    )
    assert curve.lift_low == pytest.approx(curve.gain_low / curve.share)
    # golden: a random order of 1 000 rows with 20 positives
    assert curve.chance_low == pytest.approx([0, 0, 0.05])
    assert curve.chance_high == pytest.approx([0.15, 0.25, 0.40])
    doubled = metrics.gain_curve(y, s, budgets=[100, 200, 400], sample_weight=2.0 * np.ones(1000))
    for name in ("gain_low", "gain_high", "precision_low", "precision_high", "chance_high"):
        assert doubled[name] == pytest.approx(curve[name])


def test_chance_band_is_scipys():
    for n, positives, shares in ((40, 7, [0, 0.3, 1.0]), (3000, 900, [0.001, 0.5, 0.999])):
        y = np.arange(n) < positives
        curve = metrics.gain_curve(y, -np.arange(float(n)), budgets=[max(s, 1 / n) for s in shares])
        drawn = curve.reviewed
        for name, level, whole in (("low", 0.025, np.floor), ("high", 0.975, np.ceil)):
            expected = hypergeom.ppf(level, n, positives, whole(drawn.round(9))) / positives
            assert curve[f"chance_{name}"] == pytest.approx(expected)


def test_gain_curve_has_all_places_or_a_choice(drawn):
    y, p, _ = drawn
    curve = metrics.gain_curve(y, p)
    assert len(curve.reviewed) == len(np.unique(p)) + 1
    assert curve.gain[[0, -1]].tolist() == [0, 1]
    assert np.isnan(curve.precision[0])
    assert (np.diff(curve.gain) >= 0).all()
    many = metrics.gain_curve(np.arange(5000) % 50 == 0, -np.arange(5000.0))
    assert 150 < len(many.reviewed) <= 201
    assert many.reviewed[:3].tolist() == [0, 1, 2]
    constant = metrics.gain_curve(y, np.ones(500), budgets=[0.1, 0.5])
    assert constant.gain == pytest.approx([0.1, 0.5])
    assert metrics.kolmogorov_smirnov_score(y, np.ones(500)) == 0


def test_kolmogorov_smirnov_is_on_the_roc_curve(drawn):
    y, p, w = drawn
    fpr, tpr, _ = roc_curve(y, p, sample_weight=w, drop_intermediate=False)
    curve = metrics.kolmogorov_smirnov_curve(y, p, sample_weight=w)
    assert curve.statistic == pytest.approx(np.abs(tpr - fpr).max())
    reached = p >= curve.threshold_at_statistic
    shares = [np.average(reached[y == k], weights=w[y == k]) for k in (1, 0)]
    assert curve.statistic == pytest.approx(shares[0] - shares[1])
    assert metrics.kolmogorov_smirnov_score(y, -p, sample_weight=w) == pytest.approx(
        curve.statistic
    )
    plain = metrics.kolmogorov_smirnov_curve(y, p)
    middle = (plain.fpr_low > 0) & (plain.fpr_high < 1)
    half = np.sqrt(np.log(40) / 2 / (y == 0).sum())
    assert (plain.fpr_high - plain.fpr)[middle] == pytest.approx(half)
    room = sum(np.sqrt(np.log(80) / 2 / (y == k).sum()) for k in (0, 1))
    assert plain.statistic_low == pytest.approx(max(plain.statistic - room, 0))


def test_order_errors(drawn):
    y, p, _ = drawn
    for score in (metrics.kolmogorov_smirnov_score, metrics.kolmogorov_smirnov_curve):
        with pytest.raises(ValueError, match="holds only negative ones"):
            score(np.zeros(5, int), np.arange(5))
    with pytest.raises(ValueError, match="gain_curve needs positive rows"):
        metrics.gain_curve(np.zeros(5, int), np.arange(5))
    with pytest.raises(ValueError, match="lift_at_budget needs positive rows"):
        metrics.lift_at_budget(np.zeros(5, int), np.arange(5), budget=2)
    with pytest.raises(ValueError, match="between 1 and the 500 rows"):
        metrics.gain_curve(y, p, budgets=[5, 501])
    with pytest.raises(ValueError, match="must be a list of numbers or of shares"):
        metrics.gain_curve(y, p, budgets=["5"])
    with pytest.raises(ValueError, match="y_score contains NaN"):
        metrics.gain_curve([0, 1], [np.nan, 1.0])


# --- budgets --------------------------------------------------------------------------------------


def test_review_list_ties():
    s = [3, 2, 2, 2, 1, 1]
    assert metrics.review_list(s, 2) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert metrics.review_list(s, 2, ties="none").tolist() == [True] + 5 * [False]
    assert metrics.review_list(s, 2, ties="all").tolist() == 4 * [True] + 2 * [False]
    picks = [metrics.review_list(s, 2, ties="random", random_state=seed) for seed in range(60)]
    assert {int(pick.sum()) for pick in picks} == {2}
    assert all(pick[0] for pick in picks)
    assert np.mean(picks, 0)[1:4] == pytest.approx([1 / 3] * 3, abs=0.2)
    broken = metrics.review_list(s, 2, ties="none", tie_break=[0, 1, 5, 3, 9, 9])
    assert np.flatnonzero(broken).tolist() == [0, 2]
    assert metrics.review_list(s, 0.25).sum() == pytest.approx(1.5)
    assert metrics.review_list(s, 0.25, ties="none").sum() == 1
    assert metrics.review_list(s, 0, ties="all").sum() == 0
    assert metrics.review_list(s, 100, ties="none").all()


def test_review_list_by_group():
    s, groups = np.array([5, 1, 4, 3, 2, 9]), np.array(list("aabbba"))
    listed = metrics.review_list(s, 2, groups=groups, ties="none")
    assert listed.tolist() == [True, False, True, True, False, True]
    listed = metrics.review_list(s, {"a": 1, "b": 0.67, "c": 7}, groups=groups, ties="none")
    assert listed.tolist() == [False, False, True, True, False, True]
    y = np.array([1, 0, 0, 1, 0, 0])
    for budget in (1, 2, 0.4):
        share = metrics.review_list(s, budget, groups=groups)
        kw = {"budget": budget, "groups": groups}
        assert metrics.recall_at_budget(y, s, **kw) == pytest.approx(share @ y / 2)
        assert metrics.precision_at_budget(y, s, **kw) == pytest.approx(share @ y / share.sum())
        assert metrics.lift_at_budget(y, s, **kw) == pytest.approx(3 * share @ y / share.sum())


def test_review_list_of_the_largest_gain():
    p = np.array([0.5, 0.5, 0.2, 0.05])
    cost = np.array([[1, 3, 0, 0], [1, 9, 0, 0], [1, 30, 0, 0], [1, 10, 0, 0]], float)
    gain = p * cost[:, 1] - (1 - p) * cost[:, 0]  # 1, 4, 5.2, -.45
    order = np.argsort(-gain)
    for budget in (1, 2, 3, 4):
        listed = metrics.review_list(p, budget, cost=cost, ties="none")
        assert set(np.flatnonzero(listed)) == set(order[: min(budget, 3)].tolist())
    square = metrics.review_list(p, 4, cost=[[0, 1], [3, 0]], ties="none")
    assert square.tolist() == [True, True, False, False]  # 0.2 * 3 < 0.8


def test_review_list_errors():
    with pytest.raises(ValueError, match=r"budget=2.5 must be a whole number"):
        metrics.review_list([1, 2, 3], 2.5)
    with pytest.raises(ValueError, match=r"budget=-1 of group 'a' must be a whole number"):
        metrics.review_list([1, 2, 3], {"a": -1, "b": 1}, groups=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"lacks the groups \['b'\]"):
        metrics.review_list([1, 2, 3], {"a": 1}, groups=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"groups must name a group of each of the 3 rows, got 2"):
        metrics.review_list([1, 2, 3], 1, groups=["a", "b"])
    with pytest.raises(ValueError, match=r"y_score with costs must lie in \[0, 1\]"):
        metrics.review_list([1, 2, 3], 1, cost=[[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"cost of shape \(2, 4\) does not fit 3 rows"):
        metrics.review_list([0.1, 0.2, 0.3], 1, cost=np.ones((2, 4)))
    with pytest.raises(ValueError, match="y_score contains NaN"):
        metrics.review_list([0.1, np.nan, 0.3], 1)


@pytest.mark.parametrize(
    ("rows", "missed_high"),
    [((10000, 500, 0), 58), ((10000, 500, 1), 92), ((10000, 500, 5), 206), ((1000, 300, 0), 8), ((200, 200, 3), 3)],
)  # fmt: skip
def test_audit_golden(rows, missed_high):
    found = metrics.audited_recall(40, *rows)
    assert found.missed_high == missed_high
    assert found.recall_low == pytest.approx(40 / (40 + missed_high))
    assert hypergeom.cdf(rows[2], rows[0], missed_high, rows[1]) > 0.05
    if missed_high < rows[0] - rows[1] + rows[2]:
        assert hypergeom.cdf(rows[2], rows[0], missed_high + 1, rows[1]) <= 0.05


def test_audit_keeps_its_level():
    rng = np.random.default_rng(0)
    for missed in (20, 60, 150):
        seen = rng.hypergeometric(missed, 10000 - missed, 500, size=400)
        bounds = {x: metrics.audited_recall(100, 10000, 500, x).recall_low for x in np.unique(seen).tolist()}  # fmt: skip
        kept = np.mean([bounds[x] <= 100 / (100 + missed) for x in seen.tolist()])
        assert kept >= 0.92


def test_audit_of_nothing():
    unknown = metrics.audited_recall(5, 100, 0, 0)
    assert unknown.missed_high == 100
    assert np.isnan(unknown.recall)
    assert np.isnan(metrics.audited_recall(0, 0, 0, 0).recall_low)
    with pytest.raises(ValueError, match="n_missed=4 of n_audited=3"):
        metrics.audited_recall(5, 100, 3, 4)


# --- savings --------------------------------------------------------------------------------------


def test_savings_golden():
    y, decided, p = [0, 1, 1, 0], [0, 1, 0, 0], [0.05, 0.2, 0.5, 0.9]
    assert metrics.savings_score(y, decided, COST) == pytest.approx(-1)
    assert metrics.expected_savings_score(y, p, COST) == pytest.approx(-9.25)
    assert metrics.expected_savings_score(y, decided, COST) == pytest.approx(-1)
    names = np.array(["bad", "good"])[::-1][y]  # 1 is "bad", which sorts first
    words = np.array(["good", "bad"])[decided]
    assert metrics.savings_score(names, words, COST, labels=["good", "bad"]) == pytest.approx(-1)
    twice = metrics.expected_savings_score(names, p, COST, labels=["good", "bad"])
    assert twice == pytest.approx(-9.25)


def test_costs_in_every_shape():
    rng = np.random.default_rng(0)
    y, d = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    matrix = np.array([[0, 2, 3], [5, 0, 1], [9, 4, 0.5]])
    found = metrics.savings_score(y, d, matrix)
    base = min(matrix[y, k].sum() for k in range(3))
    assert found == pytest.approx(1 - matrix[y, d].sum() / base)
    assert metrics.savings_score(y, d, np.tile(matrix, (50, 1, 1))) == pytest.approx(found)
    assert metrics.savings_score(y, d, matrix[y]) == pytest.approx(found)
    two = metrics.savings_score(y > 0, d > 0, np.tile([2, 5, 1, 0], (50, 1)))
    assert two == pytest.approx(metrics.savings_score(y > 0, d > 0, [[0, 2], [5, 1]]))
    earns = metrics.savings_score(
        [0, 1], [0, 1], [[0, 1], [1, -4]]
    )  # all positive earns 3, right 4
    assert earns == pytest.approx(1 / 3)


def test_savings_errors(rare):
    with pytest.raises(
        ValueError, match=r"cost of shape \(3, 3\) does not fit 4 rows and the classes \[0, 1\]"
    ):
        metrics.savings_score([0, 1, 1, 0], [0, 1, 0, 0], np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"y_pred holds the labels \[2\]"):
        metrics.savings_score([0, 1], [0, 2], np.ones((2, 2)), labels=[0, 1])
    with pytest.raises(ValueError, match="cost contains NaN"):
        metrics.savings_score([0, 1], [0, 1], [[0, np.nan], [1, 0]])
    with pytest.warns(
        UserWarning, match="savings_score is undefined: deciding 0 for every row costs nothing"
    ):
        assert np.isnan(metrics.savings_score([0, 0], [0, 1], [[0, 1], [1, 0]], labels=[0, 1]))
    X, y = rare
    scorer = make_scorer(metrics.savings_score, cost=[[0, 1], [10, 0]])
    assert 0 < cross_val_score(LogisticRegression(), X, y, scoring=scorer, cv=3).mean() < 1


# --- calibration ----------------------------------------------------------------------------------


def test_calibration_golden():
    found = metrics.calibration_summary(Y, P)
    assert found.ratio == pytest.approx(1.5810276680)
    assert found.ratio_low == pytest.approx(0.4307768275)
    assert found.ratio_high == pytest.approx(4.0480587650)
    assert found.intercept == pytest.approx(1.0924755255)
    assert found.intercept_se == pytest.approx(0.8338497170)
    assert found.prior_ratio == pytest.approx(np.exp(1.0924755255))
    assert found.joint_intercept == pytest.approx(0.5648645903)
    assert found.slope == pytest.approx(0.5763848253)
    assert found.spiegelhalter == pytest.approx(1.0112053203)
    line = _Line(logit(P), Y, np.ones(10))
    a, b = line.estimate(firth=False)
    assert [a, b] == pytest.approx([0.8407283784, 0.8143723856])
    ratio = 2 * (line.log_likelihood(a, b) - line.log_likelihood(0.0, 1.0))
    assert ratio == pytest.approx(1.7596501963)
    assert found.p_value == pytest.approx(np.exp(-0.5 * ratio))
    assert found.remedy is None
    for end in (found.slope_low, found.slope_high):  # the likelihood ratio reaches its quantile
        assert 2 * (line.log_likelihood(a, b) - line.profile(end)) == pytest.approx(3.8414588207)
    assert found.slope_low < b < found.slope_high


def test_calibration_finds_what_is_wrong_and_names_the_remedy():
    rng = np.random.default_rng(0)
    z = rng.normal(-3, 1.2, 8000)
    y = (rng.random(8000) < expit(z)).astype(int)
    right = metrics.calibration_summary(y, expit(z), n_draws=20)
    assert right.remedy is None
    assert right.slope == pytest.approx(1, abs=0.08)
    assert 0.9 < right.ratio < 1.1
    assert right.ici_p_value > 0.05
    odds = metrics.calibration_summary(y, expit(z + np.log(2)), n_draws=20)
    assert odds.remedy == "prior"
    assert odds.prior_ratio == pytest.approx(0.5, abs=0.05)
    assert odds.ici > 3 * odds.ici_floor
    assert odds.ici_p_value == pytest.approx(1 / 21)
    steep = metrics.calibration_summary(y, expit(2 * z + 3), n_draws=0)
    assert steep.remedy == "calibrator"
    assert steep.slope == pytest.approx(0.5, abs=0.04)
    assert steep.slope_low < 0.5 < steep.slope_high
    assert np.isnan(steep.ici_floor)
    assert right.e50 <= right.e90


def test_weights_of_calibration_count_effective_rows():
    plain = metrics.calibration_summary(Y, P, n_draws=0)
    heavy = metrics.calibration_summary(Y, P, n_draws=0, sample_weight=np.full(10, 8.0))
    assert heavy.observed == 8 * plain.observed
    for name in (
        "ratio",
        "ratio_low",
        "ratio_high",
        "slope",
        "slope_low",
        "p_value",
        "spiegelhalter",
    ):
        assert heavy[name] == pytest.approx(plain[name])


@pytest.mark.filterwarnings("error")
def test_calibration_where_something_is_undefined():
    with pytest.warns(UserWarning, match="holds only negative rows"):
        none = metrics.calibration_summary(
            np.zeros(100, int), np.full(100, 0.03) + P.repeat(10) / 99
        )
    assert none.ratio == 0
    assert none.ratio_low == 0
    assert none.ratio_high == pytest.approx(3.6888794541 / none.expected)
    assert none.intercept == -np.inf
    assert none.prior_ratio == 0
    assert np.isnan(none.slope)
    assert np.isnan(none.p_value)
    with pytest.warns(UserWarning, match="y_prob is 0.2 in every row"):
        constant = metrics.calibration_summary(Y, np.full(10, 0.2))
    assert constant.intercept == pytest.approx(logit(0.4) - logit(0.2))
    assert constant.ici == pytest.approx(0.2)
    assert np.isnan(constant.slope)
    with pytest.warns(UserWarning, match="order the rows perfectly; a slope has no upper bound"):
        apart = metrics.calibration_summary(np.repeat([0, 1], 5), P)
    assert apart.slope == apart.slope_high == np.inf
    assert np.isfinite(apart.slope_low)
    assert _Line(logit(P), np.repeat([0, 1], 5), np.ones(10)).profile(
        apart.slope_low
    ) == pytest.approx(-1.92072941)
    with pytest.warns(UserWarning, match="the wrong way round; a slope has no lower bound"):
        reverse = metrics.calibration_summary(np.repeat([1, 0], 5), P)
    assert reverse.slope == reverse.slope_low == -np.inf
    assert reverse.slope_high < 0
    with pytest.warns(UserWarning, match="perfectly"):
        touching = metrics.calibration_summary([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.3, 0.3, 0.8])
    assert touching.slope == np.inf
    assert np.isfinite(touching.slope_low)
    extreme = metrics.calibration_summary([0, 1, 0, 1, 0, 1], [0, 1, 0.2, 0.3, 0.4, 0.9])
    assert np.isfinite(
        [extreme.slope, extreme.slope_low, extreme.slope_high, extreme.p_value]
    ).all()
    wrong = metrics.calibration_summary([1, 0, 0, 1, 0, 1], [0, 1, 0.2, 0.3, 0.4, 0.9])
    assert wrong.p_value < 1e-6


def test_calibration_errors():
    with pytest.raises(ValueError, match="y_prob must lie in"):
        metrics.calibration_summary(Y, 3 * P)
    with pytest.raises(ValueError, match="y_prob contains NaN"):
        metrics.integrated_calibration_index([0, 1], [np.nan, 0.5])
    with pytest.raises(ValueError, match="give the rare class as pos_label"):
        metrics.integrated_calibration_index(["a", "b"], [0.1, 0.5])


def test_smooth_curve_is_a_local_line(drawn):
    y, p, w = drawn
    x, weight = np.unique(p), np.array([w[p == v].sum() for v in np.unique(p)], float)
    mean = np.array([np.average(y[p == v], weights=w[p == v]) if w[p == v].any() else 0 for v in x])
    x, mean, weight = x[weight > 0], mean[weight > 0], weight[weight > 0]
    expected = []
    for place in x:
        distance = np.abs(x - place)
        order = distance.argsort(kind="stable")
        width = distance[order][np.searchsorted(weight[order].cumsum(), 0.75 * weight.sum())]
        kernel = weight * np.clip(1 - (distance / width / (1 + 1e-9)) ** 3, 0, None) ** 3
        line = np.polynomial.Polynomial.fit(x, mean, 1, w=np.sqrt(kernel))
        expected.append(abs(np.clip(line(place), 0, 1) - place))
    found = metrics.integrated_calibration_index(y, p, sample_weight=w)
    assert found == pytest.approx(np.average(expected, weights=weight), rel=1e-6)
    straight = metrics.integrated_calibration_index(Y, np.full(10, 0.4))
    assert straight == pytest.approx(0, abs=1e-12)


def test_bins_for_twenty_positives(drawn):
    y, p, _ = drawn
    for scale, bins in ((0.01, 1), (0.45, 4), (1.0, 9)):
        q = scale * p
        table = metrics.calibration_table(y, q, n_bins="auto")
        assert len(table.weight) == max(1, int(q.sum() // 5)) == bins
    heavy = metrics.calibration_table(y, 0.45 * p, n_bins="auto", sample_weight=np.full(500, 9.0))
    assert len(heavy.weight) == 4
    assert metrics.expected_calibration_error(y, p, n_bins="auto") > 0


def test_the_guide_runs():
    page = Path(__file__).parent.parent / "docs" / "guide" / "metrics.rst"
    done = doctest.testfile(str(page), module_relative=False)
    assert done.attempted >= 8
    assert done.failed == 0


@pytest.mark.slow
def test_tests_of_calibration_keep_their_level_with_twenty_positives():
    rng, n = np.random.default_rng(0), 400
    honest, odds, slope = [], [], []
    for _ in range(n):
        z = rng.normal(0, 1.3, 1000)
        p, steep = (
            expit(b * z + brentq(lambda a, b=b, z=z: expit(b * z + a).sum() - 20, -25, 5))
            for b in (1, 2)
        )
        y = (rng.random(1000) < p).astype(int)
        for found, q in ((honest, p), (odds, expit(logit(p) + np.log(2))), (slope, steep)):
            found.append(metrics.calibration_summary(y, q, n_draws=0))
    error = 3 * np.sqrt(0.05 * 0.95 / n)
    outside = [not f.slope_low <= 1 <= f.slope_high for f in honest]
    for wrong in ([f.p_value < 0.05 for f in honest], outside):
        assert np.mean(wrong) == pytest.approx(0.05, abs=error)
    assert np.mean([not f.ratio_low <= 1 <= f.ratio_high for f in honest]) <= 0.05 + error
    assert np.mean([f.slope for f in honest]) == pytest.approx(1.0, abs=0.05)
    assert np.mean([f.remedy == "prior" for f in odds]) > 0.75
    assert np.mean([f.remedy == "calibrator" for f in slope]) > 0.9
