"""Training steps: from a batch to updated parameters.

A step is made for one net, holds its workspaces and is called as ``step(X, code, weight) -> loss``.
Chains of linear layers train by a hand-written step without autograd; anything else through autograd,
with the loss's closed-form gradient fed into ``backward``.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from scipy import sparse

from skimb.nets.mlp import ACTIVATIONS

_PIECE_BYTES = 1 << 17  # rows of the table updated at once
_LONGEST_GAP = 1 << 14  # steps without a row after which its moments decay no further


class Step(ABC):
    """One update of a net's parameters from one batch."""

    #: whether the step needs autograd switched on
    autograd = False
    #: called when gradients are there and parameters not yet updated, or None
    notify = None

    @abstractmethod
    def __call__(self, X, code, weight):
        """Update the parameters and return the mean loss as a tensor."""

    def tensors(self):
        """State tensors beside the optimiser's, for saving."""
        return []

    def settle(self):
        """Finish updates that were put off; called before predictions."""
        return None


def squeeze_outputs(z, code):
    """One output per row loses its axis when targets have none."""
    return z.squeeze(-1) if z.ndim == code.ndim + 1 and z.shape[-1] == 1 else z


class ChainStep(Step):
    """Forward and backward of an MLP population with preallocated buffers, then one flat update.

    Parameters
    ----------
    module : MLP
        The net; its ``flat.grad`` is allocated here.
    loss : BoundLoss
        Gives ``loss_grad``.
    batch_size : int
        Largest batch.
    """

    def __init__(self, module, loss, batch_size):
        self.module, self.loss = module, loss
        flat = module.flat
        if flat.grad is None:
            flat.grad = torch.zeros_like(flat)
        one = module.members == 1
        self.W, self.b = module.split(flat.detach())
        self.gW, self.gb = module.split(flat.grad)
        self.optimizer = None
        shape = (batch_size,) if one else (module.members, batch_size)
        self.widths = module.widths
        new = {"dtype": flat.dtype, "device": flat.device}
        self.H = [torch.empty(*shape, w, **new) for w in self.widths[1:]]
        self.D = [torch.empty(*shape, w, **new) for w in self.widths[1:-1]]
        self.batch_size = batch_size
        self.one = one
        self.act = ACTIVATIONS[module.activation]
        self.act_grad = {
            "identity": None,
            "relu": lambda d, a: torch.ops.aten.threshold_backward.grad_input(
                d, a, 0, grad_input=d
            ),
            "tanh": lambda d, a: torch.ops.aten.tanh_backward.grad_input(d, a, grad_input=d),
            "logistic": lambda d, a: torch.ops.aten.sigmoid_backward.grad_input(d, a, grad_input=d),
        }[module.activation]
        if one:
            for views in (self.W, self.b, self.gW, self.gb):
                views[:] = [v[0] for v in views]
            # a single output is a vector: matrix-vector products are much faster than thin gemms
            self.Wt = [w.t() for w in self.W]
            self.Ht = [h.t() for h in self.H]
        self.vector = one and self.widths[-1] == 1 and len(self.W) > 0
        if self.vector:
            self.w_out, self.gw_out = self.W[-1][:, 0], self.gW[-1][:, 0]

    def __call__(self, X, code, weight):
        loss = self.loss_grad(X, code, weight, total=float(X.shape[-2]))
        if self.notify is not None:
            self.notify()
        self.optimizer.step()
        return loss

    def buffers(self, n):
        """Workspaces for n rows."""
        if n == self.batch_size:
            return self.H, self.D
        return [h[..., :n, :] for h in self.H], [d[..., :n, :] for d in self.D]

    def _transposed(self, i, a):
        """Transpose of the input of layer i, cached for whole batches."""
        return self.Ht[i - 1] if i and a is self.H[i - 1] else a.t()

    def loss_grad(self, X, code, weight=None, total=None):
        """Loss of a batch; fills the gradient of the parameters."""
        H, D = self.buffers(X.shape[-2])
        z = self.forward(X, H)
        loss, dz = self.loss.loss_grad(squeeze_outputs(z, code), code, weight, total)
        self.backward(X, H, D, dz.view(z.shape))
        return loss

    def forward(self, X, H):
        """Fill the activations and return the raw outputs."""
        last = len(self.W) - 1
        a = X
        for i in range(last):
            a = self._affine(a, i, H[i])
            if self.act is not None:
                self.act(a)
        if self.vector:
            z = torch.mv(a, self.w_out, out=H[last].view(-1)).add_(self.b[last])
            return z.view(-1, 1)
        return self._affine(a, last, H[last])

    def _affine(self, a, i, out):
        if self.one:
            return torch.addmm(self.b[i], a, self.W[i], out=out)
        if a.ndim == 2:
            a = a.expand(self.module.members, *a.shape)
        return torch.baddbmm(self.b[i].unsqueeze(1), a, self.W[i], out=out)

    def backward(self, X, H, D, d):
        """Fill the gradients from the gradient in the outputs."""
        last = len(self.W) - 1
        for i in range(last, -1, -1):
            a = H[i - 1] if i else X
            if self.vector and i == last:
                dv = d.view(-1)
                torch.mv(self._transposed(i, a), dv, out=self.gw_out)
                torch.sum(d, 0, out=self.gb[i])
                if i:
                    d = torch.mul(dv.unsqueeze(1), self.w_out, out=D[i - 1])
            elif self.one:
                torch.mm(self._transposed(i, a), d, out=self.gW[i])
                torch.sum(d, 0, out=self.gb[i])
                if i:
                    d = torch.mm(d, self.Wt[i], out=D[i - 1])
            else:
                if a.ndim == 2:
                    a = a.expand(self.module.members, *a.shape)
                torch.bmm(a.transpose(1, 2), d, out=self.gW[i])
                torch.sum(d, 1, out=self.gb[i])
                if i:
                    d = torch.bmm(d, self.W[i].transpose(1, 2), out=D[i - 1])
            if i and self.act_grad is not None:
                d = self.act_grad(d, a)


