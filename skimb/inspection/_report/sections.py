"""The sections of a report, as data."""

import numpy as np
from sklearn.metrics import log_loss

from skimb._core.html import Estimate, number
from skimb._core.proportions import effective_rows, proportion_interval
from skimb.inspection._report.baselines import prevalence_alone
from skimb.inspection._report.parts import Section, Table
from skimb.inspection._report.words import percent, repr_of
from skimb.metrics import (
    calibration_table,
    classification_table,
)

# --- data ----------------------------------------------------------------------------------------


def data(m):
    """Counts of the classes and what they allow to conclude."""
    e = m.e
    tail = 1.0 - e.confidence
    trained = None
    if e.training is not None and not e.cross_validated:
        trained = np.bincount(
            np.searchsorted(e.classes, e.training.labels), minlength=len(e.classes)
        )
    rows, known = [], {}
    for k, label in enumerate(e.classes.tolist()):
        mask = e.code == k
        n = float(effective_rows(e.w[mask]))
        share = e.rate(mask, np.ones(len(mask), bool))
        low, high = proportion_interval(0.8 * n, n, e.confidence) if n else (np.nan, np.nan)
        most = tail ** (1.0 / n) if n else np.nan
        known[k] = (float(low), float(high), float(most))
        more = () if trained is None else (int(trained[k]),)
        rows.append((str(label), int(mask.sum()), *more, share, Estimate(0.8, *known[k][:2]), most))
    order = np.argsort([-row[1] for row in rows], kind="stable")
    header = ("class", "rows", *(("training rows",) * (trained is not None)), "share")
    header += ("a recall of 0.8 would be known as", "highest recall that can be promised")
    low, high, most = known[e.rare]
    sentence = (
        f"{number(int(e.truth.sum()))} of {number(len(e.code))} rows are of the class {repr_of(e.name)}, "
        f"{percent(e.prevalence)}. From so many a recall of 0.8 is known as {number(low)} to {number(high)}, and "
        f"no recall above {number(most)} can be promised with confidence {e.confidence:g}."
    )
    if m.copies is not None:
        where = "in another fold" if e.cross_validated else "in the training rows"
        many = f"{percent(m.copies)} of the rows have" if m.copies else "No row has"
        sentence += f" {many} an identical copy {where}."
    values = {
        "rows": len(e.code),
        "positives": int(e.truth.sum()),
        "effective_positives": e.n_positive,
        "prevalence": e.prevalence,
        "recall_known": (low, high),
        "most_recall": most,
        "copies": m.copies,
    }
    return Section("data", "Data", sentence, [Table(header, [rows[i] for i in order])], values)


# --- ranking -------------------------------------------------------------------------------------


def ranking(m):
    """Order of the rows by score."""
    e = m.e
    if not e.drawable:
        values, _ = m._redrawn
        ap, auc = values[0]
        rows = [("average precision", float(ap), e.prevalence), ("ROC AUC", float(auc), 0.5)]
        said = f"With {number(e.n_positive)} rows of the class no interval of a ranking is worth its width."
        table = Table(("score", "value", "by chance"), rows)
        return Section(
            "ranking", "Ranking", said, [table], {"average_precision": ap, "roc_auc": auc}
        )
    ap, auc = m.ranking()
    rows = [
        ("average precision", ap, e.prevalence),
        ("ROC AUC", auc, 0.5),
        ("largest distance of the distributions (KS)", m.ks, 0.0),
    ]
    sentence = (
        f"Average precision is {ap}, {ap.value / e.prevalence:.1f} times that of a random order, "
        f"which has {number(e.prevalence)}; ROC AUC is {auc}."
    )
    tables = [Table(("score", "value", "by chance"), rows)]
    if not e.binary:
        found = classification_table(
            e.labels, None, _one_to_one(e), labels=e.classes, sample_weight=e.weight
        )
        each = [
            (str(label), float(a), float(b))
            for label, a, b in zip(
                found.label.tolist(), found.average_precision, found.roc_auc, strict=True
            )
        ]
        tables.append(
            Table(("class", "average precision", "ROC AUC"), each, "Each class against all others")
        )
    values = {"average_precision": ap, "roc_auc": auc, "ks": m.ks}
    return Section("ranking", "Ranking", sentence, tables, values)


