"""Fitted estimators as ONNX models."""

import json
from numbers import Integral
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

import skimb
from skimb._core.optional import lacking, require
from skimb._core.warn import warn_user
from skimb.export._answers import ANSWERS, answer_of
from skimb.export._graph import LEAST_OPSET, Graph, onnx
from skimb.export._rows import Rows, steps_of_rows, texts_of
from skimb.nets import MLP
from skimb.neural_network._tabm_base import TabMBase
from skimb.neural_network._tabm_export import EncodedColumns
from skimb.preprocessing._columns import as_table, columns_of

#: how far probabilities of the graph may lie from those of the estimator
TOLERANCE = 1e-5
_FLOATS = {"float32": np.float32, "float64": np.float64}
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


def to_onnx(estimator, path=None, *, X=None, opset=LEAST_OPSET, dtype=None, check=True):
    """A fitted estimator as one ONNX model, with honest probabilities and its thresholds inside.

    Scales, encodings, nets, the mean over members, the inverse of the loss, class weights, ``prior`` and thresholds
    become operators of one graph, so that its ``label`` is ``predict`` and its ``probabilities`` are
    ``predict_proba``. What has no translation is refused; nothing is approximated in silence.

    Parameters
    ----------
    estimator : estimator
        Fitted: ``MLPClassifier``, ``MLPRegressor``, ``RobustMLPClassifier``, ``LinearClassifier``,
        ``TabMClassifier``, ``TabMRegressor``, ``NormalizedLogisticClassifier``, ``BalancedRidge`` or
        ``PopulationBaggingClassifier``; a pipeline that ends with one; or a wrapper around one of these:
        classifiers by thresholds (also scikit-learn's), ``CostRuleClassifier``, ``PriorCorrectedClassifier``,
        ``PriorShiftAdapter``, ``LogitAdjuster``, ``ResampledClassifier``, ``InterpolatedClassifier``, finished
        searches, ``FrozenEstimator``.
    path : str or path-like, default=None
        File to write; None writes none.
    X : data frame or array-like of shape (n_samples, n_features), default=None
        Rows by which the model is checked: it runs under onnxruntime and must answer as the estimator does, labels
        exactly and probabilities up to 1e-5. None checks nothing.
    opset : int in [18, inf), default=18
        Version of the standard operators.
    dtype : {"float32", "float64"}, default=None
        Type of the inputs that are numbers, and of the outputs. None takes the type in which the estimator
        computes: float64, but float32 for nets of single precision that stand alone.
    check : bool, default=True
        Whether to check by `X`.

    Returns
    -------
    onnx.ModelProto
        The model. A table, read by TabM or a ``ColumnTransformer``, has an input (n, 1) named as each column in use
        where columns have names or hold texts: numbers, with NaN for missing values and 0 and 1 for booleans, or
        texts.
        All others have one input ``X``, (n, n_features). Outputs are ``label`` and ``probabilities`` of classifiers
        (``scores`` where ``predict_proba`` does not exist or is refused), ``prediction`` of regressors.
        ``metadata_props`` name ``skimb.version``, ``skimb.estimator``, ``skimb.classes``, ``skimb.threshold``,
        ``skimb.features``, ``skimb.named`` (whether these are names that `fit` saw), ``skimb.opset`` and
        ``skimb.missing``, the text that stands for a missing one; all but version, estimator and the text are JSON.

    Raises
    ------
    ImportError
        If ``onnx`` is not installed; it comes with ``skimb[onnx]``.
    ValueError
        If a part has no translation, a parameter is out of range, or the check fails.

    Warns
    -----
    UserWarning
        If the check was asked for and ``onnxruntime`` is not installed.

    Notes
    -----
    The graph is built of plain operators of ONNX and, for texts, the LabelEncoder of ``ai.onnx.ml``. Inverses of
    losses are read off the losses themselves by torch's tracer, so that a new loss needs no code here.
    Everything but the hidden layers of float32 nets is computed in float64. Texts that `fit` did not see and
    missing ones are what they are to the estimator. Infinite numbers, which estimators refuse, are not refused by a
    graph.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.export import to_onnx
    >>> from skimb.neural_network import MLPClassifier
    >>> X, y = make_classification(200, weights=[0.9], random_state=0)
    >>> model = MLPClassifier((8,), max_iter=5, random_state=0).fit(X, y)
    >>> graph = to_onnx(model, X=X)  # doctest: +SKIP
    >>> [output.name for output in graph.graph.output]  # doctest: +SKIP
    ['label', 'probabilities']
    """
    check_is_fitted(estimator)
    newest = onnx().defs.onnx_opset_version()
    if (
        isinstance(opset, bool)
        or not isinstance(opset, Integral)
        or not LEAST_OPSET <= opset <= newest
    ):
        raise ValueError(
            f"to_onnx: opset={opset!r} must be an integer from {LEAST_OPSET} to {newest}, the newest that the "
            "installed onnx knows."
        )
    if dtype not in (None, *_FLOATS):
        raise ValueError(f"to_onnx: dtype={dtype!r} must be 'float32', 'float64' or None.")
    kind = _own_type(estimator) if dtype is None else dtype
    graph = Graph(int(opset))
    rows, marker, names, named = _inputs(graph, _core(estimator), kind)
    answer = answer_of(graph, estimator, rows, marker)
    graph.drop_idle_inputs()
    _outputs(graph, answer, kind)
    metadata = {
        "skimb.version": skimb.__version__,
        "skimb.estimator": type(estimator).__name__,
        "skimb.opset": json.dumps(int(opset)),
        "skimb.features": json.dumps(names),
        "skimb.named": json.dumps(named),
        "skimb.missing": marker,
    }
    if answer.classes is not None:
        metadata["skimb.classes"] = json.dumps(np.asarray(answer.classes).tolist())
    if answer.rule is not None:
        metadata["skimb.threshold"] = json.dumps(np.asarray(answer.rule, float).tolist())
    model = graph.model(metadata, f"{type(estimator).__name__} of skimb {skimb.__version__}")
    if check and X is not None:
        _compare(model, estimator, X, kind)
    if path is not None:
        Path(path).write_bytes(model.SerializeToString())
    return model