class SparseChainStep(Step):
    """The chain step for CSR input: only table rows that a batch touches are read and written.

    The first layer's moments live in their own tables. When a row returns after k steps, it is given
    what dense Adam would have done meanwhile: its moments decay k times, and its weights move on by
    the remaining momentum, ``lr * m / sqrt(v)`` times the sum of ``(beta_1 / sqrt(beta_2))^j`` for j up
    to k, times the bias correction at the mean of these steps. The forward pass of the returning
    batch still sees the weights before that move; :meth:`settle` moves all rows. With `momentum` the
    update is stochastic gradient descent with lazily decayed momentum and no such move.
    """

    def __init__(
        self, module, loss, batch_size, *, lr_of, betas, eps, momentum=None, l2=0.0, decay=0.0
    ):
        self.module, self.loss = module, loss
        self.inner = _Tail(module, loss, batch_size)
        self.optimizer = None
        self.lr_of, self.betas, self.eps = lr_of, betas, eps
        self.l2, self.decay, self.momentum = l2, decay, momentum
        d = module.widths[0]
        table = module.table.detach()
        # numpy asks for huge pages, which random rows of large tables profit from
        like = table.numpy().dtype
        self.m = torch.from_numpy(np.zeros(table.shape, like))
        self.v = torch.from_numpy(np.zeros(table.shape if momentum is None else (0, 0), like))
        used = [t for t in (table, self.m, self.v) if t.numel()]
        self.matrix = table.numpy()
        # numpy gathers and scatters rows faster than torch's index operations on the CPU
        self.rows = [_as_records(t.numpy()) for t in used]
        self.piece = max(64, _PIECE_BYTES // (table.shape[1] * table.element_size()))
        self.pieces = [torch.empty(self.piece, table.shape[1], dtype=table.dtype) for _ in used]
        self.buffers = [_as_records(t.numpy()) for t in self.pieces]
        self.scratch = [torch.empty_like(self.pieces[0]) for _ in range(2)]
        gaps = torch.arange(_LONGEST_GAP, dtype=torch.float64)
        if momentum is None:
            powers = [torch.pow(b, gaps) for b in betas]
        else:
            powers = [torch.pow(momentum, gaps + 1.0)]
        self.powers = [p.to(table.dtype) for p in powers]
        if momentum is None:
            self.moves = _Moves(betas, table.dtype)
        self.touched = torch.zeros(d, dtype=torch.int64)
        self.t = 0
        self.mark = np.zeros(d, dtype=bool)
        self.position = np.zeros(d, dtype=np.int32)

    def __call__(self, X, code, weight):
        n = len(X)
        if self.t == 0:  # also after restored state
            self.t = int(self.touched.max())
        self.mark[X.indices] = True
        used = np.flatnonzero(self.mark)
        self.mark[used] = False
        self.position[used] = np.arange(len(used), dtype=np.int32)
        batch = sparse.csr_matrix(
            (X.data, X.indices, X.indptr), shape=(n, len(self.mark)), copy=False
        )
        local = sparse.csr_matrix(
            (X.data, self.position[X.indices], X.indptr), shape=(n, len(used)), copy=False
        )
        first = torch.from_numpy(batch @ self.matrix)
        loss, d_first = self.inner.loss_grad(first, code, weight, total=float(n))
        grad = torch.from_numpy(local.T @ d_first.numpy())
        self._update(used, grad)
        self.optimizer.step()
        return loss

    def _update(self, used, grad):
        self.t += 1
        lr = self.lr_of()
        index = torch.from_numpy(used)
        kept, move = self._absence(index, self.t - 1, lr)
        self.touched.index_fill_(0, index, self.t)
        time = torch.tensor(float(self.t))
        # in pieces that stay in cache between reading the moments and writing them back
        for s in range(0, len(used), self.piece):
            part = slice(s, s + self.piece)
            rows = [k[part] for k in kept]
            self._update_piece(used[part], grad[part], rows, move[part], lr, time)

    def _absence(self, index, now, lr):
        """Factors by which moments of rows have decayed until step `now`, and how far rows move."""
        last = self.touched.index_select(0, index)
        missed = (now - last).clamp_(max=_LONGEST_GAP - 1)
        kept = [p.index_select(0, missed).unsqueeze(1) for p in self.powers]
        if self.momentum is not None:
            return kept, missed
        return kept, self.moves(last, missed).mul_(-lr).unsqueeze(1)

    def settle(self):
        """Bring every row up to the present step."""
        if self.t == 0 or self.momentum is not None:
            return
        behind = np.flatnonzero(((self.touched > 0) & (self.touched < self.t)).numpy())
        kept, move = self._absence(torch.from_numpy(behind), self.t, self.lr_of())
        for s in range(0, len(behind), self.piece):
            part = slice(s, s + self.piece)
            n = len(behind[part])
            block, m, v = self._take(behind[part], n)
            self._move(block, m, v, move[part])
            m.mul_(kept[0][part])
            v.mul_(kept[1][part])
            self._put(behind[part], n)
        self.touched[self.touched > 0] = self.t

    def _take(self, used, n):
        for rows, buffer in zip(self.rows, self.buffers, strict=True):
            rows.take(used, out=buffer[:n], mode="clip")
        return [t[:n] for t in self.pieces]

    def _put(self, used, n):
        for rows, buffer in zip(self.rows, self.buffers, strict=True):
            rows[used] = buffer[:n]

    def _move(self, block, m, v, move):
        """Add ``move * m / sqrt(v)`` to weights; the floor under the root stands for epsilon."""
        n = len(block)
        root, top = self.scratch[0][:n], self.scratch[1][:n]
        torch.add(v, self.eps**2 + 1e-30, out=root).sqrt_()
        torch.mul(m, move, out=top)
        block.addcdiv_(top, root)

    def _update_piece(self, used, grad, kept, move, lr, time):
        n = len(used)
        block, m, *v = self._take(used, n)
        if self.l2:
            grad.add_(block, alpha=self.l2)
        if self.decay:
            block.mul_(1.0 - lr * self.decay)
        if self.momentum is not None:
            m.mul_(kept[0]).add_(grad, alpha=-lr)
            block.add_(m)
        else:
            self._move(block, m, v[0], move)
            m.mul_(kept[0])
            v[0].mul_(kept[1])
            torch._fused_adam_(
                [block],
                [grad],
                [m],
                v,
                [],
                [time],
                lr=lr,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=0.0,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )
        self._put(used, n)

    def tensors(self):
        """State tensors of the table, for saving."""
        return [self.m, self.v, self.touched]


class _Moves:
    """How far Adam carries a weight in k steps without gradient, in units of ``lr * m / sqrt(v)``."""

    def __init__(self, betas, dtype):
        gaps = torch.arange(_LONGEST_GAP, dtype=torch.float64)
        terms = torch.pow(betas[0] / betas[1] ** 0.5, gaps)
        terms[0] = 0.0
        sums = terms.cumsum(0)
        self.sums = sums.to(dtype)
        self.lags = ((terms * gaps).cumsum(0) / sums.clamp_min(1e-300)).round().long()
        b1, b2 = (torch.pow(b, gaps) for b in betas)
        correction = (1.0 - b2).sqrt() / (1.0 - b1).clamp_min(1e-8)
        self.corrections = correction.to(dtype)

    def __call__(self, last, missed):
        step = self.lags.index_select(0, missed).add_(last).clamp_(max=_LONGEST_GAP - 1)
        return self.corrections.index_select(0, step).mul_(self.sums.index_select(0, missed))


def _as_records(array):
    """A contiguous matrix as a vector of whole rows: numpy moves records faster than matrix rows."""
    return array.view(np.dtype((np.void, array.shape[1] * array.itemsize))).reshape(-1)


class _Tail(ChainStep):
    """Everything behind the table: the first layer's sums come in, their gradient goes out."""

    def __init__(self, module, loss, batch_size):
        super().__init__(module, loss, batch_size)
        self.h = module.widths[1]
        self.skip = module.linear_skip
        self.deep = len(self.W) > 0

    def loss_grad(self, first, code, weight=None, total=None):
        """Loss of a batch and the gradient in the table's outputs (n, table_width)."""
        H, D = self.buffers(first.shape[0])
        a = torch.add(first[:, : self.h], self.b[0], out=H[0])
        if self.deep:
            if self.act is not None:
                self.act(a)
            z = self._forward_tail(H)
            if self.skip:
                z = z.add_(first[:, self.h :])
        else:
            z = a
        loss, dz = self.loss.loss_grad(squeeze_outputs(z, code), code, weight, total)
        dz = dz.view(z.shape)
        d = self._backward_tail(H, D, dz) if self.deep else dz
        torch.sum(d, 0, out=self.gb[0])
        return loss, (torch.cat([d, dz], 1) if self.skip else d)

    def _forward_tail(self, H):
        a, last = H[0], len(self.W) - 1
        for i, w in enumerate(self.W):
            a = torch.addmm(self.b[i + 1], a, w, out=H[i + 1])
            if i < last and self.act is not None:
                self.act(a)
        return a

    def _backward_tail(self, H, D, d):
        for i in range(len(self.W) - 1, -1, -1):
            a = H[i]
            torch.mm(a.t(), d, out=self.gW[i])
            torch.sum(d, 0, out=self.gb[i + 1])
            d = torch.mm(d, self.W[i].t(), out=D[i])
            if self.act_grad is not None:
                d = self.act_grad(d, a)
        return d


class AutogradStep(Step):
    """Forward and backward of any module; its parameters become views of one flat tensor.

    Parameters
    ----------
    module : Module
        The net.
    loss : BoundLoss
        Gives ``loss_grad``.
    autocast : torch.dtype, default=None
        Type of mixed precision on CUDA.
    width : int, default=None
        Columns of sparse rows, which are made dense batch by batch.
    """

    autograd = True

    def __init__(self, module, loss, autocast=None, width=None):
        self.width = width
        self.module, self.loss = module, loss
        self.autocast = autocast
        self.optimizer = None
        self.parameters, self.decayed = flatten(module)

    def __call__(self, X, code, weight):
        if not torch.is_tensor(X):
            X = X.dense(self.width).to(code.device)
        self.optimizer.zero_grad()
        if self.autocast is not None:
            with torch.autocast(X.device.type, dtype=self.autocast):
                z = self.module(X)
            z = z.float()
        else:
            z = self.module(X)
        z = squeeze_outputs(z, code)
        with torch.no_grad():
            loss, dz = self.loss.loss_grad(z.detach(), code, weight, float(len(code)))
        z.backward(dz)
        if self.notify is not None:
            self.notify()
        self.optimizer.step()
        return loss


def flatten(module):
    """Make a module's trainable parameters and gradients views of one tensor per dtype.

    Parameters
    ----------
    module : Module
        Any module; shared parameters stay shared.

    Returns
    -------
    flats : list of Tensor
        Flat tensors with ``grad`` allocated, to optimise.
    decayed : list of (Tensor, Tensor)
        Views of matrices (at least two axes) and of their gradients.
    """
    groups = {}
    for p in module.parameters():
        if p.requires_grad:
            groups.setdefault((p.dtype, p.device), []).append(p)
    flats, decayed = [], []
    for (dtype, device), params in groups.items():
        flat = torch.empty(sum(p.numel() for p in params), dtype=dtype, device=device)
        grad = torch.zeros_like(flat)
        o = 0
        for p in params:
            view = flat[o : o + p.numel()].view(p.shape)
            view.copy_(p.detach())
            p.data = view
            p.grad = grad[o : o + p.numel()].view(p.shape)
            if p.ndim > 1:
                decayed.append((view, p.grad))
            o += p.numel()
        flat.grad = grad
        flats.append(flat)
    return flats, decayed
