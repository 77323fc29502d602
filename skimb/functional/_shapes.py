r"""Scalar shapes :math:`\varphi(\ell)` over the row cross-entropy :math:`\ell=-\log p_y \ge 0`.

Each shape gives the value with its slope, the value with slope times :math:`q` from
a signed margin, the curvature times :math:`q^2` (finite where the curvature
alone diverges) and the logarithm of the slope from :math:`\log p` and :math:`\log q`, which inverts the loss
into probabilities.
With :math:`p=e^{-\ell}`, :math:`q=1-p` and :math:`r=\ell/q`.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

_CAP = 64.0  # largest exponent of the comp-sum family; leaves float32 room for sums of rows
_LOG_2 = math.log(2.0)


def _complement(l):
    return torch.expm1(-l).neg_()


def _ratio(l, q):
    """l / q, continued by its limit 1 where both are too small to hold digits."""
    there = q >= torch.finfo(q.dtype).tiny
    return torch.where(there, l / torch.where(there, q, torch.ones_like(q)), torch.ones_like(q))


class Identity(NamedTuple):
    """phi(l) = l: cross-entropy."""

    def margin(self, v):
        return F.logsigmoid(v).neg_(), torch.sigmoid(v.neg())

    def value_slope(self, l):
        return l, None

    def curvature_q2(self, l):
        return torch.zeros_like(l)

    def log_slope(self, log_p, log_q):
        return torch.zeros_like(log_p)


class Focal(NamedTuple):
    """phi(l) = q^gamma l."""

    gamma: Any

    def value_slope(self, l):
        if isinstance(self.gamma, float) and self.gamma == 0.0:
            return l, None
        p = torch.exp(-l)
        q = _complement(l)
        scale = torch.pow(q, self.gamma)
        slope = p.mul_(_ratio(l, q)).mul_(self.gamma).add_(1.0).mul_(scale)
        return scale * l, slope

    def margin(self, v):
        l, q = F.logsigmoid(v).neg_(), torch.sigmoid(v.neg())
        if isinstance(self.gamma, float) and self.gamma == 0.0:
            return l, q
        square = isinstance(self.gamma, float) and self.gamma == 2.0
        scale = q * q if square else torch.pow(q, self.gamma)
        return scale * l, torch.sigmoid(v).mul_(l).mul_(self.gamma).add_(q).mul_(scale)

    def curvature_q2(self, l):
        p, q = torch.exp(-l), _complement(l)
        inner = 2.0 + (self.gamma - 1.0) * p * _ratio(l, q) - l
        return self.gamma * p * torch.pow(q, self.gamma + 1.0) * inner

    def log_slope(self, log_p, log_q):
        r = _ratio(-log_p, log_q.exp())
        return self.gamma * log_q + torch.log1p(self.gamma * log_p.exp() * r)


class CompSum(NamedTuple):
    """phi(l) = expm1((1 - tau) l) / (1 - tau), continued linearly where the exponent passes 64."""

    tau: Any

    def _parts(self, l):
        k = 1.0 - self.tau
        return k, (k * l).clamp(max=_CAP)

    def value_slope(self, l):
        if isinstance(self.tau, float) and self.tau == 1.0:
            return l, None
        k, e = self._parts(l)
        slope = torch.exp(e)
        if isinstance(k, float):
            value = torch.expm1(e) / k
        else:
            value = torch.where(k == 0, e, torch.expm1(e) / torch.where(k == 0, 1.0, k))
            e = torch.where(k == 0, l, e / torch.where(k == 0, 1.0, k))
            value = torch.where(k == 0, l, value)
            return value + slope * (l - e), slope
        if k > 0:
            value = value + slope * (l - e / k)
        return value, slope

    def margin(self, v):
        l, q = F.logsigmoid(v).neg_(), torch.sigmoid(v.neg())
        value, slope = self.value_slope(l)
        return value, q if slope is None else q.mul_(slope)

    def curvature_q2(self, l):
        k, e = self._parts(l)
        return k * torch.exp(e) * _complement(l).square() * (k * l <= _CAP)

    def log_slope(self, log_p, log_q):
        return (self.tau - 1.0) * log_p


def _leading(l, q, epsilon):
    """l + epsilon q; for epsilon near -1 both all but cancel, and the rest of the series is left."""
    if not torch.is_tensor(epsilon) and epsilon >= 0.0:
        return l + epsilon * q
    minus = (1.0 + epsilon) * l - epsilon * _excess(l, q)
    return torch.where(_negative(epsilon, l), minus, l + epsilon * q)


def _excess(l, q):
    """l - q, for small l by its series l^2/2! - l^3/3! + ..."""
    small = l.clamp(max=0.25)
    x = torch.zeros_like(l)
    for k in range(13, 1, -1):
        x = (1.0 - x) * small / k
    return torch.where(l < 0.25, small * x, l - q)


def _weighed(epsilon, first, second):
    """log((1 + epsilon) e^first - epsilon e^second) for epsilon from -1 to 0."""
    rest, share = (x.clamp_min(0.0).log() for x in (1.0 + epsilon, -epsilon))
    return torch.logaddexp(rest + first, share + second)


def _leading_slope(p, q, epsilon):
    """1 + epsilon p, from the side that does not cancel."""
    if not torch.is_tensor(epsilon) and epsilon >= 0.0:
        return 1.0 + epsilon * p
    return torch.where(_negative(epsilon, p), (1.0 + epsilon) - epsilon * q, 1.0 + epsilon * p)


def _negative(epsilon, like):
    return torch.as_tensor(epsilon, dtype=like.dtype, device=like.device) < 0


class Poly(NamedTuple):
    """phi(l) = l + epsilon q."""

    epsilon: Any

    def value_slope(self, l):
        p, q = torch.exp(-l), _complement(l)
        return _leading(l, q, self.epsilon), _leading_slope(p, q, self.epsilon)

    def margin(self, v):
        l, q = F.logsigmoid(v).neg_(), torch.sigmoid(v.neg())
        slope = _leading_slope(torch.sigmoid(v), q, self.epsilon)
        return _leading(l, q, self.epsilon), slope * q

    def curvature_q2(self, l):
        return -self.epsilon * torch.exp(-l) * _complement(l).square()

    def log_slope(self, log_p, log_q):
        epsilon = torch.as_tensor(self.epsilon, dtype=log_p.dtype, device=log_p.device)
        plus = torch.log1p(epsilon.clamp_min(0.0) * log_p.exp())
        return torch.where(epsilon < 0, _weighed(epsilon, 0.0, log_q), plus)


class PolyFocal(NamedTuple):
    """phi(l) = q^gamma l + epsilon q^(gamma + 1)."""

    gamma: Any
    epsilon: Any

    def _slope_q(self, p, q, l):
        """The slope over q^(gamma - 1), and the value over q^gamma."""
        lead = _leading(l, q, self.epsilon)
        return q * _leading_slope(p, q, self.epsilon) + self.gamma * p * lead, lead

    def value_slope(self, l):
        p, q = torch.exp(-l), _complement(l)
        scale = torch.pow(q, self.gamma)
        slope, lead = self._slope_q(p, q, l)
        return scale * lead, scale * torch.where(q > 0, slope / q, self._first(q))

    def _first(self, like):
        """Slope over q^gamma of a row that is sure."""
        first = (1.0 + self.gamma) * (1.0 + self.epsilon)
        return torch.as_tensor(first, dtype=like.dtype, device=like.device)

    def margin(self, v):
        l, q = F.logsigmoid(v).neg_(), torch.sigmoid(v.neg())
        scale = torch.pow(q, self.gamma)
        slope, lead = self._slope_q(torch.sigmoid(v), q, l)
        return scale * lead, scale * slope

    def curvature_q2(self, l):
        p, q = torch.exp(-l), _complement(l)
        extra = self.gamma * torch.pow(q, self.gamma + 1.0) * p - torch.pow(q, self.gamma + 2.0)
        return Focal(self.gamma).curvature_q2(l) + self.epsilon * (self.gamma + 1.0) * p * extra

    def log_slope(self, log_p, log_q):
        p, q, l = log_p.exp(), log_q.exp(), -log_p
        r = _ratio(l, q)
        epsilon = torch.as_tensor(self.epsilon, dtype=l.dtype, device=l.device)
        plus = torch.log1p(p * (self.gamma * r + epsilon.clamp_min(0.0) * (self.gamma + 1.0)))
        # (l - q) / q^2, which is one half for sure rows
        bend = torch.where(l < 1e-4, 0.5 + l / 3.0, _excess(l, q) / q.square())
        first, second = (torch.log1p(self.gamma * p * x) for x in (r, bend))
        minus = _weighed(epsilon, first, second + log_q)
        return self.gamma * log_q + torch.where(epsilon < 0, minus, plus)


class Coverage(NamedTuple):
    """phi(l) = -log(1 - q^n): the logarithm of the chance that one of n draws is right; n is at least 1."""

    n: Any

    def _value_log_slope(self, p, l, log_q):
        n = torch.as_tensor(self.n, dtype=l.dtype, device=l.device)
        log_n = n.log()
        x = -n * log_q
        # -log(1 - e^-x), by its limit where p is too small to hold digits
        value = torch.where(x < _LOG_2, -torch.expm1(-x).neg().log(), -torch.log1p(-torch.exp(-x)))
        value = torch.where(x < torch.finfo(x.dtype).eps, l - log_n, value)
        # log n - l + value, which cancel for rows that n draws hardly ever get right
        lead = torch.where(x < 1.0, _half_rate(x) - _log_ratio(p, log_q), log_n - l + value)
        log_slope = lead + (n - 1.0) * log_q.clamp_min(torch.finfo(l.dtype).min)
        return value, log_slope.clamp_max(0.0)

    def value_slope(self, l):
        if isinstance(self.n, float) and self.n == 1.0:
            return l, None
        p, q = torch.exp(-l), _complement(l)
        value, log_slope = self._value_log_slope(p, l, _log_complement(p, q))
        return value, log_slope.exp()

    def margin(self, v):
        l, q = F.logsigmoid(v).neg_(), torch.sigmoid(v.neg())
        if isinstance(self.n, float) and self.n == 1.0:
            return l, q
        value, log_slope = self._value_log_slope(torch.sigmoid(v), l, F.logsigmoid(-v))
        return value, log_slope.exp().mul_(q)

    def curvature_q2(self, l):
        p, q = torch.exp(-l), _complement(l)
        _, log_slope = self._value_log_slope(p, l, _log_complement(p, q))
        inner = (self.n - 1.0) * p + q * torch.expm1(log_slope)
        return (log_slope.exp() * q * inner).clamp_min(0.0)

    def log_slope(self, log_p, log_q):
        return self._value_log_slope(log_p.exp(), -log_p, log_q)[1]


def _half_rate(x):
    """-log((1 - e^-x) / x), by its series x/2 - x^2/24 + ... for small x."""
    series = 0.5 * x - x * x / 24.0
    return torch.where(x < torch.finfo(x.dtype).eps ** 0.25, series, -(-torch.expm1(-x) / x).log())


def _log_ratio(p, log_q):
    """log(-log(1 - p) / p), by its series p/2 + 5 p^2/24 + p^3/8 + ... for small p."""
    series = p * (0.5 + p * (5.0 / 24.0 + p / 8.0))
    return torch.where(p < torch.finfo(p.dtype).eps ** 0.25, series, (-log_q / p).log())


def _log_complement(p, q):
    """log(1 - p), from the side that keeps its digits."""
    return torch.where(p < 0.5, torch.log1p(-p), q.log())


class InfluenceBalanced(NamedTuple):
    """phi(l) = alpha l / (2 H q + epsilon), H the L1 norm of a row's features."""

    alpha: Any
    norm: Any
    epsilon: Any

    def value_slope(self, l):
        p, q = torch.exp(-l), _complement(l)
        d = 2.0 * self.norm * q + self.epsilon
        return self.alpha * l / d, self.alpha * (d - 2.0 * self.norm * p * l) / d**2

    def margin(self, v):
        l, q = F.logsigmoid(v).neg_(), torch.sigmoid(v.neg())
        value, slope = self.value_slope(l)
        return value, slope * q

    def curvature_q2(self, l):
        p, q = torch.exp(-l), _complement(l)
        h = 2.0 * self.norm * p
        d = 2.0 * self.norm * q + self.epsilon
        return self.alpha * (2.0 * h * h * l / d - h * (2.0 - l)) * (q / d) ** 2


class Charbonnier(NamedTuple):
    """phi(l) = sqrt(q^2 + epsilon^2) - epsilon: a smooth absolute error of the probability."""

    epsilon: Any

    def value_slope(self, l):
        q = _complement(l)
        root = torch.sqrt(q * q + self.epsilon**2)
        return q * q / (root + self.epsilon), q * torch.exp(-l) / root

    def margin(self, v):
        q = torch.sigmoid(v.neg())
        root = torch.sqrt(q * q + self.epsilon**2)
        return q * q / (root + self.epsilon), q * q * torch.sigmoid(v) / root

    def curvature_q2(self, l):
        p, q = torch.exp(-l), _complement(l)
        root = torch.sqrt(q * q + self.epsilon**2)
        return p * q * q * (self.epsilon**2 * p / root**3 - q / root)
