"""Warnings that point at the line of the user's own code."""

import sys
import threading
import warnings
from contextlib import contextmanager
from contextvars import ContextVar

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


#: what `user_line` gave where a thread was started, in the context of the thread
STARTED_AT: ContextVar = ContextVar("STARTED_AT", default=None)

_MUTED: ContextVar = ContextVar("_MUTED", default=())


@contextmanager
def muted(category):
    """Keep our own warnings of a class quiet in this thread; the filters of ``warnings`` belong to all threads.

    Parameters
    ----------
    category : type
        Class of the warnings.
    """
    before = _MUTED.set((*_MUTED.get(), category))
    try:
        yield
    finally:
        _MUTED.reset(before)


_FILTERS = threading.Lock()


@contextmanager
def ignored(category):
    """Ignore warnings of other packages in a short block.

    Filters belong to all threads: of two that change and restore them at once the later may restore what the other
    had changed, for good. So our own blocks wait for each other.

    Parameters
    ----------
    category : type
        Class of the warnings.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def user_line():
    """The innermost line that belongs to none of the packages a call passes through.

    Returns
    -------
    tuple or None
        File, number, name of the module and its warnings so far; in a thread without such a line that of the
        start of the thread, where it is known.
    """
    frame = sys._getframe(1)
    while frame is not None:
        names = frame.f_globals
        module = names.get("__name__", "")
        if module.partition(".")[0] not in _PASSED_THROUGH:
            seen = names.setdefault("__warningregistry__", {})
            return frame.f_code.co_filename, frame.f_lineno, module, seen
        frame = frame.f_back
    return STARTED_AT.get()


def warn_user(message, category=UserWarning):
    """Warn, naming the line of the user's own code.

    Parameters
    ----------
    message : str
        What to say.
    category : type, default=UserWarning
        Class of the warning.
    """
    if issubclass(category, _MUTED.get()):
        return
    line = user_line()
    if line is None:
        warnings.warn(message, category, stacklevel=2)
    else:
        warnings.warn_explicit(message, category, *line)
