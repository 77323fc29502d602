"""Samplers that keep chosen rows or make few, and pruning while a net trains."""

import numpy as np
import pandas as pd
import pytest
from sampler_checks import sampler_checks
from scipy import sparse
from sklearn.datasets import make_blobs, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skimb._core.clusters import clustered, filled, spread_over_clusters, whole
from skimb.neural_network import MLPClassifier, MLPRegressor, NeuralNetClassifier
from skimb.pipeline import ResampledClassifier
from skimb.training import DynamicPruning
from skimb.under_sampling import (
    ClusterRefinedSampler,
    DistilledSampler,
    DynamicPruningSampler,
    InfluenceBalancedSampler,
)
from skimb.under_sampling._influence import balanced_picks, with_every_class
from skimb.under_sampling._refined import shared_out

SAMPLERS = [
    DynamicPruningSampler(random_state=0),
    DynamicPruningSampler(0.3, power=0.0, reweight=True, random_state=0),
    InfluenceBalancedSampler(random_state=0),
    ClusterRefinedSampler(n_clusters=12, random_state=0),
]

MADE = DistilledSampler(5, n_outer=2, n_inner=2, feature_width=32, random_state=0)


@pytest.fixture(scope="module")
def rare():
    X, y = make_classification(
        600, 5, n_informative=4, n_redundant=0, weights=[0.9], class_sep=0.8, random_state=0
    )
    return X, np.array(["common", "rare"])[y]


@sampler_checks([*SAMPLERS, MADE])
def test_sampler_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_rows_in_frames_with_weights_and_again(sampler, rare):
    X, y = rare
    frame = pd.DataFrame(X, columns=list("abcde")).astype({"a": np.float32})
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    few, labels = sampler.fit_resample(frame, pd.Series(y), sample_weight=weight)
    at = sampler.sample_indices_
    assert len(np.unique(at)) == len(at) < len(y)
    assert (weight[at] > 0).all()
    pd.testing.assert_frame_equal(few, frame.iloc[at])
    assert labels.tolist() == y[at].tolist()
    assert set(labels) == {"common", "rare"}
    again, _ = sampler.fit_resample(frame, y, sample_weight=weight)
    pd.testing.assert_frame_equal(few, again)


@pytest.mark.parametrize("sampler", [*SAMPLERS, MADE], ids=repr)
def test_probabilities_refer_to_the_rows_before(sampler, rare):
    X, y = rare
    model = ResampledClassifier(sampler, LogisticRegression()).fit(X, y)
    share = np.mean(y == "rare")
    assert model.prior_[1] == pytest.approx(share)
    assert abs(model.predict_proba(X)[:, 1].mean() - share) < 0.05


# --- clusters and quotas -------------------------------------------------------------------------


def test_quotas_fill_up_like_water():
    np.testing.assert_allclose(filled([100, 50, 10, 5], 60), [22.5, 22.5, 10, 5])
    np.testing.assert_allclose(filled([100, 50, 10, 5], 33, power=1.0), [20, 10, 2, 1])
    np.testing.assert_allclose(filled([100, 50, 10, 5], 165), [100, 50, 10, 5])
    sizes, rng = np.array([400, 37, 3, 3, 1]), np.random.RandomState(0)
    for budget in (1, 7, 100, 444):
        for power in (0.0, 0.5, 1.0):
            part = filled(sizes, budget, power)
            size = whole(part, budget)
            assert size.sum() == budget
            assert (size <= sizes).all()
            assert (np.abs(size - part) < 1).all()
    Z = rng.normal(size=(50, 2))
    at, label = spread_over_clusters(Z, 50, rng)
    assert at.tolist() == list(range(50))
    assert np.bincount(label).min() >= 3


def test_repeated_rows_do_not_take_the_place_of_others():
    """Ten times as many rows in one place, and as many of them stay as before."""
    Z, place = make_blobs([60, 60, 60], centers=[[0, 0], [9, 0], [0, 9]], random_state=0)
    found = []
    for copies in (1, 10):
        rows = np.r_[Z, np.repeat(Z[place == 0], copies - 1, axis=0)]
        at, _ = spread_over_clusters(rows, 60, np.random.RandomState(0), n_clusters=3, power=0.0)
        found.append((np.abs(rows[at]).max(1) < 5).sum())
    assert found == [20, 20]
    even, _ = spread_over_clusters(rows, 60, np.random.RandomState(0), n_clusters=3, power=1.0)
    assert (np.abs(rows[even]).max(1) < 5).sum() == 50


