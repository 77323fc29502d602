"""Models for ONNX answer as the estimators do."""

import copy
import inspect
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as sampling_pipeline
from scipy import sparse
from scipy.special import ndtri
from sklearn import model_selection as sk_selection
from sklearn import preprocessing as sk
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline

from skimb import losses
from skimb._base.head import HeadParams
from skimb.ensemble import PopulationBaggingClassifier
from skimb.linear_model import BalancedRidge, LinearClassifier, NormalizedLogisticClassifier
from skimb.losses import BalancedMSE, CrossEntropy, Focal, HistogramGaussian, all_losses
from skimb.model_selection import (
    FixedThresholdClassifier,
    GuaranteedThresholdClassifier,
    TunedThresholdClassifierCV,
)
from skimb.neural_network import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    RobustMLPClassifier,
    TabMClassifier,
    TabMRegressor,
)
from skimb.pipeline import ResampledClassifier
from skimb.posthoc import (
    CostRuleClassifier,
    LogitAdjuster,
    PriorCorrectedClassifier,
    PriorShiftAdapter,
)
from skimb.preprocessing import PiecewiseLinearEncoder, SquashingScaler

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from skimb.export import _onnx as module  # noqa: E402
from skimb.export import as_inputs, to_onnx  # noqa: E402
from skimb.export._graph import Graph  # noqa: E402
from skimb.export._rows import Rows, normal_quantiles, transformed  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(max_iter|common class|positive class|validation|not give probabilities|PriorShiftAdapter).*"
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5)).astype(np.float32)
Z = X[:, 0] + 0.5 * RNG.normal(size=120)
TARGETS = {
    "binary": (Z > 0.8).astype(int),
    "multiclass": np.digitize(Z, [0.3, 1.2]),
    "multilabel": np.stack([Z > 0.5, Z < -0.6, X[:, 1] > 0], 1).astype(int),
}
FAR = np.concatenate([X, 30.0 * X[:20]])


def session_of(model):
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def outputs(model, X):
    session = session_of(model)
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(None, as_inputs(session, X)), strict=True))


def agree(estimator, X, tolerance=1e-5, **how):
    """Export without the package's own check, and compare."""
    model = to_onnx(estimator, **how)
    found = outputs(model, X)
    if "prediction" in found:
        wanted = estimator.predict(X)
        assert found["prediction"].shape == wanted.shape
        np.testing.assert_allclose(found["prediction"], wanted, rtol=tolerance, atol=tolerance)
        return model
    label = estimator.predict(X)
    assert found["label"].shape == label.shape
    assert (found["label"] == label).all()
    if "probabilities" in found:
        p = estimator.predict_proba(X)
        assert found["probabilities"].shape == p.shape
        np.testing.assert_allclose(found["probabilities"], p, rtol=0, atol=tolerance)
    else:
        scores = estimator.decision_function(X)
        np.testing.assert_allclose(found["scores"], scores, rtol=tolerance, atol=tolerance)
    return model


# --- losses ------------------------------------------------------------------------------------------


SOME = {"Focal", "VectorScaling", "LabelAwareSmoothing", "TaylorSoftmax", "Tversky"}


def instances(task):
    for kind in all_losses(task):
        try:
            yield kind() if inspect.isclass(kind) else kind
        except TypeError:
            continue


