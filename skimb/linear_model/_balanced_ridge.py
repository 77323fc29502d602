"""Linear regression with balanced mean squared error."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import minimize, minimize_scalar
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.validation import rows_with_weight
from skimb._core.warn import warn_user
from skimb.functional import regression as kernel
from skimb.losses import BalancedMSE
from skimb.losses.regression import label_groups

_NEWTON_WIDTH = 200  # most parameters for steps with the whole Hessian
_LEAST = 1e-9  # curvature of a row that Newton steps count with
_ROUNDS = 50  # of weights and noise scale in turn
_BOUNDS = (np.log(1e-3), np.log(1e2))  # of the logarithm of the noise scale
_LEAP = 1.0  # most that it moves at once beyond a turn


class BalancedRidge(RegressorMixin, BaseEstimator):
    r"""Linear regression as if every target value were equally frequent.

    .. math:: \min_{w,b}\ 2\sigma^2\sum_i v_i\left[-\log\frac{N(t_i;f_i,\sigma^2)}
        {\int N(t;f_i,\sigma^2)p(t)\,dt}\right]+\alpha\|w\|^2,\qquad f_i=x_i^\top w+b

    with the training targets' own density p. Where p is flat this is ridge regression with the same `alpha`.
    Features with noise in them bend plain regression towards common values; this undoes it.

    Parameters
    ----------
    loss : BalancedMSE, default=None
        Its form (batch Monte Carlo over all training targets, Gaussian mixture, bins), noise scale and whether that
        is learned; None is ``BalancedMSE()``. Its `sigma_lr` is not used.
    alpha : float in [0, inf), default=1.0
        Ridge strength on the sum of squared errors, as in scikit-learn's ``Ridge``.
    fit_intercept : bool, default=True
        Whether there is a constant.
    max_labels : int in [2, inf), default=400
        For batch Monte Carlo: more training targets are put together in so many groups of equal weight.
    max_iter : int in [1, inf), default=500
        Most iterations each time weights are fitted: Newton's up to 200 features, else of L-BFGS.
    tol : float in [0, inf), default=1e-6
        Relative change of the noise scale at which it counts as learned, and bound of the gradient, in units of
        the target's standard deviation.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights.
    intercept_ : float
        Constant.
    noise_sigma_ : float
        Noise scale, in units of the target.
    n_iter_ : int
        Iterations in all.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If y has several targets.

    Notes
    -----
    For a fixed noise scale the problem is convex under batch Monte Carlo and bins. The scale is learned by maximum
    likelihood, in turn with the weights; a paper's net does both at once by gradient steps. It starts from the
    residuals of ridge regression and stays within 0.001 and 100 times the standard deviation of the target.
    Predictions are worse than ridge's on rows distributed as in training: that is the price.

    References
    ----------
    Ren et al. 2022, arXiv:2203.16427.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skimb.linear_model import BalancedRidge
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(5.0, 0.5, 1000)  # nearly all targets are near 5
    >>> X = (y - rng.normal(size=1000))[:, None]  # the feature is the target and noise
    >>> plain, balanced = Ridge().fit(X, y), BalancedRidge().fit(X, y)
    >>> bool(plain.coef_[0] < 0.3), bool(abs(balanced.coef_[0] - 1) < 0.2)
    (True, True)
    """

    _parameter_constraints = {
        "loss": [BalancedMSE, None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "max_labels": [Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        loss=None,
        *,
        alpha=1.0,
        fit_intercept=True,
        max_labels=400,
        max_iter=500,
        tol=1e-6,
    ):
        self.loss = loss
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_labels = max_labels
        self.max_iter = max_iter
        self.tol = tol

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Target.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row, an integer repeats it.

        Returns
        -------
        BalancedRidge
            Itself.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, y_numeric=True)
        y = y.astype(np.float64)
        X, y, w = rows_with_weight(X, y, sample_weight)
        start = Ridge(alpha=max(self.alpha, 1e-10), fit_intercept=self.fit_intercept)
        start.fit(X, y, sample_weight=w)
        centre = float(np.average(y, weights=w))
        spread = float(np.sqrt(np.average((y - centre) ** 2, weights=w)))
        self.n_iter_ = 0
        if spread <= 1e-12 * max(abs(centre), 1e-300):  # one target value: nothing to balance
            self.coef_, self.intercept_ = start.coef_, float(start.intercept_)
            self.noise_sigma_ = 0.0
            return self
        loss = BalancedMSE() if self.loss is None else clone(self.loss)
        # in units of the target, so that tolerances mean the same everywhere
        z = (y - centre) / spread if self.fit_intercept else y / spread
        if loss.noise_sigma != "auto":
            loss.set_params(noise_sigma=loss.noise_sigma / spread)
        objective = _Objective(X, z, w, loss, self.alpha, self.fit_intercept, self.max_labels)
        constant = (start.intercept_ - centre) / spread if self.fit_intercept else 0.0
        theta = np.append(start.coef_ / spread, constant)
        if loss.noise_sigma == "auto":
            rest = float(np.sqrt(np.average((z - objective.predicted(theta)) ** 2, weights=w)))
            objective.sigma = float(np.clip(rest, *np.exp(_BOUNDS)))
        theta = self._descend(objective, theta, loss.learn_sigma)
        self.coef_ = theta[:-1] * spread
        self.intercept_ = float(theta[-1] * spread + centre) if self.fit_intercept else 0.0
        self.noise_sigma_ = objective.sigma * spread
        return self

    def _descend(self, objective, theta, learn):
        """Weights and noise scale in turn."""
        last = None
        for _ in range(_ROUNDS if learn else 1):
            if len(theta) <= _NEWTON_WIDTH:
                theta, steps, done = _newton(objective, theta, self.tol, self.max_iter)
            else:
                options = {"maxiter": self.max_iter, "gtol": self.tol, "ftol": 1e-15}
                found = minimize(objective, theta, jac=True, method="L-BFGS-B", options=options)
                theta, steps, done = found.x, found.nit, found.nit < self.max_iter
            self.n_iter_ += steps
            if not done:
                warn_user(
                    f"Not converged after max_iter={self.max_iter} iterations; raise max_iter or scale the "
                    f"features.",
                    ConvergenceWarning,
                )
            if not learn:
                break
            before = objective.sigma
            objective.learn_sigma(theta)
            if abs(objective.sigma - before) <= self.tol * before:
                break
            here = np.log(before), np.log(objective.sigma / before)
            if last is not None:
                objective.sigma = _extrapolated(last, here)
            last = here
        return theta

    def predict(self, X):
        """Predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_).ravel() + self.intercept_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _extrapolated(last, here):
    """The noise scale at which turns would end, from the logarithms before the last two turns and their moves.

    Turns approach it by a constant factor each; where two moves tell no such factor, the last turn counts.
    """
    (x0, move0), (x, move) = last, here
    rate = (move - move0) / (x - x0) if x != x0 else 0.0
    far = -move / rate if rate < 0.0 else move
    return float(np.exp(np.clip(x + np.clip(far, -_LEAP, _LEAP), *_BOUNDS)))


