"""The training engine: one skorch net, batches of tensors, backends, a bank of parameters, a trainer, schemes."""

from skimb.engine.net import EngineNet

__all__ = ["EngineNet"]
