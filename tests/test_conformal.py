"""Sets of classes with a promise to each class."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, norm
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, ShuffleSplit, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb._core.ranks import own_class_rank, rows_needed
from skimb.linear_model import LinearClassifier
from skimb.metrics import set_table
from skimb.posthoc import ClassConditionalConformalClassifier

OWN = np.array([0.02, 0.10, 0.15, 0.22, 0.30, 0.35, 0.41, 0.48, 0.55, 0.62, 0.71, 0.90])


class Column(ClassifierMixin, BaseEstimator):
    """Answers the first column of the rows as the probability of class 1."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])


def calibrated(own, **kw):
    """Sets from rows of class 1 with these probabilities, and a hundred of class 0."""
    p = np.r_[own, np.linspace(0.001, 0.5, 100)]
    y = np.r_[np.ones(len(own), int), np.zeros(100, int)]
    model = ClassConditionalConformalClassifier(Column().fit(None, None), cv="prefit", **kw)
    return model.fit(p[:, None], y)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        900, 6, n_classes=3, n_informative=4, weights=[0.7, 0.2], class_sep=0.8, random_state=1
    )


@parametrize_with_checks(
    [
        ClassConditionalConformalClassifier(LogisticRegression(), cv=2),
        ClassConditionalConformalClassifier(LogisticRegression(), cv=0.5, random_state=0),
    ]
)
@pytest.mark.filterwarnings("ignore:Every set holds:UserWarning")
def test_sklearn_checks(estimator, check):
    check(estimator)


# --- golden values ---------------------------------------------------------------------------------

RANKS = {8: (0, 0, 0, 0), 9: (1, 0, 0, 0), 12: (1, 0, 0, 0), 19: (2, 0, 1, 0), 29: (3, 1, 1, 0), 50: (5, 2, 2, 0), 100: (10, 5, 5, 2), 500: (50, 39, 25, 17)}  # fmt: skip
MEANS = {9: 0.9, 12: 0.9231, 19: 0.9, 29: 0.9, 50: 0.902, 100: 0.901, 500: 0.9002}
LOW = {9: 0.7169, 12: 0.7791, 19: 0.7736, 29: 0.7984, 50: 0.8262, 100: 0.8482, 500: 0.8773}


@pytest.mark.parametrize("n", RANKS)
def test_ranks(n):
    pairs = [(0.1, None), (0.1, 0.95), (0.05, None), (0.05, 0.95)]
    assert tuple(own_class_rank(n, a, c) for a, c in pairs) == RANKS[n]


def test_ranks_of_whole_numbers_are_not_lost_to_rounding():
    for n in range(9, 2000, 10):
        for tenth in range(1, 10):
            assert own_class_rank(n, tenth / 10) == tenth * (n + 1) // 10
    for alpha, confidence, n in ((0.1, None, 9), (0.05, None, 19), (0.2, None, 4), (0.1, 0.95, 29)):
        assert rows_needed(alpha, confidence) == n
        assert own_class_rank(n, alpha, confidence) == 1
        assert own_class_rank(n - 1, alpha, confidence) == 0


@pytest.mark.parametrize("n", MEANS)
def test_coverage_of_a_calibration_set(n):
    model = calibrated(np.linspace(0.1, 0.9, n))
    assert model.counts_.tolist() == [100, n]
    assert model.coverage_[1] == pytest.approx(MEANS[n], abs=5e-5)
    assert model.coverage_interval_[1, 0] == pytest.approx(LOW[n], abs=5e-5)


