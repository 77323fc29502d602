"""Classifiers that decide by changed scores of a fitted one: `LogitAdjuster` and `WeightAligner`."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier as SklearnMLP
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.linear_model import LinearClassifier
from skimb.losses import LogitAdjusted, VectorScaling
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
from skimb.posthoc import LogitAdjuster, PriorCorrectedClassifier, WeightAligner

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks(
    [
        LogitAdjuster(LogisticRegression(), taus=[0.0, 1.0], cv=2),
        LogitAdjuster(LogisticRegression(), tau=1.0),
        WeightAligner(LogisticRegression(), tau=1.0),
    ]
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        900, 8, n_classes=3, n_informative=5, weights=[0.8, 0.15, 0.05], class_sep=0.7,
        random_state=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def long_tail():
    """Digits with 100 rows of the first class down to 8 of the last, and the rows left over."""
    X, y = load_digits(return_X_y=True)
    counts = np.geomspace(100, 8, 10).astype(int)
    train = np.concatenate([np.flatnonzero(y == k)[:n] for k, n in enumerate(counts)])
    test = np.setdiff1d(np.arange(len(y)), train)
    X = X / 16
    return X[train], y[train], X[test], y[test]


# --- logit adjustment ------------------------------------------------------------------------------


def test_adjustment_is_the_rule_of_bayes_for_a_balanced_prior():
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.05).astype(int)
    X = rng.normal(size=(len(y), 1)) + 1.5 * y[:, None]
    model = LogitAdjuster(LogisticRegression(), tau=1.0).fit(X, y)
    line = np.linspace(-2, 3, 501)[:, None]
    turn = line[np.argmax(model.predict(line) == 1), 0]
    assert turn == pytest.approx(0.75, abs=0.06)  # half way between the means
    turn = line[np.argmax(model.estimator_.predict(line) == 1), 0]
    assert turn == pytest.approx(0.75 + np.log(19) / 1.5, abs=0.15)


def test_scores_are_log_probabilities_less_the_log_prior(three):
    X, y = three
    model = LogitAdjuster(LogisticRegression(), tau=0.7, prior={0: 0.5, 1: 0.3, 2: 0.2}).fit(X, y)
    z = model.estimator_.predict_log_proba(X) - 0.7 * np.log([0.5, 0.3, 0.2])
    np.testing.assert_allclose(model.decision_function(X), z)
    np.testing.assert_array_equal(model.predict(X), z.argmax(1))
    np.testing.assert_allclose(model.offset_, 0.7 * np.log([0.5, 0.3, 0.2]))
    np.testing.assert_array_equal(model.predict_proba(X), model.estimator_.predict_proba(X))


@pytest.mark.parametrize("how", [{"tau": 0.0}, {"tau": 1.0, "prior": [1 / 3] * 3}])
def test_no_adjustment(how, three):
    X, y = three
    for base in (LogisticRegression(), LinearSVC(random_state=0)):
        model = LogitAdjuster(base, **how).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), model.estimator_.predict(X))


def test_the_strength_is_the_best_out_of_fold(three):
    X, y = three
    cv = StratifiedKFold(4, shuffle=True, random_state=1)
    model = LogitAdjuster(LogisticRegression(), taus=[0.0, 0.5, 1.0, 1.5], cv=cv).fit(X, y)
    log_p = cross_val_predict(LogisticRegression(), X, y, cv=cv, method="predict_log_proba")
    prior = np.bincount(y) / len(y)
    means = []
    for tau in [0.0, 0.5, 1.0, 1.5]:
        found = (log_p - tau * np.log(prior)).argmax(1)
        each = [balanced_accuracy_score(y[t], found[t]) for _, t in cv.split(X, y)]
        means.append(np.mean(each))
    np.testing.assert_allclose(model.cv_results_["mean_test_score"], means)
    assert model.tau_ == [0.0, 0.5, 1.0, 1.5][int(np.argmax(means))]
    assert model.tau_ > 0


def test_training_rows_do_not_choose_the_strength():
    # every training row is fitted perfectly, so only rows out of fold tell strengths apart
    X, y = make_classification(300, 5, weights=[0.85], flip_y=0.1, random_state=0)
    model = LogitAdjuster(RandomForestClassifier(30, random_state=0)).fit(X, y)
    assert (model.estimator_.predict(X) == y).all()
    assert model.tau_ > 0


class Counted(LogisticRegression):
    """Counts its fits."""

    fits = 0

    def fit(self, X, y, sample_weight=None):
        type(self).fits += 1
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("kind", [LogitAdjuster, WeightAligner])
def test_fitted_classifiers_are_not_refitted(kind, three):
    X, y = three
    inner = Counted().fit(X[:400], y[:400])
    before = inner.coef_.copy()
    Counted.fits = 0
    frozen = kind(FrozenEstimator(inner)).fit(X[400:], y[400:])
    prefit = kind(inner, cv="prefit").fit(X[400:], y[400:])
    assert Counted.fits == 0
    np.testing.assert_array_equal(inner.coef_, before)
    assert frozen.tau_ == prefit.tau_
    np.testing.assert_array_equal(frozen.predict(X), prefit.predict(X))
    again = prefit.fit(X[400:], y[400:])  # rests on the classifier, not on what was aligned before
    np.testing.assert_array_equal(frozen.predict(X), again.predict(X))
    with pytest.raises(NotFittedError):
        kind(LogisticRegression(), cv="prefit").fit(X, y)
    with pytest.raises(ValueError, match=r"knows the classes \[0, 1, 2\], y holds \[0, 1\]"):
        kind(FrozenEstimator(inner)).fit(X[y < 2], y[y < 2])


def test_two_classes_share_a_margin():
    X, y = make_classification(400, weights=[0.9], random_state=0)
    model = LogitAdjuster(LogisticRegression(), tau=1.0).fit(X, np.array(["no", "yes"])[y])
    z = model.estimator_.decision_function(X) - np.log(y.mean() / (1 - y.mean()))
    np.testing.assert_allclose(model.decision_function(X), z, atol=1e-9)
    assert set(model.predict(X)) == {"no", "yes"}
    margins = LogitAdjuster(LinearSVC(random_state=0), tau=1.0).fit(X, y)
    assert not hasattr(margins, "predict_proba")
    z = margins.estimator_.decision_function(X) - np.log(y.mean() / (1 - y.mean()))
    np.testing.assert_allclose(margins.decision_function(X), z)


@pytest.mark.parametrize(
    "inner", [LinearClassifier(LogitAdjusted()), LinearClassifier(class_weight="balanced")]
)
def test_own_classifiers_are_adjusted_once(inner, three):
    X, y = three
    model = LogitAdjuster(inner, tau=1.0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), model.estimator_.predict(X))
    plain = LogitAdjuster(inner, tau=0.0).fit(X, y)
    np.testing.assert_array_equal(plain.predict(X), plain.estimator_.predict_proba(X).argmax(1))
    assert (plain.predict(X) == 0).sum() > (model.predict(X) == 0).sum() + 50


def test_around_and_within_others(three):
    X, y = three
    weighted = LogisticRegression(class_weight="balanced")
    model = LogitAdjuster(PriorCorrectedClassifier(weighted), tau=1.0).fit(X, y)
    assert (model.predict(X) == clone(weighted).fit(X, y).predict(X)).mean() > 0.98
    corrected = PriorCorrectedClassifier(LogitAdjuster(weighted, tau=1.0)).fit(X, y)
    inner = PriorCorrectedClassifier(weighted).fit(X, y)
    np.testing.assert_allclose(corrected.predict_proba(X), inner.predict_proba(X))
    search = GridSearchCV(
        LogitAdjuster(make_pipeline(StandardScaler(), LogisticRegression())),
        {"tau": [0.0, 1.0], "estimator__logisticregression__C": [0.1, 1.0]},
        scoring="balanced_accuracy",
        cv=3,
    ).fit(X, y)
    assert search.best_params_["tau"] == 1.0


@pytest.mark.parametrize("kind", [LogitAdjuster, WeightAligner])
def test_what_was_fitted_stays(kind, three):
    X, y = three
    model = kind(LogisticRegression(), tau=0.8).fit(X, y)
    before = model.decision_function(X)
    others = {
        "tau": 2.0, "prior": [0.1, 0.1, 0.8], "groups": [0, 0, 1], "intercept": "drop", "cv": 3,
        "taus": [5.0], "scoring": "accuracy", "estimator": LinearSVC(),
    }  # fmt: skip
    for name in model.get_params(deep=False):
        changed = copy.deepcopy(model).set_params(**{name: others[name]})
        for now in (changed, pickle.loads(pickle.dumps(changed))):
            np.testing.assert_array_equal(now.decision_function(X), before, err_msg=name)


def test_weights_are_repetitions(three):
    X, y = three
    times = np.random.default_rng(0).integers(0, 3, len(y))
    times[:50] = 1
    for kind in (LogitAdjuster, WeightAligner):
        model = kind(LogisticRegression(tol=1e-10), tau=1.0)
        a = clone(model).fit(X, y, sample_weight=times)
        b = clone(model).fit(np.repeat(X, times, 0), np.repeat(y, times))
        np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), atol=1e-5)


def test_weights_count_in_the_choice(three):
    X, y = three
    w = np.where(y == 2, 0.01, 1.0)
    model = LogitAdjuster(LogisticRegression(), scoring="accuracy").fit(X, y, sample_weight=w)
    inner = FrozenEstimator(LogisticRegression().fit(X, y, sample_weight=w))
    again = LogitAdjuster(inner, scoring="accuracy").fit(X, y, sample_weight=w)
    right = (again.predict(X) == y) @ w / w.sum()
    assert again.cv_results_["mean_test_score"].max() == pytest.approx(right)
    np.testing.assert_allclose(model.prior_, [w[y == k].sum() / w.sum() for k in range(3)])


def test_bad_input_is_refused(three):
    X, y = three
    base = LogisticRegression()
    for kind in (LogitAdjuster, WeightAligner):
        with pytest.raises(ValueError, match=r"taus=\[\] must hold finite numbers"):
            kind(base, taus=[]).fit(X, y)
        with pytest.raises(ValueError, match="exclusive classes"):
            kind(base).fit(X, np.eye(3, dtype=int)[y])
        with pytest.raises(ValueError, match="tau"):
            kind(base, tau="best").fit(X, y)
        with pytest.raises(TypeError, match="takes no sample_weight"):
            kind(LinearDiscriminantAnalysis()).fit(X, y, sample_weight=np.ones(len(y)))
    with pytest.raises(ValueError, match=r"prior=\[0.5, 0.5\] must hold one positive number"):
        LogitAdjuster(base, prior=[0.5, 0.5]).fit(X, y)
    with pytest.raises(ValueError, match="lacks the classes"):
        WeightAligner(base, groups={0: 0}).fit(X, y)
    with pytest.raises(ValueError, match="no class in group 0"):
        WeightAligner(base, groups=[1, 1, 2]).fit(X, y)
    with pytest.raises(ValueError, match="must hold the number of a group"):
        WeightAligner(base, groups=[0, 1]).fit(X, y)
    for model in (RandomForestClassifier(3), SVC(kernel="linear")):
        with pytest.raises(TypeError, match="has no output layer with one weight vector per class"):
            WeightAligner(model, tau=1.0).fit(X, y)
    pairs = LogitAdjuster(SVC(decision_function_shape="ovo"), tau=1.0)
    pairs.fit(X, np.arange(len(y)) % 4)
    with pytest.raises(ValueError, match="gives 6 scores for 4 classes"):
        pairs.predict(X)


def test_sparse_rows_and_texts(three):
    X, y = three
    dense = WeightAligner(LogisticRegression(tol=1e-8), tau=1.0).fit(X, y)
    rows = WeightAligner(LogisticRegression(tol=1e-8), tau=1.0).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(dense.decision_function(X), rows.decision_function(X), atol=1e-4)


# --- weight aligning -------------------------------------------------------------------------------


class Given(LogisticRegression):
    """A linear classifier with given weights."""

    def __init__(self, weights=None, intercept=None):
        super().__init__()
        self.weights, self.intercept = weights, intercept

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y)
        self.coef_ = np.array(self.weights, float)
        self.intercept_ = np.array(self.intercept, float)
        return self


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 2)), np.arange(60) % 3


def test_gamma_of_old_and_new_classes(small):
    X, y = small
    base = Given([[3, 4], [0, 2], [6, 8]], [1.0, -1.0, 0.5])
    model = WeightAligner(base, tau=1.0, groups=[0, 0, 1]).fit(X, y)
    np.testing.assert_allclose(model.weight_norms_, [5, 2, 10])
    np.testing.assert_allclose(model.scale_, [1, 1, 0.35])
    np.testing.assert_allclose(model.aligned_.coef_[2], [2.1, 2.8])
    np.testing.assert_array_equal(model.aligned_.intercept_, [1.0, -1.0, 0.5])
    again = WeightAligner(FrozenEstimator(model.aligned_), tau=1.0, groups={0: 0, 1: 0, 2: 1}).fit(X, y)  # fmt: skip
    np.testing.assert_allclose(again.scale_, 1.0)  # idempotent
    np.testing.assert_array_equal(model.estimator_.coef_, base.weights)


@pytest.mark.parametrize("tau", [0.5, 1.0, 1.7])
def test_norms_of_single_classes(tau, small):
    X, y = small
    base = Given([[3, 4], [0, 2], [6, 8]], [1.0, -1.0, 0.5])
    model = WeightAligner(base, tau=tau).fit(X, y)
    norms = np.array([5.0, 2.0, 10.0])
    factors = (norms**tau).mean() / norms**tau
    np.testing.assert_allclose(model.scale_, factors)
    z = X @ (np.array(base.weights) * factors[:, None]).T + base.intercept
    np.testing.assert_allclose(model.decision_function(X), z)
    np.testing.assert_array_equal(model.predict(X), z.argmax(1))
    np.testing.assert_array_equal(model.predict_proba(X), model.estimator_.predict_proba(X))
    dropped = WeightAligner(base, tau=tau, intercept="drop").fit(X, y)
    np.testing.assert_allclose(dropped.decision_function(X), z - base.intercept)
    twice = WeightAligner(Given(2 * np.array(base.weights), [2.0, -2.0, 1.0]), tau=tau).fit(X, y)
    np.testing.assert_array_equal(twice.predict(X), model.predict(X))


def test_equal_norms_and_no_strength_change_nothing(small):
    X, y = small
    even = Given([[3, 4], [0, 5], [-5, 0]], [1.0, -1.0, 0.5])
    np.testing.assert_allclose(WeightAligner(even, tau=1.3).fit(X, y).scale_, 1.0)
    uneven = Given([[3, 4], [0, 0], [-1, 0]], [1.0, -1.0, 0.5])
    np.testing.assert_allclose(WeightAligner(uneven, tau=0.0).fit(X, y).scale_, 1.0)
    found = WeightAligner(uneven, tau=1.0).fit(X, y)
    np.testing.assert_allclose((found.aligned_.coef_**2).sum(1), [9, 0, 9])


def test_head_and_tail(long_tail):
    X, y, *_ = long_tail
    model = WeightAligner(LogisticRegression(C=0.1), tau=1.0, groups="head_tail").fit(X, y)
    np.testing.assert_array_equal(model.groups_, [0] * 5 + [1] * 5)
    norms = np.linalg.norm(model.aligned_.coef_, axis=1)
    assert norms[:5].mean() == pytest.approx(norms[5:].mean())
    np.testing.assert_array_equal(norms[5:].argsort(), model.weight_norms_[5:].argsort())


HEADS = {
    "logistic": LogisticRegression(C=0.05),
    "svm": LinearSVC(C=0.05, random_state=0),
    "sgd": SGDClassifier(random_state=0),
    "discriminant": LinearDiscriminantAnalysis(),
    "perceptron": SklearnMLP((16,), max_iter=20, random_state=0),
    "own perceptron": MLPClassifier((16,), max_iter=20, random_state=0),
    "own linear": LinearClassifier(),
    "module": NeuralNetClassifier(max_iter=5, random_state=0),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression(C=0.05)),
    "search": GridSearchCV(LogisticRegression(), {"C": [0.05]}, cv=2),
}


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_output_layer(name, long_tail):
    X, y, X_test, _ = long_tail
    model = WeightAligner(HEADS[name], tau=1.0).fit(X, y)
    assert np.ptp(model.scale_) > 0
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(X_test), model.predict(X_test))
    np.testing.assert_array_equal(model.predict(X_test), model.aligned_.predict(X_test))
    own = WeightAligner(FrozenEstimator(model.aligned_), tau=1.0).fit(X, y)
    np.testing.assert_allclose(own.weight_norms_, model.weight_norms_.mean(), rtol=1e-5)
    if name != "discriminant":
        more = WeightAligner(HEADS[name], tau=0.0).fit(X, y)
        np.testing.assert_array_equal(more.predict(X_test), more.estimator_.predict(X_test))


def test_own_nets_on_sparse_rows(long_tail):
    X, y, *_ = long_tail
    rows = sparse.csr_matrix(X)
    for inner in (MLPClassifier((8,), max_iter=10, random_state=0), LinearClassifier()):
        model = WeightAligner(inner, tau=1.0).fit(rows, y)
        net = model.aligned_.net_.module_
        skip = net.skip_coef()
        parts = [net.coefs()[-1]] if skip is None else [net.coefs()[-1], skip]
        norms = np.sqrt(sum((part**2).sum(0) for part in parts))
        np.testing.assert_allclose(norms, model.weight_norms_.mean(), rtol=1e-5)


def test_two_classes(three):
    X, y = three
    with pytest.warns(UserWarning, match="one weight vector for both classes") as caught:
        model = WeightAligner(LogisticRegression(), tau=1.0).fit(X, y > 0)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(model.predict(X), model.estimator_.predict(X))
    np.testing.assert_array_equal(model.scale_, 1.0)
    two = MLPClassifier((8,), loss=VectorScaling(), max_iter=10, random_state=0)
    assert np.ptp(WeightAligner(two, tau=1.0).fit(X, (y > 0).astype(int)).scale_) > 0


def test_aligning_helps_a_shrunk_linear_model(long_tail):
    X, y, X_test, y_test = long_tail
    base = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    plain = balanced_accuracy_score(y_test, clone(base).fit(X, y).predict(X_test))
    aligned = balanced_accuracy_score(
        y_test, WeightAligner(base, tau=1.0).fit(X, y).predict(X_test)
    )
    adjusted = balanced_accuracy_score(y_test, LogitAdjuster(base, tau=1.0).fit(X, y).predict(X_test))  # fmt: skip
    assert aligned > plain + 0.03
    assert adjusted > plain + 0.03


def test_probabilities_can_be_calibrated(long_tail):
    X, y, X_test, _ = long_tail
    model = WeightAligner(LogisticRegression(C=0.05), tau=1.0)
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
    found = calibrated.predict_proba(X_test)
    np.testing.assert_allclose(found.sum(1), 1.0)
