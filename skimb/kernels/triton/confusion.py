"""The confusion kernel: soft counts by block, then the gradient from their sums. No atomics."""

import triton
import triton.language as tl

BLOCK = 2048


@triton.jit
def _soft(z, sharpness, shift):
    """A = sigmoid(L / 2 tanh(z / 2) + shift) and dA/dz."""
    e = tl.exp(-tl.abs(z))
    inv = 1.0 / (1.0 + e)
    mag = (1.0 - e) * inv
    u = 0.5 * sharpness * tl.where(z >= 0.0, mag, -mag) + shift
    d = tl.exp(-tl.abs(u))
    back = 1.0 / (1.0 + d)
    soft = tl.where(u >= 0.0, 1.0, d) * back
    return soft, sharpness * (d * back * back) * (e * inv * inv)


@triton.jit
def counts_kernel(
    Z, SIGN, WEIGHT, PARTS, n, blocks, sharpness, shift, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr
):
    """Weighted sums of A over positives and negatives, and the weights of both, by block (members, 4, blocks)."""
    member = tl.program_id(1)
    b = tl.program_id(0)
    i = b * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    place = member.to(tl.int64) * n + i
    z = tl.load(Z + place, mask=inside, other=0.0).to(tl.float32)
    positive = tl.load(SIGN + place, mask=inside, other=0.0).to(tl.float32) > 0.0
    w = tl.where(inside, 1.0, 0.0)
    if WEIGHTED:
        w = tl.load(WEIGHT + place, mask=inside, other=0.0).to(tl.float32)
    soft, _ = _soft(z, sharpness, shift)
    out = PARTS + member * 4 * blocks + b
    tl.store(out, tl.sum(tl.where(positive, w * soft, 0.0), 0))
    tl.store(out + blocks, tl.sum(tl.where(positive, 0.0, w * soft), 0))
    tl.store(out + 2 * blocks, tl.sum(tl.where(positive, w, 0.0), 0))
    tl.store(out + 3 * blocks, tl.sum(tl.where(positive, 0.0, w), 0))


@triton.jit
def counts_grad_kernel(
    Z, SIGN, WEIGHT, SLOPES, GRAD, n, sharpness, shift, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr
):
    """Gradient from the derivatives (members, 2) of the metric in both sums."""
    member = tl.program_id(1)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    place = member.to(tl.int64) * n + i
    z = tl.load(Z + place, mask=inside, other=0.0).to(tl.float32)
    positive = tl.load(SIGN + place, mask=inside, other=0.0).to(tl.float32) > 0.0
    d_t = tl.load(SLOPES + 2 * member)
    d_f = tl.load(SLOPES + 2 * member + 1)
    _, slope = _soft(z, sharpness, shift)
    d = -tl.where(positive, d_t, d_f) * slope
    if WEIGHTED:
        d = d * tl.load(WEIGHT + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(GRAD + place, d.to(GRAD.dtype.element_ty), mask=inside)
