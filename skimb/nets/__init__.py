"""Torch modules of skimb."""

from skimb.nets.mlp import MLP

__all__ = ["MLP"]
