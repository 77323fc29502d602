"""Layers of TabM with hand-written gradients: embeddings of columns, the first layer, hidden layers, heads.

Every tensor has an axis for nets first: the units of one ensemble, or those of a population. Parameters and
gradients are views by name, which may have gaps between the nets.
"""

from abc import ABC, abstractmethod
from math import pi

import torch

from skimb import kernels


def product(a, b, out):
    """Batched product into a view with two axes of batches, or one, that may have gaps."""
    if out.is_contiguous():
        torch.bmm(a, b, out=out.view(-1, *out.shape[-2:]))
    else:
        out.copy_(torch.bmm(a, b).view(out.shape))


class Embedding(ABC):
    """Turns columns of a batch into tensors (nets, columns, n, width)."""

    @abstractmethod
    def forward(self, X):
        """Embedded columns of blocks whose axes are nets, rows, columns."""

    @abstractmethod
    def backward(self, d):
        """Fill the gradients from that in the embedded columns."""


class Plain(Embedding):
    """Numeric columns as they are, each beside whether it is missing."""

    def __init__(self, P, G):
        pass

    def forward(self, X):
        return torch.stack([X["numbers"], X["absent"]], -1).transpose(1, 2).contiguous()

    def backward(self, d):
        pass


class Lookup:
    """Rows of tables of all nets by number, and sums of gradients by row."""

    def __init__(self, tables):
        self.nets, self.height = tables.shape[0], tables[0].numel() // tables.shape[-1]

    def places(self, numbers):
        """Numbers (nets, n, columns) as places (nets * columns * n,) in the tables, column by column."""
        numbers = numbers.transpose(1, 2)
        if self.nets > 1:
            offset = torch.arange(self.nets, device=numbers.device) * self.height
            numbers = numbers + offset.view(-1, 1, 1)
        return numbers.reshape(-1).long()

    def rows(self, tables, places):
        """Rows of the tables."""
        return tables.reshape(-1, tables.shape[-1]).index_select(0, places)

    def sums(self, d, places, shape):
        """Sums of rows of gradients by place, of the shape of the tables."""
        total = d.new_zeros(self.nets * self.height, d.shape[-1])
        return total.index_add_(0, places, d).view(shape)


class PiecewiseLinear(Embedding):
    """x w + b + PLE(x) V by two look-ups in place of an encoding.

    In bin j, which starts at s and spans r, a value is x = s + r t with a fraction t, and its embedding is
    ``(s w + b + V_1 + ... + V_{j-1}) + t (r w + V_j)``. Bin 0 stands for a missing value, with s = r = 0 and
    t = 1: its embedding is b + V_0, and V_0 enters no other.

    Parameters
    ----------
    P, G : dict of str to Tensor
        Parameters and gradients.
    starts, spans : Tensor of shape (nets, columns, bins + 1)
        Where bins start and how far they reach.
    """

    def __init__(self, P, G, starts, spans):
        self.w, self.b, self.V = P["slope"], P["level"], P["bins"]
        self.gw, self.gb, self.gV = G["slope"], G["level"], G["bins"]
        self.starts, self.spans = starts.unsqueeze(-1), spans.unsqueeze(-1)
        self.width = self.V.shape[-1]
        self.lookup = Lookup(self.V)

    def forward(self, X):
        e, w, V = self.width, self.w.unsqueeze(2), self.V
        table = V.new_empty(*V.shape[:-1], 2 * e)
        start, rise = table[..., :e], table[..., e:]
        torch.mul(self.starts, w, out=start).add_(self.b.unsqueeze(2))
        start[:, :, 2:].add_(V[:, :, 1:-1].cumsum(2))
        torch.addcmul(V, self.spans, w, out=rise)
        self.at = self.lookup.places(X["bins"])
        self.t = X["fractions"].transpose(1, 2).reshape(-1, 1)
        rows = self.lookup.rows(table, self.at)
        found = torch.addcmul(rows[:, :e], self.t, rows[:, e:])
        return found.view(*V.shape[:2], -1, e)

    def backward(self, d):
        e, d = self.width, d.view(-1, self.width)
        both = torch.cat([d, d * self.t], 1)
        sums = self.lookup.sums(both, self.at, (*self.V.shape[:-1], 2 * e))
        start, rise = sums[..., :e], sums[..., e:]
        self.gb.copy_(start.sum(2))
        self.gw.copy_((start * self.starts).add_(rise * self.spans).sum(2))
        above = start.flip(2).cumsum(2).flip(2)
        self.gV.copy_(rise)
        self.gV[:, :, 1:-1].add_(above[:, :, 2:])


