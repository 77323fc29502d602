"""Chains of perceptrons: of one net on its own storage, of the members of a population, and for predictions."""

import torch

from skimb.engine.backend import Layout
from skimb.engine.chain import (
    Affine,
    Batched,
    BatchedVector,
    Chain,
    Cosine,
    FromTable,
    Normalised,
    ReluVector,
    RowShares,
    Simplex,
    Vector,
    WideAffine,
    WideTable,
)
from skimb.engine.table import SparseTable

COPIES = 6  # parameters, gradient, two moments, scratch, rates
_BLOCK_BYTES = 1 << 20


class NetChain(Chain):
    """The chain of one net: its parameters and gradients are the module's own.

    Parameters
    ----------
    module : MLP
        The net; its ``flat.grad`` is allocated here.
    size : int
        Largest batch.
    table : object, default=None
        What reads and updates the module's table where rows are CSR, see `FromTable`.
    groups : Tensor of int, default=None
        Class or task of each training row, for normalisation.
    """

    def __init__(self, module, size, table=None, groups=None):
        flat = module.flat
        if flat.grad is None:
            flat.grad = torch.zeros_like(flat)
        self.module, self.table = module, table
        values, grads = module.split(flat.detach()), module.split(flat.grad)
        self.shares = None if module.normalization is None else RowShares(module, groups)
        self.numbered = groups is not None
        layers = _net_layers(module, values, grads, size, table, self.shares)
        super().__init__(layers, module.activation)
        self.whole_gradient = table is None
        if table is not None and not self.rest:
            self.serves = self.serves - {"inputs"}
            self.consumer, self.cure = "a linear model of sparse X", "use dense X or a hidden layer"
        if module.head != "linear":  # whose scores do not grow with the inputs
            self.serves = self.serves - {"inputs"}
            self.consumer, self.cure = f"head={module.head!r}", "use head='linear'"

    def forward(self, X):
        if self.shares is not None:
            self.shares.take(len(X), self.rows)
        return super().forward(X)

    @property
    def layout(self):
        """Populations of chains."""
        return ChainLayout

    def structure(self, data):
        """Widths, activation and type; on CSR rows also the rule of the table, which must be untouched.

        None with normalisation, whose running means are each net's own.
        """
        module = self.module
        if module.normalization is not None:
            return None
        same = (ChainLayout, tuple(module.widths), module.activation, str(module.flat.dtype))
        same = (*same, module.head, module.scale)
        if not module.sparse:
            return same
        table = self.table
        if int(table.touched.max()) > 0:
            return None
        return (*same, module.linear_skip, table.betas, table.eps, table.momentum)

    def tensors(self):
        return [] if self.table is None else self.table.tensors()

    def settle(self):
        if self.table is not None:
            self.table.settle()


def _net_layers(module, values, grads, size, table, shares=None):
    """Layers of one net from views of weights and intercepts, and of their gradients unless it only predicts."""
    W, b = ([v[0] for v in views] for views in values)
    gW, gb = ([None] * len(views) if grads is None else [v[0] for v in grads[k]]
              for k, views in enumerate(values))  # fmt: skip
    layers = []
    if table is not None:
        layers.append(FromTable(table, b[0], gb[0], module.linear_skip, size))
        b, gb = b[1:], gb[1:]
    for i, own in enumerate(zip(W, b, gW, gb, strict=True)):
        last, below = i == len(W) - 1, layers[-1] if layers else None
        alone = table is None and last and module.widths[-1] == 1 and grads is not None
        kind = Vector if alone else Affine
        if not last and module.normalization is not None:
            running = module.running.split(module.widths[1:-1], 1)[i]
            layers.append(Normalised(*own, size, below, shares=shares, running=running))
        elif last and module.head == "cosine":
            layers.append(Cosine(*own, module.scale, below))
        else:
            layers.append(kind(*own, size, below))
    return _with_simplex(layers, module)


def _with_simplex(layers, module):
    """The layers with the vertices of a simplex at their end, if the module has them."""
    if module.head == "etf":
        layers[-1] = Simplex(layers[-1], module.scale)
    return layers


