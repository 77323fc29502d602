"""What neural classifiers share: fit, partial_fit, decisions and probabilities."""

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils.metaestimators import available_if

from skimb._base.estimator import NeuralBase, stochastic
from skimb._base.head import Head
from skimb._core.compat import with_callbacks
from skimb.engine.mixing import Mixing
from skimb.losses._base import check_served


class NeuralClassifier(ClassifierMixin, NeuralBase):
    """Base of the classifiers: binary, multi-class and multi-label."""

    _undoes_class_weight = True  # predict_proba answers for the population as it is

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, cost=None):
        """Fit to labelled rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows; sparse input is never made dense as a whole.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row, an integer repeats it.
        cost : array-like of shape (n_samples, n_classes), default=None
            With ``loss=ExpectedCost()``, the cost of deciding for each class in each row, in place of
            the loss's own matrix; for two classes also four columns: the costs of a false positive, a
            false negative, a true positive and a true negative.

        Returns
        -------
        NeuralClassifier
            Itself.
        """
        return self._fit(X, y, sample_weight, cost=cost)

    @available_if(stochastic)
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None, cost=None):
        """Train one epoch on these rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
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
        NeuralClassifier
            Itself.

        Notes
        -----
        Training that goes on, here or by ``fit`` with ``warm_start``, keeps the classes, the layers or the
        module, and the floating type; this method also keeps the counts of rows, the memory of the loss,
        the optimiser's moments and the learning rate it had reached, unless another `solver` is set. All
        other parameters are read anew. Predictions, copies and pickles rest on what was fitted, whatever is
        set later.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes, cost=cost)

    # --- training ----------------------------------------------------------------------------

    def _new_head(self):
        return Head(type(self).__name__)

    def _validation_floor(self, valid):
        head = self._head
        if self.validation_scoring is not None or head.multilabel or not head.gives_probabilities:
            return super()._validation_floor(valid)
        return head.constant_score(valid.code, valid.sample_weight)

    def _check_solver_params(self):
        if not self._full_batch():
            return
        for name in ("sampler", "mix", "deferred_reweighting"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"solver='lbfgs' sees all rows at once, so {name}={getattr(self, name)!r} has "
                    "nothing to act on; use a stochastic solver or class_weight."
                )

    def _schemes(self, bound, module, data, seed):
        parts = super()._schemes(bound, module, data, seed)
        if getattr(self, "mix", None) is None:
            return parts
        wrong = None
        if self._head.multilabel:
            wrong = "mixes exclusive classes; multi-label y has none. Use mix=None"
        elif data.sparse:
            wrong = "would make sparse X dense. Reduce it first, for instance by TruncatedSVD"
        if wrong is not None:
            raise ValueError(f"mix={self.mix!r} {wrong}.")
        consumer = f"mix={self.mix!r}"
        check_served(bound, frozenset({"every class"}), consumer, "use a loss of single rows")
        return [Mixing(self.mix, data, self._head.seen.counts, seed), *parts]

    # --- predictions -------------------------------------------------------------------------

    def _tensor_logits(self, rows):
        """Scores of a tensor of rows on the net's device, with their gradient history."""
        raw = self.net_.module_(rows)
        return self._head.logits(raw[0] if isinstance(raw, tuple) else raw)

    def decision_function(self, X):
        """Scores whose argmax is ``predict``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Score of the second class for two classes (positive means predicted), one score per
            class or label otherwise.
        """
        logits = self._logits(self._check_X(X))
        return self._head.decision(logits)

    def predict(self, X):
        """Classes, by the decision the loss aims at.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        """
        scores = self.decision_function(X)
        return self._head.labels(scores)

    def predict_proba(self, X):
        """Class probabilities in the population the estimator was trained on.

        The loss is inverted in closed form; class weights and weighted sampling are undone; ``prior``
        moves the result to another label distribution. Losses with ``calibrated`` False give
        uncorrected scores.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities, float64.
        """
        logits = self._logits(self._check_X(X))
        return self._head.posterior(logits)

    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Log probabilities.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
