"""Displays: their data are those of the scores, every way to make one agrees, and bad input is said plainly."""

import matplotlib

matplotlib.use("Agg")

import inspect
import pickle

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    StratifiedKFold,
    cross_validate,
)
from sklearn.model_selection import TunedThresholdClassifierCV as TunedOfSklearn
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimb import inspection
from skimb.inspection import (
    DecisionCurveDisplay,
    GainLiftDisplay,
    LossLandscapeDisplay,
    PerClassRecallDisplay,
    PrecisionRecallBandDisplay,
    PriorShiftDisplay,
    RareReliabilityDisplay,
    ReviewBudgetDisplay,
    ScoreDistributionDisplay,
    SearchDisplay,
    ThresholdDisplay,
    TrainingCurveDisplay,
)
from skimb.inspection._display import Rows, ranked, rows_of
from skimb.losses import AnyLoss, CrossEntropy, Focal, MannWhitney, SupervisedContrastive
from skimb.metrics import (
    calibration_summary,
    calibration_table,
    gain_curve,
    kolmogorov_smirnov_score,
    net_benefit,
    precision_at_budget,
    recall_at_budget,
)
from skimb.model_selection import GuaranteedThresholdClassifier, TunedThresholdClassifierCV
from skimb.neural_network import MLPClassifier, TabMClassifier
from skimb.posthoc import PriorShiftAdapter

SCORES = [
    DecisionCurveDisplay,
    GainLiftDisplay,
    PrecisionRecallBandDisplay,
    RareReliabilityDisplay,
    ReviewBudgetDisplay,
    ScoreDistributionDisplay,
    ThresholdDisplay,
]
FOLDED = [kind for kind in SCORES if hasattr(kind, "from_cv_results")]
PROBABILITIES = [DecisionCurveDisplay, RareReliabilityDisplay]
ORDERED = [kind for kind in SCORES if kind not in PROBABILITIES]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rare():
    rng = np.random.default_rng(0)
    y = (rng.random(1500) < 0.05).astype(int)
    return rng.normal(size=(1500, 3)) + 1.2 * y[:, None], y


@pytest.fixture(scope="module")
def model(rare):
    return LogisticRegression().fit(*rare)


@pytest.fixture(scope="module")
def cv(rare):
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return cross_validate(
        LogisticRegression(), *rare, cv=folds, return_estimator=True, return_indices=True
    )


def data_of(display):
    """What a display was made of, without names and folds."""
    wanted = inspect.signature(type(display).__init__).parameters
    return {
        key: getattr(display, key)
        for key in wanted
        if key not in ("self", "name", "before_name", "folds")
    }


def same(first, second):
    np.testing.assert_equal(data_of(first), data_of(second))


