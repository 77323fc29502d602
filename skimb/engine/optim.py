"""Update rules over few large tensors, and the lean optimisers that hold them.

A rule moves flat tensors by their gradients, of one net or of the neighbouring members of a population. The
optimisers are `torch.optim.Optimizer` by type, so that skorch and learning-rate schedulers accept them, but
never call its constructor: that imports ``torch._dynamo``, a second or more in every fresh process.
"""

from abc import ABC, abstractmethod

import torch


def penalise(decayed, l2, kept):
    """Add an L2 penalty to gradients and shrink weights, in place.

    Parameters
    ----------
    decayed : list of (Tensor, Tensor)
        Weights and their gradients.
    l2 : float or Tensor
        Strength, 0 for none; a tensor has a value for each weight.
    kept : float or Tensor
        Factor of decoupled weight decay, 1 for none.
    """
    if torch.is_tensor(l2):
        for p, g in decayed:
            g.addcmul_(l2, p)
    elif l2:
        for p, g in decayed:
            g.add_(p, alpha=l2)
    if torch.is_tensor(kept) or kept != 1.0:
        for p, _ in decayed:
            p.mul_(kept)


def clip(grads, max_norm):
    """Shorten gradients, in place.

    Parameters
    ----------
    grads : Tensor of shape (nets, n)
        Gradients of nets that share nothing.
    max_norm : float
        Length that each may have.
    """
    lengths = torch.linalg.vector_norm(grads, dim=1, keepdim=True)
    grads.mul_((max_norm / (lengths + 1e-6)).clamp_(max=1.0))


class Rule(ABC):
    """How tensors move by their gradients.

    Parameters
    ----------
    values, grads : list of Tensor
        What moves, and the gradients.
    state : list of list of Tensor
        One tensor like each value in each list.
    """

    #: number of state tensors like each value
    slots = 0
    #: tensors that count the steps
    clocks = ()

    def __init__(self, values, grads, state=None):
        self.values, self.grads = values, grads
        if state is None:
            state = [[torch.zeros_like(v) for v in values] for _ in range(self.slots)]
        self.state = state

    @abstractmethod
    def update(self, lr, scratch=None):
        """Move the values; with one value `lr` may be a tensor like it, then `scratch` is one too."""

    def tensors(self):
        """State tensors, in a fixed order, for saving."""
        return [t for slot in self.state for t in slot]


class AdamRule(Rule):
    """Adam in one fused call, arXiv:1412.6980.

    Parameters
    ----------
    values, grads : list of Tensor
        What moves, and the gradients.
    betas : tuple of float
        Decay of both moments.
    eps : float
        Added to the root of the second moment.
    state : list of list of Tensor, default=None
        Both moments of each value; ``None`` starts from zero.
    clocks : list of Tensor, default=None
        Steps made so far with each value.
    """

    slots = 2

    def __init__(self, values, grads, betas, eps, state=None, clocks=None):
        super().__init__(values, grads, state)
        self.betas, self.eps = betas, eps
        if clocks is None:
            clocks = [torch.zeros((), device=v.device) for v in values]
        self.clocks = clocks
        # counting through numpy costs a tenth of an operation of torch
        on_cpu = all(t.device.type == "cpu" for t in clocks)
        self.counters = [t.numpy() for t in clocks] if on_cpu else None

    def update(self, lr, scratch=None):
        if self.counters is None:
            torch._foreach_add_(self.clocks, 1)
        else:
            for counter in self.counters:
                counter += 1.0
        if scratch is not None:  # the fused call knows one rate: it writes steps of rate 1
            for part in scratch:
                part.zero_()
        torch._fused_adam_(
            self.values if scratch is None else scratch,
            self.grads,
            *self.state,
            [],
            self.clocks,
            lr=lr if scratch is None else 1.0,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self):
        return [*super().tensors(), *self.clocks]


