"""Many nets of one architecture trained at once on the same rows.

Members share each batch: the first layer of all of them is one matrix product, deeper layers are
batched products, all parameters lie in one tensor that one fused optimiser call updates. Members
differ in their weights, losses, targets, row weights, learning rates and penalties; each keeps its
own history and callbacks and stops on its own.
"""

from itertools import pairwise

import torch

from skimb import kernels
from skimb.engine.net import ended_by_callback
from skimb.engine.optim import SGD, Adam
from skimb.engine.steps import ACTIVATION_GRADIENTS, ChainStep, squeeze_outputs
from skimb.losses._stack import family, stack
from skimb.nets.mlp import ACTIVATIONS

_COPIES = 6  # parameters, gradient, two moments, scratch, rates
_FEW = 4  # members from which a group on the same rows is worth a population of its own


def trains_in_populations(net):
    """Whether a net's training can be shared with others: a dense chain under Adam or SGD on the CPU."""
    step = net.step
    if type(step) is not ChainStep or not step.one or step.notify is not None:
        return False
    loss = step.loss
    plain = not (loss.stateful or loss.needs_features or loss.attack)
    optimizer = type(step.optimizer) in (Adam, SGD)
    return plain and optimizer and net.order.sampler is None and not net.watches_batches()


def structure(net):
    """What members of one population must have in common, apart from their rows."""
    module, optimizer, order = net.step.module, net.step.optimizer, net.order
    if isinstance(optimizer, Adam):
        rule = ("adam", optimizer.betas, optimizer.eps, float(optimizer.t[0]))  # one clock for all
    else:
        rule = ("sgd", optimizer.momentum, optimizer.nesterov)
    batches = (order.n, order.batch_size, order.shuffle, order.every_class)
    widths = tuple(module.widths)
    return (widths, module.activation, str(module.flat.dtype), rule, batches)


def same_rows(a, b):
    """Whether two jobs visit equal rows in the same order."""
    (net_a, data_a), (net_b, data_b) = a, b
    one, two = net_a.order, net_b.order
    if one.generator.initial_seed() != two.generator.initial_seed():
        return False
    if not torch.equal(one.generator.get_state(), two.generator.get_state()):
        return False
    if one.every_class and not (one.classes == two.classes).all():
        return False
    return _one_memory(data_a.X, data_b.X) or torch.equal(data_a.X, data_b.X)


def _one_memory(a, b):
    """Whether two tensors are the same numbers in the same place."""
    same = a.data_ptr() == b.data_ptr() and a.shape == b.shape
    return same and a.stride() == b.stride() and a.dtype == b.dtype


