"""Bodies of nets: linear layers with activations between and after."""

from itertools import pairwise
from numbers import Integral

from torch import nn

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}
ACTIVATIONS = frozenset(_ACTIVATIONS)


class Encoder(nn.Sequential):
    """Linear layers, each followed by an activation; without layers the rows themselves.

    Parameters
    ----------
    n_features : int
        Columns of the rows.
    widths : sequence of int
        Units of the layers.
    activation : {"relu", "tanh", "logistic"}, default="relu"
        Activation after each layer.
    """

    def __init__(self, n_features, widths, activation="relu"):
        widths = [n_features, *widths]
        layers = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), _ACTIVATIONS[activation]()]
        super().__init__(*layers)
        self.n_outputs = widths[-1]


def layer_widths(sizes):
    """Units of hidden layers as a list, from one number or several, each at least 1."""
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if any(not isinstance(s, Integral) or s <= 0 for s in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(s) for s in sizes]
