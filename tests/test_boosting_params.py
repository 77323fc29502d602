"""Further parameters of the libraries: every name acts, or is refused with a reason."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")

from skimb.boosting import LGBMImbalancedClassifier, XGBImbalancedClassifier  # noqa: E402
from skimb.boosting._libraries import (  # noqa: E402
    LIGHTGBM,
    XGBOOST,
    XGBOOST_ALIASES,
    lightgbm_names,
    xgboost_names,
)

FAST = {"n_estimators": 4, "n_jobs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def rare():
    return make_classification(1200, 6, weights=[0.9], random_state=0)


def proba(cls, data, params=None, **more):
    return cls(**{**FAST, **more}, params=params).fit(*data).predict_proba(data[0])


LIGHTGBM_SAMPLES = {
    "learning_rate": 0.01,
    "num_leaves": 3,
    "max_depth": 2,
    "min_data_in_leaf": 300,
    "min_sum_hessian_in_leaf": 20.0,
    "bagging_fraction": 0.3,
    "feature_fraction": 0.3,
    "lambda_l2": 1e4,
    "lambda_l1": 20.0,
    "max_bin": 3,
    "min_gain_to_split": 5.0,
}


@pytest.mark.parametrize("main", LIGHTGBM_SAMPLES)
def test_every_name_of_lightgbm_acts_alike(main, rare):
    value = LIGHTGBM_SAMPLES[main]
    expected = proba(LGBMImbalancedClassifier, rare, {main: value})
    assert not np.array_equal(expected, proba(LGBMImbalancedClassifier, rare))
    names = [name for name, of in lightgbm_names().items() if of == main]
    assert main in names
    for name in names:
        found = proba(LGBMImbalancedClassifier, rare, {name: value})
        np.testing.assert_array_equal(found, expected)


def test_drawing_and_seeds_act(rare):
    drawn = proba(LGBMImbalancedClassifier, rare, {"subsample": 0.4, "subsample_freq": 1})
    np.testing.assert_array_equal(drawn, proba(LGBMImbalancedClassifier, rare, subsample=0.4))
    for cls in (LGBMImbalancedClassifier, XGBImbalancedClassifier):
        a, b, c = (
            proba(cls, rare, {name: seed}, subsample=0.4)
            for name, seed in (("seed", 7), ("random_state", 7), ("random_state", 8))
        )
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


XGBOOST_SAMPLES = {
    "learning_rate": 0.01,
    "gamma": 20.0,
    "reg_lambda": 1e4,
    "reg_alpha": 30.0,
    "max_bin": 3,
    "max_depth": 2,
}


@pytest.mark.parametrize("main", XGBOOST_SAMPLES)
def test_every_name_of_xgboost_acts_alike(main, rare):
    value = XGBOOST_SAMPLES[main]
    expected = proba(XGBImbalancedClassifier, rare, {main: value})
    assert not np.array_equal(expected, proba(XGBImbalancedClassifier, rare))
    for name in [main, *(alias for alias, of in XGBOOST_ALIASES.items() if of == main)]:
        found = proba(XGBImbalancedClassifier, rare, {name: value})
        np.testing.assert_array_equal(found, expected)


def test_the_other_names_of_xgboost_are_those_of_its_configuration():
    """Names set together in XGBoost's configuration are names of one parameter."""
    names = set(xgboost_names({}))

    def changed(params):
        plain, other = (
            dict(_values(xgb.Booster({"num_feature": 1, **p}).save_config())) for p in ({}, params)
        )
        return {name for name in names if plain.get(name) != other.get(name)}

    for alias, main in XGBOOST_ALIASES.items():
        assert changed({alias: 3}) == changed({main: 3}) >= {alias, main}


def _values(text):
    import json

    def walk(tree):
        for name, value in tree.items():
            if isinstance(value, dict):
                yield from walk(value)
            elif isinstance(value, str):
                yield name, value

    return walk(json.loads(text)["learner"])


def test_tables_name_parameters_that_exist():
    known = set(lightgbm_names().values())
    assert set(LIGHTGBM.own) | set(LIGHTGBM.refused) | set(LIGHTGBM.needs) <= known
    assert set(XGBOOST.own) <= set(xgboost_names({}).values())