def test_the_rows_of_a_cluster_that_stay():
    Z = np.r_[np.linspace(-1, 1, 41), np.linspace(99, 101, 41)][:, None]
    label, far = clustered(Z, 2, np.random.RandomState(0))
    for within, inside in (("central", True), ("farthest", False)):
        at, _ = spread_over_clusters(Z, 20, np.random.RandomState(0), n_clusters=2, within=within)
        stay = np.isin(np.arange(82), at)
        for k in (0, 1):
            a, b = far[stay & (label == k)], far[~stay & (label == k)]
            assert (a.max() <= b.min() + 1e-9) if inside else (a.min() >= b.max() - 1e-9)


# --- pruning before training ---------------------------------------------------------------------


def test_what_is_pruned_and_how_much(rare):
    X, y = rare
    n = dict(zip(*np.unique(y, return_counts=True), strict=True))
    for fraction, strategy, wanted in (
        (0.25, "auto", (round(0.25 * n["common"]), n["rare"])),
        (None, "auto", (n["rare"], n["rare"])),
        (0.5, "all", (round(0.5 * n["common"]), round(0.5 * n["rare"]))),
        (0.5, {"common": 33}, (33, n["rare"])),
        (1.0, "all", (n["common"], n["rare"])),
    ):
        sampler = DynamicPruningSampler(fraction, sampling_strategy=strategy, random_state=0)
        labels = sampler.fit_resample(X, y)[1]
        assert ((labels == "common").sum(), (labels == "rare").sum()) == wanted
        assert sampler.sample_weight_ is None
    assert (sampler.clusters_ == -1).all()


def test_weights_stand_for_the_rows_that_go(rare):
    """Over draws the weighted mean of the rows that stay is that of all."""
    X, y = rare
    w = np.random.default_rng(0).uniform(0.5, 2, len(y))
    means = []
    for seed in range(40):
        sampler = DynamicPruningSampler(0.2, n_clusters=6, reweight=True, random_state=seed)
        few, labels = sampler.fit_resample(X, y, sample_weight=w)
        own = sampler.sample_weight_
        for label in ("common", "rare"):
            assert own[labels == label].sum() == pytest.approx(w[y == label].sum())
        means.append(own @ few / own.sum())
    spread = np.std(means, 0) / np.sqrt(len(means))
    assert (np.abs(np.mean(means, 0) - w @ X / w.sum()) < 4 * spread).all()


def test_features_of_a_net_a_transformer_or_a_pipeline(rare):
    X, y = rare
    net = MLPClassifier((8,), max_iter=5, tol=0, random_state=0)
    for features in (net, StandardScaler(), make_pipeline(StandardScaler(), net)):
        sampler = DynamicPruningSampler(0.3, features=features, random_state=0)
        few = sampler.fit_resample(X, y)[0]
        assert len(few) < len(X)
        np.testing.assert_array_equal(few, X[sampler.sample_indices_])
    frame = pd.DataFrame(X, columns=list("abcde")).assign(word="a")
    with pytest.raises(ValueError, match=r"DynamicPruningSampler\(\) reads rows as numbers"):
        DynamicPruningSampler().fit_resample(frame, y)


# --- pruning while a net trains ------------------------------------------------------------------

KW = {"max_iter": 6, "tol": 0, "batch_size": 100, "random_state": 0}


