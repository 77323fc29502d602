"""Layers of TabM with hand-written gradients: embeddings of columns, the first layer, hidden layers, heads.

Every tensor has an axis for nets first: the units of one ensemble, or those of a population. Parameters and
gradients are views by name, which may have gaps between the nets.
"""

from abc import ABC, abstractmethod
from math import pi

import torch

from skimb import kernels
from skimb.functional._piecewise import places
from skimb.functional._tables import BinColumns, CodeColumns, code_grads, code_rows

_GAP = 16  # numbers between products of columns


class Embedding(ABC):
    """Turns columns of a batch into tensors (nets, columns, n, width)."""

    #: whether it has parameters
    learned = True

    @abstractmethod
    def forward(self, X):
        """Embedded columns of blocks whose axes are nets, rows, columns."""

    @abstractmethod
    def backward(self, d):
        """Fill the gradients from that in the embedded columns."""


class Plain(Embedding):
    """Numeric columns as they are, each beside whether it is missing."""

    learned = False

    def __init__(self, P, G):
        pass

    def forward(self, X):
        return torch.stack([X["numbers"], X["absent"]], -1).transpose(1, 2).contiguous()

    def backward(self, d):
        pass


class PiecewiseLinear(Embedding):
    """x w + b + PLE(x) V by look-ups in place of an encoding, see :mod:`skimb.functional._piecewise`.

    Parameters
    ----------
    P, G : dict of str to Tensor
        Parameters and gradients.
    starts, spans : Tensor of shape (nets, columns, bins + 1)
        Where bins start and how far they reach.
    """

    def __init__(self, P, G, starts, spans):
        self.own = P["bins"], P["slope"], P["level"]
        self.grads = G["bins"], G["slope"], G["level"]
        self.edges = starts.contiguous(), spans.contiguous()

    def looked_up(self, X, weights):
        """Columns of a batch with the weights behind them."""
        return BinColumns(*self.own, weights, *self.edges, X["bins"], X["fractions"])

    def forward(self, X):
        self.at = X["bins"], X["fractions"]
        return kernels.piecewise_rows(*self.own, *self.edges, *self.at)

    def backward(self, d):
        d = d.view(*self.own[0].shape[:2], -1, d.shape[-1])
        kernels.piecewise_grads(d, *self.edges, *self.at, *self.grads)


class Mixable(Embedding):
    """Mixes embedded rows with those of their partners, where a batch says how much of each row stays.

    Its blocks then have the rows and after them the partners, and ``kept`` is (nets, n, 1). Of steps between
    quantiles and of categories, whose embeddings are linear, that is a mixture of encoded rows.

    Parameters
    ----------
    inner : Embedding
        Embeds either.
    """

    def __init__(self, inner):
        self.inner, self.learned = inner, inner.learned

    def forward(self, X):
        E = self.inner.forward(X)
        kept = X.get("kept")
        self.kept = None if kept is None else kept.unsqueeze(1)
        if kept is None:
            return E
        own, other = E.chunk(2, 2)
        return other + self.kept * (own - other)

    def backward(self, d):
        if self.kept is not None and self.learned:
            d = d.view(len(self.kept), -1, *d.shape[-2:])
            own = self.kept * d
            d = torch.cat([own, d - own], 2)
        self.inner.backward(d)


class Rounded(Embedding):
    """Hands embedded columns on in a shorter type, and takes their gradient back in that of the embedding.

    Parameters
    ----------
    inner : Embedding
        Embeds.
    dtype : torch.dtype
        The shorter type.
    """

    def __init__(self, inner, dtype):
        self.inner, self.dtype, self.learned = inner, dtype, inner.learned

    def forward(self, X):
        E = self.inner.forward(X)
        self.own = E.dtype
        return E.to(self.dtype)

    def backward(self, d):
        self.inner.backward(None if d is None else d.to(self.own))


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
        self.gW.copy_(torch.bmm(waves.transpose(1, 2), flat).view(self.gW.shape))
        d = torch.bmm(flat, self._batches().transpose(1, 2)).view(self.waves.shape)
        f = self.c.shape[-1]
        cos, sin = self.waves[..., :f], self.waves[..., f:]
        slope = (d[..., f:] * cos).sub_(d[..., :f] * sin)
        self.gc.copy_((slope * self.x).sum(2).mul_(2.0 * pi))


