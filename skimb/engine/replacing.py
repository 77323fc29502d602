"""What schemes share that look at all rows with the net in training and put other rows in their places."""

import numpy as np
import torch
from sklearn.utils import check_random_state

from skimb.engine.chain_nets import infer
from skimb.engine.data import Batch, row_batches
from skimb.engine.module import ModuleBackend
from skimb.engine.schemes import RunningScheme

_BLOCK = 4096


class Replacing(RunningScheme):
    """A scheme at work that may give the places of rows in a batch to other rows of the same classes.

    Parameters
    ----------
    settings : Scheme
        Its parameters.
    module : Module
        The net.
    data : TrainingData
        All rows, of exclusive classes.
    seed : int
        Seed.
    """

    numbered = True

    def __init__(self, settings, module, data, seed):
        if data.target.code.ndim > 1:
            raise ValueError(
                f"scheme={settings!r} is for exclusive classes; multi-label y has none."
            )
        self.settings, self.module, self.data = settings, module, data
        self.rng = check_random_state(seed)
        self.code = data.target.code.cpu().numpy()
        weight = np.ones(len(data)) if data.weight is None else data.weight.cpu().numpy()
        self.weight = weight.astype(float)
        self.epoch = -1

    def replaced(self, batch, rows):
        """A batch of other rows, by their numbers, in the places of the rows and with their weights."""
        index = torch.from_numpy(rows)
        other = next(self.data.batches(index, [len(rows)], numbered=True, epoch=batch.epoch))
        return Batch(other.X, other.target, batch.weight, other.rows, batch.epoch, batch.loss)

    def answers(self, step, *, inputs=False):
        """What the present net says of all rows: outputs, or inputs of the output layer, None if hidden."""
        backend, training, n = step.backend, self.module.training, len(self.code)
        backend.settle()
        self.module.eval()
        with torch.no_grad():
            if isinstance(backend, ModuleBackend):
                sizes = [min(_BLOCK, n - start) for start in range(0, n, _BLOCK)]
                parts = row_batches(self.data.X, None, sizes)
                found = [backend.outputs(backend.rows(part))[int(inputs)] for part in parts]
            else:
                found = [infer(self.module, self.data.X, inputs=inputs)]
        self.module.train(training)
        return None if any(part is None for part in found) else torch.cat(found).detach().cpu()