def _newton(objective, theta, tol, max_iter):
    """Damped Newton steps; returns the minimum, the number of steps and whether it was reached."""
    value, grad = objective(theta)
    for step in range(max_iter):
        if np.abs(grad).max() <= tol:
            return theta, step, True
        H = objective.hessian(theta)
        H[np.diag_indices_from(H)] += 1e-13 * np.trace(H)
        way = np.linalg.solve(H, grad)
        reach = 1.0
        while True:
            moved = objective(theta - reach * way)
            if moved[0] <= value - 1e-4 * reach * (grad @ way):
                break
            reach *= 0.5
            if reach < 1e-10:  # rounding decides what is smaller
                return theta, step, True
        theta, (value, grad) = theta - reach * way, moved
    return theta, max_iter, False


class _Objective:
    """Mean loss of weights and constant, with its gradient, at a noise scale."""

    def __init__(self, X, y, weight, loss, alpha, fit_intercept, max_labels):
        self.X, self.XT = X, X.T.tocsr() if sparse.issparse(X) else X.T
        self.alpha, self.fit_intercept = alpha / weight.sum(), fit_intercept
        bound = loss.bind(y, weight)
        self.sigma, self.mixture, self.columns = bound.sigma, bound.mixture, bound.columns
        if self.mixture is None and self.columns is None:
            self.columns = label_groups(y, weight, max_labels)
        self.y, self.weight = torch.from_numpy(y), torch.from_numpy(weight)

    def predicted(self, theta):
        return np.asarray(self.X @ theta[:-1]).ravel() + theta[-1]

    def _kernel(self, predictions, sigma):
        f, sigma = torch.from_numpy(predictions), torch.tensor(sigma, dtype=torch.float64)
        if self.mixture is not None:
            return kernel.against_mixture(f, self.y, self.mixture, sigma, self.weight)
        return kernel.against_labels(f, self.y, *self.columns, sigma, self.weight)

    def __call__(self, theta):
        loss, grad, _ = self._kernel(self.predicted(theta), self.sigma)
        grad = grad.numpy()
        slope = np.append(np.asarray(self.XT @ grad).ravel(), grad.sum() * self.fit_intercept)
        slope[:-1] += 2.0 * self.alpha * theta[:-1]
        return float(loss) + self.alpha * float(theta[:-1] @ theta[:-1]), slope

    def hessian(self, theta):
        """Second derivatives of the mean loss; negative curvature of rows is dropped."""
        f, s = (
            torch.from_numpy(self.predicted(theta)),
            torch.tensor(self.sigma, dtype=torch.float64),
        )
        if self.mixture is not None:
            _, curve = kernel.rows_against_mixture(f, self.y, self.mixture, s)
        else:
            _, curve = kernel.rows_against_labels(f, self.y, *self.columns, s)
        d = 2.0 * (curve.clamp_min(_LEAST) * self.weight / self.weight.sum()).numpy()
        p = len(theta) - 1
        H = np.zeros((p + 1, p + 1))
        if sparse.issparse(self.X):
            H[:p, :p] = (self.XT @ self.X.multiply(d[:, None])).toarray()
        else:
            H[:p, :p] = self.XT @ (self.X * d[:, None])
        H[np.arange(p), np.arange(p)] += 2.0 * self.alpha
        if self.fit_intercept:
            H[p, :p] = H[:p, p] = np.asarray(self.XT @ d).ravel()
            H[p, p] = d.sum()
        else:
            H[p, p] = 1.0  # its gradient is 0
        return H

    def learn_sigma(self, theta):
        """The noise scale of the largest likelihood at these weights."""
        f = self.predicted(theta)

        def negative(log_sigma):
            sigma = float(np.exp(log_sigma))
            return float(self._kernel(f, sigma)[0]) / (2.0 * sigma**2)

        near = np.log(self.sigma)
        for reach in (0.5, 3.0, 12.0):
            ends = np.clip([near - reach, near + reach], *_BOUNDS)
            found = minimize_scalar(
                negative, bounds=ends, method="bounded", options={"xatol": 1e-9}
            )
            if min(abs(found.x - ends)) > 1e-3:
                break
        self.sigma = float(np.exp(found.x))
