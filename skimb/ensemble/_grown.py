"""What nets that grow by blocks of hidden units share: stages, steps, prefixes, one net in the end."""

import copy
from abc import ABC, abstractmethod

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from skimb._base.chain import ChainEstimator
from skimb._core.inner import fit_inner
from skimb.ensemble._units import Block, fit_blocks

_HALVINGS = 30

#: what may give the rows that are boosted on
BODY = [HasMethods(["fit"]), None]


class GrownNet(ABC):
    """A sum of blocks of hidden units on rows, or on what a body makes of rows."""

    max_step = np.inf
    _floor = 1e-12  # least denominator of a Newton step

    # --- what subclasses give ----------------------------------------------------------------

    @abstractmethod
    def _slopes(self, scores, target):
        """Gradient and stand-in of the Hessian per row and column."""

    @abstractmethod
    def _mean_loss(self, scores, target, weight):
        """Weighted mean loss of scores (n, n_columns)."""

    @abstractmethod
    def _share(self, target, rng):
        """Rows that a block is fitted to."""

    @abstractmethod
    def _shaped(self, scores):
        """Scores (n, n_columns) as a loss or a user gets them."""

    def _common_step(self):
        """Whether all columns have one step."""
        return True

    def _unit(self, residual, weight):
        """What residuals are divided by where a block is fitted to them."""
        return 1.0

    # --- training ----------------------------------------------------------------------------

    def _grow(self, X, target, weight, total, sets, metric, seed, labels):
        """Add stages, each of which leaves the training loss where it is or below.

        Parameters
        ----------
        X : ndarray or CSR matrix
            Rows.
        target : ndarray of shape (n, ...)
            What losses read.
        weight : ndarray of shape (n,) or None
            Weights of mean 1.
        total : float
            Sum of the weights of rows, that the L2 strength is divided by.
        sets : list of HeldOut
            Rows to score; empty if there are none.
        metric : object
            Its ``gain(scores, held)`` is larger for better scores.
        seed : int
            Seed of starts and shares.
        labels : ndarray
            Targets as the body is fitted to them.
        """
        rng = check_random_state(seed)
        self._fit_body(X, labels, weight)
        X = self._features(X)
        weight = np.ones(len(target)) if weight is None else weight
        scores = np.tile(self.init_scores_, (len(target), 1))
        self.blocks_, self.n_unconverged_ = [], 0
        self.loss_curve_ = [self._mean_loss(scores, target, weight)]
        watch = None
        if sets:
            (held,) = sets
            seen = self._features(held.X)
            there = np.tile(self.init_scores_, (len(held.code), 1))
            watch = [metric.gain(self._shaped(there), held), 0]  # best score, its stages
        for stage in range(1, self.n_estimators + 1):
            block, out, step = self._best_block(X, target, weight, total, scores, rng)
            scores, reached, step = self._walk(scores, out, step, target, weight)
            block.V, block.c = block.V * step, block.c * step
            self.blocks_.append(block)
            self.loss_curve_.append(reached)
            if watch is not None:
                there = there + block(seen)
                found = metric.gain(self._shaped(there), held)
                if found > watch[0]:
                    watch = [found, stage]
                elif stage - watch[1] >= self.n_iter_no_change:
                    break
        if watch is not None:
            del self.blocks_[watch[1] :], self.loss_curve_[watch[1] + 1 :]
        self.n_iter_ = len(self.blocks_)

    def _best_block(self, X, target, weight, total, scores, rng):
        """The candidate of the largest promised decrease, its outputs and its step."""
        grad, hess = self._slopes(scores, target)
        rows = self._share(target, rng)
        w = weight[rows] / weight[rows].sum()
        residual = -grad[rows]
        unit = self._unit(residual, w)
        blocks, converged = fit_blocks(
            X[rows],
            residual / unit,
            w,
            self.units_per_stage,
            self.n_candidates,
            self.activation,
            self.alpha / (total * self.subsample),
            self.max_iter,
            rng,
        )
        self.n_unconverged_ += not converged
        best = None
        for block in blocks:
            block.V, block.c = block.V * unit, block.c * unit
            out = block(X)
            promised, step = self._step(scores, target, weight, grad, hess, out)
            if best is None or promised > best[0]:
                step = np.clip(step, -self.max_step, self.max_step)
                best = promised, block, out, step * self.learning_rate
        return best[1:]

    def _step(self, scores, target, weight, grad, hess, out):
        """What a block promises, and the step towards it: Newton's."""
        axis = None if self._common_step() else 0
        slope = (weight[:, None] * grad * out).sum(axis)
        curve = np.maximum((weight[:, None] * hess * out**2).sum(axis), self._floor)
        return np.sum(slope**2 / curve), -slope / curve

    def _walk(self, scores, out, step, target, weight):
        """Halve the step until the training loss does not rise."""
        for _ in range(_HALVINGS):
            moved = scores + step * out
            reached = self._mean_loss(moved, target, weight)
            if reached <= self.loss_curve_[-1]:
                return moved, reached, step
            step = 0.5 * step
        return scores, self.loss_curve_[-1], 0.0 * step

    # --- the body ----------------------------------------------------------------------------

    def _fit_body(self, X, labels, weight):
        if self.body is None:
            self.body_ = None
        elif isinstance(self.body, FrozenEstimator):
            self.body_ = copy.deepcopy(self.body.estimator)  # whatever becomes of it later
        else:
            self.body_ = fit_inner(clone(self.body), X, labels, weight)

    def _features(self, X):
        """What is boosted on."""
        return X if self.body_ is None else _body_features(self.body_, X)

    # --- stages ------------------------------------------------------------------------------

    def _sum(self, X):
        """Sum of all blocks (n, n_columns), without the start."""
        X = self._features(X)
        total = np.zeros((X.shape[0], self.n_columns_))
        for block in self.blocks_:
            total += block(X)
        return total

    def _stages(self, X):
        check_is_fitted(self)
        X = self._features(self._read(X))
        total = np.tile(self.init_scores_, (X.shape[0], 1)).astype(np.float64)
        for block in self.blocks_:
            total = total + block(X)
            yield self._shaped(total)

    def truncate(self, n):
        """A copy with the first stages only.

        Parameters
        ----------
        n : int in [0, n_iter_]
            Stages to keep.

        Returns
        -------
        object
            A fitted estimator of this kind; this one stays as it is.

        Raises
        ------
        ValueError
            If there are fewer stages.
        """
        check_is_fitted(self)
        if not 0 <= n <= self.n_iter_:
            raise ValueError(f"n={n!r} must be from 0 to the {self.n_iter_} stages there are.")
        shorter = copy.copy(self)
        shorter.blocks_ = self.blocks_[:n]
        shorter.loss_curve_ = self.loss_curve_[: n + 1]
        shorter.n_iter_ = n
        return shorter

    # --- one net -----------------------------------------------------------------------------

    def _flattened(self):
        """All blocks as one, the widths of all hidden layers, and weights and intercepts of those before."""
        check_is_fitted(self)
        if not self.blocks_:
            raise ValueError("There is no unit to make a net of; the model is a constant.")
        whole = Block(
            np.hstack([b.W for b in self.blocks_]),
            np.concatenate([b.b for b in self.blocks_]),
            np.vstack([b.V for b in self.blocks_]),
            self.init_scores_ + sum(b.c for b in self.blocks_),
            self.blocks_[0].activation,
        )
        weights, biases = ([], []) if self.body_ is None else _layers(self.body_, whole.activation)
        return whole, (*(w.shape[1] for w in weights), whole.W.shape[1]), (weights, biases)


