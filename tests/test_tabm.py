"""TabMClassifier and TabMRegressor: raw tables in, honest probabilities and predictions out."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from skimb import losses
from skimb._base import members
from skimb.model_selection import batched_fits
from skimb.neural_network import TabMClassifier, TabMRegressor
from skimb.neural_network._tabm_fold import LEAST_GAIN
from skimb.neural_network._tabm_rows import TabMRows
from skimb.posthoc import LogitAdjuster
from skimb.preprocessing._table import TableReader
from skimb.training import (
    AdversarialTraining,
    BalancedMixup,
    ClassPowerSampler,
    DeferredReweighting,
    DynamicPruning,
    GroupwiseDenoising,
    Mixup,
    PartialMixup,
    RunningScheme,
    Scattering,
    Scheme,
    UniMix,
)

TINY = {
    "n_members": 3, "width": 12, "d_embedding": 4, "n_bins": 8, "learning_rate_init": 0.01,
    "n_iter_no_change": 6, "random_state": 0,
}  # fmt: skip
QUICK = {**TINY, "max_iter": 6, "validation_folds": 2}
COLUMNS = ["amount", "age", "lost", "flag", "city", "grade"]


def raw_table(n=500, seed=0):
    """A frame of numbers, missing values, booleans, texts and categories, and whether a rare thing happens."""
    rng = np.random.default_rng(seed)
    amount, age = rng.lognormal(3, 2, n), rng.uniform(18, 90, n).round()
    flag, city = rng.random(n) < 0.3, rng.choice(["Aarhus", "Bern", "Cork"], n, p=[0.6, 0.3, 0.1])
    grade = pd.Categorical(rng.choice(["low", "high"], n), ["low", "high"], ordered=True)
    missing = rng.random(n) < 0.2
    risk = 1.2 * (age > 60) + 1.5 * (city == "Cork") + 1.0 * missing + np.sin(np.log(amount)) - 3.2
    y = (rng.random(n) < 1 / (1 + np.exp(-risk))).astype(int)
    lost = np.where(missing, np.nan, rng.normal(size=n))
    frame = pd.DataFrame(dict(zip(COLUMNS, (amount, age, lost, flag, city, grade), strict=True)))
    return frame, y


@pytest.fixture(scope="module")
def table():
    return raw_table(900)


@pytest.fixture(scope="module")
def model(table):
    return TabMClassifier(**TINY, max_iter=60).fit(*table)


def quick(**params):
    return TabMClassifier(**{**QUICK, **params})


def fitted(estimator, *data, **kw):
    """Fits that are cut short say so, which does not matter here."""
    return estimator.fit(*data, **kw)


# --- tables ------------------------------------------------------------------------------------------


def test_a_raw_table_gives_honest_probabilities(model):
    X, y = raw_table(3000, seed=1)
    p = model.predict_proba(X)
    assert p.shape == (3000, 2)
    np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-12)
    assert p[:, 1].mean() == pytest.approx(y.mean(), rel=0.15)
    assert average_precision_score(y, p[:, 1]) > 1.8 * y.mean()
    assert log_loss(y, p) < 0.95 * log_loss(y, np.full(len(y), y.mean()))
    assert 0.0 <= model.shrinkage_ < 0.3
    assert (
        model.prior_log_loss_ - model.validation_log_loss_
        > 3.0 * model.validation_gain_error_
        > 0.0
    )
    assert model.validation_log_loss_ < 0.95 * model.prior_log_loss_
    assert model.feature_names_in_.tolist() == COLUMNS
    assert len(model.best_iterations_) == 5
    scores = model.validation_scores_
    assert all(
        np.argmax(own) + 1 == best for own, best in zip(scores, model.best_iterations_, strict=True)
    )


def test_what_is_missing_unseen_or_another_type_is_read(model, table):
    X, _ = table
    moved = X.head(20).copy()
    expected = model.predict_proba(moved)
    same = moved.astype({"city": "category", "age": "Int64"}).set_index(np.arange(20) + 7)
    np.testing.assert_array_equal(model.predict_proba(same), expected)
    gone = moved.assign(city="Delft", grade=None, flag=None, amount=np.nan)
    p = model.predict_proba(gone.astype({"flag": "boolean"}))
    assert np.isfinite(p).all()
    assert np.abs(p - expected).max() > 0.001
    with pytest.raises(ValueError, match="feature names"):
        model.predict_proba(moved[COLUMNS[::-1]])


def test_missing_values_matter():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    y = (rng.random(600) < 0.3).astype(int)
    X[y == 1, 1] = np.nan  # only that it is missing says something
    for embedding in ("piecewise_linear", "periodic", None):
        model = TabMClassifier(**TINY, embedding=embedding, max_iter=40, validation_folds=2).fit(
            X, y
        )
        assert model.score(X, y) == 1.0


@pytest.mark.parametrize("scaling", ["quantile", "squash"])
def test_units_of_numbers_do_not_matter(scaling):
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = X[:, 0] > 1
    model = quick(scaling=scaling, max_iter=30).fit(X, y)
    other = quick(scaling=scaling, max_iter=30).fit(np.ldexp(X, [-60, 900]), y)
    p = other.predict_proba(np.ldexp(X, [-60, 900]))
    np.testing.assert_array_equal(model.predict_proba(X), p)
    assert roc_auc_score(y, p[:, 1]) > 0.95


def test_arrays_and_frames_of_all_categories():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, (300, 2))
    y = (X[:, 0] == 2).astype(int)
    model = TabMClassifier(
        **TINY, categorical_features=[0, 1], max_iter=60, validation_folds=2
    ).fit(X, y)
    assert model.score(X, y) == 1.0
    texts = pd.DataFrame({"a": X[:, 0].astype(str), "b": X[:, 1].astype(str)})
    other = TabMClassifier(**TINY, max_iter=60, validation_folds=2).fit(texts, y)
    np.testing.assert_allclose(other.predict_proba(texts), model.predict_proba(X), atol=1e-6)


def test_bins_and_fractions_are_the_scaled_numbers():
    X, _ = raw_table(300)
    reader = TableReader()
    table = reader.fit_read(X)
    rows = TabMRows("piecewise_linear", "quantile", 8, 0).fit(table[:200], reader)
    blocks = rows.blocks(table, torch.float64).blocks
    bins = blocks["bins"].numpy() - 9 * np.arange(3)
    starts, spans = rows.edges()
    at = np.arange(3)
    numbers = starts[at, bins] + blocks["fractions"].numpy() * spans[at, bins]
    scaled = rows.preparation.scaler_.transform(table.numbers)
    inside = np.abs(scaled) < 4  # beyond the range of the training part lines are bounded
    np.testing.assert_allclose(numbers[inside], scaled[inside], atol=1e-12)
    lost = np.isnan(table.numbers)
    assert lost[:, 2].sum() > 30
    assert (bins[lost] == 0).all()
    assert (bins[~lost] > 0).all()
    assert (blocks["fractions"].numpy()[lost] == 1).all()
    assert not starts[:, 0].any()
    assert not spans[:, 0].any()
    sizes = [len(levels) + 1 for levels in reader.levels_]
    codes = blocks["codes"].numpy() - np.cumsum([0, *sizes])[:-1]
    np.testing.assert_array_equal(codes, table.codes)


def test_a_category_of_one_part_only_is_unseen_by_the_others():
    X, y = raw_table(200)
    X.loc[3, "city"] = "Delft"  # one row: one validation part
    model = quick().fit(X, y)
    without = [
        fold for fold in model._folds if fold.columns.places[1][4] == fold.columns.places[1][0]
    ]
    assert len(without) == 1


# --- losses and targets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        losses.CrossEntropy(),
        losses.Focal(2.0),
        losses.LogitAdjusted(),
        losses.LDAM(),
        losses.AUCMargin(),
        losses.Poly(),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_probabilities_of_calibrated_losses_are_honest(loss, table):
    model = TabMClassifier(**TINY, loss=loss, max_iter=60, validation_folds=2).fit(*table)
    X, y = raw_table(2000, seed=2)
    p = model.predict_proba(X)[:, 1]
    if loss.calibrated:
        assert p.mean() == pytest.approx(y.mean(), rel=0.2)
    assert average_precision_score(y, p) > 1.5 * y.mean()
    assert clone(model).get_params()["loss"] is not model.loss_function_


def test_class_weights_samplers_and_late_weights_are_undone(table):
    X, y = raw_table(2000, seed=2)
    for kw in (
        {"class_weight": "balanced"},
        {"sampler": ClassPowerSampler()},
        {"class_weight": "balanced", "deferred_reweighting": 0.1},
    ):
        model = TabMClassifier(**TINY, **kw, max_iter=50, validation_folds=2).fit(*table)
        assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), rel=0.2), kw


def test_another_prior_moves_the_odds(table):
    X, y = table
    plain, moved = quick().fit(X, y), quick(prior=[0.5, 0.5]).fit(X, y)
    p, q = plain.predict_proba(X), moved.predict_proba(X)
    assert q[:, 1].mean() > 2 * p[:, 1].mean()
    np.testing.assert_array_equal(plain.predict(X), moved.predict(X))


def test_several_classes_and_several_labels():
    X, y = make_classification(
        400, 6, n_informative=4, n_classes=4, weights=[0.6, 0.2, 0.15], random_state=0
    )
    names = np.array(["a", "b", "c", "d"])[y]
    model = TabMClassifier(**TINY, max_iter=60, validation_folds=2).fit(X, names)
    p = model.predict_proba(X)
    assert p.shape == (400, 4)
    assert model.decision_function(X).shape == (400, 4)
    np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(1)])
    assert model.score(X, names) > 0.75
    labels = np.stack([y == 1, X[:, 0] > 1, X[:, 1] > 0], 1).astype(int)
    several = TabMClassifier(**TINY, max_iter=60, validation_folds=2).fit(X, labels)
    q = several.predict_proba(X)
    assert q.shape == (400, 3)
    np.testing.assert_allclose(q.mean(0), labels.mean(0), atol=0.05)
    np.testing.assert_array_equal(several.predict(X), (q > 0.5).astype(int))


def test_costs_of_rows_decide():
    X, y = raw_table(400)
    cost = np.where(np.arange(2) == y[:, None], 0.0, np.where(y == 1, 50.0, 1.0)[:, None])
    model = quick(loss=losses.ExpectedCost(), max_iter=20).fit(X, y, cost=cost)
    assert model.predict(X).mean() > 2 * y.mean()


@pytest.mark.parametrize("mix", [BalancedMixup(), UniMix()])
def test_probabilities_of_mixtures_are_honest(mix):
    X, y = raw_table(500)
    model = quick(max_iter=12, mix=mix, validation_folds=1).fit(X, y)
    p = model.predict_proba(X)[:, 1]
    assert p.mean() == pytest.approx(y.mean(), abs=0.06)
    assert average_precision_score(y, p) > 1.5 * y.mean()
    assert abs(model._head.trained[1] - y.mean()) > 0.02  # which is undone
    copied = pickle.loads(pickle.dumps(model)).set_params(mix=None)
    np.testing.assert_array_equal(copied.predict_proba(X)[:, 1], p)
    before = p.copy()
    assert (model.partial_fit(X, y, sample_weight=1.0 + y).predict_proba(X)[:, 1] != before).any()


def test_a_scheme_follows_the_training_of_each_ensemble(table):
    X, y = table
    began = []

    class Last(RunningScheme):
        def __init__(self, module):
            self.module, self.steps = module, 0

        def after_update(self, batch, step):
            self.steps += 1
            self.seen = {k: v.clone() for k, v in self.module.state_dict().items()}

        def weights(self):
            return [torch.zeros_like(v) for v in self.seen.values()] if self.steps else None

    class Zeros(Scheme):
        def start(self, module, data, seed):
            began.append(len(data))
            return Last(module)

    model = quick(scheme=Zeros(), embedding=None).fit(X, y)
    assert sum(began) == len(X)  # two halves
    flat = model._folds[0].net_.module_.flat
    assert not flat.any()  # the offered weights predict
    assert model.shrinkage_ == 1.0 or np.ptp(model.predict_proba(X)[:, 1]) == 0.0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mix": PartialMixup()}, "puts columns of rows together"),
        ({"mix": Mixup(), "loss": losses.MannWhitney()}, "use a loss of single rows"),
        ({"scheme": GroupwiseDenoising()}, "reads columns, which TabM does not allow"),
        ({"scheme": DynamicPruning()}, "reads columns, which TabM does not allow"),
        ({"scheme": Scattering()}, "differentiates the net"),
        ({"scheme": AdversarialTraining()}, "differentiates the net"),
    ],
)
def test_mixtures_and_schemes_that_are_refused(params, message):
    X, y = raw_table(120)
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(X, y)


def test_mixtures_of_several_labels_are_refused():
    X, y = raw_table(120)
    with pytest.raises(ValueError, match="mixes exclusive classes; multi-label y has none"):
        quick(mix=Mixup()).fit(X, np.stack([y, 1 - y], 1))


def test_losses_that_perturb_rows_are_refused():
    X, y = raw_table(120)
    with pytest.raises(
        ValueError, match="perturbs the rows, which TabM does not allow; use another"
    ):
        quick(loss=losses.AdversarialCompSum(eps=0.1)).fit(X, y)


@pytest.mark.parametrize("ensemble", ["mini", "packed"])
def test_members_share_the_memory_of_a_loss(ensemble, table):
    X, y = table
    Y = np.stack([y, 1 - y, y], 1)
    params = {"loss": losses.EqualizationV2(), "ensemble": ensemble, "validation_folds": 0}
    model = quick(**params, max_iter=2).fit(X, Y)
    kept = model._folds[0]._head.bound.gathered.clone()
    assert (kept > 0).all()
    copied = pickle.loads(pickle.dumps(model))
    for each in (model, copied):  # training that goes on keeps it
        each.partial_fit(X, Y)
        assert (each._folds[0]._head.bound.gathered > kept).all()
    np.testing.assert_array_equal(model.predict_proba(X), copied.predict_proba(X))
    harmonized = quick(loss=losses.GradientHarmonized(momentum=0.5)).fit(X, y)
    assert all(fold._head.bound.counts.sum() > 0 for fold in harmonized._folds)
    assert average_precision_score(y, harmonized.decision_function(X)) > 1.2 * y.mean()


def test_one_memory_of_several_members():
    rng = np.random.default_rng(0)
    Y = torch.tensor(rng.integers(0, 2, (50, 3)))
    Z = torch.tensor(rng.normal(size=(2, 50, 3)))
    prior = losses.ClassPrior.of(Y.numpy())

    def remembered(loss, name, parts):
        bound = loss.bind(prior)
        for z in parts:
            target = bound.encode(Y.expand(z.shape), z)
            bound.observe(z, target, None)
        return getattr(bound, name)

    both = remembered(losses.EqualizationV2(), "gathered", [Z])
    one, two = (remembered(losses.EqualizationV2(), "gathered", [z]) for z in Z)
    torch.testing.assert_close(both, one + two)
    loss = losses.GradientHarmonized(10, momentum=0.5)
    both = remembered(loss, "counts", [Z])
    one, two = (remembered(loss, "counts", [z]) for z in Z)
    torch.testing.assert_close(both, (one + two) / 2)
    t, z = torch.tensor(rng.normal(size=50)), torch.tensor(rng.normal(size=50))
    alone, twice = (losses.BalancedMSE().bind(t.numpy()) for _ in range(2))
    for _ in range(3):
        alone.observe(z, alone.encode(t, z))
        twice.observe(torch.stack([z, z]), twice.encode(t, z))
    assert alone.sigma == pytest.approx(twice.sigma) != pytest.approx(float(t.std()), rel=1e-3)


# --- folds, early stopping, shrinkage ----------------------------------------------------------------


def test_every_row_validates_once_and_classes_in_proportion(table):
    X, y = table
    model = TabMClassifier(**QUICK)
    model._validate(X, y, None, None)
    parts, _ = model.set_params(validation_folds=5)._parts(y, np.random.RandomState(0))
    assert sorted(np.concatenate([valid for _, valid in parts])) == list(range(len(y)))
    for train, valid in parts:
        assert not set(train) & set(valid)
        assert abs(y[valid].sum() - y.sum() / 5) < 1
    ((train, valid),), _ = model.set_params(validation_folds=1, validation_fraction=0.25)._parts(
        y, np.random.RandomState(0)
    )
    assert abs(len(valid) - len(y) / 4) <= 1
    assert len(train) + len(valid) == len(y)


def test_few_rare_rows_make_few_parts():
    X, _ = raw_table(60)
    rare = np.zeros(60, int)
    rare[:3] = 1
    assert len(quick(validation_folds=5).fit(X, rare).best_iterations_) == 3
    lonely = np.where(np.arange(60) < 1, 2, np.arange(60) % 2)  # one row of a third class
    model = quick().fit(X, lonely)
    assert model.predict_proba(X).shape == (60, 3)
    lonely = np.r_[np.zeros(55, int), 1:6]  # five rows of one class each
    with pytest.warns(UserWarning, match="5 outside of the most common class, of which 0 share"):
        quick().fit(X, lonely)
    lonely[-1] = 4
    assert len(quick(validation_folds=5).fit(X, lonely).best_iterations_) == 2
    with pytest.warns(UserWarning, match="of which 0 share"):
        assert quick().fit(X[:9], np.arange(9)).predict_proba(X).shape == (60, 9)
    rare[1:3] = 0
    with pytest.warns(UserWarning, match="sets no validation rows aside: 60 rows with 1 outside"):
        model = quick(max_iter=30).fit(X, rare)
    assert model.n_iter_ == 6
    assert model.validation_log_loss_ is None


def test_without_folds_all_epochs_are_trained(table):
    model = quick(validation_folds=0).fit(*table)
    assert model.n_iter_ == 6
    assert model.best_iterations_ == [6]
    with pytest.raises(ValueError, match="without validation rows"):
        model.prune(1)


def test_probabilities_without_signal_shrink_to_the_prior():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 15)), (rng.random(120) < 0.2).astype(int)
    # a score that likes the most certain weights: overfitting on purpose
    worst = TabMClassifier(
        **TINY,
        validation_folds=2,
        max_iter=80,
        validation_scoring=lambda e, X, y: e.predict_proba(X).max(),
    ).fit(X, y)
    assert worst.validation_log_loss_ <= worst.prior_log_loss_ * (1 + 1e-12)  # rounding
    assert worst.shrinkage_ > 0.5
    Z = rng.normal(size=(500, 15))
    p = worst.predict_proba(Z)
    expected = -(y.mean() * np.log(p[:, 1]) + (1 - y.mean()) * np.log(p[:, 0])).mean()
    assert expected < 1.05 * worst.prior_log_loss_
    np.testing.assert_array_equal(worst.predict(Z), p.argmax(1))
    assert worst.predict_proba_std(Z).max() < 0.2


def test_folds_trained_together_are_those_trained_alone(table, monkeypatch):
    together = quick().fit(*table).predict_proba(table[0])
    from skimb.engine import grouping

    monkeypatch.setattr(grouping, "structure", lambda net, data: None)
    np.testing.assert_allclose(quick().fit(*table).predict_proba(table[0]), together, atol=1e-4)


def test_fits_in_a_block_are_those_alone(table):
    X, y = table
    alone = cross_val_score(quick(), X, y, cv=2, scoring="neg_log_loss")
    with batched_fits() as batch:
        shared = cross_val_score(quick(), X, y, cv=2, scoring="neg_log_loss", n_jobs=2)
    np.testing.assert_allclose(shared, alone, atol=1e-4)
    assert sum(batch.sizes) == 4


def test_the_evidence_to_keep_has_the_least_log_loss():
    rng = np.random.default_rng(0)
    for multilabel in (False, True):
        p = rng.dirichlet(np.full(3, 0.4), 400)
        if multilabel:
            code = (rng.random((400, 3)) < 0.3 + 0.4 * p).astype(int)
            natural = code.mean(0)
            wanted = np.stack([1 - natural, natural], 1)
        else:
            code = np.array([rng.choice(3, p=0.5 * row + 1 / 6) for row in p])
            natural = wanted = np.bincount(code) / 400
        head = SimpleNamespace(natural=natural, wanted=wanted, multilabel=multilabel)

        def loss(share, p=p, code=code, head=head):
            q = members.shrunk(p, head.wanted, share)
            if head.multilabel:
                return -np.log(np.where(code > 0, q, 1 - q)).sum(1).mean()
            return log_loss(code, q)

        kept, least, whole, none = members.evidence_to_keep(p, head, code)
        grid = [loss(share) for share in np.linspace(0, 1, 201)]
        assert 0.1 < kept < 0.9
        assert least == pytest.approx(min(grid), rel=1e-3)
        assert (loss(kept), loss(1.0), loss(0.0)) == pytest.approx((least, whole, none), rel=1e-9)
        np.testing.assert_allclose(
            members.shrunk(p, wanted, 0.0), np.broadcast_to(natural, p.shape)
        )


def test_evidence_within_noise_is_left_out():
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1], [270, 30])
    weight = rng.uniform(0.5, 2.0, 300)
    natural = np.bincount(code, weight) / weight.sum()
    head = SimpleNamespace(natural=natural, wanted=natural, multilabel=False)
    seen = {}
    for signal in (0.0, 0.5, 3.0):
        odds = np.log(natural[1] / natural[0]) + signal * (2 * code - 1) + rng.normal(size=300)
        p = 1 / (1 + np.exp(-np.stack([-odds, odds], 1)))
        best = members.evidence_to_keep(p, head, code, weight)[0]
        kept, loss, error = members.credible_evidence(p, head, code, best, weight)
        row = np.log(members.shrunk(p, natural, best)[np.arange(300), code] / natural[code])
        gain = np.average(row, weights=weight)
        variance = (weight**2 * (row - gain) ** 2).sum() / weight.sum() ** 2
        assert error == pytest.approx(variance**0.5, rel=1e-9)
        assert kept == pytest.approx(best * (1 - np.exp(-(gain**2) / 2 / variance)), rel=1e-9)
        assert loss == pytest.approx(
            log_loss(code, members.shrunk(p, natural, kept), sample_weight=weight)
        )
        seen[signal] = kept, best
    assert seen[0.0][0] <= seen[0.0][1]
    assert 0.0 < seen[0.5][0] < seen[0.5][1]
    assert seen[3.0][0] == seen[3.0][1] > 0.5
    nothing = members.credible_evidence(p, head, code, 0.0)
    assert nothing[0] == nothing[2] == 0.0


def test_the_balanced_decision_is_one_line(model, table):
    X, y = table
    balanced = LogitAdjuster(model, tau=1.0, cv="prefit").fit(X, y)
    p = model.predict_proba(X)
    np.testing.assert_array_equal(balanced.predict(X), (p / model.prior_).argmax(1))
    assert balanced.predict(X).sum() > 1.5 * model.predict(X).sum()
    assert balanced_accuracy_score(y, balanced.predict(X)) > balanced_accuracy_score(
        y, model.predict(X)
    )


# --- members -----------------------------------------------------------------------------------------


def test_members_spread_and_are_pruned(model, table):
    X, y = table
    few = pickle.loads(pickle.dumps(model)).prune(2)
    assert few is not model
    p = few.predict_proba(X)
    assert np.abs(p - model.predict_proba(X)).max() < 0.2
    assert few.predict_proba_std(X).shape == p.shape
    assert [fold.net_.module_.shape.n_members for fold in few._folds] == [2] * 5
    one = few.prune(1).predict_proba(X)
    best = [fold.ranking for fold in few._folds]
    assert best == [[0]] * 5
    assert log_loss(y, one) < log_loss(y, np.full(len(y), y.mean()))
    for wrong in (0, 2, 1.5):
        with pytest.raises(ValueError, match="n_members"):
            few.prune(wrong)


def member_answers(model, X, answers):
    """Answers of each member, in the order of their numbers."""
    return np.concatenate([answers(fold._head, raw) for fold, raw in model._outputs(X)])


@pytest.mark.parametrize("embedding", ["piecewise_linear", None])
@pytest.mark.parametrize("ensemble", ["mini", "full", "packed"])
def test_a_member_as_a_plain_net_answers_the_same(ensemble, embedding, table):
    X, y = table
    model = quick(ensemble=ensemble, embedding=embedding, n_blocks=3, max_iter=3).fit(X, y)
    later = raw_table(100, seed=3)[0].assign(age=np.linspace(-500, 500, 100))  # beyond all bins
    later.loc[:5, ["amount", "lost"]] = np.nan
    later.loc[3:8, "city"] = "Dublin"
    expected = member_answers(model, later, members.posteriors)
    votes = member_answers(model, later, members.votes)
    for k in range(6):
        net = model.to_mlp(k)
        p = net.predict_proba(later)
        np.testing.assert_allclose(p, expected[k], atol=1e-12)
        np.testing.assert_array_equal(net.predict(later), (votes[k] > 0.5).astype(int))
    whole = members.shrunk(expected.mean(0), model._head.wanted, 1.0 - model.shrinkage_)
    np.testing.assert_allclose(model.predict_proba(later), whole, rtol=1e-12)
    names = net["columns"].get_feature_names_out()
    assert len(names) == len(set(names)) == len(net["mlp"].coefs_[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict_proba(later), p)


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"class_weight": "balanced", "prior": [0.5, 0.5]}, "binary"),
        ({"loss": losses.LDAM(), "sampler": ClassPowerSampler(0.5)}, "binary"),
        ({"loss": losses.MannWhitney()}, "binary"),
        ({"loss": losses.BalancedSoftmax()}, "several"),
        ({"class_weight": "balanced"}, "labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_plain_net_inverts_the_loss_of_its_member(params, kind, table):
    X, y = table
    rng = np.random.default_rng(0)
    if kind == "several":
        y = np.array(["a", "b", "c"])[y + (rng.random(len(y)) < 0.3)]
    elif kind == "labels":
        y = np.stack([y, rng.random(len(y)) < 0.2], 1).astype(int)
    model = quick(**params).fit(X, y).prune(1)
    expected = member_answers(model, X, members.posteriors)
    model.set_params(class_weight=None, loss=losses.Focal(5.0), prior=None)  # what was fitted stays
    for k in range(2):
        net = model.to_mlp(k)
        np.testing.assert_allclose(net.predict_proba(X), expected[k], atol=1e-12)
        np.testing.assert_array_equal(net.classes_, model.classes_)
    own = net["mlp"]
    assert own.hidden_layer_sizes == (12, 12)
    assert (own.n_iter_, own.loss_curve_) == (model._folds[1].n_iter_, model._folds[1].loss_curve_)
    Z = net["columns"].transform(X)
    before = own.predict_proba(Z)
    own.set_params(learning_rate_init=1e-12, alpha=0.0).partial_fit(Z, y)
    np.testing.assert_allclose(own.predict_proba(Z), before, atol=0.02)


def test_a_plain_net_learns_from_the_start(table):
    X, y = table
    net = clone(quick(max_iter=12).fit(X, y).to_mlp())
    p = net.fit(X, y).predict_proba(X)[:, 1]
    assert average_precision_score(y, p) > 2 * y.mean()
    assert net[:-1].set_output(transform="pandas").transform(X).shape == (
        len(X),
        net["mlp"].n_features_in_,
    )


@pytest.mark.parametrize(
    ("loss", "ensemble"),
    [
        ("squared_error", "full"),
        ("squared_error", "packed"),
        ("poisson", "mini"),
        (losses.BalancedMSE("bni", 30.0, False), "mini"),
    ],
    ids=["squared_error-full", "squared_error-packed", "poisson", "balanced"],
)
def test_a_member_of_a_regressor_as_a_plain_net(loss, ensemble, table):
    X = table[0]
    y = 100.0 + X["age"].to_numpy()
    if loss == "squared_error":
        y = np.stack([y, -1e4 * (X["city"] == "Bern")], 1)
    model = TabMRegressor(**{**QUICK, "max_iter": 3, "loss": loss, "ensemble": ensemble}).fit(X, y)
    each = member_answers(model, X, members.predictions)
    for k in range(6):
        net = model.to_mlp(k)
        expected = model._centre + model._spread * each[k]
        np.testing.assert_allclose(net.predict(X), expected, rtol=1e-9, atol=1e-9)
    if model.shrinkage_ == 0.0:
        mean = np.mean([model.to_mlp(k).predict(X) for k in range(6)], 0)
        np.testing.assert_allclose(mean, model.predict(X), rtol=1e-9)
    own = net["mlp"]
    if isinstance(loss, losses.BalancedMSE):
        assert own.noise_sigma_ == pytest.approx(model.noise_sigma_) == own.loss.noise_sigma
    Z = net["columns"].transform(X)
    own.set_params(learning_rate_init=1e-12, alpha=0.0).partial_fit(Z, y)
    np.testing.assert_allclose(own.predict(Z), expected, rtol=1e-6, atol=1e-6)


def test_members_that_are_no_plain_nets(model, table):
    X, y = table
    for wrong in (-1, 15, 1.0, True):
        with pytest.raises(ValueError, match="from 0 to 14"):
            model.to_mlp(wrong)
    periodic = quick(embedding="periodic")
    with pytest.raises(ValueError, match="embedding='periodic' is no linear function"):
        periodic.fit(X, y).to_mlp()
    categories = periodic.fit(X[["city", "grade"]], y)  # which have no such embedding
    expected = member_answers(categories, X[["city", "grade"]], members.posteriors)
    np.testing.assert_allclose(
        categories.to_mlp(5).predict_proba(X[["city", "grade"]]), expected[5], atol=1e-12
    )


# --- weights, state, callbacks -----------------------------------------------------------------------


def test_weights_of_rows(table):
    X, y = table
    zero = np.arange(len(y)) % 3 > 0
    masked = quick().fit(X, y, sample_weight=zero.astype(float))
    few = quick().fit(X[zero], y[zero])
    np.testing.assert_allclose(masked.predict_proba(X), few.predict_proba(X), atol=1e-6)
    # what only rows without weight hold is not learned: categories, missing values, numbers
    odd = X.assign(city=X.city.where(zero, "Delft"), age=X.age.where(zero))
    odd.loc[~zero, "amount"] = np.inf
    same = quick().fit(odd, y, sample_weight=zero.astype(float))
    np.testing.assert_array_equal(same.predict_proba(X), masked.predict_proba(X))
    with pytest.raises(ValueError, match="cost must have shape"):
        quick(loss=losses.ExpectedCost()).fit(X, y, zero.astype(float), cost=np.ones((3, 2)))
    up = quick(max_iter=20).fit(X, y, sample_weight=np.where(y == 1, 5.0, 1.0))
    assert up.predict_proba(X)[:, 1].mean() > 1.5 * y.mean()


def test_what_was_fitted_stays(model, table):
    X, _ = table
    p, d = model.predict_proba(X), model.decision_function(X)
    copied = pickle.loads(pickle.dumps(model))
    copied.set_params(
        n_members=1, width=3, loss=losses.Focal(), class_weight="balanced", prior=[0.5, 0.5]
    )
    copied.set_params(embedding=None, scaling="squash", categorical_features=None)
    np.testing.assert_array_equal(copied.predict_proba(X), p)
    np.testing.assert_array_equal(copied.decision_function(X), d)
    copied.set_params(categorical_features="from_dtype")
    with pytest.raises(ValueError, match="prior"):
        copied.set_params(prior=[1.0]).fit(*table)
    np.testing.assert_array_equal(copied.predict_proba(X), p)
    again = TabMClassifier(**TINY, max_iter=60).fit(*table)
    np.testing.assert_array_equal(again.predict_proba(X), p)


def test_metadata_is_routed(table):
    X, y = table
    with sklearn.config_context(enable_metadata_routing=True):
        model = quick().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        weight = np.where(y == 1, 5.0, 1.0)
        scores = cross_val_score(model, X, y, cv=2, params={"sample_weight": weight})
    assert np.isfinite(scores).all()


def test_callbacks_see_every_ensemble(table):
    from skorch.callbacks import Callback

    seen = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kw):
            seen.append((id(net), net.history[-1]["valid_score"]))

    model = quick(callbacks=[Watch()]).fit(*table)
    assert len(seen) == 12
    assert len({net for net, _ in seen}) == 2
    assert [len(h) for h in model.history_] == [6, 6]
    late = quick(callbacks=[DeferredReweighting(0.5)], class_weight="balanced").fit(*table)
    assert np.isfinite(late.predict_proba(table[0])).all()


def test_an_end_without_convergence_is_said(table):
    with pytest.warns(ConvergenceWarning, match="TabMClassifier: max_iter=2 epochs reached"):
        quick(max_iter=2).fit(*table)


def test_scores_that_stay_the_same_are_no_better(table):
    """A net whose probabilities were shrunk to the label distribution has one score for ever."""
    model = quick(validation_scoring=lambda *_: 0.5, n_iter_no_change=2, max_iter=30).fit(*table)
    assert model.n_iter_ == 4
    assert model.best_iterations_ == [1, 1]


def test_what_concerns_all_folds_is_said_once(table):
    X, y = table
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        quick(loss=losses.Asymmetric(), batch_size=2000).fit(X, 1 - y)
    said = [str(w.message) for w in seen if w.category is UserWarning]
    assert len(said) == 2
    assert "as the positive class" in said[0]
    assert "batch_size=2000 is clipped to the 450 rows" in said[1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"ensemble": "huge"}, "'ensemble' parameter"),
        ({"n_bins": 1}, "'n_bins' parameter"),
        ({"validation_folds": -1}, "'validation_folds' parameter"),
        ({"categorical_features": ["town"]}, "'town'"),
    ],
)
def test_wrong_parameters(params, message, table):
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(*table)


def test_wrong_rows(table):
    X, y = table
    with pytest.raises(ValueError, match="infinity"):
        quick().fit(X.assign(amount=np.inf), y)
    with pytest.raises(ValueError, match="only one class"):
        quick().fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick().fit(X, y[:-1])
    with pytest.raises(ValueError, match="requires y"):
        quick().fit(X, None)


# --- mixed precision ---------------------------------------------------------------------------------


@pytest.fixture
def short_products(monkeypatch):
    """Products in bfloat16 on the CPU, as they are on CUDA."""
    monkeypatch.setattr(
        "skimb.neural_network._tabm_fold.products_type",
        lambda wanted, device: torch.bfloat16 if wanted else None,
    )


def test_mixed_precision_changes_nothing_on_the_cpu(table):
    X, y = table
    np.testing.assert_array_equal(
        quick(mixed_precision=True).fit(X, y).predict_proba(X), quick().fit(X, y).predict_proba(X)
    )
    with pytest.raises(ValueError, match="'mixed_precision' parameter"):
        quick(mixed_precision="bfloat16").fit(X, y)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ensemble": "full", "embedding": "periodic", "dropout": 0.1},
        {"ensemble": "packed", "embedding": None, "mix": UniMix()},
    ],
    ids=["mini", "full", "packed"],
)
@pytest.mark.usefixtures("short_products")
def test_ensembles_learn_with_short_products(params, table):
    X, y = table
    kw = {**TINY, **params, "validation_folds": 2, "max_iter": 14}
    plain, model = (TabMClassifier(**kw, mixed_precision=m).fit(X, y) for m in (False, True))
    new, truth = raw_table(2000, seed=2)
    p, q = (each.predict_proba(new)[:, 1] for each in (plain, model))
    assert q.dtype == np.float64
    assert not np.array_equal(p, q)
    assert average_precision_score(truth, q) > 0.85 * average_precision_score(truth, p)
    assert log_loss(truth, q) < 1.05 * log_loss(truth, p)
    assert all(fold.net_.module_.flat.dtype == torch.float32 for fold in model._folds)
    copied = pickle.loads(pickle.dumps(model)).set_params(mixed_precision=False)
    np.testing.assert_array_equal(copied.predict_proba(new)[:, 1], q)
    assert copied.partial_fit(X, y).prune(1).predict_proba(new).dtype == np.float64


@pytest.mark.usefixtures("short_products")
def test_regressors_and_several_labels_learn_with_short_products(table):
    X, y = table
    age = X["age"].to_numpy()
    model = TabMRegressor(**TINY, validation_folds=1, max_iter=25, mixed_precision=True).fit(X, age)
    assert model.score(X, age) > 0.9
    labels = np.stack([age > 60, X["city"] == "Cork", y], 1).astype(int)
    several = quick(mixed_precision=True, loss=losses.Asymmetric(), max_iter=20).fit(X, labels)
    assert (several.predict(X) == labels)[:, :2].mean() > 0.95
    by_norms = quick(mixed_precision=True, loss=losses.InfluenceBalanced()).fit(X, y)
    assert np.isfinite(by_norms.predict_proba(X)).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("params", [{}, {"ensemble": "full", "dropout": 0.1}, {"mix": UniMix()}])
@pytest.mark.parametrize("mixed", [False, True])
def test_ensembles_fitted_on_the_gpu_live_on_the_cpu(mixed, params, table, allocated):
    X, y = table
    before = allocated()
    kw = {**TINY, **params, "validation_folds": 2, "max_iter": 20}
    model = TabMClassifier(**kw, device="cuda", mixed_precision=mixed).fit(X, y)
    assert all(fold.net_.module_.flat.device.type == "cpu" for fold in model._folds)
    assert allocated() == before
    repeated = TabMClassifier(**kw, device="cuda", mixed_precision=mixed).fit(X, y)
    np.testing.assert_array_equal(repeated.predict_proba(X), model.predict_proba(X))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    cpu = TabMClassifier(**kw).fit(X, y)
    new, truth = raw_table(2000, seed=2)
    p, q = (each.predict_proba(new) for each in (cpu, model))
    assert log_loss(truth, q) < 1.05 * log_loss(truth, p)
    age = X["age"].to_numpy()
    number = TabMRegressor(**TINY, device="cuda", mixed_precision=mixed, validation_folds=2)
    assert number.fit(X, age).score(X, age) > 0.9


def test_every_part_has_rows_of_a_rare_label():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = np.stack([X[:, 0] > 0, X[:, 1] > 1, np.arange(300) % 60 == 7], 1).astype(int)
    model = TabMClassifier(**{**TINY, "max_iter": 2}, validation_folds=5).fit(X, y)
    parts, settings = model._parts(y.astype(float), np.random.RandomState(0))
    assert not settings
    for train, valid in parts:
        assert y[valid, 2].sum() == 1
        assert np.intersect1d(train, valid).size == 0
    assert np.array_equal(np.sort(np.concatenate([valid for _, valid in parts])), np.arange(300))
    y[:, 2] = np.arange(300) == 7  # the only row of a label always trains
    parts, _ = model._parts(y.astype(float), np.random.RandomState(0))
    assert len(parts) == 5
    assert all(7 in train for train, _ in parts)


def test_training_ends_where_nothing_is_left_to_gain(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X[:, 0] > 0.5).astype(int)
    X[:, 0] += y  # classes apart, whose log loss falls for ever
    kw = {**TINY, "validation_folds": 1, "max_iter": 200, "learning_rate_init": 0.02}
    model = TabMClassifier(**kw).fit(X, y)
    (scores,) = model.validation_scores_
    patience, least = TINY["n_iter_no_change"] + 1, LEAST_GAIN * model.prior_log_loss_
    assert max(scores[-patience:]) <= max(scores[:-patience]) + 1.1 * least
    scored = TabMClassifier(**kw, validation_scoring="neg_brier_score").fit(X, y)
    monkeypatch.setattr("skimb.neural_network._tabm_fold.LEAST_GAIN", 0.0)
    endless = TabMClassifier(**kw).fit(X, y)
    assert model.n_iter_ < endless.n_iter_
    np.testing.assert_array_equal(endless.validation_scores_[0][: len(scores)], scores)
    other = TabMClassifier(**kw, validation_scoring="neg_brier_score").fit(X, y)
    assert scored.n_iter_ == other.n_iter_  # another score has a scale of its own


# --- regression --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "least"),
    [
        ("squared_error", 0.8),
        ("poisson", 0.8),
        (losses.BalancedMSE(learn_sigma=False, noise_sigma=300.0), 0.4),
    ],
    ids=["squared_error", "poisson", "balanced"],
)
def test_regression_in_any_units(loss, least):
    rng = np.random.default_rng(0)
    X, _ = raw_table(300)
    y = 1000.0 * np.exp(0.5 * (X["city"] == "Cork") + X["age"] / 60 + 0.05 * rng.normal(size=300))
    settings = {**TINY, "validation_folds": 2}
    model = TabMRegressor(loss=loss, **settings).fit(X, y)
    assert model.score(X, y) > least
    assert model.shrinkage_ == 0.0
    other = TabMRegressor(**settings)
    if loss == "squared_error":
        moved = other.fit(X, 7.0 * y + 100.0)
        np.testing.assert_allclose(moved.predict(X), 7.0 * model.predict(X) + 100.0, rtol=0.02)
        np.testing.assert_allclose(
            moved.predict_std(X), 7.0 * model.predict_std(X), rtol=0.2, atol=100
        )
    restored = pickle.loads(pickle.dumps(model)).set_params(
        loss="poisson" if loss != "poisson" else "squared_error"
    )
    np.testing.assert_array_equal(restored.predict(X), model.predict(X))


@pytest.mark.parametrize("power", [-1000, 1000])
def test_targets_of_any_size(power):
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = X @ [3.0, 1.0] + 5.0
    model = TabMRegressor(**QUICK).fit(X, y)
    other = TabMRegressor(**QUICK).fit(X, np.ldexp(y, power))
    np.testing.assert_array_equal(np.ldexp(model.predict(X), power), other.predict(X))
    columns = TabMRegressor(**QUICK).fit(X, np.c_[y, np.ldexp(y, power)]).predict(X)
    assert np.isfinite(columns).all()
    assert np.ptp(columns, 0).min() > 0.0


def test_a_constant_target_is_predicted():
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = TabMRegressor(**QUICK).fit(X, np.full(50, 3.0))
    assert model.predict(X).tolist() == [3.0] * 50
    assert model.shrinkage_ == 1.0


def test_regression_of_several_targets_and_of_noise():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    Y = np.stack([X[:, 0] ** 2, 100 * X[:, 1]], 1)
    settings = {**TINY, "validation_folds": 2}
    model = TabMRegressor(**settings).fit(X, Y, sample_weight=rng.uniform(0.5, 2, 300))
    assert model.predict(X).shape == (300, 2)
    assert model.score(X, Y) > 0.8
    noise = TabMRegressor(**settings).fit(X, rng.normal(size=300))
    assert noise.predict(X).std() < 0.3
    scored = TabMRegressor(
        **TINY, validation_folds=2, validation_scoring="neg_mean_absolute_error"
    ).fit(X, Y[:, 1])
    assert -max(scored.validation_scores_[0]) < 20  # in units of the target


def test_the_noise_scale_is_learned_by_all_members(table):
    X = table[0]
    y = 100.0 * (100.0 + X["age"].to_numpy())
    model = TabMRegressor(**{**QUICK, "loss": losses.BalancedMSE(), "max_iter": 3}).fit(X, y)
    assert model.noise_sigma_ == pytest.approx(np.std(y), rel=0.3)
    assert abs(model.noise_sigma_ / np.std(y) - 1) > 0.01
    before = model.noise_sigma_
    model.partial_fit(X, y)
    assert model.noise_sigma_ == pytest.approx(before, rel=0.2)
    assert model.noise_sigma_ != before
    own = model.to_mlp()["mlp"]
    assert own.noise_sigma_ == pytest.approx(model._folds[0]._head.bound.sigma * model._spread)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


# --- scikit-learn ------------------------------------------------------------------------------------

NOT_KEPT = {
    "check_sample_weight_equivalence_on_dense_data": "validation parts are drawn by rows",
}


@pytest.mark.parametrize("estimator", [TabMClassifier, TabMRegressor])
def test_scikit_learn_checks(estimator):
    small = {"n_members": 2, "width": 16, "validation_folds": 1, "learning_rate_init": 0.02}
    results = check_estimator(
        estimator(**{**QUICK, **small, "max_iter": 15}),
        on_fail=None,
        on_skip=None,
        expected_failed_checks=NOT_KEPT,
    )
    failed = {r["check_name"]: repr(r["exception"]) for r in results if r["status"] == "failed"}
    assert not failed


# --- training that goes on ---------------------------------------------------------------------------


def test_partial_fit_is_fit_without_validation_epoch_by_epoch(table):
    X, y = table
    params = {**QUICK, "validation_folds": 0, "max_iter": 3}
    whole = fitted(TabMClassifier(**params), X, y)
    pieces = TabMClassifier(**params)
    for _ in range(3):
        pieces.partial_fit(X, y)
    np.testing.assert_array_equal(pieces.predict_proba(X), whole.predict_proba(X))
    assert len(pieces.history_[0]) == 3
    assert pieces.class_counts_.sum() == 3 * len(y)


def test_partial_fit_goes_on_after_pickling(table):
    X, y = table
    a = quick(validation_folds=0).partial_fit(X, y)
    b = pickle.loads(pickle.dumps(a))
    np.testing.assert_array_equal(
        a.partial_fit(X, y).predict_proba(X), b.partial_fit(X, y).predict_proba(X)
    )


def test_partial_fit_after_fit_trains_every_ensemble_and_keeps_what_held_out_rows_said(table):
    X, y = table
    model = fitted(quick(), X, y)
    kept, before = model.shrinkage_, model.predict_proba(X)
    weights = [fold.net_.module_.flat.detach().clone() for fold in model._folds]
    model.partial_fit(X, y)
    assert len(model._folds) == 2
    for fold, old in zip(model._folds, weights, strict=True):
        assert not torch.equal(fold.net_.module_.flat, old)
    assert model.shrinkage_ == kept
    assert not np.array_equal(model.predict_proba(X), before)
    assert model.prune(1)._folds[0].shape.n_members == 1


def test_partial_fit_meets_classes_and_categories_later(table):
    X, y = table
    first = np.flatnonzero(y == 0)[:200]
    model = quick().partial_fit(X.iloc[first], y[first], classes=[0, 1])
    assert model.predict_proba(X).shape == (len(y), 2)
    later = X.assign(city="Dublin")
    model.partial_fit(later, y)
    assert np.isfinite(model.predict_proba(later)).all()
    with pytest.raises(ValueError, match=r"classes|labels"):
        model.partial_fit(X, np.where(y, "a", "b"))
    with pytest.raises(ValueError, match=r"lacks|missing|feature"):
        model.partial_fit(X[COLUMNS[:3]], y)


def test_warm_start_goes_on_from_the_fitted_ensembles(table):
    X, y = table
    model = quick(warm_start=True, max_iter=2)
    fitted(model, X, y)
    columns = [fold.columns for fold in model._folds]
    first = [fold.net_.module_.flat.detach().clone() for fold in model._folds]
    model.set_params(learning_rate_init=1e-12, width=7).fit(X, y)
    assert [fold.columns for fold in model._folds] == columns
    for fold, old in zip(model._folds, first, strict=True):
        torch.testing.assert_close(fold.net_.module_.flat.detach(), old, atol=1e-7, rtol=1e-5)
    assert [len(h) for h in model.history_] == [4, 4]
    with pytest.raises(
        ValueError, match="2 ensembles were fitted, and training with warm_start asks for 3"
    ):
        model.set_params(validation_folds=3).fit(X, y)
    assert len(model._folds) == 2  # what was fitted stays
    assert model.predict(X).shape == y.shape


def test_levels_that_a_loss_leaves_free_are_set_once():
    X, y = make_classification(
        300, 4, n_informative=4, n_redundant=0, n_classes=3, weights=[0.8, 0.1], random_state=0
    )
    model = quick(loss=losses.MannWhitney(), validation_folds=0).fit(X, y)
    before = model.predict_proba(X)
    model.set_params(learning_rate_init=1e-12).partial_fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-6)


def test_a_refused_partial_fit_changes_nothing(table):
    X, y = table
    model = fitted(quick(), X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="cost"):
        model.partial_fit(X, y, cost=np.ones((3, 2)))
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_the_regressor_goes_on_in_the_same_units(table):
    X, _ = table
    y = 100.0 + 10.0 * X["age"].to_numpy()
    params = {**QUICK, "validation_folds": 0, "max_iter": 2}
    whole = fitted(TabMRegressor(**params), X, y)
    pieces = TabMRegressor(**params).partial_fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(pieces.predict(X), whole.predict(X))
    warm = TabMRegressor(**QUICK, warm_start=True)
    units = fitted(warm, X, y)._centre
    assert fitted(warm, X, y + 5.0)._centre == units
