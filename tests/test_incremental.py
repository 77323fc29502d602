"""Perceptrons whose classes arrive over time: growth, distillation, aligning, memory, probabilities."""

import copy
import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.engine.chain_nets import infer
from skimb.functional._distillation import distillation, relation_divergence
from skimb.losses import AdversarialCompSum, AnyLoss, ExpectedCost, LogitAdjusted, MannWhitney
from skimb.model_selection import batched_fits
from skimb.nets import MLP
from skimb.neural_network import MLPClassifier
from skimb.streaming import IncrementalMLPClassifier
from skimb.streaming._memory import herding
from skimb.training import ClassPowerSampler, Mixup

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KW = {
    "hidden_layer_sizes": (16,), "max_iter": 8, "tol": 0, "learning_rate_init": 0.01, "random_state": 0,
}  # fmt: skip
LETTERS = np.array(list("gcadbhefij"))  # later digits are letters in the midst of earlier ones


@parametrize_with_checks([IncrementalMLPClassifier(), IncrementalMLPClassifier(align="always")])
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:900] / 16, LETTERS[y[:900]], y[:900]


def chunks(digits, steps=(0, 3, 6, 8, 10)):
    X, y, digit = digits
    for low, high in pairwise(steps):
        rows = (digit >= low) & (digit < high)
        yield X[rows], y[rows]


def streamed(digits, n=4, **kw):
    model = IncrementalMLPClassifier(**{**KW, **kw})
    for X, y in list(chunks(digits))[:n]:
        model.partial_fit(X, y)
    return model


def lengths(model):
    return np.linalg.norm(model.coefs_[-1], axis=0)


# --- closed forms ----------------------------------------------------------------------------


def test_relations_of_prototypes_to_rows():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5**0.5, 0.5**0.5]], dtype=torch.float64)
    old, new = (torch.tensor(p, dtype=torch.float64).unsqueeze(1) for p in ([1, 0.2], [0.8, 0.6]))
    assert relation_divergence(x, new, x, old, 0.1).item() == pytest.approx(1.2253856340, abs=1e-9)
    longer = relation_divergence(3 * x, 5 * new, x, old, 0.1)  # directions count
    assert longer.item() == pytest.approx(1.2253856340, abs=1e-9)
    both = relation_divergence(*(2 * [x, torch.cat([old, new], 1)]), 0.1)
    assert abs(both.item()) < 1e-15
    weighted = relation_divergence(x, new, x, old, 0.1, torch.tensor([2.0, 1.0, 1.0]))
    twice = relation_divergence(x[[0, 0, 1, 2]], new, x[[0, 0, 1, 2]], old, 0.1)
    assert weighted.item() == pytest.approx(twice.item(), abs=1e-12)
    start = new.clone().requires_grad_()
    torch.autograd.gradcheck(lambda p, r: relation_divergence(r, p, x, old, 0.1), (start, x.clone().requires_grad_()))  # fmt: skip


def test_relations_keep_the_directions_of_old_classes(digits):
    kw = {"temperature": 0.1, "exemplars_per_class": 0, "align": "never"}
    plain = streamed(digits, 2, distill=0, **kw)
    none = streamed(digits, 2, distill=0, distill_target="relations", **kw)
    np.testing.assert_array_equal(plain.predict_proba(digits[0]), none.predict_proba(digits[0]))
    kept = streamed(digits, 2, distill=0.9, distill_target="relations", **kw)
    X, (second, _) = digits[0], list(chunks(digits))[1]
    start = streamed(digits, 1, **kw)

    def relations(model):
        h = model._hidden_outputs(second)
        own = model.coefs_[-1][:, np.isin(model.classes_, start.classes_)]
        return torch.from_numpy(h), torch.from_numpy(own)

    away = [
        relation_divergence(*relations(m), *relations(start), 0.1).item() for m in (plain, kept)
    ]
    assert away[1] < 0.5 * away[0]
    copied = pickle.loads(pickle.dumps(kept))
    later = list(chunks(digits))[2]
    for model in (kept, copied):
        model.partial_fit(*later)
    np.testing.assert_array_equal(kept.predict_proba(X), copied.predict_proba(X))


