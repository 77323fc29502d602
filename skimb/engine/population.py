"""Many nets of one architecture trained at once: what populations of every kind have in common.

All parameters lie in one tensor that one fused optimiser call updates. Members differ in their weights,
losses, targets, row weights, learning rates and penalties; each keeps its own history and callbacks and
stops on its own.
"""

from abc import ABC, abstractmethod

import torch

from skimb.engine.data import row_batches
from skimb.engine.net import ended_by_callback, raised_by_code
from skimb.engine.optim import Adam
from skimb.engine.steps import squeeze_outputs
from skimb.losses import Target
from skimb.losses._stack import family, stack

COPIES = 6  # parameters, gradient, two moments, scratch, rates


class Population(ABC):
    """Members of one structure, on the same rows or each on rows of its own.

    Parameters
    ----------
    jobs : list of (EngineNet, TrainingData)
        Nets that were initialised and told that training begins.
    shared : bool, default=True
        Whether all members visit the same rows in the same order.
    """

    def __init__(self, jobs, shared=True):
        self.shared = shared
        self.nets = [net for net, _ in jobs]
        self.data = [data for _, data in jobs]
        self.order = self.nets[0].order
        self.X = self.data[0].X
        self.errors = {}
        self.alive = list(range(len(jobs)))
        self.epoch = 0
        self._gather()

    # --- what kinds of populations give --------------------------------------------------------

    @classmethod
    @abstractmethod
    def takes(cls, net, data):
        """Whether a net could be a member, apart from what all populations ask for."""

    @classmethod
    @abstractmethod
    def structure(cls, net, data):
        """What members must have in common, apart from rows, batches and the rule of the update."""

    @classmethod
    @abstractmethod
    def numbers(cls, net, data):
        """Numbers that each member holds."""

    @abstractmethod
    def _copy(self, flat, tensors, *, back=False):
        """Move members' own flat tensors into the population's layout, or back."""

    @abstractmethod
    def _spread(self, values):
        """One number per member as a vector like the parameters."""

    @abstractmethod
    def _decayed(self, values, neutral):
        """One number per member for all decayed parameters, `neutral` where others lie between."""

    @abstractmethod
    def _prepare(self):
        """Make views and workspaces for the living members."""

    @abstractmethod
    def gradients(self, X, targets, window):
        """Fill the gradients of a window's members from one batch of rows; returns their losses (K,).

        `targets` holds codes and weights for each part of the members.
        """

    # --- members in one tensor -----------------------------------------------------------------

    def _gather(self):
        """Take the living members' parameters, optimiser state, losses and rows."""
        nets = [self.nets[k] for k in self.alive]
        optimizers = [net.step.optimizer for net in nets]
        values = [o.values[0] for o in optimizers]
        size = sum(v.numel() for v in values)
        new = values[0].new_zeros
        self.P, self.G = new(size), new(size)
        self._copy(self.P, values)
        first = optimizers[0]
        self.adam = isinstance(first, Adam)
        self.slots = []
        for slot in range(2 if self.adam else 1):
            state = new(size)
            self._copy(state, [o.tensors()[slot] for o in optimizers])
            self.slots.append(state)
        # members on the same rows make the same steps, others count their own
        counted = optimizers[:1] if self.shared else optimizers
        self.clocks = [o.t[0].clone() for o in counted] if self.adam else []
        self.scratch = torch.zeros_like(self.P)
        self.windows = {}
        self._prepare()
        self._rates()

    def window(self, low, high):
        """Members `low` to `high`, as they are updated together."""
        if (low, high) not in self.windows:
            self.windows[low, high] = Window(self, low, high)
        return self.windows[low, high]

    def scatter(self):
        """Write parameters and optimiser state back into the nets."""
        optimizers = [self.nets[k].step.optimizer for k in self.alive]
        self._copy(self.P, [o.values[0] for o in optimizers], back=True)
        for slot, state in enumerate(self.slots):
            self._copy(state, [o.tensors()[slot] for o in optimizers], back=True)
        if self.adam:
            clocks = self.clocks * len(optimizers) if self.shared else self.clocks
            for o, clock in zip(optimizers, clocks, strict=True):
                o.t[0].copy_(clock)

    def loss_parts(self, low, high):
        """Members in runs that share one call of their loss; positions count from `low`."""
        members = self.alive[low:high]
        keys = [loss_key(self.nets[k], self.data[k]) for k in members]
        parts, start = [], 0
        for stop in range(1, len(keys) + 1):
            if stop == len(keys) or keys[stop] != keys[start]:
                some = members[start:stop]
                bound = stack([self.nets[k].step.loss for k in some])
                parts.append(_Part(slice(start, stop), bound, [self.data[k] for k in some]))
                start = stop
        return parts

    # --- losses and updates --------------------------------------------------------------------

    @staticmethod
    def losses(z, targets, window):
        """Losses (K,) and their gradient in the outputs (K, n, C)."""
        losses, d, n = z.new_empty(len(z)), None, float(z.shape[1])
        for part, (target, weight) in zip(window.parts, targets, strict=True):
            scores = z[part.members] if part.several else z[part.members.start]
            scores = squeeze_outputs(scores, target.code).contiguous()
            losses[part.members], grad = part.bound.loss_grad(scores, target, weight, n)
            if len(window.parts) == 1:
                return losses, grad.reshape(z.shape)
            if d is None:
                d = z.new_empty(z.shape)
            whole = d[part.members]
            whole.copy_(grad.reshape(whole.shape))
        return losses, d

    def _rates(self):
        """Learning rates and penalties of members as vectors in the layout of the parameters."""
        nets = [self.nets[k] for k in self.alive]
        self.lrs = [net.optimizer_.lr for net in nets]
        optimizers = [net.step.optimizer for net in nets]
        self.uniform = len(set(self.lrs)) == 1
        self.rate = self.lrs[0] if self.uniform else self._spread(self.lrs)
        l2 = [o.l2 for o in optimizers]
        decay = [1.0 - lr * o.decay for lr, o in zip(self.lrs, optimizers, strict=True)]
        self.l2 = self._decayed(l2, 0.0) if any(l2) else None
        self.decay = self._decayed(decay, 1.0) if any(o.decay for o in optimizers) else None

    def _step(self, X, targets, window):
        losses = self.gradients(X, targets, window)
        P, G, slots = window.flats
        rate = self.rate if self.uniform else self.rate[window.flat]
        if self.l2 is not None:
            n = min(len(self.l2), len(P))
            G[:n].addcmul_(window.of(self.l2), P[:n])
        if self.decay is not None:
            P[: min(len(self.decay), len(P))].mul_(window.of(self.decay))
        optimizer = self.nets[self.alive[0]].step.optimizer
        if not self.adam:
            (v,) = slots
            v.mul_(optimizer.momentum)
            torch.sub(v, G * rate, out=v)
            if optimizer.nesterov:
                P.add_(v, alpha=optimizer.momentum).sub_(G * rate)
            else:
                P.add_(v)
            return losses
        for clock in window.clocks:
            clock += 1.0
        if not self.uniform:  # with members' own rates the fused call writes steps of rate 1
            window.scratch.zero_()
        torch._fused_adam_(
            window.values if self.uniform else window.steps,
            window.grads,
            *window.moments,
            [],
            window.clocks,
            lr=rate if self.uniform else 1.0,
            beta1=optimizer.betas[0],
            beta2=optimizer.betas[1],
            weight_decay=0.0,
            eps=optimizer.eps,
            amsgrad=False,
            maximize=False,
        )
        if not self.uniform:
            P.addcmul_(window.scratch, rate)
        return losses

    # --- epochs --------------------------------------------------------------------------------

    @torch.no_grad()
    def run(self, stop=lambda: False, until=None):
        """Train until every member has finished, or up to the epoch `until`; may be called again.

        `stop` is asked before each epoch. Afterwards the nets hold their weights.
        """
        while self.alive and not stop() and (until is None or self.epoch < until):
            self._each(
                lambda net, data: net.notify(
                    "on_epoch_begin", dataset_train=data, dataset_valid=None
                )
            )
            self._finish_some()
            if not self.alive:
                break
            epoch = self._shared_epoch() if self.shared else self._own_epoch()
            for k, (losses, sizes) in zip(self.alive, epoch, strict=True):
                self.nets[k].record_epoch(losses, sizes, "train")
            if any(self.nets[k].watches_weights() for k in self.alive):
                self.scatter()
            self._each(
                lambda net, data: net.notify("on_epoch_end", dataset_train=data, dataset_valid=None)
            )
            self.epoch += 1
            self.done |= {k for k in self.alive if self.epoch >= self.nets[k].max_epochs}
            self._finish_some()
            if self.alive and [self.nets[k].optimizer_.lr for k in self.alive] != self.lrs:
                self._rates()
        if self.alive:
            self.scatter()

    def keep(self, members):
        """Go on with these members only."""
        self.done = set(self.alive) - set(members)
        self._finish_some()

    def _shared_epoch(self):
        """Losses and sizes of the batches of each member, all on the same rows."""
        index, sizes = self.order.next()
        state = self.order.generator.get_state()
        for net in self.nets[1:]:  # so that going on later draws what it would have drawn
            net.order.generator.set_state(state)
        window = self._current_window(0, len(self.alive))
        targets = [part.rows(index) for part in window.parts]
        losses, start = [], 0
        for X, size in zip(row_batches(self.X, index, sizes), sizes, strict=True):
            rows = slice(start, start + size)
            batch = [part.batch(one, rows) for part, one in zip(window.parts, targets, strict=True)]
            losses.append(self._step(X, batch, window))
            start += size
        by_member = torch.stack(losses, 1).tolist()
        return [(own, sizes) for own in by_member]

    def _own_epoch(self):
        """The same with rows of its own for each member, which may be differently many.

        Members are sorted by falling number of rows, so that those with a whole batch left are the first
        ones; last batches are made by members that have the same number left.
        """
        rows, sizes = [], []
        for k in self.alive:
            index, own_sizes = self.nets[k].order.next()
            data = self.data[k]
            own = (data.X, data.target.code, data.target.cost, data.weight)
            rows.append([None if t is None else _rows(t, index) for t in own])
            sizes.append(own_sizes)
        found, starts = [[] for _ in self.alive], [0] * len(self.alive)
        for step in range(max(len(own) for own in sizes)):
            now = [own[step] if step < len(own) else 0 for own in sizes]
            low = 0
            while low < len(now):
                size, high = now[low], low + 1
                while high < len(now) and now[high] == size:
                    high += 1
                if size:
                    window = self._current_window(low, high)
                    own = [
                        [None if t is None else t[start : start + size] for t in one]
                        for one, start in zip(rows[low:high], starts[low:high], strict=True)
                    ]
                    X = torch.stack([one[0] for one in own])
                    losses = self._step(X, window.targets(own), window)
                    for kept, loss in zip(found[low:high], losses.tolist(), strict=True):
                        kept.append(loss)
                low = high
            starts = [start + size for start, size in zip(starts, now, strict=True)]
        return list(zip(found, sizes, strict=True))

    def _current_window(self, low, high):
        """The window, with the weights and losses that are in force for its members."""
        window = self.window(low, high)
        now = self.in_force(low, high)
        if any(a is not b for a, b in zip(now, window.in_force, strict=True)):
            window.parts, window.in_force = self.loss_parts(low, high), now
        return window

    def in_force(self, low, high):
        """Weights and losses of the members now, which schedules may have replaced."""
        members = self.alive[low:high]
        return [self.data[k].weight for k in members] + [self.nets[k].step.loss for k in members]

    def _each(self, call):
        """Run something for each living member; what one raises ends that member alone."""
        self.done = set()
        for k in self.alive:
            try:
                call(self.nets[k], self.data[k])
            except KeyboardInterrupt as signal:
                if not raised_by_code(signal):
                    raise
                self.nets[k].interrupted = not ended_by_callback(signal)
                self.done.add(k)
            except BaseException as error:  # carried to this member's caller, who raises it
                self.errors[k] = error
                self.done.add(k)

    def _finish_some(self):
        """Let members go that have stopped, failed, or trained all their epochs; compact the rest."""
        if not self.done:
            return
        self.scatter()
        self.alive = [k for k in self.alive if k not in self.done]
        if self.alive:
            self._gather()


