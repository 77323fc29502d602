"""What every classifier does with a target and with scores, held by it as one object."""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import clone

from skimb._base.labels import Labels
from skimb._core.priors import ClassPrior, class_weights, log_ratio
from skimb._core.stand_ins import Answers
from skimb._core.validation import common_positive_class
from skimb._core.warn import warn_user
from skimb.losses import CrossEntropy


@dataclass(frozen=True, eq=False)
class TargetCounts:
    """What was counted of a target so far.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,)
        Rows per class, or positive rows per label.
    mass : ndarray of shape (n_classes,)
        Their total weight.
    rows, total : float
        Rows, and their total weight.
    multilabel : bool
        Whether the entries are labels.
    """

    counts: np.ndarray
    mass: np.ndarray
    rows: float
    total: float
    multilabel: bool

    @classmethod
    def of(cls, code, sample_weight, n_classes):
        """Count class numbers (n,) or 0/1 labels (n, L)."""
        multilabel = code.ndim == 2
        known = None if multilabel else np.arange(n_classes)
        prior = ClassPrior.of(code, sample_weight, classes=known)
        total = prior.n_samples if sample_weight is None else float(sample_weight.sum())
        return cls(prior.counts, prior.prior * total, prior.n_samples, total, multilabel)

    def __add__(self, other):
        return TargetCounts(
            self.counts + other.counts,
            self.mass + other.mass,
            self.rows + other.rows,
            self.total + other.total,
            self.multilabel,
        )

    def prior(self):
        """Counts and label distribution as a `ClassPrior`."""
        if self.multilabel:
            rates = self.mass / self.total
            return ClassPrior(self.counts, prior=rates, n_samples=self.rows, multilabel=True)
        return ClassPrior(self.counts, prior=self.mass)


class HeadParams(NamedTuple):
    """Parameters of a classifier that say how its head weighs and corrects; read when a loss is bound."""

    loss: object = None
    class_weight: object = None
    prior: object = None
    class_counts: object = None
    sampler: object = None
    mix: object = None
    max_iter: int = 1

    @classmethod
    def of(cls, estimator):
        """Those that the estimator has."""
        found = {name: getattr(estimator, name) for name in cls._fields if hasattr(estimator, name)}
        return cls(**found)


