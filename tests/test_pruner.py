"""Pruning with rewinding: masks, what rounds start from, the net that is left, and the rival without class weights."""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.losses import Focal, MannWhitney
from skimb.neural_network import MLPClassifier
from skimb.posthoc import ClassDependentPruner
from skimb.posthoc._compact import CompactMLP
from skimb.posthoc._pruner import Masks
from skimb.training import Mixup

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks(
    [
        ClassDependentPruner(
            MLPClassifier((16,), max_iter=60, learning_rate_init=0.01),
            sparsity=0.5,
            validation_fraction=0.0,
        )
    ]
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def rare():
    return make_classification(
        900, 8, n_informative=5, weights=[0.9], class_sep=0.8, random_state=0
    )


def net(**kw):
    kw = {"max_iter": 6, "tol": 0.0, "learning_rate_init": 0.01, "random_state": 0, **kw}
    return MLPClassifier((32, 16), **kw)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("criterion", ["magnitude", "increase"])
def test_shares_that_are_left(scope, criterion, rare):
    X, y = rare
    how = {"scope": scope, "criterion": criterion, "random_state": 0}
    masks = []
    for sparsity in (0.0, 0.5, 0.75, 0.875):
        model = ClassDependentPruner(net(), sparsity=sparsity, **how).fit(X, y)
        masks.append(model.masks_)
        assert model.rounds_ == len(masks) - 1
        kept = 0.5**model.rounds_
        if scope == "layer":
            for m in model.masks_:
                assert m.sum() == max(4, np.ceil(m.size * kept))
        np.testing.assert_allclose(1 - model.sparsity_, kept, atol=0.01)
        np.testing.assert_allclose(model.history_["kept"][-1], 1 - model.sparsity_)
        for w, m in zip(model.coefs_, model.masks_, strict=True):
            assert (w.toarray()[~m] == 0).all()
            assert w.nnz == m.sum()
        assert all(m.any() for m in model.intercepts_)
    for before, after in itertools.pairwise(masks):
        for a, b in zip(before, after, strict=True):
            assert not (b & ~a).any()  # what is gone stays gone


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "muon"])
def test_pruned_weights_are_zero_after_training(solver, rare):
    X, y = rare
    size = net(max_iter=1).fit(X, y).net_.module_.flat.numel()
    mask = (np.random.default_rng(0).random((1, size)) < 0.3).astype(float)
    kw = {"solver": solver, "alpha": 0.1, "scheme": Masks(mask), "early_stopping": solver == "adam"}
    flat = net(**kw).fit(X, y).net_.module_.flat.detach().numpy()
    assert (flat[mask == 0] == 0).all()
    assert (flat[mask > 0] != 0).all()


@pytest.mark.parametrize("epoch", [0, 2])
def test_rounds_go_back_to_their_start(epoch, rare):
    X, y = rare
    first = net(scheme=Masks(epoch=epoch)).fit(X, y)
    start = first._scheme_state["start"]
    early = net(max_iter=max(epoch, 1), learning_rate_init=0.01 if epoch else 1e-12).fit(X, y)
    np.testing.assert_allclose(start, early.net_.module_.flat.detach().numpy(), atol=1e-9)
    mask = (np.random.default_rng(0).random(start.shape) < 0.5).astype(float)
    again = net(scheme=Masks(mask, start, epoch), max_iter=1, learning_rate_init=1e-12).fit(X, y)
    np.testing.assert_allclose(again.net_.module_.flat.detach().numpy(), start * mask, atol=1e-9)
    np.testing.assert_array_equal(again._scheme_state["start"], start)


