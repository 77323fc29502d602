"""The supervised contrastive loss as a loss of estimators."""

from numbers import Real

from sklearn.utils._param_validation import Interval

from skimb.functional import _closed_form as cf
from skimb.functional.contrastive import contrastive_loss
from skimb.losses._base import CoupledBound, Loss


class ContrastiveBound(CoupledBound):
    """Supervised contrastive loss of the outputs read as an embedding."""

    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def margin(self, logits, sign, weight):
        return cf.through_pair(lambda z, y: self.classes(z, y, weight), logits, sign)

    def classes(self, logits, code, weight):
        return contrastive_loss(logits, code, weight, temperature=self.temperature)

    pair = classes


class SupervisedContrastive(Loss):
    r"""Supervised contrastive loss of the outputs as an embedding.

    :math:`\frac1n\sum_i\frac{-1}{|P(i)|}\sum_{p\in P(i)}\log\frac{e^{s_{ip}}}{\sum_{a\ne i}e^{s_{ia}}}`,
    :math:`s_{ia}=u_i\cdot u_a/T`, :math:`u=z/\|z\|`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    temperature : float in (0, inf), default=0.07
        Temperature T.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The paper trains an encoder on this loss and a classifier after it. Here the outputs of the net are the
    embedding; cross-entropy beside it, ``Mixed(SupervisedContrastive(), share=0.5)``, ties its directions to
    the classes. Alone its decision means nothing. For an encoder of your own use
    :func:`skimb.functional.supervised_contrastive`. Rows without a mate in the batch add nothing. Two
    outputs lie on a circle, so estimators give two classes two logits. Probabilities are not recovered.

    References
    ----------
    Khosla et al. 2020, arXiv:2004.11362.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, SupervisedContrastive
    >>> bound = SupervisedContrastive(temperature=1.0).bind(ClassPrior(counts=[100, 10, 1]))
    >>> z = torch.tensor([[2.0, -1.0, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> round(bound(z, torch.tensor([0, 0, 1])).item(), 4)
    0.196
    """

    tasks = frozenset({"binary", "multiclass"})
    scope = "batch"
    calibrated = False
    one_logit = False
    mixed_shares = (0.5, 0.9)
    contract_exceptions = frozenset({"repetition"})
    _parameter_constraints = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }
    _grid = {"temperature": [0.07, 0.2, 0.5]}

    def __init__(self, temperature=0.07):
        self.temperature = temperature

    def _bind(self, prior):
        return ContrastiveBound(float(self.temperature))
