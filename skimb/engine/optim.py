"""Update rules over few large tensors, and the lean optimisers that hold them.

A rule moves flat tensors by their gradients, of one net or of the neighbouring members of a population. The
optimisers are `torch.optim.Optimizer` by type, so that skorch and learning-rate schedulers accept them, but
never call its constructor: that imports ``torch._dynamo``, a second or more in every fresh process.
"""

import math
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
    if grads.is_cpu and float(lengths.max()) + 1e-6 <= max_norm:
        return  # most steps
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
            *self.state[:2],
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


def orthogonalised(matrices):
    """Matrices whose singular values are near 1, by Newton-Schulz steps; zeros stay zeros.

    ``X <- 3.4445 X - 4.775 (X X') X + 2.0315 (X X')^2 X`` from ``X / ||X||_F``, five times: what is above a
    hundredth of that norm comes between 0.68 and 1.2. On CUDA in bfloat16, as ``torch.optim.Muon``; on the CPU in
    the type of the matrices, which is faster there and turns no rounding into directions.

    Parameters
    ----------
    matrices : Tensor of shape (K, in, out)
        Any matrices.

    Returns
    -------
    Tensor of shape (K, in, out)
        Matrices.
    """
    X = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = X.shape[1] > X.shape[2]
    X = X.mT if tall else X
    X = X / X.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(5):
        gram = torch.bmm(X, X.mT)
        gram = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        X = torch.baddbmm(X, gram, X, beta=3.4445)
    return X.mT if tall else X


def at_places(tensor, members, places):
    """Matrices (members, in, out) of members whose flat tensors lie one after the other.

    Parameters
    ----------
    tensor : Tensor
        All of them.
    members : int
        Members.
    places : list of (int, int, int)
        First number in a member's tensor, rows and columns of each matrix.
    """
    rows = tensor.view(members, -1)
    return [rows[:, o : o + a * b].view(members, a, b) for o, a, b in places]


class MuonRule(AdamRule):
    """Muon for some matrices, Adam for all other parameters, in one pass.

    The matrices follow their orthogonalised Nesterov momentum, scaled to the size of Adam's steps:
    ``M <- mu M + (1 - mu) G`` and ``W <- W - 0.2 lr sqrt(max(in, out)) NS(mu M + (1 - mu) G)``. Then their
    gradients are zero, so that the fused call of Adam leaves them.

    Parameters
    ----------
    values, grads, betas, eps, state, clocks
        As for `AdamRule`; the third list of the state holds the momentum.
    momentum : float
        mu.
    cuts : sequence of list of Tensor of shape (K, in, out)
        The matrices as views of values, gradients, scratch and momentum.
    """

    slots = 3

    def __init__(self, values, grads, betas, eps, momentum, cuts, state=None, clocks=None):
        super().__init__(values, grads, betas, eps, state, clocks)
        self.momentum, self.cuts = momentum, cuts

    def update(self, lr, scratch=None):
        values, grads, steps, buffers = self.cuts
        directions = []
        for g, m in zip(grads, buffers, strict=True):
            m.lerp_(g, 1 - self.momentum)
            directions.append(orthogonalised(g.lerp(m, self.momentum)))
            g.zero_()
        super().update(lr, scratch)
        for target, direction in zip(values if scratch is None else steps, directions, strict=True):
            size = 0.2 * math.sqrt(max(target.shape[1:]))
            target.add_(direction, alpha=-(lr if scratch is None else 1.0) * size)


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
    #: first number, rows and columns of the matrices of the one parameter that have an update of their own
    places = ()

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

    def joint_rule(self, values, grads, state, clocks, cuts=()):
        """The rule over tensors of several members, whose matrices at the `places` are the `cuts`."""
        return AdamRule(values, grads, self.betas, self.eps, state, clocks)


class SGD(LeanOptimizer):
    """Stochastic gradient descent with (Nesterov) momentum, in scikit-learn's form."""

    def __init__(self, params, momentum=0.9, nesterov=True, **kw):
        super().__init__(params, **kw)
        self.momentum, self.nesterov = momentum, nesterov
        self.rule = SGDRule(self.values, self.grads, momentum, nesterov)

    def key(self):
        return ("sgd", self.momentum, self.nesterov, self.max_norm)

    def joint_rule(self, values, grads, state, clocks, cuts=()):
        """The rule over tensors of several members, whose matrices at the `places` are the `cuts`."""
        return SGDRule(values, grads, self.momentum, self.nesterov, state)


class Muon(LeanOptimizer):
    """Muon (Jordan et al. 2024, as in ``torch.optim.Muon``) for some matrices, Adam for all other parameters.

    Parameters
    ----------
    params : iterable of Tensor
        Parameters; the matrices lie in the first one.
    places : list of (int, int, int)
        First number, rows and columns of each matrix.
    betas, eps
        As for `Adam`.
    momentum : float, default=0.95
        Momentum of the matrices.
    """

    def __init__(self, params, places, betas=(0.9, 0.999), eps=1e-8, momentum=0.95, **kw):
        super().__init__(params, **kw)
        self.places, self.betas, self.eps, self.momentum = places, betas, eps, momentum
        state = [[torch.zeros_like(v) for v in self.values] for _ in range(MuonRule.slots)]
        value, grad, buffer = (
            at_places(t, 1, places) for t in (self.values[0], self.grads[0], state[-1][0])
        )
        cuts = value, grad, None, buffer
        self.rule = MuonRule(self.values, self.grads, betas, eps, momentum, cuts, state)

    def key(self):
        clock = float(self.rule.clocks[0])
        return ("muon", self.betas, self.eps, self.momentum, self.places, self.max_norm, clock)

    def joint_rule(self, values, grads, state, clocks, cuts=()):
        """The rule over tensors of several members, whose matrices at the `places` are the `cuts`."""
        own = values, grads, self.betas, self.eps, self.momentum
        return MuonRule(*own, [*cuts[:3], cuts[-1]], state, clocks)