class Periodic(Embedding):
    """ReLU of a linear map of sines and cosines of learned frequencies; a vector of its own where missing."""

    def __init__(self, P, G):
        self.c, self.W, self.b, self.u = (P[k] for k in ("frequency", "waves", "level", "absent"))
        self.gc, self.gW, self.gb, self.gu = (
            G[k] for k in ("frequency", "waves", "level", "absent")
        )

    def _batches(self):
        return self.W.reshape(-1, *self.W.shape[2:])

    def forward(self, X):
        self.x = X["numbers"].transpose(1, 2).unsqueeze(-1)
        angle = (2.0 * pi * self.c).unsqueeze(2) * self.x
        self.waves = torch.cat([angle.cos(), angle.sin()], -1)
        flat = self.waves.view(-1, *self.waves.shape[2:])
        h = torch.bmm(flat, self._batches()).view(*self.waves.shape[:3], -1)
        self.h = h.add_(self.b.unsqueeze(2)).relu_()
        self.absent = X["absent"].transpose(1, 2).unsqueeze(-1)
        return torch.lerp(h, self.u.unsqueeze(2).expand_as(h), self.absent.expand_as(h))

    def backward(self, d):
        d = d.view(self.h.shape)
        self.gu.copy_((d * self.absent).sum(2))
        d = (d * (1.0 - self.absent)).mul_(self.h > 0)
        self.gb.copy_(d.sum(2))
        flat = d.view(-1, *d.shape[2:])
        waves = self.waves.view(-1, *self.waves.shape[2:])
        product(waves.transpose(1, 2), flat, self.gW)
        d = torch.bmm(flat, self._batches().transpose(1, 2)).view(self.waves.shape)
        f = self.c.shape[-1]
        cos, sin = self.waves[..., :f], self.waves[..., f:]
        slope = (d[..., f:] * cos).sub_(d[..., :f] * sin)
        self.gc.copy_((slope * self.x).sum(2).mul_(2.0 * pi))


class Codes(Embedding):
    """Columns of categories: a learned row for each code."""

    def __init__(self, P, G):
        self.table, self.grad = P["codes"], G["codes"]
        self.lookup = Lookup(self.table)

    def forward(self, X):
        codes = X["codes"]
        self.at = self.lookup.places(codes)
        nets, n, columns = codes.shape
        return self.lookup.rows(self.table, self.at).view(nets, columns, n, -1)

    def backward(self, d):
        self.grad.copy_(self.lookup.sums(d.view(-1, d.shape[-1]), self.at, self.table.shape))


class First:
    """The first layer: each column's product with its own weights, summed with the scales of each member.

    With E_f the embedded column f, its product P_f = E_f W_f is made once for all members, whose sums are
    R_k1 P_1 + R_k2 P_2 + ... Nets without scales sum plainly.

    Parameters
    ----------
    embeddings : list of (Embedding, str)
        Embeddings and the names of their weights.
    P, G : dict of str to Tensor
        Parameters and gradients.
    """

    a = None  # nothing below passes through an activation

    def __init__(self, embeddings, P, G):
        self.parts, at = [], 0
        for embedding, name in embeddings:
            columns = slice(at, at + P[name].shape[1])
            self.parts.append((embedding, P[name], G[name], columns))
            at = columns.stop
        self.columns = at
        self.R, self.gR = P.get("scale_0"), G.get("scale_0")
        self.adapt = Adapt(P, G, 0)

    def forward(self, X):
        self.E = []
        for embedding, W, _, columns in self.parts:
            E = embedding.forward(X)
            if not self.E:
                nets, _, n, _ = E.shape
                self.P = E.new_empty(nets, self.columns, n, W.shape[-1])
            E, W = E.view(-1, *E.shape[2:]), W.reshape(-1, *W.shape[2:])
            self.E.append((E, W))
            product(E, W, self.P[:, columns])
        wide = self.P.view(*self.P.shape[:2], -1)
        a = wide.sum(1, keepdim=True) if self.R is None else torch.bmm(self.R, wide)
        return self.adapt.forward(a.view(nets, -1, *self.P.shape[2:]))

    def backward(self, d, sums=None):
        d = self.adapt.backward(d, sums)
        wide, d = self.P.view(*self.P.shape[:2], -1), d.reshape(*d.shape[:2], -1)
        if self.R is None:
            dP = d.expand_as(wide)
        else:
            product(d, wide.transpose(1, 2), self.gR)
            dP = torch.bmm(self.R.transpose(1, 2), d)
        dP = dP.view(self.P.shape)
        for (embedding, _, gW, columns), (E, W) in zip(self.parts, self.E, strict=True):
            own = dP[:, columns].reshape(-1, *dP.shape[2:])
            product(E.transpose(1, 2), own, gW)
            embedding.backward(torch.bmm(own, W.transpose(1, 2)))


