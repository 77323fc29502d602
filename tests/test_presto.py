"""Cumulative logits shrunk towards proportional odds."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb._core.compat import VERSION
from skimb.linear_model import PrestoClassifier, PrestoClassifierCV
from skimb.linear_model._presto_solver import Problem
from skimb.metrics import get_scorer


def staged(seed=0, n=600, p=4, alpha=(0.0, 2.0, 3.5), share=0.5):
    """The authors' sparse simulation: classes, and the true probabilities."""
    rng = np.random.default_rng(seed)
    while True:
        X = rng.uniform(-1, 1, (n, p))
        psi = 0.5 * rng.choice([-1.0, 1.0], (p, len(alpha)))
        psi[:, 0] = 0.5
        psi *= rng.random(psi.shape) < share
        F = expit(np.array(alpha) + X @ psi.cumsum(1))
        P = np.diff(np.c_[np.zeros(n), F, np.ones(n)], axis=1)
        y = (rng.random((n, 1)) > F).sum(1)
        if (P > 0).all() and len(np.unique(y)) == len(alpha) + 1:
            return X, y, P


@pytest.fixture(scope="module")
def stages():
    X, y, _ = staged()
    return 3.0 * X + 2.0, y  # neither centred nor of unit scale


@parametrize_with_checks([PrestoClassifier(), PrestoClassifierCV(n_lams=5, cv=3)])
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_gradient(make, stages):
    X, y = stages
    problem = Problem(make(X), y, 4, np.random.default_rng(0).uniform(0.5, 2, len(y)), True)
    alpha, psi = problem.start()
    psi = psi + 0.05 * np.random.default_rng(1).normal(size=psi.shape)
    _, by_alpha, by_psi = problem.value_grad(alpha, psi)
    step = 1e-6
    for k in range(3):
        e = step * np.eye(3)[k]
        slope = (problem.value(alpha + e, psi) - problem.value(alpha - e, psi)) / (2 * step)
        assert slope == pytest.approx(by_alpha[k], abs=2e-7)
        for j in range(4):
            e = np.zeros_like(psi)
            e[j, k] = step
            slope = (problem.value(alpha, psi + e) - problem.value(alpha, psi - e)) / (2 * step)
            assert slope == pytest.approx(by_psi[j, k], abs=2e-7)


@pytest.mark.parametrize("penalize_first", [True, False])
def test_stationary(penalize_first, stages):
    """Penalised differences: slope at most lam where 0, else lam against the sign."""
    X, y = stages
    lam = 0.01
    model = PrestoClassifier(lam, penalize_first=penalize_first, tol=1e-14).fit(X, y)
    problem = Problem(X, y, 4, np.ones(len(y)), True)
    alpha, psi = problem.standardised(model.intercept_, model.coef_)
    psi[np.abs(psi) < 1e-12] = 0.0
    _, by_alpha, slope = problem.value_grad(alpha, psi)
    strength = np.full(psi.shape, lam)
    strength[:, 0] *= penalize_first
    miss = np.where(
        psi == 0, np.maximum(np.abs(slope) - strength, 0), slope + strength * np.sign(psi)
    )
    assert np.abs(miss).max() < 1e-6
    assert np.abs(by_alpha).max() < 1e-6
    assert 0 < (psi == 0).sum() < psi.size


def test_largest_lambda(stages):
    X, y = stages
    top = PrestoClassifier().fit(X, y).lam_max_
    frequencies = np.bincount(y).cumsum()[:-1] / len(y)
    at = PrestoClassifier(top).fit(X, y)
    assert (at.coef_ == 0).all()
    np.testing.assert_allclose(expit(at.intercept_), frequencies, atol=1e-6)
    assert (PrestoClassifier(0.99 * top).fit(X, y).coef_ != 0).any()
    half = PrestoClassifier(l1_ratio=0.5).fit(X, y).lam_max_
    assert half == pytest.approx(2 * top)


def test_two_classes_are_l1_logistic_regression():
    X, y = make_classification(400, 6, weights=[0.8], random_state=0)
    X = StandardScaler().fit_transform(X)
    ours = PrestoClassifier(0.01, tol=1e-14).fit(X, y)
    old = {"penalty": "elasticnet"} if VERSION < (1, 8) else {}
    theirs = LogisticRegression(
        **old, l1_ratio=1, C=1 / (len(y) * 0.01), solver="saga", tol=1e-10, max_iter=10000
    )
    theirs.fit(X, y)
    np.testing.assert_allclose(ours.coef_, -theirs.coef_, atol=3e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=3e-6)


