"""Classifiers over a torch module whose gradients autograd finds."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skimb._base.chain import SHARED_CONSTRAINTS
from skimb._base.classifier import NeuralClassifier
from skimb._base.outputs import module_outputs
from skimb.engine.module import ModuleBackend, hidden_matrices
from skimb.engine.optim import SGD, Adam, Muon
from skimb.engine.runtime import Draws, products_type
from skimb.engine.step import Step

MODULE_CONSTRAINTS = {
    **SHARED_CONSTRAINTS,
    "solver": [StrOptions({"adamw", "adam", "sgd", "muon"})],
    "learning_rate": [StrOptions({"constant", "cosine", "linear"})],
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

    def _new_backend(self, module, autocast):
        return ModuleBackend(module, autocast, width=self.n_features_in_)

    def _new_step(self, module, bound, data, order, scheme):
        device = next(module.parameters()).device
        backend = self._new_backend(
            module, products_type(getattr(self, "mixed_precision", False), device)
        )
        decoupled = self.solver in {"adamw", "muon"}
        kw = {
            "lr": self.learning_rate_init,
            "l2": 0.0 if decoupled else self.alpha,
            "decay": self.alpha if decoupled else 0.0,
            "decayed": backend.decayed,
        }
        if self.solver == "sgd":
            optimizer = SGD(backend.parameters, momentum=self.momentum, **kw)
        elif self.solver == "muon":
            optimizer = Muon(backend.parameters, self._hidden_places(module), **kw)
        else:
            optimizer = Adam(backend.parameters, **kw)
        return Step(backend, bound, optimizer, scheme)

    def _hidden_places(self, module):
        """Where the hidden matrices lie in the flat parameter."""
        found = hidden_matrices(module)
        if not found:
            given = f"module={self.module!r}" if hasattr(self, "module") else type(module).__name__
            raise ValueError(
                f"solver='muon' orthogonalises the weights of all torch.nn.Linear layers but the last, and {given} "
                "has none of these; use solver='adamw', or MLPClassifier(solver='muon')."
            )
        return tuple((p.storage_offset(), *p.shape) for p in found)

    def _choose_dtype(self, X, device):
        if self.dtype != "auto":
            return self.dtype
        return "float32" if device.type == "cuda" else str(X.dtype)

    def _raw(self, X):
        return self._forward_rows(X, None)

    def _forward_rows(self, X, function):
        """What the module, or a function of it, gives for validated rows, block by block."""
        return module_outputs(self.net_.module_, X, self._dtype, function)

    def _add_to_output(self, shift):
        """Remember a constant for the scores, since any module may lack an intercept."""
        self._output_shift = np.asarray(shift, float)

    def _logits(self, X):
        return self._shifted(super()._logits(X))

    def _tensor_logits(self, rows):
        return self._shifted(super()._tensor_logits(rows))

    def _shifted(self, z):
        """Scores with the constant that training added to the module's output."""
        if self._output_shift is None or not self._head.bound.shift_invariant:
            return z
        shift = torch.from_numpy(self._output_shift).to(z)
        return z + (shift if z.ndim == 2 else shift[0])


def torch_dtype(name):
    """Floating type of torch by its name."""
    return torch.float64 if name == "float64" else torch.float32