@pytest.mark.parametrize(
    "kw",
    [
        {"hidden_layer_sizes": ()}, {"mix": Mixup()}, {"early_stopping": True}, {"solver": "muon"},
        {"sampler": ClassPowerSampler(0.5)}, {"class_weight": "balanced"}, {"loss": LogitAdjusted()},
    ],
)  # fmt: skip
def test_relations_beside_other_parameters(digits, kw):
    model = streamed(digits, 3, distill_target="relations", temperature=0.1, **kw)
    p = model.predict_proba(digits[0])
    assert p.shape == (900, 8)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)


def test_relations_need_dense_rows(digits):
    model = IncrementalMLPClassifier(**KW, distill_target="relations")
    (X, y), (X_new, y_new) = list(chunks(digits))[:2]
    model.partial_fit(sparse.csr_matrix(X), y)
    with pytest.raises(ValueError, match="takes dense X only"):
        model.partial_fit(sparse.csr_matrix(X_new), y_new)


def test_distillation_is_the_cross_entropy_of_softened_scores():
    torch.manual_seed(0)
    z = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    t = torch.randn(5, 3, dtype=torch.float64)
    value, slope = distillation(z.detach(), t, 2.0)
    naive = -(torch.softmax(t / 2, 1) * torch.log_softmax(z / 2, 1)).sum(1)
    torch.testing.assert_close(value, naive.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(naive.sum(), z)[0])
    assert distillation(t, t, 2.0)[1].abs().max() < 1e-16


def test_golden_factor():
    """Rows (3, 4) and (0, 2) are old, (6, 8) is new: 3.5 / 10."""
    model = IncrementalMLPClassifier(align="always", hidden_layer_sizes=[])
    model._head = None
    module = MLP([2, 3], dtype=torch.float64)
    w = torch.tensor([[3.0, 0.0, 6.0], [4.0, 2.0, 8.0]], dtype=torch.float64)
    with torch.no_grad():
        module.output_weights()[0].copy_(w)
    model.net_ = type("Net", (), {"module_": module})()
    model.task_of_class_, model.task_counts_ = np.array([0, 0, 1]), np.ones((2, 3))
    model._align()
    assert model.gamma_ == pytest.approx(0.35)
    np.testing.assert_allclose(model.coefs_[0][:, 2], [2.1, 2.8])
    np.testing.assert_array_equal(model.coefs_[0][:, :2], w[:, :2])
    model._align()  # again: nothing to do
    assert model.gamma_ == pytest.approx(1.0)


def test_herding_follows_the_mean():
    features = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 1.0]])
    first = herding(features, 1)  # (1, 1) has the direction of the mean, almost
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    far = ((unit - unit.mean(0)) ** 2).sum(1)
    assert first.tolist() == [far.argmin()]
    every = herding(features, 9)
    assert sorted(every) == [0, 1, 2, 3]
    assert herding(features, 3).tolist() == every[:3].tolist()
    assert herding(np.zeros((3, 2)), 2).tolist() == [0, 1]


# --- growth ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_a_wider_net_answers_as_before_in_the_old_places(hidden, kind):
    rng = np.random.RandomState(0)
    module = MLP([3, *hidden, 2], dtype=torch.float64, sparse=kind == "sparse").reset(rng)
    wide = module.widened(4, np.array([1, 3]), rng)
    X = sparse.csr_matrix(rng.normal(size=(6, 3))) if kind == "sparse" else rng.normal(size=(6, 3))
    np.testing.assert_array_equal(infer(wide, X)[:, [1, 3]], infer(module, X))
    assert wide.output_weights()[0][:, [0, 2]].abs().min() > 0
    np.testing.assert_array_equal(infer(wide.with_columns(np.array([1, 3])), X), infer(module, X))


