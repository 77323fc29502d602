"""How training is ended from outside: by a callback, or by the user."""

from dis import opmap


class StopTraining(KeyboardInterrupt):
    """Raised by a callback to end training; skorch ends its loop on KeyboardInterrupt."""


def ended_by_callback(signal):
    """Whether an interruption is a callback's way to end training; skorch's own callbacks raise it too."""
    if isinstance(signal, StopTraining):
        return True
    frame = _origin(signal).tb_frame
    return frame.f_globals.get("__name__", "").startswith("skorch.callbacks")


def raised_by_code(signal):
    """Whether an interruption comes from a ``raise`` statement and not from the user's Ctrl-C.

    Python raises the latter between any two instructions, so that the last one of its traceback is no
    ``raise``.
    """
    place = _origin(signal)
    code = place.tb_frame.f_code.co_code
    return place.tb_lasti >= 0 and code[place.tb_lasti] == opmap["RAISE_VARARGS"]


def _origin(signal):
    """The last entry of an exception's traceback."""
    place = signal.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    return place
