"""Which rows fit into a review budget, and what an audit says of the others."""

from numbers import Integral, Real

import numpy as np
from scipy.stats import hypergeom
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from skimb._core.costs import cost_tables
from skimb.metrics._shared import probabilities

BUDGET = [Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="right")]
_FLOOR = 1e-9  # a share of rows is a whole number up to this


def coded_groups(groups, n):
    """Names of groups and the number of each row's group."""
    if groups is None:
        return np.array([None]), np.zeros(n, int)
    given = column_or_1d(groups)
    if len(given) != n:
        raise ValueError(f"groups must name a group of each of the {n} rows, got {len(given)}.")
    return np.unique(given, return_inverse=True)


def reviewed_share(keys, group, size, weight):
    """Probability of each row to be reviewed where tied rows share what is left of the budget.

    Parameters
    ----------
    keys : list of ndarray of shape (n,)
        What rows are ordered by, highest first; each breaks the ties of the one before.
    group : ndarray of int, shape (n,)
        Numbers of groups.
    size : ndarray of shape (n_groups,)
        Budget of each group.
    weight : ndarray of shape (n,)
        Positive weights of rows.

    Returns
    -------
    ndarray of shape (n,)
        In [0, 1].
    """
    falling = [-key for key in keys]
    order = np.lexsort((*falling[::-1], group))
    steps = [np.diff(column[order]) != 0 for column in (group, *falling)]
    first = np.r_[True, np.any(steps, axis=0)]
    block = first.cumsum() - 1
    rows, owner = np.bincount(block, weight[order]), group[order][first]
    before = rows.cumsum() - rows
    before = before - before[np.searchsorted(owner, owner)]
    share = np.empty(len(order))
    share[order] = np.clip((size[owner] - before) / rows, 0.0, 1.0)[block]
    return share


def _sizes(budget, names, rows):
    """Budget of each group in rows; whole numbers are cut to the group."""
    given = budget if isinstance(budget, dict) else dict.fromkeys(names.tolist(), budget)
    missing = [name for name in names.tolist() if name not in given]
    if missing:
        raise ValueError(f"budget={budget!r} lacks the groups {missing[:10]}.")
    sizes = []
    for name, n in zip(names.tolist(), rows, strict=True):
        one = given[name]
        if isinstance(one, Integral) and not isinstance(one, bool) and one >= 0:
            sizes.append(min(float(one), n))
        elif isinstance(one, Real) and not isinstance(one, Integral) and 0 <= one <= 1:
            sizes.append(one * n)
        else:
            raise ValueError(
                f"budget={one!r}{'' if name is None else f' of group {name!r}'} must be a whole number of rows of "
                "at least 0 or a share of them in [0, 1]."
            )
    return np.array(sizes)


def listed(keys, budget, groups, ties, random_state, allowed=None):
    """The rows to review, as :func:`review_list` gives them; only those `allowed`."""
    n = len(keys[0])
    names, group = coded_groups(groups, n)
    size = _sizes(budget, names, np.bincount(group, minlength=len(names)))
    allowed = np.ones(n, bool) if allowed is None else allowed
    shown = np.zeros(n)
    if ties != "share":
        size = np.floor(size + _FLOOR)
    if ties == "random":
        keys = [*keys, check_random_state(random_state).permutation(n).astype(float)]
    shown[allowed] = reviewed_share(
        [key[allowed] for key in keys], group[allowed], size, np.ones(allowed.sum())
    )
    if ties == "share":
        return shown
    return shown > 0 if ties == "all" else shown == 1.0


