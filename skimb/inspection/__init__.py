"""Looks into fitted classifiers: their scores, decisions and geometry, and what an adversary makes of them."""

from skimb.inspection._collapse import expected_geometry, neural_collapse
from skimb.inspection._collapse_display import NeuralCollapseDisplay
from skimb.inspection._decision_curve import DecisionCurveDisplay
from skimb.inspection._gain_lift import GainLiftDisplay
from skimb.inspection._loss_landscape import LossLandscapeDisplay
from skimb.inspection._per_class import PerClassRecallDisplay
from skimb.inspection._precision_recall import PrecisionRecallBandDisplay
from skimb.inspection._prior_shift import PriorShiftDisplay
from skimb.inspection._reliability import RareReliabilityDisplay
from skimb.inspection._report import Report, report
from skimb.inspection._review_budget import ReviewBudgetDisplay
from skimb.inspection._robust import RobustScores, make_robust_scorer, robust_scores
from skimb.inspection._score_distribution import ScoreDistributionDisplay
from skimb.inspection._search_display import SearchDisplay
from skimb.inspection._threshold import ThresholdDisplay
from skimb.inspection._training_curve import TrainingCurveDisplay

__all__ = [
    "DecisionCurveDisplay",
    "GainLiftDisplay",
    "LossLandscapeDisplay",
    "NeuralCollapseDisplay",
    "PerClassRecallDisplay",
    "PrecisionRecallBandDisplay",
    "PriorShiftDisplay",
    "RareReliabilityDisplay",
    "Report",
    "ReviewBudgetDisplay",
    "RobustScores",
    "ScoreDistributionDisplay",
    "SearchDisplay",
    "ThresholdDisplay",
    "TrainingCurveDisplay",
    "expected_geometry",
    "make_robust_scorer",
    "neural_collapse",
    "report",
    "robust_scores",
]
