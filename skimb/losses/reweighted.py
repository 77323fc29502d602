"""Losses whose rows weigh by their losses or errors in the batch."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.priors import ClassPrior
from skimb.functional import _shapes as shapes
from skimb.functional.reweighting import FOCUS, STRATEGIES, dynamic_weights, focus_weights
from skimb.functional.softmax import log_errors
from skimb.losses._base import BoundLoss, Loss, check_served
from skimb.losses._softmax import SoftmaxBound
from skimb.losses._wrapping import Wrapper, Wrapping
from skimb.losses.regression import BY_NAME, RegressionBound, RegressionLoss, named_loss
from skimb.losses.softmax import CrossEntropy


class DynamicBound(Wrapping):
    """A row-separable loss whose rows weigh by their losses in the batch."""

    def __init__(self, inner, warmup, cooldown, **kw):
        super().__init__(inner)
        self.requires = inner.requires | {"batch"}
        self.warmup, self.cooldown, self.kw = warmup, cooldown, kw
        self.fixed = None

    def at(self, epoch, n_epochs):
        (inner,) = self.parts
        now = inner.at(epoch, n_epochs)
        first, last = (int(np.ceil(s * n_epochs)) for s in (self.warmup, 1.0 - self.cooldown))
        if not first <= epoch < last:
            return now
        if now is inner:
            return self
        return self._following(now)

    def _with(self, inner):
        """The same weights for another loss."""
        return self._like_this(type(self)(inner, self.warmup, self.cooldown, **self.kw))

    def weights(self, logits, target, weight=None):
        """Weights of the rows of a batch, summing to 1."""
        if weight is not None and self.task == "multilabel" and weight.ndim == logits.ndim:
            raise ValueError(f"{self.name} takes one weight per row, not one per label.")
        return dynamic_weights(self._row_losses(logits, target), sample_weight=weight, **self.kw)

    def _row_losses(self, logits, target):
        loss = self.parts[0].entries(logits, target)[0]
        return loss.sum(-1) if self.task == "multilabel" else loss

    def loss_grad(self, logits, target, weight=None, total=None):
        w = self.weights(logits, target, weight) if self.fixed is None else self.fixed
        return self.parts[0].loss_grad(logits, target, w, 1.0)

    def frozen(self, logits, target, weight=None):
        """Keep the weights, and what the loss inside detaches, as they are at `logits`."""
        weights = self.weights(logits, self.encode(target, logits), weight)
        return self._with(self.parts[0].frozen(logits, target, weight)).replaced(fixed=weights)


class DynamicRegression(DynamicBound, RegressionBound):
    """A loss of regressors whose rows weigh by their losses in the batch."""

    def __init__(self, inner, warmup, cooldown, **kw):
        super().__init__(inner, warmup, cooldown, **kw)
        self.width, self.link_name = inner.width, inner.link_name

    def encode(self, target, logits, cost=None):
        return self.parts[0].encode(target, logits, cost)

    def go_on(self, before, y, *, incremental):
        if isinstance(before, DynamicRegression):
            self.parts[0].go_on(before.parts[0], y, incremental=incremental)

    def entries(self, raw, target):
        return self.parts[0].entries(raw, target)

    def _row_losses(self, logits, target):
        loss = self.parts[0].entries(logits, target.code)[0]
        return loss.mean(-1) if loss.ndim > 1 else loss

    def inverse_link(self, raw):
        return self.parts[0].inverse_link(raw)

    def link(self, predictions):
        return self.parts[0].link(predictions)


class DynamicReweighting(Wrapper):
    r"""Dynamic re-weighting: rows weigh :math:`\mathrm{softmax}(f(h_i)/r)` by their loss in the batch.

    h is the loss scaled to [-1, 1] by the least and the largest in the batch; f is :math:`\min(h+1,1)`,
    :math:`1-h^2` or :math:`|h|`. The weights solve :math:`\max_w\sum_iw_if_i-r\,\mathrm{KL}(w\|1/B)`.

    **Shapes.** Those of the inner loss.

    Parameters
    ----------
    loss : Loss, {"squared_error", "poisson"} or HistogramGaussian, default=None
        A row-separable loss; ``None`` is cross-entropy. The latter two are for regressors.
    strategy : {"linupper", "quadratic", "extremes"}, default="linupper"
        Spare easy rows without chasing outliers, favour middling rows, or favour both ends.
    temperature : float in (0, inf), default=0.4
        Temperature r; large values weigh rows alike.
    warmup : float in [0, 1], default=0.05
        Share of the planned epochs with equal weights first.
    max_weight : float in [1, inf), default=None
        Largest ratio of a weight to its uniform value; the theory of the paper assumes 2.
    cooldown : float in [0, 1], default=0.0
        Share of the planned epochs with equal weights at the end (ours).

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, or `loss` couples the rows of a batch or perturbs
        them.

    Notes
    -----
    Weights are constants of the gradient. Sample and class weights multiply them; the losses that decide
    are unweighted. One outlier moves the whole scale of a batch. The paper trains language models;
    whether it helps on tables is for a benchmark to say. Weighted rows no longer follow the data's
    distribution, so probabilities are not recovered: ``calibrated`` is False. For the same reason a regressor
    ends away from the least squares where its model is wrong; `cooldown` brings it back. For clean rows of which
    most are redundant "linupper" is the fastest, with outliers "quadratic".

    References
    ----------
    Sow et al. 2025, arXiv:2502.06733.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, DynamicReweighting, Focal
    >>> bound = DynamicReweighting(Focal(1.0), "extremes").bind(ClassPrior(counts=[9, 1]))
    >>> round(bound(torch.tensor([0.0, -2.0, 1.0]), torch.tensor([0, 0, 1])).item(), 4)
    0.1664
    """

    scope = "batch"
    calibrated = False
    _parameter_constraints = {
        "loss": [Loss, RegressionLoss, StrOptions(set(BY_NAME)), None],
        "strategy": [StrOptions(set(STRATEGIES))],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "warmup": [Interval(Real, 0, 1, closed="both")],
        "max_weight": [Interval(Real, 1, None, closed="left"), None],
        "cooldown": [Interval(Real, 0, 1, closed="both")],
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
        self,
        loss=None,
        strategy="linupper",
        temperature=0.4,
        warmup=0.05,
        max_weight=None,
        cooldown=0.0,
    ):
        self.loss = loss
        self.strategy = strategy
        self.temperature = temperature
        self.warmup = warmup
        self.max_weight = max_weight
        self.cooldown = cooldown

    def _parts(self):
        return (named_loss(self.loss),) if isinstance(self.loss, str) else super()._parts()

    def bind(self, prior, sample_weight=None):
        """Check the parameters and fix everything that depends on the training target.

        Parameters
        ----------
        prior : ClassPrior or array-like of shape (n,) or (n, n_targets)
            Counts and label distribution of the training part; around a loss of regressors its target.
        sample_weight : array-like of shape (n,), default=None
            Row weights, for losses of regressors.

        Returns
        -------
        BoundLoss
            The loss with the weights of a batch.

        Raises
        ------
        TypeError
            If `prior` is not a ClassPrior and the loss inside is one of classifiers.
        ValueError
            If a parameter is out of range or the loss does not accept the kind of target.
        """
        (part,) = self._parts()
        if "regression" not in part.tasks or isinstance(prior, ClassPrior):
            return super().bind(prior)
        self._validate_params()
        bound = self._around(part.bind(prior, sample_weight), DynamicRegression)
        bound._loss = self
        return bound

    def _bind(self, prior):
        return self._around(self._parts()[0].bind(prior), DynamicBound)

    def _around(self, inner, kind):
        check_served(
            inner,
            {"every class", "inputs", "memory"},
            "DynamicReweighting",
            "wrap a loss of single rows",
        )
        cap = None if self.max_weight is None else float(self.max_weight)
        return kind(
            inner,
            float(self.warmup),
            float(self.cooldown),
            strategy=self.strategy,
            temperature=float(self.temperature),
            max_weight=cap,
        )


class ErrorFocusedBound(BoundLoss):
    """Charbonnier error of the true side's probability, weighted by the errors of the batch."""

    requires = frozenset({"batch"})

    def __init__(self, inner, kind, beta):
        super().__init__()
        self.inner = inner
        self.focus = {"kind": kind, "beta": beta}
        self.fixed = None

    def _weights(self, logits, target, weight):
        errors = log_errors(logits, target.code)
        if self.task == "multilabel":
            w = torch.ones_like(errors) if weight is None else weight
            w = (w if w.ndim == errors.ndim else w.unsqueeze(-1)).expand_as(errors).flatten(-2)
            flat = focus_weights(errors.flatten(-2), sample_weight=w, **self.focus)
            return flat.reshape(errors.shape) * errors.shape[-1]
        return focus_weights(errors, sample_weight=weight, **self.focus)

    def loss_grad(self, logits, target, weight=None, total=None):
        w = self._weights(logits, target, weight) if self.fixed is None else self.fixed
        return self.inner.loss_grad(logits, target, w, 1.0)

    def frozen(self, logits, target, weight=None):
        """Keep the weights as they are at `logits`."""
        return self.replaced(fixed=self._weights(logits, self.encode(target, logits), weight))


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
    >>> from skimb.losses import ClassPrior, ErrorFocused
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
        inner = SoftmaxBound(shapes.Charbonnier(float(self.eps)), invertible=False)
        return ErrorFocusedBound(self._tied(inner, prior), self.kind, float(self.beta))
