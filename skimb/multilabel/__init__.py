"""Classifiers of rows with several labels: missing labels, long tails, sets of labels."""

from skimb.multilabel._comic import COMICClassifier

__all__ = ["COMICClassifier"]
