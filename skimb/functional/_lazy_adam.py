"""Adam on some rows of a table, with moments that catch up on the steps a row has missed."""

import numpy as np
import torch

PIECE_BYTES = 1 << 17  # rows of the table updated at once
FLOOR = 1e-30


def as_records(array):
    """A contiguous matrix as a vector of whole rows: numpy moves records faster than matrix rows."""
    return array.view(np.dtype((np.void, array.shape[1] * array.itemsize))).reshape(-1)


def move_rows(block, m, v, move, lr, eps):
    """Take ``lr * move * m / sqrt(v)`` from weights; the floor under the root stands for epsilon."""
    block.sub_((m * move).mul_(lr).div_((v + (eps**2 + FLOOR)).sqrt_()))


def refuse_rows(used, height):
    """Name the first row that is not in the table."""
    bad = used[(used < 0) | (used >= height)][0]
    raise IndexError(
        f"Rows must lie between 0 and {height - 1} for a table of {height}, got {bad}."
    )


def lazy_adam(grad, table, m, v, used, kept, move, lr, *, l2, decay, betas, eps, t):
    """Update rows of a table in place.

    Parameters
    ----------
    grad : Tensor of shape (u, width)
        Gradient of the rows; used up.
    table, m, v : Tensor of shape (d, width)
        Weights and moments.
    used : ndarray of int64, shape (u,)
        The rows, each once.
    kept : pair of Tensor of shape (u, 1)
        Factors by which the moments have decayed meanwhile.
    move : Tensor of shape (u, 1)
        How far weights have moved meanwhile, in units of ``lr * m / sqrt(v)``.
    lr, l2, decay : Tensor of shape (width,)
        Rates, L2 penalties and decoupled decay of the columns.
    betas, eps : float
        As in Adam.
    t : int
        Number of this step.
    """
    if len(used) and not (used.min() >= 0 and used.max() < len(table)):
        refuse_rows(used, len(table))
    tensors = (table, m, v)
    records = [as_records(x.numpy()) for x in tensors]
    size = max(64, PIECE_BYTES // (table.shape[1] * table.element_size()))
    pieces = [torch.empty(min(size, len(used)), table.shape[1], dtype=table.dtype) for _ in tensors]
    buffers = [as_records(x.numpy()) for x in pieces]
    time = torch.tensor(float(t))
    # in pieces that stay in cache between reading the moments and writing them back
    for s in range(0, len(used), size):
        part = slice(s, s + size)
        rows = used[part]
        n = len(rows)
        for whole, buffer in zip(records, buffers, strict=True):
            whole.take(rows, out=buffer[:n], mode="clip")
        block, first, second = (x[:n] for x in pieces)
        g = grad[part].addcmul_(l2, block)
        block.mul_(1.0 - lr * decay)
        move_rows(block, first, second, move[part], lr, eps)
        first.mul_(kept[0][part])
        second.mul_(kept[1][part])
        step = torch.zeros_like(block)  # steps of rate 1, since columns have their own
        torch._fused_adam_(
            [step],
            [g],
            [first],
            [second],
            [],
            [time],
            lr=1.0,
            beta1=betas[0],
            beta2=betas[1],
            weight_decay=0.0,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
        block.addcmul_(step, lr)
        for whole, buffer in zip(records, buffers, strict=True):
            whole[rows] = buffer[:n]
    return table
