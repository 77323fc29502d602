"""LightGBM under any row-separable loss."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval

from skimb._core.optional import require
from skimb.boosting._base import BoostedClassifier
from skimb.boosting._objectives import LightGBMObjective


class LGBMImbalancedClassifier(BoostedClassifier):
    """LightGBM under any row-separable loss, with honest probabilities.

    Parameters
    ----------
    loss : Loss, default=None
        A loss of :mod:`skimb.losses` with losses of single rows; ``None`` is cross-entropy.
    n_estimators : int, default=100
        Boosting rounds; every round grows one tree per score column.
    learning_rate : float, default=0.1
        Shrinkage of each tree.
    num_leaves : int, default=31
        Most leaves of a tree.
    max_depth : int, default=None
        Largest depth; ``None`` is unlimited.
    min_child_samples : int, default=20
        Fewest rows in a leaf.
    min_child_weight : float, default=0.001
        Least sum of Hessians in a leaf.
    subsample : float in (0, 1], default=1.0
        Share of the rows drawn for each tree.
    colsample_bytree : float in (0, 1], default=1.0
        Share of the features drawn for each tree.
    reg_lambda, reg_alpha : float, default=0.0, 0.0
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
        Further parameters of LightGBM, by its own names.

    Attributes
    ----------
    booster_ : lightgbm.Booster
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
    as_lightgbm : The objective alone, for LightGBM's own estimators.

    Examples
    --------
    >>> from skimb.boosting import LGBMImbalancedClassifier
    >>> from skimb.datasets import load_breast_cancer_rare
    >>> from skimb.losses import LogitAdjusted
    >>> X, y = load_breast_cancer_rare()
    >>> model = LGBMImbalancedClassifier(LogitAdjusted(), n_estimators=20, n_jobs=1, random_state=0)
    >>> model.fit(X, y).predict_proba(X).shape
    (393, 2)
    """

    _parameter_constraints = {
        **BoostedClassifier._parameter_constraints,
        "num_leaves": [Interval(Integral, 2, None, closed="left")],
        "min_child_samples": [Interval(Integral, 0, None, closed="left")],
        "min_child_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        loss=None,
        *,
        n_estimators=100,
        learning_rate=0.1,
        num_leaves=31,
        max_depth=None,
        min_child_samples=20,
        min_child_weight=1e-3,
        subsample=1.0,
        colsample_bytree=1.0,
        reg_lambda=0.0,
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
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.min_child_weight = min_child_weight
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

    def _train(self, X, code, weight, valid, seed):
        lgb = require("lightgbm", extra="gbdt")
        objective = LightGBMObjective(self._loss_bound)
        params = {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "max_depth": -1 if self.max_depth is None else self.max_depth,
            "min_data_in_leaf": self.min_child_samples,
            "min_sum_hessian_in_leaf": self.min_child_weight,
            "bagging_fraction": self.subsample,
            "bagging_freq": int(self.subsample < 1.0),
            "feature_fraction": self.colsample_bytree,
            "lambda_l2": self.reg_lambda,
            "lambda_l1": self.reg_alpha,
            "num_threads": 0 if self.n_jobs is None else self.n_jobs,
            "seed": seed,
            "verbosity": -1,
            "boost_from_average": False,
            "num_class": self.n_columns_,
            **(self.params or {}),
            "objective": lambda raw, data: objective(code, raw, data.get_weight()),
        }
        start = np.tile(self._start(), (len(code), 1))
        data = lgb.Dataset(
            X,
            code,
            weight=weight,
            init_score=start if self.n_columns_ > 1 else start[:, 0],
            # small data would lose all its features to the filter, and the library then fails
            params={"verbosity": -1, "feature_pre_filter": False},
        )
        more = {}
        if valid is not None:
            Xv, yv, wv = valid
            start = np.tile(self._start(), (len(yv), 1))
            held = lgb.Dataset(
                Xv,
                yv,
                weight=wv,
                reference=data,
                params={"verbosity": -1, "feature_pre_filter": False},
                init_score=start if self.n_columns_ > 1 else start[:, 0],
            )
            score = self._validator(valid)
            more = {
                "valid_sets": [held],
                "feval": lambda raw, _: ("score", score(raw), True),
                "callbacks": [lgb.early_stopping(self.n_iter_no_change, verbose=False)],
            }
        booster = lgb.train(params, data, self.n_estimators, **more)
        self.n_iter_ = booster.best_iteration if valid is not None else booster.current_iteration()
        # as text, so that neither the objective nor the training data stay alive
        text = booster.model_to_string(num_iteration=self.n_iter_)
        self.booster_ = lgb.Booster(model_str=text)

    def _raw(self, X):
        threads = 0 if self.n_jobs is None else self.n_jobs
        return self.booster_.predict(X, raw_score=True, num_threads=threads)
