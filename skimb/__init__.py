"""Imbalanced learning for scikit-learn: searchable losses, honest probabilities, fast small nets.

Importing ``skimb`` imports neither torch nor matplotlib; each public subpackage is loaded when it
is first touched.
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

_SUBPACKAGES = (
    "benchmark",
    "boosting",
    "datasets",
    "engine",
    "ensemble",
    "export",
    "functional",
    "inspection",
    "kernels",
    "linear_model",
    "losses",
    "metrics",
    "model_selection",
    "multilabel",
    "naive_bayes",
    "neighbors",
    "nets",
    "neural_network",
    "over_sampling",
    "pipeline",
    "posthoc",
    "preprocessing",
    "semi_supervised",
    "streaming",
    "testing",
    "training",
    "under_sampling",
)

__all__ = [*_SUBPACKAGES, "__version__"]


def __getattr__(name):
    if name in _SUBPACKAGES:
        return _import_module(f"skimb.{name}")
    raise AttributeError(f"module 'skimb' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
