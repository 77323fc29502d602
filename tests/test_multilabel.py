"""Classifiers of several labels: COMIC's parts and their limits, missing labels, refusals, persistence."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import average_precision_score, roc_auc_score
from skorch.callbacks import Callback

from skimb.losses import ClassPrior, MultiFocal, Target
from skimb.multilabel import COMICClassifier
from skimb.multilabel._comic_net import COMICNet, CosineHead
from skimb.multilabel._comic_training import (
    Training,
    agreement,
    distance,
    recalled,
    rows_by_label,
    teacher_shares,
)
from skimb.neural_network import NeuralNetClassifier

KW = {"max_iter": 6, "tol": 0, "random_state": 0, "batch_size": 50}
BCE = MultiFocal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def labels():
    X, Y = make_multilabel_classification(300, n_features=12, n_classes=5, random_state=0)
    return (X - X.mean(0)) / X.std(0), Y


@pytest.fixture(scope="module")
def holes(labels):
    X, Y = labels
    Y = Y.astype(float)
    Y[np.random.default_rng(0).random(Y.shape) < 0.3] = np.nan
    return X, Y


# --- the parts of COMIC ------------------------------------------------------------------------------


def test_the_factor_of_the_most_frequent_label_is_one():
    bound = MultiFocal(power=1 / 6).bind(ClassPrior([40, 10, 4], n_samples=60, multilabel=True))
    np.testing.assert_allclose(
        bound.factor, [1, (1 + np.log(4)) ** (1 / 6), (1 + np.log(10)) ** (1 / 6)]
    )


def test_recalled_labels_pass_both_bars():
    p = torch.tensor([[0.9, 0.9, 0.6], [0.8, 0.72, 0.99]])
    absent = torch.tensor([[True, False, True], [True, True, True]])
    mean = torch.tensor([0.85, 0.1, 0.1])
    assert recalled(p, absent, 0.7, mean).tolist() == [[True, False, False], [False, True, True]]
    counts = [recalled(p, absent, t, torch.zeros(3)).sum().item() for t in (0.5, 0.7, 0.8, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_teachers_share_by_the_squares_of_their_losses():
    a, b = teacher_shares(torch.tensor(1.0), torch.tensor(3.0))
    assert (a.item(), b.item()) == pytest.approx((0.1, 0.9))
    assert [s.item() for s in teacher_shares(torch.tensor(0.0), torch.tensor(0.0))] == [0.5, 0.5]


def test_scores_of_the_cosine_head():
    head = CosineHead(2, 1, 16.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 4.0]]))
    f = torch.tensor([[0.0, 2.0]])
    factor = 16.0 / (5.0 + 1 / 32)
    assert head(f).item() == pytest.approx(factor * 4.0)
    mean = torch.tensor([7.0, 0.0])  # at right angles to the features
    assert head(f, mean, -1.0).item() == pytest.approx(factor * 4.0)
    mean = torch.tensor([1.0, 1.0])  # the share along it is (1/2, 1/2)
    assert head(f, mean, -1.0).item() == pytest.approx(factor * (-1.5 + 2.0))
    assert head(f, mean, 2.0).item() == pytest.approx(factor * (3.0 + 8.0))


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_the_balance_are_those_of_autograd(weighted):
    g = torch.Generator().manual_seed(0)
    z = torch.randn(6, 4, generator=g, dtype=torch.float64).requires_grad_()
    q = torch.rand(6, 4, generator=g, dtype=torch.float64)
    sign = torch.where(torch.rand(6, 4, generator=g) < 0.4, 1.0, -1.0).double()
    w = torch.rand(6, generator=g, dtype=torch.float64) if weighted else None
    rows = 1.0 if w is None else w[:, None]
    naive = (F.binary_cross_entropy_with_logits(z, q, reduction="none") * rows).sum() / 6
    value, grad = distance(z.detach(), q, w, 6.0)
    torch.testing.assert_close(value, naive.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(naive, z)[0])
    bound = MultiFocal().bind(ClassPrior([9, 5, 3, 1], n_samples=20, multilabel=True))
    teacher = torch.softmax(torch.randn(6, 4, generator=g, dtype=torch.float64), 1)
    product = teacher * torch.softmax(z, 1)
    each = F.binary_cross_entropy_with_logits(product, (sign > 0).double(), reduction="none")
    if w is None:
        loss = bound(product, (sign > 0).long())
        value, grad = agreement(z.detach(), teacher, Target(sign), None, 6.0, bound)
        torch.testing.assert_close(value, loss.detach())
        torch.testing.assert_close(grad, torch.autograd.grad(loss, z, retain_graph=True)[0])
    flat = BCE.bind(ClassPrior([9, 5, 3, 1], n_samples=20, multilabel=True))
    value, grad = agreement(z.detach(), teacher, Target(sign), w, 6.0, flat)
    naive = (each * rows).sum() / 6
    torch.testing.assert_close(value, naive.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(naive, z)[0])


def test_the_balanced_branch_alone_is_a_net_under_the_modified_loss(labels):
    X, Y = labels
    ours = COMICClassifier((8,), balance=None, correction_weight=0.0, **KW).fit(X, Y)

    def make(n_features, n_outputs):
        return COMICNet(n_features, n_outputs, [8], "relu", 1, True, 16.0)

    plain = NeuralNetClassifier(make, loss=MultiFocal(), **KW).fit(X, Y)
    np.testing.assert_allclose(ours.decision_function(X), plain.decision_function(X), atol=1e-10)
    bce = COMICClassifier((8,), loss=BCE, balance=None, correction_weight=0.0, **KW).fit(X, Y)
    plain = NeuralNetClassifier(make, **KW).fit(X, Y)
    np.testing.assert_allclose(bce.decision_function(X), plain.decision_function(X), atol=1e-10)


def corrected(threshold=0.7, margin=0.0, power=1 / 3, correct="zeros", unknown="negative"):
    """A training's corrected loss of some scores, the loss of the given labels, and what was recalled."""
    net = COMICNet(3, 4, [], "relu", 1, True, 16.0).double()
    g = torch.Generator().manual_seed(1)
    code = torch.where(torch.rand(20, 4, generator=g) < 0.4, 1.0, -1.0).double()
    code[torch.rand(20, 4, generator=g) < 0.2] = 0.0
    prior = ClassPrior((code > 0).sum(0).numpy(), n_samples=20, multilabel=True)
    names = {"correction_threshold": threshold, "correction_margin": margin, "correct": correct}
    settings = {**names, "correction_power": power, "unknown": unknown, "sampling": "common"}

    class Part:
        target, weight, epoch = Target(code), None, 1

    training = Training(net, Part, settings, prior, MultiFocal(), 0)
    z = 3 * torch.randn(20, 4, generator=g, dtype=torch.float64)
    present, missing = code > 0, code == 0
    found = training.corrected(0, z, torch.sigmoid(z), present, missing, Part, 20.0)
    sign = torch.where(present, 1.0, -1.0).double()
    return found, MultiFocal().bind(prior).loss_grad(z, Target(sign)), present, training, missing


