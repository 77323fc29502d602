"""Fused losses: one pass over the logits for value and gradient, on the CPU in C, on CUDA in Triton.

Every function here has the signature of its reference in :mod:`skimb.functional` and falls back to
it for input that no kernel takes: small batches, exotic parameters, another device, or a machine
without a compiler when skimb was installed. `TABLE` pairs them up.
"""

from contextlib import contextmanager

import torch

from skimb.functional import (
    _columns,
    _csr,
    _hidden,
    _lazy_adam,
    _piecewise,
    _tables,
    confusion,
    pairs,
    sigmoid,
    softmax,
)
from skimb.kernels import cpu, library

_enabled = True


@contextmanager
def reference_only():
    """Compute with torch alone inside the block, for comparisons.

    Yields
    ------
    None
        Nothing.
    """
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def backends():
    """Which fused backends this machine has.

    Returns
    -------
    dict of str to (None or str)
        Name of each backend, with the reason why it is missing, or ``None`` if it is there.

    Examples
    --------
    >>> from skimb.kernels import backends
    >>> sorted(backends())
    ['cpu', 'cuda']
    """
    if torch.cuda.is_available():
        from skimb.kernels import gpu

        missing = gpu.missing
    else:
        missing = "there is no CUDA device"
    return {"cpu": cpu.missing, "cuda": missing}


def _pick(z):
    """The module whose kernels take tensors like z, or None."""
    if not _enabled:
        return None
    if z.is_cuda:
        from skimb.kernels import gpu

        return gpu if gpu.missing is None else None
    small = z.numel() < cpu.MIN_SIZE
    return None if small or not cpu.available or z.dtype not in library.TYPES else cpu


def takes_widths(like, *widths):
    """Whether kernels of products take layers of such widths.

    Parameters
    ----------
    like : Tensor
        Of the type of the layers and on their device.
    *widths : int
        Widths.

    Returns
    -------
    bool
        Whether they do, of batches that are not tiny.
    """
    return _enabled and like.is_cpu and cpu.blocks(like, *widths)


def _dispatch(name, reference):
    def fused(z, *args, **kwargs):
        backend = _pick(z)
        kernel = getattr(backend, name, None)
        found = None if kernel is None else kernel(z, *args, **kwargs)
        if found is not None:
            return found
        return reference(z, *args, **kwargs)

    fused.__name__ = name
    fused.__doc__ = f"Fused :func:`{reference.__module__}.{name}`."
    return fused


#: kernel name -> reference that it must equal
TABLE = {
    "margin_rows": softmax.margin_rows,
    "rows": softmax.rows,
    "asymmetric_rows": sigmoid.asymmetric_rows,
    "binary_loss": confusion.binary_loss,
    "logistic_pairs": pairs.logistic_pairs,
    "lazy_adam": _lazy_adam.lazy_adam,
    "csr_product": _csr.csr_product,
    "csr_product_grad": _csr.csr_product_grad,
    "relu_output": _hidden.relu_output,
    "relu_output_grad": _hidden.relu_output_grad,
    "piecewise_rows": _piecewise.piecewise_rows,
    "piecewise_grads": _piecewise.piecewise_grads,
    "product": _columns.product,
    "mixed_columns": _columns.mixed_columns,
    "mixed_columns_grads": _columns.mixed_columns_grads,
    "table_columns": _tables.table_columns,
    "table_columns_grads": _tables.table_columns_grads,
}
margin_rows = _dispatch("margin_rows", softmax.margin_rows)
rows = _dispatch("rows", softmax.rows)
asymmetric_rows = _dispatch("asymmetric_rows", sigmoid.asymmetric_rows)
binary_loss = _dispatch("binary_loss", confusion.binary_loss)
logistic_pairs = _dispatch("logistic_pairs", pairs.logistic_pairs)
lazy_adam = _dispatch("lazy_adam", _lazy_adam.lazy_adam)
csr_product = _dispatch("csr_product", _csr.csr_product)
csr_product_grad = _dispatch("csr_product_grad", _csr.csr_product_grad)
relu_output = _dispatch("relu_output", _hidden.relu_output)
relu_output_grad = _dispatch("relu_output_grad", _hidden.relu_output_grad)
piecewise_rows = _dispatch("piecewise_rows", _piecewise.piecewise_rows)
piecewise_grads = _dispatch("piecewise_grads", _piecewise.piecewise_grads)
product = _dispatch("product", _columns.product)
mixed_columns = _dispatch("mixed_columns", _columns.mixed_columns)
mixed_columns_grads = _dispatch("mixed_columns_grads", _columns.mixed_columns_grads)
table_columns = _dispatch("table_columns", _tables.table_columns)
table_columns_grads = _dispatch("table_columns_grads", _tables.table_columns_grads)

__all__ = ["backends", "reference_only"]
