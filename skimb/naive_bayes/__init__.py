"""Generative classifiers."""

from skimb.naive_bayes._pooled import PooledGaussianNB

__all__ = ["PooledGaussianNB"]
