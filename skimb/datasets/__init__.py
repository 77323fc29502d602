"""Imbalanced cuts of data sets that ship with scikit-learn."""

from skimb.datasets._bundled import load_breast_cancer_rare, load_digits_long_tailed

__all__ = ["load_breast_cancer_rare", "load_digits_long_tailed"]
