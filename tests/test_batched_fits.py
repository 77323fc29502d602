"""Fits inside `batched_fits` against the same fits alone, under scikit-learn's own meta-estimators."""

import copy
import threading
import warnings

import numpy as np
import pytest
import torch
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as imblearn_pipeline
from joblib import Parallel, delayed
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    ParameterGrid,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    permutation_test_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping
from torch import nn

from skimb._core.priors import ClassPrior
from skimb.engine.data import SparseRows
from skimb.engine.table import SparseTable
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AnyLoss,
    Asymmetric,
    CrossEntropy,
    Deferred,
    EqualizationV2,
    ExpectedCost,
    Focal,
    GradientHarmonized,
    InfluenceBalanced,
    LogitAdjusted,
    Mixed,
    Seesaw,
    all_losses,
)
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier, MLPRegressor, NeuralNetClassifier

ALONE = {"InfluenceBalanced"}  # features


@pytest.fixture(scope="module")
def rare():
    return make_classification(400, 8, n_informative=5, weights=[0.85], random_state=0)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        360, 8, n_informative=5, n_classes=3, weights=[0.6, 0.25], random_state=1
    )


def model(loss=None, **kw):
    kw = {"max_iter": 4, "batch_size": 64, "tol": 0.0, "random_state": 0, "learning_rate_init": 0.01} | kw  # fmt: skip
    return MLPClassifier((6,), loss=loss, **kw)


def scores(search):
    return np.stack([search.cv_results_[f"split{i}_test_score"] for i in range(2)])


def grouped(sizes, expected):
    """Whether fits met as expected; a machine that stalls may split a population in two."""
    return sum(sizes) == sum(expected) and max(sizes, default=0) >= max(expected, default=0) / 2


def both(run):
    """What `run` gives alone and inside the block, and the sizes of the populations."""
    alone = run()
    with batched_fits() as batch:
        together = run()
    return alone, together, batch.sizes


# --- exactness -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", all_losses("multiclass"), ids=lambda cls: cls.__name__)
def test_members_equal_single_fits_for_every_loss(three, cls):
    X, y = three
    loss = cls()
    rates = {"learning_rate_init": [0.01, 0.003, 0.001], "alpha": [0.0, 0.1]}

    def run():
        return GridSearchCV(model(loss), rates, cv=2, scoring="accuracy", error_score="raise").fit(
            X, y
        )

    alone, together, sizes = both(run)
    np.testing.assert_allclose(scores(together), scores(alone), atol=1e-12)
    p, q = (s.best_estimator_.decision_function(X) for s in (together, alone))
    np.testing.assert_allclose(p, q, rtol=1e-6, atol=1e-9)
    assert grouped(sizes, [6, 6, 1] if cls.__name__ not in ALONE else [])


SINGLE = pytest.param(np.float32, marks=pytest.mark.slow)


@pytest.mark.parametrize("dtype", [SINGLE, np.float64])
@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "muon"])
@pytest.mark.parametrize("hidden", [(), (6,), (7, 5)])
def test_losses_rates_and_penalties_mix(rare, dtype, solver, hidden):
    """Members that differ in everything a population may differ in, after 100 steps of float64.

    In float32 rounding grows faster, above all through several ReLU layers: 48 steps are compared, and
    two hidden layers more loosely; Muon rounds directions to bfloat16, where the last digit of a gradient may
    decide the third.
    """
    X, y = rare
    if solver == "muon" and (not hidden or dtype == np.float32):
        pytest.skip("muon is for hidden layers, and compared in float64")
    X = X.astype(dtype)
    losses = [
        CrossEntropy(),
        Focal(0.5),
        Focal(2.0),
        LogitAdjusted(),
        LogitAdjusted(0.5),
        Asymmetric(),
    ]
    base = model(solver=solver, max_iter=25).set_params(hidden_layer_sizes=hidden) if hidden else (
        LinearClassifier(solver=solver, max_iter=25, batch_size=64, tol=0.0, random_state=0)
    )  # fmt: skip
    pairs = [{"learning_rate_init": [0.003], "alpha": [1e-4]}, {"learning_rate_init": [0.001], "alpha": [0.1]}]  # fmt: skip
    grid = [{"loss": losses, "class_weight": [None, "balanced"]} | pair for pair in pairs]
    base.set_params(max_iter=25 if dtype == np.float64 else 12)
    fits = {}

    def run():
        fits.clear()

        def keep(fitted, X, y):
            key = (repr(fitted.loss), fitted.learning_rate_init, fitted.class_weight, fitted.alpha, len(X), float(X[0, 0]))  # fmt: skip
            fits[key] = fitted.decision_function(X)
            return 0.0

        GridSearchCV(base, grid, cv=2, scoring=keep, refit=False).fit(X, y)
        return dict(fits)

    alone, together, sizes = both(run)
    assert grouped(sizes, [24, 24])
    tolerance = 1e-9 if dtype == np.float64 else 1e-5 if len(hidden) < 2 else 1e-3
    for key, z in alone.items():
        np.testing.assert_allclose(
            together[key], z, rtol=0, atol=tolerance * max(1.0, np.abs(z).max()), err_msg=str(key)
        )


