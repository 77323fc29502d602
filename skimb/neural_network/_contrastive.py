"""The classifier on embeddings that were trained by contrasts between rows, classes and subclasses."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._base.chain import CLASSIFIER_CONSTRAINTS, LINEAR_FTOL, SHARED_CONSTRAINTS
from skimb._base.classifier import NeuralClassifier
from skimb._base.outputs import module_outputs
from skimb._core.warn import warn_user
from skimb.engine.columns import AUGMENTATIONS, Columns, Views, group_numbers
from skimb.engine.contrast import CONTRASTS, Contrast, ContrastSettings
from skimb.engine.data import TrainingData
from skimb.engine.fullbatch import SERVES, FullBatch
from skimb.engine.metric_mixing import MetricMixing, MetricMixup
from skimb.engine.module import ModuleBackend
from skimb.engine.optim import Adam
from skimb.engine.runtime import Draws
from skimb.engine.step import Step
from skimb.losses import LogitAdjusted, Loss, SupervisedContrastive
from skimb.losses._base import check_served
from skimb.nets import MLP
from skimb.nets.embedding import EmbeddingNet
from skimb.nets.mlp import ACTIVATIONS

_AUTO_BATCH = 256
_OUTPUT_ITERATIONS = 1000


class SubclassContrastiveClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, NeuralClassifier
):
    r"""Linear classifier on embeddings trained by contrasts, with common classes split into subclasses.

    First an encoder is trained so that views of rows lie near those of their mates and far from others
    (``contrast``). Then it is frozen, and a linear classifier is fitted to its embeddings, which :meth:`transform`
    gives. "subclass" is subclass-balancing contrastive learning: every few epochs each class is split into
    :math:`m_k=\max(1,\lfloor n_k/\max(\min_jn_j,\delta)\rfloor)` clusters of one size, so that all groups are
    about as large as the rarest class, and the loss is :math:`\frac{T}{0.07}L_1+\gamma L_2`: rows stand near those
    of their subclass, and subclasses of a class nearer to each other than to other classes
    (:func:`skimb.functional.subclass_contrastive`).

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(128, 128)
        Units of the encoder's hidden layers; the last one is the embedding.
    projection_dim : int in [2, inf), default=64
        Outputs of the projection on which the contrasts are made; it is dropped afterwards.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    contrast : {"subclass", "supervised", "balanced"}, default="subclass"
        "supervised" contrasts classes (:func:`skimb.functional.supervised_contrastive`), "balanced" gives each
        class the same part of the denominator (:func:`skimb.functional.balanced_contrastive`).
    temperature : float in (0, inf), default=0.1
        Temperature T.
    class_contrast : float in [0, inf), default=0.25
        Weight :math:`\gamma` of the contrast between the subclasses of a class.
    min_subclass_size : int in [1, inf), default=10
        Fewest rows :math:`\delta` that a subclass is made for.
    warmup_epochs : int in [0, inf), default=10
        Epochs of "subclass" that contrast classes before they are split.
    recluster_every : int in [1, inf), default=10
        Epochs between two splits.
    balanced_clusters : bool, default=True
        Whether the subclasses of a class have a common size, or are those of plain k-means on directions.
    n_views : int in [1, inf), default=2
        Views of each row of a batch.
    augmentation : {"corruption", "dropout", "noise"}, default="corruption"
        How views are made: columns of a row come from another one, or are set to 0, or get Gaussian noise.
    augmentation_rate : float in [0, 1], default=0.3
        Probability of a column to change; the noise's standard deviation in units of the column's.
    feature_groups : list of array-like of int, default=None
        Numbers of columns that belong together, as those of a one-hot encoded category: they change together.
    mix : MetricMixup or None, default=None
        Adds mixtures of rows, hidden layers or embeddings, see :class:`~skimb.training.MetricMixup`.
    loss : Loss, default=None
        Loss of the linear classifier; ``None`` is :class:`~skimb.losses.LogitAdjusted`.
    output_alpha : float in [0, inf), default=1.0
        L2 strength of the linear classifier on standardised embeddings, divided by the total weight.
    alpha : float in [0, inf), default=0.0001
        Weight decay of the encoder's matrices, by AdamW.
    batch_size : int or "auto", default="auto"
        Rows per update of the encoder; 'auto' is ``min(256, n)``. Mates are sought within a batch.
    learning_rate : {"constant", "cosine"}, default="cosine"
        Schedule after each epoch; 'cosine' falls to zero over `max_iter` epochs.
    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate.
    max_iter : int in [1, inf), default=100
        Epochs of the encoder; all of them are trained.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes, in the contrasts and in the linear classifier.
    prior : array-like, dict or None, default=None
        Class distribution that ``predict_proba`` refers to.
    class_counts : array-like, dict or None, default=None
        Rows per class before resampling, for losses that read counts.
    sampler : ClassPowerSampler or None, default=None
        Draws the batches of the encoder by class; the linear classifier sees the rows as they are.
    random_state : int, RandomState or None, default=None
        Seed of weights, batches, views, clusters and mixtures.
    verbose : bool or int, default=False
        Whether to print each epoch.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train the encoder.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks of the encoder's training; predictions wait for its end.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    subclass_labels_ : ndarray of int, shape (n_samples,)
        Last subclass of each training row of positive weight, numbered through all classes; without splits the
        number of the class.
    class_temperatures_ : ndarray of shape (n_classes,)
        Temperature of each class in the contrast between its subclasses.
    net_ : EngineNet
        The trained skorch net.
    history_ : list of dict
        skorch's history of the encoder.
    loss_curve_ : list of float
        Contrastive loss per epoch.
    loss_, best_loss_ : float
        Last and least of these.
    loss_function_ : Loss
        The loss of the linear classifier.
    prior_, class_counts_, class_weight_ : ndarray
        As of :class:`MLPClassifier`.
    n_iter_, t_, n_outputs_ : int
        Epochs, rows seen, outputs of the linear classifier.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If y is multi-label, the loss cannot be fitted on all rows at once, or a class would be split into so many
        subclasses that memory does not suffice.

    Notes
    -----
    Tables have no natural augmentations; corruption by columns of another row is after SCARF, which takes each
    column from a row of its own. Clusters are made from rows without augmentation. The authors fit LDAM or a
    class-balanced linear classifier in the second stage, here any loss may be taken, and probabilities stay honest
    where it gives some. Classes that the batch lacks have no prototypes in "balanced". Rows stay sparse, batches
    become dense. The net is trained alone, within blocks of batched fits too, and does not go on (no
    ``partial_fit``). What to expect of it says :doc:`/guide/contrastive`.

    References
    ----------
    Hou et al. 2023, arXiv:2306.15925; Khosla et al. 2020, arXiv:2004.11362; Zhu et al. 2022, arXiv:2207.09052;
    Bahri et al. 2022, arXiv:2106.15147.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import SubclassContrastiveClassifier
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> model = SubclassContrastiveClassifier((16,), max_iter=15, random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape, model.transform(X[:2]).shape
    ((2, 2), (2, 16))
    """

    _parameter_constraints = {
        **{k: SHARED_CONSTRAINTS[k] for k in (
            "alpha", "batch_size", "learning_rate_init", "max_iter", "random_state", "verbose",
            "device", "callbacks",
        )},
        **{k: CLASSIFIER_CONSTRAINTS[k] for k in (
            "class_weight", "prior", "class_counts", "sampler",
        )},
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "projection_dim": [Interval(Integral, 2, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "contrast": [StrOptions(set(CONTRASTS))],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "class_contrast": [Interval(Real, 0, None, closed="left")],
        "min_subclass_size": [Interval(Integral, 1, None, closed="left")],
        "warmup_epochs": [Interval(Integral, 0, None, closed="left")],
        "recluster_every": [Interval(Integral, 1, None, closed="left")],
        "balanced_clusters": ["boolean"],
        "n_views": [Interval(Integral, 1, None, closed="left")],
        "augmentation": [StrOptions(set(AUGMENTATIONS))],
        "augmentation_rate": [Interval(Real, 0, 1, closed="both")],
        "feature_groups": [list, tuple, None],
        "mix": [MetricMixup, None],
        "loss": [Loss, None],
        "output_alpha": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "cosine"})],
    }  # fmt: skip

    # what the shared fit reads and this one leaves fixed
    solver, scheme, early_stopping, warm_start, shuffle = "adamw", None, False, False, True

    def __init__(
        self,
        hidden_layer_sizes=(128, 128),
        projection_dim=64,
        activation="relu",
        *,
        contrast="subclass",
        temperature=0.1,
        class_contrast=0.25,
        min_subclass_size=10,
        warmup_epochs=10,
        recluster_every=10,
        balanced_clusters=True,
        n_views=2,
        augmentation="corruption",
        augmentation_rate=0.3,
        feature_groups=None,
        mix=None,
        loss=None,
        output_alpha=1.0,
        alpha=0.0001,
        batch_size="auto",
        learning_rate="cosine",
        learning_rate_init=0.001,
        max_iter=100,
        class_weight=None,
        prior=None,
        class_counts=None,
        sampler=None,
        random_state=None,
        verbose=False,
        device="cpu",
        callbacks=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.projection_dim = projection_dim
        self.activation = activation
        self.contrast = contrast
        self.temperature = temperature
        self.class_contrast = class_contrast
        self.min_subclass_size = min_subclass_size
        self.warmup_epochs = warmup_epochs
        self.recluster_every = recluster_every
        self.balanced_clusters = balanced_clusters
        self.n_views = n_views
        self.augmentation = augmentation
        self.augmentation_rate = augmentation_rate
        self.feature_groups = feature_groups
        self.mix = mix
        self.loss = loss
        self.output_alpha = output_alpha
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.prior = prior
        self.class_counts = class_counts
        self.sampler = sampler
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
        self.callbacks = callbacks

    @property
    def partial_fit(self):
        """Not offered: subclasses and the linear classifier take all rows."""
        raise AttributeError(
            "SubclassContrastiveClassifier has no partial_fit: subclasses and the linear classifier need all rows; "
            "use MLPClassifier."
        )

    # --- the shared fit ----------------------------------------------------------------------

    def _validate(self, X, y, sample_weight=None, **kw):
        rows = super()._validate(X, y, sample_weight, **kw)
        if self._head.multilabel:
            raise ValueError(
                f"{type(self).__name__} contrasts exclusive classes; multi-label y has none. Fit one per label "
                "by MultiOutputClassifier."
            )
        self._codes = rows.code
        return rows

    def _head_params(self):
        loss = LogitAdjusted() if self.loss is None else self.loss
        return super()._head_params()._replace(loss=loss, sampler=None, mix=None)

    def _auto_batch(self, n):
        return _AUTO_BATCH

    def _new_module(self, data, bound, rng):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not sizes or any(not isinstance(s, Integral) or s < 1 for s in sizes):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must name the units of one hidden layer or more, "
                "each at least 1."
            )
        self._config = {
            "n_features": self.n_features_in_,
            "hidden": [int(s) for s in sizes],
            "projection_dim": int(self.projection_dim),
            "n_outputs": self.n_outputs_,
            "activation": self.activation,
        }
        with Draws(int(rng.randint(np.iinfo(np.int32).max))):
            return self._empty_module()

    def _empty_module(self):
        dtype = torch.float64 if self._dtype == "float64" else torch.float32
        with torch.random.fork_rng(devices=[]):  # loading draws nothing from the user's generator
            module = EmbeddingNet(**self._config, dtype=dtype)
        return module

    def _schemes(self, bound, module, data, seed):
        name = type(self).__name__
        check_served(bound, SERVES, f"the linear classifier of {name}", "use another loss")
        columns = Columns(group_numbers(self.feature_groups, self.n_features_in_, name))
        generator = torch.Generator().manual_seed(seed)
        views = Views(self.augmentation, self.augmentation_rate, data, columns, generator)
        mixing = None
        if self.mix is not None:
            self.mix._validate_params()
            mixing = MetricMixing(self.mix, columns, seed)
        settings = ContrastSettings(*(getattr(self, key) for key in ContrastSettings._fields))
        classes = self._codes.astype(np.int64)
        names = self.classes_.tolist()
        return [Contrast(settings, module, data, classes, names, views, mixing, seed)]

    def _new_step(self, module, bound, data, order, scheme):
        backend = ModuleBackend(module, width=self.n_features_in_)
        optimizer = Adam(
            backend.parameters,
            lr=self.learning_rate_init,
            l2=0.0,
            decay=self.alpha,
            decayed=backend.decayed,
        )
        contrast = SupervisedContrastive(self.temperature).bind(self._head.class_prior)
        return Step(backend, contrast, optimizer, scheme)

    def _finish(self, fit):
        del self._codes
        super()._finish(fit)

    def _after_training(self, data, sample_weight):
        self._optimizer_state = None  # training does not go on
        state, self._scheme_state = self._scheme_state, None
        self.subclass_labels_ = state["subclasses"].copy()
        self.class_temperatures_ = state["temperatures"].copy()
        self._fit_output(data)
        super()._after_training(data, sample_weight)

    def _fit_output(self, data):
        """Fit the output layer to the embeddings, standardised for the penalty's sake."""
        X = data.X if self._sparse else data.X.detach().cpu().numpy()
        Z, bound = self._embeddings(X), self._head.bound
        weight = None if data.weight is None else data.weight.cpu()
        share = torch.ones(len(Z), dtype=Z.dtype) if weight is None else weight
        share = (share / share.sum())[:, None]
        mean = (share * Z).sum(0)
        spread = (share * (Z - mean) ** 2).sum(0).sqrt()
        spread = torch.where(spread > 1e-6 * (1.0 + mean.abs()), spread, torch.ones_like(spread))
        linear = MLP([Z.shape[1], self.n_outputs_], dtype=Z.dtype)
        l2 = self.output_alpha / self._weight_total
        solver = FullBatch(
            linear, bound, l2=l2, tol=1e-6, ftol=LINEAR_FTOL, warm_loss=self._head.warm_loss()
        )
        target = data.target.each(lambda part: part.cpu())
        solver.run(TrainingData((Z - mean) / spread, target, weight), _OUTPUT_ITERATIONS, None)
        if solver.result.status == 1:
            warn_user(
                f"{type(self).__name__}: the linear classifier did not converge in {_OUTPUT_ITERATIONS} "
                "iterations; raise output_alpha.",
                ConvergenceWarning,
            )
        output = self.net_.module_.output
        weights, biases = (part[0][0] for part in linear.split(linear.flat.detach()))
        with torch.no_grad():
            output.weight.copy_((weights / spread[:, None]).T)
            output.bias.copy_(biases - mean / spread @ weights)

    def _tell(self, net, step, patience, incremental):
        if net.interrupted:
            super()._tell(net, step, patience, incremental)

    # --- outputs -----------------------------------------------------------------------------

    def _embeddings(self, X):
        module = self.net_.module_
        return module_outputs(module, X, self._dtype, module.embed)

    def _raw(self, X):
        module = self.net_.module_
        return module_outputs(
            module, X, self._dtype, lambda rows: module.output(module.embed(rows))
        )

    def _add_to_output(self, shift):
        bias = self.net_.module_.output.bias
        with torch.no_grad():
            bias.add_(torch.from_numpy(np.asarray(shift)).to(bias))
        self._level = self._level + shift

    def transform(self, X):
        """Embed rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            Outputs of the last hidden layer.
        """
        return self._embeddings(self._check_X(X)).numpy()

    @property
    def _n_features_out(self):
        return self._config["hidden"][-1]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
