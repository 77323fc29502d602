"""Losses of regressors in the form that boosting libraries expect."""

import numpy as np
import torch
from sklearn.utils.validation import check_array, column_or_1d

from skimb._core.priors import ClassPrior
from skimb.boosting._interfaces import both_interfaces, checked_target, checked_weight
from skimb.losses._base import check_served
from skimb.losses.regression import BalancedMSE, label_groups

_MOST_LABELS = 1000  # target values that batch Monte Carlo compares with
_LEAST_CURVATURE = 0.1  # of balanced squared errors, 1 of squared errors
_LEAST_OVER_BINS = 1e-6


class RegressionObjective:
    """Gradient and Hessian of a loss of regressors; balanced squared errors count half, as squared errors do.

    Parameters
    ----------
    bound : BalancedMSEBound or HistogramBound
        Bound to the training target, the former with its own columns or mixture.
    """

    def __init__(self, bound):
        self.bound = bound

    def _factor(self, width):
        """Factor of the Hessian over several columns of scores, the library's own convention."""
        raise NotImplementedError

    def _rows(self, y_true, y_pred, weight):
        bound, name = self.bound, self.bound.name
        target, scores, weight = both_interfaces(y_true, y_pred, weight)
        shape, wide = scores.shape, bound.width > 1
        if wide and (scores.ndim != 2 or scores.shape[1] != bound.width):
            raise ValueError(
                f"{name} takes scores of shape (n, {bound.width}), one per bin, got {shape}; set "
                f"num_class={bound.width}."
            )
        scores = scores if wide else scores.reshape(-1)
        target = checked_target(name, target, len(scores))
        weight = checked_weight(name, weight, len(scores))
        if target.dtype.kind not in "biuf" or not np.isfinite(target).all():
            raise ValueError(f"{name}: y_true must hold finite numbers.")
        z = torch.from_numpy(np.ascontiguousarray(scores))
        code = bound.encode(torch.from_numpy(target.astype(np.float64)), z).code
        grad, hess = (part.numpy() for part in bound.grad_hess(z, code))
        if wide:
            hess = np.maximum(hess * self._factor(bound.width), _LEAST_OVER_BINS)
        else:
            hess = np.maximum(hess, _LEAST_CURVATURE)
        if weight is not None:
            weight = weight[:, None] if wide else weight
            grad, hess = grad * weight, hess * weight
        return grad.reshape(shape), hess.reshape(shape)


class LightGBMRegressionObjective(RegressionObjective):
    """Under the argument names that LightGBM looks for."""

    def _factor(self, width):
        return width / (width - 1.0)

    def __call__(self, y_true, y_pred, weight=None):
        return self._rows(y_true, y_pred, weight)


class XGBoostRegressionObjective(RegressionObjective):
    """Under the argument names that XGBoost looks for."""

    def _factor(self, width):
        return 2.0

    def __call__(self, y_true, y_pred, sample_weight=None):
        return self._rows(y_true, y_pred, sample_weight)


def bind_target(loss, y):
    """Bind a loss of regressors to a training target, for boosting."""
    if isinstance(loss, BalancedMSE) and loss.learn_sigma:
        raise ValueError(
            f"{loss!r} would learn its noise scale, which boosting cannot; set learn_sigma=False and "
            "noise_sigma, for instance to the standard deviation of a model's residuals."
        )
    if not isinstance(y, ClassPrior):
        y = check_array(column_or_1d(y), ensure_2d=False, dtype=np.float64, input_name="y")
    bound = loss.bind(y)
    if not isinstance(loss, BalancedMSE):
        check_served(bound, frozenset(), "boosting", "choose HistogramGaussian or BalancedMSE")
    elif bound.columns is None and bound.mixture is None:
        bound.columns = label_groups(y, np.ones(len(y)), _MOST_LABELS)
    return bound
