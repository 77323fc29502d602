"""A method of the benchmark as a small object."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class Method:
    """A method of the benchmark: an estimator at settings that do not depend on the set.

    Parameters
    ----------
    name : str
        What the page calls it, and the name of its files in a folder of predictions.
    make : callable
        Function of the training features (a data frame, or a series of texts) and of a seed that returns an
        unfitted estimator. All preprocessing belongs into it, so that it is fitted on training rows only.
    needs : tuple of str, default=("sklearn",)
        Modules, or ``module:name``, without which it is skipped. The first one's version stands on the page; a
        method of skimb is one that needs skimb first.
    suites : tuple of str, default=("binary", "multiclass")
        Suites that it can be run in.
    settings : int, default=1
        Settings that it tries within the training rows; searches that are compared try equally many.
    kind : {"default", "search", "change"}, default="default"
        Methods of kind "default" are run unless others are named.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from skimb.benchmark import Method
    >>> constant = Method("constant", lambda X, seed: DummyClassifier())
    >>> constant.missing() is None
    True
    """

    name: str
    make: Callable
    needs: tuple[str, ...] = ("sklearn",)
    suites: tuple[str, ...] = ("binary", "multiclass")
    settings: int = 1
    kind: str = "default"

    @property
    def ours(self):
        """Whether it is a method of this package."""
        return self.needs[0].startswith("skimb")

    def missing(self):
        """Why it cannot run here, or None.

        Returns
        -------
        str or None
            One clause that names what is missing.
        """
        for need in self.needs:
            module, _, name = need.partition(":")
            try:
                found = import_module(module)
            except ImportError as error:
                return str(error)
            if name and not hasattr(found, name):
                return f"{module} has no {name}"
        return None

    def release(self):
        """Name and version of the package that it is of.

        Returns
        -------
        str
            As ``scikit-learn 1.9.1``.
        """
        package = self.needs[0].partition(".")[0].partition(":")[0]
        for name in (
            package,
            {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn"}.get(package, package),
            f"{package}-cpu",
        ):
            try:
                return f"{name} {version(name)}"
            except PackageNotFoundError:
                continue
        return package
