"""Functions of tensors as ONNX operators: what a loss does to invert itself is read off, not written twice."""

from operator import getitem

import numpy as np
import torch
from torch.func import functionalize
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx

ROWS = 61  # of the example: no other axis is as long


def traced(graph, function, inputs, width, owner):
    """Add what a function of float64 tensors does to a graph.

    Parameters
    ----------
    graph : Graph
        Receives the nodes.
    function : callable
        Takes a tensor (n, width), or (n,), and gives one or several; it must not look at values.
    inputs : str
        The argument, in the graph.
    width : int or None
        Columns of the argument; None where it has one axis.
    owner : str
        Named where the function cannot be told.

    Returns
    -------
    list of str
        The results.
    """
    shape = (ROWS,) if width is None else (ROWS, width)
    example = torch.linspace(-2.0, 2.0, ROWS * (width or 1), dtype=torch.float64).view(shape)

    def several(z):
        found = function(z)
        return found if isinstance(found, (tuple, list)) else [found]

    try:
        with torch.no_grad():
            program = make_fx(functionalize(several), _allow_non_fake_inputs=True)(example)
    except RuntimeError as error:
        raise ValueError(
            f"to_onnx: {owner} has steps that depend on the values of scores, which no fixed graph holds; use "
            "another loss."
        ) from error
    values = {}

    def value(entry):
        if isinstance(entry, Node):
            return values[entry]
        if isinstance(entry, (list, tuple)):
            return type(entry)(map(value, entry))
        return entry

    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node] = inputs
        elif node.op == "get_attr":
            values[node] = graph.constant(getattr(program, node.target).detach().numpy())
        elif node.op == "output":
            return list(value(node.args[0]))
        elif node.target is getitem:
            values[node] = value(node.args[0])[node.args[1]]
        else:
            name = str(node.target)
            if name not in OPERATORS:
                raise ValueError(
                    f"to_onnx: {owner} needs the operator {name.removeprefix('aten.')} of torch, which is not "
                    "translated; use another loss."
                )
            kwargs = {k: value(v) for k, v in node.kwargs.items() if k not in _LAYOUT}
            values[node] = OPERATORS[name](graph, *map(value, node.args), **kwargs)
    raise AssertionError("a traced function ends with its outputs")


_LAYOUT = {"dtype", "layout", "device", "pin_memory", "memory_format"}


def _same(graph, x, *args, **kwargs):
    return x


def _plain(op):
    return lambda graph, *inputs: graph(op, *map(_number, inputs))


def _number(x):
    return float(x) if isinstance(x, (int, float)) and not isinstance(x, bool) else x


def _scaled(op):
    """Sums whose second summand may have a factor."""

    def add(graph, a, b, alpha=1):
        b = _number(b) if alpha == 1 else graph("Mul", _number(b), float(alpha))
        return graph(op, _number(a), b)

    return add


def _clamp(graph, x, low=None, high=None):
    x = x if low is None else graph("Max", x, _number(low))
    return x if high is None else graph("Min", x, _number(high))


def _reduced(op):
    def reduce(graph, x, axes=(), keepdim=False):
        over = (np.asarray(axes, np.int64),) if len(axes) else ()
        return graph(op, x, *over, keepdims=int(keepdim))

    return reduce


def _along(op):
    return lambda graph, x, axis, half=False: graph(op, x, axis=axis)


def _stack(graph, parts, axis=0):
    return graph("Concat", *(graph.unsqueeze(part, axis) for part in parts), axis=axis)


def _slice(graph, x, axis=0, start=None, end=None, step=1):
    bounds = [0 if start is None else start, np.iinfo(np.int64).max if end is None else end]
    return graph("Slice", x, *(np.array([b], np.int64) for b in (*bounds, axis, step)))


def _flip(graph, x, axes):
    for axis in axes:
        ends = -1, np.iinfo(np.int64).min, axis, -1
        x = graph("Slice", x, *(np.array([b], np.int64) for b in ends))
    return x


def _scatter(graph, x, axis, index, source):
    if not isinstance(source, str):
        source = graph.constant_like(index, float(source))
    return graph("ScatterElements", x, index, source, axis=axis)