def test_sample_weights_schedules_and_early_stopping(rare):
    X, y = rare
    w = np.random.default_rng(0).random(len(y)) + 0.2
    settings = [
        {"early_stopping": [True], "max_iter": [25], "n_iter_no_change": [3], "learning_rate_init": [0.05, 0.01, 0.003, 0.001]},
        {"solver": ["sgd"], "learning_rate": ["invscaling", "adaptive"], "learning_rate_init": [0.2, 0.1]},
        {"learning_rate": ["cosine"], "alpha": [0.0, 0.01, 0.1, 1.0]},
        {"tol": [0.05], "n_iter_no_change": [2], "max_iter": [40], "learning_rate_init": [0.1, 0.03, 0.01, 0.001]},
    ]  # fmt: skip

    def run():
        done = cross_all(settings, X, y, w)
        return done

    def cross_all(settings, X, y, w):
        search = GridSearchCV(model(), settings, cv=2, scoring="neg_log_loss", refit=False)
        search.fit(X, y, sample_weight=w)
        return search

    alone, together, sizes = both(run)
    assert grouped(sizes, [4, 4, 4, 4, 8, 8])
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)


def test_epochs_of_members_that_stop_early(rare):
    X, y = rare
    grid = {"learning_rate_init": [0.1, 0.03, 0.01, 0.003]}
    base = model(max_iter=60, early_stopping=True, n_iter_no_change=4, tol=1e-3)
    counts = []

    def count(fitted, X, y):
        counts.append((fitted.learning_rate_init, fitted.n_iter_, len(fitted.history_), round(fitted.best_validation_score_, 9)))  # fmt: skip
        return 0.0

    def run():
        counts.clear()
        GridSearchCV(base, grid, cv=2, scoring=count, refit=False).fit(X, y)
        return sorted(counts)

    alone, together, sizes = both(run)
    assert together == alone
    assert len({c[1] for c in alone}) > 1  # they did stop at different times
    assert grouped(sizes, [4, 4])


def test_going_on_after_a_population(rare):
    X, y = rare
    with batched_fits():
        search = cross_validate(model(), X, y, cv=4, return_estimator=True)
    alone = cross_validate(model(), X, y, cv=4, return_estimator=True)
    for a, b in zip(search["estimator"], alone["estimator"], strict=True):
        a.partial_fit(X, y)
        b.partial_fit(X, y)
        np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), rtol=1e-9)


def test_members_differ_in_what_their_losses_took_from_the_target(three):
    """One-vs-rest: the same loss, bound to other targets, is another loss."""
    X, y = three
    for loss in (
        LogitAdjusted(),
        Mixed(ExpectedCost("balanced"), 0.3),
        Deferred(LogitAdjusted(), start=0.5),
        Seesaw(),
    ):
        net = OneVsRestClassifier(model(loss))
        alone, together, sizes = both(lambda n=net: clone(n).fit(X, y).decision_function(X))
        np.testing.assert_allclose(together, alone, rtol=1e-7, atol=1e-10)
        assert grouped(sizes, [3])


