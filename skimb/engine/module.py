"""Any torch module as a backend: gradients by autograd, of one net or of many in one vectorised pass."""

import copy

import torch
from torch.func import functional_call, vmap

from skimb.engine.backend import Backend, SideBySide
from skimb.nets import MLP

COPIES = 6  # parameters, gradient, two moments, scratch, rates


class ModuleBackend(Backend):
    """Forward and backward of a module, whose parameters become views of one flat tensor.

    Parameters
    ----------
    module : Module
        The net. It answers scores, or the pair of scores and inputs of the output layer.
    autocast : torch.dtype, default=None
        Type of mixed precision on CUDA.
    width : int, default=None
        Columns of sparse rows, which are made dense batch by batch.
    """

    autograd = True

    def __init__(self, module, autocast=None, width=None):
        self.module, self.autocast, self.width = module, autocast, width
        self.asked = {"with_inputs": True} if isinstance(module, MLP) else {}
        self.parameters, self.decayed = flatten(module)

    def forward(self, X):
        for flat in self.parameters:
            flat.grad.zero_()
        self.X = self.rows(X)
        self.z, self.inputs = self.outputs(self.X)
        return self.z.detach()

    def rows(self, X):
        """Rows of a batch as the module takes them: sparse ones are made dense."""
        if torch.is_tensor(X) or isinstance(X, dict):
            return X
        return X.dense(self.width).to(self.parameters[0].device)

    def outputs(self, X):
        """Scores with their gradient history, and the output layer's inputs, or None."""
        if self.autocast is None:
            z = self.module(X, **self.asked)
        else:
            with torch.autocast(X.device.type, dtype=self.autocast):
                z = self.module(X, **self.asked)
        z, inputs = z if isinstance(z, tuple) else (z, None)
        return (z if self.autocast is None else z.float()), inputs

    def backward(self, d):
        self.z.backward(d)

    @property
    def layout(self):
        """Populations of modules that can be vectorised."""
        return ModuleLayout

    def structure(self, data):
        """Everything that the module holds apart from its parameters.

        None on rows that are not one dense block, and for modules with buffers, hooks or several types of
        parameters.
        """
        module = self.module
        plain = not any(True for _ in module.buffers()) and not _hooked(module)
        dense = torch.is_tensor(data.X)
        if not (plain and dense and len(self.parameters) == 1 and self.autocast is None):
            return None
        parts = []
        for name, part in module.named_modules():
            own = {k: _plain(v) for k, v in vars(part).items() if k not in _KEPT}
            shapes = [(k, p.shape, str(p.dtype)) for k, p in part.named_parameters(recurse=False)]
            parts.append((name, type(part), repr(sorted(own.items())), tuple(shapes)))
        return (ModuleLayout, *parts)


class ModuleLayout(SideBySide):
    """Modules that differ in nothing but their parameters; each member's lie side by side."""

    @classmethod
    def numbers(cls, net, data):
        """Parameters and their state; activations as if every matrix were a layer, kept twice."""
        parameters = list(net.step.backend.module.parameters())
        outputs = sum(p.shape[0] for p in parameters if p.ndim > 1)
        size = sum(p.numel() for p in parameters)
        return COPIES * size + 4 * net.order.max_batch * outputs

    @classmethod
    def works(cls, net, data):
        """Whether two members at once give what the module gives alone; draws and odd code do not."""
        module, X = net.step.backend.module, data.X[:2]
        named = {k: torch.stack([p.detach()] * 2) for k, p in module.named_parameters()}
        was_training = module.training
        module.train()
        try:
            with torch.no_grad():
                both = vmap(lambda p, x: _outputs(module, p, x), in_dims=(0, None))(named, X)
                alone = _outputs(module, {}, X)
            return torch.allclose(both, alone.expand_as(both), rtol=1e-3, atol=1e-5)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return False  # torch's own word that the module cannot be vectorised
        finally:
            module.train(was_training)

    def mask(self, net):
        parameters = [p for p in net.step.backend.module.parameters() if p.requires_grad]
        # matrices decay, vectors do not
        return torch.cat(
            [torch.full_like(p, p.ndim > 1, dtype=torch.bool).view(-1) for p in parameters]
        )

    def prepare(self, flat):
        modules = [net.step.backend.module for net in self.nets]
        self.module = copy.deepcopy(modules[0]).train()
        self.places, o = [], 0
        for name, p in self.module.named_parameters():
            if p.requires_grad:
                self.places.append((name, o, p.numel(), p.shape))
                o += p.numel()
        fixed = [k for k, p in self.module.named_parameters() if not p.requires_grad]
        named = [dict(module.named_parameters()) for module in modules]
        self.fixed = {k: torch.stack([own[k] for own in named]) for k in fixed}

    def backend(self, flat, grad, low, high):
        fixed = {name: tensor[low:high] for name, tensor in self.fixed.items()}
        parts = flat.view(high - low, -1), grad.view(high - low, -1)
        return _Vectorised(self.module, *parts, self.places, fixed, None if self.shared else 0)


