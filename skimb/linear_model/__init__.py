"""Linear estimators for imbalanced data."""

from skimb.linear_model._linear import LinearClassifier

__all__ = ["LinearClassifier"]
