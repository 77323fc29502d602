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
        If the module is not installed; the message names the cure.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module!r} is needed here but is not installed; get it with "
            f"`pip install skimb[{extra}]`."
        ) from error
