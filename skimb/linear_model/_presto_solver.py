"""Cumulative logits with penalised differences of adjacent boundaries, by accelerated proximal gradient."""

import numpy as np
from scipy import sparse
from scipy.special import expit

_DOUBLINGS = 60  # of the step's inverse, per iteration
_LEAST = 20  # iterations before the decrease may end the descent
_EASE = 0.97  # factor of the step's inverse per iteration


def _log_expit(x):
    return -np.logaddexp(0.0, -x)


class Problem:
    r"""Mean negative log-likelihood of ordered classes as a function of :math:`(\alpha,\Psi)`.

    Columns are standardised; sparse ones are centred in effect, not in memory. Outside its domain, where a
    row's own category has no probability, the value is infinite.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
        Rows.
    code : ndarray of int, shape (n,)
        Class codes 0 to K - 1, in order.
    n_classes : int
        Number of classes K.
    weight : ndarray of shape (n,)
        Positive row weights.
    standardize : bool
        Whether columns are standardised.
    """

    def __init__(self, X, code, n_classes, weight, standardize):
        self.code, self.K = code, n_classes
        self.w = weight / weight.sum()
        p = X.shape[1]
        self.centre, self.scale = np.zeros(p), np.ones(p)
        if standardize:
            self.centre = np.asarray(self.w @ X).ravel()
            if sparse.issparse(X):
                square = np.asarray(X.multiply(X).T @ self.w).ravel() - self.centre**2
            else:
                square = self.w @ (X - self.centre) ** 2
            spread = np.sqrt(np.maximum(square, 0.0))
            flat = spread <= 10 * np.finfo(float).eps * np.maximum(np.abs(self.centre), 1e-300)
            self.scale = np.where(flat, 1.0, spread)
        self.shift = self.centre / self.scale
        if sparse.issparse(X):
            self.X = sparse.csr_matrix(X @ sparse.diags(1.0 / self.scale))
            self.XT = sparse.csr_matrix(self.X.T)
            self.implicit = standardize
        else:
            self.X = (X - self.centre) / self.scale
            self.XT, self.implicit = self.X.T, False
        self.rows = np.arange(len(code))
        mass = np.bincount(code, self.w, n_classes)
        # a class that a fold lacks stands for half a row, so that boundaries stay apart
        mass = np.where(mass > 0, np.maximum(mass, 1e-12), 0.5 / len(code))
        self.cumulated = (mass / mass.sum()).cumsum()[:-1]
        variance = self.cumulated * (1.0 - self.cumulated)
        # curvature of each boundary, and of a difference, which moves all later ones
        reach = variance[::-1].cumsum()[::-1]
        top = reach.max()
        self.metric = variance / top, reach / top

    def start(self):
        """The best model without features."""
        alpha = np.log(self.cumulated) - np.log1p(-self.cumulated)
        return alpha, np.zeros((self.X.shape[1], self.K - 1))

    def _ends(self, alpha, psi):
        """Both ends of each row's own category on the scale of the logits."""
        B = psi.cumsum(1)
        if self.implicit:
            alpha = alpha - self.shift @ B
        eta = np.empty((len(self.code), self.K + 1))
        eta[:, 0], eta[:, -1] = -np.inf, np.inf
        eta[:, 1:-1] = self.X @ B + alpha
        return eta[self.rows, self.code], eta[self.rows, self.code + 1]

    def value(self, alpha, psi):
        """Mean negative log-likelihood."""
        low, up = self._ends(alpha, psi)
        d = low - up
        if not (d < 0).all():
            return np.inf
        return -float(self.w @ (_log_expit(up) + _log_expit(-low) + np.log1p(-np.exp(d))))

    def value_grad(self, alpha, psi):
        """Value, and gradients in both arguments."""
        low, up = self._ends(alpha, psi)
        d = low - up
        if not (d < 0).all():
            return np.inf, None, None
        value = -float(self.w @ (_log_expit(up) + _log_expit(-low) + np.log1p(-np.exp(d))))
        r = np.exp(d) / -np.expm1(d)
        slope = np.zeros((len(self.code), self.K + 1))
        slope[self.rows, self.code + 1] = -self.w * (expit(-up) + r)
        slope[self.rows, self.code] = self.w * (expit(low) + r)
        slope = slope[:, 1:-1]
        total = slope.sum(0)
        by_boundary = np.asarray(self.XT @ slope)
        if self.implicit:
            by_boundary = by_boundary - self.shift[:, None] * total
        return value, total, by_boundary[:, ::-1].cumsum(1)[:, ::-1]

    def original(self, alpha, psi):
        """Intercepts, boundary vectors and differences on the scale of the given columns, (K-1, p)."""
        diff = (psi / self.scale[:, None]).T
        coef = diff.cumsum(0)
        return alpha - coef @ self.centre, coef, diff

    def standardised(self, intercept, coef):
        """Back from the scale of the given columns."""
        diff = np.diff(coef, axis=0, prepend=0.0)
        return intercept + coef @ self.centre, diff.T * self.scale[:, None]


