r"""Losses of bags: rows of which only the mean response of their bag is known."""

import torch
import torch.nn.functional as F

from skimb.functional import _closed_form as cf
from skimb.functional._places import add_rows

RESPONSES = ("mean", "rate")


class _Bags:
    """Sums over the rows of bags, for one column of numbers per output."""

    def __init__(self, number, weight):
        self.number, self.weight = number, weight
        self.size = int(number.max()) + 1 if len(number) else 0
        self.mass = self.sum(weight)

    def sum(self, x):
        """Sums (b, k) of the numbers (n, k) of rows."""
        return add_rows(x.new_zeros(self.size, x.shape[1]), self.number, x)

    def mean(self, x):
        """Weighted means of bags, for each row (n, k)."""
        return (self.sum(self.weight * x) / self.mass)[self.number]

    def log_mean(self, x):
        """Logarithms of the weighted means of exp(x), for each row, and the row's share of the mean."""
        low = x.new_full((self.size, x.shape[1]), -torch.inf)
        top = low.scatter_reduce(0, self.number[:, None].expand_as(x), x, "amax")[self.number]
        part = self.weight * torch.exp(x - top)
        total = self.sum(part)[self.number]
        return torch.log(total / self.mass[self.number]) + top, part / total


def _means(f, y, bags, rho):
    """Squared errors of bags and of rows: entries (n, k) of equal share, and their gradient."""
    near, far = y - bags.mean(f), y - f
    loss = 0.5 * ((1.0 - rho) * near.square() + rho * far.square())
    return loss, -((1.0 - rho) * near + rho * far)


def _rates(f, y, bags, rho):
    """Cross-entropies of bags and of rows."""
    on, off = F.logsigmoid(f), F.logsigmoid(-f)
    (log_p, share_p), (log_q, share_q) = bags.log_mean(on), bags.log_mean(off)
    p, q = on.exp(), off.exp()
    loss = -(1.0 - rho) * (y * log_p + (1.0 - y) * log_q) - rho * (y * on + (1.0 - y) * off)
    # a bag's loss counts with the mass of the bag, of which a row has its own part
    part = bags.mass[bags.number] / bags.weight
    near = (1.0 - y) * share_q * p * part - y * share_p * q * part
    return loss, (1.0 - rho) * near + rho * ((1.0 - y) * p - y * q)


def bag_loss(f, y, number, weight, *, rho, response, total=None):
    """Loss and gradient of outputs (n,) or (n, k) for the responses of their bags.

    Parameters
    ----------
    f, y : Tensor of shape (n,) or (n, k)
        Outputs, and the response of the bag of each row.
    number : Tensor of int, shape (n,)
        Number of the bag of each row.
    weight : Tensor of shape (n,), default=None
        Row weights, positive.
    rho : float
        Share of the loss of rows.
    response : {"mean", "rate"}
        Squared error of outputs, or cross-entropy of their sigmoids.
    total : float, default=None
        What stands for the sum of weights in the mean.

    Returns
    -------
    loss : Tensor of shape ()
        Mean over rows and outputs.
    grad : Tensor like f
        Its gradient.
    """
    z, code = f.reshape(len(f), -1), y.reshape(len(y), -1)
    w = torch.ones_like(z[:, :1]) if weight is None else weight.to(z)[:, None]
    number = torch.unique(number, return_inverse=True)[1]
    bags = _Bags(number, w.expand_as(z))
    entries, slope = (_means if response == "mean" else _rates)(z, code, bags, rho)
    factor = w / ((w.sum() if total is None else total) * z.shape[1])
    return (factor * entries).sum(), (factor * slope).reshape(f.shape)


def interpolated_bag(predictions, response, bags, *, rho=0.1, kind="mean", sample_weight=None):
    r"""Between the loss of bags and the loss of rows that stand for them (ICLR 2024, openreview E60SIDItyT).

    :math:`(1-\rho)\,\ell(\bar y_b,\bar f_b)+\rho\,\mathrm{mean}_{i\in b}\,\ell(\bar y_b,f_i)`, a mean over bags by
    their weight. With half the squared error it is the loss of bags plus :math:`\rho/2` times the variance of the
    predictions within them.

    Parameters
    ----------
    predictions : Tensor of shape (n,) or (n, n_outputs)
        Predictions, or logits for ``kind="rate"``.
    response : Tensor like predictions
        Mean response of each row's bag.
    bags : Tensor of int, shape (n,)
        Number of the bag of each row.
    rho : float, default=0.1
        Share :math:`\rho` of the loss of rows.
    kind : {"mean", "rate"}, default="mean"
        Half the squared error of means, or the cross-entropy of a rate and the mean probability.
    sample_weight : Tensor of shape (n,), default=None
        Row weights, positive.

    Returns
    -------
    Tensor of shape ()
        Mean loss.
    """
    kw = {"rho": rho, "response": kind}
    return cf.apply(lambda z: bag_loss(z, response.to(z), bags, sample_weight, **kw), predictions)
