"""Losses of regressors; not in `all_losses`, which lists classification losses."""

from abc import ABC, abstractmethod
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.mixture import GaussianMixture
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.priors import ClassPrior
from skimb.functional import regression as kernel
from skimb.functional.reweighting import FOCUS, focus_weights, row_mean
from skimb.losses._base import BoundLoss, Target
from skimb.losses._density import smoothed_histogram


class RegressionLoss(BaseEstimator, ABC):
    """Base of the losses of regressors: parameter objects that are bound to a training target."""

    #: targets the loss accepts
    tasks = frozenset({"regression"})
    # what wrappers ask of the losses of classifiers
    scope, one_logit, one_sided, shift_invariant = "row", True, False, False
    contract_exceptions: frozenset = frozenset()

    _parameter_constraints: dict = {}

    def bind(self, y, sample_weight=None):
        """Check the parameters and fix everything that depends on the training target.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs)
            Training target.
        sample_weight : array-like of shape (n,), default=None
            Row weights.

        Returns
        -------
        RegressionBound
            A module with ``encode(target, outputs)`` and ``loss_grad(outputs, encoded, weight)``.

        Raises
        ------
        ValueError
            If a parameter is out of range or the target is that of a classifier.
        """
        self._validate_params()
        if isinstance(y, ClassPrior):
            raise ValueError(
                f"{self!r} is for regression: give the training target instead of {y!r}."
            )
        weight = None if sample_weight is None else np.asarray(sample_weight, float)
        bound = self._bind(np.asarray(y, float), weight)
        bound._loss = self
        return bound

    @abstractmethod
    def _bind(self, y, sample_weight):
        """Make the bound loss; parameters are valid."""


class RegressionBound(BoundLoss):
    """A regression loss with a closed-form gradient and an inverse link."""

    task = "regression"
    #: outputs of the net for each target
    width = 1
    #: what the inverse link is called
    link_name = "identity"

    @abstractmethod
    def entries(self, raw, target):
        """Loss and gradient per entry."""

    @abstractmethod
    def inverse_link(self, raw):
        """Predictions from raw outputs."""

    def link(self, predictions):
        """Raw outputs from predictions."""
        return predictions

    def attributes(self):
        """What the estimator shows of it, by name."""
        return {}

    def encode(self, target, logits, cost=None):
        """Targets in the dtype of the outputs."""
        self._without_bags(cost)
        return Target(target.to(logits.dtype))

    def _without_bags(self, bags):
        if bags is not None:
            raise TypeError(f"{self.name} reads no bags of rows; use loss=InterpolatedBag().")

    def go_on(self, before, y, *, incremental):
        """Take over what the bound loss of earlier rows has gathered; `incremental` in ``partial_fit``."""
        if incremental and type(before) is type(self):
            self.load_state_dict(before.state_dict())

    def loss_grad(self, logits, target, weight=None, total=None):
        """Weighted mean over rows, mean over targets."""
        loss, grad = self.entries(logits, target.code)
        targets = loss.shape[-1] if loss.ndim > 1 else 1
        if weight is None:
            total = logits.shape[0] if total is None else total
            return loss.sum() / (total * targets), grad / (total * targets)
        total = weight.sum() if total is None else total
        factor = weight / (total * targets)

        def weighed(part):
            return part * factor.reshape(factor.shape + (1,) * (part.ndim - 1))

        return weighed(loss).sum(), weighed(grad)


class SquaredError(RegressionBound):
    """Half the squared error."""

    def entries(self, raw, target):
        diff = raw - target
        return 0.5 * diff.square(), diff

    def inverse_link(self, raw):
        return raw


def spread(y, sample_weight):
    """Standard deviation of the targets, together, and a little more than nothing."""
    away = np.square(y - np.average(y, 0, sample_weight))
    return max(float(np.sqrt(np.average(away, 0, sample_weight).mean())), 1e-12)


