"""Normalised logistic regression and naive Bayes with common variances."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_wine, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.linear_model import NormalizedLogisticClassifier
from skimb.naive_bayes import PooledGaussianNB


@parametrize_with_checks(
    [
        NormalizedLogisticClassifier(),
        NormalizedLogisticClassifier(normalize="class"),
        NormalizedLogisticClassifier(variant="nbp"),
        PooledGaussianNB(),
        PooledGaussianNB(shrink_to_pooled=0.5, priors="uniform"),
    ],
    expected_failed_checks=lambda e: {
        "check_class_weight_classifiers": "normalised by class there is nothing for class weights to do, so they are refused"
    } if getattr(e, "normalize", "") == "class" else {},
)  # fmt: skip
def test_sklearn_checks(estimator, check):
    check(estimator)


# --- normalised logistic regression --------------------------------------------------------------


def one_against(n):
    """One row of class + and n - 1 copies of a row of class -."""
    X = np.tile([-0.5, -1.0], (n, 1))
    X[0, 0] = 0.5
    return X, (np.arange(n) == 0).astype(int)


GOLDEN = [
    (1000, "nlr", 100.0, 2), (1000, "nlr", 10.0, 2), (1000, "nlr", 1.0, 16), (1000, "nlr", 0.1, 157),
    (1000, "lr", 100.0, 308), (1000, "bp", 1.0, 301), (1000, "nbp", 1.0, 2),
    (100, "nlr", 1.0, 11), (100, "nlr", 0.1, 110), (100, "lr", 100.0, 31),
]  # fmt: skip


@pytest.mark.parametrize(("n", "variant", "step", "steps"), GOLDEN)
def test_golden_table(n, variant, step, steps):
    """The paper's first table, and further entries of the same set."""
    X, y = one_against(n)
    for rows in (X, sparse.csr_matrix(X)):
        model = NormalizedLogisticClassifier(step, variant=variant, fit_intercept=False).fit(
            rows, y
        )
        assert model.n_iter_.tolist() == [steps]
        assert model.separated_.all()


def test_steps_grow_to_perceptrons():
    X, y = make_classification(200, 5, weights=[0.9], class_sep=0.4, random_state=0)
    for smooth, hard in (("lr", "bp"), ("nlr", "nbp")):
        kw = {"max_iter": 7, "average": False, "fit_intercept": False}
        with pytest.warns(ConvergenceWarning, match="not separated"):
            a = NormalizedLogisticClassifier(1e8, variant=smooth, **kw).fit(X, y)
        with pytest.warns(ConvergenceWarning, match="not separated"):
            b = NormalizedLogisticClassifier(variant=hard, **kw).fit(X, y)
        np.testing.assert_allclose(a.coef_ / 1e8, b.coef_, atol=1e-12)


def test_steps_until_separation_do_not_grow_with_rarity():
    rng = np.random.default_rng(0)
    found = {"nlr": [], "lr": []}
    for rare in (1000, 40, 10):
        w = rng.normal(size=50) / np.sqrt(50)
        X = rng.normal(size=(4000, 50))
        side = X @ w
        X += np.outer(np.sign(side) * 0.5, w) + 0.5
        y = (side > 0).astype(int)  # an offset of all rows pulls towards the common class
        at = np.r_[np.flatnonzero(y == 1)[:rare], np.flatnonzero(y == 0)[: 2000 - rare]]
        for variant in found:
            with_steps = NormalizedLogisticClassifier(1.0, variant=variant, max_iter=5000)
            found[variant].append(int(with_steps.fit(X[at], y[at]).n_iter_[0]))
    assert max(found["nlr"]) < 30
    assert found["lr"][-1] > 10 * found["nlr"][-1]


def test_it_does_not_beat_logistic_regression():
    """The verdict of its page."""
    X, y = make_classification(
        3000, 10, n_informative=5, weights=[0.95], class_sep=0.8, random_state=0
    )
    train, test = slice(0, 1500), slice(1500, None)
    bar = average_precision_score(
        y[test], LogisticRegression().fit(X[train], y[train]).decision_function(X[test])
    )
    for kw in ({}, {"normalize": "class"}):
        with pytest.warns(ConvergenceWarning):
            model = NormalizedLogisticClassifier(**kw).fit(X[train], y[train])
        assert average_precision_score(y[test], model.decision_function(X[test])) < bar + 0.02
    with pytest.warns(ConvergenceWarning):
        by_class = NormalizedLogisticClassifier(normalize="class").fit(X[train], y[train])
    with pytest.warns(ConvergenceWarning):
        plain = NormalizedLogisticClassifier().fit(X[train], y[train])
    scores = [balanced_accuracy_score(y[test], m.predict(X[test])) for m in (by_class, plain)]
    assert scores[0] > scores[1]
    with pytest.raises(ValueError, match="is for variant='nlr'"):
        NormalizedLogisticClassifier(variant="bp", normalize="class").fit(X, y)
    with pytest.raises(ValueError, match="leaves class_weight"):
        NormalizedLogisticClassifier(normalize="class", class_weight="balanced").fit(X, y)


