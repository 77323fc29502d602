"""Sentences of a report by stated rules."""

import numpy as np
from scipy.special import logit
from scipy.stats import chi2_contingency

from skimb._core.costs import elkan
from skimb._core.html import number
from skimb.inspection._holm import holm
from skimb.inspection._report.baselines import core, sampler_of, special_loss
from skimb.inspection._report.parts import LEVELS, Verdict
from skimb.inspection._report.words import percent, repr_of

#: what each rule looks at, in words
RULES = {
    "SKI001": "few rows of the class",
    "SKI002": "too few rows for a promise",
    "SKI003": "probabilities are off",
    "SKI004": "no better than the prevalence",
    "SKI005": "the special loss is not better",
    "SKI006": "worse than a baseline",
    "SKI007": "an unstable threshold",
    "SKI008": "the middle as threshold of a rare class",
    "SKI009": "resampled and not corrected",
    "SKI010": "a leak",
    "SKI011": "useless at the costs",
}
_PROBABLE, _WORSE = 0.01, 0.05
_FEW, _SMALL = 10, 30


def judge(m, sections, constraint):
    """All verdicts, the gravest first, and the number of p-values behind them.

    Parameters
    ----------
    m : Measures
        Figures.
    sections : dict of str to Section
        Sections by key.
    constraint : dict or None
        What was asked to be promised.

    Returns
    -------
    list of Verdict
        Verdicts.
    int
        p-values that were looked at.
    """
    tested = _tested(m)
    found = [
        _few(m, sections["decisions"].values["recall"]),
        _promise(m, sections["promises"].values, constraint),
        tested.get("SKI003"),
        _prevalence(m, sections["ranking"].values),
        _special(m),
        tested.get("SKI006"),
        _unstable(m),
        _middle(m),
        _resampled(m),
        _leak(m, sections["ranking"].values),
        _useless(m, sections.get("usefulness")),
    ]
    found = [one for one in found if one is not None]
    return sorted(found, key=lambda one: LEVELS.index(one.level)), tested["n"]


def weakest(sections):
    """The least certain figure of decisions, in words."""
    values = sections["decisions"].values
    known = [(name, values[name]) for name in ("recall", "precision")]
    known = [(name, one) for name, one in known if np.isfinite(one.high - one.low)]
    name, one = max(known, key=lambda pair: pair[1].high - pair[1].low)
    return f"the least certain figure is a {name} of {one}"


def _few(m, recall):
    n = m.e.n_positive
    half = 0.5 * (recall.high - recall.low)
    numbers = {"rows": n, "half_width": half}
    name = repr_of(m.e.name)
    if n < _FEW:
        text = (
            f"Only {number(n)} rows of the class {name}: no curve is drawn, and no figure of it is known well "
            "enough to decide by."
        )
        return Verdict("SKI001", "stop", text, numbers)
    if n < _SMALL and half > 0.15:
        text = f"Only {number(n)} rows of the class {name}: recall is known to within {number(half)} and no better."
        return Verdict("SKI001", "warn", text, numbers)
    return None


def _promise(m, values, constraint):
    if constraint is None:
        n, needed = m.e.n_positive, values["needed_recall_0.9"]
        if n >= needed:
            return None
        text = (
            f"A recall of 0.9 cannot be promised with confidence {m.e.confidence:g}: {number(n)} rows of the class "
            f"were held out, {needed} are needed even if none is missed."
        )
        return Verdict("SKI002", "warn", text, {"rows": n, "needed": needed})
    one = values["promises"][0]
    if one["promised"]:
        return None
    text = one["message"] or "What was asked cannot be promised from these rows."
    return Verdict("SKI002", "warn", text, {"needed": one["needed"]})


def _tested(m):
    """Verdicts of level "warn" that rest on p-values, adjusted for each other."""
    e, ps = m.e, {}
    if e.answers.probabilities and np.isfinite(m.calibration.p_value):
        ps["SKI003"] = m.calibration.p_value
    best = m.best_rival if e.drawable else None
    if best is not None and np.isfinite(best.p_worse):
        ps["SKI006"] = best.p_worse
    adjusted = dict(zip(ps, holm(list(ps.values())), strict=True)) if ps else {}
    found = {"n": len(ps) + (m.twin is not None and e.drawable)}
    if e.answers.probabilities:
        c = m.calibration
        p = adjusted.get("SKI003", np.nan)
        off = not c.ratio_low <= 1 <= c.ratio_high and not 0.8 <= c.ratio <= 1.25
        if p < _PROBABLE or off:
            found["SKI003"] = _off(c, p)
    if adjusted.get("SKI006", 1.0) < _WORSE and best.difference.value < 0:
        p = adjusted["SKI006"]
        text = (
            f"Worse than {best.name}: average precision differs by {best.difference}, p = {number(p)}. Take the "
            "other model, or find out why."
        )
        numbers = {"rival": best.name, "difference": best.difference, "p_value": float(p)}
        found["SKI006"] = Verdict("SKI006", "warn", text, numbers)
    return found


def _off(c, p):
    numbers = {
        "ratio": float(c.ratio),
        "slope": float(c.slope),
        "p_value": float(p),
        "remedy": c.remedy,
    }
    ratio = f"{number(c.ratio)} ({number(c.ratio_low)} to {number(c.ratio_high)})"
    cure = (
        "the order is kept and the level is off, so tell it the population (PriorCorrectedClassifier)"
        if c.remedy == "prior"
        else "calibrate on rows it did not see (CalibratedClassifierCV)"
    )
    text = (
        f"Probabilities are off: observed over expected is {ratio}, the slope {number(c.slope)}, "
        f"p = {number(p)}; {cure}, before anything is decided by costs."
    )
    return Verdict("SKI003", "warn", text, numbers)