def test_without_pruning_it_is_the_plain_net(rare):
    X, y = rare
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    plain = net(random_state=seed).fit(X, y)
    how = {"sparsity": 0.0, "validation_fraction": 0.0, "random_state": 3}
    model = ClassDependentPruner(net(), **how).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-9)
    weighted = ClassDependentPruner(net(), unweighted_start=False, **how).fit(X, y)
    again = net(random_state=seed, class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(weighted.decision_function(X), again.decision_function(X), atol=1e-9)
    np.testing.assert_allclose(weighted.predict_proba(X), again.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_the_small_net_answers_as_the_large_one(activation, rare):
    X, y = rare
    base = net(activation=activation)
    model = ClassDependentPruner(base, sparsity=0.95, random_state=0).fit(X, y)
    a = X
    act = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "identity": lambda z: z}
    act["logistic"] = lambda z: 1 / (1 + np.exp(-z))
    for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        a = a @ w.toarray() + b
        a = act[activation](a) if i < 2 else a
    np.testing.assert_allclose(model.decision_function(X), a[:, 0], rtol=1e-6, atol=1e-9)
    assert all(n <= m for n, m in zip(model.net_.widths, [8, 32, 16, 1], strict=True))
    assert model.net_.widths[1] < 32
    whole = len(pickle.dumps(net(activation=activation).fit(X, y)))
    assert len(pickle.dumps(model)) < whole / 2


def test_dead_units_and_unread_features_go():
    from scipy import sparse

    W = [np.zeros((3, 4)), np.zeros((4, 2)), np.zeros((2, 1))]
    W[0][1, 0], W[0][1, 1] = 2.0, 5.0  # units 2 and 3 are constants, features 0 and 2 unread
    W[1][0, 0], W[1][2, 0], W[1][3, 1] = 1.0, 3.0, 1.0  # unit 1 is read by nothing
    W[2][0, 0] = -1.0
    b = [np.array([0.5, 1.0, 2.0, -1.0]), np.array([0.1, 0.2]), np.array([4.0])]
    small = CompactMLP([sparse.csr_matrix(w) for w in W], b, "relu")
    assert small.widths == [1, 1, 1, 1]
    X = np.random.default_rng(0).normal(size=(20, 3))
    a = np.maximum(X @ W[0] + b[0], 0)
    a = np.maximum(a @ W[1] + b[1], 0) @ W[2] + b[2]
    np.testing.assert_allclose(small(X), a)
    nothing = CompactMLP([sparse.csr_matrix(0 * w) for w in W], b, "relu")
    assert nothing.widths == [0, 0, 0, 1]
    np.testing.assert_allclose(nothing(X), 4.0)


def test_class_weights_keep_the_rare_class():
    X, y = make_classification(
        3000, 10, n_informative=6, weights=[0.95], class_sep=1.0, random_state=1
    )
    base = net(max_iter=10)
    how = {"sparsity": 0.75, "random_state": 0}
    blind = ClassDependentPruner(base, class_weight=None, **how).fit(X, y).history_
    seen = ClassDependentPruner(base, **how).fit(X, y).history_
    for k in (1, 2):
        assert seen["false_negative_rate"][k] < blind["false_negative_rate"][k] - 0.05
        assert seen["false_positive_rate"][k] > blind["false_positive_rate"][k]
    # a warm first round is the same in both
    for name in blind:
        assert blind[name][0] == pytest.approx(seen[name][0])


def test_several_classes_and_labels():
    X, y = load_digits(return_X_y=True)
    kept = (y != 8) | (np.arange(len(y)) % 8 == 0)
    X, names = X[kept] / 16, np.array(list("abcdefghij"))[y[kept]]
    model = ClassDependentPruner(net(max_iter=10), sparsity=0.8, random_state=0).fit(X, names)
    assert model.score(X, names) > 0.6
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1.0)
    assert model.masks_[-1].any(0).all()  # each class is read


def test_tolerance_keeps_an_earlier_round(rare):
    X, y = rare
    how = {"sparsity": 0.995, "random_state": 0}
    last = ClassDependentPruner(net(), **how).fit(X, y)
    early = ClassDependentPruner(net(), tolerance=0.1, **how).fit(X, y)
    missed = np.array(last.history_["matched_false_negative_rate"])
    wanted = np.flatnonzero(missed <= 1.1 * missed[0])[-1]
    assert early.rounds_ == wanted < last.rounds_
    assert last.history_ == early.history_


@pytest.mark.parametrize(
    "kw", [{"loss": Focal()}, {"loss": MannWhitney()}, {"mix": Mixup()}, {"early_stopping": True}], ids=str
)  # fmt: skip
def test_pairs(kw, rare):
    X, y = rare
    w = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    model = ClassDependentPruner(net(**kw), sparsity=0.8, random_state=0)
    model.fit(X, y, sample_weight=w)
    again = clone(model).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(model.decision_function(X), again.decision_function(X))
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict_proba(X), restored.predict_proba(X))
    changed = copy.deepcopy(model).set_params(
        estimator=net(), sparsity=0.1, class_weight=None, criterion="increase"
    )
    np.testing.assert_array_equal(model.predict_proba(X), changed.predict_proba(X))


def test_bad_input_is_refused(rare):
    X, y = rare
    with pytest.raises(TypeError, match="prunes an MLPClassifier of skimb, got LogisticRegression"):
        ClassDependentPruner(LogisticRegression()).fit(X, y)
    for kw, words in [
        ({"class_weight": "balanced"}, "give it to the pruner"),
        ({"scheme": Masks()}, "does not go with pruning in rounds; use None"),
        ({"decoupling": "crt"}, "does not go with pruning in rounds; use None"),
        ({"solver": "lbfgs"}, "use a stochastic solver"),
    ]:
        with pytest.raises(ValueError, match=words):
            ClassDependentPruner(net(**kw)).fit(X, y)
    with pytest.raises(ValueError, match="validation_fraction=0 sets none aside"):
        ClassDependentPruner(net(), tolerance=0.1, validation_fraction=0).fit(X, y)
    with pytest.raises(ValueError, match="cannot set validation rows aside"):
        ClassDependentPruner(net()).fit(X, np.where(np.arange(len(y)) == 0, 2, y))
    with pytest.raises(ValueError, match="exclusive classes"):
        ClassDependentPruner(net()).fit(X, np.eye(2, dtype=int)[y])