class Population:
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
        module = self.nets[0].step.module
        self.widths, self.activation = module.widths, module.activation
        self.act, self.act_grad = (
            ACTIVATIONS[self.activation],
            ACTIVATION_GRADIENTS[self.activation],
        )
        self.order = self.nets[0].order
        self.X = self.data[0].X
        self.errors = {}
        self.alive = list(range(len(jobs)))
        self.epoch = 0
        self._gather()

    # --- members in one tensor -----------------------------------------------------------------

    def _views(self, flat):
        """First layer (d, K h) or (K, d, h), others (K, in, out), intercepts (K, out) of a tensor."""
        members, o = len(self.alive), 0
        weights, biases = [], []
        for i, (a, b) in enumerate(pairwise(self.widths)):
            size = members * a * b
            view = flat[o : o + size]
            wide = i == 0 and self.shared
            weights.append(view.view(a, members * b) if wide else view.view(members, a, b))
            o += size
        self.n_weights = o
        for b in self.widths[1:]:
            biases.append(flat[o : o + members * b].view(members, b))
            o += members * b
        return weights, biases

    def _size(self):
        per_member = sum(a * b + b for a, b in pairwise(self.widths))
        return per_member * len(self.alive)

    def _copy(self, flat, tensors, *, back=False):
        """Move members' own flat tensors (1, n) into the population's layout, or back."""
        weights, biases = self._views(flat)
        for j, own in enumerate(tensors):
            mine = self.nets[0].step.module.split(own)
            for i, (w, b) in enumerate(zip(*mine, strict=True)):
                h = self.widths[i + 1]
                wide = i == 0 and self.shared
                theirs = weights[i][:, j * h : (j + 1) * h] if wide else weights[i][j]
                pairs = [(theirs, w[0]), (biases[i][j], b[0])]
                for there, here in pairs:
                    (here if back else there).copy_(there if back else here)

    def _gather(self):
        """Take the living members' parameters, optimiser state, losses and rows."""
        nets = [self.nets[k] for k in self.alive]
        like = nets[0].step.module.flat.detach()
        new = like.new_zeros
        self.P, self.G = new(self._size()), new(self._size())
        self._copy(self.P, [net.step.module.flat.detach() for net in nets])
        optimizer = nets[0].step.optimizer
        self.adam = isinstance(optimizer, Adam)
        self.slots = []
        for slot in range(2 if self.adam else 1):
            state = new(self._size())
            self._copy(state, [net.step.optimizer.tensors()[slot] for net in nets])
            self.slots.append(state)
        self.clock = optimizer.t[0].clone() if self.adam else None
        self.W, self.b = self._views(self.P)
        self.gW, self.gb = self._views(self.G)
        self.bias_row = self.b[0].reshape(-1)
        self.thin = self.widths[-1] == 1 and len(self.W) > 1 and self.activation == "relu"
        if self.thin:
            self.w_out, self.b_out = self.W[-1].squeeze(-1), self.b[-1].squeeze(-1)
        self.parts = self._loss_parts()
        self._rates()
        self._buffers()

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

    def _rates(self):
        """Learning rates and penalties of members as vectors in the layout of the parameters."""
        nets = [self.nets[k] for k in self.alive]
        self.lrs = [net.optimizer_.lr for net in nets]
        optimizers = [net.step.optimizer for net in nets]
        self.uniform = len(set(self.lrs)) == 1
        self.rate = self.lrs[0] if self.uniform else self._spread(self.lrs)
        l2 = [o.l2 for o in optimizers]
        decay = [1.0 - lr * o.decay for lr, o in zip(self.lrs, optimizers, strict=True)]
        self.l2 = self._spread(l2)[: self.n_weights] if any(l2) else None
        decays = any(o.decay for o in optimizers)
        self.decay = self._spread(decay)[: self.n_weights] if decays else None

    def _spread(self, values):
        """One number per member as a vector like the parameters."""
        flat = torch.empty_like(self.P)
        weights, biases = self._views(flat)
        v = torch.tensor(values, dtype=flat.dtype)
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            h = self.widths[i + 1]
            if i == 0 and self.shared:
                w.view(-1, len(v), h).copy_(v[:, None].expand(-1, h))
            else:
                w.copy_(v[:, None, None].expand_as(w))
            b.copy_(v[:, None].expand_as(b))
        return flat

    def _buffers(self):
        members, size = len(self.alive), self.order.max_batch
        new = self.P.new_empty
        h = self.widths[1]
        shape = (size, members * h) if self.shared else (members, size, h)
        self.first, self.d_first = new(*shape), new(*shape)
        self.deep = [new(members, size, h) for h in self.widths[2:]]
        self.d_deep = [new(members, size, h) for h in self.widths[2:-1]]
        self.scratch = torch.zeros_like(self.P)

    def scatter(self):
        """Write parameters and optimiser state back into the nets."""
        nets = [self.nets[k] for k in self.alive]
        self._copy(self.P, [net.step.module.flat.detach() for net in nets], back=True)
        for slot, state in enumerate(self.slots):
            own = [net.step.optimizer.tensors()[slot] for net in nets]
            self._copy(state, own, back=True)
        if self.adam:
            for net in nets:
                net.step.optimizer.t[0].copy_(self.clock)

    # --- one batch -----------------------------------------------------------------------------

    def step(self, X, targets):
        """Update all members from one batch of rows; returns their losses (K,).

        `targets` holds codes and weights for each part of the members.
        """
        n, members = X.shape[-2], len(self.alive)
        widths, last = self.widths, len(self.W) - 1
        if self.shared:
            first = torch.addmm(self.bias_row, X, self.W[0], out=self.first[:n])
            a = first.view(n, members, widths[1]).transpose(0, 1)  # (K, n, h) without a copy
        else:
            first = self.first[:, :n]
            a = torch.baddbmm(self.b[0].unsqueeze(1), X, self.W[0], out=first)
        acts = [a]
        for i in range(1, last + 1):
            if i == last and self.thin:
                acts.append(kernels.relu_output(acts[-1], self.w_out, self.b_out).unsqueeze(-1))
                break
            if self.act is not None:
                self.act(first if i == 1 else acts[-1])
            if widths[i + 1] == 1:  # products with a vector are slow as matrix products
                z = torch.mul(acts[-1], self.W[i].transpose(1, 2)).sum(-1, keepdim=True)
                acts.append(z.add_(self.b[i].unsqueeze(1)))
            else:
                out = self.deep[i - 1][:, :n]
                acts.append(torch.baddbmm(self.b[i].unsqueeze(1), acts[-1], self.W[i], out=out))
        loss, d = self._losses(acts[-1], targets, float(n))
        summed = last - 1 if self.thin else None  # the layer whose intercepts are done already
        for i in range(last, 0, -1):
            below = acts[i - 1]
            if i == last and self.thin:
                d = self._through_thin(d.squeeze(-1), below, i, n)
                continue
            if widths[i + 1] == 1:
                torch.bmm(d.transpose(1, 2), below, out=self.gW[i].view(members, 1, -1))
            else:
                torch.bmm(below.transpose(1, 2), d, out=self.gW[i])
            if i != summed:
                torch.sum(d, 1, out=self.gb[i])
            if i == 1:
                d = self._to_first(d, first, n)
            elif widths[i + 1] == 1:
                d = self._through(torch.mul(d, self.W[i].transpose(1, 2)), below)
            else:
                up = torch.bmm(d, self.W[i].transpose(1, 2), out=self.d_deep[i - 2][:, :n])
                d = self._through(up, below)
        if self.shared:
            d = d.transpose(0, 1).reshape(n, -1) if last == 0 else d
            torch.mm(X.t(), d, out=self.gW[0])
        else:
            torch.bmm(X.transpose(1, 2), d, out=self.gW[0])
        if summed != 0:
            torch.sum(d, -2, out=self.gb[0].view(-1) if self.shared else self.gb[0])
        self._update()
        return loss

    def _through_thin(self, d, a, i, n):
        """Gradient in the last hidden layer from that in one output per member, and what lies between."""
        if i == 1:
            out = self.d_first[:n] if self.shared else self.d_first[:, :n]
            out = out.view(n, len(self.alive), -1).transpose(0, 1) if self.shared else out
        else:
            out = self.d_deep[i - 2][:, :n]
        gw, gb = kernels.relu_output_grad(a, d.contiguous(), self.w_out, out)
        self.gW[i].copy_(gw.unsqueeze(-1))
        self.gb[i - 1].copy_(gb)
        torch.sum(d, 1, keepdim=True, out=self.gb[i])
        return self.d_first[:n] if i == 1 and self.shared else out

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

    def _through(self, d, a):
        return d if self.act_grad is None else self.act_grad(d, a)

    def _to_first(self, d, first, n):
        """Gradient in the first layer's outputs, (n, K h) or (K, n, h)."""
        members, h = len(self.alive), self.widths[1]
        if not self.shared:
            out = self.d_first[:, :n]
            if self.widths[2] == 1:
                torch.mul(d, self.W[1].transpose(1, 2), out=out)
            else:
                torch.bmm(d, self.W[1].transpose(1, 2), out=out)
            return self._through(out, first)
        out = self.d_first[:n]
        view = out.view(n, members, h)
        if self.widths[2] == 1:
            torch.mul(d.transpose(0, 1), self.W[1].view(1, members, h), out=view)
        else:
            view.copy_(torch.bmm(d, self.W[1].transpose(1, 2)).transpose(0, 1))
        return self._through(out, first)

    def _update(self):
        n = self.n_weights
        if self.l2 is not None:
            self.G[:n].addcmul_(self.l2, self.P[:n])
        if self.decay is not None:
            self.P[:n].mul_(self.decay)
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
        if self.shared:
            index = indices[0][0]
            X = self.X if index is None else self.X.index_select(0, index)
        else:
            rows = [self.data[k].X for k in self.alive]
            X = torch.stack([_rows(x, i) for x, (i, _) in zip(rows, indices, strict=True)])
        targets = [part.rows([i for i, _ in indices[part.members]]) for part in self.parts]
        losses, start = [], 0
        for size in sizes:
            rows = slice(start, start + size)
            batch = [part.batch(one, rows) for part, one in zip(self.parts, targets, strict=True)]
            losses.append(self.step(X[..., rows, :], batch))
            start += size
        return torch.stack(losses), sizes

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
        self.same = all(_one_memory(t, first) or torch.equal(t, first) for t in tensors[1:])
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


