"""The strength of PrestoClassifier by cross-validation."""

from numbers import Integral, Real

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.warn import warn_user
from skimb.linear_model._presto import CONSTRAINTS, OrderedLogits, PrestoClassifier
from skimb.linear_model._presto_solver import (
    Penalty,
    cumulative_probabilities,
    descend,
    largest_lambda,
    null_model,
)


def _path(problem, start, factor, l1_ratio, lams, tol, max_iter):
    """Solutions down a path of strengths, each started from the one before, and how many converged."""
    alpha, psi = start
    found, converged = [], 0
    for lam in lams:
        penalty = Penalty(lam, l1_ratio, factor)
        alpha, psi, n_iter, done = descend(problem, penalty, alpha, psi, tol, max_iter)
        converged += done
        found.append((alpha, psi, n_iter))
    return found, converged


def _fold_scores(model, X, code, weight, train, test, lams, factor, scorer):
    """Score of every strength on the rows a fold leaves out."""
    problem = model._problem(X[train], code[train], weight[train])
    test = test[weight[test] > 0]
    null = null_model(problem, factor, model.tol, model.max_iter)
    path, converged = _path(problem, null, factor, model.l1_ratio, lams, model.tol, model.max_iter)
    scores = []
    for alpha, psi, _ in path:
        intercept, coef, diff = problem.original(alpha, psi)
        if scorer is None:
            eta = np.asarray(X[test] @ coef.T) + intercept
            miss = cumulative_probabilities(eta)
            miss[np.arange(len(test)), code[test]] -= 1.0
            scores.append(-np.average((miss**2).sum(1), weights=weight[test]))
        else:
            fitted = PrestoClassifier(crossing="clip", decision=model.decision)
            fitted._keep(model.class_order_)
            fitted.n_features_in_ = X.shape[1]
            fitted.intercept_, fitted.coef_, fitted.coef_diff_ = intercept, coef, diff
            scores.append(scorer(fitted, X[test], model.class_order_[code[test]]))
    return scores, len(lams) - converged


