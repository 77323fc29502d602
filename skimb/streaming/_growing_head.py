"""The head of a classifier whose classes arrive over time."""

import numpy as np

from skimb._base.head import Head, TargetCounts
from skimb._base.labels import comparable
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
    """

    stream = None

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

    def _population(self, given):
        if given is None:
            return self.stream.mass / self.stream.mass.sum()
        return super()._population(given)

    def _trained(self, seen, natural, params):
        trained = super()._trained(seen, natural, params)
        if trained.all():
            return trained
        floored = np.where(trained > 0, trained, 1.0 / seen.rows)
        return floored / floored.sum()
