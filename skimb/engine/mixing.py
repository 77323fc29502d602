"""Training on mixtures of rows and of their labels."""

from numbers import Real

import numpy as np
import torch
from scipy.special import betainc
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from skimb.engine.columns import Columns, group_numbers
from skimb.engine.data import Batch
from skimb.engine.schemes import RunningScheme

_GRID = 2001  # points of the quantiles of the beta distribution, for expected labels


def _quantiles(a, b):
    """Equally probable values of a Beta(a, b) variable."""
    x = np.linspace(0.0, 1.0, 20 * _GRID)
    return np.interp((np.arange(_GRID) + 0.5) / _GRID, betainc(a, b, x), x)


class Mixer(BaseEstimator):
    """Base of mixers: partners of rows, and how much of a row and of its label stays."""

    _alpha = [Interval(Real, 0, None, closed="neither")]

    def partner_shares(self, shares, counts):
        """Class distribution of partners, from that of rows and the rows per class."""
        return shares

    def partners(self, code, counts, rng):
        """Positions in the batch of each row's partner."""
        return rng.permutation(len(code))

    def draw(self, size, rng):
        """Random numbers that `row_share` turns into shares."""
        return rng.beta(self.alpha, self.alpha, size)

    def quantiles(self):
        """Equally probable values of those."""
        return _quantiles(self.alpha, self.alpha)

    def row_share(self, drawn, n_i, n_j):
        """How much of the row's features stays, from drawn numbers and both classes' counts."""
        return drawn

    def label_share(self, row_share, n_i, n_j):
        """How much of the row's label stays."""
        return row_share

    def rows(self, n_features):
        """What mixes rows of so many columns: a function of rows, partners, shares of rows, and a generator."""
        return _between

    def label_mass(self, shares, counts):
        r"""Label distribution of the mixed rows.

        Parameters
        ----------
        shares : array-like of shape (n_classes,)
            Label distribution before mixing.
        counts : array-like of shape (n_classes,)
            Rows per class.

        Returns
        -------
        ndarray of shape (n_classes,)
            Expected weight of each label.
        """
        self._validate_params()
        shares, counts = np.asarray(shares, float), np.asarray(counts, float)
        partner = self.partner_shares(shares, counts)
        drawn, mass = self.quantiles(), np.zeros(len(shares))
        others = np.flatnonzero(partner)
        n_j = counts[others, None]
        for i in np.flatnonzero(shares):
            kept = np.broadcast_to(self.row_share(drawn, counts[i], n_j), (len(others), len(drawn)))
            stays = self.label_share(kept, counts[i], n_j).mean(1)
            mass[i] += shares[i] * (partner[others] @ stays)
            mass[others] += shares[i] * partner[others] * (1.0 - stays)
        return mass / mass.sum()


def _between(X, other, kept, rng):
    """Rows on the lines to their partners."""
    return other + kept * (X - other)


class Mixup(Mixer):
    r"""Mixup: :math:`\lambda x_i+(1-\lambda)x_j`, labels alike, :math:`\lambda\sim\mathrm{Beta}(\alpha,\alpha)`.

    Parameters
    ----------
    alpha : float in (0, inf), default=1.0
        Both parameters of the beta distribution; towards 0 rows stay as they are.

    Notes
    -----
    Under imbalance nearly all partners are common rows, so that rare classes get blurred: mixing alone made
    balanced accuracy worse in our runs. Combine it with ``LogitAdjusted`` or take :class:`UniMix`.

    References
    ----------
    Zhang et al. 2018, arXiv:1710.09412.

    Examples
    --------
    >>> from skimb.training import Mixup
    >>> Mixup(alpha=0.4).label_mass([0.9, 0.1], [90, 10]).round(3).tolist()
    [0.9, 0.1]
    """

    _parameter_constraints = {"alpha": Mixer._alpha}

    def __init__(self, alpha=1.0):
        self.alpha = alpha


