"""Mixtures of rows, and samplers that make rows."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sampler_checks import sampler_checks
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import log_loss, recall_score
from sklearn.model_selection import GridSearchCV

from skimb.datasets import load_digits_long_tailed
from skimb.engine.data import Batch, TrainingData
from skimb.engine.mixing import Mixing, TwoLabels
from skimb.linear_model import LinearClassifier
from skimb.losses import AnyLoss, ClassPrior, CrossEntropy, Focal, LogitAdjusted, Target
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
from skimb.over_sampling import MLROS, MLSMOTE, LatentSMOTE
from skimb.training import BalancedMixup, ClassPowerSampler, Mixup, PartialMixup, Remix, UniMix

MIXERS = [Mixup(), BalancedMixup(), PartialMixup(0.4), Remix(), UniMix()]
COUNTS = np.array([300, 60, 10])


class Step:
    """Stands for a training step: a scheme reads its loss alone."""

    def __init__(self):
        self.loss = CrossEntropy().bind(ClassPrior(counts=COUNTS))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1, 2], COUNTS)
    X = torch.from_numpy(rng.normal(size=(370, 4)))
    return X, torch.from_numpy(code)


def mixed(mixer, batch, weight=None, seed=0):
    X, code = batch
    data = TrainingData(X, Target(code), weight)
    mixing, seen = Mixing(mixer, data, COUNTS, seed), []
    for _ in range(30):
        found = mixing.batch(Batch(X, Target(code), weight), Step())
        partner = (found.loss.partner.code, found.loss.partner_weight, found.loss.share)
        seen.append((found.X.clone(), found.target.code, found.weight, partner))
    return seen


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda m: type(m).__name__)
def test_label_mass_is_what_comes_out(mixer, batch):
    seen = mixed(mixer, batch)
    mass = np.zeros(3)
    for _, code, _, (other, _, share) in seen:
        share = share.numpy()
        assert ((share >= 0) & (share <= 1)).all()
        mass += np.bincount(code, share, 3) + np.bincount(other, 1 - share, 3)
    expected = mixer.label_mass(COUNTS / COUNTS.sum(), COUNTS)
    np.testing.assert_allclose(mass / mass.sum(), expected, atol=0.01)
    assert expected.sum() == pytest.approx(1)


def test_label_mass_by_hand():
    shares = COUNTS / COUNTS.sum()
    np.testing.assert_allclose(Mixup().label_mass(shares, COUNTS), shares, atol=1e-6)
    mean = 0.2 / 1.2
    wanted = (1 - mean) * shares + mean / 3
    np.testing.assert_allclose(BalancedMixup(0.2).label_mass(shares, COUNTS), wanted, atol=1e-5)
    even = np.full(3, 1 / 3)
    for mixer in MIXERS:
        np.testing.assert_allclose(mixer.label_mass(even, [9, 9, 9]), even, atol=1e-3)


def test_rules_of_the_shares():
    lam = np.array([0.2, 0.4, 0.6, 0.9])
    assert Remix().label_share(lam, 100.0, 10.0).tolist() == [0, 0, 0.6, 0.9]  # i is the common one
    assert Remix().label_share(lam, 10.0, 100.0).tolist() == [0.2, 0.4, 1, 1]
    assert Remix().label_share(lam, 10.0, 20.0).tolist() == lam.tolist()
    np.testing.assert_allclose(UniMix().row_share(lam, 100.0, 100.0), [0.7, 0.9, 0.1, 0.4])
    np.testing.assert_allclose(UniMix().row_share(lam, 10.0, 90.0), [0.1, 0.3, 0.5, 0.8])
    drawn = BalancedMixup(0.2).draw(20000, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(0.2 / 1.2, abs=0.005)
    assert (drawn > 0.5).mean() == pytest.approx(1 - 0.5**0.2, abs=0.01)
    at = UniMix(tau=-1.0).partners(np.repeat([0, 1, 2], COUNTS), COUNTS, np.random.default_rng(0))
    found = np.bincount(np.repeat([0, 1, 2], COUNTS)[at], minlength=3) / 370
    np.testing.assert_allclose(found, 1 / 3, atol=0.08)


def test_rows_and_labels_mix_alike(batch):
    """Features that are the one-hot labels come out as the soft labels."""
    _, code = batch
    X = torch.nn.functional.one_hot(code, 3).double()
    for mixer in (Mixup(), BalancedMixup(), UniMix()):
        for rows, own, _, (other, _, share) in mixed(mixer, (X, code)):
            soft = share[:, None] * X[:1].new_tensor(np.eye(3))[own]
            soft = soft + (1 - share)[:, None] * torch.eye(3, dtype=torch.float64)[other]
            torch.testing.assert_close(rows, soft)


def test_loss_of_two_labels_is_soft_cross_entropy():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(50, 4, generator=rng, dtype=torch.float64)
    a, b = torch.randint(4, (2, 50), generator=rng)
    share = torch.rand(50, generator=rng, dtype=torch.float64)
    plain = CrossEntropy().bind(ClassPrior(counts=[5, 5, 5, 5]))
    value, grad = TwoLabels(plain, Target(b), None, share).loss_grad(z, Target(a), None, 50.0)
    soft = share[:, None] * torch.eye(4)[a] + (1 - share)[:, None] * torch.eye(4)[b]
    z.requires_grad_()
    wanted = torch.nn.functional.cross_entropy(z, soft)
    wanted.backward()
    assert value.item() == pytest.approx(wanted.item())
    torch.testing.assert_close(grad, z.grad)
    w = torch.rand(50, generator=rng, dtype=torch.float64)
    # the partner has the same label and weight: nothing is mixed
    value, _ = TwoLabels(plain, Target(a), w, share).loss_grad(z.detach(), Target(a), w, 50.0)
    assert value.item() == pytest.approx(plain.loss_grad(z.detach(), Target(a), w, 50.0)[0].item())


@pytest.fixture(scope="module")
def tailed():
    X, y = load_digits_long_tailed()
    return X / 16, y


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda m: type(m).__name__)
def test_estimators_take_mixers(mixer, tailed):
    X, y = tailed
    kw = {"mix": mixer, "max_iter": 8, "random_state": 0}
    net = MLPClassifier((16,), **kw).fit(X, y)
    again = MLPClassifier((16,), **kw).fit(X, y)
    np.testing.assert_array_equal(net.coefs_[0], again.coefs_[0])
    plain = MLPClassifier((16,), max_iter=8, random_state=0).fit(X, y)
    assert np.abs(net.coefs_[0] - plain.coefs_[0]).max() > 1e-3
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(net.prior_, mixer.label_mass(shares, np.bincount(y)))
    assert net.loss_curve_[-1] < net.loss_curve_[0]
    assert NeuralNetClassifier(None, **kw).fit(X, y).predict(X).shape == y.shape
    linear = LinearClassifier(solver="adam", **kw).fit(
        X, y > 5, sample_weight=np.arange(len(y)) % 3
    )
    assert linear.predict_proba(X).shape == (len(y), 2)
    for loss in (Focal(), LogitAdjusted()):
        MLPClassifier(
            (8,), loss=loss, class_weight="balanced", sampler=ClassPowerSampler(0.5), **kw
        ).fit(X, y)


def test_mixing_and_populations(tailed):
    """Nets that mix are trained alone, and a search over mixers works inside a block."""
    X, y = tailed
    grid = {"mix": [None, Mixup(), UniMix()], "loss": [CrossEntropy(), LogitAdjusted()]}
    search = GridSearchCV(MLPClassifier((16,), max_iter=5, random_state=0), grid, cv=2)
    with batched_fits():
        inside = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(inside, search.fit(X, y).cv_results_["mean_test_score"])
    deep = GridSearchCV(
        MLPClassifier((8,), max_iter=3, mix=Mixup(), random_state=0),
        {"mix__alpha": [0.1, 1.0]},
        cv=2,
    ).fit(X, y)
    assert "mix__alpha" in deep.best_params_


def test_mixing_errors(tailed):
    X, y = tailed
    _, Y = make_multilabel_classification(len(y), random_state=0)
    for kw, data, text in (
        ({"solver": "lbfgs"}, (X, y), "mix=Mixup"),
        ({}, (X, Y), "mixes exclusive classes"),
        ({"loss": AnyLoss("f1")}, (X, y > 5), "use a loss of single rows"),
        ({}, (sparse.csr_matrix(X), y), "make sparse X dense"),
    ):
        with pytest.raises(ValueError, match=text):
            MLPClassifier((4,), mix=Mixup(), max_iter=2, **kw).fit(*data)
    with pytest.raises(ValueError, match="alpha"):
        MLPClassifier((4,), mix=Mixup(alpha=-1)).fit(X, y)


def test_probabilities_refer_to_the_population():
    X, y = make_classification(
        4000, 6, n_informative=4, weights=[0.9], class_sep=0.7, random_state=0
    )
    kw = {"learning_rate_init": 0.005, "max_iter": 30, "random_state": 0}
    net = MLPClassifier((16,), mix=BalancedMixup(1.0), **kw).fit(X, y)
    assert net.prior_[1] > 0.25
    assert abs(net.predict_proba(X)[:, 1].mean() - y.mean()) < 0.03
    adjusted = MLPClassifier((16,), mix=UniMix(), loss=LogitAdjusted(), **kw).fit(X, y)
    assert log_loss(y, adjusted.predict_proba(X)) < 0.33


@pytest.mark.slow
def test_mixing_needs_the_prior_correction():
    """Recall of the rarest digits over 6 seeds: mixup alone loses, with logit adjustment it gains."""
    X, y = load_digits(return_X_y=True)
    recalls = {}
    for name, kw in {
        "plain": {}, "mixup": {"mix": Mixup()}, "unimix": {"mix": UniMix()},
        "unimix adjusted": {"mix": UniMix(), "loss": LogitAdjusted()},
    }.items():  # fmt: skip
        found = []
        for seed in range(6):
            order = np.random.RandomState(seed).permutation(len(y))
            train, test = order[:1100], order[1100:]
            sizes = np.rint(105 * 50.0 ** (-np.arange(10) / 9)).astype(int)
            rows = np.concatenate([train[y[train] == k][:n] for k, n in enumerate(sizes)])
            net = MLPClassifier(
                (128,),
                max_iter=150,
                batch_size=32,
                learning_rate_init=0.003,
                tol=0,
                n_iter_no_change=1000,
                random_state=seed,
                **kw,
            )
            decided = net.fit(X[rows] / 16, y[rows]).predict(X[test] / 16)
            found.append(recall_score(y[test], decided, average=None)[-3:].mean())
        recalls[name] = np.mean(found)
    print(recalls)
    assert recalls["mixup"] < recalls["plain"]
    assert recalls["unimix adjusted"] > recalls["unimix"] + 0.05
    assert recalls["unimix adjusted"] > recalls["plain"] + 0.05


# --- samplers that make rows ---------------------------------------------------------------------


@sampler_checks([LatentSMOTE(random_state=0), MLROS(random_state=0), MLSMOTE(random_state=0)])
def test_sampler_checks(estimator, check):
    several = not isinstance(estimator, LatentSMOTE)
    name = getattr(check, "func", check).__name__
    if several and name == "check_samplers_fit":
        pytest.skip("wants sampling_strategy_: samplers of labels have no classes to list in it")
    if several and name == "check_target_type":
        pytest.skip("wants several labels to be refused")
    check(estimator)


@pytest.fixture(scope="module")
def rare():
    return make_classification(400, 6, weights=[0.9], random_state=0)


def test_full_rank_pca_is_smote(rare):
    X, y = rare
    for transformer in (None, PCA()):
        ours, labels = LatentSMOTE(transformer, random_state=0).fit_resample(X, y)
        if transformer is None:
            theirs, wanted = SMOTE(random_state=0).fit_resample(X, y)
            np.testing.assert_allclose(ours, theirs, atol=1e-10)
            np.testing.assert_array_equal(labels, wanted)
        np.testing.assert_array_equal(ours[: len(y)], X)
    white, _ = LatentSMOTE(PCA(whiten=True), random_state=0).fit_resample(X, y)
    assert np.abs(white - ours).max() > 0.1


def test_new_rows_lie_on_the_main_directions(rare):
    X, y = rare
    sampler = LatentSMOTE(PCA(2), random_state=0)
    made, _ = sampler.fit_resample(X, y)
    new = made[len(y) :]
    back = sampler.transformer_.inverse_transform(sampler.transformer_.transform(new))
    np.testing.assert_allclose(back, new, atol=1e-10)
    thin, _ = LatentSMOTE(TruncatedSVD(3, random_state=0), random_state=0).fit_resample(
        sparse.csr_matrix(X), y
    )
    assert sparse.issparse(thin)
    counts = LatentSMOTE(sampling_strategy=0.5, random_state=0).fit_resample(X, y)[1]
    assert (counts == 1).sum() == pytest.approx(0.5 * (counts == 0).sum(), abs=1)
    with pytest.raises(ValueError, match="transformer"):
        LatentSMOTE(KMeans(2)).fit_resample(X, y)


@pytest.fixture(scope="module")
def labelled():
    X, Y = make_multilabel_classification(300, 10, n_classes=8, n_labels=2, random_state=3)
    return X, Y


def test_copies_of_rare_labels(labelled):
    X, Y = labelled
    sampler = MLROS(0.5, random_state=0)
    X_new, Y_new = sampler.fit_resample(X, Y)
    at = sampler.sample_indices_
    np.testing.assert_array_equal(X_new, X[at])
    np.testing.assert_array_equal(Y_new, Y[at])
    assert 300 < len(at) <= 450
    count = Y.sum(0)
    ratio = count.max() / count
    assert sampler.mean_imbalance_ratio_ == pytest.approx(ratio.mean())
    rare = ratio > ratio.mean()
    assert (Y[at[300:]][:, rare].sum(1) > 0).all()  # every copy has a rare label
    after = Y_new.sum(0)
    assert (after.max() / after)[rare].max() < ratio.max()
    few = MLROS(0.02, random_state=0).fit_resample(X, Y)[1]
    assert len(few) == 306


@pytest.mark.parametrize("labels", ["ranking", "union", "intersection"])
def test_rows_between_neighbours(labels, labelled):
    X, Y = labelled
    sampler = MLSMOTE(labels=labels, random_state=0)
    X_new, Y_new = sampler.fit_resample(X, Y)
    ratio = Y.sum(0).max() / Y.sum(0)
    rare = np.flatnonzero(ratio > ratio.mean())
    assert len(Y_new) - 300 == Y[:, rare].sum()
    np.testing.assert_array_equal(X_new[:300], X)
    first = X[Y[:, rare[0]] == 1]
    made = X_new[300 : 300 + len(first)]
    assert (made >= first.min(0) - 1e-12).all()
    assert (made <= first.max(0) + 1e-12).all()
    assert (Y_new[300 : 300 + len(first), rare[0]] == 1).all()  # row and neighbours all have it
    sums = {
        k: MLSMOTE(labels=k, random_state=0).fit_resample(X, Y)[1].sum()
        for k in ("intersection", "ranking", "union")
    }
    assert sums["intersection"] <= sums["ranking"] <= sums["union"]


def test_frames_single_rows_and_pipelines(labelled):
    X, Y = labelled
    frame, wide = (
        pd.DataFrame(X, columns=[f"f{j}" for j in range(10)]),
        pd.DataFrame(Y, columns=list("abcdefgh")),
    )
    for sampler in (MLROS(random_state=0), MLSMOTE(random_state=0)):
        X_new, Y_new = sampler.fit_resample(frame, wide)
        assert X_new.columns.tolist() == frame.columns.tolist()
        assert Y_new.columns.tolist() == wide.columns.tolist()
        assert Y_new.dtypes.tolist() == wide.dtypes.tolist()
        thin, _ = sampler.fit_resample(sparse.csr_matrix(X), Y)
        np.testing.assert_allclose(thin.toarray(), X_new.to_numpy())
        _, labels = sampler.fit_resample(X, sparse.csr_matrix(Y))
        assert sparse.issparse(labels)
        assert labels.dtype == Y.dtype
        np.testing.assert_array_equal(labels.toarray(), Y_new.to_numpy())
        pipe = make_pipeline(sampler, MLPClassifier((8,), max_iter=3, random_state=0))
        assert pipe.fit(X, Y).predict(X).shape == Y.shape
    alone = np.zeros((20, 3), int)
    alone[:, 0], alone[3, 1], alone[:8, 2] = 1, 1, 1
    made, labels = MLSMOTE(random_state=0).fit_resample(np.arange(20.0)[:, None], alone)
    assert made[20:].ravel().tolist() == [3.0]
    assert labels[20:].tolist() == [[1, 1, 1]]


GAPS = {"ints": "Int64", "flags": "bool", "whole": "int64", "wide": "float32"}


@pytest.fixture
def typed():
    rng = np.random.default_rng(0)
    columns = {name: pd.array(rng.integers(0, 2 if kind == "bool" else 9, 60), dtype=kind) for name, kind in GAPS.items()}  # fmt: skip
    Y = np.zeros((60, 3), int)
    Y[:, 0], Y[:20, 1], Y[:7, 2] = 1, 1, 1
    return pd.DataFrame(columns).assign(big=2**60 + np.arange(60)), Y


@pytest.mark.parametrize("target", [lambda Y: Y, lambda Y: pd.DataFrame(Y, columns=list("abc")), lambda Y: Y.tolist(), lambda Y: pd.Series(Y[:, 2], dtype="Int64"), lambda Y: pd.DataFrame({"y": Y[:, 2]}), lambda Y: np.array(["no", "yes"])[Y[:, 2]]])  # fmt: skip
def test_copies_keep_everything(target, typed):
    frame, Y = typed
    frame = frame.assign(text="q", kind=pd.Categorical(["u", "v"] * 30), gap=np.nan)
    frame["ints"] = frame["ints"].mask(frame["ints"] == 2)
    y = target(Y)
    sampler = MLROS(random_state=0)
    X_new, y_new = sampler.fit_resample(frame, y)
    at = sampler.sample_indices_
    assert len(at) > 60
    pd.testing.assert_frame_equal(X_new, frame.iloc[at].reset_index(drop=True))
    assert type(y_new) is type(y)
    np.testing.assert_array_equal(np.asarray(y_new), np.asarray(y)[at])
    array = frame.to_numpy()
    rows = MLROS(random_state=0).fit_resample(array, y)[0]
    assert rows[60:, 5].tolist() == ["q"] * (len(at) - 60)


@pytest.mark.parametrize("sampler", [MLSMOTE(random_state=0), LatentSMOTE(random_state=0), LatentSMOTE(PCA(2), random_state=0)])  # fmt: skip
def test_made_rows_keep_types_and_round(sampler, typed):
    frame, Y = typed
    for y in (Y[:, 2], pd.Series(Y[:, 2], dtype="Int64"), np.array(["no", "yes"])[Y[:, 2]]):
        X_new, y_new = sampler.fit_resample(frame, y)
        assert X_new.dtypes.tolist() == frame.dtypes.tolist()
        assert len(X_new) == len(y_new) > 60
        pd.testing.assert_frame_equal(X_new.iloc[:60], frame)
        assert sampler.feature_names_in_.tolist() == frame.columns.tolist()
    words = frame.assign(text="q")
    with pytest.raises(ValueError, match=r"columns \['text'\] hold no numbers"):
        sampler.fit_resample(words, Y[:, 2])
    with pytest.raises(ValueError, match="NaN"):
        sampler.fit_resample(frame.assign(wide=np.nan), Y[:, 2])
    made = sampler.fit_resample(np.repeat([[0], [9]], [50, 10], 0) + [0, 1], np.repeat([0, 1], [50, 10]))[0]  # fmt: skip
    assert made.dtype == np.int64
    assert (
        made[60:] == [9, 10]
    ).all()  # between equal rows, up to rounding errors of the transformer


def test_whole_numbers_are_not_cut_off():
    rng = np.random.default_rng(0)
    X = np.r_[np.full((300, 1), -50), rng.choice([0, 1], (100, 1))]
    y = np.repeat([0, 1], [300, 100])
    for sampler in (MLSMOTE(random_state=0), LatentSMOTE(random_state=0)):
        made = sampler.fit_resample(X, y)[0][400:]
        assert abs(made.mean() - X[300:].mean()) < 0.15


def test_few_rare_rows_are_named():
    X = np.random.default_rng(0).normal(size=(60, 4))
    y = np.repeat(["common", "rare"], [56, 4])
    with pytest.raises(ValueError, match="Class 'rare' has 4 rows, k_neighbors=5 needs 6"):
        LatentSMOTE().fit_resample(X, y)
    assert LatentSMOTE(k_neighbors=3, random_state=0).fit_resample(X, y)[0].shape == (112, 4)
    assert LatentSMOTE(sampling_strategy={"rare": 4}).fit_resample(X[:, :2], y)[0].shape == (60, 2)


@pytest.mark.parametrize("sampler", [MLROS(), MLSMOTE()])
def test_labels_that_are_all_empty(sampler):
    X = np.arange(20.0)[:, None]
    X_new, Y_new = sampler.fit_resample(X, np.zeros((20, 3), int))
    np.testing.assert_array_equal(X_new, X)
    assert Y_new.shape == (20, 3)
    assert np.isnan(sampler.mean_imbalance_ratio_)


@pytest.mark.parametrize("sampler", [LatentSMOTE(random_state=0), MLSMOTE(random_state=0)])
def test_wide_sparse_rows_take_little_memory(sampler):
    rng = np.random.default_rng(0)
    n, d = 200, 200_000
    X = sparse.csr_matrix((np.ones(n * 5), rng.integers(0, d, n * 5), np.arange(0, n * 5 + 1, 5)), (n, d))  # fmt: skip
    y = np.repeat([0, 1], [170, 30])
    tracemalloc.start()
    made = sampler.fit_resample(X, y)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sparse.issparse(made)
    assert peak < 30 * d * 8 * 5  # some dense copies of the rare rows, never d x d
