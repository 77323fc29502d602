"""What was fitted stays fitted; labels as given; weights of 0; what a training that goes on keeps."""

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification
from sklearn.exceptions import DataConversionWarning
from sklearn.neural_network import MLPClassifier as ScikitMLP
from torch import nn

from skimb import losses
from skimb._core.priors import ClassPrior
from skimb.boosting import LGBMImbalancedClassifier, XGBImbalancedClassifier
from skimb.ensemble import (
    BalanceCascadeClassifier,
    GradientBoostedMLPClassifier,
    PopulationBaggingClassifier,
    SelfPacedEnsembleClassifier,
)
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AnyLoss,
    BalancedMSE,
    CrossEntropy,
    EqualizationV2,
    Focal,
    LogitAdjusted,
    MannWhitney,
    PartialAUC,
    VectorScaling,
)
from skimb.neural_network import (
    BalancedRepresentationClassifier,
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    SubclassContrastiveClassifier,
    TabMClassifier,
    TabMRegressor,
)
from skimb.training import ClassPowerSampler, MetricMixup, Mixup, RunningScheme, Scheme


def net(n_features, n_outputs, width=4):
    return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_outputs))


def other_net(n_features, n_outputs, width=4):
    return nn.Linear(n_features, n_outputs)


class Nothing(Scheme):
    """A scheme that changes nothing."""

    def start(self, module, data, seed):
        return RunningScheme()


@pytest.fixture(scope="module")
def rows():
    return make_classification(240, 5, weights=[0.8], flip_y=0.05, random_state=0)


@pytest.fixture(scope="module")
def three():
    return make_classification(
        300, 8, n_informative=5, n_classes=3, weights=[0.6, 0.3], random_state=0
    )


