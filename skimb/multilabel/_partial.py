"""Labels of which some are missing."""

import numpy as np
import torch
from scipy import sparse

from skimb._base.head import Head
from skimb.losses import MultiFocal


class PartialHead(Head):
    """A head whose label matrix may lack entries: NaN and -1 become -1 in its code and count as absent."""

    def plain(self, y):
        """The target as given; a matrix of labels as integers 0, 1, and -1 where they are missing."""
        whole = y.toarray() if sparse.issparse(y) else y
        try:
            values = np.asarray(whole)
        except ValueError:  # ragged: scikit-learn says so
            return y
        if values.ndim != 2 or values.shape[1] < 2:
            return super().plain(whole)
        if values.dtype.kind == "O":
            values = np.array([_number(v) for v in values.ravel().tolist()]).reshape(values.shape)
        numeric = values.dtype.kind in "biuf"
        codes = np.where(np.isnan(values), -1, values) if values.dtype.kind == "f" else values
        wrong = np.setdiff1d(codes, [-1, 0, 1]) if numeric else codes.ravel()
        if len(wrong):
            raise ValueError(
                f"{self.owner}: a y of several columns holds 0 and 1, and NaN or -1 for missing labels; got "
                f"{wrong[:3].tolist()}."
            )
        codes = codes.astype(np.int64)
        if codes.size and (codes < 0).all():
            raise ValueError(f"{self.owner}: all labels of y are missing; give some.")
        return codes

    def _several(self, y):
        return y.ndim == 2 and y.shape[1] > 1  # `plain` has checked them

    def bind(self, params, code, sample_weight, *, go_on=False):
        """A head with counts, for which missing labels are absent."""
        return super().bind(params, np.maximum(code, 0), sample_weight, go_on=go_on)

    def with_counts(self, seen, params):
        """A head of the same classes with these counts and a loss, if none is given."""
        usual = MultiFocal() if self.multilabel else MultiFocal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        loss = usual if params.loss is None else params.loss
        return super().with_counts(seen, params._replace(loss=loss))

    def counts_by_label(self, code):
        """Rows of each class or label, for messages."""
        return super().counts_by_label(np.maximum(code, 0))

    def score(self, logits, code, weight=None, cost=None):
        """The negative loss of the labels that are there."""
        if not self.multilabel:
            return super().score(logits, code, weight, cost)
        z = logits.double()
        target = self.bound.encode(torch.from_numpy(np.maximum(code, 0.0)), z)
        known = (code >= 0) * (1.0 if weight is None else weight[:, None])
        return -float(self.bound.loss_grad(z, target, torch.from_numpy(known))[0])


def _number(value):
    """A label as a float; missing ones of any kind are NaN."""
    missing = value is None or type(value).__name__ in {"NAType", "NaTType"}
    return np.nan if missing else value
