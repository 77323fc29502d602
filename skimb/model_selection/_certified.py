"""Thresholds of a two-class problem that pass the tests of all constraints, and the best of them."""

from dataclasses import dataclass, field

import numpy as np

from skimb._core.proportions import proportion_interval
from skimb._core.ranks import allowed, least_rows
from skimb.model_selection._tails import (
    BETS,
    ORDER_BETS,
    best_share,
    bet,
    binomial_tail,
    hoeffding_bentkus,
    largest_share,
)
from skimb.model_selection._thresholds import _cumulated, _cuts

_STARTS = 8
GUARANTEES = ("exact", "conditional", "approximate", "none")


class Scan:
    """Rows of a two-class problem in falling order of score, and the cuts between different scores.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Scores of the positive class.
    code : ndarray of shape (n,)
        1 for positive rows, else 0.
    weight : ndarray of shape (n,), default=None
        Importance weights.
    groups : ndarray of shape (n,), default=None
        Rows of one group are one unit: groups are independent, their rows need not be.
    chances : ndarray of shape (n,), default=None
        Probabilities of the positive class, which guide tests that have to begin somewhere.
    """

    def __init__(self, scores, code, weight=None, groups=None, chances=None):
        self.scores, self.code, self.chances = scores, code, chances
        self.weight = np.ones(len(code)) if weight is None else weight
        self.groups = None if groups is None else np.unique(groups, return_inverse=True)[1]
        self.order = np.argsort(-scores, kind="stable")
        self.cuts, self.thresholds = _cuts(scores[self.order])
        self.thresholds[-1] = -np.inf  # all rows are flagged, those to come as well

    def at(self, thresholds):
        """The same rows with cuts at given falling thresholds."""
        other = Scan(self.scores, self.code, self.weight, self.groups, self.chances)
        falling = -self.scores[self.order]
        other.cuts = np.searchsorted(falling, -thresholds, side="right")
        other.thresholds = thresholds
        return other

    def totals(self, values):
        """Sums at every cut of values (n, 2) of rows that are not flagged and that are."""
        values = values[self.order]
        return values[:, 0].sum() + _cumulated(values[:, 1] - values[:, 0])[self.cuts]

    def edges(self, step):
        """Thresholds at rows next to the cuts: above the first one not flagged, or at the last flagged one."""
        s = self.scores[self.order]
        found = self.thresholds.copy()
        inner = self.cuts[1:-1]
        found[1:-1] = np.nextafter(s[inner], np.inf) if step > 0 else s[inner - 1]
        return found

    def values(self, constraint, code=None):
        """Membership and badness of rows (n, 2): of their labels, or expected where `code` is a chance."""
        if code is None:
            return constraint.of(self.code)
        one, zero = (constraint.of(np.full(len(code), c)) for c in (1, 0))
        chance = code[:, None]
        return tuple(chance * a + (1 - chance) * b for a, b in zip(one, zero, strict=True))

    def counts(self, constraint, code=None):
        """Independent rows that a constraint is about and the sum of bad ones, at every cut."""
        member, bad = self.values(constraint, code)
        w = self.weight[:, None]
        if self.groups is None:
            total, square = self.totals(w * member), self.totals(w * w * member)
            share = _share(self.totals(w * bad), total)
            rows = _share(total * total, square)
            return rows, rows * np.clip(share, 0.0, constraint.bound)
        # the mean over groups of what each adds; decisions that change membership count all rows of a group
        belongs = member[:, 0] if constraint.fixed else np.ones(len(member))
        mass = np.bincount(self.groups, self.weight * belongs)
        own = _share(self.weight, mass[self.groups])[:, None]
        n = float((mass > 0).sum())
        level = 0.0 if constraint.fixed else constraint.level
        total = self.totals(own * (bad - level * member)) + level * n
        return np.full(len(self.cuts), n), np.clip(total, 0.0, constraint.bound * n)


def _share(part, whole):
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 1e-12)


def p_of(constraint, scan, n, bad):
    """p-values of counts."""
    if constraint.counts and scan.groups is None:
        return binomial_tail(n, bad, constraint.level)
    return hoeffding_bentkus(n, bad / constraint.bound, constraint.level / constraint.bound)


def _bets(constraint, scan, largest_weight, shares=BETS):
    """p-values of bets on the gains of rows."""
    member, bad = scan.values(constraint)
    gains = scan.weight[:, None] * (constraint.level * member - bad)
    largest = largest_weight * (constraint.bound - constraint.level)
    return bet(lambda f: scan.totals(f(gains)), largest, shares)