def _view(graph, x, shape):
    if shape[0] != ROWS or ROWS in shape[1:]:
        raise ValueError("to_onnx: rows of scores are joined with others, which is not translated.")
    return graph("Reshape", x, np.array([0, *shape[1:]], np.int64))


def _hypot(graph, a, b):
    return graph("Sqrt", graph("Add", graph("Mul", a, a), graph("Mul", b, b)))


OPERATORS = {
    "aten._log_softmax.default": _along("LogSoftmax"),
    "aten._softmax.default": _along("Softmax"),
    "aten.abs.default": _plain("Abs"),
    "aten.add.Tensor": _scaled("Add"),
    "aten.alias.default": _same,
    "aten.amax.default": _reduced("ReduceMax"),
    "aten.argmax.default": lambda g, x, axis, keepdim=False: g(
        "ArgMax", x, axis=axis, keepdims=int(keepdim)
    ),
    "aten.cat.default": lambda g, parts, axis=0: g("Concat", *parts, axis=axis),
    "aten.clamp.default": _clamp,
    "aten.clamp_max.default": lambda g, x, high: _clamp(g, x, None, high),
    "aten.clamp_min.default": _clamp,
    "aten.clone.default": _same,
    "aten.detach.default": _same,
    "aten.div.Tensor": _plain("Div"),
    "aten.eq.Scalar": _plain("Equal"),
    "aten.exp.default": _plain("Exp"),
    "aten.expm1.default": lambda g, x: g.expm1(x),
    "aten.flip.default": _flip,
    "aten.full_like.default": lambda g, x, value: g.constant_like(x, float(value)),
    "aten.gather.default": lambda g, x, axis, index: g("GatherElements", x, index, axis=axis),
    "aten.ge.Scalar": _plain("GreaterOrEqual"),
    "aten.gt.Scalar": _plain("Greater"),
    "aten.hypot.default": _hypot,
    "aten.le.Scalar": _plain("LessOrEqual"),
    "aten.lift_fresh_copy.default": _same,
    "aten.log.default": _plain("Log"),
    "aten.log1p.default": lambda g, x: g.log1p(x),
    "aten.log_sigmoid_forward.default": lambda g, x: (g.log_sigmoid(x), None),
    "aten.logaddexp.default": lambda g, a, b: g.logaddexp(a, b),
    "aten.logsumexp.default": _reduced("ReduceLogSumExp"),
    "aten.lt.Scalar": _plain("Less"),
    "aten.masked_fill.Scalar": lambda g, x, mask, value: g("Where", mask, float(value), x),
    "aten.maximum.default": _plain("Max"),
    "aten.minimum.default": _plain("Min"),
    "aten.mul.Tensor": _plain("Mul"),
    "aten.neg.default": _plain("Neg"),
    "aten.ones_like.default": lambda g, x: g.constant_like(x, 1.0),
    "aten.pow.Tensor_Scalar": _plain("Pow"),
    "aten.reciprocal.default": _plain("Reciprocal"),
    "aten.rsub.Scalar": lambda g, x, other, alpha=1: _scaled("Sub")(g, other, x, alpha),
    "aten.scatter.src": _scatter,
    "aten.scatter.value": _scatter,
    "aten.select.int": lambda g, x, axis, k: g("Gather", x, np.int64(k), axis=axis),
    "aten.sigmoid.default": _plain("Sigmoid"),
    "aten.slice.Tensor": _slice,
    "aten.sqrt.default": _plain("Sqrt"),
    "aten.square.default": lambda g, x: g("Mul", x, x),
    "aten.squeeze.dim": lambda g, x, axis: g.squeeze(x, axis),
    "aten.stack.default": _stack,
    "aten.sub.Tensor": _scaled("Sub"),
    "aten.sum.default": _reduced("ReduceSum"),
    "aten.sum.dim_IntList": _reduced("ReduceSum"),
    "aten.tanh.default": _plain("Tanh"),
    "aten.unsqueeze.default": lambda g, x, axis: g.unsqueeze(x, axis),
    "aten.view.default": _view,
    "aten.where.self": lambda g, mask, a, b: g("Where", mask, _number(a), _number(b)),
    "aten.zeros_like.default": lambda g, x: g.constant_like(x, 0.0),
}
