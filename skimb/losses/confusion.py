"""Losses of the confusion kernel."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import _metrics
from skimb.functional import confusion as kernel
from skimb.losses._base import BoundLoss, Loss, RowBound, one_hot, pair_to_margin, positives

_SYMMETRIC = frozenset(
    {"accuracy", "balanced_accuracy", "gmean", "gmean2", "kappa", "mcc", "youden"}
)
METRICS = tuple(sorted(_metrics.BINARY))


class ConfusionBound(BoundLoss):
    """One minus a metric of soft confusion counts, of a batch."""

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

    def loss_grad(self, logits, code, weight=None, total=None):
        kw = {**self.kw, "what": self.name}
        if self.task == "multilabel":
            if weight is not None and weight.ndim == logits.ndim:
                raise ValueError(f"{self.name} takes one weight per row, not one per label.")
            loss = kernel.label_loss(logits, positives(code), weight, **kw)
        elif logits.ndim == code.ndim:
            loss = kernel.binary_loss(logits, positives(code), weight, **kw)
        elif self.n_classes == 2:
            target = code.to(logits.dtype)
            loss = pair_to_margin(lambda z: kernel.binary_loss(z, target, weight, **kw), logits)
        elif self.temperature is not None:
            loss = kernel.confusion_loss(
                logits, code, weight, temperature=self.temperature, metric=self.kw["metric"]
            )
        else:
            loss = kernel.macro_loss(logits, one_hot(code, logits), weight, **kw)
        return _tversky_power(loss, self.gamma)

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
    """What losses over soft confusion counts share."""

    scope = "batch"
    needs_all_classes = True
    calibrated = False

    @property
    def one_sided(self):
        """Whether class 1 of two is the positive one, as in F1, or both count alike."""
        return getattr(self, "metric", "tversky") not in _SYMMETRIC

    @property
    def scale_free(self):
        """Whether a common factor of all weights changes nothing: smoothing counts in rows."""
        return getattr(self, "smooth", 0.0) == 0.0


class AnyLoss(_MetricLoss):
    r"""One minus any confusion-matrix metric of :math:`A=\sigma(L(p-\mathrm{threshold}))`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    metric : str, default="f1"
        One of accuracy, balanced_accuracy, f1, fbeta, fowlkes_mallows, gmean, gmean2, jaccard,
        kappa, mcc, npv, precision, recall, specificity, tversky, youden. Class 1 of two is the
        positive one.
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
    undefined : {"skip", "raise"}, default="skip"
        A batch that lacks a class has loss 0 and gradient 0, or is an error. Estimators build batches
        that hold every class.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range or the metric has no multi-class form; when
        called, for a batch of one class under ``undefined="raise"``.

    Notes
    -----
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
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import AnyLoss
    >>> bound = AnyLoss("f1").bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)
    0.412787
    """

    _parameter_constraints = {
        "metric": [StrOptions(set(METRICS))],
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
            self.undefined,
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
    metric : str, default="f1"
        One of the metrics of :class:`AnyLoss`.
    distribution : {"cosine", "uniform"}, default="cosine"
        Law of the threshold.
    mu : float in (0, 1), default=0.5
        Centre of the raised cosine; ``predict`` decides there.
    delta : float in (0, 0.5], default=0.3
        Half-width of the raised cosine, with ``mu - delta >= 0`` and ``mu + delta <= 1``. Rows
        farther than `delta` from `mu` have no gradient at all; the paper's code uses 0.1.
    smooth : float in [0, inf), default=0.0
        Added to numerator and denominator of fbeta, precision, jaccard and tversky.
    undefined : {"skip", "raise"}, default="skip"
        What a batch that lacks a class means: loss 0, or an error.

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
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import ScoreOriented
    >>> bound = ScoreOriented(distribution="uniform").bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)
    0.418543
    """

    _parameter_constraints = {
        "metric": [StrOptions(set(METRICS))],
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
            transform, self.metric, {"smooth": float(self.smooth)}, self.undefined
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
    undefined : {"skip", "raise"}, default="skip"
        What a batch that lacks a class means: loss 0, or an error.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The paper writes the exponent as :math:`1/\gamma` with 4/3; the released code uses 0.75 directly, as
    here. With more classes the index of each class against the rest is averaged over the classes in
    the batch, then raised. With `smooth` above 0 duplicating all rows changes the value. Probabilities
    are not recoverable.

    References
    ----------
    Abraham and Khan 2019, arXiv:1810.07842; Salehi et al. 2017, arXiv:1706.05721.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import Tversky
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
            kernel.Uniform(), "tversky", options, self.undefined, gamma=float(self.gamma)
        )