def test_limit_of_proportional_odds(stages):
    X, y = stages
    Z = (X - X.mean(0)) / X.std(0)

    def negative(theta):
        eta = np.r_[-np.inf, theta[0], theta[0] + np.exp(theta[1:3]).cumsum(), np.inf]
        slope = Z @ theta[3:]
        return -np.log(expit(eta[y + 1] + slope) - expit(eta[y] + slope)).mean()

    start = np.r_[0.0, 0.0, 0.0, np.zeros(4)]
    wanted = minimize(negative, start, method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-10})
    model = PrestoClassifier(1e3, penalize_first=False, tol=1e-14).fit(Z, y)
    assert (model.coef_diff_[1:] == 0).all()
    for k in range(3):
        np.testing.assert_allclose(model.coef_[k], wanted.x[3:], atol=2e-5)


def test_order_of_classes_matters_only_if_the_first_vector_is_penalised(stages):
    X, y = stages
    for first, same in ((False, True), (True, False)):
        kw = {"penalize_first": first, "tol": 1e-14}
        there = PrestoClassifier(0.01, **kw).fit(X, y).predict_proba(X)
        back = PrestoClassifier(0.01, class_order=[3, 2, 1, 0], **kw).fit(X, y).predict_proba(X)
        assert (np.abs(there - back).max() < 1e-5) == same


def test_weights_are_replication(stages):
    X, y = stages
    w = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = PrestoClassifier(tol=1e-14).fit(X, y, sample_weight=w)
    repeated = PrestoClassifier(tol=1e-14).fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-7)


def test_sparse_rows_give_the_same_model(stages):
    X, y = stages
    X = np.where(np.abs(X) < 2, 0, X)
    for standardize in (True, False):
        kw = {"standardize": standardize, "tol": 1e-13}
        dense = PrestoClassifier(0.02, **kw).fit(X, y)
        thin = PrestoClassifier(0.02, **kw).fit(sparse.csr_matrix(X), y)
        np.testing.assert_allclose(thin.coef_, dense.coef_, atol=1e-7)
        np.testing.assert_allclose(
            thin.predict_proba(sparse.csr_matrix(X)), dense.predict_proba(X), atol=1e-7
        )


def test_scale_of_features_does_not_matter(stages):
    X, y = stages
    base = PrestoClassifier(tol=1e-13).fit(X, y)
    scaled = PrestoClassifier(tol=1e-13).fit(X * [1, 100, 0.01, 5] + [0, 3, 0, -7], y)
    np.testing.assert_allclose(scaled.coef_ * [1, 100, 0.01, 5], base.coef_, atol=1e-6)


def test_factors(stages):
    X, y = stages
    free = PrestoClassifier(10.0, penalty_factors=[0, 1, 1, 1]).fit(X, y)
    assert (free.coef_[:, 0] != 0).all()
    assert (free.coef_[:, 1:] == 0).all()
    with pytest.raises(ValueError, match="must hold 4 finite numbers"):
        PrestoClassifier(penalty_factors=[1, 2]).fit(X, y)


def test_orders_of_classes(stages):
    X, y = stages
    names = np.array(["view", "click", "cart", "buy"])[y]
    order = ["view", "click", "cart", "buy"]
    model = PrestoClassifier(class_order=order).fit(X, names)
    assert model.class_order_.tolist() == order
    assert model.classes_.tolist() == sorted(order)
    numbered = PrestoClassifier().fit(X, y)
    stage = [order.index(name) for name in model.classes_]
    np.testing.assert_array_equal(model.predict_proba(X), numbered.predict_proba(X)[:, stage])
    np.testing.assert_array_equal(model.rare_proba(X), numbered.rare_proba(X))
    np.testing.assert_array_equal(model.predict(X), np.array(order)[numbered.predict(X)])
    frame = pd.DataFrame(X, columns=list("abcd"))
    category = pd.Series(pd.Categorical(names, [*order, "unused"], ordered=True))
    again = PrestoClassifier().fit(frame, category)
    assert again.class_order_.tolist() == order
    np.testing.assert_allclose(again.rare_proba(frame), model.rare_proba(X))
    with pytest.warns(DataConversionWarning):
        column = PrestoClassifier().fit(frame, category.to_frame())
    assert column.class_order_.tolist() == order
    assert again.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="have no rows in y"):
        PrestoClassifier(class_order=[*order, "refund"]).fit(X, names)
    with pytest.raises(ValueError, match=r"lacks the classes \['buy'\]"):
        PrestoClassifier(class_order=order[:3]).fit(X, names)