@pytest.fixture(scope="module")
def nets():
    """A fitted net for each task and number of outputs."""
    found = {}
    for task, y in TARGETS.items():
        for loss in (CrossEntropy(), losses.VectorScaling()):
            if task in loss.tasks:
                net = MLPClassifier((6,), loss=loss, max_iter=2, random_state=0).fit(X, y)
                found[task, net.n_outputs_] = net
    return found


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_inverse_of_every_loss(nets, task, some):
    """Each loss inverts inside the graph, with class weights and a prior, also where scores are large."""
    y, done = TARGETS[task], []
    wanted = [loss for loss in instances(task) if not some or type(loss).__name__ in SOME]
    for loss in wanted:
        params = HeadParams(
            loss=loss,
            class_weight="balanced" if loss.calibrated else None,
            prior=[0.4] * 3 if task == "multilabel" else None,
        )
        net = copy.copy(next(n for (own, _), n in nets.items() if own == task))
        head = copy.copy(net._head)
        head.bound, head.warns = None, False
        head = head.bind(params, y.astype(float) if y.ndim == 2 else y, None)
        if (task, head.n_outputs) not in nets:
            continue
        net = copy.copy(nets[task, head.n_outputs])
        net._head = head
        model = agree(net, FAR)
        assert [port.name for port in model.graph.output] == ["label", "probabilities"]
        done.append(type(loss).__name__)
    assert len(done) == len(set(done))
    calibrated = {type(loss).__name__ for loss in wanted if loss.calibrated}
    assert calibrated <= set(done)


def test_prior_moves_probabilities_inside(nets):
    y = TARGETS["multiclass"]
    net = MLPClassifier((4,), loss=Focal(), prior=[0.2, 0.2, 0.6], max_iter=2, random_state=0)
    model = agree(net.fit(X, y), X)
    plain = MLPClassifier((4,), loss=Focal(), max_iter=2, random_state=0).fit(X, y)
    moved = outputs(model, X)["probabilities"] - plain.predict_proba(X)
    assert moved[:, 2].mean() > 0.1


# --- nets --------------------------------------------------------------------------------------------

NETS = [
    (MLPClassifier, {"activation": "tanh"}),
    (MLPClassifier, {"activation": "logistic", "hidden_layer_sizes": (4, 3)}),
    (MLPClassifier, {"activation": "identity", "loss": Focal()}),
    (MLPClassifier, {"head": "cosine"}),
    (MLPClassifier, {"head": "etf", "hidden_layer_sizes": (4, 3)}),
    (MLPClassifier, {"normalization": "batch"}),
    (MLPClassifier, {"solver": "lbfgs"}),
    (LinearClassifier, {"loss": losses.LDAM()}),
    (RobustMLPClassifier, {}),
    (PopulationBaggingClassifier, {"n_estimators": 2}),
]


@pytest.mark.parametrize(("kind", "params"), NETS)
def test_nets(kind, params):
    iterations = {} if kind is PopulationBaggingClassifier else {"max_iter": 2}
    y = TARGETS["multiclass"]
    for task, rows in (("binary", X), ("multiclass", X.astype(np.float64)), ("multiclass", X)):
        if params.get("head") == "etf" and task == "binary":
            continue  # a simplex has three vertices
        net = kind(**params, **iterations, random_state=0).fit(rows, TARGETS[task])
        model = agree(net, rows)
        ports = [*model.graph.input, model.graph.output[1]]
        single = isinstance(net, PopulationBaggingClassifier) is False and rows.dtype == np.float32
        assert [port.type.tensor_type.elem_type for port in ports] == [1 if single else 11] * 2
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [0, 5]
    assert len(np.unique(y)) == model.graph.output[1].type.tensor_type.shape.dim[1].dim_value


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes", "well"]),
        np.array([False, True]),
        np.array([1.0, 2.0]),
        np.array([3, 7]),
    ],
)
def test_kinds_of_labels(labels):
    code = TARGETS["multiclass"] if len(labels) == 3 else TARGETS["binary"]
    model = agree(MLPClassifier((4,), max_iter=2, random_state=0).fit(X, labels[code]), X)
    meta = {p.key: p.value for p in model.metadata_props}
    assert json.loads(meta["skimb.classes"]) == sorted(labels.tolist())


def test_sparse_net_takes_dense_rows():
    rows = sparse.csr_matrix(np.where(X > 0.5, X, 0.0))
    net = MLPClassifier((4,), max_iter=2, random_state=0).fit(rows, TARGETS["multiclass"])
    assert net.net_.module_.sparse
    agree(net, rows)


