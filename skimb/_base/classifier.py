"""Targets, weights, priors, decisions and probabilities of classifiers."""

import warnings

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import ClassifierMixin, _fit_context, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from skimb._base.estimator import NeuralBase, stochastic
from skimb._core.compat import with_callbacks
from skimb._core.priors import ClassPrior, class_weights, log_ratio
from skimb._core.validation import common_positive_class, row_costs
from skimb.engine.mixing import Mixing
from skimb.losses import CrossEntropy
from skimb.losses._base import check_served


class NeuralClassifier(ClassifierMixin, NeuralBase):
    """Base of the classifiers: binary, multi-class and multi-label."""

    _undoes_class_weight = True  # predict_proba answers for the population as it is

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, cost=None):
        """Fit to labelled rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows; sparse input is never made dense as a whole.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row, an integer repeats it.
        cost : array-like of shape (n_samples, n_classes), default=None
            With ``loss=ExpectedCost()``, the cost of deciding for each class in each row, in place of
            the loss's own matrix; for two classes also four columns: the costs of a false positive, a
            false negative, a true positive and a true negative.

        Returns
        -------
        NeuralClassifier
            Itself.
        """
        return self._fit(X, y, sample_weight, cost=cost)

    @available_if(stochastic)
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None, cost=None):
        """Train one epoch on these rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        classes : array-like, default=None
            All classes; needed in the first call if `y` lacks some.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        cost : array-like of shape (n_samples, n_classes), default=None
            Costs of rows, as in :meth:`fit`.

        Returns
        -------
        NeuralClassifier
            Itself.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes, cost=cost)

    # --- targets -----------------------------------------------------------------------------

    def _encode_target(self, y, classes, first, incremental):
        check_classification_targets(y)
        multilabel = y.ndim == 2 and y.shape[1] > 1
        if multilabel:
            if type_of_target(y) != "multilabel-indicator":
                raise ValueError(
                    f"{type(self).__name__}: a y of shape {y.shape} must be a 0/1 indicator matrix "
                    f"(multi-label), got {type_of_target(y)!r}; multi-output targets need one "
                    "classifier per output."
                )
            n_labels = y.shape[1]
            if not first and (not self._multilabel or n_labels != len(self.classes_)):
                raise ValueError(
                    f"{type(self).__name__} was fitted on {len(self.classes_)} classes, y has "
                    f"{n_labels} labels."
                )
            if first:
                self._multilabel = True
                self.classes_ = np.arange(n_labels)
                self.n_outputs_ = n_labels
            return y.astype(np.float64)
        y = column_or_1d(y, warn=True)
        found = np.unique(y)
        if first:
            known = found if classes is None else np.unique(classes)
        else:
            known = self.classes_
            if classes is not None and not np.array_equal(np.unique(classes), known):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                    f"{known!r}"
                )
            if self._multilabel:
                raise ValueError(
                    f"{type(self).__name__} was fitted on {len(known)} labels, y has one column."
                )
            if not incremental and not np.array_equal(found, known):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the "
                    f"previous call to fit. Previously got {known}, `y` has {found}"
                )
        unknown = np.setdiff1d(found, known)
        if len(unknown):
            raise ValueError(
                f"{type(self).__name__}: y holds labels {unknown.tolist()} that are not among the "
                f"classes {known.tolist()}."
            )
        if len(known) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, y holds only one class: "
                f"{known.tolist()}. Rows of sample_weight 0 do not count."
            )
        if first:
            self._multilabel = False
            self.classes_ = known
            self.n_outputs_ = self._n_outputs()
        return np.searchsorted(known, y)

    def _n_outputs(self):
        if not self._multilabel and len(self.classes_) == 2 and self._loss().one_logit:
            return 1
        return len(self.classes_)

    def _take_checks(self, other):
        super()._take_checks(other)
        self._multilabel, self.classes_ = other._multilabel, other.classes_
        self.n_outputs_ = self._n_outputs()

    def _check_cost(self, cost, code):
        if cost is None:
            return None
        costs = row_costs(cost, code, self.classes_)
        if costs is None:
            raise ValueError(
                f"{type(self).__name__}: cost must have shape ({len(code)}, {len(self.classes_)}), one column per "
                f"class of {self.classes_.tolist()}, got {np.shape(cost)}; multi-label y takes no costs."
            )
        return costs

    def _loss(self):
        return CrossEntropy() if self.loss is None else self.loss

    def _stratify(self, code):
        if code.ndim == 2:
            return None
        return code.astype(bool).astype(str) if len(self.classes_) == 2 else code

    def _counts_by_label(self, code):
        if code.ndim == 2:
            return code.sum(0).astype(int).tolist()
        counts = np.bincount(code, minlength=len(self.classes_))
        return dict(zip(self.classes_.tolist(), counts.tolist(), strict=True))

    def _one_logit(self, bound):
        return self.n_outputs_ == 1

    # --- priors and weights ------------------------------------------------------------------

    def _bind_loss(self, code, sample_weight, incremental):
        if self._multilabel:
            seen = ClassPrior.of(code, sample_weight)
        else:
            seen = ClassPrior.of(code, sample_weight, classes=np.arange(len(self.classes_)))
        counts, rows = seen.counts, seen.n_samples
        total = rows if sample_weight is None else float(sample_weight.sum())
        mass = seen.prior * total
        if incremental:
            counts = counts + self._seen["counts"]
            mass = mass + self._seen["mass"]
            rows = rows + self._seen["rows"]
            total = total + self._seen["total"]
        self._seen = {"counts": counts, "mass": mass, "rows": rows, "total": total}
        bound = self._rebind()
        if incremental and "memory" in bound.requires:
            bound.load_state_dict(self._bound.state_dict())
        return bound

    def _rebind(self):
        """Bind the loss to the counts and the label distribution seen so far."""
        counts, mass, rows = (self._seen[k] for k in ("counts", "mass", "rows"))
        if self._multilabel:
            rates = mass / self._seen["total"]
            natural = ClassPrior(counts, prior=rates, n_samples=rows, multilabel=True)
        else:
            natural = ClassPrior(counts, prior=mass)
        self._natural = natural.prior
        if self.class_counts is not None:
            counts = self._per_class("class_counts", self.class_counts)
        trained = natural.prior
        if self.sampler is not None:
            if self._multilabel:
                raise ValueError(
                    f"sampler={self.sampler!r} draws exclusive classes; multi-label y has none. "
                    "Use sampler=None."
                )
            drawn = self.sampler.class_probabilities(
                self._seen["counts"], self.max_iter - 1, self.max_iter
            )
            weight_of_a_row = natural.prior / np.maximum(self._seen["counts"], 1)
            trained = drawn * weight_of_a_row
            trained = trained / trained.sum()
        if self.mix is not None:
            trained = self.mix.label_mass(trained, self._seen["counts"])
        self.prior_ = trained
        self.class_counts_ = np.asarray(counts, float)
        loss = clone(self._loss())
        bound = loss.bind(self._class_prior())
        self.loss_function_ = loss
        self._check_positive_class(loss)
        self.class_weight_ = self._class_weights()
        self._log_shift = self._shift(loss)
        return bound

    def _check_positive_class(self, loss):
        """Say when a loss with a positive class gets the common class as that."""
        if self._multilabel:
            return
        message = common_positive_class(loss, self.classes_.tolist(), self._seen["counts"])
        if message:
            warnings.warn(message, stacklevel=7)

    def _class_prior(self):
        if self._multilabel:
            rows = self._seen["rows"]
            return ClassPrior(self.class_counts_, self.prior_, n_samples=rows, multilabel=True)
        return ClassPrior(self.class_counts_, self.prior_)

    def _warm(self):
        loss = self._loss()
        if not loss.bind(self._class_prior()).requires & {"batch", "inputs"}:
            return None
        return CrossEntropy().bind(self._class_prior())

    def _per_class(self, name, value):
        """An array aligned with ``classes_`` from an array or a mapping of labels."""
        if isinstance(value, dict):
            missing = [c for c in self.classes_.tolist() if c not in value]
            if missing:
                raise ValueError(f"{name}={value!r} lacks the classes {missing}.")
            value = [value[c] for c in self.classes_.tolist()]
        array = np.asarray(value, float)
        if (
            array.shape != (len(self.classes_),)
            or not np.isfinite(array).all()
            or (array < 0).any()
        ):
            raise ValueError(
                f"{name}={value!r} must hold one non-negative number per class, "
                f"{len(self.classes_)} in all."
            )
        return array

    def _class_weights(self):
        """Weights (C,) of classes or (L, 2) of label sides whose mean over rows is 1, or None."""
        given = self.class_weight
        if given is None:
            return None
        if isinstance(given, dict) and self._multilabel:
            raise ValueError(
                "class_weight as a dict names exclusive classes; for multi-label y use "
                "'balanced', 'effective' or None."
            )
        mass = self._class_mass()
        counts = mass if self._multilabel else np.maximum(self.class_counts_, 1.0)
        return class_weights(given, self.classes_.tolist(), counts, mass)

    def _class_mass(self):
        """Total weight (C,) of classes or (L, 2) of label sides, positive everywhere."""
        if self._multilabel:
            rate = np.clip(self._natural, 1e-12, 1 - 1e-12)
            return np.stack([1 - rate, rate], axis=1) * self._seen["rows"]
        mass, seen = self._seen["mass"], self._seen["counts"] > 0
        return np.where(seen, mass, mass[seen].min())  # absent so far in partial_fit

    def _row_weights(self, code, sample_weight):
        base = None if sample_weight is None else sample_weight / sample_weight.mean()
        late = base
        if self.class_weight_ is not None:
            if self._multilabel:
                labels = np.arange(code.shape[1])
                late = self.class_weight_[labels, code.astype(int)]
                if base is not None:
                    late = late * base[:, None]
            else:
                late = self.class_weight_[code]
                late = late if base is None else late * base
        if self.deferred_reweighting is None:
            return late, None
        ones = np.ones(len(code)) if base is None else base
        if late is not None and late.ndim == 2:
            ones = np.broadcast_to(ones[:, None], late.shape).copy()
        return ones, ones if late is None else late

    def _shift(self, loss):
        """Log ratio of the wanted to the trained label distribution, or None."""
        wanted = self._natural
        if self.prior is not None:
            wanted = self._per_class("prior", self.prior)
            if not self._multilabel and abs(wanted.sum() - 1.0) > 1e-6:
                raise ValueError(f"prior={self.prior!r} must sum to 1, got {wanted.sum()}.")
            if not loss.calibrated:
                warnings.warn(
                    f"{loss!r} does not give probabilities, so prior= cannot correct them; wrap "
                    "the estimator in CalibratedClassifierCV.",
                    stacklevel=7,
                )
        trained = self.prior_
        if wanted is trained or np.allclose(wanted, trained, rtol=1e-12, atol=0.0):
            return None
        if self._multilabel:
            return log_ratio(np.stack([1 - wanted, wanted], 1), np.stack([1 - trained, trained], 1))
        return log_ratio(wanted, trained)

    def _check_solver_params(self):
        if not self._full_batch():
            return
        for name in ("sampler", "mix", "deferred_reweighting"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"solver='lbfgs' sees all rows at once, so {name}={getattr(self, name)!r} has "
                    "nothing to act on; use a stochastic solver or class_weight."
                )

    def _schemes(self, bound, module, data, seed):
        if self.mix is None:
            return super()._schemes(bound, module, data, seed)
        wrong = None
        if self._multilabel:
            wrong = "mixes exclusive classes; multi-label y has none. Use mix=None"
        elif data.sparse:
            wrong = "would make sparse X dense. Reduce it first, for instance by TruncatedSVD"
        if wrong is not None:
            raise ValueError(f"mix={self.mix!r} {wrong}.")
        consumer = f"mix={self.mix!r}"
        check_served(bound, frozenset({"every class"}), consumer, "use a loss of single rows")
        mixing = Mixing(self.mix, data, self._seen["counts"], seed)
        return [mixing, *super()._schemes(bound, module, data, seed)]

    # --- batches -----------------------------------------------------------------------------

    def _batch_coupled(self, bound):
        return "batch" in bound.requires

    def _order_by_class(self, code, bound):
        if self._multilabel:
            return {}
        return {
            "classes": code,
            "sampler": self.sampler,
            "every_class": "every class" in bound.requires,
        }

    # --- predictions -------------------------------------------------------------------------

    def _logits(self, X):
        z = self._raw(X)
        return z[:, 0] if self.n_outputs_ == 1 and not self._multilabel else z

    def decision_function(self, X):
        """Scores whose argmax is ``predict``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Score of the second class for two classes (positive means predicted), one score per
            class or label otherwise.
        """
        return self._decision(self._logits(self._check_X(X)))

    def _decision(self, logits):
        z = self._bound.decision(logits)
        if not self._multilabel and len(self.classes_) == 2 and z.ndim == 2:
            z = z[:, 1] - z[:, 0]
        return z.double().numpy()

    def predict(self, X):
        """Classes, by the decision the loss aims at.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        """
        codes = self._decide(self.decision_function(X))
        return codes if self._multilabel else self.classes_[codes]

    def _decide(self, scores):
        """Codes of classes, or 0/1 labels, from scores."""
        if self._multilabel or scores.ndim == 1:
            return (scores > 0).astype(int)
        return scores.argmax(axis=1)

    def predict_proba(self, X):
        """Class probabilities in the population the estimator was trained on.

        The loss is inverted in closed form; class weights and weighted sampling are undone; ``prior``
        moves the result to another label distribution. Losses with ``calibrated`` False give
        uncorrected scores.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities, float64.
        """
        return self._posterior(self._logits(self._check_X(X)))

    def _posterior(self, logits):
        p = self._bound.posterior(
            logits.double(), class_weight=self.class_weight_, log_shift=self._log_shift
        )
        return p.numpy()

    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Log probabilities.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _default_score(self, X, y, code, weight, cost=None):
        """Negative log-loss of the natural probabilities; the loss itself where there are none."""
        if not self._bound.calibrated:
            z = self._logits(X).double()
            target = torch.from_numpy(np.ascontiguousarray(code))
            w = None if weight is None else torch.from_numpy(weight)
            return -float(self._bound.loss_grad(z, self._bound.encode(target, z, cost), w)[0])
        p = self._posterior(self._logits(X))
        tiny = np.finfo(float).tiny
        if self._multilabel:
            rows = -np.log(np.where(code > 0, p, 1 - p).clip(tiny)).sum(1)
        else:
            rows = -np.log(p[np.arange(len(code)), code].clip(tiny))
        return -float(np.average(rows, weights=weight))

    def _after_training(self, data, sample_weight):
        """Fit the intercept that a shift-invariant loss leaves free: mean risk equals prevalence."""
        if not self._bound.shift_invariant:
            return
        if self.n_outputs_ == 1 or self._multilabel:
            X = data.X if self._sparse else data.X.detach().cpu().numpy()
            z = self._raw(X).double().numpy()
            rates = self._natural if self._multilabel else self._natural[1:]
            shift = np.array([_level(z[:, k], rate, sample_weight) for k, rate in enumerate(rates)])
            self._add_to_output(shift)
        else:
            self._add_to_output(np.log(np.maximum(self._natural, 1e-12)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _level(z, rate, weight):
    """The constant b with weighted mean sigmoid(z + b) = rate, by bisection."""
    low, high = -z.max() - 40.0, -z.min() + 40.0
    for _ in range(100):
        b = 0.5 * (low + high)
        mean = np.average(expit(z + b), weights=weight)
        low, high = (b, high) if mean < rate else (low, b)
    return b
