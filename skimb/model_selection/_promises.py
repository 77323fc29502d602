"""What a classifier that promises needs beside the tests: an objective, the sense of a promise, and words."""

import numpy as np
from sklearn.metrics import check_scoring

from skimb._core.inner import calibrated
from skimb._core.proportions import effective_rows
from skimb._core.warn import warn_user
from skimb.model_selection._bulk import bulk_score
from skimb.model_selection._certified import How, certify, shares
from skimb.model_selection._constraints import F_SCORE, RATES, checked_constraint
from skimb.model_selection._counts import Averaged, FRatio
from skimb.model_selection._decisions import CountDecisions, positive_of
from skimb.model_selection._thresholds import CountObjective

_DEFAULT = {
    "recall": "review_rate", "npv": "review_rate", "specificity": "recall", "fpr": "recall",
    "precision": "recall", "review_rate": "recall",
}  # fmt: skip
_SPLITS = 20  # shares of rows to hold out that advice may name


class GuaranteeWarning(UserWarning):
    """A promise cannot be given, or holds in a weaker sense than it seems to."""


def objective_of(objective, first, cost, order):
    """Values of all cuts of a scan, to be maximised among those that pass.

    Parameters
    ----------
    objective : str, callable or None
        What to maximise (rates of errors and costs: to minimise); None takes what the first constraint costs.
    first : Constraint
        The first constraint.
    cost : ndarray of shape (2, 2) or None
        Costs.
    order : ndarray
        Classes in the order of codes.

    Returns
    -------
    callable
        Gives values (n_cuts,) from a scan.
    """
    if objective is None:
        objective = _DEFAULT.get(first.name, first.name)
    if isinstance(objective, str):
        match = F_SCORE.match(objective)
        if match:
            metric = Averaged(FRatio(float(match[1])), "binary", False)
            return lambda scan: CountObjective(metric, scan.code, scan.weight).of_two(
                scan.order, scan.cuts
            )
        if objective in RATES or objective == "cost":
            value = 0.5 if cost is None or objective != "cost" else cost.mean()
            rate = checked_constraint(objective, value, cost, True)
            return lambda scan: -np.nan_to_num(shares(rate, scan), nan=rate.bound)
    scorer = check_scoring(scoring=objective) if isinstance(objective, str) else objective
    classes = order if positive_of(scorer)[1] and len(order) == 2 else np.arange(2)
    bulk = bulk_score(scorer, classes, False)
    if bulk is None or bulk.response != "decisions":
        raise ValueError(
            f"objective={objective!r} is no metric of counts; give one of {', '.join(RATES)}, cost, or an F-score, "
            "balanced_accuracy or another scorer of decisions by its name."
        )

    def values(scan):
        decisions = CountDecisions(bulk, scan.code, scan.weight, 2)
        return decisions.objective(slice(None)).of_two(scan.order, scan.cuts)

    return values


def advice(constraint, promise, totals, cv):
    """What would help where too few rows were held out for a constraint, or an empty text.

    Parameters
    ----------
    constraint : Constraint
        What cannot be promised.
    promise : Promise
        Of the calibration rows.
    totals : dict of str to int
        Positive and negative rows, and all of them, that there are in all.
    cv : object
        How they were held out; None where they were given as they are.

    Returns
    -------
    str
        A sentence.
    """
    name = constraint.name
    if name not in promise.bound:
        return ""
    kind = "rows" if constraint.kind == "calibration" else constraint.kind
    needed = promise.needed[name]
    if promise.n_calibration[kind] >= needed:
        return ""
    ways = []
    total = totals[kind]
    rows = "rows" if kind == "rows" else f"{kind} rows"
    said = ""
    if cv is not None:
        share = np.ceil(_SPLITS * needed / max(total, 1)) / _SPLITS
        if total < needed:
            said = f" All {total} {rows} together are too few."
        elif share <= 0.8:
            ways.append(f"hold out more of the {total} {rows} with cv={share:g}")
        else:
            ways.append(f"use all {total} {rows} with cv=5 (approximate)")
    bound = promise.bound[name]
    rounded = (np.ceil if constraint.at_most else np.floor)(_SPLITS * bound) / _SPLITS
    if 0 < rounded < 1:
        most = "least" if constraint.at_most else "most"
        held = promise.n_calibration[kind]
        ways.append(f"promise {rounded:g} ({held} rows allow at {most} {bound:.3f})")
    text = ", or ".join(ways)
    return said + (f" {text[0].upper()}{text[1:]}." if text else "")


