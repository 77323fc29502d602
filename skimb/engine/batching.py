"""Bring fits that run at the same time together and train them as populations."""

import threading
import time

import torch

from skimb.engine.grouping import kind_of
from skimb.engine.joint import JointTraining
from skimb.engine.net import share_training
from skimb.engine.runtime import small_batch_settings

_AT_WORK = 4  # tasks that prepare at the same time, each with a copy of its rows
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


class Coordinator:
    """Collects jobs of concurrent tasks and trains them when all tasks wait.

    Parameters
    ----------
    max_memory : int
        Bytes of the state of a population, and of the training rows that waiting tasks may hold; beyond
        the latter no further task begins.
    """

    def __init__(self, max_memory):
        self.max_memory = max_memory
        self.slots = threading.Semaphore(_AT_WORK)
        self.working = 0  # tasks that have begun and do not wait
        self.held = 0  # bytes of the rows of those that wait
        self.news = threading.Condition()
        self.mine = threading.local()
        self.tasks = 0
        self.jobs = []
        self.last = 0.0
        self.stopped = False
        self.sizes = []
        self.thread = threading.Thread(target=self._loop, daemon=True, name="skimb-populations")

    # --- called by tasks -----------------------------------------------------------------------

    def enter(self):
        """A task is on its way."""
        with self.news:
            self.tasks += 1
            self.last = time.perf_counter()

    def begin(self):
        """A task begins, when there is room for its rows."""
        self.slots.acquire()
        with self.news:
            self.news.wait_for(lambda: self.stopped or self.held < self.max_memory)
            self.working += 1
        self.mine.task = self.mine.slot = True

    def _rest(self):
        """Let another task begin in place of this one."""
        if getattr(self.mine, "slot", False):
            self.mine.slot = False
            self.slots.release()

    def leave(self):
        """A task has ended."""
        self.mine.task = False
        self._rest()
        with self.news:
            self.tasks -= 1
            self.working -= 1
            self._notify()

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
        """The task goes on."""
        with self.news:
            self.tasks += 1
            self.working += 1

    def _notify(self):
        self.last = time.perf_counter()
        self.news.notify_all()

    def takes(self, net, data):
        """Whether the training of a net can wait here for others."""
        return threading.current_thread() is not self.thread and kind_of(net, data) is not None

    def train(self, net, data):
        """Wait until a net has been trained; raises what its training raised."""
        job = Job(net, data)
        task = int(getattr(self.mine, "task", False))
        self._rest()
        with self.news:
            if self.stopped:
                raise Interrupted("the block of batched fits has ended.")
            self.jobs.append(job)
            self.held += job.bytes
            self.working -= task
            self._notify()
        job.done.wait()
        with self.news:
            self.held -= job.bytes
            self.working += task
            self._notify()
        if job.error is not None:
            raise job.error

    # --- the thread that trains ----------------------------------------------------------------

    def __enter__(self):
        share_training(self)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        with self.news:
            self.stopped = True
            self.news.notify_all()
        self.thread.join()
        share_training(None)

    def _ready(self):
        """Jobs to train now: all tasks wait, or a fit outside any task does."""
        if not self.jobs:
            return False
        if self.held >= self.max_memory and self.working == 0:
            return True
        if len(self.jobs) < self.tasks:
            return False
        return self.tasks == 0 or time.perf_counter() - self.last > _LINGER

    def _loop(self):
        torch.set_flush_denormal(True)  # a setting of the thread
        while True:
            with self.news:
                while not self.stopped and not self._ready():
                    self.news.wait(_LINGER if self.jobs else None)
                jobs, self.jobs = self.jobs, []
                if self.stopped:
                    for job in jobs:
                        job.error = Interrupted("the block of batched fits has ended.")
                        job.done.set()
                    return
            self._train(jobs)

    def _train(self, jobs):
        training = JointTraining([(job.net, job.data) for job in jobs], self.max_memory)
        self.sizes += training.sizes
        for runner in training.runners:
            with small_batch_settings(one_thread=True):
                training.run_one(runner, lambda: self.stopped)
            for k in runner.positions:
                if self.stopped and not training.finished(k):
                    training.errors[k] = Interrupted("stopped by the user.")
                jobs[k].error = training.errors.get(k)
                jobs[k].done.set()
