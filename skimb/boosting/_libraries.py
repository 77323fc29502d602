"""What LightGBM and XGBoost call their parameters, and which of them cannot act under a loss."""

import json
import re

from skimb._core.optional import require
from skimb.boosting._params import Library

_OWN_OBJECTIVES = "it belongs to the library's own objectives, whose place the loss takes"
_CLASSES = "it belongs to the library's own objectives; weigh classes with class_weight="
_LOSS = "loss= is the objective"
_START = "boosting starts from the best constant of the loss"
_METRICS = "validation_scoring= names what validation rows are scored by"
_STOPPING = "early_stopping=True and n_iter_no_change= stop training"
_FILES = "it belongs to the library's command line and its files"
_PREDICTION = "predictions come from all trees; it belongs to the library's own predict"
_FOREST = "forests have no starting scores; use boosting of type 'gbdt', 'dart' or 'goss'"


def _for_all(reason, names):
    return dict.fromkeys(names.split(), reason)


LIGHTGBM = Library(
    "LightGBM",
    own={
        "num_iterations": "n_estimators",
        "learning_rate": "learning_rate",
        "num_leaves": "num_leaves",
        "max_depth": "max_depth",
        "min_data_in_leaf": "min_child_samples",
        "min_sum_hessian_in_leaf": "min_child_weight",
        "bagging_fraction": "subsample",
        "feature_fraction": "colsample_bytree",
        "lambda_l2": "reg_lambda",
        "lambda_l1": "reg_alpha",
        "num_threads": "n_jobs",
    },
    refused={
        "objective": _LOSS,
        "num_class": "y says how many classes there are",
        "boost_from_average": _START,
        "feature_pre_filter": "features are never filtered before training",
        **_for_all(
            _CLASSES, "scale_pos_weight is_unbalance pos_bagging_fraction neg_bagging_fraction"
        ),
        **_for_all(
            _OWN_OBJECTIVES,
            "sigmoid alpha fair_c poisson_max_delta_step tweedie_variance_power reg_sqrt objective_seed "
            "lambdarank_truncation_level lambdarank_norm lambdarank_position_bias_regularization "
            "label_gain bagging_by_query",
        ),
        **_for_all(
            _METRICS,
            "metric metric_freq is_provide_training_metric eval_at multi_error_top_k auc_mu_weights "
            "first_metric_only",
        ),
        **_for_all(_STOPPING, "early_stopping_round early_stopping_min_delta"),
        **_for_all(
            _FILES,
            "config task data valid input_model output_model output_result convert_model "
            "convert_model_language snapshot_freq save_binary header label_column weight_column "
            "group_column ignore_column two_round pre_partition precise_float_parser "
            "parser_config_file refit_decay_rate saved_feature_importance_type",
        ),
        **_for_all(
            _PREDICTION,
            "predict_raw_score predict_leaf_index predict_contrib predict_disable_shape_check "
            "pred_early_stop pred_early_stop_freq pred_early_stop_margin num_iteration_predict "
            "start_iteration_predict",
        ),
    },
    refused_values={"boosting": _for_all(_FOREST, "rf random_forest")},
    needs={
        **dict.fromkeys(
            [
                "drop_rate",
                "max_drop",
                "skip_drop",
                "uniform_drop",
                "xgboost_dart_mode",
                "drop_seed",
            ],
            (("dart",), "boosting"),
        ),
        **dict.fromkeys(
            ["top_rate", "other_rate"], (("goss",), "boosting", "data_sample_strategy")
        ),
        "linear_lambda": ((True, 1, "true"), "linear_tree"),
    },
)

XGBOOST = Library(
    "XGBoost",
    own={
        "learning_rate": "learning_rate",
        "max_depth": "max_depth",
        "min_child_weight": "min_child_weight",
        "gamma": "gamma",
        "subsample": "subsample",
        "colsample_bytree": "colsample_bytree",
        "reg_lambda": "reg_lambda",
        "reg_alpha": "reg_alpha",
        "nthread": "n_jobs",
    },
    refused={
        "objective": _LOSS,
        **_for_all("y says how many classes there are", "num_class num_target"),
        **_for_all(_START, "base_score boost_from_average"),
        "scale_pos_weight": _CLASSES,
        **_for_all(_METRICS, "eval_metric disable_default_eval_metric"),
        **_for_all(_STOPPING, "early_stopping_rounds"),
        "num_feature": "X says how many features there are",
        **_for_all("every fit grows new trees", "process_type refresh_leaf"),
        **_for_all(
            _OWN_OBJECTIVES,
            "huber_slope quantile_alpha expectile_alpha tweedie_variance_power "
            "aft_loss_distribution aft_loss_distribution_scale lambdarank_pair_method "
            "lambdarank_num_pair_per_sample lambdarank_normalization lambdarank_score_normalization "
            "lambdarank_unbiased lambdarank_bias_norm ndcg_exp_gain",
        ),
    },
    refused_values={
        "booster": {"gblinear": "this class grows trees; use skimb.linear_model"},
        "enable_categorical": {False: "columns of dtype category are categories"},
    },
)

#: XGBoost's other names, which no call of its interface lists
XGBOOST_ALIASES = {
    "eta": "learning_rate",
    "min_split_loss": "gamma",
    "lambda": "reg_lambda",
    "alpha": "reg_alpha",
    "n_jobs": "nthread",
    "random_state": "seed",
}
#: arguments of a DMatrix
XGBOOST_DATA = ("missing", "feature_types", "feature_weights", "enable_categorical")
_INTERNAL = {"name", "num_trees", "updater_seq", "specified_updater", "debug_synchronize"}


def lightgbm_names():
    """LightGBM's main name of each name it knows, from its own table."""
    lgb = require("lightgbm", extra="gbdt")
    table = lgb.basic._ConfigAliases._get_all_param_aliases()
    return {alias: main for main, aliases in table.items() for alias in aliases}


def xgboost_names(params):
    """XGBoost's main name of each name it uses beside these parameters, from its own configuration.

    Parameters
    ----------
    params : dict
        Parameters; the booster and the tree method decide which others there are.

    Returns
    -------
    dict of str to str
        Main names.
    """
    xgb = require("xgboost", extra="gbdt")
    deciding = {k: params[k] for k in ("booster", "tree_method") if params.get(k) is not None}
    try:
        text = xgb.Booster({"num_feature": 1, "verbosity": 0, **deciding}).save_config()
    except xgb.core.XGBoostError as error:
        raise ValueError(f"XGBoost refuses params={deciding!r}: {first_line(error)}") from error
    names = {"verbosity", *XGBOOST_DATA, *_leaves(json.loads(text))} - _INTERNAL
    return {name: XGBOOST_ALIASES.get(name, name) for name in names}


def _leaves(tree):
    """Names of the values in a nested configuration."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, value in items:
        if isinstance(value, dict | list):
            yield from _leaves(value)
        elif isinstance(name, str):
            yield name


def first_line(error):
    """What an error of a library says, without the places in its source."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^\[[\d:]+\] \S+: | at \S+, line \d+ *\.", "", line).strip()
