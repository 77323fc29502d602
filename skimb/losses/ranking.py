"""Losses of a ranking: pairs weighed by the gain of a swap, smooth average precision, recall at a budget."""

from functools import partial
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import ranking as kernel
from skimb.functional.pairs import pair_columns
from skimb.losses._base import CoupledBound, Loss, one_hot


class RankingBound(CoupledBound):
    """A closed form of the scores of a batch; several classes and labels are ranked one by one."""

    requires = frozenset({"batch", "every class"})
    #: scores that rank the rows in the place of those that are given, or None
    by = None

    def __init__(self, closed, **kw):
        super().__init__()
        self.closed, self.kw = closed, kw

    def _form(self):
        return partial(kernel.batchwise, self.closed, **self.kw)

    def margin(self, logits, sign, weight):
        by = self.by
        if by is not None and by.ndim > logits.ndim:
            by = by[..., 1] - by[..., 0]
        return self._form()(logits, sign > 0, weight, by)

    def labels(self, logits, sign, weight):
        return pair_columns(logits, sign > 0, weight, self._form(), by=self.by)

    def classes(self, logits, code, weight):
        return pair_columns(logits, one_hot(code, logits) > 0, weight, self._form(), by=self.by)


class SwapBound(RankingBound):
    """Pairs that weigh what a swap of theirs costs, which is held constant."""

    def frozen(self, logits, target, weight=None):
        """Keep the ranks, and with them the weights of pairs, as they are at `logits`."""
        return self.replaced(by=logits.detach())


class LambdaRank(Loss):
    r"""LambdaRank: :math:`\sum_{i\in+,j\in-}\Delta_{ij}\log(1+e^{-(s_i-s_j)/T})`.

    The weight :math:`\Delta_{ij}` of a pair is the change of average precision, or of the discounted cumulative
    gain over its best, if the two rows swapped their ranks. It is held constant in the gradient.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    metric : {"ap", "ndcg"}, default="ap"
        Metric whose change weighs pairs.
    at : int in [1, inf), default=None
        Number of ranks of the batch that count; ``None`` counts all.
    temperature : float in (0, inf), default=1.0
        Temperature T, in logits.
    normalize : bool, default=True
        Whether to divide by the sum of the weights of pairs. Without, the gradient shrinks as positives come to
        lead, and no learning rate fits all of the training.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The batch is the list, class 1 is what is relevant; with more classes each is ranked against the rest. The
    source ranks answers of a language model by a metric of preference; that and its reference policy are left
    out. Rows that tie keep their order. Ranks count rows; row weights multiply pairs, so that an integer weight
    is not the same as repeated rows, which would take ranks. Cost :math:`O(n_+n_-)`. The loss fixes the order,
    not the level: estimators set the output intercept after training. Probabilities are not recoverable beyond
    that.

    References
    ----------
    Liu et al. 2024, arXiv:2402.01878 (weights of pairs by a metric's gain, after Burges, Ragno and Le 2006).

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, LambdaRank
    >>> bound = LambdaRank(normalize=False).bind(ClassPrior(counts=[2, 2]))
    >>> s = torch.tensor([2.0, 0.5, -1.0, 1.0], dtype=torch.float64)
    >>> round(bound(s, torch.tensor([0, 1, 1, 0])).item(), 6)
    2.273044
    """

    scope = "batch"
    calibrated = False
    shift_invariant = True
    one_sided = True
    contract_exceptions = frozenset({"repetition"})
    _parameter_constraints = {
        "metric": [StrOptions(set(kernel.METRICS))],
        "at": [Interval(Integral, 1, None, closed="left"), None],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "normalize": ["boolean"],
    }
    _grid = {"metric": ["ap", "ndcg"]}

    def __init__(self, metric="ap", at=None, *, temperature=1.0, normalize=True):
        self.metric = metric
        self.at = at
        self.temperature = temperature
        self.normalize = normalize

    def _bind(self, prior):
        return SwapBound(
            kernel.lambda_rank_loss,
            metric=self.metric,
            at=None if self.at is None else int(self.at),
            temperature=float(self.temperature),
            normalize=bool(self.normalize),
        )