class BalancedMixup(Mixer):
    r"""Balanced-MixUp: each row with some of a row from a class-balanced draw of all rows.

    :math:`(1-\lambda)x_i+\lambda x_j` with :math:`\lambda\sim\mathrm{Beta}(\alpha,1)`, labels alike.

    Parameters
    ----------
    alpha : float in (0, inf), default=0.2
        The mean share of the balanced row is :math:`\alpha/(\alpha+1)`.

    References
    ----------
    Galdran et al. 2021, arXiv:2109.09850.

    Examples
    --------
    >>> from skimb.training import BalancedMixup
    >>> BalancedMixup(alpha=0.2).label_mass([0.9, 0.1], [90, 10]).round(3).tolist()
    [0.833, 0.167]
    """

    _parameter_constraints = {"alpha": Mixer._alpha}

    def __init__(self, alpha=0.2):
        self.alpha = alpha

    def partner_shares(self, shares, counts):
        present = np.asarray(counts) > 0
        return present / present.sum()

    def partners(self, code, counts, rng):
        return None  # from all rows

    def draw(self, size, rng):
        return rng.beta(self.alpha, 1.0, size)

    def quantiles(self):
        return ((np.arange(_GRID) + 0.5) / _GRID) ** (1.0 / self.alpha)

    def row_share(self, drawn, n_i, n_j):
        return 1.0 - drawn


class Remix(Mixer):
    r"""Remix: mixup whose labels go to the rarer of both classes, if it is much rarer and present enough.

    The label of row i gets no weight if :math:`n_i/n_j\ge\kappa` and :math:`\lambda<\tau`, all of it if
    :math:`n_i/n_j\le1/\kappa` and :math:`1-\lambda<\tau`, else :math:`\lambda`.

    Parameters
    ----------
    alpha : float in (0, inf), default=1.0
        Both parameters of the beta distribution.
    kappa : float in [1, inf), default=3.0
        Ratio of counts from which a class is much rarer.
    tau : float in [0, 1], default=0.5
        Share of the common row below which its label vanishes.

    References
    ----------
    Chou et al. 2020, arXiv:2007.03943.

    Examples
    --------
    >>> from skimb.training import Remix
    >>> Remix().label_mass([0.9, 0.1], [90, 10]).round(3).tolist()
    [0.878, 0.122]
    """

    _parameter_constraints = {
        "alpha": Mixer._alpha,
        "kappa": [Interval(Real, 1, None, closed="left")],
        "tau": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, alpha=1.0, kappa=3.0, tau=0.5):
        self.alpha = alpha
        self.kappa = kappa
        self.tau = tau

    def label_share(self, row_share, n_i, n_j):
        none = (n_i >= self.kappa * n_j) & (row_share < self.tau)
        whole = (n_j >= self.kappa * n_i) & (1.0 - row_share < self.tau)
        return np.where(none, 0.0, np.where(whole, 1.0, row_share))


class UniMix(Mixer):
    r"""UniMix: partners from rarer classes, and shares that favour the rarer of both rows.

    The partner is drawn within the batch with probability :math:`\propto n_{y_j}^\tau`; of row i stays
    :math:`(b+\frac{n_j}{n_i+n_j})\bmod1` with :math:`b\sim\mathrm{Beta}(\alpha,\alpha)`.

    Parameters
    ----------
    alpha : float in (0, inf), default=0.8
        Both parameters of the beta distribution.
    tau : float in (-inf, inf), default=-0.5
        Exponent of the partner's class count per row; -1 draws classes equally often.

    Notes
    -----
    Meant to go with the correction of the prior ("Bayias"), which here is
    ``loss=LogitAdjusted()``: alone it lost to plain training in our runs, together with it it did as well as
    logit adjustment does without mixing. The adjustment uses the label distribution of the mixed rows, which is
    what the net sees; the authors' uses that of the rows before.

    References
    ----------
    Xu et al. 2021, arXiv:2111.03874.

    Examples
    --------
    >>> from skimb.training import UniMix
    >>> UniMix().label_mass([0.9, 0.1], [90, 10]).round(3).tolist()
    [0.815, 0.185]
    """

    _parameter_constraints = {
        "alpha": Mixer._alpha,
        "tau": [Interval(Real, None, None, closed="neither")],
    }

    def __init__(self, alpha=0.8, tau=-0.5):
        self.alpha = alpha
        self.tau = tau

    def partner_shares(self, shares, counts):
        weight = shares * np.maximum(counts, 1.0) ** self.tau
        return weight / weight.sum()

    def partners(self, code, counts, rng):
        p = np.maximum(counts[code], 1.0) ** self.tau
        return rng.choice(len(code), len(code), p=p / p.sum())

    def row_share(self, drawn, n_i, n_j):
        return np.mod(drawn + n_j / (n_i + n_j), 1.0)


