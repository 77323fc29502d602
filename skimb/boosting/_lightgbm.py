"""LightGBM under any row-separable loss."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.optional import require
from skimb.boosting._libraries import LIGHTGBM, first_line, lightgbm_names
from skimb.boosting._objectives import LightGBMObjective
from skimb.boosting._params import further_parameters
from skimb.boosting._trees import TreeClassifier
from skimb.boosting._validation import Watch


class LGBMImbalancedClassifier(TreeClassifier):
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
    importance_type : {"split", "gain"}, default="split"
        What ``feature_importances_`` counts: splits, or what they gained.
    random_state : int, RandomState instance or None, default=None
        Seed of the validation rows and, unless `params` names one, of the library.
    n_jobs : int, default=None
        Threads; ``None`` is 1 outside a context of joblib, -1 all cores.
    params : dict, default=None
        Further parameters of LightGBM, by any of its names. One that this class has too must not be given
        twice with different values; one that cannot act is an error.

    Attributes
    ----------
    booster_ : lightgbm.Booster
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
    Columns of a data frame with dtype ``category`` are categories to LightGBM, on the list of categories
    seen in fit; unseen ones are missing values. Characters that LightGBM refuses in names of features are
    underscores in ``booster_``.

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
        **TreeClassifier._parameter_constraints,
        "num_leaves": [Interval(Integral, 2, None, closed="left")],
        "min_child_samples": [Interval(Integral, 0, None, closed="left")],
        "min_child_weight": [Interval(Real, 0, None, closed="left")],
        "importance_type": [StrOptions({"split", "gain"})],
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
        importance_type="split",
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
        self.importance_type = importance_type
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.params = params

    def _library_params(self, seed):
        """LightGBM's parameters by their main names."""
        given = further_parameters(self, LIGHTGBM, lightgbm_names())
        if str(given.get("boosting")).lower() == "dart" and self.early_stopping:
            raise ValueError(
                f"{type(self).__name__}: early_stopping=True cannot act with boosting='dart', which "
                "changes earlier trees; set early_stopping=False."
            )
        params = {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "max_depth": -1 if self.max_depth is None else self.max_depth,
            "min_data_in_leaf": self.min_child_samples,
            "min_sum_hessian_in_leaf": self.min_child_weight,
            "bagging_fraction": self.subsample,
            "feature_fraction": self.colsample_bytree,
            "lambda_l2": self.reg_lambda,
            "lambda_l1": self.reg_alpha,
            "num_threads": self._threads,
            "num_iterations": self.n_estimators,
            "seed": seed,
            "verbosity": -1,
            "boost_from_average": False,
            "num_class": self.n_columns_,
            **given,
        }
        drawn = params["bagging_fraction"] < 1.0
        params.setdefault("bagging_freq", int(drawn))
        if drawn and params["bagging_freq"] <= 0:
            raise ValueError(
                f"{type(self).__name__}: subsample={params['bagging_fraction']!r} cannot act with "
                f"bagging_freq={params['bagging_freq']!r} in params; leave it out or give a positive number."
            )
        return params

    def _train(self, X, code, weight, sets, metric, seed):
        lgb = require("lightgbm", extra="gbdt")
        params = self._library_params(seed)
        rounds = params.pop("num_iterations")
        categories = self._columns.positions(self, params.pop("categorical_feature", "auto"))
        data = self._dataset(X, code, weight, categorical_feature=categories)
        held = [self._dataset(rows.X, rows.code, rows.weight, reference=data) for rows in sets]
        objective = LightGBMObjective(self._head.bound)
        params["objective"] = lambda raw, data: objective(code, raw, data.get_weight())
        more, watch = {}, None
        if sets:
            watch = Watch(metric, sets, held)
            more = {
                "valid_sets": held,
                "valid_names": watch.names,
                "feval": lambda raw, data: (
                    metric.name,
                    watch(raw, data),
                    metric.larger_is_better,
                ),
            }
            self.evals_result_ = watch.result
        if self.early_stopping:
            more["callbacks"] = [lgb.early_stopping(self.n_iter_no_change, verbose=False)]
        try:
            if self._splits(data, params):
                booster = lgb.train(params, data, rounds, **more)
            else:
                booster = self._constant(data, params)
                for rows, matrix in zip(sets, held, strict=True):
                    watch(self._starts(len(rows.code)), matrix)
        except lgb.basic.LightGBMError as error:
            raise ValueError(
                f"{type(self).__name__}: LightGBM refuses to train with {self.params!r}: "
                f"{first_line(error)}"
            ) from error
        stopped = self.early_stopping and booster.best_iteration > 0
        self.n_iter_ = booster.best_iteration if stopped else booster.current_iteration()
        # as text, so that neither the objective nor the training data stay alive
        text = booster.model_to_string(num_iteration=self.n_iter_)
        self.booster_ = lgb.Booster(model_str=text)

    def _dataset(self, X, code, weight, **more):
        lgb = require("lightgbm", extra="gbdt")
        return lgb.Dataset(
            X,
            code,
            weight=weight,
            init_score=self._starts(len(code)),
            feature_name="auto" if self._columns.names is None else self._columns.names,
            # small data would lose all its features to the filter, and the library then fails
            params={"verbosity": -1, "feature_pre_filter": False},
            **more,
        )

    def _splits(self, data, params):
        """Whether any feature can be split."""
        data._update_params({**params, "objective": "none"}).construct()
        return any(data.feature_num_bin(k) > 0 for k in range(data.num_feature()))

    def _constant(self, data, params):
        """A booster of one tree that adds 0; LightGBM grows it under objectives of its own only."""
        lgb = require("lightgbm", extra="gbdt")
        objective = "regression" if self.n_columns_ == 1 else "multiclass"
        return lgb.train({**params, "objective": objective}, data, 1)

    def _raw(self, X):
        return self.booster_.predict(X, raw_score=True, num_threads=self._threads)

    def _importances(self):
        return self.booster_.feature_importance(importance_type=self.importance_type)

    @staticmethod
    def _takes_categories(categories):
        return categories.inferred_type in ("string", "integer", "floating", "boolean")
