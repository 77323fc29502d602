"""What fitted estimators answer, in a graph: decisions and probabilities of classifiers, values of regressors."""

import copy
from dataclasses import dataclass, replace

import numpy as np
from imblearn.pipeline import Pipeline as SamplingPipeline
from sklearn import model_selection as sk_selection
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skimb._core.priors import log_ratio
from skimb.ensemble import PopulationBaggingClassifier
from skimb.export._nets import mlp_outputs, tabm_outputs
from skimb.export._rows import steps_of_rows, transformed
from skimb.export._trace import traced
from skimb.linear_model import BalancedRidge, LinearClassifier, NormalizedLogisticClassifier
from skimb.model_selection import (
    FixedThresholdClassifier,
    GuaranteedThresholdClassifier,
    LossSearchCV,
    TunedThresholdClassifierCV,
)
from skimb.neural_network import (
    MLPClassifier,
    MLPRegressor,
    RobustMLPClassifier,
    TabMClassifier,
    TabMRegressor,
)
from skimb.pipeline import ResampledClassifier
from skimb.posthoc import (
    CostRuleClassifier,
    InterpolatedClassifier,
    LogitAdjuster,
    PriorCorrectedClassifier,
    PriorShiftAdapter,
)
from skimb.posthoc._cost_rule import _TIE
from skimb.posthoc._temperature import _CLIP, BiasCorrectedTemperature

_TINY = np.finfo(float).tiny
_AXIS = np.array([1], np.int64)


@dataclass(frozen=True)
class Answer:
    """Values of a graph that answer as an estimator does.

    Parameters
    ----------
    codes : str or None
        Numbers (n,) of decided labels, or 0/1 labels (n, n_labels).
    labels : ndarray or None
        What the numbers stand for; None of multi-label targets and regressors.
    classes : ndarray or None
        Classes of the columns of probabilities and scores; None of regressors.
    probabilities : str or None
        ``predict_proba``, (n, n_classes) or (n, n_labels); None where it is refused.
    scores : str or None
        ``decision_function``; (n,) for two classes. None where there is none.
    multilabel : bool
        Whether a row has several labels.
    values : str or None
        ``predict`` of a regressor, (n,) or (n, n_outputs).
    width : int or None
        Columns of `values`; None where it has one axis.
    rule : object
        Thresholds, where the decision rests on some.
    """

    codes: str | None = None
    labels: np.ndarray | None = None
    classes: np.ndarray | None = None
    probabilities: str | None = None
    scores: str | None = None
    multilabel: bool = False
    values: str | None = None
    width: int | None = None
    rule: object = None


def answer_of(graph, estimator, rows, marker):
    """Add a fitted estimator to a graph."""
    kind = type(estimator)
    if kind not in ANSWERS:
        raise ValueError(
            f"to_onnx: {kind.__name__} is not translated; give one of "
            f"{', '.join(sorted({known.__name__ for known in ANSWERS}))}, or a pipeline that ends with one."
        )
    return ANSWERS[kind](graph, estimator, rows, marker)


# --- heads -------------------------------------------------------------------------------------------


def _codes(graph, scores, margin):
    """Decisions from scores: their sign, or the largest one."""
    if margin:
        return graph.cast(graph("Greater", scores, 0.0), "int64")
    return graph("ArgMax", scores, axis=1, keepdims=0)


def _head_answer(graph, head, raw):
    """A classifier's answer from raw outputs (n, n_outputs) of a net."""
    one = head.n_outputs == 1 and not head.multilabel
    logits = graph.squeeze(raw, 1) if one else raw
    scores, probabilities = _inverted(graph, head, logits, None if one else head.n_outputs)
    margin = head.multilabel or len(head.classes) == 2
    labels = None if head.multilabel else head.classes
    return Answer(
        _codes(graph, scores, margin), labels, head.classes, probabilities, scores, head.multilabel
    )


def _inverted(graph, head, logits, width):
    """Decision scores and honest probabilities of logits, None without the latter."""
    honest = not (head.bound.calibrated and head._weightless())
    head = copy.copy(head)
    head.bound = copy.deepcopy(head.bound)  # losses keep constants, which would be the tracer's

    def both(z):
        return [head.decision_scores(z), *([head.probabilities(z)] if honest else [])]

    found = traced(graph, both, logits, width, f"loss={head.loss!r}")
    return found if honest else [*found, None]


