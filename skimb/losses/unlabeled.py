"""Losses of targets that are known in part: labelled positives among rows without a label."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from skimb.functional import unlabeled as kernel
from skimb.losses._base import CoupledBound, Loss, positives


class NonNegativePUBound(CoupledBound):
    """Non-negative risk of labelled positives and unlabelled rows."""

    requires = frozenset({"batch", "every class"})
    #: a side of the risk and what to add to its value, where both are held as they were
    held = None

    def __init__(self, shift, **kw):
        super().__init__()
        self.shift, self.kw = shift, kw

    def margin(self, logits, sign, weight):
        labelled = positives(sign)
        if self.held is None:
            value, _, grad = kernel.pu_loss(logits, labelled, weight, **self.kw)
            return value, grad
        branch, level = self.held
        _, descended, grad = kernel.pu_loss(logits, labelled, weight, branch=branch, **self.kw)
        return descended + level, grad

    def classes(self, logits, code, weight):
        raise ValueError(f"{self.name} knows two classes only: labelled positive, and unlabelled.")

    def frozen(self, logits, target, weight=None):
        """Keep the side of the risk that is descended, and its distance from the value, as they are at `logits`."""
        z = logits.detach()
        code = self.encode(target, z).code
        if self.form(z, code) == "pair":
            z, code = z[..., 1] - z[..., 0], code * 2.0 - 1.0
        labelled = positives(code.to(z.dtype))
        terms = {k: self.kw[k] for k in ("class_prior", "rare")}
        _, (rest, _) = kernel.pu_terms(z, labelled, weight, **terms)
        branch = rest >= -self.kw["beta"]
        value, descended, _ = kernel.pu_loss(z, labelled, weight, branch=branch, **self.kw)
        return self.replaced(held=(branch, value - descended))

    def log_scores(self, logits):
        if self.has_class_axis(logits):
            logits = logits[..., 1] - logits[..., 0]
        return logits + self.shift


class NonNegativePU(Loss):
    r"""Non-negative risk of positive and unlabelled rows: :math:`\pi\,\mathrm{mean}_P\,l_++\max(0,N)`.

    :math:`N=\mathrm{mean}_U\,l_--\pi\,\mathrm{mean}_P\,l_-` is the risk of the negatives that hide among the
    unlabelled rows, with :math:`l_+=\log(1+e^{-z})`, :math:`l_-=\log(1+e^z)`. Where :math:`N<-\beta`, which no
    true risk can be, the step descends :math:`-\gamma N` instead.

    **Shapes.** logits (..., n), target (..., n) with 1 for labelled positives and 0 for unlabelled rows.

    Parameters
    ----------
    class_prior : float in (0, 1), default=0.5
        Share :math:`\pi` of positives among the unlabelled rows. It must come from elsewhere, and no default
        is right.
    beta : float in [0, inf), default=0.0
        Tolerance :math:`\beta`.
    gamma : float in (0, 1], default=1.0
        Factor :math:`\gamma` of the step back.
    balanced_prior : float in (0, 1), default=None
        Share :math:`\pi'` of positives that the risk is weighed to, for rare ones:
        :math:`\pi'\,\mathrm{mean}_P\,l_++\frac{1-\pi'}{1-\pi}\max(0,N)`. ``None`` is `class_prior`.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range or the target is not binary.

    Notes
    -----
    Class 1 holds the labelled positives, drawn at random from all positives; class 0 is everything without a
    label, positives too. ``predict_proba`` is the sigmoid of the score, moved from :math:`\pi'` back to
    :math:`\pi`: it estimates the probability of being *positive* among the unlabelled rows, not of being
    labelled. Clipping biases it, so ``calibrated`` is False and ``prior=`` cannot correct it; wrong values of
    `class_prior` move it with them. ``predict`` decides at :math:`\pi'`. Samplers and class weights change
    nothing, since both kinds of rows enter by their means. Scorers that see the labels take unlabelled
    positives for errors; early stopping scores by the risk itself. A stochastic solver takes the steps back;
    ``solver="lbfgs"`` follows the value and, with flexible nets, stops where the risk of the negatives has been
    fitted away. Searches over ``losses="all"`` leave it out.

    References
    ----------
    Kiryo et al. 2017, arXiv:1703.00593. The weighing to another share of positives is our derivation.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, NonNegativePU
    >>> bound = NonNegativePU(class_prior=0.3).bind(ClassPrior(counts=[5, 2]))
    >>> z = torch.tensor([2.0, 0.5, -1.0, -2.0, 0.3, 1.5, -0.7], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([1, 1, 0, 0, 0, 0, 0])).item(), 6)
    0.304829
    """

    tasks = frozenset({"binary"})
    scope = "batch"
    calibrated = False
    one_sided = True
    _parameter_constraints = {
        "class_prior": [Interval(Real, 0, 1, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, 1, closed="right")],
        "balanced_prior": [Interval(Real, 0, 1, closed="neither"), None],
    }
    _grid = {"class_prior": [0.1, 0.2, 0.3, 0.5], "balanced_prior": [None, 0.5]}

    def __init__(self, class_prior=0.5, *, beta=0.0, gamma=1.0, balanced_prior=None):
        self.class_prior = class_prior
        self.beta = beta
        self.gamma = gamma
        self.balanced_prior = balanced_prior

    def _bind(self, prior):
        rare = self.class_prior if self.balanced_prior is None else self.balanced_prior
        odds = [np.log(p / (1.0 - p)) for p in (self.class_prior, rare)]
        return NonNegativePUBound(
            float(odds[0] - odds[1]),
            class_prior=float(self.class_prior),
            rare=float(rare),
            beta=float(self.beta),
            gamma=float(self.gamma),
        )
