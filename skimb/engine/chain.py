"""Chains of linear layers with hand-written gradients, of one net or of many, on dense or CSR rows.

Each layer is a small object with buffers of its own. It is made for what it does: products of one net, of members
on the same rows (one wide product), of members on rows of their own (batched products), of a table of CSR rows. A
`Chain` runs them forward and back and knows nothing of that.
"""

from abc import ABC, abstractmethod

import torch

from skimb import kernels
from skimb.engine.backend import Backend
from skimb.nets.mlp import ACTIVATIONS, EPSILON, simplex_scale

# gradient before an activation from the gradient after it and its value, in place
ACTIVATION_GRADIENTS = {
    "identity": None,
    "relu": lambda d, a: torch.ops.aten.threshold_backward.grad_input(d, a, 0, grad_input=d),
    "tanh": lambda d, a: torch.ops.aten.tanh_backward.grad_input(d, a, grad_input=d),
    "logistic": lambda d, a: torch.ops.aten.sigmoid_backward.grad_input(d, a, grad_input=d),
}


class Layer(ABC):
    """One linear layer: outputs `out` and the gradient `d` in them are buffers, cut to the rows of a batch.

    Parameters
    ----------
    below : Layer or None
        The layer whose activated outputs come in; None for the first one.
    """

    #: whether inputs come with the activation applied; otherwise the layer applies it itself
    wants_activated = True
    #: number of rows that the buffers are cut to
    n = None
    #: whether the input also feeds the output directly, by `direct`; the gradient comes in `d_direct`
    skip = False

    def __init__(self, below):
        self.below = below

    @abstractmethod
    def cut(self, n):
        """Cut the buffers to n rows."""

    @abstractmethod
    def forward(self, a):
        """Outputs of a batch."""

    @abstractmethod
    def backward(self, d):
        """Fill the layer's gradients from that in its outputs; returns the one in its inputs, if any."""


class Affine(Layer):
    """A layer of one net.

    Parameters
    ----------
    W, b, gW, gb : Tensor
        Weights (in, out), intercepts (out,), and their gradients.
    size : int
        Largest batch.
    below : Layer or None
        See `Layer`.
    """

    def __init__(self, W, b, gW, gb, size, below):
        super().__init__(below)
        self.W, self.b, self.gW, self.gb = W, b, gW, gb
        self.Wt = W.t()
        self.size = size
        self.whole = self.whole_d = None

    def cut(self, n):
        if self.whole is None:
            self.whole = self.W.new_empty(self.size, self.W.shape[1])
            self.whole_d = torch.empty_like(self.whole)
        self.n, self.out, self.d = n, self.whole[:n], self.whole_d[:n]
        self.out_t = self.out.t()

    def forward(self, a):
        self.a, n = a, a.shape[0]  # len of a tensor is a call of Python
        if n != self.n:
            self.cut(n)
        return torch.addmm(self.b, a, self.W, out=self.out)

    def backward(self, d):
        below = self.below
        torch.mm(self.a.t() if below is None else below.out_t, d, out=self.gW)
        torch.sum(d, 0, out=self.gb)
        return None if below is None else torch.mm(d, self.Wt, out=below.d)


class Vector(Affine):
    """A layer with one output of one net: products with a vector are much faster than thin matrix products."""

    def __init__(self, *args):
        super().__init__(*args)
        self.w, self.gw = self.W[:, 0], self.gW[:, 0]

    def cut(self, n):
        super().cut(n)
        self.column = self.out.view(-1)

    def forward(self, a):
        self.a, n = a, a.shape[0]
        if n != self.n:
            self.cut(n)
        return torch.mv(a, self.w, out=self.column).add_(self.b).view(-1, 1)

    def backward(self, d):
        below, dv = self.below, d.view(-1)
        torch.mv(self.a.t() if below is None else below.out_t, dv, out=self.gw)
        torch.sum(d, 0, out=self.gb)
        return None if below is None else torch.mul(dv.unsqueeze(1), self.w, out=below.d)


