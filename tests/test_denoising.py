"""Rows of low loss within their group in the place of others."""

import itertools

import numpy as np
import pytest
from refusals import check_refusal
from scipy import sparse

from skimb.engine.denoising import _Denoised
from skimb.neural_network import MLPClassifier, MLPRegressor, NeuralNetClassifier
from skimb.training import GroupwiseDenoising

KW = {"max_iter": 4, "tol": 0, "batch_size": 100, "random_state": 0}


class Running(GroupwiseDenoising):
    """Keeps what runs."""

    kept: list = []

    def start(self, module, data, seed):
        running = super().start(module, data, seed)
        Running.kept.append((running, data))
        return running


def running(scheme, X, y, **kw):
    Running.kept.clear()
    own = Running(**scheme.get_params())
    model = MLPClassifier((8,), scheme=own, **{**KW, **kw}).fit(X, y)
    return model, *Running.kept[-1]


def drawn(run, loss, n=20000, **kw):
    """How often each row takes a place when all rows are visited equally often."""
    run.settings.set_params(**kw)
    run.loss = loss
    visited = np.tile(np.arange(len(loss)), n // len(loss))
    chosen = run.chosen(visited)
    assert (run.group[chosen] == run.group[visited]).all()
    return np.bincount(chosen, minlength=len(loss)) / len(visited)


@pytest.fixture
def small():
    X = np.column_stack([np.arange(8.0), np.repeat([0.0, 1.0], 4)])
    y = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    return running(GroupwiseDenoising(), X, y, max_iter=1, batch_size=8)[1], y


def law(loss, k, temperature):
    """Chance of each row of a group, the mean over all k-tuples of candidates."""
    found = np.zeros(len(loss))
    for at in map(list, itertools.product(range(len(loss)), repeat=k)):
        p = np.exp(-loss[at] / temperature)
        np.add.at(found, at, p / p.sum())
    return found / len(loss) ** k


def test_rows_are_chosen_by_the_mean_over_candidates(small):
    run, y = small
    loss = np.array([0.1, 0.2, 0.5, 0.9, 0.3, 2.0, 2.2, 5.0])
    expected = np.concatenate(
        [law(loss[y == c], 3, 0.5) * (y == c).mean() for c in (0, 1)]
    )  # each class as often as it was visited, however large its losses
    found = drawn(run, loss, 80000, n_candidates=3, temperature=0.5)
    np.testing.assert_allclose(found, expected, atol=0.005)


def test_limits_of_the_temperature(small):
    run, _ = small
    loss = np.array([0.1, 0.2, 0.5, 0.9, 0.3, 2.0, 2.2, 5.0])
    alike = drawn(run, loss, n_candidates=5, temperature=1e9)
    np.testing.assert_allclose(alike, 1 / 8, atol=0.015)
    coldest = drawn(run, loss, n_candidates=60, temperature=1e-9)
    np.testing.assert_allclose(coldest, [5 / 8, 0, 0, 0, 0, 3 / 8, 0, 0])
    np.testing.assert_array_equal(drawn(run, loss, n_candidates=1), np.full(8, 1 / 8))


@pytest.mark.parametrize("make", [lambda **kw: MLPClassifier((8,), **KW, **kw), lambda **kw: NeuralNetClassifier(**KW, **kw)])  # fmt: skip
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_a_net_trains_on_rows_of_the_same_classes(make, form, rare):
    X, y = rare
    X = form(X.astype(np.float32))
    plain = make().fit(X, y)
    denoised = make(scheme=GroupwiseDenoising(warmup=1)).fit(X, y)
    again = make(scheme=GroupwiseDenoising(warmup=1)).fit(X, y)
    np.testing.assert_array_equal(denoised.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(denoised.prior_, plain.prior_)
    assert np.abs(denoised.predict_proba(X) - plain.predict_proba(X)).max() > 1e-3
    for none in (GroupwiseDenoising(1, warmup=0), GroupwiseDenoising(warmup=4)):
        same = make(scheme=none).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(same, plain.predict_proba(X), atol=1e-6)


def test_losses_are_those_of_the_net_and_groups_those_of_a_column(rare, monkeypatch):
    X, y = rare
    X = np.column_stack([X, np.arange(len(y)) % 3])
    seen = {}
    own = _Denoised.losses

    def losses(self, step):
        seen[self.epoch] = own(self, step)
        return seen[self.epoch]

    monkeypatch.setattr(_Denoised, "losses", losses)
    scheme = GroupwiseDenoising(groups=X.shape[1] - 1, warmup=3)
    model, run, data = running(scheme, X, y, shuffle=False, learning_rate_init=1e-30)
    assert list(seen) == [3]
    p = model.predict_proba(data.X.numpy())
    code = (data.target.code.numpy() > 0).astype(int)
    np.testing.assert_allclose(seen[3], -np.log(p[np.arange(len(p)), code]), rtol=1e-3)
    pairs = {tuple(pair) for pair in zip(run.group, code, data.X[:, -1].tolist(), strict=True)}
    assert len(pairs) == len(set(run.group)) == 6


def test_rows_of_weight_are_candidates_in_proportion(rare):
    X, y = rare
    X, y = X[:6], np.array([0, 0, 0, 1, 1, 1])
    Running.kept.clear()
    MLPClassifier((4,), scheme=Running(), max_iter=1).fit(X, y, sample_weight=[1, 2, 3, 1, 1, 4])
    run, _ = Running.kept[-1]
    run.loss = np.zeros(6)
    run.settings.set_params(n_candidates=200, temperature=1.0)
    found = np.bincount(run.chosen(np.tile(np.arange(6), 1000)), minlength=6) / 3000
    np.testing.assert_allclose(found, [1 / 6, 2 / 6, 3 / 6, 1 / 6, 1 / 6, 4 / 6], atol=0.03)


REFUSED = {
    "numeric": (lambda X, y: (MLPRegressor, GroupwiseDenoising(warmup=0), X[:, 0]), "numeric"),
    "labels": (lambda X, y: (MLPClassifier, GroupwiseDenoising(), X > 0), "multi-label"),
    "column": (lambda X, y: (MLPClassifier, GroupwiseDenoising(groups=99), y), "column 99"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, rare):
    make, name = REFUSED[case]
    kind, scheme, y = make(*rare)
    with pytest.raises(ValueError, match=name) as caught:
        kind(scheme=scheme, max_iter=2).fit(rare[0], y)
    check_refusal(caught.value, [name])
