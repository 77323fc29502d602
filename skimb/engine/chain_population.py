"""Populations of chains of linear layers, on dense or CSR rows, without autograd.

Members that share their rows have one product for all first layers; on CSR rows their tables are the
columns of one table. Deeper layers are batched products.
"""

import torch

from skimb import kernels
from skimb.engine.population import COPIES, Population
from skimb.engine.sparse_steps import SparseChainStep, SparseTable
from skimb.engine.steps import ACTIVATION_GRADIENTS, ChainStep
from skimb.nets.mlp import ACTIVATIONS


class ChainPopulation(Population):
    """Multi-layer perceptrons of the same widths."""

    @classmethod
    def takes(cls, net, data):
        """Dense chains, and sparse ones that have not been trained before and that nobody watches."""
        step = net.step
        if type(step) is ChainStep:
            return step.one and step.notify is None
        if type(step) is not SparseChainStep:
            return False
        # a watched net settles its table after each epoch, each at its own time
        return not net.watches_weights() and int(step.rows.touched.max()) == 0

    @classmethod
    def structure(cls, net, data):
        """Widths, activation and type; on CSR rows also the rule of the table."""
        module = net.step.module
        same = (tuple(module.widths), module.activation, str(module.flat.dtype))
        if not module.sparse:
            return same
        rows = net.step.rows
        return (*same, module.linear_skip, rows.betas, rows.eps, rows.momentum)

    @classmethod
    def numbers(cls, net, data):
        """Parameters, their state, activations, and the table's."""
        module = net.step.module
        n = COPIES * module.flat.numel() + 2 * net.order.max_batch * sum(module.widths[1:])
        return n + 3 * module.table.numel() if module.sparse else n

    # --- members in one tensor -----------------------------------------------------------------

    def _views(self, flat, members):
        """First layer (d, K h) or (K, d, h), others (K, in, out), intercepts (K, out) of a tensor."""
        module = self.nets[0].step.module
        if not self.shared:  # member by member
            return module.split(flat.view(members, -1))
        o, weights, biases = 0, [None] if self.sparse else [], []
        for a, b in module.shapes:
            view = flat[o : o + members * a * b]
            weights.append(view.view(members, a, b) if weights else view.view(a, members * b))
            o += members * a * b
        self.n_weights = o
        for b in module.widths[1:]:
            biases.append(flat[o : o + members * b].view(members, b))
            o += members * b
        return weights, biases

    def _copy(self, flat, tensors, *, back=False):
        module = self.nets[0].step.module
        self.sparse = module.sparse
        weights, biases = self._views(flat, len(tensors))
        for j, own in enumerate(tensors):
            mine, own_biases = module.split(own)
            theirs = [w[0] for w in ([None, *mine] if self.sparse else mine) if w is not None]
            ours = []
            for i, w in enumerate(weights):
                if w is not None:
                    h = module.widths[i + 1]
                    wide = i == 0 and self.shared
                    ours.append(w[:, j * h : (j + 1) * h] if wide else w[j])
            theirs += [b[0] for b in own_biases]
            ours += [b[j] for b in biases]
            for there, here in zip(ours, theirs, strict=True):
                (here if back else there).copy_(there if back else here)

    def _spread(self, values):
        flat = torch.empty_like(self.P)
        weights, biases = self._views(flat, len(values))
        v = flat.new_tensor(values)
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            if w is not None and i == 0 and self.shared:
                w.view(len(w), len(v), -1).copy_(v[:, None].expand(-1, b.shape[1]))
            elif w is not None:
                w.copy_(v[:, None, None].expand_as(w))
            b.copy_(v[:, None].expand_as(b))
        return flat

    def _decayed(self, values, neutral):
        if self.shared:  # weights lie before intercepts
            return self._spread(values)[: self.n_weights]
        flat = torch.full_like(self.P, neutral)
        weights, _ = self._views(flat, len(values))
        for w in weights:
            w.copy_(flat.new_tensor(values)[:, None, None].expand_as(w))
        return flat

    def _prepare(self):
        module = self.nets[0].step.module
        self.columns = module.table_width if self.sparse else module.widths[1]
        if self.sparse:
            self._gather_tables()
        members = len(self.alive)
        size = max(self.nets[k].order.max_batch for k in self.alive)
        new = self.P.new_empty
        shape = (size, members * self.columns) if self.shared else (members, size, self.columns)
        self.first, self.d_first = new(*shape), new(*shape)
        self.deep = [new(members, size, h) for h in module.widths[2:]]
        self.d_deep = [new(members, size, h) for h in module.widths[2:-1]]

    def _rates(self):
        super()._rates()
        if self.sparse:
            rows = [self.nets[k].step.rows for k in self.alive]
            self.table_lr = self.lrs[0] if self.uniform else self._by_column(self.lrs)
            for name in ("l2", "decay"):
                values = [getattr(r, name) for r in rows]
                one = len(set(values)) == 1
                setattr(self.table, name, values[0] if one else self._by_column(values))

    def _by_column(self, values):
        v = self.P.new_tensor(values)
        return v.repeat_interleave(self.columns)

    def _gather_tables(self):
        """Members' tables side by side, with their moments."""
        steps = [self.nets[k].step for k in self.alive]
        one = steps[0].rows
        table = torch.cat([step.rows.table for step in steps], 1)
        self.table = SparseTable(table, betas=one.betas, eps=one.eps, momentum=one.momentum)
        for name in ("m", "v"):
            whole = getattr(self.table, name)
            if whole.numel():
                torch.cat([getattr(step.rows, name) for step in steps], 1, out=whole)
        self.table.touched.copy_(one.touched)
        self.table.t = one.t

    def scatter(self):
        """Write parameters and optimiser state back into the nets."""
        super().scatter()
        if not self.sparse:
            return
        steps = [self.nets[k].step for k in self.alive]
        for j, step in enumerate(steps):
            own = slice(j * self.columns, (j + 1) * self.columns)
            for name in ("table", "m", "v"):
                whole = getattr(self.table, name)
                if whole.numel():
                    getattr(step.rows, name).copy_(whole[:, own])
            step.rows.touched.copy_(self.table.touched)
            step.rows.t = self.table.t

    def gradients(self, X, targets, window):
        if window.chain is None:
            window.chain = _Chain(self, window)
        return window.chain(X, lambda z: self.losses(z, targets, window))


