"""Scores for rare classes and rare target values."""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.metrics import geometric_mean_score as imblearn_g_mean
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.datasets import load_diabetes, make_classification, make_multilabel_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    classification_report,
    get_scorer,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.utils._param_validation import InvalidParameterError

from skimb import functional, metrics


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    y = rng.random(400) < 0.1
    s = np.round(rng.normal(size=400) + 1.5 * y, 1)  # with ties
    return y.astype(int), s, rng.integers(0, 4, 400)


REPLICATED = {
    "precision_at_budget": lambda y, s, w=None: metrics.precision_at_budget(y, s, budget=0.07, sample_weight=w),
    "recall_at_budget": lambda y, s, w=None: metrics.recall_at_budget(y, s, budget=30, sample_weight=w),
    "partial_roc_auc": lambda y, s, w=None: metrics.partial_roc_auc_score(y, s, max_fpr=0.2, min_tpr=0.1, sample_weight=w),
    "brier": lambda y, s, w=None: metrics.weighted_brier_score(y, expit(s), sample_weight=w),
    "log_loss": lambda y, s, w=None: metrics.weighted_log_loss(y, expit(s), sample_weight=w),
    "ece": lambda y, s, w=None: metrics.expected_calibration_error(y, expit(s), sample_weight=w),
    "ece_uniform": lambda y, s, w=None: metrics.expected_calibration_error(y, expit(s), strategy="uniform", sample_weight=w),
    "g_mean": lambda y, s, w=None: metrics.geometric_mean_score(y, s > 1, sample_weight=w),
    "table": lambda y, s, w=None: metrics.classification_table(y, s > 1, expit(s), sample_weight=w).f1[1],
    "bmae": lambda y, s, w=None: metrics.balanced_mean_absolute_error(s, y, sample_weight=w),
    "gmae": lambda y, s, w=None: metrics.geometric_mean_absolute_error(s, y, sample_weight=w),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLICATED)
def test_weights_are_replication(name, scored):
    y, s, w = scored
    score = REPLICATED[name]
    assert score(y, s, w) == pytest.approx(score(np.repeat(y, w), np.repeat(s, w)), rel=1e-9)
    order = np.random.default_rng(1).permutation(len(y))
    assert score(y, s) == pytest.approx(score(y[order], s[order]), rel=1e-9)


def test_budget_is_the_mean_over_orders_of_ties():
    y, s = np.array([1, 0, 1, 0, 0, 1]), np.array([3, 2, 2, 2, 1, 1])
    for budget in range(1, 7):
        hits = [
            y[np.lexsort((order, -s))][:budget].sum() for order in itertools.permutations(range(6))
        ]
        expected = np.mean(hits)
        assert metrics.precision_at_budget(y, s, budget=budget) == pytest.approx(expected / budget)
        assert metrics.recall_at_budget(y, s, budget=budget) == pytest.approx(expected / 3)
        share = budget / 6
        assert metrics.precision_at_budget(y, s, budget=share) == pytest.approx(expected / budget)


def test_budget_errors(scored):
    y, s, _ = scored
    with pytest.raises(ValueError, match="budget=401 is more than the 400 rows"):
        metrics.precision_at_budget(y, s, budget=401)
    with pytest.raises(ValueError, match="give the rare class as pos_label="):
        metrics.precision_at_budget(np.where(y, "b", "a"), s, budget=3)
    with pytest.raises(ValueError, match="holds none"):
        metrics.recall_at_budget(np.zeros(9), np.arange(9), budget=3)
    a = metrics.recall_at_budget(np.where(y, "b", "a"), s, budget=30, pos_label="b")
    assert a == metrics.recall_at_budget(y, s, budget=30)


def test_partial_auc(scored):
    y, s, w = scored
    kw = {"sample_weight": w}
    assert metrics.partial_roc_auc_score(y, s, **kw) == pytest.approx(roc_auc_score(y, s, **kw))
    for bound in (0.05, 0.3, 0.77):
        mcclish = roc_auc_score(y, s, max_fpr=bound, **kw)
        least, most = 0.5 * bound**2, bound
        area = least + (2 * mcclish - 1) * (most - least)
        assert metrics.partial_roc_auc_score(y, s, max_fpr=bound, **kw) == pytest.approx(
            area / bound
        )
    # the area above a sensitivity, by Monte Carlo over the curve without ties
    t = s + 1e-6 * np.arange(len(s))
    positive, negative = np.sort(t[y == 1]), np.sort(t[y == 0])[::-1]
    k, floor = int(0.3 * len(negative)), 0.4
    tpr = (positive[None] > negative[:k, None]).mean(1)
    expected = np.maximum(tpr - floor, 0).mean() / (1 - floor)
    found = metrics.partial_roc_auc_score(y, t, max_fpr=k / len(negative), min_tpr=floor)
    assert found == pytest.approx(expected)
    with pytest.raises(ValueError, match="only negative"):
        metrics.partial_roc_auc_score(np.zeros(5), np.arange(5))


