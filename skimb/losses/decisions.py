"""Losses of decisions: expected cost, ordinal agreement, Jaccard and separated kappa."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import _closed_form as cf
from skimb.functional import decisions as kernel
from skimb.functional.confusion import confusion_loss
from skimb.losses._base import BoundLoss, RowBound, as_like, one_hot, pair_to_margin
from skimb.losses._mix import MIX_CONSTRAINTS, MixesCrossEntropy
from skimb.losses.robust import MeanAbsoluteError


class ExpectedCostBound(RowBound):
    """Expected cost; targets carry the number of their row in the table of row costs, if there is one.

    A plain class index y stands for row y of the cost matrix; ``y + C (i + 1)`` stands for class y
    with the costs of row i of `table`.
    """

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix
        self.table = None

    def encode(self, target, logits):
        return target.long()

    def plain_code(self, code, logits):
        y = code % self.n_classes
        return 2.0 * y.to(logits.dtype) - 1.0 if logits.ndim == code.ndim else y

    def attach(self, code, costs):
        """Give every row of an encoded target its own costs (n, C); returns the new code."""
        self.table = torch.as_tensor(np.asarray(costs, float))
        self.__dict__.pop("_constants", None)
        rows = torch.arange(len(code), device=code.device)
        return code + self.n_classes * (rows + 1)

    def costs(self, logits, code):
        """Costs (..., n, C) of the rows of a batch."""
        matrix = self.cached(logits, "matrix", lambda: as_like(self.matrix, logits))
        if self.table is None:
            return matrix[code]
        table = self.cached(
            logits, "table", lambda: torch.cat([matrix, as_like(self.table, logits)])
        )
        row = code.div(self.n_classes, rounding_mode="floor")
        return table[torch.where(row > 0, row - 1 + self.n_classes, code)]

    def entries(self, logits, code, factor=1.0):
        loss, grad = kernel.cost_rows(logits, self.costs(logits, code))
        return loss, grad * factor

    def second(self, logits, code):
        return kernel.cost_grad_hess(logits, self.costs(logits, code))


class ExpectedCost(MixesCrossEntropy):
    r"""Expected cost: :math:`\sum_kp_kc_{yk}` of a decision drawn from the probabilities.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
    cost : array-like of shape (C, C) or "balanced", default=None
        Cost of deciding for class k (column) where class j (row) is true, in any unit. ``None`` is 1 for
        every error; "balanced" is the inverse frequency of the true class, of mean 1. Costs of rows
        go to the estimator's ``fit(X, y, cost=...)``.
    ce_mix : float in [0, 1], default=0.1
        Share of cross-entropy in the loss.
    warmup_epochs : int in [0, inf), default=0
        Epochs of cross-entropy alone before.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, or `cost` has the wrong shape.

    Notes
    -----
    Its minimum puts all probability on the cheapest decision, so ``predict`` is cost-optimal and no
    probabilities come out: ``calibrated`` is False. Where probabilities saturate the loss is flat,
    hence the mixed-in cross-entropy. A model with honest probabilities and the decision
    :math:`\arg\min_k\sum_jP_jc_{jk}` is the baseline to beat. A constant added to a row of costs changes
    nothing but the value.

    References
    ----------
    Elkan 2001, The foundations of cost-sensitive learning, IJCAI.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import ExpectedCost
    >>> bound = ExpectedCost([[0, 1], [20, 0]], ce_mix=0.0).bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.0]), torch.tensor([1])).item(), 4)  # a missed positive costs 20
    10.0
    """

    tasks = frozenset({"binary", "multiclass"})
    calibrated = False
    _parameter_constraints = {
        "cost": ["array-like", StrOptions({"balanced"}), None],
        **MIX_CONSTRAINTS,
    }
    _grid = {"cost": [None, "balanced"], "ce_mix": [0.1, 0.5]}
    reduces_to = (({"cost": None, "ce_mix": 0.0}, MeanAbsoluteError(), {"binary", "multiclass"}),)

    def __init__(self, cost=None, ce_mix=0.1, warmup_epochs=0):
        self.cost = cost
        self.ce_mix = ce_mix
        self.warmup_epochs = warmup_epochs

    @property
    def needs_prior(self):
        """Whether class frequencies enter: for balanced costs."""
        return isinstance(self.cost, str)

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


class KappaBound(BoundLoss):
    """Quadratic weighted kappa of ordered classes."""

    def loss_grad(self, logits, code, weight=None, total=None):
        if logits.ndim > code.ndim:
            return kernel.kappa_loss(logits, code, weight)
        return cf.through_pair(
            lambda z, y: kernel.kappa_loss(z, y, weight), logits, (code > 0).long()
        )


class QuadraticWeightedKappa(MixesCrossEntropy):
    r"""Log of one minus the soft quadratic weighted kappa, for ordered classes.

    :math:`\log\bigl(\sum_i\sum_bw_{y_ib}p_{ib}/D+10^{-6}\bigr)`, :math:`w_{ab}=(a-b)^2/(C-1)^2`, D the same for
    independent truth and prediction.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n).

    Parameters
    ----------
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
    Classes are graded in the order of ``classes_``, so code them as increasing numbers. A ratio over the
    batch: use large batches, and cross-entropy beside it or before it. A batch of one class has
    gradient 0. Probabilities are not recoverable: ``calibrated`` is False.

    References
    ----------
    de la Torre, Puig and Valls 2018, doi:10.1016/j.patrec.2017.05.018.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import QuadraticWeightedKappa
    >>> bound = QuadraticWeightedKappa(ce_mix=0.0).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]]), torch.tensor([0, 2])).item(), 4)
    -0.4473
    """

    tasks = frozenset({"binary", "multiclass"})
    scope = "batch"
    needs_all_classes = True
    calibrated = False
    _parameter_constraints = MIX_CONSTRAINTS
    _grid = {"ce_mix": [0.2, 0.5, 0.8]}

    def __init__(self, ce_mix=0.5, warmup_epochs=0):
        self.ce_mix = ce_mix
        self.warmup_epochs = warmup_epochs

    def _bind(self, prior):
        return KappaBound()


class LovaszBound(BoundLoss):
    """Lovász hinge of one logit or label, Lovász-softmax of several classes."""

    def loss_grad(self, logits, code, weight=None, total=None):
        if self.task == "multilabel":
            if weight is not None and weight.ndim == logits.ndim:
                raise ValueError(f"{self.name} takes one weight per row, not one per label.")
            w = None if weight is None else weight.unsqueeze(-2)
            z, sign = logits.transpose(-1, -2), code.transpose(-1, -2)
            loss, grad = kernel.lovasz_hinge_loss(z, sign, w)
            return loss.mean(-1), grad.transpose(-1, -2) / logits.shape[-1]
        if logits.ndim == code.ndim:
            return kernel.lovasz_hinge_loss(logits, code, weight)
        if self.n_classes == 2:
            sign = code.to(logits.dtype) * 2.0 - 1.0
            return pair_to_margin(lambda z: kernel.lovasz_hinge_loss(z, sign, weight), logits)
        return kernel.lovasz_softmax_loss(logits, one_hot(code, logits), weight)


class Lovasz(MixesCrossEntropy):
    r"""Lovász extension of the Jaccard loss: hinge errors for labels, probabilities for classes.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
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
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import Lovasz
    >>> bound = Lovasz().bind(ClassPrior(counts=[3, 3]))
    >>> round(bound(torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1]), torch.tensor([0, 0, 1, 0, 1, 1])).item(), 4)
    1.275
    """

    scope = "batch"
    needs_all_classes = True
    calibrated = False
    one_sided = True
    _parameter_constraints = MIX_CONSTRAINTS
    _grid = {"ce_mix": [0.0, 0.5]}

    def __init__(self, ce_mix=0.0, warmup_epochs=0):
        self.ce_mix = ce_mix
        self.warmup_epochs = warmup_epochs

    def _bind(self, prior):
        return LovaszBound()


class SeparatedKappaBound(BoundLoss):
    """Separated kappa of the soft confusion matrix."""

    def __init__(self, background, power, form, temperature):
        super().__init__()
        self.kw = {"background": background, "power": power, "form": form}
        self.temperature = temperature

    def loss_grad(self, logits, code, weight=None, total=None):
        return confusion_loss(
            logits,
            code,
            weight,
            temperature=self.temperature,
            metric=lambda matrix: kernel.separated_kappa(matrix, **self.kw),
        )


class SeparatedKappa(MixesCrossEntropy):
    r"""Separated-kappa (SeK) loss: :math:`1-\kappa_{n0}\,e^{\beta(\mathrm{IoU}-1)}`, beside cross-entropy.

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
    ce_mix : float in [0, 1], default=0.6667
        Share of cross-entropy; the default is cross-entropy plus half the SeK loss, up to a factor.
    warmup_epochs : int in [0, inf), default=0
        Epochs of cross-entropy alone before.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, or C is below 3.

    Notes
    -----
    Our finite form over the whole matrix. The released code takes the logarithm of a score that may be
    negative, and clamps the loss at 0, which ends its gradient once the score is good. With two
    classes the separated kappa is never positive, so they are refused. Probabilities are not
    recoverable: ``calibrated`` is False.

    References
    ----------
    arXiv:2508.08232; the metric: Yang et al. 2020, arXiv:2010.05687.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import SeparatedKappa
    >>> bound = SeparatedKappa(ce_mix=0.0).bind(ClassPrior(counts=[100, 10, 1]))
    >>> round(bound(torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]]), torch.tensor([0, 2])).item(), 4)
    1.1184
    """

    tasks = frozenset({"multiclass"})
    scope = "batch"
    needs_all_classes = True
    needs_prior = True
    calibrated = False
    _parameter_constraints = {
        "background": [Interval(Integral, 0, None, closed="left"), None],
        "power": [Interval(Real, 0, 5, closed="right")],
        "form": [StrOptions({"one_minus", "log"})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        **MIX_CONSTRAINTS,
    }
    _grid = {"form": ["one_minus", "log"], "ce_mix": [0.5, 0.6667]}

    def __init__(
        self,
        background=None,
        power=1.0,
        form="one_minus",
        temperature=1.0,
        ce_mix=0.6667,
        warmup_epochs=0,
    ):
        self.background = background
        self.power = power
        self.form = form
        self.temperature = temperature
        self.ce_mix = ce_mix
        self.warmup_epochs = warmup_epochs

    def _bind(self, prior):
        background = int(np.argmax(prior.prior)) if self.background is None else self.background
        if background >= prior.n_classes:
            raise ValueError(
                f"{self!r}: background={background} is not one of {prior.n_classes} classes."
            )
        return SeparatedKappaBound(
            background, float(self.power), self.form, float(self.temperature)
        )