def _net(graph, estimator, rows, marker):
    raw = mlp_outputs(graph, estimator.net_.module_, rows)
    return _head_answer(graph, estimator._head, raw)


def _population(graph, estimator, rows, marker):
    unknown = next(
        (net for net in estimator.estimators_ if ANSWERS.get(type(net)) is not _net), None
    )
    if unknown is not None:
        raise ValueError(
            f"to_onnx: PopulationBaggingClassifier of {type(unknown).__name__} is not translated; use "
            "MLPClassifier inside."
        )
    raw = [mlp_outputs(graph, net.net_.module_, rows) for net in estimator.estimators_]
    mean = graph("Div", graph.sum("Add", raw), float(len(raw)))
    return _head_answer(graph, estimator._head, mean)


def _normalized_logistic(graph, estimator, rows, marker):
    two = len(estimator.classes_) == 2
    scores = graph("Add", graph("MatMul", rows.numbers(), estimator.coef_.T), estimator.intercept_)
    scores = graph.squeeze(scores, 1) if two else scores
    return Answer(_codes(graph, scores, two), estimator.classes_, estimator.classes_, None, scores)


def _ridge(graph, estimator, rows, marker):
    product = graph("MatMul", rows.numbers(), estimator.coef_.reshape(-1, 1))
    return Answer(values=graph("Add", graph.squeeze(product, 1), float(estimator.intercept_)))


def _predicted(graph, head, raw, width):
    """Predictions from raw outputs (n, width) of a net for numeric targets."""
    link = copy.deepcopy(head.bound).inverse_link
    return traced(graph, link, raw, width, f"loss={head.loss!r}")[0]


def _regressor(graph, estimator, rows, marker):
    head, module = estimator._head, estimator.net_.module_
    raw = mlp_outputs(graph, module, rows)
    values = _predicted(graph, head, raw, module.widths[-1])
    width = head.n_outputs if head.columns else None
    return Answer(values=values if head.columns else graph.squeeze(values, 1), width=width)


# --- ensembles on tables -----------------------------------------------------------------------------


def _flat(graph, raw, width):
    """Outputs of all members one below the other, (members times n, width), or (members times n,)."""
    return graph("Reshape", raw, np.array([-1] if width is None else [-1, width], np.int64))


def _mean_of_members(graph, parts):
    """Mean over the first axis of several values."""
    whole = parts[0] if len(parts) == 1 else graph("Concat", *parts, axis=0)
    return graph("ReduceMean", whole, np.array([0], np.int64), keepdims=0)


def _shrunk_odds(graph, p, base, kept):
    """Log odds of labels of which a share of the evidence is kept."""
    z = graph.logit(graph("Min", graph("Max", p, 1e-300), 1.0 - 1e-16))
    return graph("Add", graph("Mul", graph("Sub", z, base), kept), base)


def _tabm(graph, estimator, rows, marker):
    head, kept = estimator._head, float(estimator._kept)
    one = head.n_outputs == 1 and not head.multilabel
    width = None if one else head.n_outputs
    margin = head.multilabel or len(head.classes) == 2
    votes, proba = [], []
    for fold in estimator._folds:
        raw = tabm_outputs(graph, fold, estimator._reader, rows, marker)
        members = fold.shape.n_members
        scores, p = _inverted(graph, fold._head, _flat(graph, raw, width), width)
        vote = graph("Sigmoid", scores) if margin else graph("Softmax", scores, axis=1)
        columns = len(head.classes)
        lone = margin and not head.multilabel
        shape = [members, -1] if lone else [members, -1, columns]
        votes.append(graph("Reshape", vote, np.array(shape, np.int64)))
        if p is not None:
            proba.append(graph("Reshape", p, np.array([members, -1, columns], np.int64)))
    mean = graph("Max", _mean_of_members(graph, votes), _TINY)
    scores = graph.logit(graph("Min", mean, 1.0 - 1e-16)) if margin else graph("Log", mean)
    p = _mean_of_members(graph, proba) if proba else None
    if kept < 1.0:
        before, p = p, _shrunk(graph, p, head, kept)
        moved = graph("Sub", _log_odds(graph, p, head), _log_odds(graph, before, head))
        scores = graph("Add", scores, moved)
    labels = None if head.multilabel else head.classes
    return Answer(_codes(graph, scores, margin), labels, head.classes, p, scores, head.multilabel)


