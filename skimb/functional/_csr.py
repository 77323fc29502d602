"""Products of CSR rows with the rows of a table, and their gradient."""

import torch
from scipy import sparse


def csr_product(table, indptr, indices, data):
    """The product of CSR rows with a table.

    Parameters
    ----------
    table : Tensor of shape (d, width)
        What is multiplied.
    indptr, indices : ndarray of int of shapes (n + 1,) and (nnz,)
        Where rows begin, and the columns of values, below d.
    data : ndarray of shape (nnz,)
        Values, in the type of the table.

    Returns
    -------
    Tensor of shape (n, width)
        The product.
    """
    X = _rows(indptr, indices, data, len(table))
    return torch.from_numpy(X @ table.numpy())


def csr_product_grad(d, indptr, indices, data, height):
    """The gradient in the rows of the table from that in the product.

    Parameters
    ----------
    d : Tensor of shape (n, width)
        Gradient in the product.
    indptr, indices, data : ndarray
        As in `csr_product`.
    height : int
        Rows of the table.

    Returns
    -------
    Tensor of shape (height, width)
        The gradient.
    """
    return torch.from_numpy(_rows(indptr, indices, data, height).T @ d.numpy())


def _rows(indptr, indices, data, d):
    return sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, d), copy=False)


def refuse_columns(indptr, indices, d):
    """Say which columns are not there, or that rows begin in no order."""
    wrong = indices[(indices < 0) | (indices >= d)]
    if len(wrong):
        raise IndexError(
            f"Columns must lie between 0 and {d - 1} for a table of {d}, got {wrong[0]}."
        )
    raise IndexError(
        f"Rows must begin from 0 in order and end at {len(indices)} values, got {indptr[:10].tolist()}."
    )