SHORT = {"max_iter": 3, "random_state": 0}
TABM = {"n_members": 2, "width": 4, "validation_folds": 2, **SHORT}
NETS = [
    MLPClassifier((4,), loss=Focal(), class_weight="balanced", prior=[0.4, 0.6], **SHORT),
    MLPClassifier((4,), loss=MannWhitney(), **SHORT),
    MLPClassifier((4,), loss=EqualizationV2(), **SHORT),
    MLPClassifier((4,), mix=Mixup(), **SHORT),
    MLPClassifier((4,), sampler=ClassPowerSampler(), class_counts=[500, 10], **SHORT),
    MLPClassifier((4,), head="cosine", normalization="batch", **SHORT),
    LinearClassifier(LogitAdjusted(), prior=[0.5, 0.5], random_state=0),
    NeuralNetClassifier(net, module__width=3, loss=AnyLoss(), **SHORT),
    NeuralNetClassifier(loss=MannWhitney(), **SHORT),
    MLPRegressor("poisson", (4,), **SHORT),
    MLPRegressor(BalancedMSE(), (4,), **SHORT),
    MLPRegressor(hidden_layer_sizes=(4,), **SHORT),
]
OTHERS = [
    LGBMImbalancedClassifier(Focal(), n_estimators=5, n_jobs=1, class_weight="balanced"),
    XGBImbalancedClassifier(Focal(), n_estimators=5, n_jobs=1, class_weight="balanced"),
    GradientBoostedMLPClassifier(Focal(), n_estimators=3, class_weight="balanced", random_state=0),
    PopulationBaggingClassifier(MLPClassifier((4,), max_iter=2), 3, random_state=0),
    SelfPacedEnsembleClassifier(MLPClassifier((4,), max_iter=2), 2, random_state=0),
    BalanceCascadeClassifier(n_estimators=2, random_state=0),
    TabMClassifier(**TABM, loss=Focal(), class_weight="balanced", prior=[0.4, 0.6]),
    SubclassContrastiveClassifier((4,), warmup_epochs=1, class_weight="balanced", **SHORT),
    BalancedRepresentationClassifier((4,), prior=[0.4, 0.6], **SHORT),
    TabMClassifier(**TABM, loss=MannWhitney(), ensemble="packed", embedding="periodic"),
    TabMRegressor("poisson", **TABM, ensemble="full", embedding=None),
    TabMRegressor(BalancedMSE(learn_sigma=False), **TABM),
]
#: values of parameters, of which one differs from what an estimator was fitted with
VALUES = {
    "loss": [VectorScaling(), Focal(0.5), "squared_error", "poisson", BalancedMSE(noise_sigma=2.0)],
    "class_weight": ["balanced", None],
    "prior": [[0.9, 0.1], None],
    "class_counts": [[40, 50], None],
    "sampler": [ClassPowerSampler(0.5), None],
    "mix": [Mixup(0.3), MetricMixup(), None],
    "scheme": [Nothing()],
    "deferred_reweighting": [0.5],
    "decoupling": ["crt"],
    "validation_scoring": ["balanced_accuracy", "r2"],
    "hidden_layer_sizes": [(3, 2)],
    "activation": ["tanh", "relu"],
    "linear_skip": [False],
    "hidden_scale": [0.5],
    "head": ["cosine", "linear"],
    "head_scale": [4.0],
    "normalization": ["batch", None],
    "module": [other_net],
    "module__width": [7],
    "dtype": ["float32"],
    "solver": ["sgd", "adam"],
    "learning_rate": ["cosine", "constant", 0.3, 0.2],
    "learning_rate_init": [0.1],
    "power_t": [0.3],
    "batch_size": [50],
    "alpha": [0.3],
    "max_iter": [7],
    "max_fun": [17],
    "shuffle": [False],
    "tol": [0.1],
    "verbose": [1],
    "warm_start": [True],
    "momentum": [0.5],
    "nesterovs_momentum": [False],
    "early_stopping": [True],
    "validation_fraction": [0.3],
    "beta_1": [0.5],
    "beta_2": [0.5],
    "epsilon": [1e-3],
    "n_iter_no_change": [2],
    "device": ["auto"],
    "mixed_precision": [True],
    "callbacks": [[]],
    "random_state": [5],
    "n_estimators": [4],
    "body": [MLPClassifier((3,))],
    "units_per_stage": [2],
    "n_candidates": [2],
    "newton": ["per_class"],
    "max_step": [3.0],
    "subsample": [0.7],
    "max_depth": [2],
    "num_leaves": [5],
    "min_child_samples": [7],
    "min_child_weight": [2.0],
    "colsample_bytree": [0.5],
    "reg_lambda": [3.0],
    "reg_alpha": [3.0],
    "gamma": [1.0],
    "tree_method": ["exact"],
    "importance_type": ["gain", "split"],
    "n_jobs": [2],
    "params": [{}],
    "estimator": [LinearClassifier(Focal())],
    "power": [0.5],
    "max_memory": [2**20],
    "k_bins": [3],
    "hardness": ["squared"],
    "replacement": [True, False],
    "soft": [True],
    "balancing_schedule": ["progressive"],
    "n_members": [3],
    "width": [3],
    "n_blocks": [3],
    "ensemble": ["mini", "full"],
    "embedding": ["piecewise_linear", None],
    "d_embedding": [3],
    "n_bins": [5],
    "scaling": ["squash"],
    "categorical_features": [None],
    "dropout": [0.2],
    "clip_norm": [None],
    "validation_folds": [0],
    "projection_dim": [3],
    "contrast": ["balanced"],
    "temperature": [0.5],
    "class_contrast": [0.0],
    "min_subclass_size": [3],
    "warmup_epochs": [3],
    "recluster_every": [3],
    "balanced_clusters": [False],
    "n_views": [3],
    "augmentation": ["noise"],
    "augmentation_rate": [0.1],
    "feature_groups": [[[0, 1]]],
    "output_alpha": [3.0],
    "mix_ratio": [0.5],
    "swap_fraction": [0.5],
    "kappa": [2.0],
    "skip_pairs": [None],
}


