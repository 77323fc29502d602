"""Encodings of numbers and texts that linear models and small nets learn from."""

from skimb.preprocessing._piecewise import PiecewiseLinearEncoder
from skimb.preprocessing._scaling import SquashingScaler
from skimb.preprocessing._texts import EmbeddingVectorizer

__all__ = ["EmbeddingVectorizer", "PiecewiseLinearEncoder", "SquashingScaler"]