class PoissonDeviance(RegressionBound):
    """Half the Poisson deviance with log link."""

    link_name = "exp"

    def entries(self, raw, target):
        mean = raw.exp()
        loss = torch.special.xlogy(target, target) - target * raw - target + mean
        return loss, mean - target

    def inverse_link(self, raw):
        return raw.exp()

    def link(self, predictions):
        return predictions.log()


_MOST_ROWS = 100_000  # that a mixture of weighted rows is fitted to

BY_NAME = {"squared_error": SquaredError, "poisson": PoissonDeviance}


class NamedLoss(RegressionLoss):
    """A loss of regressors by its name."""

    def __init__(self, name):
        self.name = name

    def _bind(self, y, sample_weight):
        if self.name == "poisson" and (y < 0).any():
            raise ValueError(
                f"loss='poisson' needs non-negative y, got a minimum of {y.min()}; "
                "use loss='squared_error'."
            )
        return BY_NAME[self.name]()

    def __repr__(self, N_CHAR_MAX=700):
        return f"loss={self.name!r}"


def named_loss(loss):
    """A loss of regressors as an object, whether it is one or a name."""
    return NamedLoss(loss) if isinstance(loss, str) else loss


class BalancedMSEBound(RegressionBound):
    """Balanced mean squared error of one training target, with its noise scale."""

    def __init__(self, sigma, bounds, columns, mixture, sigma_lr):
        super().__init__()
        self.register_buffer("log_sigma", torch.tensor(float(np.log(sigma)), dtype=torch.float64))
        self.register_buffer("moments", torch.zeros(3, dtype=torch.float64))
        self.bounds = tuple(float(np.log(b)) for b in bounds)
        self.columns, self.mixture, self.sigma_lr = columns, mixture, sigma_lr
        self.requires = frozenset({"batch", "memory"} if sigma_lr > 0 else {"batch"})

    @property
    def sigma(self):
        """Current noise scale."""
        return float(self.log_sigma.exp())

    def in_units(self, centre, spread):
        """The same loss of targets ``centre + spread * target``, which has learned nothing yet."""
        columns, mixture = self.columns, self.mixture
        if columns is not None:
            columns = (centre + spread * columns[0], columns[1])
        if mixture is not None:
            mixture = (mixture[0], centre + spread * mixture[1], spread**2 * mixture[2], mixture[3])
        bounds = np.exp(self.bounds) * spread
        other = type(self)(self.sigma * spread, bounds, columns, mixture, self.sigma_lr)
        other._loss = self._loss
        return other

    def entries(self, raw, target):
        raise TypeError("BalancedMSE couples the rows of a batch and has no losses of entries.")

    def inverse_link(self, raw):
        return raw

    def attributes(self):
        """The noise scale, as an attribute of the estimator."""
        return {"noise_sigma_": self.sigma}

    def loss_grad(self, logits, target, weight=None, total=None):
        """Loss of the batch and its gradient."""
        return self._evaluate(logits, target.code, weight)[:2]

    def grad_hess(self, logits, target, convex=True):
        """Gradient and second derivative of half the loss of each row, against all training targets."""
        if self.mixture is not None:
            return kernel.rows_against_mixture(logits, target, self.mixture, self.sigma)
        return kernel.rows_against_labels(logits, target, *self.columns, self.sigma)

    def _evaluate(self, raw, target, weight):
        """Loss, gradient, and derivative in the noise scale."""
        sigma = self.log_sigma.exp().to(raw)
        if self.mixture is not None:
            mixture = tuple(a.to(raw) for a in self.mixture)
            return kernel.against_mixture(raw, target, mixture, sigma, weight)
        if self.columns is not None:
            columns = (a.to(raw) for a in self.columns)
            return kernel.against_labels(raw, target, *columns, sigma, weight)
        log_weight = raw.new_zeros(len(target)) if weight is None else weight.log()
        return kernel.against_labels(raw, target, target, log_weight, sigma, weight)

    def observe(self, logits, target, weight=None):
        """One step of Adam on the logarithm of the noise scale, by the mean over members where there are some."""
        each = logits if logits.ndim > target.code.ndim else [logits]
        slope = sum(float(self._evaluate(z, target.code, weight)[2]) for z in each) / len(each)
        m, v, t = self.moments.tolist()
        g = slope * self.sigma
        m, v, t = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g, t + 1.0
        step = m / (1.0 - 0.9**t) / (np.sqrt(v / (1.0 - 0.999**t)) + 1e-12)
        self.moments = torch.tensor([m, v, t], dtype=torch.float64)
        moved = float(self.log_sigma) - self.sigma_lr * step
        self.log_sigma = torch.tensor(np.clip(moved, *self.bounds), dtype=torch.float64)


