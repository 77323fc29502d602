"""The TabM classifier."""

from numbers import Real

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skimb._base import members
from skimb._base.head import Head
from skimb._core.compat import with_callbacks
from skimb.losses import Loss
from skimb.neural_network._tabm_base import SHARED_CONSTRAINTS, TabMBase


class TabMClassifier(ClassifierMixin, TabMBase):
    _undoes_class_weight = True  # predict_proba answers for the population as it is

    _parameter_constraints = {
        **SHARED_CONSTRAINTS,
        "loss": [Loss, None],
        "class_weight": [StrOptions({"balanced", "effective"}), dict, None],
        "prior": ["array-like", dict, None],
        "class_counts": ["array-like", dict, None],
        "sampler": [HasMethods(["class_probabilities"]), None],
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
        deferred_reweighting=None,
        alpha=3e-4,
        learning_rate_init=2e-3,
        clip_norm=1.0,
        batch_size="auto",
        max_iter=500,
        n_iter_no_change=16,
        validation_folds=5,
        validation_fraction=0.2,
        validation_scoring=None,
        shuffle=True,
        random_state=None,
        verbose=False,
        device="cpu",
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
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
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

    def _new_head(self):
        return Head(type(self).__name__)

    def _after_folds(self, held_out):
        head = self._head
        self._kept, self.validation_log_loss_, self.prior_log_loss_ = 1.0, None, None
        if held_out and all(fold._head.gives_probabilities for fold, *_ in held_out):
            p = np.concatenate([members.posteriors(f._head, raw).mean(0) for f, raw, _ in held_out])
            code = np.concatenate([rows.code for *_, rows in held_out])
            weight = self._held_out_weights(code, held_out)
            rows = members.log_losses(p, code)
            constant = np.broadcast_to(
                head.wanted[:, 1] if head.multilabel else head.wanted, p.shape
            )
            self.prior_log_loss_ = float(
                np.average(members.log_losses(constant, code), weights=weight)
            )
            self.validation_log_loss_ = float(np.average(rows, weights=weight))
            if self.validation_log_loss_ > self.prior_log_loss_:
                self._kept = members.evidence_to_keep(p, head.wanted, code, weight)
        self.shrinkage_ = 1.0 - self._kept

    def _held_out_weights(self, code, held_out):
        """Weights with which held-out rows stand for the population that probabilities refer to."""
        head, weights = self._head, [rows.sample_weight for *_, rows in held_out]
        weight = None if weights[0] is None else np.concatenate(weights)
        if head.multilabel or np.allclose(head.wanted, head.natural):
            return weight
        moved = (head.wanted / head.natural.clip(1e-300))[code]
        return moved if weight is None else moved * weight

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
        head, moved = self._head, 0.0
        outputs = list(self._outputs(X))
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _log_odds(p, head):
    """Scores of probabilities, of the shape of decision scores."""
    one = p[:, 1] if not head.multilabel and p.shape[1] == 2 else p
    return members.decision_of(one, head.multilabel)
