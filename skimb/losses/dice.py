"""Dice losses, per example and of a batch."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import confusion as kernel
from skimb.losses._base import CoupledBound, Loss, RowBound, one_hot, pair_to_margin, positives


class DiceRowBound(RowBound):
    """Dice loss of each row, or of each label."""

    def __init__(self, alpha, smooth, squared):
        super().__init__()
        self.kw = {"alpha": alpha, "smooth": smooth, "squared": squared}

    def entries(self, logits, target, factor=1.0):
        code = target.code
        form = self.form(logits, code)
        if form in ("labels", "margin"):
            loss, grad = kernel.dice_margin_rows(logits, positives(code), **self.kw)
        elif form == "pair":
            positive = code.to(logits.dtype)
            loss, grad = pair_to_margin(
                lambda z: kernel.dice_margin_rows(z, positive, **self.kw), logits
            )
        else:
            loss, grad = kernel.dice_rows(logits, one_hot(code, logits), **self.kw)
        return loss, grad.mul_(factor)

    def second(self, logits, target):
        code = target.code
        form = self.form(logits, code)
        if form in ("labels", "margin"):
            return kernel.dice_margin_second(logits, positives(code), **self.kw)
        if form == "pair":
            z = logits[..., 1] - logits[..., 0]
            g, h = kernel.dice_margin_second(z, code.to(z.dtype), **self.kw)
            return torch.stack([-g, g], -1), torch.stack([h, h], -1)
        return kernel.dice_second(logits, one_hot(code, logits), **self.kw)


class DiceSetBound(CoupledBound):
    """Dice loss of a batch, one coefficient per class."""

    requires = frozenset({"batch", "every class"})

    def __init__(self, **kw):
        super().__init__()
        self.kw = kw

    def margin(self, logits, sign, weight):
        return kernel.dice_set(logits, positives(sign), weight, **self.kw)

    def classes(self, logits, code, weight):
        return kernel.dice_set_classes(logits, one_hot(code, logits), weight, **self.kw)


class Dice(Loss):
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

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The released multi-class implementation with linear denominators mixes a per-example numerator with a
    batch-wide denominator; here both variants follow the paper. Probabilities are not recoverable.

    References
    ----------
    Li et al. 2020, doi:10.18653/v1/2020.acl-main.45, arXiv:1911.02855.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Dice
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
    }

    def __init__(
        self,
        variant="per_example",
        *,
        alpha=0.01,
        smooth=1.0,
        squared=True,
        hard_negatives=None,
    ):
        self.variant = variant
        self.alpha = alpha
        self.smooth = smooth
        self.squared = squared
        self.hard_negatives = hard_negatives

    @property
    def scope(self):
        """Whether rows are coupled: "row" per example, "batch" for the set variant."""
        return "row" if self.variant == "per_example" else "batch"

    @property
    def contract_exceptions(self):
        """In the set variant a common factor of all weights matters: smoothing counts in rows."""
        return frozenset() if self.variant == "per_example" else frozenset({"scale"})

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
