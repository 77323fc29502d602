"""What a regressor does with a target and with scores: the counterpart of a classifier's head."""

import copy

import numpy as np
import torch
from scipy import sparse
from sklearn.base import RegressorMixin, clone
from sklearn.metrics import r2_score
from sklearn.utils import check_consistent_length, column_or_1d

from skimb._core.bags import bag_means
from skimb._core.stand_ins import Answers
from skimb._core.validation import one_column
from skimb.losses.regression import named_loss


class NumericHead:
    """Checks, the bound loss and predictions of a regressor; what was bound does not change.

    Parameters
    ----------
    owner : str
        Name of the estimator's class, for messages.

    Attributes
    ----------
    n_outputs : int
        Targets per row.
    columns : bool
        Whether targets are (n, n_outputs) rather than (n,).
    loss : str or loss of regressors
        A copy of the loss, as it was bound.
    bound : RegressionBound
        The bound loss.
    """

    numeric = True
    couples_rows = False
    warns = True
    bound = None

    def __init__(self, owner):
        self.owner = owner

    def fresh(self):
        """One that has read the same target and nothing else."""
        other = type(self)(self.owner)
        other.n_outputs, other.columns = self.n_outputs, self.columns
        return other

    # --- targets -----------------------------------------------------------------------------

    def plain(self, y):
        """The target, dense."""
        return y.toarray() if sparse.issparse(y) else y

    def read(self, y, classes=None):
        """Take a new target; returns it as float64."""
        y = self._checked(y)
        self.n_outputs, self.columns = (1, False) if y.ndim == 1 else (y.shape[1], True)
        return y

    def encode(self, y, classes=None, *, partial=False):
        """A further target as float64."""
        y = self._checked(y)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if outputs != self.n_outputs:
            raise ValueError(f"y has {outputs} outputs, the model was fitted on {self.n_outputs}.")
        return y

    @staticmethod
    def _checked(y):
        return np.asarray(one_column(y) if y.ndim == 2 and y.shape[1] == 1 else y, float)

    def costs(self, bags, code):
        """Numbers of the bags that the rows come in, which take the place of a classifier's costs, or None."""
        if bags is None:
            return None
        bags = column_or_1d(bags)
        check_consistent_length(bags, code)
        return np.unique(bags, return_inverse=True)[1]

    def strata(self, code):
        """None: nothing to keep in proportion."""
        return None

    def counts_by_label(self, code):
        """There are no classes to count."""
        return "none"

    # --- the bound loss ----------------------------------------------------------------------

    def bind(self, params, code, sample_weight, *, go_on=False):
        """A head with a bound loss, which takes over what the one before has gathered."""
        head = copy.copy(self)
        loss = named_loss(params.loss)
        if "regression" not in loss.tasks:
            raise ValueError(
                f"{loss!r} is a loss of classifiers, {self.owner} has numeric targets; give it a loss of "
                "regressors inside, such as loss='squared_error'."
            )
        head.loss = params.loss if isinstance(params.loss, str) else clone(loss)
        head.bound = named_loss(head.loss).bind(code, sample_weight)
        if self.bound is not None:
            head.bound.go_on(self.bound, code, incremental=go_on)
        return head

    def row_weights(self, code, sample_weight, *, deferred=False):
        """Weights of mean 1."""
        return (None if sample_weight is None else sample_weight / sample_weight.mean()), None

    def warm_loss(self):
        """None: training starts from the initial weights."""
        return None

    def order_by_class(self, code, sampler):
        """Nothing: rows have no classes."""
        return {}

    def attributes(self):
        """Public attributes that the estimator shows of it, by name."""
        return {"n_outputs_": self.n_outputs, **self.bound.attributes()}

    @property
    def width(self):
        """Outputs of the net."""
        return self.n_outputs * self.bound.width

    # --- predictions -------------------------------------------------------------------------

    def logits(self, raw):
        """Raw outputs as they are."""
        return raw

    def predictions(self, logits):
        """Predictions from raw outputs."""
        values = self.bound.inverse_link(logits).numpy()
        return values if self.columns else values[:, 0]

    def loss_of(self, raw, code, weight=None):
        """Loss of raw outputs, one column for each output of the net."""
        z = torch.as_tensor(np.asarray(raw))
        z = z if self.columns or self.width > 1 else z[:, 0]
        target = self.bound.encode(torch.from_numpy(np.ascontiguousarray(code)), z)
        weight = None if weight is None else torch.from_numpy(weight).to(z)
        return float(self.bound.loss_grad(z, target, weight)[0])

    def score(self, logits, code, weight=None, bags=None):
        """R2, of the means of bags where rows come in some; not a number where a prediction is none."""
        predicted = self.predictions(logits)
        if bags is not None:
            code, predicted, weight = bag_means(bags, weight, code, predicted)
        if not np.isfinite(predicted).all():
            return np.nan
        return r2_score(code, predicted, sample_weight=weight)

    def stand_in(self, logits):
        """A fitted regressor for scorers that answers from a function giving the raw outputs of rows."""
        return _Predicts(predictions=lambda X: self.predictions(logits(X)))


class _Predicts(RegressorMixin, Answers):
    """Answers whose score is R2."""