def test_deferred_weights_set_in(rare):
    X, y = rare
    estimator = model(max_iter=6, deferred_reweighting=0.5)
    grid = {"class_weight": [None, "balanced"], "loss": [CrossEntropy(), Focal(), AnyLoss()]}
    alone, together, sizes = both(lambda: GridSearchCV(estimator, grid, cv=2, scoring="neg_log_loss", refit=False).fit(X, y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
    assert len(np.unique(scores(alone)[0])) == 6
    assert grouped(sizes, [6, 6])


def test_members_keep_their_own_kind_of_weights():
    """A weight per label of one member is no business of a member that takes a weight per row."""
    X, Y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    grid = [
        {"class_weight": [None, "balanced"], "loss": [Focal(), CrossEntropy()]},
        {"loss": [AnyLoss()]},
    ]
    alone, together, sizes = both(lambda: GridSearchCV(model(), grid, cv=2, scoring="f1_macro", refit=False).fit(X, Y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
    assert grouped(sizes, [5, 5])


def test_scheduled_losses_switch_together(rare):
    X, y = rare
    grid = {"loss": [Deferred(Focal(), start=0.5), Deferred(LogitAdjusted(), start=0.25)], "alpha": [0.0, 0.1]}  # fmt: skip
    curves = []

    def keep(fitted, X, y):
        curves.append((repr(fitted.loss), fitted.alpha, float(X[0, 0]), tuple(np.round(fitted.loss_curve_, 9))))  # fmt: skip
        return 0.0

    def run():
        curves.clear()
        GridSearchCV(model(max_iter=8), grid, cv=2, scoring=keep, refit=False).fit(X, y)
        return sorted(curves)

    alone, together, sizes = both(run)
    assert together == alone
    assert grouped(sizes, [4, 4])


def test_members_that_go_on_from_different_steps_keep_their_own_clocks(rare):
    """Adam corrects its moments by the step count, so only members with one count may share it."""
    from joblib import Parallel, delayed

    X, y = rare

    def run():
        models = [model() for _ in range(4)]
        for k, net in enumerate(models):
            for _ in range(1 + k % 2):
                net.partial_fit(X, y)
        Parallel(n_jobs=2, require="sharedmem")(delayed(net.partial_fit)(X, y) for net in models)
        return np.stack([net.decision_function(X) for net in models])

    alone = run()
    with batched_fits() as batch:
        together = run()
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert max(batch.sizes) == 2


def test_multilabel_and_regression():
    X, Y = make_multilabel_classification(300, 10, n_classes=4, random_state=0)
    grid = {"loss": [CrossEntropy(), Focal(1.0), Focal(3.0), Asymmetric()], "class_weight": [None, "balanced"]}  # fmt: skip
    alone, together, sizes = both(lambda: GridSearchCV(model(), grid, cv=2, scoring="neg_log_loss" if False else "accuracy").fit(X, Y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), atol=1e-12)
    assert grouped(sizes, [8, 8, 1])
    X, y = make_regression(300, 6, random_state=0)
    net = MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0, batch_size=50)
    grid = {"learning_rate_init": [0.01, 0.001], "alpha": [0.0, 0.1]}
    alone, together, sizes = both(lambda: GridSearchCV(net, grid, cv=2).fit(X, y / y.std()))
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
    assert grouped(sizes, [4, 4, 1])


# --- rows of their own -----------------------------------------------------------------------


def test_members_with_rows_of_their_own(rare):
    """Folds and bootstrap samples: one architecture, different rows."""
    X, y = rare
    alone, together, sizes = both(
        lambda: cross_validate(model(), X, y, cv=5, scoring="neg_log_loss")
    )
    np.testing.assert_allclose(together["test_score"], alone["test_score"], rtol=1e-9)
    assert grouped(sizes, [5])
    bag = BaggingClassifier(
        model(), n_estimators=8, bootstrap=False, max_samples=0.7, random_state=0
    )
    alone, together, sizes = both(lambda: clone(bag).fit(X, y).predict_proba(X))
    np.testing.assert_allclose(together, alone, rtol=1e-7)
    assert grouped(sizes, [8])


# --- scikit-learn's meta-estimators ----------------------------------------------------------

META = {
    "pipeline": lambda: GridSearchCV(
        make_pipeline(StandardScaler(), model(Focal())),
        {"mlpclassifier__loss__gamma": [0.5, 1, 2, 5]}, cv=2, scoring="average_precision",
    ),
    "smote": lambda: GridSearchCV(
        imblearn_pipeline(SMOTE(random_state=0), model()), {"mlpclassifier__alpha": [0.0, 0.1, 1.0, 2.0]}, cv=2,
    ),
    "one-vs-rest": lambda: OneVsRestClassifier(model()),
    "bagging": lambda: BaggingClassifier(model(), n_estimators=4, bootstrap=False, max_samples=0.7, random_state=0),
    "stacking": lambda: StackingClassifier(
        [("a", model(Focal())), ("b", model())], LogisticRegression(), cv=3
    ),
    "calibrated": lambda: CalibratedClassifierCV(model(Focal()), cv=3),
    "halving": lambda: HalvingGridSearchCV(
        model(batch_size=32), {"learning_rate_init": [0.1, 0.01, 0.001, 1e-4]}, cv=2, min_resources=100, random_state=0,
    ),
    "nested": lambda: GridSearchCV(
        BaggingClassifier(model(), n_estimators=3, random_state=0, n_jobs=2), {"estimator__alpha": [0.0, 0.1]}, cv=2, n_jobs=2,
    ),
    "search in a search": lambda: GridSearchCV(
        GridSearchCV(model(), {"alpha": [0.0, 0.1]}, cv=2), {"estimator__learning_rate_init": [0.01, 0.001]}, cv=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", META)
def test_meta_estimators_work_unchanged(rare, three, name):
    X, y = three if name == "one-vs-rest" else rare
    alone, together, sizes = both(lambda: META[name]().fit(X, y).predict_proba(X))
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-9)
    assert sum(sizes) >= 3
    assert max(sizes) > 1


def test_threshold_tuning_predictions_curves_and_permutations(rare):
    X, y = rare
    tuned = TunedThresholdClassifierCV(model(), scoring="f1", cv=3)
    for run in (
        lambda: clone(tuned).fit(X, y).best_threshold_,
        lambda: cross_val_predict(model(), X, y, cv=4, method="predict_proba"),
        lambda: learning_curve(model(), X, y, cv=3, train_sizes=[0.5, 1.0])[2],
        lambda: permutation_test_score(model(), X, y, cv=2, n_permutations=4, random_state=0)[1],
    ):
        alone, together, sizes = both(run)
        np.testing.assert_allclose(together, alone, rtol=1e-6)
        assert max(sizes) > 1


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("hidden", [(), (6,), (5, 4)])
def test_members_with_differently_many_rows(rare, three, solver, hidden):
    for X, y in (rare, three):
        X, y = X[:387], y[:387]
        kw = {
            "solver": solver,
            "batch_size": 50,
            "max_iter": 6,
            "random_state": 0,
            "tol": 0.0,
            "learning_rate_init": 0.01,
        }
        kw |= {"alpha": 0.01, "class_weight": "balanced"}
        estimator = MLPClassifier(hidden, **kw) if hidden else LinearClassifier(**kw)
        grid = {"loss": [Focal(), CrossEntropy()]}
        alone, together, sizes = both(lambda e=estimator, X=X, y=y, g=grid: GridSearchCV(e, g, cv=5, scoring="neg_log_loss").fit(X, y))  # fmt: skip
        np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
        assert grouped(sizes, [10, 1])


def test_bootstrap_samples_are_one_population(rare):
    X, y = rare
    for base in (
        model(max_iter=5),
        model(max_iter=5, loss=AnyLoss(), learning_rate="invscaling", solver="sgd"),
    ):
        bag = BaggingClassifier(base, 7, random_state=0)
        alone, together, sizes = both(lambda b=bag: clone(b).fit(X, y))
        np.testing.assert_allclose(together.predict_proba(X), alone.predict_proba(X), rtol=1e-9)
        assert sizes == [7]
        rows = {e.t_ for e in alone.estimators_}
        assert len(rows) > 1


def test_unequal_members_that_stop_early_and_go_on(rare):
    X, y = rare
    estimator = model(
        max_iter=40,
        early_stopping=True,
        validation_fraction=0.2,
        n_iter_no_change=2,
        learning_rate_init=0.02,
    )
    bag = BaggingClassifier(estimator, 6, max_samples=0.7, random_state=1)
    alone, together, sizes = both(lambda: clone(bag).fit(X, y))
    np.testing.assert_allclose(together.predict_proba(X), alone.predict_proba(X), rtol=1e-9)
    epochs = [e.n_iter_ for e in alone.estimators_]
    assert len(set(epochs)) > 1
    assert [e.n_iter_ for e in together.estimators_] == epochs
    for one, other in zip(alone.estimators_, together.estimators_, strict=True):
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-9)
    assert sizes == [6]


# --- other nets and rows ---------------------------------------------------------------------


MIXED = [
    {"loss": [Focal()], "loss__gamma": [0.0, 1.0, 2.0], "learning_rate_init": [0.01, 0.03]},
    {"loss": [CrossEntropy()], "class_weight": [None, "balanced"], "alpha": [0.0, 0.1]},
    {"loss": [AnyLoss(), LogitAdjusted()]},
]


CHAINS = [(kind, solver, dtype)
          for kind in ("linear", "hidden", "deep")
          for solver in ("adam", "adamw", "sgd")
          for dtype in (np.float64, np.float32)]  # fmt: skip


LESS_OFTEN = [
    pytest.param(*chain, marks=pytest.mark.slow)
    if chain[2] is np.float32 and chain[1] != "adam"
    else chain
    for chain in CHAINS
]


@pytest.mark.parametrize(("kind", "solver", "dtype"), [*LESS_OFTEN, ("skip", "adam", np.float64)])
def test_members_on_sparse_rows(rare, kind, solver, dtype):
    X, y = rare
    X = np.hstack([X * (np.abs(X) > 1), np.eye(len(X))[:, :200]])  # rows that come and go
    X = sparse.csr_matrix(X.astype(dtype))
    kw = {"max_iter": 12, "batch_size": 40, "solver": solver, "tol": 0.0, "random_state": 0}
    if kind == "linear":
        estimator = LinearClassifier(**kw)
    else:
        hidden = (6, 4) if kind == "deep" else (6,)
        estimator = MLPClassifier(hidden, linear_skip=kind == "skip", hidden_scale=1.0, **kw)
    alone, together, sizes = both(lambda: GridSearchCV(estimator, MIXED, cv=2, scoring="neg_log_loss").fit(X, y))  # fmt: skip
    tolerance = {"rtol": 1e-9} if dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(scores(together), scores(alone), **tolerance)
    assert grouped(sizes, [12, 12, 1])


@pytest.mark.parametrize(
    ("kind", "solver", "schedule"),
    [
        ("linear", "adam", "cosine"),
        ("skip", "adamw", "constant"),
        pytest.param("hidden", "sgd", "constant", marks=pytest.mark.slow),
    ],
)
def test_sparse_members_stop_early_each_as_alone(rare, kind, solver, schedule):
    X, y = rare
    X = sparse.csr_matrix(np.hstack([X * (np.abs(X) > 1), np.eye(len(X))[:, :200]]))
    kw = {"max_iter": 15, "batch_size": 40, "solver": solver, "tol": 0.0, "random_state": 0}
    kw |= {"validation_fraction": 0.3, "n_iter_no_change": 2, "learning_rate": schedule}
    if kind == "linear":
        estimator = LinearClassifier(**kw)
    else:
        estimator = MLPClassifier((6,), linear_skip=kind == "skip", **kw)
    grid = {"early_stopping": [True, False], "learning_rate_init": [0.003, 0.03, 0.1]}
    models = [clone(estimator).set_params(**params) for params in ParameterGrid(grid)]
    alone = [clone(m).fit(X, y) for m in models]
    with batched_fits() as batch:
        Parallel()(delayed(m.fit)(X, y) for m in models)
    assert grouped(batch.sizes, [3, 3])  # those that are watched settle their tables
    stopped = [m.n_iter_ for m in alone[:3]]
    assert min(stopped) < 15
    assert len(set(stopped)) > 1
    for one, other in zip(alone, models, strict=True):
        assert one.n_iter_ == other.n_iter_
        np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-9)
        if one.early_stopping:
            np.testing.assert_allclose(other.validation_scores_, one.validation_scores_, rtol=1e-9)


def test_sparse_members_that_go_on_are_trained_alone(rare):
    X, y = rare
    X = sparse.csr_matrix(X * (np.abs(X) > 1))
    kw = {"solver": "adam", "max_iter": 3, "random_state": 0, "batch_size": 50}
    models = [LinearClassifier(alpha=a, **kw).fit(X, y) for a in (0.0, 0.1, 0.2)]
    alone = [copy.deepcopy(m).partial_fit(X, y) for m in models]
    with batched_fits() as batch:
        Parallel()(delayed(m.partial_fit)(X, y) for m in models)
    for one, other in zip(alone, models, strict=True):
        np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-9)
    assert all(size == 1 for size in batch.sizes)


def test_a_settled_table_moves_at_the_rate_of_its_last_step():
    tables = []
    for rate in (0.05, 0.0):
        table = SparseTable(torch.zeros(2, 1, dtype=torch.float64), lr_of=lambda: 0.05, betas=(0.9, 0.999), eps=1e-8)  # fmt: skip
        for column in (0, 1, 1):
            table.forward(SparseRows(np.array([0, 1]), np.array([column]), np.ones(1)))
            table.backward(torch.ones(1, 1, dtype=torch.float64))
        table.lr_of = lambda rate=rate: rate
        table.settle()
        tables.append(table.table)
    torch.testing.assert_close(tables[0], tables[1])
    assert tables[0][0] < -0.05 * 1.5  # where it stood before the two steps without it, and further


# --- losses with a memory --------------------------------------------------------------------


def test_members_keep_their_own_memories(rare, three):
    X, y = rare
    labels = np.stack([three[1] == k for k in range(3)], 1).astype(int)
    cases = [
        (X, y, {"loss": [EqualizationV2(), EqualizationV2(gamma=4.0, mu=0.5), Focal()], "class_weight": [None, "balanced"]}),
        (three[0], labels, {"loss": [GradientHarmonized(momentum=0.75), EqualizationV2(alpha=1.0)], "learning_rate_init": [0.01, 0.03]}),
    ]  # fmt: skip
    for rows, target, grid in cases:
        models = [model().set_params(**params) for params in ParameterGrid(grid)]
        alone = [clone(m).fit(rows, target) for m in models]
        with batched_fits() as batch:
            Parallel()(delayed(m.fit)(rows, target) for m in models)
        assert grouped(batch.sizes, [len(models)])
        for one, other in zip(alone, models, strict=True):
            np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-9)
            own, its = one._head.bound.state_dict(), other._head.bound.state_dict()
            for name, memory in own.items():
                assert memory.any()
                torch.testing.assert_close(its[name], memory, rtol=1e-9, atol=0.0)


