"""Balanced representation learning: partial mixtures, late weights of classes, a second stream."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._base.chain import CLASSIFIER_CONSTRAINTS
from skimb._base.module import MODULE_CONSTRAINTS, ModuleClassifier
from skimb.engine.backend import Backend
from skimb.engine.mixing import PartialMixup
from skimb.engine.module import ModuleBackend
from skimb.losses import Loss
from skimb.nets.streams import Streams

_CONSTRAINTS = {**MODULE_CONSTRAINTS, **CLASSIFIER_CONSTRAINTS, "loss": [Loss, None]}
_OWN = ("module", "mix", "dtype", "mixed_precision", "momentum", "solver")


class StreamsBackend(ModuleBackend):
    """Two streams as members, each with scores and a loss of its own."""

    serves = Backend.serves - {"inputs", "memory"}
    consumer, cure = "a net of two streams", "use another loss or skip_pairs=None"

    def __init__(self, module, autocast=None, width=None):
        super().__init__(module, autocast, width)
        self.members = len(module.towers)

    def structure(self, data):
        """In no population."""
        return None


class BalancedRepresentationClassifier(ModuleClassifier):
    r"""Balanced representation learning (BRL) for tables: partial mixtures, late class weights, a second stream.

    Three parts, each of which can be left out. *Rebalanced exploration*: in some rows of each batch a part of the
    columns comes from another row, with the label of the rarer of both (:class:`~skimb.training.PartialMixup`).
    *Detached schedule*: class weights set in late, :math:`w_k\propto(1-\beta_k)/(1-\beta_k^{n_k})` with
    :math:`\beta_k=0.99+0.0099\frac{n_k-n_{\min}}{n_{\max}-n_{\min}}`. *Skip-modal stream*: a second net reads
    differences of columns, is trained beside the first one, and their scores are averaged.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(128, 128)
        Units of the hidden layers (ReLU) of each stream.
    mix_ratio : float in [0, 1], default=0.0625
        Share of rows that are mixed; 0 leaves mixtures out.
    swap_fraction : float in (0, 1), default=0.36
        Share of the groups of columns that come from the other row.
    kappa : float in [1, inf), default=3.0
        Ratio of class counts beyond which the label is the rarer one's alone.
    feature_groups : list of array-like of int, default=None
        Numbers of columns that belong together, as those of a one-hot encoded category: they are swapped together.
    deferred_reweighting : float in [0, 1] or None, default=0.8
        Share of `max_iter` after which class weights set in; None is from the start.
    class_weight : {"effective_per_class", "balanced", "effective"}, dict or None, default="effective_per_class"
        Weights of classes; "effective_per_class" is the paper's, nearly inverse frequency, others are as in
        :class:`MLPClassifier`.
    skip_pairs : array-like of shape (n_pairs, 2), "auto" or None, default="auto"
        Pairs of columns whose differences the second stream reads; 'auto' takes columns j and j + 2, the last ones
        with the first ones; None is no second stream.
    loss : Loss, default=None
        A loss of :mod:`skimb.losses`; ``None`` is cross-entropy.
    alpha : float in [0, inf), default=0.0001
        Weight decay of matrices, by AdamW.
    batch_size : int or "auto", default="auto"
        Rows per update; 'auto' is ``min(200, n)``, and ``min(1024, n)`` for losses that couple rows.
    learning_rate : {"constant", "cosine"}, default="constant"
        Schedule after each epoch; 'cosine' falls to zero over `max_iter` epochs.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    max_iter : int in [1, inf), default=100
        Most epochs.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    random_state : int, RandomState or None, default=None
        Seed of weights, batches and mixtures.
    tol : float in [0, inf), default=0.0001
        Improvement that counts.
    verbose : bool or int, default=False
        Whether to print each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the present weights.
    early_stopping : bool, default=False
        Whether to stop on a validation score and keep the best weights; epochs before the weights set in do not
        count.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows set aside, stratified.
    n_iter_no_change : int or numpy.inf, default=10
        Epochs without improvement that are borne once the weights have set in.
    prior : array-like, dict or None, default=None
        Class distribution that ``predict_proba`` refers to.
    class_counts : array-like, dict or None, default=None
        Rows per class before resampling.
    sampler : ClassPowerSampler or None, default=None
        Draws batches by class.
    scheme : Scheme or None, default=None
        What training does beyond following the loss, see :class:`skimb.training.Scheme`.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping, as in :class:`MLPClassifier`.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; label indices for multi-label targets.
    prior_ : ndarray of shape (n_classes,)
        Label distribution of the trained risk, with mixtures.
    class_weight_ : ndarray or None
        Weight per class.
    net_ : EngineNet
        The trained skorch net.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If X is sparse or y multi-label and `mix_ratio` not 0, X has one column, or the loss needs what two streams
        lack: a memory, inputs of the output layer, an adversary.

    Notes
    -----
    Our reading on tables of a method for skeletons. There the lower half of a skeleton is swapped in one of the 16
    rows of a batch; here other columns are drawn for each row. The paper's reversal in time, which the released
    configuration leaves out, has no counterpart in a table. The skip-modal stream there is one more form of the
    skeleton with a net of its own whose scores are fused; differences of columns are what we make of it. Name such
    that mean something by `skip_pairs`: those of 'auto' are the same numbers once more, and what they add is a mean
    over two nets. The released code loses its weights in every other late epoch by computing the :math:`\beta_k` in
    place; here they stay. Classes of equal size, for which the formula is 0/0, have equal weights. Probabilities
    are corrected as if training had converged under the weights, which few late epochs do not reach. The net is
    trained alone, within blocks of batched fits too. What to expect of it says :doc:`/guide/contrastive`.

    References
    ----------
    Liu et al. 2023, arXiv:2308.14024; weights that set in late: Cao et al. 2019, arXiv:1906.07413.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import BalancedRepresentationClassifier
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> model = BalancedRepresentationClassifier((16,), max_iter=20, tol=0, random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape
    (2, 2)
    """

    _parameter_constraints = {
        **{name: rule for name, rule in _CONSTRAINTS.items() if name not in _OWN},
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "mix_ratio": [Interval(Real, 0, 1, closed="both")],
        "swap_fraction": PartialMixup._parameter_constraints["swap_fraction"],
        "kappa": PartialMixup._parameter_constraints["kappa"],
        "feature_groups": PartialMixup._parameter_constraints["feature_groups"],
        "class_weight": [
            StrOptions({"balanced", "effective", "effective_per_class"}),
            dict,
            None,
        ],
        "skip_pairs": ["array-like", StrOptions({"auto"}), None],
    }

    # what the base reads and this classifier leaves fixed
    solver, dtype, momentum = "adamw", "auto", 0.9

    def __init__(
        self,
        hidden_layer_sizes=(128, 128),
        *,
        mix_ratio=0.0625,
        swap_fraction=0.36,
        kappa=3.0,
        feature_groups=None,
        deferred_reweighting=0.8,
        class_weight="effective_per_class",
        skip_pairs="auto",
        loss=None,
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        max_iter=100,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        prior=None,
        class_counts=None,
        sampler=None,
        scheme=None,
        validation_scoring=None,
        device="cpu",
        callbacks=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.mix_ratio = mix_ratio
        self.swap_fraction = swap_fraction
        self.kappa = kappa
        self.feature_groups = feature_groups
        self.deferred_reweighting = deferred_reweighting
        self.class_weight = class_weight
        self.skip_pairs = skip_pairs
        self.loss = loss
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
        self.prior = prior
        self.class_counts = class_counts
        self.sampler = sampler
        self.scheme = scheme
        self.validation_scoring = validation_scoring
        self.device = device
        self.callbacks = callbacks

    @property
    def mix(self):
        """The mixtures, or None."""
        if not self.mix_ratio:
            return None
        return PartialMixup(self.mix_ratio, self.swap_fraction, self.kappa, self.feature_groups)

    def _new_module(self, data, bound, rng):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if any(not isinstance(s, Integral) or s < 1 for s in sizes):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must hold integers, each at least 1."
            )
        params = {
            "n_features": self.n_features_in_,
            "n_outputs": self.n_outputs_,
            "hidden": [int(s) for s in sizes],
            "pairs": self._pairs(),
        }
        return self._draw_module(Streams, params, rng)

    def _pairs(self):
        """Pairs of columns whose differences the second stream reads."""
        d, given = self.n_features_in_, self.skip_pairs
        if given is None:
            return []
        if isinstance(given, str):
            if d < 3:  # such differences say nothing, or the same twice
                return [(0, 1)] if d == 2 else []
            return [(j, (j + 2) % d) for j in range(d)]
        pairs = np.asarray(given)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise ValueError(
                f"skip_pairs={given!r} must hold pairs of column numbers, of shape (n_pairs, 2)."
            )
        if len(pairs) and (pairs.min() < 0 or pairs.max() >= d):
            raise ValueError(f"skip_pairs={given!r} must name columns from 0 to {d - 1}.")
        return pairs.tolist()

    def _schemes(self, bound, module, data, seed):
        if len(module.towers) > 1 and "adversary" in bound.requires:
            raise ValueError(
                f"{bound.name} perturbs rows, which a net of two streams has no common scores for; use another "
                "loss or skip_pairs=None."
            )
        return super()._schemes(bound, module, data, seed)

    def _new_backend(self, module, autocast):
        kind = StreamsBackend if len(module.towers) > 1 else ModuleBackend
        return kind(module, autocast, width=self.n_features_in_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.mix_ratio
        tags.classifier_tags.multi_label = not self.mix_ratio
        return tags
