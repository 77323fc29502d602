"""Constraints on decisions: which rows they are about, and which of these are bad."""

import re
from numbers import Real
from typing import NamedTuple

import numpy as np

_MIRROR = {"recall": "specificity", "specificity": "recall", "precision": "npv", "npv": "precision"}
_MOST = {"fpr", "review_rate", "cost"}  # promised to be at most a value
RATES = ("recall", "specificity", "fpr", "precision", "npv", "accuracy", "review_rate")
F_SCORE = re.compile(r"f(\d+(?:\.\d+)?)$")
_POSITIVE, _NEGATIVE, _ALL = ((0, 0), (1, 1)), ((1, 1), (0, 0)), ((1, 1), (1, 1))
_FLAGGED, _UNFLAGGED = ((0, 1), (0, 1)), ((1, 0), (1, 0))
_NAMES = f"{', '.join(RATES)}, cost, f1 (or another F-score as f2, f0.5)"


class Constraint(NamedTuple):
    """The mean of something over the rows it is about is at most a level.

    Tables are indexed by the true class (0, 1) and the decision (0, 1).
    """

    name: str
    value: float
    member: tuple  # rows that it is about
    bad: tuple  # what they add, 0 for other rows
    level: float
    bound: float  # largest value of a bad row
    steps: tuple  # ways to walk over cuts; 1 flags more rows
    monotone: bool  # whether bad rows grow along the way from the safe end
    kind: str  # what its rows are called

    @property
    def at_most(self):
        """Whether the promise is an upper bound."""
        return self.name in _MOST

    @property
    def counts(self):
        """Whether rows are bad or not, nothing between."""
        return self.bound == 1.0 and np.isin(self.bad, (0, 1)).all()

    @property
    def fixed(self):
        """Whether decisions do not change which rows it is about."""
        return all(a == b for a, b in self.member)

    def of(self, code):
        """Membership and badness (n, 2) of rows, if they are not flagged and if they are."""
        return np.asarray(self.member, float)[code], np.asarray(self.bad, float)[code]

    def value_of(self, share):
        """The promised quantity where the mean of bad rows is `share`."""
        if self.name in ("fpr", "review_rate"):
            return share
        if self.name == "cost":
            return share - self.level + self.value
        return 1.0 - share

    def __str__(self):
        return f"{self.name} {'<=' if self.at_most else '>='} {self.value:g}"


def _constraint(name, value, cost):
    """A constraint by its name."""
    if name in ("recall", "specificity", "fpr", "review_rate"):
        level = value if name in _MOST else 1.0 - value
        member, bad, steps, kind = {
            "recall": (_POSITIVE, ((0, 0), (1, 0)), (-1,), "positive"),
            "specificity": (_NEGATIVE, ((0, 1), (0, 0)), (1,), "negative"),
            "fpr": (_NEGATIVE, ((0, 1), (0, 0)), (1,), "negative"),
            "review_rate": (_ALL, _FLAGGED, (1,), "calibration"),
        }[name]
        return Constraint(name, value, member, bad, level, 1.0, steps, True, kind)
    if name == "precision":
        bad = ((0, 1), (0, 0))
        return Constraint(name, value, _FLAGGED, bad, 1 - value, 1.0, (1,), False, "flagged")
    if name == "npv":
        bad = ((0, 0), (1, 0))
        return Constraint(name, value, _UNFLAGGED, bad, 1 - value, 1.0, (-1,), False, "unflagged")
    if name == "accuracy":
        bad = ((0, 1), (1, 0))
        return Constraint(name, value, _ALL, bad, 1 - value, 1.0, (-1, 1), False, "calibration")
    if name == "cost":
        low, high = cost.min(), cost.max()
        bad, level, bound = cost - low, value - low, high - low
    else:  # (1 + b2) y f - f0 (b2 y + f) has a positive mean where the F-score exceeds f0
        square = float(F_SCORE.match(name)[1]) ** 2
        y, flag = np.array([[0, 0], [1, 1]]), np.array([[0, 1], [0, 1]])
        gain = (1 + square) * y * flag - value * (square * y + flag)
        bad, level, bound = gain.max() - gain, gain.max(), gain.max() - gain.min()
    bad = tuple(map(tuple, bad.tolist()))
    steps = (-1, 1)
    return Constraint(
        name, value, _ALL, bad, float(level), float(bound), steps, False, "calibration"
    )


