"""The classifier over blocks of columns, each with an encoder of its own."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skimb._base.chain import CLASSIFIER_CONSTRAINTS
from skimb._base.module import MODULE_CONSTRAINTS, ModuleClassifier
from skimb.losses import Loss
from skimb.nets.encoder import ACTIVATIONS, layer_widths
from skimb.neural_network._fusion_net import FusionNet, Reweighting

_SETTINGS = ("block_weight", "reweight", "temperature", "start", "floor")
_HEAD = ("class_weight", "prior", "class_counts", "sampler")


class FusionClassifier(ModuleClassifier):
    r"""Blocks of columns, such as a table and a text, with an encoder each and weights by their certainty.

    Scores are a layer over the features of all blocks. Each block is trained by itself too: its scores are that
    layer's where the features of the other blocks are zero. Gradients of the encoder of block m are multiplied by

    .. math::
        1+\operatorname{softmax}_m\bigl(T\,g_m(1-s_m)\bigr),\qquad g_m\propto 1/v_m,

    where :math:`v_m` is how uncertain the block's own probabilities are and :math:`s_m` the share of its scores
    in the size of all: a block that is certain and little used learns faster.

    Parameters
    ----------
    blocks : dict, list or None, default=None
        Columns of each block, by name or in order: numbers or names of columns, a slice, or "rest" once for all
        columns that are in no other block. Every column is in one block. ``None`` is one block of all.
    hidden_layer_sizes : int or array-like of int, default=(64,)
        Units of each hidden layer of each encoder, at least 1 each.
    activation : {"relu", "tanh", "logistic"}, default="relu"
        Activation of the hidden layers.
    block_weight : float in [0, inf), default=1.0
        Weight of the loss of each single block beside that of all; 3 to 4 in the published scripts.
    reweight : {"variance", "entropy", "none"}, default="variance"
        What :math:`v_m` is. 'variance': the mean over rows of how much the block's probabilities of a row vary
        from epoch to epoch. 'entropy': their entropy in the batch, as in the published implementation. 'none':
        all gradients as they are.
    temperature : float in [0, inf), default=8.0
        Factor T; 0 makes all factors equal.
    start : int in [0, inf), default=5
        Epochs before gradients are multiplied.
    floor : float in [0, 1), default=0.3
        Least share of :math:`v_m` in the sum over blocks.
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
    solver : {"adamw", "adam", "sgd", "muon"}, default="adamw"
        Optimiser.
    alpha : float in [0, inf), default=0.0001
        'adamw': weight decay; 'adam' and 'sgd': L2 on the mean loss. For matrices only.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``.
    learning_rate : {"constant", "cosine", "linear"}, default="constant"
        Schedule after each epoch.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    momentum : float in [0, 1], default=0.9
        Momentum of 'sgd'.
    max_iter : int in [1, inf), default=200
        Most epochs.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights and of training.
    tol : float in [0, inf), default=0.0001
        Improvement that counts.
    verbose : bool or int, default=False
        Whether to print each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the present weights.
    early_stopping : bool, default=False
        Whether to stop on a validation score and keep the best weights.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne. With early stopping by log loss thrice as many are borne until
        validation rows of exclusive classes have a lower one than constant probabilities would give.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping, as in :class:`MLPClassifier`.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Floating type; 'auto' is that of X, and float32 on CUDA.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train. Fitted models live on the CPU.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; label indices for multi-label targets.
    blocks_ : dict of str to ndarray of int
        Columns of each block.
    block_weights_ : dict of str to float
        Inverse-uncertainty shares :math:`g_m` at the end; equal without re-weighting.
    net_ : EngineNet
        The trained skorch net.
    history_ : list of dict
        skorch's history.
    loss_ : float
        Training loss at the end, with that of single blocks.
    loss_function_ : Loss
        The loss that was trained.
    prior_, class_counts_, class_weight_ : ndarray
        As in :class:`MLPClassifier`.
    loss_curve_, validation_scores_ : list or None
        Per epoch.
    best_loss_, best_validation_score_ : float or None
        Best of these.
    n_iter_, t_, n_outputs_ : int
        Epochs of the last fit, rows seen, outputs.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Notes
    -----
    The claim behind the method is that leaning on unbiased, independent predictors in proportion to the inverse
    of their variance is best: with variances 1 and 4, shares of 0.8 and 0.2. Its published implementation
    measures entropy and not variance, and one of its scripts computes the factors without using them. 'variance'
    is a reading of our own, by running means over epochs. With several outputs the sum over them is taken. With
    ``block_weight=0`` and ``reweight="none"`` the net is an MLP whose hidden layers are block-diagonal, and fits
    of it can be trained as a population; else it is trained alone. Sparse X is made dense batch by batch.

    References
    ----------
    ARL: asymmetric re-weighting of modalities by their variance; the paper's abstract and released
    implementation.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import FusionClassifier
    >>> X, y = make_classification(200, weights=[0.9], random_state=0)
    >>> blocks = {"table": [0, 1, 2, 3], "text": "rest"}
    >>> model = FusionClassifier(blocks, (8,), max_iter=10, tol=0, random_state=0).fit(X, y)
    >>> sorted(model.block_weights_)
    ['table', 'text']
    """

    _parameter_constraints = {
        **MODULE_CONSTRAINTS,
        **{name: CLASSIFIER_CONSTRAINTS[name] for name in _HEAD},
        "blocks": [dict, list, tuple, None],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "block_weight": [Interval(Real, 0, None, closed="left")],
        "reweight": [StrOptions({"variance", "entropy", "none"})],
        "temperature": [Interval(Real, 0, None, closed="left")],
        "start": [Interval(Integral, 0, None, closed="left")],
        "floor": [Interval(Real, 0, 1, closed="left")],
        "loss": [Loss, None],
    }

    def __init__(
        self,
        blocks=None,
        hidden_layer_sizes=(64,),
        activation="relu",
        *,
        block_weight=1.0,
        reweight="variance",
        temperature=8.0,
        start=5,
        floor=0.3,
        loss=None,
        class_weight=None,
        prior=None,
        class_counts=None,
        sampler=None,
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
        validation_scoring=None,
        dtype="auto",
        device="cpu",
        callbacks=None,
    ):
        self.blocks = blocks
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.block_weight = block_weight
        self.reweight = reweight
        self.temperature = temperature
        self.start = start
        self.floor = floor
        self.loss = loss
        self.class_weight = class_weight
        self.prior = prior
        self.class_counts = class_counts
        self.sampler = sampler
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
        self.validation_scoring = validation_scoring
        self.dtype = dtype
        self.device = device
        self.callbacks = callbacks

    def predict_proba_by_block(self, X):
        """Probabilities by each block alone.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        dict of str to ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities by the name of the block.
        """
        check_is_fitted(self)
        X, module = self._check_X(X), self.net_.module_
        joint = self._forward_rows(
            X, lambda rows: torch.stack(module.shares(module.features(rows)), 1)
        )
        pairs = zip(self.blocks_, joint.unbind(1), strict=True)
        return {name: self._head.posterior(self._head.logits(raw)) for name, raw in pairs}

    def _new_module(self, data, bound, rng):
        self.blocks_ = self._columns()
        params = {
            "columns": list(self.blocks_.values()),
            "n_outputs": self.n_outputs_,
            "widths": layer_widths(self.hidden_layer_sizes),
            "activation": self.activation,
        }
        return self._draw_module(FusionNet, params, rng)

    def _columns(self):
        """Columns of each block."""
        blocks, n = self.blocks, self.n_features_in_
        if blocks is None:
            return {"all": np.arange(n)}
        named = (
            blocks if isinstance(blocks, dict) else {f"block{k}": b for k, b in enumerate(blocks)}
        )
        found = {name: None if _is_rest(b) else self._numbers(name, b) for name, b in named.items()}
        taken = np.concatenate([np.zeros(0, int), *(b for b in found.values() if b is not None)])
        free = np.setdiff1d(np.arange(n), taken)
        open_blocks = [name for name, b in found.items() if b is None]
        if len(open_blocks) > 1:
            raise ValueError(f"blocks={blocks!r}: only one block can be 'rest', got {open_blocks}.")
        found |= dict.fromkeys(open_blocks, free)
        twice = np.flatnonzero(np.bincount(taken, minlength=n) > 1)
        if len(twice):
            raise ValueError(
                f"blocks={blocks!r}: the columns {twice[:5].tolist()} are in several blocks."
            )
        if len(free) and not open_blocks:
            raise ValueError(
                f"blocks={blocks!r}: the columns {free[:5].tolist()} of {n} are in no block; name them, or "
                "give one block as 'rest'."
            )
        empty = [name for name, b in found.items() if not len(b)]
        if empty or not found:
            raise ValueError(f"blocks={blocks!r}: the blocks {empty} have no columns.")
        return found

    def _numbers(self, name, columns):
        """Numbers of the columns of a block."""
        n = self.n_features_in_
        if isinstance(columns, slice):
            return np.arange(n)[columns]
        array = np.atleast_1d(np.asarray(columns))
        if array.dtype.kind in "OU":
            known = getattr(self, "feature_names_in_", np.zeros(0, object)).tolist()
            unknown = [c for c in array.tolist() if c not in known]
            if unknown:
                raise ValueError(
                    f"blocks: block {name!r} names columns {unknown} that X does not have."
                )
            return np.array([known.index(c) for c in array.tolist()])
        if array.dtype.kind not in "iu" or (array < 0).any() or (array >= n).any():
            raise ValueError(
                f"blocks: block {name!r} is {columns!r}; give numbers of columns from 0 to {n - 1}, names, a slice "
                "or 'rest'."
            )
        return array.astype(int)

    def _schemes(self, bound, module, data, seed):
        settings = {name: getattr(self, name) for name in _SETTINGS}
        if not settings["block_weight"] and settings["reweight"] == "none":
            return []
        return [Reweighting(module, data, settings, bound)]

    def _finish(self, fit):
        super()._finish(fit)
        n = len(self.blocks_)
        certain = np.full(n, 1.0 / n) if not self._scheme_state else self._scheme_state["certain"]
        self.block_weights_ = dict(zip(self.blocks_, certain.tolist(), strict=True))


def _is_rest(columns):
    return isinstance(columns, str) and columns == "rest"