class Penalty:
    """Elastic net on the differences; `factor` (p, K-1) is 0 where they are free."""

    def __init__(self, lam, l1_ratio, factor):
        self.l1 = lam * l1_ratio * factor
        self.l2 = lam * (1.0 - l1_ratio) * factor

    def __call__(self, psi):
        return float((self.l1 * np.abs(psi)).sum() + 0.5 * (self.l2 * psi**2).sum())

    def prox(self, psi, inverse_step):
        shrunk = np.sign(psi) * np.maximum(np.abs(psi) - self.l1 / inverse_step, 0.0)
        return shrunk / (1.0 + self.l2 / inverse_step)


class Absent:
    """Holds penalised differences at 0."""

    def __init__(self, factor):
        self.free = factor == 0

    def __call__(self, psi):
        return 0.0

    def prox(self, psi, inverse_step):
        return np.where(self.free, psi, 0.0)


def descend(problem, penalty, alpha, psi, tol, max_iter):
    """Minimise value plus penalty; returns both arguments, iterations and whether it converged."""
    metric_a, metric_p = problem.metric
    inverse = 1.0  # of the step, times the metric
    momentum = 1.0
    objective = problem.value(alpha, psi) + penalty(psi)
    at_a, at_p = alpha, psi
    for iteration in range(1, max_iter + 1):
        value, grad_a, grad_p = problem.value_grad(at_a, at_p)
        if not np.isfinite(value):  # momentum left the domain
            at_a, at_p, momentum = alpha, psi, 1.0
            value, grad_a, grad_p = problem.value_grad(at_a, at_p)
        for _ in range(_DOUBLINGS):
            la, lp = inverse * metric_a, inverse * metric_p
            new_a = at_a - grad_a / la
            new_p = penalty.prox(at_p - grad_p / lp, lp)
            da, dp = new_a - at_a, new_p - at_p
            model = value + grad_a @ da + (grad_p * dp).sum()
            model += 0.5 * ((la * da**2).sum() + (lp * dp**2).sum())
            reached = problem.value(new_a, new_p)
            if reached <= model + 1e-15 * abs(model):
                break
            inverse *= 2.0
        found = reached + penalty(new_p)
        if not found <= objective:
            if momentum == 1.0:  # no step goes down any more
                return alpha, psi, iteration, True
            at_a, at_p, momentum = alpha, psi, 1.0
            continue
        decrease = (objective - found) / max(abs(found), 1e-300)
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = (momentum - 1.0) / following
        at_a, at_p = new_a + ahead * (new_a - alpha), new_p + ahead * (new_p - psi)
        alpha, psi, objective, momentum = new_a, new_p, found, following
        if decrease < tol and iteration >= _LEAST:
            return alpha, psi, iteration, True
        inverse *= _EASE
    return alpha, psi, max_iter, False


def null_model(problem, factor, tol, max_iter):
    """The model of the unpenalised parts alone."""
    alpha, psi = problem.start()
    if (factor == 0).any():
        alpha, psi, _, _ = descend(problem, Absent(factor), alpha, psi, tol, max_iter)
    return alpha, psi


def largest_lambda(problem, l1_ratio, factor, alpha, psi):
    """Least strength at which no penalised difference enters the null model."""
    _, _, grad = problem.value_grad(alpha, psi)
    used = factor > 0
    if not used.any():
        return 0.0
    return float((np.abs(grad[used]) / factor[used]).max() / max(l1_ratio, 1e-3))


def cumulative_probabilities(eta):
    """Class probabilities from cumulative logits; crossing ones follow their running maximum."""
    eta = np.maximum.accumulate(eta, axis=1)
    n, boundaries = eta.shape
    p = np.empty((n, boundaries + 1))
    p[:, 0], p[:, -1] = expit(eta[:, 0]), expit(-eta[:, -1])
    low, up = eta[:, :-1], eta[:, 1:]
    p[:, 1:-1] = expit(up) * expit(-low) * -np.expm1(low - up)
    return p


def crossings(eta):
    """Number of rows (n, K-1) in which boundaries cross."""
    return int((np.diff(eta, axis=1) < 0).any(1).sum())