def test_separated_kappa_is_the_loss_at_hard_decisions():
    rng = np.random.default_rng(0)
    y = rng.choice(4, 200, p=[0.7, 0.1, 0.1, 0.1])
    decided = np.where(rng.random(200) < 0.7, y, rng.choice(4, 200))
    logits = torch.full((200, 4), -60.0, dtype=torch.float64)
    logits[torch.arange(200), torch.as_tensor(decided)] = 60.0
    loss = functional.sek(logits, torch.as_tensor(y))
    assert metrics.separated_kappa_score(y, decided) == pytest.approx(1 - loss.item(), abs=1e-9)
    assert metrics.separated_kappa_score(y, y) == pytest.approx(1.0)
    names = np.array(["none", "a", "b", "c"])
    again = metrics.separated_kappa_score(names[y], names[decided], background="none")
    assert again == pytest.approx(1 - loss.item(), abs=1e-9)
    with pytest.raises(ValueError, match="at least three classes"):
        metrics.separated_kappa_score([0, 1], [1, 0])


def test_geometric_mean_is_imbalanced_learns(three):
    X, y = three
    decided = LogisticRegression().fit(X, y).predict(X)
    assert metrics.geometric_mean_score(y, decided) == imblearn_g_mean(y, decided)


BY_COLUMN = [
    metrics.weighted_log_loss,
    metrics.weighted_brier_score,
    metrics.expected_calibration_error,
]


@pytest.mark.parametrize("score", BY_COLUMN)
@pytest.mark.parametrize("words", [["seen", "clicked", "bought"], ["c", "a", "b"], [3, 1, 2]])
def test_labels_name_the_columns_in_any_order(score, words):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([4.0, 2.0, 1.0], 300)
    code = (rng.random((300, 1)) > p.cumsum(1)).sum(1)
    y = np.array(words)[code]
    by_code = score(code, p, labels=[0, 1, 2])
    assert score(y, p, labels=words) == pytest.approx(by_code)
    order = np.argsort(words)
    assert score(y, p[:, order]) == pytest.approx(by_code)
    few = code < 2
    assert score(y[few], p[few], labels=words) == pytest.approx(
        score(code[few], p[few], labels=[0, 1, 2])
    )
    with pytest.raises(ValueError, match="not among"):
        score(y, p, labels=[*words[:2], type(words[2])(9)])
    with pytest.raises(ValueError, match="name a class twice"):
        score(y, p, labels=[words[0], words[1], words[1]])
    with pytest.raises(ValueError, match="does not fit"):
        score(y, p[:, :2], labels=words)


@pytest.mark.parametrize("score", BY_COLUMN)
def test_two_classes_in_any_order_and_shape(score):
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, 200)
    y = (rng.random(200) < p).astype(int)
    wanted = score(y, p)
    words = np.array(["ok", "fraud"])[y]  # the rare class sorts first
    both = np.column_stack([1 - p, p])
    for column in (p, p[:, None], both):
        assert score(words, column, labels=["ok", "fraud"]) == pytest.approx(wanted)
        assert score(y, column, labels=[0, 1]) == pytest.approx(wanted)
    assert score(y, both) == pytest.approx(wanted)
    assert score(y, p[:, None]) == pytest.approx(wanted)


def test_tables_in_any_order_of_columns():
    y, p = np.array(["b", "a", "a", "c"]), np.array([[0.2, 0.7, 0.1], [0.8, 0.1, 0.1], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7]])  # fmt: skip
    there = metrics.classification_table(y, y_proba=p, labels=["a", "b", "c"])
    back = metrics.classification_table(y, y_proba=p[:, ::-1], labels=["c", "b", "a"])
    np.testing.assert_allclose(there.brier, back.brier[::-1])
    with pytest.raises(ValueError, match=r"holds the labels \['c'\]"):
        metrics.classification_table(y, y_proba=p, labels=["a", "b", "d"])
    two = np.array(["ok", "fraud", "ok"])
    column = metrics.classification_table(
        two, y_proba=[[0.1], [0.9], [0.2]], labels=["ok", "fraud"]
    )
    np.testing.assert_allclose(column.mean_probability, [0.6, 0.4])


@pytest.mark.parametrize("score", [metrics.geometric_mean_score, metrics.separated_kappa_score, metrics.classification_table, metrics.balanced_mean_absolute_error, metrics.geometric_mean_absolute_error, metrics.partial_roc_auc_score, metrics.expected_calibration_error])  # fmt: skip
def test_negative_weights_are_refused(score):
    y = [0, 1, 0, 1] if score.__name__ != "separated_kappa_score" else [0, 1, 2, 1]
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        score(y, y, sample_weight=[1.0, 1.0, -1.0, 1.0])


