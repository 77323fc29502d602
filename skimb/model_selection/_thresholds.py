"""Decision thresholds that maximise a metric of counts, over all unique scores.

A rule is one number t for two classes (class 1 where its probability is at least t), one per class
otherwise (the class with the largest p / t; for two classes t = (1 - t1, t1) is the same rule), or one per
label of a multi-label target. Scores of decision functions take "additive" rules: the largest s - t.
"""

import numpy as np

_SWEEPS = 20
_TINY = 1e-12


def decide(proba, rule, multilabel, additive=False):
    """Decided codes from probabilities or scores (..., n, C), or 0/1 labels from (..., n, L)."""
    if multilabel:
        return (proba >= rule).astype(int)
    if np.ndim(rule) == 0:
        return (proba[..., 1] >= rule).astype(int)
    return (proba - rule if additive else proba / rule).argmax(-1)


class CountObjective:
    """A metric of counts per class.

    Parameters
    ----------
    metric : callable
        Function of counts (see ``_counts``).
    code : ndarray of shape (n,) or (n, L)
        Class codes or 0/1 labels.
    weight : ndarray of shape (n,), default=None
        Row weights.
    """

    def __init__(self, metric, code, weight=None):
        self.metric, self.code = metric, code
        self.weight = np.ones(len(code)) if weight is None else weight

    def prior(self, proba):
        """Shares of the classes."""
        return np.bincount(self.code, self.weight, proba.shape[1]) / self.weight.sum()

    def of_two(self, order, cuts):
        """Values where the first rows of `order`, up to each cut, are decided for class 1."""
        w, y = self.weight[order], self.code[order]
        right1 = _cumulated(w * y)[cuts]
        wrong1 = _cumulated(w * (1 - y))[cuts]
        n1, n0 = right1[-1], wrong1[-1]
        right = np.stack([n0 - wrong1, right1], -1)
        decided = np.stack([n0 - wrong1 + n1 - right1, right1 + wrong1], -1)
        return self.metric(right, decided, np.broadcast_to([n0, n1], right.shape))

    def of_class(self, k, other, order, cuts, n_classes):
        """Values where these rows are decided for class k and the rest for their `other` class."""
        classes, code, weight = np.arange(n_classes), self.code, self.weight
        w, y, alt = weight[order], code[order], other[order]
        leaves = w[:, None] * (alt[:, None] == classes)
        decided = np.bincount(other, weight, n_classes) - _cumulated(leaves)[cuts]
        right = np.bincount(other, weight * (other == code), n_classes)
        right = right - _cumulated(leaves * (alt == y)[:, None])[cuts]
        decided[:, k] = _cumulated(w)[cuts]
        right[:, k] = _cumulated(w * (y == k))[cuts]
        there = np.bincount(code, weight, n_classes)
        return self.metric(right, decided, np.broadcast_to(there, right.shape))


class CostObjective:
    """Minus the mean cost of decisions.

    Parameters
    ----------
    cost : ndarray of shape (n, C)
        Cost of deciding for each class in each row.
    weight : ndarray of shape (n,), default=None
        Row weights.
    """

    def __init__(self, cost, weight=None):
        self.weight = np.ones(len(cost)) if weight is None else weight
        self.cost = cost * self.weight[:, None] / self.weight.sum()

    def prior(self, proba):
        """Shares of the classes, as far as probabilities tell."""
        return (self.weight @ proba) / self.weight.sum()

    def of_two(self, order, cuts):
        """As in `CountObjective`."""
        more = (self.cost[:, 1] - self.cost[:, 0])[order]
        return -(self.cost[:, 0].sum() + _cumulated(more)[cuts])

    def of_class(self, k, other, order, cuts, n_classes):
        """As in `CountObjective`."""
        before = self.cost[np.arange(len(other)), other]
        return -(before.sum() + _cumulated((self.cost[:, k] - before)[order])[cuts])


