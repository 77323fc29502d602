"""The linear classifier of any loss."""

from sklearn.utils._param_validation import StrOptions

from skimb._base.chain import (
    CHAIN_CONSTRAINTS,
    CLASSIFIER_CONSTRAINTS,
    LINEAR_FTOL,
    ChainEstimator,
)
from skimb._base.classifier import NeuralClassifier
from skimb.losses import Loss


class LinearClassifier(NeuralClassifier, ChainEstimator):
    r"""Linear model :math:`z=Xw+b` of any classification loss.

    The full-batch solver suits small and sparse data: one matrix product per step and scipy's
    L-BFGS. Metric losses start from a logistic fit whose intercept is shifted to where the loss is
    least, since they are not convex.

    Parameters
    ----------
    loss : Loss, default=None
        A loss of :mod:`skimb.losses`; ``None`` is cross-entropy.
    solver : {"lbfgs", "adam", "adamw", "sgd"}, default="lbfgs"
        'lbfgs' on all rows at once, or mini-batches.
    alpha : float in [0, inf), default=0.0001
        L2 strength on the mean loss: ``mean loss + alpha / 2 * ||w||^2``; LogisticRegression's ``C``
        is ``1 / (n * alpha)``. For 'adamw' the weight decay. Intercepts are free.
    max_iter : int in [1, inf), default=200
        Most iterations of 'lbfgs', or epochs.
    tol : float in [0, inf), default=0.0001
        'lbfgs': largest gradient component at the end; else the improvement that counts.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``, and ``min(1024, n)`` for losses that couple rows.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "linear"}, default="constant"
        Schedule after each epoch. 'invscaling' and 'adaptive' act with 'sgd' only, as in
        scikit-learn; 'cosine' and 'linear' fall to zero over `max_iter` epochs with every stochastic solver.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    power_t : float in [0, inf), default=0.5
        Exponent of 'invscaling'.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, permutations and the validation split; makes fits repeatable.
    verbose : bool or int, default=False
        Whether to print each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the present weights.
    momentum : float in [0, 1], default=0.9
        Momentum of 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether 'sgd' uses Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to set rows aside, stop when their score no longer improves, and keep the best weights.
        Stochastic solvers only, as in scikit-learn.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside, stratified.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay of the moments of 'adam' and 'adamw'.
    epsilon : float in (0, inf), default=1e-8
        Stabiliser of 'adam' and 'adamw'.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne. With early stopping by log loss thrice as many are borne until
        validation rows of exclusive classes have a lower one than constant probabilities would give.
    max_fun : int in [1, inf), default=15000
        Most function evaluations of 'lbfgs'.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes: inverse frequency, inverse effective number (arXiv:1901.05555, with
        ``beta = (n - 1) / n``), or by label. Normalised so that the mean weight of a row is 1.
    prior : array-like, dict or None, default=None
        Class distribution of the population that ``predict_proba`` refers to, aligned with
        ``classes_`` or by label; useful after a resampler. ``None`` means the training rows' own.
    class_counts : array-like, dict or None, default=None
        Rows per class before resampling, for losses that read counts (LDAM, VectorScaling).
    sampler : ClassPowerSampler or None, default=None
        Draws batches by class; its shift is undone in ``predict_proba``.
    mix : Mixup, BalancedMixup, Remix, UniMix or None, default=None
        Trains on mixtures of rows, dense and of exclusive classes; ``prior_`` counts the mixed labels.
    scheme : Scheme or None, default=None
        What training does beyond following the loss, see :class:`skimb.training.Scheme`; stochastic solvers only.
    deferred_reweighting : float in [0, 1] or None, default=None
        Share of `max_iter` after which class weights set in.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping. ``None`` is the log-loss of the natural probabilities, or the loss
        itself where it gives none.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train; 'auto' takes CUDA where there is one. Fitted models live on the CPU.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback). For scikit-learn's use ``set_callbacks``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; label indices for multi-label targets.
    net_ : EngineNet
        The trained skorch net.
    history_ : list of dict
        skorch's history: ``train_loss``, ``valid_score``, ``dur`` per epoch.
    loss_ : float
        Training loss at the end, without penalty.
    loss_function_ : Loss
        The loss that was trained.
    prior_ : ndarray of shape (n_classes,)
        Label distribution of the trained risk, with sample weights and sampler.
    class_counts_ : ndarray of shape (n_classes,)
        Rows per class.
    class_weight_ : ndarray or None
        Weight per class, or per label side.
    coef_ : ndarray of shape (1, n_features) or (n_outputs, n_features)
        Weights.
    intercept_ : ndarray of shape (n_outputs,)
        Intercepts.
    n_iter_, t_, n_layers_, n_outputs_ : int
        Epochs of the last fit, rows seen, layers, outputs.
    loss_curve_, validation_scores_ : list or None
        Per epoch.
    best_loss_, best_validation_score_ : float or None
        Best of these.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.linear_model import LinearClassifier
    >>> from skimb.losses import AnyLoss
    >>> X, y = make_classification(500, weights=[0.95], random_state=0)
    >>> LinearClassifier(AnyLoss("f1")).fit(X, y).coef_.shape
    (1, 20)
    """

    _parameter_constraints = {
        **CHAIN_CONSTRAINTS,
        **CLASSIFIER_CONSTRAINTS,
        "loss": [Loss, None],
        "solver": [StrOptions({"lbfgs", "adam", "adamw", "sgd"})],
    }
    _parameter_constraints.pop("mixed_precision")

    activation = "identity"
    hidden_layer_sizes = ()
    mixed_precision = False
    _ftol = LINEAR_FTOL

    def __init__(
        self,
        loss=None,
        *,
        solver="lbfgs",
        alpha=0.0001,
        max_iter=200,
        tol=1e-4,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        shuffle=True,
        random_state=None,
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
        class_weight=None,
        prior=None,
        class_counts=None,
        sampler=None,
        mix=None,
        scheme=None,
        deferred_reweighting=None,
        validation_scoring=None,
        device="cpu",
        callbacks=None,
    ):
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.shuffle = shuffle
        self.random_state = random_state
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
        self.class_weight = class_weight
        self.prior = prior
        self.class_counts = class_counts
        self.sampler = sampler
        self.mix = mix
        self.scheme = scheme
        self.deferred_reweighting = deferred_reweighting
        self.validation_scoring = validation_scoring
        self.device = device
        self.callbacks = callbacks

    @property
    def coef_(self):
        """Weights, one row per output."""
        self._need_net("coef_")
        module = self.net_.module_
        return module.coefs()[0].T

    @property
    def intercept_(self):
        """Intercepts, one per output."""
        self._need_net("intercept_")
        return self.net_.module_.intercepts()[0]

    def _l2_full_batch(self):
        return self.alpha

    def _l2_stochastic(self):
        return self.alpha

    def _warm_lbfgs(self):
        return True
