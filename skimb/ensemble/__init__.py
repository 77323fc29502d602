"""Ensembles that see rare classes in full and common ones in part."""

from skimb.ensemble._boosted_mlp import GradientBoostedMLPClassifier
from skimb.ensemble._boosted_regressor import GradientBoostedMLPRegressor
from skimb.ensemble._hardness import BalanceCascadeClassifier, SelfPacedEnsembleClassifier
from skimb.ensemble._population import PopulationBaggingClassifier

__all__ = [
    "BalanceCascadeClassifier",
    "GradientBoostedMLPClassifier",
    "GradientBoostedMLPRegressor",
    "PopulationBaggingClassifier",
    "SelfPacedEnsembleClassifier",
]
