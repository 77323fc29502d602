"""State of a training step as plain arrays, for pickles and for training that goes on."""

import numpy as np
import torch


def pack_state(step):
    """State of optimiser, backend and scheme as plain numpy arrays, or None each."""
    schemes = None
    if step.scheme is not None:
        schemes = {name: t.detach().cpu().numpy() for name, t in step.scheme.state().items()}
    if step.optimizer is None:
        return None, schemes
    arrays = [t.detach().cpu().numpy() for t in step.tensors()]
    kind = type(step.optimizer).__name__
    return {"kind": kind, "lr": step.optimizer.lr, "arrays": arrays}, schemes


def unpack_state(step, state, schemes):
    """Put saved state back into a new step; an optimiser or a scheme of another kind starts anew."""
    if schemes and step.scheme is not None and set(schemes) == set(step.scheme.state()):
        step.scheme.load_state({k: torch.from_numpy(np.array(a)) for k, a in schemes.items()})
    if state is None or state["kind"] != type(step.optimizer).__name__:
        return
    tensors = step.tensors()
    if [tuple(t.shape) for t in tensors] != [a.shape for a in state["arrays"]]:
        return
    for own, saved in zip(tensors, state["arrays"], strict=True):
        own.copy_(torch.from_numpy(np.array(saved)))
    step.optimizer.lr = state["lr"]
