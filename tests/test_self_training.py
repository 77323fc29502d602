"""Self-training weighted by confidence, with thresholds and quotas for each class."""

import pickle

import numpy as np
import pandas as pd
import pytest
from refusals import check_refusal
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.estimator_checks import check_estimator

from skimb.neural_network import MLPClassifier
from skimb.semi_supervised import ConfidenceWeightedSelfTraining


@pytest.fixture
def partly(three):
    """Three classes as numbers, of which every fifth row is labelled."""
    X, y = three
    code = np.unique(y, return_inverse=True)[1]
    return X, code, np.where(np.arange(len(y)) % 5 == 0, code, -1)


class Table(ClassifierMixin, BaseEstimator):
    """Answers with the probabilities that the rows are, and keeps what it was fitted to."""

    log: list = []

    def fit(self, X, y, sample_weight=None):
        assert not (np.asarray(y) == -1).any()
        self.classes_ = np.unique(y)
        Table.log.append((np.shape(X)[0], np.asarray(y), sample_weight))
        return self

    def predict_proba(self, X):
        return np.asarray(X)

    def predict(self, X):
        return self.classes_[np.asarray(X).argmax(1)]


# two labelled rows, then four answered 0 and two answered 1
P = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.3, 0.7], [0.4, 0.6]])  # fmt: skip
Y = np.array([0, 1, -1, -1, -1, -1, -1, -1])


def test_thresholds_of_classes_are_their_mean_confidences():
    Table.log.clear()
    model = ConfidenceWeightedSelfTraining(Table(), gamma=2.0, unlabeled_weight=0.5).fit(P, Y)
    np.testing.assert_allclose(model.thresholds_[0], [0.75, 0.65])
    assert model.transduction_.tolist() == [0, 1, 0, 0, -1, -1, 1, -1]
    assert model.labeled_iter_.tolist() == [0, 0, 1, 1, -1, -1, 1, -1]
    assert (model.n_iter_, model.termination_condition_) == (2, "no_change")
    (first, second) = Table.log
    assert first[0] == 2
    assert first[2] is None
    np.testing.assert_array_equal(second[1], [0, 1, 0, 0, 1])
    np.testing.assert_allclose(second[2], [1, 1, *(0.5 * np.array([0.9, 0.8, 0.7]) ** 2)])
    clipped = ConfidenceWeightedSelfTraining(Table(), bounds=(0.3, 0.6)).fit(P, Y)
    np.testing.assert_allclose(clipped.thresholds_[0], [0.6, 0.6])
    assert (clipped.transduction_ != -1).sum() == 6


def test_weights_follow_margin_and_sample_weight():
    Table.log.clear()
    model = ConfidenceWeightedSelfTraining(
        Table(), weighting="margin", threshold=0.65, unlabeled_weight=1.0
    )
    model.fit(P, Y, sample_weight=[2, 1, 1, 1, 1, 4, 1, 0])
    np.testing.assert_allclose(Table.log[-1][2], [2, 1, 0.8, 0.6, 4 * 0.4, 0.4])
    assert model.transduction_.tolist() == [0, 1, 0, 0, -1, 0, 1, -1]


# means of the classes (1, 0) and (0, 1); a sure row, one between both, one that is nearer to the other class
NEAR = np.array([[1.0, 0.0], [0.0, 1.0], [4.0, 3.0], [1.0, 1.0], [3.0, 4.0]])


class Sure(Table):
    """Answers the first class, always."""

    def predict_proba(self, X):
        return np.tile([0.9, 0.1], (np.shape(X)[0], 1))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, pd.DataFrame])
def test_rows_of_unknown_classes_weigh_by_their_distance_from_means(form):
    Table.log.clear()
    y = np.array([0, 1, -1, -1, -1])
    kw = {"threshold": 0.5, "reject_unknown": True, "unlabeled_weight": 1.0}
    model = ConfidenceWeightedSelfTraining(Sure(), weighting="margin", **kw)
    model.fit(form(NEAR), y)
    assert model.transduction_.tolist() == [0, 1, 0, -1, -1]
    np.testing.assert_allclose(Table.log[-1][2], [1, 1, 0.8 - 0.6])
    by_cosine = ConfidenceWeightedSelfTraining(Sure(), **kw).fit(form(NEAR), y)
    assert by_cosine.transduction_.tolist() == [0, 1, 0, 0, 0]
    np.testing.assert_allclose(Table.log[-1][2], [1, 1, 0.8, 0.5**0.5, 0.6])


def test_means_follow_weights_of_rows():
    Table.log.clear()
    X = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [4.0, 3.0]])
    kw = {"threshold": 0.5, "reject_unknown": True, "unlabeled_weight": 1.0}
    weights = [4.0, 1.0, 2.0, 1.0]  # the first mean is (4, 1) / 5
    ConfidenceWeightedSelfTraining(Sure(), **kw).fit(X, [0, 0, 1, -1], sample_weight=weights)
    np.testing.assert_allclose(Table.log[-1][2][-1], (0.8 * 4 + 0.6) / 17**0.5)


class Growing(Table):
    """Each fit makes the answers surer."""

    def predict_proba(self, X):
        p = np.asarray(X) ** (0.5 * len(Table.log))
        return p / p.sum(1, keepdims=True)


def test_decay_falls_from_round_to_round():
    Table.log.clear()
    ConfidenceWeightedSelfTraining(
        Growing(), threshold="quota", gamma=0.0, decay=0.5, unlabeled_weight=1.0, max_iter=3
    ).fit(P, Y)
    assert Table.log[1][2] is None  # all weigh 1
    for r, (_, _, weight) in enumerate(Table.log[2:], 1):
        np.testing.assert_allclose(weight[2:], 0.5**r)
    assert len(Table.log) == 4


