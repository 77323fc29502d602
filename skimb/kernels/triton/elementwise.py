"""The sigmoid kernel: asymmetric and focal losses of labels, and losses of one logit per row."""

import triton
import triton.language as tl

from skimb.kernels.triton.math import shaped, sides

BLOCK = 1024


@triton.jit
def margin_kernel(
    Z, SIGN, LOSS, GRAD, PARAM, n, rows_per_member, param_step, mult, offset, m0, m1, factor,
    SHAPE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Losses and gradients of one logit per entry; class 0 at logit 0."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    z = tl.load(Z + i, mask=inside, other=0.0).to(tl.float32)
    s = tl.load(SIGN + i, mask=inside, other=1.0).to(tl.float32)
    param = tl.load(PARAM + (i // rows_per_member) * param_step, mask=inside, other=0.0)
    v = s * (mult * z + offset) - tl.where(s > 0.0, m1, m0)
    l, k, p, q = sides(v)
    value, slope = shaped(l, -k, p, q, param, SHAPE)
    tl.store(LOSS + i, value, mask=inside)
    d = -factor * mult * s * slope * q
    tl.store(GRAD + i, d.to(GRAD.dtype.element_ty), mask=inside)


@triton.jit
def _asymmetric(z, positive, gamma_neg, gamma_pos, clip, CLIP: tl.constexpr):
    """Loss of labels and its derivative in the logit."""
    s = tl.where(positive, 1.0, -1.0)
    l, k, p, q = sides(s * z)
    gamma = tl.where(positive, gamma_pos, gamma_neg)
    log_p, log_rest, share, focus = -l, -k, q, gamma * p
    on = p * 0.0 + 1.0
    if CLIP:
        rest = tl.maximum(q - clip, 0.0)
        floor = tl.maximum(rest, 1e-30)
        total = p + clip
        on = tl.where((rest <= 0.0) & (positive == 0), 0.0, 1.0)
        log_p = tl.where(positive, log_p, tl.log(tl.minimum(total, 1.0)))
        log_rest = tl.where(positive, log_rest, tl.log(floor))
        share = tl.where(positive, share, q * p / total)
        focus = tl.where(positive, focus, focus * q / floor)
    power = on * tl.exp(tl.maximum(gamma * log_rest, -87.0))
    bad = tl.where(z != z, z, 0.0)  # the maxima and minima above pass over a NaN
    return bad - power * log_p, s * power * (on * focus * log_p - share)


@triton.jit
def asymmetric_kernel(
    Z, T, LOSS, GRAD, n, gamma_neg, gamma_pos, clip, factor,
    L: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_L: tl.constexpr, CHUNKS: tl.constexpr,
    TARGET: tl.constexpr, CLIP: tl.constexpr, BY_LABEL: tl.constexpr,
):  # fmt: skip
    """Row sums (n,), or losses by label (n, L), and gradients (n, L).

    TARGET 0: T holds one byte or number per label, positive if above 0. 1: T holds a class index per
    row. 2: every label counts as negative, for positives that are mended afterwards.
    """
    r = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = r < n
    safe_r = tl.where(inside, r, 0)
    c = tl.arange(0, BLOCK_L)
    total = tl.zeros((BLOCK_N,), tl.float32)
    for i in range(CHUNKS):
        k = i * BLOCK_L + c
        mask = inside[:, None] & (k[None, :] < L)
        place = safe_r[:, None].to(tl.int64) * L + k[None, :]
        z = tl.load(Z + place, mask=mask, other=0.0).to(tl.float32)
        if TARGET == 0:
            positive = tl.load(T + place, mask=mask, other=0).to(tl.float32) > 0.0
        elif TARGET == 1:
            y = tl.load(T + safe_r).to(tl.int32)
            positive = k[None, :] == y[:, None]
        else:
            positive = (z == z) & (k[None, :] < 0)
        value, d = _asymmetric(z, positive, gamma_neg, gamma_pos, clip, CLIP)
        if BY_LABEL:
            tl.store(LOSS + place, value, mask=mask)
        else:
            total += tl.sum(tl.where(mask, value, 0.0), 1)
        tl.store(GRAD + place, (factor * d).to(GRAD.dtype.element_ty), mask=mask)
    if not BY_LABEL:
        tl.store(LOSS + safe_r, total, mask=inside)


@triton.jit
def mend_kernel(
    Z, ROWS, COLS, DELTA, GRAD, nnz, gamma_neg, gamma_pos, clip, factor,
    L: tl.constexpr, BLOCK: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """Turn the labels listed in (ROWS, COLS) positive: their change of loss and their gradient."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < nnz
    place = tl.load(ROWS + i, mask=inside, other=0).to(tl.int64) * L
    place = place + tl.load(COLS + i, mask=inside, other=0)
    z = tl.load(Z + place, mask=inside, other=0.0).to(tl.float32)
    yes = i >= 0
    before, _ = _asymmetric(z, i < 0, gamma_neg, gamma_pos, clip, CLIP)
    after, d = _asymmetric(z, yes, gamma_neg, gamma_pos, clip, CLIP)
    tl.store(DELTA + i, after - before, mask=inside)
    tl.store(GRAD + place, (factor * d).to(GRAD.dtype.element_ty), mask=inside)