def loss_key(net, data):
    """What members must have in common to share one call of the loss."""
    code, weight = data.code, data.weight
    return (
        family(net.step.loss),
        code.dtype,
        code.ndim,
        None if weight is None else (weight.dtype, weight.ndim),
    )


def populations(jobs):
    """Sort jobs into groups that can be trained as populations: (members, whether rows are shared)."""
    by_structure = {}
    for job in jobs:
        by_structure.setdefault(structure(job[0]), []).append(job)
    groups = []
    for alike in by_structure.values():
        found = []
        for job in alike:
            for group in found:
                if same_rows(group[0], job):
                    group.append(job)
                    break
            else:
                found.append([job])
        alone = []
        for group in found:
            if len(group) >= _FEW or group[0][0].order.every_class:
                groups.append((group, True))
            else:
                alone += group
        if alone:
            groups.append((alone, False))
    return [(_by_loss(group), shared) for group, shared in groups]


def _by_loss(jobs):
    """Jobs whose losses can share a call side by side."""
    kinds = {}
    for job in jobs:
        kinds.setdefault(loss_key(*job), []).append(job)
    return [job for kind in kinds.values() for job in kind]


def members_within(max_memory, job, shared):
    """Members that a population may have: a fixed function of shapes and of the bytes allowed."""
    net, data = job
    module = net.step.module
    numbers = _COPIES * module.flat.numel() + 2 * net.order.max_batch * sum(module.widths[1:])
    if not shared:  # every member's rows are copied into the order of the epoch
        numbers += 2 * data.X.numel()
    return max(1, max_memory // (numbers * module.flat.element_size()))
