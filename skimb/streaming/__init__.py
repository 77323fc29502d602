"""Estimators for streams: sums that are exact, and nets whose classes arrive over time."""

from skimb.streaming._analytic import AnalyticClassifier
from skimb.streaming._incremental import IncrementalMLPClassifier

__all__ = ["AnalyticClassifier", "IncrementalMLPClassifier"]
