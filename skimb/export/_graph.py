"""A graph of ONNX operators that grows node by node, and the mathematics that the operators lack."""

import numpy as np

from skimb._core.optional import require

#: first versions that have every operator in the form used here
LEAST_OPSET, ML_OPSET = 18, 3
ML = "ai.onnx.ml"


def onnx():
    """The package ``onnx``."""
    return require("onnx", extra="onnx")


class Graph:
    """Nodes, constants, inputs and outputs.

    Values are known by their names. A call adds a node and gives the name of its output, or a tuple of names.
    Arrays and numbers among its inputs become constants; numbers are float64.

    Parameters
    ----------
    opset : int
        Version of the standard operators.
    """

    def __init__(self, opset):
        self.onnx, self.opset = onnx(), opset
        self.nodes, self.constants, self.inputs, self.outputs = [], {}, [], []
        self._known, self._made = {}, 0

    def __call__(self, op, *inputs, n_outputs=1, domain="", **attributes):
        names = [None] * n_outputs
        for k in range(n_outputs):
            self._made += 1
            names[k] = f"/{op}_{self._made}"  # no column is called so
        given = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        make = self.onnx.helper.make_node
        self.nodes.append(make(op, given, names, domain=domain, **attributes))
        return names[0] if n_outputs == 1 else tuple(names)

    def constant(self, value):
        """The name of a constant; equal ones are kept once."""
        array = np.asarray(value)
        if array.dtype.kind in "US":
            array = array.astype(object)
        key = (
            str(array.dtype),
            array.shape,
            repr(array.tolist()) if array.dtype == object else array.tobytes(),
        )
        if key not in self._known:
            name = self._known[key] = f"/constant_{len(self._known)}"
            self.constants[name] = self.onnx.numpy_helper.from_array(
                np.ascontiguousarray(array).reshape(array.shape), name
            )
        return self._known[key]

    def input(self, name, kind, width):
        """An input of rows, (n, width); `kind` is "float32", "float64" or "text"."""
        return self._port(self.inputs, name, kind, [None, width])

    def output(self, name, value, kind, shape):
        """An output; `kind` also knows "int64" and "bool"."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))
        return self._port(self.outputs, name, kind, [None, *shape])

    def drop_idle_inputs(self):
        """Forget inputs that no node reads, such as columns that a ``ColumnTransformer`` drops."""
        read = {name for node in self.nodes for name in node.input}
        self.inputs = [port for port in self.inputs if port.name in read] or self.inputs[:1]

    def _port(self, ports, name, kind, shape):
        types = self.onnx.TensorProto
        number = {"float32": types.FLOAT, "float64": types.DOUBLE, "text": types.STRING}
        number |= {"int64": types.INT64, "bool": types.BOOL}
        ports.append(self.onnx.helper.make_tensor_value_info(name, number[kind], ["n", *shape[1:]]))
        return name

    def cast(self, value, kind):
        """A value in another type."""
        types = self.onnx.TensorProto
        to = {"float32": types.FLOAT, "float64": types.DOUBLE, "int64": types.INT64}
        to |= {"bool": types.BOOL}
        return self("Cast", value, to=to[kind])

    def model(self, metadata, description):
        """The finished model, checked."""
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, "skimb", self.inputs, self.outputs, list(self.constants.values())
        )
        versions = [helper.make_opsetid("", self.opset), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(
            graph,
            opset_imports=versions,
            producer_name="skimb",
            producer_version=metadata["skimb.version"],
            doc_string=description,
            ir_version=helper.find_min_ir_version_for(versions),
        )
        helper.set_model_props(model, metadata)
        self.onnx.checker.check_model(model)
        return model

    # --- columns -----------------------------------------------------------------------------

    def columns(self, value, places):
        """Some columns of (n, d)."""
        return self("Gather", value, np.asarray(places, np.int64), axis=1)

    def unsqueeze(self, value, axis):
        """The value with a further axis."""
        return self("Unsqueeze", value, np.array([axis], np.int64))

    def squeeze(self, value, axis):
        """The value without an axis of length 1."""
        return self("Squeeze", value, np.array([axis], np.int64))

    def side_by_side(self, values):
        """Columns (n, d) of several values."""
        return values[0] if len(values) == 1 else self("Concat", *values, axis=1)

    def sum(self, op, values):
        """Several values joined by a binary operator."""
        found = values[0]
        for value in values[1:]:
            found = self(op, found, value)
        return found

    # --- mathematics ---------------------------------------------------------------------------

    def log1p(self, x):
        """log(1 + x), with the digits of a small x."""
        u = self("Add", x, 1.0)
        exact = self("Div", self("Mul", self("Log", u), x), self("Sub", u, 1.0))
        # the sum rounds to 1, or x is infinite
        bare = self("Or", self("Equal", u, 1.0), self("IsInf", u))
        return self("Where", bare, self("Where", self("Equal", u, 1.0), x, self("Log", u)), exact)

    def expm1(self, x):
        """exp(x) - 1, with the digits of a small x."""
        u = self("Exp", x)
        less = self("Sub", u, 1.0)
        exact = self("Div", self("Mul", less, x), self("Log", u))
        far = self("Or", self("LessOrEqual", u, 1e-16), self("IsInf", u))
        return self("Where", self("Equal", u, 1.0), x, self("Where", far, less, exact))

    def log_sigmoid(self, x):
        """log(1 / (1 + exp(-x)))."""
        tail = self.log1p(self("Exp", self("Neg", self("Abs", x))))
        return self("Sub", self("Min", x, 0.0), tail)

    def logaddexp(self, a, b):
        """log(exp(a) + exp(b))."""
        tail = self.log1p(self("Exp", self("Neg", self("Abs", self("Sub", a, b)))))
        return self("Add", self("Max", a, b), tail)

    def logit(self, p):
        """log(p / (1 - p))."""
        return self("Sub", self("Log", p), self("Log", self("Sub", 1.0, p)))

    def constant_like(self, x, value):
        """Numbers of the shape of x."""
        filled = self.onnx.helper.make_tensor("value", self.onnx.TensorProto.DOUBLE, [1], [value])
        return self("ConstantOfShape", self("Shape", x), value=filled)

    def below(self, x, tables):
        """How many entries of each column's own sorted table are at most x: (n, d) of int64, 0 for NaN.

        A binary search in all columns at once.
        """
        longest = max(map(len, tables))
        rounds = max(longest.bit_length(), 1)
        size = 1 << rounds
        padded = np.full((len(tables), size), np.nan)
        for own, table in zip(padded, tables, strict=True):
            own[: len(table)] = table
        flat, base = self.constant(padded.ravel()), np.arange(len(tables)) * size
        found = None
        for step in (1 << k for k in reversed(range(rounds))):
            at = self.constant(base + step - 1)
            at = at if found is None else self("Add", found, at)
            passed = self("LessOrEqual", self("Gather", flat, at), x)
            more = self("Mul", self.cast(passed, "int64"), np.int64(step))
            found = more if found is None else self("Add", found, more)
        return found

    def look_up(self, tables, at):
        """Entries of each column's own table, (d, size), at places (n, d)."""
        tables = np.asarray(tables)
        base = np.arange(len(tables)) * tables.shape[1]
        return self("Gather", tables.ravel(), self("Add", at, base))
