"""Gradient descent on the logistic loss with normalised steps, and batch perceptrons."""

from numbers import Integral, Real

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.compat import compute_class_weight
from skimb._core.priors import checked_class_weight
from skimb._core.validation import plain_labels, rows_with_weight, several_classes
from skimb._core.warn import warn_user


class NormalizedLogisticClassifier(ClassifierMixin, BaseEstimator):
    r"""Linear separation by gradient steps whose length does not depend on how rare a class is.

    .. math:: \theta\leftarrow\theta+\gamma\,\frac{\sum_i w_i s_i\,y_i x_i}{\sum_i w_i s_i},
        \qquad s_i=\sigma(-y_i x_i^\top\theta)

    with :math:`y_i=\pm1`. Plain gradient descent divides by n instead, so that with one rare row in n it takes
    some n times as many steps until all rows are on their side.

    Parameters
    ----------
    step : float in (0, inf), default=10.0
        Step :math:`\gamma`. Large ones separate in fewer steps, moderate ones make better averages.
    variant : {"nlr", "lr", "nbp", "bp"}, default="nlr"
        Normalised or plain gradient descent on the logistic loss; normalised or plain batch perceptron, which
        is what they become for ever larger steps (`step` then has no effect).
    normalize : {"global", "class"}, default="global"
        Whether the sum is normalised over all rows, or over each class, which then count the same ("nlr" only).
    average : bool, default=True
        Whether the mean of all iterates is the result. The last iterate separates the training rows if
        any does, but ranks new ones worse, and goes to and fro for ever where rows overlap.
    max_iter : int in [1, inf), default=1000
        Most steps.
    fit_intercept : bool, default=True
        Whether a constant is appended to the rows; it is a feature like others.
    class_weight : "balanced", dict or None, default=None
        Non-negative weights of classes. Among several classes one of weight 0 is never predicted, as if its
        rows were not there.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights; several classes are told apart one against the rest.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Constants.
    n_iter_ : ndarray of int, shape (1,) or (n_classes,)
        Steps until the rows were separated, or `max_iter`.
    separated_ : ndarray of bool, shape (1,) or (n_classes,)
        Whether they were.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If there is one class only, or class weights are negative or leave only one.

    Notes
    -----
    A teaching object. Separation takes at most :math:`R^2/\mu^2+2\log(2n-1)/(\gamma\mu^2)` steps for rows of
    length up to R and margin :math:`\mu`; on rows that separate it needs a few where gradient descent needs
    hundreds. As a classifier it never beat ``LogisticRegression`` in our runs: use that. Margins grow with the
    step, so there is no ``predict_proba``; ``CalibratedClassifierCV`` makes one.

    References
    ----------
    Tyurin 2024, arXiv:2410.04094.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.linear_model import NormalizedLogisticClassifier
    >>> X, y = np.full((1000, 2), -1.0) * [0.5, 1], np.zeros(1000)
    >>> X[0, 0], y[0] = 0.5, 1  # one row against 999
    >>> for variant in ("nlr", "lr"):
    ...     model = NormalizedLogisticClassifier(100.0, variant=variant, fit_intercept=False)
    ...     print(variant, model.fit(X, y).n_iter_)
    nlr [2]
    lr [308]
    """

    _parameter_constraints = {
        "step": [Interval(Real, 0, None, closed="neither")],
        "variant": [StrOptions({"nlr", "lr", "nbp", "bp"})],
        "normalize": [StrOptions({"global", "class"})],
        "average": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        step=10.0,
        *,
        variant="nlr",
        normalize="global",
        average=True,
        max_iter=1000,
        fit_intercept=True,
        class_weight=None,
    ):
        self.step = step
        self.variant = variant
        self.normalize = normalize
        self.average = average
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Step until the rows are separated.

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
        NormalizedLogisticClassifier
            Itself.
        """
        X, y = validate_data(self, X, plain_labels(y), accept_sparse="csr", dtype=np.float64)
        check_classification_targets(y)
        if self.normalize == "class" and self.variant != "nlr":
            raise ValueError(
                f"normalize='class' is for variant='nlr', got variant={self.variant!r}."
            )
        if self.normalize == "class" and self.class_weight is not None:
            raise ValueError(
                f"normalize='class' leaves class_weight={self.class_weight!r} nothing to do; use one of them."
            )
        X, y, w = rows_with_weight(X, y, sample_weight)
        self.classes_, code = several_classes(self, y)
        if isinstance(self.class_weight, dict):
            given = checked_class_weight(self.class_weight, self.classes_.tolist(), zero=True)
            if np.count_nonzero(given) < 2:
                raise ValueError(
                    f"class_weight={self.class_weight!r} leaves fewer than two classes of "
                    f"{self.classes_.tolist()} any weight."
                )
            used = given[code] > 0
            X, code, w = X[used], code[used], w[used] * given[code[used]]
        elif self.class_weight is not None:
            given = {"classes": self.classes_, "y": y, "sample_weight": w}
            w = w * compute_class_weight(self.class_weight, **given)[code]
        XT = X.T.tocsr() if hasattr(X, "tocsr") else X.T
        positive = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        found = [self._separate(X, XT, np.where(code == k, 1.0, -1.0), w) for k in positive]
        self.coef_ = np.array([theta[:-1] for theta, _, _ in found])
        self.intercept_ = np.array([theta[-1] for theta, _, _ in found])
        self.n_iter_ = np.array([n for _, n, _ in found])
        self.separated_ = np.array([done for _, _, done in found])
        if not self.separated_.all():
            warn_user(
                f"Rows are not separated after max_iter={self.max_iter} steps. If they overlap they never "
                f"are, and the "
                "average of the steps is the result; else raise max_iter or scale the features.",
                ConvergenceWarning,
            )
        return self

    def _separate(self, X, XT, sign, w):
        """Weights with the constant at the end, steps taken, and whether rows are separated."""
        total = w.sum()
        theta, mean = np.zeros(X.shape[1] + 1), np.zeros(X.shape[1] + 1)
        for t in range(self.max_iter + 1):
            margin = sign * (np.asarray(X @ theta[:-1]).ravel() + theta[-1])
            if t > 0 and (margin > 0).all():
                return (mean / t if self.average else theta), t, True
            if t == self.max_iter:
                break
            # stepping from 0 the perceptron takes half of every row
            if self.variant in {"nlr", "lr"}:
                pull = w * expit(-margin)
            else:
                pull = w * (0.5 if t == 0 and self.variant == "bp" else 1.0) * (margin <= 0)
            along = sign * self._scaled(pull, sign, total)
            move = np.append(np.asarray(XT @ along).ravel(), along.sum() * self.fit_intercept)
            theta = theta + (self.step if self.variant in {"nlr", "lr"} else 1.0) * move
            mean += theta
        return (mean / self.max_iter if self.average else theta), self.max_iter, False

    def _scaled(self, pull, sign, total):
        """Pulls of rows with the normalisation that the variant asks for."""
        tiny = np.finfo(float).tiny
        if self.variant in {"lr", "bp"}:
            return pull / total
        if self.normalize == "global":
            return pull / max(pull.sum(), tiny)
        for side in (-1.0, 1.0):
            own = sign == side
            pull[own] *= 0.5 / max(pull[own].sum(), tiny)
        return pull

    def decision_function(self, X):
        """Signed distances, not probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        scores = np.asarray(X @ self.coef_.T) + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X):
        """The class of the largest score.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
