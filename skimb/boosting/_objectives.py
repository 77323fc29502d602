"""Gradients and Hessians of losses in the form and scale that boosting libraries expect."""

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.utils.validation import check_array, column_or_1d

from skimb._core.priors import ClassPrior
from skimb.functional import regression as kernel
from skimb.losses._base import check_served
from skimb.losses.regression import label_groups

#: what boosting offers to losses
SERVES = frozenset({"every class"})
_MOST_LABELS = 1000  # target values that batch Monte Carlo compares with
FLOOR = 1e-6  # least Hessian: below it leaf values explode
_START_BOUND = 8.0  # largest starting score of losses whose best constant is infinite


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
        scores = np.asarray(y_pred, dtype=np.float64)
        grad, hess = self.bound.grad_hess(scores, np.asarray(y_true).astype(np.int64), convex=True)
        if scores.ndim > 1:
            hess = hess * self.factor(scores.shape[1])
        hess = np.maximum(hess, FLOOR)
        if sample_weight is not None:
            w = np.asarray(sample_weight, dtype=np.float64)
            w = w if scores.ndim == 1 else w[:, None]
            grad, hess = grad * w, hess * w
        return grad, hess


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


_LEAST_CURVATURE = 0.1  # of balanced squared errors, 1 of squared errors


class RegressionObjective:
    """Gradient and Hessian of balanced mean squared error, half the paper's: squared errors have 1 and 1.

    Parameters
    ----------
    bound : BalancedMSEBound
        Bound to the training target, with its own columns or mixture.
    """

    def __init__(self, bound):
        self.bound = bound

    def _rows(self, y_true, y_pred, weight):
        bound, sigma = self.bound, self.bound.sigma
        f = torch.from_numpy(np.asarray(y_pred, dtype=np.float64))
        t = torch.from_numpy(np.asarray(y_true, dtype=np.float64))
        if bound.mixture is not None:
            grad, hess = kernel.rows_against_mixture(f, t, bound.mixture, sigma)
        else:
            grad, hess = kernel.rows_against_labels(f, t, *bound.columns, sigma)
        grad, hess = grad.numpy(), np.maximum(hess.numpy(), _LEAST_CURVATURE)
        if weight is not None:
            w = np.asarray(weight, dtype=np.float64)
            grad, hess = grad * w, hess * w
        return grad, hess


class LightGBMRegressionObjective(RegressionObjective):
    """Under the argument names that LightGBM looks for."""

    def __call__(self, y_true, y_pred, weight=None):
        return self._rows(y_true, y_pred, weight)


