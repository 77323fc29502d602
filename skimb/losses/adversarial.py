"""Adversarially smooth comp-sum loss."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import _shapes as shapes
from skimb.losses._base import Loss
from skimb.losses._softmax import SoftmaxBound
from skimb.losses.softmax import CompSum


class Attack(NamedTuple):
    """How rows are perturbed in training, and the weight of how far their margins move."""

    eps: float
    norm: str
    n_steps: int
    nu: float


class AdversarialBound(SoftmaxBound):
    """Comp-sum of scaled margins; `attack` tells the training step the rest."""

    def __init__(self, shape, scale, attack):
        super().__init__(shape, scale=scale)
        self.attack = attack
        self.requires = frozenset() if attack is None else frozenset({"adversary"})


class AdversarialCompSum(Loss):
    r"""Smooth adversarial comp-sum: margins that are large and hardly move near a row.

    :math:`\Phi_\tau(\sum_{k\ne y}e^{-\Delta_k/\rho})+\nu\sup_{x'}\|\Delta(x')-\Delta(x)\|_2` with
    :math:`\Delta_k=z_y-z_k`; the supremum runs over a ball of radius `eps` around the row and is sought by
    projected gradient ascent in the estimators' training step.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    tau : float in [0, 2), default=1.0
        Member of the comp-sum family; 1 is cross-entropy.
    rho : float in (0, inf), default=1.0
        Margin scale.
    nu : float in [0, inf) or "bound", default=1.0
        Weight of the smoothness term; "bound" is :math:`\sqrt{C-1}/\rho`, from which on the loss bounds the
        adversarial margin loss.
    eps : float in [0, inf), default=0.0
        Radius of the ball, in units of the features, so scale them; 0 is no adversary.
    norm : {"inf", "l2"}, default="inf"
        Norm of the ball.
    n_steps : int in [1, inf), default=10
        Steps of the ascent, each ``2.5 * eps / n_steps`` long.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The module computes the first term alone; the second needs the net and is added by ``MLPClassifier``,
    ``LinearClassifier`` and ``NeuralNetClassifier`` on dense rows with stochastic solvers, which refuse
    other input. The derivation of the bound is ours; the form is that of the paper up to its constant.
    Features that number categories should not be perturbed: ``RobustMLPClassifier(method="smooth_comp_sum")``
    trains this loss with features that stay where they are, a radius per feature and a box.
    Probabilities are recovered at ``eps=0``; otherwise ``calibrated`` is False.

    References
    ----------
    Mao, Mohri and Zhong 2023, arXiv:2304.07288.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import AdversarialCompSum, ClassPrior
    >>> bound = AdversarialCompSum(rho=0.5).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])).item(), 4)
    0.0509
    """

    tasks = frozenset({"binary", "multiclass"})
    _parameter_constraints = {
        "tau": [Interval(Real, 0, 2, closed="left")],
        "rho": [Interval(Real, 0, None, closed="neither")],
        "nu": [Interval(Real, 0, None, closed="left"), StrOptions({"bound"})],
        "eps": [Interval(Real, 0, None, closed="left")],
        "norm": [StrOptions({"inf", "l2"})],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
    }
    _grid = {"tau": [0.4, 1.0], "eps": [0.01, 0.1]}
    reduces_to = (({"tau": 0.5, "rho": 1.0}, CompSum(0.5), {"binary", "multiclass"}),)

    def __init__(self, tau=1.0, rho=1.0, nu=1.0, eps=0.0, norm="inf", n_steps=10):
        self.tau = tau
        self.rho = rho
        self.nu = nu
        self.eps = eps
        self.norm = norm
        self.n_steps = n_steps

    @property
    def calibrated(self):
        """Whether probabilities are recovered: without an adversary."""
        return self.eps == 0.0

    def _bind(self, prior):
        nu = np.sqrt(prior.n_classes - 1.0) / self.rho if self.nu == "bound" else self.nu
        attack = None
        if self.eps > 0.0 and nu > 0.0:
            attack = Attack(float(self.eps), self.norm, int(self.n_steps), float(nu))
        return AdversarialBound(shapes.CompSum(float(self.tau)), 1.0 / self.rho, attack)
