"""Losses made of other losses: switched on late, mixed with cross-entropy."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval

from skimb.losses._base import Loss, RowBound
from skimb.losses._wrapping import Wrapper, Wrapping
from skimb.losses.rebalanced import ClassBalanced
from skimb.losses.softmax import CrossEntropy


class DeferredBound(Wrapping):
    """One loss until a share of training is over, another one after; the later one outside training."""

    def __init__(self, after, before, start):
        super().__init__(after, before)
        self.start = start

    def at(self, epoch, n_epochs):
        late = epoch >= int(np.ceil(self.start * n_epochs))
        return self.parts[0 if late else 1].at(epoch, n_epochs)

    def loss_grad(self, logits, target, weight=None, total=None):
        return self.parts[0].loss_grad(logits, target, weight, total)

    def observe(self, logits, target, weight=None):
        self.parts[0].observe(logits, target, weight)

    def frozen(self, logits, target, weight=None):
        return self.parts[0].frozen(logits, target, weight)


class RowDeferred(DeferredBound, RowBound):
    """Two row-separable losses, one after the other."""

    def entries(self, logits, target, factor=1.0):
        return self.parts[0].entries(logits, target, factor)

    def second(self, logits, target):
        return self.parts[0].second(logits, target)

    def convex_second(self, logits, target):
        return self.parts[0].convex_second(logits, target)


class Deferred(Wrapper):
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
    mended by waiting. Estimators ask ``bound.at(epoch, n_epochs)`` for the loss in force; the bound loss
    itself is the later one, and so are predictions. With early stopping, training may end before the
    switch. ``solver="lbfgs"`` has no epochs and minimises the later loss. Give the later stage its own
    class weights by ``loss``; the estimators' ``deferred_reweighting`` defers ``class_weight`` for any loss.

    References
    ----------
    Cao et al. 2019, arXiv:1906.07413.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, Deferred, Focal
    >>> bound = Deferred(Focal(2.0), start=0.5).bind(ClassPrior(counts=[9, 1]))
    >>> z, y = torch.tensor([0.0]), torch.tensor([1])
    >>> [round(bound.at(epoch, 10)(z, y).item(), 4) for epoch in (0, 9)]
    [0.6931, 0.1733]
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

    def _parts(self):
        return (
            ClassBalanced(0.9999) if self.loss is None else self.loss,
            CrossEntropy() if self.before is None else self.before,
        )

    def _bind(self, prior):
        after, before = (part.bind(prior) for part in self._parts())
        coupled = "batch" in after.requires | before.requires
        kind = DeferredBound if coupled else RowDeferred
        return kind(after, before, float(self.start))


class _MixedBound(Wrapping):
    """Base of mixtures: the loss, cross-entropy, its share, and the epochs in which it stands alone."""

    def __init__(self, inner, entropy, share, warmup):
        super().__init__(inner, entropy)
        self.share, self.warmup = share, warmup
        attack = inner.attack
        self.attack = None if attack is None else attack._replace(nu=(1.0 - share) * attack.nu)

    def at(self, epoch, n_epochs):
        inner, entropy = self.parts
        if epoch < self.warmup:
            return entropy
        now = inner.at(epoch, n_epochs)
        if now is inner:
            return self
        return self._following(now)

    def _with(self, inner):
        """The same mixture of another loss."""
        kind = BatchMixture if "batch" in inner.requires else RowMixture
        return self._like_this(kind(inner, self.parts[1], self.share, self.warmup))

    def frozen(self, logits, target, weight=None):
        return self._with(self.parts[0].frozen(logits, target, weight))


class BatchMixture(_MixedBound):
    """A batch-coupled loss plus cross-entropy, which counts as a mean over labels."""

    def loss_grad(self, logits, target, weight=None, total=None):
        inner, entropy = self.parts
        labels = logits.shape[-1] if self.task == "multilabel" else 1
        loss, grad = inner.loss_grad(logits, target, weight, total)
        plain = entropy.loss_grad(logits, target, weight, total)
        f = self.share / labels
        return (1.0 - self.share) * loss + f * plain[0], torch.add(
            grad * (1.0 - self.share), plain[1], alpha=f
        )


class RowMixture(_MixedBound, RowBound):
    """A row-separable loss plus cross-entropy."""

    def _both(self, of, *args):
        s = self.share
        a, b = (of(part)(*args) for part in self.parts)
        return tuple((1.0 - s) * x + s * y for x, y in zip(a, b, strict=True))

    def entries(self, logits, target, factor=1.0):
        return self._both(lambda bound: bound.entries, logits, target, factor)

    def second(self, logits, target):
        return self._both(lambda bound: bound.second, logits, target)

    def convex_second(self, logits, target):
        return self._both(lambda bound: bound.convex_second, logits, target)


class Mixed(Wrapper):
    r"""A loss mixed with cross-entropy: :math:`(1-s)\,L+s\,\mathrm{CE}`, after epochs of cross-entropy alone.

    **Shapes.** Those of the loss.

    Parameters
    ----------
    loss : Loss, default=None
        The loss L; ``None`` is cross-entropy, for which the mixture changes nothing.
    share : float in [0, 1], default=0.1
        Share s of cross-entropy in the loss.
    warmup : int in [0, inf), default=0
        Epochs of cross-entropy alone before.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Losses of whole batches (metrics, pairs) are flat where the net knows nothing yet and say little about
    probabilities; some cross-entropy beside them, or before them, mends both. Beside a loss of whole batches
    cross-entropy counts as a mean over labels, beside a loss of rows label by label. ``predict`` decides as the
    loss does. A mixture has no closed-form posterior: ``calibrated`` is that of the loss at ``share=0`` and
    False above. To switch from one loss to another late in training use
    :class:`Deferred`; the two can be nested.

    References
    ----------
    Taghanaki et al. 2019, arXiv:1805.02798 (cross-entropy beside the Dice coefficient).

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import AnyLoss, ClassPrior, Mixed
    >>> bound = Mixed(AnyLoss("f1"), share=0.5, warmup=3).bind(ClassPrior(counts=[3, 3]))
    >>> z, y = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1]), torch.tensor([0, 0, 1, 0, 1, 1])
    >>> [round(bound.at(epoch, 10)(z, y).item(), 4) for epoch in (0, 3)]  # cross-entropy, then both
    [0.6808, 0.5468]
    """

    _parameter_constraints = {
        "loss": [Loss, None],
        "share": [Interval(Real, 0, 1, closed="both")],
        "warmup": [Interval(Integral, 0, None, closed="left")],
    }
    _grid = {"share": [0.1, 0.5], "warmup": [0, 5]}
    reduces_to = (
        ({"loss": CrossEntropy(0.1), "share": 0.0}, CrossEntropy(0.1), {"binary", "multiclass"}),
        ({"share": 1.0}, CrossEntropy(), {"binary", "multiclass"}),
    )

    def __init__(self, loss=None, share=0.1, warmup=0):
        self.loss = loss
        self.share = share
        self.warmup = warmup

    @property
    def calibrated(self):
        """Whether the loss recovers probabilities and cross-entropy has no share in it."""
        return self.share == 0.0 and super().calibrated

    @property
    def shift_invariant(self):
        """Whether a constant added to all scores changes nothing: never with cross-entropy in it."""
        return self.share == 0.0 and super().shift_invariant

    def _bind(self, prior):
        inner = self._parts()[0].bind(prior)
        kind = BatchMixture if "batch" in inner.requires else RowMixture
        entropy = CrossEntropy().bind(prior)
        return kind(inner, entropy, float(self.share), int(self.warmup))
