"""What a report rests on: labels, scores and decisions of rows that the classifier did not see."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples, check_is_fitted

from skimb._core.compat import check_sample_weight
from skimb._core.html import Estimate
from skimb._core.inner import weight_params
from skimb._core.proportions import effective_rows, proportion_interval
from skimb._core.splits import splits_of
from skimb.inspection._report.words import repr_of
from skimb.model_selection._held_out import held_out
from skimb.model_selection._responses import class_scores, response_of, target_of


@dataclass
class Training:
    """Rows that a classifier was, or baselines are, fitted to."""

    X: Any = field(repr=False)
    labels: np.ndarray = field(repr=False)
    weight: np.ndarray | None = field(default=None, repr=False)


@dataclass
class Scores:
    """What one classifier says of the evaluated rows.

    Parameters
    ----------
    name : str
        What it is called.
    scores : ndarray of shape (n, n_classes)
        A column per class.
    probabilities : bool
        Whether they are probabilities.
    code : ndarray of shape (n,) or None
        What it decides, as class numbers.
    seconds : float
        Time of its fits.
    """

    name: str
    scores: np.ndarray = field(repr=False)
    probabilities: bool
    code: np.ndarray | None = field(default=None, repr=False)
    seconds: float = np.nan


@dataclass
class Evidence:
    """Rows, truth and the answers of the classifier.

    Parameters
    ----------
    estimator : classifier
        As it was given.
    X : array-like
        Evaluated rows.
    classes : ndarray
        Class labels in the order of codes.
    code : ndarray of shape (n,)
        True class numbers.
    rare : int
        Number of the class that the report is about.
    answers : Scores
        Of the classifier.
    weight : ndarray of shape (n,) or None
        Weights of the rows.
    folds : list of ndarray
        Evaluated rows by the fold that they were held out in.
    splits : list or None
        With cross-validation, training and test rows.
    training : Training or None
        Rows for baselines.
    confidence : float
        Of the intervals.
    cost : ndarray of shape (n_classes, n_classes) or None
        Costs of true class by decided class.
    random_state : int, RandomState or None
        Of everything random.
    """

    estimator: Any
    X: Any = field(repr=False)
    classes: np.ndarray
    code: np.ndarray = field(repr=False)
    rare: int
    answers: Scores
    weight: np.ndarray | None = field(repr=False)
    folds: list[np.ndarray] = field(repr=False)
    splits: list | None = field(repr=False)
    training: Training | None = field(repr=False)
    confidence: float
    cost: np.ndarray | None
    random_state: Any

    @property
    def binary(self):
        """Whether there are two classes."""
        return len(self.classes) == 2

    @property
    def cross_validated(self):
        """Whether the answers are out of fold."""
        return self.splits is not None

    @cached_property
    def w(self):
        """Weights, ones where none were given."""
        return np.ones(len(self.code)) if self.weight is None else self.weight

    @cached_property
    def truth(self):
        """Whether each row is of the class that the report is about."""
        return self.code == self.rare

    @property
    def name(self):
        """Label of that class."""
        return self.classes[self.rare]

    @property
    def labels(self):
        """True labels."""
        return self.classes[self.code]

    @cached_property
    def n_positive(self):
        """Rows of that class, by Kish's number if weighted."""
        return float(effective_rows(self.w[self.truth]))

    @cached_property
    def prevalence(self):
        """Share of that class."""
        return float(self.w[self.truth].sum() / self.w.sum())

    @property
    def drawable(self):
        """Whether there are rows enough for a curve."""
        return self.n_positive >= 10

    def score(self, answers=None):
        """Scores of the class that the report is about, against all others."""
        scores = (answers or self.answers).scores
        if not self.binary and not (answers or self.answers).probabilities:
            return scores[:, self.rare] - np.delete(scores, self.rare, 1).max(1)
        return scores[:, self.rare]

    @property
    def proba(self):
        """Probability of that class, or None."""
        return self.score() if self.answers.probabilities else None

    def rate(self, hits, among):
        """Share of `hits` among the rows of a mask, with its exact interval."""
        w = self.w[among]
        n = effective_rows(w)
        if n == 0:
            return Estimate(np.nan, np.nan, np.nan)
        share = float(w @ hits[among] / w.sum())
        low, high = proportion_interval(share * n, n, self.confidence)
        return Estimate(share, float(low), float(high))


