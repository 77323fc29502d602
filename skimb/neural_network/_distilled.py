"""The multi-layer perceptron that learns from other classifiers beside the labels."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skimb._base.chain import CHAIN_CONSTRAINTS, CLASSIFIER_CONSTRAINTS, ChainEstimator
from skimb._base.classifier import NeuralClassifier
from skimb._base.estimator import NeuralBase
from skimb._core.inner import fit_inner
from skimb.engine.distillation import Teaching
from skimb.functional._distillation import logit_divergence, softened_divergence
from skimb.losses import Loss
from skimb.nets.mlp import ACTIVATIONS

_DIVERGENCES = {"probabilities": softened_divergence, "logits": logit_divergence}


class DistilledClassifier(NeuralClassifier, ChainEstimator):
    r"""Multi-layer perceptron taught by other classifiers: a population in one net, two heads, balanced teachers.

    .. math:: (1-\lambda)\,\text{loss}(z, y)+\lambda\sum_m u_m\,D\bigl(z', t_m\bigr)

    with the scores :math:`t_m=\log p_m` of teacher m, moved to the class frequencies that the student's scores
    speak of, and the student's scores :math:`z'`:

    ``head="single"``
        are those of the labels, :math:`z'=z`;
    ``head="dual"``
        come from a second linear head on the same last hidden layer, which is trained only and predicts nothing
        (DHKD): labels and teachers meet in the body and do not pull at one head.

    ``divergence="probabilities"`` is :math:`T^2\,\mathrm{KL}(\mathrm{softmax}(t/T)\|\mathrm{softmax}(z'/T))`,
    ``divergence="logits"`` is :math:`T^2\sum_k\mathrm{KL}(\frac12\|\sigma(\frac{z'_k-t_k}T))` with centred scores
    of the teacher. The weights :math:`u_m` of several teachers start equal and follow the relative losses (MTARD):
    :math:`u_m\leftarrow u_m-r(u_m-q_m/\sum_jq_j)` after each batch, where q is the divergence over its first
    value. A teacher may be anything that gives probabilities: bagged nets or trees, boosting, a net trained for
    the rare classes.

    Parameters
    ----------
    teacher : classifier, or list of classifiers
        Each with ``predict_proba``. A clone of each is fitted to the same rows and weights first; a
        ``FrozenEstimator`` stays as it is.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer, at least 1 each.
    share : float in [0, 1], default=0.5
        The share :math:`\lambda` of the teachers.
    temperature : float in (0, inf), default=2.0
        What scores are divided by, T.
    head : {"single", "dual"}, default="single"
        Which scores the teachers see.
    divergence : {"probabilities", "logits"}, default="probabilities"
        How scores are compared.
    balance_rate : float in [0, 1), default=0.025
        The rate r of the teachers' weights; 0 leaves them equal.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        As in :class:`MLPClassifier`.
    alpha : float in [0, inf), default=0.0001
        L2 strength in scikit-learn's units; for 'adamw' the weight decay.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``.
    learning_rate : {"constant", "cosine", "linear"}, default="constant"
        Schedule after each epoch.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    max_iter : int in [1, inf), default=200
        Most epochs.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, permutations and the validation split.
    tol : float in [0, inf), default=0.0001
        Improvement that counts.
    verbose : bool or int, default=False
        Whether to print each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the present weights.
    early_stopping : bool, default=False
        Whether to stop on validation rows, which no teacher is fitted to, and keep the best weights.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside, stratified.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne. With early stopping by log loss thrice as many are borne until
        validation rows of exclusive classes have a lower one than constant probabilities would give.
    loss : Loss, default=None
        A loss of :mod:`skimb.losses` for the labels; ``None`` is cross-entropy.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes.
    prior : array-like, dict or None, default=None
        Class distribution that ``predict_proba`` refers to.
    sampler : ClassPowerSampler or None, default=None
        Draws batches by class.
    deferred_reweighting : float in [0, 1] or None, default=None
        Share of `max_iter` after which class weights set in.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping; ``None`` is the log-loss.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback).

    Attributes
    ----------
    teachers_ : list of classifier
        The fitted teachers.
    teacher_weights_ : ndarray of shape (n_teachers,)
        Their weights at the end.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    net_ : EngineNet
        The trained skorch net; with two heads its last outputs are those of the second.
    history_, loss_curve_ : list
        As in :class:`MLPClassifier`.
    coefs_, intercepts_ : list of ndarray
        Weights per layer, without the second head.
    prior_, class_counts_, class_weight_ : ndarray
        As in :class:`MLPClassifier`.
    n_iter_, n_features_in_ : int
        Epochs of the last fit, features.

    Raises
    ------
    ValueError
        If y has several labels; if a teacher does not know all classes; if ``head="single"`` meets a loss whose
        scores are no log-probabilities up to a constant per class, or "dual" a net without hidden layers.

    Notes
    -----
    A teacher that knows the training rows by heart says little more than their labels: give it other rows and
    freeze it, or one that generalises. ``partial_fit`` fits the teachers to the first chunk, which must hold all
    classes for them, and asks them for later ones; it keeps the number of heads. Probabilities of teachers count
    as at least 1e-7. These nets join no populations; their teachers may be one. Deviations from the papers: the
    shares of labels and teachers sum to 1; the second head is linear and its gradient is not aligned; teachers
    speak of the same rows, none of attacked ones, and have one temperature.

    References
    ----------
    Hinton et al. 2015, arXiv:1503.02531; Yang et al. 2024 (DHKD), arXiv:2411.08937; Zhao et al. 2023 (MTARD),
    arXiv:2306.16170.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from skimb.neural_network import DistilledClassifier
    >>> X, y = make_classification(400, 8, n_classes=3, n_informative=5, random_state=0)
    >>> forest = RandomForestClassifier(50, min_samples_leaf=5, random_state=0)
    >>> net = DistilledClassifier(forest, (16,), head="dual", max_iter=20, tol=0, random_state=0).fit(X, y)
    >>> net.coefs_[1].shape, net.predict_proba(X[:2]).shape
    ((16, 3), (2, 3))
    """

    _parameter_constraints = {
        **CHAIN_CONSTRAINTS,
        **CLASSIFIER_CONSTRAINTS,
        "teacher": [HasMethods(["fit", "predict_proba"]), list, tuple],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "share": [Interval(Real, 0, 1, closed="both")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "head": [StrOptions({"single", "dual"})],
        "divergence": [StrOptions(set(_DIVERGENCES))],
        "balance_rate": [Interval(Real, 0, 1, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"adam", "adamw", "sgd"})],
        "learning_rate": [StrOptions({"constant", "cosine", "linear"})],
        "loss": [Loss, None],
    }
    for _name in (
        "power_t", "momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon", "max_fun",
        "mixed_precision", "scheme", "class_counts", "mix",
    ):  # fmt: skip
        _parameter_constraints.pop(_name)
    del _name

    momentum, nesterovs_momentum = 0.9, True
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-8
    mixed_precision = False
    scheme = mix = None

    def __init__(
        self,
        teacher,
        hidden_layer_sizes=(100,),
        *,
        share=0.5,
        temperature=2.0,
        head="single",
        divergence="probabilities",
        balance_rate=0.025,
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
        validation_scoring=None,
        device="cpu",
        callbacks=None,
    ):
        self.teacher = teacher
        self.hidden_layer_sizes = hidden_layer_sizes
        self.share = share
        self.temperature = temperature
        self.head = head
        self.divergence = divergence
        self.balance_rate = balance_rate
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
        self.validation_scoring = validation_scoring
        self.device = device
        self.callbacks = callbacks

    # --- teachers ----------------------------------------------------------------------------

    def _split(self, whole, rng, incremental):
        rows, valid = super()._split(whole, rng, incremental)
        if self._head.multilabel:
            raise ValueError(
                "DistilledClassifier teaches exclusive classes; multi-label y has several in a row."
            )
        if not (incremental and hasattr(self, "teachers_")):
            given = self._given_teachers()
            if not given or any(not hasattr(t, "predict_proba") for t in given):
                raise ValueError(
                    f"DistilledClassifier: teacher={self.teacher!r} must be a classifier with predict_proba, or a "
                    "list of some."
                )
            self.teachers_ = [
                t
                if isinstance(t, FrozenEstimator)
                else fit_inner(clone(t), rows.X, rows.y, rows.sample_weight)
                for t in given
            ]
        self._told = np.stack([self._said(t, rows.X) for t in self.teachers_])
        return rows, valid

    def _given_teachers(self):
        return self.teacher if isinstance(self.teacher, list | tuple) else [self.teacher]

    def _said(self, teacher, X):
        """Log-probabilities (n, n_classes) of a teacher."""
        known, classes = np.asarray(teacher.classes_), self._head.classes
        missing = [c for c in classes.tolist() if c not in set(known.tolist())]
        if missing:
            raise ValueError(
                f"The teacher {teacher!r} does not know the classes {missing}; fit it to rows of all classes and "
                "give it as a FrozenEstimator."
            )
        proba = teacher.predict_proba(X)[:, [known.tolist().index(c) for c in classes.tolist()]]
        return np.log(np.maximum(proba, 1e-7))

    def _schemes(self, bound, module, data, seed):
        outputs, told = self.n_outputs_, torch.from_numpy(self._told)
        del self._told
        if not self._two_heads:
            told = told - self._offsets()
        told = told - told.mean(-1, keepdim=True)
        if outputs == 1:
            told = told[..., 1:] - told[..., :1]
        self._teaching = Teaching(
            told,
            torch.arange(outputs) + outputs * self._two_heads,
            float(self.share),
            partial(_DIVERGENCES[self.divergence], temperature=float(self.temperature)),
            outputs if self._two_heads else None,
            len(told),
            float(self.balance_rate) if len(told) > 1 else 0.0,
        )
        return [self._teaching]

    def _offsets(self):
        """What turns the student's scores into log-probabilities, up to a constant per row."""
        head = self._head
        n, several = len(head.classes), head.n_outputs > 1
        draws = np.random.RandomState(0).normal(size=(8, n))
        draws[0] = 0.0
        z = torch.from_numpy(draws if several else draws[:, 1] - draws[:, 0])
        ok = head.gives_probabilities
        if ok:
            shift = head._shift(None)
            p = head.bound.posterior(z, class_weight=head.class_weight, log_shift=shift)
            logs = np.log(p.numpy())
            found = logs - draws
            found = found - found.mean(1, keepdims=True)
            ok = np.allclose(found, found[:1], atol=1e-6)
        if not ok:
            raise ValueError(
                f"head='single' compares scores with a teacher's log-probabilities, and those of {head.loss!r} are "
                "none, not even up to a constant per class; use head='dual'."
            )
        return torch.from_numpy(found[0])

    def _finish(self, fit):
        super()._finish(fit)
        self.teacher_weights_ = self._teaching.teachers.numpy().copy()
        del self._teaching

    # --- two heads ---------------------------------------------------------------------------

    def _output_width(self):
        if self.head == "dual" and not self._hidden():
            raise ValueError(
                f"head='dual' has two heads on one hidden layer, and hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r} has none; use head='single'."
            )
        return self.n_outputs_ * (2 if self.head == "dual" else 1)

    def _compatible(self, X, code):
        # what was begun with one head or two goes on so
        return NeuralBase._compatible(self, X, code)

    @property
    def _two_heads(self):
        """Whether the net has two heads."""
        return self._config["widths"][-1] > self.n_outputs_

    def _raw(self, X):
        return super()._raw(X)[:, : self.n_outputs_]

    def _tensor_logits(self, rows):
        return self._head.logits(self.net_.module_(rows)[:, : self.n_outputs_])

    def _add_to_output(self, shift):
        wide = np.zeros(self._config["widths"][-1])
        wide[: self.n_outputs_] = shift
        level = self._level
        super()._add_to_output(wide)
        self._level = level + shift

    @property
    def coefs_(self):
        """Weight matrices per layer, each (n_in, n_out)."""
        *hidden, last = super().coefs_
        return [*hidden, last[:, : self.n_outputs_]]

    @property
    def intercepts_(self):
        """Intercepts per layer."""
        *hidden, last = super().intercepts_
        return [*hidden, last[: self.n_outputs_]]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        teachers = [t for t in self._given_teachers() if hasattr(t, "__sklearn_tags__")]
        tags.input_tags.sparse = all(get_tags(t).input_tags.sparse for t in teachers)
        return tags