class RowShares:
    """The shares that the rows of a batch have in its means and variances, and how fast running ones follow.

    Parameters
    ----------
    module : MLP
        Holds the rate.
    groups : Tensor of int of shape (n,), default=None
        Class or task of each training row; None has equal shares.
    """

    def __init__(self, module, groups=None):
        self.module, self.groups = module, groups
        self.total = None if groups is None else int(groups.max()) + 1
        self.weights = None  # running means serve

    def take(self, n, rows=None):
        """The shares (n,) of a batch, which sum to 1."""
        like = self.module.flat
        if self.groups is None:
            self.weights = like.new_full((n,), 1.0 / n)
        else:
            if rows is None or len(rows) != n:
                raise ValueError(
                    f"normalization={self.module.normalization!r} must know the numbers of the rows of a batch, "
                    "which the scheme has dropped; let it pass batch.rows on."
                )
            own = self.groups[rows]
            counts = torch.bincount(own, minlength=self.total).to(like)
            # a task has one row more than it has, so that rare ones weigh more; classes weigh the same
            mass = (
                counts + 1.0 if self.module.normalization == "adaptive" else (counts > 0).to(like)
            )
            self.weights = (mass / counts.clamp_min(1.0))[own]
            self.weights = self.weights / self.weights.sum()
        self.rate = float(self.module.rate)
        self.module.rate.copy_(self.rate / (self.rate + 0.9**self.module.kappa))


class Normalised(Affine):
    """A hidden layer of one net, normalised over the rows of a batch before its intercepts.

    ``out = (a W - m) / sqrt(v + eps) + b`` with the mean m and the variance v under the shares of the rows, or with
    the running ones where there are no shares.

    Parameters
    ----------
    shares : RowShares
        Shares of the rows.
    running : Tensor of shape (2, out)
        Running mean and variance.
    """

    def __init__(self, *args, shares, running):
        super().__init__(*args)
        self.shares, self.running = shares, running

    def forward(self, a):
        self.a, n = a, a.shape[0]
        if n != self.n:
            self.cut(n)
        u, r = torch.mm(a, self.W), self.shares.weights
        if r is None:
            mean, var = self.running
        else:
            mean = r @ u
            var = r @ (u - mean).square_()
            self.running.lerp_(torch.stack([mean, var]), self.shares.rate)
        self.inverse = (var + EPSILON).rsqrt()
        self.unit = u.sub_(mean).mul_(self.inverse)
        return torch.add(self.unit, self.b, out=self.out)

    def backward(self, d):
        below, r = self.below, self.shares.weights.unsqueeze(1)
        torch.sum(d, 0, out=self.gb)
        g = d - r * (self.gb + self.unit * (d * self.unit).sum(0))
        g.mul_(self.inverse)
        torch.mm(self.a.t() if below is None else below.out_t, g, out=self.gW)
        return None if below is None else torch.mm(g, self.Wt, out=below.d)


class FromTable(Layer):
    """The first layer of one net on CSR rows; with a linear path its product has more columns.

    Parameters
    ----------
    table : object
        ``forward(X)`` gives the product (n, width) of a batch, ``backward(d)`` takes the gradient in it.
    b, gb : Tensor of shape (h,)
        Intercepts and their gradient.
    skip : bool
        Whether the columns beyond the first h go directly to the output.
    size : int
        Largest batch.
    """

    def __init__(self, table, b, gb, skip, size):
        super().__init__(None)
        self.table, self.b, self.gb, self.skip = table, b, gb, skip
        self.size = size
        self.whole = self.whole_d = None

    def cut(self, n):
        if self.whole is None:
            self.whole = self.b.new_empty(self.size, len(self.b))
            self.whole_d = torch.empty_like(self.whole)
        self.n, self.out, self.d = n, self.whole[:n], self.whole_d[:n]
        self.out_t = self.out.t()

    def forward(self, X):
        product = self.table.forward(X)
        if product.shape[0] != self.n:
            self.cut(product.shape[0])
        h = len(self.b)
        if self.skip:
            self.direct = product[:, h:]
        return torch.add(product[:, :h], self.b, out=self.out)

    def backward(self, d):
        torch.sum(d, 0, out=self.gb)
        self.table.backward(torch.cat([d, self.d_direct], 1) if self.skip else d)


class _Several(Layer, ABC):
    """A layer of several members: weights and intercepts have an axis for them first.

    Parameters
    ----------
    b, gb : Tensor of shape (K, out)
        Intercepts and their gradient.
    out, d : Tensor of shape (K, rows, out), or (rows, K * columns) for a wide product
        Buffers; the gradient may be None where no layer above needs it.
    below : Layer or None
        See `Layer`.
    """

    #: whether the layer above has already summed the gradient of the intercepts
    summed = False

    def __init__(self, b, gb, out, d, below):
        super().__init__(below)
        self.b, self.gb, self.whole, self.whole_d = b, gb, out, d

    def cut(self, n):
        self.n, self.out = n, self.whole[:, :n]
        self.d = None if self.whole_d is None else self.whole_d[:, :n]

    def sum_intercepts(self, d):
        """Gradient of the intercepts."""
        if not self.summed:
            torch.sum(d, 1, out=self.gb)
        self.summed = False


