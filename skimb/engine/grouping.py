"""Which nets can be trained as one population, and the training of many prepared nets at once."""

import torch

from skimb.engine.bank import loss_key, same_numbers
from skimb.engine.data import Blocks
from skimb.engine.net import Training, shared_training
from skimb.engine.signals import ended_by_callback, raised_by_code
from skimb.losses._base import unserved

#: what a population offers to losses
SERVES = frozenset({"batch", "every class", "memory"})
MAX_MEMORY = 2**30  # bytes of the state of a population
_FEW = 4  # members from which a group on the same rows is worth a population of its own


def structure(net, data):
    """What the members of one population must have in common, apart from their rows; None for single nets."""
    step, order = net.step, net.order
    if step.drives_epochs or step.scheme is not None or step.notify is not None:
        return None
    rule = step.optimizer.key()
    if rule is None or unserved(step.loss, SERVES):
        return None
    if order.sampler is not None or net.watches_batches():
        return None
    parts = step.backend.structure(data)
    if parts is None:
        return None
    value = step.optimizer.values[0]
    batches = (order.batch_size, order.shuffle, order.every_class)
    settles = not step.backend.whole_gradient and net.settles()
    return (parts, str(value.dtype), str(value.device), rule, batches, settles)


def _same_rows(a, b):
    """Whether two jobs visit equal rows in the same order."""
    (net_a, data_a), (net_b, data_b) = a, b
    one, two = net_a.order, net_b.order
    if one.n != two.n or one.generator.initial_seed() != two.generator.initial_seed():
        return False
    if not torch.equal(one.generator.get_state(), two.generator.get_state()):
        return False
    if one.every_class and not (one.classes == two.classes).all():
        return False
    if isinstance(data_a.X, Blocks):
        pairs = zip(data_a.X.blocks.values(), data_b.X.blocks.values(), strict=True)
        return all(same_numbers(*pair) for pair in pairs)
    if data_a.sparse:
        return data_a.X is data_b.X or _same_csr(data_a.X, data_b.X)
    return same_numbers(data_a.X, data_b.X)


def _same_csr(a, b):
    if a.shape != b.shape or a.nnz != b.nnz:
        return False
    pairs = zip((a.indptr, a.indices, a.data), (b.indptr, b.indices, b.data), strict=True)
    return all(x is y or (x == y).all() for x, y in pairs)


def groups_of(jobs):
    """Sort jobs into groups to train: (members, whether they share their rows)."""
    alike, groups = {}, []
    for job in jobs:
        key = structure(*job)
        if key is None:
            groups.append(([job], True))
        else:
            alike.setdefault(key, []).append(job)
    for some in alike.values():
        net, data = some[0]
        if len(some) == 1 or not net.step.backend.layout.works(net, data):
            groups += [([job], True) for job in some]
            continue
        for group, shared in _by_rows(some):
            members = _by_loss(group)
            if not shared:  # see Trainer
                members.sort(key=lambda job: -len(job[1]))
            groups.append((members, shared))
    return groups


def _by_rows(alike):
    """Groups on the same rows; the few that are left have rows of their own."""
    found, groups, alone = [], [], []
    for job in alike:
        for group in found:
            if _same_rows(group[0], job):
                group.append(job)
                break
        else:
            found.append([job])
    for group in found:
        if len(group) >= _FEW or group[0][1].sparse:
            groups.append((group, True))
        else:
            alone += group
    return [*groups, (alone, False)] if alone else groups


def _by_loss(jobs):
    """Jobs whose losses can share a call side by side."""
    kinds = {}
    for job in jobs:
        kinds.setdefault(loss_key(*job), []).append(job)
    return [job for kind in kinds.values() for job in kind]


def members_within(max_memory, job, shared):
    """Members that a population may have: a fixed function of shapes and of the bytes allowed."""
    net, data = job
    if net.step.drives_epochs or net.step.backend.layout is None:
        return 1
    numbers = net.step.backend.layout.numbers(net, data)
    if not shared:  # every member's rows are copied into the order of the epoch
        numbers += 2 * data.nbytes // net.step.optimizer.values[0].element_size()
    return max(1, max_memory // (numbers * net.step.optimizer.values[0].element_size()))


def train_together(jobs, max_memory=MAX_MEMORY):
    """Train the nets of one fit side by side, from telling them that training begins to its end.

    In a block of shared fits they are trained there. An interruption ends training and is remembered by nets that
    had not finished.

    Parameters
    ----------
    jobs : list of (EngineNet, TrainingData)
        Nets that were initialised.
    max_memory : int, default=2**30
        Bytes that the state of one population may take.
    """
    for net, data in jobs:
        net.notify("on_train_begin", X=data, y=None)
    shared = shared_training()
    if shared is not None and all(shared.takes(*job) for job in jobs):
        shared.train(jobs)
    else:
        training = JointTraining(jobs, max_memory)
        try:
            training.run()
        except KeyboardInterrupt as signal:
            for k, (net, _) in enumerate(jobs):
                if not training.finished(k):
                    net.interrupted = not ended_by_callback(signal)
        for error in training.errors.values():
            raise error
    for net, data in jobs:
        net.notify("on_train_end", X=data, y=None)


class JointTraining:
    """Nets that are trained side by side, in populations where possible, paused, thinned out and continued.

    Parameters
    ----------
    jobs : list of (EngineNet, TrainingData)
        Nets that were initialised and told that training begins.
    max_memory : int
        Bytes that the state of one population may take.
    """

    def __init__(self, jobs, max_memory):
        self.errors = {}  # what the training of a job raised, by position
        self.runners = []
        at = {id(net): k for k, (net, _) in enumerate(jobs)}
        for group, shared in groups_of(jobs):
            size = 1 if len(group) == 1 else members_within(max_memory, group[0], shared)
            for start in range(0, len(group), size):
                part = group[start : start + size]
                self.runners.append(_Runner([at[id(net)] for net, _ in part], part, shared))

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
        except KeyboardInterrupt as signal:
            if not raised_by_code(signal):
                raise  # the user's own, who waits for all of them
            self.errors |= dict.fromkeys(runner.going_on(), signal)
            runner.keep(set())
        except BaseException as error:  # belongs to the fits of this group, which raise it
            self.errors |= dict.fromkeys(runner.going_on(), error)
            runner.keep(set())
        self.errors |= runner.errors()

    def finished(self, position):
        """Whether a job needs no further training."""
        return not any(position in runner.going_on() for runner in self.runners)

    def keep(self, positions):
        """Go on with these jobs only."""
        for runner in self.runners:
            runner.keep(set(positions))


class _Runner:
    """One training, made when it first runs, of jobs at some positions."""

    def __init__(self, positions, jobs, shared):
        self.positions, self.jobs, self.shared = positions, jobs, shared
        self.training = None
        self.given_up = False

    def run(self, stop, until):
        if self.given_up:
            return
        if self.training is None:
            self.training = Training(self.jobs, self.shared)
        self.training.run(stop, until)

    def going_on(self):
        """Positions of members that have not finished."""
        if self.given_up:
            return []
        if self.training is None:
            return self.positions
        return [self.positions[k] for k in self.training.alive]

    def errors(self):
        """What members raised, by position."""
        found = {} if self.training is None else self.training.errors
        return {self.positions[k]: error for k, error in found.items()}

    def keep(self, positions):
        """Go on with these members only."""
        kept = [k for k, position in enumerate(self.positions) if position in positions]
        if not kept:
            self.given_up = True
        elif self.training is not None:
            self.training.keep(kept)
