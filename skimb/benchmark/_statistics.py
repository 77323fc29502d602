"""Comparisons of methods over many sets."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata, studentized_range
from sklearn.utils._param_validation import Interval, validate_params

_SHARE = [Interval(Real, 0, 1, closed="neither")]
_COUNT = [Interval(Integral, 1, None, closed="left")]
_SEED = [Interval(Integral, 0, None, closed="left")]
_ROPE = [Interval(Real, 0, None, closed="left")]


class SignedRankPosterior(NamedTuple):
    """Probabilities that sum to one.

    Parameters
    ----------
    worse, equivalent, better : float
        That the differences are mostly below minus the rope, within it, above it.
    """

    worse: float
    equivalent: float
    better: float


@validate_params(
    {"n_methods": [Integral], "n_sets": [Integral], "level": _SHARE},
    prefer_skip_nested_validation=True,
)
def critical_difference(n_methods, n_sets, *, level=0.05):
    r"""Difference of mean ranks from which two methods differ significantly (Nemenyi).

    .. math:: \frac{q_{1-\alpha,k,\infty}}{\sqrt2}\sqrt{\frac{k(k+1)}{6n}}

    with the studentized range :math:`q` of k methods over n sets.

    Parameters
    ----------
    n_methods : int
        Methods that are ranked, at least 2.
    n_sets : int
        Sets on which they are ranked, at least 1.
    level : float in (0, 1), default=0.05
        Level of the test.

    Returns
    -------
    float
        The critical difference, in ranks.

    Raises
    ------
    ValueError
        If there are fewer than two methods, no set, or `level` is no share.

    References
    ----------
    Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006.

    Examples
    --------
    >>> from skimb.benchmark import critical_difference
    >>> round(critical_difference(10, 30), 3)
    2.473
    """
    if n_methods < 2 or n_sets < 1:
        raise ValueError(
            f"critical_difference needs two methods and a set, and got n_methods={n_methods}, n_sets={n_sets}."
        )
    q = studentized_range.ppf(1 - level, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_sets)))


@validate_params(
    {
        "values": ["array-like"],
        "largest": ["boolean"],
        "n_resamples": _COUNT,
        "level": _SHARE,
        "random_state": _SEED,
    },
    prefer_skip_nested_validation=True,
)
def mean_ranks(values, *, largest=True, n_resamples=2000, level=0.95, random_state=0):
    """Mean rank of each method over sets, with bootstrap intervals over the sets.

    Parameters
    ----------
    values : array-like of shape (n_sets, n_methods)
        One score per set and method; a failed fit is infinitely bad.
    largest : bool, default=True
        Whether large scores are good ones; rank 1 is best. Ties share the mean of their ranks.
    n_resamples : int, default=2000
        Draws of as many sets, with replacement.
    level : float in (0, 1), default=0.95
        Coverage of the percentile intervals.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    ndarray of shape (n_methods, 3)
        Mean rank, lower and upper end.

    Raises
    ------
    ValueError
        If a value is missing, there is none, or a parameter is out of range.

    Examples
    --------
    >>> from skimb.benchmark import mean_ranks
    >>> mean_ranks([[0.9, 0.8, 0.7], [0.6, 0.6, 0.1]])[:, 0]
    array([1.25, 1.75, 3.  ])
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size or np.isnan(values).any():
        raise ValueError(
            "mean_ranks needs one value per set and method, and none may be missing; drop the sets that lack one."
        )
    ranks = rankdata(-values if largest else values, axis=1)
    rng = np.random.default_rng(random_state)
    draws = rng.multinomial(len(ranks), np.full(len(ranks), 1 / len(ranks)), n_resamples)
    tail = (1 - level) / 2
    ends = np.quantile(draws @ ranks / len(ranks), [tail, 1 - tail], axis=0)
    return np.column_stack([ranks.mean(0), *ends])