class _Product:
    """The product of CSR rows with a fixed table."""

    def __init__(self, table):
        self.table = table.detach().numpy()

    def forward(self, X):
        return torch.from_numpy(X @ self.table)


@torch.no_grad()
def infer(module, X, *, inputs=False):
    """Raw outputs (n, outputs) of an MLP, in blocks of rows that stay in cache.

    Parameters
    ----------
    module : MLP
        The net, one member.
    X : ndarray, Tensor, scipy CSR or rows on demand, of shape (n, n_features)
        Rows in the dtype of the parameters.
    inputs : bool, default=False
        Whether to give what the output layer gets instead; the vertices of a simplex get features.

    Returns
    -------
    Tensor of shape (n, outputs) or (n, inputs of the output layer)
        Raw outputs.
    """
    flat = module.flat.detach()
    widest = max(module.widths[1:]) if module.sparse else max(module.widths)
    size = max(256, _BLOCK_BYTES // (widest * flat.element_size()))
    n = X.shape[0]
    table = _Product(module.table) if module.sparse else None
    shares = None if module.normalization is None else RowShares(module)
    chain = Chain(
        _net_layers(module, module.split(flat), None, min(size, n), table, shares),
        module.activation,
    )
    width = module.widths[-2 if inputs and module.head != "etf" else -1]
    result = flat.new_empty(n, width)
    for s in range(0, n, size):
        rows = X[s : s + size]
        if not module.sparse:
            rows = (rows if torch.is_tensor(rows) else torch.from_numpy(rows)).to(flat.device)
        scores = chain.forward(rows)
        if inputs:
            scores = chain.rest[-1].f if module.head == "etf" else chain.inputs
        result[s : s + size] = scores
    return result


class ChainLayout(Layout):
    """Members of the same widths.

    Members that share their rows have one product for all first layers; on CSR rows their tables are the columns
    of one table. Where rows are members' own, each member's parameters are contiguous.
    """

    def __init__(self, nets, data, shared):
        super().__init__(nets, data, shared)
        self.module = nets[0].step.backend.module
        self.sparse = self.module.sparse
        self.columns = self.module.table_width if self.sparse else self.module.widths[1]

    @classmethod
    def numbers(cls, net, data):
        """Parameters, their state, activations, and the table's."""
        module = net.step.backend.module
        n = COPIES * module.flat.numel() + 2 * net.order.max_batch * sum(module.widths[1:])
        return n + 3 * module.table.numel() if module.sparse else n

    def _views(self, flat, members):
        """First layer (d, K h) or (K, d, h), others (K, in, out), intercepts (K, out) of a tensor."""
        module = self.module
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

    def copy(self, flat, tensors, *, back=False):
        weights, biases = self._views(flat, len(tensors))
        for j, tensor in enumerate(tensors):
            own_weights, own_biases = self.module.split(tensor)
            if self.sparse:
                own_weights = [None, *own_weights]
            pairs = [(b[j], own[0]) for b, own in zip(biases, own_biases, strict=True)]
            for i, (w, own) in enumerate(zip(weights, own_weights, strict=True)):
                if w is not None:
                    h = self.module.widths[i + 1]
                    wide = i == 0 and self.shared
                    pairs.append((w[:, j * h : (j + 1) * h] if wide else w[j], own[0]))
            for joint, own in pairs:
                target, source = (own, joint) if back else (joint, own)
                target.copy_(source)

    def spread(self, flat, values):
        found = torch.empty_like(flat)
        weights, biases = self._views(found, len(values))
        v = flat.new_tensor(values)
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            if w is not None and i == 0 and self.shared:
                w.view(len(w), len(v), -1).copy_(v[:, None].expand(-1, b.shape[1]))
            elif w is not None:
                w.copy_(v[:, None, None].expand_as(w))
            b.copy_(v[:, None].expand_as(b))
        return found

    def decayed(self, flat, values, neutral):
        decayed = self.nets[0].step.optimizer.decayed  # weights lie before intercepts
        n = sum(value.numel() for value, _ in decayed)
        if self.shared:
            return self.spread(flat, values)[: len(values) * n]
        found = torch.full_like(flat, neutral)
        found.view(len(values), -1)[:, :n] = found.new_tensor(values)[:, None]
        return found

    def matrices(self, flat, members):
        places = self.nets[0].step.optimizer.places
        if not (places and self.shared):
            return super().matrices(flat, members)
        weights = [w for w in self._views(flat, members)[0] if w is not None][: len(places)]
        if not self.sparse:
            weights[0] = weights[0].view(len(weights[0]), members, -1).transpose(0, 1)
        return weights

    def prepare(self, flat):
        if self.sparse:
            self._gather_tables()
        members, widths = len(self.nets), self.module.widths
        size = max(net.order.max_batch for net in self.nets)
        shape = (size, members * self.columns) if self.shared else (members, size, self.columns)
        self.first, self.d_first = flat.new_empty(*shape), flat.new_empty(*shape)
        self.deep = [flat.new_empty(members, size, h) for h in widths[2:]]
        self.d_deep = [flat.new_empty(members, size, h) for h in widths[2:-1]]

    def backend(self, flat, grad, low, high):
        widths, members = self.module.widths, high - low
        (W, b), (gW, gb) = self._views(flat, members), self._views(grad, members)
        own = slice(None) if self.shared else slice(low, high)
        first, d_first = self.first[own], self.d_first[own]
        if self.sparse:
            layers = [
                WideTable(
                    self.table, self.module.linear_skip, b[0], gb[0], first, d_first, self.columns
                )
            ]
        elif self.shared:
            layers = [WideAffine(W[0], gW[0], b[0], gb[0], first, d_first, self.columns)]
        else:
            layers = [Batched(W[0], gW[0], b[0], gb[0], first, d_first, None)]
        last = len(widths) - 2
        for i in range(1, last + 1):
            kind = Batched
            if i == last and widths[-1] == 1 and self.module.activation == "relu":
                kind = ReluVector
            elif widths[i + 1] == 1:
                kind = BatchedVector
            out = self.deep[i - 1][own]
            d = self.d_deep[i - 1][own] if i < last else None
            if i == last and self.module.head == "cosine":
                parts = W[i], b[i], gW[i], gb[i]
                layers.append(Cosine(*parts, self.module.scale, layers[-1]))
            else:
                layers.append(kind(W[i], gW[i], b[i], gb[i], out, d, layers[-1]))
        return Chain(_with_simplex(layers, self.module), self.module.activation)

    # --- tables of CSR rows --------------------------------------------------------------------

    def rates(self, lrs):
        if not self.sparse:
            return
        tables = [net.step.backend.table for net in self.nets]
        self.table_lr = self._by_column(lrs)
        for name in ("l2", "decay"):
            setattr(self.table, name, self._by_column([getattr(t, name) for t in tables]))

    def _by_column(self, values):
        if len(set(values)) == 1:
            return values[0]
        return self.table.table.new_tensor(values).repeat_interleave(self.columns)

    def _gather_tables(self):
        """Members' tables side by side, with their moments."""
        tables = [net.step.backend.table for net in self.nets]
        one = tables[0]
        whole = torch.cat([t.table for t in tables], 1)
        self.table = SparseTable(
            whole,
            betas=one.betas,
            eps=one.eps,
            momentum=one.momentum,
            lr_of=lambda: self.table_lr,
        )
        for name in ("m", "v"):
            joint = getattr(self.table, name)
            if joint.numel():
                torch.cat([getattr(t, name) for t in tables], 1, out=joint)
        self.table.touched.copy_(one.touched)
        self.table.t = one.t
        if one.lr is not None:
            self.table.lr = self._by_column([t.lr for t in tables])

    def settle(self):
        if self.sparse:
            self.table.settle()

    def scatter(self):
        if not self.sparse:
            return
        lr = self.table.lr
        for j, net in enumerate(self.nets):
            table, own = net.step.backend.table, slice(j * self.columns, (j + 1) * self.columns)
            for name in ("table", "m", "v"):
                joint = getattr(self.table, name)
                if joint.numel():
                    getattr(table, name).copy_(joint[:, own])
            table.touched.copy_(self.table.touched)
            table.t = self.table.t
            table.lr = float(lr[j * self.columns]) if torch.is_tensor(lr) else lr