class ScorerObjective:
    """Any function of decided codes, one call per cut that is tried; two classes only.

    Parameters
    ----------
    score : callable
        Gives a number from codes (n,).
    most : int, default=None
        Largest number of calls; None tries every cut.
    """

    def __init__(self, score, most=None):
        self.score, self.most = score, most

    def of_two(self, order, cuts):
        """As in `CountObjective`; minus infinity at cuts that were not tried.

        One half of the calls goes to cuts spread evenly and, since rare rows have the highest scores, in
        geometric steps from the top; the rest in two rounds between the neighbours of the best so far.
        """
        values = np.full(len(cuts), -np.inf)
        tried = np.zeros(len(cuts), bool)

        def call(places):
            for place in places:
                decided = np.zeros(len(order), int)
                decided[order[: cuts[place]]] = 1
                value = float(self.score(decided))
                values[place], tried[place] = -np.inf if np.isnan(value) else value, True

        last = len(cuts) - 1
        if self.most is None or last < self.most:
            call(range(len(cuts)))
        else:
            quarter = max(1, self.most // 4)
            even = np.linspace(0, last, quarter)
            from_top = np.geomspace(1, last, quarter)
            call(np.unique(np.r_[even, from_top].round().astype(int)))
            for _ in range(2):
                at, best = np.flatnonzero(tried), int(np.argmax(values))
                around = np.r_[at[at < best][-1:], at[at > best][:1], best]
                near = np.arange(around.min(), around.max() + 1)
                near = near[~tried[near]]
                if len(near) > quarter:
                    near = near[np.linspace(0, len(near) - 1, quarter).round().astype(int)]
                call(np.unique(near))
        if np.isneginf(values).all():
            raise ValueError("scoring gives no number at any threshold.")
        return values


def tune(objective, proba, multilabel=False, additive=False):
    """The rule that maximises an objective.

    Parameters
    ----------
    objective : CountObjective, CostObjective or ScorerObjective
        Values of decisions.
    proba : ndarray of shape (n, C) or (n, L)
        Probabilities, or any scores of labels and of two classes.
    multilabel : bool, default=False
        Whether the target has several labels; counts only.
    additive : bool, default=False
        Whether `proba` holds scores of classes that are compared by differences.

    Returns
    -------
    float or ndarray
        The rule; the exact maximum for two classes and for metrics that are means over labels, a
        coordinate-wise maximum otherwise.
    float
        The value.
    """
    if multilabel:
        return _tune_labels(objective, proba, 0.0 if additive else 0.5)
    if proba.shape[1] == 2:
        return _tune_binary(objective, proba[:, 1])
    logs = proba if additive else np.log(proba.clip(1e-300))
    shares = np.eye(proba.shape[1])[proba.argmax(1)] if additive else proba
    prior = np.log(objective.prior(shares).clip(1e-6))
    starts = [power * prior for power in (0.0, 0.5, 1.0)]  # from argmax to the balanced decision
    found = max((_tune_classes(objective, logs, start) for start in starts), key=lambda f: f[1])
    log_t, value = found
    return (log_t - log_t.mean() if additive else _normalised(log_t)), value


def _cuts(sorted_scores):
    """Positions between different scores, with both ends, and a threshold for each.

    Position i means that the first i rows, in falling order, are taken.
    """
    s = sorted_scores
    inner = np.flatnonzero(s[1:] != s[:-1]) + 1
    cuts = np.concatenate([[0], inner, [len(s)]])
    middle = 0.5 * (s[inner - 1] + s[inner])
    middle = np.where(
        middle > s[inner], middle, s[inner - 1]
    )  # neighbours without a number between
    first = np.nextafter(s[0], np.inf) if len(s) else 0.5
    return cuts, np.concatenate([[first], middle, [min(s[-1], 0.0)]])


def _cumulated(values):
    return np.concatenate([np.zeros((1, *values.shape[1:])), values.cumsum(0)])


def _tune_binary(objective, score):
    order = np.argsort(-score, kind="stable")
    cuts, thresholds = _cuts(score[order])
    values = objective.of_two(order, cuts)
    best = int(np.argmax(values))
    return float(thresholds[best]), float(values[best])


def _tune_classes(objective, logp, log_t):
    """Move one class's threshold after the other to its best place until nothing improves."""
    n, width = logp.shape
    log_t = log_t.copy()
    best = -np.inf
    for _ in range(_SWEEPS):
        before = best
        for k in range(width):
            margin = logp - log_t
            own = logp[:, k].copy()
            margin[:, k] = -np.inf
            other = margin.argmax(1)
            need = own - margin[np.arange(n), other]  # k is decided where log t_k is at most this
            order = np.argsort(-need, kind="stable")
            cuts, thresholds = _cuts(need[order])
            thresholds[-1] = need.min() - 1.0  # logs may be negative: no floor at 0
            values = objective.of_class(k, other, order, cuts, width)
            top = int(np.argmax(values))
            if values[top] > best + _TINY:
                best = float(values[top])
                log_t[k] = thresholds[top]
        if best <= before + _TINY:
            break
    return log_t, best


def _normalised(log_t):
    t = np.exp(log_t - log_t.max())
    return t / t.sum()


def _tune_labels(objective, proba, start):
    """Move one label's threshold after the other to its best place until nothing improves."""
    metric, code, weight = objective.metric, objective.code, objective.weight
    labels = range(code.shape[1])
    there = weight @ code
    rule = np.full(code.shape[1], start)
    first = decide(proba, rule, True)
    right, decided = weight @ (first * code), weight @ first
    best = float(metric(right, decided, there))
    for _ in range(_SWEEPS):
        before = best
        for k in labels:
            order = np.argsort(-proba[:, k], kind="stable")
            cuts, thresholds = _cuts(proba[order, k])
            right_k = _cumulated(weight[order] * code[order, k])[cuts]
            decided_k = _cumulated(weight[order])[cuts]
            some_right = np.repeat(right[None].astype(float), len(cuts), 0)
            some_decided = np.repeat(decided[None].astype(float), len(cuts), 0)
            some_right[:, k], some_decided[:, k] = right_k, decided_k
            values = metric(some_right, some_decided, np.broadcast_to(there, some_right.shape))
            top = int(np.argmax(values))
            if values[top] > best + _TINY:
                best, rule[k] = float(values[top]), thresholds[top]
                right, decided = some_right[top], some_decided[top]
        if best <= before + _TINY:
            break
    return rule, best
