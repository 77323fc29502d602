"""Imports of packages that only an extra brings."""

from importlib import import_module


def require(module, *, extra):
    """Import `module` or say how to get it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        The extra of skimb that installs it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the module is missing or broken; the message names the cure.
    """
    try:
        return import_module(module)
    except ImportError as error:
        reason = str(error).partition("\n")[0]
        raise ImportError(
            f"{module!r} is needed here and could not be imported ({reason}); get it with "
            f'`pip install "skimb[{extra}]"`.'
        ) from error


def lacking(module, *, extra):
    """What :func:`require` would say, or None where the module is there."""
    try:
        require(module, extra=extra)
    except ImportError as error:
        return str(error)
    return None
