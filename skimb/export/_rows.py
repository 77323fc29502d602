"""Rows in a graph: inputs, and the transformers that change them."""

from numbers import Number

import numpy as np
from scipy.special import ndtri
from sklearn import preprocessing as sk
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from skimb.export._graph import ML
from skimb.neural_network._tabm_export import EncodedColumns
from skimb.preprocessing import PiecewiseLinearEncoder, SquashingScaler

_EDGE = 1e-7  # of the probabilities that QuantileTransformer tells apart
_DEGREE = 28
_HUGE = np.finfo(float).max / 64


class Rows:
    """Rows as one value (n, width), or as a value (n, 1) for each column.

    Parameters
    ----------
    graph : Graph
        Holds the values.
    values : str or list of str
        One value, or one for each column.
    kinds : str or list of str
        Their types: "float32", "float64" or "text".
    width : int
        Number of columns.
    """

    def __init__(self, graph, values, kinds, width):
        self.graph, self.width = graph, width
        self._values, self._kinds = values, kinds

    def numbers(self, places=None, kind="float64"):
        """Columns (n, k) of numbers."""
        g, every = self.graph, places is None
        places = range(self.width) if every else np.asarray(places).tolist()
        if isinstance(self._values, str):
            found = self._values if every else g.columns(self._values, places)
            return found if self._kinds == kind else g.cast(found, kind)
        parts = [
            self._values[j] if self._kinds[j] == kind else g.cast(self._values[j], kind)
            for j in places
        ]
        return g.side_by_side(parts)

    def text(self, place):
        """One column (n, 1) of texts."""
        return self._values[place]

    def is_text(self, place):
        """Whether a column holds texts."""
        return not isinstance(self._values, str) and self._kinds[place] == "text"

    def some(self, places):
        """Rows of some columns."""
        if isinstance(self._values, str):
            return Rows(
                self.graph, self.graph.columns(self._values, places), self._kinds, len(places)
            )
        return Rows(
            self.graph,
            [self._values[j] for j in places],
            [self._kinds[j] for j in places],
            len(places),
        )

    def of(self, value, width):
        """Rows made of numbers of float64."""
        return Rows(self.graph, value, "float64", width)

    @classmethod
    def beside(cls, graph, parts):
        """The columns of several rows."""
        if any(not isinstance(p._values, str) and "text" in p._kinds for p in parts):
            values, kinds = [], []
            for part in parts:
                for j in range(part.width):
                    text = part.is_text(j)
                    values.append(part.text(j) if text else part.numbers([j]))
                    kinds.append("text" if text else "float64")
            return cls(graph, values, kinds, len(values))
        values = [part.numbers() for part in parts]
        return cls(graph, graph.side_by_side(values), "float64", sum(p.width for p in parts))


# --- texts -------------------------------------------------------------------------------------------


def is_missing(value):
    """Whether a category stands for a missing value."""
    return value is None or (isinstance(value, Number) and value != value)


def texts_of(estimator):
    """Positions of the columns whose values are texts, and all texts that are known, of a first step."""
    known, places = set(), set()

    def add(place, levels):
        own = [v for v in levels if isinstance(v, str)]
        if own:
            places.add(place)
            known.update(own)

    for step, at in _first_steps(estimator, None):
        if isinstance(step, sk.OneHotEncoder):
            levels = step.categories_
        elif isinstance(step, SimpleImputer):
            levels = [[v] for v in step.statistics_]
        elif hasattr(step, "_reader") or isinstance(step, EncodedColumns):
            reader = step.reader_ if isinstance(step, EncodedColumns) else step._reader
            levels, at = reader.levels_, reader.category_features_
        else:
            continue
        for k, own in enumerate(levels):
            add(int(at[k]) if at is not None else k, own)
    return places, known


def steps_of_rows(pipeline):
    """Steps of a pipeline that see the rows of predictions; samplers act in fit only."""
    *before, (_, last) = pipeline.steps
    return [step for _, step in before if hasattr(step, "transform")] + [last]


def _first_steps(estimator, at):
    """What sees the columns of X, and which of them; None stands for all in their order."""
    if isinstance(estimator, Pipeline):
        steps = steps_of_rows(estimator)
        yield from _first_steps(steps[0], at)
        if type(steps[0]) is SimpleImputer and not steps[0].add_indicator and len(steps) > 1:
            yield from _first_steps(steps[1], at)  # texts pass through
    elif isinstance(estimator, ColumnTransformer):
        for name, step, _ in estimator.transformers_:
            if not isinstance(step, str):
                own = np.asarray(estimator._transformer_to_input_indices[name], int)
                yield from _first_steps(step, own if at is None else np.asarray(at)[own])
    else:
        yield estimator, at