def checked_constraint(name, value, cost, promised):
    """A constraint from what the user gave.

    Parameters
    ----------
    name : str
        Its name.
    value : float
        What is to be kept.
    cost : ndarray of shape (2, 2) or None
        Costs of true class by decided class, for "cost".
    promised : bool
        Whether it is promised; what holds of every row of the population cannot be.

    Returns
    -------
    Constraint
        The constraint.

    Raises
    ------
    ValueError
        If there is no such constraint, or its value is out of range.
    """
    if name not in RATES and name != "cost" and not (isinstance(name, str) and F_SCORE.match(name)):
        raise ValueError(f"constraint names {name!r}; there are {_NAMES}.")
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(value):
        raise ValueError(
            f"constraint={{{name!r}: {value!r}}} must hold one finite number, or a dict of them by class or label."
        )
    if name == "cost":
        if cost is None:
            raise ValueError(
                "The constraint 'cost' needs the costs of true class by decided class: give cost=[[0, a], [b, 0]]."
            )
        low, high = cost.min(), cost.max()
        if not low < value < high:
            raise ValueError(
                f"cost <= {value:g} says nothing: decisions cost between {low:g} and {high:g}; give a value "
                "between them."
            )
    elif not (0 < value < 1 if promised else 0 <= value <= 1):
        if promised and value in (0, 1):
            reason = (
                "no number of rows tells that of every row to come; take a value between 0 and 1"
            )
        else:
            reason = "it must lie between 0 and 1"
        raise ValueError(f"{name}={value:g} cannot be promised: {reason}.")
    return _constraint(name, float(value), cost)


def by_problem(constraint, order, multilabel, positive):
    """Constraints sorted by the two-class problem they are about.

    Parameters
    ----------
    constraint : dict
        Values by name, or by name and class or label.
    order : ndarray
        Classes in the order of codes, or labels.
    multilabel : bool
        Whether the target has several labels.
    positive : label or None
        The class that the user named as the positive one.

    Returns
    -------
    dict of dict
        Values by class or label and name.
    """
    if not constraint:
        raise ValueError("constraint={} promises nothing; give for instance {'recall': 0.9}.")
    classes = order.tolist()
    found, foreign = {}, []
    for name, value in constraint.items():
        named = value if isinstance(value, dict) else None
        if named is None and multilabel:
            named = dict.fromkeys(classes, value)
        if named is None and len(classes) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is multiclass: name the class "
                f"that the promise is about, constraint={{{name!r}: {{{classes[-1]!r}: {value!r}}}}}."
            )
        for key, of_class in (named or {classes[-1]: value}).items():
            if key not in classes:
                foreign.append(key)
            found.setdefault(key, {})[name] = of_class
    if foreign:
        raise ValueError(f"constraint names {foreign}, y has the classes or labels {classes}.")
    if multilabel:
        return dict(sorted(found.items()))
    if len(classes) == 2:
        rest = classes[-1] if len(found) > 1 or positive is not None else next(iter(found))
        return {rest: _mirrored(found, rest)}
    if len(found) > 1:
        raise ValueError(
            f"constraint names the classes {list(found)}; thresholds can promise something of one class of "
            "several, since what one class gains another one loses."
        )
    return found


def _mirrored(found, positive):
    """Constraints on either of two classes as constraints on the positive one."""
    merged = {}
    for label, values in found.items():
        for name, value in values.items():
            other = name if label == positive or name == "accuracy" else _MIRROR.get(name)
            if other is None:
                raise ValueError(
                    f"{name} of {label!r} beside a promise about {positive!r}: only recall, specificity, precision "
                    "and npv can be given of the other class."
                )
            if other in merged:
                raise ValueError(f"constraint gives {other} of {positive!r} twice.")
            merged[other] = value
    return merged
