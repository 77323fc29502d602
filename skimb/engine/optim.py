"""Lean optimisers over few large tensors.

They are `torch.optim.Optimizer` by type, so that skorch and learning-rate schedulers accept them, but
never call its constructor: that imports ``torch._dynamo``, a second or more in every fresh process.
"""

import torch


class LeanOptimizer(torch.optim.Optimizer):
    """Base of the lean optimisers: parameter groups, decay, state as a plain list.

    Parameters
    ----------
    params : iterable of Tensor
        Parameters; their ``grad`` must be allocated before the first step.
    lr : float
        Learning rate.
    l2 : float
        L2 penalty added to the gradient of the decayed tensors.
    decay : float
        Decoupled weight decay of the decayed tensors.
    decayed : list of (Tensor, Tensor)
        Views of parameters and of their gradients to which `l2` and `decay` apply.
    """

    def __init__(self, params, lr=1e-3, l2=0.0, decay=0.0, decayed=()):
        params = [p for p in params if torch.is_tensor(p)] or list(params)
        self.defaults = {"lr": lr}
        self.state = {}
        self.param_groups = [{"params": params, "lr": lr}]
        self.l2 = l2
        self.decay = decay
        self.decayed = list(decayed)
        self.values = [p.detach() for p in params]
        self.grads = [p.grad for p in params]

    @property
    def lr(self):
        """Current learning rate."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value):
        self.param_groups[0]["lr"] = value

    def zero_grad(self, set_to_none=False):
        """Fill gradients with zeros; they stay allocated."""
        for g in self.grads:
            g.zero_()

    def step(self, closure=None):
        """Apply decay and one update from the gradients in place."""
        lr = self.param_groups[0]["lr"]
        if self.l2:
            for p, g in self.decayed:
                g.add_(p, alpha=self.l2)
        if self.decay:
            for p, _ in self.decayed:
                p.mul_(1.0 - lr * self.decay)
        self.update(lr)

    def update(self, lr):
        """One update of the values from the gradients."""
        raise NotImplementedError

    def tensors(self):
        """State tensors, in a fixed order, for saving."""
        return []

    def state_dict(self):
        """State as tensors and the learning rate."""
        return {"tensors": [t.clone() for t in self.tensors()], "lr": self.lr}

    def load_state_dict(self, state_dict):
        """Restore what :meth:`state_dict` gave."""
        for own, saved in zip(self.tensors(), state_dict["tensors"], strict=True):
            own.copy_(saved)
        self.lr = state_dict["lr"]


class Adam(LeanOptimizer):
    """Adam in one fused call (doi arXiv:1412.6980); with `decay` it is AdamW (arXiv:1711.05101)."""

    def __init__(self, params, betas=(0.9, 0.999), eps=1e-8, **kw):
        super().__init__(params, **kw)
        self.betas = betas
        self.eps = eps
        self.m = [torch.zeros_like(v) for v in self.values]
        self.v = [torch.zeros_like(v) for v in self.values]
        self.t = [torch.zeros((), device=v.device) for v in self.values]
        on_cpu = all(t.device.type == "cpu" for t in self.t)
        self.clocks = [t.numpy() for t in self.t] if on_cpu else None

    def update(self, lr):
        if self.clocks is None:
            torch._foreach_add_(self.t, 1)
        else:  # counting through numpy costs a tenth of an operation of torch
            for clock in self.clocks:
                clock += 1.0
        torch._fused_adam_(
            self.values,
            self.grads,
            self.m,
            self.v,
            [],
            self.t,
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self):
        return [*self.m, *self.v, *self.t]


class SGD(LeanOptimizer):
    """Stochastic gradient descent with (Nesterov) momentum, in scikit-learn's form."""

    def __init__(self, params, momentum=0.9, nesterov=True, **kw):
        super().__init__(params, **kw)
        self.momentum = momentum
        self.nesterov = nesterov
        self.velocity = [torch.zeros_like(v) for v in self.values]

    def update(self, lr):
        for p, g, v in zip(self.values, self.grads, self.velocity, strict=True):
            v.mul_(self.momentum).add_(g, alpha=-lr)
            if self.nesterov:
                p.add_(v, alpha=self.momentum).add_(g, alpha=-lr)
            else:
                p.add_(v)

    def tensors(self):
        return self.velocity


class Muon(LeanOptimizer):
    """torch's Muon for hidden weight matrices, AdamW for the output layer and the intercepts.

    Parameters
    ----------
    params : iterable of Tensor
        The one flat parameter of an MLP.
    matrices : list of (Tensor, Tensor)
        Hidden weight matrices and their gradients, as views.
    rest : (Tensor, Tensor)
        Everything else and its gradient, as views.
    decay : float
        Decoupled weight decay.
    lr : float
        Learning rate of both parts; Muon's update is scaled to the size of AdamW's.
    momentum : float
        Momentum of Muon.
    """

    def __init__(self, params, matrices, rest, lr=1e-3, decay=0.0, momentum=0.95, **kw):
        super().__init__(params, lr=lr)
        hidden = []
        for value, grad in matrices:
            p = torch.nn.Parameter(value.detach())
            p.grad = grad
            hidden.append(p)
        self.muon = torch.optim.Muon(
            hidden,
            lr=lr,
            weight_decay=decay,
            momentum=momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        leaf = rest[0].detach()
        leaf.grad = rest[1]
        self.adam = Adam([leaf], lr=lr, decay=0.0, **kw)

    def update(self, lr):
        for group in self.muon.param_groups:
            group["lr"] = lr
        self.muon.step()
        self.adam.update(lr)

    def tensors(self):
        buffers = [
            self.muon.state[p].get("momentum_buffer") for p in self.muon.param_groups[0]["params"]
        ]
        return [*(b for b in buffers if b is not None), *self.adam.tensors()]
