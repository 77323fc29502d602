r"""The confusion kernel: any metric of a soft confusion matrix as a loss.

A transform turns the probability of the positive class into a soft decision :math:`A\in(0,1)`; sums of
it are soft confusion counts, and the loss is one minus the metric of those. Ratios need the sums of
the whole batch first, so these losses are batch-coupled, except the per-example Dice loss.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional import _metrics, _targets
from skimb.functional._probabilities import Odds

UNDEFINED = ("skip", "smooth", "raise")
SMOOTHED = ("f1", "fbeta", "jaccard", "precision", "tversky")


class Logistic(NamedTuple):
    """A = sigmoid(L (p - threshold)): AnyLoss."""

    amplification: float = 10.0
    threshold: float = 0.5

    def of_logit(self, z):
        u = torch.mul(z, 0.5).tanh_().mul_(0.5 * self.amplification)
        if self.threshold != 0.5:
            u.add_(self.amplification * (0.5 - self.threshold))
        a = torch.sigmoid(u)
        slope = u.neg_().sigmoid_().mul_(a)
        steep = torch.sigmoid(z).mul_(torch.sigmoid(z.neg())).mul_(self.amplification)
        return a, slope.mul_(steep)

    def of_probability(self, p):
        u = self.amplification * (p - self.threshold)
        a = torch.sigmoid(u)
        return a, a * torch.sigmoid(-u) * self.amplification


class Uniform(NamedTuple):
    """A = p: plain soft counts, the score-oriented loss with a uniform threshold."""

    def of_logit(self, z):
        p = torch.sigmoid(z)
        return p, p * torch.sigmoid(-z)

    def of_probability(self, p):
        return p, torch.ones_like(p)


class Cosine(NamedTuple):
    """A = CDF of a raised-cosine threshold on [mu - delta, mu + delta]."""

    mu: float = 0.5
    delta: float = 0.1

    def of_logit(self, z):
        p = torch.sigmoid(z)
        a, slope = self.of_probability(p)
        return a, slope * p * torch.sigmoid(-z)

    def of_probability(self, p):
        # from the lower end, where A starts like s^3 and the sine would cancel
        s = ((p - (self.mu - self.delta)) / self.delta).clamp(0.0, 2.0)
        x = math.pi * s
        low = x < 1.5
        small = torch.where(low, x, torch.zeros_like(x))
        series = torch.zeros_like(x)
        for k in range(9, 0, -1):  # x - sin x = x^3/3! - x^5/5! + ...
            series = (1.0 - series) * small * small / ((2 * k) * (2 * k + 1))
        a = torch.where(low, small * series, x - torch.sin(x)) / (2.0 * math.pi)
        slope = torch.sin(0.5 * x).square() / self.delta
        return a.clamp(0.0, 1.0), torch.where(s < 2.0, slope, torch.zeros_like(slope))


def slopes(T, miss, P, N, *, metric, options, undefined, what):
    """Loss of soft true and false positives, its derivatives in them, and where they count."""
    valid = (P > 0) & (N > 0)
    if undefined == "smooth":
        valid = P + N > 0
    if undefined == "raise" and not bool(valid.all()):
        raise ValueError(
            f"{what} needs both classes in every batch, got weights {P.tolist()} (positive) and "
            f"{N.tolist()} (negative); use larger or stratified batches, or undefined='skip'."
        )
    # sums of soft decisions in [0, 1], but for rounding: ratios of them stay in their ranges
    T, miss = torch.minimum(T.clamp_min(0.0), P), torch.minimum(miss.clamp_min(0.0), N)
    one, zero = torch.ones_like(P), torch.zeros_like(P)
    counts = T, miss, torch.where(valid, P, one), torch.where(valid, N, one)
    if callable(metric):
        counts = [
            torch.where(valid, x, x0) for x, x0 in zip(counts, (0.5, 0.5, 1.0, 1.0), strict=True)
        ]
        value, d_t, d_f = _metrics.of_counts(metric, *counts)
        _check_finite(what, valid, counts, value, d_t, d_f)
    else:
        value, d_t, d_f = _metrics.BINARY[metric](*counts, **options)
    parts = (torch.where(valid, x, zero) for x in (1.0 - value, d_t, d_f))
    return (*parts, valid)


def _check_finite(what, valid, counts, *found):
    """Refuse a user's metric that is not finite, or not smooth, at finite counts."""
    known = torch.stack([count.isfinite() for count in counts]).all(0)
    wrong = valid & known & ~torch.stack([x.isfinite() for x in found]).all(0)
    if bool(wrong.any()):
        T, F, P, N = (float(count.reshape(-1)[wrong.reshape(-1)][0]) for count in counts)
        raise ValueError(
            f"{what}: the metric or its slope is not finite at tp={T:g}, fp={F:g}, fn={P - T:g}, tn={N - F:g}; "
            "add a small number to what it divides by or takes a root of."
        )


