"""Losses over labels that couple the rows of a batch."""

from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval

from skimb.functional import multilabel as kernel
from skimb.losses._base import BoundLoss, Loss
from skimb.losses._labels import as_labels, label_scores
from skimb.losses.softmax import CrossEntropy

_BINARY = frozenset({"binary", "multilabel"})


class GradientHarmonizedBound(BoundLoss):
    """Cross-entropy of labels weighted by the inverse density of gradient norms in the batch."""

    def __init__(self, bins, momentum):
        super().__init__()
        self.bins, self.momentum = bins, momentum
        self.requires = frozenset({"batch", "memory"} if momentum else {"batch"})
        self.register_buffer("counts", torch.zeros(bins, dtype=torch.float64))

    def _counts(self, z, sign, weight):
        if weight is not None and weight.ndim < z.ndim:
            weight = weight.unsqueeze(-1)
        index, counts = kernel.density_bins(z, sign, weight, self.bins)
        if self.momentum and bool(self.counts.sum() > 0):
            old = self.counts.to(counts) * (counts > 0)  # empty bins of the batch stay empty
            counts = self.momentum * old + (1.0 - self.momentum) * counts
        return index, counts, weight

    def loss_grad(self, logits, target, weight=None, total=None):
        z, sign, back = as_labels(self, logits, target)
        index, counts, w = self._counts(z, sign, weight)
        loss, grad = kernel.weighted_rows(z, sign, kernel.density_weight(index, counts))
        if w is None:
            size = torch.as_tensor(max(z.shape[-2], 1), dtype=z.dtype, device=z.device)
        else:
            loss, grad = loss * w, grad * w
            size = w.expand_as(z).sum(-2).mean(-1)
            size = torch.where(size > 0, size, torch.ones_like(size))
        return loss.sum((-1, -2)) / size, back(grad / size[..., None, None])

    def observe(self, logits, target, weight=None):
        """Blend the bins of a batch into those remembered."""
        if not self.momentum:
            return
        z, sign, _ = as_labels(self, logits, target)
        _, counts, _ = self._counts(z, sign, weight)
        counts = counts.reshape(-1, self.bins).double().mean(0)
        self.counts = torch.where(counts > 0, counts, self.counts)

    def log_scores(self, logits):
        return label_scores(self, logits)


class GradientHarmonized(Loss):
    r"""Gradient-harmonizing loss: entries weigh the inverse density of their gradient norms.

    :math:`w=N/(c_b\,m)`: N entries in m non-empty bins of :math:`|\sigma(z)-t|`, :math:`c_b` of them in the
    entry's own bin. Crowds of easy entries and crowds of outliers both count less.

    **Shapes.** logits (..., n, L) with 0/1 targets of the same shape; (..., n) as one label; (..., n, C) with
    class indices, each class against the rest and summed.

    Parameters
    ----------
    bins : int in [1, inf), default=30
        Bins of the gradient norm; 1 is cross-entropy of labels.
    momentum : float in [0, 1), default=0.0
        Share of the remembered bin counts; 0.75 in the paper's detection runs.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Weights are constants of the gradient and couple the rows of a batch. With momentum the loss remembers
    through ``observe``. Probabilities are not recovered: ``calibrated`` is False.

    References
    ----------
    Li, Liu and Wang 2019, arXiv:1811.05181.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, GradientHarmonized
    >>> bound = GradientHarmonized(bins=4).bind(ClassPrior(counts=[30, 3], n_samples=60, multilabel=True))
    >>> round(bound(torch.tensor([[2.0, -1.0], [0.0, 1.0]]), torch.tensor([[1, 0], [0, 1]])).item(), 4)
    0.7556
    """

    scope = "batch"
    calibrated = False
    _parameter_constraints = {
        "bins": [Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
    }
    _grid = {"bins": [10, 30]}
    reduces_to = (({"bins": 1}, CrossEntropy(), _BINARY),)

    def __init__(self, bins=30, momentum=0.0):
        self.bins = bins
        self.momentum = momentum

    def _bind(self, prior):
        return GradientHarmonizedBound(int(self.bins), float(self.momentum))


class TwoWayBound(BoundLoss):
    """Two-way loss of labels or classes; for two classes only along the rows."""

    requires = frozenset({"batch", "every class"})

    def __init__(self, temp_pos, temp_neg):
        super().__init__()
        self.kw = {"temp_pos": temp_pos, "temp_neg": temp_neg}

    def loss_grad(self, logits, target, weight=None, total=None):
        if weight is not None and self.task == "multilabel" and weight.ndim == logits.ndim:
            raise ValueError(f"{self.name} takes one weight per row, not one per label.")
        z, sign, back = as_labels(self, logits, target)
        along_rows = self.task != "binary"
        loss, grad = kernel.two_way_loss(z, sign > 0, weight, rows=along_rows, **self.kw)
        return loss, back(grad)

    def log_scores(self, logits):
        return label_scores(self, logits)


class TwoWay(Loss):
    r"""Two-way loss: positives above negatives, along rows and along labels.

    :math:`\mathrm{softplus}(T_p\,\mathrm{lse}_+(-z/T_p)+T_n\,\mathrm{lse}_-(z/T_n))`, averaged over labels that
    have a positive in the batch, plus the same averaged over rows that have one.

    **Shapes.** logits (..., n, L) with 0/1 targets of the same shape; (..., n, C) with class indices;
    (..., n) as one label, for which only the direction along the rows exists.

    Parameters
    ----------
    temp_pos : float in (0, inf), default=4.0
        Temperature of positives.
    temp_neg : float in (0, inf), default=1.0
        Temperature of negatives.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Sums run over the batch, so the value grows with the number of rows and depends on the scale of the
    weights. Missing sides are masked with minus infinity. The loss looks at differences of scores
    only: the level of the scores means nothing, and probabilities are not recovered.

    References
    ----------
    Kobayashi 2023, Two-way multi-label loss, CVPR.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, TwoWay
    >>> bound = TwoWay().bind(ClassPrior(counts=[30, 3], n_samples=60, multilabel=True))
    >>> round(bound(torch.tensor([[2.0, -1.0], [0.0, 1.0]]), torch.tensor([[1, 0], [0, 1]])).item(), 4)
    0.3079
    """

    scope = "batch"
    calibrated = False
    one_sided = True
    contract_exceptions = frozenset({"scale"})
    _parameter_constraints = {
        "temp_pos": [Interval(Real, 0, None, closed="neither")],
        "temp_neg": [Interval(Real, 0, None, closed="neither")],
    }
    _grid = {"temp_pos": [1.0, 4.0]}

    def __init__(self, temp_pos=4.0, temp_neg=1.0):
        self.temp_pos = temp_pos
        self.temp_neg = temp_neg

    def _bind(self, prior):
        return TwoWayBound(float(self.temp_pos), float(self.temp_neg))