def codes_of(graph, rows, place, levels, missing, marker):
    """Which of the levels a column holds, (n, 1) of int64: 0 for none, then from 1.

    Parameters
    ----------
    graph : Graph
        Receives the nodes.
    rows : Rows
        Holds the column.
    place : int
        Its position.
    levels : list
        Levels, of which one may be missing.
    missing : bool
        Whether a level that is missing is one of them; otherwise missing values have code 0.
    marker : str
        What stands for a missing text.
    """
    there = [(k, v) for k, v in enumerate(levels, 1) if not is_missing(v)]
    lost = next((k for k, v in enumerate(levels, 1) if is_missing(v)), 0) if missing else 0
    if rows.is_text(place):
        keys = [v for _, v in there] + [marker] * bool(lost)
        codes = [k for k, _ in there] + [lost] * bool(lost)
        return graph(
            "LabelEncoder",
            rows.text(place),
            domain=ML,
            keys_strings=keys,
            values_int64s=codes,
            default_int64=0,
        )
    odd = next((v for _, v in there if not isinstance(v, (Number, np.bool_))), None)
    if odd is not None:
        raise ValueError(
            f"to_onnx: a category is {odd!r} of type {type(odd).__name__}; only texts, numbers and booleans have a "
            "type in ONNX, turn the column into texts."
        )
    x = rows.numbers([place])
    if not there:
        table, codes = np.array([np.nan]), np.array([0, 0])
    else:
        order = np.argsort([float(v) for _, v in there], kind="stable")
        table = np.array([float(there[i][1]) for i in order])
        codes = np.array([0, *(there[i][0] for i in order)])
    at = graph.below(x, [table])
    same = graph("Equal", graph("Gather", np.array([np.nan, *table]), at), x)
    found = graph("Where", same, graph("Gather", codes.astype(np.int64), at), np.int64(0))
    return found if not lost else graph("Where", graph("IsNaN", x), np.int64(lost), found)


# --- scales ------------------------------------------------------------------------------------------


def quantiles_to(graph, x, transformer):
    """What a QuantileTransformer makes of (n, d), NaN included."""
    q, ref = transformer.quantiles_.T, transformer.references_
    normal = transformer.output_distribution == "normal"
    rise, gap = np.diff(ref), np.diff(q, axis=1)
    slope = np.zeros_like(q)
    with np.errstate(divide="ignore"):
        slope[:, :-1] = np.where(gap > 0.0, rise / gap, 0.0)
    # where quantiles are equal, the middle of their levels
    first = np.array([np.searchsorted(own, own, side="left") for own in q])
    middle = 0.5 * (ref[None] + ref[first])
    at = graph("Max", graph("Sub", graph.below(x, list(q)), np.int64(1)), np.int64(0))
    start = graph.look_up(q, at)
    along = graph("Mul", graph.look_up(slope, at), graph("Sub", x, start))
    level = graph("Add", graph.look_up(np.broadcast_to(ref, q.shape), at), along)
    u = graph("Where", graph("Equal", x, start), graph.look_up(middle, at), level)
    far = _EDGE if normal else 0.0
    u = graph(
        "Where", graph("Less" if normal else "LessOrEqual", graph("Sub", q[:, -1], far), x), 1.0, u
    )
    u = graph(
        "Where", graph("Less" if normal else "LessOrEqual", x, graph("Add", q[:, 0], far)), 0.0, u
    )
    return graph("Where", graph("IsNaN", x), x, normal_quantiles(graph, u) if normal else u)


