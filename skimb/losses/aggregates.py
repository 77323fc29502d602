"""Losses of regressors for rows of which only the mean response of their bag is known."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.functional import aggregates as kernel
from skimb.losses._base import Target
from skimb.losses.regression import RegressionBound, RegressionLoss


class InterpolatedBagBound(RegressionBound):
    """A loss between that of bags and that of rows."""

    requires = frozenset({"batch"})
    takes_bags = True

    def __init__(self, rho, response):
        super().__init__()
        self.kw = {"rho": rho, "response": response}

    @property
    def link_name(self):
        """What the inverse link is called."""
        return "logistic" if self.kw["response"] == "rate" else "identity"

    def entries(self, raw, target):
        raise TypeError(f"{self.name} couples the rows of a bag and has no losses of entries.")

    def inverse_link(self, raw):
        return torch.sigmoid(raw) if self.kw["response"] == "rate" else raw

    def link(self, predictions):
        return torch.logit(predictions) if self.kw["response"] == "rate" else predictions

    def encode(self, target, logits, cost=None):
        """Responses in the dtype of the outputs, and the numbers of bags in the place of costs."""
        if cost is None:
            raise ValueError(
                f"{self.name} needs the bag of each row; give it to fit as bags=, one label per row."
            )
        bags = torch.as_tensor(cost, device=target.device)
        y = target.reshape(len(target), -1)
        width, size = y.shape[1], int(bags.max()) + 1
        ends = [
            y.new_zeros(size, width).scatter_reduce_(
                0, bags[:, None].expand_as(y), y, of, include_self=False
            )
            for of in ("amin", "amax")
        ]
        apart = (ends[1] - ends[0]).amax(1)
        if bool((apart > 1e-9 * y.abs().amax()).any()):
            k = int(apart.argmax())
            raise ValueError(
                f"{self.name}: the rows of a bag have one response, their mean; y runs from "
                f"{float(ends[0][k].min()):g} to {float(ends[1][k].max()):g} within one bag. Take the mean of "
                "each bag, see skimb.datasets.aggregate_responses."
            )
        if self.kw["response"] == "rate" and bool(((y < 0) | (y > 1)).any()):
            raise ValueError(
                f"{self.name}: rates lie between 0 and 1, y runs from {float(y.min()):g} to "
                f"{float(y.max()):g}; clip them, or use response='mean'."
            )
        return Target(target.to(logits.dtype), bags)

    def loss_grad(self, logits, target, weight=None, total=None):
        """Mean loss and its gradient; the rows must be whole bags."""
        return kernel.bag_loss(logits, target.code, target.cost, weight, total=total, **self.kw)


class InterpolatedBag(RegressionLoss):
    r"""Loss of bags and of rows, for responses that are known as means of bags of rows.

    :math:`(1-\rho)\,\ell(\bar y_b,\bar f_b)+\rho\,\mathrm{mean}_{i\in b}\,\ell(\bar y_b,f_i)`, a mean over bags by
    their weight, with :math:`\ell` half the squared error, or the cross-entropy of rates.

    Parameters
    ----------
    rho : float in [0, 1], default=0.1
        Share :math:`\rho` of the loss of rows: 0 fits the mean prediction of each bag alone, 1 fits every row
        to the response of its bag.
    response : {"mean", "rate"}, default="mean"
        Means of numbers, or rates of a class, which need probabilities: the regressor predicts the sigmoid of its
        output, the probability of that class in each row.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range; by ``fit``, without ``bags=``, if y differs within a
        bag, or if rates lie outside [0, 1].

    Notes
    -----
    ``MLPRegressor(loss=InterpolatedBag()).fit(X, y, bags=bags)`` takes one label per row that names its bag,
    and in y the response of the bag in each of its rows. Batches hold whole bags, early stopping sets whole
    bags aside and scores their means. The argument is metadata: ``set_fit_request(bags=True)`` lets it through
    pipelines and searches; folds should not cut bags, so search with ``GroupKFold`` and
    :func:`~skimb.metrics.bag_mean_squared_error`.

    With squared errors the loss is that of bags plus :math:`\rho/2` times the variance of the predictions
    within bags: a penalty that shrinks them. Bags of one row give the plain loss at any :math:`\rho`. For rates
    the mean probability of a bag is compared, and a rare class stays learnable from bags in which few rows have
    it. Row weights weigh within bags and bags by their sums. Trained alone, not in populations.

    References
    ----------
    Javanmard et al. 2024, ICLR, https://openreview.net/forum?id=E60SIDItyT. The form for rates is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.datasets import aggregate_responses
    >>> from skimb.losses import InterpolatedBag
    >>> from skimb.neural_network import MLPRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 3))
    >>> response, bags = aggregate_responses(X @ [1.0, -2.0, 0.5], 4, random_state=0)
    >>> model = MLPRegressor(InterpolatedBag(0.0), (), solver="lbfgs", alpha=0.0)
    >>> model.fit(X, response, bags=bags).coefs_[0].ravel().round(2).tolist()
    [1.0, -2.0, 0.5]
    """

    _parameter_constraints = {
        "rho": [Interval(Real, 0, 1, closed="both")],
        "response": [StrOptions(set(kernel.RESPONSES))],
    }

    def __init__(self, rho=0.1, response="mean"):
        self.rho = rho
        self.response = response

    def _bind(self, y, sample_weight):
        return InterpolatedBagBound(float(self.rho), self.response)