def as_inputs(session, X):
    """Rows as a session of onnxruntime takes them.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Made of a model of :func:`to_onnx`.
    X : data frame or array-like of shape (n_samples, n_features)
        Rows, as the estimator takes them.

    Returns
    -------
    dict of str to ndarray
        What ``session.run(None, ...)`` takes: one matrix, or a column (n_samples, 1) for each input. Missing texts
        become the text ``skimb.missing`` of the model's metadata.

    Raises
    ------
    ValueError
        If X lacks a column, or has another number of columns.

    Examples
    --------
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession(graph.SerializeToString())  # doctest: +SKIP
    >>> label, probabilities = session.run(None, as_inputs(session, X))  # doctest: +SKIP
    """
    ports, about = session.get_inputs(), session.get_modelmeta().custom_metadata_map
    if "skimb.named" not in about:
        raise ValueError(
            "as_inputs: the session is not of a model that to_onnx of this version made."
        )
    features, marker = json.loads(about["skimb.features"]), about["skimb.missing"]
    by_name = json.loads(about["skimb.named"]) and hasattr(X, "columns")
    if [(port.name, port.shape[1]) for port in ports] == [("X", len(features))] and features != [
        "X"
    ]:
        return {"X": _matrix(X, features if by_name else len(features), _TYPES[ports[0].type])}
    columns = columns_of(as_table(X))
    if by_name:
        columns = {column.name: column for column in columns}
        _refuse_lacking([port.name for port in ports], columns)
    else:
        _refuse_width(len(columns), len(features))
        columns = dict(zip(features, columns, strict=True))
    found = {}
    for port in ports:
        column = columns[port.name]
        if port.type == "tensor(string)":
            levels, which = column.levels
            values = np.array([*map(str, levels), marker], object)[which]
        else:
            values = column.numbers().astype(_TYPES[port.type])
        found[port.name] = values[:, None]
    return found


def _refuse_lacking(names, there):
    if lost := [name for name in names if name not in there]:
        raise ValueError(f"as_inputs: X lacks the columns {lost}, which are inputs of the model.")


def _refuse_width(found, wanted):
    if found != wanted:
        raise ValueError(f"as_inputs: X has {found} columns, the model was made of {wanted}.")


# --- inputs and outputs ------------------------------------------------------------------------------


def _core(estimator):
    """What sees the rows first: a pipeline of several steps, or an estimator without another inside."""
    while True:
        if isinstance(estimator, Pipeline):
            steps = steps_of_rows(estimator)
            if len(steps) > 1:
                return estimator
            estimator = steps[0]
            continue
        names = ("estimator_", "best_estimator_", "estimator")
        known = type(estimator) in ANSWERS
        inner = next((n for n in names if known and _fitted(estimator, n)), None)
        if inner in (None, "estimator") and getattr(estimator, "refit", True) is False:
            raise ValueError(
                f"to_onnx: {type(estimator).__name__} was fitted without refit and holds no fitted estimator; "
                "give one that was fitted with refit=True."
            )
        if inner is None:
            return estimator
        estimator = getattr(estimator, inner)


def _fitted(estimator, name):
    inner = vars(estimator).get(name)
    if name == "estimator":  # a frozen one, or one that was fitted before
        return (
            inner is not None and type(inner) in ANSWERS and not hasattr(estimator, "estimators_")
        )
    return inner is not None


def _own_type(estimator):
    """The type in which an estimator reads numbers."""
    net = getattr(_core(estimator), "net_", None)
    if net is not None and isinstance(net.module_, MLP) and net.module_.flat.element_size() == 4:
        return "float32"
    return "float64"


