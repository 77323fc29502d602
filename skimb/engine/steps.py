"""Training steps: from a batch to updated parameters.

A step is made for one net, holds its workspaces and is called as ``step(X, target, weight) -> loss``.
Chains of linear layers train by a hand-written step without autograd; anything else through autograd,
with the loss's closed-form gradient fed into ``backward``.
"""

from abc import ABC, abstractmethod

import torch

from skimb.functional.adversarial import margin_distance
from skimb.nets.mlp import ACTIVATIONS

#: what a step on mini-batches offers to losses
SERVES = frozenset({"batch", "every class", "inputs", "memory"})

# gradient before an activation from the gradient after it and its value, in place
ACTIVATION_GRADIENTS = {
    "identity": None,
    "relu": lambda d, a: torch.ops.aten.threshold_backward.grad_input(d, a, 0, grad_input=d),
    "tanh": lambda d, a: torch.ops.aten.tanh_backward.grad_input(d, a, grad_input=d),
    "logistic": lambda d, a: torch.ops.aten.sigmoid_backward.grad_input(d, a, grad_input=d),
}


class Step(ABC):
    """One update of a net's parameters from one batch."""

    #: whether the step needs autograd switched on
    autograd = False
    #: called when gradients are there and parameters not yet updated, or None
    notify = None

    @abstractmethod
    def __call__(self, X, target, weight):
        """Update the parameters and return the mean loss as a tensor."""

    def tensors(self):
        """State tensors beside the optimiser's, for saving."""
        return []

    def settle(self):
        """Finish updates that were put off; called before predictions."""
        return None


def squeeze_outputs(z, code):
    """One output per row loses its axis when targets have none."""
    return z.squeeze(-1) if z.ndim == code.ndim + 1 and z.shape[-1] == 1 else z


def evaluate(loss, z, target, weight, total, inputs):
    """Loss and gradient of a batch; `inputs` are those of the output layer."""
    if "inputs" in loss.requires:
        target = target.with_inputs(inputs.abs().sum(-1))
    return loss.loss_grad(z, target, weight, total)


class ChainStep(Step):
    """Forward and backward of an MLP population with preallocated buffers, then one flat update.

    Parameters
    ----------
    module : MLP
        The net; its ``flat.grad`` is allocated here.
    loss : BoundLoss
        Gives ``loss_grad``.
    batch_size : int
        Largest batch.
    """

    def __init__(self, module, loss, batch_size):
        self.module, self.loss = module, loss
        flat = module.flat
        if flat.grad is None:
            flat.grad = torch.zeros_like(flat)
        one = module.members == 1
        self.W, self.b = module.split(flat.detach())
        self.gW, self.gb = module.split(flat.grad)
        self.optimizer = None
        self.widths = module.widths
        self.H = self.D = None  # made when first needed: members of populations never do
        self.batch_size = batch_size
        self.one = one
        self.act = ACTIVATIONS[module.activation]
        self.act_grad = ACTIVATION_GRADIENTS[module.activation]
        if one:
            for views in (self.W, self.b, self.gW, self.gb):
                views[:] = [v[0] for v in views]
            # a single output is a vector: matrix-vector products are much faster than thin gemms
            self.Wt = [w.t() for w in self.W]
        self.vector = one and self.widths[-1] == 1 and len(self.W) > 0
        if self.vector:
            self.w_out, self.gw_out = self.W[-1][:, 0], self.gW[-1][:, 0]

    def __call__(self, X, target, weight):
        loss = self.loss_grad(X, target, weight, total=float(X.shape[-2]))
        if self.notify is not None:
            self.notify()
        self.optimizer.step()
        if "memory" in self.loss.requires:
            self.loss.observe(self.scores, target, weight)
        return loss

    def buffers(self, n):
        """Workspaces for n rows."""
        if self.H is None:
            self._make_buffers()
        if n == self.batch_size:
            return self.H, self.D
        return [h[..., :n, :] for h in self.H], [d[..., :n, :] for d in self.D]

    def _make_buffers(self):
        shape = (self.batch_size,) if self.one else (self.module.members, self.batch_size)
        new = self.module.flat.detach().new_empty
        self.H = [new(*shape, w) for w in self.widths[1:]]
        self.D = [new(*shape, w) for w in self.widths[1:-1]]
        if self.one:
            self.Ht = [h.t() for h in self.H]

    def _transposed(self, i, a):
        """Transpose of the input of layer i, cached for whole batches."""
        return self.Ht[i - 1] if i and a is self.H[i - 1] else a.t()

    def loss_grad(self, X, target, weight=None, total=None):
        """Loss of a batch; fills the gradient of the parameters."""
        H, D = self.buffers(X.shape[-2])
        z = self.forward(X, H)
        self.scores = squeeze_outputs(z, target.code)
        inputs = H[-2] if len(self.W) > 1 else X
        loss, dz = evaluate(self.loss, self.scores, target, weight, total, inputs)
        self.backward(X, H, D, dz.view(z.shape))
        return loss

    def forward(self, X, H):
        """Fill the activations and return the raw outputs."""
        last = len(self.W) - 1
        a = X
        for i in range(last):
            a = self._affine(a, i, H[i])
            if self.act is not None:
                self.act(a)
        if self.vector:
            z = torch.mv(a, self.w_out, out=H[last].view(-1)).add_(self.b[last])
            return z.view(-1, 1)
        return self._affine(a, last, H[last])

    def _affine(self, a, i, out):
        if self.one:
            return torch.addmm(self.b[i], a, self.W[i], out=out)
        if a.ndim == 2:
            a = a.expand(self.module.members, *a.shape)
        return torch.baddbmm(self.b[i].unsqueeze(1), a, self.W[i], out=out)

    def backward(self, X, H, D, d):
        """Fill the gradients from the gradient in the outputs."""
        last = len(self.W) - 1
        for i in range(last, -1, -1):
            a = H[i - 1] if i else X
            if self.vector and i == last:
                dv = d.view(-1)
                torch.mv(self._transposed(i, a), dv, out=self.gw_out)
                torch.sum(d, 0, out=self.gb[i])
                if i:
                    d = torch.mul(dv.unsqueeze(1), self.w_out, out=D[i - 1])
            elif self.one:
                torch.mm(self._transposed(i, a), d, out=self.gW[i])
                torch.sum(d, 0, out=self.gb[i])
                if i:
                    d = torch.mm(d, self.Wt[i], out=D[i - 1])
            else:
                if a.ndim == 2:
                    a = a.expand(self.module.members, *a.shape)
                torch.bmm(a.transpose(1, 2), d, out=self.gW[i])
                torch.sum(d, 1, out=self.gb[i])
                if i:
                    d = torch.bmm(d, self.W[i].transpose(1, 2), out=D[i - 1])
            if i and self.act_grad is not None:
                d = self.act_grad(d, a)