class _Wide(_Several):
    """What first layers of members on the same rows share: one product whose columns are members'.

    Parameters
    ----------
    columns : int
        Columns of each member; those beyond its intercepts go directly to the output.
    """

    def __init__(self, b, gb, out, d, columns):
        super().__init__(b, gb, out, d, None)
        self.columns = columns

    def cut(self, n):
        self.n, self.out = n, self.whole[:n]
        self.rows_d = self.whole_d[:n]
        self.d = self.hidden(self.rows_d)

    def hidden(self, product):
        """The columns (n, K * columns) of a product that hidden units get, as (K, n, h) without a copy."""
        members, h = self.b.shape
        return product.view(self.n, members, self.columns)[..., :h].transpose(0, 1)

    def gathered(self, d):
        """The gradient (K, n, h) in the outputs as one in the product."""
        if d.data_ptr() != self.d.data_ptr() or d.stride() != self.d.stride():
            self.d.copy_(d)
        return self.rows_d


class WideAffine(_Wide):
    """The first layer of members on the same dense rows.

    Parameters
    ----------
    W, gW : Tensor of shape (in, K * columns)
        Weights of all members side by side, and their gradient.
    """

    def __init__(self, W, gW, *args):
        super().__init__(*args)
        self.W, self.gW = W, gW

    def forward(self, X):
        self.a = X
        if X.shape[0] != self.n:
            self.cut(X.shape[0])
        torch.addmm(self.b.reshape(-1), X, self.W, out=self.out)
        return self.hidden(self.out)

    def backward(self, d):
        self.sum_intercepts(d)
        torch.mm(self.a.t(), self.gathered(d), out=self.gW)


class WideTable(_Wide):
    """The first layer of members on the same CSR rows; see `FromTable`.

    Parameters
    ----------
    table : object
        As for `FromTable`, with the columns of all members.
    skip : bool
        Whether the columns beyond the hidden units go directly to the output.
    """

    def __init__(self, table, skip, *args):
        super().__init__(*args)
        self.table, self.skip = table, skip

    def forward(self, X):
        product = self.table.forward(X)
        if product.shape[0] != self.n:
            self.cut(product.shape[0])
        if self.skip:
            members, h = self.b.shape
            whole = product.view(self.n, members, self.columns)
            self.direct = whole[..., h:].transpose(0, 1)
        return self.hidden(product).add_(self.b.unsqueeze(1))

    def backward(self, d):
        self.sum_intercepts(d)
        rows = self.gathered(d)
        if self.skip:
            members, h = self.b.shape
            whole = rows.view(self.n, members, self.columns)
            whole[..., h:].copy_(self.d_direct.transpose(0, 1))
        self.table.backward(rows)


class Batched(_Several):
    """A layer of several members by batched products.

    Parameters
    ----------
    W, gW : Tensor of shape (K, in, out)
        Weights and their gradient.
    """

    def __init__(self, W, gW, *args):
        super().__init__(*args)
        self.W, self.gW = W, gW

    def forward(self, a):
        self.a = a
        if a.shape[1] != self.n:
            self.cut(a.shape[1])
        return torch.baddbmm(self.b.unsqueeze(1), a, self.W, out=self.out)

    def backward(self, d):
        torch.bmm(self.a.transpose(1, 2), d, out=self.gW)
        self.sum_intercepts(d)
        below = self.below
        if below is None:
            return None
        if below.d.is_contiguous():
            return torch.bmm(d, self.W.transpose(1, 2), out=below.d)
        return below.d.copy_(torch.bmm(d, self.W.transpose(1, 2)))


class BatchedVector(Batched):
    """A layer with one output for each of several members: products with a vector are slow as matrix products."""

    def forward(self, a):
        self.a = a
        z = torch.mul(a, self.W.transpose(1, 2)).sum(-1, keepdim=True)
        return z.add_(self.b.unsqueeze(1))

    def backward(self, d):
        self.gW.copy_(torch.bmm(d.transpose(1, 2), self.a).transpose(1, 2))
        self.sum_intercepts(d)
        return torch.mul(d, self.W.transpose(1, 2), out=self.below.d)


