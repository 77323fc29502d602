"""Losses of the confusion kernel."""

import inspect
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb import kernels
from skimb.functional import _metrics
from skimb.functional import confusion as kernel
from skimb.losses._base import CoupledBound, Loss, one_hot, positives

_SYMMETRIC = frozenset(
    {"accuracy", "balanced_accuracy", "gmean", "gmean2", "kappa", "mcc", "youden"}
)
METRICS = tuple(sorted(_metrics.BINARY))
_COUNTS = ("tp", "fp", "fn", "tn")


class ConfusionBound(CoupledBound):
    """One minus a metric of the soft confusion counts of a batch."""

    requires = frozenset({"batch", "every class"})

    def __init__(self, transform, metric, options, undefined, *, temperature=None, gamma=1.0):
        super().__init__()
        self.kw = {
            "transform": transform,
            "metric": metric,
            "options": options,
            "undefined": undefined,
        }
        self.temperature = temperature
        self.gamma = gamma

    def _power(self, loss):
        return _tversky_power(loss, self.gamma)

    def margin(self, logits, sign, weight):
        return self._power(kernels.binary_loss(logits, sign, weight, **self.kw, what=self.name))

    def labels(self, logits, sign, weight):
        positive = positives(sign)
        return self._power(kernel.label_loss(logits, positive, weight, **self.kw, what=self.name))

    def classes(self, logits, code, weight):
        if self.temperature is not None:
            metric = _metrics.CONFUSION[self.kw["metric"]]
            kw = {"temperature": self.temperature, "metric": metric}
            return self._power(kernel.confusion_loss(logits, code, weight, **kw))
        shown = one_hot(code, logits)
        return self._power(kernel.macro_loss(logits, shown, weight, **self.kw, what=self.name))

    def decision(self, logits):
        threshold = getattr(
            self.kw["transform"], "threshold", getattr(self.kw["transform"], "mu", 0.5)
        )
        if threshold == 0.5:
            return logits
        margin = self.task == "multilabel" or not self.has_class_axis(logits)
        shift = torch.logit(torch.tensor(threshold, dtype=logits.dtype)).item()
        if margin:
            return logits - shift
        if self.n_classes == 2:
            return logits - logits.new_tensor([0.0, shift])
        return logits


def _tversky_power(loss_grad, gamma):
    loss, grad = loss_grad
    if gamma == 1.0:
        return loss, grad
    flat = loss.reshape(-1)
    value, scaled = kernel.focal_tversky(flat, grad.reshape(len(flat), -1), gamma)
    return value.reshape(loss.shape), scaled.reshape(grad.shape)


class _MetricLoss(Loss):
    """Base of losses over soft confusion counts."""

    scope = "batch"
    calibrated = False

    @property
    def one_sided(self):
        """Whether class 1 of two is the positive one, as in F1, or both count alike."""
        return getattr(self, "metric", "tversky") not in _SYMMETRIC

    @property
    def contract_exceptions(self):
        """With smoothing, which counts in rows, a common factor of all weights matters; so it may in a function."""
        counted = self.smooth > 0.0 or callable(getattr(self, "metric", None))
        return frozenset({"scale"}) if counted else frozenset()

    def _undefined(self):
        """The policy for batches that lack a class, if the metric allows it; functions are tried out."""
        metric = getattr(self, "metric", "tversky")
        if callable(metric):
            _check_function(self, metric)
        if self.undefined == "smooth" and (self.smooth == 0.0 or metric not in kernel.SMOOTHED):
            raise ValueError(
                f"{self!r}: undefined='smooth' needs smooth above 0 and one of the metrics "
                f"{sorted(kernel.SMOOTHED)}."
            )
        return self.undefined


