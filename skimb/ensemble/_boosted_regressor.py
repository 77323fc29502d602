"""A one-layer net for numeric targets, grown by boosting."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.validation import drop_weightless, take_names
from skimb.boosting._validation import HeldOut
from skimb.ensemble._boosted_mlp import GradientBoostedMLPClassifier
from skimb.ensemble._grown import GrownNet, untrained
from skimb.ensemble._row_losses import Balanced, Pinball, PoissonDeviance, SquaredError
from skimb.losses import BalancedMSE
from skimb.neural_network import MLPRegressor

_NAMES = {"squared_error", "absolute_error", "quantile", "poisson"}


class GradientBoostedMLPRegressor(GrownNet, RegressorMixin, BaseEstimator):
    r"""Gradient boosted neural network (GBNN) for numeric targets: hidden units added one block at a time.

    Stage t fits a block of hidden units :math:`h_t` to the negative gradients of the loss on a share of the rows,
    and adds it with a step for each target: Newton's,

    .. math:: \rho_t=\eta\,\frac{-\sum_i w_i\,g_i\,h_t(x_i)}{\sum_i w_i\,H_i\,h_t(x_i)^2},

    or, for absolute errors and quantiles, :math:`\eta` times the step that is best for the training rows. The sum
    of all blocks is one net with a single hidden layer, see :meth:`to_mlp`, and any number of its first blocks is
    a model too, see :meth:`truncate`. With a `body` the layers of a trained net come first and only the last one
    is grown.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "quantile", "poisson"} or BalancedMSE, default="squared_error"
        What is lowered; "poisson" has a log link. ``BalancedMSE(learn_sigma=False)`` is for rare values of one
        target.
    quantile : float in (0, 1), default=0.5
        The quantile of ``loss="quantile"``.
    n_estimators : int in [0, inf), default=200
        Stages.
    units_per_stage : int in [1, inf), default=1
        Hidden units that a stage adds.
    n_candidates : int in [1, inf), default=1
        Blocks that a stage fits from different starts, side by side; the one whose step promises most is added.
    learning_rate : float in (0, inf), default=0.5
        Factor :math:`\eta` of the step.
    subsample : float in (0, 1], default=0.5
        Share of the rows that a block is fitted to.
    activation : {"logistic", "tanh", "relu"}, default="logistic"
        Of the hidden units.
    alpha : float in [0, inf), default=0.0001
        L2 strength of a block's fit, divided by its rows (weights) as in ``MLPRegressor``, for residuals of unit
        size.
    max_iter : int in [1, inf), default=200
        L-BFGS iterations of a block's fit.
    body : estimator or None, default=None
        Gives the rows that are boosted on: the last hidden layer of a perceptron of
        :mod:`skimb.neural_network`, also at the end of a pipeline, or what another estimator's ``transform``
        gives. It is fitted to the same rows and weights first, or kept as it is inside a ``FrozenEstimator``.
    early_stopping : bool, default=False
        Whether to set rows aside and keep the stages up to their least loss.
    validation_fraction : float in (0, 1), default=0.1
        Share of rows set aside.
    n_iter_no_change : int in [1, inf), default=10
        Stages without a smaller loss that are borne.
    random_state : int, RandomState or None, default=None
        Seed of starts, shares of rows and the validation split.

    Attributes
    ----------
    blocks_ : list
        Fitted blocks, with their steps in the output weights.
    body_ : estimator or None
        The fitted body.
    init_scores_ : ndarray of shape (n_outputs,)
        Where boosting starts: the best constant.
    loss_curve_ : list of float
        Weighted training loss after each stage, from 0 stages on; never rises.
    n_iter_, n_unconverged_ : int
        Stages kept, stages whose fit ran out of iterations.
    n_outputs_, n_features_in_, feature_names_in_ : int, int, ndarray
        Targets, features of X.

    Raises
    ------
    ValueError
        If a target is negative with ``loss="poisson"``, or ``BalancedMSE`` would learn its noise scale or gets
        several targets.

    Notes
    -----
    Deviations from the released code: it takes every step as 1 and ignores its seed in the draws of rows; here
    steps are Newton's or exact and are halved until the training loss falls, weights count, and targets may have
    any unit. ``BalancedMSE`` takes its label density from the rows, whatever their weights. Standardise the rows.

    References
    ----------
    Emami and Martínez-Muñoz 2023, doi:10.1109/ACCESS.2023.3271515.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_friedman1
    >>> from skimb.ensemble import GradientBoostedMLPRegressor
    >>> X, y = make_friedman1(300, random_state=0)
    >>> model = GradientBoostedMLPRegressor(n_estimators=20, units_per_stage=2, random_state=0).fit(X, y)
    >>> net = model.to_mlp()
    >>> net.coefs_[0].shape, bool(np.allclose(net.predict(X), model.predict(X), atol=1e-10))
    ((10, 40), True)
    >>> [round(model.truncate(n).score(X, y), 1) for n in (0, 5, 20)]
    [0.0, 0.9, 1.0]
    """

    _floor = 1e-300  # targets may be tiny

    _parameter_constraints = {
        "loss": [StrOptions(_NAMES), BalancedMSE],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        **{
            name: GradientBoostedMLPClassifier._parameter_constraints[name]
            for name in (
                "n_estimators",
                "units_per_stage",
                "n_candidates",
                "learning_rate",
                "subsample",
                "activation",
                "alpha",
                "max_iter",
                "body",
                "early_stopping",
                "validation_fraction",
                "random_state",
            )
        },
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        loss="squared_error",
        *,
        quantile=0.5,
        n_estimators=200,
        units_per_stage=1,
        n_candidates=1,
        learning_rate=0.5,
        subsample=0.5,
        activation="logistic",
        alpha=0.0001,
        max_iter=200,
        body=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        random_state=None,
    ):
        self.loss = loss
        self.quantile = quantile
        self.n_estimators = n_estimators
        self.units_per_stage = units_per_stage
        self.n_candidates = n_candidates
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.activation = activation
        self.alpha = alpha
        self.max_iter = max_iter
        self.body = body
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    # --- training ----------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit to rows with numeric targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        GradientBoostedMLPRegressor
            Itself.
        """
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            multi_output=True,
            y_numeric=True,
        )
        X, y, sample_weight = drop_weightless(X, np.asarray(y, float), sample_weight)
        rng = check_random_state(self.random_state)
        self._columns = y.ndim > 1
        target = y.reshape(len(y), -1)
        self.n_outputs_ = self.n_columns_ = target.shape[1]
        sets, at = [], np.arange(len(y))
        if self.early_stopping:
            if len(y) < 3:
                raise ValueError(
                    f"GradientBoostedMLPRegressor cannot set validation rows aside of n_samples={len(y)}; use "
                    "early_stopping=False."
                )
            at, held = train_test_split(at, test_size=self.validation_fraction, random_state=rng)
            own = None if sample_weight is None else sample_weight[held]
            sets = [HeldOut(X[held], target[held], own)]
        X, y, target = X[at], y[at], target[at]
        given = np.ones(len(at)) if sample_weight is None else sample_weight[at]
        self._loss = self._bound(target)
        self.init_scores_ = self._loss.start(target, given)
        weight = None if sample_weight is None else given / given.mean()
        seed = int(rng.randint(np.iinfo(np.int32).max))
        self._grow(X, target, weight, given.sum(), sets, self, seed, y)
        return self

    def _bound(self, target):
        if isinstance(self.loss, BalancedMSE):
            return Balanced(self.loss, target)
        if self.loss == "quantile":
            return Pinball(self.quantile)
        if self.loss == "absolute_error":
            return Pinball(0.5, 2.0)
        return PoissonDeviance() if self.loss == "poisson" else SquaredError()

    def gain(self, scores, held):
        """What early stopping follows: the negative loss of held-out rows."""
        weight = np.ones(len(held.code)) if held.weight is None else held.weight
        return -self._mean_loss(scores, held.code, weight)

    def _slopes(self, scores, target):
        return self._loss.slopes(scores, target)

    def _step(self, scores, target, weight, grad, hess, out):
        if hasattr(self._loss, "step"):
            return self._loss.step(scores, target, weight, out)
        return super()._step(scores, target, weight, grad, hess, out)

    def _common_step(self):
        return False

    def _unit(self, residual, weight):
        size = np.sqrt((weight[:, None] * residual**2).sum(0))
        return np.where(size > 0, size, 1.0)

    def _share(self, target, rng):
        n = len(target)
        if self.subsample == 1.0:
            return np.arange(n)
        return np.sort(rng.choice(n, max(round(self.subsample * n), 1), replace=False))

    def _mean_loss(self, scores, target, weight):
        return self._loss.mean(scores, target, weight)

    def _shaped(self, scores):
        return scores

    def _read(self, X):
        return validate_data(
            self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False
        )

    # --- predictions -------------------------------------------------------------------------

    def _predicted(self, scores):
        values = self._loss.inverse(scores)
        return values if self._columns else values[:, 0]

    def predict(self, X):
        """Predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        check_is_fitted(self)
        scores = self._sum(self._read(X)) + self.init_scores_
        return self._predicted(scores)

    def staged_predict(self, X):
        """Predictions of the first stage, the first two, and so on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        return map(self._predicted, self._stages(X))

    def to_mlp(self):
        """The same model as one net, with a single hidden layer behind those of the body.

        Returns
        -------
        MLPRegressor
            A fitted regressor with ``loss="poisson"`` or else ``"squared_error"``, which predicts the same.

        Raises
        ------
        ValueError
            If there is no unit, or the body is no perceptron whose layers could go on: it stands behind other
            steps, transforms, normalises, or has another activation.
        """
        whole, sizes, before = self._flattened()
        loss = "poisson" if isinstance(self._loss, PoissonDeviance) else "squared_error"
        net = MLPRegressor(loss, sizes, whole.activation, alpha=self.alpha)
        shape = (2, self.n_outputs_) if self._columns else 2
        untrained(net, self.n_features_in_, np.zeros(shape), whole, before)
        take_names(net, self)
        return net

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags
