"""A perceptron whose classes arrive over time."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._base.chain import CHAIN_CONSTRAINTS, CLASSIFIER_CONSTRAINTS, ChainEstimator
from skimb._base.classifier import NeuralClassifier
from skimb._base.estimator import Rows
from skimb._base.head import TargetCounts
from skimb._core.compat import with_callbacks
from skimb.engine.distillation import Distillation, RelationDistillation
from skimb.engine.net import EngineNet
from skimb.losses import Loss
from skimb.nets.mlp import ACTIVATIONS
from skimb.streaming._growing_head import GrowingHead, spread
from skimb.streaming._memory import herding, hidden_features, plain_rows, stacked_rows

_SHARED = set(CHAIN_CONSTRAINTS) - {
    "beta_1", "beta_2", "epsilon", "max_fun", "mixed_precision", "power_t", "solver", "warm_start",
}  # fmt: skip


class IncrementalMLPClassifier(NeuralClassifier, ChainEstimator):
    r"""Multi-layer perceptron that takes new classes: distillation, weight aligning, remembered rows.

    A chunk with classes that were not seen before begins a *task*. The output layer grows by their columns, a
    frozen copy of the net teaches the old classes while the chunk and the remembered rows are learned, and
    afterwards the new columns are scaled to the mean length of the old ones:

    .. math::
        (1-\lambda)\,\text{loss}
        -\lambda\sum_{k\le m}\mathrm{softmax}(z^{old}/T)_k\log\mathrm{softmax}(z_{\le m}/T)_k,
        \qquad
        w_{new}\leftarrow\gamma\,w_{new},\quad
        \gamma=\frac{\mathrm{mean}_{old}\|w_k\|}{\mathrm{mean}_{new}\|w_k\|}

    with m old classes of C and :math:`\lambda=m/C`. Intercepts stay as they are.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer, at least 1 each.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    distill : "auto" or float in [0, 1), default="auto"
        Share :math:`\lambda` of the old net's word in the loss; "auto" is the share of old classes, 0 none.
    distill_target : {"scores", "relations"}, default="scores"
        What the old net's word is: its scores of each row, or how the weights :math:`p_k` of each old class relate
        to the rows of a batch, :math:`\mathrm{softmax}_i(\cos(p_k,x_i)/T)` over rows i with inputs x of the output
        layer, as the term of prototype-sample relation distillation (PRD) does. Dense X only.
    temperature : float in (0, inf), default=2.0
        Temperature :math:`T` of both nets; for cosines 0.1 is usual.
    align : {"if_larger", "always", "never"}, default="if_larger"
        When new columns are scaled: only where they are longer than the old ones, as the method presumes, or
        always, as in the paper.
    exemplars_per_class : int in [0, inf), default=20
        Rows of each class that are kept and learned again with every later chunk.
    exemplar_choice : {"herding", "random"}, default="herding"
        Rows whose mean in the last hidden layer stays closest to that of the class, or random ones.
    solver : {"adam", "adamw", "sgd", "muon"}, default="adam"
        As in :class:`~skimb.neural_network.MLPClassifier`; it starts anew with every chunk.
    alpha : float in [0, inf), default=0.0001
        L2 strength or weight decay, as in :class:`~skimb.neural_network.MLPClassifier`.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``, and ``min(1024, n)`` for losses that couple rows.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine"}, default="constant"
        Schedule after each epoch of a chunk.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    max_iter : int in [1, inf), default=200
        Most epochs of a chunk.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of weights, permutations, the validation split and random exemplars.
    tol : float in [0, inf), default=0.0001
        Improvement that counts.
    verbose : bool or int, default=False
        Whether to print each epoch.
    momentum : float in [0, 1], default=0.9
        Momentum of 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether 'sgd' uses Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to set rows of each chunk aside, stop when their score no longer improves, and keep the best
        weights.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside, stratified.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne. With early stopping by log loss thrice as many are borne until
        validation rows of exclusive classes have a lower one than constant probabilities would give.
    loss : Loss, default=None
        A loss of :mod:`skimb.losses`; ``None`` is cross-entropy.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes, by the counts of the rows that a chunk is learned with.
    prior : array-like, dict or None, default=None
        Class distribution of the population that ``predict_proba`` refers to. ``None`` means that of all rows
        of the stream, each counted once.
    sampler : ClassPowerSampler or None, default=None
        Draws batches by class; its shift is undone in ``predict_proba``.
    mix : Mixup, BalancedMixup, Remix, UniMix or None, default=None
        Trains on mixtures of dense rows.
    scheme : Scheme or None, default=None
        What training does beyond following the loss, see :class:`skimb.training.Scheme`; one that changes the
        gradient needs ``distill=0``.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping. ``None`` is the log-loss of the natural probabilities, or the loss itself
        where it gives none.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train; fitted models live on the CPU.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen or declared so far, sorted; grows with the stream.
    task_of_class_ : ndarray of shape (n_classes,)
        Number of the task that brought each class, from 0; -1 for classes that were declared and not yet seen.
    task_counts_ : ndarray of shape (n_tasks, n_classes)
        Rows per task and class; remembered rows count where they were new.
    gamma_ : float
        Mean length of the old columns over that of the new ones after the last chunk, before aligning; 1 in
        the first task.
    exemplars_ : tuple of (array or CSR matrix, ndarray), or None
        Remembered rows and their labels.
    net_ : EngineNet
        The trained skorch net.
    history_ : list of dict
        skorch's history: ``train_loss``, ``valid_score``, ``dur`` per epoch.
    loss_ : float
        Training loss at the end, with the teacher's share.
    loss_function_ : Loss
        The loss that was trained.
    prior_ : ndarray of shape (n_classes,)
        Label distribution of the risk that the last chunk was learned with; absent classes count as one row.
    class_counts_ : ndarray of shape (n_classes,)
        Rows per class that the last chunk was learned with, remembered ones among them.
    class_weight_ : ndarray or None
        Weight per class.
    coefs_, intercepts_ : list of ndarray
        Weights per layer.
    n_iter_, t_, n_layers_, n_outputs_ : int
        Epochs of the last chunk, rows seen, layers, outputs.
    loss_curve_, validation_scores_ : list or None
        Per epoch.
    best_loss_, best_validation_score_ : float or None
        Best of these.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If the first chunk holds one class only and `classes` declares no other, or y has several labels per row.

    Notes
    -----
    ``predict_proba`` divides the class distribution of the rows that were learned together (the chunk and the
    remembered rows) out and that of the whole stream in, so that few remembered rows do not make a class rare;
    distillation and aligning leave probabilities approximate from the second task on, so calibrate on rows of all
    classes where they matter. ``predict`` takes the most probable class by the same correction, where the paper
    takes the largest score; losses and weights that aim at another decision keep it: with ``loss=LogitAdjusted()``
    it is balanced by the counts of what was learned together.

    A chunk without new classes goes on with its task: the same teacher, and aligned again. Nets are trained
    alone from the second task on, the first one also in :func:`~skimb.model_selection.batched_fits`.

    The method presumes that new columns come out longer than old ones. On small perceptrons trained by Adam they
    come out shorter, and aligning then makes decisions worse; hence "if_larger".
    :class:`~skimb.streaming.AnalyticClassifier` learns such streams exactly and without remembered rows.

    PRD trains features by supervised contrast and prototypes apart from them, by the classes of the chunk alone;
    "relations" is its distillation beside any loss. ``loss=LogitAdjusted()`` comes close to the latter, since
    absent classes then have hardly a share in the loss.

    References
    ----------
    Zhao et al. 2020 (WA), arXiv:1911.07053; Rebuffi et al. 2017 (herding), arXiv:1611.07725; "Prototype-Sample
    Relation Distillation: Towards Replay-Free Continual Learning" (PRD).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skimb.streaming import IncrementalMLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = IncrementalMLPClassifier(max_iter=20, tol=0.1, random_state=0)
    >>> for low in (0, 4, 8):
    ...     chunk = (y >= low) & (y < low + 4)
    ...     model = model.partial_fit(X[chunk] / 16, y[chunk])
    >>> model.task_of_class_.tolist()
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    """

    _parameter_constraints = {
        **{name: rule for name, rule in CHAIN_CONSTRAINTS.items() if name in _SHARED},
        **CLASSIFIER_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"adam", "adamw", "sgd", "muon"})],
        "loss": [Loss, None],
        "distill": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "distill_target": [StrOptions({"scores", "relations"})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "align": [StrOptions({"if_larger", "always", "never"})],
        "exemplars_per_class": [Interval(Integral, 0, None, closed="left")],
        "exemplar_choice": [StrOptions({"herding", "random"})],
    }
    for _name in ("class_counts", "deferred_reweighting"):
        _parameter_constraints.pop(_name)

    warm_start = False
    mixed_precision = False
    beta_1, beta_2, epsilon, power_t = 0.9, 0.999, 1e-8, 0.5

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        distill="auto",
        distill_target="scores",
        temperature=2.0,
        align="if_larger",
        exemplars_per_class=20,
        exemplar_choice="herding",
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
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        loss=None,
        class_weight=None,
        prior=None,
        sampler=None,
        mix=None,
        scheme=None,
        validation_scoring=None,
        device="cpu",
        callbacks=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.distill = distill
        self.distill_target = distill_target
        self.temperature = temperature
        self.align = align
        self.exemplars_per_class = exemplars_per_class
        self.exemplar_choice = exemplar_choice
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
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.loss = loss
        self.class_weight = class_weight
        self.prior = prior
        self.sampler = sampler
        self.mix = mix
        self.scheme = scheme
        self.validation_scoring = validation_scoring
        self.device = device
        self.callbacks = callbacks

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Forget everything and learn these rows as the first task.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels, of at least two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row, an integer repeats it.

        Returns
        -------
        IncrementalMLPClassifier
            Itself.
        """
        return self._fit(X, y, sample_weight)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Learn a chunk to the end, with the remembered rows; its labels may be new.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like, default=None
            Classes to list before they are seen; needed only if the first chunk holds a single class.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        IncrementalMLPClassifier
            Itself.

        Notes
        -----
        Hidden layers and the floating type stay those of the first chunk, other parameters are read anew.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    # --- classes that grow -------------------------------------------------------------------

    def _new_head(self):
        return GrowingHead(type(self).__name__)

    def _encode(self, y, classes, incremental):
        self._head = self._head.grown(y, classes)
        return self._head.encode(y, partial=True)

    def _prepare(self, rows, *, new=True, incremental=False):
        head = self._head
        arrived = TargetCounts.of(rows.code, rows.sample_weight, len(head.classes))
        present = arrived.counts > 0
        if new:
            self.task_of_class_ = np.where(present, 0, -1)
            self.task_counts_ = arrived.counts[None]
            self._memory = self._teacher = None
        else:
            places = np.searchsorted(head.classes, self.classes_)
            n = len(head.classes)
            self.task_of_class_ = spread(self.task_of_class_, places, n, -1)
            self.task_counts_ = spread(self.task_counts_, places, n, 0.0)
            if (present & (self.task_of_class_ < 0)).any():
                self._begin_task(present)
            if n > len(self.classes_):
                self._grow(places)
            self.task_counts_ = self.task_counts_.copy()
            self.task_counts_[-1] += arrived.counts
            rows = self._with_memory(rows)
        self._arrived = present
        self._head = head.after(arrived)
        return super()._prepare(rows, new=new)

    def _begin_task(self, present):
        old = self.classes_[np.isin(self.classes_, self._head.classes[self.task_of_class_ >= 0])]
        self._teacher = {
            "classes": old,
            "columns": np.searchsorted(self.classes_, old),
            "outputs": len(self.classes_),
            "arrays": [
                t.detach().cpu().numpy().copy() for t in self.net_.module_.state_dict().values()
            ],
        }
        task = len(self.task_counts_)
        new = present & (self.task_of_class_ < 0)
        self.task_of_class_ = np.where(new, task, self.task_of_class_)
        self.task_counts_ = np.vstack([self.task_counts_, np.zeros(len(present))])

    def _grow(self, places):
        """Put a wider net in the place of the present one, which stays as it is."""
        n, old = len(self._head.classes), self.net_
        draws = check_random_state(self.random_state).randint(1 << 31, size=1 + len(self.classes_))
        module = old.module_.widened(n, places, np.random.RandomState(draws[-1]))
        self._config = {**self._config, "widths": module.widths}
        if np.ndim(self._level):
            self._level = spread(self._level, places, n, 0.0)
        self.net_ = EngineNet(module, criterion=old.criterion).initialize()
        self.net_.history = old.history

    def _with_memory(self, rows):
        memory = self._memory
        if memory is None or sparse.issparse(rows.X) != self._sparse:
            return rows
        weight = rows.sample_weight
        if weight is not None or memory["weight"] is not None:
            both = [(memory["weight"], memory["y"]), (weight, rows.y)]
            weight = np.concatenate([np.ones(len(y)) if w is None else w for w, y in both])
        return Rows(
            stacked_rows(memory["X"], rows.X),
            np.concatenate([memory["y"], rows.y]),
            np.concatenate([np.searchsorted(self._head.classes, memory["y"]), rows.code]),
            weight,
            None,
        )

    # --- the old net's word, and the new columns' length -------------------------------------

    def _schemes(self, bound, module, data, seed):
        parts = super()._schemes(bound, module, data, seed)
        teacher = self._teacher
        if teacher is None or self.distill == 0:
            return parts
        share = self.distill
        if share == "auto":
            share = len(teacher["classes"]) / (self.task_of_class_ >= 0).sum()
        old = module.with_outputs(teacher["outputs"])
        with torch.no_grad():
            for own, given in zip(old.state_dict().values(), teacher["arrays"], strict=True):
                own.copy_(torch.from_numpy(np.array(given)))
        old = old.with_columns(teacher["columns"])
        columns = np.searchsorted(self._head.classes, teacher["classes"])
        if self.distill_target == "relations":
            if module.sparse:
                raise ValueError(
                    f"{type(self).__name__}(distill_target='relations') takes dense X only; use "
                    "distill_target='scores' or X.toarray()."
                )
            return [*parts, RelationDistillation(old, columns, float(share), self.temperature)]
        return [
            *parts,
            Distillation(old, columns, data, float(share), self.temperature, as_given=not parts),
        ]

    def _after_training(self, data, sample_weight):
        self._align()
        super()._after_training(data, sample_weight)
        self._remember(data, sample_weight)

    @torch.no_grad()
    def _align(self):
        """Scale the columns of the last task's classes to the mean length of the older ones."""
        task, last = self.task_of_class_, len(self.task_counts_) - 1
        self.gamma_ = 1.0
        if last == 0:
            return
        weights = self.net_.module_.output_weights()
        length = torch.cat(weights).norm(dim=0).double().numpy()
        old, new = length[(task >= 0) & (task < last)].mean(), length[task == last].mean()
        if new == 0 or old == 0:
            return
        self.gamma_ = float(old / new)
        if self.align == "always" or (self.align == "if_larger" and self.gamma_ < 1):
            at = torch.from_numpy(np.flatnonzero(task == last))
            for w in weights:
                w[:, at] *= self.gamma_

    # --- remembered rows ---------------------------------------------------------------------

    @property
    def exemplars_(self):
        """Remembered rows and their labels."""
        self._need_net("exemplars_")
        return None if self._memory is None else (self._memory["X"], self._memory["y"])

    def _remember(self, data, sample_weight):
        """Choose rows of the classes that arrived anew; other classes keep theirs."""
        n, classes = self.exemplars_per_class, self._head.classes
        if n == 0:
            self._memory = None
            return
        X, code = plain_rows(data.X), data.target.code.cpu().numpy()
        rng = check_random_state(self.random_state)
        chosen = []
        for k in np.flatnonzero(self._arrived):
            at = np.flatnonzero(code == k)
            if self.exemplar_choice == "random":
                chosen.append(rng.permutation(at)[:n])
            else:
                chosen.append(at[herding(hidden_features(self.net_.module_, X[at]), n)])
        at = np.concatenate(chosen)
        found = {
            "X": X[at],
            "y": classes[code[at]],
            "weight": None if sample_weight is None else sample_weight[at],
        }
        self._memory = _joined(self._memory, found, classes[self._arrived])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


def _joined(memory, found, arrived):
    """Remembered rows of classes that did not arrive, and those that were found."""
    if memory is None:
        return found
    kept = ~np.isin(memory["y"], arrived)
    if not kept.any():
        return found
    weights = [memory["weight"], found["weight"]]
    if any(w is not None for w in weights):
        n = [kept.sum(), len(found["y"])]
        one = [None if weights[0] is None else weights[0][kept], weights[1]]
        weight = np.concatenate(
            [np.ones(k) if w is None else w for w, k in zip(one, n, strict=True)]
        )
    else:
        weight = None
    return {
        "X": stacked_rows(memory["X"][kept], found["X"]),
        "y": np.concatenate([memory["y"][kept], found["y"]]),
        "weight": weight,
    }
