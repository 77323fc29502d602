"""A joblib backend that sends bundles of fits to the workers of a Dask cluster, each trained as populations."""

import io
import pickle
import threading

import cloudpickle
from joblib import Parallel, delayed
from joblib.parallel import ParallelBackendBase, register_parallel_backend

from skimb._core.optional import require
from skimb.model_selection._threads import Outcome, populations_in_threads

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


def run_bundle(payload, large, max_memory):
    """Run tasks on a worker as populations; one bundle at a time in a process."""
    functions = _Unpickler(io.BytesIO(payload), large).load()
    with _ONE_BUNDLE, populations_in_threads(max_memory):
        return Parallel()(delayed(_caught)(function) for function in functions)


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

    def __init__(self, client=None, max_memory=1 << 30, sizes=None, **kwargs):
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
        workers = max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))
        size = -(-len(tasks) // workers)
        for start in range(0, len(tasks), size):
            bundle = tasks[start : start + size]
            try:
                self._send_bundle(bundle)
            except Exception as error:  # what cannot travel is each task's own failure
                for _, callback in bundle:
                    callback(Outcome(None, error))

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
            outcomes = future.result()
        except (
            BaseException
        ) as error:  # a lost worker or a cancelled bundle: carried to the callers
            outcomes = [Outcome(None, error)] * len(bundle)
        for (_, callback), outcome in zip(bundle, outcomes, strict=True):
            callback(outcome)

    def retrieve_result_callback(self, out):
        """Value of a task that has called back, or what it raised."""
        return out.get()

    def abort_everything(self, ensure_ready=True):
        """Cancel what the workers have not finished."""
        self.client.cancel(self.futures)


register_parallel_backend("skimb-dask", DaskBundles)


def current_client(client):
    """The given client, or the current one of this process."""
    distributed = require("distributed", extra="dask")
    if client is not None:
        return client
    try:
        return distributed.get_client()
    except ValueError as error:
        raise ValueError(
            "batched_fits(backend='dask') found no Dask client; make one first, for instance "
            "`client = dask.distributed.Client(...)`, or give client=."
        ) from error
