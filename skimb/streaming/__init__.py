"""Estimators that learn from chunks exactly what they would learn from all rows at once."""

from skimb.streaming._analytic import AnalyticClassifier

__all__ = ["AnalyticClassifier"]