class _Chain:
    """Forward and backward of a window's members."""

    def __init__(self, population, window):
        self.members, self.shared, self.sparse = (
            window.members,
            population.shared,
            population.sparse,
        )
        module = population.nets[0].step.module
        self.widths, self.h, self.columns = module.widths, module.widths[1], population.columns
        self.act, self.act_grad = (
            ACTIVATIONS[module.activation],
            ACTIVATION_GRADIENTS[module.activation],
        )
        P, G, _ = window.flats
        self.W, self.b = population._views(P, self.members)
        self.gW, self.gb = population._views(G, self.members)
        self.thin = self.widths[-1] == 1 and len(self.W) > 1 and module.activation == "relu"
        self.skip = self.sparse and module.linear_skip
        self.population = population
        own = slice(None) if self.shared else slice(window.low, window.high)
        self.first, self.d_first = population.first[own], population.d_first[own]
        self.deep = [t[own] for t in population.deep]
        self.d_deep = [t[own] for t in population.d_deep]

    def __call__(self, X, losses):
        n, last = (len(X) if self.sparse else X.shape[-2]), len(self.W) - 1
        acts = [self._first_layer(X, n)]
        for i in range(1, last + 1):
            acts.append(self._layer(i, acts[-1], n, last))
        z = acts[-1]
        if self.skip:
            z = z + self.first_sums.view(n, self.members, -1)[..., self.h :].transpose(0, 1)
        loss, d = losses(z)
        d_out, summed = d, None  # the layer whose intercepts are done already
        for i in range(last, 0, -1):
            d = self._back(i, d, acts[i - 1], n, summed != i)
            summed = i - 1 if i == last and self.thin else None
        self._first_grad(X, d, d_out, n, summed != 0)
        return loss

    def _hidden(self, tensor, n):
        """First-layer rows (n, K columns) or (K, n, h) as (K, n, h) without a copy."""
        if not self.shared:
            return tensor[:, :n]
        return tensor[:n].view(n, self.members, self.columns)[..., : self.h].transpose(0, 1)

    def _first_layer(self, X, n):
        if self.sparse:
            self.first_sums = self.population.table.forward(X)
            return self._hidden(self.first_sums, n).add_(self.b[0].unsqueeze(1))
        if self.shared:
            torch.addmm(self.b[0].reshape(-1), X, self.W[0], out=self.first[:n])
        else:
            torch.baddbmm(self.b[0].unsqueeze(1), X, self.W[0], out=self.first[:, :n])
        return self._hidden(self.first, n)

    def _layer(self, i, below, n, last):
        if i == last and self.thin:
            w, b = self.W[i].squeeze(-1).contiguous(), self.b[i].squeeze(-1).contiguous()
            return kernels.relu_output(below, w, b).unsqueeze(-1)
        if self.act is not None:
            self.act(below)
        if self.widths[i + 1] == 1:  # products with a vector are slow as matrix products
            z = torch.mul(below, self.W[i].transpose(1, 2)).sum(-1, keepdim=True)
            return z.add_(self.b[i].unsqueeze(1))
        out = self.deep[i - 1][:, :n]
        return torch.baddbmm(self.b[i].unsqueeze(1), below, self.W[i], out=out)

    def _back(self, i, d, below, n, sums):
        """Gradients of layer i from that in its outputs; returns the one in the sums below."""
        up = self._hidden(self.d_first, n) if i == 1 else self.d_deep[i - 2][:, :n]
        if i == len(self.W) - 1 and self.thin:
            d = d.squeeze(-1).contiguous()
            gw, gb = kernels.relu_output_grad(below, d, self.W[i].squeeze(-1).contiguous(), up)
            self.gW[i].copy_(gw.unsqueeze(-1))
            self.gb[i - 1].copy_(gb)
            torch.sum(d, 1, keepdim=True, out=self.gb[i])
            return up
        if self.widths[i + 1] == 1:
            self.gW[i].copy_(torch.bmm(d.transpose(1, 2), below).transpose(1, 2))
            torch.mul(d, self.W[i].transpose(1, 2), out=up)
        else:
            torch.bmm(below.transpose(1, 2), d, out=self.gW[i])
            if i == 1 and self.shared:
                up.copy_(torch.bmm(d, self.W[i].transpose(1, 2)))
            else:
                torch.bmm(d, self.W[i].transpose(1, 2), out=up)
        if sums:
            torch.sum(d, 1, out=self.gb[i])
        return up if self.act_grad is None else self.act_grad(up, below)

    def _first_grad(self, X, d, d_out, n, sums):
        """Gradient of the first layer from that in its sums (K, n, h)."""
        if sums:
            torch.sum(d, 1, out=self.gb[0])
        if not self.shared:
            torch.bmm(X.transpose(1, 2), d, out=self.gW[0])
            return
        rows = self.d_first[:n]
        if len(self.W) == 1:
            self._hidden(self.d_first, n).copy_(d)
        if not self.sparse:
            torch.mm(X.t(), rows, out=self.gW[0])
            return
        if self.skip:
            whole = rows.view(n, self.members, self.columns)
            whole[..., self.h :].copy_(d_out.transpose(0, 1))
        self.population.table.update(rows, self.population.table_lr)
