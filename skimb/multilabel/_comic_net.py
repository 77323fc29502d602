"""The net of COMIC: a balanced branch, and one each for frequent and rare labels beside it in training."""

import torch
import torch.nn.functional as F
from torch import nn

from skimb.nets.encoder import Encoder

_FLOOR = 1 / 32  # added to the norms of weights

BALANCED, FREQUENT, RARE = range(3)


class CosineHead(nn.Module):
    """Scores ``scale * w / (|w| + 1/32) . f / |f|`` for each output.

    Parameters
    ----------
    width : int
        Length of features.
    n_outputs : int
        Scores per row.
    scale : float
        Factor of all scores.
    """

    def __init__(self, width, n_outputs, scale):
        super().__init__()
        self.weight = nn.Linear(width, n_outputs, bias=False).weight
        self.scale = scale

    def forward(self, features, mean=None, shift=0.0):
        """Scores of features, whose share along the direction of a mean is changed by the factor 1 + shift."""
        unit = F.normalize(features, dim=1)
        if mean is not None:
            along = F.normalize(mean, dim=0)
            unit = unit + shift * (unit @ along).unsqueeze(1) * along
        length = torch.linalg.vector_norm(self.weight, dim=1, keepdim=True)
        return self.scale * unit @ (self.weight / (length + _FLOOR)).T


class COMICNet(nn.Module):
    """Branches with a cosine head each, over encoders of their own or one for all.

    Parameters
    ----------
    n_features, n_outputs : int
        Columns of rows, and scores per row.
    widths : list of int
        Units of hidden layers.
    activation : {"relu", "tanh", "logistic"}
        Their activation.
    branches : int
        3, or 1 for the balanced branch alone.
    shared : bool
        Whether branches share their encoder.
    scale : float
        Factor of scores.
    """

    def __init__(self, n_features, n_outputs, widths, activation, branches, shared, scale):
        super().__init__()
        own = 1 if shared else branches
        self.encoders = nn.ModuleList(Encoder(n_features, widths, activation) for _ in range(own))
        width = self.encoders[0].n_outputs
        self.heads = nn.ModuleList(CosineHead(width, n_outputs, scale) for _ in range(branches))

    def encode(self, X, branch):
        """Features of rows for a branch."""
        return self.encoders[branch if len(self.encoders) > 1 else 0](X)

    def forward(self, X):
        """Scores of the balanced branch, and its features."""
        features = self.encode(X, BALANCED)
        return self.heads[BALANCED](features), features
