"""Class counts and priors: two different objects, computed once from the training target.

``counts`` is *information*: how many distinct rows stand behind a class. Margins (LDAM), effective
numbers and the multiplicative terms of VS read it. ``prior`` is the label distribution *of the risk
that is minimised*: rows seen by the loss, with sample weights and any weighted batch sampler.
Logit adjustment reads it. They differ as soon as rows are weighted or resampled.
"""

from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from skimb._core.compat import balance_counts_weights, compute_class_weight
from skimb._core.validation import plain_labels


@dataclass(frozen=True, eq=False)
class ClassPrior:
    """Class counts and label distribution of a training target.

    Parameters
    ----------
    counts : array-like of shape (n_classes,)
        Rows per class, at least 0. For multi-label targets: positive rows per label.
    prior : array-like of shape (n_classes,), default=None
        Label distribution of the minimised risk, non-negative. ``None`` means ``counts``
        normalised. For multi-label targets: the rate of each label, in [0, 1].
    n_samples : float, default=None
        Number of rows; only needed for multi-label targets, where it turns counts into rates.
    multilabel : bool, default=False
        Whether the entries are labels that may hold together rather than exclusive classes.
    classes : array-like of shape (n_classes,), default=None
        Labels of the classes; losses do not read them.

    Raises
    ------
    ValueError
        If an array is not one-dimensional, negative, not finite or of the wrong length.

    Notes
    -----
    A class without rows keeps a floor of one row in :meth:`log_prior` and in ``floored_counts``,
    so that no logarithm of zero can reach a loss. Shares that are positive stand as they are.

    Examples
    --------
    >>> from skimb.losses import ClassPrior
    >>> prior = ClassPrior(counts=[90, 10])
    >>> prior.prior.tolist()
    [0.9, 0.1]
    >>> float(prior.imbalance_ratio)
    9.0
    """

    counts: np.ndarray
    prior: np.ndarray | None = None
    n_samples: float | None = None
    multilabel: bool = False
    classes: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self):
        counts = _vector("counts", self.counts)
        object.__setattr__(self, "counts", counts)
        if self.multilabel:
            n = counts.max() if self.n_samples is None else float(self.n_samples)
            object.__setattr__(self, "n_samples", n)
            prior = counts / max(n, 1.0) if self.prior is None else _vector("prior", self.prior)
        else:
            object.__setattr__(self, "n_samples", float(counts.sum()))
            prior = counts if self.prior is None else _vector("prior", self.prior)
            total = prior.sum()
            if total <= 0:
                raise ValueError(f"ClassPrior needs a positive total, got prior={prior!r}.")
            prior = prior / total
        if prior.shape != counts.shape:
            raise ValueError(
                f"ClassPrior: prior has shape {prior.shape}, counts have {counts.shape}; "
                "give one entry per class to both."
            )
        object.__setattr__(self, "prior", prior)

    @classmethod
    def of(cls, y, sample_weight=None, *, classes=None):
        """Count a training target.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, 1), or of shape (n, n_labels)
            Labels, or a 0/1 indicator matrix of at least two labels for multi-label targets.
        sample_weight : array-like of shape (n,), default=None
            Non-negative weights; rows of weight 0 do not count.
        classes : array-like, default=None
            All classes, also those that `y` lacks, in the order that the counts shall have. ``None`` means the
            sorted unique labels.

        Returns
        -------
        ClassPrior
            Counts unweighted, prior weighted.

        Raises
        ------
        ValueError
            If a label is missing (NaN, None) or not among `classes`, or weights are negative.
        """
        y = _target(y)
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        if weight.shape != (len(y),) or (weight < 0).any() or not np.isfinite(weight).all():
            raise ValueError(
                f"sample_weight must hold {len(y)} finite, non-negative values, got shape "
                f"{weight.shape} with minimum {weight.min(initial=0.0)}."
            )
        used = weight > 0
        if y.ndim == 2:
            stray = np.setdiff1d(y, [0, 1])
            if len(stray):
                raise ValueError(
                    f"ClassPrior.of: y of shape {y.shape} holds several labels per row, so its values must be 0 "
                    f"and 1, got {stray.tolist()[:10]}."
                )
            positive = y.astype(bool)
            total = weight.sum()
            return cls(
                counts=positive[used].sum(0),
                prior=(positive * weight[:, None]).sum(0) / (total if total > 0 else 1.0),
                n_samples=float(used.sum()),
                multilabel=True,
                classes=None if classes is None else np.asarray(classes),
            )
        seen, code = np.unique(y, return_inverse=True)
        labels = seen if classes is None else np.asarray(classes)
        if len(np.unique(labels)) != len(labels):
            raise ValueError(f"ClassPrior.of: classes={labels.tolist()} name a class twice.")
        at = {label: k for k, label in enumerate(labels.tolist())}
        stray = [label for label in seen.tolist() if label not in at]
        if stray:
            raise ValueError(
                f"ClassPrior.of: y holds the labels {stray[:10]}, which are not among "
                f"classes={labels.tolist()}."
            )
        codes = np.array([at[label] for label in seen.tolist()], int)[code]
        n = len(labels)
        return cls(
            counts=np.bincount(codes[used], minlength=n),
            prior=np.bincount(codes, weights=weight, minlength=n),
            classes=labels,
        )

    @property
    def n_classes(self):
        """Number of classes, or of labels."""
        return len(self.counts)

    @property
    def floored_counts(self):
        """Counts with a floor of one row per class."""
        return np.maximum(self.counts, 1.0)

    @property
    def imbalance_ratio(self):
        """Largest count over smallest count, with the floor of one row."""
        counts = self.floored_counts
        return counts.max() / counts.min()

    def log_prior(self):
        """Natural logarithm of the floored prior, shape (n_classes,)."""
        if self.multilabel:
            prior = self._floored(self.prior)
            return np.log(np.where(self.prior >= 1.0, 1.0 - self._floored(1.0 - self.prior), prior))
        prior = self._floored(self.prior)
        return np.log(prior / prior.sum())

    def _floored(self, share):
        """Shares, those of 0 at one row; a share of weights may be less than that."""
        known = share[share > 0]
        floor = min(1.0 / max(self.n_samples, 2.0), known.min(initial=1.0))
        return np.where(share > 0, share, floor)

    def log_odds(self):
        """Logit of each label's rate (multi-label) or of class 1 (two classes)."""
        log_p = self.log_prior()
        if self.multilabel:
            return log_p - np.log1p(-np.exp(log_p))
        if self.n_classes != 2:
            raise ValueError(f"log_odds needs two classes or labels, got {self.n_classes} classes.")
        return log_p[1:] - log_p[:1]

    def sides(self):
        """Two-class view of each label: counts of shape (n_labels, 2) as [negative, positive]."""
        if self.multilabel:
            positive = np.clip(self.counts, 1.0, None)
            negative = np.clip(self.n_samples - self.counts, 1.0, None)
            return np.stack([negative, positive], axis=1)
        return self.floored_counts[None, :]

    def effective_number(self, beta):
        r"""Effective number of rows :math:`(1-\beta^n)/(1-\beta)` per class (arXiv 1901.05555)."""
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"beta must lie in [0, 1), got {beta!r}.")
        return effective_number(self.floored_counts, beta)


