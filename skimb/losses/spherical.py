"""Losses of the spherical family with probabilities: Taylor softmax and spherical softmax."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval

from skimb.functional import spherical as kernel
from skimb.losses._base import Loss, RowBound


class SphericalBound(RowBound):
    """Cross-entropy of probabilities in proportion to shifted squares of the scores."""

    def __init__(self, eps, shift):
        super().__init__()
        self.kw = {"eps": eps, "shift": shift}

    def entries(self, logits, target, factor=1.0):
        return kernel.spherical_rows(logits, target.code, factor=factor, **self.kw)

    def second(self, logits, target):
        return kernel.spherical_grad_hess(logits, target.code, **self.kw)

    def convex_second(self, logits, target):
        return kernel.spherical_grad_hess(logits, target.code, convex=True, **self.kw)

    def decision(self, logits):
        """Log probabilities: a large negative score counts as much as a large positive one."""
        return self.log_scores(logits)

    def log_scores(self, logits):
        return torch.log_softmax(kernel.log_masses(logits, **self.kw)[0], -1)


class TaylorSoftmax(Loss):
    r"""Taylor softmax: :math:`-\log p_y` with :math:`p_k\propto1+z_k+\frac12z_k^2`.

    **Shapes.** logits (..., n, C) with C at least 3; target (..., n).

    Notes
    -----
    The masses are the exponential's Taylor series to the second order, always positive. They grow by
    the square of a score, not by its exponential, so that sure answers need large scores. Scores below -1 count for
    their class again; ``predict`` and ``decision_function`` take the probabilities, not the scores. The loss is not
    convex. With two classes one score per row could not say less than 1/3, so two classes are refused.

    References
    ----------
    de Brebisson and Vincent 2016, arXiv:1511.05042.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, TaylorSoftmax
    >>> bound = TaylorSoftmax().bind(ClassPrior(counts=[100, 10, 1]))
    >>> p = bound.posterior(torch.tensor([[2.0, -1.0, 0.0]]))
    >>> [round(v, 4) for v in p[0].tolist()]  # 5 : 0.5 : 1
    [0.7692, 0.0769, 0.1538]
    """

    tasks = frozenset({"multiclass"})

    def _bind(self, prior):
        return SphericalBound(1.0, 1.0)


class SphericalSoftmax(Loss):
    r"""Spherical softmax: :math:`-\log p_y` with :math:`p_k\propto(z_k+s)^2+\epsilon`.

    **Shapes.** logits (..., n, C) with C at least 3; target (..., n).

    Parameters
    ----------
    eps : float in (0, inf), default=0.001
        Least mass of a class.
    shift : float, default=1.0
        Added to the scores; 0 is the published form.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Scaling all shifted scores changes nearly nothing, and their signs nothing at all; ``predict`` and
    ``decision_function`` take the probabilities, not the scores. At scores of zero the published form has no
    gradient, and models that start there would never leave; the shift, which any intercept takes back, is
    ours. With ``eps=1`` and ``shift=1`` it is the Taylor softmax. The loss is not convex. Two classes are
    refused, as for the other losses of the family.

    References
    ----------
    de Brebisson and Vincent 2016, arXiv:1511.05042.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, SphericalSoftmax
    >>> bound = SphericalSoftmax(eps=0.01, shift=0.0).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[3.0, -1.0, 0.0]]), torch.tensor([0])).item(), 4)
    0.1072
    """

    tasks = frozenset({"multiclass"})
    _parameter_constraints = {
        "eps": [Interval(Real, 0, None, closed="neither")],
        "shift": [Interval(Real, None, None, closed="neither")],
    }
    _grid = {"eps": [1e-3, 1e-2, 0.1]}
    reduces_to = (({"eps": 1.0, "shift": 1.0}, TaylorSoftmax(), {"multiclass"}),)

    def __init__(self, eps=1e-3, shift=1.0):
        self.eps = eps
        self.shift = shift

    def _bind(self, prior):
        return SphericalBound(float(self.eps), float(self.shift))
