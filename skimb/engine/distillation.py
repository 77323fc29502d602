"""Teachers beside the labels: other models, or the old net of a classifier whose classes grow."""

import torch
from scipy import sparse

from skimb.engine.chain_nets import infer
from skimb.engine.schemes import RunningScheme
from skimb.functional._distillation import distillation, relation_divergence


class Teaching(RunningScheme):
    r"""Mixes the loss of the labels with what teachers say of the rows.

    .. math:: (1-\lambda)\,\text{loss}+\lambda\sum_m u_m\,D_m

    with the divergence D of the net's scores from those of each teacher. The weights u of the teachers follow
    their relative losses, :math:`u_m\leftarrow u_m-r\bigl(u_m-\frac{q_m}{\sum_jq_j}\bigr)`, where q is the
    divergence in this batch over that in the first one: whom the net has followed less counts for more.

    Parameters
    ----------
    answers : Tensor of shape (n_teachers, n_rows, k) or None
        Scores of the teachers for all rows.
    columns : Tensor of int, shape (k,)
        Outputs of the net that are compared with them, in their order.
    share : float
        The share of the teachers, lambda.
    divergence : callable
        Gives losses (n,) and gradients (n, k) of scores (n, k) against those of a teacher.
    own : int, default=None
        Leading outputs that the labels' loss sees; None is all.
    n_teachers : int, default=1
        How many teachers there are.
    rate : float, default=0.0
        The rate r.
    """

    numbered = True

    def __init__(self, answers, columns, share, divergence, own=None, n_teachers=1, rate=0.0):
        self.answers, self.columns, self.share = answers, columns, share
        self.divergence, self.own, self.rate = divergence, own, rate
        self.teachers = torch.full((n_teachers,), 1.0 / n_teachers, dtype=torch.float64)
        self.first = torch.full((n_teachers,), torch.nan, dtype=torch.float64)

    def gradients(self, batch, step):
        value, d = step.evaluated(batch, self.own)
        z = step.outputs.flatten(1)
        columns = self.columns.to(z.device)
        share = self.share / len(batch)
        share = z.new_full((len(batch),), share) if batch.weight is None else share * batch.weight
        d, shape = (1.0 - self.share) * d.flatten(1), d.shape
        total, seen = (1.0 - self.share) * value, []
        weights = self.teachers.tolist()
        for weight, told in zip(weights, self._said(batch), strict=True):
            rows, slope = self.divergence(z[:, columns], told.to(z))
            d[:, columns] += weight * share.unsqueeze(-1) * slope
            total = total + weight * (share * rows).sum()
            seen.append((share * rows).sum() / share.sum())
        step.backend.backward(d.view(shape))
        if self.rate:
            self._balance(torch.stack(seen).double().cpu())
        return total

    def _said(self, batch):
        """Scores of the teachers for the rows of a batch."""
        return self.answers[:, batch.rows.to(self.answers.device)]

    def _balance(self, seen):
        if self.first.isnan().any():
            self.first.copy_(seen.clamp_min(1e-12))
        relative = seen / self.first
        total = relative.sum()
        if total > 0:
            self.teachers.lerp_(relative / total, self.rate)

    def state(self):
        return {"teachers": self.teachers, "first": self.first}


class Distillation(Teaching):
    r"""One frozen net that knows some of the classes.

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
        self.teacher, self.numbered = teacher, as_given
        answers = self._ask(data.X).unsqueeze(0) if as_given else None

        def divergence(z, told):
            return distillation(z, told, temperature)

        super().__init__(answers, torch.from_numpy(columns), share, divergence)

    def _said(self, batch):
        return super()._said(batch) if self.numbered else self._ask(batch.X).unsqueeze(0)

    def state(self):
        return {}

    def _ask(self, X):
        if not torch.is_tensor(X) and not sparse.issparse(X):
            shape = (len(X), self.teacher.widths[0])
            X = sparse.csr_matrix((X.data, X.indices, X.indptr), shape=shape, copy=False)
        return infer(self.teacher, X.cpu() if torch.is_tensor(X) else X)


class RelationDistillation(RunningScheme):
    r"""Keeps how the weights of old classes relate to the rows of a batch.

    .. math:: (1-\lambda)\,\text{loss}+\lambda\,D

    with the divergence D of `relation_divergence`, whose prototypes are the weights of the outputs.

    Parameters
    ----------
    teacher : MLP
        The frozen net.
    columns : ndarray of int
        Outputs of the trained net that the teacher's outputs stand for, in their order.
    share : float
        The share lambda.
    temperature : float
        What cosines are divided by.
    """

    autograd = True

    def __init__(self, teacher, columns, share, temperature):
        self.teacher, self.columns = teacher, torch.from_numpy(columns)
        self.share, self.temperature = share, temperature

    def gradients(self, batch, step):
        value, d = step.evaluated(batch)
        backend = step.backend
        x, module = backend.inputs, backend.module
        own = module.split(module.flat)[0][-1][0][:, self.columns.to(x.device)]
        (old,) = self.teacher.output_weights()
        seen = infer(self.teacher, batch.X.cpu(), inputs=True)
        divergence = relation_divergence(
            x, own, seen.to(x), old.to(x), self.temperature, batch.weight
        )
        torch.autograd.backward(
            [backend.z, divergence],
            [(1.0 - self.share) * d, torch.full_like(divergence, self.share)],
        )
        return (1.0 - self.share) * value + self.share * divergence.detach()