def _score(metric, options, soft, positive, weight, undefined, what):
    """Loss of soft decisions (..., n), its slope in them, and where both classes are present."""
    kw = {"metric": metric, "options": options, "undefined": undefined, "what": what}
    if weight is None:
        # without weights the slope is a line in the 0/1 targets
        hit = positive * soft
        T, miss, P = (x.sum(-1).double() for x in (hit, soft - hit, positive))
        loss, d_t, d_f, valid = slopes(T, miss, P, soft.shape[-1] - P, **kw)
        d_t, d_f = (d.to(soft.dtype).unsqueeze(-1) for d in (d_t, d_f))
        return loss, positive * (d_f - d_t) - d_f, valid
    w_pos = positive * weight
    w_neg = weight - w_pos
    counts = [(w * x).sum(-1).double() for x in (soft, 1.0) for w in (w_pos, w_neg)]
    loss, d_t, d_f, valid = slopes(*counts, **kw)
    d_t, d_f = (d.to(soft.dtype).unsqueeze(-1) for d in (d_t, d_f))
    return loss, -(w_pos * d_t + w_neg * d_f), valid


def binary_loss(z, sign, weight, *, transform, metric, options, undefined="skip", what=""):
    """Loss (...) and gradient (..., n) of one logit per row, signs -1/+1."""
    soft, slope = transform.of_logit(z)
    if weight is not None:
        loss, g, _ = _score(metric, options, soft, sign.clamp(min=0.0), weight, undefined, what)
        return loss.to(z.dtype), g * slope
    n = soft.shape[-1]
    hit = soft * sign.clamp(min=0.0)
    T, miss, S = (x.sum(-1).double() for x in (hit, soft - hit, sign))
    loss, d_t, d_f, _ = slopes(
        T,
        miss,
        0.5 * (n + S),
        0.5 * (n - S),
        metric=metric,
        options=options,
        undefined=undefined,
        what=what,
    )
    lean, level = (0.5 * (d_f - d_t)).to(z.dtype), (-0.5 * (d_f + d_t)).to(z.dtype)
    return loss.to(z.dtype), (sign * lean.unsqueeze(-1)).add_(level.unsqueeze(-1)).mul_(slope)


def macro_loss(logits, onehot, weight, *, transform, metric, options, undefined="skip", what=""):
    """One-vs-rest losses of softmax probabilities, averaged over the classes in the batch."""
    p = torch.softmax(logits, -1)
    soft, slope = transform.of_probability(p)
    w = None if weight is None else weight.unsqueeze(-2)
    loss, g, valid = _score(
        metric, options, soft.transpose(-1, -2), onehot.transpose(-1, -2), w, undefined, what
    )
    count = valid.sum(-1).clamp_min(1)
    a = g.transpose(-1, -2) * slope / count[..., None, None].to(p.dtype)
    return (loss.sum(-1) / count).to(p.dtype), softmax_chain(p, a)