class Window:
    """Neighbouring members of a population: their losses, and their parts of its flat tensors.

    A population on shared rows has one window. Where members have their own rows, each member's parameters
    are contiguous, so that those of a window are too.
    """

    def __init__(self, population, low, high):
        self.low, self.high = low, high
        self.members = high - low
        self.parts = population.loss_parts(low, high)
        self.in_force = population.in_force(low, high)
        total = len(population.alive)
        size = len(population.P) // total
        self.flat = slice(low * size, high * size)
        self.flats = (
            population.P[self.flat],
            population.G[self.flat],
            [slot[self.flat] for slot in population.slots],
        )
        self.scratch = population.scratch[self.flat]
        one = len(population.clocks) <= 1 or self.members == 1
        self.clocks = population.clocks[low:high] if population.clocks[1:] else population.clocks
        P, G, slots = self.flats
        each = [
            [t] if one else list(t.view(self.members, -1)) for t in (P, G, *slots, self.scratch)
        ]
        self.values, self.grads, *self.moments, self.steps = each
        self.chain = None  # what a kind of population keeps for its windows

    def of(self, vector):
        """The window's part of a vector over all parameters, or over the first ones of one window."""
        return vector[self.flat]

    def targets(self, rows):
        """Targets and weights of a batch for each run of members, from members' own rows."""
        found = []
        for run in self.parts:
            code, cost, weight = (
                _stacked([one[column] for one in rows[run.members]]) for column in (1, 2, 3)
            )
            found.append((Target(code, cost), weight))
        return found


