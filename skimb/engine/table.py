"""The first layer of sparse rows: only rows of its table that a batch touches are read and written."""

import numpy as np
import torch

from skimb import kernels
from skimb.functional._lazy_adam import PIECE_BYTES, move_rows

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
    lr_of : callable
        Gives the learning rate now, a number or one per column.
    betas, eps, momentum : float
        As in Adam, or in SGD where `momentum` is given.
    l2, decay : float or Tensor of shape (width,)
        Penalties.
    """

    def __init__(self, table, *, lr_of, betas, eps, momentum=None, l2=0.0, decay=0.0):
        self.lr_of = lr_of
        self.betas, self.eps = betas, eps
        self.l2, self.decay, self.momentum = l2, decay, momentum
        d = len(table)
        # numpy asks for huge pages, which random rows of large tables profit from
        like = table.numpy().dtype
        self.m = torch.from_numpy(np.zeros(table.shape, like))
        self.v = torch.from_numpy(np.zeros(table.shape if momentum is None else (0, 0), like))
        self.table = table
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
        self.lr = None  # of the last step
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
        self.local = X.indptr, self.position[X.indices], X.data
        self.used = used
        return kernels.csr_product(self.table, X.indptr, X.indices, X.data)

    def backward(self, d_first):
        """Update the rows that were read from the gradient (n, width) in the product."""
        self.lr = lr = self.lr_of()
        grad = kernels.csr_product_grad(d_first.contiguous(), *self.local, len(self.used))
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

    def tensors(self):
        """State tensors, for saving."""
        return [self.m, self.v, self.touched]

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

    def settle(self):
        """Bring every row up to the present step, at the rate of that step."""
        lr = self.lr_of() if self.lr is None else self.lr
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