def _shrunk(graph, p, head, kept):
    """Probabilities of which a share of the evidence is kept."""
    base = np.log(head.wanted.clip(1e-300))
    if head.multilabel:
        return graph("Sigmoid", _shrunk_odds(graph, p, base[:, 1] - base[:, 0], kept))
    logs = graph("Log", graph("Max", p, 1e-300))
    return graph(
        "Softmax", graph("Add", graph("Mul", graph("Sub", logs, base), kept), base), axis=1
    )


def _log_odds(graph, p, head):
    """Scores of probabilities, of the shape of decision scores."""
    if not head.multilabel and len(head.classes) > 2:
        return graph("Log", graph("Max", p, _TINY))
    one = p if head.multilabel else graph("Gather", p, np.int64(1), axis=1)
    return graph.logit(graph("Min", graph("Max", one, _TINY), 1.0 - 1e-16))


def _tabm_regressor(graph, estimator, rows, marker):
    values = []
    for fold in estimator._folds:
        raw = tabm_outputs(graph, fold, estimator._reader, rows, marker)
        head, width = fold._head, fold.shape.n_outputs
        found = _predicted(graph, head, _flat(graph, raw, width), width)
        shape = np.array([fold.shape.n_members, -1, head.n_outputs], np.int64)
        values.append(graph("Reshape", found, shape))
    head, kept, typical = estimator._head, float(estimator._kept), float(estimator._typical)
    mean = _mean_of_members(graph, values)
    mean = graph("Add", graph("Mul", graph("Sub", mean, typical), kept), typical)
    found = graph(
        "Add",
        graph("Mul", mean, np.asarray(estimator._spread, float)),
        np.asarray(estimator._centre, float),
    )
    return Answer(
        values=found if head.columns else graph.squeeze(found, 1),
        width=head.n_outputs if head.columns else None,
    )


# --- wrappers ----------------------------------------------------------------------------------------


def _inside(name):
    def answer(graph, estimator, rows, marker):
        return answer_of(graph, getattr(estimator, name), rows, marker)

    return answer


def _pipeline(graph, estimator, rows, marker):
    *before, last = steps_of_rows(estimator)
    for step in before:
        rows = transformed(graph, step, rows, marker)
    return answer_of(graph, last, rows, marker)


def _refuse_without(found, estimator, what):
    if found is None:
        raise ValueError(
            f"to_onnx: {type(estimator).__name__} decides by {what}, which its classifier does not give."
        )
    return found


def _per_class(graph, estimator, inner, response, order):
    """Scores of all classes in a given order, (n, C), or of labels."""
    found = _refuse_without(
        inner.probabilities if response == "predict_proba" else inner.scores, estimator, response
    )
    if inner.multilabel:
        return found
    if response == "decision_function" and len(inner.classes) == 2:
        column = graph.unsqueeze(found, 1)
        found = graph.side_by_side([graph("Neg", column), column])
    return _placed(graph, found, inner.classes, order)


def _placed(graph, found, own, order):
    """Columns of classes in another order, 0 for classes that are not there."""
    own, order = list(own), list(order)
    if own == order:
        return found
    zero = graph.constant_like(graph.columns(found, [0]), 0.0)
    return graph.columns(
        graph.side_by_side([found, zero]), [own.index(c) if c in own else len(own) for c in order]
    )


def _thresholds(graph, estimator, rows, marker):
    inner = answer_of(graph, estimator.estimator_, rows, marker)
    order, rule = estimator._order, estimator._rule
    scores = _per_class(graph, estimator, inner, estimator._response, order)
    if inner.multilabel:
        codes = graph.cast(graph("GreaterOrEqual", scores, np.asarray(rule, float)), "int64")
    elif np.ndim(rule) == 0:
        one = graph("Gather", scores, np.int64(1), axis=1)
        codes = graph.cast(graph("GreaterOrEqual", one, float(rule)), "int64")
    else:
        by = graph("Sub" if estimator._additive else "Div", scores, np.asarray(rule, float))
        codes = graph("ArgMax", by, axis=1, keepdims=0)
    return replace(inner, codes=codes, labels=None if inner.multilabel else order, rule=rule)


