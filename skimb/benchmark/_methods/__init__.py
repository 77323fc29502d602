"""The registry of methods."""

from skimb.benchmark._methods._classifiers import CHANGES, CLASSIFIERS
from skimb.benchmark._methods._labels import LABELS
from skimb.benchmark._methods._libauc import LIBAUC
from skimb.benchmark._methods._method import Method
from skimb.benchmark._methods._regressors import ORDERED, REGRESSORS
from skimb.benchmark._methods._searches import SEARCHES
from skimb.benchmark._methods._streams import STREAMS
from skimb.benchmark._methods._text import TEXT

_ALL = (
    *CLASSIFIERS,
    *LIBAUC,
    *ORDERED,
    *REGRESSORS,
    *LABELS,
    *TEXT,
    *STREAMS,
    *SEARCHES,
    *CHANGES,
)
METHODS = {method.name: method for method in _ALL}

__all__ = ["METHODS", "Method"]
