"""Searches within the training rows: each tries 30 settings in three folds."""

from functools import partial

from scipy.stats import loguniform
from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold

from skimb.benchmark._methods._classifiers import (
    TABM,
    catboost,
    encoded_linear,
    forest,
    lightgbm,
    xgboost,
)
from skimb.benchmark._methods._method import Method

SETTINGS, FOLDS = 30, 3
_BOOSTED = {
    "learning_rate": loguniform(0.01, 0.3),
    "reg_lambda": loguniform(0.01, 10.0),
    "subsample": [0.6, 0.8, 1.0],
    "n_estimators": [50, 100, 200, 400],
    "colsample_bytree": [0.5, 0.75, 1.0],
}
_SPACES = {
    lightgbm: _BOOSTED
    | {"num_leaves": [4, 8, 16, 31], "min_child_samples": [5, 10, 20, 40], "subsample_freq": [1]},
    xgboost: _BOOSTED | {"max_depth": [2, 3, 4, 6], "min_child_weight": [0.1, 1.0, 5.0]},
    catboost: {
        "catboostclassifier__learning_rate": loguniform(0.01, 0.3),
        "catboostclassifier__l2_leaf_reg": loguniform(0.5, 20.0),
        "catboostclassifier__depth": [3, 4, 6, 8],
        "catboostclassifier__iterations": [100, 200, 400, 800],
        "catboostclassifier__random_strength": [0.5, 1.0, 3.0],
    },
}


def _folds(seed):
    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed)


def tuned(make_one):
    """The best of 30 random settings by log loss over three folds."""

    def make(X, seed):
        how = {"n_iter": SETTINGS, "cv": _folds(seed), "scoring": "neg_log_loss"}
        return RandomizedSearchCV(make_one(X, seed), _SPACES[make_one], random_state=seed, **how)

    return make


def across_kinds(X, seed):
    """Nets, linear models, a forest and boosted trees in one search with an ensemble: 30 settings as well."""
    from skimb.losses import Focal, LogitAdjusted
    from skimb.model_selection import LossSearchCV
    from skimb.neural_network import TabMClassifier

    kinds = [
        ("tabm", TabMClassifier(random_state=seed)),  # 4 with the losses
        ("linear", encoded_linear(X, seed)),  # 8 with the losses
        ("forest", forest(X, seed)),
        ("cat", catboost(X, seed)),
        ("light", lightgbm(X, seed)),
        ("xgb", xgboost(X, seed)),
    ]
    grids = {
        "linear": {"linearclassifier__alpha": [1e-4, 1e-2]},
        "forest": {"randomforestclassifier__min_samples_leaf": [1, 5]},
        "cat": {
            "catboostclassifier__depth": [4, 6],
            "catboostclassifier__iterations": [200, 500],
        },
        "light": {
            "learning_rate": [0.03, 0.1],
            "num_leaves": [4, 16],
            "min_child_samples": [10, 30],
        },
        "xgb": {"learning_rate": [0.03, 0.1], "max_depth": [3, 6]},
    }
    how = {"scoring": "neg_log_loss", "cv": _folds(seed), "ensemble": 12}
    return LossSearchCV(kinds, grids, losses=[Focal(1.0), LogitAdjusted()], **how)


_search = partial(Method, settings=SETTINGS, kind="search")
SEARCHES = (
    _search("LossSearchCV across kinds", across_kinds, (TABM, "catboost", "lightgbm", "xgboost")),
    _search("LightGBM, tuned", tuned(lightgbm), ("lightgbm",)),
    _search("XGBoost, tuned", tuned(xgboost), ("xgboost",)),
    _search("CatBoost, tuned", tuned(catboost), ("catboost",)),
)