class Codes(Embedding):
    """Columns of categories: a learned row for each code."""

    def __init__(self, P, G):
        self.table, self.grads = P["codes"], (G["codes"],)

    def looked_up(self, X, weights):
        """Columns of a batch with the weights behind them."""
        return CodeColumns(self.table, weights, X["codes"])

    def forward(self, X):
        self.at = places(X["codes"], self.table.shape[1])
        return code_rows(self.table, self.at, X["codes"].shape[2])

    def backward(self, d):
        code_grads(d, self.at, *self.grads)


class First:
    """The first layer: each column's product with its own weights, summed with the scales of each member.

    See :func:`skimb.functional._columns.mixed_columns`. Nets without scales sum plainly.

    Parameters
    ----------
    embeddings : list of (Embedding, str)
        Embeddings and the names of their weights.
    P, G : dict of str to Tensor
        Parameters and gradients.
    """

    def __init__(self, embeddings, P, G):
        self.embeddings = [embedding for embedding, _ in embeddings]
        self.W, self.gW = ([of[name] for _, name in embeddings] for of in (P, G))
        self.columns = sum(W.shape[1] for W in self.W)
        self.R, self.gR = P.get("scale_0"), G.get("scale_0")
        if self.R is None:
            self.R = self.W[0].new_ones(len(self.W[0]), 1, self.columns)
        self.adapt = Adapt(P, G, 0)
        self.space = self.R.new_empty(0)

    def forward(self, X, relu):
        self.E = [embedding.forward(X) for embedding in self.embeddings]
        nets, _, n, _ = self.E[0].shape
        self.P = self._products(nets, n, self.W[0].shape[-1])
        return self._activated(kernels.mixed_columns, (self.E, self.W), relu)

    def _activated(self, sums, columns, relu):
        """Sums over columns with what follows them."""
        bias = self.adapt.b if self.adapt.s is None else None
        a = sums(self.P, self.R, *columns, bias, relu and bias is not None)
        return self.adapt.forward(a, relu) if bias is None else a

    def _products(self, nets, n, h):
        """Where products go: a little apart, since powers of two would meet in the same lines of a cache."""
        size = nets * self.columns, n * h + _GAP
        if self.space.shape != size:
            self.space = self.R.new_empty(size)
        return self.space[:, : n * h].view(nets, self.columns, n, h)

    def backward(self, d, sums=None):
        d = self.adapt.backward(d, sums)
        parts = list(zip(self.embeddings, self.E, strict=True))
        dE = [torch.empty_like(E) if embedding.learned else None for embedding, E in parts]
        kernels.mixed_columns_grads(d, self.P, self.R, self.E, self.W, self.gR, self.gW, dE)
        for embedding, own in zip(self.embeddings, dE, strict=True):
            embedding.backward(own)


