"""Plumbing between samplers, texts and estimators."""

from skimb.pipeline._density import DensityWeightedRegressor
from skimb.pipeline._resampled import ResampledClassifier
from skimb.pipeline._text import TextClassifier

__all__ = ["DensityWeightedRegressor", "ResampledClassifier", "TextClassifier"]
