"""Weights between those of two states of one training."""

import torch


@torch.no_grad()
def move_towards(estimator, start, share):
    """Put the weights of an estimator to (1 - share) of those it began with and share of its present ones.

    The moments of the optimiser belong to other weights and are dropped.

    Parameters
    ----------
    estimator : NeuralBase
        A fitted estimator, which is changed.
    start : NeuralBase
        A copy of it from before.
    share : float
        Share of the present weights.
    """
    own, other = (model.net_.module_.state_dict() for model in (estimator, start))
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.copy_(torch.lerp(other[name], tensor, share))
    for name in ("_level", "_output_shift"):  # constants that were added to the outputs
        parts = [getattr(model, name, None) for model in (start, estimator)]
        if any(part is not None for part in parts):
            a, b = (0.0 if part is None else part for part in parts)
            setattr(estimator, name, (1.0 - share) * a + share * b)
    estimator._optimizer_state = estimator._scheme_state = None