@pytest.mark.parametrize(("alpha", "threshold"), [(0.1, 0.02), (0.2, 0.10), (0.3, 0.15)])
@pytest.mark.parametrize("weight", [None, 2.5])
def test_thresholds_of_twelve_rows(alpha, threshold, weight):
    own = np.random.default_rng(0).permutation(OWN)
    weights = {} if weight is None else {"sample_weight": np.full(112, weight)}
    p, y = np.r_[own, np.linspace(0.001, 0.5, 100)], np.r_[np.ones(12, int), np.zeros(100, int)]
    model = ClassConditionalConformalClassifier(Column().fit(None, None), alpha=alpha, cv="prefit")
    model.fit(p[:, None], y, **weights)
    assert model.thresholds_[1] == threshold
    below = np.nextafter(threshold, 0)
    assert model.predict_set(np.array([[below], [threshold]]))[:, 1].tolist() == [False, True]


def test_p_values_of_twelve_rows():
    new = np.array([[0.01], [0.02], [0.12], [0.5], [0.95]])
    p = calibrated(OWN).p_values(new)[:, 1]
    np.testing.assert_allclose(p, np.array([1, 2, 3, 9, 13]) / 13)


def test_too_few_rows_are_in_every_set():
    with pytest.warns(UserWarning, match=r"1 \(12 rows, at least 19 needed\)"):
        model = calibrated(OWN, alpha=0.05)
    assert model.always_.tolist() == [False, True]
    assert model.thresholds_[1] == -np.inf
    assert model.coverage_[1] == 1.0
    assert model.predict_set(np.zeros((1, 1)))[0, 1]
    assert calibrated(OWN, alpha={0: 0.05, 1: 0.1}).alpha_.tolist() == [0.05, 0.1]


def test_a_promise_about_this_calibration_set():
    assert calibrated(OWN, alpha=0.3, confidence=0.95).thresholds_[1] == 0.02
    for alpha in (0.1, 0.2):
        with pytest.warns(UserWarning, match="with confidence 0.95"):
            assert calibrated(OWN, alpha=alpha, confidence=0.95).always_[1]


# --- properties ------------------------------------------------------------------------------------


def test_sets_are_the_p_values_above_alpha(three):
    X, y = three
    for cv in (3, 0.4):
        for conformity in ("probability", "margin"):
            model = ClassConditionalConformalClassifier(
                LogisticRegression(), alpha=0.15, conformity=conformity, cv=cv, random_state=0
            ).fit(X, y)
            np.testing.assert_array_equal(model.predict_set(X), model.p_values(X) > 0.15)


def test_p_values_of_folds_by_hand(three):
    X, y = three
    new = X[::7] + 0.1
    model = ClassConditionalConformalClassifier(LogisticRegression(), cv=4).fit(X, y)
    count = np.zeros((len(new), 3))
    for train, test in StratifiedKFold(4).split(X, y):
        fold = LogisticRegression().fit(X[train], y[train])
        held, asked = fold.predict_proba(X[test]), fold.predict_proba(new)
        for k in range(3):
            own = held[y[test] == k, k]
            count[:, k] += (own[:, None] <= asked[:, k]).sum(0)
    np.testing.assert_allclose(model.p_values(new), (1 + count) / (1 + np.bincount(y)))
    np.testing.assert_array_equal(
        model.predict_proba(new), LogisticRegression().fit(X, y).predict_proba(new)
    )
    assert model.thresholds_ is None


def test_margin_by_hand(three):
    X, y = three
    inner = LogisticRegression().fit(X[:450], y[:450])
    model = ClassConditionalConformalClassifier(inner, conformity="margin", cv="prefit")
    model.fit(X[450:], y[450:])
    logs = np.log(inner.predict_proba(X[450:]))
    for k in range(3):
        margin = logs[:, k] - np.delete(logs, k, 1).max(1)
        own = np.sort(margin[y[450:] == k])
        assert model.thresholds_[k] == pytest.approx(own[own_class_rank(len(own), 0.1) - 1])