@pytest.mark.parametrize("make", [lambda **kw: MLPClassifier((8,), **KW, **kw), lambda **kw: NeuralNetClassifier(**KW, **kw)])  # fmt: skip
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_a_net_prunes_by_its_own_features(make, form, rare):
    X, y = rare
    plain = make().fit(form(X), y)
    pruned = make(scheme=DynamicPruning(0.2, period=2)).fit(form(X), y)
    assert pruned.n_iter_ == 6
    np.testing.assert_array_equal(pruned.prior_, plain.prior_)
    assert np.abs(pruned.predict_proba(X) - plain.predict_proba(X)).max() > 1e-3
    again = make(scheme=DynamicPruning(0.2, period=2)).fit(form(X), y)
    np.testing.assert_array_equal(pruned.predict_proba(X), again.predict_proba(X))
    whole_ = make(scheme=DynamicPruning(1.0)).fit(form(X), y)
    np.testing.assert_allclose(whole_.predict_proba(X), plain.predict_proba(X), atol=1e-6)


def test_batches_hold_kept_rows_of_the_classes_that_were_drawn(rare):
    X, y = rare
    seen = []

    class Watched(DynamicPruning):
        def start(self, module, data, seed):
            running = super().start(module, data, seed)
            before = running.batch

            def batch(given, step):
                found = before(given, step)
                np.testing.assert_array_equal(found.target.code, given.target.code)
                np.testing.assert_array_equal(found.X, data.X[found.rows])
                np.testing.assert_array_equal(found.target.code, data.target.code[found.rows])
                seen.append((given.epoch, set(found.rows.tolist()), running.kept.copy()))
                return found

            running.batch = batch
            return running

    scheme = Watched(0.2, period=3, min_rows=70)
    MLPClassifier((8,), scheme=scheme, **KW).fit(X, y, sample_weight=np.linspace(0.5, 2, len(y)))
    choices = {epoch: kept for epoch, _, kept in seen}
    assert all(kept[list(rows)].all() for _, rows, kept in seen)
    assert all(kept[y == "common"].sum() == round(0.2 * (y == "common").sum()) for kept in choices.values())  # fmt: skip
    assert all(kept[y == "rare"].all() for kept in choices.values())  # fewer rows than min_rows
    same = [np.array_equal(choices[e], choices[e + 1]) for e in range(5)]
    assert same == [True, True, False, True, True]


def test_going_on_chooses_anew(rare):
    X, y = rare
    model = MLPClassifier((8,), scheme=DynamicPruning(0.3), **KW)
    for part in (slice(0, 300), slice(300, 600)):
        model.partial_fit(X[part], y[part], classes=["common", "rare"])
    assert np.isfinite(model.predict_proba(X)).all()


def test_what_cannot_be_pruned(rare):
    X, y = rare
    scheme = DynamicPruning()
    with pytest.raises(ValueError, match="a numeric target has none"):
        MLPRegressor(scheme=scheme, max_iter=2).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="multi-label y has none"):
        MLPClassifier(scheme=scheme, max_iter=2).fit(X, X > 0)
    with pytest.raises(ValueError, match="let the module return the pair"):
        NeuralNetClassifier(
            nn.Linear, module__in_features=5, module__out_features=1, scheme=scheme, max_iter=9
        ).fit(X.astype(np.float32), y)


# --- influence ----------------------------------------------------------------------------------


def test_picks_serve_the_column_that_has_least():
    A = np.array([[3.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 0.5], [-1.0, -1.0]])
    assert balanced_picks(A, 4).tolist() == [0, 2, 3, 1]
    one = np.array([[0.2], [0.9], [0.5]])
    assert balanced_picks(one, 2).tolist() == [1, 2]  # one group: the largest influences
    assert sorted(balanced_picks(A, 9).tolist()) == [0, 1, 2, 3, 4]
    twice = A[:, [0, 1, 1]]
    assert set(balanced_picks(twice, 4)) == set(balanced_picks(A, 4))
    assert with_every_class(np.array([0, 1]), A, np.array([0, 0, 1, 1, 1])).tolist() == [0, 2]


