"""Parameters, gradients and moments of one net or of the members of a population, in one storage.

A bank of one net lends the net's own storage: nothing is copied, and its training step is the net's. A bank of
several members copies them into one tensor that one fused call updates. Members differ in their weights, losses,
targets, row weights, learning rates and penalties.
"""

import torch

from skimb.engine.data import row_batches
from skimb.engine.optim import clip, penalise
from skimb.engine.step import mean_of_members, observe, squeeze_outputs
from skimb.losses import Target
from skimb.losses._stack import family, stack


class Bank:
    """The living members of a training, and what moves them.

    Parameters
    ----------
    jobs : list of (EngineNet, TrainingData)
        Nets that were initialised and told that training begins; several must have a common structure.
    shared : bool, default=True
        Whether all members visit the same rows in the same order.
    """

    def __init__(self, jobs, shared=True):
        self.shared = shared
        self.nets = [net for net, _ in jobs]
        self.data = [data for _, data in jobs]
        self.alive = list(range(len(jobs)))
        self.lent = len(jobs) == 1
        self.errors = {}
        self.lrs = []
        if not self.lent:
            self._gather()

    def _gather(self):
        """Copy the living members' parameters, optimiser state and tables into one storage."""
        nets = [self.nets[k] for k in self.alive]
        optimizers = [net.step.optimizer for net in nets]
        kind = nets[0].step.backend.layout
        self.layout = kind(nets, [self.data[k] for k in self.alive], self.shared)
        values = [o.values[0] for o in optimizers]
        size = sum(v.numel() for v in values)
        self.P, self.G = values[0].new_zeros(size), values[0].new_zeros(size)
        self.layout.copy(self.P, values)
        self.slots = []
        for slot in range(optimizers[0].rule.slots):
            self.slots.append(values[0].new_zeros(size))
            self.layout.copy(self.slots[-1], [o.rule.state[slot][0] for o in optimizers])
        # members on the same rows make the same steps, others count their own
        counted = optimizers[:1] if self.shared else optimizers
        self.clocks = [c.clone() for o in counted for c in o.rule.clocks]
        self.scratch = torch.zeros_like(self.P)
        self.layout.prepare(self.P)
        self.windows = {}
        self.refresh_rates()

    def refresh_rates(self):
        """Take the learning rates and penalties that the living members have now."""
        if self.lent:
            return
        optimizers = [self.nets[k].step.optimizer for k in self.alive]
        self.lrs = [self.nets[k].optimizer_.lr for k in self.alive]
        self.uniform = len(set(self.lrs)) == 1
        self.rate = self.lrs[0] if self.uniform else self.layout.spread(self.P, self.lrs)
        l2 = [o.l2 for o in optimizers]
        kept = [1.0 - lr * o.decay for lr, o in zip(self.lrs, optimizers, strict=True)]
        self.l2 = self.layout.decayed(self.P, l2, 0.0) if any(l2) else 0.0
        decays = any(o.decay for o in optimizers)
        self.kept = self.layout.decayed(self.P, kept, 1.0) if decays else 1.0
        self.layout.rates(self.lrs)

    def rates_changed(self):
        """Whether a schedule has given a member another learning rate."""
        return not self.lent and [self.nets[k].optimizer_.lr for k in self.alive] != self.lrs

    def step(self, low, high):
        """The training step of members `low` to `high`, which have batches of one size."""
        if self.lent:
            return self.nets[0].step
        if (low, high) not in self.windows:
            self.windows[low, high] = Window(self, low, high)
        window = self.windows[low, high]
        window.refresh()
        return window

    def settle(self):
        """Finish updates that members' callbacks would have finished if each were trained alone."""
        if not self.lent and self.nets[self.alive[0]].settles():
            self.layout.settle()

    def scatter(self):
        """Write parameters and optimiser state back into the nets."""
        if self.lent:
            return
        optimizers = [self.nets[k].step.optimizer for k in self.alive]
        self.layout.copy(self.P, [o.values[0] for o in optimizers], back=True)
        for slot, state in enumerate(self.slots):
            self.layout.copy(state, [o.rule.state[slot][0] for o in optimizers], back=True)
        if self.clocks:
            clocks = self.clocks * len(optimizers) if self.shared else self.clocks
            for o, clock in zip(optimizers, clocks, strict=True):
                o.rule.clocks[0].copy_(clock)
        self.layout.scatter()

    def release(self, members):
        """Let members go and close the ranks of the others."""
        if not members:
            return
        self.scatter()
        self.alive = [k for k in self.alive if k not in members]
        if self.alive:
            self._gather()


