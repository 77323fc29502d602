"""The multi-layer perceptron classifier."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._base.chain import CHAIN_CONSTRAINTS, CLASSIFIER_CONSTRAINTS, ChainEstimator
from skimb._base.classifier import NeuralClassifier
from skimb._base.forgetting import Forgets
from skimb._base.hidden_path import ShrunkenHiddenPath
from skimb.losses import Loss
from skimb.nets.mlp import ACTIVATIONS, simplex_scale
from skimb.neural_network._decoupling import DECOUPLINGS, DecoupledTraining


class MLPClassifier(
    Forgets, DecoupledTraining, ShrunkenHiddenPath, NeuralClassifier, ChainEstimator
):
    r"""Multi-layer perceptron with a searchable loss for imbalanced classes.

    Parameters and attributes of scikit-learn's ``MLPClassifier`` keep their names and meaning, so
    changing the import line is enough. Two classes use one output, C classes C outputs, L labels L
    outputs.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer, at least 1 each.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    solver : {"adam", "adamw", "sgd", "muon", "lbfgs"}, default="adam"
        'adam' with L2 in the gradient as in scikit-learn, 'adamw' with decoupled weight decay, 'sgd'
        with momentum, 'muon' (orthogonalised momentum for hidden matrices, AdamW for the rest),
        'lbfgs' on all rows at once.
    alpha : float in [0, inf), default=0.0001
        'adam' and 'sgd': L2 strength in scikit-learn's units (divided by the batch size, 200 for
        'auto'); 'lbfgs': divided by the total weight; 'adamw' and 'muon': weight decay, 'muon' of hidden
        matrices. Intercepts are free.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``, and ``min(1024, n)`` for losses that couple rows.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "linear"}, default="constant"
        Schedule after each epoch. 'invscaling' and 'adaptive' act with 'sgd' only, as in
        scikit-learn; 'cosine' and 'linear' fall to zero over `max_iter` epochs with every stochastic solver.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    power_t : float in [0, inf), default=0.5
        Exponent of 'invscaling'.
    max_iter : int in [1, inf), default=200
        Most epochs, or iterations of 'lbfgs'.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, permutations and the validation split; makes fits repeatable.
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
    loss : Loss, default=None
        A loss of :mod:`skimb.losses`; ``None`` is cross-entropy. Its parameters are searchable as
        ``loss__gamma`` and the like.
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
    decoupling : {"crt", "lws", "tau"} or None, default=None
        A second stage on the trained net that changes its output layer alone (arXiv:1910.09217): 'crt' trains a new
        one on the features, 'lws' a factor of each class's score, both on batches in which classes are equally
        frequent; 'tau' decides by weight vectors of equal norms.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping. ``None`` is the log-loss of the natural probabilities, or the loss
        itself where it gives none.
    linear_skip : bool or "auto", default="auto"
        Whether sparse input also feeds the output directly, starting from a fitted linear model;
        'auto' does so for sparse X with hidden layers.
    hidden_scale : float in [0, 1] or "auto", default="auto"
        With the linear path: how much of what training adds to the linear start is kept; 0 leaves the fitted linear
        model, 1 the trained net. 'auto' chooses it together with the epoch to stop at, and the strength of the
        linear start before (C of 1, 10, 100 or 1,000, else 10), on the log-loss of left-out rows in four folds,
        which costs four further fits of that many epochs. It does so in ``fit`` without `early_stopping` and
        `deferred_reweighting` where the rarest class has fewer than 1,000 rows, and is 1 elsewhere.
    head : {"linear", "cosine", "etf"}, default="linear"
        How scores are made of the last hidden layer a: ``a W + b``; ``s cos(a, W_k)``, where no class gains by
        longer weights; or, for three and more classes, ``s cos(a W + b, m_k)`` with the fixed vertices m_k of a
        simplex (an equiangular tight frame), where no class gains by its place either (arXiv:2203.09081, here on
        as many features as classes and with any loss). The last two need a hidden layer, no linear skip path.
    head_scale : float in (0, inf), default=16.0
        s, the largest score of 'cosine' and 'etf'.
    normalization : {"batch", "class_balanced", "adaptive"} or None, default=None
        Whether hidden layers are normalised over the rows of a batch, before their intercepts and with no factors
        of their own: 'batch' with equal shares of the rows, 'class_balanced' with equal shares of the classes in
        the batch, 'adaptive' with shares of the tasks of a stream as in arXiv:2310.08855, each counted with one row
        more than it has. The task of a class is the call of ``partial_fit`` that first held it, which is a reading:
        the source is told of tasks, and learns what is added. Predictions use running means and variances, which
        follow by a tenth per batch, with 'adaptive' by a rate that falls from ``0.1 ** 0.5`` to ``1 - 0.9 ** 0.5``.
        For dense rows and stochastic solvers; such nets are trained alone, not in populations.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train; 'auto' takes CUDA where there is one. Fitted models live on the CPU.
    mixed_precision : bool, default=False
        Whether to train in bfloat16 on CUDA; without effect on the CPU.
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
    coefs_, intercepts_ : list of ndarray
        Weights per layer.
    skip_coef_ : ndarray or None
        Weights of the linear skip path.
    hidden_scale_ : float or None
        The scale in use, as of the last fit from the start; None without linear path.
    n_iter_, t_, n_layers_, n_outputs_ : int
        Epochs of the last fit, rows seen, layers, outputs.
    loss_curve_, validation_scores_ : list or None
        Per epoch.
    best_loss_, best_validation_score_ : float or None
        Best of these.
    head_loss_curve_ : list or None
        Loss per epoch of the second stage of 'crt' and 'lws'.
    class_scale_ : ndarray of shape (n_classes,) or None
        Factors of the classes' weight vectors that 'lws' or 'tau' found.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Notes
    -----
    Weights and L2 differ from scikit-learn in one point: ``sample_weight`` is normalised to mean 1,
    so a common factor changes nothing. Floating type follows X: float32 stays float32 and trains about
    twice as fast. One intra-op thread is used for batches up to 4096 rows.

    The second stage of `decoupling` has the loss, the solver, the learning rate and the rule for stopping of the
    first, and its training rows, but no class weights, mixtures, schemes or callbacks; 'lbfgs' has class weights in
    place of drawn batches. Its shift of the label distribution is undone in ``predict_proba``. 'tau' leaves the
    probabilities those of the trained net; its strength is 1, see :class:`~skimb.posthoc.WeightAligner` for others.
    In a population the first stages are trained together and the second ones alone. Sparse X has no linear skip
    path then.

    The scale s of `hidden_scale` is put into the weights, so that the scores are
    :math:`z_0+s\,(z-z_0)` with those of the linear start, :math:`z_0`, and of the trained net, z. 'auto' keeps 0
    unless the mean gain over the folds exceeds its standard error; then the net is the linear model, which is
    refitted on all rows. Losses without probabilities are compared by themselves. Callbacks see the fit of all rows
    alone.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.losses import LogitAdjusted
    >>> from skimb.neural_network import MLPClassifier
    >>> X, y = make_classification(400, weights=[0.95], random_state=0)
    >>> model = MLPClassifier((16,), loss=LogitAdjusted(), solver="lbfgs", random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape
    (2, 2)
    """

    _parameter_constraints = {
        **CHAIN_CONSTRAINTS,
        **CLASSIFIER_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [Loss, None],
        "decoupling": [StrOptions(set(DECOUPLINGS)), None],
        "linear_skip": ["boolean", StrOptions({"auto"})],
        "hidden_scale": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "head": [StrOptions({"linear", "cosine", "etf"})],
        "head_scale": [Interval(Real, 0, None, closed="neither")],
        "normalization": [StrOptions({"batch", "class_balanced", "adaptive"}), None],
    }

    def __init__(
        self,
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
        loss=None,
        class_weight=None,
        prior=None,
        class_counts=None,
        sampler=None,
        mix=None,
        scheme=None,
        deferred_reweighting=None,
        decoupling=None,
        validation_scoring=None,
        linear_skip="auto",
        hidden_scale="auto",
        head="linear",
        head_scale=16.0,
        normalization=None,
        device="cpu",
        mixed_precision=False,
        callbacks=None,
    ):
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
        self.loss = loss
        self.class_weight = class_weight
        self.prior = prior
        self.class_counts = class_counts
        self.sampler = sampler
        self.mix = mix
        self.scheme = scheme
        self.deferred_reweighting = deferred_reweighting
        self.decoupling = decoupling
        self.validation_scoring = validation_scoring
        self.linear_skip = linear_skip
        self.hidden_scale = hidden_scale
        self.head = head
        self.head_scale = head_scale
        self.normalization = normalization
        self.device = device
        self.mixed_precision = mixed_precision
        self.callbacks = callbacks

    def _wants_skip(self, is_sparse):
        if self.linear_skip == "auto":
            return is_sparse and self.decoupling is None and self.head == "linear"
        if self.linear_skip and self.head != "linear":
            raise ValueError(
                f"linear_skip=True adds scores of any size to those of head={self.head!r}; use linear_skip='auto'."
            )
        if self.linear_skip and not is_sparse:
            raise ValueError(
                "linear_skip=True needs sparse X; pass a CSR matrix or use linear_skip='auto'."
            )
        return bool(self.linear_skip)

    def _new_module(self, data, bound, rng):
        self._task_of_class = None
        return super()._new_module(data, bound, rng)

    def _training_data(self, X, code, *args):
        data = super()._training_data(X, code, *args)
        if code.ndim == 1:
            data.groups = torch.from_numpy(code)
        return data

    def _new_step(self, module, bound, data, order, scheme):
        kind = module.normalization
        if kind is not None:
            self._refuse_normalization(kind, data, bound, scheme)
        if kind == "adaptive":
            tasks = _tasks(self._task_of_class, data.groups.numpy(), len(self._head.classes))
            self._task_of_class = tasks
            data.groups = torch.from_numpy(tasks)[data.groups]
        grouped = kind in {"class_balanced", "adaptive"}
        data.groups = data.groups.to(module.flat.device) if grouped else None
        return super()._new_step(module, bound, data, order, scheme)

    def _refuse_normalization(self, kind, data, bound, scheme):
        """Refuse what does not go together with normalised layers."""
        reasons = {
            "solver='lbfgs' has no batches to follow; use a stochastic solver": self._full_batch(),
            "sparse X is not normalised; use dense X": data.sparse,
            "multi-label y has no exclusive classes; use normalization='batch'": (
                data.groups is None and kind != "batch"
            ),
            f"mix={self.mix!r} makes rows of several classes; use normalization='batch'": (
                self.mix is not None and kind != "batch"
            ),
            f"{bound.name} needs gradients in the rows; use another loss": (
                "adversary" in bound.requires
            ),
            "the scheme needs autograd; use normalization=None": (
                scheme is not None and scheme.autograd
            ),
            "mixed_precision=True trains by autograd; use mixed_precision=False": (
                self.mixed_precision and data.target.code.device.type == "cuda"
            ),
        }
        for reason, holds in reasons.items():
            if holds:
                raise ValueError(f"normalization={kind!r}: {reason}.")

    def _output_config(self):
        config = self._head_config()
        if self.normalization is None:
            return config
        if not self._hidden():
            raise ValueError(
                f"normalization={self.normalization!r} is for hidden layers, and hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r} has none; use normalization=None."
            )
        return {**config, "normalization": self.normalization}

    def _head_config(self):
        if self.head == "linear":
            return {}
        if not self._hidden():
            raise ValueError(
                f"head={self.head!r} takes cosines of a hidden layer, and hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r} has none; use head='linear'."
            )
        if self.head == "etf" and (self._head.multilabel or self.n_outputs_ < 3):
            raise ValueError(
                "head='etf' gives each of several exclusive classes a vertex of a simplex; two classes with one "
                "score and multi-label y have none. Use head='cosine'."
            )
        return {"head": self.head, "scale": float(self.head_scale)}

    def last_layer(self, X):
        """What the output layer gets for rows, and its directions: what is seen of neural collapse.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        features : ndarray of shape (n_samples, n_units)
            The last hidden layer; with ``head="etf"`` the features that are compared with the vertices.
        coef : ndarray of shape (n_outputs, n_units)
            Weights, or the vertices.
        intercept : ndarray of shape (n_outputs,)
            Intercepts.

        Raises
        ------
        ValueError
            If there is no hidden layer.
        """
        X = self._check_X(X)
        if self.n_layers_ < 3:
            raise ValueError("last_layer shows the last hidden layer, and this model has none.")
        features = self._inferred(X, inputs=True).numpy()
        if self.net_.module_.head == "etf":
            vertices = (np.eye(self.n_outputs_) - 1.0 / self.n_outputs_) * simplex_scale(
                1.0, self.n_outputs_
            )
            return features, vertices, np.zeros(self.n_outputs_)
        return features, self.coefs_[-1].T, self.intercepts_[-1]

    @property
    def out_activation_(self):
        """Link from raw outputs to scores, in scikit-learn's words."""
        self._need_net("out_activation_")
        several = not self._head.multilabel and len(self._head.classes) > 2
        return "softmax" if several else "logistic"


def _tasks(before, code, n_classes):
    """The task of each class: the call that first held it; -1 for classes to come."""
    tasks = np.full(n_classes, -1) if before is None else before.copy()
    fresh = np.unique(code)
    tasks[fresh[tasks[fresh] < 0]] = tasks.max() + 1
    return tasks
