"""Classifiers of rows with several labels: missing labels, long tails, sets of labels."""

from skimb.multilabel._comic import COMICClassifier
from skimb.multilabel._sets import SetPredictionClassifier

__all__ = ["COMICClassifier", "SetPredictionClassifier"]
