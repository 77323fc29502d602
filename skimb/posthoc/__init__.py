"""Meta-estimators that change what a fitted classifier answers."""

from skimb.posthoc._logit_adjuster import LogitAdjuster
from skimb.posthoc._prior import PriorCorrectedClassifier
from skimb.posthoc._pruner import ClassDependentPruner
from skimb.posthoc._weight_aligner import WeightAligner

__all__ = ["ClassDependentPruner", "LogitAdjuster", "PriorCorrectedClassifier", "WeightAligner"]
