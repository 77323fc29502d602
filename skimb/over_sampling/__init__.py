"""Samplers that add rows."""

from skimb.over_sampling._latent import LatentSMOTE
from skimb.over_sampling._multilabel import MLROS, MLSMOTE

__all__ = ["MLROS", "MLSMOTE", "LatentSMOTE"]