def effective_number(counts, beta):
    """Effective number of samples of `counts` rows, exact for beta close to 1."""
    counts = np.asarray(counts, float)
    if beta == 0.0:
        return np.ones_like(counts)
    return -np.expm1(counts * np.log1p(beta - 1.0)) / (1.0 - beta)


def checked_class_weight(given, classes, *, zero=False):
    """Weights of classes that a dict names, 1 for those that it does not.

    Parameters
    ----------
    given : dict
        Weights of some of `classes`.
    classes : list
        Labels.
    zero : bool, default=False
        Whether 0 has a meaning.

    Returns
    -------
    ndarray of shape (C,)
        Weights.
    """
    stray = [c for c in given if c not in classes]
    if stray:
        raise ValueError(
            f"The classes, {stray}, are not in class_weight's y: class_weight={given!r}, "
            f"classes {classes}."
        )
    odd = {c: w for c, w in given.items() if not isinstance(w, Real) or not 0 <= w < np.inf}
    if odd:
        raise ValueError(
            f"class_weight={given!r} must hold positive, finite weights; those of {list(odd)} are not."
        )
    weights = np.array([float(given.get(c, 1.0)) for c in classes])
    if not zero and (weights == 0).any():
        raise ValueError(
            f"class_weight={given!r} must hold positive, finite weights; a class of weight 0 is not learned at "
            "all, so drop its rows instead."
        )
    return weights


