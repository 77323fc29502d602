"""The training engine: one skorch net, batches of tensors, backends, a bank of parameters, a trainer, schemes."""

from skimb.engine.callbacks import DeferredReweighting
from skimb.engine.mixing import BalancedMixup, Mixup, Remix, UniMix
from skimb.engine.net import EngineNet
from skimb.engine.sampling import ClassPowerSampler

# the public place of what users pass to estimators is skimb.training
_PASSED = (BalancedMixup, ClassPowerSampler, DeferredReweighting, Mixup, Remix, UniMix)

__all__ = ["EngineNet"]
