"""Nets that forget rows: the closed form, the population, what is refused."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_classification

from skimb.functional._distillation import negative_preference
from skimb.losses import Focal, MannWhitney
from skimb.neural_network import MLPClassifier, NeuralNetClassifier
from skimb.training import Mixup

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KW = {"max_iter": 120, "tol": 0, "learning_rate_init": 0.01, "random_state": 0, "batch_size": 30}
MODELS = [MLPClassifier((64,), **KW), NeuralNetClassifier(**KW)]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)


@pytest.fixture(scope="module")
def rows():
    X, y = make_classification(
        300, 8, n_informative=6, n_classes=3, class_sep=2.0, flip_y=0, random_state=0
    )
    wrong = y.copy()
    wrong[:30] = (y[:30] + 1) % 3  # to be forgotten
    return X, y, wrong


def fitted(model, rows):
    return pickle.loads(pickle.dumps(model)).fit(rows[0], rows[2])


@pytest.mark.parametrize(
    ("beta", "gap", "golden"),
    [
        (1.0, [-1.0, 0.0, 2.0], [2.6265233750, 1.3862943611, 0.2538560221]),
        (0.1, [-1.0, 0.0, 2.0], [14.8879332015, 13.8629436112, 11.9627773876]),
    ],
)
def test_golden_values(beta, gap, golden):
    loss = torch.tensor(gap, dtype=torch.float64, requires_grad=True)
    value, slope = negative_preference(loss, torch.zeros(3, dtype=torch.float64), beta)
    np.testing.assert_allclose(value.detach(), golden, rtol=1e-9)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), loss)[0], slope)
    assert slope[1] == -1
    assert (slope > -2).all()
    assert (slope < 0).all()


def test_small_beta_is_gradient_ascent():
    loss = torch.linspace(-3, 3, 7, dtype=torch.float64)
    _, slope = negative_preference(loss, torch.zeros_like(loss), 1e-9)
    torch.testing.assert_close(slope, -torch.ones_like(loss))


@every_model
def test_wrong_labels_are_forgotten_and_right_ones_kept(model, rows):
    X, y, wrong = rows
    net = fitted(model, rows)
    learned = (net.predict(X[:30]) == wrong[:30]).mean()
    net.forget(X[:30], wrong[:30], retain=(X[30:], y[30:]), max_iter=20)
    assert (net.predict(X[:30]) == wrong[:30]).mean() < 0.3 < 0.4 < learned
    assert (net.predict(X[30:]) == y[30:]).mean() > 0.9
    alone = fitted(model, rows).forget(X[:30], wrong[:30], method="ascent", max_iter=100)
    assert (alone.predict(X[30:]) == y[30:]).mean() < 0.8  # nothing holds the rest


@every_model
def test_the_population_loses_the_rows(model, rows):
    X, y, wrong = rows
    net = fitted(model, rows)
    params, history = net.get_params(), len(net.history_)
    left = np.bincount(wrong) - np.bincount(wrong[:30])
    net.forget(X[:30], wrong[:30], retain=(X[30:], y[30:]), max_iter=3)
    np.testing.assert_array_equal(net.class_counts_, left)
    np.testing.assert_allclose(net.prior_, left / left.sum())
    assert net.get_params() == params
    assert len(net.history_) == history + 3
    p = net.predict_proba(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict_proba(X), p)
    assert "_forgetting" not in vars(net)
    assert net.partial_fit(X[:60], y[:60]).class_counts_.sum() == 330


@pytest.mark.parametrize("kind", ["two classes", "labels", "weights", "sparse", "focal"])
def test_kinds_of_targets_and_rows(kind, rows):
    X, y, _ = rows
    model = MLPClassifier((16,), **KW)
    if kind == "two classes":
        y = (y > 0).astype(int)
    elif kind == "labels":
        y = np.stack([y > 0, y > 1], 1).astype(int)
    elif kind == "weights":
        model.set_params(class_weight="balanced")
    elif kind == "sparse":
        X = sparse.csr_matrix(X)
    else:
        model.set_params(loss=Focal())
    model.fit(X, y)
    loss = [model._row_losses(model._head.bound, X[:20], y[:20]).mean()]
    model.forget(X[:20], y[:20], retain=(X[20:], y[20:]), max_iter=10)
    loss.append(model._row_losses(model._head.bound, X[:20], y[:20]).mean())
    assert loss[1] > 2 * loss[0]
    assert np.isfinite(model.predict_proba(X)).all()


def test_without_rows_to_forget_in_force_it_is_further_training(rows):
    X, y, wrong = rows
    net = fitted(MODELS[0], rows)
    before = net._row_losses(net._head.bound, X[30:], y[30:]).mean()
    net.forget(X[:30], wrong[:30], retain=(X[30:], y[30:]), method="retain", max_iter=10)
    assert net._row_losses(net._head.bound, X[30:], y[30:]).mean() < before


def test_it_stops_at_the_loss_of_rows_that_were_never_learned(rows):
    X, y, wrong = rows
    net = fitted(MODELS[0], rows)
    net.forget(X[:30], wrong[:30], retain=(X[30:], y[30:]), reference=(X[:30], y[:30]))
    assert net.n_iter_ < 50
    assert net.callbacks is None


def test_refusals_leave_the_net_as_it_was(rows):
    X, y, wrong = rows
    net = fitted(MODELS[0], rows)
    p, some = net.predict_proba(X), (X[:5], wrong[:5])
    with pytest.raises(ValueError, match="'method' parameter"):
        net.forget(*some, method="no")
    with pytest.raises(ValueError, match="give retain="):
        net.forget(*some, method="retain")
    with pytest.raises(ValueError, match=r"cannot be forgotten, only \d+ were learned"):
        net.forget(np.repeat(X[:5], 90, 0), np.repeat(wrong[:5], 90))
    with pytest.raises(ValueError, match="not among the classes"):
        net.forget(X[:2], [7, 7])
    with pytest.raises(ValueError, match="plain rows; set mix=None"):
        net.set_params(mix=Mixup()).forget(*some)
    with pytest.raises(ValueError, match="another solver than 'lbfgs'"):
        net.set_params(mix=None, solver="lbfgs").forget(*some)
    np.testing.assert_array_equal(net.predict_proba(X), p)
    with pytest.raises(ValueError, match="needs a loss of single rows, MannWhitney"):
        MLPClassifier((4,), loss=MannWhitney(), max_iter=2).fit(X, y).forget(*some)