def test_without_recalled_labels_the_corrected_loss_is_the_loss_per_present_label():
    (value, grad), (loss, slope), present, training, _ = corrected(threshold=1.0)
    assert not training.recalled.any()
    share = 20 / present.sum()
    torch.testing.assert_close(value, share * loss)
    torch.testing.assert_close(grad, share * slope)


def test_recalled_labels_count_and_are_positive():
    (_, grad), _, _, training, missing = corrected(threshold=0.5)
    (_, without), *_ = corrected(threshold=1.0)
    assert training.recalled.sum() > 3
    flipped = (grad < 0) & (without > 0)
    assert 0 < flipped.sum() <= training.recalled.sum()
    (_, grad), _, _, training, missing = corrected(threshold=0.5, correct="missing")
    flipped = (grad < 0) & (without > 0)
    assert 0 < training.recalled.sum() <= missing.sum()
    assert not (flipped & ~missing).any()


def test_ignored_labels_have_no_gradient():
    (_, grad), _, present, _, missing = corrected(threshold=1.0, unknown="ignore")
    assert not grad[missing].any()
    assert grad[~missing & present].all()


def test_rows_by_label_cover_all_labels():
    code = torch.tensor([[1.0, -1.0, -1.0], [1.0, 0.0, 1.0], [-1.0, -1.0, 1.0]])
    members, counts = rows_by_label(code)
    assert [m.tolist() for m in members] == [[0, 1], [1, 2]]
    assert counts.tolist() == [2, 2]
    members, counts = rows_by_label(torch.tensor([2, 0, 2, 1]))
    assert [m.tolist() for m in members] == [[1], [3], [0, 2]]