def set_all(model):
    """Give every parameter another value."""
    kinds = {type(model).__name__}
    for name, now in model.get_params(deep=False).items():
        for value in VALUES[name]:
            regression = isinstance(value, (str, BalancedMSE))
            if name == "loss" and regression == is_classifier(model):
                continue
            if name == "validation_scoring" and (value == "r2") == is_classifier(model):
                continue
            if name == "learning_rate" and isinstance(now, str) != isinstance(value, str):
                continue
            if name == "solver" and now == value:
                continue
            if type(now) is not type(value) or repr(now) != repr(value):
                model.set_params(**{name: value})
                break
        else:
            raise AssertionError(f"no other value for {name} of {kinds}")


def answers(model, X):
    names = ("predict", "predict_proba", "decision_function")
    return [getattr(model, name)(X) for name in names if hasattr(model, name)]


def assert_same(model, X, expected):
    for got, wanted in zip(answers(model, X), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def round_trips(model):
    yield pickle.loads(pickle.dumps(model))
    yield copy.deepcopy(model)
    yield copy.copy(model)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    yield joblib.load(buffer)


def named(model):
    loss = getattr(model, "loss", "")
    return f"{type(model).__name__}-{loss!r}"


@pytest.mark.parametrize("model", NETS + OTHERS, ids=named)
def test_what_was_fitted_stays(rows, model):
    X, y = rows
    model = clone(model).fit(X, y)
    shown = {k: repr(v) for k, v in vars(model).items() if k.endswith("_")}
    expected = answers(model, X)
    for same in round_trips(model):
        assert_same(same, X, expected)
    set_all(model)
    assert_same(model, X, expected)
    for same in round_trips(model):
        assert_same(same, X, expected)
    for name in ("prior_", "class_weight_", "class_counts_", "loss_function_", "classes_"):
        assert repr(getattr(model, name, None)) == shown.get(name, "None"), name


@pytest.mark.parametrize("model", NETS, ids=named)
def test_training_goes_on_alike_in_a_copy(rows, model):
    X, y = rows
    model = clone(model).fit(X, y)
    if not hasattr(model, "partial_fit"):
        model.set_params(solver="adam").fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.partial_fit(X, y)
    assert_same(again, X, answers(model, X))
    for one in (model, again):
        one.set_params(warm_start=True).fit(X, y)
    assert_same(again, X, answers(model, X))


@pytest.mark.parametrize("model", NETS, ids=named)
def test_training_goes_on_with_other_parameters(rows, model):
    X, y = rows
    model = clone(model).fit(X, y)
    before = model.net_.module_.state_dict()
    shapes = {k: v.shape for k, v in before.items()}
    set_all(model)
    model.set_params(early_stopping=False, verbose=False)
    if "decoupling" in model.get_params():
        model.set_params(decoupling=None)
    if is_classifier(model):
        one_per_class = model.n_outputs_ == 2
        if not one_per_class:
            kept = answers(model, X)
            with pytest.raises(ValueError, match="fit it anew"):
                model.partial_fit(X, y)
            assert_same(model, X, kept)
            model.set_params(loss=Focal(0.5))
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.partial_fit(X, y)
        one.fit(X, y)
    assert_same(again, X, answers(model, X))
    assert {k: v.shape for k, v in model.net_.module_.state_dict().items()} == shapes


def test_one_loss_object_serves_a_loop(rows):
    X, y = rows
    loss, models = Focal(), []
    for gamma in (0.0, 5.0):
        models.append(LinearClassifier(loss.set_params(gamma=gamma)).fit(X, y))
    apart = [m.predict_proba(X) for m in models]
    assert np.abs(apart[0] - apart[1]).max() > 0.01
    for model, expected in zip(models, apart, strict=True):
        np.testing.assert_array_equal(copy.deepcopy(model).predict_proba(X), expected)


def test_memory_of_a_loss_is_saved(rows):
    X, y = rows
    model = MLPClassifier((4,), loss=EqualizationV2(), random_state=0).partial_fit(X, y)
    gathered = model._head.bound.state_dict()
    assert any(v.any() for v in gathered.values())
    again = pickle.loads(pickle.dumps(model))._head.bound.state_dict()
    assert all((again[k] == v).all() for k, v in gathered.items())
    noise = MLPRegressor(BalancedMSE(), (4,), random_state=0).partial_fit(X, X[:, 0])
    assert copy.deepcopy(noise).noise_sigma_ == noise.noise_sigma_
    assert copy.deepcopy(noise)._head.bound.sigma == noise.noise_sigma_


@pytest.mark.parametrize(
    "model",
    [
        MLPClassifier((4,), loss=EqualizationV2(), **SHORT),
        MLPRegressor(BalancedMSE("gai"), (4,), **SHORT),
        MLPRegressor(BalancedMSE("bni"), (4,), **SHORT),
        GradientBoostedMLPClassifier(Focal(), n_estimators=2, random_state=0),
        PopulationBaggingClassifier(MLPClassifier((4,), max_iter=2), 2, random_state=0),
        TabMClassifier(**TABM, loss=Focal()),
        TabMRegressor(**TABM),
    ],
    ids=named,
)
def test_skops_saves_what_losses_hold(rows, model):
    sio = pytest.importorskip("skops.io")
    X, y = rows
    fitted = clone(model).fit(X, y if is_classifier(model) else X[:, 0])
    data = sio.dumps(fitted)
    again = sio.loads(data, trusted=sio.get_untrusted_types(data=data))
    assert_same(again, X, answers(fitted, X))
    if hasattr(fitted, "partial_fit"):
        more = [m.partial_fit(X, y if is_classifier(m) else X[:, 0]) for m in (fitted, again)]
        assert_same(more[1], X, answers(more[0], X))


def test_a_mutated_module_parameter_changes_no_pickle(rows):
    X, y = rows

    sizes = [3]
    model = NeuralNetClassifier(sized_net, module__sizes=sizes, max_iter=1, random_state=0)
    expected = model.fit(X, y).predict_proba(X)
    sizes[0] = 9
    np.testing.assert_array_equal(copy.deepcopy(model).predict_proba(X), expected)


def sized_net(n_features, n_outputs, sizes):
    return net(n_features, n_outputs, sizes[0])


def test_loading_a_net_draws_nothing_from_the_global_generator(rows):
    import torch

    X, y = rows
    data = pickle.dumps(NeuralNetClassifier(net, max_iter=1, random_state=0).fit(X, y))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    pickle.loads(data)
    assert torch.rand(1) == expected


def test_a_refused_training_changes_nothing(rows):
    X, y = rows
    model = MLPClassifier((4,), class_weight="balanced", **SHORT).fit(X, y)
    expected = answers(model, X)
    model.set_params(class_weight={0: 1.0, 1: 50.0}, prior=[0.5, 0.5])
    with pytest.raises(ValueError, match="cannot go on"):
        model.partial_fit(sparse.csr_matrix(X), y)
    assert_same(model, X, expected)
    assert_same(copy.deepcopy(model), X, expected)


def test_a_refused_refit_changes_nothing(rows):
    X, y = rows
    model = MLPClassifier((4,), **SHORT).fit(pd.DataFrame(X).add_prefix("x"), y)
    named = pd.DataFrame(X).add_prefix("x")
    expected = answers(model, named)
    model.set_params(hidden_layer_sizes=(7, 5), activation="tanh", solver="lbfgs")
    model.set_params(loss=EqualizationV2())
    with pytest.raises(ValueError, match="lbfgs"):
        model.fit(X[:, :3].astype(np.float32), np.where(y, "b", "a"))
    for same in (model, *round_trips(model)):
        assert_same(same, named, expected)
        assert same.classes_.tolist() == [0, 1]


def test_the_level_of_several_classes_is_added_once(three):
    X, y = three
    model = MLPClassifier((4,), loss=MannWhitney(), learning_rate_init=1e-12, random_state=0)
    expected = model.partial_fit(X, y).predict_proba(X)
    for _ in range(3):
        model.partial_fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)


