"""Backends: what turns a batch into scores, and the gradient in the scores into those of the parameters.

A backend belongs to one net or to neighbouring members of a population; it holds workspaces and knows nothing of
losses, updates and epochs.
"""

from abc import ABC, abstractmethod

import torch

from skimb.engine.optim import at_places


class Backend(ABC):
    """Forward and backward of one net or of several members."""

    #: what is offered to losses, see `skimb.losses._base.REQUIREMENTS`
    serves = frozenset({"batch", "every class", "inputs", "memory"})
    #: how a sentence calls training with this backend, and what to do instead of it
    consumer, cure = "this training", "use another loss"
    #: whether autograd must be switched on
    autograd = False
    #: the layout of a population of such nets, or None if the backend is for single nets
    layout = None
    #: whether the gradients of all parameters are there after `backward`
    whole_gradient = True
    #: whether it must know the numbers of the rows of a batch, which come in `rows`
    numbered = False
    rows = None
    #: inputs of the output layer in the last batch, of shape (..., n, h), or None
    inputs = None
    #: members of an ensemble, each with scores and a loss of its own whose mean is trained, or None
    members = None

    @abstractmethod
    def forward(self, X):
        """Scores (n, C), or (K, n, C) of several nets, without a gradient history.

        Ensembles have an axis for their members before that of the rows.
        """

    @abstractmethod
    def backward(self, d):
        """Fill the gradients of the parameters from the gradient in the scores of the last `forward`."""

    def structure(self, data):
        """What the nets of a population must have in common, or None if this net can be in none."""
        return None

    def tensors(self):
        """State tensors beside the optimiser's, for saving."""
        return []

    def settle(self):
        """Finish updates that were put off; called before predictions."""
        return None


class Layout(ABC):
    """Where the parameters of a population's members lie in one tensor, and the backends that work on it.

    Parameters
    ----------
    nets : list of EngineNet
        The members.
    data : list of TrainingData
        Their rows.
    shared : bool
        Whether all members visit the same rows in the same order.
    """

    def __init__(self, nets, data, shared):
        self.nets, self.data, self.shared = nets, data, shared

    @classmethod
    def works(cls, net, data):
        """Whether several members at once give what each gives alone."""
        return True

    @classmethod
    @abstractmethod
    def numbers(cls, net, data):
        """Numbers that each member holds."""

    @abstractmethod
    def copy(self, flat, tensors, *, back=False):
        """Move members' own flat tensors into the layout of `flat`, or back."""

    @abstractmethod
    def spread(self, flat, values):
        """One number per member as a vector like `flat`."""

    @abstractmethod
    def decayed(self, flat, values, neutral):
        """One number per member for all decayed parameters, `neutral` where others lie between.

        The vector may end where the decayed parameters end.
        """

    def matrices(self, flat, members):
        """The matrices (members, in, out) that the optimisers update on their own, as views of a tensor."""
        return at_places(flat, members, self.nets[0].step.optimizer.places)

    @abstractmethod
    def prepare(self, flat):
        """Make workspaces for the members."""

    @abstractmethod
    def backend(self, flat, grad, low, high):
        """The backend of members `low` to `high`, whose parameters and gradients are `flat` and `grad`."""

    def rates(self, lrs):
        """Take the learning rates and penalties that members have now, for updates of the layout's own."""
        return None

    def settle(self):
        """Finish updates that were put off."""
        return None

    def scatter(self):
        """Write back what members hold beside their flat tensors."""
        return None


class SideBySide(Layout):
    """Nets whose parameters lie one after the other."""

    def copy(self, flat, tensors, *, back=False):
        for joint, own in zip(flat.view(len(tensors), -1), tensors, strict=True):
            own = own.view(-1)
            target, source = (own, joint) if back else (joint, own)
            target.copy_(source)

    def spread(self, flat, values):
        v = flat.new_tensor(values)
        return v.repeat_interleave(flat.numel() // len(v))

    def decayed(self, flat, values, neutral):
        v = flat.new_tensor(values)[:, None]
        decays = self.mask(self.nets[0]).to(flat.device)
        return torch.where(decays, v, torch.full_like(v, neutral)).reshape(-1)

    @abstractmethod
    def mask(self, net):
        """Which of the parameters of a net weight decay shrinks, as a vector."""
