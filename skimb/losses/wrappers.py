"""Losses made of other losses: switched on late, or weighted by the losses of the batch."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import _shapes as shapes
from skimb.functional.reweighting import FOCUS, STRATEGIES, dynamic_weights, error_focus_weights
from skimb.losses._base import BoundLoss, Loss
from skimb.losses._softmax import SoftmaxBound
from skimb.losses.rebalanced import ClassBalanced
from skimb.losses.softmax import CrossEntropy


class DeferredBound(BoundLoss):
    """One loss until a share of training is over, another one after; the later one outside training."""

    scheduled = True

    def __init__(self, before, after, start, coupled):
        super().__init__()
        self.before, self.after, self.start = before, after, start
        self.coupled = coupled
        self.needs_features = after.needs_features
        self.late = True

    def begin_epoch(self, epoch, max_epochs):
        self.late = epoch >= int(np.ceil(self.start * max_epochs))
        for part in (self.before, self.after):
            part.begin_epoch(epoch, max_epochs)

    def settled_epoch(self, max_epochs):
        own = int(np.ceil(self.start * max_epochs))
        return max(own, self.after.settled_epoch(max_epochs))

    def encode(self, target, logits):
        return self.after.encode(target, logits)

    def attach(self, code, costs):
        """Give every row its own costs, if the later loss takes them."""
        return self.after.attach(code, costs)

    def plain_code(self, code, logits):
        return self.after.plain_code(code, logits)

    def _now(self, code, logits):
        if self.late:
            return self.after, code
        return self.before, self.after.plain_code(code, logits)

    def loss_grad(self, logits, code, weight=None, total=None, **features):
        bound, code = self._now(code, logits)
        return bound.loss_grad(logits, code, weight, total, **(features if self.late else {}))

    def entries(self, logits, code, factor=1.0):
        """Row losses and gradients of the loss in force."""
        bound, code = self._now(code, logits)
        return bound.entries(logits, code, factor)

    def row_loss(self, logits, target):
        if self.coupled:
            return super().row_loss(logits, target)
        return (self.after if self.late else self.before).row_loss(logits, target)

    def grad_hess(self, logits, target, convex=False):
        if self.coupled:
            return super().grad_hess(logits, target, convex)
        return (self.after if self.late else self.before).grad_hess(logits, target, convex)

    def observe(self, logits, code, weight=None):
        bound, code = self._now(code, logits)
        bound.observe(logits, code, weight)

    def frozen(self, logits, target, weight=None):
        """Freeze the loss in force."""
        return (self.after if self.late else self.before).frozen(logits, target, weight)

    def decision(self, logits):
        return self.after.decision(logits)

    def log_scores(self, logits):
        return self.after.log_scores(logits)


class _Wrapper(Loss):
    """A loss around the loss in its parameter ``loss``."""

    def _inner(self):
        return CrossEntropy() if self.loss is None else self.loss

    @property
    def needs_prior(self):
        """Flag of the inner loss."""
        return self._inner().needs_prior

    @property
    def needs_all_classes(self):
        """Flag of the inner loss."""
        return self._inner().needs_all_classes

    @property
    def one_logit(self):
        """Flag of the inner loss."""
        return self._inner().one_logit

    @property
    def one_sided(self):
        """Flag of the inner loss."""
        return self._inner().one_sided

    @property
    def scale_free(self):
        """Flag of the inner loss."""
        return self._inner().scale_free

    @property
    def repeats(self):
        """Flag of the inner loss."""
        return self._inner().repeats

    @property
    def stateful(self):
        """Flag of the inner loss."""
        return self._inner().stateful


class Deferred(_Wrapper):
    r"""Deferred loss: one loss for most of the training, another for the rest of it.

    **Shapes.** Those of the two losses.

    Parameters
    ----------
    loss : Loss, default=None
        The later loss; ``None`` is ``ClassBalanced(beta=0.9999)``, deferred re-weighting.
    start : float in [0, 1], default=0.8
        Share of the planned epochs after which it applies.
    before : Loss, default=None
        The loss before; ``None`` is cross-entropy.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Weights from the start hurt the representation, and some losses need a trained net to act on; both is
    mended by waiting. Estimators tell the loss the epoch; elsewhere call ``bound.begin_epoch(epoch,
    max_epochs)``, without which the later loss acts throughout. Predictions are those of the later
    loss. With early stopping, training may end before the switch. ``solver="lbfgs"`` has no epochs and
    minimises the later loss. Give the later stage its own class weights by ``loss``; the estimators'
    ``deferred_reweighting`` defers ``class_weight`` for any loss.

    References
    ----------
    Cao et al. 2019, arXiv:1906.07413.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import Deferred, Focal
    >>> bound = Deferred(Focal(2.0), start=0.5).bind(ClassPrior(counts=[9, 1]))
    >>> z, y = torch.tensor([0.0]), torch.tensor([1])
    >>> for epoch in (0, 9):
    ...     bound.begin_epoch(epoch, max_epochs=10)
    ...     print(round(bound(z, y).item(), 4))
    0.6931
    0.1733
    """

    _parameter_constraints = {
        "loss": [Loss, None],
        "start": [Interval(Real, 0, 1, closed="both")],
        "before": [Loss, None],
    }
    _grid = {"start": [0.5, 0.8]}
    reduces_to = (
        ({"loss": None}, ClassBalanced(0.9999), {"binary", "multiclass", "multilabel"}),
        ({"loss": CrossEntropy(0.1)}, CrossEntropy(0.1), {"binary", "multiclass", "multilabel"}),
    )

    def __init__(self, loss=None, start=0.8, before=None):
        self.loss = loss
        self.start = start
        self.before = before

    def _inner(self):
        return ClassBalanced(0.9999) if self.loss is None else self.loss

    @property
    def scope(self):
        """Whether either loss couples rows."""
        first = CrossEntropy() if self.before is None else self.before
        return "batch" if "batch" in (first.scope, self._inner().scope) else "row"

    @property
    def calibrated(self):
        """Flag of the later loss."""
        return self._inner().calibrated

    @property
    def shift_invariant(self):
        """Flag of the later loss."""
        return self._inner().shift_invariant

    def _bind(self, prior):
        first = CrossEntropy() if self.before is None else self.before
        parts = first.bind(prior), self._inner().bind(prior)
        return DeferredBound(*parts, float(self.start), self.scope == "batch")


class DynamicBound(BoundLoss):
    """A row-separable loss whose rows weigh by their losses in the batch."""

    def __init__(self, inner, warmup, **kw):
        super().__init__()
        self.inner, self.warmup, self.kw = inner, warmup, kw
        self.scheduled = warmup > 0 or inner.scheduled
        self.warming = False
        self.fixed = None

    def begin_epoch(self, epoch, max_epochs):
        self.warming = epoch < int(np.ceil(self.warmup * max_epochs))
        self.inner.begin_epoch(epoch, max_epochs)

    def settled_epoch(self, max_epochs):
        return max(int(np.ceil(self.warmup * max_epochs)), self.inner.settled_epoch(max_epochs))

    def encode(self, target, logits):
        return self.inner.encode(target, logits)

    def attach(self, code, costs):
        """Give every row its own costs, if the inner loss takes them."""
        return self.inner.attach(code, costs)

    def plain_code(self, code, logits):
        return self.inner.plain_code(code, logits)

    def weights(self, logits, code, weight=None):
        """Weights of the rows of a batch, summing to 1."""
        if weight is not None and self.task == "multilabel" and weight.ndim == logits.ndim:
            raise ValueError(f"{self.name} takes one weight per row, not one per label.")
        loss = self.inner.entries(logits, code)[0]
        loss = loss.sum(-1) if self.task == "multilabel" else loss
        return dynamic_weights(loss, sample_weight=weight, **self.kw)

    def loss_grad(self, logits, code, weight=None, total=None):
        if self.warming:
            return self.inner.loss_grad(logits, code, weight, total)
        w = self.weights(logits, code, weight) if self.fixed is None else self.fixed
        return self.inner.loss_grad(logits, code, w, 1.0)

    def frozen(self, logits, target, weight=None):
        """Keep the weights as they are at `logits`."""
        bound = DynamicBound(self.inner, self.warmup, **self.kw)
        bound.task, bound.n_classes, bound._source = self.task, self.n_classes, self._source
        bound.fixed = self.weights(logits, self.encode(target, logits), weight)
        return bound

    def observe(self, logits, code, weight=None):
        self.inner.observe(logits, code, weight)

    def decision(self, logits):
        return self.inner.decision(logits)

    def log_scores(self, logits):
        return self.inner.log_scores(logits)


class DynamicReweighting(_Wrapper):
    r"""Dynamic re-weighting: rows weigh :math:`\mathrm{softmax}(f(h_i)/r)` by their loss in the batch.

    h is the loss scaled to [-1, 1] by the least and the largest in the batch; f is :math:`\min(h+1,1)`,
    :math:`1-h^2` or :math:`|h|`. The weights solve :math:`\max_w\sum_iw_if_i-r\,\mathrm{KL}(w\|1/B)`.

    **Shapes.** Those of the inner loss.

    Parameters
    ----------
    loss : Loss, default=None
        A row-separable loss; ``None`` is cross-entropy.
    strategy : {"linupper", "quadratic", "extremes"}, default="linupper"
        Spare easy rows without chasing outliers, favour middling rows, or favour both ends.
    temperature : float in (0, inf), default=0.4
        Temperature r; large values weigh rows alike.
    warmup : float in [0, 1], default=0.05
        Share of the planned epochs with equal weights first.
    max_weight : float in [1, inf), default=None
        Largest ratio of a weight to its uniform value; the theory of the paper assumes 2.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, or `loss` couples the rows of a batch.

    Notes
    -----
    Weights are constants of the gradient. Sample and class weights multiply them; the losses that decide
    are unweighted. One outlier moves the whole scale of a batch. The paper trains language models;
    whether it helps on tables is for a benchmark to say. Weighted rows no longer follow the data's
    distribution, so probabilities are not recovered: ``calibrated`` is False.

    References
    ----------
    Sow et al. 2025, arXiv:2502.06733.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import DynamicReweighting, Focal
    >>> bound = DynamicReweighting(Focal(1.0), "extremes").bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.0, -2.0, 1.0]), torch.tensor([0, 0, 1])).item(), 4)
    0.1664
    """

    scope = "batch"
    calibrated = False
    _parameter_constraints = {
        "loss": [Loss, None],
        "strategy": [StrOptions(set(STRATEGIES))],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "warmup": [Interval(Real, 0, 1, closed="both")],
        "max_weight": [Interval(Real, 1, None, closed="left"), None],
    }
    _grid = {"strategy": list(STRATEGIES), "temperature": [0.2, 0.4, 1.0]}
    reduces_to = (
        (
            {"loss": None, "temperature": 1e12},
            CrossEntropy(),
            {"binary", "multiclass", "multilabel"},
        ),
    )

    def __init__(
        self, loss=None, strategy="linupper", temperature=0.4, warmup=0.05, max_weight=None
    ):
        self.loss = loss
        self.strategy = strategy
        self.temperature = temperature
        self.warmup = warmup
        self.max_weight = max_weight

    def _bind(self, prior):
        inner = self._inner()
        if inner.scope != "row":
            raise ValueError(
                f"{self!r}: {inner!r} has no losses of rows to weigh; choose a row loss."
            )
        if inner.bind(prior).needs_features:
            raise ValueError(
                f"{self!r}: {inner!r} needs features of the rows, which are not passed on."
            )
        cap = None if self.max_weight is None else float(self.max_weight)
        return DynamicBound(
            inner.bind(prior),
            float(self.warmup),
            strategy=self.strategy,
            temperature=float(self.temperature),
            max_weight=cap,
        )


class ErrorFocusedBound(SoftmaxBound):
    """Charbonnier error of the true side's probability, weighted by the errors of the batch."""

    def __init__(self, eps, kind, beta):
        super().__init__(shapes.Charbonnier(eps), invertible=False)
        self.focus = {"kind": kind, "beta": beta}
        self.fixed = None

    def _weights(self, logits, code, weight):
        eps = self.shape.epsilon
        root = self.entries(logits, code)[0] + eps
        errors = (root * root - eps * eps).clamp_min(0.0).sqrt()
        if self.task == "multilabel":
            w = torch.ones_like(errors) if weight is None else weight
            w = (w if w.ndim == errors.ndim else w.unsqueeze(-1)).expand_as(errors).flatten(-2)
            flat = error_focus_weights(errors.flatten(-2), sample_weight=w, **self.focus)
            return flat.reshape(errors.shape) * errors.shape[-1]
        return error_focus_weights(errors, sample_weight=weight, **self.focus)

    def loss_grad(self, logits, code, weight=None, total=None):
        w = self._weights(logits, code, weight) if self.fixed is None else self.fixed
        return super().loss_grad(logits, code, w, 1.0)

    def row_loss(self, logits, target):
        return BoundLoss.row_loss(self, logits, target)

    def grad_hess(self, logits, target, convex=False):
        return BoundLoss.grad_hess(self, logits, target, convex)

    def frozen(self, logits, target, weight=None):
        """Keep the weights as they are at `logits`."""
        bound = ErrorFocusedBound(self.shape.epsilon, **self.focus)
        bound.task, bound.n_classes, bound._source = self.task, self.n_classes, self._source
        bound.fixed = self._weights(logits, self.encode(target, logits), weight)
        return bound