def test_the_first_task_is_a_plain_fit(digits):
    X, y = next(chunks(digits))
    plain = MLPClassifier(**KW).fit(X, y)
    for model in (IncrementalMLPClassifier(**KW).fit(X, y), streamed(digits, 1)):
        for own, other in zip(model.coefs_, plain.coefs_, strict=True):
            np.testing.assert_array_equal(own, other)
        np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    two = y != y[0]
    pair = IncrementalMLPClassifier(**KW).fit(X[two], y[two])
    assert pair.n_outputs_ == 2
    assert pair.decision_function(X).shape == (len(X),)


def test_classes_arrive_in_any_order_of_labels(digits):
    model = streamed(digits)
    assert model.classes_.tolist() == sorted(LETTERS)
    task = dict(zip(model.classes_, model.task_of_class_, strict=True))
    assert [task[c] for c in LETTERS] == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    counts = [(digits[1] == c).sum() for c in model.classes_]
    np.testing.assert_array_equal(model.task_counts_.sum(0), counts)
    assert ((model.task_counts_ > 0).sum(0) == 1).all()
    renamed = streamed((digits[0], np.char.upper(digits[1]), digits[2]))  # in the same order
    np.testing.assert_array_equal(renamed.predict_proba(digits[0]), model.predict_proba(digits[0]))


def test_it_learns_new_classes_and_remembers_old_ones(digits):
    kw = {"max_iter": 30, "hidden_layer_sizes": (64,)}
    model = streamed(digits, loss=LogitAdjusted(), **kw)
    score = balanced_accuracy_score(digits[1], model.predict(digits[0]))
    forgetful = streamed(digits, exemplars_per_class=0, **kw)
    assert score > 0.93
    assert balanced_accuracy_score(digits[1], forgetful.predict(digits[0])) < 0.4


# --- the teacher -----------------------------------------------------------------------------


def test_the_teacher_keeps_old_scores_in_place(digits):
    X = digits[0]
    before = streamed(digits, 1)
    old = before.decision_function(X)
    moved = {}
    for share in (0, 0.9):
        model = streamed(digits, 2, distill=share, exemplars_per_class=0)
        places = np.searchsorted(model.classes_, before.classes_)
        z = model._logits(X).numpy()[:, places]
        moved[share] = np.abs((z - z.mean(1, keepdims=True)) - (old - old.mean(1, keepdims=True)))
    assert moved[0.9].mean() < 0.6 * moved[0].mean()


def test_the_share_is_that_of_the_old_classes(digits):
    auto, fixed = streamed(digits, 2), streamed(digits, 2, distill=0.5)  # 3 of 6
    np.testing.assert_array_equal(auto.coefs_[-1], fixed.coefs_[-1])
    other = streamed(digits, 2, distill=0.4)
    assert np.abs(auto.coefs_[-1] - other.coefs_[-1]).max() > 1e-4