def test_weighted_probability_scores():
    X, y = make_classification(
        500, 6, n_classes=3, n_informative=4, weights=[0.8, 0.1], random_state=0
    )
    p = LogisticRegression().fit(X, y).predict_proba(X)
    by_class = [np.square(p[y == k] - np.eye(3)[k]).sum(1).mean() for k in range(3)]
    assert metrics.weighted_brier_score(y, p) == pytest.approx(np.mean(by_class))
    logs = [-np.log(p[y == k, k]).mean() for k in range(3)]
    assert metrics.weighted_log_loss(y, p) == pytest.approx(np.mean(logs))
    one = dict.fromkeys(range(3), 1.0)
    assert metrics.weighted_brier_score(y, p, class_weight=one) == pytest.approx(
        np.square(p - np.eye(3)[y]).sum(1).mean()
    )
    assert metrics.weighted_log_loss(y, p, class_weight=one) == pytest.approx(log_loss(y, p))
    rare = y == 2
    two = metrics.weighted_brier_score(rare, p[:, 2])
    assert two == pytest.approx(
        0.5 * (p[~rare, 2] ** 2).mean() + 0.5 * ((1 - p[rare, 2]) ** 2).mean()
    )
    with pytest.raises(ValueError, match=r"lacks the classes \[2\]"):
        metrics.weighted_log_loss(y, p, class_weight={0: 1, 1: 1})


def test_calibration_intervals_hold_and_mass_bins_share_the_positives():
    rng = np.random.default_rng(0)
    inside, biased = [], []
    for _ in range(60):
        p = expit(rng.normal(-4, 1.5, 4000))
        y = (rng.random(4000) < p).astype(int)
        table = metrics.calibration_table(y, p)
        inside += table.inside.tolist()
        biased += metrics.calibration_table(y, np.minimum(3 * p, 1)).inside.tolist()
        expected = table.predicted * table.weight
        assert expected.max() < 1.3 * expected.min()
    assert np.mean(inside) > 0.93  # 95 % intervals, conservative
    assert np.mean(biased) < 0.2
    table = metrics.calibration_table(y, p, strategy="quantile", n_bins=5)
    assert table.weight.tolist() == [800.0] * 5
    at = 4
    wanted = binomtest(int(table.positives[at]), 800).proportion_ci(0.95)
    assert (table.low[at], table.high[at]) == pytest.approx((wanted.low, wanted.high))
    assert table.weight.sum() == 4000
    assert table.positives.sum() == y.sum()


def test_expected_calibration_error():
    y = np.array([0, 0, 1, 1, 0, 1])
    p = np.array([0.05, 0.05, 0.05, 0.95, 0.95, 0.95])
    by_hand = 0.5 * abs(1 / 3 - 0.05) + 0.5 * abs(2 / 3 - 0.95)
    for strategy in ("uniform", "quantile", "mass"):
        found = metrics.expected_calibration_error(y, p, n_bins=2, strategy=strategy)
        assert found == pytest.approx(by_hand)
    both = np.column_stack([1 - p, p])
    assert metrics.expected_calibration_error(y, both, n_bins=2) == pytest.approx(by_hand)
    three = np.column_stack([1 - p, p / 2, p / 2])
    each = [
        metrics.expected_calibration_error(
            np.array([0, 0, 1, 2, 0, 1]) == k, three[:, k], pos_label=True
        )
        for k in range(3)
    ]
    assert metrics.expected_calibration_error([0, 0, 1, 2, 0, 1], three) == pytest.approx(
        np.mean(each)
    )
    with pytest.raises(ValueError, match="must lie in"):
        metrics.expected_calibration_error(y, 2 * p)
    with pytest.raises(ValueError, match="does not fit"):
        metrics.expected_calibration_error([0, 1, 1], np.full((3, 3), 1 / 3))


def test_table_agrees_with_scikit_learn(three):
    X, y = three
    model = LogisticRegression().fit(X, y)
    decided, p = model.predict(X), model.predict_proba(X)
    table = metrics.classification_table(y, decided, p, as_frame=True)
    report = classification_report(y, decided, output_dict=True)
    for label in model.classes_:
        for ours, theirs in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1-score"),
            ("support", "support"),
        ):
            assert table.loc[label, ours] == pytest.approx(report[label][theirs])
    assert table.loc["rare", "roc_auc"] == pytest.approx(roc_auc_score(y == "rare", p[:, 2]))
    assert table.share.sum() == pytest.approx(1)
    assert (table.recall_low < table.recall).all()
    assert (table.recall < table.recall_high).all()
    hits = int(((y == "rare") & (decided == "rare")).sum())
    wanted = binomtest(hits, int((y == "rare").sum())).proportion_ci(0.95)
    assert table.loc["rare", "recall_low"] == pytest.approx(wanted.low)
    X, Y = make_multilabel_classification(100, n_classes=4, random_state=0)
    found = metrics.classification_table(Y, Y[::-1])
    assert found.recall[2] == pytest.approx((Y[:, 2] & Y[::-1, 2]).sum() / Y[:, 2].sum())
    with pytest.raises(ValueError, match="needs y_pred, y_proba or both"):
        metrics.classification_table(y)
    with pytest.raises(ValueError, match="does not fit"):
        metrics.classification_table(y, y_proba=p[:, :2])
    lacking = metrics.classification_table(["a", "a"], ["a", "b"])
    assert np.isnan(lacking.recall[1])
    assert lacking.precision[1] == 0