class Window:
    """The training step of neighbouring members: their parts of the storage, and their losses.

    A population on shared rows has one window. Where members have their own rows, each member's parameters
    are contiguous, so that those of a window are too.
    """

    def __init__(self, bank, low, high):
        self.bank, self.low, self.high = bank, low, high
        size = len(bank.P) // len(bank.alive)
        self.flat = slice(low * size, high * size)
        P, G, scratch, *slots = (t[self.flat] for t in (bank.P, bank.G, bank.scratch, *bank.slots))
        self.P, self.scratch = P, scratch
        members = high - low
        # members that count their own steps are tensors of their own for the fused call
        one = len(bank.clocks) <= 1 or members == 1
        self.clocks = bank.clocks[low:high] if bank.clocks[1:] else bank.clocks
        values, grads, self.steps, *state = (
            [t] if one else list(t.view(members, -1)) for t in (P, G, scratch, *slots)
        )
        optimizer = bank.nets[bank.alive[low]].step.optimizer
        cuts = [bank.layout.matrices(t, members) for t in (P, G, scratch, *slots)]
        self.rule = optimizer.joint_rule(values, grads, state, self.clocks, cuts)
        self.max_norm, self.rows = optimizer.max_norm, members * len(optimizer.grads[0])
        self.backend = bank.layout.backend(P, G, low, high)
        self.grad = G
        self.in_force = None

    def refresh(self):
        """Take the weights and losses that are in force for the members, which schedules may have replaced."""
        members = self.bank.alive[self.low : self.high]
        now = [self.bank.data[k].weight for k in members]
        now += [self.bank.nets[k].step.loss for k in members]
        if self.in_force is not None and all(
            a is b for a, b in zip(now, self.in_force, strict=True)
        ):
            return
        self.in_force, self.parts, start = now, [], 0
        keys = [loss_key(self.bank.nets[k], self.bank.data[k]) for k in members]
        for stop in range(1, len(keys) + 1):
            if stop == len(keys) or keys[stop] != keys[start]:
                self.parts.append(Part(self.bank, slice(start, stop), members[start:stop]))
                start = stop

    def __call__(self, X, targets):
        """Update the members by one batch; `targets` holds a Target and weights for each part."""
        z = self.backend.forward(X)
        losses, d = self._losses(z, targets)
        self.backend.backward(d)
        self._update()
        for part, own in zip(self.parts, targets, strict=True):
            part.observe(z, *own)
        return losses

    def _losses(self, z, targets):
        """Losses (K,) and their gradient in the scores (K, n, C)."""
        losses, d = z.new_empty(len(z)), None
        for part, (target, weight) in zip(self.parts, targets, strict=True):
            scores = part.scores(z, target)
            losses[part.members], grad = part.loss_grad(scores, target, weight)
            if len(self.parts) == 1:
                return losses, grad.reshape(z.shape)
            if d is None:
                d = z.new_empty(z.shape)
            whole = d[part.members]
            whole.copy_(grad.reshape(whole.shape))
        return losses, d

    def _update(self):
        bank = self.bank
        if self.max_norm is not None:
            clip(self.grad.view(self.rows, -1), self.max_norm)
        if torch.is_tensor(bank.l2) or torch.is_tensor(bank.kept):
            l2, kept = (t[self.flat] if torch.is_tensor(t) else t for t in (bank.l2, bank.kept))
            n = min(len(t) for t in (l2, kept, self.P) if torch.is_tensor(t))
            penalise([(self.P[:n], self.grad[:n])], l2, kept)
        if bank.uniform:
            self.rule.update(bank.rate)
            return
        rate = bank.rate[self.flat]
        if self.clocks:  # the fused call knows one rate: it writes steps of rate 1
            self.rule.update(1.0, scratch=self.steps)
            self.P.addcmul_(self.scratch, rate)
        else:
            self.rule.update(rate)


