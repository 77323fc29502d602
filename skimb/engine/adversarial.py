"""Training against an adversary that moves rows within a ball, and what goes with it."""

from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.validation import feature_mask
from skimb.engine.data import Batch, Blocks
from skimb.engine.schemes import RunningScheme, Scheme, Several
from skimb.engine.step import squeeze_outputs
from skimb.functional.adversarial import cross_entropy_slope, kl_distance, margin_distance
from skimb.functional.contrastive import contrastive_loss
from skimb.functional.reweighting import worst_case_mean

#: parameters of a ball, for estimators and schemes
BALL_CONSTRAINTS = {
    "eps": [Interval(Real, 0, None, closed="left"), "array-like"],
    "norm": [StrOptions({"inf", "l2"})],
    "n_steps": [Interval(Integral, 1, None, closed="left")],
    "fixed_features": ["array-like", None],
    "clip": [StrOptions({"range"}), tuple, list, None],
}


class Ball:
    """Where the rows of a batch may move, and how their worst place is sought.

    Parameters
    ----------
    eps : float or Tensor of shape (d,)
        Radius, or one per feature; 0 keeps a feature where it is.
    norm : {"inf", "l2"}
        Norm of shifts in units of the radii.
    n_steps : int
        Steps of projected gradient ascent, each 2.5 radii / n_steps long.
    box : pair of Tensors of shape (d,) or None, default=None
        Least and largest values of features; rows that lie outside move no further out.
    """

    def __init__(self, eps, norm, n_steps, box=None):
        self.eps, self.norm, self.n_steps, self.box = eps, norm, n_steps, box

    @classmethod
    def of(cls, owner, X, eps, norm="inf", n_steps=7, fixed_features=None, clip=None):
        """A ball from the parameters of a user and the rows, a tensor or scipy CSR, that training sees."""
        d = X.shape[1]
        radii = np.array(eps, float)
        if radii.shape not in ((), (d,)) or not np.isfinite(radii).all() or (radii < 0).any():
            raise ValueError(
                f"{owner}: eps={eps!r} must be a non-negative number, or one for each of the {d} features."
            )
        radii = np.where(feature_mask(owner, fixed_features, d), 0.0, radii)
        return cls(torch.from_numpy(radii), norm, n_steps, _box(owner, clip, X))

    @property
    def empty(self):
        """Whether nothing can move."""
        return not bool(torch.as_tensor(self.eps).any())

    def moved(self, X, u):
        """Rows moved by shifts in units of the radii."""
        eps = self.eps.to(X) if torch.is_tensor(self.eps) else self.eps
        rows = X + eps * u
        if self.box is None:
            return rows
        low, high = (side.to(X) for side in self.box)
        return torch.maximum(torch.minimum(rows, torch.maximum(high, X)), torch.minimum(low, X))

    def worst(self, X, scores, slope, generator, *, alike=False):
        """Rows where projected gradient ascent from a random start ends.

        Parameters
        ----------
        X : Tensor of shape (n, d)
            Rows.
        scores : callable
            Gives the scores of rows, with a gradient history.
        slope : callable
            Gives the gradient, in the scores, of what is ascended.
        generator : torch.Generator
            Source of the start.
        alike : bool, default=False
            Whether equal rows start alike, so that they end at the same place.

        Returns
        -------
        Tensor of shape (n, d)
            Rows within the ball.
        """
        start = _of_content(X, generator) if alike else _random(X.shape, generator)
        u = self._within(2.0 * start.to(X) - 1.0)
        for _ in range(self.n_steps):
            with torch.enable_grad():
                x = self.moved(X, u).requires_grad_()
                z = scores(x)
                (grad,) = torch.autograd.grad(z, x, slope(z.detach()))
            u = self._within(u + (2.5 / self.n_steps) * self._direction(grad))
        return self.moved(X, u)

    def _direction(self, grad):
        if self.norm == "inf":
            return grad.sign()
        grad = grad * (self.eps.to(grad) if torch.is_tensor(self.eps) else self.eps)
        return grad / grad.norm(dim=-1, keepdim=True).clamp_min(1e-30)

    def _within(self, u):
        """Shifts brought back into the ball."""
        if self.norm == "inf":
            return u.clamp(-1.0, 1.0)
        if (
            torch.is_tensor(self.eps) and self.eps.ndim
        ):  # what cannot move takes no share of the length
            u = torch.where(self.eps.to(u) > 0, u, torch.zeros_like(u))
        return u / u.norm(dim=-1, keepdim=True).clamp_min(1.0)


