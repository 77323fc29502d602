"""Cross-entropy mixed into losses that need it: to start from, or to keep probabilities sensible."""

from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval

from skimb.losses._base import BoundLoss, Loss, RowBound
from skimb.losses.softmax import CrossEntropy


class _Mixture:
    """What both mixtures share: the parts, the share of cross-entropy now, the metric's decision."""

    def _parts(self, metric, entropy, share, warmup):
        self.metric, self.entropy = metric, entropy
        self.share, self.warmup = share, warmup
        self.scheduled = warmup > 0
        self.epoch = None

    def begin_epoch(self, epoch, max_epochs):
        self.epoch = epoch

    def settled_epoch(self, max_epochs):
        return min(self.warmup, max_epochs)

    def _share(self):
        warming = self.epoch is not None and self.epoch < self.warmup
        return 1.0 if warming else self.share

    def encode(self, target, logits):
        return self.metric.encode(target, logits)

    def plain_code(self, code, logits):
        return self.metric.plain_code(code, logits)

    def attach(self, code, costs):
        return self.metric.attach(code, costs)

    def decision(self, logits):
        return self.metric.decision(logits)

    def log_scores(self, logits):
        return self.metric.log_scores(logits)


class BatchMixture(_Mixture, BoundLoss):
    """A batch-coupled loss plus cross-entropy, which counts as a mean over labels."""

    def __init__(self, *parts):
        super().__init__()
        self._parts(*parts)

    def loss_grad(self, logits, code, weight=None, total=None):
        share = self._share()
        labels = logits.shape[-1] if self.task == "multilabel" else 1
        if share < 1.0:
            loss, grad = self.metric.loss_grad(logits, code, weight, total)
            if share == 0.0:
                return loss, grad
        plain = self.entropy.loss_grad(logits, self.plain_code(code, logits), weight, total)
        if share == 1.0:
            return plain[0] / labels, plain[1] / labels
        f = share / labels
        return (1.0 - share) * loss + f * plain[0], torch.add(
            grad * (1.0 - share), plain[1], alpha=f
        )


class RowMixture(_Mixture, RowBound):
    """A row-separable loss plus cross-entropy."""

    def __init__(self, *parts):
        super().__init__()
        self._parts(*parts)

    def _both(self, of, logits, code, *more):
        share = self._share()
        a = of(self.metric)(logits, code, *more)
        b = of(self.entropy)(logits, self.plain_code(code, logits), *more)
        return tuple((1.0 - share) * x + share * y for x, y in zip(a, b, strict=True))

    def entries(self, logits, code, factor=1.0):
        return self._both(lambda bound: bound.entries, logits, code, factor)

    def second(self, logits, code):
        return self._both(lambda bound: bound.second, logits, code)


MIX_CONSTRAINTS = {
    "ce_mix": [Interval(Real, 0, 1, closed="both")],
    "warmup_epochs": [Interval(Integral, 0, None, closed="left")],
}


class MixesCrossEntropy(Loss):
    """A loss with the parameters ``ce_mix`` and ``warmup_epochs``."""

    def bind(self, prior):
        """Check the parameters and fix everything that depends on the training target.

        Parameters
        ----------
        prior : ClassPrior
            Counts and label distribution of the training part.

        Returns
        -------
        BoundLoss
            A module called as ``(logits, target, sample_weight=None)``.

        Raises
        ------
        TypeError
            If `prior` is not a ClassPrior.
        ValueError
            If a parameter is out of range or the loss does not accept the kind of target.
        """
        bound = super().bind(prior)
        if self.ce_mix == 0.0 and self.warmup_epochs == 0:
            return bound
        kind = RowMixture if isinstance(bound, RowBound) else BatchMixture
        entropy = CrossEntropy().bind(prior)
        mixed = kind(bound, entropy, float(self.ce_mix), int(self.warmup_epochs))
        mixed = self._dress(mixed, prior)
        mixed.shift_invariant = bound.shift_invariant and self.ce_mix == 0.0
        return mixed
