"""Bulk scores against scikit-learn's and imbalanced-learn's, thresholds against exhaustive search."""

import itertools
import warnings

import numpy as np
import pytest
from imblearn.metrics import geometric_mean_score
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, make_scorer

from skimb.model_selection import _counts
from skimb.model_selection._bulk import bulk_score
from skimb.model_selection._thresholds import CostObjective, CountObjective, decide, tune

TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


class Fixed(ClassifierMixin, BaseEstimator):
    """Answers what it was given."""

    def __init__(self, classes=None, decision=None, proba=None, labels=None):
        self.classes_ = classes
        self.decision, self.proba, self.labels = decision, proba, labels

    def fit(self, X, y):
        return self

    def decision_function(self, X):
        return self.decision

    def predict_proba(self, X):
        return self.proba

    def predict(self, X):
        return self.labels


def data(n_classes, n=83, members=5, seed=0):
    rng = np.random.default_rng(seed)
    code = rng.choice(n_classes, n, p=np.r_[0.6, np.full(n_classes - 1, 0.4 / (n_classes - 1))])
    z = rng.normal(size=(members, n, n_classes)) + 1.5 * np.eye(n_classes)[code]
    z[2] = z[2].round()  # ties
    z[3] = 0.0  # one score for all rows
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return code, z, p, rng.uniform(0, 3, n).round(1)


BINARY = [
    *map(get_scorer, ["average_precision", "roc_auc", "neg_log_loss", "neg_brier_score", "f1", "f1_macro",
                      "f1_micro", "f1_weighted", "balanced_accuracy", "accuracy", "jaccard", "precision", "recall",
                      "matthews_corrcoef"]),
    make_scorer(geometric_mean_score),
    make_scorer(metrics.fbeta_score, beta=2.0),
    make_scorer(metrics.cohen_kappa_score),
]  # fmt: skip
MULTICLASS = [
    *map(get_scorer, ["neg_log_loss", "f1_macro", "f1_micro", "f1_weighted", "balanced_accuracy", "accuracy",
                      "jaccard_macro", "precision_macro", "recall_weighted", "matthews_corrcoef"]),
    make_scorer(geometric_mean_score),
    make_scorer(metrics.cohen_kappa_score),
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("n_classes", "scorer"), [*((2, s) for s in BINARY), *((4, s) for s in MULTICLASS)]
)
def test_bulk_scores_equal_the_scorers(n_classes, scorer, weighted):
    code, z, p, w = data(n_classes)
    weight = w if weighted else None
    labels = p.argmax(-1)
    labels[1] = 0  # one member decides for one class only
    decision = z[..., 1] - z[..., 0] if n_classes == 2 else z
    bulk = bulk_score(scorer, np.arange(n_classes), False)
    values = {"scores": decision, "proba": p, "decisions": labels}[bulk.response]
    found = bulk(code, values, weight, n_classes)
    kw = {"sample_weight": weight} if weighted else {}
    X = np.zeros((len(code), 1))
    for k in range(len(z)):
        member = Fixed(np.arange(n_classes), decision[k], p[k], labels[k])
        with warnings.catch_warnings():  # a class nobody decides for
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            wanted = scorer(member, X, code, **kw)
        np.testing.assert_allclose(found[k], wanted, **TOLERANCE)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name", ["average_precision", "roc_auc", "f1_macro", "f1_micro", "jaccard_macro"]
)
def test_bulk_scores_of_labels(name, weighted):
    rng = np.random.default_rng(1)
    Y = (rng.random((60, 3)) < [0.5, 0.2, 0.1]).astype(int)
    z = rng.normal(size=(4, 60, 3)) + Y
    w = rng.uniform(0, 2, 60) if weighted else None
    scorer = get_scorer(name)
    bulk = bulk_score(scorer, np.arange(3), True)
    labels = (z > 0.5).astype(int)
    found = bulk(Y, z if bulk.response == "scores" else labels, w, 3)
    function, kwargs = scorer._score_func, scorer._kwargs
    for k in range(4):
        given = z[k] if bulk.response == "scores" else labels[k]
        np.testing.assert_allclose(
            found[k], function(Y, given, sample_weight=w, **kwargs), **TOLERANCE
        )


def test_scorers_without_a_bulk_form_are_left_to_scikit_learn():
    assert bulk_score(get_scorer("top_k_accuracy"), np.arange(2), False) is None
    assert bulk_score(get_scorer("f1"), np.array(["a", "b"]), False) is None  # needs pos_label
    assert bulk_score(get_scorer("roc_auc_ovr"), np.arange(3), False) is None
    assert bulk_score(lambda e, X, y: 0.0, np.arange(2), False) is None
    by_proba = make_scorer(metrics.average_precision_score, response_method="predict_proba")
    assert bulk_score(by_proba, np.arange(2), False) is None
    assert bulk_score(make_scorer(metrics.f1_score, pos_label="b"), np.array(["a", "b"]), False)
    assert bulk_score(get_scorer("roc_auc"), np.array(["a", "b"]), False)


