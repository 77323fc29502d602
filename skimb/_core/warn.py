"""Warnings that point at the line of the user's own code."""

import sys
import warnings

#: packages through which a call of the user may reach the place that warns
_PASSED_THROUGH = frozenset(
    {
        "skimb",
        "sklearn",
        "imblearn",
        "skorch",
        "torch",
        "scipy",
        "lightgbm",
        "xgboost",
        "joblib",
        "dask",
        "distributed",
        "concurrent",
        "contextlib",
        "functools",
        "multiprocessing",
        "threading",
    }
)


def warn_user(message, category=UserWarning):
    """Warn, naming the innermost line that belongs to none of the packages a call passes through.

    Parameters
    ----------
    message : str
        What to say.
    category : type, default=UserWarning
        Class of the warning.
    """
    frame, level, found = sys._getframe(1), 2, 2
    while frame is not None:
        found = level
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _PASSED_THROUGH:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=found)
