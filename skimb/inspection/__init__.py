"""What fitted models do where they were not asked: scores of rows that an adversary moves."""

from skimb.inspection._robust import RobustScores, make_robust_scorer, robust_scores

__all__ = ["RobustScores", "make_robust_scorer", "robust_scores"]