def test_the_gradient_is_that_of_both_losses(digits):
    """One step of plain gradient descent on all rows, against autograd."""
    kw = {
        "solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, "alpha": 0.0, "max_iter": 1,
        "batch_size": 2000, "shuffle": False, "align": "never",
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # batches are clipped to the rows there are
        first = streamed(digits, 1, **kw)
        X, y = list(chunks(digits))[1]
        model = pickle.loads(pickle.dumps(first)).partial_fit(X, y)
    code = np.searchsorted(model.classes_, np.concatenate([first.exemplars_[1], y]))
    rows = torch.from_numpy(np.concatenate([first.exemplars_[0], X]))
    places = np.searchsorted(model.classes_, first.classes_)
    draws = np.random.RandomState(0).randint(1 << 31, size=4)
    start = first.net_.module_.widened(6, places, np.random.RandomState(draws[-1]))
    z, told = start(rows), first.net_.module_(rows).detach()
    kd = -(torch.softmax(told / 2, 1) * torch.log_softmax(z[:, places] / 2, 1)).sum(1).mean()
    loss = 0.5 * torch.nn.functional.cross_entropy(z, torch.from_numpy(code)) + 0.5 * kd
    (grad,) = torch.autograd.grad(loss, start.flat)
    torch.testing.assert_close(model.net_.module_.flat, start.flat - 0.1 * grad)
    assert model.loss_ == pytest.approx(loss.item())


def test_a_chunk_without_new_classes_goes_on_with_its_task(digits):
    X, y = list(chunks(digits))[1]
    model = streamed(digits, 2)
    teacher, n = model._teacher["classes"].tolist(), len(model.net_.history)
    model.partial_fit(X[:50], y[:50])
    assert model._teacher["classes"].tolist() == teacher
    assert model.task_counts_.shape == (2, 6)
    assert model.task_counts_[1].sum() == len(y) + 50
    assert len(model.net_.history) == n + 8
    X, y = next(chunks(digits))
    model.partial_fit(X, y)  # old classes only
    assert model.task_counts_.shape == (2, 6)
    assert model.task_counts_[1, model.task_of_class_ == 0].sum() == len(y)


# --- aligning --------------------------------------------------------------------------------


def test_aligning_brings_both_groups_to_one_length(digits):
    always, never = streamed(digits, 2, align="always"), streamed(digits, 2, align="never")
    new = always.task_of_class_ == 1
    assert always.gamma_ == never.gamma_ != 1.0
    assert lengths(always)[new].mean() == pytest.approx(lengths(always)[~new].mean())
    np.testing.assert_allclose(always.coefs_[-1][:, new], never.coefs_[-1][:, new] * never.gamma_)
    np.testing.assert_array_equal(always.coefs_[-1][:, ~new], never.coefs_[-1][:, ~new])
    for own, other in zip(always.intercepts_, never.intercepts_, strict=True):
        np.testing.assert_array_equal(own, other)
    larger = streamed(digits, 2, align="if_larger")
    expected = always if never.gamma_ < 1 else never
    np.testing.assert_array_equal(larger.coefs_[-1], expected.coefs_[-1])


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["herding", "random"])
def test_remembered_rows_are_rows_of_their_classes(choice, digits):
    model = streamed(digits, exemplars_per_class=7, exemplar_choice=choice)
    X, y = model.exemplars_
    assert np.bincount(np.searchsorted(model.classes_, y)).tolist() == [7] * 10
    for row, label in zip(X, y, strict=True):
        assert (digits[0][digits[1] == label] == row).all(1).any()
    early = streamed(digits, 1, exemplars_per_class=7, exemplar_choice=choice)
    for c in early.classes_:  # classes that do not come again keep theirs
        np.testing.assert_array_equal(X[y == c], early.exemplars_[0][early.exemplars_[1] == c])
    assert streamed(digits, 2, exemplars_per_class=0).exemplars_ is None


def test_memory_keeps_weights(digits):
    (X, y), (more, label) = list(chunks(digits))[:2]
    w = np.linspace(1, 2, len(y))
    model = IncrementalMLPClassifier(**KW).partial_fit(X, y, sample_weight=w)
    kept = model._memory["weight"]
    for row, weight in zip(model.exemplars_[0], kept, strict=True):
        assert (w[(row == X).all(1)] == weight).any()
    model.partial_fit(more, label)
    assert sorted(set(model._memory["weight"]) - set(kept)) == [1.0]


# --- probabilities ---------------------------------------------------------------------------


