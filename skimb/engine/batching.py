"""Bring fits that run at the same time together and train them as populations."""

import threading
import time
from contextlib import contextmanager
from numbers import Integral

import torch

from skimb.engine.grouping import JointTraining, structure
from skimb.engine.net import end_sharing, share_training
from skimb.engine.runtime import small_batch_settings

_AT_WORK = (
    2  # tasks that prepare or finish at the same time: more pass the interpreter's lock around
)
_LINGER = 0.02  # seconds without news after which the tasks that wait are taken as complete


class Job:
    """One fit that waits for its training."""

    def __init__(self, net, data):
        self.net, self.data = net, data
        self.done = threading.Event()
        self.error = None
        self.bytes = data.nbytes


class Interrupted(RuntimeError):
    """The block of shared fits ended before this one was trained."""


def bytes_of_memory(max_memory):
    """The limit as an int, or an error that says what is one."""
    if isinstance(max_memory, bool) or not isinstance(max_memory, Integral) or max_memory < 1:
        raise ValueError(
            f"batched_fits: max_memory={max_memory!r} must be a whole number of bytes, 1 or more; "
            "a gigabyte is 2**30."
        )
    return int(max_memory)


class Coordinator:
    """Collects jobs of concurrent tasks and trains them when all tasks wait.

    Parameters
    ----------
    max_memory : int
        Bytes of the state of a population, and of the training rows that waiting tasks may hold; beyond
        the latter no further task begins.
    """

    def __init__(self, max_memory):
        self.max_memory = bytes_of_memory(max_memory)
        self.slots = threading.Semaphore(_AT_WORK)
        self.working = 0  # tasks that have begun and do not wait
        self.held = 0  # bytes of the rows of those that wait
        self.news = threading.Condition()
        self.mine = threading.local()
        self.tasks = 0
        self.jobs = []
        self.callers = 0  # fits that these jobs belong to
        self.last = 0.0
        self.stopped = False
        self.sizes = []
        self.thread = threading.Thread(target=self._loop, daemon=True, name="skimb-populations")

    # --- called by tasks -----------------------------------------------------------------------

    def enter(self):
        """Count a task that will call :meth:`task` or be given up by :meth:`forget`."""
        with self.news:
            self.tasks += 1
            self.last = time.perf_counter()

    @contextmanager
    def task(self):
        """What a task does, once there is room for its rows; refused when the block has ended."""
        self.slots.acquire()
        self.mine.slot = True
        with self.news:
            self.news.wait_for(lambda: self.stopped or self.held < self.max_memory)
            self.working += 1
        self.mine.task = True
        try:
            self._refuse_late()
            yield
        finally:
            self.mine.task = False
            self._rest()
            with self.news:
                self.tasks -= 1
                self.working -= 1
                self._notify()

    def forget(self):
        """A task that was on its way does not come."""
        with self.news:
            self.tasks -= 1
            self._notify()

    def _refuse_late(self):
        if self.stopped:
            raise Interrupted("the block of batched fits has ended.")

    def _rest(self):
        """Let another task begin in place of this one."""
        if getattr(self.mine, "slot", False):
            self.mine.slot = False
            self.slots.release()

    def begin_nested(self):
        """Tell whether this thread is a task; if so, it now waits for tasks of its own."""
        nested = getattr(self.mine, "task", False)
        if nested:
            self._rest()
            with self.news:
                self.tasks -= 1
                self.working -= 1
                self._notify()
        return nested

    def end_nested(self):
        """Count the task again, whose own tasks have ended."""
        with self.news:
            self.tasks += 1
            self.working += 1

    def _notify(self):
        self.last = time.perf_counter()
        self.news.notify_all()

    def takes(self, net, data):
        """Whether the training of a net can wait here for others."""
        return threading.current_thread() is not self.thread and structure(net, data) is not None

    def train(self, pairs):
        """Wait until nets have been trained; raises what the training of one raised.

        Parameters
        ----------
        pairs : list of (EngineNet, TrainingData)
            The nets of one fit.
        """
        jobs = [Job(net, data) for net, data in pairs]
        task, held = int(getattr(self.mine, "task", False)), sum(job.bytes for job in jobs)
        self._rest()
        with self.news:
            self._refuse_late()
            self.jobs += jobs
            self.callers += 1
            self.held += held
            self.working -= task
            self._notify()
        for job in jobs:
            job.done.wait()
        with self.news:
            self.held -= held
            self._notify()
        if task:
            self.slots.acquire()
            self.mine.slot = True
        with self.news:
            self.working += task
        for job in jobs:
            if job.error is not None:
                raise job.error

    # --- the thread that trains ----------------------------------------------------------------

    def __enter__(self):
        self.token = share_training(self)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        """End the block; tasks that have begun come to their end, those that wait are refused."""
        try:
            with self.news:
                self.stopped = True
                self.news.notify_all()
                self.news.wait_for(lambda: self.working == 0 and self.tasks == 0)
            self.thread.join()
        finally:
            end_sharing(self.token)

    def _ready(self):
        """Jobs to train now: all tasks wait, or a fit outside any task does."""
        if not self.jobs:
            return False
        if self.held >= self.max_memory and self.working == 0:
            return True
        if self.callers < self.tasks:
            return False
        return self.tasks == 0 or time.perf_counter() - self.last > _LINGER

    def _loop(self):
        torch.set_flush_denormal(True)  # a setting of the thread
        try:
            while not self.stopped:
                with self.news:
                    while not self.stopped and not self._ready():
                        self.news.wait(_LINGER if self.jobs else None)
                    jobs, self.jobs, self.callers = self.jobs, [], 0
                self._train(jobs)
        finally:  # whatever ended this thread: nobody may wait for it any longer
            with self.news:
                self.stopped = True
                jobs, self.jobs = self.jobs, []
                self.news.notify_all()
            _give_up(jobs, Interrupted("the block of batched fits has ended."))

    def _train(self, jobs):
        """Train jobs; whatever happens, each of them is told how it ended."""
        try:
            training = JointTraining([(job.net, job.data) for job in jobs], self.max_memory)
        except BaseException as error:  # one of them cannot be compared with others
            if len(jobs) == 1:
                _give_up(jobs, error)
                return
            for job in jobs:
                self._train([job])
            return
        self.sizes += training.sizes
        for runner in training.runners:
            own = [jobs[k] for k in runner.positions]
            try:
                with small_batch_settings(one_thread=True):
                    training.run_one(runner, lambda: self.stopped)
            except BaseException as error:  # carried to the fits that wait, which raise it
                _give_up(own, error)
                continue
            for k, job in zip(runner.positions, own, strict=True):
                if self.stopped and not training.finished(k):
                    training.errors[k] = Interrupted("stopped by the user.")
                job.error = training.errors.get(k)
                job.done.set()


def _give_up(jobs, error):
    """Let jobs end with an error."""
    for job in jobs:
        job.error = error
        job.done.set()