class PartialMixup(Mixer):
    r"""Rebalanced partial mixup: some rows get some columns of a partner, and the label of the rarer of both.

    Row i keeps the share :math:`\alpha=1-` `swap_fraction` of its columns. Its label has no weight if
    :math:`n_i>\kappa n_j`, all of it if :math:`n_j>\kappa n_i`, else :math:`\alpha`.

    Parameters
    ----------
    ratio : float in [0, 1], default=0.0625
        Share of rows that are mixed.
    swap_fraction : float in (0, 1), default=0.36
        Share of the groups of columns that come from the partner, drawn anew for each row: one at least, and not
        all.
    kappa : float in [1, inf), default=3.0
        Ratio of counts beyond which a class is much rarer.
    feature_groups : list of array-like of int, default=None
        Numbers of columns that belong together, as those of a one-hot encoded category; others stand alone.

    Notes
    -----
    The authors swap the lower half of skeletons, 9 of 25 joints, in one of the 16 rows of a batch. Columns of a
    table have no such halves, so that other ones are drawn for each row: this is our reading.

    References
    ----------
    Liu et al. 2023, arXiv:2308.14024.

    Examples
    --------
    >>> from skimb.training import PartialMixup
    >>> PartialMixup(ratio=0.5).label_mass([0.9, 0.1], [90, 10]).round(3).tolist()
    [0.855, 0.145]
    """

    _parameter_constraints = {
        "ratio": [Interval(Real, 0, 1, closed="both")],
        "swap_fraction": [Interval(Real, 0, 1, closed="neither")],
        "kappa": [Interval(Real, 1, None, closed="left")],
        "feature_groups": [list, tuple, None],
    }

    def __init__(self, ratio=0.0625, swap_fraction=0.36, kappa=3.0, feature_groups=None):
        self.ratio = ratio
        self.swap_fraction = swap_fraction
        self.kappa = kappa
        self.feature_groups = feature_groups

    def draw(self, size, rng):
        return np.where(rng.random(size) < self.ratio, 1.0 - self.swap_fraction, 1.0)

    def quantiles(self):
        mixed = np.arange(_GRID) < round(self.ratio * _GRID)
        return np.where(mixed, 1.0 - self.swap_fraction, 1.0)

    def label_share(self, row_share, n_i, n_j):
        mixed = row_share < 1.0
        none, whole = mixed & (n_i > self.kappa * n_j), n_j > self.kappa * n_i
        return np.where(none, 0.0, np.where(whole, 1.0, row_share))

    def rows(self, n_features):
        columns = Columns(group_numbers(self.feature_groups, n_features, "PartialMixup"))
        n = columns.n_groups
        if n < 2:
            raise ValueError(
                f"PartialMixup swaps some groups of columns and keeps others, got {n_features} feature(s) in {n} "
                "group(s); it needs two groups."
            )
        swapped = min(max(round(self.swap_fraction * n), 1), n - 1)

        def swap(X, other, kept, rng):
            rank = rng.random((len(X), n)).argsort(1)
            drawn = torch.from_numpy(rank < swapped)[:, columns.numbers].to(X.device)
            return torch.where(drawn & (kept < 1.0), other, X)

        return swap


def _classes(target):
    """Class numbers of an encoded target, which for one logit holds signs."""
    return np.maximum(target.code.cpu().numpy(), 0).astype(np.int64)


