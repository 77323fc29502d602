"""Losses as objectives of CatBoost, which asks for derivatives of what it maximises."""

import numpy as np

from skimb._base.head import as_logits
from skimb.boosting._objectives import Objective, bind_warned, of_regressors
from skimb.boosting._start import best_constant


class CatBoostObjective(Objective):
    """An objective with the methods that CatBoost looks for, and what turns its scores into probabilities.

    Parameters
    ----------
    bound : BoundLoss
        A row-separable loss.
    shares : ndarray of shape (n_classes,)
        Label distribution that boosting starts from.
    """

    def __init__(self, bound, shares):
        # twice the diagonal of a Hessian whose rows sum to 0 is not below it
        super().__init__(bound, lambda k: 2.0)
        self.shares = shares
        self.init_scores = best_constant(bound, shares, self._columns)

    @property
    def _columns(self):
        return 1 if self.bound.n_classes == 2 else self.bound.n_classes

    def is_max_optimal(self):
        """Larger values are better: CatBoost maximises."""
        return True

    def posterior(self, raw):
        """Honest probabilities of scores with the starting ones.

        Parameters
        ----------
        raw : array-like of shape (n,) or (n, n_classes)
            Scores: ``RawFormulaVal`` plus ``init_scores`` where training started from these.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Probabilities; for a loss with ``calibrated`` False its uncorrected scores.
        """
        scores = self._checked_scores(np.asarray(raw, dtype=np.float64))
        return self.bound.posterior(as_logits(scores)).numpy()

    def __reduce__(self):
        return type(self), (self.bound, self.shares)


class CatBoostMarginObjective(CatBoostObjective):
    """The objective of two classes, which CatBoost asks for blocks of rows."""

    def calc_ders_range(self, approxes, targets, weights):
        """Derivatives of the negative loss of some rows, (n, 2).

        Parameters
        ----------
        approxes : array-like of shape (n,) or (1, n)
            Scores.
        targets : array-like of shape (n,)
            Class numbers.
        weights : array-like of shape (n,) or None
            Weights.

        Returns
        -------
        ndarray of shape (n, 2)
            First and second derivatives.
        """
        scores = np.asarray(approxes, dtype=np.float64).reshape(-1)
        grad, hess = self(targets, scores, weights)
        return np.column_stack([-grad, -hess])


class CatBoostClassesObjective(CatBoostObjective):
    """The objective of several classes, which CatBoost asks for each row."""

    def calc_ders_multi(self, approxes, target, weight):
        """Derivatives of the negative loss of one row.

        Parameters
        ----------
        approxes : array-like of shape (n_classes,)
            Scores.
        target : float
            Class number.
        weight : float
            Weight.

        Returns
        -------
        list of float
            First derivatives.
        list of list of float
            A diagonal matrix of second derivatives.
        """
        scores = np.asarray(approxes, dtype=np.float64)[None]
        grad, hess = self([target], scores, None if weight is None else [weight])
        return (-grad[0]).tolist(), np.diag(-hess[0]).tolist()


def as_catboost(loss, prior):
    """Turn a loss of classifiers into an objective for CatBoost.

    Parameters
    ----------
    loss : Loss
        A row-separable loss.
    prior : ClassPrior
        Counts and label distribution of the training target, ``ClassPrior.of(y)``.

    Returns
    -------
    object
        For ``catboost.CatBoost({"loss_function": objective, "eval_metric": "Logloss"})``, with labels that are
        class numbers and, for three and more classes, ``eval_metric="MultiClass"`` and ``classes_count``. Its
        ``init_scores``, (1,) or (n_classes,), are the best constant, to start from as ``baseline`` of the pool;
        ``posterior(raw)`` gives honest probabilities of ``prediction_type="RawFormulaVal"`` plus ``init_scores``.

    Raises
    ------
    ValueError
        If the loss couples rows or needs more than scores, if targets are several labels or numbers; by the
        objective, if labels are no class numbers of the prior or shapes do not fit.
    TypeError
        If the loss is none, or a class in place of an object.

    Notes
    -----
    CatBoost is not installed with skimb. It calls objectives in Python: for two classes in blocks of a thousand
    rows, which costs little, for more classes row by row, which is slow. Of the Hessian it gets the diagonal,
    doubled for several classes; negative curvature is dropped. CatBoost's own ``class_weights`` reach the objective
    as weights of rows and are not undone by ``posterior``; use a loss with weights inside. Its ``predict_proba``
    inverts cross-entropy whatever the objective: do not use it.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.boosting import as_catboost
    >>> from skimb.losses import ClassPrior, CrossEntropy
    >>> objective = as_catboost(CrossEntropy(), ClassPrior(counts=[9, 1]))
    >>> objective.calc_ders_range([0.0, 0.0], [1.0, 0.0], None).tolist()
    [[0.5, -0.25], [-0.5, -0.25]]
    >>> objective.posterior(objective.init_scores).round(3).tolist()
    [[0.9, 0.1]]
    """
    if of_regressors(loss):
        raise ValueError(
            f"as_catboost: {loss!r} is a loss of regressors, for which there is no objective of CatBoost; use "
            "as_lightgbm or as_xgboost."
        )
    bound = bind_warned(loss, prior)
    kind = CatBoostMarginObjective if bound.n_classes == 2 else CatBoostClassesObjective
    return kind(bound, prior.prior)