class PromiseMaker:
    """Makes the promises of a classifier's two-class problems, all tested alike, and says what fails.

    Parameters
    ----------
    model : GuaranteedThresholdClassifier
        Whose parameters say what to promise, fitted as far as ``estimator_``.
    cost : ndarray of shape (2, 2) or None
        Costs in the order of codes.
    weight : ndarray or None
        Weights of all calibration rows.
    units : ndarray or None
        Groups that are the independent units.
    approximate : bool
        Whether the rows were not scored by the classifier that will decide.
    cv : object
        How the rows were held out; None where they were given.
    """

    def __init__(self, model, cost, weight, units, approximate, cv):
        self.model, self.cost, self.units, self.approximate = model, cost, units, approximate
        self.cv = None if isinstance(cv, str) else cv
        self.varied = weight is not None and (weight != weight[0]).any()
        self.weight = weight
        self.largest = self._largest()
        self.failures, self.constant = [], 0

    def _largest(self):
        """Bound of the weights for exact tests, or None."""
        given = self.model.exact_weights
        if not given or not self.varied or self.units is not None:
            return None
        seen = float(self.weight.max())
        if given is not True and given < seen:
            raise ValueError(
                f"exact_weights={given:g} bounds the weights, but the largest one seen is {seen:g}."
            )
        return seen if given is True else float(given)

    def make(self, values, scan, parts, everything, training, said=""):
        """The promise of one problem.

        Parameters
        ----------
        values : dict of str to float
            Constraints.
        scan : Scan
            Calibration rows.
        parts : int
            Number of promises that share the probability of an error.
        everything : ndarray or None
            Codes of all rows there are, for advice.
        training : Scan or None
            Training rows, out of fold.
        said : str, default=""
            What messages begin with.

        Returns
        -------
        Promise
            What was found.
        """
        model = self.model
        promised = model.confidence is not None
        constraints = [checked_constraint(n, v, self.cost, promised) for n, v in values.items()]
        how = How(
            order=self._order(constraints, training),
            largest_weight=self.largest,
            training=training,
            objective=objective_of(model.objective, constraints[0], self.cost, model._order),
            tune=model.unmet == "tune",
            promised=promised,
        )
        shown = {name: checked_constraint(name, 0.5, None, True) for name in RATES}
        deltas = self._deltas([c.name for c in constraints], parts)
        promise = certify(constraints, deltas, scan, how, shown, self._guarantee(constraints, how))
        self.constant += len(promise.thresholds) == 2
        if promise.reasons:
            cv = None if everything is None else self.cv
            counts = {}
            if everything is not None:
                counts = {"rows": len(everything), "positive": int(everything.sum())}
                counts["negative"] = counts["rows"] - counts["positive"]
            for reason, constraint in promise.reasons:
                hint = advice(constraint, promise, counts, cv) if constraint and counts else ""
                self.failures.append(said + reason + hint)
            self.last = promise.threshold
        return promise

    def _order(self, constraints, training):
        """Where tests begin."""
        order, model = self.model.order, self.model
        guided = not model._additive and calibrated(model.estimator_)
        if order == "auto":
            return "guided" if guided else "starts"
        if order == "guided" and model._additive:
            raise ValueError(
                "order='guided' needs probabilities, the scores are of decision_function; take order='starts'."
            )
        if order == "training" and training is None and model.confidence is not None:
            raise ValueError(
                "order='training' needs a training part, which stands for all promises: take cv=0.5 and "
                "per_group=False."
            )
        open_ = [c.name for c in constraints if not c.monotone]
        other = [name for name in open_ if name not in ("precision", "npv")]
        if order == "betting" and (other or (open_ and self.units is not None)):
            raise ValueError(
                f"order='betting' is for precision and npv of independent rows, not for "
                f"{', '.join(other or open_)} {'of groups' if self.units is not None else 'here'}; take "
                "order='auto'."
            )
        return order

    def _deltas(self, names, parts):
        """Probability of a false promise that each constraint may have."""
        confidence = self.model.confidence
        if confidence is None:
            return [0.0] * len(names)
        if not isinstance(confidence, dict):
            return [(1.0 - confidence) / (len(names) * parts)] * len(names)
        given = [confidence.get(name) for name in names]
        if set(confidence) != set(names) or not all(
            isinstance(c, float) and 0 < c < 1 for c in given
        ):
            raise ValueError(
                f"confidence={confidence!r} must hold a number between 0 and 1 for each of the constraints {names}."
            )
        return [(1.0 - c) / parts for c in given]

    def _guarantee(self, constraints, how):
        weighted = self.varied and self.units is None
        if self.approximate or (weighted and self.largest is None):
            return "approximate"
        open_ = how.order != "training" and not all(c.monotone for c in constraints)
        if open_ or (weighted and self.model.exact_weights is True):
            return "conditional"
        return "exact"

    def speak(self, grouped):
        """Warn of what the user should know; raise where nothing is promised and that is an error."""
        if self.constant:
            warn_user(
                "All calibration rows have the same score: the only decisions are to flag all rows or none.",
                GuaranteeWarning,
            )
        weighted = self.varied and self.units is None and self.model.confidence is not None
        if weighted and self.largest is None:
            rows, effective = len(self.weight), effective_rows(self.weight)
            warn_user(
                f"sample_weight is taken as the importance of rows, not as counts: {rows} rows count as "
                f"{effective:.4g}, and the promise is approximate; exact_weights=True tests it exactly, "
                "from more rows.",
                GuaranteeWarning,
            )
        if not self.failures:
            return
        text = "\n".join(self.failures)
        if self.model.unmet == "raise":
            raise ValueError(text)
        if grouped:
            done = "The threshold of all rows decides these groups."
        elif self.model.unmet == "tune" and np.isfinite(self.last):
            done = "The threshold is tuned without a promise."
        else:
            done = "All rows are flagged." if self.last < 0 else "No row is flagged."
        warn_user(f"{text} {done}", GuaranteeWarning)