# --- naive Bayes ---------------------------------------------------------------------------------


def test_common_variance_is_what_scikit_learn_gives_when_forced():
    X, y = load_wine(return_X_y=True)
    theirs = GaussianNB(var_smoothing=1e-9).fit(X, y)
    ours = PooledGaussianNB().fit(X, y)
    counts = np.bincount(y) / len(y)
    extra = 1e-9 * X.var(0).max()
    np.testing.assert_allclose(ours.pooled_var_, counts @ (theirs.var_ - extra) + extra)
    theirs.var_ = np.tile(ours.pooled_var_, (3, 1))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(ours.theta_, theirs.theta_)
    linear = X @ ours.coef_.T + ours.intercept_
    shift = linear - ours.decision_function(X)
    np.testing.assert_allclose(shift, shift[:, :1] * np.ones(3), atol=1e-6)


def test_no_shrinkage_is_scikit_learns():
    X, y = load_wine(return_X_y=True)
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    ours = PooledGaussianNB(shrink_to_pooled=0.0).fit(X, y, sample_weight=w)
    theirs = GaussianNB().fit(np.repeat(X, w.astype(int), 0), np.repeat(y, w.astype(int)))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    assert not hasattr(ours, "coef_")


@pytest.mark.parametrize("shrink", [0.3, 1.0])
def test_chunks_sparse_rows_and_scales(shrink):
    X, y = load_breast_cancer(return_X_y=True)
    once = PooledGaussianNB(shrink_to_pooled=shrink).fit(X, y)
    parts = PooledGaussianNB(shrink_to_pooled=shrink)
    for at in np.array_split(np.argsort(y, kind="stable"), 9):
        parts.partial_fit(X[at], y[at], classes=[0, 1])
    np.testing.assert_allclose(parts.var_, once.var_)
    np.testing.assert_allclose(parts.predict_proba(X), once.predict_proba(X), atol=1e-9)
    thin = PooledGaussianNB(shrink_to_pooled=shrink).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(
        thin.predict_proba(sparse.csr_matrix(X)), once.predict_proba(X), atol=1e-6
    )
    Z = StandardScaler().fit_transform(X)
    free = PooledGaussianNB(var_smoothing=0.0, shrink_to_pooled=shrink)
    np.testing.assert_allclose(
        free.fit(X, y).predict_proba(X), free.fit(Z, y).predict_proba(Z), atol=1e-6
    )
    with pytest.raises(ValueError, match="first call"):
        PooledGaussianNB().partial_fit(X, y)


def test_priors():
    X, y = make_classification(2000, 6, weights=[0.95], class_sep=0.6, random_state=0)
    usual, even = PooledGaussianNB().fit(X, y), PooledGaussianNB(priors="uniform").fit(X, y)
    assert even.predict(X).mean() > 1.1 * usual.predict(X).mean()
    gap = even.decision_function(X) - usual.decision_function(X)
    np.testing.assert_allclose(gap, -np.log(y.mean() / (1 - y.mean())))
    with pytest.raises(ValueError, match="together 1"):
        PooledGaussianNB(priors=[0.5, 0.6]).fit(X, y)


def rows_needed(make, d, seed):
    """Rows until an error of 1 %: class means -1 and 1 in all coordinates, variance d in half of them."""
    rng = np.random.default_rng(seed)
    scale = np.where(np.arange(d) < d // 2, np.sqrt(d), 1.0)

    def draw(n):
        y = np.arange(n) % 2
        return (2.0 * y - 1)[:, None] + scale * rng.normal(size=(n, d)), y

    X_test, y_test = draw(2000)
    X, y = draw(2000)
    n = 4
    while n <= 2000:
        if (make().fit(X[:n], y[:n]).predict(X_test) != y_test).mean() <= 0.01:
            return n
        n = int(np.ceil(1.25 * n))
    return n


def test_rows_needed_grow_with_log_d_and_with_d():
    """The paper's simulation: naive Bayes needs hardly more rows for four times the features."""
    dims = (100, 400)
    bayes = [np.median([rows_needed(PooledGaussianNB, d, s) for s in range(3)]) for d in dims]
    logit = [
        np.median([rows_needed(lambda: LogisticRegression(max_iter=1000), d, s) for s in range(3)])
        for d in dims
    ]
    assert max(bayes) < 30
    assert logit[0] > 60
    assert logit[1] > 2 * logit[0]
