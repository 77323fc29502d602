"""Sets of labels from slots: matching, transport, answers of any length."""

import pickle
import warnings
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import average_precision_score, f1_score

from skimb.functional import cross_entropy, set_matching, sinkhorn
from skimb.functional.sets import slots_of_labels, transport_rows
from skimb.losses import ClassPrior
from skimb.model_selection import batched_fits
from skimb.multilabel import SetPredictionClassifier
from skimb.multilabel._set_loss import SetMatching, cooccurrence, unit_rows

KW = {"max_iter": 8, "tol": 0, "random_state": 0, "batch_size": 50}
P = torch.tensor(
    [[0.5, 0.2, 0.1, 0.2], [0.1, 0.6, 0.1, 0.2], [0.3, 0.3, 0.1, 0.3]], dtype=torch.float64
)


@pytest.fixture(scope="module")
def labels():
    X, Y = make_multilabel_classification(
        300, n_features=12, n_classes=6, n_labels=2, random_state=0
    )
    return (X - X.mean(0)) / X.std(0), Y


def scores(n=7, n_slots=4, n_labels=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, n_slots, n_labels + 1, generator=g, dtype=torch.float64)
    Y = (torch.rand(n, n_labels, generator=g) < 0.4).long()
    Y[0], Y[1] = 0, 1  # no label, and more labels than slots
    return z, Y


# --- matching ----------------------------------------------------------------------------------------


def test_matching_of_the_worked_example():
    Y = torch.tensor([[1, 1, 0]])
    code = slots_of_labels(P[None].numpy(), Y.numpy() > 0)
    assert code.tolist() == [[0, 1, 3]]
    assert set_matching(P.log()[None], Y).item() == pytest.approx(0.65671244, abs=1e-8)
    per_slot = set_matching(P.log()[None], Y).item() * 2.2 / 3
    assert per_slot == pytest.approx(0.48158912, abs=1e-8)


def test_the_matching_is_the_best_of_all():
    z, Y = scores()
    p = torch.softmax(z, -1).numpy()
    code = slots_of_labels(p, Y.numpy() > 0)
    for i in range(2, 7):
        own = np.flatnonzero(Y[i])
        best = max(p[i][list(s), own].sum() for s in permutations(range(4), len(own)))
        slots = np.flatnonzero(code[i] < 5)
        assert sorted(code[i][slots]) == own.tolist()
        assert p[i][slots, code[i][slots]].sum() == pytest.approx(best)
    assert (code[0] == 5).all()
    assert len(set(code[1])) == 4
    assert (code[1] < 5).all()


def test_the_order_of_labels_and_of_slots_does_not_matter():
    z, Y = scores()
    order, turn = [3, 0, 4, 2, 1], [2, 0, 3, 1]
    value = set_matching(z, Y)
    torch.testing.assert_close(set_matching(z[:, :, [*order, 5]], Y[:, order]), value)
    torch.testing.assert_close(set_matching(z[:, turn], Y), value)


def test_gradient_weights_and_members():
    z, Y = scores()
    w = torch.tensor([1.0, 2, 0, 1, 3, 1, 1], dtype=torch.float64)
    torch.autograd.gradcheck(lambda z: set_matching(z, Y, sample_weight=w), z.requires_grad_())
    z = z.detach()
    times = w.long()
    repeated = set_matching(z.repeat_interleave(times, 0), Y.repeat_interleave(times, 0))
    torch.testing.assert_close(set_matching(z, Y, sample_weight=w), repeated)
    other = scores(seed=1)[0]
    both = set_matching(torch.stack([z, other]), torch.stack([Y, Y]))
    torch.testing.assert_close(both, torch.stack([set_matching(z, Y), set_matching(other, Y)]))
    assert set_matching(torch.zeros_like(z), Y * 0).item() == pytest.approx(np.log(6))


def test_one_slot_and_one_label_are_cross_entropy():
    z, _ = scores(n_slots=1)
    target = torch.arange(7) % 5
    Y = torch.nn.functional.one_hot(target, 5)
    torch.testing.assert_close(set_matching(z, Y), cross_entropy(z[:, 0], target).mean())


# --- transport ---------------------------------------------------------------------------------------


