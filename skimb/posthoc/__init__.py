"""Meta-estimators that change what a fitted classifier answers."""

from skimb.posthoc._interpolated import InterpolatedClassifier
from skimb.posthoc._prior import PriorCorrectedClassifier

__all__ = ["InterpolatedClassifier", "PriorCorrectedClassifier"]