# --- labels as given -------------------------------------------------------------------------

CLASSIFIERS = [
    LinearClassifier(),
    MLPClassifier((4,), **SHORT),
    NeuralNetClassifier(net, **SHORT),
    PopulationBaggingClassifier(MLPClassifier((4,), max_iter=2), 2, random_state=0),
]
every_classifier = pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
LABELS = {
    "0/1": np.array([0, 1]),
    "1/2": np.array([1, 2]),
    "-1/1": np.array([-1, 1]),
    "floats": np.array([0.0, 2.0]),
    "words": np.array(["no", "yes"]),
    "objects": np.array(["no", "yes"], dtype=object),
    "bool": np.array([False, True]),
    "bytes": np.array([3, 7], dtype=np.uint8),
}


@every_classifier
@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_as_given(rows, model, kind):
    X, y = rows
    labels = LABELS[kind]
    fitted = clone(model).fit(X, labels[y])
    plain = clone(model).fit(X, y)
    np.testing.assert_array_equal(fitted.classes_, labels)
    assert fitted.classes_.dtype == labels.dtype
    predicted = fitted.predict(X)
    assert predicted.dtype == labels.dtype
    np.testing.assert_array_equal(predicted, labels[plain.predict(X)])
    np.testing.assert_array_equal(fitted.predict_proba(X), plain.predict_proba(X))
    listed = clone(model).fit(X, labels[y].tolist())
    np.testing.assert_array_equal(listed.predict(X), predicted)


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize(
    "column",
    [
        lambda y: pd.Series(pd.Categorical.from_codes(y, ["low", "high"], ordered=True)),
        lambda y: pd.Series(np.where(y, "high", "low"), dtype="string"),
        lambda y: pd.Series(np.where(y, "high", "low"), dtype="category"),
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(y == 1, dtype="boolean"),
    ],
    ids=["ordered", "string", "category", "Int64", "boolean"],
)
def test_columns_of_pandas(rows, model, column):
    X, y = rows
    given = column(y)
    fitted = clone(model).fit(X, given)
    assert fitted.classes_.tolist() == sorted(given.unique().tolist())
    plain = clone(model).fit(X, np.searchsorted(fitted.classes_, np.asarray(given)))
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[plain.predict(X)])
    with pytest.raises(ValueError, match="NaN or another missing label"):
        clone(model).fit(X, given.where(np.arange(len(y)) > 3))


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
def test_a_column_and_labels_of_several_kinds(rows, model):
    X, y = rows
    with pytest.warns(DataConversionWarning) as seen:
        fitted = clone(model).fit(X, y[:, None])
    assert {w.filename for w in seen} == {__file__}
    np.testing.assert_array_equal(fitted.predict(X), clone(model).fit(X, y).predict(X))
    mixed = y.astype(object)
    mixed[3] = "one"
    for given in (mixed, mixed.tolist(), pd.Series(mixed)):
        with pytest.raises(ValueError, match="mixes labels of several kinds"):
            clone(model).fit(X, given)


