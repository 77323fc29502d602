"""A one-layer net grown by boosting."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skimb._base.head import HeadParams
from skimb._core.validation import take_names
from skimb.boosting._base import BoostedClassifier
from skimb.ensemble._units import ACTIVATIONS, Block, fit_blocks
from skimb.losses import Loss
from skimb.neural_network import MLPClassifier

_HALVINGS = 30
_FLOOR = 1e-12  # least denominator of a Newton step


class GradientBoostedMLPClassifier(BoostedClassifier):
    r"""Gradient boosted neural network (GBNN): hidden units added one block at a time, each with a Newton step.

    Stage t fits a block of hidden units :math:`h_t` to the negative gradients of a loss on a share of the rows,
    and adds it with the step

    .. math:: \rho_t=\eta\,\frac{-\sum_i w_i\,g_i^\top h_t(x_i)}
        {\sum_i w_i\,h_t(x_i)^\top\mathrm{diag}(H_i)\,h_t(x_i)}.

    The sum of all blocks is one net with a single hidden layer, see :meth:`to_mlp`, and any number of its first
    units is a model too, see :meth:`truncate`.

    Parameters
    ----------
    loss : Loss, default=None
        A row-separable loss of :mod:`skimb.losses`; None is cross-entropy.
    n_estimators : int in [0, inf), default=200
        Stages.
    units_per_stage : int in [1, inf), default=1
        Hidden units that a stage adds.
    n_candidates : int in [1, inf), default=1
        Blocks that a stage fits from different starts, side by side; the one whose Newton step promises most
        is added.
    learning_rate : float in (0, inf), default=0.5
        Factor :math:`\eta` of the Newton step.
    newton : {"common", "per_class"}, default="common"
        One step for all score columns, or one for each.
    max_step : float in (0, inf), default=100.0
        Bound of :math:`|\rho|` before `learning_rate`; full steps are about :math:`1/(\pi(1-\pi))` for a rare
        class of share :math:`\pi`.
    subsample : float in (0, 1], default=0.5
        Share of the rows of each class, at least one, that a block is fitted to.
    activation : {"logistic", "tanh", "relu"}, default="logistic"
        Of the hidden units.
    alpha : float in [0, inf), default=0.0001
        L2 strength of a block's fit, divided by its rows (weights) as in ``MLPRegressor``.
    max_iter : int in [1, inf), default=200
        L-BFGS iterations of a block's fit.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes, in the start, the fits and the steps.
    early_stopping : bool, default=False
        Whether to set rows aside and keep the stages up to their best score.
    validation_fraction : float in (0, 1), default=0.1
        Share of rows set aside, stratified.
    n_iter_no_change : int in [1, inf), default=10
        Stages without a better score that are borne.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping; None is the log-loss, or the loss where it gives no probabilities.
    random_state : int, RandomState or None, default=None
        Seed of starts, shares of rows and the validation split.

    Attributes
    ----------
    blocks_ : list
        Fitted blocks, with their steps in the output weights.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    init_scores_ : ndarray of shape (n_columns,)
        Where boosting starts: the best constant.
    loss_curve_ : list of float
        Weighted training loss after each stage, from 0 stages on; never rises.
    n_iter_ : int
        Stages kept.
    n_unconverged_ : int
        Stages whose fit ran out of iterations.
    prior_, class_weight_ : ndarray of shape (n_classes,)
        Label distribution of the training rows, weights of classes or None.
    loss_function_ : Loss
        The loss that was trained.
    n_columns_, n_features_in_, feature_names_in_ : int, int, ndarray
        Score columns, features of X.

    Raises
    ------
    ValueError
        If the loss couples rows, or there is one class only.

    Notes
    -----
    Deviations from the released code: it starts several classes from zero instead of their frequencies, ignores
    its seed in the draws of rows, knows no weights, and may overshoot; here steps are halved until the training
    loss falls. Blocks are fitted on dense or sparse rows; standardise them.

    References
    ----------
    Emami and Martínez-Muñoz 2023, doi:10.1109/ACCESS.2023.3271515.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.datasets import load_breast_cancer_rare
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skimb.ensemble import GradientBoostedMLPClassifier
    >>> X, y = load_breast_cancer_rare()
    >>> X = StandardScaler().fit_transform(X)
    >>> model = GradientBoostedMLPClassifier(n_estimators=10, random_state=0).fit(X, y)
    >>> net = model.to_mlp()
    >>> net.coefs_[0].shape, bool(np.allclose(net.predict_proba(X), model.predict_proba(X), atol=1e-12))
    ((30, 10), True)
    """

    _parameter_constraints = {
        "loss": [Loss, None],
        "n_estimators": [Interval(Integral, 0, None, closed="left")],
        "units_per_stage": [Interval(Integral, 1, None, closed="left")],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "newton": [StrOptions({"common", "per_class"})],
        "max_step": [Interval(Real, 0, None, closed="neither")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        **{
            name: BoostedClassifier._parameter_constraints[name]
            for name in (
                "learning_rate",
                "subsample",
                "class_weight",
                "early_stopping",
                "validation_fraction",
                "n_iter_no_change",
                "validation_scoring",
                "random_state",
            )
        },
    }

    def __init__(
        self,
        loss=None,
        *,
        n_estimators=200,
        units_per_stage=1,
        n_candidates=1,
        learning_rate=0.5,
        newton="common",
        max_step=100.0,
        subsample=0.5,
        activation="logistic",
        alpha=0.0001,
        max_iter=200,
        class_weight=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        validation_scoring=None,
        random_state=None,
    ):
        self.loss = loss
        self.n_estimators = n_estimators
        self.units_per_stage = units_per_stage
        self.n_candidates = n_candidates
        self.learning_rate = learning_rate
        self.newton = newton
        self.max_step = max_step
        self.subsample = subsample
        self.activation = activation
        self.alpha = alpha
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.validation_scoring = validation_scoring
        self.random_state = random_state

    # --- training ----------------------------------------------------------------------------

    def _train(self, X, code, weight, sets, metric, seed):
        rng = check_random_state(seed)
        weight = np.ones(len(code)) if weight is None else weight
        scores = np.tile(self.init_scores_, (len(code), 1))
        self.blocks_, self.n_unconverged_ = [], 0
        self.loss_curve_ = [self._mean_loss(scores, code, weight)]
        watch = None
        if sets:
            (held,) = sets
            there = np.tile(self.init_scores_, (len(held.code), 1))
            watch = [metric.gain(self._shaped(there), held), 0]  # best score, its stages
        for stage in range(1, self.n_estimators + 1):
            grad, hess = self._slopes(scores, code)
            block, out, step = self._best_block(X, code, weight, grad, hess, rng)
            scores, reached, step = self._walk(scores, out, step, code, weight)
            block.V, block.c = block.V * step, block.c * step
            self.blocks_.append(block)
            self.loss_curve_.append(reached)
            if watch is not None:
                there = there + block(held.X)
                found = metric.gain(self._shaped(there), held)
                if found > watch[0]:
                    watch = [found, stage]
                elif stage - watch[1] >= self.n_iter_no_change:
                    break
        if watch is not None:
            del self.blocks_[watch[1] :], self.loss_curve_[watch[1] + 1 :]
        self.n_iter_ = len(self.blocks_)

    def _slopes(self, scores, code):
        """Gradient and stand-in of the Hessian per row and column."""
        grad, hess = self._head.bound.grad_hess(self._shaped(scores), code, convex=True)
        return grad.reshape(scores.shape), hess.reshape(scores.shape)

    def _best_block(self, X, code, weight, grad, hess, rng):
        """The candidate of the largest promised decrease, its outputs and its step."""
        rows = self._share(code, rng)
        w = weight[rows] / weight[rows].sum()
        blocks, converged = fit_blocks(
            X[rows],
            -grad[rows],
            w,
            self.units_per_stage,
            self.n_candidates,
            self.activation,
            self.alpha / (self._head.seen.total * self.subsample),
            self.max_iter,
            rng,
        )
        self.n_unconverged_ += not converged
        axis = None if self.newton == "common" else 0
        best = None
        for block in blocks:
            out = block(X)
            slope = (weight[:, None] * grad * out).sum(axis)
            curve = np.maximum((weight[:, None] * hess * out**2).sum(axis), _FLOOR)
            promised = np.sum(slope**2 / curve)
            if best is None or promised > best[0]:
                step = np.clip(-slope / curve, -self.max_step, self.max_step)
                best = promised, block, out, step * self.learning_rate
        return best[1:]

    def _share(self, code, rng):
        if self.subsample == 1.0:
            return np.arange(len(code))
        rows = []
        for k in np.unique(code):
            own = np.flatnonzero(code == k)
            size = max(round(self.subsample * len(own)), 1)
            rows.append(rng.choice(own, size, replace=False))
        return np.sort(np.concatenate(rows))

    def _walk(self, scores, out, step, code, weight):
        """Halve the step until the training loss does not rise."""
        for _ in range(_HALVINGS):
            moved = scores + step * out
            reached = self._mean_loss(moved, code, weight)
            if reached <= self.loss_curve_[-1]:
                return moved, reached, step
            step = 0.5 * step
        return scores, self.loss_curve_[-1], 0.0 * step

    def _mean_loss(self, scores, code, weight):
        z = torch.from_numpy(np.ascontiguousarray(self._shaped(scores)))
        rows = self._head.bound.row_loss(z, torch.from_numpy(code)).numpy()
        return float(np.average(rows, weights=weight))

    def _shaped(self, scores):
        return scores if self.n_columns_ > 1 else scores[:, 0]

    # --- predictions -------------------------------------------------------------------------

    def _raw(self, X):
        total = np.zeros((X.shape[0], self.n_columns_))
        for block in self.blocks_:
            total += block(X)
        return self._shaped(total)

    def _stages(self, X):
        check_is_fitted(self)
        X = self._read(X)
        total = np.tile(self.init_scores_, (X.shape[0], 1)).astype(np.float64)
        for block in self.blocks_:
            total = total + block(X)
            yield self._shaped(total)

    def staged_decision_function(self, X):
        """Scores of the first stage, the first two, and so on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores as ``decision_function`` gives them.
        """
        return map(self._decide, self._stages(X))

    def staged_predict_proba(self, X):
        """Probabilities of the first stage, the first two, and so on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        return map(self._posterior, self._stages(X))

    def staged_predict(self, X):
        """Classes of the first stage, the first two, and so on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples,)
            Labels.
        """
        return map(self._labels, self._stages(X))

    def truncate(self, n):
        """A copy with the first stages only.

        Parameters
        ----------
        n : int in [0, n_iter_]
            Stages to keep.

        Returns
        -------
        GradientBoostedMLPClassifier
            A fitted classifier; this one stays as it is.

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

    def to_mlp(self):
        """The same model as one net with a single hidden layer.

        Returns
        -------
        MLPClassifier
            A fitted classifier of this module's loss, which can be saved, moved to a device or trained on with
            ``warm_start``.

        Raises
        ------
        ValueError
            If there is no unit.
        """
        check_is_fitted(self)
        if not self.blocks_:
            raise ValueError("There is no unit to make a net of; the model is a constant.")
        all_of = Block(
            np.hstack([b.W for b in self.blocks_]),
            np.concatenate([b.b for b in self.blocks_]),
            np.vstack([b.V for b in self.blocks_]),
            self.init_scores_ + sum(b.c for b in self.blocks_),
            self.blocks_[0].activation,
        )
        weights = self.class_weight_
        if weights is not None:
            weights = dict(zip(self.classes_.tolist(), weights.tolist(), strict=True))
        net = MLPClassifier(
            (all_of.W.shape[1],),
            all_of.activation,
            loss=copy.deepcopy(self.loss_function_),
            class_weight=weights,
            alpha=self.alpha,
        )
        # a fit of no epochs to a row per class, then with these weights and what was counted here
        fit = net._prepare(
            net._validate(np.zeros((len(self.classes_), len(all_of.W))), self.classes_)
        )
        flat = np.concatenate([a.ravel() for a in (all_of.W, all_of.V, all_of.b, all_of.c)])
        with torch.no_grad():
            fit.net.module_.flat.copy_(torch.from_numpy(flat).view_as(fit.net.module_.flat))
        net._finish(fit)
        net._show(net._head.with_counts(self._head.seen, HeadParams.of(net)))
        take_names(net, self)
        return net
