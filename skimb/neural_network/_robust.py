"""The multi-layer perceptron that is trained against an adversary."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._base.chain import CHAIN_CONSTRAINTS, CLASSIFIER_CONSTRAINTS, ChainEstimator
from skimb._base.classifier import NeuralClassifier
from skimb._core.validation import feature_mask
from skimb.engine.adversarial import (
    BALL_CONSTRAINTS,
    AdversarialTraining,
    Ball,
    evaluating,
)
from skimb.engine.data import as_tensor
from skimb.engine.sampling import ClassPowerSampler
from skimb.functional.adversarial import cross_entropy_slope
from skimb.losses import AdversarialCompSum, Loss
from skimb.nets.mlp import ACTIVATIONS

_OBJECTIVES = {"trades": "kl", "smooth_comp_sum": "margins"}
METHODS = ("at", "reweighted", "srat", "done", "trades", "smooth_comp_sum")


class RobustMLPClassifier(NeuralClassifier, ChainEstimator):
    r"""Multi-layer perceptron trained against shifts of its rows within a ball.

    Each update moves the rows of the batch to where projected gradient ascent of their loss arrives within
    :math:`\|x'-x\|\le\epsilon` (:class:`~skimb.training.AdversarialTraining`). The methods differ in what is then
    trained:

    ``"at"``
        the loss of the moved rows;
    ``"reweighted"``
        the same with ``class_weight="balanced"``;
    ``"srat"``
        batches with balanced classes, and ``separation`` times the supervised contrastive loss of the last hidden
        layer of the moved rows;
    ``"done"``
        the loss of the moved rows with weights :math:`w_i\propto q_ie^{\ell_i/r}`;
    ``"trades"``
        the loss of the clean rows and ``strength`` times :math:`\mathrm{KL}(p(x)\|p(x'))`;
    ``"smooth_comp_sum"``
        :math:`\Phi_\tau(\sum_{k\ne y}e^{-\Delta_k/\rho})` of the clean rows and ``strength`` times
        :math:`\|\Delta(x')-\Delta(x)\|_2`, :math:`\Delta_k=z_y-z_k`.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer, at least 1 each.
    method : {"at", "reweighted", "srat", "done", "trades", "smooth_comp_sum"}, default="at"
        What is trained.
    eps : float or array-like of shape (n_features,), default=0.1
        Radius, in units of the features as this estimator gets them: scale them before. One number per feature
        gives each its own; 0 is no adversary.
    norm : {"inf", "l2"}, default="inf"
        Norm of the ball, in units of `eps`.
    n_steps : int in [1, inf), default=7
        Steps of the ascent, each ``2.5 * eps / n_steps`` long.
    fixed_features : array-like of str, int or bool, default=None
        Names, numbers or a mask of features that do not move: codes and indicators of categories.
    clip : {"range"}, pair (low, high) or None, default=None
        Box that moved rows stay in; "range" is that of the training rows.
    strength : float in [0, inf), default=1.0
        Weight of the distance of scores ("trades", "smooth_comp_sum").
    separation : float in [0, inf), default=0.3
        Weight of the contrastive loss ("srat").
    temperature : float in (0, inf), default=0.1
        Temperature of the contrastive loss ("srat").
    dro_temperature : float in (0, inf), default=0.3
        Temperature r of the weights, in units of the loss; small values follow the worst rows ("done").
    dro_prior : {"uniform", "balanced"}, default="uniform"
        Reference q of the weights: rows alike, or classes alike ("done").
    tau : float in [0, 2), default=1.0
        Member of the comp-sum family; 1 is cross-entropy ("smooth_comp_sum").
    rho : float in (0, inf), default=1.0
        Scale of margins ("smooth_comp_sum").
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        As in :class:`MLPClassifier`.
    alpha : float in [0, inf), default=0.0001
        L2 strength in scikit-learn's units; for 'adamw' the weight decay.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``.
    learning_rate : {"constant", "cosine"}, default="constant"
        Schedule after each epoch; 'cosine' falls to zero over `max_iter` epochs.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    max_iter : int in [1, inf), default=200
        Most epochs.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, permutations, starts of the ascent and the validation split.
    tol : float in [0, inf), default=0.0001
        Improvement that counts.
    verbose : bool or int, default=False
        Whether to print each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the present weights.
    early_stopping : bool, default=False
        Whether to stop on validation rows and keep the best weights. They are attacked too: their score is the
        log-loss of the moved rows.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside, stratified.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne. With early stopping by log loss thrice as many are borne until
        validation rows of exclusive classes have a lower one than constant probabilities would give.
    loss : Loss, default=None
        A loss of :mod:`skimb.losses`, ``None`` is cross-entropy; ``LogitAdjusted()`` with "at" is AT-BSL. Not with
        "smooth_comp_sum", which brings its own.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes.
    prior : array-like, dict or None, default=None
        Class distribution that ``predict_proba`` refers to.
    sampler : ClassPowerSampler or None, default=None
        Draws batches by class. "reweighted" and "srat" do as they are defined only where neither this nor
        `class_weight` is given.
    deferred_reweighting : float in [0, 1] or None, default=None
        Share of `max_iter` after which class weights set in.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; label indices for multi-label targets.
    net_ : EngineNet
        The trained skorch net.
    history_, loss_curve_ : list
        As in :class:`MLPClassifier`.
    coefs_, intercepts_ : list of ndarray
        Weights per layer.
    fixed_features_ : ndarray of bool, shape (n_features,)
        Features that did not move in the last fit.
    prior_, class_counts_, class_weight_ : ndarray
        As in :class:`MLPClassifier`.
    n_iter_, n_features_in_ : int
        Epochs of the last fit, features.

    Notes
    -----
    X is dense. Predictions are made for rows as they are; :func:`~skimb.inspection.robust_scores` attacks a fitted
    net. A net that must be right in a whole ball is less sure than the frequencies of the classes:
    ``predict_proba`` undoes class weights and samplers and no more. Training takes about ``n_steps + 1`` times as
    long as without an adversary, and alone: these nets join no populations. Multi-label targets go with "at",
    "reweighted", "done" and "trades".

    References
    ----------
    See :class:`~skimb.training.AdversarialTraining`.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.inspection import robust_scores
    >>> from skimb.neural_network import MLPClassifier, RobustMLPClassifier
    >>> X, y = make_classification(400, 8, class_sep=1.5, random_state=0)
    >>> kw = {"max_iter": 40, "learning_rate_init": 0.01, "tol": 0, "random_state": 0}
    >>> plain = MLPClassifier((32,), **kw).fit(X, y)
    >>> robust = RobustMLPClassifier((32,), eps=0.4, **kw).fit(X, y)
    >>> a, b = (robust_scores(m, X, y, eps=0.4, random_state=0) for m in (plain, robust))
    >>> bool(b.robust_accuracy > a.robust_accuracy), bool(b.clean_accuracy > 0.9)
    (True, True)
    """

    _parameter_constraints = {
        **CHAIN_CONSTRAINTS,
        **CLASSIFIER_CONSTRAINTS,
        **BALL_CONSTRAINTS,
        **{
            name: AdversarialTraining._parameter_constraints[name]
            for name in ("strength", "separation", "temperature", "dro_prior")
        },
        "method": [StrOptions(set(METHODS))],
        "dro_temperature": [Interval(Real, 0, None, closed="neither")],
        "tau": AdversarialCompSum._parameter_constraints["tau"],
        "rho": AdversarialCompSum._parameter_constraints["rho"],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"adam", "adamw", "sgd"})],
        "learning_rate": [StrOptions({"constant", "cosine"})],
        "loss": [Loss, None],
    }
    for _name in (
        "power_t", "momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon", "max_fun",
        "mixed_precision", "scheme", "class_counts", "mix", "validation_scoring",
    ):  # fmt: skip
        _parameter_constraints.pop(_name)
    del _name

    momentum, nesterovs_momentum = 0.9, True
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-8
    mixed_precision = False
    scheme = mix = validation_scoring = None

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        method="at",
        *,
        eps=0.1,
        norm="inf",
        n_steps=7,
        fixed_features=None,
        clip=None,
        strength=1.0,
        separation=0.3,
        temperature=0.1,
        dro_temperature=0.3,
        dro_prior="uniform",
        tau=1.0,
        rho=1.0,
        activation="relu",
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        loss=None,
        class_weight=None,
        prior=None,
        sampler=None,
        deferred_reweighting=None,
        device="cpu",
        callbacks=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.method = method
        self.eps = eps
        self.norm = norm
        self.n_steps = n_steps
        self.fixed_features = fixed_features
        self.clip = clip
        self.strength = strength
        self.separation = separation
        self.temperature = temperature
        self.dro_temperature = dro_temperature
        self.dro_prior = dro_prior
        self.tau = tau
        self.rho = rho
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.loss = loss
        self.class_weight = class_weight
        self.prior = prior
        self.sampler = sampler
        self.deferred_reweighting = deferred_reweighting
        self.device = device
        self.callbacks = callbacks

    # --- what the methods set ----------------------------------------------------------------

    def _head_params(self):
        params = super()._head_params()
        plain = self.class_weight is None and self.sampler is None
        if plain and self.method == "reweighted":
            return params._replace(class_weight="balanced")
        if plain and self.method == "srat":
            return params._replace(sampler=ClassPowerSampler(0.0))
        if self.method == "smooth_comp_sum":
            return params._replace(loss=AdversarialCompSum(self.tau, self.rho))
        return params

    def _check_solver_params(self):
        super()._check_solver_params()
        if self.method == "smooth_comp_sum" and self.loss is not None:
            raise ValueError(
                f"method='smooth_comp_sum' trains a loss of its own, set by tau and rho; use loss=None in place of "
                f"loss={self.loss!r}, or method='trades'."
            )
        if self.method == "srat" and self.separation and not self._hidden():
            raise ValueError(
                "method='srat' keeps classes apart in the last hidden layer; hidden_layer_sizes=() has none. Use "
                "method='reweighted'."
            )

    def _schemes(self, bound, module, data, seed):
        if self.method == "done" and not hasattr(bound, "entries"):
            raise ValueError(
                f"method='done' weighs rows by their losses, and {bound.name} has none of single rows; use a loss "
                "that is a mean over rows."
            )
        if self.method == "srat" and self._head.multilabel:
            raise ValueError(
                "method='srat' keeps exclusive classes apart; multi-label y has none. Use method='at'."
            )
        names = getattr(self, "feature_names_in_", None)
        self.fixed_features_ = feature_mask(
            type(self).__name__, self.fixed_features, self.n_features_in_, names
        )
        scheme = AdversarialTraining(
            self.eps,
            _OBJECTIVES.get(self.method, "rows"),
            norm=self.norm,
            n_steps=self.n_steps,
            fixed_features=self.fixed_features_,
            clip=self.clip,
            strength=self.strength,
            separation=self.separation if self.method == "srat" else 0.0,
            temperature=self.temperature,
            dro_temperature=self.dro_temperature if self.method == "done" else None,
            dro_prior=self.dro_prior,
        )
        return [scheme.start(module, data, seed)]

    def _callbacks(self, step, data, valid, n_epochs, incremental):
        found = super()._callbacks(step, data, valid, n_epochs, incremental)
        if valid is not None:
            dict(found)["validation"].score = self._attacked_score(valid, data)
        return found

    def _attacked_score(self, valid, data):
        """A function that gives the negative log-loss of validation rows moved from always the same starts."""
        X, _, code, weight, cost = valid
        ball = Ball.of(
            type(self).__name__, data.X, self.eps, self.norm, self.n_steps, self.fixed_features_,
            self.clip,
        )  # fmt: skip
        rows = as_tensor(self._typed(X), data.X.device)
        target = torch.from_numpy(np.ascontiguousarray(code)).to(rows.device)

        def score():
            with evaluating(self.net_.module_):
                moved = ball.worst(
                    rows,
                    self._tensor_logits,
                    lambda z: cross_entropy_slope(z, target),
                    torch.Generator().manual_seed(0),
                    alike=True,
                )
            return self._head.score(self._logits(moved.cpu().numpy()), code, weight, cost)

        return score

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags
