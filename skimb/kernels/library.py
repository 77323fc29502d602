"""The C library: where it is, the signatures of its functions, and those that this machine runs."""

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

TYPES = {torch.float32: "f32", torch.float64: "f64"}
_I, _P, _D, _N = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double, ctypes.c_int
_VERSION = 5  # of the signatures; `interface_version` of the library
# functions that index check first, and answer 0 if an index is out of range
_CHECKED = (
    "csr_product",
    "csr_product_grad",
    "lazy_adam",
    "piecewise_grads",
    "piecewise_rows",
    "softmax_rows",
    "table_columns",
    "table_columns_grads",
)
# functions that wait for a build with the vectors of this machine
_PRODUCTS = (
    "product",
    "mixed_columns",
    "mixed_columns_grads",
    "table_columns",
    "table_columns_grads",
)
_SIGNATURES = {
    "margin_rows": (_I, _P, _P, _P, _P, _N, *[_D] * 6),
    "margin_members": (_I, _I, _P, _P, _P, _P, _N, _P, *[_D] * 5),
    "csr_product": (*[_I] * 4, *[_P] * 5),
    "csr_product_grad": (*[_I] * 4, *[_P] * 5),
    "lazy_adam": (_I, _I, _I, *[_P] * 11, *[_D] * 6),
    "relu_output": (*[_I] * 5, *[_P] * 4),
    "relu_output_grad": (*[_I] * 5, *[_P] * 6),
    "piecewise_rows": (*[_I] * 10, *[_P] * 9),
    "piecewise_grads": (*[_I] * 10, *[_P] * 9),
    "product": (*[_I] * 13, _N, *[_P] * 6),
    "mixed_columns": (*[_I] * 13, _N, *[_P] * 8),
    "mixed_columns_grads": (*[_I] * 16, *[_P] * 13),
    "table_columns": (*[_I] * 10, _P, _I, _N, *[_P] * 17),
    "table_columns_grads": (*[_I] * 10, _P, _I, _I, *[_P] * 23),
    "softmax_rows": (_I, _I, _P, _P, _P, _P, _D, _N, _D, _D, _P, _P),
    "asymmetric": (_I, _P, _P, _P, _P, _D, _D, _D, _D),
    "confusion_counts": (_I, _P, _P, _P, _D, _D, _P, _P),
    "confusion_grad": (_I, _P, _P, _D, _D, _D, _P),
}


def load(widest=64):
    """The functions by name and dtype, or the reason why there are none.

    Products have vectors of at most so many bytes.
    """
    here = Path(__file__).parent
    found = [here / f"_cpu{suffix}" for suffix in EXTENSION_SUFFIXES]
    found = [path for path in found if path.exists()]
    if not found:
        return {}, "the C extension was not built (no compiler when skimb was installed?)"
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        return {}, f"the C extension does not load: {error}"
    if not hasattr(library, "interface_version") or library.interface_version() != _VERSION:
        return {}, "the C extension was built for another version of skimb; install skimb again"
    table = {}
    vectors = min(library.product_vectors(), widest)
    for name, types in _SIGNATURES.items():
        if name in _PRODUCTS and not vectors:
            continue
        wide = "_wide" if name in _PRODUCTS and vectors == 64 else ""
        for dtype, suffix in TYPES.items():
            function = getattr(library, f"{name}_{suffix}{wide}")
            function.argtypes = types
            function.restype = _N if name in _CHECKED else None
            table[name, dtype] = function
    return table, None


FUNCTIONS, missing = load()
available = bool(FUNCTIONS)


def alike(like, *others):
    """Whether tensors can be read as `like` is: same type, on the CPU, no gaps."""
    return all(x.dtype is like.dtype and x.is_cpu and x.is_contiguous() for x in others)
