"""Few weighted rows with the weighted sum of many."""

import numpy as np
from scipy.optimize import linprog


def exact(V, weight, size, rng):
    r"""At most `size` rows with non-negative weights u so that :math:`V^\top u=V^\top w` and :math:`\sum u=\sum w`.

    A vertex of the polytope of all such weights has no more positive entries than there are equations. Rows are
    split at random so that vertices of the parts together use up `size`.

    Parameters
    ----------
    V : ndarray of shape (n, q)
        Rows to sum up, q + 1 <= size.
    weight : ndarray of shape (n,)
        Positive weights w.
    size : int
        Most rows to keep.
    rng : RandomState
        Draws the parts and the vertices.

    Returns
    -------
    ndarray of shape (n,)
        Weights u, 0 for rows that go.
    """
    n, q = V.shape
    parts = max(size // (q + 1), 1)
    scale = np.maximum(np.abs(V).max(0), 1e-300)
    u = np.zeros(n)
    for rows in np.array_split(rng.permutation(n), min(parts, n)):
        if len(rows) <= q + 1:
            u[rows] = weight[rows]
            continue
        A = np.vstack([(V[rows] / scale).T, np.ones(len(rows))])
        mass = weight[rows].sum()
        b = A @ (weight[rows] / mass)
        cost = rng.uniform(0.5, 1.5, len(rows))
        found = linprog(cost, A_eq=A, b_eq=b, bounds=(0, None), method="highs-ds")
        if not found.success:
            raise RuntimeError(f"No coreset was found by linear programming: {found.message}")
        u[rows] = _polished(A, b, found.x) * mass
    return u


def _polished(A, b, x):
    """The same support with the residual of the equations taken out."""
    support = np.flatnonzero(x > 1e-14)
    correction = np.linalg.lstsq(A[:, support], b - A[:, support] @ x[support], rcond=None)[0]
    polished = np.zeros_like(x)
    polished[support] = np.maximum(x[support] + correction, 0.0)
    return polished


def importance(V, weight, size, rng):
    r"""`size` draws with probability :math:`\propto w_i\|v_i\|`, weighed to the total of all.

    Parameters
    ----------
    V : ndarray of shape (n, q)
        Rows to sum up.
    weight : ndarray of shape (n,)
        Positive weights.
    size : int
        Draws; a row may come several times.
    rng : RandomState
        Draws.

    Returns
    -------
    ndarray of shape (n,)
        Weights, 0 for rows that go.
    """
    lengths = np.linalg.norm(V / np.maximum(np.abs(V).max(0), 1e-300), axis=1)
    # the mean keeps rows of no loss at all possible, and weights bounded
    p = weight * (lengths + lengths.mean() + 1e-300)
    p /= p.sum()
    count = rng.multinomial(size, p)
    u = count * weight / (size * p)
    return u * (weight.sum() / u.sum())


def uniform(weight, size, rng):
    """`size` rows drawn evenly without replacement, weighed to the total of all.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Positive weights.
    size : int
        Rows to keep.
    rng : RandomState
        Draws.

    Returns
    -------
    ndarray of shape (n,)
        Weights, 0 for rows that go.
    """
    rows = rng.choice(len(weight), size, replace=False)
    u = np.zeros(len(weight))
    u[rows] = weight[rows]
    return u * (weight.sum() / u.sum())