def _one_to_one(e):
    """Scores by class that compare a class with all others."""
    if e.answers.probabilities:
        return e.answers.scores
    return np.stack(
        [
            e.answers.scores[:, k] - np.delete(e.answers.scores, k, 1).max(1)
            for k in range(len(e.classes))
        ],
        1,
    )


# --- decisions -----------------------------------------------------------------------------------


def decisions(m):
    """What the classifier decides, class by class."""
    e = m.e
    decided = e.classes[e.answers.code]
    found = classification_table(
        e.labels, decided, labels=e.classes, sample_weight=e.weight, confidence=e.confidence
    )
    parts = [
        found.label.tolist(), found.support, found.predicted, found.recall, found.recall_low, found.recall_high,
        found.precision, found.precision_low, found.precision_high, found.f1,
    ]  # fmt: skip
    rows = [
        (str(label), s, p, Estimate(*map(float, r)), Estimate(*map(float, q)), float(f))
        for label, s, p, *r, q, f in (
            (a, float(b), float(c), d, dl, dh, (g, gl, gh), f)
            for a, b, c, d, dl, dh, g, gl, gh, f in zip(*parts, strict=True)
        )
    ]
    rows.sort(key=lambda row: -row[1])
    tables = [
        Table(("class", "rows", "decided for", "recall", "precision", "F1"), rows, "By class")
    ]
    if len(e.classes) <= 12:
        counts = np.zeros((len(e.classes),) * 2)
        np.add.at(counts, (e.code, e.answers.code), e.w)
        each = [(str(c), *row) for c, row in zip(e.classes.tolist(), counts.tolist(), strict=True)]
        header = ("true class", *(f"decided {c}" for c in e.classes.tolist()))
        tables.append(Table(header, each, "Rows by true and decided class"))
    recall, precision = m.recall(m.decided), m.precision(m.decided)
    flagged = m.flagged(m.decided)
    sentence = (
        f"As it decides, it flags {percent(flagged)} of the rows as {repr_of(e.name)}, finds a share of {recall} "
        f"of the class, and {precision} of what it flags is right."
    )
    values = {"recall": recall, "precision": precision, "flagged": flagged, "f1": m.f1(m.decided)}
    return Section("decisions", "Decisions, class by class", sentence, tables, values)


# --- probabilities -------------------------------------------------------------------------------


