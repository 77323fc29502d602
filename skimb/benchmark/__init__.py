"""One rerunnable study: methods on a folder of real sets, their scores, and pages that compare them.

``python -m skimb.benchmark --data FOLDER --suite binary`` runs it, :func:`run` and :func:`report` do it from
Python.

The folder holds one parquet file per set, ``<name>.parquet``; the package ships none. Columns:

``target``
    Codes of classes, 1 the rare class of two, codes of ordered classes in their order; numbers for regression.
``label_...``
    Instead of `target`: one 0/1 column per label.
``text``
    Sets of texts: the text of a row.
``meta_group``, ``meta_time``
    Groups that a split keeps whole, and times by which it puts the past before the future; where a set has both,
    the times decide. The suites of two and of several classes do not heed them, streams follow the times.
``meta_...``
    Any other column with that beginning is left alone.
all others
    Features: numbers, dates as days, anything else as categories; missing ones stay missing, and columns without
    any value are left out.

The task of a set stands in the parquet metadata ``skimb_meta``, as JSON: ``{"task": "binary"}``, or multiclass,
ordinal, multilabel, regression, text-binary, text-multiclass. Without it the columns tell: texts, labels, two
classes, several, or numbers where `target` is a float.

``SUITES`` maps the name of each suite to a :class:`Suite`.
"""

from skimb.benchmark._methods import Method
from skimb.benchmark._page import report
from skimb.benchmark._run import run
from skimb.benchmark._statistics import (
    SignedRankPosterior,
    critical_difference,
    mean_ranks,
    signed_rank_posterior,
    wins_ties_losses,
)
from skimb.benchmark._suites import SUITES as SUITES  # a dictionary has no page of its own
from skimb.benchmark._suites import Suite

__all__ = [
    "Method",
    "SignedRankPosterior",
    "Suite",
    "critical_difference",
    "mean_ranks",
    "report",
    "run",
    "signed_rank_posterior",
    "wins_ties_losses",
]