def gather(
    estimator, X, y, *, sample_weight, pos_label, fit_data, cv, confidence, cost, random_state
):
    """Score rows that a classifier did not see: those given if it is fitted, else out of fold."""
    y, labels, multilabel = target_of(estimator, y)
    if multilabel:
        raise ValueError(
            "report takes one class per row, y has several labels; report each label by itself."
        )
    X, _ = indexable(X, labels)
    weight = None
    if sample_weight is not None:
        weight = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    try:
        check_is_fitted(estimator)
        fitted = True
    except NotFittedError:
        fitted = False
    except TypeError as error:
        raise TypeError(
            f"report needs a classifier, fitted or not, got {type(estimator).__name__}."
        ) from error
    response = response_of(estimator, "auto")
    if fitted:
        if not hasattr(estimator, "classes_"):
            raise TypeError(f"report needs a classifier, {estimator!r} has no classes_.")
        classes = np.sort(np.asarray(estimator.classes_))
        strangers = np.setdiff1d(labels, classes).tolist()
        if strangers:
            raise ValueError(
                f"y holds the classes {strangers[:10]}, the fitted classifier knows {classes.tolist()[:10]}."
            )
        splits, folds, seconds = None, _folds(labels, cv, random_state), np.nan
        scores = class_scores(estimator, X, response, classes, False)
        decided = np.asarray(estimator.predict(X))
        training = None if fit_data is None else _training(fit_data, estimator, classes)
    else:
        if fit_data is not None:
            raise ValueError(
                "fit_data is for a fitted estimator; an estimator that is not fitted is cross-validated "
                "on X and y."
            )
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(f"report needs two classes, y holds only {classes.tolist()}.")
        splits = _splits(X, y, labels, cv, random_state)
        began = time.perf_counter()
        fit_params = weight_params(estimator, weight)
        how = {"fit_params": fit_params, "response": response, "classes": classes}
        models, found, rows = held_out(estimator, X, y, splits, None, multilabel=False, **how)
        seconds = time.perf_counter() - began
        scores, decided = np.empty_like(found), np.empty(len(labels), dtype=classes.dtype)
        scores[rows] = found
        for model, (_, test) in zip(models, splits, strict=True):
            decided[test] = model.predict(_safe_indexing(X, test))
        folds = [test for _, test in splits]
        training = Training(X, labels, weight)
    lost = int((~np.isfinite(scores)).any(1).sum())
    if lost:
        raise ValueError(
            f"{response} gives no finite number for {lost} of {len(scores)} rows; impute what the classifier "
            "cannot read."
        )
    code = np.searchsorted(classes, labels)
    answers = Scores(
        "this classifier",
        scores,
        response == "predict_proba",
        np.searchsorted(classes, decided),
        seconds,
    )
    rare = _rare(classes, code, pos_label)
    if not (code == rare).any() or (code == rare).all():
        held = "only" if (code == rare).all() else "no"
        raise ValueError(
            f"report needs rows of the class {repr_of(classes[rare])} and of others, y holds {held} rows of it."
        )
    return Evidence(
        estimator, X, classes, code, rare, answers, weight, folds, splits, training, confidence,
        _costs(cost, classes), random_state,
    )  # fmt: skip


def _rare(classes, code, pos_label):
    if pos_label is not None:
        at = np.flatnonzero(classes == pos_label)
        if not len(at):
            raise ValueError(
                f"pos_label={pos_label!r} is not among the classes {classes.tolist()[:10]}."
            )
        return int(at[0])
    if len(classes) == 2:
        return 1
    counts = np.bincount(code, minlength=len(classes))
    return int(np.where(counts > 0, counts, counts.max() + 1).argmin())


