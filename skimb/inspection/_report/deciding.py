"""The sections of a report about decisions: thresholds, promises, budgets, usefulness."""

import warnings
from numbers import Integral, Real

import numpy as np

from skimb._core.costs import elkan
from skimb._core.html import Estimate, number
from skimb._core.proportions import effective_rows, proportion_interval
from skimb._core.ranks import least_rows
from skimb._core.stand_ins import Answers
from skimb.inspection._report.parts import Section, Table
from skimb.inspection._report.words import in_words, percent, plain, repr_of
from skimb.metrics import (
    net_benefit_curve,
    precision_at_budget,
    recall_at_budget,
)
from skimb.model_selection import GuaranteedThresholdClassifier, GuaranteeWarning

RECALLS = (0.8, 0.9, 0.95)
SHARES = (0.01, 0.05, 0.1)


# --- thresholds ----------------------------------------------------------------------------------


def rules(m):
    """Rules of decision with the rows they decide: name, threshold, decisions."""
    e = m.e
    found = [("as it decides", m.threshold, m.decided)]
    code, scores = m.view(e.answers)
    tuned = m.tuned_all[0]
    if tuned.code is not None:
        found.append(("best F1, tuned on other folds", tuned.threshold, tuned.code))
    if m.cost is not None:
        if e.answers.probabilities:
            if e.binary:
                t = elkan(m.cost)
                found.append(
                    ("least expected cost, from the costs", t, (scores[:, 1] >= t).astype(int))
                )
            else:
                found.append(
                    ("least expected cost, from the costs", None, (scores @ m.cost).argmin(1))
                )
        cheap = m.tuned(e.answers, "cost")
        if cheap.code is not None:
            found.append(("least cost, tuned on other folds", cheap.threshold, cheap.code))
        most = int(np.bincount(code, e.w, len(e.classes)).argmax())
        found += [
            (f"always {repr_of(_label(e, k))}", None, np.full(len(code), k))
            for k in sorted({most, m.own})
        ]
    return found


def _label(e, k):
    return e.classes[[1 - e.rare, e.rare][k]] if e.binary else e.classes[k]


def thresholds(m):
    """Rules of decision side by side."""
    e = m.e
    rows = []
    for name, t, decided in rules(m):
        t = t if t is None or np.ndim(t) == 0 else None
        row = (name, t) if e.binary else (name,)
        row += (m.flagged(decided), m.recall(decided), m.precision(decided), m.f1(decided))
        rows.append(row if m.cost is None else (*row, m.mean_cost(decided)))
    header = ("rule", *(("threshold",) * e.binary), "flagged", "recall", "precision")
    header += ("F1" if e.binary else "mean F1", *(("mean cost",) * (m.cost is not None)))
    table = Table(header, rows)
    f1 = "F1" if e.binary else "mean F1"
    values = table.column(f1)
    sentence = f"As it decides, {f1} is {number(values[0])}"
    if m.tuned_all[0].code is not None:
        sentence += f"; at thresholds that are tuned on other folds it is {number(values[1])}"
    sentence += "."
    if not m.tunable:
        sentence += f" Thresholds of {len(e.classes)} classes over so many rows were not tuned."
    if m.cost is not None:
        costs = dict(zip(table.column("rule"), table.column("mean cost"), strict=True))
        best = min(costs, key=costs.get)
        sentence += (
            f" The mean cost of a row is {number(costs['as it decides'])} as it decides and least, "
            f"{number(costs[best])}, by the rule “{best}”."
        )
    values = {"rules": {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}}
    if e.binary and len(e.folds) > 1:
        values["fold_thresholds"] = np.asarray(m.tuned_all[0].rules, float).tolist()
        sentence += (
            f" Without one fold at a time the best threshold moves between "
            f"{number(min(values['fold_thresholds']))} and {number(max(values['fold_thresholds']))}."
        )
    return Section("thresholds", "Thresholds", sentence, [table], values)


# --- promises ------------------------------------------------------------------------------------


def _asked(m, constraint):
    if constraint is not None:
        return [constraint]
    e = m.e
    return [{"recall": r if e.binary else {plain(e.name): r}} for r in RECALLS]


def promises(m, constraint):
    """What a threshold can promise of new rows."""
    e = m.e
    rows, found = [], []
    for asked in _asked(m, constraint):
        model, said = promise(m, asked)
        sense = "approximate" if e.cross_validated and model.promised_ else model.guarantee_
        found.append(
            {
                "constraint": asked,
                "promised": model.promised_,
                "guarantee": sense,
                "needed": model.needed_,
            }
        )
        decided = model.predict(e.answers.scores)
        decided = np.searchsorted(e.classes, decided)
        decided = (decided == e.rare).astype(int) if e.binary else decided
        t = model.threshold_ if e.binary and model.promised_ else None
        found[-1] |= {"threshold": t, "message": said}
        row = (in_words(asked), "yes" if model.promised_ else "no")
        if model.promised_:
            row += (t, m.flagged(decided), m.recall(decided), m.precision(decided), "")
        else:
            row += (None, None, None, None, said)
        rows.append(row if e.binary else (*row[:2], *row[3:]))
    header = (
        "promise",
        "given",
        *(("threshold",) * e.binary),
        "flagged",
        "recall here",
        "precision here",
        "why not",
    )
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    given = [row[0] for row in rows if row[1] == "yes"]
    if given:
        sentence = (
            f"With confidence {e.confidence:g}, a threshold from these rows promises {' or '.join(given)} of new "
            "rows that are drawn alike."
        )
        if constraint is None and len(given) > 1:
            sentence += " Each promise stands alone; take one, not the best of several."
    else:
        sentence = f"Nothing can be promised with confidence {e.confidence:g} from these rows."
    if e.cross_validated:
        sentence += " As the classifier is to be fitted again, such promises are approximate."
    n1 = e.n_positive
    values = {
        "promises": found,
        "needed_recall_0.9": least_rows(0.1, 1 - e.confidence),
        "positives": n1,
    }
    return Section("promises", "Promises", sentence, [Table(header, rows)], values)


