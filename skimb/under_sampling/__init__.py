"""Samplers that keep part of the rows, or make few that stand for all."""

from skimb.under_sampling._coreset import AutoCoresetSampler
from skimb.under_sampling._distilled import DistilledSampler
from skimb.under_sampling._influence import InfluenceBalancedSampler
from skimb.under_sampling._pruning import DynamicPruningSampler
from skimb.under_sampling._refined import ClusterRefinedSampler

__all__ = [
    "AutoCoresetSampler",
    "ClusterRefinedSampler",
    "DistilledSampler",
    "DynamicPruningSampler",
    "InfluenceBalancedSampler",
]
