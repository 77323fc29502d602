"""The pair kernel: logistic loss of score differences in tiles, O(n) memory, no atomics."""

import triton
import triton.language as tl

from skimb.kernels.triton.math import sides

BLOCK = 64
STEP = 32


@triton.jit
def pair_kernel(
    S, W, OTHER, V, LOSS, GRAD, n, m, inv_tau, side, BLOCK: tl.constexpr, STEP: tl.constexpr
):
    """For every score of one side the weighted sum over the other side.

    `side` is +1 where S holds the positives (and the losses are written) and -1 for the negatives. W and
    V are weights that sum to one on their own sides.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    s = tl.load(S + i, mask=inside, other=0.0).to(tl.float32) * inv_tau
    w = tl.load(W + i, mask=inside, other=0.0).to(tl.float32)
    loss = tl.zeros((BLOCK,), tl.float32)
    pull = tl.zeros((BLOCK,), tl.float32)
    start = 0
    while start < m:
        j = start + tl.arange(0, STEP)
        there = j < m
        o = tl.load(OTHER + j, mask=there, other=0.0).to(tl.float32) * inv_tau
        v = tl.load(V + j, mask=there, other=0.0).to(tl.float32)
        l, _, _, q = sides(side * (s[:, None] - o[None, :]))
        loss += tl.sum(v[None, :] * l, 1)
        pull += tl.sum(v[None, :] * q, 1)
        start += STEP
    if side > 0:
        tl.store(LOSS + i, w * loss, mask=inside)
    tl.store(GRAD + i, -side * inv_tau * w * pull, mask=inside)
