"""Searches over a Dask cluster of two processes."""

import warnings

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict

from skimb.losses import AnyLoss, CrossEntropy, Focal
from skimb.model_selection import LossSearchCV, batched_fits
from skimb.neural_network import MLPClassifier

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of dask itself
]


@pytest.fixture(scope="module")
def client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kw = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with distributed.LocalCluster(**kw) as cluster, distributed.Client(cluster) as client:
            yield client


@pytest.fixture(scope="module")
def rare():
    return make_classification(3000, 8, weights=[0.85], random_state=0)


def model(**kw):
    kw = {"max_iter": 4, "random_state": 0, "tol": 0.0} | kw
    return MLPClassifier((6,), **kw)


def scores(search):
    return search.cv_results_["mean_test_score"]


GRID = [
    {"loss": [Focal()], "loss__gamma": [0.5, 1.0, 2.0], "alpha": [0.0, 0.1]},
    {"loss": [CrossEntropy(), AnyLoss()], "class_weight": [None, "balanced"]},
]


def test_bundles_give_the_scores_of_single_fits(client, rare):
    X, y = rare
    search = GridSearchCV(model(), GRID, cv=2, scoring="neg_log_loss")
    with batched_fits(backend="dask") as batch:
        search.fit(X, y)
    alone = GridSearchCV(model(), GRID, cv=2, scoring="neg_log_loss").fit(X, y)
    np.testing.assert_allclose(scores(search), scores(alone), rtol=1e-9)
    np.testing.assert_allclose(search.predict_proba(X), alone.predict_proba(X), rtol=1e-9)
    assert batch.sizes == [10, 10]  # one bundle per worker


def test_large_arrays_travel_once(client, rare):
    X, y = rare
    seen = []
    scatter = client.scatter

    def watched(data, **kw):
        found = scatter(data, **kw)
        seen.extend(f.key for f in found)
        return found

    client.scatter = watched
    try:
        with batched_fits(backend="dask", client=client):
            GridSearchCV(model(), {"alpha": [0.0, 0.1, 0.2]}, cv=2, refit=False).fit(X, y)
            cross_val_predict(model(), X, y, cv=2)
    finally:
        client.scatter = scatter
    assert len(seen) > 1
    assert len(set(seen)) == 1  # X, in every bundle and in both calls
    assert X.nbytes > 1 << 16


def test_other_meta_estimators_and_early_stopping(client, rare):
    X, y = rare
    estimator = BaggingClassifier(model(early_stopping=True, max_iter=6), 4, random_state=0)
    with batched_fits(backend="dask") as batch:
        together = estimator.fit(X, y).predict_proba(X)
    alone = estimator.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert batch.sizes


def test_an_error_reaches_only_its_own_caller(client, rare):
    X, y = rare
    grid = {"loss": [Focal()], "loss__gamma": [1.0, -1.0, 2.0]}
    search = GridSearchCV(model(), grid, cv=2, scoring="roc_auc", refit=False)
    with batched_fits(backend="dask"), pytest.warns(FitFailedWarning, match="gamma"):
        search.fit(X, y)
    assert np.isnan(scores(search)).tolist() == [False, True, False]


def test_what_cannot_travel_says_so(client, rare):
    X, y = rare
    hook = _Unpicklable()
    with batched_fits(backend="dask"), pytest.raises(TypeError, match="stays here"):
        GridSearchCV(model(callbacks=[hook]), {"alpha": [0.0, 0.1]}, cv=2).fit(X, y)


class _Unpicklable:
    def __reduce__(self):
        raise TypeError("stays here")

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("how", ["joblib", "skimb"])
def test_loss_searches(client, rare, how):
    X, y = rare
    kw = {"losses": [Focal, AnyLoss()], "scoring": "f1", "cv": 3, "threshold": True}
    block = parallel_config(backend="dask") if how == "joblib" else batched_fits(backend="dask")
    with block:
        far = LossSearchCV(model(), **kw).fit(X, y)
    near = LossSearchCV(model(), **kw).fit(X, y)
    np.testing.assert_allclose(scores(far), scores(near), rtol=1e-9)
    assert far.best_params_.keys() == near.best_params_.keys()
    assert far.advice_ == near.advice_


def test_halving_stays_in_this_process(client, rare):
    X, y = rare
    kw = {"losses": [Focal], "scoring": "roc_auc", "cv": 2, "halving": 2}
    with parallel_config(backend="dask"):
        far = LossSearchCV(model(max_iter=8), **kw).fit(X, y)
    near = LossSearchCV(model(max_iter=8), **kw).fit(X, y)
    np.testing.assert_allclose(scores(far), scores(near), rtol=1e-9)


def test_a_missing_cluster_is_named(rare):
    from skimb.model_selection import _dask

    with pytest.raises(ValueError, match="Dask client"):
        distributed_without_client(_dask)
    with pytest.raises(ValueError, match="'threads' or 'dask'"), batched_fits(backend="ray"):
        pass


def distributed_without_client(module):
    """`current_client` as in a process that has none."""

    class Nobody:
        @staticmethod
        def get_client():
            raise ValueError("No global client found")

    before, module.require = module.require, lambda name, extra: Nobody
    try:
        module.current_client(None)
    finally:
        module.require = before
