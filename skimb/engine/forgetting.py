"""Training that makes a net worse on some rows and keeps it on others."""

import torch
from skorch.callbacks import Callback

from skimb.engine.schemes import RunningScheme
from skimb.engine.signals import StopTraining
from skimb.engine.step import squeeze_outputs
from skimb.functional._distillation import negative_preference

METHODS = ("npo", "ascent", "retain")


class Forgetting(RunningScheme):
    r"""Mean over the rows to forget of what raises their loss, plus the mean loss of the rows to keep.

    Parameters
    ----------
    before : Tensor of shape (n_forget,)
        Losses of the rows to forget, the first ones of the training rows, before training.
    n : int
        Rows in all.
    method : {"npo", "ascent", "retain"}
        Negative preference optimisation, the negative loss, or the rows to keep alone.
    beta : float
        Of negative preference optimisation.
    retain_weight : float
        Weight of the rows to keep.
    """

    numbered = True

    def __init__(self, before, n, method, beta, retain_weight):
        self.before, self.method, self.beta = before, method, beta
        n_forget = len(before)
        self.forget_share = n / n_forget
        self.keep_share = retain_weight * n / max(n - n_forget, 1)

    def gradients(self, batch, step):
        z = step.backend.forward(batch.X)
        step.scores = scores = squeeze_outputs(z, batch.target.code)
        loss = row_losses(step.loss, scores, batch.target)
        leaves = batch.rows < len(self.before)
        value, slope = loss.clone(), torch.ones_like(loss)
        if self.method == "npo":
            before = self.before[batch.rows[leaves]].to(loss)
            value[leaves], slope[leaves] = negative_preference(loss[leaves], before, self.beta)
        else:
            slope[leaves] = -1.0 if self.method == "ascent" else 0.0
            value[leaves] *= slope[leaves]
        share = torch.full_like(loss, self.keep_share)
        share[leaves] = self.forget_share
        weight, total = batch.weight, float(len(batch))
        own = share * slope
        if weight is not None:
            own = weight * (own if weight.ndim == 1 else own.unsqueeze(-1))
        _, d = step.loss.loss_grad(scores, batch.target, own, total)
        step.backend.backward(d.view(z.shape))
        return (share * value).sum() / total


def row_losses(loss, scores, target):
    """Loss of each row from an encoded target."""
    code = target.code
    classes = code if code.dtype == torch.int64 else (code > 0).long()
    return loss.row_loss(scores, classes)


class ForgottenEnough(Callback):
    """Ends training when rows to forget have at least the mean loss of rows that were never learned.

    Parameters
    ----------
    losses : callable
        Gives both mean losses.
    """

    def __init__(self, losses):
        self.losses = losses

    def on_epoch_end(self, net, **kwargs):
        """Compare both losses."""
        left, reference = self.losses()
        if left >= reference:
            raise StopTraining
