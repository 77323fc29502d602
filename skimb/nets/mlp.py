"""A population of multi-layer perceptrons whose parameters lie in one flat tensor."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {
    "identity": None,
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "logistic": torch.sigmoid_,
}


#: added to variances before their root is taken
EPSILON = 1e-5


def simplex_scale(scale, classes):
    """Factor of centred directions that makes them cosines with the vertices of a simplex, times `scale`."""
    return scale * (classes / (classes - 1.0)) ** 0.5


class MLP(nn.Module):
    """Chain of linear layers and one activation, for dense or sparse input, K members at once.

    Dense parameters are one tensor ``flat`` of shape (members, n_parameters): all weight matrices
    first, each (n_in, n_out), then all intercepts. Sparse input has its first layer in ``table`` of
    shape (n_features, width): the columns of the first hidden layer, then those of the linear skip
    path to the output.

    Parameters
    ----------
    widths : sequence of int
        Units per layer: features, hidden layers, outputs.
    activation : {"identity", "relu", "tanh", "logistic"}, default="relu"
        Activation of hidden layers.
    members : int, default=1
        Size of the population.
    sparse : bool, default=False
        Whether the input is sparse and the first layer a table of rows.
    linear_skip : bool, default=False
        Whether the input also feeds the output directly; sparse input only.
    dtype : torch.dtype, default=torch.float32
        Floating type of the parameters.
    head : {"linear", "cosine", "etf"}, default="linear"
        What makes scores: the last linear layer; `scale` times the cosines between its inputs and its weights,
        with an intercept that is not trained; or `scale` times the cosines between its outputs and the vertices of
        a simplex with as many vertices.
    scale : float, default=16.0
        Largest score of the last two.
    normalization : {"batch", "class_balanced", "adaptive"}, default=None
        Whether hidden layers are normalised before their intercepts, here by the running means and variances in
        ``running``; with how fast they follow in ``rate``.

    Examples
    --------
    >>> import torch
    >>> from skimb.nets import MLP
    >>> MLP([3, 8, 2])(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        widths,
        activation="relu",
        *,
        members=1,
        sparse=False,
        linear_skip=False,
        dtype=torch.float32,
        head="linear",
        scale=16.0,
        normalization=None,
    ):
        super().__init__()
        self.widths = [int(w) for w in widths]
        self.activation = activation
        self.members = members
        self.sparse = sparse
        self.linear_skip = linear_skip and len(self.widths) > 2
        self.head, self.scale = head, scale
        self.normalization = normalization
        if normalization is not None:
            start = torch.zeros(2, sum(self.widths[1:-1]), dtype=dtype)
            start[1] = 1.0
            self.register_buffer("running", start)
            self.register_buffer("rate", torch.tensor(0.1**self.kappa, dtype=torch.float64))
        shapes = list(pairwise(self.widths))
        self.table_width = 0
        if sparse:
            if members != 1:
                raise ValueError("MLP: sparse input is for one member; use members=1.")
            d, h = shapes.pop(0)
            self.table_width = h + (self.widths[-1] if self.linear_skip else 0)
            kind = np.float64 if dtype == torch.float64 else np.float32
            self.table = nn.Parameter(torch.from_numpy(np.zeros((d, self.table_width), kind)))
        self.shapes = shapes
        self.n_weights = sum(a * b for a, b in shapes)
        n = self.n_weights + sum(self.widths[1:])
        self.flat = nn.Parameter(torch.zeros(members, n, dtype=dtype))

    @property
    def kappa(self):
        """Exponent of the rate at which running means follow; 1 for a constant one."""
        return 0.5 if self.normalization == "adaptive" else 1.0

    # --- parameters --------------------------------------------------------------------------

    def split(self, flat):
        """Views of a tensor shaped like ``flat``: weight matrices (K, in, out), intercepts (K, out)."""
        weights, biases, o = [], [], 0
        for a, b in self.shapes:
            weights.append(flat[:, o : o + a * b].view(-1, a, b))
            o += a * b
        for b in self.widths[1:]:
            biases.append(flat[:, o : o + b])
            o += b
        return weights, biases

    @torch.no_grad()
    def reset(self, random_state):
        """Draw Glorot-uniform weights and intercepts from a numpy RandomState."""
        factor = 2.0 if self.activation == "logistic" else 6.0
        weights, biases = self.split(self.flat)
        if self.sparse:
            # large tables are drawn in place and in their own type
            generator = np.random.Generator(np.random.SFC64(random_state.randint(1 << 31)))
            bound = np.sqrt(factor / (self.widths[0] + self.widths[1]))
            table = self.table.numpy()
            generator.random(out=table, dtype=table.dtype)
            self.table.sub_(0.5).mul_(2.0 * bound)
            self.table[:, self.widths[1] :].zero_()
            weights = [None, *weights]
        for k in range(self.members):
            for i, (fan_in, fan_out) in enumerate(pairwise(self.widths)):
                bound = np.sqrt(factor / (fan_in + fan_out))
                if weights[i] is None:
                    biases[i][k].copy_(
                        torch.from_numpy(random_state.uniform(-bound, bound, fan_out))
                    )
                    continue
                draw = random_state.uniform(-bound, bound, (fan_in, fan_out))
                weights[i][k].copy_(torch.from_numpy(draw))
                biases[i][k].copy_(torch.from_numpy(random_state.uniform(-bound, bound, fan_out)))
        if self.head == "cosine":
            biases[-1].zero_()
        return self

    def _of_widths(self, widths, linear_skip):
        return MLP(
            widths,
            self.activation,
            sparse=self.sparse,
            linear_skip=linear_skip,
            dtype=self.flat.dtype,
        )

    def with_outputs(self, n_outputs):
        """A net of one member that differs in the number of outputs, all zeros."""
        return self._of_widths([*self.widths[:-1], n_outputs], self.linear_skip)

    def output_weights(self):
        """Tensors with one column per output: what multiplies the inputs of the outputs."""
        found = [w[0] for w in self.split(self.flat.detach())[0][-1:]]
        if self.linear_skip:
            found.append(self.table.detach()[:, self.widths[1] :])
        return found or [self.table.detach()]

    @torch.no_grad()
    def with_columns(self, columns):
        """A net of one member with some of the outputs, in the given order."""
        other = self.with_outputs(len(columns))
        for new, own in zip(other.output_weights(), self.output_weights(), strict=True):
            new.copy_(own[:, columns])
        biases, own_biases = other.split(other.flat)[1], self.split(self.flat)[1]
        biases[-1].copy_(own_biases[-1][:, columns])
        other._take_hidden(self)
        return other

    @torch.no_grad()
    def widened(self, n_outputs, places, random_state):
        """The net with more outputs: those it has at `places`, fresh weights for the others.

        Parameters
        ----------
        n_outputs : int
            Outputs of the new net.
        places : ndarray of int
            Where this net's outputs lie among them.
        random_state : RandomState
            Draws the fresh weights.

        Returns
        -------
        MLP
            A new net of one member, which answers as this one does in its places.
        """
        other = self.with_outputs(n_outputs).reset(random_state)
        for new, own in zip(other.output_weights(), self.output_weights(), strict=True):
            new[:, places] = own
        own_biases, biases = self.split(self.flat)[1], other.split(other.flat)[1]
        biases[-1][:, places] = own_biases[-1]
        other._take_hidden(self)
        return other

    @torch.no_grad()
    def hidden(self):
        """The net up to the sums of its last hidden layer, or None without hidden layers."""
        if len(self.widths) < 3:
            return None
        other = self._of_widths(self.widths[:-1], False)
        other._take_hidden(self)
        return other

    def _take_hidden(self, other):
        """Copy the hidden layers of a net."""
        layers = len(other.widths) - 2
        n = max(layers - self.sparse, 0)  # the first layer of sparse input is the table
        (own_weights, own_biases), (weights, biases) = (
            self.split(self.flat),
            other.split(other.flat),
        )
        for own, its in zip(
            own_weights[:n] + own_biases[:layers], weights[:n] + biases[:layers], strict=True
        ):
            own.copy_(its)
        if self.sparse and layers:
            width = self.widths[1]
            self.table[:, :width] = other.table[:, :width]

    def coefs(self):
        """Weight matrices of the first member as numpy arrays, as scikit-learn lists them."""
        weights = [w[0].detach().cpu().numpy() for w in self.split(self.flat)[0]]
        if self.sparse:
            first = self.table[:, : self.widths[1]].detach().cpu().numpy()
            weights = [first, *weights]
        return weights

    def intercepts(self):
        """Intercepts of the first member as numpy arrays."""
        return [b[0].detach().cpu().numpy() for b in self.split(self.flat)[1]]

    def skip_coef(self):
        """Weights of the linear skip path, shape (n_features, n_outputs), or None."""
        if not self.linear_skip:
            return None
        return self.table[:, self.widths[1] :].detach().cpu().numpy()

    # --- forward -----------------------------------------------------------------------------

    def forward(self, X, with_inputs=False):
        """Raw outputs for dense input, on request with the inputs of the output layer.

        A population answers (K, n, outputs).
        """
        weights, biases = self.split(self.flat)
        act = ACTIVATIONS[self.activation]
        a = X
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            inputs = a
            last = i == len(weights) - 1
            if last and self.head == "cosine":
                w, a = functional.normalize(w, dim=-2), functional.normalize(a, dim=-1)
                b, a = b.detach(), self.scale * a
            if self.normalization is not None and not last:
                mean, var = self.running.split(self.widths[1:-1], 1)[i]
                a = (a @ w[0] - mean) * (var + EPSILON).rsqrt() + b[0]
            elif self.members == 1:
                a = torch.addmm(b[0], a, w[0])
            else:
                a = torch.matmul(a, w) + b.unsqueeze(1)
            if act is not None and not last:
                a = act(a)
        if self.head == "etf":
            a = functional.normalize(a, dim=-1)
            a = simplex_scale(self.scale, a.shape[-1]) * (a - a.mean(-1, keepdim=True))
        return (a, inputs) if with_inputs else a