@validate_params(
    {
        "y_score": ["array-like"],
        "budget": [Integral, Real, dict],
        "cost": ["array-like", None],
        "groups": ["array-like", None],
        "ties": [StrOptions({"share", "none", "all", "random"})],
        "tie_break": ["array-like", None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def review_list(
    y_score, budget, *, cost=None, groups=None, ties="share", tie_break=None, random_state=None
):
    r"""Which rows to review when only some can be: those with the highest scores, or the highest expected gain.

    With costs the scores are probabilities, and rows are ordered by what deciding for the positive class is
    expected to save,

    .. math:: p\,(c_\mathrm{fn}-c_\mathrm{tp})-(1-p)\,(c_\mathrm{fp}-c_\mathrm{tn}),

    as far as it saves anything: the budget need not be used up.

    Parameters
    ----------
    y_score : array-like of shape (n,)
        Scores, higher for the positive class; with `cost` its probabilities.
    budget : int in [0, inf), float in [0, 1], or dict of them by group
        Rows that can be reviewed, or their share, of each group. A group of fewer rows is reviewed as a whole.
    cost : array-like of shape (2, 2), (n, 2, 2) or (n, 4), default=None
        Costs by true and decided class, for all rows or each; four columns are those of a false positive, a
        false negative, a true positive and a true negative.
    groups : array-like of shape (n,), default=None
        Batches, days or sites of the rows, each with its own budget.
    ties : {"share", "none", "all", "random"}, default="share"
        What becomes of equal scores at the end of the budget: each row gets the same probability of review, all are
        left out, all are reviewed, or some are drawn. But for "share", a share of rows is rounded down to whole
        rows.
    tie_break : array-like of shape (n,), default=None
        What orders rows of equal score, highest first, for instance the amount at stake.
    random_state : int, RandomState instance or None, default=None
        Of the draw.

    Returns
    -------
    ndarray of shape (n,)
        Whether each row is reviewed, or for ``ties="share"`` the probability of it.

    Raises
    ------
    ValueError
        If scores are missing, probabilities leave [0, 1], a group has no budget, or shapes do not fit.

    See Also
    --------
    recall_at_budget : What share of the positives such a list finds.
    audited_recall : The same where nobody labels what was not reviewed.

    Examples
    --------
    >>> from skimb.metrics import review_list
    >>> review_list([0.9, 0.5, 0.5, 0.1], 2).tolist()
    [1.0, 0.5, 0.5, 0.0]
    >>> review_list([0.9, 0.5, 0.5, 0.1], 2, ties="none", tie_break=[10, 70, 20, 80]).tolist()
    [True, True, False, False]
    >>> review_list([0.9, 0.5, 0.5, 0.1], 1, groups=["mon", "mon", "tue", "tue"], ties="none").tolist()
    [True, False, True, False]
    >>> review_list([0.9, 0.5, 0.5, 0.1], 3, cost=[[0, 3], [2, 0]], ties="none").tolist()
    [True, False, False, False]
    """
    s = column_or_1d(y_score)
    s = check_array(s, ensure_2d=False, dtype=np.float64, input_name="y_score")
    allowed = None
    if cost is not None:
        p = probabilities(s, "y_score with costs")
        table = cost_tables(cost, len(s), 2)
        s = p * (table[:, 1, 0] - table[:, 1, 1]) - (1.0 - p) * (table[:, 0, 1] - table[:, 0, 0])
        allowed = s > 0
    keys = [s]
    if tie_break is not None:
        second = check_array(
            column_or_1d(tie_break), ensure_2d=False, dtype=np.float64, input_name="tie_break"
        )
        check_consistent_length(s, second)
        keys.append(second)
    return listed(keys, budget, groups, ties, random_state, allowed)


@validate_params(
    {
        "n_found": [Interval(Integral, 0, None, closed="left")],
        "n_unreviewed": [Interval(Integral, 0, None, closed="left")],
        "n_audited": [Interval(Integral, 0, None, closed="left")],
        "n_missed": [Interval(Integral, 0, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def audited_recall(n_found, n_unreviewed, n_audited, n_missed, *, confidence=0.95):
    r"""Recall of a review whose other rows nobody labels, but for a random sample of them.

    Of :math:`N` rows that were not reviewed, :math:`m` are drawn and labelled, and :math:`x` of these are positive.
    At most

    .. math:: U=\max\{u:P(\mathrm{Hypergeometric}(N,u,m)\le x)>\delta\}

    positives were missed, so that the recall is at least :math:`\mathrm{TP}/(\mathrm{TP}+U)`.

    Parameters
    ----------
    n_found : int in [0, inf)
        Positives among the reviewed rows, TP.
    n_unreviewed : int in [0, inf)
        Rows that were not reviewed.
    n_audited : int in [0, n_unreviewed]
        How many of these were drawn at random and labelled.
    n_missed : int in [0, n_audited]
        Positives among those.
    confidence : float in (0, 1), default=0.95
        :math:`1-\delta`, of the bound.

    Returns
    -------
    Bunch
        ``recall_low`` (the bound), ``missed_high`` (U), ``recall`` and ``missed`` (estimates from the share of
        the sample). Recalls of no positives at all, and estimates without a sample, are NaN.

    Raises
    ------
    ValueError
        If the sample is larger than what it was drawn from, or holds more positives than rows.

    Notes
    -----
    The sample must be drawn at random from all unreviewed rows, not from those with the next highest scores.

    Examples
    --------
    >>> from skimb.metrics import audited_recall
    >>> audit = audited_recall(n_found=140, n_unreviewed=10_000, n_audited=500, n_missed=1)
    >>> audit.missed_high, round(audit.recall_low, 3), round(audit.recall, 3)
    (92, 0.603, 0.875)
    """
    if not n_missed <= n_audited <= n_unreviewed:
        raise ValueError(
            f"n_missed={n_missed} of n_audited={n_audited} of n_unreviewed={n_unreviewed} rows is no sample: each "
            "must be at most the next."
        )
    low, high = n_missed, n_unreviewed - (n_audited - n_missed)  # U lies between
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(n_missed, n_unreviewed, middle, n_audited) > 1.0 - confidence:
            low = middle
        else:
            high = middle - 1
    missed = n_unreviewed * n_missed / n_audited if n_audited else np.nan
    return Bunch(
        recall_low=_ratio(n_found, n_found + low),
        missed_high=int(low),
        recall=_ratio(n_found, n_found + missed),
        missed=missed,
    )


def _ratio(part, whole):
    return float(part / whole) if whole != 0 else np.nan
