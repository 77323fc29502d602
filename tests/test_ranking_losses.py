"""Losses of a ranking, of positive and unlabelled rows, and metrics that are functions of the counts."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import cross_val_score

from skimb import functional
from skimb.functional import ranking
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AnyLoss,
    ClassPrior,
    LambdaRank,
    NonNegativePU,
    RecallAtBudget,
    ScoreOriented,
    SmoothAveragePrecision,
)
from skimb.model_selection._candidates import chosen_losses
from skimb.neural_network import MLPClassifier

PRIOR = ClassPrior(counts=[50, 20])


def of(loss, s, y):
    """Value and gradient of a batch."""
    z, bound = torch.tensor(s, dtype=torch.float64), loss.bind(PRIOR)
    value, grad = bound.loss_grad(z, bound.encode(torch.tensor(y), z))
    return value.item(), grad.numpy()


# --- values of the specifications ------------------------------------------------------------

S4, Y4 = [2.0, 0.5, -1.0, 1.0], [0, 1, 1, 0]
S6, Y6 = [0.2, 1.5, -0.3, 0.9, 0.4, -1.0], [0, 1, 0, 1, 0, 1]
S7, Y7 = [2.0, 0.5, -1.0, -2.0, 0.3, 1.5, -0.7], [1, 1, 0, 0, 0, 0, 0]
GOLDEN = [
    (LambdaRank("ap", normalize=False), S4, Y4, 2.2730435730, [.66943071, -.32439644, -.54370540, .19867112]),
    (LambdaRank("ndcg", normalize=False), S4, Y4, 1.9251587424, [.58317044, -.30061729, -.44067208, .15811894]),
    (SmoothAveragePrecision(0.1), S6, Y6, .1679125635, [.001517, -.000079, .000263, -.012512, .011066, -.000255]),
    (SmoothAveragePrecision(0.5), S6, Y6, .2812804899, [.065188, -.072886, .036921, -.093182, .082284, -.018326]),
    (SmoothAveragePrecision(1.0), S6, Y6, .3629015904, [.043680, -.052134, .036421, -.050848, .046233, -.023352]),
    (RecallAtBudget(1 / 3, temperature=0.5), S6, Y6, .4988115815, [0, -.08707, 0, -.023364, .133305, -.022871]),
    (RecallAtBudget(1 / 3, "rank", temperature=0.1, rank_temperature=1.0), S6, Y6, .5107359365, [.000716, .000697, .000091, -.006639, .005223, -.000087]),
    (RecallAtBudget(0.5, "rank", temperature=0.5, rank_temperature=1.0), S6, Y6, .4150732186, [.028321, -.002278, .020979, -.063248, .033206, -.01698]),
    (NonNegativePU(0.3), S7, Y7, .3048288540, [-.15, -.15, .053788, .023841, .114889, .163515, .066362]),
    (NonNegativePU(0.9), S7, Y7, .2704522479, [.396359, .280107, -.053788, -.023841, -.114889, -.163515, -.066362]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "s", "y", "value", "grad"), GOLDEN, ids=[repr(case[0]) for case in GOLDEN]
)
def test_golden(loss, s, y, value, grad):
    found, slope = of(loss, s, y)
    assert found == pytest.approx(value, abs=1e-9)
    np.testing.assert_allclose(slope, grad, atol=6e-7)


# --- LambdaRank ------------------------------------------------------------------------------


def swapped(metric, y, at):
    """Change of a metric for every swap of a positive and a negative, rows in the order of their scores."""
    n = len(y)

    def value(y):
        within = np.arange(1, n + 1) <= (n if at is None else at)
        if metric == "ap":
            return (y * within * y.cumsum() / np.arange(1, n + 1)).sum() / y.sum()
        discount = within / np.log2(np.arange(2, n + 2))
        return (y * discount).sum() / discount[: y.sum()].sum()

    def change(i, j):
        other = y.copy()
        other[[i, j]] = other[[j, i]]
        return abs(value(other) - value(y))

    return np.array([[change(i, j) for j in np.flatnonzero(y == 0)] for i in np.flatnonzero(y)])


@pytest.mark.parametrize("metric", ["ap", "ndcg"])
@pytest.mark.parametrize("at", [None, 3, 7])
def test_weights_of_pairs_are_the_changes_of_swaps(metric, at):
    rng = np.random.default_rng(0)
    for _ in range(5):
        y = rng.permutation(np.repeat([1, 0], [4, 9]))
        scores = -torch.arange(13.0)
        found = ranking._Swaps(scores, torch.from_numpy(y) > 0, metric, at).of(torch.arange(4))
        np.testing.assert_allclose(found.numpy(), swapped(metric, y, at), atol=1e-14)


def test_one_positive_is_weighed_by_both_metrics_in_one_order():
    s, mask = torch.randn(12, generator=torch.Generator().manual_seed(0)), torch.arange(12) == 5
    order = [ranking._Swaps(s, mask, m, None).of(torch.arange(1))[0].argsort().tolist() for m in ranking.METRICS]  # fmt: skip
    assert order[0] == order[1]


def test_normalised_weights_of_pairs_make_a_mean_loss():
    plain, grad = of(LambdaRank(), S4, Y4)
    raw, slope = of(LambdaRank(normalize=False), S4, Y4)
    total = sum([0.33333333, 0.08333333, 0.41666667, 0.16666667])
    assert plain == pytest.approx(raw / total, abs=1e-7)
    np.testing.assert_allclose(grad, slope / total, atol=1e-7)
    apart, _ = of(LambdaRank(), [9.0, 8.0, -8.0, -9.0], [1, 1, 0, 0])
    assert apart < 1e-6


def test_blocks_do_not_change_the_losses(monkeypatch):
    rng = np.random.default_rng(0)
    s, y = rng.normal(size=60).tolist(), (rng.random(60) < 0.4).astype(int).tolist()
    for loss in (LambdaRank(), SmoothAveragePrecision(), RecallAtBudget(0.2, "rank")):
        whole, slope = of(loss, s, y)
        monkeypatch.setattr(ranking, "_BLOCK", 200)
        found, grad = of(loss, s, y)
        monkeypatch.undo()
        assert found == pytest.approx(whole, rel=1e-12)
        np.testing.assert_allclose(grad, slope, atol=1e-14)


# --- smooth average precision and recall -----------------------------------------------------


def test_small_temperatures_give_the_metrics():
    rng = np.random.default_rng(1)
    s, y = rng.normal(size=80), (rng.random(80) < 0.25).astype(int)
    found, _ = of(SmoothAveragePrecision(1e-5), s.tolist(), y.tolist())
    assert 1 - found == pytest.approx(average_precision_score(y, s), abs=1e-9)
    top = np.argsort(-s)[:8]
    for loss in (
        RecallAtBudget(0.1, temperature=1e-5),
        RecallAtBudget(0.1, "rank", temperature=1e-5, rank_temperature=1e-3),
    ):
        found, _ = of(loss, s.tolist(), y.tolist())
        assert 1 - found == pytest.approx(y[top].sum() / y.sum(), abs=1e-9)


@pytest.mark.parametrize(
    "loss", [SmoothAveragePrecision(), RecallAtBudget(0.3), RecallAtBudget(0.3, "rank")], ids=repr
)
def test_gradients_of_ranks_sum_to_zero_and_ignore_the_level(loss):
    value, grad = of(loss, S6, Y6)
    assert abs(grad.sum()) < 1e-14
    again, slope = of(loss, [x + 3.0 for x in S6], Y6)
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slope, grad, atol=1e-12)


def test_a_budget_is_a_share_of_the_weight():
    loss = RecallAtBudget(0.25, temperature=0.3).bind(PRIOR)
    s, y = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([1, 0, 1, 0])
    light, heavy = (loss(s, y, torch.tensor(w)) for w in ([1.0, 1, 1, 1], [1.0, 1, 1, 13.0]))
    edge = [(3.0 + 2.0) / 2, 0.0]  # a quarter of 4 ends after the first row, of 16 within the last
    for found, at in zip((light, heavy), edge, strict=True):
        expected = torch.sigmoid((at - s[[0, 2]]) / 0.3).mean()
        assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_functions_equal_the_losses():
    z, y = torch.tensor(S6, dtype=torch.float64), torch.tensor(Y6)
    for loss, function in [
        (LambdaRank("ndcg", 4), functional.lambda_rank(z, y, metric="ndcg", at=4)),
        (SmoothAveragePrecision(0.3), functional.smooth_average_precision(z, y, temperature=0.3)),
        (RecallAtBudget(0.2), functional.recall_at_budget(z, y, budget=0.2)),
        (RecallAtBudget(0.2, "rank"), functional.recall_at_budget(z, y, budget=0.2, form="rank")),
        (NonNegativePU(0.8), functional.non_negative_pu(z, y, class_prior=0.8)),
    ]:
        torch.testing.assert_close(loss.bind(PRIOR)(z, y), function)


# --- positive and unlabelled rows ------------------------------------------------------------


def test_a_tolerance_keeps_the_plain_risk():
    z, y = torch.tensor(S7, dtype=torch.float64), torch.tensor(Y7)
    bound = NonNegativePU(0.9, beta=1.0).bind(PRIOR)  # N is -0.7156
    _, grad = bound.loss_grad(z, bound.encode(y, z))
    x = z.clone().requires_grad_()
    soft = torch.nn.functional.softplus
    plain = 0.9 * (soft(-x) - soft(x))[:2].mean() + soft(x)[2:].mean()
    np.testing.assert_allclose(grad.numpy(), torch.autograd.grad(plain, x)[0].numpy(), atol=1e-14)
    half, whole = (NonNegativePU(0.9, gamma=g).bind(PRIOR).loss_grad(z, bound.encode(y, z))[1] for g in (0.5, 1.0))  # fmt: skip
    torch.testing.assert_close(half, 0.5 * whole)


def test_the_risk_weighed_to_another_share_of_positives():
    # rows without noise: the unlabelled half holds exactly the share of positives
    z = torch.tensor([1.0, 1.0, 1.0, -0.5, -0.5, -0.5], dtype=torch.float64)
    y = torch.tensor([1, 1, 0, 0, 0, 0])  # one of the four unlabelled is positive
    soft = torch.nn.functional.softplus
    for rare in (0.25, 0.5, 0.8):
        loss = NonNegativePU(0.25, balanced_prior=rare).bind(PRIOR)
        expected = rare * soft(-z[0]) + (1 - rare) * soft(z[3])
        assert loss(z, y).item() == pytest.approx(expected.item(), rel=1e-12)
        odds = np.log(0.25 / 0.75) - np.log(rare / (1 - rare))
        p = loss.posterior(z)[:, 1]
        torch.testing.assert_close(p, torch.sigmoid(z + odds))


def hidden_positives(seed=0):
    """Rows, truth, and what is known of it: a third of the positives is labelled."""
    X, truth = make_classification(
        1500, 8, n_informative=4, weights=[0.7], flip_y=0.0, class_sep=1.5, random_state=seed
    )
    rng = np.random.default_rng(seed)
    return X, truth, truth * (rng.random(len(truth)) < 0.33)


def test_positives_are_found_among_unlabelled_rows():
    X, truth, known = hidden_positives()
    share = truth[known == 0].mean()
    kw = {"max_iter": 60, "tol": 0.0, "random_state": 0, "learning_rate_init": 0.01}
    naive = LinearClassifier(solver="adam", **kw).fit(X, known)
    found = clone(naive).set_params(loss=NonNegativePU(share)).fit(X, known)
    free = known == 0
    assert found.predict_proba(X)[free, 1].mean() == pytest.approx(share, abs=0.05)
    assert naive.predict_proba(X)[free, 1].mean() < 0.6 * share
    right, wrong = ((m.predict(X) == truth)[free].mean() for m in (found, naive))
    assert right > wrong + 0.03
    weighted = clone(found).set_params(class_weight="balanced").fit(X, known)
    np.testing.assert_allclose(weighted.decision_function(X), found.decision_function(X), atol=1e-4)


def test_searches_over_all_losses_leave_out_targets_of_another_meaning():
    kinds = {type(loss) for loss in chosen_losses("all", "binary")}
    assert NonNegativePU not in kinds
    assert LambdaRank in kinds


# --- metrics that are functions --------------------------------------------------------------


def f2(tp, fp, fn, tn):
    return 5.0 * tp / (5.0 * tp + 4.0 * fn + fp)


def mcc(tp, fp, fn, tn):
    return (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).sqrt()


@pytest.mark.parametrize(
    ("family", "function", "name", "kw"),
    [
        (AnyLoss, f2, "fbeta", {"beta": 2.0}),
        (AnyLoss, mcc, "mcc", {}),
        (ScoreOriented, mcc, "mcc", {}),
    ],
)
def test_a_function_of_the_counts_equals_the_metric_of_that_name(family, function, name, kw):
    rng = np.random.default_rng(0)
    for shape, counts in (((40,), [30, 10]), ((3000,), [30, 10]), ((40, 3), [20, 12, 8])):
        z = torch.from_numpy(rng.normal(size=shape))
        y = torch.from_numpy(rng.integers(0, len(counts), shape[0]))
        w = torch.from_numpy(rng.random(shape[0]))
        own, theirs = (
            family(m, **k).bind(ClassPrior(counts)) for m, k in ((function, {}), (name, kw))
        )
        for weight in (None, w):
            a, b = (x.loss_grad(z, x.encode(y, z), weight) for x in (own, theirs))
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def no_names(a, b, c, d):
    return a


def one_number(tp, fp, fn, tn):
    return (tp / (tp + fp)).mean()


def plain_numbers(tp, fp, fn, tn):
    return np.asarray([0.5, 0.5])


def counted(tp, fp, fn, tn):
    return (tp > fp).double()


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (no_names, TypeError, "tp, fp, fn and tn by these names"),
        (one_number, TypeError, r"got shape \(\)"),
        (plain_numbers, TypeError, "got ndarray"),
        (counted, ValueError, "has no slope in the counts"),
    ],
)
def test_functions_that_are_no_metrics_are_refused(function, error, match):
    with pytest.raises(error, match=match):
        AnyLoss(function).bind(PRIOR)
    with pytest.raises(ValueError, match="no multi-class form"):
        AnyLoss(f2, average="confusion").bind(ClassPrior([3, 2, 1]))
    with pytest.raises(ValueError, match="smooth"):
        AnyLoss(f2, undefined="smooth", smooth=1.0).bind(PRIOR)


def test_a_metric_that_is_not_finite_is_named():
    def odds(tp, fp, fn, tn):
        return tp / (fp - fp)

    z, y = torch.zeros(4), torch.tensor([0, 1, 0, 1])
    with pytest.raises(
        ValueError, match=r"odds.*not finite at tp=1, fp=1, fn=1, tn=1; add a small"
    ):
        AnyLoss(odds).bind(PRIOR)(z, y)
    assert (
        AnyLoss(odds).bind(PRIOR)(z, torch.zeros(4)).item() == 0.0
    )  # one class: no metric is asked
    assert torch.isnan(AnyLoss(f2).bind(PRIOR)(torch.full((4,), torch.nan), y))


def test_an_own_metric_trains_searches_and_is_pickled():
    X, y = make_classification(600, 6, weights=[0.9], random_state=0)
    model = MLPClassifier((8,), loss=AnyLoss(f2), max_iter=15, tol=0.0, random_state=0).fit(X, y)
    same = clone(model).set_params(loss=AnyLoss("fbeta", beta=2.0)).fit(X, y)
    np.testing.assert_allclose(model.decision_function(X), same.decision_function(X), atol=1e-4)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


# --- in estimators ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [LambdaRank(), SmoothAveragePrecision(), RecallAtBudget(0.2)], ids=repr
)
def test_rankings_train_alone_and_on_sparse_rows(loss):
    X, y = make_classification(600, 6, weights=[0.85], flip_y=0.02, random_state=0)
    model = MLPClassifier(
        (8,), loss=loss, max_iter=60, tol=0.0, random_state=0, learning_rate_init=0.01
    )
    model.fit(X, y)
    assert roc_auc_score(y, model.decision_function(X)) > 0.9
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.02)  # the level
    other = clone(model).fit(sparse.csr_matrix(X), y)
    assert roc_auc_score(y, other.decision_function(X)) > 0.9


def test_early_stopping_scores_the_loss_itself():
    X, _, known = hidden_positives()
    model = MLPClassifier(
        (8,), loss=NonNegativePU(0.25), early_stopping=True, max_iter=20, random_state=0
    ).fit(X, known)
    assert max(model.validation_scores_) < 0.0
    assert np.isfinite(cross_val_score(model, X, known, scoring="average_precision", cv=3)).all()
