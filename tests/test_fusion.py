"""Blocks of columns with encoders of their own: shares by certainty, and what the net is without them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import roc_auc_score
from torch import nn

from skimb.engine.data import Batch
from skimb.losses import (
    AdversarialCompSum,
    AnyLoss,
    Focal,
    InfluenceBalanced,
    LogitAdjusted,
    Target,
)
from skimb.model_selection import batched_fits
from skimb.neural_network import FusionClassifier, NeuralNetClassifier
from skimb.neural_network._fusion_net import FusionNet, Reweighting, block_factors, inverse_shares
from skimb.training import ClassPowerSampler

KW = {"max_iter": 8, "tol": 0, "random_state": 0, "batch_size": 100}
BLOCKS = {"table": [0, 1, 2], "text": "rest"}
ON = {"start": 2, "reweight": "entropy"}


def test_shares_are_inverse_to_variances():
    shares = inverse_shares(torch.tensor([1.0, 4.0]))
    assert shares.tolist() == pytest.approx([0.8, 0.2])
    variance = (shares**2 * torch.tensor([1.0, 4.0])).sum()
    assert variance.item() == pytest.approx(0.8)  # 1 / (1 / 1 + 1 / 4)
    assert inverse_shares(torch.tensor([1.0, 99.0]), 0.3).tolist() == pytest.approx(
        [0.99 / 1.29, 0.3 / 1.29]
    )
    assert inverse_shares(torch.zeros(3)).tolist() == pytest.approx([1 / 3] * 3)


def test_factors_of_gradients():
    certain, mass = torch.tensor([0.8, 0.2]), torch.tensor([0.3, 0.7])
    assert block_factors(certain, mass, 0.0).tolist() == [1.5, 1.5]
    found = block_factors(certain, mass, 8.0)
    e = np.exp(8 * np.array([0.8 * 0.7, 0.2 * 0.3]))
    np.testing.assert_allclose(found, 1 + e / e.sum(), rtol=1e-6)
    torch.testing.assert_close(block_factors(certain.flip(0), mass.flip(0), 8.0), found.flip(0))


def test_scores_of_blocks():
    net = FusionNet([np.array([0, 1]), np.array([4, 2]), np.array([3])], 2, [4], "tanh").double()
    X = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z, features = net(X)
    own = net.shares(net.features(X))
    torch.testing.assert_close(sum(own) - 2 * net.scores.bias, z)
    changed = X.clone()
    changed[:, [0, 1, 3]] = 7.0
    torch.testing.assert_close(net.shares(net.features(changed))[1], own[1])
    assert features.shape == (5, 12)


def training(reweight, n=6):
    net = FusionNet([np.array([0]), np.array([1])], 1, [], "relu").double()

    class Bound:
        task = "binary"

    settings = {
        "reweight": reweight,
        "floor": 0.0,
        "block_weight": 1.0,
        "temperature": 8.0,
        "start": 0,
    }
    return Reweighting(net, range(n), settings, Bound), net


def test_certainty_by_entropy_and_by_variance():
    target = Target(torch.ones(6))
    batch = Batch(None, target, rows=torch.tensor([3, 0, 1, 2, 5, 4]))
    scheme, _ = training("entropy")
    sure, unsure = torch.full((6, 1), 3.0), torch.zeros(6, 1)
    scheme.follow([sure.double(), unsure.double()], batch)
    p = 1 / (1 + np.exp(-3))
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    assert scheme.certain[0].item() == pytest.approx(np.log(2) / (np.log(2) + entropy))
    scheme, _ = training("variance")
    for epoch in range(6):
        swing = (-1.0) ** epoch
        scheme.follow([sure.double() * swing / 10, sure.double() * swing], batch)
        if not epoch:
            assert scheme.certain.tolist() == [0.5, 0.5]
    moves = [torch.sigmoid(torch.tensor(s)) - 0.5 for s in (0.3, 3.0)]
    a, b = (float(m) ** 2 for m in moves)
    assert scheme.certain[0].item() == pytest.approx(b / (a + b), rel=1e-6)


def test_without_single_blocks_it_is_a_net_with_a_block_diagonal_layer(rare):
    X, y = rare
    ours = FusionClassifier(BLOCKS, (4,), block_weight=0.0, reweight="none", **KW).fit(X, y)

    class Plain(nn.Module):
        def __init__(self, n_features, n_outputs):
            super().__init__()
            self.parts = nn.ModuleList([nn.Linear(3, 4), nn.Linear(n_features - 3, 4)])
            self.last = nn.Linear(8, n_outputs)

        def forward(self, X):
            parts = zip(self.parts, (X[:, :3], X[:, 3:]), strict=True)
            return self.last(torch.cat([part(x).relu() for part, x in parts], 1))

    plain = NeuralNetClassifier(Plain, **KW).fit(X, y)
    np.testing.assert_allclose(ours.decision_function(X), plain.decision_function(X), atol=1e-10)
    assert ours.block_weights_ == {"table": 0.5, "text": 0.5}
    with batched_fits():
        together = clone(ours).fit(X, y)
    np.testing.assert_allclose(together.decision_function(X), ours.decision_function(X), atol=1e-6)


def test_equal_factors_are_a_larger_step_of_encoders(rare):
    """With one temperature for all, plain SGD moves encoders by 1.5 times the gradient."""
    X, y = rare
    kw = {**KW, "solver": "sgd", "momentum": 0.0, "alpha": 0.0, "max_iter": 1, "batch_size": 600}
    kw |= {"learning_rate_init": 0.1}
    start = FusionClassifier(
        BLOCKS, (4,), reweight="none", **{**kw, "learning_rate_init": 1e-12}
    ).fit(X, y)
    plain = FusionClassifier(BLOCKS, (4,), reweight="none", **kw).fit(X, y)
    equal = FusionClassifier(BLOCKS, (4,), reweight="entropy", temperature=0.0, start=0, **kw).fit(
        X, y
    )
    for name in ("encoders", "scores"):
        parts = [list(getattr(m.net_.module_, name).parameters()) for m in (start, plain, equal)]
        for s, p, e in zip(*parts, strict=True):
            factor = 1.5 if name == "encoders" else 1.0
            torch.testing.assert_close(e - s, factor * (p - s), atol=1e-9, rtol=1e-5)


@pytest.mark.parametrize("reweight", ["variance", "entropy"])
def test_a_block_of_noise_is_less_certain(rare, reweight):
    X, y = rare
    noise = np.random.default_rng(0).normal(size=(600, 3))
    kw = {**KW, "max_iter": 15, "learning_rate_init": 0.01, "floor": 0.0}
    model = FusionClassifier([slice(0, 10), slice(10, 13)], (8,), reweight=reweight, **kw)
    model.fit(np.c_[X, noise], y)
    parts = model.predict_proba_by_block(np.c_[X, noise])
    assert roc_auc_score(y, parts["block0"][:, 1]) > 0.85 > roc_auc_score(y, parts["block1"][:, 1])
    if reweight == "entropy":
        assert model.block_weights_["block0"] > 0.5
    assert sum(model.block_weights_.values()) == pytest.approx(1)
    again = clone(model).fit(np.c_[X, noise], y)
    assert again.block_weights_ == model.block_weights_


def test_columns_in_every_form(rare):
    X, y = rare
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(10)])
    forms = [
        (BLOCKS, X),
        ({"table": slice(0, 3), "text": slice(3, None)}, X),
        ({"text": "rest", "table": [0, 1, 2]}, X),
        ({"table": ["c0", "c1", "c2"], "text": "rest"}, frame),
        (BLOCKS, sparse.csr_matrix(X)),
    ]
    expected = None
    for blocks, rows in forms:
        model = FusionClassifier(blocks, (4,), **KW, **ON).fit(rows, y)
        p = model.predict_proba(rows)
        if blocks == forms[0][0]:
            expected = p if expected is None else expected
        assert model.blocks_["table"].tolist() == [0, 1, 2]
        assert model.blocks_["text"].tolist() == [3, 4, 5, 6, 7, 8, 9]
        if list(model.blocks_) == ["table", "text"]:
            np.testing.assert_allclose(p, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ([[0, 1], slice(1, 10)], r"columns \[1\] are in several blocks"),
        ([[0, 1], [2]], r"columns \[3, 4, 5, 6, 7\] of 10 are in no block"),
        (["rest", "rest"], "only one block can be 'rest'"),
        ({"a": [10], "b": "rest"}, "block 'a' is .*numbers of columns from 0 to 9"),
        ({"a": ["age"], "b": "rest"}, r"block 'a' names columns \['age'\] that X does not have"),
        ({"a": slice(0, 10), "b": "rest"}, r"the blocks \['b'\] have no columns"),
        ([], "in no block"),
    ],
)
def test_wrong_blocks_are_refused(rare, blocks, match):
    with pytest.raises(ValueError, match=match):
        FusionClassifier(blocks).fit(*rare)


LOSSES = [None, Focal(), LogitAdjusted(), AnyLoss(), InfluenceBalanced()]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_weights_and_samplers(rare, three, loss):
    for X, y in (rare, three):
        if isinstance(loss, AnyLoss) and y is three[1]:
            continue
        model = FusionClassifier(BLOCKS, (4,), loss=loss, **KW, **ON)
        w = np.random.default_rng(0).random(len(y)) + 0.5
        a, b = clone(model).fit(X, y, sample_weight=w), clone(model).fit(X, y, sample_weight=4 * w)
        np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), atol=1e-6)
        assert model.fit(X, y).predict_proba(X).shape == (600, len(np.unique(y)))
    X, y = rare
    for kw in (
        {"class_weight": "balanced"},
        {"sampler": ClassPowerSampler(0.0)},
        {"prior": [0.5, 0.5]},
    ):
        if not (loss is None or kw.keys() != {"prior"}):
            continue
        fitted = FusionClassifier(BLOCKS, (4,), loss=loss, reweight="variance", **KW, **kw).fit(
            X, y
        )
        assert np.isfinite(fitted.predict_proba(X)).all()


def test_adversarial_losses_are_refused(rare):
    with pytest.raises(ValueError, match="both change the gradient"):
        FusionClassifier(BLOCKS, loss=AdversarialCompSum(eps=0.1)).fit(*rare)


def test_several_labels():
    X, Y = make_multilabel_classification(300, n_features=8, n_classes=3, random_state=0)
    for reweight in ("variance", "entropy"):
        model = FusionClassifier(BLOCKS, (8,), reweight=reweight, **KW).fit(X, Y)
        assert model.predict(X).shape == (300, 3)
        assert set(model.predict_proba_by_block(X)) == {"table", "text"}


@pytest.mark.parametrize("reweight", ["variance", "entropy", "none"])
def test_partial_fit_pickles_and_early_stopping(rare, reweight):
    X, y = rare
    model = FusionClassifier(BLOCKS, (4,), start=2, reweight=reweight, **KW)
    whole, parts = clone(model).fit(X, y), clone(model)
    for _ in range(8):
        parts = pickle.loads(pickle.dumps(parts)).partial_fit(X, y)
    np.testing.assert_allclose(whole.decision_function(X), parts.decision_function(X), atol=1e-6)
    assert whole.block_weights_ == pytest.approx(parts.block_weights_)
    parts.partial_fit(X[:150], y[:150])
    parts.set_params(blocks=None, hidden_layer_sizes=(9,))
    back = pickle.loads(pickle.dumps(parts))
    np.testing.assert_array_equal(back.predict_proba(X), parts.predict_proba(X))
    stopped = clone(model).set_params(early_stopping=True, validation_scoring="roc_auc").fit(X, y)
    assert 0.4 < stopped.best_validation_score_ <= 1
