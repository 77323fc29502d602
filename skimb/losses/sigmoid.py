"""Losses of the sigmoid kernel."""

from numbers import Real

from sklearn.utils._param_validation import Interval

from skimb.functional.sigmoid import asymmetric_grad_hess
from skimb.kernels import asymmetric_rows
from skimb.losses._base import Loss
from skimb.losses._labels import LabelBound
from skimb.losses.softmax import CrossEntropy


class SigmoidBound(LabelBound):
    """The asymmetric loss over labels; classes are labels one against the rest."""

    def __init__(self, gamma_neg, gamma_pos, clip):
        super().__init__()
        self.kw = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}

    def values(self, z, sign):
        return asymmetric_rows(z, sign, **self.kw)

    def second_values(self, z, sign):
        return asymmetric_grad_hess(z, sign, **self.kw)


class Asymmetric(Loss):
    r"""Asymmetric loss: :math:`-t(1-p)^{\gamma_+}\log p-(1-t)\,p_m^{\gamma_-}\log(1-p_m)`.

    :math:`p=\sigma(z)`, :math:`p_m=\max(p-m,0)`: easy negatives fade, negatives below the clip m vanish.

    **Shapes.** logits (..., n) or (..., n, L) with 0/1 targets of the same shape; (..., n, C) with class
    indices, each class against the rest and summed.

    Parameters
    ----------
    gamma_neg : float in [0, inf), default=4.0
        Focusing exponent of negatives.
    gamma_pos : float in [0, inf), default=0.0
        Focusing exponent of positives.
    clip : float in [0, 1), default=0.05
        Probability margin m of negatives.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The gradient is the full one; the released implementation detaches the focusing factor. The released
    loss clamps probabilities at 1e-8, which silences positives below a logit of -18; here logarithms
    come from ``logsigmoid``. Negatives below the clip carry no gradient, so probabilities cannot be
    recovered: ``calibrated`` is False.

    References
    ----------
    Ridnik et al. 2021, arXiv:2009.14119.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import Asymmetric, ClassPrior
    >>> bound = Asymmetric().bind(ClassPrior(counts=[9, 1]))
    >>> rows = bound.row_loss(torch.tensor([-4.0, 2.0]), torch.tensor([0, 1]))
    >>> [round(v, 4) for v in rows.abs().tolist()]  # p = 0.018 lies below the clip
    [0.0, 0.1269]
    """

    calibrated = False
    one_sided = True
    _parameter_constraints = {
        "gamma_neg": [Interval(Real, 0, None, closed="left")],
        "gamma_pos": [Interval(Real, 0, None, closed="left")],
        "clip": [Interval(Real, 0, 1, closed="left")],
    }
    reduces_to = (
        (
            {"gamma_neg": 0.0, "gamma_pos": 0.0, "clip": 0.0},
            CrossEntropy(),
            {"binary", "multilabel"},
        ),
    )

    def __init__(self, gamma_neg=4.0, gamma_pos=0.0, clip=0.05):
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.clip = clip

    _grid = {"gamma_neg": [0.5, 2.0, 4.0], "gamma_pos": [0.0, 1.0], "clip": [0.0, 0.05]}

    def _bind(self, prior):
        return SigmoidBound(float(self.gamma_neg), float(self.gamma_pos), float(self.clip))
