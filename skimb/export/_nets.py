"""Nets in a graph: perceptrons, and ensembles on tables."""

import numpy as np
from torch.nn import functional

from skimb.export._rows import table_rows
from skimb.nets.mlp import EPSILON, simplex_scale

_ACTIVATIONS = {"identity": None, "relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}


def mlp_outputs(graph, module, rows):
    """Raw outputs (n, n_outputs) of a perceptron of one member, in float64.

    Parameters
    ----------
    graph : Graph
        Receives the nodes.
    module : MLP
        The net.
    rows : Rows
        Its input.
    """
    flat = module.flat.detach()
    kind = "float64" if flat.element_size() == 8 else "float32"
    weights, biases = ([t[0].numpy() for t in parts] for parts in module.split(flat))
    skip = None
    if module.sparse:
        table = module.table.detach().numpy()
        weights = [table[:, : module.widths[1]], *weights]
        skip = table[:, module.widths[1] :] if module.linear_skip else None
    activation = _ACTIVATIONS[module.activation]
    x = a = rows.numbers(kind=kind)
    number = weights[0].dtype.type
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        last = i == len(weights) - 1
        if last and module.head == "cosine":
            w = functional.normalize(module.split(flat)[0][-1][0], dim=-2).numpy() * number(
                module.scale
            )
            a = _normalized(graph, a, number)
        a = graph("MatMul", a, w)
        if module.normalization is not None and not last:
            mean, var = (t.numpy() for t in module.running.split(module.widths[1:-1], 1)[i])
            a = graph("Div", graph("Sub", a, mean), np.sqrt(var + number(EPSILON)))
        a = graph("Add", a, b)
        if activation is not None and not last:
            a = graph(activation, a)
    if skip is not None:
        a = graph("Add", a, graph("MatMul", x, skip))
    if module.head == "etf":
        a = _normalized(graph, a, number)
        mean = graph("ReduceMean", a, np.array([1], np.int64), keepdims=1)
        a = graph(
            "Mul", graph("Sub", a, mean), number(simplex_scale(module.scale, module.widths[-1]))
        )
    return graph.cast(a, "float64") if kind == "float32" else a


def _normalized(graph, a, number):
    """Rows of length 1."""
    size = graph("ReduceSum", graph("Mul", a, a), np.array([1], np.int64), keepdims=1)
    return graph("Div", a, graph("Max", graph("Sqrt", size), number(1e-12)))


def tabm_outputs(graph, fold, reader, rows, marker):
    """Raw outputs (members, n, n_outputs) of an ensemble on a table, in float64.

    Parameters
    ----------
    graph : Graph
        Receives the nodes.
    fold : TabMFold
        The ensemble, and how its rows are made.
    reader : TableReader
        Which columns are numbers and which categories.
    rows : Rows
        Columns of the table.
    marker : str
        What stands for a missing text.
    """
    module, shape = fold.net_.module_, fold.shape
    flat = module.flat.detach().double()
    weights = {name: view.numpy() for name, view in module.split(flat).items()}
    numbers, codes = table_rows(graph, rows, reader, fold.columns, marker)
    products = []  # (units, columns, n, width)
    if shape.n_numbers:
        products.append(
            graph("MatMul", _embedded(graph, module, weights, numbers), weights["first"])
        )
    if codes:
        at = graph("Transpose", graph.side_by_side(codes), perm=[1, 0])
        rows_of = graph("Gather", weights["codes"], at, axis=1)
        products.append(graph("MatMul", rows_of, weights["first_codes"]))
    wide = products[0] if len(products) == 1 else graph("Concat", *products, axis=1)
    if "scale_0" in weights:  # sums over columns with the scales of each member
        wide = graph("Transpose", wide, perm=[0, 2, 1, 3])
        a = graph("MatMul", weights["scale_0"][:, None], wide)
        a = graph("Transpose", a, perm=[0, 2, 1, 3])
    else:
        a = graph("ReduceSum", wide, np.array([1], np.int64), keepdims=1)
    for i in range(shape.n_blocks):
        if i:
            if f"scale_{i}" in weights:
                a = graph("Mul", a, weights[f"scale_{i}"][:, :, None])
            a = graph("MatMul", a, weights[f"weight_{i}"][:, None])
        if f"gain_{i}" in weights:
            a = graph("Mul", a, weights[f"gain_{i}"][:, :, None])
        a = graph("Relu", graph("Add", a, weights[f"bias_{i}"][:, :, None]))
    z = graph("Add", graph("MatMul", a, weights["head"]), weights["head_bias"][:, :, None])
    return graph.squeeze(z, 1 if shape.units > 1 else 0)


def _embedded(graph, module, weights, numbers):
    """Embedded numbers (units, d, n, e)."""
    by_column = {k: graph("Transpose", v, perm=[1, 0]) for k, v in numbers.items()}
    absent = graph.unsqueeze(by_column["absent"], 2)
    if module.shape.embedding == "piecewise_linear":
        V, w, b = (weights[k] for k in ("bins", "slope", "level"))
        # in single precision, as training saw them
        starts, spans = (t.double().numpy() for t in module.buffers())
        start = starts[..., None] * w[:, :, None] + b[:, :, None]
        start[:, :, 2:] += V[:, :, 1:-1].cumsum(2)
        rise = V + spans[..., None] * w[:, :, None]
        units, d, m, e = V.shape
        at = graph(
            "Where", by_column["absent"], np.int64(0), graph("Add", by_column["index"], np.int64(1))
        )
        at = graph("Add", at, np.arange(d)[:, None] * m)
        t = graph("Where", absent, 1.0, graph.unsqueeze(by_column["fraction"], 2))
        start, rise = (
            graph("Gather", v.reshape(units, d * m, e), at, axis=1) for v in (start, rise)
        )
        return graph("Add", start, graph("Mul", t, rise))
    x = graph.unsqueeze(by_column["numbers"], 2)
    if module.shape.embedding is None:
        both = graph("Concat", x, graph.cast(absent, "float64"), axis=2)
        return graph.unsqueeze(both, 0)
    c, W, b, u = (weights[k] for k in ("frequency", "waves", "level", "absent"))
    angle = graph("Mul", x, 2.0 * np.pi * c[:, :, None])
    # not every runtime has the cosine of float64
    waves = graph(
        "Concat", graph("Sin", graph("Add", angle, np.pi / 2)), graph("Sin", angle), axis=3
    )
    h = graph("Relu", graph("Add", graph("MatMul", waves, W), b[:, :, None]))
    return graph("Where", absent, u[:, :, None], h)
