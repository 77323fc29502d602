"""Neural estimators for imbalanced data."""

from skimb.neural_network._balanced_representation import BalancedRepresentationClassifier
from skimb.neural_network._contrastive import SubclassContrastiveClassifier
from skimb.neural_network._custom import NeuralNetClassifier
from skimb.neural_network._distilled import DistilledClassifier
from skimb.neural_network._fusion import FusionClassifier
from skimb.neural_network._mlp import MLPClassifier
from skimb.neural_network._regressor import MLPRegressor
from skimb.neural_network._robust import RobustMLPClassifier
from skimb.neural_network._tabm import TabMClassifier
from skimb.neural_network._tabm_regressor import TabMRegressor

__all__ = [
    "BalancedRepresentationClassifier",
    "DistilledClassifier",
    "FusionClassifier",
    "MLPClassifier",
    "MLPRegressor",
    "NeuralNetClassifier",
    "RobustMLPClassifier",
    "SubclassContrastiveClassifier",
    "TabMClassifier",
    "TabMRegressor",
]
