"""XGBoost under any row-separable loss."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.optional import require
from skimb.boosting._libraries import XGBOOST, XGBOOST_DATA, first_line, xgboost_names
from skimb.boosting._objectives import XGBoostObjective
from skimb.boosting._params import further_parameters
from skimb.boosting._trees import TreeClassifier
from skimb.boosting._validation import Watch


class XGBImbalancedClassifier(TreeClassifier):
    """XGBoost under any row-separable loss, with honest probabilities.

    Parameters
    ----------
    loss : Loss, default=None
        A loss of :mod:`skimb.losses` with losses of single rows; ``None`` is cross-entropy.
    n_estimators : int, default=100
        Boosting rounds; every round grows one tree per score column.
    learning_rate : float, default=0.3
        Shrinkage of each tree.
    max_depth : int, default=6
        Largest depth; ``None`` is unlimited.
    min_child_weight : float, default=1.0
        Least sum of Hessians in a leaf.
    gamma : float, default=0.0
        Least gain of a split.
    subsample : float in (0, 1], default=1.0
        Share of the rows drawn for each tree.
    colsample_bytree : float in (0, 1], default=1.0
        Share of the features drawn for each tree.
    reg_lambda, reg_alpha : float, default=1.0, 0.0
        L2 and L1 penalty of leaf values.
    class_weight : {"balanced", "effective"} or dict, default=None
        Weights of classes; ``predict_proba`` undoes them.
    early_stopping : bool, default=False
        Whether to stop when the validation score no longer improves, and to keep the best round.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows, stratified by class, set aside for early stopping.
    n_iter_no_change : int, default=10
        Rounds without improvement after which to stop.
    validation_scoring : str or callable, default=None
        Any scikit-learn scorer; ``None`` is the log-loss, or the loss itself if it gives no probabilities.
    importance_type : {"gain", "weight", "cover", "total_gain", "total_cover"}, default="gain"
        What ``feature_importances_`` measures; their sum is 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the validation rows and, unless `params` names one, of the library.
    n_jobs : int, default=None
        Threads; ``None`` is 1 outside a context of joblib, -1 all cores.
    params : dict, default=None
        Further parameters of XGBoost, by any of its names, and ``missing``, ``feature_types`` and
        ``feature_weights`` of its data. One that this class has too must not be given twice with different
        values; one that cannot act is an error.

    Attributes
    ----------
    booster_ : xgboost.Booster
        The trees.
    classes_, n_features_in_, feature_names_in_ : ndarray, int, ndarray
        Classes and features seen in fit.
    feature_importances_ : ndarray of shape (n_features,)
        Importance of each feature.
    evals_result_ : dict of str to dict of str to list
        Scores of each validation set, "valid_0" and so on, after each round, by the metric's name.
    init_scores_ : ndarray of shape (n_columns,)
        Scores that boosting starts from: the best constant.
    n_columns_, n_iter_ : int
        Score columns, boosting rounds kept.
    prior_, class_weight_ : ndarray of shape (n_classes,)
        Label distribution of the training rows, weights of classes or None.
    loss_function_ : Loss
        The loss that was trained.

    Notes
    -----
    Columns of a data frame with dtype ``category`` are categories to XGBoost, on the list of categories
    seen in fit; unseen ones are missing values. Characters that XGBoost refuses in names of features are
    underscores in ``booster_``.

    See Also
    --------
    as_xgboost : The objective alone, for XGBoost's own estimators.

    Examples
    --------
    >>> from skimb.boosting import XGBImbalancedClassifier
    >>> from skimb.datasets import load_breast_cancer_rare
    >>> from skimb.losses import Focal
    >>> X, y = load_breast_cancer_rare()
    >>> model = XGBImbalancedClassifier(Focal(), n_estimators=20, n_jobs=1, random_state=0)
    >>> model.fit(X, y).predict(X).shape
    (393,)
    """

    _parameter_constraints = {
        **TreeClassifier._parameter_constraints,
        "min_child_weight": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "importance_type": [StrOptions({"gain", "weight", "cover", "total_gain", "total_cover"})],
    }

    def __init__(
        self,
        loss=None,
        *,
        n_estimators=100,
        learning_rate=0.3,
        max_depth=6,
        min_child_weight=1.0,
        gamma=0.0,
        subsample=1.0,
        colsample_bytree=1.0,
        reg_lambda=1.0,
        reg_alpha=0.0,
        class_weight=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        validation_scoring=None,
        importance_type="gain",
        random_state=None,
        n_jobs=None,
        params=None,
    ):
        self.loss = loss
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.gamma = gamma
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.validation_scoring = validation_scoring
        self.importance_type = importance_type
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.params = params

    def _library_params(self, seed):
        """XGBoost's parameters by their main names, and those of its data."""
        given = further_parameters(self, XGBOOST, xgboost_names(self.params or {}))
        of_data = {"enable_categorical": True}
        of_data |= {name: given.pop(name) for name in XGBOOST_DATA if name in given}
        params = {
            "learning_rate": self.learning_rate,
            "max_depth": 0 if self.max_depth is None else self.max_depth,
            "min_child_weight": self.min_child_weight,
            "gamma": self.gamma,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "reg_lambda": self.reg_lambda,
            "reg_alpha": self.reg_alpha,
            "seed": seed,
            "base_score": 0.0,
            "disable_default_eval_metric": True,
            "verbosity": 1,
            "nthread": self._threads,
            **({"num_class": self.n_columns_} if self.n_columns_ > 1 else {}),
            **given,
        }
        return params, of_data

    def _matrix(self, X, code=None, weight=None, **more):
        xgb = require("xgboost", extra="gbdt")
        return xgb.DMatrix(
            X,
            code,
            weight=weight,
            base_margin=None if code is None else self._starts(len(code)),
            feature_names=self._columns.names,
            nthread=self._threads,
            **self._of_data,
            **more,
        )

    def _train(self, X, code, weight, sets, metric, seed):
        xgb = require("xgboost", extra="gbdt")
        params, self._of_data = self._library_params(seed)
        of_features = self._of_data.pop("feature_weights", None)
        if of_features is not None and len(of_features) != self.n_features_in_:
            raise ValueError(
                f"{type(self).__name__}: feature_weights in params must hold {self.n_features_in_} "
                f"values, one per feature, got {len(of_features)}."
            )
        objective = XGBoostObjective(self._head.bound)
        w = None if weight is None else np.asarray(weight)
        more = {}
        try:
            if sets:
                held = [self._matrix(rows.X, rows.code, rows.weight) for rows in sets]
                watch = Watch(metric, sets, held)
                more = {
                    "evals": list(zip(held, watch.names, strict=True)),
                    "custom_metric": lambda raw, data: (metric.name, watch(raw, data)),
                    "verbose_eval": False,
                }
                self.evals_result_ = watch.result
            if self.early_stopping:
                stop = xgb.callback.EarlyStopping(
                    rounds=self.n_iter_no_change,
                    metric_name=metric.name,
                    maximize=metric.larger_is_better,
                    save_best=True,
                )
                more["callbacks"] = [stop]
            self.booster_ = xgb.train(
                params,
                self._matrix(X, code, weight, feature_weights=of_features),
                self.n_estimators,
                obj=lambda raw, _: objective(code, raw, w),
                **more,
            )
        except xgb.core.XGBoostError as error:
            raise ValueError(
                f"{type(self).__name__}: XGBoost refuses to train with {self.params!r}: "
                f"{first_line(error)}"
            ) from error
        self.n_iter_ = self.booster_.num_boosted_rounds()

    def _raw(self, X):
        return self.booster_.predict(self._matrix(X), output_margin=True)

    def _importances(self):
        names = self._columns.names or [f"f{k}" for k in range(self.n_features_in_)]
        found = self.booster_.get_score(importance_type=self.importance_type)
        values = np.array([found.get(name, 0.0) for name in names], dtype=np.float32)
        total = values.sum()
        return values / total if total > 0 else values

    @staticmethod
    def _takes_categories(categories):
        return categories.inferred_type == "string" or (
            categories.inferred_type == "integer" and isinstance(categories.dtype, np.dtype)
        )
