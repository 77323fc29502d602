"""The coverage loss: its values, its limits and the way back to probabilities."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from sklearn.datasets import make_classification

from skimb import functional
from skimb.functional import _shapes as shapes
from skimb.losses import ClassPrior, Coverage, CrossEntropy
from skimb.metrics import coverage_score
from skimb.neural_network import MLPClassifier

Z = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64)
THREE = ClassPrior(counts=[3, 3, 3])
TWO = ClassPrior(counts=[3, 3])
GOLDEN = [
    (2, 1, 2.5679141571, [0.76992723, -0.94172122, 0.17179399], [0.17763038, 0.05561705, 0.14230526]),
    (4, 1, 1.9138692804, [0.73922495, -0.90416833, 0.16494338], [0.19512819, 0.09017379, 0.13785440]),
    (16, 1, 0.7511015795, [0.57269467, -0.70048012, 0.12778545], [0.27555904, 0.25595114, 0.11299194]),
    (2, 0, 0.0470587271, [-0.07570573, 0.01381066, 0.06189507], None),
    (4, 0, 0.0021153509, [-0.00665429, 0.00121391, 0.00544038], None),
    (4, 2, 0.6210097842, [0.5749396, 0.02862456, -0.60356416], [0.29015868, 0.02791866, 0.28972053]),
]  # fmt: skip


@pytest.mark.parametrize(("n", "y", "value", "grad", "hess"), GOLDEN)
def test_golden_rows(n, y, value, grad, hess):
    bound, y = Coverage(n).bind(THREE), torch.tensor([y])
    found, slope = bound.loss_grad(Z, bound.encode(y, Z))
    assert found.item() == pytest.approx(value, abs=5.1e-11)
    np.testing.assert_allclose(slope[0], grad, atol=5.1e-9)
    if hess is not None:
        np.testing.assert_allclose(bound.grad_hess(Z, y)[1][0], hess, atol=5.1e-9)


@pytest.mark.parametrize(
    ("v", "n", "value", "slope_q"),
    [
        (-3.0, 2, 2.3794387845, 0.9294371513),
        (-3.0, 4, 1.7336990543, 0.8843137642),
        (0.0, 2, -np.log(0.75), 1 / 3),
        (0.0, 4, 0.0645385211, 0.1333333333),
        (1.5, 4, 0.0011081103, 0.0036258595),
    ],
)
def test_golden_margins(v, n, value, slope_q):
    found, slope = shapes.Coverage(float(n)).margin(torch.tensor(v, dtype=torch.float64))
    assert found.item() == pytest.approx(value, abs=5.1e-11)
    assert slope.item() == pytest.approx(slope_q, abs=5.1e-11)


@pytest.mark.parametrize("n", [1.0, 1.5, 4.0, 64.0, 1e4])
def test_the_shape_is_convex_increasing_and_below_cross_entropy(n):
    l = torch.logspace(-12, 2.5, 400, dtype=torch.float64)
    for shape in (shapes.Coverage(n), shapes.Coverage(torch.tensor(n, dtype=torch.float64))):
        value, slope = shape.value_slope(l)
        slope = torch.ones_like(l) if slope is None else slope
        assert (value - l).max() <= 1e-12
        assert (value - l + np.log(n)).min() >= -1e-12
        assert slope.diff().min() >= -1e-15
        assert slope.min() >= 0
        assert slope.max() <= 1
        assert (shape.curvature_q2(l) >= 0).all()


def test_near_one_draw_it_is_near_cross_entropy():
    z = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5
    y = torch.arange(50) % 4
    plain = functional.cross_entropy(z, y)
    torch.testing.assert_close(functional.coverage(z, y, n=1.0), plain, rtol=0, atol=0)
    torch.testing.assert_close(functional.coverage(z, y, n=1 + 1e-9), plain, rtol=1e-8, atol=1e-9)


def test_extreme_logits_stay_finite():
    for dtype in (torch.float32, torch.float64):
        v = torch.tensor([-1e4, -200.0, 0.0, 200.0, 1e4], dtype=dtype)
        y = torch.ones(5, dtype=torch.int64)
        bound = Coverage(64).bind(TWO)
        assert torch.isfinite(bound.row_loss(v, y)).all()
        assert all(torch.isfinite(part).all() for part in bound.grad_hess(v, y))
        assert torch.isfinite(bound.posterior(v)).all()


@pytest.mark.parametrize(
    ("n", "truth", "optimum"),
    [
        (2, [0.9, 0.1], [0.784, 0.216]),
        (4, [0.9, 0.1], [0.661, 0.339]),
        (16, [0.9, 0.1], [0.537, 0.463]),
        (16, [0.97, 0.02, 0.01], [0.4522, 0.2906, 0.2572]),
    ],
)
def test_the_posterior_of_the_best_constant_is_the_truth(n, truth, optimum):
    def of(c):  # p with (1 - q^n) / (n q^(n - 1)) = c P, class by class
        return [
            brentq(lambda p, t=t: (1 - (1 - p) ** n) / (n * (1 - p) ** (n - 1)) - c * t, 1e-12, 1 - 1e-12)
            for t in truth
        ]  # fmt: skip

    p = np.array(of(np.exp(brentq(lambda c: sum(of(np.exp(c))) - 1, -5, 15))))
    np.testing.assert_allclose(p, optimum, atol=6e-4)
    bound = Coverage(n).bind(ClassPrior(counts=[3] * len(truth)))
    z = torch.as_tensor(np.log(p))[None]
    np.testing.assert_allclose(bound.posterior(z)[0], truth, atol=1e-8)
    risk = sum(
        t * bound.loss_grad(z, bound.encode(torch.tensor([k]), z))[1] for k, t in enumerate(truth)
    )
    assert risk.abs().max() < 1e-8


def test_the_order_of_classes_stays():
    z = torch.randn(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    p = Coverage(8).bind(ClassPrior(counts=[3] * 5)).posterior(z)
    assert torch.equal(p.argsort(-1), z.argsort(-1))


def test_a_trained_net_is_less_sure_but_honest():
    X, y = make_classification(
        1500, 10, n_informative=6, weights=[0.9], flip_y=0.05, random_state=0
    )
    kw = {"max_iter": 60, "random_state": 0}
    nets = [
        MLPClassifier((16,), loss=loss, **kw).fit(X, y) for loss in (CrossEntropy(), Coverage(8))
    ]
    sure = [np.abs(net.decision_function(X)).mean() for net in nets]
    assert sure[1] < 0.7 * sure[0]
    assert nets[1].predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.02)
    drawn = [coverage_score(y, 1 / (1 + np.exp(-net.decision_function(X))), n=8) for net in nets]
    assert drawn[1] > drawn[0]


def test_fewer_than_one_draw_is_refused():
    with pytest.raises(ValueError, match=r"'n' parameter of Coverage must be .* in the range \[1"):
        Coverage(0.5).bind(TWO)


def test_coverage_score():
    y, p = [0, 1, 1], [0.0, 0.5, 1.0]
    assert coverage_score(y, p, n=1) == pytest.approx(2.5 / 3)
    assert coverage_score(y, p, n=3) == pytest.approx((2 + 7 / 8) / 3)
    assert coverage_score(y, p, n=3, sample_weight=[0, 2, 0]) == pytest.approx(7 / 8)
    three = [[0.2, 0.3, 0.5]]
    assert coverage_score(["c"], three, n=2, labels=["a", "c", "b"]) == pytest.approx(1 - 0.7**2)
    with pytest.raises(ValueError, match=r"y_proba must hold probabilities in \[0, 1\]"):
        coverage_score(y, [-1.0, 0.5, 2.0], n=2)
    with pytest.raises(ValueError, match=r"[Ss]ample weights"):
        coverage_score(y, p, n=2, sample_weight=[0, 0, 0])
