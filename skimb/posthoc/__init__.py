"""Meta-estimators that change what a fitted classifier answers."""

from skimb.posthoc._backdoor import BackdoorAdjuster
from skimb.posthoc._conformal import ClassConditionalConformalClassifier
from skimb.posthoc._cost_rule import CostRuleClassifier
from skimb.posthoc._imbalance import ImbalanceReport, estimate_source_prior, imbalance_report
from skimb.posthoc._interpolated import InterpolatedClassifier
from skimb.posthoc._logit_adjuster import LogitAdjuster
from skimb.posthoc._prior import PriorCorrectedClassifier
from skimb.posthoc._pruner import ClassDependentPruner
from skimb.posthoc._shift import PriorShiftAdapter
from skimb.posthoc._weight_aligner import WeightAligner

__all__ = [
    "BackdoorAdjuster",
    "ClassConditionalConformalClassifier",
    "ClassDependentPruner",
    "CostRuleClassifier",
    "ImbalanceReport",
    "InterpolatedClassifier",
    "LogitAdjuster",
    "PriorCorrectedClassifier",
    "PriorShiftAdapter",
    "WeightAligner",
    "estimate_source_prior",
    "imbalance_report",
]