@pytest.mark.parametrize("model", [PrestoClassifier(), PrestoClassifierCV(4, cv=2)], ids=["plain", "CV"])  # fmt: skip
@pytest.mark.parametrize("category", [False, True])
def test_scorers_see_words_as_codes(model, category, stages):
    X, y = stages
    order = ["view", "click", "cart", "buy"]
    words = pd.Series(np.array(order)[y])
    if category:
        words, named = words.astype(pd.CategoricalDtype(order, ordered=True)), clone(model)
    else:
        named = clone(model).set_params(class_order=order)
    own = ("balanced_log_loss", "balanced_brier_score", "expected_calibration_error")
    scorers = ["neg_log_loss", "roc_auc_ovr", "accuracy"]
    if VERSION >= (1, 7):  # before, it was for two classes
        scorers.append("neg_brier_score")
    scorers = {name: name for name in scorers} | {f"neg_{name}": get_scorer(f"neg_{name}") for name in own}  # fmt: skip
    by_code = cross_validate(model, X, y, cv=3, scoring=scorers)
    by_word = cross_validate(named, X, words, cv=3, scoring=scorers)
    for name in scorers:
        np.testing.assert_allclose(by_word[f"test_{name}"], by_code[f"test_{name}"], err_msg=name)
    assert by_code["test_roc_auc_ovr"].mean() > 0.6


def test_search_finds_the_same_strength_for_words_and_codes(stages):
    X, y = stages
    order = ["view", "click", "cart", "buy"]
    grid = {"lam": [1e-3, 1e-2, 0.3]}
    by_code = GridSearchCV(PrestoClassifier(), grid, scoring="neg_log_loss", cv=3).fit(X, y)
    named = PrestoClassifier(class_order=order)
    by_word = GridSearchCV(named, grid, scoring="neg_log_loss", cv=3).fit(X, np.array(order)[y])
    assert by_word.best_params_ == by_code.best_params_
    assert by_word.best_score_ == pytest.approx(by_code.best_score_)
    kw = {"scoring": "neg_log_loss", "cv": 3}
    inside = PrestoClassifierCV(4, class_order=order, **kw).fit(X, np.array(order)[y])
    np.testing.assert_allclose(inside.cv_scores_, PrestoClassifierCV(4, **kw).fit(X, y).cv_scores_)


def test_crossing_boundaries(stages):
    X, y = stages
    model = PrestoClassifier(1e-4).fit(X, y)
    far = 40.0 * X
    proba = model.predict_proba(far)
    assert (np.diff(model.cumulative_logits(far), axis=1) < 0).any()
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(1), 1)
    with pytest.warns(UserWarning, match="Boundaries cross in"):
        PrestoClassifier(1e-4, crossing="warn").fit(X, y).predict(far)
    with pytest.raises(ValueError, match="Boundaries cross in"):
        PrestoClassifier(1e-4, crossing="error").fit(X, y).rare_proba(far)
    assert model.n_crossings_ == (np.diff(model.cumulative_logits(X), axis=1) < 0).any(1).sum()


def test_decisions(stages):
    X, y = stages
    model = PrestoClassifier().fit(X, y)
    p = model.predict_proba(X)
    np.testing.assert_array_equal(model.predict(X), p.argmax(1))
    median = PrestoClassifier(decision="median").fit(X, y).predict(X)
    assert all(p[i, :m].sum() < 0.5 <= p[i, : m + 1].sum() + 1e-12 for i, m in enumerate(median))
    expected = PrestoClassifier(decision="expected").fit(X, y).predict(X)
    np.testing.assert_array_equal(expected, np.rint(p @ np.arange(4)))


