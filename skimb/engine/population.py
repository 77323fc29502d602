"""Many nets of one architecture trained at once: what populations of every kind have in common.

All parameters lie in one tensor that one fused optimiser call updates. Members differ in their weights,
losses, targets, row weights, learning rates and penalties; each keeps its own history and callbacks and
stops on its own.
"""

from abc import ABC, abstractmethod

import torch

from skimb.engine.data import row_batches
from skimb.engine.net import ended_by_callback
from skimb.engine.optim import Adam
from skimb.engine.steps import squeeze_outputs
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
    def step(self, X, targets):
        """Update all members from one batch of rows; returns their losses (K,).

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
        self.clock = first.t[0].clone() if self.adam else None
        self.scratch = torch.zeros_like(self.P)
        self.parts = self._loss_parts()
        self._prepare()
        self._rates()

    def scatter(self):
        """Write parameters and optimiser state back into the nets."""
        optimizers = [self.nets[k].step.optimizer for k in self.alive]
        self._copy(self.P, [o.values[0] for o in optimizers], back=True)
        for slot, state in enumerate(self.slots):
            self._copy(state, [o.tensors()[slot] for o in optimizers], back=True)
        if self.adam:
            for o in optimizers:
                o.t[0].copy_(self.clock)

    def _loss_parts(self):
        """Members in runs that share one call of their loss."""
        keys = [loss_key(self.nets[k], self.data[k]) for k in self.alive]
        self.weights_seen = [self.data[k].weight for k in self.alive]
        parts, start = [], 0
        for stop in range(1, len(keys) + 1):
            if stop == len(keys) or keys[stop] != keys[start]:
                members = self.alive[start:stop]
                bound = stack([self.nets[k].step.loss for k in members])
                parts.append(_Part(slice(start, stop), bound, [self.data[k] for k in members]))
                start = stop
        return parts

    # --- losses and updates --------------------------------------------------------------------

    def _losses(self, z, targets, n):
        """Losses (K,) and their gradient in the outputs (K, n, C)."""
        losses, d = z.new_empty(len(z)), None
        for part, (code, weight) in zip(self.parts, targets, strict=True):
            scores = z[part.members] if part.several else z[part.members.start]
            scores = squeeze_outputs(scores, code).contiguous()
            losses[part.members], grad = part.bound.loss_grad(scores, code, weight, n)
            if len(self.parts) == 1:
                return losses, grad.reshape(z.shape)
            if d is None:
                d = torch.empty(z.shape, dtype=z.dtype)
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

    def _update(self):
        if self.l2 is not None:
            n = len(self.l2)
            self.G[:n].addcmul_(self.l2, self.P[:n])
        if self.decay is not None:
            self.P[: len(self.decay)].mul_(self.decay)
        optimizer = self.nets[self.alive[0]].step.optimizer
        if not self.adam:
            (v,) = self.slots
            v.mul_(optimizer.momentum)
            torch.sub(v, self.G * self.rate, out=v)
            if optimizer.nesterov:
                self.P.add_(v, alpha=optimizer.momentum).sub_(self.G * self.rate)
            else:
                self.P.add_(v)
            return
        self.clock += 1.0
        # with members' own rates the fused call writes steps of rate 1 into a scratch tensor
        target = self.P if self.uniform else self.scratch.zero_()
        torch._fused_adam_(
            [target],
            [self.G],
            [self.slots[0]],
            [self.slots[1]],
            [],
            [self.clock],
            lr=self.rate if self.uniform else 1.0,
            beta1=optimizer.betas[0],
            beta2=optimizer.betas[1],
            weight_decay=0.0,
            eps=optimizer.eps,
            amsgrad=False,
            maximize=False,
        )
        if not self.uniform:
            self.P.addcmul_(target, self.rate)

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
            now = [self.data[k].weight for k in self.alive]
            if any(a is not b for a, b in zip(now, self.weights_seen, strict=True)):
                self.parts = self._loss_parts()  # deferred re-weighting has set in
            losses, sizes = self._epoch()
            for column, k in enumerate(self.alive):
                self.nets[k].record_epoch(losses[:, column].tolist(), sizes, "train")
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

    def _epoch(self):
        indices = self._indices()
        sizes = indices[0][1]
        targets = [part.rows([i for i, _ in indices[part.members]]) for part in self.parts]
        losses, start = [], 0
        for X, size in zip(self._batches(indices, sizes), sizes, strict=True):
            rows = slice(start, start + size)
            batch = [part.batch(one, rows) for part, one in zip(self.parts, targets, strict=True)]
            losses.append(self.step(X, batch))
            start += size
        return torch.stack(losses), sizes

    def _batches(self, indices, sizes):
        """Rows of each batch: (n, d), or (K, n, d) where members have their own."""
        if self.shared:
            yield from row_batches(self.X, indices[0][0], sizes)
            return
        rows = [self.data[k].X for k in self.alive]
        X = torch.stack([_rows(x, i) for x, (i, _) in zip(rows, indices, strict=True)])
        yield from X.split(sizes, 1)

    def _indices(self):
        """Order of rows and batch sizes of each living member."""
        if not self.shared:
            return [self.nets[k].order.next() for k in self.alive]
        drawn = self.order.next()
        for net in self.nets[1:]:  # so that going on later draws what it would have drawn
            net.order.generator.set_state(self.order.generator.get_state())
        return [drawn] * len(self.alive)

    def _each(self, call):
        """Run something for each living member; what one raises ends that member alone."""
        self.done = set()
        for k in self.alive:
            try:
                call(self.nets[k], self.data[k])
            except KeyboardInterrupt as signal:
                if not ended_by_callback(signal):
                    raise
                self.done.add(k)
            except Exception as error:
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


class _Part:
    """Members whose losses are one call: their targets and weights, with an axis for members if several."""

    def __init__(self, members, bound, data):
        self.members, self.bound = members, bound
        self.several = len(data) > 1
        weights = [d.weight for d in data]
        self.columns = [_Column([d.code for d in data])]
        if weights[0] is not None:
            self.columns.append(_Column(weights))

    def rows(self, indices):
        """Targets and weights of an epoch in the orders of its members."""
        return [column.rows(indices) for column in self.columns]

    def batch(self, epoch, rows):
        """Targets, and weights or None, of a batch."""
        found = [c.batch(one, rows) for c, one in zip(self.columns, epoch, strict=True)]
        return found if len(found) == 2 else (found[0], None)


class _Column:
    """Members' targets or weights: one tensor where all are the same."""

    def __init__(self, tensors):
        first = tensors[0]
        self.members = len(tensors)
        self.same = all(one_memory(t, first) or torch.equal(t, first) for t in tensors[1:])
        self.tensor = first if self.same else torch.stack(tensors)

    def rows(self, indices):
        """In the orders of an epoch, and whether that is still one for all."""
        first = indices[0]
        one_order = all(i is first for i in indices)
        if self.same and one_order:
            return _rows(self.tensor, first), True
        if one_order:
            return (self.tensor if first is None else self.tensor.index_select(1, first)), False
        tensors = [self.tensor] * self.members if self.same else self.tensor
        return torch.stack([_rows(t, i) for t, i in zip(tensors, indices, strict=True)]), False

    def batch(self, epoch, rows):
        """The part of a batch, contiguous, with an axis for members if there are several."""
        tensor, same = epoch
        if not same:
            return tensor[:, rows].contiguous()
        part = tensor[rows]
        return part if self.members == 1 else part.expand(self.members, *part.shape).contiguous()


def _rows(tensor, index):
    return tensor if index is None else tensor.index_select(0, index)


def one_memory(a, b):
    """Whether two tensors are the same numbers in the same place."""
    same = a.data_ptr() == b.data_ptr() and a.shape == b.shape
    return same and a.stride() == b.stride() and a.dtype == b.dtype


def loss_key(net, data):
    """What members must have in common to share one call of the loss."""
    code, weight = data.code, data.weight
    return (
        family(net.step.loss),
        code.dtype,
        code.ndim,
        None if weight is None else (weight.dtype, weight.ndim),
    )
