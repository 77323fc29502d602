"""The bound loss of the softmax kernel."""

import numpy as np
import torch
import torch.nn.functional as F

from skimb import kernels
from skimb.functional import _shapes as shapes
from skimb.functional import softmax as kernel
from skimb.functional._probabilities import Odds
from skimb.losses._base import RowBound, as_like


class SoftmaxBound(RowBound):
    """Any loss of the softmax kernel: a shape, adjustments of the logits, weights of classes.

    The row loss is ``gain * w_y * phi(CE(s (a z + b - m_y))) + constant``.

    Parameters
    ----------
    shape : shape, default=None
        The function phi; ``None`` is the identity.
    smoothing : float or array of shape (C,), default=0.0
        Share of the target that is spread evenly, for all rows or by true class.
    weights : array of shape (C,) or (L, 2), default=None
        Weight of a row by its true class.
    gain, constant : float, default=1.0, 0.0
        Affine reading of the value.
    invertible : bool, default=True
        Whether the posterior follows from the logits.
    **terms : arrays
        ``mult`` a, ``bias`` b, ``margin`` m and ``scale`` s of :func:`skimb.functional.softmax.rows`.
    """

    def __init__(
        self,
        shape=None,
        *,
        smoothing=0.0,
        weights=None,
        gain=1.0,
        constant=0.0,
        invertible=True,
        **terms,
    ):
        super().__init__()
        self.shape = shapes.Identity() if shape is None else shape
        self.smoothing = smoothing
        self.weights = None if weights is None else np.asarray(weights, float)
        self.gain = gain
        self.constant = constant
        self.invertible = invertible
        terms = {k: v for k, v in terms.items() if v is not None}
        margin = kernel.margin_adjustment(**terms) if _two_sided(terms) else {}
        self.arrays = {**terms, **{f"margin_{k}": v for k, v in margin.items()}}

    def _terms(self, like):
        """Adjustments of logits with a class axis, as tensors like `like`; made once."""
        return self.cached(like, "terms", lambda: self._tensors(like, ""))

    def _margin_terms(self, like):
        """Adjustments of one logit per entry, as tensors like `like`; made once."""
        return self.cached(like, "margin_terms", lambda: self._tensors(like, "margin_"))

    def _tensors(self, like, prefix):
        names = ("mult", "offset", "margins") if prefix else ("mult", "bias", "margin", "scale")
        found = {name: self.arrays.get(prefix + name) for name in names}
        return {
            name: tuple(as_like(v, like) for v in value)
            if isinstance(value, tuple)
            else as_like(value, like)
            for name, value in found.items()
            if value is not None
        }

    def _is_margin(self, logits, code):
        return self.form(logits, code) in ("labels", "margin")

    def _of_class(self, name, logits, code):
        """An array (C,) or (L, 2) read at the true class or side of each entry."""
        array = self.cached(logits, name, lambda: as_like(getattr(self, name), logits))
        if self._is_margin(logits, code):
            return kernel.by_sign(code, array[..., 0], array[..., 1])
        return array[code]

    def _spread(self, logits, code):
        if isinstance(self.smoothing, float):
            return self.smoothing
        return self._of_class("smoothing", logits, code)

    def row_shape(self, logits, target):
        """The shape; losses whose shape varies by row replace this."""
        return self.shape

    def adjustment(self, logits, target):
        """Adjustments of the logits; losses that adjust row by row extend this."""
        if self._is_margin(logits, target.code):
            return self._margin_terms(logits)
        return self._terms(logits)

    def entries(self, logits, target, factor=1.0):
        code = target.code
        kw = {"smoothing": self._spread(logits, code), "factor": factor * self.gain}
        kw["shape"] = self.row_shape(logits, target)
        of = kernels.margin_rows if self._is_margin(logits, code) else kernels.rows
        loss, grad = of(logits, code, **kw, **self.adjustment(logits, target))
        if self.gain != 1.0:
            loss = loss * self.gain
        if self.constant:
            loss = loss + self.constant
        if self.weights is not None:
            side = self._of_class("weights", logits, code)
            loss, grad = loss * side, grad * _spread_over(side, grad)
        return loss, grad

    def second(self, logits, target):
        return self._second(logits, target)

    def convex_second(self, logits, target):
        return self._second(logits, target, convex=True)

    def _second(self, logits, target, **convex):
        code = target.code
        kw = {"smoothing": self._spread(logits, code), "shape": self.row_shape(logits, target)}
        of = kernel.margin_grad_hess if self._is_margin(logits, code) else kernel.grad_hess
        grad, hess = of(logits, code, **kw, **convex, **self.adjustment(logits, target))
        factor = self.gain
        if self.weights is not None:
            factor = factor * _spread_over(self._of_class("weights", logits, code), grad)
        return grad * factor, hess * factor

    def log_scores(self, logits):
        """Invert the loss: ``p / (w phi'(-log p))``, margins set aside, smoothing undone."""
        if not self.invertible:
            return super().log_scores(logits)
        if self.has_class_axis(logits):
            terms = {k: v for k, v in self._terms(logits).items() if k != "margin"}
            z = kernel.adjust(logits, **terms)
            log_p = torch.log_softmax(z, -1)
            if self._smooths():
                log_p = self._unsmooth(log_p)
            elif not isinstance(self.shape, shapes.Identity):
                odds = Odds(z).odds
                log_p = F.logsigmoid(odds)
                log_p = log_p - self.shape.log_slope(log_p, F.logsigmoid(-odds))
            if self.weights is None:
                return log_p
            return log_p - as_like(np.log(self.weights), log_p)
        terms = {k: v for k, v in self._margin_terms(logits).items() if k != "margins"}
        u = kernel.margin_argument(logits, **terms)
        if not isinstance(self.shape, shapes.Identity) or self._smooths():
            both = torch.stack([F.logsigmoid(-u), F.logsigmoid(u)], -1)
            if self._smooths():
                both = self._unsmooth(both)
            else:
                both = both - self.shape.log_slope(both, both.flip(-1))
            u = both[..., 1] - both[..., 0]
        if self.weights is None:
            return u
        tilt = np.log(self.weights)
        return u - as_like(np.asarray(tilt[..., 1] - tilt[..., 0]), u)

    def _smooths(self):
        return not isinstance(self.smoothing, float) or self.smoothing != 0.0

    def _unsmooth(self, log_p):
        """Undo smoothing e_k by class: q_k = P_k (1 - e_k) + s / C with s = sum_k P_k e_k."""
        width = log_p.shape[-1]
        e = as_like(self.smoothing + np.zeros(width), log_p)
        p = log_p.exp()
        spread = e / (1.0 - e)
        s = (spread * p).sum(-1, keepdim=True) / (1.0 + spread.sum() / width)
        return ((p - s / width) / (1.0 - e)).clamp_min(torch.finfo(p.dtype).tiny).log()


def _spread_over(side, grad):
    return side.unsqueeze(-1) if grad.ndim > side.ndim else side


def _two_sided(terms):
    """Whether the class axis has two entries, so that a one-logit form exists."""
    widths = {np.shape(v)[-1] for v in terms.values() if np.ndim(v)}
    return widths <= {2}


def sides(prior):
    """Counts (C,) of exclusive classes, or (L, 2) of each label's two sides."""
    return prior.sides() if prior.multilabel else prior.floored_counts


def log_prior(prior):
    """Log prior (C,) of exclusive classes, or (L, 2) of each label's two sides."""
    log_p = prior.log_prior()
    if prior.multilabel:
        return np.stack([np.log1p(-np.exp(log_p)), log_p], axis=1)
    return log_p
