"""Further parameters of a library: one name each, and none that could not act."""

import inspect
from dataclasses import dataclass, field
from difflib import get_close_matches


@dataclass(frozen=True)
class Library:
    """What a library calls its parameters, and what the class keeps for itself.

    Parameters
    ----------
    name : str
        The library.
    own : dict of str to str
        The library's main name of each parameter of the class's constructor.
    refused : dict of str to str
        Why a parameter cannot act, by its main name.
    refused_values : dict of str to dict
        Why a value of a parameter cannot act, by the main name and the value.
    needs : dict of str to tuple
        Parameters that act beside certain values of others only: (those values, other names ...).
    """

    name: str
    own: dict
    refused: dict
    refused_values: dict = field(default_factory=dict)
    needs: dict = field(default_factory=dict)


def further_parameters(estimator, library, main_names):
    """The parameters in ``params`` by their main names, or an error that says why one cannot act.

    Parameters
    ----------
    estimator : BoostedClassifier
        Its constructor's values may not disagree with those in its ``params``.
    library : Library
        Names and refusals.
    main_names : dict of str to str
        The library's main name of every name it knows.

    Returns
    -------
    dict
        Values by main names; None is not given.
    """
    given = {k: v for k, v in (estimator.params or {}).items() if v is not None}
    owner = type(estimator).__name__
    found, source = {}, {}
    for name, value in given.items():
        main = main_names.get(name)
        entry = f"params={{{name!r}: {value!r}}}"
        if main is None and name not in library.refused:
            raise ValueError(
                f"{owner}: {library.name} has no parameter {name!r}{_hint(estimator, name, main_names)}."
            )
        reason = library.refused.get(name) or library.refused.get(main)
        if isinstance(value, str | bool):
            reason = reason or library.refused_values.get(main, {}).get(_lower(value))
        if reason:
            raise ValueError(f"{owner}: {entry} cannot act: {reason}.")
        if main in found:
            raise ValueError(
                f"{owner}: params holds {source[main]!r} and {name!r}, two names of one parameter of "
                f"{library.name}; give one of them."
            )
        _agree(estimator, library, main, value, entry)
        found[main], source[main] = value, name
    for main, (values, *others) in library.needs.items():
        if main in found and not any(_lower(found.get(other)) in values for other in others):
            raise ValueError(
                f"{owner}: params={{{source[main]!r}: {found[main]!r}}} cannot act without "
                f"{' or '.join(map(repr, others))} set to {' or '.join(map(repr, values))}."
            )
    return found


def _agree(estimator, library, main, value, entry):
    """A parameter given to the constructor and in ``params`` must be the same."""
    own = library.own.get(main)
    if own is None:
        return
    present = getattr(estimator, own)
    default = inspect.signature(type(estimator).__init__).parameters[own].default
    if present != default and present != value:
        raise ValueError(
            f"{type(estimator).__name__}: {own}={present!r} and {entry} are two values of one "
            "parameter; give one of them."
        )


def _lower(value):
    """A value as the libraries read it: the case of letters does not matter."""
    return value.lower() if isinstance(value, str) else value


def _hint(estimator, name, main_names):
    if name in estimator.get_params(deep=False):
        return f"; {name}= is a parameter of {type(estimator).__name__} itself"
    close = get_close_matches(str(name), main_names, n=1)
    return f"; the closest name is {close[0]!r}" if close else ""
