"""Dice losses, per example and of a batch."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import confusion as kernel
from skimb.losses._base import BoundLoss, RowBound, one_hot, pair_to_margin, positives
from skimb.losses._mix import MIX_CONSTRAINTS, MixesCrossEntropy


class DiceRowBound(RowBound):
    """The per-example Dice loss."""

    def __init__(self, alpha, smooth, squared):
        super().__init__()
        self.kw = {"alpha": alpha, "smooth": smooth, "squared": squared}

    def entries(self, logits, code, factor=1.0):
        if self.task == "multilabel" or logits.ndim == code.ndim:
            loss, grad = kernel.dice_margin_rows(logits, positives(code), **self.kw)
        elif self.n_classes == 2:
            target = code.to(logits.dtype)
            loss, grad = pair_to_margin(
                lambda z: kernel.dice_margin_rows(z, target, **self.kw), logits
            )
        else:
            loss, grad = kernel.dice_rows(logits, one_hot(code, logits), **self.kw)[:2]
        return loss, grad.mul_(factor)

    def second(self, logits, code):
        if self.task == "multilabel" or logits.ndim == code.ndim:
            return kernel.dice_margin_second(logits, positives(code), **self.kw)
        if self.n_classes == 2:
            z = logits[..., 1] - logits[..., 0]
            g, h = kernel.dice_margin_second(z, code.to(z.dtype), **self.kw)
            return torch.stack([-g, g], -1), torch.stack([h, h], -1)
        return kernel.dice_rows(logits, one_hot(code, logits), **self.kw)[1:]


class DiceSetBound(BoundLoss):
    """The set-level Dice loss, one coefficient per batch."""

    def __init__(self, **kw):
        super().__init__()
        self.kw = kw

    def loss_grad(self, logits, code, weight=None, total=None):
        if self.task == "multilabel":
            return self._columns(logits, positives(code), weight)
        if logits.ndim == code.ndim:
            return kernel.dice_set(logits, positives(code), weight, **self.kw)
        if self.n_classes == 2:
            target = code.to(logits.dtype)
            return pair_to_margin(lambda z: kernel.dice_set(z, target, weight, **self.kw), logits)
        # each class's log odds against the rest, so that its sigmoid is its softmax probability
        log_p = torch.log_softmax(logits, -1)
        p = log_p.exp()
        rest = torch.log((-torch.expm1(log_p)).clamp_min(torch.finfo(p.dtype).tiny))
        loss, grad = self._columns(log_p - rest, one_hot(code, logits), weight)
        q = rest.exp()
        slope = torch.where(p * q > 0, grad / (p * q).clamp_min(1e-30), torch.zeros_like(grad))
        return loss, kernel.softmax_chain(p, slope)

    def _columns(self, z, positive, weight):
        if weight is not None and weight.ndim == z.ndim:
            raise ValueError(f"{self.name} takes one weight per row, not one per label.")
        w = None if weight is None else weight.unsqueeze(-2)
        loss, grad = kernel.dice_set(z.transpose(-1, -2), positive.transpose(-1, -2), w, **self.kw)
        return loss.mean(-1), grad.transpose(-1, -2) / z.shape[-1]


class Dice(MixesCrossEntropy):
    r"""Self-adjusting Dice loss: :math:`1-(2wt+g)/(w^2+t^2+g)`, :math:`w=(1-p)^\alpha p`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    variant : {"per_example", "set"}, default="per_example"
        One coefficient per row and class (sum over classes), or one per batch and class (mean over
        classes).
    alpha : float in [0, 5], default=0.01
        Self-adjusting exponent; rows above :math:`p=1/(1+\alpha)` are pushed down.
    smooth : float in (0, inf), default=1.0
        Smoothing g. Without it negatives have no gradient in the per-example form.
    squared : bool, default=True
        Squared denominators. The linear per-example form is known to collapse to one class.
    hard_negatives : float in (0, inf), default=None
        Set variant: keep only this many negatives per positive, those with the highest scores. ``None``
        keeps all.
    ce_mix : float in [0, 1], default=0.0
        Share of cross-entropy in the loss.
    warmup_epochs : int in [0, inf), default=0
        Epochs of cross-entropy alone before.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The released multi-class code with linear denominators mixes a per-example numerator with a
    batch-wide denominator; here both variants follow the paper. Probabilities are not recoverable.

    References
    ----------
    Li et al. 2020, doi:10.18653/v1/2020.acl-main.45, arXiv:1911.02855.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import Dice
    >>> bound = Dice().bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)
    0.143157
    """

    calibrated = False
    one_sided = True
    _parameter_constraints = {
        "variant": [StrOptions({"per_example", "set"})],
        "alpha": [Interval(Real, 0, 5, closed="both")],
        "smooth": [Interval(Real, 0, None, closed="neither")],
        "squared": ["boolean"],
        "hard_negatives": [Interval(Real, 0, None, closed="neither"), None],
        **MIX_CONSTRAINTS,
    }

    def __init__(
        self,
        variant="per_example",
        *,
        alpha=0.01,
        smooth=1.0,
        squared=True,
        hard_negatives=None,
        ce_mix=0.0,
        warmup_epochs=0,
    ):
        self.variant = variant
        self.alpha = alpha
        self.smooth = smooth
        self.squared = squared
        self.hard_negatives = hard_negatives
        self.ce_mix = ce_mix
        self.warmup_epochs = warmup_epochs

    @property
    def scope(self):
        """Whether rows are coupled: "row" per example, "batch" for the set variant."""
        return "row" if self.variant == "per_example" else "batch"

    @property
    def needs_all_classes(self):
        """Whether every batch must hold every class."""
        return self.variant == "set"

    @property
    def scale_free(self):
        """Whether a common factor of all weights changes nothing: smoothing counts in rows."""
        return self.variant == "per_example"

    _grid = {"variant": ["per_example", "set"], "alpha": [0.01, 0.3]}

    def _bind(self, prior):
        kw = {
            "alpha": float(self.alpha),
            "smooth": float(self.smooth),
            "squared": bool(self.squared),
        }
        if self.variant == "set":
            ratio = None if self.hard_negatives is None else float(self.hard_negatives)
            return DiceSetBound(**kw, hard_negatives=ratio)
        if self.hard_negatives is not None:
            raise ValueError(
                f"{self!r}: hard_negatives needs variant='set', which counts over a batch."
            )
        return DiceRowBound(**kw)
