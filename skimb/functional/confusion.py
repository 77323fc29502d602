r"""The confusion kernel: any metric of a soft confusion matrix as a loss.

A transform turns the probability of the positive class into a soft decision :math:`A\in(0,1)`; sums of
it are soft confusion counts, and the loss is one minus the metric of those. Ratios need the sums of
the whole batch first, so these losses are batch-coupled, except the per-example Dice loss.
"""

import math
from typing import NamedTuple

import torch

from skimb.functional import _closed_form as cf
from skimb.functional import _metrics, _targets

UNDEFINED = ("skip", "smooth", "raise")
SMOOTHED = ("f1", "fbeta", "jaccard", "precision", "tversky")


class Logistic(NamedTuple):
    """A = sigmoid(L (p - threshold)): AnyLoss."""

    amplification: float = 10.0
    threshold: float = 0.5

    def of_logit(self, z):
        half = torch.mul(z, 0.5).tanh_()
        u = half * (0.5 * self.amplification)
        if self.threshold != 0.5:
            u.add_(self.amplification * (0.5 - self.threshold))
        a = torch.sigmoid(u)
        slope = u.neg_().sigmoid_().mul_(a)
        steep = half.square_().mul_(-0.25 * self.amplification).add_(0.25 * self.amplification)
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
        t = ((p - self.mu) / self.delta).clamp(-1.0, 1.0)
        a = 0.5 * (1.0 + t + torch.sin(math.pi * t) / math.pi)
        slope = (1.0 + torch.cos(math.pi * t)) / (2.0 * self.delta)
        return a, torch.where(t.abs() < 1.0, slope, torch.zeros_like(slope))


def slopes(T, F, P, N, *, metric, options, undefined, what):
    """Loss of soft counts, its derivatives in T and F, and where they count; all float64."""
    valid = (P > 0) & (N > 0)
    if undefined == "smooth":
        valid = P + N > 0
    if undefined == "raise" and not bool(valid.all()):
        raise ValueError(
            f"{what} needs both classes in every batch, got weights {P.tolist()} (positive) and "
            f"{N.tolist()} (negative); use larger or stratified batches, or undefined='skip'."
        )
    one, zero = torch.ones_like(P), torch.zeros_like(P)
    value, d_t, d_f = _metrics.BINARY[metric](
        T, F, torch.where(valid, P, one), torch.where(valid, N, one), **options
    )
    parts = (torch.where(valid, x, zero) for x in (1.0 - value, d_t, d_f))
    return (*parts, valid)