def _prevalence(m, values):
    e = m.e
    skill = m.skill(e.answers)
    ap = values["average_precision"]
    low = ap.low if hasattr(ap, "low") else np.nan
    if not (skill <= 0 or low <= e.prevalence):
        return None
    why = []
    if skill <= 0:
        why.append(f"its log-loss is {percent(-skill)} above that of the prevalence")
    if low <= e.prevalence:
        why.append(
            f"average precision {ap} does not exclude the {number(e.prevalence)} of a random order"
        )
    text = f"No better than the prevalence alone: {' and '.join(why)}."
    return Verdict("SKI004", "stop", text, {"skill": skill, "average_precision": ap})


def _special(m):
    twin = m.twin if m.e.drawable else None
    if twin is None or not twin.p_better >= 0.05:
        return None
    k = [one.name for one in m.rivals].index(twin.name) + 1
    f1 = [
        np.nan if one.code is None else m.f1(one.code) for one in (m.tuned_all[0], m.tuned_all[k])
    ]
    loss = type(special_loss(m.e.estimator)).__name__
    text = (
        f"{loss} does not beat class-weighted cross-entropy beyond noise: average precision differs by "
        f"{twin.difference}, p = {number(twin.p_better)}; F1 at tuned thresholds is {number(f1[0])} against "
        f"{number(f1[1])}. The simpler loss will do."
    )
    return Verdict(
        "SKI005", "note", text, {"difference": twin.difference, "p_value": twin.p_better, "f1": f1}
    )


def _unstable(m):
    e = m.e
    if not e.binary or len(e.folds) < 2:
        return None
    rules = np.asarray(m.tuned_all[0].rules, float)
    spread = float(logit(rules.clip(1e-6, 1 - 1e-6)).std()) if e.answers.probabilities else 0.0
    recalls = _recalls_apart(m)
    if spread <= 0.5 and not recalls:
        return None
    numbers = {"deviation": spread, "recalls": recalls, "thresholds": rules.tolist()}
    why = (
        f"without one fold at a time it moves between {number(rules.min())} and {number(rules.max())}"
        if spread > 0.5
        else f"recall at it moves between {number(min(recalls))} and {number(max(recalls))} over the folds"
    )
    text = f"The best threshold is not well known: {why}. More rows, or a promise in its place, will do better."
    return Verdict("SKI007", "note", text, numbers)


def _recalls_apart(m):
    """Recalls of folds that differ by more than 0.15 and beyond chance, else none."""
    e = m.e
    parts = [test[e.truth[test]] for test in e.folds]
    parts = [part for part in parts if len(part) >= _SMALL]
    found = np.array([np.sum(m.tuned_all[0].code[part] == 1) for part in parts])
    n = np.array([len(part) for part in parts])
    if len(parts) < 2 or not 0 < found.sum() < n.sum() or np.ptp(found / n) <= 0.15:
        return []
    table = np.stack([found, n - found])
    return (found / n).tolist() if chi2_contingency(table).pvalue < _PROBABLE else []


def _middle(m):
    e = m.e
    tuned = m.tuned_all[0].code
    if not e.binary or e.prevalence >= 0.1 or m.threshold not in (0.0, 0.5) or tuned is None:
        return None
    now, then = m.f1(m.decided), m.f1(tuned)
    if then - now <= 0.05:
        return None
    text = (
        f"It decides at {m.threshold:g}, the middle, where the class is rare: F1 is {number(now)}, and "
        f"{number(then)} at a tuned threshold (TunedThresholdClassifierCV)."
    )
    return Verdict(
        "SKI008", "note", text, {"f1": now, "tuned_f1": then, "prevalence": e.prevalence}
    )


def _resampled(m):
    name = sampler_of(core(m.e.estimator))
    c = m.calibration if m.e.answers.probabilities else None
    if name is None or c is None or c.ratio_low <= 1 <= c.ratio_high:
        return None
    text = (
        f"The step {name!r} resamples the rows and nothing takes it back: probabilities expect "
        f"{number(c.expected)} rows of the class, {number(c.observed)} are there (ResampledClassifier, "
        "PriorCorrectedClassifier)."
    )
    return Verdict(
        "SKI009", "warn", text, {"expected": float(c.expected), "observed": float(c.observed)}
    )


def _leak(m, values):
    auc = values["roc_auc"]
    auc = float(getattr(auc, "value", auc))
    why = []
    if m.copies is not None and m.copies > 0.01:
        where = "other folds" if m.e.cross_validated else "the training rows"
        why.append(f"{percent(m.copies)} of the rows stand in {where} as well, feature by feature")
    if auc > 0.999:
        why.append(f"a ROC AUC of {auc:.4f} is too good to be true of most questions")
    if not why:
        return None
    text = (
        f"Rows may have leaked: {' and '.join(why)}. Split by what belongs together, and look for a feature that "
        "knows the answer."
    )
    return Verdict("SKI010", "warn", text, {"copies": m.copies, "roc_auc": auc})


def _useless(m, section):
    if section is None or m.cost is None or not m.e.binary:
        return None
    t = elkan(m.cost)
    one = min(section.values["net_benefit"], key=lambda v: abs(v["threshold"] - t))
    rival = max(one["flag_all"], 0.0)
    if one["net_benefit"].high >= rival:
        return None
    text = (
        f"At these costs (threshold {number(t)}) deciding all rows alike is better: a net benefit of "
        f"{number(rival)} against {one['net_benefit']}."
    )
    return Verdict("SKI011", "warn", text, {"threshold": t, **one})
