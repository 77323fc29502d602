"""Blocks in which concurrent fits are trained as populations."""

from contextlib import contextmanager, nullcontext

from joblib import parallel_config

from skimb.engine.batching import bytes_of_memory
from skimb.engine.grouping import MAX_MEMORY
from skimb.engine.net import training_is_shared
from skimb.model_selection._threads import populations_in_threads


@contextmanager
def batched_fits(*, max_memory=MAX_MEMORY, backend="threads", client=None):
    """Train the fits that scikit-learn runs in parallel inside the block as populations.

    Whatever goes through joblib inside (``GridSearchCV``, ``cross_validate``, ``BaggingClassifier``,
    ``OneVsRestClassifier``, pipelines with imbalanced-learn samplers ...) reaches the estimators of
    skimb in threads. Fits that wait at the same time, have nets of one structure and see the same rows in
    the same order are trained as one population: the first layers are one matrix product, all
    parameters one tensor. Losses, targets, weights, learning rates and penalties may differ. All
    other fits are trained one after another, as they would be without the block.

    Parameters
    ----------
    max_memory : int, default=2**30
        Bytes that the state of one population may take, and the training rows of all fits that wait;
        beyond it fits are trained in several populations.
    backend : {"threads", "dask"}, default="threads"
        ``"dask"`` sends the fits of each parallel call in one bundle to each worker process of a cluster,
        which prepares, trains and scores them as populations; large arrays travel once. Needs
        ``pip install "skimb[dask]"``.
    client : distributed.Client, default=None
        The cluster of ``backend="dask"``; None takes the current client.

    Yields
    ------
    Coordinator or DaskBundles
        Its ``sizes`` list the populations that were trained; with ``"dask"`` the bundles that were sent.

    Raises
    ------
    ValueError
        If `backend` is unknown, `max_memory` is no positive whole number, or no Dask client is found.

    Notes
    -----
    A member's result equals that of the same estimator fitted alone up to rounding: initial weights and
    the order of batches are the same. An error in one member reaches its own caller. ``n_jobs`` of the
    caller is not used: training takes one thread. Shared are fits with Adam, AdamW, SGD or Muon and a loss
    without adversary or need of the output layer's inputs, without `mix` and `scheme`, with
    ``random_state`` set to an integer where rows are to be shared: ``MLPClassifier``, ``MLPRegressor`` and
    ``LinearClassifier`` on dense and CSR rows, and ``NeuralNetClassifier`` where ``torch.func.vmap`` can
    vectorise the module.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skimb.losses import Focal
    >>> from skimb.model_selection import batched_fits
    >>> from skimb.neural_network import MLPClassifier
    >>> X, y = make_classification(300, 5, weights=[0.9], random_state=0)
    >>> model = MLPClassifier((8,), loss=Focal(), max_iter=3, tol=0, random_state=0)
    >>> grid = {"loss__gamma": [0.5, 1.0, 2.0], "alpha": [0.0, 0.01]}
    >>> with batched_fits() as batch:
    ...     search = GridSearchCV(model, grid, cv=2, refit=False).fit(X, y)
    >>> sum(batch.sizes)  # two populations, one per fold
    12
    """
    if backend == "dask":
        from skimb.model_selection._dask import current_client

        limit = bytes_of_memory(max_memory)  # before anything travels
        place = {"client": current_client(client), "max_memory": limit, "sizes": []}
        with parallel_config(backend="skimb-dask", **place) as config:
            yield config["backend"]
        return
    if backend != "threads":
        raise ValueError(f"batched_fits: backend={backend!r} must be 'threads' or 'dask'.")
    with populations_in_threads(max_memory) as coordinator:
        yield coordinator


def batched_fits_once(max_memory=MAX_MEMORY):
    """A block of batched fits, or nothing where one is open already."""
    return nullcontext() if training_is_shared() else batched_fits(max_memory=max_memory)
