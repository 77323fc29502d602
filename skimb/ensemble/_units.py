"""Small blocks of hidden units fitted to residuals, several candidates side by side."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

ACTIVATIONS = {
    "logistic": (expit, lambda a: a * (1.0 - a)),
    "tanh": (np.tanh, lambda a: 1.0 - a * a),
    "relu": (lambda z: np.maximum(z, 0.0), lambda a: (a > 0).astype(float)),
}


class Block:
    """Hidden units and their output weights: ``h(x) = act(x W + b) V + c``."""

    def __init__(self, W, b, V, c, activation):
        self.W, self.b, self.V, self.c = W, b, V, c
        self.activation = activation

    def __call__(self, X):
        return ACTIVATIONS[self.activation][0](X @ self.W + self.b) @ self.V + self.c


def _problem(X, residual, weight, units, candidates, activation, shrink, rng):
    """Start, value with gradient, and the parts of the parameters."""
    n, p = X.shape
    k = residual.shape[1]
    act, slope = ACTIVATIONS[activation]
    bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (p + units))
    outer = np.sqrt((2.0 if activation == "logistic" else 6.0) / (units + k))
    C, J = candidates, units
    shapes = [(p, C * J), (C * J,), (C, J, k), (C, k)]
    start = [
        rng.uniform(-bound, bound, shapes[0]),
        rng.uniform(-bound, bound, shapes[1]),
        rng.uniform(-outer, outer, shapes[2]),
        np.tile(weight @ residual, (C, 1)),
    ]
    ends = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])

    def split(theta):
        return [theta[a:b].reshape(s) for a, b, s in zip(ends, ends[1:], shapes, strict=False)]

    def objective(theta):
        W, b, V, c = split(theta)
        hidden = act(X @ W + b)
        A = hidden.reshape(n, C, J)
        miss = np.einsum("ncj,cjk->nck", A, V) + c - residual[:, None]
        weighted = miss * weight[:, None, None]
        value = 0.5 * (miss * weighted).sum() + 0.5 * shrink * ((W**2).sum() + (V**2).sum())
        back = np.einsum("nck,cjk->ncj", weighted, V).reshape(n, C * J) * slope(hidden)
        grads = [
            X.T @ back + shrink * W,
            back.sum(0),
            np.einsum("ncj,nck->cjk", A, weighted) + shrink * V,
            weighted.sum(0),
        ]
        return value, np.concatenate([g.ravel() for g in grads])

    return np.concatenate([s.ravel() for s in start]), objective, split


def fit_blocks(X, residual, weight, units, candidates, activation, shrink, max_iter, rng):
    r"""Fit candidates of a block by weighted least squares, all in one descent of L-BFGS.

    Minimises :math:`\sum_c\left[\frac1{2}\sum_i
    w_i\|r_i-h_c(x_i)\|^2+\frac s2(\|W_c\|^2+\|V_c\|^2)\right]`; the candidates do not touch each other,
    so they only share matrix products and iterations.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Rows.
    residual : ndarray of shape (n, k)
        What to fit.
    weight : ndarray of shape (n,)
        Row weights, together 1.
    units, candidates : int
        Hidden units of a block, blocks.
    activation : str
        Of the units.
    shrink : float
        L2 strength s.
    max_iter : int
        Iterations.
    rng : RandomState
        Draws the start, Glorot-uniform.

    Returns
    -------
    list of Block
        The candidates.
    bool
        Whether the descent converged.
    """
    theta, objective, split = _problem(
        X, residual, weight, units, candidates, activation, shrink, rng
    )
    done = minimize(
        objective,
        theta,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "maxfun": 20 * max_iter, "gtol": 1e-6},
    )
    W, b, V, c = split(done.x)
    own = [slice(i * units, (i + 1) * units) for i in range(candidates)]
    blocks = [Block(W[:, s], b[s], V[i], c[i], activation) for i, s in enumerate(own)]
    return blocks, bool(done.success)
