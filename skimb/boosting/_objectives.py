"""Gradients and Hessians of losses in the form and scale that boosting libraries expect."""

import numpy as np

from skimb._core.validation import common_positive_class
from skimb._core.warn import warn_user
from skimb.boosting._interfaces import (
    both_interfaces,
    checked_classes,
    checked_target,
    checked_weight,
)
from skimb.boosting._regression import (
    LightGBMRegressionObjective,
    XGBoostRegressionObjective,
    bind_target,
)
from skimb.losses._base import check_served

#: what boosting offers to losses
SERVES = frozenset({"every class"})
FLOOR = 1e-6  # least Hessian: below it leaf values explode


class Objective:
    """Gradient and Hessian of a bound loss for raw scores.

    Parameters
    ----------
    bound : BoundLoss
        A row-separable loss.
    factor : callable
        Factor of the Hessian from the number of score columns, the library's own convention.
    """

    def __init__(self, bound, factor):
        self.bound, self.factor = bound, factor

    def __call__(self, y_true, y_pred, sample_weight=None):
        target, scores, weight = both_interfaces(y_true, y_pred, sample_weight)
        name, shape = self.bound.name, scores.shape
        scores = self._checked_scores(scores)
        rows = len(scores)
        code = checked_classes(name, checked_target(name, target, rows), self.bound.n_classes)
        weight = checked_weight(name, weight, rows)
        grad, hess = self.bound.grad_hess(scores, code, convex=True)
        if scores.ndim > 1:
            hess = hess * self.factor(scores.shape[1])
        hess = np.maximum(hess, FLOOR)
        if weight is not None:
            weight = weight if scores.ndim == 1 else weight[:, None]
            grad, hess = grad * weight, hess * weight
        return grad.reshape(shape), hess.reshape(shape)

    def _checked_scores(self, scores):
        """Scores (n,) of the second of two classes, or (n, C)."""
        k = self.bound.n_classes
        if k == 2 and (scores.ndim == 1 or scores.shape[1:] == (1,)):
            return scores.reshape(-1)
        if scores.ndim != 2 or scores.shape[1] != k:
            raise ValueError(
                f"{self.bound.name}: {k} classes take scores of shape {'(n,) or ' * (k == 2)}(n, {k}), "
                f"got {scores.shape}; set num_class={k} or give the prior of the y that is trained on."
            )
        return scores


class LightGBMObjective(Objective):
    """An objective with the argument names that LightGBM looks for."""

    def __init__(self, bound):
        # the built-in softmax scales its Hessian by K / (K - 1)
        super().__init__(bound, lambda k: k / (k - 1.0))

    def __call__(self, y_true, y_pred, weight=None):
        return super().__call__(y_true, y_pred, weight)

    def __reduce__(self):
        return type(self), (self.bound,)


class XGBoostObjective(Objective):
    """An objective with the argument names that XGBoost looks for."""

    def __init__(self, bound):
        super().__init__(bound, lambda k: 2.0)  # as in the built-in softmax

    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred, sample_weight)

    def __reduce__(self):
        return type(self), (self.bound,)


def of_regressors(loss):
    """Whether a loss is one of regressors; what is no loss is refused."""
    if isinstance(loss, type) or not hasattr(loss, "tasks"):
        raise TypeError(f"Objectives are made of a loss, such as Focal(gamma=1.0), got {loss!r}.")
    return "regression" in loss.tasks


def bind_rows(loss, prior):
    """Bind a loss for boosting, which needs losses of single rows."""
    if getattr(prior, "multilabel", False):
        raise ValueError(
            f"{loss!r}: boosting takes one class per row, the prior is that of several labels; train one "
            "booster per label."
        )
    bound = loss.bind(prior)
    check_rows(bound)
    return bound


def check_rows(bound):
    """Refuse losses that are no mean of row losses."""
    check_served(bound, SERVES, "boosting", "choose a loss whose scope is 'row'")


def bind_warned(loss, prior):
    """Bind a loss given by the user; say where its positive class is the common one."""
    bound = bind_rows(loss, prior)
    classes = list(range(prior.n_classes)) if prior.classes is None else prior.classes.tolist()
    if message := common_positive_class(loss, classes, prior.counts):
        warn_user(message)
    return bound


