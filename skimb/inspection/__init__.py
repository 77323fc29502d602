"""Looks into fitted classifiers: their geometry, and their scores where an adversary moves the rows."""

from skimb.inspection._collapse import expected_geometry, neural_collapse
from skimb.inspection._collapse_display import NeuralCollapseDisplay
from skimb.inspection._robust import RobustScores, make_robust_scorer, robust_scores

__all__ = [
    "NeuralCollapseDisplay",
    "RobustScores",
    "expected_geometry",
    "make_robust_scorer",
    "neural_collapse",
    "robust_scores",
]
