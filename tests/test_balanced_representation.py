"""Balanced representation learning: partial mixtures, weights per class that set in late, a second stream."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from refusals import check_refusal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb._core.priors import class_weights
from skimb.engine.data import Batch, TrainingData
from skimb.engine.mixing import Mixing
from skimb.losses import (  # fmt: skip
    LDAM,
    AdversarialCompSum,
    ClassPrior,
    CrossEntropy,
    EqualizationV2,
    Focal,
    MannWhitney,
    Target,
    all_losses,
)
from skimb.model_selection import batched_fits
from skimb.nets.streams import Streams
from skimb.neural_network import (  # fmt: skip
    BalancedRepresentationClassifier,
    MLPClassifier,
    NeuralNetClassifier,
)
from skimb.training import ClassPowerSampler, PartialMixup

SHORT = {"hidden_layer_sizes": (8,), "max_iter": 6, "tol": 0, "random_state": 0}


@parametrize_with_checks(
    [
        BalancedRepresentationClassifier(
            (16,), mix_ratio=0.0, class_weight="balanced", max_iter=60
        ),
        BalancedRepresentationClassifier((16,), skip_pairs=None, learning_rate_init=0.01),
    ],
    expected_failed_checks=lambda e: (
        {
            "check_sample_weight_equivalence_on_dense_data": "partners are drawn by number, and the weights of classes count rows"
        }
        if e.mix_ratio
        else {}
    ),
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


# --- partial mixtures ----------------------------------------------------------------------------


def test_the_rule_of_labels():
    mix, kept = PartialMixup(), np.full(6, 0.64)
    n_i = np.array([31.0, 30.0, 10.0, 10.0, 10.0, 10.0])
    n_j = np.array([10.0, 10.0, 10.0, 30.0, 31.0, 5.0])
    assert mix.label_share(kept, n_i, n_j).tolist() == [0.0, 0.64, 0.64, 0.64, 1.0, 0.64]
    assert mix.label_share(np.ones(6), n_i, n_j).tolist() == [1.0] * 6  # not mixed
    drawn = PartialMixup(ratio=0.25).draw(20_000, np.random.default_rng(0))
    assert set(drawn) == {0.64, 1.0}
    assert (drawn < 1).mean() == pytest.approx(0.25, abs=0.01)


class Step:
    loss = CrossEntropy().bind(ClassPrior(counts=[300, 60, 10]))


def batches(mixer, X, code, n=30):
    mixing = Mixing(mixer, TrainingData(X, Target(code)), [300, 60, 10], seed=0)
    return [mixing.batch(Batch(X, Target(code)), Step()) for _ in range(n)]


def test_columns_come_from_the_partner():
    rng = np.random.default_rng(0)
    code = torch.from_numpy(np.repeat([0, 1, 2], [300, 60, 10]))
    X = torch.from_numpy(np.c_[rng.normal(size=(370, 4)), np.eye(3)[rng.integers(3, size=370)]])
    groups = [[4, 5, 6]]
    found = batches(PartialMixup(0.5, 0.4, feature_groups=groups), X, code)
    mass = np.zeros(3)
    for batch in found:
        changed = batch.X != X
        assert changed[:, :4].sum(1).max() <= 2  # 0.4 of 5 groups
        assert (batch.X[:, 4:].sum(1) == 1).all()
        for column in range(4):
            assert torch.isin(batch.X[:, column], X[:, column]).all()
        assert 0.3 < changed.any(1).double().mean() < 0.6
        share = batch.loss.share.numpy()
        assert set(share) <= {0.0, 0.6, 1.0}
        assert (~changed.any(1))[batch.loss.share < 1].sum() <= 3  # a row may be its own partner
        mass += np.bincount(code, share, 3) + np.bincount(batch.loss.partner.code, 1 - share, 3)
    expected = PartialMixup(0.5, 0.4).label_mass(np.array([300, 60, 10]) / 370, [300, 60, 10])
    np.testing.assert_allclose(mass / mass.sum(), expected, atol=0.005)
    for batch in batches(PartialMixup(0.0), X, code, 2):
        torch.testing.assert_close(batch.X, X)
        assert (batch.loss.share == 1).all()
    with pytest.raises(ValueError, match=r"PartialMixup .* 7 feature\(s\) in 1 group"):
        batches(PartialMixup(feature_groups=[range(7)]), X, code, 1)


def test_partial_mixtures_train_any_net(three):
    X, y = three
    model = MLPClassifier((8,), mix=PartialMixup(0.5), max_iter=5, tol=0, random_state=0).fit(X, y)
    shares = np.unique(y, return_counts=True)[1] / len(y)
    assert model.prior_[2] > shares[2] + 0.01
    wanted = PartialMixup(0.5).label_mass(shares, shares * 600)
    np.testing.assert_allclose(model.prior_, wanted)
    with pytest.raises(ValueError, match="'ratio' parameter of PartialMixup"):
        MLPClassifier(mix=PartialMixup(2.0)).fit(X, y)


# --- weights -------------------------------------------------------------------------------------


def test_weights_of_classes():
    n = np.geomspace(600, 6, 10)
    w = class_weights("effective_per_class", list(range(10)), n, n)
    assert w[-1] / w[0] == pytest.approx(99.5, abs=0.1)
    assert (np.diff(w) > 0).all()
    beta = 0.99 + 0.0099 * (n - 6) / 594
    wanted = (1 - beta) / (1 - beta**n)
    np.testing.assert_allclose(w, wanted * n.sum() / (n @ wanted))
    np.testing.assert_array_equal(w, class_weights("effective_per_class", list(range(10)), n, n))
    even = np.full(3, 20.0)
    np.testing.assert_allclose(class_weights("effective_per_class", [0, 1, 2], even, even), 1.0)


def test_weights_set_in_late_and_stay(three):
    X, y = three
    kw = {**SHORT, "max_iter": 10, "mix_ratio": 0.0, "skip_pairs": None}
    curves = {
        start: BalancedRepresentationClassifier(deferred_reweighting=start, **kw).fit(X, y).loss_curve_
        for start in (0.0, 0.8, 1.0)
    }  # fmt: skip
    assert curves[0.8][:8] == curves[1.0][:8]
    assert curves[0.0][0] != curves[0.8][0]
    assert min(curves[0.8][8:]) > 1.1 * curves[0.8][7]  # both epochs are weighted
    plain = NeuralNetClassifier(Towerlike, max_iter=10, tol=0, random_state=0).fit(X, y)
    np.testing.assert_allclose(plain.loss_curve_, curves[1.0])


def Towerlike(n_features, n_outputs):
    return Streams(n_features, n_outputs, [8], [])


# --- streams -------------------------------------------------------------------------------------


def test_streams_are_trained_apart_and_averaged(three):
    """One stream of the pair is the net that is trained on its columns alone, at half of the gradient."""
    X, y = three
    kw = {**SHORT, "mix_ratio": 0.0, "alpha": 0.0}
    model = BalancedRepresentationClassifier(**kw).fit(X, y)
    alone = BalancedRepresentationClassifier(skip_pairs=None, **kw).fit(X, y)
    towers = model.net_.module_.towers
    for name, tensor in towers[0].state_dict().items():
        torch.testing.assert_close(  # Adam's update knows no factor
            tensor, alone.net_.module_.towers[0].state_dict()[name], rtol=1e-3, atol=1e-4
        )
    rows = torch.from_numpy(X)
    with torch.no_grad():
        other = towers[1](rows - rows[:, (np.arange(8) + 2) % 8])
        mean = (towers[0](rows) + other) / 2
    np.testing.assert_allclose(model.net_.module_.eval()(rows).detach(), mean)
    np.testing.assert_allclose(model._raw(X), mean)
    assert not torch.allclose(other, towers[0](rows))


def test_pairs_of_columns(three):
    X, y = three
    model = BalancedRepresentationClassifier(skip_pairs=[[0, 1], [5, 3]], **SHORT).fit(X, y)
    assert model.net_.module_.towers[1][0].in_features == 2
    assert len(BalancedRepresentationClassifier(**SHORT).fit(X[:, :2], y).net_.module_.pairs) == 1
    for wrong, what in (([0, 1], "of shape"), ([[0, 8]], "columns from 0 to 7"), ([[0.5, 1]], "pairs of column")):  # fmt: skip
        with pytest.raises(ValueError, match=f"skip_pairs=.*{what}"):
            BalancedRepresentationClassifier(skip_pairs=wrong, **SHORT).fit(X, y)


def test_mixtures_of_two_streams_are_the_mean_of_both(three):
    """The loss of mixtures with members is the mean of their losses."""
    from skimb.engine.mixing import TwoLabels
    from skimb.engine.step import mean_of_members

    rng = torch.Generator().manual_seed(0)
    z = torch.randn(2, 20, 3, generator=rng, dtype=torch.float64)
    a, b = torch.randint(3, (2, 20), generator=rng)
    share, w, v = torch.rand(3, 20, generator=rng, dtype=torch.float64)
    plain = CrossEntropy().bind(ClassPrior(counts=[5, 5, 5]))
    for weight, partner_weight in ((None, None), (w, v)):
        loss = TwoLabels(plain, Target(b), partner_weight, share)
        value, grad = mean_of_members(loss, z, Target(a), weight, 20.0, 2)
        each = [loss.loss_grad(own, Target(a), weight, 20.0) for own in z]
        torch.testing.assert_close(value, (each[0][0] + each[1][0]) / 2)
        torch.testing.assert_close(grad, torch.stack([each[0][1], each[1][1]]) / 2)


# --- the estimator -------------------------------------------------------------------------------


@pytest.mark.parametrize("kw", [{}, {"mix_ratio": 0.0}, {"loss": Focal(), "early_stopping": True}, {"loss": LDAM()}, {"sampler": ClassPowerSampler()}], ids=str)  # fmt: skip
def test_fits_are_repeatable_and_stay(three, kw):
    X, y = three
    model = BalancedRepresentationClassifier(**SHORT, **kw).fit(X, y)
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict_proba(X), expected)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        copied.set_params(mix_ratio=0.5, skip_pairs=None, class_weight=None, hidden_layer_sizes=(3,))  # fmt: skip
        np.testing.assert_array_equal(copied.predict_proba(X), expected)
    with batched_fits() as batch:
        together = clone(model).fit(X, y)
    assert batch.sizes == []
    np.testing.assert_array_equal(together.predict_proba(X), expected)
    weighted = clone(model).fit(X, y, sample_weight=np.linspace(0.1, 1, 600))
    assert not np.allclose(weighted.predict_proba(X), expected)


def test_going_on(three):
    X, y = three
    model = BalancedRepresentationClassifier(**SHORT)
    for _ in range(3):
        model.partial_fit(X, y)
    assert len(model.loss_curve_) == 3
    again = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), model.partial_fit(X, y).predict_proba(X))


def test_probabilities_refer_to_the_rows_as_they_are(three):
    X, y = three
    shares = np.unique(y, return_counts=True)[1] / len(y)
    kw = {**SHORT, "max_iter": 60, "learning_rate_init": 0.01, "deferred_reweighting": None}
    model = BalancedRepresentationClassifier(**kw).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X).mean(0), shares, atol=0.06)


def test_what_does_not_go_together(three):
    X, y = three
    with pytest.raises(ValueError, match="sparse X dense"):
        BalancedRepresentationClassifier(**SHORT).fit(sparse.csr_matrix(X), y)
    thin = BalancedRepresentationClassifier(mix_ratio=0.0, **SHORT).fit(sparse.csr_matrix(X), y)
    dense = BalancedRepresentationClassifier(mix_ratio=0.0, **SHORT).fit(X, y)
    np.testing.assert_allclose(thin.predict_proba(X), dense.predict_proba(X), atol=1e-6)
    rows, labels = make_multilabel_classification(200, 6, random_state=0)
    with pytest.raises(ValueError, match="multi-label y has none"):
        BalancedRepresentationClassifier(**SHORT).fit(rows, labels)
    several = BalancedRepresentationClassifier(mix_ratio=0.0, **SHORT).fit(rows, labels)
    assert several.predict(rows).shape == labels.shape
    kw = {**SHORT, "mix_ratio": 0.0}
    for loss, what in ((EqualizationV2(), "two streams"), (AdversarialCompSum(eps=0.1), "skip_pairs=None")):  # fmt: skip
        with pytest.raises(ValueError, match=f"{type(loss).__name__}.*{what}"):
            BalancedRepresentationClassifier(loss=loss, **kw).fit(X, y)
        one = BalancedRepresentationClassifier(loss=loss, skip_pairs=None, **kw).fit(X, y)
        assert one.predict(X).shape == (600,)
    with pytest.raises(ValueError, match="MannWhitney"):
        BalancedRepresentationClassifier(loss=MannWhitney(), **SHORT).fit(X, y)
    assert BalancedRepresentationClassifier(loss=MannWhitney(), **kw).fit(X, y).n_iter_ == 6
    with pytest.raises(ValueError, match="hidden_layer_sizes=\\[0\\]"):
        BalancedRepresentationClassifier([0]).fit(X, y)
    with pytest.raises(ValueError, match="feature_groups names the column 8"):
        BalancedRepresentationClassifier(feature_groups=[[8]], **SHORT).fit(X, y)
    with pytest.raises(ValueError, match="'class_weight' parameter of MLPClassifier"):
        MLPClassifier(class_weight="effective_per_class").fit(X, y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mix_ratio", [0.0, 0.5])
def test_every_loss_trains_two_streams_or_is_refused(three, mix_ratio):
    X, y = three
    X, code = X[:120], np.unique(y, return_inverse=True)[1][:120]
    kw = {**SHORT, "max_iter": 2, "mix_ratio": mix_ratio}
    for cls in all_losses("multiclass"):
        requires = cls().bind(ClassPrior.of(code)).requires
        served = {"every class"} if mix_ratio else {"batch", "every class"}
        model = BalancedRepresentationClassifier(loss=cls(), **kw)
        if requires - served:
            with pytest.raises(ValueError, match=cls.__name__) as found:
                model.fit(X, code)
            check_refusal(found.value, [cls.__name__])
        else:
            assert np.isfinite(model.fit(X, code).predict_proba(X)).all(), cls.__name__
