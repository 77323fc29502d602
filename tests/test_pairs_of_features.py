"""Every pair of features of a neural classifier works together, or is refused in one sentence.

Of ensembles on tables these are the pairs with mixtures or with schemes.
"""

import itertools

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from refusals import check_refusal
from scipy import sparse
from sklearn.base import clone
from torch import nn

from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AdversarialCompSum,
    AnyLoss,
    Asymmetric,
    CrossEntropy,
    Deferred,
    DynamicReweighting,
    EqualizationV2,
    ExpectedCost,
    InfluenceBalanced,
    LogitAdjusted,
    MannWhitney,
    Mixed,
)
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier, NeuralNetClassifier, TabMClassifier
from skimb.training import (
    AdversarialTraining,
    BalancedMixup,
    Batch,
    ClassPowerSampler,
    DynamicPruning,
    GroupwiseDenoising,
    Mixup,
    PartialMixup,
    Remix,
    RunningScheme,
    Scheme,
    UniMix,
)


class NoiseAtWork(RunningScheme):
    """Adds noise to the rows of a batch."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def batch(self, batch, step):
        X = batch.X
        if isinstance(X, dict):
            X = {k: self.noisy(v) if k in ("numbers", "fractions") else v for k, v in X.items()}
        else:
            X = self.noisy(X)
        return Batch(X, batch.target, batch.weight, batch.rows, batch.epoch, batch.loss)

    def noisy(self, X):
        return X + 0.1 * torch.randn(X.shape, generator=self.generator, dtype=X.dtype)


class Noise(Scheme):
    """Rows with noise."""

    def start(self, module, data, seed):
        if data.sparse:
            raise ValueError("scheme=Noise() would make sparse X dense.")
        return NoiseAtWork(seed)


class FirstAtWork(RunningScheme):
    """Offers the weights after the first update."""

    def __init__(self, module):
        self.module, self.first = module, None

    def after_update(self, batch, step):
        if self.first is None:
            self.first = [value.clone() for value in self.module.state_dict().values()]

    def weights(self):
        return self.first


class First(Scheme):
    """The weights after the first update predict."""

    def start(self, module, data, seed):
        return FirstAtWork(module)


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.hidden, self.out = nn.Linear(n_features, 4), nn.Linear(4, n_outputs)

    def forward(self, X):
        return self.out(torch.tanh(self.hidden(X)))


LOSSES = {
    "softmax": CrossEntropy(),
    "prior": LogitAdjusted(),
    "row": Asymmetric(),
    "batch": AnyLoss(),
    "pairs": MannWhitney(),
    "memory": EqualizationV2(),
    "inputs": InfluenceBalanced(alpha=1.0),
    "adversary": AdversarialCompSum(eps=0.1, n_steps=2),
    "costs": ExpectedCost(),
    "scheduled": Deferred(LogitAdjusted(), start=0.5),
    "mixed": Mixed(AnyLoss(), share=0.2, warmup=1),
    "weighted": DynamicReweighting(warmup=0.5),
}
#: the values of each feature, the plain one first
FEATURES = {
    "loss": list(LOSSES),
    "mix": [None, Mixup(), BalancedMixup(), PartialMixup(0.5), Remix(), UniMix()],
    "cost": [False, True],
    "sampler": [None, ClassPowerSampler(0.5)],
    "early_stopping": [False, True],
    "batched": [False, True],
    "solver": ["adam", "sgd", "muon", "lbfgs"],
    "X": ["dense", "csr"],
    "y": ["two", "three", "labels"],
    "class_weight": [None, "balanced"],
    "how": ["fit", "partial_fit", "warm_start", "sample_weight"],
    "deferred_reweighting": [None, 0.5],
    "estimator": ["mlp", "linear", "module"],
    "scheme": [
        None,
        Noise(),
        AdversarialTraining(eps=0.1, n_steps=2),
        DynamicPruning(0.5, period=1, min_rows=5),
        GroupwiseDenoising(warmup=1),
    ],
    "head": ["linear", "cosine"],
    "normalization": [None, "batch", "class_balanced"],
    "decoupling": [None, "crt"],
}
PLAIN = {name: values[0] for name, values in FEATURES.items()}
MIXERS = FEATURES["mix"][1:]
OTHERS = [name for name in LOSSES if name != "costs"]
#: pairs that do not go together; all others must work
REFUSED = [
    ("loss", ["batch", "pairs", "memory", "inputs", "adversary", "mixed", "weighted"], "mix", MIXERS),
    ("loss", OTHERS, "cost", [True]),
    ("loss", ["memory", "adversary"], "solver", ["lbfgs"]),
    ("loss", ["adversary"], "X", ["csr"]),
    ("loss", ["adversary", "costs"], "y", ["labels"]),
    ("loss", ["inputs"], "estimator", ["module"]),
    ("loss", ["inputs"], "head", ["cosine"]),
    ("loss", ["adversary"], "normalization", ["batch", "class_balanced"]),
    ("X", ["csr"], "normalization", ["batch", "class_balanced"]),
    ("solver", ["lbfgs"], "normalization", ["batch", "class_balanced"]),
    ("mix", MIXERS, "normalization", ["class_balanced"]),
    ("y", ["labels"], "normalization", ["class_balanced"]),
    ("mix", MIXERS, "solver", ["lbfgs"]),
    ("mix", MIXERS, "X", ["csr"]),
    ("mix", MIXERS, "y", ["labels"]),
    ("cost", [True], "y", ["labels"]),
    ("sampler", FEATURES["sampler"][1:], "solver", ["lbfgs"]),
    ("sampler", FEATURES["sampler"][1:], "y", ["labels"]),
    ("early_stopping", [True], "how", ["partial_fit"]),
    ("solver", ["muon"], "X", ["csr"]),
    ("solver", ["muon"], "estimator", ["linear"]),
    ("solver", ["lbfgs"], "how", ["partial_fit"]),
    ("solver", ["lbfgs"], "deferred_reweighting", [0.5]),
    ("solver", ["lbfgs"], "scheme", FEATURES["scheme"][1:]),
    ("solver", ["lbfgs"], "estimator", ["module"]),
    ("X", ["csr"], "scheme", FEATURES["scheme"][1:3]),
    ("y", ["labels"], "scheme", FEATURES["scheme"][3:]),
    ("estimator", ["module"], "scheme", FEATURES["scheme"][3:4]),
    ("scheme", FEATURES["scheme"][2:3], "normalization", ["batch", "class_balanced"]),
    ("loss", ["adversary"], "decoupling", ["crt"]),
    ("y", ["labels"], "decoupling", ["crt"]),
    ("how", ["partial_fit"], "decoupling", ["crt"]),
    ("head", ["cosine"], "decoupling", ["crt"]),
]  # fmt: skip


#: the same for ensembles on tables, which have other features and some of these; test_tabm has further mixers and schemes
OF_ENSEMBLES = {
    name: FEATURES[name]
    for name in ("loss", "cost", "sampler", "early_stopping", "batched", "X", "y", "class_weight", "how", "deferred_reweighting")
} | {
    "estimator": ["tabm"],
    "mix": FEATURES["mix"][:4],
    "scheme": [None, First(), *FEATURES["scheme"][1::3]],
    "ensemble": ["mini", "full", "packed"],
    "embedding": ["piecewise_linear", "periodic", None],
    "dropout": [0.0, 0.2],
    "validation_scoring": [None, "balanced_accuracy"],
}  # fmt: skip
REFUSED_BY_ENSEMBLES = [
    *((a, us, b, vs) for a, us, b, vs in REFUSED if {a, b} <= set(OF_ENSEMBLES)),
    ("loss", ["adversary"], None, []),
    ("mix", OF_ENSEMBLES["mix"][3:], None, []),
    ("X", ["csr"], None, []),
    ("scheme", OF_ENSEMBLES["scheme"][3:], None, []),
]  # fmt: skip


def goes_together(case, refused):
    given = dict(case)
    return not any(
        given.get(a) in us and (b is None or given.get(b) in vs) for a, us, b, vs in refused
    )


def cases_of(a, b, features):
    """One configuration for each pair of values of two features, the others plain."""
    return [((a, u), (b, v)) for u, v in itertools.product(features[a][1:], features[b][1:])]


def data(kind, form):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    score = X[:, 0] + 0.3 * rng.normal(size=60)
    if kind == "labels":
        y = np.stack([score > 0.3, X[:, 1] > 0.5, X[:, 2] > 0.8], 1).astype(int)
    else:
        cuts = [0.6] if kind == "two" else [-0.2, 0.7]
        y = np.digitize(score, cuts)
    return (sparse.csr_matrix(X) if form == "csr" else X), y


def configured(case, plain):
    config = plain | dict(case)
    if config["cost"] and "loss" not in dict(case):
        config["loss"] = "costs"
    return config


def names_of(config, plain):
    """What a refusal of this configuration may name."""
    given = [name for name, value in config.items() if value is not plain[name]]
    losses = [type(LOSSES[config["loss"]]).__name__]
    inner = getattr(LOSSES[config["loss"]], "loss", None)
    return [*given, *losses, type(inner).__name__, "multi-label", "sparse", "Sparse"]


def check_refused_by_absence(error, model):
    """Methods that a parameter takes away are missing attributes, as in scikit-learn."""
    assert isinstance(error, AttributeError)
    assert not hasattr(model, "partial_fit")


def model_of(config, rate):
    kw = {
        name: config[name]
        for name in ("mix", "sampler", "class_weight", "deferred_reweighting", "scheme")
    }
    kw |= {"max_iter": 2, "batch_size": 20, "random_state": 0}
    kw |= {"loss": LOSSES[config["loss"]], "learning_rate_init": rate}
    kw["warm_start"] = config["how"] == "warm_start"
    if config["estimator"] == "tabm":
        kw |= {name: config[name] for name in ("ensemble", "embedding", "dropout")}
        kw["validation_scoring"] = config["validation_scoring"]
        folds = 2 if config["early_stopping"] or config["validation_scoring"] else 0
        kw |= {"d_embedding": 2, "n_bins": 4, "scaling": "squash"}
        return TabMClassifier(2, 4, validation_folds=folds, **kw)
    kw |= {"tol": 0.0, "early_stopping": config["early_stopping"], "solver": config["solver"]}
    if config["estimator"] == "linear":
        return LinearClassifier(**kw)
    if config["estimator"] == "module":
        return NeuralNetClassifier(Net, **kw)
    kw |= {name: config[name] for name in ("head", "normalization", "decoupling")}
    return MLPClassifier((4,), **kw)


def fitted(model, config, X, y, cost):
    """The model after the training that a configuration asks for."""
    kw = {} if cost is None else {"cost": cost}
    if config["how"] == "partial_fit":
        return model.partial_fit(X, y, **kw).partial_fit(X, y, **kw)
    if config["how"] == "sample_weight":
        return model.fit(X, y, sample_weight=np.linspace(0.0, 2.0, len(y)), **kw)
    model.fit(X, y, **kw)
    return model.fit(X, y, **kw) if config["how"] == "warm_start" else model


def run(config):
    """Train as a configuration asks for, alone and in a population."""
    X, y = data(config["y"], config["X"])
    width = 3 if config["y"] == "three" else 2
    cost = np.linspace(0.5, 2.0, 60 * width).reshape(60, width) if config["cost"] else None
    models = [model_of(config, rate) for rate in (0.02, 0.01)[: 1 + config["batched"]]]
    alone = [fitted(clone(model), config, X, y, cost) for model in models]
    for model in alone:
        p = model.predict_proba(X)
        assert np.isfinite(p).all(), "probabilities that are not finite"
        assert p.shape == ((60, 3) if config["y"] != "two" else (60, 2))
        assert len(model.predict(X)) == 60
    if not config["batched"]:
        return
    with batched_fits():
        together = Parallel(n_jobs=2)(
            delayed(fitted)(model, config, X, y, cost) for model in models
        )
    near = (
        {"rtol": 1e-4, "atol": 1e-5}
        if config["estimator"] == "tabm"
        else {"rtol": 1e-6, "atol": 1e-9}
    )
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), **near)


@pytest.mark.filterwarnings("ignore")  # few epochs, few rows
@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(FEATURES, 2)))
def test_two_features_work_together_or_are_refused_in_a_sentence(a, b):
    check(a, b, FEATURES, REFUSED)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("a", "b"), [
    pair for pair in itertools.combinations(OF_ENSEMBLES, 2) if {"mix", "scheme"} & set(pair)
])  # fmt: skip
def test_mixtures_and_schemes_of_ensembles_work_or_are_refused_in_a_sentence(a, b):
    check(a, b, OF_ENSEMBLES, REFUSED_BY_ENSEMBLES)


def check(a, b, features, refused):
    """Check all pairs of values of two features."""
    plain = PLAIN | {name: values[0] for name, values in features.items()}
    for case in cases_of(a, b, features):
        config = configured(case, plain)
        if goes_together(case, refused):
            try:
                run(config)
            except Exception as error:
                error.add_note(f"in the case {case}")
                raise
            continue
        with pytest.raises((ValueError, TypeError, AttributeError)) as found:
            run(config)
        if config["how"] == "partial_fit" and (config["solver"] == "lbfgs" or config["decoupling"]):
            check_refused_by_absence(found.value, model_of(config, 0.01))
        else:
            check_refusal(found.value, names_of(config, plain))


class Half(Mixup):
    """Mixes each row with its mirror image in the batch, a fixed share of it."""

    def partners(self, code, counts, rng):
        return np.arange(len(code))[::-1].copy()

    def draw(self, size, rng):
        return np.full(size, 0.7)


def test_mixed_rows_keep_the_costs_of_both_rows():
    X, y = data("two", "dense")
    cost = np.random.default_rng(1).uniform(0.0, 3.0, (60, 2))
    kw = {"max_iter": 1, "batch_size": 60, "shuffle": False, "tol": 0.0, "alpha": 0.0}
    kw |= {"solver": "sgd", "learning_rate_init": 1.0, "momentum": 0.0}
    model = LinearClassifier(loss=ExpectedCost(), mix=Half(), **kw).fit(X, y, cost=cost)
    # at zero scores the expected cost falls by a quarter of what deciding for class 0 costs more
    slope = 0.25 * (cost[:, 1] - cost[:, 0])
    slope = 0.7 * slope + 0.3 * slope[::-1]
    mixed = 0.7 * X + 0.3 * X[::-1]
    np.testing.assert_allclose(model.coef_[0], -slope @ mixed / 60, rtol=1e-8)


def raised(make):
    """What a function raises."""
    try:
        make()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def refuse(error):
    raise error


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: refuse(IndexError("loss is out of range.")), "IndexError is none"),
        (lambda: refuse(ValueError("solver='lbfgs' is not possible")), "no full stop"),
        (lambda: refuse(ValueError("This does not work.")), "names none"),
        (lambda: refuse(ValueError("A solver. Another loss. A third.")), "more than a sentence"),
        (lambda: np.zeros(3).reshape(2, 2), "no full stop"),
        (lambda: sparse.csr_matrix(np.zeros((2, 2, 2))), "scipy refused"),
    ],
)
def test_a_refusal_in_other_words_is_noticed(make, match):
    with pytest.raises(AssertionError, match=match):
        check_refusal(raised(make), ["solver", "loss"])