def test_what_a_memory_raises_ends_its_member_alone(rare, monkeypatch):
    X, y = rare
    kind = type(EqualizationV2().bind(ClassPrior.of(y)))
    remember = kind.observe

    def observe(self, logits, target, weight=None):
        if self.kw["gamma"] == 4.0:
            raise ValueError("full")
        remember(self, logits, target, weight)

    monkeypatch.setattr(kind, "observe", observe)
    grid = {"loss__gamma": [4.0, 6.0, 8.0]}
    with batched_fits() as batch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = GridSearchCV(model(EqualizationV2()), grid, cv=2, refit=False).fit(X, y)
    assert grouped(batch.sizes, [6])
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [True, False, False]


class Tower(nn.Module):
    """Not a chain: two branches, a gate that is fixed, a parameter that is used twice."""

    def __init__(self, n_features, n_outputs, width=6, power=1.0):
        super().__init__()
        self.left, self.right = nn.Linear(n_features, width), nn.Linear(n_features, width)
        self.out, self.power = nn.Linear(width, n_outputs), power
        self.gate = nn.Parameter(torch.full((width,), 0.5), requires_grad=False)

    def forward(self, X):
        a = torch.tanh(self.left(X)) * torch.sigmoid(self.right(X)) * self.gate
        return self.out(a * self.power) + self.out(torch.relu(a))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("early", [False, True])