def test_more_rows_of_other_classes_change_nothing(three):
    """Coverage is promised to each class, so shares of classes do not matter."""
    X, y = three
    inner = FrozenEstimator(LogisticRegression().fit(X[:450], y[:450]))
    rows = np.r_[np.arange(450, 900), np.repeat(450 + np.flatnonzero(y[450:] == 0), 9)]
    plain = ClassConditionalConformalClassifier(inner).fit(X[450:], y[450:])
    more = ClassConditionalConformalClassifier(inner).fit(X[rows], y[rows])
    np.testing.assert_array_equal(plain.thresholds_[1:], more.thresholds_[1:])
    np.testing.assert_array_equal(plain.p_values(X)[:, 1:], more.p_values(X)[:, 1:])


def test_names_and_order_of_classes_do_not_matter(three):
    X, y = three
    model = ClassConditionalConformalClassifier(LogisticRegression(tol=1e-10, max_iter=500), cv=3)
    names, at = np.array(["pear", "apple", "fig"]), [1, 2, 0]
    plain, named = clone(model).fit(X, y), clone(model).fit(X, names[y])
    assert named.classes_.tolist() == ["apple", "fig", "pear"]
    same = named.predict_set(X) == plain.predict_set(X)[:, at]
    assert (
        same.mean() > 0.999
    )  # logistic regression depends on the order of its classes by rounding


def test_weights(three):
    X, y = three
    inner = FrozenEstimator(LogisticRegression().fit(X[:450], y[:450]))
    w = np.random.default_rng(0).uniform(0.5, 3.0, 450)
    model = ClassConditionalConformalClassifier(inner).fit(X[450:], y[450:], sample_weight=w)
    p, own = inner.predict_proba(X[:20]), inner.predict_proba(X[450:])
    for k in range(3):
        of = y[450:] == k
        below = np.array([w[of][own[of, k] <= v].sum() for v in p[:, k]])
        for given, new in ((None, w[of].max()), (np.full(20, 0.7), 0.7)):
            found = model.p_values(X[:20], sample_weight=given)[:, k]
            np.testing.assert_allclose(found, (new + below) / (new + w[of].sum()))
    by_class = np.array([1.0, 4.0, 0.3])[y[450:]]
    plain = ClassConditionalConformalClassifier(inner).fit(X[450:], y[450:])
    weighted = clone(plain).fit(X[450:], y[450:], sample_weight=by_class)
    np.testing.assert_allclose(weighted.p_values(X), plain.p_values(X))
    dropped = clone(plain).fit(X[450:], y[450:], sample_weight=(w > 1.0) * w)
    kept = clone(plain).fit(X[450:][w > 1], y[450:][w > 1], sample_weight=w[w > 1])
    np.testing.assert_array_equal(dropped.p_values(X), kept.p_values(X))


def test_a_class_that_a_fold_lacks(three):
    X, y = three
    rows = np.r_[np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:2]]
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ClassConditionalConformalClassifier(LogisticRegression(), cv=folds).fit(X[rows], y[rows])  # fmt: skip
    assert model.counts_[2] == 2
    assert model.predict_set(X)[:, 2].all()
    inner = LogisticRegression().fit(X, y)
    with pytest.warns(UserWarning, match=r"2 \(0 rows, at least 9 needed\)"):
        model = ClassConditionalConformalClassifier(inner, cv="prefit").fit(X[y < 2], y[y < 2])
    assert model.predict_set(X)[:, 2].all()
    assert (model.p_values(X)[:, 2] == 1.0).all()


def test_empty_sets_are_kept_or_filled(three):
    X, y = three
    model = ClassConditionalConformalClassifier(LogisticRegression(), alpha=0.5).fit(X, y)
    sets, filled = model.predict_set(X), model.predict_set(X, fill="top")
    empty = ~sets.any(1)
    assert 0 < empty.sum() < len(X)
    np.testing.assert_array_equal(filled[~empty], sets[~empty])
    np.testing.assert_array_equal(filled[empty].sum(1), 1)
    np.testing.assert_array_equal(filled[empty].argmax(1), model.p_values(X)[empty].argmax(1))


