"""The multi-layer perceptron regressor."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from skimb._base.chain import CHAIN_CONSTRAINTS, ChainEstimator
from skimb._base.estimator import stochastic
from skimb._base.numeric import NumericHead
from skimb._core.compat import with_callbacks
from skimb._core.warn import warn_user
from skimb.losses.histogram import HistogramGaussian
from skimb.losses.regression import BY_NAME, RegressionLoss
from skimb.losses.reweighted import DynamicRegression, DynamicReweighting
from skimb.nets.mlp import ACTIVATIONS


def _gives_distributions(model):
    """Whether the loss, of a fitted model that it was fitted with, knows distributions."""
    fitted = getattr(model, "_head", None)
    loss = model.loss if fitted is None or fitted.bound is None else fitted.loss
    loss = loss.loss if isinstance(loss, DynamicReweighting) else loss
    if not isinstance(loss, HistogramGaussian):
        raise AttributeError(
            f"{type(model).__name__} knows the distribution of its target with loss=HistogramGaussian() only."
        )
    return True


class MLPRegressor(RegressorMixin, ChainEstimator):
    r"""Multi-layer perceptron for one or several numeric targets.

    Parameters and attributes of scikit-learn's ``MLPRegressor`` keep their names and meaning.

    Parameters
    ----------
    loss : {"squared_error", "poisson"} or a loss of regressors, default="squared_error"
        Half the squared error, half the Poisson deviance with a log link, or an object:
        :class:`~skimb.losses.BalancedMSE` for rare target values, :class:`~skimb.losses.HistogramGaussian` for a
        distribution per row, :class:`~skimb.losses.ErrorFocusedRegression`, :class:`~skimb.losses.InterpolatedBag`
        for rows of which only the mean response of their bag is known, or
        :class:`~skimb.losses.DynamicReweighting` around one of the first two or the distribution.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer, at least 1 each.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    solver : {"adam", "adamw", "sgd", "muon", "lbfgs"}, default="adam"
        As in :class:`MLPClassifier`.
    alpha : float in [0, inf), default=0.0001
        L2 strength or weight decay, as in :class:`MLPClassifier`.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "linear"}, default="constant"
        Schedule after each epoch, as in :class:`MLPClassifier`.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    power_t : float in [0, inf), default=0.5
        Exponent of 'invscaling'.
    max_iter : int in [1, inf), default=200
        Most epochs, or iterations of 'lbfgs'.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, permutations and the validation split.
    tol : float in [0, inf), default=0.0001
        Improvement that counts; for 'lbfgs' the largest gradient component at the end.
    verbose : bool or int, default=False
        Whether to print each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the present weights.
    momentum : float in [0, 1], default=0.9
        Momentum of 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether 'sgd' uses Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to stop on a validation score and keep the best weights.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay of the moments of 'adam' and 'adamw'.
    epsilon : float in (0, inf), default=1e-8
        Stabiliser of 'adam' and 'adamw'.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne.
    max_fun : int in [1, inf), default=15000
        Most function evaluations of 'lbfgs'.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping; ``None`` is R2.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train. Fitted models live on the CPU.
    mixed_precision : bool, default=False
        Whether to train in bfloat16 on CUDA.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback).
    scheme : Scheme or None, default=None
        What training does beyond following the loss, see :class:`skimb.training.Scheme`; stochastic solvers only.

    Attributes
    ----------
    net_ : EngineNet
        The trained skorch net.
    history_ : list of dict
        skorch's history.
    loss_ : float
        Training loss at the end, without penalty.
    coefs_, intercepts_ : list of ndarray
        Weights per layer.
    n_iter_, t_, n_layers_, n_outputs_ : int
        Epochs of the last fit, rows seen, layers, outputs.
    loss_curve_, validation_scores_ : list or None
        Per epoch.
    best_loss_, best_validation_score_ : float or None
        Best of these.
    noise_sigma_ : float
        Noise scale at the end of training, with ``loss=BalancedMSE()``.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from skimb.neural_network import MLPRegressor
    >>> X, y = make_regression(100, 5, random_state=0)
    >>> model = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=2000)
    >>> bool(model.fit(X, y / y.std()).score(X, y / y.std()) > 0.9)
    True
    """

    _parameter_constraints = {
        **CHAIN_CONSTRAINTS,
        "loss": [StrOptions(set(BY_NAME)), RegressionLoss, DynamicReweighting],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        validation_scoring=None,
        device="cpu",
        mixed_precision=False,
        callbacks=None,
        scheme=None,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.validation_scoring = validation_scoring
        self.device = device
        self.mixed_precision = mixed_precision
        self.callbacks = callbacks
        self.scheme = scheme

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, bags=None):
        """Fit to rows with numeric targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows; sparse input is never made dense as a whole.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row, an integer repeats it.
        bags : array-like of shape (n_samples,), default=None
            With ``loss=InterpolatedBag()``, a label of the bag of each row; y holds the response of the bag.

        Returns
        -------
        MLPRegressor
            Itself.
        """
        return self._fit(X, y, sample_weight, cost=bags)

    @available_if(stochastic)
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, bags=None):
        """Train one epoch on these rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        bags : array-like of shape (n_samples,), default=None
            Bags of rows, as in `fit`; no bag may go on in a later call.

        Returns
        -------
        MLPRegressor
            Itself.

        Notes
        -----
        Training that goes on, here or by ``fit`` with ``warm_start``, keeps the number of outputs, the
        layers and the floating type; this method also keeps the noise scale of the loss, the optimiser's
        moments and the learning rate it had reached, unless another `solver` is set. All other parameters
        are read anew. Predictions, copies and pickles rest on what was fitted, whatever is set later.
        """
        return self._fit(X, y, sample_weight, incremental=True, cost=bags)

    def predict(self, X):
        """Predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, in the floating type of the parameters.
        """
        logits = self._logits(self._check_X(X))
        predicted = self._head.predictions(logits)
        if not (finite := np.isfinite(predicted)).all():
            warn_user(
                f"{type(self).__name__}: {np.count_nonzero(~finite)} of {predicted.size} predictions are "
                "not finite; these rows lie far beyond those of fit, scale or clip them.",
                RuntimeWarning,
            )
        return predicted

    @available_if(_gives_distributions)
    def predict_distribution(self, X):
        """Distributions of the target, with ``loss=HistogramGaussian()``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_bins) or (n_samples, n_outputs, n_bins)
            Probabilities of the bins.
        centres : ndarray of shape (n_bins,) or (n_outputs, n_bins)
            Target values in their middle.
        """
        p, bins = self._distribution(X), self._bins()
        return self._each_target(p, bins.at_bins(0.5))

    @available_if(_gives_distributions)
    def predict_std(self, X):
        """Standard deviations of the target, with ``loss=HistogramGaussian()``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Standard deviations about ``predict``.
        """
        p, centres = self._distribution(X), self._bins().at_bins(0.5)
        mean = (p * centres).sum(-1, keepdims=True)
        return self._each_target(np.sqrt((p * (centres - mean) ** 2).sum(-1)))[0]

    @available_if(_gives_distributions)
    def predict_quantile(self, X, q):
        """Quantiles of the target, with ``loss=HistogramGaussian()``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        q : float in [0, 1]
            Level.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Quantiles, probability spread evenly within a bin.
        """
        check_scalar(q, "q", Real, min_val=0.0, max_val=1.0)
        return self._each_target(self._bins().quantiles(self._distribution(X), q))[0]

    @available_if(_gives_distributions)
    def predict_exceedance(self, X, threshold):
        """Probabilities that the target is above a threshold, with ``loss=HistogramGaussian()``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        threshold : float
            Threshold, such as where a rare event begins.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Probabilities, spread evenly within a bin.
        """
        check_scalar(threshold, "threshold", Real)
        return self._each_target(self._bins().above(self._distribution(X), threshold))[0]

    def _bins(self):
        """The bound loss that knows the bins."""
        self._need_net("predict_distribution")
        bound = self._head.bound
        return bound.parts[0] if isinstance(bound, DynamicRegression) else bound

    def _distribution(self, X):
        raw = self._logits(self._check_X(X))
        return self._bins().probabilities(raw).double().numpy()

    def _each_target(self, *parts):
        """Arrays with an axis for targets, (n, n_targets, ...), without it where y has none."""
        if self._head.columns:
            return parts
        return tuple(part[0] if k else part[:, 0] for k, part in enumerate(parts))

    @property
    def out_activation_(self):
        """Inverse link, in scikit-learn's words."""
        self._need_net("out_activation_")
        return self._head.bound.link_name

    def _output_width(self):
        return self._head.width

    def _new_head(self):
        return NumericHead(type(self).__name__)
