"""Scores of validation rows while a booster grows."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_consistent_length

from skimb._base.head import as_logits
from skimb._base.labels import comparable
from skimb._core.compat import check_sample_weight
from skimb._core.inner import scorer_params
from skimb.boosting._labels import checked_labels


@dataclass
class HeldOut:
    """Rows to score, as the library takes them, with class numbers and weights or None."""

    X: object
    code: np.ndarray
    weight: np.ndarray | None


class Metric:
    """What validation rows are scored by: a name, a direction, and a number from raw scores.

    Parameters
    ----------
    owner : BoostedClassifier
        Bound to its training target.
    """

    def __init__(self, owner):
        self.head, self.scorer = owner._head, None
        scoring = owner.validation_scoring
        self.larger_is_better = scoring is not None
        if scoring is None:
            self.name = "log_loss" if self.head.gives_probabilities else "loss"
        else:
            self.probe = self.head.stand_in(as_logits)
            self.scorer = check_scoring(self.probe, scoring=scoring)
            self.name = scoring if isinstance(scoring, str) else "score"

    def __call__(self, raw, held):
        """Score of raw scores of held-out rows."""
        raw = np.asarray(raw, dtype=np.float64)
        if self.scorer is not None:
            kw = scorer_params(self.scorer, held.weight)
            return float(self.scorer(self.probe, raw, self.head.classes[held.code], **kw))
        return -self.head.score(as_logits(raw), held.code, held.weight)

    def gain(self, raw, held):
        """Score of raw scores, the larger the better."""
        return self(raw, held) if self.larger_is_better else -self(raw, held)


class Watch:
    """Scores validation sets round by round and keeps the scores.

    Parameters
    ----------
    metric : Metric
        What is scored.
    sets : list of HeldOut
        The rows.
    matrices : list
        The library's own objects of the sets, one each.
    """

    def __init__(self, metric, sets, matrices):
        self.metric = metric
        self.names = [f"valid_{k}" for k in range(len(sets))]
        self.result = {name: {metric.name: []} for name in self.names}
        self._of = dict(zip(map(id, matrices), zip(self.names, sets, strict=True), strict=True))

    def __call__(self, raw, matrix):
        """Score raw scores of the rows in one of the library's objects."""
        name, held = self._of[id(matrix)]
        value = self.metric(raw, held)
        self.result[name][self.metric.name].append(value)
        return value


def set_aside(owner, X, code, sample_weight, rng):
    """Split rows, class numbers and weights into training and validation rows."""
    rows = np.arange(len(code))
    try:
        train, valid = train_test_split(
            rows, test_size=owner.validation_fraction, random_state=rng, stratify=code
        )
    except ValueError as error:
        raise ValueError(
            f"{type(owner).__name__} cannot set validation rows aside "
            f"(validation_fraction={owner.validation_fraction}, counts per class "
            f"{np.bincount(code).tolist()}): {error}"
        ) from error
    of_train, of_valid = (
        (None, None) if sample_weight is None else (sample_weight[train], sample_weight[valid])
    )
    held = HeldOut(_safe_indexing(X, valid), code[valid], of_valid)
    return _safe_indexing(X, train), held, code[train], of_train


def given_sets(owner, eval_set, weights):
    """The validation sets given to `fit`.

    Parameters
    ----------
    owner : BoostedClassifier
        It knows its classes and reads rows.
    eval_set : list of tuple (X, y), tuple (X, y) or None
        Rows and labels.
    weights : list of array-like, array-like or None
        Weights of each set; None stands for equal weights.

    Returns
    -------
    list of HeldOut
        The sets.
    """
    name = type(owner).__name__
    if eval_set is None:
        if weights is not None:
            raise ValueError(f"{name}: eval_sample_weight needs an eval_set.")
        return []
    if isinstance(eval_set, tuple):
        eval_set, weights = [eval_set], None if weights is None else [weights]
    if (
        not isinstance(eval_set, list)
        or not eval_set
        or any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in eval_set)
    ):
        raise ValueError(f"{name}: eval_set must be a list of pairs (X, y).")
    weights = [None] * len(eval_set) if weights is None else list(weights)
    if len(weights) != len(eval_set):
        raise ValueError(
            f"{name}: eval_sample_weight must hold one entry per set, got {len(weights)} for "
            f"{len(eval_set)} sets."
        )
    sets = []
    for (X, y), weight in zip(eval_set, weights, strict=True):
        X, y = owner._read(X), checked_labels(owner, y)
        check_consistent_length(X, y)
        unknown = np.setdiff1d(y, owner.classes_) if comparable(y, owner.classes_) else np.unique(y)
        if len(unknown):
            raise ValueError(
                f"{name}: eval_set holds labels {unknown.tolist()} that are not among the classes "
                f"{owner.classes_.tolist()}."
            )
        if weight is not None:
            weight = check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)
            if not weight.any():
                raise ValueError(f"{name}: all weights of a set in eval_sample_weight are 0.")
        sets.append(HeldOut(X, np.searchsorted(owner.classes_, y), weight))
    return sets
