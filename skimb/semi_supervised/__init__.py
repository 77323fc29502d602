"""Classifiers that learn from rows without labels too."""

from skimb.semi_supervised._self_training import ConfidenceWeightedSelfTraining

__all__ = ["ConfidenceWeightedSelfTraining"]