class Part:
    """Members whose losses are one call: their targets and weights, with an axis for members if several.

    Parameters
    ----------
    bank : Bank
        Whose members they are.
    members : slice
        Their places in the window.
    positions : list of int
        Their positions among all members of the bank.
    """

    def __init__(self, bank, members, positions):
        self.bank, self.members, self.positions = bank, members, positions
        self.several = len(positions) > 1
        self.ensemble = bank.nets[0].step.backend.members
        self.bounds = [bank.nets[k].step.loss for k in positions]
        self.bound = stack([b for b in self.bounds for _ in range(self.ensemble or 1)])
        self.failed = False
        fields = zip(
            *(
                (data.target.code, data.target.cost, data.weight)
                for data in (bank.data[k] for k in positions)
            ),
            strict=True,
        )
        self.fields = list(fields)
        self.columns = None

    def scores(self, z, target):
        """The scores of these members among all of the window's."""
        own = z[self.members] if self.several else z[self.members.start]
        return squeeze_outputs(own, target.code, self.ensemble).contiguous()

    def observe(self, z, target, weight):
        """Let a loss with a memory remember the batch; it is one member's own."""
        if "memory" not in self.bound.requires or self.positions[0] in self.bank.errors:
            return
        try:
            observe(self.bound, self.scores(z, target), target, weight, self.ensemble)
        except Exception as error:  # ends this member, whose caller raises it
            self.bank.errors[self.positions[0]] = error

    def loss_grad(self, scores, target, weight):
        """Loss and gradient of all members; what the loss of one raises is that member's own."""
        n = float(len(target.code) if not self.several else target.code.shape[1])
        if not self.failed:
            try:
                return self._evaluate(self.bound, scores, target, weight, n, self.several)
            except Exception:  # whose it is shows when each member is asked alone
                self.failed = True
        losses, grad = scores.new_zeros(len(self.positions)), torch.zeros_like(scores)
        for j, (k, bound) in enumerate(zip(self.positions, self.bounds, strict=True)):
            own = (scores, target, weight)
            if self.several:
                w = None if weight is None else weight[j]
                own = (scores[j], target.each(lambda part, j=j: part[j]), w)
            if k in self.bank.errors:
                continue
            try:
                losses[j], one = self._evaluate(bound, *own, n)
            except Exception as error:  # ends this member, whose caller raises it
                self.bank.errors[k] = error
                continue
            (grad[j] if self.several else grad).copy_(one)
        return losses, grad

    def _evaluate(self, bound, scores, target, weight, n, nets=False):
        if self.ensemble is None:
            return bound.loss_grad(scores, target, weight, n)
        return mean_of_members(bound, scores, target, weight, n, self.ensemble, nets=nets)

    def batches(self, index, sizes):
        """Targets and weights of an epoch on shared rows, batch by batch."""
        if self.columns is None:
            self.columns = [_Column(field, len(self.positions)) for field in self.fields]
        codes, costs, weights = (column.batches(index, sizes) for column in self.columns)
        for code, cost, weight in zip(codes, costs, weights, strict=True):
            yield Target(code, cost), weight

    def stacked(self, batches):
        """Targets and weights of a batch from members' own batches."""
        own = batches[self.members]
        code, cost, weight = (
            _stacked([take(batch) for batch in own])
            for take in (
                lambda batch: batch.target.code,
                lambda batch: batch.target.cost,
                lambda batch: batch.weight,
            )
        )
        return Target(code, cost), weight


class _Column:
    """Members' targets, costs or weights on shared rows: one tensor where all are the same."""

    def __init__(self, tensors, members):
        first = tensors[0]
        self.members = members
        self.tensor = first
        self.same = first is None or all(same_numbers(t, first) for t in tensors[1:])
        if not self.same:
            self.tensor = torch.stack(tensors)

    def batches(self, index, sizes):
        """The parts of an epoch, contiguous, with an axis for members if there are several."""
        if self.tensor is None:
            yield from [None] * len(sizes)
        elif not self.same:
            for part in row_batches(self.tensor, index, sizes, axis=1):
                yield part.contiguous()
        elif self.members == 1:
            yield from row_batches(self.tensor, index, sizes)
        else:
            for part in row_batches(self.tensor, index, sizes):
                yield part.expand(self.members, *part.shape).contiguous()


def _stacked(tensors):
    if tensors[0] is None or len(tensors) == 1:
        return tensors[0]
    return torch.stack(tensors)


def same_numbers(a, b):
    """Whether two tensors hold the same numbers; the same memory answers at once."""
    same = a is b or (
        a.data_ptr() == b.data_ptr()
        and a.shape == b.shape
        and a.stride() == b.stride()
        and a.dtype == b.dtype
    )
    return same or torch.equal(a, b)


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
