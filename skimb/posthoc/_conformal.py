"""Sets of classes that keep the true class of a row with a promised probability, class by class."""

from numbers import Real

import numpy as np
from scipy.stats import beta
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skimb._core.compat import check_sample_weight
from skimb._core.ranks import own_class_rank, rows_needed
from skimb._core.warn import warn_user
from skimb.posthoc._held_out import HeldOutClassifier, class_probabilities

_TINY = 1e-300  # weight of a class without calibration rows, and least probability
_ROUNDING = 1e-9
_SPREAD = 0.9  # probability that the coverage of this calibration set lies in its interval


class ClassConditionalConformalClassifier(HeldOutClassifier):
    r"""Sets of classes that keep each class with a promised probability, whatever its share.

    Class :math:`k` is in the set of a row iff its p-value is above :math:`\alpha_k`:

    .. math:: P_k(x)=\frac{w_x+\sum_{i:\,y_i=k,\ s_i\le s_k(x)}w_i}{w_x+\sum_{i:\,y_i=k}w_i}>\alpha_k,

    with the scores :math:`s_i` of calibration rows for their own class, by default probabilities; weights are 1
    where none are given. A row of class :math:`k` then has :math:`k` in its set with probability at
    least :math:`1-\alpha_k`, for any classifier and any number of rows, if calibration rows and new rows of
    the class come from the same distribution.

    Parameters
    ----------
    estimator : classifier
        Any classifier with `predict_proba`.
    alpha : float in (0, 1) or dict, default=0.1
        Share of the rows of a class whose set may lack it; a dict gives one to each label.
    confidence : float in (0, 1), default=None
        None promises coverage on average over calibration sets. A number promises it for this one, with that
        probability, for rows of equal weights and a single calibration part.
    conformity : {"probability", "margin"}, default="probability"
        Score of a class: its probability, or :math:`\log p_k-\max_{j\ne k}\log p_j`. The same for two classes.
    cv : int, float in (0, 1), "prefit", splitter or iterable, default=5
        Folds: each calibrates the classifier that is fitted to the others, and all are kept. A fraction holds
        out one part of this size; "prefit" takes a fitted classifier as it is, and all rows of `fit`
        calibrate, as they do for a ``FrozenEstimator``, which also survives ``clone``.
    n_jobs : int, default=None
        Folds that are fitted at the same time.
    random_state : int, RandomState instance or None, default=None
        Draws the part that a fraction holds out.

    Attributes
    ----------
    estimator_ : classifier
        The classifier whose decisions and probabilities are answered: fitted to all rows, with one part held
        out to the others.
    estimators_ : list of classifier
        The classifier of each fold.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    alpha_ : ndarray of shape (n_classes,)
        Share of each class that may be lost.
    counts_ : ndarray of int, shape (n_classes,)
        Calibration rows of each class.
    always_ : ndarray of bool, shape (n_classes,)
        Classes that have too few rows for their promise, so that every set holds them.
    thresholds_ : ndarray of shape (n_classes,) or None
        Least score with which a class is in the set, minus infinity where it always is, for a new row of the
        largest weight; None with several folds.
    coverage_ : ndarray of shape (n_classes,)
        Expected share of rows of a class whose set holds it, without ties; nan where weights differ in the class.
    coverage_interval_ : ndarray of shape (n_classes, 2)
        Where that share lies in nine of ten calibration sets of this size, with a single part.

    Raises
    ------
    ValueError
        If `alpha` names other classes than y, `confidence` meets several folds or unequal weights, folds overlap,
        or the classifier gives no probabilities.

    Warns
    -----
    UserWarning
        If classes have too few calibration rows.

    Notes
    -----
    **Shares that change.** The promise is made to each class on its own, so it needs no weights when the shares of
    classes change. Around a :class:`PriorShiftAdapter` scores are its probabilities before adapting, so that
    adapting changes no set. When rows change *within* classes, `sample_weight` takes the ratio of the new
    density to the old one.

    **Folds.** With one calibration part coverage is exact: between :math:`1-\alpha` and
    :math:`1-\alpha+1/(n_k+1)`. With folds all rows of a rare class calibrate; then somewhat less than
    :math:`1-2\alpha` is proved, and close to :math:`1-\alpha` measured.

    **Deviations.** Vovk's p-values without random ties: ties only add classes. Weights of new rows are taken as
    the largest of the class unless given, which is on the safe side.

    References
    ----------
    Vovk 2012, arXiv:1209.2673 (sets by class). Vovk 2015, doi:10.1007/s10472-013-9368-4 (folds). Tibshirani et
    al. 2019, arXiv:1904.06019 (weights).

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.posthoc import ClassConditionalConformalClassifier
    >>> X, y = make_classification(2000, weights=[0.95], class_sep=0.7, random_state=0)
    >>> model = ClassConditionalConformalClassifier(LogisticRegression(), alpha=0.1).fit(X[:1000], y[:1000])
    >>> sets, new = model.predict_set(X[1000:]), y[1000:]
    >>> bool(sets[new == 1, 1].mean() > 0.8), bool(sets[new == 0, 0].mean() > 0.85)
    (True, True)
    """

    _parameter_constraints = {
        **HeldOutClassifier._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="neither"), dict],
        "confidence": [Interval(Real, 0, 1, closed="neither"), None],
        "conformity": [StrOptions({"probability", "margin"})],
    }

    def __init__(
        self,
        estimator,
        *,
        alpha=0.1,
        confidence=None,
        conformity="probability",
        cv=5,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.alpha = alpha
        self.confidence = confidence
        self.conformity = conformity
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, groups=None, **params):
        """Fit the classifier and calibrate the sets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or n_samples documents
            Rows, as the classifier takes them.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows, in the classifier's fit and in the sets.
        groups : array-like of shape (n_samples,), default=None
            For the splitter.
        **params : dict
            Metadata for the classifier's fit, with metadata routing enabled.

        Returns
        -------
        ClassConditionalConformalClassifier
            Itself.
        """
        held = self._hold_out(X, y, sample_weight, groups, params)
        n_classes = len(self.classes_)
        self.estimators_ = held.models
        self.alpha_ = self._share_of_each()
        self._conformity = self.conformity
        scores = _scores(held.proba, self._conformity)[np.arange(len(held.code)), held.code]
        self._own = [
            [_Ladder.of(scores, held.weight, (held.fold == j) & (held.code == k)) for k in range(n_classes)]
            for j in range(len(held.models))
        ]  # fmt: skip
        of_class = [held.weight[held.code == k] for k in range(n_classes)]
        self.counts_ = np.array([len(w) for w in of_class])
        self._mass = np.array([w.sum() for w in of_class])
        self._largest = np.array([w.max(initial=_TINY) for w in of_class])
        even = np.array([len(w) == 0 or w.min() == w.max() for w in of_class])
        self._ranks = None if self.confidence is None else self._promised_ranks(even)
        self._describe(even)
        return self

    def _share_of_each(self):
        """The share of each class that may be lost."""
        if not isinstance(self.alpha, dict):
            return np.full(len(self.classes_), float(self.alpha))
        known = self.classes_.tolist()
        proper = all(isinstance(a, Real) and 0 < a < 1 for a in self.alpha.values())
        if not proper or self.alpha.keys() != set(known):
            raise ValueError(
                f"alpha={self.alpha!r} must give a number between 0 and 1 to each of the classes {known} and to no "
                "other."
            )
        return np.array([float(self.alpha[c]) for c in known])

    def _promised_ranks(self, even):
        """Ranks for a promise about this calibration set."""
        if len(self.estimators_) > 1:
            raise ValueError(
                f"confidence={self.confidence!r} is a promise about one calibration part, cv={self.cv!r} makes "
                f"{len(self.estimators_)}; take a fraction, cv=0.5, or cv='prefit'."
            )
        if not even.all():
            raise ValueError(
                f"confidence={self.confidence!r} needs calibration rows of equal weights in each class; those of "
                f"{self.classes_[~even].tolist()} differ."
            )
        pairs = zip(self.counts_, self.alpha_, strict=True)
        return np.array([own_class_rank(n, alpha, self.confidence) for n, alpha in pairs])

    def _describe(self, even):
        """What the promise amounts to, with a warning where it is empty."""
        needed = self._needed(self._largest)
        self.always_ = self._largest > needed
        ranks = self._ranks
        if ranks is None:
            pairs = zip(self.counts_, self.alpha_, strict=True)
            ranks = np.array([own_class_rank(n, alpha) for n, alpha in pairs])
        left = self.counts_ + 1.0 - ranks
        self.coverage_ = np.where(even, left / (self.counts_ + 1.0), np.nan)
        tails = [0.5 - _SPREAD / 2, 0.5 + _SPREAD / 2]
        spread = beta.ppf(tails, left[:, None], np.maximum(ranks, 1)[:, None])
        self.coverage_interval_ = np.where(ranks[:, None] > 0, spread, 1.0)
        self.coverage_interval_[~even] = np.nan
        self.thresholds_ = None
        if len(self.estimators_) == 1:
            own = zip(self._own[0], self._largest, needed, strict=True)
            self.thresholds_ = np.array([ladder.least(w, need) for ladder, w, need in own])
        if self.always_.any():
            self._warn_of_few()

    def _warn_of_few(self):
        confidence = self.confidence
        few = [
            f"{self.classes_.tolist()[k]!r} ({self.counts_[k]} rows, at least "
            f"{rows_needed(self.alpha_[k], confidence)} needed)"
            for k in np.flatnonzero(self.always_)
        ]
        promise = "" if confidence is None else f" with confidence {confidence:g}"
        warn_user(
            f"Every set holds the classes that have too few calibration rows to be left out{promise}: "
            f"{', '.join(few)}; give more rows, a larger alpha, or hold out in folds (cv=5)."
        )

    def _needed(self, weight):
        """What the weight of a row and of those at or below it must exceed, for each class."""
        if self._ranks is not None:
            return self._ranks * self._largest * (1.0 + _ROUNDING)
        return self.alpha_ * (weight + self._mass) + _ROUNDING * weight

    def _at_or_below(self, X):
        """Weight (n, C) of the calibration rows of each class that conform no more than a row."""
        below = 0.0
        for model, ladders in zip(self.estimators_, self._own, strict=True):
            proba = class_probabilities(model, X, self.classes_, source=True)
            scores = _scores(proba, self._conformity)
            below = below + np.stack([own(s) for own, s in zip(ladders, scores.T, strict=True)], 1)
        return below

    def _weight_of(self, X, sample_weight):
        """Weights (n, C) or (C,) of new rows."""
        if sample_weight is None:
            return self._largest
        if self._ranks is not None:
            raise ValueError(
                "sample_weight of new rows changes what a promise with confidence= means; leave either out."
            )
        weight = check_sample_weight(sample_weight, X, dtype=float)
        if (weight <= 0).any():
            raise ValueError(
                f"sample_weight of new rows must be positive, its least value is {weight.min():g}."
            )
        return weight[:, None]

    def p_values(self, X, sample_weight=None):
        """Share of the calibration rows of each class that conform no more to it than a row does.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of these rows; None takes the largest of the class.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In (0, 1].
        """
        check_is_fitted(self)
        weight = self._weight_of(X, sample_weight)
        return (weight + self._at_or_below(X)) / np.maximum(weight + self._mass, _TINY)

    def predict_set(self, X, *, fill=None, sample_weight=None):
        """Which classes a row may have.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        fill : {"top"}, default=None
            None leaves sets empty of rows that are unlike every class; "top" adds the class that conforms best.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of these rows; None takes the largest of the class.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        if fill not in (None, "top"):
            raise ValueError(f"fill={fill!r} must be None or 'top'.")
        weight, below = self._weight_of(X, sample_weight), self._at_or_below(X)
        sets = weight + below > self._needed(weight)
        if fill == "top":
            empty = ~sets.any(1)
            p = (weight + below) / np.maximum(weight + self._mass, _TINY)
            sets[empty, p[empty].argmax(1)] = True
        return sets

    def predict_proba(self, X):
        """Probabilities of the classifier.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        return class_probabilities(self.estimator_, X, self.classes_)

    def predict(self, X):
        """Decisions of the classifier.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)


class _Ladder:
    """Weight of the scores that are at or below a value.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        In rising order.
    cumulated : ndarray of shape (m + 1,)
        Weight of the first 0, 1, ... of them.
    """

    def __init__(self, scores, cumulated):
        self.scores, self.cumulated = scores, cumulated

    @classmethod
    def of(cls, scores, weight, rows):
        """From the scores and weights of some rows."""
        order = np.flatnonzero(rows)[np.argsort(scores[rows], kind="stable")]
        return cls(scores[order], np.r_[0.0, np.cumsum(weight[order])])

    def __call__(self, value):
        return self.cumulated[np.searchsorted(self.scores, value, side="right")]

    def least(self, weight, needed):
        """The least score that is enough: `weight` and that at or below it exceed what is needed."""
        if weight > needed:
            return -np.inf
        return self.scores[np.argmax(weight + self(self.scores) > needed)]


def _scores(proba, conformity):
    """How well rows conform to classes (n, C): higher is better."""
    if conformity == "probability":
        return proba
    logs = np.log(np.maximum(proba, _TINY))
    order = np.argsort(logs, 1)
    best, second = (np.take_along_axis(logs, order[:, [k]], 1) for k in (-1, -2))
    others = np.where(np.arange(logs.shape[1]) == order[:, [-1]], second, best)
    return logs - others
