"""Fits of several estimators on the same rows, checked once, or on bags of them: trained side by side."""

from contextlib import contextmanager

import torch

from skimb.engine.grouping import JointTraining
from skimb.engine.runtime import no_collections, small_batch_settings

_FIT_PARAMS = {"sample_weight", "cost"}


class FitsTogether:
    """Estimators that are fitted to the same rows, in stages if wanted.

    Parameters
    ----------
    estimators : list of NeuralBase
        Unfitted; each is fitted in place. Their parameters must have been validated.
    X, y : array-like
        Rows.
    fit_params : dict
        ``sample_weight`` and ``cost``, as `fit` takes them.
    max_memory : int
        Bytes that the state of one population may take.
    bags : list of ndarray of int, default=None
        Rows of each estimator, where they differ.
    """

    def __init__(self, estimators, X, y, fit_params, max_memory, bags=None):
        unknown = sorted(set(fit_params) - _FIT_PARAMS)
        if unknown:
            raise TypeError(
                f"{type(estimators[0]).__name__}.fit takes sample_weight and cost, not {unknown}."
            )
        self.estimators = estimators
        self.fits, self.errors = {}, {}
        self.bags = bags
        weight, cost = fit_params.get("sample_weight"), fit_params.get("cost")
        with no_collections():
            self._prepare(X, y, weight, cost)
        self.going = [k for k in self.fits if k not in self.errors]
        jobs = [(self.fits[k].net, self.fits[k].data) for k in self.going]
        self.order = {k: at for at, k in enumerate(self.going)}
        self.training = JointTraining(jobs, max_memory)

    def _prepare(self, X, y, weight, cost):
        rows = checked = None
        for k, estimator in enumerate(self.estimators):
            try:
                if self.bags is not None:
                    at = self.bags[k]
                    own = None if weight is None else weight[at]
                    own_cost = None if cost is None else cost[at]
                    rows = estimator._validate(X[at], y[at], own, cost=own_cost)
                elif rows is None:
                    rows = estimator._validate(X, y, weight, cost=cost)
                    checked = estimator
                else:
                    estimator._take_checks(checked)
                fit = self.fits[k] = estimator._prepare(rows)
                fit.net.notify("on_train_begin", X=fit.data, y=None)
            except Exception as error:  # belongs to this estimator, whose caller reports it
                self.errors[k] = error

    def run(self, until=None):
        """Train to the end, or up to the epoch `until`; estimators that fail are left out from then on."""
        with small_batch_settings(one_thread=True), no_collections():
            self.training.run(until)
        for k, at in self.order.items():
            error = self.training.errors.get(at)
            if error is not None and not isinstance(error, Exception):
                raise error  # a callback that wants to end the process, not a failed fit
            if error is not None:
                self.errors.setdefault(k, error)
        self.going = [k for k in self.going if k not in self.errors]

    def keep(self, positions):
        """Go on with these estimators only."""
        self.going = [k for k in self.going if k in positions]
        self.training.keep([self.order[k] for k in self.going])

    @contextmanager
    def predicting(self, k):
        """Let one estimator predict in the middle of its training."""
        estimator, fit = self.estimators[k], self.fits[k]
        fit.net.step.settle()
        if not estimator._head.bound.shift_invariant:
            yield estimator
            return
        state = fit.net.module_.state_dict().values()
        kept, level = [t.detach().clone() for t in state], estimator._level
        estimator._after_training(fit.data, fit.sample_weight)
        yield estimator
        with torch.no_grad():
            for t, before in zip(state, kept, strict=True):
                t.copy_(before)
        estimator._level = level

    def finish(self):
        """Complete the fits that are still going."""
        for k in list(self.going):
            fit = self.fits.pop(k)
            try:
                fit.net.notify("on_train_end", X=fit.data, y=None)
                self.estimators[k]._finish(fit)
            except Exception as error:  # belongs to this estimator, whose caller reports it
                self.errors[k] = error
        self.going = [k for k in self.going if k not in self.errors]
