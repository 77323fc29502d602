"""Classifiers that compare a row with the training rows."""

from skimb.neighbors._singular import SingularKernelClassifier

__all__ = ["SingularKernelClassifier"]
