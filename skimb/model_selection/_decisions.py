"""What decisions are worth: by counts, by costs, or by a scorer that is called."""

import copy
from inspect import signature

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from skimb._core.stand_ins import Answers
from skimb._core.warn import warn_user
from skimb.model_selection._thresholds import CostObjective, CountObjective, ScorerObjective

_COMMON = 4  # rows of the common class per row of the rare one from which the roles are suspect


class CountDecisions:
    """Decisions valued by a metric of counts.

    Parameters
    ----------
    bulk : BulkScore
        The metric.
    code : ndarray of shape (n,) or (n, L)
        Class codes or 0/1 labels of all rows.
    weight : ndarray of shape (n,) or None
        Row weights.
    n_classes : int
        Number of classes.
    """

    def __init__(self, bulk, code, weight, n_classes):
        self.bulk, self.code, self.weight, self.n_classes = bulk, code, weight, n_classes

    def score(self, at, decided):
        """Value of codes that were decided for some rows."""
        return self.bulk(self.code[at], decided[None], _of(self.weight, at), self.n_classes)[0]

    def objective(self, at):
        """What `tune` maximises for some rows."""
        return CountObjective(self._metric, self.code[at], _of(self.weight, at))

    def _metric(self, right, decided, there):
        return self.bulk.sign * self.bulk.function(right, decided, there)


class CostDecisions:
    """Decisions valued by minus their mean cost.

    Parameters
    ----------
    costs : ndarray of shape (n, C)
        Cost of deciding for each class in each row.
    weight : ndarray of shape (n,) or None
        Row weights.
    """

    def __init__(self, costs, weight):
        self.costs, self.weight = costs, weight

    def score(self, at, decided):
        """As in `CountDecisions`."""
        return -np.average(self.costs[at, decided], weights=_of(self.weight, at))

    def objective(self, at):
        """As in `CountDecisions`."""
        return CostObjective(self.costs[at], _of(self.weight, at))


class CalledDecisions:
    """Decisions valued by a scorer that is called with the rows, for two classes.

    Parameters
    ----------
    scorer : callable
        Takes an estimator, rows, labels and `params`.
    order : ndarray of shape (2,)
        Labels in the order of the codes.
    X, y : array-like
        All rows.
    params : dict
        Further parameters of the scorer for all rows.
    most : int or None
        Largest number of calls per rule.
    """

    def __init__(self, scorer, order, X, y, params, most):
        self.scorer, self.order, self.X, self.y = scorer, order, X, y
        self.params, self.most = params, most

    def score(self, at, decided):
        """As in `CountDecisions`."""
        return self._of_rows(at)(decided)

    def objective(self, at):
        """As in `CountDecisions`."""
        return ScorerObjective(self._of_rows(at), self.most)

    def _of_rows(self, at):
        X, y = _safe_indexing(self.X, at), _safe_indexing(self.y, at)
        params = _check_method_params(self.X, params=self.params, indices=at)

        def score(decided):
            member = Answers(np.sort(self.order), predictions=self.order[decided])
            return self.scorer(member, X, y, **params)

        return score


def _of(weight, at):
    return None if weight is None else weight[at]


def positive_of(scorer):
    """The label that a scorer takes as the positive class, or None, and whether it was told."""
    kwargs = getattr(scorer, "_kwargs", {})
    if "pos_label" in kwargs:
        return kwargs["pos_label"], True
    function = getattr(scorer, "_score_func", None)
    known = {} if function is None else signature(function).parameters
    return (known["pos_label"].default, False) if "pos_label" in known else (None, False)


def with_positive(scorer, label):
    """A scorer that takes `label` as the positive class, if it has one and was not told which."""
    positive, told = positive_of(scorer)
    if label is None or told or positive is None:
        return scorer
    if scorer._kwargs.get("average", "binary") != "binary":
        return scorer
    other = copy.copy(scorer)
    other._kwargs = {**scorer._kwargs, "pos_label": label}
    return other


def check_positive_of(scorer, classes):
    """Refuse a scorer whose positive class is none of two classes: no fit could be scored."""
    positive, _ = positive_of(scorer)
    binary = getattr(scorer, "_kwargs", {}).get("average", "binary") == "binary"
    if positive is None or len(classes) != 2 or not binary or positive in classes.tolist():
        return
    raise ValueError(
        f"{scorer!r} takes {positive!r} as the positive class, and y holds {classes.tolist()}; code y as 0 and 1, "
        "or give make_scorer the pos_label."
    )


def ordered(classes, positive):
    """Two classes with the positive one last; anything else as it is."""
    if len(classes) == 2 and positive is not None and positive == classes[0]:
        return classes[::-1]
    return classes


def check_positive(name, positive, classes, multilabel):
    """Refuse a positive class that is none of two classes."""
    if positive is None:
        return
    if multilabel or len(classes) != 2 or positive not in classes.tolist():
        raise ValueError(
            f"{name}={positive!r} must be one of two classes, y has "
            f"{'several labels' if multilabel else classes.tolist()}."
        )


def warn_if_common(what, order, code):
    """Say when the positive class, which nobody named, is the common one."""
    rows = np.bincount(code, minlength=2)
    if rows[1] > _COMMON * rows[0]:
        warn_user(
            f"{what} takes {order.tolist()[1]!r} as the positive class, which is the common one here "
            f"({rows[1]} rows against {rows[0]}). Name the rare class as pos_label.",
        )


def warn_if_trivial(what, metric, order, decided, rule):
    """Say when a metric of one kind of error, or one that is called, is best at a trivial decision.

    Other metrics of counts weigh both kinds; where they decide all rows alike it is the classifier that
    cannot tell them apart, which its score says.
    """
    if metric is not None and not getattr(metric, "one_sided", False):
        return
    if metric is None and len(np.unique(decided)) > 1:
        return
    if decided.ndim == 2:
        shares = np.round(decided.mean(0), 4).tolist()
        said = f"the thresholds {np.round(rule, 4).tolist()} give the labels to the shares {shares} of the rows"
    else:
        counts = np.bincount(decided, minlength=len(order)).tolist()
        said = f"the threshold {rule} decides {dict(zip(order.tolist(), counts, strict=True))} rows"
    warn_user(
        f"{what} is best at a trivial decision: {said}. Tune a metric that weighs both kinds of error (f1, "
        "balanced_accuracy), or costs.",
    )
