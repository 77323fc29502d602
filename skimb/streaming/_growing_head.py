"""The head of a classifier whose classes arrive over time."""

import numpy as np
import torch

from skimb._base.head import Head, TargetCounts
from skimb._base.labels import comparable
from skimb._core.priors import log_ratio
from skimb._core.validation import one_column, plain_labels


def spread(values, places, n, empty):
    """Values along the last axis at their places among n, `empty` elsewhere."""
    found = np.full((*values.shape[:-1], n), empty, dtype=values.dtype)
    found[..., places] = values
    return found


class GrowingHead(Head):
    """A head with one score per class, bound to the rows of a chunk, that answers for all rows of the stream.

    Attributes
    ----------
    stream : TargetCounts or None
        What was counted of all chunks, each row once.
    moved : ndarray of shape (n_classes,) or None
        What is added to scores before decisions.
    """

    stream = moved = None

    def read(self, y, classes=None):
        self._refuse_several(y)
        found = np.unique(one_column(y))
        return super().read(y, found if classes is None else self._joined(found, classes))

    def grown(self, y, classes=None):
        """This head, or a further one if the labels or `classes` bring new classes.

        Parameters
        ----------
        y : array-like of shape (n,)
            Labels of a chunk.
        classes : array-like, default=None
            Classes to list before they are seen.

        Returns
        -------
        GrowingHead
            With all classes so far, not yet bound if they are more than before.
        """
        self._refuse_several(y)
        known = self._joined(self.classes, one_column(y))
        if classes is not None:
            known = self._joined(known, classes)
        if len(known) == len(self.classes):
            return self
        head = self.fresh()
        head.classes = known
        places, n = np.searchsorted(known, self.classes), len(known)
        seen = self.stream
        counts, mass = (spread(v, places, n, 0.0) for v in (seen.counts, seen.mass))
        head.stream = TargetCounts(counts, mass, seen.rows, seen.total, seen.multilabel)
        return head

    def _joined(self, known, given):
        """Classes and further labels, sorted."""
        labels = np.unique(plain_labels(given, f"{self.owner}: classes"))
        if not comparable(labels, known):
            raise ValueError(
                f"{self.owner} knows labels like {known.tolist()[0]!r} and cannot add "
                f"{labels.tolist()[:10]}; give all labels one type."
            )
        return np.union1d(known, labels)

    def after(self, arrived):
        """A head whose stream holds further rows."""
        head = self.fresh()
        head.stream = arrived if self.stream is None else self.stream + arrived
        return head

    def _refuse_several(self, y):
        if self._several(y):
            raise ValueError(
                f"{self.owner} is for exclusive classes; y of shape {np.shape(y)} has several labels."
            )

    def _outputs(self, loss):
        return len(self.classes)

    def with_counts(self, seen, params):
        head = super().with_counts(seen, params)
        head.moved = head._moved()
        return head

    def _moved(self):
        """What brings decisions for the most probable class from the rows of a chunk to those of the stream.

        None where a loss, class weights, a sampler or a mixer aim at another decision.
        """
        step = _floored(self.natural, self.seen.rows)
        stream = self.stream.mass / self.stream.mass.sum()
        if not self.bound.calibrated or self._weightless() or not np.allclose(step, self.trained):
            return None
        even = torch.zeros(1, len(self.classes), dtype=torch.float64)
        p = self.bound.posterior(even, class_weight=self.class_weight)
        if np.allclose(step, stream, rtol=1e-12, atol=0.0) or not np.allclose(p, p[0, 0]):
            return None
        return log_ratio(stream, step)

    def decision(self, logits):
        if self.moved is not None:
            logits = logits.double() + torch.from_numpy(self.moved)
        return super().decision(logits)

    def _population(self, given):
        if given is None:
            return self.stream.mass / self.stream.mass.sum()
        return super()._population(given)

    def _trained(self, seen, natural, params):
        return _floored(super()._trained(seen, natural, params), seen.rows)


def _floored(shares, rows):
    """Shares in which an absent class counts as one row."""
    if shares.all():
        return shares
    floored = np.where(shares > 0, shares, 1.0 / rows)
    return floored / floored.sum()