def _absolute(diff, eps):
    return diff.abs(), diff.sign()


def _charbonnier(diff, eps):
    root = torch.hypot(diff, torch.full_like(diff, eps))
    return diff.square() / (root + eps), diff / root


def _squared(diff, eps):
    return 0.5 * diff.square(), diff


BASES = {"charbonnier": _charbonnier, "mae": _absolute, "mse": _squared}


class PlainErrors(RegressionBound):
    """Absolute, rounded absolute or squared errors."""

    def __init__(self, base, eps):
        super().__init__()
        self.base, self.eps = base, eps

    def entries(self, raw, target):
        return BASES[self.base](raw - target, self.eps)

    def inverse_link(self, raw):
        return raw


class FocusedErrors(PlainErrors):
    """Errors weighted by themselves, late in training; constants of the gradient."""

    requires = frozenset({"batch"})

    def __init__(self, base, eps, start, cap, **focus):
        super().__init__(base, eps)
        self.start, self.cap, self.focus = start, cap, focus
        self.plain = PlainErrors(base, eps)
        self.fixed = None

    def at(self, epoch, n_epochs):
        return self if epoch >= int(np.ceil(self.start * n_epochs)) else self.plain

    def _weights(self, raw, target, weight):
        """Weights (n, ...) of entries, summing to 1 over the rows."""
        errors = (raw - target).abs().movedim(0, -1)
        if weight is not None:
            weight = weight.expand_as(errors)
        if self.cap is not None:
            errors = torch.minimum(errors, self.cap * row_mean(errors, weight))
        w = focus_weights(errors.log(), sample_weight=weight, **self.focus)
        return w.movedim(-1, 0)

    def loss_grad(self, logits, target, weight=None, total=None):
        """Mean over targets of the weighted errors of the batch."""
        w = self._weights(logits, target.code, weight) if self.fixed is None else self.fixed
        loss, grad = self.entries(logits, target.code)
        targets = loss.shape[-1] if loss.ndim > 1 else 1
        return (loss * w).sum() / targets, grad * w / targets

    def frozen(self, logits, target, weight=None):
        """Keep the weights as they are at `logits`."""
        code = self.encode(target, logits).code
        return self.replaced(fixed=self._weights(logits, code, weight))


