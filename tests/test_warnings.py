"""Warnings name the line of the user's code that called fit or predict."""

import signal
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from skimb._core.folds import left_out_folds
from skimb._core.warn import muted, warn_user
from skimb.ensemble import PopulationBaggingClassifier
from skimb.linear_model import (
    BalancedRidge,
    LinearClassifier,
    NormalizedLogisticClassifier,
    PrestoClassifier,
    PrestoClassifierCV,
)
from skimb.losses import Asymmetric, Focal, MannWhitney
from skimb.model_selection import LossSearchCV, batched_fits
from skimb.neural_network import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    TabMClassifier,
)


@pytest.fixture(scope="module")
def rows():
    return make_classification(150, 5, weights=[0.85], flip_y=0.05, random_state=0)


def places(call, category, match):
    """Files that warnings of a kind name while something is called."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        call()
    of_kind = [w for w in seen if issubclass(w.category, category) and match in str(w.message)]
    assert of_kind, [str(w.message) for w in seen]
    return {w.filename for w in of_kind}


class Interrupt(Callback):
    def on_epoch_end(self, net, **kwargs):
        interrupt()


def interrupt():
    # in processes of the background the signal is ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


SHORT = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
KINDS = {
    "epochs": (MLPClassifier(**SHORT), ConvergenceWarning, "Maximum iterations"),
    "module": (NeuralNetClassifier(max_iter=2), ConvergenceWarning, "Maximum iterations"),
    "regressor": (MLPRegressor(**SHORT), ConvergenceWarning, "Maximum iterations"),
    "lbfgs": (
        LinearClassifier(max_iter=1, tol=1e-9, alpha=0),
        ConvergenceWarning,
        "lbfgs stopped",
    ),
    "batch": (MLPClassifier(batch_size=1000, **SHORT), UserWarning, "going to be clipped"),
    "positive": (MLPClassifier(loss=Asymmetric(), **SHORT), UserWarning, "as the positive class"),
    "prior": (
        LinearClassifier(MannWhitney(), prior=[0.5, 0.5]),
        UserWarning,
        "does not give probabilities",
    ),
    "tabm": (
        TabMClassifier(2, 4, max_iter=2, validation_folds=1, random_state=0),
        ConvergenceWarning,
        "max_iter=2 epochs reached",
    ),
    "tabm interrupted": (
        TabMClassifier(2, 4, max_iter=2, callbacks=[Interrupt()], random_state=0),
        UserWarning,
        "interrupted by user; TabMClassifier keeps",
    ),
    "interrupted": (
        MLPClassifier(callbacks=[Interrupt()], **SHORT),
        UserWarning,
        "interrupted by user",
    ),
}


def target(kind, y):
    return 1 - y if kind == "positive" else y


@pytest.mark.parametrize("kind", KINDS)
def test_fit_names_the_line_that_called_it(rows, kind):
    model, category, match = KINDS[kind]
    X, y = rows
    assert places(lambda: clone(model).fit(X, target(kind, y)), category, match) == {__file__}


@pytest.mark.parametrize(
    "kind", sorted(set(KINDS) - {"interrupted", "tabm interrupted", "regressor", "module"})
)
def test_so_it_does_through_other_estimators(rows, kind):
    model, category, match = KINDS[kind]
    X, y = rows
    y = target(kind, y)
    calls = [
        lambda: make_pipeline(StandardScaler(), clone(model)).fit(X, y),
        lambda: cross_val_score(clone(model), X, y, cv=2),
        lambda: GridSearchCV(model, {"alpha": [0.0]}, cv=2).fit(X, y),
    ]
    if kind not in ("prior", "tabm"):
        calls.append(lambda: PopulationBaggingClassifier(model, 2, power=1.0).fit(X, y))
    for call in calls:
        assert places(call, category, match) == {__file__}


def test_partial_fit_and_columns(rows):
    X, y = rows
    model = MLPClassifier(loss=Asymmetric(), **SHORT)
    call = lambda: model.partial_fit(X, 1 - y)  # noqa: E731
    assert places(call, UserWarning, "as the positive class") == {__file__}
    call = lambda: MLPRegressor(**SHORT).fit(X, X[:, :1])  # noqa: E731
    assert places(call, DataConversionWarning, "column-vector") == {__file__}
    call = lambda: PopulationBaggingClassifier(MLPClassifier(**SHORT), 2).fit(X, y[:, None])  # noqa: E731
    assert places(call, DataConversionWarning, "column-vector") == {__file__}


def test_linear_models_searches_and_streams(rows):
    X, y = rows
    grades = np.digitize(X[:, 0], [-0.5, 0.5])
    calls = {
        "Not converged": lambda: BalancedRidge(max_iter=1).fit(X, X[:, 0] ** 3),
        "Not converged after": lambda: PrestoClassifier(max_iter=1).fit(X, grades),
        "did not converge": lambda: PrestoClassifierCV(max_iter=1, cv=2).fit(X, grades),
        "not separated": lambda: NormalizedLogisticClassifier(max_iter=1).fit(X, y),
    }
    for match, call in calls.items():
        assert places(call, ConvergenceWarning, match) == {__file__}, match
    search = LossSearchCV(
        LinearClassifier(), losses=[Focal(1.0), Focal(-1.0)], scoring="roc_auc", cv=2
    )
    assert places(lambda: search.fit(X, y), FitFailedWarning, "failed") == {__file__}


def test_fits_in_threads_of_a_block_name_the_line_that_started_them(rows):
    X, y = rows
    model, category, match = KINDS["tabm"]
    scores = {"scoring": "roc_auc", "cv": 2}
    search = LossSearchCV([("tabm", clone(model))], losses=[Focal(1.0)], **scores)
    assert places(lambda: search.fit(X, y), category, match) == {__file__}
    grid = GridSearchCV(clone(model), {"width": [3, 4]}, refit=False, **scores)
    with batched_fits():
        assert places(lambda: grid.fit(X, y), category, match) == {__file__}


# --- what is kept quiet ----------------------------------------------------------------------------


def test_our_own_warnings_are_muted_in_one_thread_only():
    def told(mute):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if mute:
                with muted(ConvergenceWarning):
                    warn_user("short", ConvergenceWarning)
                    warn_user("other")
            else:
                with muted(ConvergenceWarning), ThreadPoolExecutor(1) as pool:
                    pool.submit(warn_user, "elsewhere", ConvergenceWarning).result()
            warn_user("after", ConvergenceWarning)
        return [str(w.message) for w in caught]

    assert told(True) == ["other", "after"]
    assert told(False) == ["elsewhere", "after"]


def test_filters_stay_as_they_were_whatever_threads_do():
    strata = np.repeat([0, 1], [60, 2])  # fewer rows than folds, of which scikit-learn warns
    before = list(warnings.filters)

    def folds(seed):
        return [left_out_folds(strata, len(strata), 5, seed) for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(folds, range(16)))
    assert all(found)
    assert warnings.filters == before


def test_a_population_of_nets_that_choose_their_scale_keeps_the_filters(rows):
    X, y = rows
    before = [(action, kind) for action, _, kind, *_ in warnings.filters]
    model = MLPClassifier((4,), hidden_scale="auto", max_iter=3, random_state=0)
    with batched_fits():
        cross_val_score(model, sparse.csr_matrix(X), y, cv=4)
    # scikit-learn puts equal filters in the place of those that it found
    assert [(action, kind) for action, _, kind, *_ in warnings.filters] == before
