"""The output layer of a net."""

import torch

from skimb.nets.mlp import MLP


def output_linear(module):
    """The last linear layer of a module, in the order in which it names its parts, or None."""
    found = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
    return found[-1] if found else None


def output_layer(module, n_outputs):
    """Weights and intercepts of the output layer, as views of the parameters.

    Parameters
    ----------
    module : Module
        A net on the CPU.
    n_outputs : int
        Its outputs.

    Returns
    -------
    list of Tensor of shape (n_outputs, d)
        Weights; of a net with a linear skip path also those of the latter.
    list of Tensor of shape (n_outputs,)
        Intercepts, or nothing.

    Raises
    ------
    ValueError
        If the last linear layer of the module has other outputs, or there is none.
    """
    if isinstance(module, MLP):
        flat = module.flat.detach()
        weights, biases = module.split(flat)
        found = [w[0].t() for w in weights[-1:]]
        if module.sparse and (module.linear_skip or not found):
            found.append(module.table.detach()[:, module.table_width - n_outputs :].t())
        return found, [biases[-1][0]]
    linear = output_linear(module)
    if linear is None or linear.out_features != n_outputs:
        raise ValueError(
            f"{type(module).__name__} has no torch.nn.Linear with {n_outputs} outputs as its last one."
        )
    return [linear.weight.detach()], [] if linear.bias is None else [linear.bias.detach()]