def promise(m, constraint):
    """A threshold that keeps a promise, and what was said."""
    e = m.e
    scores = e.answers.scores
    held = {"probabilities": _as_given} if e.answers.probabilities else {"scores": _as_given}
    model = GuaranteedThresholdClassifier(
        _Scored(e.classes, **held), constraint=constraint, cv="prefit",
        confidence=e.confidence, cost=e.cost if e.binary else None, pos_label=plain(e.name) if e.binary else None,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(scores, e.labels, sample_weight=e.weight)
    texts = [str(w.message) for w in caught if issubclass(w.category, GuaranteeWarning)]
    return model, texts[0] if texts else ""


class _Scored(Answers):
    """A fitted classifier whose rows are scores already."""

    def fit(self, X, y):
        """Nothing to do."""
        return self


def _as_given(X):
    return X


# --- budgets -------------------------------------------------------------------------------------


def budgets(m, budget):
    """What reviewing the highest scores finds."""
    e = m.e
    total = e.w.sum()
    if budget is None:
        wanted = [q for q in SHARES if q * total >= 1] or [1.0]
    else:
        wanted = list(budget) if np.ndim(budget) else [budget]
    if not wanted:
        raise ValueError("budget=[] is empty; give a number of rows, a share of them, or None.")
    rows, values = [], []
    for one in wanted:
        most = total if isinstance(one, Integral) else 1
        if isinstance(one, bool) or not isinstance(one, Real) or not 0 < one <= most:
            raise ValueError(
                f"budget={one!r} must be a number of rows, at most the {total:g} there are, or a share of them in "
                "(0, 1]."
            )
        kw = {"budget": one, "sample_weight": e.weight}
        recall = recall_at_budget(e.truth.astype(int), e.score(), **kw)
        precision = precision_at_budget(e.truth.astype(int), e.score(), **kw)
        size = one * total if not isinstance(one, Integral) else float(one)
        shrink = effective_rows(e.w) / total
        n1, n = e.n_positive, size * shrink
        r = Estimate(recall, *map(float, proportion_interval(recall * n1, n1, e.confidence)))
        q = Estimate(precision, *map(float, proportion_interval(precision * n, n, e.confidence)))
        name = (
            f"{percent(one)} of the rows"
            if not isinstance(one, Integral)
            else f"{number(one)} rows"
        )
        lift = precision / e.prevalence
        rows.append((name, round(size), recall * e.w[e.truth].sum(), r, q, lift))
        values.append({"budget": one, "recall": r, "precision": q, "lift": lift})
    name, _, _, r, q, lift = rows[min(1, len(rows) - 1)] if budget is None else rows[0]
    sentence = (
        f"Reviewing the {name} with the highest scores finds {r} of the class, {lift:.1f} times what as many "
        "random rows would hold."
    )
    header = ("reviewed", "rows", "found", "recall", "precision", "times chance")
    return Section("budget", "Review budget", sentence, [Table(header, rows)], {"budgets": values})


# --- usefulness ----------------------------------------------------------------------------------


def usefulness(m):
    """Net benefit over deciding all rows alike."""
    e = m.e
    if not e.answers.probabilities:
        return None
    own = elkan(m.cost) if e.binary and m.cost is not None else e.prevalence
    at = sorted({own, *(e.prevalence * np.array([0.5, 1.0, 2.0, 5.0])).tolist()})
    at = [t for t in at if t < 1]
    found = net_benefit_curve(
        e.truth.astype(int), e.proba, thresholds=at, confidence=e.confidence, sample_weight=e.weight
    )
    rows, values = [], []
    for t, value, low, high, everything in zip(
        at, found.net_benefit, found.low, found.high, found.treat_all, strict=True
    ):
        one = Estimate(*map(float, (value, low, high)))
        rows.append((number(t), f"1 : {number((1 - t) / t)}", one, float(everything), 0.0))
        values.append({"threshold": t, "net_benefit": one, "flag_all": float(everything)})
    best = values[at.index(own)]
    by = " (by the costs)" if e.binary and m.cost is not None else ""
    rival = max(best["flag_all"], 0.0)
    word = "more" if best["net_benefit"].value > rival else "no more"
    sentence = (
        f"Flagging from a probability of {number(own)} on{by} has a net benefit of {best['net_benefit']} per row, "
        f"{word} than flagging all or no rows ({number(rival)})."
    )
    header = ("threshold", "a case is worth", "net benefit", "flag all", "flag none")
    return Section(
        "usefulness", "Usefulness", sentence, [Table(header, rows)], {"net_benefit": values}
    )
