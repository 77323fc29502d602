"""Device functions shared by the kernels: no libdevice, so that they also run in the interpreter."""

import triton
import triton.language as tl


@triton.jit
def log1p(x):
    """log(1 + x) for x >= 0, exact for small x by the series of 2 atanh(x / (2 + x))."""
    s = x / (2.0 + x)
    t = s * s
    series = 1.0 / 15.0
    series = series * t + 1.0 / 13.0
    series = series * t + 1.0 / 11.0
    series = series * t + 1.0 / 9.0
    series = series * t + 1.0 / 7.0
    series = series * t + 1.0 / 5.0
    series = series * t + 1.0 / 3.0
    return tl.where(x <= 1.0, 2.0 * s + 2.0 * s * t * series, tl.log(1.0 + x))


@triton.jit
def sides(v):
    """Cross-entropies of both sides and both probabilities of a signed margin: l, k, p, q."""
    e = tl.exp(-tl.abs(v))
    tail = log1p(e)
    inv = 1.0 / (1.0 + e)
    p = tl.where(v >= 0.0, 1.0, e) * inv
    q = tl.where(v >= 0.0, e, 1.0) * inv
    return tail + tl.maximum(-v, 0.0), tail + tl.maximum(v, 0.0), p, q


@triton.jit
def shaped(l, log_q, p, q, param, SHAPE: tl.constexpr):
    """phi(l) and its slope: 0 identity, 1 focal, 2 Poly-1, 3 comp-sum."""
    value = l
    slope = l * 0.0 + 1.0
    if SHAPE == 1:
        power = tl.exp(tl.maximum(param * log_q, -87.0))
        ratio = tl.where(q > 0.0, l / tl.maximum(q, 1e-37), 1.0)
        value = power * l
        slope = power * (1.0 + param * p * ratio)
    if SHAPE == 2:
        # near -1 both sums all but cancel: a series of l - q, and the slope from the side of q
        s = tl.minimum(l, 0.25)
        x = l * 0.0
        for k in tl.static_range(8):
            x = (1.0 - x) * s / (9 - k)
        excess = tl.where(l < 0.25, s * x, l - q)
        value = tl.where(param < 0.0, (1.0 + param) * l - param * excess, l + param * q)
        slope = tl.where(param < 0.0, (1.0 + param) - param * q, 1.0 + param * p)
    if SHAPE == 3:
        k = 1.0 - param
        x = tl.minimum(k * l, 64.0)
        slope = tl.exp(x)
        safe = tl.where(tl.abs(k) > 1e-6, k, 1.0)
        # below the cap expm1(x) / k; for small x by its series, which does not cancel
        small = x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0)))
        grown = tl.where(tl.abs(x) < 0.1, small, slope - 1.0) / safe
        value = tl.where(tl.abs(k) > 1e-6, grown + slope * (l - x / safe), l)
    return value, slope
