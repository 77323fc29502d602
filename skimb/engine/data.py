"""Training rows as tensors or CSR, and the iterator that serves them in whole batches."""

import torch
from scipy import sparse
from torch.utils.data import Dataset

from skimb.losses import Target

_CHUNK = 1 << 16  # dense rows gathered at once
_SPARSE_CHUNK = 1 << 11  # sparse rows, whose copies should stay small beside the data


class SparseRows:
    """A batch of CSR rows: row pointers from 0, column indices, values."""

    __slots__ = ("data", "indices", "indptr")

    def __init__(self, indptr, indices, data):
        self.indptr, self.indices, self.data = indptr, indices, data

    def __len__(self):
        return len(self.indptr) - 1

    def dense(self, width):
        """The rows as a dense tensor of `width` columns."""
        shape = (len(self), width)
        rows = sparse.csr_matrix((self.data, self.indices, self.indptr), shape=shape, copy=False)
        return torch.from_numpy(rows.toarray())


class TrainingData(Dataset):
    """Rows, encoded targets and row weights of one fit.

    Parameters
    ----------
    X : Tensor of shape (n, d) or scipy CSR of shape (n, d)
        Features.
    target : Target
        Encoded targets of n rows.
    weight : Tensor of shape (n,) or (n, L), default=None
        Weights of mean 1.
    late_weight : Tensor, default=None
        Weights that replace `weight` when deferred re-weighting sets in.
    """

    def __init__(self, X, target, weight=None, late_weight=None):
        self.X = X
        self.target = target
        self.weight = weight
        self.late_weight = late_weight

    @property
    def sparse(self):
        """Whether X is CSR."""
        return not torch.is_tensor(self.X)

    @property
    def nbytes(self):
        """Bytes of the rows."""
        if self.sparse:
            return self.X.data.nbytes + self.X.indices.nbytes + self.X.indptr.nbytes
        return self.X.numel() * self.X.element_size()

    def __len__(self):
        return self.X.shape[0]

    def __getitem__(self, i):
        return self.X[i], self.target.code[i]


class Batches:
    """Iterate over whole batches (X, target, weight); each epoch asks the order for the next one."""

    def __init__(self, dataset, order):
        self.dataset = dataset
        self.order = order

    def __iter__(self):
        data = self.dataset
        index, sizes = self.order.next()
        weight = [None] * len(sizes) if data.weight is None else _cut(data.weight, index, sizes)
        yield from zip(
            row_batches(data.X, index, sizes),
            _target_batches(data.target, index, sizes),
            weight,
            strict=True,
        )


def _target_batches(target, index, sizes):
    """A target in batches."""
    costs = [None] * len(sizes) if target.cost is None else _cut(target.cost, index, sizes)
    for code, cost in zip(_cut(target.code, index, sizes), costs, strict=True):
        yield Target(code, cost)


def row_batches(X, index, sizes):
    """Cut rows into batches: tensors, or `SparseRows` of CSR; several batches are gathered at once.

    Parameters
    ----------
    X : Tensor or scipy CSR of shape (n, d)
        Rows.
    index : Tensor of int, or None
        Their order; None is the stored one.
    sizes : list of int
        Rows of each batch.

    Yields
    ------
    Tensor or SparseRows
        A batch.
    """
    is_sparse = not torch.is_tensor(X)
    for start, part in _chunks(sizes, _SPARSE_CHUNK if is_sparse else _CHUNK):
        rows = (
            slice(start, start + sum(part)) if index is None else index[start : start + sum(part)]
        )
        if is_sparse:
            yield from _split_csr(X[rows if index is None else rows.numpy()], part)
        else:
            yield from _take(X, rows).split(part)


def _cut(tensor, index, sizes):
    """A tensor's rows in order, in batches."""
    for start, part in _chunks(sizes, _CHUNK):
        rows = (
            slice(start, start + sum(part)) if index is None else index[start : start + sum(part)]
        )
        yield from _take(tensor, rows).split(part)


def _chunks(sizes, chunk):
    """Start of each run of batches that together have about `chunk` rows, and their sizes."""
    per_chunk = max(1, chunk // max(sizes[0], 1)) if sizes else 1
    start = 0
    for c in range(0, len(sizes), per_chunk):
        part = sizes[c : c + per_chunk]
        yield start, part
        start += sum(part)


def _take(tensor, rows):
    if isinstance(rows, slice):
        return tensor[rows]
    return tensor.index_select(0, rows if tensor.device.type == "cpu" else rows.to(tensor.device))


def _split_csr(X, sizes):
    indptr, indices, data = X.indptr, X.indices, X.data
    s = 0
    for size in sizes:
        a, b = indptr[s], indptr[s + size]
        yield SparseRows(indptr[s : s + size + 1] - a, indices[a:b], data[a:b])
        s += size


def as_tensor(array, device=None):
    """A numpy array as a tensor without copying, unless it is read-only or on another device."""
    if not array.flags.writeable:
        array = array.copy()
    tensor = torch.from_numpy(array)
    return tensor if device is None else tensor.to(device)
