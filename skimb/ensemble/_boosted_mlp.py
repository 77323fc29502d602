"""A one-layer net grown by boosting."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._base.head import HeadParams
from skimb._core.validation import take_names
from skimb.boosting._base import BoostedClassifier
from skimb.ensemble._grown import BODY, GrownNet, untrained
from skimb.ensemble._units import ACTIVATIONS
from skimb.losses import Loss
from skimb.neural_network import MLPClassifier


class GradientBoostedMLPClassifier(GrownNet, BoostedClassifier):
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
    body : estimator or None, default=None
        Gives the rows that are boosted on: the last hidden layer of a perceptron of
        :mod:`skimb.neural_network`, also at the end of a pipeline, or what another estimator's ``transform``
        gives. It is fitted to the same rows and weights first, or kept as it is inside a ``FrozenEstimator``.
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
    body_ : estimator or None
        The fitted body.
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
        "body": BODY,
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
        body=None,
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
        self.body = body
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.validation_scoring = validation_scoring
        self.random_state = random_state

    # --- training ----------------------------------------------------------------------------

    def _train(self, X, code, weight, sets, metric, seed):
        self._grow(X, code, weight, self._head.seen.total, sets, metric, seed, self.classes_[code])

    def _slopes(self, scores, code):
        grad, hess = self._head.bound.grad_hess(self._shaped(scores), code, convex=True)
        return grad.reshape(scores.shape), hess.reshape(scores.shape)

    def _common_step(self):
        return self.newton == "common"

    def _share(self, code, rng):
        if self.subsample == 1.0:
            return np.arange(len(code))
        rows = []
        for k in np.unique(code):
            own = np.flatnonzero(code == k)
            size = max(round(self.subsample * len(own)), 1)
            rows.append(rng.choice(own, size, replace=False))
        return np.sort(np.concatenate(rows))

    def _mean_loss(self, scores, code, weight):
        z = torch.from_numpy(np.ascontiguousarray(self._shaped(scores)))
        rows = self._head.bound.row_loss(z, torch.from_numpy(code)).numpy()
        return float(np.average(rows, weights=weight))

    def _shaped(self, scores):
        return scores if self.n_columns_ > 1 else scores[:, 0]

    # --- predictions -------------------------------------------------------------------------

    def _raw(self, X):
        return self._shaped(self._sum(X))

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
            If there is no unit, or the body is no perceptron whose layers could go on: it stands behind other
            steps, transforms, normalises, or has another activation.
        """
        whole, sizes, before = self._flattened()
        weights = self.class_weight_
        if weights is not None:
            weights = dict(zip(self.classes_.tolist(), weights.tolist(), strict=True))
        net = MLPClassifier(
            sizes,
            whole.activation,
            loss=copy.deepcopy(self.loss_function_),
            class_weight=weights,
            alpha=self.alpha,
        )
        # a fit of no epochs to a row per class, then with these weights and what was counted here
        untrained(net, self.n_features_in_, self.classes_, whole, before)
        net._show(net._head.with_counts(self._head.seen, HeadParams.of(net)))
        take_names(net, self)
        return net
