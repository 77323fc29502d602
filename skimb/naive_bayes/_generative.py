"""What classifiers share that add up statistics of each class and compare densities."""

from abc import abstractmethod

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.priors import class_prior
from skimb._core.validation import plain_labels, rows_with_weight


class GenerativeClassifier(ClassifierMixin, BaseEstimator):
    """Base: a density for each class out of sums over its rows, so that rows may come in chunks."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit to labelled rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer repeats a row.

        Returns
        -------
        object
            Itself.
        """
        return self._learn(X, y, None, sample_weight, first=True)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Learn further rows: the result is that of all rows so far, with the parameters of the first call.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like, default=None
            All labels there will be; needed by the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        object
            Itself.
        """
        first = not hasattr(self, "class_count_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if (
            not first
            and classes is not None
            and not np.array_equal(np.unique(classes), self.classes_)
        ):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        return self._learn(X, y, classes, sample_weight, first)

    def _learn(self, X, y, classes, sample_weight, first):
        X, y = self._checked_rows(X, plain_labels(y), first=first)
        check_classification_targets(y)
        X, y, w = rows_with_weight(X, y, sample_weight)
        if first:
            self.classes_ = np.unique(y if classes is None else plain_labels(classes, "classes"))
            self.class_count_ = np.zeros(len(self.classes_))
            # what was fitted, and what partial_fit goes on with, whatever is set later
            self._given = self.get_params(deep=False)
            self._begin(len(self.classes_), X.shape[1])
        stray = np.setdiff1d(y, self.classes_)
        if len(stray):
            raise ValueError(
                f"y holds labels {stray.tolist()} that are not among {self.classes_.tolist()}."
            )
        for k, label in enumerate(self.classes_.tolist()):
            own = y == label
            if own.any():
                self._add(k, X[own], w[own])
                self.class_count_[k] += w[own].sum()
        shares = self.class_count_ / self.class_count_.sum()
        self.class_prior_ = class_prior(self._given["priors"], shares, self.classes_)
        self._update(shares)
        return self

    def _checked_rows(self, X, *y, first=False):
        """Validated rows, with labels in training."""
        return validate_data(self, X, *y, accept_sparse="csr", dtype=np.float64, reset=first)

    @abstractmethod
    def _begin(self, n_classes, n_features):
        """Sums without a row."""

    @abstractmethod
    def _add(self, k, X, w):
        """Add rows of a class, whose count is still that before them."""

    @abstractmethod
    def _update(self, shares):
        """Parameters of the densities from the sums."""

    @abstractmethod
    def _joint(self, X):
        """Log joint densities of checked rows, up to a term that is the same for all classes, (n, K)."""

    def _scores(self, X):
        check_is_fitted(self)
        return self._joint(self._checked_rows(X))

    def decision_function(self, X):
        """Log joint densities up to a term that all classes share.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or, for two classes, (n_samples,)
            Scores; for two the log odds of the second.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X):
        """The most probable class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        best = self._scores(X).argmax(1)
        return self.classes_[best]

    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log probabilities.
        """
        scores = self._scores(X)
        return scores - logsumexp(scores, axis=1, keepdims=True)

    def predict_proba(self, X):
        """Class probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities under `priors`.
        """
        return np.exp(self.predict_log_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
