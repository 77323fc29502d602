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
from skimb.under_sampling import DynamicPruningSampler

SAMPLERS = [
    DynamicPruningSampler(random_state=0),
    DynamicPruningSampler(0.3, power=0.0, reweight=True, random_state=0),
]


@pytest.fixture(scope="module")
def rare():
    X, y = make_classification(
        600, 5, n_informative=4, n_redundant=0, weights=[0.9], class_sep=0.8, random_state=0
    )
    return X, np.array(["common", "rare"])[y]


@sampler_checks(SAMPLERS)
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


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_probabilities_refer_to_the_rows_before(sampler, rare):
    X, y = rare
    model = ResampledClassifier(sampler, LogisticRegression()).fit(X, y)
    share = np.mean(y == "rare")
    assert model.prior_[1] == pytest.approx(share)
    assert abs(model.predict_proba(X)[:, 1].mean() - share) < 0.03


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