def _box(owner, clip, X):
    """Least and largest values of features, or None."""
    if clip is None:
        return None
    if isinstance(clip, str):
        if torch.is_tensor(X):
            return X.amin(0), X.amax(0)
        return tuple(torch.from_numpy(side.toarray()[0]) for side in (X.min(axis=0), X.max(axis=0)))
    sides = [np.array(side, float) for side in clip]
    fits = len(sides) == 2 and all(side.shape in ((), (X.shape[1],)) for side in sides)
    if not fits or not (sides[0] <= sides[1]).all():
        raise ValueError(
            f"{owner}: clip={clip!r} must be 'range' or a pair (low, high) of numbers, or of one number for each "
            f"of the {X.shape[1]} features, with low <= high."
        )
    return tuple(torch.from_numpy(np.broadcast_to(side, X.shape[1]).copy()) for side in sides)


def _random(shape, generator):
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _of_content(X, generator):
    """Numbers in [0, 1) for the cells of rows, random in the rows' content: equal rows get equal ones."""
    weights, factors, phases = _random((3, X.shape[1]), generator).to(X.device)
    key = X.double() @ (1.0 + weights)
    return (997.0 * key.unsqueeze(1) * (1.0 + factors) + phases) % 1.0


@contextmanager
def evaluating(module):
    """The module in evaluation mode: no dropout, fixed batch statistics."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


class _Drawing(RunningScheme):
    """A scheme that needs gradients in the rows and draws where an ascent starts."""

    autograd = True

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def state(self):
        return {"draws": self.generator.get_state()}

    def load_state(self, state):
        self.generator.set_state(state["draws"])

    def worst(self, backend, X, code, ball, slope):
        """Rows in the ball where what has this slope in the scores is large."""
        with evaluating(backend.module):
            return ball.worst(
                X,
                lambda x: squeeze_outputs(backend.outputs(x)[0], code),
                slope,
                self.generator,
                alike=True,
            )


class MovedRows(_Drawing):
    """Puts the place in the ball in which cross-entropy is large in the place of each row.

    Parameters
    ----------
    ball : Ball
        Where rows may move.
    seed : int
        Seed of the random starts.
    """

    def __init__(self, ball, seed):
        super().__init__(seed)
        self.ball = ball

    def batch(self, batch, step):
        target = batch.target
        if batch.loss is None:

            def slope(z):
                return cross_entropy_slope(z, target.code)
        else:  # a mixture has two labels

            def slope(z):
                return batch.loss.loss_grad(z, target, None, 1.0)[1]

        backend = step.backend
        rows = self.worst(backend, backend.rows(batch.X), target.code, self.ball, slope)
        return Batch(rows, target, batch.weight, batch.rows, batch.epoch, batch.loss)


class MovedScores(_Drawing):
    """Adds how far the scores of rows can move within a ball to the loss.

    Gradients go through the clean and the perturbed scores.
    """

    def asked(self, step):
        """The ball, the distance of scores and its weight in the loss, or None where nothing is added."""
        raise NotImplementedError

    def gradients(self, batch, step):
        asked = self.asked(step)
        if asked is None:
            return step.gradients(batch)
        ball, distance_of, strength = asked
        value, d = step.evaluated(batch)
        backend, code, weight = step.backend, batch.target.code, batch.weight
        z = squeeze_outputs(backend.z, code)
        worst = self.perturbed(backend, backend.X, z.detach(), code, ball, distance_of)
        moved = squeeze_outputs(backend.outputs(worst)[0], code)
        distance, there, here = distance_of(moved.detach(), z.detach(), code)
        share = torch.ones_like(distance)
        if weight is not None:
            share = share * (weight if weight.ndim == share.ndim else weight.unsqueeze(-1))
        share = share * (strength / len(batch.target))
        factor = share if here.ndim == share.ndim else share.unsqueeze(-1)
        torch.autograd.backward([z, moved], [d.view(z.shape) + here * factor, there * factor])
        return value + (share * distance).sum()

    def perturbed(self, backend, X, z, code, ball, distance_of):
        """Rows within the ball whose scores lie far from the scores z."""
        return self.worst(backend, X, code, ball, lambda moved: distance_of(moved, z, code)[1])


class Adversary(MovedScores):
    """The adversary that the loss in force asks for by its ``attack`` (`AdversarialCompSum`).

    Parameters
    ----------
    seed : int
        Seed of the random starts.
    """

    serves = frozenset({"adversary"})

    def asked(self, step):
        attack = step.loss.attack
        if attack is None:  # the loss in force perturbs nothing
            return None
        return Ball(attack.eps, attack.norm, attack.n_steps), moved_margins, attack.nu


class SmoothedScores(MovedScores):
    """A fixed distance of scores in a fixed ball.

    Parameters
    ----------
    ball : Ball
        Where rows may move.
    distance : callable
        Distance of perturbed from clean scores, with its gradients in both.
    strength : float
        Weight in the loss.
    seed : int
        Seed of the random starts.
    """

    def __init__(self, ball, distance, strength, seed):
        super().__init__(seed)
        self.found = ball, distance, strength

    def asked(self, step):
        return self.found


def moved_margins(perturbed, logits, code):
    """`margin_distance` with its gradients in both scores."""
    distance, grad = margin_distance(perturbed, logits, code)
    return distance, grad, -grad


class Separation(RunningScheme):
    """Adds the supervised contrastive loss of the inputs of the output layer.

    Parameters
    ----------
    weight : float
        Weight in the loss.
    temperature : float
        Temperature of similarities.
    """

    autograd = True

    def __init__(self, weight, temperature):
        self.weight, self.temperature = weight, temperature

    def gradients(self, batch, step):
        value, d = step.evaluated(batch)
        backend = step.backend
        inputs = backend.inputs
        if inputs is None or not inputs.requires_grad:
            raise ValueError(
                "separation= acts on the inputs of the output layer: give the net a hidden layer, and let a module "
                "of your own return the pair (scores, inputs of the output layer)."
            )
        code = batch.target.code
        if code.ndim > 1:
            raise ValueError(
                "separation= keeps exclusive classes apart; multi-label y has none. Use separation=0."
            )
        loss, grad = contrastive_loss(inputs.detach(), code, None, temperature=self.temperature)
        torch.autograd.backward([backend.z, inputs], [d, self.weight * grad])
        return value + self.weight * loss


class WorstCase(RunningScheme):
    """Weighs the rows of a batch by their losses, as in the worst distribution near the one of the rows.

    Parameters
    ----------
    temperature : float
        Temperature of the weights.
    reference : Tensor of shape (n_classes,) or None
        Weight of the rows of each class before.
    rate : float
        Share of a batch in the running mean that weights are divided by.
    """

    def __init__(self, temperature, reference, rate):
        self.temperature, self.reference, self.rate = temperature, reference, rate
        self.log_mean = torch.full((), torch.nan, dtype=torch.float64)

    def state(self):
        return {"log_mean": self.log_mean}

    def batch(self, batch, step):
        loss = step.loss
        if batch.loss is not None or not hasattr(loss, "entries"):
            what = (
                "mixtures of rows"
                if batch.loss is not None
                else f"{loss.name}, which couples rows,"
            )
            raise ValueError(
                f"dro_temperature= weighs rows by the losses of single rows, and {what} have none; use a loss of "
                "single rows without mix."
            )
        return Batch(
            batch.X, batch.target, batch.weight, batch.rows, batch.epoch, _Tilted(loss, self)
        )

    def follow(self, own):
        """The running mean after a batch, as a logarithm."""
        own = own.detach().to(self.log_mean)
        if torch.isnan(self.log_mean):
            self.log_mean.copy_(own)
        else:
            parts = [self.log_mean + np.log1p(-self.rate), own + np.log(self.rate)]
            self.log_mean.copy_(torch.logsumexp(torch.stack(parts), 0))
        return self.log_mean


class _Tilted:
    """A loss of rows that weigh by their losses."""

    requires: frozenset = frozenset()
    attack = None

    def __init__(self, loss, scheme):
        self.loss, self.scheme = loss, scheme

    def loss_grad(self, logits, target, weight=None, total=None):
        """Largest mean loss near the batch, and its gradient with the running mean."""
        scheme = self.scheme
        rows, grad = self.loss.entries(logits, target)
        reference = weight
        if rows.ndim > 1:  # labels
            if weight is not None and weight.ndim > 1:
                rows, grad, reference = rows * weight, grad * weight, None
            rows = rows.sum(-1)
        if scheme.reference is not None:
            classes = target.code.clamp(min=0).long()
            own = scheme.reference.to(rows)[classes]
            reference = own if reference is None else own * reference
        kw = {"temperature": scheme.temperature, "reference": reference}
        value, weights, own = worst_case_mean(rows, **kw)
        if scheme.rate < 1.0:
            log_mean = scheme.follow(own).to(rows)
            weights = weights * torch.exp(own - log_mean)
        return value, grad * (weights if weights.ndim == grad.ndim else weights.unsqueeze(-1))


_DISTANCES = {"kl": kl_distance, "margins": moved_margins}


class AdversarialTraining(Scheme):
    r"""Train classifiers on rows that an adversary moves within a ball.

    With ``objective="rows"`` the loss is that of the rows :math:`x'` at which projected gradient ascent of the
    cross-entropy arrives, :math:`\|x'-x\|\le\epsilon`. "kl" (TRADES) keeps the clean rows and adds
    :math:`\beta\,\mathrm{KL}(p(x)\|p(x'))`, "margins" (smooth comp-sum) adds
    :math:`\beta\|\Delta(x')-\Delta(x)\|_2` with :math:`\Delta_k=z_y-z_k`, each at its own worst :math:`x'`.

    Parameters
    ----------
    eps : float or array-like of shape (n_features,), default=0.1
        Radius, in units of the features that the net sees: scale them before. One number per feature gives each
        its own.
    objective : {"rows", "kl", "margins"}, default="rows"
        What is trained.
    norm : {"inf", "l2"}, default="inf"
        Norm of the ball, in units of `eps`.
    n_steps : int in [1, inf), default=7
        Steps of the ascent, each ``2.5 * eps / n_steps`` long.
    fixed_features : array-like of int or bool, default=None
        Numbers, or a mask, of features that do not move: codes and indicators of categories.
    clip : {"range"}, pair (low, high) or None, default=None
        Box that moved rows stay in; "range" is that of the training rows.
    strength : float in [0, inf), default=1.0
        Weight :math:`\beta` of the distance for "kl" and "margins".
    separation : float in [0, inf), default=0.0
        Weight of the supervised contrastive loss of the last hidden layer of the moved rows (SRAT).
    temperature : float in (0, inf), default=0.1
        Temperature of that loss.
    dro_temperature : float in (0, inf) or None, default=None
        Temperature r of weights :math:`w_i\propto q_ie^{\ell_i/r}` of the moved rows, those of the worst
        distribution near the rows' (DONE), in units of the loss; ``None`` weighs them alike.
    dro_prior : {"uniform", "balanced"}, default="uniform"
        Reference q of these weights: rows alike, or classes alike.
    dro_rate : float in (0, 1], default=0.1
        Share of each batch in the running mean that normalises the weights; 1 normalises in the batch, which
        draws the weights towards uniform ones in small batches.

    Raises
    ------
    ValueError
        When training starts, if a parameter does not fit the rows, the net or the loss.

    Notes
    -----
    The ascent sees the module in evaluation mode and leaves no gradient in its parameters. Where a row starts
    is random in its content, so that a row of weight 2 trains as two equal rows do. The ascent costs one pass
    forward and back per step, so training takes about ``n_steps + 1`` times as long. Nets under a scheme are
    trained alone, not in populations. `separation` and `dro_temperature` go with "rows". The body texts and code
    of SRAT and DONE were not at hand: their losses are rebuilt from the abstracts and standard formulas, DONE in
    its first-order form, without the implicit term of its bilevel gradient.

    References
    ----------
    Madry et al. 2018, arXiv:1706.06083. Zhang et al. 2019, arXiv:1901.08573 (TRADES). Mao, Mohri and Zhong 2023,
    arXiv:2304.07288 (smooth comp-sum). Wang et al. 2021, arXiv:2107.13639 (SRAT). Sow et al. 2024,
    arXiv:2308.00311 (DONE).

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.training import AdversarialTraining
    >>> X, y = make_classification(200, random_state=0)
    >>> scheme = AdversarialTraining(eps=0.2, n_steps=3, fixed_features=[0, 5])
    >>> model = MLPClassifier((8,), scheme=scheme, max_iter=5, tol=0, random_state=0)
    >>> model.fit(X, y).n_iter_
    5
    """

    of_matrices = True
    _parameter_constraints = {
        **BALL_CONSTRAINTS,
        "objective": [StrOptions({"rows", *_DISTANCES})],
        "strength": [Interval(Real, 0, None, closed="left")],
        "separation": [Interval(Real, 0, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "dro_temperature": [Interval(Real, 0, None, closed="neither"), None],
        "dro_prior": [StrOptions({"uniform", "balanced"})],
        "dro_rate": [Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        eps=0.1,
        objective="rows",
        *,
        norm="inf",
        n_steps=7,
        fixed_features=None,
        clip=None,
        strength=1.0,
        separation=0.0,
        temperature=0.1,
        dro_temperature=None,
        dro_prior="uniform",
        dro_rate=0.1,
    ):
        self.eps = eps
        self.objective = objective
        self.norm = norm
        self.n_steps = n_steps
        self.fixed_features = fixed_features
        self.clip = clip
        self.strength = strength
        self.separation = separation
        self.temperature = temperature
        self.dro_temperature = dro_temperature
        self.dro_prior = dro_prior
        self.dro_rate = dro_rate

    def start(self, module, data, seed):
        """Begin a fit.

        Parameters
        ----------
        module : Module
            The net that will be trained.
        data : TrainingData
            All training rows.
        seed : int
            Seed of the random starts.

        Returns
        -------
        RunningScheme
            What acts in this fit.
        """
        self._validate_params()
        owner = type(self).__name__
        code = data.target.code
        if code.is_floating_point() and not (code.abs() == 1).all():
            raise ValueError(f"{owner} moves rows away from their classes; regression has none.")
        if isinstance(data.X, Blocks):
            raise ValueError(f"{owner} moves rows of numbers; rows in several blocks are more.")
        ball = Ball.of(
            owner, data.X, self.eps, self.norm, self.n_steps, self.fixed_features, self.clip
        )
        if self.objective != "rows":
            if self.separation or self.dro_temperature is not None:
                raise ValueError(
                    f"{owner}: separation and dro_temperature act on moved rows, objective={self.objective!r} "
                    "trains on clean ones; use objective='rows'."
                )
            if ball.empty or not self.strength:
                return RunningScheme()
            distance = _DISTANCES[self.objective]
            return SmoothedScores(ball, distance, float(self.strength), seed)
        parts = [] if ball.empty else [MovedRows(ball, seed)]
        if self.dro_temperature is not None:
            reference = self._reference(code) if self.dro_prior == "balanced" else None
            parts.append(WorstCase(float(self.dro_temperature), reference, float(self.dro_rate)))
        if self.separation:
            parts.append(Separation(float(self.separation), float(self.temperature)))
        return parts[0] if len(parts) == 1 else Several(parts)

    def _reference(self, code):
        """Weight of the rows of each class under which classes weigh alike."""
        if code.ndim > 1:
            raise ValueError(
                "dro_prior='balanced' evens out exclusive classes; multi-label y has none. Use 'uniform'."
            )
        counts = torch.bincount(code.clamp(min=0).long().cpu()).double()
        present = (counts > 0).sum()
        return len(code) / (present * counts.clamp_min(1.0))
