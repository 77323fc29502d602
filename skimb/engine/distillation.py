"""A teacher beside the labels: the old net of a classifier whose classes grow."""

import torch
from scipy import sparse

from skimb.engine.chain_nets import infer
from skimb.engine.schemes import RunningScheme
from skimb.functional._distillation import distillation


class Distillation(RunningScheme):
    r"""Mixes the loss of the labels with what a frozen net says of some of the classes.

    .. math:: (1-\lambda)\,\text{loss}+\lambda\,\text{distillation}

    Parameters
    ----------
    teacher : MLP
        The frozen net.
    columns : ndarray of int
        Outputs of the trained net that the teacher's outputs stand for, in their order.
    data : TrainingData
        All rows.
    share : float
        The share of the teacher, lambda.
    temperature : float
        What both nets' scores are divided by.
    as_given : bool
        Whether batches hold the rows as they are, so that the teacher need answer only once.
    """

    def __init__(self, teacher, columns, data, share, temperature, as_given):
        self.teacher, self.share, self.temperature = teacher, share, temperature
        self.columns = torch.from_numpy(columns)
        self.numbered = as_given
        self.scores = self._ask(data.X) if as_given else None

    def gradients(self, batch, step):
        value, d = step.evaluated(batch)
        z = step.scores
        told = self.scores[batch.rows] if self.numbered else self._ask(batch.X)
        columns = self.columns.to(z.device)
        rows, slope = distillation(z[:, columns], told.to(z), self.temperature)
        share = self.share / len(batch)
        share = torch.full_like(rows, share) if batch.weight is None else share * batch.weight
        d = (1.0 - self.share) * d
        d[:, columns] += share.unsqueeze(-1) * slope
        step.backend.backward(d)
        return (1.0 - self.share) * value + (share * rows).sum()

    def _ask(self, X):
        if not torch.is_tensor(X) and not sparse.issparse(X):
            shape = (len(X), self.teacher.widths[0])
            X = sparse.csr_matrix((X.data, X.indices, X.indptr), shape=shape, copy=False)
        return infer(self.teacher, X.cpu() if torch.is_tensor(X) else X)