def test_classes_without_weight_give_scores():
    net = MLPClassifier((4,), class_weight={0: 1, 1: 0, 2: 1}, max_iter=2, random_state=0)
    model = agree(net.fit(X, TARGETS["multiclass"]), X)
    assert [port.name for port in model.graph.output] == ["label", "scores"]


@pytest.mark.parametrize(
    "regressor",
    [
        MLPRegressor("squared_error", (4,), max_iter=2, random_state=0),
        MLPRegressor("poisson", (4,), max_iter=2, random_state=0),
        MLPRegressor(HistogramGaussian(n_bins=7), (4,), max_iter=2, random_state=0),
        TabMRegressor(n_members=2, width=4, max_iter=2, validation_folds=2, random_state=0),
        TabMRegressor("poisson", 2, 4, max_iter=2, validation_folds=2, random_state=0),
        TabMRegressor(BalancedMSE(), 2, 4, max_iter=2, validation_folds=1, random_state=0),
        BalancedRidge(),
    ],
)
def test_regressors(regressor):
    y = np.exp(0.3 * Z)
    model = agree(regressor.fit(X, y), X)
    assert [port.name for port in model.graph.output] == ["prediction"]
    if not isinstance(regressor, BalancedRidge):
        agree(regressor.fit(X, np.stack([y, y**2], 1)), X)


def test_plain_linear_models():
    for task in ("binary", "multiclass"):
        model = NormalizedLogisticClassifier(max_iter=20).fit(X, TARGETS[task])
        agree(model, X.astype(float))


# --- tables ------------------------------------------------------------------------------------------


def table(n=120, seed=0, unseen=False):
    rng = np.random.default_rng(seed)
    towns = np.array(["Bonn", "Köln", "Ulm", "Rom"] + ["Wien"] * unseen, object)
    frame = pd.DataFrame(
        {
            "amount": rng.lognormal(size=n).round(1),
            "town": rng.choice(towns, n),
            "few": rng.choice([0.1, 0.2, 0.7], n),
            "constant": 3.0,
            "flag": rng.random(n) > 0.5,
            "grade": pd.Categorical(rng.choice([1, 2, 5], n)),
        }
    )
    frame.loc[::7, "amount"] = np.nan
    frame.loc[3::9, "town"] = None
    return frame


FRAME = table()
RARE = ((FRAME["amount"].fillna(1.0) > 1.5) | (FRAME["town"] == "Ulm")).to_numpy().astype(int)
NEW = table(60, 1, unseen=True)


@pytest.mark.parametrize(
    ("ensemble", "embedding"),
    [
        ("mini", "piecewise_linear"),
        ("full", None),
        ("packed", "periodic"),
    ],
)
def test_tabm(ensemble, embedding):
    """Raw tables with unseen and missing categories, missing numbers and constant columns."""
    new = NEW.copy()
    new.loc[1::4, "few"] = np.nan  # none is missing in training
    scaling = "squash" if ensemble == "full" else "quantile"
    target = {"mini": RARE, "full": RARE + (FRAME["few"] > 0.5), "packed": None}[ensemble]
    if target is None:
        target = np.stack([RARE, FRAME["flag"], FRAME["few"] > 0.5], 1).astype(int)
    model = TabMClassifier(
        2, 6, loss=Focal(), ensemble=ensemble, embedding=embedding, scaling=scaling, n_bins=7, max_iter=3,
        class_weight="balanced", validation_folds=2, random_state=0,
    ).fit(FRAME, target)  # fmt: skip
    graph = agree(model, new, tolerance=1e-9)
    ports = {port.name: port.type.tensor_type for port in graph.graph.input}
    assert list(ports) == FRAME.columns.tolist()
    assert {name: port.elem_type for name, port in ports.items()} == {
        **dict.fromkeys(FRAME.columns, 11),
        "town": 8,
    }
    agree(model, new.iloc[:1], tolerance=1e-9)


