"""XGBoost under any row-separable loss."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from skimb._core.optional import require
from skimb.boosting._base import BoostedClassifier
from skimb.boosting._objectives import XGBoostObjective


class XGBImbalancedClassifier(BoostedClassifier):
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
    random_state : int, RandomState instance or None, default=None
        Seed of the validation rows and of the library.
    n_jobs : int, default=None
        Threads; ``None`` is the library's choice.
    params : dict, default=None
        Further parameters of XGBoost, by its own names.

    Attributes
    ----------
    booster_ : xgboost.Booster
        The trees.
    classes_, n_features_in_, feature_names_in_ : ndarray, int, ndarray
        Classes and features seen in fit.
    init_scores_ : ndarray of shape (n_columns,)
        Scores that boosting starts from: the best constant.
    n_columns_, n_iter_ : int
        Score columns, boosting rounds kept.
    prior_, class_weight_ : ndarray of shape (n_classes,)
        Label distribution of the training rows, weights of classes or None.
    loss_function_ : Loss
        The loss that was trained.

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
        **BoostedClassifier._parameter_constraints,
        "min_child_weight": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
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
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.params = params

    def _matrix(self, X, code=None, weight=None):
        xgb = require("xgboost", extra="gbdt")
        margin = None
        if code is not None:
            margin = np.tile(self._start(), (X.shape[0], 1))
            margin = margin if self.n_columns_ > 1 else margin[:, 0]
        threads = -1 if self.n_jobs is None else self.n_jobs
        return xgb.DMatrix(X, code, weight=weight, base_margin=margin, nthread=threads)

    def _train(self, X, code, weight, valid, seed):
        xgb = require("xgboost", extra="gbdt")
        objective = XGBoostObjective(self._loss_bound)
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
            **({} if self.n_jobs is None else {"nthread": self.n_jobs}),
            **({"num_class": self.n_columns_} if self.n_columns_ > 1 else {}),
            **(self.params or {}),
        }
        more = {}
        if valid is not None:
            Xv, yv, wv = valid
            score = self._validator(valid)
            more = {
                "evals": [(self._matrix(Xv, yv, wv), "valid")],
                "custom_metric": lambda raw, _: ("score", score(raw.astype(np.float64))),
                "callbacks": [
                    xgb.callback.EarlyStopping(
                        rounds=self.n_iter_no_change,
                        metric_name="score",
                        maximize=True,
                        save_best=True,
                    )
                ],
                "verbose_eval": False,
            }
        w = None if weight is None else np.asarray(weight)
        self.booster_ = xgb.train(
            params,
            self._matrix(X, code, weight),
            self.n_estimators,
            obj=lambda raw, _: objective(code, raw, w),
            **more,
        )
        self.n_iter_ = self.booster_.num_boosted_rounds()

    def _raw(self, X):
        return self.booster_.predict(self._matrix(X), output_margin=True)