def test_rare_labels_are_drawn_more_often():
    code = -torch.ones(100, 2)
    code[:90, 0] = 1.0
    code[90:, 1] = 1.0
    training = Training.__new__(Training)
    training.branches, training.settings = 3, {"sampling": "separate"}
    training.members, training.common = rows_by_label(code)
    training.generator = torch.Generator().manual_seed(0)

    class Data:
        X, target, weight = torch.arange(100.0)[:, None], Target(code), None

    training.data = Data

    class Whole:
        X, target, weight, epoch = Data.X, Data.target, None, 0

        def __len__(self):
            return 1000

    balanced, frequent, rare = training.batches(Whole())
    assert (balanced.target.code[:, 1] > 0).float().mean() == pytest.approx(0.5, abs=0.06)
    assert (rare.target.code[:, 1] > 0).float().mean() == pytest.approx(0.9, abs=0.04)
    assert isinstance(frequent, Whole)
    torch.testing.assert_close(balanced.X[:, 0].long() >= 90, balanced.target.code[:, 1] > 0)


VARIANTS = [
    {},
    {"balance": "paper"},
    {"balance": "average", "sampling": "separate", "shared_encoder": False},
    {"balance": None},
    {"balance": "distill", "shared_encoder": False, "correct": "zeros", "unknown": "ignore"},
    {"sampling": "separate", "loss": BCE},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=repr)
def test_every_variant_learns_from_labels_with_holes(labels, holes, variant):
    X, Y = holes
    kw = {**KW, "max_iter": 10, "learning_rate_init": 0.02}
    model = COMICClassifier((16,), **kw, **variant).fit(X, Y)
    again = COMICClassifier((16,), **kw, **variant).fit(X, Y)
    np.testing.assert_array_equal(model.decision_function(X), again.decision_function(X))
    assert average_precision_score(labels[1], model.decision_function(X), average="macro") > 0.7
    assert model.predict(X).shape == model.predict_proba(X).shape == (300, 5)
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict_proba(X), back.predict_proba(X))
    assert model.recalled_.shape == (5,)
    sparsely = COMICClassifier((16,), **kw, **variant).fit(sparse.csr_matrix(X), Y)
    np.testing.assert_allclose(sparsely.decision_function(X), model.decision_function(X), atol=1e-8)


# --- missing labels ----------------------------------------------------------------------------------

FORMS = {
    "minus one": lambda Y: np.where(np.isnan(Y), -1, Y).astype(int),
    "objects": lambda Y: np.where(np.isnan(Y), None, Y),
    "frame": lambda Y: pd.DataFrame(Y).astype("Int64"),
    "list": lambda Y: Y.tolist(),
    "sparse": lambda Y: sparse.csr_matrix(np.where(np.isnan(Y), -1, Y)),
}


@pytest.mark.parametrize("form", FORMS)
def test_missing_labels_in_any_form(holes, form):
    X, Y = holes
    expected = COMICClassifier((4,), **KW).fit(X, Y)
    found = COMICClassifier((4,), **KW).fit(X, FORMS[form](Y))
    np.testing.assert_array_equal(found.decision_function(X), expected.decision_function(X))
    np.testing.assert_array_equal(found.class_counts_, np.nansum(Y, 0))


def test_missing_labels_that_are_ignored_do_not_matter(labels):
    """With nothing recalled and missing labels left out, what stands there is of no account."""
    X, Y = labels
    hidden = np.random.default_rng(1).random(Y.shape) < 0.3
    kw = {**KW, "unknown": "ignore", "correction_threshold": 1.0, "balance": None, "loss": BCE}
    model = COMICClassifier((4,), **kw).fit(X, np.where(hidden, np.nan, Y))
    rest = Y.astype(float)
    rest[hidden] = -1
    same = COMICClassifier((4,), **kw).fit(X, rest)
    np.testing.assert_array_equal(model.decision_function(X), same.decision_function(X))
    negative = COMICClassifier((4,), **{**kw, "unknown": "negative"}).fit(X, rest)
    absent = COMICClassifier((4,), **{**kw, "unknown": "negative"}).fit(X, np.where(hidden, 0, Y))
    np.testing.assert_array_equal(negative.decision_function(X), absent.decision_function(X))
    assert (model.decision_function(X) > 0).mean() > (negative.decision_function(X) > 0).mean()


@pytest.mark.parametrize(
    ("Y", "match"),
    [
        (np.array([[0, 2], [1, 0]] * 10), r"0 and 1, and NaN or -1 for missing labels; got \[2\]"),
        (np.array([["a", "b"], ["b", "a"]] * 10), "0 and 1, and NaN or -1"),
        (np.full((20, 2), np.nan), "all labels of y are missing"),
    ],
)
def test_other_label_matrices_are_refused(Y, match):
    with pytest.raises(ValueError, match=match):
        COMICClassifier(max_iter=2).fit(np.arange(40.0).reshape(20, 2), Y)