def _score(metric, options, soft, positive, weight, undefined, what):
    """Loss of soft decisions (..., n), its slope in them, and where both classes are present."""
    kw = {"metric": metric, "options": options, "undefined": undefined, "what": what}
    if weight is None:
        # without weights the slope is a line in the 0/1 targets
        T, Q, P = (
            (positive * soft).sum(-1).double(),
            soft.sum(-1).double(),
            positive.sum(-1).double(),
        )
        loss, d_t, d_f, valid = slopes(T, Q - T, P, soft.shape[-1] - P, **kw)
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
    Q, D, S = (x.sum(-1).double() for x in (soft, soft * sign, sign))
    loss, d_t, d_f, _ = slopes(
        0.5 * (Q + D),
        0.5 * (Q - D),
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
    a = torch.softmax(temperature * logits, -1)
    onehot = _targets.one_hot(target, a)
    rows = onehot if weight is None else onehot * weight.unsqueeze(-1)
    matrix = (rows.transpose(-1, -2) @ a).double()
    value, grad = metric(matrix)
    g = (rows @ -grad.to(a.dtype)).expand_as(a)
    return (1.0 - value).to(a.dtype), softmax_chain(a, g).mul_(temperature)


def softmax_chain(p, a):
    """Gradient in the logits from the gradient `a` in softmax probabilities `p`."""
    return p * (a - (p * a).sum(-1, keepdim=True))


# --- Dice --------------------------------------------------------------------------------------


def _dice_terms(w, y, *, smooth, squared):
    """Per-example Dice loss, its first and second derivative in the focused probability w."""
    if squared:
        den, d_den, dd_den = w * w + y * y + smooth, 2.0 * w, 2.0
    else:
        den, d_den, dd_den = w + y + smooth, torch.ones_like(w), 0.0
    num = 2.0 * w * y + smooth
    ratio = num / den
    d_ratio = (2.0 * y - ratio * d_den) / den
    dd_ratio = (-2.0 * d_ratio * d_den - ratio * dd_den) / den
    return 1.0 - ratio, -d_ratio, -dd_ratio


def _focused(z, alpha):
    """w = (1-p)^alpha p and its derivative in the logit, finite for every alpha."""
    p = torch.sigmoid(z)
    w = torch.pow(torch.sigmoid(z.neg()), alpha).mul_(p)
    return w, p.mul_(-1.0 - alpha).add_(1.0).mul_(w)


def dice_margin_rows(z, y, *, alpha, smooth, squared):
    """Per-example Dice losses of one logit per entry and their gradient."""
    w, d_w = _focused(z, alpha)
    if squared:
        den, d_den = torch.addcmul(y, w, w).add_(smooth), w * 2.0  # y is 0 or 1, its own square
    else:
        den, d_den = w + y + smooth, 1.0
    ratio = (w * y).mul_(2.0).add_(smooth).div_(den)
    grad = torch.sub(ratio * d_den, y, alpha=2.0).div_(den).mul_(d_w)
    return ratio.neg_().add_(1.0), grad


def dice_margin_second(z, y, *, alpha, smooth, squared):
    """Gradient and second derivative of :func:`dice_margin_rows`."""
    w, d_w = _focused(z, alpha)
    p, q = torch.sigmoid(z), torch.sigmoid(-z)
    ascent = 1.0 - (1.0 + alpha) * p
    dd_w = d_w * ascent - w * (1.0 + alpha) * p * q
    _, d, dd = _dice_terms(w, y, smooth=smooth, squared=squared)
    return d * d_w, dd * d_w * d_w + d * dd_w


def dice_rows(logits, onehot, *, alpha, smooth, squared):
    """Per-example Dice losses summed over classes: value (..., n), gradient, diagonal Hessian."""
    log_p = torch.log_softmax(logits, -1)
    p = log_p.exp()
    q = (-torch.expm1(log_p)).clamp_min(1e-12)
    power = torch.exp(alpha * q.log())
    w = power * p
    d_w = power * (1.0 - alpha * p / q)
    dd_w = power * alpha * (-2.0 + (alpha - 1.0) * p / q) / q
    loss, d, dd = _dice_terms(w, onehot, smooth=smooth, squared=squared)
    g = d * d_w
    h = dd * d_w * d_w + d * dd_w
    own = p * q * q * h * p  # h p^2 (1-p)^2
    others = (h * p * p).sum(-1, keepdim=True) - h * p * p
    lean = (g * p).sum(-1, keepdim=True) - g * p
    hess = own + others * p * p + g * p * q * (q - p) + lean * p * (p - q)
    return loss.sum(-1), softmax_chain(p, g), hess


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
    w, d_w = _focused(z, alpha)
    if hard_negatives is not None:
        weight = _keep_hard(z, positive, weight, hard_negatives)
    v = 1.0 if weight is None else weight
    num = (2.0 * (v * w * positive).sum(-1) + smooth).unsqueeze(-1)
    den = (v * (w * w + positive if squared else w + positive)).sum(-1, keepdim=True) + smooth
    slope = 2.0 * w if squared else 1.0
    grad = -(2.0 * positive * den - num * slope) / den**2 * d_w * v
    return (1.0 - num / den).squeeze(-1), grad


def _metric_function(logits, target, weight, **kw):
    if cf.is_margin(logits, target):
        return cf.apply(lambda z: binary_loss(z, cf.signs(target, z), weight, **kw), logits)
    return cf.apply(lambda z: macro_loss(z, _targets.one_hot(target, z), weight, **kw), logits)


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
        return cf.apply(lambda z: dice_margin_rows(z, target.to(z.dtype), **kw), logits)
    return cf.apply(lambda z: dice_rows(z, _targets.one_hot(target, z), **kw)[:2], logits)


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
            cf.signs(target, z),
            sample_weight,
            transform=Uniform(),
            metric="tversky",
            options=options,
        )
        return focal_tversky(value, grad, gamma)

    return cf.apply(closed, logits)
