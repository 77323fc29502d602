"""The loss of slots, bound to a number of slots and to embeddings of labels."""

import numpy as np
import torch

from skimb._base.head import Head
from skimb._core.warn import warn_user
from skimb.functional import _closed_form as cf
from skimb.functional.sets import matching_rows, transport_rows
from skimb.losses import BoundLoss, Loss, Target
from skimb.losses._base import one_hot

_MOST_SLOTS = 16
_DIMENSIONS = 30  # of label embeddings


class SetBound(BoundLoss):
    """Scores (..., n, n_slots * (L + 1)) of slots against sets of labels, or against one class."""

    def __init__(self, n_slots, empty_weight, ot_weight, embeddings, epsilon, n_iter):
        super().__init__()
        self.n_slots, self.empty_weight, self.ot_weight = n_slots, empty_weight, ot_weight
        self.embeddings, self.epsilon, self.n_iter = embeddings, epsilon, n_iter

    def encode(self, target, logits, cost=None):
        """Signs of labels, or of classes as labels."""
        if cost is not None:
            raise TypeError("SetPredictionClassifier takes no costs of rows.")
        if self.task != "multilabel":
            target = one_hot(target.long(), logits.new_empty(len(target), self.n_classes))
        return Target(cf.signs(target, logits))

    def slots(self, logits):
        """Scores of each slot, (..., n, n_slots, L + 1)."""
        return logits.unflatten(-1, (self.n_slots, -1))

    def loss_grad(self, logits, target, weight=None, total=None):
        z, positive = self.slots(logits), target.code > 0
        value, grad = matching_rows(z, positive, weight, self.empty_weight)
        if self.ot_weight:
            E = self.cached(z, "embeddings", lambda: torch.as_tensor(self.embeddings).to(z))
            p = torch.softmax(z, -1)
            rows = p.flatten(0, -3), positive.flatten(0, -2)
            each, slope = transport_rows(*rows, E, self.epsilon, self.n_iter)
            each, slope = each.view(z.shape[:-2]), slope.view(z.shape)
            share = torch.ones_like(each) if weight is None else weight
            share = share / share.sum(-1, keepdim=True)
            value = value + self.ot_weight * (share * each).sum(-1)
            slope = p * (slope - (p * slope).sum(-1, keepdim=True))
            grad = grad + self.ot_weight * share[..., None, None] * slope
        return value, grad.flatten(-2)

    def decision(self, logits):
        """By how much a label leads in the slot where it leads most; of exclusive classes the scores."""
        z = self.slots(logits)
        if self.task != "multilabel":
            return z[..., 0, :-1]
        top, place = z.topk(2, -1)
        rest = top[..., :1].expand_as(z).scatter(-1, place[..., :1], top[..., 1:])
        return (z - rest)[..., :-1].amax(-2)

    def posterior(self, logits, class_weight=None, log_shift=None):
        """Probability that some slot holds a label, as if slots were independent; or that of a class."""
        z = self.slots(logits)
        if self.task != "multilabel":
            return torch.softmax(z[..., 0, :-1], -1)
        others = torch.log1p(-torch.softmax(z, -1)[..., :-1].clamp_max(1.0 - 1e-16))
        return -torch.expm1(others.sum(-2))


class SetMatching(Loss):
    """The parameters of `SetBound`."""

    calibrated = False
    one_logit = False

    def __init__(self, n_slots, empty_weight, ot_weight, embeddings, epsilon, n_iter):
        self.n_slots = n_slots
        self.empty_weight = empty_weight
        self.ot_weight = ot_weight
        self.embeddings = embeddings
        self.epsilon = epsilon
        self.n_iter = n_iter

    def _bind(self, prior):
        return SetBound(**self.get_params(deep=False))


class SetHead(Head):
    """A head whose scores are those of slots; training that goes on keeps slots and embeddings."""

    #: parameters of the loss, without what follows from the labels
    settings: dict = {}

    def bind(self, params, code, sample_weight, *, go_on=False):
        """A head with counts and a bound loss."""
        loss = self.loss if self.bound is not None else self._loss(code)
        return super().bind(params._replace(loss=loss), code, sample_weight, go_on=go_on)

    def _loss(self, code):
        settings = dict(self.settings)
        labels = code.sum(1).astype(int) if self.multilabel else np.ones(len(code), int)
        given = settings.pop("n_slots")
        if not self.multilabel:
            n_slots = 1
        elif given == "auto":
            n_slots = int(np.clip(np.ceil(np.quantile(labels, 0.98)), 1, _MOST_SLOTS))
        else:
            n_slots = given
        self.n_truncated = int((labels > n_slots).sum())
        if self.n_truncated and given != "auto" and self.warns:
            warn_user(
                f"{self.owner}: {self.n_truncated} rows have more labels than n_slots={n_slots}, up to "
                f"{labels.max()}; those that fit least are dropped in training."
            )
        embeddings = settings.pop("label_embeddings")
        if not settings["ot_weight"]:
            embeddings = None
        elif isinstance(embeddings, str):
            embeddings = cooccurrence(code if self.multilabel else np.eye(len(self.classes))[code])
        else:
            embeddings = np.asarray(embeddings, float)
            if embeddings.ndim != 2 or len(embeddings) != len(self.classes):
                raise ValueError(
                    f"label_embeddings of shape {embeddings.shape} must have one row per label, "
                    f"{len(self.classes)} in all."
                )
            embeddings = unit_rows(embeddings)
        return SetMatching(n_slots=n_slots, embeddings=embeddings, **settings)

    def _outputs(self, loss):
        return loss.n_slots * (len(self.classes) + 1)

    def attributes(self):
        """Public attributes that the estimator shows of it, by name."""
        shown = super().attributes()
        del shown["loss_function_"], shown["class_weight_"]
        return {**shown, "n_slots_": self.loss.n_slots, "n_truncated_": self.n_truncated}


def cooccurrence(labels):
    """Embeddings of labels whose products approach the counts of their co-occurrence, of length 1."""
    values, vectors = np.linalg.eigh(labels.T @ labels)
    kept = slice(-_DIMENSIONS, None)
    return unit_rows(vectors[:, kept] * np.sqrt(values[kept].clip(0.0)))


def unit_rows(embeddings):
    """Rows divided by their lengths; rows of zeros stay."""
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(length > 1e-12, length, 1.0)
