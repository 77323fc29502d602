"""Losses as objectives of LightGBM and XGBoost, and classifiers that put the pieces together."""

from skimb.boosting._lightgbm import LGBMImbalancedClassifier
from skimb.boosting._objectives import as_lightgbm, as_xgboost
from skimb.boosting._xgboost import XGBImbalancedClassifier

__all__ = ["LGBMImbalancedClassifier", "XGBImbalancedClassifier", "as_lightgbm", "as_xgboost"]