def test_chunks_of_another_kind_of_label(rows):
    X, y = rows
    model = MLPClassifier((4,), random_state=0).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="not among the classes"):
        model.partial_fit(X, np.where(y, "yes", "no"))
    words = MLPClassifier((4,), random_state=0).partial_fit(
        X, np.where(y, "yes", "no"), classes=["no", "yes"]
    )
    with pytest.raises(ValueError, match="not among the classes"):
        words.partial_fit(X, y)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        words.partial_fit(X, np.where(y, "yes", "no"), classes=[0, 1])


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_array, sparse.lil_matrix])
@pytest.mark.parametrize("model", CLASSIFIERS[:3], ids=lambda m: type(m).__name__)
def test_sparse_label_matrices(rows, model, container):
    X, y = rows
    Y = np.stack([y, X[:, 0] > 0, X[:, 1] > 0.5], 1).astype(int)
    weight = np.arange(len(X)) % 3.0
    dense = clone(model).fit(X, Y, sample_weight=weight)
    fitted = clone(model).fit(X, container(Y), sample_weight=weight)
    np.testing.assert_array_equal(fitted.predict_proba(X), dense.predict_proba(X))
    theirs = ScikitMLP((4,), max_iter=3, random_state=0).fit(X, container(Y)).predict(X)
    assert fitted.predict(X).shape == theirs.shape
    assert np.isfinite(fitted.score(X, Y))