def test_quotas_reach_every_class():
    Table.log.clear()
    p = np.array([[0.5, 0.5]] * 4 + [[0.95, 0.05], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    y = np.array([0, 0, 0, 1, -1, -1, -1, -1])
    model = ConfidenceWeightedSelfTraining(Table(), threshold="quota", max_iter=2).fit(p, y)
    assert [size for size, _, _ in Table.log] == [4, 7, 8]  # ceil(1.5) + 1, then 3 + 1 of 4
    assert model.transduction_[4:].tolist() == [
        0,
        0,
        0,
        1,
    ]  # the likeliest of a class that no row is
    assert model.labeled_iter_[4:].tolist() == [1, 1, 2, 1]
    assert model.termination_condition_ == "max_iter"
    half = ConfidenceWeightedSelfTraining(Table(), threshold="quota", quota_share=0.5, max_iter=1)
    assert (half.fit(p, y).transduction_[4:] != -1).sum() == 3


def test_one_round_of_a_fixed_threshold_is_scikit_learns(partly):
    X, _, y = partly
    base = LogisticRegression(max_iter=500)
    kw = {"threshold": 0.8, "max_iter": 1}
    wanted = SelfTrainingClassifier(base, **kw).fit(X, y)
    found = ConfidenceWeightedSelfTraining(base, gamma=0.0, unlabeled_weight=1.0, **kw).fit(X, y)
    np.testing.assert_array_equal(found.transduction_, wanted.transduction_)
    np.testing.assert_allclose(found.predict_proba(X), wanted.predict_proba(X), atol=1e-6)


def test_the_ends(partly):
    X, code, y = partly
    base = LogisticRegression(max_iter=500)
    alone = base.fit(X, code).predict_proba(X)
    whole = ConfidenceWeightedSelfTraining(base).fit(X, code)
    np.testing.assert_array_equal(whole.predict_proba(X), alone)
    labelled = clone(base).fit(X[y >= 0], y[y >= 0]).predict_proba(X)
    none = ConfidenceWeightedSelfTraining(base, threshold=1.0).fit(X, y)
    np.testing.assert_array_equal(none.predict_proba(X), labelled)
    assert none.n_iter_ == 1
    assert (none.transduction_[y == -1] == -1).all()


def test_labels_of_any_kind(partly):
    X, code, y = partly
    base = ConfidenceWeightedSelfTraining(LogisticRegression(max_iter=500))
    wanted = clone(base).fit(X, y)
    words = np.array(["common", "medium", "rare"])
    named = np.where(y >= 0, words[code].astype(object), -1)
    for given in (named, pd.Series(named), list(named)):
        model = clone(base).fit(X, given)
        assert model.classes_.tolist() == words.tolist()
        np.testing.assert_array_equal(model.predict(X), words[wanted.predict(X)])
        assert set(model.transduction_.tolist()) <= {*words.tolist(), -1}
    again = pickle.loads(pickle.dumps(wanted))
    again.set_params(threshold=1.0, estimator=KNeighborsClassifier())
    np.testing.assert_array_equal(again.predict_proba(X), wanted.predict_proba(X))


def test_any_estimator_and_any_rows(partly):
    X, _, y = partly
    net = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=5, tol=0, random_state=0))
    model = ConfidenceWeightedSelfTraining(net, max_iter=2).fit(pd.DataFrame(X).add_prefix("f"), y)
    assert model.feature_names_in_[0] == "f0"
    thin = ConfidenceWeightedSelfTraining(LogisticRegression(max_iter=500))
    dense = clone(thin).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(thin.fit(sparse.csr_matrix(X), y).predict_proba(X), dense, atol=1e-3)
    texts = ["good fine", "bad awful", "good nice", "awful worse", "nice fine", "bad worse"]
    words = make_pipeline(TfidfVectorizer(), LogisticRegression())
    read = ConfidenceWeightedSelfTraining(words).fit(texts, [1, 0, -1, -1, -1, -1])
    assert read.predict(texts).tolist() == [1, 0, 1, 0, 1, 0]
    with pytest.raises(TypeError, match="sample_weight"):
        ConfidenceWeightedSelfTraining(KNeighborsClassifier()).fit(X, y)


REFUSED = {
    "bounds": (lambda X, y: (LogisticRegression(), {"bounds": (0.9, 0.1)}, X, y), "bounds"),
    "one class": (lambda X, y: (LogisticRegression(), {}, X, np.where(y == 0, 0, -1)), "classes"),
    "no numbers": (
        lambda X, y: (
            make_pipeline(TfidfVectorizer(), LogisticRegression()),
            {"reject_unknown": True},
            np.array([f"w{k} v{k % 3}" for k in y], object),
            y,
        ),
        "reject_unknown",
    ),
    "text": (
        lambda X, y: (LogisticRegression(), {}, X, np.where(y == -1, "-1", "a").astype(str)),
        "'-1'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, partly):
    make, name = REFUSED[case]
    base, kw, X, y = make(partly[0], partly[2])
    with pytest.raises((ValueError, TypeError)) as caught:
        ConfidenceWeightedSelfTraining(base, **kw).fit(X, y)
    check_refusal(caught.value, [name])


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks():
    # -1 is no class here
    expected = {"check_classifiers_classes": "its binary labels are -1 and 1"}
    results = check_estimator(
        ConfidenceWeightedSelfTraining(LogisticRegression()),
        expected_failed_checks=expected,
        on_fail=None,
    )
    failed = {
        r["check_name"]: str(r["exception"])[:200] for r in results if r["status"] == "failed"
    }
    assert failed == {}