class Mixing(RunningScheme):
    """Trains on mixtures of the rows of a batch.

    Parameters
    ----------
    mixer : Mixer
        What to mix.
    data : TrainingData
        All rows, for partners from outside the batch.
    counts : ndarray of shape (n_classes,)
        Rows per class.
    seed : int
        Seed of partners and shares.
    """

    def __init__(self, mixer, data, counts, seed):
        self.mixer, self.data = mixer, data
        self.counts = np.asarray(counts, float)
        self.rng = np.random.default_rng(seed)
        self._prepare()
        classes = _classes(data.target)
        self._by_class = np.argsort(classes, kind="stable")  # rows of one class after the other
        sizes = np.bincount(classes)
        self._starts, self._sizes = (sizes.cumsum() - sizes)[sizes > 0], sizes[sizes > 0]

    def _prepare(self):
        self.mixed = self.mixer.rows(self.data.X.shape[1])

    def _rows(self, X, at):
        """Some rows of a batch."""
        return X[at]

    def _numbers(self, X, values):
        """An array in the type of the rows."""
        return torch.from_numpy(values).to(X)

    def _mixture(self, X, other, kept):
        """Mixtures of rows and partners, of which the shares (n, 1) stay."""
        return self.mixed(X, other, kept, self.rng)

    def batch(self, batch, step):
        X, target, weight = batch.X, batch.target, batch.weight
        classes = _classes(target)
        at = self.mixer.partners(classes, self.counts, self.rng)
        if at is None:
            other, partner, partner_weight = self._balanced(len(classes), weight is not None)
        else:
            at = torch.from_numpy(at).to(target.code.device)
            other, partner = self._rows(X, at), target.each(lambda part: part[at])
            partner_weight = None if weight is None else weight[at]
        n_i = self.counts[classes]
        n_j = self.counts[_classes(partner)]
        kept = self.mixer.row_share(self.mixer.draw(len(classes), self.rng), n_i, n_j)
        label = self._numbers(X, self.mixer.label_share(kept, n_i, n_j))
        kept = self._numbers(X, kept)[:, None]
        loss = TwoLabels(step.loss, partner, partner_weight, label)
        mixed = self._mixture(X, other, kept)
        return Batch(mixed, target, weight, batch.rows, batch.epoch, loss)

    def _balanced(self, n, weighted):
        """Rows of all data, classes drawn equally often."""
        kind = self.rng.integers(len(self._sizes), size=n)
        at = self._by_class[self._starts[kind] + self.rng.integers(self._sizes[kind])]
        at = torch.from_numpy(at).to(self.data.target.code.device)
        weight = self.data.weight[at] if weighted else None
        return self.data.X[at], self.data.target.each(lambda part: part[at]), weight


class BlockMixing(Mixing):
    """Trains on mixtures of embedded rows: hands rows and partners to a backend that mixes what it makes of them.

    Parameters
    ----------
    mixer : Mixer
        What to mix.
    data : TrainingData
        All rows, as blocks.
    counts : ndarray of shape (n_classes,)
        Rows per class.
    seed : int
        Seed of partners and shares.
    like : Tensor
        Of the type and on the device of the net.
    """

    def __init__(self, mixer, data, counts, seed, like):
        self.like = like
        super().__init__(mixer, data, counts, seed)

    def _prepare(self):
        if type(self.mixer).rows is not Mixer.rows:
            raise ValueError(
                f"mix={self.mixer!r} puts columns of rows together, and embedded rows of a table have none; use a "
                "mixer of whole rows, as Mixup, Remix, UniMix or BalancedMixup."
            )

    def _rows(self, X, at):
        return {name: block[at] for name, block in X.items()}

    def _numbers(self, X, values):
        return torch.from_numpy(values).to(self.like)

    def _mixture(self, X, other, kept):
        both = {name: torch.cat([block, other[name]]) for name, block in X.items()}
        return both | {"kept": kept}


class TwoLabels:
    """A loss of rows with two labels each, the second one fixed: the weighted sum of both.

    Scores may have an axis for members before that of the rows, which all have the same labels.
    """

    requires: frozenset = frozenset()
    attack = None

    def __init__(self, loss, partner, partner_weight, share):
        self.loss = loss
        self.partner, self.partner_weight, self.share = partner, partner_weight, share
        self.task = loss.task

    def loss_grad(self, logits, target, weight=None, total=None):
        """Loss and gradient of a batch, as of the loss itself."""
        share, other, partner = self.share, self.partner_weight, self.partner
        if members := target.code.shape[:-1]:
            share = share.expand(*members, *share.shape).contiguous()
            partner = partner.each(lambda part: part.expand(*members, *part.shape).contiguous())
        first = share if weight is None else share * weight
        second = 1.0 - share if other is None else (1.0 - share) * other
        value, grad = self.loss.loss_grad(logits, target, first, total)
        more, slope = self.loss.loss_grad(logits, partner, second, total)
        return value + more, grad + slope
