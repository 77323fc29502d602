"""Losses of the pair kernel."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from skimb import kernels
from skimb.functional import pairs as kernel
from skimb.losses._base import CoupledBound, Loss, one_hot


class PairBound(CoupledBound):
    """Mean surrogate over positive-negative pairs of a batch."""

    requires = frozenset({"batch", "every class"})

    def __init__(self, **kw):
        super().__init__()
        self.kw = kw

    def margin(self, logits, sign, weight):
        return kernel.pair_loss(logits, sign > 0, weight, **self._options())

    def labels(self, logits, sign, weight):
        return kernel.pair_columns(logits, sign > 0, weight, **self._options())

    def classes(self, logits, code, weight):
        return kernel.pair_columns(logits, one_hot(code, logits) > 0, weight, **self._options())

    def _options(self):
        return {"logistic": kernels.logistic_pairs, **self.kw}


class MannWhitney(Loss):
    r"""Mean surrogate of a wrongly ordered positive-negative pair: one minus the AUC, made smooth.

    :math:`\frac{1}{n_+n_-}\sum_{i\in+,j\in-}\psi(s_i-s_j)` with :math:`\psi(d)=\log(1+e^{-d/\tau})`,
    :math:`[m-d]_+^2`, :math:`[m-d]_+` or :math:`(m-d)^2`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    surrogate : {"logistic", "squared_hinge", "hinge", "squared"}, default="logistic"
        Function of the score difference. Logistic costs :math:`n_+n_-` operations in tiles and O(n)
        memory, the hinges O(n log n), squared O(n).
    tau : float in (0, inf), default=1.0
        Temperature of the logistic surrogate, in logits.
    margin : float in (0, inf), default=1.0
        Margin of the other surrogates, in logits.
    method : {"exact", "binned"}, default="exact"
        "binned" shares scores out between grid points: O(n + n_bins^2) for the logistic surrogate, with
        an error below :math:`h^2/(16\tau^2)` for a grid step h.
    n_bins : int in [16, inf), default=1024
        Points of that grid.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The loss fixes the order, not the level: estimators set the output intercept after training so
    that the mean predicted risk equals the prevalence. Probabilities are not recoverable beyond
    that. A batch of one class has loss 0; estimators build batches that hold every class. With more
    classes each is ranked against the rest. The abstract fixes "binary cross-entropy over score
    differences"; mean normalisation and temperature are our reading.

    References
    ----------
    Sheikholeslami et al. 2025, arXiv:2510.00137; Rust and Hocking 2023, arXiv:2302.11062 (sorting).

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, MannWhitney
    >>> bound = MannWhitney().bind(ClassPrior(counts=[3, 3]))
    >>> z = torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1], dtype=torch.float64)
    >>> round(bound(z, torch.tensor([0, 0, 1, 0, 1, 1])).item(), 6)
    0.642515
    """

    scope = "batch"
    calibrated = False
    shift_invariant = True
    _parameter_constraints = {
        "surrogate": [StrOptions(set(kernel.SURROGATES))],
        "tau": [Interval(Real, 0, None, closed="neither")],
        "margin": [Interval(Real, 0, None, closed="neither")],
        "method": [StrOptions(set(kernel.METHODS))],
        "n_bins": [Interval(Integral, 16, None, closed="left")],
    }

    def __init__(
        self,
        surrogate="logistic",
        *,
        tau=1.0,
        margin=1.0,
        method="exact",
        n_bins=1024,
    ):
        self.surrogate = surrogate
        self.tau = tau
        self.margin = margin
        self.method = method
        self.n_bins = n_bins

    def _bind(self, prior):
        if self.method == "binned" and self.surrogate != "logistic":
            raise ValueError(
                f"{self!r}: the other surrogates are exact in O(n log n) or O(n); "
                "method='binned' is for surrogate='logistic'."
            )
        return PairBound(
            surrogate=self.surrogate,
            tau=float(self.tau),
            margin=float(self.margin),
            method=self.method,
            n_bins=int(self.n_bins),
        )


class AUCMargin(Loss):
    r"""AUC margin loss: :math:`\mathrm{Var}_++\mathrm{Var}_-+[m+\bar s_--\bar s_+]_+^2`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    margin : float in (0, inf), default=1.0
        Wanted distance between the mean scores of positives and negatives, in logits.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The min-max form of the authors, solved for the batch in closed form: three auxiliary variables and
    their optimiser are not needed, and the cost is O(n). Scores gather within about the margin, so that after
    estimators have set the output intercept few rows pass one half: tune the threshold. Probabilities
    are not recoverable beyond the intercept.

    References
    ----------
    Yuan et al. 2021, arXiv:2012.03173.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import AUCMargin, ClassPrior
    >>> bound = AUCMargin().bind(ClassPrior(counts=[3, 3]))
    >>> round(bound(torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1]), torch.tensor([0, 0, 1, 0, 1, 1])).item(), 4)
    3.9044
    """

    scope = "batch"
    calibrated = False
    shift_invariant = True
    _parameter_constraints = {
        "margin": [Interval(Real, 0, None, closed="neither")],
    }
    _grid = {"margin": [0.5, 1.0, 2.0]}

    def __init__(self, margin=1.0):
        self.margin = margin

    def _bind(self, prior):
        return PairBound(surrogate="auc_margin", margin=float(self.margin))


class PartialAUC(Loss):
    r"""Pair loss over the hardest negatives: one minus the AUC up to a false-positive rate.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    fpr_max : float in (0, 1], default=0.3
        Share of the negatives, by weight, that counts: those with the highest scores.
    surrogate : {"logistic", "squared_hinge", "hinge", "squared"}, default="squared_hinge"
        Function of the score difference.
    tau : float in (0, inf), default=1.0
        Temperature of the logistic surrogate, in logits.
    margin : float in (0, inf), default=1.0
        Margin of the other surrogates, in logits.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The one-way partial AUC of the batch, without the memory of row numbers that the authors' stochastic
    optimiser keeps: use batches with many negatives. At ``fpr_max=1`` it is :class:`MannWhitney`.
    Estimators set the output intercept after training. Probabilities are not recoverable beyond that.

    References
    ----------
    Zhu et al. 2022, arXiv:2203.00176.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, PartialAUC
    >>> bound = PartialAUC().bind(ClassPrior(counts=[3, 3]))
    >>> round(bound(torch.tensor([-2, -.5, .3, 1.2, 2.5, -1.1]), torch.tensor([0, 0, 1, 0, 1, 1])).item(), 4)
    4.8333
    """

    scope = "batch"
    calibrated = False
    shift_invariant = True
    _parameter_constraints = {
        "fpr_max": [Interval(Real, 0, 1, closed="right")],
        "surrogate": [StrOptions(set(kernel.SURROGATES))],
        "tau": [Interval(Real, 0, None, closed="neither")],
        "margin": [Interval(Real, 0, None, closed="neither")],
    }
    _grid = {"fpr_max": [0.1, 0.3, 0.5]}
    reduces_to = (
        (
            {"fpr_max": 1.0, "surrogate": "squared_hinge"},
            MannWhitney("squared_hinge"),
            {"binary", "multiclass", "multilabel"},
        ),
    )

    def __init__(
        self,
        fpr_max=0.3,
        surrogate="squared_hinge",
        tau=1.0,
        margin=1.0,
    ):
        self.fpr_max = fpr_max
        self.surrogate = surrogate
        self.tau = tau
        self.margin = margin

    @property
    def one_sided(self):
        """Whether negatives are picked, so that the two classes play different parts."""
        return self.fpr_max < 1.0

    def _bind(self, prior):
        return PairBound(
            surrogate=self.surrogate,
            tau=float(self.tau),
            margin=float(self.margin),
            fpr_max=float(self.fpr_max),
        )