def _preset(constraint, scan, training, start, largest_weight):
    """p-values of the one bet that would have grown fastest on the training rows at a cut."""
    member, bad = training.values(constraint)
    flagged = np.zeros(len(member), int)
    flagged[training.order[: training.cuts[start]]] = 1
    rows = np.arange(len(flagged))
    gains = constraint.level * member[rows, flagged] - bad[rows, flagged]
    share = max(best_share(gains, constraint.bound - constraint.level), 0.01)
    return _bets(constraint, scan, largest_weight, (share,))


def _walk(p, start, step, delta):
    """The cuts from `start` on that pass, up to the first one that does not."""
    line = np.arange(start, len(p)) if step > 0 else np.arange(start, -1, -1)
    failed = np.flatnonzero(p[line] > delta)
    return line[: failed[0]] if len(failed) else line


@dataclass
class How:
    """How promises are tested.

    Parameters
    ----------
    order : {"guided", "starts", "betting", "training"}
        Where tests of what does not grow with the threshold begin.
    largest_weight : float or None
        Bound of the weights, for exact tests of weighted rows.
    training : Scan or None
        Other rows, out of fold, for ``order="training"``.
    objective : callable
        Values of all cuts from a scan.
    tune : bool
        Whether cuts whose estimates hold will do where nothing can be promised.
    promised : bool, default=True
        Whether anything is promised.
    """

    order: str
    largest_weight: float | None
    training: Scan | None
    objective: object
    tune: bool
    promised: bool = True


def passing(constraint, scan, delta, how, training):
    """p-values of a constraint at all cuts, and the cuts that pass with probability 1 - delta."""
    n, bad = scan.counts(constraint)
    exact_weights = how.largest_weight is not None and scan.groups is None
    p = (
        _bets(constraint, scan, how.largest_weight)
        if exact_weights
        else p_of(constraint, scan, n, bad)
    )
    passed = np.zeros(len(p), bool)
    last = len(p) - 1
    if constraint.monotone:
        (step,) = constraint.steps
        passed[_walk(p, last if step < 0 else 0, step, delta)] = True
        return p, passed
    if how.order == "betting":
        p = _bets(constraint, scan, how.largest_weight or scan.weight.max(), ORDER_BETS)
        return p, p <= delta
    ways = len(constraint.steps)
    if how.order == "starts":
        starts = _spread(constraint, scan, delta / (_STARTS * ways))
    else:
        starts = [_likely(constraint, scan, n, delta / ways, training)]
    if training is not None and not constraint.counts and scan.groups is None:
        p = _preset(constraint, scan, training, starts[0], how.largest_weight or scan.weight.max())
    for start in starts:
        for step in constraint.steps:
            passed[_walk(p, start, step, delta / (len(starts) * ways))] = True
    return p, passed


def _likely(constraint, scan, n, delta, training):
    """The cut that most likely passes, told by probabilities or by training rows, not by calibration labels."""
    if training is None:
        expected, bad = scan.counts(constraint, scan.chances)
    else:
        expected, bad = (
            len(scan.code) / len(training.code) * v for v in training.counts(constraint)
        )
    if constraint.counts:
        bad = np.minimum(np.ceil(bad - 1e-9), expected)
    p = p_of(constraint, scan, expected, bad)
    hopeless = p_of(constraint, scan, n, np.zeros(len(n))) > delta
    return int(np.argmin(np.where(hopeless, np.inf, p)))


def _spread(constraint, scan, delta):
    """Cuts in geometric steps from the fewest rows that could pass."""
    n = len(scan.code)
    few = min(least_rows(constraint.level / constraint.bound, delta), n)
    rows = np.unique(np.geomspace(few, max(n / 3, few), _STARTS).round().astype(int))
    rows = n - rows if constraint.steps == (-1,) else rows
    return np.unique(np.searchsorted(scan.cuts, rows).clip(0, len(scan.cuts) - 1))


