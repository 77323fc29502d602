"""Balanced mean squared error in the form that boosting libraries expect."""

import numpy as np
import torch
from sklearn.utils.validation import check_array, column_or_1d

from skimb._core.priors import ClassPrior
from skimb.boosting._interfaces import both_interfaces, checked_target, checked_weight
from skimb.functional import regression as kernel
from skimb.losses.regression import label_groups

_NAME = "BalancedMSE"
_MOST_LABELS = 1000  # target values that batch Monte Carlo compares with
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
        target, scores, weight = both_interfaces(y_true, y_pred, weight)
        shape, scores = scores.shape, scores.reshape(-1)
        target = checked_target(_NAME, target, len(scores))
        weight = checked_weight(_NAME, weight, len(scores))
        if target.dtype.kind not in "biuf" or not np.isfinite(target).all():
            raise ValueError(f"{_NAME}: y_true must hold finite numbers.")
        f, t = torch.from_numpy(scores), torch.from_numpy(target.astype(np.float64))
        if bound.mixture is not None:
            grad, hess = kernel.rows_against_mixture(f, t, bound.mixture, sigma)
        else:
            grad, hess = kernel.rows_against_labels(f, t, *bound.columns, sigma)
        grad, hess = grad.numpy(), np.maximum(hess.numpy(), _LEAST_CURVATURE)
        if weight is not None:
            grad, hess = grad * weight, hess * weight
        return grad.reshape(shape), hess.reshape(shape)


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
