"""A loss written outside the package, as the page on own losses shows it, works everywhere."""

from numbers import Real

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import Interval

from skimb.boosting import LGBMImbalancedClassifier
from skimb.losses import CrossEntropy, LabelBound, Loss, SoftmaxBound
from skimb.model_selection import batched_fits
from skimb.neural_network import MLPClassifier
from skimb.testing import check_loss


class RootWeighted(Loss):
    """Cross-entropy whose classes weigh a power of their inverse frequencies."""

    _parameter_constraints = {"power": [Interval(Real, 0, 1, closed="both")]}
    _grid = {"power": [0.25, 0.5, 1.0]}
    reduces_to = (({"power": 0.0}, CrossEntropy(), {"binary", "multiclass", "multilabel"}),)

    def __init__(self, power=0.5):
        self.power = power

    def _bind(self, prior):
        # one count per class, or two per label: rows without and with it
        counts = prior.sides() if prior.multilabel else prior.floored_counts
        share = counts / counts.sum(-1, keepdims=True)
        return SoftmaxBound(weights=share**-self.power)


class BrierBound(LabelBound):
    """Squared error of the probability of each label."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def values(self, z, sign):
        wrong = torch.sigmoid(-z * sign)
        loss = self.scale * wrong**2
        return loss, -sign * 2.0 * loss * (1.0 - wrong)

    def second_values(self, z, sign):
        wrong = torch.sigmoid(-z * sign)
        slope = 2.0 * self.scale * wrong**2 * (1.0 - wrong)
        return -sign * slope, slope * (2.0 - 3.0 * wrong)


class Brier(Loss):
    """Brier score of each label, times a scale."""

    _parameter_constraints = {"scale": [Interval(Real, 0, None, closed="neither")]}
    _grid = {"scale": [1.0, 4.0]}

    def __init__(self, scale=1.0):
        self.scale = scale

    def _bind(self, prior):
        return BrierBound(float(self.scale))


LOSSES = [RootWeighted(), RootWeighted(power=1.0), Brier(), Brier(scale=4.0)]


@pytest.fixture(scope="module")
def rare():
    return make_classification(
        300, 6, n_informative=4, weights=[0.8], class_sep=2.0, random_state=0
    )


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_new_loss_keeps_the_contract(loss):
    check_loss(loss)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_new_loss_trains_alone_in_a_population_and_under_trees(loss, rare):
    X, y = rare
    model = MLPClassifier((8,), loss=loss, learning_rate_init=0.05, max_iter=10, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.9

    search = GridSearchCV(model, {"alpha": [0.0, 0.01]}, cv=3, refit=False)
    alone = search.fit(X, y).cv_results_["mean_test_score"]
    with batched_fits() as batch:
        together = search.fit(X, y).cv_results_["mean_test_score"]
    assert sum(batch.sizes) == 6  # two rates on three folds, trained as populations
    np.testing.assert_allclose(together, alone)

    trees = LGBMImbalancedClassifier(loss=loss, n_estimators=20, random_state=0)
    proba = trees.fit(X, y).predict_proba(X)
    assert (proba.argmax(1) == y).mean() > 0.9