METRICS = {
    "f1": _counts.Averaged(_counts.FRatio(), "binary", False),
    "balanced_accuracy": _counts.balanced_accuracy,
    "geometric_mean": _counts.geometric_mean,
    "matthews": _counts.matthews,
    "kappa": _counts.kappa,
}


def value(metric, code, decided, weight, n_classes=2):
    return float(metric(*_counts.class_counts(code, decided[None], weight, n_classes))[0])


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_binary_threshold_is_the_best_of_all(metric):
    for seed in range(4):
        code, _, p, w = data(2, seed=seed)
        for member, weight in itertools.product((0, 2, 3), (None, w)):
            proba = p[member]
            t, best = tune(CountObjective(metric, code, weight), proba)
            tried = [value(metric, code, (proba[:, 1] >= c).astype(int), weight) for c in [*np.unique(proba[:, 1]), 2.0]]  # fmt: skip
            np.testing.assert_allclose(best, max(tried), **TOLERANCE)
            np.testing.assert_allclose(value(metric, code, decide(proba, t, False), weight), best, **TOLERANCE)  # fmt: skip


@pytest.mark.parametrize(
    "metric", [_counts.balanced_accuracy, _counts.Averaged(_counts.FRatio(), "macro", False)]
)
def test_class_thresholds_reach_what_they_say_and_what_a_grid_finds(metric):
    code, _, p, w = data(3, n=60)
    for weight in (None, w):
        rule, best = tune(CountObjective(metric, code, weight), p[0])
        np.testing.assert_allclose(
            value(metric, code, decide(p[0], rule, False), weight, 3), best, rtol=1e-12
        )
        np.testing.assert_allclose(rule.sum(), 1.0)
        grid = np.exp(np.linspace(-3, 3, 41))
        found = max(
            value(metric, code, decide(p[0], np.array([1.0, a, b]), False), weight, 3)
            for a, b in itertools.product(grid, grid)
        )
        assert best >= found - 0.02  # a coordinate-wise maximum
        assert best >= value(metric, code, p[0].argmax(1), weight, 3)


def test_thresholds_of_two_classes_are_one_rule_in_two_forms():
    _, _, p, _ = data(2)
    for t in (0.2, 0.47, 0.81):
        both = decide(p, np.array([1 - t, t]), False)
        np.testing.assert_array_equal(both, decide(p, t, False))


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_label_thresholds(average):
    rng = np.random.default_rng(3)
    Y = (rng.random((40, 2)) < [0.4, 0.2]).astype(int)
    p = 1 / (1 + np.exp(-(rng.normal(size=(40, 2)) + Y)))
    metric = _counts.Averaged(_counts.FRatio(), average, True)
    rule, best = tune(CountObjective(metric, Y), p, multilabel=True)
    achieved = metrics.f1_score(Y, decide(p, rule, True), average=average)
    np.testing.assert_allclose(best, achieved, rtol=1e-12)
    tried = [
        metrics.f1_score(Y, (p >= [a, b]).astype(int), average=average, zero_division=0)
        for a, b in itertools.product(np.r_[p[:, 0], 2], np.r_[p[:, 1], 2])
    ]
    assert best >= max(tried) - (1e-12 if average == "macro" else 0.02)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_thresholds_for_costs(n_classes):
    code, _, p, w = data(n_classes)
    rng = np.random.default_rng(5)
    cost = rng.uniform(0, 1, (len(code), n_classes))
    cost[np.arange(len(code)), code] = 0.0
    for weight in (None, w):
        rule, best = tune(CostObjective(cost, weight), p[0])

        def mean_cost(rule, weight=weight):
            decided = decide(p[0], rule, False)
            return np.average(cost[np.arange(len(code)), decided], weights=weight)

        np.testing.assert_allclose(-mean_cost(rule), best, rtol=1e-10)
        if n_classes == 2:
            tried = [mean_cost(t) for t in [*np.unique(p[0][:, 1]), 2.0]]
            np.testing.assert_allclose(-best, min(tried), rtol=1e-10)
        else:
            grid = np.exp(np.linspace(-3, 3, 31))
            tried = min(mean_cost(np.array([1.0, a, b])) for a, b in itertools.product(grid, grid))
            assert -best <= tried * 1.05