def texts(figure):
    """All visible texts of a figure with their boxes."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    found = []
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_text().strip() and text.get_visible():
            found.append((text.get_text(), text.get_window_extent(renderer)))
    return found


# --- what all share ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCORES)
def test_ways_to_make_one_agree(kind, rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1]
    one = kind.from_estimator(model, X, y)
    same(one, kind.from_predictions(y, p))
    assert one.pos_label == 1
    named = np.array(["ham", "spam"])
    words = LogisticRegression().fit(X, named[y])
    two = kind.from_estimator(words, X, named[y])
    assert two.pos_label == "spam"
    two.pos_label = 1
    same(one, two)
    flipped = kind.from_estimator(model, X, 1 - y, pos_label=1)
    assert not np.array_equal(next(iter(data_of(flipped).values())), None)
    other = kind.from_predictions(named[y], 1 - p, pos_label="ham")
    assert other.pos_label == "ham"


@pytest.mark.parametrize("kind", SCORES)
def test_whole_weights_are_repeated_rows(kind, rare, model):
    X, y = rare[0][:400], rare[1][:400]
    p = model.predict_proba(X)[:, 1]
    w = np.random.default_rng(0).integers(0, 3, 400)
    one = data_of(kind.from_predictions(y, p, sample_weight=w))
    two = data_of(kind.from_predictions(np.repeat(y, w), np.repeat(p, w)))
    exact = {
        DecisionCurveDisplay: ("net_benefit", "treat_all", "prevalence"),
        GainLiftDisplay: ("gain", "lift", "perfect"),
        PrecisionRecallBandDisplay: ("precision", "recall", "average_precision", "prevalence"),
        RareReliabilityDisplay: (),
        ReviewBudgetDisplay: ("n_rows", "n_positives"),
        ScoreDistributionDisplay: ("edges", "density_negative", "density_positive"),
        ThresholdDisplay: (),
    }
    for key in exact[kind]:
        np.testing.assert_allclose(one[key], two[key], err_msg=key)


@pytest.mark.parametrize("kind", SCORES)
def test_axes_are_taken_or_made_and_plot_repeats(kind, rare, model):
    X, y = rare
    figure = Figure()  # no state of pyplot
    ax = figure.subplots()
    display = kind.from_estimator(model, X, y, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert not plt.get_fignums()
    before = data_of(display)
    assert display.plot(despine=True) is display
    assert display.ax_ is not ax
    assert plt.get_fignums()
    np.testing.assert_equal(data_of(display), before)


@pytest.mark.parametrize("kind", SCORES)
def test_displays_pickle_with_their_data(kind, rare, model):
    display = kind.from_estimator(model, *rare)
    for key in [key for key in vars(display) if key.endswith("_")]:
        delattr(display, key)
    same(pickle.loads(pickle.dumps(display)), display)


@pytest.mark.parametrize("kind", SCORES)
def test_three_positive_rows_are_drawn(kind, rare):
    y = np.zeros(60, int)
    y[[3, 10, 40]] = 1
    p = np.linspace(0.01, 0.4, 60) + 0.3 * y
    display = kind.from_predictions(y, p)
    display.figure_.canvas.draw()


@pytest.mark.parametrize("kind", FOLDED)
def test_folds(kind, rare, cv):
    X, y = rare
    display = kind.from_cv_results(cv, X, y)
    assert display.name == "LogisticRegression"
    out_of_fold = np.empty(len(y))
    for fold, test in zip(cv["estimator"], cv["indices"]["test"], strict=True):
        out_of_fold[test] = fold.predict_proba(X[test])[:, 1]
    if kind in (DecisionCurveDisplay, RareReliabilityDisplay):
        pooled = kind.from_predictions(y, out_of_fold)
        for key, value in data_of(pooled).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(getattr(display, key), value, err_msg=key)
    if kind in (ReviewBudgetDisplay, PrecisionRecallBandDisplay, DecisionCurveDisplay):
        assert len(display.folds) == 3
    for bad, said in (
        ({"estimator": cv["estimator"]}, "return_indices=True"),
        ({**cv, "indices": cv["indices"]}, "rows"),
    ):
        with pytest.raises(ValueError, match=said):
            kind.from_cv_results(bad, X[:-1], y[:-1])


def test_folds_are_put_together_by_ranks():
    y = np.array([0.0, 1.0, 0.0, 1.0])
    low = Rows(y, np.array([0.1, 0.2, 0.15, 0.3]), np.ones(4), 1)
    high = low._replace(score=100 + low.score)
    rows = ranked([low, high])
    np.testing.assert_allclose(rows.score[:4], rows.score[4:])
    np.testing.assert_allclose(rows.score[:4], [0.125, 0.625, 0.375, 0.875])


@pytest.mark.parametrize("kind", SCORES)
def test_bad_rows_are_refused_in_words(kind):
    y, p = np.array([0, 1, 0, 1, 0]), np.array([0.1, 0.7, 0.2, 0.6, 0.3])
    nan = p.copy()
    nan[3] = np.nan
    cases = [
        ((y, nan), "1 values that are no finite numbers, the first in row 3"),
        ((y, np.c_[1 - p, p]), r"one score per row.*shape \(5, 2\)"),
        ((np.zeros(5, int), p), "no row of the positive class 1"),
        ((np.ones(5, int), p), "only rows of the positive class 1"),
        ((np.array(list("abaab")), p), "pos_label="),
        ((np.c_[y, y], p), "one class against the rest"),
        ((np.array([]), np.array([])), "0 rows"),
        ((y, p[:4]), "inconsistent numbers of samples"),
        ((np.array([0.5, 0.1, 0.7, 0.2, 0.9]), p), "class labels"),
    ]
    for rows, said in cases:
        with pytest.raises(ValueError, match=said):
            kind.from_predictions(*rows)
    if kind in PROBABILITIES:
        with pytest.raises(ValueError, match="needs probabilities, y_score spans -1 to 3"):
            kind.from_predictions(y, np.array([-1, 3, 0, 2, 0.5]))


@pytest.mark.parametrize("kind", ORDERED)
def test_constant_scores_warn(kind):
    y = np.array([0, 1, 0, 1, 0])
    with pytest.warns(UserWarning, match=r"all scores are equal \(0.2\)"):
        kind.from_predictions(y, np.full(5, 0.2))


@pytest.mark.parametrize("kind", SCORES)
def test_bad_estimators_are_refused_in_words(kind, rare, model):
    X, y = rare
    with pytest.raises(ValueError, match="none of the classes"):
        kind.from_estimator(model, X, y, pos_label="spam")
    three = LogisticRegression().fit(X, np.arange(len(y)) % 3)
    with pytest.raises(ValueError, match="pos_label="):
        kind.from_estimator(three, X, y)
    with pytest.raises(TypeError, match="needs a classifier"):
        kind.from_estimator(StandardScaler().fit(X), X, y)
    if kind in PROBABILITIES:
        with pytest.raises(ValueError, match="no predict_proba"):
            kind.from_estimator(RidgeClassifier().fit(X, y), X, y)
    else:
        kind.from_estimator(make_pipeline(StandardScaler(), RidgeClassifier()).fit(X, y), X, y)
        with pytest.raises(ValueError, match="response_method='raw'"):
            kind.from_estimator(model, X, y, response_method="raw")
    with pytest.raises(TypeError, match="colour"):
        kind.from_estimator(model, X, y, colour="red")


@pytest.mark.parametrize("kind", SCORES)
def test_one_class_against_the_rest(kind):
    X, y = load_digits(return_X_y=True)
    X, y = X[:500], y[:500]
    many = LogisticRegression(max_iter=3000).fit(X[::2], y[::2])
    display = kind.from_estimator(many, X[1::2], y[1::2], pos_label=8)
    p = many.predict_proba(X[1::2])[:, 8]
    same(display, kind.from_predictions(y[1::2], p, pos_label=8))


def test_rows_of_weight_zero_do_not_count():
    rows = rows_of("it", [0, 1, 1, 0], [0.1, 0.5, 0.3, 0.9], [1, 2, 0, 3])
    assert rows.y.tolist() == [0, 1, 0]
    assert rows.total == 6
    assert rows.positives == 2


def test_no_display_is_missing_here():
    named = {name for name in inspection.__all__ if name.endswith("Display")}
    here = {name for name, thing in globals().items() if name.endswith("Display")}
    assert named - {"NeuralCollapseDisplay"} == here


@pytest.mark.slow
def test_texts_do_not_overlap_at_six_by_four_inches(rare, model, cv):
    X, y = rare
    drawn = [kind.from_estimator(model, X, y) for kind in SCORES]
    drawn += [GainLiftDisplay.from_estimator(model, X, y, kind=k) for k in ("lift", "ks")]
    drawn += [
        ReviewBudgetDisplay.from_cv_results(cv, X, y, budget=0.1),
        ThresholdDisplay.from_cv_results(cv, X, y, cost=[[0, 1], [9, 0]]),
        LossLandscapeDisplay.from_loss(Focal(), gamma=[0, 2]),
        PerClassRecallDisplay.from_estimator(model, X, y),
    ]
    for display in drawn:
        display.figure_.set_size_inches(6, 4)
        found = texts(display.figure_)
        for i, (first, a) in enumerate(found):
            for second, b in found[i + 1 :]:
                width = min(a.x1, b.x1) - max(a.x0, b.x0)
                height = min(a.y1, b.y1) - max(a.y0, b.y0)
                assert width < 1.5 or height < 1.5, (type(display).__name__, first, second)


# --- one by one -------------------------------------------------------------------------------


def test_review_budget(rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1].round(2)
    display = ReviewBudgetDisplay.from_predictions(y, p, budget=0.05)
    assert display.budget == 75
    for k, recall, precision in zip(
        display.n_reviewed[::20], display.recall[::20], display.precision[::20], strict=True
    ):
        assert recall == pytest.approx(recall_at_budget(y, p, budget=int(k)))
        assert precision == pytest.approx(precision_at_budget(y, p, budget=int(k)))
    assert (display.recall_low <= display.recall).all()
    assert (display.recall <= display.recall_high).all()
    assert (display.chance_low <= display.n_reviewed / 1500 + 1e-12).all()
    assert (display.n_reviewed / 1500 <= display.chance_high + 1e-12).all()
    np.testing.assert_allclose(display.line_[0].get_ydata(), display.recall)
    assert display.ax_.get_xscale() == "log"
    assert display.budget_line_.get_label().startswith("75 reviewed: ")
    one = ReviewBudgetDisplay.from_predictions(y[:200], p[:200], show_precision=False)
    assert len(one.line_) == 1
    assert one.ax_.get_xscale() == "linear"
    np.testing.assert_array_equal(one.n_reviewed, np.arange(1, 201))
    for budget, said in ((0, "at least 1"), (1.5, "share"), (2000, "1500 rows"), (True, "share")):
        with pytest.raises(ValueError, match=said):
            ReviewBudgetDisplay.from_predictions(y, p, budget=budget)


def test_review_budget_of_folds_counts_shares(rare, cv):
    X, y = rare
    display = ReviewBudgetDisplay.from_cv_results(cv, X, y, budget=150)
    found = 0.0
    for fold, test in zip(cv["estimator"], cv["indices"]["test"], strict=True):
        p = fold.predict_proba(X[test])[:, 1]
        found += recall_at_budget(y[test], p, budget=0.1) * y[test].sum()
    at = np.searchsorted(display.n_reviewed, 150)
    assert display.recall[at] == pytest.approx(found / y.sum(), abs=0.01)


def test_precision_recall(rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1]
    w = np.random.default_rng(0).random(len(y))
    display = PrecisionRecallBandDisplay.from_predictions(y, p, sample_weight=w, n_bootstrap=0)
    expected = average_precision_score(y, p, sample_weight=w)
    assert display.average_precision == pytest.approx(expected)
    assert display.prevalence == pytest.approx(w @ y / w.sum())
    assert display.low is display.band_ is None
    np.testing.assert_allclose(display.chance_level_.get_ydata(), display.prevalence)
    banded = PrecisionRecallBandDisplay.from_predictions(y, p, n_bootstrap=200)
    assert banded.average_precision_low < banded.average_precision < banded.average_precision_high
    rng = np.random.default_rng(1)
    groups = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    areas = []
    for _ in range(200):  # draws of rows, one by one
        rows = np.concatenate([rng.choice(g, len(g)) for g in groups])
        areas.append(average_precision_score(y[rows], p[rows]))
    ends = banded.average_precision_low, banded.average_precision_high
    np.testing.assert_allclose(ends, np.quantile(areas, [0.025, 0.975]), atol=0.03)
    inner = (banded.grid_recall > 0.1) & (banded.grid_recall < 0.9)
    curve = np.array(
        [banded.precision[np.searchsorted(banded.recall, r)] for r in banded.grid_recall]
    )
    assert np.mean((banded.low <= curve)[inner] & (curve <= banded.high)[inner]) > 0.9


def test_decision_curve(rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1]
    display = DecisionCurveDisplay.from_predictions(y, p)
    for t, value in zip(display.thresholds[::10], display.net_benefit[::10], strict=True):
        assert value == pytest.approx(net_benefit(y, p, threshold=t))
    whole = DecisionCurveDisplay.from_predictions(y, p, standardised=True)
    np.testing.assert_allclose(whole.net_benefit, display.net_benefit / display.prevalence)
    np.testing.assert_allclose(whole.high, display.high / display.prevalence)
    assert display.thresholds[-1] == pytest.approx(5 * y.mean())
    places = display.odds_ax_.get_xticks()
    odds = [float(t.get_text()) for t in display.odds_ax_.get_xticklabels()]
    np.testing.assert_allclose(places, 1 / (1 + np.array(odds)))
    assert len(odds) > 3
    other = DecisionCurveDisplay.from_predictions(y, p, prevalence=0.2, thresholds=[0.1, 0.2])
    assert other.treat_all.tolist() == pytest.approx([0.2 - 0.8 / 9, 0.0])


def test_gain_lift(rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1].round(2)
    display = GainLiftDisplay.from_predictions(y, p)
    curve = gain_curve(y, p)
    np.testing.assert_array_equal(display.gain, curve.gain)
    np.testing.assert_array_equal(display.lift_high, curve.lift_high)
    assert display.ks == kolmogorov_smirnov_score(y, p)
    np.testing.assert_allclose(display.line_[0].get_ydata(), display.gain)
    for kind, n in (("lift", 1), ("ks", 2)):
        assert len(display.plot(kind=kind).line_) == n
    flagged = p >= display.ks_at
    assert flagged[y == 1].mean() - flagged[y == 0].mean() == pytest.approx(display.ks)
    with pytest.raises(ValueError, match="kind='roc' must be one of"):
        GainLiftDisplay.from_predictions(y, p, kind="roc")


def test_reliability(rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1]
    weighted = LogisticRegression(class_weight="balanced").fit(X, y)
    display = RareReliabilityDisplay.from_estimator(model, X, y, before=weighted)
    table = calibration_table(y, p, n_bins="auto")
    np.testing.assert_array_equal(display.predicted, table.predicted)
    np.testing.assert_array_equal(display.low, table.low)
    assert display.summary.ratio == calibration_summary(y, p, n_draws=0).ratio
    q = weighted.predict_proba(X)[:, 1]
    inside = (p > table.lower[2]) & (p <= table.upper[2])
    assert display.before[2] == pytest.approx(q[inside].mean())
    assert display.before_summary.expected == pytest.approx(q.sum())
    assert display.before_name == "LogisticRegression"
    assert (display.before > display.predicted).all()
    counts = [t.get_text() for t in display.ax_.texts if t.get_text()]
    assert counts == [f"{n:.4g}" for n in table.positives]
    assert display.ax_.get_xscale() == "logit"
    with pytest.raises(ValueError, match=r"RareReliabilityDisplay \(before\)"):
        RareReliabilityDisplay.from_predictions(y, p, before=3 * p)


def test_score_distribution(rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1]
    display = ScoreDistributionDisplay.from_predictions(y, p, thresholds={"a": 0.1, "b": 0.3})
    assert display.logit
    logits = np.log(display.edges / (1 - display.edges))
    for density in (display.density_negative, display.density_positive):
        assert density @ np.diff(logits) == pytest.approx(1)
    assert display.n_positive == y.sum() == len(display.rug_.get_xdata())
    labels = [line.get_label() for line in display.threshold_lines_]
    assert labels == ["a 0.1", "b 0.3"]
    plain = ScoreDistributionDisplay.from_estimator(
        model, X, y, response_method="decision_function", thresholds=0.0
    )
    assert not plain.logit
    hist = np.histogram(model.decision_function(X)[y == 0], plain.edges, density=True)[0]
    np.testing.assert_allclose(plain.density_negative, hist)
    assert plain.plot(show_rug=False).rug_ is None
    with pytest.raises(ValueError, match="logit=True needs probabilities"):
        ScoreDistributionDisplay.from_predictions(y, 5 * p, logit=True)


def test_thresholds(rare, model):
    X, y = rare
    p = model.predict_proba(X)[:, 1]
    display = ThresholdDisplay.from_predictions(
        y, p, metrics=["f1", "recall", "precision", "fpr"], cost=[[0, 1], [9, -1]]
    )
    more = ThresholdDisplay.from_predictions(
        y, p, metrics=["specificity", "npv", "review_rate", "balanced_accuracy"]
    )
    assert display.elkan == pytest.approx(1 / 11)
    assert list(display.scores) == ["f1", "recall", "precision", "fpr", "cost"]
    for j in (40, 150, 260):
        d = p >= display.thresholds[j]
        found = {key: values[j] for key, values in {**display.scores, **more.scores}.items()}
        assert found["f1"] == pytest.approx(f1_score(y, d))
        assert found["recall"] == pytest.approx(recall_score(y, d))
        assert found["precision"] == pytest.approx(precision_score(y, d))
        assert found["fpr"] == pytest.approx(d[y == 0].mean()) == 1 - found["specificity"]
        assert found["npv"] == pytest.approx((y == 0)[~d].mean())
        assert found["review_rate"] == pytest.approx(d.mean())
        cost = (d & (y == 0)).sum() + 9 * (~d & (y == 1)).sum() - (d & (y == 1)).sum()
        assert found["cost"] == pytest.approx(cost / len(y))
        half = (recall_score(y, d) + found["specificity"]) / 2
        assert found["balanced_accuracy"] == pytest.approx(half)
    assert np.isnan(display.scores["precision"][0])
    rule = ThresholdDisplay.from_predictions(
        y, p, metrics="recall", constraint={"recall": 0.8, "review_rate": 0.3}
    )
    keeps = (rule.scores["recall"] >= 0.8) & (rule.scores["review_rate"] <= 0.3)
    np.testing.assert_array_equal(rule.allowed, keeps)
    assert rule.constraint == "breaks recall ≥ 0.8, review_rate ≤ 0.3"
    assert list(rule.scores) == ["recall", "review_rate"]
    cases = [
        ({"metrics": ["roc_auc"]}, "no metric that counts"),
        ({"metrics": ["cost"]}, "give cost="),
        ({"metrics": ["f1", "f2", "f3", "npv", "fpr"]}, "name 5 metrics"),
        ({"cost": [1, 2]}, "2D array"),
        ({"cost": np.ones((3, 3))}, r"shape \(2, 2\)"),
    ]
    for kwargs, said in cases:
        with pytest.raises(ValueError, match=said):
            ThresholdDisplay.from_predictions(y, p, **kwargs)


def test_thresholds_of_classifiers_that_have_one(rare, model):
    X, y = rare
    tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="f1", cv=3).fit(X, y)
    display = ThresholdDisplay.from_estimator(tuned, X, y)
    assert display.chosen == tuned.threshold_
    np.testing.assert_array_equal(display.fold_thresholds, tuned.thresholds_)
    other = TunedThresholdClassifierCV(
        LogisticRegression(), scoring="f1", cv=3, pos_label=0, response_method="decision_function"
    ).fit(X, y)
    display = ThresholdDisplay.from_estimator(other, X, y)
    assert display.pos_label == 0
    assert display.thresholds[0] > 1
    with pytest.raises(ValueError, match="is for class 0; leave pos_label out"):
        ThresholdDisplay.from_estimator(other, X, y, pos_label=1)
    theirs = TunedOfSklearn(LogisticRegression(), scoring="f1", cv=3).fit(X, y)
    assert ThresholdDisplay.from_estimator(theirs, X, y).chosen == theirs.best_threshold_
    fixed = FixedThresholdClassifier(model, threshold=0.2).fit(X, y)
    assert ThresholdDisplay.from_estimator(fixed, X, y).chosen == 0.2
    three = np.arange(len(y)) % 3
    several = TunedThresholdClassifierCV(LogisticRegression(), scoring="f1_macro", cv=3)
    with pytest.raises(ValueError, match="decides by several"):
        ThresholdDisplay.from_estimator(several.fit(X, three), X, three)


def test_certified_thresholds(rare):
    X, y = rare
    promised = GuaranteedThresholdClassifier(
        LogisticRegression(), constraint={"recall": 0.6}, random_state=0
    ).fit(X, y)
    display = ThresholdDisplay.from_estimator(promised, X, y)
    assert display.chosen == promised.threshold_
    highest = promised.certified_.max()
    assert display.allowed[display.thresholds <= highest].all()
    assert not display.allowed[display.thresholds > highest].any()
    assert display.constraint == "not certified"


def test_thresholds_of_folds(rare, cv):
    X, y = rare
    display = ThresholdDisplay.from_cv_results(cv, X, y, metrics=["recall"])
    assert display.fold_scores["recall"].shape == (3, len(display.thresholds))
    j = 100
    for k, (fold, test) in enumerate(zip(cv["estimator"], cv["indices"]["test"], strict=True)):
        d = fold.predict_proba(X[test])[:, 1] >= display.thresholds[j]
        assert display.fold_scores["recall"][k, j] == pytest.approx(recall_score(y[test], d))
    mean = display.fold_scores["recall"].mean(0)
    np.testing.assert_allclose(display.scores["recall"], mean)
    assert len(display.band_) == 1


def test_per_class():
    rng = np.random.default_rng(0)
    y = rng.choice(4, 300, p=[0.6, 0.25, 0.14, 0.01])
    d = np.where(rng.random(300) < 0.7, y, 0)
    train = np.repeat([0, 1, 2, 3], [5, 50, 20, 1])
    display = PerClassRecallDisplay.from_predictions(y, d, y_train=train)
    assert display.labels.tolist() == [1, 2, 0, 3]
    assert display.support_train.tolist() == [50, 20, 5, 1]
    np.testing.assert_allclose(
        display.recall, recall_score(y, d, average=None)[display.labels], atol=1e-12
    )
    assert (display.support_test == np.bincount(y)[display.labels]).all()
    assert len(display.axes_) == len(display.points_) == 2
    assert len(display.points_[0].get_xdata()) == (display.support_test >= 5).sum()
    assert len(display.plot(show_precision=False).axes_) == 1
    ax = plt.subplots(1, 2)[1]
    assert display.plot(ax=ax).axes_ == list(ax)
    with pytest.raises(ValueError, match="ax holds 3 axes, this display has 2"):
        display.plot(ax=plt.subplots(1, 3)[1])
    many = rng.integers(0, 60, 3000)
    display = PerClassRecallDisplay.from_predictions(many, many)
    assert len(display.axes_[0].get_yticks()) == 10
    assert len(display.labels) == 60
    with pytest.raises(ValueError, match="at least two classes"):
        PerClassRecallDisplay.from_predictions([1, 1], [1, 1])
    with pytest.raises(ValueError, match="one decision per row"):
        PerClassRecallDisplay.from_predictions([1, 0], np.eye(2))


def test_training_curves(rare):
    X, y = rare
    net = MLPClassifier((8,), max_iter=6, early_stopping=True, random_state=0).fit(X, y)
    display = TrainingCurveDisplay.from_estimator(make_pipeline(net))
    losses = [h["train_loss"] for h in net.history_]
    np.testing.assert_allclose(display.train_loss, [losses])
    scores = [h["valid_score"] for h in net.history_]
    assert display.best_epoch == [int(np.argmax(scores)) + 1]
    assert display.score_ax_ is not None
    np.testing.assert_allclose(display.line_[0].get_ydata(), losses)
    members = TabMClassifier(max_iter=3, random_state=0).fit(X[:300], y[:300])
    assert len(TrainingCurveDisplay.from_estimator(members).train_loss) == len(members.history_)
    from sklearn.neural_network import MLPClassifier as OfSklearn

    theirs = [
        OfSklearn((4,), max_iter=n, n_iter_no_change=50, random_state=0).fit(X, y) for n in (3, 5)
    ]
    display = TrainingCurveDisplay.from_estimator(theirs)
    assert display.train_loss.shape == (2, 5)
    assert np.isnan(display.train_loss[0, 3:]).all()
    np.testing.assert_allclose(display.train_loss[1], theirs[1].loss_curve_)
    with pytest.raises(TypeError, match="LogisticRegression keeps neither"):
        TrainingCurveDisplay.from_estimator(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="empty list"):
        TrainingCurveDisplay.from_estimator([])


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(), AnyLoss(), MannWhitney()])
def test_slopes_of_losses_are_derivatives(loss):
    z = np.linspace(-3, 3, 601)
    display = LossLandscapeDisplay.from_loss(loss, logits=z)
    slope = np.gradient(display.value[0], z, axis=-1)
    inner = slice(2, -2)
    np.testing.assert_allclose(display.gradient[0][:, inner], slope[:, inner], atol=1e-3)


def test_landscape_of_cross_entropy_is_known():
    display = LossLandscapeDisplay.from_loss([CrossEntropy(), Focal(gamma=0.0)])
    z = display.logits
    np.testing.assert_allclose(display.value[0, 1], np.log1p(np.exp(-z)))
    np.testing.assert_allclose(display.gradient[0, 0], 1 / (1 + np.exp(-z)))
    np.testing.assert_allclose(display.hessian[0, 1], np.exp(-z) / (1 + np.exp(-z)) ** 2)
    np.testing.assert_allclose(display.value[1], display.value[0])
    assert display.names == ["CrossEntropy()", "Focal(gamma=0.0)"]
    family = LossLandscapeDisplay.from_loss(Focal(), gamma=[0.0, 1.0], kind="hessian")
    np.testing.assert_allclose(family.lines_[1][0].get_ydata(), display.hessian[0, 1])
    cases = [
        ((0.5,), {}, TypeError, "objects of skimb.losses"),
        ((SupervisedContrastive(),), {}, TypeError, "directions of embeddings"),
        (([Focal(), Focal()],), {"gamma": [1]}, ValueError, "for one loss"),
        ((Focal(),), {"prevalence": 1.0}, ValueError, "prevalence=1.0"),
        ((Focal(),), {"kind": "third"}, ValueError, "kind='third'"),
        ((AnyLoss(),), {"kind": "hessian"}, ValueError, "no curvature"),
    ]
    for args, kwargs, error, said in cases:
        with pytest.raises(error, match=said):
            LossLandscapeDisplay.from_loss(*args, **kwargs)


def test_prior_shift():
    rng = np.random.default_rng(0)

    def drawn(n, share):
        y = (rng.random(n) < share).astype(int)
        return rng.normal(size=(n, 2)) + 2.0 * y[:, None], y

    adapter = PriorShiftAdapter(LogisticRegression(), n_bootstrap=50, random_state=0)
    adapter.fit(*drawn(1000, 0.1))
    with pytest.raises(ValueError, match=r"read no new rows; call adapt\(X\) first"):
        PriorShiftDisplay.from_estimator(adapter)
    new = drawn(1000, 0.3)[0]
    display = PriorShiftDisplay.from_estimator(adapter.adapt(new), new)
    np.testing.assert_array_equal(display.prior, adapter.estimated_prior_)
    np.testing.assert_array_equal(display.points_.get_xdata(), display.prior)
    np.testing.assert_allclose(display.mean_after, adapter.predict_proba(new).mean(0))
    assert display.history is None
    stream = PriorShiftDisplay.from_estimator(adapter, stream=np.split(new, 4))
    assert stream.history.n.tolist() == [250, 500, 750, 1000]
    assert stream.history.alarm[-1] > 20
    assert stream.labels[stream.watched] == 1
    assert adapter.n_adapted_ == 1000
    with pytest.raises(ValueError, match="no batch"):
        PriorShiftDisplay.from_estimator(adapter, stream=[])
    with pytest.raises(TypeError, match="draws a PriorShiftAdapter"):
        PriorShiftDisplay.from_estimator(LogisticRegression().fit(new, new[:, 0] > 0))


def test_critical_difference_is_known():
    rng = np.random.default_rng(0)
    scores = {name: rng.random(10) for name in "abcde"}
    display = SearchDisplay.from_scores(scores, kind="critical")
    assert display.cd == pytest.approx(2.728 * np.sqrt(30 / 60), abs=1e-3)  # Demsar's table
    assert display.ranks.sum() == pytest.approx(15)
    table = np.array([scores[name] for name in display.names])
    best = (table >= table.max(0)).mean(1)
    assert best.sum() == pytest.approx(1)
    for first, last in display.groups:
        assert display.ranks[last] - display.ranks[first] <= display.cd
    assert len(display.group_lines_) == len(display.groups)
    one = SearchDisplay.from_scores(
        {"a": np.arange(12.0), "b": np.arange(12.0) - 1, "c": np.arange(12.0)},
        kind="critical",
        test="wilcoxon",
    )
    assert one.names[2] == "b"
    assert one.groups == [(0, 1)]


def test_search(rare):
    X, y = rare
    grid = GridSearchCV(LogisticRegression(), {"C": [1e-4, 1.0, 2.0]}, scoring="f1", cv=4).fit(X, y)
    display = SearchDisplay.from_search(grid)
    assert display.names[-1] == "C=0.0001"
    np.testing.assert_allclose(display.mean, np.sort(grid.cv_results_["mean_test_score"])[::-1])
    np.testing.assert_allclose(display.std.max(), grid.cv_results_["std_test_score"].max())
    paired = SearchDisplay.from_search(grid, kind="difference", baseline=0, top=2)
    assert paired.baseline == paired.names[-1] == "C=0.0001"
    d = paired.scores[0] - paired.scores[-1]
    assert paired.difference[0] == pytest.approx(d.mean())
    assert paired.error[0] == pytest.approx(np.sqrt(d.var(ddof=1) * (1 / 4 + 1 / 3)))
    with pytest.raises(ValueError, match="no blocks"):
        SearchDisplay.from_search(grid, kind="critical")
    with pytest.raises(ValueError, match="metric='auc' is none of"):
        SearchDisplay.from_search(grid, metric="auc")
    with pytest.raises(ValueError, match="baseline=7"):
        SearchDisplay.from_search(grid, baseline=7)
    with pytest.raises(TypeError, match="no cv_results_"):
        SearchDisplay.from_search(DummyClassifier().fit(X, y))
    four = {"a": [1, 2, 3, 4], "b": [2, 3, 4, 5]}
    cases = [
        ({"scores": four, "kind": "critical"}, "at least 5 data sets, got 4"),
        ({"scores": {"a": [1, 2]}}, "at least two models"),
        ({"scores": {"a": [1, 2], "b": [1]}}, "equally many"),
        ({"scores": {"a": [1, np.nan], "b": [1, 2]}}, r"\['a'\] hold"),
        ({"scores": four, "baseline": "c"}, "baseline='c'"),
        ({"scores": four, "kind": "best"}, "kind='best'"),
    ]
    for kwargs, said in cases:
        with pytest.raises(ValueError, match=said):
            SearchDisplay.from_scores(**kwargs)