def test_what_was_fitted_stays_fitted(three):
    X, y = three
    model = ClassConditionalConformalClassifier(LogisticRegression(), cv=3).fit(X, y)
    before = model.predict_set(X), model.predict_proba(X), model.predict(X)
    model.set_params(alpha=0.5, conformity="margin", cv=2, estimator=KNeighborsClassifier(1), confidence=0.9, n_jobs=2, random_state=3)  # fmt: skip
    for now in (model, pickle.loads(pickle.dumps(model))):
        for a, b in zip(before, (now.predict_set(X), now.predict_proba(X), now.predict(X)), strict=True):  # fmt: skip
            np.testing.assert_array_equal(a, b)


def test_frames_documents_groups_and_own_classifiers(three):
    X, y = three
    frame = pd.DataFrame(X).add_prefix("x")
    model = ClassConditionalConformalClassifier(LinearClassifier(), cv=3).fit(frame, y)
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    assert (model.predict_set(frame)[np.arange(900), y]).mean() > 0.85
    groups = np.arange(900) // 3
    grouped = ClassConditionalConformalClassifier(LogisticRegression(), cv=GroupKFold(3))
    assert grouped.fit(X, y, groups=groups).counts_.sum() == 900
    docs = ["win cash now" if c else "see you tomorrow" for c in [1] * 20 + [0] * 60]
    labels = np.array(["spam"] * 20 + ["ham"] * 60)
    text = make_pipeline(TfidfVectorizer(), LogisticRegression())
    found = ClassConditionalConformalClassifier(text, cv=2).fit(docs, labels)
    assert found.predict_set(docs).shape == (80, 2)
    weighted = make_pipeline(StandardScaler(), LogisticRegression())
    model = ClassConditionalConformalClassifier(weighted, cv=2).fit(X, y, sample_weight=1.0 + y)
    alone = clone(weighted).fit(X, y, logisticregression__sample_weight=1.0 + y)
    np.testing.assert_array_equal(model.predict_proba(X), alone.predict_proba(X))


def test_table_of_sets():
    y = np.array(["b", "a", "a", "a", "b"])
    sets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]])
    table = set_table(y, sets, labels=["a", "b", "c"])
    np.testing.assert_allclose(table.coverage, [2 / 3, 0.5, np.nan])
    np.testing.assert_allclose(table.mean_size, [4 / 3, 1.5, np.nan])
    np.testing.assert_allclose(table.single, [1 / 3, 0.5, np.nan])
    np.testing.assert_allclose(table.empty, [1 / 3, 0.0, np.nan])
    assert table.coverage_low[0] == pytest.approx(beta.ppf(0.025, 2, 2))
    assert set_table(y, sets, labels=["a", "b", "c"], as_frame=True).loc["a", "support"] == 3
    with pytest.raises(ValueError, match="labels="):
        set_table(y, sets)
    with pytest.raises(ValueError, match="true or false"):
        set_table(y, sets * 0.5, labels=["a", "b", "c"])


# --- refusals --------------------------------------------------------------------------------------


class Odd(Column):
    def predict_proba(self, X):
        return np.tile([1.5, -0.5], (len(X), 1))


@pytest.mark.parametrize(
    ("kw", "words"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": {0: 0.1}}, "to each of the classes"),
        ({"alpha": {0: 0.1, 1: 0.1, 2: 0.1, 7: 0.2}}, "and to no other"),
        ({"alpha": {0: 0.1, 1: 0.1, 2: "a"}}, "between 0 and 1"),
        ({"cv": 1.5}, "cv"),
        ({"cv": ShuffleSplit(3, random_state=0)}, "hold.* some rows out more than once"),
        ({"confidence": 0.9}, "one calibration part, cv=5 makes 5"),
        ({"estimator": LogisticRegression(), "cv": "prefit"}, "not fitted"),
        ({"estimator": Odd(), "cv": 0.5}, "are no probabilities"),
    ],
)
def test_refusals(kw, words, three):
    X, y = three
    model = ClassConditionalConformalClassifier(LogisticRegression()).set_params(**kw)
    if isinstance(kw.get("estimator"), Odd):
        y = (y > 0).astype(int)
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)


