"""The scheme that trains on rows which cover the clusters of their class in the net's own features."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.clusters import spread_over_clusters
from skimb.engine.data import Blocks
from skimb.engine.replacing import Replacing
from skimb.engine.schemes import Scheme


class DynamicPruning(Scheme):
    r"""Prunes each class for diversity, anew every few epochs, by clusters of the net's own features.

    Every `period` epochs the rows of a class are clustered by the inputs of the output layer, as directions, in
    the first epoch by their columns. Cluster c of :math:`n_c` rows keeps :math:`\min(n_c,\tau n_c^a)` of them, with
    :math:`\tau` so that the class keeps `fraction` of its rows. Until the next renewal a row that was dropped is
    replaced in its batch by a kept row of its class.

    Parameters
    ----------
    fraction : float in (0, 1], default=0.5
        Share of its rows that a class keeps.
    period : int in [1, inf), default=5
        Epochs between two choices. With as many as ``max_iter`` the first one stays.
    n_clusters : int in [1, inf) or "auto", default="auto"
        Clusters of a class; "auto" is :math:`2\sqrt n`, at most 256. Those of fewer than 3 rows join others.
    power : float in [0, 1], default=0.5
        Exponent a: 0 takes equally many rows of each cluster, 1 the same share.
    within : {"random", "central", "farthest"}, default="random"
        Which rows of a cluster stay.
    min_rows : int in [1, inf), default=100
        Classes of fewer rows keep all.

    Raises
    ------
    ValueError
        If targets are no exclusive classes, or the net does not show the inputs of its output layer.

    Notes
    -----
    Replacing rows within classes leaves the label distribution, weights by class and the number of steps as they
    were, so that probabilities need no correction of the classes' shares. What changes is how rows of a class are
    distributed: rare kinds come more often, outliers and wrong labels among them. Rows of larger weight are drawn
    more often, and a replaced row hands its weight on. A renewal costs a forward pass over all rows and the
    k-means; there are as many steps as without pruning. Nets with this scheme are trained alone, and
    ``partial_fit`` chooses anew in each call.

    The abstract names the aim; rule and replacement are ours.
    :class:`~skimb.under_sampling.DynamicPruningSampler` prunes once and before training.

    References
    ----------
    Kerdreux et al. 2025, arXiv:2504.06962.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.training import DynamicPruning
    >>> X, y = make_classification(1000, weights=[0.9], random_state=0)
    >>> model = MLPClassifier((16,), scheme=DynamicPruning(0.3), max_iter=12, tol=0, random_state=0)
    >>> model.fit(X, y).n_iter_
    12
    """

    of_matrices = True
    _parameter_constraints = {
        "fraction": [Interval(Real, 0, 1, closed="right")],
        "period": [Interval(Integral, 1, None, closed="left")],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "power": [Interval(Real, 0, 1, closed="both")],
        "within": [StrOptions({"random", "central", "farthest"})],
        "min_rows": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        fraction=0.5,
        *,
        period=5,
        n_clusters="auto",
        power=0.5,
        within="random",
        min_rows=100,
    ):
        self.fraction = fraction
        self.period = period
        self.n_clusters = n_clusters
        self.power = power
        self.within = within
        self.min_rows = min_rows

    def start(self, module, data, seed):
        """Begin a fit.

        Parameters
        ----------
        module : Module
            The net that will be trained.
        data : TrainingData
            All training rows.
        seed : int
            Seed of clusters and draws.

        Returns
        -------
        RunningScheme
            What acts in this fit.
        """
        self._validate_params()
        if isinstance(data.X, Blocks):
            raise ValueError(
                f"scheme={self!r} clusters rows of one block; give the rows as one table."
            )
        return _Pruned(self, module, data, seed)


class _Pruned(Replacing):
    """The scheme at work."""

    kept = None

    def batch(self, batch, step):
        if batch.epoch != self.epoch:
            self.epoch = batch.epoch
            if self.kept is None or self.epoch % self.settings.period == 0:
                self.renew(step)
        rows = batch.rows.cpu().numpy().copy()
        dropped = np.flatnonzero(~self.kept[rows])
        if len(dropped) == 0:
            return batch
        for label in np.unique(self.code[rows[dropped]]):
            at = dropped[self.code[rows[dropped]] == label]
            stayed, chance = self.stayed[label]
            rows[at] = self.rng.choice(stayed, len(at), p=chance)
        return self.replaced(batch, rows)

    def renew(self, step):
        """Choose the rows that stay by the present features."""
        first, settings = self.kept is None, self.settings
        if first and step.loss.task == "regression":
            raise ValueError(f"scheme={settings!r} prunes classes, and a numeric target has none.")
        X = self.data.X
        Z = (X.cpu().numpy() if torch.is_tensor(X) else X) if first else self.features(step)
        self.kept, self.stayed = np.ones(len(self.code), bool), {}
        for label in np.unique(self.code):
            own = np.flatnonzero(self.code == label)
            if len(own) < settings.min_rows:
                continue
            budget = max(round(settings.fraction * len(own)), 1)
            at, _ = spread_over_clusters(
                Z[own], budget, self.rng,
                n_clusters=settings.n_clusters, power=settings.power, within=settings.within,
            )  # fmt: skip
            self.kept[own] = False
            self.kept[own[at]] = True
            chance = self.weight[own[at]]
            if not chance.any():
                chance = np.ones(len(at))
            self.stayed[label] = own[at], chance / chance.sum()

    def features(self, step):
        """Inputs of the output layer for all rows, as directions."""
        Z = self.answers(step, inputs=True)
        if Z is None:
            raise ValueError(
                f"scheme={self.settings!r} clusters the inputs of the output layer: let the module return the "
                "pair (scores, inputs of the output layer)."
            )
        return torch.nn.functional.normalize(Z.flatten(1).double(), dim=1).numpy()
