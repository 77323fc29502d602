"""Meta-estimators that change what a fitted classifier answers."""

from skimb.posthoc._conformal import ClassConditionalConformalClassifier
from skimb.posthoc._prior import PriorCorrectedClassifier
from skimb.posthoc._shift import PriorShiftAdapter

__all__ = ["ClassConditionalConformalClassifier", "PriorCorrectedClassifier", "PriorShiftAdapter"]
