"""Classifiers of tables at their defaults."""

from imblearn.pipeline import make_pipeline as sampling_pipeline
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skimb.benchmark._methods._columns import (
    Common,
    Imputed,
    as_text,
    categorical,
    codes,
    encoded,
    scaled,
)
from skimb.benchmark._methods._method import Method

TABM = "skimb.neural_network:TabMClassifier"
ENCODER = "skimb.preprocessing:PiecewiseLinearEncoder"


def catboost(X, seed):
    """CatBoost with categories as texts."""
    from catboost import CatBoostClassifier

    class OnFrames(CatBoostClassifier):  # lists of columns as a parameter cannot be cloned
        def fit(self, X, y):
            return super().fit(X, y, cat_features=X.select_dtypes(object).columns.tolist())

    kw = {"thread_count": 1, "allow_writing_files": False, "verbose": False, "random_seed": seed}
    steps = [("text", FunctionTransformer(as_text)), ("catboostclassifier", OnFrames(**kw))]
    return Pipeline(steps)


def lightgbm(X, seed):
    """LightGBM with its own categories."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=1, verbose=-1, random_state=seed)


def xgboost(X, seed):
    """XGBoost with its own categories."""
    from xgboost import XGBClassifier

    return XGBClassifier(n_jobs=1, enable_categorical=True, random_state=seed)


def hist(X, seed):
    """Histogram gradient boosting of scikit-learn with its own categories."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    kw = {"categorical_features": "from_dtype", "random_state": seed}
    return make_pipeline(Common(), HistGradientBoostingClassifier(**kw))


def forest(X, seed):
    """A forest on codes."""
    from sklearn.ensemble import RandomForestClassifier

    return make_pipeline(codes(impute=False), RandomForestClassifier(n_jobs=1, random_state=seed))


def logistic(X, seed):
    """Logistic regression on scaled columns."""
    return make_pipeline(scaled(), LogisticRegression(max_iter=1000))


def balanced_forest(X, seed):
    """A forest whose bags are balanced, on codes."""
    from imblearn.ensemble import BalancedRandomForestClassifier

    how = {"replacement": True, "sampling_strategy": "all", "bootstrap": False}
    trees = BalancedRandomForestClassifier(n_jobs=1, random_state=seed, **how)
    return make_pipeline(codes(impute=False), trees)


def rusboost(X, seed):
    """AdaBoost on undersampled rows, on codes."""
    from imblearn.ensemble import RUSBoostClassifier

    return make_pipeline(codes(), RUSBoostClassifier(random_state=seed))


def easy_ensemble(X, seed):
    """AdaBoost on balanced bags, on codes."""
    from imblearn.ensemble import EasyEnsembleClassifier

    return make_pipeline(codes(), EasyEnsembleClassifier(n_jobs=1, random_state=seed))


def smote(classifier):
    """A classifier on scaled columns and SMOTE's rows."""

    def make(X, seed):
        from imblearn.over_sampling import SMOTE

        return sampling_pipeline(scaled(), SMOTE(random_state=seed), classifier(X, seed))

    return make


def plain_logistic(X, seed):
    """Logistic regression alone."""
    return LogisticRegression(max_iter=1000)


def ours(before, **kw):
    """Our perceptron."""

    def make(X, seed):
        from skimb.neural_network import MLPClassifier

        return make_pipeline(before(), MLPClassifier(random_state=seed, **kw))

    return make


def theirs(before):
    """The perceptron of scikit-learn."""

    def make(X, seed):
        from sklearn.neural_network import MLPClassifier

        return make_pipeline(before(), MLPClassifier(random_state=seed))

    return make


def encoded_linear(X, seed):
    """Our linear model on encoded numbers."""
    from skimb.linear_model import LinearClassifier

    return make_pipeline(encoded(), LinearClassifier(random_state=seed))


def tabm(**kw):
    """TabM on the frame as it stands."""

    def make(X, seed):
        from skimb.neural_network import TabMClassifier

        return TabMClassifier(random_state=seed, **kw)

    return make


class Named(BaseEstimator):
    """A classifier of pytabkit that is told the names of categories when it is fitted."""

    def __init__(self, model, names):
        self.model, self.names = model, names

    def fit(self, X, y):
        """Fit behind medians."""
        self.before_ = Imputed().fit(X)
        self.model.fit(self.before_.transform(X), y, cat_col_names=self.names)
        return self

    def predict_proba(self, X):
        """Probabilities."""
        return self.model.predict_proba(self.before_.transform(X))

    def predict(self, X):
        """Classes."""
        return self.model.predict(self.before_.transform(X))


def of_pytabkit(name):
    """A classifier of pytabkit at its defaults."""

    def make(X, seed):
        import pytabkit

        kw = {"device": "cpu", "n_threads": 1, "random_state": seed}
        return Named(getattr(pytabkit, name)(**kw), categorical(X))

    return make


EARLY = {"early_stopping": True}
CLASSES = ("binary", "multiclass", "ordinal")
TWO = ("binary",)  # samplers fail on classes of a handful of rows
CLASSIFIERS = (
    Method("TabMClassifier", tabm(), (TABM,), CLASSES),
    Method("CatBoost", catboost, ("catboost",), CLASSES),
    Method("LightGBM", lightgbm, ("lightgbm",), CLASSES),
    Method("XGBoost", xgboost, ("xgboost",), CLASSES),
    Method("HistGradientBoosting", hist, suites=CLASSES),
    Method("random forest", forest, suites=CLASSES),
    Method("balanced random forest", balanced_forest, ("imblearn",)),
    Method("RUSBoost", rusboost, ("imblearn",), TWO),
    Method("EasyEnsemble", easy_ensemble, ("imblearn",), TWO),
    Method("logistic regression", logistic, suites=CLASSES),
    Method("SMOTE, logistic regression", smote(plain_logistic), ("imblearn",), TWO),
    Method("SMOTE, LightGBM", smote(lightgbm), ("imblearn", "lightgbm"), TWO),
    Method("MLPClassifier", ours(codes), ("skimb",)),
    Method("MLPClassifier, scaled", ours(scaled), ("skimb",)),
    Method("MLPClassifier, scaled, early stopping", ours(scaled, **EARLY), ("skimb",), CLASSES),
    Method(
        "MLPClassifier, scaled, early stopping, weighted",
        ours(scaled, class_weight="balanced", **EARLY),
        ("skimb",),
    ),
    Method("MLPClassifier, encoded", ours(encoded), (ENCODER,)),
    Method("LinearClassifier, encoded", encoded_linear, (ENCODER,)),
    Method("RealMLP", of_pytabkit("RealMLP_TD_Classifier"), ("pytabkit",)),
    Method("TabM of pytabkit", of_pytabkit("TabM_D_Classifier"), ("pytabkit",)),
    Method("scikit-learn's MLPClassifier", theirs(codes)),
    Method("scikit-learn's MLPClassifier, scaled", theirs(scaled)),
)

_CHANGES = (
    ("n_members", 4),
    ("n_members", 16),
    ("width", 32),
    ("width", 128),
    ("validation_folds", 1),
    ("validation_folds", 3),
    ("d_embedding", 8),
    ("dropout", 0.1),
    ("embedding", "periodic"),
    ("ensemble", "packed"),
)
CHANGES = tuple(
    Method(f"TabMClassifier, {name}={value}", tabm(**{name: value}), (TABM,), kind="change")
    for name, value in _CHANGES
)
