"""Linear estimators for imbalanced data."""

from skimb.linear_model._balanced_ridge import BalancedRidge
from skimb.linear_model._linear import LinearClassifier
from skimb.linear_model._normalized import NormalizedLogisticClassifier
from skimb.linear_model._presto import PrestoClassifier
from skimb.linear_model._presto_cv import PrestoClassifierCV

__all__ = [
    "BalancedRidge",
    "LinearClassifier",
    "NormalizedLogisticClassifier",
    "PrestoClassifier",
    "PrestoClassifierCV",
]