def _costs(cost, classes):
    if cost is None:
        return None
    found = np.asarray(cost, dtype=float)
    shape = (len(classes), len(classes))
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(
            f"cost must be a finite matrix of shape {shape}, true class by decided class in the order of "
            f"{classes.tolist()[:10]}; got shape {found.shape}."
        )
    wrong = found.copy()
    np.fill_diagonal(wrong, np.inf)
    if (wrong <= np.diag(found)[:, None]).any():
        raise ValueError(
            "cost must have its least entry of each row on the diagonal: the right decision is the cheapest."
        )
    return found


def _training(fit_data, estimator, classes):
    if not isinstance(fit_data, (tuple, list)) or len(fit_data) not in (2, 3):
        raise ValueError(
            "fit_data must be (X_train, y_train) or (X_train, y_train, sample_weight)."
        )
    X, y, *rest = fit_data
    _, labels, _ = target_of(estimator, y)
    X, _ = indexable(X, labels)
    missing = np.setdiff1d(classes, labels).tolist()
    if missing:
        raise ValueError(
            f"y_train of fit_data holds no row of the classes {missing[:10]} that the classifier knows."
        )
    weight = rest[0] if rest else None
    if weight is not None:
        weight = check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)
    return Training(X, labels, weight)


def _splitter(labels, cv, random_state):
    if not isinstance(cv, (int, np.integer)):
        return cv
    least = int(np.unique(labels, return_counts=True)[1].min())
    if cv < 2 or least < cv:
        raise ValueError(
            f"cv={cv} folds need at least 2 folds and {cv} rows of each class, the rarest one has {least}."
        )
    return StratifiedKFold(cv, shuffle=True, random_state=random_state)


def _splits(X, y, labels, cv, random_state):
    cv = _splitter(labels, cv, random_state)
    splits = splits_of(cv, X, y, labels, False, None, False, random_state, {})
    tested = np.concatenate([test for _, test in splits])
    if len(np.unique(tested)) < len(tested) or len(tested) < len(labels):
        raise ValueError(
            f"cv={cv!r} does not hold out each row once; take a number of folds or StratifiedKFold."
        )
    return splits


def _folds(labels, cv, random_state):
    """Parts of held-out rows, between which thresholds are tuned and compared."""
    least = int(np.unique(labels, return_counts=True)[1].min())
    parts = min(cv if isinstance(cv, (int, np.integer)) else 5, least)
    if parts < 2:
        return [np.arange(len(labels))]
    splitter = StratifiedKFold(parts, shuffle=True, random_state=random_state)
    return [test for _, test in splitter.split(labels, labels)]


# --- identical rows ------------------------------------------------------------------------------


def _keys(X):
    """Something hashable for each row."""
    if sparse.issparse(X):
        rows = sparse.csr_matrix(X)
        rows.sort_indices()
        ends = rows.indptr
        return [
            (rows.indices[a:b].tobytes(), rows.data[a:b].astype(float).tobytes())
            for a, b in pairwise(ends)
        ]
    values = X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)
    if values.dtype.kind in "fiub":
        values = np.ascontiguousarray(values, dtype=np.float64).reshape(len(values), -1)
        return [row.tobytes() for row in values]
    return [repr(row) for row in values.tolist()]


def share_of_copies(evidence):
    """Share of evaluated rows whose features stand among the rows that were trained on; None if unknown."""
    e = evidence
    if e.training is None:
        return None
    keys = _keys(e.X)
    if not e.cross_validated:
        known = set(_keys(e.training.X))
        return float(np.mean([key in known for key in keys]))
    fold = np.empty(_num_samples(e.X), int)
    for j, test in enumerate(e.folds):
        fold[test] = j
    first, several = {}, set()
    for key, j in zip(keys, fold.tolist(), strict=True):
        if first.setdefault(key, j) != j:
            several.add(key)
    return float(np.mean([key in several for key in keys]))