def label_loss(logits, positive, weight, *, transform, metric, options, undefined="skip", what=""):
    """Losses of each label's own logit, averaged over the labels defined in the batch."""
    soft, slope = transform.of_logit(logits)
    w = None if weight is None else weight.unsqueeze(-2)
    loss, g, valid = _score(
        metric, options, soft.transpose(-1, -2), positive.transpose(-1, -2), w, undefined, what
    )
    count = valid.sum(-1).clamp_min(1)
    grad = g.transpose(-1, -2) * slope / count[..., None, None].to(soft.dtype)
    return (loss.sum(-1) / count).to(soft.dtype), grad


def confusion_loss(logits, target, weight, *, temperature, metric):
    """Loss of the soft C x C confusion matrix of softmax(temperature z).

    `metric` maps matrices (..., C, C) to values (...) and gradients (..., C, C).
    """
    a = torch.softmax(temperature * (logits - logits.amax(-1, keepdim=True)), -1)
    onehot = _targets.one_hot(target, a)
    rows = onehot if weight is None else onehot * weight.unsqueeze(-1)
    matrix = (rows.transpose(-1, -2) @ a).double()
    value, grad = metric(matrix)
    g = (rows @ -grad.to(a.dtype)).expand_as(a)
    bad = cf.poison(logits, -1, -2)
    grad = softmax_chain(a, g).mul_(temperature)
    return (1.0 - value).to(a.dtype) + bad, grad + bad[..., None, None]


def softmax_chain(p, a):
    """Gradient in the logits from the gradient `a` in softmax probabilities `p`."""
    # relative to the likeliest class, whose probability rounds to one
    a = a - a.gather(-1, p.argmax(-1, keepdim=True))
    return p * (a - (p * a).sum(-1, keepdim=True))


# --- Dice --------------------------------------------------------------------------------------


class _Focused:
    """w = (1-p)^alpha p of one logit, one minus it, and its derivatives, at any logit and alpha."""

    def __init__(self, z, alpha):
        self.alpha, self.p, self.q = alpha, torch.sigmoid(z), torch.sigmoid(-z)
        log_w = alpha * F.logsigmoid(-z) + F.logsigmoid(z)
        self.w, self.rest = torch.exp(log_w), -torch.expm1(log_w)
        self.ascent = self.q - alpha * self.p
        self.slope = self.w * self.ascent

    def bend(self):
        """Second derivative in the logit."""
        return self.slope * self.ascent - self.w * (1.0 + self.alpha) * self.p * self.q


def _dice_terms(focused, y, *, smooth, squared):
    """Per-example Dice loss and its derivative in w; targets y are 0 or 1."""
    w = focused.w
    off = torch.where(y > 0, focused.rest, w)  # how far w is from its target
    if squared:
        den = torch.addcmul(y, w, w).add_(smooth)
        loss = off * off / den
        # ratio w - 1 of positives, without taking the difference
        lean = torch.where(y > 0, -focused.rest - w * loss, w * (smooth / den))
        return loss, 2.0 * lean / den, den
    den = w + y + smooth
    loss = off / den
    return loss, torch.where(y > 0, -1.0 - loss, smooth / den) / den, den


def dice_margin_rows(z, y, *, alpha, smooth, squared):
    """Per-example Dice losses of one logit per entry and their gradient."""
    focused = _Focused(z, alpha)
    loss, slope, _ = _dice_terms(focused, y, smooth=smooth, squared=squared)
    return loss, slope * focused.slope


def dice_margin_second(z, y, *, alpha, smooth, squared):
    """Gradient and second derivative of :func:`dice_margin_rows`."""
    focused = _Focused(z, alpha)
    w, d_w = focused.w, focused.slope
    _, d, den = _dice_terms(focused, y, smooth=smooth, squared=squared)
    curve = -2.0 * d * (2.0 * w if squared else 1.0) / den
    if squared:
        curve = curve + 2.0 * (2.0 * w * y + smooth) / den**2
    return d * d_w, curve * d_w * d_w + d * focused.bend()