class Adapt:
    """What follows a product: members' gains where they have some, and intercepts.

    Parameters
    ----------
    P, G : dict of str to Tensor
        Parameters and gradients.
    number : int
        Of the layer.
    """

    def __init__(self, P, G, number):
        self.b, self.gb = P[f"bias_{number}"], G[f"bias_{number}"]
        self.s, self.gs = P.get(f"gain_{number}"), G.get(f"gain_{number}")

    def forward(self, a):
        if self.s is not None:
            self.a, a = a, a * self.s.unsqueeze(2)
        return a.add_(self.b.unsqueeze(2))

    def backward(self, d, sums=None):
        """Gradient before the gains; `sums` (nets, members, width) are those of `d` over rows, where known."""
        shared = self.b.shape[1] != d.shape[1]
        if sums is None:
            sums = d.sum((1, 2)).unsqueeze(1) if shared else d.sum(2)
        elif shared:
            sums = sums.sum(1, keepdim=True)
        self.gb.copy_(sums)
        if self.s is None:
            return d
        self.gs.copy_((d * self.a).sum(2))
        return d * self.s.unsqueeze(2)


class Hidden:
    """A hidden layer: one product for all members of a net, with members' scales before it where they have some.

    Parameters
    ----------
    P, G : dict of str to Tensor
        Parameters and gradients.
    number : int
        Of the layer, from 1.
    """

    def __init__(self, P, G, number):
        self.W, self.gW = P[f"weight_{number}"], G[f"weight_{number}"]
        self.r, self.gr = P.get(f"scale_{number}"), G.get(f"scale_{number}")
        self.adapt = Adapt(P, G, number)

    def forward(self, a):
        self.a = a
        x = a if self.r is None else a * self.r.unsqueeze(2)
        self.x = x.view(len(x), -1, x.shape[-1])
        return self.adapt.forward(torch.bmm(self.x, self.W).view(a.shape))

    def backward(self, d, sums=None):
        d = self.adapt.backward(d, sums)
        flat = d.view(self.x.shape)
        product(self.x.transpose(1, 2), flat, self.gW)
        d = torch.bmm(flat, self.W.transpose(1, 2)).view(self.a.shape)
        if self.r is None:
            return d
        self.gr.copy_((d * self.a).sum(2))
        return d.mul_(self.r.unsqueeze(2))


class Heads:
    """The output layer of each member.

    Parameters
    ----------
    P, G : dict of str to Tensor
        Parameters and gradients.
    """

    #: whether the inputs come before the activation, and the gradient in them is that before it
    activates = False
    #: sums over rows of the last gradient in the inputs, where they are known
    sums = None

    def __init__(self, P, G):
        self.W, self.b, self.gW, self.gb = P["head"], P["head_bias"], G["head"], G["head_bias"]

    def forward(self, a):
        nets, k, n, h = a.shape
        self.a = a.view(-1, n, h)
        self.flat = self.W.reshape(nets * k, h, -1)
        return torch.bmm(self.a, self.flat).view(nets, k, n, -1).add_(self.b.unsqueeze(2))

    def backward(self, d):
        self.gb.copy_(d.sum(2))
        flat = d.reshape(len(self.flat), -1, d.shape[-1])
        product(self.a.transpose(1, 2), flat, self.gW)
        return torch.bmm(flat, self.flat.transpose(1, 2)).view(*d.shape[:3], -1)


class ReluHeads(Heads):
    """ReLU and one output of each member, forward and back in one pass each; thin products are slow."""

    activates = True

    def forward(self, a):
        nets, k, n, h = a.shape
        self.a, self.flat = a.view(-1, n, h), self.W.reshape(nets * k, h)
        z = kernels.relu_output(self.a, self.flat, self.b.reshape(-1))
        return z.view(nets, k, n, 1)

    def backward(self, d):
        self.gb.copy_(d.sum(2))
        down = torch.empty_like(self.a)
        flat = d.reshape(len(self.flat), -1)
        gw, sums = kernels.relu_output_grad(self.a, flat, self.flat, down)
        self.gW.copy_(gw.view(self.gW.shape))
        self.sums = sums.view(*d.shape[:2], -1)
        return down.view(*d.shape[:3], -1)
