"""Scores for rare classes and rare target values."""

from skimb.metrics._benefit import net_benefit, net_benefit_curve
from skimb.metrics._budgets import audited_recall, review_list
from skimb.metrics._calibration import calibration_summary, integrated_calibration_index
from skimb.metrics._costs import expected_savings_score, savings_score
from skimb.metrics._decisions import (
    classification_table,
    geometric_mean_score,
    separated_kappa_score,
)
from skimb.metrics._embeddings import utilization
from skimb.metrics._gain import (
    gain_curve,
    kolmogorov_smirnov_curve,
    kolmogorov_smirnov_score,
    lift_at_budget,
)
from skimb.metrics._probabilities import (
    calibration_table,
    coverage_score,
    expected_calibration_error,
    weighted_brier_score,
    weighted_log_loss,
)
from skimb.metrics._ranking import partial_roc_auc_score, precision_at_budget, recall_at_budget
from skimb.metrics._regression import (
    bag_mean_squared_error,
    balanced_mean_absolute_error,
    binned_absolute_errors,
    geometric_mean_absolute_error,
)
from skimb.metrics._scorers import get_scorer, get_scorer_names, per_class_scorer, register_scorers
from skimb.metrics._sets import set_table

__all__ = [
    "audited_recall",
    "bag_mean_squared_error",
    "balanced_mean_absolute_error",
    "binned_absolute_errors",
    "calibration_summary",
    "calibration_table",
    "classification_table",
    "coverage_score",
    "expected_calibration_error",
    "expected_savings_score",
    "gain_curve",
    "geometric_mean_absolute_error",
    "geometric_mean_score",
    "get_scorer",
    "get_scorer_names",
    "integrated_calibration_index",
    "kolmogorov_smirnov_curve",
    "kolmogorov_smirnov_score",
    "lift_at_budget",
    "net_benefit",
    "net_benefit_curve",
    "partial_roc_auc_score",
    "per_class_scorer",
    "precision_at_budget",
    "recall_at_budget",
    "register_scorers",
    "review_list",
    "savings_score",
    "separated_kappa_score",
    "set_table",
    "utilization",
    "weighted_brier_score",
    "weighted_log_loss",
]