class ErrorFocusedRegression(RegressionLoss):
    r"""Error-focused regression: late in training rows weigh by their own error, :math:`(e_i/\bar e)^\beta`.

    **Shapes.** outputs and target (n,) or (n, n_targets); each target has its own weights.

    Parameters
    ----------
    base : {"charbonnier", "mae", "mse"}, default="charbonnier"
        Error that is weighted: :math:`\sqrt{d^2+\epsilon^2}-\epsilon`, :math:`|d|` or :math:`d^2/2`.
    kind : {"power", "exp"}, default="power"
        Weight :math:`(e/\bar e)^\beta`, or :math:`e^{\beta e/\bar e}`, with the mean absolute error of the batch;
        scaled to a mean of 1.
    beta : float in [0, inf), default=1.0
        Strength; 0 is the base throughout.
    cap : float in [1, inf), "auto" or None, default="auto"
        Largest ratio of an error to the mean that weights tell apart; "auto" is 4 for "exp" and none for "power".
    start : float in [0, 1], default=0.8
        Share of the planned epochs after which the weights apply.
    eps : float in (0, inf), default=0.001
        Rounding :math:`\epsilon` of "charbonnier", in standard deviations of the target.

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range.

    Notes
    -----
    Our own reading of the pixel-focus idea for image enhancement, whose formula is not published: not a
    reproduction of that paper. The weights are constants of the gradient. With "mae" and "power" the gradient
    is that of :math:`|d|^{1+\beta}` up to the scale of a batch, so that ``beta=1`` is fine-tuning with
    squared errors. Error moves from the tail to the body: large errors shrink, the mean absolute error may
    rise. It follows wrong targets; keep it for clean data. ``solver="lbfgs"`` has no epochs and minimises the
    later loss.

    References
    ----------
    Lu et al. 2024, CVPR workshops (the idea only).

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skimb.losses import ErrorFocusedRegression
    >>> bound = ErrorFocusedRegression("mae").bind(np.zeros(2))
    >>> z = torch.tensor([1.0, -3.0])
    >>> loss, grad = bound.loss_grad(z, bound.encode(torch.zeros(2), z))
    >>> [round(g, 4) for g in grad.tolist()]  # weights 1/4 and 3/4
    [0.25, -0.75]
    """

    _parameter_constraints = {
        "base": [StrOptions(set(BASES))],
        "kind": [StrOptions(set(FOCUS))],
        "beta": [Interval(Real, 0, None, closed="left")],
        "cap": [Interval(Real, 1, None, closed="left"), StrOptions({"auto"}), None],
        "start": [Interval(Real, 0, 1, closed="both")],
        "eps": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, base="charbonnier", kind="power", beta=1.0, cap="auto", start=0.8, eps=1e-3):
        self.base = base
        self.kind = kind
        self.beta = beta
        self.cap = cap
        self.start = start
        self.eps = eps

    def _bind(self, y, sample_weight):
        eps = float(self.eps) * spread(y, sample_weight)
        cap = {"exp": 4.0}.get(self.kind) if self.cap == "auto" else self.cap
        focus = {"kind": self.kind, "beta": float(self.beta)}
        return FocusedErrors(self.base, eps, float(self.start), cap, **focus)