def _inputs(graph, core, kind):
    """Rows of inputs, the text that stands for a missing one, names of features, whether `fit` saw them."""
    first = steps_of_rows(core)[0] if isinstance(core, Pipeline) else core
    width = first.n_features_in_
    places, known = texts_of(core)
    marker = ""
    while marker in known:
        marker = f"<missing{marker}>"
    named = getattr(first, "feature_names_in_", None)
    names = [f"x{j}" for j in range(width)] if named is None else [str(name) for name in named]
    tables = (TabMBase, ColumnTransformer, EncodedColumns)
    if not places and (named is None or not isinstance(first, tables)):
        return (
            Rows(graph, graph.input("X", kind, width), kind, width),
            marker,
            names,
            named is not None,
        )
    taken = [
        name for name in names if name in {"label", "probabilities", "scores", "prediction", ""}
    ]
    if taken or any(name.startswith("/") for name in names):
        bad = taken[0] if taken else next(name for name in names if name.startswith("/"))
        raise ValueError(
            f"to_onnx: a column is named {bad!r}, as values of the graph are; give it another name and fit again."
        )
    kinds = ["text" if j in places else kind for j in range(width)]
    values = [graph.input(name, own, 1) for name, own in zip(names, kinds, strict=True)]
    return Rows(graph, values, kinds, width), marker, names, named is not None


def _outputs(graph, answer, kind):
    """Name what an answer holds."""

    def number(value):
        return value if kind == "float64" else graph.cast(value, kind)

    if answer.values is not None:
        shape = [] if answer.width is None else [answer.width]
        graph.output("prediction", number(answer.values), kind, shape)
        return
    if answer.multilabel:
        graph.output("label", answer.codes, "int64", [len(answer.classes)])
    else:
        labels, own = _labels(answer.labels)
        codes = answer.codes
        plain = own == "int64" and np.array_equal(labels, np.arange(len(labels)))
        graph.output("label", codes if plain else graph("Gather", labels, codes), own, [])
    if answer.probabilities is not None:
        graph.output("probabilities", number(answer.probabilities), kind, [len(answer.classes)])
    else:
        one = not answer.multilabel and len(answer.classes) == 2
        graph.output("scores", number(answer.scores), kind, [] if one else [len(answer.classes)])


def _labels(labels):
    """Labels as a constant, and their type."""
    labels = np.asarray(labels)
    kind = labels.dtype.kind
    if kind in "iu":
        return labels.astype(np.int64), "int64"
    if kind in "bf":
        return (labels, "bool") if kind == "b" else (labels.astype(np.float64), "float64")
    if all(isinstance(label, str) for label in labels.tolist()):
        return labels.astype(object), "text"
    raise ValueError(
        f"to_onnx: the class {labels.tolist()[0]!r} has the type {type(labels.tolist()[0]).__name__}; only texts, "
        "numbers and booleans have a type in ONNX."
    )


# --- the check ---------------------------------------------------------------------------------------


def _matrix(X, features, dtype):
    """Rows of numbers; of a frame the features by name, of others as many columns as there must be."""
    if isinstance(features, list):
        _refuse_lacking(features, list(X.columns))
        X, features = X[features], len(features)
    try:
        X = np.ascontiguousarray(X.toarray() if sparse.issparse(X) else X, dtype)
    except (TypeError, ValueError) as error:
        if hasattr(X, "columns"):  # with NA, or with a column that is named in what this raises
            _refuse_width(len(X.columns), features)
            read = [column.numbers(finite=False) for column in columns_of(as_table(X))]
            return np.column_stack(read).astype(dtype)
        raise ValueError(
            f"as_inputs: the model takes a matrix of numbers, and X is another ({error})."
        ) from error
    if X.ndim != 2:
        raise ValueError(
            f"as_inputs: X must have the shape (n_samples, {features}), got {X.shape}."
        )
    _refuse_width(X.shape[1], features)
    return X


def _compare(model, estimator, X, kind):
    """Raise where the model does not answer as the estimator does."""
    if why := lacking("onnxruntime", extra="onnx"):
        warn_user(f"to_onnx: the model was not checked: {why} Or give check=False.")
        return
    session = require("onnxruntime", extra="onnx").InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = as_inputs(session, X)
    if kind == "float32" and isinstance(X, np.ndarray) and X.dtype.kind == "f":
        X = X.astype(np.float32).astype(X.dtype)  # rounded rows for both
    found = dict(zip((o.name for o in session.get_outputs()), session.run(None, feed), strict=True))
    method = {"probabilities": "predict_proba", "scores": "decision_function"}
    for name, values in found.items():
        wanted = np.asarray(getattr(estimator, method.get(name, "predict"))(X))
        if name == "label":
            wrong = wanted != values.reshape(wanted.shape)
            if wrong.any():
                raise ValueError(
                    f"to_onnx: the graph decides {np.count_nonzero(wrong)} of {wrong.size} labels otherwise than "
                    f"{type(estimator).__name__}; export with dtype='float64', or report it."
                )
            continue
        size = 1.0 if name == "probabilities" else 1.0 + np.abs(wanted)
        far = float(np.max(np.abs(values.reshape(wanted.shape) - wanted) / size, initial=0.0))
        if not far <= TOLERANCE:
            raise ValueError(
                f"to_onnx: {name} of the graph are up to {far:.1e} from those of {type(estimator).__name__}, more "
                f"than {TOLERANCE:.0e}; export with dtype='float64', or report it."
            )
