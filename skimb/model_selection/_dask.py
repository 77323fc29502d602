"""A joblib backend that sends bundles of fits to the workers of a Dask cluster, each trained as populations."""

import io
import pickle
import threading
from typing import Any

from joblib import Parallel, delayed
from joblib.parallel import ParallelBackendBase, register_parallel_backend

from skimb._core.optional import require
from skimb.engine.grouping import MAX_MEMORY
from skimb.model_selection._threads import Outcome, populations_in_threads

cloudpickle: Any = require("cloudpickle", extra="dask")

_TASKS = 4096  # tasks of one parallel call that may be collected
_LINGER = 0.05  # seconds without a new task after which the bundles are made
_LARGE = 1 << 16  # bytes from which an array travels by itself, once
_ONE_BUNDLE = threading.Lock()


class _Pickler(cloudpickle.Pickler):
    """Leaves large arrays out and lists them."""

    def __init__(self, file):
        super().__init__(file)
        self.large = {}

    def persistent_id(self, obj):
        if not _is_large(obj):
            return None
        self.large[id(obj)] = obj
        return list(self.large).index(id(obj))


class _Unpickler(pickle.Unpickler):
    """Puts large arrays back in."""

    def __init__(self, file, large):
        super().__init__(file)
        self.large = large

    def persistent_load(self, pid):
        return self.large[pid]


def _is_large(obj):
    nbytes = getattr(obj, "nbytes", None)
    return isinstance(nbytes, int) and nbytes >= _LARGE and hasattr(obj, "dtype")


def _caught(function):
    try:
        return Outcome(function(), None)
    except BaseException as error:  # carried to the caller, who raises it
        return Outcome(None, error)


def _fail(tasks, error):
    """Hand an error to the callers of tasks."""
    for _, callback in tasks:
        callback(Outcome(None, error))


def _packed(outcome):
    """An outcome as bytes that the caller can read, whatever the task gave or raised."""
    try:
        payload = cloudpickle.dumps(outcome)
        if outcome.error is not None:
            pickle.loads(payload)  # exceptions may be written and not be read
    except Exception as failure:
        what = type(outcome.value).__name__ if outcome.error is None else repr(outcome.error)
        error = RuntimeError(
            f"batched_fits: {what} of a fit cannot travel from its Dask worker: {failure}"
        )
        return cloudpickle.dumps(Outcome(None, error))
    return payload


def run_bundle(payload, large, max_memory):
    """Run tasks on a worker as populations, one bundle at a time in a process; answers packed outcomes."""
    functions = _Unpickler(io.BytesIO(payload), large).load()
    with _ONE_BUNDLE, populations_in_threads(max_memory):
        outcomes = Parallel()(delayed(_caught)(function) for function in functions)
    return [_packed(outcome) for outcome in outcomes]


class DaskBundles(ParallelBackendBase):
    """Collects the tasks of a parallel call and sends one bundle to each worker.

    Parameters
    ----------
    client : distributed.Client
        The cluster; None takes the current client.
    max_memory : int
        Bytes of a population's state on a worker.
    """

    supports_retrieve_callback = True
    supports_sharedmem = False

    def __init__(self, client=None, max_memory=MAX_MEMORY, sizes=None, **kwargs):
        super().__init__(**kwargs)
        self.client = client
        self.max_memory = max_memory
        self.sizes = [] if sizes is None else sizes
        self.news = threading.Lock()
        self.pending, self.timer, self.futures = [], None, []

    def effective_n_jobs(self, n_jobs):
        """All tasks are collected, whatever the caller asked for."""
        return _TASKS

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        """Keep the parallel call; workers are there already."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func, callback=None):
        """Collect a task; bundles leave when no further one arrives for a moment."""
        with self.news:
            self.pending.append((func, callback))
            if self.timer is not None:
                self.timer.cancel()
            self.timer = threading.Timer(_LINGER, self._send)
            self.timer.daemon = True
            self.timer.start()

    def _send(self):
        with self.news:
            tasks, self.pending, self.timer = self.pending, [], None
        if not tasks:
            return
        try:
            workers = max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))
        except BaseException as error:
            _fail(tasks, error)
            return
        size = -(-len(tasks) // workers)
        for start in range(0, len(tasks), size):
            bundle = tasks[start : start + size]
            try:
                self._send_bundle(bundle)
            except BaseException as error:  # what cannot travel is each task's own failure
                _fail(bundle, error)

    def _send_bundle(self, bundle):
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.dump([func for func, _ in bundle])
        # the key of scattered data is a hash of its content: equal arrays travel once
        large = self.client.scatter(list(pickler.large.values())) if pickler.large else []
        future = self.client.submit(run_bundle, file.getvalue(), large, self.max_memory, pure=False)
        self.sizes.append(len(bundle))
        self.futures.append(future)
        future.add_done_callback(lambda done: self._receive(done, bundle))

    def _receive(self, future, bundle):
        try:
            outcomes = [pickle.loads(packed) for packed in future.result()]
        except BaseException as error:  # of a lost worker: carried to the callers
            cancelled = RuntimeError(
                "batched_fits: the Dask client was closed, or the fits were cancelled, before the "
                "workers had finished; keep the client open as long as the block."
            )
            _fail(bundle, cancelled if future.cancelled() else error)
            return
        for (_, callback), outcome in zip(bundle, outcomes, strict=True):
            callback(outcome)

    def retrieve_result_callback(self, out):
        """Value of a task that has called back, or what it raised."""
        return out.get()

    def abort_everything(self, ensure_ready=True):
        """Cancel what the workers have not finished; a closed client has done so."""
        if self.client.status == "running":
            self.client.cancel(self.futures)


register_parallel_backend("skimb-dask", DaskBundles)


def current_client(client):
    """The given client, or the current one of this process; it must be open."""
    distributed = require("distributed", extra="dask")
    if client is not None:
        if getattr(client, "status", None) != "running":
            raise ValueError(f"batched_fits: client={client!r} is no running Dask client.")
        return client
    try:
        return distributed.get_client()
    except ValueError as error:
        raise ValueError(
            "batched_fits(backend='dask') found no Dask client; make one first, for instance "
            "`client = dask.distributed.Client(...)`, or give client=."
        ) from error