def normal_quantiles(graph, u):
    """Quantiles of the normal distribution between levels of 1e-7 and 1 - 1e-7.

    With t = sqrt(-2 log min(u, 1 - u)) they are smooth in t, so that a Chebyshev series has them all.
    """
    least, most = np.sqrt(-2.0 * np.log(0.5)), np.sqrt(-2.0 * np.log(_EDGE))
    middle, half = 0.5 * (least + most), 0.5 * (most - least)
    series = np.polynomial.chebyshev.chebinterpolate(
        lambda s: -ndtri(np.exp(-0.5 * (middle + half * s) ** 2)), _DEGREE
    )
    lower = graph("LessOrEqual", u, 0.5)
    v = graph("Max", graph("Where", lower, u, graph("Sub", 1.0, u)), _EDGE)
    t = graph("Sqrt", graph("Mul", graph("Log", v), -2.0))
    s = graph("Div", graph("Sub", t, middle), half)
    twice, after, last = graph("Mul", s, 2.0), 0.0, 0.0
    for c in series[:0:-1]:  # Clenshaw's recurrence
        after, last = graph("Add", graph("Sub", graph("Mul", twice, after), last), float(c)), after
    size = graph("Add", graph("Sub", graph("Mul", s, after), last), float(series[0]))
    size = graph("Min", graph("Max", size, 0.0), -ndtri(_EDGE))
    return graph("Where", lower, graph("Neg", size), size)


def squashed(graph, x, scaler):
    """What a SquashingScaler makes of (n, d)."""
    bound = scaler._bound
    z = graph("Div", graph("Sub", x, scaler.center_), scaler.scale_ * bound)
    z = graph("Min", graph("Max", z, -1e150), 1e150)
    # over the larger of 1 and |z|, so that no square overflows
    size = graph("Max", graph("Abs", z), 1.0)
    parts = graph("Div", 1.0, size), graph("Div", z, size)
    root = graph("Sqrt", graph("Add", *(graph("Mul", part, part) for part in parts)))
    return graph("Mul", graph("Div", parts[1], root), bound)


def located(graph, x, encoder):
    """Bin (n, d) of int64 and fraction of a PiecewiseLinearEncoder for numbers that are not missing."""
    edges = encoder.edges_
    if max(np.abs(own).max() for own in edges) > _HUGE:
        raise ValueError(
            "to_onnx: PiecewiseLinearEncoder has edges so large that their differences overflow; scale the columns "
            "before it."
        )
    flat = np.array([own[0] == own[-1] for own in edges])
    longest = max(map(len, edges)) - 1
    starts, spans = np.zeros((len(edges), longest)), np.ones((len(edges), longest))
    for j, own in enumerate(edges):
        starts[j, : len(own) - 1] = own[:-1]
        spans[j, : len(own) - 1] = np.diff(own) if not flat[j] else 1.0
    index = graph.below(x, [own[1:-1] for own in edges])
    part = graph("Div", graph("Sub", x, graph.look_up(starts, index)), graph.look_up(spans, index))
    far = min(encoder._given[1], np.finfo(float).max / 2)
    part = graph("Min", graph("Max", part, -far), 1.0 + far)
    return index, graph("Where", flat, 0.0, part) if flat.any() else part


def steps_of(graph, index, part, counts):
    """Bins (n, sum of counts): 1 below the own one, the fraction in it, 0 above."""
    column = np.repeat(np.arange(len(counts)), counts)
    number = np.concatenate([np.arange(count) for count in counts])
    own, part = graph.columns(index, column), graph.columns(part, column)
    here = graph("Where", graph("Equal", own, number), part, 0.0)
    return graph("Where", graph("Less", number, own), 1.0, here)


# --- transformers --------------------------------------------------------------------------------------


def _standard(graph, step, rows, marker):
    x = rows.numbers()
    if step.with_mean:
        x = graph("Sub", x, step.mean_)
    return rows.of(graph("Div", x, step.scale_) if step.with_std else x, rows.width)


def _robust(graph, step, rows, marker):
    x = rows.numbers()
    if step.with_centering:
        x = graph("Sub", x, step.center_)
    return rows.of(graph("Div", x, step.scale_) if step.with_scaling else x, rows.width)


def _least_most(graph, step, rows, marker):
    x = graph("Add", graph("Mul", rows.numbers(), step.scale_), step.min_)
    if step.clip:
        low, high = map(float, step.feature_range)
        bounded = graph("Min", graph("Max", x, low), high)
        x = graph("Where", graph("IsNaN", x), x, bounded)
    return rows.of(x, rows.width)


def _largest(graph, step, rows, marker):
    return rows.of(graph("Div", rows.numbers(), step.scale_), rows.width)


def _quantile(graph, step, rows, marker):
    return rows.of(quantiles_to(graph, rows.numbers(), step), rows.width)


def _squash(graph, step, rows, marker):
    return rows.of(squashed(graph, rows.numbers(), step), rows.width)


