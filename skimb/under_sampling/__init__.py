"""Samplers that keep part of the rows."""

from skimb.under_sampling._coreset import AutoCoresetSampler

__all__ = ["AutoCoresetSampler"]