def class_weights(given, classes, counts, mass):
    """Weights of classes (C,) or of label sides (L, 2) whose mean over the rows is 1.

    Parameters
    ----------
    given : {"balanced", "effective", "effective_per_class"} or dict
        What the user asked for; a dict maps some of `classes` to weights.
    classes : list
        Labels of exclusive classes.
    counts : ndarray of shape (C,) or (L, 2)
        Rows behind each class, for effective numbers.
    mass : ndarray of shape (C,) or (L, 2)
        Total weight of each class, positive.

    Returns
    -------
    ndarray like mass
        Weights.
    """
    if isinstance(given, dict):
        weights = checked_class_weight(given, classes, zero=True)
        if (weights > 0).sum() < 2:
            raise ValueError(
                f"class_weight={given!r} leaves fewer than two of the classes {classes} with a positive weight."
            )
    elif given == "balanced":
        weights = mass.sum(-1, keepdims=True) / (mass.shape[-1] * mass)
    elif given == "effective_per_class":
        low, high = counts.min(-1, keepdims=True), counts.max(-1, keepdims=True)
        beta = 0.99 + 0.0099 * (counts - low) / np.maximum(high - low, 1.0)
        weights = (1.0 - beta) / (1.0 - beta**counts)
    else:
        n = counts.sum(-1).max()
        weights = 1.0 / effective_number(counts, (n - 1.0) / n)
    share = mass / mass.sum(-1, keepdims=True)
    return weights / (share * weights).sum(-1, keepdims=True)


def log_ratio(wanted, trained):
    """Logarithm of the ratio of two label distributions; shares of 0 count as 1e-300."""
    tiny = 1e-300
    return np.log(np.maximum(wanted, tiny)) - np.log(np.maximum(trained, tiny))