def test_early_stopping_scores_the_labels_that_are_there(holes):
    X, Y = holes
    kw = {**KW, "early_stopping": True, "max_iter": 12}
    model = COMICClassifier((8,), **kw).fit(X, Y)
    assert max(model.validation_scores_) == model.best_validation_score_ < 0
    with pytest.raises(ValueError, match="cannot score rows with missing labels"):
        COMICClassifier((8,), validation_scoring="f1_macro", **kw).fit(X, Y)
    whole = COMICClassifier((8,), validation_scoring="average_precision", **kw)
    assert 0 < whole.fit(X, np.nan_to_num(Y).astype(int)).best_validation_score_ <= 1


# --- pairs -------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_weights_are_repetitions(holes):
    X, Y = holes
    w = np.random.default_rng(0).integers(0, 3, 300)
    kw = {
        **KW,
        "batch_size": 5000,
        "shuffle": False,
        "correct": "zeros",
        "correction_threshold": 0.5,
    }
    # counts of recalled labels, and means of features and probabilities, are those of rows
    kw |= {"correction_power": 0.0, "loss": BCE, "balance": None, "warmup": 99}
    a = COMICClassifier((6,), **kw)
    b = clone(a)
    a.fit(X, Y, sample_weight=w)
    b.fit(np.repeat(X, w, 0), np.repeat(Y, w, 0))
    np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), atol=1e-8)
    np.testing.assert_allclose(
        clone(a).fit(X, Y, sample_weight=8.0 * w).decision_function(X), a.decision_function(X), atol=1e-8
    )  # fmt: skip


def test_partial_fit_goes_on_where_fit_ends(holes):
    X, Y = holes
    for variant in ({"correct": "zeros"}, {"balance": "paper", "shared_encoder": False}):
        whole = COMICClassifier((6,), **KW, **variant).fit(X, Y)
        parts = COMICClassifier((6,), **KW, **variant)
        for _ in range(3):
            parts.partial_fit(X, Y)
        parts = pickle.loads(pickle.dumps(parts))
        for _ in range(3):
            parts.partial_fit(X, Y)
        np.testing.assert_allclose(
            whole.decision_function(X), parts.decision_function(X), atol=1e-6
        )
        np.testing.assert_array_equal(whole.recalled_, parts.recalled_)


def test_exclusive_classes_are_labels_of_their_own(three):
    X, y = three
    kw = {**KW, "max_iter": 10, "learning_rate_init": 0.02}
    for variant in VARIANTS[1:4]:
        model = COMICClassifier((8,), **kw, **variant).fit(X, y)
        assert model.score(X, y) > 0.7
    with pytest.raises(ValueError, match="two classes have only one"):
        COMICClassifier(balance="paper").fit(X, y == "rare")
    scores = COMICClassifier((8,), **kw).fit(X, y == "rare").decision_function(X)
    assert roc_auc_score(y == "rare", scores) > 0.9


def test_what_was_fitted_stays(holes):
    X, Y = holes
    model = COMICClassifier((6,), **KW).fit(X, Y)
    expected = model.decision_function(X)
    model.set_params(hidden_layer_sizes=(3,), balance=None, scale=2.0, loss=BCE)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).decision_function(X), expected)
    with pytest.raises(ValueError, match="cannot go on with balance=None"):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.decision_function(X), expected)


def test_callbacks_see_batches_and_gradients(holes):
    X, Y = holes
    seen = []

    class Look(Callback):
        def on_batch_end(self, net, batch=None, y_pred=None, **kwargs):
            seen.append(y_pred.shape == batch[1].shape)

        def on_grad_computed(self, net, named_parameters, **kwargs):
            seen.append(all(p.grad.abs().sum() > 0 for _, p in named_parameters))

    COMICClassifier((6,), callbacks=[Look()], **{**KW, "max_iter": 2}).fit(X, Y)
    assert len(seen) == 24
    assert all(seen)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"balance": "mean"}, "balance"),
        ({"correction_threshold": 0.0}, "correction_threshold"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes must be > 0"),
        ({"correct": "all"}, "correct"),
        ({"loss": "focal"}, "loss"),
        ({"loss": MultiFocal(clip=2.0)}, "clip"),
    ],
)
def test_wrong_parameters_are_named(holes, params, match):
    with pytest.raises(ValueError, match=match):
        COMICClassifier(**params).fit(*holes)


def test_costs_are_refused(holes, three):
    X, Y = holes
    with pytest.raises(ValueError, match="multi-label y takes no costs"):
        COMICClassifier(**KW).fit(X, Y, cost=np.ones((300, 5)))
    X, y = three
    with pytest.raises(TypeError, match="takes no costs of rows"):
        COMICClassifier(**KW).fit(X, y, cost=np.ones((len(y), 3)))