class PrestoClassifierCV(OrderedLogits):
    r"""PrestoClassifier with its strength found by cross-validation.

    A geometric path of strengths from the least one that leaves no difference, each solution started from
    the one before; the best mean score over the folds wins, ties go to the larger strength.

    Parameters
    ----------
    n_lams : int in [1, inf), default=20
        Strengths on the path.
    lam_min_ratio : float in (0, 1], default=0.01
        Smallest strength over the largest; 0.05 suits many features.
    lams : array-like, default=None
        Strengths instead of the path.
    cv : int, splitter or iterable, default=5
        Folds; a number means stratified ones.
    scoring : "brier", str or callable, default="brier"
        Brier score over all classes, or a scorer of scikit-learn. Log-loss punishes single crossings so hard
        that it picks far too strong a penalty.
    n_jobs : int, default=None
        Folds at a time.
    l1_ratio : float in [0, 1], default=1.0
        Share of the L1 part.
    penalize_first : bool, default=True
        Whether the first boundary's vector is penalised.
    penalty_factors : array-like of shape (n_features,), default=None
        Factors of the penalty of each feature.
    standardize : bool, default=True
        Whether the penalty acts on standardised features; within each fold.
    class_order : array-like of labels, default=None
        Classes from common to rare, as in :class:`PrestoClassifier`.
    class_weight : "balanced", dict or None, default=None
        Positive weights of classes.
    max_iter : int in [1, inf), default=5000
        Most iterations per strength.
    tol : float in [0, inf), default=1e-8
        Relative decrease of the objective at which to stop.
    crossing : {"clip", "warn", "error"}, default="clip"
        What to do where boundaries cross in new rows.
    decision : {"mode", "median", "expected"}, default="mode"
        What ``predict`` returns.

    Attributes
    ----------
    lam_ : float
        The strength chosen.
    lams_ : ndarray of shape (n_lams,)
        The path, falling.
    cv_scores_ : ndarray of shape (n_lams, n_folds)
        Scores, larger is better: the Brier score is negative.
    best_score_ : float
        Their best mean.
    classes_, class_order_, intercept_, coef_, coef_diff_, lam_max_, n_iter_, n_crossings_ : ndarray, float, int
        As in :class:`PrestoClassifier`, of the model of all rows.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If there is one class only, `class_order` and the labels differ, or a strength is negative.

    Notes
    -----
    The authors use plain folds; stratified ones keep the rare class in each. Sample weights count in the
    Brier score of the folds too; other scorers get none, but rows of weight 0 are left out.

    References
    ----------
    Faletto and Bien 2023, arXiv:2302.11599.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.linear_model import PrestoClassifierCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (1000, 3))
    >>> p = 1 / (1 + np.exp(-(X[:, :1] + np.array([0.0, 3.0]))))
    >>> y = (rng.random((1000, 1)) > p).sum(1)
    >>> model = PrestoClassifierCV().fit(X, y)
    >>> bool(model.lam_ < model.lam_max_), model.cv_scores_.shape
    (True, (20, 5))
    """

    _parameter_constraints = {
        **CONSTRAINTS,
        "n_lams": [Interval(Integral, 1, None, closed="left")],
        "lam_min_ratio": [Interval(Real, 0, 1, closed="right")],
        "lams": ["array-like", None],
        "cv": ["cv_object"],
        "scoring": [StrOptions({"brier"}), str, callable],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_lams=20,
        *,
        lam_min_ratio=1e-2,
        lams=None,
        cv=5,
        scoring="brier",
        n_jobs=None,
        l1_ratio=1.0,
        penalize_first=True,
        penalty_factors=None,
        standardize=True,
        class_order=None,
        class_weight=None,
        max_iter=5000,
        tol=1e-8,
        crossing="clip",
        decision="mode",
    ):
        self.n_lams = n_lams
        self.lam_min_ratio = lam_min_ratio
        self.lams = lams
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.l1_ratio = l1_ratio
        self.penalize_first = penalize_first
        self.penalty_factors = penalty_factors
        self.standardize = standardize
        self.class_order = class_order
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol
        self.crossing = crossing
        self.decision = decision

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, groups=None):
        """Find the strength and fit the model of all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows, for splitters that keep them together.

        Returns
        -------
        PrestoClassifierCV
            Itself.
        """
        X, code, weight = self._prepared(X, y, sample_weight)
        problem = self._problem(X, code, weight)
        factor = self._factor(X.shape[1])
        null = null_model(problem, factor, self.tol, self.max_iter)
        self.lam_max_ = largest_lambda(problem, self.l1_ratio, factor, *null)
        self.lams_ = self._strengths()
        scorer = None if self.scoring == "brier" else check_scoring(self, scoring=self.scoring)
        folds = check_cv(self.cv, code, classifier=True).split(X, code, groups)
        done = Parallel(n_jobs=self.n_jobs)(
            delayed(_fold_scores)(self, X, code, weight, train, test, self.lams_, factor, scorer)
            for train, test in folds
        )
        self.cv_scores_ = np.array([scores for scores, _ in done]).T
        mean = self.cv_scores_.mean(1)
        if np.isnan(mean).all():
            raise ValueError(f"scoring={self.scoring!r} gave NaN for every strength.")
        best = int(np.nanargmax(mean))  # the first, so the largest, of equal ones
        self.lam_, self.best_score_ = float(self.lams_[best]), float(mean[best])
        path, converged = _path(
            problem, null, factor, self.l1_ratio, self.lams_[: best + 1], self.tol, self.max_iter
        )
        failed = best + 1 - converged + sum(missed for _, missed in done)
        if failed:
            warn_user(
                f"{failed} solutions did not converge within max_iter={self.max_iter} iterations; raise "
                "max_iter or lam_min_ratio.",
                ConvergenceWarning,
            )
        alpha, psi, self.n_iter_ = path[-1]
        self._adopt(problem, alpha, psi, X)
        return self

    def _strengths(self):
        if self.lams is None:
            return max(self.lam_max_, 1e-12) * np.geomspace(1.0, self.lam_min_ratio, self.n_lams)
        lams = np.unique(np.asarray(self.lams, float))[::-1]
        if lams.ndim != 1 or len(lams) == 0 or not np.isfinite(lams).all() or (lams < 0).any():
            raise ValueError(f"lams={self.lams!r} must hold finite numbers of at least 0.")
        return lams