class Head(Labels):
    """Classes, counts, priors, weights, decisions and probabilities of a classifier.

    :meth:`read` takes a new target; :meth:`bind` gives a further head with counts and a bound loss. A head
    that was bound does not change: what it answers rests on what it holds, on no parameter of the estimator.

    Parameters
    ----------
    owner : str
        Name of the estimator's class, for messages.

    Attributes
    ----------
    n_outputs : int
        Scores per row; 1 where two classes share a logit.
    seen : TargetCounts
        What was counted.
    loss : Loss
        A copy of the loss, as it was bound.
    bound : BoundLoss
        The bound loss.
    natural, trained : ndarray of shape (n_classes,)
        Label distribution of the rows, and that of the trained risk after sampler and mixtures.
    counts : ndarray of shape (n_classes,)
        Rows per class that the loss was told.
    class_weight : ndarray of shape (n_classes,) or (n_labels, 2), or None
        Weights of classes or label sides.
    class_prior : ClassPrior
        What the loss was bound to.
    log_shift : ndarray or None
        Log ratio of the wanted to the trained label distribution.
    """

    numeric = False
    bound = None
    #: whether binding warns; parts of an estimator that has warned itself are silent
    warns = True
    #: factors and summands (n_outputs,) of the scores that decide, set after training, or None
    rescaled = None

    # --- the bound loss, priors and weights --------------------------------------------------

    def bind(self, params, code, sample_weight, *, go_on=False):
        """A head with counts and a bound loss; with `go_on` the counts of this one are added to.

        Parameters
        ----------
        params : HeadParams
            The estimator's parameters.
        code : ndarray of shape (n,) or (n, n_labels)
            Class numbers, or 0/1 labels.
        sample_weight : ndarray of shape (n,) or None
            Weights of the rows.
        go_on : bool, default=False
            Whether training goes on; the memory of a loss of the same kind is kept.

        Returns
        -------
        Head
            A new one.
        """
        seen = TargetCounts.of(code, sample_weight, len(self.classes))
        head = self.with_counts(seen + self.seen if go_on else seen, params)
        if go_on and "memory" in head.bound.requires and self.remembers(head.bound):
            head.bound.load_state_dict(self.bound.state_dict())
        return head

    def remembers(self, bound):
        """Whether the memory of the bound loss fits that of another."""
        own, other = self.bound.state_dict(), bound.state_dict()
        return type(self.bound) is type(bound) and (
            {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in other.items()}
        )

    def with_counts(self, seen, params):
        """A head of the same classes with these counts."""
        head = copy.copy(self)
        natural, loss = seen.prior(), params.loss
        head.rescaled = None
        head.seen, head.natural = seen, natural.prior
        head.loss = CrossEntropy() if loss is None else clone(loss)
        if self.bound is None:
            head.n_outputs = self._outputs(head.loss)
        elif self.n_outputs == 1 and self._outputs(head.loss) > 1:
            raise ValueError(
                f"{self.owner} was fitted with one score for both classes, and {head.loss!r} needs one per "
                "class; fit it anew."
            )
        counts = seen.counts
        if params.class_counts is not None:
            counts = self._per_class("class_counts", params.class_counts)
        head.counts = np.asarray(counts, float)
        head.trained = self._trained(seen, natural.prior, params)
        n_samples = seen.rows if self.multilabel else None
        prior = ClassPrior(head.counts, head.trained, n_samples, self.multilabel)
        head.bound = head.loss.bind(prior)
        head.class_prior = prior
        if self.warns and not self.multilabel:
            warn_of_common_positive(head.loss, self.classes, head.counts)
        head.class_weight = head._class_weights(params.class_weight)
        head.log_shift = head._shift(params.prior)
        return head

    def _outputs(self, loss):
        two = not self.multilabel and len(self.classes) == 2
        return 1 if two and loss.one_logit else len(self.classes)

    def _trained(self, seen, natural, params):
        """Label distribution of the trained risk."""
        trained = natural
        if params.sampler is not None:
            if self.multilabel:
                raise ValueError(
                    f"sampler={params.sampler!r} draws exclusive classes; multi-label y has none. "
                    "Use sampler=None."
                )
            drawn = params.sampler.class_probabilities(
                seen.counts, params.max_iter - 1, params.max_iter
            )
            weight_of_a_row = natural / np.maximum(seen.counts, 1)
            trained = drawn * weight_of_a_row
            trained = trained / trained.sum()
        if params.mix is not None:
            trained = params.mix.label_mass(trained, seen.counts)
        return trained

    def _per_class(self, name, value):
        """An array aligned with the classes from an array or a mapping of labels."""
        known = self.classes.tolist()
        if isinstance(value, dict):
            missing = [c for c in known if c not in value]
            if missing:
                raise ValueError(f"{name}={value!r} lacks the classes {missing}.")
            value = [value[c] for c in known]
        array = np.asarray(value, float)
        if array.shape != (len(known),) or not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(
                f"{name}={value!r} must hold one non-negative number per class, {len(known)} in all."
            )
        return array

    def _class_weights(self, given):
        """Weights (C,) of classes or (L, 2) of label sides whose mean over rows is 1, or None."""
        if given is None:
            return None
        if isinstance(given, dict) and self.multilabel:
            raise ValueError(
                "class_weight as a dict names exclusive classes; for multi-label y use "
                "'balanced', 'effective' or None."
            )
        mass = self._class_mass()
        counts = mass if self.multilabel else np.maximum(self.counts, 1.0)
        return class_weights(given, self.classes.tolist(), counts, mass)

    def _class_mass(self):
        """Total weight (C,) of classes or (L, 2) of label sides, positive everywhere."""
        if self.multilabel:
            rate = np.clip(self.natural, 1e-12, 1 - 1e-12)
            return np.stack([1 - rate, rate], axis=1) * self.seen.rows
        mass, seen = self.seen.mass, self.seen.counts > 0
        return np.where(seen, mass, mass[seen].min())  # absent so far in partial_fit

    def _population(self, given):
        """Label distribution that probabilities refer to: the one given, else that of the rows."""
        if given is None:
            return self.natural
        wanted = self._per_class("prior", given)
        if not self.multilabel and abs(wanted.sum() - 1.0) > 1e-6:
            raise ValueError(f"prior={given!r} must sum to 1, got {wanted.sum()}.")
        if self.warns and not self.loss.calibrated:
            warn_user(
                f"{self.loss!r} does not give probabilities, so prior= cannot correct them; wrap "
                "the estimator in CalibratedClassifierCV."
            )
        return wanted

    def _shift(self, given):
        """Log ratio of the wanted to the trained label distribution, or None."""
        wanted, trained = self._population(given), self.trained
        if wanted is trained or np.allclose(wanted, trained, rtol=1e-12, atol=0.0):
            return None
        if self.multilabel:
            return log_ratio(np.stack([1 - wanted, wanted], 1), np.stack([1 - trained, trained], 1))
        return log_ratio(wanted, trained)

    @property
    def wanted(self):
        """Label distribution that probabilities refer to: (C,), or (L, 2) for label sides."""
        trained = self.trained
        if self.multilabel:
            trained = np.stack([1 - trained, trained], 1)
        return trained if self.log_shift is None else trained * np.exp(self.log_shift)

    def row_weights(self, code, sample_weight, *, deferred=False):
        """Weights of mean 1 from the start, and those of deferred re-weighting; None stands for ones."""
        base = None if sample_weight is None else sample_weight / sample_weight.mean()
        late = base
        if self.class_weight is not None:
            if self.multilabel:
                labels = np.arange(code.shape[1])
                late = self.class_weight[labels, code.astype(int)]
                if base is not None:
                    late = late * base[:, None]
            else:
                late = self.class_weight[code]
                late = late if base is None else late * base
        if not deferred:
            return late, None
        ones = np.ones(len(code)) if base is None else base
        if late is not None and late.ndim == 2:
            ones = np.broadcast_to(ones[:, None], late.shape).copy()
        return ones, ones if late is None else late

    def warm_loss(self):
        """A convex loss on the same target that a metric loss starts from, or None."""
        if not self.bound.requires & {"batch", "inputs", "adversary"}:
            return None
        return CrossEntropy().bind(self.class_prior)

    # --- training ----------------------------------------------------------------------------

    @property
    def couples_rows(self):
        """Whether larger batches are the better ones."""
        return "batch" in self.bound.requires

    def order_by_class(self, code, sampler):
        """What the order of rows is told of their classes."""
        if self.multilabel:
            return {}
        every = "every class" in self.bound.requires
        return {"classes": code, "sampler": sampler, "every_class": every}

    def level(self, logits, sample_weight, before):
        """Constants to add that a shift-invariant loss leaves free: mean risk equals prevalence.

        Of several classes the logarithms of their frequencies, less those that were added `before`.
        """
        if logits.ndim == 2 and not self.multilabel:
            return np.log(np.maximum(self.natural, 1e-12)) - before
        z = logits.double().numpy().reshape(len(logits), -1)
        rates = self.natural if self.multilabel else self.natural[1:]
        return np.array([_level(z[:, k], rate, sample_weight) for k, rate in enumerate(rates)])

    def attributes(self):
        """Public attributes that the estimator shows of it, by name."""
        return {
            "classes_": self.classes,
            "n_outputs_": self.n_outputs,
            "prior_": self.trained,
            "class_counts_": self.counts,
            "class_weight_": self.class_weight,
            "loss_function_": self.loss,
        }

    # --- scores ------------------------------------------------------------------------------

    def logits(self, raw):
        """Scores (n,) where two classes share a logit, else (n, n_outputs), of raw outputs (n, n_outputs)."""
        return raw[:, 0] if self.n_outputs == 1 and not self.multilabel else raw

    def decision(self, logits):
        """Scores whose argmax, or sign, is the decision: float64, (n,) for two classes."""
        return self.decision_scores(logits).double().numpy()

    def decision_scores(self, logits):
        """What :meth:`decision` gives, as a tensor."""
        if self.rescaled is not None:
            factor, summand = self.rescaled
            logits = logits * factor + summand
        z = self.bound.decision(logits)
        if not self.multilabel and len(self.classes) == 2 and z.ndim == 2:
            z = z[:, 1] - z[:, 0]
        return z

    def codes(self, scores):
        """Class numbers, or 0/1 labels, from what :meth:`decision` gives."""
        if self.multilabel or scores.ndim == 1:
            return (scores > 0).astype(int)
        return scores.argmax(axis=1)

    def labels(self, scores):
        """Labels, or 0/1 labels, from what :meth:`decision` gives."""
        codes = self.codes(scores)
        return codes if self.multilabel else self.classes[codes]

    @property
    def gives_probabilities(self):
        """Whether probabilities can be recovered from scores."""
        return self.bound.calibrated and not len(self._weightless())

    def _weightless(self):
        if self.class_weight is None or self.multilabel:
            return []
        return self.classes[self.class_weight == 0].tolist()

    def posterior(self, logits):
        """Probabilities in the wanted population, float64; raw scores of a loss that gives none."""
        return self.probabilities(logits.double()).numpy()

    def probabilities(self, logits):
        """What :meth:`posterior` gives, as a tensor."""
        if self.bound.calibrated and self._weightless():
            raise ValueError(
                f"{self.owner}: class_weight gave the classes {self._weightless()} no weight, so nothing is "
                "known of their probabilities; use predict or decision_function, or a small positive weight."
            )
        return self.bound.posterior(
            logits, class_weight=self.class_weight, log_shift=self.log_shift
        )

    def score(self, logits, code, weight=None, cost=None):
        """Negative log-loss of the natural probabilities; the negative loss where there are none."""
        if not self.gives_probabilities:
            z = logits.double()
            target = self.bound.encode(torch.from_numpy(np.ascontiguousarray(code)), z, cost)
            w = weight
            if self.bound.calibrated:
                w = self.row_weights(code, weight)[0]
            w = None if w is None else torch.from_numpy(w)
            return -float(self.bound.loss_grad(z, target, w)[0])
        p = self.posterior(logits)
        tiny = np.finfo(float).tiny
        if self.multilabel:
            losses = -np.log(np.where(code > 0, p, 1 - p).clip(tiny)).sum(1)
        else:
            losses = -np.log(p[np.arange(len(code)), code].clip(tiny))
        return -float(np.average(losses, weights=weight))

    def constant_score(self, code, weight=None):
        """Score of the constant probabilities of exclusive classes."""
        losses = -np.log(self.wanted[code].clip(np.finfo(float).tiny))
        return -float(np.average(losses, weights=weight))

    def stand_in(self, logits):
        """A fitted classifier for scorers that answers from a function giving the scores of rows."""
        return Answers(
            self.classes,
            scores=lambda X: self.decision(logits(X)),
            predictions=lambda X: self.labels(self.decision(logits(X))),
            probabilities=lambda X: self.posterior(logits(X)),
        )


def as_logits(scores):
    """Scores of any library as a tensor that a head takes."""
    return torch.from_numpy(np.ascontiguousarray(scores))


def warn_of_common_positive(loss, classes, counts):
    """Say when a loss with a positive class gets the common one of two classes as that."""
    if message := common_positive_class(loss, classes.tolist(), counts):
        warn_user(message)


def _level(z, rate, weight):
    """The constant b with weighted mean sigmoid(z + b) = rate, by bisection."""
    low, high = -z.max() - 40.0, -z.min() + 40.0
    for _ in range(100):
        b = 0.5 * (low + high)
        mean = np.average(expit(z + b), weights=weight)
        low, high = (b, high) if mean < rate else (low, b)
    return b
