"""A joblib backend under which concurrent fits are trained as populations."""

import contextvars
import threading
from contextlib import contextmanager, nullcontext

from joblib import parallel_config
from joblib.parallel import ParallelBackendBase, register_parallel_backend

from skimb.engine.batching import Coordinator
from skimb.engine.net import training_is_shared

_TASKS = 1024  # tasks of one parallel call that may wait at the same time


class Outcome:
    """What a task gave or raised; joblib asks for it through the backend."""

    def __init__(self, value, error):
        self.value, self.error = value, error

    def get(self, timeout=None):
        """The value, or raise."""
        if self.error is not None:
            raise self.error
        return self.value


class _Backend(ParallelBackendBase):
    """One thread per task; the coordinator counts tasks and knows when all of them wait."""

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True

    def __init__(self, coordinator=None, **kwargs):
        super().__init__(**kwargs)
        self.coordinator = coordinator
        self.nested = False

    def effective_n_jobs(self, n_jobs):
        """Many tasks wait, whatever the caller asked for; training itself is one thread."""
        return _TASKS

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        """Nothing to build."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func, callback=None):
        """Start a task between two notes to the coordinator."""
        coordinator = self.coordinator

        def run():
            value = error = None
            try:
                with coordinator.task():
                    value = func()
            except BaseException as raised:  # carried to the caller, who raises it
                error = raised
            if callback is not None:
                callback(Outcome(value, error))

        context = contextvars.copy_context()  # the block is known in its threads
        thread = threading.Thread(target=context.run, args=(run,), daemon=True, name="skimb-fit")
        coordinator.enter()
        try:
            thread.start()
        except BaseException:
            coordinator.forget()
            raise

    def retrieve_result_callback(self, out):
        """Value of a task that has called back, or what it raised."""
        return out.get()

    def abort_everything(self, ensure_ready=True):
        """Tasks that wait end with the block."""

    def start_call(self):
        """The caller will wait; if it is a task itself, others may go on."""
        self.nested = self.coordinator.begin_nested()

    def stop_call(self):
        """The caller goes on."""
        if self.nested:
            self.nested = False
            self.coordinator.end_nested()

    def get_nested_backend(self):
        """Nested parallel calls share the coordinator."""
        return type(self)(self.coordinator, nesting_level=self.nesting_level + 1), None


register_parallel_backend("skimb-populations", _Backend)


@contextmanager
def batched_fits(*, max_memory=1 << 30, backend="threads", client=None):
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
        ``skimb[dask]``.
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
    caller is not used: training takes one thread. Shared are fits with Adam, AdamW or SGD and a loss
    without memory or adversary, with ``random_state`` set to an integer where rows are to be shared:
    ``MLPClassifier``, ``MLPRegressor`` and ``LinearClassifier`` on dense and CSR rows, and
    ``NeuralNetClassifier`` where ``torch.func.vmap`` can vectorise the module.

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

        place = {"client": current_client(client), "max_memory": max_memory, "sizes": []}
        with parallel_config(backend="skimb-dask", **place) as config:
            yield config["backend"]
        return
    if backend != "threads":
        raise ValueError(f"batched_fits: backend={backend!r} must be 'threads' or 'dask'.")
    with (
        Coordinator(max_memory) as coordinator,
        parallel_config(backend="skimb-populations", coordinator=coordinator),
    ):
        yield coordinator


def batched_fits_once():
    """A block of batched fits, or nothing where one is open already."""
    return nullcontext() if training_is_shared() else batched_fits()