def _guaranteed(graph, estimator, rows, marker):
    if estimator._by_group is not None:
        raise ValueError(
            "to_onnx: GuaranteedThresholdClassifier(per_group=True) decides by groups, which are no columns of X; "
            "fit it with per_group=False."
        )
    inner = answer_of(graph, estimator.estimator_, rows, marker)
    order, rule, at = estimator._order, estimator._rule, estimator._flagged
    scores = _per_class(graph, estimator, inner, estimator._response, order)
    if inner.multilabel:
        codes = graph.cast(graph("GreaterOrEqual", scores, np.asarray(rule, float)), "int64")
        return replace(inner, codes=codes, rule=rule)
    others = graph.columns(scores, np.delete(np.arange(len(order)), at))
    own = graph("Gather", scores, np.int64(at), axis=1)
    place = graph("ArgMax", others, axis=1, keepdims=0)
    place = graph("Gather", np.delete(np.arange(len(order)), at), place)
    if len(order) > 2:
        if not estimator._additive:
            own, others = (graph("Log", graph("Max", v, 1e-300)) for v in (own, others))
        own = graph("Sub", own, graph("ReduceMax", others, _AXIS, keepdims=0))
    codes = graph("Where", graph("GreaterOrEqual", own, float(rule)), np.int64(at), place)
    return replace(inner, codes=codes, labels=order, rule=rule)


def _sklearn_threshold(graph, estimator, rows, marker):
    inner = answer_of(graph, getattr(estimator, "estimator_", estimator.estimator), rows, marker)
    response = estimator._get_response_method()
    if isinstance(estimator, sk_selection.TunedThresholdClassifierCV):
        rule, positive = estimator.best_threshold_, estimator._curve_scorer._get_pos_label()
    else:
        rule, positive = estimator.threshold, estimator.pos_label
    if not isinstance(response, str):
        response = "predict_proba" if inner.probabilities is not None else "decision_function"
    if rule == "auto":
        rule = 0.5 if response == "predict_proba" else 0.0
    classes = list(inner.classes)
    at = 1 if positive is None else classes.index(positive)
    scores = _per_class(graph, estimator, inner, response, inner.classes)
    own = graph("Gather", scores, np.int64(at), axis=1)
    codes = graph(
        "Where", graph("GreaterOrEqual", own, float(rule)), np.int64(at), np.int64(1 - at)
    )
    return replace(inner, codes=codes, labels=inner.classes, rule=rule)


def _cost_rule(graph, estimator, rows, marker):
    inner = answer_of(graph, estimator.estimator_, rows, marker)
    p = _refuse_without(inner.probabilities, estimator, "probabilities")
    classes, cost = estimator.classes_, np.asarray(estimator.cost_, float)
    p = _placed(graph, p, inner.classes, classes)
    if len(classes) == 2:
        by_miss, by_alarm = cost[1, 0] - cost[1, 1], cost[0, 1] - cost[0, 0]
        if by_miss == 0 and by_alarm == 0:
            by_miss = by_alarm = 1.0
        no, yes = (graph("Gather", p, np.int64(k), axis=1) for k in (0, 1))
        flagged = graph("GreaterOrEqual", graph("Mul", yes, by_miss), graph("Mul", no, by_alarm))
        codes = graph.cast(flagged, "int64")
    else:
        costs = graph("MatMul", p, cost)
        least = graph("ReduceMin", costs, _AXIS, keepdims=1)
        size = graph("ReduceMax", graph("Abs", costs), _AXIS, keepdims=1)
        near = graph("LessOrEqual", costs, graph("Add", least, graph("Mul", size, _TIE)))
        codes = graph("ArgMax", graph("Where", near, p, -1.0), axis=1, keepdims=0)
    return Answer(codes, classes, classes, p)


def _moved(graph, p, log_offset):
    """Probabilities times a factor per class, normalised."""
    return graph("Softmax", graph("Add", graph("Log", p), np.asarray(log_offset, float)), axis=1)


def _prior_corrected(graph, estimator, rows, marker):
    inner = answer_of(graph, estimator.estimator_, rows, marker)
    p = _refuse_without(inner.probabilities, estimator, "probabilities")
    p = _moved(graph, graph.columns(p, estimator._columns), estimator.log_offset_)
    classes = estimator.classes_
    return Answer(graph("ArgMax", p, axis=1, keepdims=0), classes, classes, p)


