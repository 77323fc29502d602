"""The TabM classifier."""

from numbers import Real

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skimb._base import members
from skimb._base.head import Head
from skimb._core.compat import with_callbacks
from skimb.engine.mixing import Mixer
from skimb.engine.schemes import Scheme
from skimb.losses import Loss
from skimb.neural_network._mlp import MLPClassifier
from skimb.neural_network._tabm_base import SHARED_CONSTRAINTS, TabMBase

_OF_HEADS = ("class_weight", "prior", "class_counts", "sampler", "mix", "deferred_reweighting")


class TabMClassifier(ClassifierMixin, TabMBase):
    r"""Ensembles of small nets that share weights, for raw tables and rare classes: TabM.

    Takes data frames as they are: numbers, missing values, booleans, categories and texts. Numbers are scaled and
    embedded, categories have learned embeddings, missing and unseen values are handled. Each of `validation_folds`
    ensembles of `n_members` nets stops on a validation part of its own, and ``predict_proba`` is the mean of the
    members' honest probabilities. Any loss of :mod:`skimb.losses` that does not perturb rows trains it: the loss
    of an ensemble is the mean of its members' losses, also of losses that couple the rows of a batch.

    Parameters
    ----------
    n_members : int, default=8
        Nets of an ensemble.
    width : int, default=64
        Units of a hidden layer.
    n_blocks : int, default=2
        Hidden layers, with ReLU.
    ensemble : {"mini", "full", "packed"}, default="mini"
        What the members share: everything but one scale of each column and the output layer; layers with scales of
        their own before and after each product; or nothing.
    embedding : {"piecewise_linear", "periodic"} or None, default="piecewise_linear"
        Embedding of numbers: a line plus a learned step function with linear pieces between quantiles; a layer on
        sines and cosines of learned frequencies; or the scaled number as it is.
    d_embedding : int, default=16
        Numbers that a column becomes; also of categories.
    n_bins : int, default=48
        Most bins of a column.
    scaling : {"quantile", "squash"}, default="quantile"
        Scale of numbers: quantiles to those of a normal distribution, or
        :class:`~skimb.preprocessing.SquashingScaler`.
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        Which columns are categories: those whose type says so (categories, texts, booleans, objects that are not
        all numbers), none, or a mask, positions or names.
    dropout : float in [0, 1), default=0.0
        Share of hidden units that are dropped in training.
    loss : Loss, default=None
        A loss of :mod:`skimb.losses`; ``None`` is cross-entropy.
    class_weight : "balanced", "effective", dict or None, default=None
        Weights of classes, as in :class:`MLPClassifier`.
    prior : array-like, dict or None, default=None
        Class distribution that ``predict_proba`` refers to; ``None`` means the training rows' own.
    class_counts : array-like, dict or None, default=None
        Rows per class before resampling, for losses that read counts.
    sampler : ClassPowerSampler or None, default=None
        Draws batches by class; its shift is undone in ``predict_proba``.
    mix : Mixup, BalancedMixup, Remix, UniMix or None, default=None
        Mixes embedded rows and their labels; its shift is undone in ``predict_proba``.
    scheme : Scheme or None, default=None
        What training does beyond the loss of a batch, of one's own: those of :mod:`skimb.training` differentiate
        the net, ask it about all rows or read columns, and are refused.
    deferred_reweighting : float in [0, 1] or None, default=None
        Share of `max_iter` after which class weights set in.
    alpha : float in [0, inf), default=0.0003
        Decoupled weight decay; intercepts and the lines of embeddings are free.
    learning_rate_init : float in (0, inf), default=0.006
        Learning rate of AdamW.
    clip_norm : float in (0, inf) or None, default=1.0
        Length that the gradient of an ensemble may have.
    batch_size : int or "auto", default="auto"
        Rows per update. 'auto' goes by the rows of a training part: 128 below 6,400, then 256 below 32,000, 512
        below 108,000, else 1,024; and 1,024 for losses that couple rows.
    max_iter : int in [1, inf), default=500
        Most epochs.
    n_iter_no_change : int or numpy.inf, default=6
        Epochs without a better validation score that are borne. Where the log loss, which scores by default, has
        come below a quarter of what a constant has, they must gain 0.003 of that, in one epoch or in all together.
    validation_folds : int in [0, inf), default=5
        Ensembles, each of which stops on another part of the rows and trains on all others, so that every row
        trains and every row validates. 1 is one ensemble with one part; 0 trains one ensemble for `max_iter` epochs
        on all rows.
    validation_fraction : float in (0, 1), default=0.2
        Share of the one part of ``validation_folds=1``: a half, a third, a fourth and so on, whichever is nearest.
    validation_scoring : str, callable or None, default=None
        Scorer of early stopping; ``None`` is the log loss of the mean
        probabilities after the shrinkage that suits these rows, or the loss itself where it gives none.
    shuffle : bool, default=True
        Whether rows are permuted in each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the fitted ensembles, whose columns, scales, bins and shape stay. With an
        integer `random_state` and the same rows each keeps its validation part.
    random_state : int, RandomState or None, default=None
        Seed of parts, initial weights and permutations.
    verbose : bool or int, default=False
        Whether to print each epoch.
    device : {"cpu", "cuda", "cuda:<number>", "auto"}, default="cpu"
        Where to train. Fitted models live on the CPU.
    mixed_precision : bool, default=False
        Whether to train with products in bfloat16 on CUDA; without effect on the CPU.
    callbacks : list of skorch callbacks or None, default=None
        Further callbacks, or pairs (name, callback); each ensemble gets copies. For scikit-learn's use
        ``set_callbacks``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; label indices for multi-label targets.
    shrinkage_ : float in [0, 1]
        How much of the evidence is left out: log odds against the label distribution are multiplied by one less
        this number. 0 is none, 1 is constant probabilities. It gives held-out rows the least log loss, and is
        greater where the gain over constant probabilities may be noise.
    validation_log_loss_, prior_log_loss_ : float or None
        Log loss of held-out rows, each by the ensemble that did not see it; and that of constant probabilities,
        which is never lower. None without validation rows or where the loss gives no probabilities.
    validation_gain_error_ : float or None
        Standard error of their difference. Where that is less than some two standard errors the columns may say
        nothing.
    loss_function_ : Loss
        The loss that was trained.
    prior_, class_counts_, class_weight_ : ndarray
        As in :class:`MLPClassifier`.
    n_iter_ : int
        Most epochs of an ensemble.
    best_iterations_ : list of int
        Epoch of each ensemble whose weights predict.
    validation_scores_ : list of list of float
        Validation score of each ensemble per epoch.
    history_ : list of list of dict
        skorch's history of each ensemble.
    n_outputs_ : int
        Outputs of a member.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Notes
    -----
    Each validation part holds classes in proportion, and a row that is the only one of its class always trains. At
    most as many parts are made as there are other rows outside of the most common class. With fewer than two none
    are set aside: a warning says so, and one ensemble trains `n_iter_no_change` epochs.

    ``decision_function`` and ``predict`` average the decision that the loss aims at: each member's decision scores
    become probabilities, by the sigmoid or softmax, whose mean decides. For cross-entropy these are the
    probabilities of ``predict_proba``; for a loss that decides for balanced classes they are those under balanced
    classes. Means of probabilities weigh members equally, means of scores would follow the most certain one. The
    decision of the best balanced accuracy is ``LogitAdjuster(TabMClassifier(), tau=1.0)``, that of least cost
    :class:`~skimb.posthoc.CostRuleClassifier`; both rest on ``predict_proba``.

    Held-out rows choose the epoch and then `shrinkage_`. Where their mean gain g in log loss over constant
    probabilities has standard error s, the evidence is cut by the further factor :math:`1-e^{-g^2/2s^2}`, one less
    the likelihood of no gain beside that of the gain found.

    A loss that remembers earlier batches has one memory for each ensemble, to which all its members add; such
    ensembles are trained one after another, as are those with `mix` or `scheme`. Mixtures are of embedded rows,
    which for steps between quantiles, categories and ``embedding=None`` are mixtures of encoded rows; all members
    see the same ones.

    With `mixed_precision` the first layer, hidden layers and heads multiply bfloat16 copies of their weights, made
    anew in each step; embeddings, the intercepts of scores, the loss, gradients of parameters, moments and weights
    stay float32, as do validation scores, and populations train as without. It was never run on a GPU: on the CPU
    the gradients of that step were compared with those in float64.

    Deviations from the paper: 8 members of 64 units in place of 32 of 512; no dropout; the first scales of
    ``ensemble="full"`` are one per column, as those of "mini", not one per number of its embedding; folds.

    References
    ----------
    Gorishniy, Kotelnikov, Babenko 2024, arXiv:2410.24210. Gorishniy, Rubachev, Babenko 2022, arXiv:2203.05556.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import TabMClassifier
    >>> X, y = make_classification(300, 4, n_redundant=0, weights=[0.9], random_state=0)
    >>> table = pd.DataFrame(X, columns=list("abcd"))
    >>> table["e"] = pd.cut(table["a"], 3, labels=["low", "middle", "high"])
    >>> table.loc[::10, "b"] = None
    >>> model = TabMClassifier(n_members=4, width=16, max_iter=20, validation_folds=2, random_state=0)
    >>> model.fit(table, y).predict_proba(table.head(2)).shape
    (2, 2)
    """

    _undoes_class_weight = True  # predict_proba answers for the population as it is

    _parameter_constraints = {
        **SHARED_CONSTRAINTS,
        "loss": [Loss, None],
        "class_weight": [StrOptions({"balanced", "effective"}), dict, None],
        "prior": ["array-like", dict, None],
        "class_counts": ["array-like", dict, None],
        "sampler": [HasMethods(["class_probabilities"]), None],
        "mix": [Mixer, None],
        "scheme": [Scheme, None],
        "deferred_reweighting": [Interval(Real, 0, 1, closed="both"), None],
    }

    def __init__(
        self,
        n_members=8,
        width=64,
        n_blocks=2,
        *,
        ensemble="mini",
        embedding="piecewise_linear",
        d_embedding=16,
        n_bins=48,
        scaling="quantile",
        categorical_features="from_dtype",
        dropout=0.0,
        loss=None,
        class_weight=None,
        prior=None,
        class_counts=None,
        sampler=None,
        mix=None,
        scheme=None,
        deferred_reweighting=None,
        alpha=3e-4,
        learning_rate_init=6e-3,
        clip_norm=1.0,
        batch_size="auto",
        max_iter=500,
        n_iter_no_change=6,
        validation_folds=5,
        validation_fraction=0.2,
        validation_scoring=None,
        shuffle=True,
        warm_start=False,
        random_state=None,
        verbose=False,
        device="cpu",
        mixed_precision=False,
        callbacks=None,
    ):
        self.n_members = n_members
        self.width = width
        self.n_blocks = n_blocks
        self.ensemble = ensemble
        self.embedding = embedding
        self.d_embedding = d_embedding
        self.n_bins = n_bins
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.dropout = dropout
        self.loss = loss
        self.class_weight = class_weight
        self.prior = prior
        self.class_counts = class_counts
        self.sampler = sampler
        self.mix = mix
        self.scheme = scheme
        self.deferred_reweighting = deferred_reweighting
        self.alpha = alpha
        self.learning_rate_init = learning_rate_init
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.validation_folds = validation_folds
        self.validation_fraction = validation_fraction
        self.validation_scoring = validation_scoring
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
        self.mixed_precision = mixed_precision
        self.callbacks = callbacks

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, cost=None):
        """Fit to the rows of a table.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows: numbers, missing values, booleans, categories and texts.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.
        cost : array-like of shape (n_samples, n_classes), default=None
            Costs of rows, as in :meth:`MLPClassifier.fit`.

        Returns
        -------
        TabMClassifier
            Itself.
        """
        return self._fit(X, y, sample_weight, cost)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None, cost=None):
        """Train every ensemble for one epoch on these rows.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        classes : array-like, default=None
            All classes; needed in the first call if `y` lacks some.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        cost : array-like of shape (n_samples, n_classes), default=None
            Costs of rows, as in :meth:`fit`.

        Returns
        -------
        TabMClassifier
            Itself.

        Notes
        -----
        After ``fit`` all its ensembles go on. A first call makes one ensemble, and its rows fix what the columns
        are: categories, scales and bins, so that it should have some hundred of them. No rows are held out:
        ``shrinkage_`` and the ranking of members stay those of ``fit``. Counts of classes add up, and the
        optimiser's moments are kept from one call to the next.
        """
        return self._fit(X, y, sample_weight, cost, incremental=True, classes=classes)

    def _new_head(self):
        return Head(type(self).__name__)

    def _after_folds(self, held_out):
        self._kept, self.validation_log_loss_, self.prior_log_loss_ = 1.0, None, None
        self.validation_gain_error_ = None
        if held_out and all(fold._head.gives_probabilities for fold, *_ in held_out):
            p = np.concatenate([members.posteriors(f._head, raw).mean(0) for f, raw, _ in held_out])
            code = np.concatenate([rows.code for *_, rows in held_out])
            weights = [rows.sample_weight for *_, rows in held_out]
            weight = None if weights[0] is None else np.concatenate(weights)
            kept, *_, self.prior_log_loss_ = members.evidence_to_keep(p, self._head, code, weight)
            found = members.credible_evidence(p, self._head, code, kept, weight)
            self._kept, self.validation_log_loss_, self.validation_gain_error_ = found
        self.shrinkage_ = 1.0 - self._kept

    # --- predictions -----------------------------------------------------------------------------

    def decision_function(self, X):
        """Scores whose argmax is ``predict``.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log odds of the second class for two classes (positive means predicted), one score per class or label
            otherwise.
        """
        outputs = self._outputs(X)
        head, moved = self._head, 0.0
        mean = np.concatenate([members.votes(fold._head, raw) for fold, raw in outputs]).mean(0)
        scores = members.decision_of(mean, head.multilabel)
        if self._kept < 1.0:  # decisions move as the log odds of probabilities do
            p = self._posteriors(outputs).mean(0)
            after, before = (
                _log_odds(q, head) for q in (members.shrunk(p, head.wanted, self._kept), p)
            )
            moved = after - before
        return scores + moved

    def predict(self, X):
        """Classes, by the decision the loss aims at.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        """
        scores = self.decision_function(X)
        return self._head.labels(scores)

    def predict_proba(self, X):
        """Class probabilities in the population the estimator was trained on: the mean over all members.

        The loss of each member is inverted in closed form before anything is averaged; class weights and weighted
        sampling are undone; ``prior`` moves the result to another label distribution. Losses with ``calibrated``
        False give uncorrected scores.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities, float64.
        """
        mean = self._posteriors(self._outputs(X)).mean(0)
        return members.shrunk(mean, self._head.wanted, self._kept)

    def predict_proba_std(self, X):
        """How far the members' probabilities lie apart: their standard deviation.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Standard deviations over all members of all ensembles.
        """
        each = self._posteriors(self._outputs(X))
        return members.shrunk(each, self._head.wanted, self._kept).std(0)

    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Log probabilities.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _posteriors(self, outputs):
        """Probabilities of every member, (all members, n, n_classes)."""
        return np.concatenate([members.posteriors(fold._head, raw) for fold, raw in outputs])

    def _plain_net(self, fold, coef, intercept):
        own = {name: getattr(fold, name) for name in _OF_HEADS}
        return MLPClassifier(loss=fold._head.loss, **own), fold._head, coef, intercept

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _log_odds(p, head):
    """Scores of probabilities, of the shape of decision scores."""
    one = p[:, 1] if not head.multilabel and p.shape[1] == 2 else p
    return members.decision_of(one, head.multilabel)