class AutogradStep(Step):
    """Forward and backward of any module; its parameters become views of one flat tensor.

    Parameters
    ----------
    module : Module
        The net.
    loss : BoundLoss
        Gives ``loss_grad``.
    autocast : torch.dtype, default=None
        Type of mixed precision on CUDA.
    width : int, default=None
        Columns of sparse rows, which are made dense batch by batch.
    """

    autograd = True

    def __init__(self, module, loss, autocast=None, width=None):
        self.width = width
        self.module, self.loss = module, loss
        self.autocast = autocast
        self.optimizer = None
        self.parameters, self.decayed = flatten(module)

    def __call__(self, X, target, weight):
        if not torch.is_tensor(X):
            X = X.dense(self.width).to(target.code.device)
        self.optimizer.zero_grad()
        z, inputs = self._outputs(X)
        z = squeeze_outputs(z, target.code)
        scores = z.detach()
        with torch.no_grad():
            loss, dz = evaluate(self.loss, scores, target, weight, float(len(target)), inputs)
        loss = self._backward(X, z, dz, target, weight, loss)
        if self.notify is not None:
            self.notify()
        self.optimizer.step()
        if "memory" in self.loss.requires:
            self.loss.observe(scores, target, weight)
        return loss

    def _outputs(self, X):
        """Scores, and the output layer's inputs where the module returns the pair of them."""
        if self.autocast is None:
            z = self.module(X)
        else:
            with torch.autocast(X.device.type, dtype=self.autocast):
                z = self.module(X)
        z, inputs = z if isinstance(z, tuple) else (z, None)
        if inputs is None and "inputs" in self.loss.requires:
            raise ValueError(
                f"{self.loss.name} weighs rows by the norm of the output layer's inputs: let the "
                "module return the pair (scores, inputs of the output layer)."
            )
        return (z if self.autocast is None else z.float()), inputs

    def _backward(self, X, z, dz, target, weight, loss):
        """Fill the gradients; returns the loss to report."""
        z.backward(dz)
        return loss


class AdversarialStep(AutogradStep):
    """Adds how far the margins of rows can move within a ball to the loss (`AdversarialCompSum`).

    The worst place in the ball is sought by projected gradient ascent from a random start, with the
    module in evaluation mode; gradients then go through the clean and the perturbed scores.

    Parameters
    ----------
    module : Module
        The net.
    loss : BoundLoss
        With an `attack`.
    seed : int
        Seed of the random starts.
    width : int, default=None
        Columns of sparse rows, which are made dense batch by batch.
    """

    def __init__(self, module, loss, seed, width=None):
        super().__init__(module, loss, None, width)
        self.generator = torch.Generator().manual_seed(seed)

    def _backward(self, X, z, dz, target, weight, loss):
        attack, code = self.loss.attack, target.code
        if attack is None:  # the loss in force perturbs nothing
            return super()._backward(X, z, dz, target, weight, loss)
        worst = self._perturb(X, z.detach(), code)
        moved = squeeze_outputs(self._outputs(worst)[0], code)
        distance, grad = margin_distance(moved.detach(), z.detach(), code)
        share = (torch.ones_like(distance) if weight is None else weight) * (attack.nu / len(code))
        grad = grad * (share if grad.ndim == share.ndim else share.unsqueeze(-1))
        torch.autograd.backward([z, moved], [dz - grad, grad])
        return loss + (share * distance).sum()

    def _perturb(self, X, z, code):
        attack = self.loss.attack
        start = torch.rand(X.shape, generator=self.generator, dtype=torch.float64).to(X)
        shift = _project((2.0 * start - 1.0) * attack.eps, attack)
        training = self.module.training
        self.module.eval()
        for _ in range(attack.n_steps):
            x = (X + shift).requires_grad_()
            moved = squeeze_outputs(self._outputs(x)[0], code)
            _, grad = margin_distance(moved.detach(), z, code)
            (slope,) = torch.autograd.grad(moved, x, grad)
            if attack.norm == "inf":
                slope = slope.sign()
            else:
                slope = slope / slope.norm(dim=-1, keepdim=True).clamp_min(1e-30)
            shift = _project(shift + slope * (2.5 * attack.eps / attack.n_steps), attack)
        self.module.train(training)
        return X + shift


def _project(shift, attack):
    """Shifts of rows brought back into the ball."""
    if attack.norm == "inf":
        return shift.clamp(-attack.eps, attack.eps)
    length = shift.norm(dim=-1, keepdim=True)
    return shift * (attack.eps / length.clamp_min(attack.eps))


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