def test_sparse_label_matrices_in_chunks_and_validation(rows):
    X, y = rows
    Y = np.stack([y, X[:, 0] > 0], 1).astype(int)
    model = MLPClassifier((4,), random_state=0)
    expected = clone(model).partial_fit(X, Y).partial_fit(X, Y).predict_proba(X)
    chunks = clone(model).partial_fit(X, sparse.csr_matrix(Y)).partial_fit(X, sparse.csr_matrix(Y))
    np.testing.assert_array_equal(chunks.predict_proba(X), expected)
    for scoring in (None, "average_precision", "f1_macro"):
        held = clone(model).set_params(early_stopping=True, validation_scoring=scoring, max_iter=3)
        dense = clone(held).fit(X, Y).validation_scores_
        assert held.fit(X, sparse.csr_matrix(Y)).validation_scores_ == dense
    regressor = MLPRegressor(hidden_layer_sizes=(4,), **SHORT)
    np.testing.assert_array_equal(
        clone(regressor).fit(X, sparse.csr_matrix(Y)).predict(X), regressor.fit(X, Y).predict(X)
    )


# --- the positive class ----------------------------------------------------------------------


BINARY = [Focal(alpha=0.9, gamma=0.0), PartialAUC(fpr_max=1.0)]
for cls in losses.all_losses("binary"):
    BINARY.append(cls())
    for name, values in cls.grid().items():
        BINARY += [cls().set_params(**{name: value}) for value in values]


@pytest.mark.parametrize("loss", BINARY, ids=repr)
def test_losses_tell_whether_the_two_classes_play_different_parts(loss):
    import torch

    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(60,) if loss.one_logit else (60, 2)))
    y = torch.from_numpy((rng.random(60) < 0.3).astype(int))
    counts = np.bincount(y, minlength=2)
    exchanged = -z if loss.one_logit else z.flip(-1)
    values = [
        float(loss.bind(ClassPrior(counts=c))(scores, code))
        for c, scores, code in ((counts, z, y), (counts[::-1], exchanged, 1 - y))
    ]
    if not np.isclose(*values, rtol=1e-9, atol=1e-12):
        assert loss.one_sided


@pytest.mark.parametrize("loss", [loss for loss in BINARY if loss.one_sided], ids=repr)
def test_a_common_positive_class_is_said_of_every_such_loss(rows, loss):
    X, y = rows
    common = (y == 0).astype(int)
    assert common.mean() > 0.75
    rare = np.flatnonzero(common == 0)[:20]
    keep = np.concatenate([rare, np.flatnonzero(common)])
    model = MLPClassifier((2,), loss=loss, max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="as the positive class") as seen:
        clone(model).fit(X[keep], common[keep])
    assert {w.filename for w in seen} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        warnings.filterwarnings("error", message=".*as the positive class")
        clone(model).fit(X[keep], 1 - common[keep])


