"""Losses of decisions: expected cost, ordinal agreement, Jaccard and separated kappa."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import _closed_form as cf
from skimb.functional import decisions as kernel
from skimb.functional.confusion import confusion_loss
from skimb.losses._base import CoupledBound, Loss, RowBound, as_like, one_hot
from skimb.losses.robust import MeanAbsoluteError


class ExpectedCostBound(RowBound):
    """Expected cost, by a matrix for all rows or by the costs that come with the target."""

    takes_costs = True

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def costs(self, logits, target):
        """Costs (..., n, C) of the rows of a batch."""
        if target.cost is not None:
            return target.cost
        code = target.code
        if self.form(logits, code) == "margin":
            code = (code > 0).long()
        return self.cached(logits, "matrix", lambda: as_like(self.matrix, logits))[code]

    def entries(self, logits, target, factor=1.0):
        loss, grad = kernel.cost_rows(logits, self.costs(logits, target))
        return loss, grad * factor

    def second(self, logits, target):
        return kernel.cost_grad_hess(logits, self.costs(logits, target))


class ExpectedCost(Loss):
    r"""Expected cost: :math:`\sum_kp_kc_{yk}` of a decision drawn from the probabilities.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    cost : array-like of shape (C, C) or "balanced", default=None
        Cost of deciding for class k (column) where class j (row) is true, in any unit. ``None`` is 1 for
        every error; "balanced" is the inverse frequency of the true class, of mean 1. Costs of rows
        go to the estimator's ``fit(X, y, cost=...)``.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, or `cost` has the wrong shape.

    Notes
    -----
    Its minimum puts all probability on the cheapest decision, so ``predict`` is cost-optimal and no
    probabilities come out: ``calibrated`` is False. Where probabilities saturate the loss is flat,
    so train ``Mixed(ExpectedCost(...), share=0.1)``, with cross-entropy beside it. A model with honest
    probabilities and the decision :math:`\arg\min_k\sum_jP_jc_{jk}` is the baseline to beat. A constant added to
    a row of costs changes nothing but the value.

    References
    ----------
    Elkan 2001, The foundations of cost-sensitive learning, IJCAI.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, ExpectedCost
    >>> bound = ExpectedCost([[0, 1], [20, 0]]).bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.0]), torch.tensor([1])).item(), 4)  # a missed positive costs 20
    10.0
    """

    tasks = frozenset({"binary", "multiclass"})
    calibrated = False
    mixed_shares = (0.1, 0.5)
    _parameter_constraints = {
        "cost": ["array-like", StrOptions({"balanced"}), None],
    }
    _grid = {"cost": [None, "balanced"]}
    reduces_to = (({"cost": None}, MeanAbsoluteError(), {"binary", "multiclass"}),)

    def __init__(self, cost=None):
        self.cost = cost

    def _bind(self, prior):
        n = prior.n_classes
        error = 1.0 - np.eye(n)
        if self.cost is None:
            return ExpectedCostBound(error)
        if isinstance(self.cost, str):
            return ExpectedCostBound(error / (n * np.maximum(prior.prior, 1e-12))[:, None])
        matrix = np.asarray(self.cost, float)
        if matrix.shape != (n, n) or not np.isfinite(matrix).all():
            raise ValueError(
                f"{self!r}: cost must be a finite matrix of shape ({n}, {n}), one row per true class, got "
                f"shape {matrix.shape}."
            )
        return ExpectedCostBound(matrix)


class KappaBound(CoupledBound):
    """Quadratic weighted kappa of ordered classes."""

    requires = frozenset({"batch", "every class"})

    def margin(self, logits, sign, weight):
        return cf.through_pair(lambda z, y: self.classes(z, y, weight), logits, (sign > 0).long())

    def classes(self, logits, code, weight):
        return kernel.kappa_loss(logits, code, weight)

    pair = classes


class QuadraticWeightedKappa(Loss):
    r"""Log of one minus the soft quadratic weighted kappa, for ordered classes.

    :math:`\log\bigl(\sum_i\sum_bw_{y_ib}p_{ib}/D+10^{-6}\bigr)`, :math:`w_{ab}=(a-b)^2/(C-1)^2`, D the same for
    independent truth and prediction.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Raises
    ------
    ValueError
        By :meth:`bind`, if the loss does not accept the kind of target.

    Notes
    -----
    Classes are graded in the order of ``classes_``, so let increasing grades have increasing labels. The loss is a
    ratio over the batch: use large batches, and cross-entropy beside it or before it,
    ``Mixed(QuadraticWeightedKappa(), share=0.5)``. A batch of one class has
    gradient 0. Probabilities are not recoverable: ``calibrated`` is False.

    References
    ----------
    de la Torre, Puig and Valls 2018, doi:10.1016/j.patrec.2017.05.018.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, QuadraticWeightedKappa
    >>> bound = QuadraticWeightedKappa().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]]), torch.tensor([0, 2])).item(), 4)
    -0.4473
    """

    tasks = frozenset({"binary", "multiclass"})
    scope = "batch"
    calibrated = False
    mixed_shares = (0.5, 0.2, 0.8)

    def _bind(self, prior):
        return KappaBound()


class LovaszBound(CoupledBound):
    """Lovász hinge of one logit or label, Lovász-softmax of several classes."""

    requires = frozenset({"batch", "every class"})

    def margin(self, logits, sign, weight):
        return kernel.lovasz_hinge_loss(logits, sign, weight)

    def classes(self, logits, code, weight):
        return kernel.lovasz_softmax_loss(logits, one_hot(code, logits), weight)


class Lovasz(Loss):
    r"""Lovász extension of the Jaccard loss: hinge errors for labels, probabilities for classes.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Raises
    ------
    ValueError
        By :meth:`bind`, if the loss does not accept the kind of target.

    Notes
    -----
    Errors are sorted, O(n log n), and weighted by how much each adds to the Jaccard loss of the rows so
    far. Two classes and labels use the hinge, convex in the logits, with class 1 as the foreground;
    more classes use softmax probabilities, averaged over the classes in the batch. Probabilities are
    not recoverable: ``calibrated`` is False.

    References
    ----------
    Berman, Rannen Triki and Blaschko 2018, arXiv:1705.08790.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Lovasz
    >>> bound = Lovasz().bind(ClassPrior(counts=[3, 3]))
    >>> round(bound(torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1]), torch.tensor([0, 0, 1, 0, 1, 1])).item(), 4)
    1.275
    """

    scope = "batch"
    calibrated = False
    one_sided = True

    def _bind(self, prior):
        return LovaszBound()


class SeparatedKappaBound(CoupledBound):
    """Separated kappa of the soft confusion matrix of three classes or more."""

    requires = frozenset({"batch", "every class"})

    def __init__(self, background, power, form, temperature):
        super().__init__()
        self.kw = {"background": background, "power": power, "form": form}
        self.temperature = temperature

    def margin(self, logits, sign, weight):
        raise ValueError(f"{self.name} needs at least three classes, and one logit stands for two.")

    def classes(self, logits, code, weight):
        return confusion_loss(
            logits,
            code,
            weight,
            temperature=self.temperature,
            metric=lambda matrix: kernel.separated_kappa(matrix, **self.kw),
        )


class SeparatedKappa(Loss):
    r"""Separated-kappa (SeK) loss: :math:`1-\kappa_{n0}\,e^{\beta(\mathrm{IoU}-1)}`.

    :math:`\kappa_{n0}` is Cohen's kappa without the true negatives of the background class, IoU that of all other
    classes together.

    **Shapes.** logits (..., n, C) with C at least 3; target (..., n).

    Parameters
    ----------
    background : int, default=None
        Index of the background class; ``None`` is the most frequent one.
    power : float in (0, 5], default=1.0
        Exponent factor :math:`\beta` of the IoU.
    form : {"one_minus", "log"}, default="one_minus"
        The formula above, or :math:`-\log\frac{\kappa_{n0}+1}2+\beta(1-\mathrm{IoU})`.
    temperature : float in (0, inf), default=1.0
        Factor of the logits before the softmax of the soft counts.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, or C is below 3.

    Notes
    -----
    Meant to stand beside cross-entropy: ``Mixed(SeparatedKappa(), share=0.6667)`` is cross-entropy plus half the
    SeK loss, up to a factor. The form here is ours: it is finite and takes the whole matrix. The released
    implementation takes the logarithm of a score that may be negative, and clamps the loss at 0, which ends
    its gradient once the score is good. With
    two classes the separated kappa is never positive, so they are refused. Probabilities are not
    recoverable: ``calibrated`` is False.

    References
    ----------
    arXiv:2508.08232; the metric: Yang et al. 2020, arXiv:2010.05687.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, SeparatedKappa
    >>> bound = SeparatedKappa().bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]]), torch.tensor([0, 2])).item(), 4)
    1.1184
    """

    tasks = frozenset({"multiclass"})
    scope = "batch"
    calibrated = False
    mixed_shares = (0.6667, 0.5)
    _parameter_constraints = {
        "background": [Interval(Integral, 0, None, closed="left"), None],
        "power": [Interval(Real, 0, 5, closed="right")],
        "form": [StrOptions({"one_minus", "log"})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }
    _grid = {"form": ["one_minus", "log"]}

    def __init__(
        self,
        background=None,
        power=1.0,
        form="one_minus",
        temperature=1.0,
    ):
        self.background = background
        self.power = power
        self.form = form
        self.temperature = temperature

    def _bind(self, prior):
        background = int(np.argmax(prior.prior)) if self.background is None else self.background
        if background >= prior.n_classes:
            raise ValueError(
                f"{self!r}: background={background} is not one of {prior.n_classes} classes."
            )
        return SeparatedKappaBound(
            background, float(self.power), self.form, float(self.temperature)
        )
