"""Losses from outside the package in a population: each member trains with its own constants."""

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import make_classification

from skimb.losses import CoupledBound, Loss, RowBound, SoftmaxBound
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier


def logistic(z, sign):
    """Loss, gradient and second derivative of one logit per row."""
    wrong = torch.sigmoid(-z * sign)
    return torch.nn.functional.softplus(-z * sign), -sign * wrong, wrong * (1.0 - wrong)


class Shifted(RowBound):
    """Logistic loss of shifted logits, with the shift in whatever attribute `hide` puts it."""

    def __init__(self, shift):
        super().__init__()
        self.hide(shift)

    def hide(self, shift):
        self._shift = shift

    def shift(self):
        return self._shift

    def entries(self, logits, target, factor=1.0):
        loss, grad, _ = logistic(logits + self.shift(), target.code)
        return loss, grad * factor

    def second(self, logits, target):
        return logistic(logits + self.shift(), target.code)[1:]


class InSet(Shifted):
    """The shift in a set, which has no hash."""

    def hide(self, shift):
        self._values = {shift}

    def shift(self):
        return next(iter(self._values))


class InArray(Shifted):
    """The shift in an array in a dictionary."""

    def hide(self, shift):
        self.table = {"shift": np.array([0.0, shift])}

    def shift(self):
        return float(self.table["shift"][1])


class Holder:
    """An object that is equal to every other of its kind and has no hash."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Holder)

    __hash__ = None


class InObject(Shifted):
    """The shift in such an object."""

    def hide(self, shift):
        self._held = Holder(shift)

    def shift(self):
        return self._held.value


class InBuffer(Shifted):
    """The shift in a buffer of the module."""

    def hide(self, shift):
        self.register_buffer("offset", torch.tensor(shift, dtype=torch.float64))

    def shift(self):
        return float(self.offset)


class InClosure(Shifted):
    """The shift in a function."""

    def hide(self, shift):
        self.shift = lambda: shift


class Rate(CoupledBound):
    """Squared distance of the mean probability of a batch from the rate of the training target, and more."""

    def __init__(self, shift):
        super().__init__()
        self._wanted = shift

    def margin(self, logits, sign, weight):
        p = torch.sigmoid(logits)
        n = logits.shape[-1]
        off = p.mean(-1, keepdim=True) - 1.0 / (1.0 + np.exp(-self._wanted))
        loss, grad, _ = logistic(logits, sign)
        grad = (grad + 20.0 * off * p * (1.0 - p)) / n
        return loss.mean(-1) + 10.0 * off.squeeze(-1) ** 2, grad

    def classes(self, logits, code, weight):
        raise NotImplementedError


def patched(shift):
    bound = SoftmaxBound()
    entries = bound.entries
    bound.entries = lambda z, target, factor=1.0: entries(z + shift, target, factor)
    return bound


class Foreign(Loss):
    """Makes a bound loss with the log odds of the training target."""

    tasks = frozenset({"binary"})
    calibrated = False
    one_sided = True

    def __init__(self, make=Shifted):
        self.make = make

    @property
    def scope(self):
        return "batch" if self.make is Rate else "row"

    def _bind(self, prior):
        return self.make(float(prior.log_odds()[0]))


MAKERS = [Shifted, InSet, InArray, InObject, InBuffer, InClosure, Rate, patched]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_members_of_a_population_keep_their_own_constants(make):
    X, y = make_classification(240, 5, n_informative=3, weights=[0.6], flip_y=0.1, random_state=0)
    rarer = np.where((y == 1) & (X[:, 0] > np.median(X[y == 1, 0])), 0, y)
    kw = {
        "max_iter": 3,
        "tol": 0.0,
        "batch_size": 80,
        "learning_rate_init": 0.05,
        "random_state": 0,
    }
    model = MLPClassifier((4,), loss=Foreign(make), **kw)
    targets = [y, rarer, 1 - y]
    alone = [clone(model).fit(X, t) for t in targets]
    with batched_fits() as batch:
        together = Parallel(n_jobs=3)(delayed(clone(model).fit)(X, t) for t in targets)
    assert sum(batch.sizes) == len(targets)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(
            a.decision_function(X), b.decision_function(X), rtol=1e-7, atol=1e-10
        )


def test_the_constant_of_the_first_member_would_be_noticed():
    X, y = make_classification(240, 5, n_informative=3, weights=[0.6], random_state=0)
    kw = {"max_iter": 3, "batch_size": 80, "learning_rate_init": 0.05, "random_state": 0}

    def scores(shift):
        loss = Foreign(lambda own: Shifted(shift))
        return MLPClassifier((4,), loss=loss, **kw).fit(X, y).decision_function(X)

    assert np.abs(scores(-0.4) - scores(-1.5)).max() > 1e-3