def test_plan_of_the_worked_example():
    C = torch.tensor([[0, 1, 0.5], [0.3, 0.2, 0.9]], dtype=torch.float64)
    a, b = torch.full((2,), 0.5, dtype=torch.float64), torch.full((3,), 1 / 3, dtype=torch.float64)
    plan = sinkhorn(C, a, b, epsilon=0.1, n_iter=500)
    assert (plan * C).sum().item() == pytest.approx(0.28866476, abs=2e-8)
    np.testing.assert_allclose(plan[0], [0.219851, 0.000011, 0.280138], atol=1e-6)
    torch.testing.assert_close(plan.sum(1), a, atol=1e-6, rtol=0)
    torch.testing.assert_close(plan.sum(0), b, atol=1e-6, rtol=0)
    part = sinkhorn(C, a, torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64), n_iter=500)
    assert not part[:, 1].any()
    assert torch.isfinite(part).all()


def test_transport_and_its_gradient_under_a_fixed_plan():
    z, Y = scores()
    p, positive = torch.softmax(z, -1), Y > 0
    E = torch.from_numpy(unit_rows(np.random.default_rng(0).normal(size=(5, 3))))
    loss, grad = transport_rows(p, positive, E, 0.1, 50)
    assert loss[0] == 0
    assert not grad[0].any()
    for i in positive.any(1).nonzero().squeeze(1).tolist():
        own = positive[i].nonzero().squeeze(1)
        x = p[i].clone().requires_grad_()
        q = x[:, :-1] @ E
        C = 1 - (q / q.norm(dim=1, keepdim=True)) @ E[own].T
        sums = torch.full((len(own),), 1 / len(own), dtype=torch.float64)
        plan = sinkhorn(C.detach(), torch.full((4,), 0.25, dtype=torch.float64), sums)
        expected = (plan * C).sum()
        torch.testing.assert_close(loss[i], expected.detach())
        torch.testing.assert_close(grad[i], torch.autograd.grad(expected, x)[0])


def test_equal_embeddings_make_transport_free():
    z, Y = scores()
    loss, grad = transport_rows(torch.softmax(z, -1), Y > 0, torch.ones(5, 1).double(), 0.1, 30)
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    assert grad.abs().max() < 1e-12


def test_the_bound_loss_is_both_terms():
    z, Y = scores()
    E = unit_rows(np.random.default_rng(0).normal(size=(5, 3)))
    prior = ClassPrior(Y.sum(0).numpy(), n_samples=7, multilabel=True)
    w = torch.tensor([1.0, 2, 0, 1, 3, 1, 1], dtype=torch.float64)
    bound = SetMatching(4, 0.2, 3.0, E, 0.1, 50).bind(prior)
    target = bound.encode(Y, z)
    value, grad = bound.loss_grad(z.flatten(1), target, w)
    each, slope = transport_rows(torch.softmax(z, -1), Y > 0, torch.from_numpy(E), 0.1, 50)
    torch.testing.assert_close(
        value, set_matching(z, Y, sample_weight=w) + 3 * (w * each).sum() / w.sum()
    )
    x = z.clone().requires_grad_()
    linear = set_matching(x, Y, sample_weight=w)
    linear = linear + 3 * ((w / w.sum())[:, None, None] * slope * torch.softmax(x, -1)).sum()
    torch.testing.assert_close(grad, torch.autograd.grad(linear, x)[0].flatten(1))
    alone = (
        SetMatching(4, 0.2, 0.0, None, 0.1, 50).bind(prior).loss_grad(z.flatten(1), target, w)[0]
    )
    torch.testing.assert_close(alone, set_matching(z, Y, sample_weight=w))


def test_embeddings_follow_the_labels_that_occur_together():
    Y = np.array([[1, 1, 0, 0]] * 5 + [[0, 0, 1, 0]] * 5)
    E = cooccurrence(Y)
    products = E @ E.T
    assert products[0, 1] == pytest.approx(1)
    assert abs(products[0, 2]) < 1e-9
    assert not E[3].any()


# --- the estimator -----------------------------------------------------------------------------------


def test_the_answer_is_the_set_of_leading_labels(labels):
    X, Y = labels
    model = SetPredictionClassifier((16,), **KW).fit(X, Y)
    z = model._raw(X).unflatten(1, (model.n_slots_, 7)).numpy()
    expected = np.zeros_like(Y)
    for i, lead in enumerate(z.argmax(-1)):
        expected[i, [k for k in lead if k < 6]] = 1
    np.testing.assert_array_equal(model.predict(X), expected)
    p = torch.softmax(torch.from_numpy(z), -1)[..., :-1].numpy()
    np.testing.assert_allclose(model.predict_proba(X), 1 - (1 - p).prod(1), atol=1e-12)
    assert len(set(model.predict(X).sum(1))) > 2


