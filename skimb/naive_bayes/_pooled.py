"""Gaussian naive Bayes whose classes share their variances."""

from numbers import Real

import numpy as np
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.naive_bayes._generative import GenerativeClassifier


class PooledGaussianNB(GenerativeClassifier):
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

    def _begin(self, n_classes, n_features):
        self.theta_ = np.zeros((n_classes, n_features))
        self._deviations = np.zeros((n_classes, n_features))  # weighted sums of squares about means

    def _add(self, k, X, w):
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

    def _update(self, shares):
        count = self.class_count_
        var_smoothing, t = self._given["var_smoothing"], self._given["shrink_to_pooled"]
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

    def _joint(self, X):
        # from the middle of the means, so that large offsets of features cancel
        middle = self.theta_.mean(0)
        means, precision = self.theta_ - middle, 1.0 / self.var_
        if sparse.issparse(X):
            linear = np.asarray(X @ (means * precision).T) - (means * precision) @ middle
        else:
            linear = (X - middle) @ (means * precision).T
        with np.errstate(divide="ignore"):
            scores = linear - 0.5 * (means**2 * precision).sum(1) + np.log(self.class_prior_)
        if self._given["shrink_to_pooled"] < 1.0:
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
