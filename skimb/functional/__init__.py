"""Loss formulas as pure functions of tensors.

Every function takes ``logits`` of shape ``(..., n, C)`` with class-index targets ``(..., n)``, or
one logit per row ``(..., n)`` with 0/1 targets of the same shape (class 0 then has logit 0). Leading
axes are populations: parameters broadcast over them. Row-separable losses return ``(..., n)``,
batch-coupled ones ``(...)``. Values and gradients are closed forms: the gradient is exact where the
naive composition of torch operations would give NaN. They are differentiable once.

Targets are checked: an index out of range, or a target of one logit that is neither 0 nor 1, is a
ValueError that names it. A logit that is NaN makes the value NaN, and its own gradient; an infinite one
gives the limit of the loss, or NaN where there is none.
"""

from skimb.functional.adversarial import margin_distance
from skimb.functional.aggregates import interpolated_bag
from skimb.functional.confusion import anyloss, dice, score_oriented, tversky
from skimb.functional.contrastive import (
    balanced_contrastive,
    subclass_contrastive,
    supervised_contrastive,
)
from skimb.functional.decisions import expected_cost, lovasz, quadratic_weighted_kappa, sek
from skimb.functional.multilabel import (
    binary_focal,
    distribution_balanced,
    equalization,
    equalization_v2_weights,
    gradient_harmonized,
    multi_focal,
    two_way,
)
from skimb.functional.pairs import auc_margin, mann_whitney, partial_auc
from skimb.functional.ranking import lambda_rank, recall_at_budget, smooth_average_precision
from skimb.functional.rebalanced import (
    balanced_softmax,
    class_balanced,
    class_dependent_temperature,
    influence_balanced,
    label_aware_smoothing,
    seesaw,
    softmax_equalization,
)
from skimb.functional.regression import balanced_mse
from skimb.functional.reweighting import dynamic_weights, error_focus_weights
from skimb.functional.robust import (
    adaptive_ldr,
    generalized_cross_entropy,
    ldr,
    mean_absolute_error,
    poly_focal,
    symmetric_cross_entropy,
    z_loss,
)
from skimb.functional.scattering import scattering
from skimb.functional.sets import set_matching, sinkhorn
from skimb.functional.sigmoid import asymmetric
from skimb.functional.softmax import (
    comp_sum,
    coverage,
    cross_entropy,
    focal,
    ldam,
    logit_adjusted,
    poly,
    vector_scaling,
)
from skimb.functional.spherical import spherical_softmax, taylor_softmax
from skimb.functional.unlabeled import non_negative_pu

__all__ = [
    "adaptive_ldr",
    "anyloss",
    "asymmetric",
    "auc_margin",
    "balanced_contrastive",
    "balanced_mse",
    "balanced_softmax",
    "binary_focal",
    "class_balanced",
    "class_dependent_temperature",
    "comp_sum",
    "coverage",
    "cross_entropy",
    "dice",
    "distribution_balanced",
    "dynamic_weights",
    "equalization",
    "equalization_v2_weights",
    "error_focus_weights",
    "expected_cost",
    "focal",
    "generalized_cross_entropy",
    "gradient_harmonized",
    "influence_balanced",
    "interpolated_bag",
    "label_aware_smoothing",
    "lambda_rank",
    "ldam",
    "ldr",
    "logit_adjusted",
    "lovasz",
    "mann_whitney",
    "margin_distance",
    "mean_absolute_error",
    "multi_focal",
    "non_negative_pu",
    "partial_auc",
    "poly",
    "poly_focal",
    "quadratic_weighted_kappa",
    "recall_at_budget",
    "scattering",
    "score_oriented",
    "seesaw",
    "sek",
    "set_matching",
    "sinkhorn",
    "smooth_average_precision",
    "softmax_equalization",
    "spherical_softmax",
    "subclass_contrastive",
    "supervised_contrastive",
    "symmetric_cross_entropy",
    "taylor_softmax",
    "tversky",
    "two_way",
    "vector_scaling",
    "z_loss",
]
