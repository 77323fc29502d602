"""Losses of the pair kernel."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import pairs as kernel
from skimb.losses._base import BoundLoss, Loss, one_hot, pair_to_margin


class PairBound(BoundLoss):
    """Mean surrogate over positive-negative pairs of a batch."""

    def __init__(self, surrogate, tau, margin):
        super().__init__()
        self.kw = {"surrogate": surrogate, "tau": tau, "margin": margin}

    def loss_grad(self, logits, code, weight=None, total=None):
        if self.task == "multilabel":
            if weight is not None and weight.ndim == logits.ndim:
                raise ValueError(f"{self.name} takes one weight per row, not one per label.")
            return self._columns(logits, code > 0, weight)
        if logits.ndim == code.ndim:
            return kernel.pair_loss(logits, code > 0, weight, **self.kw)
        if self.n_classes == 2:
            return pair_to_margin(
                lambda z: kernel.pair_loss(z, code > 0, weight, **self.kw), logits
            )
        return self._columns(logits, one_hot(code, logits) > 0, weight)

    def _columns(self, scores, positive, weight):
        """Average over columns, each against the rest, among those with pairs in the batch."""
        losses, grads = [], []
        defined = 0
        for k in range(scores.shape[-1]):
            mask = positive[..., k]
            loss, grad = kernel.pair_loss(scores[..., k], mask, weight, **self.kw)
            both = (mask.any(-1) & ~mask.all(-1)).to(scores.dtype)
            defined = defined + both
            losses.append(loss)
            grads.append(grad)
        count = torch.as_tensor(defined).clamp_min(1.0)
        loss = torch.stack(losses, -1).sum(-1) / count
        return loss, torch.stack(grads, -1) / count[..., None, None]


class MannWhitney(Loss):
    r"""Mean surrogate of a wrongly ordered positive-negative pair: one minus the AUC, made smooth.

    :math:`\frac{1}{n_+n_-}\sum_{i\in+,j\in-}\psi(s_i-s_j)` with :math:`\psi(d)=\log(1+e^{-d/\tau})`,
    :math:`[m-d]_+^2`, :math:`[m-d]_+` or :math:`(m-d)^2`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    surrogate : {"logistic", "squared_hinge", "hinge", "squared"}, default="logistic"
        Function of the score difference. Logistic costs :math:`n_+n_-` operations in tiles and O(n)
        memory, the hinges O(n log n), squared O(n).
    tau : float in (0, inf), default=1.0
        Temperature of the logistic surrogate, in logits.
    margin : float in (0, inf), default=1.0
        Margin of the other surrogates, in logits.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The loss fixes the order, not the level: estimators set the output intercept after training so
    that the mean predicted risk equals the prevalence. Probabilities are not recoverable beyond
    that. A batch of one class has loss 0; estimators build batches that hold every class. With more
    classes each is ranked against the rest. The abstract fixes "binary cross-entropy over score
    differences"; mean normalisation and temperature are our reading.

    References
    ----------
    Sheikholeslami et al. 2025, arXiv:2510.00137; Rust and Hocking 2023, arXiv:2302.11062 (sorting).

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import MannWhitney
    >>> bound = MannWhitney().bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)
    0.642515
    """

    scope = "batch"
    needs_all_classes = True
    calibrated = False
    shift_invariant = True
    _parameter_constraints = {
        "surrogate": [StrOptions(set(kernel.SURROGATES))],
        "tau": [Interval(Real, 0, None, closed="neither")],
        "margin": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, surrogate="logistic", *, tau=1.0, margin=1.0):
        self.surrogate = surrogate
        self.tau = tau
        self.margin = margin

    _grid = {"surrogate": ["logistic", "squared_hinge", "squared"]}

    def _bind(self, prior):
        return PairBound(self.surrogate, float(self.tau), float(self.margin))
