"""Searches and evaluations that train many fits as one."""

from skimb.model_selection._batched import batched_fits

__all__ = ["batched_fits"]