@validate_params({"differences": ["array-like"], "rope": _ROPE}, prefer_skip_nested_validation=True)
def wins_ties_losses(differences, *, rope=0.0):
    """Sets on which a method is better, practically equivalent, worse.

    Parameters
    ----------
    differences : array-like of shape (n_sets,)
        Scores minus those of another method, larger for the better.
    rope : float, default=0.0
        Largest difference that counts as a tie.

    Returns
    -------
    tuple of int
        Wins, ties, losses.

    Raises
    ------
    ValueError
        If a difference is missing, or the rope is negative.

    Examples
    --------
    >>> from skimb.benchmark import wins_ties_losses
    >>> wins_ties_losses([0.2, 0.005, -0.1, 0.3], rope=0.01)
    (2, 1, 1)
    """
    d = _one_per_set(differences, "wins_ties_losses")
    wins, losses = int((d > rope).sum()), int((d < -rope).sum())
    return wins, len(d) - wins - losses, losses


def _one_per_set(differences, name):
    d = np.asarray(differences, float)
    if d.ndim != 1 or not len(d) or np.isnan(d).any():
        raise ValueError(
            f"{name} needs one difference per set, and none may be missing; drop the sets that lack one."
        )
    return d


@validate_params(
    {
        "differences": ["array-like"],
        "rope": _ROPE,
        "prior_strength": [Interval(Real, 0, None, closed="neither")],
        "n_samples": _COUNT,
        "random_state": _SEED,
    },
    prefer_skip_nested_validation=True,
)
def signed_rank_posterior(
    differences, *, rope=0.01, prior_strength=0.5, n_samples=20_000, random_state=0
):
    r"""Bayesian signed-rank test with a region of practical equivalence (rope).

    The differences :math:`z_1,\dots,z_n` and a pseudo-observation :math:`z_0=0` get weights
    :math:`w\sim\mathrm{Dir}(s,1,\dots,1)`. With

    .. math:: \theta_{better}=\sum_{i,j}w_iw_j[z_i+z_j>2r],\qquad \theta_{worse}=\sum_{i,j}w_iw_j[z_i+z_j<-2r]

    and the remainder :math:`\theta_{equivalent}`, each probability is the share of draws of w in which its
    :math:`\theta` is the largest; equal ones share a draw.

    Parameters
    ----------
    differences : array-like of shape (n_sets,)
        Scores minus those of another method, one per set, larger for the better; infinite where one of them failed.
    rope : float, default=0.01
        r: mean differences up to it are equivalent in practice.
    prior_strength : float, default=0.5
        s: weight of the pseudo-observation in rows of data.
    n_samples : int, default=20000
        Monte Carlo draws.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    SignedRankPosterior
        ``worse``, ``equivalent`` and ``better``, which sum to one.

    Raises
    ------
    ValueError
        If there is no difference, one is missing, or a parameter is out of range.

    References
    ----------
    Benavoli, Corani, Demsar, Zaffalon, "Time for a Change: a Tutorial for Comparing Multiple Classifiers Through
    Bayesian Analysis", JMLR 18, 2017.

    Examples
    --------
    >>> from skimb.benchmark import signed_rank_posterior
    >>> signed_rank_posterior([0.05, 0.04, 0.06, 0.05, 0.03, 0.07, 0.05, 0.04]).better > 0.99
    True
    """
    z = _one_per_set(differences, "signed_rank_posterior")
    z = np.r_[0.0, np.nan_to_num(z, posinf=1e300, neginf=-1e300)]
    sums = z[:, None] + z
    alpha = np.r_[prior_strength, np.ones(len(z) - 1)]
    weights = np.random.default_rng(random_state).dirichlet(alpha, n_samples)
    better, worse = (
        ((weights @ region) * weights).sum(1)
        for region in ((sums > 2 * rope).astype(float), (sums < -2 * rope).astype(float))
    )
    theta = np.column_stack([worse, 1.0 - better - worse, better])
    best = np.isclose(theta, theta.max(1, keepdims=True), rtol=0, atol=1e-12)
    return SignedRankPosterior(*(best / best.sum(1, keepdims=True)).mean(0).tolist())