def test_warm_start_and_convergence(stages):
    X, y = stages
    model = PrestoClassifier(0.01, warm_start=True, tol=1e-13).fit(X, y)
    first = model.n_iter_
    before = model.coef_
    model.fit(X, y)
    assert model.n_iter_ <= first
    np.testing.assert_allclose(model.coef_, before, atol=1e-6)
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        PrestoClassifier(1e-5, max_iter=3).fit(X, y)


def test_cross_validation_is_the_search_by_hand(stages):
    X, y = stages
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    model = PrestoClassifierCV(8, cv=folds, tol=1e-12).fit(X, y)

    def brier(y, p):
        return np.square(p - np.eye(4)[y]).sum(1).mean()

    assert model.lams_[0] == pytest.approx(model.lam_max_)
    assert model.lams_[-1] == pytest.approx(0.01 * model.lam_max_)
    by_hand = np.array([
        [-brier(y[test], PrestoClassifier(lam, tol=1e-12).fit(X[train], y[train]).predict_proba(X[test]))
         for train, test in folds.split(X, y)]
        for lam in model.lams_
    ])  # fmt: skip
    np.testing.assert_allclose(model.cv_scores_, by_hand, atol=1e-6)
    assert model.lam_ == model.lams_[by_hand.mean(1).argmax()]
    again = PrestoClassifier(model.lam_, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(again.coef_, model.coef_, atol=1e-5)
    scoring = "neg_brier_score"  # before scikit-learn 1.7 it was for two classes
    if VERSION < (1, 7):
        scoring = make_scorer(brier, response_method="predict_proba", greater_is_better=False)
    named = PrestoClassifierCV(8, cv=folds, scoring=scoring, n_jobs=2, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(named.cv_scores_, by_hand, atol=1e-6)
    given = PrestoClassifierCV(lams=[0.01, 0.1, 0.001]).fit(X, y)
    assert given.lams_.tolist() == [0.1, 0.01, 0.001]
    with pytest.raises(ValueError, match="must hold finite numbers"):
        PrestoClassifierCV(lams=[-1.0]).fit(X, y)


def test_groups_stay_together(stages):
    X, y = stages
    groups = np.arange(len(y)) % 12
    by_group = PrestoClassifierCV(4, cv=GroupKFold(3)).fit(X, y, groups=groups)
    folds = list(GroupKFold(3).split(X, y, groups))
    np.testing.assert_array_equal(
        by_group.cv_scores_, PrestoClassifierCV(4, cv=folds).fit(X, y).cv_scores_
    )
    with pytest.raises(ValueError, match="groups"):
        PrestoClassifierCV(cv=GroupKFold(3)).fit(X, y)


def test_in_a_search(stages):
    X, y = stages
    search = GridSearchCV(
        make_pipeline(StandardScaler(), PrestoClassifier()),
        {"prestoclassifier__lam": [1e-3, 1e-2], "prestoclassifier__l1_ratio": [1.0, 0.5]},
        scoring="neg_log_loss",
    ).fit(X, y)
    assert search.best_score_ > -2


@pytest.mark.slow
@pytest.mark.parametrize(("share", "alpha"), [(1 / 3, (0.0, 3.0, 5.0)), (1 / 2, (0.0, 3.5, 5.5))])
def test_sparse_simulation(share, alpha):
    """Median over 20 repetitions of the error of the rare probability: published as better than both rivals."""
    to_logit, to_odds = [], []
    for seed in range(20):
        X, y, P = staged(seed, 2500, 10, alpha, share)
        rare = P[:, -1]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            model = PrestoClassifierCV().fit(X, y)
        miss = ((model.rare_proba(X) - rare) ** 2).mean()
        logit = LogisticRegression(C=np.inf).fit(X, y == 3).predict_proba(X)[:, 1]
        odds = PrestoClassifier(1e3, penalize_first=False).fit(X, y).rare_proba(X)
        to_logit.append(miss / ((logit - rare) ** 2).mean())
        to_odds.append(miss / ((odds - rare) ** 2).mean())
    print(
        f"median ratio to logit {np.median(to_logit):.2f}, to proportional odds {np.median(to_odds):.2f}"
    )
    assert np.median(to_logit) < 0.85
    assert np.median(to_odds) < 1.0
