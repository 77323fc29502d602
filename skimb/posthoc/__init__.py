"""Meta-estimators that change what a fitted classifier answers."""

from skimb.posthoc._conformal import ClassConditionalConformalClassifier
from skimb.posthoc._prior import PriorCorrectedClassifier

__all__ = ["ClassConditionalConformalClassifier", "PriorCorrectedClassifier"]
