"""Decisions of least expected cost, with costs of each row at predict."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb import metrics
from skimb.linear_model import LinearClassifier
from skimb.losses import ExpectedCost
from skimb.model_selection import TunedThresholdClassifierCV
from skimb.pipeline import ResampledClassifier
from skimb.posthoc import CostRuleClassifier, PriorCorrectedClassifier

ROWS = np.array([[1, 10, 0, 0], [2, 10, -1, 0], [5, 3, 0, 0], [1, 0, 0, 0]], float)
P = np.array([0.05, 0.2, 0.5, 0.9])


class Given(sklearn.base.ClassifierMixin, sklearn.base.BaseEstimator):
    """Takes its columns for probabilities, of one column that of the second class."""

    def __init__(self, labels=(0, 1)):
        self.labels = labels

    def fit(self, X, y=None):
        self.classes_ = np.array(self.labels)
        return self

    def predict_proba(self, X):
        X = np.asarray(X, float)
        return np.column_stack([1 - X, X]) if X.shape[1] == 1 else X


def of(labels=(0, 1), **kw):
    """A cost rule on given probabilities."""
    model = FrozenEstimator(Given(labels).fit(None))
    return CostRuleClassifier(model, **kw).fit(np.zeros((len(labels), 1)), np.array(labels))


@parametrize_with_checks([CostRuleClassifier(LogisticRegression())])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# --- the rule ---------------------------------------------------------------------------------------


def test_golden():
    model, X = of(), P[:, None]
    assert model.predict(X, cost=ROWS).tolist() == [0, 1, 0, 0]
    expected = model.expected_costs(X, cost=ROWS)
    np.testing.assert_allclose(expected, np.transpose([[0.5, 2, 1.5, 0], [0.95, 1.4, 2.5, 0.1]]))
    thresholds = [1 / 11, 2 / 13, 0.625, 1.0]  # Elkan's, where a row turns
    for row, t in zip(ROWS, thresholds, strict=True):
        line = np.r_[t - 1e-9, min(t + 1e-9, 1.0)][:, None]
        assert model.predict(line, cost=np.tile(row, (2, 1))).tolist() == [0, 1]


def test_ties_and_odd_costs():
    model, half = of(), np.array([[0.5], [0.3], [0.7]])
    assert model.predict(half).tolist() == [1, 0, 1]  # a tie flags
    flat = np.array([[2.0, 2.0], [3.0, 3.0]])
    assert model.predict(half, cost=flat).tolist() == [1, 0, 1]  # indifferent: the most probable
    assert model.predict(half, cost=[[5, 0], [0, 0]]).all()  # flagging is always cheaper
    assert not model.predict(half, cost=[[0, 0], [0, 5]]).any()
    shifted = np.array([[100.0, 101.0], [20.0, 0.0]])
    np.testing.assert_array_equal(
        model.predict(half, cost=shifted), model.predict(half, cost=[[0, 1], [20, 0]])
    )


def test_all_shapes_of_costs_say_the_same():
    model, X = of(), np.linspace(0, 1, 50)[:, None]
    matrix = np.array([[0.5, 2.0], [9.0, 1.0]])
    wanted = model.predict(X, cost=matrix)
    assert wanted.tolist() == (X.ravel() * 8 >= (1 - X.ravel()) * 1.5).astype(int).tolist()
    np.testing.assert_array_equal(model.predict(X, cost=np.tile(matrix, (50, 1, 1))), wanted)
    np.testing.assert_array_equal(model.predict(X, cost=np.tile([2, 9, 1, 0.5], (50, 1))), wanted)
    np.testing.assert_array_equal(of(cost=matrix).predict(X), wanted)


def test_more_classes():
    rng = np.random.default_rng(0)
    p, tables = rng.dirichlet([3, 2, 1], 200), rng.uniform(0, 5, (200, 3, 3))
    model = of(("a", "b", "c"))
    expected = np.array([row @ table for row, table in zip(p, tables, strict=True)])
    np.testing.assert_allclose(model.expected_costs(p, cost=tables), expected)
    assert (
        model.predict(p, cost=tables).tolist() == np.array(list("abc"))[expected.argmin(1)].tolist()
    )
    assert model.predict(p).tolist() == np.array(list("abc"))[p.argmax(1)].tolist()
    ties = model.predict([[0.2, 0.5, 0.3]], cost=[[0, 0, 9], [0, 0, 9], [0, 0, 9]])
    assert ties.tolist() == ["b"]  # of equal costs the most probable
    upside_down = of(("b", "a"), cost=[[0, 1], [20, 0]])  # columns of the classifier are b, a
    assert upside_down.classes_.tolist() == ["a", "b"]
    assert upside_down.predict([[0.9], [0.99]]).tolist() == ["b", "a"]


def test_least_cost_is_reached_where_probabilities_are_right():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 6, 40_000)
    y = (rng.random(len(p)) < p).astype(int)
    amount = rng.lognormal(3, 1, len(p))
    cost = np.column_stack([np.full(len(p), 5.0), amount, np.full(len(p), 5.0), np.zeros(len(p))])
    decided = of().predict(p[:, None], cost=cost)
    found = metrics.savings_score(y, decided, cost)
    fixed = max(metrics.savings_score(y, p >= t, cost) for t in np.linspace(0, 1, 101))
    assert found > fixed + 0.02


def test_right_labels_and_weights_reach_the_classifier(rare):
    X, y = rare
    words = np.array(["no", "yes"])[y]
    w = np.random.default_rng(0).uniform(0.5, 2, len(y))
    model = CostRuleClassifier(LogisticRegression(), cost=[[0, 1], [20, 0]])
    fitted = model.fit(X, words, sample_weight=w)
    inner = LogisticRegression().fit(X, words, sample_weight=w)
    np.testing.assert_allclose(fitted.predict_proba(X), inner.predict_proba(X))
    assert (
        fitted.predict(X).tolist()
        == np.where(inner.predict_proba(X)[:, 1] >= 1 / 21, "yes", "no").tolist()
    )
    sparse_rows = CostRuleClassifier(LogisticRegression()).fit(sparse.csr_matrix(X), y)
    assert (
        sparse_rows.predict(sparse.csr_matrix(X)) == LogisticRegression().fit(X, y).predict(X)
    ).mean() > 0.99


def test_what_was_fitted_stays(rare):
    X, y = rare
    model = CostRuleClassifier(LogisticRegression(), cost=[[0, 1], [20, 0]]).fit(X, y)
    before = model.predict(X)
    model.set_params(cost=[[0, 50], [1, 0]], estimator=RandomForestClassifier())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), before)
    np.testing.assert_array_equal(model.predict(X), before)


def test_frozen_classifiers_stay(rare):
    X, y = rare
    inner = LogisticRegression().fit(X, y)
    model = CostRuleClassifier(FrozenEstimator(inner), cost=[[0, 1], [9, 0]]).fit(X[:50], y[:50])
    np.testing.assert_array_equal(
        model.predict(X), (inner.predict_proba(X)[:, 1] >= 0.1).astype(int)
    )
    with pytest.raises(ValueError, match=r"y holds the labels \[7\], which .* was not fitted to"):
        CostRuleClassifier(FrozenEstimator(inner)).fit(X, np.where(y == 1, 7, 0))


# --- metadata ---------------------------------------------------------------------------------------


def test_costs_are_metadata_of_predict(rare):
    X, y = rare
    rows = np.random.default_rng(0).uniform(0, 5, (len(y), 4)) * [1, 20, 0, 0]
    alone = CostRuleClassifier(LogisticRegression()).fit(X, y).predict(X, cost=rows)
    assert 0 < alone.sum() < len(y)
    pipe = make_pipeline(FunctionTransformer(), CostRuleClassifier(LogisticRegression()))
    np.testing.assert_array_equal(pipe.fit(X, y).predict(X, cost=rows), alone)
    with sklearn.config_context(enable_metadata_routing=True):
        model = CostRuleClassifier(LogisticRegression().set_fit_request(sample_weight=True))
        w = np.random.default_rng(0).uniform(0.5, 2, len(y))
        asked = make_pipeline(FunctionTransformer(), model.set_predict_request(cost=True))
        asked.fit(X, y, sample_weight=w)
        np.testing.assert_array_equal(
            asked.predict(X, cost=rows),
            CostRuleClassifier(LogisticRegression())
            .fit(X, y, sample_weight=w)
            .predict(X, cost=rows),
        )
        with pytest.raises(UnsetMetadataPassedError, match="cost"):
            make_pipeline(CostRuleClassifier(LogisticRegression())).fit(X, y).predict(X, cost=rows)


def test_costs_of_a_fit_go_to_the_loss(rare):
    X, y = rare
    cost = np.where(y[:, None] == 1, [8.0, 0.0], [0.0, 1.0])
    with sklearn.config_context(enable_metadata_routing=True):
        inner = LinearClassifier(ExpectedCost(), max_iter=20).set_fit_request(cost=True)
        with pytest.warns(UserWarning, match="needs probabilities, which LinearClassifier"):
            model = CostRuleClassifier(inner).fit(X, y, cost=cost)
    direct = LinearClassifier(ExpectedCost(), max_iter=20).fit(X, y, cost=cost)
    np.testing.assert_allclose(model.predict_proba(X), direct.predict_proba(X))
    with pytest.raises(ValueError, match="only supported if"):
        CostRuleClassifier(LogisticRegression()).fit(X, y, cost=cost)


def test_in_searches_and_around_others(rare):
    X, y = rare
    scorer = sklearn.metrics.make_scorer(metrics.savings_score, cost=[[0, 1], [20, 0]])
    model = CostRuleClassifier(LogisticRegression(), cost=[[0, 1], [20, 0]])
    search = GridSearchCV(model, {"estimator__C": [1e-3, 1.0]}, scoring=scorer, cv=3).fit(X, y)
    assert search.best_score_ > 0.3
    assert cross_val_predict(model, X, y, cv=3).sum() > y.sum()
    moved = PriorCorrectedClassifier(model, prior=[0.5, 0.5]).fit(X, y)
    assert moved.predict_proba(X)[:, 1].mean() > 1.5 * y.mean()
    tuned = TunedThresholdClassifierCV(LogisticRegression(), cost=[[0, 1], [20, 0]]).fit(X, y)
    agree = (tuned.predict(X) == model.fit(X, y).predict(X)).mean()
    assert agree > 0.8  # two ways to the same costs


# --- budgets ----------------------------------------------------------------------------------------


def test_review_takes_the_largest_gains():
    model, X = of(), P[:, None]
    gain = model.expected_costs(X, cost=ROWS) @ [1, -1]
    assert gain == pytest.approx([-0.45, 0.6, -1, -0.1])
    assert model.review(X, 3, cost=ROWS, ties="none").tolist() == [False, True, False, False]
    default = of(cost=[[0, 1], [20, 0]])
    assert default.review(X, 2, ties="none").tolist() == [False, False, True, True]
    assert default.review(X, {"a": 1, "b": 0.5}, groups=list("aabb"), ties="none").tolist() == [
        False,
        True,
        False,
        True,
    ]
    shared = default.review(np.full((4, 1), 0.3), 1)
    assert shared == pytest.approx([0.25] * 4)
    np.testing.assert_array_equal(shared, metrics.review_list(np.full(4, 0.3), 1))
    # without a budget, what is reviewed is what predict flags
    rows = np.random.default_rng(0).uniform(0, 1, (200, 1))
    np.testing.assert_array_equal(
        default.review(rows, 200, ties="none"), default.predict(rows) == 1
    )
    with pytest.raises(ValueError, match=r"review needs two classes, there are \['a', 'b', 'c'\]"):
        of(("a", "b", "c")).review([[0.2, 0.3, 0.5]], 1)


# --- warnings and errors ----------------------------------------------------------------------------


def test_moved_probabilities_are_told(rare):
    X, y = rare
    moved = [
        LogisticRegression(class_weight="balanced"),
        make_sampling_pipeline(RandomOverSampler(random_state=0), LogisticRegression()),
    ]
    for inner in moved:
        with pytest.warns(UserWarning, match="wrap it in a PriorCorrectedClassifier") as told:
            CostRuleClassifier(inner).fit(X, y)
        assert told[0].filename == __file__
    honest = [
        PriorCorrectedClassifier(moved[0]),
        ResampledClassifier(RandomOverSampler(random_state=0), LogisticRegression()),
        CalibratedClassifierCV(moved[0], cv=2),
        LinearClassifier(class_weight="balanced"),
        FrozenEstimator(LogisticRegression().fit(X, y)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for inner in honest:
            CostRuleClassifier(inner).fit(X, y)


WRONG = {
    "per class": (np.ones((5, 2)), r"cost of shape \(5, 2\) does not fit 5 rows and 2 classes: .* is not known here"),
    "rows": (np.ones((4, 4)), r"cost of shape \(4, 4\) does not fit 5 rows and 2 classes: give \(2, 2\)"),
    "classes": (np.ones((3, 3)), r"cost of shape \(3, 3\) does not fit"),
    "tables": (np.ones((4, 2, 2)), r"cost of shape \(4, 2, 2\) does not fit"),
    "missing": (np.full((2, 2), np.nan), "cost contains NaN"),
    "endless": ([[0, np.inf], [1, 0]], "cost contains infinity"),
    "words": ([["a", "b"], ["c", "d"]], "could not convert string to float"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_costs_that_do_not_fit(name):
    cost, message = WRONG[name]
    model, X = of(), np.full((5, 1), 0.3)
    for call in (
        model.predict,
        model.expected_costs,
        lambda X, cost: model.review(X, 1, cost=cost),
    ):
        with pytest.raises(ValueError, match=message):
            call(X, cost=cost)


def test_other_errors(rare):
    X, y = rare
    with pytest.raises(
        ValueError,
        match=r"cost must have shape \(2, 2\), one row and one column per class of \[0, 1\]",
    ):
        CostRuleClassifier(LogisticRegression(), cost=np.ones((3, 3))).fit(X, y)
    with pytest.raises(ValueError, match="cost contains NaN"):
        CostRuleClassifier(LogisticRegression(), cost=[[0, np.nan], [1, 0]]).fit(X, y)
    with pytest.raises(ValueError, match="is for exclusive classes"):
        CostRuleClassifier(LogisticRegression()).fit(X, np.column_stack([y, 1 - y]))
    with pytest.raises(ValueError, match="gives values that are no probabilities"):
        of().predict([[1.4]])
