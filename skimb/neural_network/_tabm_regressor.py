"""The TabM regressor."""

import copy

import numpy as np
from sklearn.base import RegressorMixin, _fit_context, clone
from sklearn.utils._param_validation import StrOptions

from skimb._base import members
from skimb._base.numeric import NumericHead
from skimb._core.compat import with_callbacks
from skimb.losses.regression import BY_NAME, BalancedMSE
from skimb.neural_network._regressor import MLPRegressor
from skimb.neural_network._tabm_base import SHARED_CONSTRAINTS, TabMBase


class TabMRegressor(RegressorMixin, TabMBase):
    r"""Ensembles of small nets that share weights, for raw tables with numeric targets: TabM.

    The nets, their input, folds and defaults are those of :class:`TabMClassifier`. Targets are scaled inside: to
    mean 0 and spread 1, or to mean 1 with ``loss="poisson"``.

    Parameters
    ----------
    loss : {"squared_error", "poisson"} or BalancedMSE, default="squared_error"
        Half the squared error, half the Poisson deviance with a log link, or the balanced squared error for rare
        target values, whose noise scale all members of an ensemble share.
    n_members : int, default=8
        Nets of an ensemble.
    width : int, default=64
        Units of a hidden layer.
    n_blocks : int, default=2
        Hidden layers, with ReLU.
    ensemble : {"mini", "full", "packed"}, default="mini"
        What the members share: everything but one scale of each column and the output layer; layers with scales of
        their own before and after each product; or nothing.
    embedding : {"piecewise_linear", "periodic"} or None, default="piecewise_linear"
        Embedding of numbers: a line plus a learned step function with linear pieces between quantiles; a layer on
        sines and cosines of learned frequencies; or the scaled number as it is.
    d_embedding : int, default=16
        Numbers that a column becomes; also of categories.
    n_bins : int, default=48
        Most bins of a column.
    scaling : {"quantile", "squash"}, default="quantile"
        Scale of numbers: quantiles to those of a normal distribution, or
        :class:`~skimb.preprocessing.SquashingScaler`.
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        Which columns are categories: those whose type says so (categories, texts, booleans, objects that are not
        all numbers), none, or a mask, positions or names.
    dropout : float in [0, 1), default=0.0
        Share of hidden units that are dropped in training.
    alpha : float in [0, inf), default=0.0003
        Decoupled weight decay; intercepts and the lines of embeddings are free.
    learning_rate_init : float in (0, inf), default=0.003
        Learning rate of AdamW.
    clip_norm : float in (0, inf) or None, default=1.0
        Length that the gradient of an ensemble may have.
    batch_size : int or "auto", default="auto"
        Rows per update. 'auto' goes by the rows of a training part: 128 below 6,400, then 256 below 32,000, 512
        below 108,000, else 1,024; and 1,024 for losses that couple rows.
    max_iter : int in [1, inf), default=500
        Most epochs.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without a better validation score that are borne.
    validation_folds : int in [0, inf), default=5
        Ensembles, each of which stops on another part of the rows and trains on all others, so that every row
        trains and every row validates. 1 is one ensemble with one part; 0 trains one ensemble for `max_iter` epochs
        on all rows.
    validation_fraction : float in (0, 1), default=0.2
        Share of the one part of ``validation_folds=1``: a half, a third, a fourth and so on, whichever is nearest.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping; ``None`` is the loss of the ensemble's mean prediction.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the fitted ensembles, whose columns, scales, bins and shape stay. With an
        integer `random_state` and the same rows each keeps its validation part.
    random_state : int, RandomState or None, default=None
        Seed of parts, initial weights and permutations.
    verbose : bool or int, default=False
        Whether to print each epoch.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train. Fitted models live on the CPU.
    mixed_precision : bool, default=False
        Whether to train with products in bfloat16 on CUDA; without effect on the CPU. See the notes of
        :class:`TabMClassifier`.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback); each ensemble gets copies. For scikit-learn's use
        ``set_callbacks``.

    Attributes
    ----------
    shrinkage_ : float in [0, 1]
        How much predictions are pulled towards the mean: 0 unless held-out predictions were worse than that.
    validation_r2_ : float or None
        R2 of predictions for held-out rows, each by the ensemble that did not see it.
    noise_sigma_ : float
        Noise scale, with ``loss=BalancedMSE()``: the mean over ensembles.
    n_iter_ : int
        Most epochs of an ensemble.
    best_iterations_ : list of int
        Epoch of each ensemble whose weights predict.
    validation_scores_ : list of list of float
        Validation score of each ensemble per epoch.
    history_ : list of list of dict
        skorch's history of each ensemble.
    n_outputs_ : int
        Outputs of a member.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    References
    ----------
    Gorishniy, Kotelnikov, Babenko 2024, arXiv:2410.24210.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from skimb.neural_network import TabMRegressor
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> model = TabMRegressor(validation_folds=2, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _parameter_constraints = {
        **SHARED_CONSTRAINTS,
        "loss": [StrOptions(set(BY_NAME)), BalancedMSE],
    }

    def __init__(
        self,
        loss="squared_error",
        n_members=8,
        width=64,
        n_blocks=2,
        *,
        ensemble="mini",
        embedding="piecewise_linear",
        d_embedding=16,
        n_bins=48,
        scaling="quantile",
        categorical_features="from_dtype",
        dropout=0.0,
        alpha=3e-4,
        learning_rate_init=3e-3,
        clip_norm=1.0,
        batch_size="auto",
        max_iter=500,
        n_iter_no_change=10,
        validation_folds=5,
        validation_fraction=0.2,
        validation_scoring=None,
        shuffle=True,
        warm_start=False,
        random_state=None,
        verbose=False,
        device="cpu",
        mixed_precision=False,
        callbacks=None,
    ):
        self.loss = loss
        self.n_members = n_members
        self.width = width
        self.n_blocks = n_blocks
        self.ensemble = ensemble
        self.embedding = embedding
        self.d_embedding = d_embedding
        self.n_bins = n_bins
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.dropout = dropout
        self.alpha = alpha
        self.learning_rate_init = learning_rate_init
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.validation_folds = validation_folds
        self.validation_fraction = validation_fraction
        self.validation_scoring = validation_scoring
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
        self.mixed_precision = mixed_precision
        self.callbacks = callbacks

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit to the rows of a table.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows: numbers, missing values, booleans, categories and texts.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        TabMRegressor
            Itself.
        """
        return self._fit(X, y, sample_weight)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train every ensemble for one epoch on these rows, as :meth:`TabMClassifier.partial_fit`.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; the first ones set the unit in which all are learned.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        TabMRegressor
            Itself.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Predicted targets: the mean over all members.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, float64.
        """
        mean = self._predictions(X).mean(0)
        return self._centre + self._spread * (self._typical + self._kept * (mean - self._typical))

    def predict_std(self, X):
        """How far the members' predictions lie apart: their standard deviation.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Standard deviations over all members of all ensembles; they are no intervals of the target.
        """
        return self._spread * self._kept * self._predictions(X).std(0)

    def _predictions(self, X):
        """Predictions of every member in units of training."""
        each = [members.predictions(fold._head, raw) for fold, raw in self._outputs(X)]
        return np.concatenate(each)

    def _plain_net(self, fold, coef, intercept):
        head, loss = fold._head, fold._head.loss
        if loss == "poisson":
            return MLPRegressor(loss), head, coef, intercept + np.log(self._spread)
        if isinstance(loss, BalancedMSE):
            head, size = copy.copy(head), float(self._spread)
            head.bound = head.bound.in_units(self._centre, size)
            if loss.noise_sigma != "auto":
                loss = clone(loss).set_params(noise_sigma=loss.noise_sigma * size)
        return (
            MLPRegressor(loss),
            head,
            coef * self._spread,
            intercept * self._spread + self._centre,
        )

    # --- training --------------------------------------------------------------------------------

    def _new_head(self):
        return NumericHead(type(self).__name__)

    def _to_train(self, code, sample_weight, *, new=True):
        """Targets of mean 0 and spread 1, or, with a log link, of mean 1; further ones in the same units."""
        if not new:
            return (code - self._centre) / self._spread
        joint = isinstance(self.loss, BalancedMSE)  # distances between targets must stay comparable
        power = np.frexp(np.abs(code).max(None if joint else 0))[1]
        small = np.ldexp(code, -power)  # its squares neither overflow nor vanish
        mean = np.average(small, axis=0, weights=sample_weight)
        if self.loss == "poisson":
            self._centre, spread, self._typical = 0.0, mean, 1.0
        else:
            variance = np.average(np.square(small - mean), axis=0, weights=sample_weight)
            spread = np.sqrt(np.mean(variance) if joint else variance)
            self._centre, self._typical = np.ldexp(mean, power), 0.0
        self._spread = np.where(spread > 0.0, np.ldexp(spread, power), 1.0)
        return (code - self._centre) / self._spread

    def _of_training(self):
        found = {"units": (self._centre, self._spread)}
        if isinstance(self.loss, BalancedMSE) and self.loss.noise_sigma != "auto":
            sigma = self.loss.noise_sigma / float(self._spread)  # is given in units of the target
            found["loss"] = clone(self.loss).set_params(noise_sigma=sigma)
        return found

    def _finish(self, folds, fits, **how):
        super()._finish(folds, fits, **how)
        if isinstance(self._head.loss, BalancedMSE):
            each = [fold._head.bound.sigma for fold in self._folds]
            self.noise_sigma_ = float(np.mean(each) * self._spread)

    def _after_folds(self, held_out):
        self._kept, self.validation_r2_ = 1.0, None
        if held_out and not isinstance(self.loss, BalancedMSE):
            parts = [(members.predictions(f._head, raw).mean(0), rows) for f, raw, rows in held_out]
            found = np.concatenate([p for p, _ in parts]) - self._typical
            wanted = np.concatenate([rows.code for _, rows in parts]) - self._typical
            weight = parts[0][1].sample_weight
            if weight is not None:
                weight = np.concatenate([rows.sample_weight for _, rows in parts])

            def mean(values):
                return float(np.average(values, axis=0, weights=weight).mean())

            total = mean(np.square(wanted))
            self.validation_r2_ = 1.0 - mean(np.square(found - wanted)) / total if total else 0.0
            if self.validation_r2_ < 0.0 or not total:
                size = mean(np.square(found))
                self._kept = float(np.clip(mean(found * wanted) / size, 0.0, 1.0)) if size else 0.0
        self.shrinkage_ = 1.0 - self._kept
