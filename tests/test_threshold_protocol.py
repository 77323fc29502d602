"""Threshold classifiers within scikit-learn's protocol: labels as given, any splitter, metadata, copies."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection as stock
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, make_scorer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from skimb.linear_model import PrestoClassifier
from skimb.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

LR = LogisticRegression


@pytest.fixture(scope="module")
def rare():
    return make_classification(600, 6, weights=[0.85], class_sep=0.6, random_state=0)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        450, 6, n_classes=3, n_informative=4, weights=[0.7, 0.2], random_state=1
    )


def best_f1(y, p):
    """The largest F1 over all thresholds of scores without ties."""
    hits = np.cumsum(y[np.argsort(-p)])
    return (2.0 * hits / (np.arange(1, len(y) + 1) + y.sum())).max()


# --- labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [[0, 1], [1, 2], [-1, 1], ["no", "yes"], [False, True]])
def test_folds_see_the_labels_as_given(rare, names):
    X, y = rare
    labels = np.array(names)[y]
    weights = {names[0]: 20.0, names[1]: 1.0}
    model = TunedThresholdClassifierCV(LR(class_weight=weights)).fit(X, labels)
    same = TunedThresholdClassifierCV(LR(class_weight={0: 20.0, 1: 1.0})).fit(X, y)
    assert model.threshold_ == same.threshold_
    np.testing.assert_array_equal(model.predict(X) == names[1], same.predict(X) == 1)
    in_list = TunedThresholdClassifierCV(LR(class_weight=weights)).fit(X, labels.tolist())
    assert in_list.threshold_ == same.threshold_


def test_inner_searches_and_ordered_classes_see_the_labels_as_given(rare, three):
    X, y = rare
    names = np.array(["no", "yes"])[y]
    inner = stock.GridSearchCV(LR(), {"C": [1.0]}, scoring=make_scorer(f1_score, pos_label="yes"))
    model = TunedThresholdClassifierCV(inner, cv=3).fit(X, names)
    assert model.threshold_ == TunedThresholdClassifierCV(LR(), cv=3).fit(X, y).threshold_
    X, y = three
    words = ["seen", "clicked", "bought"]
    steps = TunedThresholdClassifierCV(PrestoClassifier(), cv=3).fit(X, y)
    grades = pd.Series(pd.Categorical(np.array(words)[y], categories=words, ordered=True))
    for target, base in (
        (np.array(words)[y], PrestoClassifier(class_order=words)),
        (grades, PrestoClassifier()),
    ):
        named = TunedThresholdClassifierCV(base, cv=3).fit(X, target)
        np.testing.assert_array_equal(named.predict(X), np.array(words)[steps.predict(X)])


def test_sparse_labels_are_those_of_the_dense_matrix_and_mixtures_are_refused():
    X, Y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    forest = RandomForestClassifier(5, random_state=0)
    for model in (
        FixedThresholdClassifier(forest, 0.3),
        TunedThresholdClassifierCV(forest, scoring="f1_macro", cv=2),
    ):
        dense, thin = (clone(model).fit(X, T) for T in (Y, sparse.csr_matrix(Y)))
        np.testing.assert_array_equal(dense.predict(X), thin.predict(X))
        with pytest.raises(ValueError, match="labels of 0 and 1"):
            clone(model).fit(X, Y + np.arange(3))


def test_labels_that_never_change_in_a_training_part():
    X, Y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    Y[:, 2] = 0
    Y[:5, 2] = 1
    half = np.arange(200) < 100
    folds = [
        (np.flatnonzero(~half), np.flatnonzero(half)),
        (np.flatnonzero(half), np.flatnonzero(~half)),
    ]
    forest = RandomForestClassifier(5, random_state=0)
    model = TunedThresholdClassifierCV(forest, scoring="f1_micro", cv=folds).fit(X, Y)
    assert model.predict(X).shape == Y.shape


# --- splitters, costs of scorers, trivial metrics --------------------------------------------


def test_any_splitter_gives_folds(rare):
    X, y = rare
    n = len(y)
    groups = np.arange(n) // 10
    for cv, kw in (
        (stock.StratifiedShuffleSplit(3, random_state=0), {}),
        (stock.RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0), {}),
        (stock.TimeSeriesSplit(3), {}),
        (stock.PredefinedSplit(np.arange(n) % 4 - 1), {}),
        (stock.GroupKFold(3), {"groups": groups}),
        (stock.LeaveOneGroupOut(), {"groups": np.arange(n) % 4}),
    ):
        model = TunedThresholdClassifierCV(LR(), scoring="f1", cv=cv).fit(X, y, **kw)
        splits = list(cv.split(X, y, **kw))
        tests = np.concatenate([t for _, t in splits])
        p = np.concatenate([LR().fit(X[a], y[a]).predict_proba(X[b])[:, 1] for a, b in splits])
        found = f1_score(y[tests], p >= model.threshold_)
        assert found == pytest.approx(best_f1(y[tests], p))
        assert len(model.scores_) == len(splits)


def test_a_fold_is_never_decided_by_its_own_rows(rare):
    X, y = rare
    cv = stock.RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0)
    model = TunedThresholdClassifierCV(LR(), scoring="f1", cv=cv).fit(X, y)
    splits = list(cv.split(X, y))
    p = [LR().fit(X[a], y[a]).predict_proba(X[b])[:, 1] for a, b in splits]
    for j, (_, test) in enumerate(splits):
        others = [
            (b[~np.isin(b, test)], q[~np.isin(b, test)])
            for (_, b), q in zip(splits, p, strict=True)
        ]
        rows, q = (np.concatenate(part) for part in zip(*others, strict=True))
        found = f1_score(y[rows], q >= model.thresholds_[j])
        assert found == pytest.approx(best_f1(y[rows], q))
    single = TunedThresholdClassifierCV(LR(), cv=[splits[0]]).fit(X, y)
    assert np.isnan(single.scores_).all()


def test_a_training_part_of_one_class_is_named(rare):
    X, y = rare
    order = np.argsort(y, kind="stable")
    halves = np.array_split(order, 2)
    folds = [(halves[0], halves[1]), (halves[1], halves[0])]
    with pytest.raises(ValueError, match=r"fold 0 hold no row of the classes \[1\]"):
        TunedThresholdClassifierCV(LR(), cv=folds).fit(X, y)


def test_calls_of_a_scorer_are_bounded_and_find_the_best(rare):
    X, y = rare
    calls = []

    def profit(y, decided):
        calls.append(len(y))
        return 5.0 * ((y == 1) & (decided == 1)).sum() - ((y == 0) & (decided == 1)).sum()

    scorer = make_scorer(profit)
    bounded = TunedThresholdClassifierCV(LR(), scoring=scorer).fit(X, y)
    assert len(calls) <= 6 * 100 + 5
    free = TunedThresholdClassifierCV(LR(), scoring=scorer, thresholds=None).fit(X, y)
    folds = stock.StratifiedKFold(5)
    p = stock.cross_val_predict(LR(), X, y, cv=folds, method="predict_proba")[:, 1]
    best = max(profit(y, (p >= t).astype(int)) for t in np.unique(p))
    assert profit(y, (p >= free.threshold_).astype(int)) == best
    assert profit(y, (p >= bounded.threshold_).astype(int)) >= 0.98 * best


def test_called_scorers_see_the_rows(rare):
    X, y = rare
    amount = np.exp(X[:, 0])

    def gain(estimator, X, y):
        decided = estimator.predict(X)
        return float((np.exp(X[:, 0]) * (decided == y)).mean())

    model = TunedThresholdClassifierCV(LR(), scoring=gain, thresholds=None, cv=3).fit(X, y)
    costs = np.stack([-amount * (y == 0), -amount * (y == 1)], 1)
    same = TunedThresholdClassifierCV(LR(), cv=3).fit(X, y, cost=costs)
    assert model.threshold_ == pytest.approx(same.threshold_)
    np.testing.assert_allclose(model.scores_, same.scores_)


def test_metrics_of_one_kind_of_error_warn(rare):
    X, y = rare
    for scoring in ("recall", "precision"):
        with pytest.warns(UserWarning, match=f"{scoring}.*trivial"):
            TunedThresholdClassifierCV(LR(), scoring=scoring).fit(X, y)
    with pytest.warns(UserWarning, match="trivial"):
        TunedThresholdClassifierCV(LR(), scoring=make_scorer(lambda y, d: d.mean())).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scoring in ("f1", "balanced_accuracy", "recall_macro"):
            TunedThresholdClassifierCV(LR(), scoring=scoring).fit(X, y)


# --- positive class and response -------------------------------------------------------------


def test_the_positive_class_is_the_one_that_is_named(rare):
    X, y = rare
    labels = np.where(y, "fraud", "ok")
    ours = FixedThresholdClassifier(LR(), 0.1, pos_label="fraud").fit(X, labels)
    theirs = stock.FixedThresholdClassifier(LR(), threshold=0.1, pos_label="fraud").fit(X, labels)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    coded = TunedThresholdClassifierCV(LR(), scoring="f1").fit(X, y)
    for model in (
        TunedThresholdClassifierCV(LR(), scoring="f1", pos_label="fraud"),
        TunedThresholdClassifierCV(LR(), scoring=make_scorer(f1_score, pos_label="fraud")),
    ):
        model.fit(X, labels)
        assert model.threshold_ == pytest.approx(coded.threshold_)
        np.testing.assert_array_equal(model.predict(X) == "fraud", coded.predict(X) == 1)
    by_cost = TunedThresholdClassifierCV(LR(), cost=[[0, 9], [1, 0]], pos_label="fraud").fit(
        X, labels
    )
    same = TunedThresholdClassifierCV(LR(), cost=[[0, 1], [9, 0]]).fit(X, y)
    assert by_cost.threshold_ == pytest.approx(same.threshold_)
    for bad in (FixedThresholdClassifier, TunedThresholdClassifierCV):
        with pytest.raises(ValueError, match="pos_label='theft'"):
            bad(LR(), pos_label="theft").fit(X, labels)


def test_a_common_positive_class_that_nobody_named_warns(rare):
    X, y = rare
    labels = np.where(y, "fraud", "ok")
    with pytest.warns(UserWarning, match="'ok' as the positive class.*common"):
        FixedThresholdClassifier(LR(), 0.1).fit(X, labels)
    with pytest.warns(UserWarning, match="1 as the positive class.*common"):
        TunedThresholdClassifierCV(LR(), scoring="f1").fit(X, 1 - y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FixedThresholdClassifier(LR(), 0.1, pos_label="ok").fit(X, labels)
        TunedThresholdClassifierCV(LR()).fit(X, labels)


def test_decision_functions_serve_where_there_are_no_probabilities(rare, three):
    X, y = rare
    svm = LinearSVC()
    folds = stock.StratifiedKFold(5)
    model = TunedThresholdClassifierCV(svm, cv=folds).fit(X, y)
    s = stock.cross_val_predict(svm, X, y, cv=folds, method="decision_function")
    best = max(balanced_accuracy_score(y, s >= t) for t in np.unique(s))
    assert balanced_accuracy_score(y, s >= model.threshold_) == pytest.approx(best)
    assert not hasattr(model, "predict_proba")
    np.testing.assert_array_equal(model.predict(X), model.decision_function(X) >= model.threshold_)
    for base in (svm, LR()):
        kw = {"response_method": "decision_function"}
        ours = FixedThresholdClassifier(base, 0.4, **kw).fit(X, y)
        theirs = stock.FixedThresholdClassifier(base, threshold=0.4, **kw).fit(X, y)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        auto = FixedThresholdClassifier(base, "auto", **kw).fit(X, y)
        np.testing.assert_array_equal(auto.predict(X), base.fit(X, y).predict(X))
    with pytest.raises(ValueError, match="no predict_proba"):
        FixedThresholdClassifier(svm, response_method="predict_proba").fit(X, y)
    X, y = three
    plain = FixedThresholdClassifier(svm).fit(X, y)
    np.testing.assert_array_equal(plain.predict(X), svm.fit(X, y).predict(X))
    tuned = TunedThresholdClassifierCV(svm, scoring="f1_macro", cv=3).fit(X, y)
    s = np.concatenate(
        [
            clone(svm).fit(X[a], y[a]).decision_function(X[b])
            for a, b in stock.StratifiedKFold(3).split(X, y)
        ]
    )
    at = np.concatenate([b for _, b in stock.StratifiedKFold(3).split(X, y)])
    tried = f1_score(y[at], (s - tuned.threshold_).argmax(1), average="macro")
    assert tried > f1_score(y[at], s.argmax(1), average="macro")
    np.testing.assert_array_equal(
        tuned.predict(X), (tuned.decision_function(X) - tuned.threshold_).argmax(1)
    )
    one_by_one = SVC(decision_function_shape="ovo")
    X, y = make_classification(200, 8, n_classes=4, n_informative=5, random_state=0)
    with pytest.raises(ValueError, match="6 columns for 4 classes"):
        FixedThresholdClassifier(one_by_one).fit(X, y).predict(X)


# --- metadata and copies ---------------------------------------------------------------------


def test_weights_reach_the_last_step(rare):
    X, y = rare
    w = np.where(y == 1, 4.0, 1.0)
    pipe = make_pipeline(StandardScaler(), LR())
    alone = clone(pipe).fit(X, y, logisticregression__sample_weight=w)
    for base in (pipe, stock.GridSearchCV(pipe, {"logisticregression__C": [1.0]}, cv=2)):
        for model in (FixedThresholdClassifier(base), TunedThresholdClassifierCV(base, cv=2)):
            fitted = model.fit(X, y, sample_weight=w)
            np.testing.assert_allclose(fitted.predict_proba(X), alone.predict_proba(X))
            with pytest.raises(TypeError, match="takes no sample_weight"):
                clone(model).set_params(estimator=KNeighborsClassifier()).fit(X, y, sample_weight=w)


class _Selective(ClassifierMixin, BaseEstimator):
    """A classifier whose fit takes metadata of its own."""

    def fit(self, X, y, sample_weight=None, shift=None):
        self.inner_ = LR().fit(
            X if shift is None else X + np.asarray(shift)[:, None], y, sample_weight
        )
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    def predict(self, X):
        return self.inner_.predict(X)


@pytest.mark.parametrize(
    "make",
    [
        lambda base: FixedThresholdClassifier(base, 0.3),
        lambda base: TunedThresholdClassifierCV(base, cv=stock.GroupKFold(3)),
        lambda base: TunedThresholdClassifierCV(base, cv=2, scoring=make_scorer(_worth)),
    ],
    ids=["fixed", "tuned", "called"],
)
@pytest.mark.parametrize("given", [(), ("sample_weight",), ("shift",), ("sample_weight", "shift")])
def test_routing_changes_nothing(rare, make, given):
    X, y = rare
    rng = np.random.default_rng(0)
    params = {"sample_weight": rng.uniform(0.5, 2.0, len(y)), "shift": rng.normal(size=len(y))}
    params = {name: params[name] for name in given}
    plain = make(_Selective())
    grouped = isinstance(getattr(plain, "cv", None), stock.GroupKFold)
    groups = {"groups": np.arange(len(y)) // 10} if grouped else {}
    wanted = plain.fit(X, y, **params, **groups)
    with config_context(enable_metadata_routing=True):
        asked = make(_Selective().set_fit_request(**dict.fromkeys(given, True)))
        routed = asked.fit(X, y, **params, **groups)
    np.testing.assert_array_equal(routed.predict_proba(X), wanted.predict_proba(X))
    np.testing.assert_array_equal(routed.predict(X), wanted.predict(X))


def _worth(y, decided, sample_weight=None):
    return float(np.average(np.where(y == 1, 4.0, 1.0) * (y == decided), weights=sample_weight))


def test_weights_that_only_the_inner_estimator_asks_for_pass_searches(rare):
    X, y = rare
    w = np.where(y == 1, 4.0, 1.0)
    with config_context(enable_metadata_routing=True):
        base = LR().set_fit_request(sample_weight=True)
        for model in (FixedThresholdClassifier(base), TunedThresholdClassifierCV(base, cv=2)):
            model.set_score_request(sample_weight=False)
            search = stock.GridSearchCV(model, {"estimator__C": [1.0]}, cv=2)
            found = search.fit(X, y, sample_weight=w)
            np.testing.assert_allclose(found.predict_proba(X), LR().fit(X, y, w).predict_proba(X))


def test_scorers_without_weights_are_called_without(rare):
    X, y = rare
    w = np.where(y == 1, 4.0, 1.0)
    scorer = make_scorer(lambda y, decided: float(balanced_accuracy_score(y, decided)))
    model = TunedThresholdClassifierCV(LR(), scoring=scorer, cv=2).fit(X, y, sample_weight=w)
    assert 0.5 < model.best_score_ < 1


def test_what_was_fitted_stays_fitted(rare):
    X, y = rare
    labels = np.where(y, "fraud", "ok")
    rule = np.array([0.2, 0.8])
    for model in (
        FixedThresholdClassifier(LR(), 0.2, pos_label="fraud"),
        FixedThresholdClassifier(LR(), rule),
        TunedThresholdClassifierCV(LR(), pos_label="fraud", cv=2),
    ):
        before = model.fit(X, labels).predict(X)
        rule[:] = [0.8, 0.2]
        model.set_params(pos_label=None, response_method="decision_function", estimator=LR(C=1e-4))
        if "threshold" in model.get_params():
            model.set_params(threshold=0.99)
        np.testing.assert_array_equal(model.predict(X), before)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), before)
        rule[:] = [0.2, 0.8]