def dice_rows(logits, onehot, *, alpha, smooth, squared):
    """Per-example Dice losses summed over classes: value (..., n) and gradient."""
    odds = Odds(logits)
    kw = {"alpha": alpha, "smooth": smooth, "squared": squared}
    loss, grad = dice_margin_rows(odds.odds, onehot, **kw)
    return loss.sum(-1), odds.gradient(grad)


def dice_second(logits, onehot, *, alpha, smooth, squared):
    """Gradient and diagonal Hessian of :func:`dice_rows`."""
    odds = Odds(logits)
    kw = {"alpha": alpha, "smooth": smooth, "squared": squared}
    grad, hess = dice_margin_second(odds.odds, onehot, **kw)
    return odds.gradient(grad), odds.hessian(grad, hess)


def _keep_hard(z, positive, weight, ratio):
    """Weights that keep the positives and `ratio` times as much of the highest-scored negatives."""
    v = torch.ones_like(z) if weight is None else weight.to(z).expand_as(z)
    room = ratio * (v * positive).sum(-1, keepdim=True)
    order = torch.argsort(z.masked_fill(positive > 0, -torch.inf), dim=-1, descending=True)
    w = (v * (1.0 - positive)).gather(-1, order)
    kept = torch.minimum((room - (w.cumsum(-1) - w)).clamp_min(0.0), w)
    return v * positive + torch.empty_like(kept).scatter_(-1, order, kept)


def dice_set(z, positive, weight, *, alpha, smooth, squared, hard_negatives=None):
    """Set-level Dice loss of one logit per row: value (...) and gradient (..., n)."""
    if hard_negatives is not None:
        weight = _keep_hard(z, positive, weight, hard_negatives)
    v = 1.0 if weight is None else weight
    focused = _Focused(z, alpha)
    w, up = focused.w, positive > 0
    den = (v * (w * w + positive if squared else w + positive)).sum(-1, keepdim=True) + smooth
    off = torch.where(up, focused.rest, w)
    loss = (v * (off * off if squared else off)).sum(-1, keepdim=True) / den
    ratio = (2.0 * (v * w * positive).sum(-1, keepdim=True) + smooth) / den
    if squared:
        slope = 2.0 * torch.where(up, -focused.rest - w * loss, w * ratio)
    else:
        slope = torch.where(up, -1.0 - loss, ratio)
    return loss.squeeze(-1), slope / den * focused.slope * v


def dice_set_classes(logits, onehot, weight, **kw):
    """Set-level Dice losses of each class's odds against the rest: their mean and its gradient."""
    odds = Odds(logits)
    w = None if weight is None else weight.unsqueeze(-2)
    loss, grad = dice_set(odds.odds.transpose(-1, -2), onehot.transpose(-1, -2), w, **kw)
    return loss.mean(-1), odds.gradient(grad.transpose(-1, -2)) / logits.shape[-1]


def _metric_function(logits, target, sample_weight, **kw):
    def closed(z):
        if cf.is_margin(z, target):
            return binary_loss(z, _targets.signs(target, z), sample_weight, **kw)
        return macro_loss(z, _targets.one_hot(target, z), sample_weight, **kw)

    return cf.apply(closed, logits)


def anyloss(
    logits,
    target,
    *,
    metric="f1",
    amplification=10.0,
    threshold=0.5,
    beta=1.0,
    smooth=0.0,
    sample_weight=None,
):
    r"""One minus a metric of :math:`\sigma(L(p-\mathrm{threshold}))` (arXiv 2405.14745).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; several classes are averaged one against the rest.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    metric : str, default="f1"
        A name of the metric table in the user guide.
    amplification : float, default=10.0
        Sharpness L of the soft decision, in (0, 200].
    threshold : float in (0, 1), default=0.5
        Probability at which the soft decision is one half.
    beta : float, default=1.0
        For ``metric="fbeta"``.
    smooth : float, default=0.0
        Added to numerator and denominator of ratio metrics.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss in [0, 1], in [0, 2] for mcc, kappa and youden; 0 for a batch of one class.
    """
    return _metric_function(
        logits,
        target,
        sample_weight,
        transform=Logistic(amplification, threshold),
        metric=metric,
        options={"beta": beta if metric == "fbeta" else 1.0, "smooth": smooth},
    )