def probabilities(m):
    """Whether probabilities can be taken at their word."""
    e = m.e
    if not e.answers.probabilities:
        said = (
            "The classifier gives scores and no probabilities; calibrate it (CalibratedClassifierCV) to decide by "
            "costs."
        )
        return Section("probabilities", "Probabilities", said)
    c = m.calibration
    skill, brier = m.skill(e.answers), m.brier_skill
    ratio = Estimate(c.ratio, c.ratio_low, c.ratio_high)
    slope = Estimate(c.slope, c.slope_low, c.slope_high)
    kinds = np.arange(len(e.classes))
    loss = log_loss(e.code, e.answers.scores, sample_weight=e.weight, labels=kinds)
    rows = [
        ("expected rows of the class", c.expected, None),
        ("observed rows", c.observed, None),
        ("observed / expected", ratio, 1.0),
        ("calibration slope", slope, 1.0),
        ("p-value of “they are right”", c.p_value, None),
        ("mean distance to a smooth curve (ICI)", c.ici, 0.0),
        ("the same of probabilities that are right", c.ici_floor, None),
        ("log-loss", loss, None),
        ("share of the prevalence's log-loss saved", skill, 1.0),
        ("share of the prevalence's Brier score saved", brier, 1.0),
    ]
    sentence = (
        f"It expects {number(c.expected)} rows of the class, {number(c.observed)} are there: a ratio of {ratio}. "
        f"The slope is {slope}; below 1 probabilities are too extreme. "
        f"They save {percent(skill) if skill >= 0 else number(skill)} of the log-loss of the prevalence."
    )
    if c.said:
        sentence += f" {c.said}"
    tables = [Table(("measure", "value", "ideal"), rows)]
    if not e.binary:
        found = classification_table(
            e.labels, None, e.answers.scores, labels=e.classes, sample_weight=e.weight
        )
        ones = np.ones(len(e.code), bool)
        each = [
            (str(label), float(p), e.rate(e.code == k, ones))
            for k, (label, p) in enumerate(
                zip(e.classes.tolist(), found.mean_probability, strict=True)
            )
        ]
        tables.append(Table(("class", "mean probability", "observed share"), each, "Each class"))
    values = {
        "ratio": ratio, "slope": slope, "p_value": float(c.p_value), "expected": float(c.expected),
        "observed": float(c.observed), "ici": c.ici, "ici_floor": c.ici_floor, "skill": skill,
        "brier_skill": brier, "log_loss": float(loss),
    }  # fmt: skip
    if e.drawable:
        bins = int(np.clip(e.w @ e.proba // 5, 1, 10))
        t = calibration_table(
            e.truth.astype(int),
            e.proba,
            n_bins=bins,
            confidence=e.confidence,
            sample_weight=e.weight,
        )
        parts = t.lower, t.upper, t.weight, t.positives, t.predicted, t.observed, t.low, t.high
        each = [
            (f"{number(a)} to {number(b)}", w, h, p, Estimate(*o))
            for a, b, w, h, p, *o in zip(*(part.tolist() for part in parts), strict=True)
        ]
        header = ("probability", "rows", "of the class", "mean probability", "observed share")
        tables.append(Table(header, each, "Bins of equal expected positives"))
    return Section("probabilities", "Probabilities", sentence, tables, values)


# --- baselines -----------------------------------------------------------------------------------


def comparison(m):
    """The classifier beside its rivals."""
    e = m.e
    title = "Honest rivals"
    if e.training is None:
        said = (
            "No training rows were given, so nothing was compared; fit_data=(X_train, y_train) fits the rivals to "
            "the rows that the classifier had."
        )
        return Section("baselines", title, said)
    column = "tuned F1" if e.binary else "tuned mean F1"
    rows, values = [], {}
    for k, one in enumerate(m.contenders):
        ap, auc = m.ranking(k)
        tuned = m.tuned_all[k].code
        f1 = np.nan if tuned is None else m.f1(tuned)
        gap = None if k == 0 else m.paired[k - 1].difference
        rows.append((one.name, ap, gap, auc, m.skill(one), f1, one.seconds))
        values[one.name] = {
            "average_precision": ap, "difference": gap, "roc_auc": auc, "skill": m.skill(one), "tuned_f1": f1,
            "seconds": one.seconds,
        }  # fmt: skip
    alone = prevalence_alone(e)
    base = (
        np.full(len(e.code), m.own)
        if e.binary
        else np.full(len(e.code), int(alone.scores[0].argmax()))
    )
    rows.append((alone.name, e.prevalence, None, 0.5, 0.0, m.f1(base), 0.0))
    header = (
        "model",
        "average precision",
        "this less that",
        "ROC AUC",
        "log-loss saved",
        column,
        "seconds to fit",
    )
    tables = [Table(header, rows)]
    if m.failed:
        tables.append(Table(("could not be fitted", "why"), list(m.failed.items())))
    best = m.best_rival
    if best is None:
        sentence = "No rival could be fitted." if m.failed else "No rivals were asked for."
    else:
        low = best.difference.low > 0
        word = (
            "ahead of" if low else "behind" if best.difference.high < 0 else "not to be told from"
        )
        sentence = (
            f"In average precision the classifier is {word} the best rival, {best.name}: a difference of "
            f"{best.difference}."
        )
    if m.tunable:
        sentence += " Thresholds of all are tuned alike, on other folds of the evaluated rows."
    return Section(
        "baselines", title, sentence, tables, {"models": values, "failed": dict(m.failed)}
    )
