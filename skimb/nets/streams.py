"""Perceptrons side by side, one on columns and one on differences of columns."""

from itertools import pairwise

import torch
from torch import nn


class Streams(nn.Module):
    """One perceptron on the columns, another one on differences between columns if there are any.

    In training each stream has scores of its own, in evaluation their mean is the answer.

    Parameters
    ----------
    n_features, n_outputs : int
        Features of rows, scores per row.
    hidden : sequence of int
        Units of the hidden layers of each stream.
    pairs : list of (int, int)
        Columns whose differences the second stream reads; without any there is one stream.

    Examples
    --------
    >>> import torch
    >>> from skimb.nets.streams import Streams
    >>> net = Streams(3, 2, [8], [(0, 1), (1, 2)])
    >>> net(torch.zeros(5, 3)).shape, net.eval()(torch.zeros(5, 3)).shape
    (torch.Size([2, 5, 2]), torch.Size([5, 2]))
    """

    def __init__(self, n_features, n_outputs, hidden, pairs):
        super().__init__()
        self.pairs = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
        self.towers = nn.ModuleList([_tower(n_features, hidden, n_outputs)])
        if len(self.pairs):
            self.towers.append(_tower(len(self.pairs), hidden, n_outputs))

    def forward(self, X):
        """Scores (streams, n, n_outputs) in training with two streams, else (n, n_outputs)."""
        first = self.towers[0](X)
        if len(self.towers) == 1:
            return first
        a, b = self.pairs.to(X.device).unbind(1)
        both = torch.stack([first, self.towers[1](X[:, a] - X[:, b])])
        return both if self.training else both.mean(0)


def _tower(n_features, hidden, n_outputs):
    layers = []
    for a, b in pairwise([n_features, *hidden]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear([n_features, *hidden][-1], n_outputs))