class SmoothAveragePrecision(Loss):
    r"""One minus the average precision of smooth ranks, "Smooth-AP".

    :math:`1-\frac1{n_+}\sum_{i\in+}\frac{1+\sum_{j\in+}D_{ij}}{1+\sum_jD_{ij}}` with
    :math:`D_{ij}=\sigma((s_j-s_i)/T)` for :math:`j\ne i`, else 0.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    temperature : float in (0, inf), default=1.0
        Temperature T, in logits. Towards 0 the value is one minus the average precision and the gradient dies.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The source divides cosines by 0.01; logits have no scale of their own, so that the net sharpens the ranks
    itself and one logit is where to start. Average precision of a batch is a biased estimate of that of the
    population: use large batches. Row weights enter both sums and the mean; copies of a row compete with each
    other, so that an integer weight is not the same as repeated rows. Cost :math:`O(n_+n)`. With more classes
    each is ranked against the rest. Estimators set the output intercept after training. Probabilities are not
    recoverable beyond that.

    References
    ----------
    Brown et al. 2020, arXiv:2007.12163.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, SmoothAveragePrecision
    >>> bound = SmoothAveragePrecision(temperature=0.5).bind(ClassPrior(counts=[3, 3]))
    >>> s = torch.tensor([0.2, 1.5, -0.3, 0.9, 0.4, -1.0], dtype=torch.float64)
    >>> round(bound(s, torch.tensor([0, 1, 0, 1, 0, 1])).item(), 6)
    0.28128
    """

    scope = "batch"
    calibrated = False
    shift_invariant = True
    one_sided = True
    contract_exceptions = frozenset({"repetition"})
    _parameter_constraints = {"temperature": [Interval(Real, 0, None, closed="neither")]}
    _grid = {"temperature": [0.1, 0.3, 1.0]}

    def __init__(self, temperature=1.0):
        self.temperature = temperature

    def _bind(self, prior):
        return RankingBound(
            kernel.smooth_average_precision_loss, temperature=float(self.temperature)
        )


class RecallAtBudget(Loss):
    r"""One minus the smooth recall among the rows that a budget allows to look at.

    By a quantile, :math:`\frac1{n_+}\sum_{i\in+}\sigma((\lambda-s_i)/T)`, where :math:`\lambda` is the mean of
    the last score within the budget and the first one beyond; or by ranks, :math:`1-\frac1{n_+}\sum_{i\in+}
    \sigma((k+\frac12-r_i)/T_r)` with smooth ranks :math:`r_i=1+\sum_{j\ne i}\sigma((s_j-s_i)/T)`.

    **Shapes.** logits (..., n) or (..., n, C), target (..., n); multi-label both (..., n, L).

    Parameters
    ----------
    budget : float in (0, 1), default=0.1
        Share of the rows, by weight, that can be looked at; k is that share of the batch.
    form : {"quantile", "rank"}, default="quantile"
        By a quantile of the scores, O(n log n), or by smooth ranks, :math:`O(n_+n)`.
    temperature : float in (0, inf), default=1.0
        Temperature T, in logits.
    rank_temperature : float in (0, inf), default=None
        Temperature :math:`T_r`, in ranks of a batch, of ``form="rank"``; ``None`` is a tenth of the rows. One
        rank is too sharp for a batch of hundreds of rows: its gradient is dead at the start.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    The gradient goes through :math:`\lambda`, in equal halves to the two rows that make it, and sums to 0. Held
    constant instead, as is usual, it would push all scores up without end. A batch should hold many rows within
    the budget, so let it have :math:`10/\mathrm{budget}` rows or more. ``predict`` still decides at one half;
    for the budget itself take the highest scores, or tune the threshold by a scorer. With ``form="rank"`` an
    integer weight is not the same as repeated rows, which would take ranks. With more classes each is ranked
    against the rest. Estimators set the output intercept after training. Probabilities are not recoverable
    beyond that.

    References
    ----------
    Patel, Tolias and Matas 2022, arXiv:2108.11179 (ranks). The quantile with its gradient is our form.

    Examples
    --------
    >>> import torch
    >>> from skimb.losses import ClassPrior, RecallAtBudget
    >>> bound = RecallAtBudget(1 / 3, temperature=0.5).bind(ClassPrior(counts=[3, 3]))
    >>> s = torch.tensor([0.2, 1.5, -0.3, 0.9, 0.4, -1.0], dtype=torch.float64)
    >>> round(bound(s, torch.tensor([0, 1, 0, 1, 0, 1])).item(), 6)
    0.498812
    """

    scope = "batch"
    calibrated = False
    shift_invariant = True
    one_sided = True
    _parameter_constraints = {
        "budget": [Interval(Real, 0, 1, closed="neither")],
        "form": [StrOptions({"quantile", "rank"})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "rank_temperature": [Interval(Real, 0, None, closed="neither"), None],
    }
    _grid = {"budget": [0.05, 0.1, 0.2]}

    def __init__(self, budget=0.1, form="quantile", *, temperature=1.0, rank_temperature=None):
        self.budget = budget
        self.form = form
        self.temperature = temperature
        self.rank_temperature = rank_temperature

    @property
    def contract_exceptions(self):
        """Ranks count rows, of which copies take several."""
        return frozenset({"repetition"}) if self.form == "rank" else frozenset()

    def _bind(self, prior):
        kw = {"budget": float(self.budget), "temperature": float(self.temperature)}
        if self.form == "quantile":
            return RankingBound(kernel.recall_by_quantile_loss, **kw)
        own = self.rank_temperature
        kw["rank_temperature"] = None if own is None else float(own)
        return RankingBound(kernel.recall_by_rank_loss, **kw)
