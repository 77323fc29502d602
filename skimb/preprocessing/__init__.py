"""Encodings of numbers that linear models and small nets learn from."""

from skimb.preprocessing._piecewise import PiecewiseLinearEncoder
from skimb.preprocessing._scaling import SquashingScaler

__all__ = ["PiecewiseLinearEncoder", "SquashingScaler"]
