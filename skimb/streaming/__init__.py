"""Estimators for streams: exact sums, nets whose classes arrive over time, regrets of groups, tests for drift."""

from skimb.streaming._analytic import AnalyticClassifier
from skimb.streaming._drift import SequentialDriftDetector
from skimb.streaming._groupwise import GroupwiseOnlineClassifier
from skimb.streaming._incremental import IncrementalMLPClassifier

__all__ = [
    "AnalyticClassifier",
    "GroupwiseOnlineClassifier",
    "IncrementalMLPClassifier",
    "SequentialDriftDetector",
]
