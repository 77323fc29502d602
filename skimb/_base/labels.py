"""Labels of a classifier: as given, of one kind, none missing; their classes and class numbers."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from skimb._core.validation import one_column, plain_labels, refuse_multi_output, row_costs


def comparable(a, b):
    """Whether two arrays of labels can be compared: both text or objects, or neither."""
    return (a.dtype.kind in "OSU") == (b.dtype.kind in "OSU")


def rarest_labels(code):
    """The rarest of the labels (n, L) that each row has; L where it has none."""
    has = code == 1
    rarity = np.where(has, has.sum(0), len(code) + 1)
    return np.where(has.any(1), rarity.argmin(1), code.shape[1])


class Labels:
    """Labels in, class numbers out.

    Parameters
    ----------
    owner : str
        Name of the estimator's class, for messages.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Labels as given, sorted; label indices for multi-label targets.
    multilabel : bool
        Whether a row may have several labels.
    """

    def __init__(self, owner):
        self.owner = owner

    def fresh(self):
        """One that has read the same target and nothing else."""
        other = type(self)(self.owner)
        other.classes, other.multilabel = self.classes, self.multilabel
        return other

    def plain(self, y):
        """The target as given, dense and of one kind of label."""
        return plain_labels(y, f"{self.owner}: Input y")

    def read(self, y, classes=None):
        """Take a new target; returns class numbers (n,) or 0/1 labels (n, L) as float64."""
        check_classification_targets(y)
        self.multilabel = self._several(y)
        if self.multilabel:
            self.classes = np.arange(y.shape[1])
            return y.astype(np.float64)
        y = one_column(y)
        known = np.unique(y if classes is None else plain_labels(classes, f"{self.owner}: classes"))
        self._check_known(y, known)
        if len(known) < 2:
            raise ValueError(
                f"{self.owner} needs at least two classes, y holds only one class: "
                f"{known.tolist()}. Rows of sample_weight 0 do not count."
            )
        self.classes = known
        return np.searchsorted(known, y)

    def encode(self, y, classes=None, *, partial=False):
        """Class numbers or 0/1 labels of a further target; with `partial` it may lack classes."""
        check_classification_targets(y)
        known = self.classes
        if self._several(y):
            if not self.multilabel or y.shape[1] != len(known):
                raise ValueError(
                    f"{self.owner} was fitted on {len(known)} classes, y has {y.shape[1]} labels."
                )
            return y.astype(np.float64)
        y = one_column(y)
        if classes is not None:
            given = np.unique(plain_labels(classes, f"{self.owner}: classes"))
            if not comparable(given, known) or not np.array_equal(given, known):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                    f"{known!r}"
                )
        if self.multilabel:
            raise ValueError(f"{self.owner} was fitted on {len(known)} labels, y has one column.")
        found = np.unique(y)
        if not partial and not (comparable(found, known) and np.array_equal(found, known)):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the "
                f"previous call to fit. Previously got {known}, `y` has {found}"
            )
        self._check_known(y, known)
        return np.searchsorted(known, y)

    def _several(self, y):
        """Whether a target has several labels per row, which must be 0/1."""
        if y.ndim < 2 or y.shape[1] < 2:
            return False
        refuse_multi_output(self.owner, y)
        return True

    def _check_known(self, y, known):
        found = np.unique(y)
        unknown = np.setdiff1d(found, known) if comparable(found, known) else found
        if len(unknown):
            raise ValueError(
                f"{self.owner}: y holds labels {unknown.tolist()} that are not among the "
                f"classes {known.tolist()}."
            )

    def costs(self, cost, code):
        """Costs of rows as an array (n, n_classes), or None."""
        if cost is None:
            return None
        costs = row_costs(cost, code, self.classes)
        if costs is None:
            raise ValueError(
                f"{self.owner}: cost must have shape ({len(code)}, {len(self.classes)}), one column per "
                f"class of {self.classes.tolist()}, got {np.shape(cost)}; multi-label y takes no costs."
            )
        return costs

    def strata(self, code):
        """What a split keeps in proportion, or None."""
        if self.multilabel:
            return None
        return code.astype(bool).astype(str) if len(self.classes) == 2 else code

    def counts_by_label(self, code):
        """Rows of each class, for messages."""
        if self.multilabel:
            return code.sum(0).astype(int).tolist()
        counts = np.bincount(code, minlength=len(self.classes))
        return dict(zip(self.classes.tolist(), counts.tolist(), strict=True))
