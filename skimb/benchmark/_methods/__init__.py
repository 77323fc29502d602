"""The registry of methods."""

from skimb.benchmark._methods._classifiers import CHANGES, CLASSIFIERS
from skimb.benchmark._methods._method import Method
from skimb.benchmark._methods._searches import SEARCHES

METHODS = {method.name: method for method in (*CLASSIFIERS, *SEARCHES, *CHANGES)}

__all__ = ["METHODS", "Method"]