@pytest.mark.parametrize(
    ("cls", "params", "message"),
    [
        (cls, params, message)
        for cls, cases in {
            LGBMImbalancedClassifier: [
                ({"objective": "binary"}, "loss= is the objective"),
                ({"application": "binary"}, "loss= is the objective"),
                ({"scale_pos_weight": 9}, "class_weight="),
                ({"is_unbalance": True}, "class_weight="),
                ({"unbalance": True}, "class_weight="),
                ({"pos_bagging_fraction": 0.5}, "class_weight="),
                ({"num_classes": 2}, "how many classes"),
                ({"boosting": "rf"}, "starting scores"),
                ({"boosting_type": "random_forest"}, "starting scores"),
                ({"metric": "auc"}, "validation_scoring="),
                ({"metrics": "auc"}, "validation_scoring="),
                ({"first_metric_only": True}, "validation_scoring="),
                ({"early_stopping_rounds": 3}, "early_stopping=True"),
                ({"sigmoid": 2.0}, "own objectives"),
                ({"boost_from_average": True}, "best constant"),
                ({"predict_raw_score": True}, "predict"),
                ({"drop_rate": 0.5}, "without 'boosting' set to 'dart'"),
                ({"top_rate": 0.5}, "'goss'"),
                ({"linear_lambda": 1.0}, "'linear_tree'"),
                ({"num_leafs": 3}, "closest name is 'num_lea"),
                ({"validation_fraction": 0.5}, "parameter of LGBMImbalancedClassifier itself"),
                ({"eta": 0.1, "learning_rate": 0.2}, "two names of one parameter"),
                ({"n_estimators": 9}, "two values of one parameter"),
                ({"subsample": 0.5, "subsample_freq": 0}, "cannot act with bagging_freq"),
                ({"eta": -1.0}, r"LightGBM refuses .*learning_rate"),
            ],
            XGBImbalancedClassifier: [
                ({"objective": "binary:logistic"}, "loss= is the objective"),
                ({"scale_pos_weight": 9}, "class_weight="),
                ({"num_class": 2}, "how many classes"),
                ({"base_score": 0.3}, "best constant"),
                ({"booster": "gblinear"}, "grows trees"),
                ({"eval_metric": "auc"}, "validation_scoring="),
                ({"early_stopping_rounds": 3}, "early_stopping=True"),
                ({"process_type": "update"}, "new trees"),
                ({"enable_categorical": False}, "categories"),
                ({"is_unbalance": True}, "no parameter 'is_unbalance'"),
                ({"rate_drop": 0.5}, "no parameter 'rate_drop'"),
                ({"n_estimators": 9}, "parameter of XGBImbalancedClassifier itself"),
                ({"eta": 0.1, "learning_rate": 0.2}, "two names of one parameter"),
                ({"eta": -1.0}, r"XGBoost refuses .*learning_rate"),
                ({"booster": "stumps"}, "XGBoost refuses"),
            ],
        }.items()
        for params, message in cases
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_act_is_refused(cls, params, message, rare):
    with pytest.raises(ValueError, match=message):
        proba(cls, rare, params)


def test_values_given_twice_must_agree(rare):
    with pytest.raises(ValueError, match=r"learning_rate=0.5 and params=\{'eta': 0.1\}"):
        proba(LGBMImbalancedClassifier, rare, {"eta": 0.1}, learning_rate=0.5)
    a = proba(XGBImbalancedClassifier, rare, {"eta": 0.5}, learning_rate=0.5)
    np.testing.assert_array_equal(a, proba(XGBImbalancedClassifier, rare, {"eta": 0.5}))
    model = LGBMImbalancedClassifier(params={"num_trees": 3}, n_jobs=1).fit(*rare)
    assert model.n_iter_ == 3


def test_boosting_with_drops_acts_and_does_not_stop_early(rare):
    for cls, name, rate in (
        (LGBMImbalancedClassifier, "boosting", "drop_rate"),
        (XGBImbalancedClassifier, "booster", "rate_drop"),
    ):
        p = proba(cls, rare, {name: "dart", rate: 0.9})
        assert not np.array_equal(p, proba(cls, rare, {name: "dart"}))
    with pytest.raises(ValueError, match="early_stopping=True cannot act"):
        proba(LGBMImbalancedClassifier, rare, {"boosting": "dart"}, early_stopping=True)


def test_missing_values_of_xgboost_can_be_named(rare):
    X, y = rare
    gone = np.abs(X) > 1.5
    as_nan, as_number = np.where(gone, np.nan, X), np.where(gone, -99.0, X)
    a = proba(XGBImbalancedClassifier, (as_nan, y))
    np.testing.assert_array_equal(
        proba(XGBImbalancedClassifier, (as_number, y), {"missing": -99.0}), a
    )
