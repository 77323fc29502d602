"""Parameters of estimators and losses, whose names are read once per class."""

from sklearn.base import BaseEstimator


class NamesReadOnce(BaseEstimator):
    """An estimator whose class inspects its constructor once: searches ask for the names thousands of times."""

    @classmethod
    def _get_param_names(cls):
        if "_names_of_params" not in cls.__dict__:
            cls._names_of_params = tuple(super()._get_param_names())
        return list(cls._names_of_params)