def test_regression_scores():
    rng = np.random.default_rng(0)
    y = rng.exponential(size=500)
    f = y + rng.normal(size=500) * (1 + y)
    edges = np.histogram_bin_edges(y, 10)
    at = np.clip(np.digitize(y, edges) - 1, 0, 9)
    means = pd.Series(np.abs(y - f)).groupby(at).mean()
    assert metrics.balanced_mean_absolute_error(y, f) == pytest.approx(means.mean())
    table = metrics.binned_absolute_errors(y, f)
    np.testing.assert_allclose(table.error, means)
    count = np.bincount(at, minlength=10)
    few = np.isin(at, np.flatnonzero(count < 20))
    assert table.few == pytest.approx(np.abs(y - f)[few].mean())
    everything = metrics.balanced_mean_absolute_error(y, f, bins=1)
    assert everything == pytest.approx(mean_absolute_error(y, f))
    assert metrics.geometric_mean_absolute_error(y, f) == pytest.approx(
        np.exp(np.log(np.abs(y - f)).mean())
    )
    assert metrics.geometric_mean_absolute_error(y, y) == pytest.approx(1e-10)
    with pytest.raises(ValueError, match="outside the edges"):
        metrics.balanced_mean_absolute_error(y, f, bins=[0, 1, 2])
    trained = metrics.binned_absolute_errors(y, f, y_train=np.repeat(y, 50))
    assert np.isnan(trained.few) or trained.few >= 0
    assert trained.train_count.sum() == 50 * table.train_count.sum()


@pytest.fixture(scope="module", autouse=True)
def registered():
    return metrics.register_scorers()


CLASSIFIED = [
    n for n in metrics.get_scorer_names() if "absolute" not in n and n != "separated_kappa"
]


@pytest.mark.parametrize("name", CLASSIFIED)
def test_scorer_names_work_in_searches(name, rare):
    X, y = rare
    search = GridSearchCV(LogisticRegression(), {"C": [0.01, 1.0]}, scoring=name, cv=3, n_jobs=2)
    assert np.isfinite(search.fit(X, y).best_score_)
    assert (search.best_score_ <= 0) == name.startswith("neg_")


def test_names_without_registration(rare):
    done = subprocess.run(
        [sys.executable, "-c", "import skimb.metrics as m, sklearn.metrics as s\n"
         "print('geometric_mean' in s.get_scorer_names(), m.get_scorer('geometric_mean'), m.get_scorer('f1'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("False make_scorer(geometric_mean_score")
    with pytest.raises(ValueError, match="names no scorer"):
        metrics.get_scorer("geometric")
    with pytest.raises(InvalidParameterError, match="nothing_of_the_kind"):
        cross_val_score(LogisticRegression(), *rare, scoring="nothing_of_the_kind")


def test_other_scorer_names(three):
    X, y = three
    scores = cross_val_score(LogisticRegression(), X, y, scoring="separated_kappa")
    assert (scores > 0).all()
    for name in (
        "geometric_mean",
        "neg_balanced_log_loss",
        "neg_balanced_brier_score",
        "neg_expected_calibration_error",
    ):
        assert np.isfinite(cross_val_score(LogisticRegression(), X, y, scoring=name)).all()
    X, y = load_diabetes(return_X_y=True)
    for name in ("neg_balanced_mean_absolute_error", "neg_geometric_mean_absolute_error"):
        assert (cross_val_score(Ridge(), X, y, scoring=name) < 0).all()
    assert get_scorer("recall").__class__.__module__.startswith("sklearn")


def test_scores_of_every_class_at_once(three):
    X, y = three
    found = cross_validate(LogisticRegression(), X, y, scoring=metrics.per_class_scorer)
    assert found["test_recall_rare"].shape == (5,)
    search = GridSearchCV(
        LogisticRegression(),
        {"C": [0.01, 1.0]},
        scoring=metrics.per_class_scorer,
        refit="recall_rare",
    ).fit(X, y)
    assert search.best_params_ == {"C": 1.0}
