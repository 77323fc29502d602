"""The training engine: one skorch net, tensor batches, hand-written and autograd steps."""

from skimb.engine.callbacks import DeferredReweighting
from skimb.engine.mixing import BalancedMixup, Mixup, Remix, UniMix
from skimb.engine.net import EngineNet
from skimb.engine.sampling import ClassPowerSampler

__all__ = [
    "BalancedMixup",
    "ClassPowerSampler",
    "DeferredReweighting",
    "EngineNet",
    "Mixup",
    "Remix",
    "UniMix",
]
