"""Loss formulas as pure functions of tensors.

Every function takes ``logits`` of shape ``(..., n, C)`` with class-index targets ``(..., n)``, or
one logit per row ``(..., n)`` with 0/1 targets of the same shape (class 0 then has logit 0). Leading
axes are populations: parameters broadcast over them. Row-separable losses return ``(..., n)``,
batch-coupled ones ``(...)``. Values and gradients are closed forms: the gradient is exact where the
naive composition of torch operations would give NaN.
"""

from skimb.functional.confusion import anyloss, dice, score_oriented, tversky
from skimb.functional.pairs import mann_whitney
from skimb.functional.sigmoid import asymmetric
from skimb.functional.softmax import (
    comp_sum,
    cross_entropy,
    focal,
    ldam,
    logit_adjusted,
    poly,
    vector_scaling,
)

__all__ = [
    "anyloss",
    "asymmetric",
    "comp_sum",
    "cross_entropy",
    "dice",
    "focal",
    "ldam",
    "logit_adjusted",
    "mann_whitney",
    "poly",
    "score_oriented",
    "tversky",
    "vector_scaling",
]