class SGDRule(Rule):
    """Stochastic gradient descent with (Nesterov) momentum, in scikit-learn's form.

    Parameters
    ----------
    values, grads : list of Tensor
        What moves, and the gradients.
    momentum : float
        Share of the velocity that stays.
    nesterov : bool
        Whether the gradient enters after the velocity too.
    state : list of list of Tensor, default=None
        Velocity of each value.
    """

    slots = 1

    def __init__(self, values, grads, momentum, nesterov, state=None):
        super().__init__(values, grads, state)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, lr, scratch=None):
        for p, g, v in zip(self.values, self.grads, self.state[0], strict=True):
            v.mul_(self.momentum)
            _descend(v, g, lr)
            if self.nesterov:
                p.add_(v, alpha=self.momentum)
                _descend(p, g, lr)
            else:
                p.add_(v)


def _descend(p, g, lr):
    if torch.is_tensor(lr):
        p.sub_(g * lr)
    else:
        p.add_(g, alpha=-lr)


class LeanOptimizer(torch.optim.Optimizer):
    """Base of the lean optimisers: a rule, parameter groups, penalties, state as a plain list.

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
    max_norm : float, default=None
        Length that the gradient may have; each row of the one parameter has its own. ``None`` clips nothing.
    """

    #: the rule, which populations may apply to many members at once, or None
    rule = None

    def __init__(self, params, lr=1e-3, l2=0.0, decay=0.0, decayed=(), max_norm=None):
        params = [p for p in params if torch.is_tensor(p)] or list(params)
        self.defaults = {"lr": lr}
        self.state = {}
        self.param_groups = [{"params": params, "lr": lr}]
        self.l2 = l2
        self.decay = decay
        self.decayed = list(decayed)
        self.max_norm = max_norm
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
        """Clip gradients, apply penalties and make one update in place."""
        lr = self.param_groups[0]["lr"]
        if self.max_norm is not None:
            clip(self.grads[0], self.max_norm)
        if self.l2 or self.decay:
            penalise(self.decayed, self.l2, 1.0 - lr * self.decay)
        self.update(lr)

    def update(self, lr):
        """One update of the values from the gradients."""
        self.rule.update(lr)

    def tensors(self):
        """State tensors, in a fixed order, for saving."""
        return self.rule.tensors()

    def key(self):
        """What members of a population must have in common, or None if the rule is for single nets."""
        return None

    def state_dict(self):
        """State as tensors and the learning rate."""
        return {"tensors": [t.clone() for t in self.tensors()], "lr": self.lr}

    def load_state_dict(self, state_dict):
        """Restore what :meth:`state_dict` gave."""
        for own, saved in zip(self.tensors(), state_dict["tensors"], strict=True):
            own.copy_(saved)
        self.lr = state_dict["lr"]


class Adam(LeanOptimizer):
    """Adam (arXiv:1412.6980); with `decay` it is AdamW (arXiv:1711.05101)."""

    def __init__(self, params, betas=(0.9, 0.999), eps=1e-8, **kw):
        super().__init__(params, **kw)
        self.betas, self.eps = betas, eps
        self.rule = AdamRule(self.values, self.grads, betas, eps)

    def key(self):
        clock = float(self.rule.clocks[0])  # one for all
        return ("adam", self.betas, self.eps, self.max_norm, clock)

    def joint_rule(self, values, grads, state, clocks):
        """The rule over tensors of several members."""
        return AdamRule(values, grads, self.betas, self.eps, state, clocks)


class SGD(LeanOptimizer):
    """Stochastic gradient descent with (Nesterov) momentum, in scikit-learn's form."""

    def __init__(self, params, momentum=0.9, nesterov=True, **kw):
        super().__init__(params, **kw)
        self.momentum, self.nesterov = momentum, nesterov
        self.rule = SGDRule(self.values, self.grads, momentum, nesterov)

    def key(self):
        return ("sgd", self.momentum, self.nesterov, self.max_norm)

    def joint_rule(self, values, grads, state, clocks):
        """The rule over tensors of several members."""
        return SGDRule(values, grads, self.momentum, self.nesterov, state)


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