def test_probabilities_answer_for_the_whole_stream(digits):
    model = streamed(digits, max_iter=30, hidden_layer_sizes=(64,), distill=0)
    X, y, _ = digits
    share = np.array([(y == c).mean() for c in model.classes_])
    step = model.class_counts_ / model.class_counts_.sum()
    np.testing.assert_allclose(model.prior_, step)
    z = model._logits(X).numpy()
    p = np.exp(z - z.max(1, keepdims=True)) * share / step
    np.testing.assert_allclose(model.predict_proba(X), p / p.sum(1, keepdims=True), atol=1e-10)
    np.testing.assert_allclose(model.decision_function(X), z + np.log(share / step), atol=1e-10)
    np.testing.assert_array_equal(
        model.predict(X), model.classes_[model.predict_proba(X).argmax(1)]
    )
    scores = np.exp(z - z.max(1, keepdims=True))
    raw = (scores / scores.sum(1, keepdims=True)).mean(0)
    assert np.abs(model.predict_proba(X).mean(0) - share).sum() < 0.6 * np.abs(raw - share).sum()
    uniform = streamed(digits, prior=np.full(3, 1 / 3), n=1)
    np.testing.assert_allclose(uniform._head.wanted, np.full(3, 1 / 3))


@pytest.mark.parametrize(
    "kw",
    [
        {"loss": LogitAdjusted()},
        {"class_weight": "balanced"},
        {"sampler": ClassPowerSampler()},
        {"loss": AnyLoss("accuracy")},
    ],
    ids=repr,
)
def test_other_decisions_stay_what_they_aim_at(kw, digits):
    model = streamed(digits, 3, **kw)
    np.testing.assert_array_equal(
        model.decision_function(digits[0]), model._logits(digits[0]).double().numpy()
    )


def test_classes_that_were_never_seen_get_no_probability(digits):
    X, y = next(chunks(digits))
    one = y == y[0]
    model = IncrementalMLPClassifier(**KW).partial_fit(X[one], y[one], classes=["zz"])
    assert model.task_of_class_.tolist() == [0, -1]
    assert model.predict_proba(X)[:, 1].max() < 1e-200
    model.partial_fit(X[~one], y[~one])
    assert model.classes_.tolist() == ["a", "c", "g", "zz"]
    assert model.task_of_class_.tolist() == [1, 1, 0, -1]
    assert np.isfinite(model.predict_proba(X)).all()


# --- pairs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kw",
    [
        {"mix": Mixup()},
        {"sampler": ClassPowerSampler()},
        {"class_weight": "balanced"},
        {"early_stopping": True},
        {"loss": LogitAdjusted(), "solver": "muon"},
        {"loss": AnyLoss("accuracy")},
        {"loss": MannWhitney(), "solver": "adamw"},
        {"loss": AdversarialCompSum(eps=0.02), "distill": 0},
        {"hidden_layer_sizes": []},
    ],
    ids=repr,
)
def test_pairs_work(kw, digits):
    model = streamed(digits, 3, **kw)
    p = model.predict_proba(digits[0])
    assert np.isfinite(p).all()
    assert balanced_accuracy_score(digits[1], model.predict(digits[0])) > 0.15
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(digits[0]), p)


def test_sparse_rows_are_learned_like_dense_ones(digits):
    X, y = next(chunks(digits))
    model = IncrementalMLPClassifier(**KW)
    for rows, labels in list(chunks(digits))[:3]:
        model.partial_fit(sparse.csr_matrix(rows), labels)
    assert sparse.issparse(model.exemplars_[0])
    p = model.predict_proba(sparse.csr_matrix(digits[0]))
    np.testing.assert_allclose(p, model.predict_proba(digits[0]))
    with pytest.raises(ValueError, match="sparse input and cannot go on"):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(p, model.predict_proba(sparse.csr_matrix(digits[0])))


def test_a_pickle_between_chunks_changes_nothing(digits):
    plain, saved = IncrementalMLPClassifier(**KW), IncrementalMLPClassifier(**KW)
    for X, y in chunks(digits):
        plain.partial_fit(X, y)
        saved = pickle.loads(pickle.dumps(saved.partial_fit(X, y)))
    np.testing.assert_array_equal(plain.predict_proba(digits[0]), saved.predict_proba(digits[0]))