@dataclass
class Promise:
    """What is promised of one two-class problem, and what was seen.

    Parameters
    ----------
    threshold : float
        Rows of at least this score are flagged.
    promised : bool
        Whether the constraints are promised.
    guarantee : {"exact", "conditional", "approximate", "none"}
        In which sense.
    thresholds : ndarray of shape (n_cuts,)
        Thresholds that were looked at, falling.
    certified : ndarray
        Those that pass all tests.
    p_values : dict of str to ndarray
        p-values of each constraint at each threshold.
    attained_confidence : dict of str to float
        Confidence of each constraint, which for counts is somewhat larger than asked for.
    bound : dict of str to float
        For constraints that grow with the threshold: what the extreme threshold that passes would bear.
    needed : dict of str to int
        Fewest independent rows with which each constraint could be promised.
    n_calibration : dict of str to int
        Calibration rows: all, positive and negative ones, and groups where rows are not independent.
    estimate : dict of str to tuple
        Estimate and two-sided interval of each rate at the threshold; the threshold was chosen on the same rows.
    reasons : list of tuple
        Why nothing is promised: a sentence, and the constraint that fails alone or None.
    """

    threshold: float
    promised: bool
    guarantee: str
    thresholds: np.ndarray
    certified: np.ndarray
    p_values: dict
    attained_confidence: dict
    bound: dict
    needed: dict
    n_calibration: dict
    estimate: dict
    reasons: list = field(default_factory=list)


def certify(constraints, deltas, scan, how, shown, guarantee):
    """Find the thresholds that pass, and the one that is best for the objective.

    Parameters
    ----------
    constraints : list of Constraint
        All have to hold.
    deltas : list of float
        Probabilities of a false promise.
    scan : Scan
        Calibration rows.
    how : How
        How to test.
    shown : dict of str to Constraint
        Rates to estimate.
    guarantee : str
        The best that can be said of these rows.

    Returns
    -------
    Promise
        Thresholds and what holds.
    """
    training = None
    if how.order == "training" and how.promised:
        training = how.training
        scan = scan.at(training.thresholds)
    if how.promised:
        pairs = zip(constraints, deltas, strict=True)
        found = {c: passing(c, scan, delta, how, training) for c, delta in pairs}
    else:
        found = {c: (np.full(len(scan.cuts), np.nan), _holds(c, scan)) for c in constraints}
    passed = np.logical_and.reduce([mask for _, mask in found.values()])
    thresholds = _positions(constraints, scan, training)
    reasons = [] if passed.any() else _reasons(found, deltas, scan, how, thresholds)
    chosen = passed
    if not passed.any() and how.promised and how.tune:
        chosen = np.logical_and.reduce([_holds(c, scan) for c in constraints])
    if chosen.any():
        values = np.where(chosen, how.objective(scan), -np.inf)
        cut = int(np.argmax(values))
    else:  # all rows are flagged where recall comes first, else none
        cut = len(scan.cuts) - 1 if constraints[0].steps == (-1,) else 0
    threshold = thresholds[cut]
    if not chosen.any():
        threshold = -np.inf if cut else np.inf
    promised = bool(passed.any()) and how.promised
    kinds = {"rows": len(scan.code), "positive": int(scan.code.sum())}
    kinds["negative"] = kinds["rows"] - kinds["positive"]
    if scan.groups is not None:
        kinds["groups"] = int(scan.groups.max()) + 1
    pairs = list(zip(constraints, deltas, strict=True)) if how.promised else []
    return Promise(
        threshold=float(threshold),
        promised=promised,
        guarantee=guarantee if promised else "none",
        thresholds=thresholds,
        certified=thresholds[passed] if how.promised else thresholds[:0],
        p_values={c.name: p for c, (p, _) in found.items()},
        attained_confidence={c.name: _attained(c, scan, d) for c, d in pairs} if promised else {},
        bound={c.name: _bound(c, scan, d, found[c][1]) for c, d in pairs if _is_rate(c, scan)},
        needed={c.name: least_rows(c.level / c.bound, d) for c, d in pairs},
        n_calibration=kinds,
        estimate=_estimates(shown, scan, cut),
        reasons=reasons,
    )


def shares(constraint, scan):
    """Mean of bad rows at every cut; nan where there is none to look at."""
    n, bad = scan.counts(constraint)
    return np.divide(bad, n, out=np.full(len(n), np.nan), where=n > 0)


def _holds(constraint, scan):
    return np.nan_to_num(shares(constraint, scan), nan=np.inf) <= constraint.level + 1e-9


def _positions(constraints, scan, training):
    """Thresholds of the cuts: between two rows, or at the one that the tests take as given."""
    if training is not None:
        return scan.thresholds
    names = {c.name for c in constraints}
    edge = {"precision": 1, "npv": -1}
    steps = {edge[name] for name in names & edge.keys()}
    return scan.edges(steps.pop()) if len(steps) == 1 else scan.thresholds


