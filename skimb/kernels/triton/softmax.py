"""The softmax kernel: value and gradient of a row in one read and one write of its logits."""

import triton
import triton.language as tl

from skimb.kernels.triton.math import log1p, shaped

#: rows up to this many classes stay in registers; wider ones are read twice
WHOLE_ROW = 32768


def config(width):
    """Tile sizes for rows of `width` classes: a plain table, no tuning at run time."""
    block_c = triton.next_power_of_2(width)
    if block_c > WHOLE_ROW:
        chunk = 8192
        return {
            "BLOCK_N": 1,
            "BLOCK_C": chunk,
            "CHUNKS": triton.cdiv(width, chunk),
            "num_warps": 16,
        }
    if block_c >= 16384:
        warps = 32
    elif block_c >= 8192:
        warps = 16
    elif block_c >= 2048:
        warps = 8
    else:
        warps = 4
    rows = max(1, min(64, 2048 // block_c))
    return {"BLOCK_N": rows, "BLOCK_C": block_c, "CHUNKS": 1, "num_warps": warps}


@triton.jit
def _adjusted(Z, MULT, BIAS, r, c, y, m_y, member, mask, scale, mult_step, bias_step,
              C: tl.constexpr, HAS_MULT: tl.constexpr, HAS_BIAS: tl.constexpr):  # fmt: skip
    """Logits of a tile after a z + b - m_y, times s; also a."""
    z = tl.load(Z + r[:, None].to(tl.int64) * C + c[None, :], mask=mask, other=0.0).to(tl.float32)
    a = z * 0.0 + 1.0
    if HAS_MULT:
        a = tl.load(MULT + member[:, None] * mult_step + c[None, :], mask=mask, other=1.0)
        z = z * a
    if HAS_BIAS:
        z = z + tl.load(BIAS + member[:, None] * bias_step + c[None, :], mask=mask, other=0.0)
    hit = c[None, :] == y[:, None]
    z = tl.where(hit, z - m_y[:, None], z) * scale
    return tl.where(mask, z, -float("inf")), a, hit


@triton.jit
def softmax_kernel(
    Z, Y, LOSS, GRAD, PARAM, MULT, BIAS, MARGIN, n, rows_per_member, scale, factor,
    param_step, mult_step, bias_step, margin_step,
    C: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, CHUNKS: tl.constexpr,
    SHAPE: tl.constexpr, HAS_MULT: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_MARGIN: tl.constexpr,
):  # fmt: skip
    """Losses (n,) and gradients (n, C) of rows; parameters belong to members of a population."""
    r = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = r < n
    safe_r = tl.where(inside, r, 0)
    member = safe_r // rows_per_member
    y = tl.load(Y + safe_r).to(tl.int32)
    param = tl.load(PARAM + member * param_step)
    m_y = param * 0.0
    if HAS_MARGIN:
        m_y = tl.load(MARGIN + member * margin_step + y, mask=(y >= 0) & (y < C), other=0.0)
    c = tl.arange(0, BLOCK_C)
    if CHUNKS == 1:
        mask = (safe_r[:, None] >= 0) & (c[None, :] < C)
        z, a, hit = _adjusted(Z, MULT, BIAS, safe_r, c, y, m_y, member, mask, scale, mult_step,
                              bias_step, C, HAS_MULT, HAS_BIAS)  # fmt: skip
        top = tl.max(z, 1)
        e = tl.exp(z - top[:, None])
        pos = tl.sum(tl.where(hit, e, 0.0), 1)
        rest = tl.sum(tl.where(hit, 0.0, e), 1)
        own = tl.sum(tl.where(hit & mask, z - top[:, None], 0.0), 1)
    else:
        top = param * 0.0 - float("inf")
        rest = param * 0.0
        own = param * 0.0
        for i in range(CHUNKS):
            k = i * BLOCK_C + c
            mask = (safe_r[:, None] >= 0) & (k[None, :] < C)
            z, a, hit = _adjusted(Z, MULT, BIAS, safe_r, k, y, m_y, member, mask, scale, mult_step,
                                  bias_step, C, HAS_MULT, HAS_BIAS)  # fmt: skip
            higher = tl.maximum(top, tl.max(z, 1))
            e = tl.exp(z - higher[:, None])
            rest = rest * tl.exp(top - higher) + tl.sum(tl.where(hit, 0.0, e), 1)
            own += tl.sum(tl.where(hit & mask, z, 0.0), 1)
            top = higher
        own = own - top
        pos = tl.exp(own)
    total = rest + pos
    far = pos < 1e-30
    l = tl.where(far, tl.log(tl.maximum(rest, 1e-37)) - own, log1p(rest / tl.where(far, 1.0, pos)))
    l = l + total * 0.0  # a sum that is NaN, which the maximum passes over
    q = rest / total
    log_q = tl.log(tl.maximum(rest, 1e-37)) - tl.log(total)
    value, slope = shaped(l, log_q, pos / total, q, param, SHAPE)
    tl.store(LOSS + safe_r, value, mask=inside)
    slope = slope * (factor * scale)
    each = slope / total
    if CHUNKS == 1:
        d = tl.where(hit, (-slope * q)[:, None], each[:, None] * e)
        if HAS_MULT:
            d = d * a
        place = GRAD + safe_r[:, None].to(tl.int64) * C + c[None, :]
        tl.store(place, d.to(GRAD.dtype.element_ty), mask=mask & inside[:, None])
    else:
        for i in range(CHUNKS):
            k = i * BLOCK_C + c
            mask = (safe_r[:, None] >= 0) & (k[None, :] < C)
            z, a, hit = _adjusted(Z, MULT, BIAS, safe_r, k, y, m_y, member, mask, scale, mult_step,
                                  bias_step, C, HAS_MULT, HAS_BIAS)  # fmt: skip
            d = tl.where(hit, (-slope * q)[:, None], each[:, None] * tl.exp(z - top[:, None]))
            if HAS_MULT:
                d = d * a
            place = GRAD + safe_r[:, None].to(tl.int64) * C + k[None, :]
            tl.store(place, d.to(GRAD.dtype.element_ty), mask=mask & inside[:, None])