@pytest.mark.parametrize("way", ["copy", "skops"])
def test_copies_go_on_like_the_model(way, digits):
    model = streamed(digits, 2)
    if way == "copy":
        again = copy.deepcopy(model)
    else:
        sio = pytest.importorskip("skops.io")
        data = sio.dumps(model)
        types = sio.get_untrusted_types(data=data)
        assert all(name == "builtins.frozenset" or name.startswith("skimb.") for name in types)
        again = sio.loads(data, trusted=types)
    X, y = list(chunks(digits))[2]
    p = model.partial_fit(X, y).predict_proba(digits[0])
    np.testing.assert_array_equal(again.partial_fit(X, y).predict_proba(digits[0]), p)


def test_what_was_fitted_stays(digits):
    model = streamed(digits, 2)
    p = model.predict_proba(digits[0])
    model.set_params(loss=LogitAdjusted(), prior=[1.0], class_weight={"a": 3}, activation="tanh")
    np.testing.assert_array_equal(model.predict_proba(digits[0]), p)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(digits[0]), p)


def test_rows_without_weight_bring_no_class(digits):
    (X, y), (more, label) = list(chunks(digits))[:2]
    model = IncrementalMLPClassifier(**KW).fit(X, y)
    model.partial_fit(more, label, sample_weight=(label == label[0]).astype(float))
    assert set(model.classes_) == set(y) | {label[0]}


def test_order_of_rows_is_irrelevant_on_full_batches(digits):
    kw = {"batch_size": 1000, "shuffle": False, "max_iter": 3}
    found = []
    for order in (slice(None), slice(None, None, -1)):
        model = IncrementalMLPClassifier(**{**KW, **kw})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for X, y in list(chunks(digits))[:2]:
                model.partial_fit(X[order], y[order])
        found.append(model.coefs_[-1])
    np.testing.assert_allclose(*found, atol=1e-8)


def test_first_tasks_are_trained_side_by_side(digits):
    X, y, _ = digits
    model = IncrementalMLPClassifier(**KW)
    alone = cross_val_score(model, X, y, cv=3)
    with batched_fits():
        together = cross_val_score(model, X, y, cv=3)
    np.testing.assert_allclose(together, alone, atol=0.02)
    assert not hasattr(clone(model), "net_")


# --- refusals --------------------------------------------------------------------------------


def test_refusals_leave_the_model_as_it_was(digits):
    X, y = list(chunks(digits))[1]
    model = streamed(digits, 1)
    p, attributes = model.predict_proba(X), set(vars(model))
    with pytest.raises(ValueError, match="exclusive classes"):
        model.partial_fit(X, np.stack([y == "d", y == "b"], 1).astype(int))
    with pytest.raises(ValueError, match=r"labels like 'a' and cannot add \[1\]"):
        model.partial_fit(X, np.ones(len(y), int))
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :5], y)
    with pytest.raises(ValueError, match="Distillation and Adversary both change the gradient"):
        model.set_params(loss=AdversarialCompSum(eps=0.1)).partial_fit(X, y)
    with pytest.raises(ValueError, match="must hold one non-negative"):
        model.set_params(loss=None, prior=[0.5, 0.3, 0.2]).partial_fit(X, y)
    model.set_params(prior=None)
    assert set(vars(model)) == attributes
    np.testing.assert_array_equal(model.predict_proba(X), p)
    assert model.partial_fit(X, y).n_outputs_ == 6


def test_refusals(digits):
    X, y = next(chunks(digits))
    one = y == y[0]
    with pytest.raises(ValueError, match="at least two classes"):
        IncrementalMLPClassifier(**KW).partial_fit(X[one], y[one])
    with pytest.raises(ValueError, match="exclusive classes"):
        IncrementalMLPClassifier(**KW).fit(X, np.stack([one, ~one], 1).astype(int))
    with pytest.raises(TypeError, match="cost"):
        IncrementalMLPClassifier(loss=ExpectedCost()).fit(X, y, cost=np.ones((len(y), 3)))
    with pytest.raises(ValueError, match="'distill' parameter"):
        IncrementalMLPClassifier(distill=1.0).fit(X, y)
    with pytest.raises(ValueError, match="'solver' parameter"):
        IncrementalMLPClassifier(solver="lbfgs").fit(X, y)