def _is_rate(constraint, scan):
    return constraint.monotone and scan.groups is None


def _anchor(constraint, scan):
    """The safe end."""
    return len(scan.cuts) - 1 if constraint.steps == (-1,) else 0


def _bound(constraint, scan, delta, passed):
    """What the extreme threshold that passes would bear."""
    at = np.flatnonzero(passed)
    cut = (
        _anchor(constraint, scan)
        if not len(at)
        else (at[0] if constraint.steps == (-1,) else at[-1])
    )
    n, bad = (v[cut] for v in scan.counts(constraint))
    return constraint.value_of(largest_share(n, bad, delta))


def _attained(constraint, scan, delta):
    if not _is_rate(constraint, scan) or (scan.weight != scan.weight[0]).any():
        return 1.0 - delta
    n = float(scan.counts(constraint)[0][0])
    return float(1.0 - binomial_tail(n, allowed(n, constraint.level, delta), constraint.level))


def _estimates(shown, scan, cut):
    """Values of rates and 95 % intervals at a cut."""
    n, bad = np.array([[v[cut] for v in scan.counts(c)] for c in shown.values()]).T
    low, high = proportion_interval(bad, n, 0.95)
    share = np.divide(bad, n, out=np.full(len(n), np.nan), where=n > 0)
    found = {}
    for (name, rate), *row in zip(shown.items(), share, low, high, strict=True):
        value, one, other = (float(rate.value_of(v)) for v in row)
        found[name] = (value, min(one, other), max(one, other))
    return found


def _reasons(found, deltas, scan, how, thresholds):
    """Why no threshold passes."""
    each = []
    for (constraint, (p, passed)), delta in zip(found.items(), deltas, strict=True):
        if not passed.any():
            each.append((_reason(constraint, p, scan, delta, how), constraint))
    if each:
        return each
    names = list(found)
    spans = {c: thresholds[passed] for c, (_, passed) in found.items()}
    tops = [c for c in names if c.steps == (-1,) and c.monotone]
    lows = [c for c in names if c.steps == (1,) and c.monotone]
    if len(names) == 2 and tops and lows:
        text = (
            f"{tops[0]} needs a threshold of at most {spans[tops[0]].max():.3g}, {lows[0]} one of at least "
            f"{spans[lows[0]].min():.3g}: they cannot be promised together."
        )
    else:
        named = " and ".join(map(str, names))
        text = f"{named} hold at different thresholds: they cannot be kept together."
    return [(text, None)]


def _reason(constraint, p, scan, delta, how):
    n, bad = scan.counts(constraint)
    value = shares(constraint, scan)
    if not how.promised:
        best = np.nanmin(value) if np.isfinite(value).any() else constraint.bound
        shown = (
            ""
            if constraint.name.startswith("f") and constraint.name != "fpr"
            else (f"; the best is {constraint.value_of(best):.3g}")
        )
        return f"no threshold keeps {constraint} on the {len(scan.code)} calibration rows{shown}."
    said = f"{constraint} cannot be promised with confidence {1 - delta:.4g}"
    needed = least_rows(constraint.level / constraint.bound, delta)
    most = float(n.max())
    unit = "groups of rows" if scan.groups is not None else f"{constraint.kind} rows"
    if most < needed:
        if constraint.fixed:
            were = f"{most:.4g} {unit} were held out"
        else:
            were = f"at most {most:.4g} rows can be {constraint.kind}"
        ideal = {"recall": "is missed", "specificity": "is flagged", "fpr": "is flagged"}
        ideal = ideal.get(constraint.name, "is wrong")
        return f"{said}: {were}, {needed} are needed even if none {ideal}."
    best = int(np.argmin(p))
    compared = f"p = {p[best]:.3g} > {delta:.3g}"
    if p[best] <= delta:
        compared = f"p = {p[best]:.3g}, but an earlier one of the tests failed"
    if constraint.fixed or scan.groups is not None:
        return f"{said}: {most:.4g} {unit} were held out, and no threshold passes ({compared})."
    verb = {"precision": "flags", "npv": "leaves unflagged"}[constraint.name]
    right = n[best] - bad[best]
    return f"{said}: the best cut {verb} {n[best]:.4g} rows of which {right:.4g} are right ({compared})."
