"""Training of many prepared nets at once: in populations where possible, else one by one."""

from skimb.engine.grouping import members_within, populations
from skimb.engine.lbfgs import FullBatch


class JointTraining:
    """Nets that are trained side by side, paused, thinned out and continued.

    Parameters
    ----------
    jobs : list of (EngineNet, TrainingData)
        Nets that were initialised and told that training begins.
    max_memory : int
        Bytes that the state of one population may take.
    """

    def __init__(self, jobs, max_memory):
        self.jobs = jobs
        self.errors = {}  # what the training of a job raised, by position
        self.runners = []
        at = {id(net): k for k, (net, _) in enumerate(jobs)}
        for kind, group, shared in populations(jobs):
            alone = kind is None
            size = 1 if alone else members_within(max_memory, kind, group[0], shared)
            for start in range(0, len(group), size):
                part = group[start : start + size]
                positions = [at[id(net)] for net, _ in part]
                self.runners.append(_Runner(None if alone else kind, positions, part, shared))

    @property
    def sizes(self):
        """Numbers of members that are trained together."""
        return [len(runner.positions) for runner in self.runners]

    def run(self, until=None):
        """Train all jobs to their end, or up to the epoch `until`."""
        for runner in self.runners:
            self.run_one(runner, until=until)

    def run_one(self, runner, stop=lambda: False, until=None):
        """Train the members of one runner; what a member raises is kept in `errors`."""
        try:
            runner.run(stop, until)
        except KeyboardInterrupt:  # the user's own, who waits for all of them
            raise
        except BaseException as error:  # belongs to the fits of this group, which raise it
            self.errors |= dict.fromkeys(runner.going_on(), error)
            runner.drop()
        self.errors |= runner.errors()

    def finished(self, position):
        """Whether a job needs no further training."""
        return not any(position in runner.going_on() for runner in self.runners)

    def keep(self, positions):
        """Go on with these jobs only."""
        for runner in self.runners:
            runner.keep(set(positions))


class _Runner:
    """One population, or one net alone."""

    def __init__(self, kind, positions, jobs, shared):
        self.kind = kind
        self.positions, self.jobs, self.shared = positions, jobs, shared
        self.population = None
        self.epoch = 0
        self.alone = positions[0] if len(positions) == 1 else None  # None once it has ended

    def run(self, stop, until):
        if len(self.positions) == 1:
            if self.alone is not None:
                self._run_alone(until)
            return
        if self.population is None:
            self.population = self.kind(self.jobs, self.shared)
        self.population.run(stop, until)

    def _run_alone(self, until):
        net, data = self.jobs[0]
        last = net.max_epochs if until is None else min(until, net.max_epochs)
        stopped = net.fit_alone(data, last - self.epoch)
        self.epoch = last
        if stopped or last == net.max_epochs or isinstance(net.step, FullBatch):
            self.alone = None

    def going_on(self):
        """Positions of members that have not finished."""
        if self.population is not None:
            return [self.positions[k] for k in self.population.alive]
        return self.positions if self.alone is not None or len(self.positions) > 1 else []

    def errors(self):
        """What members raised, by position."""
        found = {} if self.population is None else self.population.errors
        return {self.positions[k]: error for k, error in found.items()}

    def keep(self, positions):
        """Go on with these members only."""
        if len(self.positions) == 1:
            if self.alone not in positions:
                self.alone = None
        elif self.population is not None:
            alive = self.population.alive
            self.population.keep([k for k in alive if self.positions[k] in positions])

    def drop(self):
        """Train nobody any more."""
        self.alone = None
        if self.population is not None:
            self.population.alive = []
