"""Rows that a net keeps of its past: which ones, and how they go before new ones."""

import numpy as np
import torch
from scipy import sparse

from skimb.engine.chain_nets import infer
from skimb.nets.mlp import ACTIVATIONS


def herding(features, n):
    """Rows whose running mean stays closest to the mean of all, in the order of their choice.

    Parameters
    ----------
    features : ndarray of shape (n_rows, d)
        Features; rows are scaled to length 1.
    n : int
        Rows to choose; all, if there are fewer.

    Returns
    -------
    ndarray of int
        Their positions.
    """
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1.0)
    mean, total = unit.mean(0), np.zeros(unit.shape[1])
    free = np.ones(len(unit), bool)
    chosen = []
    for k in range(1, min(n, len(unit)) + 1):
        far = ((mean - (total + unit) / k) ** 2).sum(1)
        best = int(np.where(free, far, np.inf).argmin())
        free[best] = False
        total += unit[best]
        chosen.append(best)
    return np.array(chosen, int)


def hidden_features(module, X):
    """Activations of the last hidden layer of a net, or the rows themselves where it has none."""
    inner = module.hidden()
    if inner is None:
        return X.toarray() if sparse.issparse(X) else X
    activation = ACTIVATIONS[module.activation]
    sums = infer(inner, X)
    return (sums if activation is None else activation(sums)).numpy()


def stacked_rows(first, second):
    """Rows of two arrays or CSR matrices, one after the other."""
    if sparse.issparse(first):
        return sparse.vstack([first, second], format="csr")
    return np.concatenate([first, second])


def plain_rows(X):
    """Training rows as an array or CSR matrix on the CPU."""
    return X.detach().cpu().numpy() if torch.is_tensor(X) else X
