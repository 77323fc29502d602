"""Contrasts between rows, classes and subclasses; clusters of one size; mixtures of embeddings."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from refusals import check_refusal
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import Callback

from skimb.engine.clusters import (
    balanced_kmeans,
    class_temperatures,
    matched,
    split_classes,
    subclass_counts,
)
from skimb.engine.columns import Columns, Views, group_numbers
from skimb.engine.data import TrainingData
from skimb.engine.metric_mixing import MetricMixing, MetricMixup, mixture_loss
from skimb.functional import balanced_contrastive, subclass_contrastive, supervised_contrastive
from skimb.losses import (
    LDAM,
    AdversarialCompSum,
    ClassPrior,
    CrossEntropy,
    EqualizationV2,
    ExpectedCost,
    Focal,
    LogitAdjusted,
    MannWhitney,
    Target,
    all_losses,
)
from skimb.metrics import utilization
from skimb.model_selection import batched_fits
from skimb.nets.embedding import EmbeddingNet
from skimb.neural_network import SubclassContrastiveClassifier
from skimb.training import ClassPowerSampler, Mixup

SHORT = {"hidden_layer_sizes": (8,), "projection_dim": 4, "max_iter": 6, "random_state": 0}
SPLIT = {**SHORT, "warmup_epochs": 2, "recluster_every": 2}
SHARES = "views, clusters and mates of rows differ between weights and repeated rows"


@parametrize_with_checks(
    [
        SubclassContrastiveClassifier((16,), max_iter=20, warmup_epochs=5, mix=MetricMixup()),
    ],
    expected_failed_checks=lambda e: dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        SHARES,
    ),
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


# --- the contrasts -------------------------------------------------------------------------------


@pytest.fixture
def views():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(24, 5, generator=rng, dtype=torch.float64)
    row = torch.arange(12).repeat(2)
    target = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2]).repeat(2)
    subclass = torch.tensor([0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6]).repeat(2)
    return z, target, subclass, row


def naive(z, target, subclass, row, temperature, own, gamma, weight=None):
    """The two terms by loops, as the formula is written."""
    u = z / z.norm(dim=1, keepdim=True)
    n = len(z)
    w = np.ones(n) if weight is None else (weight * n / weight.sum()).numpy()
    first = second = 0.0
    for i in range(n):
        others = [a for a in range(n) if a != i]
        mates = [p for p in others if subclass[p] == subclass[i]]
        s = u[i] @ u.T
        if mates:
            low = torch.log(sum(w[a] * torch.exp(s[a] / temperature) for a in others))
            total = sum(w[p] for p in mates)
            first -= w[i] * sum(w[p] * (s[p] / temperature - low) for p in mates) / total
        t = own[i]
        views = [a for a in others if row[a] == row[i]]
        far = [p for p in others if target[p] == target[i] and subclass[p] != subclass[i]]
        against = [a for a in others if subclass[a] != subclass[i] or a in views]
        if far + views:
            low = torch.log(sum(w[a] * torch.exp(s[a] / t) for a in against))
            total = sum(w[p] for p in far + views)
            second -= w[i] * sum(w[p] * (s[p] / t - low) for p in far + views) / total
    return (temperature / 0.07 * first + gamma * second) / n


@pytest.mark.parametrize("weighted", [False, True])
def test_the_subclass_contrast_is_that_of_loops(views, weighted):
    z, target, subclass, row = views
    own = torch.tensor([0.05, 0.2, 0.1], dtype=torch.float64)[target]
    weight = torch.arange(1.0, 25.0, dtype=torch.float64) if weighted else None
    kw = {"class_temperature": own, "class_contrast": 0.3, "sample_weight": weight}
    z = z.clone().requires_grad_()
    found = subclass_contrastive(z, target, subclass, row, temperature=0.1, **kw)
    wanted = naive(z, target, subclass, row, 0.1, own, 0.3, weight)
    torch.testing.assert_close(found, wanted)
    (slope,) = torch.autograd.grad(found, z)
    (expected,) = torch.autograd.grad(wanted, z)
    torch.testing.assert_close(slope, expected)
    with pytest.raises(ValueError, match="requires a gradient"):
        subclass_contrastive(z, target, subclass, row, class_temperature=own.requires_grad_())


def test_whole_classes_are_contrasted_as_by_the_supervised_loss(views):
    z, target, _, row = views
    found = subclass_contrastive(z, target, target, row, temperature=0.1, class_contrast=0.0)
    wanted = 0.1 / 0.07 * supervised_contrastive(z, target, temperature=0.1)
    torch.testing.assert_close(found, wanted)


def test_a_subclass_of_two_views_is_finite(views):
    z, target, _, row = views
    z = z.requires_grad_()
    loss = subclass_contrastive(z, target, row, row)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()
    alone = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    loss = subclass_contrastive(alone, torch.tensor([0]), torch.tensor([0]), torch.tensor([0]))
    loss.backward()
    assert loss == 0
    assert (alone.grad == 0).all()


def test_the_balanced_contrast_averages_within_classes(views):
    z, target, _, _ = views
    z = z.clone().requires_grad_()
    u = z / z.norm(dim=1, keepdim=True)
    wanted, n = 0.0, len(z)
    for i in range(n):
        e = torch.exp(u[i] @ u.T / 0.2)
        own = [a for a in range(n) if a != i]
        low = sum(sum(e[a] for a in own if target[a] == k) / (target == k).sum() for k in range(3))
        mates = [p for p in own if target[p] == target[i]]
        wanted = wanted - sum(torch.log(e[p] / low) for p in mates) / len(mates) / n
    found = balanced_contrastive(z, target, temperature=0.2)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(v, z)[0] for v in (found, wanted)))


def test_contrasts_know_no_lengths_and_no_order(views):
    z, target, subclass, row = views
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    scale = torch.rand(24, 1, dtype=torch.float64) + 0.1
    a = subclass_contrastive(z, target, subclass, row)
    b = subclass_contrastive((scale * z)[order], target[order], subclass[order], row[order])
    torch.testing.assert_close(a, b)


# --- subclasses ----------------------------------------------------------------------------------


def test_numbers_of_subclasses():
    assert subclass_counts([600, 60, 6], 10).tolist() == [60, 6, 1]
    assert subclass_counts([600, 60, 30], 10).tolist() == [20, 2, 1]
    assert subclass_counts([600, 60, 6], 1000).tolist() == [1, 1, 1]
    assert subclass_counts([40, 0, 10], 1).tolist() == [4, 0, 1]


def directions(n, d, seed):
    Z = np.random.default_rng(seed).normal(size=(n, d))
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_matching_is_greedy(seed):
    rng = np.random.default_rng(seed)
    similarity, capacity = rng.normal(size=(20, 4)), np.array([3, 6, 0, 7])
    wanted, room = np.full(20, -1), capacity.copy()
    for at in np.argsort(-similarity.ravel()):
        i, k = divmod(at, 4)
        if wanted[i] < 0 and room[k]:
            wanted[i], room[k] = k, room[k] - 1
    np.testing.assert_array_equal(matched(similarity, capacity), wanted)


def test_balanced_clusters_have_one_size_and_follow_the_directions():
    Z = directions(103, 3, 0)
    sizes = np.bincount(balanced_kmeans(Z, 10, np.random.default_rng(0)))
    assert sorted(sizes) == [10] * 7 + [11] * 3
    plain = balanced_kmeans(Z, 10, np.random.default_rng(0), balanced=False)
    assert len(np.unique(plain)) == 10
    assert np.ptp(np.bincount(plain)) > 1
    two = np.repeat([[1.0, 0.0], [0.0, 1.0]], 15, 0) + 0.05 * directions(30, 2, 1)
    found = balanced_kmeans(two, 2, np.random.default_rng(3))
    assert len(set(found[:15])) == len(set(found[15:])) == 1
    assert found[0] != found[-1]
    same = balanced_kmeans(
        np.ones((9, 2)) / np.sqrt(2), 4, np.random.default_rng(0), balanced=False
    )
    assert len(np.unique(same)) == 4  # equal rows leave no cluster empty


def test_subclasses_lie_within_classes():
    classes = np.random.default_rng(0).permutation(np.repeat([0, 2], [50, 10]))
    Z = directions(60, 4, 1)
    counts = subclass_counts([50, 0, 10], 5)
    found = split_classes(Z, classes, counts, np.random.default_rng(0))
    assert np.bincount(found).tolist() == [10, 10, 10, 10, 10, 10]
    assert set(found[classes == 0]) == {0, 1, 2, 3, 4}
    assert set(found[classes == 2]) == {5}
    again = split_classes(Z, classes, counts, np.random.default_rng(0))
    np.testing.assert_array_equal(found, again)
    with pytest.raises(ValueError, match=r"class 'b' with 60 rows .* min_subclass_size"):
        split_classes(
            Z, np.zeros(60, int), np.array([10**6]), np.random.default_rng(0), names=["b"]
        )


def test_temperatures_of_classes():
    rng = np.random.default_rng(0)
    classes, spreads = np.repeat(np.arange(5), 40), [0.01, 0.1, 0.3, 1.0, 3.0]
    Z = np.concatenate([[1, 0, 0] + s * rng.normal(size=(40, 3)) for s in spreads])
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    t = class_temperatures(Z, classes, np.full(5, 4), 0.1)
    assert t.mean() == pytest.approx(0.1)
    assert (np.diff(t) >= 0).all()
    D = [np.linalg.norm(z - z.mean(0), axis=1).mean() / np.log(50) for z in Z.reshape(5, 40, 3)]
    D = np.clip(D, *np.percentile(D, [20, 80]))
    np.testing.assert_allclose(t, 0.1 * D / D.mean())
    whole = class_temperatures(Z, classes, np.array([4, 4, 1, 4, 4]), 0.1)
    assert whole[2] == 0.1


# --- views ---------------------------------------------------------------------------------------


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(50, 2)), np.eye(3)[rng.integers(3, size=50)]]
    return TrainingData(torch.from_numpy(X), Target(torch.zeros(50, dtype=torch.long)))


def viewed(kind, rate, table, groups=None):
    columns = Columns(group_numbers(groups, 5, "views"))
    make = Views(kind, rate, table, columns, torch.Generator().manual_seed(0))
    return make(table.X if torch.is_tensor(table.X) else torch.from_numpy(table.X.toarray()))


def test_views(table):
    X = table.X
    groups = [[2, 3, 4]]
    for kind in ("corruption", "dropout", "noise"):
        torch.testing.assert_close(viewed(kind, 0.0, table), X)
    dropped = viewed("dropout", 0.4, table)
    assert ((dropped == X) | (dropped == 0)).all()
    other = viewed("corruption", 0.5, table, groups)
    assert (other[:, 2:].sum(1) == 1).all()  # categories stay categories
    loose = viewed("corruption", 0.5, table)
    assert (loose[:, 2:].sum(1) != 1).any()
    for view in (other, loose):
        assert all(v in X[:, 0] for v in view[:, 0])
        assert 0.3 < (view[:, 0] != X[:, 0]).double().mean() < 0.7
    noisy = viewed("noise", 0.1, table)
    np.testing.assert_allclose((noisy - X).std(0) / X.std(0), 0.1, rtol=0.3)
    thin = TrainingData(sparse.csr_matrix(X.numpy()), table.target)
    for kind in ("corruption", "dropout", "noise"):
        torch.testing.assert_close(viewed(kind, 0.3, thin), viewed(kind, 0.3, table))


def test_groups_of_columns():
    assert group_numbers(None, 3, "X").tolist() == [0, 1, 2]
    assert group_numbers([[0, 2]], 4, "X").tolist() == [0, 1, 0, 2]
    with pytest.raises(ValueError, match="X: feature_groups names the column 3"):
        group_numbers([[0, 3]], 3, "X")
    with pytest.raises(ValueError, match="twice"):
        group_numbers([[0, 1], [1]], 3, "X")
    with pytest.raises(ValueError, match="column 'a'"):
        group_numbers([["a"]], 3, "X")


# --- mixtures ------------------------------------------------------------------------------------


def mixing(groups=None, **kw):
    return MetricMixing(MetricMixup(**kw), Columns(group_numbers(groups, 5, "mix")), seed=0)


def test_the_loss_of_a_mixture():
    u = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    v = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    np.testing.assert_allclose(mixture_loss(u, v, 1.0), [np.sqrt(2), 0.0], atol=1e-5)
    np.testing.assert_allclose(mixture_loss(u, v, 0.0), [0.0, 0.5], atol=1e-5)
    np.testing.assert_allclose(mixture_loss(u, v, 0.3), [0.3 * np.sqrt(2), 0.35], atol=1e-5)


@pytest.mark.parametrize("level", ["embedding", "hidden", "input"])
def test_a_mixture_of_one_row_is_that_row(level, table):
    net = EmbeddingNet(5, [6, 7], 3, 2, dtype=torch.float64)
    X = table.X[:8]
    u = torch.nn.functional.normalize(net(X), dim=1)
    at, nearest = torch.arange(4), torch.arange(4, 8)
    for share, wanted in ((1.0, u[at]), (0.0, u[nearest])):
        found = mixing(level=level).mixed(net, X, u, at, nearest, share)
        torch.testing.assert_close(found, wanted)
    between = mixing(level=level).mixed(net, X, u, at, nearest, 0.5)
    torch.testing.assert_close(between.norm(dim=1), torch.ones(4, dtype=torch.float64))
    assert not torch.allclose(between, u[at])


def test_partners():
    u = torch.nn.functional.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    classes = torch.tensor([0, 0, 0, 1, 0, 0, 0, 1])
    rows = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    anchor, positive, negative = mixing().partners(u, classes, rows, own=False)
    assert anchor.tolist() == [0, 1, 2, 4, 5, 6]  # the only row of class 1 has no positive
    assert (classes[positive] == 0).all()
    assert (rows[positive] != rows[anchor]).all()
    near = (u @ u.T)[:, classes == 1]
    wanted = torch.tensor([3, 7])[near[anchor].argmax(1)]
    assert negative.tolist() == wanted.tolist()
    anchor, own, negative = mixing().partners(u, classes, rows, own=True)
    assert anchor.tolist() == own.tolist() == list(range(8))
    assert (classes[negative] != classes[anchor]).all()
    z, net = torch.randn(4, 3, requires_grad=True), EmbeddingNet(5, [6], 3, 2)
    one = mixing().loss(net, torch.zeros(4, 5), z, torch.zeros(4), torch.arange(4), None)
    one.backward()
    assert one == 0
    assert (z.grad == 0).all()


def test_mixed_rows_keep_groups_whole(table):
    first, second = table.X[:40], table.X[10:50]
    mix = mixing(groups=[[2, 3, 4]], level="input")
    rows = mix.mixed_rows(first, second, 0.7)
    torch.testing.assert_close(rows[:, :2], 0.7 * first[:, :2] + 0.3 * second[:, :2])
    whole = (rows[:, 2:] == first[:, 2:]).all(1)
    assert ((rows[:, 2:] == second[:, 2:]).all(1) | whole).all()
    assert 0.5 < whole.double().mean() < 1.0


def test_the_pairs_and_weights_of_mixtures(three):
    X, y = three
    plain = SubclassContrastiveClassifier(**SPLIT).fit(X, y)
    none = SubclassContrastiveClassifier(mix=MetricMixup(weight=0.0), **SPLIT).fit(X, y)
    np.testing.assert_array_equal(plain.transform(X), none.transform(X))
    curves = [
        SubclassContrastiveClassifier(mix=MetricMixup(level, pairs), **SPLIT).fit(X, y).loss_curve_
        for level in ("input", "hidden", "embedding")
        for pairs in ("positive_negative", "anchor_negative", "both")
    ]
    assert len(np.unique(np.round(curves, 8), axis=0)) == 9
    for name, value in (("level", "output"), ("pairs", "all"), ("alpha", 0.0), ("weight", -1.0)):
        mix = MetricMixup(**{name: value})
        with pytest.raises(ValueError, match=f"'{name}' parameter of MetricMixup"):
            SubclassContrastiveClassifier(mix=mix, **SHORT).fit(X, y)
    with pytest.raises(ValueError, match="'mix' parameter"):
        SubclassContrastiveClassifier(mix=Mixup(), **SHORT).fit(X, y)


def test_utilization():
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    assert utilization(queries, queries) == pytest.approx(0.0, abs=1e-12)
    found = utilization(queries, references)
    distance = ((queries[:, None] - references) ** 2).sum(-1)
    assert found == pytest.approx(distance.min(1).mean())
    assert utilization(queries, np.r_[references, rng.normal(size=(5, 3))]) <= found
    assert utilization(queries, references, metric="euclidean") == pytest.approx(
        np.sqrt(distance.min(1)).mean()
    )
    with pytest.raises(ValueError, match="3 dimensions and references 2"):
        utilization(queries, references[:, :2])


# --- the estimator -------------------------------------------------------------------------------


def test_the_encoder_is_frozen_under_a_linear_classifier(three):
    X, y = three
    model = SubclassContrastiveClassifier(loss=CrossEntropy(), **SPLIT).fit(X, y)
    Z = model.transform(X)
    scaled = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-8, max_iter=5000))
    wanted = scaled.fit(Z, y).predict_proba(Z)
    np.testing.assert_allclose(model.predict_proba(X), wanted, atol=2e-3)
    assert (Z >= 0).all()
    assert Z.shape == (600, 8)
    assert model.get_feature_names_out()[0] == "subclasscontrastiveclassifier0"


def test_training_brings_rows_of_a_class_together(three):
    X, y = three

    def cohesion(contrast, epochs):
        kw = {**SPLIT, "max_iter": epochs, "contrast": contrast, "learning_rate_init": 0.01}
        Z = SubclassContrastiveClassifier(**kw).fit(X, y).transform(X)
        Z = Z - Z.mean(0)
        within = sum(((Z[y == k] - Z[y == k].mean(0)) ** 2).sum() for k in np.unique(y))
        return within / (Z**2).sum()

    for contrast in ("subclass", "supervised", "balanced"):
        assert cohesion(contrast, 40) < 0.9 * cohesion(contrast, 1), contrast


def test_subclasses_of_a_fit(three):
    X, y = three
    model = SubclassContrastiveClassifier(**SPLIT, min_subclass_size=20).fit(X, y)
    counts = model.class_counts_.astype(int)
    wanted = subclass_counts(counts, 20)
    for k, label in enumerate(model.classes_):
        own = model.subclass_labels_[y == label]
        assert len(np.unique(own)) == wanted[k]
        assert np.ptp(np.bincount(own)[np.unique(own)]) <= 1
    assert model.class_temperatures_.shape == (3,)
    whole = SubclassContrastiveClassifier(**{**SPLIT, "warmup_epochs": 6}).fit(X, y)
    np.testing.assert_array_equal(whole.classes_[whole.subclass_labels_], y)
    assert whole.loss_curve_ == pytest.approx(
        SubclassContrastiveClassifier(contrast="supervised", **SPLIT).fit(X, y).loss_curve_
    )


def test_fits_are_repeatable_and_stay(three):
    X, y = three
    model = SubclassContrastiveClassifier(mix=MetricMixup(), **SPLIT).fit(X, y)
    expected, Z = model.predict_proba(X), model.transform(X)
    again = clone(model).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert not np.allclose(other.transform(X), Z)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        copied.set_params(loss=Focal(), hidden_layer_sizes=(3,), contrast="balanced", class_weight="balanced")  # fmt: skip
        np.testing.assert_array_equal(copied.predict_proba(X), expected)
        np.testing.assert_array_equal(copied.transform(X), Z)
        assert len(copied.history_) == 6
    with batched_fits() as batch:
        together = clone(model).fit(X, y)
    assert batch.sizes == []  # trained alone
    np.testing.assert_array_equal(together.predict_proba(X), expected)


def test_probabilities_refer_to_the_rows_as_they_are(three):
    X, y = three
    rates = np.unique(y, return_counts=True)[1] / len(y)
    for kw in ({}, {"class_weight": "balanced"}, {"sampler": ClassPowerSampler()}, {"loss": CrossEntropy()}):  # fmt: skip
        model = SubclassContrastiveClassifier(**SPLIT, **kw).fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X).mean(0), rates, atol=0.03)
        if not kw.get("class_weight"):
            np.testing.assert_allclose(model.prior_, rates)
    prior = SubclassContrastiveClassifier(prior=[0.2, 0.2, 0.6], **SPLIT).fit(X, y)
    assert prior.predict_proba(X)[:, 2].mean() > 0.2


def test_the_default_decides_for_rare_classes(rare):
    X, y = rare
    kw = {**SPLIT, "max_iter": 15}
    balanced = SubclassContrastiveClassifier(**kw).fit(X, y)
    plain = SubclassContrastiveClassifier(loss=CrossEntropy(), **kw).fit(X, y)
    scores = [balanced_accuracy_score(y, m.predict(X)) for m in (balanced, plain)]
    assert scores[0] > scores[1] + 0.01
    assert repr(balanced.loss_function_) == "LogitAdjusted()"


LOSSES = [LDAM(), Focal(), MannWhitney(), ExpectedCost([[0, 1], [20, 0]])]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_losses_of_the_linear_classifier(rare, loss):
    X, y = rare
    model = SubclassContrastiveClassifier(loss=loss, **SPLIT).fit(X, y)
    assert model.score(X, y) > 0.5
    assert np.isfinite(model.decision_function(X)).all()
    if isinstance(loss, MannWhitney):  # the level that it leaves free
        assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.01)
    if isinstance(loss, ExpectedCost):
        cost = np.zeros((600, 4))
        cost[:, 1] = 1.0
        assert model.fit(X, y, cost=cost).predict(X).mean() > 0.5


def test_losses_that_need_batches_are_refused(rare):
    X, y = rare
    for loss, what in ((EqualizationV2(), "EqualizationV2"), (AdversarialCompSum(eps=0.1), "AdversarialCompSum")):  # fmt: skip
        with pytest.raises(ValueError, match=f"{what}.*linear classifier of SubclassContrastive"):
            SubclassContrastiveClassifier(loss=loss, **SHORT).fit(X, y)


def test_weights_of_rows(rare):
    X, y = rare
    kw = {**SPLIT, "n_views": 1, "augmentation_rate": 0.0}
    w = np.random.default_rng(0).integers(0, 3, 600).astype(float)
    one = SubclassContrastiveClassifier(**kw).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(
        one.predict_proba(X),
        SubclassContrastiveClassifier(**kw).fit(X[w > 0], y[w > 0], w[w > 0]).predict_proba(X),
    )
    twice = SubclassContrastiveClassifier(**kw).fit(X, y, sample_weight=2 * w)
    np.testing.assert_allclose(one.transform(X), twice.transform(X))
    assert len(one.subclass_labels_) == (w > 0).sum()
    plain = SubclassContrastiveClassifier(**kw).fit(X[w > 0], y[w > 0])
    assert not np.allclose(plain.transform(X), one.transform(X))


@pytest.mark.parametrize("augmentation", ["corruption", "dropout", "noise"])
def test_sparse_rows_train_as_dense_ones(rare, augmentation):
    X, y = rare
    X = np.where(np.abs(X) > 1, X, 0.0)
    kw = {**SPLIT, "augmentation": augmentation, "mix": MetricMixup("input")}
    dense = SubclassContrastiveClassifier(**kw).fit(X, y)
    thin = SubclassContrastiveClassifier(**kw).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(dense.transform(X), thin.transform(sparse.csr_matrix(X)), atol=1e-6)
    np.testing.assert_allclose(thin.predict_proba(X), dense.predict_proba(X), atol=1e-4)


def test_searches_pipelines_and_callbacks(rare):
    X, y = rare
    losses = []

    class Watch(Callback):
        def on_batch_end(self, net, loss=None, **kwargs):
            losses.append(float(loss))

    model = SubclassContrastiveClassifier(mix=MetricMixup(), callbacks=[Watch()], **SPLIT).fit(X, y)
    assert len(losses) == 3 * 6
    assert model.loss_curve_[0] == pytest.approx(
        np.average(losses[:3], weights=[256, 256, 88]), rel=1e-4
    )
    model.set_params(callbacks=None)
    grid = {"mix__level": ["hidden"], "loss": [Focal(), LogitAdjusted()], "n_views": [1, 3]}
    assert GridSearchCV(model, grid, cv=2).fit(X, y).best_score_ > 0.5
    pipe = make_pipeline(
        StandardScaler(), SubclassContrastiveClassifier(**SHORT), LogisticRegression()
    )
    assert pipe.fit(X, y).predict(X).shape == (600,)
    X32 = X.astype(np.float32)
    assert SubclassContrastiveClassifier(**SHORT).fit(X32, y).transform(X32).dtype == np.float32


def test_bad_input_is_named(rare):
    X, y = rare
    with pytest.raises(ValueError, match="multi-label y has none"):
        SubclassContrastiveClassifier(**SHORT).fit(X, np.c_[y, 1 - y])
    with pytest.raises(ValueError, match="hidden_layer_sizes=\\(\\)"):
        SubclassContrastiveClassifier(()).fit(X, y)
    with pytest.raises(ValueError, match="feature_groups names the column 10"):
        SubclassContrastiveClassifier(feature_groups=[[1, 10]], **SHORT).fit(X, y)
    with pytest.raises(ValueError, match="'contrast' parameter"):
        SubclassContrastiveClassifier(contrast="classes").fit(X, y)
    assert not hasattr(SubclassContrastiveClassifier(), "partial_fit")
    with pytest.raises(AttributeError, match="no partial_fit: subclasses"):
        SubclassContrastiveClassifier().partial_fit(X, y)
    one = SubclassContrastiveClassifier(**SPLIT).fit(X[:40], np.r_[np.zeros(39, int), 1])
    assert one.predict(X).shape == (600,)  # a class of one row has its views as mates


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("several", [False, True])
def test_every_loss_fits_the_linear_classifier_or_is_refused(three, several):
    X, y = three
    X, y = X[:120], y[:120] if several else np.where(y == "rare", "rare", "other")[:120]
    kw = {**SPLIT, "max_iter": 3}
    for cls in all_losses("multiclass" if several else "binary"):
        model = SubclassContrastiveClassifier(loss=cls(), **kw)
        if "memory" in cls().bind(ClassPrior.of(np.unique(y, return_inverse=True)[1])).requires:
            with pytest.raises(ValueError, match="linear classifier") as found:
                model.fit(X, y)
            check_refusal(found.value, [cls.__name__])
        else:
            assert np.isfinite(model.fit(X, y).predict_proba(X)).all(), cls.__name__