def test_refusals_of_rows(three):
    X, y = three
    inner = LogisticRegression().fit(X[y < 2], y[y < 2])
    prefit = ClassConditionalConformalClassifier(inner, cv="prefit")
    with pytest.raises(ValueError, match=r"labels \[2\], which .* was not fitted to"):
        prefit.fit(X, y)
    with pytest.raises(ValueError, match="takes no groups"):
        prefit.fit(X[y < 2], y[y < 2], groups=y[y < 2])
    with pytest.raises(ValueError, match="several labels"):
        prefit.fit(*make_multilabel_classification(random_state=0))
    with pytest.raises(ValueError, match="equal weights in each class; those of"):
        clone(prefit).set_params(estimator=inner, confidence=0.9).fit(
            X[y < 2], y[y < 2], sample_weight=1.0 + np.arange((y < 2).sum())
        )
    model = clone(prefit).set_params(estimator=inner).fit(X[y < 2], y[y < 2])
    with pytest.raises(ValueError, match="fill='best'"):
        model.predict_set(X, fill="best")
    with pytest.raises(ValueError, match="must be positive"):
        model.predict_set(X, sample_weight=1.0 * y)
    with pytest.raises(TypeError, match="takes no sample_weight"):
        ClassConditionalConformalClassifier(KNeighborsClassifier()).fit(X, y, sample_weight=1.0 + y)


# --- promised against measured ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [9, 12, 30])
def test_coverage_of_one_part_is_beta(n):
    """The true coverage of a threshold of normal scores, over 2,000 calibration sets."""
    rng = np.random.default_rng(n)
    rank = own_class_rank(n, 0.1)
    own = np.sort(rng.normal(size=(2000, n)), 1)[:, rank - 1]
    covered = norm.sf(own)
    law = beta(n + 1 - rank, rank)
    assert covered.mean() == pytest.approx(law.mean(), abs=4 * law.std() / 2000**0.5)
    for q in (0.05, 0.5, 0.95):
        assert (covered < law.ppf(q)).mean() == pytest.approx(q, abs=0.02)
    # the estimator takes the same order statistic
    p = norm.cdf(rng.normal(size=n))
    assert calibrated(p).thresholds_[1] == np.sort(p)[rank - 1]


SHARES = np.array([0.90, 0.07, 0.03])
CENTRES = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.8]])


def drawn(rng, n, shares):
    y = np.repeat(np.arange(3), np.round(shares * n).astype(int))
    return CENTRES[y] + rng.normal(size=(len(y), 2)), y


def measured(cv, n, shares, repetitions, alpha=0.1):
    """Coverage of each class by sets that were calibrated on n rows, where classes have other shares."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(repetitions):
        X, y = drawn(rng, n, SHARES)
        order = rng.permutation(n)
        new, truth = drawn(rng, 2000, shares)
        model = ClassConditionalConformalClassifier(LogisticRegression(), alpha=alpha, cv=cv, random_state=0)  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sets = model.fit(X[order], y[order]).predict_set(new)
        covered.append([sets[truth == k, k].mean() for k in range(3)])
    return np.mean(covered, 0)


@pytest.mark.slow
@pytest.mark.parametrize("shares", [SHARES, np.array([0.4, 0.3, 0.3])])
@pytest.mark.parametrize(("cv", "n"), [(0.5, 1000), (5, 1000), (5, 400)])
def test_promised_coverage_is_reached_whatever_the_shares(cv, n, shares):
    covered = measured(cv, n, shares, 150)
    assert (covered > 0.885).all()
    if n == 1000:
        assert (covered < 0.945).all()
