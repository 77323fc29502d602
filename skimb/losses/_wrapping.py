"""What losses made of other losses share."""

import torch

from skimb.losses._base import BoundLoss, Loss
from skimb.losses.softmax import CrossEntropy


class Wrapper(Loss):
    """A loss made of others: it allows what all of them allow and needs what any of them needs."""

    def _parts(self):
        """The losses it is made of, the one that predicts first."""
        return (CrossEntropy() if self.loss is None else self.loss,)

    @property
    def tasks(self):
        """Targets that all parts accept."""
        return frozenset.intersection(*(frozenset(part.tasks) for part in self._parts()))

    @property
    def scope(self):
        """Whether a part couples rows."""
        return "batch" if any(part.scope == "batch" for part in self._parts()) else "row"

    @property
    def calibrated(self):
        """Whether the part that predicts recovers probabilities."""
        return self._parts()[0].calibrated

    @property
    def shift_invariant(self):
        """Whether a constant added to all scores leaves the part that predicts unchanged."""
        return self._parts()[0].shift_invariant

    @property
    def one_logit(self):
        """Whether two classes can share one logit in all parts."""
        return all(part.one_logit for part in self._parts())

    @property
    def one_sided(self):
        """Whether two classes play different parts in a part."""
        return any(part.one_sided for part in self._parts())

    @property
    def contract_exceptions(self):
        """Parts of the contract that a part does not keep."""
        return frozenset.union(*(frozenset(part.contract_exceptions) for part in self._parts()))


class Wrapping(BoundLoss):
    """A bound loss made of others: it requires what they require and predicts as the first one does."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)
        self.requires = frozenset.union(*(part.requires for part in parts))
        self.takes_costs = any(part.takes_costs for part in parts)

    def observe(self, logits, target, weight=None):
        for part in self.parts:
            part.observe(logits, target, weight)

    def _following(self, now):
        """This loss around the part in force `now`, in training mode if this one is."""
        return self.cached_by(now, lambda: self._with(now)).train(self.training)

    def _like_this(self, other):
        """A new bound loss with the target of this one."""
        other.task, other.n_classes, other._loss = self.task, self.n_classes, self._loss
        other.calibrated, other.shift_invariant = self.calibrated, self.shift_invariant
        return other.train(self.training)

    def decision(self, logits):
        return self.parts[0].decision(logits)

    def log_scores(self, logits):
        return self.parts[0].log_scores(logits)
