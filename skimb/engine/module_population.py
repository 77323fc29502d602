"""Populations of any torch modules: one vectorised forward pass, gradients by autograd."""

import copy

import torch
from torch.func import functional_call, vmap

from skimb.engine.population import COPIES, Population
from skimb.engine.steps import AutogradStep


class ModulePopulation(Population):
    """Modules that differ in nothing but their parameters."""

    @classmethod
    def takes(cls, net, data):
        """Modules on dense rows with one type of parameters, no buffers and no hooks."""
        step = net.step
        if type(step) is not AutogradStep or step.notify is not None or step.autocast is not None:
            return False
        module = step.module
        plain = not any(True for _ in module.buffers()) and not _hooked(module)
        return plain and not data.sparse and len(step.parameters) == 1

    @classmethod
    def structure(cls, net, data):
        """Everything that the modules hold apart from their parameters."""
        parts = []
        for name, module in net.step.module.named_modules():
            own = {k: _plain(v) for k, v in vars(module).items() if k not in _KEPT}
            shapes = [(k, p.shape, str(p.dtype)) for k, p in module.named_parameters(recurse=False)]
            parts.append((name, type(module), repr(sorted(own.items())), tuple(shapes)))
        return tuple(parts)

    @classmethod
    def numbers(cls, net, data):
        """Parameters and their state; activations as if every matrix were a layer, kept twice."""
        parameters = list(net.step.module.parameters())
        outputs = sum(p.shape[0] for p in parameters if p.ndim > 1)
        size = sum(p.numel() for p in parameters)
        return COPIES * size + 4 * net.order.max_batch * outputs

    @classmethod
    def works(cls, net, data):
        """Whether two members at once give what the module gives alone; draws and odd code do not."""
        module, X = net.step.module, data.X[:2]
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

    # --- members in one tensor -----------------------------------------------------------------

    def _copy(self, flat, tensors, *, back=False):
        for there, here in zip(flat.view(len(tensors), -1), tensors, strict=True):
            (here if back else there).copy_(there if back else here)

    def _spread(self, values):
        v = self.P.new_tensor(values)
        return v.repeat_interleave(self.P.numel() // len(v))

    def _decayed(self, values, neutral):
        mask = self.P.new_zeros(self.P.numel() // len(values), dtype=torch.bool)
        for _, start, size, shape in self.places:
            mask[start : start + size] = len(shape) > 1  # matrices decay, vectors do not
        v = self.P.new_tensor(values)[:, None]
        return torch.where(mask, v, torch.full_like(v, neutral)).reshape(-1)

    def _prepare(self):
        self.module = copy.deepcopy(self.nets[self.alive[0]].step.module).train()
        self.places, o = [], 0
        for name, p in self.module.named_parameters():
            if p.requires_grad:
                self.places.append((name, o, p.numel(), p.shape))
                o += p.numel()
        self.whole = self.P.view(len(self.alive), -1)
        fixed = [(k, p) for k, p in self.module.named_parameters() if not p.requires_grad]
        self.fixed = {
            k: torch.stack(
                [dict(self.nets[m].step.module.named_parameters())[k] for m in self.alive]
            )
            for k, _ in fixed
        }

    # --- one batch -----------------------------------------------------------------------------

    def gradients(self, X, targets, window):
        own = slice(window.low, window.high)
        with torch.enable_grad():
            flat = self.whole[own].detach().requires_grad_()
            named = {
                name: flat[:, o : o + size].view(-1, *shape) for name, o, size, shape in self.places
            }
            fixed = {name: t[own] for name, t in self.fixed.items()}
            rows = None if self.shared else 0
            run = vmap(lambda p, x: _outputs(self.module, p, x), in_dims=(0, rows))
            z = run(named | fixed, X)
        loss, d = self.losses(z.detach(), targets, window)
        (grad,) = torch.autograd.grad(z, flat, d)
        window.flats[1].copy_(grad.reshape(-1))
        return loss


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