def test_tabm_that_is_shrunk():
    y = TARGETS["multiclass"]
    for target in (y, (y > 1).astype(int), TARGETS["multilabel"]):
        model = TabMClassifier(2, 4, max_iter=2, validation_folds=1, random_state=0).fit(X, target)
        before = model.predict_proba(X)
        model._kept = 0.4  # as if held-out rows had asked for it
        assert np.abs(model.predict_proba(X) - before).max() > 1e-3
        agree(model, X, tolerance=1e-9)


def test_values_between_single_precisions():
    """Where many rows share a value, quantiles are steep: 0.1 must not become its neighbour."""
    rows = np.random.default_rng(0).choice([0.1, 0.3, 0.7, 1.1], (400, 2))
    y = (rows[:, 0] > 0.5).astype(int)
    model = TabMClassifier(2, 4, max_iter=3, validation_folds=0, random_state=0).fit(rows, y)
    agree(model, rows, tolerance=1e-9)
    with_bins = model.to_mlp()
    agree(with_bins, rows, tolerance=1e-6)


@pytest.mark.parametrize("power", [-40, 700])
def test_numbers_of_any_unit(power):
    rows = np.ldexp(np.random.default_rng(0).normal(size=(200, 2)), [0, power])
    model = TabMClassifier(2, 4, max_iter=3, validation_folds=0, random_state=0)
    agree(model.fit(rows, rows[:, 1] > 0), rows, tolerance=1e-9)


def test_member_as_plain_net():
    model = TabMClassifier(2, 4, max_iter=2, validation_folds=0, random_state=0).fit(FRAME, RARE)
    agree(model.to_mlp(1), NEW, tolerance=1e-9)
    plain = TabMClassifier(2, 4, embedding=None, max_iter=2, validation_folds=0, random_state=0)
    agree(plain.fit(FRAME, RARE).to_mlp(), NEW, tolerance=1e-9)


def test_no_rows_and_one_row():
    for model, rows in (
        (
            TabMClassifier(2, 4, max_iter=2, validation_folds=2, random_state=0).fit(
                X, TARGETS["multiclass"]
            ),
            X,
        ),
        (MLPClassifier((4,), max_iter=2, random_state=0).fit(X, TARGETS["binary"]), X),
    ):
        session = session_of(to_onnx(model))
        kind = np.float32 if isinstance(model, MLPClassifier) else np.float64
        label, proba = session.run(None, {"X": rows[:0].astype(kind)})
        assert label.shape == (0,)
        assert proba.shape == (0, len(model.classes_))
        label, proba = session.run(None, {"X": rows[:1].astype(kind)})
        np.testing.assert_allclose(proba, model.predict_proba(rows[:1]), atol=1e-5)
        assert label.tolist() == model.predict(rows[:1]).tolist()


def test_missing_texts_have_a_marker():
    frame = FRAME.assign(town=FRAME["town"].where(FRAME["few"] < 0.5, ""))
    model = TabMClassifier(2, 4, max_iter=2, validation_folds=0, random_state=0).fit(frame, RARE)
    graph = agree(model, frame)
    meta = {p.key: p.value for p in graph.metadata_props}
    assert meta["skimb.missing"] == "<missing>"
    session = session_of(graph)
    assert "<missing>" in as_inputs(session, frame)["town"]
    with pytest.raises(ValueError, match=r"lacks the columns \['town'\]"):
        as_inputs(session, frame.drop(columns="town"))
    with pytest.raises(ValueError, match="X has 2 columns, the model was made of 6"):
        as_inputs(session, frame.to_numpy()[:, :2])


# --- transformers ------------------------------------------------------------------------------------


