"""Tables as the blocks that a TabM reads, one way for each training part."""

import numpy as np
import torch

from skimb.engine.data import Blocks
from skimb.preprocessing._prepared import TablePreparation


class TabMRows:
    """How the rows of a table become blocks of an ensemble.

    Scales, bins and the categories that are known come from one training part.

    Parameters
    ----------
    embedding : {"piecewise_linear", "periodic", None}
        Embedding of the numeric columns.
    scaling : {"quantile", "squash"}
        Scale of the numeric columns.
    n_bins : int
        Most bins of a column.
    random_state : int
        Seed of the noise under quantiles.
    """

    def __init__(self, embedding, scaling, n_bins, random_state):
        self.binned = embedding == "piecewise_linear"
        edges = "quantile" if self.binned else None
        self.preparation = TablePreparation(
            scaling, edges=edges, n_bins=n_bins, random_state=random_state
        )
        self.n_bins = n_bins  # of the widest column, once all parts are known

    def fit(self, table, reader, sample_weight=None):
        """Learn from the rows of a training part, in a table that `reader` has read."""
        self.preparation.fit(table, reader.missing_, None, sample_weight)
        self.n_numbers = table.numbers.shape[1]
        self.missing = reader.missing_
        levels = [len(found) + 1 for found in reader.levels_]
        self.levels = tuple(levels)
        # categories without a row in this part count as unseen
        starts = np.cumsum([0, *levels])[:-1]
        self.places = []
        for start, size, codes in zip(starts, levels, table.codes.T, strict=True):
            known = np.zeros(size, bool)
            known[codes] = True
            self.places.append(start + np.where(known, np.arange(size), 0))
        return self

    @property
    def most_bins(self):
        """Bins of the column with the most."""
        return int(self.preparation.n_bins_.max(initial=1)) if self.binned else 1

    def blocks(self, table, dtype=torch.float32):
        """The rows of a table as blocks: numbers or bins, and codes of categories."""
        rows, absent = self._prepared(table)
        d, found = self.n_numbers, {}
        if d and self.binned:
            bins = np.where(absent, 0, rows.index + 1) + np.arange(d) * (self.n_bins + 1)
            found["bins"] = torch.from_numpy(bins.astype(np.int32))
            found["fractions"] = torch.from_numpy(np.where(absent, 1.0, rows.fraction)).to(dtype)
        elif d:
            found["numbers"] = torch.from_numpy(rows.numbers).to(dtype)
            found["absent"] = torch.from_numpy(absent).to(dtype)
        if self.places:
            codes = np.stack(self._codes(rows), 1)
            found["codes"] = torch.from_numpy(codes.astype(np.int32))
        return Blocks(**found)

    def _prepared(self, table):
        """Prepared rows, and where numbers count as missing."""
        rows = self.preparation.apply(table)
        absent = np.zeros(rows.numbers.shape, bool)
        absent[:, self.missing] = rows.missing > 0
        return rows, absent

    def _codes(self, rows):
        """Rows of the table of codes, column by column."""
        return [place[own] for place, own in zip(self.places, rows.codes.T, strict=True)]

    def n_steps(self, column):
        """Bins of a numeric column."""
        return int(self.preparation.n_bins_[column]) if self.binned else 0

    def encoded(self, table):
        """The rows of a table as columns (n, n_columns) of which the first layer takes a linear function.

        Of a number its value, its steps through the bins and whether it is missing; of a category one column
        for each code.
        """
        rows, absent = self._prepared(table)
        found = []
        if self.binned and self.n_numbers:  # in the precision of the nets
            edges = (values.astype(np.float32).astype(np.float64) for values in self.edges())
            starts, spans = edges
        for j, lost in enumerate(absent.T):
            if self.binned:
                own, part = rows.index[:, j], np.where(lost, 0.0, rows.fraction[:, j])
                steps = np.tri(self.n_steps(j), k=-1)[own]
                steps[np.arange(len(own)), own] = part
                found += [starts[j, own + 1] + spans[j, own + 1] * part, steps]
                found[-2][lost] = 0.0
            else:
                found.append(rows.numbers[:, j])
            if self.missing[j]:
                found.append(lost)
        starts = np.cumsum([0, *self.levels])
        for c, codes in enumerate(self._codes(rows)):
            found.append(codes[:, None] == np.arange(starts[c], starts[c + 1]))
        return np.column_stack([np.asarray(part, np.float64) for part in found])

    def edges(self):
        """Starts and spans (d, n_bins + 1) of the bins; row 0 is a missing value."""
        edges = self.preparation.encoder_.edges_
        starts = np.zeros((len(edges), self.n_bins + 1))
        spans = np.zeros_like(starts)
        for j, own in enumerate(edges):
            k = len(own) - 1
            starts[j, 1 : k + 1], spans[j, 1 : k + 1] = own[:-1], np.diff(own)
        return starts, spans
