"""Looks into fitted classifiers."""

from skimb.inspection._collapse import expected_geometry, neural_collapse
from skimb.inspection._collapse_display import NeuralCollapseDisplay

__all__ = ["NeuralCollapseDisplay", "expected_geometry", "neural_collapse"]
