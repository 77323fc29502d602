"""Thresholds that keep a promise."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection as stock
from promise_coverage import Given, Population, measured, promise, quick
from scipy import sparse
from scipy.stats import binom, norm
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb._core.ranks import allowed, least_rows
from skimb.losses import AnyLoss
from skimb.model_selection import GuaranteedThresholdClassifier, GuaranteeWarning
from skimb.model_selection._tails import (
    bet,
    binomial_tail,
    hoeffding_bentkus,
)
from skimb.neural_network import MLPClassifier
from skimb.posthoc import PriorCorrectedClassifier

LR = LogisticRegression
COST = [[0.0, 1.0], [8.0, 0.0]]


@pytest.fixture(scope="module")
def rows():
    return make_classification(2000, 6, weights=[0.88], class_sep=1.2, random_state=0)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        1500, 6, n_classes=3, n_informative=4, weights=[0.6, 0.25], class_sep=1.5, random_state=1
    )


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [GuaranteedThresholdClassifier(LR(), constraint={"recall": 0.5}, random_state=0)],
    expected_failed_checks=lambda e: {
        "check_classifiers_train": "wants decisions for the most probable class; thresholds are other decisions",
    },
)
def test_sklearn_checks(estimator, check):
    check(estimator)


# --- golden values ---------------------------------------------------------------------------

GOLDEN = {
    (0.9, 0.05): {28: 0, 29: 1, 30: 1, 46: 2, 50: 2, 59: 2, 100: 5, 200: 13, 299: 22, 500: 39, 1000: 85},
    (0.8, 0.05): {29: 2, 30: 3, 46: 5, 50: 6, 59: 7, 100: 14, 200: 31, 299: 49, 500: 85, 1000: 179},
    (0.95, 0.05): {29: 0, 30: 0, 46: 0, 50: 0, 59: 1, 100: 2, 200: 5, 299: 9, 500: 17, 1000: 39},
    (0.9, 0.1): {29: 1, 30: 1, 46: 2, 50: 2, 59: 3, 100: 6, 200: 15, 299: 23, 500: 41, 1000: 88},
    (0.99, 0.05): {298: 0, 299: 1},
}  # fmt: skip


@pytest.mark.parametrize(("r", "delta"), GOLDEN)
def test_order_statistics(r, delta):
    for n, k in GOLDEN[r, delta].items():
        assert allowed(n, 1 - r, delta) + 1 == k, n


def test_false_alarms_and_least_rows():
    for n, a, f in ((298, 0.01, -1), (299, 0.01, 0), (1000, 0.01, 4), (1000, 0.05, 38), (5000, 0.01, 38)):  # fmt: skip
        assert allowed(n, a, 0.05) == f
    for r, n in ((0.8, 14), (0.9, 29), (0.95, 59), (0.99, 299), (0.5, 5)):
        assert least_rows(1 - r, 0.05) == n
        assert allowed(n, 1 - r, 0.05) == 0
        assert allowed(n - 1, 1 - r, 0.05) == -1
    assert least_rows(0.1, 0.1) == 22


def test_p_values_of_means():
    x = np.array([0.0] * 9 + [1.0])
    assert 1 / bet(lambda f: np.array([f(0.5 - x).sum()]), 0.5)[0] == pytest.approx(15.380520695)
    assert binomial_tail(10, 1, 0.5) == pytest.approx(0.0107421875)
    # Bentkus' term; Hoeffding's is smaller here and as valid
    assert np.e * binomial_tail(10, 1, 0.5) == pytest.approx(0.0292002933)
    kl = 0.1 * np.log(0.2) + 0.9 * np.log(1.8)
    assert hoeffding_bentkus(10, 1.0, 0.5) == pytest.approx(np.exp(-10 * kl))
    assert hoeffding_bentkus(1000, 100.0, 0.12) == pytest.approx(
        min(
            np.e * binom.cdf(100, 1000, 0.12),
            np.exp(-1000 * (0.1 * np.log(0.1 / 0.12) + 0.9 * np.log(0.9 / 0.88))),
        )
    )
    assert hoeffding_bentkus(10, 8.0, 0.5) == 1.0
    # integers survive division: 7 of 50 are not 8
    assert binomial_tail(50, 50 * (7 / 50), 0.2) == pytest.approx(binom.cdf(7, 50, 0.2))


LABELS = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 0])


def test_precision_of_ten_rows():
    X = np.linspace(0.95, 0.05, 10)[:, None]
    model = promise(X, LABELS, {"precision": 0.5}, order="guided")
    p = dict(zip(range(11), model.p_values_["precision"], strict=True))
    for cut, value in ((5, 0.03125), (6, 0.015625), (7, 0.0625), (9, 0.01953125), (10, 0.0546875)):
        assert p[cut] == pytest.approx(value)
    # honest probabilities expect most of the first five or six rows; the seventh ends the walk
    assert (X[:, 0] >= model.threshold_).sum() == 6
    # probabilities that are sure of nine rows begin there: cut 9 alone
    sure = np.r_[np.linspace(0.99, 0.91, 9), 0.01][:, None]
    model = promise(sure, LABELS, {"precision": 0.5}, order="guided")
    assert len(model.certified_) == 1
    assert (sure >= model.threshold_).sum() == 9


def test_thresholds_of_recall_and_false_alarms(rows):
    rng = np.random.default_rng(0)
    for n1, n0 in ((29, 300), (100, 500)):
        y = np.r_[np.ones(n1, int), np.zeros(n0, int)]
        s = np.r_[rng.beta(4, 2, n1), rng.beta(2, 4, n0)]
        model = promise(s[:, None], y, {"recall": 0.9})
        k = GOLDEN[0.9, 0.05][n1]
        kth = np.sort(s[y == 1])[k - 1]
        assert kth >= model.threshold_ > s[s < kth].max()
        assert model.attained_confidence_["recall"] == pytest.approx(
            1 - binom.cdf(k - 1, n1, 0.1), abs=1e-12
        )
        assert (model.certified_ <= model.threshold_).all()
        assert np.isneginf(model.certified_).any()
        alarm = promise(s[:, None], y, {"fpr": 0.05})
        f = allowed(n0, 0.05, 0.05)
        first = np.sort(s[y == 0])[::-1][f]
        assert first < alarm.certified_.min() <= s[s > first].min()
        caught = [(s[y == 1] >= t).sum() for t in (alarm.threshold_, alarm.certified_.min())]
        assert caught[0] == caught[1]  # most recall, and of several the fewest false alarms
        same = promise(s[:, None], y, {"specificity": 0.95})
        assert same.threshold_ == alarm.threshold_
        review = promise(s[:, None], y, {"review_rate": 0.2})
        assert (s >= review.certified_.min()).sum() == allowed(n1 + n0, 0.2, 0.05)


def test_one_positive_row_more():
    rng = np.random.default_rng(0)
    X, y = Population(0.1).rows(rng, 400, positives=28)
    few = promise(X, y, {"recall": 0.9})
    assert not few.promised_
    assert few.guarantee_ == "none"
    assert few.predict(X).all()
    assert few.needed_ == {"recall": 29}
    assert few.bound_["recall"] == pytest.approx(0.05 ** (1 / 28))
    X, y = Population(0.1).rows(rng, 400, positives=29)
    enough = promise(X, y, {"recall": 0.9})
    assert enough.promised_
    assert enough.guarantee_ == "exact"
    assert enough.attained_confidence_["recall"] == pytest.approx(0.9529, abs=1e-4)
    assert recall_score(y, enough.predict(X)) == 1.0
    assert enough.bound_["recall"] == pytest.approx(0.05 ** (1 / 29))


# --- invariants ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "constraint",
    [{"recall": 0.8}, {"fpr": 0.1}, {"precision": 0.5}, {"npv": 0.93}, {"accuracy": 0.8}, {"f1": 0.4}, {"cost": 0.6},
     {"recall": 0.7, "precision": 0.4}],
    ids=str,
)  # fmt: skip
def test_order_of_rows_scale_and_names_change_nothing(constraint):
    rng = np.random.default_rng(1)
    X, y = Population(0.15).rows(rng, 800)
    model = promise(X, y, constraint, cost=COST)
    assert model.promised_
    decided = model.predict(X)
    mixed = rng.permutation(len(y))
    again = promise(X[mixed], y[mixed], constraint, cost=COST)
    assert again.threshold_ == model.threshold_
    np.testing.assert_array_equal(again.predict(X), decided)
    names = np.array(["no", "yes"])
    kw = {"constraint": constraint, "cost": COST, "cv": "prefit"}
    named = GuaranteedThresholdClassifier(Given(("no", "yes")), **kw).fit(X, names[y])
    np.testing.assert_array_equal(named.predict(X), names[decided])
    ones = promise(X, y, constraint, cost=COST, sample_weight=np.full(len(y), 2.0))
    assert ones.threshold_ == model.threshold_
    assert ones.guarantee_ == model.guarantee_
    w = np.r_[np.ones(len(y)), np.zeros(50)]
    more = promise(np.r_[X, X[:50]], np.r_[y, 1 - y[:50]], constraint, cost=COST, sample_weight=w)
    assert more.threshold_ == model.threshold_


def test_other_scales_and_more_negatives():
    rng = np.random.default_rng(2)
    X, y = Population(0.15).rows(rng, 800)
    for order, constraint in (("auto", {"recall": 0.8}), ("starts", {"precision": 0.5})):
        plain = promise(X, y, constraint, order=order)
        bent = promise(X**3, y, constraint, order=order)
        np.testing.assert_array_equal(bent.predict(X**3), plain.predict(X))
    plain = promise(X, y, {"recall": 0.8})
    negative = y == 0
    twice = promise(np.r_[X, X[negative]], np.r_[y, y[negative]], {"recall": 0.8})
    assert twice.threshold_ == plain.threshold_


def test_a_mirrored_problem_gives_mirrored_decisions():
    rng = np.random.default_rng(3)
    X, y = Population(0.4).rows(rng, 600)
    for one, other in (("npv", "precision"), ("specificity", "recall")):
        left = promise(X, y, {one: 0.75}, objective="accuracy")
        right = promise(1 - X, 1 - y, {other: 0.75}, objective="accuracy")
        np.testing.assert_array_equal(left.predict(X), 1 - right.predict(1 - X))
        named = promise(X, y, {other: {0: 0.75}}, objective="accuracy", pos_label=1)
        np.testing.assert_array_equal(named.predict(X), left.predict(X))


def test_objectives_choose_among_what_is_certified(rows):
    X, y = Population(0.2).rows(np.random.default_rng(4), 1000)
    plain = promise(X, y, {"recall": 0.6})
    assert plain.threshold_ == plain.certified_.max()
    for objective in ("f1", "balanced_accuracy", "accuracy", "cost", "precision"):
        model = promise(X, y, {"recall": 0.6}, objective=objective, cost=COST)
        np.testing.assert_array_equal(model.certified_, plain.certified_)
        assert model.threshold_ in model.certified_

    def f1(t):
        flagged = X[:, 0] >= t
        return 2 * (y * flagged).sum() / (flagged.sum() + y.sum())

    best = promise(X, y, {"recall": 0.6}, objective="f1")
    assert f1(best.threshold_) == pytest.approx(max(f1(t) for t in best.certified_))
    with pytest.raises(ValueError, match="objective='roc_auc' is no metric of counts"):
        promise(X, y, {"recall": 0.6}, objective="roc_auc")


def test_constraints_hold_together():
    X, y = Population(0.2, 3.0).rows(np.random.default_rng(5), 2000)
    both = promise(X, y, {"recall": 0.8, "fpr": 0.1})
    single = [promise(X, y, c, confidence=0.975) for c in ({"recall": 0.8}, {"fpr": 0.1})]
    wanted = set(single[0].certified_) & set(single[1].certified_)
    assert set(both.certified_) == wanted
    uneven = promise(X, y, {"recall": 0.8, "fpr": 0.1}, confidence={"recall": 0.99, "fpr": 0.96})
    assert uneven.needed_ == {"recall": least_rows(0.2, 0.01), "fpr": least_rows(0.1, 0.04)}
    with pytest.raises(ValueError, match=r"confidence=.* for each of the constraints"):
        promise(X, y, {"recall": 0.8, "fpr": 0.1}, confidence={"recall": 0.9})


@pytest.mark.parametrize("order", ["guided", "starts", "betting"])
def test_orders_of_precision(order):
    X, y = Population(0.2, 2.5).rows(np.random.default_rng(6), 2000)
    model = promise(X, y, {"precision": 0.7}, order=order)
    assert model.guarantee_ == "conditional"
    assert precision_score(y, model.predict(X)) > 0.7
    assert recall_score(y, model.predict(X)) > 0.5


def test_precision_from_training_scores_is_exact(rows):
    X, y = rows
    model = GuaranteedThresholdClassifier(
        LR(), constraint={"precision": 0.6}, order="training", random_state=0
    ).fit(X, y)
    assert model.guarantee_ == "exact"
    # the thresholds are out-of-fold scores of the training part: calibration rows do not move them
    train, _ = next(stock.StratifiedShuffleSplit(1, test_size=0.5, random_state=0).split(X, y))
    p = stock.cross_val_predict(LR(), X[train], y[train], cv=5, method="predict_proba")[:, 1]
    inner = np.unique(p)
    np.testing.assert_allclose(model.thresholds_[1:-1], (0.5 * (inner[1:] + inner[:-1]))[::-1])
    for constraint in ({"cost": 0.5}, {"f1": 0.4}, {"accuracy": 0.85}):
        other = GuaranteedThresholdClassifier(
            LR(), constraint=constraint, order="training", cost=COST, random_state=0
        ).fit(X, y)
        assert other.guarantee_ == "exact"


# --- rows that are no independent rows, and weights --------------------------------------------


def test_groups_are_the_units():
    rng = np.random.default_rng(7)
    X, y = Population(0.3).rows(rng, 1200)
    single = promise(X, y, {"recall": 0.8}, groups=np.arange(1200))
    rowwise = promise(X, y, {"recall": 0.8})
    assert single.threshold_ <= rowwise.threshold_  # Hoeffding-Bentkus in place of counts
    groups = np.arange(1200) // 12
    model = promise(X, y, {"recall": 0.8}, groups=groups)
    assert model.n_calibration_["groups"] == 100
    assert model.guarantee_ == "exact"
    found = [X[(groups == g) & (y == 1), 0] >= model.threshold_ for g in np.unique(groups)]
    mean = np.mean([part.mean() for part in found if len(part)])
    assert model.estimate_["recall"][0] == pytest.approx(mean)
    copies = np.repeat(np.arange(40), 30)
    same = promise(X[copies], y[copies], {"recall": 0.9}, groups=copies)
    assert not same.promised_  # some twelve positive units, however often they are repeated
    assert promise(X[copies], y[copies], {"recall": 0.9}).promised_
    held = GuaranteedThresholdClassifier(LR(), constraint={"recall": 0.5}, random_state=0)
    Z, t = make_classification(600, 5, weights=[0.7], random_state=0)
    for cv in (0.5, 5):
        held.set_params(cv=cv).fit(Z, t, groups=np.arange(600) // 4)
        assert held.n_calibration_["groups"] == (75 if cv == 0.5 else 150)


def test_every_group_gets_its_own_promise(rows):
    rng = np.random.default_rng(8)
    X, y = Population(0.3).rows(rng, 1500)
    groups = np.array(["a", "b", "c"])[
        (np.arange(1500) >= 700).astype(int) + (np.arange(1500) >= 1470)
    ]
    with pytest.warns(GuaranteeWarning, match="group 'c': recall >= 0.9 cannot be promised"):
        model = GuaranteedThresholdClassifier(
            Given(), constraint={"recall": 0.9}, cv="prefit", per_group=True
        ).fit(X, y, groups=groups)
    assert model.unpromised_groups_ == ["c"]
    assert (
        model.group_thresholds_["c"]
        == model.threshold_
        == promise(X, y, {"recall": 0.9}).threshold_
    )
    a = groups == "a"
    alone = promise(X[a], y[a], {"recall": 0.9}, confidence=1 - 0.05 / 3)
    assert model.group_thresholds_["a"] == alone.threshold_
    each = promise(X, y, {"recall": 0.9}, per_group=True, simultaneous=False, groups=groups)
    assert each.group_thresholds_["a"] == promise(X[a], y[a], {"recall": 0.9}).threshold_
    decided = model.predict(X, groups=groups)
    np.testing.assert_array_equal(decided[a], X[a, 0] >= model.group_thresholds_["a"])
    strange = model.predict(X, groups=np.full(1500, "new"))
    np.testing.assert_array_equal(strange, X[:, 0] >= model.threshold_)
    with pytest.raises(ValueError, match="predict needs groups="):
        model.predict(X)
    with pytest.raises(ValueError, match="per_group=True needs groups="):
        promise(X, y, {"recall": 0.9}, per_group=True)
    with pytest.raises(ValueError, match="predict takes no groups"):
        alone.predict(X, groups=groups)


def test_weights_are_importance_not_counts():
    rng = np.random.default_rng(9)
    X, y = Population(0.4).rows(rng, 1500)
    w = np.exp(rng.normal(0, 0.5, 1500)).clip(max=3)
    with pytest.warns(GuaranteeWarning, match="not as counts: 1500 rows count as"):
        kish = GuaranteedThresholdClassifier(Given(), constraint={"recall": 0.8}, cv="prefit").fit(
            X, y, sample_weight=w
        )
    assert kish.guarantee_ == "approximate"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bets = {
            exact: GuaranteedThresholdClassifier(
                Given(), constraint={"recall": 0.8}, cv="prefit", exact_weights=exact
            ).fit(X, y, sample_weight=w)
            for exact in (True, 3.0, 6.0)
        }
    assert [m.guarantee_ for m in bets.values()] == ["conditional", "exact", "exact"]
    assert len({m.threshold_ for m in bets.values()}) > 1
    for model in (kish, *bets.values()):
        assert recall_score(y, model.predict(X), sample_weight=w) > 0.8
    with pytest.raises(ValueError, match="exact_weights=1 bounds the weights, but the largest"):
        promise(X, y, {"recall": 0.8}, exact_weights=1.0, sample_weight=w)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        promise(X, y, {"recall": 0.8}, sample_weight=-w)


# --- classes and labels ------------------------------------------------------------------------


def test_one_class_of_several(three):
    X, y = three
    words = np.array(["a", "b", "rare"])
    model = GuaranteedThresholdClassifier(
        LR(), constraint={"recall": {"rare": 0.8}}, random_state=0
    ).fit(X, words[y])
    assert model.guarantee_ == "exact"
    decided = model.predict(X)
    p = model.predict_proba(X)
    np.testing.assert_array_equal(decided, words[(p / model.threshold_).argmax(1)])
    assert recall_score(y == 2, decided == "rare") > 0.8
    scores = GuaranteedThresholdClassifier(
        LinearSVC(), constraint={"precision": {"rare": 0.4}}, random_state=0
    ).fit(X, words[y])
    np.testing.assert_array_equal(
        scores.predict(X), words[(scores.decision_function(X) - scores.threshold_).argmax(1)]
    )
    for bad, said in (({"recall": 0.8}, "name the class"), ({"recall": {"a": 0.8, "b": 0.8}}, "one class of several"), ({"recall": {"z": 0.8}}, r"names \['z'\]")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            clone(model).set_params(constraint=bad).fit(X, words[y])


def test_labels_are_problems_of_their_own():
    X, Y = make_multilabel_classification(1500, 8, n_classes=3, random_state=0)
    base = OneVsRestClassifier(LR())
    model = GuaranteedThresholdClassifier(base, constraint={"recall": 0.8}, random_state=0)
    model.fit(X, Y)
    assert model.threshold_.shape == (3,)
    assert model.needed_[0] == {"recall": least_rows(0.2, 0.05 / 3)}
    np.testing.assert_array_equal(model.predict(X), model.predict_proba(X) >= model.threshold_)
    thin = clone(model).fit(X, sparse.csr_matrix(Y))
    np.testing.assert_array_equal(thin.threshold_, model.threshold_)
    apart = clone(model).set_params(simultaneous=False).fit(X, Y)
    assert (apart.threshold_ >= model.threshold_).all()
    one = clone(model).set_params(constraint={"recall": {1: 0.8}}).fit(X, Y)
    assert one.threshold_[1] == apart.threshold_[1]
    assert one.threshold_[0] == 0.5
    P = model.predict_proba(X)
    alone = promise(P[:, [1]], Y[:, 1], {"recall": 0.8})
    among = GuaranteedThresholdClassifier(
        Given((0, 1, 2)), constraint={"recall": {1: 0.8}}, cv="prefit"
    ).fit(P, Y)
    assert among.threshold_[1] == alone.threshold_


# --- rows held out -----------------------------------------------------------------------------


def test_ways_to_hold_rows_out(rows):
    X, y = rows
    model = GuaranteedThresholdClassifier(LR(), constraint={"recall": 0.8}, random_state=3)
    half = clone(model).fit(X, y)
    train, test = next(stock.StratifiedShuffleSplit(1, test_size=0.5, random_state=3).split(X, y))
    fitted = LR().fit(X[train], y[train])
    np.testing.assert_array_equal(half.predict_proba(X), fitted.predict_proba(X))
    given = clone(model).set_params(estimator=fitted, cv="prefit").fit(X[test], y[test])
    assert given.threshold_ == half.threshold_
    assert given.guarantee_ == half.guarantee_ == "exact"
    assert given.estimator_ is not None
    fresh = clone(model).fit(X, y).calibrate(X[test], y[test])
    assert fresh.threshold_ == half.threshold_
    folds = clone(model).set_params(cv=StratifiedKFold(5)).fit(X, y)
    p = stock.cross_val_predict(LR(), X, y, cv=StratifiedKFold(5), method="predict_proba")
    assert folds.guarantee_ == "approximate"
    assert folds.threshold_ == promise(p[:, [1]], y, {"recall": 0.8}).threshold_
    np.testing.assert_array_equal(folds.predict_proba(X), LR().fit(X, y).predict_proba(X))
    assert clone(model).set_params(refit=True).fit(X, y).guarantee_ == "approximate"
    assert folds.calibrate(X[test], y[test]).guarantee_ == "exact"
    for params, said in (
        ({"cv": 5, "refit": False}, "refit=False with 5 folds"),
        ({"cv": "prefit", "refit": True, "estimator": fitted}, "nothing is fitted"),
        ({"cv": stock.RepeatedStratifiedKFold(n_splits=2, n_repeats=2)}, "more than once"),
        ({"cv": 5, "order": "training"}, "needs rows that are not tested on"),
        ({"order": "betting", "constraint": {"accuracy": 0.6}}, "order='betting' is for precision"),
        ({"order": "guided", "estimator": LinearSVC()}, "needs probabilities"),
    ):
        with pytest.raises(ValueError, match=said):
            clone(model).set_params(**params).fit(X, y)


def test_orders_follow_the_probabilities(rows):
    X, y = rows
    net = MLPClassifier((), loss=AnyLoss("f1"), max_iter=3, tol=0.0, random_state=0)
    kw = {"constraint": {"precision": 0.3}, "random_state": 0, "unmet": "tune"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuaranteeWarning)
        for base, order in ((LR(), "guided"), (net, "starts"), (LinearSVC(), "starts")):
            pipe = make_pipeline(StandardScaler(), base)
            auto, named = (
                GuaranteedThresholdClassifier(pipe, order=o, **kw).fit(X, y)
                for o in ("auto", order)
            )
            np.testing.assert_array_equal(auto.certified_, named.certified_)


@pytest.mark.parametrize("names", [[1, 2], [-1, 1], [False, True], np.array(["no", "yes"], object)])
def test_labels_are_taken_as_given(rows, names):
    X, y = rows
    labels = np.array(names)[y]
    weights = {names[0]: 1.0, names[1]: 5.0}
    kw = {"constraint": {"recall": 0.8}, "random_state": 0}
    named = GuaranteedThresholdClassifier(LR(class_weight=weights), **kw).fit(X, labels)
    plain = GuaranteedThresholdClassifier(LR(class_weight={0: 1.0, 1: 5.0}), **kw).fit(X, y)
    assert named.threshold_ == plain.threshold_
    np.testing.assert_array_equal(named.predict(X), np.array(names)[plain.predict(X)])
    by_name = {"constraint": {"recall": {names[1]: 0.8}}, "random_state": 0}
    other = GuaranteedThresholdClassifier(LR(class_weight=weights), **by_name).fit(X, labels)
    assert other.threshold_ == named.threshold_
    first = {"constraint": {"recall": 0.8}, "pos_label": names[0], "random_state": 0}
    turned = GuaranteedThresholdClassifier(LR(), **first).fit(X, labels)
    assert recall_score(y == 0, turned.predict(X) == names[0]) > 0.8


def test_frames_pickles_and_routing(rows):
    X, y = rows
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = GuaranteedThresholdClassifier(LR(), constraint={"recall": 0.8}, random_state=0)
    fitted = clone(model).fit(frame, y)
    assert fitted.feature_names_in_.tolist() == list("abcdef")
    before = fitted.predict(frame)
    fitted.set_params(constraint={"fpr": 0.01}, pos_label=0, per_group=True, confidence=None)
    for now in (fitted, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(now.predict(frame), before)
    w = np.where(y == 1, 2.0, 1.0)
    kw = {"sample_weight": w, "groups": np.arange(len(y)) // 4}
    plain = clone(model).fit(X, y, **kw)
    with config_context(enable_metadata_routing=True):
        asked = clone(model).set_params(estimator=LR().set_fit_request(sample_weight=True))
        routed = asked.fit(X, y, **kw)
    np.testing.assert_array_equal(routed.predict(X), plain.predict(X))
    folds = clone(model).set_params(cv=stock.GroupKFold(3))
    plain = clone(folds).fit(X, y, groups=kw["groups"])
    with config_context(enable_metadata_routing=True):
        routed = clone(folds).fit(X, y, groups=kw["groups"])
    assert routed.threshold_ == plain.threshold_
    found = stock.GridSearchCV(model, {"estimator__C": [0.1, 1.0]}, cv=2).fit(X, y)
    assert 0 < found.best_score_ < 1


def test_priors_are_found_inside(rows):
    X, y = rows
    base = GuaranteedThresholdClassifier(
        LR(class_weight="balanced"), constraint={"recall": 0.8}, random_state=0
    )
    corrected = PriorCorrectedClassifier(base).fit(X, y)
    np.testing.assert_allclose(corrected.trained_prior_, [0.5, 0.5])


# --- what is said ------------------------------------------------------------------------------


def test_what_cannot_be_promised_is_said_with_a_cure():
    X, y = make_classification(800, 5, weights=[0.955], flip_y=0, class_sep=1.0, random_state=0)
    n1 = int(y.sum())
    model = GuaranteedThresholdClassifier(LR(), constraint={"recall": 0.9}, cv=0.3, random_state=0)
    with pytest.warns(GuaranteeWarning) as seen:
        model.fit(X, y)
    held = model.n_calibration_["positive"]
    assert str(seen[0].message) == (
        f"recall >= 0.9 cannot be promised with confidence 0.95: {held} positive rows were held out, 29 are needed even "
        f"if none is missed. Use all {n1} positive rows with cv=5 (approximate), or promise "
        f"{np.floor(20 * 0.05 ** (1 / held)) / 20:g} ({held} rows allow at most {0.05 ** (1 / held):.3f}). "
        "All rows are flagged."
    )
    assert seen[0].filename == __file__
    with pytest.warns(GuaranteeWarning, match="All 20 positive rows together are too few"):
        clone(model).fit(np.r_[X[y == 0], X[y == 1][:20]], np.r_[y[y == 0], y[y == 1][:20]])
    X, y = Population(0.2).rows(np.random.default_rng(0), 1000)
    with pytest.warns(GuaranteeWarning, match="Hold out more of the 193 positive rows with cv=0.2"):
        clone(model).set_params(cv=0.05).fit(np.c_[X, X], y)
    with pytest.raises(ValueError, match=r"recall >= 0.9 cannot be promised"):
        clone(model).set_params(cv=0.01, unmet="raise").fit(np.c_[X, X], y)
    nine = np.array([1, 1, 1, 0, 1, 1, 0, 1, 1] + [0] * 11)
    s = np.linspace(0.9, 0.1, 20)[:, None]
    with pytest.warns(
        GuaranteeWarning,
        match=r"the best cut flags 9 rows of which 7 are right \(p = 0.0898 > 0.05\)",
    ):
        GuaranteedThresholdClassifier(Given(), constraint={"precision": 0.5}, cv="prefit").fit(
            s, nine
        )
    with pytest.warns(GuaranteeWarning, match=r"recall >= 0.9 needs a threshold of at most 0.*, review_rate <= 0.05 one of at least 0.*: they cannot be promised together"):  # fmt: skip
        GuaranteedThresholdClassifier(
            Given(), constraint={"recall": 0.9, "review_rate": 0.05}, cv="prefit"
        ).fit(X, y)


def test_without_a_promise_the_estimates_are_kept():
    X, y = Population(0.3).rows(np.random.default_rng(1), 60)
    tuned = promise(X, y, {"precision": 0.9}, unmet="tune")
    plain = promise(X, y, {"precision": 0.9}, confidence=None)
    assert plain.guarantee_ == tuned.guarantee_ == "none"
    assert not plain.promised_
    assert not tuned.promised_
    assert tuned.threshold_ == plain.threshold_
    assert precision_score(y, plain.predict(X)) >= 0.9
    flagged = X[:, 0][:, None] >= plain.thresholds_
    hits = (flagged & (y[:, None] == 1)).sum(0)
    good = hits >= 0.9 * np.maximum(flagged.sum(0), 1)
    assert recall_score(y, plain.predict(X)) == pytest.approx(hits[good].max() / y.sum())
    # 1 - 0.9 is less than a tenth to a computer: one of ten may be missed
    ten = np.r_[np.ones(10, int), np.zeros(10, int)]
    s = np.r_[0.1, np.linspace(0.5, 0.9, 9), np.linspace(0.2, 0.4, 10)][:, None]
    assert recall_score(ten, promise(s, ten, {"recall": 0.9}, confidence=None).predict(s)) == 0.9
    with pytest.warns(GuaranteeWarning, match="no threshold keeps precision >= 1 .*; the best is"):
        GuaranteedThresholdClassifier(
            Given(), constraint={"precision": 1.0}, cv="prefit", confidence=None
        ).fit(s, ten[::-1])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"constraint": {}}, "promises nothing"),
        ({"constraint": {"sensitivity": 0.9}}, "constraint names 'sensitivity'; there are recall"),
        ({"constraint": {"recall": 1.2}}, "recall=1.2 cannot be promised: it must lie between 0 and 1"),
        ({"constraint": {"recall": 1.0}}, "no number of rows tells that of every row to come"),
        ({"constraint": {"recall": "much"}}, "must hold one finite number"),
        ({"constraint": {"recall": float("nan")}}, "must hold one finite number"),
        ({"constraint": {"cost": 0.5}}, "'cost' needs the costs"),
        ({"constraint": {"cost": 9.0}, "cost": COST}, "cost <= 9 says nothing: decisions cost between 0 and 8"),
        ({"constraint": {"cost": 0.5}, "cost": [[0.0, 1.0]]}, r"cost must have shape \(2, 2\)"),
        ({"constraint": {"fpr": {0: 0.1, 1: 0.1}}}, "only recall, specificity, precision and npv"),
        ({"constraint": {"recall": {0: 0.9, 1: 0.8}, "specificity": 0.9}}, "specificity of 1 twice"),
        ({"pos_label": 7}, "pos_label=7 must be one of two classes"),
    ],
)  # fmt: skip
def test_bad_parameters(params, said):
    X, y = Population(0.3).rows(np.random.default_rng(1), 200)
    kw = {"constraint": {"recall": 0.8}, "cv": "prefit", **params}
    with pytest.raises(ValueError, match=said):
        GuaranteedThresholdClassifier(Given(), **kw).fit(X, y)


def test_bad_rows():
    X, y = Population(0.3).rows(np.random.default_rng(1), 200)
    model = GuaranteedThresholdClassifier(Given(), constraint={"recall": 0.8}, cv="prefit")
    holes = X.copy()
    holes[:3] = np.nan
    with pytest.raises(ValueError, match="gives NaN in 3 of 200 calibration rows"):
        model.fit(holes, y)
    with pytest.raises(ValueError, match=r"calibration rows hold no row of the classes \[1\]"):
        model.fit(X[y == 0], y[y == 0])
    with pytest.raises(ValueError, match=r"y holds the classes \[2\]"):
        model.fit(X, y + 1)
    with pytest.warns(GuaranteeWarning, match="All calibration rows have the same score"):
        flat = model.fit(np.full_like(X, 0.3), y)
    assert flat.promised_
    assert flat.predict(X).all()
    with pytest.raises(ValueError, match="only one class"):
        GuaranteedThresholdClassifier(LR(), constraint={"recall": 0.8}).fit(X, 0 * y)


# --- coverage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", [{"recall": 0.8}, {"precision": 0.5}, {"cost": 0.8}])
def test_simulations_decide_as_the_classifier_does(constraint):
    X, y = Population(0.15).rows(np.random.default_rng(1), 800)
    for order in ("guided", "starts"):
        model = promise(X, y, constraint, cost=COST, order=order)
        assert quick(X, y, constraint, cost=COST, order=order).threshold == model.threshold_


def near(share, theory, n):
    return abs(share - theory) <= 3 * np.sqrt(theory * (1 - theory) / n)


@pytest.mark.slow
@pytest.mark.parametrize("n1", [29, 50, 100])
def test_recall_is_missed_as_often_as_theory_says(n1):
    people = Population(0.1)
    theory = binom.cdf(GOLDEN[0.9, 0.05][n1] - 1, n1, 0.1)
    draw = lambda rng: people.rows(rng, n1 + 500, n1)  # noqa: E731
    found = measured(draw, {"recall": 0.9}, 2000, people.truth, seed=n1)
    assert found[0] == 1.0
    assert near(found[1], theory, 2000), (found, theory)


@pytest.mark.slow
def test_ties_only_make_it_safer():
    people = Population(0.1)

    def truth(t):
        """A threshold between points of the grid flags what rounds to a higher one."""
        x = people.place(t)
        up = np.ceil(x / 0.5) * 0.5 - 0.25 if np.isfinite(x) else x
        return {"recall": norm.sf(up - people.distance)}

    draw = lambda rng: people.rows(rng, 550, 50, 0.5)  # noqa: E731
    found = measured(draw, {"recall": 0.9}, 1000, truth)
    assert found[1] <= binom.cdf(GOLDEN[0.9, 0.05][50] - 1, 50, 0.1)


@pytest.mark.slow
def test_false_alarms_are_exceeded_as_often_as_theory_says():
    people, rng = Population(0.1), np.random.default_rng(0)
    theory = binom.cdf(38, 1000, 0.05)
    loosest = [
        quick(*people.rows(rng, 1100, 100), {"fpr": 0.05}).certified.min() for _ in range(2000)
    ]
    exceeded = np.mean([people.truth(t)["fpr"] > 0.05 for t in loosest])
    assert near(exceeded, theory, 2000), (exceeded, theory)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["guided", "starts", "betting"])
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_precision_is_seldom_promised_falsely_where_it_is_just_missed_everywhere(order, p):
    def draw(rng):
        s = rng.random(400)
        return s[:, None], (rng.random(400) < p).astype(int)

    truth = lambda t: {"precision": p - 1e-9, "recall": 0.0}  # noqa: E731
    false = measured(draw, {"precision": p}, 2000, truth, order=order)[1]
    assert false <= 0.05 + 0.0146


@pytest.mark.slow
@pytest.mark.parametrize(
    "constraint", [{"npv": 0.97}, {"accuracy": 0.945}, {"f1": 0.62}, {"cost": 0.25}], ids=str
)
def test_means_are_seldom_promised_falsely(constraint):
    people = Population(0.1)
    kw = {"cost": COST}
    truth = lambda t: people.truth(t, COST)  # noqa: E731
    draw = lambda rng: people.rows(rng, 600)  # noqa: E731
    assert measured(draw, constraint, 1000, truth, **kw)[1] <= 0.05 + 0.021


@pytest.mark.slow
def test_out_of_fold_promises_hold_in_simulations():
    people, missed = Population(0.06, 1.5), 0
    rng = np.random.default_rng(0)
    model = GuaranteedThresholdClassifier(LR(), constraint={"recall": 0.9}, cv=5)
    for _ in range(200):
        y = (np.arange(1000) < 60).astype(int)
        X = rng.normal(size=(1000, 10))
        X[:, 0] += people.distance * y
        model.fit(X, y)
        coef, b = model.estimator_.coef_[0], model.estimator_.intercept_[0]
        cut = np.log(model.threshold_ / (1 - model.threshold_)) if model.threshold_ > 0 else -np.inf
        size = np.linalg.norm(coef)
        recall = 1 - norm.cdf((cut - b - people.distance * coef[0]) / size)
        missed += recall < 0.9
    assert missed <= 20


def test_train_test_split_is_a_prefit(rows):
    X, y = rows
    X_fit, X_cal, y_fit, y_cal = train_test_split(X, y, stratify=y, random_state=0)
    model = LR().fit(X_fit, y_fit)
    safe = GuaranteedThresholdClassifier(model, constraint={"recall": 0.8}, cv="prefit")
    assert safe.fit(X_cal, y_cal).estimator_ is model
