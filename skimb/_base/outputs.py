"""Outputs of a module for many rows."""

import numpy as np
import torch
from scipy import sparse

_ROWS = 4096  # rows that go through the module at once, fewer if they are wide
_CELLS = 1 << 22


@torch.no_grad()
def module_outputs(module, X, dtype, of=None):
    """Outputs of a module in evaluation mode for rows, block by block.

    Parameters
    ----------
    module : Module
        The net; of a pair of outputs the first one counts.
    X : ndarray or scipy CSR of shape (n, n_features)
        Rows.
    dtype : str
        Floating type to compute in.
    of : callable, default=None
        What gives the outputs of a tensor of rows; None is the module.

    Returns
    -------
    Tensor of shape (n, ...)
        Outputs, on the CPU.
    """
    was_training = module.training
    module.eval()
    device = next(module.parameters()).device
    parts = []
    size = max(1, min(_ROWS, _CELLS // max(X.shape[1], 1)))
    for s in range(0, X.shape[0], size):
        rows = X[s : s + size]
        rows = rows.toarray() if sparse.issparse(rows) else np.array(rows, dtype=dtype)
        rows = torch.from_numpy(rows.astype(dtype, copy=False)).to(device)
        z = module(rows) if of is None else of(rows)
        parts.append(z[0] if isinstance(z, tuple) else z)
    module.train(was_training)
    return torch.cat(parts).cpu()
