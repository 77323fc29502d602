"""A multi-layer perceptron with few weights, stored and computed without the others."""

import numpy as np
import torch
from scipy import sparse

from skimb.nets.mlp import ACTIVATIONS

_SPARSE = 1 / 16  # share of weights up to which a product with CSR is faster than a dense one
_BLOCK = 4096  # rows that go through at once


class CompactMLP:
    """A perceptron without the units, features and weights that do not count.

    A unit without inputs is a constant, which moves the intercepts of the next layer; one that nothing reads goes.

    Parameters
    ----------
    coefs : list of scipy CSR matrix, each of shape (n_in, n_out)
        Weights, those that were pruned not stored.
    intercepts : list of ndarray
        Intercepts.
    activation : str
        Activation of the hidden layers.
    """

    def __init__(self, coefs, intercepts, activation):
        self.activation = activation
        weights = [w.toarray() for w in coefs]
        biases = [b.copy() for b in intercepts]
        last = len(weights) - 1
        for i in range(last):
            silent = ~weights[i].any(0)
            biases[i + 1] = biases[i + 1] + self._act(biases[i][silent]) @ weights[i + 1][silent]
            self._keep(weights, biases, i, ~silent)
        for i in reversed(range(last)):
            self._keep(weights, biases, i, weights[i + 1].any(1))
        self.features = np.flatnonzero(weights[0].any(1))
        weights[0] = weights[0][self.features]
        self.layers = [(_stored(w), b) for w, b in zip(weights, biases, strict=True)]

    @staticmethod
    def _keep(weights, biases, i, units):
        weights[i], biases[i] = weights[i][:, units], biases[i][units]
        weights[i + 1] = weights[i + 1][units]

    def _act(self, z):
        act = ACTIVATIONS[self.activation]
        if act is not None and z.size:
            act(torch.from_numpy(z := np.ascontiguousarray(z)))
        return z

    @property
    def widths(self):
        """Features that are read, units of each hidden layer, and outputs."""
        return [len(self.features), *(len(b) for _, b in self.layers)]

    @property
    def nbytes(self):
        """Bytes of all that is stored."""
        parts = [self.features]
        for w, b in self.layers:
            parts += [b, *((w.data, w.indices, w.indptr) if sparse.issparse(w) else (w,))]
        return sum(part.nbytes for part in parts)

    def __call__(self, X):
        """Raw outputs (n, n_outputs) of rows (n, n_features)."""
        found = np.empty((len(X), len(self.layers[-1][1])), self.layers[-1][1].dtype)
        for s in range(0, len(X), _BLOCK):
            a = X[s : s + _BLOCK, self.features]
            for i, (w, b) in enumerate(self.layers):
                a = a @ w + b
                if i < len(self.layers) - 1:
                    a = self._act(a)
            found[s : s + _BLOCK] = a
        return found


def _stored(w):
    """A weight matrix as CSR where few are left, else dense."""
    return (
        sparse.csr_matrix(w) if np.count_nonzero(w) < _SPARSE * w.size else np.ascontiguousarray(w)
    )
