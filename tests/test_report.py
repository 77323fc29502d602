"""The report: figures equal the metrics, rules fire where they are stated to, the page is safe and opens."""

import json
import re
import shutil
import subprocess

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampled
from scipy import sparse
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted
from test_html import EVIL, Text

from skimb._core.costs import elkan
from skimb.inspection import Report, report
from skimb.inspection._holm import holm
from skimb.inspection._report.resampled import Order, redrawn
from skimb.inspection._report.verdicts import RULES
from skimb.losses import Focal
from skimb.metrics import calibration_summary, classification_table, net_benefit, recall_at_budget
from skimb.model_selection import GuaranteedThresholdClassifier, TunedThresholdClassifierCV
from skimb.neural_network import MLPClassifier

COST = [[0, 1], [20, 0]]


class Told(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probability is a function of the only column of X, the true probability."""

    def __init__(self, change=None, threshold=0.5, classes=(0, 1)):
        self.change, self.threshold, self.classes = change, threshold, classes
        self.classes_ = np.array(classes)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        p = np.asarray(X, float)[:, 0]
        p = p if self.change is None else self.change(p)
        return np.stack([1 - p, p], 1)

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] >= self.threshold).astype(int)]


def rows(n=3000, mean=-3.0, deviation=1.5, seed=0):
    """True probabilities as a column, and labels that are drawn from them."""
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(mean, deviation, n))
    return p[:, None], (rng.random(n) < p).astype(int)


def quick(model, X, y, **how):
    return report(model, X, y, **{"draw": False, "baselines": (), **how})


def codes(found):
    return {one.code for one in found.verdicts}


@pytest.fixture(scope="module")
def honest():
    X, y = rows()
    return X, y, quick(Told(threshold=0.2), X, y, cost=COST, budget=[100, 0.1])


# --- figures -------------------------------------------------------------------------------------


def test_figures_are_those_of_the_metrics(honest):
    X, y, found = honest
    p, decided = X[:, 0], (X[:, 0] >= 0.2).astype(int)
    ranking, decisions = found["ranking"].values, found["decisions"].values
    assert ranking["average_precision"].value == pytest.approx(average_precision_score(y, p))
    assert ranking["roc_auc"].value == pytest.approx(roc_auc_score(y, p))
    table = classification_table(y, decided)
    expected = table.recall[1], table.recall_low[1], table.recall_high[1]
    assert decisions["recall"] == pytest.approx(expected)
    assert decisions["precision"].value == pytest.approx(table.precision[1])
    assert decisions["f1"] == pytest.approx(f1_score(y, decided))
    for one, budget in zip(found["budget"].values["budgets"], (100, 0.1), strict=True):
        assert one["recall"].value == pytest.approx(recall_at_budget(y, p, budget=budget))
    data = found["data"].values
    assert (data["rows"], data["positives"]) == (len(y), y.sum())
    assert data["most_recall"] == pytest.approx(0.05 ** (1 / y.sum()))
    summary = calibration_summary(y, p)
    probabilities = found["probabilities"].values
    assert probabilities["ratio"] == (summary.ratio, summary.ratio_low, summary.ratio_high)
    assert probabilities["p_value"] == summary.p_value
    base = y.mean() * np.log(y.mean()) + (1 - y.mean()) * np.log(1 - y.mean())
    loss = np.mean(np.log(np.where(y == 1, p, 1 - p)))
    assert probabilities["skill"] == pytest.approx(1 - loss / base)


def test_costs_give_elkans_threshold_and_mean_costs(honest):
    X, y, found = honest
    named = found["thresholds"].values["rules"]
    assert elkan(np.array(COST)) == pytest.approx(1 / 21)
    rule = named["least expected cost, from the costs"]
    decided = X[:, 0] >= 1 / 21
    assert rule["threshold"] == pytest.approx(1 / 21)
    cost = np.mean(np.where(y == 1, 20 * ~decided, decided))
    assert rule["mean cost"] == pytest.approx(cost)
    assert named["as it decides"]["threshold"] is None  # its own threshold is not the middle
    assert named["always 0"]["mean cost"] == pytest.approx(20 * y.mean())
    one = next(
        v
        for v in found["usefulness"].values["net_benefit"]
        if v["threshold"] == elkan(np.array(COST))
    )
    assert one["net_benefit"].value == pytest.approx(net_benefit(y, X[:, 0], threshold=1 / 21))


def test_thresholds_are_tuned_on_other_folds(honest):
    X, y, found = honest
    rules = found["thresholds"].values["rules"]
    best = max(f1_score(y, X[:, 0] >= t) for t in np.unique(X[:, 0])[::40])
    tuned = rules["best F1, tuned on other folds"]["F1"]
    assert best - 0.05 < tuned < best + 0.02  # a threshold of its own for each fold
    assert len(found["thresholds"].values["fold_thresholds"]) == 5


def test_promises_are_those_of_the_guaranteed_threshold():
    X, y = rows()
    found = quick(Told(), X, y, constraint={"recall": 0.8})
    [one] = found["promises"].values["promises"]
    model = GuaranteedThresholdClassifier(Told(), constraint={"recall": 0.8}, cv="prefit").fit(X, y)
    assert one["threshold"] == model.threshold_
    assert one["guarantee"] == "exact"
    assert "recall at least 0.8 " in found["promises"].sentence
    row = found["promises"].tables[0].rows[0]
    assert row[4].value == pytest.approx(model.predict(X)[y == 1].mean())


def test_draws_measure_weights_and_ties_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    y, s, w = rng.random(300) < 0.2, rng.integers(0, 12, 300), rng.integers(1, 4, 300).astype(float)
    ap, auc = Order(y, s).measure(w)
    assert ap == pytest.approx(average_precision_score(y, s, sample_weight=w))
    assert auc == pytest.approx(roc_auc_score(y, s, sample_weight=w))
    values, draws = redrawn(y, [s, s], w, 0, n_draws=20)
    assert (draws[:, 0] == draws[:, 1]).all()  # the same rows for both
    assert (values[0] == [ap, auc]).all()
    assert draws[:, 0, 0].std() > 0


def test_intervals_of_a_ranking_cover():
    inside, population = 0, rows(200_000, seed=99)
    truth = average_precision_score(population[1], population[0][:, 0])
    for seed in range(20):
        X, y = rows(1000, seed=seed)
        _, draws = redrawn(y == 1, [X[:, 0]], np.ones(len(y)), seed, n_draws=150)
        low, high = np.quantile(draws[:, 0, 0], [0.025, 0.975])
        inside += low <= truth <= high
    assert inside >= 16


def test_holm_is_stepwise():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])


def test_weights_are_repetitions_of_values_and_not_of_certainty():
    X, y = rows(1500)
    w = np.random.default_rng(0).integers(1, 4, len(y))
    one = quick(Told(threshold=0.2), X, y, sample_weight=w, cost=COST)
    two = quick(Told(threshold=0.2), X.repeat(w, 0), y.repeat(w), cost=COST)
    for key, name in [
        ("ranking", "average_precision"),
        ("decisions", "recall"),
        ("probabilities", "ratio"),
    ]:
        assert one[key].values[name].value == pytest.approx(two[key].values[name].value)
    widths = [r["decisions"].values["recall"] for r in (one, two)]
    assert widths[0].high - widths[0].low > 1.2 * (widths[1].high - widths[1].low)
    costs = [r["thresholds"].values["rules"]["as it decides"]["mean cost"] for r in (one, two)]
    assert costs[0] == pytest.approx(costs[1])


# --- fitted or not -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(900, 6, weights=[0.85], class_sep=0.8, random_state=0)
    return X, np.array(["no", "yes"])[y]


def test_an_unfitted_classifier_is_cross_validated_and_left_as_it_is(table):
    X, y = table
    model = make_pipeline(StandardScaler(), LogisticRegression())
    found = quick(model, X, y, cv=4, baselines={"dummy": DummyClassifier()})
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    assert found["origin"].values["cross_validated"]
    assert found["data"].values["positives"] == (y == "yes").sum()
    models = found["baselines"].values["models"]
    assert models["dummy"]["average_precision"].value == pytest.approx(
        (y == "yes").mean(), rel=0.02
    )
    assert models["dummy"]["difference"].low > 0
    assert all(
        p["guarantee"] in ("approximate", "none") for p in found["promises"].values["promises"]
    )


def test_rivals_are_fitted_to_the_rows_that_are_given(table):
    X, y = table
    model = LogisticRegression(class_weight="balanced").fit(X[:500], y[:500])
    found = quick(
        model, X[500:], y[500:], fit_data=(X[:500], y[:500]), baselines=["logistic", "net"]
    )
    models = found["baselines"].values["models"]
    assert list(models) == ["this classifier", "logistic regression, balanced", "plain net"]
    same = models["logistic regression, balanced"]["difference"]
    assert same.low - 0.01 < 0 < same.high + 0.01
    assert "SKI006" not in codes(found)
    alone = quick(model, X[500:], y[500:])
    assert "nothing was compared" in alone["baselines"].sentence


def test_a_special_loss_is_compared_with_itself_under_weighted_cross_entropy(table):
    X, y = table
    net = MLPClassifier((8,), loss=Focal(), max_iter=15, random_state=0)
    model = TunedThresholdClassifierCV(net, scoring="f1_macro").fit(X[:500], y[:500])
    found = quick(model, X[500:], y[500:], fit_data=(X[:500], y[:500]))
    twin = found["baselines"].values["models"]["the same with weighted cross-entropy"]
    assert np.isfinite(twin["difference"].value)
    assert "SKI005" in codes(found)
    assert found["thresholds"].values["rules"]["as it decides"]["threshold"] == model.threshold_


def test_frames_with_words_and_gaps_reach_the_rivals():
    X, y = make_classification(600, 4, weights=[0.8], random_state=0)
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["e"] = pd.Series(np.where(X[:, 0] > 0, "up", "down"))
    frame.loc[3, "a"] = np.nan
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:, :3], y)
    wrapped = Columns(model, list("bcd")).fit(frame, y)
    how = {"baselines": ["logistic", "hist_gradient_boosting"], "fit_data": (frame[:300], y[:300])}
    found = quick(wrapped, frame[300:], y[300:], **how)
    assert found["baselines"].values["failed"] == {}
    assert len(found["baselines"].values["models"]) == 3
    rows_ = sparse.csr_matrix(X)
    model = LogisticRegression().fit(rows_, y)
    found = quick(model, rows_[300:], y[300:], **how | {"fit_data": (rows_[:300], y[:300])})
    assert found["baselines"].values["failed"] == {}
    assert found["data"].values["copies"] == 0


class Columns(ClassifierMixin, BaseEstimator):
    """A classifier of some columns of a frame."""

    def __init__(self, model, names):
        self.model, self.names = model, names

    def fit(self, X, y):
        self.model_ = self.model.fit(X[self.names], y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(X[self.names])

    def predict(self, X):
        return self.model_.predict(X[self.names])


def test_a_rival_that_cannot_be_fitted_is_named_with_its_reason():
    X, y = rows(600)
    how = {"fit_data": (X, y), "baselines": {"bad": LogisticRegression(C=-1.0)}}
    found = quick(Told(), X, y, **how)
    assert "'C' parameter" in found["baselines"].values["failed"]["bad"]


def test_scores_without_probabilities_are_reported_without_calibration(table):
    X, y = table
    found = quick(LinearSVC().fit(X[:500], y[:500]), X[500:], y[500:])
    assert "no probabilities" in found["probabilities"].sentence
    assert found["thresholds"].values["rules"]["as it decides"]["threshold"] == 0
    with pytest.raises(KeyError, match="not 'usefulness'"):
        found["usefulness"]


def test_several_classes_speak_of_the_rarest_or_the_one_that_is_named():
    X, y = make_classification(
        900, 6, n_informative=4, n_classes=3, weights=[0.7, 0.22], random_state=0
    )
    names = np.array(["a", "b", "c"])
    model = LogisticRegression().fit(X[:400], names[y[:400]])
    found = quick(model, X[400:], names[y[400:]], cost=1 - np.eye(3))
    assert found["data"].values["positives"] == (y[400:] == 2).sum()
    other = quick(model, X[400:], names[y[400:]], pos_label="b", constraint={"recall": {"b": 0.7}})
    assert other["data"].values["positives"] == (y[400:] == 1).sum()
    p = model.predict_proba(X[400:])
    assert other["ranking"].values["average_precision"].value == pytest.approx(
        average_precision_score(y[400:] == 1, p[:, 1])
    )
    assert len(found["decisions"].tables[0].rows) == 3
    rules = found["thresholds"].values["rules"]
    expected = f1_score(y[400:], p.argmax(1), average="macro")
    assert rules["as it decides"]["mean F1"] == pytest.approx(expected)
    assert rules["least expected cost, from the costs"]["mean F1"] == pytest.approx(expected)


def test_the_first_class_can_be_the_one_that_counts():
    X, y = rows(2000)
    turned = quick(
        Told(lambda p: 1 - p, threshold=0.5), X, 1 - y, pos_label=0, cost=[[0, 20], [1, 0]]
    )
    plain = quick(Told(), X, y, cost=COST)
    for key, name in [
        ("ranking", "average_precision"),
        ("decisions", "recall"),
        ("probabilities", "slope"),
    ]:
        assert turned[key].values[name] == pytest.approx(plain[key].values[name])
    a, b = (
        r["thresholds"].values["rules"]["least expected cost, from the costs"]
        for r in (turned, plain)
    )
    assert a["mean cost"] == pytest.approx(b["mean cost"])


# --- verdicts ------------------------------------------------------------------------------------


def test_honest_probabilities_fire_no_rule(honest):
    _, _, found = honest
    assert found.verdicts == []
    assert found.summary.startswith("No rule fired; the least certain figure is a recall of ")


@pytest.mark.parametrize(
    ("code", "level", "how"),
    [
        ("SKI003", "warn", {"model": Told(lambda p: expit(logit(p) + 1.0), 0.3)}),
        ("SKI003", "warn", {"model": Told(lambda p: expit(2 * logit(p)), 0.3)}),
        ("SKI004", "stop", {"model": Told(lambda p: np.random.default_rng(0).permutation(p), 0.2)}),
        ("SKI008", "note", {"model": Told()}),
        ("SKI010", "warn", {"model": Told(threshold=0.2), "fit": slice(0, 200)}),
        (
            "SKI011",
            "warn",
            {"model": Told(lambda p: expit(logit(p) - 5), 0.2), "cost": [[0, 1], [40, 0]]},
        ),
    ],
)
def test_rules_fire(code, level, how):
    X, y = rows()
    more = {"fit_data": (X[how["fit"]], y[how["fit"]])} if "fit" in how else {}
    if code == "SKI011":
        more["cost"] = how["cost"]
        X, y = rows(4000, -2.0)
    found = quick(how["model"], X, y, **more)
    one = next(v for v in found.verdicts if v.code == code)
    assert one.level == level


def test_the_remedy_follows_from_the_slope():
    X, y = rows()
    level = quick(Told(lambda p: expit(logit(p) + 1.0)), X, y)
    spread = quick(Told(lambda p: expit(2 * logit(p) + 3.0)), X, y)
    level, spread = (
        next(v for v in r.verdicts if v.code == "SKI003").text for r in (level, spread)
    )
    assert "PriorCorrectedClassifier" in level
    assert "CalibratedClassifierCV" in spread


def test_few_rows_of_the_class_stop_or_warn():
    X, y = rows(6000, -6.0, 1.0)
    kept = np.r_[np.flatnonzero(y == 1)[:8], np.flatnonzero(y == 0)[:500]]
    found = report(Told(threshold=0.01), X[kept], y[kept], baselines=())
    assert found.verdicts[0].level == "stop"
    assert {"SKI001", "SKI002"} <= codes(found)
    assert all(section.picture is None for section in found.sections)
    kept = np.r_[np.flatnonzero(y == 1)[:20], np.flatnonzero(y == 0)[:1000]]
    found = quick(Told(threshold=0.01), X[kept], y[kept])
    few = next(v for v in found.verdicts if v.code == "SKI001")
    assert few.level == "warn"
    recall = found["decisions"].values["recall"]
    assert few.numbers["half_width"] == pytest.approx((recall.high - recall.low) / 2)
    missing = next(v for v in found.verdicts if v.code == "SKI002")
    assert missing.numbers["needed"] == 29
    assert "29 are needed" in missing.text


def test_what_was_asked_and_cannot_be_promised_is_said():
    X, y = rows(3000)
    found = quick(Told(), X, y, constraint={"recall": 0.99})
    one = next(v for v in found.verdicts if v.code == "SKI002")
    assert "299 are needed" in one.text
    assert found["promises"].tables[0].column("given") == ["no"]


def test_a_worse_classifier_and_a_better_rival():
    X, y = rows()
    noisy = Told(lambda p: expit(logit(p) + np.random.default_rng(3).normal(0, 2, len(p))), 0.3)
    how = {"fit_data": (X[:1000], y[:1000]), "baselines": {"oracle": Told()}}
    found = quick(noisy, X[1000:], y[1000:], **how)
    one = next(v for v in found.verdicts if v.code == "SKI006")
    assert one.numbers["rival"] == "oracle"
    assert one.numbers["difference"].high < 0
    assert "2 p-values" in found.summary


def test_a_sampler_that_nobody_takes_back(table):
    X, y = table
    model = make_sampled(RandomOverSampler(random_state=0), LogisticRegression()).fit(
        X[:500], y[:500]
    )
    found = quick(model, X[500:], y[500:])
    one = next(v for v in found.verdicts if v.code == "SKI009")
    assert "'randomoversampler'" in one.text
    assert one.numbers["expected"] > 1.5 * one.numbers["observed"]


def test_an_unstable_threshold_is_noted():
    X, y = rows(400, -3.0, 0.6, seed=4)
    found = quick(Told(threshold=0.2), X, y)
    rules = np.array(found["thresholds"].values["fold_thresholds"])
    assert ("SKI007" in codes(found)) == (logit(rules).std() > 0.5)
    X, y = rows(600, -4.0, 2.0, seed=1)
    noisy = Told(lambda p: expit(6 * logit(p)), 0.2)
    found = quick(noisy, X, y)
    rules = np.array(found["thresholds"].values["fold_thresholds"]).clip(1e-6, 1 - 1e-6)
    assert logit(rules).std() > 0.5
    assert "SKI007" in codes(found)


def test_every_rule_is_described_in_the_documentation():
    described = set(re.findall(r"SKI\d{3}", report.__doc__))
    assert described == set(RULES)


# --- the page ------------------------------------------------------------------------------------


def evil():
    X, y = make_classification(800, 5, weights=[0.85], class_sep=1.5, random_state=0)
    frame = pd.DataFrame(X, columns=[f"{EVIL}{k}" for k in range(5)])
    labels = np.array([f"{EVIL}no", f"{EVIL}yes"])[y]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[:400], labels[:400])
    how = {"fit_data": (frame[:400], labels[:400]), "baselines": {EVIL: LogisticRegression()}}
    return report(model, frame[400:], labels[400:], title=f"Title {EVIL}", cost=COST, **how)


@pytest.fixture(scope="module")
def page():
    return evil()


def test_nothing_from_outside_is_html(page, tmp_path):
    path = page.save(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    shown = Text(text)
    assert "script" not in [tag for tag, _ in shown.tags]
    assert shown.text.count("<script>alert('x')</script>") > 10
    assert path.stat().st_size < 1_500_000
    for tag, attrs in shown.tags:
        assert not any(name.startswith("on") for name in attrs), tag
        assert tag not in ("link", "iframe", "object", "form")
        for name in ("src", "href"):
            assert attrs.get(name, "data:image/png;base64,").startswith("data:image/png;base64,")
    policy = [a["content"] for _, a in shown.tags if "Content-Security-Policy" in a.values()]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert all(attrs["alt"] for tag, attrs in shown.tags if tag == "img")
    assert [tag for tag, _ in shown.tags].count("img") == 5
    assert ("html", {"lang": "en"}) in shown.tags


def test_no_row_of_data_and_no_path_enters_the_page(page):
    text = page.to_html()
    X, _ = make_classification(800, 5, weights=[0.85], class_sep=1.5, random_state=0)
    assert not any(f"{value:.4f}" in text for value in X[400:410].ravel())


def test_a_report_is_the_same_twice_and_leaves_no_figure(page):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    again = evil()
    assert pyplot.get_fignums() == before
    for one, two in zip(page.sections, again.sections, strict=True):
        assert one.sentence == two.sentence
        assert (one.picture is None) == (two.picture is None)
        if one.picture is not None:
            assert one.picture.data == two.picture.data


def test_a_report_is_text_json_and_a_part_of_a_notebook(page):
    plain = json.loads(json.dumps(page.to_dict(), allow_nan=False))
    assert plain["sections"][0]["values"]["positives"] == page["data"].values["positives"]
    assert [one["code"] for one in plain["verdicts"]] == [one.code for one in page.verdicts]
    assert page.summary in str(page)
    assert all(section.sentence in str(page) for section in page.sections)
    part = Text(page._repr_html_())
    assert [tag for tag, _ in part.tags][:2] == ["div", "style"]
    assert "html" not in [tag for tag, _ in part.tags]
    assert repr(page).startswith("<Report ")


def test_long_tables_and_labels_are_cut():
    k = 60
    rng = np.random.default_rng(0)
    y = np.r_[np.arange(k).repeat(12)]
    X = rng.normal(size=(len(y), 3)) + y[:, None]
    names = np.array([f"class {j} {'x' * 80}" for j in range(k)])
    found = quick(GaussianNB().fit(X, names[y]), X, names[y])
    text = found.to_html()
    assert "… 10 more" in text
    assert len(text) < 400_000


def _chromium():
    return (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )


def test_a_browser_opens_the_page(page, tmp_path):
    path = page.save(tmp_path / "page.html")
    browser = _chromium()
    if browser is None:
        pytest.skip("needs Debian's chromium")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars"]
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [browser, *flags, "--window-size=1000,3000", f"--screenshot={picture}", path.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert picture.exists(), done.stderr[-2000:]
    assert "Refused to" not in done.stderr
    assert "Content Security Policy" not in done.stderr
    from matplotlib.image import imread

    seen = imread(picture)
    assert seen.shape[:2] == (3000, 1000)
    blue = np.abs(seen[..., :3] - np.array([0x00, 0x72, 0xB2]) / 255).max(-1) < 0.02
    assert blue.sum() > 300  # curves of the pictures are there
    inner = seen[:, 10:990, :3]
    assert (np.ptp(inner, axis=(1, 2)) > 0.3).mean() > 0.3  # text down the page
    assert (inner[:, -10:] == seen[5, 5, :3]).all()  # nothing reaches beyond the margin


# --- bad input -----------------------------------------------------------------------------------

GOOD = rows(300)


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"estimator": LinearRegression().fit(*GOOD)}, (ValueError, TypeError), "LinearRegression"),
        ({"estimator": "net"}, TypeError, "report needs a classifier, fitted or not, got str"),
        ({"y": np.ones((300, 2), int)}, ValueError, "report each label by itself"),
        ({"y": np.zeros(300, int)}, ValueError, "the class 1 and of others, y holds no rows of it"),
        ({"y": np.full(300, 2)}, ValueError, r"y holds the classes \[2\], the fitted classifier knows \[0, 1\]"),
        ({"pos_label": 3}, ValueError, r"pos_label=3 is not among the classes \[0, 1\]"),
        ({"cost": [[0, 1, 2]]}, ValueError, r"shape \(2, 2\).*got shape \(1, 3\)"),
        ({"cost": [[1, 0], [0, 1]]}, ValueError, "the right decision is the cheapest"),
        ({"cost": [[0, np.nan], [1, 0]]}, ValueError, "finite matrix"),
        ({"budget": 1000}, ValueError, "budget=1000 must be a number of rows, at most the 300 there are"),
        ({"budget": 0.0}, ValueError, "budget=0.0 must be"),
        ({"budget": []}, ValueError, "budget=\\[\\] is empty"),
        ({"baselines": ["forest"]}, ValueError, "baselines holds 'forest'; known are"),
        ({"baselines": "logistic"}, ValueError, "must be a sequence of names"),
        ({"fit_data": (1, 2, 3, 4)}, ValueError, "fit_data must be"),
        ({"fit_data": (GOOD[0], np.zeros(300, int))}, ValueError, r"holds no row of the classes \[1\]"),
        ({"estimator": LogisticRegression(), "fit_data": GOOD}, ValueError, "fit_data is for a fitted estimator"),
        ({"estimator": LogisticRegression(), "cv": 200}, ValueError, "cv=200 folds need"),
        ({"estimator": LogisticRegression(), "y": np.ones(300, int)}, ValueError, "needs two classes"),
        ({"estimator": Told(lambda p: np.where(p > 0.2, np.nan, p))}, ValueError, "no finite number for"),
        ({"confidence": 1.0}, ValueError, "confidence"),
        ({"sample_weight": -np.ones(300)}, ValueError, "[Nn]egative"),
        ({"X": GOOD[0][:200]}, ValueError, "inconsistent numbers of samples"),
        ({"constraint": {"luck": 0.9}}, ValueError, "luck"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(how, error, match):
    given = {"estimator": Told(), "X": GOOD[0], "y": GOOD[1], "baselines": (), "draw": False, **how}
    with pytest.raises(error, match=match):
        report(given.pop("estimator"), given.pop("X"), given.pop("y"), **given)


def test_an_empty_report_is_a_page():
    assert Text(Report("Nothing", [], [], "No rule fired.").to_html()).text.count("Nothing") == 2