def _logit_adjuster(graph, estimator, rows, marker):
    inner = answer_of(graph, estimator.estimator_, rows, marker)
    classes = estimator.classes_
    at = np.argsort(estimator._check_classes(estimator.estimator_))
    log_prior = np.log(estimator.prior_[estimator._check_classes(estimator.estimator_)])
    if inner.probabilities is not None:
        z = graph("Log", graph("Max", inner.probabilities, _TINY))
    elif len(inner.classes) == 2:
        column = graph.unsqueeze(inner.scores, 1)
        z = graph.side_by_side([graph("Sub", column, column), column])
    else:
        z = inner.scores
    z = graph.columns(graph("Sub", z, estimator.tau_ * log_prior), at)
    codes = graph("ArgMax", z, axis=1, keepdims=0)
    p = None if inner.probabilities is None else graph.columns(inner.probabilities, at)
    if len(classes) == 2:
        z = graph("Sub", *(graph("Gather", z, np.int64(k), axis=1) for k in (1, 0)))
    return Answer(codes, classes, classes, p, z)


def _prior_shift(graph, estimator, rows, marker):
    inner = answer_of(graph, estimator.estimator_, rows, marker)
    if type(estimator.estimator_) is PriorShiftAdapter:
        raise ValueError(
            "to_onnx: a PriorShiftAdapter within another is not translated; export the inner one."
        )
    p = _refuse_without(inner.probabilities, estimator, "probabilities")
    classes, calibrator = estimator.classes_, estimator.calibrator_
    p = _placed(graph, p, inner.classes, classes)
    if calibrator is not None:
        if not isinstance(calibrator, BiasCorrectedTemperature):
            raise ValueError(
                f"to_onnx: PriorShiftAdapter with the calibrator {calibrator!r} is not translated; fit it with one "
                "temperature and bias, or none."
            )
        clipped = graph("Min", graph("Max", p, _CLIP), 1.0 - _CLIP)
        logs = graph("Log", graph("Div", clipped, graph("ReduceSum", clipped, _AXIS, keepdims=1)))
        z = graph(
            "Add", graph("Mul", logs, float(calibrator.scale)), np.asarray(calibrator.bias, float)
        )
        p = graph("Min", graph("Max", graph("Softmax", z, axis=1), _CLIP), 1.0)
    p = _moved(graph, p, log_ratio(estimator.prior_, estimator.source_prior_))
    return Answer(graph("ArgMax", p, axis=1, keepdims=0), classes, classes, p)


def _resampled(graph, estimator, rows, marker):
    inner = answer_of(graph, estimator.estimator_, rows, marker)
    if inner.probabilities is None or not estimator._corrects:
        return inner
    p = _moved(graph, inner.probabilities, log_ratio(estimator.prior_, estimator.trained_prior_))
    return replace(inner, probabilities=p)


ANSWERS = {
    BalancedRidge: _ridge,
    CostRuleClassifier: _cost_rule,
    FixedThresholdClassifier: _thresholds,
    FrozenEstimator: _inside("estimator"),
    GuaranteedThresholdClassifier: _guaranteed,
    InterpolatedClassifier: _inside("estimator_"),
    LinearClassifier: _net,
    LogitAdjuster: _logit_adjuster,
    LossSearchCV: _inside("best_estimator_"),
    MLPClassifier: _net,
    MLPRegressor: _regressor,
    NormalizedLogisticClassifier: _normalized_logistic,
    Pipeline: _pipeline,
    SamplingPipeline: _pipeline,
    PopulationBaggingClassifier: _population,
    PriorCorrectedClassifier: _prior_corrected,
    PriorShiftAdapter: _prior_shift,
    ResampledClassifier: _resampled,
    RobustMLPClassifier: _net,
    TabMClassifier: _tabm,
    TabMRegressor: _tabm_regressor,
    TunedThresholdClassifierCV: _thresholds,
    sk_selection.GridSearchCV: _inside("best_estimator_"),
    sk_selection.RandomizedSearchCV: _inside("best_estimator_"),
    sk_selection.FixedThresholdClassifier: _sklearn_threshold,
    sk_selection.TunedThresholdClassifierCV: _sklearn_threshold,
}