class BalancedMSE(RegressionLoss):
    r"""Balanced mean squared error: regression with rare target values.

    :math:`-\log\frac{N(t;f,\sigma^2)}{\int N(t';f,\sigma^2)p(t')dt'}` times :math:`2\sigma^2`: the net
    predicts as if every target value were equally frequent. The integral is a mean over the batch
    (bmc), over a Gaussian mixture fitted to the training targets (gai) or over a histogram (bni).

    Parameters
    ----------
    method : {"bmc", "gai", "bni"}, default="bmc"
        Batch Monte Carlo, Gaussian mixture in closed form, or binned numerical integration; the last for
        one target only.
    noise_sigma : float in (0, inf) or "auto", default="auto"
        Noise scale :math:`\sigma`, in units of the target; "auto" starts from the standard deviation.
    learn_sigma : bool, default=True
        Whether the noise scale is trained too; stochastic solvers only.
    sigma_lr : float in (0, inf), default=0.01
        Learning rate of its logarithm, by Adam.
    n_components : int in [1, inf), default=8
        Components of the mixture for "gai".
    n_bins : int in [2, inf), default=100
        Bins for "bni".
    smoothing : float in [0, inf), default=0.0
        Standard deviation, in bins, of the Gaussian that smooths the label density for "bni".

    Raises
    ------
    ValueError
        By :meth:`bind`, if a parameter is out of range or "bni" meets several targets.

    Notes
    -----
    The noise scale stays within 0.001 and 100 times the standard deviation of the target. Small batches
    bias the integral of "bmc"; a batch of one row has gradient 0. Towards a flat label density the
    loss is the squared error. One released reading of "bmc" compares vectors without transposing one
    of them, which gives another, meaningless gradient; this follows the paper.

    Targets are taken to be equally frequent without end: where the noise is large against the range of the
    target, predictions run beyond it, and on real sets density weights may do better.

    References
    ----------
    Ren et al. 2022, arXiv:2203.16427.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skimb.losses import BalancedMSE
    >>> t = np.array([0.5, 1.0, 2.0])
    >>> bound = BalancedMSE(noise_sigma=1.0, learn_sigma=False).bind(t)
    >>> z = torch.tensor([0.0, 1.0, 3.0])
    >>> loss, grad = bound.loss_grad(z, bound.encode(torch.tensor([0.5, 1.0, 2.0]), z))
    >>> [round(3 * g, 4) for g in grad.tolist()]
    [0.6233, 0.1328, -0.5122]
    """

    _parameter_constraints = {
        "method": [StrOptions({"bmc", "gai", "bni"})],
        "noise_sigma": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "learn_sigma": ["boolean"],
        "sigma_lr": [Interval(Real, 0, None, closed="neither")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "smoothing": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        method="bmc",
        noise_sigma="auto",
        learn_sigma=True,
        sigma_lr=0.01,
        n_components=8,
        n_bins=100,
        smoothing=0.0,
    ):
        self.method = method
        self.noise_sigma = noise_sigma
        self.learn_sigma = learn_sigma
        self.sigma_lr = sigma_lr
        self.n_components = n_components
        self.n_bins = n_bins
        self.smoothing = smoothing

    def _bind(self, y, sample_weight):
        scale = spread(y, sample_weight)
        bounds = (1e-3 * scale, 1e2 * scale)
        sigma = scale if self.noise_sigma == "auto" else float(self.noise_sigma)
        columns = mixture = None
        if self.method == "bni":
            columns = self._bins(y, sample_weight)
        elif self.method == "gai":
            mixture = self._mixture(y, sample_weight)
        lr = float(self.sigma_lr) if self.learn_sigma else 0.0
        return BalancedMSEBound(sigma, bounds, columns, mixture, lr)

    def _bins(self, y, sample_weight):
        if y.ndim > 1:
            raise ValueError(
                f"{self!r}: binned integration is for one target, y has shape {y.shape}."
            )
        weight, edges = smoothed_histogram(y, self.n_bins, self.smoothing, sample_weight)
        used = weight > 0
        centres = 0.5 * (edges[1:] + edges[:-1])[used]
        return torch.as_tensor(centres), torch.as_tensor(np.log(weight[used] / weight[used].sum()))

    def _mixture(self, y, sample_weight):
        columns = y.reshape(len(y), -1)
        if (
            sample_weight is not None
        ):  # scikit-learn's mixture takes no weights, so rows are repeated
            columns = columns.repeat(_repetitions(np.asarray(sample_weight, float)), axis=0)
        k = min(self.n_components, len(np.unique(columns, axis=0)))
        fitted = GaussianMixture(k, random_state=0).fit(columns)
        values, vectors = np.linalg.eigh(fitted.covariances_)
        parts = (np.log(fitted.weights_), fitted.means_, np.maximum(values, 0.0), vectors)
        return tuple(torch.as_tensor(a) for a in parts)


def _repetitions(weight):
    """How often rows stand for their weights: whole weights as they are, others in a sample of fixed size."""
    if (weight == np.round(weight)).all() and weight.sum() <= _MOST_ROWS:
        return weight.astype(int)
    edges = np.round(np.cumsum(weight) / weight.sum() * min(_MOST_ROWS, 100 * len(weight)))
    return np.diff(edges, prepend=0.0).astype(int)


def label_groups(y, weight, size):
    """Target values and log weights, put together in at most `size` groups of equal weight.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Target.
    weight : ndarray of shape (n,)
        Row weights.
    size : int
        Most groups.

    Returns
    -------
    Tensor of shape (k,)
        Mean target of each group.
    Tensor of shape (k,)
        Logarithm of its share of the weight.
    """
    values, at = np.unique(y, return_inverse=True)
    mass = np.bincount(at, weight)
    if len(values) > size:
        middle = mass.cumsum() - 0.5 * mass
        group = np.minimum((middle / mass.sum() * size).astype(int), size - 1)
        total = np.bincount(group, mass, size)
        used = total > 0
        values = np.bincount(group, mass * values, size)[used] / total[used]
        mass = total[used]
    return torch.from_numpy(values), torch.from_numpy(np.log(mass / mass.sum()))
