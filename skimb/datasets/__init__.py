"""Imbalanced cuts of data sets that ship with scikit-learn, and responses released as means of bags."""

from skimb.datasets._aggregates import aggregate_responses
from skimb.datasets._bundled import load_breast_cancer_rare, load_digits_long_tailed

__all__ = ["aggregate_responses", "load_breast_cancer_rare", "load_digits_long_tailed"]
