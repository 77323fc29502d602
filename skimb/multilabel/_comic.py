"""COMIC: correction, modification and balance for labels that are missing and rare."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._base.module import MODULE_CONSTRAINTS, ModuleClassifier
from skimb.losses import MultiFocal
from skimb.multilabel._comic_net import COMICNet
from skimb.multilabel._comic_training import Training
from skimb.multilabel._partial import PartialHead
from skimb.nets.encoder import ACTIVATIONS, layer_widths

_SETTINGS = (
    "balance",
    "balance_weight",
    "sampling",
    "tail_shift",
    "feature_momentum",
    "correct",
    "unknown",
    "correction_weight",
    "correction_threshold",
    "correction_margin",
    "correction_power",
    "warmup",
)


class COMICClassifier(ModuleClassifier):
    r"""Labels of which some are missing and many are rare: correction, modification and balance.

    *Modification*: the loss of each branch is :class:`~skimb.losses.MultiFocal`, whose exponents and weights
    follow the frequency of a label. *Correction*: after `warmup` epochs a label that may be missing is taken for
    present where its probability exceeds both `correction_threshold` and the running mean of its label; the loss
    with these labels is divided by the present labels per row, and its factors :math:`\omega_k` follow the counts
    with them. *Balance*: two further branches, one that takes away and one that adds to the share of the features
    along their running mean :math:`e` (frequent labels), teach the balanced branch, which alone predicts:

    .. math::
        L=\sum_xL_\text{modified}(z_x)+\lambda_c\sum_xL_\text{corrected}(z_x)
        +\lambda_b\sum_{x\in\{h,t\}}\kappa_xD(z_b,\hat z_x),\qquad
        \kappa_x=\frac{L(\hat z_x)^2}{L(\hat z_h)^2+L(\hat z_t)^2}.

    Scores are :math:`z=\rho\,w^\top\hat f/(\lVert w\rVert+1/32)` with :math:`\hat f=f/\lVert f\rVert`;
    :math:`\hat z_h` and :math:`\hat z_t` are those of :math:`\hat f-(\hat f^\top\hat e)\hat e` and
    :math:`\hat f+\alpha(\hat f^\top\hat e)\hat e`.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer of the encoder, at least 1 each.
    activation : {"relu", "tanh", "logistic"}, default="relu"
        Activation of the hidden layers.
    loss : MultiFocal or None, default=None
        The modified loss; ``None`` is ``MultiFocal()``, and cross-entropy of each class for a y of one column.
        Its parameters are searchable as ``loss__gamma_neg`` and the like; ``MultiFocal(0, 0, 0, 0, 0, 0)`` is
        binary cross-entropy.
    balance : {"distill", "paper", "average"} or None, default="distill"
        How branches teach the balanced one. 'distill': cross-entropy against the teachers' probabilities.
        'paper': the published formula, the modified loss of the product of both softmaxes, taken for scores.
        'average': the released implementation, where each branch adds a third of `balance_weight` of its own
        loss. ``None``: the balanced branch alone.
    balance_weight : float in [0, inf), default=1.0
        Factor :math:`\lambda_b`.
    shared_encoder : bool, default=True
        Whether the branches share their encoder; the paper trains three.
    sampling : {"common", "separate"}, default="common"
        'separate' gives the balanced branch rows drawn by label, the branch of rare labels rows drawn by label
        against its frequency, as the released implementation does; 'common' gives all the same rows.
    scale : float in (0, inf), default=16.0
        Factor :math:`\rho` of scores.
    tail_shift : float in [0, inf), default=2.0
        Factor :math:`\alpha` of the mean direction for rare labels.
    feature_momentum : float in [0, 1), default=0.9
        What is kept of :math:`e` at each batch, to which the mean features of the batch are added.
    correct : {"missing", "zeros"}, default="missing"
        Labels that may be taken for present: those marked as missing, or all that are not 1, as in the paper.
    unknown : {"negative", "ignore"}, default="negative"
        What missing labels are to the loss while they are not recalled: absent, as in the paper, or left out.
    correction_weight : float in [0, inf), default=0.2
        Factor :math:`\lambda_c`.
    correction_threshold : float in (0, 1], default=0.7
        Probability above which a label is recalled; 1 recalls none.
    correction_margin : float in [0, inf), default=1.0
        Taken from the scores of given labels in the corrected loss.
    correction_power : float in [0, inf), default=1/6
        Exponent of the frequency factor in the corrected loss.
    warmup : int in [0, inf), default=1
        Epochs before labels are recalled.
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
        Epochs without improvement that are borne.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping, for labels without missing ones. ``None`` is the negative loss of the labels
        that are there.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Floating type; 'auto' is that of X, and float32 on CUDA.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train. Fitted models live on the CPU.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback).

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        Label indices; class labels for a y of one column.
    recalled_ : ndarray of shape (n_labels,)
        Labels that the balanced branch took for present in the last epoch.
    prior_, class_counts_ : ndarray of shape (n_labels,)
        Rates and counts of given labels.
    net_ : EngineNet
        The trained skorch net.
    history_ : list of dict
        skorch's history.
    loss_ : float
        Training loss at the end.
    loss_function_ : MultiFocal
        The loss that was trained.
    loss_curve_, validation_scores_ : list or None
        Per epoch.
    best_loss_, best_validation_score_ : float or None
        Best of these.
    class_weight_ : None
        There are no class weights: the loss has its own.
    n_iter_, t_, n_outputs_ : int
        Epochs of the last fit, rows seen, outputs.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Notes
    -----
    ``fit(X, y)`` takes a matrix y of 0 and 1, with NaN or -1 where a label is missing. A y of one column is a
    target of exclusive classes, each a label of its own, none of which is missing. ``predict_proba`` gives
    uncorrected scores: the modified loss pushes negatives less than positives, so probabilities are too large and
    0.5 is seldom the best threshold. Sparse X is made dense batch by batch.

    Deviations: the paper's text and its released implementation differ, and each is one value of `balance`; the
    fusion of features by attention, which the release leaves out, is left out. ``balance="distill"`` is a reading
    of our own in the place of a formula that takes products of probabilities for scores. The paper's running mean
    of features is described as one of gradients. With ``balance="paper"`` at least two outputs are needed. The
    net is trained alone, also inside of :func:`~skimb.model_selection.batched_fits`.

    References
    ----------
    Zhang et al. 2023, Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution
    and Partial Labels, arXiv:2304.10539.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from skimb.multilabel import COMICClassifier
    >>> X, Y = make_multilabel_classification(300, n_classes=4, random_state=0)
    >>> Y = Y.astype(float)
    >>> Y[np.random.default_rng(0).random(Y.shape) < 0.3] = np.nan
    >>> model = COMICClassifier((16,), max_iter=5, tol=0, random_state=0).fit(X, Y)
    >>> model.predict(X).shape
    (300, 4)
    """

    _parameter_constraints = {
        **MODULE_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [MultiFocal, None],
        "balance": [StrOptions({"distill", "paper", "average"}), None],
        "balance_weight": [Interval(Real, 0, None, closed="left")],
        "shared_encoder": ["boolean"],
        "sampling": [StrOptions({"common", "separate"})],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "tail_shift": [Interval(Real, 0, None, closed="left")],
        "feature_momentum": [Interval(Real, 0, 1, closed="left")],
        "correct": [StrOptions({"missing", "zeros"})],
        "unknown": [StrOptions({"negative", "ignore"})],
        "correction_weight": [Interval(Real, 0, None, closed="left")],
        "correction_threshold": [Interval(Real, 0, 1, closed="right")],
        "correction_margin": [Interval(Real, 0, None, closed="left")],
        "correction_power": [Interval(Real, 0, None, closed="left")],
        "warmup": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        loss=None,
        balance="distill",
        balance_weight=1.0,
        shared_encoder=True,
        sampling="common",
        scale=16.0,
        tail_shift=2.0,
        feature_momentum=0.9,
        correct="missing",
        unknown="negative",
        correction_weight=0.2,
        correction_threshold=0.7,
        correction_margin=1.0,
        correction_power=1 / 6,
        warmup=1,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.balance = balance
        self.balance_weight = balance_weight
        self.shared_encoder = shared_encoder
        self.sampling = sampling
        self.scale = scale
        self.tail_shift = tail_shift
        self.feature_momentum = feature_momentum
        self.correct = correct
        self.unknown = unknown
        self.correction_weight = correction_weight
        self.correction_threshold = correction_threshold
        self.correction_margin = correction_margin
        self.correction_power = correction_power
        self.warmup = warmup
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

    def _new_head(self):
        return PartialHead(type(self).__name__)

    def _new_module(self, data, bound, rng):
        params = {
            "n_features": self.n_features_in_,
            "n_outputs": self.n_outputs_,
            "widths": layer_widths(self.hidden_layer_sizes),
            "activation": self.activation,
            "branches": 1 if self.balance is None else 3,
            "shared": self.shared_encoder,
            "scale": float(self.scale),
        }
        return self._draw_module(COMICNet, params, rng)

    def _training_data(self, X, code, bound, sample_weight, device, cost=None):
        data = super()._training_data(X, np.maximum(code, 0), bound, sample_weight, device, cost)
        if self._head.multilabel:
            data.target.code[(data.target.code.new_tensor(code)) < 0] = 0.0
        return data

    def _schemes(self, bound, module, data, seed):
        if self.balance == "paper" and self.n_outputs_ == 1:
            raise ValueError(
                f"{type(self).__name__}: balance='paper' compares the scores of a row, and two classes have only "
                "one; use balance='distill'."
            )
        if (self.balance is None) != (len(module.heads) == 1):
            raise ValueError(
                f"{type(self).__name__} was fitted with {len(module.heads)} branches and cannot go on with "
                f"balance={self.balance!r}; fit it anew."
            )
        settings = {name: getattr(self, name) for name in _SETTINGS}
        head = self._head
        return [Training(module, data, settings, head.class_prior, head.loss, seed)]

    def _validation_score(self, valid):
        if self.validation_scoring is not None and (valid.code < 0).any():
            raise ValueError(
                f"validation_scoring={self.validation_scoring!r} cannot score rows with missing labels; use "
                "validation_scoring=None, or labels without missing ones."
            )
        return super()._validation_score(valid)

    def _finish(self, fit):
        super()._finish(fit)
        self.recalled_ = self._scheme_state["recalled"][0]
