"""Words of a report."""

_MOST = ("fpr", "review_rate", "cost")


def percent(share):
    """A share as people say it."""
    share = 100 * share
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.2g} %"


def plain(label):
    """A label as Python's own object."""
    return label.item() if hasattr(label, "item") else label


def repr_of(label):
    """A label as one writes it."""
    return repr(plain(label))


def in_words(constraint):
    """A constraint in words."""
    parts = []
    for name, value in constraint.items():
        sign = "at most" if name in _MOST else "at least"
        pairs = value.items() if isinstance(value, dict) else [(None, value)]
        said = name.replace("_", " ")
        parts += [f"{said} {sign} {v:g}{'' if k is None else f' of {k!r}'}" for k, v in pairs]
    return " and ".join(parts)