def _stacked(tensors):
    if tensors[0] is None or len(tensors) == 1:
        return tensors[0]
    return torch.stack(tensors)


class _Part:
    """Members whose losses are one call: their targets and weights, with an axis for members if several."""

    def __init__(self, members, bound, data):
        self.members, self.bound = members, bound
        self.several = len(data) > 1
        self.data = data
        self.columns = None

    def rows(self, index):
        """Targets and weights of an epoch in the order of all members."""
        if self.columns is None:
            fields = zip(
                *((d.target.code, d.target.cost, d.weight) for d in self.data), strict=True
            )
            self.columns = [None if field[0] is None else _Column(field) for field in fields]
        return [None if column is None else column.rows(index) for column in self.columns]

    def batch(self, epoch, rows):
        """Targets, and weights or None, of a batch."""
        code, cost, weight = (
            None if column is None else column.batch(one, rows)
            for column, one in zip(self.columns, epoch, strict=True)
        )
        return Target(code, cost), weight


class _Column:
    """Members' targets or weights: one tensor where all are the same."""

    def __init__(self, tensors):
        first = tensors[0]
        self.members = len(tensors)
        self.same = all(one_memory(t, first) or torch.equal(t, first) for t in tensors[1:])
        self.tensor = first if self.same else torch.stack(tensors)

    def rows(self, index):
        """In the order of an epoch."""
        if index is None:
            return self.tensor
        return self.tensor.index_select(0 if self.same else 1, index.to(self.tensor.device))

    def batch(self, epoch, rows):
        """The part of a batch, contiguous, with an axis for members if there are several."""
        if not self.same:
            return epoch[:, rows].contiguous()
        part = epoch[rows]
        return part if self.members == 1 else part.expand(self.members, *part.shape).contiguous()


def _rows(tensor, index):
    return tensor if index is None else tensor.index_select(0, index.to(tensor.device))


def one_memory(a, b):
    """Whether two tensors are the same numbers in the same place."""
    if a is b:
        return True
    same = a.data_ptr() == b.data_ptr() and a.shape == b.shape
    return same and a.stride() == b.stride() and a.dtype == b.dtype


def loss_key(net, data):
    """What members must have in common to share one call of the loss."""
    code, weight = data.target.code, data.weight
    return (
        family(net.step.loss),
        code.dtype,
        code.ndim,
        data.target.cost is None,
        None if weight is None else (weight.dtype, weight.ndim),
    )
