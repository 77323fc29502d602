"""Classifiers over a torch module whose gradients autograd finds."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skimb._base.chain import SHARED_CONSTRAINTS
from skimb._base.classifier import NeuralClassifier
from skimb.engine.module import ModuleBackend
from skimb.engine.optim import SGD, Adam
from skimb.engine.runtime import Draws
from skimb.engine.step import Step

_PREDICT_ROWS = 4096  # rows that go through the module at once, fewer if they are wide
_PREDICT_CELLS = 1 << 22

MODULE_CONSTRAINTS = {
    **SHARED_CONSTRAINTS,
    "solver": [StrOptions({"adamw", "adam", "sgd"})],
    "learning_rate": [StrOptions({"constant", "cosine"})],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "dtype": [StrOptions({"auto", "float32", "float64"})],
}


class ModuleClassifier(NeuralClassifier):
    """Base of the classifiers over a torch module, which subclasses make."""

    def _compatible(self, X, code):
        return True

    def _draws_in_module(self):
        return True

    def _draw_module(self, make, params, rng):
        """A new module; what makes it is kept, for copies and pickles."""
        self._maker, self._output_shift = (make, params), None
        with Draws(int(rng.randint(np.iinfo(np.int32).max))):
            return self._empty_module()

    def _empty_module(self):
        make, params = self._maker
        with torch.random.fork_rng(devices=[]):  # loading draws nothing from the user's generator
            return make(**params).to(torch_dtype(self._dtype))

    def _least_batch(self, module):
        normalised = nn.modules.batchnorm._BatchNorm
        return 2 if any(isinstance(part, normalised) for part in module.modules()) else 1

    def _new_step(self, module, bound, data, order, scheme):
        on_gpu = next(module.parameters()).device.type == "cuda"
        mixed = getattr(self, "mixed_precision", False) and on_gpu
        backend = ModuleBackend(
            module, torch.bfloat16 if mixed else None, width=self.n_features_in_
        )
        decoupled = self.solver == "adamw"
        kw = {
            "lr": self.learning_rate_init,
            "l2": 0.0 if decoupled else self.alpha,
            "decay": self.alpha if decoupled else 0.0,
            "decayed": backend.decayed,
        }
        if self.solver == "sgd":
            optimizer = SGD(backend.parameters, momentum=self.momentum, **kw)
        else:
            optimizer = Adam(backend.parameters, **kw)
        return Step(backend, bound, optimizer, scheme)

    def _choose_dtype(self, X, device):
        if self.dtype != "auto":
            return self.dtype
        return "float32" if device.type == "cuda" else str(X.dtype)

    def _raw(self, X):
        return self._forward_rows(X, self.net_.module_)

    @torch.no_grad()
    def _forward_rows(self, X, function):
        """What a function of the module gives for validated rows, block by block."""
        module = self.net_.module_
        was_training = module.training
        module.eval()
        device = next(module.parameters()).device
        parts = []
        size = max(1, min(_PREDICT_ROWS, _PREDICT_CELLS // max(X.shape[1], 1)))
        for s in range(0, X.shape[0], size):
            rows = X[s : s + size]
            rows = rows.toarray() if sparse.issparse(rows) else np.array(rows, dtype=self._dtype)
            z = function(torch.from_numpy(rows.astype(self._dtype, copy=False)).to(device))
            parts.append(z[0] if isinstance(z, tuple) else z)
        module.train(was_training)
        return torch.cat(parts).cpu()

    def _add_to_output(self, shift):
        """Remember a constant for the scores, since any module may lack an intercept."""
        self._output_shift = np.asarray(shift, float)

    def _logits(self, X):
        z = super()._logits(X)
        if self._output_shift is None or not self._head.bound.shift_invariant:
            return z
        shift = torch.from_numpy(self._output_shift).to(z)
        return z + (shift if z.ndim == 2 else shift[0])


def torch_dtype(name):
    """Floating type of torch by its name."""
    return torch.float64 if name == "float64" else torch.float32