def moved_probabilities(proba, log_offset):
    """Class probabilities (n, C) times a factor per class, normalised; in logarithms, so none is lost."""
    with np.errstate(divide="ignore"):
        logs = np.log(proba) + log_offset
    p = np.exp(logs - logs.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def class_shares(classes, labels, weight=None):
    """Label distribution of rows, in the order of the sorted classes; other labels do not count."""
    at = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    known = classes[at] == labels
    mass = np.bincount(at, known if weight is None else known * weight, len(classes))
    return mass / mass.sum()


def class_prior(given, shares, classes):
    """Class probabilities to answer with.

    Parameters
    ----------
    given : array-like of shape (n_classes,), "uniform" or None
        What the user asks for; None is the frequencies.
    shares : ndarray of shape (n_classes,)
        Frequencies of the training rows.
    classes : ndarray of shape (n_classes,)
        Labels, for messages.

    Returns
    -------
    ndarray of shape (n_classes,)
        Non-negative, together 1.
    """
    if given is None:
        return shares
    if isinstance(given, str):
        return np.full(len(shares), 1.0 / len(shares))
    prior = np.array(given, float)
    if prior.shape != shares.shape or (prior < 0).any() or abs(prior.sum() - 1.0) > 1e-8:
        raise ValueError(
            f"priors={given!r} must hold one non-negative number per class of {classes.tolist()}, together 1."
        )
    return prior


def trained_shares(classes, labels, weight, estimator):
    """Label distribution that an estimator was trained on, its own class weights included.

    Parameters
    ----------
    classes : ndarray of shape (C,)
        Sorted class labels.
    labels : ndarray of shape (n,)
        Labels of the rows it was fitted to.
    weight : ndarray of shape (n,) or None
        Their weights.
    estimator : classifier
        Its parameters ``class_weight``, ``scale_pos_weight``, ``is_unbalance`` and those that fix the label
        distribution (``priors``, ``class_prior``, ``fit_prior``) count, unless its probabilities undo them.

    Returns
    -------
    ndarray of shape (C,)
        Positive shares.

    Raises
    ------
    ValueError
        If a class has no rows, or a parameter cannot be turned into a distribution.
    """
    with np.errstate(invalid="ignore"):
        shares = _positive(classes, class_shares(classes, labels, weight), estimator)
    if getattr(estimator, "_undoes_class_weight", False):
        return shares
    params = estimator.get_params(deep=False)
    fixed = params.get("priors", params.get("class_prior"))
    if fixed is not None and not isinstance(fixed, str):
        return _positive(classes, np.asarray(fixed, float), estimator)
    if params.get("fit_prior") is False or fixed == "uniform":
        return np.full(len(classes), 1.0 / len(classes))
    factors = own_class_weights(classes, labels, weight, estimator)
    return _positive(classes, shares * factors, estimator)


def own_class_weights(classes, labels, weight, estimator, params=None):
    """Weights (C,) that an estimator's own parameters give to the classes.

    Parameters
    ----------
    classes, labels, weight, estimator : object
        As in `trained_shares`.
    params : dict, default=None
        Those of its parameters that count; None takes all.

    Returns
    -------
    ndarray of shape (C,)
        Ones where no parameter weighs classes.
    """
    params = estimator.get_params(deep=False) if params is None else params
    given = params.get("class_weight")
    factors = np.ones(len(classes))
    if given is not None:
        named = given in ("balanced", "balanced_subsample") if isinstance(given, str) else False
        if not isinstance(given, dict) and not named:
            raise ValueError(
                f"class_weight={given!r} of {estimator!r} cannot be turned into a label distribution."
            )
        if named and (given == "balanced_subsample" or not balance_counts_weights(estimator)):
            weight = None
        given = "balanced" if named else given
        kw = {"classes": classes, "y": labels, "sample_weight": weight}
        factors = factors * compute_class_weight(given, **kw)
    unknown = [name for name in _UNREADABLE if params.get(name) is not None]
    if unknown:
        raise ValueError(
            f"{unknown[0]}={params[unknown[0]]!r} of {estimator!r} cannot be turned into a label distribution."
        )
    if len(classes) == 2:  # the libraries look at these for two classes only
        if params.get("scale_pos_weight") is not None:
            factors = factors * [1.0, float(params["scale_pos_weight"])]
        if any(params.get(name) in (True, "true") for name in _UNBALANCE):
            rows = np.array([(labels == c).sum() for c in classes], float)
            factors = factors * (rows.max() / rows)
    return factors


_UNBALANCE = ("is_unbalance", "unbalance", "unbalanced_sets")
_UNREADABLE = ("auto_class_weights", "class_weights", "sampling_strategy")


def _positive(classes, shares, estimator):
    """Shares that sum to 1; classes without any are refused, and so is what is no number."""
    lost = ~(shares > 0) | ~np.isfinite(shares)
    if lost.any():
        raise ValueError(
            f"The classes {classes[lost].tolist()} have no rows left when {estimator!r} is trained."
        )
    return shares / shares.sum()


def _target(y):
    """Labels as an array without missing ones; a single column is flat."""
    y = np.asarray(plain_labels(y, "ClassPrior.of: y"))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in {1, 2}:
        raise ValueError(f"ClassPrior.of: y must have one or two axes, got shape {y.shape}.")
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError(
            f"ClassPrior.of: y contains NaN for {int(np.isnan(y).sum())} labels; leave their rows out."
        )
    return y


def _vector(name, value):
    array = np.asarray(value, dtype=float)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(
            f"ClassPrior: {name} must be one-dimensional, finite and non-negative, got {value!r}."
        )
    return array
