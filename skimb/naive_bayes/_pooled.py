"""Gaussian naive Bayes whose classes share their variances."""

from numbers import Real

import numpy as np
from scipy import sparse
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.validation import plain_labels, rows_with_weight


class PooledGaussianNB(ClassifierMixin, BaseEstimator):
    r"""Gaussian naive Bayes with one variance per feature for all classes: diagonal discriminant analysis.

    .. math:: s_k(x)=\log\pi_k-\tfrac12\sum_j\frac{(x_j-\mu_{kj})^2}{\sigma_j^2},\qquad
        \sigma_j^2=\sum_k\pi_k\,\mathrm{var}_{kj}

    A rare class brings its means and borrows the variances, so that a handful of rows will do.

    Parameters
    ----------
    priors : array-like of shape (n_classes,), "uniform" or None, default=None
        Class probabilities; None takes the frequencies. "uniform" makes ``predict`` the balanced decision.
    var_smoothing : float in [0, inf), default=1e-9
        Share of the largest variance of all features that is added to each.
    shrink_to_pooled : float in [0, 1], default=1.0
        How far each class's variances go to the common ones; 0 is scikit-learn's ``GaussianNB``. Below 1 scores are
        quadratic and there is no ``coef_``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    class_count_ : ndarray of shape (n_classes,)
        Weight of the rows of each class.
    class_prior_ : ndarray of shape (n_classes,)
        Class probabilities.
    theta_ : ndarray of shape (n_classes, n_features)
        Means.
    var_ : ndarray of shape (n_classes, n_features)
        Variances as used.
    pooled_var_ : ndarray of shape (n_features,)
        Common variances.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights of the linear scores, for two classes their difference.
    intercept_ : ndarray of shape (n_classes,) or (1,)
        Constants.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If `priors` do not fit the classes.

    Notes
    -----
    Generative heads need O(log d) rows where logistic regression needs O(d), if features are independent within
    classes. Where they are not, ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`` is the better
    generative head, and with some ten rare rows logistic regression mostly wins. Correlated features make
    probabilities overconfident: calibrate. The released code adds an absolute 1e-9 to variances; this adds a share
    of the largest, as scikit-learn does.

    References
    ----------
    Zheng et al. 2023, arXiv:2302.02334.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skimb.naive_bayes import PooledGaussianNB
    >>> X, y = load_iris(return_X_y=True)
    >>> model = PooledGaussianNB().fit(X, y)
    >>> model.coef_.shape, round(model.score(X, y), 3)
    ((3, 4), 0.96)
    """

    _parameter_constraints = {
        "priors": ["array-like", StrOptions({"uniform"}), None],
        "var_smoothing": [Interval(Real, 0, None, closed="left")],
        "shrink_to_pooled": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, *, priors=None, var_smoothing=1e-9, shrink_to_pooled=1.0):
        self.priors = priors
        self.var_smoothing = var_smoothing
        self.shrink_to_pooled = shrink_to_pooled

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
        PooledGaussianNB
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
        PooledGaussianNB
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
        X, y = validate_data(
            self, X, plain_labels(y), accept_sparse="csr", dtype=np.float64, reset=first
        )
        check_classification_targets(y)
        X, y, w = rows_with_weight(X, y, sample_weight)
        if first:
            self.classes_ = np.unique(y if classes is None else plain_labels(classes, "classes"))
            shape = (len(self.classes_), X.shape[1])
            self.class_count_, self.theta_ = np.zeros(shape[0]), np.zeros(shape)
            self._deviations = np.zeros(shape)  # weighted sums of squares about the means
            # what was fitted, and what partial_fit goes on with, whatever is set later
            self._given = self.priors, self.var_smoothing, self.shrink_to_pooled
        stray = np.setdiff1d(y, self.classes_)
        if len(stray):
            raise ValueError(
                f"y holds labels {stray.tolist()} that are not among {self.classes_.tolist()}."
            )
        for k, label in enumerate(self.classes_.tolist()):
            own = y == label
            if own.any():
                self._add(k, X[own], w[own])
        self._update()
        return self

    def _add(self, k, X, w):
        """Merge rows of a class into its count, means and deviations."""
        n, before = w.sum(), self.class_count_[k]
        mean = np.asarray(X.T @ w).ravel() / n
        if sparse.issparse(X):
            far = np.asarray(X.multiply(X).T @ w).ravel() - n * mean**2
        else:
            far = w @ (X - mean) ** 2
        total = before + n
        gap = mean - self.theta_[k]
        self._deviations[k] += np.maximum(far, 0.0) + before * n / total * gap**2
        self.theta_[k] += gap * n / total
        self.class_count_[k] = total

    def _update(self):
        count = self.class_count_
        shares = count / count.sum()
        priors, var_smoothing, t = self._given
        if priors is None:
            self.class_prior_ = shares
        elif isinstance(priors, str):
            self.class_prior_ = np.full(len(count), 1.0 / len(count))
        else:
            given = np.asarray(priors, float)
            if given.shape != count.shape or (given < 0).any() or abs(given.sum() - 1.0) > 1e-8:
                raise ValueError(
                    f"priors={priors!r} must hold one non-negative number per class of "
                    f"{self.classes_.tolist()}, together 1."
                )
            self.class_prior_ = given.copy()
        own = self._deviations / np.maximum(count, np.finfo(float).tiny)[:, None]
        pooled = self._deviations.sum(0) / count.sum()
        centre = shares @ self.theta_
        overall = pooled + shares @ (self.theta_ - centre) ** 2
        extra = var_smoothing * overall.max()
        self.pooled_var_ = pooled + extra
        if (self.pooled_var_ <= 0).any():
            self.pooled_var_ = np.maximum(self.pooled_var_, np.finfo(float).tiny)
        self.var_ = t * self.pooled_var_ + (1.0 - t) * (own + extra)
        if (self.var_ <= 0).any():
            raise ValueError(
                "A feature is constant in a class; raise var_smoothing or shrink_to_pooled, or drop it."
            )
        for name in ("coef_", "intercept_"):
            self.__dict__.pop(name, None)
        if t == 1.0:
            coef = self.theta_ / self.pooled_var_
            with np.errstate(divide="ignore"):
                intercept = np.log(self.class_prior_) - 0.5 * (self.theta_ * coef).sum(1)
            two = len(count) == 2
            self.coef_ = coef[1:] - coef[:1] if two else coef
            self.intercept_ = intercept[1:] - intercept[:1] if two else intercept

    def _scores(self, X):
        """Log joint densities up to a term that is the same for all classes, (n, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        # from the middle of the means, so that large offsets of features cancel
        middle = self.theta_.mean(0)
        means, precision = self.theta_ - middle, 1.0 / self.var_
        if sparse.issparse(X):
            linear = np.asarray(X @ (means * precision).T) - (means * precision) @ middle
        else:
            linear = (X - middle) @ (means * precision).T
        with np.errstate(divide="ignore"):
            scores = linear - 0.5 * (means**2 * precision).sum(1) + np.log(self.class_prior_)
        if self._given[2] < 1.0:
            scores = scores - 0.5 * np.log(self.var_).sum(1)
            if sparse.issparse(X):
                square = np.asarray(X.multiply(X) @ precision.T) - 2.0 * np.asarray(
                    X @ (middle * precision).T
                )
                square = square + precision @ middle**2
            else:
                square = (X - middle) ** 2 @ precision.T
            scores = scores - 0.5 * square
        return scores

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
