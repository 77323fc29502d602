"""The training step for sparse rows: only rows of the table that a batch touches are updated."""

import numpy as np
import torch
from scipy import sparse

from skimb import kernels
from skimb.engine.steps import SERVES, ChainStep, Step, evaluate, squeeze_outputs
from skimb.functional._lazy_adam import PIECE_BYTES, move_rows
from skimb.losses._base import check_served

_LONGEST_GAP = 1 << 14  # steps without a row after which its moments decay no further


class SparseTable:
    """A table of rows that CSR batches read and update, with moments that catch up when a row returns.

    When a row returns after k steps, it is given what dense Adam would have done meanwhile: its moments
    decay k times, and its weights move on by the remaining momentum, ``lr * m / sqrt(v)`` times the sum of
    ``(beta_1 / sqrt(beta_2))^j`` for j up to k, times the bias correction at the mean of these steps. The
    forward pass of the returning batch still sees the weights before that move; :meth:`settle` moves all
    rows. With `momentum` the update is stochastic gradient descent with lazily decayed momentum and
    no such move.

    Parameters
    ----------
    table : Tensor of shape (d, width)
        Updated in place. Columns may belong to several nets.
    betas, eps, momentum : float
        As in Adam, or in SGD where `momentum` is given.
    l2, decay : float or Tensor of shape (width,)
        Penalties.
    """

    def __init__(self, table, *, betas, eps, momentum=None, l2=0.0, decay=0.0):
        self.betas, self.eps = betas, eps
        self.l2, self.decay, self.momentum = l2, decay, momentum
        d = len(table)
        # numpy asks for huge pages, which random rows of large tables profit from
        like = table.numpy().dtype
        self.m = torch.from_numpy(np.zeros(table.shape, like))
        self.v = torch.from_numpy(np.zeros(table.shape if momentum is None else (0, 0), like))
        self.table, self.matrix = table, table.numpy()
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

    def forward(self, X):
        """Product of the batch with the table; remembers the rows it read."""
        if self.t == 0:  # also after restored state
            self.t = int(self.touched.max())
        self.mark[X.indices] = True
        used = np.flatnonzero(self.mark)
        self.mark[used] = False
        self.position[used] = np.arange(len(used), dtype=np.int32)
        n = len(X)
        batch = sparse.csr_matrix(
            (X.data, X.indices, X.indptr), shape=(n, len(self.mark)), copy=False
        )
        self.local = sparse.csr_matrix(
            (X.data, self.position[X.indices], X.indptr), shape=(n, len(used)), copy=False
        )
        self.used = used
        return torch.from_numpy(batch @ self.matrix)

    def update(self, d_first, lr):
        """Update the rows that were read from the gradient (n, width) in the product.

        `lr` is a number, or one per column.
        """
        grad = torch.from_numpy(self.local.T @ d_first.numpy())
        self.t += 1
        index = torch.from_numpy(self.used)
        kept, move = self._absence(index, self.t - 1)
        self.touched.index_fill_(0, index, self.t)
        if self.momentum is not None:
            self._descend(index, grad, kept[0], lr)
            return
        columns = [self._by_column(value) for value in (lr, self.l2, self.decay)]
        kernels.lazy_adam(
            grad, self.table, self.m, self.v, self.used, kept, move, columns[0],
            l2=columns[1], decay=columns[2], betas=self.betas, eps=self.eps, t=self.t,
        )  # fmt: skip

    def _by_column(self, value):
        if torch.is_tensor(value):
            return value
        return torch.full((self.table.shape[1],), float(value), dtype=self.table.dtype)

    def _descend(self, index, grad, kept, lr):
        """Stochastic gradient descent on the rows of a batch."""
        block, m = self.table.index_select(0, index), self.m.index_select(0, index)
        grad.addcmul_(self._by_column(self.l2), block)
        block.mul_(1.0 - self._by_column(lr) * self.decay)
        m.mul_(kept).sub_(grad.mul_(lr))
        self.table.index_copy_(0, index, block.add_(m))
        self.m.index_copy_(0, index, m)

    def _absence(self, index, now):
        """Factors by which moments of rows have decayed until step `now`, and how far rows have moved."""
        last = self.touched.index_select(0, index)
        missed = (now - last).clamp_(max=_LONGEST_GAP - 1)
        kept = [p.index_select(0, missed).unsqueeze(1) for p in self.powers]
        if self.momentum is not None:
            return kept, missed
        return kept, self.moves(last, missed).unsqueeze(1)

    def settle(self, lr):
        """Bring every row up to the present step."""
        if self.t == 0 or self.momentum is not None:
            return
        behind = ((self.touched > 0) & (self.touched < self.t)).nonzero().squeeze(1)
        kept, move = self._absence(behind, self.t)
        size = max(64, PIECE_BYTES // (self.table.shape[1] * self.table.element_size()))
        for index, k1, k2, far in zip(*(x.split(size) for x in (behind, *kept, move)), strict=True):
            block, m, v = (x.index_select(0, index) for x in (self.table, self.m, self.v))
            move_rows(block, m, v, far, lr, self.eps)
            self.table.index_copy_(0, index, block)
            self.m.index_copy_(0, index, m.mul_(k1))
            self.v.index_copy_(0, index, v.mul_(k2))
        self.touched[self.touched > 0] = self.t


class SparseChainStep(Step):
    """The chain step for CSR input: only table rows that a batch touches are read and written.

    Parameters
    ----------
    module : MLP
        A net with a table.
    loss : BoundLoss
        Gives ``loss_grad``.
    batch_size : int
        Largest batch.
    lr_of : callable
        Gives the learning rate.
    **rule : dict
        Parameters of :class:`SparseTable`.
    """

    def __init__(self, module, loss, batch_size, *, lr_of, **rule):
        self.module, self.loss = module, loss
        self.inner = Tail(module, loss, batch_size)
        self.optimizer = None
        self.lr_of = lr_of
        self.rows = SparseTable(module.table.detach(), **rule)

    def __call__(self, X, target, weight):
        first = self.rows.forward(X)
        self.inner.loss = self.loss
        loss, d_first = self.inner.loss_grad(first, target, weight, total=float(len(X)))
        self.rows.update(d_first, self.lr_of())
        self.optimizer.step()
        if "memory" in self.loss.requires:
            self.loss.observe(self.inner.scores, target, weight)
        return loss

    def settle(self):
        """Bring every row of the table up to the present step."""
        self.rows.settle(self.lr_of())

    def tensors(self):
        """State tensors of the table, for saving."""
        return [self.rows.m, self.rows.v, self.rows.touched]


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


class Tail(ChainStep):
    """Everything behind the table: the first layer's sums come in, their gradient goes out."""

    def __init__(self, module, loss, batch_size):
        super().__init__(module, loss, batch_size)
        self.h = module.widths[1]
        self.skip = module.linear_skip
        self.deep = len(self.W) > 0
        if not self.deep:
            check_served(
                loss,
                SERVES - {"inputs"},
                "a linear model of sparse X",
                "use dense X or a hidden layer",
            )

    def loss_grad(self, first, target, weight=None, total=None):
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
        self.scores = squeeze_outputs(z, target.code)
        inputs = H[len(self.W) - 1] if self.deep else None
        loss, dz = evaluate(self.loss, self.scores, target, weight, total, inputs)
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