def _body_features(body, X):
    """The last hidden layer of a net for rows, of one behind other steps too, or what a transformer gives."""
    if isinstance(body, Pipeline) and isinstance(body[-1], ChainEstimator):
        return _body_features(body[-1], body[:-1].transform(X))
    if isinstance(body, ChainEstimator):
        check_is_fitted(body)
        if body.n_layers_ < 3:
            raise ValueError(f"{body!r} has no hidden layer to boost on; use body=None.")
        if X.shape[1] != body.n_features_in_:
            raise ValueError(
                f"{body!r} was fitted on {body.n_features_in_} features, got {X.shape[1]}."
            )
        found = body._hidden_outputs(X)
    elif hasattr(body, "transform"):
        found = body.transform(X)
    else:
        raise ValueError(
            f"body={body!r} has neither hidden layers nor transform; use a perceptron of skimb.neural_network, "
            "alone or at the end of a pipeline, or a transformer."
        )
    return found.astype(np.float64) if hasattr(found, "astype") else np.asarray(found, float)


def _layers(body, activation):
    """Weights and intercepts of the hidden layers of a body that goes on as one net."""
    module = body.net_.module_ if isinstance(body, ChainEstimator) else None
    if module is None or module.normalization is not None or module.activation != activation:
        raise ValueError(
            f"to_mlp makes one net of a body that is a perceptron without normalization and with "
            f"activation={activation!r} of its own; {body!r} is not."
        )
    return module.coefs()[:-1], module.intercepts()[:-1]


def untrained(net, n_features, y, whole, before):
    """Fit a dense net for no epochs to as many rows as `y` has, and give it layers and a block at the end."""
    weights, biases = before
    fit = net._prepare(net._validate(np.zeros((len(y), n_features)), y))
    parts = [*weights, whole.W, whole.V, *biases, whole.b, whole.c]
    flat = np.concatenate([np.ravel(part) for part in parts])
    with torch.no_grad():
        fit.net.module_.flat.copy_(torch.from_numpy(flat).view_as(fit.net.module_.flat))
    net._finish(fit)
