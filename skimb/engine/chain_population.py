"""Populations of chains of linear layers, on dense or CSR rows, without autograd.

Members that share their rows have one product for all first layers; on CSR rows their tables are the
columns of one table. Deeper layers are batched products.
"""

from itertools import pairwise

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

    def _layers(self):
        """Sizes of the layers whose weights lie in the flat tensor; on CSR rows all but the first."""
        widths = self.nets[0].step.module.widths
        return list(pairwise(widths))[1 if self.sparse else 0 :]

    def _views(self, flat):
        """First layer (d, K h) or (K, d, h), others (K, in, out), intercepts (K, out) of a tensor."""
        members, o = len(self.alive), 0
        weights, biases = [None] if self.sparse else [], []
        for a, b in self._layers():
            size = members * a * b
            view = flat[o : o + size]
            wide = not weights and self.shared
            weights.append(view.view(a, members * b) if wide else view.view(members, a, b))
            o += size
        self.n_weights = o
        for b in self.nets[0].step.module.widths[1:]:
            biases.append(flat[o : o + members * b].view(members, b))
            o += members * b
        return weights, biases

    def _copy(self, flat, tensors, *, back=False):
        module = self.nets[0].step.module
        self.sparse = module.sparse
        weights, biases = self._views(flat)
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
        weights, biases = self._views(flat)
        v = torch.tensor(values, dtype=flat.dtype)
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            if w is not None and i == 0 and self.shared:
                w.view(len(w), len(v), -1).copy_(v[:, None].expand(-1, b.shape[1]))
            elif w is not None:
                w.copy_(v[:, None, None].expand_as(w))
            b.copy_(v[:, None].expand_as(b))
        return flat

    def _decayed(self, values, neutral):
        return self._spread(values)[: self.n_weights]  # weights lie before intercepts

    def _prepare(self):
        module = self.nets[0].step.module
        self.widths, self.activation = module.widths, module.activation
        self.act = ACTIVATIONS[self.activation]
        self.act_grad = ACTIVATION_GRADIENTS[self.activation]
        self.W, self.b = self._views(self.P)
        self.gW, self.gb = self._views(self.G)
        self.bias_row = self.b[0].reshape(-1)
        self.thin = self.widths[-1] == 1 and len(self.W) > 1 and self.activation == "relu"
        if self.thin:
            self.w_out, self.b_out = self.W[-1].squeeze(-1), self.b[-1].squeeze(-1)
        members, size = len(self.alive), self.order.max_batch
        new = self.P.new_empty
        self.h, self.skip = self.widths[1], self.sparse and module.linear_skip
        self.columns = module.table_width if self.sparse else self.h  # of one member's first layer
        shape = (size, members * self.columns) if self.shared else (members, size, self.h)
        self.first, self.d_first = new(*shape), new(*shape)
        self.deep = [new(members, size, h) for h in self.widths[2:]]
        self.d_deep = [new(members, size, h) for h in self.widths[2:-1]]
        if self.sparse:
            self._gather_tables()

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
        v = torch.tensor(values, dtype=self.P.dtype)
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

    # --- one batch -----------------------------------------------------------------------------

    def step(self, X, targets):
        n, last = (len(X) if self.sparse else X.shape[-2]), len(self.W) - 1
        acts = [self._first_layer(X, n)]
        for i in range(1, last + 1):
            acts.append(self._layer(i, acts[-1], n, last))
        z = acts[-1]
        if self.skip:
            z = z + self.first_sums.view(n, len(self.alive), -1)[..., self.h :].transpose(0, 1)
        loss, d = self._losses(z, targets, float(n))
        d_out, summed = d, None  # the layer whose intercepts are done already
        for i in range(last, 0, -1):
            d = self._back(i, d, acts[i - 1], n, summed != i)
            summed = i - 1 if i == last and self.thin else None
        self._first_grad(X, d, d_out, n, summed != 0)
        self._update()
        return loss

    def _members(self, tensor, n):
        """First-layer rows (n, K columns) or (K, n, h) as (K, n, h) without a copy."""
        if not self.shared:
            return tensor[:, :n]
        return tensor[:n].view(n, len(self.alive), self.columns)[..., : self.h].transpose(0, 1)

    def _first_layer(self, X, n):
        if self.sparse:
            self.first_sums = self.table.forward(X)
            return self._members(self.first_sums, n).add_(self.b[0].unsqueeze(1))
        if self.shared:
            torch.addmm(self.bias_row, X, self.W[0], out=self.first[:n])
        else:
            torch.baddbmm(self.b[0].unsqueeze(1), X, self.W[0], out=self.first[:, :n])
        return self._members(self.first, n)

    def _layer(self, i, below, n, last):
        if i == last and self.thin:
            return kernels.relu_output(below, self.w_out, self.b_out).unsqueeze(-1)
        if self.act is not None:
            self.act(below)
        if self.widths[i + 1] == 1:  # products with a vector are slow as matrix products
            z = torch.mul(below, self.W[i].transpose(1, 2)).sum(-1, keepdim=True)
            return z.add_(self.b[i].unsqueeze(1))
        out = self.deep[i - 1][:, :n]
        return torch.baddbmm(self.b[i].unsqueeze(1), below, self.W[i], out=out)

    def _back(self, i, d, below, n, sums):
        """Gradients of layer i from that in its outputs; returns the one in the sums below."""
        up = self._members(self.d_first, n) if i == 1 else self.d_deep[i - 2][:, :n]
        if i == len(self.W) - 1 and self.thin:
            d = d.squeeze(-1).contiguous()
            gw, gb = kernels.relu_output_grad(below, d, self.w_out, up)
            self.gW[i].copy_(gw.unsqueeze(-1))
            self.gb[i - 1].copy_(gb)
            torch.sum(d, 1, keepdim=True, out=self.gb[i])
            return up
        if self.widths[i + 1] == 1:
            torch.bmm(d.transpose(1, 2), below, out=self.gW[i].view(len(self.alive), 1, -1))
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
            self._members(self.d_first, n).copy_(d)
        if not self.sparse:
            torch.mm(X.t(), rows, out=self.gW[0])
            return
        if self.skip:
            whole = rows.view(n, len(self.alive), self.columns)
            whole[..., self.h :].copy_(d_out.transpose(0, 1))
        self.table.update(rows, self.table_lr)
