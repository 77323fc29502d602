"""A perceptron that embeds rows, with a projection to train it by and an output layer on top."""

from itertools import pairwise

import torch
from torch import nn

from skimb.nets.mlp import ACTIVATIONS


class EmbeddingNet(nn.Module):
    """Hidden layers that embed rows; a call gives their projection, on which contrasts are trained.

    The output layer is no part of that: it is fitted on the embeddings afterwards.

    Parameters
    ----------
    n_features : int
        Features of rows.
    hidden : sequence of int
        Units of the hidden layers; the last one is the embedding.
    projection_dim : int
        Outputs of the projection, which has one hidden layer.
    n_outputs : int
        Scores of the output layer.
    activation : {"identity", "relu", "tanh", "logistic"}, default="relu"
        Activation of hidden layers.
    dtype : torch.dtype, default=torch.float32
        Floating type of the parameters.

    Examples
    --------
    >>> import torch
    >>> from skimb.nets.embedding import EmbeddingNet
    >>> net = EmbeddingNet(3, [8], 4, 2)
    >>> net(torch.zeros(5, 3)).shape, net.embed(torch.zeros(5, 3)).shape
    (torch.Size([5, 4]), torch.Size([5, 8]))
    """

    def __init__(
        self, n_features, hidden, projection_dim, n_outputs, activation="relu", dtype=torch.float32
    ):
        super().__init__()
        self.act = ACTIVATIONS[activation]
        widths = [n_features, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b, dtype=dtype) for a, b in pairwise(widths))
        width = widths[-1]
        self.projection = nn.Sequential(
            nn.Linear(width, width, dtype=dtype),
            nn.ReLU(),
            nn.Linear(width, projection_dim, dtype=dtype),
        )
        self.output = nn.Linear(width, n_outputs, dtype=dtype).requires_grad_(False)

    def embed(self, X, start=0, stop=None):
        """Outputs of the hidden layer number `stop` for those of number `start`, the rows being 0."""
        for layer in self.layers[start:stop]:
            X = layer(X)
            X = X if self.act is None else self.act(X)
        return X

    def forward(self, X):
        """The projection of rows."""
        return self.projection(self.embed(X))