def _imputed(graph, step, rows, marker):
    values = step.statistics_
    if not is_missing(step.missing_values):
        raise ValueError(
            f"to_onnx: SimpleImputer(missing_values={step.missing_values!r}) is not translated, only NaN and None; "
            "use missing_values=numpy.nan."
        )
    if rows.width and rows.is_text(0):
        if step.add_indicator or any(not rows.is_text(j) for j in range(rows.width)):
            raise ValueError(
                "to_onnx: SimpleImputer of texts is translated without add_indicator and without columns of "
                "numbers beside them; give numbers an imputer of their own."
            )
        kept = []
        for j, value in enumerate(values):
            text = rows.text(j)
            lost = graph(
                "LabelEncoder",
                text,
                domain=ML,
                keys_strings=[marker],
                values_int64s=[1],
                default_int64=0,
            )
            kept.append(graph("Where", graph.cast(lost, "bool"), np.array(str(value)), text))
        return Rows(graph, kept, ["text"] * len(kept), len(kept))
    values = np.asarray(values, float)
    empty = np.isnan(values) & (not step.keep_empty_features)
    x, places = rows.numbers(), np.flatnonzero(~empty)
    lost = graph("IsNaN", x)
    found = graph("Where", lost, np.where(np.isnan(values), 0.0, values), x)
    found = graph.columns(found, places) if empty.any() else found
    if not step.add_indicator:
        return rows.of(found, len(places))
    told = step.indicator_.features_
    parts = [found, graph.cast(graph.columns(graph.cast(lost, "int64"), told), "float64")]
    return rows.of(graph.side_by_side(parts), len(places) + len(told))


def _one_hot(graph, step, rows, marker):
    if step.handle_unknown != "ignore":
        raise ValueError(
            f"to_onnx: OneHotEncoder(handle_unknown={step.handle_unknown!r}) answers unknown categories by an "
            "error or by a group, which a graph cannot; fit it with handle_unknown='ignore'."
        )
    if step.min_frequency is not None or step.max_categories is not None:
        raise ValueError(
            "to_onnx: OneHotEncoder that groups infrequent categories is not translated; leave min_frequency and "
            "max_categories None."
        )
    parts, width = [], 0
    for j, levels in enumerate(step.categories_):
        codes = codes_of(graph, rows, j, list(levels), True, marker)
        wanted = np.arange(1, len(levels) + 1)
        if step.drop_idx_ is not None and step.drop_idx_[j] is not None:
            wanted = np.delete(wanted, step.drop_idx_[j])
        parts.append(graph.cast(graph("Equal", codes, wanted[None]), "float64"))
        width += len(wanted)
    return rows.of(graph.side_by_side(parts), width)


def _bins(graph, step, rows, marker):
    x = rows.numbers()
    lost = graph("IsNaN", x)
    index, part = located(graph, graph("Where", lost, step.medians_, x), step)
    told = step.indicated_features_
    zero = np.ones(rows.width, bool)
    if step._given[0] != "zeros":
        zero = np.isin(np.arange(rows.width), told)
    gone = graph("And", lost, zero)
    index, part = graph("Where", gone, np.int64(0), index), graph("Where", gone, 0.0, part)
    found, width = steps_of(graph, index, part, step.n_bins_), int(step.n_bins_.sum())
    if len(told):
        marks = graph.cast(graph.columns(graph.cast(lost, "int64"), told), "float64")
        found = graph.side_by_side([found, marks])
    return rows.of(found, width + len(told))


def _selected(graph, step, rows, marker):
    return rows.some(np.flatnonzero(step.get_support()).tolist())


def _function(graph, step, rows, marker):
    if step.func is not None:
        raise ValueError(
            f"to_onnx: {step!r} is any code, which no graph holds; use func=None or do it before."
        )
    return rows


def _columns(graph, step, rows, marker):
    parts = []
    for name, own, _ in step.transformers_:
        places = np.asarray(step._transformer_to_input_indices[name], int).tolist()
        if places and not (isinstance(own, str) and own == "drop"):
            part = rows.some(places)
            parts.append(part if isinstance(own, str) else transformed(graph, own, part, marker))
    if step.transformer_weights:
        raise ValueError(
            "to_onnx: transformer_weights of ColumnTransformer are not translated; scale after it."
        )
    return Rows.beside(graph, parts)


def _piped(graph, step, rows, marker):
    for own in steps_of_rows(step):
        if own is not None and own != "passthrough":
            rows = transformed(graph, own, rows, marker)
    return rows


