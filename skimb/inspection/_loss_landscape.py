"""The display of losses: value and slope by the score of one row."""

from itertools import product

import numpy as np
import torch
from sklearn.base import clone

from skimb._core.optional import require
from skimb._core.priors import ClassPrior
from skimb.inspection._display import GREY, SERIES, despined, panels
from skimb.losses import Loss, SupervisedContrastive

_KINDS = {"value": "Loss", "gradient": "Slope of the loss", "hessian": "Curvature of the loss"}


class LossLandscapeDisplay:
    """Value, slope and curvature of losses by the score :math:`z` of one row, for a negative and a positive one.

    Losses are bound to a prior of two classes and computed by the kernels that train. Losses that couple the rows
    of a batch are those of a batch of which one row moves; its share of the batch's mean loss is multiplied by the
    rows, and there is no curvature. Slopes are those that train: of losses that hold weights of rows constant
    (Seesaw, focal weights that are detached) they are not the derivative of the value.

    Make one with :meth:`from_loss`.

    Parameters
    ----------
    logits : ndarray of shape (n_points,)
        Scores: log odds of the positive class, for losses whose probabilities are the sigmoid of it.
    value, gradient : ndarray of shape (n_losses, 2, n_points)
        Loss and its derivative in the score, of a negative and of a positive row.
    hessian : ndarray of shape (n_losses, 2, n_points)
        Second derivative; NaN for losses that couple rows.
    names : list of str
        Losses in words.
    family : bool, default=False
        Whether the losses are one with different parameters, which share a sequence of colours.
    prevalence : float, default=None
        Share of the positive class that losses are bound to.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    axes_ : list of matplotlib Axes
        Of the negative and of the positive row.
    lines_ : list of list of matplotlib Line2D
        Lines of each panel.

    Examples
    --------
    >>> from skimb.inspection import LossLandscapeDisplay
    >>> from skimb.losses import Focal
    >>> display = LossLandscapeDisplay.from_loss(Focal(), gamma=[0.0, 2.0])
    >>> display.names, display.value.shape
    (['gamma=0.0', 'gamma=2.0'], (2, 2, 241))
    """

    def __init__(self, *, logits, value, gradient, hessian, names, family=False, prevalence=None):
        self.logits = logits
        self.value, self.gradient, self.hessian = value, gradient, hessian
        self.names = names
        self.family = family
        self.prevalence = prevalence

    @classmethod
    def from_loss(
        cls,
        loss,
        *,
        prevalence=0.1,
        n_samples=1000,
        logits=None,
        kind="value",
        ax=None,
        **grid,
    ):
        """Draw one loss, several, or one with several values of its parameters.

        Parameters
        ----------
        loss : Loss or list of Loss
            Losses of two classes.
        prevalence : float in (0, 1), default=0.1
            Share of the positive class that they are bound to.
        n_samples : int in [2, inf), default=1000
            Rows that they are bound to.
        logits : array-like of shape (n_points,), default=None
            Scores; None takes 241 from -6 to 6.
        kind : {"value", "gradient", "hessian"}, default="value"
            What to draw.
        ax : matplotlib Axes or list of 2, default=None
            Where to draw; None makes a figure.
        **grid : dict of str to list
            Values of parameters of a single loss; several parameters give all combinations.

        Returns
        -------
        LossLandscapeDisplay
            The display, drawn.
        """
        losses = list(loss) if isinstance(loss, list | tuple) else [loss]
        for one in losses:
            if not isinstance(one, Loss):
                raise TypeError(
                    f"{cls.__name__} draws objects of skimb.losses, got {one!r}; give one like Focal()."
                )
            if isinstance(one, SupervisedContrastive):
                raise TypeError(
                    f"{one!r} compares directions of embeddings and has no curve by one score."
                )
        if not 0 < prevalence < 1:
            raise ValueError(f"prevalence={prevalence!r} must be in (0, 1).")
        if grid and len(losses) > 1:
            raise ValueError("A grid of parameters is for one loss; give either a list or a grid.")
        names = [repr(one) for one in losses]
        if grid:
            combined = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
            losses = [clone(losses[0]).set_params(**params) for params in combined]
            names = [", ".join(f"{k}={v!r}" for k, v in params.items()) for params in combined]
        z = np.linspace(-6.0, 6.0, 241) if logits is None else np.asarray(logits, float)
        n1 = min(max(1, round(prevalence * n_samples)), n_samples - 1)
        prior = ClassPrior(counts=np.array([n_samples - n1, n1]))
        found = [_curves(one.bind(prior), z, n1 / n_samples) for one in losses]
        value, gradient, hessian = (np.stack(parts) for parts in zip(*found, strict=True))
        display = cls(
            logits=z,
            value=value,
            gradient=gradient,
            hessian=hessian,
            names=names,
            family=bool(grid),
            prevalence=n1 / n_samples,
        )
        return display.plot(ax=ax, kind=kind)

    def plot(self, ax=None, *, kind="value", despine=False):
        """Draw two panels: a negative row, and a positive one.

        Parameters
        ----------
        ax : matplotlib Axes or list of 2, default=None
            Where to draw; None makes a figure.
        kind : {"value", "gradient", "hessian"}, default="value"
            What to draw.
        despine : bool, default=False
            Whether to leave out the upper and the right border.

        Returns
        -------
        LossLandscapeDisplay
            Itself.
        """
        if kind not in _KINDS:
            raise ValueError(f"kind={kind!r} must be one of {', '.join(map(repr, _KINDS))}.")
        curves = getattr(self, kind)
        if np.isnan(curves).all():
            raise ValueError(
                "There is no curvature of losses that couple the rows of a batch; draw kind='gradient'."
            )
        self.ax_, self.axes_ = panels(ax, 2, sharey=True)
        self.figure_ = self.ax_.figure
        colors = require("matplotlib", extra="plot").colormaps["cividis"]
        n = len(self.names)
        self.lines_ = []
        for k, (axis, title) in enumerate(zip(self.axes_, ("negative", "positive"), strict=True)):
            axis.axvline(0, color=GREY, linewidth=0.6)
            axis.axhline(0, color=GREY, linewidth=0.6)
            lines = []
            for j, name in enumerate(self.names):
                style = dict(SERIES[j % len(SERIES)])
                if self.family:
                    style["color"] = colors(0.85 * j / max(n - 1, 1))
                lines += axis.plot(self.logits, curves[j, k], label=name, **style)
            self.lines_.append(lines)
            axis.set(xlabel=f"Score of a {title} row (log odds)")
            axis.locator_params(axis="x", nbins=5)
            if despine:
                despined(axis)
        self.axes_[0].set_ylabel(_KINDS[kind])
        where = {"loc": "best", "fontsize": "small", "framealpha": 0.85}
        self.axes_[0].legend(**where)
        return self