def _check_function(loss, function):
    """Refuse a function that does not map the four counts to a metric that can be differentiated."""
    try:
        inspect.signature(function).bind(**dict.fromkeys(_COUNTS, 0.0))
    except TypeError as error:
        raise TypeError(
            f"{loss!r}: metric must take the counts tp, fp, fn and tn by these names ({error})."
        ) from error
    tp, fp, fn, tn = (
        torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for x in ([2.0, 3.0], [1.0, 2.0], [4.0, 5.0], [6.0, 8.0])
    )
    with torch.enable_grad():
        value = function(tp=tp, fp=fp, fn=fn, tn=tn)
    if not torch.is_tensor(value) or value.shape != (2,):
        found = f"shape {tuple(value.shape)}" if torch.is_tensor(value) else type(value).__name__
        raise TypeError(
            f"{loss!r}: metric must map counts of shape (2,) to a tensor of that shape, got {found}; compute "
            "it element by element with torch."
        )
    if not value.requires_grad:
        raise ValueError(
            f"{loss!r}: metric has no slope in the counts; compute it with torch operations that have one, "
            "without rounding, comparing or detaching."
        )


class AnyLoss(_MetricLoss):
    r"""One minus any confusion-matrix metric of :math:`A=\sigma(L(p-\mathrm{threshold}))`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    metric : str or callable, default="f1"
        One of accuracy, balanced_accuracy, f1, fbeta, fowlkes_mallows, gmean, gmean2, jaccard,
        kappa, mcc, npv, precision, recall, specificity, tversky, youden, or a function called as
        ``metric(tp=..., fp=..., fn=..., tn=...)`` with tensors of counts, element by element, that gives
        what is to be large; its slopes come from autograd. Class 1 of two is the positive one.
    amplification : float in (0, 200], default=10.0
        Sharpness L. 73 is the value of the paper; large values starve confident rows of gradient.
    threshold : float in (0, 1), default=0.5
        Probability at which the soft decision is one half; ``predict`` decides there.
    beta : float in (0, inf), default=1.0
        Weight of recall for ``metric="fbeta"``.
    alpha_fp, alpha_fn : float in [0, inf), default=0.5
        Weights of ``metric="tversky"``.
    smooth : float in [0, inf), default=0.0
        Added to numerator and denominator of fbeta, precision, jaccard and tversky.
    average : {"macro", "confusion"}, default="macro"
        With more than two classes: the binary metric of each class against the rest, averaged over
        the classes in the batch; or a multi-class metric (accuracy, balanced_accuracy, f1, gmean,
        mcc) of the soft confusion matrix of ``softmax(L z / 4)``.
    undefined : {"skip", "smooth", "raise"}, default="skip"
        A batch that lacks a class has loss 0 and gradient 0, counts by its smoothed value (`smooth` above
        0), or is an error. Averages leave such classes and labels out. Estimators build batches
        that hold every class.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range, the metric has no multi-class form, or a function
        has no slope; when called, for a batch of one class under ``undefined="raise"``, and where a function is
        not finite.
    TypeError
        By :meth:`bind`, if a function does not take the four counts or does not answer one number for each.

    Notes
    -----
    The counts that a function sees are sums of row weights, which estimators give a mean of 1: a ratio of
    counts is the same for any batch size, a profit per row (``value / (tp + fp + fn + tn)``) too, a plain sum
    is not. A function goes with ``average="macro"``, one class against the rest. For pickles it must be
    importable, no lambda.

    The soft decision is computed as :math:`\sigma((L/2)\tanh(z/2))`, so L is a free smoothness and is
    not limited by the number format. The released gradient of the G-mean carries a factor 4 too
    many; here it is exact. Batches are biased estimates of a ratio: use large ones. Against
    class-weighted cross-entropy with a tuned threshold the gain is small (the authors' own follow-up
    finds about 0.01 in F1). Probabilities are not recoverable: ``calibrated`` is False.

    References
    ----------
    Han, Moniz and Chawla 2024, arXiv:2405.14745.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import AnyLoss, ClassPrior
    >>> bound = AnyLoss("f1").bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> y = torch.tensor([0, 0, 1, 0, 1, 1])
    >>> round(bound(z, y).item(), 6)
    0.412787

    A function of one's own, here the profit per row where a hit earns 5 and a false alarm costs 1:

    >>> def profit(tp, fp, fn, tn):
    ...     return (5 * tp - fp) / (tp + fp + fn + tn)
    >>> round(AnyLoss(profit).bind(ClassPrior(counts=[3, 3]))(z, y).item(), 4)
    -0.252
    """

    _parameter_constraints = {
        "metric": [StrOptions(set(METRICS)), callable],
        "amplification": [Interval(Real, 0, 200, closed="right")],
        "threshold": [Interval(Real, 0, 1, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "alpha_fp": [Interval(Real, 0, None, closed="left")],
        "alpha_fn": [Interval(Real, 0, None, closed="left")],
        "smooth": [Interval(Real, 0, None, closed="left")],
        "average": [StrOptions({"macro", "confusion"})],
        "undefined": [StrOptions(set(kernel.UNDEFINED))],
    }

    def __init__(
        self,
        metric="f1",
        amplification=10.0,
        *,
        threshold=0.5,
        beta=1.0,
        alpha_fp=0.5,
        alpha_fn=0.5,
        smooth=0.0,
        average="macro",
        undefined="skip",
    ):
        self.metric = metric
        self.amplification = amplification
        self.threshold = threshold
        self.beta = beta
        self.alpha_fp = alpha_fp
        self.alpha_fn = alpha_fn
        self.smooth = smooth
        self.average = average
        self.undefined = undefined

    _grid = {
        "metric": ["f1", "balanced_accuracy", "gmean", "mcc"],
        "amplification": [3.0, 5.0, 10.0, 20.0, 30.0],
    }

    def _bind(self, prior):
        temperature = None
        if self.average == "confusion" and not prior.multilabel and prior.n_classes > 2:
            if self.metric not in _metrics.CONFUSION:
                raise ValueError(
                    f"{self!r}: metric {self.metric!r} has no multi-class form, only "
                    f"{sorted(_metrics.CONFUSION)}; use average='macro'."
                )
            temperature = self.amplification / 4.0
        options = {
            "beta": float(self.beta) if self.metric == "fbeta" else 1.0,
            "smooth": float(self.smooth),
            "alpha_fp": float(self.alpha_fp),
            "alpha_fn": float(self.alpha_fn),
        }
        return ConfusionBound(
            kernel.Logistic(float(self.amplification), float(self.threshold)),
            self.metric,
            options,
            self._undefined(),
            temperature=temperature,
        )


class ScoreOriented(_MetricLoss):
    r"""Score-oriented loss: one minus a score of the expected confusion matrix.

    The threshold is random with distribution function F on [0, 1], so a row counts as positive with
    probability :math:`F(p)`: plain soft counts for a uniform threshold, a raised cosine around `mu`
    otherwise.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    metric : str or callable, default="f1"
        One of the metrics of :class:`AnyLoss`, or a function as there.
    distribution : {"cosine", "uniform"}, default="cosine"
        Law of the threshold.
    mu : float in (0, 1), default=0.5
        Centre of the raised cosine; ``predict`` decides there.
    delta : float in (0, 0.5], default=0.3
        Half-width of the raised cosine, with ``mu - delta >= 0`` and ``mu + delta <= 1``. Rows
        farther than `delta` from `mu` have no gradient at all; the paper's implementation uses 0.1.
    smooth : float in [0, inf), default=0.0
        Added to numerator and denominator of fbeta, precision, jaccard and tversky.
    undefined : {"skip", "smooth", "raise"}, default="skip"
        What a batch that lacks a class means: loss 0, its smoothed value, or an error.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range or the cosine leaves [0, 1].

    Notes
    -----
    For scores linear in the counts the loss is one minus the expected score; for ratios it is a
    plug-in value. AnyLoss is the same loss with a logistic law. Probabilities are not recoverable.

    References
    ----------
    Marchetti et al. 2022, doi:10.1016/j.patcog.2022.108913, arXiv:2103.15522.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, ScoreOriented
    >>> bound = ScoreOriented(distribution="uniform").bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)
    0.418543
    """

    _parameter_constraints = {
        "metric": [StrOptions(set(METRICS)), callable],
        "distribution": [StrOptions({"cosine", "uniform"})],
        "mu": [Interval(Real, 0, 1, closed="neither")],
        "delta": [Interval(Real, 0, 0.5, closed="right")],
        "smooth": [Interval(Real, 0, None, closed="left")],
        "undefined": [StrOptions(set(kernel.UNDEFINED))],
    }

    def __init__(
        self,
        metric="f1",
        *,
        distribution="cosine",
        mu=0.5,
        delta=0.3,
        smooth=0.0,
        undefined="skip",
    ):
        self.metric = metric
        self.distribution = distribution
        self.mu = mu
        self.delta = delta
        self.smooth = smooth
        self.undefined = undefined

    _grid = {
        "metric": ["f1", "balanced_accuracy"],
        "distribution": ["cosine", "uniform"],
    }

    def _bind(self, prior):
        if self.distribution == "uniform":
            transform = kernel.Uniform()
        else:
            if self.mu - self.delta < 0 or self.mu + self.delta > 1:
                raise ValueError(
                    f"{self!r}: the cosine on [{self.mu - self.delta}, {self.mu + self.delta}] "
                    "leaves [0, 1]; lower delta."
                )
            transform = kernel.Cosine(float(self.mu), float(self.delta))
        return ConfusionBound(
            transform, self.metric, {"smooth": float(self.smooth)}, self._undefined()
        )


class Tversky(_MetricLoss):
    r"""Focal Tversky loss: :math:`(1-TI)^\gamma`.

    :math:`TI=(TP+s)/(TP+\alpha FN+(1-\alpha)FP+s)` with soft counts.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    alpha : float in [0, 1], default=0.7
        Weight of false negatives; 0.5 is the Dice coefficient.
    gamma : float in (0, inf), default=0.75
        Focal exponent; 1 is the plain Tversky loss.
    smooth : float in [0, inf), default=1.0
        Smoothing s, in rows.
    undefined : {"skip", "smooth", "raise"}, default="skip"
        What a batch that lacks a class means: loss 0, its smoothed value, or an error.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The paper writes the exponent as :math:`1/\gamma` with 4/3; the released implementation uses 0.75 directly, as
    here. With more classes the index of each class against the rest is averaged over the classes in
    the batch, then raised. With `smooth` above 0 duplicating all rows changes the value. Probabilities
    are not recoverable.

    References
    ----------
    Abraham and Khan 2019, arXiv:1810.07842; Salehi et al. 2017, arXiv:1706.05721.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Tversky
    >>> bound = Tversky(alpha=0.5, gamma=1.0, smooth=0.0).bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)  # soft F1
    0.418543
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, 1, closed="both")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "smooth": [Interval(Real, 0, None, closed="left")],
        "undefined": [StrOptions(set(kernel.UNDEFINED))],
    }
    reduces_to = (
        (
            {"alpha": 0.5, "gamma": 1.0, "smooth": 0.0},
            ScoreOriented("f1", distribution="uniform"),
            {"binary", "multiclass", "multilabel"},
        ),
    )

    def __init__(self, alpha=0.7, gamma=0.75, smooth=1.0, *, undefined="skip"):
        self.alpha = alpha
        self.gamma = gamma
        self.smooth = smooth
        self.undefined = undefined

    _grid = {"alpha": [0.3, 0.5, 0.7], "gamma": [0.75, 1.0]}

    def _bind(self, prior):
        options = {
            "alpha_fp": 1.0 - self.alpha,
            "alpha_fn": float(self.alpha),
            "smooth": float(self.smooth),
        }
        return ConfusionBound(
            kernel.Uniform(), "tversky", options, self._undefined(), gamma=float(self.gamma)
        )
