"""The supervised contrastive loss as a loss of estimators."""

from numbers import Real

from sklearn.utils._param_validation import Interval

from skimb.functional import _closed_form as cf
from skimb.functional.contrastive import contrastive_loss
from skimb.losses._base import BoundLoss
from skimb.losses._mix import MIX_CONSTRAINTS, MixesCrossEntropy


class ContrastiveBound(BoundLoss):
    """Supervised contrastive loss of the outputs read as an embedding."""

    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def loss_grad(self, logits, code, weight=None, total=None):
        kw = {"temperature": self.temperature}
        if logits.ndim > code.ndim:
            return contrastive_loss(logits, code, weight, **kw)
        return cf.through_pair(lambda z, y: contrastive_loss(z, y, weight, **kw), logits, code)


class SupervisedContrastive(MixesCrossEntropy):
    r"""Supervised contrastive loss of the outputs as an embedding, beside cross-entropy.

    :math:`\frac1n\sum_i\frac{-1}{|P(i)|}\sum_{p\in P(i)}\log\frac{e^{s_{ip}}}{\sum_{a\ne i}e^{s_{ia}}}`,
    :math:`s_{ia}=u_i\cdot u_a/T`, :math:`u=z/\|z\|`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    temperature : float in (0, inf), default=0.07
        Temperature T.
    ce_mix : float in [0, 1], default=0.5
        Share of cross-entropy in the loss.
    warmup_epochs : int in [0, inf), default=0
        Epochs of cross-entropy alone before.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The paper trains an encoder on this loss and a classifier after it. Here the outputs of the net are the
    embedding and cross-entropy, mixed in, ties its directions to the classes; at ``ce_mix=0`` the
    decision means nothing. For an encoder of your own use
    :func:`skimb.functional.supervised_contrastive`. Rows without a mate in the batch add nothing. Two
    outputs lie on a circle, so estimators give two classes two logits. Probabilities are not recovered.

    References
    ----------
    Khosla et al. 2020, arXiv:2004.11362.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import SupervisedContrastive
    >>> bound = SupervisedContrastive().bind(ClassPrior(counts=[100, 10, 1]))
    >>> z = torch.tensor([[2.0, -1.0, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> round(bound(z, torch.tensor([0, 0, 1])).item(), 4)
    0.224
    """

    tasks = frozenset({"binary", "multiclass"})
    scope = "batch"
    calibrated = False
    one_logit = False
    repeats = False
    _parameter_constraints = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
        **MIX_CONSTRAINTS,
    }
    _grid = {"temperature": [0.07, 0.2, 0.5], "ce_mix": [0.5, 0.9]}

    def __init__(self, temperature=0.07, ce_mix=0.5, warmup_epochs=0):
        self.temperature = temperature
        self.ce_mix = ce_mix
        self.warmup_epochs = warmup_epochs

    def _bind(self, prior):
        return ContrastiveBound(float(self.temperature))