@pytest.mark.parametrize(
    "params", [{}, {"ot_weight": 1.0}, {"rank": 8}, {"ot_weight": 1.0, "label_embeddings": np.eye(6)}], ids=str
)  # fmt: skip
def test_it_learns(labels, params):
    X, Y = labels
    kw = {**KW, "max_iter": 12, "learning_rate_init": 0.02}
    model = SetPredictionClassifier((32,), **kw, **params).fit(X, Y)
    assert f1_score(Y, model.predict(X), average="micro") > 0.75
    assert average_precision_score(Y, model.predict_proba(X), average="macro") > 0.75
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    on_sparse = SetPredictionClassifier((32,), **kw, **params).fit(sparse.csr_matrix(X), Y)
    np.testing.assert_allclose(
        on_sparse.decision_function(X), model.decision_function(X), atol=1e-7
    )


def test_rows_with_more_labels_than_slots(labels):
    X, Y = labels
    with pytest.warns(UserWarning, match=r"\d+ rows have more labels than n_slots=1, up to"):
        model = SetPredictionClassifier((8,), n_slots=1, **KW).fit(X, Y)
    assert model.n_truncated_ == (Y.sum(1) > 1).sum()
    assert model.predict(X).sum(1).max() == 1
    auto = SetPredictionClassifier((8,), **KW).fit(X, Y)
    assert auto.n_slots_ == np.ceil(np.quantile(Y.sum(1), 0.98))
    assert auto.n_truncated_ == (Y.sum(1) > auto.n_slots_).sum()


def test_embeddings_need_a_row_per_label(labels):
    with pytest.raises(
        ValueError, match=r"label_embeddings of shape \(3, 2\) must have one row per label, 6"
    ):
        SetPredictionClassifier(ot_weight=1.0, label_embeddings=np.ones((3, 2))).fit(*labels)


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_weights_are_repetitions(labels):
    X, Y = labels
    w = np.random.default_rng(0).integers(0, 3, 300)
    kw = {
        **KW,
        "batch_size": 5000,
        "shuffle": False,
        "n_slots": 6,
        "ot_weight": 1.0,
        "label_embeddings": np.eye(6),
    }
    a = SetPredictionClassifier((6,), **kw).fit(X, Y, sample_weight=w)
    b = SetPredictionClassifier((6,), **kw).fit(np.repeat(X, w, 0), np.repeat(Y, w, 0))
    np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), atol=1e-7)


def test_partial_fit_early_stopping_and_later_parameters(labels):
    X, Y = labels
    whole = SetPredictionClassifier((6,), **KW).fit(X, Y)
    parts = SetPredictionClassifier((6,), **KW)
    for _ in range(8):
        parts.partial_fit(X, Y)
    np.testing.assert_allclose(whole.decision_function(X), parts.decision_function(X), atol=1e-6)
    expected = parts.predict_proba(X)
    parts.set_params(n_slots=3, ot_weight=2.0, hidden_layer_sizes=(3,), rank=2)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(parts)).predict_proba(X), expected)
    stopped = clone(whole).set_params(early_stopping=True, validation_scoring="f1_micro").fit(X, Y)
    assert 0 < stopped.best_validation_score_ <= 1
    stopped = clone(whole).set_params(early_stopping=True).fit(X, Y)
    assert stopped.best_validation_score_ == max(stopped.validation_scores_) < 0


def test_exclusive_classes_are_sets_of_one(three):
    X, y = three
    kw = {**KW, "max_iter": 20, "learning_rate_init": 0.01}
    model = SetPredictionClassifier((8,), **kw).fit(X, y)
    assert model.n_slots_ == 1
    assert model.score(X, y) > 0.85
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)
    two = SetPredictionClassifier((8,), **kw).fit(X, y == "rare")
    assert two.score(X, y == "rare") > 0.85
    assert two.decision_function(X).shape == (600,)


def test_fits_in_one_population_are_those_of_single_fits(labels):
    from sklearn.model_selection import GridSearchCV

    X, Y = labels
    grid = {"empty_weight": [0.1, 0.5], "ot_weight": [0.0, 1.0]}
    search = GridSearchCV(
        SetPredictionClassifier((6,), n_slots=6, **KW), grid, scoring="f1_micro", cv=2
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with batched_fits():
            together = clone(search).fit(X, Y)
        apart = clone(search).fit(X, Y)
    np.testing.assert_allclose(
        together.cv_results_["mean_test_score"], apart.cv_results_["mean_test_score"], atol=0.01
    )


def test_costs_are_refused(labels):
    X, Y = labels
    with pytest.raises(ValueError, match="multi-label y takes no costs"):
        SetPredictionClassifier(**KW).fit(X, Y, cost=np.ones((300, 6)))
