"""Generative classifiers."""

from skimb.naive_bayes._bessel import log_iv
from skimb.naive_bayes._pooled import PooledGaussianNB
from skimb.naive_bayes._von_mises_fisher import VonMisesFisherClassifier

__all__ = ["PooledGaussianNB", "VonMisesFisherClassifier", "log_iv"]
