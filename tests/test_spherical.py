"""The spherical family: Taylor softmax, spherical softmax, and what they depend on."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import top_k_accuracy_score

from skimb import functional
from skimb.functional import spherical
from skimb.linear_model import LinearClassifier
from skimb.losses import ClassPrior, SphericalSoftmax, TaylorSoftmax
from skimb.neural_network import MLPClassifier

Z = torch.tensor([[1.0, -0.5, 2.0, 0.25]], dtype=torch.float64)
Y = torch.tensor([2])
FOUR = ClassPrior(counts=[40, 30, 20, 10])
BOTH = [TaylorSoftmax(), SphericalSoftmax()]
GOLDEN = [
    (TaylorSoftmax(), 0.6319364495, [0.21262458, 0.05315615, -0.28106312, 0.13289037]),
    (SphericalSoftmax(1e-3, 0.0), 0.2842708622, [0.37618734, -0.18809367, -0.24737538, 0.09404684]),
]


@pytest.mark.parametrize(("loss", "value", "grad"), GOLDEN, ids=repr)
def test_golden_rows(loss, value, grad):
    bound = loss.bind(FOUR)
    found, slope = bound.loss_grad(Z, bound.encode(Y, Z))
    assert found.item() == pytest.approx(value, abs=5.1e-11)
    np.testing.assert_allclose(slope[0], grad, atol=5.1e-9)


def test_probabilities_are_the_written_ones():
    z = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    for loss, mass in [
        (TaylorSoftmax(), 1 + z + z**2 / 2),
        (SphericalSoftmax(0.2, 0.0), z**2 + 0.2),
        (SphericalSoftmax(0.2, -0.5), (z - 0.5) ** 2 + 0.2),
    ]:
        bound = loss.bind(FOUR)
        p = bound.posterior(z)
        torch.testing.assert_close(p, mass / mass.sum(-1, keepdim=True))
        assert (p > 0).all()
        assert torch.equal(bound.decision(z).argmax(-1), mass.argmax(-1))
        y = torch.arange(60) % 4
        torch.testing.assert_close(bound.row_loss(z, y), -p[torch.arange(60), y].log())


def test_near_zero_taylor_is_softmax_to_second_order():
    z = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.arange(20) % 5
    gaps = [
        (functional.taylor_softmax(t * z, y) - functional.cross_entropy(t * z, y)).abs().max()
        for t in (0.02, 0.01)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(8.0, rel=0.1)


def test_spherical_is_blind_to_signs_and_nearly_to_scale():
    y = torch.arange(8) % 3
    z = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    loss = functional.spherical_softmax(z, y)
    torch.testing.assert_close(functional.spherical_softmax(-z, y), loss)
    near = functional.spherical_softmax(50 * z, y, eps=1e-9)
    torch.testing.assert_close(
        near, functional.spherical_softmax(z, y, eps=1e-9), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_loss_reads_sum_squares_and_the_true_score_only(shift):
    # a rotation about the axis of ones that leaves the true class alone
    z = torch.tensor([[0.3, 2.0, -1.0, 0.7]], dtype=torch.float64)
    e = torch.ones(3, dtype=torch.float64) / 3**0.5
    a = 0.8
    cross = torch.tensor(
        [[0, -e[2], e[1]], [e[2], 0, -e[0]], [-e[1], e[0], 0]], dtype=torch.float64
    )
    turn = np.cos(a) * torch.eye(3) + np.sin(a) * cross + (1 - np.cos(a)) * torch.outer(e, e)
    turned = torch.cat([z[:, :1], z[:, 1:] @ turn.T], 1)
    y = torch.tensor([0])
    of = lambda s: functional.spherical_softmax(s, y, eps=0.5, shift=shift)  # noqa: E731
    torch.testing.assert_close(of(turned), of(z))


def test_a_convex_hessian_is_not_negative():
    z = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 3
    y = torch.arange(50) % 4
    for loss in BOTH:
        bound = loss.bind(FOUR)
        assert (bound.grad_hess(z, y)[1] < 0).any()
        assert (bound.grad_hess(z, y, convex=True)[1] >= 0).all()
    kw = {"eps": 0.3, "shift": 0.0}
    torch.testing.assert_close(
        spherical.spherical_grad_hess(z, y, convex=True, **kw)[0],
        spherical.spherical_grad_hess(z, y, **kw)[0],
    )


@pytest.mark.parametrize("loss", BOTH, ids=repr)
def test_models_learn_and_are_honest(loss):
    X, y = make_classification(
        900, 8, n_informative=6, n_classes=4, weights=[0.6, 0.2, 0.1], random_state=0
    )
    share = np.bincount(y) / len(y)
    for model in (
        LinearClassifier(loss),
        MLPClassifier((16,), loss=loss, max_iter=80, learning_rate_init=0.005, random_state=0),
        MLPClassifier((16,), loss=loss, max_iter=80, learning_rate_init=0.005, random_state=0, class_weight="balanced"),
    ):  # fmt: skip
        p = model.fit(X, y).predict_proba(X)
        assert model.score(X, y) > share.max() + 0.05
        np.testing.assert_allclose(p.mean(0), share, atol=0.04)
        assert top_k_accuracy_score(y, p, k=2) > model.score(X, y)


def test_two_classes_are_refused():
    for loss in BOTH:
        with pytest.raises(ValueError, match="does not accept binary targets"):
            loss.bind(ClassPrior(counts=[3, 3]))
    for of in (functional.taylor_softmax, functional.spherical_softmax):
        with pytest.raises(ValueError, match="at least three classes"):
            of(Z[:, :2], torch.tensor([1]))