def test_members_of_any_module(rare, three, solver, early):
    for X, y in (rare, three):
        estimator = NeuralNetClassifier(
            Tower,
            solver=solver,
            max_iter=6,
            random_state=0,
            early_stopping=early,
            n_iter_no_change=2,
        )
        grid = MIXED if y.max() == 1 else MIXED[:2]
        alone, together, sizes = both(lambda e=estimator, X=X, y=y, g=grid: GridSearchCV(e, g, cv=2, scoring="neg_log_loss").fit(X, y))  # fmt: skip
        np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
        assert together.best_estimator_.n_iter_ == alone.best_estimator_.n_iter_
        n = 12 if y.max() == 1 else 10
        assert grouped(sizes, [n, n, 1])


def test_modules_that_differ_in_more_than_parameters_are_kept_apart(rare):
    X, y = rare
    estimator = NeuralNetClassifier(Tower, max_iter=3, random_state=0)
    grid = {"module__power": [0.5, 1.0, 2.0], "module__width": [4, 6], "alpha": [0.0, 0.1]}
    alone, together, sizes = both(lambda: GridSearchCV(estimator, grid, cv=2, scoring="neg_log_loss").fit(X, y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
    assert grouped(sizes, [2] * 12 + [1])


def with_batch_norm(n_features, n_outputs):
    return nn.Sequential(nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.Linear(8, n_outputs))


def of_its_values(n_features, n_outputs):
    return _Branching(n_features, n_outputs)


class _Branching(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.out = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        z = self.out(X)
        return z if z.sum() > 0 else 2.0 * z


@pytest.mark.parametrize("make", [with_batch_norm, of_its_values])
def test_modules_that_cannot_be_vectorised_are_trained_alone(rare, make):
    X, y = rare
    estimator = NeuralNetClassifier(make, max_iter=3, random_state=0)
    grid = {"alpha": [0.0, 0.1, 0.2]}
    alone, together, sizes = both(lambda: GridSearchCV(estimator, grid, cv=2, scoring="neg_log_loss").fit(X, y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
    assert all(size == 1 for size in sizes)


# --- what stays alone ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["perceptron", "module", "csr"])
def test_folds_and_seeds_trained_by_muon_are_populations(rare, kind):
    X, y = rare

    class Net(nn.Module):
        def __init__(self, n_features, n_outputs):
            super().__init__()
            self.hidden, self.out = nn.Linear(n_features, 5), nn.Linear(5, n_outputs)

        def forward(self, X):
            return self.out(torch.tanh(self.hidden(X)))

    own = {"solver": "muon", "alpha": 0.1}
    base = {
        "perceptron": model(**own),
        "module": NeuralNetClassifier(Net, max_iter=4, tol=0, batch_size=64, random_state=0, **own),
        "csr": model(**own).set_params(hidden_layer_sizes=(6, 5)),
    }[kind]
    X = sparse.csr_matrix(X * (np.abs(X) > 1)) if kind == "csr" else X
    grid = {"learning_rate_init": [0.01, 0.003]}
    for cv in (2, 3) if kind != "csr" else (2,):  # few on the same rows have batches of their own
        search = GridSearchCV(base, grid, cv=cv, scoring="neg_log_loss", refit=False)
        alone, together, sizes = both(lambda s=search: clone(s).fit(X, y))
        np.testing.assert_allclose(
            together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-7
        )
        assert sum(sizes) == 2 * cv
        assert max(sizes) > 1


def test_what_cannot_share_is_trained_as_usual(rare):
    X, y = rare
    rows = sparse.csr_matrix(X * (np.abs(X) > 1))
    cases = [
        (model(InfluenceBalanced(alpha=1.0)), X),
        (model(), rows),
        (LinearClassifier(), X),
        (LinearClassifier(loss=AnyLoss()), X),
    ]
    for estimator, data in cases:
        alone, together, sizes = both(lambda e=estimator, d=data: cross_validate(e, d, y, cv=3))
        np.testing.assert_allclose(together["test_score"], alone["test_score"], rtol=1e-9)
        assert all(size == 1 for size in sizes)
    theirs = LogisticRegression()
    alone, together, sizes = both(lambda: cross_validate(theirs, X, y, cv=3))
    np.testing.assert_allclose(together["test_score"], alone["test_score"])
    assert sizes == []


def test_a_fit_outside_any_search_just_trains(rare):
    X, y = rare
    alone = model().fit(X, y).predict_proba(X)
    with batched_fits() as batch:
        together = model().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(together, alone)
    assert grouped(batch.sizes, [1])


def test_memory_splits_populations(rare):
    X, y = rare
    grid = {"alpha": np.linspace(0, 1, 12).tolist()}
    alone = GridSearchCV(model(), grid, cv=2, refit=False).fit(X, y)
    with batched_fits(max_memory=100_000) as batch:
        together = GridSearchCV(model(), grid, cv=2, refit=False).fit(X, y)
    assert len(batch.sizes) > 2
    assert sum(batch.sizes) == 24
    np.testing.assert_allclose(scores(together), scores(alone), atol=1e-12)


def test_rows_of_waiting_fits_stay_within_the_cap():
    X, y = make_classification(2000, 30, random_state=0)
    one = 1000 * 30 * 8
    held = []

    class Watched(MLPClassifier):
        def fit(self, X, y):
            held.append(batch.held)
            return super().fit(X, y)

    net = Watched((4,), max_iter=2, random_state=0, tol=0.0)
    grid = {"alpha": np.linspace(0, 1, 12).tolist()}
    with batched_fits(max_memory=6 * one) as batch:
        GridSearchCV(net, grid, cv=2, refit=False).fit(X, y)
    assert sum(batch.sizes) == 24
    assert max(batch.sizes) <= 6 + 4
    assert max(held) <= (6 + 4) * one
    assert batch.held == batch.working == batch.tasks == 0


# --- errors and interruptions ----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_an_error_reaches_only_its_own_caller(rare):
    X, y = rare
    grid = {"learning_rate_init": [0.01, 0.003], "alpha": [0.0, 1e30]}  # a penalty that explodes
    search = GridSearchCV(model(solver="sgd"), grid, cv=2, refit=False, error_score=-1.0)
    with batched_fits() as batch:
        search.fit(X, y)
    found = dict(zip(map(str, search.cv_results_["params"]), search.cv_results_["mean_test_score"], strict=True))  # fmt: skip
    for params, score in found.items():
        assert (score == -1.0) == ("1e+30" in params)
    assert grouped(batch.sizes, [4, 4])
    with batched_fits(), pytest.raises(ValueError, match="non-finite"):
        GridSearchCV(model(solver="sgd"), grid, cv=2, refit=False, error_score="raise").fit(X, y)


def test_errors_in_callbacks_end_one_member(rare):
    from skorch.callbacks import Callback

    class Sour(Callback):
        def on_epoch_end(self, net, **kwargs):
            if net.optimizer_.lr == 0.003 and len(net.history) == 2:
                raise ArithmeticError("sour")

    X, y = rare
    grid = {"learning_rate_init": [0.01, 0.003, 0.001, 0.0003]}
    with warnings.catch_warnings(), batched_fits() as batch:
        warnings.simplefilter("ignore")
        search = GridSearchCV(model(callbacks=[Sour()]), grid, cv=2, refit=False).fit(X, y)
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.tolist() == [False, True, False, False]
    assert grouped(batch.sizes, [4, 4])


@pytest.mark.filterwarnings("ignore")
def test_an_interruption_leaves_nothing_behind(rare):
    X, y = rare
    threads = threading.active_count()

    def run():
        with batched_fits():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert threading.active_count() == threads
    model().fit(X, y)
    with batched_fits(), pytest.raises(RuntimeError, match="nested"), batched_fits():
        pass
    with batched_fits() as batch:
        cross_validate(model(), X, y, cv=2)
    assert grouped(batch.sizes, [2])


def test_stopping_callbacks_of_skorch_end_one_member(rare):
    X, y = rare
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=0.02)
    estimator = model(max_iter=30, callbacks=[stop])
    grid = {"learning_rate_init": [1e-4, 1e-3, 1e-2, 3e-2]}
    alone, together, sizes = both(lambda: GridSearchCV(estimator, grid, cv=2, scoring="neg_log_loss").fit(X, y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
    assert together.best_estimator_.n_iter_ == alone.best_estimator_.n_iter_ < 30
    assert grouped(sizes, [4, 4, 1])


def test_callbacks_of_scikit_learn_see_members(rare):
    pytest.importorskip("rich")
    callback = pytest.importorskip(
        "sklearn.callback", reason="scikit-learn has callbacks from 1.9 on"
    )
    X, y = rare
    search = GridSearchCV(model(), {"alpha": [0.0, 0.1, 0.2, 0.3]}, cv=2)
    search.set_callbacks(callback.ProgressBar())
    with batched_fits() as batch:
        search.fit(X, y)
    assert sum(batch.sizes) == 9


def test_seeds_of_members_do_not_touch_each_other(rare):
    X, y = rare
    state = torch.random.get_rng_state()
    seeds = {"random_state": [0, 1, 2, 3]}
    alone, together, sizes = both(lambda: GridSearchCV(model(), seeds, cv=2, scoring="neg_log_loss").fit(X, y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
    assert len(np.unique(scores(alone)[0])) == 4
    assert torch.equal(state, torch.random.get_rng_state())
    assert max(sizes) > 1


def with_dropout(n_features, n_outputs):
    return nn.Sequential(nn.Linear(n_features, 8), nn.Dropout(0.5), nn.Linear(8, n_outputs))


def test_modules_that_draw_do_not_share_their_generator(rare):
    X, y = rare
    estimator = NeuralNetClassifier(with_dropout, max_iter=4, random_state=0)
    grid = {"alpha": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]}
    alone, together, _ = both(lambda: GridSearchCV(estimator, grid, cv=2, scoring="neg_log_loss").fit(X, y))  # fmt: skip
    np.testing.assert_allclose(scores(together), scores(alone), rtol=1e-9)
