"""Mixtures of rows, of hidden units or of embeddings in training by contrasts."""

from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.engine.columns import Columns

_MARGIN = 0.5  # distance from which a negative is far enough


class MetricMixup(BaseEstimator):
    r"""Metrix: mixtures of a positive, or of the anchor itself, and a negative, in training by contrasts.

    An anchor a and a mixture :math:`v=\lambda x+(1-\lambda)x^-`, where x is a row of the anchor's class or the
    anchor and :math:`x^-` the nearest row of another class in the batch, add

    .. math:: \lambda\,d(a,v)+(1-\lambda)\,[0.5-d(a,v)]_+

    to the loss, with Euclidean distances of embeddings of length one and
    :math:`\lambda\sim\mathrm{Beta}(\alpha,\alpha)` drawn once per batch.

    Parameters
    ----------
    level : {"embedding", "hidden", "input"}, default="embedding"
        What is mixed: embeddings, whose mixture is brought to length one again; a hidden layer, drawn per batch;
        or rows, which must be dense. Of ``feature_groups`` a mixed row has each group as a whole, from x with
        probability :math:`\lambda`.
    pairs : {"both", "positive_negative", "anchor_negative"}, default="both"
        What x is; "both" draws it per batch.
    alpha : float in (0, inf), default=2.0
        Both parameters of the beta distribution.
    weight : float in [0, inf), default=0.4
        Weight of the mean over anchors beside the contrast of the rows themselves.

    Notes
    -----
    Anchors without a further row of their class in the batch have no positive: they add to "anchor_negative" only.
    The authors mix all pairs of embeddings of a batch, here each anchor has one positive, drawn at random, and its
    nearest negative at every level.

    References
    ----------
    Venkataramanan et al. 2022, arXiv:2106.04990.

    Examples
    --------
    >>> from skimb.neural_network import SubclassContrastiveClassifier
    >>> from skimb.training import MetricMixup
    >>> model = SubclassContrastiveClassifier(mix=MetricMixup(level="hidden"))
    >>> model.set_params(mix__weight=0.2).mix
    MetricMixup(level='hidden', weight=0.2)
    """

    _parameter_constraints = {
        "level": [StrOptions({"embedding", "hidden", "input"})],
        "pairs": [StrOptions({"both", "positive_negative", "anchor_negative"})],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, level="embedding", pairs="both", alpha=2.0, weight=0.4):
        self.level = level
        self.pairs = pairs
        self.alpha = alpha
        self.weight = weight


class MetricMixing:
    """A `MetricMixup` at work in one fit.

    Parameters
    ----------
    mix : MetricMixup
        What to mix.
    columns : Columns
        Groups of columns.
    seed : int
        Seed of partners and shares.
    """

    def __init__(self, mix, columns: Columns, seed):
        self.level, self.pairs = mix.level, mix.pairs
        self.alpha, self.weight = mix.alpha, mix.weight
        self.columns = columns
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def loss(self, module, X, z, classes, rows, weight):
        """Weighted mean loss of the mixtures of a batch, with its gradient history.

        Parameters
        ----------
        module : Encoder
            The net.
        X : Tensor of shape (n, n_features)
            Rows of the batch.
        z : Tensor of shape (n, d)
            Their embeddings, with history.
        classes, rows : Tensor of int, shape (n,)
            Classes, and numbers of the rows that these are views of.
        weight : Tensor of shape (n,), or None
            Weights of the anchors.

        Returns
        -------
        Tensor of shape ()
            Loss, 0 where no anchor has partners.
        """
        u = torch.nn.functional.normalize(z, dim=-1)
        own = self.pairs == "anchor_negative"
        if self.pairs == "both":
            own = bool(self.rng.integers(2))
        share = float(self.rng.beta(self.alpha, self.alpha))
        anchor, positive, negative = self.partners(u.detach(), classes, rows, own)
        if not len(anchor):
            return z.sum() * 0.0
        v = self.mixed(module, X, u, positive, negative, share)
        terms = mixture_loss(u[anchor], v, share)
        if weight is None:
            return terms.mean()
        w = weight[anchor]
        return (w * terms).sum() / w.sum().clamp_min(1e-30)

    def partners(self, u, classes, rows, own):
        """Positions of anchors, of what is mixed into their mixtures, and of their nearest negatives."""
        same = classes[:, None] == classes
        near = (u @ u.T).masked_fill(same, -torch.inf)
        valid = ~same.all(1)
        negative = near.argmax(1)
        positive = torch.arange(len(u), device=u.device)
        if not own:
            mates = same & (rows[:, None] != rows)
            drawn = torch.rand(mates.shape, generator=self.generator).to(u.device)
            positive = drawn.masked_fill(~mates, -1.0).argmax(1)
            valid = valid & mates.any(1)
        anchor = valid.nonzero().squeeze(1)
        return anchor, positive[anchor], negative[anchor]

    def mixed(self, module, X, u, positive, negative, share):
        """Directions of the mixtures' embeddings."""
        if self.level == "embedding":
            v = share * u[positive] + (1.0 - share) * u[negative]
        elif self.level == "hidden":
            stop = int(self.rng.integers(1, len(module.layers) + 1))
            h = module.embed(X, 0, stop)
            h = share * h[positive] + (1.0 - share) * h[negative]
            v = module.projection(module.embed(h, stop))
        else:
            v = module(self.mixed_rows(X[positive], X[negative], share))
        return torch.nn.functional.normalize(v, dim=-1)

    def mixed_rows(self, first, second, share):
        """Rows between others; groups of several columns come as a whole from one of both."""
        blend = share * first + (1.0 - share) * second
        if bool(self.columns.alone.all()):
            return blend
        taken = self.columns.drawn(len(first), share, self.generator).to(first.device)
        whole = torch.where(taken, first, second)
        return torch.where(self.columns.alone.to(first.device), blend, whole)


def mixture_loss(u, v, share):
    """Loss (n,) of anchors u and mixtures v (n, d), of which the share is positive."""
    distance = (u - v).square().sum(-1).clamp_min(1e-12).sqrt()
    return share * distance + (1.0 - share) * (_MARGIN - distance).clamp_min(0.0)
