"""Softmax probabilities whose complements keep their digits: 1 - p is the sum of the others.

Neither p nor log p tells how far a sure row is from certainty once they round to 1 and 0. The margin of
a class over the logarithm of the others' sum does, in every number format.
"""

import torch


def against_others(logits, index):
    """Margin of one class of each row over all others, and the shares of the others.

    Parameters
    ----------
    logits : Tensor of shape (..., n, C)
        Scores.
    index : Tensor of shape (..., n, 1)
        The class of each row.

    Returns
    -------
    margin : Tensor of shape (..., n)
        Log odds v of the class: its probability is sigmoid(v), that of the others sigmoid(-v).
    share : Tensor of shape (..., n, C)
        Probabilities of the others, given that it is not the class; 0 at the class itself.
    """
    others = logits.scatter(-1, index, -torch.inf)
    top = others.amax(-1, keepdim=True)
    share = torch.softmax(others, -1)
    # the difference first: the sum of a large score and a small logarithm would round
    margin = (logits.gather(-1, index) - top) + share.amax(-1, keepdim=True).log()
    alone = top == -torch.inf  # one class only, or all others ruled out
    margin = margin.masked_fill(alone, torch.inf)
    return margin.squeeze(-1), share.masked_fill(alone, 0.0)


def complements(p):
    """One minus probabilities (..., C) that sum to one."""
    top = p.argmax(-1, keepdim=True)
    others = p.scatter(-1, top, 0.0).sum(-1, keepdim=True)
    return (1.0 - p).scatter_(-1, top, others)


class Odds:
    """Each class against the rest: log odds, and the way back from derivatives in them.

    The odds of class k are :math:`o_k=z_k-\\log\\sum_{j\\ne k}e^{z_j}`, so that sigmoid(o) is the softmax
    and :math:`\\partial o_k/\\partial z_j=-p_j/(1-p_k)` for the others.
    """

    def __init__(self, logits):
        self.top = logits.argmax(-1, keepdim=True)
        margin, self.share = against_others(logits, self.top)
        margin = margin.unsqueeze(-1)
        likely = torch.sigmoid(margin)
        self.p = (self.share * torch.sigmoid(-margin)).scatter_(-1, self.top, likely)
        # of the classes other than the likeliest, which have at least half of the odds against them
        self.q = (1.0 - self.p).scatter_(-1, self.top, 1.0)
        log_p = torch.log_softmax(logits, -1)
        self.odds = (log_p - self.q.log()).scatter_(-1, self.top, margin)

    def _but_top(self, x):
        return x.scatter(-1, self.top, 0.0)

    def gradient(self, grad):
        """Gradient in the logits from that in the odds."""
        pull = self._but_top(grad / self.q)
        rest = pull.sum(-1, keepdim=True) - pull
        return grad - self.p * rest - self.share * grad.gather(-1, self.top)

    def hessian(self, grad, hess):
        """Diagonal Hessian in the logits from the derivatives of a sum over classes in their odds."""
        curve, pull = self._but_top((hess + grad) / self.q**2), self._but_top(grad / self.q)
        curve, pull = (x.sum(-1, keepdim=True) - x for x in (curve, pull))
        g, h = (x.gather(-1, self.top) for x in (grad, hess))
        s = self.share
        likeliest = s * (h * s - g * self._but_top(complements(s)))
        return hess + self.p**2 * curve - self.p * pull + likeliest