def as_lightgbm(loss, prior):
    """Turn a loss into an objective for LightGBM.

    Parameters
    ----------
    loss : Loss, BalancedMSE or HistogramGaussian
        A row-separable loss, or for regressors balanced mean squared error with a fixed noise scale or a loss over
        bins, which takes ``num_class=n_bins`` and predicts by ``loss.bind(y).inverse_link(scores)``.
    prior : ClassPrior or array-like of shape (n,)
        Counts and label distribution of the training target, ``ClassPrior.of(y)``; for regressors
        the training target itself.

    Returns
    -------
    callable
        ``objective(y_true, y_pred, weight=None)`` giving gradient and Hessian, for
        ``LGBMClassifier(objective=...)``; called as ``objective(scores, dataset)`` it serves
        ``lightgbm.train({"objective": objective, ...}, dataset)`` and takes labels and weights from the data.
        Labels are class numbers.

    Raises
    ------
    ValueError
        If the loss couples rows, needs more than scores or would learn its noise scale; by the objective,
        if labels are no class numbers of the prior or shapes do not fit.
    TypeError
        If the loss is none, or a class in place of an object.

    Notes
    -----
    Built-in conventions are kept: with K score columns the Hessian is scaled by K / (K - 1). Negative
    curvature is dropped. The library then predicts raw scores: turn them into probabilities with
    ``loss.bind(prior).posterior(scores)``, or use :class:`LGBMImbalancedClassifier`, which also starts
    from the best constant.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.boosting import as_lightgbm
    >>> from skimb.losses import ClassPrior, Focal
    >>> objective = as_lightgbm(Focal(), ClassPrior(counts=[9, 1]))
    >>> grad, hess = objective(np.array([1, 0]), np.array([0.0, -3.0]))
    >>> grad.round(4).tolist()
    [-0.2983, 0.0003]
    """
    if of_regressors(loss):
        return LightGBMRegressionObjective(bind_target(loss, prior))
    return LightGBMObjective(bind_warned(loss, prior))


def as_xgboost(loss, prior):
    """Turn a loss into an objective for XGBoost.

    Parameters
    ----------
    loss : Loss, BalancedMSE or HistogramGaussian
        A row-separable loss, or for regressors balanced mean squared error with a fixed noise scale or a loss over
        bins, which takes ``num_class=n_bins`` and predicts by ``loss.bind(y).inverse_link(scores)``.
    prior : ClassPrior or array-like of shape (n,)
        Counts and label distribution of the training target, ``ClassPrior.of(y)``; for regressors
        the training target itself.

    Returns
    -------
    callable
        ``objective(y_true, y_pred, sample_weight=None)`` giving gradient and Hessian, for
        ``XGBClassifier(objective=...)``; called as ``objective(scores, dmatrix)`` it serves
        ``xgboost.train(params, dmatrix, obj=objective)`` and takes labels and weights from the data.
        Labels are class numbers.

    Raises
    ------
    ValueError
        If the loss couples rows, needs more than scores or would learn its noise scale; by the objective,
        if labels are no class numbers of the prior or shapes do not fit.
    TypeError
        If the loss is none, or a class in place of an object.

    Notes
    -----
    Built-in conventions are kept: with several score columns the Hessian is doubled. Negative curvature
    is dropped. The library applies a softmax or sigmoid to custom margins too, which is right for
    cross-entropy only: ask it for margins and use ``loss.bind(prior).posterior(scores)``, or
    :class:`XGBImbalancedClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.boosting import as_xgboost
    >>> from skimb.losses import ClassPrior, Focal
    >>> objective = as_xgboost(Focal(), ClassPrior(counts=[9, 1]))
    >>> grad, hess = objective(np.array([1, 0]), np.array([0.0, -3.0]))
    >>> hess.round(4).tolist()
    [0.3991, 0.0009]
    """
    if of_regressors(loss):
        return XGBoostRegressionObjective(bind_target(loss, prior))
    return XGBoostObjective(bind_warned(loss, prior))