def score_oriented(
    logits,
    target,
    *,
    metric="f1",
    distribution="cosine",
    mu=0.5,
    delta=0.3,
    smooth=0.0,
    sample_weight=None,
):
    """One minus a score of the expected confusion matrix under a random threshold (arXiv 2103.15522).

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; several classes are averaged one against the rest.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    metric : str, default="f1"
        A name of the metric table in the user guide.
    distribution : {"cosine", "uniform"}, default="cosine"
        Law of the threshold.
    mu, delta : float, default=0.5, 0.3
        Centre and half-width of the raised cosine.
    smooth : float, default=0.0
        Added to numerator and denominator of ratio metrics.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss; 0 for a batch of one class.
    """
    transform = Cosine(mu, delta) if distribution == "cosine" else Uniform()
    return _metric_function(
        logits,
        target,
        sample_weight,
        transform=transform,
        metric=metric,
        options={"smooth": smooth},
    )


def dice(logits, target, *, alpha=0.01, smooth=1.0, squared=True):
    r"""Per-example self-adjusting Dice loss (arXiv 1911.02855).

    :math:`1-(2wt+g)/(w^2+t^2+g)` with :math:`w=(1-p)^\alpha p`, summed over classes.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C) or (..., n)
        Scores; one logit per row means two classes with class 0 at logit 0.
    target : Tensor of shape (..., n)
        Class indices, or 0/1.
    alpha : float, default=0.01
        Self-adjusting exponent, at least 0.
    smooth : float, default=1.0
        Smoothing g, positive.
    squared : bool, default=True
        Squared denominator; the linear one is known to collapse to one class.

    Returns
    -------
    Tensor of shape (..., n)
        Row losses.
    """
    kw = {"alpha": alpha, "smooth": smooth, "squared": squared}
    if cf.is_margin(logits, target):
        y = _targets.binary(target, logits)
        return cf.apply(lambda z: dice_margin_rows(z, y.to(z.dtype), **kw), logits)
    return cf.apply(lambda z: dice_rows(z, _targets.one_hot(target, z), **kw), logits)


def focal_tversky(value, grad, gamma):
    """Raise a Tversky loss ``1 - TI`` and its gradient to the power `gamma`."""
    if gamma == 1.0:
        return value, grad
    safe = value.clamp_min(1e-12)
    slope = gamma * torch.pow(safe, gamma - 1.0)
    slope = torch.where(value > 0, slope, torch.zeros_like(slope))
    return torch.where(value > 0, safe**gamma, value), grad * slope.unsqueeze(-1)


def tversky(logits, target, *, alpha=0.7, gamma=0.75, smooth=1.0, sample_weight=None):
    r"""Focal Tversky loss :math:`(1-TI)^\gamma` (arXiv 1810.07842) of two classes.

    :math:`TI=(TP+s)/(TP+\alpha FN+(1-\alpha)FP+s)` with soft counts.

    Parameters
    ----------
    logits : Tensor of shape (..., n)
        One logit per row.
    target : Tensor of shape (..., n)
        0/1 targets.
    alpha : float in [0, 1], default=0.7
        Weight of false negatives against false positives.
    gamma : float, default=0.75
        Focal exponent, positive.
    smooth : float, default=1.0
        Smoothing s.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights.

    Returns
    -------
    Tensor of shape (...)
        Loss in [0, 1].
    """

    def closed(z):
        options = {"alpha_fp": 1.0 - alpha, "alpha_fn": alpha, "smooth": smooth}
        value, grad = binary_loss(
            z,
            _targets.signs(target, z),
            sample_weight,
            transform=Uniform(),
            metric="tversky",
            options=options,
        )
        return focal_tversky(value, grad, gamma)

    return cf.apply(closed, logits)
