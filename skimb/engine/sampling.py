"""Orders of rows within an epoch: shuffled, weighted by class, with every class in every batch."""

from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval


class ClassPowerSampler(BaseEstimator):
    r"""Draw rows with class probabilities :math:`q_k\propto n_k^{\rho}`.

    Parameters
    ----------
    power : float in [0, 1], default=0.0
        Exponent :math:`\rho`: 0 draws classes equally often, 0.5 by the square root of their counts,
        1 leaves them as they are.
    end_power : float in [0, 1], default=None
        Exponent at the last epoch; class probabilities move there linearly over the epochs
        ("progressively balanced"). ``None`` keeps `power`.

    Notes
    -----
    Rows are drawn with replacement, as many per epoch as there are. The estimator knows the shift: its
    ``prior_`` is the one of the drawn rows, and ``predict_proba`` undoes it. With `end_power` the
    last epoch's distribution is taken, so probabilities are approximate there.

    References
    ----------
    Kang et al. 2020, arXiv:1910.09217.

    Examples
    --------
    >>> from skimb.training import ClassPowerSampler
    >>> ClassPowerSampler(power=0.5).class_probabilities([90, 10], 0, 1).round(2).tolist()
    [0.75, 0.25]
    """

    _parameter_constraints = {
        "power": [Interval(Real, 0, 1, closed="both")],
        "end_power": [Interval(Real, 0, 1, closed="both"), None],
    }

    def __init__(self, power=0.0, end_power=None):
        self.power = power
        self.end_power = end_power

    def class_probabilities(self, counts, epoch, n_epochs):
        """Probability of each class at an epoch.

        Parameters
        ----------
        counts : array-like of shape (n_classes,)
            Total weight of each class.
        epoch : int
            Epoch, from 0.
        n_epochs : int
            Planned number of epochs.

        Returns
        -------
        ndarray of shape (n_classes,)
            Probabilities.
        """
        self._validate_params()
        counts = np.asarray(counts, float)

        def powered(exponent):
            q = np.where(counts > 0, np.maximum(counts, 1e-300) ** exponent, 0.0)
            return q / q.sum()

        start = powered(self.power)
        if self.end_power is None:
            return start
        share = min(epoch / max(n_epochs - 1, 1), 1.0)
        return (1.0 - share) * start + share * powered(self.end_power)


class Order:
    """The order of rows of each epoch, and how it is cut into batches.

    Parameters
    ----------
    n : int
        Number of rows.
    batch_size : int
        Rows per batch.
    generator : torch.Generator
        Source of randomness.
    shuffle : bool
        Whether rows are permuted.
    classes : ndarray of int, shape (n,), default=None
        Class of each row, for samplers and class guarantees.
    sampler : ClassPowerSampler, default=None
        Draws rows by class instead of permuting them.
    every_class : bool, default=False
        Whether each batch must hold each class.
    n_epochs : int, default=1
        Planned epochs, for progressive samplers.
    least : int, default=1
        Rows that a last batch must have; with fewer it joins the one before.
    bags : ndarray of int, shape (n,), default=None
        Bag of each row, from 0 without gaps; batches then hold whole bags, in a random order of bags if shuffled.
    """

    def __init__(
        self,
        n,
        batch_size,
        generator,
        *,
        shuffle=True,
        classes=None,
        sampler=None,
        every_class=False,
        n_epochs=1,
        least=1,
        bags=None,
    ):
        self.n = n
        self.batch_size = batch_size
        self.generator = generator
        self.shuffle = shuffle
        self.classes = classes
        self.sampler = sampler
        self.every_class = every_class and classes is not None and batch_size < n
        self.n_epochs = n_epochs
        self.least = least
        self.bags = None if bags is None else torch.from_numpy(bags)
        self.epoch = 0

    @property
    def max_batch(self):
        """Largest number of rows in a batch."""
        if self.bags is not None:
            return min(self.n, self.batch_size - 1 + int(self.bags.bincount().max()))
        if not self.every_class:
            return max(self._cut())
        n_batches = self._n_batches()
        counts = np.bincount(self.classes)
        counts = counts[counts > 0]
        if self.sampler is not None:  # which may draw the classes in any shares
            return self.n // n_batches + 2 * len(counts)
        return int(np.ceil(np.maximum(counts, n_batches) / n_batches).sum())

    def _n_batches(self):
        return max(1, round(self.n / self.batch_size))

    def next(self):
        """Index of the next epoch (None for the stored order) and the batch sizes."""
        index = None
        if self.bags is not None:
            self.epoch += 1
            return self._whole_bags()
        if self.sampler is not None:
            index = self._drawn()
        elif self.shuffle:
            index = torch.randperm(self.n, generator=self.generator)
        self.epoch += 1
        if self.every_class:
            return self._spread(index)
        return index, self._cut()

    def _whole_bags(self):
        """Rows bag by bag; a bag belongs to the batch in which its first row falls."""
        sizes = self.bags.bincount()
        order = torch.arange(len(sizes))
        if self.shuffle:
            order = torch.randperm(len(sizes), generator=self.generator)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        index = torch.argsort(place[self.bags], stable=True)
        sizes = sizes[order]
        batch = (sizes.cumsum(0) - sizes) // self.batch_size
        cut = torch.zeros(int(batch[-1]) + 1, dtype=torch.long).index_add_(0, batch, sizes)
        return index, cut[cut > 0].tolist()

    def _cut(self):
        """Sizes of batches of equal size and a last one."""
        full, rest = divmod(self.n, self.batch_size)
        sizes = [self.batch_size] * full
        if sizes and 0 < rest < self.least:
            sizes[-1] += rest
        elif rest:
            sizes.append(rest)
        return sizes

    def _drawn(self):
        counts = np.bincount(self.classes)
        q = self.sampler.class_probabilities(counts, self.epoch, self.n_epochs)
        share = torch.from_numpy((q / np.maximum(counts, 1))[self.classes])
        edges = share.cumsum(0)
        draws = torch.rand(self.n, generator=self.generator, dtype=torch.float64) * edges[-1]
        return torch.searchsorted(edges, draws).clamp_max_(self.n - 1)

    def _spread(self, index):
        """Deal each class evenly over the batches; classes too small for that repeat rows."""
        if index is None:
            index = torch.arange(self.n)
        n_batches = self._n_batches()
        labels = self.classes[index.numpy()]
        rows, batch = [], []
        for k in np.unique(self.classes):
            own = index[torch.from_numpy(np.flatnonzero(labels == k))]
            if not len(own):  # a sampler may have missed a rare class: take its rows as they are
                own = torch.from_numpy(np.flatnonzero(self.classes == k))
            repeats = -(-n_batches // len(own))
            if repeats > 1:
                own = own.repeat(repeats)[:n_batches]
            first = int(torch.randint(n_batches, (1,), generator=self.generator))
            rows.append(own)
            batch.append((torch.arange(len(own)) + first) % n_batches)
        batch = torch.cat(batch)
        order = torch.argsort(batch, stable=True)
        sizes = torch.bincount(batch, minlength=n_batches)
        return torch.cat(rows)[order], sizes.tolist()
