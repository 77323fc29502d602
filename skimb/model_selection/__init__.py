"""Searches and evaluations that train many fits as one."""

from skimb.model_selection._batched import batched_fits
from skimb.model_selection._fixed_threshold import FixedThresholdClassifier
from skimb.model_selection._loss_search import LossSearchCV
from skimb.model_selection._tuned_threshold import TunedThresholdClassifierCV

__all__ = ["FixedThresholdClassifier", "LossSearchCV", "TunedThresholdClassifierCV", "batched_fits"]
