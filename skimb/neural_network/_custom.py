"""The classifier over any torch module."""

import copy
import inspect

import numpy as np
import torch
from scipy import sparse
from sklearn.utils._param_validation import StrOptions
from torch import nn

from skimb._base.chain import CLASSIFIER_CONSTRAINTS
from skimb._base.forgetting import Forgets
from skimb._base.module import MODULE_CONSTRAINTS, ModuleClassifier, torch_dtype
from skimb._core.warn import warn_user
from skimb.engine.chain_nets import infer
from skimb.engine.runtime import Draws
from skimb.losses import Loss
from skimb.nets import MLP
from skimb.neural_network._decoupling import DECOUPLINGS, DecoupledTraining

_PROBABILITIES = (nn.Sigmoid, nn.Softmax, nn.LogSoftmax, nn.LogSigmoid)


class NeuralNetClassifier(Forgets, DecoupledTraining, ModuleClassifier):
    r"""Train any torch module as a classifier with a searchable loss.

    Parameters
    ----------
    module : type or callable, default=None
        Makes the module: a ``torch.nn.Module`` class or a function. It is called with ``module__*`` and,
        where it takes them, ``n_features`` and ``n_outputs``. ``None`` is one hidden layer of 64. The
        module maps a float tensor (n, n_features) to raw scores (n, n_outputs); two classes use one
        output, two for :class:`~skimb.losses.VectorScaling`.
    solver : {"adamw", "adam", "sgd", "muon"}, default="adamw"
        Optimiser; 'muon' takes the weights of all ``torch.nn.Linear`` layers but the last, in the order of their
        definition, and AdamW the rest.
    alpha : float in [0, inf), default=0.0001
        'adamw' and 'muon': weight decay; 'adam' and 'sgd': L2 on the mean loss. For matrices only.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``, and ``min(1024, n)`` for losses that couple rows.
    learning_rate : {"constant", "cosine", "linear"}, default="constant"
        Schedule after each epoch; 'cosine' and 'linear' fall to zero over `max_iter` epochs.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    momentum : float in [0, 1], default=0.9
        Momentum of 'sgd'.
    max_iter : int in [1, inf), default=200
        Most epochs.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of the module's initial weights and of training.
    tol : float in [0, inf), default=0.0001
        Improvement that counts.
    verbose : bool or int, default=False
        Whether to print each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the present weights.
    early_stopping : bool, default=False
        Whether to stop on a validation score and keep the best weights.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside, stratified.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne. With early stopping by log loss thrice as many are borne until
        validation rows of exclusive classes have a lower one than constant probabilities would give.
    loss : Loss, default=None
        A loss of :mod:`skimb.losses`; ``None`` is cross-entropy.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes, as in :class:`MLPClassifier`.
    prior : array-like, dict or None, default=None
        Class distribution that ``predict_proba`` refers to.
    class_counts : array-like, dict or None, default=None
        Rows per class before resampling.
    sampler : ClassPowerSampler or None, default=None
        Draws batches by class.
    mix : Mixup, BalancedMixup, Remix, UniMix or None, default=None
        Trains on mixtures of rows, dense and of exclusive classes; ``prior_`` counts the mixed labels.
    scheme : Scheme or None, default=None
        What training does beyond following the loss, see :class:`skimb.training.Scheme`.
    deferred_reweighting : float in [0, 1] or None, default=None
        Share of `max_iter` after which class weights set in.
    decoupling : {"crt", "lws", "tau"} or None, default=None
        A second stage for the output layer, as in :class:`MLPClassifier`. It is the last ``torch.nn.Linear`` of the
        module, has an intercept, and its outputs are the scores.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping, as in :class:`MLPClassifier`.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Floating type of the module and of its input; 'auto' is that of X, and float32 on CUDA.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train. Fitted models live on the CPU.
    mixed_precision : bool, default=False
        Whether to train in bfloat16 on CUDA.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback).
    **module_params : dict
        Parameters ``module__*`` of the module, searchable like any other.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; label indices for multi-label targets.
    net_ : EngineNet
        The trained skorch net; the module is ``net_.module_``.
    history_ : list of dict
        skorch's history.
    loss_ : float
        Training loss at the end.
    loss_function_ : Loss
        The loss that was trained.
    prior_, class_counts_, class_weight_ : ndarray
        As in :class:`MLPClassifier`.
    head_loss_curve_, class_scale_ : list, ndarray or None
        Of `decoupling`, as in :class:`MLPClassifier`.
    n_iter_, t_, n_outputs_ : int
        Epochs of the last fit, rows seen, outputs.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Notes
    -----
    The step needs one backward pass through the module; the loss enters by its closed-form gradient.
    Parameters are made views of one flat tensor for the optimiser. Sparse X is made dense batch by
    batch. Modules that draw random numbers (dropout) are repeatable under `random_state`.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from torch import nn
    >>> from skimb.losses import Focal
    >>> from skimb.neural_network import NeuralNetClassifier
    >>> def net(n_features, n_outputs, width=8):
    ...     return nn.Sequential(nn.Linear(n_features, width), nn.GELU(), nn.Linear(width, n_outputs))
    >>> X, y = make_classification(200, weights=[0.9], random_state=0)
    >>> model = NeuralNetClassifier(net, loss=Focal(), module__width=4, max_iter=2, tol=0, random_state=0)
    >>> model.set_params(module__width=16).get_params()["module__width"]
    16
    """

    _parameter_constraints = {
        **MODULE_CONSTRAINTS,
        **CLASSIFIER_CONSTRAINTS,
        "module": [callable, None],
        "loss": [Loss, None],
        "decoupling": [StrOptions(set(DECOUPLINGS)), None],
        "mixed_precision": ["boolean"],
    }

    def __init__(
        self,
        module=None,
        *,
        solver="adamw",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        momentum=0.9,
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
        class_counts=None,
        sampler=None,
        mix=None,
        scheme=None,
        deferred_reweighting=None,
        decoupling=None,
        validation_scoring=None,
        dtype="auto",
        device="cpu",
        mixed_precision=False,
        callbacks=None,
        **module_params,
    ):
        self.module = module
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
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
        self.class_counts = class_counts
        self.sampler = sampler
        self.mix = mix
        self.scheme = scheme
        self.deferred_reweighting = deferred_reweighting
        self.decoupling = decoupling
        self.validation_scoring = validation_scoring
        self.dtype = dtype
        self.device = device
        self.mixed_precision = mixed_precision
        self.callbacks = callbacks
        for name, value in module_params.items():
            setattr(self, name, value)  # names are checked in fit

    def get_params(self, deep=True):
        """Parameters, with those of the module.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the loss's and the sampler's too.

        Returns
        -------
        dict
            Names and values.
        """
        own = {k: v for k, v in vars(self).items() if k.startswith("module__")}
        return {**super().get_params(deep=deep), **own}

    def set_params(self, **params):
        """Set parameters, with those of the module.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        NeuralNetClassifier
            Itself.
        """
        for name in [k for k in params if k.startswith("module__") or k == "module_params"]:
            setattr(self, name, params.pop(name))
        return super().set_params(**params)

    def _check_solver_params(self):
        super()._check_solver_params()
        known = set(self._get_param_names())
        if isinstance(self.module, nn.Module):
            raise ValueError(
                f"module={type(self.module).__name__}(...) is a module that is made already, which fits would "
                "share; give a class or a function that makes it, as `module=lambda n_features, n_outputs: ...`."
            )
        stray = [
            k
            for k in vars(self)
            if k not in known and not k.startswith(("_", "module__")) and not k.endswith("_")
        ]
        if stray:
            raise TypeError(
                f"{type(self).__name__} has no parameters {stray}; parameters of the module start "
                "with 'module__'."
            )

    # --- the shared fit ----------------------------------------------------------------------

    def _new_module(self, data, bound, rng):
        self._output_shift = None
        params = {
            k.removeprefix("module__"): v for k, v in vars(self).items() if k.startswith("module__")
        }
        self._maker = self._given(self.module, params)
        with Draws(int(rng.randint(np.iinfo(np.int32).max))):
            module = self._empty_module()
            self._maker = copy.deepcopy(self._maker)  # as it was, whatever is set later
            with torch.no_grad():
                rows = data.X[:2]
                sample = rows.toarray() if sparse.issparse(rows) else rows.cpu().numpy()
                module.eval()
                out = module(torch.from_numpy(sample).to(torch_dtype(self._dtype)))
                out = out[0] if isinstance(out, tuple) else out
        last = list(module.modules())[-1]
        if isinstance(last, _PROBABILITIES):
            warn_user(
                f"{self.module!r} ends in {type(last).__name__}, but losses take raw scores and make probabilities "
                "of them; leave that layer out."
            )
        if out.ndim != 2 or out.shape[1] != self.n_outputs_:
            raise ValueError(
                f"{self.module!r} answers rows of {self.n_features_in_} features with shape "
                f"{tuple(out.shape)}; (n, {self.n_outputs_}) is needed for {len(self.classes_)} "
                "classes. Let the module take n_outputs."
            )
        return module

    def _given(self, make, params):
        """What makes a module, and its parameters with the numbers of features and outputs."""
        taken = {} if make is None else inspect.signature(make).parameters
        everything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
        for name, value in (("n_features", self.n_features_in_), ("n_outputs", self.n_outputs_)):
            if name in taken or everything:
                params.setdefault(name, value)
        return make, params

    def _empty_module(self):
        if self._maker[0] is not None:
            return super()._empty_module()
        with torch.random.fork_rng(devices=[]):
            widths = [self.n_features_in_, 64, self.n_outputs_]
            module = MLP(widths, dtype=torch_dtype(self._dtype))
            return module.reset(np.random.RandomState(torch.randint(1 << 31, (1,)).item()))

    def _hidden_outputs(self, X):
        """Inputs of the output layer of the MLP that stands for `module=None`, as an array."""
        rows = X.toarray() if sparse.issparse(X) else np.array(X)
        return infer(self.net_.module_, rows.astype(self._dtype, copy=False), inputs=True).numpy()
