"""Sets of labels predicted by slots, without a threshold."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skimb._base.module import MODULE_CONSTRAINTS, ModuleClassifier
from skimb.multilabel._set_loss import SetHead
from skimb.nets.encoder import ACTIVATIONS, Encoder, layer_widths

#: parameters of the loss, by those of the estimator
_SETTINGS = {
    "n_slots": "n_slots",
    "empty_weight": "empty_weight",
    "ot_weight": "ot_weight",
    "label_embeddings": "label_embeddings",
    "sinkhorn_epsilon": "epsilon",
    "sinkhorn_iter": "n_iter",
}


class SlotNet(nn.Module):
    """An encoder with scores of labels for each slot.

    Parameters
    ----------
    n_features : int
        Columns of rows.
    widths : list of int
        Units of hidden layers.
    activation : {"relu", "tanh", "logistic"}
        Their activation.
    n_slots : int
        Slots.
    n_labels : int
        Labels, and no label.
    rank : int or None
        Length of the vectors of slots and labels whose products are the scores; None for a layer of scores.
    """

    def __init__(self, n_features, widths, activation, n_slots, n_labels, rank):
        super().__init__()
        self.n_slots = n_slots
        self.encoder = Encoder(n_features, widths, activation)
        width = self.encoder.n_outputs
        self.slots = nn.Linear(width, n_slots * (n_labels if rank is None else rank))
        self.labels = None if rank is None else nn.Linear(rank, n_labels)

    def forward(self, X):
        """Scores (n, n_slots * n_labels)."""
        z = self.slots(self.encoder(X))
        if self.labels is None:
            return z
        return self.labels(z.unflatten(-1, (self.n_slots, -1))).flatten(-2)


class SetPredictionClassifier(ModuleClassifier):
    r"""Sets of labels from slots that are matched to labels: answers of any length without a threshold.

    The net has M slots, each with a distribution :math:`p_m` over the L labels and "no label". In training labels
    are matched to slots such that the sum of probabilities is largest, and slots learn the label that is matched
    to them,

    .. math::
        \frac{\sum_{im}w_{im}(-\log p_{im\tau_{im}})}{\sum_{im}w_{im}}
        +\lambda\,\langle\Pi_i,1-\cos(p_{im}E,E_y)\rangle,

    so the order of labels is of no account. The second term is the cost of transport between the expected label
    embeddings of slots and the embeddings of labels, under a plan of Sinkhorn's that is held constant. The answer
    is the set of the labels that lead in some slot.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(256,)
        Units of each hidden layer, at least 1 each.
    activation : {"relu", "tanh", "logistic"}, default="relu"
        Activation of the hidden layers.
    n_slots : int or "auto", default="auto"
        Slots M, the most labels that an answer can have; 'auto' is the 98 % quantile of the labels per row, 16 at
        most.
    empty_weight : float in (0, inf), default=0.2
        Weight w of slots without a label; others have 1.
    ot_weight : float in [0, inf), default=0.0
        Factor :math:`\lambda` of the cost of transport; 8 in the paper's scripts.
    label_embeddings : "cooccurrence" or array-like of shape (n_labels, d), default="cooccurrence"
        Embeddings E of labels, brought to length 1: the 30 leading eigenvectors of how often labels occur
        together, or given ones, for instance of the labels' names. Read with a positive `ot_weight` only.
    sinkhorn_epsilon : float in (0, inf), default=0.1
        Strength of the entropic penalty of the plan.
    sinkhorn_iter : int in [1, inf), default=30
        Iterations of the plan.
    rank : int or None, default=None
        Length of vectors of slots and labels whose products are the scores, for very many labels: ``M r + L r``
        instead of ``M L`` columns of weights.
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
        Scorer of early stopping; ``None`` is the negative loss.
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
    n_slots_ : int
        Slots.
    n_truncated_ : int
        Training rows with more labels than slots.
    prior_, class_counts_ : ndarray of shape (n_labels,)
        Rates and counts of labels.
    net_ : EngineNet
        The trained skorch net.
    history_ : list of dict
        skorch's history.
    loss_ : float
        Training loss at the end.
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
    A small reading of OTSeq2Set, whose decoder is a recurrent net that feeds on its own last answer; here slots
    are computed side by side. As there, the matching looks at probabilities and not at their logarithms, slots
    without a label weigh 0.2, and the plan has no gradient; the plan is Sinkhorn's in the place of a proximal
    one. Of a row with more labels than slots the best are matched.

    ``decision_function`` is by how much a label leads in the slot where it leads most, so that its sign is the
    answer. ``predict_proba`` is the probability that some slot holds the label, as if slots were independent; it
    ranks labels and is not calibrated. A y of one column is a target of exclusive classes: one slot, and
    cross-entropy. Training that goes on keeps slots, embeddings and weights of the loss. Sparse X is made dense
    batch by batch. In :func:`~skimb.model_selection.batched_fits` nets of one shape are trained as a population,
    each with its own loss.

    References
    ----------
    OTSeq2Set: An Optimal Transport Enhanced Sequence-to-Set Model for Extreme Multi-label Text Classification.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from skimb.multilabel import SetPredictionClassifier
    >>> X, Y = make_multilabel_classification(300, n_classes=6, random_state=0)
    >>> model = SetPredictionClassifier((16,), max_iter=5, tol=0, random_state=0).fit(X, Y)
    >>> model.predict(X).shape
    (300, 6)
    """

    _parameter_constraints = {
        **MODULE_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "n_slots": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "empty_weight": [Interval(Real, 0, None, closed="neither")],
        "ot_weight": [Interval(Real, 0, None, closed="left")],
        "label_embeddings": [StrOptions({"cooccurrence"}), "array-like"],
        "sinkhorn_epsilon": [Interval(Real, 0, None, closed="neither")],
        "sinkhorn_iter": [Interval(Integral, 1, None, closed="left")],
        "rank": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256,),
        activation="relu",
        *,
        n_slots="auto",
        empty_weight=0.2,
        ot_weight=0.0,
        label_embeddings="cooccurrence",
        sinkhorn_epsilon=0.1,
        sinkhorn_iter=30,
        rank=None,
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
        self.n_slots = n_slots
        self.empty_weight = empty_weight
        self.ot_weight = ot_weight
        self.label_embeddings = label_embeddings
        self.sinkhorn_epsilon = sinkhorn_epsilon
        self.sinkhorn_iter = sinkhorn_iter
        self.rank = rank
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
        head = SetHead(type(self).__name__)
        head.settings = self._settings()
        return head

    def _settings(self):
        return {name: getattr(self, own) for own, name in _SETTINGS.items()}

    def _take_checks(self, other):
        super()._take_checks(other)
        self._head.settings = self._settings()

    def _new_module(self, data, bound, rng):
        params = {
            "n_features": self.n_features_in_,
            "widths": layer_widths(self.hidden_layer_sizes),
            "activation": self.activation,
            "n_slots": bound.n_slots,
            "n_labels": len(self.classes_) + 1,
            "rank": self.rank,
        }
        return self._draw_module(SlotNet, params, rng)
