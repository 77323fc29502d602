"""A joblib backend of threads whose concurrent fits are trained as populations."""

import contextvars
import threading
from contextlib import contextmanager

from joblib import parallel_config
from joblib.parallel import ParallelBackendBase, register_parallel_backend

from skimb._core.warn import STARTED_AT, user_line
from skimb.engine.batching import Coordinator

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
        """Keep the parallel call; threads start with their tasks."""
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
        context.run(STARTED_AT.set, user_line())
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
        """Count the caller as a working task again, if it is one."""
        if self.nested:
            self.nested = False
            self.coordinator.end_nested()

    def get_nested_backend(self):
        """Nested parallel calls share the coordinator."""
        return type(self)(self.coordinator, nesting_level=self.nesting_level + 1), None


register_parallel_backend("skimb-populations", _Backend)


@contextmanager
def populations_in_threads(max_memory):
    """A block whose parallel fits are trained as populations, all in this process.

    Parameters
    ----------
    max_memory : int
        Bytes of the state of one population, and of the rows of all fits that wait.

    Yields
    ------
    Coordinator
        Its ``sizes`` list the populations that were trained.
    """
    with (
        Coordinator(max_memory) as coordinator,
        parallel_config(backend="skimb-populations", coordinator=coordinator),
    ):
        yield coordinator
