"""Losses of regressors; not in `all_losses`, which lists classification losses."""

from abc import ABC, abstractmethod

import torch
from torch import nn


class RegressionBound(nn.Module, ABC):
    """A regression loss with a closed-form gradient and an inverse link."""

    task = "regression"
    shift_invariant = False

    @abstractmethod
    def entries(self, raw, target):
        """Loss and gradient per entry."""

    @abstractmethod
    def inverse_link(self, raw):
        """Predictions from raw outputs."""

    def encode(self, target, raw):
        """Targets in the dtype of the outputs."""
        return target.to(raw.dtype)

    def loss_grad(self, raw, target, weight=None, total=None):
        """Weighted mean over rows, mean over outputs."""
        loss, grad = self.entries(raw, target)
        outputs = raw.shape[-1] if raw.ndim > 1 else 1
        if weight is None:
            total = raw.shape[0] if total is None else total
            return loss.sum() / (total * outputs), grad / (total * outputs)
        total = weight.sum() if total is None else total
        factor = (weight / (total * outputs)).reshape(weight.shape + (1,) * (raw.ndim - 1))
        return (loss * factor).sum(), grad * factor


class SquaredError(RegressionBound):
    """Half the squared error."""

    def entries(self, raw, target):
        diff = raw - target
        return 0.5 * diff.square(), diff

    def inverse_link(self, raw):
        return raw


class PoissonDeviance(RegressionBound):
    """Half the Poisson deviance with log link."""

    def entries(self, raw, target):
        mean = raw.exp()
        loss = torch.special.xlogy(target, target) - target * raw - target + mean
        return loss, mean - target

    def inverse_link(self, raw):
        return raw.exp()


BY_NAME = {"squared_error": SquaredError, "poisson": PoissonDeviance}