class XGBoostRegressionObjective(RegressionObjective):
    """Under the argument names that XGBoost looks for."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return self._rows(y_true, y_pred, sample_weight)


def bind_target(loss, y):
    """Bind balanced mean squared error to a training target, for boosting."""
    if loss.learn_sigma:
        raise ValueError(
            f"{loss!r} would learn its noise scale, which boosting cannot; set learn_sigma=False and "
            "noise_sigma, for instance to the standard deviation of a model's residuals."
        )
    if isinstance(y, ClassPrior):
        raise ValueError(f"{loss!r} is for regression: give the training target instead of {y!r}.")
    y = check_array(column_or_1d(y), ensure_2d=False, dtype=np.float64, input_name="y")
    bound = loss.bind(y)
    if bound.columns is None and bound.mixture is None:
        bound.columns = label_groups(y, np.ones(len(y)), _MOST_LABELS)
    return bound


def bind_rows(loss, prior):
    """Bind a loss for boosting, which needs losses of single rows."""
    bound = loss.bind(prior)
    check_served(
        bound,
        SERVES,
        "boosting",
        "choose a loss whose scope is 'row'",
    )
    return bound


def as_lightgbm(loss, prior):
    """Turn a loss into an objective for LightGBM's scikit-learn interface.

    Parameters
    ----------
    loss : Loss or BalancedMSE
        A row-separable loss, or for regressors balanced mean squared error with a fixed noise scale.
    prior : ClassPrior or array-like of shape (n,)
        Counts and label distribution of the training target, ``ClassPrior.of(y)``; for `BalancedMSE` the
        training target itself.

    Returns
    -------
    callable
        ``objective(y_true, y_pred, weight=None)`` giving gradient and Hessian, for
        ``LGBMClassifier(objective=...)``. `y_true` holds class numbers.

    Raises
    ------
    ValueError
        If the loss couples rows, needs more than scores or would learn its noise scale.

    Notes
    -----
    Built-in conventions are kept: with K score columns the Hessian is scaled by K / (K - 1). Negative
    curvature is dropped. The library then predicts raw scores: turn them into probabilities with
    ``loss.bind(prior).posterior(scores)``, or use :class:`LGBMImbalancedClassifier`, which also starts
    from the best constant.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.boosting import as_lightgbm
    >>> from skimb.losses import Focal
    >>> objective = as_lightgbm(Focal(), ClassPrior(counts=[9, 1]))
    >>> grad, hess = objective(np.array([1, 0]), np.array([0.0, -3.0]))
    >>> grad.round(4).tolist()
    [-0.2983, 0.0003]
    """
    if "regression" in loss.tasks:
        return LightGBMRegressionObjective(bind_target(loss, prior))
    return LightGBMObjective(bind_rows(loss, prior))


def as_xgboost(loss, prior):
    """Turn a loss into an objective for XGBoost's scikit-learn interface.

    Parameters
    ----------
    loss : Loss or BalancedMSE
        A row-separable loss, or for regressors balanced mean squared error with a fixed noise scale.
    prior : ClassPrior or array-like of shape (n,)
        Counts and label distribution of the training target, ``ClassPrior.of(y)``; for `BalancedMSE` the
        training target itself.

    Returns
    -------
    callable
        ``objective(y_true, y_pred, sample_weight=None)`` giving gradient and Hessian, for
        ``XGBClassifier(objective=...)``. `y_true` holds class numbers.

    Raises
    ------
    ValueError
        If the loss couples rows, needs more than scores or would learn its noise scale.

    Notes
    -----
    Built-in conventions are kept: with several score columns the Hessian is doubled. Negative curvature
    is dropped. The library applies a softmax or sigmoid to custom margins too, which is right for
    cross-entropy only: ask it for margins and use ``loss.bind(prior).posterior(scores)``, or
    :class:`XGBImbalancedClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb._core.priors import ClassPrior
    >>> from skimb.boosting import as_xgboost
    >>> from skimb.losses import Focal
    >>> objective = as_xgboost(Focal(), ClassPrior(counts=[9, 1]))
    >>> grad, hess = objective(np.array([1, 0]), np.array([0.0, -3.0]))
    >>> hess.round(4).tolist()
    [0.3991, 0.0009]
    """
    if "regression" in loss.tasks:
        return XGBoostRegressionObjective(bind_target(loss, prior))
    return XGBoostObjective(bind_rows(loss, prior))


def best_constant(bound, mass, columns):
    """Where boosting starts: the scores with the least mean loss among those equal for all rows.

    Losses without probabilities start from the log odds.

    Parameters
    ----------
    bound : BoundLoss
        The loss.
    mass : ndarray of shape (C,)
        Share of the training weight in each class.
    columns : int
        Score columns, 1 for one logit.

    Returns
    -------
    ndarray of shape (columns,)
        Starting scores.
    """
    y = np.arange(len(mass))
    logs = np.log(np.maximum(mass, 1e-12))
    start = logs - logs.mean() if columns > 1 else logs[1:] - logs[:1]
    if not bound.calibrated:  # the best constant may be infinite
        return np.clip(start, -_START_BOUND, _START_BOUND)

    def objective(z):
        scores = np.tile(z, (len(y), 1))
        scores = scores if columns > 1 else scores[:, 0]
        rows = bound.row_loss(torch.from_numpy(scores), torch.from_numpy(y)).numpy()
        grad, _ = bound.grad_hess(scores, y)
        slope = mass @ grad
        return float(mass @ rows), np.atleast_1d(slope)

    done = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-2 * _START_BOUND, 2 * _START_BOUND)] * columns,
        options={"ftol": 1e-15, "gtol": 1e-12},
    )
    return done.x
