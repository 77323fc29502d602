"""Searches and evaluations that train many fits as one."""

from skimb.model_selection._batched import batched_fits
from skimb.model_selection._fixed_threshold import FixedThresholdClassifier
from skimb.model_selection._guaranteed_threshold import GuaranteedThresholdClassifier
from skimb.model_selection._loss_search import LossSearchCV
from skimb.model_selection._promises import GuaranteeWarning
from skimb.model_selection._tuned_threshold import TunedThresholdClassifierCV

__all__ = [
    "FixedThresholdClassifier",
    "GuaranteeWarning",
    "GuaranteedThresholdClassifier",
    "LossSearchCV",
    "TunedThresholdClassifierCV",
    "batched_fits",
]
