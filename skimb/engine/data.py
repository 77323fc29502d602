"""Rows of a fit: blocks of numbers and codes, their targets and weights, and batches of them."""

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


class Blocks:
    """What is known of the same rows, side by side: numbers, CSR, codes of categories.

    A module that is trained on several blocks is called with a dict of their batches.

    Parameters
    ----------
    **blocks : Tensor or scipy CSR, each of shape (n, ...)
        The blocks by name.
    """

    def __init__(self, **blocks):
        sizes = {name: block.shape[0] for name, block in blocks.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"Blocks: the blocks must have the same number of rows, got {sizes}.")
        self.blocks = blocks
        self.shape = (next(iter(sizes.values())),)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return {name: block[rows] for name, block in self.blocks.items()}

    def to(self, device):
        """The blocks with their tensors on a device."""
        return Blocks(
            **{k: b.to(device) if torch.is_tensor(b) else b for k, b in self.blocks.items()}
        )

    @property
    def nbytes(self):
        """Bytes of all blocks."""
        return sum(bytes_of(block) for block in self.blocks.values())


def bytes_of(X):
    """Bytes of a tensor, of CSR or of blocks."""
    if torch.is_tensor(X):
        return X.numel() * X.element_size()
    if isinstance(X, Blocks):
        return X.nbytes
    return X.data.nbytes + X.indices.nbytes + X.indptr.nbytes


class Batch:
    """Some rows of an epoch, as a training step sees them.

    Parameters
    ----------
    X : Tensor, SparseRows or dict of these
        Rows.
    target : Target
        Their encoded targets.
    weight : Tensor, default=None
        Their weights.
    rows : Tensor of int, default=None
        Their numbers among the training rows, where a scheme asks for them.
    epoch : int, default=0
        Epoch, from 0.
    loss : object with ``loss_grad``, default=None
        A loss that a scheme puts in the place of the loss in force.
    """

    __slots__ = ("X", "epoch", "loss", "rows", "target", "weight")

    def __init__(self, X, target, weight=None, rows=None, epoch=0, loss=None):
        self.X, self.target, self.weight = X, target, weight
        self.rows, self.epoch, self.loss = rows, epoch, loss

    def __len__(self):
        return len(self.target)


class TrainingData(Dataset):
    """Rows, encoded targets and row weights of one fit.

    Parameters
    ----------
    X : Tensor of shape (n, d), scipy CSR of shape (n, d) or Blocks of n rows
        Features.
    target : Target
        Encoded targets of n rows.
    weight : Tensor of shape (n,) or (n, L), default=None
        Weights of mean 1.
    late_weight : Tensor, default=None
        Weights that replace `weight` when deferred re-weighting sets in.
    """

    #: class or task of each row, a tensor of int where a backend asks for it
    groups = None

    def __init__(self, X, target, weight=None, late_weight=None):
        self.X = X
        self.target = target
        self.weight = weight
        self.late_weight = late_weight

    @property
    def sparse(self):
        """Whether X is CSR."""
        return sparse.issparse(self.X)

    @property
    def nbytes(self):
        """Bytes of the rows."""
        return bytes_of(self.X)

    def __len__(self):
        return self.X.shape[0]

    def __getitem__(self, i):
        return self.X[i], self.target.code[i]

    def batches(self, index, sizes, *, numbered=False, epoch=0):
        """The rows of an epoch in batches.

        Parameters
        ----------
        index : Tensor of int, or None
            Their order; None is the stored one.
        sizes : list of int
            Rows of each batch.
        numbered : bool, default=False
            Whether batches know the numbers of their rows.
        epoch : int, default=0
            Epoch that the batches belong to.

        Yields
        ------
        Batch
            One batch after the other.
        """
        target = self.target
        pairs = zip(
            row_batches(self.X, index, sizes), row_batches(target.code, index, sizes), strict=True
        )
        if target.cost is None and self.weight is None and not numbered:
            for X, code in pairs:
                yield Batch(X, Target(code), None, None, epoch)
            return
        others = zip(
            _or_none(target.cost, index, sizes),
            _or_none(self.weight, index, sizes),
            _numbers(index, sizes) if numbered else [None] * len(sizes),
            strict=True,
        )
        for (X, code), (cost, weight, rows) in zip(pairs, others, strict=True):
            yield Batch(X, Target(code, cost), weight, rows, epoch)


def _or_none(tensor, index, sizes):
    return [None] * len(sizes) if tensor is None else row_batches(tensor, index, sizes)


def _numbers(index, sizes):
    return (torch.arange(sum(sizes)) if index is None else index).split(sizes)


def row_batches(X, index, sizes, axis=0):
    """Cut rows into batches; several batches are gathered at once.

    Parameters
    ----------
    X : Tensor, scipy CSR or Blocks of n rows
        Rows.
    index : Tensor of int, or None
        Their order; None is the stored one.
    sizes : list of int
        Rows of each batch.
    axis : int, default=0
        Axis of the rows; 1 where tensors have members first.

    Yields
    ------
    Tensor, SparseRows or dict of these
        A batch.
    """
    if isinstance(X, Blocks):
        each = [row_batches(block, index, sizes) for block in X.blocks.values()]
        for batch in zip(*each, strict=True):
            yield dict(zip(X.blocks, batch, strict=True))
        return
    is_sparse = not torch.is_tensor(X)
    chunk = _SPARSE_CHUNK if is_sparse else _CHUNK
    per_chunk = max(1, chunk // max(sizes[0], 1)) if sizes else 1
    start = 0
    for c in range(0, len(sizes), per_chunk):
        part = sizes[c : c + per_chunk]
        stop = start + sum(part)
        rows = slice(start, stop) if index is None else index[start:stop]
        if is_sparse:
            yield from _split_csr(X[rows if index is None else rows.numpy()], part)
        else:
            yield from _take(X, rows, axis).split(part, axis)
        start = stop


def stacked(batches):
    """Batches of several nets as one with an axis for nets first: tensors, or dicts of them."""
    if isinstance(batches[0], dict):
        return {name: stacked([batch[name] for batch in batches]) for name in batches[0]}
    return torch.stack(batches)


def _take(tensor, rows, axis):
    if isinstance(rows, slice):
        return tensor[rows] if axis == 0 else tensor[:, rows]
    rows = rows if tensor.device.type == "cpu" else rows.to(tensor.device)
    return tensor.index_select(axis, rows)


def _split_csr(X, sizes):
    indptr, indices, data = X.indptr, X.indices, X.data
    s = 0
    for size in sizes:
        a, b = indptr[s], indptr[s + size]
        yield SparseRows(indptr[s : s + size + 1] - a, indices[a:b], data[a:b])
        s += size


def as_tensor(array, device=None):
    """A numpy array as a tensor without copying, unless read-only, reversed or on another device."""
    if not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.copy()
    tensor = torch.from_numpy(array)
    return tensor if device is None else tensor.to(device)
