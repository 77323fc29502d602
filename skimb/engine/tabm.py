"""TabM as a backend: one ensemble, or several of the same shape in one pass."""

import numpy as np
import torch

from skimb import kernels
from skimb.engine.backend import Backend, SideBySide
from skimb.engine.tabm_layers import (
    Codes,
    First,
    Heads,
    Hidden,
    Mixable,
    Periodic,
    PiecewiseLinear,
    Plain,
    ReluHeads,
    Rounded,
    TableFirst,
)

COPIES = 6  # parameters, gradient, two moments, scratch, rates
_BLOCK_NUMBERS = 1 << 19
# parameters of embeddings and the intercepts of scores, which no shorter type rounds
_EXACT = {"bins", "slope", "level", "codes", "frequency", "waves", "absent", "head_bias"}


class Dropout:
    """Masks of one net from raw random bits: a unit is dropped where its 16 bits fall below the rate.

    Parameters
    ----------
    rate : float in [0, 1)
        Share of units that are dropped, in steps of 1/65536.
    seed : int
        Seed of the bits.
    """

    def __init__(self, rate, seed):
        self.cut = round(rate * 65536)
        self.factor = 1.0 / (1.0 - self.cut / 65536)
        self.bits = np.random.SFC64(seed)

    def mask(self, like):
        """0 where a unit of a tensor is dropped, the factor that keeps the mean elsewhere."""
        n = like.numel()
        bits = torch.from_numpy(self.bits.random_raw(-(-n // 4)).view(np.int16)[:n])
        wide = torch.promote_types(
            like.dtype, torch.float32
        )  # the factor would lose the mean in less
        return (bits >= self.cut - 32768).to(like.device).to(wide).mul_(self.factor)


class Ensembles(Backend):
    """One pass through one ensemble or several, whose parameters lie net by net in one tensor.

    Parameters
    ----------
    module : TabM
        An ensemble of the shape.
    flat, grad : Tensor
        Parameters and gradients of all nets.
    edges : list of Tensor of shape (nets, columns, bins + 1)
        Starts and spans of the bins, or nothing.
    dropouts : list of Dropout
        One for each net, or nothing.
    products : torch.dtype, default=None
        Type of the layers' products, of what goes into them and comes out, if it is not that of the parameters.
        Embeddings, scores and gradients of parameters keep the latter.
    """

    serves = frozenset({"batch", "every class", "inputs", "memory"})
    consumer, cure = "TabM", "use another loss"

    def __init__(self, module, flat, grad, edges, dropouts, products=None):
        shape = self.shape = module.shape
        self.members = shape.n_members
        P, G = (module.split(t.view(-1, module.flat.shape[1])) for t in (flat, grad))
        self.nets = len(P["head"]) // shape.units
        self.dropouts, self.products = dropouts, products
        self.wide, self.narrow, rounded = [], [], dict(P)
        if products is not None:
            names = [name for name in P if name not in _EXACT]
            self.wide = [P[name] for name in names]
            self.narrow = [p.to(products) for p in self.wide]
            rounded.update(zip(names, self.narrow, strict=True))
        parts = []
        if shape.n_numbers:
            if shape.embedding == "piecewise_linear":
                edges = [e.repeat_interleave(shape.units, 0) for e in edges]
                parts.append((PiecewiseLinear(P, G, *edges), "first"))
            else:
                kind = Plain if shape.embedding is None else Periodic
                parts.append((kind(P, G), "first"))
        if shape.levels:
            parts.append((Codes(P, G), "first_codes"))
        tables = all(isinstance(part, PiecewiseLinear | Codes) for part, _ in parts)
        tables = tables and kernels.takes_widths(flat, shape.d_embedding, shape.width)
        if tables and products is None:
            self.layers = [TableFirst(parts, rounded, G)]
        else:
            parts = [(Mixable(part), name) for part, name in parts]
            if products is not None:
                parts = [(Rounded(part, products), name) for part, name in parts]
            self.layers = [First(parts, rounded, G)]
        self.layers += [Hidden(rounded, G, i) for i in range(1, shape.n_blocks)]
        fused = shape.n_outputs == 1 and not dropouts and products is None
        self.heads = (ReluHeads if fused else Heads)(rounded, G)

    def forward(self, X):
        """Scores (nets, members, n, outputs) of blocks (nets, n, columns), or (n, columns) of all nets.

        A block ``kept`` (n, 1) says that the others hold the rows and then as many partners to mix them with.
        """
        if self.narrow:
            torch._foreach_copy_(self.narrow, self.wide)
        a = {name: self._each_unit(block) for name, block in X.items()}
        for layer in self.layers:
            a = layer.forward(a, not (self.heads.activates and layer is self.layers[-1]))
            if self.dropouts:
                a.mul_(self._masks(a))
        self.last = a
        z = self.heads.forward(a)
        return z.view(self.nets, self.members, *z.shape[2:])

    def backward(self, d):
        d = d.reshape(len(self.last), -1, *d.shape[-2:])
        if (
            self.shape.units > 1
        ):  # members that share nothing follow their own losses, not shares of the mean
            d = d * self.members
        d, sums = self.heads.backward(d), self.heads.sums
        for layer in reversed(self.layers):
            if self.dropouts:
                d.mul_(self.dropouts[0].factor)
            d, sums = layer.backward(d, sums), None

    def _each_unit(self, block):
        units = self.shape.units
        if block.ndim == 2:
            return block.expand(self.nets * units, *block.shape)
        return block if units == 1 else block.repeat_interleave(units, 0)

    def _masks(self, a):
        each = [d.mask(part) for d, part in zip(self.dropouts, a.chunk(self.nets), strict=True)]
        return torch.cat(each).view(a.shape)

    @property
    def inputs(self):
        """Inputs of the heads in the last batch, (nets, members, n, width)."""
        a = self.last.view(self.nets, self.members, *self.last.shape[2:])
        return a if self.products is None else a.to(self.wide[0].dtype)


class NetTabM(Ensembles):
    """One ensemble: its parameters and gradients are the module's own.

    Parameters
    ----------
    module : TabM
        The ensemble; its ``flat.grad`` is allocated here.
    dropout : float in [0, 1), default=0.0
        Share of units that are dropped.
    seed : int, default=0
        Seed of the masks.
    products : torch.dtype, default=None
        Type of the layers' products, if it is not that of the parameters.
    """

    def __init__(self, module, dropout=0.0, seed=0, products=None):
        if module.flat.grad is None:
            module.flat.grad = torch.zeros_like(module.flat)
        self.module, self.rate = module, dropout
        edges = [e.unsqueeze(0) for e in module.buffers()]
        dropouts = [Dropout(dropout, seed)] if dropout else []
        super().__init__(module, module.flat.detach(), module.flat.grad, edges, dropouts, products)

    def forward(self, X):
        return super().forward(X)[0]

    @property
    def inputs(self):
        return super().inputs[0]

    @property
    def layout(self):
        """Populations of ensembles."""
        return TabMLayout

    def structure(self, data):
        """Columns, layers, dropout and types."""
        types = str(self.module.flat.dtype), str(self.products)
        return (TabMLayout, self.shape, self.rate, *types)


@torch.no_grad()
def infer(module, X, dtype=None):
    """Scores (members, n, outputs) of blocks of rows, in parts that stay in cache.

    Parameters
    ----------
    module : TabM
        The ensemble.
    X : Blocks
        The rows.
    dtype : torch.dtype, default=None
        Floating type to compute in; that of the parameters by default.

    Returns
    -------
    Tensor of shape (members, n, outputs)
        Scores.
    """
    shape = module.shape
    flat = module.flat.detach().to(dtype)
    edges = [e.unsqueeze(0).to(flat) for e in module.buffers()]
    net = Ensembles(module, flat, flat, edges, [])
    columns = shape.n_numbers + len(shape.levels)
    size = max(64, _BLOCK_NUMBERS // (shape.width * (columns + shape.n_members) * shape.units))
    found = flat.new_empty(shape.n_members, len(X), shape.n_outputs)
    for s in range(0, len(X), size):
        rows = {name: block.to(flat.device) for name, block in X[s : s + size].items()}
        rows = {k: v.to(flat) if v.is_floating_point() else v for k, v in rows.items()}
        found[:, s : s + size] = net.forward(rows)[0]
    return found


class TabMLayout(SideBySide):
    """Ensembles of the same shape, each on its own columns and bins."""

    @classmethod
    def numbers(cls, net, data):
        """Parameters and their state, embedded columns, products and hidden units, kept twice."""
        module = net.step.backend.module
        shape = module.shape
        columns = shape.n_numbers + len(shape.levels)
        row = shape.units * columns * (3 * shape.d_embedding + shape.width)
        row += (1 + shape.n_blocks) * shape.n_members * shape.width
        return COPIES * module.flat.numel() + 2 * net.order.max_batch * row

    def prepare(self, flat):
        modules = [net.step.backend.module for net in self.nets]
        self.module = modules[0]
        each = [list(module.buffers()) for module in modules]
        self.edges = [torch.stack(parts) for parts in zip(*each, strict=True)]
        self.dropouts = [d for net in self.nets for d in net.step.backend.dropouts]

    def mask(self, net):
        module = net.step.backend.module
        decayed = torch.zeros_like(module.flat, dtype=torch.bool)
        decayed[:, : module.n_decayed] = True
        return decayed.view(-1)

    def backend(self, flat, grad, low, high):
        edges = [e[low:high] for e in self.edges]
        products = self.nets[0].step.backend.products
        return Ensembles(self.module, flat, grad, edges, self.dropouts[low:high], products)