class TableFirst(First):
    """The first layer of numbers in bins and of categories, which are looked up behind the weights.

    A table has fewer rows than a batch, so that tables go through the weights in the place of rows; see
    :func:`skimb.functional._tables.table_columns`. Batches that mix rows are embedded first.

    Parameters
    ----------
    embeddings : list of (PiecewiseLinear or Codes, str)
        Embeddings, those of numbers first, and the names of their weights.
    P, G : dict of str to Tensor
        Parameters and gradients.
    """

    def __init__(self, embeddings, P, G):
        super().__init__([(Mixable(own), name) for own, name in embeddings], P, G)
        self.kinds = [own for own, _ in embeddings]
        self.looked_up = None

    def _of_kinds(self, found):
        """What is for numbers and what is for categories, in the order of the kinds."""
        found = dict(zip(map(type, self.kinds), found, strict=True))
        return found.get(PiecewiseLinear), found.get(Codes)

    def forward(self, X, relu):
        if "kept" in X:
            self.looked_up = None
            return super().forward(X, relu)
        found = [own.looked_up(X, W) for own, W in zip(self.kinds, self.W, strict=True)]
        self.looked_up = self._of_kinds(found)
        nets, n, _ = next(iter(X.values())).shape
        self.P = self._products(nets, n, self.W[0].shape[-1])
        return self._activated(kernels.table_columns, self.looked_up, relu)

    def backward(self, d, sums=None):
        if self.looked_up is None:
            super().backward(d, sums)
            return
        d = self.adapt.backward(d, sums)
        grads = [(*own.grads, gW) for own, gW in zip(self.kinds, self.gW, strict=True)]
        grads = self._of_kinds(grads)
        kernels.table_columns_grads(d, self.P, self.R, *self.looked_up, self.gR, *grads)


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

    def forward(self, a, relu):
        """Gains and intercepts of members; shared intercepts are added with the product."""
        self.a = a
        a = torch.addcmul(self.b.unsqueeze(2), a, self.s.unsqueeze(2))
        return a.relu_() if relu else a

    def backward(self, d, sums=None):
        """Gradient before the gains; `sums` (nets, members, width) are those of `d` over rows, where known."""
        shared = self.b.shape[1] != d.shape[1]
        if sums is None:
            axes = (1, 2) if shared else (2,)
            sums = d.sum(axes, dtype=self.gb.dtype).view(self.gb.shape)
        elif shared:
            sums = sums.sum(1, keepdim=True)
        self.gb.copy_(sums)
        if self.s is None:
            return d
        self.gs.copy_((d * self.a).sum(2, dtype=self.gs.dtype))
        return d * self.s.unsqueeze(2)


class Hidden:
    """A hidden layer: one product for all members of a net, with members' scales before it where they have some.

    What comes in has passed an activation, and the gradient that goes out is that before it.

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

    def forward(self, a, relu):
        self.a = a
        x = a if self.r is None else a * self.r.unsqueeze(2)
        self.x = x.view(len(x), -1, x.shape[-1])
        bias = self.adapt.b[:, 0] if self.adapt.s is None else None
        fused = relu and bias is not None
        out = kernels.product(self.x, self.W, torch.empty_like(self.x), bias, fused).view(a.shape)
        return self.adapt.forward(out, relu) if bias is None else out

    def backward(self, d, sums=None):
        d = self.adapt.backward(d, sums)
        flat, down = d.view(self.x.shape), torch.empty_like(self.x)
        kernels.product(self.x.transpose(1, 2), flat, self.gW)
        mask = self.x if self.r is None else None
        down = kernels.product(flat, self.W.transpose(1, 2), down, mask=mask).view(self.a.shape)
        if self.r is None:
            return down
        self.gr.copy_((down * self.a).sum(2, dtype=self.gr.dtype))
        return active(down.mul_(self.r.unsqueeze(2)), self.a)


def active(d, a):
    """Gradient before ReLU, in place, from that behind it and from what it gave."""
    return torch.ops.aten.threshold_backward.grad_input(d, a, 0, grad_input=d)


class Heads:
    """The output layer of each member; scores and their gradient have the type of the intercepts.

    Parameters
    ----------
    P, G : dict of str to Tensor
        Parameters and gradients.
    """

    #: whether the inputs come before the activation
    activates = False
    #: sums over rows of the last gradient before the activation, where they are known
    sums = None

    def __init__(self, P, G):
        self.W, self.b, self.gW, self.gb = P["head"], P["head_bias"], G["head"], G["head_bias"]

    def forward(self, a):
        nets, k, n, h = a.shape
        self.a = a.view(-1, n, h)
        self.flat = self.W.reshape(nets * k, h, -1)
        z = torch.bmm(self.a, self.flat).view(nets, k, n, -1)
        return z.to(self.b.dtype).add_(self.b.unsqueeze(2))

    def backward(self, d):
        """Fill the gradients; gives that before the activation of the inputs."""
        self.gb.copy_(d.sum(2))
        flat = d.reshape(len(self.flat), -1, d.shape[-1]).to(self.flat.dtype)
        self.gW.copy_(torch.bmm(self.a.transpose(1, 2), flat).view(self.gW.shape))
        down = torch.bmm(flat, self.flat.transpose(1, 2))
        return active(down, self.a).view(*d.shape[:3], -1)


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