def through(step, rows, width=None):
    """What a graph of a transformer alone gives."""
    graph = Graph(18)
    source = Rows(graph, graph.input("X", "float64", rows.shape[1]), "float64", rows.shape[1])
    found = transformed(graph, step, source, "")
    graph.output("out", found.numbers(), "float64", [found.width])
    model = graph.model({"skimb.version": "0"}, "")
    return session_of(model).run(None, {"X": rows})[0]


NUMBERS = X.astype(np.float64)
HOLES = np.where(RNG.random(X.shape) < 0.2, np.nan, NUMBERS)


@pytest.mark.parametrize(
    ("step", "holes"),
    [
        (sk.StandardScaler(), True),
        (sk.StandardScaler(with_mean=False), True),
        (sk.MinMaxScaler(clip=True), True),
        (sk.RobustScaler(), True),
        (sk.MaxAbsScaler(), True),
        (sk.QuantileTransformer(n_quantiles=40), True),
        (sk.QuantileTransformer(n_quantiles=40, output_distribution="normal"), True),
        (SquashingScaler(), True),
        (PiecewiseLinearEncoder(6), True),
        (PiecewiseLinearEncoder(6, missing="zeros"), True),
        (PiecewiseLinearEncoder(6, missing="error", max_extrapolation=0.2), False),
        (SimpleImputer(), True),
        (SimpleImputer(strategy="median", add_indicator=True), True),
        (VarianceThreshold(0.9), False),
        (make_pipeline(SimpleImputer(), "passthrough", sk.StandardScaler()), True),
        (sk.FunctionTransformer(), False),
    ],
)
def test_transformers(step, holes):
    fit, new = (HOLES[:80], HOLES) if holes else (NUMBERS[:80], NUMBERS)
    fit, new = fit.copy(), np.concatenate([new, 5.0 * new[:10]])
    if holes:
        fit[:, 4] = np.where(np.isnan(fit[:, 4]), np.nan, fit[:, 4].round(0))  # many equal values
    step.fit(fit)
    wanted = step.transform(new)
    np.testing.assert_allclose(through(step, new), wanted, rtol=1e-9, atol=1e-9)


def test_normal_quantiles():
    graph = Graph(18)
    u = np.concatenate(
        [
            [0.0, 1e-7, 0.5, 1 - 1e-7, 1.0],
            np.random.default_rng(0).random(500),
            np.logspace(-7, -1, 200),
        ]
    )
    graph.output("out", normal_quantiles(graph, graph.input("X", "float64", 1)), "float64", [1])
    found = session_of(graph.model({"skimb.version": "0"}, "")).run(None, {"X": u[:, None]})[0][
        :, 0
    ]
    np.testing.assert_allclose(found, ndtri(u.clip(1e-7, 1 - 1e-7)), rtol=0, atol=1e-9)


def columns():
    numbers = make_pipeline(SimpleImputer(strategy="median"), sk.StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"),
        sk.OneHotEncoder(handle_unknown="ignore"),
    )
    return ColumnTransformer(
        [
            ("numbers", numbers, ["amount", "few"]),
            ("town", texts, ["town"]),
            (
                "again",
                sk.OneHotEncoder(handle_unknown="ignore", drop="first"),
                ["town", "flag", "grade"],
            ),
            ("kept", "passthrough", ["constant"]),
            ("left", "drop", ["few"]),
        ]
    )


@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_column_transformer():
    pipe = make_pipeline(columns(), MLPClassifier((6,), loss=Focal(), max_iter=3, random_state=0))
    model = agree(pipe.fit(FRAME, RARE), NEW)
    assert [port.name for port in model.graph.input] == FRAME.columns.tolist()
    agree(pipe, NEW.iloc[:1])