def _curves(bound, z, prevalence):
    """Value, slope and curvature (2, n_points) of a negative and of a positive row."""
    single = bound._loss.one_logit
    point = torch.from_numpy(z)
    logits = point if single else torch.stack([-0.5 * point, 0.5 * point], -1)
    found = []
    for label in (0, 1):
        target = torch.full((len(z),), label, dtype=torch.long)
        if bound._loss.scope == "batch":
            found.append(_in_batch(bound, point, label, single, prevalence))
            continue
        value = bound.row_loss(logits, target)
        grad, hess = bound.grad_hess(logits, target)
        if not single:
            grad = 0.5 * (grad[:, 1] - grad[:, 0])
            hess = torch.gradient(grad, spacing=(point,))[0]  # hess is a diagonal only
        found.append([part.detach().numpy() for part in (value, grad, hess)])
    return tuple(np.stack(parts) for parts in zip(*found, strict=True))


def _in_batch(bound, point, label, single, prevalence, n=64):
    """The same of a row that moves in a batch whose other rows stand where a fair model would put them."""
    n1 = min(max(1, round(n * prevalence)), n - 1)
    y = torch.cat([torch.tensor([label]), torch.ones(n1), torch.zeros(n - n1)]).long()
    spread = [torch.linspace(-1.0, 1.0, max(m, 2))[:m] for m in (n1, n - n1)]
    rest = torch.cat([1.0 + spread[0], -1.0 + spread[1]]).double()
    z = torch.cat([point[:, None], rest.expand(len(point), -1)], 1)
    logits = z if single else torch.stack([-0.5 * z, 0.5 * z], -1)
    value, grad = bound.loss_grad(logits, bound.encode(y.expand(len(point), -1), logits))
    grad = grad[:, 0] if single else 0.5 * (grad[:, 0, 1] - grad[:, 0, 0])
    rows = len(y)
    return [rows * (value - value.min()).numpy(), rows * grad.numpy(), np.full(len(point), np.nan)]