def test_the_positive_class_of_bags_and_resampled_rows_is_that_of_the_data(rows):
    X, _ = rows
    common = (X[:, 0] > np.quantile(X[:, 0], 0.1)).astype(int)
    net_ = MLPClassifier((2,), loss=Focal(alpha=0.9), max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="as the positive class") as seen:
        PopulationBaggingClassifier(net_, 2, random_state=0).fit(X, common)
    assert {w.filename for w in seen} == {__file__}
    with pytest.warns(UserWarning, match="as the positive class"):
        clone(net_).set_params(class_counts=[10, 500]).fit(X, X[:, 1] > 0)


def test_validation_scores_by_any_scorer(rows):
    X, y = rows
    held = {"early_stopping": True, "max_iter": 3, "tol": 0.0, "random_state": 0}

    def own(estimator, X, y):
        return estimator.score(X, y)

    model = MLPClassifier((4,), **held)
    named = clone(model).set_params(validation_scoring="accuracy").fit(X, y).validation_scores_
    assert clone(model).set_params(validation_scoring=own).fit(X, y).validation_scores_ == named
    model = MLPRegressor(hidden_layer_sizes=(4,), **held)
    named = clone(model).fit(X, X[:, 0]).validation_scores_
    for scoring in ("r2", own):
        same = clone(model).set_params(validation_scoring=scoring).fit(X, X[:, 0])
        np.testing.assert_allclose(same.validation_scores_, named, rtol=1e-12)
    words = np.where(y, "yes", "no")
    model = MLPClassifier((4,), validation_scoring="roc_auc", **held)
    assert model.fit(pd.DataFrame(X).add_prefix("x"), words).validation_scores_


# --- weights of 0 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), Focal(), LogitAdjusted(), AnyLoss(), MannWhitney()]
)
@pytest.mark.parametrize("early", [False, True])
def test_a_class_of_weight_0_is_not_trained(three, loss, early):
    X, y = three
    model = MLPClassifier(
        (4,), loss=loss, class_weight={2: 0.0}, max_iter=20, early_stopping=early, random_state=0
    ).fit(X, y)
    assert model.class_weight_[2] == 0.0
    assert np.isfinite(model.decision_function(X)).all()
    assert set(model.predict(X)) <= {0, 1, 2}
    if loss.calibrated:
        with pytest.raises(ValueError, match="no weight"):
            model.predict_proba(X)
    else:
        assert np.isfinite(model.predict_proba(X)).all()


def test_weights_of_0_remove_rows(three):
    X, y = three
    weighted = LinearClassifier(class_weight={2: 0.0}, tol=1e-8, max_iter=500).fit(X, y)
    known = y != 2
    removed = LinearClassifier(tol=1e-8, max_iter=500).fit(X[known], y[known])
    difference = weighted.decision_function(X)[:, 1] - weighted.decision_function(X)[:, 0]
    np.testing.assert_allclose(difference, removed.decision_function(X), atol=0.05)
    with pytest.raises(ValueError, match="fewer than two of the classes"):
        LinearClassifier(class_weight={0: 0.0, 1: 0.0}).fit(X, y)
    with pytest.raises(ValueError, match="finite weights"):
        LinearClassifier(class_weight={0: -1.0}).fit(X, y)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("model", OTHERS[:3], ids=named)
def test_boosted_classifiers_take_weights_of_0(three, model, early):
    X, y = three
    params = {"class_weight": {2: 0.0}, "early_stopping": early, "n_iter_no_change": 2}
    if not isinstance(model, GradientBoostedMLPClassifier):
        params["n_estimators"] = 20
    fitted = clone(model).set_params(**params).fit(X, y)
    assert np.isfinite(fitted.decision_function(X)).all()
    assert (fitted.predict(X)[y != 2] == y[y != 2]).mean() > 0.6
    with pytest.raises(ValueError, match="no weight"):
        fitted.predict_proba(X)
