"""Every pair of features of a neural classifier works together, or is refused in one sentence."""

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
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
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
        noise = torch.randn(batch.X.shape, generator=self.generator, dtype=batch.X.dtype)
        return Batch(
            batch.X + 0.1 * noise, batch.target, batch.weight, batch.rows, batch.epoch, batch.loss
        )


class Noise(Scheme):
    """Rows with noise."""

    def start(self, module, data, seed):
        if data.sparse:
            raise ValueError("scheme=Noise() would make sparse X dense.")
        return NoiseAtWork(seed)


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


def goes_together(case):
    (a, u), (b, v) = case
    return not any(a == p and u in us and b == q and v in vs for p, us, q, vs in REFUSED)


def cases_of(a, b):
    """One configuration for each pair of values of two features, the others plain."""
    return [((a, u), (b, v)) for u, v in itertools.product(FEATURES[a][1:], FEATURES[b][1:])]


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


def configured(case):
    config = PLAIN | dict(case)
    if config["cost"] and "loss" not in dict(case):
        config["loss"] = "costs"
    return config


def names_of(case):
    """What a refusal of this case may name."""
    config = configured(case)
    given = [name for name, value in config.items() if value is not PLAIN[name]]
    losses = [type(LOSSES[config["loss"]]).__name__]
    inner = getattr(LOSSES[config["loss"]], "loss", None)
    return [*given, *losses, type(inner).__name__, "multi-label", "sparse"]


def check_refused_by_absence(error, model):
    """Methods that a parameter takes away are missing attributes, as in scikit-learn."""
    assert isinstance(error, AttributeError)
    assert not hasattr(model, "partial_fit")


def model_of(config, rate):
    kw = {
        name: config[name]
        for name in ("mix", "sampler", "early_stopping", "solver", "class_weight", "deferred_reweighting", "scheme")
    }  # fmt: skip
    kw |= {"max_iter": 2, "tol": 0.0, "batch_size": 20, "random_state": 0}
    kw |= {"loss": LOSSES[config["loss"]], "learning_rate_init": rate}
    kw["warm_start"] = config["how"] == "warm_start"
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


def run(case):
    """Train as a configuration asks for, alone and in a population."""
    config = configured(case)
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
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(
            a.decision_function(X), b.decision_function(X), rtol=1e-6, atol=1e-9
        )


@pytest.mark.filterwarnings("ignore")  # few epochs, few rows
@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(FEATURES, 2)))
def test_two_features_work_together_or_are_refused_in_a_sentence(a, b):
    for case in cases_of(a, b):
        if goes_together(case):
            try:
                run(case)
            except Exception as error:
                error.add_note(f"in the case {case}")
                raise
            continue
        with pytest.raises((ValueError, TypeError, AttributeError)) as found:
            run(case)
        config = configured(case)
        if config["how"] == "partial_fit" and (config["solver"] == "lbfgs" or config["decoupling"]):
            check_refused_by_absence(found.value, model_of(config, 0.01))
        else:
            check_refusal(found.value, names_of(case))


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
