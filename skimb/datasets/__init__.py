"""Imbalanced sets: cut from scikit-learn's, fetched, read from files; responses released as means of bags."""

from skimb.datasets._aggregates import aggregate_responses
from skimb.datasets._bundled import load_breast_cancer_rare, load_digits_long_tailed
from skimb.datasets._fetch import fetch_imbalanced_learn, fetch_openml_table, fetch_table
from skimb.datasets._parquet import read_parquet_table

__all__ = [
    "aggregate_responses",
    "fetch_imbalanced_learn",
    "fetch_openml_table",
    "fetch_table",
    "load_breast_cancer_rare",
    "load_digits_long_tailed",
    "read_parquet_table",
]