class DiceRowBound(RowBound):
    """The per-example Dice loss."""

    def __init__(self, alpha, smooth, squared):
        super().__init__()
        self.kw = {"alpha": alpha, "smooth": smooth, "squared": squared}

    def entries(self, logits, code, factor=1.0):
        if self.task == "multilabel" or logits.ndim == code.ndim:
            loss, grad = kernel.dice_margin_rows(logits, positives(code), **self.kw)
        elif self.n_classes == 2:
            target = code.to(logits.dtype)
            loss, grad = pair_to_margin(
                lambda z: kernel.dice_margin_rows(z, target, **self.kw), logits
            )
        else:
            loss, grad = kernel.dice_rows(logits, one_hot(code, logits), **self.kw)[:2]
        return loss, grad.mul_(factor)

    def second(self, logits, code):
        if self.task == "multilabel" or logits.ndim == code.ndim:
            return kernel.dice_margin_second(logits, positives(code), **self.kw)
        if self.n_classes == 2:
            z = logits[..., 1] - logits[..., 0]
            g, h = kernel.dice_margin_second(z, code.to(z.dtype), **self.kw)
            return torch.stack([-g, g], -1), torch.stack([h, h], -1)
        return kernel.dice_rows(logits, one_hot(code, logits), **self.kw)[1:]


class DiceSetBound(BoundLoss):
    """The set-level Dice loss, one coefficient per batch."""

    def __init__(self, alpha, smooth, squared):
        super().__init__()
        self.kw = {"alpha": alpha, "smooth": smooth, "squared": squared}

    def loss_grad(self, logits, code, weight=None, total=None):
        if self.task == "multilabel":
            return self._columns(logits, positives(code), weight)
        if logits.ndim == code.ndim:
            return kernel.dice_set(logits, positives(code), weight, **self.kw)
        if self.n_classes == 2:
            target = code.to(logits.dtype)
            return pair_to_margin(lambda z: kernel.dice_set(z, target, weight, **self.kw), logits)
        # each class's log odds against the rest, so that its sigmoid is its softmax probability
        log_p = torch.log_softmax(logits, -1)
        p = log_p.exp()
        rest = torch.log((-torch.expm1(log_p)).clamp_min(torch.finfo(p.dtype).tiny))
        loss, grad = self._columns(log_p - rest, one_hot(code, logits), weight)
        q = rest.exp()
        slope = torch.where(p * q > 0, grad / (p * q).clamp_min(1e-30), torch.zeros_like(grad))
        return loss, kernel.softmax_chain(p, slope)

    def _columns(self, z, positive, weight):
        if weight is not None and weight.ndim == z.ndim:
            raise ValueError(f"{self.name} takes one weight per row, not one per label.")
        w = None if weight is None else weight.unsqueeze(-2)
        loss, grad = kernel.dice_set(z.transpose(-1, -2), positive.transpose(-1, -2), w, **self.kw)
        return loss.mean(-1), grad.transpose(-1, -2) / z.shape[-1]


class Dice(Loss):
    r"""Self-adjusting Dice loss: :math:`1-(2wt+g)/(w^2+t^2+g)`, :math:`w=(1-p)^\alpha p`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    variant : {"per_example", "set"}, default="per_example"
        One coefficient per row and class (sum over classes), or one per batch and class (mean over
        classes).
    alpha : float in [0, 5], default=0.01
        Self-adjusting exponent; rows above :math:`p=1/(1+\alpha)` are pushed down.
    smooth : float in (0, inf), default=1.0
        Smoothing g. Without it negatives have no gradient in the per-example form.
    squared : bool, default=True
        Squared denominators. The linear per-example form is known to collapse to one class.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The released multi-class code with linear denominators mixes a per-example numerator with a
    batch-wide denominator; here both variants follow the paper. Probabilities are not recoverable.

    References
    ----------
    Li et al. 2020, doi:10.18653/v1/2020.acl-main.45, arXiv:1911.02855.

    Examples
    --------
    >>> import torch
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.losses import Dice
    >>> bound = Dice().bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)
    0.143157
    """

    calibrated = False
    one_sided = True
    _parameter_constraints = {
        "variant": [StrOptions({"per_example", "set"})],
        "alpha": [Interval(Real, 0, 5, closed="both")],
        "smooth": [Interval(Real, 0, None, closed="neither")],
        "squared": ["boolean"],
    }

    def __init__(self, variant="per_example", *, alpha=0.01, smooth=1.0, squared=True):
        self.variant = variant
        self.alpha = alpha
        self.smooth = smooth
        self.squared = squared

    @property
    def scope(self):
        """Whether rows are coupled: "row" per example, "batch" for the set variant."""
        return "row" if self.variant == "per_example" else "batch"

    @property
    def needs_all_classes(self):
        """Whether every batch must hold every class."""
        return self.variant == "set"

    @property
    def scale_free(self):
        """Whether a common factor of all weights changes nothing: smoothing counts in rows."""
        return self.variant == "per_example"

    _grid = {"variant": ["per_example", "set"], "alpha": [0.01, 0.3]}

    def _bind(self, prior):
        kind = DiceRowBound if self.variant == "per_example" else DiceSetBound
        return kind(float(self.alpha), float(self.smooth), bool(self.squared))
