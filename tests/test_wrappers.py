"""Losses made of other losses: what they require, allow and hand on is what their parts do."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

from skimb.functional import dynamic_weights
from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AdversarialCompSum,
    AUCMargin,
    ClassDependentTemperature,
    CompSum,
    CoupledBound,
    CrossEntropy,
    Deferred,
    Dice,
    DynamicReweighting,
    EqualizationV2,
    ExpectedCost,
    Focal,
    GradientHarmonized,
    InfluenceBalanced,
    Loss,
    Mixed,
    Seesaw,
    Target,
    all_losses,
)
from skimb.neural_network import MLPClassifier
from skimb.testing import (
    check_gradient,
    check_in_force,
    check_population,
    check_requires,
    check_unchanged,
    check_weights,
    make_batch,
)

PARTS = [cls() for cls in all_losses()]
PARTS += [AdversarialCompSum(eps=0.3), GradientHarmonized(momentum=0.5), Dice("set")]
# makes a loss of a part, and names all its parts, the one that predicts first
WRAPPERS = {
    "later": (Deferred, lambda part: [part, CrossEntropy()]),
    "before": (
        lambda part: Deferred(Focal(), before=part),
        lambda part: [Focal(), part],
    ),
    "twice": (
        lambda part: Deferred(part, before=EqualizationV2()),
        lambda part: [part, EqualizationV2()],
    ),
    "mixed": (Mixed, lambda part: [part, CrossEntropy()]),
    "deferred in mixed": (
        lambda part: Mixed(Deferred(Focal(), before=part)),
        lambda part: [Focal(), part, CrossEntropy()],
    ),
    "mixed in deferred": (
        lambda part: Deferred(Mixed(part), before=Focal()),
        lambda part: [part, CrossEntropy(), Focal()],
    ),
}
DYNAMIC = {
    "weighted": DynamicReweighting,
    "deferred and weighted": lambda part: DynamicReweighting(Deferred(Focal(), before=part)),
    "mixed and weighted": lambda part: DynamicReweighting(Mixed(part)),
}


def prior_of(task):
    return make_batch(task).prior


@pytest.fixture(scope="module")
def rare():
    return make_classification(
        200, 5, n_informative=4, n_redundant=0, weights=[0.8], class_sep=1.5, random_state=0
    )


# --- flags -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS, ids=repr)
@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapper_requires_and_allows_what_its_parts_do(kind, part):
    wrap, parts_of = WRAPPERS[kind]
    loss, parts = wrap(part), parts_of(part)
    assert loss.tasks == frozenset.intersection(*(frozenset(p.tasks) for p in parts))
    assert loss.one_logit == all(p.one_logit for p in parts)
    assert loss.one_sided == any(p.one_sided for p in parts)
    assert loss.contract_exceptions == frozenset().union(*(p.contract_exceptions for p in parts))
    assert (loss.scope == "batch") == any(p.scope == "batch" for p in parts)
    for task in sorted(loss.tasks):
        bound = loss.bind(prior_of(task))
        bounds = [p.bind(prior_of(task)) for p in parts]
        assert bound.requires == frozenset().union(*(b.requires for b in bounds))
        assert bound.takes_costs == any(b.takes_costs for b in bounds)
        z = make_batch(task).logits
        assert torch.equal(bound.decision(z), bounds[0].decision(z))
        assert torch.equal(bound.log_scores(z), bounds[0].log_scores(z))


@pytest.mark.parametrize("part", PARTS, ids=repr)
@pytest.mark.parametrize("kind", DYNAMIC)
def test_rows_weighted_by_their_losses_need_losses_of_single_rows(kind, part):
    loss = DYNAMIC[kind](part)
    for task in sorted(loss.tasks):
        inner = part.bind(prior_of(task))
        missing = inner.requires & {"batch", "adversary"}
        if not missing:
            bound = loss.bind(prior_of(task))
            assert bound.requires == inner.requires | {"batch"}
            assert bound.takes_costs == inner.takes_costs
            continue
        with pytest.raises(ValueError, match=r"which DynamicReweighting does not allow") as found:
            loss.bind(prior_of(task))
        said = str(found.value)
        assert type(part).__name__ in said
        assert said.endswith(".")
        assert said.count(". ") == 0


WEIGHABLE = [part for part in PARTS if not part.bind(prior_of(min(part.tasks))).requires & {"batch", "adversary"}]  # fmt: skip


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_wrappers_of_every_loss_keep_the_contract(part):
    losses = [Deferred(part), Mixed(part), Mixed(Deferred(Focal(), before=part))]
    if part in WEIGHABLE:
        losses += [DynamicReweighting(part)]
    for loss in losses:
        check_requires(loss)
        check_in_force(loss)


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_a_mixture_is_the_weighted_sum_of_its_parts(part):
    for task in sorted(part.tasks):
        batch = make_batch(task)
        mixed = Mixed(part, share=0.3).bind(batch.prior).eval()
        target = mixed.encode(batch.target, batch.logits)
        for weight in (None, batch.weight):
            value, grad = mixed.loss_grad(batch.logits, target, weight)
            a, b = (
                p.bind(batch.prior).eval().loss_grad(batch.logits, target, weight)
                for p in (part, CrossEntropy())
            )
            # beside a loss of batches cross-entropy is a mean over labels
            f = 0.3 / 3 if task == "multilabel" and part.scope == "batch" else 0.3
            torch.testing.assert_close(value, 0.7 * a[0] + f * b[0])
            torch.testing.assert_close(grad, 0.7 * a[1] + f * b[1])


@pytest.mark.parametrize("part", WEIGHABLE, ids=repr)
def test_rows_weigh_by_their_losses(part):
    for task in sorted(part.tasks):
        batch = make_batch(task)
        inner = part.bind(batch.prior).eval()
        rows = inner.row_loss(batch.logits, batch.target)
        weight = dynamic_weights(rows, sample_weight=batch.weight, temperature=0.2)
        bound = DynamicReweighting(part, temperature=0.2).bind(batch.prior).eval()
        target = bound.encode(batch.target, batch.logits)
        value, grad = bound.loss_grad(batch.logits, target, batch.weight)
        torch.testing.assert_close(value, (weight * rows).sum())
        expected = inner.loss_grad(batch.logits, target, weight, 1.0)[1]
        torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("part", [Seesaw(), EqualizationV2()], ids=repr)
def test_wrappers_of_wrappers_keep_the_contract(part):
    for loss in (
        Mixed(Deferred(part), share=0.3),
        DynamicReweighting(Mixed(part)),
        DynamicReweighting(Deferred(part)),
    ):
        for check in (check_gradient, check_population, check_unchanged, check_weights):
            check(loss)


def test_the_curvature_of_a_mixture_is_that_of_its_parts():
    batch = make_batch("binary")
    for loss in (Mixed(Focal(), share=0.25), Deferred(Mixed(Focal(), share=0.25))):
        found = loss.bind(batch.prior).grad_hess(batch.logits, batch.target, convex=True)
        a, b = (
            part.bind(batch.prior).grad_hess(batch.logits, batch.target, convex=True)
            for part in (Focal(), CrossEntropy())
        )
        for mixed, x, y in zip(found, a, b, strict=True):
            torch.testing.assert_close(mixed, 0.75 * x + 0.25 * y)


# --- training --------------------------------------------------------------------------------


def curve(loss, X, y):
    kw = {"max_iter": 10, "tol": 0.0, "batch_size": 50, "random_state": 0, "alpha": 0.0}
    return np.asarray(MLPClassifier((4,), loss=loss, **kw).fit(X, y).loss_curve_)


def test_an_adversary_comes_with_the_deferred_loss(rare):
    attacked = curve(Deferred(AdversarialCompSum(eps=0.3, nu=5.0), start=0.5), *rare)
    plain = curve(Deferred(CompSum(1.0), start=0.5), *rare)
    np.testing.assert_allclose(attacked[:5], plain[:5], rtol=1e-6)
    assert (attacked[5:] > 1.1 * plain[5:]).all()


def test_an_adversary_before_the_switch_leaves_with_it(rare):
    attacked = curve(Deferred(CompSum(1.0), before=AdversarialCompSum(eps=0.3), start=0.5), *rare)
    plain = curve(Deferred(CompSum(1.0), before=CompSum(1.0), start=0.5), *rare)
    assert (attacked[:5] > 1.1 * plain[:5]).all()
    assert not np.allclose(attacked[5:], plain[5:], rtol=1e-6)  # other weights at the switch


def test_an_adversary_of_a_mixture_counts_as_the_loss_does(rare):
    alone = curve(AdversarialCompSum(eps=0.3), *rare)
    mixed = curve(Mixed(AdversarialCompSum(eps=0.3), share=0.5), *rare)
    plain = curve(Mixed(CompSum(1.0), share=0.5), *rare)
    # cross-entropy is the comp-sum loss at tau 1: half the share is half the weight of the adversary
    np.testing.assert_allclose(mixed, curve(AdversarialCompSum(eps=0.3, nu=0.5), *rare), rtol=1e-5)
    assert plain[0] < mixed[0] < alone[0]


def test_memories_gather_while_their_loss_is_in_force(rare):
    X, y = rare
    kw = {"max_iter": 4, "batch_size": 50, "tol": 0.0, "random_state": 0, "shuffle": False}

    def gathered(loss):
        bound = MLPClassifier((4,), loss=loss, **kw).fit(X, y)._head.bound
        found = [m.gathered for m in bound.modules() if hasattr(m, "gathered")]
        return found[0].clone()

    always = gathered(EqualizationV2())
    before = gathered(Deferred(CrossEntropy(), before=EqualizationV2(), start=0.5))
    after = gathered(Deferred(EqualizationV2(), start=0.5))
    mixed = gathered(Mixed(EqualizationV2(), share=0.5, warmup=2))
    weighted = gathered(DynamicReweighting(EqualizationV2(), warmup=0.0))
    for found in (before, after, mixed):
        assert (found > 0).all()
        assert found.sum() < 0.8 * always.sum()  # two epochs of four
    assert (weighted > 0).all()


@pytest.mark.parametrize("wrap", [DynamicReweighting, Mixed, Deferred], ids=lambda w: w.__name__)
def test_norms_of_inputs_reach_the_loss_inside(wrap, rare):
    X, y = rare
    loss = {
        DynamicReweighting: DynamicReweighting(InfluenceBalanced(alpha=1.0), warmup=0.0),
        Mixed: Mixed(InfluenceBalanced(alpha=1.0), share=0.5),
        Deferred: Deferred(CrossEntropy(), before=InfluenceBalanced(alpha=1.0), start=1.0),
    }[wrap]
    kw = {"max_iter": 1, "batch_size": len(y), "shuffle": False, "tol": 0.0, "alpha": 0.0}
    linear = LinearClassifier(solver="sgd", learning_rate_init=1.0, momentum=0.0, loss=loss, **kw)
    linear.fit(X, y)  # one step from zero
    bound = linear._head.bound.at(0, 1)
    sign, norm = torch.as_tensor(2.0 * y - 1.0), torch.as_tensor(np.abs(X).sum(1))
    zero = torch.zeros(len(y), dtype=torch.float64)
    _, grad = bound.loss_grad(zero, Target(sign, inputs=norm))
    np.testing.assert_allclose(linear.coef_[0], -(X.T @ grad.numpy()), rtol=1e-7)
    _, without = bound.loss_grad(zero, Target(sign))
    assert not np.allclose(linear.coef_[0], -(X.T @ without.numpy()), rtol=1e-3)


class WitnessBound(CoupledBound):
    """Notes whether each batch holds both classes."""

    requires = frozenset({"batch", "every class"})

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def margin(self, logits, sign, weight):
        self.seen.append(bool((sign > 0).any() and (sign < 0).any()))
        return logits.mean(-1), torch.full_like(logits, 1.0 / logits.shape[-1])

    def classes(self, logits, code, weight):
        raise NotImplementedError


class Witness(Loss):
    """A loss of two classes that wants both in each batch."""

    scope = "batch"
    calibrated = False
    tasks = frozenset({"binary"})
    seen: list = []

    def _bind(self, prior):
        return WitnessBound(self.seen)


@pytest.mark.parametrize(
    "loss", [Deferred(Focal(), before=Witness()), Mixed(Witness()), Deferred(Mixed(Witness()))]
)
def test_batches_hold_every_class_for_the_part_that_wants_it(loss, rare):
    X, y = rare
    few = np.flatnonzero(y == 1)[:4]
    rows = np.r_[np.flatnonzero(y == 0)[:56], few]
    Witness.seen.clear()
    kw = {"max_iter": 5, "batch_size": 10, "tol": 0.0, "random_state": 0}
    MLPClassifier((3,), loss=loss, **kw).fit(X[rows], y[rows])
    assert len(Witness.seen) >= 6
    assert all(Witness.seen)


def test_a_part_that_needs_two_logits_gets_them(rare):
    X, y = rare
    for loss in (
        Deferred(Focal(), before=ClassDependentTemperature()),
        Mixed(ClassDependentTemperature()),
        DynamicReweighting(ClassDependentTemperature()),
    ):
        assert MLPClassifier((3,), loss=loss, max_iter=2).fit(X, y).n_outputs_ == 2


@pytest.mark.parametrize("loss", [
    Deferred(ExpectedCost(), start=0.5),
    Deferred(ExpectedCost(), before=ExpectedCost(), start=0.5),
    Mixed(ExpectedCost(), share=0.1),
    DynamicReweighting(ExpectedCost()),
], ids=repr)  # fmt: skip
def test_costs_of_rows_reach_the_loss_inside(loss, rare):
    X, y = rare
    cost = np.random.default_rng(0).uniform(0.5, 3.0, (len(y), 2))
    cost[np.arange(len(y)), y] = 0.0
    kw = {"max_iter": 3, "batch_size": 50, "tol": 0.0, "random_state": 0}
    model = MLPClassifier((3,), loss=loss, **kw)
    with_costs, without = (model.fit(X, y, cost=c).decision_function(X) for c in (cost, None))
    assert not np.allclose(with_costs, without)
    with pytest.raises(TypeError, match="takes no costs of rows"):
        MLPClassifier((3,), loss=Mixed(AUCMargin()), **kw).fit(X, y, cost=cost)