def test_influence_is_the_mean_cosine_of_gradients(rare):
    X, y = rare
    sampler = InfluenceBalancedSampler(fraction=0.1, validation=(X[:50], y[:50]), random_state=0)
    sampler.fit_resample(X[50:], y[50:])
    model = LogisticRegression(max_iter=1000).fit(X[50:], y[50:])

    def gradients(X, y):
        residual = model.predict_proba(X) - (y[:, None] == model.classes_)
        each = np.einsum("nk,nd->nkd", residual, X).reshape(len(X), -1)
        return each / np.linalg.norm(each, axis=1, keepdims=True)

    similarity = gradients(X[50:], y[50:]) @ gradients(X[:50], y[:50]).T
    wanted = np.stack([similarity[:, y[:50] == c].mean(1) for c in model.classes_], 1)
    np.testing.assert_allclose(sampler.influence_, wanted, atol=1e-10)
    thin = InfluenceBalancedSampler(
        fraction=0.1, validation=(sparse.csr_matrix(X[:50]), y[:50]), random_state=0
    )
    thin.fit_resample(sparse.csr_matrix(X[50:]), y[50:])
    np.testing.assert_allclose(thin.influence_, wanted, atol=1e-6)


def test_judging_rows_are_not_kept_and_columns_make_groups(rare):
    X, y = rare
    frame = pd.DataFrame(X, columns=list("abcde")).assign(site=np.arange(len(y)) % 3)
    sampler = InfluenceBalancedSampler(fraction=0.2, groups="site", random_state=0)
    few = sampler.fit_resample(frame, y)[0]
    assert len(few) == 120
    assert sampler.groups_.tolist() == [0, 1, 2]
    judges = np.isnan(sampler.influence_).all(1)
    assert judges.sum() == sum(round(0.2 * (y == c).sum()) for c in ("common", "rare"))
    assert not judges[sampler.sample_indices_].any()
    by_number = InfluenceBalancedSampler(fraction=0.2, groups=5, random_state=0)
    np.testing.assert_array_equal(by_number.fit_resample(frame.to_numpy(), y)[0], few)
    net = MLPClassifier((8,), max_iter=5, tol=0, random_state=0)
    for model in (net, make_pipeline(StandardScaler(), LogisticRegression())):
        InfluenceBalancedSampler(model, similarity="dot", random_state=0).fit_resample(X, y)
    for kw, message in (
        ({"groups": "nowhere"}, "groups='nowhere' is no column"),
        ({"groups": 9}, "groups=9 is no column"),
        ({"fraction": 1e-3}, "less than one for each of the 2 classes"),
        ({"validation": (X,)}, "a share or a pair"),
        ({"validation": (X, np.full(len(y), "new"))}, r"classes \['new'\], which y lacks"),
    ):
        with pytest.raises(ValueError, match=message):
            InfluenceBalancedSampler(**kw).fit_resample(X, y)


# --- refined clusters ----------------------------------------------------------------------------


def test_one_round_is_even_over_clusters_and_budgets_are_exact(rare):
    X, y = rare
    for rounds in (1, 3, 7):
        for allocation in ("proportional", "equal", {"common": 31, "rare": 7}):
            sampler = ClusterRefinedSampler(
                fraction=0.1, n_clusters=8, n_rounds=rounds, allocation=allocation, random_state=0
            )
            labels = sampler.fit_resample(X, y)[1]
            at = sampler.sample_indices_
            assert len(np.unique(at)) == len(at) == (38 if isinstance(allocation, dict) else 60)
            for label in ("common", "rare"):
                own = np.unique(sampler.clusters_[y == label])
                assert sampler.cluster_weights_[own].sum() == pytest.approx(1.0)
                drawn = np.bincount(sampler.clusters_[at[labels == label]])[own[0] :]
                room = np.bincount(sampler.clusters_[y == label])[own[0] :]
                if rounds == 1 and room.min() > drawn.max():
                    assert np.ptp(drawn) <= 1
    flat = ClusterRefinedSampler(n_clusters=8, temperature=1e9, random_state=0)
    flat.fit_resample(X, y)
    for label in ("common", "rare"):
        own = np.unique(flat.clusters_[y == label])
        np.testing.assert_allclose(flat.cluster_weights_[own], 1 / len(own), rtol=1e-6)
    assert shared_out(np.array([1.0, 0, 0]), np.array([2, 9, 9]), 11, np.random.RandomState(0))[0] == 2  # fmt: skip