class _Vectorised(Backend):
    """Several members of one structure in one pass."""

    serves = frozenset({"batch", "every class"})
    autograd = True

    def __init__(self, module, flat, grad, places, fixed, rows):
        self.module, self.flat, self.grad = module, flat, grad
        self.places, self.fixed = places, fixed
        self.run = vmap(lambda p, x: _outputs(module, p, x), in_dims=(0, rows))

    def forward(self, X):
        with torch.enable_grad():
            self.leaf = self.flat.detach().requires_grad_()
            named = {
                name: self.leaf[:, o : o + size].view(-1, *shape)
                for name, o, size, shape in self.places
            }
            self.z = self.run(named | self.fixed, X)
        return self.z.detach()

    def backward(self, d):
        (grad,) = torch.autograd.grad(self.z, self.leaf, d)
        self.grad.copy_(grad)


_KEPT = {"_parameters", "_modules", "_buffers", "_non_persistent_buffers_set"}


def _outputs(module, parameters, X):
    z = functional_call(module, parameters, (X,))
    return z[0] if isinstance(z, tuple) else z


def _hooked(module):
    """Whether calls of the module or of a part of it go through hooks, which see members' tensors."""
    return any(
        value
        for m in module.modules()
        for name, value in vars(m).items()
        if name.endswith("_hooks")
    )


def _plain(value):
    """Something whose repr tells values apart."""
    if torch.is_tensor(value):
        return (tuple(value.shape), value.detach().cpu().numpy().tobytes())
    return value


def hidden_matrices(module):
    """Weights of all linear layers of a module but the last one, in the order of their definition."""
    linear = [part.weight for part in module.modules() if isinstance(part, torch.nn.Linear)]
    unique = list({id(p): p for p in linear}.values())
    return [p for p in unique[:-1] if p.requires_grad]


def flatten(module):
    """Make a module's trainable parameters and gradients views of one tensor per dtype.

    Parameters
    ----------
    module : Module
        Any module; shared parameters stay shared.

    Returns
    -------
    flats : list of Tensor
        Flat tensors with ``grad`` allocated, to optimise.
    decayed : list of (Tensor, Tensor)
        Views of matrices (at least two axes) and of their gradients.
    """
    groups = {}
    for p in module.parameters():
        if p.requires_grad:
            groups.setdefault((p.dtype, p.device), []).append(p)
    flats, decayed = [], []
    for (dtype, device), params in groups.items():
        flat = torch.empty(sum(p.numel() for p in params), dtype=dtype, device=device)
        grad = torch.zeros_like(flat)
        o = 0
        for p in params:
            view = flat[o : o + p.numel()].view(p.shape)
            view.copy_(p.detach())
            p.data = view
            p.grad = grad[o : o + p.numel()].view(p.shape)
            if p.ndim > 1:
                decayed.append((view, p.grad))
            o += p.numel()
        flat.grad = grad
        flats.append(flat)
    return flats, decayed