class ErrorFocused(Loss):
    r"""Error-focused loss: rows weigh by a power of their own error, :math:`(e_i/\bar e)^\beta`.

    The loss of an entry is :math:`\sqrt{e^2+\epsilon^2}-\epsilon` with :math:`e=1-p_y`.

    **Shapes.** logits (..., n, C) or (..., n); target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    kind : {"power", "exp"}, default="power"
        Weight :math:`(e/\bar e)^\beta`, or :math:`e^{\beta e/\bar e}`; scaled to a mean of 1.
    beta : float in [0, inf), default=1.0
        Strength; 0 gives equal weights.
    eps : float in (0, inf), default=0.05
        Rounding :math:`\epsilon` of the absolute error, in probability.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Our own reading of the pixel-focus idea for image enhancement, whose formula is not published: not a
    reproduction of that paper. The weights are constants of the gradient. It is the reverse of a
    robust loss and follows wrong labels: keep it for clean data and for the last epochs,
    ``Deferred(ErrorFocused())``. Probabilities are not recoverable: ``calibrated`` is False.

    References
    ----------
    Lu et al. 2024, CVPR workshops (the idea only).

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import ErrorFocused
    >>> bound = ErrorFocused().bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.5, -1.0]), torch.tensor([1, 0])).item(), 4)
    0.2862
    """

    scope = "batch"
    calibrated = False
    _parameter_constraints = {
        "kind": [StrOptions(set(FOCUS))],
        "beta": [Interval(Real, 0, None, closed="left")],
        "eps": [Interval(Real, 0, None, closed="neither")],
    }
    _grid = {"kind": ["power", "exp"], "beta": [0.5, 1.0]}

    def __init__(self, kind="power", beta=1.0, eps=0.05):
        self.kind = kind
        self.beta = beta
        self.eps = eps

    def _bind(self, prior):
        return ErrorFocusedBound(float(self.eps), self.kind, float(self.beta))
