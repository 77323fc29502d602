"""What a good refusal is: one sentence in skimb's own words, not the traceback of a library below."""

import re
import traceback

BELOW = ("torch", "numpy", "scipy", "joblib", "skorch")
#: a full stop that ends a sentence: after a word, before a capital letter
_INNER_STOP = re.compile(r"[a-z)\]`'\"]\. +[A-Z]")


def check_refusal(error, names):
    """Check that an exception tells the user what does not go together.

    Parameters
    ----------
    error : Exception
        What was raised.
    names : iterable of str
        Parameters, values and losses involved; the message must name one of them.
    """
    said = str(error)
    assert isinstance(error, (ValueError, TypeError)), f"{type(error).__name__} is none: {said}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    below = [name for name in BELOW if f"/{name}/" in frame.filename]
    assert not below, f"{below[0]} refused instead of skimb, in {frame.name}: {said}"
    assert said.endswith("."), f"no full stop: {said}"
    assert "\n" not in said.strip(), f"more than one line: {said}"
    stops = _INNER_STOP.findall(said)
    assert len(stops) <= 1, f"more than a sentence and its cure: {said}"
    assert any(name in said for name in names), f"names none of {sorted(names)}: {said}"