def test_a_cluster_of_random_labels_loses_weight():
    rng = np.random.default_rng(0)
    X, place = make_blobs([300] * 4, centers=[[0, 0], [9, 0], [0, 9], [40, 40]], random_state=0)
    y = np.where(place == 3, rng.integers(0, 2, len(place)), place == 1)
    sampler = ClusterRefinedSampler(
        make_pipeline(StandardScaler(), LogisticRegression(C=10)),
        n_clusters=6, temperature=0.2, random_state=0,
    )  # fmt: skip
    sampler.fit_resample(X, y)
    for label in (0, 1):
        own = np.unique(sampler.clusters_[y == label])
        noisy = [np.mean(place[sampler.clusters_ == c] == 3) > 0.5 for c in own]
        weight = sampler.cluster_weights_[own]
        assert weight[noisy].mean() < 0.8 * weight[np.invert(noisy)].mean()


def test_scores_of_ones_own(rare):
    X, y = rare
    ClusterRefinedSampler(score=lambda m, X, y: X[:, 0], n_clusters=8).fit_resample(X, y)
    with pytest.raises(ValueError, match="one finite number per row"):
        ClusterRefinedSampler(score=lambda m, X, y: 1.0, n_clusters=8).fit_resample(X, y)


# --- made rows -----------------------------------------------------------------------------------


def test_made_rows_start_at_centres_and_stay_in_the_box(rare):
    X, y = rare
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    for method in ("kmeans", "gradient", "distribution"):
        sampler = DistilledSampler(6, method=method, n_outer=4, n_inner=5, random_state=0)
        few, labels = sampler.fit_resample(X, y, sample_weight=w)
        assert labels.tolist() == ["common"] * 6 + ["rare"] * 6
        assert not hasattr(sampler, "sample_indices_")
        for label in ("common", "rare"):
            rows = X[(y == label) & (w > 0)]
            own = labels == label
            assert sampler.sample_weight_[own].sum() == pytest.approx(w[y == label].sum())
            assert (few[own] >= rows.min(0) - 1e-9).all()
            assert (few[own] <= rows.max(0) + 1e-9).all()
        again, _ = sampler.fit_resample(X, y, sample_weight=w)
        np.testing.assert_array_equal(few, again)
        if method == "kmeans":
            centres, nearest = few, None
            scale = X[w > 0].std(0)
            for label in ("common", "rare"):
                rows, own = X[y == label], few[labels == label]
                far = (((rows[:, None] - own) / scale) ** 2).sum(2)
                nearest = far.argmin(1)
                means = [
                    np.average(rows[nearest == c], axis=0, weights=w[y == label][nearest == c])
                    for c in range(6)
                ]
                np.testing.assert_allclose(means, own, atol=1e-6)
        else:
            assert np.abs(few - centres).max() > 1e-3


def test_gradients_come_closer_and_units_do_not_matter(rare):
    X, y = rare
    sampler = DistilledSampler(3, n_outer=30, n_inner=5, feature_width=64, random_state=0)
    few, _ = sampler.fit_resample(X, y)
    assert np.mean(sampler.matching_loss_[-5:]) < 0.9 * np.mean(sampler.matching_loss_[:5])
    scale = np.array([1e3, 1.0, 1e-3, 7.0, 1.0])
    scaled, _ = sampler.fit_resample(X * scale + 5, y)
    np.testing.assert_allclose((scaled - 5) / scale, few, atol=1e-5)


def test_small_classes_whole_numbers_and_what_is_refused(rare):
    X, y = rare
    at = np.r_[np.flatnonzero(y == "rare")[:4], np.flatnonzero(y == "common")]
    few, labels = MADE.fit_resample(X[at], y[at])
    np.testing.assert_allclose(few[labels == "rare"], X[at[:4]])
    assert (labels == "common").sum() == 5
    frame = pd.DataFrame({"a": X[:, 0], "k": np.rint(X[:, 1]).astype(int)})
    made, found = MADE.fit_resample(frame, pd.Series(y))
    assert made.dtypes.tolist() == frame.dtypes.tolist()
    assert found.tolist() == ["common"] * 5 + ["rare"] * 5
    with pytest.raises(ValueError, match="X is sparse"):
        MADE.fit_resample(sparse.csr_matrix(X), y)
    with pytest.raises(ValueError, match=r"the columns \['w'\] hold no numbers"):
        MADE.fit_resample(frame.assign(w="a"), y)
