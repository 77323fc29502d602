"""Element-wise losses over labels; exclusive classes become labels one against the rest."""

from abc import abstractmethod

import torch
import torch.nn.functional as F

from skimb.losses._base import RowBound, one_hot


def as_labels(bound, logits, target):
    """Bring any form of logits into labels.

    Returns
    -------
    z, sign : Tensor of shape (..., n, L)
        One logit and one sign per label; two classes make one label.
    back : callable
        Turns a gradient like z into one like the logits.
    """
    code = target.code
    form = bound.form(logits, code)
    if form == "labels":
        return logits, code, lambda g: g
    if form == "margin":
        return logits.unsqueeze(-1), code.unsqueeze(-1), lambda g: g.squeeze(-1)
    if form == "pair":
        z = logits[..., 1:] - logits[..., :1]
        sign = code.to(logits.dtype).mul(2.0).sub_(1.0).unsqueeze(-1)
        return z, sign, lambda g: torch.cat([-g, g], -1)
    return logits, one_hot(code, logits).mul_(2.0).sub_(1.0), lambda g: g


def label_scores(bound, logits):
    """Log posteriors of one-against-the-rest logits."""
    if not bound.has_class_axis(logits):
        return logits
    if bound.n_classes == 2:
        return logits[..., 1] - logits[..., 0]
    log_p = F.logsigmoid(logits)
    return log_p - torch.logsumexp(log_p, -1, keepdim=True)


class LabelBound(RowBound):
    """A bound loss given by values and derivatives per label."""

    @abstractmethod
    def values(self, z, sign):
        """Loss and gradient of each label, all (..., n, L)."""

    @abstractmethod
    def second_values(self, z, sign):
        """Gradient and second derivative of each label."""

    def entries(self, logits, target, factor=1.0):
        z, sign, back = as_labels(self, logits, target)
        loss, grad = self.values(z, sign)
        return (loss if self.task == "multilabel" else loss.sum(-1)), back(grad * factor)

    def second(self, logits, target):
        z, sign, back = as_labels(self, logits, target)
        grad, hess = self.second_values(z, sign)
        if self.form(logits, target.code) == "pair":  # the second logit enters squared
            return back(grad), torch.cat([hess, hess], -1)
        return back(grad), back(hess)

    def log_scores(self, logits):
        return label_scores(self, logits)
