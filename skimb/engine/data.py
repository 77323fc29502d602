"""Training rows as tensors or CSR, and the iterator that serves them in whole batches."""

import torch
from scipy import sparse
from torch.utils.data import Dataset

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
    code : Tensor of shape (n,) or (n, L)
        Encoded targets.
    weight : Tensor of shape (n,) or (n, L), default=None
        Weights of mean 1.
    late_weight : Tensor, default=None
        Weights that replace `weight` when deferred re-weighting sets in.
    """

    def __init__(self, X, code, weight=None, late_weight=None):
        self.X = X
        self.code = code
        self.weight = weight
        self.late_weight = late_weight

    @property
    def sparse(self):
        """Whether X is CSR."""
        return not torch.is_tensor(self.X)

    def __len__(self):
        return self.X.shape[0]

    def __getitem__(self, i):
        return self.X[i], self.code[i]


class Batches:
    """Iterate over whole batches (X, code, weight); each epoch asks the order for the next one."""

    def __init__(self, dataset, order):
        self.dataset = dataset
        self.order = order

    def __iter__(self):
        data = self.dataset
        index, sizes = self.order.next()
        chunk = _SPARSE_CHUNK if data.sparse else _CHUNK
        per_chunk = max(1, chunk // max(self.order.batch_size, 1))
        start = 0
        for c in range(0, len(sizes), per_chunk):
            part = sizes[c : c + per_chunk]
            stop = start + sum(part)
            if index is None:
                rows = slice(start, stop)
            else:
                rows = index[start:stop]
                if not data.sparse and data.X.device.type != "cpu":
                    rows = rows.to(data.X.device)
            weight = None if data.weight is None else _take(data.weight, rows).split(part)
            code = _take(data.code, rows).split(part)
            if data.sparse:
                X = _split_csr(data.X[rows if index is None else rows.numpy()], part)
            else:
                X = _take(data.X, rows).split(part)
            yield from zip(X, code, weight or [None] * len(part), strict=True)
            start = stop


def _take(tensor, rows):
    return tensor[rows] if isinstance(rows, slice) else tensor.index_select(0, rows)


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
