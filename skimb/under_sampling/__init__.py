"""Samplers that keep part of the rows."""

from skimb.under_sampling._coreset import AutoCoresetSampler
from skimb.under_sampling._pruning import DynamicPruningSampler

__all__ = ["AutoCoresetSampler", "DynamicPruningSampler"]
