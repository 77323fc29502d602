"""Losses as objectives of LightGBM, XGBoost and CatBoost, and classifiers that put the pieces together."""

from skimb.boosting._catboost import as_catboost
from skimb.boosting._lightgbm import LGBMImbalancedClassifier
from skimb.boosting._objectives import as_lightgbm, as_xgboost
from skimb.boosting._xgboost import XGBImbalancedClassifier

__all__ = [
    "LGBMImbalancedClassifier",
    "XGBImbalancedClassifier",
    "as_catboost",
    "as_lightgbm",
    "as_xgboost",
]