def _encoded(graph, step, rows, marker):
    reader, own = step.reader_, step.rows_
    numbers, codes = table_rows(graph, rows, reader, own, marker)
    parts, width = [], 0
    if own.binned and own.n_numbers:
        starts, spans = (values.astype(np.float32).astype(float) for values in own.edges())
    for j in range(own.n_numbers):
        lost = graph.columns(graph.cast(numbers["absent"], "int64"), [j])
        gone = graph.cast(lost, "bool")
        if own.binned:
            index, part = (graph.columns(numbers[k], [j]) for k in ("index", "fraction"))
            part = graph("Where", gone, 0.0, part)
            at = graph("Add", index, np.int64(1))
            line = graph("Mul", graph("Gather", spans[j], at), part)
            line = graph("Add", graph("Gather", starts[j], at), line)
            parts.append(graph("Where", gone, 0.0, line))
            index = graph("Where", gone, np.int64(0), index)
            parts.append(steps_of(graph, index, part, [own.n_steps(j)]))
            width += 1 + own.n_steps(j)
        else:
            parts.append(graph.columns(numbers["numbers"], [j]))
            width += 1
        if own.missing[j]:
            parts.append(graph.cast(lost, "float64"))
            width += 1
    starts = np.cumsum((0, *own.levels))
    for c, found in enumerate(codes):
        wanted = np.arange(starts[c], starts[c + 1])
        parts.append(graph.cast(graph("Equal", found, wanted[None]), "float64"))
        width += len(wanted)
    return rows.of(graph.side_by_side(parts), width)


def table_rows(graph, rows, reader, own, marker):
    """Rows as an ensemble on tables reads them.

    Returns
    -------
    dict of str to str
        "numbers", "absent" and, with bins, "index" and "fraction", all (n, d); empty without numbers.
    list of str
        Rows (n, 1) of the table of codes for each category.
    """
    found, codes = {}, []
    if own.n_numbers:
        x = rows.numbers(reader.number_features_)
        lost = graph("IsNaN", x)
        made = own.preparation
        if made.scaling == "quantile":
            scaler, varying = made.scaler_, np.flatnonzero(made.scaler_.varying_)
            if len(varying):
                part = graph.columns(x, varying) if len(varying) < own.n_numbers else x
                if (factor := scaler.factor_[varying]).min() < factor.max() or factor[0] != 1.0:
                    part = graph("Mul", part, factor)
                z = normal_quantiles(graph, quantiles_to(graph, part, scaler.transformer_))
            if len(varying) < own.n_numbers:
                zero = graph.constant_like(graph.columns(x, [0]), 0.0)
                whole = graph.side_by_side([z, zero] if len(varying) else [zero])
                places = np.full(own.n_numbers, len(varying))
                places[varying] = np.arange(len(varying))
                z = graph.columns(whole, places)
        else:
            z = squashed(graph, x, made.scaler_)
        z = graph("Where", lost, 0.0, z)
        found = {"numbers": z, "absent": graph("And", lost, np.asarray(own.missing, bool))}
        if own.binned:
            found["index"], found["fraction"] = located(graph, z, made.encoder_)
    for c, (j, levels) in enumerate(zip(reader.category_features_, reader.levels_, strict=True)):
        code = codes_of(graph, rows, int(j), levels, False, marker)
        codes.append(graph("Gather", np.asarray(own.places[c], np.int64), code))
    return found, codes


def transformed(graph, step, rows, marker):
    """What a fitted transformer makes of rows."""
    if isinstance(step, SelectorMixin) and type(step).__module__.startswith("sklearn."):
        return _selected(graph, step, rows, marker)
    if type(step) not in TRANSFORMERS:
        known = ", ".join(sorted(kind.__name__ for kind in TRANSFORMERS))
        raise ValueError(
            f"to_onnx: {type(step).__name__} is not translated; use one of {known}, or transform rows before "
            "the graph."
        )
    return TRANSFORMERS[type(step)](graph, step, rows, marker)


TRANSFORMERS = {
    ColumnTransformer: _columns,
    EncodedColumns: _encoded,
    PiecewiseLinearEncoder: _bins,
    Pipeline: _piped,
    SimpleImputer: _imputed,
    SquashingScaler: _squash,
    sk.FunctionTransformer: _function,
    sk.MaxAbsScaler: _largest,
    sk.MinMaxScaler: _least_most,
    sk.OneHotEncoder: _one_hot,
    sk.QuantileTransformer: _quantile,
    sk.RobustScaler: _robust,
    sk.StandardScaler: _standard,
}
