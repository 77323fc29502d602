"""Plumbing between samplers and estimators."""

from skimb.pipeline._density import DensityWeightedRegressor
from skimb.pipeline._resampled import ResampledClassifier

__all__ = ["DensityWeightedRegressor", "ResampledClassifier"]
