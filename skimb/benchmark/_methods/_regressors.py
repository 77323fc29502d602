"""Regressors of tables at their defaults, and rounded ones for ordered classes."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skimb.benchmark._methods._classifiers import EARLY, logistic, ours
from skimb.benchmark._methods._columns import Common, as_text, codes, scaled
from skimb.benchmark._methods._method import Method


def hist(X, seed):
    """Histogram gradient boosting of scikit-learn with its own categories."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    kw = {"categorical_features": "from_dtype", "random_state": seed}
    return make_pipeline(Common(), HistGradientBoostingRegressor(**kw))


def lightgbm(X, seed):
    """LightGBM with its own categories."""
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_jobs=1, verbose=-1, random_state=seed)


def xgboost(X, seed):
    """XGBoost with its own categories."""
    from xgboost import XGBRegressor

    return XGBRegressor(n_jobs=1, enable_categorical=True, random_state=seed)


def catboost(X, seed):
    """CatBoost with categories as texts."""
    from catboost import CatBoostRegressor

    class OnFrames(CatBoostRegressor):
        def fit(self, X, y):
            return super().fit(X, y, cat_features=X.select_dtypes(object).columns.tolist())

    kw = {"thread_count": 1, "allow_writing_files": False, "verbose": False, "random_seed": seed}
    return Pipeline([("text", FunctionTransformer(as_text)), ("catboost", OnFrames(**kw))])


def forest(X, seed):
    """A forest on codes."""
    from sklearn.ensemble import RandomForestRegressor

    return make_pipeline(codes(impute=False), RandomForestRegressor(n_jobs=1, random_state=seed))


def ridge(X, seed):
    """Ridge regression on scaled columns."""
    return make_pipeline(scaled(), Ridge())


def standardized(name, module="skimb.neural_network", **kw):
    """A regressor on scaled columns and a scaled target."""

    def make(X, seed):
        from importlib import import_module

        kind = getattr(import_module(module), name)
        model = make_pipeline(scaled(), kind(random_state=seed, **kw))
        return TransformedTargetRegressor(model, transformer=StandardScaler())

    return make


def balanced_ridge(X, seed):
    """Ridge regression with the balanced squared error."""
    from skimb.linear_model import BalancedRidge

    model = make_pipeline(scaled(), BalancedRidge())
    return TransformedTargetRegressor(model, transformer=StandardScaler())


def tabm(X, seed):
    """TabM on the frame as it stands."""
    from skimb.neural_network import TabMRegressor

    return TabMRegressor(random_state=seed)


def density_weighted(X, seed):
    """LightGBM with rows weighed by the inverse density of their targets."""
    from skimb.pipeline import DensityWeightedRegressor

    return DensityWeightedRegressor(lightgbm(X, seed))


class Rounded(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Ordered classes by the nearest code to a regressor's prediction."""

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y):
        """Fit the regressor to the codes."""
        self.classes_ = np.unique(y)
        self.regressor_ = clone(self.regressor).fit(X, y.astype(float))
        return self

    def predict(self, X):
        """The nearest codes."""
        return np.clip(np.rint(self.regressor_.predict(X)), self.classes_[0], self.classes_[-1])


class Median(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Ordered classes by the median of a classifier's probabilities, the decision of least absolute error."""

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        """Fit the classifier."""
        self.classifier_ = clone(self.classifier).fit(X, y)
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(self, X):
        """The classifier's probabilities."""
        return self.classifier_.predict_proba(X)

    def predict(self, X):
        """The median classes."""
        reached = self.predict_proba(X).cumsum(1) >= 0.5 - 1e-12
        return self.classes_[reached.argmax(1)]


def by(wrapper, make_one):
    """A method behind a wrapper."""

    def make(X, seed):
        return wrapper(make_one(X, seed))

    return make


def kappa_net(X, seed):
    """Our perceptron with the loss of the quadratic kappa."""
    from skimb.losses import QuadraticWeightedKappa

    return ours(scaled, loss=QuadraticWeightedKappa(), **EARLY)(X, seed)


_NUMBERS = ("regression",)
REGRESSORS = (
    Method("TabMRegressor", tabm, ("skimb.neural_network:TabMRegressor",), _NUMBERS),
    Method("CatBoostRegressor", catboost, ("catboost",), _NUMBERS),
    Method("LGBMRegressor", lightgbm, ("lightgbm",), _NUMBERS),
    Method("LGBMRegressor, density weights", density_weighted, ("skimb", "lightgbm"), _NUMBERS),
    Method("XGBRegressor", xgboost, ("xgboost",), _NUMBERS),
    Method("HistGradientBoostingRegressor", hist, suites=_NUMBERS),
    Method("RandomForestRegressor", forest, suites=_NUMBERS),
    Method("Ridge", ridge, suites=_NUMBERS),
    Method("BalancedRidge", balanced_ridge, ("skimb",), _NUMBERS),
    Method("MLPRegressor", standardized("MLPRegressor"), ("skimb",), _NUMBERS),
    Method(
        "MLPRegressor, early stopping",
        standardized("MLPRegressor", **EARLY),
        ("skimb",),
        _NUMBERS,
    ),
    Method(
        "GradientBoostedMLPRegressor",
        standardized("GradientBoostedMLPRegressor", "skimb.ensemble"),
        ("skimb",),
        _NUMBERS,
    ),
    Method(
        "scikit-learn's MLPRegressor",
        standardized("MLPRegressor", "sklearn.neural_network"),
        suites=_NUMBERS,
    ),
)

_ORDERED = ("ordinal",)
ORDERED = (
    Method("Ridge, rounded", by(Rounded, ridge), suites=_ORDERED),
    Method("HistGradientBoostingRegressor, rounded", by(Rounded, hist), suites=_ORDERED),
    Method("logistic regression, median", by(Median, logistic), suites=_ORDERED),
    Method(
        "MLPClassifier, scaled, early stopping, median",
        by(Median, ours(scaled, **EARLY)),
        ("skimb",),
        _ORDERED,
    ),
    Method("MLPClassifier, quadratic kappa", kappa_net, ("skimb",), _ORDERED),
)
