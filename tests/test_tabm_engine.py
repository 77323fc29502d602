"""TabM in the engine: hand-written gradients against a plain autograd module, start values, populations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skimb import kernels, losses
from skimb._core.priors import ClassPrior
from skimb.engine.data import Batch, Blocks, TrainingData
from skimb.engine.grouping import JointTraining
from skimb.engine.mixing import BalancedMixup, BlockMixing, Mixup, Remix, UniMix
from skimb.engine.net import EngineNet
from skimb.engine.optim import Adam
from skimb.engine.sampling import Order
from skimb.engine.step import Step
from skimb.engine.tabm import Dropout, NetTabM, infer
from skimb.engine.tabm_layers import First, TableFirst
from skimb.engine.tabm_net import EMBEDDINGS, ENSEMBLES, TabM, TabMShape
from skimb.losses.regression import PoissonDeviance, SquaredError

# widths that the kernels take; tests of the kernels compare what torch computes for others
SMALL = {"n_members": 3, "width": 8, "n_blocks": 3, "d_embedding": 8, "n_bins": 6}
PERIODIC = {"n_frequencies": 4, "frequency_scale": 1.0}
SHAPE = TabMShape(4, (3, 5), 1, **SMALL, **PERIODIC)
ROWS = 60


# --- a plain module ----------------------------------------------------------------------------------


def embedded(module, P, X):
    """Columns (n, columns, width) of one unit by the formulas, with encodings written out."""
    shape, parts = module.shape, []
    if shape.n_numbers and shape.embedding == "piecewise_linear":
        bins = X["bins"].long() - torch.arange(shape.n_numbers) * (shape.n_bins + 1)
        t = X["fractions"].unsqueeze(-1)
        at = bins.unsqueeze(-1)
        place = torch.arange(shape.n_bins + 1)
        encoding = ((place < at) & (place > 0)).to(t) + (place == at).to(t) * t
        start = module.starts.expand(len(t), -1, -1).gather(2, at)
        span = module.spans.expand(len(t), -1, -1).gather(2, at)
        x = start + t * span
        parts.append(
            x * P["slope"] + P["level"] + torch.einsum("ndm,dme->nde", encoding, P["bins"])
        )
    elif shape.n_numbers and shape.embedding == "periodic":
        v = 2 * np.pi * P["frequency"] * X["numbers"].unsqueeze(-1)
        waves = torch.cat([v.cos(), v.sin()], -1)
        h = torch.relu(torch.einsum("ndf,dfe->nde", waves, P["waves"]) + P["level"])
        m = X["absent"].unsqueeze(-1)
        parts.append((1 - m) * h + m * P["absent"])
    elif shape.n_numbers:
        parts.append(torch.stack([X["numbers"], X["absent"]], -1))
    codes = P["codes"][X["codes"].long()] if shape.levels else None
    return parts, codes


def member_scores(module, P, X, k):
    """Scores of member k of a unit: every layer written out for this member alone."""
    shape = module.shape
    numbers, codes = embedded(module, P, X)
    weights = [P["first"]] if numbers else []
    columns = [*numbers, codes] if codes is not None else numbers
    weights += [P["first_codes"]] if codes is not None else []
    R = P.get("scale_0")
    a, at = 0.0, 0
    for E, W in zip(columns, weights, strict=True):
        scale = 1.0 if R is None else R[k, at : at + E.shape[1], None]
        a = a + (E * scale).flatten(1) @ W.flatten(0, 1)
        at += E.shape[1]
    for i in range(shape.n_blocks):
        if i:
            a = (a * P[f"scale_{i}"][k] if f"scale_{i}" in P else a) @ P[f"weight_{i}"]
        a = a * P[f"gain_{i}"][k] if f"gain_{i}" in P else a
        b = P[f"bias_{i}"]
        a = torch.relu(a + b[min(k, len(b) - 1)])
    return a @ P["head"][k] + P["head_bias"][k], a


def reference(module, flat, X):
    """Scores (members, n, outputs) and the inputs of the heads, with a gradient history in `flat`."""
    found = []
    for unit in flat:
        P = {name: view[0] for name, view in module.split(unit).items()}
        found += [member_scores(module, P, X, k) for k in range(module.shape.together)]
    return (torch.stack(part) for part in zip(*found, strict=True))


# --- rows, targets and losses ------------------------------------------------------------------------


def rows(shape, n=ROWS, seed=0):
    rng = np.random.RandomState(seed)
    d, m, found = shape.n_numbers, shape.n_bins + 1, {}
    lost = rng.rand(n, d) < 0.2
    if d and shape.embedding == "piecewise_linear":
        bins = np.where(lost, 0, rng.randint(1, m, (n, d)))
        found["bins"] = torch.from_numpy(bins + np.arange(d) * m).int()
        found["fractions"] = torch.from_numpy(np.where(lost, 1.0, rng.uniform(-0.5, 1.5, (n, d))))
    elif d:
        found["numbers"] = torch.from_numpy(np.where(lost, 0.0, rng.normal(size=(n, d))))
        found["absent"] = torch.from_numpy(lost.astype(float))
    if shape.levels:
        starts = np.cumsum((0, *shape.levels))[:-1]
        codes = [s + rng.randint(0, k, n) for s, k in zip(starts, shape.levels, strict=True)]
        found["codes"] = torch.from_numpy(np.stack(codes, 1)).int()
    return found


def net(shape, seed=0, noise=0.2):
    """A module with drawn weights, none of them at a special value, and edges."""
    module = TabM(shape, torch.float64).reset(np.random.RandomState(seed))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        module.flat.add_(noise * torch.randn(module.flat.shape, generator=generator).double())
        for k, buffer in enumerate(module.buffers()):
            buffer[:, 1:] = 0.3 + 0.1 * k * torch.rand(buffer[:, 1:].shape, generator=generator)
    return module


def task(kind, n=ROWS):
    """Outputs and target of a task."""
    rng = np.random.RandomState(1)
    if kind == "binary":
        return 1, (rng.rand(n) < 0.3).astype(int)
    if kind == "multiclass":
        return 4, rng.choice(4, n, p=[0.6, 0.2, 0.1, 0.1])
    if kind == "multilabel":
        return 3, (rng.rand(n, 3) < 0.3).astype(float)
    return (2 if kind == "outputs" else 1), np.abs(
        rng.normal(size=(n, 2) if kind == "outputs" else n)
    )


def bound_loss(loss, y):
    if isinstance(loss, losses.BalancedMSE):
        return loss.bind(y)
    return loss.bind(ClassPrior.of(y)) if isinstance(loss, losses.Loss) else loss


def encoded(bound, y, outputs):
    like = torch.empty(1, dtype=torch.float64)
    target = torch.from_numpy(y)
    one = outputs == 1 or target.ndim == 2
    return bound.encode(target, like.expand(target.shape if one else (*target.shape, outputs)))


CASES = [
    (losses.CrossEntropy(), "binary"),
    (losses.Focal(2.0), "binary"),
    (losses.LogitAdjusted(), "binary"),
    (losses.InfluenceBalanced(), "binary"),
    (losses.MannWhitney(), "binary"),
    (losses.Tversky(), "binary"),
    (losses.CrossEntropy(), "multiclass"),
    (losses.LDAM(), "multiclass"),
    (losses.AUCMargin(), "multiclass"),
    (losses.Asymmetric(), "multilabel"),
    (losses.ScoreOriented(), "multilabel"),
    (SquaredError(), "numeric"),
    (PoissonDeviance(), "outputs"),
    (losses.BalancedMSE(learn_sigma=False), "numeric"),
]


def name_of(value):
    return value if isinstance(value, str) or value is None else type(value).__name__


# --- gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize(("loss", "kind"), CASES, ids=name_of)
def test_gradients_are_those_of_autograd(loss, kind, embedding, ensemble):
    outputs, y = task(kind)
    shape = replace(SHAPE, n_outputs=outputs, embedding=embedding, ensemble=ensemble)
    module, X, bound = net(shape), rows(shape), bound_loss(loss, y)
    weight = torch.linspace(0.5, 1.5, ROWS, dtype=torch.float64)
    target = encoded(bound, y, outputs)
    step = Step(NetTabM(module), bound, None)
    value = step.gradients(Batch(X, target, weight))

    flat = module.flat.detach().clone().requires_grad_()
    scores, inputs = reference(module, flat, X)
    total, values = 0.0, []
    for z, a in zip(scores, inputs, strict=True):
        z = z.squeeze(-1) if outputs == 1 else z
        own = target
        if "inputs" in bound.requires:
            own = target.with_inputs(a.detach().abs().sum(-1))
        one, slope = bound.loss_grad(z.detach(), own, weight, float(ROWS))
        values.append(one)
        total = total + (z * slope).sum()
    torch.testing.assert_close(value, torch.stack(values).mean(), rtol=1e-9, atol=1e-12)
    # members that share nothing follow their own losses, the others the mean
    expected = torch.autograd.grad(total, flat)[0] / (1 if ensemble == "packed" else len(scores))
    assert float(expected.abs().max()) > 1e-6
    torch.testing.assert_close(module.flat.grad, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("mixer", "kind", "embedding", "ensemble"),
    [
        *((Mixup(), "binary", embedding, "mini") for embedding in EMBEDDINGS),
        (BalancedMixup(1.0), "multiclass", "piecewise_linear", "packed"),
        (Remix(), "multiclass", "periodic", "full"),
        (UniMix(), "binary", "piecewise_linear", "full"),
    ],
    ids=name_of,
)
def test_gradients_of_mixtures_are_those_of_autograd(mixer, kind, embedding, ensemble, monkeypatch):
    outputs, y = task(kind)
    shape = replace(SHAPE, n_outputs=outputs, embedding=embedding, ensemble=ensemble)
    module, X, bound = net(shape), rows(shape), bound_loss(losses.CrossEntropy(), y)
    weight = torch.linspace(0.5, 1.5, ROWS, dtype=torch.float64)
    data = TrainingData(Blocks(**X), encoded(bound, y, outputs), weight)
    scheme = BlockMixing(mixer, data, np.bincount(y), 0, module.flat.detach())
    step = Step(NetTabM(module), bound, None, scheme)
    batch = scheme.batch(Batch(X, data.target, weight), step)
    value = step.gradients(batch)

    plain = embedded

    def mixed(module, P, X):
        def between(E):
            return X["kept"][..., None] * E[:ROWS] + (1 - X["kept"][..., None]) * E[ROWS:]

        numbers, codes = plain(module, P, X)
        return [between(E) for E in numbers], between(codes)

    monkeypatch.setitem(globals(), "embedded", mixed)
    flat = module.flat.detach().clone().requires_grad_()
    scores, _ = reference(module, flat, batch.X)
    own, other = (t.code.clip(0).long() for t in (data.target, batch.loss.partner))
    kept, partner_weight = batch.loss.share, batch.loss.partner_weight
    total = 0.0
    for z in scores:
        log_p = torch.log_softmax(z if outputs > 1 else torch.cat([0 * z, z], 1), 1)
        first, second = (-log_p.gather(1, c[:, None])[:, 0] for c in (own, other))
        total = total + (kept * weight * first + (1 - kept) * partner_weight * second).mean()
    torch.testing.assert_close(value, total.detach() / len(scores), rtol=1e-9, atol=1e-12)
    expected = torch.autograd.grad(total, flat)[0] / (1 if ensemble == "packed" else len(scores))
    torch.testing.assert_close(module.flat.grad, expected, rtol=1e-9, atol=1e-12)
    x, at = X.get("bins", X["codes"]), batch.X.get("bins", batch.X["codes"])
    torch.testing.assert_close(at[:ROWS], x)  # partners follow
    assert (at[ROWS:, None] == x).all(-1).any(1).all()


@pytest.mark.parametrize(("numbers", "levels"), [(4, ()), (0, (3, 5)), (1, (2,))])
@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_scores_for_any_kinds_of_columns(numbers, levels, embedding):
    shape = replace(SHAPE, n_numbers=numbers, levels=levels, embedding=embedding, n_outputs=2)
    module, X = net(shape), rows(shape, 700)
    expected, _ = reference(module, module.flat.detach(), X)
    torch.testing.assert_close(NetTabM(module).forward(X), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(infer(module, Blocks(**X)), expected, rtol=1e-12, atol=1e-12)


def test_dropout_masks_keep_the_mean_and_are_seen_by_the_gradient():
    mask = Dropout(0.3, 0).mask(torch.empty(400, 501, dtype=torch.float64))
    assert abs(float((mask == 0).double().mean()) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / mask.numel())
    cut = round(0.3 * 65536) / 65536
    assert sorted(set(mask.view(-1).tolist())) == [0.0, 1.0 / (1.0 - cut)]
    module, X = net(SHAPE), rows(SHAPE)
    slope = torch.randn(3, ROWS, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def value():
        backend = NetTabM(module, 0.4, seed=5)  # the same masks each time
        z = backend.forward(X)
        return float((z * slope).sum()), backend

    start, backend = value()
    backend.backward(slope)
    grad, flat = module.flat.grad[0], module.flat.detach()[0]
    for at in np.random.RandomState(0).permutation(len(flat))[:40]:
        flat[at] += 1e-6
        moved = value()[0]
        flat[at] -= 1e-6
        assert (moved - start) / 1e-6 == pytest.approx(float(grad[at]), rel=1e-3, abs=1e-4)


# --- products in a shorter type ----------------------------------------------------------------------

BF16 = torch.bfloat16


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize(("levels", "outputs"), [((), 1), ((3, 5), 3)])
@pytest.mark.parametrize(
    ("wide", "short", "near"), [(torch.float64, torch.float32, 5e-6), (torch.float32, BF16, 0.2)]
)
def test_gradients_of_shorter_products(wide, short, near, levels, outputs, embedding, ensemble):
    """Float32 under float64 tells formulas from rounding, bfloat16 under float32 is what trains."""
    shape = replace(SHAPE, levels=levels, n_outputs=outputs, embedding=embedding, ensemble=ensemble)
    module, X = net(shape), rows(shape, 200)
    own = TabM(shape, wide)
    own.load_state_dict(module.state_dict())
    before = own.flat.detach().clone()
    exact, backend = NetTabM(module), NetTabM(own, products=short)
    z, slope = exact.forward(X), torch.linspace(0.5, 1.5, 200 * outputs, dtype=torch.float64)
    slope = slope.view(1, 200, outputs).expand(3, -1, -1).contiguous()
    found = backend.forward({k: v.to(wide) if v.is_floating_point() else v for k, v in X.items()})
    backend.backward(slope.to(wide))
    exact.backward(slope)

    def check(found, expected, near):
        assert found.dtype == wide
        far = torch.linalg.vector_norm(found.double() - expected)
        assert float(far) < near * float(torch.linalg.vector_norm(expected))

    check(found, z, near / 5)
    check(backend.inputs, exact.inputs, near / 5)
    grads, wanted = (of.split(of.flat.grad) for of in (own, module))
    for name, expected in wanted.items():
        check(grads[name], expected, near)
    assert not torch.equal(own.flat.grad.double(), module.flat.grad)  # products were shorter
    assert torch.equal(own.flat.detach(), before)


# --- start values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_start_values(ensemble):
    shape = TabMShape(30, (4, 40), 2, ensemble, n_members=4, width=32)
    module = TabM(shape).reset(np.random.RandomState(0))
    P = module.split(module.flat)

    def check_uniform(name, fan_in):
        bound, values = fan_in**-0.5, P[name].detach()
        values = values[values != 0]
        assert float(values.abs().max()) <= bound
        assert float(values.std()) == pytest.approx(
            bound / 3**0.5, rel=1.5 * len(values.view(-1)) ** -0.5
        )

    assert not P["bins"].any()
    check_uniform("slope", 16)
    check_uniform("level", 16)
    check_uniform("codes", 16)
    assert not P["codes"][:, [0, 4]].any()  # missing or unseen
    check_uniform("first", 32 * 16)
    check_uniform("first_codes", 32 * 16)
    check_uniform("weight_1", 32)
    check_uniform("head", 32)
    check_uniform("head_bias", 32)
    if ensemble != "packed":
        assert float(P["scale_0"].detach().std()) == pytest.approx(1.0, rel=0.2)
        plain = TabM(replace(shape, embedding=None)).reset(np.random.RandomState(0))
        assert set(plain.split(plain.flat)["scale_0"].view(-1).tolist()) == {-1.0, 1.0}
    if ensemble == "full":
        assert all(bool((P[name] == 1).all()) for name in ("scale_1", "gain_0", "gain_1"))
        assert bool((P["bias_1"] == P["bias_1"][:, :1]).all())


def test_start_values_of_periodic_embeddings():
    shape = TabMShape(40, (), 1, embedding="periodic")
    module = TabM(shape).reset(np.random.RandomState(0))
    c = module.split(module.flat)["frequency"].detach()
    assert float(c.abs().max()) <= 0.03
    assert float(c.std()) == pytest.approx(0.01, rel=0.05)


# --- training ----------------------------------------------------------------------------------------


def job(shape, seed, n=ROWS, batch=16, max_norm=0.05, dropout=0.0, module=None, products=None):
    """A net and its rows, ready to be trained."""
    module, X = net(shape, seed) if module is None else module, rows(shape, n, seed)
    _, y = task("binary", n)
    bound = losses.Focal(1.0 + seed).bind(ClassPrior.of(y))
    data = TrainingData(Blocks(**X), encoded(bound, y, 1))
    backend, flat, k = NetTabM(module, dropout, seed, products), module.flat, module.n_decayed
    own = flat.detach()
    optimizer = Adam(
        [flat],
        lr=0.01 * (1 + seed),
        decay=0.1,
        decayed=[(own[:, :k], flat.grad[:, :k])],
        max_norm=max_norm,
    )
    order = Order(n, batch, torch.Generator().manual_seed(seed), n_epochs=3)
    step = Step(backend, bound, optimizer)
    made = EngineNet(
        module, criterion=bound, step=step, order=order, max_epochs=3, batch_size=batch
    )
    return made.initialize(), data


def trained(jobs, together):
    for pair in [jobs] if together else [[one] for one in jobs]:
        for made, data in pair:
            made.notify("on_train_begin", X=data, y=None)
        training = JointTraining(pair, 1 << 30)
        training.run()
        assert training.sizes == [len(pair)]
        assert not training.errors
    return [made.module_.flat.detach().clone() for made, _ in jobs]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_population_trains_each_as_alone(ensemble, dropout):
    shape = replace(SHAPE, ensemble=ensemble)
    sizes = (60, 60, 44)  # batches run out at different times
    alone, together = (
        trained([job(shape, k, n, dropout=dropout) for k, n in enumerate(sizes)], both)
        for both in (False, True)
    )
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_population_with_shorter_products_trains_each_as_alone(ensemble):
    shape = replace(SHAPE, ensemble=ensemble)

    def jobs(short):
        return [job(shape, k, n, products=short) for k, n in enumerate((60, 60, 44))]

    alone, together = (trained(jobs(torch.float32), both) for both in (False, True))
    exact = trained(jobs(None), True)
    for one, other, plain in zip(alone, together, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other, plain, rtol=1e-3, atol=1e-3)
        assert not torch.equal(other, plain)


def test_nets_with_products_of_two_types_are_no_population():
    made = [job(SHAPE, k, products=short) for k, short in enumerate((None, None, BF16, BF16))]
    assert JointTraining(made, 1 << 30).sizes == [2, 2]


def test_a_population_on_shared_rows_trains_each_as_alone():
    def jobs():
        made = [job(SHAPE, k) for k in range(4)]
        first, data = made[0]
        for one, own in made[1:]:
            own.X = data.X
            one.order.generator.manual_seed(first.order.generator.initial_seed())
        return made

    for one, other in zip(trained(jobs(), False), trained(jobs(), True), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_packed_ensemble_is_its_members_alone():
    packed, data = job(replace(SHAPE, ensemble="packed"), 0)
    alone = [
        job(packed.module_.kept([k]).shape, 0, module=packed.module_.kept([k])) for k in range(3)
    ]
    (whole,) = trained([(packed, data)], True)
    for k, flat in enumerate(trained(alone, False)):
        torch.testing.assert_close(flat[0], whole[k], rtol=1e-9, atol=1e-9)


def test_a_step_is_that_of_adamw_with_clipping():
    made, data = job(SHAPE, 0)
    step, module = made.step, made.module_
    assert set(module.shape.parameters()[1]) == {
        "slope", "level", "bias_0", "bias_1", "bias_2", "head_bias",
    }  # fmt: skip
    batch = Batch(data.X[:], data.target)
    k = module.n_decayed
    parts = [torch.nn.Parameter(p.clone()) for p in module.flat.detach()[0].tensor_split([k])]
    groups = [{"params": [p], "weight_decay": w} for p, w in zip(parts, (0.1, 0.0), strict=True)]
    adamw = torch.optim.AdamW(groups, lr=0.01)
    for _ in range(3):
        flat = torch.cat([p.detach() for p in parts]).view(1, -1).requires_grad_()
        scores, _ = reference(module, flat, batch.X)
        loss = torch.stack(
            [step.loss(z.squeeze(-1), (data.target.code > 0).long()) for z in scores]
        ).mean()
        grad = torch.autograd.grad(loss, flat)[0][0]
        for p, g in zip(parts, grad.split([len(p) for p in parts]), strict=True):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(parts, 0.05)
        adamw.step()
        step(batch)
    expected = torch.cat([p.detach() for p in parts])
    torch.testing.assert_close(module.flat.detach()[0], expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_kept_members_answer_as_before(ensemble):
    shape = replace(SHAPE, ensemble=ensemble)
    module, X = net(shape), Blocks(**rows(shape))
    whole = infer(module, X)
    torch.testing.assert_close(infer(module.kept([2, 0]), X), whole[[2, 0]], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("width", "d_embedding", "looked_up"), [(8, 8, True), (8, 5, False), (12, 8, False)]
)
def test_columns_are_looked_up_where_kernels_take_their_widths(width, d_embedding, looked_up):
    like = torch.zeros(1, dtype=torch.float64)
    shape = replace(SHAPE, width=width, d_embedding=d_embedding)
    backend = NetTabM(net(shape))
    fits = looked_up and kernels.takes_widths(like, 8)  # no compiler, or an old processor
    assert type(backend.layers[0]) is (TableFirst if fits else First)
    with kernels.reference_only():
        assert type(NetTabM(net(shape)).layers[0]) is First