@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_samplers_and_idle_steps_of_pipelines_and_columns_without_use():
    frame = FRAME.assign(note="any words")
    sampler = RandomOverSampler(random_state=0)
    last = MLPClassifier((4,), max_iter=2, random_state=0)
    model = agree(
        sampling_pipeline(sampler, columns(), last).fit(frame, RARE), NEW.assign(note="x")
    )
    assert [port.name for port in model.graph.input] == FRAME.columns.tolist()
    table = TabMClassifier(2, 4, max_iter=2, validation_folds=0, random_state=0)
    for steps in (["passthrough", table], [None, FixedThresholdClassifier(table, threshold=0.1)], [table]):  # fmt: skip
        pipe = Pipeline([(f"step {k}", step) for k, step in enumerate(steps)])
        agree(pipe.fit(FRAME, RARE), NEW)


def test_inputs_go_by_name_or_have_the_width_of_training():
    names = list("abcde")
    frame, y = pd.DataFrame(X, columns=names), TARGETS["binary"]
    model = net().fit(frame, y)
    session, wanted = session_of(to_onnx(model)), model.predict_proba(frame)
    for rows in (frame[names[::-1]], frame.assign(more="x"), pl.DataFrame(X, names).select(names[::-1]), X, X.tolist()):  # fmt: skip
        np.testing.assert_allclose(
            session.run(None, as_inputs(session, rows))[1], wanted, atol=1e-6
        )
    with pytest.raises(ValueError, match=r"X lacks the columns \['e'\]"):
        as_inputs(session, frame.drop(columns="e"))
    for rows, message in (
        (X[:, :3], "X has 3 columns, the model was made of 5"),
        (X[0], r"X must have the shape \(n_samples, 5\), got \(5,\)"),
        (X.astype(str).astype(object).tolist()[:1] + [["x"] * 5], "takes a matrix of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            as_inputs(session, rows)
    with pytest.raises(ValueError, match="X has 3 columns"):
        to_onnx(net().fit(X, y), X=X[:, :3])
    with pytest.raises(ValueError, match="Column 'b' of X holds 'x', which is no number"):
        as_inputs(session, frame.assign(b="x"))
    holes = frame.assign(a=pd.array([None, *range(len(X) - 1)], dtype="Int64"))
    found = as_inputs(session, holes)["X"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:3, 0], [np.nan, 0, 1])
    np.testing.assert_array_equal(found[:, 1:], X[:, 1:].astype(np.float32))
    lone = ColumnTransformer([("one", "passthrough", ["X"])])
    agree(
        make_pipeline(lone, net()).fit(frame.rename(columns={"a": "X"}), y),
        frame.rename(columns={"a": "X"}),
    )
    one = net().fit(frame[["a"]], y)
    agree(one, frame[["a"]])
    nameless = session_of(to_onnx(net().fit(X, y)))  # goes by places, as such an estimator does
    assert (as_inputs(nameless, frame[names[::-1]])["X"] == X[:, ::-1].astype(np.float32)).all()


# --- wrappers ----------------------------------------------------------------------------------------


def net(**params):
    return MLPClassifier((6,), max_iter=3, random_state=0, **params)


@pytest.mark.parametrize("task", TARGETS)
def test_thresholds(task):
    y = TARGETS[task]
    if task == "multilabel":
        wrappers = [
            TunedThresholdClassifierCV(net(), scoring="f1_macro", cv=2),
            FixedThresholdClassifier(net(), 0.2),
        ]
    elif task == "binary":
        wrappers = [
            TunedThresholdClassifierCV(net(), scoring="f1", cv=2),
            TunedThresholdClassifierCV(
                net(), scoring="f1", cv=2, pos_label=0, response_method="decision_function"
            ),
            FixedThresholdClassifier(net(), 0.05),
            GuaranteedThresholdClassifier(net(), constraint={"recall": 0.6}, objective="precision"),
            sk_selection.TunedThresholdClassifierCV(net(), scoring="f1", cv=2, thresholds=20),
            sk_selection.FixedThresholdClassifier(net(), threshold=0.1, pos_label=0),
            sk_selection.FixedThresholdClassifier(FrozenEstimator(net().fit(X, y))),
        ]
    else:
        wrappers = [
            TunedThresholdClassifierCV(net(), scoring="f1_macro", cv=2),
            FixedThresholdClassifier(net(), [0.7, 0.2, 0.1]),
            FixedThresholdClassifier(net(), [0.3, -0.2, 0.1], response_method="decision_function"),
        ]
    for wrapper in wrappers:
        try:
            wrapper.fit(X, y)
        except (ValueError, TypeError) as error:
            raise AssertionError(f"{wrapper!r}: {error}") from error
        model = agree(wrapper, X)
        plain = np.asarray(outputs(to_onnx(net().fit(X, y)), X)["label"])
        meta = {p.key: p.value for p in model.metadata_props}
        rule = getattr(wrapper, "threshold_", getattr(wrapper, "best_threshold_", None))
        assert "skimb.threshold" in meta
        if rule is not None and np.ndim(rule) == 0 and not isinstance(rule, str):
            assert json.loads(meta["skimb.threshold"]) == pytest.approx(float(rule))
        assert plain.shape == wrapper.predict(X).shape


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_other_wrappers(task):
    y = TARGETS[task]
    k = len(np.unique(y))
    cost = np.arange(k * k, dtype=float).reshape(k, k) % 5 * (1 - np.eye(k))
    from imblearn.under_sampling import RandomUnderSampler

    sampler = RandomUnderSampler(random_state=0)
    wrappers = {
        "binary": [
            CostRuleClassifier(net(), cost=cost),
            PriorCorrectedClassifier(net(solver="lbfgs"), prior=[0.5, 0.5]),
            LogitAdjuster(NormalizedLogisticClassifier(max_iter=9)),
            ResampledClassifier(sampler, net()),
            sk_selection.GridSearchCV(net(), {"alpha": [0.1]}, cv=2),
        ],
        "multiclass": [
            CostRuleClassifier(net(), cost=cost),
            PriorCorrectedClassifier(net(solver="lbfgs"), prior=[0.3, 0.3, 0.4]),
            LogitAdjuster(net()),
            PriorShiftAdapter(net(solver="lbfgs")),
            TunedThresholdClassifierCV(
                make_pipeline(sk.StandardScaler(), net()), scoring="f1_macro", cv=2
            ),
        ],
    }
    for wrapper in wrappers[task]:
        wrapper.fit(X, y)
        if isinstance(wrapper, PriorShiftAdapter):
            wrapper.adapt(X[Z > 0.4], on_weak="move")
        agree(wrapper, X)


# --- the call itself -----------------------------------------------------------------------------------


def test_file_metadata_and_versions(tmp_path):
    model = net().fit(pd.DataFrame(X, columns=list("abcde")), TARGETS["binary"])
    rows = pd.DataFrame(X, columns=list("abcde"))
    graph = to_onnx(model, tmp_path / "model.onnx", X=rows, opset=20)
    meta = {p.key: p.value for p in graph.metadata_props}
    assert json.loads(meta["skimb.features"]) == list("abcde")
    assert json.loads(meta["skimb.opset"]) == 20
    assert json.loads(meta["skimb.classes"]) == [0, 1]
    assert meta["skimb.estimator"] == "MLPClassifier"
    assert "skimb.threshold" not in meta
    assert {v.domain: v.version for v in graph.opset_import} == {"": 20, "ai.onnx.ml": 3}
    assert graph.producer_name == "skimb"
    session = ort.InferenceSession(tmp_path / "model.onnx")
    label, proba = session.run(None, {"X": X})
    assert (label == model.predict(rows)).all()
    np.testing.assert_allclose(proba, model.predict_proba(rows), atol=1e-6)


def test_types_of_inputs():
    pipe = make_pipeline(sk.StandardScaler(), net()).fit(X, TARGETS["binary"])
    assert to_onnx(pipe, X=X).graph.input[0].type.tensor_type.elem_type == 11
    single = to_onnx(pipe, X=X, dtype="float32")
    assert single.graph.input[0].type.tensor_type.elem_type == 1
    assert outputs(single, X)["probabilities"].dtype == np.float32


def test_parameters_set_after_fit_change_nothing():
    model = net(class_weight="balanced").fit(X, TARGETS["binary"])
    wanted = outputs(to_onnx(model), X)
    model.set_params(class_weight=None, loss=Focal(gamma=5.0), activation="tanh", prior=[0.5, 0.5])
    found = outputs(to_onnx(model), X)
    assert all((found[name] == wanted[name]).all() for name in wanted)


class Own(MLPClassifier):
    """A subclass may answer otherwise."""


def test_refusals():
    y = TARGETS["binary"]
    fitted = net().fit(X, y)
    cases = [
        (RandomForestClassifier(3).fit(X, y), {}, "RandomForestClassifier is not translated"),
        (Own((3,), max_iter=1).fit(X, y), {}, "Own is not translated"),
        (fitted, {"opset": 9}, "opset=9 must be an integer from 18"),
        (fitted, {"dtype": "float16"}, "dtype='float16' must be"),
        (
            make_pipeline(sk.PowerTransformer(), net()).fit(X, y),
            {},
            "PowerTransformer is not translated",
        ),
        (
            make_pipeline(sk.FunctionTransformer(np.abs), net()).fit(X, y),
            {},
            "any code, which no graph holds",
        ),
        (
            make_pipeline(ColumnTransformer([("t", sk.OneHotEncoder(), ["town"])]), net()).fit(
                FRAME, RARE
            ),
            {},
            "handle_unknown='ignore'",
        ),
        (
            TabMClassifier(2, 4, max_iter=1, validation_folds=0).fit(
                FRAME[["few"]].rename(columns={"few": "label"}), RARE
            ),
            {},
            "a column is named 'label'",
        ),
    ]
    for estimator, how, message in cases:
        with pytest.raises(ValueError, match=message):
            to_onnx(estimator, **how)
    with pytest.raises(ValueError, match="not fitted"):
        to_onnx(net())
    search = sk_selection.GridSearchCV(net(), {"alpha": [0.0]}, cv=2, refit=False).fit(X, y)
    with pytest.raises(ValueError, match="GridSearchCV was fitted without refit"):
        to_onnx(search)


def test_custom_modules_are_refused():
    import torch

    model = NeuralNetClassifier(
        lambda n_features, n_outputs: torch.nn.Linear(n_features, n_outputs), max_iter=1
    ).fit(X, TARGETS["binary"])
    with pytest.raises(ValueError, match="NeuralNetClassifier is not translated"):
        to_onnx(model)


def test_losses_that_look_at_values_are_refused(nets):
    model = copy.copy(nets["binary", 1])
    model._head = copy.copy(model._head)
    model._head.bound = copy.copy(model._head.bound)
    model._head.bound.decision = lambda z: -z if bool((z > 0).all()) else z
    with pytest.raises(ValueError, match="has steps that depend on the values of scores"):
        to_onnx(model)


def test_check_finds_what_differs(monkeypatch):
    model = net().fit(X, TARGETS["multiclass"])
    right = Graph.model

    def wrong(self, *args):
        for tensor in self.constants.values():
            if tensor.dims == [6, 3]:
                tensor.raw_data = np.zeros((6, 3), np.float32).tobytes()
        return right(self, *args)

    monkeypatch.setattr(Graph, "model", wrong)
    with pytest.raises(ValueError, match=r"labels otherwise|probabilities of the graph are up to"):
        to_onnx(model, X=X)
    to_onnx(model, X=X, check=False)


def test_check_says_when_it_cannot_run(monkeypatch):
    model = net().fit(X, TARGETS["binary"])
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.warns(UserWarning, match="not checked: .onnxruntime. is needed here"):
        module.to_onnx(model, X=X)
