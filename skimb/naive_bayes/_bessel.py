"""The modified Bessel function of the first kind by its logarithm."""

from fractions import Fraction

import numpy as np
from scipy.special import gammaln, logsumexp

_TERMS = 14  # of the expansion for large orders
_SERIES = 200  # of the power series
_LARGE, _MIDDLE, _FAR = (
    25.0,
    12.0,
    60.0,
)  # where the expansion for large orders is exact to the last digits


def log_iv(v, x):
    r"""Logarithm of the modified Bessel function of the first kind :math:`I_v(x)`, also where that is out of range.

    Large orders take the uniform expansion of Debye in :math:`z=x/v`, :math:`t=1/\sqrt{1+z^2}`,

    .. math:: \log I_v\approx v\eta-\tfrac12\log(2\pi v)-\tfrac14\log(1+z^2)+\log\sum_k\frac{u_k(t)}{v^k},\qquad
        \eta=\sqrt{1+z^2}+\log\frac{z}{1+\sqrt{1+z^2}},

    small orders the series of Hankel for large x and the power series, summed by logarithms, elsewhere.

    Parameters
    ----------
    v : array-like
        Orders, non-negative.
    x : array-like
        Arguments, non-negative; both are broadcast.

    Returns
    -------
    ndarray or float
        :math:`\log I_v(x)`; at 0 it is :math:`-\infty`, and 0 for v = 0.

    Raises
    ------
    ValueError
        If an order or an argument is negative or no number.

    Notes
    -----
    Within some 1e-14 of the value, or absolutely where that is below 1, for orders up to 16,383 and arguments from
    1e-8 to 2e4. scipy's ``log(ive(v, x)) + x`` is minus infinity for large orders. The choice of regions is ours.

    References
    ----------
    Plesner et al. 2024, arXiv:2409.08729.

    Examples
    --------
    >>> from skimb.naive_bayes import log_iv
    >>> round(log_iv(383, 50.0), 8), round(log_iv(0.5, 1.0), 12)
    (-664.53695057, -0.064351991074)
    """
    v, x = np.broadcast_arrays(np.asarray(v, float), np.asarray(x, float))
    for name, value in (("v", v), ("x", x)):
        if not (value >= 0).all():
            raise ValueError(f"log_iv: {name} must be non-negative, got {value.min()!r}.")
    found = np.where(v == 0, 0.0, -np.inf)
    some = x > 0
    debye = some & ((v >= _LARGE) | ((v >= _MIDDLE) & (np.hypot(v, x) >= _FAR)))
    hankel = some & ~debye & (x > 30) & (x > 0.5 * v**2)
    series = some & ~debye & ~hankel
    for rows, formula in ((debye, _debye), (hankel, _hankel), (series, _series)):
        if rows.any():
            found[rows] = formula(v[rows], x[rows])
    return found if found.ndim else float(found)


def _polynomials():
    """Coefficients of u_k, lowest power first: u' t²(1-t²)/2 + integral of (1-5s²)u/8."""
    u, found = [Fraction(1)], []
    for _ in range(_TERMS):
        new = [Fraction(0)] * (len(u) + 3)
        for j, c in enumerate(u):
            new[j + 1] += c * (Fraction(j, 2) + Fraction(1, 8 * (j + 1)))
            new[j + 3] -= c * (Fraction(j, 2) + Fraction(5, 8 * (j + 3)))
        u = new
        found.append(np.array([float(c) for c in u]))
    return found


_U = _polynomials()


def _debye(v, x):
    z = x / v
    root = np.hypot(1.0, z)
    t = 1.0 / root
    total, power = np.zeros_like(v), np.ones_like(v)
    for u in _U:
        power = power / v
        total += np.polynomial.polynomial.polyval(t, u) * power
    eta = root + np.log(z / (1.0 + root))
    return v * eta - 0.5 * np.log(2.0 * np.pi * v) - 0.5 * np.log(root) + np.log1p(total)


def _hankel(v, x):
    mu, term, total = 4.0 * v**2, np.ones_like(v), np.ones_like(v)
    for k in range(1, 40):
        new = -term * (mu - (2 * k - 1) ** 2) / (k * 8.0 * x)
        term = np.where(np.abs(new) < np.abs(term), new, 0.0)  # the series diverges in the end
        total += term
    return x - 0.5 * np.log(2.0 * np.pi * x) + np.log(total)


def _series(v, x):
    k = np.arange(_SERIES)[:, None]
    terms = (2 * k + v) * np.log(0.5 * x) - gammaln(k + 1.0) - gammaln(k + v + 1.0)
    return logsumexp(terms, axis=0)