class ReluVector(Batched):
    """ReLU and a layer with one output for each of several members, forward and back in one pass each."""

    wants_activated = False

    def forward(self, a):
        self.a = a
        self.w = self.W.squeeze(-1).contiguous()
        return kernels.relu_output(a, self.w, self.b.squeeze(-1).contiguous()).unsqueeze(-1)

    def backward(self, d):
        d, below = d.squeeze(-1).contiguous(), self.below
        gw, gb = kernels.relu_output_grad(self.a, d, self.w, below.d)
        self.gW.copy_(gw.unsqueeze(-1))
        below.gb.copy_(gb)
        below.summed = True
        torch.sum(d, 1, keepdim=True, out=self.gb)
        return below.d


class Cosine(Layer):
    """An output layer whose scores are scaled cosines, of one net or of several members.

    ``z = s a'w / (|a| |w|) + b``; b has no gradient.

    Parameters
    ----------
    W, b, gW, gb : Tensor
        Weights (..., in, out), intercepts (..., out), and their gradients.
    scale : float
        s.
    below : Layer
        See `Layer`.
    """

    def __init__(self, W, b, gW, gb, scale, below):
        super().__init__(below)
        self.W, self.b, self.gW, self.gb, self.scale = W, b, gW, gb, scale

    def cut(self, n):
        self.n = n

    def forward(self, a):
        self.a = a
        self.rows, self.row_lengths = _directions(a, -1)
        self.columns, self.column_lengths = _directions(self.W, -2)
        self.cosines = torch.matmul(self.rows, self.columns)
        return (self.scale * self.cosines).add_(self.b.unsqueeze(-2))

    def backward(self, d):
        d = self.scale * d
        along = d * self.cosines
        g = torch.matmul(self.rows.mT, d)
        g.sub_(self.columns * along.sum(-2, keepdim=True))
        torch.div(g, self.column_lengths, out=self.gW)
        self.gb.zero_()
        g = torch.matmul(d, self.columns.mT)
        g.sub_(self.rows * along.sum(-1, keepdim=True))
        return g.div_(self.row_lengths)


class Simplex(Layer):
    """An output layer whose scores are the scaled cosines of its features with the vertices of a simplex.

    ``z = s sqrt(C / (C - 1)) (f / |f| - mean)`` of the C outputs f of another layer: the vertices are the unit
    vectors of C classes, less their mean.

    Parameters
    ----------
    features : Layer
        The layer that gives f.
    scale : float
        s.
    """

    def __init__(self, features, scale):
        super().__init__(features.below)
        self.features, self.scale = features, scale

    def cut(self, n):
        self.n = n

    @property
    def a(self):
        """Inputs of the layer."""
        return self.features.a

    def forward(self, a):
        self.f = self.features.forward(a)
        self.rows, self.lengths = _directions(self.f, -1)
        self.factor = simplex_scale(self.scale, self.rows.shape[-1])
        return (self.rows - self.rows.mean(-1, keepdim=True)).mul_(self.factor)

    def backward(self, d):
        g = self.factor * (d - d.mean(-1, keepdim=True))
        g = g - self.rows * (g * self.rows).sum(-1, keepdim=True)
        return self.features.backward(g.div_(self.lengths))


def _directions(vectors, axis):
    """Vectors of length 1 along an axis, and their lengths before; zeros stay zeros."""
    lengths = torch.linalg.vector_norm(vectors, dim=axis, keepdim=True).clamp_min(1e-12)
    return vectors / lengths, lengths


class Chain(Backend):
    """Layers one after the other, with one activation between them.

    Parameters
    ----------
    layers : list of Layer
        From the rows to the outputs.
    activation : {"identity", "relu", "tanh", "logistic"}
        The activation.
    """

    def __init__(self, layers, activation):
        self.first, *self.rest = layers
        self.act = ACTIVATIONS[activation]
        self.act_grad = ACTIVATION_GRADIENTS[activation]

    def forward(self, X):
        a = self.first.forward(X)
        for layer in self.rest:
            if self.act is not None and layer.wants_activated:
                self.act(a)
            a = layer.forward(a)
        return a.add_(self.first.direct) if self.first.skip else a

    def backward(self, d):
        if self.first.skip:
            self.first.d_direct = d
        for layer in reversed(self.rest):
            d = layer.backward(d)
            if self.act_grad is not None and layer.wants_activated:
                d = self.act_grad(d, layer.a)
        self.first.backward(d)

    @property
    def inputs(self):
        """Inputs of the output layer in the last batch."""
        return self.rest[-1].a if self.rest else self.first.a
